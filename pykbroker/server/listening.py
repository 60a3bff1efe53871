"""The server: doors that accept connections, as many as are allowed, and closes those that are overdue.

A socket that cannot be accepted for want of file descriptors is waited for, not mourned; nothing that a client does stops the listening.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pykbroker.clock import Clock, Timer
from pykbroker.context import Answer, Close
from pykbroker.later import Later
from pykbroker.limits import (
    CROWDED_COUNT_MS,
    MAX_RECEIVE_BYTES,
    MAX_UNSENT_BYTES,
    MAX_UNSENT_BYTES_FOR_FETCH,
    STOP_GRACE_MS,
    UNSENT_BYTES_PER_COUNT,
)
from pykbroker.protocol.wire import Buffer
from pykbroker.server.buffers import ReceiveBuffers
from pykbroker.server.connection import Connection
from pykbroker.session import Session

if TYPE_CHECKING:
    from pykbroker.broker import Broker, Listener

log = logging.getLogger("pykbroker.server")

_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_FAMILIES: frozenset[int] = frozenset({socket.AF_INET, socket.AF_INET6})
_PORTS_TRIED = 10
_ACCEPT_PAUSE_SECONDS = 0.2
_SWEEP_MS_LIMITS = (50, 5_000)
_EXPLAIN_AGAIN_AFTER_MS = 60_000
_MOST_EXPLAINED = 1_000
_WITHOUT_DIGITS = str.maketrans("", "", "0123456789-")


class Handler(Protocol):
    """What stands behind the sockets: the cluster."""

    room_for_records: int
    """How many bytes of records one Fetch may answer with."""

    def handle(self, session: Session, frame: Buffer, /) -> Answer | Later[Answer | Close | None] | Close | None:
        """One request."""


Setting = Callable[[str], int]
"""The value of a broker setting, asked each time: max.connections and its like may change while the broker runs."""


class ListenError(OSError):
    """An address that cannot be listened on; says in words which and why."""


class Server:
    """All doors of the brokers in this process, and the connections through them."""

    def __init__(
        self,
        cluster: Handler,
        *,
        setting: Setting,
        per_ip_overrides: Callable[[], dict[str, int]],
        waits: Clock,
        unexpected: Callable[[BaseException], None],
    ) -> None:
        self.cluster = cluster
        self.loop = asyncio.get_running_loop()
        self.buffers = ReceiveBuffers()
        self.connections: set[Connection] = set()
        self.starved: set[Connection] = set()
        self.unsent_bytes = 0
        """What waited for peers when it was last counted, and all that was written since then: never less than what waits."""
        self.count_unsent_at = UNSENT_BYTES_PER_COUNT
        self.unexpected = unexpected
        self._setting = setting
        self._per_ip_overrides = per_ip_overrides
        self._waits = waits
        self._doors: list[tuple[socket.socket, asyncio.Task[None]]] = []
        self._arriving: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._from_host: dict[str, int] = {}
        self._explained: dict[tuple[str, str], int] = {}
        self._sweep_timer: Timer | None = None
        self._crowd_timer: Timer | None = None
        self._crowded_since_ms: int | None = None
        self._everybody_left = asyncio.Event()

    # Doors.

    def bind(self, host: str, port: int) -> list[socket.socket]:
        """Sockets bound to every address of `host` ("" for all), all with the same port; 0 is a free one. Raises ListenError."""
        return bound_sockets(host, port, self._setting("socket.listen.backlog.size"))

    def open(self, broker: "Broker", listener: "Listener", sockets: list[socket.socket]) -> None:
        """Accept connections on `sockets`, which belong to `listener` of `broker`."""
        for door in sockets:
            task = self.loop.create_task(self._accept(door, broker, listener), name=f"accept on {door.getsockname()[:2]}")
            self._doors.append((door, task))
        if self._sweep_timer is None:
            self._sweep_later()

    async def close_doors(self) -> None:
        """Accept no more."""
        doors, self._doors = self._doors, []
        for _door, task in doors:
            task.cancel()
        await asyncio.gather(*(task for _door, task in doors), *self._arriving, return_exceptions=True)
        for door, _task in doors:
            door.close()

    async def stop(self, grace_ms: int = STOP_GRACE_MS) -> None:
        """Accept no more, let the answers under way leave, for a while, then close every connection."""
        await self.close_doors()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        if self._crowd_timer is not None:
            self._crowd_timer.cancel()
            self._crowd_timer = None
        for connection in list(self.connections):
            connection.drain()
        await self._wait_for_everybody(grace_ms)
        for connection in list(self.connections):
            connection.close()
        await self._wait_for_everybody(grace_ms // 2)
        for connection in list(self.connections):
            connection.abort()
        await self._wait_for_everybody(grace_ms)

    async def _wait_for_everybody(self, at_most_ms: int) -> None:
        if not self.connections:
            return
        self._everybody_left.clear()
        try:
            await asyncio.wait_for(self._everybody_left.wait(), at_most_ms / 1000)
        except TimeoutError:
            log.debug("%d connections are still open", len(self.connections))

    async def _accept(self, door: socket.socket, broker: "Broker", listener: "Listener") -> None:
        while True:
            await self._wait_for_room()
            try:
                accepted, address = await self.loop.sock_accept(door)
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._explain_once(
                        "", f"no connection can be accepted for now: {error.strerror}; raise the limit of open files (ulimit -n)"
                    )
                    await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                # Anything else is the fault of one connection that was gone before it was accepted.
                continue
            client_host = str(address[0])
            if self._is_one_too_many(client_host):
                accepted.close()
                continue
            self._from_host[client_host] = self._from_host.get(client_host, 0) + 1
            # In a task of its own: closing the doors must not cut a connection off in the middle of being made.
            welcome = self.loop.create_task(self._welcome(accepted, client_host, broker, listener))
            self._arriving.add(welcome)
            welcome.add_done_callback(self._arriving.discard)

    async def _wait_for_room(self) -> None:
        """As Kafka does at max.connections: the next connection waits unaccepted until another one closes."""
        while len(self.connections) + len(self._arriving) >= self._setting("max.connections"):
            self._explain_once("", f"max.connections={self._setting('max.connections')} are open: the next one waits until one closes")
            self._room.clear()
            await self._room.wait()

    def _is_one_too_many(self, client_host: str) -> bool:
        allowed = self._per_ip_overrides().get(client_host, self._setting("max.connections.per.ip"))
        if self._from_host.get(client_host, 0) < allowed:
            return False
        self._explain_once(client_host, f"is closed: {allowed} are open already, as many as max.connections.per.ip allows")
        return True

    async def _welcome(self, accepted: socket.socket, client_host: str, broker: "Broker", listener: "Listener") -> None:
        connection = None
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            local_host, local_port = accepted.getsockname()[:2]
            session = Session(
                broker=broker, listener_name=listener.name, local_host=local_host, local_port=local_port, client_host=client_host
            )
            connection = Connection(self, session, self._setting("socket.request.max.bytes"), self._waits.now_ms)
            await self.loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:
            log.debug("A connection from %s was gone before it stood: %s", client_host, error)
            if connection not in self.connections:
                accepted.close()
                self._one_less(client_host)

    # What connections say.

    def remember(self, connection: Connection) -> None:
        """It stands."""
        self.connections.add(connection)

    def forget(self, connection: Connection) -> None:
        """It is gone."""
        self.starved.discard(connection)
        self.connections.discard(connection)
        self._one_less(connection.session.client_host)
        self._room.set()
        if not self.connections:
            self._everybody_left.set()

    def _one_less(self, client_host: str) -> None:
        left = self._from_host[client_host] - 1
        if left:
            self._from_host[client_host] = left
        else:
            del self._from_host[client_host]

    def give_back(self, buffer: bytearray) -> None:
        """A connection is done with a buffer: one that waits for memory may read on."""
        self.buffers.give_back(buffer)
        if self.starved and self.buffers.lent_bytes < MAX_RECEIVE_BYTES:
            self.starved.pop().read_on()

    def explain(self, session: Session, sentence: str) -> None:
        """Say to the person who reads the log what is wrong with a connection."""
        self._explain_once(session.client_host, f"{sentence} (it came to port {session.local_port})")

    def _explain_once(self, host: str, sentence: str) -> None:
        """One line a minute for the same host and sentence, whatever its numbers: who floods us must not flood the log."""
        now_ms = self._waits.now_ms
        key = (host, sentence.translate(_WITHOUT_DIGITS))
        last_ms = self._explained.get(key)
        if last_ms is not None and now_ms - last_ms < _EXPLAIN_AGAIN_AFTER_MS:
            return
        if len(self._explained) >= _MOST_EXPLAINED:
            self._explained.clear()
        self._explained[key] = now_ms
        log.warning("%s", f"A connection from {host} {sentence}" if host else sentence)

    # What waits for peers.

    def count_unsent(self) -> None:
        """Count it, and tell the cluster how much a Fetch may add. Where it is too much, close whoever holds the most, until it no longer is."""
        waiting = {connection: connection.held_bytes for connection in self.connections}
        total = sum(waiting.values())
        while total > MAX_UNSENT_BYTES:
            largest = max(waiting, key=waiting.__getitem__)
            total -= waiting.pop(largest)
            self._close_in_crowd(largest)
        self.unsent_bytes = total
        self.count_unsent_at = total + UNSENT_BYTES_PER_COUNT
        self.cluster.room_for_records = max(0, MAX_UNSENT_BYTES_FOR_FETCH - total) // 3
        if total <= MAX_UNSENT_BYTES // 2:
            self._crowded_since_ms = None
        elif self._crowd_timer is None:
            since_ms = self._crowded_since_ms
            self._crowded_since_ms = self._waits.now_ms if since_ms is None else since_ms
            self._crowd_timer = self._waits.call_later(CROWDED_COUNT_MS, self._thin_out)

    def _thin_out(self) -> None:
        """It was crowded a moment ago: who takes too little goes, and it is counted again."""
        self._crowd_timer = None
        now_ms, since_ms = self._waits.now_ms, self._crowded_since_ms
        if since_ms is not None:
            for connection in list(self.connections):
                if connection.takes_too_little(now_ms, since_ms):
                    self._close_in_crowd(connection)
        self.count_unsent()

    def _close_in_crowd(self, connection: Connection) -> None:
        held, host = connection.held_bytes, connection.session.client_host
        self._explain_once(host, f"is closed: {held} bytes wait for it, and too much waits for all connections together")
        connection.abort()

    # Now and then.

    def _sweep_later(self) -> None:
        max_idle_ms = self._setting("connections.max.idle.ms")
        shortest, longest = _SWEEP_MS_LIMITS
        period_ms = longest if max_idle_ms < 0 else max(shortest, min(longest, max_idle_ms // 10))
        self._sweep_timer = self._waits.call_later(period_ms, self._sweep)

    def _sweep(self) -> None:
        now_ms = self._waits.now_ms
        max_idle_ms = self._setting("connections.max.idle.ms")
        for connection in list(self.connections):
            reason = connection.overdue(now_ms, max_idle_ms)
            if reason is not None:
                log.info("A connection from %s %s: closed", connection.session.client_host, reason)
                connection.abort()
        self._room.set()  # Those who wait for room look again: max.connections may have been raised.
        self._sweep_later()


def bound_sockets(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listening sockets on every address of `host`, all with one port; where it is 0, one that is free on all of them."""
    for _ in range(_PORTS_TRIED if port == 0 else 1):
        sockets, refused = _bound_sockets(_addresses(host, port), port, backlog)
        if refused is None and sockets:
            return sockets
        for bound in sockets:
            bound.close()
    if refused is None:
        raise ListenError(errno.EADDRNOTAVAIL, f"{host} is no address of this machine")
    raise ListenError(refused.errno, _why_not(host, port, refused))


def _bound_sockets(addresses: list[tuple[int, str]], port: int, backlog: int) -> tuple[list[socket.socket], OSError | None]:
    sockets: list[socket.socket] = []
    for family, address in addresses:
        try:
            bound = _bound(family, address, port, backlog)
        except OSError as error:
            if error.errno in _NO_SUCH_ADDRESS and len(addresses) > 1:
                continue  # "localhost" names ::1 also where the machine has no IPv6; the other address will do.
            return sockets, error
        sockets.append(bound)
        port = bound.getsockname()[1]
    return sockets, None


def _addresses(host: str, port: int) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(
            error.errno, f"Cannot listen on {host}:{port}: {host} is not a host name or address that is known here."
        ) from None
    usable = {(int(family), str(address[0])) for family, _, _, _, address in found if family in _FAMILIES}
    # IPv4 first: it is what the printed bootstrap.servers names.
    return sorted(usable, key=lambda item: item[0] != socket.AF_INET)


def _bound(family: int, host: str, port: int, backlog: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        if os.name == "posix":  # On Windows the option means something else: it lets two processes share the port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        bound.listen(max(backlog, 1))
    except OSError:
        bound.close()
        raise
    return bound


def _why_not(host: str, port: int, error: OSError) -> str:
    where = f"{host or 'all addresses'}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"Cannot listen on {where}: another process has that port; stop it, or choose another port (0 picks a free one)."
    if error.errno == errno.EACCES:
        return f"Cannot listen on {where}: ports below 1024 need privileges; choose another port."
    if error.errno in _NO_SUCH_ADDRESS:
        return f"Cannot listen on {where}: this machine has no such address."
    return f"Cannot listen on {where}: {error.strerror}."
