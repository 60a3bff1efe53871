"""Ask a broker what it makes of thousands of damaged, odd and sound batches, and write its verdicts down, for tests/storage/test_kafka_verdicts.py.

    python compat/records/ask_kafka.py --port 9092 --seed 1 --count 3000 tests/storage/kafka_verdicts.jsonl.xz

One JSON object a line: the topic's kind (`TOPICS`), the version of the Produce request, the records sent, the time they were sent, the error code
answered, whether the log start offset was told, which records were named, whether there was a message; where they were taken, the append time, and
the batch as it was read back, if it was changed.
"""

import argparse
import gzip
import json
import lzma
import random
import socket
import struct
import time

import cramjam
import lz4.frame
from backports import zstd

from pykbroker.protocol import messages
from pykbroker.protocol.codec import Message
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.records import ATTRIBUTES_OFFSET, CRC_OFFSET, HEADER_SIZE, LOG_OVERHEAD

HOUR_MS = 3_600_000
NOT_LEADER = 6
HEADER = struct.Struct(">qiibIhiqqqhii")
TOPICS = {
    "plain": {},
    "append": {"message.timestamp.type": "LogAppendTime"},
    "compact": {"cleanup.policy": "compact"},
    "gzip": {"compression.type": "gzip"},
    "uncompressed": {"compression.type": "uncompressed"},
    "small": {"max.message.bytes": "200"},
    "before": {"message.timestamp.before.max.ms": str(HOUR_MS), "cleanup.policy": "compact,delete"},
    "zstd": {"compression.type": "zstd"},
    "append-gzip": {"compression.type": "gzip", "message.timestamp.type": "LogAppendTime"},
    "lz4": {"compression.type": "lz4"},
    "snappy": {"compression.type": "snappy"},
    "append-compact": {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"},
}
KINDS = ["sound", "header", "surroundings", "records", "records", "payload", "packed", "timestamps", "offsets"]
"""What is done to a batch; some more often."""

INT64 = range(-(2**63), 2**63)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3000)
    options = parser.parse_args()
    broker = Broker(options.port)
    run = f"{int(time.time()):x}"
    broker.create_topics({f"{kind}-{run}": configs for kind, configs in TOPICS.items()})
    maker = Maker(random.Random(options.seed))
    codes: dict[int, int] = {}
    with lzma.open(options.output, "wt") as output:
        for _ in range(options.count):
            now_ms = int(time.time() * 1000)
            topic, kind, version, records = maker.case(now_ms)
            verdict = broker.verdict(f"{topic}-{run}", version, records)
            codes[verdict["error"]] = codes.get(verdict["error"], 0) + 1
            line = {"topic": topic, "kind": kind, "version": version, "now": now_ms, "records": records.hex(), **verdict}
            output.write(json.dumps(line) + "\n")
    print("answers by error code:", codes)


class Broker:
    """One connection, one question at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.reader = self.socket.makefile("rb")
        self.asked = 0

    def ask(self, request: Message, version: int, response: type[Message]) -> Message:
        self.asked += 1
        self.socket.sendall(b"".join(request_frame(request, version, self.asked)))
        (size,) = struct.unpack(">i", self.reader.read(4))
        return read_response(response, version, self.reader.read(size))[1]

    def create_topics(self, topics: dict[str, dict[str, str]]) -> None:
        kind = messages.CreateTopicsRequest
        wanted = [
            kind.CreatableTopic(
                name=name,
                num_partitions=1,
                replication_factor=1,
                configs=[kind.CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
            )
            for name, configs in topics.items()
        ]
        answer = self.ask(kind(topics=wanted, timeout_ms=30_000), 6, messages.CreateTopicsResponse)
        assert all(topic.error_code == 0 for topic in answer.topics), answer
        while True:  # until the broker leads them all
            kind = messages.MetadataRequest
            asked = kind(topics=[kind.MetadataRequestTopic(name=name) for name in topics], allow_auto_topic_creation=False)
            answer = self.ask(asked, 9, messages.MetadataResponse)
            if all(topic.partitions and topic.partitions[0].leader_id >= 0 for topic in answer.topics):
                return

    def verdict(self, topic: str, version: int, records: bytes) -> dict:
        kind = messages.ProduceRequest
        data = kind.TopicProduceData(name=topic, partition_data=[kind.PartitionProduceData(index=0, records=records)])
        while True:
            answer = self.ask(kind(acks=1, timeout_ms=5000, topic_data=[data]), version, messages.ProduceResponse)
            answer = answer.responses[0].partition_responses[0]
            if answer.error_code != NOT_LEADER:  # for a moment, to a new topic
                break
        verdict = {"error": answer.error_code}
        if answer.error_code:
            if version >= 5:
                verdict["start_told"] = answer.log_start_offset != -1
            if version >= 8:
                verdict["named"] = [error.batch_index for error in answer.record_errors]
                verdict["has_message"] = answer.error_message is not None
            return verdict
        if answer.log_append_time_ms != -1:
            verdict["append_time"] = answer.log_append_time_ms
        stored = self.fetch(topic, answer.base_offset)
        if stored[16:] != records[16 : len(stored)]:
            verdict["stored"] = stored.hex()
        return verdict

    def fetch(self, topic: str, offset: int) -> bytes:
        kind = messages.FetchRequest
        wanted = kind.FetchTopic(topic=topic, partitions=[kind.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=10**6)])
        answer = self.ask(kind(max_wait_ms=100, min_bytes=1, max_bytes=10**6, topics=[wanted]), 11, messages.FetchResponse)
        return bytes(answer.responses[0].partitions[0].records)


class Maker:
    """Makes batches, each a sound one with something done to it; the same ones from the same seed, but for the time."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.pick = chance.choice

    def case(self, now_ms: int) -> tuple[str, str, int, bytes]:
        kind = self.pick(KINDS)
        topic = self.pick(["plain"] * 6 + list(TOPICS))
        count = self.pick([1, 1, 2, 3, 3, 5, 10])
        header = {"compression": self.pick([0, 0, 0, 1, 2, 3, 4]), "count": count, "last_delta": count - 1}
        base = now_ms
        if kind == "timestamps":
            base = self.pick([now_ms, now_ms - 1000, now_ms - 2 * HOUR_MS, now_ms + 2 * HOUR_MS, -1, 0, -2, INT64[0], INT64[-1]])
        deltas = self.timestamp_deltas(kind, base, count)
        payload = b"".join(
            self.record(offset, delta, damaged=kind == "records" and self.chance.random() < 0.4)
            for offset, delta in zip(self.offset_deltas(kind, count), deltas, strict=True)
        )
        if kind == "payload":
            payload = self.flipped(payload)
        if kind in ("payload", "records") and self.chance.random() < 0.1:
            payload += self.pick([b"\0", b"\x0e\0\0\0\1\1\0", b"junk"])
        if kind == "offsets" and self.chance.random() < 0.3:
            header["count"] += self.pick([-1, 1])
            header["last_delta"] = header["count"] - 1
        packed = self.packed(header["compression"], payload)
        if kind == "packed":
            packed = self.flipped(packed)
        header |= {"base_timestamp": base, "max_timestamp": min(max(base + max(deltas), INT64[0]), INT64[-1])}
        if kind == "header":
            self.damage_header(header, len(packed), now_ms)
        batch = self.batch(header, packed)
        if kind == "surroundings":
            batch = self.surrounded(batch)
        return topic, kind, self.pick([11, 11, 11, 12, 7, 6, 3]), batch

    def timestamp_deltas(self, kind: str, base: int, count: int) -> list[int]:
        if kind == "timestamps":
            to_minus_one = -base - 1 if abs(base) < 2**62 else 0
            return [self.pick([0, 0, 1, 5, -7, 200, 2 * HOUR_MS, -2 * HOUR_MS, to_minus_one, 2**62, -(2**62)]) for _ in range(count)]
        return [self.chance.randrange(-5, 300) for _ in range(count)] if self.chance.random() < 0.3 else [0] * count

    def offset_deltas(self, kind: str, count: int) -> list[int]:
        usual = list(range(count))
        if kind != "offsets":
            return usual
        return self.pick([[delta + 1 for delta in usual], [delta * 2 for delta in usual], [0] * count, usual[::-1], [-1] * count])

    def record(self, offset: int, timestamp: int, *, damaged: bool) -> bytes:
        def number(value: int, likely: float) -> bytes:
            return self.damaged_number(value) if damaged and self.chance.random() < likely else signed(value)

        def data(content: bytes | None) -> bytes:
            return number(-1, 0.1) if content is None else number(len(content), 0.2) + content

        key = self.pick([None, b"", b"k", b"key-%d" % offset])
        value = self.pick([None, b"", b"v" * self.chance.randrange(100), b"value"])
        headers = [
            (self.pick([b"", b"h", b"name", "é".encode()]), self.pick([None, b"", b"content"])) for _ in range(self.pick([0, 0, 0, 1, 2]))
        ]
        body = bytes([self.pick([0, 0, 0, 1, 255])]) + number(timestamp, 0.1) + number(offset, 0.1) + data(key) + data(value)
        body += number(len(headers), 0.25) + b"".join(data(name) + data(content) for name, content in headers)
        return number(len(body), 0.25) + body

    def damaged_number(self, value: int) -> bytes:
        match self.chance.randrange(6):
            case 0:
                return signed(value + self.pick([-1, 1, 2, -2, 64, 127]))
            case 1 | 2:  # the same number in more bytes than it needs, or than are allowed
                short = bytearray(signed(value))
                short[-1] |= 128
                return bytes(short) + b"\x80" * self.pick([0, 1, 2, 3, 4, 5, 8, 9, 10]) + b"\0"
            case 3:
                return signed(self.pick([-1, -2, -5, -64, -(2**31)]))
            case 4:
                return signed(self.pick([2**31 - 1, 2**30, 10_000, 100, INT64[0], INT64[-1], 2**31, 2**33]))
            case _:
                return b"\xff" * self.pick([5, 9, 10, 11]) + b"\x01"

    def flipped(self, data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(self.pick([1, 1, 2, 4])):
            if not out:
                break
            at = self.chance.randrange(len(out))
            match self.chance.randrange(5):
                case 0:
                    out[at] ^= 1 << self.chance.randrange(8)
                case 1:
                    out[at] = self.chance.randrange(256)
                case 2:
                    del out[at]
                case 3:
                    out.insert(at, self.chance.randrange(256))
                case _:
                    del out[at:]
        return bytes(out)

    def packed(self, compression: int, data: bytes) -> bytes:
        """Compressed, sometimes in a way that is allowed but not usual."""
        front, back, odd = data[:7], data[7:], self.chance.random() < 0.4
        match compression:
            case 1:
                return gzip.compress(front, mtime=0) + gzip.compress(back, mtime=0) if odd else gzip.compress(data, mtime=0)
            case 2:
                return self.snappy(data, front, back)
            case 3:
                pack = lz4.frame.compress
                usual = pack(data, block_linked=False, store_size=False)
                if not odd:
                    return usual
                return self.pick(
                    [
                        pack(data, block_linked=False, store_size=True),
                        pack(data, block_linked=True, store_size=False),
                        usual[:4] + bytes([usual[4] & ~0x20]) + usual[5:],
                        pack(data, block_linked=False, store_size=False, content_checksum=True),
                        pack(data, block_linked=False, store_size=False, block_checksum=True),
                        pack(data, block_linked=False, store_size=False, block_size=7),
                        pack(front, block_linked=False, store_size=False) + pack(back, block_linked=False, store_size=False),
                        usual + self.pick([b"\0", b"abcd", b"\0\0\0\0", b"\x04\x22\x4d\x18"]),
                        usual[:-4],
                    ]
                )
            case 4:
                usual = zstd.compress(data)
                streaming = zstd.ZstdCompressor()
                return (
                    self.pick(
                        [
                            zstd.compress(front) + zstd.compress(back),
                            usual + self.pick([b"\0", b"abcdef", b"\x50\x2a\x4d\x18\4\0\0\0abcd"]),
                            zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
                            streaming.compress(data) + streaming.flush(),
                        ]
                    )
                    if odd
                    else usual
                )
            case _:
                return data

    def snappy(self, data: bytes, front: bytes, back: bytes) -> bytes:
        if self.chance.random() < 0.3:
            return bytes(cramjam.snappy.compress_raw(data))
        versions = self.pick([(1, 1), (1, 1), (1, 1), (0, 0), (2, 1), (1, 2), (-1, -1)])
        stream = b"\x82SNAPPY\0"
        out = stream + struct.pack(">ii", *versions)
        for piece in (data,) if self.chance.random() < 0.5 else (front, back):
            block = bytes(cramjam.snappy.compress_raw(piece))
            out += struct.pack(">i", len(block)) + block
        endings = [b""] * 8 + [b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\5ab", stream + struct.pack(">ii", 1, 1)]
        return out + self.pick(endings)

    def damage_header(self, header: dict, packed_size: int, now_ms: int) -> None:
        right = HEADER_SIZE - LOG_OVERHEAD + packed_size
        times = [-1, 0, -2, now_ms - 2 * HOUR_MS, now_ms + 2 * HOUR_MS, INT64[0], INT64[-1]]
        values = {
            "base_offset": [1, -1, 100],
            "length": [right + 1, right - 1, 0, -1, 10, 13, 14, 48, 49, -(2**31), 2**31 - 1],
            "magic": [0, 1, 3, -1, 127],
            "crc": [0, 0xFFFFFFFF],
            "flags": [8, 8, 8, 0x20, 0x40, 0x80, 0x100, 0x7F80],
            "compression": [5, 6, 7],
            "last_delta": [-1, 0, header["count"], header["count"] + 1, 2**31 - 1, -(2**31)],
            "count": [0, -1, header["count"] - 1, header["count"] + 1, 2**31 - 1, -(2**31)],
            "base_timestamp": times,
            "max_timestamp": times,
            "producer": [(-1, 3, -1), (-1, -1, 5), (-2, -1, -1), (-2, 0, 0), (4711, 0, -1), (4711, 0, -5)],
        }
        for field in self.chance.sample(list(values), self.pick([1, 1, 2])):
            header[field] = self.pick(values[field])

    def batch(self, header: dict, packed: bytes) -> bytes:
        producer_id, producer_epoch, base_sequence = header.get("producer", (-1, -1, -1))
        batch = bytearray(
            HEADER.pack(
                header.get("base_offset", 0),
                header.get("length", HEADER_SIZE - LOG_OVERHEAD + len(packed)),
                self.pick([-1, 0, 7]),
                header.get("magic", 2),
                0,
                header["compression"] | header.get("flags", 0),
                header["last_delta"],
                header["base_timestamp"],
                header["max_timestamp"],
                producer_id,
                producer_epoch,
                base_sequence,
                header["count"],
            )
            + packed
        )
        struct.pack_into(">I", batch, CRC_OFFSET, header.get("crc", crc32c(bytes(batch[ATTRIBUTES_OFFSET:]))))
        return bytes(batch)

    def surrounded(self, batch: bytes) -> bytes:
        whole = [batch + b"xyz", batch + batch, batch + batch[:61], batch + batch[:16], batch + batch[:17], batch + bytes(20)]
        return self.pick([*whole, batch[:-1], batch[:60], batch[:30], batch[:17], batch[:10], b""])


def signed(value: int) -> bytes:
    """A zigzag varint of up to 64 bits."""
    rest = (value << 1 ^ value >> 63) & (2**64 - 1)
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


if __name__ == "__main__":
    main()
