"""What stands in front of a message: which header goes with which version of which API is decided here, and nowhere else.

A request's header is version 2 (with a tag section) when the request itself is flexible, else 1; its client id is an ordinary nullable
string in both. A response's header is version 1 when the response is flexible, else 0, except that the answer to
ApiVersions always has version 0: the client that asks does not know yet what the broker speaks (KIP-511, W-04).
"""

import struct
from typing import NamedTuple, TypeVar

from pykbroker.protocol.codec import UNBOUNDED, decode, encode_buffers
from pykbroker.protocol.decoder import skip_tags
from pykbroker.protocol.definitions import api_files
from pykbroker.protocol.messages import Message
from pykbroker.protocol.wire import Buffer, Malformed, read_unsigned_varint

PRODUCE = 0
API_VERSIONS = 18

_FIRST_FLEXIBLE: dict[int, int] = {}
_FIXED_PART = struct.Struct(">hhih")
_MAX_HEADER_TAGS = 1000

M = TypeVar("M", bound=Message)


class RequestHeader(NamedTuple):
    """Which API, in which version, asked by whom; `correlation_id` comes back in the answer."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


class _Tags:
    """Where the tags of a header end up: nobody needs them (W-16)."""

    __slots__ = ("unknown_tags",)

    def __init__(self) -> None:
        self.unknown_tags: list[tuple[int, bytes]] | None = None


def read_request_header(frame: Buffer) -> tuple[RequestHeader, int]:
    """The header of a request, and where its body begins. `frame` is without its size. Raises Malformed."""
    try:
        api_key, api_version, correlation_id, length = _FIXED_PART.unpack_from(frame)
    except struct.error:
        raise Malformed(f"{len(frame)} bytes are too few for a request header") from None
    position = 10
    client_id = None
    if length >= 0:
        position += length
        if position > len(frame):
            raise Malformed("the client id claims more bytes than there are")
        client_id = str(frame[10:position], "utf-8", "replace")
    if api_version >= first_flexible_version(api_key):
        position = _skip_tag_section(frame, position)
    return RequestHeader(api_key, api_version, correlation_id, client_id), position


def response_header(api_key: int, api_version: int, correlation_id: int) -> bytes:
    """The header of the response to a request of that version."""
    if api_version >= first_flexible_version(api_key) and api_key != API_VERSIONS:
        return struct.pack(">ib", correlation_id, 0)
    return struct.pack(">i", correlation_id)


def response_frame(response: Message, api_version: int, correlation_id: int) -> list[Buffer]:
    """A whole response with its size in front, in pieces: records of some size are not copied."""
    pieces = encode_buffers(response, api_version)
    return _framed(response_header(response.API_KEY, api_version, correlation_id), pieces)


def request_frame(request: Message, api_version: int, correlation_id: int, client_id: str | None = "pykbroker") -> list[Buffer]:
    """A whole request with its size in front, in pieces."""
    name = b"" if client_id is None else client_id.encode()
    header = _FIXED_PART.pack(request.API_KEY, api_version, correlation_id, -1 if client_id is None else len(name)) + name
    if api_version in request.FLEXIBLE_VERSIONS:
        header += b"\0"
    return _framed(header, encode_buffers(request, api_version))


def read_response(response: type[M], api_version: int, frame: Buffer) -> tuple[int, M]:
    """The correlation id and the message of a response; `frame` is without its size. Raises Malformed."""
    if len(frame) < 4:
        raise Malformed(f"{len(frame)} bytes are too few for a response header")
    position = 4
    if api_version in response.FLEXIBLE_VERSIONS and response.API_KEY != API_VERSIONS:
        position = _skip_tag_section(frame, position)
    return int.from_bytes(frame[:4], "big", signed=True), decode(response, api_version, frame, position, budget=UNBOUNDED)


def first_flexible_version(api_key: int) -> int:
    """The first version of an API that has tag sections; beyond every version where it has none, or does not exist."""
    try:
        return _FIRST_FLEXIBLE[api_key]
    except KeyError:
        return _FIRST_FLEXIBLE.setdefault(api_key, _look_up_first_flexible(api_key))


def _look_up_first_flexible(api_key: int) -> int:
    from pykbroker.protocol.apis import API_BY_KEY

    versions = API_BY_KEY[api_key].request.FLEXIBLE_VERSIONS if api_key in api_files() else range(0)
    return versions.start if versions else 0x8000


def _skip_tag_section(frame: Buffer, position: int) -> int:
    try:
        count, position = read_unsigned_varint(frame, position)
        if count:
            position, _ = skip_tags(frame, position, count, _Tags(), _MAX_HEADER_TAGS)
    except IndexError:
        raise Malformed("the header ends within its tags") from None
    return position


def _framed(header: bytes, pieces: list[Buffer]) -> list[Buffer]:
    """Size and header, joined with a small first piece: a small answer is one write of one piece."""
    size = len(header) + sum(len(piece) for piece in pieces)
    front = struct.pack(">i", size) + header
    if pieces and len(pieces[0]) < 4096:
        return [b"".join((front, pieces[0])), *pieces[1:]]
    return [front, *pieces]
