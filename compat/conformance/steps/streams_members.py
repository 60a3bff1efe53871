"""Members of streams groups (KIP-1071) and the topologies that they bring along."""

import time
from collections.abc import Sequence

from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.configs import GROUP, Change, alter, entry
from pykbroker.compat.target import PATIENCE_S, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    DeleteGroupsRequest,
    StreamsGroupDescribeRequest,
    StreamsGroupDescribeResponse,
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
)

JOINING, LEAVING = 0, -1
STALE_TOPOLOGY, MISSING_SOURCE_TOPICS, INCORRECTLY_PARTITIONED, MISSING_INTERNAL_TOPICS, SHUTDOWN, DELAYED = range(6)
"""What a heartbeat may say of the state of its group."""
NO_DELAY = Change("streams.initial.rebalance.delay.ms", "0")
AT_ONCE = Change("streams.assignment.interval.ms", "0")
SUBTOPOLOGY = "0"

Topology = StreamsGroupHeartbeatRequest.Topology
Subtopology = StreamsGroupHeartbeatRequest.Subtopology
TopicInfo = StreamsGroupHeartbeatRequest.TopicInfo
TaskIds = StreamsGroupHeartbeatRequest.TaskIds
_NOT_YET = (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE)


class StreamsMember:
    """One instance of a streams application; `member_epoch` is that of its next heartbeat, `active` the tasks it was last given, if any."""

    def __init__(self, target: Target, group_id: str, topology: Topology, *, member_id: str | None = None) -> None:
        self.target = target
        self.group_id = group_id
        self.topology = topology
        self.member_id = target.new_name("member") if member_id is None else member_id
        self.member_epoch = JOINING
        self.active: dict[str, list[int]] | None = None

    def heartbeat_request(self, **changes: object) -> StreamsGroupHeartbeatRequest:
        """Its next heartbeat, with these fields changed: the one that joins has the topology and no tasks, a later one only its epoch."""
        request = StreamsGroupHeartbeatRequest(
            group_id=self.group_id, member_id=self.member_id, member_epoch=self.member_epoch, endpoint_information_epoch=-1
        )
        if self.member_epoch == JOINING:
            request.rebalance_timeout_ms = 30_000
            request.topology = self.topology
            request.active_tasks, request.standby_tasks, request.warmup_tasks = [], [], []
            request.process_id = f"process-of-{self.member_id}"
            request.client_tags = []
        for name, value in changes.items():
            setattr(request, name, value)
        return request

    def heartbeat(self, **changes: object) -> StreamsGroupHeartbeatResponse:
        """One heartbeat and its answer, whatever it is; where it is as usual, its epoch and its tasks are remembered."""
        answer = self.target.ask(self.heartbeat_request(**changes), 0)
        if answer.error_code == ErrorCode.NONE and not changes:
            self.member_epoch = answer.member_epoch
            if answer.active_tasks is not None:
                self.active = tasks_of(answer.active_tasks)
        return answer

    def join(self) -> StreamsGroupHeartbeatResponse:
        """Become a member, and insist on it; the answer."""
        self.target.afterwards(self.leave)
        deadline = time.monotonic() + PATIENCE_S
        while (answer := self.heartbeat()).error_code in _NOT_YET:
            expect_that(time.monotonic() < deadline, "the coordinator loads")
            time.sleep(0.05)
        expect(answer, error_code=ErrorCode.NONE, error_message=None, member_id=self.member_id)
        expect_that(answer.member_epoch > 0 and answer.heartbeat_interval_ms > 0, f"a member has an epoch and an interval: {answer}")
        return answer

    def join_with(self, active: dict[str, list[int]]) -> "StreamsMember":
        """Become a member, and wait for these active tasks."""
        self.join()
        self.wait_for(active)
        return self

    def wait_for(self, active: dict[str, list[int]]) -> StreamsGroupHeartbeatResponse:
        """Heartbeat, saying which tasks are owned, until it has these active tasks; the last answer."""

        def beat() -> StreamsGroupHeartbeatResponse:
            answer = self.heartbeat()
            expect(answer, error_code=ErrorCode.NONE, member_id=self.member_id)
            if answer.active_tasks is not None:
                owned = [TaskIds(subtopology_id=one.subtopology_id, partitions=one.partitions) for one in answer.active_tasks]
                self.target.ask(self.heartbeat_request(active_tasks=owned, standby_tasks=[], warmup_tasks=[]), 0)
            return answer

        return eventually(beat, lambda _: (self.active or {}) == active, f"a member has the active tasks {active}")

    def leave(self) -> StreamsGroupHeartbeatResponse:
        """Say goodbye to the group."""
        return self.heartbeat(member_epoch=LEAVING)


def topology(*sources: str, changelogs: Sequence[str] = (), epoch: int = 0) -> Topology:
    """One subtopology that reads these topics."""
    return Topology(
        epoch=epoch,
        subtopologies=[
            Subtopology(
                subtopology_id=SUBTOPOLOGY,
                source_topics=list(sources),
                state_changelog_topics=[
                    TopicInfo(
                        name=name,
                        replication_factor=1,
                        topic_configs=[StreamsGroupHeartbeatRequest.KeyValue(key="cleanup.policy", value="compact")],
                    )
                    for name in changelogs
                ],
            )
        ],
    )


def tasks_of(tasks: Sequence[StreamsGroupHeartbeatResponse.TaskIds]) -> dict[str, list[int]]:
    """Subtopology -> partitions."""
    return {one.subtopology_id: sorted(one.partitions) for one in tasks}


def statuses(answer: StreamsGroupHeartbeatResponse) -> list[int]:
    """The codes of what an answer says of the group, in order; each has to come with a sentence."""
    found = answer.status or []
    expect_that(all(one.status_detail for one in found), f"each status has its detail: {found}")
    return sorted(one.status_code for one in found)


def streams_group(target: Target, *configs: Change) -> str:
    """The id of a new streams group that assigns without delay, unless these configs say otherwise; it is deleted after the check."""
    group_id = target.new_group()
    target.afterwards(lambda: target.ask_newest(DeleteGroupsRequest(groups_names=[group_id]), 2))
    changes = list({one.name: one for one in (NO_DELAY, AT_ONCE, *configs)}.values())
    expect_equal("the answer to IncrementalAlterConfigs", alter(target, GROUP, group_id, changes).error_code, ErrorCode.NONE)
    target.unset_after(GROUP, group_id, *(one.name for one in changes))
    last = changes[-1]
    eventually(
        lambda: entry(target, GROUP, group_id, last.name).value,
        lambda value: value == last.value,
        f"{last.name} of a group is {last.value}",
    )
    target.wait_for_coordinator(group_id)
    return group_id


def newcomer(target: Target, topic: Topic, *configs: Change) -> StreamsMember:
    """Somebody who is about to join a new streams group that reads this topic."""
    return StreamsMember(target, streams_group(target, *configs), topology(topic.name))


def described(target: Target, group_id: str) -> StreamsGroupDescribeResponse.DescribedGroup:
    """StreamsGroupDescribe of one group; what is answered for it."""
    return target.ask(StreamsGroupDescribeRequest(group_ids=[group_id]), 0).groups[0]
