"""All logs of one broker: opened at start, made and deleted with their topics, looked after from time to time.

After a clean stop nothing is checked; after any other, every log is, from its recovery point on. Files and formats are Kafka's (storage/checkpoints.py).
"""

import base64
import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from pykbroker.later import Later
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import CorruptBatch, TimestampType
from pykbroker.storage import checkpoints, closing, loader, reopening
from pykbroker.storage.log import UNLIMITED, LogConfig, UnifiedLog
from pykbroker.storage.segment import LogSegment
from pykbroker.storage.validator import ValidationSettings

if TYPE_CHECKING:
    from pykbroker.clock import Clock
    from pykbroker.config import Configuration, TopicConfig
    from pykbroker.context import Offload
    from pykbroker.storage.files import Files

log = logging.getLogger("pykbroker")

Slices = Iterator[Later[None] | None]
"""Work that takes long: others have their turn after each piece of it, or until what it gives is there."""

PartitionId = tuple[str, int, bytes]
"""Topic, partition, topic id."""

LOGS_PER_SLICE = 50
"""How many logs are looked after in one go, before others have their turn (law 5)."""

FIRST_REOPEN_PAUSE_MS = 1000
LONGEST_REOPEN_PAUSE_MS = 60_000
"""After a disk error a log is opened anew, each time that fails after twice the pause, up to this."""

_LONGEST_FLUSH_CHECK_MS = 60_000
_LONGEST_NAME = 255

_PARTITION = re.compile(r".+-\d+")
"""The name of a partition's directory."""


class LogDirectory:
    """The logs of one data directory, by (topic, partition)."""

    def __init__(self, files: "Files", config: "Configuration", clock: "Clock", offload: "Offload") -> None:
        self.files = files
        self.config = config
        self.clock = clock
        self.offload = offload
        self.logs: dict[checkpoints.TopicPartition, UnifiedLog] = {}
        self.was_clean = True
        self.on_offline: list[Callable[[UnifiedLog], None]] = []
        """Told when a log went offline: whoever keeps something that is replayed from it."""
        self.on_back: list[Callable[[UnifiedLog], None]] = []
        """Told when a log that was offline was opened anew, and what now stands in its place."""
        self._start_offsets: dict[checkpoints.TopicPartition, int] = {}
        self._recovery_points: dict[checkpoints.TopicPartition, int] = {}
        self._cleaned_up_to: dict[checkpoints.TopicPartition, int] = {}
        self._uncleanable: set[str] = set()
        self.kept_elsewhere: Callable[[], dict[checkpoints.TopicPartition, int]] = dict
        """The recovery points of logs that are not among these: written down with the others."""
        self._not_opened_by_anybody: Callable[[], Iterable[PartitionId]] = tuple
        self._written_start_offsets: dict[checkpoints.TopicPartition, int] = {}
        self._written_cleaned: dict[checkpoints.TopicPartition, int] = {}
        self._checkpointed: set[checkpoints.TopicPartition] = set()
        """Of which logs the checkpoints on disk say something; maybe of logs that are gone."""
        self._log_configs: dict[str, tuple[TopicConfig, LogConfig]] = {}
        self._stopped = False
        self._last_unique = 0

    def open(self) -> None:
        """Read what the last stop left, and clean up after deletions that it interrupted."""
        try:
            self.was_clean = checkpoints.take_clean_shutdown_mark(self.files)
        except checkpoints.CheckpointDamaged:
            self.was_clean = False  # a mark that cannot be read promises nothing
            self.files.delete(checkpoints.CLEAN_SHUTDOWN)
        self._start_offsets = checkpoints.read_offsets(self.files, checkpoints.LOG_START_OFFSETS)
        self._cleaned_up_to = checkpoints.read_offsets(self.files, checkpoints.CLEANED)
        self._written_cleaned = dict(self._cleaned_up_to)
        self._written_start_offsets = dict(self._start_offsets)
        try:
            self._recovery_points = checkpoints.read_offsets(self.files, checkpoints.RECOVERY_POINTS)
        except checkpoints.CheckpointDamaged as error:
            log.warning("%s; every log is checked from its beginning instead", error)
        self._checkpointed = {*self._start_offsets, *self._cleaned_up_to, *self._recovery_points}
        for name in self.files.list(""):
            if name.endswith("-delete"):
                self.files.delete(name)

    def recovery_point(self, key: checkpoints.TopicPartition) -> int:
        """Up to where that log was on disk when this was last written down."""
        return self._recovery_points.get(key, 0)

    def insist_on_none(self) -> None:
        """For a cluster that knows of no topic. Raises CheckpointDamaged where there are logs of some all the same."""
        directories = [name for name in self.files.list("") if _PARTITION.fullmatch(name)]
        found = [name for name in directories if checkpoints.PARTITION_METADATA in self.files.list(name)]
        if found:
            raise checkpoints.CheckpointDamaged(
                f"The metadata log is lost, but {len(found)} logs of topics are there, such as {found[0]}: restore the data directory, or use another one."
            )

    def finish_deletions(self, partitions: Iterable[PartitionId]) -> None:
        """Of topics whose deletion was decided: what a crash has left of them goes. A directory that says that it is another topic's stays."""
        present = set(self.files.list(""))
        for topic, partition, topic_id in partitions:
            directory = f"{topic}-{partition}"
            if directory not in present:
                continue
            try:
                written_id = checkpoints.read_partition_metadata(self.files, directory)
            except checkpoints.CheckpointDamaged:
                continue
            if written_id == topic_id_text(topic_id):
                self._forget_offsets((topic, partition))
                self._delete(directory)

    def log_of(self, topic: str, partition: int, topic_id: bytes) -> UnifiedLog:
        """The log of a partition, opened when it is first asked for: made where it is new, recovered where the last stop was not clean.

        Raises KafkaError(KAFKA_STORAGE_ERROR) where that fails.
        """
        opened = self.logs.get((topic, partition))
        if opened is None:
            try:
                opened = self._open_log(topic, partition, topic_id)
            except (OSError, ValueError) as error:
                log.error("The log %s-%d cannot be opened: %s", topic, partition, error)
                raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The log {topic}-{partition} cannot be opened: {error}") from error
        return opened

    def open_all(self, partitions: Iterable[PartitionId]) -> None:
        """After a stop that was not clean: check every log that has a directory, before anybody is served. One that cannot be is reported."""
        for one in self._unopened(partitions):
            self._open_quietly(*one)

    def _open_quietly(self, topic: str, partition: int, topic_id: bytes) -> None:
        with contextlib.suppress(KafkaError):  # it was reported, and is again whenever somebody asks for it
            self.log_of(topic, partition, topic_id)

    def _unopened(self, partitions: Iterable[PartitionId]) -> list[PartitionId]:
        """Those that have a directory, but were not asked for yet."""
        present = set(self.files.list(""))
        return [one for one in partitions if one[:2] not in self.logs and f"{one[0]}-{one[1]}" in present]

    def _open_log(self, topic: str, partition: int, topic_id: bytes) -> UnifiedLog:
        key = (topic, partition)
        directory = f"{topic}-{partition}"
        config = self.log_config(topic)
        now_ms = self.clock.now_ms
        written_id = checkpoints.read_partition_metadata(self.files, directory)
        if written_id is None or written_id != topic_id_text(topic_id):
            self._make_room(directory, topic_id, written_id)
            self._forget_namesake(key)
            opened = loader.create(self.files, directory, config, self.offload, now_ms)
        else:
            opened = loader.load(
                self.files,
                directory,
                config,
                self.offload,
                now_ms,
                start_offset=self._start_offsets.get(key, 0),
                recovery_point=self.recovery_point(key),
                cleaned_up_to=self._cleaned_up_to.get(key, 0),
                clean=self.was_clean,
            )
            if not self.was_clean:
                for _ in loader.recover(opened):
                    pass
        opened.on_offline = self._log_went_offline
        self.logs[key] = opened
        if opened.offline is not None:
            self._log_went_offline(opened)
        return opened

    def _make_room(self, directory: str, topic_id: bytes, written_id: str | None) -> None:
        """A new partition's directory. One of the same name is left over from a topic that was deleted, or does not say any more whose it is.

        Where it holds records it is set aside, as Kafka does it: nothing is thrown away on the word of a damaged file, or for want of one.
        """
        present = self.files.list(directory)
        if any(name.endswith(".log") and self.files.size(f"{directory}/{name}") for name in present):
            aside = self._new_name(directory, "stray")
            log.error(
                "The directory %s belongs to topic id %s, not to %s; its records are kept in %s, and may be deleted if nobody misses them",
                directory,
                written_id,
                topic_id_text(topic_id),
                aside,
            )
            self.files.rename(directory, aside)
        elif written_id is not None or present:
            self.files.delete(directory)
        self.files.make_directory(directory)
        checkpoints.write_partition_metadata(self.files, directory, topic_id_text(topic_id))

    def _forget_namesake(self, key: checkpoints.TopicPartition) -> None:
        """What is written down about a log that is gone must not be taken, after a crash, for what is known of the one that is made now."""
        if key in self._checkpointed:
            self._forget_offsets(key)
            self._write_checkpoints()

    def _forget_offsets(self, key: checkpoints.TopicPartition) -> None:
        for offsets in (self._start_offsets, self._recovery_points, self._cleaned_up_to):
            offsets.pop(key, None)

    def _new_name(self, directory: str, suffix: str) -> str:
        """A name that no directory ever had, and no longer than a file system takes."""
        self._last_unique = max(self._last_unique + 1, self.clock.now_ms)
        topic, _, partition = directory.rpartition("-")
        rest = f"-{partition}.{self._last_unique:x}-{suffix}"
        return topic[: _LONGEST_NAME - len(rest)] + rest

    def delete_log(self, topic: str, partition: int) -> None:
        """The partition is gone: its directory is renamed at once, and deleted after file.delete.delay.ms. Who waits for a sync of it is told."""
        self._forget_offsets((topic, partition))
        self._log_configs.pop(topic, None)
        directory = f"{topic}-{partition}"
        self._uncleanable.discard(directory)
        deleted = self.logs.pop((topic, partition), None)
        delay_ms = self.config.topic(topic).file_delete_delay_ms if deleted is None else deleted.config.file_delete_delay_ms
        if deleted is None and not self.files.list(directory):
            return
        doomed = self._new_name(directory, "delete")
        try:
            self.files.rename(directory, doomed)
        except OSError as error:
            log.error("The directory %s could not be renamed: %s", directory, error)
        else:
            self.clock.call_later(delay_ms, lambda: self._delete(doomed))
        if deleted is not None:
            deleted.on_offline = None
            deleted.go_offline(KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "its topic was deleted"))

    def reconfigure(self, partitions: Iterable[checkpoints.TopicPartition]) -> None:
        """The configuration of these partitions has changed; those without a log will see it when theirs is opened."""
        for key in partitions:
            one = self.logs.get(key)
            if one is not None:
                one.config = self.log_config(key[0])

    def log_config(self, topic: str) -> LogConfig:
        """What a topic's configuration asks of its logs; one object for all logs of a topic."""
        wanted = self.config.topic(topic)
        known = self._log_configs.get(topic)
        if known is None or known[0] is not wanted:
            known = self._log_configs[topic] = (wanted, log_config(wanted))
        return known[1]

    def start_housekeeping(self, partitions: Callable[[], Iterable[PartitionId]] = tuple) -> None:
        """Retention, flushing and checkpoints, each at its own interval, for as long as the broker runs.

        Logs of `partitions` that nobody asks for are opened when retention is due the first time: they grow old like others.
        """
        self._not_opened_by_anybody = partitions
        self._every("log.retention.check.interval.ms", self._retain)
        self._every("log.cleaner.backoff.ms", self._compact)
        self._every("producer.id.expiration.check.interval.ms", self._expire_producers)
        self._every("log.flush.offset.checkpoint.interval.ms", self._checkpoint)
        self._flush_soon()

    def checkpoint_start_offsets(self) -> None:
        """Where each log begins, where that is not where its first segment does: DeleteRecords must survive a crash."""
        moved = self._of_unopened(self._start_offsets)
        moved |= {key: one.start_offset for key, one in self.logs.items() if one.start_offset > one.segments[0].base_offset}
        if moved != self._written_start_offsets:
            checkpoints.write_offsets(self.files, checkpoints.LOG_START_OFFSETS, moved)
            self._written_start_offsets = moved
            self._checkpointed |= moved.keys()

    def close(self, broker_epoch: int | None) -> None:
        """A clean stop: every log to disk, then the checkpoints, then the mark that says so; no mark without an epoch."""
        self._stopped = True
        closing.close_all(self.files, self.logs.values())
        try:
            self._write_checkpoints()
            if broker_epoch is not None and all(one.offline is None for one in self.logs.values()):
                checkpoints.leave_clean_shutdown_mark(self.files, broker_epoch)
        except OSError as error:
            log.error("What would make the next start quick could not be written; it will check every log instead: %s", error)

    def _every(self, setting: str, work: Callable[[], Slices]) -> None:
        """Run `work`, slice by slice, each time the interval of that name has passed."""
        if self._stopped:
            return

        def begin() -> None:
            self._continue(work(), lambda: self._every(setting, work))

        self.clock.call_later(self.config.integer(setting), begin)

    def _continue(self, slices: Slices, finished: Callable[[], None]) -> None:
        """One slice; the next one when others have had their turn, or when what the slice gave to wait for is there.

        A slice that fails is reported, and tried again next time.
        """
        if self._stopped:
            return
        try:
            given = next(slices)
        except StopIteration:
            finished()
            return
        except (OSError, KafkaError) as error:
            log.error("Looking after the logs failed: %s", error)
            finished()
            return
        resume = partial(self._continue, slices, finished)
        if given is None:
            self.clock.call_later(0, resume)
        else:
            given.then(lambda _: resume(), lambda _: resume())

    def _sliced(self) -> Iterator[UnifiedLog]:
        """The logs that are online; those deleted meanwhile are left out."""
        for key in list(self.logs):
            one = self.logs.get(key)
            if one is not None and one.offline is None:
                yield one

    def _retain(self) -> Slices:
        """retention.ms, retention.bytes, and what lies before the log's start."""
        asleep, self._not_opened_by_anybody = self._not_opened_by_anybody, tuple
        for number, unopened in enumerate(self._unopened(asleep())):
            self._open_quietly(*unopened)
            if number % LOGS_PER_SLICE == LOGS_PER_SLICE - 1:
                yield None
        for number, one in enumerate(self._sliced()):
            doomed = one.apply_retention(self.clock.now_ms)
            if doomed:
                self.clock.call_later(one.config.file_delete_delay_ms, partial(self._delete_segments, doomed))
            if number % LOGS_PER_SLICE == LOGS_PER_SLICE - 1:
                yield None

    def _compact(self) -> Slices:
        """cleanup.policy=compact, one log after the other; what cannot be read any more is left alone until the next start."""
        from pykbroker.storage import cleaner

        if not self.config.broker("log.cleaner.enable"):
            return
        for number, one in enumerate(self._sliced()):
            if one.config.is_compacted and one.directory not in self._uncleanable:
                try:
                    found = cleaner.cleanable(one, self.clock.now_ms)
                    if found is not None:
                        yield from cleaner.clean(one, found, self.clock.now_ms)
                        self._write_cleaned()
                except CorruptBatch as error:
                    self._uncleanable.add(one.directory)
                    log.warning("%s is not compacted any more: %s", one.directory, error)
            if number % LOGS_PER_SLICE == LOGS_PER_SLICE - 1:
                yield None

    def _expire_producers(self) -> Slices:
        """producer.id.expiration.ms (I-13)."""
        expiration_ms = self.config.integer("producer.id.expiration.ms")
        for number, one in enumerate(self._sliced()):
            one.producers.expire(self.clock.now_ms, expiration_ms)
            if number % LOGS_PER_SLICE == LOGS_PER_SLICE - 1:
                yield None

    def _checkpoint(self) -> Slices:
        """How far each log is known to be on disk, and where it begins."""
        yield None
        self._write_checkpoints()

    def _write_checkpoints(self) -> None:
        recovery_points = self._of_unopened(self._recovery_points)
        recovery_points |= {key: one.recovery_point for key, one in self.logs.items() if one.recovery_point}
        recovery_points |= self.kept_elsewhere()
        checkpoints.write_offsets(self.files, checkpoints.RECOVERY_POINTS, recovery_points)
        high_watermarks = {key: one.high_watermark for key, one in self.logs.items() if one.end_offset}
        checkpoints.write_offsets(self.files, checkpoints.HIGH_WATERMARKS, self._of_unopened(self._recovery_points) | high_watermarks)
        self._write_cleaned()
        self.checkpoint_start_offsets()
        self._checkpointed = {*recovery_points, *self._written_cleaned, *self._written_start_offsets}

    def _write_cleaned(self) -> None:
        """How far each log is compacted: up to there gaps are no loss, also once its cleanup policy is another one (see `loader`)."""
        cleaned = self._of_unopened(self._cleaned_up_to)
        cleaned |= {key: one.first_dirty_offset for key, one in self.logs.items() if one.first_dirty_offset}
        if cleaned != self._written_cleaned:
            checkpoints.write_offsets(self.files, checkpoints.CLEANED, cleaned)
            self._written_cleaned = cleaned
            self._checkpointed |= cleaned.keys()

    def _of_unopened(self, offsets: dict[checkpoints.TopicPartition, int]) -> dict[checkpoints.TopicPartition, int]:
        """What the last stop left of logs that nobody has asked for yet: it still holds."""
        return {key: offset for key, offset in offsets.items() if key not in self.logs}

    def _flush_soon(self) -> None:
        """flush.ms: looked at as often as the smallest of them asks, if any topic has one at all."""
        if self._stopped:
            return
        shortest = min((one.config.flush_ms for one in self.logs.values()), default=UNLIMITED)

        def flush() -> None:
            for one in self._sliced():
                one.flush_if_older_than(self.clock.now_ms)
            self._flush_soon()

        self.clock.call_later(max(10, min(shortest, _LONGEST_FLUSH_CHECK_MS)), flush)

    def _delete_segments(self, segments: list[LogSegment]) -> None:
        """Under the names that say so, no others: their topic may have been deleted meanwhile, and made anew."""
        for segment in segments:
            self._attempt(segment.delete_marked)

    def _delete(self, name: str) -> None:
        self._attempt(lambda: self.files.delete(name))

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            log.error("Old files could not be deleted, and are tried again at the next start: %s", error)

    def _log_went_offline(self, gone: UnifiedLog) -> None:
        log.error("The log %s went offline: %s", gone.directory, gone.offline)
        for listener in self.on_offline:
            listener(gone)
        self._reopen_later(gone, FIRST_REOPEN_PAUSE_MS)

    def _reopen_later(self, gone: UnifiedLog, pause_ms: int) -> None:
        """Try after a pause to open a log anew; after a longer one if it fails, until its topic is deleted or the broker stops."""
        if self._stopped or self.logs.get(_key_of(gone)) is not gone:
            return
        again = partial(self._reopen_later, gone, min(2 * pause_ms, LONGEST_REOPEN_PAUSE_MS))
        self.clock.call_later(pause_ms, lambda: self._continue(self._reopen(gone), again))

    def _reopen(self, gone: UnifiedLog) -> Slices:
        """Open it anew (see `reopening`), and put it in its place. Nothing is touched any more once the topic is deleted."""
        key = _key_of(gone)
        if gone.is_syncing or self.logs.get(key) is not gone:
            return
        known = {"start_offset": self._start_offsets.get(key, 0), "recovery_point": self.recovery_point(key)}
        slices = reopening.reopen(gone, self.log_config(key[0]), self.clock.now_ms, **known)
        while True:
            try:
                given = next(slices)
            except StopIteration as finished:
                opened: UnifiedLog = finished.value
                break
            yield given
            if self.logs.get(key) is not gone:
                return
        if opened.offline is not None:
            log.warning("The log %s stays offline: %s", opened.directory, opened.offline)
            return
        opened.config = self.log_config(key[0])
        opened.on_offline = self._log_went_offline
        self.logs[key] = opened
        log.warning("The log %s is online again; it ends at offset %d", opened.directory, opened.end_offset)
        for listener in self.on_back:
            listener(opened)


def _key_of(one: UnifiedLog) -> checkpoints.TopicPartition:
    topic, _, partition = one.directory.rpartition("-")
    return topic, int(partition)


def log_config(topic: "TopicConfig") -> LogConfig:
    """A topic's configuration, as its logs want it."""
    compression = None if topic.compression_type == "producer" else _COMPRESSIONS[topic.compression_type]
    return LogConfig(
        segment_bytes=topic.segment_bytes,
        segment_ms=topic.segment_ms,
        segment_jitter_ms=topic.segment_jitter_ms,
        segment_index_bytes=topic.segment_index_bytes,
        index_interval_bytes=topic.index_interval_bytes,
        retention_bytes=topic.retention_bytes,
        retention_ms=topic.retention_ms,
        is_deleted="delete" in topic.cleanup_policy,
        is_compacted="compact" in topic.cleanup_policy,
        delete_retention_ms=topic.delete_retention_ms,
        min_compaction_lag_ms=topic.min_compaction_lag_ms,
        max_compaction_lag_ms=topic.max_compaction_lag_ms,
        min_cleanable_dirty_ratio=topic.min_cleanable_dirty_ratio,
        file_delete_delay_ms=topic.file_delete_delay_ms,
        flush_messages=topic.flush_messages,
        flush_ms=topic.flush_ms,
        validation=ValidationSettings(
            max_message_bytes=topic.max_message_bytes,
            is_compacted="compact" in topic.cleanup_policy,
            timestamp_type=TimestampType.LOG_APPEND_TIME if topic.message_timestamp_type == "LogAppendTime" else TimestampType.CREATE_TIME,
            timestamp_before_max_ms=topic.message_timestamp_before_max_ms,
            timestamp_after_max_ms=topic.message_timestamp_after_max_ms,
            compression=compression,
            compression_level=_compression_level(topic, compression),
        ),
    )


def topic_id_text(topic_id: bytes) -> str:
    """An id as Kafka writes it: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(topic_id).decode().rstrip("=")


def _compression_level(topic: "TopicConfig", compression: CompressionType | None) -> int | None:
    match compression:
        case CompressionType.GZIP:
            return topic.compression_gzip_level
        case CompressionType.LZ4:
            return topic.compression_lz4_level
        case CompressionType.ZSTD:
            return topic.compression_zstd_level
        case _:
            return None


_COMPRESSIONS = {"uncompressed": CompressionType.NONE, **{kind.label: kind for kind in CompressionType if kind}}
