"""L: ListOffsets: where in a partition a timestamp, or a special position, stands."""

from collections.abc import Sequence

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal
from pykbroker.compat.steps.batches import batch_of, now_ms
from pykbroker.compat.steps.log_requests import READ_COMMITTED, READ_UNCOMMITTED, delete_records_request
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.target import EARLIEST, LATEST, MAX_TIMESTAMP, Target, Topic
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ListOffsetsRequest, ListOffsetsResponse

EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = -4, -5, -6
FIRST_WITH_EPOCHS = 4


def listed(
    target: Target,
    wanted: Sequence[tuple[str, int, int]],
    version: int,
    *,
    isolation_level: int = READ_UNCOMMITTED,
    replica_id: int = -1,
    timeout_ms: int = 30_000,
) -> list[ListOffsetsResponse.ListOffsetsPartitionResponse]:
    """ListOffsets of (topic, partition, timestamp), a topic entry for each; every answer, in its order."""
    topics = [
        ListOffsetsRequest.ListOffsetsTopic(
            name=name, partitions=[ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=timestamp)]
        )
        for name, index, timestamp in wanted
    ]
    request = ListOffsetsRequest(replica_id=replica_id, isolation_level=isolation_level, topics=topics, timeout_ms=timeout_ms)
    return [one for topic in target.ask(request, version).topics for one in topic.partitions]


def listed_committed(target: Target, topic: Topic, timestamp: int, version: int) -> ListOffsetsResponse.ListOffsetsPartitionResponse:
    """The same of one partition, for who reads what is committed."""
    return listed(target, [(topic.name, 0, timestamp)], version, isolation_level=READ_COMMITTED)[0]


def epoch(version: int, value: int = 0) -> int:
    """A leader epoch, where the version carries it."""
    return value if version >= FIRST_WITH_EPOCHS else -1


@check("L-01", api=("ListOffsets", "DeleteRecords"), versions="1-11")
def earliest_is_the_start_of_the_log(target: Target, version: int) -> None:
    """Given records 0-2 of which those before 2 are deleted, EARLIEST answers offset 2, timestamp -1, and its epoch from v4 on."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    target.ask_newest(delete_records_request(topic, 2), 2)

    earliest = target.list_offsets(topic, timestamp=EARLIEST, version=version)

    expect(earliest, error_code=ErrorCode.NONE, offset=2, timestamp=-1, leader_epoch=epoch(version))


@check("L-02", api="ListOffsets", versions="1-11")
def latest_is_the_end_of_the_log(target: Target, version: int) -> None:
    """Given records 0-2 in two batches, LATEST answers offset 3 and timestamp -1, whatever the last batch's base is. KIP-79."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b"])
    target.produce(topic, [b"c"])

    latest = target.list_offsets(topic, timestamp=LATEST, version=version)

    expect(latest, error_code=ErrorCode.NONE, offset=3, timestamp=-1, leader_epoch=epoch(version))


@check("L-02b", api=("ListOffsets", "Produce", *TRANSACTIONS), versions="2-11")
def latest_of_what_is_committed(target: Target, version: int) -> None:
    """Given a transaction open since offset 1, LATEST is 1 for who reads what is committed, and 3 for who reads everything. KIP-98."""
    topic = target.new_topic()
    target.produce(topic)
    transaction = Transaction(target)
    transaction.produce(topic, [b"a", b"b"])

    committed = listed_committed(target, topic, LATEST, version)

    expect(committed, error_code=ErrorCode.NONE, offset=1, timestamp=-1)
    expect(target.list_offsets(topic, timestamp=LATEST, version=version), offset=3)
    transaction.end(topic, committed=False)


@check("L-03a", api="ListOffsets", versions="7-11")
def the_largest_timestamp(target: Target, version: int) -> None:
    """Given a tie for the largest timestamp, inside and after a gzip batch, the first record is answered with its time;
    an empty log: -1. KIP-734.
    """
    topic = target.new_topic(partitions=2)
    now = now_ms()
    target.produce_batch(topic, batch_of(b"a", b"b", b"c", timestamps=[now - 9, now, now - 5], compression=CompressionType.GZIP))
    target.produce(topic, [b"d"], timestamp=now)
    target.produce(topic, [b"e"], timestamp=now - 7)

    largest = target.list_offsets(topic, timestamp=MAX_TIMESTAMP, version=version)
    of_nothing = target.list_offsets(topic, partition=1, timestamp=MAX_TIMESTAMP, version=version)

    expect(largest, error_code=ErrorCode.NONE, offset=1, timestamp=now, leader_epoch=0)
    expect(of_nothing, error_code=ErrorCode.NONE, offset=-1, timestamp=-1)


@check("L-03b", api=("ListOffsets", "DeleteRecords"), versions="7-11")
def the_largest_timestamp_outlives_its_record(target: Target, version: int) -> None:
    """Given the record with the largest timestamp, deleted by DeleteRecords while its segment is there, its offset and time are answered still;
    that offset lies before the log's start.
    """
    topic = target.new_topic()
    now = now_ms()
    for timestamp in (now - 9, now, now - 7, now - 5):
        target.produce(topic, timestamp=timestamp)

    target.ask_newest(delete_records_request(topic, 3), 2)

    expect(target.list_offsets(topic, timestamp=EARLIEST, version=version), offset=3)
    largest = target.list_offsets(topic, timestamp=MAX_TIMESTAMP, version=version)
    expect(largest, error_code=ErrorCode.NONE, offset=1, timestamp=now)


@check("L-03c", api="ListOffsets", versions="7-11")
def records_without_a_timestamp_have_a_largest_too(target: Target, version: int) -> None:
    """Given records without a timestamp alone, the first of them is answered, with timestamp -1. KIP-734."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b"], timestamp=-1)

    largest = target.list_offsets(topic, timestamp=MAX_TIMESTAMP, version=version)

    expect(largest, error_code=ErrorCode.NONE, offset=0, timestamp=-1, leader_epoch=0)


@check("L-04", api=("ListOffsets", "DeleteRecords"), versions="8-11")
def positions_of_tiered_storage(target: Target, version: int) -> None:
    """Given a log from 1 to 3 without tiered storage, -4 answers as -2 does; -5 (v9+) and -6 (v11+) answer -1 without an error. KIP-405."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    target.ask_newest(delete_records_request(topic, 1), 2)

    local = target.list_offsets(topic, timestamp=EARLIEST_LOCAL, version=version)

    expect(local, error_code=ErrorCode.NONE, offset=1, timestamp=-1, leader_epoch=0)
    for special, since in ((LATEST_TIERED, 9), (EARLIEST_PENDING_UPLOAD, 11)):
        if version >= since:
            answer = target.list_offsets(topic, timestamp=special, version=version)
            expect(answer, error_code=ErrorCode.NONE, offset=-1, timestamp=-1, leader_epoch=-1)


@check("L-05", api="ListOffsets", versions="1-11")
def positions_before_their_version(target: Target, version: int) -> None:
    """Given a special timestamp in a version that does not have it, or one that nobody has, UNSUPPORTED_VERSION, also
    where the topic is unknown.
    """
    topic = target.new_topic()
    since = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11, -7: 99, -99: 99}

    for special, first_version in since.items():
        if version < first_version:
            for name in (topic.name, "nobody-made-this-topic"):
                answer = listed(target, [(name, 0, special)], version)[0]
                expect(answer, error_code=ErrorCode.UNSUPPORTED_VERSION, offset=-1, timestamp=-1)


@check("L-06", api="ListOffsets", versions="1-11")
def the_first_record_at_or_after_a_time(target: Target, version: int) -> None:
    """Given records at times 100 apart, a time answers the first record at or after it with that record's time; a time
    after all: -1. KIP-79.
    """
    topic = target.new_topic()
    now = now_ms() - 1000
    for number in range(3):
        target.produce(topic, timestamp=now + 100 * number)

    for asked, offset, timestamp in ((0, 0, now), (now, 0, now), (now + 1, 1, now + 100), (now + 200, 2, now + 200), (now + 201, -1, -1)):
        answer = target.list_offsets(topic, timestamp=asked, version=version)
        expect(answer, error_code=ErrorCode.NONE, offset=offset, timestamp=timestamp, leader_epoch=-1 if offset < 0 else epoch(version))


@check("L-07", api=("ListOffsets", "Produce", *TRANSACTIONS), versions="2-11")
def times_beyond_the_last_stable_offset(target: Target, version: int) -> None:
    """Given a record at or behind the start of an open transaction, its time answers -1 to who reads what is committed."""
    topic = target.new_topic()
    target.produce(topic, timestamp=now_ms() - 10_000)
    transaction = Transaction(target)
    transaction.produce(topic)
    later = now_ms() - 5000

    committed = listed_committed(target, topic, later, version)

    expect(committed, error_code=ErrorCode.NONE, offset=-1, timestamp=-1, leader_epoch=-1)
    expect(target.list_offsets(topic, timestamp=later, version=version), offset=1)
    if version >= 7:
        expect(listed_committed(target, topic, MAX_TIMESTAMP, version), error_code=ErrorCode.NONE, offset=-1, timestamp=-1)
    transaction.end(topic, committed=False)


@check("L-08", api=("ListOffsets", "DeleteRecords"), versions="1-11")
def times_inside_a_compressed_batch(target: Target, version: int) -> None:
    """Given one gzip batch of three records, times find each of them; after DeleteRecords inside the batch, not those
    before the log start.
    """
    topic = target.new_topic()
    now = now_ms() - 1000
    target.produce_batch(topic, batch_of(b"a", b"b", b"c", timestamps=[now, now + 100, now + 200], compression=CompressionType.GZIP))

    for number in range(3):
        answer = target.list_offsets(topic, timestamp=now + 100 * number, version=version)
        expect(answer, error_code=ErrorCode.NONE, offset=number, timestamp=now + 100 * number)
    target.ask_newest(delete_records_request(topic, 1), 2)
    expect(target.list_offsets(topic, timestamp=now, version=version), error_code=ErrorCode.NONE, offset=1, timestamp=now + 100)


@check("L-09", api="ListOffsets", versions="1-11")
def a_partition_twice_is_an_invalid_request(target: Target, version: int) -> None:
    """Given a partition twice, in two topic entries, it is answered INVALID_REQUEST once; another of the request is answered as it is."""
    topic = target.new_topic(partitions=2)
    target.produce(topic, partition=1)

    answers = listed(target, [(topic.name, 0, LATEST), (topic.name, 1, LATEST), (topic.name, 0, EARLIEST)], version)

    expect_equal("the number of answers", len(answers), 2)
    by_index = {one.partition_index: one for one in answers}
    expect(by_index[0], error_code=ErrorCode.INVALID_REQUEST, offset=-1, timestamp=-1)
    expect(by_index[1], error_code=ErrorCode.NONE, offset=1)


@check("L-18", api=("ListOffsets", "Produce", *TRANSACTIONS), versions="1-11")
def markers_have_times_too(target: Target, version: int) -> None:
    """Given a commit after the last record, a time after that record, and the largest timestamp (v7+), answer the marker's offset."""
    topic = target.new_topic()
    transaction = Transaction(target)
    transaction.produce(topic)
    target.produce(topic, timestamp=now_ms() - 60_000)
    before = now_ms() + 1
    transaction.produce(topic)
    while now_ms() <= before:
        pass
    after = now_ms()
    transaction.end(topic, committed=True)

    expect(target.list_offsets(topic, timestamp=after, version=version), error_code=ErrorCode.NONE, offset=3)
    if version >= 7:
        expect(target.list_offsets(topic, timestamp=MAX_TIMESTAMP, version=version), error_code=ErrorCode.NONE, offset=3)


@check("L-21", api="ListOffsets", versions="1-11")
def offsets_of_what_is_not_there(target: Target, version: int) -> None:
    """Given an unknown topic, an invalid name, or a partition 9 or -1, UNKNOWN_TOPIC_OR_PARTITION without an offset."""
    topic = target.new_topic()

    answers = listed(
        target, [(target.new_name(), 0, LATEST), ("a b", 0, LATEST), (topic.name, 9, LATEST), (topic.name, -1, LATEST)], version
    )

    expect_equal("the number of answers", len(answers), 4)
    for answer in answers:
        expect(answer, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, offset=-1, timestamp=-1, leader_epoch=-1)


@check("F-29c", api="ListOffsets", versions="1-11")
def offsets_are_listed_for_any_replica(target: Target, version: int) -> None:
    """Given replica ids -2, 5 and 99, and timeouts of 0 and -5, ListOffsets is served as to a consumer."""
    topic = target.new_topic()
    target.produce(topic)

    for replica_id, timeout_ms in ((-2, 30_000), (5, 30_000), (99, 0), (-1, -5)):
        answer = listed(target, [(topic.name, 0, LATEST)], version, replica_id=replica_id, timeout_ms=timeout_ms)[0]
        expect(answer, error_code=ErrorCode.NONE, offset=1)
