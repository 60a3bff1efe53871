"""Large reads go into memory that was used before: to touch fresh memory costs several times what filling it costs.

Whoever reads gets a view. A buffer is used again only when no view of it is left, in a socket that has not sent all of it, say; a bytearray that
somebody looks at refuses to be resized, and that is asked before each use, never assumed.
"""

from collections import deque

from pykbroker.limits import KEPT_READ_BYTES

SMALLEST = 128 * 1024
"""Below it the allocator keeps memory by itself."""

_TRIES = 8


class ReadBuffers:
    """Some buffers, by their size, a power of two; also those that somebody looks at."""

    def __init__(self) -> None:
        self._shelves: dict[int, deque[bytearray]] = {}
        self._kept_bytes = 0

    def take(self, size: int) -> bytearray:
        """A buffer of at least `size` bytes that nobody looks at. It is to be looked at before the next one is taken."""
        capacity = 1 << (size - 1).bit_length()
        shelf = self._shelves.get(capacity)
        if shelf is None:
            shelf = self._shelves[capacity] = deque()
        for _ in range(min(_TRIES, len(shelf))):
            buffer = shelf.pop()
            shelf.appendleft(buffer)
            if nobody_looks_at(buffer):
                return buffer
        buffer = bytearray(capacity)
        if self._kept_bytes + capacity <= KEPT_READ_BYTES:
            self._kept_bytes += capacity
            shelf.appendleft(buffer)
        return buffer


def nobody_looks_at(buffer: bytearray) -> bool:
    """Whether no memoryview of it is left. Its last byte is spent on the question; a buffer that is looked at stays as it is.

    (`pop` would ask the same, but moves a byte before it refuses.)
    """
    try:
        del buffer[-1:]
    except BufferError:
        return False
    buffer.append(0)
    return True
