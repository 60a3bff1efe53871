"""Files that live in memory: for a broker without a disk, and for tests that pull the plug or break the disk at its n-th operation.

`MemoryFiles.crash()` gives what a power loss leaves. It is as strict as a disk may be: a file keeps what was synced of it, and of the rest whatever
the random source lets survive; names made, renamed and deleted survive in the order in which that was done, up to some point behind the last sync of
a directory that they concern.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Protocol

from pykbroker.protocol.wire import Buffer
from pykbroker.storage.files import Files

_SECTOR = 512


class CrashRandom(Protocol):
    """What `crash` needs of `random.Random(seed)`."""

    def random(self) -> float:
        """From 0 to below 1."""

    def randrange(self, stop: int, /) -> int:
        """From 0 to below `stop`."""


class _Content:
    """What is in one file, under whatever name."""

    __slots__ = ("data", "durable")

    def __init__(self, data: bytes = b"", durable: bytes = b"") -> None:
        self.data = bytearray(data)
        self.durable = durable


_Directories = dict[str, dict[str, _Content]]
_Change = tuple[set[str], Callable[[_Directories], None]]
"""One change of names: the directories that it concerns, and how to do it."""


class MemoryFiles:
    """The files of one data directory, in memory. With `crashable` it remembers what would survive a power loss (each sync copies the file)."""

    def __init__(self, *, crashable: bool = False) -> None:
        self._directories: _Directories = {"": {}}
        self._crashable = crashable
        self._durable_directories: _Directories = {"": {}}
        self._changes: list[_Change] = []
        """Changes of names that are not durable yet, in the order in which they were made."""

    def append(self, name: str, pieces: Sequence[Buffer]) -> None:
        """Behind the end."""
        directory, _, base = name.rpartition("/")
        try:
            content = self._directories[directory].get(base)
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such directory", directory) from None
        if content is None:
            content = self._make(directory, base)
        for piece in pieces:
            content.data += piece

    def read(self, name: str, position: int, size: int) -> Buffer:
        """A copy: the file may grow while it is being sent."""
        return bytes(memoryview(self._existing(name).data)[position : position + size])

    def read_whole(self, name: str) -> bytes:
        """A copy."""
        return bytes(self._existing(name).data)

    def size(self, name: str) -> int:
        """In bytes."""
        return len(self._existing(name).data)

    def truncate(self, name: str, size: int) -> None:
        """Cut."""
        del self._existing(name).data[size:]

    def replace(self, name: str, data: bytes) -> None:
        """Durable at once, its name too."""
        self._put(name, _Content(data, data if self._crashable else b""))
        self.sync_directory(name.rpartition("/")[0])

    def put(self, name: str, data: bytes) -> None:
        """In a crash the name may have changed already, and its content not be there yet."""
        self._put(name, _Content(data))

    def _put(self, name: str, content: _Content) -> None:
        directory, _, base = name.rpartition("/")
        if directory not in self._directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", directory)
        self._change({directory}, lambda directories: directories[directory].__setitem__(base, content))

    def rename(self, name: str, new_name: str) -> None:
        """A file, or a directory."""
        if name in self._directories:
            self._change({""}, lambda directories: directories.__setitem__(new_name, directories.pop(name)))
            return
        self._existing(name)
        directory, _, base = name.rpartition("/")
        new_directory, _, new_base = new_name.rpartition("/")
        self._change(
            {directory, new_directory},
            lambda directories: directories[new_directory].__setitem__(new_base, directories[directory].pop(base)),
        )

    def delete(self, name: str) -> None:
        """A file, or a directory with all in it."""
        if name in self._directories:
            self._change({""}, lambda directories: directories.__delitem__(name))
            return
        directory, _, base = name.rpartition("/")
        if base in self._directories.get(directory, {}):
            self._change({directory}, lambda directories: directories[directory].__delitem__(base))

    def list(self, directory: str) -> list[str]:
        """Sorted names."""
        names = list(self._directories.get(directory, ()))
        return sorted([*names, *filter(None, self._directories)]) if not directory else sorted(names)

    def make_directory(self, name: str) -> None:
        """Harmless where it is there."""
        if name not in self._directories:
            self._change({""}, lambda directories: directories.__setitem__(name, {}))

    def syncer(self, name: str) -> Callable[[], None]:
        """What is in the file when this is called survives a crash after the function has run; its name may not."""
        content = self._existing(name)
        if not self._crashable:
            return _nothing
        copy = bytes(content.data)

        def run() -> None:
            content.durable = copy

        return run

    def sync_directory(self, name: str) -> None:
        """All changes up to the last one that concerns this directory are durable: file systems write them in order."""
        last = max((number for number, (concerned, _) in enumerate(self._changes) if name in concerned), default=-1)
        for _, change in self._changes[: last + 1]:
            change(self._durable_directories)
        del self._changes[: last + 1]

    def sync_everything(self) -> None:
        """All files and all names."""
        if not self._crashable:
            return
        for _, change in self._changes:
            change(self._durable_directories)
        self._changes.clear()
        for files in self._directories.values():
            for content in files.values():
                content.durable = bytes(content.data)

    def close(self) -> None:
        """Nothing to let go of: the same object may be opened again, as a disk may."""

    def crash(self, random: CrashRandom) -> "MemoryFiles":
        """What is found after a power loss now; the files themselves stay as they are."""
        directories = {name: dict(files) for name, files in self._durable_directories.items()}
        for _, change in self._changes[: random.randrange(len(self._changes) + 1)]:
            change(directories)
        found = MemoryFiles(crashable=True)
        found._directories = {
            directory: {name: _survivor(content, random) for name, content in files.items()} for directory, files in directories.items()
        }
        found._durable_directories = {name: dict(files) for name, files in found._directories.items()}
        return found

    def _make(self, directory: str, base: str) -> _Content:
        content = _Content()
        self._change({directory}, lambda directories: directories[directory].__setitem__(base, content))
        return content

    def _change(self, concerned: set[str], change: Callable[[_Directories], None]) -> None:
        change(self._directories)
        if self._crashable:
            self._changes.append((concerned, change))

    def _existing(self, name: str) -> _Content:
        directory, _, base = name.rpartition("/")
        try:
            return self._directories[directory][base]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", name) from None


class FaultyFiles:
    """Any Files, with a `fault` asked before each operation: it may raise, or answer how many bytes of an append get written before ENOSPC.

    `fault(operation, name)`, where operation is the method's name, and `sync` for the moment a syncer runs.
    """

    def __init__(self, inner: Files, fault: Callable[[str, str], int | None]) -> None:
        self.inner = inner
        self.fault = fault

    def append(self, name: str, pieces: Sequence[Buffer]) -> None:
        """Whole, not at all, or in part."""
        written = self.fault("append", name)
        if written is None:
            self.inner.append(name, pieces)
            return
        self.inner.append(name, [b"".join(pieces)[:written]])
        raise OSError(errno.ENOSPC, "the disk is full", name)

    def read(self, name: str, position: int, size: int) -> Buffer:
        """Or a fault."""
        self.fault("read", name)
        return self.inner.read(name, position, size)

    def read_whole(self, name: str) -> bytes:
        """Or a fault."""
        self.fault("read_whole", name)
        return self.inner.read_whole(name)

    def size(self, name: str) -> int:
        """Or a fault."""
        self.fault("size", name)
        return self.inner.size(name)

    def truncate(self, name: str, size: int) -> None:
        """Or a fault."""
        self.fault("truncate", name)
        self.inner.truncate(name, size)

    def replace(self, name: str, data: bytes) -> None:
        """Or a fault."""
        self.fault("replace", name)
        self.inner.replace(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Or a fault."""
        self.fault("put", name)
        self.inner.put(name, data)

    def rename(self, name: str, new_name: str) -> None:
        """Or a fault."""
        self.fault("rename", name)
        self.inner.rename(name, new_name)

    def delete(self, name: str) -> None:
        """Or a fault."""
        self.fault("delete", name)
        self.inner.delete(name)

    def list(self, directory: str) -> list[str]:
        """Or a fault."""
        self.fault("list", directory)
        return self.inner.list(directory)

    def make_directory(self, name: str) -> None:
        """Or a fault."""
        self.fault("make_directory", name)
        self.inner.make_directory(name)

    def syncer(self, name: str) -> Callable[[], None]:
        """Or a fault, also later, when it runs."""
        self.fault("syncer", name)
        sync = self.inner.syncer(name)

        def run() -> None:
            self.fault("sync", name)
            sync()

        return run

    def sync_directory(self, name: str) -> None:
        """Or a fault."""
        self.fault("sync_directory", name)
        self.inner.sync_directory(name)

    def sync_everything(self) -> None:
        """Or a fault."""
        self.fault("sync_everything", "")
        self.inner.sync_everything()

    def close(self) -> None:
        """Never a fault."""
        self.inner.close()


def _nothing() -> None:
    """Memory has no disk to wait for."""


def _survivor(content: _Content, random: CrashRandom) -> _Content:
    """What is left of a file: what was synced, and of what was written since, none, all, a part, or a part with a hole of zeros."""
    data, durable = bytes(content.data), content.durable
    if not data.startswith(durable):
        # it was cut since: the cut, and what came after it, happened or did not
        survived = data if random.random() < 0.5 else durable
        return _Content(survived, survived)
    tail = bytearray(data[len(durable) :])
    choice = random.random()
    if choice < 0.25 or not tail:
        tail.clear()
    elif choice > 0.5:
        del tail[random.randrange(len(tail) + 1) :]
        if tail and choice > 0.75:
            start = random.randrange(len(tail)) // _SECTOR * _SECTOR
            hole = tail[start : start + _SECTOR]
            tail[start : start + _SECTOR] = bytes(len(hole))
    survived = durable + bytes(tail)
    return _Content(survived, survived)
