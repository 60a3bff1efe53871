"""A, F, L, M, P, W: who leads, who follows, who has nothing to do with a partition, and how leaders and replicas move. Three brokers are needed."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pykbroker.compat.check import Settings, check
from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import NOT_EMPTY, NULL_OR_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.clusters import THREE
from pykbroker.compat.target import EARLIEST, LATEST, Target, Topic, eventually, produce_request
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterPartitionReassignmentsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    ElectLeadersRequest,
    ElectLeadersResponse,
    FetchRequest,
    FetchResponse,
    ListOffsetsRequest,
    Message,
    MetadataRequest,
    MetadataResponse,
    OffsetForLeaderEpochRequest,
)
from pykbroker.protocol.records import NewRecord, batches, build_batch

if TYPE_CHECKING:
    from pykbroker.protocol.messages import Request

R = TypeVar("R", bound=Message)

RACKS = Settings((("broker.rack", "rack-{node}"), ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector")))
"""Each broker in a rack of its own, which has its number."""
MOVES = ("AlterPartitionReassignments", "ElectLeaders")
FIRST_FROM_FOLLOWERS = 11
"""The first Fetch that followers answer (KIP-392)."""
NOBODY = -1
NO_CHECK = -1
WAIT_FOR_ALL_MS = 10_000
SOME_RECORDS = 20


class Led(NamedTuple):
    """A topic of one partition, and the brokers that have it, the leader first, with a connection to each."""

    topic: Topic
    brokers: list[int]
    connections: list[Connection]
    target: Target

    def ask(self, connection: Connection, request: "Request[R]", at_most: int) -> R:
        """Ask on one of the connections, in the newest version up to that which the broker serves."""
        return connection.ask(request, self.target.newest(request, at_most))


@check("M-15d", api=("Fetch", *MOVES), versions="9-18", needs=THREE)
def an_older_epoch_is_fenced(target: Target, version: int) -> None:
    """Given a partition whose leader changed once, its epoch is 1, and a Fetch that says 0 is FENCED_LEADER_EPOCH; from v16 on the answer names
    the leader and where it is. KIP-320, KIP-951.
    """
    led = _led(target, replicas=3)
    leader = _move_leader(target, led)

    answer = led.connections[1].ask(_fetch(led.topic, epoch=0), version)
    present = led.connections[1].ask(_fetch(led.topic, epoch=1), version)

    expect(leader, leader_id=led.brokers[1], leader_epoch=1)
    partition = answer.responses[0].partitions[0]
    expect(partition, error_code=ErrorCode.FENCED_LEADER_EPOCH)
    expect(present.responses[0].partitions[0], error_code=ErrorCode.NONE)
    if version >= 16:
        expect(partition.current_leader, leader_id=led.brokers[1], leader_epoch=1)
        expect_equal("the node endpoints", [one.node_id for one in answer.node_endpoints], [led.brokers[1]])
    elif version >= 12:
        expect(partition.current_leader, leader_id=NOBODY, leader_epoch=NOBODY)


@check("M-15e", api=("ListOffsets", "OffsetForLeaderEpoch", *MOVES), needs=THREE)
def an_older_epoch_is_fenced_wherever_it_is_told(target: Target) -> None:
    """Given a partition whose leader changed once, ListOffsets and OffsetForLeaderEpoch that say 0 are FENCED_LEADER_EPOCH. KIP-320."""
    led = _led(target, replicas=3)
    _move_leader(target, led)

    offsets = led.ask(led.connections[1], _list_offsets(led.topic, epoch=0), 7)
    epochs = led.ask(led.connections[1], _epoch_end(led.topic, epoch=0), 4)

    expect(offsets.topics[0].partitions[0], error_code=ErrorCode.FENCED_LEADER_EPOCH)
    expect(epochs.topics[0].partitions[0], error_code=ErrorCode.FENCED_LEADER_EPOCH)


@check("F-20b", api=("Fetch", "Produce"), versions="11-18", needs=(THREE, RACKS))
def who_is_in_another_rack_is_sent_to_the_replica_there(target: Target, version: int) -> None:
    """Given a replica selector that knows racks, the leader answers a reader in a follower's rack at once with that follower as preferred_read_replica,
    and without records; one in its own rack, in a rack that nobody is in, or in none, with the records and -1; the follower gives its records. KIP-392.
    """
    led = _led(target, replicas=2)
    leader, follower, *_ = led.brokers
    _append(led)
    eventually(lambda: _replicated(led), lambda offset: offset == 1, "the follower has the record")

    elsewhere = _fetch_from_rack(led.connections[0], led.topic, f"rack-{follower}", version, max_wait_ms=WAIT_FOR_ALL_MS)
    nearby = [_fetch_from_rack(led.connections[0], led.topic, rack, version) for rack in (f"rack-{leader}", "rack-of-nobody", "")]
    there = _fetch_from_rack(led.connections[1], led.topic, f"rack-{follower}", version, max_wait_ms=WAIT_FOR_ALL_MS)

    expect(elsewhere, error_code=ErrorCode.NONE, preferred_read_replica=follower, high_watermark=1, records=NULL_OR_EMPTY)
    for answer in (*nearby, there):
        expect(answer, error_code=ErrorCode.NONE, preferred_read_replica=NOBODY, records=NOT_EMPTY)


def _fetch_from_rack(connection: Connection, topic: Topic, rack_id: str, version: int, max_wait_ms: int = 0) -> FetchResponse.PartitionData:
    request = _fetch(topic)
    request.rack_id, request.max_wait_ms, request.min_bytes = rack_id, max_wait_ms, 1
    return connection.ask(request, version).responses[0].partitions[0]


@check("F-03b", api=("Fetch", "Produce"), versions="4-18", needs=THREE)
def what_not_all_replicas_have_is_not_waited_for(target: Target, version: int) -> None:
    """Given an offset above the high watermark, since followers have not got the last record yet, the fetch is answered at once, empty and without
    an error. KIP-392.
    """
    led = _led(target, replicas=3)
    leader = led.connections[0]
    behind = 0
    for end in range(1, SOME_RECORDS + 1):
        appended = produce_request(led.topic, build_batch([NewRecord(b"v", timestamp=1)]), acks=1)
        fetched = _fetch(led.topic, offset=end)
        fetched.min_bytes, fetched.max_wait_ms = 1, 400
        append_version = target.newest(appended, 12)
        leader.send(appended, append_version)
        leader.send(fetched, version)
        expect(leader.receive(appended, append_version).responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=end - 1)
        since = time.monotonic()

        answer = leader.receive(fetched, version).responses[0].partitions[0]

        expect(answer, error_code=ErrorCode.NONE, records=b"")
        if answer.high_watermark < end:
            behind += 1
            expect_that(time.monotonic() - since < 0.3, f"with high watermark {answer.high_watermark}, offset {end} is answered at once")
    expect_that(behind, "followers are behind at times")


@check("F-11b", api=("Fetch", *MOVES), versions="4-18", needs=THREE)
def a_fetch_that_waits_sees_its_leader_go(target: Target, version: int) -> None:
    """Given a fetch that waits at the end of a log, a change of the leader answers it NOT_LEADER_OR_FOLLOWER at once below v11; from v11 on, which
    a follower answers too, it waits on, and is answered without an error. KIP-392.
    """
    led = _led(target, replicas=3)
    request = _fetch(led.topic)
    request.min_bytes, request.max_wait_ms = 1, 60_000 if version < FIRST_FROM_FOLLOWERS else 1000
    led.connections[0].send(request, version)

    _move_leader(target, led)

    answer = led.connections[0].receive(request, version).responses[0].partitions[0]
    expected = ErrorCode.NOT_LEADER_OR_FOLLOWER if version < FIRST_FROM_FOLLOWERS else ErrorCode.NONE
    expect(answer, error_code=expected, records=b"")


@check("L-02c", api=("ListOffsets", "OffsetForLeaderEpoch", *MOVES), needs=THREE)
def the_end_is_of_the_present_epoch(target: Target) -> None:
    """Given a record of epoch 0 and a leader of epoch 1 that has appended nothing, LATEST has epoch 1 and EARLIEST epoch 0; epoch 0 and epoch 1
    both end at 1. KIP-207, KIP-320.
    """
    led = _led(target, replicas=3)
    _append(led)
    eventually(lambda: _replicated(led), lambda found: found == 1, "every replica has the record")
    _move_leader(target, led)
    leader = led.connections[1]

    latest = eventually(
        lambda: led.ask(leader, _list_offsets(led.topic, NO_CHECK), 7).topics[0].partitions[0],
        lambda one: one.error_code == 0,
        "it is told",
    )
    earliest = led.ask(leader, _list_offsets(led.topic, NO_CHECK, EARLIEST), 7).topics[0].partitions[0]
    ends = {epoch: led.ask(leader, _epoch_end(led.topic, NO_CHECK, epoch), 4).topics[0].partitions[0] for epoch in (0, 1, 2)}

    expect(latest, error_code=ErrorCode.NONE, offset=1, leader_epoch=1)
    expect(earliest, error_code=ErrorCode.NONE, offset=0, leader_epoch=0)
    found = {epoch: (one.error_code, one.leader_epoch, one.end_offset) for epoch, one in ends.items()}
    expect_equal("the ends of epochs 0, 1 and 2", found, {0: (0, 0, 1), 1: (0, 1, 1), 2: (0, NOBODY, NOBODY)})


@check("M-16d", api="DescribeProducers", needs=THREE)
def a_follower_knows_producers_too(target: Target) -> None:
    """Given a follower, DescribeProducers is answered; a broker without a replica is NOT_LEADER_OR_FOLLOWER. KIP-664."""
    led = _led(target, replicas=2)
    request = DescribeProducersRequest(topics=[DescribeProducersRequest.TopicRequest(name=led.topic.name, partition_indexes=[0])])
    follower, stranger = led.connections[1:]

    expect(follower.ask(request, 0).topics[0].partitions[0], error_code=ErrorCode.NONE, active_producers=[])
    expect(stranger.ask(request, 0).topics[0].partitions[0], error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)


@check("M-16a", api=("Fetch", "Produce"), versions="4-18", needs=THREE)
def a_follower_answers_newer_fetches(target: Target, version: int) -> None:
    """Given a record that all replicas have, a follower asked by Fetch v11 answers it, before v11 NOT_LEADER_OR_FOLLOWER; a broker without a
    replica always that. KIP-392.
    """
    led = _led(target, replicas=2)
    _append(led)
    follower, stranger = led.connections[1:]

    def fetched() -> FetchResponse.PartitionData:
        return follower.ask(_fetch(led.topic), version).responses[0].partitions[0]

    if version >= FIRST_FROM_FOLLOWERS:
        found = eventually(fetched, lambda one: one.error_code == 0 and bool(one.records), "the follower has the record")
        expect_equal(
            "the values", [bytes(record.value or b"") for batch in batches(found.records or b"") for record in batch.records()], [b"v"]
        )
    else:
        expect(fetched(), error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)
    nothing = stranger.ask(_fetch(led.topic), version).responses[0].partitions[0]
    expect(nothing, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)


@check("M-16b", api=("ListOffsets", "OffsetForLeaderEpoch", "DeleteRecords"), needs=THREE)
def only_the_leader_knows_offsets(target: Target) -> None:
    """Given a follower, or a broker without a replica, ListOffsets, OffsetForLeaderEpoch and DeleteRecords are NOT_LEADER_OR_FOLLOWER; a follower
    looks at the epoch first, and answers UNKNOWN_LEADER_EPOCH to one of the future.
    """
    led = _led(target, replicas=2)
    astray = ErrorCode.NOT_LEADER_OR_FOLLOWER
    for other, of_the_future in zip(led.connections[1:], (ErrorCode.UNKNOWN_LEADER_EPOCH, astray), strict=True):
        for epoch, error in ((NO_CHECK, astray), (1000, of_the_future)):
            expect(led.ask(other, _list_offsets(led.topic, epoch), 7).topics[0].partitions[0], error_code=error)
            expect(led.ask(other, _epoch_end(led.topic, epoch), 4).topics[0].partitions[0], error_code=error)
        part = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=-1)
        topics = [DeleteRecordsRequest.DeleteRecordsTopic(name=led.topic.name, partitions=[part])]

        deleted = led.ask(other, DeleteRecordsRequest(topics=topics, timeout_ms=10_000), 2)

        expect(deleted.topics[0].partitions[0], error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER, low_watermark=-1)


@check("M-16c", api="Produce", versions="3-13", needs=THREE)
def nobody_but_the_leader_appends(target: Target, version: int) -> None:
    """Given a follower, or a broker without a replica, Produce is NOT_LEADER_OR_FOLLOWER, from v10 on with the leader and where it is, and with
    acks=0 the connection is closed. KIP-951.
    """
    led = _led(target, replicas=2)
    batch = build_batch([NewRecord(b"lost")])
    for other in led.connections[1:]:
        answer = other.ask(produce_request(led.topic, batch), version)

        partition = answer.responses[0].partition_responses[0]
        expect(partition, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER, base_offset=-1)
        if version >= 10:
            expect(partition.current_leader, leader_id=led.brokers[0], leader_epoch=0)
            expect_equal("the node endpoints", [one.node_id for one in answer.node_endpoints], [led.brokers[0]])
            expect_that(all(one.port > 0 and one.host for one in answer.node_endpoints), "they have addresses")
        else:
            expect(answer, node_endpoints=[])
        other.send(produce_request(led.topic, batch, acks=0), version)
        expect_that(other.is_closed(), "the connection is closed")


@check("W-21b", api="Fetch", versions="12-18", needs=THREE)
def a_fetch_astray_is_told_the_leader(target: Target, version: int) -> None:
    """Given a Fetch to a broker without a replica, NOT_LEADER_OR_FOLLOWER comes from v16 on with the leader and where it is, before that without,
    although v12 has a field for it. KIP-951.
    """
    led = _led(target, replicas=2)

    answer = led.connections[2].ask(_fetch(led.topic), version)

    partition = answer.responses[0].partitions[0]
    expect(partition, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER)
    leader = (led.brokers[0], 0) if version >= 16 else (NOBODY, NOBODY)
    expect(partition.current_leader, leader_id=leader[0], leader_epoch=leader[1])
    expect_equal("the node endpoints", [one.node_id for one in answer.node_endpoints], [led.brokers[0]] if version >= 16 else [])


@check("A-11b", api=(*reversed(MOVES), "DescribeTopicPartitions"), versions="0-2", needs=THREE)
def a_leader_is_elected_where_another_is_preferred(target: Target, version: int) -> None:
    """Given replicas put in another order, the leader and its epoch stay, until an election makes the first of them leader, without a message and
    with an epoch one larger. KIP-183, KIP-455.
    """
    led = _led(target, replicas=3)
    order = [led.brokers[1], led.brokers[0], led.brokers[2]]

    _reassign(target, led.topic, order)
    before = eventually(lambda: _partition(target, led), lambda one: one.replica_nodes == order, "the replicas have the new order")
    elected = _elect(target, led.topic, version)
    after = eventually(lambda: _partition(target, led), lambda one: one.leader_id == order[0], "the preferred replica leads")

    expect(before, leader_id=led.brokers[0], leader_epoch=0)
    expect(elected, error_code=ErrorCode.NONE)
    expect(elected.replica_election_results[0].partition_result[0], error_code=ErrorCode.NONE, error_message=None)
    expect(after, leader_epoch=1)
    request = DescribeTopicPartitionsRequest(topics=[DescribeTopicPartitionsRequest.TopicRequest(name=led.topic.name)])
    expect(target.ask(request, 0).topics[0].partitions[0], leader_id=order[0], leader_epoch=1, eligible_leader_replicas=[])


@check("A-12c", api="AlterPartitionReassignments", versions="0-1", needs=THREE)
def a_partition_moves_with_its_records(target: Target, version: int) -> None:
    """Given a partition with a record and another broker for its only replica, that broker comes to lead it, and has the record. KIP-455."""
    led = _led(target, replicas=1)
    _append(led)
    new_home = led.brokers[2]

    _reassign(target, led.topic, [new_home], version)

    moved = eventually(lambda: _partition(target, led), lambda one: one.replica_nodes == [new_home], "the replica has moved")
    expect(moved, leader_id=new_home, isr_nodes=[new_home])
    found = eventually(
        lambda: led.ask(led.connections[2], _fetch(led.topic), 12).responses[0].partitions[0],
        lambda one: one.error_code == 0,
        "it is there",
    )
    expect_equal(
        "the values", [bytes(record.value or b"") for batch in batches(found.records or b"") for record in batch.records()], [b"v"]
    )


@check("A-12d", api="AlterPartitionReassignments", versions="0-1", needs=THREE)
def the_number_of_replicas_may_be_held(target: Target, version: int) -> None:
    """Given v1 with allow_replication_factor_change=false, two replicas instead of one are INVALID_REPLICATION_FACTOR; v0 has no such word, and
    they are made. KIP-860.
    """
    led = _led(target, replicas=1)
    wanted = AlterPartitionReassignmentsRequest.ReassignablePartition(partition_index=0, replicas=led.brokers[:2])
    topics = [AlterPartitionReassignmentsRequest.ReassignableTopic(name=led.topic.name, partitions=[wanted])]
    request = AlterPartitionReassignmentsRequest(topics=topics, timeout_ms=10_000)
    if version >= 1:
        request.allow_replication_factor_change = False

    answer = target.ask(request, version).responses[0].partitions[0]

    if version >= 1:
        expect(answer, error_code=ErrorCode.INVALID_REPLICATION_FACTOR, error_message=NOT_EMPTY)
    else:
        expect(answer, error_code=ErrorCode.NONE)
        eventually(
            lambda: sorted(_partition(target, led).isr_nodes), lambda found: found == sorted(led.brokers[:2]), "there are two replicas"
        )


@check("P-20", api="Produce", versions="3-13", needs=THREE)
def who_does_not_wait_for_the_replicas_is_told_so(target: Target, version: int) -> None:
    """Given acks=-1 and a timeout of 0 ms, which no follower keeps, REQUEST_TIMED_OUT with the real offsets; the record stays, and is visible
    when the followers have it.
    """
    led = _led(target, replicas=3)
    records = build_batch([NewRecord(b"late", timestamp=1)])

    answer = led.connections[0].ask(produce_request(led.topic, records, timeout_ms=0), version).responses[0].partition_responses[0]

    expect(answer, error_code=ErrorCode.REQUEST_TIMED_OUT, base_offset=0, log_start_offset=0 if version >= 5 else -1)
    found = eventually(
        lambda: led.ask(led.connections[0], _fetch(led.topic), 12).responses[0].partitions[0],
        lambda one: bool(one.records),
        "the record becomes visible",
    )
    expect(found, error_code=ErrorCode.NONE, high_watermark=1)


@check("L-20", api="DeleteRecords", versions="0-2", needs=THREE)
def a_deletion_that_followers_have_not_seen_is_told_so(target: Target, version: int) -> None:
    """Given DeleteRecords with a timeout of 0 ms, which no follower keeps, REQUEST_TIMED_OUT with the followers' low watermark, and the leader's
    log starts there already.
    """
    led = _led(target, replicas=3)
    _append(led)
    part = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=1)
    topics = [DeleteRecordsRequest.DeleteRecordsTopic(name=led.topic.name, partitions=[part])]

    answer = led.connections[0].ask(DeleteRecordsRequest(topics=topics, timeout_ms=0), version).topics[0].partitions[0]

    expect(answer, error_code=ErrorCode.REQUEST_TIMED_OUT, low_watermark=0)
    start = led.ask(led.connections[0], _fetch(led.topic), 12).responses[0].partitions[0]
    expect(start, error_code=ErrorCode.OFFSET_OUT_OF_RANGE)


@check("A-22", api=("CreateTopics", "CreatePartitions"), needs=THREE)
def partitions_of_a_topic_have_as_many_replicas(target: Target) -> None:
    """Given an assignment of two replicas for one partition and one for another, INVALID_REPLICA_ASSIGNMENT says why; so it is for a partition
    that is added with fewer than those that are there.
    """
    led = _led(target, replicas=2)
    name = target.new_name("topic")
    assignments = [
        CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=led.brokers[: 2 - index]) for index in range(2)
    ]
    creation = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=-1, replication_factor=-1, assignments=assignments)
    addition = CreatePartitionsRequest.CreatePartitionsTopic(
        name=led.topic.name, count=2, assignments=[CreatePartitionsRequest.CreatePartitionsAssignment(broker_ids=led.brokers[:1])]
    )

    made = target.ask_newest(CreateTopicsRequest(topics=[creation], timeout_ms=WAIT_FOR_ALL_MS), 7).topics[0]
    added = target.ask_newest(CreatePartitionsRequest(topics=[addition], timeout_ms=WAIT_FOR_ALL_MS), 3).results[0]

    for answer in (made, added):
        expect(answer, error_code=ErrorCode.INVALID_REPLICA_ASSIGNMENT, error_message=NOT_EMPTY)


def _led(target: Target, *, replicas: int) -> Led:
    """A topic on so many brokers, led by another than the one under test, and given time to let its leader take office."""
    brokers = [broker.node_id for broker in sorted(target.metadata().brokers, key=lambda one: (one.port == target.port, one.node_id))]
    name = target.new_name("topic")
    assignment = CreateTopicsRequest.CreatableReplicaAssignment(partition_index=0, broker_ids=brokers[:replicas])
    creation = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=-1, replication_factor=-1, assignments=[assignment])
    made = target.ask_newest(CreateTopicsRequest(topics=[creation], timeout_ms=10_000), 7).topics[0]
    expect(made, error_code=ErrorCode.NONE)
    target.forget_after(name)
    led = Led(Topic(name, target.topic_id_of(made), 1), brokers, [target.connect(broker) for broker in brokers], target)
    for index, connection in enumerate(led.connections):
        _wait_until_known(led, connection, ErrorCode.NONE if index == 0 else ErrorCode.NOT_LEADER_OR_FOLLOWER)
    return led


def _wait_until_known(led: Led, connection: Connection, error: ErrorCode) -> None:
    def found() -> int:
        return led.ask(connection, _list_offsets(led.topic, NO_CHECK), 7).topics[0].partitions[0].error_code

    eventually(found, lambda one: one == error, "every broker knows the topic, and its leader is in office")
    wanted = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=led.topic.name)], allow_auto_topic_creation=False)
    eventually(lambda: led.ask(connection, wanted, 12), lambda one: one.topics[0].error_code == 0, "every broker tells of the topic")


def _move_leader(target: Target, led: Led) -> MetadataResponse.MetadataResponsePartition:
    """Make the second replica the leader."""
    order = [led.brokers[1], led.brokers[0], *led.brokers[2:]]
    _reassign(target, led.topic, order)
    eventually(lambda: _partition(target, led), lambda one: one.replica_nodes == order, "the replicas have the new order")
    expect(_elect(target, led.topic, 2), error_code=ErrorCode.NONE)
    _wait_until_known(led, led.connections[1], ErrorCode.NONE)
    return eventually(lambda: _partition(target, led), lambda one: one.leader_id == order[0], "the second replica leads")


def _partition(target: Target, led: Led) -> MetadataResponse.MetadataResponsePartition:
    return target.metadata(led.topic.name).topics[0].partitions[0]


def _reassign(target: Target, topic: Topic, replicas: Sequence[int], version: int = 1) -> None:
    wanted = AlterPartitionReassignmentsRequest.ReassignablePartition(partition_index=0, replicas=list(replicas))
    topics = [AlterPartitionReassignmentsRequest.ReassignableTopic(name=topic.name, partitions=[wanted])]
    answer = target.ask(AlterPartitionReassignmentsRequest(topics=topics, timeout_ms=WAIT_FOR_ALL_MS), version)
    expect(answer, error_code=ErrorCode.NONE)
    expect(answer.responses[0].partitions[0], error_code=ErrorCode.NONE)


def _elect(target: Target, topic: Topic, version: int) -> ElectLeadersResponse:
    wanted = ElectLeadersRequest.TopicPartitions(topic=topic.name, partitions=[0])
    return target.ask(ElectLeadersRequest(topic_partitions=[wanted], timeout_ms=WAIT_FOR_ALL_MS), version)


def _append(led: Led) -> None:
    answer = led.ask(led.connections[0], produce_request(led.topic, build_batch([NewRecord(b"v", timestamp=1)])), 12)
    expect(answer.responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=0)


def _fetch(topic: Topic, epoch: int = NO_CHECK, offset: int = 0) -> FetchRequest:
    part = FetchRequest.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=10_000, current_leader_epoch=epoch)
    topics = [FetchRequest.FetchTopic(topic=topic.name, topic_id=topic.topic_id, partitions=[part])]
    return FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=10_000, topics=topics)


def _replicated(led: Led) -> int:
    """How much of the log all replicas have."""
    return led.ask(led.connections[0], _list_offsets(led.topic, NO_CHECK), 7).topics[0].partitions[0].offset


def _list_offsets(topic: Topic, epoch: int, timestamp: int = LATEST) -> ListOffsetsRequest:
    part = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=timestamp, current_leader_epoch=epoch)
    return ListOffsetsRequest(topics=[ListOffsetsRequest.ListOffsetsTopic(name=topic.name, partitions=[part])])


def _epoch_end(topic: Topic, epoch: int, leader_epoch: int = 0) -> OffsetForLeaderEpochRequest:
    part = OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=0, current_leader_epoch=epoch, leader_epoch=leader_epoch)
    topics = [OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=topic.name, partitions=[part])]
    return OffsetForLeaderEpochRequest(replica_id=-1, topics=topics)
