"""G: assignments, heartbeats, sessions and farewells in a classic group."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import (
    NEVER_ISSUED,
    NO_GENERATION,
    SHORT_SESSIONS,
    Participant,
    alone,
    assignments_of,
    described,
    expect_seconds,
    expect_state,
    gather,
    leave_request,
    pair,
    ready_group,
    stable,
    wait_for_members,
    wait_for_state,
)
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import HeartbeatRequest, LeaveGroupRequest, OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse

GROUPS = ("JoinGroup", "SyncGroup", "Heartbeat", "DescribeGroups")
SYNC = ("SyncGroup", "JoinGroup", "DescribeGroups")
HEARTBEAT = ("Heartbeat", "JoinGroup", "SyncGroup", "DescribeGroups")
LEAVE = ("LeaveGroup", "JoinGroup", "SyncGroup", "DescribeGroups")


def expect_refused(answer: SyncGroupResponse, error_code: ErrorCode) -> None:
    """A SyncGroup answer that says no: nothing assigned, no protocol."""
    expect(answer, error_code=error_code, assignment=b"", protocol_type=None, protocol_name=None)


@check("G-12a", api=SYNC, versions="0-5")
def followers_wait_for_the_leaders_assignment(target: Target, version: int) -> None:
    """Given a follower that syncs before the leader, it waits, and gets what the leader then assigns to it; v5+ names the protocol. KIP-559."""
    group_id = ready_group(target)
    leader, follower = (Participant(target, group_id) for _ in range(2))
    gather(target, leader, follower)
    follower.ask_to_sync(version=version)
    expect_that(follower.connection.is_silent(0.1), "the follower's SyncGroup waits")

    to_leader = leader.sync(assignments_of((leader, follower)), version)

    named = ("workers", "range") if version >= 5 else (None, None)
    expect(to_leader, error_code=ErrorCode.NONE, assignment=b"for 0", protocol_type=named[0], protocol_name=named[1])
    expect(follower.synced(version), error_code=ErrorCode.NONE, assignment=b"for 1", protocol_type=named[0], protocol_name=named[1])
    expect_state(target, group_id, "Stable")


@check("G-12b", api=SYNC)
def who_is_not_assigned_anything_gets_nothing(target: Target) -> None:
    """Given a leader that leaves a member out and names one that is not there, the first has an empty assignment and the second is ignored."""
    group_id = ready_group(target)
    leader, follower = (Participant(target, group_id) for _ in range(2))
    gather(target, leader, follower)

    expect(leader.sync({leader.member_id: b"all", NEVER_ISSUED: b"some"}), error_code=ErrorCode.NONE, assignment=b"all")

    expect(follower.sync(), error_code=ErrorCode.NONE, assignment=b"")
    found = {one.member_id: one.member_assignment for one in described(target, group_id).members}
    expect_equal("the assignments", found, {leader.member_id: b"all", follower.member_id: b""})


@check("G-13a", api=SYNC, versions="0-5")
def a_sync_of_another_generation_is_refused(target: Target, version: int) -> None:
    """Given SyncGroup with a past or a future generation, ILLEGAL_GENERATION."""
    member = alone(target)
    for generation_id in (0, 2, NO_GENERATION):
        expect_refused(member.sync(version=version, generation_id=generation_id), ErrorCode.ILLEGAL_GENERATION)


@check("G-13b", api=(*SYNC, "Heartbeat"), versions="0-5")
def nobody_syncs_while_members_join(target: Target, version: int) -> None:
    """Given PreparingRebalance, SyncGroup of this generation is REBALANCE_IN_PROGRESS and of another one ILLEGAL_GENERATION."""
    leader, follower = pair(target)
    leader.ask_to_join()
    follower.wait_for_rebalance()

    expect_refused(follower.sync(version=version), ErrorCode.REBALANCE_IN_PROGRESS)

    expect_refused(follower.sync(version=version, generation_id=1), ErrorCode.ILLEGAL_GENERATION)


@check("G-13c", api=SYNC)
def a_sync_names_the_protocol_of_the_round(target: Target) -> None:
    """Given SyncGroup v5 with another protocol type or name, or with none, INCONSISTENT_GROUP_PROTOCOL. KIP-559."""
    member = alone(target)
    wrong: list[dict[str, object]] = [
        {"protocol_type": "other"},
        {"protocol_name": "other"},
        {"protocol_type": None},
        {"protocol_name": None},
        {"protocol_type": None, "protocol_name": None},
    ]
    for changes in wrong:
        expect_refused(member.sync(None, 5, **changes), ErrorCode.INCONSISTENT_GROUP_PROTOCOL)


@check("G-13d", api=SYNC, versions="0-5")
def who_is_no_member_cannot_sync(target: Target, version: int) -> None:
    """Given SyncGroup for an unknown group, or by an unknown member, or by one that was only given an id, UNKNOWN_MEMBER_ID."""
    member = alone(target)
    pending = Participant(target, member.group_id)
    pending.be_given_an_id()
    pending.generation_id = 1

    expect_refused(member.sync(version=version, group_id=ready_group(target)), ErrorCode.UNKNOWN_MEMBER_ID)
    expect_refused(member.sync(version=version, member_id=NEVER_ISSUED), ErrorCode.UNKNOWN_MEMBER_ID)
    expect_refused(pending.sync(version=version), ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-13e", api="SyncGroup", versions="0-5")
def a_sync_needs_a_group(target: Target, version: int) -> None:
    """Given SyncGroup for the empty group id, INVALID_GROUP_ID."""
    request = SyncGroupRequest(group_id="", generation_id=1, member_id="m", assignments=[])
    if version >= 5:
        request.protocol_type, request.protocol_name = "workers", "range"

    answer = target.ask(request, version)

    expect_refused(answer, ErrorCode.INVALID_GROUP_ID)


@check("G-14", api=SYNC, versions="0-5")
def a_stable_group_repeats_its_assignments(target: Target, version: int) -> None:
    """Given a stable group, SyncGroup is answered with the stored assignment; another one sent by the leader is ignored."""
    leader, follower = pair(target)

    to_leader = leader.sync({leader.member_id: b"new", follower.member_id: b"new"}, version)

    expect(to_leader, error_code=ErrorCode.NONE, assignment=b"for 0")
    expect(follower.sync(version=version), error_code=ErrorCode.NONE, assignment=b"for 1")


@check("G-15a", api=HEARTBEAT, versions="0-4")
def a_heartbeat_tells_of_a_rebalance(target: Target, version: int) -> None:
    """Given Stable or CompletingRebalance, Heartbeat is NONE; in PreparingRebalance it is REBALANCE_IN_PROGRESS."""
    leader, follower = pair(target)
    expect(follower.heartbeat(version), error_code=ErrorCode.NONE)
    leader.ask_to_join()
    follower.wait_for_rebalance()

    expect(follower.heartbeat(version), error_code=ErrorCode.REBALANCE_IN_PROGRESS)

    follower.join()
    expect(leader.joined(), error_code=ErrorCode.NONE)
    expect_state(target, leader.group_id, "CompletingRebalance")
    expect(follower.heartbeat(version), error_code=ErrorCode.NONE)


@check("G-15b", api=HEARTBEAT, needs=SHORT_SESSIONS)
def heartbeats_in_a_rebalance_keep_the_member(target: Target) -> None:
    """Given a rebalance, heartbeats answered REBALANCE_IN_PROGRESS keep a member beyond its session; without them it goes and the round ends."""
    leader, follower = pair(target, session_timeout_ms=600)
    leader.session_timeout_ms = 10_000
    leader.ask_to_join()
    follower.wait_for_rebalance()
    for _ in range(6):
        time.sleep(0.2)
        expect(follower.heartbeat(), error_code=ErrorCode.REBALANCE_IN_PROGRESS)
    started = time.monotonic()

    answer = leader.joined()

    expect_seconds("the follower's session", time.monotonic() - started, 0.6, 2.0)
    expect(answer, error_code=ErrorCode.NONE, generation_id=3)
    expect_equal("the members", [one.member_id for one in answer.members], [leader.member_id])


@check("G-15c", api=HEARTBEAT)
def an_id_given_out_starts_no_rebalance(target: Target) -> None:
    """Given a stable group and a JoinGroup that is only given an id, the group stays stable and its heartbeats are NONE. KIP-394."""
    member = alone(target)
    newcomer = Participant(target, member.group_id)

    newcomer.be_given_an_id()

    expect(member.heartbeat(), error_code=ErrorCode.NONE)
    expect_state(target, member.group_id, "Stable")


@check("G-16a", api=HEARTBEAT, versions="0-4")
def a_heartbeat_of_another_generation_is_refused(target: Target, version: int) -> None:
    """Given Heartbeat with a past or a future generation, or -1, ILLEGAL_GENERATION; in PreparingRebalance too."""
    leader, follower = pair(target)
    for generation_id in (1, 3, NO_GENERATION):
        expect(follower.heartbeat(version, generation_id=generation_id), error_code=ErrorCode.ILLEGAL_GENERATION)
    leader.ask_to_join()
    follower.wait_for_rebalance()

    answer = follower.heartbeat(version, generation_id=1)

    expect(answer, error_code=ErrorCode.ILLEGAL_GENERATION)


@check("G-16b", api=HEARTBEAT, versions="0-4")
def who_is_no_member_has_no_heartbeat(target: Target, version: int) -> None:
    """Given Heartbeat for an unknown group, or of an unknown member or one only given an id, UNKNOWN_MEMBER_ID, whatever the generation is."""
    member = alone(target)
    pending = Participant(target, member.group_id)
    pending.be_given_an_id()

    expect(member.heartbeat(version, group_id=ready_group(target)), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(member.heartbeat(version, member_id=NEVER_ISSUED, generation_id=77), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(pending.heartbeat(version, generation_id=77), error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-16c", api="Heartbeat", versions="0-4")
def a_heartbeat_needs_a_group(target: Target, version: int) -> None:
    """Given Heartbeat for the empty group id, INVALID_GROUP_ID."""
    answer = target.ask(HeartbeatRequest(group_id="", generation_id=1, member_id="m"), version)

    expect(answer, error_code=ErrorCode.INVALID_GROUP_ID)


@check("G-16d", api=HEARTBEAT, versions="3-4")
def a_dynamic_member_has_no_instance_id(target: Target, version: int) -> None:
    """Given Heartbeat of a dynamic member with an instance id, UNKNOWN_MEMBER_ID. KIP-345."""
    member = alone(target)

    answer = member.heartbeat(version, group_instance_id="one")

    expect(answer, error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-17", api=HEARTBEAT, needs=SHORT_SESSIONS)
def a_silent_member_is_removed(target: Target) -> None:
    """Given no heartbeat for the session timeout, the member is removed; the last one leaves the group Empty, a generation later, its type kept."""
    leader, follower = pair(target, session_timeout_ms=600)
    leader.heartbeat()
    started = time.monotonic()

    wait_for_state(target, leader.group_id, "Empty")

    expect_seconds("the session", time.monotonic() - started, 0.6, 2.0)
    expect(described(target, leader.group_id), protocol_type="workers", protocol_data="", members=[])
    expect(follower.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    newcomer = Participant(target, leader.group_id)
    generation = newcomer.join().generation_id
    expect_that(generation in (4, 5), f"Empty was a generation of its own; generation 2 was the last, and {generation} is the next")


@check("G-18a", api=(*HEARTBEAT, "OffsetCommit"), needs=SHORT_SESSIONS)
def a_commit_keeps_the_member(target: Target) -> None:
    """Given a member that commits offsets more often than its session timeout, and sends no heartbeat, it stays a member."""
    topic = target.new_topic()
    member = alone(target, session_timeout_ms=600)
    for offset in range(7):
        time.sleep(0.2)
        expect_equal("error_code of OffsetCommit", member.commit(topic, offset), ErrorCode.NONE)

    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("G-18b", api=(*HEARTBEAT, "OffsetFetch"), needs=SHORT_SESSIONS)
def asking_for_offsets_does_not_keep_the_member(target: Target) -> None:
    """Given a member that fetches offsets more often than its session timeout, and nothing else, it is removed."""
    member = alone(target, session_timeout_ms=600)
    asked = OffsetFetchRequest(group_id=member.group_id, topics=[])
    started = time.monotonic()
    while described(target, member.group_id).group_state == "Stable" and time.monotonic() < started + 3:
        time.sleep(0.1)
        member.connection.ask(asked, target.newest(asked, 5))

    expect(member.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect_seconds("the session", time.monotonic() - started, 0.6, 2.0)


@check("G-19a", api=LEAVE, versions="3-5")
def members_leave_each_with_an_answer(target: Target, version: int) -> None:
    """Given LeaveGroup v3+ of a member and of nobody, NONE and UNKNOWN_MEMBER_ID, and NONE for the whole; who stays sees a rebalance. KIP-345."""
    leader, follower = pair(target)

    answer = target.ask(leave_request(leader.group_id, follower.member_id, NEVER_ISSUED), version)

    expect(answer, error_code=ErrorCode.NONE)
    errors = {one.member_id: one.error_code for one in answer.members}
    expect_equal("the errors", errors, {follower.member_id: ErrorCode.NONE, NEVER_ISSUED: ErrorCode.UNKNOWN_MEMBER_ID})
    leader.wait_for_rebalance()
    wait_for_members(target, leader.group_id, 1)


@check("G-19b", api=LEAVE, versions="0-2")
def one_member_leaves(target: Target, version: int) -> None:
    """Given LeaveGroup v0-v2, the only member leaves an Empty group; a second time, UNKNOWN_MEMBER_ID for the whole."""
    member = alone(target)

    first, second = member.leave(version), member.leave(version)

    expect(first, error_code=ErrorCode.NONE)
    expect(second, error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect_state(target, member.group_id, "Empty")


@check("G-19c", api=LEAVE, versions="3-5")
def leaving_a_group_that_is_not_there(target: Target, version: int) -> None:
    """Given LeaveGroup v3+ of an unknown group, UNKNOWN_MEMBER_ID for each member and NONE for the whole; of no members, NONE. KIP-345."""
    group_id = ready_group(target)

    answer = target.ask(leave_request(group_id, "a", "b"), version)
    of_nobody = target.ask(leave_request(group_id), version)

    expect(answer, error_code=ErrorCode.NONE)
    expect_equal("the errors", [(one.member_id, one.error_code) for one in answer.members], [("a", 25), ("b", 25)])
    expect(of_nobody, error_code=ErrorCode.NONE, members=[])


@check("G-19d", api="LeaveGroup", versions="0-5")
def leaving_needs_a_group(target: Target, version: int) -> None:
    """Given LeaveGroup for the empty group id, INVALID_GROUP_ID for the whole and no members."""
    request = LeaveGroupRequest(group_id="", member_id="m") if version < 3 else leave_request("", "m")

    answer = target.ask(request, version)

    expect(answer, error_code=ErrorCode.INVALID_GROUP_ID, members=[])


@check("G-19e", api=LEAVE, versions="0-5")
def an_id_given_out_can_be_given_back(target: Target, version: int) -> None:
    """Given an id from MEMBER_ID_REQUIRED, LeaveGroup with it is NONE, and nobody can join with it then. KIP-394."""
    pending = Participant(target, ready_group(target))
    pending.be_given_an_id()

    answer = pending.leave(version)

    expect(answer, error_code=ErrorCode.NONE)
    if version >= 3:
        expect(answer.members[0], member_id=pending.member_id, error_code=ErrorCode.NONE)
    expect(pending.try_to_join(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-38a", api=GROUPS)
def a_leader_that_does_not_assign_is_removed(target: Target) -> None:
    """Given a leader that does not sync within the rebalance timeout, it is removed, and who waits is told REBALANCE_IN_PROGRESS."""
    group_id = ready_group(target)
    leader, follower = (Participant(target, group_id, rebalance_timeout_ms=700) for _ in range(2))
    gather(target, leader, follower)
    started = time.monotonic()
    follower.ask_to_sync()

    answer = follower.synced()

    expect_seconds("the wait for the assignment", time.monotonic() - started, 0.6, 2.0)
    expect_refused(answer, ErrorCode.REBALANCE_IN_PROGRESS)
    expect(leader.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect_state(target, group_id, "PreparingRebalance")
    expect(follower.join(), leader=follower.member_id, generation_id=3)


@check("G-38b", api=GROUPS)
def a_follower_that_does_not_sync_is_removed(target: Target) -> None:
    """Given a follower that does not sync within the rebalance timeout, it is removed though the leader did and the group was Stable."""
    group_id = ready_group(target)
    leader, follower = (Participant(target, group_id, rebalance_timeout_ms=700) for _ in range(2))
    gather(target, leader, follower)
    started = time.monotonic()
    expect(leader.sync(assignments_of((leader, follower))), error_code=ErrorCode.NONE)
    expect_state(target, group_id, "Stable")

    leader.wait_for_rebalance()

    expect_seconds("the wait for the follower", time.monotonic() - started, 0.6, 2.0)
    expect(follower.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    wait_for_members(target, group_id, 1)


@check("G-25", api=HEARTBEAT, needs=SHORT_SESSIONS)
def a_static_member_may_be_away(target: Target) -> None:
    """Given a static member whose connection is closed, the group stays stable until its session timeout, and rebalances then. KIP-345."""
    group_id = ready_group(target)
    leader = Participant(target, group_id)
    away = Participant(target, group_id, instance_id="away", session_timeout_ms=900)
    stable(target, leader, away)
    started = time.monotonic()
    away.connection.close()
    while time.monotonic() < started + 0.5:
        expect(leader.heartbeat(), error_code=ErrorCode.NONE)
        time.sleep(0.1)

    leader.wait_for_rebalance()

    expect_seconds("its session", time.monotonic() - started, 0.7, 2.5)
