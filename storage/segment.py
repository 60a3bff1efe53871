"""One file of batches, with its indexes: `LogSegment` knows positions, the log above it knows offsets.

Files are named by the first offset, in 20 digits, as Kafka names them. The indexes are opened, or made anew, when they are first needed, so that
opening ten thousand partitions costs a directory listing each. Only `recover` checks checksums and cuts.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pykbroker.protocol.records import HEADER_SIZE, LOG_OVERHEAD, MAGIC_OFFSET, CorruptBatch, RecordBatch
from pykbroker.protocol.wire import Buffer
from pykbroker.storage.files import Files
from pykbroker.storage.index import OffsetIndex, TimeIndex

CURRENT_MAGIC = 2
MAX_RELATIVE_OFFSET = 2**31 - 1
"""What an index has room for: so far from its base a segment's last offset may be."""

_SCAN_SIZE = 64 * 1024
_LOOK_SIZE = 4096
"""As Kafka's index interval: the batch that is looked for mostly begins within so many bytes of where the index points to."""

SUFFIXES = ("log", "index", "timeindex", "txnindex", "snapshot")
"""All files of a segment. The snapshot is the producers' state as it was where the segment begins."""


class Placed(NamedTuple):
    """A batch, and where in its segment it stands."""

    position: int
    batch: RecordBatch


InOrder = Callable[[Iterator[Placed], int], Iterator[Placed]]
"""Of sound batches, and the offset where the first may stand, those that are in order: see `offset_order`."""


class LogSegment:
    """The batches from `base_offset` up to the next segment's."""

    __slots__ = (
        "_bytes_since_index_entry",
        "_first_timestamp",
        "_is_open",
        "_largest_timestamp",
        "_last_batch",
        "_offset_of_largest_timestamp",
        "base_offset",
        "created_ms",
        "directory",
        "files",
        "index",
        "index_interval_bytes",
        "log_name",
        "size",
        "times",
    )

    def __init__(
        self, files: Files, directory: str, base_offset: int, *, size: int = 0, created_ms: int = 0, index_interval: int = 4096
    ) -> None:
        self.files = files
        self.directory = directory
        self.base_offset = base_offset
        self.log_name = f"{directory}/{base_offset:020d}.log"
        self.size = size
        self.created_ms = created_ms
        self.index_interval_bytes = index_interval
        self.index = OffsetIndex(self.name("index"))
        self.times = TimeIndex(self.name("timeindex"))
        self._is_open = size == 0
        self._bytes_since_index_entry = 0
        self._first_timestamp: int | None = None
        self._largest_timestamp = -1
        self._offset_of_largest_timestamp = base_offset
        self._last_batch = (base_offset, 0)
        """The newest batch's first offset and its position: most consumers read there."""

    def name(self, suffix: str) -> str:
        """The file of this segment with that suffix: index, timeindex, txnindex, snapshot."""
        return f"{self.directory}/{self.base_offset:020d}.{suffix}"

    @property
    def largest_timestamp(self) -> int:
        """The newest record's; -1 where none has any."""
        self.open()
        return self._largest_timestamp

    @property
    def first_timestamp(self) -> int | None:
        """The largest timestamp of the first batch, from which segment.ms counts; None where there is no batch."""
        if self._first_timestamp is None and self.size:
            first = RecordBatch(self.files.read(self.log_name, 0, HEADER_SIZE))
            self._first_timestamp = first.max_timestamp
        return self._first_timestamp

    def append(self, batch: RecordBatch, pieces: Sequence[Buffer]) -> None:
        """Write one batch behind the others. Where that fails, the file is cut back to where it was, and the failure passed on."""
        if not self._is_open:
            self.open()
        position = self.size
        try:
            self.files.append(self.log_name, pieces)
        except OSError:
            self.files.truncate(self.log_name, position)
            raise
        last_offset = batch.base_offset + batch.last_offset_delta
        if batch.max_timestamp > self._largest_timestamp:
            self._largest_timestamp = batch.max_timestamp
            self._offset_of_largest_timestamp = last_offset
        if not position:
            self._first_timestamp = batch.max_timestamp
        size = LOG_OVERHEAD + batch.batch_length
        self._last_batch = (batch.base_offset, position)
        self.size = position + size
        if self._bytes_since_index_entry > self.index_interval_bytes:
            self._add_index_entries(last_offset, position)
        self._bytes_since_index_entry += size

    def read_from(self, offset: int, max_bytes: int, *, at_least_one: bool = True) -> tuple[int, Buffer]:
        """Position and bytes of the batches from the one that holds `offset` (or, where none does, the next one behind it) on.

        At most `max_bytes`, the last batch perhaps cut off, as Kafka sends it; but the first batch is whole, if `at_least_one`.
        """
        if not self._is_open:
            self.open()
        position, size, seen = self._find(offset)
        if size > max_bytes:
            if not at_least_one:
                return position, b""
            max_bytes = size
        size = min(self.size - position, max_bytes)
        return position, seen[:size] if size <= len(seen) else self.files.read(self.log_name, position, size)

    def _find(self, offset: int) -> tuple[int, int, Buffer]:
        """Position and size of the batch that holds `offset`, or of the next one behind it, and what was seen from there on; else the end and 0.

        Headers are looked at first, a few kilobytes at a time, so that what is answered with is read once, and nothing else with it.
        """
        last_base_offset, position = self._last_batch
        if offset < last_base_offset:
            position = self._indexed_position(offset)
        while self.size - position >= HEADER_SIZE:
            data = memoryview(self.files.read(self.log_name, position, min(self.size - position, _LOOK_SIZE)))
            if len(data) < HEADER_SIZE:
                break
            at = 0
            while len(data) - at >= HEADER_SIZE:
                size, next_offset = _size_and_next_offset(data, at)
                if next_offset > offset:
                    return position + at, size, data[at:]
                at += size
            position += at
        return self.size, 0, b""

    def batches_from(self, position: int = 0) -> Iterator[Placed]:
        """Every batch from a position on; ends, or raises CorruptBatch, where the file holds no whole batch any more."""
        while position < self.size:
            head = self.files.read(self.log_name, position, min(_SCAN_SIZE, self.size - position))
            view = memoryview(head)
            at = 0
            while len(view) - at >= HEADER_SIZE:
                size = LOG_OVERHEAD + int.from_bytes(view[at + 8 : at + 12], "big", signed=True)
                if size < HEADER_SIZE or size > self.size - position - at:
                    raise CorruptBatch(f"{self.log_name} holds no whole batch at byte {position + at}")
                if size > len(view) - at:
                    break
                yield Placed(position + at, RecordBatch(view[at : at + size]))
                at += size
            if at:
                position += at
                continue
            if len(view) < HEADER_SIZE:
                raise CorruptBatch(f"{self.log_name} ends in half a batch at byte {position}")
            yield Placed(position, RecordBatch(memoryview(self.files.read(self.log_name, position, size))))
            position += size

    def batches_from_offset(self, offset: int) -> Iterator[Placed]:
        """Every batch from the one that holds `offset`, or the next one behind it, on."""
        self.open()
        for placed in self.batches_from(self._indexed_position(offset)):
            if placed.batch.last_offset >= offset:
                yield placed

    def batches_at_or_after(self, timestamp: int, offset: int) -> Iterator[RecordBatch]:
        """The batches, from `offset` on, that hold a record as new as `timestamp`."""
        self.open()
        start = max(self.base_offset + self.times.offset_before(self.files, timestamp), offset)
        return (placed.batch for placed in self.batches_from_offset(start) if placed.batch.max_timestamp >= timestamp)

    def last_batch(self) -> RecordBatch | None:
        """The newest batch; None where there is none."""
        self.open()
        return next((placed.batch for placed in self.batches_from(self._last_batch[1])), None)

    def truncate_to_position(self, position: int, next_offset: int) -> None:
        """Cut off everything from a position on, which is where `next_offset` would stand."""
        self.open()
        self.files.truncate(self.log_name, position)
        self.size = position
        self.index.cut(self.files, 0, next_offset - self.base_offset)
        self.times.cut(self.files, 1, next_offset - self.base_offset)
        self._see_tail()

    def recover(self, in_order: InOrder) -> Iterator[RecordBatch]:
        """Check every batch and make the indexes anew; the batches are given out as they are seen. Cut where they are no longer sound, or out of order."""
        self._forget_indexes()
        self._is_open = True
        sound = 0
        for position, batch in in_order(self.sound_batches(), self.base_offset):
            self._see(position, batch)
            sound = position + batch.size_in_bytes
            yield batch
        if sound < self.size:
            self.files.truncate(self.log_name, sound)
            self.size = sound

    def sound_batches(self) -> Iterator[Placed]:
        """The batches up to the first that is torn, has a wrong checksum, or an offset that no index of this segment can hold."""
        try:
            for placed in self.batches_from(0):
                batch = placed.batch
                if batch.magic != CURRENT_MAGIC or batch.last_offset - self.base_offset > MAX_RELATIVE_OFFSET or not batch.is_sound():
                    return
                yield placed
        except CorruptBatch:
            return

    def write_indexes(self, *, final: bool = False) -> None:
        """Bring the index files up to date; in the end with the largest timestamp as the last entry, as Kafka leaves them when it rolls or closes."""
        if not self._is_open:
            return
        if final and self._largest_timestamp >= 0:
            self.times.add_if_larger(self.files, self._largest_timestamp, self._offset_of_largest_timestamp - self.base_offset)
        self.index.write(self.files)
        self.times.write(self.files)

    def open(self) -> None:
        """Open the indexes, or make them anew; and know the largest timestamp and the last batch."""
        if self._is_open:
            return
        if self.index.open_for(self.files, self.size) and self.times.open(self.files):
            try:
                self._see_tail()
            except CorruptBatch:
                self._index_anew()
        else:
            self._index_anew()
        self._is_open = True

    def mark_deleted(self) -> None:
        """Rename its files, so that a crash before they are gone leaves no doubt about them."""
        for suffix in SUFFIXES:
            try:
                self.files.rename(self.name(suffix), self.name(suffix) + ".deleted")
            except FileNotFoundError:
                continue

    def delete_marked(self) -> None:
        """Its files as far as `mark_deleted` has renamed them: others may have their old names by now."""
        for suffix in SUFFIXES:
            self.files.delete(self.name(suffix) + ".deleted")

    def delete(self) -> None:
        """All its files, under whichever name."""
        for suffix in SUFFIXES:
            self.files.delete(self.name(suffix) + ".deleted")
            self.files.delete(self.name(suffix))

    def _index_anew(self) -> None:
        """Indexes that are missing or wrong are made again; what the batches' checksums say is not asked here."""
        self._forget_indexes()
        for position, batch in self.batches_from(0):
            self._see(position, batch)

    def _indexed_position(self, offset: int) -> int:
        """Where to begin to look for an offset. A damaged index points anywhere: only a batch that begins at or before the offset is believed."""
        position = self.index.position_before(self.files, offset - self.base_offset)
        if not position:
            return 0
        head = self.files.read(self.log_name, position, HEADER_SIZE) if position < self.size else b""
        if len(head) < HEADER_SIZE or head[MAGIC_OFFSET] != CURRENT_MAGIC:
            return 0
        return position if self.base_offset <= int.from_bytes(head[:8], "big", signed=True) <= offset else 0

    def _see(self, position: int, batch: RecordBatch) -> None:
        """Count a batch in, as if it had just been appended."""
        self._see_timestamp(batch)
        self._last_batch = (batch.base_offset, position)
        if self._bytes_since_index_entry > self.index_interval_bytes:
            self._add_index_entries(batch.last_offset, position)
        self._bytes_since_index_entry += batch.size_in_bytes

    def _see_tail(self) -> None:
        """Know what the indexes do not say, from the batches behind their last entry."""
        last = self.times.last
        self._largest_timestamp, self._offset_of_largest_timestamp = (
            (last[0], self.base_offset + last[1]) if last else (-1, self.base_offset)
        )
        position = self.index.last_position
        self._bytes_since_index_entry = self.size - position
        self._last_batch = (self.base_offset, 0)
        for placed in self.batches_from(position):
            self._see_timestamp(placed.batch)
            self._last_batch = (placed.batch.base_offset, placed.position)

    def _see_timestamp(self, batch: RecordBatch) -> None:
        if batch.max_timestamp > self._largest_timestamp and batch.record_count:  # compaction leaves empty batches: they answer no search
            self._largest_timestamp = batch.max_timestamp
            self._offset_of_largest_timestamp = batch.last_offset

    def _add_index_entries(self, last_offset: int, position: int) -> None:
        self.index.add(self.files, last_offset - self.base_offset, position)
        self.times.add_if_larger(self.files, self._largest_timestamp, self._offset_of_largest_timestamp - self.base_offset)
        self._bytes_since_index_entry = 0

    def _forget_indexes(self) -> None:
        self.index.clear(self.files)
        self.times.clear(self.files)
        self._bytes_since_index_entry = 0
        self._first_timestamp = None
        self._largest_timestamp, self._offset_of_largest_timestamp = -1, self.base_offset
        self._last_batch = (self.base_offset, 0)


def _size_and_next_offset(data: memoryview, at: int) -> tuple[int, int]:
    base_offset = int.from_bytes(data[at : at + 8], "big", signed=True)
    size = LOG_OVERHEAD + int.from_bytes(data[at + 8 : at + 12], "big", signed=True)
    last_delta = int.from_bytes(data[at + 23 : at + 27], "big", signed=True)
    if size < HEADER_SIZE:
        raise CorruptBatch(f"a batch at offset {base_offset} claims {size} bytes")
    return size, base_offset + last_delta + 1
