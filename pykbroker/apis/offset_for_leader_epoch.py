"""OffsetForLeaderEpoch: where the records of a leader epoch end, so that a client finds out whether what it has read was truncated since.

Versions    2-4.
Authorizes  Describe on each topic.
Waits       never.
Notes       v3 replica_id, which changes nothing (F-29).
Not done    nothing.
Semantics   L-11.  Sources: KIP-101, KIP-279, KIP-320.
"""

from pykbroker.context import Context
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse

VERSIONS = range(2, 5)

EpochEndOffset = OffsetForLeaderEpochResponse.EpochEndOffset


def handle(context: Context, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    """Every partition by itself, also one that is named twice."""
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult(
                topic=topic.topic, partitions=[_answer(context, topic.topic, one) for one in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def failed(request: OffsetForLeaderEpochRequest, error: ErrorCode) -> OffsetForLeaderEpochResponse:
    """The error in every partition."""
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult(
                topic=topic.topic, partitions=[_failed_partition(one.partition, error) for one in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _answer(context: Context, topic: str, wanted: OffsetForLeaderEpochRequest.OffsetForLeaderPartition) -> EpochEndOffset:
    partition = context.cluster.metadata.partition(topic, wanted.partition)
    if partition is None:
        return _failed_partition(wanted.partition, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    error = partition.leadership_error(context.session.broker.node_id, wanted.current_leader_epoch)
    if error:
        return _failed_partition(wanted.partition, error)
    try:
        leader_epoch, end_offset = partition.end_offset_of_epoch(wanted.leader_epoch)
    except KafkaError as failure:
        return _failed_partition(wanted.partition, failure.error_code)
    return EpochEndOffset(error_code=0, partition=wanted.partition, leader_epoch=leader_epoch, end_offset=end_offset)


def _failed_partition(index: int, error: ErrorCode) -> EpochEndOffset:
    return EpochEndOffset(error_code=error, partition=index)
