"""Which records of a batch survive compaction, and the batch that is left when others do not.

A record survives while no newer one has its key; a tombstone also goes, `delete.retention.ms` after a round first saw it. What an aborted transaction
wrote goes at once, its marker when nothing of it is left. A batch that is emptied stays, empty, where it is the last that is known of its producer or
the last of the round: offsets and sequences go on from it.
"""

from collections.abc import Callable

from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.records import (
    NO_TIMESTAMP,
    BatchProperties,
    ControlRecordType,
    NewRecord,
    Record,
    RecordBatch,
    TimestampType,
    assemble,
    build_batch,
)
from pykbroker.storage.producer_state import ProducerState

_BYTES_PER_ENTRY = 150
"""What a key costs in the map beside its own bytes."""


class KeyMap:
    """The newest offset of each key, in the dirty part of a log up to `end_offset`."""

    def __init__(self, limit_bytes: int) -> None:
        self.end_offset = 0
        self._newest: dict[bytes, int] = {}
        self._room = limit_bytes

    @property
    def has_room(self) -> bool:
        """Whether another batch may be added."""
        return self._room > 0

    def add(self, batch: RecordBatch, since: int) -> None:
        """The keys of a batch, from an offset on."""
        newest = self._newest
        before = len(newest)
        for record in batch.records():
            if record.key is not None and record.offset >= since:
                if record.key not in newest:
                    self._room -= len(record.key)
                newest[record.key] = record.offset
        self._room -= (len(newest) - before) * _BYTES_PER_ENTRY

    def is_newest(self, record: Record) -> bool:
        """Whether nothing newer is known of its key; what has no key has no place in a compacted log."""
        return record.key is not None and self._newest.get(record.key, -1) <= record.offset


class BatchFilter:
    """One pass over the batches of a group of segments."""

    def __init__(
        self,
        keys: KeyMap,
        is_aborted: Callable[[RecordBatch], bool],
        producers: ProducerState,
        now_ms: int,
        delete_retention_ms: int,
    ) -> None:
        self._keys = keys
        self._is_aborted = is_aborted
        self._producers = producers
        self._now_ms = now_ms
        self._delete_retention_ms = delete_retention_ms
        self._transactions_with_data: set[int] = set()
        self.kept_markers: set[int] = set()
        """The offsets of the markers that stay."""

    def kept(self, batch: RecordBatch) -> RecordBatch | None:
        """What is left of a batch; None where nothing is."""
        if batch.base_offset >= self._keys.end_offset:
            if batch.is_control:
                self.kept_markers.add(batch.base_offset)
            return batch
        if batch.is_control:
            return self._kept_marker(batch)
        if self._is_aborted(batch):
            emptied = self._emptied(batch)
            if emptied is not None:
                self._transactions_with_data.add(batch.producer_id)
            return emptied
        if batch.is_transactional:
            self._transactions_with_data.add(batch.producer_id)
        records = list(batch.records())
        horizon_ms = batch.delete_horizon_ms
        keeps_tombstones = horizon_ms is None or horizon_ms > self._now_ms
        kept = [record for record in records if (keeps_tombstones or record.value is not None) and self._keys.is_newest(record)]
        if not kept:
            return self._emptied(batch)
        gets_horizon = horizon_ms is None and any(record.value is None for record in kept)
        if len(kept) == len(records) and not gets_horizon:
            return batch
        return _rebuilt(batch, kept, self._now_ms + self._delete_retention_ms if gets_horizon else horizon_ms)

    def _kept_marker(self, batch: RecordBatch) -> RecordBatch | None:
        """A marker waits until nothing of its transaction is left, and then as long as a tombstone does."""
        record = next(batch.records(), None)
        has_data = batch.producer_id in self._transactions_with_data
        self._transactions_with_data.discard(batch.producer_id)
        kept: RecordBatch | None = batch
        if record is not None and not has_data and _ends_transaction(record):
            horizon_ms = batch.delete_horizon_ms
            if horizon_ms is None:
                kept = _rebuilt(batch, [record], self._now_ms + self._delete_retention_ms)
            elif horizon_ms <= self._now_ms:
                kept = self._emptied(batch)
        if kept is not None:
            self.kept_markers.add(batch.base_offset)
        return kept

    def _emptied(self, batch: RecordBatch) -> RecordBatch | None:
        """A batch without records, where it still says something."""
        entry = self._producers.producers.get(batch.producer_id) if batch.has_producer_id else None
        is_last_of_producer = entry is not None and (
            (batch.is_control and batch.producer_epoch >= entry.epoch and not entry.batches)
            or any(known.last_offset == batch.last_offset for known in entry.batches[-1:])
        )
        if not is_last_of_producer and batch.next_offset != self._keys.end_offset:
            return None
        return _rebuilt(batch, [], None)


def _ends_transaction(record: Record) -> bool:
    kind = int.from_bytes(record.key[2:4], "big") if record.key is not None and len(record.key) >= 4 else -1
    return kind in {ControlRecordType.ABORT, ControlRecordType.COMMIT}


def _rebuilt(batch: RecordBatch, records: list[Record], delete_horizon_ms: int | None) -> RecordBatch:
    """The same batch with fewer records: offsets, sequence, epoch and compression are what they were."""
    append_time = batch.timestamp_type is TimestampType.LOG_APPEND_TIME
    properties = BatchProperties(
        base_offset=batch.base_offset,
        compression=batch.compression if records else CompressionType.NONE,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        partition_leader_epoch=batch.partition_leader_epoch,
        is_transactional=batch.is_transactional,
        is_control=batch.is_control,
        timestamp_type=batch.timestamp_type,
        max_timestamp=batch.max_timestamp if append_time or not records else None,
        last_offset_delta=batch.last_offset_delta,
        base_timestamp=delete_horizon_ms if delete_horizon_ms is not None else (records[0].timestamp if records else NO_TIMESTAMP),
        has_delete_horizon=delete_horizon_ms is not None,
    )
    if not records:
        empty = assemble(properties, b"", 0, batch.last_offset_delta, NO_TIMESTAMP, batch.max_timestamp)
        return RecordBatch(memoryview(empty))
    new = [NewRecord(record.value, record.key, record.headers, record.timestamp) for record in records]
    return RecordBatch(memoryview(build_batch(new, properties, [record.offset - batch.base_offset for record in records])))
