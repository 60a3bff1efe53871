"""P: how a Produce is answered: partition by partition, which fault is found first, and what stands beside the error."""

import lz4.frame

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.appends import expect_refused, log_start, stored
from pykbroker.compat.steps.batches import HOUR_MS, batch_of, batch_of_size, batch_with_payload, now_ms, patched
from pykbroker.compat.steps.log_requests import (
    UNKNOWN_ID,
    Wanted,
    answered,
    delete_records_request,
    fetch_one,
    fetch_request,
    produce_all,
    produce_request_of,
)
from pykbroker.compat.steps.topics import offsets_topic
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.target import LATEST, Target, Topic, eventually, produce_request
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ProduceRequest
from pykbroker.protocol.records import NewRecord, build_batch

ADMIN_CLIENT_ID = "__admin_client"


@check("P-18", api="Produce", versions="3-13")
def acks_are_minus_one_nought_or_one(target: Target, version: int) -> None:
    """Given acks 2, -2 or 32767, every partition that is there answers INVALID_REQUIRED_ACKS, nothing is appended, and one that is not
    there is unknown.
    """
    topic = target.new_topic(partitions=2)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    for acks in (2, -2, 32_767):
        answers = produce_all(target, topic, {0: batch_of(), 1: batch_of(), 9: batch_of()}, version, acks=acks)

        for index, error in ((0, ErrorCode.INVALID_REQUIRED_ACKS), (1, ErrorCode.INVALID_REQUIRED_ACKS), (9, unknown)):
            expect(answers[index], error_code=error, base_offset=-1, log_start_offset=-1, error_message=None)
    for partition in (0, 1):
        expect(target.list_offsets(topic, partition=partition, timestamp=LATEST), error_code=ErrorCode.NONE, offset=0)


@check("P-19", api="Produce", versions="3-13")
def one_replica_is_enough_for_itself(target: Target, version: int) -> None:
    """Given one replica and min.insync.replicas=2, acks of all are answered 0: more than the replicas there are is not asked for."""
    topic = target.new_topic(min_insync_replicas="2")

    expect(target.produce_batch(topic, batch_of(), version=version), error_code=ErrorCode.NONE, base_offset=0)


@check("P-21a", api=("Produce", "FindCoordinator"), versions="3-13")
def internal_topics_are_not_written_to(target: Target, version: int) -> None:
    """Given __consumer_offsets, INVALID_TOPIC_EXCEPTION without offsets; a partition that it does not have is unknown first."""
    topic = offsets_topic(target)

    answers = produce_all(target, topic, {0: batch_of(), 99_999: batch_of()}, version)

    expect(answers[0], error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, base_offset=-1, log_start_offset=-1)
    expect(answers[99_999], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, base_offset=-1)


@check("P-21b", api=("Produce", "FindCoordinator"), versions="3-13")
def the_admin_client_may_write_to_internal_topics(target: Target, version: int) -> None:
    """Given the client id `__admin_client`, a batch for __consumer_offsets gets as far as its checksum, which here is wrong."""
    topic = offsets_topic(target)
    request = produce_request(topic, patched(batch_of(), crc=0xBAD))
    connection = target.connect()

    connection.send(request, version, client_id=ADMIN_CLIENT_ID)
    admin = connection.receive(request, version)
    connection.send(request, version, client_id="__admin_client2")
    other = connection.receive(request, version)

    expect(admin.responses[0].partition_responses[0], error_code=ErrorCode.CORRUPT_MESSAGE)
    expect(other.responses[0].partition_responses[0], error_code=ErrorCode.INVALID_TOPIC_EXCEPTION)


@check("P-22a", api="Produce", versions="3-12")
def unknown_names_are_not_created(target: Target, version: int) -> None:
    """Given an unknown, an invalid or an empty name, or a partition that is not there, UNKNOWN_TOPIC_OR_PARTITION, and no topic is made of
    it.
    """
    topic = target.new_topic()
    nobody = Topic(target.new_name("nobody"), bytes(16), 1)
    wanted = [(nobody, 0), (Topic("a b", bytes(16), 1), 0), (Topic("", bytes(16), 1), 0), (topic, 3), (topic, -1)]

    answer = target.ask(produce_request_of([(one, partition, batch_of()) for one, partition in wanted]), version)

    answers = [one for response in answer.responses for one in response.partition_responses]
    expect_equal("the number of answers", len(answers), len(wanted))
    for one in answers:
        expect(one, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, base_offset=-1, log_start_offset=-1, error_message=None)
    expect(target.metadata(nobody.name).topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


@check("P-22b", api="Produce", versions="13-13")
def unknown_ids_are_unknown_ids(target: Target, version: int) -> None:
    """Given a topic id that nobody has, or none, UNKNOWN_TOPIC_ID; a partition that a known one does not have is
    UNKNOWN_TOPIC_OR_PARTITION. KIP-516.
    """
    topic = target.new_topic()

    for topic_id in (UNKNOWN_ID, bytes(16)):
        nobody = Topic("nobody", topic_id, 1)
        expect_equal("the error", target.produce_batch(nobody, batch_of(), version=version).error_code, ErrorCode.UNKNOWN_TOPIC_ID)
    missing = target.produce_batch(topic, batch_of(), partition=3, version=version)
    expect(missing, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, base_offset=-1)


@check("P-23", api="Produce", versions="3-13")
def one_bad_partition_of_ten(target: Target, version: int) -> None:
    """Given ten partitions of which one is corrupt, the other nine are appended and answered 0, in whatever order."""
    topic = target.new_topic(partitions=10)
    records: dict[int, bytes | None] = {index: batch_of(b"%d" % index) for index in range(10)}
    records[6] = patched(batch_of(), crc=0xBAD)

    answers = produce_all(target, topic, records, version)

    expect_equal("the partitions answered", sorted(answers), list(range(10)))
    for index, answer in answers.items():
        expect(answer, error_code=ErrorCode.CORRUPT_MESSAGE if index == 6 else ErrorCode.NONE, base_offset=-1 if index == 6 else 0)
    expect_equal("the values in partition 9", [one.value for one in target.records(topic, 9)], [b"9"])


@check("P-24a", api=("Produce", "DeleteRecords"), versions="3-13")
def offsets_of_an_append(target: Target, version: int) -> None:
    """Given two batches, each answer has the offset of its first record, and from v5 on the log start offset, which follows DeleteRecords
    at once.
    """
    topic = target.new_topic()

    first = target.produce_batch(topic, batch_of(b"a", b"b", b"c"), version=version)
    target.ask_newest(delete_records_request(topic, 2), 2)
    second = target.produce_batch(topic, batch_of(b"d"), version=version)

    expect(first, error_code=ErrorCode.NONE, base_offset=0, log_start_offset=log_start(version), error_message=None, record_errors=[])
    expect(second, error_code=ErrorCode.NONE, base_offset=3, log_start_offset=2 if version >= 5 else -1)


@check("P-24b", api="Produce", versions="3-13")
def acks_of_the_leader_and_odd_timeouts(target: Target, version: int) -> None:
    """Given one replica, acks=1 and timeouts of 0 and -1 are answered 0."""
    topic = target.new_topic()

    for offset, (acks, timeout_ms) in enumerate(((1, 10_000), (-1, 0), (-1, -1), (1, 0))):
        answer = target.produce_batch(topic, batch_of(), version=version, acks=acks, timeout_ms=timeout_ms)
        expect(answer, error_code=ErrorCode.NONE, base_offset=offset)


@check("P-24c", api="Produce", versions="3-13")
def no_acks_no_answer(target: Target, version: int) -> None:
    """Given acks=0, the batch is appended and nothing is answered: what comes next answers the next request."""
    topic = target.new_topic()
    connection = target.connect()

    connection.send(produce_request(topic, batch_of(b"quiet"), acks=0), version)
    answer = connection.ask(produce_request(topic, batch_of(b"loud")), version)

    expect(answer.responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=1)
    expect_equal("the values", [one.value for one in target.records(topic)], [b"quiet", b"loud"])


@check("P-26a", api="Produce", versions="3-13")
def what_is_wrong_first_about_the_request(target: Target, version: int) -> None:
    """Given several faults, an unknown partition is found before the shape of the records, that before acks, and acks
    before their offsets.
    """
    topic = target.new_topic(partitions=2)

    unknown = produce_all(target, topic, {7: b""}, version, acks=2)[7]
    empty = produce_all(target, topic, {0: b""}, version, acks=2)[0]
    offset = produce_all(target, topic, {0: batch_of(base_offset=5)}, version, acks=2)[0]

    expect(unknown, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    expect(empty, error_code=ErrorCode.INVALID_RECORD)
    expect(offset, error_code=ErrorCode.INVALID_REQUIRED_ACKS)


@check("P-26b", api="Produce", versions="3-13")
def what_is_wrong_first_about_a_batch(target: Target, version: int) -> None:
    """Given several faults, the base offset is found before the size, that before the checksum, and that before what is wrong with records.

    In one record, a missing key is found before a timestamp; in one batch, any record's timestamp decides.
    """
    topic = target.new_topic(max_message_bytes="1000", cleanup_policy="compact")
    ahead = now_ms() + 9 * HOUR_MS

    offset_and_size = patched(batch_of_size(2000), base_offset=5)
    size_and_checksum = patched(batch_of_size(2000), crc=0xBAD)
    checksum_and_time = patched(batch_of(timestamps=[ahead]), crc=0xBAD)
    key_and_time = batch_of(b"a", b"b", key=None, timestamps=[ahead, ahead])
    key_then_time = build_batch([NewRecord(b"a", None, timestamp=now_ms()), NewRecord(b"b", b"key", timestamp=ahead)])

    expect_refused(target, topic, offset_and_size, version, ErrorCode.INVALID_RECORD)
    expect_refused(target, topic, size_and_checksum, version, ErrorCode.MESSAGE_TOO_LARGE)
    expect_refused(target, topic, checksum_and_time, version, ErrorCode.CORRUPT_MESSAGE)
    expect_refused(target, topic, key_and_time, version, ErrorCode.INVALID_RECORD)
    expect_refused(target, topic, key_then_time, version, ErrorCode.INVALID_TIMESTAMP)


@check("P-26c", api=("Produce", "InitProducerId"), versions="3-13")
def the_segment_before_the_sequence(target: Target, version: int) -> None:
    """Given a key that is missing in a batch too large for a segment, the key is found first; given a wrong sequence in such a batch, the
    size.
    """
    topic = target.new_topic(segment_bytes="1048576", max_message_bytes="3000000", cleanup_policy="compact")
    large = bytes(1_048_600)
    target.produce_batch(topic, batch_of(producer_id=4_711, producer_epoch=0, base_sequence=0))

    expect_refused(target, topic, batch_of(large, key=None), version, ErrorCode.INVALID_RECORD)
    gap = batch_of(large, producer_id=4_711, producer_epoch=0, base_sequence=9)
    expect_refused(target, topic, gap, version, ErrorCode.RECORD_LIST_TOO_LARGE, log_start_offset=-1)


@check("P-26d", api="Produce", versions="3-13")
def the_epoch_before_the_sequence(target: Target, version: int) -> None:
    """Given an older epoch and a sequence with a gap, INVALID_PRODUCER_EPOCH with the real log start."""
    topic = target.new_topic()
    target.produce_batch(topic, batch_of(producer_id=4_711, producer_epoch=3, base_sequence=0))

    old = batch_of(producer_id=4_711, producer_epoch=2, base_sequence=9)

    expect_refused(target, topic, old, version, ErrorCode.INVALID_PRODUCER_EPOCH, log_start_offset=log_start(version))


@check("P-27", api=("Produce", "DeleteRecords"), versions="5-13")
def which_errors_carry_the_log_start(target: Target, version: int) -> None:
    """Given a log that starts at 2, errors found before the log answer log start -1, those found at the append answer 2; the base offset is
    -1 in all.
    """
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    target.ask_newest(delete_records_request(topic, 2), 2)

    for before in (batch_of() * 2, b"", batch_of_size(1_048_589)):
        answer = target.produce_batch(topic, before, version=version)
        expect_that(answer.error_code, "what is wrong is refused")
        expect(answer, base_offset=-1, log_start_offset=-1)
    for at_append in (
        patched(batch_of(), record_count=3),
        batch_of(base_offset=5),
        batch_of(timestamps=[now_ms() + 9 * HOUR_MS]),
        batch_with_payload(b"\xff" * 40, 1),
        batch_of(is_control=True),
    ):
        answer = target.produce_batch(topic, at_append, version=version)
        expect_that(answer.error_code, "what is wrong is refused")
        expect(answer, base_offset=-1, log_start_offset=2)


@check("P-28", api="Produce", versions="3-13")
def a_partition_twice_counts_once(target: Target, version: int) -> None:
    """Given the same partition twice, in one topic entry or in two, the last data alone is appended, and there is one answer."""
    topic = target.new_topic(partitions=2)
    in_one = produce_request_of([(topic, 0, batch_of(b"first")), (topic, 0, batch_of(b"last"))])
    parts = [ProduceRequest.PartitionProduceData(index=0, records=batch_of(value)) for value in (b"one", b"two")]
    in_two = ProduceRequest(
        acks=-1,
        timeout_ms=10_000,
        topic_data=[ProduceRequest.TopicProduceData(name=topic.name, topic_id=topic.topic_id, partition_data=[part]) for part in parts],
    )

    for offset, request in enumerate((in_one, in_two)):
        answer = target.ask(request, version)
        answers = [one for response in answer.responses for one in response.partition_responses]
        expect_equal("the number of answers", len(answers), 1)
        expect(answers[0], error_code=ErrorCode.NONE, base_offset=offset)

    expect_equal("the values", [one.value for one in target.records(topic)], [b"last", b"two"])


@check("P-30b", api="Produce")
def linked_lz4_blocks_cannot_be_read(target: Target) -> None:
    """Given an lz4 frame whose blocks lean on those before, UNKNOWN_SERVER_ERROR; one with blocks of their own is appended."""
    topic = target.new_topic()
    plain = batch_of(bytes(200_000))
    frames = [lz4.frame.compress(plain[61:], block_linked=linked, block_size=lz4.frame.BLOCKSIZE_MAX64KB) for linked in (True, False)]
    linked, unlinked = (patched(batch_with_payload(frame, 1), attributes=int(CompressionType.LZ4)) for frame in frames)

    expect_refused(target, topic, linked, None, ErrorCode.UNKNOWN_SERVER_ERROR)
    expect(target.produce_batch(topic, unlinked), error_code=ErrorCode.NONE, base_offset=0)


@check("P-32", api="Produce", versions="3-13")
def nothing_to_produce(target: Target, version: int) -> None:
    """Given no topics, or a topic without partitions, the answer is empty; with acks=0 there is none, and the connection stays."""
    topic = target.new_topic()
    connection = target.connect()
    no_partitions = ProduceRequest.TopicProduceData(name=topic.name, topic_id=topic.topic_id, partition_data=[])
    nothing = [ProduceRequest(acks=acks, timeout_ms=1000, topic_data=data) for acks in (0, -1) for data in ([], [no_partitions])]

    for request in nothing[:2]:
        connection.send(request, version)
    answers = [connection.ask(request, version) for request in nothing[2:]]

    for answer in answers:
        expect(answer, responses=[])
    appended = connection.ask(produce_request(topic, batch_of()), version)
    expect(appended.responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=0)


@check("P-33", api=("Fetch", "Produce"), versions="4-18")
def zstd_is_fetched_by_everybody(target: Target, version: int) -> None:
    """Given a batch stored in zstd, by the producer or by the topic, every version of Fetch answers it as it is."""
    by_producer = target.new_topic()
    by_topic = target.new_topic(compression_type="zstd")
    target.produce_batch(by_producer, batch_of(b"a", compression=CompressionType.ZSTD))
    target.produce_batch(by_topic, batch_of(b"a"))

    for topic in (by_producer, by_topic):
        answer = fetch_one(target, Wanted(topic), version)
        expect(answer, error_code=ErrorCode.NONE, records=bytes(stored(target, topic).buffer))
        expect_equal("the compression", stored(target, topic).compression, CompressionType.ZSTD)


@check("P-34", api="Produce", versions="3-13")
def idempotence_does_not_ask_for_acks(target: Target, version: int) -> None:
    """Given a batch of an idempotent producer with acks=1, and then with acks=0, both are appended."""
    topic = target.new_topic()
    connection = target.connect()

    def batch(sequence: int) -> bytes:
        return batch_of(producer_id=4_711, producer_epoch=0, base_sequence=sequence)

    first = target.produce_batch(topic, batch(0), version=version, acks=1)
    connection.send(produce_request(topic, batch(1), acks=0), version)
    last = connection.ask(produce_request(topic, batch(2)), version)

    expect(first, error_code=ErrorCode.NONE, base_offset=0)
    expect(last.responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=2)


@check("P-34b", api=("Produce", *TRANSACTIONS), versions="3-13")
def acks_of_transactional_batches_are_the_clients_business(target: Target, version: int) -> None:
    """Given a partition of a transaction and a batch with acks=1, and one with acks=0, both are appended."""
    topic = target.new_topic()
    transaction = Transaction(target)
    transaction.add(topic)

    for sequence, acks in enumerate((1, 0)):
        records = batch_of(
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
            base_sequence=sequence,
            is_transactional=True,
        )
        request = produce_request_of([(topic, 0, records)], acks=acks, transactional_id=transaction.transactional_id)
        if acks:
            answer = target.ask(request, version).responses[0].partition_responses[0]
            expect(answer, error_code=ErrorCode.NONE, base_offset=sequence)
        else:
            target.connect().send(request, version)

    eventually(lambda: target.list_offsets(topic).offset, lambda end: end == 2, "both batches are there")
    transaction.end(topic, committed=False)


@check("P-30c", api="Fetch", versions="4-18")
def fetching_less_than_nothing(target: Target, version: int) -> None:
    """Given max bytes below 0, of the request or of the partition, UNKNOWN_SERVER_ERROR for the partition, and no records."""
    topic = target.new_topic()
    target.produce(topic)

    for wanted, max_bytes in ((Wanted(topic, max_bytes=-1), 1 << 20), (Wanted(topic), -1)):
        answer = target.ask(fetch_request([wanted], max_bytes=max_bytes), version)
        expect(answered(answer)[0].data, error_code=ErrorCode.UNKNOWN_SERVER_ERROR, high_watermark=-1, records=b"")


@check("P-30d", api="Fetch", versions="4-18")
def fetching_at_an_unknown_isolation_level(target: Target, version: int) -> None:
    """Given an isolation level of 2 or -1, UNKNOWN_SERVER_ERROR: for each partition below v13 and, from v7 on, for the whole."""
    topic = target.new_topic()
    target.produce(topic)

    for isolation_level in (2, -1):
        answer = target.ask(fetch_request([Wanted(topic)], isolation_level=isolation_level), version)

        expect(answer, error_code=ErrorCode.UNKNOWN_SERVER_ERROR if version >= 7 else ErrorCode.NONE)
        errors = [one.data.error_code for one in answered(answer)]
        expect_equal("the errors of partitions", errors, [ErrorCode.UNKNOWN_SERVER_ERROR] if version < 13 else [])
