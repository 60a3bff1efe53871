"""Files that live in memory: for a broker without a disk, and for tests that pull the plug or break the disk at its n-th operation.

`MemoryFiles.crash()` gives what a power loss leaves: all that was synced, and of the rest whatever the random source lets survive.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Protocol

from pykbroker.protocol.wire import Buffer


class CrashRandom(Protocol):
    """What `crash` needs of `random.Random(seed)`."""

    def random(self) -> float:
        """From 0 to below 1."""

    def randrange(self, stop: int, /) -> int:
        """From 0 to below `stop`."""


class MemoryFiles:
    """The files of one data directory, in memory. With `crashable` it remembers what would survive a power loss (each sync copies the file)."""

    def __init__(self, *, crashable: bool = False) -> None:
        self._files: dict[str, bytearray] = {}
        self._directories: set[str] = {""}
        self._crashable = crashable
        self._durable: dict[str, bytes] = {}
        """What each file held when it was last synced; only names whose directory was synced, or that were synced themselves."""

    def append(self, name: str, pieces: Sequence[Buffer]) -> None:
        """Behind the end."""
        data = self._files.get(name)
        if data is None:
            self._require_directory(name)
            data = self._files[name] = bytearray()
        for piece in pieces:
            data += piece

    def read(self, name: str, position: int, size: int) -> Buffer:
        """A copy: the file may grow while it is being sent."""
        return bytes(memoryview(self._existing(name))[position : position + size])

    def size(self, name: str) -> int:
        """In bytes."""
        return len(self._existing(name))

    def truncate(self, name: str, size: int) -> None:
        """Cut."""
        del self._existing(name)[size:]

    def replace(self, name: str, data: bytes) -> None:
        """Durable at once."""
        self._require_directory(name)
        self._files[name] = bytearray(data)
        if self._crashable:
            self._durable[name] = data

    def rename(self, name: str, new_name: str) -> None:
        """A file, or a directory."""
        if name in self._files:
            self._files[new_name] = self._files.pop(name)
        elif name in self._directories:
            self._directories = {_moved(known, name, new_name) for known in self._directories}
            self._files = {_moved(known, name, new_name): data for known, data in self._files.items()}
        else:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        if self._crashable:
            # journalling file systems keep a rename and what was synced before it together
            self._durable = {_moved(known, name, new_name): data for known, data in self._durable.items()}

    def delete(self, name: str) -> None:
        """A file, or a directory with all in it."""
        for known in [known for known in self._files if known == name or known.startswith(name + "/")]:
            del self._files[known]
            self._durable.pop(known, None)
        self._directories = {known for known in self._directories if known != name and not known.startswith(name + "/")}

    def list(self, directory: str) -> list[str]:
        """Sorted names."""
        prefix = directory + "/" if directory else ""
        names = {known[len(prefix) :].partition("/")[0] for known in [*self._files, *self._directories] if known.startswith(prefix)}
        return sorted(names - {""})

    def make_directory(self, name: str) -> None:
        """Harmless where it is there."""
        self._directories.add(name)

    def syncer(self, name: str) -> Callable[[], None]:
        """What is in the file when this is called survives a crash after the function has run."""
        data = self._existing(name)
        if not self._crashable:
            return lambda: None
        copy = bytes(data)

        def run() -> None:
            self._durable[name] = copy

        return run

    def sync_directory(self, name: str) -> None:
        """Names in it are durable from now on, though their files may come back empty."""
        if self._crashable:
            prefix = name + "/" if name else ""
            for known in self._files:
                if known.startswith(prefix):
                    self._durable.setdefault(known, b"")

    def close(self) -> None:
        """Nothing to let go of: the same object may be opened again, as a disk may."""

    def crash(self, random: CrashRandom) -> "MemoryFiles":
        """What is found after a power loss now; the files themselves stay as they are."""
        found = MemoryFiles(crashable=True)
        found._directories = set(self._directories)
        for name, data in self._files.items():
            durable = self._durable.get(name)
            if durable is None and random.random() < 0.5:
                continue
            content = _torn(bytes(data), durable or b"", random)
            found._files[name] = bytearray(content)
            found._durable[name] = content
        return found

    def _existing(self, name: str) -> bytearray:
        try:
            return self._files[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", name) from None

    def _require_directory(self, name: str) -> None:
        directory = name.rpartition("/")[0]
        if directory not in self._directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", directory)


class FaultyFiles:
    """Any Files, with a `fault` asked before each operation: it may raise, or answer how many bytes of an append get written before EIO.

    `fault(operation, name)`, where operation is the method's name, and `sync` for the moment a syncer runs.
    """

    def __init__(self, inner: MemoryFiles, fault: Callable[[str, str], int | None]) -> None:
        self.inner = inner
        self.fault = fault

    def append(self, name: str, pieces: Sequence[Buffer]) -> None:
        """Whole, not at all, or in part."""
        written = self.fault("append", name)
        if written is None:
            self.inner.append(name, pieces)
            return
        self.inner.append(name, [b"".join(pieces)[:written]])
        raise OSError(errno.EIO, "the write was cut short", name)

    def read(self, name: str, position: int, size: int) -> Buffer:
        """Or a fault."""
        self.fault("read", name)
        return self.inner.read(name, position, size)

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

    def close(self) -> None:
        """Never a fault."""
        self.inner.close()


def _moved(known: str, name: str, new_name: str) -> str:
    if known == name or known.startswith(name + "/"):
        return new_name + known[len(name) :]
    return known


def _torn(data: bytes, durable: bytes, random: CrashRandom) -> bytes:
    """What is left of a file: its synced content, then some, all or none of what came after, perhaps with a hole of zeros."""
    if not data.startswith(durable):
        return data if random.random() < 0.5 else durable
    tail = bytearray(data[len(durable) :])
    choice = random.random()
    if choice < 0.25 or not tail:
        return durable
    if choice < 0.5:
        return data
    kept = tail[: random.randrange(len(tail) + 1)]
    if kept and choice > 0.75:
        start = random.randrange(len(kept))
        end = min(len(kept), start + 512)
        kept[start:end] = bytes(end - start)
    return durable + bytes(kept)
