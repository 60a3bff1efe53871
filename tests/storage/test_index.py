"""A sparse index finds what a sorted list would, however much of it is in the file, and its bytes are Kafka's."""

from bisect import bisect_right

from hypothesis import given, settings
from hypothesis import strategies as st

from pykbroker.storage.index import OffsetIndex, TimeIndex
from pykbroker.storage.memory_files import MemoryFiles


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["", "", "", "write"])), max_size=700),
    asked=st.lists(st.integers(-1, 4000), max_size=20),
    cut=st.one_of(st.none(), st.tuples(st.sampled_from([0, 1]), st.integers(0, 3000))),
    reopened=st.booleans(),
)
def test_an_index_finds_what_a_sorted_list_would(steps, asked, cut, reopened):
    files, entries, first, second = MemoryFiles(), [], 0, 0
    index = OffsetIndex("0.index")
    for first_step, second_step, written in steps:
        first, second = first + first_step, second + second_step
        index.add(files, first, second)
        entries.append((first, second))
        if written:
            index.write(files)
    if cut is not None:
        column, limit = cut
        index.cut(files, column, limit)
        entries = [entry for entry in entries if entry[column] < limit]
    if reopened:
        index.write(files)
        index = OffsetIndex("0.index")
        assert index.open_for(files, 10**6)
    assert len(index) == len(entries)
    assert index.last == (entries[-1] if entries else None)
    for wanted in asked:
        found = bisect_right(entries, (wanted, 10**9))
        assert index.at_or_before(files, wanted) == (entries[found - 1] if found else None)


def test_the_files_are_kafkas():
    files = MemoryFiles()
    offsets, times = OffsetIndex("0.index"), TimeIndex("0.timeindex")
    offsets.add(files, 20, 4097)
    times.add_if_larger(files, 1_700_000_000_000, 20)
    times.add_if_larger(files, 1_700_000_000_000, 25)
    times.add_if_larger(files, 1_699_999_999_999, 30)
    offsets.write(files)
    times.write(files)

    assert files.read_whole("0.index") == bytes.fromhex("0000001400001001")
    assert files.read_whole("0.timeindex") == bytes.fromhex("0000018bcfe5680000000014")


def test_a_file_that_cannot_be_right_is_not_taken():
    files = MemoryFiles()
    whole = bytes.fromhex("0000001400001001")
    for number, (data, log_size) in enumerate([(whole, 4097), (whole[:-1], 10**6), (whole + bytes(8), 10**6), (bytes(16), 10**6)]):
        files.put(f"{number}.index", data)
        assert not OffsetIndex(f"{number}.index").open_for(files, log_size)
    assert not OffsetIndex("absent.index").open_for(files, 10)
