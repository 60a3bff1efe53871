"""ListOffsets (L-01 … L-10, L-21)."""

import pytest

from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ListOffsetsRequest

VERSIONS = range(1, 12)
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = -1, -2, -3, -4, -5, -6


@pytest.fixture
def topic(client):
    """Records at 1000 | 5000 5001 5002 | 4000 4001 | 9000 | 9000, in batches."""
    client.create("t", 2)
    for count, timestamp in ((1, 1000), (3, 5000), (2, 4000), (1, 9000), (1, 9000)):
        client.produce("t", client.batch(count, timestamp=timestamp))
    client.partition("t").leader_epoch = 3
    return "t"


def found(answer):
    return answer.error_code, answer.offset, answer.timestamp


@pytest.mark.parametrize("version", VERSIONS)
def test_the_ends_of_the_log(client, topic, version):
    client.partition("t").delete_records(2)
    latest, earliest = (client.offset("t", asked, version=version) for asked in (LATEST, EARLIEST))
    assert found(latest) == (0, 8, -1)
    assert found(earliest) == (0, 2, -1)
    assert (latest.leader_epoch, earliest.leader_epoch) == ((3, 0) if version >= 4 else (-1, -1))


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (0, (0, 0, 1000)),
        (1000, (0, 0, 1000)),
        (1001, (0, 1, 5000)),
        (5001, (0, 2, 5001)),
        (5003, (0, 6, 9000)),
        (9000, (0, 6, 9000)),
        (9001, (0, -1, -1)),
        (2**63 - 1, (0, -1, -1)),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_record_that_is_as_new(client, topic, version, timestamp, expected):
    answer = client.offset("t", timestamp, version=version)
    assert found(answer) == expected
    assert answer.leader_epoch == (0 if version >= 4 and expected[1] >= 0 else -1)


@pytest.mark.parametrize(
    ("asked", "first_version", "expected"),
    [
        (MAX_TIMESTAMP, 7, (0, 6, 9000)),
        (EARLIEST_LOCAL, 8, (0, 0, -1)),
        (LATEST_TIERED, 9, (0, -1, -1)),
        (EARLIEST_PENDING_UPLOAD, 11, (0, -1, -1)),
        (-7, 12, None),
        (-(2**63), 12, None),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_special_positions_need_their_version(client, topic, version, asked, first_version, expected):
    answer = client.offset("t", asked, version=version)
    assert found(answer) == (expected if version >= first_version else (ErrorCode.UNSUPPORTED_VERSION, -1, -1))
    if version < first_version:
        assert client.offset("nobody", asked, version=version).error_code == ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("compression", CompressionType)
def test_a_time_is_found_within_a_batch(client, compression):
    client.create("t")
    client.produce("t", client.batch(10, timestamp=5000, compression=compression))
    assert found(client.offset("t", 5004)) == (0, 4, 5004)
    client.partition("t").delete_records(6)
    assert found(client.offset("t", 5004)) == (0, 6, 5006)


@pytest.mark.parametrize("version", range(7, 12))
def test_an_empty_log_has_no_largest_timestamp(client, topic, version):
    assert found(client.offset("t", MAX_TIMESTAMP, partition=1, version=version)) == (0, -1, -1)
    assert found(client.offset("t", EARLIEST, partition=1, version=version)) == (0, 0, -1)
    assert client.offset("t", EARLIEST, partition=1, version=version).leader_epoch == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_partition_that_is_named_twice_fails_once(client, topic, version):
    partition = ListOffsetsRequest.ListOffsetsPartition
    topics = [
        ListOffsetsRequest.ListOffsetsTopic(
            name="t", partitions=[partition(partition_index=0, timestamp=-1), partition(partition_index=1, timestamp=-1)]
        ),
        ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=[partition(partition_index=0, timestamp=-2)]),
        ListOffsetsRequest.ListOffsetsTopic(name="u"),
    ]
    response = client.send(ListOffsetsRequest(replica_id=-1, topics=topics), version)
    answers = [(topic.name, one.partition_index, *found(one)) for topic in response.topics for one in topic.partitions]
    assert answers == [("t", 0, ErrorCode.INVALID_REQUEST, -1, -1), ("t", 1, 0, 0, -1)]
    assert len(response.topics) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_what_does_not_exist_is_told(client, topic, version):
    for name, partition in (("nobody", 0), ("t", 2), ("t", -1), ("a b", 0)):
        answer = client.offset(name, LATEST, partition=partition, version=version)
        assert (*found(answer), answer.leader_epoch) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1, -1)


@pytest.mark.parametrize("version", range(2, 12))
@pytest.mark.parametrize("isolation_level", [2, -1])
def test_an_isolation_level_that_does_not_exist_fails_everything(client, topic, version, isolation_level):
    for name in ("t", "nobody"):
        assert client.offset(name, LATEST, version=version, isolation_level=isolation_level).error_code == -1


@pytest.mark.parametrize("version", range(4, 12))
def test_leader_and_epoch_are_checked(client, topic, version):
    def ask(epoch):
        wanted = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=-1, current_leader_epoch=epoch)
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=[wanted])])
        return client.send(request, version).topics[0].partitions[0].error_code

    errors = [ask(epoch) for epoch in (-1, 2, 3, 4)]
    assert errors == [0, ErrorCode.FENCED_LEADER_EPOCH, 0, ErrorCode.UNKNOWN_LEADER_EPOCH]
    client.partition("t").leader_id = 7
    assert ask(-1) == ErrorCode.NOT_LEADER_OR_FOLLOWER


@pytest.mark.parametrize("asked", [LATEST, EARLIEST, MAX_TIMESTAMP, 5000])
def test_a_log_that_is_offline_is_told(client, topic, asked):
    client.partition("t").log.go_offline(OSError("the disk is gone"))
    expected = 0 if asked in (LATEST, EARLIEST) else ErrorCode.KAFKA_STORAGE_ERROR
    assert client.offset("t", asked).error_code == expected
