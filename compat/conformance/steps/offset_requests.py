"""Offsets asked for in whatever version, by topic name or topic id, and their answers in one shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pykbroker.compat.expectations import expect, expect_equal
from pykbroker.compat.steps.classic_members import commit_request
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import OffsetFetchRequest, OffsetFetchResponse

NO_EPOCH = -1


@dataclass(frozen=True, slots=True)
class Offset:
    """What is answered for one partition."""

    committed_offset: int
    committed_leader_epoch: int
    metadata: str | None
    error_code: int


NOTHING = Offset(-1, NO_EPOCH, "", ErrorCode.NONE)
"""A partition without a commit."""


def commit(
    target: Target, group_id: str, topic: Topic, offsets: Mapping[int, int], version: int | None = None, *, metadata: str | None = ""
) -> None:
    """Commit from outside of any generation, and insist on it."""
    request = commit_request(group_id, topic, offsets, metadata=metadata)
    answer = target.ask(request, target.newest(request, 9) if version is None else version)
    errors = {one.partition_index: one.error_code for one in answer.topics[0].partitions}
    expect_equal("the errors of OffsetCommit", errors, dict.fromkeys(offsets, ErrorCode.NONE))


def offsets_of(
    target: Target, group_id: str, topic: Topic, partitions: Sequence[int] = (0,), version: int | None = None
) -> dict[int, Offset]:
    """OffsetFetch of one topic, which the answer must name as the version does (by id from v10 on)."""
    version = target.newest(OffsetFetchRequest, 9) if version is None else version
    if version < 8:
        old = OffsetFetchRequest.OffsetFetchRequestTopic(name=topic.name, partition_indexes=list(partitions))
        answer = target.ask(OffsetFetchRequest(group_id=group_id, topics=[old]), version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("the topics", [one.name for one in answer.topics], [topic.name])
        return {one.partition_index: _offset(one) for one in answer.topics[0].partitions}
    new = OffsetFetchRequest.OffsetFetchRequestTopics(name=topic.name, topic_id=topic.topic_id, partition_indexes=list(partitions))
    group = ask_for_group(target, group_id, [new], version)
    expect(group, error_code=ErrorCode.NONE)
    found = [one.topic_id if version >= 10 else one.name for one in group.topics]
    expect_equal("the topics", found, [topic.topic_id if version >= 10 else topic.name])
    return {one.partition_index: _offset(one) for one in group.topics[0].partitions}


def all_offsets_of(target: Target, group_id: str, version: int | None = None) -> dict[tuple[str | bytes, int], int]:
    """Every committed offset of a group by topic (its id from v10 on) and partition."""
    version = target.newest(OffsetFetchRequest, 9, at_least=2) if version is None else version
    if version < 8:
        answer = target.ask(OffsetFetchRequest(group_id=group_id, topics=None), version)
        expect(answer, error_code=ErrorCode.NONE)
        return {(topic.name, one.partition_index): one.committed_offset for topic in answer.topics for one in topic.partitions}
    group = ask_for_group(target, group_id, None, version)
    expect(group, error_code=ErrorCode.NONE)
    return {
        (topic.topic_id if version >= 10 else topic.name, one.partition_index): one.committed_offset
        for topic in group.topics
        for one in topic.partitions
    }


def ask_for_group(
    target: Target,
    group_id: str,
    topics: list[OffsetFetchRequest.OffsetFetchRequestTopics] | None,
    version: int,
    *,
    member_id: str | None = None,
    member_epoch: int = -1,
) -> OffsetFetchResponse.OffsetFetchResponseGroup:
    """OffsetFetch v8+ of one group, and its entry."""
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group_id, member_id=member_id, member_epoch=member_epoch, topics=topics)
    answer = target.ask(OffsetFetchRequest(groups=[group]), version)
    expect_equal("the groups", [one.group_id for one in answer.groups], [group_id])
    return answer.groups[0]


def _offset(found: OffsetFetchResponse.OffsetFetchResponsePartition | OffsetFetchResponse.OffsetFetchResponsePartitions) -> Offset:
    return Offset(found.committed_offset, found.committed_leader_epoch, found.metadata, found.error_code)
