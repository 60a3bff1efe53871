"""The only writer of `__cluster_metadata`: what is asked for is checked, turned into records, written as one batch, synced, and replayed. Then it is true.

Each item of a request fails or succeeds by itself: a KafkaError stands in its place. Decisions about the same topic are made one after the other (see
`decisions`), and what a broken disk refuses has never been true: nothing is replayed before it is durable.
"""

import base64
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from pykbroker.config import ResourceType
from pykbroker.later import Later, Slices
from pykbroker.limits import ITEMS_PER_SLICE, MAX_AUTO_CREATED_TOPICS_PER_REQUEST
from pykbroker.metadata import internal_topics
from pykbroker.metadata.decisions import Decisions
from pykbroker.metadata.placement import check_assignment, place
from pykbroker.metadata.registration import new_cluster_records, registration_records
from pykbroker.metadata.snapshot import snapshot_records
from pykbroker.metadata.state import NO_LEADER, Topic
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ConfigRecord, Message, PartitionRecord, ProducerIdsRecord, RemoveTopicRecord, TopicRecord
from pykbroker.topic_names import INTERNAL_TOPICS, collision_key, why_invalid

if TYPE_CHECKING:
    from pykbroker.cluster import Cluster

T = TypeVar("T")

Change = Sequence[Message]
"""Records that belong together: a topic with all that makes it up, the configs of one resource. Nobody ever sees a part of them."""

MAX_RECORDS_PER_REQUEST = 10_000
"""Kafka's own limit: partitions of a request, and records that one decision may have (A-07)."""

PRODUCER_IDS_PER_BLOCK = 1000
"""How many producer ids a broker takes at a time; a crash wastes what is left of them."""

BROKER_DEFAULT = -1
"""Instead of a number of partitions or a replication factor."""


@dataclass(slots=True)
class NewTopic:
    """A topic to be made. `assignments`, where given, names each partition's replicas, and the numbers stay at BROKER_DEFAULT."""

    name: str
    num_partitions: int = BROKER_DEFAULT
    replication_factor: int = BROKER_DEFAULT
    assignments: Sequence[tuple[int, list[int]]] = ()
    configs: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class CreatedTopic:
    """What a new topic has become, or, when it was only validated, would become; then the id is a random one (A-06)."""

    name: str
    topic_id: bytes
    num_partitions: int
    replication_factor: int
    configs: Mapping[str, str]


@dataclass(slots=True)
class MorePartitions:
    """A topic is to have `count` partitions; `assignments`, where given, names the replicas of each added one."""

    name: str
    count: int
    assignments: Sequence[list[int]] | None = None


class Controller:
    """See the module's law."""

    def __init__(self, cluster: "Cluster") -> None:
        self.cluster = cluster
        self.metadata = cluster.metadata
        self._decisions = Decisions(cluster.waits)
        self._replayed_to = 0
        self._turns_to_replay: dict[int, Later[None]] = {}
        self._next_producer_id = 0
        self._producer_ids_left = 0

    def start(self) -> None:
        """The metadata log has been replayed: begin it, where it is empty, and register this broker. Raises OSError, KafkaError."""
        metadata, broker = self.metadata, self.cluster.broker
        records = [] if metadata.features else new_cluster_records(self.cluster)
        broker.epoch = metadata.offset + 1 + len(records)
        records += registration_records(self.cluster, broker, broker.epoch)
        metadata.brokers[broker.node_id] = broker
        first_offset = self.cluster.metadata_log.append_now(records)
        for offset, record in enumerate(records, first_offset):
            self.cluster.replay(offset, record)
        self._replayed_to = first_offset + len(records)
        metadata.keep_quiet()
        self._shorten_log()

    # -- deciding ------------------------------------------------------------------------------------------------

    def decide(self, decision: Slices[T], topics: Collection[str] | None = None) -> T | Later[T]:
        """Make a decision as soon as those before it, about any of the same topics, have come true; None: all of them. Raises what it raises.

        It looks at what there is then, and may `write` once.
        """
        about = None if topics is None or len(topics) > ITEMS_PER_SLICE else {collision_key(name) for name in topics}
        return self._decisions.make(decision, about)

    def write(self, changes: Sequence[Change]) -> Slices[None]:
        """All changes in one batch, which is durable before any of them is replayed; only for a decision. Raises KafkaError."""
        first_offset = yield from self.cluster.metadata_log.append(chain.from_iterable(changes))
        if first_offset > self._replayed_to:
            turn = self._turns_to_replay[first_offset] = Later()
            yield turn
        try:
            yield from self._replay(first_offset, changes)
        finally:
            self._replayed_to = first_offset + sum(map(len, changes))
            turn_of_next = self._turns_to_replay.pop(self._replayed_to, None)
            if turn_of_next is not None:
                turn_of_next.settle(None)
        self._shorten_log()

    def _replay(self, offset: int, changes: Sequence[Change]) -> Slices[None]:
        in_this_slice = 0
        for change in changes:
            if in_this_slice and in_this_slice + len(change) > ITEMS_PER_SLICE:
                self.metadata.announce()
                yield None
                in_this_slice = 0
            for record in change:
                self.cluster.replay(offset, record)
                offset += 1
            in_this_slice += len(change)
        self.metadata.announce()

    def _require_disk(self) -> None:
        """While the log is offline, "it exists already" is no answer either."""
        offline = self.cluster.metadata_log.offline
        if offline is not None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The metadata log is offline, and will be opened anew: {offline}")

    def _shorten_log(self) -> None:
        """A log that says much more than what is still true is replaced by a snapshot, so that every start is quick."""
        if self.cluster.metadata_log.is_worth_shortening(self.metadata.record_count):
            self.decide(self._shortening())

    def _shortening(self) -> Slices[None]:
        if self.cluster.metadata_log.is_worth_shortening(self.metadata.record_count):
            yield from self.cluster.metadata_log.write_snapshot(snapshot_records(self.metadata, self.cluster.config))

    # -- topics --------------------------------------------------------------------------------------------------

    def create_topics(
        self, topics: Sequence[NewTopic], *, validate_only: bool = False
    ) -> list[CreatedTopic | KafkaError] | Later[list[CreatedTopic | KafkaError]]:
        """Make topics; each in its place becomes a CreatedTopic or the error that refused it. Raises KafkaError: too many at once, or no disk."""
        return self.decide(self._create_topics(topics, validate_only=validate_only), [topic.name for topic in topics])

    def _create_topics(self, topics: Sequence[NewTopic], *, validate_only: bool) -> Slices[list[CreatedTopic | KafkaError]]:
        self._require_disk()
        total = sum(self._partitions_asked(topic) for topic in topics)
        if total > MAX_RECORDS_PER_REQUEST:
            raise KafkaError(
                ErrorCode.POLICY_VIOLATION, f"{total} partitions are too many for one request, {MAX_RECORDS_PER_REQUEST} are allowed."
            )
        results: list[CreatedTopic | KafkaError] = []
        changes: list[Change] = []
        record_count = 0
        for topic in topics:
            if results and len(results) % ITEMS_PER_SLICE == 0:
                yield None
            try:
                created, change = self._new_topic(topic)
            except KafkaError as error:
                results.append(error)
            else:
                results.append(created)
                changes.append(change)
                record_count += len(change)
            if record_count > MAX_RECORDS_PER_REQUEST:
                raise KafkaError(
                    ErrorCode.POLICY_VIOLATION,
                    f"The request needs more metadata records than the {MAX_RECORDS_PER_REQUEST} that are allowed.",
                )
        if changes and not validate_only:
            yield from self.write(changes)
        return results

    def _partitions_asked(self, topic: NewTopic) -> int:
        if topic.assignments:
            return len(topic.assignments)
        return max(0, self._num_partitions(topic))

    def _num_partitions(self, topic: NewTopic) -> int:
        return self.cluster.config.integer("num.partitions") if topic.num_partitions == BROKER_DEFAULT else topic.num_partitions

    def _new_topic(self, topic: NewTopic) -> tuple[CreatedTopic, Change]:
        """The checks in Kafka's order (A-05): name, existence, configs, assignments, replication factor, partitions."""
        self._check_name(topic.name)
        configs = self._checked_configs(topic.configs)
        replicas = self._replicas_of(topic)
        topic_id = self.new_topic_id()
        records: list[Message] = [TopicRecord(name=topic.name, topic_id=topic_id)]
        records += [
            ConfigRecord(resource_type=ResourceType.TOPIC, resource_name=topic.name, name=name, value=value)
            for name, value in configs.items()
        ]
        records += self._partition_records(topic_id, 0, replicas)
        return CreatedTopic(topic.name, topic_id, len(replicas), len(replicas[0]), configs), records

    def _check_name(self, name: str) -> None:
        problem = why_invalid(name)
        if problem is not None:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, problem)
        if name in self.metadata.topics:
            raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"There is a topic {name} already.")
        colliding = self.metadata.colliding_topic(name)
        if colliding is not None:
            raise KafkaError(
                ErrorCode.INVALID_TOPIC_EXCEPTION,
                f"{name} and the topic {colliding} would have the same name in metrics, where . becomes _.",
            )

    def _checked_configs(self, configs: Mapping[str, str | None]) -> dict[str, str]:
        if not configs:
            return {}
        nulls = [name for name, value in configs.items() if value is None]
        if nulls:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"No value is given for {', '.join(nulls)}.")
        self.cluster.config.validate_topic_configs(configs)
        return {name: value for name, value in configs.items() if value is not None}

    def _replicas_of(self, topic: NewTopic) -> list[list[int]]:
        if topic.assignments:
            return self._assigned_by_hand(topic)
        replication_factor = topic.replication_factor
        if replication_factor == BROKER_DEFAULT:
            replication_factor = self.cluster.config.integer("default.replication.factor")
        if replication_factor <= 0:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"A replication factor of {replication_factor} is not possible; it must be larger than 0, or -1 for the broker's default.",
            )
        num_partitions = self._num_partitions(topic)
        if num_partitions <= 0:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS,
                f"{num_partitions} partitions are not possible; it must be more than 0, or -1 for the broker's default.",
            )
        return self._placed(num_partitions, replication_factor)

    def _assigned_by_hand(self, topic: NewTopic) -> list[list[int]]:
        if topic.replication_factor != BROKER_DEFAULT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "With a manual assignment, the replication factor must be -1.")
        if topic.num_partitions != BROKER_DEFAULT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "With a manual assignment, the number of partitions must be -1.")
        assignments = dict(topic.assignments)
        if len(assignments) != len(topic.assignments):
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, "The manual assignment has a partition more than once.")
        replication_factor: int | None = None
        for index, replicas in sorted(assignments.items()):
            check_assignment(index, replicas, self.metadata.registrations, replication_factor)
            replication_factor = len(replicas)
        if sorted(assignments) != list(range(len(assignments))):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"The partitions of a manual assignment must be 0 to {len(assignments) - 1}, without a gap: {sorted(assignments)}.",
            )
        return [assignments[index] for index in range(len(assignments))]

    def _placed(self, count: int, replication_factor: int) -> list[list[int]]:
        registrations = self.metadata.registrations.values()
        start = self.cluster.random.randrange(len(registrations)) if len(registrations) > 1 else 0
        return place(count, replication_factor, registrations, start)

    def _partition_records(self, topic_id: bytes, first_index: int, replicas: list[list[int]]) -> Change:
        registrations = self.metadata.registrations
        records: list[Message] = []
        for index, its_replicas in enumerate(replicas, first_index):
            alive = [node_id for node_id in its_replicas if not registrations[node_id].fenced]
            records.append(
                PartitionRecord(
                    partition_id=index,
                    topic_id=topic_id,
                    replicas=its_replicas,
                    isr=alive,
                    leader=alive[0] if alive else NO_LEADER,
                    leader_epoch=0,
                    partition_epoch=0,
                    directories=self.metadata.directories_of(its_replicas),
                )
            )
        return records

    def new_topic_id(self) -> bytes:
        """A random id, in the form of a version 4 UUID. Kafka keeps some to itself, and gives out none that looks like an option on a command line."""
        while True:
            drawn = bytearray(self.cluster.random.randbytes(16))
            drawn[6] = drawn[6] & 0x0F | 0x40
            drawn[8] = drawn[8] & 0x3F | 0x80
            topic_id = bytes(drawn)
            if topic_id not in self.metadata.topics_by_id and not base64.urlsafe_b64encode(topic_id).startswith(b"-"):
                return topic_id

    def delete_topics(self, topics: Sequence[Topic]) -> Later[None] | None:
        """Remove topics, in one decision; one that somebody else has deleted meanwhile is gone already. Raises KafkaError."""
        return self.decide(self._delete_topics(topics), [topic.name for topic in topics])

    def _delete_topics(self, topics: Sequence[Topic]) -> Slices[None]:
        self._require_disk()
        changes = [[RemoveTopicRecord(topic_id=topic.topic_id)] for topic in topics if topic.topic_id in self.metadata.topics_by_id]
        if changes:
            yield from self.write(changes)

    def create_partitions(
        self, wanted: Sequence[MorePartitions], *, validate_only: bool = False
    ) -> list[KafkaError | None] | Later[list[KafkaError | None]]:
        """Give topics more partitions; None in the place of each that worked. Raises KafkaError."""
        return self.decide(self._create_partitions(wanted, validate_only=validate_only), [topic.name for topic in wanted])

    def _create_partitions(self, wanted: Sequence[MorePartitions], *, validate_only: bool) -> Slices[list[KafkaError | None]]:
        self._require_disk()
        results: list[KafkaError | None] = []
        changes: list[Change] = []
        record_count = 0
        for topic in wanted:
            if results and len(results) % ITEMS_PER_SLICE == 0:
                yield None
            try:
                change = self._added_partitions(topic, record_count)
            except KafkaError as error:
                results.append(error)
            else:
                results.append(None)
                changes.append(change)
                record_count += len(change)
        if changes and not validate_only:
            yield from self.write(changes)
        return results

    def _added_partitions(self, wanted: MorePartitions, already: int) -> Change:
        """The records of one topic's new partitions; `already` are in the decision before it. Raises KafkaError."""
        if already >= MAX_RECORDS_PER_REQUEST:
            raise KafkaError(ErrorCode.POLICY_VIOLATION, f"One request may add {MAX_RECORDS_PER_REQUEST} partitions, and has.")
        records = self._partitions_to_add(wanted)
        if already + len(records) > MAX_RECORDS_PER_REQUEST:
            raise KafkaError(
                ErrorCode.POLICY_VIOLATION, f"One request may add {MAX_RECORDS_PER_REQUEST} partitions; these are {len(records)} more."
            )
        return records

    def _partitions_to_add(self, wanted: MorePartitions) -> Change:
        topic = self.metadata.topic(wanted.name)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        present = len(topic.partitions)
        if wanted.count == present:
            raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"There are {present} partitions already; a topic only gains some.")
        if wanted.count < present:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS, f"The topic {topic.name} has {present} partition(s); {wanted.count} would not be an increase."
            )
        added = wanted.count - present
        replication_factor = len(topic.partitions[0].replicas)
        if wanted.assignments is None:
            if added > MAX_RECORDS_PER_REQUEST:
                raise KafkaError(
                    ErrorCode.POLICY_VIOLATION, f"{added} partitions are too many for one request, {MAX_RECORDS_PER_REQUEST} are allowed."
                )
            return self._partition_records(topic.topic_id, present, self._placed(added, replication_factor))
        if len(wanted.assignments) != added:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"{added} partition(s) are to be added, {len(wanted.assignments)} assignment(s) are given.",
            )
        for number, replicas in enumerate(wanted.assignments):
            check_assignment(present + number, replicas, self.metadata.registrations, replication_factor)
        return self._partition_records(topic.topic_id, present, list(wanted.assignments))

    # -- topics that nobody asked for in so many words -----------------------------------------------------------

    def create_internal_topic(self, name: str) -> Later[None] | None:
        """One of the broker's own topics is needed: make it as the configuration says, unless it is there. Raises KafkaError where that cannot be."""
        if name in self.metadata.topics:
            return None
        return self.decide(self._create_internal_topic(name), [name])

    def _create_internal_topic(self, name: str) -> Slices[None]:
        if name not in self.metadata.topics:
            yield from self.write([self._internal_topic(name)])

    def _internal_topic(self, name: str) -> Change:
        config = self.cluster.config
        partitions, replication_factor = internal_topics.partitions_and_replicas(config, name)
        return self._new_topic(NewTopic(name, partitions, replication_factor, configs=internal_topics.configs(config, name)))[1]

    def auto_create(self, *names: str) -> None:
        """A client asked for topics that do not exist, and may have them: they are there the next time, unless they cannot be (M-06).

        Of very many only the first are made; who asks again gets the next ones.
        """
        some = names[:MAX_AUTO_CREATED_TOPICS_PER_REQUEST]
        made = self.decide(self._auto_create(some), some)
        if isinstance(made, Later):
            made.then(_nothing, lambda error: self.cluster.report(error, "Topics could not be made"))

    def _auto_create(self, names: Sequence[str]) -> Slices[None]:
        """What is refused is not told: the client learns no more than that the topic is not there."""
        changes: list[Change] = []
        for number, name in enumerate(names, 1):
            with suppress(KafkaError):
                changes.append(self._internal_topic(name) if name in INTERNAL_TOPICS else self._new_topic(NewTopic(name))[1])
            if number % ITEMS_PER_SLICE == 0:
                yield None
        if changes:
            with suppress(KafkaError):
                yield from self.write(changes)

    # -- the rest ------------------------------------------------------------------------------------------------

    def allocate_producer_id(self) -> int | Later[int]:
        """A producer id that nobody ever had. One in a thousand waits for the next block of them to be written. Raises KafkaError."""
        return self._taken_producer_id() if self._producer_ids_left else self.decide(self._allocate_producer_id())

    def _allocate_producer_id(self) -> Slices[int]:
        if not self._producer_ids_left:
            first = self.metadata.next_producer_id
            broker = self.cluster.broker
            record = ProducerIdsRecord(broker_id=broker.node_id, broker_epoch=broker.epoch, next_producer_id=first + PRODUCER_IDS_PER_BLOCK)
            yield from self.write([[record]])
            self._next_producer_id = first
            self._producer_ids_left = PRODUCER_IDS_PER_BLOCK
        return self._taken_producer_id()

    def _taken_producer_id(self) -> int:
        taken = self._next_producer_id
        self._next_producer_id += 1
        self._producer_ids_left -= 1
        return taken


def _nothing(_made: None) -> None:
    """They are there the next time."""
