"""A sequence, run on both brokers step by step: what was answered, what was left waiting, and the first place where they part.

A request is sent to both before either answer is read. JoinGroup and SyncGroup may wait: where neither broker answers soon, the request is left waiting on both,
and after each further step it is looked whether one has answered; the other must then do so too. What Kafka does behind its answer (leaders take office,
configs reach the logs) is awaited before the next step.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from compat.differential.masking import Mask, differing, error_codes
from compat.differential.side import CLOSED, CONTROL, SILENT, Side
from compat.differential.steps import Sequence, Step
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import API_VERSIONS, read_response
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    DeleteTopicsRequest,
    ListOffsetsRequest,
    ListOffsetsResponse,
    Message,
    MetadataRequest,
    MetadataResponse,
    ProduceRequest,
)
from pykbroker.protocol.wire import Malformed

WAITING = "it waits"
_MAY_WAIT = {"JoinGroup", "SyncGroup"}
_MAKE_TOPICS = {"CreateTopics", "DeleteTopics", "CreatePartitions", "Metadata"}
_CHANGE_CONFIGS = {"AlterConfigs", "IncrementalAlterConfigs"}
_PROBE_NUMBER = 1 << 20
_ANSWER_TIMEOUT_S, _CONTROL_TIMEOUT_S = 4.0, 30.0
_OUR_TOPICS_S = 0.5
"""Some are never made: their names are too much like another's."""

_METADATA_VERSION, _LIST_OFFSETS_VERSION, _DELETE_TOPICS_VERSION = 9, 5, 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one broker made of a request: an answer, or a word for none."""

    word: str
    frame: bytes | None = None
    answer: Message | None = None
    masked: object = None

    @property
    def comparable(self) -> object:
        """What has to be the same on both brokers."""
        return self.word if self.answer is None else self.masked


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two brokers part."""

    step: Step
    places: list[tuple[str, object, object]]
    outcomes: tuple[Outcome, Outcome]
    requests: tuple[Message, Message]
    seen_at: int = 0
    """The number of the step upon which it was seen: a later one, where the answer came late."""


@dataclass(slots=True)
class Pace:
    """How patiently Kafka is waited for; slower where a difference may have been haste."""

    pending_s: float = 0.06
    after_change_s: float = 0.004
    late_s: float = 0.012


SLOWLY = Pace(0.4, 0.15, 0.15)
Explains = Callable[[Step, Message, str, object, object], bool]


@dataclass(slots=True)
class Trial:
    """Two brokers. `kafka` is the judge; `explains` says which difference is on purpose; `exercised` counts (api, version, error code)."""

    kafka: Side
    ours: Side
    explains: Explains
    watch: Callable[[Step, "Outcome", "Outcome"], None] | None = None
    """Told of every step that both have answered, or left."""
    exercised: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    requests: int = 0

    def run(self, sequence: Sequence, prefix: str, pace: Pace) -> Difference | None:
        """The first difference that nothing explains."""
        run = _Run(self, prefix, pace)
        try:
            for step in sequence.steps:
                difference = run.step(step) or run.late()
                if difference is not None:
                    return replace(difference, seen_at=step.number)
            return None
        finally:
            run.clear_away()
            self.kafka.forget()
            self.ours.forget()

    @property
    def sides(self) -> tuple[Side, Side]:
        """Kafka first."""
        return self.kafka, self.ours


@dataclass(slots=True)
class _Run:
    trial: Trial
    prefix: str
    pace: Pace
    waiting: dict[int, tuple[Step, tuple[Message, Message]]] = field(default_factory=dict)
    masks: dict[str, Mask] = field(default_factory=dict)

    def step(self, step: Step) -> Difference | None:
        """Do one step on both; one whose connection still waits is passed over."""
        if step.connection in self.waiting:
            return None
        self.trial.requests += 1
        sides = self.trial.sides
        made = [step.frame(self.prefix, side.answers) for side in sides]
        requests = (made[0][1], made[1][1])
        for side, (frame, _) in zip(sides, made, strict=True):
            side.send(step.connection, frame)
        if step.damage is None and isinstance(step.request, ProduceRequest) and step.request.acks == 0:
            return self._compared(step, requests, self._after_silence(step))
        frames = self._received(step.connection, self.pace.pending_s if step.api in _MAY_WAIT else _ANSWER_TIMEOUT_S)
        if frames == (None, None):
            self.waiting[step.connection] = (step, requests)
            return None
        difference = self._compared(step, requests, frames)
        if difference is None:
            self._settle(step)
        return difference

    def late(self) -> Difference | None:
        """What came in the meantime on connections that wait."""
        for connection in list(self.waiting):
            frames = self._received(connection, self.pace.late_s)
            if frames != (None, None):
                step, requests = self.waiting.pop(connection)
                difference = self._compared(step, requests, frames)
                if difference is not None:
                    return difference
        return None

    def _received(self, connection: int, wait_s: float) -> tuple[bytes | str | None, bytes | str | None]:
        """What both sent: where one did, the other has some seconds for it."""
        ours = self.trial.ours.receive(connection, wait_s)
        kafkas = self.trial.kafka.receive(connection, wait_s if ours is None else 3.0)
        if ours is None and kafkas is not None:
            ours = self.trial.ours.receive(connection, 1.0)
        return kafkas, ours

    def _after_silence(self, step: Step) -> tuple[bytes | str | None, bytes | str | None]:
        """Nothing answers acks=0; whether the connection stands is told by a question behind it."""
        probe = Step(_PROBE_NUMBER, step.connection, 0, ApiVersionsRequest())
        for side in self.trial.sides:
            side.send(step.connection, probe.frame("", {})[0])
        frames = self._received(step.connection, _ANSWER_TIMEOUT_S)
        kafkas, ours = (one if one is None or one == CLOSED else SILENT for one in frames)
        return kafkas, ours

    def _compared(
        self, step: Step, requests: tuple[Message, Message], frames: tuple[bytes | str | None, bytes | str | None]
    ) -> Difference | None:
        outcomes = tuple(self._outcome(step, *each) for each in zip(self.trial.sides, requests, frames, strict=True))
        kafkas, ours = outcomes
        if self.trial.watch is not None:
            self.trial.watch(step, kafkas, ours)
        codes = error_codes(kafkas.masked) if kafkas.answer is not None else {kafkas.word}
        for code in codes or {"none"}:
            self.trial.exercised[step.api, step.version, str(code)] += 1
        places = [place for place in differing(kafkas.comparable, ours.comparable) if not self.trial.explains(step, requests[0], *place)]
        return Difference(step, places, (kafkas, ours), requests) if places else None

    def _outcome(self, step: Step, side: Side, request: Message, frame: bytes | str | None) -> Outcome:
        if frame is None:
            return Outcome(WAITING)
        if isinstance(frame, str):
            return Outcome(frame)
        version = step.version
        if request.API_KEY == API_VERSIONS and int.from_bytes(frame[4:6], "big") == ErrorCode.UNSUPPORTED_VERSION:
            version = 0
        try:
            number, answer = read_response(API_BY_KEY[request.API_KEY].response, version, frame)
        except Malformed as error:
            return Outcome(f"an answer that cannot be read ({error})", frame)
        if number != step.number:
            return Outcome(f"the correlation id {number}", frame)
        side.answers[step.number] = answer
        mask = self.masks.setdefault(side.name, Mask(self.prefix))
        return Outcome("answered", frame, answer, mask.masked(request, version, answer))

    def _settle(self, step: Step) -> None:
        """Wait until what Kafka has answered is also true on the broker that the next request asks."""
        makes_topics = step.api in _MAKE_TOPICS and (step.api != "Metadata" or getattr(step.request, "allow_auto_topic_creation", False))
        if not self.trial.kafka.is_live:
            if makes_topics:
                self._await_our_topics(step)
            return
        if not makes_topics and step.api not in _CHANGE_CONFIGS:
            return
        time.sleep(self.pace.after_change_s)
        if not makes_topics:
            time.sleep(self.pace.after_change_s)
            return
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            seen = [self._topics(side) for side in self.trial.sides]
            if seen[0] == seen[1] and self._leaders_in_office(seen[0]):
                return
            time.sleep(0.003)

    def _await_our_topics(self, step: Step) -> None:
        """What was recorded had time; and we too make topics behind the answer to Metadata."""
        answer = self.trial.ours.answers.get(step.number)
        if isinstance(answer, MetadataResponse):
            missing = [one.name or "" for one in answer.topics if one.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
            made = {name for name in missing if name.startswith(self.prefix)}
            ends = time.monotonic() + _OUR_TOPICS_S
            while made - self._topics(self.trial.ours).keys() and time.monotonic() < ends:
                time.sleep(0.003)

    def clear_away(self) -> None:
        """Delete what the sequence made, so that the next one's lists are short."""
        for side in filter(lambda one: one.is_live, self.trial.sides):
            names = list(self._topics(side))
            if names:
                self._ask(side, DeleteTopicsRequest(topic_names=names, timeout_ms=30_000), _DELETE_TOPICS_VERSION)

    def _topics(self, side: Side) -> dict[str, int]:
        answer = self._ask(side, MetadataRequest(topics=None), _METADATA_VERSION)
        assert isinstance(answer, MetadataResponse)
        return {str(topic.name): len(topic.partitions) for topic in answer.topics if (topic.name or "").startswith(self.prefix)}

    def _leaders_in_office(self, topics: dict[str, int]) -> bool:
        wanted = [
            ListOffsetsRequest.ListOffsetsTopic(
                name=name,
                partitions=[ListOffsetsRequest.ListOffsetsPartition(partition_index=one, timestamp=-1) for one in range(min(count, 50))],
            )
            for name, count in topics.items()
        ]
        answer = self._ask(self.trial.kafka, ListOffsetsRequest(replica_id=-1, topics=wanted), _LIST_OFFSETS_VERSION)
        assert isinstance(answer, ListOffsetsResponse)
        return not any(one.error_code for topic in answer.topics for one in topic.partitions)

    def _ask(self, side: Side, request: Message, version: int) -> Message:
        """A question of our own, on a connection of its own."""
        side.send(CONTROL, Step(_PROBE_NUMBER, CONTROL, version, request).frame("", {})[0])
        frame = side.receive(CONTROL, _CONTROL_TIMEOUT_S)
        assert isinstance(frame, bytes), f"{side.name} does not answer: {frame}"
        return read_response(API_BY_KEY[request.API_KEY].response, version, frame)[1]
