"""DeleteTopics, by name and by id (A-09, M-11)."""

import pytest

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateTopicsRequest, DeleteTopicsRequest

State = DeleteTopicsRequest.DeleteTopicState
NO_ID = bytes(16)
UNKNOWN_ID = b"\4" * 16


@pytest.fixture
def cluster(new_cluster, ask):
    cluster = new_cluster()
    make(cluster, ask, "a", "b")
    return cluster


def make(cluster, ask, *names):
    topics = [
        CreateTopicsRequest.CreatableTopic(
            name=name,
            num_partitions=2,
            replication_factor=1,
            configs=[CreateTopicsRequest.CreatableTopicConfig(name="retention.ms", value="5")],
        )
        for name in names
    ]
    ask(cluster, CreateTopicsRequest(topics=topics), 7)


@pytest.mark.parametrize("version", range(1, 6))
def test_by_name_each_by_itself(cluster, ask, version):
    answer = ask(cluster, DeleteTopicsRequest(topic_names=["a", "nope", "no name", "__cluster_metadata", "b", "b"]), version)

    assert {result.name: result.error_code for result in answer.responses} == {
        "a": 0,
        "nope": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "no name": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "__cluster_metadata": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "b": ErrorCode.INVALID_REQUEST,
    }
    assert len(answer.responses) == 5
    assert all((result.error_message is None) == (version < 5 or result.error_code == 0) for result in answer.responses)
    assert list(cluster.metadata.topics) == ["b"]


def test_by_id_or_name_the_answer_has_both(cluster, ask):
    a, b = cluster.metadata.topics["a"], cluster.metadata.topics["b"]

    answer = ask(cluster, DeleteTopicsRequest(topics=[State(topic_id=a.topic_id), State(name="b"), State(topic_id=UNKNOWN_ID)]), 6)

    assert {(result.name, result.topic_id, result.error_code) for result in answer.responses} == {
        ("a", a.topic_id, 0),
        ("b", b.topic_id, 0),
        (None, UNKNOWN_ID, ErrorCode.UNKNOWN_TOPIC_ID),
    }
    assert not cluster.metadata.topics


def test_what_is_asked_for_in_no_clear_way_is_an_invalid_request_once(cluster, ask):
    a = cluster.metadata.topics["a"].topic_id
    for states, results in [
        ([State()], [(None, NO_ID)]),
        ([State(name="a", topic_id=a)], [("a", a)]),
        ([State(name="a"), State(name="a")], [("a", NO_ID)]),
        ([State(topic_id=a), State(topic_id=a)], [(None, a)]),
        ([State(name="a"), State(topic_id=a)], [("a", a)]),
        ([State(name="a"), State(topic_id=a), State(topic_id=a)], [(None, a), ("a", a)]),
    ]:
        answer = ask(cluster, DeleteTopicsRequest(topics=states), 6)

        assert [(result.name, result.topic_id) for result in answer.responses] == results
        assert {result.error_code for result in answer.responses} == {ErrorCode.INVALID_REQUEST}
    assert set(cluster.metadata.topics) == {"a", "b"}


@pytest.mark.parametrize("version", range(1, 7))
def test_deletion_can_be_disabled(new_cluster, ask, version):
    cluster = new_cluster({"delete.topic.enable": "false"})
    make(cluster, ask, "a")
    request = (
        DeleteTopicsRequest(topics=[State(name="a"), State(name="nope")])
        if version == 6
        else DeleteTopicsRequest(topic_names=["a", "nope"])
    )

    answer = ask(cluster, request, version)

    error = ErrorCode.TOPIC_DELETION_DISABLED if version >= 3 else ErrorCode.INVALID_REQUEST
    assert [(result.error_code, result.error_message) for result in answer.responses] == [(error, None)] * 2
    assert "a" in cluster.metadata.topics


def test_a_topic_made_again_is_another_one_without_the_configs_of_the_first(cluster, ask, new_cluster):
    first = cluster.metadata.topics["a"].topic_id
    assert cluster.config.topic("a").retention_ms == 5
    ask(cluster, DeleteTopicsRequest(topic_names=["a"]), 5)
    request = CreateTopicsRequest(topics=[CreateTopicsRequest.CreatableTopic(name="a", num_partitions=1, replication_factor=1)])
    ask(cluster, request, 7)

    second = cluster.metadata.topics["a"]
    assert second.topic_id != first
    assert second.partitions[0].leader_epoch == 0
    assert cluster.metadata.topic_by_id(first) is None
    assert cluster.config.topic("a").retention_ms == 7 * 24 * 3600 * 1000

    files = cluster.files
    cluster.stop()
    restarted = new_cluster(files=files)
    assert restarted.metadata.topics["a"].topic_id == second.topic_id
    assert restarted.config.topic("a").retention_ms == 7 * 24 * 3600 * 1000
