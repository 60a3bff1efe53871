"""Members of classic groups, each with a connection of its own: one may wait for its JoinGroup or SyncGroup while another acts."""

import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pykbroker.compat.check import Settings
from pykbroker.compat.expectations import NOT_EMPTY, Unexpected, expect, expect_equal, expect_that
from pykbroker.compat.target import PATIENCE_S, Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    Message,
    OffsetCommitRequest,
    OffsetCommitResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

M = TypeVar("M", bound=Message)

SHORT_SESSIONS = Settings((("group.min.session.timeout.ms", "100"),))
NEVER_ISSUED = "nobody-has-this-member-id"
NO_GENERATION = -1
RANGE = {"range": b""}
_BROKER = 4


class Participant:
    """One client in a group; `member_id` and `generation_id` are those of its last successful JoinGroup."""

    def __init__(
        self,
        target: Target,
        group_id: str,
        *,
        instance_id: str | None = None,
        protocols: Mapping[str, bytes] = RANGE,
        protocol_type: str = "workers",
        session_timeout_ms: int = 10_000,
        rebalance_timeout_ms: int = 10_000,
    ) -> None:
        self.target = target
        self.connection = target.connect()
        self.group_id = group_id
        self.instance_id = instance_id
        self.protocols = dict(protocols)
        self.protocol_type = protocol_type
        self.session_timeout_ms = session_timeout_ms
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.member_id = ""
        self.generation_id = NO_GENERATION

    # -- JoinGroup -----------------------------------------------------------------------------------------------

    def join_request(self, **changes: object) -> JoinGroupRequest:
        """Its JoinGroup, with these fields changed."""
        request = JoinGroupRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type=self.protocol_type,
            session_timeout_ms=self.session_timeout_ms,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            protocols=protocols_of(self.protocols),
        )
        return _changed(request, changes)

    def try_to_join(self, version: int | None = None, **changes: object) -> JoinGroupResponse:
        """One JoinGroup and its answer, whatever it is; success is remembered."""
        request = self.join_request(**changes)
        return self._remember(self.connection.ask(request, self._version_to_join(request) if version is None else version))

    def be_given_an_id(self) -> str:
        """Ask to join without an id, and no more: who was only given an id is no member yet (KIP-394)."""
        request = self.join_request()
        answer = self.connection.ask(request, self.target.newest(request, 9, at_least=4))
        expect(answer, error_code=ErrorCode.MEMBER_ID_REQUIRED, member_id=NOT_EMPTY)
        self.member_id = answer.member_id
        return answer.member_id

    def _version_to_join(self, request: JoinGroupRequest) -> int:
        return self.target.newest(request, 9)

    def ask_to_join(self, version: int | None = None) -> None:
        """Send a JoinGroup (both steps of KIP-394 where they are needed), and do not wait for its last answer."""
        version = self._version_to_join(self.join_request()) if version is None else version
        if not self.member_id and self.instance_id is None and version >= 4:
            answer = self.connection.ask(self.join_request(), version)
            expect(answer, error_code=ErrorCode.MEMBER_ID_REQUIRED)
            self.member_id = answer.member_id
        self.connection.send(self.join_request(), version)

    def joined(self, version: int | None = None) -> JoinGroupResponse:
        """The answer to `ask_to_join`, whatever it is."""
        request = self.join_request()
        return self._remember(self.connection.receive(request, self._version_to_join(request) if version is None else version))

    def join(self, version: int | None = None) -> JoinGroupResponse:
        """Join, and insist on it."""
        self.ask_to_join(version)
        answer = self.joined(version)
        expect(answer, error_code=ErrorCode.NONE)
        return answer

    def _remember(self, answer: JoinGroupResponse) -> JoinGroupResponse:
        if answer.error_code == ErrorCode.NONE:
            self.member_id, self.generation_id = answer.member_id, answer.generation_id
        return answer

    # -- SyncGroup and what follows ------------------------------------------------------------------------------

    def sync_request(self, version: int, assignments: Mapping[str, bytes] | None = None, **changes: object) -> SyncGroupRequest:
        """Its SyncGroup; from v5 on it names the protocol."""
        request = SyncGroupRequest(
            group_id=self.group_id,
            generation_id=self.generation_id,
            member_id=self.member_id,
            group_instance_id=self.instance_id if version >= 3 else None,
            assignments=[
                SyncGroupRequest.SyncGroupRequestAssignment(member_id=member_id, assignment=assignment)
                for member_id, assignment in (assignments or {}).items()
            ],
        )
        if version >= 5:
            request.protocol_type, request.protocol_name = self.protocol_type, next(iter(self.protocols))
        return _changed(request, changes)

    def sync(self, assignments: Mapping[str, bytes] | None = None, version: int | None = None, **changes: object) -> SyncGroupResponse:
        """SyncGroup and its answer, whatever it is."""
        version = self._version(SyncGroupRequest, 5) if version is None else version
        return self.connection.ask(self.sync_request(version, assignments, **changes), version)

    def ask_to_sync(self, assignments: Mapping[str, bytes] | None = None, version: int | None = None) -> None:
        """Send a SyncGroup, and do not wait."""
        version = self._version(SyncGroupRequest, 5) if version is None else version
        self.connection.send(self.sync_request(version, assignments), version)

    def synced(self, version: int | None = None) -> SyncGroupResponse:
        """The answer to `ask_to_sync`."""
        version = self._version(SyncGroupRequest, 5) if version is None else version
        return self.connection.receive(self.sync_request(version), version)

    def heartbeat(self, version: int | None = None, **changes: object) -> HeartbeatResponse:
        """Heartbeat and its answer."""
        version = self._version(HeartbeatRequest, 4) if version is None else version
        request = HeartbeatRequest(
            group_id=self.group_id,
            generation_id=self.generation_id,
            member_id=self.member_id,
            group_instance_id=self.instance_id if version >= 3 else None,
        )
        return self.connection.ask(_changed(request, changes), version)

    def wait_for_rebalance(self) -> None:
        """Until its heartbeat is answered that a rebalance is in progress."""
        deadline = time.monotonic() + PATIENCE_S
        while (answer := self.heartbeat()).error_code != ErrorCode.REBALANCE_IN_PROGRESS:
            expect(answer, error_code=ErrorCode.NONE)
            if time.monotonic() > deadline:
                raise Unexpected("the group", "rebalancing", answer)
            time.sleep(0.02)

    def leave(self, version: int | None = None) -> LeaveGroupResponse:
        """LeaveGroup by its member id, and its answer."""
        version = self.target.newest(LeaveGroupRequest, 5) if version is None else version
        return self.connection.ask(leave_request(self.group_id, self.member_id, version=version), version)

    def commit(self, topic: Topic, offset: int, *, partition: int = 0, version: int | None = None, **changes: object) -> int:
        """Commit one offset as this member; the error code."""
        version = self._version(OffsetCommitRequest, 9, with_instances=7) if version is None else version
        request = commit_request(self.group_id, topic, {partition: offset})
        request.generation_id_or_member_epoch, request.member_id = self.generation_id, self.member_id
        request.group_instance_id = self.instance_id if version >= 7 else None
        answer: OffsetCommitResponse = self.connection.ask(_changed(request, changes), version)
        return answer.topics[0].partitions[0].error_code

    def _version(self, request: type[Message], at_most: int, *, with_instances: int = 3) -> int:
        """The newest version; a static member needs one that has instance ids."""
        return self.target.newest(request, at_most, at_least=with_instances if self.instance_id is not None else 0)


# -- groups as a whole -------------------------------------------------------------------------------------------


def ready_group(target: Target) -> str:
    """The id of a group that is not there, and whose coordinator is."""
    group_id = target.new_group()
    target.wait_for_coordinator(group_id)
    return group_id


def gather(target: Target, *participants: Participant) -> list[JoinGroupResponse]:
    """All join, in that order, and are in one generation that nobody has synced yet; the first is the leader. Their answers."""
    first, *others = participants
    answer = first.join()
    if not others:
        return [answer]
    for count, other in enumerate(others, start=2):
        other.ask_to_join()
        wait_for_members(target, first.group_id, count)
    first.ask_to_join()
    answers = [one.joined() for one in participants]
    for one in answers:
        expect(one, error_code=ErrorCode.NONE)
    return answers


def stable(target: Target, *participants: Participant) -> None:
    """All join and have the assignments b"for 0", b"for 1", …"""
    gather(target, *participants)
    leader, *followers = participants
    expect(leader.sync(assignments_of(participants)), error_code=ErrorCode.NONE, assignment=b"for 0")
    for number, follower in enumerate(followers, start=1):
        expect(follower.sync(), error_code=ErrorCode.NONE, assignment=b"for %d" % number)


def assignments_of(participants: Sequence[Participant]) -> dict[str, bytes]:
    """What `stable` assigns to each member id."""
    return {one.member_id: b"for %d" % number for number, one in enumerate(participants)}


def pair(target: Target, **options: int) -> tuple[Participant, Participant]:
    """A stable group of two: the leader and a follower."""
    group_id = ready_group(target)
    leader, follower = (
        Participant(
            target,
            group_id,
            session_timeout_ms=options.get("session_timeout_ms", 10_000),
            rebalance_timeout_ms=options.get("rebalance_timeout_ms", 10_000),
        )
        for _ in range(2)
    )
    stable(target, leader, follower)
    return leader, follower


def alone(target: Target, **options: int) -> Participant:
    """A stable group of one."""
    member = Participant(target, ready_group(target), session_timeout_ms=options.get("session_timeout_ms", 10_000))
    stable(target, member)
    return member


def described(target: Target, group_id: str, version: int | None = None) -> DescribeGroupsResponse.DescribedGroup:
    """DescribeGroups of one group; below v6 a group that is not there is Dead, without an error."""
    version = target.newest(DescribeGroupsRequest, 5) if version is None else version
    return target.ask(DescribeGroupsRequest(groups=[group_id]), version).groups[0]


def expect_state(target: Target, group_id: str, state: str) -> None:
    """The group is in that state now."""
    expect_equal("group_state", described(target, group_id).group_state, state)


def wait_for_state(target: Target, group_id: str, state: str, within_s: float = PATIENCE_S) -> float:
    """Until the group is in that state; how many seconds that took."""
    started = time.monotonic()
    while (found := described(target, group_id)).group_state != state:
        if time.monotonic() > started + within_s:
            raise Unexpected("group_state", state, found.group_state, found)
        time.sleep(0.02)
    return time.monotonic() - started


def wait_for_members(target: Target, group_id: str, count: int) -> None:
    """Until the group has that many members, those that wait for a JoinGroup among them."""
    deadline = time.monotonic() + PATIENCE_S
    while len((found := described(target, group_id)).members) != count:
        if time.monotonic() > deadline:
            raise Unexpected("the group's members", count, len(found.members), found)
        time.sleep(0.02)


def expect_seconds(what: str, seconds: float, least: float, most: float) -> None:
    """Something took that long; `most` is generous, since the machine may be busy."""
    expect_that(least - 0.03 <= seconds <= most, f"{what} takes {least:g} s and not more than {most:g}; it took {seconds:.2f}")


def broker_setting(target: Target, name: str) -> str:
    """The value of a setting of the broker that is asked."""
    resource = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=_BROKER, resource_name=str(target.node_id), configuration_keys=[name]
    )
    found = target.ask_newest(DescribeConfigsRequest(resources=[resource]), 4).results[0]
    expect(found, error_code=ErrorCode.NONE)
    return found.configs[0].value or ""


# -- requests ----------------------------------------------------------------------------------------------------


def protocols_of(protocols: Mapping[str, bytes]) -> list[JoinGroupRequest.JoinGroupRequestProtocol]:
    """Protocols and their metadata, the preferred one first."""
    return [JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=metadata) for name, metadata in protocols.items()]


def leave_request(group_id: str, *member_ids: str, instance_id: str | None = None, version: int = 5) -> LeaveGroupRequest:
    """LeaveGroup of these members; below v3 of the one."""
    if version < 3:
        return LeaveGroupRequest(group_id=group_id, member_id=member_ids[0])
    members = [LeaveGroupRequest.MemberIdentity(member_id=member_id, group_instance_id=instance_id) for member_id in member_ids]
    return LeaveGroupRequest(group_id=group_id, members=members)


def commit_request(
    group_id: str, topic: Topic, offsets: Mapping[int, int], *, metadata: str | None = "", leader_epoch: int = -1
) -> OffsetCommitRequest:
    """OffsetCommit from outside of any generation, of one topic by name and by id."""
    partitions = [
        OffsetCommitRequest.OffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_leader_epoch=leader_epoch, committed_metadata=metadata
        )
        for partition, offset in offsets.items()
    ]
    topics = [OffsetCommitRequest.OffsetCommitRequestTopic(name=topic.name, topic_id=topic.topic_id, partitions=partitions)]
    return OffsetCommitRequest(group_id=group_id, generation_id_or_member_epoch=NO_GENERATION, member_id="", topics=topics)


def _changed(request: M, changes: Mapping[str, object]) -> M:
    for name, value in changes.items():
        setattr(request, name, value)
    return request
