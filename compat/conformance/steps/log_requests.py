"""Requests about what is in logs, mostly of several partitions at once, and their answers by partition."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pykbroker.compat.target import ALL_REPLICAS, Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DeleteRecordsRequest, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse

READ_UNCOMMITTED, READ_COMMITTED = 0, 1
PLENTY = 1 << 24
UNKNOWN_ID = bytes(range(1, 17))
NOBODY = Topic("nobody-made-this-topic", UNKNOWN_ID, 1)
FIRST_WITH_IDS = 13
"""The first Fetch that has the ids of topics in place of their names (KIP-516)."""


class Wanted(NamedTuple):
    """One partition of a Fetch."""

    topic: Topic
    partition: int = 0
    offset: int = 0
    max_bytes: int = PLENTY
    last_fetched_epoch: int = -1
    current_leader_epoch: int = -1


class Answered(NamedTuple):
    """One partition of a Fetch response, and whose it is."""

    topic: str
    topic_id: bytes
    data: FetchResponse.PartitionData


def produce_request_of(
    data: Iterable[tuple[Topic, int, bytes | None]],
    *,
    acks: int = ALL_REPLICAS,
    timeout_ms: int = 10_000,
    transactional_id: str | None = None,
) -> ProduceRequest:
    """One topic entry for each run of partitions of one topic, as they come."""
    topics: list[ProduceRequest.TopicProduceData] = []
    for topic, partition, records in data:
        if not topics or topics[-1].name != topic.name:
            topics.append(ProduceRequest.TopicProduceData(name=topic.name, topic_id=topic.topic_id, partition_data=[]))
        topics[-1].partition_data.append(ProduceRequest.PartitionProduceData(index=partition, records=records))
    return ProduceRequest(transactional_id=transactional_id, acks=acks, timeout_ms=timeout_ms, topic_data=topics)


def produce_all(
    target: Target, topic: Topic, records: Mapping[int, bytes | None], version: int, *, acks: int = ALL_REPLICAS
) -> dict[int, ProduceResponse.PartitionProduceResponse]:
    """Send to several partitions of a topic; the answers by index, since Kafka does not keep their order (P-23)."""
    request = produce_request_of([(topic, partition, data) for partition, data in records.items()], acks=acks)
    answer = target.ask(request, version)
    return {one.index: one for response in answer.responses for one in response.partition_responses}


def fetch_request(
    wanted: Iterable[Wanted],
    *,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = PLENTY,
    isolation_level: int = READ_UNCOMMITTED,
    session_id: int = 0,
    session_epoch: int = -1,
    forgotten: Sequence[tuple[Topic, int]] = (),
) -> FetchRequest:
    """One topic entry for each run of partitions of one topic, as they come; without a session unless one is given."""
    topics: list[FetchRequest.FetchTopic] = []
    for one in wanted:
        if not topics or topics[-1].topic != one.topic.name or topics[-1].topic_id != one.topic.topic_id:
            topics.append(FetchRequest.FetchTopic(topic=one.topic.name, topic_id=one.topic.topic_id, partitions=[]))
        topics[-1].partitions.append(
            FetchRequest.FetchPartition(
                partition=one.partition,
                current_leader_epoch=one.current_leader_epoch,
                fetch_offset=one.offset,
                last_fetched_epoch=one.last_fetched_epoch,
                partition_max_bytes=one.max_bytes,
            )
        )
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        session_id=session_id,
        session_epoch=session_epoch,
        topics=topics,
        forgotten_topics_data=[
            FetchRequest.ForgottenTopic(topic=topic.name, topic_id=topic.topic_id, partitions=[partition]) for topic, partition in forgotten
        ],
    )


def answered(response: FetchResponse) -> list[Answered]:
    """Every partition of a Fetch response, in its order."""
    return [Answered(topic.topic, topic.topic_id, data) for topic in response.responses for data in topic.partitions]


def fetch_one(
    target: Target, wanted: Wanted, version: int, *, isolation_level: int = READ_UNCOMMITTED, max_wait_ms: int = 0
) -> FetchResponse.PartitionData:
    """Fetch from one partition; what is answered for it."""
    request = fetch_request([wanted], isolation_level=isolation_level, max_wait_ms=max_wait_ms)
    return answered(target.ask(request, version))[0].data


def unknown_topic(version: int) -> ErrorCode:
    """What a topic is that nobody made, by name and by id."""
    return ErrorCode.UNKNOWN_TOPIC_ID if version >= FIRST_WITH_IDS else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def delete_records_request(topic: Topic, offset: int, partition: int = 0) -> DeleteRecordsRequest:
    """Delete what lies before an offset."""
    part = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=partition, offset=offset)
    return DeleteRecordsRequest(topics=[DeleteRecordsRequest.DeleteRecordsTopic(name=topic.name, partitions=[part])], timeout_ms=10_000)
