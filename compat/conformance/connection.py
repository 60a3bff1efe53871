"""One connection, raw: frames and bytes as a check wants them, and every exchange kept for the report."""

import math
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pykbroker.compat.expectations import NotServed, Unexpected
from pykbroker.compat.security import PLAINTEXT, Login, Security, log_in
from pykbroker.protocol import messages
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.messages import Message
from pykbroker.protocol.wire import Malformed

if TYPE_CHECKING:
    from pykbroker.protocol.messages import Request

R = TypeVar("R", bound=Message)

TIMEOUT_S = 30.0
LARGEST_ANSWER = 1 << 28
"""In bytes. Whoever claims to send more speaks another protocol: the first letters of HTTP are a number beyond it."""
LONGEST_SHOWN = 400
"""In bytes, of what cannot be read."""


class Exchange(NamedTuple):
    """What was sent and what came back, as it is shown."""

    sent: str
    answer: str
    response: Message | None = None


class Refused(Unexpected):
    """The login was not accepted."""

    def __init__(self, login: Login, why: Unexpected) -> None:
        super().__init__(why.field, why.expected, why.found, why.within)
        said = getattr(why.within, "error_message", None)
        self._sentence = f"{login.user} cannot log in by {login.mechanism}: " + (f"{why.found}, {said}" if said else f"{why}")

    def __str__(self) -> str:
        return self._sentence


class Connection:
    """A TCP connection that believes nothing. What `security` asks for is done first, and is not kept: there are passwords in it."""

    def __init__(
        self,
        host: str,
        port: int,
        keep: Callable[[Exchange], None],
        deadline: Callable[[], float] = lambda: math.inf,
        security: Security = PLAINTEXT,
        *,
        serves: Callable[[Message, int], bool] = lambda _request, _version: True,
    ) -> None:
        self._deadline = deadline
        connected = socket.create_connection((host, port), self._seconds_left(TIMEOUT_S))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = security.wrapped(connected, host)
        self._peeked = b""
        self._correlation_id = 0
        self._keep: Callable[[Exchange], None] = lambda _: None
        self._serves = serves
        if security.logs_in and security.login is not None:
            self._log_in(security.login)
        self._keep = keep

    def ask(self, request: "Request[R]", version: int) -> R:
        """Send a request and read its response. Raises Unexpected where the connection is closed instead; NotServed where the
        broker did not say that it serves this, and does not answer either.
        """
        self.send(request, version)
        return self.receive(request, version)

    def send(self, request: Message, version: int, client_id: str | None = "conformance") -> int:
        """Send a request; its correlation id."""
        self._correlation_id += 1
        self.send_bytes(b"".join(request_frame(request, version, self._correlation_id, client_id)))
        return self._correlation_id

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self._socket.settimeout(self._seconds_left(TIMEOUT_S))
        try:
            self._socket.sendall(data)
        except OSError:
            return  # the check will see at its next read that the connection is gone

    def receive(self, request: "Request[R]", version: int) -> R:
        """The next response, which is to be one to `request`. Raises as `ask` does."""
        try:
            return self._received(request, version)
        except (Unexpected, Malformed):
            if self._serves(request, version):
                raise
            raise NotServed(f"{API_BY_KEY[request.API_KEY].name} {version}") from None

    def receive_frame(self, timeout_s: float = TIMEOUT_S) -> bytes | None:
        """The next frame without its size; None where the connection is closed. Raises Unexpected when nothing comes."""
        head = self._read(4, timeout_s)
        if head is None:
            return None
        (size,) = struct.unpack(">i", head)
        if not 0 <= size <= LARGEST_ANSWER:
            raise Unexpected("the size in front of the answer", f"from 0 to {LARGEST_ANSWER}", head)
        return self._read(size, timeout_s)

    def is_closed(self, within_s: float = 5.0) -> bool:
        """Whether the broker closes the connection, without sending anything before."""
        if self._peeked:
            return False
        deadline = time.monotonic() + within_s
        self._socket.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def is_silent(self, for_s: float = 0.3) -> bool:
        """Whether nothing comes for a while, and the connection stays open."""
        self._socket.settimeout(for_s)
        try:
            self._peeked += self._socket.recv(1)
        except TimeoutError:
            return True
        except OSError:
            return False
        return False

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def _received(self, request: "Request[R]", version: int) -> R:
        sent = f"{type(request).__name__} v{version}: {request!r}"
        try:
            frame = self.receive_frame()
        except Unexpected as unexpected:
            self._keep(Exchange(sent, f"{unexpected.found}"))
            raise
        if frame is None:
            self._keep(Exchange(sent, "the connection was closed"))
            raise Unexpected("the connection", "an answer", "closed", request)
        response_class: type[R] = getattr(messages, type(request).__name__.removesuffix("Request") + "Response")
        try:
            correlation_id, response = read_response(response_class, version, frame)
        except Malformed:
            shown = frame[:LONGEST_SHOWN].hex(" ", -4)
            self._keep(Exchange(sent, f"{len(frame)} bytes that are no {response_class.__name__} v{version}: {shown}"))
            raise
        self._keep(Exchange(sent, f"{response!r}", response))
        if correlation_id > self._correlation_id:
            raise Unexpected("correlation_id", self._correlation_id, correlation_id)
        return response

    def _log_in(self, login: Login) -> None:
        try:
            log_in(self, login)
        except Unexpected as why:
            self.close()
            raise Refused(login, why) from why
        except BaseException:
            self.close()
            raise

    def _read(self, size: int, timeout_s: float) -> bytes | None:
        started = time.monotonic()
        pieces = [self._peeked[:size]]
        size -= len(pieces[0])
        self._peeked = self._peeked[len(pieces[0]) :]
        while size:
            self._socket.settimeout(self._seconds_left(max(0.001, started + timeout_s - time.monotonic())))
            try:
                piece = self._socket.recv(min(size, 1 << 20))
            except TimeoutError:
                raise Unexpected("the answer", f"within {time.monotonic() - started:.2g} s", "nothing") from None
            except OSError:
                return None
            if not piece:
                return None
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _seconds_left(self, wanted_s: float) -> float:
        """How long may be waited. Raises Unexpected where the check's own time is over, whatever it goes on asking."""
        left_s = self._deadline() - time.monotonic()
        if left_s <= 0:
            raise Unexpected("the check", "done in its time", "still asking")
        return min(wanted_s, left_s)


def raw_request(
    api_key: int, api_version: int, body: bytes = b"", *, correlation_id: int = 1, client_id: bytes | None = b"raw", tags: bytes = b""
) -> bytes:
    """A request byte by byte, its size in front; `tags` is the header's tag section (`NO_TAGS` where the version is flexible)."""
    name = struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id
    frame = struct.pack(">hhi", api_key, api_version, correlation_id) + name + tags + body
    return struct.pack(">i", len(frame)) + frame


NO_TAGS = b"\0"
