"""`__cluster_metadata` is written as Kafka writes it: the same records, in the same frames, in the same order, one batch a decision."""

from pykbroker.controller import NewTopic
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
