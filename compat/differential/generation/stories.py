"""What chance alone hardly ever comes to: states that take several requests in the right order. Now and then a step is left out, or goes wrong as anywhere."""

from typing import Any

from compat.differential.generation.data import FIRST_TIME
from compat.differential.generation.groups import heartbeat_of, join_as, sync
from compat.differential.generation.world import Member, World
from compat.differential.steps import Answered, ProducersBatch
from pykbroker.protocol.messages import (
    AlterConfigsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    FetchRequest,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    LeaveGroupRequest,
    ListOffsetsRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    ProduceRequest,
)
from pykbroker.protocol.records import BatchProperties, NewRecord, build_batch

_LEFT_OUT = 0.15
_TIMEOUT_MS = 10_000
_LEAVES_SEVERAL = 3
_NAMES_ONLY = 12
"""The last version of Produce that names topics."""

_LAST_DELETION_BY_NAMES, _LAST_FETCH_BY_NAMES = 5, 9
_FIRST_WITH_SESSIONS, _FETCHES_BY_ID = 7, 13
_TOPIC = 2

_FREE = 0
"""The connection on which nobody of a story waits."""


def rebalance(world: World) -> None:
    """A second member joins: what the first is told before it joins again, and before the assignments are there."""
    first = Member("~r", 1, None, "consumer")
    second = Member("~r", 2, None, "consumer")
    wanted = [world.chance.choice([["range", "roundrobin"], ["roundrobin", "range"], ["range"]]) for _ in (first, second)]
    join_as(world, first, wanted[0])
    sync(world, first)
    join_as(world, second, wanted[1])
    _asks_about(world, first)
    join_as(world, first, wanted[0])
    _asks_about(world, first)
    for member in (second, first):
        if not world.rarely(_LEFT_OUT):
            sync(world, member)
    _asks_about(world, second)


def replaced_static_member(world: World) -> None:
    """A static member comes back, and the one that it replaces goes on asking."""
    old = Member("~s", 1, "~i", "consumer")
    new = Member("~s", 2, "~i", "consumer")
    join_as(world, old, ["range"])
    if not world.rarely(_LEFT_OUT):
        sync(world, old)
    join_as(world, new, ["range"] if world.rarely(0.7) else None)
    _asks_about(world, old)
    if world.rarely(0.5):
        sync(world, old)
    else:
        join_as(world, old)
    _leaves(world, old)
    _asks_about(world, new)


def subscribed_group(world: World) -> None:
    """Offsets of a topic that a member consumes cannot be deleted, others can."""
    member = Member("~u", 1, None, "consumer")
    join_as(world, member, ["range"])
    sync(world, member)
    _commit(world, member)
    topics = [
        OffsetDeleteRequest.OffsetDeleteRequestTopic(
            name=name, partitions=[OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=0)]
        )
        for name in ["~a", "~b"]
    ]
    world.ask(OffsetDeleteRequest(group_id=member.group, topics=topics))
    _leaves(world, member)
    world.ask(OffsetDeleteRequest(group_id=member.group, topics=topics))


def retries(world: World) -> None:
    """An idempotent producer sends batches again, in and out of order."""
    number = world.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000), spoilable=False)
    producer_id, epoch = Answered(number, ("producer_id",), 99), Answered(number, ("producer_epoch",), 0)
    orders = [[0, 2, 4, 2, 0, 6, 4], [0, 2, 6, 4, 4], [0, 2, 4, 6, 8, 10, 0, 2], [2, 0, 0], [0, 1, 2]]
    for sequence in world.chance.choice(orders):
        batch = build_batch([_record(b"one"), _record(b"two")], BatchProperties(base_sequence=sequence, producer_id=1))
        _produce(world, "~a", ProducersBatch(batch, producer_id, epoch))


def limits(world: World) -> None:
    """A topic that takes small batches only, and asks for more replicas than there are, on which Kafka does not insist; then it does not any more."""
    small = CreateTopicsRequest.CreatableTopic(name="~small", num_partitions=1, replication_factor=1)
    wanted = {"max.message.bytes": "300", "min.insync.replicas": "2"}
    small.configs = [CreateTopicsRequest.CreatableTopicConfig(name=name, value=value) for name, value in wanted.items()]
    world.ask(CreateTopicsRequest(topics=[small], timeout_ms=30_000), spoilable=False)
    sizes = [10, 239, 240, 241, 400]
    for acks in (1, -1, -1):
        _produce(world, "~small", build_batch([_record(bytes(world.chance.choice(sizes)))]), acks)
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(resource_type=_TOPIC, resource_name="~small")
    resource.configs = [IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=1) for name in wanted]
    world.ask(IncrementalAlterConfigsRequest(resources=[resource]))
    _produce(world, "~small", build_batch([_record(bytes(400))]), -1)


def kept_offsets(world: World) -> None:
    """What a group has committed, before and after its topic, or itself, is deleted."""
    nobody = Member("~k", _FREE, None, "consumer")
    _commit(world, nobody, leader_epoch=world.chance.choice([0, 5]))
    _reads_offsets(world, nobody.group)
    if world.rarely(0.5):
        world.ask(DeleteTopicsRequest(topic_names=["~a"], timeout_ms=30_000), _LAST_DELETION_BY_NAMES, spoilable=False)
        topic = CreateTopicsRequest.CreatableTopic(name="~a", num_partitions=1, replication_factor=1)
        world.ask(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), spoilable=False)
        world.partitions["~a"] = 1
        world.learn_topic_id("~a")
    else:
        world.ask(DeleteGroupsRequest(groups_names=[nobody.group]))
    _reads_offsets(world, nobody.group)


def configs(world: World) -> None:
    """A topic's configs are altered, replaced, or only validated; each time they are read again."""
    wanted = {"retention.ms": "1000000", "max.message.bytes": "2000000", "segment.bytes": "2097152"}
    topic = CreateTopicsRequest.CreatableTopic(name="~configured", num_partitions=1, replication_factor=1)
    topic.configs = [CreateTopicsRequest.CreatableTopicConfig(name=name, value=value) for name, value in wanted.items()]
    world.ask(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), spoilable=False)
    for _ in range(2):
        message: Any = world.chance.choice([AlterConfigsRequest, IncrementalAlterConfigsRequest])
        request = message()
        resource = message.AlterConfigsResource(resource_type=_TOPIC, resource_name="~configured")
        for name in world.chance.sample(list(wanted), world.chance.choice([1, 2])):
            resource.configs.append(message.AlterableConfig(name=name, value="3145728"))
        request.resources = [resource]
        request.validate_only = world.rarely(0.3)
        world.ask(request)
        described = DescribeConfigsRequest.DescribeConfigsResource(resource_type=_TOPIC, resource_name="~configured")
        described.configuration_keys = list(wanted)
        world.ask(DescribeConfigsRequest(resources=[described], include_synonyms=world.rarely(0.5)))


def session(world: World) -> None:
    """A fetch session, told of what changes and of nothing else; it grows, shrinks, is closed, and gone on with."""
    version = max(world.version_of(FetchRequest), _FIRST_WITH_SESSIONS)
    whole = [_fetched(world, "~a", version), _fetched(world, "~b", version)]
    number = world.ask(_fetch(whole, 0, 0), version, spoilable=False)
    session_id = Answered(number, ("session_id",), 12345)
    for epoch in range(1, 5):
        if world.rarely(0.4):
            _produce(world, world.chance.choice(["~a", "~b"]), build_batch([_record(b"more")]))
        topics = [_fetched(world, "~a", version)] if world.rarely(0.2) else []
        request = _fetch(topics, session_id, epoch)
        if world.rarely(0.2):
            forgotten = FetchRequest.ForgottenTopic(topic="~b", partitions=[0])
            forgotten.topic_id = whole[1].topic_id
            request.forgotten_topics_data = [forgotten]
        world.ask(request, version, spoilable=world.rarely(0.2))
    world.ask(_fetch([], session_id, -1), version, spoilable=False)
    world.ask(_fetch([], session_id, 5), version, spoilable=False)


def times(world: World) -> None:
    """Offsets by just the times that records have, and one before and after."""
    stamps = sorted(world.chance.sample(range(10), 3))
    for stamp in stamps:
        _produce(world, "~a", build_batch([NewRecord(b"timed", timestamp=FIRST_TIME + stamp)]))
    for stamp in stamps:
        partition = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, current_leader_epoch=-1)
        partition.timestamp = FIRST_TIME + stamp + world.chance.choice([-1, 0, 0, 1])
        topic = ListOffsetsRequest.ListOffsetsTopic(name="~a", partitions=[partition])
        world.ask(ListOffsetsRequest(replica_id=-1, topics=[topic], timeout_ms=_TIMEOUT_MS))


def internal_topic(world: World) -> None:
    """What nobody may do to the topic of the offsets."""
    name = "__consumer_offsets"
    if world.rarely(0.5):
        _produce(world, name, build_batch([_record(b"odd")]))
        return
    partition = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=0)
    topic = DeleteRecordsRequest.DeleteRecordsTopic(name=name, partitions=[partition])
    world.ask(DeleteRecordsRequest(topics=[topic], timeout_ms=_TIMEOUT_MS), spoilable=False)


def _asks_about(world: World, member: Member) -> None:
    """Some of what shows in which state a group is."""
    if not world.rarely(_LEFT_OUT):
        heartbeat_of(world, member, _FREE)
    if world.rarely(0.5):
        _commit(world, member)
    if world.rarely(0.5):
        world.ask(DescribeGroupsRequest(groups=[member.group]))
    if world.rarely(0.2):
        sync(world, member, _FREE)


def _commit(world: World, member: Member, leader_epoch: int = -1) -> None:
    partition = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
    partition.committed_leader_epoch = leader_epoch
    if world.rarely(0.2):
        partition.committed_metadata = "m" * world.chance.choice([4096, 4097])
    version = world.version_of(OffsetCommitRequest)
    topics = []
    for name in ["~a", "~b"]:
        topic = OffsetCommitRequest.OffsetCommitRequestTopic(name=name, partitions=[partition])
        topic.topic_id = world.topic_id(name)  # type: ignore[assignment]
        topics.append(topic)
    request = OffsetCommitRequest(
        group_id=member.group,
        generation_id_or_member_epoch=member.generation,  # type: ignore[arg-type]
        member_id=member.member_id,  # type: ignore[arg-type]
        group_instance_id=member.instance_id,
        topics=topics,
    )
    world.ask(request, max(version, 7) if member.instance_id is not None else version)


def _reads_offsets(world: World, group: str) -> None:
    version = min(world.version_of(OffsetFetchRequest), _LAST_FETCH_BY_NAMES)
    names = {"~a": [0], "~b": [0]}
    request = OffsetFetchRequest(group_id=group)
    request.topics = [OffsetFetchRequest.OffsetFetchRequestTopic(name=name, partition_indexes=found) for name, found in names.items()]
    asked = [OffsetFetchRequest.OffsetFetchRequestTopics(name=name, partition_indexes=found) for name, found in names.items()]
    request.groups = [OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group, topics=asked)]
    world.ask(request, version)


def _fetch(topics: list[FetchRequest.FetchTopic], session_id: Answered | int, epoch: int) -> FetchRequest:
    request = FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=1 << 20, session_epoch=epoch, topics=topics)
    request.session_id = session_id  # type: ignore[assignment]
    return request


def _fetched(world: World, topic: str, version: int) -> FetchRequest.FetchTopic:
    partition = FetchRequest.FetchPartition(partition=0, current_leader_epoch=-1, fetch_offset=0, log_start_offset=-1)
    partition.partition_max_bytes = 1 << 20
    made = FetchRequest.FetchTopic(topic=topic, partitions=[partition])
    if version >= _FETCHES_BY_ID:
        made.topic_id = world.fetched_topic_id(topic)  # type: ignore[assignment]
    return made


def _leaves(world: World, member: Member) -> None:
    version = world.version_of(LeaveGroupRequest)
    leaving = LeaveGroupRequest.MemberIdentity(member_id=member.member_id, group_instance_id=member.instance_id)  # type: ignore[arg-type]
    request = LeaveGroupRequest(group_id=member.group, member_id=member.member_id, members=[leaving])  # type: ignore[arg-type]
    world.ask(request, max(version, _LEAVES_SEVERAL) if member.instance_id is not None else version)


def _produce(world: World, topic: str, records: object, acks: int = 1) -> None:
    data = ProduceRequest.PartitionProduceData(index=0, records=records)  # type: ignore[arg-type]
    request = ProduceRequest(acks=acks, timeout_ms=_TIMEOUT_MS)
    request.topic_data = [ProduceRequest.TopicProduceData(name=topic, partition_data=[data])]
    world.ask(request, min(world.version_of(ProduceRequest), _NAMES_ONLY))


def _record(value: bytes) -> NewRecord:
    return NewRecord(value, timestamp=FIRST_TIME)
