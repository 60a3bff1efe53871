"""How a classic group gets from one generation to the next: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and the timers behind them.

Who joins is parked until everybody has joined or their time is up; who syncs, until the leader has said who gets what. Then all are
answered together. An error is raised as KafkaError; for a parked request it takes the answer's place.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pykbroker.coordinator.classic_group import ClassicGroup, GroupState, Member, Protocols
from pykbroker.coordinator.group_records import empty_group_metadata, group_metadata
from pykbroker.coordinator.runtime import Operation, WriteFailedError
from pykbroker.later import Later
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

if TYPE_CHECKING:
    from pykbroker.clock import Timer
    from pykbroker.cluster import Cluster
    from pykbroker.context import Context

NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000
"""How long a first JoinGroup may be parked: who never got a member id cannot be told from a peer that is gone."""

FIRST_VERSION_WITH_KNOWN_MEMBER_ID = 4
FIRST_VERSION_THAT_SKIPS_ASSIGNMENT = 9

HEARTBEAT_ANSWERS = {
    GroupState.EMPTY: ErrorCode.UNKNOWN_MEMBER_ID,
    GroupState.PREPARING_REBALANCE: ErrorCode.REBALANCE_IN_PROGRESS,
    GroupState.COMPLETING_REBALANCE: ErrorCode.NONE,
    GroupState.STABLE: ErrorCode.NONE,
    GroupState.DEAD: ErrorCode.COORDINATOR_NOT_AVAILABLE,
}
"""What a member hears in each state (G-15)."""

TimerWork = Callable[[Operation], None]


class JoinRefusedError(KafkaError):
    """A JoinGroup that is answered with an error and another member id than it came with."""

    def __init__(self, error_code: ErrorCode, member_id: str) -> None:
        super().__init__(error_code)
        self.member_id = member_id


class Rebalancer:
    """The classic groups of one shard, set in motion. `run_timer` runs an operation that nobody asked for."""

    def __init__(self, cluster: "Cluster", groups: dict[str, ClassicGroup], run_timer: Callable[[TimerWork], None]) -> None:
        self._cluster = cluster
        self._groups = groups
        self._run_timer = run_timer

    # -- JoinGroup -----------------------------------------------------------------------------------------------

    def join(self, operation: Operation, context: "Context", request: JoinGroupRequest) -> "JoinGroupResponse | Later[JoinGroupResponse]":
        """Take a member in, or let one join again; parked until the generation is complete."""
        group = self._groups.get(request.group_id)
        if group is None:
            if request.member_id:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            operation.write(empty_group_metadata(request.group_id, self._cluster.clock.now_ms))
            group = self._groups[request.group_id]
        if not group.accepts(request.member_id, self._cluster.config.integer("group.max.size")):
            if group.remove(request.member_id) is not None:
                self._complete_join_if_all_joined(operation, group)
            raise JoinRefusedError(ErrorCode.GROUP_MAX_SIZE_REACHED, "")
        protocols = [(protocol.name, protocol.metadata) for protocol in request.protocols]
        if not group.supports(request.protocol_type, protocols):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if request.member_id:
            return self._join_known(operation, context, group, request, protocols)
        return self._join_new(operation, context, group, request, protocols)

    def _join_new(
        self, operation: Operation, context: "Context", group: ClassicGroup, request: JoinGroupRequest, protocols: Protocols
    ) -> "JoinGroupResponse | Later[JoinGroupResponse]":
        instance_id = request.group_instance_id
        prefix = (context.client_id or "") if instance_id is None else instance_id
        member_id = f"{prefix}-{self._random_uuid()}"
        if instance_id is not None:
            if instance_id in group.static_members:
                return self._replace_static(operation, context, group, request, protocols, member_id)
        elif context.api_version >= FIRST_VERSION_WITH_KNOWN_MEMBER_ID:
            expire: TimerWork = lambda later: self._pending_expired(later, group, member_id)  # noqa: E731
            group.pending_members[member_id] = self._call_later(request.session_timeout_ms, expire)
            raise JoinRefusedError(ErrorCode.MEMBER_ID_REQUIRED, member_id)
        return self._add(operation, context, group, request, protocols, member_id)

    def _join_known(
        self, operation: Operation, context: "Context", group: ClassicGroup, request: JoinGroupRequest, protocols: Protocols
    ) -> "JoinGroupResponse | Later[JoinGroupResponse]":
        if request.member_id in group.pending_members:
            if request.group_instance_id is not None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)  # ids are given out to dynamic members only
            return self._add(operation, context, group, request, protocols, request.member_id)
        member = group.check_member(request.member_id, request.group_instance_id)
        unchanged = member.protocols == protocols
        if group.state is GroupState.COMPLETING_REBALANCE and unchanged:
            return _joined(group, member, with_members=group.leader_id == member.member_id)
        if group.state is GroupState.STABLE and unchanged and group.leader_id != member.member_id:
            return _joined(group, member, with_members=False)
        self._update(group, member, request, protocols, context)
        return self._park_join(operation, group, member)

    def _add(
        self, operation: Operation, context: "Context", group: ClassicGroup, request: JoinGroupRequest, protocols: Protocols, member_id: str
    ) -> "Later[JoinGroupResponse]":
        member = Member(
            member_id,
            request.group_instance_id,
            context.client_id or "",
            f"/{context.session.client_host}",
            rebalance_timeout_ms=_rebalance_timeout_ms(request, context.api_version),
            session_timeout_ms=request.session_timeout_ms,
            protocols=protocols,
        )
        member.is_new = True
        if group.state is GroupState.PREPARING_REBALANCE and group.previous_state is GroupState.EMPTY:
            group.initial_rebalance_extended = True
        parked: Later[JoinGroupResponse] = Later()
        group.add(member, request.protocol_type, parked)
        self._await_heartbeat(group, member, NEW_MEMBER_JOIN_TIMEOUT_MS)
        self._rebalance(operation, group)
        return parked

    def _park_join(self, operation: Operation, group: ClassicGroup, member: Member) -> "Later[JoinGroupResponse]":
        parked: Later[JoinGroupResponse] = Later()
        group.park_join(member, parked)
        self._rebalance(operation, group)
        return parked

    def _update(self, group: ClassicGroup, member: Member, request: JoinGroupRequest, protocols: Protocols, context: "Context") -> None:
        group.update(member, protocols, _rebalance_timeout_ms(request, context.api_version), request.session_timeout_ms)

    def _replace_static(
        self, operation: Operation, context: "Context", group: ClassicGroup, request: JoinGroupRequest, protocols: Protocols, new_id: str
    ) -> "JoinGroupResponse | Later[JoinGroupResponse]":
        """A static member is back: it takes its old place under a new id, without a rebalance if nothing else changes (G-21 to G-24)."""
        leader_before = group.leader_id
        old, member = group.replace_static(group.static_members[request.group_instance_id or ""], new_id)
        self._refuse_parked(operation, old, JoinRefusedError(ErrorCode.FENCED_INSTANCE_ID, old.member_id))
        self._update(group, member, request, protocols, context)
        self._await_heartbeat(group, member)
        if group.state is GroupState.STABLE and group.select_protocol() == group.protocol_name:
            assignments = {one.member_id: one.assignment for one in group.members.values()}
            operation.write(group_metadata(group, group.state_since_ms or self._cluster.clock.now_ms, assignments=assignments))
            if context.api_version >= FIRST_VERSION_THAT_SKIPS_ASSIGNMENT:
                leads = group.leader_id == new_id
                response = _joined(group, member, with_members=leads)
                response.skip_assignment = leads
            else:
                response = _joined(group, member, with_members=False)
                response.leader = leader_before or ""
            return response
        return self._park_join(operation, group, member)

    # -- from a rebalance to a generation ------------------------------------------------------------------------

    def _rebalance(self, operation: Operation, group: ClassicGroup) -> None:
        """Begin a rebalance, or go on with the one that is under way."""
        if group.can_rebalance:
            self._prepare_rebalance(operation, group)
        else:
            self._complete_join_if_all_joined(operation, group)

    def _prepare_rebalance(self, operation: Operation, group: ClassicGroup) -> None:
        if group.state is GroupState.COMPLETING_REBALANCE:
            self._cancel_assignment(operation, group, KafkaError(ErrorCode.REBALANCE_IN_PROGRESS))
        self._cancel_sync_timer(group)
        is_initial = group.state is GroupState.EMPTY
        group.enter(GroupState.PREPARING_REBALANCE, self._cluster.clock.now_ms)
        if is_initial:
            delay_ms = self._cluster.config.integer("group.initial.rebalance.delay.ms")
            group.initial_rebalance_extended = False
            self._wait_for_more(operation, group, delay_ms, max(group.rebalance_timeout_ms - delay_ms, 0))
        elif group.all_joined:
            self._complete_join(operation, group)
        else:
            group.join_timer = self._call_later(group.rebalance_timeout_ms, partial(self._complete_join, group=group))

    def _wait_for_more(self, operation: Operation, group: ClassicGroup, delay_ms: int, remaining_ms: int) -> None:
        """One round of the initial delay, in which more members may come (G-06)."""
        if delay_ms <= 0:
            self._complete_join(operation, group)
            return
        end_round: TimerWork = lambda later: self._end_round(later, group, delay_ms, remaining_ms)  # noqa: E731
        group.join_timer = self._call_later(delay_ms, end_round)

    def _end_round(self, operation: Operation, group: ClassicGroup, delay_ms: int, remaining_ms: int) -> None:
        group.join_timer = None
        if not group.initial_rebalance_extended or remaining_ms == 0:
            self._complete_join(operation, group)
            return
        group.initial_rebalance_extended = False
        next_delay_ms = min(self._cluster.config.integer("group.initial.rebalance.delay.ms"), remaining_ms)
        self._wait_for_more(operation, group, next_delay_ms, max(remaining_ms - delay_ms, 0))

    def _complete_join_if_all_joined(self, operation: Operation, group: ClassicGroup) -> None:
        initial = group.previous_state is GroupState.EMPTY
        if group.state is GroupState.PREPARING_REBALANCE and group.all_joined and not initial:
            self._complete_join(operation, group)

    def _complete_join(self, operation: Operation, group: ClassicGroup) -> None:
        """Whoever has joined is the next generation; static members stay in it until their session ends (G-08, G-25)."""
        if group.join_timer is not None:
            group.join_timer.cancel()
            group.join_timer = None
        for member in [member for member in group.members.values() if not member.joining and not member.is_static]:
            group.remove(member.member_id)
        now_ms = self._cluster.clock.now_ms
        if not group.members:
            group.pending_sync.clear()
            empty = empty_group_metadata(group.group_id, now_ms, generation=group.generation + 1, protocol_type=group.protocol_type)
            operation.write(empty)
            return
        if not group.elect_joined_leader():
            group.join_timer = self._call_later(group.rebalance_timeout_ms, partial(self._complete_join, group=group))
            return
        group.begin_generation(now_ms)
        for member in group.members.values():
            response = _joined(group, member, with_members=member.member_id == group.leader_id)
            for waiting in group.take_joining(member):
                operation.answer(waiting, response)
            member.is_new = False
            self._await_heartbeat(group, member)
        group.sync_timer = self._call_later(group.rebalance_timeout_ms, partial(self._sync_expired, group=group))

    # -- SyncGroup -----------------------------------------------------------------------------------------------

    def sync(self, operation: Operation, request: SyncGroupRequest) -> "SyncGroupResponse | Later[SyncGroupResponse]":
        """Give a member what the leader assigned to it; the leader's own SyncGroup brings the assignments (G-12 to G-14)."""
        group = self._existing(request.group_id)
        member = group.check_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        if _differ(request.protocol_type, group.protocol_type) or _differ(request.protocol_name, group.protocol_name):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if group.state is GroupState.PREPARING_REBALANCE:
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        group.pending_sync.discard(member.member_id)
        if not group.pending_sync:
            self._cancel_sync_timer(group)
        if group.state is GroupState.STABLE:
            return _synced(group, member)
        parked: Later[SyncGroupResponse] = Later()
        member.syncing.append(parked)
        if group.leader_id == member.member_id:
            self._assign(operation, group, {one.member_id: one.assignment for one in request.assignments})
        return parked

    def _assign(self, operation: Operation, group: ClassicGroup, assignments: dict[str, bytes]) -> None:
        try:
            operation.write(group_metadata(group, self._cluster.clock.now_ms, assignments=assignments))
        except WriteFailedError:
            raise
        except KafkaError as error:
            self._cancel_assignment(operation, group, error)
            self._prepare_rebalance(operation, group)
            return
        for member in group.members.values():
            self._answer_syncing(operation, group, member)

    def _answer_syncing(self, operation: Operation, group: ClassicGroup, member: Member) -> None:
        syncing, member.syncing = member.syncing, []
        for waiting in syncing:
            operation.answer(waiting, _synced(group, member))
        if syncing:
            self._await_heartbeat(group, member)

    def _cancel_assignment(self, operation: Operation, group: ClassicGroup, refusal: KafkaError) -> None:
        """The generation will not be: nobody has an assignment, and who waits for one is told why."""
        for member in group.members.values():
            member.assignment = b""
            syncing, member.syncing = member.syncing, []
            for waiting in syncing:
                operation.refuse(waiting, refusal)
            if syncing:
                self._await_heartbeat(group, member)

    def _sync_expired(self, operation: Operation, group: ClassicGroup) -> None:
        """Members that did not send SyncGroup within the rebalance timeout are out (G-38)."""
        group.sync_timer = None
        silent = [member for member_id in sorted(group.pending_sync) if (member := group.members.get(member_id)) is not None]
        group.pending_sync.clear()
        for member in silent:
            self._remove_member(operation, group, member)
        if silent:
            self._prepare_rebalance(operation, group)

    def _cancel_sync_timer(self, group: ClassicGroup) -> None:
        if group.sync_timer is not None:
            group.sync_timer.cancel()
            group.sync_timer = None

    # -- Heartbeat and sessions ----------------------------------------------------------------------------------

    def heartbeat(self, request: HeartbeatRequest) -> ErrorCode:
        """A member is alive; whether it must join again (G-15, G-16)."""
        group = self._existing(request.group_id)
        member = group.check_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        self._await_heartbeat(group, member)
        return HEARTBEAT_ANSWERS[group.state]

    def keep_session(self, group: ClassicGroup, member_id: str) -> None:
        """A commit is as good as a heartbeat (G-18)."""
        member = group.members.get(member_id)
        if member is not None and group.state in {GroupState.STABLE, GroupState.PREPARING_REBALANCE}:
            self._await_heartbeat(group, member)

    def _await_heartbeat(self, group: ClassicGroup, member: Member, timeout_ms: int | None = None) -> None:
        if member.session_timer is not None:
            member.session_timer.cancel()
        expire = partial(self._session_expired, group=group, member=member)
        member.session_timer = self._call_later(member.session_timeout_ms if timeout_ms is None else timeout_ms, expire)

    def _session_expired(self, operation: Operation, group: ClassicGroup, member: Member) -> None:
        member.session_timer = None
        if group.members.get(member.member_id) is member and not member.may_be_silent:
            self._remove_member(operation, group, member)
            self._after_removal(operation, group)

    def _pending_expired(self, operation: Operation, group: ClassicGroup, member_id: str) -> None:
        group.pending_members.pop(member_id, None)
        self._complete_join_if_all_joined(operation, group)

    # -- LeaveGroup ----------------------------------------------------------------------------------------------

    def leave(self, operation: Operation, request: LeaveGroupRequest) -> list[LeaveGroupResponse.MemberResponse]:
        """Members go, by member id or, from outside, by group.instance.id (G-19, G-20)."""
        group = self._groups.get(request.group_id)
        responses = []
        left = False
        for identity in request.members:
            error = ErrorCode.NONE
            try:
                if group is None:
                    raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
                self._leave_one(operation, group, identity)
                left = True
            except KafkaError as refusal:
                error = refusal.error_code
            responses.append(
                LeaveGroupResponse.MemberResponse(
                    member_id=identity.member_id, group_instance_id=identity.group_instance_id, error_code=error
                )
            )
        if left and group is not None:
            self._after_removal(operation, group)
        return responses

    def _leave_one(self, operation: Operation, group: ClassicGroup, identity: LeaveGroupRequest.MemberIdentity) -> None:
        member_id = identity.member_id
        if not member_id and identity.group_instance_id is not None:
            member_id = group.static_members.get(identity.group_instance_id, "")
        elif member_id in group.pending_members:
            group.forget_pending(member_id)
            return
        self._remove_member(operation, group, group.check_member(member_id, identity.group_instance_id))

    def _remove_member(self, operation: Operation, group: ClassicGroup, member: Member) -> None:
        group.remove(member.member_id)
        self._refuse_parked(operation, member, JoinRefusedError(ErrorCode.UNKNOWN_MEMBER_ID, ""))

    def _after_removal(self, operation: Operation, group: ClassicGroup) -> None:
        if group.state in {GroupState.STABLE, GroupState.COMPLETING_REBALANCE}:
            self._prepare_rebalance(operation, group)
        else:
            self._complete_join_if_all_joined(operation, group)

    def _refuse_parked(self, operation: Operation, removed: Member, refusal: KafkaError) -> None:
        for waiting_join in removed.joining:
            operation.refuse(waiting_join, refusal)
        for waiting_sync in removed.syncing:
            operation.refuse(waiting_sync, refusal)

    # -- coming and going of the shard ---------------------------------------------------------------------------

    def loaded(self, operation: Operation) -> None:
        """Every member has a whole session to show that it is there; a group that has become too large gathers anew."""
        max_size = self._cluster.config.integer("group.max.size")
        for group in list(self._groups.values()):
            for member in group.members.values():
                self._await_heartbeat(group, member)
            if len(group.members) > max_size:
                self._prepare_rebalance(operation, group)

    def unloaded(self) -> None:
        """Another one may coordinate these groups now: who waits here asks again."""
        refusal = KafkaError(ErrorCode.NOT_COORDINATOR)
        for group in self._groups.values():
            group.cancel_timers()
            for member in group.members.values():
                joining = group.take_joining(member)
                syncing, member.syncing = member.syncing, []
                for waiting_join in joining:
                    waiting_join.fail(refusal)
                for waiting_sync in syncing:
                    waiting_sync.fail(refusal)

    def _existing(self, group_id: str) -> ClassicGroup:
        group = self._groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return group

    def _random_uuid(self) -> str:
        """A random UUID as text (RFC 9562, version 4)."""
        raw = bytearray(self._cluster.random.randbytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def _call_later(self, delay_ms: int, work: TimerWork) -> "Timer":
        return self._cluster.clock.call_later(max(delay_ms, 0), partial(self._run_timer, work))


def _joined(group: ClassicGroup, member: Member, *, with_members: bool) -> JoinGroupResponse:
    members = []
    if with_members:
        members = [
            JoinGroupResponse.JoinGroupResponseMember(
                member_id=one.member_id, group_instance_id=one.instance_id, metadata=one.metadata_for(group.protocol_name or "")
            )
            for one in group.members.values()
        ]
    return JoinGroupResponse(
        generation_id=group.generation,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name or "",
        leader=group.leader_id or "",
        member_id=member.member_id,
        members=members,
    )


def _synced(group: ClassicGroup, member: Member) -> SyncGroupResponse:
    return SyncGroupResponse(protocol_type=group.protocol_type, protocol_name=group.protocol_name, assignment=member.assignment)


def _differ(asked: str | None, given: str | None) -> bool:
    return asked is not None and given is not None and asked != given


def _rebalance_timeout_ms(request: JoinGroupRequest, version: int) -> int:
    """v0 knows one timeout for both."""
    return request.session_timeout_ms if version == 0 else request.rebalance_timeout_ms
