"""What the tests of the log share: batches with few words, and work that is done at once, or when the test says so."""

import random
from collections.abc import Callable, Iterator

import pytest

from pykbroker.later import Later
from pykbroker.protocol.records import BatchProperties, NewRecord, build_batch
from pykbroker.storage import loader
from pykbroker.storage.files import Files
from pykbroker.storage.log import LogConfig, UnifiedLog

DIRECTORY = "topic-0"


class Elsewhere:
    """Offloaded work, done when the test says so; at once by default."""

    def __init__(self) -> None:
        self.at_once = True
        self.waiting: list[tuple[Callable[[], None], Later[None]]] = []

    def __call__(self, work: Callable[[], None]) -> Later[None]:
        later: Later[None] = Later()
        self.waiting.append((work, later))
        if self.at_once:
            self.run()
        return later

    def run(self) -> None:
        """Do what waits, in order; what is asked for meanwhile too."""
        while self.waiting:
            work, later = self.waiting.pop(0)
            try:
                work()
            except OSError as error:
                later.fail(error)
            else:
                later.settle(None)


class Logs:
    """Opens logs in one directory of any Files."""

    def __init__(self) -> None:
        self.elsewhere = Elsewhere()

    def create(self, files: Files, config: LogConfig | None = None) -> UnifiedLog:
        return loader.create(files, DIRECTORY, config or LogConfig(), self.elsewhere, 0)

    def reopen(
        self,
        files: Files,
        config: LogConfig | None = None,
        *,
        clean: bool,
        start_offset: int = 0,
        recovery_point: int = 0,
        cleaned_up_to: int = 0,
    ) -> UnifiedLog:
        log = loader.load(
            files,
            DIRECTORY,
            config or LogConfig(),
            self.elsewhere,
            0,
            clean=clean,
            start_offset=start_offset,
            recovery_point=recovery_point,
            cleaned_up_to=cleaned_up_to,
        )
        if not clean:
            for _ in loader.recover(log):
                pass
        return log


@pytest.fixture
def logs() -> Logs:
    return Logs()


def batch_of(*values: bytes, timestamp: int = 1000, **properties: object) -> bytes:
    """A batch, its records a millisecond apart."""
    records = [NewRecord(value, key=b"k", timestamp=timestamp + number) for number, value in enumerate(values)]
    return build_batch(records, BatchProperties(**properties))  # type: ignore[arg-type]


@pytest.fixture
def batch() -> Callable[..., bytes]:
    return batch_of


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> Iterator[Callable[[int], random.Random]]:
    """Random sources by their seeds; which one was at work is printed when the test fails."""
    last: list[int] = []

    def seeded(seed: int) -> random.Random:
        last[:] = [seed]
        return random.Random(seed)

    yield seeded
    print(f"{request.node.name}: the last seed was {last}")
