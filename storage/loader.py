"""A log directory becomes a log: at once after a clean stop, after checking every batch since the last flush otherwise (`recover`).

Checking finds the first batch that is cut off, whose checksum is wrong or whose offset cannot be, and cuts the log there; it makes the indexes, the leader epochs and the
producers' state anew. It goes in slices, so that whoever runs it can do something else in between. What cannot be read is offline from the start,
with the reason; the other logs know nothing of it.
"""

import logging
from collections.abc import Iterator, Sequence

from pykbroker.protocol.records import CorruptBatch
from pykbroker.storage.files import Files
from pykbroker.storage.flusher import Offload
from pykbroker.storage.leader_epoch import EpochsDamaged
from pykbroker.storage.log import LogConfig, UnifiedLog
from pykbroker.storage.offset_order import ascending, consecutive
from pykbroker.storage.segment import InOrder, LogSegment

BATCHES_PER_SLICE = 200

_LEFTOVERS = (".deleted", ".tmp", ".cleaned", ".swap")

log = logging.getLogger("pykbroker")


def create(files: Files, directory: str, config: LogConfig, offload: Offload, now_ms: int) -> UnifiedLog:
    """A new log in a directory of its own, which may be there but holds no log yet. Its files come with its first batch."""
    files.make_directory(directory)
    new = UnifiedLog(files, directory, config, offload)
    new.segments.append(LogSegment(files, directory, 0, created_ms=now_ms, index_interval=config.index_interval_bytes))
    new.names_may_be_lost()
    return new


def load(
    files: Files,
    directory: str,
    config: LogConfig,
    offload: Offload,
    now_ms: int,
    *,
    start_offset: int = 0,
    recovery_point: int = 0,
    cleaned_up_to: int = 0,
    clean: bool = True,
) -> UnifiedLog:
    """The log of a directory. Where the last stop was not clean, it must be run through `recover` before it is used.

    Up to `cleaned_up_to` there are gaps that compaction made, whatever the cleanup policy is now.
    """
    loaded = UnifiedLog(files, directory, config, offload)
    loaded.first_dirty_offset = cleaned_up_to
    try:
        names = _swapped_in(files, directory, files.list(directory))
        _load_segments(loaded, names, now_ms, start_offset)
        loaded.leader_epochs.load()
        if clean:
            _find_end(loaded, now_ms)
            loaded.recovery_point = loaded.end_offset
            for _ in loaded.restore_producers(names):
                pass
            _delete_stray_snapshots(loaded, names)
        else:
            loaded.recovery_point = recovery_point
            loaded.names_may_be_lost()
    except (OSError, EpochsDamaged, CorruptBatch) as error:
        _give_up(loaded, error, now_ms)
    return loaded


def recover(recovered: UnifiedLog) -> Iterator[int]:
    """Check the log from its recovery point on and cut it where it is no longer sound. Gives, now and then, the offset it has come to."""
    if recovered.offline is not None:
        return
    try:
        yield from _recover(recovered)
    except (OSError, CorruptBatch) as error:
        recovered.go_offline(error)


def _recover(recovered: UnifiedLog) -> Iterator[int]:
    first = next(
        (
            number
            for number in range(len(recovered.segments) - 1, 0, -1)
            if recovered.segments[number].base_offset <= recovered.recovery_point
        ),
        0,
    )
    for segment in recovered.segments[first:]:
        recovered.aborted.clear(segment.base_offset)
    now_ms = recovered.segments[-1].created_ms
    seen = 0
    is_cut = False
    with_producers = len(recovered.segments)
    end = recovered.segments[first].base_offset
    for number in range(first, len(recovered.segments)):
        segment = recovered.segments[number]
        size = segment.size
        may_have_gaps = recovered.config.is_compacted or segment.base_offset <= recovered.first_dirty_offset
        if segment.base_offset < end or (segment.base_offset > end and not may_have_gaps):
            _drop_from(recovered, number, f"the one before it ends at offset {end}")
            is_cut = True
            break
        end = segment.base_offset
        for batch in segment.recover(_order_of(recovered, segment)):
            end = batch.next_offset
            if batch.partition_leader_epoch > recovered.leader_epochs.latest:
                recovered.leader_epochs.assign(batch.partition_leader_epoch, batch.base_offset)
            if batch.producer_id >= 0:
                with_producers = min(with_producers, number)
            seen += 1
            if seen % BATCHES_PER_SLICE == 0:
                yield end
        if segment.size < size:
            log.warning("%s: the last %d bytes were no sound batch; the log ends at offset %d", segment.log_name, size - segment.size, end)
            _drop_from(recovered, number + 1, "it comes after a batch that was lost")
            recovered.must_be_synced(segment.log_name)
            is_cut = True
            break
    recovered.end_offset = end
    _begin_anew_where_all_is_gone(recovered, now_ms)
    recovered.leader_epochs.truncate_from_end(recovered.end_offset)
    recovered.recovery_point = min(recovered.recovery_point, recovered.end_offset)
    yield from _recover_producers(recovered, first, with_producers)
    if is_cut or recovered.config.flush_messages <= 1:
        # what was cut off must not come back after another crash; and with flush.messages=1 consumers see no more than what is on disk
        recovered.sync_rest()
    yield recovered.end_offset


def _order_of(recovered: UnifiedLog, segment: LogSegment) -> InOrder:
    """Only where compaction has been are there gaps between batches."""
    is_compacted = recovered.config.is_compacted or segment.base_offset < recovered.first_dirty_offset
    return ascending if is_compacted else consecutive


def _recover_producers(recovered: UnifiedLog, first: int, with_producers: int) -> Iterator[int]:
    """From the last snapshot before what was checked, that is, before segment `first`: what came after it is replayed, and with it the aborted transactions.

    Segment `with_producers` is the first of them that has anything to replay.
    """
    names = [name for name in recovered.files.list(recovered.directory) if name.endswith(".snapshot")]
    base_offset = recovered.segments[min(first, len(recovered.segments) - 1)].base_offset
    for name in names:
        if int(name[:20]) > base_offset:
            recovered.files.delete(f"{recovered.directory}/{name}")
    names = [name for name in names if int(name[:20]) <= base_offset]
    checked_end, recovered.end_offset = recovered.end_offset, max(base_offset, recovered.start_offset)
    for seen, offset in enumerate(recovered.restore_producers(names)):
        if seen % BATCHES_PER_SLICE == 0:
            yield offset
    recovered.end_offset = checked_end
    for segment in recovered.segments[with_producers:]:
        for seen, (_, batch) in enumerate(segment.batches_from(0)):
            if batch.producer_id >= 0:
                recovered.see_producer(segment, batch)
            if seen % BATCHES_PER_SLICE == BATCHES_PER_SLICE - 1:
                yield batch.base_offset


def _swapped_in(files: Files, directory: str, names: Sequence[str]) -> list[str]:
    """The directory's files, without what was left over by an interrupted deletion or compaction; one that was complete is brought to its end."""
    leftovers = [name for name in names if name.endswith(_LEFTOVERS)]
    if not leftovers:
        return list(names)
    first_unfinished = min((int(name[:20]) for name in leftovers if name.endswith(".log.cleaned")), default=None)
    for name in leftovers:
        if not name.endswith(".swap"):
            continue
        if f"{name[:20]}.log.swap" not in names or (first_unfinished is not None and int(name[:20]) >= first_unfinished):
            files.delete(f"{directory}/{name}")
        else:
            if name.endswith(".log.swap"):
                _delete_replaced(files, directory, name)
            files.rename(f"{directory}/{name}", f"{directory}/{name.removesuffix('.swap')}")
    for name in leftovers:
        if not name.endswith(".swap"):
            files.delete(f"{directory}/{name}")
    return files.list(directory)


def _delete_replaced(files: Files, directory: str, swap: str) -> None:
    """Old segments whose batches are in the new one go before it takes its name: whoever is stopped in between finds out again what they are."""
    base = int(swap[:20])
    new = LogSegment(files, directory, base, size=files.size(f"{directory}/{swap}"))
    new.log_name = f"{directory}/{swap}"
    end = max((placed.batch.next_offset for placed in new.batches_from(0)), default=base)
    for other in files.list(directory):
        if other.endswith(".log") and base < int(other[:20]) < end:
            LogSegment(files, directory, int(other[:20])).delete()


def _load_segments(loaded: UnifiedLog, names: Sequence[str], now_ms: int, start_offset: int) -> None:
    for name in names:
        base, _, suffix = name.partition(".")
        if suffix == "log" and base.isdigit():
            size = loaded.files.size(f"{loaded.directory}/{name}")
            interval = loaded.config.index_interval_bytes
            loaded.segments.append(
                LogSegment(loaded.files, loaded.directory, int(base), size=size, created_ms=now_ms, index_interval=interval)
            )
        elif suffix == "txnindex" and base.isdigit():
            loaded.aborted.found(int(base))
    loaded.segments.sort(key=lambda segment: segment.base_offset)
    if not loaded.segments:
        loaded.segments.append(loaded.new_segment(start_offset, now_ms))
    loaded.start_offset = max(start_offset, loaded.segments[0].base_offset)


def _find_end(loaded: UnifiedLog, now_ms: int) -> None:
    """After a clean stop the end is behind the last batch."""
    segment = loaded.segments[-1]
    last = segment.last_batch() if segment.size else None
    loaded.end_offset = segment.base_offset if last is None else last.next_offset
    _begin_anew_where_all_is_gone(loaded, now_ms)


def _begin_anew_where_all_is_gone(loaded: UnifiedLog, now_ms: int) -> None:
    """Offsets are never given twice: a log that ends before its known start goes on at its start."""
    if loaded.end_offset >= loaded.start_offset:
        return
    _drop_from(loaded, 0, "the log is known to begin after it")
    loaded.names_may_be_lost()
    loaded.end_offset = loaded.start_offset
    loaded.segments.append(loaded.new_segment(loaded.start_offset, now_ms))


def _drop_from(recovered: UnifiedLog, number: int, reason: str) -> None:
    for unsound in recovered.segments[number:]:
        log.warning("%s is deleted: %s", unsound.log_name, reason)
        unsound.delete()
        recovered.aborted.moved_away(unsound.base_offset)
    del recovered.segments[number:]


def _delete_stray_snapshots(loaded: UnifiedLog, names: Sequence[str]) -> None:
    """A clean stop leaves a snapshot each time; only the newest, and those where segments begin, are of use."""
    snapshots = sorted(int(name[:20]) for name in names if name.endswith(".snapshot"))
    bases = {segment.base_offset for segment in loaded.segments}
    for offset in snapshots[:-1]:
        if offset not in bases:
            loaded.files.delete(f"{loaded.directory}/{offset:020d}.snapshot")


def _give_up(loaded: UnifiedLog, error: Exception, now_ms: int) -> None:
    """Offline from the start; what is on disk stays as it is."""
    if not loaded.segments:
        loaded.segments.append(LogSegment(loaded.files, loaded.directory, 0, created_ms=now_ms))
    loaded.go_offline(error)
