"""F: what a Fetch returns: which records, how many bytes, in which order, and what stands beside them."""

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of_size
from pykbroker.compat.steps.log_requests import (
    FIRST_WITH_IDS,
    NOBODY,
    PLENTY,
    READ_COMMITTED,
    UNKNOWN_ID,
    Answered,
    Wanted,
    answered,
    delete_records_request,
    fetch_one,
    fetch_request,
    unknown_topic,
)
from pykbroker.compat.steps.topics import created_again
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import FetchRequest
from pykbroker.protocol.records import batches

BATCH_SIZE = 1071


def topic_of(one: Answered, version: int) -> str | bytes:
    """Whose partition it is, as that version says it."""
    return one.topic_id if version >= FIRST_WITH_IDS else one.topic


def name_or_id(topic: Topic, version: int) -> str | bytes:
    """The same of a topic."""
    return topic.topic_id if version >= FIRST_WITH_IDS else topic.name


@check("F-02a", api="Fetch", versions="4-18")
def offsets_beyond_the_end_are_refused_at_once(target: Target, version: int) -> None:
    """Given offsets above the end or below 0, OFFSET_OUT_OF_RANGE, without waiting; no offsets stand beside it."""
    topic = target.new_topic()
    target.produce(topic)

    for offset in (2, 99, -1, -5):
        answer = fetch_one(target, Wanted(topic, offset=offset), version, isolation_level=READ_COMMITTED, max_wait_ms=60_000)

        expect(
            answer,
            error_code=ErrorCode.OFFSET_OUT_OF_RANGE,
            high_watermark=-1,
            last_stable_offset=-1,
            log_start_offset=-1,
            aborted_transactions=None,
            preferred_read_replica=-1,
            records=b"",
        )


@check("F-02b", api=("Fetch", "DeleteRecords"), versions="4-18")
def offsets_before_the_start_are_refused(target: Target, version: int) -> None:
    """Given a log that starts at 2, offset 1 is OFFSET_OUT_OF_RANGE, and offset 2 is served."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    target.ask_newest(delete_records_request(topic, 2), 2)

    before = fetch_one(target, Wanted(topic, offset=1), version, max_wait_ms=60_000)
    at_start = fetch_one(target, Wanted(topic, offset=2), version)

    expect(before, error_code=ErrorCode.OFFSET_OUT_OF_RANGE, high_watermark=-1, log_start_offset=-1, records=b"")
    expect(at_start, error_code=ErrorCode.NONE, high_watermark=3, records=NOT_EMPTY)


@check("F-04", api="Fetch", versions="4-18")
def an_offset_within_a_batch_gets_the_whole(target: Target, version: int) -> None:
    """Given batches of offsets 0-9, 10-19 and 20, a fetch at 15 begins with the batch at 10."""
    topic = target.new_topic()
    for values in ([b"v"] * 10, [b"v"] * 10, [b"v"]):
        target.produce(topic, values)

    answer = fetch_one(target, Wanted(topic, offset=15), version)

    expect(answer, error_code=ErrorCode.NONE, high_watermark=21)
    expect_equal("the batches", [(one.base_offset, one.last_offset) for one in batches(answer.records or b"")], [(10, 19), (20, 20)])


@check("F-05a", api="Fetch", versions="4-18")
def the_first_batch_comes_whole(target: Target, version: int) -> None:
    """Given limits of 0, 1, or a byte less than the first batch, for the partition or the request, that one batch comes whole. KIP-74."""
    topic = target.new_topic()
    for _ in range(3):
        target.produce_batch(topic, batch_of_size(BATCH_SIZE))

    for limit in (0, 1, BATCH_SIZE - 1):
        for of_partition, of_request in ((limit, PLENTY), (PLENTY, limit)):
            answer = target.ask(fetch_request([Wanted(topic, max_bytes=of_partition)], max_bytes=of_request), version)
            data = answered(answer)[0].data
            expect(data, error_code=ErrorCode.NONE)
            expect_equal("the bytes returned", len(data.records or b""), BATCH_SIZE)


@check("F-05b", api="Fetch", versions="4-18")
def limits_are_kept_behind_the_first_batch(target: Target, version: int) -> None:
    """Given limits within the second or third batch, no more bytes than that come, and every batch that fits is whole.
    The rest may be cut.
    """
    topic = target.new_topic()
    for _ in range(3):
        target.produce_batch(topic, batch_of_size(BATCH_SIZE))

    for limit, whole in ((BATCH_SIZE + 500, 1), (2 * BATCH_SIZE, 2), (2 * BATCH_SIZE + 500, 2)):
        for of_partition, of_request in ((limit, PLENTY), (PLENTY, limit)):
            answer = target.ask(fetch_request([Wanted(topic, max_bytes=of_partition)], max_bytes=of_request), version)
            records = answered(answer)[0].data.records or b""
            expect_that(len(records) <= limit, f"{len(records)} bytes are no more than the limit of {limit}")
            expect_equal("the whole batches", [one.base_offset for one in batches(records)], list(range(whole)))


@check("F-06a", api="Fetch", versions="4-18")
def only_the_first_partition_may_exceed(target: Target, version: int) -> None:
    """Given three partitions with data and max bytes of 1, the first one that has data gets a batch, the others
    nothing, without an error.
    """
    topic = target.new_topic(partitions=4)
    for partition in (0, 1, 2):
        target.produce_batch(topic, batch_of_size(BATCH_SIZE), partition=partition)

    answer = target.ask(fetch_request([Wanted(topic, partition) for partition in (3, 2, 0, 1)], max_bytes=1), version)

    found = [(one.data.partition_index, one.data.error_code, len(one.data.records or b"")) for one in answered(answer)]
    expect_equal("partition, error and bytes", found, [(3, 0, 0), (2, 0, BATCH_SIZE), (0, 0, 0), (1, 0, 0)])


@check("F-06b", api="Fetch", versions="4-18")
def later_partitions_share_what_is_left(target: Target, version: int) -> None:
    """Given max bytes of three batches, the first partition's two and the second's first come; what does not fit whole
    into the rest stays away.
    """
    topic = target.new_topic(partitions=3)
    for partition in (0, 0, 1, 1, 2):
        target.produce_batch(topic, batch_of_size(BATCH_SIZE), partition=partition)

    answer = target.ask(fetch_request([Wanted(topic, partition) for partition in range(3)], max_bytes=3 * BATCH_SIZE), version)
    small = target.ask(fetch_request([Wanted(topic, 0), Wanted(topic, 1, max_bytes=BATCH_SIZE - 1)]), version)

    counts = [[len(list(batches(one.data.records or b""))) for one in answered(each)] for each in (answer, small)]
    expect_equal("whole batches by partition", counts, [[2, 1, 0], [2, 0]])
    expect_equal("the bytes of the last partition", [len(answered(each)[-1].data.records or b"") for each in (answer, small)], [0, 0])


@check("F-12", api="Fetch", versions="4-18")
def no_records_are_empty_not_null(target: Target, version: int) -> None:
    """Given nothing to return, or an error, records are an empty byte string: null breaks clients. KAFKA-18646."""
    topic = target.new_topic()

    answer = target.ask(fetch_request([Wanted(topic), Wanted(topic, 5), Wanted(NOBODY)]), version)
    out_of_range = fetch_one(target, Wanted(topic, offset=7), version)

    errors = {one.data.error_code for one in answered(answer)} | {out_of_range.error_code}
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    expect_equal("the errors", errors, {0, unknown, unknown_topic(version), ErrorCode.OFFSET_OUT_OF_RANGE})
    for one in [*(each.data for each in answered(answer)), out_of_range]:
        expect(one, records=b"")


@check("F-13", api="Fetch", versions="4-18")
def who_reads_everything_gets_no_aborted_list(target: Target, version: int) -> None:
    """Given read_uncommitted, aborted transactions are null; given read_committed, a list; for what is unknown, an empty list in both."""
    topic = target.new_topic()
    target.produce(topic)

    uncommitted = target.ask(fetch_request([Wanted(topic), Wanted(NOBODY)]), version)
    committed = target.ask(fetch_request([Wanted(topic), Wanted(NOBODY)], isolation_level=READ_COMMITTED), version)

    for response, aborted in ((uncommitted, None), (committed, [])):
        good, unknown = answered(response)
        expect(good.data, error_code=ErrorCode.NONE, records=NOT_EMPTY, aborted_transactions=aborted)
        expect(unknown.data, error_code=unknown_topic(version), aborted_transactions=[])


@check("F-17a", api=("Fetch", "DeleteRecords"), versions="4-18")
def where_the_log_stands_is_told(target: Target, version: int) -> None:
    """Given a log from 1 to 3, every answer has its high watermark and last stable offset, whoever reads, and from v5 on its start."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    target.ask_newest(delete_records_request(topic, 1), 2)

    for isolation_level in (0, READ_COMMITTED):
        for offset in (1, 3):
            answer = fetch_one(target, Wanted(topic, offset=offset), version, isolation_level=isolation_level)
            start = 1 if version >= 5 else -1
            expect(answer, error_code=ErrorCode.NONE, high_watermark=3, last_stable_offset=3, log_start_offset=start)


@check("F-18a", api="Fetch", versions="13-18")
def unknown_topic_ids(target: Target, version: int) -> None:
    """Given an id that nobody has, or all zeroes, UNKNOWN_TOPIC_ID at once, with the id that was asked for. KIP-516."""
    for topic_id in (UNKNOWN_ID, bytes(16)):
        answer = target.ask(fetch_request([Wanted(Topic("", topic_id, 1))], max_wait_ms=60_000), version)

        expect_equal("the topic", answered(answer)[0].topic_id, topic_id)
        expect(answered(answer)[0].data, error_code=ErrorCode.UNKNOWN_TOPIC_ID, high_watermark=-1, records=b"")


@check("F-18b", api=("Fetch", "CreateTopics", "DeleteTopics"), versions="13-18")
def the_id_of_a_topic_that_was(target: Target, version: int) -> None:
    """Given a topic that was deleted and made anew, its old id is UNKNOWN_TOPIC_ID, its new one is served."""
    old = target.new_topic()
    target.delete_topic(old.name)
    new = created_again(target, old)

    answers = [fetch_one(target, Wanted(topic), version) for topic in (old, new)]

    expect(answers[0], error_code=ErrorCode.UNKNOWN_TOPIC_ID)
    expect(answers[1], error_code=ErrorCode.NONE, high_watermark=0)


@check("F-19a", api="Fetch", versions="4-18")
def a_partition_twice_is_answered_once(target: Target, version: int) -> None:
    """Given a partition twice with offsets 0 and 2, it is answered once, in the first one's place, from the last one's offset."""
    topic = target.new_topic(partitions=2)
    for _ in range(3):
        target.produce(topic)

    answer = target.ask(fetch_request([Wanted(topic, 0, 0), Wanted(topic, 1), Wanted(topic, 0, 2)]), version)

    expect_equal("the partitions", [one.data.partition_index for one in answered(answer)], [0, 1])
    records = answered(answer)[0].data.records or b""
    expect_equal("the batches", [one.base_offset for one in batches(records)], [2])


@check("F-19b", api="Fetch", versions="4-18")
def answers_come_in_the_order_asked(target: Target, version: int) -> None:
    """Given partitions of two topics by turns, there is a topic entry for each run of one topic, in the request's order."""
    first, second = target.new_topic(partitions=3), target.new_topic()

    answer = target.ask(fetch_request([Wanted(first, 2), Wanted(first, 0), Wanted(second), Wanted(first, 1)]), version)

    names = [topic.topic_id if version >= FIRST_WITH_IDS else topic.topic for topic in answer.responses]
    expect_equal("the topic entries", names, [name_or_id(first, version), name_or_id(second, version), name_or_id(first, version)])
    expect_equal("the partitions", [one.data.partition_index for one in answered(answer)], [2, 0, 0, 1])


@check("F-20", api="Fetch", versions="11-18")
def without_a_selector_no_replica_is_preferred(target: Target, version: int) -> None:
    """Given a rack id and the default replica selector, the leader answers with the data, and prefers nobody (-1). KIP-392."""
    topic = target.new_topic()
    target.produce(topic)
    request = fetch_request([Wanted(topic)])
    request.rack_id = "a rack that nobody is in"

    answer = answered(target.ask(request, version))[0].data

    expect(answer, error_code=ErrorCode.NONE, preferred_read_replica=-1, high_watermark=1, records=NOT_EMPTY)


@check("F-21a", api="Fetch", versions="12-18")
def a_log_that_diverged_is_told_so(target: Target, version: int) -> None:
    """Given two records of epoch 0, a reader at 5 that last read epoch 0 is told that it ends at 2, at once and without
    an error. KIP-595.
    """
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b"])

    diverged = fetch_one(target, Wanted(topic, offset=5, last_fetched_epoch=0), version, max_wait_ms=60_000)
    agreed = fetch_one(target, Wanted(topic, offset=1, last_fetched_epoch=0), version)

    expect(diverged, error_code=ErrorCode.NONE, high_watermark=2, records=b"")
    expect(diverged.diverging_epoch, epoch=0, end_offset=2)
    expect(agreed, error_code=ErrorCode.NONE, records=NOT_EMPTY)
    expect(agreed.diverging_epoch, epoch=-1, end_offset=-1)


@check("F-21b", api="Fetch", versions="12-18")
def an_epoch_of_the_future_was_not_fetched(target: Target, version: int) -> None:
    """Given a last fetched epoch above the log's latest, OFFSET_OUT_OF_RANGE."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b"])

    answer = fetch_one(target, Wanted(topic, offset=1, last_fetched_epoch=7), version, max_wait_ms=60_000)

    expect(answer, error_code=ErrorCode.OFFSET_OUT_OF_RANGE, high_watermark=-1, records=b"")


@check("F-22", api="Fetch", versions="4-18", needs=Settings((("fetch.max.bytes", "300000"),)))
def the_broker_has_a_limit_of_its_own(target: Target, version: int) -> None:
    """Given fetch.max.bytes=300000 and batches of 90 kB, three come, and no more than 300000 bytes, whatever the client allows."""
    topic = target.new_topic()
    for _ in range(5):
        target.produce_batch(topic, batch_of_size(90_000))

    records = fetch_one(target, Wanted(topic), version).records or b""

    expect_equal("the whole batches", len(list(batches(records))), 3)
    expect_that(len(records) <= 300_000, f"{len(records)} bytes are no more than 300000")


@check("F-24", api="Fetch", versions="4-18")
def what_is_unknown_comes_last(target: Target, version: int) -> None:
    """Given unknown topics and partitions among good ones, the good ones come first, then the unknown, each in the request's order."""
    first, second = target.new_topic(), target.new_topic()

    answer = target.ask(fetch_request([Wanted(NOBODY), Wanted(first, 7), Wanted(first), Wanted(second)]), version)

    found = [(topic_of(one, version), one.data.partition_index, one.data.error_code) for one in answered(answer)]
    expected = [
        (name_or_id(first, version), 0, 0),
        (name_or_id(second, version), 0, 0),
        (name_or_id(NOBODY, version), 0, unknown_topic(version)),
        (name_or_id(first, version), 7, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    expect_equal("topic, partition and error", found, expected)


@check("F-25", api="Fetch", versions="4-18")
def a_fetch_ends_with_the_segment(target: Target, version: int) -> None:
    """Given five batches of 300 kB in segments of 1 MiB, one fetch without limits returns the three of the first segment."""
    topic = target.new_topic(segment_bytes="1048576")
    for _ in range(5):
        target.produce_batch(topic, batch_of_size(300_000))

    records = fetch_one(target, Wanted(topic), version).records or b""

    expect_equal("the batches", [one.base_offset for one in batches(records)], [0, 1, 2])
    expect_equal("the bytes returned", len(records), 900_000)


@check("F-27", api="Fetch", versions="4-18")
def who_is_no_replica_is_not_served_as_one(target: Target, version: int) -> None:
    """Given the id of a replica that is none, or of the leader itself, NOT_LEADER_OR_FOLLOWER; -2 is served as a consumer is."""
    topic = target.new_topic()
    target.produce(topic)
    leader = target.metadata(topic.name).topics[0].partitions[0].leader_id

    answers = []
    for replica_id in (99, leader, -2):
        request = fetch_request([Wanted(topic)])
        request.replica_id = replica_id if version <= 14 else -1
        request.replica_state = FetchRequest.ReplicaState(replica_id=replica_id if version > 14 else -1)
        answers.append(answered(target.ask(request, version))[0].data)

    for refused in answers[:2]:
        expect(refused, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER, records=b"")
    expect(answers[2], error_code=ErrorCode.NONE, records=NOT_EMPTY)


@check("F-29a", api="Fetch", versions="12-18")
def a_wrong_cluster_id_changes_nothing(target: Target, version: int) -> None:
    """Given the id of another cluster in a Fetch of a consumer, it is served."""
    topic = target.new_topic()
    target.produce(topic)
    request = fetch_request([Wanted(topic)])
    request.cluster_id = "another"

    answer = target.ask(request, version)

    expect(answer, error_code=ErrorCode.NONE)
    expect(answered(answer)[0].data, error_code=ErrorCode.NONE, records=NOT_EMPTY)


@check("F-29b", api="Fetch", versions="9-18")
def the_leader_epoch_of_the_asker(target: Target, version: int) -> None:
    """Given a current leader epoch of 0 in epoch 0, the fetch is served; given one of the future, UNKNOWN_LEADER_EPOCH at once. KIP-320."""
    topic = target.new_topic()
    target.produce(topic)

    current = fetch_one(target, Wanted(topic, current_leader_epoch=0), version)
    future = fetch_one(target, Wanted(topic, offset=1, current_leader_epoch=5), version, max_wait_ms=60_000)

    expect(current, error_code=ErrorCode.NONE, records=NOT_EMPTY)
    expect(future, error_code=ErrorCode.UNKNOWN_LEADER_EPOCH, records=b"")
