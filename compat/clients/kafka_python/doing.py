"""What several scenarios of kafka-python do: its clients, topics, and members of a group."""

import threading
import time

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from scenario import PARTITIONS, RECORDS, Deadline, Run, check


def consumer(bootstrap: str, group: str | None, *topics: str, **settings: object) -> KafkaConsumer:
    own = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000, "heartbeat_interval_ms": 500}
    return KafkaConsumer(*topics, bootstrap_servers=bootstrap, group_id=group, **{**own, **settings})


def admin(this: Run) -> KafkaAdminClient:
    return KafkaAdminClient(bootstrap_servers=this.bootstrap)


def first_of(client: KafkaAdminClient, *names: str):
    """The method, by whichever name this release has for it."""
    return next(getattr(client, name) for name in names if hasattr(client, name))


def producer(bootstrap: str, **settings: object) -> KafkaProducer:
    return KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, **settings)


def create(this: Run, name: str, partitions: int, **config: str) -> str:
    """A topic, made and known; its name."""
    topic = this.topic(name)
    client = admin(this)
    try:
        client.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)])
        deadline = Deadline("the topic's partitions")
        while len(client.describe_topics([topic])[0]["partitions"]) != partitions and deadline.open():
            time.sleep(0.1)
    finally:
        client.close()
    return topic


def drop(this: Run, *topics: str) -> None:
    """Topics are deleted, and no longer listed."""
    client = admin(this)
    client.delete_topics(list(topics))
    deadline = Deadline("the topics' end")
    while set(topics) & set(client.list_topics()) and deadline.open():
        time.sleep(0.1)
    client.close()


def assigned_to(read: KafkaConsumer, topic: str, partitions: int = 1) -> KafkaConsumer:
    """The consumer, at the beginning of these partitions."""
    read.assign([TopicPartition(topic, number) for number in range(partitions)])
    return read


def take_until(read: KafkaConsumer, wanted: int, what: str) -> list:
    """At least as many messages as are wanted."""
    found = []
    deadline = Deadline(what)
    while len(found) < wanted and deadline.open():
        for messages in read.poll(500).values():
            found += messages
    return found


class Watch(ConsumerRebalanceListener):
    """What one member has, what it lost, and how often it was told."""

    def __init__(self) -> None:
        self.partitions: set[int] = set()
        self.lost: list[int] = []
        self.times_told = 0

    def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        self.times_told += bool(revoked)
        self.lost += [one.partition for one in revoked]
        self.partitions -= {one.partition for one in revoked}

    def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self.times_told += bool(assigned)
        self.partitions |= {one.partition for one in assigned}


class Member(threading.Thread):
    """One member of a group, on a thread of its own, as its poll blocks while the group rebalances."""

    def __init__(self, bootstrap: str, topic: str, group: str, **settings: object) -> None:
        super().__init__(daemon=True)
        self.watch = Watch()
        self.error: Exception | None = None
        self.positions: set[tuple[int, int]] = set()
        self._stopping = threading.Event()
        self._consumer = consumer(bootstrap, group, **settings)
        self._consumer.subscribe([topic], listener=self.watch)
        self.start()

    @property
    def partitions(self) -> set[int]:
        return set(self.watch.partitions)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                got = self._consumer.poll(200, max_records=500)
                for partition, messages in got.items():
                    self.positions.update((partition.partition, message.offset) for message in messages)
                if got:
                    self._commit()
            self._consumer.close()
        except Exception as error:
            self.error = error

    def _commit(self) -> None:
        try:
            self._consumer.commit()
        except Exception as error:
            if type(error).__name__ not in {"CommitFailedError", "RebalanceInProgressError"}:
                raise  # with these two the next poll rejoins, and what was not committed comes again

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        if self.error:
            raise self.error


def wait_for(members: list[Member], what: str, is_so) -> None:
    """Until it is so, while no member fails."""
    deadline = Deadline(what)
    while not is_so() and deadline.open():
        for member in members:
            if member.error:
                raise member.error
        time.sleep(0.01)


def share_out(this: Run, topic: str, group: str, **settings: object) -> Member:
    """A first member that has all partitions, then a second one: both get half of them, all records are seen and committed; the first."""
    first = Member(this.bootstrap, topic, group, **settings)
    members = [first]
    try:
        wait_for(members, "the first member's records", lambda: len(first.positions) >= 1000)
        check(len(first.partitions) == PARTITIONS, "the first member alone does not have all partitions")
        second = Member(this.bootstrap, topic, group, **settings)
        members.append(second)
        wait_for(members, "half of the partitions each", lambda: [len(one.partitions) for one in members] == [2, 2])
        wait_for(members, "all records", lambda: len(first.positions | second.positions) == RECORDS)
        lost = list(first.watch.lost)
    finally:
        for member in members:
            member.stop()
    first.watch.lost = lost
    check_committed(this, topic, group)
    return first


def check_committed(this: Run, topic: str, group: str) -> None:
    """Everything was."""
    read = consumer(this.bootstrap, group)
    committed = [read.committed(TopicPartition(topic, number)) for number in range(PARTITIONS)]
    read.close()
    check(sum(offset or 0 for offset in committed) == RECORDS, f"{committed} was committed")
