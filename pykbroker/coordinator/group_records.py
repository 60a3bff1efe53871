"""The records of `__consumer_offsets`, as Kafka 4.3 writes them: a key and a value, each with a version of 16 bits in front.

The key's version is the record's type. Types that belong to protocols we do not serve are left alone when they are read.
"""

import struct
from typing import TYPE_CHECKING

from pykbroker.coordinator.runtime import CoordinatorRecord
from pykbroker.protocol.codec import decode, encode
from pykbroker.protocol.messages import (
    GroupMetadataKey,
    GroupMetadataValue,
    LegacyOffsetCommitKey,
    Message,
    OffsetCommitKey,
    OffsetCommitValue,
)
from pykbroker.protocol.records import NewRecord, Record
from pykbroker.protocol.wire import Malformed

if TYPE_CHECKING:
    from pykbroker.coordinator.classic_group import ClassicGroup

GROUP_METADATA_VERSION = 3
OFFSET_VERSION = 4
OFFSET_WITH_EXPIRY_VERSION = 1
"""The only version that says when an offset expires: v2-v4 commits with a retention time of their own (O-11)."""

_SHORT = struct.Struct(">h")

_VALUES: dict[int, type[Message]] = {
    LegacyOffsetCommitKey.API_KEY: OffsetCommitValue,
    OffsetCommitKey.API_KEY: OffsetCommitValue,
    GroupMetadataKey.API_KEY: GroupMetadataValue,
}


def group_metadata(group: "ClassicGroup", now_ms: int, *, assignments: dict[str, bytes]) -> CoordinatorRecord:
    """A group with the members it has; who is not in `assignments` is assigned nothing."""
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation,
        protocol=group.protocol_name,
        leader=group.leader_id,
        current_state_timestamp=now_ms,
        members=[
            GroupMetadataValue.MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.metadata_for(group.protocol_name or ""),
                assignment=assignments.get(member.member_id, b""),
            )
            for member in group.members.values()
        ],
    )
    return CoordinatorRecord(GroupMetadataKey(group=group.group_id), value, GROUP_METADATA_VERSION)


def empty_group_metadata(group_id: str, now_ms: int, *, generation: int = 0, protocol_type: str | None = None) -> CoordinatorRecord:
    """A group without members."""
    value = GroupMetadataValue(
        protocol_type=protocol_type or "", generation=generation, protocol=None, leader=None, current_state_timestamp=now_ms
    )
    return CoordinatorRecord(GroupMetadataKey(group=group_id), value, GROUP_METADATA_VERSION)


def group_tombstone(group_id: str) -> CoordinatorRecord:
    """The group is gone."""
    return CoordinatorRecord(GroupMetadataKey(group=group_id), None)


def offset_tombstone(group_id: str, topic: str, partition: int) -> CoordinatorRecord:
    """The offset is gone."""
    return CoordinatorRecord(OffsetCommitKey(group=group_id, topic=topic, partition=partition), None)


def offset_commit(group_id: str, topic: str, partition: int, value: OffsetCommitValue) -> CoordinatorRecord:
    """An offset, in the version that can hold all of it."""
    version = OFFSET_VERSION if value.expire_timestamp < 0 else OFFSET_WITH_EXPIRY_VERSION
    return CoordinatorRecord(OffsetCommitKey(group=group_id, topic=topic, partition=partition), value, version)


class GroupRecordFormat:
    """How these records become bytes, and back."""

    def encode(self, record: CoordinatorRecord, now_ms: int) -> NewRecord:
        """A record to be appended."""
        key = _SHORT.pack(record.key.API_KEY) + encode(record.key, 0)
        value = None if record.value is None else _SHORT.pack(record.value_version) + encode(record.value, record.value_version)
        return NewRecord(value, key, timestamp=now_ms)

    def decode(self, record: Record) -> CoordinatorRecord | None:
        """A record that was read. Raises Malformed."""
        if record.key is None or len(record.key) < 2:
            raise Malformed(f"the record at offset {record.offset} has no key that says what it is")
        kind = _SHORT.unpack_from(record.key)[0]
        if kind not in _VALUES:
            return None
        key: Message
        if kind == GroupMetadataKey.API_KEY:
            key = decode(GroupMetadataKey, 0, record.key, 2)
        elif kind == OffsetCommitKey.API_KEY:
            key = decode(OffsetCommitKey, 0, record.key, 2)
        else:
            legacy = decode(LegacyOffsetCommitKey, 0, record.key, 2)
            key = OffsetCommitKey(group=legacy.group, topic=legacy.topic, partition=legacy.partition)
        if record.value is None:
            return CoordinatorRecord(key, None)
        version = _SHORT.unpack_from(record.value)[0]
        return CoordinatorRecord(key, decode(_VALUES[kind], version, record.value, 2), version)
