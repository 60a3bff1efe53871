"""The offsets that groups committed: who may commit, what is kept, and until when.

An offset lives until its topic or its group goes, until somebody deletes it, or until it is older than offsets.retention.minutes, counted
from its commit, or, in a group that had members, from when the last one left (KIP-211). Only `replay` changes what is kept.
"""

from typing import TYPE_CHECKING

from pykbroker.coordinator.classic_group import CONSUMER_PROTOCOL_TYPE, ClassicGroup, GroupState
from pykbroker.coordinator.group_records import group_tombstone, offset_commit, offset_tombstone
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import OffsetCommitKey, OffsetCommitRequest, OffsetCommitValue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykbroker.cluster import Cluster
    from pykbroker.context import Context
    from pykbroker.coordinator.runtime import CoordinatorRecord, Operation

FIRST_VERSION_THAT_KNOWS_MISSING_GROUPS = 9
_NO_TOPIC_ID = bytes(16)
_MINUTE_MS = 60_000
_END_OF_TIME_MS = (1 << 63) - 1

CommittedByTopic = dict[str, dict[int, OffsetCommitValue]]


class TopicCommit:
    """What is to be committed for one topic that exists."""

    __slots__ = ("name", "partitions", "topic_id")

    def __init__(self, name: str, topic_id: bytes, partitions: "list[OffsetCommitRequest.OffsetCommitRequestPartition]") -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions = partitions


class Offsets:
    """The offsets of the groups of one shard: group -> topic -> partition -> what was committed last."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self.by_group: dict[str, CommittedByTopic] = {}
        self._groups_of_topic: dict[str, dict[str, None]] = {}

    def replay(self, key: OffsetCommitKey, value: OffsetCommitValue | None) -> None:
        """Keep an offset, or forget it."""
        if value is not None:
            self.by_group.setdefault(key.group, {}).setdefault(key.topic, {})[key.partition] = value
            self._groups_of_topic.setdefault(key.topic, {})[key.group] = None
            return
        topics = self.by_group.get(key.group, {})
        partitions = topics.get(key.topic, {})
        partitions.pop(key.partition, None)
        if not partitions:
            topics.pop(key.topic, None)
            groups = self._groups_of_topic.get(key.topic, {})
            groups.pop(key.group, None)
            if not groups:
                self._groups_of_topic.pop(key.topic, None)
        if not topics:
            self.by_group.pop(key.group, None)

    # -- committing ----------------------------------------------------------------------------------------------

    def commit(
        self,
        operation: "Operation",
        context: "Context",
        group: ClassicGroup | None,
        request: OffsetCommitRequest,
        topics: list[TopicCommit],
    ) -> list[list[ErrorCode]]:
        """Commit for every partition that may be; one error code for each, topic by topic. Raises KafkaError where none may be."""
        check_commit(group, request, context.api_version)
        now_ms = self._cluster.clock.now_ms
        longest = self._cluster.config.integer("offset.metadata.max.bytes")
        expire_ms = -1 if request.retention_time_ms < 0 else min(now_ms + request.retention_time_ms, _END_OF_TIME_MS)
        records: list[CoordinatorRecord] = []
        errors = []
        for topic in topics:
            codes = []
            for partition in topic.partitions:
                metadata = partition.committed_metadata or ""
                if is_longer(metadata, longest):
                    codes.append(ErrorCode.OFFSET_METADATA_TOO_LARGE)
                    continue
                value = OffsetCommitValue(
                    offset=partition.committed_offset,
                    leader_epoch=partition.committed_leader_epoch,
                    metadata=metadata,
                    commit_timestamp=now_ms,
                    expire_timestamp=expire_ms,
                    topic_id=topic.topic_id,
                )
                records.append(offset_commit(request.group_id, topic.name, partition.partition_index, value))
                codes.append(ErrorCode.NONE)
            errors.append(codes)
        operation.write(*records)
        return errors

    # -- deleting ------------------------------------------------------------------------------------------------

    def delete(
        self, operation: "Operation", group: ClassicGroup | None, topics: "Iterable[tuple[str, list[int]]]"
    ) -> list[tuple[str, list[tuple[int, ErrorCode]]]]:
        """Delete offsets of topics that the group does not consume any more (O-13). Raises KafkaError where none may be."""
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND)
        if group.state is not GroupState.EMPTY and group.protocol_type != CONSUMER_PROTOCOL_TYPE:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)
        records = []
        answers = []
        for name, partitions in topics:
            error = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if group.is_subscribed_to(name) else ErrorCode.NONE
            if error is ErrorCode.NONE:
                committed = self.by_group.get(group.group_id, {}).get(name, {})
                records += [offset_tombstone(group.group_id, name, index) for index in partitions if index in committed]
            answers.append((name, [(index, error) for index in partitions]))
        operation.write(*records)
        return answers

    def tombstones_of_group(self, group_id: str) -> "list[CoordinatorRecord]":
        """The records that make a group's offsets go with it."""
        topics = self.by_group.get(group_id, {})
        return [offset_tombstone(group_id, name, index) for name, partitions in topics.items() for index in partitions]

    def tombstones_of_topic(self, topic: str) -> "list[CoordinatorRecord]":
        """The records that make the offsets of a deleted topic go with it (O-12)."""
        groups = self._groups_of_topic.get(topic, ())
        return [offset_tombstone(group_id, topic, index) for group_id in groups for index in self.by_group[group_id][topic]]

    def tombstones_of_lost_topics(self) -> "list[CoordinatorRecord]":
        """Likewise, for topics that were deleted, and perhaps made anew, while nobody coordinated these groups."""
        records = []
        for group_id, topics in self.by_group.items():
            for name, partitions in topics.items():
                topic = self._cluster.metadata.topic(name)
                for index, value in partitions.items():
                    if topic is None or value.topic_id not in {_NO_TOPIC_ID, topic.topic_id}:
                        records.append(offset_tombstone(group_id, name, index))
        return records

    # -- expiring ------------------------------------------------------------------------------------------------

    def expired(self, group: ClassicGroup) -> "list[CoordinatorRecord]":
        """The records that remove what is too old in a group, and the group itself when it is empty and nothing is left (G-37, O-11)."""
        now_ms = self._cluster.clock.now_ms
        retention_ms = self._cluster.config.integer("offsets.retention.minutes") * _MINUTE_MS
        records = []
        kept = False
        for name, partitions in self.by_group.get(group.group_id, {}).items():
            used = _never_expires(group) or group.is_subscribed_to(name)
            for index, value in partitions.items():
                if not used and now_ms >= _expires_at_ms(group, value, retention_ms):
                    records.append(offset_tombstone(group.group_id, name, index))
                else:
                    kept = True
        if not kept and group.state is GroupState.EMPTY:
            records.append(group_tombstone(group.group_id))
        return records


def check_commit(group: ClassicGroup | None, request: OffsetCommitRequest, version: int) -> None:
    """Whether this group may have offsets committed by who asks (O-01 to O-04). Raises KafkaError."""
    generation = request.generation_id_or_member_epoch
    if group is None:
        if generation < 0:
            return
        missing = ErrorCode.GROUP_ID_NOT_FOUND if version >= FIRST_VERSION_THAT_KNOWS_MISSING_GROUPS else ErrorCode.ILLEGAL_GENERATION
        raise KafkaError(missing)
    if generation < 0 and group.state is GroupState.EMPTY:
        return
    if generation < 0 and not request.member_id and request.group_instance_id is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
    group.check_member(request.member_id, request.group_instance_id)
    if generation != group.generation:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
    if group.state is GroupState.COMPLETING_REBALANCE:
        raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)


def is_longer(text: str, limit: int) -> bool:
    """Whether a string has more characters than `limit` as Java counts them: two for one beyond the first 65,536 (O-05)."""
    if len(text) * 2 <= limit:
        return False
    return len(text) + sum(1 for character in text if character > "\uffff") > limit


def _never_expires(group: ClassicGroup) -> bool:
    """Whether the group is in use in a way that keeps all of its offsets: by members of whom one cannot tell what they consume."""
    if group.protocol_type is None or group.state is GroupState.EMPTY:
        return False
    return group.state is not GroupState.STABLE or group.subscribed_topics() is None


def _expires_at_ms(group: ClassicGroup, value: OffsetCommitValue, retention_ms: int) -> int:
    if value.expire_timestamp >= 0:
        return value.expire_timestamp
    if group.protocol_type is not None and group.state is GroupState.EMPTY and group.state_since_ms is not None:
        return group.state_since_ms + retention_ms
    return value.commit_timestamp + retention_ms
