"""Which transactions were aborted, and over which offsets: Kafka's `.txnindex` files, one beside each segment that has any."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from pykbroker.protocol.records import ControlRecordType, RecordBatch
from pykbroker.storage.files import Files
from pykbroker.storage.producer_state import ProducerState
from pykbroker.storage.segment import LogSegment

_ENTRY = struct.Struct(">hqqqq")
_VERSION = 0


class AbortedTransaction(NamedTuple):
    """One transaction that was aborted: whose, and from where to where its records lie."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class TransactionIndex:
    """The index files of one log. They are small and rarely there: written through, and read when asked for."""

    __slots__ = ("_files",)

    def __init__(self, files: Files) -> None:
        self._files = files

    def see_marker(self, segment: LogSegment, marker: RecordBatch, producers: ProducerState, last_stable_offset: int) -> None:
        """A transaction ended; where it was aborted, an entry says over which offsets."""
        entry = producers.producers.get(marker.producer_id)
        if entry is None or entry.current_transaction_first_offset < 0:
            return
        key = next(marker.records()).key
        if key is None or int.from_bytes(key[2:4], "big") != ControlRecordType.ABORT:
            return
        row = _ENTRY.pack(_VERSION, marker.producer_id, entry.current_transaction_first_offset, marker.base_offset, last_stable_offset)
        self._files.append(segment.name("txnindex"), [row])

    def overlapping(self, segments: Sequence[LogSegment], start: int, end: int) -> list[AbortedTransaction]:
        """The aborted transactions with records between two offsets, in the order in which they ended."""
        found = []
        for segment in segments:
            for entry in self._entries(segment):
                if entry.last_offset >= start and entry.first_offset < end:
                    found.append(entry)
        return found

    def _entries(self, segment: LogSegment) -> list[AbortedTransaction]:
        name = segment.name("txnindex")
        try:
            data = bytes(self._files.read(name, 0, self._files.size(name)))
        except FileNotFoundError:
            return []
        return [AbortedTransaction(*row[1:]) for row in _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size])]
