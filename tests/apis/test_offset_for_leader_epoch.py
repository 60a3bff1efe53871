"""OffsetForLeaderEpoch (L-11)."""

import pytest

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import OffsetForLeaderEpochRequest

VERSIONS = range(2, 5)


@pytest.fixture
def ask(client):
    def send(*wanted, version=4, topic="t"):
        partitions = [
            OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=index, current_leader_epoch=current, leader_epoch=epoch)
            for index, current, epoch in wanted
        ]
        topics = [OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=topic, partitions=partitions)]
        response = client.send(OffsetForLeaderEpochRequest(topics=topics), version)
        return [(one.partition, one.error_code, one.leader_epoch, one.end_offset) for one in response.topics[0].partitions]

    return send


@pytest.fixture
def topic(client):
    """Epoch 1 wrote 0-2, epoch 4 wrote 3-4, epoch 6 is the current one and wrote nothing."""
    client.create("t", 2)
    partition = client.partition("t")
    for epoch, count in ((1, 3), (4, 2)):
        partition.leader_epoch = epoch
        client.produce("t", client.batch(count))
    partition.leader_epoch = 6
    return partition


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (6, (6, 5)),
        (5, (4, 5)),
        (4, (4, 5)),
        (3, (1, 3)),
        (1, (1, 3)),
        (0, (0, 0)),
        (-1, (-1, -1)),
        (7, (-1, -1)),
    ],
)
def test_an_epoch_ends_where_the_next_begins(ask, topic, version, epoch, expected):
    assert ask((0, -1, epoch), version=version) == [(0, 0, *expected)]


@pytest.mark.parametrize("version", VERSIONS)
def test_in_an_empty_log_every_epoch_up_to_the_current_ends_at_0(client, ask, topic, version):
    client.partition("t", 1).leader_epoch = 2
    assert ask((1, -1, 2), (1, -1, 1), (1, -1, 3), version=version) == [(1, 0, 2, 0), (1, 0, 1, 0), (1, 0, -1, -1)]


@pytest.mark.parametrize("version", VERSIONS)
def test_records_that_are_deleted_are_not_where_an_epoch_began(ask, topic, version):
    topic.delete_records(4)
    assert ask((0, -1, 1), (0, -1, 4), version=version) == [(0, 0, 1, 4), (0, 0, 4, 5)]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_partition_is_answered_by_itself(ask, topic, version):
    answers = ask((0, 6, 6), (0, 5, 6), (0, 7, 6), (9, -1, 0), (-1, -1, 0), (0, -1, 6), version=version)
    assert answers == [
        (0, 0, 6, 5),
        (0, ErrorCode.FENCED_LEADER_EPOCH, -1, -1),
        (0, ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1),
        (9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1),
        (-1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1),
        (0, 0, 6, 5),
    ]
    assert ask((0, -1, 0), version=version, topic="nobody") == [(0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)]
    topic.leader_id = 7
    assert ask((0, -1, 6), version=version) == [(0, ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1)]
