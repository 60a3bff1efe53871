"""One partition's log: batches in segments, appended at the end and found again by offset or by time. Its directory is Kafka's, file by file.

A write or fsync that fails takes this log offline, with KAFKA_STORAGE_ERROR, and nothing else: what is in memory then may be ahead of the disk, so
nothing is appended or read any more; another one takes its place (`reopening.py`). Only a full disk is forgiven, where the half-written batch could be cut off again:
the producer is told, and may try later. Nothing is acknowledged before it is as durable as `flush.messages` promises.
"""

import errno
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pykbroker.later import Later
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import LOG_OVERHEAD, CorruptBatch, RecordBatch, set_offsets
from pykbroker.protocol.wire import Buffer
from pykbroker.storage.files import Files
from pykbroker.storage.flusher import Flusher, Offload
from pykbroker.storage.leader_epoch import LeaderEpochs
from pykbroker.storage.log_config import UNLIMITED, LogConfig
from pykbroker.storage.producer_state import ProducerState, SnapshotDamaged
from pykbroker.storage.retention import doomed_segments
from pykbroker.storage.segment import MAX_RELATIVE_OFFSET, LogSegment
from pykbroker.storage.transaction_index import AbortedTransaction, TransactionIndex
from pykbroker.storage.validator import RecordsRefused, check_size, validate

__all__ = [
    "NOTHING_FOUND",
    "UNLIMITED",
    "FetchData",
    "FoundOffset",
    "LogAppendInfo",
    "LogConfig",
    "OffsetOutOfRange",
    "UnifiedLog",
]

_SMALL = 16 * 1024
_LOG_APPEND_TIME = 0x08
"""The bit in a batch's attributes."""

_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class OffsetOutOfRange(KafkaError):  # noqa: N818 - Kafka's name
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
    """See the module's law. One is made with `loader.create` or `loader.load`, and after an unclean stop with `loader.recover`."""

    __slots__ = (
        "_flusher",
        "_last_snapshot_offset",
        "_unflushed_since_ms",
        "aborted",
        "config",
        "directory",
        "end_offset",
        "files",
        "first_dirty_offset",
        "leader_epochs",
        "offline",
        "offload",
        "on_high_watermark",
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
        """Everything before it has been synced."""
        self.first_dirty_offset = 0
        """Everything before it has been compacted."""
        self.producers = ProducerState()
        self.leader_epochs = LeaderEpochs(files, directory)
        self.aborted = TransactionIndex(files, directory)
        self.offline: str | None = None
        """Why this log is offline, None while it is not."""
        self.on_offline: Callable[[UnifiedLog], None] | None = None
        self.on_high_watermark: Callable[[UnifiedLog], None] | None = None
        """Called when a sync has moved the high watermark; who sets it gets one that waits for syncs, see `high_watermark`."""
        self._flusher = Flusher(self)
        self._last_snapshot_offset = -1
        self._unflushed_since_ms: int | None = None

    # -- offsets -------------------------------------------------------------------------------------------------

    @property
    def high_watermark(self) -> int:
        """Up to where consumers may read: the end. With flush.messages=1 nobody sees what is not on disk, if somebody watches `on_high_watermark`."""
        if self.config.flush_messages <= 1 and self.on_high_watermark is not None:
            return self.recovery_point
        return self.end_offset

    @property
    def last_stable_offset(self) -> int:
        """Up to where no transaction is open."""
        first_unstable = self.producers.first_unstable_offset()
        if first_unstable is None:
            return self.high_watermark
        return min(max(first_unstable, self.start_offset), self.high_watermark)

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

        Writable bytes are patched where they lie. Raises RecordsRefused or KafkaError. Durable when `durable_at` says so, a duplicate too.
        """
        if self.offline is not None:
            raise self._storage_error()
        config = self.config
        validated = validate(batch, config.validation, now_ms)
        if LOG_OVERHEAD + validated.batch_length > config.segment_bytes:
            raise RecordsRefused(ErrorCode.RECORD_LIST_TOO_LARGE, in_shape=False)
        if validated.producer_id >= 0:
            known = self.producers.duplicate_of(validated)
            if known is not None:
                return LogAppendInfo(
                    known.first_offset, known.last_offset, known.timestamp, known.timestamp, self.start_offset, duplicate=True
                )
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
        end_offset = first_offset + batch.last_offset_delta + 1
        try:
            segment = self.segments[-1]
            if self._must_roll(segment, batch, now_ms):
                self.roll(now_ms)
                segment = self.segments[-1]
            segment.append(batch, (batch.buffer,))
        except OSError as error:
            raise self.write_failed(error) from error
        self.end_offset = end_offset
        if leader_epoch > self.leader_epochs.latest:
            self.leader_epochs.assign(leader_epoch, first_offset)
        if batch.producer_id >= 0:
            self._note_producer(batch)
        if self._unflushed_since_ms is None:
            self._unflushed_since_ms = now_ms
        max_timestamp = batch.max_timestamp
        append_time = max_timestamp if batch.attributes & _LOG_APPEND_TIME else -1
        return LogAppendInfo(first_offset, end_offset - 1, max_timestamp, append_time, self.start_offset)

    def _note_producer(self, batch: RecordBatch) -> None:
        try:
            self.see_producer(self.segments[-1], batch)
        except OSError as error:
            raise self.go_offline(error) from error

    def see_producer(self, segment: LogSegment, batch: RecordBatch) -> None:
        """Keep the producers' state up to date, and the index of aborted transactions, with a batch in that segment."""
        ended = self.producers.update(batch)
        if ended is not None and ended.is_aborted:
            first_unstable = self.producers.first_unstable_offset()
            stable = batch.next_offset if first_unstable is None else first_unstable
            self.aborted.add(segment.base_offset, AbortedTransaction(ended.producer_id, ended.first_offset, ended.marker_offset, stable))

    def _must_roll(self, segment: LogSegment, batch: RecordBatch, now_ms: int) -> bool:
        """Kafka's rules: full, old by the first batch's time, an index full, an offset too far from the base."""
        if batch.base_offset + batch.last_offset_delta - segment.base_offset > MAX_RELATIVE_OFFSET:
            return True
        if segment.size == 0:
            return False
        config = self.config
        if segment.size + LOG_OVERHEAD + batch.batch_length > config.segment_bytes:
            return True
        most_index_bytes = config.segment_index_bytes - 12
        if 12 * segment.index.count >= most_index_bytes or 12 * segment.times.count >= most_index_bytes:
            return True
        first_timestamp = segment.first_timestamp
        if first_timestamp is not None and first_timestamp >= 0:
            waited_ms = batch.max_timestamp - first_timestamp
        else:
            waited_ms = now_ms - segment.created_ms
        limit_ms = min(config.segment_ms, config.max_compaction_lag_ms) if config.is_compacted else config.segment_ms
        return bool(waited_ms > limit_ms - config.segment_jitter_ms)

    def roll(self, now_ms: int) -> None:
        """Begin a new segment at the end. What is in the old one is flushed soon, elsewhere. Raises OSError, and has rolled nothing then."""
        segment = self.active_segment
        if segment.size == 0 and segment.base_offset == self.end_offset:
            return
        segment.write_indexes(final=True)
        self._take_snapshot()
        following = self.new_segment(self.end_offset, now_ms)
        if segment.size == 0:
            self.segments[-1] = following
            self._drop(segment)
        else:
            self.segments.append(following)
        self.flush()

    def new_segment(self, base_offset: int, now_ms: int) -> LogSegment:
        """An empty segment; its file is there."""
        segment = LogSegment(self.files, self.directory, base_offset, created_ms=now_ms, index_interval=self.config.index_interval_bytes)
        self.files.append(segment.log_name, [b""])
        self._flusher.is_directory_new = True
        return segment

    def _take_snapshot(self) -> None:
        """Write down the producers' state at the end, so that nobody has to read the log for it."""
        if self._last_snapshot_offset >= self.end_offset:
            return
        name = f"{self.directory}/{self.end_offset:020d}.snapshot"
        self.files.delete(name)
        try:
            self.files.append(name, [self.producers.snapshot()])
        except OSError:
            self.files.delete(name)
            raise
        self._flusher.unsynced_names.append(name)
        self._last_snapshot_offset = self.end_offset

    # -- durability ----------------------------------------------------------------------------------------------

    def durable_at(self, offset: int, now_ms: int = 0) -> Later[None] | None:  # noqa: ARG002 - other engines may count time
        """When everything before `offset` is as durable as `flush.messages` promises: None for now, else a Later to wait for."""
        if self.end_offset - self.recovery_point < self.config.flush_messages or offset <= self.recovery_point:
            return None
        return self.flush()

    def flush(self) -> Later[None] | None:
        """Sync everything appended so far: a Later, or None where there is nothing to do. One sync runs at a time; it serves all that came before it."""
        self._require_online()
        if self.recovery_point >= self.end_offset:
            return None
        return self._flusher.flush()

    def flush_if_older_than(self, now_ms: int) -> None:
        """flush.ms, asked from time to time."""
        if self._unflushed_since_ms is not None and now_ms - self._unflushed_since_ms >= self.config.flush_ms and self.offline is None:
            self.flush()

    def names_may_be_lost(self) -> None:
        """Names in the directory have changed; the next sync makes them last."""
        self._flusher.is_directory_new = True

    def must_be_synced(self, name: str) -> None:
        """A file was cut: the next sync makes that last, however little is left of it."""
        self._flusher.unsynced_names.append(name)

    @property
    def is_syncing(self) -> bool:
        """Whether something still works on its files elsewhere, also after it went offline."""
        return self._flusher.is_running

    def synced_up_to(self, offset: int) -> None:
        """A sync has come to its end."""
        before = self.recovery_point
        self.recovery_point = max(before, min(offset, self.end_offset))
        if self.recovery_point >= self.end_offset:
            self._unflushed_since_ms = None
        if self.on_high_watermark is not None and self.config.flush_messages <= 1 and self.recovery_point > before:
            self.on_high_watermark(self)

    def close(self) -> None:
        """Everything to disk, for a clean stop. Costs nothing where nothing was written. See `closing.close_all` for many logs."""
        if self.write_rest():
            self.sync_rest()

    def write_rest(self) -> bool:
        """Write what a clean stop leaves beside the batches; whether anything has to be synced then.

        A small log leaves nothing that is found as fast by reading it: files for each of ten thousand such logs would make the stop a long one.
        """
        if self.offline is not None:
            return False
        try:
            is_small = len(self.segments) == 1 and self.active_segment.size < _SMALL
            if not (is_small and not self.producers.producers):
                self._take_snapshot()
            if self.recovery_point >= self.end_offset and not self._flusher.unsynced_names and self.leader_epochs.is_written:
                return False
            if not is_small:
                self.active_segment.write_indexes(final=True)
        except OSError as error:
            self.go_offline(error)
            return False
        return True

    def sync_rest(self) -> None:
        """Sync everything, here and now."""
        try:
            self._flusher.flush_now()
        except OSError as error:
            self.go_offline(error)

    def all_is_synced(self) -> None:
        """Somebody else has synced everything there is."""
        self._flusher.all_is_synced()

    def write_epochs(self) -> None:
        """Write the leader epochs; for who syncs everything at once. Raises OSError."""
        if not self.leader_epochs.is_written:
            self.files.put(self.leader_epochs.name, self.leader_epochs.checkpoint())
            self.leader_epochs.is_written = True

    def go_offline(self, error: BaseException) -> KafkaError:
        """Whoever waits for durability is told; nobody appends or reads here any more. Gives the error to raise."""
        if self.offline is None:
            self.offline = f"{type(error).__name__}: {error}"
            if self.on_offline is not None:
                self.on_offline(self)
        failure = self._storage_error()
        self._flusher.fail_waiters(failure)
        return failure

    def write_failed(self, error: OSError) -> KafkaError:
        """A full disk leaves the log as it was; after anything else nothing is sure."""
        if error.errno in _DISK_IS_FULL:
            return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The log {self.directory} cannot grow: {error}")
        return self.go_offline(error)

    def _storage_error(self) -> KafkaError:
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The log {self.directory} is offline: {self.offline}")

    def _require_online(self) -> None:
        if self.offline is not None:
            raise self._storage_error()

    # -- reading -------------------------------------------------------------------------------------------------

    def read(
        self, offset: int, max_bytes: int, upper_offset: int | None = None, *, at_least_one: bool = True, committed: bool = False
    ) -> FetchData:
        """Batches from the one that holds `offset` on, up to `upper_offset` (the high watermark where not given), out of one segment (N-12).

        `committed` ends at the last stable offset, and also gives the aborted transactions. Raises OffsetOutOfRange.
        """
        self._require_online()
        high_watermark = self.high_watermark
        stable = self.last_stable_offset
        if not self.start_offset <= offset <= self.end_offset:
            raise OffsetOutOfRange(offset, self.start_offset, self.end_offset)
        limit = min(high_watermark if upper_offset is None else upper_offset, stable if committed else self.end_offset)
        records: Buffer = b""
        aborted = None
        try:
            number = len(self.segments) - 1 if offset >= self.segments[-1].base_offset else self._segment_number(offset)
            if offset < limit:
                records = self._read_segments(number, offset, max_bytes, limit, at_least_one=at_least_one)
            if committed:
                aborted = (
                    self.aborted.overlapping(self.segments[number].base_offset, offset, _next_offset(records, offset)) if records else []
                )
        except OSError as error:
            raise self.go_offline(error) from error
        return FetchData(records, high_watermark, stable, self.start_offset, aborted)

    def _read_segments(self, number: int, offset: int, max_bytes: int, limit: int, *, at_least_one: bool) -> Buffer:
        """From the segment that holds the offset; from the next one where compaction has emptied it there."""
        while number < len(self.segments):
            segment = self.segments[number]
            _, records = segment.read_from(offset, max_bytes, at_least_one=at_least_one)
            if records or not at_least_one:
                return _cut_at(memoryview(records), limit) if limit < self.end_offset else records
            number += 1
        return b""

    def _segment_number(self, offset: int) -> int:
        """The last segment that begins at or before an offset."""
        return max(0, bisect_right(self.segments, offset, key=_base_offset) - 1)

    def first_offset_at_or_after(self, timestamp: int) -> FoundOffset:
        """The first record as new as `timestamp`, in order of offsets (L-06); control records count (L-18)."""
        self._require_online()
        try:
            for segment in self.segments[self._segment_number(self.start_offset) :]:
                if segment.largest_timestamp < timestamp:
                    continue
                for batch in segment.batches_at_or_after(timestamp, self.start_offset):
                    for record in batch.records():
                        if record.timestamp >= timestamp and record.offset >= self.start_offset:
                            return FoundOffset(record.timestamp, record.offset, batch.partition_leader_epoch)
        except OSError as error:
            raise self.go_offline(error) from error
        return NOTHING_FOUND

    def largest_timestamp(self) -> FoundOffset:
        """The record with the largest timestamp, the first of several, also where it lies before the log's start by now, and where none has one (KIP-734, L-03)."""
        self._require_online()
        try:
            newest = max(self.segments, key=lambda segment: segment.largest_timestamp)
            largest = newest.largest_timestamp
            for batch in newest.batches_at_or_after(largest, newest.base_offset):
                for record in batch.records():
                    if record.timestamp >= largest:
                        return FoundOffset(record.timestamp, record.offset, batch.partition_leader_epoch)
        except OSError as error:
            raise self.go_offline(error) from error
        return NOTHING_FOUND

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
            self.leader_epochs.truncate_from_start(offset)

    def apply_retention(self, now_ms: int) -> list[LogSegment]:
        """Take out the segments that retention.ms, retention.bytes or the log's start no longer keep; the caller deletes their files later."""
        if self.offline is not None:
            return []
        try:
            doomed = doomed_segments(self, now_ms)
            if not doomed:
                return []
            if doomed[-1] is self.active_segment:
                self.roll(now_ms)
            del self.segments[: len(doomed)]
            for segment in doomed:
                segment.mark_deleted()
                self._forget(segment)
            self._move_start(self.segments[0].base_offset)
        except OSError as error:
            self.write_failed(error)
            return []
        except CorruptBatch:
            return []  # who reads there is told; nothing is thrown away on the word of a damaged file
        return doomed

    def truncate_to(self, offset: int) -> None:
        """Forget everything from `offset` on; a batch that holds it goes whole. Raises KafkaError when the disk fails."""
        if offset >= self.end_offset:
            return
        try:
            while len(self.segments) > 1 and self.active_segment.base_offset >= offset:
                self._drop(self.segments.pop())
            segment = self.active_segment
            for placed in segment.batches_from_offset(offset):
                segment.truncate_to_position(placed.position, placed.batch.base_offset)
                offset = placed.batch.base_offset
                self.must_be_synced(segment.log_name)
                break
            self.names_may_be_lost()
            self.aborted.truncate(offset)
            self.leader_epochs.truncate_from_end(offset)
            self.end_offset = offset
            self.start_offset = min(self.start_offset, offset)
            self.recovery_point = min(self.recovery_point, offset)
            for _ in self.restore_producers(self.files.list(self.directory)):
                pass
        except OSError as error:
            raise self.go_offline(error) from error

    def replace_segments(self, first: int, count: int, compacted: LogSegment, *, has_transactions: bool) -> None:
        """Compaction has written some segments anew as one, whose files have their names by now."""
        for segment in self.segments[first : first + count]:
            self._forget(segment)
        self.segments[first : first + count] = [compacted]
        if has_transactions:
            self.aborted.found(compacted.base_offset)

    def _drop(self, segment: LogSegment) -> None:
        segment.delete()
        self._forget(segment)

    def _forget(self, segment: LogSegment) -> None:
        """The segment's files are renamed or gone; nothing else may ask for them."""
        self.aborted.moved_away(segment.base_offset)
        prefix = segment.name("")
        self._flusher.unsynced_names = [name for name in self._flusher.unsynced_names if not name.startswith(prefix)]

    def restore_producers(self, names: Sequence[str]) -> Iterator[int]:
        """The producers' state, from the newest sound snapshot among the directory's files, and the batches after it. Gives each batch's offset.

        Snapshots of what is no longer there are deleted.
        """
        self.producers.clear()
        self._last_snapshot_offset = -1
        since = self.start_offset
        for offset in sorted((int(name[:20]) for name in names if name.endswith(".snapshot")), reverse=True):
            name = f"{self.directory}/{offset:020d}.snapshot"
            if offset <= self.end_offset:
                try:
                    self.producers.load_snapshot(self.files.read_whole(name))
                except SnapshotDamaged:
                    pass
                else:
                    self._last_snapshot_offset = since = offset
                    break
            self.files.delete(name)
        if since >= self.end_offset:
            return
        for segment in self.segments[self._segment_number(since) :]:
            for _, batch in segment.batches_from_offset(since):
                if batch.base_offset >= self.end_offset:
                    return
                self.producers.update(batch)
                yield batch.base_offset


def _base_offset(segment: LogSegment) -> int:
    return segment.base_offset


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
