"""What a partition remembers of each idempotent producer: its epoch and its last five batches, so that a retry is known and a gap is refused.

Rules I-04 to I-12; sources: KIP-98, KIP-360, KIP-890. The state is as durable as the log: a snapshot file is written when a segment is rolled and at a clean stop,
and what came after it is replayed from the batches.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import NO_PRODUCER_EPOCH, ControlRecordType, RecordBatch, sequence_plus

BATCHES_KEPT = 5

_SNAPSHOT_HEAD = struct.Struct(">hIi")
_SNAPSHOT_ENTRY = struct.Struct(">qhiqiqiq")
_SNAPSHOT_VERSION = 1
_CONTROL_KEY = struct.Struct(">hh")
_MARKER_VALUE = struct.Struct(">hi")


@dataclass(slots=True)
class BatchMetadata:
    """One batch of a producer, as far as it is needed to know it again."""

    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @property
    def first_sequence(self) -> int:
        """Sequences wrap round behind 2^31 - 1."""
        return sequence_plus(self.last_sequence, -self.offset_delta)

    @property
    def first_offset(self) -> int:
        """The offset its first record got."""
        return self.last_offset - self.offset_delta


@dataclass(slots=True)
class ProducerEntry:
    """One producer on one partition."""

    producer_id: int
    epoch: int
    batches: list[BatchMetadata] = field(default_factory=list)
    last_timestamp: int = -1
    coordinator_epoch: int = -1
    current_transaction_first_offset: int = -1

    @property
    def last_sequence(self) -> int:
        """-1 where it has written nothing in this epoch."""
        return self.batches[-1].last_sequence if self.batches else -1


class EndedTransaction(NamedTuple):
    """A transaction on this partition whose marker came, at `marker_offset`."""

    producer_id: int
    first_offset: int
    marker_offset: int
    is_aborted: bool


class SnapshotDamaged(ValueError):  # noqa: N818
    """A snapshot file that cannot be trusted; the state is made from the batches instead."""


class ProducerState:
    """The producers of one partition."""

    __slots__ = ("_open_transactions", "producers")

    def __init__(self) -> None:
        self.producers: dict[int, ProducerEntry] = {}
        self._open_transactions: dict[int, int] = {}
        """Of each producer in a transaction, the offset of its first record; the oldest is the first in the dictionary."""

    def duplicate_of(self, batch: RecordBatch) -> BatchMetadata | None:
        """The batch that this one repeats, if it is among the last five of its producer (I-04)."""
        entry = self.producers.get(batch.producer_id)
        if entry is None or entry.epoch != batch.producer_epoch:
            return None
        last_sequence = batch.last_sequence
        for known in entry.batches:
            if known.last_sequence == last_sequence and known.first_sequence == batch.base_sequence:
                return known
        return None

    def check(self, batch: RecordBatch, *, first_sequence_must_be_zero: bool = False) -> None:
        """Whether a batch may follow what its producer has written. Raises KafkaError (I-05 to I-12)."""
        entry = self.producers.get(batch.producer_id)
        if entry is None:
            if batch.producer_epoch < NO_PRODUCER_EPOCH:
                raise KafkaError(ErrorCode.INVALID_PRODUCER_EPOCH, f"There is no producer epoch {batch.producer_epoch}.")
            if first_sequence_must_be_zero and batch.base_sequence != 0:
                raise KafkaError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, _gap(batch, -1))
            return
        if batch.producer_epoch < entry.epoch:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Producer {batch.producer_id} wrote with epoch {batch.producer_epoch}; it has been at {entry.epoch} already.",
            )
        if batch.producer_epoch > entry.epoch:
            if batch.base_sequence != 0:
                raise KafkaError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, _gap(batch, -1))
        elif batch.base_sequence != sequence_plus(entry.last_sequence, 1):
            raise KafkaError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, _gap(batch, entry.last_sequence))

    def update(self, batch: RecordBatch) -> "EndedTransaction | None":
        """A batch was appended, or is replayed at start; a marker ends its producer's transaction, which is then given back."""
        if batch.producer_id < 0:
            return None
        entry = self.producers.get(batch.producer_id)
        if entry is None:
            entry = self.producers[batch.producer_id] = ProducerEntry(batch.producer_id, batch.producer_epoch)
        elif entry.epoch != batch.producer_epoch:
            entry.epoch = batch.producer_epoch
            entry.batches.clear()
        entry.last_timestamp = batch.max_timestamp
        if batch.is_control:
            return self._end_transaction(entry, batch)
        entry.batches.append(BatchMetadata(batch.last_sequence, batch.last_offset, batch.last_offset_delta, batch.max_timestamp))
        del entry.batches[:-BATCHES_KEPT]
        if batch.is_transactional and entry.current_transaction_first_offset < 0:
            entry.current_transaction_first_offset = batch.base_offset
            self._open_transactions[batch.producer_id] = batch.base_offset
        return None

    def _end_transaction(self, entry: ProducerEntry, marker: RecordBatch) -> "EndedTransaction | None":
        record = next(marker.records(), None)
        if record is None or record.key is None or len(record.key) < _CONTROL_KEY.size:
            return None
        _version, kind = _CONTROL_KEY.unpack_from(record.key)
        if kind not in {ControlRecordType.ABORT, ControlRecordType.COMMIT}:
            return None
        if record.value is not None and len(record.value) >= _MARKER_VALUE.size:
            _version, entry.coordinator_epoch = _MARKER_VALUE.unpack_from(record.value)
        first_offset, entry.current_transaction_first_offset = entry.current_transaction_first_offset, -1
        self._open_transactions.pop(entry.producer_id, None)
        if first_offset < 0:
            return None
        return EndedTransaction(entry.producer_id, first_offset, marker.base_offset, kind == ControlRecordType.ABORT)

    def first_unstable_offset(self) -> int | None:
        """Where the oldest open transaction began; None where there is none."""
        return next(iter(self._open_transactions.values()), None)

    def expire(self, now_ms: int, expiration_ms: int) -> None:
        """Forget who has been silent for so long, unless a transaction of theirs is open (I-13)."""
        for producer_id, entry in list(self.producers.items()):
            if entry.current_transaction_first_offset < 0 and now_ms - entry.last_timestamp >= expiration_ms:
                del self.producers[producer_id]

    def clear(self) -> None:
        """Forget all."""
        self.producers.clear()
        self._open_transactions.clear()

    def snapshot(self) -> bytes:
        """The state in Kafka's snapshot format: the last batch of each producer (I-14)."""
        entries = b"".join(_entry_bytes(entry) for entry in self.producers.values())
        body = struct.pack(">i", len(self.producers)) + entries
        return struct.pack(">hI", _SNAPSHOT_VERSION, crc32c(body)) + body

    def load_snapshot(self, data: bytes) -> None:
        """Take the state from a snapshot. Raises SnapshotDamaged, and has forgotten all then."""
        self.clear()
        entries = list(_read_snapshot(data))
        self.producers = {entry.producer_id: entry for entry in entries}
        started = sorted((entry.current_transaction_first_offset, entry.producer_id) for entry in entries)
        self._open_transactions = {producer_id: offset for offset, producer_id in started if offset >= 0}


def _gap(batch: RecordBatch, last_sequence: int) -> str:
    return f"Producer {batch.producer_id} came with sequence {batch.base_sequence}; its last one here was {last_sequence}."


def _entry_bytes(entry: ProducerEntry) -> bytes:
    last = entry.batches[-1] if entry.batches else BatchMetadata(-1, -1, 0, -1)
    return _SNAPSHOT_ENTRY.pack(
        entry.producer_id,
        entry.epoch,
        last.last_sequence,
        last.last_offset,
        last.offset_delta,
        entry.last_timestamp,
        entry.coordinator_epoch,
        entry.current_transaction_first_offset,
    )


def _read_snapshot(data: bytes) -> Iterator[ProducerEntry]:
    try:
        version, checksum, count = _SNAPSHOT_HEAD.unpack_from(data)
    except struct.error:
        raise SnapshotDamaged("it is too short") from None
    if version != _SNAPSHOT_VERSION or crc32c(data[6:]) != checksum or len(data) != _SNAPSHOT_HEAD.size + count * _SNAPSHOT_ENTRY.size:
        raise SnapshotDamaged("its version, checksum or length is wrong")
    for row in _SNAPSHOT_ENTRY.iter_unpack(data[_SNAPSHOT_HEAD.size :]):
        producer_id, epoch, last_sequence, last_offset, offset_delta, timestamp, coordinator_epoch, transaction_start = row
        batches = [BatchMetadata(last_sequence, last_offset, offset_delta, timestamp)] if last_offset >= 0 else []
        yield ProducerEntry(producer_id, epoch, batches, timestamp, coordinator_epoch, transaction_start)
