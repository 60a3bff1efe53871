"""`__cluster_metadata`: everything the controller decided, record by record, in Kafka's format. Memory is what its replay gives.

A record's value is a frame: version 1 of the frame, the record's type, its version (all unsigned varints), the record. Records of one decision go into one batch, so
that a crash leaves all of them or none.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pykbroker.later import Later
from pykbroker.protocol import messages
from pykbroker.protocol.codec import decode, encode
from pykbroker.protocol.definitions import definitions_in
from pykbroker.protocol.messages import Message
from pykbroker.protocol.records import BatchProperties, NewRecord, build_batch
from pykbroker.protocol.wire import Malformed, read_unsigned_varint, unsigned_varint
from pykbroker.storage import loader
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


class MetadataLog:
    """The log, and how records lie in it."""

    def __init__(self, files: "Files", clock: "Clock", offload: "Offload") -> None:
        self._files = files
        self._clock = clock
        self._offload = offload
        self._classes: dict[int, type[Message]] = {}
        self.log: UnifiedLog | None = None

    def open(self, *, clean: bool) -> None:
        """Open it, and recover it where the last stop was not clean."""
        self._files.make_directory(DIRECTORY)
        self.log = loader.load(self._files, DIRECTORY, _CONFIG, self._offload, self._clock.now_ms, clean=clean)
        if not clean:
            for _ in loader.recover(self.log):
                pass

    def replay(self) -> Iterator[tuple[int, Message]]:
        """Every record there is, with its offset."""
        assert self.log is not None
        for segment in self.log.segments:
            for _, batch in segment.batches_from(0):
                if not batch.is_control:
                    for record in batch.records():
                        yield record.offset, self._decode(record.value or b"")

    def append(self, records: Sequence[Message]) -> tuple[int, Later[None] | None]:
        """Write records as one batch; the offset of the first, and when they are durable (None: now). Raises KafkaError when the disk fails."""
        assert self.log is not None
        now_ms = self._clock.now_ms
        batch = build_batch([NewRecord(_encode(record), timestamp=now_ms) for record in records], BatchProperties())
        written = self.log.append_built(batch, LEADER_EPOCH, now_ms)
        return written.first_offset, self.log.flush()

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
