"""The five ways a batch's records may be compressed. Nothing is decompressed without a bound on what comes out.

The libraries are imported when a batch first needs them. Snappy comes in two framings: what Java clients write (xerial: a header, then blocks
with their sizes) and a bare block, as some others do.
"""

import struct
import zlib
from collections.abc import Callable, Generator, Iterator
from enum import IntEnum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from pykbroker.protocol.wire import Buffer, Malformed

if TYPE_CHECKING:
    from types import ModuleType


class CompressionType(IntEnum):
    """The low three bits of a batch's attributes. `label` is its name in `compression.type`."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

    @property
    def label(self) -> str:
        """none, gzip, snappy, lz4, zstd."""
        return self.name.lower()


class TooLarge(ValueError):  # noqa: N818 - a state of the input
    """More would come out than the caller allows."""


CHUNK_SIZE = 64 * 1024
"""How much is decompressed at a time, where the codec lets us ask."""

_PIECE_SIZE = 64 * 1024
"""How much a codec is fed at a time: what it has not used yet is copied again with each call."""

_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_LZ4_VERSION_AND_INDEPENDENCE = 0b1110_0000
_LZ4_VERSION_1_INDEPENDENT = 0b0110_0000
_LZ4_DEFAULT_LEVEL = 9

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_MAGIC_AS_SIZE = struct.unpack(">i", _XERIAL_MAGIC[:4])[0]
_XERIAL_BLOCK_SIZE = 32 * 1024


def compress(compression: CompressionType, data: Buffer, level: int | None = None) -> bytes:
    """`data`, compressed as a batch of that type has it. `level` None is the codec's own default."""
    match compression:
        case CompressionType.NONE:
            return bytes(data)
        case CompressionType.GZIP:
            packer = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, 31)
            return packer.compress(data) + packer.flush()
        case CompressionType.SNAPPY:
            return _compress_snappy(data)
        case CompressionType.LZ4:
            return _compress_lz4(data, level)
        case CompressionType.ZSTD:
            compressed: bytes = _zstd().compress(data, level) if level is not None else _zstd().compress(data)
            return compressed


def decompress(compression: CompressionType, data: Buffer, limit: int) -> bytes:
    """All of it. Raises TooLarge when more than `limit` bytes come out, and Malformed when it is not what it claims to be."""
    return b"".join(decompressed_chunks(compression, data, limit))


def decompressed_chunks(compression: CompressionType, data: Buffer, limit: int) -> Iterator[Buffer]:
    """The same, in chunks as they come out: memory is bounded by a chunk, not by the whole. Raises as `decompress` does."""
    size = 0
    try:
        for chunk in _CHUNKS[compression](data, limit):
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"more than {limit} bytes come out of {len(data)} compressed with {compression.label}")
            yield chunk
    except (TooLarge, Malformed):
        raise
    except Exception as error:
        raise Malformed(f"{len(data)} bytes are not {compression.label}: {error}") from error


def _chunks_none(data: Buffer, _limit: int) -> Iterator[Buffer]:
    yield data


def _chunks_gzip(data: Buffer, _limit: int) -> Iterator[Buffer]:
    """One gzip member, or several behind one another, as Java's stream reads them."""
    position = 0
    while position < len(data):
        unpacker = zlib.decompressobj(31)
        while not unpacker.eof:
            if position >= len(data):
                raise Malformed("the gzip stream ends too early")
            given = data[position : position + _PIECE_SIZE]
            chunk = unpacker.decompress(given, CHUNK_SIZE)
            position += len(given) - len(unpacker.unconsumed_tail) - len(unpacker.unused_data)
            yield chunk


def _chunks_zstd(data: Buffer, _limit: int) -> Iterator[Buffer]:
    """One zstd frame, or several."""
    zstd = _zstd()
    position = 0
    while position < len(data):
        unpacker = zstd.ZstdDecompressor()
        fed = yield from _fed(unpacker, data[position:])
        position += fed - len(unpacker.unused_data)


def _chunks_lz4(data: Buffer, limit: int) -> Iterator[Buffer]:
    """One lz4 frame, whose blocks must not refer to one another (P-30); what follows it is not looked at."""
    if bytes(data[:4]) != _LZ4_MAGIC or len(data) < 7:
        raise Malformed(f"{len(data)} bytes are no lz4 frame")
    if data[4] & _LZ4_VERSION_AND_INDEPENDENCE != _LZ4_VERSION_1_INDEPENDENT:
        raise Malformed("an lz4 frame has blocks that depend on one another, or another version than 1")
    lz4 = _lz4()
    if lz4 is None:
        yield _cramjam_lz4(data, limit)
    else:
        yield from _fed(lz4.LZ4FrameDecompressor(), data)


def _fed(unpacker: "_Unpacker", data: Buffer) -> Generator[Buffer, None, int]:
    """Drain a decompressor object of the shape that bz2, lzma, zstd and lz4 share, feeding it piece by piece. Returns how much was fed."""
    position = 0
    while not unpacker.eof:
        given: Buffer = b""
        if unpacker.needs_input:
            if position >= len(data):
                raise Malformed("the stream ends too early")
            given = data[position : position + _PIECE_SIZE]
            position += len(given)
        yield unpacker.decompress(given, max_length=CHUNK_SIZE)
    return position


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: Buffer, max_length: int) -> bytes: ...


def _chunks_snappy(data: Buffer, limit: int) -> Iterator[Buffer]:
    """A bare block, or blocks with their sizes behind a header; that may come again, where streams were joined."""
    if bytes(data[:8]) != _XERIAL_MAGIC:
        yield _snappy_block(data, limit)
        return
    position, end = 16, len(data)
    while end - position >= 4:
        (size,) = struct.unpack_from(">i", data, position)
        if size == _XERIAL_MAGIC_AS_SIZE:
            position += 16
            continue
        position += 4
        if not 0 <= size <= end - position:
            raise Malformed(f"a snappy block claims {size} bytes, {end - position} are there")
        yield _snappy_block(data[position : position + size], limit)
        position += size


def _snappy_block(block: Buffer, limit: int) -> Buffer:
    """One block; the size that it claims is checked before room is made for it."""
    import cramjam

    claimed = cramjam.snappy.decompress_raw_len(block)
    if claimed > limit:
        raise TooLarge(f"a snappy block claims {claimed} bytes, at most {limit} are allowed")
    out = bytearray(claimed)
    written = cramjam.snappy.decompress_raw_into(block, out)
    if written != claimed:
        raise Malformed(f"a snappy block claims {claimed} bytes and holds {written}")
    return out


def _compress_snappy(data: Buffer) -> bytes:
    import cramjam

    view = memoryview(data)
    parts = [_XERIAL_MAGIC, struct.pack(">ii", 1, 1)]
    for start in range(0, len(view), _XERIAL_BLOCK_SIZE):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_SIZE]))
        parts += (struct.pack(">i", len(block)), block)
    return b"".join(parts)


def _compress_lz4(data: Buffer, level: int | None) -> bytes:
    """Kafka's default level, 9, stands for the fast compressor; others for the high one."""
    wanted = 0 if level is None or level == _LZ4_DEFAULT_LEVEL else level
    lz4 = _lz4()
    if lz4 is None:
        import cramjam

        packer = cramjam.lz4.Compressor(level=wanted, content_checksum=False, block_linked=False)
        packer.compress(data)
        return bytes(packer.finish())
    compressed: bytes = lz4.compress(bytes(data), compression_level=wanted, block_linked=False, store_size=False)
    return compressed


def _cramjam_lz4(data: Buffer, limit: int) -> Buffer:
    """Into a buffer that grows up to the limit: cramjam fails where the frame does not fit."""
    import cramjam

    size = min(limit, max(CHUNK_SIZE, 4 * len(data)))
    while True:
        out = bytearray(size)
        try:
            return memoryview(out)[: cramjam.lz4.decompress_into(data, out)]
        except cramjam.DecompressionError:
            if size >= limit:
                raise TooLarge(f"more than {limit} bytes come out, or the frame is damaged") from None
            size = min(limit, size * 4)


@cache
def _lz4() -> "ModuleType | None":
    """The lz4 library, which has no wheels for some platforms; cramjam stands in there, ten times slower."""
    try:
        frame: ModuleType = import_module("lz4.frame")
    except ImportError:
        return None
    return frame


@cache
def _zstd() -> "ModuleType":
    """From Python's own library, since 3.14."""
    try:
        zstd: ModuleType = import_module("compression.zstd")
    except ImportError:
        zstd = import_module("backports.zstd")
    return zstd


_CHUNKS: dict[CompressionType, Callable[[Buffer, int], Iterator[Buffer]]] = {
    CompressionType.NONE: _chunks_none,
    CompressionType.GZIP: _chunks_gzip,
    CompressionType.SNAPPY: _chunks_snappy,
    CompressionType.LZ4: _chunks_lz4,
    CompressionType.ZSTD: _chunks_zstd,
}
