"""aiokafka as a user would use it."""

import asyncio
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata
from scenario import (
    COMPRESSIONS,
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


def consumer(bootstrap: str, group: str | None, *topics: str, **settings: object) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        **settings,
    )


async def with_admin(this: Run, work):
    admin = AIOKafkaAdminClient(bootstrap_servers=this.bootstrap)
    await admin.start()
    try:
        return await work(admin)
    finally:
        await admin.close()


@scenario("create topic")
def create_topic(this: Run) -> None:
    async def work(admin: AIOKafkaAdminClient) -> None:
        topics = [this.topic(name) for name in COMPRESSIONS]
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
        for described in await admin.describe_topics(topics):
            check(len(described["partitions"]) == PARTITIONS, f"{described} has not its partitions")

    asyncio.run(with_admin(this, work))


async def produce(this: Run, compression: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=this.bootstrap,
        compression_type=None if compression == "none" else compression,
        enable_idempotence=True,
        linger_ms=5,
    )
    await producer.start()
    topic = this.topic(compression)
    sent = []
    for number in range(RECORDS):
        headers = [("number", str(number).encode()), ("empty", b"")]
        sent.append(await producer.send(topic, value(number), key(number), headers=headers))
    await producer.flush()
    await asyncio.gather(*sent)
    await producer.stop()
    read = consumer(this.bootstrap, None, topic)
    await read.start()
    values: list[bytes] = []
    last: dict[bytes, int] = {}
    deadline = Deadline("reading back")
    while len(values) < RECORDS and deadline.open():
        for messages in (await read.getmany(timeout_ms=1000)).values():
            for message in messages:
                number = int(dict(message.headers)["number"])
                check(message.value == value(number) and message.key == key(number), f"record {number} is not what was sent")
                check(last.get(message.key, -1) < number, f"record {number} is out of order")
                last[message.key] = number
                values.append(message.value)
    await read.stop()
    check_all_there(values)


for _compression in COMPRESSIONS:
    scenario(f"produce {_compression}")(lambda this, compression=_compression: asyncio.run(produce(this, compression)))


class Watch(ConsumerRebalanceListener):
    """What one member has been given."""

    def __init__(self) -> None:
        self.partitions: list[int] = []

    async def on_partitions_revoked(self, revoked: object) -> None:
        self.partitions = []

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self.partitions = [partition.partition for partition in assigned]


@scenario("consume in a group of two with a rebalance")
def group_of_two(this: Run) -> None:
    asyncio.run(_group_of_two(this, this.topic("gzip"), this.topic("two")))


async def _group_of_two(this: Run, topic: str, group: str) -> None:
    positions: set[tuple[int, int]] = set()
    watches = [Watch(), Watch()]
    members = [consumer(this.bootstrap, group), consumer(this.bootstrap, group)]

    async def take(number: int) -> None:
        got = await members[number].getmany(timeout_ms=200, max_records=500)
        for partition, messages in got.items():
            positions.update((partition.partition, message.offset) for message in messages)
        if got:
            await members[number].commit()

    members[0].subscribe([topic], listener=watches[0])
    await members[0].start()
    deadline = Deadline("the first member's records")
    while len(positions) < 1000 and deadline.open():
        await take(0)
    check(len(watches[0].partitions) == PARTITIONS, "the first member alone does not have all partitions")
    members[1].subscribe([topic], listener=watches[1])
    await members[1].start()
    deadline = Deadline("both members' records")
    while (len(positions) < RECORDS or not watches[1].partitions or len(watches[0].partitions) > PARTITIONS // 2) and deadline.open():
        await asyncio.gather(take(0), take(1))
    check(len(watches[1].partitions) == PARTITIONS // 2, "the partitions are not shared")
    committed = [await members[0].committed(TopicPartition(topic, number)) for number in range(PARTITIONS)]
    for member in members:
        await member.stop()
    check(sum(offset or 0 for offset in committed) == RECORDS, f"{committed} was committed")


def consume_until_killed(bootstrap: str, topic: str, group: str, ready: object) -> None:
    async def work() -> None:
        read = consumer(bootstrap, group, topic)
        await read.start()
        count = 0
        while count < KILLED_AFTER:
            got = await read.getmany(timeout_ms=1000, max_records=min(500, KILLED_AFTER - count))
            count += sum(len(messages) for messages in got.values())
        await read.commit()
        ready.set()
        await asyncio.sleep(3600)

    asyncio.run(work())


@scenario("commit, be killed, resume")
def killed(this: Run) -> None:
    topic, group = this.topic("lz4"), this.topic("killed")
    kill_when_ready(consume_until_killed, this.bootstrap, topic, group)
    asyncio.run(_resume(this, topic, group))


async def _resume(this: Run, topic: str, group: str) -> None:
    read = consumer(this.bootstrap, group, topic)
    await read.start()
    count = 0
    deadline = Deadline("the rest")
    while count < RECORDS - KILLED_AFTER and deadline.open():
        count += sum(len(messages) for messages in (await read.getmany(timeout_ms=500)).values())
    check(count == RECORDS - KILLED_AFTER, f"{count} records came after the resume")
    await read.commit()
    await read.stop()


@scenario("list and describe groups")
def groups(this: Run) -> None:
    async def work(admin: AIOKafkaAdminClient) -> None:
        group = this.topic("two")
        check(group in {one[0] for one in await admin.list_consumer_groups()}, "the group is not listed")
        (described,) = await admin.describe_consumer_groups([group])
        check("Empty" in str(described), f"the group is {described}")

    asyncio.run(with_admin(this, work))


@scenario("reset offsets")
def reset(this: Run) -> None:
    async def work() -> None:
        read = consumer(this.bootstrap, this.topic("two"))
        partitions = [TopicPartition(this.topic("gzip"), number) for number in range(PARTITIONS)]
        read.assign(partitions)
        await read.start()
        await read.commit({partition: OffsetAndMetadata(7, "reset") for partition in partitions})
        found = [await read.committed(partition) for partition in partitions]
        await read.stop()
        check(found == [7] * PARTITIONS, f"{found} after the reset")

    asyncio.run(work())


@scenario("offsets by time")
def by_time(this: Run) -> None:
    async def work() -> None:
        read = consumer(this.bootstrap, None)
        partitions = [TopicPartition(this.topic("none"), number) for number in range(PARTITIONS)]
        read.assign(partitions)
        await read.start()
        beginning = await read.offsets_for_times(dict.fromkeys(partitions, 0))
        check(all(one.offset == 0 for one in beginning.values()), "time 0 is not the beginning")
        future = await read.offsets_for_times(dict.fromkeys(partitions, int(time.time() * 1000) + 3_600_000))
        check(all(one is None for one in future.values()), "the future is not the end")
        ends = await read.end_offsets(partitions)
        await read.stop()
        check(sum(ends.values()) == RECORDS, f"the ends are {ends}")

    asyncio.run(work())


@scenario("delete")
def delete(this: Run) -> None:
    async def work(admin: AIOKafkaAdminClient) -> None:
        topics = [this.topic(name) for name in COMPRESSIONS]
        await admin.delete_topics(topics)
        deadline = Deadline("the topics' end")
        while set(topics) & set(await admin.list_topics()) and deadline.open():
            await asyncio.sleep(0.1)

    asyncio.run(with_admin(this, work))


if __name__ == "__main__":
    run()
