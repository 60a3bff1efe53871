"""C: consumer groups as others see them: ConsumerGroupDescribe, ListGroups, and the APIs of other kinds of group (KIP-848)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import NEVER_ISSUED, Participant, ready_group, stable
from pykbroker.compat.steps.consumer_members import (
    HEARTBEAT,
    ConsumerMember,
    all_of,
    configure,
    described,
    described_member,
    expect_refused,
    member_of_all,
    shown_as,
    topic_for_groups,
)
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerGroupDescribeRequest,
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    HeartbeatRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    ListGroupsResponse,
    ShareGroupHeartbeatRequest,
    StreamsGroupHeartbeatRequest,
    SyncGroupRequest,
)

DESCRIBE = ("ConsumerGroupDescribe", "ConsumerGroupHeartbeat")
LIST = ("ListGroups", *HEARTBEAT)
SHARE = (*HEARTBEAT, "ShareGroupHeartbeat")
NOT_ASKED = -(2**31)
CONSUMER_MEMBER = 1
NOT_FOUND = ErrorCode.GROUP_ID_NOT_FOUND


# -- C-18, C-23: described -------------------------------------------------------------------------------------------


@check("C-18a", api=(*DESCRIBE, "JoinGroup", "SyncGroup", "DescribeGroups"), versions="0-1")
def other_groups_are_no_consumer_groups(target: Target, version: int) -> None:
    """Given ConsumerGroupDescribe of a classic group, or of none, GROUP_ID_NOT_FOUND, a message, no state and no epochs. KIP-848."""
    classic = Participant(target, ready_group(target))
    stable(target, classic)
    nobody = ready_group(target)

    for group_id, words in ((classic.group_id, "is not a consumer group"), (nobody, "not found")):
        found = described(target, group_id, version)

        expect(found, error_code=NOT_FOUND, group_state="", group_epoch=0, assignment_epoch=0, assignor_name="", members=[])
        expect_that(group_id in (found.error_message or ""), "the message names the group")
        expect_that(words in (found.error_message or ""), f"the message says {words!r}")


@check("C-18b", api=("DescribeGroups", *HEARTBEAT), versions="0-6")
def a_consumer_group_is_dead_to_describe_groups(target: Target, version: int) -> None:
    """Given DescribeGroups of a consumer group that is Stable, it is Dead without members; v6 GROUP_ID_NOT_FOUND with a message, before without error. KIP-1043."""
    member = member_of_all(target, topic_for_groups(target))

    found = target.ask(DescribeGroupsRequest(groups=[member.group_id]), version).groups[0]

    expect(found, group_id=member.group_id, group_state="Dead", members=[], error_code=NOT_FOUND if version >= 6 else ErrorCode.NONE)
    if version >= 6:
        expect_that(member.group_id in (found.error_message or ""), "the message names the group")
    expect(described(target, member.group_id), group_state="Stable")


@check("C-23a", api=DESCRIBE, versions="0-1")
def a_consumer_group_is_described(target: Target, version: int) -> None:
    """Given a stable group: its state, its epochs, its assignor "uniform", and each member with its ids, client, subscription (a regex that is not set is ""),
    assignment and target by id and name; v1 member type 1. KIP-848, KIP-1099.
    """
    topic = topic_for_groups(target, 2)
    member = ConsumerMember(target, ready_group(target), [topic], instance_id="one")
    member.join(rack_id="rack")
    member.wait_for(all_of(topic))

    group = described(target, member.group_id, version)
    found = described_member(target, member, version)

    expect(
        group, error_code=ErrorCode.NONE, error_message=None, group_state="Stable", assignor_name="uniform", authorized_operations=NOT_ASKED
    )
    expect(group, group_epoch=member.epoch, assignment_epoch=member.epoch)
    expect(found, instance_id="one", rack_id="rack", member_epoch=member.epoch, client_id="conformance")
    expect(found, subscribed_topic_names=[topic.name], subscribed_topic_regex="")
    expect_that(found.client_host.startswith("/"), "client_host is an address after a slash")
    for assignment in (found.assignment, found.target_assignment):
        expect_equal("the assignment", shown_as(assignment), all_of(topic))
        expect_equal("the topics' names", [one.topic_name for one in assignment.topic_partitions], [topic.name])
    if version >= 1:
        expect(found, member_type=CONSUMER_MEMBER)


@check("C-23b", api=DESCRIBE, versions="0-1")
def what_is_allowed_is_told_where_asked(target: Target, version: int) -> None:
    """Given include_authorized_operations, a group that is there has READ, DELETE, DESCRIBE and both of its configs' operations; without, none are told. KIP-430."""
    member = member_of_all(target, topic_for_groups(target))
    everything = sum(1 << operation for operation in (3, 6, 8, 10, 11))

    answer = target.ask(ConsumerGroupDescribeRequest(group_ids=[member.group_id], include_authorized_operations=True), version)

    expect(answer.groups[0], error_code=ErrorCode.NONE, authorized_operations=everything)
    expect(described(target, member.group_id, version), authorized_operations=NOT_ASKED)


@check("C-23c", api=DESCRIBE, versions="0-1")
def several_groups_are_described_each_by_itself(target: Target, version: int) -> None:
    """Given a group that is there, one that is not, and the empty id, the first is described, the others fail by themselves. KIP-848."""
    member = member_of_all(target, topic_for_groups(target))
    nobody = ready_group(target)

    answer = target.ask(ConsumerGroupDescribeRequest(group_ids=[member.group_id, nobody, ""]), version)

    errors = {one.group_id: one.error_code for one in answer.groups}
    expect_equal("the errors", errors, {member.group_id: ErrorCode.NONE, nobody: NOT_FOUND, "": ErrorCode.INVALID_GROUP_ID})


# -- C-22: other kinds of group --------------------------------------------------------------------------------------


@check("C-22a", api=SHARE)
def groups_of_two_kinds_do_not_mix(target: Target) -> None:
    """Given a consumer's heartbeat to a share group, or a share member's to a consumer group, GROUP_ID_NOT_FOUND, and a message that says which it
    is not. KIP-848, KIP-932.
    """
    shared, consumed = ready_group(target), member_of_all(target, topic_for_groups(target))
    sharing = ShareGroupHeartbeatRequest(group_id=shared, member_id=target.new_name("member"), subscribed_topic_names=["none"])
    expect(target.ask_newest(sharing, 1), error_code=ErrorCode.NONE, member_id=sharing.member_id, member_epoch=2)

    consumer = ConsumerMember(target, shared, ["none"]).try_to_join()
    sharing.group_id = consumed.group_id
    sharer = target.ask_newest(sharing, 1)
    sharing.group_id, sharing.member_epoch = shared, -1
    target.ask_newest(sharing, 1)

    expect_refused(consumer, NOT_FOUND, f"{shared} is not a consumer group")
    expect(sharer, error_code=NOT_FOUND, member_id=None)
    expect_that("is not a share group" in (sharer.error_message or ""), "the message says that it is no share group")


@check("C-22g", api=(*HEARTBEAT, "StreamsGroupHeartbeat"))
def consumer_and_streams_groups_do_not_mix(target: Target) -> None:
    """Given a consumer's heartbeat to a streams group, or a streams member's to a consumer group, GROUP_ID_NOT_FOUND, and a message that says which
    it is not. KIP-848, KIP-1071.
    """
    topic = topic_for_groups(target)
    streamed, consumed = ready_group(target), member_of_all(target, topic)
    subtopology = StreamsGroupHeartbeatRequest.Subtopology(subtopology_id="0", source_topics=[topic.name])
    streaming = StreamsGroupHeartbeatRequest(
        group_id=streamed,
        member_id=target.new_name("member"),
        rebalance_timeout_ms=30_000,
        process_id="process",
        topology=StreamsGroupHeartbeatRequest.Topology(epoch=1, subtopologies=[subtopology]),
        active_tasks=[],
        standby_tasks=[],
        warmup_tasks=[],
    )
    target.afterwards(
        lambda: target.ask(StreamsGroupHeartbeatRequest(group_id=streamed, member_id=streaming.member_id, member_epoch=-1), 0)
    )
    expect(target.ask(streaming, 0), error_code=ErrorCode.NONE, member_id=streaming.member_id)

    consumer = ConsumerMember(target, streamed, [topic]).try_to_join()
    streaming.group_id = consumed.group_id
    streamer = target.ask(streaming, 0)

    expect_refused(consumer, NOT_FOUND, f"{streamed} is not a consumer group")
    expect(streamer, error_code=NOT_FOUND)
    expect_that("is not a streams group" in (streamer.error_message or ""), "the message says that it is no streams group")
    expect(consumed.heartbeat(), error_code=ErrorCode.NONE)


@check("C-22c", api=("Heartbeat", *HEARTBEAT), versions="0-4")
def a_members_classic_heartbeat_is_unknown(target: Target, version: int) -> None:
    """Given a classic Heartbeat for a member of a consumer group, in its epoch, UNKNOWN_MEMBER_ID. KIP-848."""
    member = member_of_all(target, topic_for_groups(target))

    answer = target.ask(HeartbeatRequest(group_id=member.group_id, generation_id=member.epoch, member_id=member.member_id), version)

    expect(answer, error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("C-22d", api=("SyncGroup", *HEARTBEAT), versions="0-5")
def a_members_classic_sync_is_unknown(target: Target, version: int) -> None:
    """Given SyncGroup for a member of a consumer group, in its epoch, UNKNOWN_MEMBER_ID, and nothing assigned. KIP-848."""
    member = member_of_all(target, topic_for_groups(target))

    request = SyncGroupRequest(group_id=member.group_id, generation_id=member.epoch, member_id=member.member_id)
    if version >= 5:
        request.protocol_type, request.protocol_name = "consumer", "range"

    answer = target.ask(request, version)

    expect(answer, error_code=ErrorCode.UNKNOWN_MEMBER_ID, assignment=b"")


@check("C-22f", api=("LeaveGroup", *HEARTBEAT), versions="3-5")
def others_may_take_a_member_out(target: Target, version: int) -> None:
    """Given LeaveGroup v3+ that names members of a consumer group by member id or by instance id, they are removed, as an admin client does; a
    stranger is UNKNOWN_MEMBER_ID, an id that is not the instance's FENCED_INSTANCE_ID. KIP-345, KIP-848.
    """
    dynamic = member_of_all(target, topic_for_groups(target))
    static = ConsumerMember(target, dynamic.group_id, dynamic.names or [], instance_id="one")
    static.join()
    named = [(NEVER_ISSUED, None), (NEVER_ISSUED, "one"), (dynamic.member_id, None), ("", "one")]
    members = [LeaveGroupRequest.MemberIdentity(member_id=member_id, group_instance_id=instance_id) for member_id, instance_id in named]

    answer = target.ask(LeaveGroupRequest(group_id=dynamic.group_id, members=members), version)

    expect(answer, error_code=ErrorCode.NONE)
    errors = [(one.member_id, one.group_instance_id, one.error_code) for one in answer.members]
    wanted = (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID, ErrorCode.NONE, ErrorCode.NONE)
    expect_equal("the members' errors", errors, [(*one, error) for one, error in zip(named, wanted, strict=True)])
    expect(described(target, dynamic.group_id), group_state="Empty", members=[])
    expect_refused(dynamic.heartbeat(), ErrorCode.UNKNOWN_MEMBER_ID, dynamic.member_id)


@check("C-22e", api=("DeleteGroups", *HEARTBEAT), versions="0-2")
def only_an_empty_consumer_group_is_deleted(target: Target, version: int) -> None:
    """Given DeleteGroups of a consumer group, NON_EMPTY_GROUP while it has members; then it is deleted and not found any more. KIP-848."""
    member = member_of_all(target, topic_for_groups(target))
    request = DeleteGroupsRequest(groups_names=[member.group_id])

    refused = target.ask(request, version).results[0]
    member.leave()
    done = target.ask(request, version).results[0]

    expect(refused, group_id=member.group_id, error_code=ErrorCode.NON_EMPTY_GROUP)
    expect(done, group_id=member.group_id, error_code=ErrorCode.NONE)
    expect(described(target, member.group_id), error_code=NOT_FOUND)


# -- C-28: listed ----------------------------------------------------------------------------------------------------


def listed(target: Target, group_id: str, version: int, **filters: list[str]) -> ListGroupsResponse.ListedGroup | None:
    """The entry of a group in ListGroups with these filters, if it is there."""
    answer = target.ask(ListGroupsRequest(**filters), version)
    expect(answer, error_code=ErrorCode.NONE)
    return next((one for one in answer.groups if one.group_id == group_id), None)


@check("C-28b", api=LIST, versions="0-5")
def a_consumer_group_is_listed(target: Target, version: int) -> None:
    """Given a stable consumer group, ListGroups has it with protocol type "consumer"; v4+ its state, v5+ its type. KIP-848."""
    member = member_of_all(target, topic_for_groups(target))

    found = listed(target, member.group_id, version)

    expect_that(found is not None, "the group is listed")
    expect(
        found,
        protocol_type="consumer",
        group_state="Stable" if version >= 4 else "",
        group_type="consumer" if version >= 5 else "",
    )


@check("C-28c", api=LIST)
def consumer_groups_are_listed_by_type(target: Target) -> None:
    """Given a filter of types, in whatever case, a consumer group is listed for "consumer", not for "classic" or "share". KIP-848."""
    group_id = member_of_all(target, topic_for_groups(target)).group_id

    for wanted in (["consumer"], ["CONSUMER"], ["classic", "Consumer"]):
        expect_that(listed(target, group_id, 5, types_filter=wanted), f"the group is listed for {wanted}")
    for unwanted in (["classic"], ["share", "streams"], ["odd"]):
        expect_that(not listed(target, group_id, 5, types_filter=unwanted), f"the group is not listed for {unwanted}")


@check("C-28d", api=LIST, versions="4-5")
def consumer_groups_are_listed_by_state(target: Target, version: int) -> None:
    """Given a filter of states, in whatever case, a consumer group is listed in the state it is in (Stable, Assigning, Reconciling, Empty), and in no
    other. KIP-518, KIP-848.
    """
    topic = topic_for_groups(target, 2)
    group_id = ready_group(target)
    configure(target, group_id, **{"consumer.assignment.interval.ms": "5000"})
    first, second = (ConsumerMember(target, group_id, [topic]) for _ in range(2))

    first.join()
    _expect_listed_in(target, group_id, "Stable", version)
    second.join()
    _expect_listed_in(target, group_id, "Assigning", version)
    configure(target, group_id, **{"consumer.assignment.interval.ms": "0"})
    first.wait_to_be_told()
    _expect_listed_in(target, group_id, "Reconciling", version)
    first.leave()
    second.leave()
    _expect_listed_in(target, group_id, "Empty", version)


def _expect_listed_in(target: Target, group_id: str, state: str, version: int) -> None:
    states = ["Stable", "Assigning", "Reconciling", "Empty", "Dead", "PreparingRebalance", "CompletingRebalance"]
    for wanted in ([state], [state.lower()], [state.upper()]):
        found = listed(target, group_id, version, states_filter=wanted)
        expect_that(found is not None, f"the group is listed for {wanted}")
        expect(found, group_state=state)
    others = [one for one in states if one != state]
    expect_that(listed(target, group_id, version, states_filter=others) is None, f"the group is listed for none of {others}")
