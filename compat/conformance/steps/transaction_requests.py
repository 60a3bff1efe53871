"""What a transactional producer, a coordinator or an administrator asks about a transaction, in whatever version, and the answers in one shape.

A broker that answers about something else than what was asked raises Unexpected here.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of
from pykbroker.compat.steps.log_requests import produce_request_of
from pykbroker.compat.target import PATIENCE_S, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
    ProduceResponse,
    TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
)

NO_ID, NO_EPOCH = -1, -1
NO_SUCH_ID = 4_711_000
"""A producer id that nobody was given."""

IN_TRANSACTION = "in a transaction"
"""The metadata of offsets that are committed in one."""

TRANSACTION = 1
"""FindCoordinator's key type."""

BATCHED = 4
"""The first AddPartitionsToTxn that is about several transactions, as brokers ask one another (KIP-890)."""

FENCED_BY_NAME = 2
"""The first version of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn that knows PRODUCER_FENCED (KIP-588)."""

_NOT_YET = (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR)


class Identity(NamedTuple):
    """Who a transactional producer says it is."""

    transactional_id: str
    producer_id: int
    producer_epoch: int

    def at_epoch(self, epoch: int) -> "Identity":
        """The same in another epoch."""
        return self._replace(producer_epoch=epoch)

    def with_id(self, producer_id: int) -> "Identity":
        """The same with another producer id."""
        return self._replace(producer_id=producer_id)

    def named(self, transactional_id: str) -> "Identity":
        """The same under another transactional id."""
        return self._replace(transactional_id=transactional_id)


class Part(NamedTuple):
    """One partition, by the name of its topic."""

    topic: str
    partition: int = 0


def old_epoch_error(version: int) -> ErrorCode:
    """What AddPartitionsToTxn, AddOffsetsToTxn and EndTxn say to an epoch that is not the current one."""
    return ErrorCode.PRODUCER_FENCED if version >= FENCED_BY_NAME else ErrorCode.INVALID_PRODUCER_EPOCH


def not_added_error(version: int) -> ErrorCode:
    """What Produce says to a transactional batch for a partition that is not in the transaction, up to v11."""
    return ErrorCode.TRANSACTION_ABORTABLE if version >= 11 else ErrorCode.INVALID_TXN_STATE


def strangers(target: Target, who: Identity) -> list[Identity]:
    """Whoever a producer is not: another transactional id, another producer id, a later epoch, an older one, no transactional id."""
    return [who.named(target.new_transactional_id()), who.with_id(NO_SUCH_ID), who.at_epoch(7), who.at_epoch(-1), who.named("")]


# -- the coordinator ---------------------------------------------------------------------------------------------


def has_coordinator(target: Target, transactional_id: str) -> bool:
    """Whether somebody coordinates that transactional id; asking makes the log of transactions where there is none."""
    return target.find_coordinator(transactional_id, TRANSACTION).error_code == ErrorCode.NONE


def wait_for_transaction_coordinator(target: Target, transactional_id: str) -> None:
    """Until that transactional id has a coordinator that has loaded."""
    eventually(
        lambda: has_coordinator(target, transactional_id) and described(target, transactional_id).error_code not in _NOT_YET,
        bool,
        "the transaction coordinator takes office",
    )


def initialise(
    target: Target,
    transactional_id: str | None,
    version: int | None = None,
    *,
    timeout_ms: int = 60_000,
    producer_id: int = NO_ID,
    producer_epoch: int = NO_EPOCH,
) -> InitProducerIdResponse:
    """InitProducerId, once."""
    version = target.newest(InitProducerIdRequest, 5) if version is None else version
    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)
    if version >= 3:
        request.producer_id, request.producer_epoch = producer_id, producer_epoch
    return target.ask(request, version)


def initialise_again(target: Target, who: Identity, version: int | None = None, *, timeout_ms: int = 60_000) -> InitProducerIdResponse:
    """InitProducerId of a producer that says who it was (KIP-360), once."""
    version = target.newest(InitProducerIdRequest, 5, at_least=3) if version is None else version
    return initialise(
        target, who.transactional_id, version, timeout_ms=timeout_ms, producer_id=who.producer_id, producer_epoch=who.producer_epoch
    )


def initialised(target: Target, transactional_id: str, version: int | None = None, *, timeout_ms: int = 60_000) -> Identity:
    """InitProducerId, asked until there is a coordinator and what was under way before is through; who the producer is then."""
    version = target.newest(InitProducerIdRequest, 4) if version is None else version
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = has_coordinator(target, transactional_id)
        answer = initialise(target, transactional_id, version, timeout_ms=timeout_ms)
        if answer.error_code == ErrorCode.NONE:
            return Identity(transactional_id, answer.producer_id, answer.producer_epoch)
        waiting = not found or answer.error_code in (ErrorCode.CONCURRENT_TRANSACTIONS, *_NOT_YET)
        expect_that(waiting and time.monotonic() < deadline, f"InitProducerId succeeds in time; it answers {answer!r}")
        time.sleep(0.02)


def new_producer(target: Target, *, timeout_ms: int = 60_000) -> Identity:
    """A producer under a transactional id that nobody used before."""
    return initialised(target, target.new_transactional_id(), timeout_ms=timeout_ms)


# -- the steps of a transaction ----------------------------------------------------------------------------------


def add_partitions_request(who: Identity, parts: Sequence[Part], version: int, *, verify_only: bool = False) -> AddPartitionsToTxnRequest:
    """AddPartitionsToTxn of one transaction, as the version has it; one topic entry for each topic."""
    topics = [
        AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=name, partitions=[one.partition for one in parts if one.topic == name])
        for name in dict.fromkeys(one.topic for one in parts)
    ]
    if version >= BATCHED:
        transaction = AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
            transactional_id=who.transactional_id,
            producer_id=who.producer_id,
            producer_epoch=who.producer_epoch,
            verify_only=verify_only,
            topics=topics,
        )
        return AddPartitionsToTxnRequest(transactions=[transaction])
    return AddPartitionsToTxnRequest(
        v3_and_below_transactional_id=who.transactional_id,
        v3_and_below_producer_id=who.producer_id,
        v3_and_below_producer_epoch=who.producer_epoch,
        v3_and_below_topics=topics,
    )


def add_partitions(target: Target, who: Identity, parts: Sequence[Part], version: int = 3, *, verify_only: bool = False) -> dict[Part, int]:
    """AddPartitionsToTxn of one transaction, once; the error of each partition."""
    answer = target.ask(add_partitions_request(who, parts, version, verify_only=verify_only), version)
    return errors_of_added(answer, who.transactional_id, version)


def errors_of_added(answer: AddPartitionsToTxnResponse, transactional_id: str, version: int) -> dict[Part, int]:
    """The error of each partition of one transaction in an answer."""
    topics = answer.results_by_topic_v3_and_below
    if version >= BATCHED:
        expect(answer, error_code=ErrorCode.NONE)
        by_id = {one.transactional_id: one.topic_results for one in answer.results_by_transaction}
        expect_that(transactional_id in by_id, f"there are results of {transactional_id}")
        topics = by_id[transactional_id]
    return {Part(topic.name, one.partition_index): one.partition_error_code for topic in topics for one in topic.results_by_partition}


def add_partition(target: Target, who: Identity, topic: Topic, version: int = 3, *, partition: int = 0) -> int:
    """AddPartitionsToTxn of one partition, once; its error."""
    part = Part(topic.name, partition)
    errors = add_partitions(target, who, [part], version)
    expect_equal("the partitions answered", list(errors), [part])
    return errors[part]


def begin(target: Target, who: Identity, topic: Topic, *, partition: int = 0) -> None:
    """Add a partition, asked until the transaction before is through, and insist on it."""
    deadline = time.monotonic() + PATIENCE_S
    while (error := add_partition(target, who, topic, partition=partition)) == ErrorCode.CONCURRENT_TRANSACTIONS:
        expect_that(time.monotonic() < deadline, "the transaction before is through in time")
        time.sleep(0.02)
    expect_equal("the error of AddPartitionsToTxn", error, ErrorCode.NONE)


def transactional_batch(who: Identity, *values: bytes, sequence: int = 0) -> bytes:
    """A batch of its transaction."""
    return batch_of(*values, producer_id=who.producer_id, producer_epoch=who.producer_epoch, base_sequence=sequence, is_transactional=True)


def produce(
    target: Target,
    who: Identity,
    topic: Topic,
    version: int | None = None,
    *,
    partition: int = 0,
    sequence: int = 0,
    records: bytes | None = None,
) -> ProduceResponse.PartitionProduceResponse:
    """Produce of one batch of a transaction, to a partition that is added already unless the version adds it; what is answered."""
    batch = transactional_batch(who, sequence=sequence) if records is None else records
    request = produce_request_of([(topic, partition, batch)], transactional_id=who.transactional_id)
    return target.ask(request, target.newest(request, 11) if version is None else version).responses[0].partition_responses[0]


def write(target: Target, who: Identity, topic: Topic, *, partition: int = 0, sequence: int = 0) -> int:
    """Begin, or go on with, a transaction with one record in that partition; the record's offset."""
    begin(target, who, topic, partition=partition)
    answer = produce(target, who, topic, partition=partition, sequence=sequence)
    expect(answer, error_code=ErrorCode.NONE)
    return answer.base_offset


def end(target: Target, who: Identity, version: int, *, committed: bool) -> EndTxnResponse:
    """EndTxn, once."""
    request = EndTxnRequest(
        transactional_id=who.transactional_id, producer_id=who.producer_id, producer_epoch=who.producer_epoch, committed=committed
    )
    return target.ask(request, version)


def commit(target: Target, who: Identity, version: int | None = None) -> None:
    """Commit, insist on it, and wait until it is through."""
    version = target.newest(EndTxnRequest, 4) if version is None else version
    expect(end(target, who, version, committed=True), error_code=ErrorCode.NONE)
    wait_for_transaction_state(target, who.transactional_id, "CompleteCommit")


def abort(target: Target, who: Identity, version: int | None = None) -> None:
    """Abort, insist on it, and wait until it is through."""
    version = target.newest(EndTxnRequest, 4) if version is None else version
    expect(end(target, who, version, committed=False), error_code=ErrorCode.NONE)
    wait_for_transaction_state(target, who.transactional_id, "CompleteAbort")


# -- offsets of groups in a transaction --------------------------------------------------------------------------


def add_offsets(target: Target, who: Identity, group_id: str, version: int = 3) -> int:
    """AddOffsetsToTxn, once; its error."""
    request = AddOffsetsToTxnRequest(
        transactional_id=who.transactional_id, producer_id=who.producer_id, producer_epoch=who.producer_epoch, group_id=group_id
    )
    return target.ask(request, version).error_code


def commit_offsets(
    target: Target,
    who: Identity,
    group_id: str,
    offsets: Mapping[Part, int],
    version: int = 3,
    *,
    metadata: str | None = IN_TRANSACTION,
    **member: object,
) -> dict[Part, int]:
    """TxnOffsetCommit, once; the error of each partition. `member` is generation_id, member_id, group_instance_id."""
    topics = [
        TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(
            name=part.topic,
            partitions=[
                TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(
                    partition_index=part.partition, committed_offset=offset, committed_metadata=metadata
                )
            ],
        )
        for part, offset in offsets.items()
    ]
    request = TxnOffsetCommitRequest(
        transactional_id=who.transactional_id,
        group_id=group_id,
        producer_id=who.producer_id,
        producer_epoch=who.producer_epoch,
        topics=topics,
    )
    for name, value in member.items():
        setattr(request, name, value)
    answer = target.ask(request, version)
    return {Part(topic.name, one.partition_index): one.error_code for topic in answer.topics for one in topic.partitions}


def commit_offset(
    target: Target,
    who: Identity,
    group_id: str,
    topic: Topic,
    offset: int,
    version: int = 3,
    *,
    metadata: str | None = IN_TRANSACTION,
    **member: object,
) -> int:
    """TxnOffsetCommit of one partition, once; its error."""
    errors = commit_offsets(target, who, group_id, {Part(topic.name): offset}, version, metadata=metadata, **member)
    expect_equal("the partitions answered", list(errors), [Part(topic.name)])
    return errors[Part(topic.name)]


# -- what is said about transactions -----------------------------------------------------------------------------


def described(target: Target, transactional_id: str) -> DescribeTransactionsResponse.TransactionState:
    """DescribeTransactions of one id."""
    answer = target.ask(DescribeTransactionsRequest(transactional_ids=[transactional_id]), 0)
    expect_equal("the transactions described", [one.transactional_id for one in answer.transaction_states], [transactional_id])
    return answer.transaction_states[0]


def wait_for_transaction_state(
    target: Target, transactional_id: str, state: str, within_s: float = PATIENCE_S
) -> DescribeTransactionsResponse.TransactionState:
    """Until the transaction is in that state; how it is described then."""
    deadline = time.monotonic() + within_s
    while (found := described(target, transactional_id)).transaction_state != state:
        expect(found, error_code=ErrorCode.NONE)
        if time.monotonic() > deadline:
            expect(found, transaction_state=state)
        time.sleep(0.02)
    return found


def list_transactions(
    target: Target,
    version: int | None = None,
    *,
    states: Sequence[str] = (),
    producer_ids: Sequence[int] = (),
    duration_ms: int = -1,
    pattern: str | None = None,
) -> ListTransactionsResponse:
    """ListTransactions with the filters that the version has."""
    if version is None:
        version = target.newest(ListTransactionsRequest, 2, at_least=2 if pattern is not None else 1 if duration_ms >= 0 else 0)
    request = ListTransactionsRequest(state_filters=list(states), producer_id_filters=list(producer_ids))
    if version >= 1:
        request.duration_filter = duration_ms
    if version >= 2:
        request.transactional_id_pattern = pattern
    return target.ask(request, version)


def described_producers(target: Target, parts: Sequence[Part]) -> dict[Part, DescribeProducersResponse.PartitionResponse]:
    """DescribeProducers, by partition."""
    topics = [DescribeProducersRequest.TopicRequest(name=one.topic, partition_indexes=[one.partition]) for one in parts]
    answer = target.ask(DescribeProducersRequest(topics=topics), 0)
    return {Part(topic.name, one.partition_index): one for topic in answer.topics for one in topic.partitions}


def producer_in(target: Target, topic: Topic, producer_id: int) -> DescribeProducersResponse.ProducerState:
    """What the first partition of a topic remembers of a producer."""
    answer = described_producers(target, [Part(topic.name)])[Part(topic.name)]
    expect(answer, error_code=ErrorCode.NONE)
    found = [one for one in answer.active_producers if one.producer_id == producer_id]
    expect_equal("how often the producer is described", len(found), 1)
    return found[0]


def write_marker(
    target: Target,
    who: Identity,
    topic: str,
    version: int | None = None,
    *,
    committed: bool = True,
    partition: int = 0,
    coordinator_epoch: int = 0,
    transaction_version: int = 0,
) -> int:
    """WriteTxnMarkers of one marker to one partition, as a coordinator would ask; the partition's error. Its first version is 1."""
    version = target.newest(WriteTxnMarkersRequest, 2, at_least=2 if transaction_version else 1) if version is None else version
    marker = WriteTxnMarkersRequest.WritableTxnMarker(
        producer_id=who.producer_id,
        producer_epoch=who.producer_epoch,
        transaction_result=committed,
        topics=[WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=topic, partition_indexes=[partition])],
        coordinator_epoch=coordinator_epoch,
    )
    if version >= 2:
        marker.transaction_version = transaction_version
    answer = target.ask(WriteTxnMarkersRequest(markers=[marker]), version)
    expect_equal("the producers answered", [one.producer_id for one in answer.markers], [who.producer_id])
    errors = {Part(one.name, part.partition_index): part.error_code for one in answer.markers[0].topics for part in one.partitions}
    expect_equal("the partitions answered", list(errors), [Part(topic, partition)])
    return errors[Part(topic, partition)]
