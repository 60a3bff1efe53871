"""T: what time does to transactions: those open for too long are aborted, and transactional ids that nobody uses are forgotten (KIP-98)."""

import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.transaction_requests import (
    NO_EPOCH,
    NO_ID,
    Identity,
    abort,
    add_offsets,
    add_partition,
    described,
    end,
    initialise_again,
    initialised,
    new_producer,
    old_epoch_error,
    produce,
    wait_for_transaction_state,
    write,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS, last_stable_offset, markers_of
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode

QUICK_ABORTS = Settings((("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200"),))
QUICK_EXPIRY = Settings((("transactional.id.expiration.ms", "4000"), ("transaction.remove.expired.transaction.cleanup.interval.ms", "500")))
TIMEOUT_MS = 300
OVER_TIME = ("EndTxn", "Produce", "AddOffsetsToTxn", "DescribeTransactions", *TRANSACTIONS)


def timed_out(target: Target) -> tuple[Identity, Topic]:
    """A producer whose transaction of one record was aborted since it was open for too long."""
    topic = target.new_topic()
    who = new_producer(target, timeout_ms=TIMEOUT_MS)
    write(target, who, topic)
    wait_for_transaction_state(target, who.transactional_id, "CompleteAbort")
    return who, topic


@check("T-19a", api=OVER_TIME, needs=QUICK_ABORTS)
def a_transaction_has_its_time(target: Target) -> None:
    """Given a transaction open for longer than its timeout, it is aborted, not before, under the next epoch, and readers of what is committed go on."""
    topic = target.new_topic()
    who = new_producer(target, timeout_ms=TIMEOUT_MS)
    patient = new_producer(target)
    write(target, patient, target.new_topic())
    began = time.monotonic()
    write(target, who, topic)

    state = wait_for_transaction_state(target, who.transactional_id, "CompleteAbort")

    expect_that(time.monotonic() - began >= TIMEOUT_MS / 1000, "it had its time")
    expect(state, producer_id=who.producer_id, producer_epoch=1, transaction_timeout_ms=TIMEOUT_MS, topics=[])
    expect_equal("the epochs of the markers", [one.producer_epoch for one in markers_of(target, topic)], [1])
    expect_equal("the last stable offset", last_stable_offset(target, topic), 2)
    expect(described(target, patient.transactional_id), transaction_state="Ongoing", producer_epoch=0)
    abort(target, patient)


@check("T-19b", api=("EndTxn", *OVER_TIME), versions="0-5", needs=QUICK_ABORTS)
def whose_time_is_over_is_fenced(target: Target, version: int) -> None:
    """Given a transaction aborted for its time, EndTxn, AddPartitionsToTxn and AddOffsetsToTxn of its producer are PRODUCER_FENCED (INVALID_PRODUCER_EPOCH
    below v2); in EndTxn v5 a commit is INVALID_TXN_STATE, and an abort a repetition, which answers the new epoch. KIP-588, KIP-890.
    """
    who, topic = timed_out(target)

    commit, abortion = (end(target, who, version, committed=committed) for committed in (True, False))
    added = add_partition(target, who, topic, version)
    of_group = add_offsets(target, who, "group", min(version, 4))

    if version >= 5:
        expect(commit, error_code=ErrorCode.INVALID_TXN_STATE, producer_id=NO_ID, producer_epoch=NO_EPOCH)
        expect(abortion, error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=1)
    else:
        for answer in (commit, abortion):
            expect(answer, error_code=old_epoch_error(version))
    expect_equal("the error of AddPartitionsToTxn", added, old_epoch_error(version))
    expect_equal("the error of AddOffsetsToTxn", of_group, old_epoch_error(version))
    expect(described(target, who.transactional_id), transaction_state="CompleteAbort", producer_epoch=1)


@check("T-19c", api=("Produce", *OVER_TIME), versions="3-13", needs=QUICK_ABORTS)
def whose_time_is_over_writes_no_more(target: Target, version: int) -> None:
    """Given a transaction aborted for its time, Produce of its producer is INVALID_PRODUCER_EPOCH in all versions, and nothing is appended."""
    who, topic = timed_out(target)

    late = produce(target, who, topic, version, sequence=1)

    expect(late, error_code=ErrorCode.INVALID_PRODUCER_EPOCH, base_offset=-1)
    expect(target.list_offsets(topic), offset=2)


@check("T-19d", api=("InitProducerId", *OVER_TIME), versions="3-5", needs=QUICK_ABORTS)
def whose_time_is_over_may_start_again(target: Target, version: int) -> None:
    """Given a transaction aborted for its time, InitProducerId with the old id and epoch answers the new epoch, in which the producer goes on. KIP-360,
    KIP-890.
    """
    who, topic = timed_out(target)

    answer = initialise_again(target, who, version)

    expect(answer, error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=1)
    expect_equal("the offset", write(target, who.at_epoch(1), topic), 2)
    abort(target, who.at_epoch(1))


@check("T-27", api=OVER_TIME, needs=QUICK_EXPIRY)
def a_transactional_id_that_nobody_uses(target: Target) -> None:
    """Given transactional.id.expiration.ms without use, a transactional id is forgotten: TRANSACTIONAL_ID_NOT_FOUND where it is described,
    INVALID_PRODUCER_ID_MAPPING elsewhere, and a fresh producer id for it; one with an open transaction stays.
    """
    topic = target.new_topic()
    idle, busy = new_producer(target), new_producer(target)
    write(target, busy, topic)

    gone = ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
    eventually(lambda: described(target, idle.transactional_id).error_code, lambda error: error == gone, "it is forgotten")

    unknown = ErrorCode.INVALID_PRODUCER_ID_MAPPING
    for version in range(6):
        expect(end(target, idle, version, committed=False), error_code=unknown)
        expect_equal("the error of AddPartitionsToTxn", add_partition(target, idle, topic, version), unknown)
    for version in (11, 12, 13):
        expect(produce(target, idle, topic, version), error_code=unknown)
    expect(described(target, busy.transactional_id), error_code=ErrorCode.NONE, transaction_state="Ongoing", producer_epoch=0)
    again = initialised(target, idle.transactional_id)
    expect(again, producer_epoch=0)
    expect_that(again.producer_id != idle.producer_id, "it has a fresh producer id")
    abort(target, busy)
