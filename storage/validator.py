"""What a client sends is checked here, as Kafka's LogValidator does, before it becomes part of the log. What is refused leaves no trace.

`one_batch` looks at the shape of what came for a partition, before anything else is known of it. `validate` then checks the batch itself, in the order
in which Kafka finds faults (P-26): base offset, size, magic and checksum, header, records. What the topic asks to be different (compression, append
time, a wrong largest timestamp) is corrected; everything else stays byte for byte as it came (P-15).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pykbroker.protocol.compression import CompressionType, TooLarge, compress
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import (
    ATTRIBUTES_OFFSET,
    CRC_OFFSET,
    HEADER_SIZE,
    LENGTH_OFFSET,
    LOG_OVERHEAD,
    MAGIC_OFFSET,
    MAX_TIMESTAMP_OFFSET,
    RecordBatch,
    TimestampType,
)
from pykbroker.protocol.wire import Buffer, Malformed
from pykbroker.storage.record_walk import (
    BadRecord,
    Walked,
    keyless_records,
    offset_deltas_count_up,
    timestamp_deltas,
    walk,
)

SMALLEST_LEGACY_RECORD = 14
"""A length field below this is not even that of an old message."""

SMALLEST_DECOMPRESSED_LIMIT = 16 * 1024 * 1024
FIRST_PRODUCE_VERSION_WITH_ZSTD = 7
UNLIMITED_MS = 2**63 - 1

_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_UINT32 = struct.Struct(">I")


class RecordError(NamedTuple):
    """One record that was refused: its place in the batch, counted from 0, and why."""

    batch_index: int
    message: str


class RecordsRefused(KafkaError):
    """Records that a partition does not take. `in_shape` is false when their very shape was wrong: then no log start is told (P-27)."""

    def __init__(
        self, error_code: ErrorCode, message: str | None = None, record_errors: Sequence[RecordError] = (), *, in_shape: bool = True
    ) -> None:
        super().__init__(error_code, message)
        self.record_errors = record_errors
        self.in_shape = in_shape
        self.shown_message = message
        """What the client is told; None where Kafka tells nothing (clients read the code)."""


@dataclass(slots=True, frozen=True)
class ValidationSettings:
    """What a topic asks of its records."""

    max_message_bytes: int = 1_048_588
    is_compacted: bool = False
    timestamp_type: TimestampType = TimestampType.CREATE_TIME
    timestamp_before_max_ms: int = UNLIMITED_MS
    timestamp_after_max_ms: int = 3_600_000
    compression: CompressionType | None = None
    """None: as the producer has it (`compression.type=producer`)."""
    compression_level: int | None = None


DEFAULT_SETTINGS = ValidationSettings()


def one_batch(records: Buffer | None, produce_version: int) -> memoryview:
    """The one batch that a Produce may bring for a partition (P-01 to P-04, P-29); bytes too few for another header are dropped."""
    if records is None or len(records) == 0:
        raise _misshapen()
    view = memoryview(records)
    if len(view) < HEADER_SIZE:
        if len(view) > MAGIC_OFFSET:
            _refuse_old_or_short(view)
        raise _misshapen()
    size = _refuse_old_or_short(view)
    compression = view[ATTRIBUTES_OFFSET + 1] & 7
    if compression == CompressionType.ZSTD and produce_version < FIRST_PRODUCE_VERSION_WITH_ZSTD:
        raise RecordsRefused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, in_shape=False)
    if len(view) - size >= LOG_OVERHEAD + 5:
        raise _misshapen()
    return view[:size]


def _refuse_old_or_short(view: memoryview) -> int:
    """The size of the first batch, if it is one of our time and all there."""
    size = LOG_OVERHEAD + _INT32.unpack_from(view, LENGTH_OFFSET)[0]
    if size < LOG_OVERHEAD + SMALLEST_LEGACY_RECORD:
        raise RecordsRefused(
            ErrorCode.CORRUPT_MESSAGE, f"A batch of {size - LOG_OVERHEAD} bytes is shorter than any record can be.", in_shape=False
        )
    magic = view[MAGIC_OFFSET]
    if magic > 2:
        signed = magic - 256 if magic > 127 else magic
        raise RecordsRefused(ErrorCode.CORRUPT_MESSAGE, f"There is no record format {signed} (magic byte).", in_shape=False)
    if magic < 2 or not HEADER_SIZE <= size <= len(view):
        raise _misshapen()
    return size


def _misshapen() -> RecordsRefused:
    return RecordsRefused(ErrorCode.INVALID_RECORD, in_shape=False)


def validate(batch: memoryview, settings: ValidationSettings, now_ms: int) -> RecordBatch:
    """The batch as the log shall have it, but for its offset and leader epoch. Patched in place where `batch` is writable, else a copy.

    Raises RecordsRefused.
    """
    header = RecordBatch(batch)
    if header.base_offset != 0:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    check_size(header.size_in_bytes, settings)
    if crc32c(batch[ATTRIBUTES_OFFSET:]) != header.crc:
        raise RecordsRefused(ErrorCode.CORRUPT_MESSAGE, in_shape=False)
    _check_header(header)
    payload = _payload(header, settings)
    walked = _walked(header, payload)
    largest_timestamp = header.base_timestamp + walked.largest_timestamp_delta
    if settings.timestamp_type is TimestampType.CREATE_TIME:
        _check_timestamps(header, walked, payload, settings, now_ms)
    elif header.timestamp_type is TimestampType.LOG_APPEND_TIME:
        raise _timestamp_type_from_producer()
    if settings.is_compacted:
        _check_keys(payload, header.record_count)
    if settings.compression is not None and settings.compression is not header.compression:
        header = _recompressed(header, payload, settings)
        check_size(header.size_in_bytes, settings)
    return _corrected(header, settings, largest_timestamp, now_ms)


def check_size(size: int, settings: ValidationSettings) -> None:
    """max.message.bytes, measured on the batch with its overhead (P-06)."""
    if size > settings.max_message_bytes:
        raise RecordsRefused(ErrorCode.MESSAGE_TOO_LARGE, in_shape=False)


def _check_header(header: RecordBatch) -> None:
    """P-08 to P-10."""
    if header.record_count <= 0 or header.last_offset_delta + 1 != header.record_count:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    if header.is_control:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    if header.has_producer_id and header.base_sequence < 0:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)


def _payload(header: RecordBatch, settings: ValidationSettings) -> bytes:
    """The records, decompressed within bounds. What is no such compression at all is the client's bug, and answered as Kafka does (P-30)."""
    if header.attributes & 7 > CompressionType.ZSTD:
        raise RecordsRefused(ErrorCode.UNKNOWN_SERVER_ERROR)
    limit = max(SMALLEST_DECOMPRESSED_LIMIT, 10 * settings.max_message_bytes)
    try:
        return bytes(header.payload(limit))
    except TooLarge:
        raise RecordsRefused(ErrorCode.MESSAGE_TOO_LARGE, f"The records are more than {limit} bytes, decompressed.", in_shape=False) from None
    except Malformed:
        raise RecordsRefused(ErrorCode.UNKNOWN_SERVER_ERROR) from None


def _walked(header: RecordBatch, payload: bytes) -> Walked:
    """Every record walked (P-08, P-17, P-31)."""
    try:
        walked = walk(payload, header.record_count)
    except BadRecord:
        raise RecordsRefused(ErrorCode.INVALID_RECORD) from None
    except Malformed:
        fewer_records_than_claimed = _has_fewer_records(payload, header.record_count)
        code = ErrorCode.INVALID_RECORD if fewer_records_than_claimed else ErrorCode.UNKNOWN_SERVER_ERROR
        raise RecordsRefused(code) from None
    if walked.end != len(payload):
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    if header.attributes & 7 and not offset_deltas_count_up(payload, header.record_count):
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    return walked


def _has_fewer_records(payload: bytes, claimed: int) -> bool:
    """Whether sound records end exactly where the payload does, before as many as claimed have come."""
    position = 0
    for _ in range(claimed):
        if position == len(payload):
            return True
        try:
            position += walk(payload[position:], 1).end
        except (BadRecord, Malformed):
            return False
    return False


def _check_timestamps(header: RecordBatch, walked: Walked, payload: bytes, settings: ValidationSettings, now_ms: int) -> None:
    """message.timestamp.before.max.ms and .after.max.ms; -1 means no timestamp and is exempt from the first (P-12)."""
    lowest = max(now_ms - settings.timestamp_before_max_ms, -1) if settings.timestamp_before_max_ms < UNLIMITED_MS else None
    highest = now_ms + settings.timestamp_after_max_ms if settings.timestamp_after_max_ms < UNLIMITED_MS else None
    too_new = highest is not None and header.base_timestamp + walked.largest_timestamp_delta > highest
    too_old = lowest is not None and header.base_timestamp + walked.smallest_timestamp_delta < lowest
    if not too_new and not too_old:
        return
    errors = []
    for index, delta in enumerate(timestamp_deltas(payload, header.record_count)):
        timestamp = header.base_timestamp + delta
        is_new = highest is not None and timestamp > highest
        is_old = lowest is not None and timestamp != -1 and timestamp < lowest
        if is_new or is_old:
            errors.append(RecordError(index, f"Timestamp {timestamp} is outside of what the topic takes now, {lowest or 0} to {highest}."))
    if errors:
        raise RecordsRefused(ErrorCode.INVALID_TIMESTAMP, "Some records have a timestamp that the topic does not take.", errors)


def _timestamp_type_from_producer() -> RecordsRefused:
    """P-13."""
    error = RecordError(0, "A producer may not set the timestamp type to LogAppendTime.")
    return RecordsRefused(ErrorCode.INVALID_TIMESTAMP, "The records claim to have been stamped by the broker.", [error])


def _check_keys(payload: bytes, count: int) -> None:
    """A compacted topic needs keys (P-11, KIP-467)."""
    keyless = keyless_records(payload, count)
    if keyless:
        errors = [RecordError(index, "A record on a compacted topic needs a key.") for index in keyless]
        raise RecordsRefused(ErrorCode.INVALID_RECORD, f"{len(errors)} records have no key, which a compacted topic needs.", errors)


def _recompressed(header: RecordBatch, payload: bytes, settings: ValidationSettings) -> RecordBatch:
    """The same batch in the topic's compression (P-16)."""
    compression = settings.compression or CompressionType.NONE
    packed = compress(compression, payload, settings.compression_level)
    batch = bytearray(bytes(header.buffer[:HEADER_SIZE]) + packed)
    _INT32.pack_into(batch, LENGTH_OFFSET, len(batch) - LOG_OVERHEAD)
    batch[ATTRIBUTES_OFFSET + 1] = batch[ATTRIBUTES_OFFSET + 1] & ~7 | compression
    return _with_checksum(memoryview(batch))


def _corrected(header: RecordBatch, settings: ValidationSettings, largest_timestamp: int, now_ms: int) -> RecordBatch:
    """Timestamp type and largest timestamp as the topic has them (P-13 to P-15)."""
    append_time = settings.timestamp_type is TimestampType.LOG_APPEND_TIME
    right_timestamp = now_ms if append_time else largest_timestamp
    if header.timestamp_type is settings.timestamp_type and header.max_timestamp == right_timestamp:
        return header if not _is_readonly(header.buffer) else RecordBatch(memoryview(bytearray(header.buffer)))
    batch = memoryview(bytearray(header.buffer)) if _is_readonly(header.buffer) else memoryview(header.buffer)
    batch[ATTRIBUTES_OFFSET + 1] = batch[ATTRIBUTES_OFFSET + 1] & ~8 | (8 if append_time else 0)
    _INT64.pack_into(batch, MAX_TIMESTAMP_OFFSET, right_timestamp)
    return _with_checksum(batch)


def _is_readonly(buffer: Buffer) -> bool:
    return memoryview(buffer).readonly


def _with_checksum(batch: memoryview) -> RecordBatch:
    _UINT32.pack_into(batch, CRC_OFFSET, crc32c(batch[ATTRIBUTES_OFFSET:]))
    return RecordBatch(batch)
