"""`__cluster_metadata` is written as Kafka writes it: the same records, in the same frames, in the same order, one batch a decision."""

import errno
import random

import pytest

from pykbroker.metadata import log as metadata_log
from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.messages import (
    ConfigRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from pykbroker.protocol.records import batches
from pykbroker.storage.checkpoints import CheckpointDamaged
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles

LOG = "__cluster_metadata-0/00000000000000000000.log"


def batches_of(cluster):
    log = bytes(cluster.files.read(LOG, 0, cluster.files.size(LOG)))
    return list(batches(log))


def records_of(cluster):
    return [record for _, record in cluster.metadata_log.replay()]


def test_a_topic_is_one_batch_of_records_framed_as_kafka_frames_them(new_cluster):
    cluster = new_cluster()
    before = len(batches_of(cluster))
    cluster.controller.create_topics([NewTopic("a", 2, 1, configs={"retention.ms": "1000"})])

    (batch,) = batches_of(cluster)[before:]

    topic_id = cluster.metadata.topics["a"].topic_id
    values = [record.value for record in batch.records()]
    assert values[0] == b"\x01\x02\x00" + b"\x02a" + topic_id + b"\x00"  # frame 1, TopicRecord, version 0; a compact string, an id, no tags
    assert values[1] == b"\x01\x04\x00" + b"\x02" + b"\x02a" + b"\x0dretention.ms" + b"\x051000" + b"\x00"
    assert [value[:3] for value in values[2:]] == [b"\x01\x03\x02"] * 2
    assert len(values[2]) == 65, "as long as Kafka 4.3's own PartitionRecord of one replica"


def test_a_log_begins_with_features_and_the_broker(new_cluster):
    records = records_of(new_cluster())

    assert [type(record) for record in records[:3]] == [FeatureLevelRecord, FeatureLevelRecord, ConfigRecord]
    assert (records[2].resource_name, records[2].name, records[2].value) == ("", "min.insync.replicas", "1")
    register = records[3]
    assert isinstance(register, RegisterBrokerRecord)
    assert (register.broker_id, register.broker_epoch, register.fenced) == (1, 3, True)
    assert [(one.name, one.host, one.port, one.security_protocol) for one in register.end_points] == [("PLAINTEXT", "127.0.0.1", 9092, 0)]
    assert len(register.log_dirs[0]) == 16
    assert register.log_dirs[0] != bytes(16)


def test_partitions_name_the_directory_that_the_broker_registered(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("a")])
    records = records_of(cluster)
    (register,) = (record for record in records if isinstance(record, RegisterBrokerRecord))
    (partition,) = (record for record in records if isinstance(record, PartitionRecord))

    assert partition.directories == register.log_dirs


def test_a_restart_writes_that_the_broker_is_back_and_what_it_leads(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("a", 2)])
    cluster.stop()
    before = cluster.metadata.offset
    cluster = new_cluster(files=cluster.files)

    new = [record for offset, record in cluster.metadata_log.replay() if offset > before]

    assert isinstance(new[0], RegisterBrokerRecord)
    assert new[0].broker_epoch == before + 1
    assert [(type(one), one.partition_id, one.leader, one.isr) for one in new[2:]] == [
        (PartitionChangeRecord, 0, 1, None),
        (PartitionChangeRecord, 1, 1, None),
    ]


def test_topics_go_by_their_id(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("a")])
    topic = cluster.metadata.topics["a"]
    cluster.controller.delete_topics([topic])

    created, removed = (one for one in records_of(cluster) if isinstance(one, (TopicRecord, RemoveTopicRecord)))

    assert created.topic_id == removed.topic_id == topic.topic_id


def churn(cluster, times):
    """Topics come and go: the log grows, what it says does not."""
    for number in range(times):
        cluster.controller.create_topics([NewTopic(f"gone{number}", 3)])
        cluster.controller.delete_topics([cluster.metadata.topics[f"gone{number}"]])


def test_a_log_that_says_little_in_many_words_is_replaced_by_a_snapshot(new_cluster, monkeypatch):
    monkeypatch.setattr(metadata_log, "_FEW_RECORDS", 100)
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("stays.on", 4, 1, configs={"retention.ms": "5"})])
    cluster.controller.allocate_producer_id()
    churn(cluster, 50)
    metadata = cluster.metadata
    topic = metadata.topics["stays.on"]

    names = cluster.files.list("__cluster_metadata-0")
    assert len([name for name in names if name.endswith(".checkpoint")]) == 1
    assert len([name for name in names if name.endswith(".log")]) == 1
    assert len(records_of(cluster)) < 200
    assert metadata.offset > 250

    cluster.stop()
    found = new_cluster(files=cluster.files)
    assert list(found.metadata.topics) == ["stays.on"]
    assert found.metadata.topics["stays.on"].topic_id == topic.topic_id
    assert [partition.leader_epoch for partition in found.metadata.topics["stays.on"].partitions] == [1] * 4
    assert found.metadata.features == metadata.features
    assert found.metadata.next_producer_id == 1000
    assert found.config.topic("stays.on").retention_ms == 5
    assert found.config.overrides(4, "") == cluster.config.overrides(4, "")
    assert found.metadata.offset > metadata.offset


def test_crashes_while_snapshots_are_taken_lose_nothing(new_cluster, monkeypatch):
    monkeypatch.setattr(metadata_log, "_FEW_RECORDS", 20)
    for seed in range(40):
        dice = random.Random(seed)
        files = MemoryFiles(crashable=True)
        cluster = new_cluster(files=files)
        images = []

        def before(operation, name, files=files, images=images, dice=dice, cluster=cluster):
            if dice.random() < 0.1:
                images.append((set(cluster.metadata.topics), files.crash(dice)))

        cluster.files = FaultyFiles(files, before)
        cluster.metadata_log._files = cluster.metadata_log.log.files = cluster.files
        for number in range(12):
            cluster.controller.create_topics([NewTopic(f"t{number}")])
            if number % 2:
                cluster.controller.delete_topics([cluster.metadata.topics[f"t{number}"]])

        assert images, f"seed {seed}"
        for known, image in images:
            found = set(new_cluster(files=image).metadata.topics)
            assert len(found ^ known) <= 1, f"seed {seed}: only the decision that was being made may be missing or there already"


def test_a_disk_too_full_for_a_snapshot_changes_nothing(new_cluster, monkeypatch):
    monkeypatch.setattr(metadata_log, "_FEW_RECORDS", 20)

    def full(operation, name):
        if operation == "append" and ".checkpoint" in name:
            raise OSError(28, "no space left on device")

    cluster = new_cluster(files=FaultyFiles(MemoryFiles(), full))
    churn(cluster, 20)
    assert not [name for name in cluster.files.list("__cluster_metadata-0") if name.endswith(".checkpoint")]
    cluster.controller.create_topics([NewTopic("t")])

    cluster.stop()
    assert list(new_cluster(files=cluster.files).metadata.topics) == ["t"]


@pytest.mark.parametrize("where", ["log", "snapshot", "end of the snapshot"])
def test_a_start_fails_with_a_sentence_where_the_log_is_damaged(new_cluster, monkeypatch, where):
    monkeypatch.setattr(metadata_log, "_FEW_RECORDS", 20)
    cluster = new_cluster()
    churn(cluster, 20)
    cluster.stop()
    names = cluster.files.list("__cluster_metadata-0")
    suffix = ".log" if where == "log" else ".checkpoint"
    name = f"__cluster_metadata-0/{next(one for one in names if one.endswith(suffix))}"
    data = bytearray(cluster.files.read(name, 0, cluster.files.size(name)))
    if where == "end of the snapshot":
        del data[-10:]
    else:
        data[70] ^= 1
    cluster.files.replace(name, bytes(data))

    with pytest.raises(CheckpointDamaged, match="is damaged") as damaged:
        new_cluster(files=cluster.files)
    assert name in str(damaged.value)


def crashed_with_topics(new_cluster):
    """A broker that was killed after four decisions, of which the last is younger than a minute."""
    cluster = new_cluster()
    for name in ("a", "b", "c"):
        cluster.controller.create_topics([NewTopic(name)])
    cluster.clock.advance(60_000)
    cluster.controller.create_topics([NewTopic("d")])
    return cluster


@pytest.mark.parametrize("where", ["checksum", "length", "base offset", "magic"])
def test_a_start_after_a_crash_does_not_cut_off_decisions_that_were_on_disk(new_cluster, where):
    cluster = crashed_with_topics(new_cluster)
    data = bytearray(cluster.files.read(LOG, 0, cluster.files.size(LOG)))
    start = sum(batch.size_in_bytes for batch in batches_of(cluster)[:-3])
    data[start + {"checksum": 100, "length": 9, "base offset": 7, "magic": 16}[where]] ^= 1
    cluster.files.replace(LOG, bytes(data))

    with pytest.raises(CheckpointDamaged, match=r"is damaged: it ends at offset \d+, and decisions up to \d+ were on disk"):
        new_cluster(files=cluster.files)
    assert bytes(cluster.files.read(LOG, 0, cluster.files.size(LOG))) == bytes(data)


@pytest.mark.parametrize("cut_bytes", [1, 30, 90])
def test_what_a_crash_has_torn_off_the_last_decision_is_cut(new_cluster, cut_bytes):
    cluster = crashed_with_topics(new_cluster)
    cluster.files.truncate(LOG, cluster.files.size(LOG) - cut_bytes)

    assert list(new_cluster(files=cluster.files).metadata.topics) == ["a", "b", "c"]


def test_a_metadata_log_that_is_lost_is_missed(new_cluster):
    cluster = crashed_with_topics(new_cluster)
    cluster.files.delete(LOG)

    with pytest.raises(CheckpointDamaged, match="it ends at offset 0"):
        new_cluster(files=cluster.files)


def test_a_broker_does_not_begin_anew_beside_the_logs_of_topics(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("a")])
    cluster.logs.log_of("a", 0, cluster.metadata.topics["a"].topic_id)
    cluster.files.delete(LOG)

    with pytest.raises(CheckpointDamaged, match="a-0"):
        new_cluster(files=cluster.files)


def test_a_snapshot_whose_log_was_not_shortened_is_no_damage(new_cluster, monkeypatch):
    """The disk took the snapshot, and nothing behind it; then a minute passed, and the broker was killed."""
    monkeypatch.setattr(metadata_log, "_FEW_RECORDS", 20)
    monkeypatch.setattr(metadata_log.UnifiedLog, "roll", refuse)
    cluster = new_cluster()
    churn(cluster, 20)
    assert [name for name in cluster.files.list("__cluster_metadata-0") if name.endswith(".checkpoint")]
    cluster.controller.create_topics([NewTopic("t")])
    cluster.clock.advance(60_000)

    assert list(new_cluster(files=cluster.files).metadata.topics) == ["t"]


def refuse(*_):
    raise OSError(errno.ENOSPC, "the disk is full")
