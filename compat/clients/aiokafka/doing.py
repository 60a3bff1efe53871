"""What several scenarios of aiokafka do: its clients, topics, and members of a group."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CommitFailedError, RebalanceInProgressError, for_code
from scenario import PARTITIONS, RECORDS, Deadline, Run, check


@contextlib.asynccontextmanager
async def consumer(bootstrap: str, group: str | None, *topics: str | TopicPartition, **settings: object) -> AsyncIterator[AIOKafkaConsumer]:
    """One that subscribes to topics, or is assigned partitions; started, and stopped in the end."""
    own = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000, "heartbeat_interval_ms": 500}
    partitions = [one for one in topics if isinstance(one, TopicPartition)]
    names = [one for one in topics if isinstance(one, str)]
    read = AIOKafkaConsumer(*names, bootstrap_servers=bootstrap, group_id=group, **{**own, **settings})
    if partitions:
        read.assign(partitions)
    await read.start()
    try:
        yield read
    finally:
        await read.stop()


@contextlib.asynccontextmanager
async def producer(bootstrap: str, **settings: object) -> AsyncIterator[AIOKafkaProducer]:
    """One that is started, and stopped in the end."""
    send = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, **settings)
    await send.start()
    try:
        yield send
    finally:
        await send.stop()


@contextlib.asynccontextmanager
async def with_admin(this: Run) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=this.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create(this: Run, name: str, partitions: int, **config: str) -> str:
    """A topic, made and known; its name. Raises what the broker says of it."""
    topic = this.topic(name)
    async with with_admin(this) as admin:
        answer = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)])
        for one in answer.topic_errors:
            if one[1] != 0:
                raise for_code(one[1])(one[2])
        deadline = Deadline("the topic's partitions")
        while len((await admin.describe_topics([topic]))[0]["partitions"]) != partitions and deadline.open():
            await asyncio.sleep(0.1)
    return topic


async def drop(this: Run, *topics: str) -> None:
    """Topics are deleted, and no longer listed."""
    async with with_admin(this) as admin:
        await admin.delete_topics(list(topics))
        deadline = Deadline("the topics' end")
        while set(topics) & set(await admin.list_topics()) and deadline.open():
            await asyncio.sleep(0.1)


async def take_until(read: AIOKafkaConsumer, wanted: int, what: str) -> list:
    """At least as many messages as are wanted."""
    found = []
    deadline = Deadline(what)
    while len(found) < wanted and deadline.open():
        for messages in (await read.getmany(timeout_ms=500)).values():
            found += messages
    return found


class Member(ConsumerRebalanceListener):
    """One member of a group, polling in a task of its own: what it has, what it lost, and how often it was told."""

    def __init__(self, bootstrap: str, topic: str, group: str, **settings: object) -> None:
        self.partitions: set[int] = set()
        self.lost: list[int] = []
        self.times_told = 0
        self.positions: set[tuple[int, int]] = set()
        self._stopping = asyncio.Event()
        self.task = asyncio.create_task(self._run(bootstrap, topic, group, settings))

    async def _run(self, bootstrap: str, topic: str, group: str, settings: dict[str, object]) -> None:
        async with consumer(bootstrap, group, **settings) as read:
            read.subscribe([topic], listener=self)
            while not self._stopping.is_set():
                got = await read.getmany(timeout_ms=200, max_records=500)
                for partition, messages in got.items():
                    self.positions.update((partition.partition, message.offset) for message in messages)
                if got:
                    with contextlib.suppress(CommitFailedError, RebalanceInProgressError):  # what was not committed comes again
                        await read.commit()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self.times_told += bool(revoked)
        self.lost += [one.partition for one in revoked]
        self.partitions -= {one.partition for one in revoked}

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.times_told += bool(assigned)
        self.partitions |= {one.partition for one in assigned}

    async def stop(self) -> None:
        self._stopping.set()
        await self.task


async def until(members: list[Member], what: str, is_so: Callable[[], bool]) -> None:
    """It is so; raises what befell a member."""
    deadline = Deadline(what)
    while not is_so() and deadline.open():
        for member in members:
            if member.task.done():
                await member.task
        await asyncio.sleep(0.01)


async def share_out(this: Run, topic: str, group: str, **settings: object) -> Member:
    """A first member that has all partitions, then a second one: both get half of them, all records are seen and committed; the first."""
    first = Member(this.bootstrap, topic, group, **settings)
    members = [first]
    try:
        await until(members, "the first member's records", lambda: len(first.positions) >= 1000)
        check(len(first.partitions) == PARTITIONS, "the first member alone does not have all partitions")
        second = Member(this.bootstrap, topic, group, **settings)
        members.append(second)
        await until(members, "half of the partitions each", lambda: [len(one.partitions) for one in members] == [2, 2])
        await until(members, "all records", lambda: len(first.positions | second.positions) == RECORDS)
        lost = list(first.lost)
    finally:
        for member in members:
            await member.stop()
    first.lost = lost
    await check_committed(this, topic, group)
    return first


async def check_committed(this: Run, topic: str, group: str) -> None:
    """Everything was."""
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    async with consumer(this.bootstrap, group, *partitions) as read:
        committed = [await read.committed(partition) for partition in partitions]
    check(sum(offset or 0 for offset in committed) == RECORDS, f"{committed} was committed")
