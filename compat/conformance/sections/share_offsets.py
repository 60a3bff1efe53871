"""H: where a share group starts in its partitions: described, altered, deleted (KIP-932, KIP-1226)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, at_least, expect, expect_equal, expect_that, one_of
from pykbroker.compat.steps.share_members import (
    ACKNOWLEDGING,
    CLOSING,
    RELEASE,
    Acquired,
    Batch,
    ShareMember,
    offsets,
    offsets_request,
    reader,
    share_group,
)
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response
from pykbroker.protocol.messages import (
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsResponse,
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse,
    DescribeShareGroupOffsetsResponse,
)

ALTERING = ("AlterShareGroupOffsets", *ACKNOWLEDGING)
DELETING = ("DeleteShareGroupOffsets", "DescribeShareGroupOffsets", *ACKNOWLEDGING)
DESCRIBING = ("DescribeShareGroupOffsets", *ACKNOWLEDGING)
UNKNOWN_TOPIC = "no-such-topic-anywhere"
NO_PARTITION = 9
LONGER_THAN_IT_TRIES_S = 70.0

Described = DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponsePartition


def _alter(target: Target, group_id: str, *starts: tuple[str, int, int]) -> AlterShareGroupOffsetsResponse:
    """AlterShareGroupOffsets: topic, partition, offset of each."""
    topics: dict[str, list[AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition]] = {}
    for name, partition, offset in starts:
        part = AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition(partition_index=partition, start_offset=offset)
        topics.setdefault(name, []).append(part)
    wanted = [
        AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestTopic(topic_name=name, partitions=partitions)
        for name, partitions in topics.items()
    ]
    return target.ask(AlterShareGroupOffsetsRequest(group_id=group_id, topics=wanted), 0)


def _delete(target: Target, group_id: str, *names: str) -> DeleteShareGroupOffsetsResponse:
    wanted = [DeleteShareGroupOffsetsRequest.DeleteShareGroupOffsetsRequestTopic(topic_name=name) for name in names]
    return target.ask(DeleteShareGroupOffsetsRequest(group_id=group_id, topics=wanted), 0)


def _start(member: ShareMember, version: int | None = None) -> Described:
    """What is told of the first partition of the member's topic."""
    found = offsets(member.target, member.group_id, [(member.topics[0].name, [0])], version=version)
    expect(found, error_code=ErrorCode.NONE)
    return found.topics[0].partitions[0]


def _left(target: Target, count: int = 4) -> ShareMember:
    """Somebody who accepted the first two of some records and left the group."""
    member = reader(target, *[b"value"] * count)
    member.acquire()
    member.settle(Batch(0, 1))
    expect(member.fetch(share_session_epoch=CLOSING), error_code=ErrorCode.NONE)
    expect(member.leave(), error_code=ErrorCode.NONE)
    eventually(lambda: _start(member).start_offset, lambda start: start == 2, "the start moves with what is accepted")
    return member


# -- described ---------------------------------------------------------------------------------------------------


@check("H-22a", api=DESCRIBING, versions="0-1")
def the_start_of_a_share_group_moves_with_what_is_accepted(target: Target, version: int) -> None:
    """Given records 0-3 of which 0-1 are accepted, and then 2, start_offset is 2 at least (4.3 tells where the last acknowledgement found it); from
    v1 on lag counts what is not accepted: 2, then 1. KIP-932, KIP-1226.
    """
    member = reader(target, b"a", b"b", b"c", b"d")
    member.acquire()

    member.settle(Batch(0, 1))
    if version >= 1:
        eventually(lambda: _start(member, version).lag, lambda lag: lag == 2, "lag is 2")
    member.settle(Batch(2, 2))

    found = eventually(lambda: _start(member, version), lambda part: part.start_offset >= 2, "start_offset is 2 at least")
    expect(found, partition_index=0, error_code=ErrorCode.NONE, error_message=None, leader_epoch=0, lag=1 if version >= 1 else -1)


@check("H-22b", api=DESCRIBING, versions="0-1")
def all_offsets_of_a_share_group_are_told_where_none_is_named(target: Target, version: int) -> None:
    """Given topics null, every topic of the group comes with its id and its partitions; given no topics, none. KIP-932."""
    member = _left(target)

    everything = offsets(target, member.group_id, version=version)
    nothing = offsets(target, member.group_id, [], version=version)

    expect(everything, group_id=member.group_id, error_code=ErrorCode.NONE, error_message=None)
    topics = [(one.topic_name, one.topic_id, [part.start_offset for part in one.partitions]) for one in everything.topics]
    expect_equal("topics", topics, [(member.topics[0].name, member.topics[0].topic_id, [2])])
    expect(nothing, error_code=ErrorCode.NONE, topics=[])


@check("H-22c", api=DESCRIBING, versions="0-1")
def an_unknown_share_group_has_no_offsets(target: Target, version: int) -> None:
    """Given a group that is not there, its offsets are NONE and no topics; a topic named has start_offset -1, leader epoch 0, lag -1. KIP-932."""
    topic, group_id = target.new_topic(), target.new_group()
    target.wait_for_coordinator(group_id)

    everything = offsets(target, group_id, version=version)
    named = offsets(target, group_id, [(topic.name, [0])], version=version)

    expect(everything, group_id=group_id, error_code=ErrorCode.NONE, topics=[])
    expect(named, group_id=group_id, error_code=ErrorCode.NONE)
    expect(named.topics[0].partitions[0], start_offset=-1, leader_epoch=0, lag=-1, error_code=ErrorCode.NONE)


@check("H-22d", api=DESCRIBING, versions="0-1")
def what_a_share_group_never_read_has_no_start(target: Target, version: int) -> None:
    """Given an unknown topic, or one that the group never read, start_offset is -1, leader_epoch 0, lag -1, error NONE. KIP-932."""
    member = _left(target)
    other = target.new_topic()

    found = offsets(target, member.group_id, [(UNKNOWN_TOPIC, [0]), (other.name, [0])], version=version)

    expect(found, error_code=ErrorCode.NONE)
    expect_equal("topics", sorted(one.topic_name for one in found.topics), sorted([UNKNOWN_TOPIC, other.name]))
    for one in found.topics:
        expect(one, topic_id=other.topic_id if one.topic_name == other.name else bytes(16))
        expect(one.partitions[0], start_offset=-1, leader_epoch=0, lag=-1, error_code=ErrorCode.NONE)


@check("H-22e", api=DESCRIBING)
def a_partition_that_there_is_not_has_no_start_either(target: Target) -> None:
    """Given a partition number that its topic does not have, start_offset is -1, leader_epoch 0, lag -1, error NONE; Kafka 4.3 tries for half a minute
    before it says so. KIP-932.
    """
    member = _left(target)
    request = offsets_request(member.group_id, [(member.topics[0].name, [NO_PARTITION])])
    connection = target.connect()

    connection.send(request, 1)
    frame = connection.receive_frame(LONGER_THAN_IT_TRIES_S)

    expect_that(frame is not None, "the connection stays open")
    _, answer = read_response(DescribeShareGroupOffsetsResponse, 1, frame or b"")
    (group,) = answer.groups
    expect(group, error_code=ErrorCode.NONE)
    wanted = {"partition_index": NO_PARTITION, "start_offset": -1, "leader_epoch": 0, "lag": -1, "error_code": ErrorCode.NONE}
    expect(group.topics[0].partitions[0], **wanted)


# -- altered -----------------------------------------------------------------------------------------------------


@check("H-17a", api=ALTERING)
def offsets_of_a_share_group_with_members_are_not_altered(target: Target) -> None:
    """Given a member, AlterShareGroupOffsets is answered NON_EMPTY_GROUP with a message and no responses; the start stays. KIP-932."""
    member = reader(target, b"a", b"b")
    member.acquire()

    answer = _alter(target, member.group_id, (member.topics[0].name, 0, 1))

    expect(answer, error_code=ErrorCode.NON_EMPTY_GROUP, error_message=NOT_EMPTY, responses=[])
    member.settle(Batch(0, 1, [RELEASE]))
    expect_equal("acquired records", member.acquire(), [Acquired(0, 1, 2)])


@check("H-17b", api=("AlterShareGroupOffsets", "DescribeShareGroupOffsets", *ACKNOWLEDGING))
def an_empty_share_group_starts_where_it_is_told(target: Target) -> None:
    """Given an empty group that stands at 2 of four records, a start of 1 is told from then on, and records 1-3 are delivered anew, at the latest
    when an acknowledgement of what the leader still had in memory was refused (as 4.3 does). KIP-932.
    """
    member = _left(target)
    topic = member.topics[0]

    answer = _alter(target, member.group_id, (topic.name, 0, 1))

    expect(answer, error_code=ErrorCode.NONE, error_message=None)
    expect(answer.responses[0], topic_name=topic.name, topic_id=topic.topic_id)
    expect(answer.responses[0].partitions[0], partition_index=0, error_code=ErrorCode.NONE, error_message=None)
    expect(_start(member), start_offset=1)
    later = ShareMember(target, member.group_id, topic).join()
    found = later.acquire()
    if found[0].first_offset != 1:
        later.acknowledge(Batch(found[0].first_offset, found[-1].last_offset, [RELEASE]))
        found = later.acquire()
    expect_equal("first_offset", found[0].first_offset, 1)
    expect_equal("last_offset", found[-1].last_offset, 3)


@check("H-17c", api=ALTERING)
def unknown_partitions_of_a_share_group_are_not_altered(target: Target) -> None:
    """Given a partition that is, one that is not, and an unknown topic: NONE, and UNKNOWN_TOPIC_OR_PARTITION with a message for both. KIP-932."""
    member = _left(target)
    name = member.topics[0].name

    answer = _alter(target, member.group_id, (name, 0, 2), (name, 9, 1), (UNKNOWN_TOPIC, 0, 2))

    expect(answer, error_code=ErrorCode.NONE)
    found = {(one.topic_name, part.partition_index): part for one in answer.responses for part in one.partitions}
    expect_equal("partitions", sorted(found), sorted([(name, 0), (name, 9), (UNKNOWN_TOPIC, 0)]))
    expect(found[name, 0], error_code=ErrorCode.NONE, error_message=None)
    expect(found[name, 9], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=NOT_EMPTY)
    expect(found[UNKNOWN_TOPIC, 0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=NOT_EMPTY)


@check("H-17d", api=("AlterShareGroupOffsets", "ShareGroupDescribe", "DescribeShareGroupOffsets", "ShareFetch", "ShareGroupHeartbeat"))
def altering_offsets_makes_a_share_group(target: Target) -> None:
    """Given a group that is not there, AlterShareGroupOffsets is NONE and makes it; who joins later starts at that offset. KIP-932."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    member = ShareMember(target, share_group(target), topic)

    answer = _alter(target, member.group_id, (topic.name, 0, 1))

    expect(answer, error_code=ErrorCode.NONE)
    expect(answer.responses[0].partitions[0], error_code=ErrorCode.NONE)
    expect(_start(member), start_offset=1)
    found = member.join().acquire()
    expect_equal("first_offset", found[0].first_offset, 1)


@check("H-17e", api=ALTERING)
def any_start_offset_of_a_share_group_is_taken(target: Target) -> None:
    """Given start_offset -5 for an empty group, AlterShareGroupOffsets is answered NONE. KIP-932."""
    member = _left(target)

    answer = _alter(target, member.group_id, (member.topics[0].name, 0, -5))

    expect(answer, error_code=ErrorCode.NONE)
    expect(answer.responses[0].partitions[0], partition_index=0, error_code=ErrorCode.NONE)


# -- deleted -----------------------------------------------------------------------------------------------------


@check("H-17f", api=DELETING)
def offsets_of_a_share_group_with_members_are_not_deleted(target: Target) -> None:
    """Given a member, DeleteShareGroupOffsets is answered NON_EMPTY_GROUP with a message and no responses; they stay. KIP-932."""
    member = reader(target, b"a", b"b", b"c")
    member.acquire()
    member.settle(Batch(0, 0))
    member.settle(Batch(1, 1))
    eventually(lambda: _start(member).start_offset, lambda start: start >= 1, "the start moves with what is accepted")

    answer = _delete(target, member.group_id, member.topics[0].name)

    expect(answer, error_code=ErrorCode.NON_EMPTY_GROUP, error_message=NOT_EMPTY, responses=[])
    expect(_start(member), start_offset=at_least(1))


@check("H-17g", api=DELETING)
def deleted_offsets_of_a_share_group_are_gone(target: Target) -> None:
    """Given an empty group, its topic's offsets are deleted and told no more; an unknown topic is UNKNOWN_TOPIC_OR_PARTITION with a message. KIP-932."""
    member = _left(target)
    topic = member.topics[0]

    answer = _delete(target, member.group_id, topic.name, UNKNOWN_TOPIC)

    expect(answer, error_code=ErrorCode.NONE, error_message=None)
    found = {one.topic_name: one for one in answer.responses}
    expect_equal("topics", sorted(found), sorted([topic.name, UNKNOWN_TOPIC]))
    expect(found[topic.name], topic_id=topic.topic_id, error_code=ErrorCode.NONE, error_message=None)
    expect(found[UNKNOWN_TOPIC], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=NOT_EMPTY)
    expect(offsets(target, member.group_id), error_code=ErrorCode.NONE, topics=[])
    expect(_start(member), start_offset=-1)


@check("H-17h", api=DELETING)
def offsets_of_an_unknown_share_group_are_not_deleted(target: Target) -> None:
    """Given a group that is not there, DeleteShareGroupOffsets is answered GROUP_ID_NOT_FOUND with a message and no responses. KIP-932."""
    group_id, topic = target.new_group(), target.new_topic()
    target.wait_for_coordinator(group_id)

    answer = _delete(target, group_id, topic.name)

    expect(answer, error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=NOT_EMPTY, responses=[])


@check("H-17i", api=("AlterShareGroupOffsets", "DeleteShareGroupOffsets", "JoinGroup", "SyncGroup"))
def offsets_of_a_classic_group_are_no_share_offsets(target: Target) -> None:
    """Given a classic group with a member, altering and deleting share offsets are GROUP_ID_NOT_FOUND (or NON_EMPTY_GROUP) with a message. KIP-932."""
    classic, topic = target.stable_group(), target.new_topic()

    altered = _alter(target, classic.group_id, (topic.name, 0, 1))
    deleted = _delete(target, classic.group_id, topic.name)

    for answer in (altered, deleted):
        expect(answer, error_code=one_of(ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.NON_EMPTY_GROUP), error_message=NOT_EMPTY, responses=[])
