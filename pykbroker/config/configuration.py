"""What is configured: the given settings, what was changed while the broker ran, and Kafka's defaults, in that order from the bottom up.

A broker's value is, most specific first: set on this broker at run time, set for all brokers at run time, given at the start, default.
A topic's or group's value is its own, else the value of the broker's config that its table names. Run-time values come only through
`replay` of ConfigRecords of the metadata log; `on_change` tells who keeps something that depends on them.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, cast

from pykbroker.config.definitions import ConfigValueError, ResourceType, Value, definitions
from pykbroker.config.start_rules import check_static

if TYPE_CHECKING:
    from pykbroker.config.description import DescribedConfig
    from pykbroker.protocol.messages import ConfigRecord


@dataclass(slots=True, frozen=True)
class OurDefault:
    """Where we start differently from Kafka, and why."""

    value: str
    why: str


def our_defaults(broker_count: int) -> dict[str, OurDefault]:
    """Every default that differs from Kafka's; the server prints them at start, and they show as given at the start."""
    replicas = OurDefault(str(min(3, broker_count)), "as many copies as there are brokers, up to Kafka's 3")
    in_sync = OurDefault(str(min(2, broker_count)), "Kafka's 2 cannot be met by fewer brokers")
    partitions = OurDefault("4", "50 partitions of an internal topic are 50 open logs that a small cluster has no use for")
    return {
        "group.initial.rebalance.delay.ms": OurDefault("0", "the first member of a group gets its partitions at once"),
        "offsets.topic.num.partitions": partitions,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": partitions,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "socket.listen.backlog.size": OurDefault(
            "1024", "a burst of connections that overflows Kafka's 50 waits a second for its next try"
        ),
        "share.coordinator.state.topic.num.partitions": partitions,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


_REQUIRED_BY_KAFKA = {"node.id": "1", "process.roles": "broker,controller", "controller.listener.names": "CONTROLLER"}
"""What Kafka does not start without, and we fill in."""


class TopicConfig(NamedTuple):
    """Every config of a topic, typed. `segment_bytes` is already `internal.segment.bytes` where that is set."""

    cleanup_policy: frozenset[str]
    compression_gzip_level: int
    compression_lz4_level: int
    compression_type: str
    compression_zstd_level: int
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    follower_replication_throttled_replicas: list[str]
    index_interval_bytes: int
    leader_replication_throttled_replicas: list[str]
    local_retention_bytes: int
    local_retention_ms: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    min_insync_replicas: int
    preallocate: bool
    remote_log_copy_disable: bool
    remote_log_delete_on_disable: bool
    remote_storage_enable: bool
    retention_bytes: int
    retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    segment_jitter_ms: int
    segment_ms: int
    unclean_leader_election_enable: bool


class GroupConfig(NamedTuple):
    """Every config of a group, typed."""

    consumer_assignment_interval_ms: int
    consumer_heartbeat_interval_ms: int
    consumer_session_timeout_ms: int
    share_assignment_interval_ms: int
    share_auto_offset_reset: str
    share_delivery_count_limit: int
    share_heartbeat_interval_ms: int
    share_isolation_level: str
    share_partition_max_record_locks: int
    share_record_lock_duration_ms: int
    share_renew_acknowledge_enable: bool
    share_session_timeout_ms: int
    streams_assignment_interval_ms: int
    streams_heartbeat_interval_ms: int
    streams_initial_rebalance_delay_ms: int
    streams_num_standby_replicas: int
    streams_session_timeout_ms: int


FALLBACKS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "log.retention.ms": (("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)),
    "log.roll.ms": (("log.roll.hours", 3_600_000),),
    "log.roll.jitter.ms": (("log.roll.jitter.hours", 3_600_000),),
    "log.flush.interval.ms": (("log.flush.scheduler.interval.ms", 1),),
}
"""A config that is not set -> the configs that stand in for it, and how many of its units one of theirs is."""

Overrides = Mapping[str, str]
_NOTHING: Overrides = MappingProxyType({})


class Configuration:
    """The whole configuration of a cluster. `static` is what was given: file, overrides and environment, merged."""

    def __init__(self, static: Mapping[str, str], *, broker_count: int = 1, origins: Mapping[str, str] = _NOTHING) -> None:
        """Raises ConfigError. `origins` says where each setting was given, for the sentence of an error."""
        given = dict(static)
        check_static(given, origins)
        if "broker.id" in given and "node.id" not in given:
            given["node.id"] = given["broker.id"]
        defaults = our_defaults(broker_count)
        self.differing_defaults = {name: default for name, default in defaults.items() if name not in given}
        """Where this configuration starts differently from Kafka because nobody said otherwise."""
        self.static: dict[str, str] = {
            **_REQUIRED_BY_KAFKA,
            **{name: default.value for name, default in self.differing_defaults.items()},
            **given,
        }
        self.static.setdefault("broker.id", self.static["node.id"])
        self.on_change: list[Callable[[ResourceType, str], None]] = []
        self._overrides: dict[tuple[int, str], dict[str, str]] = {}
        self._broker_values: dict[str | None, dict[str, Value]] = {}
        self._topics: dict[str, TopicConfig] = {}
        self._default_topic: TopicConfig | None = None
        self._default_topic_described: list[DescribedConfig] | None = None
        self._groups: dict[str, GroupConfig] = {}

    @property
    def node_id(self) -> str:
        """The id of the cluster's first broker, as text: the one whose own run-time configs hold for topics."""
        return self.static["node.id"].strip()

    def broker(self, name: str, node_id: int | None = None) -> Value:
        """A broker's effective value: of the first broker unless another is named. Raises KeyError for a config that Kafka does not have."""
        node = None if node_id is None else str(node_id)
        values = self._broker_values.get(node)
        if values is None:
            values = self._broker_values[node] = {}
        try:
            return values[name]
        except KeyError:
            value = values[name] = self._broker_value(name, node or self.node_id)
            return value

    def integer(self, name: str) -> int:
        """A broker's value that is a number of something and never null."""
        return cast("int", self.broker(name))

    def topic(self, topic_name: str) -> TopicConfig:
        """A topic's effective configs: the same object until something changes."""
        known = self._topics.get(topic_name)
        if known is not None:
            return known
        overrides = self.overrides(ResourceType.TOPIC, topic_name)
        if overrides:
            known = self._topics[topic_name] = self.topic_with(overrides)
            return known
        if self._default_topic is None:
            self._default_topic = self.topic_with(_NOTHING)
        return self._default_topic

    def topic_with(self, overrides: Overrides) -> TopicConfig:
        """What the configs of a topic would be with these of its own."""
        values = self.derived(ResourceType.TOPIC, overrides)
        segment_bytes = values.pop("internal.segment.bytes")
        if segment_bytes is not None:
            values["segment.bytes"] = segment_bytes
        cleanup_policy = frozenset(cast("list[str]", values.pop("cleanup.policy")))
        typed = {name.replace(".", "_"): value for name, value in values.items()}
        return TopicConfig(cleanup_policy=cleanup_policy, **typed)  # type: ignore[arg-type]  # the table has the types; a test compares

    def group(self, group_id: str) -> GroupConfig:
        """A group's effective configs: the same object until something changes."""
        known = self._groups.get(group_id)
        if known is None:
            values = self.derived(ResourceType.GROUP, self.overrides(ResourceType.GROUP, group_id))
            typed = {name.replace(".", "_"): value for name, value in values.items()}
            known = GroupConfig(**typed)  # type: ignore[arg-type]  # the table has the types; a test compares
            if (ResourceType.GROUP, group_id) in self._overrides:
                self._groups[group_id] = known
        return known

    def overrides(self, resource_type: int, resource_name: str) -> Overrides:
        """What was set at run time on one resource; the name "" of a broker stands for all brokers."""
        return self._overrides.get((resource_type, resource_name), _NOTHING)

    def resources(self, resource_type: ResourceType) -> Iterable[str]:
        """The names of all resources of a kind on which something was set at run time."""
        return [name for kind, name in self._overrides if kind == resource_type]

    def replay(self, record: "ConfigRecord") -> None:
        """A record of the metadata log: one config of one resource has a value, or null: none of its own any more."""
        key = (record.resource_type, record.resource_name)
        overrides = self._overrides.setdefault(key, {})
        if record.value is None:
            overrides.pop(record.name, None)
        else:
            overrides[record.name] = record.value
        if not overrides:
            del self._overrides[key]
        self._changed(ResourceType(record.resource_type), record.resource_name)

    def forget(self, resource_type: ResourceType, resource_name: str) -> None:
        """A resource is gone, and what was set on it with it: a topic created again under its name starts without (K-17)."""
        if self._overrides.pop((resource_type, resource_name), None) is not None:
            self._changed(resource_type, resource_name)

    def _changed(self, resource_type: ResourceType, name: str) -> None:
        if resource_type is ResourceType.TOPIC:
            self._topics.pop(name, None)
        elif resource_type is ResourceType.GROUP:
            self._groups.pop(name, None)
        elif resource_type is ResourceType.BROKER:
            self._broker_values.clear()
            self._topics.clear()
            self._groups.clear()
            self._default_topic = None
            self._default_topic_described = None
        for callback in self.on_change:
            callback(resource_type, name)

    def _broker_value(self, name: str, node_id: str) -> Value:
        value = self._value_as_set(name, node_id)
        if value is None:
            for other, units in FALLBACKS.get(name, ()):
                stand_in = cast("int | None", self._value_as_set(other, node_id))
                if stand_in is not None:
                    return stand_in * units if stand_in >= 0 else stand_in
        return value

    def broker_value_as_set(self, name: str, node_id: int) -> Value:
        """A broker's value under this very name: null where another config stands in."""
        return self._value_as_set(name, str(node_id))

    def _value_as_set(self, name: str, node_id: str) -> Value:
        definition = definitions(ResourceType.BROKER)[name]
        for _source, layer in self.broker_layers(node_id):
            text = layer.get(name)
            if text is not None:
                with suppress(ConfigValueError):  # a log written by another version may hold what we would have refused
                    return definition.parse(text)
        return definition.default

    def broker_layers(self, node_id: str) -> list[tuple[int, Overrides]]:
        """Where the values of a broker come from, the most specific first, with their numbers in DescribeConfigs; defaults left out."""
        return [
            (2, self.overrides(ResourceType.BROKER, node_id)),
            (3, self.overrides(ResourceType.BROKER, "")),
            (4, self.static),
        ]

    def derived(self, resource_type: ResourceType, overrides: Overrides) -> dict[str, Value]:
        """Every config of a topic, group or subscription that has these of its own, typed."""
        brokers = definitions(ResourceType.BROKER)
        values: dict[str, Value] = {}
        for name, definition in definitions(resource_type).items():
            text = overrides.get(name)
            if text is not None:
                with suppress(ConfigValueError):  # a log written by another version may hold what we would have refused
                    values[name] = definition.parse(text)
                    continue
            broker_key = definition.broker_key
            values[name] = self.broker(broker_key) if broker_key in brokers else definition.default
        return values

    def described_topic(self, topic_name: str, overrides: Overrides | None = None) -> "list[DescribedConfig]":
        """Every config of a topic as clients see it, in Kafka's order; with `overrides`, of a topic that would have those of its own."""
        from pykbroker.config.description import described_resource

        own = self.overrides(ResourceType.TOPIC, topic_name) if overrides is None else overrides
        if own:
            return described_resource(self, ResourceType.TOPIC, own)
        if self._default_topic_described is None:
            self._default_topic_described = described_resource(self, ResourceType.TOPIC, own)
        return self._default_topic_described

    def validate_topic_configs(self, configs: Mapping[str, str | None]) -> None:
        """Whether a topic may have these of its own. Raises KafkaError: INVALID_CONFIG, or INVALID_REQUEST for a null."""
        from pykbroker.config.rules import check_topic

        check_topic(self, configs)
