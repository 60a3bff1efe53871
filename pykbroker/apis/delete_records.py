"""DeleteRecords: let a partition begin at a later offset; what lies before it is gone for everybody at once.

Versions    0-2.
Authorizes  Delete on each topic.
Waits       never: there is no other replica to wait for, so timeout_ms has nothing to limit.
Notes       Offset -1 is the high watermark. A log may begin in the middle of a batch. Segments before the start go with the next retention.
Not done    nothing.
Semantics   L-12 … L-17, L-19.  Sources: KIP-107.
"""

import logging

from pykbroker.context import Context
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import DeleteRecordsRequest, DeleteRecordsResponse

VERSIONS = range(3)

log = logging.getLogger("pykbroker")

NO_LOW_WATERMARK = -1

PartitionResult = DeleteRecordsResponse.DeleteRecordsPartitionResult


def handle(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    """Every partition by itself; of one that is named twice the last offset counts (L-12). Told when a crash cannot bring the records back."""
    wanted: dict[str, dict[int, int]] = {}
    for topic in request.topics:
        wanted.setdefault(topic.name, {}).update((one.partition_index, one.offset) for one in topic.partitions)
    topics = [
        DeleteRecordsResponse.DeleteRecordsTopicResult(
            name=name, partitions=[_delete(context, name, index, offset) for index, offset in partitions.items()]
        )
        for name, partitions in wanted.items()
        if partitions
    ]
    try:
        context.cluster.logs.checkpoint_start_offsets()
    except OSError:
        log.exception("The start offsets of the logs could not be written down")
        return failed(request, ErrorCode.KAFKA_STORAGE_ERROR)
    return DeleteRecordsResponse(topics=topics)


def failed(request: DeleteRecordsRequest, error: ErrorCode) -> DeleteRecordsResponse:
    """The error in every partition."""
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsResponse.DeleteRecordsTopicResult(
                name=topic.name, partitions=[_failed_partition(one.partition_index, error) for one in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _delete(context: Context, topic: str, index: int, offset: int) -> PartitionResult:
    partition = context.cluster.metadata.partition(topic, index)
    if partition is None:
        return _failed_partition(index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if partition.topic.is_internal:
        return _failed_partition(index, ErrorCode.INVALID_TOPIC_EXCEPTION)
    error = partition.leadership_error(context.session.broker.node_id)
    if error:
        return _failed_partition(index, error)
    if context.cluster.config.topic(topic).cleanup_policy == {"compact"}:
        return _failed_partition(index, ErrorCode.POLICY_VIOLATION)
    try:
        low_watermark = partition.delete_records(offset)
    except KafkaError as failure:
        return _failed_partition(index, failure.error_code)
    return PartitionResult(partition_index=index, low_watermark=low_watermark, error_code=0)


def _failed_partition(index: int, error: ErrorCode) -> PartitionResult:
    return PartitionResult(partition_index=index, low_watermark=NO_LOW_WATERMARK, error_code=error)
