"""Every record of a batch is walked before the batch is believed: lengths add up, nothing is cut off, no header lacks its name.

The plain walk costs more than half a microsecond a record, most of what a Produce of small records costs in all. But producers send runs of
records of one layout (same sizes, counters of the same width), and such a run is a table of fixed rows whose columns can be compared at C speed,
a slice with a step each. So `walk` takes one record by hand, guesses that the rows behind it are alike, and lets the columns confirm or refute
that; what does not fit is walked by hand. A property test holds `walk` against `plain_walk`.
"""

from typing import NamedTuple

from pykbroker.protocol.wire import Malformed, read_varint, read_varlong

_FEWEST_ROWS = 8
"""Shorter runs are walked by hand: setting up the columns costs as much as walking this many records."""

_LONGEST_PAUSE = 256
"""After a wrong guess so many records, and more with every further one, are walked by hand before the next guess."""

_COUNTS_OF_WIDTH = {1: 64, 2: 8192, 3: 1_048_576}
"""A zigzag varint of so many bytes counts to below this."""

_CONTINUED = bytes(range(128, 256))
"""The bytes of a varint that are not its last."""


class BadRecord(ValueError):  # noqa: N818 - a state of the input
    """A record whose fields do not add up to its length, or a header that cannot be."""


class Walked(NamedTuple):
    """What a walk found: the range of the timestamp deltas, and where the last record ends."""

    largest_timestamp_delta: int
    smallest_timestamp_delta: int
    end: int


class Layout(NamedTuple):
    """How one record lies, as far as its neighbours may share it. All in bytes, positions from the record's start."""

    size: int
    timestamp_at: int
    offset_at: int
    key_at: int
    value_at: int
    headers_at: int


def walk(payload: bytes, count: int) -> Walked:
    """Walk `count` records from the start of `payload`. Raises BadRecord, or Malformed where the bytes are no records at all."""
    largest = smallest = None
    position = number = 0
    pause = 1
    try:
        while number < count:
            layout, delta = _one_record(payload, position)
            if largest is None or smallest is None:
                largest = smallest = delta
            elif delta > largest:
                largest = delta
            elif delta < smallest:
                smallest = delta
            position += layout.size
            number += 1
            rows = _alike_rows(payload, position, layout, number, count)
            if rows:
                low, high = _timestamp_range(payload, position, layout, rows)
                largest, smallest = max(largest, high), min(smallest, low)
                position += rows * layout.size
                number += rows
                pause = 1
                continue
            by_hand = min(pause, count - number)
            if by_hand:
                walked = plain_walk(payload, by_hand, position)
                largest, smallest = max(largest, walked.largest_timestamp_delta), min(smallest, walked.smallest_timestamp_delta)
                position = walked.end
                number += by_hand
                pause = min(pause * 2, _LONGEST_PAUSE)
    except IndexError:
        raise Malformed("the records are cut off") from None
    return Walked(largest or 0, smallest or 0, position)


def plain_walk(payload: bytes, count: int, position: int = 0) -> Walked:
    """The same, one record after the other, from `position`."""
    largest = smallest = 0
    first = True
    try:
        for _ in range(count):
            length = payload[position]
            position += 1
            if length > 127:
                length, position = read_varint(payload, position - 1)
                if length < 0:
                    raise BadRecord("a record has a negative length")
            elif length & 1:
                raise BadRecord("a record has a negative length")
            else:
                length >>= 1
            end = position + length
            delta = payload[position + 1]
            position += 2
            if delta > 127:
                delta, position = read_varlong(payload, position - 1)
            else:
                delta = delta >> 1 ^ -(delta & 1)
            if delta > largest or first:
                largest = delta
            if delta < smallest or first:
                smallest = delta
                first = False
            position += 1
            if payload[position - 1] > 127:
                position = read_varint(payload, position - 1)[1]
            size = payload[position]
            position += 1
            if size > 127:
                size, position = read_varint(payload, position - 1)
                position += max(size, 0) if size >= -1 else _negative("key")
            elif not size & 1:
                position += size >> 1
            elif size != 1:
                _negative("key")
            size = payload[position]
            position += 1
            if size > 127:
                size, position = read_varint(payload, position - 1)
                position += max(size, 0) if size >= -1 else _negative("value")
            elif not size & 1:
                position += size >> 1
            elif size != 1:
                _negative("value")
            if payload[position]:
                position = _walk_headers(payload, position)
            else:
                position += 1
            if position != end:
                raise BadRecord("the fields of a record do not add up to its length")
    except IndexError:
        raise Malformed("the records are cut off") from None
    return Walked(largest, smallest, position)


def keyless_records(payload: bytes, count: int) -> list[int]:
    """Which of the records, counted from 0, have no key. Only for payloads that have been walked."""
    found = []
    position = 0
    for number in range(count):
        length, start = read_varint(payload, position)
        after_timestamp = read_varlong(payload, start + 1)[1]
        after_offset = read_varint(payload, after_timestamp)[1]
        if read_varint(payload, after_offset)[0] < 0:
            found.append(number)
        position = start + length
    return found


def timestamp_deltas(payload: bytes, count: int) -> list[int]:
    """The timestamp deltas of all records. Only for payloads that have been walked."""
    deltas = []
    position = 0
    for _ in range(count):
        length, start = read_varint(payload, position)
        deltas.append(read_varlong(payload, start + 1)[0])
        position = start + length
    return deltas


def offset_deltas_count_up(payload: bytes, count: int) -> bool:
    """Whether the records' offset deltas are 0, 1, 2, … Only for payloads that have been walked."""
    position = 0
    for number in range(count):
        length, start = read_varint(payload, position)
        if read_varint(payload, read_varlong(payload, start + 1)[1])[0] != number:
            return False
        position = start + length
    return True


def _one_record(payload: bytes, start: int) -> tuple[Layout, int]:
    """One record by hand; how it lies, and its timestamp delta."""
    length, position = read_varint(payload, start)
    if length < 0:
        raise BadRecord("a record has a negative length")
    end = position + length
    timestamp_at = position + 1
    delta, offset_at = read_varlong(payload, timestamp_at)
    _, key_at = read_varint(payload, offset_at)
    value_at = _behind_data(payload, key_at, "key")
    headers_at = _behind_data(payload, value_at, "value")
    position = _walk_headers(payload, headers_at) if payload[headers_at] else headers_at + 1
    if position != end:
        raise BadRecord("the fields of a record do not add up to its length")
    return Layout(end - start, timestamp_at - start, offset_at - start, key_at - start, value_at - start, headers_at - start), delta


def _behind_data(payload: bytes, position: int, what: str) -> int:
    size, position = read_varint(payload, position)
    return position + max(size, 0) if size >= -1 else _negative(what)


def _negative(what: str) -> int:
    raise BadRecord(f"the {what} of a record has a negative length")


def _walk_headers(payload: bytes, position: int) -> int:
    count, position = read_varint(payload, position)
    if count < 0:
        _negative("list of headers")
    for _ in range(count):
        size, position = read_varint(payload, position)
        if size < 0:
            raise BadRecord("a header has no name")
        position = _behind_data(payload, position + size, "header")
    return position


def _alike_rows(payload: bytes, position: int, layout: Layout, number: int, count: int) -> int:
    """How many records from `position` on, the first being `number` of `count`, surely lie as the one before it; 0 where too few do.

    Offset deltas count up, so the width of theirs says where a run must end; timestamps grow as they like, so a shorter run is tried too.
    """
    if payload[position - layout.size + layout.headers_at]:
        return 0
    offset_size = layout.key_at - layout.offset_at
    rows = min(count, _COUNTS_OF_WIDTH.get(offset_size, count)) - number
    rows = min(rows, (len(payload) - position) // layout.size)
    while rows >= _FEWEST_ROWS:
        if _rows_agree(payload, position, layout, rows):
            return rows
        rows //= 8
    return 0


def _rows_agree(payload: bytes, position: int, layout: Layout, rows: int) -> bool:
    """Whether so many rows have, column by column, what the row before them has: the same sizes, counters of the same width."""
    size = layout.size
    pattern = position - size
    end = position + rows * size
    lengths = (
        *range(layout.timestamp_at - 1),
        *_varint_bytes(payload, pattern, layout.key_at),
        *_varint_bytes(payload, pattern, layout.value_at),
        layout.headers_at,
    )
    for at in lengths:
        if payload[position + at : end : size].count(payload[pattern + at]) != rows:
            return False
    for start, behind in ((layout.timestamp_at, layout.offset_at), (layout.offset_at, layout.key_at)):
        for at in range(start, behind - 1):
            if payload[position + at : end : size].translate(None, _CONTINUED):
                return False
        if not payload[position + behind - 1 : end : size].isascii():
            return False
    return True


def _varint_bytes(payload: bytes, pattern: int, at: int) -> range:
    """The columns of the varint that begins in column `at`."""
    behind = at + 1
    while payload[pattern + behind - 1] > 127:
        behind += 1
    return range(at, behind)


def _timestamp_range(payload: bytes, position: int, layout: Layout, rows: int) -> tuple[int, int]:
    """The smallest and the largest timestamp delta of so many rows."""
    size = layout.size
    end = position + rows * size
    columns = [payload[position + at : end : size] for at in range(layout.timestamp_at, layout.offset_at)]
    deltas = [read_varlong(bytes(different), 0)[0] for different in set(zip(*columns, strict=True))]
    return min(deltas), max(deltas)
