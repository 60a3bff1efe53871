"""One file of batches, with its indexes: `LogSegment` knows positions, the log above it knows offsets.

Files are named by the first offset, in 20 digits, as Kafka names them. The indexes are read, or made anew, when they are first needed, so that
opening ten thousand partitions costs a directory listing each.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pykbroker.protocol.records import HEADER_SIZE, LOG_OVERHEAD, CorruptBatch, RecordBatch
from pykbroker.protocol.wire import Buffer
from pykbroker.storage.files import Files
from pykbroker.storage.index import OffsetIndex, TimeIndex

_SCAN_SIZE = 64 * 1024
_LENGTH_END = LOG_OVERHEAD


class Placed(NamedTuple):
    """A batch, and where in its segment it stands."""

    position: int
    batch: RecordBatch


class LogSegment:
    """The batches from `base_offset` up to the next segment's."""

    __slots__ = (
        "_bytes_since_index_entry",
        "_index",
        "_times",
        "base_offset",
        "created_ms",
        "directory",
        "files",
        "first_timestamp",
        "index_interval_bytes",
        "largest_timestamp",
        "offset_of_largest_timestamp",
        "size",
    )

    def __init__(self, files: Files, directory: str, base_offset: int, *, size: int = 0, created_ms: int = 0, index_interval: int = 4096) -> None:
        self.files = files
        self.directory = directory
        self.base_offset = base_offset
        self.size = size
        self.created_ms = created_ms
        self.first_timestamp: int | None = None
        self.largest_timestamp = -1
        self.offset_of_largest_timestamp = base_offset
        self.index_interval_bytes = index_interval
        self._bytes_since_index_entry = 0
        self._index: OffsetIndex | None = None
        self._times: TimeIndex | None = None
        if size == 0:
            self._index, self._times = self._new_indexes()

    def name(self, suffix: str = "log") -> str:
        """The file of this segment with that suffix: log, index, timeindex, txnindex."""
        return f"{self.directory}/{self.base_offset:020d}.{suffix}"

    def append(self, batch: RecordBatch, pieces: Sequence[Buffer]) -> None:
        """Write one batch behind the others. Where that fails, the file is cut back to where it was, or the failure is passed on as it is."""
        index, times = self._indexes()
        try:
            self.files.append(self.name(), pieces)
        except OSError:
            self.files.truncate(self.name(), self.size)
            raise
        if batch.max_timestamp > self.largest_timestamp:
            self.largest_timestamp = batch.max_timestamp
            self.offset_of_largest_timestamp = batch.last_offset
        if self.first_timestamp is None:
            self.first_timestamp = batch.max_timestamp
        if self._bytes_since_index_entry > self.index_interval_bytes:
            index.add(batch.last_offset, self.size)
            times.add(self.largest_timestamp, self.offset_of_largest_timestamp)
            self._bytes_since_index_entry = 0
        size = batch.size_in_bytes
        self._bytes_since_index_entry += size
        self.size += size

    def read_from(self, offset: int, max_bytes: int, *, at_least_one: bool = True) -> tuple[int, Buffer]:
        """Position and bytes of the batches from the one that holds `offset` (or, where none does, the next one behind it) on.

        At most `max_bytes`, the last batch perhaps cut off, as Kafka sends it; but the first batch is whole, if `at_least_one`.
        """
        index, _ = self._indexes()
        position = index.lookup(offset)
        data = memoryview(self.files.read(self.name(), position, min(self.size - position, max_bytes + 2 * self.index_interval_bytes)))
        at = 0
        while True:
            if len(data) - at < HEADER_SIZE:
                if position + at >= self.size:
                    return position + at, b""
                position, at = position + at, 0
                data = memoryview(self.files.read(self.name(), position, min(self.size - position, max(max_bytes, _SCAN_SIZE))))
                if len(data) < HEADER_SIZE:
                    return position, b""
                continue
            size, next_offset = _size_and_next_offset(data, at)
            if next_offset > offset:
                break
            if size > len(data) - at:
                position, at, data = position + at + size, 0, memoryview(b"")
            else:
                at += size
        if size > max_bytes:
            if not at_least_one:
                return position + at, b""
            max_bytes = size
        if at + max_bytes > len(data) and position + len(data) < self.size:
            position, at = position + at, 0
            data = memoryview(self.files.read(self.name(), position, min(self.size - position, max_bytes)))
        return position + at, data[at : at + max_bytes]

    def batches_from(self, position: int = 0) -> Iterator[Placed]:
        """Every batch from a position on; ends, or raises CorruptBatch, where the file holds no whole batch any more."""
        while position < self.size:
            head = self.files.read(self.name(), position, min(_SCAN_SIZE, self.size - position))
            view = memoryview(head)
            at = 0
            while len(view) - at >= HEADER_SIZE:
                size = LOG_OVERHEAD + int.from_bytes(view[at + 8 : at + 12], "big", signed=True)
                if size < HEADER_SIZE or size > self.size - position - at:
                    raise CorruptBatch(f"{self.name()} holds no whole batch at byte {position + at}")
                if size > len(view) - at:
                    break
                yield Placed(position + at, RecordBatch(view[at : at + size]))
                at += size
            if at:
                position += at
                continue
            if len(view) < HEADER_SIZE:
                raise CorruptBatch(f"{self.name()} ends in half a batch at byte {position}")
            yield Placed(position, RecordBatch(memoryview(self.files.read(self.name(), position, size))))
            position += size

    def first_batch_at_or_after(self, timestamp: int, offset: int) -> RecordBatch | None:
        """The first batch, from `offset` on, that holds a record as new as `timestamp`."""
        index, times = self._indexes()
        start = index.lookup(max(times.lookup(timestamp), offset))
        for _, batch in self.batches_from(start):
            if batch.max_timestamp >= timestamp and batch.last_offset >= offset:
                return batch
        return None

    def last_batch(self) -> RecordBatch | None:
        """The newest batch; None where there is none."""
        index, _ = self._indexes()
        last = None
        for _, batch in self.batches_from(index.last_position):
            last = batch
        return last

    def truncate_to_position(self, position: int, next_offset: int) -> None:
        """Cut off everything from a position on, which is where `next_offset` would stand."""
        index, times = self._indexes()
        self.files.truncate(self.name(), position)
        self.size = position
        index.truncate(next_offset, self.files)
        times.truncate(next_offset, self.files)
        self.largest_timestamp, self.offset_of_largest_timestamp = times.last
        for _, batch in self.batches_from(index.last_position):
            self._see_timestamp(batch)

    def rebuild(self) -> Iterator[RecordBatch]:
        """Make the indexes anew from the batches, which are given out as they are seen. Batches that are cut off or unsound end it.

        Afterwards `size` is where the sound part ends.
        """
        for suffix in ("index", "timeindex"):
            self.files.delete(self.name(suffix))
        self._index, self._times = index, times = self._new_indexes()
        self._bytes_since_index_entry = 0
        self.largest_timestamp, self.offset_of_largest_timestamp, self.first_timestamp = -1, self.base_offset, None
        sound = 0
        next_offset = self.base_offset
        try:
            for position, batch in self.batches_from(0):
                if batch.magic != 2 or not batch.is_sound() or batch.base_offset < next_offset:
                    break
                next_offset = batch.next_offset
                if self._bytes_since_index_entry > self.index_interval_bytes:
                    self._see_timestamp(batch)
                    index.add(batch.last_offset, position)
                    times.add(self.largest_timestamp, self.offset_of_largest_timestamp)
                    self._bytes_since_index_entry = 0
                self._see_timestamp(batch)
                self._bytes_since_index_entry += batch.size_in_bytes
                sound = position + batch.size_in_bytes
                yield batch
        except CorruptBatch:
            pass
        finally:
            if sound < self.size:
                self.files.truncate(self.name(), sound)
                self.size = sound

    def write_indexes(self) -> None:
        """Bring the index files up to date, with the largest timestamp as the last entry, as Kafka leaves them when it rolls or closes."""
        if self._index is None or self._times is None:
            return
        if self.largest_timestamp >= 0:
            self._times.add(self.largest_timestamp, self.offset_of_largest_timestamp)
        self._index.write(self.files)
        self._times.write(self.files)

    def index_entries(self) -> int:
        """How many entries the fuller of the two indexes has."""
        index, times = self._indexes()
        return max(len(index), len(times))

    def ensure_indexed(self) -> None:
        """Load, or make anew, the indexes and the largest timestamp; needed before anybody asks for them."""
        self._indexes()

    def delete(self) -> None:
        """All its files, whose names end in `.deleted` by then or do not."""
        for suffix in ("log", "index", "timeindex", "txnindex"):
            self.files.delete(self.name(suffix) + ".deleted")
            self.files.delete(self.name(suffix))

    def mark_deleted(self) -> None:
        """Rename its files, so that a crash before they are gone leaves no doubt about them."""
        for suffix in ("log", "index", "timeindex", "txnindex"):
            try:
                self.files.rename(self.name(suffix), self.name(suffix) + ".deleted")
            except FileNotFoundError:
                continue

    def _see_timestamp(self, batch: RecordBatch) -> None:
        if self.first_timestamp is None:
            self.first_timestamp = batch.max_timestamp
        if batch.max_timestamp > self.largest_timestamp:
            self.largest_timestamp = batch.max_timestamp
            self.offset_of_largest_timestamp = batch.last_offset

    def _new_indexes(self) -> tuple[OffsetIndex, TimeIndex]:
        return OffsetIndex(self.name("index"), self.base_offset), TimeIndex(self.name("timeindex"), self.base_offset)

    def _indexes(self) -> tuple[OffsetIndex, TimeIndex]:
        if self._index is not None and self._times is not None:
            return self._index, self._times
        index, times = self._new_indexes()
        if not (index.load(self.files, self.size) and times.load(self.files)):
            for _ in self.rebuild():
                pass
            assert self._index is not None
            assert self._times is not None
            return self._index, self._times
        self._index, self._times = index, times
        self.largest_timestamp, self.offset_of_largest_timestamp = times.last
        self._bytes_since_index_entry = self.size - index.last_position
        for placed in self.batches_from(index.last_position):
            self._see_timestamp(placed.batch)
        self.first_timestamp = next((placed.batch.max_timestamp for placed in self.batches_from(0)), None)
        return index, times


def _size_and_next_offset(data: memoryview, at: int) -> tuple[int, int]:
    base_offset = int.from_bytes(data[at : at + 8], "big", signed=True)
    size = LOG_OVERHEAD + int.from_bytes(data[at + 8 : at + 12], "big", signed=True)
    last_delta = int.from_bytes(data[at + 23 : at + 27], "big", signed=True)
    if size < HEADER_SIZE:
        raise CorruptBatch(f"a batch at offset {base_offset} claims {size} bytes")
    return size, base_offset + last_delta + 1
