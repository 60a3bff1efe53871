"""Random messages: whatever a version of a message can carry, drawn from a random source that is handed in. For fuzzing, and for testing codecs.

The edges come up often: numbers at the ends of their range, lengths around 127 where the length itself grows by a byte, empty and null,
tagged fields at their default and away from it, tags that the schema does not know.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pykbroker.protocol.definitions import Field
from pykbroker.protocol.messages import Message, Struct

T = TypeVar("T")
M = TypeVar("M", bound=Message)
S = TypeVar("S", bound=Struct)

_RANGES = {
    "int8": (-(1 << 7), (1 << 7) - 1),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
}
_LETTERS = "abcdefgXYZ012._-é☃𝄞"
_UNKNOWN_TAG = 1000


class RandomSource(Protocol):
    """What is needed of a `random.Random`."""

    def random(self) -> float:
        """From 0.0 to below 1.0."""

    def randrange(self, start: int, stop: int) -> int:
        """From `start` to below `stop`."""

    def choice(self, options: Sequence[T], /) -> T:
        """One of several."""


def sample(random: RandomSource, message: type[M], version: int) -> M:
    """A random message that can be encoded in that version."""
    return _Sampler(random, message, version).struct(message, message.SCHEMA.fields, depth=0)


class _Sampler:
    def __init__(self, random: RandomSource, message: type[Message], version: int) -> None:
        self.random = random
        self.message = message
        self.version = version
        self.flexible = version in message.FLEXIBLE_VERSIONS

    def struct(self, struct: type[S], fields: list[Field], depth: int) -> S:
        """A struct whose fields are random where the version has them."""
        made = struct()
        for one in fields:
            if self.version not in one.versions or (one.is_tagged(self.version) and self.one_in(2)):
                continue
            setattr(made, one.name, self.value(one, depth))
        if self.flexible and self.one_in(8):
            made.unknown_tags = [(_UNKNOWN_TAG + number, self.some_bytes()) for number in range(self.random.randrange(1, 4))]
        return made

    def value(self, one: Field, depth: int) -> object:
        """A value for one field."""
        if self.version in one.nullable_versions and self.one_in(4):
            return None
        if not one.is_array:
            return self.element(one, depth)
        length = self.random.randrange(0, 4 if depth < 2 else 2)
        if not one.fields and self.one_in(16):
            length = self.random.randrange(125, 131)
        return [self.element(one, depth + 1) for _ in range(length)]

    def element(self, one: Field, depth: int) -> object:
        """A value that is not an array."""
        if one.fields:
            struct: type[Struct] = getattr(self.message, one.type)
            return self.struct(struct, one.fields, depth)
        match one.type:
            case "string":
                return "".join(self.random.choice(_LETTERS) for _ in range(self.length()))
            case "bytes" | "records":
                return self.some_bytes()
            case "uuid":
                return self.number(0, (1 << 128) - 1).to_bytes(16, "big")
            case "bool":
                return self.one_in(2)
            case "float64":
                return self.random.choice((0.0, -1.5, 1e300, self.random.random()))
            case _:
                return self.number(*_RANGES[one.type])

    def number(self, smallest: int, largest: int) -> int:
        """Often one of the edges."""
        if self.one_in(2):
            return self.random.choice((0, 1, largest, smallest, max(smallest, -1)))
        return self.random.randrange(smallest, largest + 1)

    def some_bytes(self) -> bytes:
        """A few bytes, sometimes more than a length of one byte can say."""
        return bytes(self.random.randrange(0, 256) for _ in range(self.length()))

    def length(self) -> int:
        """Mostly small; sometimes around the place where a length takes a second byte."""
        return self.random.randrange(124, 132) if self.one_in(20) else self.random.randrange(0, 8)

    def one_in(self, count: int) -> bool:
        """True once in `count` times."""
        return self.random.randrange(0, count) == 0
