"""Z: ACLs: made, described, deleted; and which of them decides."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.acls import (
    ACLS,
    ALL,
    ALLOW,
    ALTER,
    ALTER_CONFIGS,
    ANY,
    CLUSTER,
    CREATE,
    DELETE,
    DENY,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    EVERYBODY,
    GROUP,
    LITERAL,
    MATCH,
    PREFIXED,
    READ,
    TOPIC,
    UNKNOWN,
    WRITE,
    Acl,
    acls_in,
    allow,
    create,
    creation,
    delete,
    deletion,
    deny,
    described,
    filter_for,
    filter_of,
    put,
    take_away,
)
from pykbroker.compat.steps.configs import BROKER, describe, own_id
from pykbroker.compat.steps.users import AUTHORIZER, SASL_LISTENER, USERS, User
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateAclsRequest, DeleteAclsRequest, DescribeConfigsRequest, ListOffsetsRequest

NEEDS = (SASL_LISTENER, AUTHORIZER)
APIS = (*ACLS, *USERS, "ListOffsets")
ALICE = "User:alice-of-the-conformance-checks"
NOT_A_NUMBER_OF_ANYTHING = 99


@check("Z-01", api=ACLS, versions="1-3")
def there_are_no_acls_without_an_authorizer(target: Target, version: int) -> None:
    """Given no authorizer, DescribeAcls is SECURITY_DISABLED, and so is every entry of CreateAcls and DeleteAcls; given one, none of them is. KIP-140."""
    acl = Acl(ALICE, READ, TOPIC, target.new_name("topic"))
    described_configs = describe(target, BROKER, own_id(target), ["authorizer.class.name"]).configs
    with_authorizer = any(one.value for one in described_configs)
    error = ErrorCode.NONE if with_authorizer else ErrorCode.SECURITY_DISABLED
    message = "" if with_authorizer else NOT_EMPTY

    shown = target.ask(filter_of(), version)
    made = create(target, acl, acl._replace(operation=WRITE), version=version)
    taken = target.ask(DeleteAclsRequest(filters=[deletion(filter_for(acl))]), version)

    expect(shown, error_code=error)
    for one in made:
        expect(one, error_code=error, error_message=message)
    expect_equal("the number of results", len(taken.filter_results), 1)
    expect(taken.filter_results[0], error_code=error)
    if not with_authorizer:
        expect(shown, error_message=NOT_EMPTY, resources=[])
        expect(taken.filter_results[0], error_message=NOT_EMPTY, matching_acls=[])


@check("Z-02a", api=ACLS, versions="1-3", needs=AUTHORIZER)
def what_is_unknown_closes_the_connection(target: Target, version: int) -> None:
    """Given 0 for a type of resource, a pattern, an operation or a permission, CreateAcls, DescribeAcls and DeleteAcls close the connection."""
    acl = Acl(ALICE, READ, TOPIC, target.new_name("topic"))
    for field in ("resource_type", "pattern", "operation", "permission"):
        wrong = Acl(**{**acl._asdict(), field: UNKNOWN})
        for request in (
            CreateAclsRequest(creations=[creation(wrong)]),
            filter_for(wrong),
            DeleteAclsRequest(filters=[deletion(filter_for(wrong))]),
        ):
            connection = target.connect()
            connection.send(request, version)
            expect_that(connection.is_closed(), f"{type(request).__name__} with an unknown {field} closes the connection")


@check("Z-02b", api=ACLS, versions="1-3", needs=AUTHORIZER)
def acls_that_cannot_be_are_refused(target: Target, version: int) -> None:
    """Given a type, a pattern, an operation or a permission that nobody has, no name, a principal without a colon, or a cluster of another name,
    INVALID_REQUEST; the other ACLs of the request are made. KIP-140.
    """
    good = Acl(ALICE, READ, TOPIC, target.new_name("topic"))
    wrong = [
        good._replace(resource_type=NOT_A_NUMBER_OF_ANYTHING),
        good._replace(pattern=NOT_A_NUMBER_OF_ANYTHING),
        good._replace(operation=NOT_A_NUMBER_OF_ANYTHING),
        good._replace(permission=NOT_A_NUMBER_OF_ANYTHING),
        good._replace(name=""),
        good._replace(principal="alice"),
        good._replace(resource_type=CLUSTER, name="another-cluster"),
    ]

    results = create(target, *wrong, good, version=version)

    for acl, result in zip(wrong, results, strict=False):
        expect_equal(f"what is answered for {acl}", result.error_code, ErrorCode.INVALID_REQUEST)
        expect(result, error_message=NOT_EMPTY)
    expect(results[-1], error_code=ErrorCode.NONE, error_message="")
    eventually(lambda: described(target, filter_for(good)), lambda found: found == [good], "the good one is made")


@check("Z-02e", api=ACLS, versions="1-3", needs=AUTHORIZER)
def what_is_for_filters_spoils_the_request(target: Target, version: int) -> None:
    """Given ANY for a type, an operation or a permission, or the pattern MATCH, every ACL of the request is UNKNOWN_SERVER_ERROR, without a message,
    and none is made.
    """
    good = Acl(ALICE, READ, TOPIC, target.new_name("topic"))
    for wrong in (
        good._replace(resource_type=ANY),
        good._replace(operation=ANY),
        good._replace(permission=ANY),
        good._replace(pattern=MATCH),
    ):
        request = CreateAclsRequest(creations=[creation(good), creation(wrong)])
        answer = target.ask(request, version)
        expect_equal("the number of results", len(answer.results), 2)
        for result in answer.results:
            expect(result, error_code=ErrorCode.UNKNOWN_SERVER_ERROR, error_message=None)
    expect_equal("what is described", described(target, filter_of(name=good.name)), [])


@check("Z-02c", api=ACLS, versions="1-3", needs=AUTHORIZER)
def acls_that_make_no_sense_are_made(target: Target, version: int) -> None:
    """Given a principal of any type, or with no name, or with no type, any host or none, an operation that the resource does not have, a name that no
    topic has, the ACL is made, and so it is a second time.
    """
    name = target.new_name("topic")
    odd = [
        Acl("User:", READ, TOPIC, name),
        Acl(":z", READ, TOPIC, name),
        Acl("Group:z", READ, TOPIC, name),
        Acl(ALICE, READ, TOPIC, name, host="no host at all"),
        Acl(ALICE, WRITE, TOPIC, name, host=""),
        Acl(ALICE, CREATE, GROUP, name),
        Acl(ALICE, READ, TOPIC, f"{name} a b"),
    ]

    for results in (create(target, *odd, version=version), create(target, *odd, version=version)):
        for number, result in enumerate(results):
            expect_equal(f"what is answered for {odd[number]}", result.error_code, ErrorCode.NONE)
            expect(result, error_message="")
    for one in odd:
        eventually(lambda one=one: described(target, filter_for(one)), lambda found, one=one: found == [one], f"{one} is described, once")  # type: ignore[misc]


@check("Z-02d", api=ACLS, versions="1-3", needs=AUTHORIZER)
def acls_are_deleted_as_they_are_described(target: Target, version: int) -> None:
    """Given filters, DeleteAcls takes away what each finds, and tells it; what one filter took is not found by a later request. KIP-140."""
    first, second = target.new_name("topic"), target.new_name("topic")
    acls = [Acl(ALICE, READ, TOPIC, first), Acl(ALICE, WRITE, TOPIC, first), Acl(ALICE, READ, TOPIC, second)]
    for one in acls:
        put(target, one)

    taken = delete(target, filter_of(name=first), filter_for(acls[2]), filter_of(name=target.new_name()), version=version)
    again = delete(target, filter_of(name=first), version=version)

    expect_equal("what is taken away", [sorted(one) for one in taken], [sorted(acls[:2]), [acls[2]], []])
    expect_equal("what is left to take", again, [[]])
    eventually(lambda: described(target, filter_of(principal=ALICE, name=second)), lambda found: not found, "nothing is described")


@check("Z-03a", api=APIS, needs=NEEDS)
def a_denial_wins(target: Target) -> None:
    """Given an ACL that allows and one that denies, of whatever pattern or for everybody, the denial wins; without it, the other holds. KIP-11."""
    user, topic = User(target), target.new_topic()
    allow(user, DESCRIBE, TOPIC, topic.name)
    expect_equal("what may be done", _asks_for(user, topic.name), ErrorCode.NONE)

    for denial in (
        Acl(user.principal, DESCRIBE, TOPIC, topic.name, permission=DENY),
        Acl(user.principal, ALL, TOPIC, topic.name[:-1], PREFIXED, DENY),
        Acl(EVERYBODY, DESCRIBE, TOPIC, topic.name, permission=DENY),
        Acl(user.principal, DESCRIBE, TOPIC, topic.name, permission=DENY, host="127.0.0.1"),
    ):
        put(target, denial)
        expect_equal(f"what may be done with {denial}", _asks_for(user, topic.name), ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        take_away(target, denial)
        expect_equal("what may be done", _asks_for(user, topic.name), ErrorCode.NONE)


@check("Z-03b", api=APIS, needs=NEEDS)
def who_and_where_an_acl_is_for(target: Target) -> None:
    """Given an ACL for the user, for everybody, for the host or for all topics, or for a prefix, it holds; given one for another user, host, topic or
    type of principal, it does not. KIP-11, KIP-290.
    """
    user, topic = User(target), target.new_topic()
    right = Acl(user.principal, DESCRIBE, TOPIC, topic.name)

    for acl in (
        right._replace(principal="User:*"),
        right._replace(host="127.0.0.1"),
        right._replace(name="*"),
        right._replace(name=topic.name[:-2], pattern=PREFIXED),
        right._replace(name=topic.name, pattern=PREFIXED),
    ):
        put(target, acl)
        expect_equal(f"what may be done with {acl}", _asks_for(user, topic.name), ErrorCode.NONE)
        take_away(target, acl)
    for acl in (
        right._replace(principal=f"{user.principal}x"),
        right._replace(principal=f"Group:{user.name}"),
        right._replace(host="127.0.0.2"),
        right._replace(name=topic.name[:-1]),
        right._replace(name=topic.name + "x", pattern=PREFIXED),
        right._replace(resource_type=GROUP),
        right._replace(operation=CREATE),
    ):
        put(target, acl)
        expect_equal(f"what may be done with {acl}", _asks_for(user, topic.name), ErrorCode.TOPIC_AUTHORIZATION_FAILED)


@check("Z-03c", api=APIS, needs=NEEDS)
def super_users_may_do_everything(target: Target) -> None:
    """Given a denial for everybody, a super user, who the suite itself is, may do it all the same. KIP-11."""
    topic = target.new_topic()
    put(target, Acl(EVERYBODY, ALL, TOPIC, topic.name, permission=DENY))

    answer = target.list_offsets(topic)

    expect(answer, error_code=ErrorCode.NONE, offset=0)


@check("Z-04a", api=APIS, needs=NEEDS)
def some_rights_imply_describe(target: Target) -> None:
    """Given Read, Write, Delete, Alter or All on a topic, it may be described; given Create, AlterConfigs or DescribeConfigs, it may not. KIP-11."""
    user, topic = User(target), target.new_topic()

    for operation in (READ, WRITE, DELETE, ALTER, ALL, DESCRIBE):
        acl = allow(user, operation, TOPIC, topic.name)
        expect_equal(f"what may be done with {acl}", _asks_for(user, topic.name), ErrorCode.NONE)
        take_away(target, acl)
    for operation in (CREATE, ALTER_CONFIGS, DESCRIBE_CONFIGS):
        acl = allow(user, operation, TOPIC, topic.name)
        expect_equal(f"what may be done with {acl}", _asks_for(user, topic.name), ErrorCode.TOPIC_AUTHORIZATION_FAILED)


@check("Z-04b", api=(*APIS, "DescribeConfigs"), needs=NEEDS)
def some_rights_imply_describe_configs(target: Target) -> None:
    """Given AlterConfigs or All on a topic, its configs may be described; given Alter, Describe, Read or Write, they may not. KIP-133."""
    user, topic = User(target), target.new_topic()
    resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=TOPIC, resource_name=topic.name, configuration_keys=None)
    request = DescribeConfigsRequest(resources=[resource])

    for operation in (ALTER_CONFIGS, ALL, DESCRIBE_CONFIGS):
        acl = allow(user, operation, TOPIC, topic.name)
        expect(user.ask_newest(request, 4).results[0], error_code=ErrorCode.NONE, configs=NOT_EMPTY)
        take_away(target, acl)
    for operation in (ALTER, DESCRIBE, READ, WRITE):
        allow(user, operation, TOPIC, topic.name)
        expect(user.ask_newest(request, 4).results[0], error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED, configs=[])


@check("Z-04c", api=APIS, needs=NEEDS)
def what_is_implied_does_not_beat_a_denial(target: Target) -> None:
    """Given Read allowed and Describe denied, the topic may not be described; given Read denied and Describe allowed, it may. KIP-11."""
    user, topic, other = User(target), target.new_topic(), target.new_topic()
    allow(user, READ, TOPIC, topic.name)
    deny(user, DESCRIBE, TOPIC, topic.name)
    allow(user, DESCRIBE, TOPIC, other.name)
    deny(user, READ, TOPIC, other.name)

    expect_equal("what may be done", _asks_for(user, topic.name), ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    expect_equal("what may be done", _asks_for(user, other.name), ErrorCode.NONE)


@check("Z-05a", api=ACLS, versions="1-3", needs=AUTHORIZER)
def a_filter_that_matches_finds_all_that_would_apply(target: Target, version: int) -> None:
    """Given a filter with pattern MATCH and a name, the ACLs of that name, of all names and of its prefixes; with LITERAL or PREFIXED, those of that
    pattern; with ANY, those of exactly that name; without a name, all. KIP-290.
    """
    alice = f"User:{target.new_name('alice')}"
    name = target.new_name("foo") + "-bar"
    literal, everything = Acl(alice, READ, TOPIC, name), Acl(alice, READ, TOPIC, "*")
    long, short = (Acl(alice, READ, TOPIC, prefix, PREFIXED) for prefix in (name[:-4], name[:-6]))
    same, other = Acl(alice, READ, TOPIC, name, PREFIXED), Acl(alice, READ, TOPIC, name + "x")
    acls = [literal, everything, long, short, same, other]
    for one in acls:
        put(target, one)

    for pattern, wanted, found in (
        (MATCH, name, {literal, everything, long, short, same}),
        (LITERAL, name, {literal}),
        (PREFIXED, name, {same}),
        (ANY, name, {literal, same}),
        (ANY, None, set(acls)),
        (MATCH, None, set(acls)),
        (MATCH, "*", {everything}),
        (LITERAL, None, {literal, everything, other}),
    ):
        answer = target.ask(filter_of(principal=alice, name=wanted, pattern=pattern), version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal(f"what pattern {pattern} with {wanted} finds", set(acls_in(answer)), found)


@check("Z-05b", api=ACLS, versions="1-3", needs=AUTHORIZER)
def filters_find_what_they_name(target: Target, version: int) -> None:
    """Given ACLs that differ in one thing each, a filter by principal, host, operation, permission or type finds those that have it, and ANY, or null,
    finds all. KIP-140.
    """
    name = target.new_name("topic")
    plain = Acl(ALICE, READ, TOPIC, name)
    others = {
        "principal": plain._replace(principal=ALICE + "x"),
        "host": plain._replace(host="10.9.8.7"),
        "operation": plain._replace(operation=WRITE),
        "permission": plain._replace(permission=DENY),
        "resource_type": plain._replace(resource_type=GROUP),
    }
    for one in (plain, *others.values()):
        put(target, one)

    everything = target.ask(filter_of(name=name), version)
    expect_equal("what a filter by name finds", set(acls_in(everything)), {plain, *others.values()})
    for field, acl in others.items():
        values = {"name": name, field: getattr(acl, field)}
        answer = target.ask(filter_of(**values), version)
        expect_equal(f"what a filter by {field} finds", acls_in(answer), [acl])
    all_of_alice = target.ask(
        filter_of(name=name, principal=ALICE, operation=READ, permission=ALLOW, host="*", resource_type=TOPIC), version
    )
    expect_equal("what a filter by everything finds", acls_in(all_of_alice), [plain])


def _asks_for(user: User, topic: str) -> int:
    """What ListOffsets says to that user, who has to have Describe on the topic."""
    part = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=-1)
    request = ListOffsetsRequest(topics=[ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[part])])
    return user.ask_newest(request, 7).topics[0].partitions[0].error_code
