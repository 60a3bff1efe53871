"""What Kafka was asked and what it answered, kept: so that our broker can be judged where there is no Java.

A line is one sequence: its steps (notation.py), the prefix of its names, and what went over the wire to Kafka and back in the order in which it was looked
for: `["sent", connection, frame]` and `["received", connection, frame or a word or null, decoding]`, frames as hex.
"""

import json
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compat.differential.notation import read, written
from compat.differential.side import CONTROL, Side
from compat.differential.steps import Sequence
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.header import API_VERSIONS, read_response
from pykbroker.protocol.messages import Message
from pykbroker.protocol.wire import Malformed


@dataclass(slots=True)
class Recorded:
    """One sequence, and everything that was sent to Kafka and came back."""

    sequence: Sequence
    prefix: str
    exchanges: list[list[Any]]


class Recorder(Side):
    """Kafka, with everything noted."""

    exchanges: list[list[Any]]

    def __init__(self, side: Side) -> None:
        super().__init__(side.name, side.host, side.port)
        self.exchanges = []

    def send(self, connection: int, frame: bytes) -> None:
        """As ever."""
        super().send(connection, frame)
        if connection != CONTROL:
            self.exchanges.append(["sent", connection, frame.hex()])

    def receive(self, connection: int, wait_s: float) -> bytes | str | None:
        """As ever."""
        answer = super().receive(connection, wait_s)
        if connection != CONTROL:
            self.exchanges.append(["received", connection, answer.hex() if isinstance(answer, bytes) else answer])
        return answer


class Replayed(Side):
    """Kafka as it was recorded: it insists on the same requests, and gives the answers that it gave."""

    is_live = False

    def __init__(self, recorded: Recorded) -> None:
        super().__init__("Kafka", "recorded", 0)
        self._left = iter(recorded.exchanges)

    def send(self, connection: int, frame: bytes) -> None:
        """Nothing is sent; the frame has to be the recorded one. Raises Parted."""
        kind, at, expected, *_ = self._next()
        if (kind, at, expected) != ("sent", connection, frame.hex()):
            raise Parted(f"{kind} on connection {at} is recorded, not the request on {connection}")

    def receive(self, connection: int, wait_s: float) -> bytes | str | None:  # noqa: ARG002 - a recording has no time
        """What came. Raises Parted where nobody looked for it when it was recorded."""
        kind, at, answer, *_ = self._next()
        if (kind, at) != ("received", connection):
            raise Parted(f"{kind} on connection {at} is recorded, no look for an answer on {connection}")
        return bytes.fromhex(answer) if isinstance(answer, str) and set(answer) <= _HEX_DIGITS else answer

    def _next(self) -> list[Any]:
        found = next(self._left, None)
        if found is None:
            raise Parted("nothing more is recorded")
        return found


class Parted(AssertionError):  # noqa: N818 - what happened
    """Our broker made the sequence go on differently from what was recorded."""


_HEX_DIGITS = frozenset("0123456789abcdef")


def write(path: Path, sequences: Iterable[Recorded]) -> int:
    """Write the file; how many sequences are in it."""
    lines = [
        json.dumps(
            {
                "seed": one.sequence.seed,
                "prefix": one.prefix,
                "steps": [written(step) for step in one.sequence.steps],
                "kafka": list(_with_decoding(one)),
            },
            ensure_ascii=False,
        )
        for one in sequences
    ]
    path.write_bytes(lzma.compress("".join(f"{line}\n" for line in lines).encode(), preset=9 | lzma.PRESET_EXTREME))
    return len(lines)


def load(path: Path) -> list[Recorded]:
    """Every sequence of a file."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        plain = [json.loads(line) for line in lines]
    return [Recorded(Sequence(one["seed"], [read(step) for step in one["steps"]]), one["prefix"], one["kafka"]) for one in plain]


def _with_decoding(recorded: Recorded) -> Iterator[list[Any]]:
    """The exchanges, answers with their decoding."""
    asked = {step.number: step for step in recorded.sequence.steps}
    for exchange in recorded.exchanges:
        kind, _, what = exchange
        if kind == "received" and what is not None and set(what) <= _HEX_DIGITS:
            frame = bytes.fromhex(what)
            step = asked.get(int.from_bytes(frame[:4], "big"))
            yield [*exchange, None if step is None else _decoding(step.request, step.version, frame)]
        else:
            yield exchange


def _decoding(request: Message, version: int, frame: bytes) -> str | None:
    try:
        return repr(read_response(API_BY_KEY[request.API_KEY].response, version, frame)[1])
    except Malformed:
        assert request.API_KEY == API_VERSIONS
        return None
