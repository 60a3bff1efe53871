"""A transaction of a check's own, in the steps that every version of the protocol has: add partitions, produce, end (KIP-98).

What is asked, and every answer that is no success, is in transaction_requests; here all succeeds, and counts the sequences.
"""

from collections.abc import Sequence

from pykbroker.compat.expectations import expect
from pykbroker.compat.steps.log_requests import READ_COMMITTED
from pykbroker.compat.steps.transaction_requests import begin, end, new_producer, produce, transactional_batch
from pykbroker.compat.target import LATEST, NOBODY, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ListOffsetsRequest
from pykbroker.protocol.records import RecordBatch, batches, control_record_type

TRANSACTIONS = ("InitProducerId", "AddPartitionsToTxn", "EndTxn")
"""The APIs that it takes."""

OFFSETS = ("AddOffsetsToTxn", "TxnOffsetCommit", "OffsetCommit", "OffsetFetch", "FindCoordinator", "DescribeTransactions", *TRANSACTIONS)
"""Those that it takes to commit offsets of a group with it."""


class Transaction:
    """A producer with a transactional id; one transaction after the other."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._who = new_producer(target)
        self._sequences: dict[tuple[str, int], int] = {}

    @property
    def transactional_id(self) -> str:
        """Its name."""
        return self._who.transactional_id

    @property
    def producer_id(self) -> int:
        """The id that it was given."""
        return self._who.producer_id

    @property
    def producer_epoch(self) -> int:
        """The epoch that it was given."""
        return self._who.producer_epoch

    def add(self, topic: Topic, partition: int = 0) -> None:
        """Make a partition part of it."""
        begin(self._target, self._who, topic, partition=partition)

    def produce(self, topic: Topic, values: Sequence[bytes] = (b"value",), partition: int = 0, version: int | None = None) -> int:
        """Append to a partition of it, which is added before; the offset of the first record."""
        self.add(topic, partition)
        sequence = self._sequences.get((topic.name, partition), 0)
        self._sequences[topic.name, partition] = sequence + len(values)
        records = transactional_batch(self._who, *values, sequence=sequence)
        answer = produce(self._target, self._who, topic, version, partition=partition, records=records)
        expect(answer, error_code=ErrorCode.NONE)
        return answer.base_offset

    def end(self, topic: Topic, *, committed: bool, partition: int = 0) -> None:
        """Commit or abort it, and wait until that partition has its marker."""
        before = self._end_of(topic, partition)
        expect(end(self._target, self._who, 3, committed=committed), error_code=ErrorCode.NONE)
        eventually(lambda: self._end_of(topic, partition), lambda found: found != before, "the marker is written")

    def _end_of(self, topic: Topic, partition: int) -> int:
        return self._target.list_offsets(topic, partition=partition, timestamp=LATEST).offset


def last_stable_offset(target: Target, topic: Topic, partition: int = 0) -> int:
    """The end of what a reader of committed records sees; one who is no replica, since those see everything."""
    part = ListOffsetsRequest.ListOffsetsPartition(partition_index=partition, timestamp=LATEST)
    topics = [ListOffsetsRequest.ListOffsetsTopic(name=topic.name, partitions=[part])]
    request = ListOffsetsRequest(replica_id=NOBODY, isolation_level=READ_COMMITTED, topics=topics)
    answer = target.ask_newest(request, 7).topics[0].partitions[0]
    expect(answer, error_code=ErrorCode.NONE)
    return answer.offset


def markers_of(target: Target, topic: Topic, partition: int = 0) -> list[RecordBatch]:
    """The control batches of a partition."""
    return [one for one in batches(target.fetch(topic, partition=partition).records or b"") if one.is_control]


def kinds_of_markers(target: Target, topic: Topic, partition: int = 0) -> list[int]:
    """What the markers of a partition say."""
    return [control_record_type(next(one.records())) for one in markers_of(target, topic, partition)]
