"""Peers that never read hold a bounded amount of memory together, however many they are and whatever they ask for, and who reads is served meanwhile."""

import asyncio
import contextlib
import socket
import struct

import pytest

from pykbroker.broker import Broker, Listener
from pykbroker.clock import VirtualClock
from pykbroker.config import Configuration
from pykbroker.limits import CROWDED_COUNT_MS, CROWDED_READER_TIMEOUT_MS
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.messages import (
    CreateTopicsRequest,
    CreateTopicsResponse,
    FetchRequest,
    FetchResponse,
    ProduceRequest,
    ProduceResponse,
)
from pykbroker.protocol.records import NewRecord, batches, build_batch
from pykbroker.server import connection, listening
from pykbroker.server.listening import Server
from pykbroker.server.running import RunningBroker
from pykbroker.storage.memory_files import MemoryFiles

LOOPS = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

MIB = 1024 * 1024
FOR_ALL, FOR_FETCH, PER_COUNT = 24 * MIB, 16 * MIB, MIB
BATCH_BYTES = 900_000
BATCHES = 9
ASKED_BYTES = 8 * MIB
DEADLINE_S = 30
KERNEL_BYTES = 32 * 1024
"""About what the system keeps of an answer on each side: what waits is to do so in the broker."""


@pytest.fixture
def little_room(monkeypatch):
    """The limits that a test can reach."""
    monkeypatch.setattr(listening, "MAX_UNSENT_BYTES", FOR_ALL)
    monkeypatch.setattr(listening, "MAX_UNSENT_BYTES_FOR_FETCH", FOR_FETCH)
    monkeypatch.setattr(listening, "UNSENT_BYTES_PER_COUNT", PER_COUNT)


def fetch_of(topic, max_wait_ms=0):
    wanted = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=ASKED_BYTES)
    request = FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, topics=[FetchRequest.FetchTopic(topic=topic, partitions=[wanted])])
    return request, 11, FetchResponse


def produce_to(topic, records):
    data = ProduceRequest.TopicProduceData(name=topic, partition_data=[ProduceRequest.PartitionProduceData(index=0, records=records)])
    return ProduceRequest(acks=1, timeout_ms=1000, topic_data=[data]), 9, ProduceResponse


class Client:
    """One that reads its answers."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def ask(self, request, version, response_class):
        self.writer.write(b"".join(request_frame(request, version, 1)))
        (size,) = struct.unpack(">i", await self.reader.readexactly(4))
        return read_response(response_class, version, await self.reader.readexactly(size))[1]

    async def create(self, name):
        topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
        assert (await self.ask(CreateTopicsRequest(topics=[topic]), 7, CreateTopicsResponse)).topics[0].error_code == 0

    async def produce(self, topic, value):
        answer = await self.ask(*produce_to(topic, build_batch([NewRecord(value)])))
        assert answer.responses[0].partition_responses[0].error_code == 0

    async def values(self, topic):
        answer = await self.ask(*fetch_of(topic, max_wait_ms=50))
        assert answer.responses[0].partitions[0].error_code == 0
        return [record.value for batch in batches(answer.responses[0].partitions[0].records or b"") for record in batch.records()]


async def never_reads(port):
    """A connection whose buffers on this side are as small as they may be."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", port))
    return peer


async def until(condition):
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a condition of the server's own innards
            await asyncio.sleep(0)


def test_150_peers_that_fetch_megabytes_and_never_read_hold_little_and_others_are_served(little_room, monkeypatch):
    monkeypatch.setattr(connection, "CROWDED_READER_TIMEOUT_MS", 300)
    held = []

    async def test():
        broker = RunningBroker(Configuration({"listeners": "PLAINTEXT://127.0.0.1:0"}), MemoryFiles(), seed=1)
        await broker.start()
        server, handle = broker.server, broker.cluster.handle
        server._doors[0][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

        def watched(session, frame):
            held.append(sum(one.held_bytes for one in server.connections))
            return handle(session, frame)

        monkeypatch.setattr(broker.cluster, "handle", watched)
        port = broker.cluster.broker.listeners[0].port
        client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=2 * ASKED_BYTES))
        for name in ("large", "small"):
            await client.create(name)
        for _ in range(BATCHES):
            await client.produce("large", bytes(BATCH_BYTES))
        await client.produce("small", b"before")
        request, version, _ = fetch_of("large")
        peers = [await never_reads(port) for _ in range(150)]

        for peer in peers:
            await asyncio.get_running_loop().sock_sendall(peer, b"".join(request_frame(request, version, 1)))
        await client.produce("small", b"meanwhile")
        async with asyncio.timeout(DEADLINE_S):
            while await client.values("small") != [b"before", b"meanwhile"]:
                await client.produce("large", b"and others too")
        await until(lambda: sum(one.held_bytes for one in server.connections) <= FOR_ALL // 2)
        server.count_unsent()
        assert broker.cluster.room_for_records >= (FOR_FETCH - FOR_ALL // 2) // 3
        assert await client.values("large")

        for peer in peers:
            peer.close()
        client.writer.close()
        await broker.stop()
        assert broker.cluster.unexpected_errors == []

    asyncio.run(test())
    assert len(held) > 150
    assert FOR_FETCH // 2 < max(held) <= FOR_FETCH + PER_COUNT + BATCH_BYTES


class AsManyBytesAsAsked:
    """Stands in for the cluster: a request is a number."""

    room_for_records = 0

    def __init__(self):
        self.handled = 0

    def handle(self, session, frame):
        self.handled += 1
        size = int(bytes(frame))
        return [struct.pack(">i", size), bytes(size)]


class Bench:
    """A server without a broker, whose time stands still."""

    def __init__(self):
        self.waits = VirtualClock()
        self.errors = []
        settings = {
            "socket.listen.backlog.size": 50,
            "max.connections": 1000,
            "max.connections.per.ip": 1000,
            "socket.request.max.bytes": 1000,
            "connections.max.idle.ms": -1,
        }
        self.server = Server(
            AsManyBytesAsAsked(),
            setting=settings.__getitem__,
            per_ip_overrides=dict,
            waits=self.waits,
            unexpected=self.errors.append,
        )
        (door,) = self.server.bind("127.0.0.1", 0)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        self.port = door.getsockname()[1]
        self.server.open(Broker(1), Listener("PLAINTEXT", "127.0.0.1", self.port), [door])
        self.peers = []

    async def asks(self, size):
        """A peer that asks for so much, and has not read it yet."""
        peer = await never_reads(self.port)
        self.peers.append(peer)
        handled = self.server.cluster.handled
        await self.sends(peer, size)
        await until(lambda: self.server.cluster.handled > handled)
        return peer

    async def sends(self, peer, size):
        number = b"%d" % size
        await asyncio.get_running_loop().sock_sendall(peer, struct.pack(">i", len(number)) + number)

    async def reads(self, peer, size):
        left = size
        while left:
            left -= len(await asyncio.get_running_loop().sock_recv(peer, left))

    def waiting(self):
        return sum(one.held_bytes for one in self.server.connections)


@pytest.fixture(params=list(LOOPS))
def run(request, little_room):
    def run_on_loop(test):
        async def whole():
            bench = Bench()
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await test(bench)
            finally:
                for peer in bench.peers:
                    peer.close()
                await bench.server.stop(grace_ms=10)
            assert bench.errors == []

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(whole())

    return run_on_loop


def test_beyond_the_limit_whoever_holds_the_most_is_closed(run):
    async def test(bench):
        for size in (6 * MIB, 10 * MIB, 2 * MIB, 3 * MIB):
            await bench.asks(size)
        assert len(bench.server.connections) == 4

        await bench.asks(4 * MIB)

        await until(lambda: len(bench.server.connections) == 4)
        assert bench.waiting() == 15 * MIB + 4 * 4
        await bench.asks(25 * MIB)
        await until(lambda: len(bench.server.connections) == 4)

    run(test)


def test_in_a_crowd_who_takes_little_goes_soon_and_who_takes_its_answers_stays(run):
    async def test(bench):
        for _ in range(4):
            await bench.asks(3 * MIB)
        reader = await bench.asks(2 * MIB)
        slow = await bench.asks(2 * MIB)
        await bench.reads(reader, 2 * MIB + 4)

        for _ in range(CROWDED_READER_TIMEOUT_MS // CROWDED_COUNT_MS):
            assert len(bench.server.connections) == 6
            await bench.sends(reader, 1000)
            await bench.reads(reader, 1004)
            await bench.reads(slow, 10_000)
            bench.waits.advance(CROWDED_COUNT_MS)
        bench.waits.advance(CROWDED_COUNT_MS)

        await until(lambda: len(bench.server.connections) == 1)
        assert bench.waiting() == 0
        await bench.sends(reader, 1000)
        await bench.reads(reader, 1004)

    run(test)


def test_without_a_crowd_a_slow_peer_has_its_time(run):
    async def test(bench):
        for _ in range(3):
            await bench.asks(3 * MIB)
        bench.waits.advance(4 * CROWDED_READER_TIMEOUT_MS)
        assert len(bench.server.connections) == 3

    run(test)


def test_a_large_answer_counts_as_a_whole_until_all_of_it_is_taken(run):
    async def test(bench):
        peer = await bench.asks(6 * MIB)
        assert bench.waiting() == 6 * MIB + 4
        await bench.reads(peer, 5 * MIB)
        assert bench.waiting() == 6 * MIB + 4
        await bench.reads(peer, MIB + 4)
        await until(lambda: bench.waiting() == 0)
        await bench.sends(peer, 100)
        await bench.reads(peer, 104)
        assert bench.waiting() == 0

    run(test)
