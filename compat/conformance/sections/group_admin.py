"""G: how groups are found, listed, described and deleted."""

import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NULL_OR_EMPTY, expect, expect_equal, expect_that, one_of
from pykbroker.compat.steps.classic_members import (
    Participant,
    alone,
    commit_request,
    described,
    expect_state,
    gather,
    pair,
    ready_group,
    stable,
    wait_for_state,
)
from pykbroker.compat.target import PATIENCE_S, Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    OffsetFetchRequest,
)

DESCRIBE = ("DescribeGroups", "JoinGroup", "SyncGroup")
LIST = ("ListGroups", "JoinGroup", "SyncGroup", "OffsetCommit")
DELETE = ("DeleteGroups", "JoinGroup", "SyncGroup", "DescribeGroups")
EXPIRING = Settings((("offsets.retention.check.interval.ms", "500"),))
ALL_THAT_IS_ALLOWED = 3400
"""Read, Delete, Describe, DescribeConfigs and AlterConfigs, a bit each."""
NOT_ASKED = -2147483648
GROUP, TRANSACTION, SHARE = 0, 1, 2
NOBODY = {"node_id": -1, "host": "", "port": -1}


def simple_group(target: Target) -> str:
    """A group that has nothing but an offset."""
    group_id = ready_group(target)
    answer = target.ask_newest(commit_request(group_id, target.new_topic(), {0: 1}), 9)
    expect(answer.topics[0].partitions[0], error_code=ErrorCode.NONE)
    return group_id


def listed(target: Target, version: int, **filters: list[str]) -> dict[str, ListGroupsResponse.ListedGroup]:
    """ListGroups, by group."""
    answer = target.ask(ListGroupsRequest(**filters), version)
    expect(answer, error_code=ErrorCode.NONE)
    return {one.group_id: one for one in answer.groups}


# -- DescribeGroups ----------------------------------------------------------------------------------------------


@check("G-26a", api="DescribeGroups", versions="0-6")
def a_group_that_is_not_there_is_dead(target: Target, version: int) -> None:
    """Given DescribeGroups of an unknown group, or of the empty id, its state is Dead; from v6 on with GROUP_ID_NOT_FOUND. KIP-1043."""
    unknown = ready_group(target)

    for group_id in (unknown, ""):
        found = described(target, group_id, version)

        expect(found, group_id=group_id, group_state="Dead", members=[], protocol_type="", protocol_data="")
        if version >= 6:
            expect(found, error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=f"Group {group_id} not found.")
        else:
            expect(found, error_code=ErrorCode.NONE)


@check("G-26b", api=DESCRIBE, versions="0-6")
def a_group_asked_for_twice_is_described_twice(target: Target, version: int) -> None:
    """Given DescribeGroups that names a group twice, it is described twice."""
    group_id = alone(target).group_id

    answer = target.ask(DescribeGroupsRequest(groups=[group_id, group_id]), version)

    expect_equal("groups", [(one.group_id, one.group_state, one.error_code) for one in answer.groups], [(group_id, "Stable", 0)] * 2)


@check("G-26c", api=DESCRIBE, versions="3-6")
def operations_are_told_where_they_are_asked_for(target: Target, version: int) -> None:
    """Given v3+ asks for the authorized operations, each group has those of a group; unasked, and from v6 on where it is not there, -2147483648. KIP-430."""
    there, unknown = alone(target).group_id, ready_group(target)

    asked = target.ask(DescribeGroupsRequest(groups=[there, unknown], include_authorized_operations=True), version)
    unasked = target.ask(DescribeGroupsRequest(groups=[there]), version)

    operations = {one.group_id: one.authorized_operations for one in asked.groups}
    expect_equal(
        "authorized_operations", operations, {there: ALL_THAT_IS_ALLOWED, unknown: ALL_THAT_IS_ALLOWED if version < 6 else NOT_ASKED}
    )
    expect(unasked.groups[0], authorized_operations=NOT_ASKED, error_code=ErrorCode.NONE)


@check("G-27a", api=DESCRIBE, versions="0-6")
def a_stable_group_is_described_with_its_assignments(target: Target, version: int) -> None:
    """Given a stable group, each member has its metadata of the chosen protocol and its assignment, client id, address and (v4+) instance id."""
    group_id = ready_group(target)
    leader = Participant(target, group_id, protocols={"x": b"x0", "y": b"y0"}, instance_id="static")
    follower = Participant(target, group_id, protocols={"x": b"x1"})
    stable(target, leader, follower)

    found = described(target, group_id, version)

    expect(found, error_code=ErrorCode.NONE, group_state="Stable", protocol_type="workers", protocol_data="x")
    members = {one.member_id: one for one in found.members}
    expect(members[leader.member_id], member_metadata=b"x0", member_assignment=b"for 0", client_id="conformance")
    expect(members[leader.member_id], group_instance_id="static" if version >= 4 else None)
    expect(members[follower.member_id], member_metadata=b"x1", member_assignment=b"for 1", group_instance_id=None)
    expect_that(members[follower.member_id].client_host.startswith("/"), "client_host is an address after a slash")


@check("G-27b", api=(*DESCRIBE, "Heartbeat"), versions="0-6")
def a_group_in_a_rebalance_is_described_by_halves(target: Target, version: int) -> None:
    """Given a rebalance after a stable generation, metadata and protocol_data are empty, and the old assignments still there."""
    leader, follower = pair(target)
    old = {leader.member_id: b"for 0", follower.member_id: b"for 1"}
    leader.ask_to_join()
    follower.wait_for_rebalance()

    for state in ("PreparingRebalance", "CompletingRebalance"):
        if state == "CompletingRebalance":
            follower.join()
            leader.joined()
        found = described(target, leader.group_id, version)

        expect(found, error_code=ErrorCode.NONE, group_state=state, protocol_type="workers", protocol_data="")
        expect_equal("member_assignment", {one.member_id: one.member_assignment for one in found.members}, old)
        expect_equal("member_metadata", [one.member_metadata for one in found.members], [b"", b""])


@check("G-36", api=("DescribeGroups", "ConsumerGroupHeartbeat"), versions="0-6")
def a_consumer_group_is_no_classic_group(target: Target, version: int) -> None:
    """Given DescribeGroups of a consumer group, it is Dead; v6 says GROUP_ID_NOT_FOUND, and that it is not a classic group. KIP-1043."""
    group_id = ready_group(target)
    joined = target.ask_newest(
        ConsumerGroupHeartbeatRequest(
            group_id=group_id,
            member_id=target.new_name("member"),
            member_epoch=0,
            rebalance_timeout_ms=10_000,
            subscribed_topic_names=["none"],
            topic_partitions=[],
        ),
        1,
    )
    expect(joined, error_code=ErrorCode.NONE)

    found = described(target, group_id, version)

    expect(found, group_state="Dead", members=[])
    if version >= 6:
        expect(found, error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=f"Group {group_id} is not a classic group.")
    else:
        expect(found, error_code=ErrorCode.NONE)


# -- ListGroups --------------------------------------------------------------------------------------------------


@check("G-28a", api=LIST, versions="0-5")
def every_group_is_listed(target: Target, version: int) -> None:
    """Given a stable group and one with nothing but an offset, both are listed; v4+ has their states, v5+ their types. KIP-518, KIP-848."""
    member, simple = alone(target), simple_group(target)

    found = listed(target, version)

    state, kind = version >= 4, version >= 5
    expect(found[member.group_id], protocol_type="workers", group_state="Stable" if state else "", group_type="classic" if kind else "")
    expect(found[simple], protocol_type="", group_state="Empty" if state else "", group_type="classic" if kind else "")


@check("G-28b", api=LIST, versions="4-5")
def groups_are_listed_by_state(target: Target, version: int) -> None:
    """Given a filter of states, in whatever case, only groups in them are listed; none where no such state is known. KIP-518."""
    member, simple = alone(target), simple_group(target)
    ours = {member.group_id, simple}

    expect_equal("the stable groups", listed(target, version, states_filter=["sTABLE"]).keys() & ours, {member.group_id})
    expect_equal("the empty groups", listed(target, version, states_filter=["empty", "dead"]).keys() & ours, {simple})
    expect_equal("groups in either state", listed(target, version, states_filter=["Empty", "Stable"]).keys() & ours, ours)
    expect_equal("groups of an unknown state", listed(target, version, states_filter=["Happy"]), {})


@check("G-28c", api=LIST)
def groups_are_listed_by_type(target: Target) -> None:
    """Given a filter of types, in whatever case, only groups of them are listed; none where no such type is known. KIP-848."""
    member, simple = alone(target), simple_group(target)
    ours = {member.group_id, simple}

    expect_equal("the classic groups", listed(target, 5, types_filter=["CLASSIC"]).keys() & ours, ours)
    expect_equal(
        "those that are stable too", listed(target, 5, types_filter=["classic"], states_filter=["stable"]).keys() & ours, {member.group_id}
    )
    expect_equal("the share groups", listed(target, 5, types_filter=["share"]).keys() & ours, set())
    expect_equal("groups of an unknown type", listed(target, 5, types_filter=["odd"]), {})


# -- DeleteGroups ------------------------------------------------------------------------------------------------


@check("G-29a", api=(*DELETE, "OffsetCommit"), versions="0-2")
def only_groups_without_members_are_deleted(target: Target, version: int) -> None:
    """Given a group with members NON_EMPTY_GROUP, an unknown one GROUP_ID_NOT_FOUND, one without members is deleted; each answered once. KIP-229."""
    busy, simple, unknown = alone(target), simple_group(target), ready_group(target)

    answer = target.ask(DeleteGroupsRequest(groups_names=[busy.group_id, simple, unknown, simple]), version)

    errors = sorted((one.group_id, one.error_code) for one in answer.results)
    wanted = [(busy.group_id, ErrorCode.NON_EMPTY_GROUP), (simple, ErrorCode.NONE), (unknown, ErrorCode.GROUP_ID_NOT_FOUND)]
    expect_equal("the errors", errors, sorted(wanted))
    expect_state(target, simple, "Dead")
    expect_state(target, busy.group_id, "Stable")


@check("G-29b", api=(*DELETE, "OffsetCommit", "OffsetFetch"))
def a_deleted_groups_offsets_are_gone(target: Target) -> None:
    """Given a group with offsets that is deleted, it has none then. KIP-229."""
    group_id = simple_group(target)

    expect(target.ask_newest(DeleteGroupsRequest(groups_names=[group_id]), 2).results[0], error_code=ErrorCode.NONE)

    answer = target.ask_newest(OffsetFetchRequest(group_id=group_id, topics=None), 7)
    expect(answer, error_code=ErrorCode.NONE, topics=[])


@check("G-29c", api=DELETE, versions="0-2")
def ids_given_out_keep_no_group(target: Target, version: int) -> None:
    """Given a group where somebody was only given an id, it is deleted. KIP-394."""
    newcomer = Participant(target, ready_group(target))
    newcomer.be_given_an_id()

    answer = target.ask(DeleteGroupsRequest(groups_names=[newcomer.group_id]), version)

    expect(answer.results[0], error_code=ErrorCode.NONE)
    expect_state(target, newcomer.group_id, "Dead")
    expect(newcomer.try_to_join(), error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-29d", api="DeleteGroups", versions="0-2")
def the_empty_group_id_is_not_found(target: Target, version: int) -> None:
    """Given DeleteGroups of the empty id, under which nothing was committed, GROUP_ID_NOT_FOUND."""
    ready_group(target)
    target.ask(DeleteGroupsRequest(groups_names=[""]), version)

    answer = target.ask(DeleteGroupsRequest(groups_names=[""]), version)

    expect(answer.results[0], group_id="", error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("G-37", api=DELETE, needs=EXPIRING)
def an_empty_group_without_offsets_is_removed(target: Target) -> None:
    """Given a group whose only member left and that has no offsets, it is gone after offsets.retention.check.interval.ms, whatever the retention is."""
    member = alone(target)
    expect(member.leave(), error_code=ErrorCode.NONE)

    waited_s = wait_for_state(target, member.group_id, "Dead", within_s=5)

    expect_that(waited_s < 2, "it is gone soon")


# -- FindCoordinator ---------------------------------------------------------------------------------------------


@check("G-30a", api="FindCoordinator", versions="4-6")
def every_key_has_an_entry(target: Target, version: int) -> None:
    """Given FindCoordinator v4+ with several keys, one of them twice and one empty, each has an entry that names this cluster's brokers. KIP-699."""
    keys = [ready_group(target), target.new_group(), "", ""]

    answer = target.ask(FindCoordinatorRequest(coordinator_keys=keys), version)

    expect_equal("the keys", sorted(one.key for one in answer.coordinators), sorted(keys))
    brokers = {(one.node_id, one.host, one.port) for one in target.metadata("none").brokers}
    for one in answer.coordinators:
        expect(one, error_code=ErrorCode.NONE, error_message="")
        expect_that((one.node_id, one.host, one.port) in brokers, f"{one} is one of the cluster's brokers")


@check("G-30b", api="FindCoordinator", versions="0-3")
def one_key_has_its_answer_on_top(target: Target, version: int) -> None:
    """Given FindCoordinator v0-v3, the top level names one of this cluster's brokers; from v1 on error_message is NONE, as a word."""
    group_id = ready_group(target)

    for key in (group_id, ""):
        answer = target.ask(FindCoordinatorRequest(key=key), version)

        expect(answer, error_code=ErrorCode.NONE, error_message="NONE" if version >= 1 else "")
        brokers = {(one.node_id, one.host, one.port) for one in target.metadata("none").brokers}
        expect_that((answer.node_id, answer.host, answer.port) in brokers, f"{answer} is one of the cluster's brokers")


@check("G-30c", api="FindCoordinator", versions="4-6")
def an_unknown_key_type_is_refused_for_each_key(target: Target, version: int) -> None:
    """Given FindCoordinator v4+ with a key type that there is not, INVALID_REQUEST for each key, and nobody's address. KIP-699."""
    answer = target.ask(FindCoordinatorRequest(key_type=9, coordinator_keys=["a", "b"]), version)

    expect_equal("the keys", sorted(one.key for one in answer.coordinators), ["a", "b"])
    for one in answer.coordinators:
        expect(one, error_code=ErrorCode.INVALID_REQUEST, **NOBODY)


@check("G-30d", api="FindCoordinator", versions="1-3")
def an_unknown_key_type_is_refused(target: Target, version: int) -> None:
    """Given FindCoordinator v1-v3 with a key type that there is not, INVALID_REQUEST, and nobody's address."""
    answer = target.ask(FindCoordinatorRequest(key="a", key_type=9), version)

    expect(answer, error_code=ErrorCode.INVALID_REQUEST, **NOBODY)


@check("G-30e", api=("FindCoordinator", "ShareFetch"), versions="4-6")
def a_share_coordinator_is_asked_for_by_its_key(target: Target, version: int) -> None:
    """Given key type 2 (share), INVALID_REQUEST below v6; in v6 where the key is not group:topicId:partition. KIP-932."""
    keys = ["group", ":AAAAAAAAAAAAAAAAAAAAAQ:0", "group:no-id:0", "group:AAAAAAAAAAAAAAAAAAAAAQ:x"]
    if version < 6:
        keys.append("group:AAAAAAAAAAAAAAAAAAAAAQ:0")

    answer = target.ask(FindCoordinatorRequest(key_type=SHARE, coordinator_keys=keys), version)

    expect_equal("the keys", sorted(one.key for one in answer.coordinators), sorted(keys))
    for one in answer.coordinators:
        expect(one, error_code=ErrorCode.INVALID_REQUEST, **NOBODY)


@check("G-31", api="FindCoordinator")
def a_coordinator_is_there_soon(target: Target) -> None:
    """Given FindCoordinator on a fresh cluster, COORDINATOR_NOT_AVAILABLE with nobody's address until __consumer_offsets is there, and then a broker."""
    group_id = target.new_group()
    deadline = time.monotonic() + PATIENCE_S
    while (found := _coordinator_of(target, group_id)).error_code != ErrorCode.NONE:
        expect(found, error_code=ErrorCode.COORDINATOR_NOT_AVAILABLE, error_message=NULL_OR_EMPTY, **NOBODY)
        expect_that(time.monotonic() < deadline, "there is a coordinator after some seconds")
        time.sleep(0.05)

    expect(found, node_id=one_of(*(one.node_id for one in target.metadata("none").brokers)))
    target.wait_for_coordinator(group_id)
    expect_that(gather(target, Participant(target, group_id))[0].member_id, "it coordinates")


def _coordinator_of(target: Target, group_id: str) -> FindCoordinatorResponse | FindCoordinatorResponse.Coordinator:
    version = target.newest(FindCoordinatorRequest, 4)
    if version < 4:
        return target.ask(FindCoordinatorRequest(key=group_id), version)
    answer = target.ask(FindCoordinatorRequest(coordinator_keys=[group_id]), version)
    expect_equal("the keys", [one.key for one in answer.coordinators], [group_id])
    return answer.coordinators[0]
