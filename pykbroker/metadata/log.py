"""`__cluster_metadata`: everything the controller decided, record by record, in Kafka's format. Memory is what the replay of what is durable gives.

A record's value is a frame: version 1 of the frame, the record's type, its version (all unsigned varints), the record. Records of one decision go into
one batch, so that a crash leaves all of them or none. A snapshot (`OFFSET-EPOCH.checkpoint`, KIP-630) says in as few records as possible
what the log said before its offset; that part of the log is deleted then. A log or snapshot that is damaged is not guessed at: the start fails.

After a disk error the log is opened anew after a pause, as partitions' logs are, and ends where what was acknowledged ends: whatever else the
disk kept of a decision that was refused is cut off before the next one is made.
"""

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from pykbroker.later import Slices, in_turns
from pykbroker.limits import ITEMS_PER_SLICE
from pykbroker.log_directory import FIRST_REOPEN_PAUSE_MS, LONGEST_REOPEN_PAUSE_MS
from pykbroker.protocol import messages
from pykbroker.protocol.codec import decode, encode
from pykbroker.protocol.definitions import definitions_in
from pykbroker.protocol.errors import KafkaError
from pykbroker.protocol.messages import Message, SnapshotFooterRecord, SnapshotHeaderRecord
from pykbroker.protocol.records import (
    BatchProperties,
    ControlRecordType,
    CorruptBatch,
    NewRecord,
    RecordBatch,
    batches,
    build_batch,
    control_batch,
)
from pykbroker.protocol.wire import Malformed, read_unsigned_varint, unsigned_varint
from pykbroker.storage import loader, reopening
from pykbroker.storage.checkpoints import CheckpointDamaged
from pykbroker.storage.log import LogConfig, UnifiedLog
from pykbroker.storage.offset_order import consecutive
from pykbroker.storage.validator import ValidationSettings

if TYPE_CHECKING:
    from pykbroker.clock import Clock
    from pykbroker.context import Offload
    from pykbroker.storage.files import Files

DIRECTORY = "__cluster_metadata-0"
LEADER_EPOCH = 1

_FRAME_VERSION = 1
_CONFIG = LogConfig(
    segment_bytes=1024 * 1024 * 1024, is_deleted=False, flush_messages=1, validation=ValidationSettings(max_message_bytes=512 * 1024 * 1024)
)
_CHECKPOINT = ".checkpoint"
_RECORDS_PER_BATCH = 500
"""In a snapshot; each is a slice."""
_BATCHES_AT_ONCE = 3
"""A snapshot that is no longer than this, header and footer counted, is written in one go."""
_FEW_RECORDS = 5000
"""A log as short as this is left alone."""

log = logging.getLogger("pykbroker")


class MetadataLog:
    """The log, and how records lie in it."""

    def __init__(self, files: "Files", clock: "Clock", offload: "Offload") -> None:
        self._files = files
        self._clock = clock
        self._offload = offload
        self._classes: dict[int, type[Message]] = {}
        self._snapshot: str | None = None
        self._is_closed = False
        self.log: UnifiedLog | None = None

    def open(self, *, clean: bool, recovery_point: int = 0) -> None:
        """Open it, and recover it where the last stop was not clean: what is not sound is cut off, but not before the recovery point, up to which all
        was on disk. Raises OSError, CheckpointDamaged.
        """
        self._files.make_directory(DIRECTORY)
        self._snapshot = max((name for name in self._files.list(DIRECTORY) if name.endswith(_CHECKPOINT)), default=None)
        now_ms = self._clock.now_ms
        self.log = loader.load(self._files, DIRECTORY, _CONFIG, self._offload, now_ms, start_offset=self._snapshot_offset, clean=clean)
        if not clean:
            self._insist_on(recovery_point)
            for _ in loader.recover(self.log):
                pass
        if self.log.offline is not None:
            raise OSError(errno.EIO, f"The metadata log cannot be opened: {self.log.offline}", DIRECTORY)
        self.log.on_offline = self._went_offline

    def _insist_on(self, recovery_point: int) -> None:
        """A crash tears what was not synced yet; what was, a damaged disk has lost, and with it everything that was decided later."""
        end = self._snapshot_offset
        for segment in self._opened.segments:
            for _, batch in consecutive(segment.sound_batches(), segment.base_offset):
                end = max(end, batch.next_offset)
        if end < recovery_point:
            raise CheckpointDamaged(
                f"{DIRECTORY} is damaged: it ends at offset {end}, and decisions up to {recovery_point} were on disk; restore the data directory, or use "
                "another one."
            )

    @property
    def recovery_point(self) -> int:
        """Everything before this offset survives a power cut."""
        return self._opened.recovery_point

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever decided, as far as the disk knows."""
        return self._snapshot is None and self._opened.end_offset == 0

    @property
    def offline(self) -> str | None:
        """Why nothing can be decided for now; None: it can."""
        return self._opened.offline

    @property
    def _opened(self) -> UnifiedLog:
        assert self.log is not None
        return self.log

    @property
    def _snapshot_offset(self) -> int:
        """The first offset that the snapshot says nothing of."""
        return int(self._snapshot[:20]) if self._snapshot else 0

    def replay(self) -> Iterator[tuple[int, Message]]:
        """Every record there is, with its offset; those of a snapshot have the last offset that it stands for. Raises CheckpointDamaged."""
        if self._snapshot is not None:
            yield from self._replay_snapshot(self._snapshot)
        for segment in self._opened.segments:
            for _, batch in segment.batches_from(0):
                for offset, record in self._records_of(batch, segment.log_name):
                    if offset >= self._snapshot_offset:
                        yield offset, record

    def _replay_snapshot(self, name: str) -> Iterator[tuple[int, Message]]:
        path = f"{DIRECTORY}/{name}"
        read = list(batches(self._files.read(path, 0, self._files.size(path))))
        if len(read) < 2 or not (read[0].is_control and read[-1].is_control):
            raise CheckpointDamaged(f"{path} is damaged: it has no beginning or no end.")
        for batch in read:
            for _, record in self._records_of(batch, path):
                yield self._snapshot_offset - 1, record

    def _records_of(self, batch: RecordBatch, name: str) -> Iterator[tuple[int, Message]]:
        if not batch.is_sound():
            raise CheckpointDamaged(f"{name} is damaged: the checksum of the batch at offset {batch.base_offset} is wrong.")
        if batch.is_control:
            return
        try:
            for record in batch.records():
                yield record.offset, self._decode(record.value or b"")
        except (CorruptBatch, Malformed) as error:
            raise CheckpointDamaged(f"{name} cannot be read: {error}") from error

    def append(self, records: Iterable[Message]) -> Slices[int]:
        """Write records as one batch, and wait until they are durable; gives the offset of the first. Raises KafkaError when the disk fails."""
        now_ms = self._clock.now_ms
        new: list[NewRecord] = []
        for record in records:
            if new and len(new) % ITEMS_PER_SLICE == 0:
                yield None
            new.append(NewRecord(_encode(record), timestamp=now_ms))
        opened = self._opened
        written = opened.append_built(build_batch(new, BatchProperties()), LEADER_EPOCH, now_ms)
        durable = opened.flush()
        if durable is not None:
            yield durable
            _ = durable.value
        return written.first_offset

    def append_now(self, records: Iterable[Message]) -> int:
        """The same here and now, before anybody is served. Raises KafkaError, OSError."""
        now_ms, opened = self._clock.now_ms, self._opened
        batch = build_batch([NewRecord(_encode(record), timestamp=now_ms) for record in records], BatchProperties())
        written = opened.append_built(batch, LEADER_EPOCH, now_ms)
        opened.sync_rest()
        _require_online(opened)
        return written.first_offset

    def is_worth_shortening(self, needed: int) -> bool:
        """Whether a log that could do with `needed` records has so many that a snapshot pays."""
        length = self._opened.end_offset - self._snapshot_offset
        return length > max(_FEW_RECORDS, 2 * needed) and self.offline is None

    def write_snapshot(self, records: Iterator[Message]) -> Slices[None]:
        """Replace the log so far by these records. Where that fails it is tried again with a later decision: nothing is lost by it."""
        now_ms, opened = self._clock.now_ms, self._opened
        end_offset = opened.end_offset
        name = f"{end_offset:020d}-{LEADER_EPOCH:010d}{_CHECKPOINT}"
        try:
            yield from self._write_checkpoint(f"{DIRECTORY}/{name}", records, now_ms)
            replaced, self._snapshot = self._snapshot, name
            opened.roll(now_ms)
            opened.delete_records(end_offset)
            for segment in opened.apply_retention(now_ms):
                segment.delete()
            if replaced is not None and replaced != name:
                self._files.delete(f"{DIRECTORY}/{replaced}")
        except (OSError, KafkaError) as error:
            log.warning("The metadata log could not be replaced by a snapshot: %s", error)

    def _write_checkpoint(self, name: str, records: Iterator[Message], now_ms: int) -> Slices[None]:
        """Batch by batch into a file that gets its name when it is whole and durable; what a crash leaves of it is deleted by the loader."""
        files, unfinished = self._files, f"{name}.tmp"
        files.delete(unfinished)
        for number, batch in enumerate(_snapshot_batches(records, now_ms)):
            if number >= _BATCHES_AT_ONCE:
                yield None
            files.append(unfinished, [batch])
        yield from self._done_elsewhere(files.syncer(unfinished))
        files.rename(unfinished, name)
        yield from self._done_elsewhere(lambda: files.sync_directory(DIRECTORY))

    def _done_elsewhere(self, work: Callable[[], None]) -> Slices[None]:
        done = self._offload(work)
        yield done
        _ = done.value

    def close(self) -> None:
        """To disk, for a clean stop. It is not opened anew any more."""
        self._is_closed = True
        self._opened.close()

    # -- after a disk error --------------------------------------------------------------------------------------

    def _went_offline(self, gone: UnifiedLog) -> None:
        log.error("The metadata log went offline: %s", gone.offline)
        self._reopen_later(gone, FIRST_REOPEN_PAUSE_MS)

    def _reopen_later(self, gone: UnifiedLog, pause_ms: int) -> None:
        def reopen() -> None:
            done = in_turns(self._clock, self._reopen(gone, pause_ms))
            if done is not None:
                done.then(lambda _: None, lambda error: log.error("The metadata log cannot be opened anew", exc_info=error))

        self._clock.call_later(pause_ms, reopen)

    def _reopen(self, gone: UnifiedLog, pause_ms: int) -> Slices[None]:
        """Put another one in its place; where that fails, try again after twice the pause, until the broker stops."""
        slices = self._opened_anew(gone)
        try:
            while not self._is_closed:
                yield next(slices)
        except StopIteration as finished:
            opened: UnifiedLog = finished.value
        except (OSError, KafkaError, CorruptBatch) as error:
            log.warning("The metadata log stays offline: %s", error)
            self._reopen_later(gone, min(2 * pause_ms, LONGEST_REOPEN_PAUSE_MS))
            return
        else:
            return
        opened.on_offline = self._went_offline
        self.log = opened
        log.warning("The metadata log is online again; it ends at offset %d", opened.end_offset)

    def _opened_anew(self, gone: UnifiedLog) -> Slices[UnifiedLog]:
        """All that was acknowledged, which is what `gone` had synced, and nothing else. Raises OSError, KafkaError."""
        acknowledged = gone.recovery_point
        if gone.is_syncing:
            raise OSError(errno.EBUSY, "A sync of its files has not come to its end yet", DIRECTORY)
        opened = yield from reopening.reopen(gone, _CONFIG, self._clock.now_ms, start_offset=self._snapshot_offset, recovery_point=0)
        _require_online(opened)
        if opened.end_offset < acknowledged:
            raise OSError(errno.EIO, f"Its decisions from offset {opened.end_offset} to {acknowledged} cannot be read", DIRECTORY)
        if opened.end_offset > acknowledged:
            opened.truncate_to(acknowledged)
            opened.sync_rest()
            _require_online(opened)
        return opened

    def _decode(self, value: bytes) -> Message:
        _frame_version, position = read_unsigned_varint(value, 0)
        record_type, position = read_unsigned_varint(value, position)
        version, position = read_unsigned_varint(value, position)
        record_class = self._class(record_type)
        return decode(record_class, version, value, position)

    def _class(self, record_type: int) -> type[Message]:
        if not self._classes:
            for name, definition in definitions_in("cluster_metadata.kmsg").items():
                self._classes[definition.key] = getattr(messages, name)
        try:
            return self._classes[record_type]
        except KeyError:
            raise Malformed(f"the metadata log has a record of type {record_type}, which this version does not know") from None


def _require_online(opened: UnifiedLog) -> None:
    if opened.offline is not None:
        raise OSError(errno.EIO, opened.offline, DIRECTORY)


def _encode(record: Message) -> bytes:
    version = record.VERSIONS[-1]
    head = unsigned_varint(_FRAME_VERSION) + unsigned_varint(record.API_KEY) + unsigned_varint(version)
    return head + encode(record, version)


def _snapshot_batches(records: Iterator[Message], now_ms: int) -> Iterator[bytes]:
    """A header, the records in batches, a footer. Offsets count from 0: they are the snapshot's own."""
    header = encode(SnapshotHeaderRecord(version=0, last_contained_log_timestamp=now_ms), 0)
    yield control_batch(ControlRecordType.SNAPSHOT_HEADER, header, now_ms, _snapshot_properties(0))
    offset = 1
    while some := [NewRecord(_encode(record), timestamp=now_ms) for record in islice(records, _RECORDS_PER_BATCH)]:
        yield build_batch(some, _snapshot_properties(offset))
        offset += len(some)
    yield control_batch(ControlRecordType.SNAPSHOT_FOOTER, encode(SnapshotFooterRecord(version=0), 0), now_ms, _snapshot_properties(offset))


def _snapshot_properties(base_offset: int) -> BatchProperties:
    return BatchProperties(base_offset=base_offset, partition_leader_epoch=LEADER_EPOCH)
