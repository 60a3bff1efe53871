"""`__cluster_metadata`: everything the controller decided, record by record, in Kafka's format. Memory is what its replay gives.

A record's value is a frame: version 1 of the frame, the record's type, its version (all unsigned varints), the record. Records of one decision go into
one batch, so that a crash leaves all of them or none. A snapshot (`OFFSET-EPOCH.checkpoint`, KIP-630) says in as few records as possible
what the log said before its offset; that part of the log is deleted then. A log or snapshot that is damaged is not guessed at: the start fails.
"""

import errno
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from pykbroker.later import Later
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
from pykbroker.storage import loader
from pykbroker.storage.checkpoints import CheckpointDamaged
from pykbroker.storage.log import LogConfig, UnifiedLog
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
_RECORDS_PER_BATCH = 1000
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
        self.log: UnifiedLog | None = None

    def open(self, *, clean: bool) -> None:
        """Open it, and recover it where the last stop was not clean. Raises OSError."""
        self._files.make_directory(DIRECTORY)
        self._snapshot = max((name for name in self._files.list(DIRECTORY) if name.endswith(_CHECKPOINT)), default=None)
        now_ms = self._clock.now_ms
        self.log = loader.load(self._files, DIRECTORY, _CONFIG, self._offload, now_ms, start_offset=self._snapshot_offset, clean=clean)
        if not clean:
            for _ in loader.recover(self.log):
                pass
        if self.log.offline is not None:
            raise OSError(errno.EIO, f"The metadata log cannot be opened: {self.log.offline}", DIRECTORY)

    @property
    def _snapshot_offset(self) -> int:
        """The first offset that the snapshot says nothing of."""
        return int(self._snapshot[:20]) if self._snapshot else 0

    def replay(self) -> Iterator[tuple[int, Message]]:
        """Every record there is, with its offset; those of a snapshot have the last offset that it stands for. Raises CheckpointDamaged."""
        assert self.log is not None
        if self._snapshot is not None:
            yield from self._replay_snapshot(self._snapshot)
        for segment in self.log.segments:
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

    def append(self, records: Sequence[Message]) -> tuple[int, Later[None] | None]:
        """Write records as one batch; the offset of the first, and when they are durable (None: now). Raises KafkaError when the disk fails."""
        assert self.log is not None
        now_ms = self._clock.now_ms
        batch = build_batch([NewRecord(_encode(record), timestamp=now_ms) for record in records], BatchProperties())
        written = self.log.append_built(batch, LEADER_EPOCH, now_ms)
        return written.first_offset, self.log.flush()

    def is_worth_shortening(self, needed: int) -> bool:
        """Whether a log that could do with `needed` records has so many that a snapshot pays; not while some of it is still on its way to the disk."""
        assert self.log is not None
        length = self.log.end_offset - self._snapshot_offset
        return length > max(_FEW_RECORDS, 2 * needed) and self.log.recovery_point == self.log.end_offset

    def write_snapshot(self, records: Iterable[Message]) -> None:
        """Replace the log so far by these records. Where that fails it is tried again with a later decision: nothing is lost by it."""
        assert self.log is not None
        end_offset, now_ms = self.log.end_offset, self._clock.now_ms
        name = f"{end_offset:020d}-{LEADER_EPOCH:010d}{_CHECKPOINT}"
        try:
            self._files.replace(f"{DIRECTORY}/{name}", b"".join(_snapshot_batches(iter(records), now_ms)))
            replaced, self._snapshot = self._snapshot, name
            self.log.roll(now_ms)
            self.log.delete_records(end_offset)
            for segment in self.log.apply_retention(now_ms):
                segment.delete()
            if replaced is not None and replaced != name:
                self._files.delete(f"{DIRECTORY}/{replaced}")
        except (OSError, KafkaError) as error:
            log.warning("The metadata log could not be replaced by a snapshot: %s", error)

    def close(self) -> None:
        """To disk, for a clean stop."""
        if self.log is not None:
            self.log.close()

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
