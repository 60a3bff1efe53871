"""CreateTopics says what Kafka 4.3 says: code by code, version by version (A-01 … A-08, A-14, A-15, A-20 … A-22, M-12, M-13)."""

import pytest

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateTopicsRequest, CreateTopicsResponse, DescribeTopicPartitionsRequest, MetadataRequest

Topic = CreateTopicsRequest.CreatableTopic
Result = CreateTopicsResponse.CreatableTopicResult
NO_ID = bytes(16)
NEWEST = 7


def topic(name, partitions=1, replicas=1, configs=(), assignments=()):
    return Topic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        configs=[CreateTopicsRequest.CreatableTopicConfig(name=key, value=value) for key, value in configs],
        assignments=[CreateTopicsRequest.CreatableReplicaAssignment(partition_index=i, broker_ids=ids) for i, ids in assignments],
    )


@pytest.fixture
def cluster(new_cluster):
    return new_cluster()


@pytest.fixture
def create(cluster, ask):
    def send(*topics, version=NEWEST, validate_only=False):
        return ask(cluster, CreateTopicsRequest(topics=list(topics), validate_only=validate_only), version).topics

    return send


@pytest.fixture
def code_of(create):
    def send(*args, **kwargs):
        (result,) = create(topic(*args, **kwargs))
        assert (result.error_message is None) == (result.error_code == ErrorCode.NONE)
        if result.error_code:
            assert (result.topic_id, result.num_partitions, result.replication_factor, result.configs) == (NO_ID, -1, -1, [])
        return ErrorCode(result.error_code)

    return send


@pytest.mark.parametrize("version", range(2, 8))
def test_defaults_are_the_brokers_in_every_version(new_cluster, ask, version):
    cluster = new_cluster({"num.partitions": "3"})

    (created,) = ask(cluster, CreateTopicsRequest(topics=[topic("t", -1, -1)]), version).topics

    assert (created.name, created.error_code, created.error_message) == ("t", 0, None)
    assert len(cluster.metadata.topics["t"].partitions) == 3
    assert (created.topic_id == cluster.metadata.topics["t"].topic_id) == (version >= 7)
    if version >= 5:
        assert (created.num_partitions, created.replication_factor) == (3, 1)
        names = [config.name for config in created.configs]
        assert names == sorted(names)
        assert len(names) == 33


def test_configs_are_answered_with_their_sources_and_as_they_were_written(new_cluster, ask):
    cluster = new_cluster({"log.retention.hours": "2", "log.flush.interval.messages": "5"})
    wanted = topic("t", configs=[("retention.bytes", "1"), ("retention.bytes", " 2000 "), ("internal.segment.bytes", "1000")])

    (created,) = ask(cluster, CreateTopicsRequest(topics=[wanted]), NEWEST).topics

    configs = {config.name: (config.value, config.config_source) for config in created.configs}
    assert configs["retention.bytes"] == (" 2000 ", 1)
    assert configs["internal.segment.bytes"] == ("1000", 1)
    assert configs["flush.messages"] == ("5", 4)
    assert configs["min.insync.replicas"] == ("1", 3)
    assert configs["cleanup.policy"] == ("delete", 5)
    assert configs["retention.ms"][0] == "7200000"
    assert cluster.config.topic("t").retention_bytes == 2000


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 250, "a b", "é", "a/b", "a\n", "a\0"])
def test_names_that_cannot_be(code_of, name):
    assert code_of(name, 0, 0) == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_the_longest_name_can_be(code_of):
    assert code_of("x" * 249) == ErrorCode.NONE


@pytest.mark.parametrize(
    ("partitions", "replicas", "error"),
    [
        (0, 1, ErrorCode.INVALID_PARTITIONS),
        (-2, 1, ErrorCode.INVALID_PARTITIONS),
        (1, 0, ErrorCode.INVALID_REPLICATION_FACTOR),
        (1, -2, ErrorCode.INVALID_REPLICATION_FACTOR),
        (1, 2, ErrorCode.INVALID_REPLICATION_FACTOR),
        (0, 0, ErrorCode.INVALID_REPLICATION_FACTOR),
    ],
)
def test_numbers_that_cannot_be(code_of, partitions, replicas, error):
    assert code_of("t", partitions, replicas) == error


@pytest.mark.parametrize(
    ("partitions", "replicas", "assignments", "error"),
    [
        (1, 1, [(0, [1])], ErrorCode.INVALID_REQUEST),
        (2, -1, [(0, [1])], ErrorCode.INVALID_REQUEST),
        (-1, 1, [(0, [1])], ErrorCode.INVALID_REQUEST),
        (-1, -1, [(1, [1])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (-1, -1, [(0, [1]), (2, [1])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (-1, -1, [(-1, [1])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (-1, -1, [(0, [1]), (0, [1])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (-1, -1, [(0, [9])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (-1, -1, [(0, [1, 1])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (-1, -1, [(0, [])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (-1, -1, [(1, [1]), (0, [1])], ErrorCode.NONE),
    ],
)
def test_manual_assignments(code_of, cluster, partitions, replicas, assignments, error):
    assert code_of("t", partitions, replicas, assignments=assignments) == error
    assert ("t" in cluster.metadata.topics) == (error == ErrorCode.NONE)


@pytest.mark.parametrize(
    "configs",
    [
        [("foo.bar", "1")],
        [("retention.ms", "abc")],
        [("retention.ms", "-2")],
        [("retention.ms", None)],
        [("foo.bar", None)],
        [("compression.type", "foo")],
        [("segment.bytes", "1000")],
        [("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "10")],
        [("remote.storage.enable", "true")],
    ],
)
def test_configs_that_cannot_be(code_of, configs):
    assert code_of("t", configs=configs) == ErrorCode.INVALID_CONFIG


def test_what_exists_or_collides_is_refused_before_anything_else_is_looked_at(code_of):
    assert code_of("q.y") == ErrorCode.NONE
    assert code_of("q.y", 0, 0, configs=[("foo", "1")]) == ErrorCode.TOPIC_ALREADY_EXISTS
    assert code_of("q_y", 0, 0) == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_colliding_names_of_one_request_are_both_made(create):
    assert [result.error_code for result in create(topic("q.y"), topic("q_y"))] == [0, 0]


def test_a_name_given_twice_fails_once_and_last(create, cluster):
    results = create(topic("twice"), topic("once"), topic("twice"))

    assert [(result.name, result.error_code) for result in results] == [("once", 0), ("twice", ErrorCode.INVALID_REQUEST)]
    assert list(cluster.metadata.topics) == ["once"]


def test_the_metadata_log_is_not_for_clients_but_other_internal_topics_are(create):
    results = create(topic("__cluster_metadata"), topic("__cluster_metadata"), topic("__consumer_offsets", 2))

    assert [(result.name, result.error_code) for result in results] == [
        ("__consumer_offsets", 0),
        ("__cluster_metadata", ErrorCode.INVALID_REQUEST),
    ]


def test_validate_only_says_everything_and_does_nothing(create, cluster):
    offset = cluster.metadata.offset

    first, second = (create(topic("t", 2), validate_only=True)[0] for _ in range(2))

    assert (first.error_code, first.num_partitions, len(first.configs)) == (0, 2, 33)
    assert NO_ID not in {first.topic_id, second.topic_id}
    assert first.topic_id != second.topic_id
    assert cluster.metadata.offset == offset
    assert not cluster.metadata.topics


@pytest.mark.parametrize(
    ("topics", "error"),
    [
        ([topic("a", 5000), topic("b", 5001), topic("no name")], ErrorCode.POLICY_VIOLATION),
        ([topic("a", 10_000)], ErrorCode.POLICY_VIOLATION),
        ([topic("a", 2**31 - 1)], ErrorCode.POLICY_VIOLATION),
        ([topic("a", 9_999)], ErrorCode.NONE),
        ([topic("a", 9_999, configs=[("retention.ms", "5")])], ErrorCode.POLICY_VIOLATION),
        ([topic("a", -1, -1, assignments=[(i, [1]) for i in range(10_001)])], ErrorCode.POLICY_VIOLATION),
    ],
)
def test_one_request_has_ten_thousand_records_at_most(create, topics, error):
    results = create(*topics, validate_only=True)

    assert [result.error_code for result in results] == [error] * len(topics)


def test_ten_thousand_partitions_are_made_and_listed_in_one_answer_each(create, cluster, ask):
    create(topic("a", 5000))
    create(topic("b", 5000))

    listed = ask(cluster, MetadataRequest(topics=None), 12)
    page = ask(cluster, DescribeTopicPartitionsRequest(), 0)

    assert [len(one.partitions) for one in listed.topics] == [5000, 5000]
    assert (len(page.topics[0].partitions), page.next_cursor.partition_index) == (2000, 2000)


def test_nothing_asked_is_nothing_answered(create):
    assert create() == []
