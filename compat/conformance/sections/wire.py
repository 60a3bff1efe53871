"""W: frames, their order on a connection, and what is read leniently or not at all."""

import struct
import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.connection import NO_TAGS, raw_request
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.target import Target, Topic, produce_request
from pykbroker.protocol.codec import encode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FetchRequest,
    MetadataRequest,
    MetadataResponse,
    ProduceRequest,
)
from pykbroker.protocol.records import NewRecord, build_batch

API_VERSIONS, METADATA, PRODUCE, FETCH, LIST_OFFSETS, END_TXN = 18, 3, 0, 1, 2, 26
ALIVE = ApiVersionsRequest(client_software_name="a", client_software_version="1")
LARGEST_FRAME = 104_857_600
TWO_HOURS_MS = 7_200_000
WAIT_MS = 600
TAG_A, TAG_B = (40, b"unknown"), (41, b"")


@check("W-12a", api=("Fetch", "ApiVersions"))
def an_answer_waits_for_the_one_before_it(target: Target) -> None:
    """Given a Fetch that waits 600 ms and an ApiVersions behind it on one connection, the Fetch is answered first, and not earlier. KIP-219."""
    topic = target.new_topic()
    connection = target.connect()
    started = time.monotonic()

    connection.send(_waiting_fetch(topic, WAIT_MS), target.newest(FetchRequest, 12))
    connection.send(ALIVE, 0)
    first, second = connection.receive_frame(), connection.receive_frame()

    expect_equal("the correlation ids", [_correlation_id(first), _correlation_id(second)], [1, 2])
    expect_that(time.monotonic() - started > 0.9 * WAIT_MS / 1000, "the second answer waited for the first")


@check("W-12b", api="Produce", versions="3-13")
def pipelined_batches_are_appended_in_order(target: Target, version: int) -> None:
    """Given five Produce requests sent at once, they are answered in order with offsets 0-4, and the values lie in that order. KIP-98."""
    topic = target.new_topic()
    connection = target.connect()
    for number in range(5):
        connection.send(produce_request(topic, _batch(b"%d" % number)), version)

    answers = [connection.receive(ProduceRequest(), version) for _ in range(5)]

    offsets = [answer.responses[0].partition_responses[0].base_offset for answer in answers]
    expect_equal("the offsets", offsets, [0, 1, 2, 3, 4])
    expect_equal("the values", [bytes(record.value or b"") for record in target.records(topic)], [b"0", b"1", b"2", b"3", b"4"])


@check("W-13", api="Metadata", versions="0-13")
def a_client_needs_no_name(target: Target, version: int) -> None:
    """Given a request whose client id is null, or empty, or of length -2, it is answered as any other. KIP-482."""
    topic = target.new_topic()
    body = encode(_metadata_of(topic), version)
    tags = NO_TAGS if version >= 9 else b""
    nameless = struct.pack(">hhih", METADATA, version, 1, -2) + tags + body
    connection = target.connect()
    for frame in (
        raw_request(METADATA, version, body, client_id=None, tags=tags),
        raw_request(METADATA, version, body, client_id=b"", tags=tags),
        struct.pack(">i", len(nameless)) + nameless,
    ):
        connection.send_bytes(frame)

        _, answer = read_response(MetadataResponse, version, connection.receive_frame() or b"")
        expect(answer.topics[0], error_code=ErrorCode.NONE, name=topic.name)


@check("W-14a")
def a_size_that_cannot_be_closes_the_connection(target: Target) -> None:
    """Given a size of -1, 0, one above socket.request.max.bytes, or the letters `GET `, the connection is closed without its frame coming."""
    for size in (struct.pack(">i", -1), bytes(4), struct.pack(">i", LARGEST_FRAME + 1), b"GET "):
        connection = target.connect()

        connection.send_bytes(size)

        expect_that(connection.is_closed(), f"the connection is closed after the size {size!r}")


@check("W-14b")
def a_frame_too_short_for_a_header_closes_the_connection(target: Target) -> None:
    """Given a frame of 4 or 7 bytes of zero, too few for a request's header, the connection is closed."""
    for length in (4, 7):
        connection = target.connect()

        connection.send_bytes(struct.pack(">i", length) + bytes(length))

        expect_that(connection.is_closed(), f"the connection is closed after a frame of {length} bytes")


@check("W-14c", api="ApiVersions", needs=Settings((("socket.request.max.bytes", "200000"),)))
def the_largest_frame_is_still_taken(target: Target) -> None:
    """Given socket.request.max.bytes=200000, a frame of that size is answered, and one larger closes the connection at its size."""
    connection = target.connect()
    head = len(raw_request(API_VERSIONS, 0)) - 4

    connection.send_bytes(raw_request(API_VERSIONS, 0, bytes(200_000 - head)))
    answer = connection.receive_frame()
    connection.send_bytes(struct.pack(">i", 200_001))

    expect_equal("the start of the answer", (answer or b"")[:6], struct.pack(">ih", 1, ErrorCode.NONE))
    expect_that(connection.is_closed(), "the connection is closed after the size 200001")


@check("W-15", api="Metadata", versions="0-13")
def an_answer_has_its_requests_correlation_id(target: Target, version: int) -> None:
    """Given a request with any 32 bits as correlation id, the answer has the same. KIP-35."""
    tags = NO_TAGS if version >= 9 else b""
    connection = target.connect()
    for correlation_id in (-1, 0, 2**31 - 1, -(2**31), 12345):
        connection.send_bytes(
            raw_request(METADATA, version, encode(MetadataRequest(topics=[]), version), correlation_id=correlation_id, tags=tags)
        )

        expect_equal("the correlation id", _correlation_id(connection.receive_frame()), correlation_id)


@check("W-16a", api="Metadata", versions="9-13")
def unknown_tags_are_skipped(target: Target, version: int) -> None:
    """Given a flexible request with tagged fields nobody knows in its header, its body and a struct, it is answered as without. KIP-482."""
    topic = target.new_topic()
    request = _metadata_of(topic)
    (request.topics or [])[0].unknown_tags = [TAG_A, TAG_B]
    request.unknown_tags = [TAG_A]
    connection = target.connect()

    connection.send_bytes(raw_request(METADATA, version, encode(request, version), tags=b"\x01\x28\x03abc"))
    _, answer = read_response(MetadataResponse, version, connection.receive_frame() or b"")

    expect(answer.topics[0], error_code=ErrorCode.NONE, name=topic.name)


@check("W-16b", api="ApiVersions", versions="3-4")
def unknown_tags_need_no_order(target: Target, version: int) -> None:
    """Given ApiVersions v3 with unknown tags in descending order, or one twice, it is answered all the same. KIP-482."""
    body = encode(ALIVE, version)[:-1]
    for tags in (b"\x02\x29\x01b\x28\x01a", b"\x02\x28\x01a\x28\x01a"):
        connection = target.connect()

        connection.send_bytes(raw_request(API_VERSIONS, version, body + tags, tags=tags))

        _, answer = read_response(ApiVersionsResponse, version, connection.receive_frame() or b"")
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("the number of APIs", len(answer.api_keys), len(target.served))


@check("W-17", api="Produce", versions="3-13")
def produce_with_acks_0_is_not_answered(target: Target, version: int) -> None:
    """Given Produce with acks=0 and a request behind it, the next bytes are the answer to the second, and the record is there. KIP-98."""
    topic = target.new_topic()
    connection = target.connect()

    connection.send(produce_request(topic, _batch(b"quiet"), acks=0), version)
    connection.send(ALIVE, 0)

    expect_equal("the correlation id of the next bytes", _correlation_id(connection.receive_frame()), 2)
    expect_equal("the values", [bytes(record.value or b"") for record in target.records(topic)], [b"quiet"])


@check("W-18a", api="Produce", versions="3-13")
def produce_with_acks_0_that_fails_closes_the_connection(target: Target, version: int) -> None:
    """Given Produce with acks=0 and a wrong CRC, an unknown topic or partition, no records, two batches, or a time in the far future, the
    connection is closed, and nothing is appended.
    """
    topic = target.new_topic()
    sound = _batch(b"value")
    nobody = Topic(target.new_name("topic"), bytes(range(16)), 1)
    target.forget_after(nobody.name)
    failing = {
        "a wrong CRC": produce_request(topic, sound[:-1] + bytes([sound[-1] ^ 1]), acks=0),
        "an unknown partition": produce_request(topic, sound, partition=7, acks=0),
        "an unknown topic": produce_request(nobody, sound, acks=0),
        "no records": produce_request(topic, b"", acks=0),
        "two batches": produce_request(topic, sound + sound, acks=0),
        "a time in the future": produce_request(topic, _batch(b"value", TWO_HOURS_MS), acks=0),
    }
    for what, request in failing.items():
        connection = target.connect()

        connection.send(request, version)

        expect_that(connection.is_closed(), f"the connection is closed after {what}")
    expect(target.list_offsets(topic), offset=0)


@check("W-18b", api="Produce", versions="3-13")
def one_bad_partition_among_good_ones_closes_the_connection(target: Target, version: int) -> None:
    """Given Produce with acks=0 for a partition that is there and one that is not, the first is appended and the connection closed."""
    topic = target.new_topic()
    request = produce_request(topic, _batch(b"good"), acks=0)
    request.topic_data[0].partition_data.append(ProduceRequest.PartitionProduceData(index=9, records=_batch(b"bad")))
    connection = target.connect()

    connection.send(request, version)

    expect_that(connection.is_closed(), "the connection is closed")
    expect_equal("the values", [bytes(record.value or b"") for record in target.records(topic)], [b"good"])


@check("W-18c", api="Produce", versions="3-13")
def produce_of_nothing_with_acks_0_is_nothing(target: Target, version: int) -> None:
    """Given Produce with acks=0 without topics, nothing is answered and the connection stays open."""
    connection = target.connect()

    connection.send(ProduceRequest(acks=0, timeout_ms=1000), version)
    connection.send(ALIVE, 0)

    expect_equal("the correlation id of the next bytes", _correlation_id(connection.receive_frame()), 2)


@check("W-19a", api=("Metadata", "ApiVersions"))
def a_body_that_does_not_parse_closes_only_its_connection(target: Target) -> None:
    """Given a body cut short, an array of 2^31-1, a null that may not be, a bad varint, or no body at all, the connection is closed, and
    others are none the wiser.
    """
    neighbour = target.connect()
    bodies = {
        "an array cut short": raw_request(METADATA, 1, struct.pack(">ih", 2, 1) + b"a"),
        "a huge array": raw_request(METADATA, 1, struct.pack(">i", 2**31 - 1)),
        "a null string": raw_request(METADATA, 1, struct.pack(">ih", 1, -1)),
        "an empty Metadata": raw_request(METADATA, 1),
    }
    if target.serves(MetadataRequest, 9):
        bodies["a bad varint"] = raw_request(METADATA, 9, b"\xff" * 10, tags=NO_TAGS)
    if target.serves(ApiVersionsRequest, 3):
        bodies["an empty ApiVersions"] = raw_request(API_VERSIONS, 3, tags=NO_TAGS)
    for what, frame in bodies.items():
        connection = target.connect()

        connection.send_bytes(frame)

        expect_that(connection.is_closed(), f"the connection is closed after {what}")
    expect(neighbour.ask(ALIVE, target.newest(ALIVE, 3)), error_code=ErrorCode.NONE)


@check("W-19b", api="Metadata", versions="0-13")
def bytes_after_a_body_are_ignored(target: Target, version: int) -> None:
    """Given a complete body and three bytes more, the request is answered. KIP-482."""
    topic = target.new_topic()
    tags = NO_TAGS if version >= 9 else b""
    connection = target.connect()

    connection.send_bytes(raw_request(METADATA, version, encode(_metadata_of(topic), version) + b"abc", tags=tags))
    _, answer = read_response(MetadataResponse, version, connection.receive_frame() or b"")

    expect(answer.topics[0], error_code=ErrorCode.NONE, name=topic.name)


@check("W-19c", api="Metadata")
def any_byte_but_0_is_true(target: Target) -> None:
    """Given a bool of 2 for include_topic_authorized_operations, it is taken as true: operations are told. KIP-430."""
    topic = target.new_topic()
    request = _metadata_of(topic)
    request.include_topic_authorized_operations = True
    body = encode(request, 8)
    connection = target.connect()

    connection.send_bytes(raw_request(METADATA, 8, body[:-1] + b"\x02"))
    _, answer = read_response(MetadataResponse, 8, connection.receive_frame() or b"")

    expect(answer.topics[0], error_code=ErrorCode.NONE)
    expect_that(answer.topics[0].topic_authorized_operations > 0, "the topic's authorized operations are told")


@check("W-19d", api="Metadata")
def a_topic_name_that_is_not_utf_8_is_an_invalid_name(target: Target) -> None:
    """Given a topic name of bytes that are no UTF-8, INVALID_TOPIC_EXCEPTION is answered for it; nothing is closed."""
    connection = target.connect()

    connection.send_bytes(raw_request(METADATA, 4, struct.pack(">ih", 1, 3) + b"\xff\xfe\xfd" + b"\0"))
    _, answer = read_response(MetadataResponse, 4, connection.receive_frame() or b"")

    expect(answer.topics[0], error_code=ErrorCode.INVALID_TOPIC_EXCEPTION)


def _metadata_of(topic: Topic) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=topic.name)])


def _batch(value: bytes, later_ms: int = 0) -> bytes:
    return build_batch([NewRecord(value, b"key", timestamp=int(time.time() * 1000) + later_ms)])


def _waiting_fetch(topic: Topic, max_wait_ms: int) -> FetchRequest:
    part = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000)
    topics = [FetchRequest.FetchTopic(topic=topic.name, topic_id=topic.topic_id, partitions=[part])]
    return FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, max_bytes=1000, topics=topics)


def _correlation_id(frame: bytes | None) -> int | None:
    return None if frame is None else int.from_bytes(frame[:4], "big", signed=True)
