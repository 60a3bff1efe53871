"""A, M, P: what a cluster says and does while one of its brokers is not there. The others are asked."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.clusters import PREFERRED, THREE, UNCLEAN
from pykbroker.compat.switch import RESTARTS
from pykbroker.compat.target import LATEST, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    CreateTopicsRequest,
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    ElectLeadersRequest,
    MetadataRequest,
)
from pykbroker.protocol.records import NewRecord, build_batch

STOPPED = (THREE, RESTARTS)
NOBODY = -1
ONLY_LEADER = 1
FIRST_WITH_OFFLINE_REPLICAS = 5
LONGER_THAN_A_BROKERS_SESSION_MS = 12_000
"""A broker that says nothing for nine seconds (broker.session.timeout.ms, if it is not less) is fenced, and leaves the replicas in sync."""


def topic_on(target: Target, *replicas: int, **configs: str) -> Topic:
    """A topic of one partition on these brokers, the first of which leads it; the broker under test need not know its leader yet."""
    topic = CreateTopicsRequest.CreatableTopic(name=target.new_name("topic"), num_partitions=-1, replication_factor=-1)
    topic.assignments = [CreateTopicsRequest.CreatableReplicaAssignment(partition_index=0, broker_ids=list(replicas))]
    topic.configs = [CreateTopicsRequest.CreatableTopicConfig(name=name.replace("_", "."), value=value) for name, value in configs.items()]
    answer = target.ask_newest(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
    expect(answer.topics[0], error_code=ErrorCode.NONE)
    target.forget_after(topic.name)
    made = Topic(topic.name, target.topic_id_of(answer.topics[0]), 1)
    leader_of(target, made, replicas[0])
    return made


def leader_of(target: Target, topic: Topic, wanted: int) -> None:
    """Until the broker under test says that this one leads the topic."""
    eventually(
        lambda: target.metadata(topic.name).topics[0].partitions,
        lambda found: [one.leader_id for one in found] == [wanted],
        f"the leader is {wanted}",
    )


def elect(target: Target, topic: Topic, election: int) -> ErrorCode:
    """ElectLeaders of its partition; what is answered for it."""
    wanted = ElectLeadersRequest.TopicPartitions(topic=topic.name, partitions=[0])
    answer = target.ask_newest(ElectLeadersRequest(election_type=election, topic_partitions=[wanted], timeout_ms=10_000), 2)
    found = answer.replica_election_results[0].partition_result[0]
    expect(found, error_message=NOT_EMPTY)
    return ErrorCode(found.error_code)


@check("M-14a", api=("Metadata", "CreateTopics"), needs=STOPPED, alone=True)
def a_partition_without_a_leader_says_so(target: Target) -> None:
    """Given a partition on a broker that was stopped, it is LEADER_NOT_AVAILABLE with leader -1 and nobody in sync, and has its replica still, which is
    offline from v5 on; the topic has no error, and the broker is not listed.
    """
    topic = topic_on(target, target.neighbour())

    gone = target.stop_neighbour()

    leader_of(target, topic, NOBODY)
    for version in range(1, 13):
        answer = target.ask(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=topic.name)]), version)
        expect(answer.topics[0], error_code=ErrorCode.NONE)
        partition = answer.topics[0].partitions[0]
        expect(partition, error_code=ErrorCode.LEADER_NOT_AVAILABLE, leader_id=NOBODY, isr_nodes=[], replica_nodes=[gone])
        if version >= FIRST_WITH_OFFLINE_REPLICAS:
            expect(partition, offline_replicas=[gone])
        expect_that(gone not in [one.node_id for one in answer.brokers], "a dead broker is not listed")


@check("M-14b", api=("DescribeTopicPartitions", "Produce", "Fetch", "ListOffsets", "CreateTopics"), needs=STOPPED, alone=True)
def a_partition_without_a_leader_takes_and_gives_nothing(target: Target) -> None:
    """Given the same, DescribeTopicPartitions has no error for it, and Produce, Fetch and ListOffsets are NOT_LEADER_OR_FOLLOWER."""
    topic = topic_on(target, target.neighbour())

    gone = target.stop_neighbour()

    leader_of(target, topic, NOBODY)
    wanted = DescribeTopicPartitionsRequest.TopicRequest(name=topic.name)
    described = target.ask(DescribeTopicPartitionsRequest(topics=[wanted]), 0).topics[0].partitions[0]
    expect(described, error_code=ErrorCode.NONE, leader_id=NOBODY, isr_nodes=[], replica_nodes=[gone], offline_replicas=[gone])
    records = build_batch([NewRecord(b"value", timestamp=1)])
    expect(target.produce_batch(topic, records), error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)
    expect(target.fetch(topic), error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)
    expect(target.list_offsets(topic), error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)


@check("M-22", api="DescribeCluster", needs=STOPPED, alone=True)
def a_dead_broker_is_told_where_it_is_asked_for(target: Target) -> None:
    """Given a broker that was stopped, DescribeCluster v2 lists it as fenced where include_fenced_brokers is set, and not where it is not. KIP-1073."""
    gone = target.stop_neighbour()

    everybody = target.ask_newest(DescribeClusterRequest(include_fenced_brokers=True), 2)
    those_alive = target.ask_newest(DescribeClusterRequest(), 2)

    expect_equal("who is fenced", {one.broker_id: one.is_fenced for one in everybody.brokers}, {one: one == gone for one in target.brokers})
    alive = sorted(one.broker_id for one in those_alive.brokers)
    expect_equal("who is there", alive, [one for one in target.brokers if one != gone])


@check("A-11d", api=("ElectLeaders", "CreateTopics"), needs=STOPPED, alone=True)
def who_is_dead_is_not_elected(target: Target) -> None:
    """Given a partition whose preferred replica was stopped, its election is PREFERRED_LEADER_NOT_AVAILABLE; given one whose only replica was stopped, an
    unclean election is ELIGIBLE_LEADERS_NOT_AVAILABLE. KIP-183, KIP-460.
    """
    two = topic_on(target, target.neighbour(), target.node_id)
    one = topic_on(target, target.neighbour())

    target.stop_neighbour()

    leader_of(target, two, target.node_id)
    leader_of(target, one, NOBODY)
    expect_equal("the preferred replica's election", elect(target, two, PREFERRED), ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE)
    expect_equal("the same without a leader", elect(target, one, PREFERRED), ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE)
    expect_equal("the unclean election", elect(target, one, UNCLEAN), ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE)


@check("A-22b", api="CreateTopics", needs=STOPPED, alone=True)
def a_topic_is_made_while_a_broker_is_dead(target: Target) -> None:
    """Given one of three brokers stopped, a topic of three replicas is made all the same; one that is assigned to the dead broker only is
    INVALID_REPLICA_ASSIGNMENT, and says why.
    """
    gone = target.stop_neighbour()

    three = CreateTopicsRequest.CreatableTopic(name=target.new_name("topic"), num_partitions=1, replication_factor=3)
    dead = CreateTopicsRequest.CreatableTopic(name=target.new_name("topic"), num_partitions=-1, replication_factor=-1)
    dead.assignments = [CreateTopicsRequest.CreatableReplicaAssignment(partition_index=0, broker_ids=[gone])]
    target.forget_after(three.name)
    answer = target.ask_newest(CreateTopicsRequest(topics=[three, dead], timeout_ms=10_000), 7)

    found = {one.name: one for one in answer.topics}
    expect(found[three.name], error_code=ErrorCode.NONE, replication_factor=3)
    expect(found[dead.name], error_code=ErrorCode.INVALID_REPLICA_ASSIGNMENT, error_message=NOT_EMPTY)


@check("P-19b", api=("Produce", "CreateTopics"), needs=STOPPED, alone=True)
def too_few_replicas_take_nothing(target: Target) -> None:
    """Given two replicas of which one was stopped, and min.insync.replicas=2, acks of all are NOT_ENOUGH_REPLICAS with base offset -1, and nothing is
    appended; acks of the leader only succeed.
    """
    topic = topic_on(target, target.node_id, target.neighbour(), min_insync_replicas="2")
    target.wait_for_leaders(topic.name, 1)

    target.stop_neighbour()

    records = build_batch([NewRecord(b"value", timestamp=1)])
    eventually(
        lambda: target.metadata(topic.name).topics[0].partitions[0].isr_nodes, lambda isr: isr == [target.node_id], "one replica is in sync"
    )
    expect(target.produce_batch(topic, records), error_code=ErrorCode.NOT_ENOUGH_REPLICAS, base_offset=-1)
    expect(target.produce_batch(topic, records, acks=ONLY_LEADER), error_code=ErrorCode.NONE, base_offset=0)


@check("P-19c", api=("Produce", "CreateTopics", "ListOffsets"), needs=STOPPED, alone=True)
def what_replicas_do_not_get_in_time_is_timed_out(target: Target) -> None:
    """Given two replicas of which one is killed, min.insync.replicas=2, and acks of all before the cluster knows, the record is appended, and after
    timeout_ms answered REQUEST_TIMED_OUT with its offset; the end of the log for readers stays before it, until the other is back.
    """
    topic = topic_on(target, target.node_id, target.neighbour(), min_insync_replicas="2")
    target.wait_for_leaders(topic.name, 1)
    expect_equal("the first offset", target.produce(topic), 0)

    gone = target.kill_neighbour()
    records = build_batch([NewRecord(b"value", timestamp=1)])
    answer = target.produce_batch(topic, records, timeout_ms=LONGER_THAN_A_BROKERS_SESSION_MS)

    expect(answer, error_code=ErrorCode.REQUEST_TIMED_OUT, base_offset=1)
    expect_equal("the end for readers", target.list_offsets(topic, timestamp=LATEST).offset, 1)
    target.bring_back(gone)
    eventually(
        lambda: target.list_offsets(topic, timestamp=LATEST).offset, lambda offset: offset == 2, "readers see it when the other is back"
    )
