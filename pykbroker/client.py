"""A small blocking client, for the command line, the test kit and compat: it asks one thing at a time, and speaks with any broker.

Versions are negotiated with each broker (KIP-511); leaders and coordinators are looked up, and looked up again when they have moved.
A `Channel` carries frames: over a socket here, straight into a cluster in the test kit.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, Self, TypeVar, cast

from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.header import API_VERSIONS, read_response, request_frame
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FetchRequest,
    FetchResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    Message,
    MetadataRequest,
    MetadataResponse,
    OffsetCommitRequest,
    OffsetFetchRequest,
    ProduceRequest,
    ProduceResponse,
)
from pykbroker.protocol.records import DEFAULT_PROPERTIES, BatchProperties, Header, NewRecord, batches, build_batch
from pykbroker.protocol.wire import Buffer, Malformed, Unencodable

M = TypeVar("M", bound=Message)
T = TypeVar("T")

EARLIEST = -2
LATEST = -1

_LARGEST_RESPONSE = 512 * 1024 * 1024
_WORTH_WAITING = {
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.OFFSET_NOT_AVAILABLE,
    ErrorCode.REBALANCE_IN_PROGRESS,
}
_RETRY_PAUSE_SECONDS = 0.05
_NEWEST_WITH_TOPIC_NAMES: Mapping[type[Message], int] = {
    ProduceRequest: 12,
    FetchRequest: 12,
    OffsetCommitRequest: 9,
    OffsetFetchRequest: 9,
}
"""Later versions name topics by id alone; nothing that this client does needs them."""


class Unreachable(ConnectionError):  # noqa: N818 - a state of the broker, named as what it is
    """No broker could be talked to; says which and why."""


class ConsumedRecord(NamedTuple):
    """A record as it was read. `timestamp` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


class Channel(Protocol):
    """A way to one broker."""

    def exchange(self, frame: Sequence[Buffer]) -> Buffer:
        """Send a request with its size in front; the response, without its size."""

    def close(self) -> None:
        """Let go of it."""


class SocketChannel:
    """A TCP connection."""

    def __init__(self, host: str, port: int, timeout_ms: int) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout_ms / 1000)
        except OSError as error:
            raise Unreachable(f"No broker at {host}:{port}: {error.strerror or error}.") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._name = f"{host}:{port}"

    def exchange(self, frame: Sequence[Buffer]) -> Buffer:
        """One request, one response."""
        try:
            self._socket.sendall(b"".join(frame))
            size = struct.unpack(">i", self._read(4))[0]
            if not 0 < size <= _LARGEST_RESPONSE:
                raise Unreachable(f"{self._name} answers with {size} bytes: is it a Kafka broker, and its listener plaintext?")
            return self._read(size)
        except TimeoutError:
            raise Unreachable(f"{self._name} does not answer.") from None
        except Unreachable:
            raise
        except OSError as error:
            raise Unreachable(f"The connection to {self._name} broke: {error.strerror or error}.") from None

    def _read(self, size: int) -> bytes:
        """Exactly `size` bytes; the buffer grows with what came, not with what was claimed."""
        pieces = []
        left = size
        while left:
            piece = self._socket.recv(min(left, 1 << 20))
            if not piece:
                raise Unreachable(f"{self._name} closed the connection: is it a Kafka broker, and its listener plaintext?")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Node:
    """One broker: the channel to it, and the versions it speaks."""

    def __init__(self, channel: Channel, client_id: str) -> None:
        self.channel = channel
        self._client_id = client_id
        self._correlation_id = 0
        self._versions: dict[int, range] | None = None

    def ask(self, request: Message) -> Message:
        """The answer to a request, in the newest version that both sides know. Raises KafkaError where they have none in common."""
        return self._exchange(request, self._version(request))

    def versions(self) -> dict[int, range]:
        """API key -> the versions this broker speaks."""
        if self._versions is None:
            request = ApiVersionsRequest(client_software_name="pykbroker-client", client_software_version="1")
            newest = ApiVersionsRequest.VERSIONS.stop - 1
            answer = cast("ApiVersionsResponse", self._exchange(request, newest))
            if answer.error_code == ErrorCode.UNSUPPORTED_VERSION:
                answer = cast("ApiVersionsResponse", self._exchange(request, 0))
            check(answer.error_code, "ApiVersions")
            self._versions = {key.api_key: range(key.min_version, key.max_version + 1) for key in answer.api_keys}
        return self._versions

    def _version(self, request: Message) -> int:
        theirs = self.versions().get(request.API_KEY, range(0))
        newest = _NEWEST_WITH_TOPIC_NAMES.get(type(request), request.VERSIONS.stop - 1)
        version: int = min(theirs.stop - 1, newest)
        if version not in theirs or version not in request.VERSIONS:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"the broker does not serve {API_BY_KEY[request.API_KEY].name}")
        return version

    def _exchange(self, request: Message, version: int) -> Message:
        self._correlation_id += 1
        try:
            frame_out = request_frame(request, version, self._correlation_id, self._client_id)
        except Unencodable as error:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"the broker is too old for this: {error}") from error
        frame = self.channel.exchange(frame_out)
        response_class = API_BY_KEY[request.API_KEY].response
        if request.API_KEY == API_VERSIONS and int.from_bytes(frame[4:6], "big") == ErrorCode.UNSUPPORTED_VERSION:
            version = 0  # The one answer that does not come in the version that was asked in (W-03).
        try:
            correlation_id, response = read_response(response_class, version, frame)
        except Malformed as error:
            raise Unreachable(f"The broker's answer to {API_BY_KEY[request.API_KEY].name} cannot be read: {error}") from error
        if correlation_id != self._correlation_id:
            raise Unreachable("The broker answers another request than the one it was sent")
        return response


class Client:
    """A cluster, seen from outside."""

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "pykbroker",
        timeout_ms: int = 30_000,
        create_missing_topics: bool = False,
        channel: Callable[[str, int, int], Channel] = SocketChannel,
    ) -> None:
        self._bootstrap = [_host_and_port(address) for address in bootstrap.split(",") if address.strip()]
        self._client_id = client_id
        self._timeout_ms = timeout_ms
        self.create_missing_topics = create_missing_topics
        self._channel = channel
        self._nodes: dict[tuple[str, int], Node] = {}
        self._brokers: dict[int, tuple[str, int]] = {}
        self._controller_id = -1
        self._leaders: dict[str, dict[int, int]] = {}

    def close(self) -> None:
        """Let go of all connections."""
        for node in self._nodes.values():
            node.channel.close()
        self._nodes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Whom to ask.

    def ask(self, request: Message, answer: type[M], node_id: int | None = None) -> M:
        """The answer of a certain broker, or of any."""
        node = self._node(node_id)
        try:
            response = node.ask(request)
        except Unreachable:
            self._forget(node)
            raise
        assert isinstance(response, answer)
        return response

    def ask_controller(self, request: Message, answer: type[M]) -> M:
        """The answer of the broker that changes topics and configs."""
        if self._controller_id < 0:
            self.metadata([])
        return self.ask(request, answer, self._controller_id if self._controller_id >= 0 else None)

    def ask_coordinator(self, group: str, request: Message, answer: type[M]) -> M:
        """The answer of a group's coordinator."""
        return self.ask(request, answer, self.coordinator(group))

    def brokers(self) -> Mapping[int, tuple[str, int]]:
        """Node id -> host and port, of every broker."""
        self.metadata([])
        return self._brokers

    def metadata(self, topics: Sequence[str] | None) -> MetadataResponse:
        """What the cluster says of some topics, or of all (None)."""
        wanted = None if topics is None else [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
        request = MetadataRequest(topics=wanted, allow_auto_topic_creation=self.create_missing_topics and bool(topics))
        response = self.ask(request, MetadataResponse)
        self._brokers = {broker.node_id: (broker.host, broker.port) for broker in response.brokers}
        self._controller_id = response.controller_id
        for topic in response.topics:
            if topic.error_code == ErrorCode.NONE and topic.name is not None:
                self._leaders[topic.name] = {partition.partition_index: partition.leader_id for partition in topic.partitions}
        return response

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic. Raises KafkaError where there is no such topic."""

        def look_up() -> list[int]:
            for found in self.metadata([topic]).topics:
                check(found.error_code, f"topic {topic}")
            return sorted(self._leaders[topic])

        return self.until_it_works(look_up)

    def leader(self, topic: str, partition: int) -> int:
        """The node that leads a partition. Raises KafkaError where there is no such partition, or nobody leads it."""
        if partition not in self._leaders.get(topic, {}) and partition not in self.partitions(topic):
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {topic} has no partition {partition}")
        leader = self._leaders[topic][partition]
        if leader < 0:
            raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"partition {partition} of topic {topic} has no leader at present")
        return leader

    def coordinator(self, group: str) -> int:
        """The node that coordinates a group; waits while the cluster has none yet."""

        def look_up() -> int:
            request = FindCoordinatorRequest(key=group, key_type=0, coordinator_keys=[group])
            node = self._node(None)
            if 4 not in node.versions().get(request.API_KEY, range(0)):
                request.coordinator_keys = []
            else:
                request.key = ""
            answer = cast("FindCoordinatorResponse", node.ask(request))
            found = answer.coordinators[0] if answer.coordinators else answer
            check(found.error_code, f"group {group}")
            self._brokers[found.node_id] = (found.host, found.port)
            return found.node_id

        return self.until_it_works(look_up)

    def until_it_works(self, what: Callable[[], T]) -> T:
        """Do it again while the broker says that it will work later, or that somebody else is to be asked; not forever."""
        give_up_at = time.monotonic() + self._timeout_ms / 1000
        while True:
            try:
                return what()
            except KafkaError as error:
                is_being_made = self.create_missing_topics and error.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                if not (is_being_made or error.error_code in _WORTH_WAITING) or time.monotonic() > give_up_at:
                    raise
            self._leaders.clear()
            time.sleep(_RETRY_PAUSE_SECONDS)

    def _node(self, node_id: int | None) -> Node:
        if node_id is None:
            for address in [*self._nodes, *self._bootstrap]:
                try:
                    return self._connected(address)
                except Unreachable as error:
                    reason = error
            raise reason
        if node_id not in self._brokers:
            self.metadata([])
        if node_id not in self._brokers:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, f"the cluster has no broker {node_id}")
        return self._connected(self._brokers[node_id])

    def _connected(self, address: tuple[str, int]) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = Node(self._channel(*address, self._timeout_ms), self._client_id)
        return node

    def _forget(self, broken: Node) -> None:
        broken.channel.close()
        self._nodes = {address: node for address, node in self._nodes.items() if node is not broken}

    # Records.

    def produce(self, topic: str, partition: int, records: Sequence[NewRecord], properties: BatchProperties = DEFAULT_PROPERTIES) -> int:
        """Write records in one batch, and wait until they are as safe as the topic promises; the offset of the first."""
        batch = build_batch(records, properties)

        def send() -> int:
            data = ProduceRequest.PartitionProduceData(index=partition, records=batch)
            request = ProduceRequest(
                acks=-1, timeout_ms=self._timeout_ms, topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])]
            )
            answer = self.ask(request, ProduceResponse, self.leader(topic, partition))
            written = answer.responses[0].partition_responses[0]
            check(written.error_code, written.error_message or f"partition {partition} of topic {topic}")
            return written.base_offset

        return self.until_it_works(send)

    def offset(self, topic: str, partition: int, timestamp: int) -> int:
        """The first offset at or after a timestamp, or EARLIEST, or LATEST; the end where there is none."""
        found = self.offset_or_none(topic, partition, timestamp)
        return self.offset(topic, partition, LATEST) if found is None else found

    def offset_or_none(self, topic: str, partition: int, timestamp: int) -> int | None:
        """The first offset at or after a timestamp; None where every record is older."""

        def look_up() -> int | None:
            wanted = ListOffsetsRequest.ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
            request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[wanted])])
            answer = self.ask(request, ListOffsetsResponse, self.leader(topic, partition)).topics[0].partitions[0]
            check(answer.error_code, f"partition {partition} of topic {topic}")
            return answer.offset if answer.offset >= 0 else None

        return self.until_it_works(look_up)

    def fetch(self, topic: str, offsets: Mapping[int, int], max_wait_ms: int = 500) -> "Fetched":
        """Records from the given offsets on (partition -> offset), of all partitions that one broker after the other leads."""
        fetched = Fetched([], dict(offsets))
        by_leader: dict[int, list[int]] = {}
        for partition in offsets:
            by_leader.setdefault(self.leader(topic, partition), []).append(partition)
        wait_ms = max_wait_ms // max(len(by_leader), 1)
        for leader, partitions in by_leader.items():
            self._fetch_from(leader, topic, {partition: offsets[partition] for partition in partitions}, wait_ms, fetched)
        return fetched

    def _fetch_from(self, leader: int, topic: str, offsets: Mapping[int, int], max_wait_ms: int, into: "Fetched") -> None:
        wanted = [
            FetchRequest.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1 << 20)
            for partition, offset in offsets.items()
        ]
        request = FetchRequest(
            max_wait_ms=max_wait_ms, min_bytes=1, max_bytes=16 << 20, topics=[FetchRequest.FetchTopic(topic=topic, partitions=wanted)]
        )
        answer = self.ask(request, FetchResponse, leader)
        check(answer.error_code, f"topic {topic}")
        for data in (data for one in answer.responses for data in one.partitions):
            check(data.error_code, f"partition {data.partition_index} of topic {topic}")
            from_offset = offsets[data.partition_index]
            for batch in batches(data.records or b""):
                into.positions[data.partition_index] = max(from_offset, batch.next_offset)
                if not batch.is_control:
                    into.records.extend(
                        ConsumedRecord(topic, data.partition_index, *record) for record in batch.records() if record.offset >= from_offset
                    )

    def read(self, topic: str, partitions: Sequence[int] | None = None) -> Iterator[ConsumedRecord]:
        """Every record that is there now, partition by partition."""
        for partition in self.partitions(topic) if partitions is None else partitions:
            position, end = self.offset(topic, partition, EARLIEST), self.offset(topic, partition, LATEST)
            while position < end:
                fetched = self.fetch(topic, {partition: position})
                if fetched.positions[partition] == position:
                    return
                position = fetched.positions[partition]
                yield from (record for record in fetched.records if record.offset < end)


class Fetched(NamedTuple):
    """What a fetch brought, and where the next one goes on."""

    records: list[ConsumedRecord]
    positions: dict[int, int]


def partition_of(key: bytes, partition_count: int) -> int:
    """The partition that the Java client gives a key: murmur2, made positive, modulo."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count


def murmur2(data: bytes) -> int:
    """The 32-bit hash MurmurHash2 with the seed that Kafka's clients agree on."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * multiplier & mask
        mixed = (mixed ^ mixed >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ mixed
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.strip().rpartition(":")
    if not colon or not port.isdigit():
        raise Unreachable(f"{address.strip()} is not an address; write HOST:PORT.")
    return host.strip("[]"), int(port)


def check(error_code: int, what: str) -> None:
    """Raise KafkaError where an answer says that something failed; `what` is the broker's sentence, or else what was asked of it."""
    if error_code != ErrorCode.NONE:
        raise KafkaError(ErrorCode(error_code), what)
