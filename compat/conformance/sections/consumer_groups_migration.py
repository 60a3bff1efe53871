"""C: from classic consumer groups to those of KIP-848 and back, while members are in them."""

import struct

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import Participant, ready_group, stable, wait_for_state
from pykbroker.compat.steps.classic_members import described as described_classic
from pykbroker.compat.steps.consumer_members import (
    HEARTBEAT,
    NONE_AT_ALL,
    ConsumerMember,
    Partitions,
    all_of,
    described,
    expect_refused,
    member_of_all,
    quick_group,
    topic_for_groups,
)
from pykbroker.compat.steps.offset_requests import all_offsets_of, commit
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.codec import decode, encode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ShareGroupHeartbeatRequest,
    SyncGroupResponse,
)

CLASSIC = ("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "DescribeGroups")
BOTH = (*HEARTBEAT, *CLASSIC)
JOIN = (*CLASSIC, *HEARTBEAT)
NO_MIGRATION = Settings((("group.consumer.migration.policy", "disabled"),))
CLASSIC_MEMBER, CONSUMER_MEMBER = 0, 1
NOT_FOUND = ErrorCode.GROUP_ID_NOT_FOUND
NOTHING_ASSIGNED = bytes.fromhex("000000000000ffffffff")


def classic_consumer(target: Target, group_id: str, *topics: Topic, instance_id: str | None = None) -> Participant:
    """A consumer of the classic protocol with that subscription, which has not joined yet."""
    subscription = encode(ConsumerProtocolSubscription(topics=[one.name for one in topics], user_data=None), 0)
    protocols = {"range": struct.pack(">h", 0) + subscription}
    return Participant(target, group_id, instance_id=instance_id, protocols=protocols, protocol_type="consumer")


def stable_classic(target: Target, topic: Topic) -> Participant:
    """A classic consumer alone in its group, with every partition of a topic."""
    member = classic_consumer(target, quick_group(target), topic)
    partitions = list(range(topic.partitions))
    assigned = ConsumerProtocolAssignment.TopicPartition(topic=topic.name, partitions=partitions)
    assignment = encode(ConsumerProtocolAssignment(assigned_partitions=[assigned], user_data=None), 0)
    expect(member.join(), generation_id=1)
    expect(member.sync({member.member_id: struct.pack(">h", 0) + assignment}), error_code=ErrorCode.NONE)
    return member


def assigned_to(answer: SyncGroupResponse, topic: Topic) -> Partitions:
    """The partitions of one topic in an assignment, which is to be of the consumer protocol's version 0 and of no other topic."""
    expect(answer, error_code=ErrorCode.NONE, assignment=NOT_EMPTY)
    expect_equal("the assignment's version", answer.assignment[:2], b"\0\0")
    found = decode(ConsumerProtocolAssignment, 0, answer.assignment[2:])
    expect_equal("the topics", {one.topic for one in found.assigned_partitions} - {topic.name}, set())
    return frozenset((topic.topic_id, index) for one in found.assigned_partitions for index in one.partitions)


def share_out(consumer: ConsumerMember, classic: Participant, topic: Topic) -> None:
    """Both heartbeat, rejoin and give up as they are told, until they have the topic between them, and the group is Stable."""
    owned: list[Partitions] = []

    def settled() -> bool:
        beat = consumer.own()
        expect(beat, error_code=ErrorCode.NONE, member_id=consumer.member_id)
        if classic.heartbeat().error_code == ErrorCode.REBALANCE_IN_PROGRESS:
            expect(classic.try_to_join(), error_code=ErrorCode.NONE, member_id=classic.member_id)
            owned.append(assigned_to(classic.sync(), topic))
            expect_that(not owned[-1] & consumer.owned, "no partition is owned by both")
        return beat.assignment is None and bool(owned and owned[-1]) and consumer.owned | owned[-1] == all_of(topic)

    eventually(settled, bool, "the two share the topic")
    expect(described(consumer.target, consumer.group_id), group_state="Stable")


# -- C-16: a classic member comes to a consumer group ----------------------------------------------------------------


@check("C-16a", api=JOIN, versions="0-9")
def a_classic_member_joins_a_consumer_group(target: Target, version: int) -> None:
    """Given JoinGroup to a consumer group with members, it is accepted (v4+ in the two steps of KIP-394): the generation is its epoch, nobody
    leads, no members are told, and its id is a uuid without the client id. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    consumer = member_of_all(target, topic)
    classic = classic_consumer(target, consumer.group_id, topic)

    answer = classic.join(version)

    group = described(target, consumer.group_id)
    expect(answer, leader="", members=[], protocol_name="range", skip_assignment=False)
    expect(answer, protocol_type="consumer" if version >= 7 else None)
    expect_equal("the length of the member id", len(answer.member_id), 22)
    kinds = {one.member_id: one.member_type for one in group.members}
    expect_equal("the kinds of members", kinds, {consumer.member_id: CONSUMER_MEMBER, classic.member_id: CLASSIC_MEMBER})
    found = next(one for one in group.members if one.member_id == classic.member_id)
    expect(found, subscribed_topic_names=[topic.name], member_epoch=classic.generation_id)


@check("C-16b", api=("SyncGroup", *JOIN), versions="0-5")
def a_classic_member_is_assigned_its_share(target: Target, version: int) -> None:
    """Given a classic member in a consumer group, SyncGroup answers its assignment in version 0 of the consumer protocol, whatever it sends: nothing while
    the other has everything, its share after that has given it up. KIP-848.
    """
    topic = topic_for_groups(target, 4)
    consumer = member_of_all(target, topic)
    classic = classic_consumer(target, consumer.group_id, topic)
    classic.join()

    at_first = classic.sync({classic.member_id: b"as it likes"}, version)
    share_out(consumer, classic, topic)
    then = classic.sync(version=version)

    named = ("consumer", "range") if version >= 5 else (None, None)
    expect(at_first, error_code=ErrorCode.NONE, assignment=NOTHING_ASSIGNED, protocol_type=named[0], protocol_name=named[1])
    expect_equal("its share", assigned_to(then, topic), all_of(topic) - consumer.owned)
    expect_equal("the size of its share", len(assigned_to(then, topic)), 2)


@check("C-16c", api=("Heartbeat", *JOIN), versions="0-4")
def a_classic_member_is_told_to_join_anew(target: Target, version: int) -> None:
    """Given a classic member in a consumer group, its Heartbeat is NONE, and REBALANCE_IN_PROGRESS once the other has given up what is to be its; another
    generation is ILLEGAL_GENERATION, a stranger UNKNOWN_MEMBER_ID. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    consumer = member_of_all(target, topic)
    classic = classic_consumer(target, consumer.group_id, topic)
    classic.join()
    expect(classic.sync(), error_code=ErrorCode.NONE)

    expect(classic.heartbeat(version), error_code=ErrorCode.NONE)
    expect(classic.heartbeat(version, generation_id=classic.generation_id + 7), error_code=ErrorCode.ILLEGAL_GENERATION)
    expect(classic.heartbeat(version, member_id="a stranger"), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    consumer.wait_to_be_told()
    consumer.own()

    expect(classic.heartbeat(version), error_code=ErrorCode.REBALANCE_IN_PROGRESS)
    expect(classic.try_to_join(), error_code=ErrorCode.NONE, member_id=classic.member_id)
    expect_equal("its share", assigned_to(classic.sync(), topic), all_of(topic) - consumer.owned)
    expect(classic.heartbeat(version), error_code=ErrorCode.NONE)


@check("C-16d", api=JOIN, versions="0-9")
def another_protocol_type_does_not_join_a_consumer_group(target: Target, version: int) -> None:
    """Given JoinGroup with another protocol type to a consumer group with members, INCONSISTENT_GROUP_PROTOCOL. KIP-848."""
    consumer = member_of_all(target, topic_for_groups(target))
    worker = Participant(target, consumer.group_id, protocol_type="workers")

    answer = worker.try_to_join(version)

    expect(answer, error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL, members=[])
    expect(described(target, consumer.group_id), group_state="Stable")


@check("C-16e", api=JOIN, versions="0-9")
def an_empty_consumer_group_becomes_classic(target: Target, version: int) -> None:
    """Given JoinGroup to a consumer group without members, it is a classic group from then on: generation 1, led by whoever joined. KIP-848."""
    topic = topic_for_groups(target)
    consumer = member_of_all(target, topic)
    consumer.leave()
    classic = classic_consumer(target, consumer.group_id, topic)

    answer = classic.join(version)

    expect(answer, generation_id=1, leader=classic.member_id)
    expect_equal("the members", [one.member_id for one in answer.members], [classic.member_id])
    wait_for_state(target, consumer.group_id, "CompletingRebalance")
    eventually(lambda: described(target, consumer.group_id), lambda one: one.error_code == NOT_FOUND, "it is no consumer group any more")


@check("C-16f", api=("LeaveGroup", *JOIN), versions="0-5")
def a_classic_member_leaves_a_consumer_group(target: Target, version: int) -> None:
    """Given a classic member in a consumer group, LeaveGroup removes it, and the other has everything by heartbeats alone. KIP-848."""
    topic = topic_for_groups(target, 2)
    consumer = member_of_all(target, topic)
    classic = classic_consumer(target, consumer.group_id, topic)
    classic.join()
    share_out(consumer, classic, topic)

    answer = classic.leave(version)

    expect(answer, error_code=ErrorCode.NONE)
    consumer.wait_for(all_of(topic))
    expect_equal("the members", [one.member_id for one in described(target, consumer.group_id).members], [consumer.member_id])


@check("C-16g", api=JOIN, versions="5-9")
def a_static_classic_member_comes_back_to_a_consumer_group(target: Target, version: int) -> None:
    """Given a static classic member in a consumer group that joins anew, it has another id and keeps its place; its old id is FENCED_INSTANCE_ID. KIP-345,
    KIP-848.
    """
    topic = topic_for_groups(target, 2)
    consumer = member_of_all(target, topic)
    gone = classic_consumer(target, consumer.group_id, topic, instance_id="one")
    gone.join()
    share_out(consumer, gone, topic)
    back = classic_consumer(target, consumer.group_id, topic, instance_id="one")

    answer = back.try_to_join(version)

    expect(answer, error_code=ErrorCode.NONE, generation_id=gone.generation_id, members=[])
    expect_that(back.member_id != gone.member_id, "the member id is new")
    expect(gone.heartbeat(), error_code=ErrorCode.FENCED_INSTANCE_ID)
    share_back = assigned_to(back.sync(), topic)
    expect_equal("its share", share_back, all_of(topic) - consumer.owned)


@check("C-16h", api=("OffsetCommit", "OffsetFetch", *JOIN), versions="2-10")
def a_classic_member_commits_in_its_generation(target: Target, version: int) -> None:
    """Given a classic member in a consumer group, OffsetCommit in its generation is taken, in every version; in another it is ILLEGAL_GENERATION. KIP-848."""
    topic = topic_for_groups(target, 2)
    consumer = member_of_all(target, topic)
    classic = classic_consumer(target, consumer.group_id, topic)
    classic.join()
    share_out(consumer, classic, topic)

    taken = classic.commit(topic, 5, partition=1, version=version)
    refused = classic.commit(topic, 6, partition=1, version=version, generation_id_or_member_epoch=classic.generation_id + 1)

    expect_equal("the errors", [taken, refused], [ErrorCode.NONE, ErrorCode.ILLEGAL_GENERATION])
    expect_equal("the offsets", all_offsets_of(target, consumer.group_id), {(topic.name, 1): 5})


# -- C-22: a classic member does not come to a share group -------------------------------------------------------------


@check("C-22b", api=("JoinGroup", "ShareGroupHeartbeat", "DescribeGroups"), versions="0-9")
def a_classic_member_does_not_join_a_share_group(target: Target, version: int) -> None:
    """Given JoinGroup to a share group with members, INCONSISTENT_GROUP_PROTOCOL. KIP-932."""
    group_id = ready_group(target)
    sharing = ShareGroupHeartbeatRequest(group_id=group_id, member_id=target.new_name("member"), subscribed_topic_names=["none"])
    expect(target.ask_newest(sharing, 1), error_code=ErrorCode.NONE, member_id=sharing.member_id)

    answer = Participant(target, group_id, protocol_type="consumer").try_to_join(version)

    sharing.member_epoch = -1
    expect(target.ask_newest(sharing, 1), error_code=ErrorCode.NONE)
    expect(answer, error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL, members=[])


# -- C-17: a consumer comes to a classic group -------------------------------------------------------------------------


@check("C-17a", api=BOTH, versions="0-1")
def a_consumer_converts_a_classic_group(target: Target, version: int) -> None:
    """Given a consumer's heartbeat to a classic group of consumers, the group is of the new kind at once, with the classic member and its
    assignment in it; that is told to join anew, and both share the topic. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    classic = stable_classic(target, topic)
    consumer = ConsumerMember(target, classic.group_id, [topic], version=version)

    consumer.join()

    group = described(target, classic.group_id)
    expect(group, error_code=ErrorCode.NONE)
    kinds = {one.member_id: one.member_type for one in group.members}
    expect_equal("the kinds of members", kinds, {consumer.member_id: CONSUMER_MEMBER, classic.member_id: CLASSIC_MEMBER})
    expect_equal("what the consumer has", consumer.owned, NONE_AT_ALL)
    expect(described_classic(target, classic.group_id, 6), error_code=NOT_FOUND)
    eventually(classic.heartbeat, lambda one: one.error_code == ErrorCode.REBALANCE_IN_PROGRESS, "the classic member is to join anew")
    share_out(consumer, classic, topic)


@check("C-17b", api=BOTH, versions="0-1")
def a_group_of_another_kind_of_client_is_not_converted(target: Target, version: int) -> None:
    """Given a consumer's heartbeat to a classic group whose protocol type is not "consumer", GROUP_ID_NOT_FOUND, and the group is as it was. KIP-848."""
    worker = Participant(target, ready_group(target), protocol_type="workers")
    stable(target, worker)

    answer = ConsumerMember(target, worker.group_id, ["none"], version=version).try_to_join()

    expect_refused(answer, NOT_FOUND, worker.group_id, "does not use the consumer embedded protocol")
    expect(worker.heartbeat(), error_code=ErrorCode.NONE)


@check("C-17c", api=BOTH, versions="0-1")
def a_group_whose_metadata_does_not_parse_is_not_converted(target: Target, version: int) -> None:
    """Given a consumer's heartbeat to a classic group of consumers whose metadata are no subscription, GROUP_ID_NOT_FOUND, and the group is as it was. KIP-848."""
    odd = Participant(target, ready_group(target), protocol_type="consumer", protocols={"range": b"x"})
    stable(target, odd)

    answer = ConsumerMember(target, odd.group_id, ["none"], version=version).try_to_join()

    expect_refused(answer, NOT_FOUND, odd.group_id, "malformed")
    expect(odd.heartbeat(), error_code=ErrorCode.NONE)


@check("C-17d", api=(*BOTH, "OffsetCommit", "OffsetFetch"), versions="0-1")
def a_group_of_offsets_alone_keeps_them(target: Target, version: int) -> None:
    """Given a group with nothing but committed offsets, a consumer's heartbeat makes it a consumer group, and its offsets are kept. KIP-848."""
    topic = topic_for_groups(target)
    group_id = ready_group(target)
    commit(target, group_id, topic, {0: 42})

    ConsumerMember(target, group_id, [topic], version=version).join()

    expect(described(target, group_id), error_code=ErrorCode.NONE)
    expect_equal("the offsets", all_offsets_of(target, group_id), {(topic.name, 0): 42})


@check("C-17e", api=BOTH, versions="0-1")
def the_last_consumer_leaves_a_classic_group_behind(target: Target, version: int) -> None:
    """Given a consumer group in which only classic members are left, it is classic again and PreparingRebalance; they join anew, and one leads. KIP-848."""
    topic = topic_for_groups(target, 2)
    classic = stable_classic(target, topic)
    consumer = ConsumerMember(target, classic.group_id, [topic], version=version)
    consumer.join()
    share_out(consumer, classic, topic)

    expect(consumer.leave(), error_code=ErrorCode.NONE)

    expect(described(target, classic.group_id), error_code=NOT_FOUND)
    found = described_classic(target, classic.group_id)
    expect(found, error_code=ErrorCode.NONE, group_state="PreparingRebalance", protocol_type="consumer")
    expect_equal("the members", [one.member_id for one in found.members], [classic.member_id])
    expect(classic.heartbeat(), error_code=ErrorCode.REBALANCE_IN_PROGRESS)
    generation = classic.generation_id
    expect(classic.join(), leader=classic.member_id, generation_id=generation + 1)
    wait_for_state(target, classic.group_id, "CompletingRebalance")


@check("C-17f", api=BOTH, versions="0-1")
def an_empty_classic_group_is_converted(target: Target, version: int) -> None:
    """Given a classic group whose members left, whatever their protocol type was, a consumer's heartbeat makes it a consumer group. KIP-848."""
    worker = Participant(target, ready_group(target), protocol_type="workers")
    stable(target, worker)
    worker.leave()
    wait_for_state(target, worker.group_id, "Empty")

    ConsumerMember(target, worker.group_id, ["none"], version=version).join()

    expect(described(target, worker.group_id), error_code=ErrorCode.NONE, group_state="Stable")


# -- C-26: no migration ------------------------------------------------------------------------------------------------


@check("C-26a", api=BOTH, versions="0-1", needs=NO_MIGRATION)
def without_migration_a_classic_group_stays_classic(target: Target, version: int) -> None:
    """Given group.consumer.migration.policy=disabled and a consumer's heartbeat to a classic group with members, GROUP_ID_NOT_FOUND, and the group
    is as it was; without members it is converted. KIP-848.
    """
    topic = topic_for_groups(target)
    classic = stable_classic(target, topic)
    consumer = ConsumerMember(target, classic.group_id, [topic], version=version)

    refused = consumer.try_to_join()
    still_there = classic.heartbeat()
    classic.leave()
    consumer.join()

    expect_refused(refused, NOT_FOUND, classic.group_id, "online upgrade is disabled")
    expect(still_there, error_code=ErrorCode.NONE)
    expect(described(target, classic.group_id), error_code=ErrorCode.NONE)


@check("C-26b", api=BOTH, needs=NO_MIGRATION)
def without_migration_a_classic_member_is_still_taken(target: Target) -> None:
    """Given group.consumer.migration.policy=disabled, JoinGroup to a consumer group with members is accepted, and an empty one becomes classic. KIP-848."""
    topic = topic_for_groups(target)
    consumer, other = member_of_all(target, topic), member_of_all(target, topic)
    other.leave()

    expect(classic_consumer(target, consumer.group_id, topic).join(), leader="", members=[])

    kinds = sorted(one.member_type for one in described(target, consumer.group_id).members)
    expect_equal("the kinds of members", kinds, [CLASSIC_MEMBER, CONSUMER_MEMBER])
    expect(classic_consumer(target, other.group_id, topic).join(), generation_id=1)
