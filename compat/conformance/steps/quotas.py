"""Quotas as a check has them: set for the time of the check, and known to be in force before anything is measured (KIP-546)."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import AlterClientQuotasRequest, DescribeClientQuotasRequest, DescribeClientQuotasResponse, Message

if TYPE_CHECKING:
    from pykbroker.protocol.messages import Request

R = TypeVar("R", bound=Message)

QUOTAS = ("AlterClientQuotas", "DescribeClientQuotas")
"""The APIs that it takes."""

EXACT, DEFAULT, ANY_NAME = 0, 1, 2
USER, CLIENT, IP = "user", "client-id", "ip"
SHORTEST_WINDOW_MS, LONGEST_WINDOW_MS = 10_000, 11_000
"""What a rate is taken over: ten whole windows of a second, and the one that has begun."""

Entity = Mapping[str, str | None]
"""`{"user": "alice", "client-id": None}`; None is the default."""


class Answer(NamedTuple):
    """What was answered for an entity."""

    error_code: int
    error_message: str | None


def entry_of(entity: Entity, quotas: Mapping[str, float | None]) -> AlterClientQuotasRequest.EntryData:
    """A change: a value to set, None to take it away."""
    return AlterClientQuotasRequest.EntryData(
        entity=[AlterClientQuotasRequest.EntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()],
        ops=[AlterClientQuotasRequest.OpData(key=key, value=value or 0.0, remove=value is None) for key, value in quotas.items()],
    )


def alter(
    target: Target, entity: Entity, quotas: Mapping[str, float | None], *, version: int | None = None, validate_only: bool = False
) -> Answer:
    """AlterClientQuotas of one entity; what is answered for it."""
    request = AlterClientQuotasRequest(entries=[entry_of(entity, quotas)], validate_only=validate_only)
    answer = target.ask(request, target.newest(request, 1) if version is None else version)
    expect_equal("the number of entries", len(answer.entries), 1)
    return Answer(answer.entries[0].error_code, answer.entries[0].error_message)


def component(kind: str, match_type: int = EXACT, match: str | None = None) -> DescribeClientQuotasRequest.ComponentData:
    """One component of a filter."""
    return DescribeClientQuotasRequest.ComponentData(entity_type=kind, match_type=match_type, match=match)


def describe(
    target: Target, *components: DescribeClientQuotasRequest.ComponentData, strict: bool = False, version: int | None = None
) -> DescribeClientQuotasResponse:
    """DescribeClientQuotas with that filter."""
    request = DescribeClientQuotasRequest(components=list(components), strict=strict)
    return target.ask(request, target.newest(request, 1) if version is None else version)


def quotas_of(target: Target, entity: Entity) -> dict[str, float]:
    """What is set for exactly that entity."""
    wanted = [component(kind, DEFAULT if name is None else EXACT, name) for kind, name in entity.items()]
    answer = describe(target, *wanted, strict=True)
    expect(answer, error_code=ErrorCode.NONE)
    found = [one for one in answer.entries or [] if {part.entity_type: part.entity_name for part in one.entity} == entity]
    return {value.key: value.value for one in found for value in one.values}


def set_quota(target: Target, entity: Entity, key: str, value: float) -> None:
    """Set it, until the check is over; back when it is in force."""
    target.afterwards(lambda: alter(target, entity, {key: None}))
    _change(target, entity, key, value)
    _wait_for_what_came_before(target)


def unset_quota(target: Target, entity: Entity, key: str) -> None:
    """Take it away; back when it is not in force any more."""
    _change(target, entity, key, None)
    _wait_for_what_came_before(target)


class Client:
    """A client with an id of its own, and a connection; it takes the time of what it asks."""

    def __init__(self, target: Target, client_id: str) -> None:
        self.target = target
        self.client_id = client_id
        self.connection = target.connect()
        self.answered_at = 0.0
        self.took_ms = 0.0

    def ask(self, request: "Request[R]", version: int) -> R:
        """Ask, and remember how long the answer took."""
        began = time.monotonic()
        self.connection.send(request, version, self.client_id)
        answer = self.connection.receive(request, version)
        self.answered_at = time.monotonic()
        self.took_ms = (self.answered_at - began) * 1000
        return answer

    def ask_newest(self, request: "Request[R]", at_most: int) -> R:
        """The same, in the newest version up to that which the broker serves."""
        return self.ask(request, self.target.newest(request, at_most))

    def expect_muted(self, request: Message, version: int, throttle_time_ms: int) -> None:
        """The next request on the connection is left alone until that time is over (KIP-219)."""
        since = self.answered_at
        self.connection.send(request, version, self.client_id)
        expect_that(self.connection.receive_frame() is not None, "the next request is answered")
        waited_ms = (time.monotonic() - since) * 1000
        expect_that(waited_ms >= throttle_time_ms * 0.9, f"the next request waits for {throttle_time_ms} ms; it took {waited_ms:.0f} ms")


def _change(target: Target, entity: Entity, key: str, value: float | None) -> None:
    expect_equal(f"what AlterClientQuotas says of {key}", alter(target, entity, {key: value}).error_code, ErrorCode.NONE)
    eventually(lambda: quotas_of(target, entity).get(key), lambda found: found == value, f"{key} is described as {value}")


def _wait_for_what_came_before(target: Target) -> None:
    """Changes take effect one after the other: when a later one can be seen, an earlier one is in force."""
    marker = {CLIENT: target.new_name("marker")}
    _change(target, marker, "producer_byte_rate", 1e9)
    alter(target, marker, {"producer_byte_rate": None})
