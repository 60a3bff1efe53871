"""The two indexes of a segment: offset to position, and timestamp to offset, byte-compatible with Kafka's files.

The newest entries are kept in memory and written together: a write for each would cost more than the batch it points to. The others are looked up
where they lie, by binary search, so that an index costs no memory however long it is. After a crash the file may lack entries; recovery makes them
anew from the log.
"""

import struct
from bisect import bisect_left, bisect_right

from pykbroker.storage.files import Files

_MOST_PENDING = 256
_SEARCH_BLOCK = 64
"""So many entries are read in one go, once the search has come down to them."""

_FIRST, _SECOND = 0, 1


class SparseIndex:
    """Pairs of numbers, in ascending order of both: the older in a file, the newest still in memory."""

    __slots__ = ("_in_file", "_last_in_file", "_pending", "count", "name")

    ENTRY: struct.Struct

    def __init__(self, name: str) -> None:
        self.name = name
        self._in_file = 0
        self._last_in_file: tuple[int, int] | None = None
        self._pending: list[tuple[int, int]] = []
        self.count = 0
        """How many entries there are, in the file and not: asked with each append, so it is kept."""

    def __len__(self) -> int:
        return self.count

    def open(self, files: Files) -> bool:
        """Take the file's entries; whether it is there and makes sense as far as its end shows."""
        try:
            size = files.size(self.name)
        except FileNotFoundError:
            return False
        self._in_file, rest = divmod(size, self.ENTRY.size)
        self.count = self._in_file + len(self._pending)
        self._last_in_file = self._entry(files, self._in_file - 1) if self._in_file else None
        return not rest

    @property
    def last(self) -> tuple[int, int] | None:
        """The newest entry."""
        return self._pending[-1] if self._pending else self._last_in_file

    def add(self, files: Files, first: int, second: int) -> None:
        """One more entry; both numbers only grow."""
        self._pending.append((first, second))
        self.count += 1
        if len(self._pending) >= _MOST_PENDING:
            self.write(files)

    def write(self, files: Files) -> None:
        """Bring the file up to date, if only by making it."""
        pack = self.ENTRY.pack
        try:
            files.append(self.name, [b"".join([pack(first, second) for first, second in self._pending])])
        except OSError:
            files.truncate(self.name, self._in_file * self.ENTRY.size)
            raise
        if self._pending:
            self._in_file += len(self._pending)
            self._last_in_file = self._pending[-1]
            self._pending = []

    def at_or_before(self, files: Files, first: int) -> tuple[int, int] | None:
        """The last entry whose first number is not above `first`."""
        pending = self._pending
        if pending and pending[0][_FIRST] <= first:
            return pending[bisect_right(pending, first, key=_first_number) - 1]
        last = self._last_in_file
        if last is None or last[_FIRST] <= first:
            return last
        found = self._count_below(files, _FIRST, first + 1)
        return self._entry(files, found - 1) if found else None

    def cut(self, files: Files, column: int, limit: int) -> None:
        """Forget all entries whose number in `column` (0 or 1) is not below `limit`."""
        self._pending = self._pending[: bisect_left(self._pending, limit, key=lambda entry: entry[column])]
        if self._last_in_file is not None and self._last_in_file[column] >= limit:
            self._in_file = self._count_below(files, column, limit)
            files.truncate(self.name, self._in_file * self.ENTRY.size)
            self._last_in_file = self._entry(files, self._in_file - 1) if self._in_file else None
        self.count = self._in_file + len(self._pending)

    def clear(self, files: Files) -> None:
        """Forget everything, to be made anew."""
        files.delete(self.name)
        self._in_file, self._last_in_file, self._pending, self.count = 0, None, [], 0

    def _count_below(self, files: Files, column: int, limit: int) -> int:
        """How many entries in the file have a number below `limit` in that column."""
        low, high = 0, self._in_file
        while high - low > _SEARCH_BLOCK:
            middle = (low + high) // 2
            if self._entry(files, middle)[column] < limit:
                low = middle + 1
            else:
                high = middle
        size = self.ENTRY.size
        block = files.read(self.name, low * size, (high - low) * size)
        return low + bisect_left([entry[column] for entry in self.ENTRY.iter_unpack(block)], limit)

    def _entry(self, files: Files, number: int) -> tuple[int, int]:
        size = self.ENTRY.size
        first, second = self.ENTRY.unpack(files.read(self.name, number * size, size))
        return first, second


class OffsetIndex(SparseIndex):
    """Every few kilobytes of log, where a batch begins: its last offset, relative to the segment's base, and its position."""

    __slots__ = ()

    ENTRY = struct.Struct(">ii")

    def open_for(self, files: Files, log_size: int) -> bool:
        """Take the file's entries, if they may be those of a log of that size. A last entry of zeros is room that Kafka made in advance."""
        return self.open(files) and (self.last is None or 0 < self.last[_SECOND] < log_size)

    def position_before(self, files: Files, relative_offset: int) -> int:
        """Where to begin to look for an offset."""
        entry = self.at_or_before(files, relative_offset)
        return entry[_SECOND] if entry else 0

    @property
    def last_position(self) -> int:
        """Where the newest entry points to."""
        last = self.last
        return last[_SECOND] if last else 0


class TimeIndex(SparseIndex):
    """For growing timestamps, the last offset (relative) of the batch that first brought one so large."""

    __slots__ = ()

    ENTRY = struct.Struct(">qi")

    def add_if_larger(self, files: Files, timestamp: int, relative_offset: int) -> None:
        """One more entry, if the timestamp is larger than the last."""
        last = self.last
        if last is None or (timestamp > last[_FIRST] and relative_offset > last[_SECOND]):
            self.add(files, timestamp, relative_offset)

    def offset_before(self, files: Files, timestamp: int) -> int:
        """A relative offset before which no record is as new as `timestamp`."""
        entry = self.at_or_before(files, timestamp - 1)
        return entry[_SECOND] if entry else 0


def _first_number(entry: tuple[int, int]) -> int:
    return entry[_FIRST]
