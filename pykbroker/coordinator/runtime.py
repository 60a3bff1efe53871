"""Runs a coordinator's operations: what they decide is appended to the coordinator's topic, replayed into memory, and only then answered.

A shard is one partition of that topic with the state that its records make. An operation never changes that state itself: it hands records
to `Operation.write`, which appends and replays them; answers go out when everything appended so far is as durable as the topic's
configuration promises. A write or flush that fails unloads the shard: who waits is told NOT_COORDINATOR, and the state comes back by
replay from the disk. Nothing is undone by hand.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from pykbroker.later import Later
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import Message
from pykbroker.protocol.records import NewRecord, Record, build_batch
from pykbroker.protocol.wire import Malformed

if TYPE_CHECKING:
    from pykbroker.clock import Timer
    from pykbroker.cluster import Cluster
    from pykbroker.partition import Partition
    from pykbroker.storage.log import UnifiedLog
    from pykbroker.storage.segment import LogSegment

log = logging.getLogger("pykbroker.coordinator")

T = TypeVar("T")

RELOAD_INTERVAL_MS = 1000
"""How long after a disk error the shard is loaded again, and again until the disk gives it back."""

RECORDS_LOADED_AT_ONCE = 5000
RECORDS_PER_LOADING_SLICE = 500
"""A log up to the first size is loaded at once; a longer one goes on in slices, between which other work has its turn (law 5)."""

_BATCH_OVERHEAD = 61 + 24
"""A batch's header, and the most that the fields around one key and value take."""


class CoordinatorRecord(NamedTuple):
    """One record of the coordinator's topic; `value` None is a tombstone."""

    key: Message
    value: Message | None
    value_version: int = 0


class State(Protocol):
    """What a shard's records make."""

    def replay(self, record: CoordinatorRecord) -> None:
        """Take one record in; the only way in which durable state changes."""

    def loaded(self, operation: "Operation") -> None:
        """Every record is in: timers may start."""

    def unloaded(self) -> None:
        """The state is given up: its timers stop, and whoever waits for an answer of it is told NOT_COORDINATOR."""


S = TypeVar("S", bound=State)


class RecordFormat(Protocol):
    """How records lie in the topic."""

    def encode(self, record: CoordinatorRecord, now_ms: int) -> NewRecord:
        """A record to be appended."""

    def decode(self, record: Record) -> CoordinatorRecord | None:
        """A record that was read; None where it is of no concern to this coordinator."""


class Shard(Generic[S]):
    """One partition of the coordinator's topic. `state` is None while it is loading, and after a disk error."""

    __slots__ = ("index", "loading", "partition", "reload", "state", "undurable")

    def __init__(self, partition: "Partition") -> None:
        self.partition = partition
        self.index = partition.index
        self.state: S | None = None
        self.loading: Iterator[None] | None = None
        self.reload: Timer | None = None
        self.undurable: Later[None] | None = None
        """The end of the newest flush that somebody must wait for; None when everything appended is durable."""


class Operation:
    """One run of a coordinator's code: what it wrote, and whom it answers when that is durable."""

    __slots__ = ("_answers", "_write")

    def __init__(self, write: Callable[[list[CoordinatorRecord]], None]) -> None:
        self._write = write
        self._answers: list[Callable[[BaseException | None], None]] = []

    def write(self, *records: CoordinatorRecord) -> None:
        """Append these records together, and replay them. Raises KafkaError where that cannot be."""
        if records:
            self._write(list(records))

    def answer(self, waiting: "Later[T]", response: T) -> None:
        """Settle a parked request as soon as what was written is durable."""
        self._answers.append(lambda error: waiting.settle(response) if error is None else waiting.fail(error))

    def refuse(self, waiting: "Later[T]", refusal: KafkaError) -> None:
        """Answer a parked request with an error, likewise."""
        self._answers.append(lambda failure: waiting.fail(failure or refusal))

    def finish(self, error: BaseException | None = None) -> None:
        """Send the answers; or tell everyone that what they were to be told did not become durable."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer(error)


class CoordinatorRuntime(Generic[S]):
    """The shards of one coordinator's topic that brokers of this cluster lead."""

    def __init__(self, cluster: "Cluster", topic_name: str, record_format: RecordFormat, new_state: Callable[[Shard[S]], S]) -> None:
        self._cluster = cluster
        self._topic_name = topic_name
        self._format = record_format
        self._new_state = new_state
        self.shards: dict[int, Shard[S]] = {}

    # -- loading -------------------------------------------------------------------------------------------------

    def load(self, partition: "Partition") -> None:
        """A broker of ours leads this partition now: read its records; a short log at once, a long one in slices."""
        self.unload(partition.index)
        shard: Shard[S] = Shard(partition)
        self.shards[partition.index] = shard
        self._start_loading(shard)

    def unload(self, index: int) -> None:
        """No broker of ours leads this partition any more."""
        shard = self.shards.pop(index, None)
        if shard is not None:
            self._give_up(shard)

    def log_went_offline(self, gone: "UnifiedLog") -> None:
        """A disk error, whoever met it: the shard in this log is unloaded until the log is back."""
        for shard in list(self.shards.values()):
            if shard.state is not None and shard.partition.log is gone:
                self._failed(shard, KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(gone.offline)))

    def _start_loading(self, shard: Shard[S]) -> None:
        shard.reload = None
        shard.loading = self._loading(shard)
        self._load_on(shard, shard.loading)

    def _load_on(self, shard: Shard[S], loading: Iterator[None]) -> None:
        if shard.loading is not loading:
            return
        try:
            next(loading)
        except StopIteration:
            shard.loading = None
        except (KafkaError, OSError) as error:
            log.warning("%s-%d cannot be loaded: %s", self._topic_name, shard.index, error)
            self._give_up(shard)
            self._reload_later(shard)
        else:
            self._cluster.clock.call_later(0, partial(self._load_on, shard, loading))

    def _loading(self, shard: Shard[S]) -> Iterator[None]:
        if shard.partition.log.offline is not None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"Its log is offline: {shard.partition.log.offline}")
        state = None
        while state is None:
            state = yield from self._replayed(shard)
        shard.state = state
        self.run(shard, state.loaded)

    def _replayed(self, shard: Shard[S]) -> Generator[None, None, S | None]:
        """What its records make; None where the log was compacted meanwhile: its batches are not where they were, and some would be missed."""
        state = self._new_state(shard)
        partition_log = shard.partition.log
        segments = list(partition_log.segments)
        for count, record in enumerate(_records(segments), 1):
            try:
                decoded = self._format.decode(record)
            except Malformed as error:
                log.warning("%s-%d has a damaged record at offset %d: %s", self._topic_name, shard.index, record.offset, error)
                decoded = None
            if decoded is not None:
                state.replay(decoded)
            if count >= RECORDS_LOADED_AT_ONCE and count % RECORDS_PER_LOADING_SLICE == 0:
                yield
                if partition_log.segments != segments:
                    return None
        return state

    def _reload_later(self, shard: Shard[S]) -> None:
        if self.shards.get(shard.index) is shard and shard.reload is None:
            shard.reload = self._cluster.clock.call_later(RELOAD_INTERVAL_MS, partial(self._start_loading, shard))

    def _give_up(self, shard: Shard[S]) -> None:
        shard.loading = None
        shard.undurable = None
        state, shard.state = shard.state, None
        if shard.reload is not None:
            shard.reload.cancel()
            shard.reload = None
        if state is not None:
            state.unloaded()

    # -- running -------------------------------------------------------------------------------------------------

    def active(self, index: int, broker_id: int) -> Shard[S]:
        """The shard, when the asked broker leads it and it is loaded. Raises NOT_COORDINATOR or COORDINATOR_LOAD_IN_PROGRESS."""
        shard = self.shards.get(index)
        if shard is None or shard.partition.leader_id != broker_id:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        if shard.state is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR if shard.loading is None else ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return shard

    def run(self, shard: Shard[S], work: Callable[[Operation], "T | Later[T]"]) -> "T | Later[T]":
        """Do `work`; its answer, and those of the requests it answers besides, wait until all that was appended is durable."""
        operation = Operation(partial(self._append, shard))
        try:
            response = work(operation)
        except WriteFailedError as error:
            operation.finish(error)
            raise
        except BaseException:
            self._finish_when_durable(shard, operation)
            raise
        undurable = shard.undurable
        if undurable is None:
            operation.finish()
            return response
        self._finish_when_durable(shard, operation)
        if isinstance(response, Later):
            return response
        held: Later[T] = Later()
        undurable.then(lambda _none: held.settle(response), lambda _error: held.fail(WriteFailedError()))
        return held

    def run_timer(self, shard: Shard[S], work: Callable[[Operation], None]) -> None:
        """Do what a timer of the shard's state asks for; nobody waits for its outcome, so a fault of ours is kept for who asks."""
        if shard.state is None:
            return
        try:
            self.run(shard, work)
        except KafkaError as error:
            log.warning("a timer of %s-%d came to nothing: %s", self._topic_name, shard.index, error)
        except Exception as error:  # noqa: BLE001 - law 3: one bad timer hurts nobody else
            self._cluster.report(error, f"a timer of {self._topic_name}-{shard.index} failed")

    def _finish_when_durable(self, shard: Shard[S], operation: Operation) -> None:
        if shard.undurable is None:
            operation.finish()
        else:
            shard.undurable.then(lambda _none: operation.finish(), lambda _error: operation.finish(WriteFailedError()))

    def _append(self, shard: Shard[S], records: list[CoordinatorRecord]) -> None:
        if shard.state is None:
            raise WriteFailedError
        for batch, part in self._batches(records):
            try:
                durable = shard.partition.append_as_coordinator(build_batch(batch))
            except (KafkaError, OSError) as error:
                self._failed(shard, error)
                raise WriteFailedError from error
            if isinstance(durable, Later) and not durable.settled:
                self._wait_for(shard, durable)
            for record in part:
                shard.state.replay(record)

    def _batches(self, records: list[CoordinatorRecord]) -> Iterator[tuple[list[NewRecord], list[CoordinatorRecord]]]:
        """Records in as few batches as the topic's max.message.bytes allows, each with what it is made of."""
        now_ms = self._cluster.clock.now_ms
        limit = self._cluster.config.topic(self._topic_name).max_message_bytes
        encoded = [self._format.encode(record, now_ms) for record in records]
        sizes = [len(one.key or b"") + len(one.value or b"") + _BATCH_OVERHEAD for one in encoded]
        if sum(sizes) <= limit:
            yield encoded, records
            return
        if max(sizes) > limit:
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"A record of {max(sizes)} bytes is larger than max.message.bytes={limit}.")
        start = 0
        total = 0
        for position, size in enumerate(sizes):
            if total + size > limit:
                yield encoded[start:position], records[start:position]
                start, total = position, 0
            total += size
        yield encoded[start:], records[start:]

    def _wait_for(self, shard: Shard[S], durable: Later[None]) -> None:
        flushed: Later[None] = Later()
        shard.undurable = flushed

        def settled(_none: None) -> None:
            if shard.undurable is flushed:
                shard.undurable = None
            flushed.settle(None)

        def failed(error: BaseException) -> None:
            self._failed(shard, error)
            flushed.fail(error)

        durable.then(settled, failed)

    def _failed(self, shard: Shard[S], error: BaseException) -> None:
        if shard.reload is not None:
            return  # it is known
        log.warning("%s-%d cannot be written, its groups are unloaded: %s", self._topic_name, shard.index, error)
        self._give_up(shard)
        self._reload_later(shard)


def _records(segments: "list[LogSegment]") -> Iterator[Record]:
    for segment in segments:
        for _position, batch in segment.batches_from(0):
            if not batch.is_control:
                yield from batch.records()


class WriteFailedError(KafkaError):
    """What was decided could not be made durable; whoever asks again finds the state that is on the disk."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.NOT_COORDINATOR)
