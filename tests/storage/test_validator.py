"""What a topic asks of a batch is held to the byte, batches are patched where they lie, and no batch costs more memory than it may.

Which fault is answered with which code is tested by test_kafka_verdicts.py, against Kafka itself.
"""

import struct
import tracemalloc

import pytest

from pykbroker.protocol.compression import CompressionType, compress
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.records import BatchProperties, NewRecord, RecordBatch, TimestampType, build_batch
from pykbroker.storage.validator import MOST_RECORD_ERRORS, RecordsRefused, ValidationSettings, one_batch, validate

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
MIB = 2**20
ANY_VERSION = 11
COMPRESSIONS = pytest.mark.parametrize("compression", list(CompressionType), ids=lambda compression: compression.label)
DEFAULTS = ValidationSettings()
APPEND_TIME = ValidationSettings(timestamp_type=TimestampType.LOG_APPEND_TIME)


def batch_of(*values: bytes, compression: CompressionType = CompressionType.NONE, timestamp: int = NOW) -> bytearray:
    records = [NewRecord(value, b"key", timestamp=timestamp) for value in values]
    return bytearray(build_batch(records, BatchProperties(compression=compression)))


def taken(batch: bytes | bytearray | memoryview, settings: ValidationSettings = DEFAULTS) -> RecordBatch:
    return validate(one_batch(batch, ANY_VERSION), settings, NOW)


def refused(batch: bytes | bytearray, settings: ValidationSettings = DEFAULTS) -> RecordsRefused:
    with pytest.raises(RecordsRefused) as raised:
        taken(batch, settings)
    return raised.value


def packed(payload: bytes, count: int, compression: CompressionType) -> bytes:
    """A batch around a payload that is compressed already."""
    batch = bytearray(build_batch([NewRecord(b"", timestamp=NOW)], BatchProperties(compression=compression))[:61]) + payload
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">i", batch, 23, count - 1)
    struct.pack_into(">i", batch, 57, count)
    struct.pack_into(">I", batch, 17, crc32c(batch[21:]))
    return bytes(batch)


@COMPRESSIONS
def test_a_sound_batch_is_taken_where_it_lies(compression: CompressionType) -> None:
    frame = bytearray(b"before") + batch_of(b"a", b"b", compression=compression) + b"behind"
    as_sent = bytes(frame)
    stored = taken(memoryview(frame)[6:-6])

    assert bytes(frame) == as_sent
    memoryview(stored.buffer)[0:8] = struct.pack(">q", 77)
    assert frame[6:14] == struct.pack(">q", 77), "it is the frame's own memory"


@COMPRESSIONS
@pytest.mark.parametrize(("timestamp", "is_taken"), [(5, True), (-1, False)])
def test_append_time_is_not_the_producers_to_say_without_a_time(compression: CompressionType, timestamp: int, is_taken: bool) -> None:
    properties = BatchProperties(compression=compression, timestamp_type=TimestampType.LOG_APPEND_TIME)
    batch = build_batch([NewRecord(b"a", b"key", timestamp=timestamp)], properties)
    if is_taken:
        assert taken(batch).max_timestamp == timestamp
    else:
        assert [error.batch_index for error in refused(batch).record_errors] == [0]
        assert refused(batch).error_code == ErrorCode.INVALID_TIMESTAMP


def test_append_time_is_written_where_the_batch_lies() -> None:
    frame = batch_of(b"a", b"b", timestamp=5)
    stored = taken(frame, APPEND_TIME)
    assert (stored.timestamp_type, stored.max_timestamp) == (TimestampType.LOG_APPEND_TIME, NOW)
    assert bytes(stored.buffer) == bytes(frame)
    assert RecordBatch(frame).is_sound()


@pytest.mark.parametrize("settings", [DEFAULTS, APPEND_TIME])
def test_what_may_not_be_written_is_copied(settings: ValidationSettings) -> None:
    sent = bytes(batch_of(b"a"))
    stored = taken(sent, settings)
    memoryview(stored.buffer)[0:8] = struct.pack(">q", 77)
    assert sent == bytes(batch_of(b"a"))


@pytest.mark.parametrize("size", [1_048_588, 500])
def test_max_message_bytes_is_held_to_the_byte(size: int) -> None:
    batch = next(batch for overhead in range(60, 90) if len(batch := batch_of(bytes(size - overhead))) == size)
    assert taken(batch, ValidationSettings(max_message_bytes=size)).size_in_bytes == size
    error = refused(batch, ValidationSettings(max_message_bytes=size - 1))
    assert (error.error_code, error.in_shape) == (ErrorCode.MESSAGE_TOO_LARGE, False)


def test_size_is_measured_as_sent_and_again_as_stored() -> None:
    large = batch_of(bytes(5000))
    small = batch_of(bytes(5000), compression=CompressionType.GZIP)
    to_gzip = ValidationSettings(max_message_bytes=1000, compression=CompressionType.GZIP)
    to_plain = ValidationSettings(max_message_bytes=1000, compression=CompressionType.NONE)
    assert refused(large, to_gzip).error_code == ErrorCode.MESSAGE_TOO_LARGE
    assert refused(small, to_plain).error_code == ErrorCode.MESSAGE_TOO_LARGE
    assert taken(small, to_gzip).size_in_bytes < 200


@COMPRESSIONS
@pytest.mark.parametrize("target", list(CompressionType), ids=lambda compression: f"to {compression.label}")
def test_batches_are_stored_in_the_topics_compression(compression: CompressionType, target: CompressionType) -> None:
    sent = batch_of(b"a" * 100, b"b", compression=compression)
    before = list(RecordBatch(sent).records())
    stored = taken(sent, ValidationSettings(compression=target))
    assert stored.compression is target
    assert stored.is_sound()
    assert list(stored.records()) == before


def test_the_topics_compression_level_is_heeded() -> None:
    values = [b"%d" % (number * 7919 % 100_000) for number in range(3000)]
    sizes = [
        taken(batch_of(*values), ValidationSettings(compression=CompressionType.GZIP, compression_level=level)).size_in_bytes
        for level in (1, 9)
    ]
    assert sizes[0] > sizes[1]


def test_every_keyless_record_is_named_and_the_batch_refused() -> None:
    records = [NewRecord(b"v", key, timestamp=NOW) for key in (b"k", None, b"", None)]
    for compression in CompressionType:
        batch = build_batch(records, BatchProperties(compression=compression))
        error = refused(batch, ValidationSettings(is_compacted=True))
        assert error.error_code == ErrorCode.INVALID_RECORD
        assert [named.batch_index for named in error.record_errors] == [1, 3]
        assert error.shown_message
        assert all("key" in named.message for named in error.record_errors)
        taken(batch)


@pytest.mark.parametrize(
    ("timestamp", "before_max_ms", "after_max_ms", "is_taken"),
    [
        (NOW + HOUR_MS, 2**63 - 1, HOUR_MS, True),
        (NOW + HOUR_MS + 1, 2**63 - 1, HOUR_MS, False),
        (0, 2**63 - 1, HOUR_MS, True),
        (NOW - HOUR_MS, HOUR_MS, HOUR_MS, True),
        (NOW - HOUR_MS - 1, HOUR_MS, HOUR_MS, False),
        (-1, HOUR_MS, HOUR_MS, True),
        (NOW + 10**12, HOUR_MS, 2**63 - 1, True),
        (NOW, 0, 0, True),
        (NOW + 1, 0, 0, False),
        (NOW - 1, 0, 0, False),
    ],
)
def test_timestamps_are_held_to_the_millisecond(timestamp: int, before_max_ms: int, after_max_ms: int, *, is_taken: bool) -> None:
    settings = ValidationSettings(timestamp_before_max_ms=before_max_ms, timestamp_after_max_ms=after_max_ms)
    records = [NewRecord(b"v", timestamp=stamp) for stamp in (NOW, timestamp, NOW)]
    batch = build_batch(records)
    if is_taken:
        assert taken(batch, settings).max_timestamp == max(NOW, timestamp)
    else:
        error = refused(batch, settings)
        assert error.error_code == ErrorCode.INVALID_TIMESTAMP
        assert [named.batch_index for named in error.record_errors] == [1]
        assert str(timestamp) in error.record_errors[0].message


def test_of_very_many_refused_records_the_first_are_named() -> None:
    batch = build_batch([NewRecord(b"", timestamp=NOW)] * (MOST_RECORD_ERRORS + 5), BatchProperties())
    error = refused(batch, ValidationSettings(is_compacted=True))
    assert [named.batch_index for named in error.record_errors] == list(range(MOST_RECORD_ERRORS))


def test_a_wrong_largest_timestamp_is_corrected() -> None:
    batch = batch_of(b"a", b"b")
    struct.pack_into(">q", batch, 35, NOW + 5)
    struct.pack_into(">I", batch, 17, crc32c(batch[21:]))
    stored = taken(batch)
    assert stored.max_timestamp == NOW
    assert stored.is_sound()


@pytest.mark.parametrize("compression", list(CompressionType)[1:], ids=lambda compression: compression.label)
def test_records_may_be_as_large_as_ten_batches_once_decompressed(compression: CompressionType) -> None:
    sixteen = build_batch([NewRecord(bytes(MIB - 20), timestamp=NOW)] * 16, BatchProperties(compression=compression))
    payload = RecordBatch(sixteen).payload()
    room = ValidationSettings(max_message_bytes=1_600_000)
    assert 15 * MIB < len(payload) <= 16 * MIB
    taken(sixteen, room)

    seventeen = build_batch([NewRecord(bytes(MIB - 20), timestamp=NOW)] * 17, BatchProperties(compression=compression))
    error = refused(seventeen, room)
    assert (error.error_code, error.in_shape) == (ErrorCode.MESSAGE_TOO_LARGE, False)
    taken(seventeen, ValidationSettings(max_message_bytes=1_800_000))


@pytest.mark.parametrize("settings", [DEFAULTS, ValidationSettings(compression=CompressionType.NONE, is_compacted=True)])
@pytest.mark.parametrize("records", ["tiny records", "one record that claims it all"])
def test_a_gibibyte_in_a_small_batch_is_refused_in_little_memory(settings: ValidationSettings, records: str) -> None:
    if records == "tiny records":
        piece = compress(CompressionType.ZSTD, b"\x0c\0\0\0\1\0\0" * (9 * MIB))
    else:
        piece = compress(CompressionType.ZSTD, struct.pack(">BBBBB", 254, 255, 255, 255, 7) + bytes(64 * MIB))
    bomb = packed(piece * 16, 2**31 - 1, CompressionType.ZSTD)
    assert len(bomb) < MIB
    tracemalloc.start()
    error = refused(bomb, settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.error_code in {ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.INVALID_RECORD}
    assert peak < 20 * MIB


def test_a_compressed_batch_may_hold_very_many_records_if_they_are_alike() -> None:
    alike = build_batch([NewRecord(b"", timestamp=NOW)] * 300_000, BatchProperties(compression=CompressionType.ZSTD))
    taken(alike)
    different = [NewRecord(b"", timestamp=NOW), NewRecord(b"", b"", timestamp=NOW), NewRecord(b"v", timestamp=NOW)] * 50_000
    error = refused(build_batch(different, BatchProperties(compression=CompressionType.ZSTD)))
    assert error.error_code == ErrorCode.MESSAGE_TOO_LARGE
    taken(build_batch(different, BatchProperties(compression=CompressionType.ZSTD)), ValidationSettings(max_message_bytes=2 * MIB))


def test_nothing_is_refused_without_a_reason_in_words() -> None:
    """Where Kafka tells a client nothing but the code, the log of the broker still has a sentence."""
    for batch in (b"", bytes(batch_of(b"a"))[:-1], bytes(batch_of(b"a")) * 2):
        error = refused(batch)
        assert error.shown_message is None
        assert str(error)
