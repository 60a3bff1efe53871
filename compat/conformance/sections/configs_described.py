"""K: DescribeConfigs and ListConfigResources: what is told of which resource, and where a value comes from."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, NULL_OR_EMPTY, expect, expect_equal, expect_that, one_of
from pykbroker.compat.steps.configs import (
    ALL_BROKERS,
    BROKER,
    BROKER_LOGGER,
    CLIENT_METRICS,
    DELETE,
    GROUP,
    TOPIC,
    Change,
    alter,
    describe,
    entry,
    own_id,
)
from pykbroker.compat.steps.topics import offsets_topic
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DescribeConfigsRequest, ListConfigResourcesRequest

FROM_TOPIC, FROM_BROKER, FROM_ALL_BROKERS, FROM_FILE, FROM_DEFAULT = 1, 2, 3, 4, 5
FROM_METRICS, FROM_GROUP = 7, 8
BOOLEAN, STRING, INT, LONG, DOUBLE, LIST, PASSWORD = 1, 2, 3, 5, 6, 7, 9
TOPIC_CONFIGS, GROUP_CONFIGS, CLIENT_METRICS_CONFIGS = 33, 17, 3
NO_BROKER = "9999"
DYNAMIC = "log.cleaner.delete.retention.ms"
DYNAMIC_DEFAULT = "86400000"
FIRST_THREE = ["compression.type", "remote.log.delete.on.disable", "leader.replication.throttled.replicas"]
UPDATED_WHILE_RUNNING = ("log.retention.ms", "num.io.threads", "message.max.bytes", "log.cleaner.threads", "max.connections")
FIXED_AT_THE_START = ("process.roles", "node.id", "num.partitions", "auto.create.topics.enable")


@check("K-01a", api="DescribeConfigs", versions="1-4")
def every_config_of_a_topic_is_described(target: Target, version: int) -> None:
    """Given a topic with one override, all 33 configs are told, in Kafka's own order, that one with source 1, error_message empty, and neither
    synonyms nor documentation unless asked for; types from v3 on. KIP-133, KIP-226, KIP-569.
    """
    topic = target.new_topic(retention_ms="1234567", cleanup_policy="compact")

    described = describe(target, TOPIC, topic.name, version=version)

    expect(described, error_code=ErrorCode.NONE, error_message="", resource_type=TOPIC, resource_name=topic.name)
    names = [one.name for one in described.configs]
    expect_equal("the number of configs", len(set(names)), TOPIC_CONFIGS)
    expect_equal("the number of entries", len(names), TOPIC_CONFIGS)
    expect_equal("the first three", names[:3], FIRST_THREE)
    by_name = {one.name: one for one in described.configs}
    expect(by_name["retention.ms"], value="1234567", config_source=FROM_TOPIC, config_type=LONG if version >= 3 else 0)
    expect(by_name["cleanup.policy"], value="compact", config_source=FROM_TOPIC, config_type=LIST if version >= 3 else 0)
    expect(by_name["preallocate"], value="false", config_source=FROM_DEFAULT, config_type=BOOLEAN if version >= 3 else 0)
    expect(by_name["min.cleanable.dirty.ratio"], value="0.5", config_source=FROM_DEFAULT, config_type=DOUBLE if version >= 3 else 0)
    expect(by_name["compression.type"], value="producer", config_source=FROM_DEFAULT, config_type=STRING if version >= 3 else 0)
    for one in described.configs:
        expect(one, synonyms=[], documentation=NULL_OR_EMPTY if version < 3 else None, is_sensitive=False, read_only=False)


@check("K-01b", api="DescribeConfigs", versions="1-4")
def synonyms_tell_where_a_value_comes_from(target: Target, version: int) -> None:
    """Given include_synonyms, an override stands before the broker's configs that it hides, the most specific first; a default whose broker
    configs are not set, or that has none, has no synonyms. KIP-226.
    """
    topic = target.new_topic(retention_ms="1234567")

    described = describe(target, TOPIC, topic.name, version=version, synonyms=True)

    found = {one.name: [(each.name, each.value, each.source) for each in one.synonyms] for one in described.configs}
    expect_equal("of retention.ms", found["retention.ms"], [("retention.ms", "1234567", FROM_TOPIC)])
    expect_equal("of max.message.bytes", found["max.message.bytes"], [("message.max.bytes", "1048588", FROM_DEFAULT)])
    expect_equal("of flush.ms", found["flush.ms"], [])
    expect_equal("of segment.ms", found["segment.ms"], [])
    expect_equal("of leader.replication.throttled.replicas", found["leader.replication.throttled.replicas"], [])


@check("K-01c", api=("DescribeConfigs", "IncrementalAlterConfigs"), alone=True)
def the_brokers_stand_behind_a_topic(target: Target) -> None:
    """Given a config set for all brokers and for the broker that answers, a topic's has both as synonyms, the broker's first, and its value and
    source (2); without that, of all brokers (3); without both the default (5). KIP-226.
    """
    topic, broker = target.new_topic(), own_id(target)
    key = "delete.retention.ms"
    target.unset_after(BROKER, ALL_BROKERS, DYNAMIC)
    target.unset_after(BROKER, broker, DYNAMIC)
    expect(alter(target, BROKER, ALL_BROKERS, [Change(DYNAMIC, "3333333")]), error_code=ErrorCode.NONE)
    expect(alter(target, BROKER, broker, [Change(DYNAMIC, "2222222")]), error_code=ErrorCode.NONE)

    both = eventually(lambda: entry(target, TOPIC, topic.name, key), lambda one: one.value == "2222222", "the broker's value holds")
    alter(target, BROKER, broker, [Change(DYNAMIC, None, DELETE)])
    cluster = eventually(lambda: entry(target, TOPIC, topic.name, key), lambda one: one.value == "3333333", "that of all brokers holds")
    alter(target, BROKER, ALL_BROKERS, [Change(DYNAMIC, None, DELETE)])
    default = eventually(lambda: entry(target, TOPIC, topic.name, key), lambda one: one.value == DYNAMIC_DEFAULT, "the default holds")

    expect_equal("the synonyms with both", [one.source for one in both.synonyms], [FROM_BROKER, FROM_ALL_BROKERS, FROM_DEFAULT])
    expect_equal("the synonyms with one", [one.source for one in cluster.synonyms], [FROM_ALL_BROKERS, FROM_DEFAULT])
    expect_equal("the sources", [one.config_source for one in (both, cluster, default)], [FROM_BROKER, FROM_ALL_BROKERS, FROM_DEFAULT])


@check("K-01e", api=("DescribeConfigs", "IncrementalAlterConfigs"), alone=True)
def one_config_of_the_broker_stands_in_for_another(target: Target) -> None:
    """Given log.retention.ms set for all brokers, a topic's retention.ms has as synonyms its own value, that one, and log.retention.hours, which
    is looked at last. KIP-226.
    """
    topic = target.new_topic(retention_ms="1234567")
    target.unset_after(BROKER, ALL_BROKERS, "log.retention.ms")
    expect(alter(target, BROKER, ALL_BROKERS, [Change("log.retention.ms", "7777777")]), error_code=ErrorCode.NONE)

    told = eventually(lambda: entry(target, TOPIC, topic.name, "retention.ms"), lambda one: len(one.synonyms) > 1, "there are synonyms")

    found = [(one.name, one.value, one.source) for one in told.synonyms]
    wanted = [("retention.ms", "1234567", FROM_TOPIC), ("log.retention.ms", "7777777", FROM_ALL_BROKERS)]
    expect_equal("the synonyms", found, [*wanted, ("log.retention.hours", "168", FROM_DEFAULT)])


@check("K-01d", api="DescribeConfigs", versions="3-4")
def documentation_is_told_when_asked(target: Target, version: int) -> None:
    """Given include_documentation, every config of a topic and of the broker has a sentence about it. KIP-569."""
    for resource_type, name in ((TOPIC, target.new_topic().name), (BROKER, own_id(target))):
        described = describe(target, resource_type, name, version=version, documentation=True)

        expect(described, error_code=ErrorCode.NONE, configs=NOT_EMPTY)
        silent = [one.name for one in described.configs if not one.documentation]
        expect_equal("the configs without documentation", silent, [])


@check("K-02a", api="DescribeConfigs", versions="1-4")
def only_the_configs_asked_for_are_described(target: Target, version: int) -> None:
    """Given names, one twice and one that no config has, those are told once each, in the order of the full list, and the unknown one not at
    all. KIP-133.
    """
    topic = target.new_topic()
    everything = [one.name for one in describe(target, TOPIC, topic.name, version=version).configs]
    asked = ["segment.bytes", "retention.ms", "cleanup.policy", "no.such.config", "retention.ms"]

    described = describe(target, TOPIC, topic.name, asked, version=version)

    expect(described, error_code=ErrorCode.NONE)
    expect_equal("the names", [one.name for one in described.configs], [name for name in everything if name in asked])
    expect_equal("the number of names", len(described.configs), 3)


@check("K-02b", api="DescribeConfigs", versions="1-4")
def no_names_means_every_config(target: Target, version: int) -> None:
    """Given an empty array of names, or null, every config is told; a resource asked for twice is answered twice."""
    topic = target.new_topic()
    no_names: tuple[list[str] | None, ...] = ([], None)
    resources = [
        DescribeConfigsRequest.DescribeConfigsResource(resource_type=TOPIC, resource_name=topic.name, configuration_keys=keys)
        for keys in no_names
    ]

    answer = target.ask(DescribeConfigsRequest(resources=resources), version)

    expect_equal("the resources", [one.resource_name for one in answer.results], [topic.name] * 2)
    expect_equal("the numbers of configs", [len(one.configs) for one in answer.results], [TOPIC_CONFIGS] * 2)


@check("K-03a", api="DescribeConfigs", versions="1-4")
def a_topic_that_is_not_there_has_no_configs(target: Target, version: int) -> None:
    """Given a name that no topic has, UNKNOWN_TOPIC_OR_PARTITION with an empty message; one that none can have, INVALID_TOPIC_EXCEPTION and
    why.
    """
    expect(
        describe(target, TOPIC, target.new_name("topic"), version=version),
        error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        error_message="",
        configs=[],
    )
    for name in ("", "a b"):
        refused = describe(target, TOPIC, name, version=version)

        expect(refused, resource_name=name, error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, error_message=NOT_EMPTY, configs=[])


@check("K-03b", api="DescribeConfigs", versions="1-4")
def another_broker_is_not_described(target: Target, version: int) -> None:
    """Given the id of another broker, or what is no id, or for the loggers none at all, INVALID_REQUEST says why."""
    for resource_type, name in (
        (BROKER, NO_BROKER),
        (BROKER, "abc"),
        (BROKER_LOGGER, NO_BROKER),
        (BROKER_LOGGER, ""),
        (BROKER_LOGGER, "abc"),
    ):
        refused = describe(target, resource_type, name, version=version)

        expect_equal(f"the error of {resource_type} {name!r}", refused.error_code, ErrorCode.INVALID_REQUEST)
        expect(refused, resource_name=name, resource_type=resource_type, error_message=NOT_EMPTY, configs=[])


@check("K-03c", api="DescribeConfigs", versions="1-4")
def a_kind_of_resource_that_is_none_is_refused(target: Target, version: int) -> None:
    """Given a resource type of 0, 1, 3, 64 or -1, INVALID_REQUEST, with the type as it was."""
    for resource_type in (0, 1, 3, 64, -1):
        refused = describe(target, resource_type, "name", version=version)

        expect(refused, resource_type=resource_type, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY, configs=[])


@check("K-03d", api="DescribeConfigs", versions="1-4")
def groups_and_metrics_need_not_be_there(target: Target, version: int) -> None:
    """Given a GROUP or CLIENT_METRICS that nobody configured, all its configs are told with their defaults, 17 and 3; without a name it is
    INVALID_REQUEST. KIP-714, KIP-848.
    """
    for resource_type, count in ((GROUP, GROUP_CONFIGS), (CLIENT_METRICS, CLIENT_METRICS_CONFIGS)):
        described = describe(target, resource_type, target.new_name(), version=version)
        refused = describe(target, resource_type, "", version=version)

        expect(described, error_code=ErrorCode.NONE, error_message="")
        expect_equal("the number of configs", len(described.configs), count)
        for one in described.configs:
            expect(one, config_source=one_of(FROM_DEFAULT, FROM_FILE), read_only=False)
        expect(refused, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY, configs=[])


@check("K-04a", api=("DescribeConfigs", "IncrementalAlterConfigs"), versions="1-4", alone=True)
def no_brokers_id_means_what_was_set_for_all(target: Target, version: int) -> None:
    """Given a config set for all brokers, BROKER with an empty name tells of it with source 3 and no other synonym, and of no config that nobody
    set. KIP-226.
    """
    target.unset_after(BROKER, ALL_BROKERS, DYNAMIC)
    expect(alter(target, BROKER, ALL_BROKERS, [Change(DYNAMIC, "3333333")]), error_code=ErrorCode.NONE)

    described = eventually(
        lambda: describe(target, BROKER, ALL_BROKERS, version=version, synonyms=True),
        lambda found: DYNAMIC in {one.name for one in found.configs},
        "the config is told",
    )

    expect(described, error_code=ErrorCode.NONE, error_message="")
    one = next(one for one in described.configs if one.name == DYNAMIC)
    expect(one, value="3333333", config_source=FROM_ALL_BROKERS, read_only=False, is_sensitive=False)
    for each in described.configs:
        expect(each, config_source=FROM_ALL_BROKERS)
        expect_equal("the sources of its synonyms", [synonym.source for synonym in each.synonyms], [FROM_ALL_BROKERS])
    expect_that(len(described.configs) < 10, "nothing else is told")


@check("K-04b", api="DescribeConfigs", versions="1-4")
def a_broker_tells_every_config(target: Target, version: int) -> None:
    """Given the id of the broker that answers, all its configs are told: those of the start read only, the others not, passwords without their
    value and sensitive, also where there is none. KIP-133, KIP-226.
    """
    broker = own_id(target)

    described = describe(target, BROKER, broker, version=version)

    expect(described, error_code=ErrorCode.NONE, error_message="", resource_name=broker)
    by_name = {one.name: one for one in described.configs}
    expect_equal("the number of entries", len(described.configs), len(by_name))
    expect_that(len(by_name) > 300, f"more than 300 configs are told, not {len(by_name)}")
    for name in UPDATED_WHILE_RUNNING:
        expect(by_name[name], read_only=False)
    for name in FIXED_AT_THE_START:
        expect(by_name[name], read_only=True, value=NOT_EMPTY)
    expect(by_name["ssl.keystore.password"], value=None, is_sensitive=True, config_type=PASSWORD if version >= 3 else 0)
    expect(by_name["log.retention.ms"], value=None, is_sensitive=False, config_source=FROM_DEFAULT)
    expect(by_name["log.retention.hours"], value="168", config_type=INT if version >= 3 else 0)
    expect(by_name["node.id"], value=broker, config_source=FROM_FILE)


@check("K-04c", api=("DescribeConfigs", "IncrementalAlterConfigs"), alone=True)
def a_brokers_own_value_hides_that_of_all(target: Target) -> None:
    """Given a config set for all brokers and for one, that one tells its own (source 2), then that of all (3), then the default (5). KIP-226."""
    broker = own_id(target)
    target.unset_after(BROKER, ALL_BROKERS, DYNAMIC)
    target.unset_after(BROKER, broker, DYNAMIC)

    expect(alter(target, BROKER, ALL_BROKERS, [Change(DYNAMIC, "3333333")]), error_code=ErrorCode.NONE)
    expect(alter(target, BROKER, broker, [Change(DYNAMIC, "2222222")]), error_code=ErrorCode.NONE)
    told = eventually(lambda: entry(target, BROKER, broker, DYNAMIC), lambda one: one.value == "2222222", "the broker's own value is told")

    expect(told, config_source=FROM_BROKER)
    found = [(one.name, one.value, one.source) for one in told.synonyms]
    wanted = [(DYNAMIC, "2222222", FROM_BROKER), (DYNAMIC, "3333333", FROM_ALL_BROKERS), (DYNAMIC, DYNAMIC_DEFAULT, FROM_DEFAULT)]
    expect_equal("the synonyms", found, wanted)


@check("K-09a", api=("ListConfigResources", "IncrementalAlterConfigs"), versions="0-1")
def metrics_subscriptions_are_listed(target: Target, version: int) -> None:
    """Given a client metrics subscription, ListConfigResources v0 lists such and nothing else, v1 with an empty array also the groups that have
    configs, the brokers, their loggers and the topics, in this order of kinds. KIP-714, KIP-1142.
    """
    topic, metrics, group, unset = target.new_topic(), target.new_name("metrics"), target.new_group(), target.new_group()
    target.unset_after(CLIENT_METRICS, metrics, "interval.ms")
    target.unset_after(GROUP, group, "consumer.session.timeout.ms")
    expect(alter(target, CLIENT_METRICS, metrics, [Change("interval.ms", "5000")]), error_code=ErrorCode.NONE)
    expect(alter(target, GROUP, group, [Change("consumer.session.timeout.ms", "50000")]), error_code=ErrorCode.NONE)

    def listed() -> list[tuple[int, str]]:
        answer = target.ask(ListConfigResourcesRequest(resource_types=[]), version)
        expect(answer, error_code=ErrorCode.NONE)
        kinds = [one.resource_type for one in answer.config_resources] if version else [CLIENT_METRICS] * len(answer.config_resources)
        return [(kind, one.resource_name) for kind, one in zip(kinds, answer.config_resources, strict=True)]

    found = eventually(
        listed, lambda found: (CLIENT_METRICS, metrics) in found and (not version or (GROUP, group) in found), "they are listed"
    )
    if version == 0:
        expect_that(topic.name not in {name for _, name in found}, "no topic is listed")
        return
    expect_that({(TOPIC, topic.name), (BROKER, own_id(target)), (BROKER_LOGGER, own_id(target))} <= set(found), "the others are listed")
    expect_that((GROUP, unset) not in found, "a group without configs is not listed")
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    expect_equal("the kinds, in order", kinds, [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC])


@check("K-09b", api="ListConfigResources", versions="1-1")
def only_the_kinds_asked_for_are_listed(target: Target, version: int) -> None:
    """Given kinds of resources, those are listed; with one among them that is none, UNSUPPORTED_VERSION and nothing. KIP-1142."""
    topic = target.new_topic()

    topics = target.ask(ListConfigResourcesRequest(resource_types=[TOPIC]), version)
    refused = target.ask(ListConfigResourcesRequest(resource_types=[TOPIC, 3]), version)

    expect(topics, error_code=ErrorCode.NONE)
    expect_equal("the kinds", {one.resource_type for one in topics.config_resources}, {TOPIC})
    expect_that(topic.name in {one.resource_name for one in topics.config_resources}, "the topic is listed")
    expect(refused, error_code=ErrorCode.UNSUPPORTED_VERSION, config_resources=[])


@check("K-09c", api=("ListConfigResources", "FindCoordinator"), versions="1-1")
def internal_topics_are_listed_too(target: Target, version: int) -> None:
    """Given __consumer_offsets, it is listed among the topics. KIP-1142."""
    internal = offsets_topic(target)

    topics = target.ask(ListConfigResourcesRequest(resource_types=[TOPIC]), version)

    expect_that(internal.name in {one.resource_name for one in topics.config_resources}, "the topic of the offsets is listed")
