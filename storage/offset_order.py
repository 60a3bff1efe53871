"""Whether batches stand at offsets that can be: of all that matters in a batch, its base offset alone has no checksum, so its neighbours judge it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykbroker.storage.segment import Placed


def consecutive(batches: "Iterator[Placed]", base_offset: int) -> "Iterator[Placed]":
    """Those that begin where the one before them ends, up to the first that does not: nothing has ever been taken out of this log."""
    expected = base_offset
    for placed in batches:
        if placed.batch.base_offset != expected:
            return
        expected = placed.batch.next_offset
        yield placed


def ascending(batches: "Iterator[Placed]", base_offset: int) -> "Iterator[Placed]":
    """Those that begin behind the one before them, with gaps, as compaction leaves them.

    Where one begins too early, the one before it may be the damaged one, if it came after a gap that this one stands in: then both are left out.
    """
    end = base_offset
    last: Placed | None = None
    for placed in batches:
        begins = placed.batch.base_offset
        if begins < (end if last is None else last.batch.next_offset):
            if last is not None and end < last.batch.base_offset and end <= begins:
                return
            break
        if last is not None:
            yield last
            end = last.batch.next_offset
        last = placed
    if last is not None:
        yield last
