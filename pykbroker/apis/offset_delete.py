"""OffsetDelete: forget what a group has committed for topics that it does not consume any more (KIP-496).

Versions    0.
Authorizes  Delete on the group, Read on each topic.
Waits       until the tombstones are durable.
Semantics   O-13.
"""

from typing import TYPE_CHECKING

from pykbroker.later import when
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import OffsetDeleteRequest, OffsetDeleteResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(1)

AnsweredTopic = OffsetDeleteResponse.OffsetDeleteResponseTopic
AnsweredPartition = OffsetDeleteResponse.OffsetDeleteResponsePartition


def handle(context: "Context", request: OffsetDeleteRequest) -> "OffsetDeleteResponse | Later[OffsetDeleteResponse]":
    """Partitions that do not exist stand first in the answer; a group that refuses refuses the whole."""
    missing: dict[str, AnsweredTopic] = {}
    existing: list[tuple[str, list[int]]] = []
    for wanted in request.topics:
        topic = context.cluster.metadata.topic(wanted.name)
        count = 0 if topic is None else len(topic.partitions)
        indexes = [partition.partition_index for partition in wanted.partitions]
        found = [index for index in indexes if 0 <= index < count]
        if topic is None or len(found) < len(indexes):
            missing.setdefault(wanted.name, AnsweredTopic(name=wanted.name)).partitions += [
                AnsweredPartition(partition_index=index, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                for index in indexes
                if not 0 <= index < count
            ]
        if found:
            existing.append((wanted.name, found))

    def answered(results: list[tuple[str, list[tuple[int, ErrorCode]]]]) -> OffsetDeleteResponse:
        answers = list(missing.values())
        for name, partitions in results:
            answer = missing.get(name)
            if answer is None:
                answer = AnsweredTopic(name=name)
                answers.append(answer)
            answer.partitions += [AnsweredPartition(partition_index=index, error_code=error) for index, error in partitions]
        return OffsetDeleteResponse(topics=answers)

    return when(context.cluster.groups.delete_offsets(context, request.group_id, existing), answered)


def failed(request: OffsetDeleteRequest, error: ErrorCode) -> OffsetDeleteResponse:
    """Nothing was deleted."""
    return OffsetDeleteResponse(error_code=error)
