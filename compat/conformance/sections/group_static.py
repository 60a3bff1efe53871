"""G: static members of a classic group, which come back under their instance id (KIP-345, KIP-814)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import (
    NEVER_ISSUED,
    Participant,
    assignments_of,
    expect_state,
    gather,
    leave_request,
    ready_group,
    stable,
    wait_for_members,
    wait_for_state,
)
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import LeaveGroupRequest, LeaveGroupResponse

STATIC = ("JoinGroup", "SyncGroup", "Heartbeat", "DescribeGroups")
LEAVE = ("LeaveGroup", *STATIC)


def static_pair(target: Target) -> tuple[Participant, Participant]:
    """A stable group of two static members, "leader" and "follower"."""
    group_id = ready_group(target)
    leader, follower = (Participant(target, group_id, instance_id=name) for name in ("leader", "follower"))
    stable(target, leader, follower)
    return leader, follower


def come_back(target: Target, gone: Participant) -> Participant:
    """The same instance, started anew."""
    return Participant(target, gone.group_id, instance_id=gone.instance_id, protocols=gone.protocols)


def leave(
    target: Target, member: Participant, member_id: str, instance_id: str | None, version: int | None = None
) -> LeaveGroupResponse.MemberResponse:
    """LeaveGroup of one, and what is answered for it."""
    version = target.newest(LeaveGroupRequest, 5, at_least=3) if version is None else version
    answer = target.ask(leave_request(member.group_id, member_id, instance_id=instance_id), version)
    expect(answer, error_code=ErrorCode.NONE)
    return answer.members[0]


@check("G-20a", api=LEAVE, versions="3-5")
def a_static_member_is_removed_by_its_instance_id(target: Target, version: int) -> None:
    """Given LeaveGroup v3+ with an instance id and an empty member id, that static member is removed and the group rebalances. KIP-345."""
    leader, follower = static_pair(target)

    answer = leave(target, follower, "", "follower", version)

    expect(answer, error_code=ErrorCode.NONE, group_instance_id="follower", member_id="")
    leader.wait_for_rebalance()
    wait_for_members(target, leader.group_id, 1)


@check("G-20b", api=LEAVE, versions="3-5")
def a_static_member_is_removed_by_its_member_id(target: Target, version: int) -> None:
    """Given LeaveGroup v3+ with a static member's id and a null instance id, it is removed. KIP-345."""
    leader, follower = static_pair(target)

    answer = leave(target, follower, follower.member_id, None, version)

    expect(answer, error_code=ErrorCode.NONE, group_instance_id=None, member_id=follower.member_id)
    leader.wait_for_rebalance()
    wait_for_members(target, leader.group_id, 1)


@check("G-20c", api=LEAVE, versions="3-5")
def nobody_else_is_removed(target: Target, version: int) -> None:
    """Given a wrong member id beside an instance id, FENCED_INSTANCE_ID; given an unknown instance id, UNKNOWN_MEMBER_ID; nobody leaves. KIP-345."""
    leader, follower = static_pair(target)

    fenced = leave(target, follower, NEVER_ISSUED, "follower", version)
    unknown = leave(target, follower, follower.member_id, "nobody", version)

    expect(fenced, error_code=ErrorCode.FENCED_INSTANCE_ID, group_instance_id="follower")
    expect(unknown, error_code=ErrorCode.UNKNOWN_MEMBER_ID, group_instance_id="nobody")
    expect(leader.heartbeat(), error_code=ErrorCode.NONE)
    expect(follower.heartbeat(), error_code=ErrorCode.NONE)


@check("G-21a", api=STATIC, versions="5-9")
def a_static_follower_comes_back_unnoticed(target: Target, version: int) -> None:
    """Given a static follower that joins anew, even with changed metadata, it has a new member id in the same generation, and its assignment. KIP-345."""
    leader, follower = static_pair(target)
    back = come_back(target, follower)
    back.protocols = {"range": b"changed"}

    answer = back.try_to_join(version)

    expect(
        answer, error_code=ErrorCode.NONE, generation_id=leader.generation_id, leader=leader.member_id, members=[], skip_assignment=False
    )
    expect_that(answer.member_id != follower.member_id, "the member id is new")
    expect(leader.heartbeat(), error_code=ErrorCode.NONE)
    expect(back.sync(), error_code=ErrorCode.NONE, assignment=b"for 1")
    expect_state(target, leader.group_id, "Stable")


@check("G-21b", api=STATIC, versions="5-9")
def a_static_leader_comes_back_unnoticed(target: Target, version: int) -> None:
    """Given a static leader that joins anew: v9+ it leads under its new id, with all members, and skips the assignment; before, it follows its old id. KIP-814."""
    leader, follower = static_pair(target)
    back = come_back(target, leader)

    answer = back.try_to_join(version)

    expect(answer, error_code=ErrorCode.NONE, generation_id=follower.generation_id)
    expect_that(answer.member_id != leader.member_id, "the member id is new")
    if version >= 9:
        expect(answer, leader=answer.member_id, skip_assignment=True)
        expect_equal("the members", {one.member_id for one in answer.members}, {answer.member_id, follower.member_id})
    else:
        expect(answer, leader=leader.member_id, skip_assignment=False, members=[])
    expect(follower.heartbeat(), error_code=ErrorCode.NONE)
    expect(back.sync(), error_code=ErrorCode.NONE, assignment=b"for 0")


@check("G-22a", api=LEAVE)
def the_old_id_of_a_static_member_is_fenced(target: Target) -> None:
    """Given a static member that came back, its old member id with the instance id is FENCED_INSTANCE_ID, whatever the generation is. KIP-345."""
    leader, old = static_pair(target)
    come_back(target, old).join()

    expect(old.heartbeat(), error_code=ErrorCode.FENCED_INSTANCE_ID)
    expect(old.heartbeat(generation_id=77), error_code=ErrorCode.FENCED_INSTANCE_ID)
    expect(old.sync(), error_code=ErrorCode.FENCED_INSTANCE_ID, assignment=b"")
    expect(old.try_to_join(), error_code=ErrorCode.FENCED_INSTANCE_ID, member_id=old.member_id)
    expect(leave(target, old, old.member_id, "follower"), error_code=ErrorCode.FENCED_INSTANCE_ID)
    expect(leader.heartbeat(), error_code=ErrorCode.NONE)


@check("G-22b", api=LEAVE)
def the_old_id_alone_is_unknown(target: Target) -> None:
    """Given a static member that came back, its old member id without the instance id is UNKNOWN_MEMBER_ID. KIP-345."""
    _, old = static_pair(target)
    come_back(target, old).join()
    old.instance_id = None

    expect(old.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(old.sync(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(old.try_to_join(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(leave(target, old, old.member_id, None), error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-22c", api=(*STATIC, "OffsetCommit"), versions="5-9")
def the_old_id_of_a_static_member_commits_nothing(target: Target) -> None:
    """Given a static member that came back, a commit by its old member id with the instance id is FENCED_INSTANCE_ID. KIP-345."""
    topic = target.new_topic()
    _, old = static_pair(target)
    expect_equal("error_code of OffsetCommit", old.commit(topic, 1), ErrorCode.NONE)
    come_back(target, old).join()

    error_code = old.commit(topic, 2)

    expect_equal("error_code of OffsetCommit", error_code, ErrorCode.FENCED_INSTANCE_ID)


@check("G-23", api=STATIC)
def an_instance_id_that_nobody_has_is_unknown(target: Target) -> None:
    """Given a member id beside an instance id that is not in the group, Heartbeat, SyncGroup and JoinGroup are UNKNOWN_MEMBER_ID. KIP-345."""
    _, member = static_pair(target)
    member.instance_id = "nobody"

    expect(member.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(member.sync(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(member.try_to_join(), error_code=ErrorCode.UNKNOWN_MEMBER_ID, member_id=member.member_id)


@check("G-24a", api=STATIC)
def a_join_that_waits_is_fenced_by_the_next(target: Target) -> None:
    """Given a static member whose JoinGroup waits, and the same instance joins anew, the first is answered FENCED_INSTANCE_ID with its old id. KIP-345."""
    leader, old = static_pair(target)
    leader.ask_to_join()
    old.wait_for_rebalance()
    new = come_back(target, leader)

    new.ask_to_join()

    expect(leader.joined(), error_code=ErrorCode.FENCED_INSTANCE_ID, member_id=leader.member_id)
    expect(old.join(), generation_id=3)
    expect(new.joined(), error_code=ErrorCode.NONE, generation_id=3)
    expect_that(new.member_id != leader.member_id, "the member id is new")


@check("G-24b", api=STATIC)
def a_sync_that_waits_is_fenced_by_the_next_join(target: Target) -> None:
    """Given a static member whose SyncGroup waits, and the same instance joins anew, the first is FENCED_INSTANCE_ID, and a new round begins. KIP-345."""
    group_id = ready_group(target)
    leader, old = (Participant(target, group_id, instance_id=name) for name in ("leader", "follower"))
    gather(target, leader, old)
    old.ask_to_sync()
    expect_that(old.connection.is_silent(0.2), "the follower's SyncGroup waits")
    back = come_back(target, old)

    back.ask_to_join()

    expect(old.synced(), error_code=ErrorCode.FENCED_INSTANCE_ID, assignment=b"")
    wait_for_state(target, group_id, "PreparingRebalance")
    expect(leader.join(), generation_id=3)
    expect(back.joined(), error_code=ErrorCode.NONE, generation_id=3)
    expect(leader.sync(assignments_of((leader, back))), error_code=ErrorCode.NONE, assignment=b"for 0")


@check("G-34", api=STATIC)
def an_instance_id_may_be_anything(target: Target) -> None:
    """Given instance ids that no client allows (empty, with a blank, 250 characters), they join as static members."""
    for instance_id in ("", "a b", "i" * 250):
        member = Participant(target, ready_group(target), instance_id=instance_id)

        answer = member.join()

        expect(answer.members[0], group_instance_id=instance_id, member_id=member.member_id)
        expect(member.sync({member.member_id: b"all"}), error_code=ErrorCode.NONE, assignment=b"all")
