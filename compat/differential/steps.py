"""What a sequence consists of: requests whose ids are not known yet, but only where they will be read.

A topic id, a member id, a producer id is given by each broker by itself. So a request names the step and the place in its answer where the id will be (`Answered`),
and is filled in for each broker apart. A `~` in a name stands for the prefix that makes a sequence's names its own.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.definitions import Field
from pykbroker.protocol.header import request_frame
from pykbroker.protocol.messages import Message, Struct

PREFIX = "~"
_CRC_AT, _CRC_FROM, _PRODUCER_AT = 17, 21, 43


@dataclass(frozen=True, slots=True)
class Answered:
    """What stands at `path` in the answer to `step`; `otherwise` where there is no such answer, or it says `never`."""

    step: int
    path: tuple[str | int, ...]
    otherwise: object
    never: object = None

    def read(self, answers: Mapping[int, Message]) -> object:
        """The value, in one broker's answers."""
        found: object = answers.get(self.step)
        for part in self.path:
            if isinstance(part, int):
                found = found[part] if isinstance(found, list) and part < len(found) else None
            else:
                found = getattr(found, part, None)
        return self.otherwise if found in (None, "", self.never) else found


@dataclass(frozen=True, slots=True)
class ProducersBatch:
    """A record batch whose producer id and epoch are given by the broker; `spoiled`: its checksum stays as it is."""

    batch: bytes
    producer_id: "Answered | int"
    producer_epoch: "Answered | int"
    spoiled: bool = False

    def filled(self, answers: Mapping[int, Message]) -> bytes:
        """The bytes for one broker."""
        made = bytearray(self.batch)
        struct.pack_into(">qh", made, _PRODUCER_AT, _number(self.producer_id, answers), _number(self.producer_epoch, answers))
        if not self.spoiled:
            struct.pack_into(">I", made, _CRC_AT, crc32c(made[_CRC_FROM:]))
        return bytes(made)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a consumer says it wants, in the bytes that clients send in JoinGroup: one topic."""

    topic: str

    def filled(self, prefix: str) -> bytes:
        """The bytes, with the topic's name in this run."""
        name = self.topic.replace(PREFIX, prefix).encode()
        return b"\0\1\0\0\0\1" + len(name).to_bytes(2, "big") + name + b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(slots=True)
class Step:
    """One request on one of the sequence's connections. `damage` says what is done to the frame: ("cut" | "append" | "version", how much)."""

    number: int
    connection: int
    version: int
    request: Message
    damage: tuple[str, int] | None = None

    @property
    def api(self) -> str:
        """Its name as Kafka has it."""
        return API_BY_KEY[self.request.API_KEY].name

    def frame(self, prefix: str, answers: Mapping[int, Message]) -> tuple[bytes, Message]:
        """The frame with its size for one broker, and the request that is in it."""
        request = filled(self.request, prefix, answers)
        assert isinstance(request, Message)
        whole = bytearray(b"".join(request_frame(request, self.version, self.number, "differential")))
        match self.damage:
            case ("cut", count):
                del whole[max(14, len(whole) - count) :]
            case ("append", count):
                whole += bytes(count)
            case ("version", version):
                struct.pack_into(">h", whole, 6, version)
        struct.pack_into(">i", whole, 0, len(whole) - 4)
        return bytes(whole), request

    def __str__(self) -> str:
        damage = "" if self.damage is None else f"  damaged: {self.damage[0]} {self.damage[1]}"
        return f"step {self.number}, connection {self.connection}: {self.api} v{self.version} {self.request!r}{damage}"


@dataclass(slots=True)
class Sequence:
    """Steps in their order, and the seed that made them."""

    seed: int
    steps: list[Step] = field(default_factory=list)

    def without(self, left_out: set[int]) -> "Sequence":
        """The same without some of its steps, by number."""
        return Sequence(self.seed, [step for step in self.steps if step.number not in left_out])


def filled(value: object, prefix: str, answers: Mapping[int, Message]) -> object:
    """A copy with everything in it that is known now."""
    match value:
        case Struct():
            made = type(value)()
            for one in value._fields:
                setattr(made, one.name, filled(getattr(value, one.name), prefix, answers))
            made.unknown_tags = value.unknown_tags
            return made
        case list():
            return [filled(one, prefix, answers) for one in value]
        case Answered():
            return value.read(answers)
        case ProducersBatch():
            return value.filled(answers)
        case Subscription():
            return value.filled(prefix)
        case str():
            return value.replace(PREFIX, prefix)
    return value


def fit(value: Struct, version: int) -> None:
    """Put back to its default what the version does not have."""
    fresh = type(value)()
    for one in value._fields:
        if version not in one.versions:
            setattr(value, one.name, getattr(fresh, one.name))
        else:
            for child in _structs(getattr(value, one.name)):
                fit(child, version)


def places(value: Struct, version: int) -> list[tuple[Struct, Field]]:
    """Every field of it and of the structs in it that the version has."""
    found: list[tuple[Struct, Field]] = []
    for one in value._fields:
        if version in one.versions:
            found.append((value, one))
            for child in _structs(getattr(value, one.name)):
                found += places(child, version)
    return found


def _structs(value: object) -> list[Struct]:
    if isinstance(value, Struct):
        return [value]
    return [one for one in value if isinstance(one, Struct)] if isinstance(value, list) else []


def _number(value: "Answered | int", answers: Mapping[int, Message]) -> int:
    number = value.read(answers) if isinstance(value, Answered) else value
    assert isinstance(number, int)
    return number
