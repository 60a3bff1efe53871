"""OsFiles and MemoryFiles are one thing to a log; and MemoryFiles forgets in a crash what a disk may forget."""

import errno
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pykbroker.storage.files import AlreadyLocked, Files, OsFiles
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles


@pytest.fixture(params=["disk", "memory"])
def files(request, tmp_path):
    made = OsFiles(str(tmp_path / "data")) if request.param == "disk" else MemoryFiles(crashable=True)
    yield made
    made.close()


def test_what_is_appended_is_read(files: Files):
    files.make_directory("a")
    files.append("a/x", [b"one", bytearray(b"two"), memoryview(b"three")])
    files.append("a/x", [b"!"])

    assert bytes(files.read("a/x", 3, 5)) == b"twoth"
    assert bytes(files.read("a/x", 11, 99)) == b"!"
    assert bytes(files.read("a/x", 99, 1)) == b""
    assert files.read_whole("a/x") == b"onetwothree!"
    assert files.size("a/x") == 12


def test_a_large_read_stays_as_it_is_while_somebody_holds_it(files: Files):
    size = 200_000
    for number in range(20):
        files.append("x", [bytes([number]) * size])
    held = [files.read("x", number * size, size) for number in range(20)]
    parts = [memoryview(view)[7:9] for view in held[::3]]
    del held[1::2]
    for number in range(20):
        assert bytes(files.read("x", number * size, size)) == bytes([number]) * size
    assert [bytes(view) for view in held] == [bytes([number]) * size for number in range(0, 20, 2)]
    assert [bytes(part) for part in parts] == [bytes([number]) * 2 for number in range(0, 20, 3)]
    assert bytes(files.read("x", 19 * size, 2 * size)) == bytes([19]) * size


def test_large_reads_use_the_memory_of_those_that_are_done_with(tmp_path):
    files = OsFiles(str(tmp_path))
    files.append("x", [bytes(200_000)])
    first = memoryview(files.read("x", 0, 200_000))
    assert memoryview(files.read("x", 0, 200_000)).obj is not first.obj
    buffers = {id(memoryview(files.read("x", 0, 200_000)).obj) for _ in range(10)}
    assert len(buffers) == 1
    files.close()


def test_a_cut_file_goes_on_where_it_was_cut(files: Files):
    files.append("x", [b"123456"])
    files.truncate("x", 2)
    files.append("x", [b"ab"])

    assert files.read_whole("x") == b"12ab"


def test_more_pieces_than_one_call_takes(files: Files):
    pieces = [b"%d," % number for number in range(3000)]
    files.append("x", pieces)

    assert files.read_whole("x") == b"".join(pieces)


def test_names_are_listed_renamed_and_deleted(files: Files):
    files.make_directory("a")
    files.append("a/y", [b"1"])
    files.append("a/x", [b"2"])
    files.make_directory("a")
    assert files.list("a") == ["x", "y"]

    files.rename("a/x", "a/z")
    files.rename("a", "b")
    assert [name for name in files.list("") if name != ".lock"] == ["b"]
    assert files.list("a") == []
    assert files.list("b") == ["y", "z"]
    assert files.read_whole("b/z") == b"2"

    files.delete("b/y")
    files.delete("b/y")
    assert files.list("b") == ["z"]
    files.delete("b")
    assert files.list("b") == []


def test_a_replaced_file_is_read_anew(files: Files):
    files.append("x", [b"old, and longer"])
    assert files.read("x", 0, 3) == b"old"
    files.replace("x", b"new")

    assert files.read("x", 0, 99) == b"new"
    assert [name for name in files.list("") if name != ".lock"] == ["x"]


@pytest.mark.parametrize("operation", ["read", "read_whole", "size", "truncate", "syncer", "rename"])
def test_what_is_not_there_is_said_to_be_not_there(files: Files, operation: str):
    arguments = {"read": (0, 1), "truncate": (0,), "rename": ("other",)}.get(operation, ())
    with pytest.raises(FileNotFoundError):
        getattr(files, operation)("nothing", *arguments)
    with pytest.raises(FileNotFoundError):
        files.append("no/directory", [b"x"])


def test_a_sync_outlives_the_files_handle(files: Files):
    files.append("x", [b"1"])
    sync = files.syncer("x")
    files.rename("x", "y")
    files.delete("y")
    sync()


def test_a_directory_is_for_one_process(tmp_path: Path):
    first = OsFiles(str(tmp_path))
    with pytest.raises(AlreadyLocked, match="in use by another process"):
        OsFiles(str(tmp_path))
    first.close()
    OsFiles(str(tmp_path)).close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files can be counted on Linux only")
def test_open_files_are_bounded(tmp_path: Path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    files = OsFiles(str(tmp_path), most_open=8)
    for turn in range(3):
        for number in range(50):
            files.append(f"{number}", [b"%d" % turn])
    opened = len(list(Path("/proc/self/fd").iterdir())) - before
    contents = {files.read_whole(f"{number}") for number in range(50)}
    files.close()

    assert contents == {b"012"}
    assert opened <= 9
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("take_away", [lambda files: files.rename("gone", "moved"), lambda files: files.delete("gone")])
def test_taking_a_directory_away_costs_what_is_open_there_and_not_elsewhere(tmp_path: Path, take_away: Callable[[OsFiles], None]):
    def calls_with_open_elsewhere(count: int) -> int:
        files = OsFiles(str(tmp_path / str(count)), most_open=300)
        for directory in ("gone", "stays"):
            files.make_directory(directory)
        for number in range(count):
            files.append(f"stays/{number}", [b"1"])
        files.append("gone/x", [b"1"])
        calls = calls_of(lambda: take_away(files))
        files.close()
        return calls

    assert calls_with_open_elsewhere(200) == calls_with_open_elsewhere(2)


def calls_of(work: Callable[[], None]) -> int:
    """How many functions are called, Python's and C's."""
    calls = []
    before = sys.getprofile()
    sys.setprofile(lambda _frame, event, _of: calls.append(event) if event in {"call", "c_call"} else None)
    try:
        work()
    finally:
        sys.setprofile(before)
    return len(calls)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files can be counted on Linux only")
def test_nothing_stays_open_of_a_directory_that_is_taken_away(tmp_path: Path):
    files = OsFiles(str(tmp_path), most_open=4)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for turn in range(3):
        files.make_directory("a")
        for number in range(6):
            files.append(f"a/{number}", [b"%d" % turn])
        files.replace("a/5", b"new")
        files.delete("a/4")
        files.rename("a/3", "a/2")
        files.rename("a", "b")
        assert files.read_whole("b/2") == b"%d" % turn
        assert bytes(files.read("b/5", 0, 9)) == b"new"
        files.delete("b")
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    files.close()


def test_a_disk_that_is_full_says_so(tmp_path: Path):
    files = FaultyFiles(OsFiles(str(tmp_path)), lambda operation, _name: 2 if operation == "append" else None)
    with pytest.raises(OSError, match="full") as raised:
        files.append("x", [b"12", b"34"])
    files.close()

    assert raised.value.errno == errno.ENOSPC
    assert (tmp_path / "x").read_bytes() == b"12"


def test_a_crash_keeps_what_was_synced_and_a_prefix_of_the_names():
    for seed in range(300):
        files = MemoryFiles(crashable=True)
        files.make_directory("d")
        files.append("d/a", [b"synced"])
        files.sync_directory("d")
        files.syncer("d/a")()
        files.append("d/a", [b" not synced"])
        files.append("d/b", [b"nothing of it"])
        files.rename("d/a", "d/c")
        found = files.crash(random.Random(seed))

        names = found.list("d")
        assert names in (["a"], ["a", "b"], ["b", "c"]), f"seed {seed}"
        data = found.read_whole("d/a" if "a" in names else "d/c")
        assert data.startswith(b"synced"), f"seed {seed}"
        assert len(data) <= len(b"synced not synced"), f"seed {seed}"


def test_a_crash_can_lose_tear_and_keep():
    outcomes = set()
    for seed in range(400):
        files = MemoryFiles(crashable=True)
        files.append("a", [b"x" * 600])
        files.append("a", [b"y" * 600])
        found = files.crash(random.Random(seed))
        data = found.read_whole("a") if "a" in found.list("") else None
        outcomes.add("no name" if data is None else "hole" if b"\0" in data else {0: "empty", 1200: "whole"}.get(len(data), "torn"))

    assert outcomes == {"no name", "empty", "torn", "hole", "whole"}


def test_a_replaced_file_survives_every_crash():
    for seed in range(50):
        files = MemoryFiles(crashable=True)
        files.make_directory("d")
        files.replace("d/x", b"1")
        files.replace("d/x", b"2")
        assert files.crash(random.Random(seed)).read_whole("d/x") == b"2"
