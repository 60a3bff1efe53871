"""Damage for frames: flipped bits, cuts, lengths and counts that lie, tags by the million, other versions, noise."""

import random
import struct
from collections.abc import Callable

LARGEST_VARINT = b"\xff\xff\xff\xff\x0f"
FRAME_LIMIT = 1 << 20


def mutated(chance: random.Random, frame: bytes) -> bytes:
    """The frame with one to three kinds of damage. It has no size in front."""
    damaged = bytearray(frame)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        chance.choice(MUTATIONS)(chance, damaged)
    return bytes(damaged[:FRAME_LIMIT])


def _body_position(chance: random.Random, frame: bytearray) -> int:
    """Mostly behind the header, whose damage is soon found out."""
    return chance.randrange(min(len(frame), 10), len(frame) + 1) if chance.random() < 0.9 else chance.randrange(len(frame) + 1)


def _flip_bits(chance: random.Random, frame: bytearray) -> None:
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = _body_position(chance, frame)
        if at < len(frame):
            frame[at] ^= 1 << chance.randrange(8)


def _cut(chance: random.Random, frame: bytearray) -> None:
    del frame[_body_position(chance, frame) :]


def _overwrite(value: bytes) -> Callable[[random.Random, bytearray], None]:
    def overwrite(chance: random.Random, frame: bytearray) -> None:
        at = _body_position(chance, frame)
        frame[at : at + len(value)] = value

    return overwrite


def _insert_noise(chance: random.Random, frame: bytearray) -> None:
    at = _body_position(chance, frame)
    frame[at:at] = chance.randbytes(chance.choice([1, 2, 4, 100]))


def _remove(chance: random.Random, frame: bytearray) -> None:
    at = _body_position(chance, frame)
    del frame[at : at + chance.choice([1, 2, 4, 16])]


def _repeat(chance: random.Random, frame: bytearray) -> None:
    at = _body_position(chance, frame)
    frame[at:at] = frame[at : at + chance.choice([4, 30])] * chance.choice([2, 20, 500])


def _other_version(chance: random.Random, frame: bytearray) -> None:
    if len(frame) >= 4:
        struct.pack_into(">h", frame, 2, chance.choice([-1, 0, 1, 2, 5, 9, 13, 18, 99, 32767, -32768]))


def _other_api(chance: random.Random, frame: bytearray) -> None:
    if len(frame) >= 2:
        struct.pack_into(">h", frame, 0, chance.randrange(-1, 95))


def _tag_bomb(chance: random.Random, frame: bytearray) -> None:
    """A million empty tags would be in order, but for the budget; here some thousands."""
    count = chance.choice([1000, 5000])
    frame += bytes([count & 127 | 128, count >> 7 & 127 | (128 if count >> 14 else 0)]) + (bytes([count >> 14]) if count >> 14 else b"")
    frame += b"\x7f\0" * count


def _long_tail(chance: random.Random, frame: bytearray) -> None:
    frame += chance.choice([b"\0", b"\xff", b"\1"]) * chance.choice([1, 100, 10_000])


MUTATIONS: list[Callable[[random.Random, bytearray], None]] = [
    _flip_bits,
    _flip_bits,
    _flip_bits,
    _cut,
    _insert_noise,
    _remove,
    _repeat,
    _other_version,
    _other_api,
    _tag_bomb,
    _long_tail,
    _overwrite(b"\xff" * 2),
    _overwrite(b"\xff" * 4),
    _overwrite(b"\xff" * 8),
    _overwrite(b"\x7f\xff\xff\xff"),
    _overwrite(b"\x7f\xff"),
    _overwrite(b"\0\0\0\0"),
    _overwrite(b"\0"),
    _overwrite(b"\1"),
    _overwrite(LARGEST_VARINT),
    _overwrite(b"\xff\xff\x03"),
]
