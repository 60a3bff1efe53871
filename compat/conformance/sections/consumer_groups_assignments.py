"""C: how partitions come to the members of a consumer group, and from one to another (KIP-848)."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import expect_seconds, ready_group
from pykbroker.compat.steps.consumer_members import (
    HEARTBEAT,
    LEAVING,
    NONE_AT_ALL,
    SHORT_CONSUMER_SESSIONS,
    ConsumerMember,
    Partitions,
    all_of,
    assigned,
    configure,
    described,
    described_member,
    expect_refused,
    member_of_all,
    members_in_turn,
    quick_group,
    shown_as,
    topic_for_groups,
)
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreatePartitionsRequest, CreateTopicsRequest

GROWING = (*HEARTBEAT, "CreatePartitions")


def second_member(first: ConsumerMember, **options: object) -> ConsumerMember:
    """Another with the same subscription, which has not joined yet."""
    return ConsumerMember(first.target, first.group_id, first.names or [], version=first.version, **options)  # type: ignore[arg-type]


def told_to_give_up(first: ConsumerMember, everything: Partitions) -> Partitions:
    """Heartbeat until the member is told that it has less than everything; what it may keep."""
    answer = first.wait_to_be_told()
    kept = assigned(answer) or NONE_AT_ALL
    expect_that(kept < everything and kept, f"what it may keep is a part of what it has; it is {kept!r}")
    return kept


# -- C-06, C-07: what a member is told -------------------------------------------------------------------------------


@check("C-06a", api=HEARTBEAT, versions="0-1")
def the_first_member_is_assigned_everything_at_once(target: Target, version: int) -> None:
    """Given the first member, its joining heartbeat is answered with epoch 2 (one for the member, one for the topics), an interval of 5000 ms, and
    all partitions by topic id. KIP-848.
    """
    topics = [topic_for_groups(target, 3), topic_for_groups(target)]
    member = ConsumerMember(target, ready_group(target), topics, version=version)

    answer = member.join()

    expect(answer, error_message=None, member_id=member.member_id, member_epoch=2, heartbeat_interval_ms=5000)
    expect_equal("the assignment", assigned(answer), all_of(*topics))
    expect(described(target, member.group_id), group_state="Stable", group_epoch=2, assignment_epoch=2)


@check("C-06b", api=HEARTBEAT, versions="0-1")
def nothing_new_is_told_as_null(target: Target, version: int) -> None:
    """Given heartbeats of a member that has its assignment, they are answered in the same epoch, with a null assignment. KIP-848."""
    member = member_of_all(target, topic_for_groups(target, 2), version=version)
    epoch = member.epoch

    for answer in (member.heartbeat(), member.own(), member.heartbeat(subscribed_topic_names=member.names)):
        expect(answer, error_code=ErrorCode.NONE, member_epoch=epoch, heartbeat_interval_ms=5000, assignment=None)
    expect(described(target, member.group_id), group_epoch=epoch, group_state="Stable")


@check("C-06c", api=HEARTBEAT, versions="0-1")
def assignments_are_not_made_all_the_time(target: Target, version: int) -> None:
    """Given a second member within consumer.assignment.interval.ms of an assignment, it joins in the epoch of that, with nothing, and the group is
    Assigning; a heartbeat after the interval has its share. KIP-1263.
    """
    topic = topic_for_groups(target, 2)
    group_id = ready_group(target)
    configure(target, group_id, **{"consumer.assignment.interval.ms": "1500"})
    first = ConsumerMember(target, group_id, [topic], version=version)
    started = time.monotonic()
    first.join()
    second = second_member(first)

    answer = second.join()

    expect(answer, member_epoch=2)
    expect_equal("the assignment", assigned(answer), NONE_AT_ALL)
    expect(described(target, group_id), group_state="Assigning", group_epoch=3, assignment_epoch=2)
    told_to_give_up(first, all_of(topic))
    expect_seconds("the assignment", time.monotonic() - started, 1.5, 10)
    expect(described(target, group_id), group_epoch=3, assignment_epoch=3)
    members_in_turn([first, second], all_of(topic))


@check("C-06d", api=HEARTBEAT, versions="0-1")
def a_wider_subscription_waits_for_its_turn(target: Target, version: int) -> None:
    """Given a member that subscribes to one more topic within consumer.assignment.interval.ms, that heartbeat is answered in the old epoch with null; one
    after the interval has the other topic's partitions too, in the next epoch. KIP-848, KIP-1263.
    """
    before, more = topic_for_groups(target), topic_for_groups(target, 2)
    member = member_in_no_hurry(target, before, version)

    answer = member.heartbeat(subscribed_topic_names=[before.name, more.name])

    expect(answer, error_code=ErrorCode.NONE, member_epoch=2, assignment=None)
    expect(described(target, member.group_id), group_epoch=3, assignment_epoch=2)
    member.wait_for(all_of(before, more))
    expect_equal("the epoch", member.epoch, 3)


@check("C-06e", api=HEARTBEAT, versions="0-1")
def what_is_unsubscribed_is_given_up_at_once(target: Target, version: int) -> None:
    """Given a member that subscribes to another topic instead within consumer.assignment.interval.ms, that heartbeat takes the first topic's partitions,
    in the old epoch; one after the interval has the other topic's, in the next. KIP-848, KIP-1263.
    """
    before, after = topic_for_groups(target), topic_for_groups(target, 2)
    member = member_in_no_hurry(target, before, version)

    answer = member.heartbeat(subscribed_topic_names=[after.name])

    expect(answer, error_code=ErrorCode.NONE, member_epoch=2)
    expect_equal("the assignment", assigned(answer), NONE_AT_ALL)
    expect(described(target, member.group_id), group_epoch=3, assignment_epoch=2)
    member.wait_for(all_of(after))
    expect_equal("the epoch", member.epoch, 3)


def member_in_no_hurry(target: Target, topic: Topic, version: int) -> ConsumerMember:
    """The first member of a group, just assigned a topic; the next assignment is a second and a half off."""
    group_id = ready_group(target)
    configure(target, group_id, **{"consumer.assignment.interval.ms": "1500"})
    member = ConsumerMember(target, group_id, [topic], version=version)
    expect_equal("the assignment", assigned(member.join()), all_of(topic))
    return member


@check("C-07a", api=HEARTBEAT, versions="0-1")
def who_says_everything_is_told_everything(target: Target, version: int) -> None:
    """Given a heartbeat with rebalance timeout, subscription and owned partitions, the answer has the assignment although nothing changed; so has one that
    joins anew. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    member = member_of_all(target, topic, version=version)
    epoch = member.epoch

    full = member.own(rebalance_timeout_ms=member.rebalance_timeout_ms, subscribed_topic_names=member.names)
    anew = member.try_to_join()

    for answer in (full, anew):
        expect(answer, error_code=ErrorCode.NONE, member_epoch=epoch)
        expect_equal("the assignment", assigned(answer), all_of(topic))


@check("C-07b", api=HEARTBEAT, versions="0-1")
def who_says_a_part_is_told_nothing(target: Target, version: int) -> None:
    """Given a heartbeat that leaves one of the three out, or all but the owned partitions, the assignment is null. KIP-848."""
    topic = topic_for_groups(target, 2)
    member = member_of_all(target, topic, version=version)

    owned = member.own()
    without_timeout = member.own(subscribed_topic_names=member.names)
    without_names = member.own(rebalance_timeout_ms=member.rebalance_timeout_ms)
    without_owned = member.heartbeat(rebalance_timeout_ms=member.rebalance_timeout_ms, subscribed_topic_names=member.names)

    for answer in (owned, without_timeout, without_names, without_owned):
        expect(answer, error_code=ErrorCode.NONE, member_id=member.member_id, assignment=None)


# -- C-08, C-09: from one member to another --------------------------------------------------------------------------


@check("C-08a", api=HEARTBEAT, versions="0-1")
def a_partition_is_given_up_before_it_is_given(target: Target, version: int) -> None:
    """Given a second member, it advances with nothing while the first, in its old epoch, is told to give up; only what the first says it no longer
    owns goes to the second, and the first advances with that word. KIP-848.
    """
    topic = topic_for_groups(target, 4)
    first = member_of_all(target, topic, version=version)
    old_epoch = first.epoch
    second = second_member(first)
    second.join()

    kept = told_to_give_up(first, all_of(topic))
    new_epoch = described(target, first.group_id).group_epoch
    waiting = second.wait_for_epoch(new_epoch)

    expect_equal("the first member's epoch", first.epoch, old_epoch)
    expect_equal("what it keeps", len(kept), 2)
    expect(waiting, member_epoch=new_epoch)
    expect_equal("what the second has", second.owned, NONE_AT_ALL)
    expect(described(target, first.group_id), group_state="Reconciling")
    expect(first.own(kept), error_code=ErrorCode.NONE, member_epoch=new_epoch, assignment=None)
    second.wait_for(all_of(topic) - kept)
    expect(described(target, first.group_id), group_state="Stable")


@check("C-08b", api=HEARTBEAT, versions="0-1")
def giving_up_has_to_be_said(target: Target, version: int) -> None:
    """Given a member told to give up partitions, heartbeats with null owned partitions, or with all of them, do not confirm it: it stays in its epoch and
    the other gets nothing. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    first = member_of_all(target, topic, version=version)
    old_epoch = first.epoch
    second = second_member(first)
    second.join()
    kept = told_to_give_up(first, all_of(topic))

    for answer in (first.heartbeat(), first.own(all_of(topic)), first.heartbeat()):
        expect(answer, error_code=ErrorCode.NONE, member_epoch=old_epoch)
        second.own()
        expect_equal("what the second has", second.owned, NONE_AT_ALL)
    expect(described(target, first.group_id), group_state="Reconciling")
    first.own(kept)
    second.wait_for(all_of(topic) - kept)


@check("C-08c", api=HEARTBEAT, versions="0-1")
def assignment_and_target_are_described_apart(target: Target, version: int) -> None:
    """Given a member told to give up, ConsumerGroupDescribe has all it still has as its assignment and what it may keep as its target; of the second it
    has nothing as assignment and the rest as target. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    first = member_of_all(target, topic, version=version)
    second = second_member(first)
    second.join()
    kept = told_to_give_up(first, all_of(topic))
    second.wait_for_epoch(described(target, first.group_id).group_epoch)

    one, other = described_member(target, first), described_member(target, second)

    expect_equal("the first's assignment", shown_as(one.assignment), all_of(topic))
    expect_equal("the first's target", shown_as(one.target_assignment), kept)
    expect_equal("the second's assignment", shown_as(other.assignment), NONE_AT_ALL)
    expect_equal("the second's target", shown_as(other.target_assignment), all_of(topic) - kept)


@check("C-09", api=HEARTBEAT, versions="0-1")
def who_does_not_give_up_in_time_is_removed(target: Target, version: int) -> None:
    """Given a member that goes on heartbeating but does not give up within its rebalance timeout, it is removed: its heartbeats are UNKNOWN_MEMBER_ID,
    and the other gets everything. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    first = member_of_all(target, topic, version=version, rebalance_timeout_ms=700)
    second = second_member(first)
    second.join()
    told_to_give_up(first, all_of(topic))
    told_at = time.monotonic()

    answer = eventually(first.heartbeat, lambda one: one.error_code != ErrorCode.NONE, "the member is removed")

    expect_seconds("the removal", time.monotonic() - told_at, 0.4, 10)
    expect_refused(answer, ErrorCode.UNKNOWN_MEMBER_ID, first.member_id)
    second.wait_for(all_of(topic))
    expect_equal("the members", [one.member_id for one in described(target, first.group_id).members], [second.member_id])


# -- C-12: who leaves ------------------------------------------------------------------------------------------------


@check("C-12a", api=HEARTBEAT, versions="0-1")
def who_leaves_is_gone_at_once(target: Target, version: int) -> None:
    """Given epoch -1, the answer is epoch -1, interval 0 and a null assignment; the group's epoch advances by one, the assignment's does not, and an
    emptied group is Empty. KIP-848.
    """
    member = member_of_all(target, topic_for_groups(target), version=version)
    before = described(target, member.group_id)

    answer = member.leave()

    expect(answer, error_code=ErrorCode.NONE, member_id=member.member_id, member_epoch=LEAVING, heartbeat_interval_ms=0, assignment=None)
    expect(
        described(target, member.group_id),
        error_code=ErrorCode.NONE,
        group_state="Empty",
        group_epoch=before.group_epoch + 1,
        assignment_epoch=before.assignment_epoch,
        members=[],
    )
    expect_refused(member.heartbeat(), ErrorCode.UNKNOWN_MEMBER_ID, member.member_id)


@check("C-12b", api=HEARTBEAT, versions="0-1")
def what_the_leaver_had_goes_to_the_others(target: Target, version: int) -> None:
    """Given a member that leaves, the other has everything by heartbeats alone. KIP-848."""
    topic = topic_for_groups(target, 4)
    first = member_of_all(target, topic, version=version)
    second = second_member(first)
    second.join()
    members_in_turn([first, second], all_of(topic))

    first.leave()

    second.wait_for(all_of(topic))


@check("C-12e", api=HEARTBEAT, versions="0-1", needs=SHORT_CONSUMER_SESSIONS)
def a_silent_member_is_removed_after_its_session(target: Target, version: int) -> None:
    """Given consumer.session.timeout.ms=1500 and a member that falls silent, the other has everything when that has passed. KIP-848."""
    topic = topic_for_groups(target, 2)
    group_id = quick_group(target)
    configure(target, group_id, **{"consumer.heartbeat.interval.ms": "200", "consumer.session.timeout.ms": "1500"})
    first = member_of_all(target, topic, group_id, version=version)
    second = second_member(first)
    expect(second.join(), heartbeat_interval_ms=200)
    members_in_turn([first, second], all_of(topic))
    silent_since = time.monotonic()

    second.wait_for(all_of(topic))

    expect_seconds("the removal", time.monotonic() - silent_since, 1.0, 10)
    expect_refused(first.heartbeat(), ErrorCode.UNKNOWN_MEMBER_ID, first.member_id)


# -- C-20, C-24: topics change ---------------------------------------------------------------------------------------


@check("C-20a", api=GROWING)
def new_partitions_are_assigned_by_heartbeats_alone(target: Target) -> None:
    """Given a topic that gains partitions, the group's epoch advances and they are assigned without anybody joining. KIP-848."""
    topic = topic_for_groups(target, 1)
    member = member_of_all(target, topic)
    epoch = member.epoch
    more = CreatePartitionsRequest.CreatePartitionsTopic(name=topic.name, count=3, assignments=None)
    expect(target.ask_newest(CreatePartitionsRequest(topics=[more], timeout_ms=10_000), 3).results[0], error_code=ErrorCode.NONE)

    member.wait_for(all_of(Topic(topic.name, topic.topic_id, 3)))

    expect_that(member.epoch > epoch, "the member is in a later epoch")
    expect(described(target, member.group_id), group_epoch=member.epoch, group_state="Stable")


@check("C-20b", api=(*HEARTBEAT, "DeleteTopics"))
def a_deleted_topic_leaves_the_assignment(target: Target) -> None:
    """Given two topics of which one is deleted, the member is told by a heartbeat that it has the other only, in a later epoch. KIP-848."""
    deleted, staying = topic_for_groups(target, 2), topic_for_groups(target)
    member = ConsumerMember(target, quick_group(target), [deleted, staying])
    member.join()
    member.wait_for(all_of(deleted, staying))
    epoch = member.epoch
    target.delete_topic(deleted.name)

    member.wait_for(all_of(staying))

    expect_that(member.epoch > epoch, "the member is in a later epoch")


@check("C-24", api=(*HEARTBEAT, "CreateTopics"), versions="0-1")
def a_topic_created_later_is_assigned(target: Target, version: int) -> None:
    """Given a subscription to a topic that is not there yet, the member joins in epoch 2 with nothing, and heartbeats bring the partitions in a
    later epoch once it is created;. KIP-848.
    """
    there = topic_for_groups(target)
    later = target.new_name("topic")
    member = ConsumerMember(target, quick_group(target), [there, later], version=version)
    member.join()
    member.wait_for(all_of(there))
    epoch = member.epoch
    made = create(target, later, 2)

    member.wait_for(all_of(there, made))

    expect_that(member.epoch > epoch, "the member is in a later epoch")


# -- C-28: states ----------------------------------------------------------------------------------------------------


@check("C-28a", api=HEARTBEAT, versions="0-1")
def a_group_goes_through_its_states(target: Target, version: int) -> None:
    """Given a consumer group: Stable with all in the target epoch, Assigning while the group's epoch is ahead of the assignment's, Reconciling until
    members own what they should, Empty without members. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    group_id = ready_group(target)
    configure(target, group_id, **{"consumer.assignment.interval.ms": "2000"})
    first = ConsumerMember(target, group_id, [topic], version=version)
    first.join()
    expect(described(target, group_id), error_code=ErrorCode.NONE, group_state="Stable")

    second = second_member(first)
    second.join()
    expect(described(target, group_id), error_code=ErrorCode.NONE, group_state="Assigning")
    told_to_give_up(first, all_of(topic))
    expect(described(target, group_id), error_code=ErrorCode.NONE, group_state="Reconciling")
    members_in_turn([first, second], all_of(topic))
    expect(described(target, group_id), error_code=ErrorCode.NONE, group_state="Stable")
    first.leave()
    second.leave()
    expect(described(target, group_id), error_code=ErrorCode.NONE, group_state="Empty")


def create(target: Target, name: str, partitions: int) -> Topic:
    """Create a topic of that name; it is deleted after the check."""
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
    answer = target.ask_newest(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
    expect(answer.topics[0], error_code=ErrorCode.NONE, name=name)
    target.forget_after(name)
    return Topic(name, target.topic_id_of(answer.topics[0]), partitions)
