"""G: groups asked for where they do not live: each broker coordinates some, and says of the others that it does not. Three brokers are needed."""

from pykbroker.compat.check import check
from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import expect, expect_equal
from pykbroker.compat.steps.classic_members import commit_request, protocols_of
from pykbroker.compat.steps.clusters import THREE
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)

MEMBER = "a-member"
ASTRAY = ErrorCode.NOT_COORDINATOR


def coordinator_of(target: Target, group_id: str) -> int:
    """The broker that coordinates a group."""

    def found() -> int:
        return target.find_coordinator(group_id).node_id

    return eventually(found, lambda node_id: node_id >= 0, "the group has a coordinator")


def elsewhere(target: Target, group_id: str) -> Connection:
    """A connection to a broker that does not coordinate a group."""
    home = coordinator_of(target, group_id)
    return target.connect(next(broker.node_id for broker in target.metadata().brokers if broker.node_id != home))


@check("G-32a", api=("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup"), needs=THREE)
def members_astray_are_told_so(target: Target) -> None:
    """Given a broker that is not the group's coordinator, JoinGroup, SyncGroup, Heartbeat and LeaveGroup are NOT_COORDINATOR in every version,
    without members.
    """
    group_id = target.new_group()
    other = elsewhere(target, group_id)
    join = JoinGroupRequest(
        group_id=group_id,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        protocol_type="workers",
        protocols=protocols_of({"range": b""}),
    )
    synced = SyncGroupRequest(group_id=group_id, generation_id=1, member_id=MEMBER, protocol_type="workers", protocol_name="range")

    for version in target.versions(join, 0, 9):
        expect(other.ask(join, version), error_code=ASTRAY, members=[])
    for version in target.versions(synced, 0, 5):
        expect(other.ask(synced, version), error_code=ASTRAY, assignment=b"")
    for version in target.versions(HeartbeatRequest, 0, 4):
        expect(other.ask(HeartbeatRequest(group_id=group_id, generation_id=1, member_id=MEMBER), version), error_code=ASTRAY)
    for version in target.versions(LeaveGroupRequest, 0, 5):
        leave = LeaveGroupRequest(group_id=group_id, member_id=MEMBER)
        if version >= 3:
            leave = LeaveGroupRequest(group_id=group_id, members=[LeaveGroupRequest.MemberIdentity(member_id=MEMBER)])
        expect(other.ask(leave, version), error_code=ASTRAY, members=[])


@check("G-32b", api=("DescribeGroups", "DeleteGroups", "ListGroups", "OffsetCommit"), needs=THREE)
def groups_are_told_of_where_they_live(target: Target) -> None:
    """Given a broker that is not the group's coordinator, DescribeGroups and DeleteGroups are NOT_COORDINATOR for that group, its state is empty,
    and ListGroups leaves it out.
    """
    group_id = target.new_group()
    home, other = target.connect(coordinator_of(target, group_id)), elsewhere(target, group_id)
    _committed(target, home, group_id)

    for version in target.versions(DescribeGroupsRequest, 0, 6):
        (found,) = other.ask(DescribeGroupsRequest(groups=[group_id]), version).groups
        expect(found, error_code=ASTRAY, group_id=group_id, group_state="", members=[])
    for version in target.versions(DeleteGroupsRequest, 0, 2):
        (deleted,) = other.ask(DeleteGroupsRequest(groups_names=[group_id]), version).results
        expect(deleted, error_code=ASTRAY, group_id=group_id)
    for connection, expected in ((home, 1), (other, 0)):
        listed = connection.ask(ListGroupsRequest(), target.newest(ListGroupsRequest, 5))
        expect(listed, error_code=ErrorCode.NONE)
        expect_equal("how often the group is listed", sum(one.group_id == group_id for one in listed.groups), expected)
    deletion = DeleteGroupsRequest(groups_names=[group_id])
    expect(home.ask(deletion, target.newest(deletion, 2)).results[0], error_code=ErrorCode.NONE)


@check("G-32c", api=("OffsetCommit", "OffsetFetch", "OffsetDelete"), needs=THREE)
def offsets_are_kept_where_the_group_lives(target: Target) -> None:
    """Given a broker that is not the group's coordinator, OffsetCommit is NOT_COORDINATOR for each partition, OffsetFetch for the whole (from v8 on
    for the group), and OffsetDelete for the whole.
    """
    group_id, topic = target.new_group(), target.new_topic()
    other = elsewhere(target, group_id)

    for version in target.versions(OffsetCommitRequest, 2, 10):
        committed = other.ask(commit_request(group_id, topic, {0: 5}), version)
        expect(committed.topics[0].partitions[0], error_code=ASTRAY)
    for version in target.versions(OffsetFetchRequest, 2, 7):
        asked = OffsetFetchRequest.OffsetFetchRequestTopic(name=topic.name, partition_indexes=[0])
        fetched = other.ask(OffsetFetchRequest(group_id=group_id, topics=[asked]), version)
        expect(fetched, error_code=ASTRAY, topics=[])
    for version in target.versions(OffsetFetchRequest, 8, 10):
        wanted = OffsetFetchRequest.OffsetFetchRequestTopics(name=topic.name, topic_id=topic.topic_id, partition_indexes=[0])
        group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group_id, topics=[wanted])
        answer = other.ask(OffsetFetchRequest(groups=[group]), version)
        expect(answer.groups[0], error_code=ASTRAY, group_id=group_id, topics=[])
    deletion = OffsetDeleteRequest.OffsetDeleteRequestTopic(
        name=topic.name, partitions=[OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=0)]
    )
    expect(other.ask(OffsetDeleteRequest(group_id=group_id, topics=[deletion]), 0), error_code=ASTRAY, topics=[])


@check("G-32d", api="ConsumerGroupHeartbeat", versions="0-1", needs=THREE)
def members_of_consumer_groups_astray_are_told_so(target: Target, version: int) -> None:
    """Given a broker that is not the group's coordinator, ConsumerGroupHeartbeat is NOT_COORDINATOR, without a message. KIP-848."""
    group_id = target.new_group()
    joining = ConsumerGroupHeartbeatRequest(
        group_id=group_id,
        member_id=target.new_name("member"),
        rebalance_timeout_ms=10_000,
        subscribed_topic_names=[target.new_name("topic")],
        topic_partitions=[],
    )

    answer = elsewhere(target, group_id).ask(joining, version)

    expect(answer, error_code=ASTRAY, error_message=None)


def _committed(target: Target, home: Connection, group_id: str) -> None:
    """A group that has nothing but an offset."""
    request = commit_request(group_id, target.new_topic(), {0: 1})

    def error() -> int:
        return home.ask(request, target.newest(request, 9)).topics[0].partitions[0].error_code

    eventually(error, lambda found: found == ErrorCode.NONE, "the coordinator takes a commit")
