"""After a disk error a log comes back by itself, with everything that was acknowledged, and writes no more to a file whose fsync failed."""

import errno
import logging
import random
from types import SimpleNamespace

import pytest

from pykbroker.clock import VirtualClock
from pykbroker.log_directory import FIRST_REOPEN_PAUSE_MS, LONGEST_REOPEN_PAUSE_MS
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    CreateTopicsRequest,
    DeleteTopicsRequest,
    FetchRequest,
    FindCoordinatorRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    ProduceRequest,
)
from pykbroker.protocol.records import NewRecord, batches, build_batch
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles

SYNC_EACH = {"log.flush.interval.messages": "1"}


class Disk:
    """Fails where it is told to; and holds the log to its law: after a failed sync of a file, nothing is written to it or synced of it again."""

    def __init__(self) -> None:
        self.memory = MemoryFiles(crashable=True)
        self.files = FaultyFiles(self.memory, self)
        self.broken: set[str] = set()
        """Operations that fail, on files of topic t and of the offsets topic."""
        self.lost: set[str] = set()
        """Files of which a sync failed."""

    def __call__(self, operation: str, name: str) -> int | None:
        if operation == "rename":
            self.lost = {one for one in self.lost if one != name.removesuffix(".tmp") and not one.startswith(f"{name}/")}
        if operation in {"append", "sync"} and name.startswith(("t-0", "__consumer_offsets")):
            assert name not in self.lost, f"{operation} of {name}, whose sync failed"
            if operation in self.broken:
                if operation == "sync":
                    self.lost.add(name)
                raise OSError(errno.EIO, "the disk is broken", name)
        return None


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def broker(new_cluster, ask, disk):
    return started(new_cluster, ask, disk.files, SYNC_EACH)


def started(new_cluster, ask, files, static):
    """A cluster with topic t, and a client."""
    clock = VirtualClock()
    cluster = new_cluster(static, files=files, clock=clock)

    def create():
        topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=1)
        return ask(cluster, CreateTopicsRequest(topics=[topic]), 7).topics[0].error_code

    def produce(value):
        one = ProduceRequest.PartitionProduceData(index=0, records=build_batch([NewRecord(value)]))
        topic = ProduceRequest.TopicProduceData(name="t", partition_data=[one])
        answer = ask(cluster, ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[topic]), 9)
        return answer.responses[0].partition_responses[0].error_code

    def fetch():
        one = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
        answer = ask(cluster, FetchRequest(max_wait_ms=0, topics=[FetchRequest.FetchTopic(topic="t", partitions=[one])]), 11)
        (partition,) = answer.responses[0].partitions
        values = [record.value for batch in batches(partition.records or b"") for record in batch.records()]
        return partition.error_code, values

    def commit(offset):
        one = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        topic = OffsetCommitRequest.OffsetCommitRequestTopic(name="t", partitions=[one])
        return ask(cluster, OffsetCommitRequest(group_id="g", topics=[topic]), 2).topics[0].partitions[0].error_code

    def committed():
        topic = OffsetFetchRequest.OffsetFetchRequestTopic(name="t", partition_indexes=[0])
        answer = ask(cluster, OffsetFetchRequest(group_id="g", topics=[topic]), 5)
        return answer.error_code, [one.committed_offset for topic in answer.topics for one in topic.partitions]

    create()
    return SimpleNamespace(
        cluster=cluster, clock=clock, create=create, produce=produce, fetch=fetch, commit=commit, committed=committed, ask=ask
    )


@pytest.mark.parametrize("operation", ["append", "sync"])
def test_what_was_acknowledged_is_there_again_after_a_pause(broker, disk, operation):
    assert broker.produce(b"1") == 0
    disk.broken = {operation}
    assert broker.produce(b"2") == ErrorCode.KAFKA_STORAGE_ERROR
    disk.broken = set()
    assert broker.produce(b"3") == ErrorCode.KAFKA_STORAGE_ERROR
    assert broker.fetch()[0] == ErrorCode.KAFKA_STORAGE_ERROR

    broker.clock.advance(FIRST_REOPEN_PAUSE_MS)

    error, values = broker.fetch()
    assert (error, values[0]) == (0, b"1")
    assert broker.produce(b"4") == 0
    assert broker.fetch() == (0, [*values, b"4"])


@pytest.mark.parametrize("seed", range(20))
def test_and_also_after_the_next_power_cut(new_cluster, ask, broker, disk, seed):
    broker.produce(b"1")
    disk.broken = {"sync"}
    broker.produce(b"2")
    disk.broken = set()
    broker.clock.advance(FIRST_REOPEN_PAUSE_MS)
    assert broker.produce(b"3") == 0

    after = started(new_cluster, ask, disk.memory.crash(random.Random(seed)), SYNC_EACH)

    error, values = after.fetch()
    assert (error, [value for value in values if value != b"2"]) == (0, [b"1", b"3"])


def test_a_disk_that_stays_broken_is_asked_ever_less_often(broker, disk, caplog):
    caplog.set_level(logging.WARNING, "pykbroker")
    broker.produce(b"1")
    disk.broken = {"append", "sync"}
    broker.produce(b"2")
    broker.clock.advance(hours=1)
    assert broker.produce(b"3") == ErrorCode.KAFKA_STORAGE_ERROR
    tries = sum("Looking after the logs failed" in line for line in caplog.messages)
    assert 3_600_000 // LONGEST_REOPEN_PAUSE_MS <= tries <= 3_600_000 // LONGEST_REOPEN_PAUSE_MS + 6

    disk.broken = set()
    broker.clock.advance(LONGEST_REOPEN_PAUSE_MS)
    assert broker.produce(b"4") == 0


def test_a_log_with_many_segments_is_copied_from_its_recovery_point_on(new_cluster, ask, disk):
    broker = started(new_cluster, ask, disk.files, {"log.segment.bytes": "1048576"})
    values = [b"%d" % number * 300_000 for number in range(9)]
    for value in values:
        assert broker.produce(value) == 0
    disk.broken = {"append"}
    assert broker.produce(b"refused") == ErrorCode.KAFKA_STORAGE_ERROR
    disk.broken = set()

    broker.clock.advance(FIRST_REOPEN_PAUSE_MS)

    assert broker.cluster.metadata.partition("t", 0).log.end_offset == len(values)
    assert len(broker.cluster.metadata.partition("t", 0).log.segments) == 3
    assert not [name for name in disk.memory.list("t-0") if name.endswith(".tmp")]


def test_a_topic_that_is_deleted_meanwhile_does_not_come_back(broker, disk):
    broker.produce(b"1")
    disk.broken = {"sync"}
    broker.produce(b"2")
    disk.broken = set()
    broker.ask(broker.cluster, DeleteTopicsRequest(topic_names=["t"]), 5)
    assert broker.create() == 0
    assert broker.produce(b"new") == 0

    broker.clock.advance(minutes=2)

    assert broker.fetch() == (0, [b"new"])


def test_a_group_goes_on_with_what_it_committed(broker, disk):
    broker.ask(broker.cluster, FindCoordinatorRequest(key="g"), 2)
    assert broker.commit(5) == 0
    disk.broken = {"append"}
    assert broker.commit(6) == ErrorCode.NOT_COORDINATOR
    disk.broken = set()
    assert broker.committed()[0] == ErrorCode.NOT_COORDINATOR

    broker.clock.advance(3 * FIRST_REOPEN_PAUSE_MS)

    assert broker.committed() == (0, [5])
    assert broker.commit(7) == 0
    assert broker.committed() == (0, [7])
