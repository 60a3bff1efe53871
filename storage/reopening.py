"""A log that a disk error took offline is opened anew, and never goes on in a file whose fsync may have failed.

After a failed fsync the system may call pages clean that never reached the disk, and the next fsync of that file succeeds and means nothing. So every
segment that is not known to be synced is copied, byte by byte, into a new file, which is synced and takes the old one's name. What was in
memory is forgotten: the log is loaded and checked as after a crash. A disk that is still broken leaves everything as it was.
"""

from collections.abc import Generator, Iterator

from pykbroker.later import Later
from pykbroker.storage import loader
from pykbroker.storage.files import Files
from pykbroker.storage.log import UnifiedLog
from pykbroker.storage.log_config import LogConfig

BYTES_PER_SLICE = 1024 * 1024


def reopen(
    gone: UnifiedLog, config: LogConfig, now_ms: int, *, start_offset: int, recovery_point: int
) -> Generator[Later[None] | None, None, UnifiedLog]:
    """Yields None between slices, and a Later to wait for a sync; its value is the log that takes the place of `gone`.

    That one may be offline again. `start_offset` and `recovery_point` are what is known of them beside what `gone` knew. Raises OSError.
    """
    start_offset = max(start_offset, gone.start_offset)
    recovery_point = max(recovery_point, gone.recovery_point)
    for name in _unsynced_segments(gone.files, gone.directory, recovery_point):
        yield from _written_anew(gone, name)
    opened = loader.load(
        gone.files,
        gone.directory,
        config,
        gone.offload,
        now_ms,
        start_offset=start_offset,
        recovery_point=recovery_point,
        cleaned_up_to=gone.first_dirty_offset,
        clean=False,
    )
    for _ in loader.recover(opened):
        yield None
    return opened


def _unsynced_segments(files: Files, directory: str, recovery_point: int) -> list[str]:
    """The batches of those that end behind the recovery point."""
    names = [name for name in files.list(directory) if name.endswith(".log") and name[:-4].isdigit()]
    return [
        f"{directory}/{name}"
        for number, name in enumerate(names)
        if number == len(names) - 1 or int(names[number + 1][:-4]) > recovery_point
    ]


def _written_anew(gone: UnifiedLog, name: str) -> Iterator[Later[None] | None]:
    """The same bytes in another file, synced, under the same name. What is left of it after a crash is deleted by the loader."""
    files, copy = gone.files, f"{name}.tmp"
    size = files.size(name)
    files.delete(copy)
    files.append(copy, [b""])
    for position in range(0, size, BYTES_PER_SLICE):
        files.append(copy, [files.read(name, position, min(BYTES_PER_SLICE, size - position))])
        yield None
    synced = gone.offload(files.syncer(copy))
    yield synced
    _ = synced.value
    files.rename(copy, name)
