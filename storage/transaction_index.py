"""Which transactions were aborted, and over which offsets: Kafka's `.txnindex` files, one beside each segment that has any.

They are small and rare: written through at once, and kept in memory from the first time that somebody asks.
"""

import struct
from typing import NamedTuple

from pykbroker.storage.files import Files

_ENTRY = struct.Struct(">hqqqq")
_VERSION = 0


class AbortedTransaction(NamedTuple):
    """One transaction that was aborted: whose, from where to where its records lie (the marker is the last), and what was stable then."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class TransactionIndex:
    """The index files of one log, by the base offsets of their segments."""

    __slots__ = ("_directory", "_entries", "_files")

    def __init__(self, files: Files, directory: str) -> None:
        self._files = files
        self._directory = directory
        self._entries: dict[int, list[AbortedTransaction] | None] = {}
        """None where a file is there that nobody has asked for yet."""

    def name(self, base_offset: int) -> str:
        """The file of the segment that begins there."""
        return f"{self._directory}/{base_offset:020d}.txnindex"

    def found(self, base_offset: int) -> None:
        """There is such a file."""
        self._entries[base_offset] = None

    def has(self, base_offset: int) -> bool:
        """Whether a segment has such a file."""
        return base_offset in self._entries

    def add(self, base_offset: int, transaction: AbortedTransaction) -> None:
        """A transaction was aborted, by a marker in that segment."""
        entries = self.entries(base_offset)
        self._files.append(self.name(base_offset), [self.packed([transaction])])
        self._entries[base_offset] = [*entries, transaction]

    @staticmethod
    def packed(transactions: list[AbortedTransaction]) -> bytes:
        """As they stand in the file."""
        return b"".join(_ENTRY.pack(_VERSION, *transaction) for transaction in transactions)

    def entries(self, base_offset: int) -> list[AbortedTransaction]:
        """Those of one segment, in the order of their markers."""
        if base_offset not in self._entries:
            return []
        known = self._entries[base_offset]
        if known is None:
            try:
                data = self._files.read_whole(self.name(base_offset))
            except FileNotFoundError:
                data = b""
            whole = len(data) // _ENTRY.size * _ENTRY.size
            known = self._entries[base_offset] = [AbortedTransaction(*row[1:]) for row in _ENTRY.iter_unpack(data[:whole])]
        return known

    def overlapping(self, segment_start: int, fetch_offset: int, upper_offset: int) -> list[AbortedTransaction]:
        """Those whose marker is at or after `fetch_offset` and whose first record is before `upper_offset`, in the order of the markers (F-14).

        Looked for from the segment that begins at `segment_start` on, until what was stable then is beyond the upper offset.
        """
        found: list[AbortedTransaction] = []
        if not self._entries:
            return found
        for base_offset in sorted(base for base in self._entries if base >= segment_start):
            for entry in self.entries(base_offset):
                if entry.last_offset >= fetch_offset and entry.first_offset < upper_offset:
                    found.append(entry)
                if entry.last_stable_offset >= upper_offset:
                    return found
        return found

    def truncate(self, end_offset: int) -> None:
        """Forget those whose markers are at or beyond an offset."""
        for base_offset in list(self._entries):
            entries = self.entries(base_offset)
            kept = [entry for entry in entries if entry.last_offset < end_offset]
            if len(kept) < len(entries):
                self._files.truncate(self.name(base_offset), len(kept) * _ENTRY.size)
                self._entries[base_offset] = kept

    def clear(self, base_offset: int) -> None:
        """Forget those of one segment, and its file."""
        self._files.delete(self.name(base_offset))
        self._entries.pop(base_offset, None)

    def moved_away(self, base_offset: int) -> None:
        """The segment's files were renamed, or are gone."""
        self._entries.pop(base_offset, None)
