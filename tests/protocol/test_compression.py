"""All five compressions come back as they went in, in every framing that clients use, and nothing that is offered takes more memory than allowed."""

import gzip
import struct
import subprocess
import sys
import tracemalloc

import cramjam
import lz4.frame
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from pykbroker.protocol import compression as codecs
from pykbroker.protocol.compression import CompressionType, TooLarge, compress, decompress, decompressed_chunks
from pykbroker.protocol.wire import Malformed

PACKED = [kind for kind in CompressionType if kind is not CompressionType.NONE]
EACH = pytest.mark.parametrize("kind", PACKED, ids=lambda kind: kind.label)
MIB = 2**20
XERIAL = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)


def independent(data: bytes, **options: object) -> bytes:
    return lz4.frame.compress(data, block_linked=False, **options)


def block(data: bytes) -> bytes:
    packed = bytes(cramjam.snappy.compress_raw(data))
    return struct.pack(">i", len(packed)) + packed


@given(st.sampled_from(CompressionType), st.binary(max_size=1000), st.integers(1, 300))
@settings(deadline=None)
def test_what_is_compressed_comes_back(kind: CompressionType, piece: bytes, times: int) -> None:
    data = piece * times
    assert decompress(kind, compress(kind, data), len(data)) == data
    assert b"".join(decompressed_chunks(kind, memoryview(bytearray(compress(kind, memoryview(data)))), len(data))) == data


@EACH
def test_the_limit_is_exact(kind: CompressionType) -> None:
    packed = compress(kind, bytes(100_000))
    assert decompress(kind, packed, 100_000) == bytes(100_000)
    with pytest.raises(TooLarge):
        decompress(kind, packed, 99_999)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(CompressionType.GZIP, gzip.compress(b"one, ") + gzip.compress(b"two"), id="two gzip members"),
        pytest.param(CompressionType.SNAPPY, bytes(cramjam.snappy.compress_raw(b"one, two")), id="a bare snappy block"),
        pytest.param(CompressionType.SNAPPY, XERIAL + block(b"one, ") + block(b"two"), id="snappy blocks"),
        pytest.param(CompressionType.SNAPPY, XERIAL + block(b"one, ") + XERIAL + block(b"two"), id="snappy streams joined"),
        pytest.param(CompressionType.SNAPPY, XERIAL + block(b"one, two") + b"\0\0", id="half a size behind snappy blocks"),
        pytest.param(CompressionType.LZ4, independent(b"one, two", store_size=True), id="lz4 with its size"),
        pytest.param(CompressionType.LZ4, independent(b"one, two", content_checksum=True, block_checksum=True), id="lz4 with checksums"),
        pytest.param(CompressionType.LZ4, independent(b"one, two", block_size=7), id="lz4 in large blocks"),
        pytest.param(CompressionType.LZ4, independent(b"one, two") + b"junk", id="something behind an lz4 frame"),
        pytest.param(CompressionType.ZSTD, zstd.compress(b"one, ") + zstd.compress(b"two"), id="two zstd frames"),
        pytest.param(
            CompressionType.ZSTD,
            zstd.compress(
                b"one, two", options={zstd.CompressionParameter.checksum_flag: 1, zstd.CompressionParameter.content_size_flag: 0}
            ),
            id="zstd as a stream",
        ),
    ],
)
def test_every_framing_is_read(kind: CompressionType, data: bytes) -> None:
    assert decompress(kind, data, 100) == b"one, two"
    assert decompress(kind, memoryview(data), 8) == b"one, two"


@EACH
def test_what_is_cut_off_or_no_stream_at_all_is_malformed(kind: CompressionType) -> None:
    packed = compress(kind, bytes(range(256)) * 400)
    for damaged in (packed[:-3], packed[: len(packed) // 2], packed[:20], b"\0" * 50, b"\xff" * 50):
        with pytest.raises((Malformed, TooLarge)):
            decompress(kind, damaged, MIB)


@EACH
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_damage_raises_nothing_unexpected(kind: CompressionType, data: st.DataObject) -> None:
    packed = bytearray(compress(kind, b"some content " * 100))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        out = decompress(kind, packed, 10_000)
    except (Malformed, TooLarge):
        return
    assert len(out) <= 10_000


def test_lz4_blocks_that_depend_on_one_another_are_refused() -> None:
    """Kafka refuses them too (P-30)."""
    linked = lz4.frame.compress(b"some content " * 20_000, block_linked=True)
    with pytest.raises(Malformed, match="depend"):
        decompress(CompressionType.LZ4, linked, MIB)


def test_levels_are_heeded() -> None:
    data = b"".join(b"%d %d" % (number, number * 7919 % 1000) for number in range(20_000))
    for kind, low, high in ((CompressionType.GZIP, 1, 9), (CompressionType.LZ4, 3, 17), (CompressionType.ZSTD, 1, 19)):
        sizes = [len(compress(kind, data, level)) for level in (low, high)]
        assert sizes[0] > sizes[1], kind
    assert compress(CompressionType.LZ4, data, 9) == compress(CompressionType.LZ4, data), "Kafka's default level"


def test_lz4_has_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lz4 has no wheel, cramjam reads and writes the same frames."""
    data = b"some content " * 10_000
    packed = compress(CompressionType.LZ4, data)
    monkeypatch.setattr(codecs, "_lz4", lambda: None)
    assert decompress(CompressionType.LZ4, packed, len(data)) == data
    with pytest.raises(TooLarge):
        decompress(CompressionType.LZ4, packed, len(data) - 1)
    with pytest.raises((Malformed, TooLarge)):
        decompress(CompressionType.LZ4, packed[:50], MIB)
    theirs = compress(CompressionType.LZ4, data)
    monkeypatch.undo()
    assert decompress(CompressionType.LZ4, theirs, len(data)) == data


def gibibyte(kind: CompressionType) -> bytes:
    """A gibibyte of zeros, packed; made of pieces, for no codec here need hold it."""
    piece = bytes(64 * MIB)
    if kind is CompressionType.SNAPPY:
        return XERIAL + block(bytes(MIB)) * 1024
    if kind is CompressionType.LZ4:
        packer = lz4.frame.LZ4FrameCompressor(block_linked=False)
        return packer.begin() + b"".join(packer.compress(piece) for _ in range(16)) + packer.flush()
    return compress(kind, piece) * 16


REFUSE = """
import resource, sys
from pykbroker.protocol.compression import CompressionType, TooLarge, decompressed_chunks

bomb, size = sys.stdin.buffer.read(), 0
next(decompressed_chunks(CompressionType(int(sys.argv[1])), bomb, 1 << 24))  # the libraries are imported
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for chunk in decompressed_chunks(CompressionType(int(sys.argv[1])), bomb, 1 << 24):
        size += len(chunk)
except TooLarge:
    print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@EACH
def test_a_gibibyte_is_refused_in_little_memory(kind: CompressionType) -> None:
    done = subprocess.run([sys.executable, "-c", REFUSE, str(int(kind))], check=True, capture_output=True, input=gibibyte(kind))
    size, grown_kib = map(int, done.stdout.split())
    assert 15 * MIB <= size <= 16 * MIB
    assert grown_kib < 8 * 1024, "the chunks are not kept, so it is far below the 16 MiB that come out"


def test_a_block_that_claims_a_gibibyte_gets_no_room() -> None:
    claim = b"\x80\x80\x80\x80\x04" + b"\0" * 20
    tracemalloc.start()
    with pytest.raises(TooLarge):
        decompress(CompressionType.SNAPPY, claim, 16 * MIB)
    assert tracemalloc.get_traced_memory()[1] < MIB
    tracemalloc.stop()


def test_the_libraries_are_imported_when_they_are_needed() -> None:
    program = "import sys; import pykbroker.protocol.records; print(sorted({'cramjam', 'lz4', 'backports.zstd'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert out.stdout == "[]\n"
