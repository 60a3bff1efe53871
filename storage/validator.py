"""What a client sends is checked here, as Kafka's LogValidator does, before it becomes part of the log. What is refused leaves no trace.

`one_batch` looks at the shape of what came for a partition, before anything else is known of it. `validate` then checks the batch itself, in the order
in which Kafka finds faults (P-26): base offset, size, magic and checksum, header, records. What the topic asks to be different (compression, append
time, a wrong largest timestamp) is corrected; everything else stays byte for byte as it came (P-15).
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pykbroker.protocol.compression import CompressionType, TooLarge, compress, decompressed_chunks
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import (
    ATTRIBUTES_OFFSET,
    BASE_TIMESTAMP_OFFSET,
    CRC_OFFSET,
    HEADER_SIZE,
    LENGTH_OFFSET,
    LOG_OVERHEAD,
    MAGIC_OFFSET,
    MAX_TIMESTAMP_OFFSET,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_TIMESTAMP,
    RecordBatch,
    TimestampType,
)
from pykbroker.protocol.wire import Buffer, Malformed, varlong
from pykbroker.storage.record_walk import BadLength, BadRecord, RecordFields, TooManyRecords, Walked, each_record, walk

SMALLEST_LEGACY_RECORD = 14
"""A length field below this is not even that of an old message."""

LARGEST_LENGTH = 2**31 - 1 - LOG_OVERHEAD
"""Beyond it Kafka's size of the batch leaves 32 bits, which it has no error code for."""

SMALLEST_DECOMPRESSED_LIMIT = 16 * 1024 * 1024
FIRST_PRODUCE_VERSION_WITH_ZSTD = 7
UNLIMITED_MS = 2**63 - 1

COPY_SIZE = 256 * 1024
"""Of an uncompressed batch of small records so much is copied at a time: little enough to stay in the processor's cache."""

LARGE_RECORD_SIZE = 512

SMALLEST_RECORD = 7
ALWAYS_ALLOWED_BYTES = 1024 * 1024
"""A compressed batch may hold no more records of different layouts than an uncompressed one of max.message.bytes, or of this size, could: some
150,000, each of `SMALLEST_RECORD` bytes. Walking more would hold up everybody else."""

MOST_RECORD_ERRORS = 10_000
"""So many refused records are named, and no more: an answer shall not be many times as large as what was sent."""

_LOG_APPEND_TIME = 0x08
_CONTROL = 0x20
_KEPT_ATTRIBUTES = 0x18
"""Of a batch that is packed anew: timestamp type, transactional."""

_KNOWN_ATTRIBUTES = 0x7F
"""Others are kept where a batch stays as it came, and lost where its header is written."""

_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_UINT32 = struct.Struct(">I")


class RecordError(NamedTuple):
    """One record that was refused: its place in the batch, counted from 0, and why."""

    batch_index: int
    message: str


class RecordsRefused(KafkaError):  # noqa: N818 - what became of them
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
    """The one batch that a Produce may bring for a partition (P-01 to P-04, P-29); the beginning of another behind it is dropped."""
    view = memoryview(records if records is not None else b"")
    size = whole_batch(view)
    if size == 0 or view[MAGIC_OFFSET] < 2:
        raise RecordsRefused(ErrorCode.INVALID_RECORD, in_shape=False)
    compression = view[ATTRIBUTES_OFFSET + 1] & 7 if len(view) > ATTRIBUTES_OFFSET + 1 else CompressionType.NONE
    if produce_version < FIRST_PRODUCE_VERSION_WITH_ZSTD and compression >= CompressionType.ZSTD:
        is_zstd = compression == CompressionType.ZSTD
        raise RecordsRefused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE if is_zstd else ErrorCode.UNKNOWN_SERVER_ERROR, in_shape=False)
    if size < len(view) and _is_another_behind(view[size:]):
        raise RecordsRefused(ErrorCode.INVALID_RECORD, in_shape=False)
    return view if size == len(view) else view[:size]


def _is_another_behind(rest: memoryview) -> bool:
    try:
        return whole_batch(rest) > 0
    except RecordsRefused as error:
        raise RecordsRefused(error.error_code, in_shape=False) from None


def whole_batch(view: memoryview) -> int:
    """The size of the batch, or old message, that begins here; 0 where it is cut off."""
    if len(view) < LOG_OVERHEAD:
        return 0
    length = _INT32.unpack_from(view, LENGTH_OFFSET)[0]
    if length < SMALLEST_LEGACY_RECORD:
        message = f"A batch of {length} bytes is shorter than any record can be, which has {SMALLEST_LEGACY_RECORD}."
        raise RecordsRefused(ErrorCode.CORRUPT_MESSAGE, message, in_shape=False)
    if len(view) <= MAGIC_OFFSET:
        return 0
    if length > LARGEST_LENGTH:
        raise RecordsRefused(ErrorCode.UNKNOWN_SERVER_ERROR, in_shape=False)
    magic = view[MAGIC_OFFSET]
    if magic > 2:
        signed = magic - 256 if magic > 127 else magic
        raise RecordsRefused(ErrorCode.CORRUPT_MESSAGE, f"There is no record format {signed} (magic byte).", in_shape=False)
    size: int = LOG_OVERHEAD + length
    return size if size <= len(view) else 0


def validate(batch: memoryview, settings: ValidationSettings, now_ms: int) -> RecordBatch:
    """The batch as the log shall have it, but for its offset and leader epoch. Patched in place where `batch` is writable, else a copy.

    Raises RecordsRefused. A small batch costs less to check than calls cost: what the usual one needs stands here, in line.
    """
    if len(batch) < HEADER_SIZE:
        raise RecordsRefused(ErrorCode.CORRUPT_MESSAGE, in_shape=False)
    header = RecordBatch(batch)
    if header.base_offset != 0:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    attributes, base_timestamp = header.attributes, header.base_timestamp
    if LOG_OVERHEAD + header.batch_length > settings.max_message_bytes:
        raise RecordsRefused(ErrorCode.MESSAGE_TOO_LARGE, in_shape=False)
    if crc32c(batch[ATTRIBUTES_OFFSET:]) != header.crc:
        raise RecordsRefused(ErrorCode.CORRUPT_MESSAGE, in_shape=False)
    if attributes or header.record_count <= 0 or header.last_offset_delta + 1 != header.record_count or header.producer_id >= 0:
        _check_header(header)
    walked = _walked(header, settings)
    if attributes & _LOG_APPEND_TIME:  # then all have the one in the header
        smallest = largest = header.max_timestamp
    else:
        smallest, largest = base_timestamp + walked.smallest_timestamp, base_timestamp + walked.largest_timestamp
    if not _is_surely_taken(header, walked, smallest, largest, settings, now_ms):
        _refuse_records(header, settings, now_ms)
    if smallest < -(2**63) or largest >= 2**63:
        smallest, largest = _timestamps_wrapped(header, settings)
    if settings.compression is not None and settings.compression != header.attributes & 7:
        _check_can_be_packed(header, smallest)
        header = _recompressed(header, walked, settings.compression, settings)
        check_size(header.size_in_bytes, settings)
    elif attributes & 7 and not walked.offsets_count_up:
        raise RecordsRefused(ErrorCode.UNKNOWN_SERVER_ERROR)
    elif NO_TIMESTAMP <= largest == header.max_timestamp and not (
        attributes & _LOG_APPEND_TIME or settings.timestamp_type or batch.readonly
    ):
        return header
    return _corrected(header, settings, now_ms if settings.timestamp_type else max(largest, NO_TIMESTAMP))


def check_size(size: int, settings: ValidationSettings) -> None:
    """max.message.bytes, measured on the batch with its overhead (P-06)."""
    if size > settings.max_message_bytes:
        raise RecordsRefused(ErrorCode.MESSAGE_TOO_LARGE, in_shape=False)


def _check_header(header: RecordBatch) -> None:
    """P-08 to P-10, and compression types that do not exist (P-30)."""
    if header.attributes & 7 > CompressionType.ZSTD:
        raise RecordsRefused(ErrorCode.UNKNOWN_SERVER_ERROR)
    if header.record_count <= 0 or header.last_offset_delta + 1 != header.record_count:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    if header.attributes & _CONTROL:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise RecordsRefused(ErrorCode.INVALID_RECORD)


def _walked(header: RecordBatch, settings: ValidationSettings) -> Walked:
    """Every record walked (P-08, P-31). What is no such compression at all is the client's bug, and answered as Kafka does (P-30)."""
    try:
        if header.attributes & 7:
            return walk(_windows(header, settings), header.record_count, _most_by_hand(settings))
        return walk(_windows(header, settings), header.record_count)
    except BadLength:
        raise RecordsRefused(ErrorCode.INVALID_RECORD if header.attributes & 7 else ErrorCode.UNKNOWN_SERVER_ERROR) from None
    except BadRecord:
        raise RecordsRefused(ErrorCode.INVALID_RECORD) from None
    except (TooLarge, TooManyRecords) as error:
        raise RecordsRefused(ErrorCode.MESSAGE_TOO_LARGE, str(error), in_shape=False) from None
    except Malformed:
        raise RecordsRefused(ErrorCode.UNKNOWN_SERVER_ERROR) from None


def _windows(header: RecordBatch, settings: ValidationSettings) -> Iterable[Buffer]:
    """The records in windows, decompressed within bounds.

    Single bytes and columns of a copy are read faster than those of a memoryview, so small records are copied, large ones walked where they lie.
    """
    data = memoryview(header.buffer)[HEADER_SIZE:]
    if header.attributes & 7:
        return decompressed_chunks(header.compression, data, _decompressed_limit(settings))
    if len(data) > LARGE_RECORD_SIZE * header.record_count:
        return (data,)
    if len(data) <= COPY_SIZE:
        return (bytes(data),)
    return (bytes(data[start : start + COPY_SIZE]) for start in range(0, len(data), COPY_SIZE))


def _decompressed_limit(settings: ValidationSettings) -> int:
    return max(SMALLEST_DECOMPRESSED_LIMIT, 10 * settings.max_message_bytes)


def _most_by_hand(settings: ValidationSettings) -> int:
    return max(ALWAYS_ALLOWED_BYTES, settings.max_message_bytes) // SMALLEST_RECORD


def _timestamps_wrapped(header: RecordBatch, settings: ValidationSettings) -> tuple[int, int]:
    """The smallest and the largest where some are beyond 64 bits, at which they wrap round, as in Kafka."""
    smallest, largest = 2**63 - 1, -(2**63)
    for record in _each_record(header, settings):
        timestamp = _wrapped(header.base_timestamp + record.timestamp_delta)
        smallest, largest = min(smallest, timestamp), max(largest, timestamp)
    return smallest, largest


def _wrapped(timestamp: int) -> int:
    return (timestamp + 2**63) % 2**64 - 2**63


def _is_surely_taken(header: RecordBatch, walked: Walked, smallest: int, largest: int, settings: ValidationSettings, now_ms: int) -> bool:
    """Whether no single record can be refused: all that the usual batch costs."""
    if settings.is_compacted and not walked.all_have_keys:
        return False
    if settings.timestamp_type:
        return not header.attributes & _LOG_APPEND_TIME
    if header.attributes & _LOG_APPEND_TIME and header.max_timestamp == NO_TIMESTAMP:
        return False
    return largest - now_ms <= settings.timestamp_after_max_ms and now_ms - smallest <= min(settings.timestamp_before_max_ms, UNLIMITED_MS)


def _refuse_records(header: RecordBatch, settings: ValidationSettings, now_ms: int) -> None:
    """Name the records that the topic does not take (P-11 to P-13): the first thousands of them, more help nobody. Returns if there are none."""
    errors: list[RecordError] = []
    code = ErrorCode.INVALID_RECORD
    stamped = header.timestamp_type is TimestampType.LOG_APPEND_TIME
    for index, record in enumerate(_each_record(header, settings)):
        if settings.is_compacted and not record.has_key:
            errors.append(RecordError(index, "A record without a key is not taken by a compacted topic."))
        elif settings.timestamp_type is TimestampType.LOG_APPEND_TIME or (stamped and header.max_timestamp == NO_TIMESTAMP):
            if stamped:
                errors.append(RecordError(index, "The timestamp type LogAppendTime is the broker's to set, not a producer's."))
                code = ErrorCode.INVALID_TIMESTAMP
        else:
            timestamp = header.max_timestamp if stamped else _wrapped(header.base_timestamp + record.timestamp_delta)
            if not _is_timely(timestamp, settings, now_ms):
                errors.append(RecordError(index, f"Timestamp {timestamp} is not {_timely_in_words(settings, now_ms)}."))
                code = ErrorCode.INVALID_TIMESTAMP
        if len(errors) == MOST_RECORD_ERRORS:
            break
    if not errors:
        return
    if code is ErrorCode.INVALID_TIMESTAMP:
        raise RecordsRefused(code, f"{len(errors)} records are refused, some of them for their timestamps.", errors)
    raise RecordsRefused(code, f"{len(errors)} records are refused, for they have no key and the topic is compacted.", errors)


def _is_timely(timestamp: int, settings: ValidationSettings, now_ms: int) -> bool:
    """message.timestamp.before.max.ms and .after.max.ms; -1 means no timestamp and is exempt (P-12). Differences wrap round as in Kafka."""
    if timestamp == NO_TIMESTAMP:
        return True
    difference = _wrapped(timestamp - now_ms)
    return difference <= settings.timestamp_after_max_ms and _wrapped(-difference) <= settings.timestamp_before_max_ms


def _timely_in_words(settings: ValidationSettings, now_ms: int) -> str:
    earliest = max(now_ms - settings.timestamp_before_max_ms, 0)
    return f"between {earliest} and {now_ms + settings.timestamp_after_max_ms}, which the topic's message.timestamp limits allow now"


def _each_record(header: RecordBatch, settings: ValidationSettings) -> Iterator[RecordFields]:
    """Of a batch that has been walked."""
    return each_record(_payload(header, settings), header.record_count)


def _payload(header: RecordBatch, settings: ValidationSettings) -> bytearray:
    """All records, decompressed, in one piece, which grows as they come: never twice their size."""
    payload = bytearray()
    for window in _windows(header, settings):
        payload += window
    return payload


def _check_can_be_packed(header: RecordBatch, smallest_timestamp: int) -> None:
    """What Kafka's own builder of batches refuses, without a code of its own for it."""
    lacks_producer_fields = header.producer_epoch == NO_PRODUCER_EPOCH or header.base_sequence < 0
    if smallest_timestamp < NO_TIMESTAMP or (header.producer_id != NO_PRODUCER_ID and lacks_producer_fields):
        raise RecordsRefused(ErrorCode.UNKNOWN_SERVER_ERROR)


def _recompressed(header: RecordBatch, walked: Walked, target: CompressionType, settings: ValidationSettings) -> RecordBatch:
    """The same batch in the topic's compression (P-16). Where offsets or timestamps count from elsewhere than usual, the records are packed anew."""
    payload = _payload(header, settings)
    base_timestamp = header.base_timestamp
    stamped = header.timestamp_type is TimestampType.LOG_APPEND_TIME
    first_delta = next(each_record(payload, 1)).timestamp_delta
    if stamped or first_delta or not walked.offsets_count_up:
        base_timestamp = header.max_timestamp if stamped else _wrapped(base_timestamp + first_delta)
        payload = _packed_anew(header, payload, base_timestamp)
    packed = compress(target, payload, settings.compression_level)
    batch = bytearray(bytes(header.buffer[:HEADER_SIZE]) + packed)
    _INT32.pack_into(batch, LENGTH_OFFSET, len(batch) - LOG_OVERHEAD)
    _INT16.pack_into(batch, ATTRIBUTES_OFFSET, header.attributes & _KEPT_ATTRIBUTES | target)
    _INT64.pack_into(batch, BASE_TIMESTAMP_OFFSET, base_timestamp)
    return _with_checksum(memoryview(batch))


def _packed_anew(header: RecordBatch, payload: bytearray, base_timestamp: int) -> bytearray:
    """The records with offsets 0, 1, 2, … and timestamps that count from the first one's."""
    out = bytearray()
    stamped = header.timestamp_type is TimestampType.LOG_APPEND_TIME
    for index, record in enumerate(each_record(payload, header.record_count)):
        timestamp = header.max_timestamp if stamped else header.base_timestamp + record.timestamp_delta
        front = b"\0" + varlong(_wrapped(timestamp - base_timestamp)) + varlong(index)
        out += varlong(len(front) + len(record.rest))
        out += front
        out += record.rest
    return out


def _corrected(header: RecordBatch, settings: ValidationSettings, largest_timestamp: int) -> RecordBatch:
    """Timestamp type and largest timestamp as the topic has them (P-13 to P-15)."""
    batch = memoryview(header.buffer)
    if batch.readonly:
        batch = memoryview(bytearray(batch))
        header = RecordBatch(batch)
    if header.max_timestamp == largest_timestamp and header.timestamp_type == settings.timestamp_type:
        return header
    _INT16.pack_into(
        batch, ATTRIBUTES_OFFSET, header.attributes & _KNOWN_ATTRIBUTES & ~_LOG_APPEND_TIME | _LOG_APPEND_TIME * settings.timestamp_type
    )
    _INT64.pack_into(batch, MAX_TIMESTAMP_OFFSET, largest_timestamp)
    return _with_checksum(batch)


def _with_checksum(batch: memoryview) -> RecordBatch:
    _UINT32.pack_into(batch, CRC_OFFSET, crc32c(batch[ATTRIBUTES_OFFSET:]))
    return RecordBatch(batch)
