"""Batches are built, read and patched; kafka-python and aiokafka read ours and we read theirs, in all five compressions."""

import contextlib
import importlib
import struct
import tracemalloc
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykbroker.protocol.compression import CompressionType, compress
from pykbroker.protocol.records import (
    BatchProperties,
    ControlRecordType,
    CorruptBatch,
    NewRecord,
    Record,
    RecordBatch,
    TimestampType,
    batches,
    build_batch,
    control_batch,
    control_record_type,
    sequence_plus,
    set_log_append_time,
    set_offsets,
)
from pykbroker.storage.validator import ValidationSettings, one_batch, validate

NOW = 1_700_000_000_000
COMPRESSIONS = pytest.mark.parametrize("compression", list(CompressionType), ids=lambda compression: compression.label)

maybe_bytes = st.none() | st.binary(max_size=100)
new_records = st.lists(
    st.builds(
        NewRecord,
        value=maybe_bytes,
        key=maybe_bytes,
        headers=st.lists(st.tuples(st.text(max_size=20), maybe_bytes), max_size=3).map(tuple),
        timestamp=st.integers(-1, 2**62),
    ),
    min_size=1,
    max_size=20,
)


@given(new_records, st.sampled_from(CompressionType), st.integers(0, 2**62))
@settings(deadline=None)
def test_what_is_built_is_read(records: list[NewRecord], compression: CompressionType, base_offset: int) -> None:
    properties = BatchProperties(base_offset=base_offset, compression=compression, producer_id=7, producer_epoch=1, base_sequence=2)
    batch = RecordBatch(build_batch(records, properties))

    assert list(batch.records()) == [
        Record(base_offset + index, record.timestamp, record.key, record.value, record.headers) for index, record in enumerate(records)
    ]
    assert batch.is_sound()
    assert (batch.compression, batch.magic, batch.record_count) == (compression, 2, len(records))
    assert (batch.last_offset, batch.next_offset) == (base_offset + len(records) - 1, base_offset + len(records))
    assert batch.max_timestamp == max(record.timestamp for record in records)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence, batch.last_sequence) == (7, 1, 2, len(records) + 1)
    assert batch.size_in_bytes == len(batch.buffer)


def test_header_fields_stand_where_kafka_has_them() -> None:
    """The layout of KIP-98, byte for byte."""
    properties = BatchProperties(base_offset=1, partition_leader_epoch=2, producer_id=3, producer_epoch=4, base_sequence=5)
    batch = build_batch([NewRecord(b"v", b"k", [("h", None)], timestamp=6)], properties)

    body = bytes.fromhex("00 00 00 026b 0276 02 0268 01".replace(" ", ""))
    assert batch[61:] == bytes([2 * len(body)]) + body
    fields = struct.unpack(">qiibIhiqqqhii", batch[:61])
    assert fields == (1, 49 + 1 + len(body), 2, 2, fields[4], 0, 0, 6, 6, 3, 4, 5, 1)


@given(st.binary(max_size=200), st.data())
@settings(deadline=None)
def test_damage_is_a_corrupt_batch_and_nothing_else(noise: bytes, data: st.DataObject) -> None:
    compression = data.draw(st.sampled_from(CompressionType))
    batch = bytearray(build_batch([NewRecord(b"value", b"key", [("h", b"x")])] * 3, BatchProperties(compression=compression)))
    at = data.draw(st.integers(61, len(batch) - 1))
    batch[at : at + len(noise)] = noise[: len(batch) - at]
    with contextlib.suppress(CorruptBatch):
        assert len(list(RecordBatch(batch).records(limit=1000))) == 3


def test_attributes_are_told_apart() -> None:
    flags = BatchProperties(is_transactional=True, is_control=True, timestamp_type=TimestampType.LOG_APPEND_TIME, max_timestamp=NOW)
    batch = RecordBatch(build_batch([NewRecord(b"v", timestamp=5)], flags))
    assert batch.is_transactional
    assert batch.is_control
    assert batch.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert [record.timestamp for record in batch.records()] == [NOW], "append time is every record's time"
    assert batch.delete_horizon_ms is None

    horizon = RecordBatch(build_batch([NewRecord(None, b"k", timestamp=5)], BatchProperties(has_delete_horizon=True, base_timestamp=NOW)))
    assert horizon.delete_horizon_ms == NOW
    assert [record.timestamp for record in horizon.records()] == [5]


def test_a_compression_that_does_not_exist_is_a_corrupt_batch() -> None:
    batch = bytearray(build_batch([NewRecord(b"v")]))
    batch[22] = 5
    with pytest.raises(CorruptBatch, match="5"):
        list(RecordBatch(batch).records())


def test_a_compacted_batch_keeps_its_offsets() -> None:
    kept = [NewRecord(b"a", timestamp=1), NewRecord(b"b", timestamp=2)]
    batch = RecordBatch(build_batch(kept, BatchProperties(base_offset=100, last_offset_delta=9), offset_deltas=[3, 7]))
    assert [record.offset for record in batch.records()] == [103, 107]
    assert (batch.last_offset, batch.record_count) == (109, 2)


@COMPRESSIONS
def test_offsets_and_append_time_are_patched_in_place(compression: CompressionType) -> None:
    buffer = bytearray(build_batch([NewRecord(b"v", timestamp=5)] * 2, BatchProperties(compression=compression)))
    records_before = bytes(buffer[61:])

    set_offsets(memoryview(buffer), 1000, 3)
    assert RecordBatch(buffer).is_sound(), "the checksum covers neither offset nor leader epoch"
    set_log_append_time(memoryview(buffer), NOW)

    batch = RecordBatch(buffer)
    assert batch.is_sound()
    assert (batch.base_offset, batch.partition_leader_epoch, batch.base_timestamp, batch.max_timestamp) == (1000, 3, 5, NOW)
    assert [(record.offset, record.timestamp) for record in batch.records()] == [(1000, NOW), (1001, NOW)]
    assert bytes(buffer[61:]) == records_before


def test_batches_are_found_and_a_partial_one_at_the_end_is_left_out() -> None:
    first = build_batch([NewRecord(b"a")] * 2)
    second = build_batch([NewRecord(b"b")], BatchProperties(base_offset=2))
    log = first + second
    assert [batch.base_offset for batch in batches(log)] == [0, 2]
    for cut in range(1, len(second) + 1):
        assert [batch.base_offset for batch in batches(log[:-cut])] == [0]
    with pytest.raises(CorruptBatch):
        list(batches(first + bytes(61)))


def test_sequences_go_round() -> None:
    assert sequence_plus(2**31 - 1, 1) == 0
    assert sequence_plus(0, -1) == 2**31 - 1
    batch = RecordBatch(build_batch([NewRecord(b"v")] * 3, BatchProperties(producer_id=1, producer_epoch=0, base_sequence=2**31 - 2)))
    assert batch.last_sequence == 0


def test_a_marker_says_what_it_is() -> None:
    batch = RecordBatch(
        control_batch(ControlRecordType.ABORT, bytes(6), NOW, BatchProperties(producer_id=9, producer_epoch=1, is_transactional=True))
    )
    (record,) = batch.records()
    assert batch.is_control
    assert (batch.is_transactional, batch.producer_id) == (True, 9)
    assert (record.key, control_record_type(record)) == (b"\0\0\0\0", ControlRecordType.ABORT)
    with pytest.raises(CorruptBatch):
        control_record_type(record._replace(key=b"\0"))


def test_a_batch_that_unpacks_to_a_gibibyte_costs_no_more_than_its_limit() -> None:
    bomb = build_batch([NewRecord(b"v")], BatchProperties(compression=CompressionType.ZSTD))
    payload = compress(CompressionType.ZSTD, bytes(2**26)) * 16
    batch = RecordBatch(bomb[:8] + struct.pack(">i", 49 + len(payload)) + bomb[12:61] + payload)
    tracemalloc.start()
    with pytest.raises(CorruptBatch, match="more than"):
        list(batch.records(limit=2**20))
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    tracemalloc.stop()


# Other people's code, in both directions.

RECORDS = [
    NewRecord(b"value %d" % number * number, b"k%d" % number, (("header", b"h"), ("none", None)), NOW + number) for number in range(30)
]
CLIENTS = pytest.mark.parametrize("client", ["kafka", "aiokafka"])


def their_module(client: str, compression: CompressionType) -> ModuleType:
    codec = pytest.importorskip(f"{client}.codec")
    if compression is not CompressionType.NONE and not getattr(codec, f"has_{compression.label}")():
        pytest.skip(f"{client} lacks a library for {compression.label}")
    return importlib.import_module(f"{client}.record.default_records")


@CLIENTS
@COMPRESSIONS
def test_we_read_what_clients_build(client: str, compression: CompressionType) -> None:
    builder = their_module(client, compression).DefaultRecordBatchBuilder(
        magic=2,
        compression_type=int(compression),
        is_transactional=True,
        producer_id=7,
        producer_epoch=1,
        base_sequence=2,
        batch_size=10**6,
    )
    for number, record in enumerate(RECORDS):
        builder.append(number, record.timestamp, record.key, record.value, list(record.headers))

    batch = RecordBatch(bytes(builder.build()))

    assert batch.is_sound()
    assert (batch.compression, batch.is_transactional, batch.base_sequence) == (compression, True, 2)
    assert [record[1:] for record in batch.records()] == [
        (record.timestamp, record.key, record.value, tuple(record.headers)) for record in RECORDS
    ]
    validate(one_batch(batch.buffer, 9), ValidationSettings(), NOW)


@CLIENTS
@COMPRESSIONS
def test_clients_read_what_we_build(client: str, compression: CompressionType) -> None:
    properties = BatchProperties(
        base_offset=100, compression=compression, is_transactional=True, producer_id=7, producer_epoch=1, base_sequence=2
    )
    built = build_batch(RECORDS, properties)

    batch = their_module(client, compression).DefaultRecordBatch(bytearray(built))

    assert batch.validate_crc()
    assert (batch.compression_type, batch.is_transactional, batch.base_offset) == (compression, True, 100)
    assert [(record.offset, record.timestamp, record.key, record.value, tuple(record.headers)) for record in batch] == [
        (100 + number, record.timestamp, record.key, record.value, record.headers) for number, record in enumerate(RECORDS)
    ]
