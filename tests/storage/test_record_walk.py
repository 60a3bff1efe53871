"""The walk in windows and columns finds, on any input, exactly what a plain reading of one record after the other finds."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pykbroker.protocol.records import NewRecord, RecordBatch, build_batch
from pykbroker.protocol.wire import varlong
from pykbroker.storage.record_walk import BadRecord, Walked, walk

INT32, INT64 = 32, 64


class Wrong(Exception):
    """What the plain reading does not believe."""


class Reader:
    """Reads one field after the other; as plain as can be."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.position:
            raise Wrong("cut off")
        self.position += size
        return self.data[self.position - size : self.position]

    def signed(self, bits: int) -> int:
        value = 0
        for index in range(5 if bits == INT32 else 10):
            byte = self.byte()
            value += (byte & 127) << 7 * index
            if byte < 128:
                value %= 2**bits
                return value // 2 if value % 2 == 0 else -(value // 2) - 1
        raise Wrong("too long")


def plain_walk(payload: bytes, count: int) -> Walked:
    """The reference."""
    reader = Reader(payload)
    timestamps, keyed, offsets = [], [], []
    for _ in range(count):
        size = reader.signed(INT32)
        if size < 0:
            raise Wrong("negative size")
        record = Reader(reader.take(size))
        record.byte()
        timestamps.append(record.signed(INT64))
        offsets.append(record.signed(INT32))
        key_size = record.signed(INT32)
        keyed.append(key_size >= 0)
        record.take(max(key_size, 0))
        record.take(max(record.signed(INT32), 0))
        headers = record.signed(INT32)
        if headers < 0:
            raise Wrong("negative count")
        for _ in range(headers):
            name_size = record.signed(INT32)
            if name_size < 0:
                raise Wrong("no name")
            record.take(name_size)
            record.take(max(record.signed(INT32), 0))
        if record.position != size:
            raise Wrong("bytes left in the record")
    if reader.position != len(payload):
        raise Wrong("bytes left")
    return Walked(max(timestamps), min(timestamps), all(keyed), offsets == list(range(count)))


def windows(payload: bytes, chance: Random) -> Iterator[bytes | memoryview]:
    """The payload in pieces, some of them empty."""
    position = 0
    sizes = chance.choice([[len(payload)], [0, 1, 2, 3], [1, 10, 100], [1000, 5000]])
    kind = chance.choice([bytes, memoryview])
    while position < len(payload):
        size = chance.choice(sizes)
        yield kind(payload[position : position + size])
        position += size


def runs_of_records(chance: Random) -> tuple[bytes, list[int]]:
    """Runs of records that are laid out alike, as producers send them, with counters that grow through all widths; and where they start."""
    out = bytearray()
    number = chance.choice([0, 0, 0, 0, 0, 60, 8180])  # where the first is not 0, offsets do not count up from 0, but may look like it
    timestamp = chance.choice([0, 0, 0, 60, -70, 8190, 2**40])
    starts = []
    for _ in range(chance.randrange(1, 4)):
        key = chance.choice([None, b"", b"key", bytes(70)] * 5 + [bytes(9000)])
        value = chance.choice([None, b"", b"value", bytes(62), bytes(63), bytes(64), bytes(200)])
        headers = chance.choice([[], [], [(b"name", b"content")], [(b"", None), (bytes(70), b"")]])
        step = chance.choice([0, 0, 1, 5, 300])
        for _ in range(chance.choice([1, 2, 7, 8, 20, 20, 90, 200])):
            body = b"\0" + varlong(timestamp) + varlong(number) + data(key) + data(value) + varlong(len(headers))
            body += b"".join(data(name) + data(content) for name, content in headers)
            starts.append(len(out))
            out += varlong(len(body)) + body
            number += 1
            timestamp += step
    return bytes(out), starts


def data(content: bytes | None) -> bytes:
    return b"\1" if content is None else varlong(len(content)) + content


def damaged(payload: bytes, starts: list[int], chance: Random) -> bytes:
    """Most damage is done where the lengths are: at the beginnings and ends of records."""
    out = bytearray(payload)
    if chance.random() < 0.6:
        at = min(max(chance.choice(starts) + chance.randrange(-12, 12), 0), len(out) - 1)
        out[at] = chance.choice([out[at] ^ 128, out[at] ^ 2, out[at] ^ 1, 0])
        return bytes(out)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(out))
        match chance.randrange(5):
            case 0:
                out[at] = chance.choice([0, 1, 2, 127, 128, 255, chance.randrange(256)])
            case 1:
                out[at] ^= 1 << chance.randrange(8)
            case 2:
                del out[at : at + chance.choice([1, 1, 10])]
            case 3:
                out[at:at] = chance.choice([b"\0", b"\x80", b"\xff" * 10, bytes(100)])
            case _:
                del out[at:]
        if not out:
            break
    return bytes(out)


def outcome(walked: Iterator[Walked] | object) -> object:
    try:
        return walked()
    except (BadRecord, Wrong):
        return "refused"


@given(st.randoms(use_true_random=False), st.sampled_from(["sound", "damaged", "damaged", "miscounted"]))
@settings(max_examples=250, deadline=None)
def test_walks_agree(chance: Random, what: str) -> None:
    payload, starts = runs_of_records(chance)
    count = len(starts)
    if what == "damaged":
        payload = damaged(payload, starts, chance)
    if what == "miscounted":
        count += 1 if count == 1 else chance.choice([-1, 1])
    expected = outcome(lambda: plain_walk(payload, count))
    assert outcome(lambda: walk(windows(payload, chance), count)) == expected
    assert expected == "refused" or what != "miscounted"


@given(st.binary(max_size=60), st.integers(1, 4), st.randoms(use_true_random=False))
@example(b"\x24\0\0\0\0\2k\0\2\4ab\x0e123456", 1, Random(1))  # the last header's content is one byte short, and so is the record
@settings(max_examples=1000, deadline=None)
def test_walks_agree_on_noise(payload: bytes, count: int, chance: Random) -> None:
    assert outcome(lambda: walk(windows(payload, chance), count)) == outcome(lambda: plain_walk(payload, count))


@pytest.mark.parametrize("timestamp", [0, 100, -(2**40)], ids=lambda timestamp: f"timestamp {timestamp}")
@pytest.mark.parametrize("first", [0, 100, 10_000], ids=lambda first: f"from {first}")
@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (None, b"ab", []),
        (b"k", None, []),
        (b"", bytes(70), []),
        (bytes(70), b"", []),
        (b"k", b"v", [(b"n", b"c"), (b"", None), (b"n", bytes(66))]),
    ],
    ids=["no key", "no value", "long value", "long key", "headers"],
)
def test_one_wrong_byte_among_records_alike_is_found(
    key: bytes | None, value: bytes | None, headers: list[tuple[bytes, bytes | None]], first: int, timestamp: int
) -> None:
    """Every byte of one record in the middle of a run, changed in every way that changes what it says."""
    records = []
    for number in range(first, first + 24):
        body = b"\0" + varlong(timestamp + number % 3) + varlong(number) + data(key) + data(value) + varlong(len(headers))
        body += b"".join(data(name) + data(content) for name, content in headers)
        records.append(varlong(len(body)) + body)
    start, size = sum(map(len, records[:12])), len(records[12])
    for at in range(start, start + size):
        for change in (1, 2, 64, 128):
            payload = bytearray(b"".join(records))
            payload[at] ^= change
            expected = outcome(lambda payload=bytes(payload): plain_walk(payload, 24))
            assert outcome(lambda payload=bytes(payload): walk([payload], 24)) == expected, f"byte {at - start} ^ {change}"


def test_runs_are_really_found() -> None:
    """Else the columns would go untested: in a batch of records that are alike nearly all are walked in columns."""
    records = build_batch([NewRecord(bytes(100), b"k", timestamp=number // 10) for number in range(9000)])
    payload = CountingBytes(RecordBatch(records).payload())
    walked = walk([payload], 9000)
    assert walked == Walked(899, 0, all_have_keys=True, offsets_count_up=True)
    assert payload.single_bytes_read < 2000


class CountingBytes(bytes):
    single_bytes_read = 0

    def __getitem__(self, index: object) -> object:
        self.single_bytes_read += isinstance(index, int)
        return super().__getitem__(index)


@pytest.mark.parametrize("claimed", [10**6, 2**31 - 1])
def test_a_record_that_claims_more_than_there_is_is_not_searched_for_again_and_again(claimed: int) -> None:
    pieces = [varlong(claimed)] + [bytes(1000)] * 900
    with pytest.raises(BadRecord):
        walk(pieces, 1)
