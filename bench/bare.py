"""The ceiling: a broker that only parses, checksums, appends to a file and answers. No topic, no validation, no session; nothing a user could use.

`--walk` also walks every record, by the same code as the broker: the ceiling for small records.
"""

import argparse
import asyncio
import os
import struct
import tempfile
from typing import ClassVar

from crc32c import crc32c

from pykbroker.storage.record_walk import walk

try:
    import uvloop as loops
except ImportError:
    loops = asyncio

RECEIVE_SIZE = 2 * 1024 * 1024


class Partition:
    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.offset = 0
        self.size = 0
        self.offsets = [0]
        self.positions = [0]


class Bare(asyncio.BufferedProtocol):
    partitions: ClassVar[dict] = {}
    folder = ""
    walks = False

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(RECEIVE_SIZE)
        self.view = memoryview(self.buffer)
        self.end = 0

    def get_buffer(self, _hint):
        return self.view[self.end :]

    def buffer_updated(self, count):
        self.end += count
        start = 0
        while self.end - start >= 4:
            size = int.from_bytes(self.view[start : start + 4])
            if self.end - start - 4 < size:
                break
            self.handle(self.view[start + 4 : start + 4 + size])
            start += 4 + size
        rest = self.end - start
        if start:
            self.view[:rest] = bytes(self.view[start : self.end])
            self.end = rest

    def handle(self, frame):
        key, _version, correlation, length = struct.unpack_from(">hhih", frame)
        at = 10 + length + 1
        if key == 0:
            self.produce(frame, at, correlation)
        elif key == 1:
            self.fetch(frame, at, correlation)
        else:
            raise ValueError(f"the bare loop knows Produce and Fetch, not {key}")

    def partition(self, topic, index):
        known = self.partitions.get((topic, index))
        if known is None:
            known = self.partitions[topic, index] = Partition(f"{self.folder}/{topic}-{index}")
        return known

    def produce(self, frame, at, correlation):
        """v9: null transactional id, acks, timeout, one topic."""
        at += 1 + 6 + 1
        length = frame[at] - 1
        topic = str(frame[at + 1 : at + 1 + length], "ascii")
        at += 1 + length
        count = frame[at] - 1
        at += 1
        out = [struct.pack(">i", correlation), b"\0\x02", bytes([length + 1]), topic.encode(), bytes([count + 1])]
        for _ in range(count):
            (index,) = struct.unpack_from(">i", frame, at)
            size, at = uvarint(frame, at + 4)
            batch = frame[at : at + size - 1]
            at += size
            partition = self.partition(topic, index)
            if crc32c(batch[21:]) != int.from_bytes(batch[17:21]):
                raise ValueError("checksum")
            records = int.from_bytes(batch[57:61])
            if self.walks:
                walk([bytes(batch[61:])], records)
            struct.pack_into(">q", batch, 0, partition.offset)
            os.write(partition.file, batch)
            out.append(struct.pack(">ihqqqBBB", index, 0, partition.offset, -1, 0, 1, 0, 0))
            partition.offset += records
            partition.size += len(batch)
            partition.offsets.append(partition.offset)
            partition.positions.append(partition.size)
        out.append(b"\0" + struct.pack(">iB", 0, 0))
        body = b"".join(out)
        self.transport.write(struct.pack(">i", len(body)) + body)

    def fetch(self, frame, at, correlation):
        """v12 without a session: one topic."""
        at += 4 + 4 + 4 + 4 + 1 + 4 + 4
        at += 1
        length = frame[at] - 1
        topic = str(frame[at + 1 : at + 1 + length], "ascii")
        at += 1 + length
        count = frame[at] - 1
        at += 1
        head = struct.pack(">iBihiB", correlation, 0, 0, 0, 0, 2) + bytes([length + 1]) + topic.encode() + bytes([count + 1])
        pieces = [head]
        for _ in range(count):
            index, _, offset, _, _, most = struct.unpack_from(">iiqiqi", frame, at)
            at += 33
            partition = self.partition(topic, index)
            position = partition.positions[partition.offsets.index(offset)] if offset else 0
            data = os.pread(partition.file, most, position)
            pieces.append(struct.pack(">ihqqqBi", index, 0, partition.offset, partition.offset, 0, 1, -1) + put_uvarint(len(data) + 1))
            pieces.append(data)
            pieces.append(b"\0")
        pieces.append(b"\0\0")
        size = sum(map(len, pieces))
        self.transport.writelines([struct.pack(">i", size), *pieces])


def uvarint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def put_uvarint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


async def serve(port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Bare, "127.0.0.1", port)
    print(f"bootstrap.servers=127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--walk", action="store_true")
    arguments = parser.parse_args()
    Bare.walks = arguments.walk
    with tempfile.TemporaryDirectory(prefix="bare-") as folder:
        Bare.folder = folder
        loops.run(serve(arguments.port))
