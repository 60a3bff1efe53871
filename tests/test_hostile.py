"""Clients that mean ill, without a socket: nothing they send raises, holds the loop, or leaves anything behind that hurts others."""

import random
import sys
import time
import tracemalloc
from types import ModuleType

import cramjam
import pytest

from pykbroker.apis import served, served_names
from pykbroker.context import Close
from pykbroker.later import Later
from pykbroker.limits import MAX_AUTO_CREATED_TOPICS_PER_REQUEST
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.compression import CompressionType, compress
from pykbroker.protocol.definitions import Field
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response, request_frame, response_frame
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    CreateTopicsRequest,
    FetchRequest,
    FindCoordinatorRequest,
    MetadataRequest,
    ProduceRequest,
    ProduceResponse,
)
from pykbroker.protocol.records import BatchProperties, NewRecord, assemble, build_batch
from pykbroker.protocol.samples import sample
from pykbroker.session import Session
from tests.torture.fuzz import attack
from tests.torture.fuzz_broker import Worst, quiet

MEBIBYTE = 1 << 20
EVERY_VERSION = [(key, version) for key in served_names() for version in served(key).VERSIONS]
NUMBERS = {"int8": 7, "int16": 15, "uint16": 16, "int32": 31, "int64": 63}


def made(message: type, fields: list[Field], version: int, *, elements: int, null: bool, number: int) -> object:
    """A struct in which everything is as empty, or as extreme, as it may be."""
    struct = message()
    for one in fields:
        if version not in one.versions:
            continue
        if null and version in one.nullable_versions:
            value = None
        elif one.is_array:
            value = [element(struct_of(struct, one), one, version, elements=elements, null=null, number=number) for _ in range(elements)]
        else:
            value = element(struct_of(struct, one), one, version, elements=elements, null=null, number=number)
        setattr(struct, one.name, value)
    return struct


STRUCTS: dict[str, type] = {}


def struct_of(owner: object, one: Field) -> type | None:
    return STRUCTS.get(one.type) if one.fields else None


def element(struct: type | None, one: Field, version: int, *, elements: int, null: bool, number: int) -> object:
    if struct is not None:
        return made(struct, one.fields, version, elements=elements, null=null, number=number)
    if one.type in NUMBERS:
        largest = (1 << NUMBERS[one.type]) - 1
        smallest = 0 if one.type == "uint16" else -largest - 1
        return max(smallest, min(largest, number))
    return {"string": "", "bytes": b"", "records": b"", "uuid": bytes(16), "bool": number < 0, "float64": 0.0}[one.type]


def structs_in(message: type, fields: list[Field]) -> dict[str, type]:
    found = {}
    for one in fields:
        if one.fields:
            found[one.type] = getattr(message, one.type)
            found |= structs_in(message, one.fields)
    return found


def handled(cluster, request, version: int):
    """The decoded answer; a Later that waits for time gets it."""
    frame = b"".join(request_frame(request, version, 7, None))[4:]
    session = Session(cluster.broker)
    answer = cluster.handle(session, memoryview(bytearray(frame)))
    if isinstance(answer, Later):
        cluster.waits.advance(minutes=10)
        cluster.clock.advance(minutes=10)
        if not answer.settled:
            session.close()
            return None
        answer = answer.value
    if answer is None or isinstance(answer, Close):
        return answer
    return read_response(API_BY_KEY[request.API_KEY].response, version, b"".join(answer)[4:])[1]


@pytest.mark.parametrize("key", list(served_names()), ids=lambda key: API_BY_KEY[key].name)
def test_nothing_is_too_empty_or_too_extreme_to_be_answered(new_cluster, key) -> None:
    cluster = new_cluster()
    message = API_BY_KEY[key].request
    STRUCTS.clear()
    STRUCTS.update(structs_in(message, message.SCHEMA.fields))
    for version in served(key).VERSIONS:
        for elements in (0, 1, 2):
            for null in (False, True):
                for number in (0, -1, 1, sys.maxsize, -sys.maxsize):
                    request = made(message, message.SCHEMA.fields, version, elements=elements, null=null, number=number)
                    handled(cluster, request, version)
                    assert cluster.unexpected_errors == [], (version, elements, null, number)
    assert handled(cluster, ApiVersionsRequest(client_software_name="x", client_software_version="1"), 3).error_code == 0


@pytest.mark.parametrize("key", list(served_names()), ids=lambda key: API_BY_KEY[key].name)
def test_every_request_can_be_answered_with_an_error(key) -> None:
    chance = random.Random(key)
    module = served(key)
    for version in module.VERSIONS:
        for _ in range(20):
            request = sample(chance, API_BY_KEY[key].request, version)
            if isinstance(request, FindCoordinatorRequest) and version >= 4 and not request.coordinator_keys:
                continue  # no keys: there is no place for an error, and the cluster closes
            answer = module.failed(request, ErrorCode.UNKNOWN_SERVER_ERROR)
            if answer is not None and not isinstance(answer, Close):
                response_frame(answer, version, 1)


def test_what_is_not_served_closes(new_cluster) -> None:
    cluster = new_cluster()
    for key in range(-2, 100):
        for version in (-32768, -1, 20, 99, 32767):
            frame = key.to_bytes(2, signed=True) + version.to_bytes(2, signed=True) + b"\0\0\0\1\xff\xff" + bytes(40)
            answer = cluster.handle(Session(cluster.broker), memoryview(bytearray(frame)))
            assert isinstance(answer, Close) or key == ApiVersionsRequest.API_KEY


def test_a_frame_that_ends_anywhere_closes(new_cluster) -> None:
    cluster = new_cluster()
    chance = random.Random(1)
    for key, version in EVERY_VERSION:
        frame = b"".join(request_frame(sample(chance, API_BY_KEY[key].request, version), version, 1, "x"))[4:]
        for end in {0, 1, 3, 7, 9, len(frame) // 2, len(frame) - 1}:
            answer = cluster.handle(Session(cluster.broker), memoryview(bytearray(frame[:end])))
            if end < 8:
                assert isinstance(answer, Close)
    assert cluster.unexpected_errors == []


class Broken(ModuleType):
    """An API whose answer cannot be encoded."""

    VERSIONS = range(13)

    def __init__(self, *, hopeless: bool) -> None:
        super().__init__("broken")
        self.hopeless = hopeless

    def handle(self, _context, _request):
        return ProduceResponse(throttle_time_ms="soon")

    def failed(self, _request, error):
        if self.hopeless:
            return ProduceResponse(throttle_time_ms="later")
        topic = ProduceResponse.TopicProduceResponse(
            name="t", partition_responses=[ProduceResponse.PartitionProduceResponse(error_code=error)]
        )
        return ProduceResponse(responses=[topic])


@pytest.mark.parametrize("hopeless", [False, True])
def test_an_answer_that_cannot_be_encoded_is_an_error_not_a_crash(new_cluster, monkeypatch, hopeless) -> None:
    cluster = new_cluster()
    monkeypatch.setattr("pykbroker.cluster.served", lambda _key: Broken(hopeless=hopeless))
    answer = handled(cluster, ProduceRequest(acks=1), 7)
    if hopeless:
        assert isinstance(answer, Close)
    else:
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    assert cluster.unexpected_errors
    cluster.unexpected_errors.clear()


# -- amplification ---------------------------------------------------------------------------------------------------


def test_one_metadata_request_does_not_fill_the_broker_with_topics(new_cluster) -> None:
    cluster = new_cluster()
    names = [MetadataRequest.MetadataRequestTopic(name=f"t{number}") for number in range(20_000)]
    handled(cluster, MetadataRequest(topics=names), 12)
    cluster.waits.advance()
    assert len(cluster.metadata.topics) == MAX_AUTO_CREATED_TOPICS_PER_REQUEST
    handled(cluster, MetadataRequest(topics=names), 12)
    cluster.waits.advance()
    assert len(cluster.metadata.topics) == 2 * MAX_AUTO_CREATED_TOPICS_PER_REQUEST


def new_topic(cluster, name: str = "t", partitions: int = 1) -> bytes:
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
    assert handled(cluster, CreateTopicsRequest(topics=[topic]), 7).topics[0].error_code == 0
    return cluster.metadata.topic(name).topic_id


def produce(cluster, records: bytes, version: int = 12):
    data = ProduceRequest.PartitionProduceData(index=0, records=records)
    topic = ProduceRequest.TopicProduceData(name="t", partition_data=[data])
    return handled(cluster, ProduceRequest(acks=-1, topic_data=[topic]), version).responses[0].partition_responses[0]


def bomb(kind: CompressionType, size: int) -> bytes:
    """That many zeros as one record, which hardly take room: its length says what is there, so that it must be unpacked to be doubted."""
    length = size - 8
    zigzag = length << 1
    varint = bytearray()
    while zigzag > 127:
        varint.append(zigzag & 127 | 128)
        zigzag >>= 7
    varint.append(zigzag)
    return assemble(BatchProperties(compression=kind), compress(kind, bytes(varint) + bytes(length)), 1, 0, 0, 0)


@pytest.mark.parametrize("kind", [kind for kind in CompressionType if kind])
def test_a_decompression_bomb_is_refused_in_bounded_memory(new_cluster, kind) -> None:
    cluster = new_cluster(static={"message.max.bytes": "1048588"})
    new_topic(cluster)
    packed = bomb(kind, 256 * MEBIBYTE)
    if len(packed) > MEBIBYTE:
        packed = bomb(kind, 20 * MEBIBYTE)  # snappy packs no more than 21 to 1
    assert len(packed) <= MEBIBYTE
    tracemalloc.start()
    started = time.thread_time()
    try:
        refused = produce(cluster, packed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.error_code in {ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.INVALID_RECORD, ErrorCode.CORRUPT_MESSAGE}
    assert peak < 32 * MEBIBYTE
    assert time.thread_time() - started < 0.5  # tracemalloc slows it down


def test_snappy_that_claims_a_gigabyte_costs_nothing(new_cluster) -> None:
    cluster = new_cluster()
    new_topic(cluster)
    claim = b"\x80\x80\x80\x80\x04" + bytes(15)
    with pytest.raises(cramjam.DecompressionError):
        cramjam.snappy.decompress_raw(claim)
    for payload in (claim, b"\x82SNAPPY\0\0\0\0\1\0\0\0\1\x7f\xff\xff\xff", b"\x82SNAPPY\0\0\0\0\1\0\0\0\1\xff\xff\xff\xff"):
        refused = produce(cluster, assemble(BatchProperties(compression=CompressionType.SNAPPY), payload, 1, 0, 0, 0))
        assert refused.error_code in {ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.UNKNOWN_SERVER_ERROR}  # as Kafka


def test_a_partition_named_twice_in_a_produce_does_no_harm(new_cluster) -> None:
    cluster = new_cluster()
    new_topic(cluster)
    one = ProduceRequest.PartitionProduceData(index=0, records=build_batch([NewRecord(b"x")]))
    named = ProduceRequest.TopicProduceData
    for topics in ([named(name="t"), named(name="t", partition_data=[one])], [named(name="t", partition_data=[one, one])]):
        for _ in range(3):
            answer = handled(cluster, ProduceRequest(acks=1, topic_data=topics), 12)
            assert [part.error_code for part in answer.responses[0].partition_responses] == [0]


def test_a_fetch_session_may_go_on_in_an_older_version(new_cluster, ask) -> None:
    cluster = new_cluster()
    new_topic(cluster)
    session = Session(cluster.broker)
    wanted = FetchRequest.FetchPartition(partition=0, fetch_offset=5, last_fetched_epoch=0, partition_max_bytes=1000)
    first = FetchRequest(topics=[FetchRequest.FetchTopic(topic="t", partitions=[wanted])], max_bytes=1000, session_epoch=0)
    answer = ask(cluster, first, 12, session)
    assert answer.responses[0].partitions[0].diverging_epoch.epoch == 0
    again = ask(cluster, FetchRequest(max_bytes=1000, session_id=answer.session_id, session_epoch=1), 11, session)
    assert again.responses[0].partitions[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_thousands_of_frames_break_nothing() -> None:
    with quiet():
        broker = attack(4000, 20260724, Worst(), print)  # how long each may hold the loop is judged by `make fuzz`
    assert broker.answered["answered"] > 2000
