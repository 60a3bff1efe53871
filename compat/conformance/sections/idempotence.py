"""I: producers with an id: each batch once and in order, whatever is sent again (KIP-98)."""

import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, at_least, expect, expect_equal, expect_that, one_of
from pykbroker.compat.steps.appends import expect_refused, log_start
from pykbroker.compat.steps.batches import PRODUCER_ID, batch_at, batch_of, now_ms
from pykbroker.compat.steps.log_requests import delete_records_request, produce_request_of
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.target import LATEST, PATIENCE_S, Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest

LAST_SEQUENCE = 2**31 - 1
SHORT_MEMORY = Settings((("producer.id.expiration.ms", "1000"), ("producer.id.expiration.check.interval.ms", "200")))


def wait_for_ids(target: Target) -> None:
    """A broker that just started may not have its first block of ids yet."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = target.ask_newest(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000), 4)
        if answer.error_code != ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
            return
        expect_that(time.monotonic() < deadline, "the broker has ids to give")
        time.sleep(0.05)


@check("I-01", api="InitProducerId", versions="0-5")
def every_producer_has_an_id_of_its_own(target: Target, version: int) -> None:
    """Given no transactional id, each call answers a fresh producer id with epoch 0, whatever id and timeout come with it."""
    wait_for_ids(target)
    requests = [InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=timeout_ms) for timeout_ms in (1000, 0, -1)]
    if version >= 3:
        requests.append(
            InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000, producer_id=PRODUCER_ID, producer_epoch=3)
        )

    answers = [target.ask(request, version) for request in requests]

    for answer in answers:
        expect(answer, error_code=ErrorCode.NONE, producer_epoch=0)
        expect_that(answer.producer_id >= 0, "there is an id")
    expect_equal("the number of ids", len({answer.producer_id for answer in answers} - {PRODUCER_ID}), len(answers))


@check("I-02", api="InitProducerId", versions="0-5")
def an_empty_transactional_id_is_none(target: Target, version: int) -> None:
    """Given the transactional id "", INVALID_REQUEST, and no id."""
    answer = target.ask(InitProducerIdRequest(transactional_id="", transaction_timeout_ms=1000), version)

    expect(answer, error_code=ErrorCode.INVALID_REQUEST, producer_id=-1, producer_epoch=-1)


@check("I-03", api="InitProducerId", versions="3-5")
def an_id_and_its_epoch_come_together(target: Target, version: int) -> None:
    """Given a producer id without an epoch, or an epoch without an id, also where it is -2, INVALID_REQUEST. KIP-360."""
    for producer_id, epoch in ((PRODUCER_ID, -1), (-1, 0), (-2, -1), (-1, -2)):
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000, producer_id=producer_id, producer_epoch=epoch)
        expect(target.ask(request, version), error_code=ErrorCode.INVALID_REQUEST, producer_id=-1, producer_epoch=-1)


@check("I-04", api=("Produce", "DeleteRecords"), versions="3-13")
def what_is_sent_again_is_not_appended_again(target: Target, version: int) -> None:
    """Given the last five batches sent again, also with other content, and after DeleteRecords past them, each answers
    its first base offset.
    """
    topic = target.new_topic()
    for sequence in range(5):
        expect(target.produce_batch(topic, batch_at(sequence), version=version), error_code=ErrorCode.NONE, base_offset=sequence)

    for sequence in range(5):
        again = target.produce_batch(topic, batch_at(sequence, b"other content"), version=version)
        expect(again, error_code=ErrorCode.NONE, base_offset=sequence)
    target.ask_newest(delete_records_request(topic, 3), 2)
    expect(target.produce_batch(topic, batch_at(1), version=version), error_code=ErrorCode.NONE, base_offset=1)
    expect(target.list_offsets(topic, timestamp=LATEST), offset=5)


@check("I-05", api="Produce", versions="3-13")
def five_batches_are_remembered(target: Target, version: int) -> None:
    """Given seven batches, the two oldest sent again are OUT_OF_ORDER_SEQUENCE_NUMBER, the other five are known; so is
    no part of a batch.
    """
    topic = target.new_topic()
    for index in range(7):
        target.produce_batch(topic, batch_at(2 * index, b"a", b"b"), version=version)

    for index in range(7):
        again = batch_at(2 * index, b"a", b"b")
        if index < 2:
            expect_refused(target, topic, again, version, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        else:
            expect(target.produce_batch(topic, again, version=version), error_code=ErrorCode.NONE, base_offset=2 * index)
    for part in (batch_at(12), batch_at(13, b"a", b"b")):
        expect_refused(target, topic, part, version, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)


@check("I-06a", api="Produce", versions="3-13")
def a_repeat_on_append_time_has_its_first_time(target: Target, version: int) -> None:
    """Given a LogAppendTime topic, a batch sent again answers the time at which it was appended first."""
    topic = target.new_topic(message_timestamp_type="LogAppendTime")
    first = target.produce_batch(topic, batch_at(0), version=version)

    again = target.produce_batch(topic, batch_at(0), version=version)

    expect_that(first.log_append_time_ms > 0, "the first answer has a time")
    expect(again, error_code=ErrorCode.NONE, base_offset=0, log_append_time_ms=first.log_append_time_ms)


@check("I-06b", api="Produce", versions="3-13")
def a_repeat_on_create_time_may_have_its_records_time(target: Target, version: int) -> None:
    """Given a CreateTime topic, the first answer has no time; that to a batch sent again has none, or that of its records (Kafka's has)."""
    topic = target.new_topic()
    sent = now_ms() - 5000

    first = target.produce_batch(topic, batch_at(0, timestamp=sent), version=version)
    again = target.produce_batch(topic, batch_at(0, timestamp=sent), version=version)

    expect(first, error_code=ErrorCode.NONE, base_offset=0, log_append_time_ms=-1)
    expect(again, error_code=ErrorCode.NONE, base_offset=0, log_append_time_ms=one_of(-1, sent))


@check("I-07", api="Produce", versions="3-13")
def a_gap_is_out_of_order(target: Target, version: int) -> None:
    """Given a sequence that leaves one out, OUT_OF_ORDER_SEQUENCE_NUMBER with the real log start, and the one left out is appended then."""
    topic = target.new_topic()
    target.produce_batch(topic, batch_at(0), version=version)

    gap = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    expect_refused(target, topic, batch_at(2), version, gap, log_start_offset=log_start(version))
    expect(target.produce_batch(topic, batch_at(1), version=version), error_code=ErrorCode.NONE, base_offset=1)


@check("I-08", api="Produce", versions="3-13")
def sequences_go_round(target: Target, version: int) -> None:
    """Given the last sequence 2147483647, 0 is next; a batch may go round inside itself, is known when sent again, and 2 follows it."""
    topic, inside = target.new_topic(), target.new_topic()
    target.produce_batch(topic, batch_at(LAST_SEQUENCE), version=version)
    round_it = batch_at(LAST_SEQUENCE, b"a", b"b", b"c")
    target.produce_batch(inside, round_it, version=version)

    expect(target.produce_batch(topic, batch_at(0), version=version), error_code=ErrorCode.NONE, base_offset=1)
    expect(target.produce_batch(inside, round_it, version=version), error_code=ErrorCode.NONE, base_offset=0)
    expect(target.produce_batch(inside, batch_at(2), version=version), error_code=ErrorCode.NONE, base_offset=3)
    expect_refused(target, inside, batch_at(9), version, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)


@check("I-09", api="Produce", versions="3-13")
def an_unknown_producer_begins_anywhere(target: Target, version: int) -> None:
    """Given a producer that the partition does not know, sequence 7 of epoch 3 is appended, and 8 is next."""
    topic = target.new_topic()

    expect(target.produce_batch(topic, batch_at(7, epoch=3), version=version), error_code=ErrorCode.NONE, base_offset=0)
    expect_refused(target, topic, batch_at(9, epoch=3), version, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    expect(target.produce_batch(topic, batch_at(8, epoch=3), version=version), error_code=ErrorCode.NONE, base_offset=1)


@check("I-10", api=("Produce", *TRANSACTIONS), versions="12-13")
def an_unknown_transactional_producer_begins_at_nought(target: Target, version: int) -> None:
    """Given a transactional producer that the partition does not know, sequence 7 is OUT_OF_ORDER_SEQUENCE_NUMBER from v12 on, and 0 is
    appended then. KIP-890.
    """
    topic = target.new_topic()
    transaction = Transaction(target)

    for sequence, error, offset in ((7, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1), (0, ErrorCode.NONE, 0)):
        records = batch_of(
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
            base_sequence=sequence,
            is_transactional=True,
        )
        request = produce_request_of([(topic, 0, records)], transactional_id=transaction.transactional_id)
        answer = target.ask(request, version).responses[0].partition_responses[0]
        expect(answer, error_code=error, base_offset=offset)
    transaction.end(topic, committed=False)


@check("I-11", api="Produce", versions="3-13")
def a_new_epoch_begins_at_nought(target: Target, version: int) -> None:
    """Given a higher epoch, sequence 1 is OUT_OF_ORDER_SEQUENCE_NUMBER, and 0 is appended, also after a jump of several epochs."""
    topic = target.new_topic()
    target.produce_batch(topic, batch_at(0), version=version)

    expect_refused(target, topic, batch_at(1, epoch=1), version, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    expect(target.produce_batch(topic, batch_at(0, epoch=1), version=version), error_code=ErrorCode.NONE, base_offset=1)
    expect(target.produce_batch(topic, batch_at(0, epoch=5), version=version), error_code=ErrorCode.NONE, base_offset=2)


@check("I-12", api="Produce", versions="3-13")
def an_old_epoch_is_fenced(target: Target, version: int) -> None:
    """Given a lower epoch than the last one, INVALID_PRODUCER_EPOCH, for what is next in it as for what was appended in it."""
    topic = target.new_topic()
    target.produce_batch(topic, batch_at(0, epoch=1), version=version)
    target.produce_batch(topic, batch_at(0, epoch=2), version=version)

    for old in (batch_at(0, epoch=1), batch_at(1, epoch=1), batch_at(0, epoch=0)):
        expect_refused(target, topic, old, version, ErrorCode.INVALID_PRODUCER_EPOCH, log_start_offset=log_start(version))


@check("I-16", api="Produce", versions="3-13")
def what_an_old_epoch_sends_again_is_fenced(target: Target, version: int) -> None:
    """Given a higher epoch since, a batch of the old one that is sent again byte by byte is INVALID_PRODUCER_EPOCH, and not taken for known."""
    topic = target.new_topic()
    old = batch_at(0)
    expect(target.produce_batch(topic, old, version=version), error_code=ErrorCode.NONE, base_offset=0)
    expect(target.produce_batch(topic, old, version=version), error_code=ErrorCode.NONE, base_offset=0)
    expect(target.produce_batch(topic, batch_at(0, epoch=4), version=version), error_code=ErrorCode.NONE, base_offset=1)

    expect_refused(target, topic, old, version, ErrorCode.INVALID_PRODUCER_EPOCH)
    expect(target.produce_batch(topic, batch_at(0, epoch=4), version=version), error_code=ErrorCode.NONE, base_offset=1)


@check("I-13", api="Produce", needs=SHORT_MEMORY)
def an_idle_producer_is_forgotten(target: Target) -> None:
    """Given a producer idle for producer.id.expiration.ms, nothing is known of it: what it sends again is appended again."""
    topic = target.new_topic()
    again = batch_at(0)
    for _ in range(2):
        expect(target.produce_batch(topic, again), error_code=ErrorCode.NONE, base_offset=0)

    found = eventually(lambda: target.produce_batch(topic, again), lambda one: one.base_offset != 0, "the batch is appended again")

    expect(found, error_code=ErrorCode.NONE, base_offset=1)


@check("I-15a", api=("DescribeProducers", "Produce"))
def what_is_known_of_a_producer_is_told(target: Target) -> None:
    """Given a batch of three with sequences from 5 on, DescribeProducers tells its producer with its epoch, last sequence and last timestamp, and
    without a transaction; of a partition without producers, nobody. KIP-664.
    """
    topic = target.new_topic(partitions=2)
    sent = now_ms() - 5000
    expect(target.produce_batch(topic, batch_at(5, b"a", b"b", b"c", epoch=3, timestamp=sent)), error_code=ErrorCode.NONE)

    told, nobody = described_producers(target, topic.name, 0, 1)

    expect(told, partition_index=0, error_code=ErrorCode.NONE, error_message=None)
    expect_equal("the number of producers", len(told.active_producers), 1)
    expect(
        told.active_producers[0],
        producer_id=PRODUCER_ID,
        producer_epoch=3,
        last_sequence=7,
        last_timestamp=sent,
        coordinator_epoch=-1,
        current_txn_start_offset=-1,
    )
    expect(nobody, partition_index=1, error_code=ErrorCode.NONE, active_producers=[])


@check("I-15b", api=("DescribeProducers", "Produce", *TRANSACTIONS))
def a_producers_transaction_is_told(target: Target) -> None:
    """Given an open transaction that begins at offset 1, DescribeProducers tells it; when it is committed, it tells none, and the coordinator's
    epoch and the marker's time. KIP-664.
    """
    topic = target.new_topic()
    target.produce(topic)
    transaction = Transaction(target)
    transaction.produce(topic, [b"a", b"b"])
    (during,) = described_producers(target, topic.name, 0)
    before = now_ms()

    transaction.end(topic, committed=True)

    (after,) = described_producers(target, topic.name, 0)
    expect(during.active_producers[0], producer_id=transaction.producer_id, current_txn_start_offset=1, coordinator_epoch=-1)
    expect(
        after.active_producers[0],
        producer_id=transaction.producer_id,
        current_txn_start_offset=-1,
        coordinator_epoch=0,
        last_timestamp=at_least(before),
    )


@check("I-15c", api=("DescribeProducers", "Produce"))
def producers_of_what_is_not_there(target: Target) -> None:
    """Given an unknown topic, an unknown partition or an invalid name, each is told so: UNKNOWN_TOPIC_OR_PARTITION, with a message only
    where it is the topic, or INVALID_TOPIC_EXCEPTION. KIP-664.
    """
    topic = target.new_topic()

    unknown, unknown_partition, invalid = (
        described_producers(target, name, partition)[0] for name, partition in ((target.new_name(), 0), (topic.name, 9), ("a b", 0))
    )

    expect(unknown, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=NOT_EMPTY, active_producers=[])
    expect(unknown_partition, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=None, active_producers=[])
    expect(invalid, error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, error_message=NOT_EMPTY, active_producers=[])


def described_producers(target: Target, topic_name: str, *partitions: int) -> list[DescribeProducersResponse.PartitionResponse]:
    """DescribeProducers of partitions of one topic; the answers in their order."""
    topics = [DescribeProducersRequest.TopicRequest(name=topic_name, partition_indexes=list(partitions))]
    answer = target.ask(DescribeProducersRequest(topics=topics), 0)
    expect_equal("the topics", [one.name for one in answer.topics], [topic_name])
    return sorted(answer.topics[0].partitions, key=lambda one: partitions.index(one.partition_index))
