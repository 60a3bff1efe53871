"""A member of a classic consumer group, as small as it can be: one topic, one thread, ranges of partitions.

Between two fetches it sends its heartbeat when that is due; whoever leads the group divides the partitions among all members.
"""

import time
from collections.abc import Sequence

from pykbroker.cli.group_offsets import commit, committed
from pykbroker.client import Client, ConsumedRecord, check
from pykbroker.protocol.codec import decode_prefix, encode
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

_SESSION_TIMEOUT_MS = 10_000
_REBALANCE_TIMEOUT_MS = 20_000
_HEARTBEAT_SECONDS = 2.0
_VERSION = b"\0\0"
"""The consumers' own protocol, in its first version: everybody reads it."""

_JOIN_AGAIN = {ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID}


class Membership:
    """Our place in a group. `positions` is what to commit: whoever reads moves it on."""

    def __init__(self, asked: Client, group: str, topic: str, start: int) -> None:
        self.positions: dict[int, int] = {}
        self._asked = asked
        self._group = group
        self._topic = topic
        self._start = start
        self._member_id = ""
        self._generation = -1
        self._heartbeat_due = 0.0

    def poll(self) -> Sequence[ConsumedRecord]:
        """What there is for us now, perhaps nothing."""
        if self._generation < 0:
            self._join()
        if time.monotonic() >= self._heartbeat_due and not self._heartbeat():
            return []
        if not self.positions:
            time.sleep(0.2)  # More members than partitions: there is nothing to read, only to stay.
            return []
        fetched = self._asked.until_it_works(lambda: self._asked.fetch(self._topic, self.positions))
        read = {record.partition for record in fetched.records}
        # What brought no record (control batches) is done with; the rest is the reader's to move on.
        self.positions.update({partition: position for partition, position in fetched.positions.items() if partition not in read})
        return fetched.records

    def leave(self) -> None:
        """Commit what was read, and make room for others."""
        if self._generation < 0:
            return
        self._commit()
        member = LeaveGroupRequest.MemberIdentity(member_id=self._member_id)
        request = LeaveGroupRequest(group_id=self._group, members=[member])
        self._asked.ask_coordinator(self._group, request, LeaveGroupResponse)
        self._generation = -1

    def _heartbeat(self) -> bool:
        """Whether we are still in; else the next poll joins again."""
        request = HeartbeatRequest(group_id=self._group, generation_id=self._generation, member_id=self._member_id)
        answer = self._asked.ask_coordinator(self._group, request, HeartbeatResponse)
        self._heartbeat_due = time.monotonic() + _HEARTBEAT_SECONDS
        if answer.error_code not in _JOIN_AGAIN:
            check(answer.error_code, f"group {self._group}")
            return True
        if answer.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
            self._commit()
        else:
            self._member_id = ""
        self._generation = -1
        return False

    def _commit(self) -> None:
        if not self.positions:
            return
        offsets = {(self._topic, partition): position for partition, position in self.positions.items()}
        try:
            commit(self._asked, self._group, offsets, self._generation, self._member_id)
        except KafkaError as error:
            if error.error_code not in _JOIN_AGAIN:
                raise

    def _join(self) -> None:
        """Join, divide if we lead, and start where the group stands; again, as long as others come and go."""
        while True:
            joined = self._joined()
            assignment = self._synced(joined)
            if assignment is not None:
                break
        self._generation = joined.generation_id
        self._heartbeat_due = time.monotonic() + _HEARTBEAT_SECONDS
        offsets = committed(self._asked, self._group)
        self.positions = {}
        for partition in assignment:
            known = offsets.get((self._topic, partition))
            self.positions[partition] = self._asked.offset(self._topic, partition, self._start) if known is None else known

    def _joined(self) -> JoinGroupResponse:
        subscription = _VERSION + encode(ConsumerProtocolSubscription(topics=[self._topic]), 0)
        protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=subscription)
        while True:
            request = JoinGroupRequest(
                group_id=self._group,
                session_timeout_ms=_SESSION_TIMEOUT_MS,
                rebalance_timeout_ms=_REBALANCE_TIMEOUT_MS,
                member_id=self._member_id,
                protocol_type="consumer",
                protocols=[protocol],
            )
            answer = self._asked.ask_coordinator(self._group, request, JoinGroupResponse)
            if answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                self._member_id = answer.member_id
            elif answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID:
                self._member_id = ""
            else:
                check(answer.error_code, f"group {self._group}")
                self._member_id = answer.member_id
                return answer

    def _synced(self, joined: JoinGroupResponse) -> list[int] | None:
        """The partitions that are ours; None where the group changed in the meantime."""
        shares = self._shares(joined) if joined.leader == joined.member_id else {}
        request = SyncGroupRequest(
            group_id=self._group,
            generation_id=joined.generation_id,
            member_id=self._member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[
                SyncGroupRequest.SyncGroupRequestAssignment(member_id=member, assignment=share) for member, share in shares.items()
            ],
        )
        answer = self._asked.ask_coordinator(self._group, request, SyncGroupResponse)
        if answer.error_code in _JOIN_AGAIN:
            return None
        check(answer.error_code, f"group {self._group}")
        if len(answer.assignment) < len(_VERSION):
            return []
        given, _ = decode_prefix(ConsumerProtocolAssignment, 0, answer.assignment, len(_VERSION))
        return [partition for one in given.assigned_partitions if one.topic == self._topic for partition in one.partitions]

    def _shares(self, joined: JoinGroupResponse) -> dict[str, bytes]:
        """Every member's range of every topic that it wants."""
        wanted: dict[str, list[str]] = {}
        for member in sorted(joined.members, key=lambda each: each.member_id):
            subscription, _ = decode_prefix(ConsumerProtocolSubscription, 0, member.metadata, len(_VERSION))
            for topic in subscription.topics:
                wanted.setdefault(topic, []).append(member.member_id)
        given: dict[str, list[ConsumerProtocolAssignment.TopicPartition]] = {member.member_id: [] for member in joined.members}
        for topic, members in wanted.items():
            partitions = self._asked.partitions(topic)
            for number, member_id in enumerate(members):
                share = partitions[number * len(partitions) // len(members) : (number + 1) * len(partitions) // len(members)]
                given[member_id].append(ConsumerProtocolAssignment.TopicPartition(topic=topic, partitions=share))
        return {member: _VERSION + encode(ConsumerProtocolAssignment(assigned_partitions=topics), 0) for member, topics in given.items()}
