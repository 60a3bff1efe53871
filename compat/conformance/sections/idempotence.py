"""I: producers with an id: each batch once and in order, whatever is sent again (KIP-98)."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.sections.produce_answers import delete_records_request
from pykbroker.compat.sections.produce_validation import expect_refused, log_start
from pykbroker.compat.tampering import batch_of, now_ms
from pykbroker.compat.target import LATEST, PATIENCE_S, Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import InitProducerIdRequest

PRODUCER_ID = 4_711
LAST_SEQUENCE = 2**31 - 1


def batch_at(sequence: int, *values: bytes, epoch: int = 0, timestamp: int | None = None) -> bytes:
    """A batch of that producer."""
    contents = values or (b"value",)
    times = [now_ms() if timestamp is None else timestamp] * len(contents)
    return batch_of(*contents, timestamps=times, producer_id=PRODUCER_ID, producer_epoch=epoch, base_sequence=sequence)


def wait_for_ids(target: Target) -> None:
    """A broker that just started may not have its first block of ids yet."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = target.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000), 4)
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
    target.ask(delete_records_request(topic, 3), 2)
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


@check("I-06", api="Produce", versions="3-13")
def a_repeat_on_append_time_has_its_first_time(target: Target, version: int) -> None:
    """Given a LogAppendTime topic, a batch sent again answers the time at which it was appended first."""
    topic = target.new_topic(message_timestamp_type="LogAppendTime")
    first = target.produce_batch(topic, batch_at(0), version=version)

    again = target.produce_batch(topic, batch_at(0), version=version)

    expect_that(first.log_append_time_ms > 0, "the first answer has a time")
    expect(again, error_code=ErrorCode.NONE, base_offset=0, log_append_time_ms=first.log_append_time_ms)


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
    """Given a lower epoch than the last one, INVALID_PRODUCER_EPOCH, for what is next in it as for what was appended in it (I-16)."""
    topic = target.new_topic()
    target.produce_batch(topic, batch_at(0, epoch=1), version=version)
    target.produce_batch(topic, batch_at(0, epoch=2), version=version)

    for old in (batch_at(0, epoch=1), batch_at(1, epoch=1), batch_at(0, epoch=0)):
        expect_refused(target, topic, old, version, ErrorCode.INVALID_PRODUCER_EPOCH, log_start_offset=log_start(version))
