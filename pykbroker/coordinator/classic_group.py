"""One classic group: who its members are, which generation they are in, and which states may follow which.

What is durable of it (the last generation that was synced, or its being empty) changes by `replay` alone. The rebalance that leads to the
next generation is in memory only, as in Kafka: a crash takes the group back to its last synced generation. Nothing here knows of clocks,
records or answers' contents; see rebalance.py for who is answered what.
"""

from enum import Enum
from typing import TYPE_CHECKING

from pykbroker.coordinator.java_hash import in_map_order
from pykbroker.coordinator.subscription import subscribed_topics
from pykbroker.protocol.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pykbroker.clock import Timer
    from pykbroker.later import Later
    from pykbroker.protocol.messages import GroupMetadataValue, JoinGroupResponse, SyncGroupResponse

CONSUMER_PROTOCOL_TYPE = "consumer"


class GroupState(Enum):
    """Where a group stands; the values are the names on the wire."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


COMES_AFTER: dict[GroupState, frozenset[GroupState]] = {
    GroupState.PREPARING_REBALANCE: frozenset({GroupState.EMPTY, GroupState.STABLE, GroupState.COMPLETING_REBALANCE}),
    GroupState.COMPLETING_REBALANCE: frozenset({GroupState.PREPARING_REBALANCE}),
    GroupState.STABLE: frozenset({GroupState.COMPLETING_REBALANCE, GroupState.STABLE}),
    GroupState.EMPTY: frozenset({GroupState.PREPARING_REBALANCE, GroupState.EMPTY}),
    GroupState.DEAD: frozenset(GroupState),
}
"""Which states a group may be in before it enters this one. Members are awaited in PreparingRebalance, the leader's assignment in
CompletingRebalance. A group enters Stable and Empty again when a record of it is replayed that changes a member or nothing."""

Protocols = list[tuple[str, bytes]]
"""What a member can do, best first: (name, metadata)."""


class Member:
    """One member. `joining` and `syncing` are its parked requests."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "instance_id",
        "is_new",
        "joining",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
        "session_timer",
        "syncing",
    )

    def __init__(
        self,
        member_id: str,
        instance_id: str | None,
        client_id: str,
        client_host: str,
        *,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: Protocols,
        assignment: bytes = b"",
    ) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.assignment = assignment
        self.is_new = False
        """Whether its first JoinGroup is parked: then it cannot send heartbeats yet, and may be given up nevertheless."""
        self.joining: list[Later[JoinGroupResponse]] = []
        self.syncing: list[Later[SyncGroupResponse]] = []
        self.session_timer: Timer | None = None

    @property
    def is_static(self) -> bool:
        """Whether it has a group.instance.id (KIP-345)."""
        return self.instance_id is not None

    @property
    def may_be_silent(self) -> bool:
        """Whether no heartbeat is expected: while its request is parked, unless that is the first it ever made."""
        return not self.is_new and bool(self.joining or self.syncing)

    def metadata_for(self, protocol_name: str) -> bytes:
        """What it said about itself for a protocol; nothing where it does not speak it."""
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        return b""


class ClassicGroup:
    """See the module's law."""

    __slots__ = (
        "generation",
        "group_id",
        "initial_rebalance_extended",
        "join_timer",
        "joining_count",
        "leader_id",
        "members",
        "pending_members",
        "pending_sync",
        "previous_state",
        "protocol_counts",
        "protocol_name",
        "protocol_type",
        "state",
        "state_since_ms",
        "static_members",
        "subscriptions",
        "sync_timer",
    )

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.previous_state = GroupState.EMPTY
        self.state_since_ms: int | None = None
        """When the state that the last record tells of began; None where that record does not say."""
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.leader_id: str | None = None
        self.members: dict[str, Member] = {}
        self.static_members: dict[str, str] = {}
        """group.instance.id -> the id of the member that has it."""
        self.pending_members: dict[str, Timer] = {}
        """Member ids given out that have not joined yet (KIP-394), with the end of their time."""
        self.pending_sync: set[str] = set()
        """Members of this generation that have not sent SyncGroup yet."""
        self.protocol_counts: dict[str, int] = {}
        self.subscriptions: list[bytes] = []
        """What the members of this generation said about themselves when it began."""
        self.joining_count = 0
        self.initial_rebalance_extended = False
        """Whether somebody joined during the current round of the initial rebalance delay."""
        self.join_timer: Timer | None = None
        self.sync_timer: Timer | None = None

    # -- what is durable -----------------------------------------------------------------------------------------

    def replay(self, value: "GroupMetadataValue") -> None:
        """Become what a record says. Members that are as it says keep what it does not hold: their other protocols, their parked requests."""
        if self.state is not GroupState.STABLE or value.generation != self.generation:
            self.subscriptions = [stored.subscription for stored in value.members]
        recorded = {stored.member_id for stored in value.members}
        for member_id in [member_id for member_id in self.members if member_id not in recorded]:
            self.remove(member_id)
        self.generation = value.generation
        self.protocol_type = value.protocol_type or None
        self.protocol_name = value.protocol
        for stored in value.members:
            recorded_member = _member_from(stored, value.protocol)
            member = self.members.get(stored.member_id)
            if member is None:
                self._add(recorded_member)
                continue
            member.assignment = stored.assignment
            unchanged = value.protocol is not None and member.metadata_for(value.protocol) == stored.subscription
            protocols = member.protocols if unchanged else recorded_member.protocols
            self.update(member, protocols, recorded_member.rebalance_timeout_ms, recorded_member.session_timeout_ms)
        self.leader_id = value.leader
        self.previous_state, self.state = self.state, GroupState.STABLE if self.members else GroupState.EMPTY
        self.state_since_ms = value.current_state_timestamp if value.current_state_timestamp >= 0 else None

    # -- members -------------------------------------------------------------------------------------------------

    def add(self, member: Member, protocol_type: str, joining: "Later[JoinGroupResponse]") -> None:
        """A member comes in, its JoinGroup parked. The first one says what kind of group this is, and leads it."""
        if not self.members:
            self.protocol_type = protocol_type
        self._add(member)
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.park_join(member, joining)
        self.forget_pending(member.member_id)

    def park_join(self, member: Member, joining: "Later[JoinGroupResponse]") -> None:
        """Its JoinGroup waits for the others. One that it repeats is answered together with the first."""
        if not member.joining:
            self.joining_count += 1
        member.joining.append(joining)

    def take_joining(self, member: Member) -> "list[Later[JoinGroupResponse]]":
        """Its parked JoinGroups, which are parked no longer."""
        if member.joining:
            self.joining_count -= 1
        joining, member.joining = member.joining, []
        return joining

    def update(self, member: Member, protocols: Protocols, rebalance_timeout_ms: int, session_timeout_ms: int) -> None:
        """A member joins again, with what it can do now."""
        self._count_protocols(member, -1)
        member.protocols = protocols
        self._count_protocols(member, 1)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def remove(self, member_id: str) -> Member | None:
        """A member, or a member id given out, goes. Its parked requests are the caller's to answer. The leader's place goes to who is there longest."""
        self.forget_pending(member_id)
        self.pending_sync.discard(member_id)
        member = self.members.pop(member_id, None)
        if member is None:
            return None
        self._count_protocols(member, -1)
        if member.joining:
            self.joining_count -= 1
        if member.session_timer is not None:
            member.session_timer.cancel()
            member.session_timer = None
        if member.instance_id is not None and self.static_members.get(member.instance_id) == member_id:
            del self.static_members[member.instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        return member

    def replace_static(self, old_id: str, new_id: str) -> tuple[Member, Member]:
        """A static member came back under a new id: (the old one, which is gone, the new one in its place)."""
        led = self.leader_id == old_id
        old = self.members[old_id]
        new = Member(
            new_id,
            old.instance_id,
            old.client_id,
            old.client_host,
            rebalance_timeout_ms=old.rebalance_timeout_ms,
            session_timeout_ms=old.session_timeout_ms,
            protocols=old.protocols,
            assignment=old.assignment,
        )
        self.remove(old_id)
        self._add(new)
        if led:
            self.leader_id = new_id
        return old, new

    def forget_pending(self, member_id: str) -> None:
        """A member id that was given out is used, or given up."""
        timer = self.pending_members.pop(member_id, None)
        if timer is not None:
            timer.cancel()

    def check_member(self, member_id: str, instance_id: str | None) -> Member:
        """The member that a request names. Raises FENCED_INSTANCE_ID or UNKNOWN_MEMBER_ID (G-22, G-23)."""
        if instance_id is not None:
            holder = self.static_members.get(instance_id)
            if holder is not None and holder != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID)
            if holder is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    # -- protocols -----------------------------------------------------------------------------------------------

    def supports(self, protocol_type: str, protocols: Protocols) -> bool:
        """Whether a member that speaks these can be in this group: of the same kind, with a protocol that all the others speak (G-05)."""
        if self.state is GroupState.EMPTY:
            return bool(protocol_type and protocols)
        everyone = len(self.members)
        return protocol_type == self.protocol_type and any(self.protocol_counts.get(name, 0) == everyone for name, _ in protocols)

    def select_protocol(self) -> str:
        """The protocol that most members prefer among those that all of them speak; of several the first in a Java map (G-07)."""
        everyone = len(self.members)
        candidates = {name for name, count in self.protocol_counts.items() if count == everyone}
        votes: dict[str, int] = {}
        for member in self.members.values():
            vote = next(name for name, _ in member.protocols if name in candidates)
            votes[vote] = votes.get(vote, 0) + 1
        return max(in_map_order(votes), key=votes.__getitem__)

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether a member consumes this topic, as far as one can tell: a consumer whose metadata says nothing readable may consume all."""
        if self.protocol_type != CONSUMER_PROTOCOL_TYPE:
            return False
        topics = self.subscribed_topics()
        return topics is None or topic in topics

    def subscribed_topics(self) -> set[str] | None:
        """The topics that the members of this generation consume; None where that cannot be told."""
        if self.protocol_type != CONSUMER_PROTOCOL_TYPE:
            return None
        topics: set[str] = set()
        for metadata in self.subscriptions:
            subscribed = subscribed_topics(metadata)
            if subscribed is None:
                return None
            topics.update(subscribed)
        return topics

    # -- the rebalance -------------------------------------------------------------------------------------------

    def enter(self, state: GroupState, now_ms: int) -> None:
        """Move on to a state that may follow."""
        assert self.state in COMES_AFTER[state], f"group {self.group_id} cannot go from {self.state.value} to {state.value}"
        self.previous_state, self.state = self.state, state
        self.state_since_ms = now_ms

    @property
    def can_rebalance(self) -> bool:
        """Whether a rebalance may begin: not while one is waiting for its members."""
        return self.state in COMES_AFTER[GroupState.PREPARING_REBALANCE]

    @property
    def all_joined(self) -> bool:
        """Whether nobody is missing, not even one who only got an id so far."""
        return self.joining_count == len(self.members) and not self.pending_members

    @property
    def rebalance_timeout_ms(self) -> int:
        """How long the slowest member may take."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def begin_generation(self, now_ms: int) -> None:
        """Everybody who will has joined: they agree on a protocol, and wait for the leader's assignment."""
        self.generation += 1
        self.protocol_name = self.select_protocol()
        self.subscriptions = [member.metadata_for(self.protocol_name) for member in self.members.values()]
        self.enter(GroupState.COMPLETING_REBALANCE, now_ms)
        self.pending_sync = set(self.members)

    def elect_joined_leader(self) -> bool:
        """Keep the leader if it has joined, else take the first who has. False where nobody has."""
        leader = self.members.get(self.leader_id or "")
        if leader is not None and leader.joining:
            return True
        joined = next((member for member in self.members.values() if member.joining), None)
        if joined is None:
            return False
        self.leader_id = joined.member_id
        return True

    def accepts(self, member_id: str, max_size: int) -> bool:
        """Whether there is room for who wants to join (G-09)."""
        if self.state is GroupState.EMPTY:
            return True
        member = self.members.get(member_id)
        if self.state is GroupState.PREPARING_REBALANCE:
            return (member is not None and bool(member.joining)) or self.joining_count < max_size
        return member is not None or len(self.members) < max_size

    def cancel_timers(self) -> None:
        """The group is given up: nothing of it may happen any more."""
        timers = [
            self.join_timer,
            self.sync_timer,
            *self.pending_members.values(),
            *(member.session_timer for member in self.members.values()),
        ]
        for timer in timers:
            if timer is not None:
                timer.cancel()
        self.join_timer = self.sync_timer = None
        self.pending_members.clear()

    def _add(self, member: Member) -> None:
        self.members[member.member_id] = member
        self._count_protocols(member, 1)
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id

    def _count_protocols(self, member: Member, step: int) -> None:
        for name in {name for name, _ in member.protocols}:
            count = self.protocol_counts.get(name, 0) + step
            if count:
                self.protocol_counts[name] = count
            else:
                self.protocol_counts.pop(name, None)


def _member_from(stored: "GroupMetadataValue.MemberMetadata", protocol_name: str | None) -> Member:
    protocols: Sequence[tuple[str, bytes]] = [(protocol_name, stored.subscription)] if protocol_name is not None else []
    return Member(
        stored.member_id,
        stored.group_instance_id,
        stored.client_id,
        stored.client_host,
        rebalance_timeout_ms=stored.session_timeout if stored.rebalance_timeout == -1 else stored.rebalance_timeout,
        session_timeout_ms=stored.session_timeout,
        protocols=list(protocols),
        assignment=stored.assignment,
    )
