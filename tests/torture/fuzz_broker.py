"""A broker under attack, without a socket: whatever comes, it must answer what decodes, close, or wait; raise nothing, and never take long.

Its time is virtual, its files are in memory, and what it hands to a thread is done when the attacker feels like it. How long it holds the loop is counted in
processor time of this thread, so that a busy machine makes no failures.
"""

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from pykbroker.broker import Listener
from pykbroker.clock import VirtualClock
from pykbroker.cluster import Cluster
from pykbroker.config import Configuration
from pykbroker.context import Close
from pykbroker.later import Later
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decode_prefix
from pykbroker.protocol.header import read_request_header, read_response
from pykbroker.protocol.messages import CreateTopicsRequest, Message
from pykbroker.protocol.wire import Malformed
from pykbroker.session import Session
from pykbroker.storage.memory_files import MemoryFiles
from tests.torture.fuzz_requests import TOPICS, Known

T = TypeVar("T")
SESSIONS = 8
SETTINGS = {
    "log.retention.bytes": "200000",
    "log.segment.bytes": "1048576",
    "log.segment.delete.delay.ms": "1000",
    "log.retention.check.interval.ms": "60000",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "auto.create.topics.enable": "true",
    "max.incremental.fetch.session.cache.slots": "16",
}


class Broken(Exception):
    """The broker did what it never may."""


class Worst:
    """The longest time that each kind of work held the loop."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self.count = 0
        self.over: list[tuple[float, str, bytes]] = []

    def measure(self, what: str, work: Callable[[], T], frame: bytes = b"", limit_ms: float = 100) -> T:
        """Do it, and note how long it took."""
        started = time.thread_time_ns()
        try:
            return work()
        finally:
            took_ms = (time.thread_time_ns() - started) / 1e6
            if took_ms > self.ms.get(what, 0):
                self.ms[what] = took_ms
            if took_ms > limit_ms:
                self.over.append((took_ms, what, frame))


class MeasuredClock(VirtualClock):
    """What a timer does holds the loop as well."""

    def __init__(self, worst: Worst, name: str) -> None:
        super().__init__()
        self._worst = worst
        self._name = name

    def call_later(self, delay_ms: float, callback: Callable[[], None]):
        return super().call_later(delay_ms, lambda: self._worst.measure(f"a timer of {self._name}", callback))


class FuzzedBroker:
    """One cluster, eight connections, and what is pending."""

    def __init__(self, seed: int, worst: Worst) -> None:
        self.chance = random.Random(seed)
        self.worst = worst
        self.known = Known()
        self.files = MemoryFiles()
        self.handed_over: list[tuple[Callable[[], object], Later]] = []
        self.answered: dict[str, int] = {}
        """What became of the frames, by kind: how deep the attack goes."""
        self.start()

    def start(self) -> None:
        """Also after a stop, on the files that the last run left."""
        self.clock = MeasuredClock(self.worst, "the broker")
        self.waits = MeasuredClock(self.worst, "the clients")
        self.cluster = Cluster(
            clock=self.clock,
            waits=self.waits,
            files=self.files,
            config=Configuration(SETTINGS),
            random=self.chance,
            offload=self._hand_over,
        )
        self.cluster.broker.listeners.append(Listener("PLAINTEXT", "127.0.0.1", 9092))
        self.handed_over.clear()
        self.cluster.start()
        self.sessions = [Session(self.cluster.broker) for _ in range(SESSIONS)]
        self.pending: dict[Session, Later] = {}
        self.create_topics()

    def restart(self) -> None:
        """A clean stop, and a start on what all the frames left on disk."""
        for session in self.sessions:
            session.close()
        self.deliver(len(self.handed_over))
        self.cluster.stop()
        self.check_errors()
        self.start()

    def create_topics(self) -> None:
        """Those that are gone, again."""
        missing = [name for name in TOPICS if self.cluster.metadata.topic(name) is None]
        if missing:
            topics = [CreateTopicsRequest.CreatableTopic(name=name, num_partitions=3, replication_factor=1) for name in missing]
            self.ask(CreateTopicsRequest(topics=topics, timeout_ms=1000), 7)
        self.known.topic_ids = {topic.name: topic.topic_id for topic in self.cluster.metadata.topics.values()}

    def ask(self, request: Message, version: int) -> None:
        """A request that nobody damages."""
        from pykbroker.protocol.header import request_frame

        self.send(b"".join(request_frame(request, version, 1, "setup"))[4:], Session(self.cluster.broker))

    # -- a frame -------------------------------------------------------------------------------------------------

    def idle_session(self) -> Session:
        """A connection that may send: one whose request is pending is not read (law 6)."""
        idle = [session for session in self.sessions if session not in self.pending]
        if not idle:
            self.close(self.chance.choice(self.sessions))
            return self.idle_session()
        return self.chance.choice(idle)

    def send(self, frame: bytes, session: Session) -> None:
        """One frame; raises Broken when the broker misbehaves."""
        api = _api_of(frame)
        try:
            outcome = self.worst.measure(api, lambda: self.cluster.handle(session, memoryview(bytearray(frame))), frame)
        except Exception as error:
            raise Broken(f"handle raised {error!r}") from error
        self.check_errors()
        if isinstance(outcome, Later) and not outcome.settled:
            self._note("later")
            self.pending[session] = outcome
            outcome.then(lambda settled: self._settled(session, frame, settled), self._failed)
            if outcome.overlaps:
                self.pending.pop(session, None)
            return
        self._settled(session, frame, outcome.value if isinstance(outcome, Later) else outcome)

    def _settled(self, session: Session, frame: bytes, outcome: object) -> None:
        self.pending.pop(session, None)
        if outcome is None:
            self._note("nothing sent")
        elif isinstance(outcome, Close):
            self._note("closed")
            self.close(session)
        else:
            self._note("answered")
            self._check_answer(frame, b"".join(outcome))  # type: ignore[arg-type]

    def _failed(self, error: BaseException) -> None:
        raise Broken(f"an answer failed with {error!r}") from error

    def _check_answer(self, frame: bytes, answer: bytes) -> None:
        """It has the right size and correlation id, and decodes without a byte left over."""
        header, position = read_request_header(frame)
        api = API_BY_KEY[header.api_key]
        version = header.api_version
        if api.name == "ApiVersions" and version not in api.request.VERSIONS:
            version = 0
        try:
            if int.from_bytes(answer[:4]) != len(answer) - 4:
                raise Malformed("the size is wrong")
            correlation_id, response = read_response(api.response, version, answer[4:])
        except Malformed as error:
            raise Broken(f"the answer of {api.name} version {version} does not decode: {error}: {answer.hex()}") from error
        if correlation_id != header.correlation_id:
            raise Broken(f"the answer of {api.name} has another correlation id")
        if version == header.api_version:
            request, _ = decode_prefix(api.request, version, frame, position)
            self.known.learn(request, response)

    def _note(self, what: str) -> None:
        self.answered[what] = self.answered.get(what, 0) + 1

    def check_errors(self) -> None:
        """No bug has come to light."""
        if self.cluster.unexpected_errors:
            error = self.cluster.unexpected_errors.pop()
            self.cluster.unexpected_errors.clear()
            raise Broken(f"an unexpected error: {error!r}") from error

    # -- what happens between frames -----------------------------------------------------------------------------

    def close(self, session: Session) -> None:
        """The connection goes; another one comes."""
        self.pending.pop(session, None)
        session.close()
        if session in self.sessions:
            self.sessions[self.sessions.index(session)] = Session(self.cluster.broker)

    def deliver(self, count: int) -> None:
        """Do some of what was handed to threads, in any order."""
        for _ in range(count):
            if not self.handed_over:
                return
            work, later = self.handed_over.pop(self.chance.randrange(len(self.handed_over)))
            try:
                value = work()
            except Exception as error:  # noqa: BLE001 - it belongs to who waits for it
                later.fail(error)
            else:
                self.worst.measure("the end of offloaded work", lambda: later.settle(value))  # noqa: B023 - called at once

    def _hand_over(self, work: Callable[[], T]) -> Later[T]:
        later: Later[T] = Later()
        self.handed_over.append((work, later))
        return later

    def meanwhile(self) -> None:
        """Sometimes time passes, a thread ends, a connection breaks."""
        roll = self.chance.random()
        try:
            if roll < 0.25:
                self.deliver(self.chance.randrange(1, 4))
            elif roll < 0.28:
                self.waits.advance(self.chance.choice([1, 100, 1000, 31_000]))
            elif roll < 0.30:
                self.clock.advance(self.chance.choice([1, 100, 3000, 11_000, 61_000]))
            elif roll < 0.301:
                self.clock.advance(hours=1)
            elif roll < 0.32:
                self.close(self.chance.choice(self.sessions))
            elif roll < 0.325:
                self.create_topics()
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"a timer or the end of a thread's work raised {error!r}") from error
        self.check_errors()


def _api_of(frame: bytes) -> str:
    key = int.from_bytes(frame[:2], signed=True)
    return API_BY_KEY[key].name if len(frame) >= 2 and key in API_BY_KEY else "no API"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A bug is reported by the attacker; what the broker says of damaged records need not fill the screen."""
    ours = logging.getLogger("pykbroker")
    before = ours.level
    ours.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ours.setLevel(before)
