"""Kafka's configs as tables, and what a Configuration makes of them: typed, effective values, and clear refusals."""

import re
from pathlib import Path

import pytest

import pykbroker
from pykbroker.config import ConfigError, Configuration, ResourceType, TopicConfig, text_of
from pykbroker.config.configuration import GroupConfig, our_defaults
from pykbroker.config.definitions import (
    ConfigType,
    ConfigValueError,
    Value,
    definitions,
    documentation,
    effects,
)
from pykbroker.config.page import page
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ConfigRecord

ROOT = Path(__file__).parent.parent.parent
KINDS = (ResourceType.TOPIC, ResourceType.BROKER, ResourceType.GROUP, ResourceType.CLIENT_METRICS)
ALL_BROKERS = ""


def put(configuration: Configuration, resource_type: ResourceType, resource: str, name: str, value: str | None) -> None:
    configuration.replay(ConfigRecord(resource_type=resource_type, resource_name=resource, name=name, value=value))


# -- the tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_obeys_its_own_rule_and_is_written_back_as_it_stands(kind: ResourceType) -> None:
    for definition in definitions(kind).values():
        if definition.default_text is not None:
            assert text_of(definition.parse_checked(definition.default_text)) == definition.default_text, definition.name


def test_there_are_as_many_configs_as_kafka_lists() -> None:
    listed = {kind: sum(not definition.internal for definition in definitions(kind).values()) for kind in KINDS}

    assert listed == {ResourceType.TOPIC: 33, ResourceType.BROKER: 340, ResourceType.GROUP: 17, ResourceType.CLIENT_METRICS: 3}


def test_as_many_broker_configs_are_read_only_per_broker_and_per_listener_as_in_kafka() -> None:
    listed = [definition.update for definition in definitions(ResourceType.BROKER).values() if not definition.internal]

    assert (listed.count("read-only"), listed.count("broker"), listed.count("listener")) == (241, 27, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_every_config_has_a_sentence_and_says_whether_it_takes_effect(kind: ResourceType) -> None:
    assert documentation(kind).keys() == effects(kind).keys() == definitions(kind).keys()
    assert all(sentence.endswith(".") for sentence in documentation(kind).values())
    assert all(effects(kind).values())


def test_a_config_that_is_said_to_take_effect_is_read_somewhere() -> None:
    package = Path(pykbroker.__file__).parent
    sources = [
        path
        for folder in (package, package / "storage")
        for path in folder.rglob("*.py")
        if path.parent != package / "config" or path.name == "rules.py"  # which has configs that are bounds of others
    ]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    attributes = set(re.findall(r"\.([a-z][a-z0-9_]+)\b", text))
    topic_keys = {definition.broker_key: name for name, definition in definitions(ResourceType.TOPIC).items()}
    internal_topics = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    # read in configuration.py, in place of another config
    stand_ins = {
        "log.retention.minutes",
        "log.retention.hours",
        "log.roll.hours",
        "log.roll.jitter.hours",
        "broker.id",
        "process.roles",
        "log.flush.scheduler.interval.ms",
    }

    def is_read(kind: ResourceType, name: str) -> bool:
        if kind is ResourceType.TOPIC:
            return name.replace(".", "_") in attributes or name == "internal.segment.bytes"
        if f'"{name}"' in text or name in stand_ins:
            return True
        if any(name.startswith(f"{prefix}.") and f'}}.{name.removeprefix(f"{prefix}.")}"' in text for prefix in internal_topics):
            return True
        return name in topic_keys and is_read(ResourceType.TOPIC, topic_keys[name])

    unread = [name for kind in KINDS for name, effect in effects(kind).items() if effect == "yes" and not is_read(kind, name)]

    assert " ".join(unread) == ""


def test_configs_of_compaction_take_effect_when_there_is_compaction() -> None:
    compacting = (Path(pykbroker.__file__).parent / "storage" / "cleaner.py").exists()
    names = ("delete.retention.ms", "max.compaction.lag.ms", "min.cleanable.dirty.ratio", "min.compaction.lag.ms")

    assert [effects(ResourceType.TOPIC)[name] == "yes" for name in names] == [compacting] * len(names)
    assert (effects(ResourceType.BROKER)["log.cleaner.enable"] == "yes") == compacting


def test_the_page_of_configs_is_fresh() -> None:
    assert (ROOT / "docs" / "CONFIGS.md").read_text("utf-8") == page(), "run: python -m pykbroker.config.page > docs/CONFIGS.md"


def test_topic_and_group_configs_have_the_fields_and_types_of_their_tables() -> None:
    types = {
        ConfigType.BOOLEAN: bool, ConfigType.INT: int, ConfigType.LONG: int, ConfigType.DOUBLE: float, ConfigType.STRING: str, ConfigType.LIST: list[str],
    }  # fmt: skip
    for kind, typed in ((ResourceType.TOPIC, TopicConfig), (ResourceType.GROUP, GroupConfig)):
        expected: dict[str, object] = {
            name.replace(".", "_"): types[definition.type] for name, definition in definitions(kind).items() if not definition.internal
        }
        if typed is TopicConfig:
            expected["cleanup_policy"] = frozenset[str]
        assert typed.__annotations__ == expected


# -- values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (ConfigType.BOOLEAN, " TRUE ", True),
        (ConfigType.INT, " +077 ", 77),
        (ConfigType.INT, "-2147483648", -2147483648),
        (ConfigType.LONG, "9223372036854775807", 9223372036854775807),
        (ConfigType.DOUBLE, "0.5f", 0.5),
        (ConfigType.DOUBLE, "1e3", 1000.0),
        (ConfigType.LIST, " delete , compact ,delete", ["delete", "compact"]),
        (ConfigType.LIST, "", []),
    ],
)
def test_values_are_read_as_kafka_reads_them(type_: ConfigType, text: str, value: Value) -> None:
    definition = next(each for each in definitions(ResourceType.BROKER).values() if each.type is type_)

    assert definition.parse(text) == value


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (ConfigType.BOOLEAN, "yes"), (ConfigType.BOOLEAN, "1"), (ConfigType.BOOLEAN, ""),
        (ConfigType.INT, "2147483648"), (ConfigType.INT, "1_0"), (ConfigType.INT, "٣"), (ConfigType.INT, "1.0"), (ConfigType.INT, "9" * 5000),
        (ConfigType.SHORT, "32768"), (ConfigType.LONG, "9223372036854775808"), (ConfigType.LONG, ""), (ConfigType.LONG, "0x10"),
        (ConfigType.DOUBLE, "x"), (ConfigType.DOUBLE, ""), (ConfigType.DOUBLE, "1__0"),
    ],
)  # fmt: skip
def test_values_of_another_type_are_refused(type_: ConfigType, text: str) -> None:
    definition = next(each for each in definitions(ResourceType.BROKER).values() if each.type is type_)

    with pytest.raises(ConfigValueError):
        definition.parse(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"), (1.0, "1.0"), (-0.25, "-0.25"), (0.0, "0.0"), (1234567.5, "1234567.5"), (1e7, "1.0E7"), (12345678.9, "1.23456789E7"),
        (0.001, "0.001"), (0.00012, "1.2E-4"), (1.7976931348623157e308, "1.7976931348623157E308"), (float("inf"), "Infinity"),
    ],
)  # fmt: skip
def test_doubles_are_written_as_java_writes_them(value: float, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("compression.gzip.level", "0", "compression.gzip.level cannot be 0: expected -1, or 1 to 9."),
        ("min.cleanable.dirty.ratio", "1.5", "min.cleanable.dirty.ratio cannot be 1.5: expected at most 1."),
        ("min.cleanable.dirty.ratio", "-1", "min.cleanable.dirty.ratio cannot be -1.0: expected at least 0."),
        ("segment.bytes", "100", "segment.bytes cannot be 100: expected at least 1048576."),
        ("retention.ms", "-2", "retention.ms cannot be -2: expected at least -1."),
        ("retention.ms", "abc", "retention.ms cannot be abc: expected a whole number of 64 bits."),
        ("cleanup.policy", "delete,foo,bar", "cleanup.policy cannot be foo: expected some of compact, delete."),
        ("cleanup.policy", ",delete", "cleanup.policy cannot be a list with an empty item: write something between the commas."),
        ("preallocate", "yes", "preallocate cannot be yes: expected true or false."),
        (
            "leader.replication.throttled.replicas",
            "foo",
            "leader.replication.throttled.replicas cannot be [foo]: expected * for all, or a list of PARTITION:BROKER.",
        ),
        ("foo", "1", "No topic has a config foo."),
        ("remote.storage.enable", "true", "remote.storage.enable cannot be true: there is no tiered storage here."),
    ],
)
def test_a_topics_config_is_refused_with_its_reason(name: str, value: str, sentence: str) -> None:
    with pytest.raises(KafkaError) as refused:
        Configuration({}).validate_topic_configs({name: value})

    assert refused.value.error_code == ErrorCode.INVALID_CONFIG
    assert sentence in refused.value.message


def test_two_configs_of_a_topic_may_contradict_each_other() -> None:
    with pytest.raises(KafkaError) as refused:
        Configuration({}).validate_topic_configs({"min.compaction.lag.ms": "100", "max.compaction.lag.ms": "50"})

    assert refused.value.message == "min.compaction.lag.ms=100 is longer than max.compaction.lag.ms=50."


# -- where a value comes from ------------------------------------------------------------------------------------------------


def test_the_most_specific_value_of_a_broker_holds() -> None:
    configuration = Configuration({"log.segment.bytes": "2000000", "node.id": "7"})
    assert configuration.broker("log.segment.bytes") == 2000000
    put(configuration, ResourceType.BROKER, ALL_BROKERS, "log.segment.bytes", "3000000")
    assert configuration.broker("log.segment.bytes") == 3000000
    put(configuration, ResourceType.BROKER, "7", "log.segment.bytes", "4000000")
    assert configuration.broker("log.segment.bytes") == 4000000
    assert configuration.broker("log.segment.bytes", node_id=8) == 3000000
    put(configuration, ResourceType.BROKER, ALL_BROKERS, "log.segment.bytes", None)
    put(configuration, ResourceType.BROKER, "7", "log.segment.bytes", None)
    assert configuration.broker("log.segment.bytes") == 2000000


@pytest.mark.parametrize(
    ("settings", "retention_ms"),
    [
        ({}, 604800000),
        ({"log.retention.hours": "2"}, 7200000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3"}, 180000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3", "log.retention.ms": "4"}, 4),
        ({"log.retention.minutes": "-1"}, -1),
    ],
)
def test_the_finer_unit_of_time_wins(settings: dict[str, str], retention_ms: int) -> None:
    assert Configuration(settings).topic("orders").retention_ms == retention_ms


def test_a_topic_follows_the_broker_until_it_has_a_value_of_its_own() -> None:
    configuration = Configuration({})
    put(configuration, ResourceType.BROKER, ALL_BROKERS, "log.retention.ms", "1000")
    put(configuration, ResourceType.TOPIC, "orders", "retention.ms", "5")
    put(configuration, ResourceType.TOPIC, "orders", "cleanup.policy", "compact,delete")

    assert configuration.topic("other").retention_ms == 1000
    assert configuration.topic("orders").retention_ms == 5
    assert configuration.topic("orders").cleanup_policy == {"compact", "delete"}

    configuration.forget(ResourceType.TOPIC, "orders")
    assert configuration.topic("orders").retention_ms == 1000


def test_a_topics_configs_are_one_object_until_something_changes() -> None:
    configuration = Configuration({})
    put(configuration, ResourceType.TOPIC, "orders", "retention.ms", "5")
    first = configuration.topic("orders")
    assert configuration.topic("orders") is first
    assert configuration.topic("a") is configuration.topic("b")

    put(configuration, ResourceType.TOPIC, "other", "retention.ms", "6")
    assert configuration.topic("orders") is first
    put(configuration, ResourceType.BROKER, ALL_BROKERS, "log.segment.bytes", "3000000")
    assert configuration.topic("orders").segment_bytes == 3000000


def test_who_wants_to_know_is_told_what_changed() -> None:
    configuration = Configuration({})
    told: list[tuple[ResourceType, str]] = []
    configuration.on_change.append(lambda kind, name: told.append((kind, name)))

    put(configuration, ResourceType.TOPIC, "orders", "retention.ms", "5")
    configuration.forget(ResourceType.TOPIC, "orders")
    configuration.forget(ResourceType.TOPIC, "never there")

    assert told == [(ResourceType.TOPIC, "orders"), (ResourceType.TOPIC, "orders")]


def test_a_segment_may_be_tiny_for_tests() -> None:
    configuration = Configuration({})
    put(configuration, ResourceType.TOPIC, "orders", "internal.segment.bytes", "100")

    assert configuration.topic("orders").segment_bytes == 100
    assert "internal.segment.bytes" in [described.name for described in configuration.described_topic("orders")]
    assert "internal.segment.bytes" not in [described.name for described in configuration.described_topic("payments")]


def test_what_an_older_log_has_and_we_would_refuse_counts_as_not_there() -> None:
    configuration = Configuration({})
    put(configuration, ResourceType.TOPIC, "orders", "retention.ms", "soon")
    put(configuration, ResourceType.BROKER, ALL_BROKERS, "log.segment.bytes", "large")

    assert configuration.topic("orders").retention_ms == 604800000
    assert configuration.broker("log.segment.bytes") == 1073741824


def test_our_defaults_give_way_to_what_is_given_and_follow_the_number_of_brokers() -> None:
    configuration = Configuration({"offsets.topic.num.partitions": "50"}, broker_count=5)

    assert configuration.broker("offsets.topic.num.partitions") == 50
    assert configuration.broker("offsets.topic.replication.factor") == 3
    assert configuration.broker("group.initial.rebalance.delay.ms") == 0
    assert "offsets.topic.num.partitions" not in configuration.differing_defaults
    assert our_defaults(1)["offsets.topic.replication.factor"].value == "1"


def test_the_old_name_of_the_nodes_id_still_counts() -> None:
    assert Configuration({"broker.id": "5"}).integer("node.id") == 5
    assert Configuration({"node.id": "6"}).integer("broker.id") == 6


# -- refused at the start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "log.segment.bytes",
            "1GB",
            "log.segment.bytes=1GB in my.properties line 12 is not a number of bytes; write 1073741824 (at least 1048576).",
        ),
        ("log.retention.ms", "7d", "log.retention.ms=7d in my.properties line 12 is not a number of milliseconds; write 604800000."),
        ("log.segment.bytes", "5", "log.segment.bytes=5 in my.properties line 12 is out of range; write at least 1048576."),
        ("compression.gzip.level", "0", "compression.gzip.level=0 in my.properties line 12 is out of range; write 1 to 9, or -1."),
        (
            "num.partitions",
            "many",
            "num.partitions=many in my.properties line 12 is not a whole number; write for instance 1 (at least 1).",
        ),
        ("delete.topic.enable", "yes", "delete.topic.enable=yes in my.properties line 12 is not true or false; write one of the two."),
        ("log.cleaner.min.cleanable.ratio", "half", "is not a number; write for instance 0.5 (0 to 1)."),
        ("compression.type", "lzo", "is not possible; write one of uncompressed, zstd, lz4, snappy, gzip, producer."),
        ("log.cleanup.policy", "delete,shrink", "is not possible; write any of compact, delete."),
        ("log.retention.hours", "0", "is not possible; write -1 to keep records for ever, or at least 1."),
        (
            "log.segmnet.bytes",
            "1",
            "log.segmnet.bytes in my.properties line 12 is not a config of the broker; did you mean log.segment.bytes?",
        ),
        ("nothing.like.it.at.all", "1", "is not a config of the broker; Kafka 4.3 has no such config."),
        ("retention.ms", "1", "is a topic's config; the broker calls it log.retention.ms."),
        ("flush.it", "1", "is not a config of the broker"),
        ("zookeeper.connect", "localhost", "zookeeper.connect in my.properties line 12 left Kafka with 4.0; delete it."),
        ("listener.name.external.ssl.client.auth", "maybe", "is not possible; write one of required, requested, none."),
        ("listener.name.external.no.such", "1", "is not a config of the broker"),
        ("authorizer.class.name", "my.Authorizer", "cannot be served: access control lists are not enforced yet."),
        ("create.topic.policy.class.name", "my.Policy", "cannot be served"),
        ("remote.log.storage.system.enable", "true", "there is no tiered storage here."),
        ("process.roles", "controller", "every process here is a broker; write broker,controller."),
        ("group.min.session.timeout.ms", "1800001", "group.min.session.timeout.ms=1800001 is above group.max.session.timeout.ms=1800000"),
    ],
)
def test_an_impossible_setting_is_refused_with_the_way_out(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Configuration({name: value}, origins={name: "my.properties line 12"})

    assert sentence in str(refused.value)


def test_a_listeners_own_settings_and_those_of_plug_ins_are_taken() -> None:
    Configuration({"listener.name.external.scram-sha-256.sasl.jaas.config": "x", "rsm.config.bucket": "b"})
