"""H: share groups and their members: heartbeats, epochs, assignments, what is told of them, and what other APIs make of them."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, NULL_OR_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import commit_request
from pykbroker.compat.steps.configs import BROKER, entry, own_id
from pykbroker.compat.steps.share_members import JOINING, LEAVING, ShareMember, configured_group, described, share_group
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    JoinGroupRequest,
    ListGroupsRequest,
    OffsetFetchRequest,
    ShareGroupDescribeRequest,
)

HEARTBEAT = "ShareGroupHeartbeat"
GROUPS = (HEARTBEAT, "ShareGroupDescribe")


def _subscribed(target: Target, partitions: int = 1) -> ShareMember:
    """Somebody who is about to join a new group of a new topic."""
    return ShareMember(target, share_group(target), target.new_topic(partitions=partitions))


# -- heartbeats that are refused ---------------------------------------------------------------------------------


@check("H-01a", api=HEARTBEAT)
def a_member_id_of_a_share_group_has_1_to_36_characters(target: Target) -> None:
    """Given an empty member id, or one of 37 characters, ShareGroupHeartbeat is answered INVALID_REQUEST without a message; 36 are taken. KIP-932."""
    member = _subscribed(target)

    for member_id in ("", "m" * 37):
        answer = member.heartbeat(member_id=member_id)
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=None, assignment=None)

    longest = ShareMember(target, member.group_id, *member.topics, member_id="m" * 36).join()
    expect_that(longest.member_epoch > 0, "a member id of 36 characters is taken")


@check("H-01b", api=HEARTBEAT)
def who_joins_a_share_group_says_what_it_subscribes_to(target: Target) -> None:
    """Given epoch 0 with null or no subscribed_topic_names, ShareGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-932."""
    member = _subscribed(target)

    nothing: tuple[list[str] | None, ...] = (None, [])
    for names in nothing:
        answer = member.heartbeat(subscribed_topic_names=names)
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY, assignment=None)


@check("H-01c", api=HEARTBEAT)
def a_share_group_member_has_no_epoch_below_minus_one(target: Target) -> None:
    """Given member_epoch -2 or less, ShareGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-932."""
    member = _subscribed(target).join()

    for epoch in (-2, -3, -100):
        answer = member.heartbeat(member_epoch=epoch)
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)

    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("H-01d", api=HEARTBEAT)
def a_share_group_and_a_rack_have_names(target: Target) -> None:
    """Given an empty group id or an empty rack id, ShareGroupHeartbeat is answered INVALID_REQUEST with a message; a null rack is fine. KIP-932."""
    member = _subscribed(target)

    for field in ("group_id", "rack_id"):
        changes: dict[str, object] = {field: ""}
        answer = member.heartbeat(**changes)
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)

    expect(member.join().heartbeat(rack_id=None), error_code=ErrorCode.NONE)


@check("H-01e", api=HEARTBEAT)
def a_share_group_that_is_not_there_is_not_found(target: Target) -> None:
    """Given epoch 3, or a goodbye, to a group that nobody joined, ShareGroupHeartbeat is answered GROUP_ID_NOT_FOUND with a message. KIP-932."""
    member = _subscribed(target)

    for epoch in (3, LEAVING):
        answer = member.heartbeat(member_epoch=epoch)
        expect(answer, error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=NOT_EMPTY)


@check("H-01f", api=HEARTBEAT)
def a_member_that_a_share_group_does_not_know_is_told_so(target: Target) -> None:
    """Given epoch 1, or a goodbye, of a member that never joined a group that exists, the answer is UNKNOWN_MEMBER_ID with a message. KIP-932."""
    member = _subscribed(target).join()

    for epoch in (1, LEAVING):
        answer = member.heartbeat(member_id="somebody-else", member_epoch=epoch)
        expect(answer, error_code=ErrorCode.UNKNOWN_MEMBER_ID, error_message=NOT_EMPTY)


@check("H-02", api=HEARTBEAT)
def a_share_group_takes_so_many_members_and_no_more(target: Target) -> None:
    """Given as many members as group.share.max.size says (200), one more is answered GROUP_MAX_SIZE_REACHED with a message. KIP-932."""
    limit = int(entry(target, BROKER, own_id(target), "group.share.max.size").value or 0)
    expect_that(1 < limit <= 1000, "group.share.max.size is a number of members")
    group_id, topic = share_group(target), target.new_topic()
    members = [ShareMember(target, group_id, topic) for _ in range(limit)]
    for member in members:
        target.afterwards(member.leave)
        expect(member.heartbeat(), error_code=ErrorCode.NONE, member_id=member.member_id)

    refused = ShareMember(target, group_id, topic).heartbeat()

    expect(refused, error_code=ErrorCode.GROUP_MAX_SIZE_REACHED, error_message=NOT_EMPTY)
    expect(members[0].leave(), error_code=ErrorCode.NONE)
    late = ShareMember(target, group_id, topic)
    target.afterwards(late.leave)
    expect(late.heartbeat(), error_code=ErrorCode.NONE)


# -- heartbeats that are answered --------------------------------------------------------------------------------


@check("H-01g", api=HEARTBEAT)
def who_joins_a_share_group_is_given_an_epoch_and_all_partitions(target: Target) -> None:
    """Given a first heartbeat, the member keeps its id, has an epoch, is to come again in 5 s, and is assigned every partition. KIP-932."""
    member = _subscribed(target, partitions=3)

    answer = member.heartbeat()

    expect(answer, error_code=ErrorCode.NONE, error_message=None, member_id=member.member_id, heartbeat_interval_ms=5000)
    expect_that(answer.member_epoch >= 1, f"a member has an epoch: {answer}")
    member.join()
    assigned = described(target, member.group_id).members[0].assignment.topic_partitions
    expect_equal(
        "partitions assigned", [(one.topic_name, sorted(one.partitions)) for one in assigned], [(member.topics[0].name, [0, 1, 2])]
    )


@check("H-01h", api=HEARTBEAT)
def members_of_a_share_group_share_partitions(target: Target) -> None:
    """Given two members and one partition, both are assigned it; given an unchanged assignment, a heartbeat has none. KIP-932."""
    first = _subscribed(target).join()
    other = ShareMember(target, first.group_id, *first.topics).join()

    quiet = eventually(other.heartbeat, lambda answer: answer.assignment is None, "an assignment is told once")

    expect(quiet, error_code=ErrorCode.NONE, member_epoch=other.member_epoch)
    for member in described(target, first.group_id).members:
        expect_equal("partitions assigned", [one.partitions for one in member.assignment.topic_partitions], [[0]])


@check("H-24a", api=HEARTBEAT)
def an_older_epoch_of_a_share_group_member_is_fenced(target: Target) -> None:
    """Given a member of epoch n, heartbeats of n+1 and of epochs before the last one are answered FENCED_MEMBER_EPOCH with a message. KIP-932."""
    member = _subscribed(target).join()
    expect_that(member.member_epoch >= 2, f"a member whose partitions came later has epoch 2 at least: {member.member_epoch}")

    newer = member.heartbeat(member_epoch=member.member_epoch + 1)
    expect(newer, error_code=ErrorCode.FENCED_MEMBER_EPOCH, error_message=NOT_EMPTY)
    more = target.new_topic()
    before = member.member_epoch
    changed = member.heartbeat(member_epoch=member.member_epoch, subscribed_topic_names=[member.topics[0].name, more.name])
    expect(changed, error_code=ErrorCode.NONE)
    member.member_epoch = changed.member_epoch
    eventually(member.heartbeat, lambda answer: answer.member_epoch > before + 1 or answer.assignment is None, "the epoch moves on")
    older = member.heartbeat(member_epoch=1)
    expect(older, error_code=ErrorCode.FENCED_MEMBER_EPOCH, error_message=NOT_EMPTY)


@check("H-24b", api=HEARTBEAT)
def a_member_of_a_share_group_joins_again_with_epoch_0(target: Target) -> None:
    """Given a member that comes again with epoch 0, it stays one member, and is told its assignment once more. KIP-932."""
    member = _subscribed(target).join()

    answer = member.heartbeat(member_epoch=JOINING, subscribed_topic_names=[member.topics[0].name])

    expect(answer, error_code=ErrorCode.NONE, member_id=member.member_id)
    expect_that(answer.assignment is not None and answer.assignment.topic_partitions, "its assignment is told again")
    expect_equal("members", [one.member_id for one in described(target, member.group_id).members], [member.member_id])


@check("H-24c", api=HEARTBEAT)
def who_leaves_a_share_group_is_gone(target: Target) -> None:
    """Given member_epoch -1, the answer has epoch -1 and no assignment; the member is unknown then, and the group is empty. KIP-932."""
    member = _subscribed(target).join()
    epoch = member.member_epoch

    left = member.leave()

    expect(left, error_code=ErrorCode.NONE, member_id=member.member_id, member_epoch=LEAVING, assignment=None)
    expect(member.heartbeat(member_epoch=epoch), error_code=ErrorCode.UNKNOWN_MEMBER_ID)
    expect(described(target, member.group_id), error_code=ErrorCode.NONE, group_state="Empty", members=[])


@check("H-24d", api=("OffsetCommit", HEARTBEAT), versions="2-10")
def offsets_are_not_committed_to_a_share_group(target: Target, version: int) -> None:
    """Given a commit to a share group, it is answered GROUP_ID_NOT_FOUND for the partition (v9: as later versions). KIP-932."""
    member = _subscribed(target).join()

    answer = target.ask(commit_request(member.group_id, member.topics[0], {0: 42}), version)

    expect(answer.topics[0].partitions[0], error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("H-24e", api=("OffsetFetch", HEARTBEAT), versions="8-10")
def a_share_group_has_no_committed_offsets(target: Target, version: int) -> None:
    """Given OffsetFetch of all offsets of a share group, it is answered NONE and no topics. KIP-932."""
    member = _subscribed(target).join()
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=member.group_id, topics=None)

    answer = target.ask(OffsetFetchRequest(groups=[group]), version)

    expect(answer.groups[0], group_id=member.group_id, error_code=ErrorCode.NONE, topics=[])


@check("H-24f", api=(HEARTBEAT, "ConsumerGroupHeartbeat", "JoinGroup"))
def other_kinds_of_members_do_not_join_a_share_group(target: Target) -> None:
    """Given a share group, a consumer by KIP-848 is answered GROUP_ID_NOT_FOUND, one of the classic protocol INCONSISTENT_GROUP_PROTOCOL. KIP-932."""
    member = _subscribed(target).join()
    consumer = ConsumerGroupHeartbeatRequest(
        group_id=member.group_id,
        member_id="a-consumer",
        rebalance_timeout_ms=10_000,
        subscribed_topic_names=[member.topics[0].name],
        topic_partitions=[],
    )
    protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")
    classic = JoinGroupRequest(
        group_id=member.group_id, protocol_type="consumer", session_timeout_ms=10_000, rebalance_timeout_ms=10_000, protocols=[protocol]
    )

    expect(target.ask_newest(consumer, 1), error_code=ErrorCode.GROUP_ID_NOT_FOUND)
    expect(target.ask_newest(classic, 9), error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)


@check("H-24g", api=(HEARTBEAT, "JoinGroup", "SyncGroup"))
def a_share_member_does_not_join_a_classic_group(target: Target) -> None:
    """Given a classic group with a member, ShareGroupHeartbeat to it is answered GROUP_ID_NOT_FOUND with a message. KIP-932."""
    classic = target.stable_group()
    topic = target.new_topic()

    answer = ShareMember(target, classic.group_id, topic).heartbeat()

    expect(answer, error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=NOT_EMPTY)


# -- what is told of them ----------------------------------------------------------------------------------------


@check("H-26a", api=GROUPS)
def share_group_describe_tells_of_members_and_their_partitions(target: Target) -> None:
    """Given a group of one, ShareGroupDescribe has its state, epochs, assignor `simple` and the member with its client and its partitions. KIP-932."""
    member = _subscribed(target).join()
    topic = member.topics[0]

    found = described(target, member.group_id)

    expect(found, error_code=ErrorCode.NONE, error_message=None, group_id=member.group_id, group_state="Stable", assignor_name="simple")
    expect(found, group_epoch=member.member_epoch, assignment_epoch=member.member_epoch, authorized_operations=-(2**31))
    expect_equal("the number of members", len(found.members), 1)
    expect(found.members[0], member_id=member.member_id, member_epoch=member.member_epoch, rack_id=None, client_id="conformance")
    expect(found.members[0], client_host="/127.0.0.1", subscribed_topic_names=[topic.name])
    parts = found.members[0].assignment.topic_partitions
    expect_equal("assignment", [(one.topic_id, one.topic_name, one.partitions) for one in parts], [(topic.topic_id, topic.name, [0])])


@check("H-26b", api=GROUPS)
def share_group_describe_answers_each_group_by_itself(target: Target) -> None:
    """Given a share group, none, and a classic one, the first is described, the others GROUP_ID_NOT_FOUND with a message, state empty. KIP-932."""
    member = _subscribed(target).join()
    nowhere, classic = target.new_group(), target.stable_group()
    wanted = [nowhere, member.group_id, classic.group_id]

    answer = target.ask_newest(ShareGroupDescribeRequest(group_ids=wanted), 1)

    found = {one.group_id: one for one in answer.groups}
    expect_equal("groups", sorted(found), sorted(wanted))
    expect(found[member.group_id], error_code=ErrorCode.NONE, group_state="Stable")
    for group_id in (nowhere, classic.group_id):
        expect(found[group_id], error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=NOT_EMPTY, members=[], group_state=NULL_OR_EMPTY)


@check("H-26c", api=(*GROUPS, "ListGroups"), versions="1")
def share_groups_are_listed_as_such(target: Target, version: int) -> None:
    """Given a share group, ListGroups v5 has it with protocol type and group type `share`, and the filter finds it alone. KIP-932."""
    member = _subscribed(target).join()

    everything = target.ask_newest(ListGroupsRequest(), 5)
    share = target.ask_newest(ListGroupsRequest(types_filter=["share"]), 5)
    classic = target.ask_newest(ListGroupsRequest(types_filter=["classic"]), 5)

    for answer in (everything, share):
        found = [one for one in answer.groups if one.group_id == member.group_id]
        expect_equal("the number of entries", len(found), 1)
        expect(found[0], protocol_type="share", group_state="Stable", group_type="share")
    expect_equal("groups that are not share groups", [one.group_id for one in share.groups if one.group_type != "share"], [])
    expect_that(member.group_id not in {one.group_id for one in classic.groups}, "no classic group")


@check("H-26d", api=(*GROUPS, "DeleteGroups"))
def only_an_empty_share_group_is_deleted(target: Target) -> None:
    """Given a member, DeleteGroups is answered NON_EMPTY_GROUP; when it has left, NONE, and the group is not found any more. KIP-932."""
    member = _subscribed(target).join()

    refused = target.ask_newest(DeleteGroupsRequest(groups_names=[member.group_id]), 2)
    member.leave()
    deleted = target.ask_newest(DeleteGroupsRequest(groups_names=[member.group_id]), 2)

    expect(refused.results[0], error_code=ErrorCode.NON_EMPTY_GROUP)
    expect(deleted.results[0], error_code=ErrorCode.NONE)
    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("H-26e", api=(*GROUPS, "CreateTopics", "Metadata"))
def a_topic_made_later_is_assigned_then(target: Target) -> None:
    """Given a subscription to a topic that does not exist yet, it is assigned once it is made. KIP-932."""
    first, later = target.new_topic(), target.new_name("later")
    member = ShareMember(target, configured_group(target), first).join()
    answer = member.heartbeat(subscribed_topic_names=[first.name, later])
    expect(answer, error_code=ErrorCode.NONE)
    member.member_epoch = answer.member_epoch
    target.forget_after(later)

    wanted = CreateTopicsRequest.CreatableTopic(name=later, num_partitions=2, replication_factor=1)
    made = target.ask_newest(CreateTopicsRequest(topics=[wanted], timeout_ms=10_000), 7).topics[0]

    expect(made, error_code=ErrorCode.NONE)
    found = eventually(
        lambda: (member.heartbeat(), described(target, member.group_id).members[0].assignment.topic_partitions)[1],
        lambda parts: later in {one.topic_name for one in parts},
        "a topic that is made later is assigned",
    )
    assigned = {one.topic_id: sorted(one.partitions) for one in found}
    expect_equal("partitions assigned", assigned, {first.topic_id: [0], made.topic_id: [0, 1]})
