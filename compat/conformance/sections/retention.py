"""N: what retention and compaction take out of a log, and what they leave."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of, now_ms
from pykbroker.compat.steps.classic_members import expect_seconds
from pykbroker.compat.steps.cleaning import (
    A_SEGMENT,
    HALF_AN_HOUR_MS,
    QUICK_CLEANER,
    QUICK_RETENTION,
    RETENTION,
    VALUE,
    compacted_topic,
    wait_for_records,
    wait_for_start,
)
from pykbroker.compat.target import EARLIEST, LATEST, Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.records import batches


@check("N-01a", api=RETENTION, needs=QUICK_RETENTION)
def old_segments_go_the_active_one_too(target: Target) -> None:
    """Given records that are all older than retention.ms, the active segment too is deleted: the log starts at its end, and goes on from there."""
    topic = target.new_topic(retention_ms="1000", internal_segment_bytes=A_SEGMENT)
    started = time.monotonic()
    for _ in range(3):
        target.produce(topic, [VALUE])

    wait_for_start(target, topic, 3)

    expect_seconds("the retention", time.monotonic() - started, 1.0, 4.0)
    expect_equal("the end of the log", target.list_offsets(topic, timestamp=LATEST).offset, 3)
    expect_equal("the next offset", target.produce(topic, [VALUE]), 3)


@check("N-01b", api=RETENTION, needs=QUICK_RETENTION)
def a_segment_lives_as_long_as_its_youngest_record(target: Target) -> None:
    """Given a segment of an old record and one with a younger record too, the first goes, and the second not before the younger one expires."""
    topic = target.new_topic(retention_ms="2000", internal_segment_bytes=A_SEGMENT)
    young = now_ms()
    old = young - HALF_AN_HOUR_MS
    expect(target.produce_batch(topic, batch_of(VALUE, timestamps=[old])), error_code=ErrorCode.NONE)
    expect(target.produce_batch(topic, batch_of(VALUE, b"", timestamps=[old, young])), error_code=ErrorCode.NONE)
    target.produce(topic, [VALUE], timestamp=young + HALF_AN_HOUR_MS)

    wait_for_start(target, topic, 1)
    wait_for_start(target, topic, 3)

    expect_that(now_ms() >= young + 1950, "the segment is there until its youngest record expires")


@check("N-02a", api=RETENTION, needs=QUICK_RETENTION)
def the_oldest_segments_go_where_there_are_too_many_bytes(target: Target) -> None:
    """Given six segments of a batch and retention.bytes of 2.9 batches, the oldest go while what is left would not be less: three stay."""
    size = len(batch_of(VALUE))
    topic = target.new_topic(retention_bytes=str(size * 29 // 10), internal_segment_bytes=A_SEGMENT)
    for _ in range(6):
        expect(target.produce_batch(topic, batch_of(VALUE)), error_code=ErrorCode.NONE)

    wait_for_start(target, topic, 3)

    time.sleep(0.8)
    expect_equal("the log's start", target.list_offsets(topic, timestamp=EARLIEST).offset, 3)


@check("N-02b", api=RETENTION, needs=QUICK_RETENTION)
def no_bytes_at_all_may_stay(target: Target) -> None:
    """Given retention.bytes=0, everything is deleted, the active segment too."""
    topic = target.new_topic(retention_bytes="0", internal_segment_bytes=A_SEGMENT)
    for _ in range(2):
        target.produce(topic, [VALUE])

    wait_for_start(target, topic, 2)

    expect_equal("the end of the log", target.list_offsets(topic, timestamp=LATEST).offset, 2)


@check("N-03", api=RETENTION, needs=QUICK_RETENTION)
def records_of_the_future_stay(target: Target) -> None:
    """Given a record dated half an hour ahead, retention.ms does not take it while one of now is taken beside it."""
    future, now = (target.new_topic(retention_ms="500") for _ in range(2))
    target.produce(future, timestamp=now_ms() + HALF_AN_HOUR_MS)
    target.produce(now)

    wait_for_start(target, now, 1)

    time.sleep(0.7)
    expect_equal("the log's start", target.list_offsets(future, timestamp=EARLIEST).offset, 0)


@check("N-05", api=RETENTION, needs=QUICK_CLEANER)
def only_the_newest_record_of_a_key_is_left(target: Target) -> None:
    """Given compaction, each key has its newest record; offsets, and the first and last offset of a batch, stay as they were, and so does the log's start."""
    topic = compacted_topic(target)
    target.produce(topic, [b"old", VALUE], key=b"a")
    target.produce(topic, [VALUE], key=b"b")
    target.produce(topic, [VALUE], key=b"b")
    target.produce(topic, [VALUE], key=b"b")

    found = wait_for_records(target, topic, [1, 3, 4])

    expect(found[0], base_offset=0, last_offset_delta=1, record_count=1)
    expect_equal("the log's start", target.list_offsets(topic, timestamp=EARLIEST).offset, 0)


@check("N-11", api=RETENTION, needs=QUICK_CLEANER)
def a_gap_is_read_over(target: Target) -> None:
    """Given a fetch at an offset that compaction took out, what is next is returned, without an error."""
    topic = compacted_topic(target)
    for _ in range(4):
        target.produce(topic, [VALUE])
    wait_for_records(target, topic, [2, 3])

    answer = target.fetch(topic, 1)

    expect(answer, error_code=ErrorCode.NONE, high_watermark=4)
    offsets = [record.offset for batch in batches(answer.records or b"") for record in batch.records()]
    expect_that(2 in offsets, f"offset 2 is returned; it is {offsets}")


@check("N-12", api=RETENTION)
def an_answer_has_the_data_of_one_segment(target: Target) -> None:
    """Given a batch in each segment, a large fetch returns a single batch."""
    topic = target.new_topic(internal_segment_bytes=A_SEGMENT)
    for _ in range(3):
        target.produce(topic, [VALUE])

    for offset in range(3):
        answer = target.fetch(topic, offset)

        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("the batches", [batch.base_offset for batch in batches(answer.records or b"")], [offset])


@check("N-13", api=RETENTION, versions="3-13")
def a_batch_fits_a_segment(target: Target, version: int) -> None:
    """Given a batch larger than a segment may be, RECORD_LIST_TOO_LARGE, and nothing is appended."""
    topic = target.new_topic(internal_segment_bytes=A_SEGMENT)

    answer = target.produce_batch(topic, batch_of(bytes(400)), version=version)

    expect(answer, error_code=ErrorCode.RECORD_LIST_TOO_LARGE, base_offset=-1, log_append_time_ms=-1)
    expect_equal("the end of the log", target.list_offsets(topic, timestamp=LATEST).offset, 0)
