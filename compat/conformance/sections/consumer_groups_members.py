"""C: epochs, strangers, and static members, who come back under their instance id (KIP-848, KIP-345)."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import expect_seconds, ready_group
from pykbroker.compat.steps.consumer_members import (
    HEARTBEAT,
    LEAVING,
    LEAVING_FOR_A_WHILE,
    NONE_AT_ALL,
    SHORT_CONSUMER_SESSIONS,
    ConsumerMember,
    all_of,
    assigned,
    configure,
    described,
    described_member,
    expect_refused,
    member_of_all,
    members_in_turn,
    quick_group,
    topic_for_groups,
)
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode

FENCED = ErrorCode.FENCED_MEMBER_EPOCH


def advanced_member(target: Target, version: int) -> tuple[ConsumerMember, int]:
    """The only member of a group, in its third epoch at least, and the epoch before; it owns two partitions."""
    topic = topic_for_groups(target, 2)
    member = member_of_all(target, topic, version=version)
    before = member.epoch
    other = topic_for_groups(target, 1)
    expect(member.heartbeat(subscribed_topic_names=[topic.name, other.name]), error_code=ErrorCode.NONE)
    member.wait_for(all_of(topic, other))
    expect_that(member.epoch > before, "the member is in a later epoch")
    return member, before


# -- C-10: epochs ----------------------------------------------------------------------------------------------------


@check("C-10a", api=HEARTBEAT, versions="0-1")
def an_epoch_from_the_future_is_fenced(target: Target, version: int) -> None:
    """Given a heartbeat with a greater epoch than the member's, FENCED_MEMBER_EPOCH, and a message with both; the member goes on in its own. KIP-848."""
    member = member_of_all(target, topic_for_groups(target), version=version)
    epoch = member.epoch

    refused = member.heartbeat(member_epoch=epoch + 1)

    expect_refused(refused, FENCED, "greater", f"({epoch + 1})", f"({epoch})")
    expect(member.heartbeat(), error_code=ErrorCode.NONE, member_epoch=epoch)


@check("C-10b", api=HEARTBEAT, versions="0-1")
def the_epoch_before_is_forgiven_to_who_owns_no_more_than_it_may(target: Target, version: int) -> None:
    """Given a heartbeat with the epoch before, as of who lost the answer, that owns some or all of what is assigned, it is answered with the
    current epoch. KIP-848.
    """
    member, before = advanced_member(target, version)
    epoch, owned = member.epoch, member.owned

    some = member.own(frozenset(sorted(owned)[:1]), member_epoch=before)
    all_of_it = member.own(owned, member_epoch=before)
    nothing = member.own(NONE_AT_ALL, member_epoch=before)

    for answer in (some, all_of_it, nothing):
        expect(answer, error_code=ErrorCode.NONE, member_id=member.member_id, member_epoch=epoch)


@check("C-10c", api=HEARTBEAT, versions="0-1")
def the_epoch_before_is_fenced_for_who_owns_more(target: Target, version: int) -> None:
    """Given a heartbeat with the epoch before that does not say what is owned, or owns what is not assigned, FENCED_MEMBER_EPOCH. KIP-848."""
    member, before = advanced_member(target, version)
    strange = all_of(topic_for_groups(target))

    for answer in (member.heartbeat(member_epoch=before), member.own(member.owned | strange, member_epoch=before)):
        expect_refused(answer, FENCED, "smaller", f"({before})", f"({member.epoch})")


@check("C-10d", api=HEARTBEAT, versions="0-1")
def an_older_epoch_is_fenced(target: Target, version: int) -> None:
    """Given a heartbeat with an epoch two or more behind, FENCED_MEMBER_EPOCH, whatever it owns. KIP-848."""
    member, before = advanced_member(target, version)

    for answer in (member.own(member_epoch=before - 1), member.own(NONE_AT_ALL, member_epoch=before - 1)):
        expect_refused(answer, FENCED, "smaller", f"({before - 1})", f"({member.epoch})")


@check("C-10e", api=HEARTBEAT, versions="0-1")
def a_fenced_member_joins_anew_under_its_id(target: Target, version: int) -> None:
    """Given a member that joins again with epoch 0 and its own id, it is in the same epoch and has its assignment, at once. KIP-848."""
    member, _ = advanced_member(target, version)
    epoch, owned = member.epoch, member.owned
    expect_refused(member.heartbeat(member_epoch=epoch + 5), FENCED)

    answer = member.try_to_join(subscribed_topic_names=described_member(target, member).subscribed_topic_names)

    expect(answer, error_code=ErrorCode.NONE, member_id=member.member_id, member_epoch=epoch)
    expect_equal("the assignment", assigned(answer), owned)
    expect_equal("the members", len(described(target, member.group_id).members), 1)


# -- C-11: strangers -------------------------------------------------------------------------------------------------


@check("C-11a", api=HEARTBEAT, versions="0-1")
def a_stranger_is_unknown(target: Target, version: int) -> None:
    """Given a heartbeat of nobody's member id with an epoch, or -1, in a group that is there, UNKNOWN_MEMBER_ID, and a message that names both. KIP-848."""
    member = member_of_all(target, topic_for_groups(target), version=version)
    stranger = ConsumerMember(target, member.group_id, version=version)

    for epoch in (1, 2, LEAVING):
        answer = stranger.heartbeat(member_epoch=epoch)
        expect_refused(answer, ErrorCode.UNKNOWN_MEMBER_ID, stranger.member_id, member.group_id)


@check("C-11b", api=HEARTBEAT, versions="0-1")
def a_group_that_is_not_there_is_not_found(target: Target, version: int) -> None:
    """Given a heartbeat with an epoch, or -1 or -2, for no group, GROUP_ID_NOT_FOUND, a message that names it, and no group. KIP-848."""
    stranger = ConsumerMember(target, ready_group(target), version=version, instance_id="instance")

    for epoch in (1, LEAVING, LEAVING_FOR_A_WHILE):
        answer = stranger.heartbeat(member_epoch=epoch)
        expect_refused(answer, ErrorCode.GROUP_ID_NOT_FOUND, stranger.group_id)
    expect(described(target, stranger.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


# -- C-10, C-12, C-13: static members --------------------------------------------------------------------------------


def static_member(target: Target, version: int) -> ConsumerMember:
    """The only member of a group, with the instance id "one" and every partition of a topic."""
    return member_of_all(target, topic_for_groups(target, 2), version=version, instance_id="one")


def newcomer_as(gone: ConsumerMember) -> ConsumerMember:
    """The same instance, started anew: another member id."""
    return ConsumerMember(gone.target, gone.group_id, gone.names or [], instance_id=gone.instance_id, version=gone.version)


@check("C-10f", api=HEARTBEAT, versions="0-1")
def a_static_member_that_did_not_leave_does_not_join_anew(target: Target, version: int) -> None:
    """Given a static member that joins with epoch 0 though it did not leave, UNRELEASED_INSTANCE_ID, even under its own member id. KIP-848."""
    member = static_member(target, version)

    answer = member.try_to_join()

    expect_refused(answer, ErrorCode.UNRELEASED_INSTANCE_ID, "one", member.member_id)
    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("C-12c", api=HEARTBEAT, versions="0-1")
def who_leaves_for_a_while_keeps_its_place(target: Target, version: int) -> None:
    """Given epoch -2 of a static member, the answer is epoch -2; the group's epoch stays, and the member is described in epoch -2 in a group that is
    Reconciling, with its assignment. KIP-848.
    """
    member = static_member(target, version)
    before = described(target, member.group_id)

    answer = member.leave(LEAVING_FOR_A_WHILE)

    expect(answer, error_code=ErrorCode.NONE, member_id=member.member_id, member_epoch=LEAVING_FOR_A_WHILE, assignment=None)
    expect(
        described(target, member.group_id),
        group_state="Reconciling",
        group_epoch=before.group_epoch,
        assignment_epoch=before.assignment_epoch,
    )
    away = described_member(target, member)
    expect(away, instance_id="one", member_epoch=LEAVING_FOR_A_WHILE)
    expect_equal("its target", away.target_assignment.topic_partitions[0].partitions, [0, 1])


@check("C-12d", api=HEARTBEAT, versions="0-1")
def who_left_for_a_while_joins_before_it_goes_on(target: Target, version: int) -> None:
    """Given a static member that left with -2, a heartbeat with its former epoch is FENCED_MEMBER_EPOCH: that is greater than -2. KIP-848."""
    member = static_member(target, version)
    member.leave(LEAVING_FOR_A_WHILE)

    expect_refused(member.heartbeat(), FENCED, "greater", f"({member.epoch})", f"({LEAVING_FOR_A_WHILE})")


@check("C-12f", api=HEARTBEAT, versions="0-1", needs=SHORT_CONSUMER_SESSIONS)
def a_place_is_kept_for_one_session(target: Target, version: int) -> None:
    """Given consumer.session.timeout.ms=1000 and a static member that left with -2, it is removed when that has passed, and the other member has
    everything. KIP-848.
    """
    topic = topic_for_groups(target, 2)
    group_id = quick_group(target)
    configure(target, group_id, **{"consumer.heartbeat.interval.ms": "200", "consumer.session.timeout.ms": "1000"})
    away = member_of_all(target, topic, group_id, version=version, instance_id="one")
    other = ConsumerMember(target, group_id, [topic], version=version)
    other.join()
    members_in_turn([away, other], all_of(topic))
    away.leave(LEAVING_FOR_A_WHILE)
    left_at = time.monotonic()

    other.wait_for(all_of(topic))

    expect_seconds("the removal", time.monotonic() - left_at, 0.7, 10)
    expect_equal("the members", [one.member_id for one in described(target, group_id).members], [other.member_id])
    expect_refused(newcomer_as(away).heartbeat(member_epoch=1), ErrorCode.UNKNOWN_MEMBER_ID, "one")


@check("C-12g", api=HEARTBEAT, versions="0-1")
def a_static_member_may_leave_for_good(target: Target, version: int) -> None:
    """Given epoch -1 of a static member, it is removed, and its instance id is free. KIP-848."""
    member = static_member(target, version)

    expect(member.leave(), error_code=ErrorCode.NONE, member_epoch=LEAVING)

    expect(described(target, member.group_id), group_state="Empty", members=[])
    newcomer_as(member).join()


@check("C-13a", api=HEARTBEAT, versions="0-1")
def an_instance_is_one_member(target: Target, version: int) -> None:
    """Given a second member with the instance id of one that is there, UNRELEASED_INSTANCE_ID, and a message that names instance and owner. KIP-848."""
    member = static_member(target, version)

    refused = newcomer_as(member).try_to_join()

    expect_refused(refused, ErrorCode.UNRELEASED_INSTANCE_ID, "one", member.member_id)
    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("C-13b", api=HEARTBEAT, versions="0-1")
def who_comes_back_has_its_place(target: Target, version: int) -> None:
    """Given a static member that left with -2, who joins with its instance id has the same epoch and assignment at once, in a group that did not
    rebalance. KIP-848.
    """
    gone = static_member(target, version)
    before = described(target, gone.group_id)
    gone.leave(LEAVING_FOR_A_WHILE)
    back = newcomer_as(gone)

    answer = back.join()

    expect(answer, member_epoch=gone.epoch)
    expect_equal("the assignment", assigned(answer), gone.owned)
    group = described(target, gone.group_id)
    expect(group, group_state="Stable", group_epoch=before.group_epoch, assignment_epoch=before.assignment_epoch)
    expect_equal("the members", [one.member_id for one in group.members], [back.member_id])


@check("C-13c", api=HEARTBEAT, versions="0-1")
def who_was_replaced_is_fenced(target: Target, version: int) -> None:
    """Given a static member replaced under its instance id, its old member id is FENCED_INSTANCE_ID with the instance id, and
    UNKNOWN_MEMBER_ID without. KIP-848.
    """
    gone = static_member(target, version)
    gone.leave(LEAVING_FOR_A_WHILE)
    back = newcomer_as(gone)
    back.join()

    with_instance = gone.heartbeat()
    leaving = gone.leave()
    without = gone.heartbeat(instance_id=None)

    expect_refused(with_instance, ErrorCode.FENCED_INSTANCE_ID, gone.member_id, "one", back.member_id)
    expect_refused(leaving, ErrorCode.FENCED_INSTANCE_ID, gone.member_id, "one", back.member_id)
    expect_refused(without, ErrorCode.UNKNOWN_MEMBER_ID, gone.member_id)
    expect(back.heartbeat(), error_code=ErrorCode.NONE)


@check("C-13d", api=HEARTBEAT, versions="0-1")
def an_unknown_instance_is_unknown(target: Target, version: int) -> None:
    """Given a heartbeat, or a farewell, of an instance id that nobody has, UNKNOWN_MEMBER_ID, and a message that names it. KIP-848."""
    member = static_member(target, version)

    for epoch in (member.epoch, LEAVING, LEAVING_FOR_A_WHILE):
        answer = member.heartbeat(instance_id="zz", member_epoch=epoch)
        expect_refused(answer, ErrorCode.UNKNOWN_MEMBER_ID, "zz")
