"""DeleteRecords (L-12 … L-17, L-19)."""

import pytest

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DeleteRecordsRequest
from pykbroker.protocol.records import batches
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles

VERSIONS = range(3)


def request(*wanted):
    return DeleteRecordsRequest(
        timeout_ms=1000,
        topics=[
            DeleteRecordsRequest.DeleteRecordsTopic(
                name=name, partitions=[DeleteRecordsRequest.DeleteRecordsPartition(partition_index=index, offset=offset)]
            )
            for name, index, offset in wanted
        ],
    )


def delete(client, *wanted, version=2):
    """(topic, partition, error, low watermark) of every answer."""
    response = client.send(request(*wanted), version)
    return [(topic.name, one.partition_index, one.error_code, one.low_watermark) for topic in response.topics for one in topic.partitions]


@pytest.fixture
def topic(client):
    client.create("t", 2)
    client.produce("t", client.batch(10))
    return "t"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("offset", "low_watermark"), [(0, 0), (4, 4), (10, 10), (-1, 10)])
def test_the_log_begins_at_the_offset_even_within_a_batch(client, topic, version, offset, low_watermark):
    assert delete(client, ("t", 0, offset), version=version) == [("t", 0, 0, low_watermark)]
    assert client.offset("t", -2).offset == low_watermark
    if low_watermark == 4:
        before, at = client.fetch(("t", 0, 3)), client.fetch(("t", 0, 4))
        assert before.responses[0].partitions[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        answer = at.responses[0].partitions[0]
        assert (answer.log_start_offset, [batch.base_offset for batch in batches(answer.records)]) == (4, [0])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offset", [11, -2, -(2**63)])
def test_what_is_out_of_range_deletes_nothing(client, topic, version, offset):
    assert delete(client, ("t", 0, offset), version=version) == [("t", 0, ErrorCode.OFFSET_OUT_OF_RANGE, -1)]
    assert client.offset("t", -2).offset == 0


def test_the_start_never_moves_back_and_the_last_word_counts(client, topic):
    assert delete(client, ("t", 0, 4)) == [("t", 0, 0, 4)]
    assert delete(client, ("t", 0, 2)) == [("t", 0, 0, 4)]
    assert delete(client, ("t", 0, 9), ("t", 1, -1), ("t", 0, 5)) == [("t", 0, 0, 5), ("t", 1, 0, 0)]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_may_not_be_deleted(client, topic, version):
    client.cluster.controller.create_internal_topic("__consumer_offsets")
    client.create("compacted", cleanup_policy="compact")
    client.create("both", cleanup_policy="compact,delete")
    answers = delete(
        client,
        ("t", 2, 0),
        ("t", -1, 0),
        ("nobody", 0, 0),
        ("__consumer_offsets", 0, 0),
        ("compacted", 0, 0),
        ("both", 0, 0),
        version=version,
    )
    assert answers == [
        ("t", 2, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        ("t", -1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        ("nobody", 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        ("__consumer_offsets", 0, ErrorCode.INVALID_TOPIC_EXCEPTION, -1),
        ("compacted", 0, ErrorCode.POLICY_VIOLATION, -1),
        ("both", 0, 0, 0),
    ]
    client.partition("t").leader_id = 7
    assert delete(client, ("t", 0, 1), version=version) == [("t", 0, ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)]


def test_topics_without_partitions_are_not_answered(client, topic):
    empty = DeleteRecordsRequest.DeleteRecordsTopic(name="t")
    assert client.send(DeleteRecordsRequest(timeout_ms=0, topics=[empty]), 2).topics == []


@pytest.mark.parametrize("is_clean", [True, False])
def test_deleted_records_stay_deleted(start, is_clean):
    files = MemoryFiles()
    before = start(files=files)
    before.create("t")
    before.produce("t", before.batch(10))
    delete(before, ("t", 0, 4))
    if is_clean:
        before.cluster.stop()

    after = start(files=files)

    assert [after.offset("t", asked).offset for asked in (-2, -1)] == [4, 10]


def test_a_start_that_cannot_be_written_down_is_not_told_as_done(start):
    is_full = False

    def fault(operation, name):
        if is_full and "log-start-offset" in name:
            raise OSError("the disk is full")

    client = start(files=FaultyFiles(MemoryFiles(), fault))
    client.create("t")
    client.produce("t", client.batch(10))
    is_full = True
    assert delete(client, ("t", 0, 4)) == [("t", 0, ErrorCode.KAFKA_STORAGE_ERROR, -1)]
    is_full = False
    assert delete(client, ("t", 0, 4)) == [("t", 0, 0, 4)]
