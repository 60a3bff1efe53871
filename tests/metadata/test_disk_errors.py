"""After a disk error the metadata log comes back by itself, and what was refused has never been true: not before it came back, not then, not after a restart."""

import errno
import logging
import random
from types import SimpleNamespace

import pytest

from pykbroker.clock import VirtualClock
from pykbroker.log_directory import FIRST_REOPEN_PAUSE_MS, LONGEST_REOPEN_PAUSE_MS
from pykbroker.metadata.controller import MorePartitions, NewTopic
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
    FetchRequest,
    FindCoordinatorRequest,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    MetadataRequest,
    ProduceRequest,
)
from pykbroker.protocol.records import NewRecord, batches, build_batch
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles
from tests.held_work import HeldWork

DIRECTORY = "__cluster_metadata-0"
BROKEN = ErrorCode.KAFKA_STORAGE_ERROR
TOPIC = 2


class Disk:
    """Fails where it is told to; and holds the log to its law: after a failed sync of a file, nothing is written to it or synced of it again."""

    def __init__(self):
        self.memory = MemoryFiles(crashable=True)
        self.files = FaultyFiles(self.memory, self)
        self.broken = set()
        self.lost = set()
        self.written_of_an_append = None
        """None: nothing of an append that fails is written."""

    def __call__(self, operation, name):
        if operation in {"rename", "delete"}:
            self.lost -= {name, name.removesuffix(".tmp")} if operation == "rename" else {name}
        if name.startswith(DIRECTORY) and operation in {"append", "sync"}:
            assert name not in self.lost, f"{operation} of {name}, whose sync failed"
        if name.startswith(DIRECTORY) and operation in self.broken:
            if operation == "sync":
                self.lost.add(name)
            if operation == "append" and self.written_of_an_append is not None:
                self.memory.append(name, [bytes(self.written_of_an_append)])
            raise OSError(errno.EIO, "the disk is broken", name)


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def client(new_cluster, ask, disk):
    return client_of(new_cluster, ask, disk.files)


def client_of(new_cluster, ask, files, offload=None):
    """What clients of a cluster do; its `clock` is what the log waits by."""
    clock = VirtualClock()
    more = {} if offload is None else {"offload": offload}
    cluster = new_cluster(files=files, clock=clock, **more)

    def create(name, partitions=1):
        wanted = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
        return ask(cluster, CreateTopicsRequest(topics=[wanted]), 7).topics[0].error_code

    def delete(name):
        return ask(cluster, DeleteTopicsRequest(topic_names=[name]), 5).responses[0].error_code

    def grow(name, count):
        wanted = CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=count, assignments=None)
        return ask(cluster, CreatePartitionsRequest(topics=[wanted]), 3).results[0].error_code

    def retain(name, retention_ms):
        config = IncrementalAlterConfigsRequest.AlterableConfig(name="retention.ms", config_operation=0, value=str(retention_ms))
        resource = IncrementalAlterConfigsRequest.AlterConfigsResource(resource_type=TOPIC, resource_name=name, configs=[config])
        return ask(cluster, IncrementalAlterConfigsRequest(resources=[resource]), 1).responses[0].error_code

    def retention_of(name):
        resource = DescribeConfigsRequest.DescribeConfigsResource(
            resource_type=TOPIC, resource_name=name, configuration_keys=["retention.ms"]
        )
        return ask(cluster, DescribeConfigsRequest(resources=[resource]), 4).results[0].configs[0].value

    def producer_id():
        answer = ask(cluster, InitProducerIdRequest(transactional_id=None), 4)
        return answer.error_code, answer.producer_id

    def topics():
        return {one.name: len(one.partitions) for one in ask(cluster, MetadataRequest(topics=None), 12).topics}

    return SimpleNamespace(
        cluster=cluster,
        clock=clock,
        ask=lambda request, version: ask(cluster, request, version),
        create=create,
        delete=delete,
        grow=grow,
        retain=retain,
        retention_of=retention_of,
        producer_id=producer_id,
        topics=topics,
    )


@pytest.mark.parametrize(("operation", "written"), [("append", None), ("append", 0), ("append", 40), ("sync", None)])
def test_a_topic_that_was_refused_is_not_there_and_can_be_made_when_the_log_is_back(new_cluster, ask, client, disk, operation, written):
    assert client.create("before") == 0
    disk.broken, disk.written_of_an_append = {operation}, written
    assert client.create("t", 3) == BROKEN
    disk.broken = set()
    assert client.create("u") == BROKEN, "also while it waits to be opened anew"
    assert client.topics() == {"before": 1}

    client.clock.advance(FIRST_REOPEN_PAUSE_MS)

    assert client.topics() == {"before": 1}
    assert client.create("t", 2) == 0
    assert client.create("before") == ErrorCode.TOPIC_ALREADY_EXISTS
    client.cluster.stop()
    assert client_of(new_cluster, ask, disk.files).topics() == {"before": 1, "t": 2}


def test_every_change_is_refused_with_the_code_that_fits_and_works_afterwards(client, disk):
    assert client.create("t") == 0
    disk.broken = {"sync"}

    assert client.retain("t", 5) == BROKEN
    assert client.grow("t", 4) == BROKEN
    assert client.delete("t") == BROKEN
    assert client.producer_id() == (BROKEN, -1)
    find = FindCoordinatorRequest(key="g")
    assert client.ask(find, 2).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert client.ask(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="wanted")]), 12).topics[0].error_code == 3
    assert client.topics() == {"t": 1}
    assert client.retention_of("t") == "604800000"

    disk.broken = set()
    client.clock.advance(FIRST_REOPEN_PAUSE_MS)

    assert client.topics() == {"t": 1}
    assert (client.retain("t", 5), client.grow("t", 4), client.producer_id()) == (0, 0, (0, 0))
    assert client.retention_of("t") == "5"
    assert client.ask(find, 2).error_code == 0
    assert client.delete("t") == 0
    assert client.topics().keys() == {"__consumer_offsets"}


def test_a_deletion_that_was_refused_takes_no_records(client, disk):
    client.create("t")
    records = ProduceRequest.PartitionProduceData(index=0, records=build_batch([NewRecord(b"kept")]))
    client.ask(ProduceRequest(acks=-1, topic_data=[ProduceRequest.TopicProduceData(name="t", partition_data=[records])]), 9)
    disk.broken = {"sync"}
    assert client.delete("t") == BROKEN
    disk.broken = set()
    client.clock.advance(minutes=2)

    fetched = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000)
    answer = client.ask(FetchRequest(max_wait_ms=0, topics=[FetchRequest.FetchTopic(topic="t", partitions=[fetched])]), 11)

    found = batches(answer.responses[0].partitions[0].records)
    assert [record.value for batch in found for record in batch.records()] == [b"kept"]


@pytest.mark.parametrize("seed", range(20))
def test_a_power_cut_after_the_log_came_back_loses_nothing_and_brings_nothing_back(new_cluster, ask, client, disk, seed):
    client.create("before")
    disk.broken = {"sync"}
    assert client.create("refused") == BROKEN
    disk.broken = set()
    client.clock.advance(FIRST_REOPEN_PAUSE_MS)
    assert client.create("after") == 0

    found = client_of(new_cluster, ask, disk.memory.crash(random.Random(seed)))

    assert found.topics().keys() == {"before", "after"}


@pytest.mark.parametrize("is_crash", [False, True])
def test_a_stop_while_the_log_is_offline_is_no_clean_one(new_cluster, ask, client, disk, is_crash):
    """What was refused was written or not: only a restart that comes first may tell; what was acknowledged is there."""
    client.create("before")
    disk.broken, disk.written_of_an_append = {"append"}, 40
    assert client.create("refused") == BROKEN
    disk.broken = set()
    if not is_crash:
        client.cluster.stop()
        client.clock.advance(hours=1)

    found = client_of(new_cluster, ask, disk.memory.crash(random.Random(1)) if is_crash else disk.files)

    assert "before" in found.topics()
    assert found.create("new") == 0


def test_a_disk_that_stays_broken_is_asked_ever_less_often(client, disk, caplog):
    caplog.set_level(logging.WARNING, "pykbroker")
    disk.broken = {"append", "sync"}
    assert client.create("t") == BROKEN
    client.clock.advance(hours=1)
    assert client.create("t") == BROKEN
    tries = sum("The metadata log stays offline" in line for line in caplog.messages)
    assert 3_600_000 // LONGEST_REOPEN_PAUSE_MS <= tries <= 3_600_000 // LONGEST_REOPEN_PAUSE_MS + 6

    disk.broken = set()
    client.clock.advance(LONGEST_REOPEN_PAUSE_MS)
    assert client.create("t") == 0


def test_a_log_that_lost_what_was_acknowledged_stays_offline(client, disk):
    client.create("a")
    client.create("b")
    name = f"{DIRECTORY}/{0:020d}.log"
    disk.broken = {"append"}
    client.create("refused")
    disk.broken = set()
    whole = disk.memory.read_whole(name)
    disk.memory.truncate(name, len(whole) - 10)

    client.clock.advance(FIRST_REOPEN_PAUSE_MS)

    assert client.create("c") == BROKEN
    assert client.topics().keys() == {"a", "b"}


def test_those_who_wait_for_their_turn_are_told_and_nothing_of_theirs_is_done(new_cluster, ask, disk):
    held_back = HeldWork()
    client = client_of(new_cluster, ask, disk.files, held_back)
    controller = client.cluster.controller
    results = [controller.create_topics([NewTopic(f"t{number}")]) for number in range(3)]
    results.append(controller.create_topics([NewTopic("t0")]))
    results.append(controller.create_partitions([MorePartitions("t0", 2)]))
    assert client.topics() == {}, "nothing is true before it is durable"
    assert not any(result.settled for result in results)
    disk.broken = {"sync"}

    held_back.run()

    for result in results:
        with pytest.raises(KafkaError) as refused:
            _ = result.value
        assert refused.value.error_code == BROKEN
    disk.broken = set()
    client.clock.advance(FIRST_REOPEN_PAUSE_MS)  # the copy is written, then synced elsewhere, then read
    held_back.run()
    client.clock.advance()
    again = controller.create_topics([NewTopic("t0")]), controller.create_topics([NewTopic("t0")])
    held_back.run()
    assert [type(result.value[0]).__name__ for result in again] == ["CreatedTopic", "KafkaError"]
    assert again[1].value[0].error_code == ErrorCode.TOPIC_ALREADY_EXISTS
    assert client.topics() == {"t0": 1}


def test_what_clients_see_is_what_was_acknowledged_whenever_the_disk_fails(new_cluster, ask):
    """Random changes, faults at random, now and then a pause, a restart or a power cut: a model knows what was acknowledged."""
    for seed in range(60):
        dice = random.Random(seed)
        disk = Disk()
        client = client_of(new_cluster, ask, disk.files)
        model = {}
        for _ in range(40):
            disk.broken = {dice.choice(["append", "sync", "truncate", "rename"])} if dice.random() < 0.25 else set()
            disk.written_of_an_append = dice.choice([None, 0, 30])
            name = f"t{dice.randrange(6)}"
            if name not in model:
                if client.create(name) == 0:
                    model[name] = 1
            elif dice.random() < 0.5:
                if client.delete(name) == 0:
                    del model[name]
            elif client.grow(name, model[name] + 1) == 0:
                model[name] += 1
            assert client.topics() == model, f"seed {seed}"
            if dice.random() < 0.3:
                client.clock.advance(FIRST_REOPEN_PAUSE_MS * dice.randrange(1, 4))
                assert client.topics() == model, f"seed {seed}"
            if dice.random() < 0.1 and client.cluster.metadata_log.offline is None:
                disk.broken = set()
                client.cluster.stop()
                client = client_of(new_cluster, ask, disk.files)
                assert client.topics() == model, f"seed {seed}, after a restart"
        disk.broken = set()
        client.clock.advance(LONGEST_REOPEN_PAUSE_MS)
        assert client.cluster.metadata_log.offline is None, f"seed {seed}"
        found = client_of(new_cluster, ask, disk.memory.crash(dice))
        assert found.topics() == model, f"seed {seed}, after a power cut"
