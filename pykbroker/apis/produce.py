"""Produce: append one batch of records to each of some partitions.

Versions    3-13; advertised from 0 on, which clients built on old versions of librdkafka need, though below 3 the connection is closed (W-08).
Authorizes  Write on each topic.
Waits       where flush.messages asks for it, until what was appended is on disk; the connection's next request may be handled meanwhile.
            Where many logs are not open yet it is worked on in slices, and the connection's next request waits.
Notes       v5 log_start_offset. v7 zstd. v8 record_errors, error_message (KIP-467). v10 the new leader beside NOT_LEADER_OR_FOLLOWER (KIP-951).
            v13 topic ids (KIP-516). acks=0 is not answered; where it fails, the connection is closed, which is all that a client can be told.
            With one replica nothing else is waited for, so timeout_ms has nothing to limit (P-24).
Not done    transactions: a request with a transactional batch is TRANSACTIONAL_ID_AUTHORIZATION_FAILED as a whole, which every client takes for final.
Semantics   P-01 … P-34, I-04 … I-16, W-17, W-18, W-21.  Sources: KIP-98, KIP-110, KIP-467, KIP-516, KIP-951.
"""

from itertools import islice
from typing import TYPE_CHECKING

from pykbroker.context import Close, Context
from pykbroker.later import Later, Slices, in_turns, when
from pykbroker.partition import LOGS_PER_SLICE, Partition
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ProduceRequest, ProduceResponse
from pykbroker.protocol.records import ATTRIBUTES_OFFSET, MAGIC_OFFSET
from pykbroker.storage.validator import RecordsRefused, one_batch, whole_batch

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
TopicResponse = ProduceResponse.TopicProduceResponse
Outcome = ProduceResponse | Close | None
ByPartition = tuple[ProduceRequest.TopicProduceData, dict[int, list[ProduceRequest.PartitionProduceData]]]


def handle(context: Context, request: ProduceRequest) -> Outcome | Later[Outcome]:
    """Append to each partition by itself: one that is refused leaves its neighbours alone (P-23), unless its batch cannot be read at all (P-29)."""
    topics = request.topic_data
    fault = _fault_of_all(topics)
    if fault is not None:
        return _outcome(request, _all_refused(request, fault))
    append = _Append(context, request.acks)
    if len(topics) == 1 and len(topics[0].partition_data) == 1:
        return _answered(append, request, [(topics[0], [append.to_partition(topics[0], topics[0].partition_data[0])])])
    if sum([len(topic.partition_data) for topic in topics]) > LOGS_PER_SLICE:
        return _appended_in_turns(append, request)
    answers = [(topic, [append.last_of(topic, data) for data in by_index.values()]) for topic, by_index in _by_partition(topics)]
    return _answered(append, request, answers)


def _appended_in_turns(append: "_Append", request: ProduceRequest) -> Outcome | Later[Outcome]:
    """Where many logs are not open yet, others have their turn in between."""
    by_topic = _by_partition(request.topic_data)
    each = [(topic, several) for topic, by_index in by_topic for several in by_index.values()]
    appended = in_turns(append.context.cluster.waits, append.to_all(each))
    if isinstance(appended, Later):
        _copy_out_of_frame(request)
    return when(appended, lambda told: _answered(append, request, _with_topics(by_topic, told)))


def _answered(
    append: "_Append", request: ProduceRequest, answers: list[tuple[ProduceRequest.TopicProduceData, list[PartitionResponse]]]
) -> Outcome | Later[Outcome]:
    response = ProduceResponse(
        responses=[TopicResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=told) for topic, told in answers]
    )
    if append.moved and append.context.api_version >= FIRST_VERSION_WITH_NEW_LEADER:
        _name_new_leaders(append.context, append.moved, response)
    if append.undurable:
        return _when_durable(append.undurable, request, response)
    return _outcome(request, response)


def failed(request: ProduceRequest, error: ErrorCode) -> ProduceResponse:
    """The error in every partition; one that is named twice is told once (P-28)."""
    return ProduceResponse(
        responses=[
            ProduceResponse.TopicProduceResponse(
                name=topic.name, topic_id=topic.topic_id, partition_responses=[_refused(index, error) for index in by_index]
            )
            for topic, by_index in _by_partition(request.topic_data)
        ]
    )


def _fault_of_all(topics: list[ProduceRequest.TopicProduceData]) -> KafkaError | None:
    """What is wrong with the first batch for some partition that makes all of them fail, whatever else is wrong (P-29): Kafka looks at each
    for its transactional mark before it looks at any topic, and cannot read those whose length or magic byte is impossible.
    """
    for topic in topics:
        for one in topic.partition_data:
            if one.records is None:
                continue
            records = memoryview(one.records)
            try:
                size = whole_batch(records)
            except RecordsRefused as refused:
                return refused
            if size and records[MAGIC_OFFSET] == 2 and records[ATTRIBUTES_OFFSET + 1] & TRANSACTIONAL:
                return KafkaError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    return None


def _all_refused(request: ProduceRequest, fault: KafkaError) -> ProduceResponse:
    response = failed(request, fault.error_code)
    if isinstance(fault, RecordsRefused):
        for topic in response.responses:
            for one in topic.partition_responses:
                one.error_message = fault.shown_message
    return response


def _by_partition(topics: list[ProduceRequest.TopicProduceData]) -> "list[ByPartition]":
    """Each topic once, and by partition what came for it: of one that is named twice more than one (P-28)."""
    found: dict[tuple[str, bytes], ByPartition] = {}
    for topic in topics:
        _, by_index = found.setdefault((topic.name, topic.topic_id), (topic, {}))
        for one in topic.partition_data:
            by_index.setdefault(one.index, []).append(one)
    return [each for each in found.values() if each[1]]


def _with_topics(
    by_topic: list[ByPartition], told: list[PartitionResponse]
) -> list[tuple[ProduceRequest.TopicProduceData, list[PartitionResponse]]]:
    left = iter(told)
    return [(topic, list(islice(left, len(by_index)))) for topic, by_index in by_topic]


def _copy_out_of_frame(request: ProduceRequest) -> None:
    """What is appended only when others have had their turn must not lie where the next frame may come to lie."""
    for topic in request.topic_data:
        for one in topic.partition_data:
            one.records = None if one.records is None else bytearray(one.records)


def _outcome(request: ProduceRequest, response: ProduceResponse) -> Outcome:
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

    __slots__ = ("_acks", "_now_ms", "context", "moved", "undurable")

    def __init__(self, context: Context, acks: int) -> None:
        self.context = context
        self._acks = acks
        self._now_ms = context.cluster.clock.now_ms
        self.moved: list[tuple[PartitionResponse, Partition]] = []
        """Partitions that somebody else leads."""
        self.undurable: list[tuple[PartitionResponse, Later[None]]] = []
        """What was appended, and is not as durable yet as it must be before it is told."""

    def to_all(
        self, each: list[tuple[ProduceRequest.TopicProduceData, list[ProduceRequest.PartitionProduceData]]]
    ) -> Slices[list[PartitionResponse]]:
        """Append to one partition after the other; when some logs had to be opened, or made, others have their turn."""
        told, logs = [], self.context.cluster.logs.logs
        open_before = len(logs)
        for topic, several in each:
            told.append(self.last_of(topic, several))
            if len(logs) - open_before >= LOGS_PER_SLICE:
                yield None
                open_before = len(logs)
        return told

    def last_of(self, topic: ProduceRequest.TopicProduceData, several: list[ProduceRequest.PartitionProduceData]) -> PartitionResponse:
        """Append the last that came for one partition. Of several, those whose shape is wrong do not count, but one of them is what is told (P-28)."""
        sound, refused = [], None
        for one in several if len(several) > 1 else ():
            try:
                one_batch(one.records, self.context.api_version)
                sound.append(one)
            except KafkaError:
                refused = self.to_partition(topic, one)
        if not sound and refused is not None:
            return refused
        appended = self.to_partition(topic, (sound or several)[-1])
        return appended if refused is None else refused

    def to_partition(self, topic: ProduceRequest.TopicProduceData, data: ProduceRequest.PartitionProduceData) -> PartitionResponse:
        """Append what came for one partition; the faults are found in Kafka's order (P-26)."""
        found = self._partition(topic, data.index)
        if isinstance(found, ErrorCode):
            return _refused(data.index, found)
        try:
            batch = one_batch(data.records, self.context.api_version)
            error = self._error_before_append(found)
            if error:
                response = _refused(data.index, error)
                if error is ErrorCode.NOT_LEADER_OR_FOLLOWER:
                    self.moved.append((response, found))
                return response
            appended = found.append(batch, self._acks, self._now_ms)
            durable = found.durable_after(appended, self._now_ms)
        except KafkaError as refused:
            return refusal(found, refused)
        response = PartitionResponse(
            index=data.index,
            error_code=0,
            base_offset=appended.first_offset,
            log_append_time_ms=appended.log_append_time,
            log_start_offset=appended.log_start_offset,
            current_leader=_NO_LEADER,
        )
        if durable is not None and self._acks != 0:
            self.undurable.append((response, durable))
        return response

    def _partition(self, topic: ProduceRequest.TopicProduceData, index: int) -> Partition | ErrorCode:
        metadata = self.context.cluster.metadata
        known: Topic | None
        if self.context.api_version < FIRST_VERSION_WITH_TOPIC_IDS:
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
        if partition.topic.is_internal and self.context.client_id != ADMIN_CLIENT_ID:
            return ErrorCode.INVALID_TOPIC_EXCEPTION
        return partition.leadership_error(self.context.session.broker.node_id)


def _name_new_leaders(context: Context, moved: list[tuple[PartitionResponse, Partition]], response: ProduceResponse) -> None:
    """Who asked the wrong broker learns the right one at once (KIP-951, W-21)."""
    session = context.session
    for refused, partition in moved:
        refused.current_leader = ProduceResponse.LeaderIdAndEpoch(leader_id=partition.leader_id, leader_epoch=partition.leader_epoch)
    for leader_id in {partition.leader_id for _, partition in moved}:
        leader = context.cluster.metadata.brokers.get(leader_id)
        if leader is not None:
            host, port = leader.endpoint(session.listener_name, session.local_host, session.local_port)
            response.node_endpoints.append(ProduceResponse.NodeEndpoint(node_id=leader_id, host=host, port=port, rack=leader.rack))


def _when_durable(
    undurable: list[tuple[PartitionResponse, Later[None]]], request: ProduceRequest, response: ProduceResponse
) -> Outcome | Later[Outcome]:
    """The outcome as soon as all is on disk, or it is known that some of it is not."""
    outcome: Later[Outcome] = Later()
    outcome.overlaps = True
    waiting = len(undurable)

    def one_is_decided() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            outcome.settle(_outcome(request, response))

    def one_is_lost(appended: PartitionResponse) -> None:
        appended.error_code = ErrorCode.KAFKA_STORAGE_ERROR
        appended.base_offset = appended.log_append_time_ms = appended.log_start_offset = -1
        one_is_decided()

    for appended, durable in undurable:
        durable.then(lambda _: one_is_decided(), lambda _, lost=appended: one_is_lost(lost))  # type: ignore[misc]
    return outcome.value if outcome.settled else outcome


def _refused(index: int, error: ErrorCode) -> PartitionResponse:
    return PartitionResponse(index=index, error_code=error, base_offset=-1)


def refusal(partition: Partition, refused: KafkaError) -> PartitionResponse:
    """What is answered for records that the partition did not take."""
    return _records_refused(partition, refused) if isinstance(refused, RecordsRefused) else _append_refused(partition, refused)


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
