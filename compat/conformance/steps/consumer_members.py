"""Members of consumer groups (KIP-848): one that heartbeats as a good client does, and one whose next heartbeat is whatever a check wants."""

import time
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from pykbroker.compat.check import Settings
from pykbroker.compat.expectations import Unexpected, expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import ready_group
from pykbroker.compat.steps.configs import GROUP, Change, Refusal, alter, describe
from pykbroker.compat.steps.users import User
from pykbroker.compat.target import PATIENCE_S, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)

HEARTBEAT = ("ConsumerGroupHeartbeat", "ConsumerGroupDescribe")
"""The APIs that every check of a consumer group takes."""

SHORT_CONSUMER_SESSIONS = Settings((("group.consumer.min.session.timeout.ms", "100"), ("group.consumer.min.heartbeat.interval.ms", "10")))
JOINING, LEAVING, LEAVING_FOR_A_WHILE = 0, -1, -2
REBALANCE_TIMEOUT_MS = 30_000
_SHORTLY_S = 0.03

Partitions: TypeAlias = frozenset[tuple[bytes, int]]
"""Partitions by topic id and number."""

NONE_AT_ALL: Partitions = frozenset()


class ConsumerMember:
    """One consumer; `epoch` and `owned` are what the last answer without an error made of it."""

    def __init__(
        self,
        target: Target,
        group_id: str,
        topics: Iterable[Topic | str] = (),
        *,
        regex: str | None = None,
        instance_id: str | None = None,
        member_id: str | None = None,
        assignor: str | None = None,
        rebalance_timeout_ms: int = REBALANCE_TIMEOUT_MS,
        version: int | None = None,
        user: User | None = None,
    ) -> None:
        self.target = target
        self.user = user
        self.group_id = group_id
        self.names: list[str] | None = [one if isinstance(one, str) else one.name for one in topics]
        self.regex = regex
        if regex is not None and not self.names:
            self.names = None
        self.instance_id = instance_id
        self.member_id = target.new_name("member") if member_id is None else member_id
        self.assignor = assignor
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.version = target.newest(ConsumerGroupHeartbeatRequest, 1, at_least=int(regex is not None)) if version is None else version
        self.epoch = JOINING
        self.owned = NONE_AT_ALL

    # -- one request ---------------------------------------------------------------------------------------------

    def joining(self, **changes: object) -> ConsumerGroupHeartbeatRequest:
        """Its first heartbeat, in which everything is said, with these fields changed."""
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=JOINING,
            instance_id=self.instance_id,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            subscribed_topic_names=self.names,
            subscribed_topic_regex=self.regex,
            server_assignor=self.assignor,
            topic_partitions=[],
        )
        return _changed(request, changes)

    def beating(self, **changes: object) -> ConsumerGroupHeartbeatRequest:
        """A heartbeat in which nothing is said but who it is and in which epoch."""
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=self.epoch,
            instance_id=self.instance_id,
            rebalance_timeout_ms=-1,
            subscribed_topic_names=None,
            topic_partitions=None,
        )
        return _changed(request, changes)

    def try_to_join(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """One joining heartbeat and its answer, whatever it is; success is remembered."""
        return self._remember(self._ask(self.joining(**changes)))

    def heartbeat(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """One heartbeat and its answer, whatever it is; success is remembered."""
        return self._remember(self._ask(self.beating(**changes)))

    def own(self, owned: Partitions | None = None, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """A heartbeat that says what is owned."""
        return self.heartbeat(topic_partitions=as_owned(self.owned if owned is None else owned), **changes)

    def leave(self, epoch: int = LEAVING) -> ConsumerGroupHeartbeatResponse:
        """Its last heartbeat."""
        return self._ask(self.beating(member_epoch=epoch))

    def join(self, **changes: object) -> ConsumerGroupHeartbeatResponse:
        """Join, and insist on it."""
        answer = self.try_to_join(**changes)
        expect(answer, error_code=ErrorCode.NONE, member_id=self.member_id)
        return answer

    # -- until something is so -----------------------------------------------------------------------------------

    def wait_for(self, wanted: Partitions, within_s: float = PATIENCE_S) -> None:
        """Heartbeat, and give up and take up what is told, until that is what it owns and the broker has been told so."""
        deadline = time.monotonic() + within_s
        while True:
            answer = self.own()
            expect(answer, error_code=ErrorCode.NONE, member_id=self.member_id)
            if answer.assignment is None and self.owned == wanted:
                return
            if time.monotonic() > deadline:
                raise Unexpected("the partitions of the member", sorted(wanted), sorted(self.owned), answer)
            time.sleep(_SHORTLY_S)

    def wait_to_be_told(self) -> ConsumerGroupHeartbeatResponse:
        """Heartbeat without saying anything, until an answer has an assignment."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self.heartbeat()
            expect(answer, error_code=ErrorCode.NONE, member_id=self.member_id)
            if answer.assignment is not None:
                return answer
            if time.monotonic() > deadline:
                raise Unexpected("the assignment", "not null after a while", answer.assignment, answer)
            time.sleep(_SHORTLY_S)

    def wait_for_epoch(self, least: int) -> ConsumerGroupHeartbeatResponse:
        """Heartbeat with what it owns, until it is in that epoch or a later one."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self.own()
            expect(answer, error_code=ErrorCode.NONE, member_id=self.member_id)
            if answer.member_epoch >= least:
                return answer
            if time.monotonic() > deadline:
                raise Unexpected("member_epoch", f"at least {least} after a while", answer.member_epoch, answer)
            time.sleep(_SHORTLY_S)

    def _ask(self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse:
        return (self.user or self.target).ask(request, self.version)

    def _remember(self, answer: ConsumerGroupHeartbeatResponse) -> ConsumerGroupHeartbeatResponse:
        if answer.error_code == ErrorCode.NONE:
            self.epoch = answer.member_epoch
            if answer.assignment is not None:
                self.owned = assigned(answer) or NONE_AT_ALL
        return answer


# -- groups ------------------------------------------------------------------------------------------------------


def member_of_all(target: Target, topic: Topic, group_id: str | None = None, **options: object) -> ConsumerMember:
    """The only member of a group, stable, with every partition of a topic."""
    member = ConsumerMember(target, group_id or quick_group(target), [topic], **options)  # type: ignore[arg-type]
    member.join()
    member.wait_for(all_of(topic))
    return member


def quick_group(target: Target) -> str:
    """The id of a group that is not there, whose coordinator is, and whose assignments need not wait for one another."""
    group_id = ready_group(target)
    configure(target, group_id, **{"consumer.assignment.interval.ms": "0"})
    return group_id


def configure(target: Target, group_id: str, **configs: str) -> None:
    """Set configs of a group, and wait until its coordinator knows of them; they are unset after the check."""
    answer = alter(target, GROUP, group_id, [Change(name, value) for name, value in configs.items()])
    expect_equal("the answer", answer, Refusal(ErrorCode.NONE, answer.error_message))
    target.unset_after(GROUP, group_id, *configs)

    def known() -> dict[str, str | None]:
        return {one.name: one.value for one in describe(target, GROUP, group_id, list(configs)).configs}

    eventually(known, lambda found: found == configs, "the group has its configs")


def topic_for_groups(target: Target, partitions: int = 1) -> Topic:
    """A topic that the group coordinator knows of too: it learns of one a little after Metadata shows it (C-24)."""
    topic = target.new_topic(partitions)
    member_of_all(target, topic).leave()
    return topic


def members_in_turn(members: Sequence[ConsumerMember], wanted: Partitions) -> None:
    """All heartbeat in turn until together they own that, each partition once, and nobody is told anything new."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answers = [one.own() for one in members]
        for one, answer in zip(members, answers, strict=True):
            expect(answer, error_code=ErrorCode.NONE, member_id=one.member_id)
        owned = [part for one in members for part in one.owned]
        expect_that(len(owned) == len(set(owned)), "no partition is owned by two members")
        settled = all(answer.assignment is None for answer in answers) and len({one.epoch for one in members}) == 1
        if settled and frozenset(owned) == wanted and all(one.owned for one in members):
            return
        if time.monotonic() > deadline:
            raise Unexpected("the partitions of the members", sorted(wanted), sorted(owned), answers)
        time.sleep(_SHORTLY_S)


def described(target: Target, group_id: str, version: int | None = None) -> ConsumerGroupDescribeResponse.DescribedGroup:
    """ConsumerGroupDescribe of one group."""
    version = target.newest(ConsumerGroupDescribeRequest, 1) if version is None else version
    answer = target.ask(ConsumerGroupDescribeRequest(group_ids=[group_id]), version)
    expect_equal("the groups", [one.group_id for one in answer.groups], [group_id])
    return answer.groups[0]


def described_member(target: Target, member: ConsumerMember, version: int | None = None) -> ConsumerGroupDescribeResponse.Member:
    """What ConsumerGroupDescribe says of a member."""
    group = described(target, member.group_id, version)
    found = [one for one in group.members if one.member_id == member.member_id]
    expect_equal("members described under the member's id", len(found), 1)
    return found[0]


# -- partitions --------------------------------------------------------------------------------------------------


def all_of(*topics: Topic) -> Partitions:
    """Every partition of these topics."""
    return frozenset((topic.topic_id, index) for topic in topics for index in range(topic.partitions))


def assigned(answer: ConsumerGroupHeartbeatResponse) -> Partitions | None:
    """What a heartbeat's answer assigns; None where it says nothing of it."""
    if answer.assignment is None:
        return None
    return frozenset((topic.topic_id, index) for topic in answer.assignment.topic_partitions for index in topic.partitions)


def shown_as(assignment: ConsumerGroupDescribeResponse.Assignment) -> Partitions:
    """What a description says is assigned."""
    return frozenset((topic.topic_id, index) for topic in assignment.topic_partitions for index in topic.partitions)


def as_owned(partitions: Partitions) -> list[ConsumerGroupHeartbeatRequest.TopicPartitions]:
    """Partitions as a heartbeat names them."""
    by_topic: dict[bytes, list[int]] = {}
    for topic_id, index in sorted(partitions):
        by_topic.setdefault(topic_id, []).append(index)
    return [ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=topic_id, partitions=found) for topic_id, found in by_topic.items()]


def expect_refused(answer: ConsumerGroupHeartbeatResponse, error_code: ErrorCode, *words: str) -> None:
    """An answer that says no, why, and nothing else; `words` are of its message."""
    expect(answer, error_code=error_code, member_id=None, member_epoch=0, heartbeat_interval_ms=0, assignment=None)
    for word in words:
        expect_that(word in (answer.error_message or ""), f"the error message names {word!r}; it is {answer.error_message!r}")


def _changed(request: ConsumerGroupHeartbeatRequest, changes: dict[str, object]) -> ConsumerGroupHeartbeatRequest:
    for name, value in changes.items():
        if not hasattr(request, name):
            raise TypeError(f"a heartbeat has no {name}")
        setattr(request, name, value)
    return request
