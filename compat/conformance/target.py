"""The broker under test, as a check sees it: ask it anything, and have topics, records and groups without ado. What a check made is taken away after it.

The shorthands (`new_topic`, `produce`, `fetch`, …) insist on success; a check of the API itself asks with `ask`, and looks at the answer.
"""

import contextlib
import itertools
import math
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pykbroker.compat.connection import Connection, Exchange
from pykbroker.compat.expectations import NotServed, Unexpected, expect, expect_that
from pykbroker.compat.security import PLAINTEXT, Security
from pykbroker.protocol.codec import encode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    ConsumerGroupDescribeRequest,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteGroupsRequest,
    DeleteTopicsRequest,
    DescribeGroupsRequest,
    FetchRequest,
    FetchResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    IncrementalAlterConfigsRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListOffsetsRequest,
    ListOffsetsResponse,
    Message,
    MetadataRequest,
    MetadataResponse,
    ProduceRequest,
    ProduceResponse,
    SyncGroupRequest,
)
from pykbroker.protocol.records import DEFAULT_PROPERTIES, BatchProperties, NewRecord, Record, batches, build_batch
from pykbroker.protocol.wire import Malformed, Unencodable

if TYPE_CHECKING:
    from pykbroker.compat.switch import Switch
    from pykbroker.protocol.messages import Request

R = TypeVar("R", bound=Message)
T = TypeVar("T")

EARLIEST, LATEST, MAX_TIMESTAMP = -2, -1, -3
ALL_REPLICAS = -1
GROUP, TRANSACTION = 0, 1
NOBODY = -1
PATIENCE_S = 20.0
RESTART_S = 60.0
_KEPT_EXCHANGES = 6
_DELETE = 1
_COORDINATOR_TO_COME = (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR)
_CONSUMER_GROUP_DESCRIBE = 69


class Topic(NamedTuple):
    """A topic that a check made."""

    name: str
    topic_id: bytes
    partitions: int


class Member(NamedTuple):
    """A member of a classic group, in the generation it joined."""

    group_id: str
    member_id: str
    generation_id: int
    leader_id: str
    protocol_name: str | None


class Coordinator(NamedTuple):
    """What FindCoordinator answered, in whatever version."""

    error_code: int
    node_id: int

    @classmethod
    def of(cls, found: FindCoordinatorResponse | FindCoordinatorResponse.Coordinator) -> "Coordinator":
        """That which is on top, or of one key."""
        return cls(found.error_code, found.node_id)


class Target:
    """One broker (of a cluster, perhaps), reached at `host`:`port`.

    Of a cluster's other brokers a check need not know: new topics are led by this one, and groups and transactional ids are such as it coordinates.
    """

    def __init__(self, host: str, port: int, security: Security = PLAINTEXT, switch: "Switch | None" = None) -> None:
        self.host = host
        self.port = port
        self.security = security
        self._switch = switch
        self.exchanges: list[Exchange] = []
        self.served: dict[int, range] = {}
        self.node_id = NOBODY
        """Its own id, by `look`; NOBODY where Metadata does not show the address at which it was reached."""
        self.brokers: list[int] = []
        self.time_is_over_at = math.inf
        """By time.monotonic(): from then on nothing is asked any more, so that no broker can hang who puts it to the checks."""
        self._connections: list[Connection] = []
        self._shared: Connection | None = None
        self._topics: list[str] = []
        self._groups: list[str] = []
        self._configs: list[tuple[int, str, str]] = []
        self._afterwards: list[Callable[[], object]] = []
        self._down: set[int] = set()
        self._numbers = itertools.count(1)
        self._prefix = f"c{uuid.uuid4().hex[:8]}"

    def look(self) -> None:
        """Ask what is served, and who the brokers are."""
        self.served = {}
        try:
            answer = self.ask(ApiVersionsRequest(client_software_name="conformance", client_software_version="1"), 3)
        except (Unexpected, Malformed):  # a broker that knows older versions only answers in version 0, or not at all (KIP-511)
            self.close()
            self._shared = None
            answer = self.ask(ApiVersionsRequest(), 0)
        self.served = {one.api_key: range(one.min_version, one.max_version + 1) for one in answer.api_keys}
        self._find_itself()

    def serves(self, request: type[Message] | Message, version: int) -> bool:
        """Whether it says that it serves this API in this version; one that was not looked at may."""
        return not self.served or version in self.served.get(request.API_KEY, ())

    def newest(self, request: type[Message] | Message, at_most: int, at_least: int = 0) -> int:
        """The newest version from `at_least` to `at_most` that the broker serves as well, and that has the fields of the request, where one is given.

        Where there is none, asking in `at_most` will tell so.
        """
        served = reversed(self.versions(request, at_least, at_most))
        return next((version for version in served if _fits(request, version)), at_most)

    def versions(self, request: type[Message] | Message, first: int, last: int) -> list[int]:
        """Those versions of an API that the broker serves."""
        served = self.served.get(request.API_KEY, range(0))
        return [version for version in request.VERSIONS if version in served and first <= version <= last]

    def _find_itself(self) -> None:
        versions = self.served.get(MetadataRequest.API_KEY, range(0))
        if not versions:
            return
        nothing = MetadataRequest(topics=[])  # versions before 4 have no allow_auto_topic_creation
        try:
            brokers = self.ask(nothing, min(versions[-1], MetadataRequest.VERSIONS[-1])).brokers
        except (Unexpected, Malformed):  # it cannot tell; the checks of Metadata will find out why
            self.close()
            return
        self.brokers = sorted(one.node_id for one in brokers)
        at_port = [one for one in brokers if one.port == self.port]
        named = [one for one in at_port if one.host == self.host] or at_port
        if len(brokers) == 1 or len(named) == 1:
            self.node_id = (named or brokers)[0].node_id

    # -- asking --------------------------------------------------------------------------------------------------

    def connect(
        self, broker_id: int | None = None, *, address: tuple[str, int] | None = None, security: Security | None = None
    ) -> Connection:
        """A connection of the check's own: to that broker of the cluster, to that listener, or to where the suite itself has its own."""
        host, port = address or (self.host, self.port)
        if broker_id is not None:
            host, port = next((broker.host, broker.port) for broker in self.metadata().brokers if broker.node_id == broker_id)
        made = self._connected(host, port, security)
        self._connections.append(made)
        return made

    def ask(self, request: "Request[R]", version: int) -> R:
        """Ask on the shared connection; it is made anew where a check before made the broker close it."""
        if self._shared is None:
            self._shared = self._connected(self.host, self.port)
        try:
            return self._shared.ask(request, version)
        except (Unexpected, NotServed):
            self._shared.close()
            self._shared = None
            raise

    def ask_newest(self, request: "Request[R]", at_most: int, at_least: int = 0) -> R:
        """Ask in the `newest` of these versions."""
        return self.ask(request, self.newest(request, at_most, at_least))

    def _connected(self, host: str, port: int, security: Security | None = None) -> Connection:
        return Connection(host, port, self._keep, self._deadline, security or self.security, serves=self.serves)

    def _deadline(self) -> float:
        return self.time_is_over_at

    def _keep(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        del self.exchanges[:-_KEPT_EXCHANGES]

    # -- names and topics ----------------------------------------------------------------------------------------

    def new_name(self, what: str = "name") -> str:
        """A name that nobody else uses."""
        return f"{self._prefix}-{what}-{next(self._numbers)}"

    def new_group(self) -> str:
        """A group id; the group is deleted after the check if it is there."""
        name = self._coordinated_here("group", GROUP)
        self._groups.append(name)
        return name

    def new_transactional_id(self) -> str:
        """A transactional id."""
        return self._coordinated_here("transaction", TRANSACTION)

    def _coordinated_here(self, what: str, key_type: int) -> str:
        """A new name whose coordinator is the broker under test; any where it is alone."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            name = self.new_name(what)
            if not self.has_neighbours:
                return name
            found = self.find_coordinator(name, key_type)
            if found.error_code == ErrorCode.NONE and found.node_id == self.node_id:
                return name
            if time.monotonic() > deadline:
                raise Unexpected(f"the broker as a coordinator for a {what}", "some names", found)
            time.sleep(0.05 if found.error_code else 0)

    def forget_group_after(self, group_id: str) -> None:
        """Delete that group after the check."""
        self._groups.append(group_id)

    def new_topic(self, partitions: int = 1, **configs: str) -> Topic:
        """A topic with one replica, led by this broker; configs with `_` for `.`: `new_topic(cleanup_policy="compact")`."""
        topic = self.led_here(self.new_name("topic"), partitions)
        topic.configs = [
            CreateTopicsRequest.CreatableTopicConfig(name=name.replace("_", "."), value=value) for name, value in configs.items()
        ]
        answer = self.ask_newest(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
        expect(answer.topics[0], error_code=ErrorCode.NONE)
        self._topics.append(topic.name)
        self.wait_for_leaders(topic.name, partitions)
        return Topic(topic.name, self.topic_id_of(answer.topics[0]), partitions)

    def topic_id_of(self, created: CreateTopicsResponse.CreatableTopicResult) -> bytes:
        """The id of a new topic, which CreateTopics tells from version 7 on and Metadata from 10 on; nothing but zeros where both are older."""
        if any(created.topic_id):
            return created.topic_id
        there = eventually(
            lambda: self.metadata(created.name).topics[0],
            lambda found: found.error_code == ErrorCode.NONE,
            "the new topic is in the metadata",
        )
        return there.topic_id

    def led_here(self, name: str, partitions: int = 1) -> CreateTopicsRequest.CreatableTopic:
        """What to ask for so that a topic has one replica, on the broker under test."""
        topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
        if self.has_neighbours:
            here = CreateTopicsRequest.CreatableReplicaAssignment
            topic.num_partitions = topic.replication_factor = -1
            topic.assignments = [here(partition_index=index, broker_ids=[self.node_id]) for index in range(partitions)]
        return topic

    @property
    def has_neighbours(self) -> bool:
        """Whether the broker under test is one of several, and known among them."""
        return len(self.brokers) > 1 and self.node_id != NOBODY

    def forget_after(self, topic_name: str) -> None:
        """Delete that topic after the check."""
        self._topics.append(topic_name)

    def unset_after(self, resource_type: int, resource_name: str, *names: str) -> None:
        """Take these configs from that broker, group, … after the check; a topic's go with the topic."""
        self._configs += [(resource_type, resource_name, name) for name in names]

    def afterwards(self, action: Callable[[], object]) -> None:
        """Do that after the check, the last first."""
        self._afterwards.append(action)

    def wait_for_leaders(self, name: str, partitions: int) -> None:
        """A new topic is produced to and asked for its offsets only when its leaders have taken office (W-27)."""
        deadline = time.monotonic() + PATIENCE_S
        wanted = [ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=EARLIEST) for index in range(partitions)]
        request = ListOffsetsRequest(topics=[ListOffsetsRequest.ListOffsetsTopic(name=name, partitions=wanted)])
        while True:
            answer = self.ask_newest(request, 5)
            if all(one.error_code == 0 for one in answer.topics[0].partitions):
                return
            if time.monotonic() > deadline:
                raise Unexpected("the leaders of a new topic", "in office", answer.topics[0].partitions)
            time.sleep(0.02)

    def metadata(self, *names: str, version: int | None = None) -> MetadataResponse:
        """Metadata of these topics, without making them; of all where none is named."""
        topics = [MetadataRequest.MetadataRequestTopic(name=name) for name in names] if names else None
        request = MetadataRequest(topics=topics, allow_auto_topic_creation=False)
        return self.ask(request, self.newest(request, 12) if version is None else version)

    def delete_topic(self, name: str) -> None:
        """Delete a topic, and insist on it."""
        answer = self.ask_newest(DeleteTopicsRequest(topic_names=[name], timeout_ms=10_000), 5)
        expect(answer.responses[0], error_code=ErrorCode.NONE)

    # -- records -------------------------------------------------------------------------------------------------

    def produce(
        self,
        topic: Topic,
        values: Sequence[bytes] = (b"value",),
        *,
        partition: int = 0,
        key: bytes | None = b"key",
        timestamp: int | None = None,
        properties: BatchProperties = DEFAULT_PROPERTIES,
    ) -> int:
        """Append one batch; the offset of its first record."""
        now = int(time.time() * 1000) if timestamp is None else timestamp
        batch = build_batch([NewRecord(value, key, timestamp=now) for value in values], properties)
        answer = self.produce_batch(topic, batch, partition=partition)
        expect(answer, error_code=ErrorCode.NONE)
        return answer.base_offset

    def produce_batch(
        self,
        topic: Topic,
        records: bytes | None,
        *,
        partition: int = 0,
        version: int | None = None,
        acks: int = ALL_REPLICAS,
        timeout_ms: int = 10_000,
    ) -> ProduceResponse.PartitionProduceResponse:
        """Send these bytes for one partition; what is answered for it."""
        version = self.newest(ProduceRequest, 12) if version is None else version
        answer = self.ask(produce_request(topic, records, partition, acks, timeout_ms), version)
        return answer.responses[0].partition_responses[0]

    def fetch(
        self,
        topic: Topic,
        offset: int = 0,
        *,
        partition: int = 0,
        version: int | None = None,
        max_wait_ms: int = 0,
        max_bytes: int = 1 << 20,
    ) -> FetchResponse.PartitionData:
        """Fetch from one partition, without a session; what is answered for it."""
        part = FetchRequest.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=max_bytes)
        topics = [FetchRequest.FetchTopic(topic=topic.name, topic_id=topic.topic_id, partitions=[part])]
        version = self.newest(FetchRequest, 12) if version is None else version
        answer = self.ask(FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, max_bytes=1 << 24, topics=topics), version)
        return answer.responses[0].partitions[0]

    def records(self, topic: Topic, partition: int = 0) -> list[Record]:
        """Everything in a partition."""
        found: list[Record] = []
        offset = self.list_offsets(topic, partition=partition, timestamp=EARLIEST).offset
        while True:
            answer = self.fetch(topic, offset, partition=partition)
            expect(answer, error_code=ErrorCode.NONE)
            fetched = list(batches(answer.records or b""))
            if not fetched:
                return found
            for batch in fetched:
                found += [record for record in batch.records() if record.offset >= offset]
                offset = batch.next_offset

    def list_offsets(
        self, topic: Topic, *, partition: int = 0, timestamp: int = LATEST, version: int | None = None
    ) -> ListOffsetsResponse.ListOffsetsPartitionResponse:
        """ListOffsets of one partition; what is answered for it."""
        part = ListOffsetsRequest.ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
        topics = [ListOffsetsRequest.ListOffsetsTopic(name=topic.name, partitions=[part])]
        version = self.newest(ListOffsetsRequest, 7) if version is None else version
        answer = self.ask(ListOffsetsRequest(replica_id=NOBODY, topics=topics), version)
        return answer.topics[0].partitions[0]

    # -- groups --------------------------------------------------------------------------------------------------

    def find_coordinator(self, key: str, key_type: int = GROUP) -> Coordinator:
        """Who coordinates a group or a transactional id."""
        request = FindCoordinatorRequest
        version = self.newest(request, 4, at_least=1 if key_type else 0)
        if version < 4:
            return Coordinator.of(self.ask(request(key=key, key_type=key_type), version))
        return Coordinator.of(self.ask(request(coordinator_keys=[key], key_type=key_type), version).coordinators[0])

    def wait_for_coordinator(self, group_id: str) -> None:
        """Until the group has a coordinator that has loaded: on a new cluster a broker is named before it has taken office."""
        eventually(lambda: self._coordinated(group_id), lambda found: found, "the group's coordinator is there and has loaded")

    def _coordinated(self, group_id: str) -> bool:
        found = self.find_coordinator(group_id)
        if found.error_code != ErrorCode.NONE:
            return False
        elsewhere = self.has_neighbours and found.node_id != self.node_id
        if elsewhere or DescribeGroupsRequest.API_KEY not in self.served:
            return True
        return self.ask_newest(DescribeGroupsRequest(groups=[group_id]), 5).groups[0].error_code not in _COORDINATOR_TO_COME

    def join(self, group_id: str, *, member_id: str = "", session_timeout_ms: int = 30_000, metadata: bytes = b"") -> Member:
        """Join a classic group alone (protocol type `consumer`, protocol `range`), the two steps of KIP-394 included."""
        self.wait_for_coordinator(group_id)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            request = JoinGroupRequest(
                group_id=group_id,
                member_id=member_id,
                protocol_type="consumer",
                session_timeout_ms=session_timeout_ms,
                rebalance_timeout_ms=session_timeout_ms,
                protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=metadata)],
            )
            answer = self.ask_newest(request, 7)
            if answer.error_code == ErrorCode.NONE:
                return Member(group_id, answer.member_id, answer.generation_id, answer.leader, answer.protocol_name)
            expect_that(time.monotonic() < deadline, f"a member can join; it is answered {answer!r}")
            if answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                member_id = answer.member_id
            else:
                time.sleep(0.05)

    def stable_group(self, group_id: str | None = None) -> Member:
        """A group of one member that has its assignment."""
        member = self.join(group_id or self.new_group())
        assignment = SyncGroupRequest.SyncGroupRequestAssignment(member_id=member.member_id, assignment=b"assigned")
        request = SyncGroupRequest(
            group_id=member.group_id, generation_id=member.generation_id, member_id=member.member_id, assignments=[assignment]
        )
        expect(self.ask_newest(request, 3), error_code=ErrorCode.NONE)
        return member

    # -- brokers that are stopped and started --------------------------------------------------------------------

    @property
    def switch(self) -> "Switch":
        """Whoever stops and starts brokers; only for checks that need `restarts`."""
        expect_that(self._switch is not None, "somebody can stop and start the broker")
        assert self._switch is not None
        return self._switch

    def restart(self) -> None:
        """Stop the broker under test, and start it; back when it is at work. Connections of before are gone."""
        self._down.add(self.node_id)
        self.switch.stop(self.node_id)
        self._start_again(self.node_id)

    def crash(self) -> None:
        """The same, but its process is killed."""
        self._down.add(self.node_id)
        self.switch.kill(self.node_id)
        self._start_again(self.node_id)

    def stop_neighbour(self) -> int:
        """Stop another broker of the cluster until the check is over; its id."""
        neighbour = self.neighbour()
        self.afterwards(lambda: self._start_again(neighbour))
        self._down.add(neighbour)
        self.switch.stop(neighbour)
        self._wait_for_brokers([one for one in self.brokers if one != neighbour])
        return neighbour

    def kill_neighbour(self) -> int:
        """The same, but its process is killed, and back at once: the cluster does not know yet."""
        neighbour = self.neighbour()
        self.afterwards(lambda: self._start_again(neighbour))
        self._down.add(neighbour)
        self.switch.kill(neighbour)
        return neighbour

    def neighbour(self) -> int:
        """The broker that `stop_neighbour` and `kill_neighbour` are about."""
        return max(one for one in self.brokers if one != self.node_id)

    def bring_back(self, node_id: int) -> None:
        """Start a broker that was stopped or killed, where nobody did yet."""
        if node_id in self._down:
            self._down.remove(node_id)
            self.switch.start(node_id)

    def _start_again(self, node_id: int) -> None:
        self.time_is_over_at = max(self.time_is_over_at, time.monotonic() + RESTART_S)
        self.close()
        self.bring_back(node_id)
        self._wait_for_brokers(self.brokers)

    def _wait_for_brokers(self, wanted: Sequence[int]) -> None:
        """Until the broker under test answers, and knows just these to be there."""
        deadline = time.monotonic() + RESTART_S
        while True:
            try:
                found = sorted(one.node_id for one in self.metadata().brokers)
            except (OSError, Unexpected, Malformed):
                found = []
            if found == wanted:
                return
            if time.monotonic() > deadline:
                raise Unexpected("the brokers", wanted, found)
            time.sleep(0.05)

    # -- cleaning up ---------------------------------------------------------------------------------------------

    def clean_up(self) -> None:
        """Take away what the check made; whatever fails here is not the check's business."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        topics, self._topics = list(dict.fromkeys(self._topics)), []  # Kafka deletes no topic that a request names twice
        groups, self._groups = list(dict.fromkeys(self._groups)), []
        configs, self._configs = self._configs, []
        afterwards, self._afterwards = self._afterwards, []
        for action in reversed(afterwards):
            with contextlib.suppress(Exception):
                action()
        try:
            if topics:
                self.ask_newest(DeleteTopicsRequest(topic_names=topics, timeout_ms=10_000), 5)
            if groups:
                self._delete_groups(groups)
            for resource_type, resource_name, name in configs:
                change = IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=_DELETE)
                one = IncrementalAlterConfigsRequest.AlterConfigsResource(
                    resource_type=resource_type, resource_name=resource_name, configs=[change]
                )
                self.ask_newest(IncrementalAlterConfigsRequest(resources=[one]), 1)
        except Exception:  # noqa: BLE001 - the next check has a new connection, and finds by itself what the broker is like
            self.close()

    def _delete_groups(self, groups: list[str]) -> None:
        """Whoever is a member leaves first, so that no session of a check is waited for."""
        for found in self.ask_newest(DescribeGroupsRequest(groups=groups), 5).groups:
            self._leave(found.group_id, [one.member_id for one in found.members])
        if _CONSUMER_GROUP_DESCRIBE in self.served:
            self._leave_consumer_groups(groups)
        self.ask_newest(DeleteGroupsRequest(groups_names=groups), 2)

    def _leave_consumer_groups(self, groups: list[str]) -> None:
        """The same of groups by KIP-848, which the describing of classic groups does not show; LeaveGroup takes members of either kind out of them."""
        for found in self.ask(ConsumerGroupDescribeRequest(group_ids=groups), 0).groups:
            self._leave(found.group_id, [one.member_id for one in found.members])

    def _leave(self, group_id: str, member_ids: list[str]) -> None:
        if self.versions(LeaveGroupRequest, 3, 5) and member_ids:
            members = [LeaveGroupRequest.MemberIdentity(member_id=member_id) for member_id in member_ids]
            self.ask_newest(LeaveGroupRequest(group_id=group_id, members=members), 3)
            return
        for member_id in member_ids:
            self.ask_newest(LeaveGroupRequest(group_id=group_id, member_id=member_id), 2)

    def close(self) -> None:
        """Let go of the broker."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None


def produce_request(
    topic: Topic, records: bytes | None, partition: int = 0, acks: int = ALL_REPLICAS, timeout_ms: int = 10_000
) -> ProduceRequest:
    """A Produce with one batch for one partition, by name and by id."""
    data = ProduceRequest.PartitionProduceData(index=partition, records=records)
    topics = [ProduceRequest.TopicProduceData(name=topic.name, topic_id=topic.topic_id, partition_data=[data])]
    return ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=topics)


def _fits(request: type[Message] | Message, version: int) -> bool:
    """Whether a version has every field that a request makes use of."""
    if isinstance(request, type):
        return True
    try:
        encode(request, version)
    except Unencodable:
        return False
    return True


def eventually(look: Callable[[], T], holds: Callable[[T], bool], sentence: str) -> T:
    """What `look` finds as soon as it is as it should be; Unexpected where that does not come to pass in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds(found := look()):
        if time.monotonic() > deadline:
            raise Unexpected(sentence, "true after a while", found)
        time.sleep(0.02)
    return found
