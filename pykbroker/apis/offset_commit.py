"""OffsetCommit: how far a group has come in its partitions.

Versions    2-10. v0 and v1 left Kafka with 4.0.
Authorizes  Read on the group and on each topic.
Waits       until the records in `__consumer_offsets` are durable.
Notes       v2-v4 retention time of its own  v6 leader epoch (KIP-320)  v7 static members  v9 GROUP_ID_NOT_FOUND  v10 topic ids.
Not done    groups of the consumer protocol (KIP-848) are not served yet.
Semantics   O-01 … O-06, O-14, G-18.
"""

from typing import TYPE_CHECKING

from pykbroker.coordinator.offsets import TopicCommit
from pykbroker.coordinator.refusal import or_refusal
from pykbroker.later import when
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import OffsetCommitRequest, OffsetCommitResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(2, 11)

FIRST_VERSION_WITH_TOPIC_IDS = 10

AskedTopic = OffsetCommitRequest.OffsetCommitRequestTopic
AnsweredTopic = OffsetCommitResponse.OffsetCommitResponseTopic
AnsweredPartition = OffsetCommitResponse.OffsetCommitResponsePartition


def handle(context: "Context", request: OffsetCommitRequest) -> "OffsetCommitResponse | Later[OffsetCommitResponse]":
    """Commit for the partitions that exist. In the answer those that do not stand before the others (O-06)."""
    by_id = context.api_version >= FIRST_VERSION_WITH_TOPIC_IDS
    metadata = context.cluster.metadata
    missing: dict[str | bytes, AnsweredTopic] = {}
    commits: list[TopicCommit] = []
    asked: list[AskedTopic] = []
    for wanted in request.topics:
        topic = metadata.topic_by_id(wanted.topic_id) if by_id else metadata.topic(wanted.name)
        count = 0 if topic is None else len(topic.partitions)
        existing = [partition for partition in wanted.partitions if 0 <= partition.partition_index < count]
        if topic is None or len(existing) < len(wanted.partitions):
            error = ErrorCode.UNKNOWN_TOPIC_ID if by_id and topic is None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            answer = missing.setdefault(_key(wanted), AnsweredTopic(name=wanted.name, topic_id=wanted.topic_id))
            answer.partitions += [
                AnsweredPartition(partition_index=partition.partition_index, error_code=error)
                for partition in wanted.partitions
                if not 0 <= partition.partition_index < count
            ]
        if topic is not None and existing:
            commits.append(TopicCommit(topic.name, topic.topic_id, existing))
            asked.append(wanted)

    def answered(errors: list[list[ErrorCode]]) -> OffsetCommitResponse:
        answers = list(missing.values())
        for wanted, commit, codes in zip(asked, commits, errors, strict=True):
            answer = missing.get(_key(wanted))
            if answer is None:
                answer = AnsweredTopic(name=wanted.name, topic_id=wanted.topic_id)
                answers.append(answer)
            answer.partitions += [
                AnsweredPartition(partition_index=partition.partition_index, error_code=code)
                for partition, code in zip(commit.partitions, codes, strict=True)
            ]
        return OffsetCommitResponse(topics=answers)

    def refused(error: KafkaError) -> OffsetCommitResponse:
        return answered([[error.error_code] * len(commit.partitions) for commit in commits])

    if not commits:
        return answered([])
    return or_refusal(lambda: when(context.cluster.groups.commit_offsets(context, request, commits), answered), refused)


def failed(request: OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse:
    """Nothing was committed."""
    return OffsetCommitResponse(
        topics=[
            AnsweredTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[AnsweredPartition(partition_index=one.partition_index, error_code=error) for one in topic.partitions],
            )
            for topic in request.topics
        ]
    )


def _key(topic: AskedTopic) -> str | bytes:
    return topic.name or topic.topic_id
