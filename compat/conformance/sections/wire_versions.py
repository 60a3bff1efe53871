"""W: which APIs and versions a broker says it serves, and what it does with those that it does not."""

import struct

from pykbroker.compat.check import check
from pykbroker.compat.connection import NO_TAGS, raw_request
from pykbroker.compat.expectations import Unexpected, at_least, expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of
from pykbroker.compat.steps.log_requests import produce_request_of
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.steps.users import SASL_LISTENER, connect_to_log_in
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import encode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    EndTxnRequest,
    InitProducerIdRequest,
    ProduceRequest,
    UpdateFeaturesRequest,
)

API_VERSIONS = 18
PRODUCE = 0
INIT_PRODUCER_ID = 22
TELEMETRY = (71, 72)
NEVER_ON_A_BROKERS_LISTENER = (4, 5, 6, 7, 52, 53, 58, 62, 67, 999, -1)
TRANSACTION_VERSION = "transaction.version"
UPGRADE, SAFE_DOWNGRADE = 1, 2
REFUSED_NAMES = ("", "-x", "a b", "a.", "a_b", "é", "a\n")


@check("W-01")
def an_api_that_is_not_served_closes_the_connection(target: Target) -> None:
    """Given a request for an API key that the listener does not serve, the connection is closed and nothing is answered. KIP-35."""
    for key in NEVER_ON_A_BROKERS_LISTENER:
        connection = target.connect()

        connection.send_bytes(raw_request(key, 0))

        expect_that(connection.is_closed(), f"the connection is closed after a request for API key {key}")


@check("W-02a")
def a_version_above_the_served_ones_closes_the_connection(target: Target) -> None:
    """Given a request of a version one above the newest served, its body sound, the connection is closed; only ApiVersions differs. KIP-35."""
    for key, served in sorted(target.served.items()):
        if key in (API_VERSIONS, *TELEMETRY) or key not in API_BY_KEY:
            continue
        request = API_BY_KEY[key].request
        newest = max(served)
        tags = NO_TAGS if newest in request.FLEXIBLE_VERSIONS else b""
        connection = target.connect()

        connection.send_bytes(raw_request(key, newest + 1, encode(request(), newest), tags=tags))

        expect_that(connection.is_closed(), f"the connection is closed after {request.__name__} v{newest + 1}")


@check("W-02b")
def a_version_below_the_served_ones_closes_the_connection(target: Target) -> None:
    """Given a request of a version one below the oldest served (-1 where that is 0), the connection is closed. KIP-35, KIP-896."""
    for key, served in sorted(target.served.items()):
        if key == API_VERSIONS:
            continue
        connection = target.connect()

        connection.send_bytes(raw_request(key, min(served) - 1, bytes(64)))

        expect_that(connection.is_closed(), f"the connection is closed after API {key} v{min(served) - 1}")


@check("W-03a", api="ApiVersions")
def api_versions_of_the_future_is_answered_in_version_0(target: Target) -> None:
    """Given ApiVersions v99 or v-1 with a body that is garbage, v0 answers UNSUPPORTED_VERSION and names the versions of ApiVersions
    alone; the connection stays open. KIP-511.
    """
    served = target.served[API_VERSIONS]
    refusal = struct.pack(">ihihhh", 7, ErrorCode.UNSUPPORTED_VERSION, 1, API_VERSIONS, min(served), max(served))
    for version, tags in ((99, NO_TAGS), (-1, b"")):
        connection = target.connect()

        connection.send_bytes(raw_request(API_VERSIONS, version, b"\xff\xfe\xfd", correlation_id=7, tags=tags))

        expect_equal(f"the frame that answers v{version}", connection.receive_frame(), refusal)
        alive = ApiVersionsRequest(client_software_name="a", client_software_version="1")
        expect(connection.ask(alive, target.newest(ApiVersionsRequest, 3)), error_code=ErrorCode.NONE)


@check("W-03b", api="ApiVersions")
def api_versions_of_the_future_needs_the_tags_of_its_header(target: Target) -> None:
    """Given ApiVersions v99 whose header ends before its tag section, the connection is closed: the header is read as version 2. KIP-511."""
    connection = target.connect()

    connection.send_bytes(raw_request(API_VERSIONS, 99))

    expect_that(connection.is_closed(), "the connection is closed")


@check("W-04", api="ApiVersions", versions="0-4")
def api_versions_has_a_response_header_without_tags(target: Target, version: int) -> None:
    """Given ApiVersions in any version, the error code follows the correlation id at once, and after it the number of APIs. KIP-511."""
    connection = target.connect()

    connection.send(ApiVersionsRequest(client_software_name="a", client_software_version="1"), version)
    frame = connection.receive_frame()

    expect_that(frame is not None, "there is an answer")
    count = bytes([len(target.served) + 1]) if version >= 3 else struct.pack(">i", len(target.served))
    expect_equal("the first bytes of the frame", (frame or b"")[: 6 + len(count)], struct.pack(">ih", 1, ErrorCode.NONE) + count)


@check("W-05a", api="ApiVersions", versions="3-4")
def a_client_software_name_that_is_none_is_refused(target: Target, version: int) -> None:
    """Given ApiVersions v3 with a software name or version that is empty, or has other than letters, digits, `.` and `-` or one of the two
    at an end, INVALID_REQUEST comes with no APIs, and the connection stays open. KIP-511.
    """
    refusal = struct.pack(">ihbib", 1, ErrorCode.INVALID_REQUEST, 1, 0, 0)
    wrong = [(name, "1") for name in REFUSED_NAMES] + [("a", wrong_version) for wrong_version in ("", "1-", "1 0")]
    for name, software_version in wrong:
        connection = target.connect()

        connection.send(ApiVersionsRequest(client_software_name=name, client_software_version=software_version), version)

        expect_equal(f"the frame that answers the name {name!r} {software_version!r}", connection.receive_frame(), refusal)
        again = connection.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), version)
        expect(again, error_code=ErrorCode.NONE)


@check("W-05b", api="ApiVersions", versions="3-4")
def a_client_software_name_may_be_long(target: Target, version: int) -> None:
    """Given ApiVersions v3 with a software name of 300 characters and the version `1.0-x`, it is answered in full. KIP-511."""
    request = ApiVersionsRequest(client_software_name="a" * 300, client_software_version="1.0-x")

    answer = target.ask(request, version)

    expect(answer, error_code=ErrorCode.NONE)
    expect_equal("the number of APIs", len(answer.api_keys), len(target.served))


@check("W-06", api="ApiVersions", versions="0-4")
def features_that_may_be_absent_are_named_from_version_4_on(target: Target, version: int) -> None:
    """Given ApiVersions, v4 names every supported feature, v3 only those whose lowest level is above 0, older versions none. KIP-584,
    KAFKA-17492.
    """
    every = _api_versions(target, 4).supported_features

    answer = _api_versions(target, version)

    expect_that(any(feature.name == "metadata.version" for feature in every), "metadata.version is a supported feature")
    expect_that(any(feature.min_version == 0 for feature in every), "v4 names a feature whose lowest level is 0")
    shown = {3: {feature.name for feature in every if feature.min_version > 0}, 4: {feature.name for feature in every}}
    expect_equal("the supported features", {feature.name for feature in answer.supported_features}, shown.get(version, set()))


@check("W-07a", api="ApiVersions", versions="3-4")
def finalized_features_have_one_level_above_0(target: Target, version: int) -> None:
    """Given ApiVersions v3, each finalized feature has one level above 0 within what is supported, metadata.version is among them,
    kraft.version at level 0 is not. KIP-584.
    """
    supported = {one.name: range(one.min_version, one.max_version + 1) for one in _api_versions(target, 4).supported_features}

    answer = _api_versions(target, version)

    levels = {feature.name: feature.max_version_level for feature in answer.finalized_features}
    expect_that("metadata.version" in levels, "metadata.version is finalized")
    for feature in answer.finalized_features:
        expect(feature, max_version_level=at_least(1), min_version_level=feature.max_version_level)
        expect_that(feature.max_version_level in supported.get(feature.name, ()), f"the level of {feature.name} is supported")
    expect(answer, finalized_features_epoch=at_least(0), zk_migration_ready=False)


@check("W-07b", api="ApiVersions", versions="3-4")
def the_epoch_of_the_features_grows_with_the_metadata(target: Target, version: int) -> None:
    """Given a topic made between two ApiVersions, the second finalized_features_epoch is larger: it is an offset of the metadata. KIP-584."""
    before = _api_versions(target, version).finalized_features_epoch
    target.new_topic()

    after = _api_versions(target, version).finalized_features_epoch

    expect_equal("the later finalized_features_epoch", after, at_least(before + 1))


@check("W-08", api="Produce")
def produce_says_0_and_means_3(target: Target) -> None:
    """Given a broker's listener, Produce is listed from version 0, for clients that look for it there, yet v0 to v2 close the connection.
    KAFKA-18659, KIP-896.
    """
    expect_equal("the oldest version of Produce listed", min(target.served[PRODUCE]), 0)
    for version in (0, 1, 2):
        connection = target.connect()

        connection.send_bytes(raw_request(PRODUCE, version, encode(ProduceRequest(acks=-1), 3)[2:]))

        expect_that(connection.is_closed(), f"the connection is closed after Produce v{version}")


@check("W-09", api="ApiVersions", versions="0-4")
def every_version_lists_the_same_apis_in_order(target: Target, version: int) -> None:
    """Given a broker without a receiver of client metrics, every version of ApiVersions lists the same APIs by ascending key, 71 and 72
    not among them, and of those no API without versions. KIP-714.
    """
    answer = _api_versions(target, version)

    keys = [one.api_key for one in answer.api_keys]
    expect_equal("the keys", keys, sorted(set(keys)))
    expect_that(not set(TELEMETRY) & set(keys), "71 and 72 are not listed")
    expect_that({0, 1, 2, 3, API_VERSIONS} <= set(keys), "Produce, Fetch, ListOffsets, Metadata and ApiVersions are listed")
    expect_equal("the ranges", {one.api_key: range(one.min_version, one.max_version + 1) for one in answer.api_keys}, target.served)
    expect_that(all(len(versions) for versions in target.served.values()), "each API has a version")


@check("W-10", api="InitProducerId", versions="5")
def an_unstable_version_is_not_served(target: Target, version: int) -> None:
    """Given InitProducerId, 0-5 are listed, and a sound v6 closes the connection: that version is not stable yet. KIP-939."""
    connection = target.connect()

    unstable = version + 1
    body = encode(InitProducerIdRequest(transaction_timeout_ms=1000), unstable)
    connection.send_bytes(raw_request(INIT_PRODUCER_ID, unstable, body, tags=NO_TAGS))

    expect_equal("the versions listed", target.served[INIT_PRODUCER_ID], range(unstable))
    expect_that(connection.is_closed(), "the connection is closed")


@check("W-11", api="ApiVersions", needs=SASL_LISTENER)
def versions_are_told_once_before_authentication(target: Target) -> None:
    """Given a SASL listener and nobody authenticated, ApiVersions is answered in full once; refusals do not count, and the next that would
    succeed closes the connection. KIP-43, KIP-511.
    """
    connection = connect_to_log_in(target)
    sound = ApiVersionsRequest(client_software_name="a", client_software_version="1")
    connection.send_bytes(raw_request(API_VERSIONS, 99, tags=NO_TAGS))
    expect_that(connection.receive_frame() is not None, "UNSUPPORTED_VERSION is answered")
    expect(
        connection.ask(ApiVersionsRequest(client_software_name="-", client_software_version="1"), 3), error_code=ErrorCode.INVALID_REQUEST
    )

    first = connection.ask(sound, 3)
    connection.send(sound, 3)

    expect(first, error_code=ErrorCode.NONE)
    expect_that(len(first.api_keys) == len(target.served), "every API is listed")
    expect_that(connection.is_closed(), "the second that would succeed closes the connection")


def _api_versions(target: Target, version: int) -> ApiVersionsResponse:
    answer = target.ask(ApiVersionsRequest(client_software_name="conformance", client_software_version="1"), version)
    if answer.error_code:
        raise Unexpected("error_code", ErrorCode.NONE, answer.error_code, answer)
    return answer


@check("W-26", api=("UpdateFeatures", "Produce", *TRANSACTIONS), alone=True)
def levels_of_features_are_hints(target: Target) -> None:
    """Given transaction.version 1 finalized, Produce v12 makes its partition part of the transaction all the same, and EndTxn v5 answers the next
    epoch. KIP-890.
    """
    topic = target.new_topic()
    target.afterwards(lambda: target.ask_newest(_transaction_version(2, UPGRADE), 2))
    lowered = target.ask_newest(_transaction_version(1, SAFE_DOWNGRADE), 2)
    expect(lowered, error_code=ErrorCode.NONE)
    eventually(lambda: _level_of(target, TRANSACTION_VERSION), lambda level: level == 1, "transaction.version is 1")
    transaction = Transaction(target)
    producer_id, epoch = transaction.producer_id, transaction.producer_epoch
    records = batch_of(producer_id=producer_id, producer_epoch=epoch, base_sequence=0, is_transactional=True)
    ending = EndTxnRequest(transactional_id=transaction.transactional_id, producer_id=producer_id, producer_epoch=epoch, committed=True)

    request = produce_request_of([(topic, 0, records)], transactional_id=transaction.transactional_id)
    appended = target.ask_newest(request, 12).responses[0].partition_responses[0]
    ended = target.ask(ending, 5)

    expect(appended, error_code=ErrorCode.NONE, base_offset=0)
    expect(ended, error_code=ErrorCode.NONE, producer_id=producer_id, producer_epoch=epoch + 1)


def _transaction_version(level: int, upgrade_type: int) -> UpdateFeaturesRequest:
    update = UpdateFeaturesRequest.FeatureUpdateKey(feature=TRANSACTION_VERSION, max_version_level=level, upgrade_type=upgrade_type)
    return UpdateFeaturesRequest(timeout_ms=10_000, feature_updates=[update])


def _level_of(target: Target, feature: str) -> int:
    answer = target.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3)
    return next((one.max_version_level for one in answer.finalized_features if one.name == feature), 0)
