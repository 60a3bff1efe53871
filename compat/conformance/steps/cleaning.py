"""Logs out of which old records are taken, soon enough for a check to see it: their settings, and the wait for what is left."""

import time

from pykbroker.compat.check import Settings
from pykbroker.compat.expectations import Unexpected, expect, expect_that
from pykbroker.compat.target import EARLIEST, LATEST, PATIENCE_S, Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.records import RecordBatch, batches

RETENTION = ("Produce", "Fetch", "ListOffsets")
"""The APIs that it takes."""

QUICK_RETENTION = Settings((("log.retention.check.interval.ms", "300"),))
QUICK_CLEANER = Settings((("log.cleaner.backoff.ms", "200"),))
A_SEGMENT = "300"
"""Bytes in a segment: two batches of VALUE do not fit."""
VALUE = bytes(200)
HALF_AN_HOUR_MS = 1_800_000


def wait_for_start(target: Target, topic: Topic, offset: int) -> None:
    """Until the log starts there."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := target.list_offsets(topic, timestamp=EARLIEST).offset) != offset:
        if time.monotonic() > deadline:
            raise Unexpected("the log's start", offset, found)
        time.sleep(0.02)


def batches_of(target: Target, topic: Topic) -> list[RecordBatch]:
    """Every batch of a log, read segment by segment."""
    found: list[RecordBatch] = []
    offset, end = 0, target.list_offsets(topic, timestamp=LATEST).offset
    while offset < end:
        answer = target.fetch(topic, offset)
        expect(answer, error_code=ErrorCode.NONE)
        fetched = list(batches(answer.records or b""))
        expect_that(fetched, f"there is something to fetch at {offset}, before the end {end}")
        found += fetched
        offset = fetched[-1].next_offset
    return found


def wait_for_records(target: Target, topic: Topic, offsets: list[int]) -> list[RecordBatch]:
    """Until the log has the records at these offsets and no others; its batches."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = batches_of(target, topic)
        there = [record.offset for batch in found for record in batch.records()]
        if there == offsets:
            return found
        if time.monotonic() > deadline:
            raise Unexpected("the offsets of the records left", offsets, there)
        time.sleep(0.05)


def compacted_topic(target: Target, **changed: str) -> Topic:
    """A topic that is compacted as soon as there is something to, with small segments, and with these configs changed."""
    return target.new_topic(
        1, **{"cleanup_policy": "compact", "internal_segment_bytes": A_SEGMENT, "min_cleanable_dirty_ratio": "0.01", **changed}
    )
