"""The load: a raw socket, frames made beforehand, so that what is measured is the broker. Each function returns a rate, larger is better."""

import socket
import struct
import time

from pykbroker.protocol.codec import decode
from pykbroker.protocol.header import request_frame
from pykbroker.protocol.messages import CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest
from pykbroker.protocol.records import NewRecord, batches, build_batch

PRODUCE, FETCH = 9, 12
REQUEST_SIZE = 900_000
BULK_IN_FLIGHT = 4


class Peer:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(4 * 1024 * 1024)
        self.view = memoryview(self.buffer)
        self.start = self.end = 0

    def send(self, frame):
        self.socket.sendall(frame)

    def receive(self):
        """One response frame, as a view that is good until the next call."""
        self.need(4)
        size = int.from_bytes(self.view[self.start : self.start + 4])
        self.need(4 + size)
        frame = self.view[self.start + 4 : self.start + 4 + size]
        self.start += 4 + size
        return frame

    def need(self, count):
        if len(self.buffer) - self.start < count:
            rest = bytes(self.view[self.start : self.end])
            if len(self.buffer) < count:
                self.buffer = bytearray(2 * count)
                self.view = memoryview(self.buffer)
            self.view[: len(rest)] = rest
            self.start, self.end = 0, len(rest)
        while self.end - self.start < count:
            got = self.socket.recv_into(self.view[self.end :])
            if not got:
                raise ConnectionError("the broker closed the connection")
            self.end += got
        if self.start == self.end:
            self.start = self.end = 0

    def close(self):
        self.socket.close()


def frame(request, version):
    return b"".join(request_frame(request, version, 1, "bench"))


def create_topic(port, topic, partitions):
    peer = Peer(port)
    new = CreateTopicsRequest.CreatableTopic(name=topic, num_partitions=partitions, replication_factor=1)
    peer.send(frame(CreateTopicsRequest(topics=[new], timeout_ms=10000), 5))
    peer.receive()
    deadline = time.monotonic() + 20
    while True:
        peer.send(frame(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=topic)]), 9))
        found = decode(MetadataResponse, 9, bytes(peer.receive()), 5)
        if found.topics[0].error_code == 0 and all(one.leader_id >= 0 for one in found.topics[0].partitions):
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{topic} has no leaders")
        time.sleep(0.05)
    peer.close()


def produce_frame(topic, batches_by_partition):
    data = ProduceRequest.PartitionProduceData
    request = ProduceRequest(
        acks=-1,
        timeout_ms=30000,
        topic_data=[
            ProduceRequest.TopicProduceData(
                name=topic, partition_data=[data(index=index, records=batch) for index, batch in enumerate(batches_by_partition)]
            )
        ],
    )
    return frame(request, PRODUCE)


def batch(size, count):
    now = int(time.time() * 1000)
    return build_batch([NewRecord(b"x" * size, timestamp=now + number // 100) for number in range(count)])


def produce_bulk(port, topic, partitions, record_size, megabytes):
    """MB/s of record values: requests of about 900 KB, 4 in flight."""
    count = REQUEST_SIZE // partitions // (record_size + 12)
    sent = produce_frame(topic, [batch(record_size, count)] * partitions)
    requests = max(8, int(megabytes * 1e6 / (count * record_size * partitions)))
    peer = Peer(port)
    started = time.perf_counter()
    waiting = 0
    for _ in range(requests):
        peer.send(sent)
        waiting += 1
        if waiting == BULK_IN_FLIGHT:
            check_produced(peer.receive())
            waiting -= 1
    for _ in range(waiting):
        check_produced(peer.receive())
    seconds = time.perf_counter() - started
    peer.close()
    return requests * count * record_size * partitions / seconds / 1e6


def consume_bulk(port, topic, partitions, _record_size, megabytes):
    """MB/s of record batches, 1 MiB a partition, one request at a time, from the beginning; not to the very end, where a broker would wait for more."""
    peer = Peer(port)
    offsets = dict.fromkeys(range(partitions), 0)
    part = FetchRequest.FetchPartition
    received = 0
    started = time.perf_counter()
    while received < 0.9 * megabytes * 1e6:
        wanted = [part(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20) for index, offset in offsets.items()]
        request = FetchRequest(
            max_wait_ms=500, min_bytes=1, max_bytes=(1 << 20) * partitions, topics=[FetchRequest.FetchTopic(topic=topic, partitions=wanted)]
        )
        peer.send(frame(request, FETCH))
        answer = decode(FetchResponse, FETCH, peer.receive(), 5)
        before = received
        for one in answer.responses[0].partitions:
            if one.error_code:
                raise RuntimeError(f"error {one.error_code}")
            if one.records is None:
                continue
            for found in batches(one.records):
                received += found.size_in_bytes
                offsets[one.partition_index] = found.next_offset
        if received == before:
            break
    if not received:
        raise RuntimeError("nothing was there to read")
    seconds = time.perf_counter() - started
    peer.close()
    return received / seconds / 1e6


def one_at_a_time(port, topic, seconds):
    """Requests a second: one record of 100 bytes, acks=all, the next when the answer is there."""
    sent = produce_frame(topic, [batch(100, 1)])
    peer = Peer(port)
    count = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(50):
            peer.send(sent)
            check_produced(peer.receive())
        count += 50
    rate = count / (time.perf_counter() - started)
    peer.close()
    return rate


def in_flight(port, topic, seconds, window=50):
    """Requests a second: the same, 50 of them under way."""
    sent = produce_frame(topic, [batch(100, 1)])
    peer = Peer(port)
    peer.send(sent * window)
    count = 0
    started = time.perf_counter()
    half = window // 2
    while time.perf_counter() - started < seconds:
        for _ in range(half):
            check_produced(peer.receive())
        peer.send(sent * half)
        count += half
    rate = count / (time.perf_counter() - started)
    for _ in range(window):
        peer.receive()
    peer.close()
    return rate


def check_produced(answer):
    """The error code of the first partition: behind header, topic array, topic name, partition array and index."""
    at = 5 + 1
    at += answer[at]
    (code,) = struct.unpack_from(">h", answer, at + 1 + 4)
    if code:
        raise RuntimeError(f"Produce was answered with error {code}")
