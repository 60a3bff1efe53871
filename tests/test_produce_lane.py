"""A lane answers and stores byte for byte what the ordinary road does: two clusters get the same frames, in one every session is used once.

Frames are sound ones, damaged ones, and sound ones at the wrong moment; what they were made of is printed with the seed.
"""

import random
from dataclasses import replace

import pytest

from pykbroker.later import Later
from pykbroker.metadata.controller import NewTopic
from pykbroker.produce_lane import ProduceLanes
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.messages import ProduceRequest, ProduceResponse
from pykbroker.protocol.records import BatchProperties, NewRecord, build_batch
from pykbroker.session import Session
from pykbroker.storage.memory_files import MemoryFiles

SEEDS = range(25)
FRAMES = 120


class Pair:
    """A cluster whose one session may have lanes, and one in which each request comes through a session of its own."""

    def __init__(self, new_cluster, **static):
        self.clusters = [new_cluster(dict(static)), new_cluster(dict(static))]
        self.session = Session(self.clusters[0].broker)
        for cluster in self.clusters:
            cluster.controller.create_topics([NewTopic("orders", 3, 1), NewTopic("other", 1, 1)])

    def frame(self, data, *, version=11, acks=-1, topic="orders", correlation_id=7, client_id="me", tags=None):
        by_id = version >= 13
        partition_data = [ProduceRequest.PartitionProduceData(index=index, records=records) for index, records in data]
        topic_id = self.clusters[0].metadata.topics[topic].topic_id if by_id and topic in self.clusters[0].metadata.topics else bytes(16)
        topics = [ProduceRequest.TopicProduceData(name="" if by_id else topic, topic_id=topic_id, partition_data=partition_data)]
        request = ProduceRequest(acks=acks, timeout_ms=1000, topic_data=topics)
        request.unknown_tags = tags
        return b"".join(request_frame(request, version, correlation_id, client_id))[4:]

    def send(self, frame):
        """The answer of both, which is the same."""
        first, second = (
            _bytes(cluster.handle(session, memoryview(bytearray(frame))))
            for cluster, session in zip(self.clusters, (self.session, Session(self.clusters[1].broker)), strict=True)
        )
        assert first == second
        return first

    def check_logs(self):
        for topic in self.clusters[0].metadata.topics:
            one, other = (
                [bytes(partition.log.read(0, 1 << 25).records) for partition in cluster.metadata.topics[topic].partitions]
                for cluster in self.clusters
            )
            assert one == other


def _bytes(outcome):
    if isinstance(outcome, Later):
        outcome = outcome.value
    return b"".join(outcome) if isinstance(outcome, list) else repr(outcome)


def batch(rng, **properties):
    records = [NewRecord(rng.randbytes(rng.choice([1, 10, 100, 20_000])), b"k", timestamp=1000) for _ in range(rng.choice([1, 1, 3]))]
    return build_batch(records, BatchProperties(**properties))


def damaged(rng, frame):
    frame = bytearray(frame)
    kind = rng.randrange(4)
    if kind == 0:
        frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del frame[rng.randrange(4, len(frame)) :]
    elif kind == 2:
        frame += rng.randbytes(rng.choice([1, 3, 64]))
    else:
        frame[-3:] = rng.choice([b"\0\0\1\0\0", b"\0\1\5\0\0", b"\x80\0\0\0", b"\0\0\x80\0"])
    return bytes(frame)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lane_answers_as_the_ordinary_road(new_cluster, seed):
    rng = random.Random(seed)
    pair = Pair(new_cluster)
    version = rng.randrange(9, 14)
    taken = 0
    for number in range(FRAMES):
        index = rng.choice([0, 0, 1, 2, 9])
        frame = pair.frame([(index, batch(rng))], version=version, acks=rng.choice([1, -1]), correlation_id=number)
        if not rng.randrange(5):
            frame = damaged(rng, frame)
        if not rng.randrange(20):
            more = [(0, batch(rng)), (1, batch(rng))]
            frame = pair.frame(more, version=rng.randrange(9, 14), acks=rng.choice([0, 1]), topic=rng.choice(["other", "none"]))
        if pair.session.shortcut is not None:
            taken += pair.session.shortcut._lanes.get(frame[8 : pair.session.shortcut._envelope_end]) is not None
        pair.send(frame)
    pair.check_logs()
    assert taken > FRAMES // 4


def opened(pair):
    """The session has a lane for one partition, and has used it."""
    sent = pair.frame([(0, batch(random.Random(1)))])
    pair.send(sent)
    lanes = pair.session.shortcut
    assert isinstance(lanes, ProduceLanes)
    answers = []
    pair.session.shortcut = lambda frame: answers.append(lanes(frame)) or answers[-1]
    pair.send(sent)
    pair.session.shortcut = lanes
    assert answers[0] is not None


def test_a_topic_that_is_deleted_and_made_anew_is_another(new_cluster):
    pair = Pair(new_cluster)
    opened(pair)
    for cluster in pair.clusters:
        cluster.controller.delete_topics([cluster.metadata.topics["orders"]])
    frame = pair.frame([(0, batch(random.Random(2)))])
    assert ErrorCode.UNKNOWN_TOPIC_OR_PARTITION.to_bytes(2, "big") in pair.send(frame)
    for cluster in pair.clusters:
        cluster.controller.create_topics([NewTopic("orders", 1, 1)])
    pair.send(frame)
    pair.send(frame)
    pair.check_logs()
    assert pair.clusters[0].metadata.partition("orders", 0).log.end_offset > 0


def test_a_partition_that_is_led_elsewhere_is_not_written(new_cluster):
    pair = Pair(new_cluster)
    opened(pair)
    for cluster in pair.clusters:
        cluster.metadata.partition("orders", 0).leader_id = 2
    assert ErrorCode.NOT_LEADER_OR_FOLLOWER.to_bytes(2, "big") in pair.send(pair.frame([(0, batch(random.Random(2)))]))


def test_records_in_a_transaction_are_refused(new_cluster):
    pair = Pair(new_cluster)
    opened(pair)
    sent = batch(random.Random(2), is_transactional=True, producer_id=5, producer_epoch=0, base_sequence=0)
    assert ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED.to_bytes(2, "big") in pair.send(pair.frame([(0, sent)]))


def test_a_producer_that_repeats_itself_is_told_the_same_and_one_that_skips_is_refused(new_cluster):
    pair = Pair(new_cluster)
    opened(pair)
    batches = [
        build_batch([NewRecord(b"v", timestamp=5)], BatchProperties(producer_id=5, producer_epoch=0, base_sequence=number))
        for number in range(5)
    ]
    answers = [read_response(ProduceResponse, 11, pair.send(pair.frame([(0, batches[number])]))[4:])[1] for number in (0, 1, 1, 0, 2, 4)]
    told = [answer.responses[0].partition_responses[0] for answer in answers]
    first = told[0].base_offset
    assert [one.base_offset for one in told] == [first, first + 1, first + 1, first, first + 2, -1]
    assert told[-1].error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_what_must_be_on_disk_first_is_not_answered_before(new_cluster):
    pair = Pair(new_cluster)
    opened(pair)
    asked = []
    log = pair.clusters[0].metadata.partition("orders", 0).log
    log.offload = lambda work: (asked.append(work), Later())[1]
    log.config = replace(log.config, flush_messages=1)
    outcome = pair.clusters[0].handle(pair.session, memoryview(bytearray(pair.frame([(0, batch(random.Random(3)))]))))
    assert isinstance(outcome, Later)
    assert not outcome.settled
    assert asked


def test_a_full_disk_is_told_and_forgiven(new_cluster, monkeypatch):
    pair = Pair(new_cluster)
    opened(pair)
    frame = pair.frame([(0, batch(random.Random(4)))])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFiles, "append", full)
        assert ErrorCode.KAFKA_STORAGE_ERROR.to_bytes(2, "big") in pair.send(frame)
    pair.send(frame)
    pair.check_logs()


def test_a_bug_is_answered_and_kept(new_cluster, monkeypatch):
    pair = Pair(new_cluster)
    opened(pair)

    def broken(*_):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("pykbroker.partition.Partition.append", broken)
        assert ErrorCode.UNKNOWN_SERVER_ERROR.to_bytes(2, "big", signed=True) in pair.send(pair.frame([(0, batch(random.Random(5)))]))
    for cluster in pair.clusters:
        assert [str(error) for error in cluster.unexpected_errors] == ["a bug"]
        cluster.unexpected_errors.clear()
