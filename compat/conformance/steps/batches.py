"""Batches as a check wants them: of an exact size, with a header field that lies, with records that are none. The checksum is right unless
it is the point.
"""

import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace

from pykbroker.protocol.compression import CompressionType, compress
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.records import (
    ATTRIBUTES_OFFSET,
    BASE_TIMESTAMP_OFFSET,
    CRC_OFFSET,
    DEFAULT_PROPERTIES,
    HEADER_SIZE,
    LENGTH_OFFSET,
    LOG_OVERHEAD,
    MAGIC_OFFSET,
    MAX_TIMESTAMP_OFFSET,
    BatchProperties,
    Header,
    NewRecord,
    assemble,
    build_batch,
)
from pykbroker.protocol.wire import varlong

FIELDS = {
    "base_offset": (0, ">q"),
    "batch_length": (LENGTH_OFFSET, ">i"),
    "magic": (MAGIC_OFFSET, ">b"),
    "crc": (CRC_OFFSET, ">I"),
    "attributes": (ATTRIBUTES_OFFSET, ">h"),
    "last_offset_delta": (23, ">i"),
    "base_timestamp": (BASE_TIMESTAMP_OFFSET, ">q"),
    "max_timestamp": (MAX_TIMESTAMP_OFFSET, ">q"),
    "producer_id": (43, ">q"),
    "producer_epoch": (51, ">h"),
    "base_sequence": (53, ">i"),
    "record_count": (57, ">i"),
}
"""Where each field of a batch's header stands."""

HOUR_MS = 3_600_000
PRODUCER_ID = 4_711
"""Whom batches are from that have sequences; a partition believes whatever id it is told."""


def now_ms() -> int:
    """The time; records with much older timestamps may fall to retention before a check has looked at them."""
    return int(time.time() * 1000)


def batch_of(
    *values: bytes | None,
    key: bytes | None = b"key",
    timestamps: Sequence[int] = (),
    properties: BatchProperties = DEFAULT_PROPERTIES,
    **changed: object,
) -> bytes:
    """A batch of these values (one, where none is given); `changed` are properties of it."""
    contents = values or (b"value",)
    times = timestamps or [now_ms()] * len(contents)
    records = [NewRecord(value, key, timestamp=timestamp) for value, timestamp in zip(contents, times, strict=True)]
    return build_batch(records, replace(properties, **changed))  # type: ignore[arg-type]


def batch_at(sequence: int, *values: bytes, epoch: int = 0, timestamp: int | None = None) -> bytes:
    """A batch of PRODUCER_ID, which begins with that sequence."""
    contents = values or (b"value",)
    times = [now_ms() if timestamp is None else timestamp] * len(contents)
    return batch_of(*contents, timestamps=times, producer_id=PRODUCER_ID, producer_epoch=epoch, base_sequence=sequence)


def batch_of_size(size: int, compression: CompressionType = CompressionType.NONE) -> bytes:
    """One plain record in a batch of exactly that many bytes."""
    guess = batch_of(bytes(size - HEADER_SIZE - 20), compression=compression)
    batch = batch_of(bytes(size - HEADER_SIZE - 20 + size - len(guess)), compression=compression)
    if len(batch) != size:
        raise ValueError(f"there is no batch of {size} bytes with one record")
    return batch


def patched(batch: bytes, **fields: int) -> bytes:
    """The batch with other values in its header, and a checksum that fits them unless `crc` is among them."""
    changed = bytearray(batch)
    for name, value in fields.items():
        position, layout = FIELDS[name]
        struct.pack_into(layout, changed, position, value)
    if "crc" not in fields:
        struct.pack_into(">I", changed, CRC_OFFSET, crc32c(memoryview(changed)[ATTRIBUTES_OFFSET:]))
    return bytes(changed)


def batch_with_payload(payload: bytes, count: int, compression: CompressionType = CompressionType.NONE) -> bytes:
    """A sound header around anything."""
    packed = payload if compression is CompressionType.NONE else compress(compression, payload)
    now = now_ms()
    return assemble(BatchProperties(compression=compression), packed, count, count - 1, now, now)


def record_bytes(fields: bytes, length: int | None = None) -> bytes:
    """A record of these fields, which begin with the attributes; `length` where it lies about them."""
    return varlong(len(fields) if length is None else length) + fields


def record_fields(headers: bytes = b"\0", attributes: int = 0) -> bytes:
    """The fields of a record with key `k` and value `v`; `headers` are their count and what follows it."""
    return bytes([attributes]) + b"\0\0" + varlong(1) + b"k" + varlong(1) + b"v" + headers


def header_bytes(*headers: Header) -> bytes:
    """Headers as they stand in a record: their count, then names and values."""
    parts = [varlong(len(headers))]
    for name, value in headers:
        parts += [varlong(len(name)), name.encode(), varlong(-1) if value is None else varlong(len(value)) + value]
    return b"".join(parts)


def legacy_message(magic: int, value: bytes = b"value") -> bytes:
    """A message set with one message in the format before batches: magic 0 or, with a timestamp, 1."""
    body = struct.pack(">bb", magic, 0) + (struct.pack(">q", now_ms()) if magic else b"") + struct.pack(">ii", -1, len(value)) + value
    message = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", 0, len(message)) + message


def after_header(batch: bytes) -> bytes:
    """A batch without its first 12 bytes' offset, length and leader epoch: what a broker keeps as it was sent."""
    return bytes(batch[LOG_OVERHEAD + 4 :])
