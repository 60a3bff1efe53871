"""How a log gets to the disk: one sync at a time, which serves everybody whose batches were written before it began (group commit).

A sync brings along what the log's recovery point promises: the files of rolled segments whole, snapshots, the leader epochs, and the names of new
files. What runs elsewhere touches nothing but files; the broker's own thread hears of the end.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pykbroker.later import Later

if TYPE_CHECKING:
    from pykbroker.storage.log import UnifiedLog
    from pykbroker.storage.segment import LogSegment

PARTITION_METADATA = "partition.metadata"

Work = Callable[[], None]
Offload = Callable[[Work], Later[None]]
"""Runs work elsewhere; its end settles the Later on the broker's thread."""


class Flusher:
    """The syncs of one log."""

    __slots__ = ("_log", "_waiters", "is_directory_new", "is_running", "unsynced_names")

    def __init__(self, log: "UnifiedLog") -> None:
        self._log = log
        self.is_running = False
        """Whether something is being synced elsewhere."""
        self._waiters: list[tuple[int, Later[None]]] = []
        self.unsynced_names: list[str] = []
        """Files beside the segments that were written since the last sync: snapshots."""
        self.is_directory_new = False
        """Whether names in the directory, or its own, may be lost yet."""

    def flush(self) -> Later[None]:
        """Sync everything appended so far."""
        waiter: Later[None] = Later()
        self._waiters.append((self._log.end_offset, waiter))
        if not self.is_running:
            self._start()
        return waiter

    def flush_now(self) -> None:
        """The same, here and now; for a clean stop. Raises OSError."""
        work = self._work()
        if work:
            _run_all(work)
        self._log.synced_up_to(self._log.end_offset)

    def all_is_synced(self) -> None:
        """Somebody else has synced everything there is."""
        self.unsynced_names = []
        self.is_directory_new = False
        self._log.synced_up_to(self._log.end_offset)

    def fail_waiters(self, error: BaseException) -> None:
        """The log is offline: nothing more will become durable."""
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            waiter.fail(error)

    def _start(self) -> None:
        target = self._log.end_offset
        try:
            work = self._work()
        except OSError as error:
            self._log.go_offline(error)
            return
        self.is_running = True
        self._log.offload(lambda: _run_all(work)).then(lambda _: self._finished(target), self._failed)

    def _finished(self, target: int) -> None:
        self.is_running = False
        if self._log.offline is not None:
            return
        self._log.synced_up_to(target)
        done = [waiter for offset, waiter in self._waiters if offset <= target]
        self._waiters = [(offset, waiter) for offset, waiter in self._waiters if offset > target]
        if self._waiters:
            self._start()
        for waiter in done:
            waiter.settle(None)

    def _failed(self, error: BaseException) -> None:
        self.is_running = False
        self._log.go_offline(error)

    def _work(self) -> list[Work]:
        """All that must be done until the recovery point may be the log's end."""
        log, files = self._log, self._log.files
        work: list[Work] = []
        names = self.unsynced_names
        for number in range(len(log.segments) - 1, -1, -1):
            segment = log.segments[number]
            is_active = number == len(log.segments) - 1
            if not is_active and log.segments[number + 1].base_offset <= log.recovery_point:
                break
            names += self._names_of(segment, is_active=is_active)
        if self.is_directory_new and PARTITION_METADATA in files.list(log.directory):
            names.append(f"{log.directory}/{PARTITION_METADATA}")
        try:
            work += [files.syncer(name) for name in names]
        except OSError:
            self.unsynced_names = names
            raise
        self.unsynced_names = []
        epochs = log.leader_epochs
        if not epochs.is_written:
            name, checkpoint = epochs.name, epochs.checkpoint()
            work.append(lambda: files.replace(name, checkpoint))
            epochs.is_written = True
        if self.is_directory_new:
            work += [lambda: files.sync_directory(log.directory), lambda: files.sync_directory("")]
            self.is_directory_new = False
        return work

    def _names_of(self, segment: "LogSegment", *, is_active: bool) -> list[str]:
        """The files of a segment to sync. The indexes of the active one are not needed: they are made anew after a crash."""
        names = [segment.log_name] if segment.size else []
        if not is_active:
            segment.write_indexes()
            names += [segment.name("index"), segment.name("timeindex")]
        if self._log.aborted.has(segment.base_offset):
            names.append(segment.name("txnindex"))
        return names


def _run_all(work: list[Work]) -> None:
    """Everything, also what comes after a failure: each piece lets go of its own handle. Then the first failure counts."""
    failure: BaseException | None = None
    for piece in work:
        try:
            piece()
        except OSError as error:
            failure = failure or error
    if failure is not None:
        raise failure
