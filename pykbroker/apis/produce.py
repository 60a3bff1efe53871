"""Produce: append one batch of records to each of some partitions.

Versions    3-13; advertised from 0 on, which clients built on old versions of librdkafka need, though below 3 the connection is closed (W-08).
Authorizes  Write on each topic.
Waits       where flush.messages asks for it, until what was appended is on disk; the connection's next request may be handled meanwhile.
Notes       v5 log_start_offset. v7 zstd. v8 record_errors, error_message (KIP-467). v10 the new leader beside NOT_LEADER_OR_FOLLOWER (KIP-951).
            v13 topic ids (KIP-516). acks=0 is not answered; where it fails, the connection is closed, which is all that a client can be told.
            With one replica nothing else is waited for, so timeout_ms has nothing to limit (P-24).
Not done    transactions: a request with a transactional batch is TRANSACTIONAL_ID_AUTHORIZATION_FAILED as a whole, which every client takes for final.
Semantics   P-01 … P-34, I-04 … I-16, W-17, W-18, W-21.  Sources: KIP-98, KIP-110, KIP-467, KIP-516, KIP-951.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pykbroker.context import Close, Context
from pykbroker.later import Later, when_all
from pykbroker.partition import Partition
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ProduceRequest, ProduceResponse
from pykbroker.protocol.records import ATTRIBUTES_OFFSET, HEADER_SIZE, MAGIC_OFFSET
from pykbroker.protocol.wire import Buffer
from pykbroker.storage.log import LogAppendInfo
from pykbroker.storage.validator import RecordsRefused, one_batch

if TYPE_CHECKING:
    from pykbroker.metadata import Topic

VERSIONS = range(3, 14)
ADVERTISED_MIN = 0

FIRST_VERSION_WITH_NEW_LEADER = 10
FIRST_VERSION_WITH_TOPIC_IDS = 13

ADMIN_CLIENT_ID = "__admin_client"
"""Kafka lets this client id, and no other, write to internal topics (P-21)."""

TRANSACTIONAL = 0x10

PartitionResponse = ProduceResponse.PartitionProduceResponse
Answered = PartitionResponse | Later[PartitionResponse]


def handle(context: Context, request: ProduceRequest) -> ProduceResponse | Close | Later[ProduceResponse | Close | None] | None:
    """Append to each partition by itself: one that is refused leaves its neighbours alone (P-23)."""
    if any(_is_transactional(partition.records) for topic in request.topic_data for partition in topic.partition_data):
        return _sent(request, failed(request, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
    append = _Append(context, request.acks)
    topics = [(topic, [append.to_partition(topic, one) for one in topic.partition_data]) for topic in _last_of_each(request.topic_data)]
    if not append.waits:
        return _sent(request, append.response(_settled(topics)))
    answers = [one for _, partitions in topics for one in partitions]
    response = when_all(answers, lambda _: _sent(request, append.response(_settled(topics))))
    if isinstance(response, Later):
        response.overlaps = True
    return response


def failed(request: ProduceRequest, error: ErrorCode) -> ProduceResponse:
    """The error in every partition."""
    return ProduceResponse(
        responses=[
            ProduceResponse.TopicProduceResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[_refused(one.index, error) for one in topic.partition_data],
            )
            for topic in request.topic_data
        ]
    )


def _is_transactional(records: Buffer | None) -> bool:
    """Whether the first batch belongs to a transaction, whatever else is wrong with it."""
    return (
        records is not None
        and len(records) >= HEADER_SIZE
        and records[MAGIC_OFFSET] == 2
        and records[ATTRIBUTES_OFFSET + 1] & TRANSACTIONAL != 0
    )


def _last_of_each(topics: list[ProduceRequest.TopicProduceData]) -> list[ProduceRequest.TopicProduceData]:
    """The same topics, each partition once: of one that is named twice only the last data count (P-28)."""
    if len(topics) == 1 and len(topics[0].partition_data) == 1:
        return topics
    last: dict[tuple[str, bytes], dict[int, ProduceRequest.PartitionProduceData]] = {}
    for topic in topics:
        partitions = last.setdefault((topic.name, topic.topic_id), {})
        for one in topic.partition_data:
            partitions[one.index] = one
    return [
        ProduceRequest.TopicProduceData(name=name, topic_id=topic_id, partition_data=list(partitions.values()))
        for (name, topic_id), partitions in last.items()
        if partitions
    ]


def _sent(request: ProduceRequest, response: ProduceResponse) -> ProduceResponse | Close | None:
    """The response, or what stands for it where the client wants none (W-17, W-18)."""
    if request.acks != 0:
        return response
    for topic in response.responses:
        for one in topic.partition_responses:
            if one.error_code:
                return Close(f"a Produce with acks=0 failed with {ErrorCode(one.error_code).name}")
    return None


class _Append:
    """The appends of one request."""

    __slots__ = ("_acks", "_context", "_moved", "_now_ms", "waits")

    def __init__(self, context: Context, acks: int) -> None:
        self._context = context
        self._acks = acks
        self._now_ms = context.cluster.clock.now_ms
        self._moved: list[tuple[PartitionResponse, Partition]] = []
        """Partitions that somebody else leads."""
        self.waits = False
        """Whether one of the answers is a Later."""

    def to_partition(self, topic: ProduceRequest.TopicProduceData, data: ProduceRequest.PartitionProduceData) -> Answered:
        """Append what came for one partition; the faults are found in Kafka's order (P-26)."""
        found = self._partition(topic, data.index)
        if isinstance(found, ErrorCode):
            return _refused(data.index, found)
        try:
            batch = one_batch(data.records, self._context.api_version)
            error = self._error_before_append(found)
            if error:
                return self._refused_before_append(found, error)
            appended = found.append(batch, self._acks, self._now_ms)
            durable = found.durable_after(appended, self._now_ms)
        except RecordsRefused as refused:
            return _records_refused(found, refused)
        except KafkaError as refused:
            return _append_refused(found, refused)
        if durable is None or self._acks == 0:
            return _appended(found, appended)
        self.waits = True
        return _appended_when(durable, found, appended)

    def _partition(self, topic: ProduceRequest.TopicProduceData, index: int) -> Partition | ErrorCode:
        metadata = self._context.cluster.metadata
        known: Topic | None
        if self._context.api_version < FIRST_VERSION_WITH_TOPIC_IDS:
            known = metadata.topics.get(topic.name)
        else:
            known = metadata.topics_by_id.get(topic.topic_id)
            if known is None:
                return ErrorCode.UNKNOWN_TOPIC_ID
        if known is None or not 0 <= index < len(known.partitions):
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return known.partitions[index]

    def _error_before_append(self, partition: Partition) -> ErrorCode:
        if not -1 <= self._acks <= 1:
            return ErrorCode.INVALID_REQUIRED_ACKS
        if partition.topic.is_internal and self._context.client_id != ADMIN_CLIENT_ID:
            return ErrorCode.INVALID_TOPIC_EXCEPTION
        return partition.leadership_error(self._context.session.broker.node_id)

    def _refused_before_append(self, partition: Partition, error: ErrorCode) -> PartitionResponse:
        response = _refused(partition.index, error)
        if error is ErrorCode.NOT_LEADER_OR_FOLLOWER:
            self._moved.append((response, partition))
        return response

    def response(self, topics: list[ProduceResponse.TopicProduceResponse]) -> ProduceResponse:
        """The answer; who asked the wrong broker learns the right one at once (KIP-951, W-21)."""
        response = ProduceResponse(responses=topics)
        if not self._moved or self._context.api_version < FIRST_VERSION_WITH_NEW_LEADER:
            return response
        metadata, session = self._context.cluster.metadata, self._context.session
        for refused, partition in self._moved:
            refused.current_leader = ProduceResponse.LeaderIdAndEpoch(leader_id=partition.leader_id, leader_epoch=partition.leader_epoch)
        for leader_id in {partition.leader_id for _, partition in self._moved}:
            leader = metadata.brokers.get(leader_id)
            if leader is not None:
                host, port = leader.endpoint(session.listener_name, session.local_host, session.local_port)
                response.node_endpoints.append(ProduceResponse.NodeEndpoint(node_id=leader_id, host=host, port=port, rack=leader.rack))
        return response


def _settled(topics: Iterable[tuple[ProduceRequest.TopicProduceData, list[Answered]]]) -> list[ProduceResponse.TopicProduceResponse]:
    """The answers of all partitions, none of them a Later any more."""
    return [
        ProduceResponse.TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=list(_values(partitions)))
        for topic, partitions in topics
    ]


def _values(partitions: list[Answered]) -> Iterator[PartitionResponse]:
    for one in partitions:
        yield one.value if isinstance(one, Later) else one


def _appended(partition: Partition, appended: LogAppendInfo) -> PartitionResponse:
    return PartitionResponse(
        index=partition.index,
        error_code=0,
        base_offset=appended.first_offset,
        log_append_time_ms=appended.log_append_time,
        log_start_offset=partition.log.start_offset,
        current_leader=_NO_LEADER,
    )


def _appended_when(durable: Later[None], partition: Partition, appended: LogAppendInfo) -> Later[PartitionResponse]:
    """The answer as soon as the records are on disk, or it is known that they are not."""
    answer: Later[PartitionResponse] = Later()
    durable.then(
        lambda _: answer.settle(_appended(partition, appended)),
        lambda _: answer.settle(_refused(partition.index, ErrorCode.KAFKA_STORAGE_ERROR)),
    )
    return answer


def _refused(index: int, error: ErrorCode) -> PartitionResponse:
    return PartitionResponse(index=index, error_code=error, base_offset=-1)


def _append_refused(partition: Partition, refused: KafkaError) -> PartitionResponse:
    """Refused by the partition or the log: the log's start is told (P-27), unless there is no log to ask. Kafka tells no message here."""
    response = _refused(partition.index, refused.error_code)
    if refused.error_code is not ErrorCode.KAFKA_STORAGE_ERROR:
        response.log_start_offset = partition.log.start_offset
    return response


def _records_refused(partition: Partition, refused: RecordsRefused) -> PartitionResponse:
    """Refused for what the records are (P-11 to P-13, P-27)."""
    response = _refused(partition.index, refused.error_code)
    response.error_message = refused.shown_message
    if refused.in_shape:
        response.log_start_offset = partition.log.start_offset
    if refused.record_errors:
        response.record_errors = [
            ProduceResponse.BatchIndexAndErrorMessage(batch_index=error.batch_index, batch_index_error_message=error.message)
            for error in refused.record_errors
        ]
    return response


_NO_LEADER = ProduceResponse.LeaderIdAndEpoch()
