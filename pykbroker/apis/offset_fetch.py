"""OffsetFetch: what groups have committed. What was never committed has offset -1, and is no error.

Versions    1-10. v0 left Kafka with 4.0.
Authorizes  Describe on the group and on each topic.
Waits       for commits that are not durable yet.
Notes       v2 all topics of the group  v5 leader epoch  v7 require_stable  v8 several groups (KIP-709)  v9 member id and epoch, which say
            nothing in a classic group (O-10)  v10 topic ids.
Not done    pending offsets of transactions, which are not served yet: an offset is always stable.
Semantics   O-07 … O-10, O-15.
"""

from typing import TYPE_CHECKING

from pykbroker.coordinator.refusal import or_refusal
from pykbroker.later import when, when_all
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import OffsetFetchRequest, OffsetFetchResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.coordinator.offsets import CommittedByTopic
    from pykbroker.later import Later

VERSIONS = range(1, 11)

FIRST_VERSION_WITH_GROUP_ERROR = 2
FIRST_VERSION_WITH_GROUPS = 8
FIRST_VERSION_WITH_TOPIC_IDS = 10

NO_OFFSET = -1
_NO_TOPIC_ID = bytes(16)

AskedGroup = OffsetFetchRequest.OffsetFetchRequestGroup
AskedTopic = OffsetFetchRequest.OffsetFetchRequestTopics
Group = OffsetFetchResponse.OffsetFetchResponseGroup
Topic = OffsetFetchResponse.OffsetFetchResponseTopics
Partition = OffsetFetchResponse.OffsetFetchResponsePartitions


def handle(context: "Context", request: OffsetFetchRequest) -> "OffsetFetchResponse | Later[OffsetFetchResponse]":
    """Every group by itself; the same one twice is answered twice (O-09)."""
    if context.api_version < FIRST_VERSION_WITH_GROUPS:
        return when(_group(context, _only_group(request)), lambda group: _for_one_group(context.api_version, request, group))
    return when_all([_group(context, asked) for asked in request.groups], lambda groups: OffsetFetchResponse(groups=groups))


def failed(request: OffsetFetchRequest, error: ErrorCode) -> OffsetFetchResponse:
    """No group is answered; v1 has no place for that but the partitions."""
    if request.groups:
        return OffsetFetchResponse(groups=[Group(group_id=asked.group_id, error_code=error) for asked in request.groups])
    return OffsetFetchResponse(error_code=error, topics=_old_topics(_unanswered(_only_group(request), error)))


def _only_group(request: OffsetFetchRequest) -> AskedGroup:
    """The group of a request that can name only one, as later versions name it."""
    topics = None
    if request.topics is not None:
        topics = [AskedTopic(name=topic.name, partition_indexes=topic.partition_indexes) for topic in request.topics]
    return AskedGroup(group_id=request.group_id, topics=topics)


def _group(context: "Context", asked: AskedGroup) -> "Group | Later[Group]":
    def refused(error: KafkaError) -> Group:
        return Group(group_id=asked.group_id, error_code=error.error_code)

    def answered(committed: "CommittedByTopic") -> Group:
        return Group(group_id=asked.group_id, topics=_topics(context, asked, committed))

    return or_refusal(lambda: when(context.cluster.groups.committed_offsets(context, asked.group_id), answered), refused)


def _topics(context: "Context", asked: AskedGroup, committed: "CommittedByTopic") -> list[Topic]:
    by_id = context.api_version >= FIRST_VERSION_WITH_TOPIC_IDS
    metadata = context.cluster.metadata
    answers = []
    if asked.topics is None:
        for name, partitions in committed.items():
            topic = metadata.topic(name)
            if topic is not None or not by_id:
                found = _partitions(committed, name, list(partitions))
                answers.append(Topic(name=name, topic_id=topic.topic_id if topic is not None else _NO_TOPIC_ID, partitions=found))
        return answers
    for wanted in asked.topics:
        if not by_id:
            answers.append(Topic(name=wanted.name, partitions=_partitions(committed, wanted.name, wanted.partition_indexes)))
            continue
        topic = metadata.topic_by_id(wanted.topic_id)
        if topic is None:
            missing = [_no_offset(index, ErrorCode.UNKNOWN_TOPIC_ID) for index in wanted.partition_indexes]
            answers.append(Topic(topic_id=wanted.topic_id, partitions=missing))
        else:
            found = _partitions(committed, topic.name, wanted.partition_indexes)
            answers.append(Topic(name=topic.name, topic_id=wanted.topic_id, partitions=found))
    return answers


def _partitions(committed: "CommittedByTopic", name: str, indexes: list[int]) -> list[Partition]:
    of_topic = committed.get(name, {})
    answers = []
    for index in indexes:
        value = of_topic.get(index)
        if value is None:
            answers.append(_no_offset(index, ErrorCode.NONE))
            continue
        answers.append(
            Partition(
                partition_index=index, committed_offset=value.offset, committed_leader_epoch=value.leader_epoch, metadata=value.metadata
            )
        )
    return answers


def _no_offset(index: int, error: ErrorCode) -> Partition:
    return Partition(partition_index=index, committed_offset=NO_OFFSET, metadata="", error_code=error)


def _unanswered(asked: AskedGroup, error: ErrorCode) -> Group:
    topics = [
        Topic(name=topic.name, partitions=[_no_offset(index, error) for index in topic.partition_indexes]) for topic in asked.topics or ()
    ]
    return Group(group_id=asked.group_id, error_code=error, topics=topics)


def _for_one_group(version: int, request: OffsetFetchRequest, group: Group) -> OffsetFetchResponse:
    if group.error_code != ErrorCode.NONE and version < FIRST_VERSION_WITH_GROUP_ERROR:
        group = _unanswered(_only_group(request), ErrorCode(group.error_code))
    return OffsetFetchResponse(error_code=group.error_code, topics=_old_topics(group))


def _old_topics(group: Group) -> list[OffsetFetchResponse.OffsetFetchResponseTopic]:
    return [
        OffsetFetchResponse.OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponse.OffsetFetchResponsePartition(
                    partition_index=partition.partition_index,
                    committed_offset=partition.committed_offset,
                    committed_leader_epoch=partition.committed_leader_epoch,
                    metadata=partition.metadata,
                    error_code=partition.error_code,
                )
                for partition in topic.partitions
            ],
        )
        for topic in group.topics
    ]
