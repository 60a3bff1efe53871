"""Members of share groups (KIP-932), each with a connection, a share session and its epoch of its own; and what they acquired and acknowledge."""

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from pykbroker.compat.check import Settings
from pykbroker.compat.expectations import Unexpected, expect, expect_equal, expect_that
from pykbroker.compat.steps.configs import GROUP, Change, alter, entry
from pykbroker.compat.target import PATIENCE_S, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    DeleteGroupsRequest,
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse,
    Message,
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareFetchRequest,
    ShareFetchResponse,
    ShareGroupDescribeRequest,
    ShareGroupDescribeResponse,
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
)

M = TypeVar("M", bound=Message)

GAP, ACCEPT, RELEASE, REJECT, RENEW = 0, 1, 2, 3, 4
BATCH_OPTIMISED, RECORD_LIMIT = 0, 1
"""Modes of acquiring: whole batches, or no more records than were asked for (KIP-1206)."""
JOINING, LEAVING = 0, -1
OPENING, CLOSING = 0, -1
READING = ("ShareFetch", "ShareGroupHeartbeat")
"""The APIs that it takes to acquire records."""
ACKNOWLEDGING = ("ShareAcknowledge", *READING)
EARLIEST = Change("share.auto.offset.reset", "earliest")
AT_ONCE = Change("share.assignment.interval.ms", "0")
"""Members need not wait for their assignment."""
SHORT_LOCKS = Settings((("group.share.min.record.lock.duration.ms", "1000"),))
LOCK_OF_A_SECOND = Change("share.record.lock.duration.ms", "1000")

Partition = ShareFetchResponse.PartitionData
_NOT_YET = (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE)


class Acquired(NamedTuple):
    """A run of records that a member holds, and how many times they were delivered by now."""

    first_offset: int
    last_offset: int
    delivery_count: int


class Batch(NamedTuple):
    """An acknowledgement of a run of records: one type for all, or one for each."""

    first_offset: int
    last_offset: int
    types: Sequence[int] = (ACCEPT,)


class Acknowledged(NamedTuple):
    """Acknowledgements of one partition."""

    topic: Topic
    batches: Sequence[Batch]
    partition: int = 0


class ShareMember:
    """One consumer of a share group; `member_epoch` is its heartbeat's, `session_epoch` that of its next request to its share session."""

    def __init__(
        self, target: Target, group_id: str, *topics: Topic, member_id: str | None = None, partitions: Sequence[int] = (0,)
    ) -> None:
        self.target = target
        self.connection = target.connect()
        self.group_id = group_id
        self.member_id = target.new_name("member") if member_id is None else member_id
        self.topics = topics
        self.partitions = partitions
        self.member_epoch = JOINING
        self.session_epoch = OPENING

    # -- heartbeats ----------------------------------------------------------------------------------------------

    def heartbeat(self, **changes: object) -> ShareGroupHeartbeatResponse:
        """One heartbeat with these fields changed, and its answer, whatever it is."""
        request = ShareGroupHeartbeatRequest(group_id=self.group_id, member_id=self.member_id, member_epoch=self.member_epoch)
        if self.member_epoch == JOINING:
            request.subscribed_topic_names = [topic.name for topic in self.topics]
        answer = self.target.ask_newest(changed(request, changes), 1)
        if answer.error_code == ErrorCode.NONE and not changes:
            self.member_epoch = answer.member_epoch
        return answer

    def join(self) -> "ShareMember":
        """Be a member whose assignment is all the partitions of its topics."""
        self.target.wait_for_coordinator(self.group_id)
        self.target.afterwards(self.leave)
        wanted = {(topic.topic_id, partition) for topic in self.topics for partition in range(topic.partitions)}
        assigned: set[tuple[bytes, int]] = set()
        deadline = time.monotonic() + PATIENCE_S
        while assigned != wanted:
            expect_that(time.monotonic() < deadline, f"a member is assigned its partitions; it has {assigned}")
            answer = self.heartbeat()
            if answer.error_code in _NOT_YET:
                time.sleep(0.05)
                continue
            expect(answer, error_code=ErrorCode.NONE, member_id=self.member_id)
            expect_that(answer.member_epoch > 0 and answer.heartbeat_interval_ms > 0, f"a member has an epoch and an interval: {answer}")
            if answer.assignment is not None:
                assigned = {(one.topic_id, partition) for one in answer.assignment.topic_partitions for partition in one.partitions}
            if assigned != wanted:
                time.sleep(0.05)
        return self

    def leave(self) -> ShareGroupHeartbeatResponse:
        """Say goodbye to the group."""
        return self.heartbeat(member_epoch=LEAVING)

    # -- fetching ------------------------------------------------------------------------------------------------

    def fetch_request(self, acknowledged: Sequence[Acknowledged] = (), /, **changes: object) -> ShareFetchRequest:
        """Its next ShareFetch: all its partitions where the session opens, later those that it acknowledges."""
        parts: dict[bytes, dict[int, list[ShareFetchRequest.AcknowledgementBatch]]] = {}
        if changes.get("share_session_epoch", self.session_epoch) == OPENING:
            for topic in self.topics:
                parts[topic.topic_id] = {partition: [] for partition in self.partitions}
        for one in acknowledged:
            parts.setdefault(one.topic.topic_id, {}).setdefault(one.partition, []).extend(
                ShareFetchRequest.AcknowledgementBatch(first_offset=first, last_offset=last, acknowledge_types=list(types))
                for first, last, types in one.batches
            )
        request = ShareFetchRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            share_session_epoch=self.session_epoch,
            max_wait_ms=0,
            min_bytes=1,
            max_bytes=1 << 24,
            max_records=500,
            batch_size=500,
            topics=[
                ShareFetchRequest.FetchTopic(
                    topic_id=topic_id,
                    partitions=[
                        ShareFetchRequest.FetchPartition(partition_index=index, acknowledgement_batches=batches)
                        for index, batches in partitions.items()
                    ],
                )
                for topic_id, partitions in parts.items()
            ],
        )
        return changed(request, changes)

    def fetch(self, acknowledged: Sequence[Acknowledged] = (), /, *, version: int | None = None, **changes: object) -> ShareFetchResponse:
        """One ShareFetch and its answer, whatever it is; the session goes on where that is no error."""
        return self._fetch(self.fetch_request(acknowledged, **changes), version)

    def _fetch(self, request: ShareFetchRequest, version: int | None) -> ShareFetchResponse:
        return self._remember(request.share_session_epoch, self.connection.ask(request, self._version(request, version)))

    def _version(self, request: Message, version: int | None) -> int:
        return self.target.newest(request, 2) if version is None else version

    def send_fetch(self, *, version: int | None = None, **changes: object) -> ShareFetchRequest:
        """Send a ShareFetch that is to wait; what was sent, for `fetched`."""
        request = self.fetch_request(**changes)
        self.connection.send(request, self._version(request, version))
        return request

    def fetched(self, request: ShareFetchRequest, *, version: int | None = None) -> ShareFetchResponse:
        """The answer to what was sent."""
        return self._remember(request.share_session_epoch, self.connection.receive(request, self._version(request, version)))

    def acquire(self, *, version: int | None = None, **changes: object) -> list[Acquired]:
        """Fetch until something of the first partition is acquired; all that one answer has of it."""
        topic, partition = self.topics[0], self.partitions[0]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._fetch(self.fetch_request(**{"max_wait_ms": 200, **changes}), version)
            expect(answer, error_code=ErrorCode.NONE)
            for one in answer.responses:
                for part in one.partitions:
                    expect(part, error_code=ErrorCode.NONE, acknowledge_error_code=ErrorCode.NONE)
            if found := acquired(answer, topic, partition):
                return found
            expect_that(time.monotonic() < deadline, f"records are acquired; the answer is {answer!r}")

    def expect_nothing(self, *, version: int | None = None, **changes: object) -> None:
        """Fetch, and be given no records."""
        answer = self._fetch(self.fetch_request(**{"max_wait_ms": 100, **changes}), version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("acquired records", acquired(answer, self.topics[0], self.partitions[0]), [])

    # -- acknowledging -------------------------------------------------------------------------------------------

    def acknowledge_request(self, acknowledged: Sequence[Acknowledged], **changes: object) -> ShareAcknowledgeRequest:
        """Its next ShareAcknowledge."""
        parts: dict[bytes, list[ShareAcknowledgeRequest.AcknowledgePartition]] = {}
        for one in acknowledged:
            batches = [
                ShareAcknowledgeRequest.AcknowledgementBatch(first_offset=first, last_offset=last, acknowledge_types=list(types))
                for first, last, types in one.batches
            ]
            part = ShareAcknowledgeRequest.AcknowledgePartition(partition_index=one.partition, acknowledgement_batches=batches)
            parts.setdefault(one.topic.topic_id, []).append(part)
        request = ShareAcknowledgeRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            share_session_epoch=self.session_epoch,
            topics=[
                ShareAcknowledgeRequest.AcknowledgeTopic(topic_id=topic_id, partitions=partitions) for topic_id, partitions in parts.items()
            ],
        )
        return changed(request, changes)

    def acknowledge(self, *batches: Batch, version: int | None = None, **changes: object) -> ShareAcknowledgeResponse:
        """One ShareAcknowledge of its first partition, and its answer, whatever it is."""
        return self.acknowledge_all([Acknowledged(self.topics[0], batches, self.partitions[0])], version=version, **changes)

    def acknowledge_all(
        self, acknowledged: Sequence[Acknowledged], /, *, version: int | None = None, **changes: object
    ) -> ShareAcknowledgeResponse:
        """One ShareAcknowledge of several partitions, or of none; its answer, whatever it is."""
        request = self.acknowledge_request(acknowledged, **changes)
        return self._remember(request.share_session_epoch, self.connection.ask(request, self._version(request, version)))

    def settle(self, *batches: Batch, version: int | None = None) -> None:
        """Acknowledge, and insist on it."""
        answer = self.acknowledge(*batches, version=version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_part(answer, ErrorCode.NONE)

    def _remember(self, asked_epoch: int, answer: M) -> M:
        if answer.error_code == ErrorCode.NONE:  # type: ignore[attr-defined]
            self.session_epoch = OPENING if asked_epoch == CLOSING else asked_epoch + 1
        return answer


# -- what is answered --------------------------------------------------------------------------------------------


def fetched_part(answer: ShareFetchResponse, topic: Topic, partition: int = 0) -> Partition:
    """What a ShareFetch was answered for that partition."""
    for one in answer.responses:
        for part in one.partitions:
            if one.topic_id == topic.topic_id and part.partition_index == partition:
                return part
    raise Unexpected("responses", f"partition {partition} of {topic.name}", answer.responses, answer)


def acquired(answer: ShareFetchResponse, topic: Topic, partition: int = 0) -> list[Acquired]:
    """The runs of records of that partition that were acquired; none where it is not in the answer."""
    return [
        Acquired(run.first_offset, run.last_offset, run.delivery_count)
        for one in answer.responses
        if one.topic_id == topic.topic_id
        for part in one.partitions
        if part.partition_index == partition
        for run in part.acquired_records
    ]


def expect_part(answer: ShareAcknowledgeResponse, error_code: ErrorCode, **fields: object) -> None:
    """A ShareAcknowledge is answered for its only partition, with that error."""
    parts = [part for one in answer.responses for part in one.partitions]
    expect_equal("the number of partitions answered", len(parts), 1)
    expect(parts[0], error_code=error_code, **fields)


# -- groups ------------------------------------------------------------------------------------------------------


def share_group(target: Target, *configs: Change) -> str:
    """The id of a new share group with these configs; it reads from the earliest record unless they say otherwise."""
    return configured_group(target, EARLIEST, *configs)


def configured_group(target: Target, *configs: Change) -> str:
    """The id of a new share group with these configs; where one comes twice, the last counts.

    It is deleted before its topics are, since otherwise Kafka takes half a minute for it.
    """
    group_id = target.new_group()
    target.afterwards(lambda: target.ask_newest(DeleteGroupsRequest(groups_names=[group_id]), 2))
    changes = list({one.name: one for one in (AT_ONCE, *configs)}.values())
    expect_equal("the answer to IncrementalAlterConfigs", alter(target, GROUP, group_id, changes).error_code, ErrorCode.NONE)
    target.unset_after(GROUP, group_id, *(one.name for one in changes))
    for one in changes:
        eventually(
            lambda one=one: entry(target, GROUP, group_id, one.name).value,  # type: ignore[misc]
            lambda value, one=one: value == one.value,  # type: ignore[misc]
            f"{one.name} of a group is {one.value}",
        )
    target.wait_for_coordinator(group_id)
    return group_id


def reader(target: Target, *values: bytes, configs: Iterable[Change] = (), batches: int = 1) -> ShareMember:
    """A member of a new share group, alone, of a new topic with these records (as many times as there are to be batches)."""
    topic = target.new_topic()
    for _ in range(batches if values else 0):
        target.produce(topic, values)
    return ShareMember(target, share_group(target, *configs), topic).join()


def second(member: ShareMember) -> ShareMember:
    """Another member of the same group with the same topics."""
    return ShareMember(member.target, member.group_id, *member.topics, partitions=member.partitions).join()


def described(target: Target, group_id: str) -> ShareGroupDescribeResponse.DescribedGroup:
    """ShareGroupDescribe of one group; what is answered for it."""
    return target.ask_newest(ShareGroupDescribeRequest(group_ids=[group_id]), 1).groups[0]


def offsets(
    target: Target, group_id: str, topics: Sequence[tuple[str, Sequence[int]]] | None = None, *, version: int | None = None
) -> DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseGroup:
    """DescribeShareGroupOffsets of one group, of all its topics where none is named; what is answered for it."""
    request = offsets_request(group_id, topics)
    return target.ask(request, target.newest(request, 1) if version is None else version).groups[0]


def offsets_request(group_id: str, topics: Sequence[tuple[str, Sequence[int]]] | None) -> DescribeShareGroupOffsetsRequest:
    """What it asks."""
    wanted = None
    if topics is not None:
        wanted = [
            DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestTopic(topic_name=name, partitions=list(partitions))
            for name, partitions in topics
        ]
    group = DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup(group_id=group_id, topics=wanted)
    return DescribeShareGroupOffsetsRequest(groups=[group])


def changed(message: M, changes: dict[str, object]) -> M:
    """A message with these fields changed."""
    for name, value in changes.items():
        setattr(message, name, value)
    return message
