"""One partition's log: batches in segments, appended at the end and found again by offset or by time. Its directory is Kafka's, file by file.

A write or fsync that fails takes this log offline, with KAFKA_STORAGE_ERROR, and nothing else: what is in memory then may be ahead of the disk, so
nothing is appended or read any more until the log has been loaded again. Nothing is acknowledged before it is as durable as `flush.messages` promises.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pykbroker.later import Later
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import RecordBatch, TimestampType, set_offsets
from pykbroker.protocol.wire import Buffer
from pykbroker.storage.files import Files
from pykbroker.storage.leader_epoch import LeaderEpochs
from pykbroker.storage.producer_state import ProducerState
from pykbroker.storage.segment import LogSegment
from pykbroker.storage.transaction_index import AbortedTransaction, TransactionIndex
from pykbroker.storage.validator import RecordsRefused, ValidationSettings, check_size, validate

UNLIMITED = 2**63 - 1
_MAX_RELATIVE_OFFSET = 2**31 - 1

Offload = Callable[[Callable[[], None]], Later[None]]
"""Runs work elsewhere; its end settles the Later on the broker's thread."""


@dataclass(slots=True, frozen=True)
class LogConfig:
    """What a topic's configuration asks of its logs; names as Kafka's, sizes in bytes."""

    segment_bytes: int = 1024 * 1024 * 1024
    segment_ms: int = 7 * 24 * 3600 * 1000
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 * 1024 * 1024
    index_interval_bytes: int = 4096
    retention_bytes: int = -1
    retention_ms: int = 7 * 24 * 3600 * 1000
    is_deleted: bool = True
    is_compacted: bool = False
    delete_retention_ms: int = 24 * 3600 * 1000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = UNLIMITED
    min_cleanable_dirty_ratio: float = 0.5
    file_delete_delay_ms: int = 60_000
    flush_messages: int = UNLIMITED
    flush_ms: int = UNLIMITED
    validation: ValidationSettings = field(default_factory=ValidationSettings)


class OffsetOutOfRange(KafkaError):
    """An offset that the log does not have (any more, or yet)."""

    def __init__(self, offset: int, start: int, end: int) -> None:
        super().__init__(ErrorCode.OFFSET_OUT_OF_RANGE, f"Offset {offset} is not within {start} to {end}.")


class LogAppendInfo(NamedTuple):
    """What became of a batch. `duplicate`: it was there already, at these offsets."""

    first_offset: int
    last_offset: int
    max_timestamp: int
    log_append_time: int
    log_start_offset: int
    duplicate: bool = False


class FetchData(NamedTuple):
    """What a read found."""

    records: Buffer
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted_transactions: list[AbortedTransaction] | None


class FoundOffset(NamedTuple):
    """An offset found by time; (-1, -1, -1) where nothing is so new."""

    timestamp: int
    offset: int
    leader_epoch: int


NOTHING_FOUND = FoundOffset(-1, -1, -1)


class UnifiedLog:
    """See the module's law. One is made with `loader.load`, which also recovers it."""

    __slots__ = (
        "_flush_waiters",
        "_flushing",
        "_unflushed_since_ms",
        "aborted",
        "config",
        "directory",
        "end_offset",
        "files",
        "leader_epochs",
        "offload",
        "offline",
        "on_offline",
        "producers",
        "recovery_point",
        "segments",
        "start_offset",
    )

    def __init__(self, files: Files, directory: str, config: LogConfig, offload: Offload) -> None:
        self.files = files
        self.directory = directory
        self.config = config
        self.offload = offload
        self.segments: list[LogSegment] = []
        self.start_offset = 0
        self.end_offset = 0
        self.recovery_point = 0
        self.producers = ProducerState()
        self.leader_epochs = LeaderEpochs(files, directory)
        self.aborted = TransactionIndex(files)
        self.offline: str | None = None
        """Why this log is offline, None while it is not."""
        self.on_offline: Callable[[UnifiedLog], None] | None = None
        self._flushing = False
        self._flush_waiters: list[tuple[int, Later[None]]] = []
        self._unflushed_since_ms: int | None = None

    # -- offsets -------------------------------------------------------------------------------------------------

    @property
    def high_watermark(self) -> int:
        """Up to where consumers may read; with one replica that is the end."""
        return self.end_offset

    @property
    def last_stable_offset(self) -> int:
        """Up to where no transaction is open."""
        first_unstable = self.producers.first_unstable_offset() if self.producers.producers else None
        return self.end_offset if first_unstable is None else min(first_unstable, self.end_offset)

    @property
    def active_segment(self) -> LogSegment:
        """The one that is written to."""
        return self.segments[-1]

    @property
    def size(self) -> int:
        """Of all segments' batches, in bytes."""
        return sum(segment.size for segment in self.segments)

    # -- appending -----------------------------------------------------------------------------------------------

    def append_as_leader(self, batch: memoryview, leader_epoch: int, now_ms: int) -> LogAppendInfo:
        """Validate one client's batch (see `validator.one_batch`), give it its offsets, and write it.

        Writable bytes are patched where they lie. Raises RecordsRefused or KafkaError. Durable when `durable_at` says so.
        """
        self._require_online()
        validated = validate(batch, self.config.validation, now_ms)
        if validated.size_in_bytes > self.config.segment_bytes:
            raise RecordsRefused(ErrorCode.RECORD_LIST_TOO_LARGE, in_shape=False)
        if validated.producer_id >= 0:
            known = self.producers.duplicate_of(validated)
            if known is not None:
                return LogAppendInfo(known.first_offset, known.last_offset, known.timestamp, known.timestamp, self.start_offset, duplicate=True)
            self.producers.check(validated)
        return self._append(validated, leader_epoch, now_ms)

    def append_built(self, batch: bytes, leader_epoch: int, now_ms: int) -> LogAppendInfo:
        """Write a batch that the broker built itself (coordinators, markers, metadata): nothing is refused but its size."""
        self._require_online()
        built = RecordBatch(memoryview(bytearray(batch)))
        check_size(built.size_in_bytes, self.config.validation)
        return self._append(built, leader_epoch, now_ms)

    def _append(self, batch: RecordBatch, leader_epoch: int, now_ms: int) -> LogAppendInfo:
        first_offset = self.end_offset
        set_offsets(memoryview(batch.buffer), first_offset, leader_epoch)
        batch.base_offset = first_offset
        batch.partition_leader_epoch = leader_epoch
        last_offset = batch.last_offset
        try:
            segment = self._segment_for(batch, now_ms)
            if leader_epoch > self.leader_epochs.latest:
                self.leader_epochs.assign(leader_epoch, first_offset)
            segment.append(batch, [batch.buffer])
        except OSError as error:
            raise self._go_offline(error) from error
        self.end_offset = last_offset + 1
        if batch.producer_id >= 0:
            self._note_producer(batch)
        if self._unflushed_since_ms is None:
            self._unflushed_since_ms = now_ms
        append_time = batch.max_timestamp if batch.timestamp_type is TimestampType.LOG_APPEND_TIME else -1
        return LogAppendInfo(first_offset, last_offset, batch.max_timestamp, append_time, self.start_offset)

    def _note_producer(self, batch: RecordBatch) -> None:
        """Keep the producer's state up to date, and the index of aborted transactions."""
        if batch.is_control:
            self.aborted.see_marker(self.active_segment, batch, self.producers, self.last_stable_offset)
        self.producers.update(batch)

    def _segment_for(self, batch: RecordBatch, now_ms: int) -> LogSegment:
        segment = self.active_segment
        if self._must_roll(segment, batch, now_ms):
            self.roll(now_ms)
            segment = self.active_segment
        return segment

    def _must_roll(self, segment: LogSegment, batch: RecordBatch, now_ms: int) -> bool:
        """Kafka's rules: full, old by the first batch's time, an index full, an offset too far from the base."""
        if segment.size == 0:
            return batch.last_offset - segment.base_offset > _MAX_RELATIVE_OFFSET
        config = self.config
        if segment.size > config.segment_bytes - batch.size_in_bytes:
            return True
        if segment.first_timestamp is not None and segment.first_timestamp >= 0:
            waited_ms = batch.max_timestamp - segment.first_timestamp
        else:
            waited_ms = now_ms - segment.created_ms
        return (
            waited_ms > config.segment_ms - config.segment_jitter_ms
            or batch.last_offset - segment.base_offset > _MAX_RELATIVE_OFFSET
            or segment.index_entries() * 12 >= config.segment_index_bytes - 12
        )

    def roll(self, now_ms: int) -> None:
        """Begin a new segment at the end. What is in the old one is flushed soon, on another thread."""
        segment = self.active_segment
        if segment.size == 0 and segment.base_offset == self.end_offset:
            return
        segment.write_indexes()
        if self.producers.producers:
            self.files.replace(f"{self.directory}/{self.end_offset:020d}.snapshot", self.producers.snapshot())
        self.segments.append(self._new_segment(self.end_offset, now_ms))
        self.flush()

    def _new_segment(self, base_offset: int, now_ms: int) -> LogSegment:
        segment = LogSegment(self.files, self.directory, base_offset, created_ms=now_ms, index_interval=self.config.index_interval_bytes)
        self.files.append(segment.name(), [b""])
        return segment

    # -- durability ----------------------------------------------------------------------------------------------

    def durable_at(self, offset: int, now_ms: int) -> Later[None] | None:
        """When everything before `offset` is as durable as `flush.messages` promises: None for now, else a Later to wait for."""
        if self.end_offset - self.recovery_point < self.config.flush_messages or offset <= self.recovery_point:
            return None
        return self.flush()

    def flush(self) -> Later[None] | None:
        """Sync everything appended so far: a Later, or None where there is nothing to do. One sync runs at a time; it serves all that came before it."""
        if self.recovery_point >= self.end_offset:
            return None
        waiter: Later[None] = Later()
        self._flush_waiters.append((self.end_offset, waiter))
        if not self._flushing:
            self._start_sync()
        return waiter

    def flush_if_older_than(self, now_ms: int) -> None:
        """flush.ms, asked from time to time."""
        if self._unflushed_since_ms is not None and now_ms - self._unflushed_since_ms >= self.config.flush_ms and self.offline is None:
            self.flush()

    def _start_sync(self) -> None:
        target = self.end_offset
        unsynced = [segment for segment in self.segments if segment.size and self._end_of(segment) > self.recovery_point]
        try:
            for segment in unsynced:
                segment.write_indexes()
            syncers = [self.files.syncer(segment.name()) for segment in unsynced]
            self.files.sync_directory(self.directory)
        except OSError as error:
            self._go_offline(error)
            return
        self._flushing = True

        def run() -> None:
            for sync in syncers:
                sync()

        self.offload(run).then(lambda _: self._synced(target), self._sync_failed)

    def _end_of(self, segment: LogSegment) -> int:
        position = self.segments.index(segment)
        return self.segments[position + 1].base_offset if position + 1 < len(self.segments) else self.end_offset

    def _synced(self, target: int) -> None:
        self._flushing = False
        self.recovery_point = max(self.recovery_point, min(target, self.end_offset))
        self._unflushed_since_ms = None
        done = [waiter for offset, waiter in self._flush_waiters if offset <= target]
        self._flush_waiters = [(offset, waiter) for offset, waiter in self._flush_waiters if offset > target]
        if self._flush_waiters and self.offline is None:
            self._start_sync()
        for waiter in done:
            waiter.settle(None)

    def _sync_failed(self, error: BaseException) -> None:
        self._flushing = False
        self._go_offline(error)

    def _go_offline(self, error: BaseException) -> KafkaError:
        """Whoever waits for durability is told; nobody appends or reads here any more."""
        if self.offline is None:
            self.offline = f"{type(error).__name__}: {error}"
            if self.on_offline is not None:
                self.on_offline(self)
        failure = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The log {self.directory} is offline: {self.offline}")
        waiters, self._flush_waiters = self._flush_waiters, []
        for _, waiter in waiters:
            waiter.fail(failure)
        return failure

    def _require_online(self) -> None:
        if self.offline is not None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The log {self.directory} is offline: {self.offline}")

    # -- reading -------------------------------------------------------------------------------------------------

    def read(
        self, offset: int, max_bytes: int, upper_offset: int | None = None, *, at_least_one: bool = True, committed: bool = False
    ) -> FetchData:
        """Batches from the one that holds `offset` on, up to `upper_offset` (the high watermark where not given).

        `committed` also gives the aborted transactions among them. Raises OffsetOutOfRange.
        """
        self._require_online()
        high_watermark = self.end_offset
        stable = self.last_stable_offset
        if not self.start_offset <= offset <= self.end_offset:
            raise OffsetOutOfRange(offset, self.start_offset, self.end_offset)
        limit = min(high_watermark if upper_offset is None else upper_offset, stable if committed else high_watermark)
        records: Buffer = b""
        if offset < limit:
            try:
                records = self._read_segments(offset, max_bytes, limit, at_least_one=at_least_one)
            except OSError as error:
                raise self._go_offline(error) from error
        aborted = None
        if committed:
            aborted = self.aborted.overlapping(self.segments, offset, _next_offset(records, offset)) if records else []
        return FetchData(records, high_watermark, stable, self.start_offset, aborted)

    def _read_segments(self, offset: int, max_bytes: int, limit: int, *, at_least_one: bool) -> Buffer:
        """From the segment that holds the offset; from the next one where compaction has emptied it there."""
        number = self._segment_number(offset)
        while number < len(self.segments):
            segment = self.segments[number]
            _, records = segment.read_from(offset, max_bytes, at_least_one=at_least_one)
            if records or not at_least_one:
                return _cut_at(memoryview(records), limit) if limit < self.end_offset else records
            number += 1
        return b""

    def _segment_number(self, offset: int) -> int:
        """The last segment that begins at or before an offset."""
        if offset >= self.segments[-1].base_offset:
            return len(self.segments) - 1
        low, high = 0, len(self.segments) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.segments[middle].base_offset <= offset:
                low = middle
            else:
                high = middle - 1
        return low

    def first_offset_at_or_after(self, timestamp: int) -> FoundOffset:
        """The first record as new as `timestamp`, in order of offsets (L-04)."""
        self._require_online()
        try:
            for segment in self.segments:
                segment.ensure_indexed()
                if segment.largest_timestamp < timestamp:
                    continue
                batch = segment.first_batch_at_or_after(timestamp, self.start_offset)
                while batch is not None:
                    for record in batch.records():
                        if record.timestamp >= timestamp and record.offset >= self.start_offset:
                            return FoundOffset(record.timestamp, record.offset, batch.partition_leader_epoch)
                    batch = segment.first_batch_at_or_after(timestamp, batch.next_offset)
        except OSError as error:
            raise self._go_offline(error) from error
        return NOTHING_FOUND

    def largest_timestamp(self) -> FoundOffset:
        """The record with the largest timestamp, the first of several (KIP-734)."""
        self._require_online()
        largest = -1
        for segment in self.segments:
            segment.ensure_indexed()
            largest = max(largest, segment.largest_timestamp)
        return NOTHING_FOUND if largest < 0 else self.first_offset_at_or_after(largest)

    # -- removing ------------------------------------------------------------------------------------------------

    def delete_records(self, before_offset: int) -> None:
        """Move the log's start; segments that lie wholly before it go with the next retention. Raises OffsetOutOfRange."""
        self._require_online()
        if not 0 <= before_offset <= self.high_watermark:
            raise OffsetOutOfRange(before_offset, self.start_offset, self.high_watermark)
        self._move_start(before_offset)

    def _move_start(self, offset: int) -> None:
        if offset > self.start_offset:
            self.start_offset = offset
            try:
                self.leader_epochs.truncate_from_start(offset)
            except OSError as error:
                raise self._go_offline(error) from error

    def apply_retention(self, now_ms: int) -> list[LogSegment]:
        """Take out the segments that retention.ms, retention.bytes or the log's start no longer keep; the caller deletes their files later."""
        if self.offline is not None:
            return []
        try:
            doomed = self._doomed_segments(now_ms)
            if not doomed:
                return []
            if doomed[-1] is self.active_segment:
                self.roll(now_ms)
            del self.segments[: len(doomed)]
            for segment in doomed:
                segment.mark_deleted()
            self._move_start(self.segments[0].base_offset)
        except OSError as error:
            self._go_offline(error)
            return []
        return doomed

    def _doomed_segments(self, now_ms: int) -> list[LogSegment]:
        config = self.config
        doomed: list[LogSegment] = []
        surplus = self.size - config.retention_bytes if config.retention_bytes >= 0 else 0
        for number, segment in enumerate(self.segments):
            is_active = number == len(self.segments) - 1
            if segment.size == 0:
                break
            before_start = not is_active and self.segments[number + 1].base_offset <= self.start_offset
            by_policy = False
            if config.is_deleted:
                segment.ensure_indexed()
                too_large = not is_active and surplus - segment.size >= 0 and config.retention_bytes >= 0
                too_old = config.retention_ms >= 0 and 0 <= segment.largest_timestamp < now_ms - config.retention_ms
                by_policy = too_large or too_old
            if not before_start and not by_policy:
                break
            doomed.append(segment)
            surplus -= segment.size
        return doomed

    def truncate_to(self, offset: int) -> None:
        """Forget everything from `offset` on."""
        if offset >= self.end_offset:
            return
        try:
            while len(self.segments) > 1 and self.active_segment.base_offset >= offset:
                self.segments.pop().delete()
            segment = self.active_segment
            for placed in segment.batches_from(0):
                if placed.batch.last_offset >= offset:
                    segment.truncate_to_position(placed.position, placed.batch.base_offset)
                    offset = placed.batch.base_offset
                    break
            self.leader_epochs.truncate_from_end(offset)
        except OSError as error:
            raise self._go_offline(error) from error
        self.end_offset = offset
        self.recovery_point = min(self.recovery_point, offset)
        self.rebuild_producers()

    def rebuild_producers(self, since: int = 0) -> None:
        """Make the producers' state anew from the batches at and beyond `since`."""
        if since == 0:
            self.producers.clear()
        for segment in self.segments[self._segment_number(since) :]:
            for _, batch in segment.batches_from(0):
                if batch.base_offset >= since:
                    self.producers.update(batch)

    def close(self) -> None:
        """Everything to disk, for a clean stop."""
        if self.offline is not None:
            return
        try:
            self.active_segment.write_indexes()
            if self.producers.producers:
                self.files.replace(f"{self.directory}/{self.end_offset:020d}.snapshot", self.producers.snapshot())
            for segment in self.segments:
                if self._end_of(segment) > self.recovery_point:
                    self.files.syncer(segment.name())()
            self.recovery_point = self.end_offset
        except OSError as error:
            self._go_offline(error)


def _cut_at(records: memoryview, limit: int) -> memoryview:
    """Only the batches that lie wholly before an offset."""
    at = 0
    while at + 61 <= len(records):
        base_offset = int.from_bytes(records[at : at + 8], "big", signed=True)
        if base_offset >= limit:
            break
        at += 12 + int.from_bytes(records[at + 8 : at + 12], "big", signed=True)
    return records[: min(at, len(records))]


def _next_offset(records: Buffer, offset: int) -> int:
    """The offset behind the batches that were read."""
    view = memoryview(records)
    at = 0
    while at + 61 <= len(view):
        offset = int.from_bytes(view[at : at + 8], "big", signed=True) + int.from_bytes(view[at + 23 : at + 27], "big", signed=True) + 1
        at += 12 + int.from_bytes(view[at + 8 : at + 12], "big", signed=True)
    return offset
