"""Compaction: of each key only the newest record stays, offsets stay what they are, and nobody who reads notices but by gaps (N-04 to N-11).

A round reads the dirty part of a log (what was written since the last round) into a map from keys to their newest offsets, then writes all segments up to
there anew without what the map has outdated. The new files are synced, take the old ones' place by renaming, and the old ones go. The active segment is
never touched, nor anything from the first open transaction on. A round is a generator: it gives None between slices, and a Later to wait for its sync.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from pykbroker.later import Later
from pykbroker.protocol.records import RecordBatch
from pykbroker.storage.batch_filter import BatchFilter, KeyMap
from pykbroker.storage.files import Files
from pykbroker.storage.index import OffsetIndex, TimeIndex
from pykbroker.storage.log import UnifiedLog
from pykbroker.storage.segment import LogSegment
from pykbroker.storage.transaction_index import AbortedTransaction, TransactionIndex

BYTES_PER_SLICE = 128 * 1024
DEDUPE_BUFFER_BYTES = 128 * 1024 * 1024
_LARGEST_RELATIVE_OFFSET = 2**31 - 1
_KINDS = ("index", "timeindex", "txnindex", "log")
"""In this order they are made ready: where the log is, everything else is too (see `loader`)."""


@dataclass(slots=True)
class Cleanable:
    """The dirty part of a log, as far as it may be cleaned now."""

    first_dirty_offset: int
    first_uncleanable_offset: int
    dirty_bytes: int
    clean_bytes: int
    is_overdue: bool
    """max.compaction.lag.ms has passed for something in it."""


def cleanable(log: UnifiedLog, now_ms: int) -> Cleanable | None:
    """What a round would clean; None where there is nothing, or too little by min.cleanable.dirty.ratio (N-09)."""
    if log.offline is not None or not log.config.is_compacted:
        return None
    try:
        return _cleanable(log, now_ms)
    except OSError as error:
        log.go_offline(error)
        return None


def _cleanable(log: UnifiedLog, now_ms: int) -> Cleanable | None:
    first_dirty = log.first_dirty_offset
    if not log.start_offset <= first_dirty <= log.end_offset:
        first_dirty = log.start_offset
    limit = min(log.active_segment.base_offset, log.last_stable_offset, log.high_watermark)
    dirty_bytes = clean_bytes = 0
    is_overdue = False
    for number, segment in enumerate(log.segments[:-1]):
        end = log.segments[number + 1].base_offset
        if segment.base_offset >= limit:
            break
        if end <= first_dirty:
            clean_bytes += segment.size
            continue
        if log.config.min_compaction_lag_ms > 0 and segment.largest_timestamp > now_ms - log.config.min_compaction_lag_ms:
            limit = min(limit, segment.base_offset)
            break
        dirty_bytes += segment.size
        first_timestamp = segment.first_timestamp or 0
        is_overdue = is_overdue or 0 < first_timestamp < now_ms - log.config.max_compaction_lag_ms
    if dirty_bytes == 0 or limit <= first_dirty:
        return None
    if not is_overdue and dirty_bytes / (dirty_bytes + clean_bytes) <= log.config.min_cleanable_dirty_ratio:
        return None
    return Cleanable(first_dirty, limit, dirty_bytes, clean_bytes, is_overdue)


def clean(log: UnifiedLog, found: Cleanable, now_ms: int) -> Iterator[Later[None] | None]:
    """One round. Its end is that `log.first_dirty_offset` has moved; a disk that fails takes the log offline, one that is full ends the round."""
    keys = KeyMap(DEDUPE_BUFFER_BYTES)
    try:
        yield from _read_keys(log, found, keys)
        if keys.end_offset <= found.first_dirty_offset:
            return
        for group in _groups(log, keys.end_offset):
            yield from _clean_group(log, group, keys, now_ms)
            if log.offline is not None or not log.config.is_compacted:
                return
        log.first_dirty_offset = keys.end_offset
    except _Overtaken:
        return
    except OSError as error:
        log.write_failed(error)


class _Overtaken(Exception):  # noqa: N818
    """Retention or a truncation has removed, meanwhile, what is being cleaned."""


def _still_there(log: UnifiedLog, segments: list[LogSegment]) -> None:
    """Whether segments are what they were before others had their turn. Raises _Overtaken."""
    known = {id(segment) for segment in log.segments[:-1]}
    if log.offline is not None or any(id(segment) not in known for segment in segments):
        raise _Overtaken


def _read_keys(log: UnifiedLog, found: Cleanable, keys: KeyMap) -> Iterator[None]:
    """The newest offset of each key in the dirty part, or in as much of it as the map has room for."""
    keys.end_offset = found.first_dirty_offset
    seen = 0
    for segment in list(log.segments[:-1]):
        if segment.base_offset >= found.first_uncleanable_offset:
            break
        _still_there(log, [segment])
        aborted = AbortedRanges(log.aborted.overlapping(segment.base_offset, segment.base_offset, found.first_uncleanable_offset))
        for _, batch in segment.batches_from_offset(found.first_dirty_offset):
            if batch.base_offset >= found.first_uncleanable_offset or not keys.has_room:
                return
            if not batch.is_control and not aborted.holds(batch):
                keys.add(batch, found.first_dirty_offset)
            keys.end_offset = batch.next_offset
            seen += batch.size_in_bytes
            if seen >= BYTES_PER_SLICE:
                seen = 0
                yield
                _still_there(log, [segment])


class AbortedRanges:
    """Of each producer, from where to where its aborted transactions lie."""

    def __init__(self, transactions: list[AbortedTransaction]) -> None:
        self._by_producer: dict[int, set[tuple[int, int]]] = {}
        self.add(transactions)

    def add(self, transactions: list[AbortedTransaction]) -> None:
        """More of them; some may be known."""
        for transaction in transactions:
            self._by_producer.setdefault(transaction.producer_id, set()).add((transaction.first_offset, transaction.last_offset))

    def holds(self, batch: RecordBatch) -> bool:
        """Whether a batch belongs to a transaction that was aborted."""
        if not batch.is_transactional:
            return False
        return any(first <= batch.base_offset <= last for first, last in self._by_producer.get(batch.producer_id, ()))


def _groups(log: UnifiedLog, end_offset: int) -> Iterator[list[LogSegment]]:
    """Neighbouring segments that together are no larger than one may be: each group becomes one segment."""
    group: list[LogSegment] = []
    size = 0
    segments = list(log.segments)
    for segment, following in pairwise(segments):
        if segment.base_offset >= end_offset:
            break
        next_base = following.base_offset
        fits = group and size + segment.size <= log.config.segment_bytes and next_base - group[0].base_offset <= _LARGEST_RELATIVE_OFFSET
        if group and not fits:
            yield group
            group, size = [], 0
        group.append(segment)
        size += segment.size
    if group:
        yield group


@dataclass(slots=True)
class _CleanedSegment:
    """The new files of a group, under names that end in .cleaned."""

    files: Files
    directory: str
    base_offset: int
    index_interval_bytes: int
    size: int = 0
    largest_timestamp: int = -1
    offset_of_largest: int = 0
    since_entry: int = 0
    pieces: list[bytes] = field(default_factory=list)
    kinds: list[str] = field(default_factory=lambda: ["index", "timeindex", "log"])
    index: OffsetIndex = field(init=False)
    times: TimeIndex = field(init=False)

    def __post_init__(self) -> None:
        for kind in _KINDS:
            self.files.delete(self.name(kind))
        self.index = OffsetIndex(self.name("index"))
        self.times = TimeIndex(self.name("timeindex"))

    def name(self, kind: str, suffix: str = ".cleaned") -> str:
        return f"{self.directory}/{self.base_offset:020d}.{kind}{suffix}"

    def append(self, batch: RecordBatch) -> None:
        """As `LogSegment.append` does it."""
        if batch.max_timestamp > self.largest_timestamp and batch.record_count:
            self.largest_timestamp, self.offset_of_largest = batch.max_timestamp, batch.last_offset
        if self.since_entry > self.index_interval_bytes:
            self.index.add(self.files, batch.last_offset - self.base_offset, self.size)
            self._add_time()
            self.since_entry = 0
        self.since_entry += batch.size_in_bytes
        self.size += batch.size_in_bytes
        self.pieces.append(bytes(batch.buffer[: batch.size_in_bytes]))

    def write(self) -> None:
        """Write what has come together."""
        self.files.append(self.name("log"), [b"".join(self.pieces)])
        self.pieces.clear()

    def finish(self, transactions: list[AbortedTransaction]) -> None:
        """Write the rest, and the indexes."""
        self.write()
        if self.largest_timestamp >= 0:
            self._add_time()
        self.index.write(self.files)
        self.times.write(self.files)
        if transactions:
            self.kinds.insert(0, "txnindex")
            self.files.append(self.name("txnindex"), [TransactionIndex.packed(transactions)])

    def _add_time(self) -> None:
        self.times.add_if_larger(self.files, self.largest_timestamp, self.offset_of_largest - self.base_offset)


def _clean_group(log: UnifiedLog, group: list[LogSegment], keys: KeyMap, now_ms: int) -> Iterator[Later[None] | None]:
    """Write a group of segments anew as one, and put it in their place."""
    _still_there(log, group)
    cleaned = _CleanedSegment(log.files, log.directory, group[0].base_offset, log.config.index_interval_bytes)
    aborted = AbortedRanges([])
    for segment in group:
        aborted.add(log.aborted.overlapping(segment.base_offset, segment.base_offset, keys.end_offset))
    chosen = BatchFilter(keys, aborted.holds, log.producers, now_ms, log.config.delete_retention_ms)
    seen = 0
    for segment in group:
        for _, batch in segment.batches_from(0):
            kept = chosen.kept(batch)
            if kept is not None:
                cleaned.append(kept)
            seen += batch.size_in_bytes
            if seen >= BYTES_PER_SLICE:
                seen = 0
                cleaned.write()
                yield None
                _still_there(log, group)
    transactions = [one for segment in group for one in log.aborted.entries(segment.base_offset) if one.last_offset in chosen.kept_markers]
    cleaned.finish(transactions)
    syncs = [log.files.syncer(cleaned.name(kind)) for kind in cleaned.kinds]
    synced = log.offload(lambda: _run(syncs))
    yield synced
    _ = synced.value
    _still_there(log, group)
    _install(log, group, cleaned)


def _install(log: UnifiedLog, group: list[LogSegment], cleaned: _CleanedSegment) -> None:
    """The old files go, the new ones take their names; a crash in between is brought to its end by the loader."""
    for kind in cleaned.kinds:
        log.files.rename(cleaned.name(kind), cleaned.name(kind, ".swap"))
    for segment in group:
        segment.mark_deleted()
    for kind in cleaned.kinds:
        log.files.rename(cleaned.name(kind, ".swap"), cleaned.name(kind, ""))
    first = log.segments.index(group[0])
    created_ms = group[0].created_ms
    log.replace_segments(
        first,
        len(group),
        LogSegment(
            log.files,
            log.directory,
            cleaned.base_offset,
            size=cleaned.size,
            created_ms=created_ms,
            index_interval=cleaned.index_interval_bytes,
        ),
        has_transactions="txnindex" in cleaned.kinds,
    )
    for segment in group:
        segment.delete_marked()


def _run(syncs: list[Callable[[], None]]) -> None:
    for sync in syncs:
        sync()
