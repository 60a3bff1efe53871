"""P: what a broker makes of the records it is sent: which it refuses, which it corrects, which it keeps byte by byte."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, NOT_NULL, expect, expect_equal, expect_that, one_of
from pykbroker.compat.steps.appends import expect_refused, log_start, stored
from pykbroker.compat.steps.batches import (
    HOUR_MS,
    after_header,
    batch_of,
    batch_of_size,
    batch_with_payload,
    header_bytes,
    legacy_message,
    now_ms,
    patched,
    record_bytes,
    record_fields,
)
from pykbroker.compat.steps.log_requests import produce_all
from pykbroker.compat.target import LATEST, Target, produce_request
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response
from pykbroker.protocol.messages import ProduceRequest, ProduceResponse
from pykbroker.protocol.records import NewRecord, TimestampType, build_batch

CODECS = (CompressionType.NONE, CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4, CompressionType.ZSTD)
LEAST_SEGMENT_BYTES = 1_048_576
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588


@check("P-01a", api="Produce", versions="3-13")
def no_records_are_refused_alone(target: Target, version: int) -> None:
    """Given records of no length for one partition of two, it is INVALID_RECORD without offsets, and the other is appended."""
    topic = target.new_topic(partitions=2)

    answers = produce_all(target, topic, {0: b"", 1: batch_of(b"a")}, version)

    expect(answers[0], error_code=ErrorCode.INVALID_RECORD, base_offset=-1, log_start_offset=-1, error_message=None)
    expect(answers[1], error_code=ErrorCode.NONE, base_offset=0)
    expect_equal("the records of the other", [one.value for one in target.records(topic, 1)], [b"a"])


@check("P-01b", api="Produce", versions="3-13")
def null_records_harm_nobody(target: Target, version: int) -> None:
    """Given null records, nothing is appended and no success told: the partition is INVALID_RECORD, or the connection is closed or (Kafka 4.3)
    stays silent; other connections are served.
    """
    topic = target.new_topic()
    connection = target.connect()
    request = produce_request(topic, None)
    connection.send(request, version)

    frame = None if connection.is_silent() else connection.receive_frame()
    if frame is not None:
        _, answer = read_response(ProduceResponse, version, frame)
        expect(answer.responses[0].partition_responses[0], error_code=ErrorCode.INVALID_RECORD, base_offset=-1)

    expect(target.produce_batch(topic, batch_of(b"a"), version=version), error_code=ErrorCode.NONE, base_offset=0)


@check("P-02", api="Produce", versions="3-13")
def two_batches_at_once_are_refused(target: Target, version: int) -> None:
    """Given two batches in one partition's records, INVALID_RECORD, and neither is appended."""
    topic = target.new_topic()

    expect_refused(
        target, topic, batch_of(b"a") + batch_of(b"b"), version, ErrorCode.INVALID_RECORD, log_start_offset=-1, error_message=None
    )


@check("P-03a", api="Produce", versions="3-13")
def message_sets_of_old_are_refused(target: Target, version: int) -> None:
    """Given a message set of magic 0 or 1, INVALID_RECORD: these versions carry batches only."""
    topic = target.new_topic()

    expect_refused(target, topic, legacy_message(0), version, ErrorCode.INVALID_RECORD, log_start_offset=-1)
    expect_refused(target, topic, legacy_message(1), version, ErrorCode.INVALID_RECORD, log_start_offset=-1)
    expect_refused(target, topic, legacy_message(1) + legacy_message(1), version, ErrorCode.INVALID_RECORD)


@check("P-03b", api="Produce", versions="3-13")
def a_magic_nobody_knows_is_corrupt(target: Target, version: int) -> None:
    """Given magic 3 or -1, CORRUPT_MESSAGE, with a message from v8 on."""
    topic = target.new_topic()
    message = NOT_NULL if version >= 8 else None

    expect_refused(target, topic, patched(batch_of(), magic=3), version, ErrorCode.CORRUPT_MESSAGE, error_message=message)
    expect_refused(target, topic, patched(batch_of(), magic=-1), version, ErrorCode.CORRUPT_MESSAGE, error_message=message)


@check("P-04", api="Produce", versions="3-13")
def zstd_needs_version_seven(target: Target, version: int) -> None:
    """Given zstd below v7, UNSUPPORTED_COMPRESSION_TYPE; from v7 on it is appended. KIP-110."""
    topic = target.new_topic()
    records = batch_of(b"a", compression=CompressionType.ZSTD)

    if version < 7:
        expect_refused(target, topic, records, version, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, log_start_offset=-1)
    else:
        expect(target.produce_batch(topic, records, version=version), error_code=ErrorCode.NONE, base_offset=0)
        expect_equal("its compression", stored(target, topic).compression, CompressionType.ZSTD)


@check("P-05", api="Produce", versions="3-13")
def a_wrong_checksum_is_corrupt(target: Target, version: int) -> None:
    """Given a checksum that is not that of the batch, CORRUPT_MESSAGE, without offsets or a message."""
    topic = target.new_topic()
    target.produce(topic)

    expect_refused(
        target, topic, patched(batch_of(), crc=0xBAD), version, ErrorCode.CORRUPT_MESSAGE, log_start_offset=-1, error_message=None
    )


@check("P-06a", api="Produce", versions="3-13")
def a_batch_may_have_max_message_bytes(target: Target, version: int) -> None:
    """Given the default max.message.bytes, a batch of 1048588 bytes is appended, and one of a byte more is MESSAGE_TOO_LARGE."""
    topic = target.new_topic()

    fits = target.produce_batch(topic, batch_of_size(DEFAULT_MAX_MESSAGE_BYTES), version=version)

    expect(fits, error_code=ErrorCode.NONE, base_offset=0)
    expect_refused(
        target,
        topic,
        batch_of_size(DEFAULT_MAX_MESSAGE_BYTES + 1),
        version,
        ErrorCode.MESSAGE_TOO_LARGE,
        log_start_offset=-1,
        error_message=None,
    )


@check("P-06b", api="Produce")
def max_message_bytes_counts_what_is_sent(target: Target) -> None:
    """Given max.message.bytes=1000, 5000 bytes that gzip makes small are appended; a large batch is refused before its checksum is looked
    at.
    """
    topic = target.new_topic(max_message_bytes="1000")

    small = target.produce_batch(topic, batch_of(bytes(5000), compression=CompressionType.GZIP))

    expect(small, error_code=ErrorCode.NONE, base_offset=0)
    expect_refused(target, topic, patched(batch_of_size(1001), crc=1), None, ErrorCode.MESSAGE_TOO_LARGE)


@check("P-07", api="Produce", versions="3-13")
def a_batch_fits_into_a_segment(target: Target, version: int) -> None:
    """Given segment.bytes=1048576 and a larger max.message.bytes, a batch of 1048576 bytes is appended and one of a byte more is
    RECORD_LIST_TOO_LARGE.
    """
    topic = target.new_topic(segment_bytes=str(LEAST_SEGMENT_BYTES), max_message_bytes="3000000")

    fits = target.produce_batch(topic, batch_of_size(LEAST_SEGMENT_BYTES), version=version)

    expect(fits, error_code=ErrorCode.NONE, base_offset=0)
    too_large = batch_of_size(LEAST_SEGMENT_BYTES + 1)
    expect_refused(target, topic, too_large, version, ErrorCode.RECORD_LIST_TOO_LARGE, log_start_offset=-1)


@check("P-08a", api="Produce", versions="3-13")
def the_count_fits_the_last_offset(target: Target, version: int) -> None:
    """Given a header whose count is not its last offset delta + 1, or not above 0, INVALID_RECORD with the real log
    start and no message.
    """
    topic = target.new_topic()
    fields: dict[str, object] = {"log_start_offset": log_start(version), "error_message": None, "record_errors": []}

    for lie in ({"record_count": 3}, {"record_count": 1}, {"last_offset_delta": 2}, {"record_count": 0, "last_offset_delta": -1}):
        expect_refused(target, topic, patched(batch_of(b"a", b"b"), **lie), version, ErrorCode.INVALID_RECORD, **fields)


@check("P-08b", api="Produce", versions="3-13")
def the_count_is_that_of_the_records(target: Target, version: int) -> None:
    """Given fewer or more records than a header that agrees with itself says, plain or gzip, INVALID_RECORD."""
    topic = target.new_topic()

    for compression in (CompressionType.NONE, CompressionType.GZIP):
        two = batch_of(b"a", b"b", compression=compression)
        for count in (1, 3):
            lie = patched(two, record_count=count, last_offset_delta=count - 1)
            expect_refused(target, topic, lie, version, ErrorCode.INVALID_RECORD, log_start_offset=log_start(version))


@check("P-09", api="Produce", versions="3-13")
def control_batches_are_the_brokers_own(target: Target, version: int) -> None:
    """Given a control batch from a client, with a producer id or without, INVALID_RECORD."""
    topic = target.new_topic()
    key = b"\0\0\0\1"

    plain = batch_of(b"\0\0\0\0\0\0", key=key, is_control=True)
    with_id = batch_of(b"\0\0\0\0\0\0", key=key, is_control=True, producer_id=4_711, producer_epoch=0, base_sequence=0)

    expect_refused(target, topic, plain, version, ErrorCode.INVALID_RECORD, log_start_offset=log_start(version))
    expect_refused(target, topic, with_id, version, ErrorCode.INVALID_RECORD)


@check("P-10a", api="Produce", versions="3-13")
def a_producer_id_wants_a_sequence(target: Target, version: int) -> None:
    """Given a producer id and a sequence below 0, INVALID_RECORD."""
    topic = target.new_topic()

    for sequence in (-1, -5):
        records = batch_of(producer_id=4_711, producer_epoch=0, base_sequence=sequence)
        expect_refused(target, topic, records, version, ErrorCode.INVALID_RECORD, log_start_offset=log_start(version))


@check("P-10b", api="Produce")
def other_odd_producer_fields_pass(target: Target) -> None:
    """Given an id with epoch -1 and sequence 0, the id -2, or epoch and sequence without an id, the batch is appended."""
    topic = target.new_topic()

    answers = [
        target.produce_batch(topic, batch_of(producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence))
        for producer_id, epoch, sequence in ((4_711, -1, 0), (-2, 0, 0), (-1, 3, 5))
    ]

    for offset, answer in enumerate(answers):
        expect(answer, error_code=ErrorCode.NONE, base_offset=offset)


@check("P-11a", api="Produce", versions="3-13")
def compacted_topics_want_keys(target: Target, version: int) -> None:
    """Given a compacted topic and three records of which two have no key, INVALID_RECORD for the batch; v8+ names the two, and says why.
    KIP-467.
    """
    topic = target.new_topic(cleanup_policy="compact")

    for compression in (CompressionType.NONE, CompressionType.GZIP):
        records = [NewRecord(b"v", key, timestamp=now_ms()) for key in (b"k", None, None)]
        batch = patched(build_batch(records), attributes=0)
        if compression is not CompressionType.NONE:
            batch = batch_with_payload(batch[61:], 3, compression)
        answer = target.produce_batch(topic, batch, version=version)

        expect(answer, error_code=ErrorCode.INVALID_RECORD, base_offset=-1, log_start_offset=log_start(version))
        if version >= 8:
            expect(answer, error_message=NOT_EMPTY)
            expect_equal("the bad records", [one.batch_index for one in answer.record_errors], [1, 2])
            expect_that(all(one.batch_index_error_message for one in answer.record_errors), "every bad record has a message")
    expect(target.list_offsets(topic, timestamp=LATEST), offset=0)


@check("P-11b", api="Produce")
def every_bad_record_is_named(target: Target) -> None:
    """Given 100 records without keys for a compacted topic, 100 record errors."""
    topic = target.new_topic(cleanup_policy="compact")

    version = target.newest(ProduceRequest, 12, at_least=8)
    answer = target.produce_batch(topic, batch_of(*[b"v"] * 100, key=None), version=version)

    expect(answer, error_code=ErrorCode.INVALID_RECORD)
    expect_equal("the bad records", [one.batch_index for one in answer.record_errors], list(range(100)))


@check("P-11c", api="Produce")
def an_empty_key_is_a_key(target: Target) -> None:
    """Given a compacted topic, an empty key and a null value are appended."""
    topic = target.new_topic(cleanup_policy="compact,delete")

    expect(target.produce_batch(topic, batch_of(None, b"v", key=b"")), error_code=ErrorCode.NONE, base_offset=0)
    expect_refused(target, topic, batch_of(b"v", key=None), None, ErrorCode.INVALID_RECORD)


@check("P-12a", api="Produce", versions="3-13")
def the_far_future_is_refused(target: Target, version: int) -> None:
    """Given three records of which two are more than an hour ahead, INVALID_TIMESTAMP for the batch; v8+ names the two."""
    topic = target.new_topic()
    now = now_ms()
    ahead = now + 2 * HOUR_MS

    answer = target.produce_batch(topic, batch_of(b"a", b"b", b"c", timestamps=[ahead, now, ahead]), version=version)

    expect(answer, error_code=ErrorCode.INVALID_TIMESTAMP, base_offset=-1, log_start_offset=log_start(version))
    if version >= 8:
        expect(answer, error_message=NOT_EMPTY)
        expect_equal("the bad records", [one.batch_index for one in answer.record_errors], [0, 2])
    expect(target.list_offsets(topic, timestamp=LATEST), offset=0)


@check("P-12b", api="Produce")
def the_past_and_no_time_are_fine(target: Target) -> None:
    """Given timestamps 0, -1, -2, and one within the hour ahead, the batches are appended."""
    topic = target.new_topic(retention_ms="-1")

    for offset, timestamp in enumerate((0, -1, -2, now_ms() + HOUR_MS // 2)):
        expect(target.produce_batch(topic, batch_of(timestamps=[timestamp])), error_code=ErrorCode.NONE, base_offset=offset)


@check("P-12c", api="Produce")
def the_past_may_be_limited(target: Target) -> None:
    """Given message.timestamp.before.max.ms=1000, a minute ago is INVALID_TIMESTAMP, and no time at all (-1) is appended."""
    topic = target.new_topic(message_timestamp_before_max_ms="1000")

    expect_refused(target, topic, batch_of(timestamps=[now_ms() - 60_000]), None, ErrorCode.INVALID_TIMESTAMP)
    expect(target.produce_batch(topic, batch_of(timestamps=[-1])), error_code=ErrorCode.NONE)


@check("P-12d", api="Produce")
def the_records_own_timestamps_count(target: Target) -> None:
    """Given a header whose max timestamp lies ahead while the records do not, the batch is appended; on a LogAppendTime topic nothing is
    refused.
    """
    topic = target.new_topic()
    by_append = target.new_topic(message_timestamp_type="LogAppendTime")

    lying = target.produce_batch(topic, patched(batch_of(), max_timestamp=now_ms() + 9 * HOUR_MS))
    ahead = target.produce_batch(by_append, batch_of(timestamps=[now_ms() + 9 * HOUR_MS]))

    expect(lying, error_code=ErrorCode.NONE, base_offset=0)
    expect(ahead, error_code=ErrorCode.NONE, base_offset=0)
    expect_refused(target, topic, batch_of(timestamps=[now_ms() + 9 * HOUR_MS]), None, ErrorCode.INVALID_TIMESTAMP)


@check("P-13a", api="Produce", versions="3-13")
def producers_do_not_claim_append_time(target: Target, version: int) -> None:
    """Given a LogAppendTime topic and a batch with that bit set already, INVALID_TIMESTAMP; v8+ names its first record."""
    topic = target.new_topic(message_timestamp_type="LogAppendTime")

    answer = target.produce_batch(topic, batch_of(b"a", timestamp_type=TimestampType.LOG_APPEND_TIME), version=version)

    expect(answer, error_code=ErrorCode.INVALID_TIMESTAMP, base_offset=-1)
    if version >= 8:
        expect(answer, error_message=NOT_EMPTY)
        expect_equal("the bad records", [one.batch_index for one in answer.record_errors], [0])
    expect(target.list_offsets(topic, timestamp=LATEST), offset=0)


@check("P-13b", api="Produce", versions="3-13")
def the_append_time_bit_is_cleared(target: Target, version: int) -> None:
    """Given a CreateTime topic and a batch with the LogAppendTime bit, it is appended, with the bit cleared and a checksum that fits."""
    topic = target.new_topic()

    answer = target.produce_batch(topic, batch_of(b"a", timestamp_type=TimestampType.LOG_APPEND_TIME), version=version)

    expect(answer, error_code=ErrorCode.NONE, base_offset=0)
    batch = stored(target, topic)
    expect_equal("the stored timestamp type", batch.timestamp_type, TimestampType.CREATE_TIME)
    expect_that(batch.is_sound(), "the checksum of the stored batch fits it")


@check("P-14", api="Produce", versions="3-13")
def append_time_is_the_brokers(target: Target, version: int) -> None:
    """Given a LogAppendTime topic, the batch is stored with the bit and the broker's time, the rest as sent; the answer carries that time.
    CreateTime: -1.
    """
    topic = target.new_topic(message_timestamp_type="LogAppendTime")
    sent_at = now_ms()
    minute_ago = sent_at - 60_000
    sent = batch_of(b"a", b"b", timestamps=[minute_ago, minute_ago + 5], compression=CompressionType.GZIP)

    answer = target.produce_batch(topic, sent, version=version)
    by_producer = target.produce_batch(target.new_topic(), sent, version=version)

    batch = stored(target, topic)
    expect(answer, error_code=ErrorCode.NONE, base_offset=0, log_append_time_ms=batch.max_timestamp)
    expect_that(
        sent_at - 2000 <= batch.max_timestamp <= now_ms() + 2000, f"the max timestamp {batch.max_timestamp} is the time of the append"
    )
    expect_equal("the stored timestamp type", batch.timestamp_type, TimestampType.LOG_APPEND_TIME)
    expect_that(batch.is_sound(), "the checksum of the stored batch fits it")
    expect(batch, base_timestamp=minute_ago)
    expect_equal("the records as stored", bytes(batch.buffer[61:]), sent[61:])
    expect(target.list_offsets(topic, timestamp=sent_at - 2000), offset=0, timestamp=batch.max_timestamp)
    expect(by_producer, error_code=ErrorCode.NONE, log_append_time_ms=-1)


@check("P-15a", api="Produce", versions="3-13")
def batches_are_kept_byte_by_byte(target: Target, version: int) -> None:
    """Given sound batches in every codec, only their base offset and leader epoch are the broker's; every other byte is as sent."""
    topic = target.new_topic()
    codecs = [codec for codec in CODECS if version >= 7 or codec is not CompressionType.ZSTD]

    for index, codec in enumerate(codecs):
        sent = batch_of(b"a" * 100, b"b", compression=codec)
        answer = target.produce_batch(topic, sent, version=version)

        expect(answer, error_code=ErrorCode.NONE, base_offset=2 * index)
        batch = stored(target, topic, 2 * index)
        expect(batch, base_offset=2 * index, partition_leader_epoch=0)
        expect_equal(f"a batch in {codec.name} from its magic on", after_header(bytes(batch.buffer)), after_header(sent))


@check("P-15b", api="Produce", versions="3-13")
def producers_offsets_begin_at_zero(target: Target, version: int) -> None:
    """Given a base offset other than 0 from a client, INVALID_RECORD."""
    topic = target.new_topic()

    expect_refused(target, topic, batch_of(base_offset=5), version, ErrorCode.INVALID_RECORD, log_start_offset=log_start(version))


@check("P-15c", api="Produce")
def a_wrong_max_timestamp_is_corrected(target: Target) -> None:
    """Given a max timestamp that is not the largest of the records, it is stored corrected, with a checksum that fits."""
    topic = target.new_topic()
    now = now_ms()

    target.produce_batch(topic, patched(batch_of(b"a", b"b", timestamps=[now - 10, now - 20]), max_timestamp=now + 7))

    batch = stored(target, topic)
    expect(batch, max_timestamp=now - 10)
    expect_that(batch.is_sound(), "the checksum of the stored batch fits it")


@check("P-15d", api="Produce")
def unknown_attribute_bits_are_kept(target: Target) -> None:
    """Given attribute bits without a meaning, the batch is stored as sent."""
    topic = target.new_topic()

    for offset, bits in enumerate((0x80, 0x7F80)):
        sent = patched(batch_of(), attributes=bits)
        expect(target.produce_batch(topic, sent), error_code=ErrorCode.NONE, base_offset=offset)
        expect_equal("the stored batch from its magic on", after_header(bytes(stored(target, topic, offset).buffer)), after_header(sent))


@check("P-16a", api="Produce", versions="3-13")
def the_topics_codec_is_used(target: Target, version: int) -> None:
    """Given compression.type of the topic, batches are stored in it whatever the producer used; offsets, times and values stay."""
    now = now_ms()
    for codec in CODECS:
        topic = target.new_topic(compression_type="uncompressed" if codec is CompressionType.NONE else codec.name.lower())
        sent_in = CompressionType.GZIP if codec is CompressionType.NONE else CompressionType.NONE

        sent = batch_of(b"a" * 300, b"b", timestamps=[now - 3, now - 9], compression=sent_in)
        answer = target.produce_batch(topic, sent, version=version)

        expect(answer, error_code=ErrorCode.NONE, base_offset=0)
        batch = stored(target, topic)
        expect_equal("the stored compression", batch.compression, codec)
        expect_that(batch.is_sound(), "the checksum of the stored batch fits it")
        records = list(batch.records())
        found = [(one.offset, one.timestamp, one.value) for one in records]
        expect_equal("the records", found, [(0, now - 3, b"a" * 300), (1, now - 9, b"b")])


@check("P-16b", api="Produce")
def the_size_counts_before_and_after_recompression(target: Target) -> None:
    """Given max.message.bytes=1000, 5000 plain bytes are too large for a gzip topic, and so is what grows past it on an
    uncompressed one.
    """
    shrinking = target.new_topic(compression_type="gzip", max_message_bytes="1000")
    growing = target.new_topic(compression_type="uncompressed", max_message_bytes="1000")

    expect_refused(target, shrinking, batch_of(bytes(5000)), None, ErrorCode.MESSAGE_TOO_LARGE)
    expect_refused(target, growing, batch_of(bytes(5000), compression=CompressionType.GZIP), None, ErrorCode.MESSAGE_TOO_LARGE)


@check("P-17a", api="Produce")
def plain_offset_deltas_are_not_looked_at(target: Target) -> None:
    """Given uncompressed records with offset deltas 0, 5, 9 under a last offset delta of 2, the batch is stored byte by byte."""
    topic = target.new_topic()
    now = now_ms()
    sent = patched(build_batch([NewRecord(b"v", timestamp=now)] * 3, offset_deltas=[0, 5, 9]), last_offset_delta=2)

    answer = target.produce_batch(topic, sent)

    expect(answer, error_code=ErrorCode.NONE, base_offset=0)
    expect_equal("the stored batch from its magic on", after_header(bytes(stored(target, topic).buffer)), after_header(sent))
    expect(target.list_offsets(topic, timestamp=LATEST), offset=3)


@check("P-17b", api="Produce")
def compressed_offset_deltas_count_up(target: Target) -> None:
    """Given gzipped records whose offset deltas are not 0, 1, 2, the batch is refused. Kafka 4.3.0 answers UNKNOWN_SERVER_ERROR, for a bug
    of its own.
    """
    topic = target.new_topic()
    plain = build_batch([NewRecord(b"v", timestamp=now_ms())] * 3, offset_deltas=[0, 5, 9])

    answer = target.produce_batch(topic, batch_with_payload(plain[61:], 3, CompressionType.GZIP))

    expect(answer, error_code=one_of(ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.INVALID_RECORD), base_offset=-1)
    expect(target.list_offsets(topic, timestamp=LATEST), offset=0)


@check("P-29", api="Produce", versions="3-13")
def odd_ends_and_lengths(target: Target, version: int) -> None:
    """Given 3 bytes behind a batch, they are dropped; a batch cut short or under 61 bytes is INVALID_RECORD, a length below 14
    CORRUPT_MESSAGE.
    """
    topic = target.new_topic()

    answer = target.produce_batch(topic, batch_of(b"a") + b"\0\1\2", version=version)

    expect(answer, error_code=ErrorCode.NONE, base_offset=0)
    expect_equal("the stored values", [one.value for one in target.records(topic)], [b"a"])
    expect_refused(target, topic, batch_of()[:-1], version, ErrorCode.INVALID_RECORD, log_start_offset=-1)
    expect_refused(target, topic, batch_of()[:30], version, ErrorCode.INVALID_RECORD)
    for length in (0, -5, 10):
        message = NOT_NULL if version >= 8 else None
        expect_refused(target, topic, patched(batch_of(), batch_length=length), version, ErrorCode.CORRUPT_MESSAGE, error_message=message)


@check("P-30a", api="Produce", versions="3-13")
def what_cannot_be_read_is_an_unknown_error(target: Target, version: int) -> None:
    """Given codecs 5 to 7, gzip that is none, or bytes that are no records, UNKNOWN_SERVER_ERROR; nothing is appended and the connection
    stays.
    """
    topic = target.new_topic()
    garbage = batch_with_payload(b"\xff" * 40, 1)
    bad_gzip = patched(garbage, attributes=int(CompressionType.GZIP))

    for codec in (5, 6, 7):
        expect_refused(target, topic, patched(batch_of(), attributes=codec), version, ErrorCode.UNKNOWN_SERVER_ERROR)
    expect_refused(target, topic, bad_gzip, version, ErrorCode.UNKNOWN_SERVER_ERROR, log_start_offset=log_start(version))
    expect_refused(target, topic, garbage, version, ErrorCode.UNKNOWN_SERVER_ERROR, log_start_offset=log_start(version))


@check("P-31a", api="Produce", versions="3-13")
def records_with_odd_headers_are_refused(target: Target, version: int) -> None:
    """Given a null header name, a negative header count, or a record longer than its fields, plain or gzip, INVALID_RECORD."""
    topic = target.new_topic()
    null_name = record_bytes(record_fields(headers=b"\x02\x01\x00"))
    negative_count = record_bytes(record_fields(headers=b"\x01"))
    longer = record_bytes(record_fields() + b"\0\0")

    for payload in (null_name, negative_count, longer):
        for compression in (CompressionType.NONE, CompressionType.GZIP):
            expect_refused(target, topic, batch_with_payload(payload, 1, compression), version, ErrorCode.INVALID_RECORD)


@check("P-31b", api="Produce")
def nulls_and_repeats_are_kept(target: Target) -> None:
    """Given null keys and values, empty header names, null header values, repeated names and odd record attributes, all
    is stored as sent.
    """
    topic = target.new_topic()
    headers = header_bytes(("", b"x"), ("twice", b"1"), ("twice", b"2"), ("null", None))
    payloads = [record_bytes(record_fields(headers)), record_bytes(record_fields(attributes=0x7F)), record_bytes(b"\0\0\0\1\1\0")]

    for offset, payload in enumerate(payloads):
        sent = batch_with_payload(payload, 1)
        expect(target.produce_batch(topic, sent), error_code=ErrorCode.NONE, base_offset=offset)
        expect_equal("the stored batch from its magic on", after_header(bytes(stored(target, topic, offset).buffer)), after_header(sent))
