"""The two indexes of a segment: offset to position, and timestamp to offset, byte-compatible with Kafka's files.

Entries are kept in memory and written to their file in one go when the segment is flushed, rolled or closed: a write for each would cost more than
the batch it points to. After a crash the file may lack entries; recovery makes them anew from the log.
"""

import struct
from bisect import bisect_right

from pykbroker.storage.files import Files

_OFFSET_ENTRY = struct.Struct(">ii")
_TIME_ENTRY = struct.Struct(">qi")


class OffsetIndex:
    """Every few kilobytes of log, where a batch begins: its last offset (relative to the segment's base) and its position."""

    __slots__ = ("_offsets", "_positions", "_written", "base_offset", "name")

    def __init__(self, name: str, base_offset: int) -> None:
        self.name = name
        self.base_offset = base_offset
        self._offsets: list[int] = []
        self._positions: list[int] = []
        self._written = 0

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, offset: int, position: int) -> None:
        """One more entry; offsets only grow."""
        self._offsets.append(offset)
        self._positions.append(position)

    def lookup(self, offset: int) -> int:
        """The position of the last entry at or before `offset`; 0 where there is none."""
        found = bisect_right(self._offsets, offset)
        return self._positions[found - 1] if found else 0

    @property
    def last_position(self) -> int:
        """Where the newest entry points to."""
        return self._positions[-1] if self._positions else 0

    def truncate(self, offset: int, files: Files) -> None:
        """Forget all entries at or beyond `offset`."""
        keep = bisect_right(self._offsets, offset - 1)
        del self._offsets[keep:]
        del self._positions[keep:]
        if self._written > keep:
            self._written = keep
            files.truncate(self.name, keep * _OFFSET_ENTRY.size)

    def write(self, files: Files) -> None:
        """Bring the file up to date."""
        entries = [
            _OFFSET_ENTRY.pack(offset - self.base_offset, position)
            for offset, position in zip(self._offsets[self._written :], self._positions[self._written :], strict=True)
        ]
        if entries or not self._written:
            files.append(self.name, [b"".join(entries)])
        self._written = len(self._offsets)

    def load(self, files: Files, log_size: int) -> bool:
        """Read the file; whether it makes sense. Zeros at its end are room that Kafka made in advance."""
        try:
            data = bytes(files.read(self.name, 0, files.size(self.name)))
        except FileNotFoundError:
            return False
        for relative, position in _OFFSET_ENTRY.iter_unpack(data[: len(data) // 8 * 8]):
            if relative == 0 and position == 0 and self._offsets:
                return False
            previous = self._positions[-1] if self._positions else -1
            if not previous < position < max(log_size, 1) or (self._offsets and self.base_offset + relative <= self._offsets[-1]):
                return False
            self.add(self.base_offset + relative, position)
        self._written = len(self._offsets)
        return len(data) % _OFFSET_ENTRY.size == 0


class TimeIndex:
    """For growing timestamps, the last offset of the batch that first brought one so large."""

    __slots__ = ("_offsets", "_timestamps", "_written", "base_offset", "name")

    def __init__(self, name: str, base_offset: int) -> None:
        self.name = name
        self.base_offset = base_offset
        self._timestamps: list[int] = []
        self._offsets: list[int] = []
        self._written = 0

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, timestamp: int, offset: int) -> None:
        """One more entry, if both are larger than the last."""
        if not self._timestamps or (timestamp > self._timestamps[-1] and offset > self._offsets[-1]):
            self._timestamps.append(timestamp)
            self._offsets.append(offset)

    def lookup(self, timestamp: int) -> int:
        """An offset before which no record is as new as `timestamp`; the base offset where nothing is known."""
        found = bisect_right(self._timestamps, timestamp - 1)
        return self._offsets[found - 1] if found else self.base_offset

    @property
    def last(self) -> tuple[int, int]:
        """The newest entry: the largest timestamp, and its offset; -1 and the base offset where there is none."""
        return (self._timestamps[-1], self._offsets[-1]) if self._timestamps else (-1, self.base_offset)

    def truncate(self, offset: int, files: Files) -> None:
        """Forget all entries at or beyond `offset`."""
        keep = bisect_right(self._offsets, offset - 1)
        del self._offsets[keep:]
        del self._timestamps[keep:]
        if self._written > keep:
            self._written = keep
            files.truncate(self.name, keep * _TIME_ENTRY.size)

    def write(self, files: Files) -> None:
        """Bring the file up to date."""
        entries = [
            _TIME_ENTRY.pack(timestamp, offset - self.base_offset)
            for timestamp, offset in zip(self._timestamps[self._written :], self._offsets[self._written :], strict=True)
        ]
        if entries or not self._written:
            files.append(self.name, [b"".join(entries)])
        self._written = len(self._offsets)

    def load(self, files: Files) -> bool:
        """Read the file; whether it makes sense."""
        try:
            data = bytes(files.read(self.name, 0, files.size(self.name)))
        except FileNotFoundError:
            return False
        for timestamp, relative in _TIME_ENTRY.iter_unpack(data[: len(data) // 12 * 12]):
            offset = self.base_offset + relative
            if self._timestamps and (timestamp < self._timestamps[-1] or offset < self._offsets[-1]):
                return False
            self._timestamps.append(timestamp)
            self._offsets.append(offset)
        self._written = len(self._offsets)
        return len(data) % _TIME_ENTRY.size == 0
