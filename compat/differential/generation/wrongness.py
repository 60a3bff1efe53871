"""One field of a request made wrong: at the edge of its range, empty, null, named twice.

Some fields are left alone: those that would make a broker wait, or be busy, for long; those that ask for what we do not serve; and what
Kafka 4.3 never answers, or fails at (explained.py).
"""

import copy
import random
from typing import Any

from compat.differential.steps import places
from pykbroker.protocol.definitions import Field
from pykbroker.protocol.messages import Message, Struct

_LEFT_ALONE: set[str | tuple[str, str]] = {
    "timeout_ms",
    "max_wait_ms",
    "session_timeout_ms",
    "rebalance_timeout_ms",
    "num_partitions",
    "count",
    "transactional_id",
    "enable2_pc",
    "keep_prepared_txn",
    "replica_id",
    "replica_state",
    "replica_epoch",
    "coordinator_keys",
    "key_type",
    "response_partition_limit",
    "resource_name",
    "retention_time_ms",
    ("JoinGroupRequest", "group_instance_id"),
}
_NEVER_EMPTY = {("DescribeTopicPartitionsRequest", "topics")}
_NEVER_TWICE = {("AlterConfigsRequest", "resources"), ("JoinGroupRequest", "protocols")}
_NEVER_THAT = {("FetchRequest", "topic_id"): bytes(16)}
_LARGEST_SESSION_ID = 1 << 30
_EDGES = {
    "int8": [-1, 0, 1, 2, 127, -128],
    "int16": [-1, 0, 1, 2, 32767, -32768],
    "int32": [-2, -1, 0, 1, 2, (1 << 31) - 1, -(1 << 31)],
    "int64": [-6, -5, -4, -3, -2, -1, 0, 1, (1 << 63) - 1, -(1 << 63)],
}


def spoil(chance: random.Random, request: Message, version: int) -> None:
    """Change one field of `request`."""
    kind = type(request).__name__
    possible = [place for place in places(request, version) if not {place[1].name, (kind, place[1].name)} & _LEFT_ALONE]
    if not possible:
        return
    struct, field = chance.choice(possible)
    value = getattr(struct, field.name)
    if version in field.nullable_versions and field.type != "records" and chance.random() < 0.3:
        setattr(struct, field.name, None)
    elif field.is_array:
        _spoil_array(chance, request, struct, field, value)
    elif not field.fields:
        wrong = _wrong(chance, field, value)
        if not _is_avoided(request, field, wrong):
            setattr(struct, field.name, wrong)


def _is_avoided(request: Message, field: Field, wrong: Any) -> bool:
    match field.name:
        case "session_id":
            return not -_LARGEST_SESSION_ID < wrong <= _LARGEST_SESSION_ID
        case "max_bytes":
            return bool(wrong < 0 < getattr(request, "session_epoch", 0))
    return bool(_NEVER_THAT.get((type(request).__name__, field.name)) == wrong)


def _spoil_array(chance: random.Random, request: Message, struct: Struct, field: Field, value: object) -> None:
    elements = value if isinstance(value, list) else []
    kind = chance.choice(["empty", "twice", "first only"])
    if kind == "twice" and elements and (type(request).__name__, field.name) not in _NEVER_TWICE:
        setattr(struct, field.name, [*elements, copy.deepcopy(elements[0])])
    elif kind == "first only":
        setattr(struct, field.name, elements[:1])
    elif (type(request).__name__, field.name) not in _NEVER_EMPTY:
        setattr(struct, field.name, [])


def _wrong(chance: random.Random, field: Field, value: object) -> Any:
    match field.type:
        case "bool":
            return not value
        case "string":
            return chance.choice(["", "~elsewhere", "~ with spaces", "~" + "x" * 300, "é~"])
        case "bytes":
            return chance.choice([b"", b"\0" * 5, b"\0" * 200])
        case "records":
            return chance.choice([b"", b"\0" * 61, b"short"])
        case "uuid":
            return chance.choice([bytes(16), bytes(range(16, 32)), bytes(15) + b"\1"])
        case kind if kind in _EDGES:
            return chance.choice(_EDGES[kind])
    return value
