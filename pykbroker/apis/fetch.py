"""Fetch: batches of records from where the client has got to, at once or as soon as there are enough.

Versions    4-18.
Authorizes  Read on each topic.
Waits       up to max_wait_ms, for min_bytes to come; answers at once where there is an error to tell, or nothing to wait for.
Notes       v5 log_start_offset; below v6 a storage error is NOT_LEADER_OR_FOLLOWER.  v7 sessions (KIP-227).  v9 leader epochs (KIP-320).
            v12 diverging epochs.  v13 topic ids (KIP-516).  v16 the new leader beside NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951).
            The first batch comes whole, however small the limits are (KIP-74), but where peers do not take their answers (LIMITS.md). What comes behind it may be cut anywhere, as Kafka does.
            preferred_read_replica is always -1: that is what Kafka's default selector says. high_watermark in the request (v18) is for followers.
Not done    fetches of followers: replica_id >= 0 is told NOT_LEADER_OR_FOLLOWER, as everybody is who is no replica (F-27).
Semantics   F-01 … F-29, FS-01 … FS-14.  Sources: KIP-74, KIP-98, KIP-227, KIP-320, KIP-392, KIP-516, KIP-951.
"""

from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING

from pykbroker.context import Context
from pykbroker.fetch_sessions import INITIAL_EPOCH, FetchSession, Wanted
from pykbroker.later import Later
from pykbroker.limits import MAX_WAIT_FOR_ROOM_MS
from pykbroker.partition import LOGS_PER_SLICE, NO_EPOCH, Partition, closed_to_read, once_open_to_read
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import FetchRequest, FetchResponse
from pykbroker.storage.log import OffsetOutOfRange, UnifiedLog

if TYPE_CHECKING:
    from pykbroker.clock import Timer

VERSIONS = range(4, 19)

FIRST_VERSION_WITH_STORAGE_ERROR = 6
FIRST_VERSION_WITH_DIVERGING_EPOCHS = 12
FIRST_VERSION_WITH_NEW_LEADER = 16

PartitionData = FetchResponse.PartitionData


class IsolationLevel(IntEnum):
    """What a consumer wants to see of transactions that are not committed."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


def handle(context: Context, request: FetchRequest) -> FetchResponse | Later[FetchResponse]:
    """Read all partitions that have something to tell; answer, or wait for more. Many logs that are not open yet are opened first, in slices."""
    if sum([len(topic.partitions) for topic in request.topics]) <= LOGS_PER_SLICE:
        return _fetched(context, request)
    metadata = context.cluster.metadata
    closed: list[Partition] = []
    for topic in request.topics:
        known = metadata.topics.get(topic.topic) if topic.topic else metadata.topics_by_id.get(topic.topic_id)
        closed += closed_to_read(known, [one.partition for one in topic.partitions])
    return once_open_to_read(context.cluster, closed, lambda: _fetched(context, request))


def _fetched(context: Context, request: FetchRequest) -> FetchResponse | Later[FetchResponse]:
    try:
        session, is_incremental = context.cluster.fetch_sessions.session_for(request, context.api_version)
    except KafkaError as error:
        return FetchResponse(error_code=error.error_code)
    fetch = _Fetch(context, request, session, is_incremental)
    if not 0 <= request.isolation_level <= 1 and fetch.finds_a_partition():
        return failed(request, ErrorCode.UNKNOWN_SERVER_ERROR)  # as Kafka does when it is about to read (P-30)
    fetch.read()
    if request.max_wait_ms <= 0 or fetch.is_urgent or fetch.byte_count >= fetch.min_bytes:
        return fetch.response()
    has_room = context.cluster.room_for_records > 0
    return fetch.wait(request.max_wait_ms if has_room else min(request.max_wait_ms, MAX_WAIT_FOR_ROOM_MS))


def failed(request: FetchRequest, error: ErrorCode) -> FetchResponse:
    """The error on top and, for clients that read only those, in every partition that is named as such clients name it."""
    topics = [
        FetchResponse.FetchableTopicResponse(topic=topic.topic, partitions=[_error(one.partition, error, []) for one in topic.partitions])
        for topic in request.topics
        if topic.topic
    ]
    return FetchResponse(error_code=error, session_id=request.session_id, responses=topics)


class _Fetch:
    """One fetch, from its first read to its answer."""

    __slots__ = (
        "_at_least_one",
        "_available",
        "_context",
        "_is_from_follower",
        "_isolation_level",
        "_later",
        "_left",
        "_max_bytes",
        "_missing",
        "_request",
        "_results",
        "_session",
        "_timer",
        "byte_count",
        "is_incremental",
        "is_urgent",
        "min_bytes",
    )

    def __init__(self, context: Context, request: FetchRequest, session: FetchSession, is_incremental: bool) -> None:
        self._context = context
        self._request = request
        self._session = session
        self.is_incremental = is_incremental
        self._isolation_level = request.isolation_level
        self._is_from_follower = request.replica_id >= 0 or request.replica_state.replica_id >= 0
        self._max_bytes = min(request.max_bytes, context.cluster.config.integer("fetch.max.bytes"))
        self.min_bytes = min(request.min_bytes, self._max_bytes)
        self._results: dict[Wanted, PartitionData] = {}
        """What there is to tell of each partition, in no order; of an incremental fetch only what changed."""
        self._missing: dict[Wanted, PartitionData] = {}
        """Partitions that do not exist; they never end a wait (F-09), and come last (F-24)."""
        self._available: dict[Wanted, _Available] = {}
        self._later: Later[FetchResponse] | None = None
        self._timer: Timer | None = None
        self.byte_count = 0
        self.is_urgent = False
        """Whether there is something to tell that is not to wait, or nothing to wait for."""

    # -- reading -------------------------------------------------------------------------------------------------

    def finds_a_partition(self) -> bool:
        """Whether there is any partition to read, whatever comes of it."""
        for wanted in self._session.partitions.values():
            if wanted.partition is not None and not wanted.partition.deleted:
                return True
            if self._locate(wanted) in {ErrorCode.NONE, ErrorCode.INCONSISTENT_TOPIC_ID}:
                return True
        return False

    def read(self) -> None:
        """Read the partitions that may have something to tell, in the session's order. What turns out to have nothing is no longer dirty."""
        session, results, missing = self._session, self._results, self._missing
        self.byte_count = 0
        self.is_urgent = False
        room = self._context.cluster.room_for_records
        self._left = min(self._max_bytes, room)
        self._at_least_one = room > 0
        dirty = list(session.dirty)
        if len(dirty) > 1:
            dirty.sort(key=_ORDER)
        for wanted in dirty:
            if wanted in missing:
                continue
            partition = wanted.partition
            if self._later is None and (partition is None or partition.deleted):
                error = self._locate(wanted)
                partition = wanted.partition
                if error:
                    data = _error(wanted.index, error, None if error is ErrorCode.INCONSISTENT_TOPIC_ID else [])
                    if error is ErrorCode.INCONSISTENT_TOPIC_ID:
                        self.is_urgent = True
                        results[wanted] = data
                    else:
                        missing[wanted] = data
                    continue
            if partition is None:
                continue  # named by another request of this session while this one waits; its turn is the next fetch
            data = self._read_partition(wanted, partition)
            if self._is_news(wanted, data):
                results[wanted] = data
            else:
                results.pop(wanted, None)
            if self._is_at_rest(wanted, data):
                del session.dirty[wanted]
        if len(missing) == len(session.partitions):
            self.is_urgent = True

    def _locate(self, wanted: Wanted) -> ErrorCode:
        """Find the partition in the metadata (F-18). A session may have known it, and it was deleted; by name it may be there again (FS-09)."""
        metadata = self._context.cluster.metadata
        session = self._session
        if not session.uses_topic_ids:
            partition = metadata.partition(wanted.topic, wanted.index)
        elif wanted.topic:  # it was once there, and its name is known since then
            partition = metadata.partition(wanted.topic, wanted.index)
            if partition is not None and partition.topic.topic_id != wanted.topic_id:
                return ErrorCode.INCONSISTENT_TOPIC_ID
        else:
            topic = metadata.topics_by_id.get(wanted.topic_id)
            if topic is None:
                return ErrorCode.UNKNOWN_TOPIC_ID
            wanted.topic = topic.name
            partition = metadata.partition_by_id(wanted.topic_id, wanted.index)
        if partition is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        wanted.found(partition)
        return ErrorCode.NONE

    def _read_partition(self, wanted: Wanted, partition: Partition) -> PartitionData:
        try:
            self._check_leadership(wanted, partition)
            log = partition.log_to_read
            if wanted.last_fetched_epoch >= 0 and self._context.api_version >= FIRST_VERSION_WITH_DIVERGING_EPOCHS:
                diverging = _diverging_epoch(wanted, partition, log)
                if diverging is not None:
                    self.is_urgent = True
                    return diverging
            return self._read_log(wanted, log)
        except KafkaError as error:
            self.is_urgent = True
            return _error(wanted.index, self._shown_code(error.error_code), None)

    def _check_leadership(self, wanted: Wanted, partition: Partition) -> None:
        """Raises KafkaError where this broker may not answer."""
        if partition.deleted:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        error = partition.leadership_error(self._context.session.broker.node_id, max(NO_EPOCH, wanted.current_leader_epoch))
        if error:
            raise KafkaError(error)
        if self._is_from_follower:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def _read_log(self, wanted: Wanted, log: UnifiedLog) -> PartitionData:
        """What there is from fetch_offset on, as far as the limits allow. Raises KafkaError."""
        committed = self._isolation_level == IsolationLevel.READ_COMMITTED
        offset = wanted.fetch_offset
        max_bytes = min(wanted.max_bytes, self._left)
        self._left = max(0, self._left)
        if max_bytes < 0 and log.start_offset <= offset < log.end_offset:
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
        records, high_watermark, last_stable_offset, log_start_offset, aborted = log.read(
            offset, max_bytes, at_least_one=self._at_least_one, committed=committed
        )
        size = len(records)
        if size:
            self._at_least_one = False
            self.byte_count += size
            self._left = max(0, self._left - size)
        else:
            end = last_stable_offset if committed else high_watermark
            if offset > end:
                self.is_urgent = True
            elif offset < end and max_bytes > 0:
                aborted = None  # there are records, but too little room for them: Kafka does not tell of transactions then
        return PartitionData(
            partition_index=wanted.index,
            error_code=0,
            high_watermark=high_watermark,
            last_stable_offset=last_stable_offset,
            log_start_offset=log_start_offset,
            diverging_epoch=_NO_EPOCH,
            current_leader=_NO_LEADER,
            snapshot_id=_NO_SNAPSHOT,
            aborted_transactions=None
            if aborted is None
            else [FetchResponse.AbortedTransaction(producer_id=one.producer_id, first_offset=one.first_offset) for one in aborted],
            preferred_read_replica=-1,
            records=records,
        )

    def _shown_code(self, code: ErrorCode) -> ErrorCode:
        if code is ErrorCode.KAFKA_STORAGE_ERROR and self._context.api_version < FIRST_VERSION_WITH_STORAGE_ERROR:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        return code

    def _is_news(self, wanted: Wanted, data: PartitionData) -> bool:
        """Whether it belongs into the answer: a full one has everything, an incremental one what its client does not know (FS-03)."""
        return (
            not self.is_incremental
            or bool(data.records)
            or data.error_code != 0
            or data.diverging_epoch is not _NO_EPOCH
            or data.high_watermark != wanted.told_high_watermark
            or data.log_start_offset != wanted.told_log_start_offset
        )

    def _is_at_rest(self, wanted: Wanted, data: PartitionData) -> bool:
        """Whether there can be nothing more to tell until the partition changes. A full answer tells everything, an incremental one must have."""
        if data.error_code or data.diverging_epoch is not _NO_EPOCH:
            return False
        end = data.last_stable_offset if self._isolation_level == IsolationLevel.READ_COMMITTED else data.high_watermark
        return wanted.fetch_offset == end and not (self.is_incremental and wanted in self._results)

    # -- waiting -------------------------------------------------------------------------------------------------

    def wait(self, max_wait_ms: int) -> Later[FetchResponse]:
        """Answer when enough has come, when something is wrong, or when the time is over; never, when the connection goes."""
        later: Later[FetchResponse] = Later()
        self._later = later
        for wanted, data in self._results.items():
            if data.records:
                self._available[wanted] = _Available(wanted, min(len(data.records), wanted.max_bytes))
        self._session.wait(self)
        self._timer = self._context.cluster.waits.call_later(max_wait_ms, self._answer)
        self._context.session.on_close.append(self._stop_waiting)
        return later

    def wanted_changed(self, wanted: Wanted) -> None:
        """A partition changed: answer, if that is enough to end the wait."""
        if wanted in self._missing or wanted.partition is None or self._timer is None:
            return
        try:
            self._check_leadership(wanted, wanted.partition)
            self._count(wanted, wanted.partition.log_to_read)
        except Exception:  # noqa: BLE001 - whatever it is, reading again tells it to who waits, and not to who brought the records
            self._answer()
            return
        if sum(one.byte_count for one in self._available.values()) >= self.min_bytes:
            self._answer()

    def _count(self, wanted: Wanted, log: UnifiedLog) -> None:
        """How much there is by now. Raises KafkaError where a read would."""
        if log.offline is not None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
        available = self._available.get(wanted)
        if available is not None and available.grow(log):
            return
        committed = self._isolation_level == IsolationLevel.READ_COMMITTED
        end = log.last_stable_offset if committed else log.high_watermark
        if wanted.fetch_offset >= end:
            if wanted.fetch_offset > end or wanted.fetch_offset < log.start_offset:
                raise OffsetOutOfRange(wanted.fetch_offset, log.start_offset, end)
            return
        byte_count = 1
        if self.min_bytes > 1:
            limit = min(wanted.max_bytes, self.min_bytes)
            byte_count = min(limit, len(log.read(wanted.fetch_offset, limit, committed=committed).records))
        self._available[wanted] = _Available(wanted, byte_count)

    def _answer(self) -> None:
        """The wait is over."""
        assert self._later is not None
        self._context.session.on_close.remove(self._stop_waiting)
        self._stop_waiting()
        try:
            self.read()
            response = self.response()
        except Exception as error:  # noqa: BLE001 - it belongs to who waits for the answer, not to who brought the records
            self._later.fail(error)
        else:
            self._later.settle(response)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._session.end_wait(self)

    # -- answering -----------------------------------------------------------------------------------------------

    def response(self) -> FetchResponse:
        """What was read, as one answer; from then on the client of a session knows it."""
        session, request = self._session, self._request
        told = list(self._results.items())
        if len(told) > 1:
            told.sort(key=_order_of)
        if self._missing:
            told += sorted(self._missing.items(), key=_order_of_missing)
        if request.session_epoch == INITIAL_EPOCH:
            for wanted, _ in told:
                session.move_to_end(wanted)
            self._context.cluster.fetch_sessions.keep(session)
        if session.id or self.is_incremental:
            for wanted, data in told:
                self._note_told(wanted, data)
        response = FetchResponse(session_id=session.id, responses=self._by_topic(told))
        if self._context.api_version >= FIRST_VERSION_WITH_NEW_LEADER and any(data.error_code for _, data in told):
            self._name_new_leaders(told, response)
        return response

    def _note_told(self, wanted: Wanted, data: PartitionData) -> None:
        """A partition in error is told again each time, and once more when it is well (FS-09); one that gave data comes later next time (FS-11)."""
        wanted.told_high_watermark = -1 if data.error_code else data.high_watermark
        wanted.told_log_start_offset = data.log_start_offset
        if data.records and self.is_incremental:
            self._session.move_to_end(wanted)

    def _by_topic(self, told: list[tuple[Wanted, PartitionData]]) -> list[FetchResponse.FetchableTopicResponse]:
        """Neighbours of one topic stand together; a topic may come twice (F-19, F-24)."""
        topics: list[FetchResponse.FetchableTopicResponse] = []
        partitions: list[PartitionData] = []
        last: Wanted | None = None
        for wanted, data in told:
            if last is None or wanted.topic_name_or_id != last.topic_name_or_id:
                last = wanted
                partitions = []
                topics.append(FetchResponse.FetchableTopicResponse(topic=wanted.topic, topic_id=wanted.topic_id, partitions=partitions))
            partitions.append(data)
        return topics

    def _name_new_leaders(self, told: list[tuple[Wanted, PartitionData]], response: FetchResponse) -> None:
        """Who asked the wrong broker learns the right one at once (KIP-951, W-21); a follower only which that is."""
        metadata, session = self._context.cluster.metadata, self._context.session
        endpoints: dict[int, FetchResponse.NodeEndpoint] = {}
        for wanted, data in told:
            if data.error_code not in _ERRORS_WITH_NEW_LEADER or wanted.partition is None:
                continue
            leader_id = wanted.partition.leader_id
            data.current_leader = FetchResponse.LeaderIdAndEpoch(leader_id=leader_id, leader_epoch=wanted.partition.leader_epoch)
            leader = metadata.brokers.get(leader_id)
            if leader is not None and not self._is_from_follower:
                host, port = leader.endpoint(session.listener_name, session.local_host, session.local_port)
                endpoints[leader_id] = FetchResponse.NodeEndpoint(node_id=leader_id, host=host, port=port, rack=leader.rack)
        response.node_endpoints = list(endpoints.values())


class _Available:
    """How many bytes a waiting fetch could have of one partition; told from the growth of the segment, where that is possible."""

    __slots__ = ("_base_offset", "_max_bytes", "_size", "byte_count")

    def __init__(self, wanted: Wanted, byte_count: int) -> None:
        self.byte_count = byte_count
        self._max_bytes = wanted.max_bytes
        assert wanted.partition is not None
        segment = wanted.partition.log_to_read.active_segment
        self._base_offset = segment.base_offset
        self._size = segment.size

    def grow(self, log: UnifiedLog) -> bool:
        """Count what was appended since the last time; False where that cannot be told so, and must be read."""
        segment = log.active_segment
        if segment.base_offset != self._base_offset or log.last_stable_offset != log.end_offset or segment.size < self._size:
            return False
        self.byte_count = min(self._max_bytes, self.byte_count + segment.size - self._size)
        self._size = segment.size
        return True


def _diverging_epoch(wanted: Wanted, partition: Partition, log: UnifiedLog) -> PartitionData | None:
    """Where the client's log and this one part (F-21); None where they do not. Raises OffsetOutOfRange."""
    epoch, end_offset = partition.end_offset_of_epoch(wanted.last_fetched_epoch)
    if epoch < 0 or wanted.fetch_offset < log.start_offset:
        raise OffsetOutOfRange(wanted.fetch_offset, log.start_offset, log.end_offset)
    if epoch >= wanted.last_fetched_epoch and end_offset >= wanted.fetch_offset:
        return None
    return PartitionData(
        partition_index=wanted.index,
        high_watermark=log.high_watermark,
        last_stable_offset=log.last_stable_offset,
        log_start_offset=log.start_offset,
        diverging_epoch=FetchResponse.EpochEndOffset(epoch=epoch, end_offset=end_offset),
        aborted_transactions=None,
        records=b"",
    )


def _error(index: int, error: ErrorCode, aborted: list[FetchResponse.AbortedTransaction] | None) -> PartitionData:
    return PartitionData(
        partition_index=index,
        error_code=error,
        high_watermark=-1,
        last_stable_offset=-1,
        log_start_offset=-1,
        diverging_epoch=_NO_EPOCH,
        current_leader=_NO_LEADER,
        snapshot_id=_NO_SNAPSHOT,
        aborted_transactions=aborted,
        preferred_read_replica=-1,
        records=b"",
    )


# Most answers have none of these; one object of each serves them all, and nobody changes it.
_NO_EPOCH = FetchResponse.EpochEndOffset()
_NO_LEADER = FetchResponse.LeaderIdAndEpoch()
_NO_SNAPSHOT = FetchResponse.SnapshotId()
_ERRORS_WITH_NEW_LEADER = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)
_ORDER = attrgetter("order")


def _order_of(item: tuple[Wanted, PartitionData]) -> int:
    return item[0].order


def _order_of_missing(item: tuple[Wanted, PartitionData]) -> tuple[bool, int]:
    """Kafka looks for the topics of all ids before it looks for partitions."""
    return item[1].error_code != ErrorCode.UNKNOWN_TOPIC_ID, item[0].order
