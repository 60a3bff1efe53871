"""kafka-python as a user would use it; the same script for 3.x and 2.2.x, whose admin clients differ in names."""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata
from scenario import (
    COMPRESSIONS,
    DEADLINE_S,
    KILLED_AFTER,
    PARTITIONS,
    RECORDS,
    Deadline,
    Run,
    check,
    check_all_there,
    key,
    kill_when_ready,
    run,
    scenario,
    value,
)


def consumer(bootstrap: str, group: str | None, *topics: str, **settings: object) -> KafkaConsumer:
    return KafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        **settings,
    )


def admin(this: Run) -> KafkaAdminClient:
    return KafkaAdminClient(bootstrap_servers=this.bootstrap)


def first_of(client: KafkaAdminClient, *names: str):
    """The method, by whichever name this release has for it."""
    return next(getattr(client, name) for name in names if hasattr(client, name))


@scenario("create topic")
def create_topic(this: Run) -> None:
    client = admin(this)
    topics = [this.topic(name) for name in COMPRESSIONS]
    client.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    for described in client.describe_topics(topics):
        check(len(described["partitions"]) == PARTITIONS, f"{described} has not its partitions")
    client.close()


def produce(this: Run, compression: str) -> None:
    producer = KafkaProducer(
        bootstrap_servers=this.bootstrap,
        compression_type=None if compression == "none" else compression,
        enable_idempotence=True,
        acks="all",
        linger_ms=5,
    )
    topic = this.topic(compression)
    sent = [
        producer.send(topic, value(number), key(number), headers=[("number", str(number).encode()), ("empty", b"")])
        for number in range(RECORDS)
    ]
    producer.flush(DEADLINE_S)
    for future in sent:
        future.get(DEADLINE_S)
    producer.close()
    read = consumer(this.bootstrap, None, topic)
    values: list[bytes] = []
    last: dict[bytes, int] = {}
    deadline = Deadline("reading back")
    while len(values) < RECORDS and deadline.open():
        for messages in read.poll(1000).values():
            for message in messages:
                number = int(dict(message.headers)["number"])
                check(message.value == value(number) and message.key == key(number), f"record {number} is not what was sent")
                check(last.get(message.key, -1) < number, f"record {number} is out of order")
                last[message.key] = number
                values.append(message.value)
    read.close()
    check_all_there(values)


for _compression in COMPRESSIONS:
    scenario(f"produce {_compression}")(lambda this, compression=_compression: produce(this, compression))


class Watch(ConsumerRebalanceListener):
    """What one member has been given."""

    def __init__(self) -> None:
        self.partitions: list[int] = []

    def on_partitions_revoked(self, revoked: object) -> None:
        self.partitions = []

    def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self.partitions = [partition.partition for partition in assigned]


class Member(threading.Thread):
    """One member of the group, on a thread of its own, as its poll blocks while the group rebalances."""

    def __init__(self, this: Run, topic: str, group: str, positions: set[tuple[int, int]]) -> None:
        super().__init__()
        self.watch = Watch()
        self.error: Exception | None = None
        self.stopping = threading.Event()
        self._positions = positions
        self._consumer = consumer(this.bootstrap, group)
        self._consumer.subscribe([topic], listener=self.watch)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                got = self._consumer.poll(200, max_records=500)
                for partition, messages in got.items():
                    self._positions.update((partition.partition, message.offset) for message in messages)
                if got:
                    self._consumer.commit()
            self._consumer.close()
        except Exception as error:
            self.error = error


@scenario("consume in a group of two with a rebalance")
def group_of_two(this: Run) -> None:
    topic, group = this.topic("gzip"), this.topic("two")
    positions: set[tuple[int, int]] = set()
    members = [Member(this, topic, group, positions), Member(this, topic, group, positions)]
    members[0].start()
    deadline = Deadline("the first member's records")
    while len(positions) < 1000 and deadline.open():
        time.sleep(0.01)
    members[1].start()
    deadline = Deadline("both members' records")
    while (len(positions) < RECORDS or [len(member.watch.partitions) for member in members] != [2, 2]) and deadline.open():
        check(not any(member.error for member in members), f"{[member.error for member in members]}")
        time.sleep(0.01)
    for member in members:
        member.stopping.set()
    for member in members:
        member.join()
    read = consumer(this.bootstrap, group)
    committed = [read.committed(TopicPartition(topic, number)) for number in range(PARTITIONS)]
    read.close()
    check(sum(offset or 0 for offset in committed) == RECORDS, f"{committed} was committed")


def consume_until_killed(bootstrap: str, topic: str, group: str, ready: object) -> None:
    read = consumer(bootstrap, group, topic)
    count = 0
    while count < KILLED_AFTER:
        got = read.poll(1000, max_records=min(500, KILLED_AFTER - count))
        count += sum(len(messages) for messages in got.values())
    read.commit()
    ready.set()
    while True:
        read.poll(1000, max_records=1)


@scenario("commit, be killed, resume")
def killed(this: Run) -> None:
    topic, group = this.topic("lz4"), this.topic("killed")
    kill_when_ready(consume_until_killed, this.bootstrap, topic, group)
    read = consumer(this.bootstrap, group, topic)
    count = 0
    deadline = Deadline("the rest")
    while count < RECORDS - KILLED_AFTER and deadline.open():
        count += sum(len(messages) for messages in read.poll(500).values())
    check(count == RECORDS - KILLED_AFTER, f"{count} records came after the resume")
    read.commit()
    read.close()


@scenario("list and describe groups")
def groups(this: Run) -> None:
    client = admin(this)
    group = this.topic("two")
    listed = first_of(client, "list_groups", "list_consumer_groups")()
    check(group in str(listed), f"the group is not in {listed}")
    described = first_of(client, "describe_groups", "describe_consumer_groups")([group])
    check("Empty" in str(described), f"the group is {described}")
    client.close()


@scenario("reset offsets")
def reset(this: Run) -> None:
    topic, group = this.topic("gzip"), this.topic("two")
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    read = consumer(this.bootstrap, group)
    read.assign(partitions)
    read.commit({partition: OffsetAndMetadata(7, "reset", -1) for partition in partitions})
    found = [read.committed(partition) for partition in partitions]
    read.close()
    check(found == [7] * PARTITIONS, f"{found} after the reset")


@scenario("offsets by time")
def by_time(this: Run) -> None:
    read = consumer(this.bootstrap, None)
    partitions = [TopicPartition(this.topic("none"), number) for number in range(PARTITIONS)]
    read.assign(partitions)
    beginning = read.offsets_for_times(dict.fromkeys(partitions, 0))
    check(all(one.offset == 0 for one in beginning.values()), "time 0 is not the beginning")
    future = read.offsets_for_times(dict.fromkeys(partitions, int(time.time() * 1000) + 3_600_000))
    check(all(one is None for one in future.values()), "the future is not the end")
    ends = read.end_offsets(partitions)
    read.close()
    check(sum(ends.values()) == RECORDS, f"the ends are {ends}")


@scenario("delete")
def delete(this: Run) -> None:
    client = admin(this)
    first_of(client, "delete_groups", "delete_consumer_groups")([this.topic("two")])
    topics = [this.topic(name) for name in COMPRESSIONS]
    client.delete_topics(topics)
    deadline = Deadline("the topics' end")
    while set(topics) & set(client.list_topics()) and deadline.open():
        time.sleep(0.1)
    client.close()


if __name__ == "__main__":
    run()
