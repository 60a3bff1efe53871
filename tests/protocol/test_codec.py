"""Every message in every version comes back as it was sent; what cannot be sent is refused in words."""

import random
import traceback

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykbroker.protocol import messages
from pykbroker.protocol.codec import decode, decode_prefix, encode, encode_buffers
from pykbroker.protocol.definitions import message_names
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    AssignReplicasToDirsRequest,
    BrokerRegistrationRequest,
    ConsumerGroupDescribeRequest,
    ConsumerGroupMemberMetadataValue,
    CreateTopicsRequest,
    DescribeTopicPartitionsRequest,
    DescribeTransactionsRequest,
    FetchRequest,
    FetchResponse,
    HeartbeatRequest,
    ListTransactionsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    ProduceRequest,
    PushTelemetryRequest,
    UnregisterBrokerRequest,
)
from pykbroker.protocol.samples import sample
from pykbroker.protocol.wire import Malformed, Unencodable

ALL = [(name, version) for name in message_names() for version in getattr(messages, name).VERSIONS]


@pytest.mark.parametrize("name", message_names())
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(source=st.randoms(use_true_random=False))
def test_random_content_comes_back(name, source):
    message = getattr(messages, name)
    version = source.choice(message.VERSIONS)
    sent = sample(source, message, version)

    encoded = encode(sent, version)

    decoded = decode(message, version, encoded)
    assert decoded == sent
    assert encode(decoded, version) == encoded


def test_every_version_of_every_message_comes_back():
    assert len(ALL) > 700
    for name, version in ALL:
        message = getattr(messages, name)
        for _ in range(5):
            sent = sample(random, message, version)
            encoded = encode(sent, version)
            inside_a_frame = memoryview(b"before" + encoded + b"behind")
            assert decode_prefix(message, version, inside_a_frame, 6) == (sent, 6 + len(encoded)), (name, version)
            assert b"".join(encode_buffers(sent, version)) == encoded, (name, version)


def test_every_cut_is_malformed():
    source = random.Random(1)
    for name, version in ALL:
        message = getattr(messages, name)
        encoded = encode(sample(source, message, version), version)
        for cut in source.sample(range(len(encoded)), min(len(encoded), 20)):
            with pytest.raises(Malformed):
                decode(message, version, encoded[:cut])


def test_damage_is_malformed_or_another_message():
    source = random.Random(2)
    refused = 0
    for name, version in ALL:
        message = getattr(messages, name)
        encoded = encode(sample(source, message, version), version)
        for _ in range(15 if encoded else 0):
            damaged = bytearray(encoded)
            for _ in range(source.choice((1, 1, 3))):
                damaged[source.randrange(len(damaged))] = source.choice((0, 1, 127, 128, 255, source.randrange(256)))
            try:
                decode(message, version, damaged)
            except Malformed:
                refused += 1
    assert refused > 1000


def test_the_message_must_fill_the_buffer():
    encoded = encode(HeartbeatRequest(group_id="g", generation_id=1, member_id="m"), 4)

    with pytest.raises(Malformed, match="1 bytes are left over behind HeartbeatRequest version 4"):
        decode(HeartbeatRequest, 4, encoded + b"\0")


def test_records_are_not_copied():
    records = bytes(10_000)
    request = ProduceRequest(
        topic_data=[
            ProduceRequest.TopicProduceData(name="t", partition_data=[ProduceRequest.PartitionProduceData(index=0, records=records)])
        ]
    )

    pieces = encode_buffers(request, 9)
    frame = bytearray(b"".join(pieces))
    decoded = decode(ProduceRequest, 9, memoryview(frame))

    assert any(piece is records for piece in pieces)
    slice_of_frame = decoded.topic_data[0].partition_data[0].records
    frame[-10] = 77  # records end 4 bytes before the end: three tag sections and a partition's
    assert 77 in bytes(slice_of_frame)


def test_small_pieces_are_joined_and_large_ones_kept():
    partitions = [
        FetchResponse.PartitionData(partition_index=number, records=bytearray(size)) for number, size in enumerate((10, 5000, 20, 6000))
    ]
    response = FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=partitions)])

    pieces = encode_buffers(response, 12)

    assert [len(piece) for piece in pieces if len(piece) >= 4096] == [5000, 6000]
    assert len(pieces) == 5
    assert b"".join(pieces) == encode(response, 12)


def test_each_object_has_its_own_defaults():
    one, other = FetchRequest(), FetchRequest()

    one.topics.append(FetchRequest.FetchTopic(topic="t"))
    one.replica_state.replica_id = 5

    assert other.topics == []
    assert other.replica_state.replica_id == -1
    assert MetadataRequest().topics == []
    assert one != other
    assert FetchRequest() == other
    assert "FetchRequest.FetchTopic(topic='t')" in repr(one)


def test_a_field_that_the_version_lacks_starts_with_its_default():
    decoded = decode(FetchRequest, 4, encode(FetchRequest(max_wait_ms=5), 4))

    assert decoded == FetchRequest(max_wait_ms=5)
    assert decoded.session_epoch == -1
    assert decoded.cluster_id is None
    assert decoded.forgotten_topics_data == []


def test_unknown_tags_survive():
    request = ApiVersionsRequest(client_software_name="x", client_software_version="1")
    request.unknown_tags = [(9000, b"later"), (5, b"out of order")]

    again = decode(ApiVersionsRequest, 3, encode(request, 3))

    assert again.unknown_tags == [(9000, b"later"), (5, b"out of order")]
    assert encode(again, 3) == encode(request, 3)


def test_a_tagged_struct_with_nothing_but_an_unknown_tag_survives():
    partition = FetchResponse.PartitionData()
    partition.diverging_epoch.unknown_tags = [(3, b"new")]
    response = FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])])

    assert decode(FetchResponse, 12, encode(response, 12)) == response


@pytest.mark.parametrize(
    ("metadata", "tags"),
    [
        (None, "01 00 01 00"),
        (ConsumerGroupMemberMetadataValue.ClassicMemberMetadata(), "00"),
        (ConsumerGroupMemberMetadataValue.ClassicMemberMetadata(session_timeout_ms=5), "01 00 07 01 00000005 01 00"),
    ],
    ids=["null", "default", "there"],
)
def test_a_nullable_struct_among_the_tags_has_kafkas_mark_in_front(metadata, tags):
    record = ConsumerGroupMemberMetadataValue(classic_member_metadata=metadata)

    encoded = encode(record, 0)

    assert encoded == bytes.fromhex("01 01 01 01 01 01 ffffffff 01" + tags)
    assert decode(ConsumerGroupMemberMetadataValue, 0, encoded) == record


def test_a_nullable_struct_in_the_body_has_another_mark():
    cursor = DescribeTopicPartitionsRequest.Cursor(topic_name="t", partition_index=1)

    assert encode(DescribeTopicPartitionsRequest(cursor=cursor), 0).hex() == "01000007d0010274000000010000"
    assert encode(DescribeTopicPartitionsRequest(cursor=None), 0).hex() == "01000007d0ff00"


def test_text_that_is_no_utf_8_is_read_with_replacement_characters():
    encoded = encode(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="ab")]), 1).replace(b"ab", b"\xff\xfe")

    assert decode(MetadataRequest, 1, encoded).topics[0].name == "��"


def test_any_byte_but_zero_is_true():
    encoded = bytearray(encode(MetadataRequest(topics=None, allow_auto_topic_creation=True), 4))
    encoded[-1] = 2

    assert decode(MetadataRequest, 4, encoded).allow_auto_topic_creation is True


@pytest.mark.parametrize("length", [-1, -2, -(1 << 31)])
def test_a_length_below_zero_is_null_where_null_may_be(length):
    encoded = length.to_bytes(4, "big", signed=True)

    assert decode(MetadataRequest, 1, encoded).topics is None
    with pytest.raises(Malformed, match="topics is null"):
        decode(MetadataRequest, 0, encoded)


def refused(message, version):
    with pytest.raises(Unencodable) as caught:
        encode(message, version)
    with pytest.raises(Unencodable):
        encode_buffers(message, version)
    return str(caught.value)


TOPIC = FetchRequest.FetchTopic


def produce(records):
    partition = ProduceRequest.PartitionProduceData(records=records)
    return ProduceRequest(topic_data=[ProduceRequest.TopicProduceData(name="t", partition_data=[partition])])


def tagged(message):
    message.unknown_tags = [(1, b"")]
    return message


@pytest.mark.parametrize(
    ("message", "version", "sentence"),
    [
        (HeartbeatRequest(group_id=None), 4, "HeartbeatRequest version 4 cannot be encoded: group_id is None, which it may not be"),
        (HeartbeatRequest(group_id=b"g"), 4, "group_id is bytes, not a str"),
        (HeartbeatRequest(group_id="x" * 32768), 0, "group_id is 32768 bytes long; a string has at most 32767"),
        (HeartbeatRequest(group_id="é" * 16384), 4, "group_id is 32768 bytes long"),
        (HeartbeatRequest(group_id="\ud800"), 4, "group_id is not Unicode"),
        (HeartbeatRequest(generation_id=1 << 31), 4, "generation_id is 2147483648, no int32"),
        (HeartbeatRequest(generation_id="1"), 4, "generation_id is '1', no int32"),
        (HeartbeatRequest(generation_id=None), 4, "generation_id is None"),
        (HeartbeatRequest(group_instance_id="i"), 2, "group_instance_id is 'i', but that version has no such field"),
        (HeartbeatRequest(), 99, "HeartbeatRequest has no version 99; it has 0 to 4"),
        (MetadataRequest(topics=None), 0, "topics is None, which it may not be"),
        (MetadataRequest(topics=[None]), 1, "topics[0] is None, which it may not be"),
        (MetadataRequest(topics=["t"]), 1, "topics[0] is str, not MetadataRequestTopic"),
        (MetadataRequest(topics=5), 1, "topics is int, not a list"),
        (MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=None)]), 9, "topics[0].name is None"),
        (MetadataRequest(allow_auto_topic_creation=None), 9, "allow_auto_topic_creation is None"),
        (MetadataRequest(allow_auto_topic_creation="no"), 9, "allow_auto_topic_creation is 'no', neither True nor False"),
        (FetchRequest(topics=[TOPIC(topic_id=b"short")]), 13, "topics[0].topic_id is b'short', not 16 bytes"),
        (FetchRequest(topics=[TOPIC(topic_id=bytes(17))]), 13, "not 16 bytes"),
        (
            FetchRequest(forgotten_topics_data=[FetchRequest.ForgottenTopic()]),
            6,
            "forgotten_topics_data is [FetchRequest.ForgottenTopic()], but",
        ),
        (
            FetchRequest(replica_state=FetchRequest.ReplicaState(replica_id=1)),
            14,
            "replica_state is FetchRequest.ReplicaState(replica_id=1), but",
        ),
        (FetchRequest(replica_id=7), 15, "replica_id is 7, but that version has no such field"),
        (
            OffsetCommitRequest(topics=[OffsetCommitRequest.OffsetCommitRequestTopic(partitions=[1])]),
            8,
            "topics[0].partitions[0] is int, not",
        ),
        (
            CreateTopicsRequest(topics=[CreateTopicsRequest.CreatableTopic(num_partitions=1.5)]),
            7,
            "topics[0].num_partitions is 1.5, no int32",
        ),
        (produce("text"), 9, "topic_data[0].partition_data[0].records is str, not bytes"),
        (produce("x" * 5000), 9, "topic_data[0].partition_data[0].records is str, not bytes"),
        (
            AssignReplicasToDirsRequest(directories=[AssignReplicasToDirsRequest.DirectoryData(id=bytes(16), topics=None)]),
            0,
            "directories[0].topics is None",
        ),
        (ConsumerGroupDescribeRequest(group_ids=["a", None]), 1, "group_ids[1] is None"),
        (DescribeTransactionsRequest(transactional_ids=None), 0, "transactional_ids is None"),
        (ListTransactionsRequest(producer_id_filters=[1 << 63]), 0, "producer_id_filters[0] is 9223372036854775808, no int64"),
        (PushTelemetryRequest(client_instance_id=bytes(15)), 0, "not 16 bytes"),
        (tagged(HeartbeatRequest()), 3, "unknown_tags holds tags, but that version has no tag section"),
        (BrokerRegistrationRequest(log_dirs=[bytes(16), bytes(15)]), 4, "log_dirs[1] is"),
        (UnregisterBrokerRequest(broker_id=ErrorCode), 0, "broker_id is <enum"),
    ],
)
def test_an_impossible_value_is_named(message, version, sentence):
    assert sentence in refused(message, version)


def test_a_traceback_shows_the_generated_line():
    request = HeartbeatRequest(group_id=None)
    try:
        encode(request, 4)
    except Unencodable as error:
        shown = "".join(traceback.format_exception(error))

    assert "<encode HeartbeatRequest v4>" in shown
    assert "o.group_id.encode()" in shown


def test_error_codes_are_numbers_on_the_wire():
    response = FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)

    assert decode(FetchResponse, 12, encode(response, 12)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND == 70
