"""Metadata, version by version (M-01 … M-17)."""

import pytest

from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import BrokerRegistrationChangeRecord, FenceBrokerRecord, MetadataRequest, PartitionChangeRecord

Wanted = MetadataRequest.MetadataRequestTopic
NO_ID = bytes(16)
UNKNOWN_ID = b"\4" * 16
TOPIC_OPERATIONS = 3576
CLUSTER_OPERATIONS = 8096
NOT_REQUESTED = -(2**31)
UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
INVALID = ErrorCode.INVALID_TOPIC_EXCEPTION


@pytest.fixture
def cluster(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("a", 2), NewTopic("b")])
    return cluster


def names_and_errors(answer):
    return [(topic.name, topic.error_code) for topic in answer.topics]


@pytest.mark.parametrize("version", range(14))
def test_all_topics_or_none(cluster, ask, version):
    everything = MetadataRequest(topics=[] if version == 0 else None)

    answer = ask(cluster, everything, version)

    assert names_and_errors(answer) == [("a", 0), ("b", 0)]
    assert [partition.partition_index for partition in answer.topics[0].partitions] == [0, 1]
    partition = answer.topics[0].partitions[1]
    assert (partition.error_code, partition.leader_id, partition.replica_nodes, partition.isr_nodes) == (0, 1, [1], [1])
    assert partition.leader_epoch == (0 if version >= 7 else -1)
    assert [(broker.node_id, broker.host, broker.port, broker.rack) for broker in answer.brokers] == [(1, "127.0.0.1", 9092, None)]
    assert answer.controller_id == (1 if version >= 1 else -1)
    assert answer.cluster_id == (cluster.metadata.cluster_id if version >= 2 else None)
    assert answer.topics[0].topic_id == (cluster.metadata.topics["a"].topic_id if version >= 10 else NO_ID)
    if version > 0:
        assert ask(cluster, MetadataRequest(topics=[]), version).topics == []


@pytest.mark.parametrize("version", range(4, 14))
def test_names_each_once_the_missing_last(cluster, ask, version):
    names = ["nope", "b", "a b", "b", "", ".", "x" * 250, "x" * 249, "__cluster_metadata"]

    answer = ask(cluster, MetadataRequest(topics=[Wanted(name=name) for name in names], allow_auto_topic_creation=False), version)

    assert names_and_errors(answer) == [
        ("b", 0),
        ("nope", UNKNOWN),
        ("a b", INVALID),
        ("", INVALID),
        (".", INVALID),
        ("x" * 250, INVALID),
        ("x" * 249, UNKNOWN),
        ("__cluster_metadata", UNKNOWN),
    ]
    assert all(topic.topic_id == NO_ID and topic.partitions == [] for topic in answer.topics[1:])
    assert set(cluster.metadata.topics) == {"a", "b"}


@pytest.mark.parametrize("version", range(14))
def test_a_missing_topic_is_made_and_reported_the_next_time(new_cluster, ask, version):
    cluster = new_cluster({"num.partitions": "3"})
    request = MetadataRequest(topics=[Wanted(name="new"), Wanted(name="a b"), Wanted(name="__cluster_metadata")])

    first, second = (ask(cluster, request, version) for _ in range(2))

    assert names_and_errors(first) == [("new", UNKNOWN), ("a b", INVALID), ("__cluster_metadata", UNKNOWN)]
    assert names_and_errors(second)[0] == ("new", 0)
    assert len(second.topics[0].partitions) == 3
    assert set(cluster.metadata.topics) == {"new"}


def test_nothing_is_made_against_the_askers_or_the_brokers_will(cluster, new_cluster, ask):
    unwilling = new_cluster({"auto.create.topics.enable": "false"})
    wanted = [Wanted(name="new")]

    ask(cluster, MetadataRequest(topics=wanted, allow_auto_topic_creation=False), 12)
    ask(unwilling, MetadataRequest(topics=wanted), 12)
    ask(unwilling, MetadataRequest(topics=wanted), 1)
    ask(cluster, MetadataRequest(topics=None), 12)

    assert "new" not in cluster.metadata.topics
    assert not unwilling.metadata.topics


def test_a_colliding_name_is_unknown_for_ever(cluster, ask):
    cluster.controller.create_topics([NewTopic("a.b")])
    for _ in range(2):
        assert names_and_errors(ask(cluster, MetadataRequest(topics=[Wanted(name="a_b")]), 12)) == [("a_b", UNKNOWN)]


def test_internal_topics_are_made_as_their_own_settings_say_and_flagged(cluster, ask):
    names = ["__consumer_offsets", "__transaction_state", "__share_group_state", "__foo"]
    request = MetadataRequest(topics=[Wanted(name=name) for name in names])

    first, second = (ask(cluster, request, 12) for _ in range(2))

    for answer in (first, second):
        assert [topic.is_internal for topic in answer.topics] == [True, True, True, False]
    assert [len(topic.partitions) for topic in second.topics] == [4, 4, 4, 1]
    assert cluster.config.topic("__consumer_offsets").cleanup_policy == {"compact"}
    assert cluster.config.topic("__share_group_state").retention_ms == -1


@pytest.mark.parametrize("version", [12, 13])
def test_ids(cluster, ask, version):
    a = cluster.metadata.topics["a"].topic_id
    request = MetadataRequest(
        topics=[
            Wanted(name="b"),
            Wanted(topic_id=a, name="b"),
            Wanted(topic_id=UNKNOWN_ID, name=None),
            Wanted(topic_id=a, name=None),
            Wanted(name=None),
        ]
    )

    answer = ask(cluster, request, version)

    assert [(topic.name, topic.topic_id, topic.error_code) for topic in answer.topics] == [
        (None, UNKNOWN_ID, ErrorCode.UNKNOWN_TOPIC_ID),
        ("a", a, 0),
    ]


@pytest.mark.parametrize(
    ("version", "wanted", "error"),
    [
        (10, Wanted(topic_id=UNKNOWN_ID, name=None), ErrorCode.INVALID_REQUEST),
        (11, Wanted(topic_id=UNKNOWN_ID, name="a"), ErrorCode.INVALID_REQUEST),
        (10, Wanted(name=None), ErrorCode.INVALID_REQUEST),
        (12, Wanted(name=None), ErrorCode.UNKNOWN_SERVER_ERROR),
        (13, Wanted(name=None), ErrorCode.UNKNOWN_SERVER_ERROR),
    ],
)
def test_requests_that_fail_as_a_whole(cluster, ask, version, wanted, error):
    topics = [wanted] if wanted.name is None and version >= 12 else [wanted, Wanted(name="b")]

    answer = ask(cluster, MetadataRequest(topics=topics), version)

    assert [(topic.name, topic.topic_id, topic.error_code) for topic in answer.topics] == [
        (one.name or "", one.topic_id, error) for one in topics
    ]
    assert (answer.brokers, answer.controller_id, answer.cluster_id) == ([], -1, None)
    assert answer.error_code == (error if version >= 13 else 0)


@pytest.mark.parametrize("version", range(8, 14))
def test_operations_are_told_when_asked_for(cluster, ask, version):
    topics = [Wanted(name="a"), Wanted(name="nope")]
    request = MetadataRequest(topics=topics, include_topic_authorized_operations=True, include_cluster_authorized_operations=version <= 10)

    answer = ask(cluster, request, version)
    silent = ask(cluster, MetadataRequest(topics=topics), version)

    assert [topic.topic_authorized_operations for topic in answer.topics] == [TOPIC_OPERATIONS] * 2
    assert answer.cluster_authorized_operations == (CLUSTER_OPERATIONS if version <= 10 else NOT_REQUESTED)
    assert [topic.topic_authorized_operations for topic in silent.topics] == [NOT_REQUESTED] * 2
    assert silent.cluster_authorized_operations == NOT_REQUESTED


@pytest.mark.parametrize("version", range(14))
def test_a_partition_whose_broker_is_away_has_no_leader(cluster, ask, version):
    a = cluster.metadata.topics["a"]
    epoch = cluster.broker.epoch
    cluster.controller.decide(
        cluster.controller.write(
            [
                [
                    FenceBrokerRecord(id=1, epoch=epoch),
                    PartitionChangeRecord(partition_id=1, topic_id=a.topic_id, leader=-1, isr=[]),
                ]
            ]
        )
    )

    answer = ask(cluster, MetadataRequest(topics=[Wanted(name="a")]), version)

    assert answer.brokers == []
    partition = answer.topics[0].partitions[1]
    assert answer.topics[0].error_code == 0
    assert (partition.error_code, partition.leader_id, partition.isr_nodes) == (ErrorCode.LEADER_NOT_AVAILABLE, -1, [])
    assert partition.replica_nodes == ([1] if version else [])
    assert partition.offline_replicas == ([1] if version >= 5 else [])
    assert partition.leader_epoch == (1 if version >= 7 else -1)

    cluster.controller.decide(cluster.controller.write([[BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=epoch, fenced=-1)]]))
    assert [broker.node_id for broker in ask(cluster, MetadataRequest(topics=[]), 12).brokers] == [1]
