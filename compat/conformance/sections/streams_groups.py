"""R: streams groups: who may join with which topology, what is missing until there are tasks, what is told of them (KIP-1071)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, NULL_OR_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import commit_request
from pykbroker.compat.steps.configs import Change
from pykbroker.compat.steps.streams_members import (
    DELAYED,
    JOINING,
    LEAVING,
    MISSING_INTERNAL_TOPICS,
    MISSING_SOURCE_TOPICS,
    SHUTDOWN,
    SUBTOPOLOGY,
    StreamsMember,
    Subtopology,
    TaskIds,
    described,
    newcomer,
    statuses,
    streams_group,
    topology,
)
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    JoinGroupRequest,
    ListGroupsRequest,
    StreamsGroupDescribeRequest,
    StreamsGroupHeartbeatRequest,
)

HEARTBEAT = "StreamsGroupHeartbeat"
GROUPS = (HEARTBEAT, "StreamsGroupDescribe")
TASK = [TaskIds(subtopology_id=SUBTOPOLOGY, partitions=[0])]
OFFSET = [StreamsGroupHeartbeatRequest.TaskOffset(subtopology_id=SUBTOPOLOGY, partition=0, offset=3)]


def expect_refused(member: StreamsMember, error_code: ErrorCode = ErrorCode.INVALID_REQUEST, /, **changes: object) -> None:
    """A heartbeat with these fields is answered with that error and a message, and makes nobody a member."""
    answer = member.heartbeat(**changes)
    expect(answer, error_code=error_code, error_message=NOT_EMPTY, active_tasks=None)


# -- heartbeats that are refused ---------------------------------------------------------------------------------


@check("R-01a", api=HEARTBEAT)
def who_joins_a_streams_group_brings_a_topology(target: Target) -> None:
    """Given epoch 0 without a topology, StreamsGroupHeartbeat is answered INVALID_REQUEST with a message, and there is no group. KIP-1071."""
    member = newcomer(target, target.new_topic())

    expect_refused(member, topology=None)

    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-01b", api=HEARTBEAT)
def who_joins_a_streams_group_has_no_tasks_yet(target: Target) -> None:
    """Given epoch 0 with active or standby tasks null or not empty, StreamsGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-1071."""
    member = newcomer(target, target.new_topic())

    for field in ("active_tasks", "standby_tasks"):
        for tasks in (None, TASK):
            changes: dict[str, object] = {field: tasks}
            expect_refused(member, **changes)

    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-01c", api=HEARTBEAT)
def the_topology_comes_with_the_first_heartbeat_only(target: Target) -> None:
    """Given a member's later heartbeat with the topology, it is answered INVALID_REQUEST with a message; without it, NONE. KIP-1071."""
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})

    expect_refused(member, topology=member.topology)

    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("R-01d", api=HEARTBEAT)
def tasks_are_told_of_all_kinds_or_of_none(target: Target) -> None:
    """Given a later heartbeat with one kind of tasks and null for another, it is answered INVALID_REQUEST with a message. KIP-1071."""
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})

    expect_refused(member, active_tasks=TASK)
    expect_refused(member, standby_tasks=[])
    expect_refused(member, active_tasks=TASK, standby_tasks=[])

    expect(member.heartbeat(active_tasks=TASK, standby_tasks=[], warmup_tasks=[]), error_code=ErrorCode.NONE)


@check("R-01e", api=HEARTBEAT)
def who_joins_a_streams_group_says_how_long_it_takes(target: Target) -> None:
    """Given epoch 0 without a rebalance timeout, StreamsGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-1071."""
    member = newcomer(target, target.new_topic())

    expect_refused(member, rebalance_timeout_ms=-1)

    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-01f", api=HEARTBEAT)
def process_and_tags_of_a_streams_member_may_be_left_out(target: Target) -> None:
    """Given epoch 0 with process_id and client_tags null, the member joins and has its tasks. KIP-1071."""
    member = newcomer(target, target.new_topic())
    target.afterwards(member.leave)

    answer = member.heartbeat(process_id=None, client_tags=None)

    expect(answer, error_code=ErrorCode.NONE, member_id=member.member_id)
    member.member_epoch = answer.member_epoch
    if answer.active_tasks is None or not answer.active_tasks:
        member.wait_for({SUBTOPOLOGY: [0]})


@check("R-01g", api=HEARTBEAT)
def a_streams_member_has_no_epoch_below_minus_two(target: Target) -> None:
    """Given member_epoch -3, StreamsGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-1071."""
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})

    for epoch in (-3, -100):
        expect_refused(member, member_epoch=epoch)

    expect(member.heartbeat(), error_code=ErrorCode.NONE)


@check("R-01h", api=HEARTBEAT)
def a_streams_group_and_its_member_have_names(target: Target) -> None:
    """Given an empty group id, member id or rack id, StreamsGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-1071."""
    member = newcomer(target, target.new_topic())

    for field in ("group_id", "member_id", "rack_id"):
        changes: dict[str, object] = {field: ""}
        expect_refused(member, **changes)

    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-01i", api=HEARTBEAT)
def a_streams_group_or_member_that_is_not_there_is_told_so(target: Target) -> None:
    """Given a later epoch, or a goodbye, of no group: GROUP_ID_NOT_FOUND; of a member that a group does not know: UNKNOWN_MEMBER_ID. KIP-1071."""
    member = newcomer(target, target.new_topic())

    expect_refused(member, ErrorCode.GROUP_ID_NOT_FOUND, member_epoch=3, topology=None)
    member.join_with({SUBTOPOLOGY: [0]})
    stranger = StreamsMember(target, member.group_id, member.topology)
    stranger.member_epoch = member.member_epoch
    expect_refused(stranger, ErrorCode.UNKNOWN_MEMBER_ID)
    expect_refused(member, ErrorCode.FENCED_MEMBER_EPOCH, member_epoch=member.member_epoch + 1)


@check("R-01j", api=HEARTBEAT)
def a_member_id_of_a_streams_group_may_be_longer_than_a_uuid(target: Target) -> None:
    """Given a member id of 37 characters, which a share group refuses, StreamsGroupHeartbeat makes it a member, which has its tasks. KIP-1071."""
    topic = target.new_topic()

    member = StreamsMember(target, streams_group(target), topology(topic.name), member_id="m" * 37).join_with({SUBTOPOLOGY: [0]})

    expect(member.heartbeat(), error_code=ErrorCode.NONE, member_id="m" * 37)


# -- what is not supported yet -----------------------------------------------------------------------------------


@check("R-02a", api=HEARTBEAT)
def what_streams_groups_cannot_do_yet_is_refused(target: Target) -> None:
    """Given an instance id, task offsets, task end offsets or warm-up tasks, StreamsGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-1071."""
    member = newcomer(target, target.new_topic())

    expect_refused(member, instance_id="an-instance")
    expect_refused(member, task_offsets=OFFSET)
    expect_refused(member, task_end_offsets=OFFSET)
    expect_refused(member, warmup_tasks=TASK)

    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-02b", api=HEARTBEAT)
def source_topics_are_named_and_not_matched(target: Target) -> None:
    """Given a topology with a regular expression for source topics, StreamsGroupHeartbeat is answered INVALID_REQUEST with a message. KIP-1071."""
    member = newcomer(target, target.new_topic())
    member.topology.subtopologies[0].source_topic_regex = ["orders-.*"]

    expect_refused(member)

    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


# -- topologies --------------------------------------------------------------------------------------------------


@check("R-03", api=HEARTBEAT)
def a_topology_has_no_internal_topics_and_no_bad_names(target: Target) -> None:
    """Given __consumer_offsets, or the name `a b`, as source or changelog, the answer is STREAMS_INVALID_TOPOLOGY with a message. KIP-1071."""
    topic, group_id = target.new_topic(), streams_group(target)

    for wrong in (
        topology("__consumer_offsets"),
        topology("__transaction_state"),
        topology("a b"),
        topology(topic.name, changelogs=["a b"]),
        topology(topic.name, changelogs=["__consumer_offsets"]),
    ):
        expect_refused(StreamsMember(target, group_id, wrong), ErrorCode.STREAMS_INVALID_TOPOLOGY)

    expect(described(target, group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-06a", api=HEARTBEAT)
def a_subtopology_comes_once(target: Target) -> None:
    """Given a topology with the same subtopology id twice, the answer is UNKNOWN_SERVER_ERROR (as 4.3 does). KIP-1071."""
    topic = target.new_topic()
    member = newcomer(target, topic)
    member.topology.subtopologies.append(Subtopology(subtopology_id=SUBTOPOLOGY, source_topics=[topic.name]))

    answer = member.heartbeat()

    expect(answer, error_code=ErrorCode.UNKNOWN_SERVER_ERROR, active_tasks=None)
    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-06b", api=HEARTBEAT)
def the_topology_of_a_streams_group_does_not_change(target: Target) -> None:
    """Given a member that joins again with other source topics, or another topology epoch, the answer is INVALID_REQUEST with a message. KIP-1071."""
    topic, other = target.new_topic(), target.new_topic()
    member = newcomer(target, topic).join_with({SUBTOPOLOGY: [0]})
    again = StreamsMember(target, member.group_id, member.topology, member_id=member.member_id)

    expect_refused(again, topology=topology(other.name))
    expect_refused(again, topology=topology(topic.name, epoch=1))

    expect(again.heartbeat(), error_code=ErrorCode.NONE)


# -- what is missing, and tasks ----------------------------------------------------------------------------------


@check("R-04a", api=GROUPS)
def the_first_assignment_of_a_streams_group_is_delayed(target: Target) -> None:
    """Given streams.initial.rebalance.delay.ms=1000, who joins has an epoch, no tasks and status 5; after it the tasks, and no status. KIP-1071."""
    member = newcomer(target, target.new_topic(partitions=2), Change("streams.initial.rebalance.delay.ms", "1000"))

    answer = member.join()

    expect(answer, member_epoch=1, heartbeat_interval_ms=5000)
    expect_equal("tasks", member.active or {}, {})
    expect_equal("status codes", statuses(answer), [DELAYED])
    last = member.wait_for({SUBTOPOLOGY: [0, 1]})
    expect_that(last.member_epoch > 1, "the epoch moves on with the assignment")
    expect_equal("status codes", statuses(member.heartbeat()), [])


@check("R-04b", api=(*GROUPS, "Metadata"))
def internal_topics_of_a_topology_are_made(target: Target) -> None:
    """Given a changelog that is missing, who joins has status 3; the topic is made with as many partitions as the source, then come the tasks. KIP-1071."""
    topic, changelog = target.new_topic(partitions=3), target.new_name("changelog")
    target.forget_after(changelog)
    member = StreamsMember(target, streams_group(target), topology(topic.name, changelogs=[changelog]))

    answer = member.join()

    expect_that(MISSING_INTERNAL_TOPICS in statuses(answer), f"the missing changelog is told of: {answer.status}")
    expect_equal("tasks", member.active or {}, {})
    found = eventually(
        lambda: target.metadata(changelog).topics[0], lambda found: found.error_code == ErrorCode.NONE, "the changelog topic is made"
    )
    expect_equal("partitions of the changelog", len(found.partitions), 3)
    member.wait_for({SUBTOPOLOGY: [0, 1, 2]})
    expect_equal("status codes", statuses(member.heartbeat()), [])


@check("R-04c", api=(*GROUPS, "CreateTopics"))
def source_topics_that_are_missing_are_waited_for(target: Target) -> None:
    """Given a source topic that is not there, who joins has status 1 and no tasks; once it is made, the tasks come. KIP-1071."""
    source = target.new_name("source")
    target.forget_after(source)
    member = StreamsMember(target, streams_group(target), topology(source))

    answer = member.join()

    expect_equal("status codes", statuses(answer), [MISSING_SOURCE_TOPICS])
    expect_equal("tasks", member.active or {}, {})
    wanted = CreateTopicsRequest.CreatableTopic(name=source, num_partitions=2, replication_factor=1)
    expect(target.ask_newest(CreateTopicsRequest(topics=[wanted], timeout_ms=10_000), 7).topics[0], error_code=ErrorCode.NONE)
    member.wait_for({SUBTOPOLOGY: [0, 1]})


@check("R-04d", api=GROUPS)
def tasks_are_divided_among_the_members_of_a_streams_group(target: Target) -> None:
    """Given two members and two partitions, the first gives one task back, and the second has it then; no task is active twice. KIP-1071."""
    first = newcomer(target, target.new_topic(partitions=2)).join_with({SUBTOPOLOGY: [0, 1]})
    other = StreamsMember(target, first.group_id, first.topology)
    other.join()

    def beat() -> tuple[list[int], list[int]]:
        for member in (first, other):
            answer = member.heartbeat()
            expect(answer, error_code=ErrorCode.NONE)
            owned = [TaskIds(subtopology_id=name, partitions=partitions) for name, partitions in (member.active or {}).items()]
            told = member.heartbeat(active_tasks=owned, standby_tasks=[], warmup_tasks=[])
            expect(told, error_code=ErrorCode.NONE)
            member.member_epoch = told.member_epoch
            if told.active_tasks is not None:
                member.active = {one.subtopology_id: sorted(one.partitions) for one in told.active_tasks}
        return (first.active or {}).get(SUBTOPOLOGY, []), (other.active or {}).get(SUBTOPOLOGY, [])

    found = eventually(beat, lambda tasks: len(tasks[0]) == len(tasks[1]) == 1, "each member has one task")

    expect_equal("active tasks of both", sorted([*found[0], *found[1]]), [0, 1])


@check("R-04e", api=GROUPS)
def who_leaves_a_streams_group_is_gone(target: Target) -> None:
    """Given member_epoch -1, the answer has epoch -1; the member is unknown then, and the group is empty. KIP-1071."""
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})
    epoch = member.member_epoch

    left = member.leave()

    expect(left, error_code=ErrorCode.NONE, member_id=member.member_id, member_epoch=LEAVING)
    expect_refused(member, ErrorCode.UNKNOWN_MEMBER_ID, member_epoch=epoch)
    expect(described(target, member.group_id), error_code=ErrorCode.NONE, group_state="Empty", members=[])


@check("R-04f", api=GROUPS)
def one_member_shuts_the_application_down_for_all(target: Target) -> None:
    """Given shutdown_application from one member, the other is told status 4. KIP-1071."""
    first = newcomer(target, target.new_topic(partitions=2)).join_with({SUBTOPOLOGY: [0, 1]})
    other = StreamsMember(target, first.group_id, first.topology)
    other.join()

    expect(first.heartbeat(shutdown_application=True), error_code=ErrorCode.NONE)

    eventually(lambda: statuses(other.heartbeat()), lambda codes: SHUTDOWN in codes, "the other member is told to shut down")


# -- what is told of them ----------------------------------------------------------------------------------------


@check("R-06c", api=(*GROUPS, "ListGroups"))
def streams_groups_are_listed_as_such(target: Target) -> None:
    """Given a streams group, ListGroups v5 has it with protocol type and group type `streams`, and the filter finds it. KIP-1071."""
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})

    for request in (ListGroupsRequest(), ListGroupsRequest(types_filter=["streams"])):
        found = [one for one in target.ask_newest(request, 5).groups if one.group_id == member.group_id]
        expect_equal("the number of entries", len(found), 1)
        expect(found[0], protocol_type="streams", group_type="streams", group_state="Stable")
    classic = target.ask_newest(ListGroupsRequest(types_filter=["classic"]), 5)
    expect_that(member.group_id not in {one.group_id for one in classic.groups}, "no classic group")


@check("R-06d", api=GROUPS)
def streams_group_describe_tells_of_topology_and_members(target: Target) -> None:
    """Given a group of one, StreamsGroupDescribe has its state, epochs, topology, and the member with its process and its tasks. KIP-1071."""
    topic = target.new_topic(partitions=2)
    member = newcomer(target, topic).join_with({SUBTOPOLOGY: [0, 1]})

    found = described(target, member.group_id)

    expect(found, error_code=ErrorCode.NONE, error_message=None, group_id=member.group_id, group_state="Stable")
    expect(found, group_epoch=member.member_epoch, assignment_epoch=member.member_epoch, authorized_operations=-(2**31))
    brought = found.topology
    expect_that(brought is not None and brought.subtopologies, "the topology is described")
    subtopologies = (brought.subtopologies if brought is not None else None) or []
    expect_equal("topology", [(one.subtopology_id, one.source_topics) for one in subtopologies], [(SUBTOPOLOGY, [topic.name])])
    expect_equal("the number of members", len(found.members), 1)
    (one,) = found.members
    expect(one, member_id=member.member_id, member_epoch=member.member_epoch, instance_id=None, rack_id=None, topology_epoch=0)
    expect(
        one,
        client_id="conformance",
        client_host="/127.0.0.1",
        process_id=f"process-of-{member.member_id}",
        user_endpoint=None,
        client_tags=[],
        is_classic=False,
    )
    for assignment in (one.assignment, one.target_assignment):
        expect(assignment, standby_tasks=[], warmup_tasks=[])
        tasks = {task.subtopology_id: sorted(task.partitions) for task in assignment.active_tasks}
        expect_equal("active tasks", tasks, {SUBTOPOLOGY: [0, 1]})


@check("R-06e", api=(*GROUPS, "JoinGroup", "SyncGroup"))
def streams_group_describe_answers_each_group_by_itself(target: Target) -> None:
    """Given a streams group, none, and a classic one, the first is described, the others are GROUP_ID_NOT_FOUND with a message. KIP-1071."""
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})
    nowhere, classic = target.new_group(), target.stable_group()
    wanted = [nowhere, member.group_id, classic.group_id]

    answer = target.ask(StreamsGroupDescribeRequest(group_ids=wanted), 0)

    found = {one.group_id: one for one in answer.groups}
    expect_equal("groups", sorted(found), sorted(wanted))
    expect(found[member.group_id], error_code=ErrorCode.NONE, group_state="Stable")
    for group_id in (nowhere, classic.group_id):
        expect(found[group_id], error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=NOT_EMPTY, members=[], group_state=NULL_OR_EMPTY)


@check("R-06f", api=(*GROUPS, "ConsumerGroupHeartbeat", "JoinGroup"))
def other_kinds_of_members_do_not_join_a_streams_group(target: Target) -> None:
    """Given a streams group, a consumer by KIP-848 is GROUP_ID_NOT_FOUND with a message, a classic member INCONSISTENT_GROUP_PROTOCOL. KIP-1071."""
    topic = target.new_topic()
    member = newcomer(target, topic).join_with({SUBTOPOLOGY: [0]})
    consumer = ConsumerGroupHeartbeatRequest(
        group_id=member.group_id,
        member_id="a-consumer",
        rebalance_timeout_ms=10_000,
        subscribed_topic_names=[topic.name],
        topic_partitions=[],
    )
    protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")
    classic = JoinGroupRequest(
        group_id=member.group_id, protocol_type="consumer", session_timeout_ms=10_000, rebalance_timeout_ms=10_000, protocols=[protocol]
    )

    expect(target.ask_newest(consumer, 1), error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=NOT_EMPTY)
    expect(target.ask_newest(classic, 9), error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)


@check("R-06g", api=(*GROUPS, "DeleteGroups"))
def only_an_empty_streams_group_is_deleted(target: Target) -> None:
    """Given a member, DeleteGroups is answered NON_EMPTY_GROUP; when it has left, NONE, and the group is not found any more. KIP-1071."""
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})

    refused = target.ask_newest(DeleteGroupsRequest(groups_names=[member.group_id]), 2)
    member.leave()
    deleted = target.ask_newest(DeleteGroupsRequest(groups_names=[member.group_id]), 2)

    expect(refused.results[0], error_code=ErrorCode.NON_EMPTY_GROUP)
    expect(deleted.results[0], error_code=ErrorCode.NONE)
    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("R-06h", api=("OffsetCommit", HEARTBEAT), versions="9-10")
def members_of_a_streams_group_commit_in_their_epoch(target: Target, version: int) -> None:
    """Given a member, a commit in its epoch is NONE, in another STALE_MEMBER_EPOCH, of a stranger UNKNOWN_MEMBER_ID. KIP-1071."""
    topic = target.new_topic()
    member = newcomer(target, topic).join_with({SUBTOPOLOGY: [0]})

    def committed(member_id: str, epoch: int) -> int:
        request = commit_request(member.group_id, topic, {0: 42})
        request.member_id, request.generation_id_or_member_epoch = member_id, epoch
        return target.ask(request, version).topics[0].partitions[0].error_code

    expect_equal("error_code", committed(member.member_id, member.member_epoch), ErrorCode.NONE)
    expect_equal("error_code", committed(member.member_id, member.member_epoch + 5), ErrorCode.STALE_MEMBER_EPOCH)
    expect_equal("error_code", committed("a-stranger", member.member_epoch), ErrorCode.UNKNOWN_MEMBER_ID)
    expect_that(member.member_epoch > JOINING, "a member has an epoch")
