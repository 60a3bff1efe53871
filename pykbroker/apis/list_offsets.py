"""ListOffsets: where in a partition a timestamp, or a special position, stands.

Versions    1-11. v0 left Kafka with 4.0.
Authorizes  Describe on each topic.
Waits       where many logs are not open yet: they are opened first, in slices. timeout_ms (v10) is for storage that is far away.
Notes       v2 read_committed: nothing at or beyond the last stable offset is told.  v4 leader epochs.
            v7 MAX_TIMESTAMP (KIP-734).  v8 EARLIEST_LOCAL.  v9 LATEST_TIERED.  v11 EARLIEST_PENDING_UPLOAD.
            A broker that asks (replica_id is not -1) is told of everything up to the end of the log.
Not done    tiered storage: EARLIEST_LOCAL is EARLIEST, the other two have no answer, as in a Kafka that has none.
Semantics   L-01 … L-10, L-18, L-21.  Sources: KIP-79, KIP-207, KIP-405, KIP-734, KIP-1005, KIP-1023.
"""

from enum import IntEnum

from pykbroker.context import Context
from pykbroker.later import Later
from pykbroker.partition import Partition, closed_to_read, once_open_to_read
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ListOffsetsRequest, ListOffsetsResponse
from pykbroker.storage.log import NOTHING_FOUND, FoundOffset

VERSIONS = range(1, 12)

CONSUMER = -1
NO_TIMESTAMP = -1
NO_EPOCH = -1
FIRST_VERSION_WITH_LEADER_EPOCH = 4


class SpecialOffset(IntEnum):
    """What a timestamp below zero asks for."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4
    LATEST_TIERED = -5
    EARLIEST_PENDING_UPLOAD = -6


FIRST_VERSION_WITH = {
    SpecialOffset.LATEST: 1,
    SpecialOffset.EARLIEST: 1,
    SpecialOffset.MAX_TIMESTAMP: 7,
    SpecialOffset.EARLIEST_LOCAL: 8,
    SpecialOffset.LATEST_TIERED: 9,
    SpecialOffset.EARLIEST_PENDING_UPLOAD: 11,
}

READ_UNCOMMITTED, READ_COMMITTED = 0, 1

PartitionResponse = ListOffsetsResponse.ListOffsetsPartitionResponse


def handle(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse | Later[ListOffsetsResponse]:
    """Answer every partition by itself: one that fails leaves its neighbours alone, one named twice fails once (L-09)."""
    topics = context.cluster.metadata.topics
    closed: list[Partition] = []
    for topic in request.topics:
        closed += closed_to_read(topics.get(topic.name), [one.partition_index for one in topic.partitions])
    return once_open_to_read(context.cluster, closed, lambda: _answered(context, request))


def _answered(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse:
    if request.isolation_level not in (READ_UNCOMMITTED, READ_COMMITTED):
        return failed(request, ErrorCode.UNKNOWN_SERVER_ERROR)  # as Kafka answers an isolation level that does not exist (P-30)
    wanted: dict[str, dict[int, ListOffsetsRequest.ListOffsetsPartition]] = {}
    named_twice: set[tuple[str, int]] = set()
    for topic in request.topics:
        partitions = wanted.setdefault(topic.name, {})
        for one in topic.partitions:
            if one.partition_index in partitions:
                named_twice.add((topic.name, one.partition_index))
            partitions[one.partition_index] = one
    return ListOffsetsResponse(
        topics=[
            ListOffsetsResponse.ListOffsetsTopicResponse(
                name=name,
                partitions=[
                    _failed_partition(index, ErrorCode.INVALID_REQUEST)
                    if (name, index) in named_twice
                    else _answer(context, request, name, one)
                    for index, one in partitions.items()
                ],
            )
            for name, partitions in wanted.items()
            if partitions
        ]
    )


def failed(request: ListOffsetsRequest, error: ErrorCode) -> ListOffsetsResponse:
    """The error in every partition."""
    return ListOffsetsResponse(
        topics=[
            ListOffsetsResponse.ListOffsetsTopicResponse(
                name=topic.name, partitions=[_failed_partition(one.partition_index, error) for one in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _answer(
    context: Context, request: ListOffsetsRequest, topic: str, wanted: ListOffsetsRequest.ListOffsetsPartition
) -> PartitionResponse:
    try:
        found = _find(context, request, topic, wanted)
    except KafkaError as error:
        return _failed_partition(wanted.partition_index, error.error_code)
    return PartitionResponse(
        partition_index=wanted.partition_index,
        error_code=0,
        timestamp=found.timestamp,
        offset=found.offset,
        leader_epoch=found.leader_epoch if context.api_version >= FIRST_VERSION_WITH_LEADER_EPOCH else NO_EPOCH,
    )


def _find(context: Context, request: ListOffsetsRequest, topic: str, wanted: ListOffsetsRequest.ListOffsetsPartition) -> FoundOffset:
    """Raises KafkaError. A timestamp that the version does not know is an error before the partition is looked for (L-05)."""
    asked = _asked(wanted.timestamp, context.api_version)
    partition = context.cluster.metadata.partition(topic, wanted.partition_index)
    if partition is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    error = partition.leadership_error(context.session.broker.node_id, wanted.current_leader_epoch)
    if error:
        raise KafkaError(error)
    return _position(partition, asked, _fetchable_end(partition, request))


def _asked(timestamp: int, api_version: int) -> SpecialOffset | int:
    """A special position, or a time. Raises KafkaError(UNSUPPORTED_VERSION)."""
    if timestamp >= 0:
        return timestamp
    try:
        special = SpecialOffset(timestamp)
    except ValueError:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"There is no special timestamp {timestamp}.") from None
    if api_version < FIRST_VERSION_WITH[special]:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{special.name} needs version {FIRST_VERSION_WITH[special]}.")
    return special


def _fetchable_end(partition: Partition, request: ListOffsetsRequest) -> int:
    """The offset at which what the client may see ends. Raises KafkaError."""
    if request.replica_id != CONSUMER:
        return partition.log_to_read.end_offset
    return partition.log_to_read.last_stable_offset if request.isolation_level == READ_COMMITTED else partition.log_to_read.high_watermark


def _position(partition: Partition, asked: SpecialOffset | int, end_offset: int) -> FoundOffset:
    log = partition.log_to_read
    match asked:
        case SpecialOffset.LATEST:
            return FoundOffset(NO_TIMESTAMP, end_offset, partition.leader_epoch)
        case SpecialOffset.EARLIEST | SpecialOffset.EARLIEST_LOCAL:
            return FoundOffset(NO_TIMESTAMP, log.start_offset, partition.epoch_at_start)
        case SpecialOffset.LATEST_TIERED | SpecialOffset.EARLIEST_PENDING_UPLOAD:
            return NOTHING_FOUND
        case SpecialOffset.MAX_TIMESTAMP:
            found = log.largest_timestamp()
        case _:
            found = log.first_offset_at_or_after(asked)
    return found if found.offset < end_offset else NOTHING_FOUND


def _failed_partition(index: int, error: ErrorCode) -> PartitionResponse:
    return PartitionResponse(partition_index=index, error_code=error)
