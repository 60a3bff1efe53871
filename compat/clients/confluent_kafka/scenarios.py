"""confluent-kafka (librdkafka) as a user would use it."""

import contextlib
import functools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
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


@functools.cache
def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def admin(this: Run) -> AdminClient:
    """One for the whole run: its futures end with it."""
    return admin_of(this.bootstrap)


def consumer(bootstrap: str, group: str, **settings: object) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            **settings,
        }
    )


@scenario("create topic")
def create_topic(this: Run) -> None:
    topics = [this.topic(name) for name in COMPRESSIONS]
    for future in admin(this).create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics]).values():
        future.result(DEADLINE_S)
    listed = admin(this).list_topics(timeout=DEADLINE_S).topics
    for topic in topics:
        check(topic in listed and len(listed[topic].partitions) == PARTITIONS, f"{topic} is not listed with its partitions")


def produce(this: Run, compression: str) -> None:
    failures: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": this.bootstrap, "compression.type": compression, "enable.idempotence": True, "linger.ms": 5})
    for number in range(RECORDS):
        producer.produce(
            this.topic(compression),
            value(number),
            key(number),
            headers=[("number", str(number).encode()), ("empty", None)],
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    check(producer.flush(DEADLINE_S) == 0, "not everything was delivered")
    check(not failures, f"{len(failures)} deliveries failed, the first with {failures[:1]}")
    read = consumer(this.bootstrap, this.topic(f"check-{compression}"))
    read.subscribe([this.topic(compression)])
    values: list[bytes] = []
    last: dict[bytes, int] = {}
    deadline = Deadline("reading back")
    while len(values) < RECORDS and deadline.open():
        for message in read.consume(1000, 1.0):
            check(message.error() is None, str(message.error()))
            number = int(dict(message.headers())["number"])
            check(message.value() == value(number) and message.key() == key(number), f"record {number} is not what was sent")
            check(last.get(message.key(), -1) < number, f"record {number} is out of order")
            last[message.key()] = number
            values.append(message.value())
    read.close()
    check_all_there(values)


for _compression in COMPRESSIONS:
    scenario(f"produce {_compression}")(lambda this, compression=_compression: produce(this, compression))


@scenario("consume in a group of two with a rebalance")
def group_of_two(this: Run) -> None:
    topic, group = this.topic("gzip"), this.topic("two")
    assignments: dict[str, list[int]] = {"first": [], "second": []}

    def watch(name: str) -> dict[str, object]:
        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            assignments[name] = [partition.partition for partition in partitions]

        return {"on_assign": assigned, "on_revoke": lambda *_: assignments.update({name: []})}

    first = consumer(this.bootstrap, group)
    second = consumer(this.bootstrap, group)
    first.subscribe([topic], **watch("first"))
    seen: list[bytes] = []
    positions: set[tuple[int, int]] = set()

    def take(member: Consumer) -> None:
        for message in member.consume(500, 0.2):
            check(message.error() is None, str(message.error()))
            positions.add((message.partition(), message.offset()))
            seen.append(message.value())

    deadline = Deadline("the first member's records")
    while len(seen) < 1000 and deadline.open():
        take(first)
    check(len(assignments["first"]) == PARTITIONS, "the first member alone does not have all partitions")
    first.commit(asynchronous=False)
    second.subscribe([topic], **watch("second"))
    deadline = Deadline("both members' records")
    while (len(positions) < RECORDS or not assignments["second"]) and deadline.open():
        take(first)
        take(second)
        if assignments["first"]:
            first.commit(asynchronous=True)
    check(len(assignments["first"]) == len(assignments["second"]) == PARTITIONS // 2, f"the partitions are not shared: {assignments}")
    for member in (first, second):
        with contextlib.suppress(KafkaException):  # where the other one's last commit was for it too
            member.commit(asynchronous=False)
        member.close()
    committed = consumer(this.bootstrap, group).committed([TopicPartition(topic, number) for number in range(PARTITIONS)], DEADLINE_S)
    check(sum(one.offset for one in committed) == RECORDS, f"{committed} was committed")


def consume_until_killed(bootstrap: str, topic: str, group: str, ready: object) -> None:
    read = consumer(bootstrap, group)
    read.subscribe([topic])
    count = 0
    while count < KILLED_AFTER:
        messages = read.consume(min(500, KILLED_AFTER - count), 1.0)
        count += len(messages)
    read.commit(asynchronous=False)
    ready.set()
    while True:
        read.poll(1.0)


@scenario("commit, be killed, resume")
def killed(this: Run) -> None:
    topic, group = this.topic("lz4"), this.topic("killed")
    kill_when_ready(consume_until_killed, this.bootstrap, topic, group)
    read = consumer(this.bootstrap, group)
    read.subscribe([topic])
    count = 0
    deadline = Deadline("the rest")
    while count < RECORDS - KILLED_AFTER and deadline.open():
        count += len(read.consume(1000, 0.5))
    check(count == RECORDS - KILLED_AFTER, f"{count} records came after the resume instead of {RECORDS - KILLED_AFTER}")
    read.commit(asynchronous=False)
    read.close()


@scenario("list and describe groups")
def groups(this: Run) -> None:
    group = this.topic("two")
    listed = admin(this).list_consumer_groups().result(DEADLINE_S)
    check(group in {one.group_id for one in listed.valid}, "the group is not listed")
    described = admin(this).describe_consumer_groups([group])[group].result(DEADLINE_S)
    check(described.state.name == "EMPTY", f"the group is {described.state}")


@scenario("reset offsets")
def reset(this: Run) -> None:
    topic, group = this.topic("gzip"), this.topic("two")
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number, 7) for number in range(PARTITIONS)])
    admin(this).alter_consumer_group_offsets([wanted])[group].result(DEADLINE_S)
    found = admin(this).list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(DEADLINE_S)
    check([one.offset for one in found.topic_partitions] == [7] * PARTITIONS, f"{found.topic_partitions} after the reset")


@scenario("offsets by time")
def by_time(this: Run) -> None:
    topic = this.topic("none")
    read = consumer(this.bootstrap, this.topic("times"))
    partitions = [TopicPartition(topic, number, 0) for number in range(PARTITIONS)]
    check(all(one.offset == 0 for one in read.offsets_for_times(partitions, DEADLINE_S)), "time 0 is not the beginning")
    later = [TopicPartition(topic, number, int(time.time() * 1000) + 3_600_000) for number in range(PARTITIONS)]
    found = read.offsets_for_times(later, DEADLINE_S)
    check(all(one.offset < 0 for one in found), f"the future is {found}, not the end")
    total = sum(read.get_watermark_offsets(one, DEADLINE_S)[1] for one in partitions)
    check(total == RECORDS, f"the ends add up to {total}")
    read.close()


@scenario("delete")
def delete(this: Run) -> None:
    for future in admin(this).delete_consumer_groups([this.topic("two")]).values():
        future.result(DEADLINE_S)
    topics = [this.topic(name) for name in COMPRESSIONS]
    for future in admin(this).delete_topics(topics).values():
        future.result(DEADLINE_S)
    deadline = Deadline("the topics' end")
    while set(topics) & set(admin(this).list_topics(timeout=DEADLINE_S).topics) and deadline.open():
        time.sleep(0.1)


if __name__ == "__main__":
    run()
