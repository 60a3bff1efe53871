"""What the controller decides is on disk before it is answered, is whole or not there at all after a crash, and is the same after a restart."""

import random

import pytest

from pykbroker.context import Close
from pykbroker.later import Later
from pykbroker.metadata.controller import PRODUCER_IDS_PER_BLOCK, MorePartitions, NewTopic
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.header import request_frame
from pykbroker.protocol.messages import ConfigRecord, CreateTopicsRequest
from pykbroker.session import Session
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles
from tests.held_work import HeldWork

METADATA_LOG = "__cluster_metadata-0/00000000000000000000.log"
SEED = 4711


def create(cluster, name, partitions=1, **configs):
    (result,) = now(
        cluster.controller.create_topics([NewTopic(name, partitions, 1, configs={k.replace("_", "."): v for k, v in configs.items()})])
    )
    return result


def now(value):
    return value.value if isinstance(value, Later) else value


def described(cluster):
    """Everything that clients can learn of the metadata, epochs aside."""
    metadata = cluster.metadata
    return (
        metadata.cluster_id,
        metadata.features,
        {
            topic.name: (topic.topic_id, [(one.index, one.leader_id, one.replicas, one.isr) for one in topic.partitions])
            for topic in metadata.topics.values()
        },
        {name: cluster.config.topic(name) for name in metadata.topics},
        metadata.partition_count,
        {topic_id: topic.name for topic_id, topic in metadata.topics_by_id.items()},
        [metadata.colliding_topic(name) for name in ("a.b", "a_b", "gone_x")],
    )


def full_of_decisions(cluster):
    create(cluster, "a.b", 3, retention_ms="5")
    create(cluster, "gone.x")
    now(cluster.controller.create_partitions([MorePartitions("a.b", 5)]))
    now(cluster.controller.delete_topics([cluster.metadata.topics["gone.x"]]))
    now(cluster.controller.create_internal_topic("__consumer_offsets"))
    retention = ConfigRecord(resource_type=2, resource_name="a.b", name="retention.ms", value="7")
    now(cluster.controller.decide(cluster.controller.write([[retention]])))
    cluster.controller.auto_create("automatic")


def test_a_restart_finds_what_was_there(new_cluster):
    first = new_cluster()
    full_of_decisions(first)
    before = described(first)
    assert before[2].keys() == {"a.b", "__consumer_offsets", "automatic"}
    assert before[3]["a.b"].retention_ms == 7
    assert before[-1] == ["a.b", "a.b", None]
    first.stop()

    second = new_cluster(files=first.files)

    assert described(second) == before


def test_every_start_raises_the_leader_epoch_so_that_clients_notice_what_a_crash_took(new_cluster):
    cluster = new_cluster()
    create(cluster, "t", 2)
    for start in range(1, 4):
        cluster.stop()
        cluster = new_cluster(files=cluster.files)
        assert [partition.leader_epoch for partition in cluster.metadata.topics["t"].partitions] == [start, start]
        assert cluster.broker.epoch == cluster.metadata.registrations[1].epoch


def test_nobody_is_told_of_what_a_start_replays_and_everybody_of_what_comes_then(new_cluster):
    cluster = new_cluster()
    full_of_decisions(cluster)
    cluster.stop()
    cluster = new_cluster(files=cluster.files)
    told = []
    metadata = cluster.metadata
    for kind in ("topic_created", "topic_deleted", "partitions_added"):
        getattr(metadata, f"on_{kind}").append(lambda topic, kind=kind: told.append((kind, topic.name, len(topic.partitions))))

    create(cluster, "new", 2)
    now(cluster.controller.create_partitions([MorePartitions("new", 3), MorePartitions("a.b", 6)]))
    gone = metadata.topics["new"]
    now(cluster.controller.delete_topics([gone]))

    assert told == [
        ("topic_created", "new", 2),
        ("partitions_added", "new", 3),
        ("partitions_added", "a.b", 6),
        ("topic_deleted", "new", 3),
    ]
    assert all(partition.deleted for partition in gone.partitions)


def test_an_answer_waits_for_the_disk(new_cluster):
    held_back = HeldWork()
    cluster = new_cluster(files=MemoryFiles(crashable=True), offload=held_back)
    held_back.run()
    request = CreateTopicsRequest(topics=[CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=1)])
    frame = b"".join(request_frame(request, 7, 1))[4:]

    answer = cluster.handle(Session(cluster.broker), memoryview(bytearray(frame)))

    assert isinstance(answer, Later)
    assert not answer.settled
    held_back.run()
    assert answer.settled
    assert not isinstance(answer.value, Close)


def test_crashes_lose_nothing_that_was_answered_and_half_of_nothing(new_cluster):
    """At a random moment of random decisions: what was answered is there, what was not is there whole or not at all."""
    for seed in range(SEED, SEED + 60):
        dice = random.Random(seed)
        held_back = HeldWork()
        files = MemoryFiles(crashable=True)
        cluster = new_cluster(files=files, offload=held_back)
        pending, made = [], {}
        for number in range(dice.randrange(1, 8)):
            name, partitions = f"t{number}", dice.randrange(1, 40)
            pending.append((name, partitions, cluster.controller.create_topics([NewTopic(name, partitions)])))
            made[name] = partitions
            if dice.random() < 0.4:
                held_back.run()
        answered = [name for name, _, later in pending if not isinstance(later, Later) or later.settled]

        found = new_cluster(files=files.crash(dice)).metadata.topics

        assert set(answered) <= found.keys(), f"seed {seed}"
        assert {name: len(topic.partitions) for name, topic in found.items()} == {name: made[name] for name in found}, f"seed {seed}"


@pytest.mark.parametrize("operation", ["append", "sync"])
def test_a_disk_that_fails_fails_the_request_and_not_the_broker(new_cluster, ask, operation):
    broken = False

    def fault(what, name):
        if broken and what == operation and name == METADATA_LOG:
            raise OSError(5, "input/output error")

    cluster = new_cluster(files=FaultyFiles(MemoryFiles(crashable=True), fault))
    create(cluster, "before")
    broken = True
    request = CreateTopicsRequest(topics=[CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=1)])

    for version in range(2, 8):
        assert [result.error_code for result in ask(cluster, request, version).topics] == [ErrorCode.KAFKA_STORAGE_ERROR]

    broken = False
    assert "before" in new_cluster(files=cluster.files.inner.crash(random.Random(SEED))).metadata.topics


def test_a_producer_id_is_given_once_whatever_happens(new_cluster):
    files = MemoryFiles(crashable=True)
    given = []
    for seed in range(4):
        cluster = new_cluster(files=files)
        given += [now(cluster.controller.allocate_producer_id()) for _ in range(PRODUCER_IDS_PER_BLOCK + 1)]
        files = files.crash(random.Random(seed))

    assert len(set(given)) == len(given)
    assert given[: PRODUCER_IDS_PER_BLOCK + 1] == list(range(PRODUCER_IDS_PER_BLOCK + 1))
    assert given[PRODUCER_IDS_PER_BLOCK + 1] == 2 * PRODUCER_IDS_PER_BLOCK


def test_a_producer_id_waits_until_its_block_is_on_disk(new_cluster):
    held_back = HeldWork()
    cluster = new_cluster(files=MemoryFiles(crashable=True), offload=held_back)
    held_back.run()

    first, second = cluster.controller.allocate_producer_id(), cluster.controller.allocate_producer_id()

    assert not first.settled
    assert not second.settled
    held_back.run()
    assert (first.value, second.value, cluster.controller.allocate_producer_id()) == (0, 1, 2)


class Forced:
    """A random source whose first draws are decided."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def randbytes(self, n):
        return self.draws.pop(0) if self.draws else b"\x01" * n

    def randrange(self, stop):
        return 0


def test_topic_ids_are_uuids_that_no_command_line_takes_for_an_option(new_cluster):
    cluster = new_cluster()
    dash_in_base64 = b"\xf8" + bytes(15)
    cluster.random = Forced(dash_in_base64, b"\xff" * 16)

    topic_id = create(cluster, "t").topic_id

    assert topic_id == bytes.fromhex("ffffffffffff4fffbfffffffffffffff")
    cluster.random = Forced(b"\xff" * 16)
    assert create(cluster, "u").topic_id != topic_id, "an id that is taken is drawn again"


def test_an_internal_topic_is_made_once_and_refused_where_brokers_are_missing(new_cluster):
    cluster = new_cluster({"offsets.topic.num.partitions": "7"})
    now(cluster.controller.create_internal_topic("__consumer_offsets"))
    offset = cluster.metadata.offset
    assert cluster.controller.create_internal_topic("__consumer_offsets") is None
    assert cluster.metadata.offset == offset
    assert len(cluster.metadata.topics["__consumer_offsets"].partitions) == 7

    too_many_replicas = new_cluster({"offsets.topic.replication.factor": "3"})
    with pytest.raises(KafkaError) as refused:
        too_many_replicas.controller.create_internal_topic("__consumer_offsets")
    assert refused.value.error_code == ErrorCode.INVALID_REPLICATION_FACTOR
    too_many_replicas.controller.auto_create("__consumer_offsets")
    assert not too_many_replicas.metadata.topics
