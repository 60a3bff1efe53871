"""T: what a transactional Produce may carry: plain batches beside it, other producers, other transactions; and markers by hand (KIP-98, KIP-890, KIP-1228)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal
from pykbroker.compat.steps.batches import batch_of
from pykbroker.compat.steps.log_requests import produce_request_of
from pykbroker.compat.steps.transaction_requests import (
    Identity,
    abort,
    begin,
    commit,
    end,
    initialised,
    new_producer,
    not_added_error,
    produce,
    producer_in,
    transactional_batch,
    write,
    write_marker,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS, kinds_of_markers, last_stable_offset, markers_of
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ProduceResponse, WriteTxnMarkersRequest
from pykbroker.protocol.records import ControlRecordType

WRITING = ("Produce", "DescribeTransactions", *TRANSACTIONS)
MARKING = ("WriteTxnMarkers", "DescribeProducers", *WRITING)
NOBODY = Identity("", 4_711_001, 3)
"""A producer that no coordinator knows."""

SAME_EPOCH_ENDS, NEXT_EPOCH_ENDS = 1, 2
"""Transaction versions, as a marker names them."""


def answers_by_partition(
    target: Target, topic: Topic, records: list[bytes], version: int, *, transactional_id: str | None
) -> list[ProduceResponse.PartitionProduceResponse]:
    """One Produce with a batch for each partition of a topic; the answers in the partitions' order."""
    data = [(topic, partition, batch) for partition, batch in enumerate(records)]
    answer = target.ask(produce_request_of(data, transactional_id=transactional_id), version)
    return sorted((one for response in answer.responses for one in response.partition_responses), key=lambda one: one.index)


def plain_batch(who: Identity, sequence: int) -> bytes:
    """A batch of a producer that is in no transaction."""
    return batch_of(producer_id=who.producer_id, producer_epoch=who.producer_epoch, base_sequence=sequence)


@check("T-12", api=("Produce", *WRITING), versions="3-13")
def a_plain_batch_in_a_transaction(target: Target, version: int) -> None:
    """Given a batch outside of transactions of a producer whose transaction has records in that partition, INVALID_TXN_STATE, and nothing is appended;
    before the first of them, and after the commit, it is appended.
    """
    topic = target.new_topic()
    who = new_producer(target)
    begin(target, who, topic)

    before = target.produce_batch(topic, plain_batch(who, 0), version=version)
    write(target, who, topic, sequence=1)
    within = target.produce_batch(topic, plain_batch(who, 2), version=version)
    commit(target, who)
    after = target.produce_batch(topic, plain_batch(who, 2), version=version)

    expect(before, error_code=ErrorCode.NONE, base_offset=0)
    expect(within, error_code=ErrorCode.INVALID_TXN_STATE, base_offset=-1)
    expect(after, error_code=ErrorCode.NONE, base_offset=3)


@check("T-14a", api=("Produce", *WRITING), versions="3-13")
def one_producer_in_one_transactional_request(target: Target, version: int) -> None:
    """Given transactional batches of two producers in one request, INVALID_PRODUCER_ID_MAPPING for every partition, with a message (v8+), and nothing
    is appended. KIP-98.
    """
    topic = target.new_topic(partitions=2)
    one, two = new_producer(target), new_producer(target)
    for who in (one, two):
        for partition in range(2):
            begin(target, who, topic, partition=partition)

    batches_of_both = [transactional_batch(one), transactional_batch(two)]
    answers = answers_by_partition(target, topic, batches_of_both, version, transactional_id=one.transactional_id)

    expect_equal("the partitions answered", [answer.index for answer in answers], [0, 1])
    for answer in answers:
        expect(answer, error_code=ErrorCode.INVALID_PRODUCER_ID_MAPPING, base_offset=-1, log_start_offset=-1)
        expect_equal("whether there is a message", bool(answer.error_message), version >= 8)
        expect(target.list_offsets(topic, partition=answer.index), offset=0)
    for who in (one, two):
        abort(target, who)


@check("T-14b", api=("Produce", *WRITING), versions="3-13")
def plain_batches_beside_transactional_ones(target: Target, version: int) -> None:
    """Given a transactional batch, and beside it a plain one, or one of another producer outside of transactions, both are appended."""
    topic = target.new_topic(partitions=2)
    who, other = new_producer(target), new_producer(target)
    begin(target, who, topic, partition=0)

    for sequence, beside in enumerate((batch_of(), plain_batch(other, 0))):
        records = [transactional_batch(who, sequence=sequence), beside]
        answers = answers_by_partition(target, topic, records, version, transactional_id=who.transactional_id)
        for answer in answers:
            expect(answer, error_code=ErrorCode.NONE, base_offset=sequence)
    expect_equal("the last stable offsets", [last_stable_offset(target, topic, partition) for partition in range(2)], [0, 2])
    abort(target, who)


@check("T-11d", api=("Produce", *WRITING), versions="3-13")
def a_transactional_batch_without_an_id(target: Target, version: int) -> None:
    """Given a transactional batch in a request without a transactional id, TRANSACTIONAL_ID_AUTHORIZATION_FAILED for every partition, plain batches
    among them (P-25), and nothing is appended.
    """
    topic = target.new_topic(partitions=2)
    who = new_producer(target)
    begin(target, who, topic)

    answers = answers_by_partition(target, topic, [transactional_batch(who), batch_of()], version, transactional_id=None)

    expect_equal("the partitions answered", [answer.index for answer in answers], [0, 1])
    for answer in answers:
        expect(answer, error_code=ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, base_offset=-1, log_start_offset=-1)
        expect(target.list_offsets(topic, partition=answer.index), offset=0)
    abort(target, who)


@check("T-11e", api=("Produce", *WRITING), versions="3-11")
def one_partition_that_was_not_added(target: Target, version: int) -> None:
    """Given two transactional batches of which one is for a partition that was not added, only that one is refused; the other is appended (P-26)."""
    topic = target.new_topic(partitions=2)
    who = new_producer(target)
    begin(target, who, topic, partition=0)

    records = [transactional_batch(who), transactional_batch(who)]
    good, bad = answers_by_partition(target, topic, records, version, transactional_id=who.transactional_id)

    expect(good, error_code=ErrorCode.NONE, base_offset=0)
    expect(bad, error_code=not_added_error(version), base_offset=-1)
    abort(target, who)


@check("T-30b", api=("Produce", *WRITING), versions="3-13")
def the_oldest_open_transaction_holds_readers_back(target: Target, version: int) -> None:
    """Given two open transactions and a plain record behind them, the last stable offset is where the older one begins; when that has ended, where the
    other begins; in the end, the end of the log.
    """
    topic = target.new_topic()
    older, newer = new_producer(target), new_producer(target)
    for who in (older, newer):
        begin(target, who, topic)
        expect(produce(target, who, topic, version), error_code=ErrorCode.NONE)
    target.produce(topic)

    seen = [last_stable_offset(target, topic)]
    commit(target, older)
    seen.append(last_stable_offset(target, topic))
    abort(target, newer)
    seen.append(last_stable_offset(target, topic))

    expect_equal("the last stable offsets", seen, [0, 1, 5])
    expect_equal("the kinds of markers", kinds_of_markers(target, topic), [ControlRecordType.COMMIT, ControlRecordType.ABORT])


# -- markers by hand ---------------------------------------------------------------------------------------------


def third_epoch(target: Target, topic: Topic) -> Identity:
    """A producer at epoch 2 with an open transaction of one record."""
    who = new_producer(target)
    for _ in range(2):
        who = initialised(target, who.transactional_id)
    write(target, who, topic)
    return who


def give_up(target: Target, who: Identity) -> None:
    """End a transaction whose markers were written by hand, whatever its coordinator makes of that."""
    end(target, who, 4, committed=False)


@check("T-20a", api=("WriteTxnMarkers", *MARKING), versions="1-2")
def markers_of_the_same_epoch(target: Target, version: int) -> None:
    """Given a marker without, or of an old, transaction version, one of a lower epoch than the transaction's is INVALID_PRODUCER_EPOCH; one of the same
    epoch or a higher ends it, and is appended again and again.
    """
    for transaction_version in (0,) if version < 2 else (0, SAME_EPOCH_ENDS):
        topic = target.new_topic()
        who = third_epoch(target, topic)

        errors = [
            write_marker(target, who.at_epoch(epoch), topic.name, version, transaction_version=transaction_version)
            for epoch in (1, 2, 2, 3, 3)
        ]

        expect_equal("the errors", errors, [ErrorCode.INVALID_PRODUCER_EPOCH, 0, 0, 0, 0])
        expect_equal("the epochs of the markers", [one.producer_epoch for one in markers_of(target, topic)], [2, 2, 3, 3])
        expect_equal("the last stable offset", last_stable_offset(target, topic), 5)
        give_up(target, who)


@check("T-20b", api=("WriteTxnMarkers", *MARKING), versions="2-2")
def markers_of_the_next_epoch(target: Target, version: int) -> None:
    """Given a marker of transaction version 2, one of the transaction's own epoch or lower is INVALID_PRODUCER_EPOCH, and the transaction stays open; one
    of the next ends it; then the same is taken, and appended again. KIP-890, KIP-1228.
    """
    topic = target.new_topic()
    who = third_epoch(target, topic)

    for epoch in (1, 2):
        error = write_marker(target, who.at_epoch(epoch), topic.name, version, transaction_version=NEXT_EPOCH_ENDS)
        expect_equal("the error", error, ErrorCode.INVALID_PRODUCER_EPOCH)
    expect_equal("the last stable offset", last_stable_offset(target, topic), 0)
    errors = [write_marker(target, who.at_epoch(3), topic.name, version, transaction_version=NEXT_EPOCH_ENDS) for _ in range(2)]

    expect_equal("the errors", errors, [ErrorCode.NONE] * 2)
    expect_equal("the epochs of the markers", [one.producer_epoch for one in markers_of(target, topic)], [3, 3])
    expect_equal("the last stable offset then", last_stable_offset(target, topic), 3)
    give_up(target, who)


@check("T-20c", api=("WriteTxnMarkers", *MARKING), versions="1-2")
def markers_of_an_old_coordinator(target: Target, version: int) -> None:
    """Given a coordinator epoch below the last one that the partition has seen of the producer, TRANSACTION_COORDINATOR_FENCED, and nothing is appended."""
    topic = target.new_topic()

    errors = [write_marker(target, NOBODY, topic.name, version, coordinator_epoch=epoch) for epoch in (5, 4, 5, 6)]

    expect_equal("the errors", errors, [0, ErrorCode.TRANSACTION_COORDINATOR_FENCED, 0, 0])
    values = [next(one.records()).value for one in markers_of(target, topic)]
    expect_equal("the epochs in the markers", values, [b"\0\0\0\0\0" + bytes([epoch]) for epoch in (5, 5, 6)])
    expect(producer_in(target, topic, NOBODY.producer_id), coordinator_epoch=6)


@check("T-20d", api=("WriteTxnMarkers", *MARKING), versions="1-2")
def markers_of_who_is_not_known(target: Target, version: int) -> None:
    """Given a producer id that the partition does not know, its marker is appended; given an unknown topic or partition, UNKNOWN_TOPIC_OR_PARTITION."""
    topic = target.new_topic()

    errors = [
        write_marker(target, NOBODY, topic.name, version, committed=False),
        write_marker(target, NOBODY, target.new_name("no-topic"), version),
        write_marker(target, NOBODY, topic.name, version, partition=9),
    ]

    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    expect_equal("the errors", errors, [ErrorCode.NONE, unknown, unknown])
    expect_equal("the kinds of markers", kinds_of_markers(target, topic), [ControlRecordType.ABORT])
    expect(markers_of(target, topic)[0], producer_id=NOBODY.producer_id, producer_epoch=3, base_sequence=-1)


@check("T-20e", api=("WriteTxnMarkers", *MARKING), versions="1-2")
def several_markers_at_once(target: Target, version: int) -> None:
    """Given markers of several producers in one request, each is answered under its producer id, partition by partition; given none, none is."""
    topic = target.new_topic(partitions=2)
    markers = [
        WriteTxnMarkersRequest.WritableTxnMarker(
            producer_id=NOBODY.producer_id + number,
            producer_epoch=0,
            transaction_result=number == 0,
            topics=[WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=topic.name, partition_indexes=[0, 1 + 8 * number])],
        )
        for number in range(2)
    ]

    answer = target.ask(WriteTxnMarkersRequest(markers=markers), version)
    nothing = target.ask(WriteTxnMarkersRequest(markers=[]), version)

    errors = {
        one.producer_id - NOBODY.producer_id: {part.partition_index: part.error_code for part in one.topics[0].partitions}
        for one in answer.markers
    }
    expect_equal("the errors", errors, {0: {0: 0, 1: 0}, 1: {0: 0, 9: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}})
    expect_equal("the answer to no markers", nothing.markers, [])
    expect_equal("the number of markers", [len(markers_of(target, topic, partition)) for partition in range(2)], [2, 1])


@check("T-20f", api=("WriteTxnMarkers", *MARKING), versions="1-2")
def a_marker_ends_the_transaction_of_the_partition(target: Target, version: int) -> None:
    """Given an open transaction and a marker by hand, readers of what is committed go on, and the partition knows of no open transaction any more."""
    topic = target.new_topic()
    who = new_producer(target)
    write(target, who, topic)
    before = producer_in(target, topic, who.producer_id)

    error = write_marker(target, who.at_epoch(1), topic.name, version)

    expect(before, producer_epoch=0, last_sequence=0, coordinator_epoch=-1, current_txn_start_offset=0)
    expect_equal("the error", error, ErrorCode.NONE)
    expect_equal("the last stable offset", last_stable_offset(target, topic), 2)
    expect(producer_in(target, topic, who.producer_id), producer_epoch=1, coordinator_epoch=0, current_txn_start_offset=-1)
    late = produce(target, who, topic, 11, sequence=1)
    expect(late, error_code=ErrorCode.INVALID_PRODUCER_EPOCH, base_offset=-1)
    give_up(target, who)
