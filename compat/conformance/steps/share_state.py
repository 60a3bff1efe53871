"""What the share coordinator keeps of a share partition, asked for as the leader of the partition does (KIP-932)."""

import base64
from typing import NamedTuple

from pykbroker.compat.expectations import expect
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    DeleteShareGroupStateRequest,
    DeleteShareGroupStateResponse,
    FindCoordinatorRequest,
    InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryRequest,
    ReadShareGroupStateSummaryResponse,
    WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
)

SHARE = 2
"""FindCoordinator's key type."""

STATE = (
    "InitializeShareGroupState",
    "ReadShareGroupState",
    "WriteShareGroupState",
    "DeleteShareGroupState",
    "ReadShareGroupStateSummary",
)
"""The APIs that it takes."""


class Run(NamedTuple):
    """Records of one state."""

    first_offset: int
    last_offset: int
    delivery_state: int
    delivery_count: int


class Keeper:
    """The share coordinator, asked about one partition in the name of one group."""

    def __init__(self, target: Target, topic: Topic, group_id: str | None = None, *, partition: int = 0) -> None:
        self.target = target
        self.topic_id = topic.topic_id
        self.partition = partition
        self.group_id = (
            eventually(lambda: target.new_name("group"), self._is_kept_here, "some share partitions are kept here")
            if group_id is None
            else group_id
        )

    def _is_kept_here(self, group_id: str) -> bool:
        """Whether the broker under test is the coordinator of this partition for that group."""
        key = f"{group_id}:{base64.urlsafe_b64encode(self.topic_id).decode().rstrip('=')}:{self.partition}"
        found = self.target.ask_newest(FindCoordinatorRequest(key_type=SHARE, coordinator_keys=[key]), 6).coordinators[0]
        expect(found, key=key)
        return found.error_code == ErrorCode.NONE and found.node_id == self.target.node_id

    def initialize(self, *, state_epoch: int, start_offset: int) -> InitializeShareGroupStateResponse:
        """InitializeShareGroupState of one partition."""
        part = InitializeShareGroupStateRequest.PartitionData(partition=self.partition, state_epoch=state_epoch, start_offset=start_offset)
        topics = [InitializeShareGroupStateRequest.InitializeStateData(topic_id=self.topic_id, partitions=[part])]
        return self.target.ask(InitializeShareGroupStateRequest(group_id=self.group_id, topics=topics), 0)

    def read(self, *, leader_epoch: int) -> ReadShareGroupStateResponse:
        """ReadShareGroupState of one partition."""
        part = ReadShareGroupStateRequest.PartitionData(partition=self.partition, leader_epoch=leader_epoch)
        topics = [ReadShareGroupStateRequest.ReadStateData(topic_id=self.topic_id, partitions=[part])]
        return self.target.ask(ReadShareGroupStateRequest(group_id=self.group_id, topics=topics), 0)

    def summary(self, *, leader_epoch: int = 0, version: int | None = None) -> ReadShareGroupStateSummaryResponse:
        """ReadShareGroupStateSummary of one partition."""
        part = ReadShareGroupStateSummaryRequest.PartitionData(partition=self.partition, leader_epoch=leader_epoch)
        topics = [ReadShareGroupStateSummaryRequest.ReadStateSummaryData(topic_id=self.topic_id, partitions=[part])]
        request = ReadShareGroupStateSummaryRequest(group_id=self.group_id, topics=topics)
        return self.target.ask(request, self.target.newest(request, 1) if version is None else version)

    def write(
        self,
        *runs: Run,
        state_epoch: int,
        leader_epoch: int,
        start_offset: int,
        complete: int = -1,
        version: int | None = None,
    ) -> WriteShareGroupStateResponse:
        """WriteShareGroupState of one partition."""
        version = self.target.newest(WriteShareGroupStateRequest, 1) if version is None else version
        part = WriteShareGroupStateRequest.PartitionData(
            partition=self.partition,
            state_epoch=state_epoch,
            leader_epoch=leader_epoch,
            start_offset=start_offset,
            delivery_complete_count=complete if version >= 1 else -1,
            state_batches=[
                WriteShareGroupStateRequest.StateBatch(first_offset=first, last_offset=last, delivery_state=state, delivery_count=count)
                for first, last, state, count in runs
            ],
        )
        topics = [WriteShareGroupStateRequest.WriteStateData(topic_id=self.topic_id, partitions=[part])]
        return self.target.ask(WriteShareGroupStateRequest(group_id=self.group_id, topics=topics), version)

    def delete(self) -> DeleteShareGroupStateResponse:
        """DeleteShareGroupState of one partition."""
        part = DeleteShareGroupStateRequest.PartitionData(partition=self.partition)
        topics = [DeleteShareGroupStateRequest.DeleteStateData(topic_id=self.topic_id, partitions=[part])]
        return self.target.ask(DeleteShareGroupStateRequest(group_id=self.group_id, topics=topics), 0)
