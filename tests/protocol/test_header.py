"""Which header goes with which version, in both directions; a header that cannot be read is Malformed."""

import pytest

from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import encode
from pykbroker.protocol.header import (
    API_VERSIONS,
    RequestHeader,
    first_flexible_version,
    read_request_header,
    read_response,
    request_frame,
    response_frame,
    response_header,
)
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FetchResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    SaslHandshakeRequest,
)
from pykbroker.protocol.wire import Malformed

METADATA = 3


def header_bytes(api_key, version, correlation_id, client_id, tags=b""):
    name = b"\xff\xff" if client_id is None else len(client_id).to_bytes(2, "big") + client_id
    return (
        api_key.to_bytes(2, "big", signed=True)
        + version.to_bytes(2, "big", signed=True)
        + correlation_id.to_bytes(4, "big", signed=True)
        + name
        + tags
    )


@pytest.mark.parametrize("correlation_id", [0, -1, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("client_id", [None, b"", b"client", "é".encode()])
@pytest.mark.parametrize(("version", "tags"), [(8, b""), (9, b"\0"), (13, b"\x02\x05\x02ab\x90\x4e\x00")])
def test_a_request_header_is_read(correlation_id, client_id, version, tags):
    header = header_bytes(METADATA, version, correlation_id, client_id, tags)

    read, position = read_request_header(memoryview(header + b"body"))

    assert read == RequestHeader(METADATA, version, correlation_id, None if client_id is None else client_id.decode())
    assert position == len(header)


def test_a_client_id_of_any_length_below_zero_is_null():
    assert read_request_header(b"\x00\x03\x00\x01\x00\x00\x00\x07\xff\xfe")[0].client_id is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(4),
        bytes(9),
        b"\x00\x03\x00\x01\x00\x00\x00\x07\x00\x05four",
        header_bytes(METADATA, 12, 1, b"c"),
        header_bytes(METADATA, 12, 1, b"c", b"\x01"),
        header_bytes(METADATA, 12, 1, b"c", b"\x01\x05\x7fshort"),
        header_bytes(METADATA, 12, 1, b"c", b"\x01\x05\xff\xff\xff\xff\xff\xff\x01"),
        header_bytes(METADATA, 12, 1, b"c", b"\xff\xff\xff\xff\x0f\x00"),
        header_bytes(API_VERSIONS, 99, 1, b"c"),
    ],
    ids=[
        "empty",
        "4 zeros",
        "9 zeros",
        "client id",
        "no tags",
        "tag cut",
        "tag too long",
        "varint too long",
        "many tags",
        "unknown version",
    ],
)
def test_a_header_that_cannot_be_read_is_malformed(frame):
    with pytest.raises(Malformed):
        read_request_header(frame)


def test_an_unknown_api_still_has_a_header():
    assert read_request_header(header_bytes(999, 0, 5, b"c")) == ((999, 0, 5, "c"), 11)
    assert read_request_header(header_bytes(-1, -1, 5, None)) == ((-1, -1, 5, None), 10)


def test_flexible_responses_have_a_tag_section_but_the_answer_to_api_versions_never():
    assert response_header(METADATA, 8, 7) == b"\0\0\0\7"
    assert response_header(METADATA, 9, 7) == b"\0\0\0\7\0"
    assert response_header(API_VERSIONS, 4, 7) == b"\0\0\0\7"


@pytest.mark.parametrize("key", list(API_BY_KEY))
def test_what_one_side_writes_the_other_reads(key):
    api = API_BY_KEY[key]
    for version in api.request.VERSIONS:
        frame = b"".join(request_frame(api.request(), version, 77, "me"))
        header, position = read_request_header(frame[4:])
        assert header == (key, version, 77, "me")
        assert frame[4 + position :] == encode(api.request(), version)
    for version in api.response.VERSIONS:
        frame = b"".join(response_frame(api.response(), version, 78))
        assert int.from_bytes(frame[:4], "big") == len(frame) - 4
        assert read_response(api.response, version, frame[4:]) == (78, api.response())


def test_an_answer_with_header_tags_is_read():
    frame = b"\0\0\0\7\x01\x05\x02ab" + encode(HeartbeatResponse(error_code=27), 4)

    assert read_response(HeartbeatResponse, 4, frame) == (7, HeartbeatResponse(error_code=27))


def test_an_answer_to_api_versions_is_read_by_who_does_not_know_the_broker_yet():
    frame = b"".join(response_frame(ApiVersionsResponse(error_code=35), 3, 1))[4:]

    assert frame[4:6] == b"\0\x23"
    assert read_response(ApiVersionsResponse, 3, frame)[1].error_code == 35


@pytest.mark.parametrize("frame", [b"", b"\0\0\0", b"\0\0\0\1", b"\0\0\0\1\5"])
def test_an_answer_that_cannot_be_read_is_malformed(frame):
    with pytest.raises(Malformed):
        read_response(HeartbeatResponse, 4, frame)


def test_no_client_id_is_a_null_string():
    assert b"".join(request_frame(SaslHandshakeRequest(mechanism="PLAIN"), 1, 1, None))[12:14] == b"\xff\xff"
    assert b"".join(request_frame(ApiVersionsRequest(), 3, 1, None))[12:15] == b"\xff\xff\0"
    assert b"".join(request_frame(HeartbeatRequest(), 3, 1))[12:23] == b"\0\x09pykbroker"


def test_large_records_are_a_piece_of_their_own():
    records = bytes(100_000)
    partition = FetchResponse.PartitionData(records=records)
    response = FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])])

    pieces = response_frame(response, 12, 5)

    assert [piece is records for piece in pieces] == [False, True, False]
    assert int.from_bytes(pieces[0][:4], "big") == sum(map(len, pieces)) - 4


def test_the_first_flexible_version_is_the_schemas():
    for key, api in API_BY_KEY.items():
        flexible = api.request.FLEXIBLE_VERSIONS
        assert first_flexible_version(key) == (flexible.start if flexible else 0x8000)
    assert first_flexible_version(17) == 0x8000
    assert first_flexible_version(12345) == 0x8000
