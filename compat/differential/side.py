"""One of the two brokers: connections to it, and what came back on each."""

import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import ClassVar

from pykbroker.protocol.messages import Message

CLOSED = "the connection is closed"
SILENT = "nothing is sent"


CONTROL = -1
"""The connection on which we ask for ourselves."""


@dataclass
class Side:
    """A broker under trial. `answers` are those of the sequence that runs, by the number of the step."""

    is_live: ClassVar[bool] = True
    """Whether there is a broker that can be asked anything at any time."""

    name: str
    host: str
    port: int
    answers: dict[int, Message] = field(default_factory=dict)
    _connections: "dict[int, _Connection]" = field(default_factory=dict)

    def send(self, connection: int, frame: bytes) -> None:
        """Send a frame; a connection that is not there is made."""
        if connection not in self._connections:
            self._connections[connection] = _Connection(self.host, self.port)
        self._connections[connection].send(frame)

    def receive(self, connection: int, wait_s: float) -> bytes | str | None:
        """The next frame without its size, `CLOSED`, or None where nothing came in time."""
        answer = self._connections[connection].receive(wait_s)
        if answer == CLOSED:
            self._connections.pop(connection).close()
        return answer

    def forget(self) -> None:
        """Close every connection and forget every answer: the sequence is over."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self.answers.clear()


class _Connection:
    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._read = bytearray()

    def send(self, frame: bytes) -> None:
        self._socket.setblocking(True)
        try:
            self._socket.sendall(frame)
        except OSError:
            return  # the next read sees that it is closed
        finally:
            self._socket.setblocking(False)

    def receive(self, wait_s: float) -> bytes | str | None:
        ends = time.monotonic() + wait_s
        while True:
            if len(self._read) >= 4:
                size = 4 + struct.unpack_from(">i", self._read)[0]
                if len(self._read) >= size:
                    frame = bytes(self._read[4:size])
                    del self._read[:size]
                    return frame
            if not select.select([self._socket], [], [], max(0.0, ends - time.monotonic()))[0]:
                return None
            try:
                piece = self._socket.recv(1 << 18)
            except OSError:
                return CLOSED
            if not piece:
                return CLOSED
            self._read += piece

    def close(self) -> None:
        self._socket.close()
