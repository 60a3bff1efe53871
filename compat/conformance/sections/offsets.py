"""O: committed offsets: who may commit, what is stored, what is told, and when it is forgotten."""

import struct
import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import (
    NEVER_ISSUED,
    NO_GENERATION,
    Participant,
    alone,
    broker_setting,
    commit_request,
    described,
    expect_state,
    gather,
    pair,
    ready_group,
    stable,
    wait_for_state,
)
from pykbroker.compat.steps.offset_requests import NOTHING, Offset, all_offsets_of, ask_for_group, commit, offsets_of
from pykbroker.compat.target import PATIENCE_S, Target, Topic
from pykbroker.protocol.codec import encode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    ConsumerProtocolSubscription,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
)

LONGER_THAN_A_MINUTE_MS = 80_000
COMMIT = ("OffsetCommit", "OffsetFetch", "DescribeGroups")
MEMBERS_COMMIT = ("OffsetCommit", "OffsetFetch", "JoinGroup", "SyncGroup", "Heartbeat", "DescribeGroups")
FETCH = ("OffsetFetch", "OffsetCommit", "DescribeGroups")
DELETE = ("OffsetDelete", "OffsetCommit", "OffsetFetch", "JoinGroup", "SyncGroup", "DescribeGroups")
EXPIRING = Settings((("offsets.retention.check.interval.ms", "500"),))
A_MINUTE = Settings((("offsets.retention.check.interval.ms", "500"), ("offsets.retention.minutes", "1")))
"""The shortest retention that there is."""
UNKNOWN_ID = bytes(range(1, 17))
NOWHERE = Topic("no-such-topic-anywhere", UNKNOWN_ID, 1)


def expect_commit(error_code: int, expected: ErrorCode) -> None:
    """What a commit was answered for its only partition."""
    expect_equal("error_code of OffsetCommit", error_code, expected)


# -- who may commit ----------------------------------------------------------------------------------------------


@check("O-01a", api=COMMIT, versions="2-10")
def anybody_commits_to_a_group_that_is_not_there(target: Target, version: int) -> None:
    """Given a commit with generation -1 to no group, also with a member id or an instance id, it is stored and a simple group is made."""
    topic = target.new_topic()
    for member_id, instance_id in (("", None), (NEVER_ISSUED, None), ("", "one")):
        group_id = ready_group(target)
        request = commit_request(group_id, topic, {0: 42})
        request.member_id, request.group_instance_id = member_id, instance_id if version >= 7 else None

        answer = target.ask(request, version)

        expect(answer.topics[0].partitions[0], error_code=ErrorCode.NONE, partition_index=0)
        expect_equal("committed_offset", offsets_of(target, group_id, topic)[0].committed_offset, 42)
        expect(described(target, group_id), group_state="Empty", protocol_type="", members=[])


@check("O-01b", api=("OffsetCommit", "OffsetFetch", "DeleteGroups"), versions="2-10", alone=True)
def the_empty_group_id_has_offsets_like_any_other(target: Target, version: int) -> None:
    """Given a commit with generation -1 to the empty group id, it is stored there."""
    target.forget_group_after("")
    topic = target.new_topic()
    ready_group(target)

    commit(target, "", topic, {0: 42}, version)

    expect_equal("committed_offset", offsets_of(target, "", topic)[0].committed_offset, 42)


@check("O-02", api=COMMIT, versions="2-10")
def a_generation_of_no_group_is_refused(target: Target, version: int) -> None:
    """Given a commit with a generation to a group that is not there, GROUP_ID_NOT_FOUND from v9 on, ILLEGAL_GENERATION before; nothing is made. KIP-848."""
    topic = target.new_topic()
    for generation_id in (0, 1):
        group_id = ready_group(target)
        request = commit_request(group_id, topic, {0: 42})
        request.generation_id_or_member_epoch, request.member_id = generation_id, NEVER_ISSUED

        answer = target.ask(request, version)

        wanted = ErrorCode.GROUP_ID_NOT_FOUND if version >= 9 else ErrorCode.ILLEGAL_GENERATION
        expect(answer.topics[0].partitions[0], error_code=wanted)
        expect_state(target, group_id, "Dead")


@check("O-03a", api=MEMBERS_COMMIT, versions="2-10")
def only_members_commit_to_a_group_with_members(target: Target, version: int) -> None:
    """Given a group with members, a commit without generation or without member id is UNKNOWN_MEMBER_ID or ILLEGAL_GENERATION; of a member it is stored."""
    topic = target.new_topic()
    member = alone(target)

    outside = member.commit(topic, 1, version=version, generation_id_or_member_epoch=NO_GENERATION, member_id="")
    without_generation = member.commit(topic, 1, version=version, generation_id_or_member_epoch=NO_GENERATION)
    without_id = member.commit(topic, 1, version=version, member_id="")
    of_a_stranger = member.commit(topic, 1, version=version, member_id=NEVER_ISSUED)
    of_the_past = member.commit(topic, 1, version=version, generation_id_or_member_epoch=0)
    right = member.commit(topic, 7, version=version)

    expect_commit(outside, ErrorCode.UNKNOWN_MEMBER_ID)
    expect_commit(without_generation, ErrorCode.ILLEGAL_GENERATION)
    expect_commit(without_id, ErrorCode.UNKNOWN_MEMBER_ID)
    expect_commit(of_a_stranger, ErrorCode.UNKNOWN_MEMBER_ID)
    expect_commit(of_the_past, ErrorCode.ILLEGAL_GENERATION)
    expect_commit(right, ErrorCode.NONE)
    expect_equal("committed_offset", offsets_of(target, member.group_id, topic)[0].committed_offset, 7)


@check("O-03b", api=(*MEMBERS_COMMIT, "LeaveGroup"), versions="2-10")
def an_empty_group_is_open_again(target: Target, version: int) -> None:
    """Given a group that all have left, generation -1 commits, even with a former member's id; with a generation it is UNKNOWN_MEMBER_ID."""
    topic = target.new_topic()
    member = alone(target)
    member.leave()
    wait_for_state(target, member.group_id, "Empty")

    with_generation = member.commit(topic, 1, version=version)
    of_a_former_member = member.commit(topic, 2, version=version, generation_id_or_member_epoch=NO_GENERATION)

    expect_commit(with_generation, ErrorCode.UNKNOWN_MEMBER_ID)
    expect_commit(of_a_former_member, ErrorCode.NONE)
    commit(target, member.group_id, topic, {0: 3}, version)
    expect_equal("committed_offset", offsets_of(target, member.group_id, topic)[0].committed_offset, 3)


@check("O-04", api=MEMBERS_COMMIT, versions="2-10")
def commits_in_a_rebalance(target: Target, version: int) -> None:
    """Given PreparingRebalance, a member's commit is stored; in CompletingRebalance it is REBALANCE_IN_PROGRESS, of another generation ILLEGAL_GENERATION."""
    topic = target.new_topic()
    leader, follower = pair(target)
    leader.ask_to_join()
    follower.wait_for_rebalance()

    preparing = follower.commit(topic, 5, version=version)
    follower.join()
    leader.joined()
    expect_state(target, leader.group_id, "CompletingRebalance")
    completing = follower.commit(topic, 6, version=version)
    of_the_past = follower.commit(topic, 6, version=version, generation_id_or_member_epoch=2)

    expect_commit(preparing, ErrorCode.NONE)
    expect_commit(completing, ErrorCode.REBALANCE_IN_PROGRESS)
    expect_commit(of_the_past, ErrorCode.ILLEGAL_GENERATION)
    expect_equal("committed_offset", offsets_of(target, leader.group_id, topic)[0].committed_offset, 5)


# -- what is stored ----------------------------------------------------------------------------------------------


@check("O-05a", api=(*COMMIT, "DescribeConfigs"), versions="2-10")
def metadata_has_a_limit_in_characters(target: Target, version: int) -> None:
    """Given offset.metadata.max.bytes, as many characters are stored, of two bytes each too; one more is OFFSET_METADATA_TOO_LARGE, for its partition only."""
    limit = int(broker_setting(target, "offset.metadata.max.bytes"))
    topic, group_id = target.new_topic(partitions=2), ready_group(target)
    request = commit_request(group_id, topic, {0: 1, 1: 2})
    too_long, just_right = request.topics[0].partitions
    too_long.committed_metadata, just_right.committed_metadata = "é" * (limit + 1), "é" * limit

    answer = target.ask(request, version)

    errors = {one.partition_index: one.error_code for one in answer.topics[0].partitions}
    expect_equal("the errors", errors, {0: ErrorCode.OFFSET_METADATA_TOO_LARGE, 1: ErrorCode.NONE})
    expect_equal("the offsets", offsets_of(target, group_id, topic, (0, 1)), {0: NOTHING, 1: Offset(2, -1, "é" * limit, 0)})


@check("O-05b", api=COMMIT, versions="2-10")
def null_metadata_is_told_as_empty(target: Target, version: int) -> None:
    """Given a commit with null metadata, OffsetFetch tells the empty string; other metadata as it was."""
    topic, group_id = target.new_topic(partitions=2), ready_group(target)

    commit(target, group_id, topic, {0: 1}, version, metadata=None)
    commit(target, group_id, topic, {1: 2}, version, metadata="mine")

    expect_equal("the offsets", offsets_of(target, group_id, topic, (0, 1)), {0: Offset(1, -1, "", 0), 1: Offset(2, -1, "mine", 0)})


@check("O-06a", api=COMMIT, versions="2-9")
def unknown_partitions_are_refused_one_by_one(target: Target, version: int) -> None:
    """Given a commit with unknown topics and partitions, UNKNOWN_TOPIC_OR_PARTITION for each, ahead of the others of their topic; the rest is stored."""
    topic, group_id = target.new_topic(), ready_group(target)
    request = commit_request(group_id, NOWHERE, {0: 1})
    request.topics += commit_request(group_id, topic, {0: 5, 1: 6, -1: 7}).topics

    answer = target.ask(request, version)

    found = {one.name: [(part.partition_index, part.error_code) for part in one.partitions] for one in answer.topics}
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    expect_equal("the topics", found, {topic.name: [(1, unknown), (-1, unknown), (0, 0)], NOWHERE.name: [(0, unknown)]})
    expect_equal("all offsets", all_offsets_of(target, group_id), {(topic.name, 0): 5})


@check("O-06b", api=COMMIT, versions="10-10")
def unknown_topic_ids_are_refused_one_by_one(target: Target, version: int) -> None:
    """Given a commit by topic id with an unknown id, UNKNOWN_TOPIC_ID for its partitions; the rest is stored. KIP-848."""
    topic, group_id = target.new_topic(), ready_group(target)
    request = commit_request(group_id, NOWHERE, {0: 1})
    request.topics += commit_request(group_id, topic, {0: 5, 1: 6}).topics

    answer = target.ask(request, version)

    found = {one.topic_id: {part.partition_index: part.error_code for part in one.partitions} for one in answer.topics}
    wanted = {UNKNOWN_ID: {0: ErrorCode.UNKNOWN_TOPIC_ID}, topic.topic_id: {0: ErrorCode.NONE, 1: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}}
    expect_equal("the topics", found, wanted)
    expect_equal("all offsets", all_offsets_of(target, group_id), {(topic.name, 0): 5})


@check("O-06c", api=COMMIT, versions="2-10")
def a_topic_without_partitions_is_not_answered(target: Target, version: int) -> None:
    """Given a commit that names a topic and none of its partitions, the answer leaves it out."""
    topic, other, group_id = target.new_topic(), target.new_topic(), ready_group(target)
    request = commit_request(group_id, topic, {})
    request.topics += commit_request(group_id, other, {0: 5}).topics

    answer = target.ask(request, version)

    found = [one.topic_id if version >= 10 else one.name for one in answer.topics]
    expect_equal("the topics", found, [other.topic_id if version >= 10 else other.name])


@check("O-06d", api=COMMIT, versions="2-10")
def any_number_is_an_offset(target: Target, version: int) -> None:
    """Given commits of offsets that the log does not have, -5 and 10^12 among them, they are stored."""
    topic, group_id = target.new_topic(), ready_group(target)
    for offset in (-5, 10**12):
        commit(target, group_id, topic, {0: offset}, version)

        expect_equal("the offset", offsets_of(target, group_id, topic), {0: Offset(offset, -1, "", 0)})


@check("O-14", api=COMMIT, versions="2-10")
def the_last_commit_wins(target: Target, version: int) -> None:
    """Given a commit of a lower offset than the one before, it is the one that is told."""
    topic, group_id = target.new_topic(), ready_group(target)

    commit(target, group_id, topic, {0: 100}, version)
    commit(target, group_id, topic, {0: 3}, version)

    expect_equal("the offset", offsets_of(target, group_id, topic), {0: Offset(3, -1, "", 0)})


@check("O-15", api=FETCH, versions="1-10")
def the_leader_epoch_is_told(target: Target, version: int) -> None:
    """Given a commit with a leader epoch (v6+) and one without, OffsetFetch v5+ tells it, and -1. KIP-320."""
    topic, group_id = target.new_topic(partitions=2), ready_group(target)
    request = commit_request(group_id, topic, {0: 1}, leader_epoch=5)
    expect(target.ask_newest(request, 6).topics[0].partitions[0], error_code=ErrorCode.NONE)
    commit(target, group_id, topic, {1: 2})

    found = offsets_of(target, group_id, topic, (0, 1), version)

    expect_equal("the offsets", found, {0: Offset(1, 5 if version >= 5 else -1, "", 0), 1: Offset(2, -1, "", 0)})


# -- what is told ------------------------------------------------------------------------------------------------


@check("O-07a", api=FETCH, versions="1-10")
def a_partition_without_a_commit_has_none(target: Target, version: int) -> None:
    """Given OffsetFetch of partitions without a commit, there or not, of a group that is there or not: -1, epoch -1, no metadata, no error."""
    topic, group_id = target.new_topic(partitions=2), ready_group(target)
    commit(target, group_id, topic, {0: 1})

    of_this = offsets_of(target, group_id, topic, (1, 7), version)
    of_none = offsets_of(target, ready_group(target), topic, (0, 7), version)

    expect_equal("the offsets of a group", of_this, {1: NOTHING, 7: NOTHING})
    expect_equal("the offsets of no group", of_none, {0: NOTHING, 7: NOTHING})


@check("O-07b", api=FETCH, versions="1-10")
def an_unknown_topic_has_no_offsets(target: Target, version: int) -> None:
    """Given OffsetFetch of an unknown topic, its partitions are answered as without a commit; from v10 on, by id, UNKNOWN_TOPIC_ID."""
    topic, group_id = target.new_topic(), ready_group(target)
    commit(target, group_id, topic, {0: 1})

    found = offsets_of(target, group_id, NOWHERE, (0, 1), version)

    nothing = Offset(-1, -1, "", ErrorCode.UNKNOWN_TOPIC_ID if version >= 10 else ErrorCode.NONE)
    expect_equal("the offsets", found, {0: nothing, 1: nothing})


@check("O-08", api=FETCH, versions="2-10")
def all_offsets_are_told_where_no_topics_are_named(target: Target, version: int) -> None:
    """Given OffsetFetch v2+ with null topics, every committed partition is told; with an empty list, none. KIP-88."""
    one, other, group_id = target.new_topic(partitions=3), target.new_topic(), ready_group(target)
    commit(target, group_id, one, {0: 10, 2: 12})
    commit(target, group_id, other, {0: 20})

    found = all_offsets_of(target, group_id, version)

    names: list[str | bytes] = [one.topic_id, other.topic_id] if version >= 10 else [one.name, other.name]
    expect_equal("all offsets", found, {(names[0], 0): 10, (names[0], 2): 12, (names[1], 0): 20})
    if version < 8:
        none = target.ask(OffsetFetchRequest(group_id=group_id, topics=[]), version)
        expect(none, error_code=ErrorCode.NONE, topics=[])
    else:
        expect(ask_for_group(target, group_id, [], version), error_code=ErrorCode.NONE, topics=[])


@check("O-09", api=FETCH, versions="8-10")
def several_groups_are_answered_each(target: Target, version: int) -> None:
    """Given OffsetFetch v8+ of several groups, one of them twice, one unknown and one the empty id, each has an answer. KIP-709."""
    topic, group_id, unknown = target.new_topic(), ready_group(target), ready_group(target)
    commit(target, group_id, topic, {0: 10})
    wanted = OffsetFetchRequest.OffsetFetchRequestTopics(name=topic.name, topic_id=topic.topic_id, partition_indexes=[0])
    asked = [group_id, unknown, group_id, ""]
    groups = [OffsetFetchRequest.OffsetFetchRequestGroup(group_id=name, topics=[wanted]) for name in asked]

    answer = target.ask(OffsetFetchRequest(groups=groups), version)

    found = sorted((one.group_id, one.error_code, one.topics[0].partitions[0].committed_offset) for one in answer.groups)
    expect_equal("the groups", found, sorted([(group_id, 0, 10), (unknown, 0, -1), (group_id, 0, 10), ("", 0, -1)]))


@check("O-10a", api=MEMBERS_COMMIT)
def a_member_id_matters_to_no_classic_group(target: Target) -> None:
    """Given OffsetFetch v9+ with some member id and epoch, of a classic group or of none, they are ignored. KIP-848."""
    topic = target.new_topic()
    member = alone(target)
    expect_commit(member.commit(topic, 4), ErrorCode.NONE)

    of_this = ask_for_group(target, member.group_id, None, 9, member_id=NEVER_ISSUED, member_epoch=77)
    of_none = ask_for_group(target, ready_group(target), None, 9, member_id=NEVER_ISSUED, member_epoch=77)

    expect(of_this, error_code=ErrorCode.NONE)
    expect_equal("committed_offset", [one.committed_offset for one in of_this.topics[0].partitions], [4])
    expect(of_none, error_code=ErrorCode.NONE, topics=[])


@check("O-10b", api=("OffsetFetch", "ConsumerGroupHeartbeat"), versions="9-10")
def a_member_of_a_consumer_group_is_known(target: Target, version: int) -> None:
    """Given OffsetFetch v9+ of a consumer group, an unknown member is UNKNOWN_MEMBER_ID and a wrong epoch STALE_MEMBER_EPOCH; null and -1 ask nothing. KIP-848."""
    group_id, member_id = ready_group(target), target.new_name("member")
    joined = target.ask_newest(consumer_heartbeat(group_id, member_id, ["none"]), 1)
    expect(joined, error_code=ErrorCode.NONE)

    cases: list[tuple[str | None, int, ErrorCode]] = [
        (member_id, joined.member_epoch, ErrorCode.NONE),
        (None, -1, ErrorCode.NONE),
        (NEVER_ISSUED, joined.member_epoch, ErrorCode.UNKNOWN_MEMBER_ID),
        ("", -1, ErrorCode.UNKNOWN_MEMBER_ID),
        (member_id, joined.member_epoch + 7, ErrorCode.STALE_MEMBER_EPOCH),
    ]
    for asked_by, epoch, error_code in cases:
        group = ask_for_group(target, group_id, None, version, member_id=asked_by, member_epoch=epoch)
        expect(group, error_code=error_code, topics=[])


def consumer_heartbeat(group_id: str, member_id: str, topics: list[str]) -> ConsumerGroupHeartbeatRequest:
    """The first heartbeat of a member of a consumer group (KIP-848)."""
    return ConsumerGroupHeartbeatRequest(
        group_id=group_id,
        member_id=member_id,
        member_epoch=0,
        rebalance_timeout_ms=10_000,
        subscribed_topic_names=topics,
        topic_partitions=[],
    )


# -- when offsets go ---------------------------------------------------------------------------------------------


@check("O-11", api=COMMIT, versions="2-4", needs=EXPIRING)
def an_offset_lives_as_long_as_its_commit_said(target: Target, version: int) -> None:
    """Given a commit v2-v4 with a retention of 600 ms, the offset is gone after it, and the group with its last; one of 600 s stays, and without. KIP-211."""
    topic, short, long, usual = target.new_topic(), *(ready_group(target) for _ in range(3))
    for group_id, retention_ms in ((short, 600), (long, 600_000), (usual, -1)):
        request = commit_request(group_id, topic, {0: 1})
        request.retention_time_ms = retention_ms
        expect(target.ask(request, version).topics[0].partitions[0], error_code=ErrorCode.NONE)
    started = time.monotonic()

    wait_for_state(target, short, "Dead", within_s=5)

    expect_that(time.monotonic() - started > 0.55, "the offset lives as long as the commit said")
    expect_equal("the offset", offsets_of(target, short, topic), {0: NOTHING})
    for group_id in (long, usual):
        expect_equal("the offset", offsets_of(target, group_id, topic), {0: Offset(1, -1, "", 0)})


@check("O-11b", api=COMMIT, needs=A_MINUTE)
def an_offset_lives_a_minute_after_the_last_member(target: Target) -> None:
    """Given offsets.retention.minutes=1, and a commit v9 of a group whose only member leaves, the offset is there for a minute, and then gone, and the
    group with it; that of a group with a member stays. KIP-211.
    """
    topic, left, kept = target.new_topic(), alone(target), alone(target, session_timeout_ms=LONGER_THAN_A_MINUTE_MS)
    for member in (left, kept):
        expect_equal("the error of OffsetCommit", member.commit(topic, 1), ErrorCode.NONE)
    expect(left.leave(), error_code=ErrorCode.NONE)
    started = time.monotonic()

    wait_for_state(target, left.group_id, "Dead", within_s=LONGER_THAN_A_MINUTE_MS / 1000)

    expect_that(time.monotonic() - started > 55, "the offset lives for a minute")
    expect_equal("the offset of whom all have left", offsets_of(target, left.group_id, topic), {0: NOTHING})
    expect_equal("the offset of who stays", offsets_of(target, kept.group_id, topic), {0: Offset(1, -1, "", 0)})


@check("O-12", api=(*COMMIT, "DeleteTopics"))
def a_deleted_topic_has_no_offsets(target: Target) -> None:
    """Given a topic that is deleted, its committed offsets are gone soon, and those of other topics stay."""
    doomed, other, group_id = target.new_topic(), target.new_topic(), ready_group(target)
    commit(target, group_id, doomed, {0: 1})
    commit(target, group_id, other, {0: 2})
    target.delete_topic(doomed.name)
    deadline = time.monotonic() + PATIENCE_S

    while (found := all_offsets_of(target, group_id)).keys() != {(other.name, 0)}:
        expect_that(time.monotonic() < deadline, f"the offsets of the deleted topic go; there are {found}")
        time.sleep(0.05)

    expect_equal("the offset", offsets_of(target, group_id, other), {0: Offset(2, -1, "", 0)})


# -- OffsetDelete ------------------------------------------------------------------------------------------------


def delete_offsets(target: Target, group_id: str, *topics: tuple[str, list[int]]) -> OffsetDeleteResponse:
    """OffsetDelete of these partitions."""
    wanted = [
        OffsetDeleteRequest.OffsetDeleteRequestTopic(
            name=name, partitions=[OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=index) for index in partitions]
        )
        for name, partitions in topics
    ]
    return target.ask(OffsetDeleteRequest(group_id=group_id, topics=wanted), 0)


def errors_of(answer: OffsetDeleteResponse) -> dict[tuple[str, int], int]:
    """The error of every partition."""
    return {(topic.name, one.partition_index): one.error_code for topic in answer.topics for one in topic.partitions}


def subscriber(target: Target, topic: Topic) -> Participant:
    """A member of a new group whose subscription names that topic; it has not joined."""
    metadata = struct.pack(">h", 0) + encode(ConsumerProtocolSubscription(topics=[topic.name], user_data=None), 0)
    return Participant(target, ready_group(target), protocol_type="consumer", protocols={"range": metadata})


@check("O-13a", api=DELETE)
def offsets_of_subscribed_topics_are_kept(target: Target) -> None:
    """Given members that are subscribed to a topic, OffsetDelete is GROUP_SUBSCRIBED_TO_TOPIC for it, and deletes those of others. KIP-496."""
    subscribed, other = target.new_topic(), target.new_topic()
    member = subscriber(target, subscribed)
    stable(target, member)
    expect_commit(member.commit(subscribed, 1), ErrorCode.NONE)
    expect_commit(member.commit(other, 2), ErrorCode.NONE)

    answer = delete_offsets(target, member.group_id, (subscribed.name, [0]), (other.name, [0]))

    expect(answer, error_code=ErrorCode.NONE)
    wanted = {(subscribed.name, 0): ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, (other.name, 0): ErrorCode.NONE}
    expect_equal("the errors", errors_of(answer), wanted)
    expect_equal("all offsets", all_offsets_of(target, member.group_id), {(subscribed.name, 0): 1})


@check("O-13b", api=DELETE)
def offsets_are_kept_in_a_rebalance_too(target: Target) -> None:
    """Given a group that is subscribed to a topic and has not been assigned anything yet, GROUP_SUBSCRIBED_TO_TOPIC. KIP-496."""
    topic = target.new_topic()
    member = subscriber(target, topic)
    gather(target, member)

    answer = delete_offsets(target, member.group_id, (topic.name, [0]))

    expect(answer, error_code=ErrorCode.NONE)
    expect_equal("the errors", errors_of(answer), {(topic.name, 0): ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC})


@check("O-13c", api=DELETE)
def offsets_of_other_protocols_are_kept_whole(target: Target) -> None:
    """Given a group with members whose protocol type is not consumer, OffsetDelete is NON_EMPTY_GROUP for the whole. KIP-496."""
    topic = target.new_topic()
    member = alone(target)
    expect_commit(member.commit(topic, 1), ErrorCode.NONE)

    answer = delete_offsets(target, member.group_id, (topic.name, [0]))

    expect(answer, error_code=ErrorCode.NON_EMPTY_GROUP, topics=[])
    expect_equal("all offsets", all_offsets_of(target, member.group_id), {(topic.name, 0): 1})


@check("O-13d", api=DELETE)
def offsets_of_no_group_cannot_be_deleted(target: Target) -> None:
    """Given OffsetDelete of an unknown group GROUP_ID_NOT_FOUND, of the empty group id INVALID_GROUP_ID, for the whole. KIP-496."""
    topic = target.new_topic()

    unknown = delete_offsets(target, ready_group(target), (topic.name, [0]))
    nameless = delete_offsets(target, "", (topic.name, [0]))

    expect(unknown, error_code=ErrorCode.GROUP_ID_NOT_FOUND, topics=[])
    expect(nameless, error_code=ErrorCode.INVALID_GROUP_ID, topics=[])


@check("O-13e", api=DELETE)
def offsets_are_deleted_one_by_one(target: Target) -> None:
    """Given OffsetDelete of committed, uncommitted and unknown partitions: NONE, NONE and UNKNOWN_TOPIC_OR_PARTITION; what was not named stays. KIP-496."""
    topic, group_id = target.new_topic(partitions=3), ready_group(target)
    commit(target, group_id, topic, {0: 1, 1: 2})

    answer = delete_offsets(target, group_id, (topic.name, [0, 2, 9]), (NOWHERE.name, [0]))

    expect(answer, error_code=ErrorCode.NONE)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    wanted = {(topic.name, 0): 0, (topic.name, 2): 0, (topic.name, 9): unknown, (NOWHERE.name, 0): unknown}
    expect_equal("the errors", errors_of(answer), wanted)
    expect_equal("all offsets", all_offsets_of(target, group_id), {(topic.name, 1): 2})


@check("O-13f", api=(*DELETE, "ConsumerGroupHeartbeat"))
def a_consumer_groups_topics_are_kept(target: Target) -> None:
    """Given a consumer group that is subscribed to a topic, OffsetDelete is GROUP_SUBSCRIBED_TO_TOPIC for it. KIP-848."""
    topic, group_id = target.new_topic(), ready_group(target)
    expect(target.ask_newest(consumer_heartbeat(group_id, target.new_name("member"), [topic.name]), 1), error_code=ErrorCode.NONE)

    answer = delete_offsets(target, group_id, (topic.name, [0]))

    expect(answer, error_code=ErrorCode.NONE)
    expect_equal("the errors", errors_of(answer), {(topic.name, 0): ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC})
