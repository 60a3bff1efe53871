"""The four APIs of configs, as Apache Kafka 4.3.0 has them (K-01 … K-19)."""

import logging

import pytest

from pykbroker.broker import Broker
from pykbroker.config import ResourceType
from pykbroker.config.definitions import definitions
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterConfigsRequest,
    CreateTopicsRequest,
    DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
)
from pykbroker.session import Session

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
NONE = (0, None)
INVALID_CONFIG, INVALID_REQUEST = ErrorCode.INVALID_CONFIG, ErrorCode.INVALID_REQUEST


@pytest.fixture
def cluster(new_cluster, ask):
    cluster = new_cluster()
    create(cluster, ask, "orders")
    return cluster


def create(cluster, ask, *names):
    ask(
        cluster,
        CreateTopicsRequest(topics=[CreateTopicsRequest.CreatableTopic(name=n, num_partitions=1, replication_factor=1) for n in names]),
        7,
    )


@pytest.fixture
def alter(cluster, ask):
    """IncrementalAlterConfigs of one resource: its error code and message."""

    def send(resource_type, name, *changes, validate_only=False, version=1):
        configs = [IncrementalAlterConfigsRequest.AlterableConfig(name=n, config_operation=o, value=v) for n, o, v in changes]
        resource = IncrementalAlterConfigsRequest.AlterConfigsResource(resource_type=resource_type, resource_name=name, configs=configs)
        answer = ask(cluster, IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only), version)
        (result,) = answer.responses
        assert (result.resource_type, result.resource_name) == (resource_type, name)
        return result.error_code, result.error_message

    return send


@pytest.fixture
def replace(cluster, ask):
    """AlterConfigs of one resource: its error code and message."""

    def send(resource_type, name, configs, validate_only=False, version=2):
        configs = [AlterConfigsRequest.AlterableConfig(name=n, value=v) for n, v in configs]
        resource = AlterConfigsRequest.AlterConfigsResource(resource_type=resource_type, resource_name=name, configs=configs)
        (result,) = ask(cluster, AlterConfigsRequest(resources=[resource], validate_only=validate_only), version).responses
        return result.error_code, result.error_message

    return send


@pytest.fixture
def describe(cluster, ask):
    """DescribeConfigs of one resource: its result."""

    def send(resource_type, name, keys=None, *, synonyms=True, docs=False, version=4, session=None):
        resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=resource_type, resource_name=name, configuration_keys=keys)
        request = DescribeConfigsRequest(resources=[resource], include_synonyms=synonyms, include_documentation=docs)
        (result,) = ask(cluster, request, version, session).results
        return result

    return send


def values(result):
    return {config.name: config.value for config in result.configs}


# -- DescribeConfigs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 5))
def test_every_config_of_a_topic_is_described_in_kafkas_order(describe, version):
    result = describe(TOPIC, "orders", docs=version >= 3, version=version)

    assert [config.name for config in result.configs] == [
        name for name in definitions(ResourceType.TOPIC) if name != "internal.segment.bytes"
    ]
    assert result.error_message == ""
    assert not any(config.read_only or config.is_sensitive for config in result.configs)
    if version >= 3:
        assert all(config.documentation and config.config_type for config in result.configs)


def test_where_a_topics_value_comes_from(alter, describe):
    alter(TOPIC, "orders", ("retention.ms", SET, "1234"))
    alter(BROKER, "", ("log.retention.ms", SET, "7777777"))
    alter(BROKER, "1", ("log.segment.bytes", SET, "5000000"))

    retention, segment = describe(TOPIC, "orders", ["retention.ms", "segment.bytes"]).configs[::-1]

    assert [(each.name, each.value, each.source) for each in retention.synonyms] == [
        ("retention.ms", "1234", 1),
        ("log.retention.ms", "7777777", 3),
        ("log.retention.hours", "168", 5),
    ]
    assert (segment.value, segment.config_source) == ("5000000", 2)


def test_a_default_that_another_config_stands_in_for_has_no_synonyms(new_cluster, ask):
    cluster = new_cluster({"log.retention.hours": "1"})
    create(cluster, ask, "orders")

    described = {config.name: config for config in cluster.config.described_topic("orders")}

    assert described["retention.ms"].value == "3600000"
    assert described["retention.ms"].config_source == 5
    assert described["retention.ms"].synonyms == ()


def test_a_broker_tells_all_and_keeps_secrets(new_cluster, ask, describe):
    cluster = new_cluster({"ssl.keystore.password": "geheim", "listener.name.external.plain.sasl.jaas.config": "geheim", "node.id": "3"})
    resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=BROKER, resource_name="3", configuration_keys=None)
    (result,) = ask(cluster, DescribeConfigsRequest(resources=[resource], include_synonyms=True), 4).results

    by_name = {config.name: config for config in result.configs}

    assert len(by_name) == 340 + 1
    for name in ("ssl.keystore.password", "listener.name.external.plain.sasl.jaas.config"):
        assert (by_name[name].value, by_name[name].is_sensitive, by_name[name].config_source) == (None, True, 4)
        assert [synonym.value for synonym in by_name[name].synonyms] == [None]
    assert by_name["node.id"].value == "3"
    assert by_name["node.id"].read_only
    assert b"geheim" not in repr(result).encode()


@pytest.mark.parametrize(
    ("resource_type", "name", "error", "sentence"),
    [
        (TOPIC, "nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ""),
        (TOPIC, "", ErrorCode.INVALID_TOPIC_EXCEPTION, "Topic name is invalid"),
        (TOPIC, "a b", ErrorCode.INVALID_TOPIC_EXCEPTION, "Topic name is invalid"),
        (BROKER, "99", INVALID_REQUEST, "This is broker 1; ask broker 99 about itself."),
        (BROKER, "abc", INVALID_REQUEST, "A broker is named by its id, a number; abc is none."),
        (BROKER_LOGGER, "", INVALID_REQUEST, "The broker whose loggers are meant is not named."),
        (BROKER_LOGGER, "99", INVALID_REQUEST, "This is broker 1; ask broker 99 about itself."),
        (GROUP, "", INVALID_REQUEST, "The group is not named."),
        (CLIENT_METRICS, "", INVALID_REQUEST, "The client metrics subscription is not named."),
        *((unknown, "x", INVALID_REQUEST, "") for unknown in (0, 1, 3, 64, -1)),
    ],
)
def test_what_cannot_be_described_is_said_for_each_resource(describe, resource_type, name, error, sentence):
    result = describe(resource_type, name)

    assert result.error_code == error
    assert sentence in result.error_message
    assert result.configs == []


def test_each_broker_describes_and_alters_itself(cluster, ask, describe):
    second = Session(Broker(2))

    assert describe(BROKER, "2", session=second).error_code == 0
    assert describe(BROKER, "1", session=second).error_code == INVALID_REQUEST


# -- IncrementalAlterConfigs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2))
def test_a_changed_topic_config_holds_at_once_and_after_a_restart(cluster, new_cluster, alter, version):
    before = cluster.config.topic("orders")
    assert alter(TOPIC, "orders", ("retention.ms", SET, "5"), ("segment.ms", DELETE, None), version=version) == NONE

    assert before.retention_ms == 604800000
    assert cluster.config.topic("orders").retention_ms == 5
    cluster.stop()
    assert new_cluster(files=cluster.files).config.topic("orders").retention_ms == 5


def test_a_topic_made_again_has_no_configs_of_its_own(cluster, new_cluster, ask, alter):
    alter(TOPIC, "orders", ("retention.ms", SET, "5"))
    cluster.controller.delete_topics([cluster.metadata.topics["orders"]])
    create(cluster, ask, "orders")

    assert cluster.config.topic("orders").retention_ms == 604800000
    cluster.stop()
    assert new_cluster(files=cluster.files).config.topic("orders").retention_ms == 604800000


def test_lists_grow_and_shrink(cluster, alter):
    def policy():
        return cluster.config.overrides(TOPIC, "orders").get("cleanup.policy")

    assert alter(TOPIC, "orders", ("cleanup.policy", APPEND, "compact")) == NONE
    assert policy() == "delete,compact"
    assert alter(TOPIC, "orders", ("cleanup.policy", APPEND, "delete,compact")) == NONE
    assert policy() == "delete,compact"
    assert alter(TOPIC, "orders", ("cleanup.policy", SUBTRACT, "delete")) == NONE
    assert policy() == "compact"
    assert alter(TOPIC, "orders", ("cleanup.policy", SUBTRACT, "compact,delete")) == NONE
    assert policy() == ""
    assert cluster.config.topic("orders").cleanup_policy == frozenset()
    assert alter(TOPIC, "orders", ("cleanup.policy", APPEND, "foo"))[0] == INVALID_CONFIG
    assert policy() == ""


def test_one_bad_config_leaves_the_resource_as_it_was_and_the_others_alone(cluster, ask):
    asked = IncrementalAlterConfigsRequest.AlterConfigsResource
    config = IncrementalAlterConfigsRequest.AlterableConfig
    create(cluster, ask, "other")
    request = IncrementalAlterConfigsRequest(
        resources=[
            asked(
                resource_type=TOPIC,
                resource_name="orders",
                configs=[config(name="segment.ms", value="5"), config(name="retention.ms", value="x")],
            ),
            asked(resource_type=TOPIC, resource_name="other", configs=[config(name="segment.ms", value="6")]),
        ]
    )

    answer = ask(cluster, request, 1)

    assert [result.error_code for result in answer.responses] == [INVALID_CONFIG, 0]
    assert cluster.config.topic("orders").segment_ms == 604800000
    assert cluster.config.topic("other").segment_ms == 6


def test_validate_only_says_the_same_and_changes_nothing(cluster, alter):
    written = cluster.metadata.offset

    assert alter(TOPIC, "orders", ("retention.ms", SET, "5"), validate_only=True) == NONE
    assert alter(TOPIC, "orders", ("retention.ms", SET, "x"), validate_only=True)[0] == INVALID_CONFIG
    assert alter(BROKER_LOGGER, "1", ("root", SET, "TRACE"), validate_only=True) == NONE

    assert cluster.metadata.offset == written
    assert logging.getLogger("pykbroker").getEffectiveLevel() > 5


def test_what_is_set_already_writes_nothing(cluster, alter):
    alter(TOPIC, "orders", ("retention.ms", SET, "5"))
    written = cluster.metadata.offset

    assert alter(TOPIC, "orders", ("retention.ms", SET, "5"), ("segment.ms", DELETE, None)) == NONE

    assert cluster.metadata.offset == written


THREADS = "at once it goes from 8 to half of that at least, to twice that at most."


@pytest.mark.parametrize(
    ("name", "change", "answer"),
    [
        (
            "1",
            ("log.cleaner.threads", SET, "abc"),
            (42, "log.cleaner.threads cannot be abc: expected a whole number of 32 bits."),
        ),
        ("1", ("log.cleaner.threads", SET, "2"), NONE),
        (
            "1",
            ("log.cleaner.threads", SET, "3"),
            (42, "log.cleaner.threads cannot be 3: at once it goes from 1 to half of that at least, to twice that at most."),
        ),
        ("1", ("num.io.threads", SET, "16"), NONE),
        (
            "1",
            ("num.io.threads", SET, "800"),
            (42, f"num.io.threads cannot be 800: {THREADS}"),
        ),
        ("1", ("num.io.threads", SET, "3"), (42, f"num.io.threads cannot be 3: {THREADS}")),
        ("1", ("process.roles", SET, "broker"), (42, "Only a restart changes process.roles.")),
        ("1", ("process.roles", DELETE, None), NONE),
        ("1", ("log.retention.hours", SET, "1"), (42, "Only a restart changes log.retention.hours.")),
        ("1", ("log.initial.task.delay.ms", SET, "1"), (42, "Only a restart changes log.initial.task.delay.ms.")),
        (
            "",
            ("listeners", SET, "x"),
            (42, "Each broker has its own: name the broker for listeners."),
        ),
        ("1", ("listeners", SET, "x"), (42, "listeners cannot be x: expected NAME://HOST:PORT.")),
        (
            "1",
            ("ssl.keystore.password", SET, "x"),
            (42, "Each listener has its own: put listener.name.NAME. before ssl.keystore.password."),
        ),
        ("1", ("listener.name.external.ssl.keystore.password", SET, "x"), NONE),
        ("1", ("principal.builder.class", SET, "x"), (42, "principal.builder.class cannot be x: no class has this name.")),
        ("1", ("min.insync.replicas", SET, "1"), (40, "With eligible leader replicas, no broker has a min.insync.replicas of its own.")),
        ("", ("min.insync.replicas", SET, "2"), NONE),
        ("", ("min.insync.replicas", DELETE, None), (40, "With eligible leader replicas, the cluster keeps its min.insync.replicas.")),
        ("1", ("foo.bar", SET, "x"), NONE),
        ("1", ("foo.bar", APPEND, "x"), (40, "No broker has a config foo.bar.")),
        ("1", ("log.retention.ms", APPEND, "5"), (40, "APPEND is for lists, and log.retention.ms is none.")),
        ("1", ("log.cleanup.policy", APPEND, "compact"), NONE),
        ("1", ("log.retention.ms", 7, "5"), (42, "There is no operation 7.")),
        ("1", ("log.retention.ms", SET, "0"), (42, "log.retention.ms cannot be 0: expected -1 (for ever), or at least 1.")),
        ("1", ("log.roll.ms", SET, "0"), (42, "log.roll.ms cannot be 0: expected at least 1.")),
        (
            "1",
            ("log.local.retention.ms", SET, "604800001"),
            (42, "log.local.retention.ms cannot be 604800001: log.retention.ms is only 604800000."),
        ),
        ("1", ("max.connections", SET, "0"), (42, "max.connections cannot be 0: expected at least 1.")),
        (
            "1",
            ("max.connections.per.ip", SET, "0"),
            (42, "max.connections.per.ip cannot be 0 unless max.connections.per.ip.overrides lets somebody in."),
        ),
        (
            "1",
            ("max.connections.per.ip.overrides", SET, "127.0.0.1"),
            (42, "max.connections.per.ip.overrides cannot be 127.0.0.1: expected HOST:NUMBER."),
        ),
        ("1", ("max.connections.per.ip.overrides", SET, "127.0.0.1:5,::1:6"), NONE),
        (
            "1",
            ("log.cleaner.dedupe.buffer.size", SET, "5"),
            (42, "log.cleaner.dedupe.buffer.size and log.cleaner.threads leave each thread no more than 1 MiB."),
        ),
        ("1", ("cordoned.log.dirs", SET, "/x"), (42, "cordoned.log.dirs cannot be /x: log.dirs does not have /x.")),
        ("1", ("metric.reporters", SET, "x"), (42, "metric.reporters cannot be x: no class has this name.")),
        (
            "1",
            ("group.consumer.assignment.interval.ms", SET, "20000"),
            (
                42,
                "group.consumer.assignment.interval.ms cannot be 20000: expected group.consumer.min.assignment.interval.ms to group.consumer.max.assignment.interval.ms.",
            ),
        ),
        ("99", ("log.retention.ms", SET, "5"), (42, "This is broker 1; ask broker 99 about itself.")),
        ("abc", ("log.retention.ms", SET, "5"), (42, "A broker is named by its id, a number; abc is none.")),
    ],
)
def test_a_brokers_configs_follow_kafkas_rules(alter, name, change, answer):
    code, message = alter(BROKER, name, change)

    assert code == answer[0]
    assert message == answer[1] or answer[1] in message


@pytest.mark.parametrize(
    ("resource_type", "name", "change", "answer"),
    [
        (TOPIC, "", ("retention.ms", SET, "5"), (42, "The topic is not named, and topics have no configs in common.")),
        (TOPIC, "nope", ("retention.ms", SET, "5"), (3, "There is no topic nope.")),
        (TOPIC, "nope", ("retention.ms", SET, "x"), (40, "retention.ms cannot be x: expected a whole number of 64 bits.")),
        (TOPIC, "a b", ("retention.ms", SET, "5"), (17, "Topic name is invalid")),
        (TOPIC, "orders", ("retention.ms", 7, "5"), (-1, None)),
        (TOPIC, "orders", ("retention.ms", SET, None), (42, "No value is given for retention.ms.")),
        (TOPIC, "orders", ("foo", DELETE, None), NONE),
        (TOPIC, "orders", ("foo", SUBTRACT, "x"), (40, "SUBTRACT is for lists, and foo is none.")),
        (TOPIC, "orders", ("retention.ms", SET, "5" * 32767), (40, "retention.ms cannot be 55555555555555555")),
        (GROUP, "", ("consumer.session.timeout.ms", SET, "5"), (42, "The group is not named, and groups have no configs in common.")),
        (GROUP, "g", ("foo", SET, "5"), (40, "No group has a config foo.")),
        (
            GROUP,
            "g",
            ("share.delivery.count.limit", SET, "11"),
            (40, "share.delivery.count.limit=11 is above group.share.max.delivery.count.limit."),
        ),
        (
            GROUP,
            "g",
            ("share.record.lock.duration.ms", SET, "14999"),
            (40, "share.record.lock.duration.ms=14999 is below group.share.min.record.lock.duration.ms."),
        ),
        (
            GROUP,
            "g",
            ("streams.num.standby.replicas", SET, "3"),
            (40, "streams.num.standby.replicas=3 is above group.streams.max.standby.replicas."),
        ),
        (GROUP, "g", ("share.auto.offset.reset", SET, "by_duration:P1DT2H"), NONE),
        (
            GROUP,
            "g",
            ("share.auto.offset.reset", SET, "by_duration:-P1D"),
            (
                40,
                "share.auto.offset.reset cannot be by_duration:-P1D: expected earliest, latest, or by_duration: with an ISO 8601 duration behind it, such as by_duration:PT1H.",
            ),
        ),
        (
            GROUP,
            "g",
            ("share.auto.offset.reset", SET, "by_duration"),
            (
                40,
                "share.auto.offset.reset cannot be by_duration: expected earliest, latest, or by_duration: with an ISO 8601 duration behind it, such as by_duration:PT1H.",
            ),
        ),
        (CLIENT_METRICS, "", ("interval.ms", SET, "100"), (42, "The client metrics subscription is not named.")),
        (CLIENT_METRICS, "m", ("foo", SET, "100"), (42, "No client metrics subscription has a config foo.")),
        (CLIENT_METRICS, "m", ("interval.ms", SET, "99"), (42, "interval.ms cannot be 99: expected 100 to 3600000 (an hour).")),
        (
            CLIENT_METRICS,
            "m",
            ("match", SET, "client_id=["),
            (40, "match has client_id=[, which is no NAME=REGULAR EXPRESSION about a client."),
        ),
        (CLIENT_METRICS, "m", ("match", SET, "client_id=a.*,client_source_port=9.*"), NONE),
        (
            CLIENT_METRICS,
            "m",
            ("metrics", SET, "a,,b"),
            (40, "metrics cannot be a list with an empty item: write something between the commas."),
        ),
        (CLIENT_METRICS, "m", ("metrics", APPEND, "a"), (40, "APPEND is for lists, and metrics is none.")),
        (
            BROKER_LOGGER,
            "1",
            ("root", SET, "LOUD"),
            (40, "LOUD is no log level for root; there are DEBUG, ERROR, FATAL, INFO, TRACE, WARN."),
        ),
        (BROKER_LOGGER, "1", ("no.such", SET, "WARN"), (40, "There is no logger no.such.")),
        (BROKER_LOGGER, "1", ("root", DELETE, None), (42, "The root logger always has a level.")),
        (BROKER_LOGGER, "1", ("root", APPEND, "WARN"), (42, "APPEND is for lists, and a logger's level is none.")),
        (BROKER_LOGGER, "1", ("root", 7, "WARN"), (-1, None)),
        (BROKER_LOGGER, "", ("root", SET, "WARN"), (42, "A broker is named by its id, a number;  is none.")),
        (BROKER_LOGGER, "99", ("root", SET, "WARN"), (42, "This is broker 1; ask broker 99 about itself.")),
        *((unknown, "x", ("a", SET, "b"), (42, f"There is no resource type {unknown}.")) for unknown in (0, 1, 3, 64, -1)),
    ],
)
def test_other_resources_follow_kafkas_rules(alter, resource_type, name, change, answer):
    code, message = alter(resource_type, name, change)

    assert code == answer[0]
    assert message == answer[1] or answer[1] in message


def test_a_loggers_level_is_changed_and_follows_the_root_again(describe, alter):
    ours = logging.getLogger("pykbroker.tried")
    root = logging.getLogger("pykbroker")
    before = root.level
    try:
        assert alter(BROKER_LOGGER, "1", ("pykbroker.tried", SET, "DEBUG"), ("root", SET, "ERROR")) == NONE
        assert values(describe(BROKER_LOGGER, "1", ["pykbroker.tried", "root"])) == {"root": "ERROR", "pykbroker.tried": "DEBUG"}
        assert ours.isEnabledFor(logging.DEBUG)

        assert alter(BROKER_LOGGER, "1", ("pykbroker.tried", DELETE, None)) == NONE
        assert values(describe(BROKER_LOGGER, "1", ["pykbroker.tried"])) == {"pykbroker.tried": "ERROR"}
    finally:
        root.setLevel(before)
        ours.setLevel(logging.NOTSET)


# -- AlterConfigs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
def test_alter_configs_replaces_all_there_was(cluster, replace, version):
    assert replace(TOPIC, "orders", [("retention.ms", "5"), ("segment.ms", "6")], version=version) == NONE
    assert replace(TOPIC, "orders", [("segment.ms", "7")], version=version) == NONE
    assert cluster.config.overrides(TOPIC, "orders") == {"segment.ms": "7"}

    assert replace(TOPIC, "orders", [], version=version) == NONE
    assert cluster.config.overrides(TOPIC, "orders") == {}


def test_alter_configs_has_the_same_errors(cluster, replace):
    assert replace(TOPIC, "orders", [("a", "1"), ("a", "2")]) == (42, "A config is in the request more than once.")
    assert replace(TOPIC, "orders", [("a", None), ("b", None)]) == (42, "No value is given for a, b.")
    assert replace(TOPIC, "nope", [("segment.ms", "1")]) == (3, "There is no topic nope.")
    assert replace(BROKER, "", []) == (40, "With eligible leader replicas, the cluster keeps its min.insync.replicas.")
    assert replace(BROKER_LOGGER, "1", [("root", "WARN")])[0] == INVALID_REQUEST
    assert replace(TOPIC, "orders", [("segment.ms", "1")], validate_only=True) == NONE
    assert cluster.config.overrides(TOPIC, "orders") == {}


def test_a_resource_named_twice_fails_at_both_places(cluster, ask):
    asked = AlterConfigsRequest.AlterConfigsResource(resource_type=TOPIC, resource_name="orders")

    answer = ask(cluster, AlterConfigsRequest(resources=[asked, asked]), 2)

    assert [(each.error_code, each.error_message) for each in answer.responses] == [
        (42, "The resource is in the request more than once.")
    ] * 2


# -- ListConfigResources -------------------------------------------------------------------------------------------------


def test_everything_that_has_configs_is_listed_in_kafkas_order(cluster, ask, alter):
    alter(GROUP, "g", ("consumer.session.timeout.ms", SET, "50000"))
    alter(GROUP, "h", ("consumer.session.timeout.ms", SET, "50000"))
    alter(GROUP, "h", ("consumer.session.timeout.ms", DELETE, None))
    alter(CLIENT_METRICS, "m", ("interval.ms", SET, "100"))

    def listed(types, version=1):
        answer = ask(cluster, ListConfigResourcesRequest(resource_types=types), version)
        return answer.error_code, [(each.resource_type, each.resource_name) for each in answer.config_resources]

    everything = [(GROUP, "g"), (CLIENT_METRICS, "m"), (BROKER_LOGGER, "1"), (BROKER, "1"), (TOPIC, "orders")]
    assert listed([]) == (0, everything)
    assert listed([TOPIC, GROUP]) == (0, [(GROUP, "g"), (TOPIC, "orders")])
    assert listed([TOPIC, 1]) == (ErrorCode.UNSUPPORTED_VERSION, [])
    assert listed([], version=0) == (0, [(CLIENT_METRICS, "m")])


def test_a_resource_type_that_is_none_fails_all_that_are_described(cluster, ask):
    resources = [DescribeConfigsRequest.DescribeConfigsResource(resource_type=kind, resource_name="1") for kind in (BROKER, 3)]
    answer = ask(cluster, DescribeConfigsRequest(resources=resources), 4)
    assert [(one.resource_type, one.error_code, one.configs) for one in answer.results] == [(BROKER, 42, []), (3, 42, [])]


def test_an_operation_that_does_not_exist_fails_all_that_the_controller_would_decide(cluster, ask, describe):
    resource, config = IncrementalAlterConfigsRequest.AlterConfigsResource, IncrementalAlterConfigsRequest.AlterableConfig
    asked = [(32, "g", 0), (32, "h", 127), (TOPIC, "nobody", 0), (0, "x", 0), (BROKER, "77", 0), (32, "twice", 9), (32, "twice", 0)]
    resources = [
        resource(
            resource_type=kind,
            resource_name=name,
            configs=[config(name="consumer.session.timeout.ms", config_operation=operation, value="50000")],
        )
        for kind, name, operation in asked
    ]
    answer = ask(cluster, IncrementalAlterConfigsRequest(resources=resources), 1)
    assert [one.error_code for one in answer.responses] == [-1, -1, -1, 42, 42, 42, 42]
    assert values(describe(32, "g"))["consumer.session.timeout.ms"] == "45000"


@pytest.mark.parametrize(("operation", "error"), [(0, 42), (2, 40), (3, 40)])
def test_that_nothing_is_named_is_found_after_what_is_asked_of_its_configs(alter, operation, error):
    assert alter(TOPIC, "", ("retention.ms", operation, "1000"))[0] == error
