"""H: share groups in a cluster: brokers that do not lead a partition, do not coordinate a group, or do not keep a share partition (KIP-932)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal
from pykbroker.compat.steps.clusters import THREE
from pykbroker.compat.steps.share_members import ACKNOWLEDGING, READING, Acknowledged, Batch, ShareMember, expect_part, fetched_part, reader
from pykbroker.compat.steps.share_state import STATE, Keeper
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequest,
    InitializeShareGroupStateRequest,
    ReadShareGroupStateRequest,
    ShareGroupDescribeRequest,
    ShareGroupHeartbeatRequest,
)


def _other(target: Target) -> int:
    """A broker that is not the one under test."""
    return next(node for node in target.brokers if node != target.node_id)


def _elsewhere(member: ShareMember) -> ShareMember:
    """The same subscription, asked of a broker that leads nothing of it."""
    stranger = ShareMember(member.target, member.group_id, *member.topics)
    stranger.connection = member.target.connect(_other(member.target))
    return stranger


@check("H-30a", api=READING, versions="1-2", needs=THREE)
def who_does_not_lead_a_partition_says_who_does_to_a_share_fetch(target: Target, version: int) -> None:
    """Given a ShareFetch to another broker, the partition is NOT_LEADER_OR_FOLLOWER with the leader, whose endpoint the answer has. KIP-932, KIP-951."""
    stranger = _elsewhere(reader(target, b"a"))
    topic = stranger.topics[0]

    answer = stranger.fetch(version=version, max_wait_ms=100)

    expect(answer, error_code=ErrorCode.NONE)
    part = fetched_part(answer, topic)
    expect(part, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER, acquired_records=[])
    expect(part.current_leader, leader_id=target.node_id)
    expect_equal("node_endpoints", [(one.node_id, one.port) for one in answer.node_endpoints], [(target.node_id, target.port)])


@check("H-30b", api=ACKNOWLEDGING, versions="1-2", needs=THREE)
def who_does_not_lead_a_partition_acknowledges_nothing(target: Target, version: int) -> None:
    """Given ShareAcknowledge in a session with a broker that does not lead, the partition is UNKNOWN_TOPIC_OR_PARTITION; the records stay acquired."""
    member = reader(target, b"a")
    member.acquire()
    stranger = _elsewhere(member)
    expect(stranger.fetch(), error_code=ErrorCode.NONE)

    answer = stranger.acknowledge_all([Acknowledged(member.topics[0], [Batch(0, 0)])], version=version)

    expect(answer, error_code=ErrorCode.NONE)
    expect_part(answer, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    member.settle(Batch(0, 0))


@check(
    "H-30c",
    api=("ShareGroupDescribe", "DescribeShareGroupOffsets", "AlterShareGroupOffsets", "DeleteShareGroupOffsets", *READING),
    needs=THREE,
)
def who_does_not_coordinate_a_share_group_says_so(target: Target) -> None:
    """Given another broker than the coordinator, heartbeats, descriptions and offsets of a share group are NOT_COORDINATOR. KIP-932."""
    member = reader(target, b"a")
    connection = target.connect(_other(target))
    topic, group_id = member.topics[0], member.group_id
    heartbeat = ShareGroupHeartbeatRequest(group_id=group_id, member_id="a-member", subscribed_topic_names=[topic.name])
    described = DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup(group_id=group_id, topics=None)
    start = AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition(partition_index=0, start_offset=0)
    altered = AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestTopic(topic_name=topic.name, partitions=[start])
    deleted = DeleteShareGroupOffsetsRequest.DeleteShareGroupOffsetsRequestTopic(topic_name=topic.name)

    expect(connection.ask(heartbeat, 1), error_code=ErrorCode.NOT_COORDINATOR)
    expect(connection.ask(ShareGroupDescribeRequest(group_ids=[group_id]), 1).groups[0], error_code=ErrorCode.NOT_COORDINATOR)
    expect(connection.ask(DescribeShareGroupOffsetsRequest(groups=[described]), 1).groups[0], error_code=ErrorCode.NOT_COORDINATOR)
    expect(connection.ask(AlterShareGroupOffsetsRequest(group_id=group_id, topics=[altered]), 0), error_code=ErrorCode.NOT_COORDINATOR)
    expect(connection.ask(DeleteShareGroupOffsetsRequest(group_id=group_id, topics=[deleted]), 0), error_code=ErrorCode.NOT_COORDINATOR)


@check("H-30d", api=STATE, needs=THREE)
def who_does_not_keep_a_share_partition_says_so(target: Target) -> None:
    """Given another broker than the coordinator of a share partition, its state is NOT_COORDINATOR there, with a message. KIP-932."""
    keeper = Keeper(target, target.new_topic())
    connection = target.connect(_other(target))
    data = InitializeShareGroupStateRequest.PartitionData(partition=0, state_epoch=0, start_offset=0)
    topics = [InitializeShareGroupStateRequest.InitializeStateData(topic_id=keeper.topic_id, partitions=[data])]
    wanted = ReadShareGroupStateRequest.PartitionData(partition=0, leader_epoch=0)
    read = [ReadShareGroupStateRequest.ReadStateData(topic_id=keeper.topic_id, partitions=[wanted])]

    initialized = connection.ask(InitializeShareGroupStateRequest(group_id=keeper.group_id, topics=topics), 0)
    answered = connection.ask(ReadShareGroupStateRequest(group_id=keeper.group_id, topics=read), 0)

    expect(initialized.results[0].partitions[0], error_code=ErrorCode.NOT_COORDINATOR, error_message=NOT_EMPTY)
    expect(answered.results[0].partitions[0], error_code=ErrorCode.NOT_COORDINATOR, error_message=NOT_EMPTY)
