"""The seam to the disk: the dozen operations a log needs. No other module of the broker touches files.

Names are relative, with `/` between directory and file. Whatever goes wrong is an OSError. `OsFiles` keeps a bounded number of files open;
`memory_files.py` has the implementations that live in memory, forget what was not synced, or fail when they are told to.

All methods are for the broker's own thread, but for `replace`, `sync_directory` and what `syncer` gives: those may run on any.
"""

# ruff: noqa: PTH102, PTH103, PTH105, PTH108, PTH116, PTH120, PTH208

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from pykbroker.protocol.wire import Buffer
from pykbroker.storage.read_buffers import SMALLEST as LARGE_READ
from pykbroker.storage.read_buffers import ReadBuffers

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

try:
    import resource
except ImportError:  # nor limits
    resource = None  # type: ignore[assignment]

_O_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_preadv = getattr(os, "preadv", None)
"""Not on every system."""

_MOST_PIECES = 512
"""writev takes no more than IOV_MAX (1024 everywhere that we know of)."""


class AlreadyLocked(OSError):  # noqa: N818
    """Another process has this data directory."""


class Files(Protocol):
    """What a log asks of a disk."""

    def append(self, name: str, pieces: Sequence[Buffer]) -> None:
        """Write all pieces behind the end of a file, which is made if it is not there. On an error some of them may have been written."""

    def read(self, name: str, position: int, size: int) -> Buffer:
        """At most `size` bytes from `position`; fewer at the end of the file."""

    def read_whole(self, name: str) -> bytes:
        """All of a small file that is read once. FileNotFoundError where it is not there."""

    def size(self, name: str) -> int:
        """How long a file is. FileNotFoundError where it is not there."""

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to `size` bytes."""

    def replace(self, name: str, data: bytes) -> None:
        """Give a file new content, whole or not at all, and durably so: a temporary file, synced, renamed, its directory synced."""

    def put(self, name: str, data: bytes) -> None:
        """Give a file new content, whole or not at all as long as the power stays on; what makes it durable comes later."""

    def rename(self, name: str, new_name: str) -> None:
        """Rename a file or a directory."""

    def delete(self, name: str) -> None:
        """Delete a file, or a directory with all that is in it; harmless where it is not there."""

    def list(self, directory: str) -> list[str]:
        """The names within a directory, sorted; none where there is no such directory."""

    def make_directory(self, name: str) -> None:
        """Make a directory; harmless where it is there."""

    def syncer(self, name: str) -> Callable[[], None]:
        """A function, to be called once and on any thread, after which what has been appended so far survives a power loss."""

    def sync_directory(self, name: str) -> None:
        """Make names made, renamed and deleted in a directory survive a power loss."""

    def sync_everything(self) -> None:
        """Make all that was done so far survive a power loss, in one go: for a stop after which thousands of files would have to be synced."""

    def close(self) -> None:
        """Let go of everything, the lock included."""


class OsFiles:
    """Files below a directory of the machine, which this process has for itself."""

    def __init__(self, root: str, most_open: int | None = None) -> None:
        self.root = root
        os.makedirs(root, mode=0o700, exist_ok=True)
        self._open: OrderedDict[str, int] = OrderedDict()
        self._open_in: dict[str, set[str]] = {}
        """What is open, by directory: taking one away costs what is open there."""
        self._read_buffers = ReadBuffers()
        self._most_open = most_open or _default_most_open()
        self._lock = self._take_lock()

    def append(self, name: str, pieces: Sequence[Buffer]) -> None:
        """One writev; more where the system takes fewer bytes than it was given."""
        descriptor = self._descriptor(name)
        if len(pieces) == 1:
            size = len(pieces[0])
            written = os.write(descriptor, pieces[0])
        else:
            size = sum(len(piece) for piece in pieces)
            written = os.writev(descriptor, pieces[:_MOST_PIECES])
        if written < size:
            self._append_rest(descriptor, pieces, written)

    def _append_rest(self, descriptor: int, pieces: Sequence[Buffer], written: int) -> None:
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            written = os.write(descriptor, rest)
            if written == 0:
                raise OSError(errno.EIO, "nothing was written")
            rest = rest[written:]

    def read(self, name: str, position: int, size: int) -> Buffer:
        """One pread; more only if the system gives fewer bytes than are there."""
        descriptor = self._descriptor(name, create=False)
        if size < LARGE_READ or _preadv is None:
            return os.pread(descriptor, size, position)
        view = memoryview(self._read_buffers.take(size))[:size]
        return view[: _preadv(descriptor, [view], position)].toreadonly()

    def read_whole(self, name: str) -> bytes:
        """Its handle is not kept: whoever reads a checkpoint does not come back for it."""
        descriptor = os.open(self._path(name), os.O_RDONLY | _O_FLAGS)
        try:
            pieces = [os.read(descriptor, 64 * 1024)]
            while len(pieces[-1]) == 64 * 1024:
                pieces.append(os.read(descriptor, 64 * 1024))
        finally:
            os.close(descriptor)
        return b"".join(pieces)

    def size(self, name: str) -> int:
        """Asked of the system each time; a log keeps count itself."""
        return os.stat(self._path(name)).st_size

    def truncate(self, name: str, size: int) -> None:
        """Cut a file."""
        os.ftruncate(self._descriptor(name, create=False), size)

    def replace(self, name: str, data: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the directory."""
        path = self._path(name)
        self._put(name, path, data, sync=os.fsync)
        _sync_directory(os.path.dirname(path))

    def put(self, name: str, data: bytes) -> None:
        """Temporary file, rename."""
        self._put(name, self._path(name), data, sync=_not_now)

    def _put(self, name: str, path: str, data: bytes, sync: Callable[[int], None]) -> None:
        temporary = path + ".tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _O_FLAGS, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            sync(descriptor)
        finally:
            os.close(descriptor)
        self._close(name)
        os.replace(temporary, path)

    def rename(self, name: str, new_name: str) -> None:
        """Open handles of both names are closed first."""
        self._forget(name)
        self._close(new_name)
        os.replace(self._path(name), self._path(new_name))

    def delete(self, name: str) -> None:
        """A file or a whole directory."""
        path = self._path(name)
        self._forget(name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            import shutil  # costs milliseconds that a start does without

            shutil.rmtree(path)

    def list(self, directory: str) -> list[str]:
        """Sorted."""
        try:
            return sorted(os.listdir(self._path(directory)))
        except FileNotFoundError:
            return []

    def make_directory(self, name: str) -> None:
        """For the owner alone (0700)."""
        try:
            os.mkdir(self._path(name), 0o700)
        except FileExistsError:
            return

    def syncer(self, name: str) -> Callable[[], None]:
        """It has a handle of its own, so that nobody closes it under a thread that syncs."""
        descriptor = os.dup(self._descriptor(name, create=False))
        sync = getattr(os, "fdatasync", os.fsync)

        def run() -> None:
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)

        return run

    def sync_directory(self, name: str) -> None:
        """Fsync of the directory itself."""
        _sync_directory(self._path(name))

    def sync_everything(self) -> None:
        """By syncfs where the system has it: it reports what could not be written, which sync does not."""
        syncfs = _syncfs()
        if syncfs is None:
            os.sync()
            return
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            syncfs(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close all handles; the lock goes last."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._open_in.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _descriptor(self, name: str, *, create: bool = True) -> int:
        descriptor = self._open.get(name)
        if descriptor is not None:
            self._open.move_to_end(name)
            return descriptor
        if len(self._open) >= self._most_open:
            self._close_least_used()
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0) | _O_FLAGS
        descriptor = os.open(self._path(name), flags, 0o600)
        self._open[name] = descriptor
        self._open_in.setdefault(_directory(name), set()).add(name)
        return descriptor

    def _close_least_used(self) -> None:
        name, descriptor = self._open.popitem(last=False)
        directory = _directory(name)
        self._open_in[directory].discard(name)
        if not self._open_in[directory]:
            del self._open_in[directory]
        os.close(descriptor)

    def _close(self, name: str) -> None:
        """May run on any thread, as `replace` does: it takes no directory out of `_open_in`, where another file of it may just be opened."""
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            self._open_in.get(_directory(name), set()).discard(name)
            os.close(descriptor)

    def _forget(self, name: str) -> None:
        """Close what is open of a file, or of all files in a directory."""
        self._close(name)
        for known in list(self._open_in.get(name, ())):
            self._close(known)
        self._open_in.pop(name, None)

    def _take_lock(self) -> int | None:
        descriptor = os.open(self._path(".lock"), os.O_RDWR | os.O_CREAT | _O_FLAGS, 0o600)
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise AlreadyLocked(errno.EWOULDBLOCK, f"the data directory {self.root} is in use by another process") from None
        return descriptor


def _directory(name: str) -> str:
    return name.rpartition("/")[0]


def _default_most_open() -> int:
    """Half of what the process may open: the rest is for sockets."""
    if resource is None:
        return 512
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, min(4096, soft // 2))


def _syncfs() -> Callable[[int], None] | None:
    import ctypes

    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError, TypeError):
        return None

    def syncfs(descriptor: int) -> None:
        if function(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


def _not_now(_descriptor: int) -> None:
    """Made durable later, with everything else."""


def _sync_directory(path: str) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
