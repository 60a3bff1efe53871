"""A partition as its leader has it: who leads it in which epoch, its log, and who wants to know when something changes in it.

Fetches that wait, and fetch sessions, are watchers. They are told of every append, of every move of the high watermark, the last stable offset or the
log's start, and when the partition is deleted or its leader is another one. Nobody polls. An idle partition is small: its log is opened, and its
watchers are kept, only once there is a use for them.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from pykbroker.later import Later, in_slices, when
from pykbroker.log_directory import topic_id_text
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.storage import checkpoints, loader
from pykbroker.storage.log import LogAppendInfo, LogConfig, UnifiedLog

if TYPE_CHECKING:
    from pykbroker.cluster import Cluster
    from pykbroker.metadata import Topic

T = TypeVar("T")

LOGS_PER_SLICE = 10
"""Of a request's partitions so many logs are opened, or made, in a row; then others have their turn (law 5): each costs a millisecond."""

ALL_IN_SYNC_REPLICAS = -1
NO_EPOCH = -1
NO_OFFSET = -1


class Watcher(Protocol):
    """Whoever wants to know that a partition is not what it was. It is told while the change is being made, so it should do little."""

    def partition_changed(self) -> None:
        """Something that a fetch may answer with has changed."""


class Partition:
    """See the module's law. What the metadata log says about it is set by `Metadata.replay` alone."""

    __slots__ = (
        "_cluster",
        "_is_unwritten",
        "_log",
        "_watchers",
        "deleted",
        "index",
        "isr",
        "leader_epoch",
        "leader_id",
        "partition_epoch",
        "replicas",
        "topic",
    )

    def __init__(
        self,
        cluster: "Cluster",
        topic: "Topic",
        index: int,
        *,
        replicas: list[int],
        isr: list[int],
        leader_id: int,
        leader_epoch: int,
        partition_epoch: int,
    ) -> None:
        self.topic = topic
        self.index = index
        self.replicas = replicas
        self.isr = isr
        self.leader_id = leader_id
        self.leader_epoch = leader_epoch
        self.partition_epoch = partition_epoch
        self.deleted = False
        self._cluster = cluster
        self._log: UnifiedLog | None = None
        self._is_unwritten = False
        """Known to have no log on disk, as long as `_log` is None."""
        self._watchers: dict[Watcher, None] | None = None

    def __repr__(self) -> str:
        return f"Partition({self.topic.name!r}, {self.index})"

    @property
    def log(self) -> UnifiedLog:
        """Its log, to write to; opened, or made, when it is first asked for. Raises KafkaError(KAFKA_STORAGE_ERROR) where that fails."""
        log = self._log
        if log is None:
            log = self._log = self._cluster.logs.log_of(self.topic.name, self.index, self.topic.topic_id)
            log.on_high_watermark = self._synced
        return log

    @property
    def log_to_read(self) -> UnifiedLog:
        """The same; but as long as nobody has ever written to it, an empty one that all such partitions share, and nothing is made on disk."""
        if self._log is not None:
            return self._log
        if not self._is_unwritten:
            if self._is_written():
                return self.log
            self._is_unwritten = True
        return _nothing_written()

    def _is_written(self) -> bool:
        """Whether there is a log of it, opened by somebody or on disk."""
        name, index = self.topic.name, self.index
        if (name, index) in self._cluster.logs.logs:
            return True
        try:
            written_id = checkpoints.read_partition_metadata(self._cluster.files, f"{name}-{index}")
        except (OSError, ValueError):
            return True  # opening it tells what is wrong
        return written_id == topic_id_text(self.topic.topic_id)

    @property
    def is_open_to_read(self) -> bool:
        """Whether `log_to_read` is there at no cost."""
        return self._log is not None or self._is_unwritten

    # -- leadership ----------------------------------------------------------------------------------------------

    def leadership_error(self, node_id: int, current_leader_epoch: int = NO_EPOCH) -> ErrorCode:
        """Why a broker may not answer for this partition, given the epoch that the client knows (KIP-320); NONE where it may."""
        if current_leader_epoch not in (NO_EPOCH, self.leader_epoch):
            return ErrorCode.FENCED_LEADER_EPOCH if current_leader_epoch < self.leader_epoch else ErrorCode.UNKNOWN_LEADER_EPOCH
        return ErrorCode.NONE if self.leader_id == node_id else ErrorCode.NOT_LEADER_OR_FOLLOWER

    def end_offset_of_epoch(self, leader_epoch: int) -> tuple[int, int]:
        """(epoch, end offset): the largest epoch up to the one asked for that wrote something, and where it ended; (-1, -1) for none (L-11).

        The current epoch ends at the end of the log, also when nothing has been written in it yet. One before the first ended where that began.
        """
        log = self.log_to_read
        if leader_epoch == self.leader_epoch:
            return leader_epoch, log.end_offset
        if leader_epoch == NO_EPOCH or leader_epoch > self.leader_epoch:
            return NO_EPOCH, NO_OFFSET
        written = log.leader_epochs.entries
        if not written:
            return leader_epoch, log.end_offset
        if leader_epoch < written[0].epoch:
            return leader_epoch, written[0].start_offset
        if leader_epoch >= written[-1].epoch:
            return written[-1].epoch, log.end_offset
        return log.leader_epochs.end_offset_for(leader_epoch, log.end_offset)

    @property
    def epoch_at_start(self) -> int:
        """The epoch that wrote the record at the log's start; the current one where there is none (L-01)."""
        log = self.log_to_read
        written = log.leader_epochs.epoch_of(log.start_offset)
        return self.leader_epoch if written < 0 or log.start_offset == log.end_offset else written

    # -- writing -------------------------------------------------------------------------------------------------

    def append(self, batch: memoryview, required_acks: int, now_ms: int) -> LogAppendInfo:
        """Append what a client sent, one batch. Raises RecordsRefused, KafkaError. It is durable when `durable_after` says so."""
        log = self.log
        if required_acks == ALL_IN_SYNC_REPLICAS and len(self.isr) < len(self.replicas):
            needed = min(self._cluster.config.topic(self.topic.name).min_insync_replicas, len(self.replicas))
            if len(self.isr) < needed:
                raise KafkaError(
                    ErrorCode.NOT_ENOUGH_REPLICAS, f"{self!r} has {len(self.isr)} replicas in sync, min.insync.replicas asks for {needed}."
                )
        appended = log.append_as_leader(batch, self.leader_epoch, now_ms)
        if self._watchers:
            self.changed()
        return appended

    def append_as_coordinator(self, batch: bytes) -> Later[None] | None:
        """Append what a coordinator built, control batches too; a Later where durability must be waited for. Raises KafkaError."""
        now_ms = self._cluster.clock.now_ms
        appended = self.log.append_built(batch, self.leader_epoch, now_ms)
        if self._watchers:
            self.changed()
        return self.durable_after(appended, now_ms)

    def durable_after(self, appended: LogAppendInfo, now_ms: int) -> Later[None] | None:
        """When something appended is as durable as flush.messages asks: None for now."""
        return self.log.durable_at(appended.last_offset + 1, now_ms)

    def delete_records(self, before_offset: int) -> int:
        """Let the log begin at an offset, -1: at the high watermark. Gives the low watermark.

        It survives a crash once the start offsets are checkpointed. Raises OffsetOutOfRange, KafkaError.
        """
        log = self.log_to_read
        start_offset = log.start_offset
        log.delete_records(log.high_watermark if before_offset == NO_OFFSET else before_offset)
        if log.start_offset != start_offset:
            self.changed()
        return log.start_offset

    # -- watching ------------------------------------------------------------------------------------------------

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of every change from now on, until `unwatch`."""
        if self._watchers is None:
            self._watchers = {}
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        """No more; harmless when it does not watch."""
        if self._watchers is not None:
            self._watchers.pop(watcher, None)
            if not self._watchers:
                self._watchers = None

    def changed(self) -> None:
        """Tell all watchers. Those that come or go meanwhile make no difference to this round."""
        if self._watchers:
            for watcher in list(self._watchers):
                watcher.partition_changed()

    def mark_deleted(self) -> None:
        """Its topic is gone."""
        self.deleted = True
        self.changed()

    def log_is_back(self, log: UnifiedLog) -> None:
        """A disk error took its log offline; it was opened anew."""
        if self._log is not None:
            self._log = log
            log.on_high_watermark = self._synced
        self.changed()

    def _synced(self, _log: UnifiedLog) -> None:
        self.changed()


def closed_to_read(topic: "Topic | None", indexes: list[int]) -> list[Partition]:
    """Which of a topic's partitions are not open to be read yet."""
    if topic is None:
        return []
    partitions = topic.partitions
    return [one for one in [partitions[index] for index in indexes if 0 <= index < len(partitions)] if not one.is_open_to_read]


def once_open_to_read(cluster: "Cluster", closed: list[Partition], then: "Callable[[], T | Later[T]]") -> "T | Later[T]":
    """`then()`, when these are open: at once where they are few, else they are opened in slices first (law 5)."""
    if len(closed) <= LOGS_PER_SLICE:
        return then()
    return when(in_slices(cluster.waits, closed, _open_to_read, LOGS_PER_SLICE), lambda _: then())


def _open_to_read(partition: Partition) -> None:
    if not partition.deleted:
        with suppress(KafkaError):  # whoever reads it is told
            _ = partition.log_to_read


@cache
def _nothing_written() -> UnifiedLog:
    """A log without a record, which nobody writes to."""
    from pykbroker.storage.memory_files import MemoryFiles

    return loader.create(MemoryFiles(), "nothing-written", LogConfig(), _never, 0)


def _never(_work: Callable[[], None]) -> Later[None]:
    raise AssertionError("nothing is ever written to a log that is only read")
