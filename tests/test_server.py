"""The server on real sockets, with a stand-in for the cluster that answers as the first byte of a frame says."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import struct
from collections.abc import Callable

import pytest

from pykbroker.broker import Broker, Listener
from pykbroker.clock import VirtualClock
from pykbroker.context import Close
from pykbroker.later import Later
from pykbroker.limits import (
    MAX_PIPELINED_BYTES_PER_CONNECTION,
    MAX_UNSENT_BYTES_PER_CONNECTION,
    SMALLEST_RECEIVE_BUFFER,
    STALLED_READER_TIMEOUT_MS,
    UNFINISHED_FRAME_TIMEOUT_MS,
)
from pykbroker.server.buffers import ReceiveBuffers, nobody_looks_at
from pykbroker.server.listening import ListenError, Server, bound_sockets
from pykbroker.storage.read_buffers import ReadBuffers

LOOPS = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


LARGE_READ = 300_000
TOO_LARGE = struct.pack(">i", 200_001)


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


class Scripted:
    """Answers: e echo, l later, o later and overlapping, n nothing, c close, C close after an answer, x a bug, b<size> that many bytes,
    p<number> a large read, full of that number."""

    def __init__(self) -> None:
        self.handled: list[bytes] = []
        self.waiting: dict[bytes, Later] = {}
        self.sessions = []
        self.kept: list[memoryview] = []
        self.reads = ReadBuffers()

    def handle(self, session, frame):
        if session not in self.sessions:
            self.sessions.append(session)
        request = bytes(frame)
        self.handled.append(request[:40])
        match request[:1]:
            case b"e":
                return [framed(request)]
            case b"k":
                self.kept.append(frame)
                return [framed(request)]
            case b"l" | b"o":
                later = Later()
                later.overlaps = request[:1] == b"o"
                self.waiting[request] = later
                return later
            case b"n":
                return None
            case b"c":
                return Close("told to")
            case b"C":
                return Close("told to", after=[framed(b"bye")])
            case b"b":
                return [struct.pack(">i", int(request[1:])), bytes(int(request[1:]))]
            case b"p":
                view = memoryview(self.reads.take(LARGE_READ))[:LARGE_READ]
                view[:] = request[1:2] * LARGE_READ
                return [struct.pack(">i", LARGE_READ), view.toreadonly()]
        raise RuntimeError("a bug")

    def settle(self, request: bytes, answer: object = ...) -> None:
        self.waiting.pop(request).settle([framed(request)] if answer is ... else answer)


class Bench:
    def __init__(self) -> None:
        self.cluster = Scripted()
        self.waits = VirtualClock()
        self.settings = {
            "socket.listen.backlog.size": 50,
            "max.connections": 1000,
            "max.connections.per.ip": 1000,
            "socket.request.max.bytes": 104857600,
            "connections.max.idle.ms": 600000,
        }
        self.overrides: dict[str, int] = {}
        self.errors: list[BaseException] = []
        self.peers: list[Peer] = []
        self.server = Server(
            self.cluster,
            setting=self.settings.__getitem__,
            per_ip_overrides=lambda: self.overrides,
            waits=self.waits,
            unexpected=self.errors.append,
        )

    def listen(self, host: str = "127.0.0.1") -> int:
        sockets = self.server.bind(host, 0)
        self.port = sockets[0].getsockname()[1]
        self.server.open(Broker(1), Listener("PLAINTEXT", host, self.port), sockets)
        return self.port

    async def connect(self, host: str = "127.0.0.1") -> "Peer":
        peer = Peer(*await asyncio.open_connection(host, self.port, limit=2**26))
        self.peers.append(peer)
        return peer


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *payloads: bytes) -> None:
        self.writer.write(b"".join(map(framed, payloads)))

    async def read(self) -> bytes:
        size = int.from_bytes(await asyncio.wait_for(self.reader.readexactly(4), 10))
        return await asyncio.wait_for(self.reader.readexactly(size), 10)

    async def ask(self, payload: bytes) -> bytes:
        self.send(payload)
        return await self.read()

    async def is_closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def until(condition) -> None:
    """The event loop goes on until something is so; a deadline turns a hang into a failure."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds, also of the server's own innards
            await asyncio.sleep(0)


@pytest.fixture(params=list(LOOPS))
def run(request) -> Callable[[object], None]:
    """Runs a test's coroutine with a Bench, on each event loop there is; afterwards nothing is left open."""

    def run_on_loop(test) -> None:
        async def whole() -> None:
            bench = Bench()
            try:
                async with asyncio.timeout(60):
                    await test(bench)
            finally:
                await bench.server.stop(grace_ms=100)
                for peer in bench.peers:
                    await peer.close()
            assert not bench.server.connections
            assert bench.server.buffers.lent_bytes == 0
            assert bench.server._from_host == {}

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(whole())
        gc.collect()

    return run_on_loop


def test_pipelined_requests_are_answered_in_order(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        requests = [b"e%d" % number for number in range(500)]
        peer.send(*requests)
        assert [await peer.read() for _ in requests] == requests

    run(test)


def test_frames_arriving_byte_by_byte_and_of_every_size_come_out_whole(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        for byte in framed(b"e byte by byte"):
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert await peer.read() == b"e byte by byte"
        sizes = [1, 65531, 65532, 65533, 65537, 3, 300_000, 1_048_572, 1_048_577, 5, 5_000_000, 70_000, 70_000, 1]
        requests = [b"e" + os.urandom(size - 1) for size in sizes]
        for request in requests:
            assert await peer.ask(request) == request
        peer.send(*requests)
        for request in requests:
            assert await peer.read() == request

    run(test)


def test_one_request_at_a_time_and_a_later_holds_back_those_behind_it(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        peer.send(b"l1", b"e2", b"l3", b"e4")
        await until(lambda: b"l1" in bench.cluster.handled)
        other = await bench.connect()
        assert await other.ask(b"e other") == b"e other"
        assert b"e2" not in bench.cluster.handled
        bench.cluster.settle(b"l1")
        assert [await peer.read(), await peer.read()] == [b"l1", b"e2"]
        assert b"e4" not in bench.cluster.handled
        bench.cluster.settle(b"l3")
        assert [await peer.read(), await peer.read()] == [b"l3", b"e4"]

    run(test)


def test_an_overlapping_later_lets_the_next_be_handled_but_not_answered_first(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        peer.send(b"o1", b"o2", b"e3", b"n", b"l4", b"e5")
        await until(lambda: b"l4" in bench.cluster.handled)
        assert b"e5" not in bench.cluster.handled
        bench.cluster.settle(b"l4")
        bench.cluster.settle(b"o2")
        assert b"e5" not in bench.cluster.handled
        bench.cluster.settle(b"o1")
        assert [await peer.read() for _ in range(5)] == [b"o1", b"o2", b"e3", b"l4", b"e5"]

    run(test)


def test_a_settled_nothing_sends_nothing(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        peer.send(b"l1", b"e2")
        await until(lambda: b"l1" in bench.cluster.waiting)
        bench.cluster.settle(b"l1", None)
        assert await peer.read() == b"e2"

    run(test)


@pytest.mark.parametrize(("request_", "answers"), [(b"c", []), (b"C", [b"bye"])])
def test_what_came_before_a_close_is_answered_and_what_comes_after_is_not_handled(run, request_, answers) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        peer.send(b"o0", b"e1", request_, b"e2")
        await until(lambda: request_ in bench.cluster.handled)
        bench.cluster.settle(b"o0")
        assert [await peer.read() for _ in range(2 + len(answers))] == [b"o0", b"e1", *answers]
        assert await peer.is_closed()
        assert b"e2" not in bench.cluster.handled

    run(test)


def test_a_half_closed_peer_gets_its_answers_and_a_lost_one_drops_them(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        peer.send(b"l1", b"e2")
        peer.writer.write_eof()
        await until(lambda: b"l1" in bench.cluster.waiting)
        lost = await bench.connect()
        lost.send(b"l3")
        await until(lambda: b"l3" in bench.cluster.waiting)
        gone = []
        bench.cluster.sessions[-1].on_close.append(lambda: gone.append(True))
        lost_socket = lost.writer.get_extra_info("socket")
        lost_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lost.writer.transport.abort()  # A reset, not an end of sending.
        await until(lambda: gone)
        bench.cluster.settle(b"l3")
        bench.cluster.settle(b"l1")
        assert [await peer.read(), await peer.read()] == [b"l1", b"e2"]
        assert await peer.is_closed()
        assert bench.errors == []

    run(test)


def test_a_bug_closes_its_connection_and_is_reported_and_others_go_on(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer, other = await bench.connect(), await bench.connect()
        assert await other.ask(b"e1") == b"e1"
        peer.send(b"e1", b"x", b"e2")
        assert await peer.read() == b"e1"
        assert await peer.is_closed()
        assert [str(error) for error in bench.errors] == ["a bug"]
        assert await other.ask(b"e3") == b"e3"

    run(test)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "speaks HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS handshake"),
        (b"\xff\xff\xff\xff", "a request of -1 bytes"),
        (b"\0\0\0\0", "a request of 0 bytes"),
        (TOO_LARGE, "socket.request.max.bytes=200000"),
    ],
)
def test_what_is_no_kafka_is_closed_and_explained_in_one_line(run, caplog, sent, said) -> None:
    async def test(bench: Bench) -> None:
        bench.settings["socket.request.max.bytes"] = 200_000
        bench.listen()
        peer = await bench.connect()
        largest = b"e" + bytes(199_999)
        assert await peer.ask(largest) == largest
        with caplog.at_level(logging.WARNING, "pykbroker.server"):
            for number in range(3):
                stranger = await bench.connect()
                stranger.writer.write(struct.pack(">i", 200_001 + number) if sent == TOO_LARGE else sent)
                assert await stranger.is_closed()
                await stranger.close()
        assert [record.message for record in caplog.records if said in record.message] == [caplog.records[0].message]
        assert f"port {bench.port}" in caplog.text

    run(test)


def test_a_slow_reader_is_not_served_further_and_costs_nobody_else(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        slow = await bench.connect()
        slow.writer.transport.pause_reading()
        size = 1024 * 1024
        slow.send(*[b"b%d" % size] * 100)
        other = await bench.connect()
        await until(lambda: any(one._congested for one in bench.server.connections))
        connection = next(one for one in bench.server.connections if one._congested)
        handled = len(bench.cluster.handled)
        assert connection._transport.get_write_buffer_size() < MAX_UNSENT_BYTES_PER_CONNECTION + 2 * size
        assert await other.ask(b"e1") == b"e1"
        assert len(bench.cluster.handled) == handled + 1
        slow.writer.transport.resume_reading()
        for _ in range(100):
            assert len(await slow.read()) == size

    run(test)


def test_canary_a_slow_reader_never_sees_the_bytes_of_a_later_read(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        slow, others = await bench.connect(), [await bench.connect() for _ in range(3)]
        slow.writer.transport.pause_reading()
        slow.send(*[b"p" + bytes([number]) for number in range(100)])
        await until(lambda: any(one._congested for one in bench.server.connections))
        for number in range(100, 130):
            for other in others:
                assert await other.ask(b"p" + bytes([number])) == bytes([number]) * LARGE_READ
        slow.writer.transport.resume_reading()
        for number in range(100):
            assert await slow.read() == bytes([number]) * LARGE_READ

    run(test)


def test_reading_ahead_of_a_pending_answer_is_bounded(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        peer.send(b"l1")
        await until(lambda: b"l1" in bench.cluster.waiting)
        connection = next(iter(bench.server.connections))
        requests = [b"e%07d" % number + bytes(99_992) for number in range(400)]
        peer.send(*requests)
        await until(lambda: connection._reading_paused)
        assert MAX_PIPELINED_BYTES_PER_CONNECTION <= connection._end - connection._start <= 2 * MAX_PIPELINED_BYTES_PER_CONNECTION
        assert len(bench.cluster.handled) == 1
        bench.cluster.settle(b"l1")
        assert await peer.read() == b"l1"
        for request in requests:
            assert await peer.read() == request

    run(test)


def test_memory_grows_with_the_bytes_received_not_with_a_claimed_size(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        peers = [await bench.connect() for _ in range(20)]
        for peer in peers:
            peer.writer.write(struct.pack(">i", 100_000_000) + b"e" + bytes(99_999))
        await until(lambda: sum(one._received for one in bench.server.connections) == 20 * 100_004)
        assert bench.server.buffers.lent_bytes <= 20 * 4 * SMALLEST_RECEIVE_BUFFER

    run(test)


def test_idle_unfinished_and_stalled_connections_are_closed(run) -> None:
    async def test(bench: Bench) -> None:
        bench.settings["connections.max.idle.ms"] = 4_000
        bench.listen()
        idle, busy = await bench.connect(), await bench.connect()
        waiting = await bench.connect()
        waiting.send(b"l1")
        await until(lambda: b"l1" in bench.cluster.waiting)
        for _ in range(5):
            bench.waits.advance(seconds=1)
            assert await busy.ask(b"e") == b"e"
        assert await idle.is_closed()
        assert await waiting.is_closed()
        assert await busy.ask(b"e") == b"e"

        bench.settings["connections.max.idle.ms"] = -1
        stalled = await bench.connect()
        stalled.writer.transport.pause_reading()
        stalled.send(*[b"b1048576"] * 30)
        half = await bench.connect()
        half.writer.write(struct.pack(">i", 100) + b"e")
        await until(lambda: sum(one._congested or one._end > 0 for one in bench.server.connections) == 2)
        bench.waits.advance(6_000)  # The sweep notices what is half here.
        for _ in range((UNFINISHED_FRAME_TIMEOUT_MS + 6_000) // 1000):
            bench.waits.advance(seconds=1)
        assert await half.is_closed()
        assert len(bench.server.connections) == 2
        bench.waits.advance(STALLED_READER_TIMEOUT_MS)
        await until(lambda: len(bench.server.connections) == 1)
        assert await busy.ask(b"e") == b"e"

    run(test)


def test_max_connections_waits_and_max_connections_per_ip_closes(run) -> None:
    async def test(bench: Bench) -> None:
        bench.settings["max.connections"] = 2
        bench.listen()
        first, second, third = await bench.connect(), await bench.connect(), await bench.connect()
        assert [await first.ask(b"e"), await second.ask(b"e")] == [b"e", b"e"]
        third.send(b"e3")
        assert await first.ask(b"e") == b"e"
        assert b"e3" not in bench.cluster.handled
        await first.close()
        assert await third.read() == b"e3"

        bench.settings["max.connections"] = 100
        bench.settings["max.connections.per.ip"] = 2
        bench.waits.advance(seconds=10)
        fourth = await bench.connect()
        assert await fourth.is_closed()
        bench.overrides["127.0.0.1"] = 3
        fifth = await bench.connect()
        assert await fifth.ask(b"e5") == b"e5"

    run(test)


def test_stop_answers_what_is_under_way_and_closes_the_rest(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        idle, busy = await bench.connect(), await bench.connect()
        assert await idle.ask(b"e") == b"e"
        busy.send(b"l1", b"e2")
        await until(lambda: b"l1" in bench.cluster.waiting)
        stopping = asyncio.create_task(bench.server.stop(grace_ms=5_000))
        assert await idle.is_closed()
        bench.cluster.settle(b"l1")
        assert await busy.read() == b"l1"
        assert await busy.is_closed()
        await stopping
        assert b"e2" not in bench.cluster.handled
        with pytest.raises(ConnectionRefusedError):
            await bench.connect()

    run(test)


def test_localhost_is_every_loopback_address_with_one_port(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen("localhost")
        addresses = {item[4][0] for item in socket.getaddrinfo("localhost", bench.port, type=socket.SOCK_STREAM)}
        for address in addresses:
            peer = await bench.connect(address)
            assert await peer.ask(b"e") == b"e"
            assert bench.cluster.sessions[-1].local_host == address
            assert bench.cluster.sessions[-1].local_port == bench.port
            await peer.close()

    run(test)


def test_running_out_of_file_descriptors_pauses_accepting_and_spares_those_who_are_in(run, caplog) -> None:
    resource = pytest.importorskip("resource")

    async def test(bench: Bench) -> None:
        bench.listen()
        peer = await bench.connect()
        assert await peer.ask(b"e") == b"e"
        with socket.socket() as late:
            late.setblocking(False)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
            taken = []
            try:
                with contextlib.suppress(OSError):
                    while True:
                        taken.append(os.dup(0))
                with contextlib.suppress(BlockingIOError):
                    late.connect(("127.0.0.1", bench.port))
                await until(lambda: "open files" in caplog.text)
                assert await peer.ask(b"e") == b"e"
            finally:
                for descriptor in taken:
                    os.close(descriptor)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            late.setblocking(True)
            late.settimeout(10)
            await asyncio.to_thread(late.sendall, framed(b"e late"))
            assert await asyncio.to_thread(late.recv, 100) == framed(b"e late")

    run(test)


def test_a_taken_port_and_a_foreign_address_are_named() -> None:
    taken = bound_sockets("127.0.0.1", 0, 50)
    port = taken[0].getsockname()[1]
    with pytest.raises(ListenError, match=f"Cannot listen on 127.0.0.1:{port}: another process has that port"):
        bound_sockets("127.0.0.1", port, 50)
    with pytest.raises(ListenError, match="no such address"):
        bound_sockets("203.0.113.7", 0, 50)
    with pytest.raises(ListenError, match=r"no-such-host.invalid is not a host name"):
        bound_sockets("no-such-host.invalid", 0, 50)
    taken[0].close()


def test_a_buffer_that_is_looked_at_is_not_lent_again_and_stays_as_it_is() -> None:
    buffers = ReceiveBuffers()
    buffer = buffers.take(100)
    buffer[:] = b"\xab" * len(buffer)
    view = memoryview(buffer)[10:20]
    buffers.give_back(buffer)
    assert not nobody_looks_at(buffer)
    assert buffer == b"\xab" * len(buffer)
    assert buffers.take(100) is not buffer
    view.release()
    assert buffers.take(100) is buffer
    assert len(buffer) == SMALLEST_RECEIVE_BUFFER


def test_canary_a_frame_that_is_held_never_shows_another_connections_bytes(run) -> None:
    async def test(bench: Bench) -> None:
        bench.listen()
        keeper = await bench.connect()
        secrets = [b"k" + bytes([number]) * size for number, size in enumerate((50, 70_000, 1_000_000, 60_000, 3))]
        for secret in secrets:
            assert await keeper.ask(secret) == secret
        others = [await bench.connect() for _ in range(5)]
        for other in others:
            for size in (10, 65_000, 1_000_100):
                noise = b"e" + b"\xff" * size
                assert await other.ask(noise) == noise
        assert [bytes(view) for view in bench.cluster.kept] == secrets
        bench.cluster.kept.clear()

    run(test)
