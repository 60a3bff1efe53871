"""K: IncrementalAlterConfigs and AlterConfigs: what may be set, appended, taken away and replaced, and what is refused."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, Unexpected, expect, expect_equal
from pykbroker.compat.steps.configs import (
    ALL_BROKERS,
    APPEND,
    BROKER,
    CLIENT_METRICS,
    DELETE,
    GROUP,
    SET,
    SUBTRACT,
    TOPIC,
    Change,
    Described,
    Refusal,
    alter,
    alter_all,
    describe,
    entry,
    own_id,
    replace,
)
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response
from pykbroker.protocol.messages import AlterConfigsRequest, AlterConfigsResponse, CreateTopicsRequest

FROM_TOPIC, FROM_DEFAULT, UNKNOWN_TYPE = 1, 5, 0
RETENTION_MS = "604800000"
DONE = Refusal(ErrorCode.NONE, None)
NO_BROKER = "9999"


@check("K-05a", api=("IncrementalAlterConfigs", "DescribeConfigs"), versions="0-1")
def a_topics_config_is_set_and_taken_back(target: Target, version: int) -> None:
    """Given a config set on a topic, it is told with source 1; deleted, the default is told. KIP-339."""
    topic = target.new_topic()

    set_ = alter(target, TOPIC, topic.name, [Change("retention.ms", "1234567")], version=version)
    _wait_for(target, topic, "retention.ms", "1234567")
    told = entry(target, TOPIC, topic.name, "retention.ms")
    deleted = alter(target, TOPIC, topic.name, [Change("retention.ms", None, DELETE)], version=version)

    expect_equal("the answers", [set_, deleted], [DONE, DONE])
    expect(told, config_source=FROM_TOPIC)
    _wait_for(target, topic, "retention.ms", RETENTION_MS)
    expect(entry(target, TOPIC, topic.name, "retention.ms"), config_source=FROM_DEFAULT)


@check("K-05b", api="IncrementalAlterConfigs", versions="0-1")
def a_topics_config_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given a config nobody knows or a bad value, INVALID_CONFIG; null for a value, or a config twice, INVALID_REQUEST; APPEND or SUBTRACT
    where there is no list, INVALID_CONFIG; an operation that is none, UNKNOWN_SERVER_ERROR. Nothing is changed. KIP-339.
    """
    topic = target.new_topic()
    known, unknown = "retention.ms", "foo"
    cases = [
        ([Change(unknown, "1")], ErrorCode.INVALID_CONFIG),
        ([Change(known, "abc")], ErrorCode.INVALID_CONFIG),
        ([Change(known, "-2")], ErrorCode.INVALID_CONFIG),
        ([Change(known, "1", APPEND)], ErrorCode.INVALID_CONFIG),
        ([Change(known, "1", SUBTRACT)], ErrorCode.INVALID_CONFIG),
        ([Change(unknown, "1", APPEND)], ErrorCode.INVALID_CONFIG),
        ([Change(known, None, SET)], ErrorCode.INVALID_REQUEST),
        ([Change("cleanup.policy", None, APPEND)], ErrorCode.INVALID_REQUEST),
        ([Change("cleanup.policy", None, SUBTRACT)], ErrorCode.INVALID_REQUEST),
        ([Change(known, "1"), Change(known, "2")], ErrorCode.INVALID_REQUEST),
    ]
    for changes, error in cases:
        refused = alter(target, TOPIC, topic.name, changes, version=version)

        expect_equal(f"the error of {changes}", refused.error_code, error)
        expect(refused, error_message=NOT_EMPTY)
    for operation in (7, -1):
        refused = alter(target, TOPIC, topic.name, [Change(known, "1", operation)], version=version)
        expect_equal(f"the answer to operation {operation}", refused, Refusal(ErrorCode.UNKNOWN_SERVER_ERROR, None))
    expect(entry(target, TOPIC, topic.name, known), value=RETENTION_MS, config_source=FROM_DEFAULT)


@check("K-05c", api="IncrementalAlterConfigs", versions="0-1")
def a_resource_twice_is_refused_twice(target: Target, version: int) -> None:
    """Given one topic twice and another once, the two are INVALID_REQUEST and say why, and the other is altered. KIP-339."""
    twice, once = target.new_topic(), target.new_topic()
    change = [Change("retention.ms", "1234567")]

    answers = alter_all(target, [(TOPIC, twice.name, change), (TOPIC, once.name, change), (TOPIC, twice.name, change)], version=version)

    refused = [one for one in answers if one.error_code]
    expect_equal("the errors", [one.error_code for one in refused], [ErrorCode.INVALID_REQUEST] * 2)
    expect_equal("the others", [one for one in answers if not one.error_code], [DONE])
    for one in refused:
        expect(one, error_message=NOT_EMPTY)
    _wait_for(target, once, "retention.ms", "1234567")
    expect(entry(target, TOPIC, twice.name, "retention.ms"), value=RETENTION_MS)


@check("K-05d", api="IncrementalAlterConfigs", versions="0-1")
def a_resource_is_altered_in_whole_or_not(target: Target, version: int) -> None:
    """Given a topic with one good and one bad change, it keeps what it has; another topic of the request is altered. KIP-339."""
    half, whole = target.new_topic(), target.new_topic()
    good = Change("retention.ms", "1234567")

    answers = alter_all(target, [(TOPIC, half.name, [good, Change("segment.bytes", "abc")]), (TOPIC, whole.name, [good])], version=version)

    expect_equal("the errors", [one.error_code for one in answers], [ErrorCode.INVALID_CONFIG, ErrorCode.NONE])
    _wait_for(target, whole, "retention.ms", "1234567")
    expect(entry(target, TOPIC, half.name, "retention.ms"), value=RETENTION_MS)


@check("K-05e", api="IncrementalAlterConfigs", versions="0-1")
def a_topic_that_is_not_there_is_not_altered(target: Target, version: int) -> None:
    """Given a name that no topic has, UNKNOWN_TOPIC_OR_PARTITION says so; with a bad value it is INVALID_CONFIG that is told. KIP-339."""
    name = target.new_name("topic")

    missing = alter(target, TOPIC, name, [Change("retention.ms", "1")], version=version)
    bad = alter(target, TOPIC, name, [Change("retention.ms", "abc")], version=version)

    expect(missing, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=NOT_EMPTY)
    expect(bad, error_code=ErrorCode.INVALID_CONFIG, error_message=NOT_EMPTY)


@check("K-05f", api="IncrementalAlterConfigs", versions="0-1", alone=True)
def a_brokers_config_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given a bad value for a broker's config, one that is fixed at the start, or one of a single broker for all of them, INVALID_REQUEST says
    why, and the config stays. KIP-226.
    """
    broker = own_id(target)
    before = entry(target, BROKER, broker, "log.cleaner.threads").value
    cases = [
        (broker, Change("log.cleaner.threads", "abc")),
        (broker, Change("process.roles", "broker")),
        (ALL_BROKERS, Change("process.roles", "broker")),
        (ALL_BROKERS, Change("listeners", "PLAINTEXT://127.0.0.1:1")),
        (broker, Change("log.cleaner.threads", None)),
    ]
    for name, change in cases:
        refused = alter(target, BROKER, name, [change], version=version)

        expect_equal(f"the error of {change} for {name!r}", refused.error_code, ErrorCode.INVALID_REQUEST)
        expect(refused, error_message=NOT_EMPTY)
    expect(entry(target, BROKER, broker, "log.cleaner.threads"), value=before)


@check("K-05g", api=("IncrementalAlterConfigs", "DescribeConfigs"), versions="0-1", alone=True)
def a_broker_keeps_what_it_does_not_know(target: Target, version: int) -> None:
    """Given a config of the broker that nobody knows, it is taken, and told without its value, sensitive, read only and of no type: it may be a
    plugin's secret. KIP-226.
    """
    broker, key = own_id(target), "conformance.unknown.config"
    target.unset_after(BROKER, broker, key)

    answer = alter(target, BROKER, broker, [Change(key, "secret")], version=version)

    expect_equal("the answer", answer, DONE)
    described = eventually(lambda: describe(target, BROKER, broker, [key]), lambda found: bool(found.configs), "the config is told")
    expect(described.configs[0], name=key, value=None, is_sensitive=True, read_only=True, config_type=UNKNOWN_TYPE)


@check("K-05h", api="IncrementalAlterConfigs", versions="0-1")
def what_groups_and_metrics_do_not_know_is_refused(target: Target, version: int) -> None:
    """Given a config that no group has, INVALID_CONFIG; one that no metrics subscription has, INVALID_REQUEST. To delete a config of a topic
    that no topic has is nothing. KIP-714, KIP-848.
    """
    group = alter(target, GROUP, target.new_group(), [Change("foo", "1")], version=version)
    metrics = alter(target, CLIENT_METRICS, target.new_name("metrics"), [Change("foo", "1")], version=version)
    deleted = alter(target, TOPIC, target.new_topic().name, [Change("foo", None, DELETE)], version=version)

    expect(group, error_code=ErrorCode.INVALID_CONFIG, error_message=NOT_EMPTY)
    expect(metrics, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)
    expect_equal("the answer to the deletion", deleted, DONE)


@check("K-06a", api="IncrementalAlterConfigs", versions="0-1")
def what_is_not_set_can_be_deleted(target: Target, version: int) -> None:
    """Given DELETE of a config that is not set, also with a value, it is done; a config set beside it in the request is set. KIP-339."""
    topic = target.new_topic()
    changes = [Change("retention.ms", None, DELETE), Change("flush.ms", "1", DELETE), Change("segment.ms", "1234567")]

    answer = alter(target, TOPIC, topic.name, changes, version=version)

    expect_equal("the answer", answer, DONE)
    _wait_for(target, topic, "segment.ms", "1234567")


@check("K-06b", api=("AlterConfigs", "DescribeConfigs"), versions="0-2")
def alter_configs_replaces(target: Target, version: int) -> None:
    """Given a topic with two overrides and AlterConfigs with a third, only that is left; with none, none. KIP-133."""
    topic = target.new_topic(retention_ms="1111111", segment_ms="2222222")

    first = replace(target, TOPIC, topic.name, [("max.message.bytes", "3333333")], version=version)
    _wait_for(target, topic, "max.message.bytes", "3333333")
    left = _overrides(target, topic)
    second = replace(target, TOPIC, topic.name, [], version=version)

    expect_equal("the answers", [first, second], [DONE, DONE])
    expect_equal("the overrides left", left, {"max.message.bytes": "3333333"})
    eventually(lambda: _overrides(target, topic), lambda found: not found, "no override is left")


@check("K-06c", api="AlterConfigs", versions="0-2")
def alter_configs_refuses_what_cannot_be(target: Target, version: int) -> None:
    """Given AlterConfigs with null, INVALID_REQUEST; with a bad value or a config nobody knows, INVALID_CONFIG; for a topic that is not there,
    UNKNOWN_TOPIC_OR_PARTITION. The overrides stay. KIP-133.
    """
    topic = target.new_topic(retention_ms="1111111")
    cases: list[tuple[str, tuple[str, str | None], ErrorCode]] = [
        (topic.name, ("retention.ms", None), ErrorCode.INVALID_REQUEST),
        (topic.name, ("retention.ms", "abc"), ErrorCode.INVALID_CONFIG),
        (topic.name, ("foo", "1"), ErrorCode.INVALID_CONFIG),
        (target.new_name("topic"), ("retention.ms", "1"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    for name, config, error in cases:
        refused = replace(target, TOPIC, name, [config], version=version)

        expect_equal(f"the error of {config}", refused.error_code, error)
        expect(refused, error_message=NOT_EMPTY)
    expect_equal("the overrides", _overrides(target, topic), {"retention.ms": "1111111"})


@check("K-07a", api="IncrementalAlterConfigs", versions="0-1")
def what_is_only_validated_is_not_altered(target: Target, version: int) -> None:
    """Given validate_only, a good change is NONE and a bad one is refused as ever, and nothing is changed. KIP-339."""
    topic, other = target.new_topic(), target.new_topic()

    good = alter(target, TOPIC, topic.name, [Change("retention.ms", "1234567")], version=version, validate_only=True)
    bad = alter(target, TOPIC, topic.name, [Change("retention.ms", "abc")], version=version, validate_only=True)

    expect_equal("the answer", good, DONE)
    expect(bad, error_code=ErrorCode.INVALID_CONFIG, error_message=NOT_EMPTY)
    expect_equal("the answer to a change of another", alter(target, TOPIC, other.name, [Change("retention.ms", "7654321")]), DONE)
    _wait_for(target, other, "retention.ms", "7654321")
    expect_equal("the overrides", _overrides(target, topic), {})


@check("K-07b", api="AlterConfigs", versions="0-2")
def what_is_only_validated_is_not_replaced(target: Target, version: int) -> None:
    """Given AlterConfigs with validate_only, good configs are NONE and bad ones refused, and the overrides stay. KIP-133."""
    topic, other = target.new_topic(retention_ms="1111111"), target.new_topic()

    good = replace(target, TOPIC, topic.name, [("segment.ms", "1234567")], version=version, validate_only=True)
    bad = replace(target, TOPIC, topic.name, [("segment.ms", "abc")], version=version, validate_only=True)

    expect_equal("the answer", good, DONE)
    expect(bad, error_code=ErrorCode.INVALID_CONFIG, error_message=NOT_EMPTY)
    expect_equal(
        "the answer to a change of another", replace(target, TOPIC, other.name, [("retention.ms", "7654321")], version=version), DONE
    )
    _wait_for(target, other, "retention.ms", "7654321")
    expect_equal("the overrides", _overrides(target, topic), {"retention.ms": "1111111"})


@check("K-11", api="AlterConfigs", versions="0-2")
def alter_configs_of_a_resource_twice_is_not_done(target: Target, version: int) -> None:
    """Given AlterConfigs with one topic twice, both are INVALID_REQUEST, or nothing is answered at all, which is what Kafka 4.3 falls into; the
    topic is not altered.
    """
    topic = target.new_topic()
    resource = AlterConfigsRequest.AlterConfigsResource(
        resource_type=TOPIC, resource_name=topic.name, configs=[AlterConfigsRequest.AlterableConfig(name="retention.ms", value="1234567")]
    )
    connection = target.connect()

    connection.send(AlterConfigsRequest(resources=[resource, resource]), version)

    try:
        frame = connection.receive_frame(timeout_s=0.5)
    except Unexpected:
        frame = None
    if frame is not None:
        _, answer = read_response(AlterConfigsResponse, version, frame)
        expect_equal("the errors", [one.error_code for one in answer.responses], [ErrorCode.INVALID_REQUEST] * 2)
    expect_equal("the overrides", _overrides(target, topic), {})


@check("K-12a", api="IncrementalAlterConfigs", versions="0-1")
def lists_are_appended_to_and_taken_from(target: Target, version: int) -> None:
    """Given cleanup.policy, a value is appended once, and what is not there is taken away without harm; the last value taken leaves an empty
    override. KIP-339.
    """
    topic = target.new_topic(cleanup_policy="delete")
    steps = [
        (Change("cleanup.policy", "compact", APPEND), "delete,compact"),
        (Change("cleanup.policy", "compact", APPEND), "delete,compact"),
        (Change("cleanup.policy", "delete", SUBTRACT), "compact"),
        (Change("cleanup.policy", "delete", SUBTRACT), "compact"),
        (Change("cleanup.policy", "compact", SUBTRACT), ""),
        (Change("cleanup.policy", "delete,compact", APPEND), "delete,compact"),
    ]
    for change, expected in steps:
        answer = alter(target, TOPIC, topic.name, [change], version=version)

        expect_equal(f"the answer to {change}", answer, DONE)
        _wait_for(target, topic, "cleanup.policy", expected)
    expect(entry(target, TOPIC, topic.name, "cleanup.policy"), config_source=FROM_TOPIC)


@check("K-12b", api="IncrementalAlterConfigs", versions="0-1")
def lists_are_kept_tidy(target: Target, version: int) -> None:
    """Given cleanup.policy set with a value twice, it is kept once; with spaces, without them; a value that it cannot have is INVALID_CONFIG, set
    or appended. KIP-1030.
    """
    topic = target.new_topic()
    for value, kept in (("compact,compact", "compact"), (" delete , compact ", "delete,compact")):
        expect_equal(f"the answer to {value!r}", alter(target, TOPIC, topic.name, [Change("cleanup.policy", value)], version=version), DONE)
        _wait_for(target, topic, "cleanup.policy", kept)

    for operation in (SET, APPEND):
        refused = alter(target, TOPIC, topic.name, [Change("cleanup.policy", "foo", operation)], version=version)

        expect(refused, error_code=ErrorCode.INVALID_CONFIG, error_message=NOT_EMPTY)


@check("K-16", api=("IncrementalAlterConfigs", "AlterConfigs"), versions="0-1")
def another_broker_is_not_altered(target: Target, version: int) -> None:
    """Given another broker's id, or what is no id, a topic or group without name, or a kind of resource that is none, INVALID_REQUEST says why.
    KIP-226.
    """
    change = [Change("retention.ms", "1234567")]
    for resource_type, name in ((BROKER, NO_BROKER), (BROKER, "abc"), (TOPIC, ""), (GROUP, ""), (0, "name"), (3, "name"), (64, "name")):
        refused = alter(target, resource_type, name, change, version=version)

        expect_equal(f"the error of {resource_type} {name!r}", refused.error_code, ErrorCode.INVALID_REQUEST)
        expect(refused, error_message=NOT_EMPTY)


@check("K-17", api=("IncrementalAlterConfigs", "DescribeConfigs", "DeleteTopics"), versions="0-1")
def the_default_set_is_an_override_of_that_topic_alone(target: Target, version: int) -> None:
    """Given a config set to its default, its source is the topic (1); the topic deleted and made again has no overrides. KIP-133."""
    topic = target.new_topic()

    expect_equal("the answer", alter(target, TOPIC, topic.name, [Change("retention.ms", RETENTION_MS)], version=version), DONE)
    eventually(
        lambda: entry(target, TOPIC, topic.name, "retention.ms").config_source,
        lambda source: source == FROM_TOPIC,
        "the source is the topic",
    )
    target.delete_topic(topic.name)
    creation = CreateTopicsRequest.CreatableTopic(name=topic.name, num_partitions=1, replication_factor=1)
    request = CreateTopicsRequest(topics=[creation], timeout_ms=10_000)
    eventually(lambda: target.ask_newest(request, 7).topics[0].error_code, lambda error: error == 0, "the topic can be made again")

    def is_new(found: Described) -> bool:
        return found.error_code == 0 and FROM_TOPIC not in {one.config_source for one in found.configs}

    eventually(lambda: describe(target, TOPIC, topic.name), is_new, "the new topic has no overrides")


def _wait_for(target: Target, topic: Topic, key: str, value: str) -> None:
    """Kafka's brokers hear of a change a moment after it is answered."""
    eventually(lambda: entry(target, TOPIC, topic.name, key).value, lambda found: found == value, f"{key} is {value!r}")


def _overrides(target: Target, topic: Topic) -> dict[str, str | None]:
    return {one.name: one.value for one in describe(target, TOPIC, topic.name).configs if one.config_source == FROM_TOPIC}
