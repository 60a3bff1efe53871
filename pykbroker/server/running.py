"""A whole broker, put together: configuration, disk or memory, clock, threads, cluster and server; started, and stopped without a trace.

It is started when it can be used: the doors are opened last, when Produce, Fetch and JoinGroup can be served.
"""

import asyncio
import errno
import logging
import random
import time
from typing import TYPE_CHECKING, cast

from pykbroker.cluster import Cluster
from pykbroker.config import ConfigError, Configuration
from pykbroker.limits import STOP_GRACE_MS
from pykbroker.listeners import listeners_of
from pykbroker.server.listening import Server
from pykbroker.server.surroundings import SystemClock, Threads

if TYPE_CHECKING:
    import socket

    from pykbroker.broker import Listener
    from pykbroker.clock import Clock
    from pykbroker.storage.files import Files

log = logging.getLogger("pykbroker.server")


class StartError(Exception):
    """The broker cannot start; says in one sentence why, and what to do."""


class RunningBroker:
    """One broker on the running event loop. `clock`, where given, stands in for the machine's time in all that the broker remembers."""

    def __init__(self, configuration: Configuration, files: "Files", *, clock: "Clock | None" = None, seed: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.threads = Threads(loop)
        self._time_of_day = SystemClock(loop, self._unexpected, time.time_ns)
        self._passing_time = SystemClock(loop, self._unexpected, time.monotonic_ns)
        self._listeners = listeners_of(configuration)
        self.cluster = Cluster(
            clock=clock or self._time_of_day,
            waits=self._passing_time,
            files=files,
            config=configuration,
            random=random.SystemRandom() if seed is None else random.Random(seed),  # noqa: S311 - a test's own seed
            offload=self.threads,
        )
        self.server = Server(
            self.cluster,
            setting=configuration.integer,
            per_ip_overrides=lambda: _per_ip_overrides(configuration),
            waits=self._passing_time,
            unexpected=self._unexpected,
        )

    @property
    def bootstrap(self) -> str:
        """What goes into a client as bootstrap.servers, from this machine."""
        return ",".join(_address(listener) for listener in self.cluster.broker.listeners)

    async def start(self) -> None:
        """Bind, recover, serve. Raises StartError; then nothing is left open."""
        bound: list[tuple[Listener, list[socket.socket]]] = []
        try:
            for listener in self._listeners:
                sockets = self.server.bind(listener.host, listener.port)
                listener.port = sockets[0].getsockname()[1]
                bound.append((listener, sockets))
            self.cluster.broker.listeners.extend(listener for listener, _ in bound)
            self.cluster.start()
        except BaseException:
            for _, sockets in bound:
                for door in sockets:
                    door.close()
            self._stop_clocks()
            await self.threads.stop()
            raise
        for listener, sockets in bound:
            self.server.open(self.cluster.broker, listener, sockets)

    async def stop(self, grace_ms: int = STOP_GRACE_MS) -> None:
        """Answer what is under way, write everything down, let go of everything."""
        await self.server.stop(grace_ms)
        await self.threads.stop()
        self._passing_time.stop()  # Nobody is there any more who waits; what is left of work in slices must not touch files that are closed.
        try:
            self.cluster.stop()
        finally:
            await self.threads.stop()
            self._stop_clocks()

    def _stop_clocks(self) -> None:
        self._time_of_day.stop()
        self._passing_time.stop()

    def _unexpected(self, error: BaseException) -> None:
        log.error("An unexpected error: please report it", exc_info=error)
        self.cluster.unexpected_errors.append(error)


def open_data_directory(path: str) -> "Files":
    """The files of a data directory, which is made where it is not there, and held for this process alone. Raises StartError."""
    from pykbroker.storage.files import AlreadyLocked, OsFiles

    try:
        return OsFiles(path)
    except AlreadyLocked:
        raise StartError(
            f"The data directory {path} is in use by another process; stop that one, or choose another directory with --data-dir."
        ) from None
    except OSError as error:
        reasons = {
            errno.EACCES: "it may not be written by this user",
            errno.EPERM: "it may not be written by this user",
            errno.EROFS: "it is on a read-only file system",
            errno.ENOTDIR: "a part of the path is a file",
            errno.EEXIST: "it is a file",
            errno.ENOSPC: "the disk is full",
        }
        reason = reasons.get(error.errno or 0, error.strerror)
        raise StartError(f"The data directory {path} cannot be used: {reason}; choose another one with --data-dir.") from None


def _per_ip_overrides(configuration: Configuration) -> dict[str, int]:
    """`max.connections.per.ip.overrides`: HOST:COUNT,…"""
    text = cast("str", configuration.broker("max.connections.per.ip.overrides"))
    pairs = (pair.rpartition(":") for pair in text.split(",")) if text else ()
    return {host.strip(): int(count) for host, _, count in pairs}


def _address(listener: "Listener") -> str:
    host = listener.advertised_host or listener.host
    if host in {"", "0.0.0.0", "::", "localhost"}:  # noqa: S104 - a name for all addresses, not a binding
        host = "127.0.0.1" if host != "::" else "::1"
    port = listener.advertised_port or listener.port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


__all__ = ["ConfigError", "RunningBroker", "StartError", "open_data_directory"]
