"""Topics and configs, made, described, altered and deleted; the cluster; versions."""

from typing import Any

from compat.differential.generation.world import UNKNOWN_ID, World
from pykbroker.protocol.messages import (
    AlterConfigsRequest,
    ApiVersionsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeTopicPartitionsRequest,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
    MetadataRequest,
)

_NAMES = ["~a", "~b", "~c", "~a.b", "~a_b", "~ ", "~" + "x" * 250, "", ".", "~new"]
_CONFIGS = [
    ("cleanup.policy", ["delete", "compact", "compact,delete", "", "none", "Delete"]),
    ("retention.ms", ["-1", "604800000", "0", "-2", "1.5", "", " 5000000 "]),
    ("max.message.bytes", ["100", "500", "1048588", "-1", "0", "12345678901"]),
    ("message.timestamp.type", ["CreateTime", "LogAppendTime", "logappendtime", "x"]),
    ("message.timestamp.before.max.ms", ["0", "1000", "9223372036854775807", "-1"]),
    ("min.insync.replicas", ["1", "2", "0", "x"]),
    ("compression.type", ["producer", "uncompressed", "gzip", "zstd", "lzo", "snappy"]),
    ("compression.gzip.level", ["1", "9", "0", "-1", "10"]),
    ("segment.bytes", ["1048576", "14", "2147483647", "13"]),
    ("unclean.leader.election.enable", ["true", "false", "TRUE", "yes"]),
    ("min.cleanable.dirty.ratio", ["0.5", "0", "1", "1.1", "-0.1", "abc"]),
    ("follower.replication.throttled.replicas", ["", "*", "0:1", "x"]),
    ("no.such.config", ["1"]),
    ("", ["1"]),
    ("segment.ms", ["1", "0", "604800000"]),
    ("delete.retention.ms", ["0", "86400000", "-1"]),
    ("remote.storage.enable", ["false", "true"]),
    ("local.retention.ms", ["-2", "-1", "1000"]),
]
_GROUP_CONFIGS = [
    ("consumer.session.timeout.ms", ["45000", "50000", "1", "-1"]),
    ("consumer.heartbeat.interval.ms", ["5000", "x"]),
    ("share.auto.offset.reset", ["latest", "earliest", "odd"]),
    ("no.such.config", ["1"]),
]
_TOPIC, _BROKER, _GROUP = 2, 4, 32
_TIMEOUT_MS = 30_000


def create_first_topics(world: World) -> None:
    """What most sequences begin with: two topics, and their ids."""
    for name in ["~a", "~b"]:
        world.partitions[name] = world.chance.choice([1, 1, 2, 3])
        topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=world.partitions[name], replication_factor=1)
        if world.rarely(0.25):
            key, values = world.chance.choice(_CONFIGS[:5])
            topic.configs = [CreateTopicsRequest.CreatableTopicConfig(name=key, value=values[1])]
        world.ask(CreateTopicsRequest(topics=[topic], timeout_ms=_TIMEOUT_MS), spoilable=False)
        world.learn_topic_id(name)


def create_topics(world: World) -> None:
    """One or more, some of which cannot be."""
    chance = world.chance
    topics = []
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        topic = CreateTopicsRequest.CreatableTopic(
            name=chance.choice(_NAMES),
            num_partitions=chance.choice([1, 1, 2, -1, 0, -2]),
            replication_factor=chance.choice([1, 1, -1, -1, 0, 2]),
        )
        if world.rarely(0.25):
            topic.num_partitions = topic.replication_factor = -1 if world.rarely(0.8) else 1
            topic.assignments = [
                CreateTopicsRequest.CreatableReplicaAssignment(
                    partition_index=chance.choice([index, index, index, 5, -1]), broker_ids=chance.choice([[1], [1], [], [2], [1, 1]])
                )
                for index in range(chance.choice([1, 2]))
            ]
        if world.rarely(0.35):
            topic.configs = [
                CreateTopicsRequest.CreatableTopicConfig(name=key, value=chance.choice([*values, None] if world.rarely(0.2) else values))
                for key, values in chance.sample(_CONFIGS, chance.choice([1, 1, 2]))
            ]
        topics.append(topic)
    validate_only = world.rarely(0.15)
    world.ask(CreateTopicsRequest(topics=topics, timeout_ms=_TIMEOUT_MS, validate_only=validate_only))
    for topic in topics:
        if topic.name in {"~c", "~a.b", "~new"} and topic.name not in world.partitions and not validate_only:
            world.partitions[topic.name] = max(1, topic.num_partitions)
            world.learn_topic_id(topic.name)


def create_partitions(world: World) -> None:
    """More of them, as many as there are, or fewer."""
    chance = world.chance
    topics = []
    for name in world.some_topics():
        count = chance.choice([world.partitions.get(name, 1) + 1, 1, 2, 3, 4, 0, -1])
        topic = CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=count, assignments=None)
        if world.rarely(0.3):
            topic.assignments = [
                CreatePartitionsRequest.CreatePartitionsAssignment(broker_ids=chance.choice([[1], [1], [], [7], [1, 1], [1, 2]]))
                for _ in range(chance.choice([1, 1, 2]))
            ]
        topics.append(topic)
    world.ask(CreatePartitionsRequest(topics=topics, timeout_ms=_TIMEOUT_MS, validate_only=world.rarely(0.15)))


def delete_topics(world: World) -> None:
    """By name, or by id."""
    names = [world.topic(missing=0.2) for _ in range(world.chance.choice([1, 1, 2]))]
    request = DeleteTopicsRequest(topic_names=names, timeout_ms=_TIMEOUT_MS)
    for name in names:
        by_id = world.rarely(0.4)
        state = DeleteTopicsRequest.DeleteTopicState(name=None if by_id else name)
        if by_id:
            state.topic_id = world.topic_id(name)  # type: ignore[assignment]
        request.topics.append(state)
    world.ask(request)
    if world.rarely(0.5):
        for name in names:
            if len(world.partitions) > 1:
                world.partitions.pop(name, None)


def metadata(world: World) -> None:
    """Of some topics by name or id, of all, of none."""
    chance = world.chance
    version = world.version_of(MetadataRequest)
    topics: list[MetadataRequest.MetadataRequestTopic] = []
    for name in [chance.choice([world.topic(0.15), world.topic(0.15), *_NAMES]) for _ in range(chance.choice([0, 1, 1, 2]))]:
        if version >= 12 and world.rarely(0.4):
            topics.append(MetadataRequest.MetadataRequestTopic(name=None, topic_id=world.topic_ids.get(name, UNKNOWN_ID)))  # type: ignore[arg-type]
        else:
            topics.append(MetadataRequest.MetadataRequestTopic(name=name))
    request = MetadataRequest(
        topics=None if version >= 1 and world.rarely(0.1) else topics,
        allow_auto_topic_creation=world.rarely(0.1),
        include_topic_authorized_operations=world.rarely(0.3),
        include_cluster_authorized_operations=world.rarely(0.3),
    )
    world.ask(request, max(version, 4) if not request.allow_auto_topic_creation and world.rarely(0.9) else version)


def describe_configs(world: World) -> None:
    """Of topics, of the broker, of groups."""
    chance = world.chance
    resources = []
    for _ in range(chance.choice([1, 1, 2])):
        kind, name = chance.choice(
            [(_TOPIC, world.topic()), (_TOPIC, world.topic()), (_BROKER, "1"), (_BROKER, "9"), (_GROUP, "~g"), (8, "9"), (16, "~s")]
        )
        keys = None if world.rarely(0.4) else [chance.choice(_CONFIGS)[0] for _ in range(chance.choice([0, 1, 2]))]
        resources.append(DescribeConfigsRequest.DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys))
    world.ask(DescribeConfigsRequest(resources=resources, include_synonyms=world.rarely(0.4), include_documentation=world.rarely(0.05)))


def alter_configs(world: World) -> None:
    """One by one (IncrementalAlterConfigs), or all that a resource has (AlterConfigs)."""
    chance = world.chance
    incrementally = world.rarely(0.65)
    message: Any = IncrementalAlterConfigsRequest if incrementally else AlterConfigsRequest
    request = message()
    request.validate_only = world.rarely(0.12)
    for _ in range(chance.choice([1, 1, 1, 2])):
        kind, name = chance.choice(
            [(_TOPIC, world.topic()), (_TOPIC, world.topic()), (_TOPIC, world.topic()), (_GROUP, "~g"), (_BROKER, "77")]
        )
        resource = message.AlterConfigsResource(resource_type=kind, resource_name=name)
        table = _GROUP_CONFIGS if kind == _GROUP else _CONFIGS
        for key, values in chance.sample(table, chance.choice([0, 1, 1, 1, 2])):
            config = message.AlterableConfig(name=key, value=None if world.rarely(0.08) else chance.choice(values))
            if incrementally:
                config.config_operation = chance.choice([0, 0, 0, 1, 2, 3])
            resource.configs.append(config)
        if incrementally or resource.resource_name not in [one.resource_name for one in request.resources]:
            request.resources.append(resource)
    world.ask(request)


def ask_about_cluster(world: World) -> None:
    """Who is there, what is served, which resources have configs."""
    chance = world.chance
    match chance.choice(["cluster", "versions", "topics", "topics", "resources"]):
        case "cluster":
            world.ask(
                DescribeClusterRequest(include_cluster_authorized_operations=world.rarely(0.4), endpoint_type=chance.choice([1, 1, 2, 0]))
            )
        case "versions":
            names = chance.choice([("a-client", "1.0"), ("", "1"), ("-bad", "1"), ("good", "§")])
            world.ask(ApiVersionsRequest(client_software_name=names[0], client_software_version=names[1]))
        case "topics":
            names_ = sorted({world.topic(), world.topic(0.2)})
            request = DescribeTopicPartitionsRequest(topics=[DescribeTopicPartitionsRequest.TopicRequest(name=name) for name in names_])
            request.response_partition_limit = chance.choice([2000, 2000, 1, 2])
            if world.rarely(0.3):
                name = chance.choice(names_)
                request.cursor = DescribeTopicPartitionsRequest.Cursor(topic_name=name, partition_index=chance.choice([0, 0, 1, 5, -1]))
            world.ask(request)
        case "resources":
            world.ask(ListConfigResourcesRequest(resource_types=chance.choice([[], [_TOPIC], [_GROUP], [16], [_TOPIC, _GROUP]])))
