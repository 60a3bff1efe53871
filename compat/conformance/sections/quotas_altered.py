"""Q: what AlterClientQuotas accepts and refuses, and what DescribeClientQuotas finds."""

import math

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal
from pykbroker.compat.steps.quotas import (
    ANY_NAME,
    CLIENT,
    DEFAULT,
    EXACT,
    IP,
    QUOTAS,
    USER,
    Entity,
    alter,
    component,
    describe,
    entry_of,
    quotas_of,
)
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import AlterClientQuotasRequest, DescribeClientQuotasRequest, DescribeClientQuotasResponse

RATE = "producer_byte_rate"
PERCENTAGE = "request_percentage"
CONNECTIONS = "connection_creation_rate"


def kept(target: Target, entity: Entity, quotas: dict[str, float | None], version: int | None = None) -> None:
    """Set quotas for the time of the check, and see that they are described."""
    target.afterwards(lambda: alter(target, entity, dict.fromkeys(quotas)))
    expect_equal("what AlterClientQuotas answers", alter(target, entity, quotas, version=version).error_code, ErrorCode.NONE)
    expected = {key: value for key, value in quotas.items() if value is not None}
    eventually(lambda: quotas_of(target, entity), lambda found: expected.items() <= found.items(), f"{expected} is described")


@check("Q-06a", api=QUOTAS, versions="0-1")
def quotas_that_cannot_be_are_refused(target: Target, version: int) -> None:
    """Given an unknown key, a key of users for an ip or the reverse, 0, less than 0, a fraction of a byte, or more than 63 bits, or no address
    for an ip, or a key twice, INVALID_REQUEST says why, and nothing is set. KIP-546.
    """
    user, client = {USER: target.new_name("user")}, {CLIENT: target.new_name("client")}
    wrong: list[tuple[Entity, str, float]] = [
        (user, "foo", 1.0),
        (user, CONNECTIONS, 1.0),
        ({IP: "127.9.9.9"}, RATE, 1.0),
        (client, RATE, 0.0),
        (client, PERCENTAGE, -1.0),
        (user, RATE, 1.5),
        (user, "consumer_byte_rate", 1e30),
        ({IP: "not an ip!"}, CONNECTIONS, 1.0),
    ]

    for entity, key, value in wrong:
        answer = alter(target, entity, {key: value}, version=version)
        expect_equal(f"{key}={value} of {entity}", answer.error_code, ErrorCode.INVALID_REQUEST)
        expect(answer, error_message=NOT_EMPTY)
    twice = entry_of(user, {RATE: 1000.0})
    twice.ops.append(AlterClientQuotasRequest.OpData(key=RATE, value=2000.0))
    expect(target.ask(AlterClientQuotasRequest(entries=[twice]), version).entries[0], error_code=ErrorCode.INVALID_REQUEST)
    for entity in (user, client):
        expect_equal("what is set", quotas_of(target, entity), {})


@check("Q-06b", api=QUOTAS, versions="0-1")
def entities_that_cannot_be_are_refused(target: Target, version: int) -> None:
    """Given an ip with a user or a client, an unknown type, no component at all, or a name that is empty, INVALID_REQUEST says why. KIP-546."""
    name = target.new_name("user")
    wrong: list[Entity] = [{IP: "127.9.9.9", USER: name}, {IP: "127.9.9.9", CLIENT: name}, {"foo": name}, {}, {USER: ""}]

    for entity in wrong:
        answer = alter(target, entity, {CONNECTIONS if IP in entity else RATE: 1000.0}, version=version)
        expect_equal(f"an entity of {entity}", answer.error_code, ErrorCode.INVALID_REQUEST)
        expect(answer, error_message=NOT_EMPTY)


@check("Q-06c", api=QUOTAS, versions="0-1")
def an_entity_named_twice_is_refused(target: Target, version: int) -> None:
    """Given an entity in two entries of a request, it is answered INVALID_REQUEST, once, and yet its first entry is set; another entity of the
    request is set without error. KIP-546.
    """
    twice, once = {USER: target.new_name("user")}, {USER: target.new_name("user")}
    target.afterwards(lambda: alter(target, once, {RATE: None}))
    target.afterwards(lambda: alter(target, twice, {RATE: None}))
    entries = [entry_of(twice, {RATE: 1000.0}), entry_of(once, {RATE: 3000.0}), entry_of(twice, {RATE: 2000.0})]

    answer = target.ask(AlterClientQuotasRequest(entries=entries), version)

    errors = {one.entity[0].entity_name: one.error_code for one in answer.entries}
    expect_equal("what is answered", errors, {twice[USER]: ErrorCode.INVALID_REQUEST, once[USER]: ErrorCode.NONE})
    eventually(lambda: quotas_of(target, once), lambda found: found == {RATE: 3000.0}, "the other is set")
    expect_equal("what is set", quotas_of(target, twice), {RATE: 1000.0})


@check("Q-06d", api=QUOTAS, versions="0-1")
def of_a_type_named_twice_the_last_is_meant(target: Target, version: int) -> None:
    """Given an entity with two components of one type, the last of them is what the quota is set for. KIP-546."""
    first, last = target.new_name("user"), target.new_name("user")
    target.afterwards(lambda: alter(target, {USER: last}, {RATE: None}))
    entry = entry_of({USER: first}, {RATE: 1000.0})
    entry.entity.append(AlterClientQuotasRequest.EntityData(entity_type=USER, entity_name=last))

    answer = target.ask(AlterClientQuotasRequest(entries=[entry]), version)

    expect_equal("the number of entries", len(answer.entries), 1)
    expect(answer.entries[0], error_code=ErrorCode.NONE)
    eventually(lambda: quotas_of(target, {USER: last}), lambda found: found == {RATE: 1000.0}, "the last is set")
    expect_equal("what is set for the first", quotas_of(target, {USER: first}), {})


@check("Q-06e", api=QUOTAS, versions="0-1")
def quotas_are_set_changed_and_taken_away(target: Target, version: int) -> None:
    """Given an entity, quotas are set, a fraction of a percentage too, changed one by one, and taken away, also one that was never set;
    validate_only changes nothing. KIP-546.
    """
    entity: Entity = {USER: target.new_name("user"), CLIENT: target.new_name("client")}
    kept(target, entity, {RATE: 1000.0, PERCENTAGE: 12.5}, version)
    expect_equal("what is set", quotas_of(target, entity), {RATE: 1000.0, PERCENTAGE: 12.5})

    validated = alter(target, entity, {RATE: 5000.0}, version=version, validate_only=True)
    changed = alter(target, entity, {RATE: 2000.0, PERCENTAGE: None, "consumer_byte_rate": None}, version=version)

    expect(validated, error_code=ErrorCode.NONE, error_message=None)
    expect(changed, error_code=ErrorCode.NONE, error_message=None)
    eventually(lambda: quotas_of(target, entity), lambda found: found == {RATE: 2000.0}, "one quota is left, as changed last")
    expect_equal("what is answered", alter(target, entity, {RATE: None}, version=version).error_code, ErrorCode.NONE)
    eventually(lambda: quotas_of(target, entity), lambda found: found == {}, "nothing is left")


@check("Q-06f", api=QUOTAS, versions="0-1")
def addresses_have_quotas_of_their_own(target: Target, version: int) -> None:
    """Given a connection_creation_rate of an address, it is described as that of the ip. KIP-612."""
    entity: Entity = {IP: "127.9.9.9"}
    kept(target, entity, {CONNECTIONS: 100.0}, version)

    expect_equal("what is set", quotas_of(target, entity), {CONNECTIONS: 100.0})


@check("Q-12a", api=QUOTAS, versions="0-1")
def filters_that_cannot_be_are_refused(target: Target, version: int) -> None:
    """Given a filter with an unknown way to match, a component twice, an exact match of null, a default with a name, an ip with a user, or an
    empty type, INVALID_REQUEST; with an unknown type, UNSUPPORTED_VERSION; entries are null. KIP-546.
    """
    wrong = [
        ([component(USER, 7)], ErrorCode.INVALID_REQUEST),
        ([component(USER, ANY_NAME), component(USER, EXACT, "u")], ErrorCode.INVALID_REQUEST),
        ([component(USER, EXACT, None)], ErrorCode.INVALID_REQUEST),
        ([component(USER, DEFAULT, "u")], ErrorCode.INVALID_REQUEST),
        ([component(IP, ANY_NAME), component(USER, ANY_NAME)], ErrorCode.INVALID_REQUEST),
        ([component("", ANY_NAME)], ErrorCode.INVALID_REQUEST),
        ([component("foo", ANY_NAME)], ErrorCode.UNSUPPORTED_VERSION),
    ]

    for components, error in wrong:
        answer = describe(target, *components, version=version)
        expect(answer, error_code=error, error_message=NOT_EMPTY, entries=None)


@check("Q-12b", api=QUOTAS, versions="0-1")
def filters_find_what_they_name(target: Target, version: int) -> None:
    """Given quotas of a user, and of that user with a client, and of that user with the default client, a filter by the user finds all three, a
    strict one that of the user alone; any client, the default client and the named client find their own. KIP-546.
    """
    user, client = target.new_name("user"), target.new_name("client")
    alone, named, default = {USER: user}, {USER: user, CLIENT: client}, {USER: user, CLIENT: None}
    for entity, rate in ((alone, 1000.0), (named, 2000.0), (default, 3000.0)):
        kept(target, entity, {RATE: rate})
    by_user = component(USER, EXACT, user)

    for components, strict, rates in (
        ([by_user], False, {1000.0, 2000.0, 3000.0}),
        ([by_user], True, {1000.0}),
        ([by_user, component(CLIENT, ANY_NAME)], False, {2000.0, 3000.0}),
        ([by_user, component(CLIENT, DEFAULT)], True, {3000.0}),
        ([by_user, component(CLIENT, EXACT, client)], True, {2000.0}),
        ([component(CLIENT, EXACT, client)], False, {2000.0}),
        ([component(CLIENT, EXACT, client)], True, set()),
    ):
        answer = target.ask(DescribeClientQuotasRequest(components=components, strict=strict), version)
        expect(answer, error_code=ErrorCode.NONE, error_message="")
        expect_equal(f"the rates found by {components}, strict: {strict}", _rates(answer), rates)


@check("Q-12c", api=QUOTAS, versions="0-1")
def nobody_has_quotas_to_describe(target: Target, version: int) -> None:
    """Given a user without quotas, entries are empty and the message is, too; with a quota, its one value is told as it was set. KIP-546."""
    user = target.new_name("user")
    before = describe(target, component(USER, EXACT, user), version=version)
    kept(target, {USER: user}, {PERCENTAGE: math.pi})

    after = describe(target, component(USER, EXACT, user), version=version)

    expect(before, error_code=ErrorCode.NONE, error_message="", entries=[])
    expect_equal("the number of entries", len(after.entries or []), 1)
    value = DescribeClientQuotasResponse.ValueData(key=PERCENTAGE, value=math.pi)
    entity = DescribeClientQuotasResponse.EntityData(entity_type=USER, entity_name=user)
    expect((after.entries or [])[0], entity=[entity], values=[value])


def _rates(answer: DescribeClientQuotasResponse) -> set[float]:
    return {value.value for entry in answer.entries or [] for value in entry.values if value.key == RATE}
