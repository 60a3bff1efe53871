"""DescribeTopicPartitions, page by page (M-18)."""

import pytest

from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DescribeTopicPartitionsRequest, FenceBrokerRecord, PartitionChangeRecord

TOPIC_OPERATIONS = 3576


@pytest.fixture
def cluster(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("c", 3), NewTopic("a", 3), NewTopic("b", 3)])
    return cluster


@pytest.fixture
def describe(cluster, ask):
    def send(*names, limit=2000, cursor=None):
        request = DescribeTopicPartitionsRequest(
            topics=[DescribeTopicPartitionsRequest.TopicRequest(name=name) for name in names],
            response_partition_limit=limit,
            cursor=cursor and DescribeTopicPartitionsRequest.Cursor(topic_name=cursor[0], partition_index=cursor[1]),
        )
        return ask(cluster, request, 0)

    return send


def listed(answer):
    return {topic.name: [partition.partition_index for partition in topic.partitions] for topic in answer.topics}


def cursor_of(answer):
    return answer.next_cursor and (answer.next_cursor.topic_name, answer.next_cursor.partition_index)


def test_topics_come_sorted_and_whole(cluster, describe):
    answer = describe("b", "a", "b")

    assert list(listed(answer).items()) == [("a", [0, 1, 2]), ("b", [0, 1, 2])]
    assert answer.next_cursor is None
    topic = answer.topics[0]
    assert (topic.error_code, topic.topic_id, topic.is_internal) == (0, cluster.metadata.topics["a"].topic_id, False)
    assert topic.topic_authorized_operations == TOPIC_OPERATIONS
    partition = topic.partitions[0]
    assert (partition.leader_id, partition.leader_epoch, partition.replica_nodes, partition.isr_nodes) == (1, 0, [1], [1])
    assert (partition.eligible_leader_replicas, partition.last_known_elr, partition.offline_replicas) == ([], [], [])


def test_no_names_are_all_names(describe):
    assert listed(describe()) == {"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1, 2]}


def test_what_is_missing_is_said_in_its_place(describe):
    answer = describe("zzz", "b", "a b")

    assert [(topic.name, topic.error_code) for topic in answer.topics] == [
        ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("b", 0),
        ("zzz", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]


@pytest.mark.parametrize(
    ("limit", "cursor", "partitions", "following"),
    [
        (1, None, {"a": [0]}, ("a", 1)),
        (0, None, {"a": [0]}, ("a", 1)),
        (-1, None, {"a": [0]}, ("a", 1)),
        (3, None, {"a": [0, 1, 2]}, ("b", 0)),
        (4, None, {"a": [0, 1, 2], "b": [0]}, ("b", 1)),
        (9, None, {"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1, 2]}, None),
        (2000, ("b", 1), {"b": [1, 2], "c": [0, 1, 2]}, None),
        (2, ("b", 1), {"b": [1, 2]}, ("c", 0)),
        (2000, ("b", 9), {"b": [], "c": [0, 1, 2]}, None),
    ],
)
def test_pages(describe, limit, cursor, partitions, following):
    for names in [("c", "b", "a"), ()]:
        answer = describe(*names, limit=limit, cursor=cursor)

        assert listed(answer) == partitions
        assert cursor_of(answer) == following


def test_walking_the_pages_meets_every_partition_once(describe):
    met = []
    cursor = None
    while cursor or not met:
        answer = describe(limit=2, cursor=cursor)
        met += [(topic.name, partition.partition_index) for topic in answer.topics for partition in topic.partitions]
        cursor = cursor_of(answer)
    assert met == [(name, index) for name in "abc" for index in range(3)]


def test_the_brokers_limit_holds_too(new_cluster, ask):
    cluster = new_cluster({"max.request.partition.size.limit": "2"})
    cluster.controller.create_topics([NewTopic("a", 3)])

    assert cursor_of(ask(cluster, DescribeTopicPartitionsRequest(), 0)) == ("a", 2)


@pytest.mark.parametrize("cursor", [("zzz", 0), ("a", -1)])
def test_a_cursor_that_cannot_be_fails_every_topic(describe, cursor):
    answer = describe("b", "a", cursor=cursor)

    assert [(topic.name, topic.error_code, topic.partitions) for topic in answer.topics] == [
        ("b", ErrorCode.INVALID_REQUEST, []),
        ("a", ErrorCode.INVALID_REQUEST, []),
    ]


def test_eligible_leaders_are_shown(cluster, describe):
    topic_id = cluster.metadata.topics["a"].topic_id
    cluster.controller.decide(
        cluster.controller.write(
            [
                [
                    FenceBrokerRecord(id=1, epoch=cluster.broker.epoch),
                    PartitionChangeRecord(
                        topic_id=topic_id, partition_id=0, leader=-1, isr=[], eligible_leader_replicas=[1], last_known_elr=[1]
                    ),
                ]
            ]
        )
    )
    partition = describe("a").topics[0].partitions[0]
    assert (partition.error_code, partition.leader_id, partition.isr_nodes, partition.offline_replicas) == (0, -1, [], [1])
    assert (partition.eligible_leader_replicas, partition.last_known_elr) == ([1], [1])

    cluster.controller.decide(
        cluster.controller.write(
            [[PartitionChangeRecord(topic_id=topic_id, partition_id=0, leader=1, isr=[1], eligible_leader_replicas=[], last_known_elr=[])]]
        )
    )
    assert describe("a").topics[0].partitions[0].eligible_leader_replicas == []
