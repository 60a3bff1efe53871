"""Produce, Fetch with and without sessions, ListOffsets, OffsetForLeaderEpoch, DeleteRecords, InitProducerId."""

import random
from typing import Any

from compat.differential.generation.world import Producer, World
from compat.differential.steps import Answered, ProducersBatch
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.messages import (
    DeleteRecordsRequest,
    FetchRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
    OffsetForLeaderEpochRequest,
    ProduceRequest,
)
from pykbroker.protocol.records import BatchProperties, NewRecord, TimestampType, build_batch

FIRST_TIME = 1_700_000_000_000
_BY_ID = 13
_FIRST_WITH_EPOCHS = 12
_TIMEOUT_MS = 10_000


def produce(world: World) -> None:
    """One batch or several, sound or not."""
    chance = world.chance
    version = world.version_of(ProduceRequest)
    topics = []
    for topic in dict.fromkeys(world.some_topics()):
        wanted = [world.partition(topic)] if world.rarely(0.8) else [world.partition(topic) for _ in range(2)]
        data = [ProduceRequest.PartitionProduceData(index=index, records=_batch(world, topic, index)) for index in wanted]
        topics.append(ProduceRequest.TopicProduceData(name=topic, partition_data=data))
        if version >= _BY_ID:
            topics[-1].topic_id = world.topic_id(topic)  # type: ignore[assignment]
    acks = chance.choice([-1, -1, -1, 1, 1, 1, 0, 2])
    world.ask(ProduceRequest(acks=acks, timeout_ms=_TIMEOUT_MS, topic_data=topics), version)


def _batch(world: World, topic: str, partition: int) -> Any:
    """Records for one partition."""
    chance = world.chance
    if world.producers and world.rarely(0.3):
        return _producers_batch(world, chance.choice(world.producers), topic, partition)
    batch = build_batch(_records(chance), _properties(chance))
    if world.rarely(0.06):
        return batch + build_batch(_records(chance))
    if world.rarely(0.1):
        return _damaged(chance, batch)
    return batch


def _records(chance: random.Random) -> list[NewRecord]:
    count = chance.choice([1, 1, 2, 3, 5, 0] if chance.random() < 0.3 else [1, 2, 3])
    return [
        NewRecord(
            value=chance.choice([None, b"", b"value", bytes([chance.randrange(256)]) * chance.choice([10, 100, 900])]),
            key=chance.choice([None, b"", b"k1", b"k2"]),
            headers=chance.choice([(), (), (("h", b"1"),), (("", None), ("h", b""))]),
            timestamp=FIRST_TIME + chance.choice([0, 1000, 2000, 5000, chance.randrange(10_000)]) if chance.random() < 0.95 else -1,
        )
        for _ in range(count)
    ]


def _properties(chance: random.Random) -> BatchProperties:
    if chance.random() < 0.6:
        return BatchProperties()
    return BatchProperties(
        base_offset=chance.choice([0, 0, 0, 7, -1]),
        compression=chance.choice(list(CompressionType)),
        partition_leader_epoch=chance.choice([-1, -1, 0, 9]),
        base_sequence=chance.choice([-1, -1, -1, 0]),
        is_control=chance.random() < 0.05,
        timestamp_type=chance.choice([TimestampType.CREATE_TIME] * 9 + [TimestampType.LOG_APPEND_TIME]),
        last_offset_delta=chance.choice([None] * 12 + [0, 5, -1]),
    )


def _damaged(chance: random.Random, batch: bytes) -> bytes:
    """A batch that was hurt on its way."""
    made = bytearray(batch)
    match chance.choice(["checksum", "magic", "length", "cut", "tail", "count", "any"]):
        case "checksum":
            made[17] ^= 1
        case "magic":
            made[16] = chance.choice([0, 1, 3, 255])
        case "length":
            made[11] ^= chance.choice([1, 255])
        case "cut":
            del made[chance.randrange(len(made)) :]
        case "tail":
            made += bytes(chance.randrange(1, 80))
        case "count":
            made[60] ^= 3
        case "any":
            made[chance.randrange(12, len(made))] ^= 1 << chance.randrange(8)
    return bytes(made)


def _producers_batch(world: World, producer: Producer, topic: str, partition: int) -> ProducersBatch:
    """The next batch of an idempotent producer, or the last one again, or one too far."""
    chance = world.chance
    place = (topic, partition)
    records = _records(chance) or [NewRecord(b"one")]
    sequence = producer.next_sequence.get(place, 0)
    kind = chance.choice(["next"] * 8 + ["again", "gap", "old epoch", "new epoch"])
    if kind == "again":
        sequence = max(0, sequence - len(records))
    elif kind == "gap":
        sequence += chance.choice([1, 3, 1000])
    else:
        producer.next_sequence[place] = sequence + len(records)
    epoch = {"old epoch": -2, "new epoch": 5}.get(kind, producer.epoch)
    return ProducersBatch(build_batch(records, BatchProperties(base_sequence=sequence, producer_id=1)), producer.producer_id, epoch)


def init_producer_id(world: World) -> None:
    """A new producer, or an old one that asks anew."""
    version = world.version_of(InitProducerIdRequest)
    request = InitProducerIdRequest(
        transactional_id=None if world.rarely(0.95) else "", transaction_timeout_ms=world.chance.choice([60_000, 60_000, 0, -1, 1 << 30])
    )
    if world.producers and world.rarely(0.3):
        old = world.chance.choice(world.producers)
        request.producer_id = old.producer_id  # type: ignore[assignment]
        request.producer_epoch = old.epoch  # type: ignore[assignment]
    number = world.ask(request, version)
    world.producers.append(Producer(Answered(number, ("producer_id",), 99), Answered(number, ("producer_epoch",), 0)))


def fetch(world: World) -> None:
    """Without a session, or as the first, a later or a wrong request of one."""
    chance = world.chance
    version = world.version_of(FetchRequest)
    request = FetchRequest(
        max_wait_ms=chance.choice([0, 0, 0, 10]),
        min_bytes=chance.choice([0, 1, 1, 1, 500]),
        max_bytes=chance.choice([1 << 20, 1 << 20, 0, 1, 300]),
        isolation_level=chance.choice([0, 0, 1]),
    )
    session = None
    if version >= 7 and world.rarely(0.6):
        session = chance.choice(world.sessions) if world.sessions and world.rarely(0.75) else None
        if session is None:
            request.session_epoch = 0
        else:
            request.session_id, request.session_epoch = session[0], session[1]  # type: ignore[assignment]
            if world.rarely(0.12):
                request.session_epoch = chance.choice([0, -1, session[1] + 1, session[1] - 1])
            else:
                world.sessions[world.sessions.index(session)] = (session[0], session[1] + 1, session[2])
            if world.rarely(0.8) or version < _FIRST_WITH_EPOCHS <= session[2]:
                version = session[2]
    if session is None or world.rarely(0.5):
        request.topics = [_fetched_topic(world, topic, version) for topic in dict.fromkeys(world.some_topics())]
    if session is not None and world.rarely(0.25):
        request.forgotten_topics_data = [_forgotten_topic(world, version)]
    number = world.ask(request, version)
    if session is None and request.session_epoch == 0:
        world.sessions.append((Answered(number, ("session_id",), 12345), 1, version))


def _fetched_topic(world: World, topic: str, version: int) -> FetchRequest.FetchTopic:
    chance = world.chance
    partitions = [
        FetchRequest.FetchPartition(
            partition=partition,
            current_leader_epoch=world.leader_epoch(),
            fetch_offset=world.offset(),
            last_fetched_epoch=-1 if world.rarely(0.9) else chance.choice([0, 1, 5]),
            log_start_offset=-1,
            partition_max_bytes=chance.choice([1 << 20, 1 << 20, 1 << 20, 0, 1, 200]),
        )
        for partition in world.some_partitions(topic)
    ]
    made = FetchRequest.FetchTopic(topic=topic, partitions=partitions)
    if version >= _BY_ID:
        made.topic_id = world.fetched_topic_id(topic)  # type: ignore[assignment]
    return made


def _forgotten_topic(world: World, version: int) -> FetchRequest.ForgottenTopic:
    topic = world.topic()
    made = FetchRequest.ForgottenTopic(topic=topic, partitions=world.some_partitions(topic))
    if version >= _BY_ID:
        made.topic_id = world.fetched_topic_id(topic)  # type: ignore[assignment]
    return made


def list_offsets(world: World) -> None:
    """Times and special positions."""
    chance = world.chance
    times = [-1, -1, -2, -2, -3, -4, -5, -6, 0, FIRST_TIME, FIRST_TIME + 1500, FIRST_TIME + 5000, FIRST_TIME + 100_000]
    topics = [
        ListOffsetsRequest.ListOffsetsTopic(
            name=topic,
            partitions=[
                ListOffsetsRequest.ListOffsetsPartition(
                    partition_index=partition, current_leader_epoch=world.leader_epoch(), timestamp=chance.choice(times)
                )
                for partition in world.some_partitions(topic)
            ],
        )
        for topic in world.some_topics()
    ]
    world.ask(ListOffsetsRequest(replica_id=-1, isolation_level=chance.choice([0, 0, 1]), topics=topics, timeout_ms=_TIMEOUT_MS))


def offset_for_leader_epoch(world: World) -> None:
    """Where an epoch ended."""
    chance = world.chance
    topics = [
        OffsetForLeaderEpochRequest.OffsetForLeaderTopic(
            topic=topic,
            partitions=[
                OffsetForLeaderEpochRequest.OffsetForLeaderPartition(
                    partition=partition, current_leader_epoch=world.leader_epoch(), leader_epoch=chance.choice([0, 0, 0, 1, -1, 5])
                )
                for partition in world.some_partitions(topic)
            ],
        )
        for topic in dict.fromkeys(world.some_topics())
    ]
    world.ask(OffsetForLeaderEpochRequest(replica_id=-1, topics=topics))


def delete_records(world: World) -> None:
    """Up to an offset, or up to the end."""
    topics = [
        DeleteRecordsRequest.DeleteRecordsTopic(
            name=topic,
            partitions=[
                DeleteRecordsRequest.DeleteRecordsPartition(partition_index=partition, offset=world.chance.choice([0, 1, 2, 3, -1, -2, 50]))
                for partition in dict.fromkeys(world.some_partitions(topic))
            ],
        )
        for topic in dict.fromkeys(world.some_topics())
    ]
    world.ask(DeleteRecordsRequest(topics=topics, timeout_ms=_TIMEOUT_MS))
