"""A whole cluster on virtual clocks and memory files, asked through its wire format: what a test sees is what a client would."""

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

import pytest

from pykbroker.clock import VirtualClock
from pykbroker.cluster import Cluster
from pykbroker.config import Configuration
from pykbroker.later import Later
from pykbroker.protocol import messages
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.messages import (
    CreateTopicsRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupResponse,
    Message,
    OffsetCommitRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
    SyncGroupResponse,
)
from pykbroker.protocol.records import NewRecord, Record, batches, build_batch
from pykbroker.session import Session
from pykbroker.storage.files import Files
from pykbroker.storage.memory_files import MemoryFiles

T = TypeVar("T")


class Reply:
    """An answer, which may not be there yet. Its message's fields can be read as its own; while it is parked that fails the test."""

    def __init__(self, answer: object, read: Callable[[object], Message]) -> None:
        self._answer = answer
        self._read = read

    @property
    def settled(self) -> bool:
        """Whether it is there."""
        return not isinstance(self._answer, Later) or self._answer.settled

    @property
    def response(self) -> Message:
        """The message."""
        assert self.settled, "the request is still parked"
        return self._read(self._answer.value if isinstance(self._answer, Later) else self._answer)

    def __getattr__(self, name: str) -> object:
        return getattr(self.response, name)


class GroupsKit:
    """One broker, its clock, and what clients do with groups."""

    def __init__(
        self, *, files: Files | None = None, seed: int = 1, offload: Callable[..., "Later[None]"] | None = None, **settings: str
    ) -> None:
        self.clock = VirtualClock()
        self.files = files or MemoryFiles(crashable=True)
        self.settings = {name.replace("_", "."): value for name, value in settings.items()}
        self.random = Random(seed)
        self.offload = offload or inline
        self.start()

    def start(self) -> None:
        """A new process on the same files."""
        self.cluster = Cluster(
            clock=self.clock,
            waits=self.clock,
            files=self.files,
            config=Configuration(self.settings),
            random=self.random,
            offload=self.offload,
        )
        self.cluster.start()
        self.session = Session(self.cluster.broker)

    def restart(self) -> None:
        """A clean stop, and a new start."""
        self.cluster.stop()
        self.start()

    def ask(self, request: Message, version: int, client_id: str | None = "ck") -> Message:
        """The answer to a request that is answered at once."""
        return self.send(request, version, client_id).response

    def send(self, request: Message, version: int, client_id: str | None = "ck") -> Reply:
        """The answer to a request, which may be parked."""
        frame = request_frame(request, version, 7, client_id)
        answer = self.cluster.handle(self.session, bytearray(b"".join(bytes(piece) for piece in frame)[4:]))
        response_class = getattr(messages, type(request).__name__.replace("Request", "Response"))

        def read(settled: object) -> Message:
            assert isinstance(settled, list), f"the connection was closed: {settled}"
            correlation_id, response = read_response(response_class, version, b"".join(bytes(piece) for piece in settled)[4:])
            assert correlation_id == 7
            return response

        return Reply(answer, read)

    # -- what the tests do often ---------------------------------------------------------------------------------

    def find_coordinator(self, *keys: str, key_type: int = 0, version: int = 6) -> Message:
        """FindCoordinator; the first one makes `__consumer_offsets`."""
        return self.ask(messages.FindCoordinatorRequest(key_type=key_type, coordinator_keys=list(keys)), version)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """A topic."""
        topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
        making = self.send(CreateTopicsRequest(topics=[topic], timeout_ms=1000), 7)
        self.clock.advance()  # one with very many partitions is made in slices
        created = making.response
        assert created.topics[0].error_code == ErrorCode.NONE, created

    def member(self, group: str, **settings: object) -> "GroupMember":
        """A client that means to join a group."""
        return GroupMember(self, group, **settings)  # type: ignore[arg-type]

    def commit(self, group: str, offsets: dict[tuple[str, int], int], version: int = 9, **fields: object) -> Message:
        """OffsetCommit, by default from nobody in particular."""
        return self.ask(self.commit_request(group, offsets, version, **fields), version)

    def commit_request(self, group: str, offsets: dict[tuple[str, int], int], version: int = 9, **fields: object) -> OffsetCommitRequest:
        """An OffsetCommit of (topic, partition) -> offset."""
        topics: dict[str, list[OffsetCommitRequest.OffsetCommitRequestPartition]] = {}
        for (name, index), offset in offsets.items():
            partition = OffsetCommitRequest.OffsetCommitRequestPartition(
                partition_index=index, committed_offset=offset, committed_metadata="m"
            )
            topics.setdefault(name, []).append(partition)
        asked = [
            OffsetCommitRequest.OffsetCommitRequestTopic(
                name=name, topic_id=self.topic_id(name) if version >= 10 else bytes(16), partitions=ps
            )
            for name, ps in topics.items()
        ]
        return OffsetCommitRequest(group_id=group, topics=asked, **fields)  # type: ignore[arg-type]

    def fetch_request(self, group: str) -> OffsetFetchRequest:
        """An OffsetFetch of everything, for v8 and v9."""
        return OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group, topics=None)])

    def list_request(self) -> messages.ListGroupsRequest:
        """A ListGroups of all groups."""
        return messages.ListGroupsRequest()

    def delete_request(self, *groups: str) -> messages.DeleteGroupsRequest:
        """A DeleteGroups."""
        return messages.DeleteGroupsRequest(groups_names=list(groups))

    def batch_of(self, *records: tuple[bytes, bytes | None]) -> bytes:
        """A record batch of these keys and values."""
        return build_batch([NewRecord(value, key) for key, value in records])

    def records_of(self, group: str) -> list[Record]:
        """The records in `__consumer_offsets` whose key names a group."""
        partition = self.cluster.metadata.topic("__consumer_offsets").partitions[self.cluster.groups.partition_of(group)]  # type: ignore[union-attr]
        name = len(group).to_bytes(2, "big") + group.encode()
        found = [record for batch in batches(partition.log.read(0, 10**9).records) for record in batch.records()]
        return [record for record in found if record.key is not None and record.key[2 : 2 + len(name)] == name]

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Everything a group has committed."""
        answered = self.ask(self.fetch_request(group), 9).groups[0]
        assert answered.error_code == ErrorCode.NONE, answered
        return {(topic.name, one.partition_index): one.committed_offset for topic in answered.topics for one in topic.partitions}

    def subscription(self, *topics: str) -> bytes:
        """What a consumer says about itself."""
        return subscription(*topics)

    def topic_id(self, name: str) -> bytes:
        """The id of a topic, 16 ones where there is none."""
        topic = self.cluster.metadata.topic(name)
        return b"\1" * 16 if topic is None else topic.topic_id

    def describe(self, group: str, version: int = 6) -> Message:
        """A group as DescribeGroups shows it."""
        return self.ask(messages.DescribeGroupsRequest(groups=[group]), version).groups[0]


def inline(work: Callable[[], None]) -> "Later[None]":
    """Work that is done elsewhere, done here."""
    done: Later[None] = Later()
    try:
        work()
    except OSError as error:
        done.fail(error)
    else:
        done.settle(None)
    return done


def subscription(*topics: str) -> bytes:
    """What a consumer says about itself."""
    named = b"".join(len(topic).to_bytes(2, "big") + topic.encode() for topic in topics)
    return b"\0\0" + len(topics).to_bytes(4, "big") + named + b"\xff\xff\xff\xff"


class GroupMember:
    """A client of the classic protocol, in the newest versions."""

    def __init__(
        self,
        kit: GroupsKit,
        group: str,
        *,
        instance: str | None = None,
        session_ms: int = 10_000,
        rebalance_ms: int = 10_000,
        protocols: tuple[tuple[str, bytes], ...] = (("range", subscription("t")),),
        protocol_type: str = "consumer",
    ) -> None:
        self.kit = kit
        self.group = group
        self.instance = instance
        self.session_ms = session_ms
        self.rebalance_ms = rebalance_ms
        self.protocols = protocols
        self.protocol_type = protocol_type
        self.id = ""
        self.generation = -1
        self.parked: Reply | None = None

    def send_join(self, version: int = 9, client_id: str | None = "ck", **fields: object) -> Reply:
        """One JoinGroup."""
        protocols = [JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=metadata) for name, metadata in self.protocols]
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=self.session_ms,
            rebalance_timeout_ms=self.rebalance_ms,
            member_id=self.id,
            group_instance_id=self.instance if version >= 5 else None,
            protocol_type=self.protocol_type,
            protocols=protocols,
        )
        for name, value in fields.items():
            setattr(request, name, value)
        self.parked = self.kit.send(request, version, client_id)
        return self.parked

    def join(self) -> Reply:
        """JoinGroup, and a second one where the first only gave an id."""
        reply = self.send_join()
        if reply.settled and reply.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.id = reply.member_id  # type: ignore[assignment]
            reply = self.send_join()
        if reply.settled:
            self.joined()
        return reply

    def joined(self) -> JoinGroupResponse:
        """The answer to the last JoinGroup, whose id and generation are this member's from now on."""
        assert self.parked is not None
        answer = self.parked.response
        assert isinstance(answer, JoinGroupResponse)
        if answer.error_code == ErrorCode.NONE:
            self.id, self.generation = answer.member_id, answer.generation_id
        return answer

    def send_sync(self, assignments: dict[str, bytes] | None = None, version: int = 5, **fields: object) -> Reply:
        """One SyncGroup."""
        request = SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.id,
            group_instance_id=self.instance if version >= 3 else None,
            protocol_type=self.protocol_type,
            protocol_name=self.protocols[0][0],
            assignments=[
                SyncGroupRequest.SyncGroupRequestAssignment(member_id=member, assignment=assignment)
                for member, assignment in (assignments or {}).items()
            ],
        )
        for name, value in fields.items():
            setattr(request, name, value)
        return self.kit.send(request, version)

    def sync(self, assignments: dict[str, bytes] | None = None) -> SyncGroupResponse:
        """A SyncGroup that is answered at once."""
        answer = self.send_sync(assignments).response
        assert isinstance(answer, SyncGroupResponse)
        return answer

    def heartbeat(self, **fields: object) -> ErrorCode:
        """What a Heartbeat hears."""
        request = HeartbeatRequest(group_id=self.group, generation_id=self.generation, member_id=self.id, group_instance_id=self.instance)
        for name, value in fields.items():
            setattr(request, name, value)
        return ErrorCode(self.kit.ask(request, 4).error_code)

    def leave(self, version: int = 5) -> Message:
        """LeaveGroup."""
        if version < 3:
            return self.kit.ask(messages.LeaveGroupRequest(group_id=self.group, member_id=self.id), version)
        identity = messages.LeaveGroupRequest.MemberIdentity(member_id=self.id, group_instance_id=self.instance)
        return self.kit.ask(messages.LeaveGroupRequest(group_id=self.group, members=[identity]), version)

    def commit(self, offsets: dict[tuple[str, int], int], **fields: object) -> ErrorCode:
        """The error code that the first partition of a commit of this member gets."""
        answer = self.kit.commit(
            self.group,
            offsets,
            **{
                "member_id": self.id,
                "generation_id_or_member_epoch": self.generation,
                "group_instance_id": self.instance,
                **fields,
            },  # type: ignore[arg-type]
        )
        return ErrorCode(answer.topics[0].partitions[0].error_code)


@pytest.fixture
def new_kit() -> Iterator[Callable[..., GroupsKit]]:
    """Makes brokers with `__consumer_offsets` and a topic "t" of two partitions; at the end none of them may have met a bug."""
    made = []

    def make(**settings: object) -> GroupsKit:
        kit = GroupsKit(**settings)  # type: ignore[arg-type]
        kit.find_coordinator("g")
        kit.create_topic("t", 2)
        made.append(kit)
        return kit

    yield make
    assert [error for kit in made for error in kit.cluster.unexpected_errors] == []


@pytest.fixture
def kit(new_kit: Callable[..., GroupsKit]) -> GroupsKit:
    """One such broker."""
    return new_kit()
