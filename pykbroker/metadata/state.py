"""What the cluster consists of, as the records of `__cluster_metadata` tell it: topics and partitions, brokers, features. Only `replay` changes it.

The controller decides and writes records; whoever wants to know when something came, changed or went hangs a callback on one of the `on_…` lists. They
are called after all records of a decision have been replayed, so that a new topic is whole when its callbacks see it. While a start
replays what was written before, nobody has hung up anything yet.
"""

from typing import TYPE_CHECKING, Any, TypeVar

from pykbroker.config import ResourceType
from pykbroker.partition import Partition
from pykbroker.protocol.messages import (
    BrokerRegistrationChangeRecord,
    FeatureLevelRecord,
    FenceBrokerRecord,
    Message,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
)
from pykbroker.topic_names import INTERNAL_TOPICS, collision_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykbroker.broker import Broker
    from pykbroker.cluster import Cluster

NO_LEADER = -1
_UNASSIGNED = bytes(16)
"""The id of "no directory in particular"."""
_LEADER_UNCHANGED = -2
FENCED = 1
UNFENCED = -1
"""What BrokerRegistrationChangeRecord says in `fenced`; 0: nothing about it."""

T = TypeVar("T")


class Topic:
    """A topic, and its partitions in order of their number."""

    __slots__ = ("is_internal", "name", "partitions", "topic_id")

    def __init__(self, name: str, topic_id: bytes) -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions: list[Partition] = []
        self.is_internal = name in INTERNAL_TOPICS

    def __repr__(self) -> str:
        return f"Topic({self.name!r}, {len(self.partitions)} partitions)"


class Registration:
    """What the metadata log says about a broker, also while that one is away."""

    __slots__ = ("fenced", "log_directories", "record")

    def __init__(self, record: RegisterBrokerRecord) -> None:
        self.record = record
        self.log_directories = record.log_dirs
        self.fenced = record.fenced
        """Away, or not ready yet: it leads nothing, and clients are not told of it."""

    @property
    def node_id(self) -> int:
        """Whose it is."""
        return self.record.broker_id

    @property
    def epoch(self) -> int:
        """The offset at which it was registered: each start has another one."""
        return self.record.broker_epoch

    @property
    def rack(self) -> str | None:
        """Where it stands."""
        return self.record.rack


class Metadata:
    """See the module's law. `brokers` are the nodes of this process, by id: through them a broker's listeners are known."""

    def __init__(self, cluster: "Cluster") -> None:
        self.cluster = cluster
        self.cluster_id = ""
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[bytes, Topic] = {}
        self.brokers: dict[int, Broker] = {}
        self.registrations: dict[int, Registration] = {}
        self.features: dict[str, int] = {}
        """Finalized features and their levels; a feature at level 0 is not there."""
        self.offset = -1
        """Of the last record replayed; clients see it as the epoch of the finalized features."""
        self.next_producer_id = 0
        """The first producer id that is in nobody's block."""
        self.on_topic_created: list[Callable[[Topic], None]] = []
        self.on_topic_deleted: list[Callable[[Topic], None]] = []
        self.on_partitions_added: list[Callable[[Topic], None]] = []
        self.on_leader_changed: list[Callable[[Partition], None]] = []
        """The leader of a partition, or its epoch, is another one."""
        self._collisions: dict[str, list[str]] = {}
        self._partition_count = 0
        self._eligible_leaders: dict[tuple[bytes, int], tuple[list[int], list[int]]] = {}
        self._node_lists: dict[tuple[int, ...], list[int]] = {}
        self._news = _News()
        self._replayers: dict[type[Message], Callable[[Any], None]] = {
            TopicRecord: self._topic,
            PartitionRecord: self._partition,
            PartitionChangeRecord: self._partition_change,
            RemoveTopicRecord: self._remove_topic,
            ProducerIdsRecord: self._producer_ids,
            FeatureLevelRecord: self._feature_level,
            RegisterBrokerRecord: self._register_broker,
            UnregisterBrokerRecord: self._unregister_broker,
            FenceBrokerRecord: self._fence_broker,
            UnfenceBrokerRecord: self._unfence_broker,
            BrokerRegistrationChangeRecord: self._broker_registration_change,
        }

    # -- asking --------------------------------------------------------------------------------------------------

    def topic(self, name: str) -> Topic | None:
        """The topic of that name."""
        return self.topics.get(name)

    def topic_by_id(self, topic_id: bytes) -> Topic | None:
        """The topic of that id."""
        return self.topics_by_id.get(topic_id)

    def partition(self, name: str, index: int) -> Partition | None:
        """A partition by its topic's name and its number."""
        topic = self.topics.get(name)
        return topic.partitions[index] if topic is not None and 0 <= index < len(topic.partitions) else None

    def partition_by_id(self, topic_id: bytes, index: int) -> Partition | None:
        """A partition by its topic's id and its number."""
        topic = self.topics_by_id.get(topic_id)
        return topic.partitions[index] if topic is not None and 0 <= index < len(topic.partitions) else None

    @property
    def partition_count(self) -> int:
        """Of all topics together."""
        return self._partition_count

    @property
    def record_count(self) -> int:
        """About how many records a log needs at least that says all this; configs are not counted."""
        return self._partition_count + len(self.topics) + len(self.registrations) + len(self.features)

    def colliding_topic(self, name: str) -> str | None:
        """An existing topic whose name differs from `name` only in `.` and `_`."""
        colliding = self._collisions.get(collision_key(name))
        return colliding[0] if colliding else None

    def is_alive(self, node_id: int) -> bool:
        """Whether a broker is registered, and not fenced."""
        registration = self.registrations.get(node_id)
        return registration is not None and not registration.fenced

    def live_brokers(self) -> "list[Broker]":
        """The brokers that clients are told of, by id."""
        return [self.brokers[node_id] for node_id in sorted(self.registrations) if self.is_alive(node_id) and node_id in self.brokers]

    def eligible_leaders(self, partition: Partition) -> tuple[list[int], list[int]]:
        """Replicas that may lead though they are not in sync, and those that were the last to (KIP-966); mostly none."""
        return self._eligible_leaders.get((partition.topic.topic_id, partition.index), _NOBODY)

    def directories_of(self, replicas: list[int]) -> list[bytes]:
        """The data directory of each replica, by its id."""
        return [
            self.registrations[node_id].log_directories[0] if self.registrations[node_id].log_directories else _UNASSIGNED
            for node_id in replicas
        ]

    # -- replaying -----------------------------------------------------------------------------------------------

    def replay(self, record: Message, offset: int) -> None:
        """One record of the log. Records about what is kept elsewhere (configs) or by nobody (no-ops) only move the offset."""
        self.offset = offset
        replayer = self._replayers.get(type(record))
        if replayer is not None:
            replayer(record)

    def announce(self) -> None:
        """Tell the callbacks, and who watches a partition, what the records replayed since the last time brought about."""
        news, self._news = self._news, _News()
        for topic in news.deleted:
            _call(self.on_topic_deleted, topic)
            for partition in topic.partitions:
                partition.mark_deleted()
        for topic in news.created:
            _call(self.on_topic_created, topic)
        for topic in news.grown:
            _call(self.on_partitions_added, topic)
        for partition in news.moved:
            _call(self.on_leader_changed, partition)
            partition.changed()

    def keep_quiet(self) -> None:
        """Nobody is told of what has been replayed so far: it is not new, it was read at the start."""
        self._news = _News()

    def _topic(self, record: TopicRecord) -> None:
        topic = Topic(record.name, record.topic_id)
        self.topics[topic.name] = topic
        self.topics_by_id[topic.topic_id] = topic
        self._collisions.setdefault(collision_key(topic.name), []).append(topic.name)
        self._news.created.append(topic)

    def _partition(self, record: PartitionRecord) -> None:
        topic = self.topics_by_id[record.topic_id]
        if record.partition_id != len(topic.partitions):
            raise ValueError(f"the metadata log has partition {record.partition_id} of {topic.name} after {len(topic.partitions)} others")
        partition = Partition(
            self.cluster,
            topic,
            record.partition_id,
            replicas=self._shared(record.replicas),
            isr=self._shared(record.isr),
            leader_id=record.leader,
            leader_epoch=record.leader_epoch,
            partition_epoch=record.partition_epoch,
        )
        topic.partitions.append(partition)
        self._partition_count += 1
        self._note_eligible_leaders(partition, record.eligible_leader_replicas, record.last_known_elr)
        news = self._news
        if not (news.created and news.created[-1] is topic) and not (news.grown and news.grown[-1] is topic):
            news.grown.append(topic)

    def _shared(self, node_ids: list[int]) -> list[int]:
        """One list for all partitions with the same replicas; nobody changes it in place."""
        return self._node_lists.setdefault(tuple(node_ids), node_ids)

    def _partition_change(self, record: PartitionChangeRecord) -> None:
        topic = self.topics_by_id.get(record.topic_id)
        if topic is None:
            return
        partition = topic.partitions[record.partition_id]
        partition.partition_epoch += 1
        if record.replicas is not None:
            partition.replicas = self._shared(record.replicas)
        if record.isr is not None:
            partition.isr = self._shared(record.isr)
        if record.leader != _LEADER_UNCHANGED:
            partition.leader_id = record.leader
            partition.leader_epoch += 1
            self._news.moved.append(partition)
        self._note_eligible_leaders(partition, record.eligible_leader_replicas, record.last_known_elr)

    def _note_eligible_leaders(self, partition: Partition, eligible: list[int] | None, last_known: list[int] | None) -> None:
        if eligible is None and last_known is None:
            return
        known = self.eligible_leaders(partition)
        changed = (known[0] if eligible is None else eligible, known[1] if last_known is None else last_known)
        key = (partition.topic.topic_id, partition.index)
        if changed == _NOBODY:
            self._eligible_leaders.pop(key, None)
        else:
            self._eligible_leaders[key] = changed

    def _remove_topic(self, record: RemoveTopicRecord) -> None:
        topic = self.topics_by_id.pop(record.topic_id)
        del self.topics[topic.name]
        key = collision_key(topic.name)
        self._collisions[key].remove(topic.name)
        if not self._collisions[key]:
            del self._collisions[key]
        self._partition_count -= len(topic.partitions)
        for partition in topic.partitions:
            self._eligible_leaders.pop((topic.topic_id, partition.index), None)
        self.cluster.config.forget(ResourceType.TOPIC, topic.name)
        self._news.deleted.append(topic)

    def _producer_ids(self, record: ProducerIdsRecord) -> None:
        self.next_producer_id = record.next_producer_id

    def _feature_level(self, record: FeatureLevelRecord) -> None:
        if record.feature_level:
            self.features[record.name] = record.feature_level
        else:
            self.features.pop(record.name, None)

    def _register_broker(self, record: RegisterBrokerRecord) -> None:
        self.registrations[record.broker_id] = Registration(record)

    def _unregister_broker(self, record: UnregisterBrokerRecord) -> None:
        self.registrations.pop(record.broker_id, None)

    def _fence_broker(self, record: FenceBrokerRecord) -> None:
        self.registrations[record.id].fenced = True

    def _unfence_broker(self, record: UnfenceBrokerRecord) -> None:
        self.registrations[record.id].fenced = False

    def _broker_registration_change(self, record: BrokerRegistrationChangeRecord) -> None:
        registration = self.registrations[record.broker_id]
        if record.fenced:
            registration.fenced = record.fenced == FENCED
        if record.log_dirs:
            registration.log_directories = record.log_dirs


class _News:
    """What has been replayed and not been told yet."""

    __slots__ = ("created", "deleted", "grown", "moved")

    def __init__(self) -> None:
        self.created: list[Topic] = []
        self.deleted: list[Topic] = []
        self.grown: list[Topic] = []
        self.moved: list[Partition] = []


def _call(callbacks: "list[Callable[[T], None]]", what: "T") -> None:
    for callback in callbacks:
        callback(what)


_NOBODY: tuple[list[int], list[int]] = ([], [])
