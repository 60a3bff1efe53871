"""Q: telemetry: what clients are asked for, and when what they push is refused (KIP-714). A broker may answer these APIs without announcing them."""

import uuid

from pykbroker.compat.check import check
from pykbroker.compat.expectations import at_least, expect, expect_that
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
    PushTelemetryRequest,
    PushTelemetryResponse,
)

NO_ID = bytes(16)
NO_COMPRESSION, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NO_CODEC = 99


@check("Q-08a")
def who_has_no_id_is_given_one(target: Target) -> None:
    """Given GetTelemetrySubscriptions without an id, each time another id, the codecs zstd, lz4, gzip and snappy, and how much may be pushed how
    often; where nobody subscribed, no metrics are asked for. KIP-714.
    """
    first, second = subscribed(target, NO_ID), subscribed(target, NO_ID)

    for answer in (first, second):
        expect(answer, error_code=ErrorCode.NONE, throttle_time_ms=0, accepted_compression_types=[ZSTD, LZ4, GZIP, SNAPPY])
        expect(answer, telemetry_max_bytes=at_least(1), push_interval_ms=at_least(100), delta_temporality=True, requested_metrics=[])
        expect_that(answer.client_instance_id != NO_ID, "there is an id")
    expect_that(first.client_instance_id != second.client_instance_id, "each client has another id")


@check("Q-08b")
def asking_again_at_once_is_too_early(target: Target) -> None:
    """Given a client that has its subscription, asking again before the push interval is over is THROTTLING_QUOTA_EXCEEDED, with nothing else
    in the answer. KIP-714.
    """
    client = subscribed(target, NO_ID)

    again = subscribed(target, client.client_instance_id)

    expect(again, error_code=ErrorCode.THROTTLING_QUOTA_EXCEEDED, subscription_id=0, push_interval_ms=0, telemetry_max_bytes=0)
    expect(again, client_instance_id=NO_ID, accepted_compression_types=[], requested_metrics=[])


@check("Q-09a")
def what_is_pushed_at_first_is_taken(target: Target) -> None:
    """Given a subscription, the first push is taken, of as many bytes as are allowed; a second at once is THROTTLING_QUOTA_EXCEEDED. KIP-714."""
    client = subscribed(target, NO_ID)

    first = pushed(target, client, metrics=bytes(client.telemetry_max_bytes))
    second = pushed(target, client)

    expect(first, error_code=ErrorCode.NONE)
    expect(second, error_code=ErrorCode.THROTTLING_QUOTA_EXCEEDED)


@check("Q-09b")
def what_cannot_be_taken_is_refused(target: Target) -> None:
    """Given another subscription's id, UNKNOWN_SUBSCRIPTION_ID; an unknown codec, UNSUPPORTED_COMPRESSION_TYPE; a byte too much,
    TELEMETRY_TOO_LARGE; no client id, INVALID_REQUEST; an id that nobody was given, UNKNOWN_SUBSCRIPTION_ID. KIP-714.
    """
    clients = [subscribed(target, NO_ID) for _ in range(3)]
    nobody = GetTelemetrySubscriptionsResponse(client_instance_id=uuid.uuid4().bytes, subscription_id=clients[0].subscription_id + 1)

    expect(pushed(target, clients[0], subscription_id=clients[0].subscription_id + 1), error_code=ErrorCode.UNKNOWN_SUBSCRIPTION_ID)
    expect(pushed(target, clients[1], compression_type=NO_CODEC), error_code=ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
    too_much = bytes(clients[2].telemetry_max_bytes + 1)
    expect(pushed(target, clients[2], metrics=too_much), error_code=ErrorCode.TELEMETRY_TOO_LARGE)
    expect(pushed(target, GetTelemetrySubscriptionsResponse()), error_code=ErrorCode.INVALID_REQUEST)
    expect(pushed(target, nobody), error_code=ErrorCode.UNKNOWN_SUBSCRIPTION_ID)


@check("Q-09c")
def after_the_last_push_nothing_more_is_taken(target: Target) -> None:
    """Given a push that says it is the last, another is INVALID_REQUEST, and asking for the subscription THROTTLING_QUOTA_EXCEEDED. KIP-714."""
    client = subscribed(target, NO_ID)

    last = pushed(target, client, terminating=True)
    more = pushed(target, client)
    again = subscribed(target, client.client_instance_id)

    expect(last, error_code=ErrorCode.NONE)
    expect(more, error_code=ErrorCode.INVALID_REQUEST)
    expect(again, error_code=ErrorCode.THROTTLING_QUOTA_EXCEEDED)


def subscribed(target: Target, client_instance_id: bytes) -> GetTelemetrySubscriptionsResponse:
    """GetTelemetrySubscriptions; its answer."""
    return target.ask(GetTelemetrySubscriptionsRequest(client_instance_id=client_instance_id), 0)


def pushed(
    target: Target,
    client: GetTelemetrySubscriptionsResponse,
    *,
    subscription_id: int | None = None,
    terminating: bool = False,
    compression_type: int = NO_COMPRESSION,
    metrics: bytes = b"",
) -> PushTelemetryResponse:
    """PushTelemetry as that client; its answer."""
    request = PushTelemetryRequest(
        client_instance_id=client.client_instance_id,
        subscription_id=client.subscription_id if subscription_id is None else subscription_id,
        terminating=terminating,
        compression_type=compression_type,
        metrics=metrics,
    )
    return target.ask(request, 0)
