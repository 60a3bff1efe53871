"""A log directory becomes a log: at once after a clean stop, after checking every batch since the last flush otherwise (`recover`).

Checking finds the first batch that is cut off or whose checksum is wrong, and cuts the log there; it makes the indexes and the producers' state anew. It
goes in slices, so that whoever runs it can do something else in between.
"""

from collections.abc import Iterator

from pykbroker.storage.files import Files
from pykbroker.storage.log import LogConfig, Offload, UnifiedLog
from pykbroker.storage.producer_state import SnapshotDamaged
from pykbroker.storage.segment import LogSegment

BATCHES_PER_SLICE = 500


def create(files: Files, directory: str, config: LogConfig, offload: Offload, now_ms: int) -> UnifiedLog:
    """A new log in a directory of its own; it has no file yet but an empty segment."""
    files.make_directory(directory)
    return load(files, directory, config, offload, now_ms)


def load(
    files: Files, directory: str, config: LogConfig, offload: Offload, now_ms: int, *, start_offset: int = 0, recovery_point: int = 0, clean: bool = True
) -> UnifiedLog:
    """The log of a directory. Where the last stop was not clean, it must be run through `recover` before it is used."""
    log = UnifiedLog(files, directory, config, offload)
    names = files.list(directory)
    for name in names:
        if name.endswith((".deleted", ".tmp", ".cleaned", ".swap")):
            files.delete(f"{directory}/{name}")
    bases = sorted(int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdigit())
    for base in bases:
        size = files.size(f"{directory}/{base:020d}.log")
        log.segments.append(
            LogSegment(files, directory, base, size=size, created_ms=now_ms, index_interval=config.index_interval_bytes)
        )
    if not log.segments:
        log.segments.append(log._new_segment(start_offset, now_ms))
    log.start_offset = max(start_offset, log.segments[0].base_offset)
    log.leader_epochs.load()
    if clean:
        _find_end(log)
        log.recovery_point = log.end_offset
        _load_producers(log, names)
    else:
        log.recovery_point = recovery_point
    return log


def recover(log: UnifiedLog) -> Iterator[int]:
    """Check the log from its recovery point on and cut it where it is no longer sound. Gives, now and then, the offset it has come to."""
    checked = 0
    start = log._segment_number(log.recovery_point) if log.recovery_point >= log.segments[0].base_offset else 0
    end = log.segments[start].base_offset
    for number in range(start, len(log.segments)):
        segment = log.segments[number]
        size = segment.size
        for batch in segment.rebuild():
            end = batch.next_offset
            checked += 1
            if checked % BATCHES_PER_SLICE == 0:
                yield end
        following = log.segments[number + 1] if number + 1 < len(log.segments) else None
        if segment.size < size or (following is not None and following.base_offset < end):
            for unsound in log.segments[number + 1 :]:
                unsound.delete()
            del log.segments[number + 1 :]
            break
        end = max(end, following.base_offset if following is not None else end)
    log.end_offset = max(end, log.start_offset)
    if log.segments[-1].size == 0 and log.segments[-1].base_offset < log.end_offset and len(log.segments) == 1:
        log.segments[-1].delete()
        log.segments[-1] = log._new_segment(log.end_offset, log.segments[-1].created_ms)
    log.leader_epochs.truncate_from_end(log.end_offset)
    _note_epochs(log)
    log.recovery_point = min(log.recovery_point, log.end_offset)
    for name in log.files.list(log.directory):
        if name.endswith(".snapshot") and int(name[:20]) > log.end_offset:
            log.files.delete(f"{log.directory}/{name}")
    _load_producers(log, log.files.list(log.directory))
    yield log.end_offset


def _find_end(log: UnifiedLog) -> None:
    segment = log.segments[-1]
    last = segment.last_batch() if segment.size else None
    log.end_offset = max(segment.base_offset if last is None else last.next_offset, log.start_offset)


def _note_epochs(log: UnifiedLog) -> None:
    """Epochs whose checkpoint was lost in the crash are found in the batches themselves."""
    for segment in log.segments[-2:]:
        for _, batch in segment.batches_from(0):
            if batch.partition_leader_epoch > log.leader_epochs.latest:
                log.leader_epochs.assign(batch.partition_leader_epoch, batch.base_offset)


def _load_producers(log: UnifiedLog, names: list[str]) -> None:
    """From the newest snapshot that is sound, and the batches after it."""
    snapshots = sorted((int(name[:20]) for name in names if name.endswith(".snapshot")), reverse=True)
    for offset in snapshots:
        name = f"{log.directory}/{offset:020d}.snapshot"
        if offset > log.end_offset:
            continue
        try:
            log.producers.load_snapshot(bytes(log.files.read(name, 0, log.files.size(name))))
        except SnapshotDamaged:
            log.files.delete(name)
            continue
        if offset < log.end_offset:
            log.rebuild_producers(offset)
        return
    if log.end_offset > log.start_offset and _has_producers(log):
        log.rebuild_producers()


def _has_producers(log: UnifiedLog) -> bool:
    """Whether the last segment holds a batch of an idempotent producer; before that, a snapshot would have been written."""
    return any(batch.producer_id >= 0 for _, batch in log.segments[-1].batches_from(0))
