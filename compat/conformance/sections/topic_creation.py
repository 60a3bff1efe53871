"""A: CreateTopics: what is made, what is refused, and which refusal comes first."""

from collections.abc import Sequence

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that, one_of
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
)

NO_ID = bytes(16)
DEFAULT = -1
NO_BROKER = 9999
TOPIC = 2
TOPIC_SOURCE, CLUSTER_SOURCE, STATIC_SOURCE, DEFAULT_SOURCE = 1, 3, 4, 5
TOPIC_CONFIGS = 33
LARGEST_BATCH = 10_000
"""Records of metadata that one request may make: a topic, a partition and an override are one each; that many are already too many."""
ELIGIBLE_LEADER_REPLICAS = "eligible.leader.replicas.version"

CreatableTopic = CreateTopicsRequest.CreatableTopic
Assignment = CreateTopicsRequest.CreatableReplicaAssignment
Made = CreateTopicsResponse.CreatableTopicResult


@check("A-01a", api="CreateTopics", versions="2-7")
def minus_1_is_the_brokers_default(target: Target, version: int) -> None:
    """Given a topic with -1 for partitions and replication factor, it is made as num.partitions and default.replication.factor say; v5 tells
    both and all its configs, v7 its id. KIP-464, KIP-525.
    """
    topic = _topic(target, num_partitions=DEFAULT, replication_factor=DEFAULT)

    made = _create(target, [topic], version)[0]

    expect(made, name=topic.name, error_code=ErrorCode.NONE, error_message=None)
    told = eventually(lambda: target.metadata(topic.name).topics[0], lambda one: one.error_code == 0, "the topic is in the metadata")
    if version >= 5:
        replicas = len(told.partitions[0].replica_nodes)
        expect(made, num_partitions=len(told.partitions), replication_factor=replicas, topic_config_error_code=ErrorCode.NONE)
    if version >= 7:
        expect(made, topic_id=told.topic_id)
        expect_that(told.topic_id != NO_ID, "the topic has an id")


@check("A-01b", api="CreateTopics", versions="5-7")
def all_configs_are_told_by_name(target: Target, version: int) -> None:
    """Given a topic made with one override, all 33 configs are told, sorted by name, none of them read only; the override has source 1, the
    others those of the cluster, the broker's file or the default. KIP-525.
    """
    made = _create(target, [_topic(target, configs=[("retention.ms", "1234567")])], version)[0]

    configs = made.configs or []
    names = [one.name for one in configs]
    expect_equal("the number of configs", len(names), TOPIC_CONFIGS)
    expect_equal("the names", names, sorted(names))
    for one in configs:
        source = (TOPIC_SOURCE,) if one.name == "retention.ms" else (CLUSTER_SOURCE, STATIC_SOURCE, DEFAULT_SOURCE)
        expect(one, read_only=False, is_sensitive=False, config_source=one_of(*source))
    expect(next(one for one in configs if one.name == "retention.ms"), value="1234567")


@check("A-02a", api="CreateTopics", versions="2-7")
def numbers_that_cannot_be_are_refused(target: Target, version: int) -> None:
    """Given 0 or -2 partitions, INVALID_PARTITIONS; given 0, -2 or more replicas than brokers, INVALID_REPLICATION_FACTOR, which is looked at
    first; each says why. What was not made has no id, -1 for both numbers and no configs.
    """
    brokers = len(target.metadata().brokers)
    cases = {
        (0, 1): ErrorCode.INVALID_PARTITIONS,
        (-2, 1): ErrorCode.INVALID_PARTITIONS,
        (1, 0): ErrorCode.INVALID_REPLICATION_FACTOR,
        (1, -2): ErrorCode.INVALID_REPLICATION_FACTOR,
        (1, brokers + 1): ErrorCode.INVALID_REPLICATION_FACTOR,
        (0, 0): ErrorCode.INVALID_REPLICATION_FACTOR,
    }
    for (partitions, replicas), error in cases.items():
        topic = _topic(target, num_partitions=partitions, replication_factor=replicas)

        refused = _create(target, [topic], version)[0]

        expect(refused, name=topic.name, error_code=error, error_message=NOT_EMPTY, topic_id=NO_ID)
        if version >= 5:
            expect(refused, num_partitions=-1, replication_factor=-1, configs=[])


@check("A-03a", api="CreateTopics", versions="2-7")
def an_assignment_stands_for_both_numbers(target: Target, version: int) -> None:
    """Given replicas assigned by hand and -1 for both numbers, the topic has the partitions assigned, and v5 tells so; with a number beside
    them it is INVALID_REQUEST.
    """
    broker = target.node_id
    assignments = [Assignment(partition_index=1, broker_ids=[broker]), Assignment(partition_index=0, broker_ids=[broker])]
    topic = _topic(target, DEFAULT, DEFAULT, assignments)
    partitions_too, replicas_too = _topic(target, 2, DEFAULT, assignments), _topic(target, DEFAULT, 1, assignments)

    made, *refused = _in_order(target, [topic, partitions_too, replicas_too], version)

    expect(made, error_code=ErrorCode.NONE)
    if version >= 5:
        expect(made, num_partitions=2, replication_factor=1)
    for one in refused:
        expect(one, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)


@check("A-03b", api="CreateTopics", versions="2-7")
def an_assignment_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given an assignment with a gap, a partition twice, a broker that is not there or named twice, no broker, or as many replicas here as not
    there, INVALID_REPLICA_ASSIGNMENT says why.
    """
    broker = target.node_id
    wrong: dict[str, list[tuple[int, list[int]]]] = {
        "a gap": [(0, [broker]), (2, [broker])],
        "not from 0": [(1, [broker])],
        "a partition twice": [(0, [broker]), (0, [broker])],
        "an unknown broker": [(0, [NO_BROKER])],
        "a broker twice": [(0, [broker, broker])],
        "no broker": [(0, [])],
        "different numbers": [(0, [broker]), (1, [broker, NO_BROKER])],
    }
    for what, partitions in wrong.items():
        assignments = [Assignment(partition_index=index, broker_ids=brokers) for index, brokers in partitions]

        refused = _create(target, [_topic(target, DEFAULT, DEFAULT, assignments)], version)[0]

        expect_equal(f"the error of {what}", refused.error_code, ErrorCode.INVALID_REPLICA_ASSIGNMENT)
        expect(refused, error_message=NOT_EMPTY)


@check("A-04", api="CreateTopics", versions="2-7")
def a_name_twice_is_refused_once(target: Target, version: int) -> None:
    """Given a name twice and another once, the other is made, and the name is INVALID_REQUEST in one entry, the last; it is not made."""
    twice, once = _topic(target), _topic(target)

    answers = _create(target, [twice, once, twice], version)

    expect_equal("the names", [one.name for one in answers], [once.name, twice.name])
    expect(answers[0], error_code=ErrorCode.NONE)
    expect(answers[1], error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)
    eventually(lambda: target.metadata(once.name).topics[0], lambda one: one.error_code == 0, "the other topic is there")
    expect(target.metadata(twice.name).topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


@check("A-05a", api="CreateTopics", versions="2-7")
def a_name_that_exists_is_refused_first(target: Target, version: int) -> None:
    """Given a topic, making it again is TOPIC_ALREADY_EXISTS, also when its numbers or configs are wrong too, or nothing is to be made."""
    name = target.new_topic().name
    wrong = [
        CreatableTopic(name=name, num_partitions=1, replication_factor=1),
        CreatableTopic(name=name, num_partitions=0, replication_factor=0),
        _topic(target, configs=[("foo.bar", "1")], name=name),
        _topic(target, configs=[("retention.ms", None)], name=name),
    ]
    for topic in wrong:
        for validate_only in (False, True):
            refused = _create(target, [topic], version, validate_only=validate_only)[0]

            expect(refused, name=name, error_code=ErrorCode.TOPIC_ALREADY_EXISTS, error_message=NOT_EMPTY)


@check("A-05c", api="CreateTopics", versions="2-7")
def a_name_like_another_is_refused(target: Target, version: int) -> None:
    """Given a topic `a.b`, making `a_b` is INVALID_TOPIC_EXCEPTION, which says why, also where nothing is to be made; the other way round too."""
    for present, wanted in (("a.b", "a_b"), ("a_b", "a.b")):
        name = target.new_name(present)
        expect(_create(target, [_topic(target, name=name)], version)[0], error_code=ErrorCode.NONE)
        alike = _topic(target, name=name.replace(present, wanted))

        for validate_only in (False, True):
            refused = _create(target, [alike], version, validate_only=validate_only)[0]

            expect(refused, error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, error_message=NOT_EMPTY)


@check("A-05b", api="CreateTopics", versions="2-7")
def a_config_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given a config nobody knows, or one with null, or a value of the wrong kind or out of range, INVALID_CONFIG says why, before anything
    is said of numbers.
    """
    wrong = [
        ("foo.bar", "1"),
        ("foo.bar", None),
        ("retention.ms", None),
        ("retention.ms", "abc"),
        ("retention.ms", "-2"),
        ("compression.type", "foo"),
        ("preallocate", "maybe"),
        ("cleanup.policy", "delete,foo"),
        ("min.insync.replicas", "0"),
        ("min.cleanable.dirty.ratio", "1.5"),
    ]
    for config in wrong:
        refused = _create(target, [_topic(target, 0, 0, configs=[config])], version)[0]

        expect_equal(f"the error of {config[0]}={config[1]}", refused.error_code, ErrorCode.INVALID_CONFIG)
        expect(refused, error_message=NOT_EMPTY)


@check("A-06", api="CreateTopics", versions="2-7")
def what_is_only_validated_is_not_made(target: Target, version: int) -> None:
    """Given validate_only, the answer is as if the topic had been made, with another random id each time, and it is not; what is wrong is
    refused.
    """
    topic, later = _topic(target, 3), _topic(target)

    first = _create(target, [topic], version, validate_only=True)[0]
    second = _create(target, [topic], version, validate_only=True)[0]
    refused = _create(target, [_topic(target, 0)], version, validate_only=True)[0]

    expect(refused, error_code=ErrorCode.INVALID_PARTITIONS)
    for answer in (first, second):
        expect(answer, error_code=ErrorCode.NONE)
        if version >= 5:
            expect(answer, num_partitions=3, replication_factor=1)
            expect_equal("the number of configs", len(answer.configs or []), TOPIC_CONFIGS)
    if version >= 7:
        expect_that(NO_ID not in (first.topic_id, second.topic_id), "an id is told")
        expect_that(first.topic_id != second.topic_id, "it is another one each time")
    expect(_create(target, [later], version)[0], error_code=ErrorCode.NONE)
    eventually(lambda: target.metadata(later.name).topics[0], lambda one: one.error_code == 0, "a topic made later is there")
    expect(target.metadata(topic.name).topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


@check("A-07", api="CreateTopics", versions="2-7")
def a_request_makes_fewer_than_10000_things(target: Target, version: int) -> None:
    """Given 9,999 partitions without configs, they may be made; with one override, or one partition more, POLICY_VIOLATION; with more than
    10,000 in the request every topic of it is refused, whatever else is wrong.
    """
    most = LARGEST_BATCH - 1

    def errors(*topics: CreatableTopic) -> list[int]:
        return [one.error_code for one in _create(target, topics, version, validate_only=True)]

    refused = ErrorCode.POLICY_VIOLATION
    expect_equal("the error of 9,999 partitions", errors(_topic(target, most)), [ErrorCode.NONE])
    expect_equal("the error with an override", errors(_topic(target, most, configs=[("retention.ms", "1")])), [refused])
    expect_equal("the error of 10,000", errors(_topic(target, most + 1)), [refused])
    expect_equal("the errors of two topics", errors(_topic(target, most), _topic(target, 2, name="a b")), [refused, refused])


@check("A-08", api="CreateTopics", versions="2-7")
def the_metadata_log_is_no_topic_to_make(target: Target, version: int) -> None:
    """Given `__cluster_metadata` as a topic to be made, INVALID_REQUEST says why; a topic beside it is made."""
    beside = _topic(target)

    log, other = _in_order(target, [_topic(target, name="__cluster_metadata"), beside], version)

    expect(log, error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)
    expect(other, error_code=ErrorCode.NONE)


@check("A-14", api="CreateTopics", versions="5-7")
def of_a_config_given_twice_the_last_counts(target: Target, version: int) -> None:
    """Given a topic with one config twice, it is made with the last value."""
    topic = _topic(target, configs=[("retention.ms", "1111111"), ("retention.ms", "2222222")])

    made = _create(target, [topic], version)[0]

    expect(made, error_code=ErrorCode.NONE)
    expect_equal("retention.ms", _config(made, "retention.ms"), "2222222")


@check("A-15", api="CreateTopics", versions="2-7")
def names_alike_may_be_made_together(target: Target, version: int) -> None:
    """Given `a.b` and `a_b` in one request, both are made: only what exists already is compared with."""
    name = target.new_name("a?b")
    topics = [_topic(target, name=name.replace("?", letter)) for letter in "._"]

    answers = _create(target, topics, version)

    expect_equal("the answers", {one.name: one.error_code for one in answers}, {topic.name: ErrorCode.NONE for topic in topics})


@check("A-20a", api="CreateTopics", versions="2-7")
def segments_are_no_smaller_than_a_mebibyte(target: Target, version: int) -> None:
    """Given segment.bytes of 1048575, INVALID_CONFIG says why; 1048576 is taken."""
    small, enough = _topic(target, configs=[("segment.bytes", "1048575")]), _topic(target, configs=[("segment.bytes", "1048576")])

    refused, made = _in_order(target, [small, enough], version)

    expect(refused, error_code=ErrorCode.INVALID_CONFIG, error_message=NOT_EMPTY)
    expect(made, error_code=ErrorCode.NONE)


@check("A-20b", api=("CreateTopics", "DescribeConfigs"), versions="2-7")
def an_internal_config_is_told_only_where_it_is_set(target: Target, version: int) -> None:
    """Given internal.segment.bytes of 1000, which no documentation knows, the topic is made, and its configs are one more, that one; of a
    topic without it nothing tells of it.
    """
    topic, other = _topic(target, configs=[("internal.segment.bytes", "1000")]), target.new_topic()

    made = _create(target, [topic], version)[0]

    expect(made, error_code=ErrorCode.NONE)
    if version >= 5:
        expect_equal("internal.segment.bytes", _config(made, "internal.segment.bytes"), "1000")
    with_it = eventually(lambda: _described(target, topic.name), lambda one: one.error_code == 0, "the topic is there")
    without_it = _described(target, other.name)
    expect_equal("the number of configs", (len(with_it.configs), len(without_it.configs)), (TOPIC_CONFIGS + 1, TOPIC_CONFIGS))
    told = {one.name: (one.value, one.config_source) for one in with_it.configs}
    expect_equal("internal.segment.bytes", told.get("internal.segment.bytes"), ("1000", TOPIC_SOURCE))
    expect_that("internal.segment.bytes" not in {one.name for one in without_it.configs}, "a topic without it does not tell of it")


@check("A-21a", api="CreateTopics", versions="5-7")
def values_are_read_kindly(target: Target, version: int) -> None:
    """Given a value with spaces around it, or `TRUE` for a bool, it is taken, and told as it is meant."""
    topic = _topic(target, configs=[("retention.ms", " 1000 "), ("preallocate", "TRUE")])

    made = _create(target, [topic], version)[0]

    expect(made, error_code=ErrorCode.NONE)
    expect_equal("retention.ms", (_config(made, "retention.ms") or "").strip(), "1000")
    expect_equal("preallocate", (_config(made, "preallocate") or "").lower(), "true")


@check("A-21b", api="CreateTopics", versions="2-7")
def configs_of_the_past_and_of_elsewhere_are_refused(target: Target, version: int) -> None:
    """Given configs that Kafka 4 has no more, a bool of `1`, a smallest compaction lag above the largest, or tiered storage where the broker
    has none, INVALID_CONFIG says why; more replicas in sync than there are is taken.
    """
    wrong = [
        [("message.format.version", "3.0")],
        [("message.downconversion.enable", "true")],
        [("preallocate", "1")],
        [("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "10")],
        [("remote.storage.enable", "true")],
    ]
    for configs in wrong:
        refused = _create(target, [_topic(target, configs=configs)], version)[0]

        expect_equal(f"the error of {configs}", refused.error_code, ErrorCode.INVALID_CONFIG)
        expect(refused, error_message=NOT_EMPTY)
    expect(_create(target, [_topic(target, configs=[("min.insync.replicas", "9")])], version)[0], error_code=ErrorCode.NONE)


@check("A-24", api=("CreateTopics", "ApiVersions"), versions="5-7")
def eligible_leaders_make_min_insync_replicas_a_config_of_the_cluster(target: Target, version: int) -> None:
    """Given eligible.leader.replicas.version finalized, min.insync.replicas comes from the cluster's dynamic configs (source 3), else from its
    default (5). KIP-966.
    """
    versions = target.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3)
    levels = {one.name: one.max_version_level for one in versions.finalized_features}
    expected = CLUSTER_SOURCE if levels.get(ELIGIBLE_LEADER_REPLICAS, 0) > 0 else DEFAULT_SOURCE

    made = _create(target, [_topic(target)], version)[0]

    config = next(one for one in made.configs or [] if one.name == "min.insync.replicas")
    expect(config, value="1", config_source=expected)


def _topic(
    target: Target,
    num_partitions: int = 1,
    replication_factor: int = 1,
    assignments: Sequence[Assignment] = (),
    *,
    configs: Sequence[tuple[str, str | None]] = (),
    name: str = "",
) -> CreatableTopic:
    """A topic to be made, with a name of its own, and taken away after the check."""
    name = name or target.new_name("topic")
    target.forget_after(name)
    return CreatableTopic(
        name=name,
        num_partitions=num_partitions,
        replication_factor=replication_factor,
        assignments=list(assignments),
        configs=[CreateTopicsRequest.CreatableTopicConfig(name=key, value=value) for key, value in configs],
    )


def _create(target: Target, topics: Sequence[CreatableTopic], version: int, *, validate_only: bool = False) -> list[Made]:
    return target.ask(CreateTopicsRequest(topics=list(topics), timeout_ms=10_000, validate_only=validate_only), version).topics


def _in_order(target: Target, topics: Sequence[CreatableTopic], version: int) -> list[Made]:
    """The answers in the order of the request, whatever that of the answer."""
    by_name = {one.name: one for one in _create(target, topics, version)}
    expect_equal("the names", set(by_name), {topic.name for topic in topics})
    return [by_name[topic.name] for topic in topics]


def _described(target: Target, name: str) -> DescribeConfigsResponse.DescribeConfigsResult:
    resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=TOPIC, resource_name=name, configuration_keys=None)
    return target.ask_newest(DescribeConfigsRequest(resources=[resource]), 1).results[0]


def _config(made: Made, name: str) -> str | None:
    return next((one.value for one in made.configs or [] if one.name == name), None)
