"""Every record of a batch is walked before the batch is believed: lengths add up, nothing is cut off, no header lacks its name.

A walk by hand costs a third of a microsecond a record, most of what a Produce of small records costs in all. But producers send runs of records of
one layout (same sizes, counters of the same width), and such a run is a table of fixed rows whose columns can be compared at C speed, a slice with a
step each. So after some records by hand the columns tell how many behind them are laid out like the last one; what is not alike goes on by hand.

Records come in windows, as they are decompressed: memory is bounded by a window and the largest record, whatever the batch holds in all.
A property test holds this walk against a plain one.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pykbroker.protocol.records import CorruptBatch, record_varint, record_varlong
from pykbroker.protocol.wire import Buffer, Malformed

_FEWEST_ROWS = 8
"""Shorter runs are walked by hand: looking at columns costs as much as walking this many records."""

_LONGEST_PAUSE = 256
"""Where records are not alike so many, at last, are walked by hand before the next look at columns."""

_CONTINUED = bytes(range(128, 256))
"""The bytes of a varint that are not its last; `_LAST` are those that are."""

_LAST = bytes(range(128))


class BadRecord(CorruptBatch):
    """A record whose fields do not add up to its length, a header that cannot be, or more or fewer records than the batch says."""


class BadLength(BadRecord):
    """A record whose length is no number; Kafka has no error code for that where the batch is not compressed."""


class TooManyRecords(ValueError):  # noqa: N818 - a state of the input
    """More records that differ in layout than may be walked by hand, which would take too long."""


class Walked(NamedTuple):
    """What a walk found out about the records on its way. Timestamps are deltas, as the records have them."""

    largest_timestamp: int
    smallest_timestamp: int
    all_have_keys: bool
    offsets_count_up: bool
    """Whether the offset deltas are 0, 1, 2, …"""


def walk(windows: Iterable[Buffer], count: int, most_by_hand: int = 2**31 - 1) -> Walked:
    """Walk exactly `count` records, which the windows hold one behind the other.

    Raises BadRecord, TooManyRecords, and whatever the windows raise.
    """
    walker = _Walker(count, most_by_hand)
    if isinstance(windows, tuple) and len(windows) == 1:  # the usual batch; where anything is wrong with it, it is found out below
        if walker.through(windows[0]) == len(windows[0]) and walker.number == count:
            return Walked(walker.largest, walker.smallest, walker.all_have_keys, walker.offsets_count_up)
        walker = _Walker(count, most_by_hand)
    rest: Buffer = b""
    missing = 0
    gathered: list[Buffer] = []
    for window in windows:
        gathered.append(window)
        missing -= len(window)
        if missing > 0:
            continue
        joined = b"".join((rest, *gathered)) if rest or len(gathered) > 1 else window
        gathered.clear()
        position = walker.through(joined)
        rest = joined[position:]
        if rest:
            if walker.number == count:
                break
            missing = _missing(rest)
    if walker.number < count:
        raise BadRecord(f"only {walker.number} whole records are there, not {count}")
    if rest or gathered:
        raise BadRecord(f"there are bytes left behind all {count} records")
    return Walked(walker.largest, walker.smallest, walker.all_have_keys, walker.offsets_count_up)


class _Walker:
    """How far a walk has come, and what it has found on the way."""

    __slots__ = ("all_have_keys", "by_hand_left", "count", "largest", "number", "offsets_count_up", "smallest", "start")

    def __init__(self, count: int, most_by_hand: int) -> None:
        self.count = count
        self.by_hand_left = most_by_hand
        self.number = 0
        self.largest = -(2**63)
        self.smallest = 2**63 - 1
        self.all_have_keys = self.offsets_count_up = True
        self.start = 0
        """Of the last record, in the window at hand."""

    def through(self, window: Buffer) -> int:
        """Walk all records that are whole in this window; the position behind them."""
        if self.count < _FEWEST_ROWS:
            return self.by_hand(window, 0, self.count)
        position = 0
        pause = 1
        while self.number < self.count:
            until = min(self.number + pause, self.count)
            self.by_hand_left -= until - self.number
            if self.by_hand_left < 0:
                raise TooManyRecords("too many records of different layout")
            position = self.by_hand(window, position, until)
            if self.number < until:
                return position
            rows = self._rows_alike(window, position)
            position += rows * (position - self.start)
            self.number += rows
            pause = 1 if rows else min(pause * 2, _LONGEST_PAUSE)
        return position

    def by_hand(self, window: Buffer, position: int, until: int) -> int:
        """Walk records one by one, until so many are done in all or the next is not whole; the position behind the last.

        Lengths mostly have one or two bytes: these are read here, without a call. Counts and sizes are zigzag: odd is negative.
        """
        start, largest, smallest, counting, keyed = self.start, self.largest, self.smallest, self.offsets_count_up, self.all_have_keys
        expected, begin, last_delta = 2 * self.number, position, -1
        try:
            for expected in range(expected, 2 * until, 2):  # noqa: B020 - it shall keep its value where the loop breaks off
                begin = position
                length = window[position]
                if length < 128:
                    position += 1
                    end = position + (length >> 1)
                elif (second := window[position + 1]) < 128:
                    position += 2
                    end = position + (second << 6) + (length - 128 >> 1)
                else:
                    end, position = record_varint(window, position)
                    end += position
                delta = window[position + 1]
                position += 2
                if delta != last_delta:
                    if delta < 128:
                        last_delta = delta
                        delta = delta >> 1 ^ -(delta & 1)
                    elif (second := window[position]) < 128:
                        position += 1
                        delta = (delta - 128 | second << 7) >> 1 ^ -(delta & 1)
                    else:
                        delta, position = record_varlong(window, position - 1)
                    if delta > largest:  # noqa: PLR1730 - max() would double the cost of the walk
                        largest = delta
                    if delta < smallest:  # noqa: PLR1730
                        smallest = delta
                offset = window[position]
                position += 1
                if offset > 127:
                    offset += (window[position] << 7) - 128
                    position += 1
                    if offset > 16383:
                        offset, position = record_varint(window, position - 2)
                        offset *= 2
                if offset != expected:
                    counting = False
                size = window[position]
                if size & 1:
                    keyed = False
                    position = position + 1 if size < 128 else _behind_field(window, position)
                else:
                    position = position + 1 + (size >> 1) if size < 128 else _behind_field(window, position)
                size = window[position]
                if size < 128:
                    position += 1 if size & 1 else 1 + (size >> 1)
                elif (second := window[position + 1]) < 128 and not size & 1:
                    position += 2 + (second << 6) + (size - 128 >> 1)
                else:
                    position = _behind_field(window, position)
                position = _behind_headers(window, position) if window[position] else position + 1
                if position != end or length & 1:
                    raise BadRecord("the fields of a record do not add up to its length")
                start = begin
        except IndexError:
            self.number, position = expected // 2, begin
        except Malformed:
            raise (BadLength if position == begin else BadRecord)("a number in a record is too long") from None
        else:
            self.number = until
        self.start, self.largest, self.smallest, self.all_have_keys, self.offsets_count_up = start, largest, smallest, keyed, counting
        return position

    def _rows_alike(self, window: Buffer, position: int) -> int:
        """How many records from `position` on are surely laid out as the one that ends there; 0 where too few are."""
        start = self.start
        size = position - start
        rows = min(self.count - self.number, (len(window) - position) // size)
        if rows < _FEWEST_ROWS or window[start] != window[position] or window[start + 1] != window[position + 1]:
            return 0
        layout = _layout(window, start)
        for at in layout.structure:
            column = bytes(window[position + at : position + rows * size : size])
            if column.count(window[start + at]) != rows:
                rows -= len(column.lstrip(column[:1])) if column[0] == window[start + at] else rows
                if rows < _FEWEST_ROWS:
                    return 0
        rows = self._rows_counting_up(window, position, layout, rows)
        return self._rows_with_timestamps(window, position, layout, rows) if rows >= _FEWEST_ROWS else 0

    def _rows_counting_up(self, window: Buffer, position: int, layout: "_Layout", rows: int) -> int:
        """How many of the rows have the offset deltas that are due, in as many bytes as the row before them."""
        size, number = position - self.start, self.number
        expected = _counter_columns(layout.key_at - layout.offset_at)
        rows = min(rows, len(expected[0]) - number)
        for at, column in enumerate(expected, layout.offset_at):
            if bytes(window[position + at : position + rows * size : size]) != column[number : number + rows]:
                return 0
        return rows

    def _rows_with_timestamps(self, window: Buffer, position: int, layout: "_Layout", rows: int) -> int:
        """How many of the rows have timestamp deltas of as many bytes as the row before them; these are taken into account."""
        size = position - self.start
        columns = [bytes(window[position + at : position + rows * size : size]) for at in range(layout.timestamp_at, layout.offset_at)]
        for column in columns[:-1]:
            rows = min(rows, len(column) - len(column.lstrip(_CONTINUED)))
        if not columns[-1].isascii():
            rows = min(rows, len(columns[-1]) - len(columns[-1].lstrip(_LAST)))
        if rows < _FEWEST_ROWS:
            return 0
        for delta in _different_deltas([column[:rows] for column in columns]):
            self.largest = max(self.largest, delta)
            self.smallest = min(self.smallest, delta)
        return rows


class _Layout(NamedTuple):
    """How one record lies: positions from its start."""

    structure: list[int]
    """Of the bytes that a record laid out alike has the same: all lengths and counts."""
    timestamp_at: int
    offset_at: int
    key_at: int


def _layout(window: Buffer, start: int) -> _Layout:
    """Of a record that has been walked."""
    structure: list[int] = []

    def length(position: int) -> tuple[int, int]:
        value, behind = record_varint(window, position)
        structure.extend(range(position - start, behind - start))
        return value, behind

    timestamp_at = length(start)[1] + 1
    offset_at = record_varlong(window, timestamp_at)[1]
    key_at = record_varint(window, offset_at)[1]
    size, position = length(key_at)
    size, position = length(position + max(size, 0))
    count, position = length(position + max(size, 0))
    for _ in range(count):
        size, position = length(position)
        size, position = length(position + size)
        position += max(size, 0)
    return _Layout(structure, timestamp_at - start, offset_at - start, key_at - start)


def _counter_columns(width: int) -> tuple[bytes, ...]:
    """The bytes of the zigzag varints 0, 1, 2, … in columns, as far as they have `width` bytes; what is shorter is a placeholder."""
    if width not in _COUNTER_COLUMNS:
        _COUNTER_COLUMNS[width] = _make_counter_columns(width)
    return _COUNTER_COLUMNS[width]


def _make_counter_columns(width: int) -> tuple[bytes, ...]:
    if width == 1:
        return (bytes(range(0, 128, 2)),)
    if width == 2:
        return bytes(range(128, 256, 2)) * 128, b"".join(bytes([high]) * 64 for high in range(128))
    if width == 3:
        low, middle = _make_counter_columns(2)
        return low * 128, bytes(byte | 128 for byte in middle) * 128, b"".join(bytes([high]) * 8192 for high in range(128))
    return (b"",) * width


_COUNTER_COLUMNS: dict[int, tuple[bytes, ...]] = {}


def _different_deltas(columns: list[bytes]) -> Iterator[int]:
    """The timestamp deltas that occur in these columns, each at least once."""
    if len(columns) == 1:
        for byte in set(columns[0]):
            yield byte >> 1 ^ -(byte & 1)
    elif len(columns) == 2:
        low, high = columns
        position = 0
        while position < len(high):  # timestamps grow slowly: a few long runs of one high byte
            run = len(high) - position - len(high[position:].lstrip(high[position : position + 1]))
            for byte in set(low[position : position + run]):
                yield (byte & 127 | high[position] << 7) >> 1 ^ -(byte & 1)
            position += run
    else:
        for different in set(zip(*columns, strict=True)):
            yield record_varlong(bytes(different), 0)[0]


def _behind_field(window: Buffer, position: int) -> int:
    """Key and value may be null: any negative length is."""
    size, position = record_varint(window, position)
    return position + size if size > 0 else position


def _behind_headers(window: Buffer, position: int) -> int:
    count, position = record_varint(window, position)
    if count < 0:
        raise BadRecord("a record claims a negative number of headers")
    for _ in range(count):
        size = window[position]
        if size & 1:
            raise BadRecord("a header has no name")
        position = position + 1 + (size >> 1) if size < 128 else _behind_field(window, position)
        size = window[position]
        position = position + 1 + (size >> 1) if size < 128 and not size & 1 else _behind_field(window, position)
    window[position - 1]  # where the last header is cut off, so is the record
    return position


def _missing(rest: Buffer) -> int:
    """How many bytes at least the record that begins `rest` lacks."""
    try:
        size, position = record_varint(rest, 0)
    except IndexError:
        return 1
    except Malformed:
        raise BadLength("the length of a record is no number") from None
    missing = position + size - len(rest)
    if missing <= 0:
        raise BadRecord("the fields of a record do not add up to its length")
    return missing


class RecordFields(NamedTuple):
    """What may be wrong with a record, or must be changed, once it has been walked."""

    timestamp_delta: int
    offset_delta: int
    has_key: bool
    rest: bytes
    """Key, value and headers, as they are packed."""


def each_record(payload: Buffer, count: int) -> Iterator[RecordFields]:
    """The records of a payload that has been walked, taken apart one by one."""
    position = 0
    for _ in range(count):
        size, position = record_varint(payload, position)
        end = position + size
        timestamp_delta, position = record_varlong(payload, position + 1)
        offset_delta, position = record_varint(payload, position)
        yield RecordFields(timestamp_delta, offset_delta, not payload[position] & 1, bytes(payload[position:end]))
        position = end
