"""What Apache Kafka 4.3.0 sent and took on the wire decodes, and encodes to the same bytes again; what it refused to read, we refuse to read."""

import json
import lzma
from collections import Counter
from pathlib import Path

import pytest

from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decode_prefix, encode
from pykbroker.protocol.header import API_VERSIONS, read_request_header, read_response, request_frame, response_frame
from pykbroker.protocol.wire import Malformed

CORPUS = Path(__file__).parent.parent / "golden" / "exchanges.jsonl.xz"

with lzma.open(CORPUS, "rt", encoding="utf-8") as lines:
    EXCHANGES = [json.loads(line) for line in lines]

APIS = sorted({str(exchange["api"]) for exchange in EXCHANGES})

ANSWERED_THOUGH_ODD = {
    ("ApiVersions", 0, "trailing bytes ApiVersions v0"): "bytes are left over",
    ("Metadata", 12, "trailing bytes"): "bytes are left over",
    ("Metadata", 1, "bad utf8"): "the replacement characters encode as themselves",
    ("Metadata", 9, "bool 2"): "true encodes as 1",
    ("JoinGroup", 1, "version not served"): "bytes are left over",
}
"""Requests that Kafka answered although their bytes do not survive decoding and encoding."""


def test_the_corpus_is_whole():
    assert len(EXCHANGES) == 3375
    assert len(APIS) == 86
    round_trips = Counter((exchange["request_round_trips"], exchange["response_round_trips"]) for exchange in EXCHANGES)
    assert round_trips[True, True] == 3292


@pytest.mark.parametrize("api", APIS)
def test_requests_come_back(api):
    for exchange in of(api, "request_round_trips"):
        frame = bytes.fromhex(exchange["request_hex"])

        header, position = read_request_header(frame)
        request_class = API_BY_KEY[header.api_key].request
        if exchange["version"] not in request_class.VERSIONS:
            assert (api, exchange["version"]) in {("ApiVersions", -1), ("ApiVersions", 99), ("OffsetForLeaderEpoch", 1)}
            continue
        request, behind = decode_prefix(request_class, header.api_version, frame, position)

        assert API_BY_KEY[header.api_key].name == api
        assert header.api_version == exchange["version"]
        assert behind == len(frame)
        assert without_size(request_frame(request, *header[1:])) == with_plain_header(frame, header, position)


@pytest.mark.parametrize("api", APIS)
def test_responses_come_back(api):
    for exchange in of(api, "response_round_trips"):
        frame = bytes.fromhex(exchange["response_hex"])
        if not frame:
            continue
        response_class = next(one.response for one in API_BY_KEY.values() if one.name == api)

        correlation_id, response = read_response(response_class, exchange["version"], frame)

        assert without_size(response_frame(response, exchange["version"], correlation_id)) == frame


def test_no_sentence_of_kafkas_documentation_is_in_the_corpus():
    described = [one for one in of("DescribeConfigs", "response_round_trips") if one["response_hex"]]
    response_class = API_BY_KEY[32].response
    told = Counter()
    for exchange in described:
        _, response = read_response(response_class, exchange["version"], bytes.fromhex(exchange["response_hex"]))
        told.update(config.documentation for result in response.results for config in result.configs)

    assert set(told) == {None, ""}, "run: python scripts/blank_golden_documentation.py"


@pytest.mark.parametrize("version", [-1, 99])
def test_the_answer_to_an_unknown_api_versions_is_version_0(version):
    exchanges = [one for one in EXCHANGES if one["api"] == "ApiVersions" and one["version"] == version and one["response_hex"]]
    assert exchanges
    for exchange in exchanges:
        frame = bytes.fromhex(exchange["response_hex"])

        correlation_id, response = read_response(API_BY_KEY[API_VERSIONS].response, 0, frame)

        assert without_size(response_frame(response, 0, correlation_id)) == frame
        assert [(one.api_key, one.min_version, one.max_version) for one in response.api_keys] == [(18, 0, 4)]


def test_what_kafka_could_not_read_is_malformed_or_not_served():
    damaged = [exchange for exchange in EXCHANGES if not exchange["request_round_trips"] and exchange["response_hex"] is None]
    outcomes = Counter(outcome(bytes.fromhex(exchange["request_hex"])) for exchange in damaged)

    assert outcomes["readable"] == 0
    assert outcomes["malformed"] >= 15
    assert outcomes["not served"] >= 20


def test_what_kafka_answered_though_odd_is_read():
    odd = [
        exchange for exchange in EXCHANGES if not exchange["request_round_trips"] and exchange["response_hex"] and exchange["version"] != 99
    ]
    assert {(one["api"], one["version"], one["note"]) for one in odd} == set(ANSWERED_THOUGH_ODD)
    for exchange in odd:
        frame = bytes.fromhex(exchange["request_hex"])
        header, position = read_request_header(frame)
        request, behind = decode_prefix(API_BY_KEY[header.api_key].request, header.api_version, frame, position)
        reason = ANSWERED_THOUGH_ODD[exchange["api"], exchange["version"], exchange["note"]]
        assert (behind < len(frame)) == (reason == "bytes are left over")
        assert encode(request, header.api_version) != frame[position:]


def of(api, kept):
    return [exchange for exchange in EXCHANGES if str(exchange["api"]) == api and exchange[kept]]


def without_size(pieces):
    frame = b"".join(pieces)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return frame[4:]


def with_plain_header(frame, header, position):
    """The frame without what its header may have and no reader keeps: tags, and a null client id of length -2 (W-13)."""
    client_id = b"\xff\xff" if header.client_id is None else frame[8 : 10 + int.from_bytes(frame[8:10], "big")]
    tags = b"\0" if header.api_version in API_BY_KEY[header.api_key].request.FLEXIBLE_VERSIONS else b""
    return frame[:8] + client_id + tags + frame[position:]


def outcome(frame):
    try:
        header, position = read_request_header(frame)
        api = API_BY_KEY.get(header.api_key)
        if api is None or header.api_version not in api.request.VERSIONS[: -1 if api.request.SCHEMA.latest_version_unstable else None]:
            return "not served"
        decode_prefix(api.request, header.api_version, frame, position)
    except Malformed:
        return "malformed"
    return "readable"
