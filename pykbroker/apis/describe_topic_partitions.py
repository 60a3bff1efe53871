"""DescribeTopicPartitions: topics with their partitions, page by page.

Versions    0.
Authorizes  Describe on each topic (there is no authorizer yet).
Waits       never.
Notes       Topics come sorted by name; no topic named means all of them. A page ends after so many partitions, and the cursor in the
            answer says where the next one begins. Nothing is created on the way.
Not done    nothing. An empty name gets INVALID_TOPIC_EXCEPTION, where Kafka 4.3 fails with UNKNOWN_SERVER_ERROR.
Semantics   M-18. Sources: KIP-966.
"""

from pykbroker.authorized_operations import TOPIC_OPERATIONS
from pykbroker.context import Context
from pykbroker.metadata import Metadata, Topic
from pykbroker.partition import Partition
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse
from pykbroker.topic_names import why_invalid

VERSIONS = range(1)

_AnsweredTopic = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic


def handle(context: Context, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """One page. A cursor must name a topic that was asked for, and a partition that can be."""
    cluster = context.cluster
    cursor = request.cursor
    names = sorted({wanted.name for wanted in request.topics} or cluster.metadata.topics)
    first_index = 0
    if cursor is not None:
        if cursor.partition_index < 0 or (request.topics and cursor.topic_name not in names):
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if names and cursor.topic_name in names:
            first_index = cursor.partition_index
        names = [name for name in names if name >= cursor.topic_name]
    page_size = min(request.response_partition_limit, cluster.config.integer("max.request.partition.size.limit"))
    return _page(cluster.metadata, names, first_index, max(1, page_size))


def failed(request: DescribeTopicPartitionsRequest, error: ErrorCode) -> DescribeTopicPartitionsResponse:
    """Every topic asked for, with the error."""
    topics = [_AnsweredTopic(error_code=error, name=wanted.name) for wanted in request.topics]
    return DescribeTopicPartitionsResponse(topics=topics)


def _page(metadata: Metadata, names: list[str], first_index: int, page_size: int) -> DescribeTopicPartitionsResponse:
    answer = DescribeTopicPartitionsResponse()
    room = page_size
    for name in names:
        if room == 0:
            answer.next_cursor = DescribeTopicPartitionsResponse.Cursor(topic_name=name, partition_index=0)
            break
        topic = metadata.topic(name)
        if topic is None:
            answer.topics.append(_missing(name))
            first_index = 0
            continue
        behind = first_index + room
        answer.topics.append(_present(metadata, topic, first_index, behind))
        if behind < len(topic.partitions):
            answer.next_cursor = DescribeTopicPartitionsResponse.Cursor(topic_name=name, partition_index=behind)
            break
        room -= len(answer.topics[-1].partitions)
        first_index = 0
    return answer


def _missing(name: str) -> _AnsweredTopic:
    error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if why_invalid(name) is None else ErrorCode.INVALID_TOPIC_EXCEPTION
    return _AnsweredTopic(error_code=error, name=name, topic_authorized_operations=TOPIC_OPERATIONS)


def _present(metadata: Metadata, topic: Topic, first_index: int, behind: int) -> _AnsweredTopic:
    return _AnsweredTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.is_internal,
        partitions=[_partition(metadata, partition) for partition in topic.partitions[first_index:behind]],
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _partition(metadata: Metadata, partition: Partition) -> DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition:
    """The lists of eligible leaders are empty, never null: the Java client dies of a null."""
    eligible, last_known = metadata.eligible_leaders(partition)
    return DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition(
        partition_index=partition.index,
        leader_id=partition.leader_id,
        leader_epoch=partition.leader_epoch,
        replica_nodes=partition.replicas,
        isr_nodes=partition.isr,
        eligible_leader_replicas=eligible,
        last_known_elr=last_known,
        offline_replicas=[node_id for node_id in partition.replicas if not metadata.is_alive(node_id)],
    )
