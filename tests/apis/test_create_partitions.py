"""CreatePartitions (A-10, A-16, A-22)."""

import pytest

from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreatePartitionsRequest

INVALID_PARTITIONS = ErrorCode.INVALID_PARTITIONS
INVALID_REPLICA_ASSIGNMENT = ErrorCode.INVALID_REPLICA_ASSIGNMENT


@pytest.fixture
def cluster(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("t", 2), NewTopic("u", 1)])
    return cluster


@pytest.fixture
def add(cluster, ask):
    def send(*wanted, version=3, validate_only=False):
        topics = [
            CreatePartitionsRequest.CreatePartitionsTopic(
                name=name,
                count=count,
                assignments=None
                if assignments is None
                else [CreatePartitionsRequest.CreatePartitionsAssignment(broker_ids=ids) for ids in assignments],
            )
            for name, count, assignments in wanted
        ]
        return ask(cluster, CreatePartitionsRequest(topics=topics, validate_only=validate_only), version).results

    return send


@pytest.mark.parametrize("version", range(4))
def test_partitions_are_added_behind_those_there_are(cluster, add, version):
    grown = []
    cluster.metadata.on_partitions_added.append(grown.append)

    results = add(("t", 5, None), ("u", 2, [[1]]), version=version)

    assert [(result.name, result.error_code, result.error_message) for result in results] == [("t", 0, None), ("u", 0, None)]
    topic = cluster.metadata.topics["t"]
    assert [(partition.index, partition.leader_id, partition.leader_epoch) for partition in topic.partitions] == [
        (i, 1, 0) for i in range(5)
    ]
    assert grown == [topic, cluster.metadata.topics["u"]]


@pytest.mark.parametrize(
    ("name", "count", "assignments", "error"),
    [
        ("t", 2, None, INVALID_PARTITIONS),
        ("t", 1, None, INVALID_PARTITIONS),
        ("t", 0, None, INVALID_PARTITIONS),
        ("t", -1, None, INVALID_PARTITIONS),
        ("t", 4, [[1]], INVALID_REPLICA_ASSIGNMENT),
        ("t", 3, [[1], [1]], INVALID_REPLICA_ASSIGNMENT),
        ("t", 3, [], INVALID_REPLICA_ASSIGNMENT),
        ("t", 3, [[9]], INVALID_REPLICA_ASSIGNMENT),
        ("t", 3, [[1, 1]], INVALID_REPLICA_ASSIGNMENT),
        ("t", 3, [[]], INVALID_REPLICA_ASSIGNMENT),
        ("t", 10_003, None, ErrorCode.POLICY_VIOLATION),
        ("t", 2**31 - 1, None, ErrorCode.POLICY_VIOLATION),
        ("nope", 3, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("__cluster_metadata", 3, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_what_cannot_be(cluster, add, name, count, assignments, error):
    (result,) = add((name, count, assignments))

    assert result.error_code == error
    assert (result.error_message is None) == (error == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert len(cluster.metadata.topics["t"].partitions) == 2


def test_one_that_fails_leaves_its_neighbours_alone(cluster, add):
    results = add(("t", 3, None), ("u", 2, None), ("t", 4, None), ("nope", 1, None))

    assert {result.name: result.error_code for result in results} == {
        "t": ErrorCode.INVALID_REQUEST,
        "u": 0,
        "nope": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert len(results) == 3


def test_validate_only_changes_nothing(cluster, add):
    assert [result.error_code for result in add(("t", 10_002, None), ("u", 2, None), validate_only=True)] == [0, ErrorCode.POLICY_VIOLATION]
    assert len(cluster.metadata.topics["t"].partitions) == 2
