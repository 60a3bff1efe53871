"""W: several requests on one connection, odd frames, and where the leader is."""

import struct
import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.connection import raw_request
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.target import Target, Topic, produce_request
from pykbroker.protocol.codec import encode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    FetchRequest,
    FetchResponse,
    MetadataRequest,
    MetadataResponse,
    ProduceRequest,
)
from pykbroker.protocol.records import NewRecord, build_batch

API_VERSIONS, METADATA, FETCH, LIST_OFFSETS, END_TXN = 18, 3, 1, 2, 26
IDLE_MS = 4000
NOBODY = -1


@check("W-20", api=("ApiVersions", "Fetch"), needs=Settings((("connections.max.idle.ms", str(IDLE_MS)),)))
def an_idle_connection_is_closed(target: Target) -> None:
    """Given connections.max.idle.ms=4000, a connection without traffic is closed after that time, and so is one whose Fetch still waits:
    only reads and writes count.
    """
    topic = target.new_topic()
    idle, waiting = target.connect(), target.connect()
    idle.ask(ApiVersionsRequest(), 0)
    waiting.send(_fetch(topic, max_wait_ms=3 * IDLE_MS), target.newest(FetchRequest, 12))
    started = time.monotonic()

    closed = idle.is_closed(within_s=2 * IDLE_MS / 1000)
    after_s = time.monotonic() - started

    expect_that(closed and after_s > 0.9 * IDLE_MS / 1000, f"the idle connection is closed after {IDLE_MS} ms, not before")
    expect_that(waiting.is_closed(within_s=IDLE_MS / 1000), "the connection whose Fetch waits is closed too")


@check("W-21", api="Fetch", versions="12-18")
def an_epoch_that_nobody_knows_names_no_leader(target: Target, version: int) -> None:
    """Given a Fetch with a leader epoch of the future, UNKNOWN_LEADER_EPOCH comes without current_leader and node_endpoints. KIP-951."""
    topic = target.new_topic()

    answer = target.ask(_fetch(topic, max_wait_ms=0, current_leader_epoch=1000), version)

    partition = answer.responses[0].partitions[0]
    expect(partition, error_code=ErrorCode.UNKNOWN_LEADER_EPOCH)
    expect(partition.current_leader, leader_id=NOBODY, leader_epoch=NOBODY)
    expect(answer, node_endpoints=[])


@check("W-22a", api=("Metadata", "ApiVersions"))
def what_came_before_a_bad_request_is_answered(target: Target) -> None:
    """Given a sound request and behind it one with a version that is not served, the first is answered, then the connection closed."""
    connection = target.connect()

    connection.send_bytes(raw_request(API_VERSIONS, 0, correlation_id=5) + raw_request(METADATA, 99, bytes(20)))

    frame = connection.receive_frame()
    expect_equal("the start of the answer", (frame or b"")[:6], struct.pack(">ih", 5, ErrorCode.NONE))
    expect_that(connection.is_closed(), "the connection is closed then")


@check("W-22b", api=("Fetch", "Produce"))
def a_failed_produce_with_acks_0_ends_the_connection_in_its_turn(target: Target) -> None:
    """Given a Fetch that waits 300 ms, a Produce with acks=0 that fails and an ApiVersions, the Fetch is answered, then the connection
    closed, and ApiVersions never answered.
    """
    topic = target.new_topic()
    connection = target.connect()

    connection.send(_fetch(topic, max_wait_ms=300), target.newest(FetchRequest, 12))
    connection.send(produce_request(topic, build_batch([NewRecord(b"lost")]), partition=9, acks=0), target.newest(ProduceRequest, 9))
    connection.send(ApiVersionsRequest(), 0)

    frame = connection.receive_frame()
    expect_equal("the correlation id of the first answer", (frame or b"")[:4], struct.pack(">i", 1))
    expect_that(connection.is_closed(), "the connection is closed then")


@check("W-23", api=("ApiVersions", "Fetch"), versions="0-4")
def a_client_that_says_no_more_is_still_answered(target: Target, version: int) -> None:
    """Given a client that closes its half of the connection after its request, the answer comes, also after a long poll of 300 ms."""
    topic = target.new_topic()
    quick, slow = target.connect(), target.connect()
    request = ApiVersionsRequest(client_software_name="a", client_software_version="1")

    quick.send(request, version)
    quick.half_close()
    slow.send(_fetch(topic, max_wait_ms=300), 4 + version)
    slow.half_close()

    expect(quick.receive(request, version), error_code=ErrorCode.NONE)
    polled = slow.receive(FetchRequest(), 4 + version)
    expect(polled.responses[0].partitions[0], error_code=ErrorCode.NONE, high_watermark=0)


@check("W-24a", api="Metadata")
def a_length_below_minus_1_is_null_where_null_may_be(target: Target) -> None:
    """Given Metadata v1 with an array of length -5 for its topics, it is taken as null: all topics are told."""
    topic = target.new_topic()
    connection = target.connect()

    connection.send_bytes(raw_request(METADATA, 1, struct.pack(">i", -5)))
    _, answer = read_response(MetadataResponse, 1, connection.receive_frame() or b"")

    expect_that(topic.name in {one.name for one in answer.topics}, "all topics are told, the new one among them")


@check("W-24b", api=("Metadata", "Fetch", "ListOffsets"))
def a_null_where_none_may_be_closes_the_connection(target: Target) -> None:
    """Given -1 for the topics of Metadata v0, Fetch v4 or ListOffsets v1, which are never null, the connection is closed."""
    fetch = encode(FetchRequest(max_wait_ms=1, min_bytes=1, max_bytes=1), 4)[:-4]
    bodies = {"Metadata v0": (METADATA, 0, b""), "Fetch v4": (FETCH, 4, fetch), "ListOffsets v1": (LIST_OFFSETS, 1, struct.pack(">i", -1))}
    for what, (key, version, before) in bodies.items():
        connection = target.connect()

        connection.send_bytes(raw_request(key, version, before + struct.pack(">i", -1)))

        expect_that(connection.is_closed(), f"the connection is closed after {what} with null topics")


@check("W-24c", api="EndTxn")
def a_null_transactional_id_closes_the_connection(target: Target) -> None:
    """Given EndTxn v0 with null for its transactional id, which is never null, the connection is closed. KIP-98."""
    connection = target.connect()

    connection.send_bytes(raw_request(END_TXN, 0, struct.pack(">hqhb", -1, 1, 0, 1)))

    expect_that(connection.is_closed(), "the connection is closed")


@check("W-25", api="Metadata", versions="0-13")
def a_frame_may_come_byte_by_byte(target: Target, version: int) -> None:
    """Given a request sent one byte at a time, it is answered as any other."""
    topic = target.new_topic()
    tags = b"\0" if version >= 9 else b""
    body = encode(_metadata_of(topic), version)
    connection = target.connect()

    for byte in raw_request(METADATA, version, body, tags=tags):
        connection.send_bytes(bytes([byte]))
    _, answer = read_response(MetadataResponse, version, connection.receive_frame() or b"")

    expect(answer.topics[0], error_code=ErrorCode.NONE, name=topic.name)


@check("W-28", api=("Fetch", "Produce"), versions="4-18")
def a_fetch_is_not_woken_from_behind_itself(target: Target, version: int) -> None:
    """Given a Fetch at the end of a log that waits 200 ms and, behind it on the connection, a Produce to that log, the Fetch waits in full
    and comes back empty, then Produce is answered: one request at a time.
    """
    topic = target.new_topic()
    connection = target.connect()
    started = time.monotonic()

    connection.send(_fetch(topic, max_wait_ms=200), version)
    produce_version = target.newest(ProduceRequest, 9)
    connection.send(produce_request(topic, build_batch([NewRecord(b"late")])), produce_version)
    fetched = connection.receive(FetchRequest(), version)
    waited_s = time.monotonic() - started
    produced = connection.receive(ProduceRequest(), produce_version)

    expect_that(waited_s > 0.18, f"the Fetch waits 200 ms; it came back after {waited_s * 1000:.0f} ms")
    expect_equal("what was fetched", _records_of(fetched), b"")
    expect(produced.responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=0)


def _fetch(topic: Topic, *, max_wait_ms: int, current_leader_epoch: int = -1) -> FetchRequest:
    part = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000, current_leader_epoch=current_leader_epoch)
    topics = [FetchRequest.FetchTopic(topic=topic.name, topic_id=topic.topic_id, partitions=[part])]
    return FetchRequest(max_wait_ms=max_wait_ms, min_bytes=1, max_bytes=1000, topics=topics)


def _metadata_of(topic: Topic) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=topic.name)])


def _records_of(answer: FetchResponse) -> bytes:
    return b"".join(bytes(part.records or b"") for topic in answer.responses for part in topic.partitions)
