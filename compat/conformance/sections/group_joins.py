"""G: how members join a classic group, and what is refused."""

import re
import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import Where, expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import (
    NEVER_ISSUED,
    NO_GENERATION,
    SHORT_SESSIONS,
    Participant,
    alone,
    broker_setting,
    described,
    expect_seconds,
    expect_state,
    gather,
    pair,
    protocols_of,
    ready_group,
    stable,
    wait_for_members,
    wait_for_state,
)
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import JoinGroupRequest, JoinGroupResponse

JOIN_AND_DESCRIBE = ("JoinGroup", "DescribeGroups")
THREE_AT_MOST = Settings((("group.max.size", "3"),))
DELAY_OF_HALF_A_SECOND = Settings((("group.initial.rebalance.delay.ms", "500"),))
UUID = r"[0-9A-Za-z_-]{22,36}"


def expect_refused(answer: JoinGroupResponse, version: int, error_code: ErrorCode, member_id: object) -> None:
    """A JoinGroup answer that says no: no generation, no leader, no members, no protocol (which below v7 cannot be null)."""
    expect(answer, error_code=error_code, generation_id=NO_GENERATION, leader="", members=[], member_id=member_id, protocol_type=None)
    expect(answer, protocol_name=None if version >= 7 else "")


def an_id(prefix: str) -> Where:
    """A member id that the broker made of that prefix."""
    return Where(f"{prefix}-<uuid>", lambda found: bool(re.fullmatch(re.escape(prefix) + "-" + UUID, found)))


@check("G-01a", api=JOIN_AND_DESCRIBE, versions="4-9")
def a_dynamic_member_is_given_its_id_first(target: Target, version: int) -> None:
    """Given JoinGroup v4+ without member id and instance id, MEMBER_ID_REQUIRED and an id made of the client id; the group is there, Empty. KIP-394."""
    newcomer = Participant(target, ready_group(target))

    answer = newcomer.try_to_join(version)

    expect_refused(answer, version, ErrorCode.MEMBER_ID_REQUIRED, an_id("conformance"))
    wait_for_state(target, newcomer.group_id, "Empty")
    expect(described(target, newcomer.group_id), protocol_type="", members=[])


@check("G-01b", api="JoinGroup", versions="4-9")
def an_id_is_made_without_a_client_id_too(target: Target, version: int) -> None:
    """Given JoinGroup v4+ with a null or an empty client id, the member id begins with the hyphen. KIP-394."""
    newcomer = Participant(target, ready_group(target))
    for client_id in (None, ""):
        newcomer.connection.send(newcomer.join_request(), version, client_id)

        answer = newcomer.joined(version)

        expect_refused(answer, version, ErrorCode.MEMBER_ID_REQUIRED, an_id(""))


@check("G-01c", api="JoinGroup", versions="4-9")
def the_id_that_was_given_out_joins(target: Target, version: int) -> None:
    """Given the id from MEMBER_ID_REQUIRED, the second JoinGroup makes its sender leader of generation 1. KIP-394."""
    newcomer = Participant(target, ready_group(target))
    given = newcomer.try_to_join(version).member_id

    answer = newcomer.try_to_join(version, member_id=given)

    expect(answer, error_code=ErrorCode.NONE, member_id=given, leader=given, generation_id=1, protocol_name="range")


@check("G-01d", api="JoinGroup", needs=SHORT_SESSIONS)
def an_id_that_is_not_used_expires(target: Target) -> None:
    """Given an id from MEMBER_ID_REQUIRED that is not used within its session timeout, joining with it is UNKNOWN_MEMBER_ID. KIP-394."""
    newcomer = Participant(target, ready_group(target), session_timeout_ms=200)
    given = newcomer.be_given_an_id()
    time.sleep(0.6)

    version = target.newest(JoinGroupRequest, 9)
    answer = newcomer.try_to_join(version)

    expect_refused(answer, version, ErrorCode.UNKNOWN_MEMBER_ID, given)


@check("G-02a", api="JoinGroup", versions="0-3")
def older_clients_join_without_an_id(target: Target, version: int) -> None:
    """Given JoinGroup v0-v3 with an empty member id, it joins at once. KIP-394."""
    newcomer = Participant(target, ready_group(target))

    answer = newcomer.try_to_join(version)

    expect(answer, error_code=ErrorCode.NONE, member_id=an_id("conformance"), leader=answer.member_id, generation_id=1)


@check("G-02b", api="JoinGroup", versions="5-9")
def a_static_member_joins_without_an_id(target: Target, version: int) -> None:
    """Given JoinGroup v5+ with an instance id and an empty member id, it joins at once, its id made of the instance id. KIP-345."""
    newcomer = Participant(target, ready_group(target), instance_id="one")

    answer = newcomer.try_to_join(version)

    expect(answer, error_code=ErrorCode.NONE, member_id=an_id("one"), leader=answer.member_id, generation_id=1)
    expect(answer.members[0], member_id=answer.member_id, group_instance_id="one")


@check("G-03a", api=JOIN_AND_DESCRIBE, versions="0-9")
def an_id_never_issued_makes_no_group(target: Target, version: int) -> None:
    """Given a member id that was never given out and no such group, UNKNOWN_MEMBER_ID with that id; no group is made. KIP-394."""
    stranger = Participant(target, ready_group(target))

    answer = stranger.try_to_join(version, member_id=NEVER_ISSUED)

    expect_refused(answer, version, ErrorCode.UNKNOWN_MEMBER_ID, NEVER_ISSUED)
    expect_state(target, stranger.group_id, "Dead")


@check("G-03b", api="JoinGroup", versions="0-9")
def an_id_never_issued_does_not_join(target: Target, version: int) -> None:
    """Given a group with a member and a member id that was never given out, UNKNOWN_MEMBER_ID with that id. KIP-394."""
    member = alone(target)
    stranger = Participant(target, member.group_id)

    answer = stranger.try_to_join(version, member_id=NEVER_ISSUED)

    expect_refused(answer, version, ErrorCode.UNKNOWN_MEMBER_ID, NEVER_ISSUED)
    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("G-04a", api="JoinGroup", versions="0-9")
def a_group_needs_a_name(target: Target, version: int) -> None:
    """Given JoinGroup for the empty group id, INVALID_GROUP_ID, whatever the session timeout is. KIP-394."""
    ready_group(target)
    for session_timeout_ms in (10_000, -1):
        answer = Participant(target, "", session_timeout_ms=session_timeout_ms).try_to_join(version)

        expect_refused(answer, version, ErrorCode.INVALID_GROUP_ID, "")


@check("G-04b", api=("JoinGroup", "DescribeConfigs"), versions="0-9")
def session_timeouts_have_bounds(target: Target, version: int) -> None:
    """Given a session timeout below group.min.session.timeout.ms or above the max, INVALID_SESSION_TIMEOUT; both bounds are within."""
    least, most = (int(broker_setting(target, f"group.{bound}.session.timeout.ms")) for bound in ("min", "max"))
    for refused in (least - 1, most + 1, -1):
        answer = Participant(target, ready_group(target), session_timeout_ms=refused).try_to_join(version)

        expect_refused(answer, version, ErrorCode.INVALID_SESSION_TIMEOUT, "")
    for taken in (least, most):
        answer = Participant(target, ready_group(target), session_timeout_ms=taken).try_to_join(version)

        expect(answer, error_code=ErrorCode.MEMBER_ID_REQUIRED if version >= 4 else ErrorCode.NONE)


@check("G-04c", api="JoinGroup")
def a_rebalance_timeout_of_minus_one_is_taken(target: Target) -> None:
    """Given a rebalance timeout of -1, the member joins."""
    answer = Participant(target, ready_group(target), rebalance_timeout_ms=-1).join()

    expect(answer, generation_id=1, leader=answer.member_id)


@check("G-05a", api="JoinGroup", versions="0-9")
def a_first_member_has_a_protocol(target: Target, version: int) -> None:
    """Given a first member with no protocols, or with an empty protocol type, INCONSISTENT_GROUP_PROTOCOL, before MEMBER_ID_REQUIRED."""
    newcomer = Participant(target, ready_group(target))

    without_protocols = newcomer.try_to_join(version, protocols=[])
    without_type = newcomer.try_to_join(version, protocol_type="")

    expect_refused(without_protocols, version, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "")
    expect_refused(without_type, version, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "")


@check("G-05b", api="JoinGroup", versions="0-9")
def members_have_a_protocol_in_common(target: Target, version: int) -> None:
    """Given another protocol type than the group's, no common protocol, or none at all, INCONSISTENT_GROUP_PROTOCOL, before UNKNOWN_MEMBER_ID."""
    newcomer = Participant(target, alone(target).group_id)
    unlike: list[dict[str, object]] = [
        {"protocol_type": "other"},
        {"protocol_type": ""},
        {"protocols": protocols_of({"other": b""})},
        {"protocols": []},
    ]
    for member_id in ("", NEVER_ISSUED):
        for changes in unlike:
            answer = newcomer.try_to_join(version, member_id=member_id, **changes)

            expect_refused(answer, version, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id)


@check("G-05c", api="JoinGroup", versions="0-9")
def a_sole_member_keeps_a_protocol(target: Target, version: int) -> None:
    """Given the only member of a group that re-joins with nothing but a new protocol, INCONSISTENT_GROUP_PROTOCOL; it stays as it was."""
    member = alone(target)

    answer = member.try_to_join(version, protocols=protocols_of({"new": b""}))

    expect_refused(answer, version, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member.member_id)
    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("G-06a", api="JoinGroup", needs=DELAY_OF_HALF_A_SECOND)
def the_first_member_waits_for_others(target: Target) -> None:
    """Given the first member of a group, its answer comes after group.initial.rebalance.delay.ms, also with a smaller rebalance timeout. KIP-134."""
    first = Participant(target, ready_group(target), rebalance_timeout_ms=100)
    first.ask_to_join()
    started = time.monotonic()

    answer = first.joined()

    expect(answer, error_code=ErrorCode.NONE, generation_id=1)
    expect_seconds("the first join", time.monotonic() - started, 0.5, 1.0)


@check("G-06b", api=JOIN_AND_DESCRIBE, needs=DELAY_OF_HALF_A_SECOND)
def whoever_joins_in_time_extends_the_wait(target: Target) -> None:
    """Given a second member within the initial delay, both are answered one delay later, in generation 1. KIP-134."""
    first, second = (Participant(target, ready_group(target)) for _ in range(2))
    second.group_id = first.group_id
    first.ask_to_join()
    started = time.monotonic()
    second.ask_to_join()

    answers = first.joined(), second.joined()

    for answer in answers:
        expect(answer, error_code=ErrorCode.NONE, generation_id=1)
    expect_seconds("the first round", time.monotonic() - started, 1.0, 1.45)


@check("G-06c", api=JOIN_AND_DESCRIBE, needs=DELAY_OF_HALF_A_SECOND)
def the_wait_ends_with_the_rebalance_timeout(target: Target) -> None:
    """Given a second member within the initial delay and a rebalance timeout of 700 ms, both are answered after that. KIP-134."""
    first, second = (Participant(target, ready_group(target), rebalance_timeout_ms=700) for _ in range(2))
    second.group_id = first.group_id
    first.ask_to_join()
    started = time.monotonic()
    second.ask_to_join()

    answers = first.joined(), second.joined()

    for answer in answers:
        expect(answer, error_code=ErrorCode.NONE, generation_id=1)
    expect_seconds("the first round", time.monotonic() - started, 0.7, 0.97)


@check("G-07a", api=JOIN_AND_DESCRIBE)
def a_round_has_one_leader_and_one_protocol(target: Target) -> None:
    """Given three members, generation + 1, the first is leader, the protocol is what most prefer, and only the leader sees members and metadata."""
    group_id = ready_group(target)
    first = Participant(target, group_id, protocols={"x": b"x0", "y": b"y0"})
    second, third = (Participant(target, group_id, protocols={"y": b"y%d" % n, "x": b"x%d" % n, "z": b"z"}) for n in (1, 2))

    answers = gather(target, first, second, third)

    named = "workers" if target.newest(JoinGroupRequest, 9) >= 7 else None
    for answer in answers:
        expect(answer, generation_id=2, leader=first.member_id, protocol_type=named, protocol_name="y", skip_assignment=False)
    seen = {one.member_id: (one.metadata, one.group_instance_id) for one in answers[0].members}
    wanted = {one.member_id: (b"y%d" % n, None) for n, one in enumerate((first, second, third))}
    expect_equal("the members that the leader sees", seen, wanted)
    expect(answers[1], members=[])
    expect(answers[2], members=[])


@check("G-07b", api=JOIN_AND_DESCRIBE)
def only_what_all_support_is_voted_for(target: Target) -> None:
    """Given members that prefer a protocol which not all support, each votes for its first that all do."""
    group_id = ready_group(target)
    first = Participant(target, group_id, protocols={"a": b"", "common": b""})
    second = Participant(target, group_id, protocols={"b": b"", "common": b""})

    answers = gather(target, first, second)

    for answer in answers:
        expect(answer, generation_id=2, protocol_name="common")


@check("G-08", api=JOIN_AND_DESCRIBE)
def who_does_not_rejoin_in_time_is_removed(target: Target) -> None:
    """Given a member that does not re-join within the largest rebalance timeout (600 ms), the round ends without it; it is unknown then."""
    missing = Participant(target, ready_group(target), rebalance_timeout_ms=100)
    stable(target, missing)
    newcomer = Participant(target, missing.group_id, rebalance_timeout_ms=600)
    newcomer.ask_to_join()
    started = time.monotonic()

    answer = newcomer.joined()

    expect_seconds("the round", time.monotonic() - started, 0.6, 1.5)
    expect(answer, error_code=ErrorCode.NONE, generation_id=2, leader=newcomer.member_id)
    expect_equal("the members", [one.member_id for one in answer.members], [newcomer.member_id])
    expect(missing.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-09a", api=JOIN_AND_DESCRIBE, versions="0-9", needs=THREE_AT_MOST)
def a_group_can_be_full(target: Target, version: int) -> None:
    """Given group.max.size=3 and three members, JoinGroup without an id is GROUP_MAX_SIZE_REACHED, with an empty member id. KIP-389."""
    group_id = ready_group(target)
    gather(target, *(Participant(target, group_id) for _ in range(3)))

    answer = Participant(target, group_id).try_to_join(version)

    expect_refused(answer, version, ErrorCode.GROUP_MAX_SIZE_REACHED, "")


@check("G-09b", api=JOIN_AND_DESCRIBE, needs=THREE_AT_MOST)
def ids_given_out_do_not_fill_a_group(target: Target) -> None:
    """Given group.max.size=3, four may be given an id; the fourth that joins with its own is GROUP_MAX_SIZE_REACHED. KIP-389, KIP-394."""
    group_id = ready_group(target)
    members = [Participant(target, group_id) for _ in range(4)]
    for member in members:
        member.be_given_an_id()
    gather(target, *members[:3])

    version = target.newest(JoinGroupRequest, 9)
    answer = members[3].try_to_join(version)

    expect_refused(answer, version, ErrorCode.GROUP_MAX_SIZE_REACHED, "")


@check("G-10a", api=JOIN_AND_DESCRIBE, versions="0-9")
def a_follower_that_changes_nothing_starts_no_rebalance(target: Target, version: int) -> None:
    """Given a stable group, a follower that re-joins as it is, or with another session timeout, is answered at once: this generation, no members."""
    leader, follower = pair(target)
    for session_timeout_ms in (10_000, 11_000):
        answer = follower.try_to_join(version, session_timeout_ms=session_timeout_ms)

        expect(answer, error_code=ErrorCode.NONE, generation_id=2, leader=leader.member_id, members=[], protocol_name="range")
        expect(answer, member_id=follower.member_id, protocol_type="workers" if version >= 7 else None)
    expect(leader.heartbeat(), error_code=ErrorCode.NONE)


@check("G-10b", api=JOIN_AND_DESCRIBE)
def a_follower_with_other_metadata_starts_a_rebalance(target: Target) -> None:
    """Given a stable group, a follower that re-joins with changed metadata waits, until the leader has re-joined too: generation + 1."""
    leader, follower = pair(target)
    follower.protocols = {"range": b"changed"}
    follower.ask_to_join()
    leader.wait_for_rebalance()
    expect_that(follower.connection.is_silent(), "the follower's JoinGroup waits")

    answer = leader.join()

    expect(answer, generation_id=3, leader=leader.member_id)
    expect_equal(
        "metadata", {one.member_id: one.metadata for one in answer.members}, {leader.member_id: b"", follower.member_id: b"changed"}
    )
    expect(follower.joined(), error_code=ErrorCode.NONE, generation_id=3, members=[])


@check("G-10c", api=JOIN_AND_DESCRIBE)
def a_leader_that_rejoins_starts_a_rebalance(target: Target) -> None:
    """Given a stable group, the leader that re-joins as it is waits for the follower: generation + 1."""
    leader, follower = pair(target)
    leader.ask_to_join()
    follower.wait_for_rebalance()
    expect_that(leader.connection.is_silent(), "the leader's JoinGroup waits")

    expect(follower.join(), generation_id=3, leader=leader.member_id, members=[])

    answer = leader.joined()
    expect(answer, error_code=ErrorCode.NONE, generation_id=3, leader=leader.member_id)
    expect_equal("the number of members", len(answer.members), 2)


@check("G-11a", api=JOIN_AND_DESCRIBE)
def a_join_is_answered_again_before_the_sync(target: Target) -> None:
    """Given CompletingRebalance, re-joining as it is repeats the answer: this generation, and to the leader all members."""
    group_id = ready_group(target)
    leader, follower = (Participant(target, group_id) for _ in range(2))
    gather(target, leader, follower)

    to_follower, to_leader = follower.try_to_join(), leader.try_to_join()

    expect(to_follower, error_code=ErrorCode.NONE, generation_id=2, leader=leader.member_id, members=[])
    expect(to_leader, error_code=ErrorCode.NONE, generation_id=2, leader=leader.member_id)
    expect_equal("the members", {one.member_id for one in to_leader.members}, {leader.member_id, follower.member_id})
    expect_state(target, group_id, "CompletingRebalance")


@check("G-11b", api=JOIN_AND_DESCRIBE)
def other_metadata_before_the_sync_is_a_new_round(target: Target) -> None:
    """Given CompletingRebalance, re-joining with changed metadata makes it PreparingRebalance, and the next generation."""
    group_id = ready_group(target)
    leader, follower = (Participant(target, group_id) for _ in range(2))
    gather(target, leader, follower)
    follower.protocols = {"range": b"changed"}
    follower.ask_to_join()
    leader.wait_for_rebalance()
    expect_state(target, group_id, "PreparingRebalance")

    expect(leader.join(), generation_id=3, leader=leader.member_id)

    expect(follower.joined(), error_code=ErrorCode.NONE, generation_id=3)


@check("G-33", api=JOIN_AND_DESCRIBE)
def a_consumer_with_strange_metadata_harms_no_neighbour(target: Target) -> None:
    """Given protocol type consumer, metadata of one to three bytes that is no subscription is tolerated: the group joins and assigns."""
    for metadata in (b"\0", b"\0\0", b"abc"):
        member = Participant(target, ready_group(target), protocol_type="consumer", protocols={"range": metadata})

        answer = member.join()

        expect_equal("metadata", [one.metadata for one in answer.members], [metadata])
        expect(member.sync({member.member_id: b"all"}), error_code=ErrorCode.NONE, assignment=b"all")


@check("G-39", api=JOIN_AND_DESCRIBE, needs=SHORT_SESSIONS)
def a_join_whose_connection_is_gone_counts(target: Target) -> None:
    """Given a JoinGroup that waits and its connection closed, the round completes with that member; it is dropped a session timeout later."""
    first = Participant(target, ready_group(target))
    stable(target, first)
    gone = Participant(target, first.group_id, session_timeout_ms=600)
    gone.ask_to_join()
    wait_for_members(target, first.group_id, 2)
    gone.connection.close()

    answer = first.join()

    expect_equal("the members", {one.member_id for one in answer.members}, {first.member_id, gone.member_id})
    started = time.monotonic()
    first.wait_for_rebalance()
    expect_seconds("its session", time.monotonic() - started, 0.5, 2.0)
    wait_for_members(target, first.group_id, 1)
