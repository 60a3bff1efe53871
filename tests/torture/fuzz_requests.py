"""Requests that go deep: every field of every version, filled with names, members, epochs and records that the broker under attack knows.

What a field means is told by its name (`group_id`, `topic`, `partition_index`, …). Mostly the value is a good one, so that handlers are not left
at their first check; now and then it is from the ends of its range, empty, null, or noise.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.definitions import Field
from pykbroker.protocol.messages import Message, Struct
from pykbroker.protocol.records import BatchProperties, NewRecord, build_batch

TOPICS = [f"topic-{number}" for number in range(24)]
GROUPS = [f"group-{number}" for number in range(5)]
RANGES = {
    "int8": (-(1 << 7), (1 << 7) - 1),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
}
TOPIC_SETTINGS = {
    "retention.ms": ["-1", "0", "1000", "604800000", "-2", "x"],
    "retention.bytes": ["-1", "1000", "100000"],
    "segment.bytes": ["1048576", "14", "2147483648"],
    "segment.ms": ["1000", "60000"],
    "cleanup.policy": ["delete", "compact", "compact,delete", "delete,delete", ""],
    "compression.type": ["producer", "gzip", "snappy", "lz4", "zstd", "uncompressed", "brotli"],
    "message.timestamp.type": ["CreateTime", "LogAppendTime", "Never"],
    "max.message.bytes": ["1000", "1048588", "0"],
    "min.insync.replicas": ["1", "2"],
    "flush.messages": ["1", "9223372036854775807"],
    "flush.ms": ["1000", "9223372036854775807"],
    "file.delete.delay.ms": ["0", "60000"],
    "no.such.setting": ["1"],
}
BROKER_SETTINGS = {
    "log.retention.ms": ["-1", "1000"],
    "log.segment.bytes": ["1048576"],
    "message.max.bytes": ["1048588", "2000"],
    "log.retention.check.interval.ms": ["1"],
    "num.io.threads": ["2"],
    "max.connections": ["10"],
    "max.incremental.fetch.session.cache.slots": ["8"],
    "auto.create.topics.enable": ["true", "false"],
}
NOISE = [
    "",
    "x",
    "é☃𝄞",
    ".",
    "..",
    "a/b",
    "a\0b",
    "x" * 249,
    "x" * 250,
    "x" * 5000,
    "__consumer_offsets",
    "topic-0",
    "group-0",
    "-1",
    "0",
    "%s%n{}",
]


@dataclass
class Known:
    """What has been learnt from the broker's answers, and may be named in the next request."""

    topic_ids: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """Group -> (member id, generation) of late."""
    fetch_sessions: list[tuple[int, int]] = field(default_factory=list)
    """(id, next epoch) of late."""
    producers: list[tuple[int, int]] = field(default_factory=list)

    def learn(self, request: Message, response: Message) -> None:
        """Take in the answer to a request."""
        match type(response).__name__:
            case "JoinGroupResponse":
                if response.member_id and response.error_code in {0, 79}:  # type: ignore[attr-defined]
                    known = self.members.setdefault(request.group_id, [])  # type: ignore[attr-defined]
                    known.append((response.member_id, response.generation_id))  # type: ignore[attr-defined]
                    del known[:-4]
            case "FetchResponse":
                if response.session_id:  # type: ignore[attr-defined]
                    next_epoch = max(0, request.session_epoch) + 1  # type: ignore[attr-defined]
                    self.fetch_sessions.append((response.session_id, next_epoch))  # type: ignore[attr-defined]
                    del self.fetch_sessions[:-8]
            case "InitProducerIdResponse":
                if response.producer_id >= 0:  # type: ignore[attr-defined]
                    self.producers.append((response.producer_id, response.producer_epoch))  # type: ignore[attr-defined]
                    del self.producers[:-8]


class Requests:
    """Makes requests. `fixed` fields have one value always (a short wait, over a real socket)."""

    def __init__(self, chance: random.Random, known: Known, now_ms: Callable[[], int], fixed: dict[str, object] | None = None) -> None:
        self.chance = chance
        self.known = known
        self.now_ms = now_ms
        self.fixed = fixed or {}
        self._group = GROUPS[0]
        self._member = ("", -1)
        self._topic = TOPICS[0]
        self._setting = "retention.ms"
        self._message: type[Message] = Message
        self._version = 0

    def request(self, message: type[Message], version: int) -> Message:
        """A request of that API and version."""
        self._message, self._version = message, version
        self._group = self.chance.choice(GROUPS)
        members = self.known.members.get(self._group)
        self._member = self.chance.choice(members) if members and self.chance.random() < 0.95 else ("", -1)
        return self._struct(message, message.SCHEMA.fields, 0)

    def batch(self) -> bytes:
        """Records as a producer packs them, mostly sound."""
        chance = self.chance
        is_odd = chance.random() < 0.05
        records = [
            NewRecord(
                None if chance.random() < 0.1 else chance.randbytes(chance.randrange(60)),
                None if chance.random() < 0.4 else chance.choice([b"", b"a", b"b", b"key"]),
                [("header", None), ("é", b"1")][: chance.randrange(3)],
                (1 << 62 if is_odd else 0) or self.now_ms() - chance.choice([0, 0, -5, chance.randrange(10**9)]),
            )
            for _ in range(chance.choice([1, 1, 2, 5, 30]))
        ]
        properties = {"compression": chance.choice(list(CompressionType)) if chance.random() < 0.4 else CompressionType.NONE}
        if self.known.producers and chance.random() < 0.4:
            producer_id, epoch = chance.choice(self.known.producers)
            properties |= {
                "producer_id": producer_id,
                "producer_epoch": epoch,
                "base_sequence": chance.choice([0, 0, 1, 2, 5, -1, 2**31 - 1]),
            }
        if chance.random() < 0.05:
            properties |= {"is_transactional": chance.random() < 0.5, "is_control": chance.random() < 0.5}
        if chance.random() < 0.05:
            properties |= {"last_offset_delta": chance.choice([-1, 0, 2**31 - 1]), "max_timestamp": chance.choice([-1, 0, 2**63 - 1])}
        return build_batch(records, BatchProperties(**properties))

    # -- walking the schema --------------------------------------------------------------------------------------

    def _struct(self, struct: type[Struct], fields: list[Field], depth: int) -> Struct:
        made = struct()
        if any(one.name in {"topic", "topic_id", "name"} for one in fields):
            self._topic = self.chance.choice(TOPICS)
        for one in fields:
            if self._version in one.versions and not (one.is_tagged(self._version) and self.chance.random() < 0.7):
                setattr(made, one.name, self._value(one, depth))
        return made

    def _value(self, one: Field, depth: int) -> object:
        if one.name in self.fixed:
            return self.fixed[one.name]
        nullable = self._version in one.nullable_versions
        if nullable and self.chance.random() < _NULLS.get(one.name, 0.3):
            return None
        if one.is_array:
            return [self._element(one, depth + 1) for _ in range(self._length(depth))]
        return self._element(one, depth)

    def _length(self, depth: int) -> int:
        roll = self.chance.random()
        if roll < 0.1:
            return 0
        if roll > 0.995 and depth < 2:
            return self.chance.choice([20, 50, 200])
        return 1 if roll < 0.7 else self.chance.randrange(2, 4)

    def _element(self, one: Field, depth: int) -> object:
        if one.fields:
            return self._struct(getattr(self._message, one.type), one.fields, depth)
        good = _GOOD.get(one.name)
        if good is not None and self.chance.random() < 0.93:
            value = good(self)
            if _fits(one.type, value):
                return value
        match one.type:
            case "string":
                return self.chance.choice(NOISE)
            case "bytes" | "records":
                return self.batch() if one.type == "records" else self.chance.randbytes(self.chance.randrange(40))
            case "uuid":
                return self.chance.choice([bytes(16), bytes(15) + b"\1", self.chance.randbytes(16)])
            case "bool":
                return self.chance.random() < 0.5
            case "float64":
                return self.chance.random()
            case _:
                smallest, largest = RANGES[one.type]
                return self.chance.choice(
                    [0, 1, 2, max(smallest, -1), max(smallest, -2), smallest, largest, self.chance.randrange(smallest, largest)]
                )

    # -- good values, by the name of their field -----------------------------------------------------------------

    def _name(self) -> str:
        name = self._message.__name__
        if name.startswith(("AlterConfigs", "IncrementalAlterConfigs")) or (name.startswith("CreateTopics") and self.chance.random() < 0.3):
            self._setting = self.chance.choice(list(TOPIC_SETTINGS) + list(BROKER_SETTINGS))
            return self._setting
        if name.startswith("JoinGroup"):
            return self.chance.choice(["range", "roundrobin"])
        return self._topic

    def _setting_value(self) -> str:
        values = TOPIC_SETTINGS.get(self._setting) or BROKER_SETTINGS.get(self._setting) or ["1"]
        return self.chance.choice(values)

    def _fetch_session(self) -> tuple[int, int]:
        sessions = self.known.fetch_sessions
        return self.chance.choice(sessions) if sessions and self.chance.random() < 0.5 else (0, self.chance.choice([0, -1, -1]))


def _fits(kind: str, value: object) -> bool:
    """Whether a field of that type can carry the value: one name may mean different things in different requests."""
    if kind == "string":
        return isinstance(value, str)
    if kind in {"bytes", "records", "uuid"}:
        return isinstance(value, bytes)
    if kind == "bool":
        return isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool) and RANGES[kind][0] <= value <= RANGES[kind][1]


def _one_of(*values: object) -> Callable[[Requests], object]:
    return lambda made: made.chance.choice(values)


_topic = lambda made: made._topic  # noqa: E731
_group = lambda made: made._group  # noqa: E731
_index = _one_of(0, 0, 0, 1, 2, 3, -1)
_short_wait = _one_of(0, 1, 100, 1000, 30_000)
_offset = _one_of(0, 0, 1, 2, 10, 100, -1, -2)
_epoch = _one_of(-1, -1, 0, 0, 1)

_NULLS = {"records": 0.02, "topics": 0.1, "group_instance_id": 0.9, "cursor": 0.7, "configs": 0.1, "transactional_id": 0.9, "groups": 0.05}

_GOOD: dict[str, Callable[[Requests], object]] = {
    "acks": _one_of(-1, -1, 1, 1, 0),
    "assignment": _one_of(b"", b"\0\1\0\0\0\0", bytes(60)),
    "broker_ids": _one_of(0, 1),
    "committed_leader_epoch": _epoch,
    "committed_metadata": _one_of("", "note", "x" * 4096, "x" * 4097),
    "committed_offset": _offset,
    "config_operation": _one_of(0, 0, 1, 2, 3),
    "configuration_keys": lambda made: made.chance.choice(list(TOPIC_SETTINGS)),
    "coordinator_keys": _group,
    "count": _one_of(1, 2, 3, 4, 5, 20),
    "current_leader_epoch": _epoch,
    "endpoint_type": _one_of(1, 1, 2),
    "fetch_offset": _offset,
    "generation_id": lambda made: made._member[1],
    "generation_id_or_member_epoch": lambda made: made._member[1],
    "group_id": _group,
    "group_instance_id": _one_of("instance-1", "instance-2"),
    "groups": _group,
    "groups_names": _group,
    "isolation_level": _one_of(0, 1),
    "key": _group,
    "key_type": _one_of(0, 0, 0, 1, 2),
    "last_fetched_epoch": _epoch,
    "leader_epoch": _epoch,
    "log_start_offset": _epoch,
    "max_bytes": _one_of(0, 1, 1000, 1 << 20, 50 << 20),
    "max_wait_ms": _short_wait,
    "member_id": lambda made: made._member[0],
    "metadata": _one_of(b"", b"\0\1\0\0\0\1\0\7topic-0\0\0\0\0", b"\0\1\x7f\xff\xff\xff", bytes(100)),
    "min_bytes": _one_of(0, 1, 1, 1000, 1 << 30),
    "name": Requests._name,
    "num_partitions": _one_of(1, 1, 2, 4, -1, 50),
    "offset": _offset,
    "partition": _index,
    "partition_index": _index,
    "partition_indexes": _index,
    "partition_max_bytes": _one_of(0, 1, 100, 1 << 20),
    "partitions": _index,
    "index": _index,
    "producer_epoch": lambda made: made.chance.choice(made.known.producers or [(-1, -1)])[1],
    "producer_id": lambda made: made.chance.choice(made.known.producers or [(-1, -1)])[0],
    "protocol_name": _one_of("range", "roundrobin"),
    "protocol_type": _one_of("consumer", "consumer", "connect"),
    "rebalance_timeout_ms": _one_of(100, 1000, 10_000),
    "records": lambda made: made.batch(),
    "replication_factor": _one_of(1, 1, -1),
    "resource_name": lambda made: made.chance.choice([made._topic, made._topic, made._group, "", "0", "1"]),
    "resource_type": _one_of(2, 2, 4, 8, 16, 32),
    "resource_types": _one_of(2, 4, 8, 16, 32),
    "response_partition_limit": _one_of(0, 1, 2, 2000),
    "retention_time_ms": _one_of(-1, 1000),
    "session_epoch": lambda made: made._fetch_session()[1],
    "session_id": lambda made: made._fetch_session()[0],
    "session_timeout_ms": _one_of(6000, 10_000, 45_000),
    "states_filter": _one_of("Stable", "Empty", "Dead", "PreparingRebalance"),
    "timeout_ms": _short_wait,
    "timestamp": _one_of(-1, -2, -3, -4, -5, -6, 0, 1_700_000_000_000),
    "topic": _topic,
    "topic_id": lambda made: made.known.topic_ids.get(made._topic, bytes(16)),
    "topic_name": _topic,
    "topic_names": _topic,
    "transaction_timeout_ms": _one_of(1000, 60_000),
    "transactional_id": _one_of("transaction"),
    "replica_id": _one_of(-1),
    "types_filter": _one_of("classic", "consumer"),
    "value": Requests._setting_value,
}
