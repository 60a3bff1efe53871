"""Clients that mean ill, on real sockets: half frames, peers that never read, connections that break; whoever behaves does not notice."""

import contextlib
import socket
import struct
import time

from pykbroker.limits import MAX_UNSENT_BYTES_PER_CONNECTION
from pykbroker.protocol.header import request_frame
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    FetchRequest,
    JoinGroupRequest,
    MetadataRequest,
    ProduceRequest,
)
from pykbroker.protocol.records import NewRecord, build_batch
from pykbroker.testing import KafkaBroker
from tests.torture.fuzz import resident_bytes
from tests.torture.fuzz_tcp import attack_over_tcp

MEBIBYTE = 1 << 20
HALF_FRAMES = 150
NEVER_READERS = 10


def connected(broker: KafkaBroker) -> socket.socket:
    host, _, port = broker.bootstrap.rpartition(":")
    peer = socket.create_connection((host, int(port)), timeout=10)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def sent(request, version: int) -> bytes:
    return b"".join(request_frame(request, version, 7, "hostile"))


def ask(peer: socket.socket, request, version: int) -> bytes:
    peer.sendall(sent(request, version))
    return exactly(peer, int.from_bytes(exactly(peer, 4)))


def exactly(peer: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        piece = peer.recv(size - len(read))
        assert piece, "the broker closed"
        read += piece
    return read


def wanted(max_wait_ms: int, max_bytes: int) -> FetchRequest:
    partition = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=max_bytes)
    topic = FetchRequest.FetchTopic(topic="t", partitions=[partition])
    return FetchRequest(
        max_wait_ms=max_wait_ms, min_bytes=1 << 30 if max_wait_ms else 1, max_bytes=max_bytes, session_epoch=-1, topics=[topic]
    )


def test_slow_peers_cost_themselves_only() -> None:
    with KafkaBroker(topics=["t"]) as broker, contextlib.ExitStack() as peers, connected(broker) as healthy:
        for _ in range(8):
            broker.produce("t", bytes(900_000))
        before = resident_bytes()
        half = sent(MetadataRequest(topics=None), 1)
        for number in range(HALF_FRAMES):
            writer = peers.enter_context(connected(broker))
            writer.sendall(struct.pack(">i", 100 * MEBIBYTE) if number % 3 == 0 else half[: 1 + number % len(half)])
        for _ in range(NEVER_READERS):
            reader = peers.enter_context(connected(broker))
            reader.sendall(sent(wanted(0, 1_000_000), 11) * 20)  # and never reads a byte of it
        for _ in range(300):  # each within the deadline of `connected`
            assert ask(healthy, ApiVersionsRequest(client_software_name="h", client_software_version="1"), 3)
        assert broker.produce("t", b"still here") == 8
        # Each of the readers has what the limit of unsent bytes lets it have, and the answer that went beyond it.
        assert resident_bytes() - before < 64 * MEBIBYTE + NEVER_READERS * (MAX_UNSENT_BYTES_PER_CONNECTION + 2 * MEBIBYTE)


def test_connections_that_break_leave_nothing_behind() -> None:
    with KafkaBroker(topics=["t"]) as broker:
        cluster = broker._broker.cluster
        protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")
        join = JoinGroupRequest(
            group_id="g", session_timeout_ms=10_000, rebalance_timeout_ms=10_000, protocol_type="consumer", protocols=[protocol]
        )
        data = ProduceRequest.PartitionProduceData(index=0, records=build_batch([NewRecord(b"x" * 1000)]))
        produce = ProduceRequest(acks=-1, topic_data=[ProduceRequest.TopicProduceData(name="t", partition_data=[data])])
        requests = [sent(wanted(60_000, 1000), 11), sent(join, 3), sent(produce, 8), sent(MetadataRequest(topics=None), 9)]
        for number in range(200):
            peer = connected(broker)
            frame = requests[number % 4]
            peer.sendall(frame if number % 8 < 4 else frame[: len(frame) - 1])
            if number % 3:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # then close() is a reset
            peer.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (open_connections(broker) or cluster.metadata.topic("t").partitions[0]._watchers):
            broker.records("t")  # gives the broker its turns
        assert open_connections(broker) == 0
        assert not cluster.metadata.topic("t").partitions[0]._watchers
        with connected(broker) as peer:
            assert ask(peer, MetadataRequest(topics=None), 9)


def open_connections(broker: KafkaBroker) -> int:
    return len(broker._broker.server.connections)


def test_frames_in_small_pieces() -> None:
    assert attack_over_tcp(300, 20260724, print) == []
