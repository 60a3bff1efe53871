"""The coordinator of classic groups: which shard a group belongs to, and what can be asked about it.

A group lives in the partition of `__consumer_offsets` that the hash of its id says; the broker that leads that partition coordinates it.
"""

from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from pykbroker.coordinator.classic_group import ClassicGroup, GroupState, Member
from pykbroker.coordinator.group_records import GroupRecordFormat, group_tombstone
from pykbroker.coordinator.java_hash import java_hash
from pykbroker.coordinator.offsets import CommittedByTopic, Offsets, TopicCommit
from pykbroker.coordinator.rebalance import Rebalancer
from pykbroker.coordinator.runtime import CoordinatorRecord, CoordinatorRuntime, Operation, Shard
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import (
    DescribeGroupsResponse,
    GroupMetadataKey,
    GroupMetadataValue,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListGroupsResponse,
    OffsetCommitKey,
    OffsetCommitRequest,
    OffsetCommitValue,
    SyncGroupRequest,
    SyncGroupResponse,
)
from pykbroker.topic_names import CONSUMER_OFFSETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykbroker.clock import Timer
    from pykbroker.cluster import Cluster
    from pykbroker.context import Context
    from pykbroker.later import Later
    from pykbroker.metadata import Topic
    from pykbroker.partition import Partition

T = TypeVar("T")

GROUP_TYPE = "classic"


class GroupShardState:
    """The groups of one shard, and their offsets."""

    def __init__(self, cluster: "Cluster", runtime: "CoordinatorRuntime[GroupShardState]", shard: "Shard[GroupShardState]") -> None:
        self.groups: dict[str, ClassicGroup] = {}
        self.unwritten: dict[str, ClassicGroup] = {}
        """Groups of which nothing is in the log yet, since the commit that made them failed. As in Kafka they can be changed, and deleted, and are not shown
        before anything else is written."""
        self.offsets = Offsets(cluster)
        run_timer = lambda work: runtime.run_timer(shard, work)  # noqa: E731
        self.rebalancer = Rebalancer(cluster, self.groups, run_timer)

    def replay(self, record: CoordinatorRecord) -> None:
        """Take one record in."""
        if self.unwritten:
            for group_id, group in self.unwritten.items():
                self.groups.setdefault(group_id, group)
            self.unwritten.clear()
        key, value = record.key, record.value
        if isinstance(key, OffsetCommitKey):
            assert value is None or isinstance(value, OffsetCommitValue)
            if value is not None and key.group not in self.groups:
                self.groups[key.group] = ClassicGroup(key.group)
            self.offsets.replay(key, value)
        elif isinstance(key, GroupMetadataKey):
            assert value is None or isinstance(value, GroupMetadataValue)
            self._replay_group(key.group, value)

    def to_change(self, group_id: str) -> ClassicGroup | None:
        """The group, if there is one."""
        return self.groups.get(group_id) or self.unwritten.get(group_id)

    def _replay_group(self, group_id: str, value: GroupMetadataValue | None) -> None:
        if value is not None:
            self.groups.setdefault(group_id, ClassicGroup(group_id)).replay(value)
            return
        group = self.groups.pop(group_id, None)
        if group is not None:
            group.cancel_timers()

    def loaded(self, operation: Operation) -> None:
        """Sessions begin anew; what was committed for topics that are gone is gone."""
        operation.write(*self.offsets.tombstones_of_lost_topics())
        self.rebalancer.loaded(operation)

    def unloaded(self) -> None:
        """Whoever waits is told to look for the coordinator."""
        self.rebalancer.unloaded()

    def clean_up(self, operation: Operation) -> None:
        """Remove offsets that are too old, and empty groups without offsets."""
        records = [record for group in self.groups.values() for record in self.offsets.expired(group)]
        operation.write(*records)


class GroupCoordinator:
    """`cluster.groups`. Every request method raises KafkaError, or gives a Later that fails with one."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._runtime: CoordinatorRuntime[GroupShardState] = CoordinatorRuntime(
            cluster, CONSUMER_OFFSETS, GroupRecordFormat(), lambda shard: GroupShardState(cluster, self._runtime, shard)
        )
        self._partition_count: int | None = None
        self._clean_up_timer: Timer | None = None

    # -- which shard ---------------------------------------------------------------------------------------------

    def partition_of(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that a group belongs to."""
        return partition_of(group_id, self.partition_count)

    @property
    def partition_count(self) -> int:
        """How many shards there are: fixed when the broker starts, since groups would move if the topic grew under them, or was made otherwise than
        the configuration says (G-35).
        """
        if self._partition_count is None:
            topic = self._cluster.metadata.topic(CONSUMER_OFFSETS)
            configured = self._cluster.config.integer("offsets.topic.num.partitions")
            self._partition_count = configured if topic is None else len(topic.partitions)
        return self._partition_count

    def start(self) -> None:
        """Load what is there, and follow what becomes of `__consumer_offsets` and of the topics that groups have committed for."""
        metadata = self._cluster.metadata
        topic = metadata.topic(CONSUMER_OFFSETS)
        self._partition_count = self.partition_count
        if topic is not None:
            self._topic_grew(topic)
        metadata.on_topic_created.append(self._topic_grew)
        metadata.on_partitions_added.append(self._topic_grew)
        metadata.on_topic_deleted.append(self.on_topic_deleted)
        metadata.on_leader_changed.append(self._leader_changed)
        self._cluster.logs.on_offline.append(self._runtime.log_went_offline)
        self._await_clean_up()

    def _topic_grew(self, topic: "Topic") -> None:
        if topic.name == CONSUMER_OFFSETS:
            for partition in topic.partitions:
                if partition.index not in self._runtime.shards and partition.leader_id in self._cluster.metadata.brokers:
                    self.load(partition)

    def _leader_changed(self, partition: "Partition") -> None:
        topic = self._cluster.metadata.topic(CONSUMER_OFFSETS)
        if topic is not None and partition in topic.partitions:
            if partition.leader_id in self._cluster.metadata.brokers:
                self.load(partition)
            else:
                self.unload(partition)

    def load(self, partition: "Partition") -> None:
        """A broker of ours leads this partition of `__consumer_offsets` now."""
        self._runtime.load(partition)

    def unload(self, partition: "Partition") -> None:
        """No broker of ours leads it any more, or it cannot be read or written."""
        self._runtime.unload(partition.index)

    def stop(self) -> None:
        """The cluster stops: whoever waits is told, and no timer runs any more."""
        if self._clean_up_timer is not None:
            self._clean_up_timer.cancel()
            self._clean_up_timer = None
        for index in list(self._runtime.shards):
            self._runtime.unload(index)

    def on_topic_deleted(self, topic: "Topic") -> None:
        """Offsets go with their topic; the groups themselves with theirs."""
        if topic.name == CONSUMER_OFFSETS:
            for index in list(self._runtime.shards):
                self._runtime.unload(index)
            self._partition_count = None
            return
        for shard in list(self._runtime.shards.values()):
            if shard.state is not None:
                records = shard.state.offsets.tombstones_of_topic(topic.name)
                if records:
                    self._runtime.run_timer(shard, partial(_write_all, records))

    def tick(self) -> None:
        """What offsets.retention.check.interval.ms is for; it also runs by itself."""
        for shard in list(self._runtime.shards.values()):
            if shard.state is not None:
                self._runtime.run_timer(shard, shard.state.clean_up)

    def _await_clean_up(self) -> None:
        interval_ms = self._cluster.config.integer("offsets.retention.check.interval.ms")
        self._clean_up_timer = self._cluster.clock.call_later(interval_ms, self._clean_up)

    def _clean_up(self) -> None:
        self.tick()
        self._await_clean_up()

    def _active(self, context: "Context", group_id: str) -> "tuple[Shard[GroupShardState], GroupShardState]":
        shard = self._runtime.active(self.partition_of(group_id), context.broker.node_id)
        assert shard.state is not None
        return shard, shard.state

    # -- members -------------------------------------------------------------------------------------------------

    def join(self, context: "Context", request: JoinGroupRequest) -> "JoinGroupResponse | Later[JoinGroupResponse]":
        """JoinGroup."""
        if not request.group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        shortest = self._cluster.config.integer("group.min.session.timeout.ms")
        longest = self._cluster.config.integer("group.max.session.timeout.ms")
        if not shortest <= request.session_timeout_ms <= longest:
            raise KafkaError(ErrorCode.INVALID_SESSION_TIMEOUT)
        shard, state = self._active(context, request.group_id)
        return self._runtime.run(shard, lambda operation: state.rebalancer.join(operation, context, request))

    def sync(self, context: "Context", request: SyncGroupRequest) -> "SyncGroupResponse | Later[SyncGroupResponse]":
        """SyncGroup."""
        shard, state = self._with_group_id(context, request.group_id)
        return self._runtime.run(shard, lambda operation: state.rebalancer.sync(operation, request))

    def heartbeat(self, context: "Context", request: HeartbeatRequest) -> ErrorCode:
        """Heartbeat. While the shard is loading nobody is told that it is out (G-16)."""
        try:
            _, state = self._with_group_id(context, request.group_id)
        except KafkaError as error:
            if error.error_code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                return ErrorCode.NONE
            raise
        return state.rebalancer.heartbeat(request)

    def leave(
        self, context: "Context", request: LeaveGroupRequest
    ) -> "list[LeaveGroupResponse.MemberResponse] | Later[list[LeaveGroupResponse.MemberResponse]]":
        """LeaveGroup."""
        shard, state = self._with_group_id(context, request.group_id)
        return self._runtime.run(shard, lambda operation: state.rebalancer.leave(operation, request))

    def _with_group_id(self, context: "Context", group_id: str) -> "tuple[Shard[GroupShardState], GroupShardState]":
        if not group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        return self._active(context, group_id)

    # -- offsets -------------------------------------------------------------------------------------------------

    def commit_offsets(
        self, context: "Context", request: OffsetCommitRequest, topics: list[TopicCommit]
    ) -> "list[list[ErrorCode]] | Later[list[list[ErrorCode]]]":
        """OffsetCommit for topics that exist: an error code for each partition. The empty group id is a group like any other (O-01)."""
        shard, state = self._active(context, request.group_id)

        def commit(operation: Operation) -> list[list[ErrorCode]]:
            group = state.to_change(request.group_id)
            errors = state.offsets.commit(operation, context, group, request, topics)
            if group is not None:
                state.rebalancer.keep_session(group, request.member_id)
            elif ErrorCode.NONE not in chain.from_iterable(errors):
                state.unwritten[request.group_id] = ClassicGroup(request.group_id)
            return errors

        return self._runtime.run(shard, commit)

    def committed_offsets(self, context: "Context", group_id: str) -> "CommittedByTopic | Later[CommittedByTopic]":
        """What a group has committed: read only. An unknown group has committed nothing (O-07)."""
        shard, state = self._active(context, group_id)
        return self._runtime.run(shard, lambda _operation: state.offsets.by_group.get(group_id, {}))

    def delete_offsets(
        self, context: "Context", group_id: str, topics: "Iterable[tuple[str, list[int]]]"
    ) -> "list[tuple[str, list[tuple[int, ErrorCode]]]] | Later[list[tuple[str, list[tuple[int, ErrorCode]]]]]":
        """OffsetDelete for partitions that exist."""
        shard, state = self._with_group_id(context, group_id)
        return self._runtime.run(shard, lambda operation: state.offsets.delete(operation, state.to_change(group_id), topics))

    # -- groups --------------------------------------------------------------------------------------------------

    def describe(self, context: "Context", group_id: str) -> "DescribeGroupsResponse.DescribedGroup | None":
        """A group as DescribeGroups shows it; None where there is none."""
        _, state = self._active(context, group_id)
        group = state.groups.get(group_id)
        return None if group is None else described(group)

    def list(self, context: "Context") -> "list[ListGroupsResponse.ListedGroup]":
        """The groups that the asked broker coordinates. Raises COORDINATOR_LOAD_IN_PROGRESS while it cannot know them all."""
        listed = []
        for index, shard in self._runtime.shards.items():
            if shard.partition.leader_id != context.broker.node_id:
                continue
            state = self._runtime.active(index, context.broker.node_id).state
            assert state is not None
            listed += [
                ListGroupsResponse.ListedGroup(
                    group_id=group.group_id,
                    protocol_type=group.protocol_type or "",
                    group_state=group.state.value,
                    group_type=GROUP_TYPE,
                )
                for group in state.groups.values()
            ]
        return listed

    def delete(self, context: "Context", group_id: str) -> "ErrorCode | Later[ErrorCode]":
        """DeleteGroups, for one group: it must have no members (G-29). Its offsets go with it."""
        shard, state = self._active(context, group_id)

        def delete(operation: Operation) -> ErrorCode:
            group = state.to_change(group_id)
            if group is None:
                raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND)
            if group.state is not GroupState.EMPTY:
                raise KafkaError(ErrorCode.NON_EMPTY_GROUP)
            operation.write(*state.offsets.tombstones_of_group(group_id), group_tombstone(group_id))
            return ErrorCode.NONE

        return self._runtime.run(shard, delete)


def _write_all(records: "list[CoordinatorRecord]", operation: Operation) -> None:
    operation.write(*records)


def described(group: ClassicGroup) -> DescribeGroupsResponse.DescribedGroup:
    """Metadata and protocol are shown of a stable group only; assignments always (G-27)."""
    protocol = group.protocol_name if group.state is GroupState.STABLE else None

    def shown(member: Member) -> DescribeGroupsResponse.DescribedGroupMember:
        return DescribeGroupsResponse.DescribedGroupMember(
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            member_metadata=member.metadata_for(protocol) if protocol is not None else b"",
            member_assignment=member.assignment,
        )

    return DescribeGroupsResponse.DescribedGroup(
        group_id=group.group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=protocol or "",
        members=[shown(member) for member in group.members.values()],
    )


def partition_of(group_id: str, partition_count: int) -> int:
    """Java's String.hashCode of the id, made positive as Kafka does it, modulo the partitions."""
    if len(group_id) > _LONGEST_KEPT_ID:
        return _hashed(group_id, partition_count)
    return _hashed_before(group_id, partition_count)


def _hashed(group_id: str, partition_count: int) -> int:
    value = java_hash(group_id)
    signed = value - (1 << 32) if value & 0x80000000 else value
    return (0 if signed == -(1 << 31) else abs(signed)) % partition_count


_hashed_before = lru_cache(maxsize=10_000)(_hashed)
_LONGEST_KEPT_ID = 255
"""An id may have 32 kB, and need not be that of a group: ten thousand of those are not kept for whoever sends them."""
