"""N: what compaction takes out of a log, when, and what it waits for."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import at_least, expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of, now_ms
from pykbroker.compat.steps.cleaning import (
    A_SEGMENT,
    HALF_AN_HOUR_MS,
    QUICK_CLEANER,
    QUICK_RETENTION,
    RETENTION,
    VALUE,
    batches_of,
    compacted_topic,
    wait_for_records,
    wait_for_start,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.target import EARLIEST, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.records import RecordBatch

DELETE_HORIZON = 0x40
AN_HOUR_MS = 2 * HALF_AN_HOUR_MS
SOME_ROUNDS_S = 0.7
"""The cleaner looks for work several times meanwhile."""


def records_of(target: Target, topic: Topic) -> list[int]:
    """The offsets of all records of a log, those of markers too."""
    return [record.offset for batch in batches_of(target, topic) for record in batch.records()]


def write_each(target: Target, topic: Topic, *, count: int, timestamp: int | None = None) -> None:
    """So many records of one key, each in a segment of its own."""
    for _ in range(count):
        target.produce(topic, [VALUE], timestamp=timestamp)


def append_tombstone(target: Target, topic: Topic, key: bytes) -> None:
    """A record without a value."""
    expect(target.produce_batch(topic, batch_of(None, key=key)), error_code=ErrorCode.NONE)


@check("N-04a", api=RETENTION, needs=QUICK_CLEANER)
def the_active_segment_is_never_compacted(target: Target) -> None:
    """Given four records of one key in the active segment, they stay while a log beside it, whose segments are closed, is compacted."""
    active, closed = target.new_topic(cleanup_policy="compact", min_cleanable_dirty_ratio="0.01"), compacted_topic(target)
    write_each(target, active, count=4)
    write_each(target, closed, count=4)

    wait_for_records(target, closed, [2, 3])

    time.sleep(SOME_ROUNDS_S)
    expect_equal("the offsets of the records", records_of(target, active), [0, 1, 2, 3])


@check("N-04b", api=RETENTION, needs=QUICK_CLEANER)
def a_segment_older_than_segment_ms_is_closed_by_an_append(target: Target) -> None:
    """Given a first record older than segment.ms, time alone does not close the segment, and it is not compacted; the next append closes it."""
    topic = target.new_topic(cleanup_policy="compact", segment_ms="60000", min_cleanable_dirty_ratio="0.01")
    write_each(target, topic, count=3, timestamp=now_ms() - HALF_AN_HOUR_MS)
    time.sleep(SOME_ROUNDS_S)
    expect_equal("the offsets before the append", records_of(target, topic), [0, 1, 2])

    target.produce(topic, [VALUE])

    wait_for_records(target, topic, [2, 3])


@check("N-05b", api=RETENTION, needs=QUICK_CLEANER)
def a_producers_last_batch_stays_as_an_empty_one(target: Target) -> None:
    """Given a producer's last batch whose records are outdated, it stays without records, with its offsets and sequence; one before it, and one
    of nobody's, go.
    """
    topic = compacted_topic(target)
    for sequence in range(2):
        batch = batch_of(VALUE, producer_id=4712, producer_epoch=0, base_sequence=sequence)
        expect(target.produce_batch(topic, batch), error_code=ErrorCode.NONE)
    write_each(target, topic, count=3)

    found = wait_for_records(target, topic, [3, 4])

    expect_equal("the first offsets of the batches", [one.base_offset for one in found], [1, 3, 4])
    expect(found[0], record_count=0, last_offset_delta=0, producer_id=4712, base_sequence=1)


@check("N-06", api=RETENTION, needs=QUICK_CLEANER)
def a_tombstone_stays_for_its_time(target: Target) -> None:
    """Given a tombstone, the first round keeps it, and notes in its batch when delete.retention.ms will have passed; the first round after that
    takes it, time alone does not. KIP-534.
    """
    topic = compacted_topic(target, delete_retention_ms="1000")
    started = now_ms()
    target.produce(topic, [VALUE], key=b"deleted")
    append_tombstone(target, topic, b"deleted")
    target.produce(topic, [VALUE], key=b"other")
    target.produce(topic, [VALUE], key=b"third")

    first, *_ = wait_for_records(target, topic, [1, 2, 3])

    expect_that(first.attributes & DELETE_HORIZON, f"the batch is marked; its attributes are {first.attributes:#x}")
    horizon_ms = first.delete_horizon_ms
    expect_equal("the delete horizon", horizon_ms, at_least(started + 1000))
    (tombstone,) = first.records()
    expect(tombstone, offset=1, value=None, timestamp=at_least(started))
    time.sleep(max(0.0, ((horizon_ms or 0) - now_ms()) / 1000) + SOME_ROUNDS_S)
    expect_equal("the offsets after the horizon", records_of(target, topic), [1, 2, 3])
    target.produce(topic, [VALUE], key=b"fourth")
    wait_for_records(target, topic, [2, 3, 4])


@check("N-07a", api=(*RETENTION, *TRANSACTIONS), needs=QUICK_CLEANER)
def what_was_aborted_goes_and_its_marker_stays(target: Target) -> None:
    """Given an aborted transaction, its records go with the first round, its batch stays without them while it is its producer's last, and so does
    its marker. KIP-98.
    """
    topic = compacted_topic(target)
    transaction = Transaction(target)
    transaction.produce(topic, [VALUE])
    transaction.end(topic, committed=False)
    target.produce(topic, [VALUE], key=b"other")
    target.produce(topic, [VALUE], key=b"third")

    found = wait_for_records(target, topic, [1, 2, 3])

    expect_equal("the batches", [(one.base_offset, one.record_count, one.is_control) for one in found][:2], [(0, 0, False), (1, 1, True)])


@check("N-07b", api=(*RETENTION, *TRANSACTIONS), needs=QUICK_CLEANER)
def a_marker_goes_when_nothing_of_its_transaction_is_left(target: Target) -> None:
    """Given an aborted transaction whose producer went on with another, its marker goes once its records are gone and delete.retention.ms has
    passed; the later one's stays with its record. KIP-98, KIP-534.
    """
    topic = compacted_topic(target, delete_retention_ms="300")
    transaction = Transaction(target)
    transaction.produce(topic, [VALUE])
    transaction.end(topic, committed=False)
    transaction.produce(topic, [VALUE])
    transaction.end(topic, committed=True)

    def appended() -> list[RecordBatch]:
        target.produce(topic, [VALUE], key=b"other")
        return batches_of(target, topic)

    found = eventually(appended, lambda seen: seen[0].base_offset == 2, "the aborted transaction is gone with its marker")

    expect_equal("the batches", [(one.base_offset, one.record_count, one.is_control) for one in found][:2], [(2, 1, False), (3, 1, True)])


@check("N-08", api=(*RETENTION, *TRANSACTIONS), needs=QUICK_CLEANER)
def nothing_is_compacted_from_an_open_transaction_on(target: Target) -> None:
    """Given a transaction open since offset 3, what is before it is compacted, and nothing from it on; when it is committed, all is. KIP-98."""
    topic = compacted_topic(target)
    write_each(target, topic, count=3)
    transaction = Transaction(target)
    transaction.produce(topic, [VALUE])
    write_each(target, topic, count=3)

    wait_for_records(target, topic, [2, 3, 4, 5, 6])

    time.sleep(SOME_ROUNDS_S)
    expect_equal("the offsets while it is open", records_of(target, topic), [2, 3, 4, 5, 6])
    transaction.end(topic, committed=True)
    wait_for_records(target, topic, [6, 7])


@check("N-09a", api=RETENTION, needs=QUICK_CLEANER)
def young_records_wait_for_their_lag(target: Target) -> None:
    """Given min.compaction.lag.ms of an hour, records of two hours ago are compacted, those of now are not. KIP-58."""
    topic = compacted_topic(target, min_compaction_lag_ms=str(AN_HOUR_MS))
    write_each(target, topic, count=3, timestamp=now_ms() - 2 * AN_HOUR_MS)
    write_each(target, topic, count=3)

    wait_for_records(target, topic, [2, 3, 4, 5])

    time.sleep(SOME_ROUNDS_S)
    expect_equal("the offsets some rounds later", records_of(target, topic), [2, 3, 4, 5])


@check("N-09b", api=RETENTION, needs=QUICK_CLEANER)
def old_records_do_not_wait_for_the_dirty_ratio(target: Target) -> None:
    """Given min.cleanable.dirty.ratio=1, a log with a record older than max.compaction.lag.ms is compacted; one without such a limit is not. KIP-354."""
    limited = compacted_topic(target, min_cleanable_dirty_ratio="1", max_compaction_lag_ms=str(AN_HOUR_MS))
    patient = compacted_topic(target, min_cleanable_dirty_ratio="1")
    for topic in (patient, limited):
        write_each(target, topic, count=3, timestamp=now_ms() - 2 * AN_HOUR_MS)

    wait_for_records(target, limited, [1, 2])

    expect_equal("the offsets without a limit", records_of(target, patient), [0, 1, 2])


@check("N-10a", api=RETENTION, needs=QUICK_CLEANER)
def compact_and_delete_compacts(target: Target) -> None:
    """Given cleanup.policy=compact,delete, outdated records go; given none at all (""), they stay."""
    neither, both = compacted_topic(target, cleanup_policy=""), compacted_topic(target, cleanup_policy="compact,delete")
    for topic in (neither, both):
        write_each(target, topic, count=4)

    wait_for_records(target, both, [2, 3])

    expect_equal("the offsets without a policy", records_of(target, neither), [0, 1, 2, 3])


@check("N-10b", api=RETENTION, needs=QUICK_RETENTION)
def compact_and_delete_deletes(target: Target) -> None:
    """Given cleanup.policy=compact,delete, retention.ms takes old segments; given none at all (""), or compact alone, they stay."""
    both, neither, compacted = (
        target.new_topic(internal_segment_bytes=A_SEGMENT, retention_ms="1000", cleanup_policy=policy)
        for policy in ("compact,delete", "", "compact")
    )
    for topic in (neither, compacted, both):
        write_each(target, topic, count=2, timestamp=now_ms() - HALF_AN_HOUR_MS)

    wait_for_start(target, both, 2)

    time.sleep(SOME_ROUNDS_S)
    for topic in (neither, compacted):
        expect_equal("the log's start", target.list_offsets(topic, timestamp=EARLIEST).offset, 0)
