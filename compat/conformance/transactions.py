"""A transaction of a check's own, in the steps that every version of the protocol has: add partitions, produce, end (KIP-98)."""

import time
from collections.abc import Sequence

from pykbroker.compat.expectations import expect, expect_that
from pykbroker.compat.log_requests import READ_COMMITTED, produce_request_of
from pykbroker.compat.tampering import batch_of
from pykbroker.compat.target import LATEST, PATIENCE_S, Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    FindCoordinatorRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
)

TRANSACTIONS = ("InitProducerId", "AddPartitionsToTxn", "EndTxn")
"""The APIs that it takes."""

CONSUMER = -1
"""The replica id of who is no replica; those see everything, whatever isolation they ask for."""

_TRANSACTION = 1
_NOT_YET = (
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.CONCURRENT_TRANSACTIONS,
)


class Transaction:
    """A producer with a transactional id; one transaction after the other."""

    def __init__(self, target: Target) -> None:
        self.transactional_id = target.new_transactional_id()
        self._target = target
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = target.ask(FindCoordinatorRequest(key_type=_TRANSACTION, coordinator_keys=[self.transactional_id]), 4).coordinators[0]
            answer = target.ask(InitProducerIdRequest(transactional_id=self.transactional_id, transaction_timeout_ms=60_000), 4)
            if found.error_code == ErrorCode.NONE and answer.error_code not in _NOT_YET:
                break
            expect_that(time.monotonic() < deadline, f"the transaction coordinator takes office; it answers {answer!r}")
            time.sleep(0.05)
        expect(answer, error_code=ErrorCode.NONE)
        self.producer_id = answer.producer_id
        self.producer_epoch = answer.producer_epoch
        self._sequences: dict[tuple[str, int], int] = {}

    def add(self, topic: Topic, partition: int = 0) -> None:
        """Make a partition part of it."""
        topics = [AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=topic.name, partitions=[partition])]
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=self.producer_id,
            v3_and_below_producer_epoch=self.producer_epoch,
            v3_and_below_topics=topics,
        )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._target.ask(request, 3).results_by_topic_v3_and_below[0].results_by_partition[0]
            if answer.partition_error_code not in _NOT_YET or time.monotonic() > deadline:
                expect(answer, partition_error_code=ErrorCode.NONE)
                return
            time.sleep(0.02)

    def produce(self, topic: Topic, values: Sequence[bytes] = (b"value",), partition: int = 0, version: int = 11) -> int:
        """Append to a partition of it, which is added before; the offset of the first record."""
        self.add(topic, partition)
        sequence = self._sequences.get((topic.name, partition), 0)
        self._sequences[topic.name, partition] = sequence + len(values)
        records = batch_of(
            *values, producer_id=self.producer_id, producer_epoch=self.producer_epoch, base_sequence=sequence, is_transactional=True
        )
        request = produce_request_of([(topic, partition, records)], transactional_id=self.transactional_id)
        answer = self._target.ask(request, version).responses[0].partition_responses[0]
        expect(answer, error_code=ErrorCode.NONE)
        return answer.base_offset

    def end(self, topic: Topic, *, committed: bool, partition: int = 0) -> None:
        """Commit or abort it, and wait until that partition has its marker."""
        before = self._end_of(topic, partition)
        request = EndTxnRequest(
            transactional_id=self.transactional_id, producer_id=self.producer_id, producer_epoch=self.producer_epoch, committed=committed
        )
        expect(self._target.ask(request, 3), error_code=ErrorCode.NONE)
        deadline = time.monotonic() + PATIENCE_S
        while self._end_of(topic, partition) == before:
            expect_that(time.monotonic() < deadline, "the marker is written")
            time.sleep(0.01)

    def _end_of(self, topic: Topic, partition: int) -> int:
        return self._target.list_offsets(topic, partition=partition, timestamp=LATEST).offset


def last_stable_offset(target: Target, topic: Topic, partition: int = 0) -> int:
    """The end of what a reader of committed records sees."""
    part = ListOffsetsRequest.ListOffsetsPartition(partition_index=partition, timestamp=LATEST)
    topics = [ListOffsetsRequest.ListOffsetsTopic(name=topic.name, partitions=[part])]
    answer = target.ask(ListOffsetsRequest(replica_id=CONSUMER, isolation_level=READ_COMMITTED, topics=topics), 7).topics[0].partitions[0]
    expect(answer, error_code=ErrorCode.NONE)
    return answer.offset
