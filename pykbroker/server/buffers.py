"""A receive buffer is lent again only when nobody looks at it any more: that is checked each time, never assumed.

Touching fresh memory costs more than filling it, so buffers are kept and lent again. A frame that somebody still holds (a memoryview of
records, say) exports its buffer; a bytearray that is exported refuses to be resized, and that is the check.
"""

from collections import defaultdict, deque

from pykbroker.limits import KEPT_RECEIVE_BYTES, SMALLEST_RECEIVE_BUFFER
from pykbroker.storage.read_buffers import nobody_looks_at

_TRIES = 4
_LARGEST_KEPT = KEPT_RECEIVE_BYTES // 4


class ReceiveBuffers:
    """The buffers of all connections of a server; an idle connection has none."""

    def __init__(self) -> None:
        self.lent_bytes = 0
        self._shelves: defaultdict[int, deque[bytearray]] = defaultdict(deque)
        self._kept_bytes = 0

    def take(self, size: int) -> bytearray:
        """A buffer of at least `size` bytes, with anything in it."""
        capacity = max(SMALLEST_RECEIVE_BUFFER, 1 << (size - 1).bit_length())
        buffer = self._from_shelf(capacity)
        if buffer is None:
            buffer = bytearray(capacity)
        self.lent_bytes += capacity
        return buffer

    def give_back(self, buffer: bytearray) -> None:
        """The borrower is done with it; others may still look at it, which is found out before it is lent again."""
        capacity = len(buffer)
        self.lent_bytes -= capacity
        if capacity <= _LARGEST_KEPT and self._kept_bytes + capacity <= KEPT_RECEIVE_BYTES:
            self._kept_bytes += capacity
            self._shelves[capacity].append(buffer)

    def _from_shelf(self, capacity: int) -> bytearray | None:
        """The buffer that was used last and is free: it is the one most likely in the processor's cache."""
        shelf = self._shelves[capacity]
        for _ in range(min(_TRIES, len(shelf))):
            buffer = shelf.pop()
            if nobody_looks_at(buffer):
                self._kept_bytes -= capacity
                return buffer
            shelf.appendleft(buffer)
        return None
