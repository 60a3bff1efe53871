"""The same frames over a real socket: in pieces of one, two and three bytes, many in a row, broken off in the middle; a bystander must not notice.

What a peer sends is its own affair: the broker may answer, wait, or close the connection, but every answer that comes is whole, and in the order of the requests.
"""

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator

from pykbroker.protocol.header import read_request_header, request_frame
from pykbroker.protocol.messages import ApiVersionsRequest
from pykbroker.protocol.wire import Malformed
from pykbroker.testing import KafkaBroker
from tests.torture.fuzz_mutations import mutated
from tests.torture.fuzz_requests import TOPICS, Known, Requests

PATIENCE_S = 0.3
"""A group may keep a member waiting; the attacker then leaves."""
BYSTANDER_LIMIT_MS = 500


def attack_over_tcp(frames: int, seed: int, tell: Callable[[str], None]) -> list[str]:
    """What is wrong with a broker after so many frames; its own unexpected errors are raised when it stops."""
    chance = random.Random(seed)
    worst_ms = 0.0
    with KafkaBroker(topics=dict.fromkeys(TOPICS, 3)) as broker:
        host, _, port = broker.bootstrap.rpartition(":")
        address = (host, int(port))
        requests = Requests(chance, Known(), lambda: 1_700_000_000_000, {"max_wait_ms": 1, "rebalance_timeout_ms": 1, "timeout_ms": 100})
        source = _frames(chance, requests)
        sent = closed = answers = 0
        with _connection(address) as bystander:
            while sent < frames:
                batch = [next(source) for _ in range(chance.choice([1, 1, 1, 2, 2, 3, 5, 20]))]
                sent += len(batch)
                got, was_closed = _one_connection(chance, address, batch)
                answers += got
                closed += was_closed
                worst_ms = max(worst_ms, _ask_api_versions(bystander))
    tell(
        f"{sent} frames over TCP: {answers} answers, {closed} connections closed by the broker; a bystander waited {worst_ms:.1f} ms at most"
    )
    if answers < frames // 10:
        return [f"hardly anything was answered over TCP ({answers} of {sent}); this run shows nothing"]
    return [f"a bystander waited for {worst_ms:.0f} ms"] if worst_ms > BYSTANDER_LIMIT_MS else []


def _frames(chance: random.Random, requests: Requests) -> Iterator[bytes]:
    from tests.torture.fuzz import Frames

    source = Frames(chance, requests)
    while True:
        frame = source.next()
        payload = struct.pack(">i", len(frame)) + frame
        if chance.random() < 0.02:
            payload = mutated(chance, payload)[:2000]  # then the size lies as well
        if chance.random() < 0.02:
            payload = payload[: chance.randrange(len(payload) + 1)]
        yield payload


def _one_connection(chance: random.Random, address: tuple[str, int], payloads: list[bytes]) -> tuple[int, bool]:
    """Send them, read what comes; (answers, whether the broker closed)."""
    with _connection(address) as peer:
        size = chance.choice([1, 2, 3, 1 << 20])
        stream = b"".join(payloads)
        if size < 1 << 20:
            stream = stream[:6000]
        try:
            for at in range(0, len(stream), size):
                peer.sendall(stream[at : at + size])
            if chance.random() < 0.1:
                return 0, False
            if chance.random() < 0.3:
                peer.shutdown(socket.SHUT_WR)
            return _read_answers(peer, _framed(stream))
        except OSError:
            return 0, True


def _framed(stream: bytes) -> list[bytes]:
    """The frames as the broker must see them: where a size lied, the next frame begins somewhere else than it was meant to."""
    frames = []
    at = 0
    while at + 4 <= len(stream):
        size = int.from_bytes(stream[at : at + 4], signed=True)
        if size <= 0 or at + 4 + size > len(stream):
            break
        frames.append(stream[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def _read_answers(peer: socket.socket, frames: list[bytes]) -> tuple[int, bool]:
    """Whole answers, whose correlation ids come in the order of the requests."""
    expected = iter([_correlation_id(frame) for frame in frames])
    count = 0
    peer.settimeout(PATIENCE_S)
    while count < len(frames):
        try:
            head = _exactly(peer, 4)
            if head is None:
                return count, True
            body = _exactly(peer, int.from_bytes(head))
        except (TimeoutError, ConnectionError):
            return count, False
        if body is None:
            raise AssertionError("an answer was cut off")
        correlation_id = int.from_bytes(body[:4], signed=True)
        if correlation_id not in expected:  # goes on where the last one was found
            raise AssertionError("an answer that nobody asked for, or out of order")
        count += 1
    return count, False


def _correlation_id(frame: bytes) -> int | None:
    try:
        return read_request_header(frame)[0].correlation_id
    except Malformed:
        return None


def _exactly(peer: socket.socket, size: int) -> bytes | None:
    """So many bytes; None where the stream ends before the first of them."""
    read = b""
    while len(read) < size:
        piece = peer.recv(size - len(read))
        if not piece:
            if read:
                raise AssertionError("an answer was cut off")
            return None
        read += piece
    return read


@contextlib.contextmanager
def _connection(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=10) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield peer


def _ask_api_versions(peer: socket.socket) -> float:
    """How long the bystander waits for a simple answer, in ms."""
    request = ApiVersionsRequest(client_software_name="bystander", client_software_version="1")
    started = time.monotonic()
    peer.sendall(b"".join(request_frame(request, 3, 7)))
    head = _exactly(peer, 4)
    assert head is not None
    assert _exactly(peer, int.from_bytes(head)) is not None
    return (time.monotonic() - started) * 1000
