"""Fetch sessions (KIP-227): a client names its partitions once, and is told from then on only of those where something changed.

The cost of an incremental fetch follows what changed, not what the session holds: each of its partitions is watched, and what changed is in `dirty`
until the client has been told. A fetch without a session uses the same objects for the length of one request.

Rules FS-01 to FS-14. Kafka divides its slots over eight caches, so fewer than eight are none, and a rest of the division is lost; ours is one cache of that size.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from pykbroker.limits import MAX_FETCH_SESSION_PARTITIONS
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import FetchRequest

if TYPE_CHECKING:
    from pykbroker.cluster import Cluster
    from pykbroker.metadata import Topic
    from pykbroker.partition import Partition
    from pykbroker.storage.log import UnifiedLog

NO_SESSION = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1

FIRST_VERSION_WITH_TOPIC_IDS = 13

EVICTION_MS = 120_000
"""Kafka's min.incremental.fetch.session.eviction.ms, which is no setting: a session is safe from others for so long."""

_CACHES_OF_KAFKA = 8
_LARGEST_ID = 2**31 - 1

Key = tuple[str | bytes, int]
"""A partition as the request names it: by its topic's name, or from version 13 on by its topic's id."""


class Waiter(Protocol):
    """A fetch that waits for something to happen in its session."""

    def wanted_changed(self, wanted: "Wanted") -> None:
        """That partition is not what it was."""


class Wanted:
    """One partition that is fetched: from where, and what its client knows of it."""

    __slots__ = (
        "current_leader_epoch",
        "fetch_offset",
        "index",
        "last_fetched_epoch",
        "max_bytes",
        "order",
        "partition",
        "session",
        "told_high_watermark",
        "told_log_start_offset",
        "topic",
        "topic_id",
    )

    def __init__(self, session: "FetchSession", topic: FetchRequest.FetchTopic, asked: FetchRequest.FetchPartition, order: int) -> None:
        self.session = session
        self.topic = topic.topic
        self.topic_id = topic.topic_id
        self.index = asked.partition
        self.order = order
        self.partition: Partition | None = None
        self.told_high_watermark = -1
        self.told_log_start_offset = asked.log_start_offset
        self.fetch_offset = asked.fetch_offset
        self.max_bytes = asked.partition_max_bytes
        self.current_leader_epoch = asked.current_leader_epoch
        self.last_fetched_epoch = asked.last_fetched_epoch

    @property
    def topic_name_or_id(self) -> str | bytes:
        """As the request names it."""
        return self.topic_id if self.session.uses_topic_ids else self.topic

    def update(self, asked: FetchRequest.FetchPartition) -> None:
        """The client goes on from another offset, or wants something else."""
        self.fetch_offset = asked.fetch_offset
        self.max_bytes = asked.partition_max_bytes
        self.current_leader_epoch = asked.current_leader_epoch
        self.last_fetched_epoch = asked.last_fetched_epoch

    def partition_changed(self) -> None:
        """The client must be told, soon."""
        session = self.session
        session.dirty[self] = None
        if session.waiters:
            for waiter in list(session.waiters):
                waiter.wanted_changed(self)

    def found(self, partition: "Partition") -> None:
        """It exists, maybe since a moment ago."""
        self.partition = partition
        self.topic = partition.topic.name
        if self.session.is_watching:
            partition.watch(self)


class FetchSession:
    """The partitions that somebody fetches. With `id` NO_SESSION it is not kept, and lives for one request."""

    __slots__ = (
        "_next_order",
        "created_ms",
        "dirty",
        "epoch",
        "id",
        "is_watching",
        "last_used_ms",
        "partitions",
        "uses_topic_ids",
        "waiters",
    )

    def __init__(self, topics: Iterable[FetchRequest.FetchTopic], *, uses_topic_ids: bool) -> None:
        self.id = NO_SESSION
        self.epoch = 1
        self.uses_topic_ids = uses_topic_ids
        self.created_ms = 0
        self.last_used_ms = 0
        self.is_watching = False
        self.waiters: list[Waiter] = []
        self.partitions: dict[Key, Wanted] = {}
        self.dirty: dict[Wanted, None] = {}
        """What the client must be told of, or may have to be: it has changed, is in error, or has data that was not taken yet."""
        self._next_order = 0
        self.update(topics)

    def update(self, topics: Iterable[FetchRequest.FetchTopic], forgotten: Iterable[FetchRequest.ForgottenTopic] = ()) -> None:
        """Partitions that are new, that go on from elsewhere, that are not wanted any more; the last word on one counts (F-19, FS-12)."""
        partitions = self.partitions
        uses_topic_ids = self.uses_topic_ids
        for topic in topics:
            name = topic.topic_id if uses_topic_ids else topic.topic
            for asked in topic.partitions:
                key = (name, asked.partition)
                wanted = partitions.get(key)
                if wanted is None:
                    wanted = partitions[key] = Wanted(self, topic, asked, self._next_order)
                    self._next_order += 1
                else:
                    wanted.update(asked)
                self.dirty[wanted] = None
        for gone in forgotten:
            for index in gone.partitions:
                self._forget((gone.topic_id if uses_topic_ids else gone.topic, index))

    def _forget(self, key: Key) -> None:
        wanted = self.partitions.pop(key, None)
        if wanted is None:
            return
        self.dirty.pop(wanted, None)
        if wanted.partition is not None:
            wanted.partition.unwatch(wanted)

    def move_to_end(self, wanted: Wanted) -> None:
        """Others come first the next time (FS-11)."""
        wanted.order = self._next_order
        self._next_order += 1

    def wait(self, waiter: Waiter) -> None:
        """Tell `waiter` of what changes."""
        self.waiters.append(waiter)
        self.watch()

    def end_wait(self, waiter: Waiter) -> None:
        """No more."""
        self.waiters.remove(waiter)
        self.unwatch_unless_needed()

    def watch(self) -> None:
        """Watch all partitions that exist."""
        if not self.is_watching:
            self.is_watching = True
            for wanted in self.partitions.values():
                if wanted.partition is not None:
                    wanted.partition.watch(wanted)

    def unwatch_unless_needed(self) -> None:
        """Nobody keeps this session, and nobody waits in it: it must not be kept by its partitions."""
        if self.id == NO_SESSION and self.is_watching and not self.waiters:
            self.is_watching = False
            for wanted in self.partitions.values():
                if wanted.partition is not None:
                    wanted.partition.unwatch(wanted)


class FetchSessions:
    """The sessions of one broker, by id; the one that was not used for the longest time is first."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._sessions: dict[int, FetchSession] = {}
        self._kept_partitions = 0
        cluster.metadata.on_topic_deleted.append(_topic_deleted)
        cluster.metadata.on_leader_changed.append(_leader_changed)
        cluster.logs.on_offline.append(self._log_went_offline)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def slots(self) -> int:
        """How many sessions are kept at most."""
        return self._cluster.config.integer("max.incremental.fetch.session.cache.slots") // _CACHES_OF_KAFKA * _CACHES_OF_KAFKA

    def session_for(self, request: FetchRequest, version: int) -> tuple[FetchSession, bool]:
        """The session in which a request is answered, and whether only what changed is told. Raises KafkaError for the request as a whole."""
        uses_topic_ids = version >= FIRST_VERSION_WITH_TOPIC_IDS
        session_id, epoch = request.session_id, request.session_epoch
        if epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            if session_id != NO_SESSION:
                self._drop(session_id)
            return FetchSession(request.topics, uses_topic_ids=uses_topic_ids), False
        session = self._sessions.get(session_id)
        if session is None:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND, f"There is no fetch session {session_id}.")
        if session.epoch != epoch:
            raise KafkaError(ErrorCode.INVALID_FETCH_SESSION_EPOCH, f"Fetch session {session_id} is at epoch {session.epoch}, not {epoch}.")
        if session.uses_topic_ids != uses_topic_ids:
            raise KafkaError(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, f"Fetch session {session_id} names its topics in the other way.")
        if request.topics or request.forgotten_topics_data:
            before = len(session.partitions)
            session.update(request.topics, request.forgotten_topics_data)
            self._kept_partitions += len(session.partitions) - before
            if self._kept_partitions > MAX_FETCH_SESSION_PARTITIONS and len(session.partitions) > before:
                self._drop(session_id)
                raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND, f"There is no more room for what fetch session {session_id} wants.")
        if not session.partitions:
            self._drop(session_id)
            return FetchSession(request.topics, uses_topic_ids=uses_topic_ids), False
        session.epoch = 1 if epoch == _LARGEST_ID else epoch + 1
        session.last_used_ms = self._cluster.clock.now_ms
        self._sessions[session_id] = self._sessions.pop(session_id)
        return session, True

    def keep(self, session: FetchSession) -> None:
        """Give a new session an id, if there is room for it; else its client has to do without (FS-01)."""
        now_ms = self._cluster.clock.now_ms
        size = len(session.partitions)
        if len(self._sessions) >= self.slots and not self._make_room(size, now_ms):
            return
        while self._kept_partitions + size > MAX_FETCH_SESSION_PARTITIONS:
            if not self._make_room(size, now_ms):
                return
        session.created_ms = session.last_used_ms = now_ms
        while session.id in self._sessions or session.id == NO_SESSION:
            session.id = 1 + self._cluster.random.randrange(_LARGEST_ID)
        self._sessions[session.id] = session
        self._kept_partitions += size
        session.watch()

    def _make_room(self, size: int, now_ms: int) -> bool:
        """Take the place of one that was not used for a while, or of one that is smaller and not young any more."""
        oldest = next(iter(self._sessions.values()), None)
        if oldest is None:
            return False
        if now_ms - oldest.last_used_ms <= EVICTION_MS:
            not_young = [one for one in self._sessions.values() if now_ms - one.created_ms > EVICTION_MS]
            if not not_young:
                return False
            oldest = min(not_young, key=lambda one: (len(one.partitions), one.id))
            if len(oldest.partitions) >= size:
                return False
        self._drop(oldest.id)
        return True

    def _drop(self, session_id: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._kept_partitions -= len(session.partitions)
            session.id = NO_SESSION
            session.unwatch_unless_needed()

    def _log_went_offline(self, log: "UnifiedLog") -> None:
        """Who waits for its records waits in vain."""
        topic, _, index = log.directory.rpartition("-")
        partition = self._cluster.metadata.partition(topic, int(index))
        if partition is not None:
            partition.changed()


def _topic_deleted(topic: "Topic") -> None:
    for partition in topic.partitions:
        partition.mark_deleted()


def _leader_changed(partition: "Partition") -> None:
    partition.changed()
