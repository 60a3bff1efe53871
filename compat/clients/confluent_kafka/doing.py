"""What several scenarios of confluent-kafka do: its clients, topics, and members of a group."""

import contextlib
import functools
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from scenario import DEADLINE_S, PARTITIONS, RECORDS, Deadline, Run, check


@functools.cache
def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def admin(this: Run) -> AdminClient:
    """One for the whole run: its futures end with it."""
    return admin_of(this.bootstrap)


def consumer(bootstrap: str, group: str, settings: dict[str, object] | None = None) -> Consumer:
    session = {} if settings and "group.protocol" in settings else {"session.timeout.ms": 6000}
    own = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    return Consumer({**own, **session, **(settings or {})})


def create(this: Run, name: str, partitions: int, **config: str) -> str:
    """A topic, made and known; its name."""
    topic = this.topic(name)
    admin(this).create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(DEADLINE_S)
    wait_until_listed(this, topic)
    return topic


def wait_until_listed(this: Run, topic: str) -> None:
    deadline = Deadline("the topic's leaders")
    while deadline.open():
        found = admin(this).list_topics(topic, DEADLINE_S).topics[topic]
        if found.error is None and found.partitions and all(one.leader >= 0 for one in found.partitions.values()):
            return
        time.sleep(0.1)


def drop(this: Run, *topics: str) -> None:
    """Topics are deleted, and no longer listed."""
    for future in admin(this).delete_topics(list(topics)).values():
        future.result(DEADLINE_S)
    deadline = Deadline("the topics' end")
    while set(topics) & set(admin(this).list_topics(timeout=DEADLINE_S).topics) and deadline.open():
        time.sleep(0.1)


def delivered_to(failures: list[object], offsets: dict[int, int] | None = None, number: int = -1):
    """A callback that keeps what became of a record."""

    def delivered(error: KafkaError | None, message: object) -> None:
        if error is not None:
            failures.append(error)
        elif offsets is not None:
            offsets[number] = message.offset()

    return delivered


def take_until(read: Consumer, wanted: int, what: str) -> list:
    """At least as many messages as are wanted."""
    found = []
    deadline = Deadline(what)
    while len(found) < wanted and deadline.open():
        messages = read.consume(1000, 0.5)
        for message in messages:
            check(message.error() is None, str(message.error()))
        found += messages
    return found


class Member:
    """One member of a group: what it has, what it lost, and how often it was told."""

    def __init__(self, this: Run, topic: str, group: str, settings: dict[str, object] | None = None) -> None:
        self.partitions: set[int] = set()
        self.lost: list[int] = []
        self.times_told = 0
        self.positions: set[tuple[int, int]] = set()
        self.consumer = consumer(this.bootstrap, group, settings)
        self._changes_alone = bool(settings) and ("group.protocol" in settings or "cooperative" in str(settings))
        self.consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)

    def _assigned(self, read: Consumer, partitions: list[TopicPartition]) -> None:
        self.times_told += 1
        self.partitions |= {one.partition for one in partitions}
        if self._changes_alone:
            read.incremental_assign(partitions)
        else:
            read.assign(partitions)

    def _revoked(self, read: Consumer, partitions: list[TopicPartition]) -> None:
        self.times_told += 1
        self.lost += [one.partition for one in partitions]
        self.partitions -= {one.partition for one in partitions}
        if self._changes_alone:
            read.incremental_unassign(partitions)
        else:
            read.unassign()

    def take(self) -> None:
        for message in self.consumer.consume(500, 0.2):
            check(message.error() is None, str(message.error()))
            self.positions.add((message.partition(), message.offset()))

    def commit(self) -> None:
        with contextlib.suppress(KafkaException):  # a rebalance has begun, or there is nothing new
            self.consumer.commit(asynchronous=False)


def share_out(this: Run, topic: str, group: str, settings: dict[str, object]) -> tuple[Member, Member]:
    """A first member that has all partitions, then a second one: both have half of them, and saw all records."""
    first = Member(this, topic, group, settings)
    deadline = Deadline("the first member's records")
    while len(first.positions) < 1000 and deadline.open():
        first.take()
    check(len(first.partitions) == PARTITIONS, "the first member alone does not have all partitions")
    first.commit()
    second = Member(this, topic, group, settings)
    deadline = Deadline("both members' records")
    while deadline.open():
        first.take()
        second.take()
        first.commit()
        if len(first.partitions) == len(second.partitions) == PARTITIONS // 2 and len(first.positions | second.positions) == RECORDS:
            break
    return first, second


def finish(this: Run, topic: str, group: str, members: tuple[Member, Member]) -> None:
    """Both commit and leave; what is committed is everything."""
    for member in members:
        member.commit()
        member.consumer.close()
    committed = consumer(this.bootstrap, group).committed([TopicPartition(topic, number) for number in range(PARTITIONS)], DEADLINE_S)
    check(sum(one.offset for one in committed) == RECORDS, f"{committed} was committed")
