"""Record batches, the unit in which Kafka stores and ships records (magic 2, KIP-98). Read, built, and patched where they lie.

A batch is a header of 61 bytes and its records, which may be compressed together. The checksum covers everything from the attributes on,
so a broker may set the base offset and the leader epoch of a batch it was sent without touching anything else.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from pykbroker.protocol.compression import CompressionType, TooLarge, compress, decompress
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.wire import Buffer, Malformed, varlong

HEADER_SIZE = 61
LENGTH_OFFSET = 8
"""Where a batch's length stands; it counts what follows these first 12 bytes."""
LOG_OVERHEAD = 12
MAGIC_OFFSET = 16
CRC_OFFSET = 17
ATTRIBUTES_OFFSET = 21
BASE_TIMESTAMP_OFFSET = 27
MAX_TIMESTAMP_OFFSET = 35

_HEADER = struct.Struct(">qiibIhiqqqhii")
_CRC = struct.Struct(">I")
_BASE_OFFSET = struct.Struct(">q")
_LEADER_EPOCH = struct.Struct(">i")
_CONTROL_KEY = struct.Struct(">hh")
_COMPRESSION_MASK = 0x07
_COMPRESSION_TYPES = tuple(CompressionType)
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_DELETE_HORIZON = 0x40

NO_TIMESTAMP = -1
NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1
NO_LEADER_EPOCH = -1

Header = tuple[str, bytes | None]

DECOMPRESSED_LIMIT = 128 * 1024 * 1024
"""What a batch from our own log, or from a broker that we asked, may hold decompressed."""


class TimestampType(IntEnum):
    """Whose clock a batch's timestamps are from."""

    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class ControlRecordType(IntEnum):
    """What a control record says; it is the second half of its key."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


class CorruptBatch(KafkaError):  # noqa: N818 - a state of the input
    """Bytes that are no sound record batch."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.CORRUPT_MESSAGE, message)


class Record(NamedTuple):
    """One record, as a consumer sees it. `timestamp` in milliseconds since 1970, -1 where it has none."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()


class NewRecord(NamedTuple):
    """A record to be put into a batch."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[Header] = ()
    timestamp: int = NO_TIMESTAMP


class RecordBatch:
    """The header of one batch, and the bytes of the whole (`buffer`). Nothing is checked here but that they are there."""

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "batch_length",
        "buffer",
        "crc",
        "last_offset_delta",
        "magic",
        "max_timestamp",
        "partition_leader_epoch",
        "producer_epoch",
        "producer_id",
        "record_count",
    )
    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    def __init__(self, buffer: Buffer) -> None:
        (
            self.base_offset,
            self.batch_length,
            self.partition_leader_epoch,
            self.magic,
            self.crc,
            self.attributes,
            self.last_offset_delta,
            self.base_timestamp,
            self.max_timestamp,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
            self.record_count,
        ) = _HEADER.unpack_from(buffer)
        self.buffer = buffer

    @property
    def size_in_bytes(self) -> int:
        """Header and records together."""
        return LOG_OVERHEAD + self.batch_length

    @property
    def last_offset(self) -> int:
        """The offset of the last record that was in it, also when compaction has taken that one out."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """The offset behind it."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """The sequence number of its last record; they wrap round behind 2^31 - 1."""
        return sequence_plus(self.base_sequence, self.last_offset_delta) if self.base_sequence >= 0 else NO_SEQUENCE

    @property
    def compression(self) -> CompressionType:
        """How its records are compressed. Raises CorruptBatch for a type that does not exist."""
        try:
            return _COMPRESSION_TYPES[self.attributes & _COMPRESSION_MASK]
        except IndexError:
            raise CorruptBatch(f"compression type {self.attributes & _COMPRESSION_MASK} does not exist") from None

    @property
    def timestamp_type(self) -> TimestampType:
        """Whose clock its timestamps are from."""
        return TimestampType.LOG_APPEND_TIME if self.attributes & _LOG_APPEND_TIME else TimestampType.CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether it holds markers instead of records."""
        return bool(self.attributes & _CONTROL)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When its tombstones may go (KIP-534); None where that is not decided yet."""
        return self.base_timestamp if self.attributes & _DELETE_HORIZON else None

    @property
    def has_producer_id(self) -> bool:
        """Whether an idempotent producer wrote it."""
        return self.producer_id > NO_PRODUCER_ID

    def is_sound(self) -> bool:
        """Whether the checksum is right."""
        return crc32c(self.buffer[ATTRIBUTES_OFFSET : self.size_in_bytes]) == self.crc

    def payload(self, limit: int = DECOMPRESSED_LIMIT) -> Buffer:
        """Its records, decompressed; at most `limit` bytes of them."""
        data = memoryview(self.buffer)[HEADER_SIZE : self.size_in_bytes]
        compression = self.compression
        return data if compression is CompressionType.NONE else decompress(compression, data, limit)

    def records(self, limit: int = DECOMPRESSED_LIMIT) -> Iterator[Record]:
        """Its records, in order. Raises CorruptBatch where they are not what the header says."""
        try:
            payload = bytes(self.payload(limit))
        except (Malformed, TooLarge) as error:
            raise CorruptBatch(f"the batch at offset {self.base_offset} cannot be decompressed: {error}") from error
        position = 0
        append_time = self.max_timestamp if self.attributes & _LOG_APPEND_TIME else None
        for _ in range(self.record_count):
            try:
                record, position = _read_record(payload, position, self.base_offset, self.base_timestamp, append_time)
            except (IndexError, Malformed) as error:
                raise CorruptBatch(f"a record in the batch at offset {self.base_offset} is damaged: {error}") from error
            yield record
        if position != len(payload):
            raise CorruptBatch(f"{len(payload) - position} bytes are left over in the batch at offset {self.base_offset}")

    def __repr__(self) -> str:
        return f"RecordBatch(offsets {self.base_offset}-{self.last_offset}, {self.record_count} records, {self.size_in_bytes} bytes)"


def batches(buffer: Buffer) -> Iterator[RecordBatch]:
    """The batches in what a log or a Fetch response holds; one that is cut off at the end is left out, as clients do."""
    view = memoryview(buffer)
    position, end = 0, len(view)
    while end - position >= HEADER_SIZE:
        size = LOG_OVERHEAD + _LEADER_EPOCH.unpack_from(view, position + LENGTH_OFFSET)[0]
        if size < HEADER_SIZE:
            raise CorruptBatch(f"a batch claims to be {size} bytes long; its header alone has {HEADER_SIZE}")
        if size > end - position:
            return
        yield RecordBatch(view[position : position + size])
        position += size


def set_offsets(batch: memoryview, base_offset: int, leader_epoch: int) -> None:
    """Give a batch its place in the log, where it lies; the checksum covers neither."""
    _BASE_OFFSET.pack_into(batch, 0, base_offset)
    _LEADER_EPOCH.pack_into(batch, 12, leader_epoch)


def set_log_append_time(batch: memoryview, now_ms: int) -> None:
    """Give a batch the broker's time, where it lies: timestamp type, largest timestamp, and so a new checksum."""
    size = LOG_OVERHEAD + _LEADER_EPOCH.unpack_from(batch, LENGTH_OFFSET)[0]
    batch[ATTRIBUTES_OFFSET + 1] |= _LOG_APPEND_TIME
    _BASE_OFFSET.pack_into(batch, MAX_TIMESTAMP_OFFSET, now_ms)
    _CRC.pack_into(batch, CRC_OFFSET, crc32c(batch[ATTRIBUTES_OFFSET:size]))


def sequence_plus(sequence: int, delta: int) -> int:
    """A sequence number `delta` later (or, where negative, earlier): they go from 0 to 2^31 - 1 and round again."""
    return (sequence + delta) & 0x7FFFFFFF


@dataclass(slots=True, frozen=True)
class BatchProperties:
    """Everything about a batch to be built but its records."""

    base_offset: int = 0
    compression: CompressionType = CompressionType.NONE
    compression_level: int | None = None
    producer_id: int = NO_PRODUCER_ID
    producer_epoch: int = NO_PRODUCER_EPOCH
    base_sequence: int = NO_SEQUENCE
    partition_leader_epoch: int = NO_LEADER_EPOCH
    is_transactional: bool = False
    is_control: bool = False
    timestamp_type: TimestampType = TimestampType.CREATE_TIME
    max_timestamp: int | None = None
    """Where it is not the records' own largest: with LOG_APPEND_TIME."""
    last_offset_delta: int | None = None
    """Where it is not that of the last record: after compaction."""
    base_timestamp: int | None = None
    """Where it is not that of the first record: with a delete horizon."""
    has_delete_horizon: bool = False


DEFAULT_PROPERTIES = BatchProperties()


def build_batch(
    records: Iterable[NewRecord],
    properties: BatchProperties = DEFAULT_PROPERTIES,
    offset_deltas: Sequence[int] | None = None,
) -> bytes:
    """A batch of `records`, whose offsets count up from the base offset unless `offset_deltas` says otherwise."""
    items = list(records)
    deltas = range(len(items)) if offset_deltas is None else offset_deltas
    base_timestamp = properties.base_timestamp
    if base_timestamp is None:
        base_timestamp = items[0].timestamp if items else NO_TIMESTAMP
    payload = b"".join(_record_bytes(record, delta, record.timestamp - base_timestamp) for record, delta in zip(items, deltas, strict=True))
    max_timestamp = properties.max_timestamp
    if max_timestamp is None:
        max_timestamp = max((record.timestamp for record in items), default=NO_TIMESTAMP)
    last_delta = properties.last_offset_delta
    if last_delta is None:
        last_delta = deltas[-1] if items else 0
    if properties.compression is not CompressionType.NONE:
        payload = compress(properties.compression, payload, properties.compression_level)
    return assemble(properties, payload, len(items), last_delta, base_timestamp, max_timestamp)


def assemble(
    properties: BatchProperties, payload: bytes, record_count: int, last_offset_delta: int, base_timestamp: int, max_timestamp: int
) -> bytes:
    """Header and checksum around records that are packed, and compressed, already."""
    attributes = (
        properties.compression
        | (_LOG_APPEND_TIME if properties.timestamp_type is TimestampType.LOG_APPEND_TIME else 0)
        | (_TRANSACTIONAL if properties.is_transactional else 0)
        | (_CONTROL if properties.is_control else 0)
        | (_DELETE_HORIZON if properties.has_delete_horizon else 0)
    )
    batch = bytearray(
        _HEADER.pack(
            properties.base_offset,
            HEADER_SIZE - LOG_OVERHEAD + len(payload),
            properties.partition_leader_epoch,
            2,
            0,
            attributes,
            last_offset_delta,
            base_timestamp,
            max_timestamp,
            properties.producer_id,
            properties.producer_epoch,
            properties.base_sequence,
            record_count,
        )
        + payload
    )
    _CRC.pack_into(batch, CRC_OFFSET, crc32c(memoryview(batch)[ATTRIBUTES_OFFSET:]))
    return bytes(batch)


def control_batch(kind: ControlRecordType, value: bytes, timestamp: int, properties: BatchProperties = DEFAULT_PROPERTIES) -> bytes:
    """A batch that holds one marker; who wrote it, and whether in a transaction, is in the properties."""
    return build_batch([NewRecord(value, control_record_key(kind), timestamp=timestamp)], replace(properties, is_control=True))


def control_record_key(kind: ControlRecordType) -> bytes:
    """The key of a control record: version 0, and what it says."""
    return _CONTROL_KEY.pack(0, kind)


def control_record_type(record: Record) -> int:
    """What a control record says: a ControlRecordType, or a number that a later Kafka knows."""
    if record.key is None or len(record.key) < _CONTROL_KEY.size:
        raise CorruptBatch(f"the control record at offset {record.offset} does not say what it is")
    kind: int = _CONTROL_KEY.unpack_from(record.key)[1]
    return kind


def record_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """A signed 32-bit number inside a record, and the position behind it. As in Kafka, bits beyond the 32nd are dropped, not refused.

    Raises IndexError where the buffer ends within it.
    """
    value = buffer[position]
    position += 1
    if value > 127:
        value -= 128
        for shift in (7, 14, 21, 28):
            byte = buffer[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise Malformed(f"the number before byte {position} has more than 5 bytes")
        value &= 0xFFFFFFFF
    return value >> 1 ^ -(value & 1), position


def record_varlong(buffer: Buffer, position: int) -> tuple[int, int]:
    """The same with 64 bits."""
    value = buffer[position]
    position += 1
    if value > 127:
        value -= 128
        for shift in range(7, 70, 7):
            byte = buffer[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise Malformed(f"the number before byte {position} has more than 10 bytes")
        value &= 0xFFFFFFFFFFFFFFFF
    return value >> 1 ^ -(value & 1), position


def _record_bytes(record: NewRecord, offset_delta: int, timestamp_delta: int) -> bytes:
    parts = [b"\0", varlong(timestamp_delta), varlong(offset_delta)]
    for data in (record.key, record.value):
        if data is None:
            parts.append(b"\x01")
        else:
            parts += (varlong(len(data)), data)
    parts.append(varlong(len(record.headers)))
    for name, value in record.headers:
        encoded = name.encode(errors="surrogateescape")
        parts += (varlong(len(encoded)), encoded)
        if value is None:
            parts.append(b"\x01")
        else:
            parts += (varlong(len(value)), value)
    body = b"".join(parts)
    return varlong(len(body)) + body


def _read_record(payload: bytes, position: int, base_offset: int, base_timestamp: int, append_time: int | None) -> tuple[Record, int]:
    """The record at `position`, and the position behind it. Lengths of one or two bytes, as most are, are read without a call."""
    length, position = record_varint(payload, position)
    end = position + length
    if length < 0 or end > len(payload):
        raise Malformed(f"a record claims {length} bytes")
    timestamp_delta, position = record_varlong(payload, position + 1)
    offset_delta, position = record_varint(payload, position)
    key = value = None
    size = payload[position]
    if size > 127:
        size, position = record_varint(payload, position)
        size *= 2
    else:
        position += 1
    if size >= 0 and not size & 1:
        key = payload[position : position + (size >> 1)]
        position += size >> 1
    size = payload[position]
    if size > 127:
        size, position = record_varint(payload, position)
        size *= 2
    else:
        position += 1
    if size >= 0 and not size & 1:
        value = payload[position : position + (size >> 1)]
        position += size >> 1
    headers: Sequence[Header] = ()
    if payload[position]:
        headers, position = _read_headers(payload, position, end)
    else:
        position += 1
    if position != end:
        raise Malformed(f"the fields of a record of {length} bytes end {end - position} bytes before it does")
    timestamp = base_timestamp + timestamp_delta if append_time is None else append_time
    return Record(base_offset + offset_delta, timestamp, key, value, headers), position


def _read_headers(payload: bytes, position: int, end: int) -> tuple[Sequence[Header], int]:
    """Names that are not UTF-8 come through as they are, by way of lone surrogates."""
    count, position = record_varint(payload, position)
    if not 0 <= count <= end - position:
        raise Malformed(f"a record claims {count} headers")
    headers: list[Header] = []
    for _ in range(count):
        name, position = _read_data(payload, position)
        if name is None:
            raise Malformed("a header has no name")
        content, position = _read_data(payload, position)
        headers.append((name.decode(errors="surrogateescape"), content))
    return tuple(headers), position


def _read_data(payload: bytes, position: int) -> tuple[bytes | None, int]:
    """What is too short for its length makes the record end beyond its end, which is checked there."""
    length, position = record_varint(payload, position)
    if length < 0:
        return None, position
    return payload[position : position + length], position + length
