"""A Produce that is like an earlier one is not parsed again: its envelope is compared, and its answer is the earlier one's with new numbers.

A producer's requests differ in their correlation id and their records, and in nothing else. To take apart what stands around those (client id,
acks, topic, partition), and to build an answer of objects, costs more than to check and write a small batch. So a request with one partition that
went well opens a lane for its like. The records go the way they always go, through every check, by `Partition.append`.

Whatever is not quite alike (tags, bytes left over, another envelope, a partition that is led elsewhere or gone, an answer that waits for a disk) goes the
ordinary road from its beginning: a lane has had no effect before it appends. Who adds a check that the ordinary road makes before it appends, adds it here.
"""

import struct
import sys
from typing import TYPE_CHECKING

from pykbroker.apis import produce
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.header import RequestHeader, response_frame
from pykbroker.protocol.messages import ProduceRequest, ProduceResponse
from pykbroker.protocol.records import ATTRIBUTES_OFFSET, HEADER_SIZE
from pykbroker.protocol.wire import Buffer, read_unsigned_varint
from pykbroker.storage.log import UNLIMITED
from pykbroker.storage.validator import one_batch

if TYPE_CHECKING:
    from pykbroker.cluster import Cluster
    from pykbroker.context import Answer
    from pykbroker.partition import Partition
    from pykbroker.session import Session

FIRST_VERSION = 9
"""The first with tag sections; whoever speaks an older one goes the ordinary road."""

MOST_LANES = 256

_NO_TAGS = b"\0\0\0"
"""What follows the records: the tags of partition, topic and request."""

_BEHIND_THE_NUMBERS = 9
"""What follows the offsets in the answer: no record errors, no message, the throttle time, and tags."""

_CORRELATION_ID_END = 8


class ProduceLanes:
    """The lanes of one session, by the envelope of what goes through them: all of one version, and of one length."""

    __slots__ = ("_cluster", "_envelope_end", "_lanes", "_read", "_session", "_smallest", "_version")

    def __init__(self, cluster: "Cluster", session: "Session") -> None:
        self._cluster = cluster
        self._session = session
        self._lanes: dict[bytes, _Lane] = {}
        self._version = -1
        self._envelope_end = 0
        self._smallest = sys.maxsize
        self._read = struct.Struct(">hhi").unpack_from

    def __call__(self, frame: Buffer) -> "Answer | None":
        """The answer, if the request has gone through a lane; None where it has to go the ordinary road. Raises Malformed."""
        if len(frame) < self._smallest:
            return None
        api_key, version, correlation_id, envelope = self._read(frame)
        lane = self._lanes.get(envelope)
        if lane is None or api_key or version != self._version:
            return None
        return lane.answer(frame, self._envelope_end, correlation_id)

    def open(self, frame: Buffer, request: ProduceRequest, response: ProduceResponse, header: RequestHeader, answer: "Answer") -> None:
        """A request that fills its frame was answered: if it went well and is simple, the next one like it has a lane."""
        if request.acks == 0 or len(request.topic_data) != 1 or len(request.topic_data[0].partition_data) != 1:
            return
        records = request.topic_data[0].partition_data[0].records
        if response.responses[0].partition_responses[0].error_code or records is None:
            return
        size = len(records)
        end = len(frame) - len(_NO_TAGS) - size - (1 if size < 127 else 2 if size < 16383 else 3)
        if read_unsigned_varint(frame, end)[0] != size + 1 or size >= 2097151 or frame[-len(_NO_TAGS) :] != _NO_TAGS:
            return
        lane = _Lane(self._cluster, self._session, request, response, header.api_version)
        if lane.fill_in(header.correlation_id, response, b"".join(answer)):
            self._put(bytes(frame[_CORRELATION_ID_END:end]), header.api_version, lane)

    def _put(self, envelope: bytes, version: int, lane: "_Lane") -> None:
        end = _CORRELATION_ID_END + len(envelope)
        if end != self._envelope_end or version != self._version or len(self._lanes) >= MOST_LANES:
            self._lanes.clear()
            self._version = version
            self._envelope_end = end
            self._read = struct.Struct(f">hhi{len(envelope)}s").unpack_from
            self._smallest = end + 1 + HEADER_SIZE + len(_NO_TAGS)
        self._lanes[envelope] = lane


class _Lane:
    """Everything that requests with one envelope have in common."""

    __slots__ = (
        "_acks",
        "_cluster",
        "_node_id",
        "_pack",
        "_partition",
        "_size",
        "_topic",
        "_topic_id",
        "_version",
        "_words_after",
        "_words_before",
    )

    _partition: "Partition"

    def __init__(self, cluster: "Cluster", session: "Session", request: ProduceRequest, response: ProduceResponse, version: int) -> None:
        self._cluster = cluster
        self._node_id = session.broker.node_id
        self._acks = request.acks
        self._version = version
        self._topic, self._topic_id = response.responses[0].name, response.responses[0].topic_id

    def fill_in(self, correlation_id: int, response: ProduceResponse, answer: bytes) -> bool:
        """Learn the answer's bytes from one that went well; whether it is understood, and the partition still there."""
        metadata, one = self._cluster.metadata, response.responses[0].partition_responses[0]
        known = (
            metadata.topics.get(self._topic)
            if self._version < produce.FIRST_VERSION_WITH_TOPIC_IDS
            else metadata.topics_by_id.get(self._topic_id)
        )
        if known is None or one.index >= len(known.partitions):
            return False
        self._partition = known.partitions[one.index]
        self._size = len(answer) - 4
        numbers_at = len(answer) - _BEHIND_THE_NUMBERS - 24
        self._words_before = answer[8:numbers_at]
        self._words_after = answer[-_BEHIND_THE_NUMBERS:]
        self._pack = struct.Struct(f">ii{numbers_at - 8}sqqq{_BEHIND_THE_NUMBERS}s").pack
        return self._filled(correlation_id, one.base_offset, one.log_append_time_ms, one.log_start_offset) == answer

    def _filled(self, correlation_id: int, base_offset: int, log_append_time: int, log_start_offset: int) -> bytes:
        return self._pack(self._size, correlation_id, self._words_before, base_offset, log_append_time, log_start_offset, self._words_after)

    def answer(self, frame: Buffer, position: int, correlation_id: int) -> "Answer | None":
        """Append the records whose length stands at `position`; None, with nothing done, where this is not the lane for them."""
        size = frame[position]
        position += 1
        if size > 127:
            size, position = read_unsigned_varint(frame, position - 1)
        end = position + size - 1
        partition = self._partition
        if (
            end + 3 != len(frame)
            or size <= HEADER_SIZE
            or frame[position + ATTRIBUTES_OFFSET + 1] & produce.TRANSACTIONAL
            or frame[end:] != _NO_TAGS
            or partition.leader_id != self._node_id
            or partition.deleted
        ):
            return None
        try:
            if partition.log.config.flush_messages != UNLIMITED:
                return None
            batch = one_batch(frame[position:end], self._version)
            appended = partition.append(batch, self._acks, self._cluster.clock.now_ms)
        except KafkaError as refused:
            return self._refused(correlation_id, produce.refusal(partition, refused))
        except Exception as error:  # noqa: BLE001 - law 3: one bad request hurts nobody else
            self._cluster.report(error, "ProduceRequest failed unexpectedly")
            unknown = produce.PartitionResponse(index=partition.index, error_code=ErrorCode.UNKNOWN_SERVER_ERROR, base_offset=-1)
            return self._refused(correlation_id, unknown)
        return [self._filled(correlation_id, appended.first_offset, appended.log_append_time, appended.log_start_offset)]

    def _refused(self, correlation_id: int, one: produce.PartitionResponse) -> "Answer":
        topic = produce.TopicResponse(name=self._topic, topic_id=self._topic_id, partition_responses=[one])
        return response_frame(ProduceResponse(responses=[topic]), self._version, correlation_id)
