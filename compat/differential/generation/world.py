"""What a sequence believes to be there while it is made: topics, members, producers. Belief may be wrong, and often is on purpose."""

import random
from dataclasses import dataclass, field, replace

from compat.differential.generation.wrongness import spoil
from compat.differential.steps import Answered, Sequence, Step, fit
from pykbroker.apis import served
from pykbroker.protocol.messages import Message, MetadataRequest

CONNECTIONS = 4
SPOILED = 0.14
DAMAGED = 0.012
UNKNOWN_ID = bytes(range(16))
UNKNOWN_TOPIC = "~missing"


@dataclass(slots=True)
class Member:
    """A member of a classic group, as far as it is known where its ids will be read."""

    group: str
    connection: int
    instance_id: str | None
    protocol_type: str
    member_id: Answered | str = ""
    generation: Answered | int = -1


@dataclass(slots=True)
class Producer:
    """An idempotent producer, and the next sequence number for each partition."""

    producer_id: Answered
    epoch: Answered
    next_sequence: dict[tuple[str, int], int] = field(default_factory=dict)


class World:
    """A sequence in the making."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.sequence = Sequence(seed)
        self.partitions: dict[str, int] = {}
        self.topic_ids: dict[str, Answered] = {}
        self.members: list[Member] = []
        self.producers: list[Producer] = []
        self.sessions: list[tuple[Answered, int, int]] = []
        """(session id, next epoch, connection) of fetch sessions."""

    # Steps.

    def ask(self, request: Message, version: int | None = None, *, connection: int = 0, spoilable: bool = True) -> int:
        """One more step; its number. Now and then something in it is wrong."""
        if version is None:
            version = self.version_of(type(request))
        fit(request, version)
        if spoilable and self.chance.random() < SPOILED:
            spoil(self.chance, request, version)
        number = len(self.sequence.steps) + 1
        self.sequence.steps.append(Step(number, connection, version, request, self._damage(request) if spoilable else None))
        return number

    def version_of(self, request: type[Message]) -> int:
        """A version that we serve."""
        module = served(request.API_KEY)
        assert module is not None
        return self.chance.choice(module.VERSIONS)

    def learn_topic_id(self, topic: str) -> None:
        """Ask for a topic's id, so that later steps can name it."""
        request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False)
        number = self.ask(request, self.chance.choice([10, 11, 12, 13]), spoilable=False)
        self.topic_ids[topic] = Answered(number, ("topics", 0, "topic_id"), UNKNOWN_ID)

    def _damage(self, request: Message) -> tuple[str, int] | None:
        if self.chance.random() >= DAMAGED:
            return None
        kind = self.chance.choice(["cut", "append", "version"])
        if kind == "version":
            return kind, self.chance.choice([-1, request.VERSIONS.stop, 99])
        return kind, self.chance.randrange(1, 9)

    # Choices.

    def rarely(self, probability: float) -> bool:
        """True with that probability."""
        return self.chance.random() < probability

    def topic(self, missing: float = 0.06) -> str:
        """A topic that is believed to be there, or one that never was."""
        return UNKNOWN_TOPIC if not self.partitions or self.rarely(missing) else self.chance.choice(list(self.partitions))

    def some_topics(self) -> list[str]:
        """One or two, perhaps twice the same."""
        return [self.topic() for _ in range(self.chance.choice([1, 1, 1, 2]))]

    def topic_id(self, topic: str) -> Answered | bytes:
        """The id of a topic, as far as it is known; sometimes none."""
        return bytes(16) if self.rarely(0.03) else self.topic_ids.get(topic, UNKNOWN_ID)

    def fetched_topic_id(self, topic: str) -> Answered | bytes:
        """The same, but never zeros, as Metadata tells of what is not there: that Kafka fails over in a Fetch is explained, and parts the two sessions."""
        known = self.topic_ids.get(topic)
        return UNKNOWN_ID if known is None else replace(known, never=bytes(16))

    def partition(self, topic: str, missing: float = 0.06) -> int:
        """A partition of it, or one beyond."""
        count = self.partitions.get(topic, 1)
        return self.chance.choice([-1, count, 99]) if self.rarely(missing) else self.chance.randrange(count)

    def some_partitions(self, topic: str) -> list[int]:
        """One or more, perhaps twice the same."""
        return [self.partition(topic) for _ in range(self.chance.choice([1, 1, 2, 3]))]

    def offset(self) -> int:
        """Small numbers, most of them within the logs."""
        return self.chance.choice([0, 0, 0, 1, 2, 3, 5, 8, 20, -1, 1 << 40])

    def leader_epoch(self) -> int:
        """Mostly not checked, sometimes right, sometimes not."""
        return self.chance.choice([-1, -1, -1, -1, 0, 0, 1, 5, -2])
