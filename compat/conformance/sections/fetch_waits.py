"""F: how long a Fetch waits, and what ends its wait."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of_size
from pykbroker.compat.steps.log_requests import NOBODY, PLENTY, Wanted, answered, fetch_request, unknown_topic
from pykbroker.compat.steps.waiting_fetches import AT_ONCE_S, LONG_MS, fetched_after, waiting
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.records import batches

SHORT_MS = 150
BATCH_SIZE = 1071


def expect_waited(seconds: float) -> None:
    """About SHORT_MS; the clocks of two processes are not asked to agree to the millisecond."""
    expect_that(SHORT_MS / 1000 - 0.02 <= seconds < AT_ONCE_S, f"the answer took about {SHORT_MS} ms (it was {seconds:.3f} s)")


@check("F-01", api="Fetch", versions="4-18")
def at_the_end_it_waits(target: Target, version: int) -> None:
    """Given an offset at the log's end, the answer comes after max_wait_ms, without an error, with no records, aborted
    transactions null.
    """
    topic = target.new_topic()
    target.produce(topic)

    answer, seconds = fetched_after(target, fetch_request([Wanted(topic, offset=1)], max_wait_ms=SHORT_MS), version)

    expect(answered(answer)[0].data, error_code=ErrorCode.NONE, high_watermark=1, records=b"", aborted_transactions=None)
    expect_waited(seconds)


@check("F-07a", api="Fetch", versions="4-18")
def an_append_wakes_it(target: Target, version: int) -> None:
    """Given a fetch that waits at the end for a minute, an append answers it at once."""
    topic = target.new_topic()
    request = fetch_request([Wanted(topic)], max_wait_ms=LONG_MS)
    connection = waiting(target, request, version)

    started = time.monotonic()
    target.produce(topic)
    answer = connection.receive(request, version)

    expect(answered(answer)[0].data, error_code=ErrorCode.NONE, high_watermark=1, records=NOT_EMPTY)
    expect_that(time.monotonic() - started < AT_ONCE_S, "it is answered at once")


@check("F-07b", api="Fetch", versions="4-18")
def who_wants_nothing_gets_it_at_once(target: Target, version: int) -> None:
    """Given min_bytes of 0 or below and nothing to return, the answer does not wait for max_wait_ms."""
    topic = target.new_topic()

    for min_bytes in (0, -1):
        request = fetch_request([Wanted(topic)], min_bytes=min_bytes, max_wait_ms=LONG_MS)
        answer, seconds = fetched_after(target, request, version)
        expect(answered(answer)[0].data, error_code=ErrorCode.NONE, high_watermark=0, records=b"")
        expect_that(seconds < AT_ONCE_S, "it is answered at once")


@check("F-08a", api="Fetch", versions="4-18")
def bytes_of_all_partitions_are_waited_for(target: Target, version: int) -> None:
    """Given min_bytes of four batches, the third batch in two partitions together does not end the wait, and the fourth does."""
    topic = target.new_topic(partitions=2)
    wanted = [Wanted(topic, 0), Wanted(topic, 1)]
    request = fetch_request(wanted, min_bytes=4 * BATCH_SIZE, max_wait_ms=LONG_MS)
    connection = waiting(target, request, version)

    for partition in (0, 1, 0):
        target.produce_batch(topic, batch_of_size(BATCH_SIZE), partition=partition)
    expect_that(connection.is_silent(for_s=0.1), "three batches are not enough")
    target.produce_batch(topic, batch_of_size(BATCH_SIZE), partition=1)
    answer = connection.receive(request, version)

    counts = [len(list(batches(one.data.records or b""))) for one in answered(answer)]
    expect_equal("the batches by partition", counts, [2, 2])


@check("F-08b", api="Fetch", versions="4-18")
def the_partitions_limit_does_not_shorten_the_wait(target: Target, version: int) -> None:
    """Given min_bytes above the partition's max bytes, max_wait_ms passes, and then what is there is returned."""
    topic = target.new_topic()
    target.produce(topic)

    request = fetch_request([Wanted(topic, max_bytes=10)], min_bytes=100, max_wait_ms=SHORT_MS)
    answer, seconds = fetched_after(target, request, version)

    expect(answered(answer)[0].data, error_code=ErrorCode.NONE, records=NOT_EMPTY)
    expect_waited(seconds)


@check("F-09a", api="Fetch", versions="4-18")
def an_unknown_partition_does_not_end_the_wait(target: Target, version: int) -> None:
    """Given an unknown topic and an unknown partition beside one at its end, max_wait_ms passes; the unknown have no offsets."""
    topic = target.new_topic()
    request = fetch_request([Wanted(topic), Wanted(NOBODY), Wanted(topic, 9)], max_wait_ms=SHORT_MS)

    answer, seconds = fetched_after(target, request, version)

    expect_waited(seconds)
    good, unknown, missing = (one.data for one in answered(answer))
    expect(good, error_code=ErrorCode.NONE, high_watermark=0, aborted_transactions=None)
    for data, error in ((unknown, unknown_topic(version)), (missing, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)):
        expect(data, error_code=error, high_watermark=-1, last_stable_offset=-1, log_start_offset=-1, aborted_transactions=[])


@check("F-09b", api="Fetch", versions="4-18")
def nothing_to_wait_for(target: Target, version: int) -> None:
    """Given no partitions, unknown ones alone, or one out of range beside one at its end, the answer comes at once."""
    topic = target.new_topic(partitions=2)

    for wanted, errors in (
        ([], []),
        ([Wanted(NOBODY)], [unknown_topic(version)]),
        ([Wanted(topic, 0), Wanted(topic, 1, offset=9)], [0, ErrorCode.OFFSET_OUT_OF_RANGE]),
    ):
        answer, seconds = fetched_after(target, fetch_request(wanted, max_wait_ms=LONG_MS), version)
        expect_equal("the errors", [one.data.error_code for one in answered(answer)], errors)
        expect_that(seconds < AT_ONCE_S, "it is answered at once")


@check("F-10", api="Fetch", versions="4-18")
def no_time_is_at_once(target: Target, version: int) -> None:
    """Given max_wait_ms of 0 or below, the answer comes at once, however many bytes are wanted."""
    topic = target.new_topic()
    target.produce(topic)

    for max_wait_ms in (0, -1, -(2**31)):
        answer, seconds = fetched_after(target, fetch_request([Wanted(topic)], min_bytes=PLENTY, max_wait_ms=max_wait_ms), version)
        expect(answered(answer)[0].data, error_code=ErrorCode.NONE, records=NOT_EMPTY)
        expect_that(seconds < AT_ONCE_S, "it is answered at once")


@check("F-11", api=("Fetch", "DeleteTopics"), versions="4-18")
def deleting_the_topic_wakes_it(target: Target, version: int) -> None:
    """Given a fetch that waits, the deletion of its topic answers it UNKNOWN_TOPIC_OR_PARTITION at once, by name and by id."""
    topic = target.new_topic()
    request = fetch_request([Wanted(topic)], max_wait_ms=LONG_MS)
    connection = waiting(target, request, version)

    target.delete_topic(topic.name)
    answer = connection.receive(request, version)

    expect(answered(answer)[0].data, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, records=b"")


@check("F-28", api=("Fetch", "DeleteTopics"), versions="13-18")
def after_the_deletion_the_id_is_unknown(target: Target, version: int) -> None:
    """Given a fetch by id that the deletion of its topic answered UNKNOWN_TOPIC_OR_PARTITION, the next one is UNKNOWN_TOPIC_ID."""
    topic = target.new_topic()
    request = fetch_request([Wanted(topic)], max_wait_ms=LONG_MS)
    connection = waiting(target, request, version)

    target.delete_topic(topic.name)
    woken = connection.receive(request, version)
    following = connection.ask(request, version)

    expect(answered(woken)[0].data, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    expect(answered(following)[0].data, error_code=ErrorCode.UNKNOWN_TOPIC_ID)


@check("F-26", api="Fetch", versions="4-18")
def no_more_is_waited_for_than_is_allowed(target: Target, version: int) -> None:
    """Given min_bytes above max_bytes and a record that is there, the answer comes at once."""
    topic = target.new_topic()
    target.produce(topic)

    answer, seconds = fetched_after(target, fetch_request([Wanted(topic)], min_bytes=10_000, max_bytes=10, max_wait_ms=LONG_MS), version)

    expect(answered(answer)[0].data, error_code=ErrorCode.NONE, records=NOT_EMPTY)
    expect_that(seconds < AT_ONCE_S, "it is answered at once")
