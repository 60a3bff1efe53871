"""Encode and decode any message in any of its versions. Damaged input raises Malformed and nothing else; an impossible value, Unencodable.

Compiled on first use, for each message and version:

    encode(MetadataRequest(topics=None), 12)          -> bytes
    encode_buffers(response, version)                 -> pieces, records uncopied
    decode(MetadataRequest, 12, frame, position)      -> MetadataRequest
"""

import struct
import sys
from collections.abc import Callable
from typing import TypeVar

from pykbroker.protocol.blame import blame
from pykbroker.protocol.decoder import Decode, compile_decoder
from pykbroker.protocol.encoder import Encode, compile_encoder
from pykbroker.protocol.messages import Message
from pykbroker.protocol.wire import Buffer, Malformed, Unencodable

M = TypeVar("M", bound=Message)

UNBOUNDED = sys.maxsize
"""The budget of elements for messages that a trusted peer made: our own log, a broker we asked."""

_UNCOPIED_SIZE = 4096
"""A piece this large stays a piece; smaller ones are joined, since each piece costs the socket more than copying it."""

_IMPOSSIBLE = (Unencodable, struct.error, TypeError, AttributeError, UnicodeEncodeError, KeyError)
"""What Python raises when a compiled encoder meets a value that its field cannot carry."""

_decoders: dict[tuple[type[Message], int], Decode] = {}
_encoders: dict[tuple[type[Message], int], Encode] = {}


def decoder(message: type[Message], version: int) -> Decode:
    """The compiled function (buffer, position, budget) -> (message, position behind it)."""
    try:
        return _decoders[message, version]
    except KeyError:
        return _decoders.setdefault((message, version), _compiled(compile_decoder, message, version))


def encoder(message: type[Message], version: int) -> Encode:
    """The compiled function message -> pieces. It fails with whatever Python says; `encode` says it in words."""
    try:
        return _encoders[message, version]
    except KeyError:
        return _encoders.setdefault((message, version), _compiled(compile_encoder, message, version))


def decode(message: type[M], version: int, buffer: Buffer, position: int = 0, *, budget: int = UNBOUNDED) -> M:
    """The message that fills `buffer` from `position` to its end; bytes left over are Malformed."""
    decoded, behind = decode_prefix(message, version, buffer, position, budget=budget)
    if behind != len(buffer):
        raise Malformed(f"{len(buffer) - behind} bytes are left over behind {message.SCHEMA.name} version {version}")
    return decoded


def decode_prefix(message: type[M], version: int, buffer: Buffer, position: int = 0, *, budget: int = UNBOUNDED) -> tuple[M, int]:
    """The message at `position`, and the position behind it; what follows is not looked at (W-19).

    `budget` is how many arrays, array elements, record fields and tags together it may have. Records are slices of `buffer`; everything else is copied.
    """
    return decoder(message, version)(buffer, position, budget)  # type: ignore[return-value]


def encode(message: Message, version: int) -> bytes:
    """The bytes of a message."""
    try:
        return b"".join(encoder(type(message), version)(message))
    except _IMPOSSIBLE as error:
        raise Unencodable(blame(message, version)) from error


def encode_buffers(message: Message, version: int) -> list[Buffer]:
    """The bytes of a message, in pieces: records of some size are the very buffers that the message holds."""
    try:
        return _small_ones_joined(encoder(type(message), version)(message))
    except _IMPOSSIBLE as error:
        raise Unencodable(blame(message, version)) from error


def _small_ones_joined(pieces: list[Buffer]) -> list[Buffer]:
    joined: list[Buffer] = []
    small: list[Buffer] = []
    for piece in pieces:
        if len(piece) < _UNCOPIED_SIZE:
            small.append(piece)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(piece if isinstance(piece, bytes) else memoryview(piece))
    if small:
        joined.append(b"".join(small))
    return joined


F = TypeVar("F")


def _compiled(make: Callable[[type[Message], int], F], message: type[Message], version: int) -> F:
    if version not in message.VERSIONS:
        raise KeyError(f"{message.SCHEMA.name} has no version {version}")
    return make(message, version)
