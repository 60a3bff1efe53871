"""aiokafka as a user would use it."""

import asyncio
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError
from aiokafka.helpers import create_ssl_context
from aiokafka.structs import OffsetAndMetadata
from doing import Member, check_committed, consumer, create, drop, producer, share_out, take_until, until, with_admin
from scenario import (
    COMPRESSIONS,
    DEADLINE_S,
    KILLED_AFTER,
    LARGE_LIMIT_BYTES,
    PARTITIONS,
    RECORDS,
    RESTART_AFTER,
    RESTART_COMMITTED,
    RESTART_RECORDS,
    TRANSACTION_RECORDS,
    WIDE,
    Deadline,
    Run,
    SignIn,
    Skipped,
    check,
    check_all_there,
    key,
    kill_when_ready,
    large,
    run,
    scenario,
    value,
)


def asynchronous(name: str):
    """Register a coroutine as a scenario."""

    def register(work):
        scenario(name)(lambda this: asyncio.run(work(this)))
        return work

    return register


@asynchronous("create topic")
async def create_topic(this: Run) -> None:
    topics = [this.topic(name) for name in COMPRESSIONS]
    async with with_admin(this) as admin:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
        for described in await admin.describe_topics(topics):
            check(len(described["partitions"]) == PARTITIONS, f"{described} has not its partitions")


async def produce(this: Run, compression: str) -> None:
    topic = this.topic(compression)
    kind = None if compression == "none" else compression
    async with producer(this.bootstrap, compression_type=kind, enable_idempotence=True) as send:
        sent = []
        for number in range(RECORDS):
            headers = [("number", str(number).encode()), ("empty", b"")]
            sent.append(await send.send(topic, value(number), key(number), headers=headers))
        await send.flush()
        await asyncio.gather(*sent)
    last: dict[bytes, int] = {}
    async with consumer(this.bootstrap, None, topic) as read:
        messages = await take_until(read, RECORDS, "reading back")
    for message in messages:
        number = int(dict(message.headers)["number"])
        check(message.value == value(number) and message.key == key(number), f"record {number} is not what was sent")
        check(last.get(message.key, -1) < number, f"record {number} is out of order")
        last[message.key] = number
    check_all_there([message.value for message in messages])


for _compression in COMPRESSIONS:
    scenario(f"produce {_compression}")(lambda this, compression=_compression: asyncio.run(produce(this, compression)))


@asynchronous("administer a topic")
async def administer(this: Run) -> None:
    topic = await create(this, "admin", 2, **{"retention.ms": "3600000"})
    async with with_admin(this) as admin:
        check(topic in await admin.list_topics(), "the topic is not listed")
        (described,) = await admin.describe_topics([topic])
        leaders = [one["leader"] for one in described["partitions"]]
        check(len(leaders) == 2 and all(leader >= 0 for leader in leaders), f"{described} has not two leaders")

        async def has_retention(wanted: str) -> bool:
            return wanted in str(await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))

        check(await has_retention("3600000"), "the config is not what the topic was created with")
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "7200000"})])
        deadline = Deadline("the altered config")
        while not await has_retention("7200000") and deadline.open():
            await asyncio.sleep(0.1)
        await admin.create_partitions({topic: NewPartitions(5)})
        deadline = Deadline("five partitions")
        while len((await admin.describe_topics([topic]))[0]["partitions"]) != 5 and deadline.open():
            await asyncio.sleep(0.1)
    try:
        await create(this, "admin", 2)
        raise AssertionError("the topic was created twice")
    except TopicAlreadyExistsError:
        await drop(this, topic)


@asynchronous("idempotent producer")
async def idempotent(this: Run) -> None:
    topic = await create(this, "idempotent", 1)
    async with producer(this.bootstrap, enable_idempotence=True) as send:
        sent = [await send.send(topic, value(number)) for number in range(RECORDS)]
        offsets = [(await future).offset for future in sent]
    check(offsets == list(range(RECORDS)), "a record is not at its place")


@asynchronous("messages of 5 MiB")
async def large_messages(this: Run) -> None:
    topic = await create(this, "large", 1, **{"max.message.bytes": str(LARGE_LIMIT_BYTES)})
    async with producer(this.bootstrap, max_request_size=LARGE_LIMIT_BYTES) as send:
        for number in range(3):
            await send.send_and_wait(topic, large(number))
        async with consumer(this.bootstrap, None, TopicPartition(topic, 0), max_partition_fetch_bytes=LARGE_LIMIT_BYTES) as read:
            found = [message.value for message in await take_until(read, 3, "three large messages")]
        check(found == [large(number) for number in range(3)], "what came back is something else")
        try:
            await send.send_and_wait(this.topic("none"), large(0))
            raise AssertionError("too large a message was taken")
        except MessageSizeTooLargeError:
            pass


@asynchronous("1,000 partitions")
async def wide(this: Run) -> None:
    topic = await create(this, "wide", WIDE)
    async with producer(this.bootstrap) as send:
        await asyncio.gather(*[await send.send(topic, value(number), partition=number) for number in range(WIDE)])
    async with consumer(this.bootstrap, None, *(TopicPartition(topic, number) for number in range(WIDE))) as read:
        found = await take_until(read, WIDE, "a record of each partition")
    check(sorted((one.partition, one.value) for one in found) == [(number, value(number)) for number in range(WIDE)], "not one of each")
    await drop(this, topic)


@asynchronous("consume in a group of two with a rebalance")
async def group_of_two(this: Run) -> None:
    first = await share_out(this, this.topic("gzip"), this.topic("two"), partition_assignment_strategy=[RangePartitionAssignor])
    check(len(first.lost) == PARTITIONS, f"an eager rebalance took just {first.lost}")


@scenario("consume in a group of two, cooperatively")
def cooperative(this: Run) -> None:
    raise Skipped("aiokafka has no cooperative assignor")


@asynchronous("restart a static member")
async def static(this: Run) -> None:
    def member(name: str) -> Member:
        settings = {"group_instance_id": name, "session_timeout_ms": 30_000}
        return Member(this.bootstrap, this.topic("snappy"), this.topic("static"), **settings)

    members = [member("one"), member("two")]
    try:
        await until(members, "two partitions each", lambda: [len(one.partitions) for one in members] == [2, 2])
        before, told = members[1].partitions, members[0].times_told
        await members[1].stop()
        members[1] = member("two")
        await until(members, "the member's partitions", lambda: len(members[1].partitions) == 2)
        await asyncio.sleep(2)  # a rebalance would have reached the other member by its heartbeats
        check(members[1].partitions == before, f"it had {before}, and has {members[1].partitions}")
        check(members[0].times_told == told, "the other member saw a rebalance")
    finally:
        for one in members:
            await one.stop()


@asynchronous("seek, pause, resume")
async def seek(this: Run) -> None:
    first, other = (TopicPartition(this.topic("none"), number) for number in range(2))
    offsets: list[int] = []
    async with consumer(this.bootstrap, None, first, other) as read:

        async def poll_for(seconds: float, wanted: int = RECORDS) -> set[int]:
            """What comes from the first partition goes to `offsets`; the partitions that gave something."""
            gave = set()
            end = time.monotonic() + seconds
            while time.monotonic() < end and len(offsets) < wanted:
                for partition, messages in (await read.getmany(timeout_ms=100, max_records=20)).items():
                    gave.add(partition.partition)
                    if partition == first:
                        offsets.extend(message.offset for message in messages)
            return gave

        await take_until(read, 10, "a first few records")
        read.seek(first, 5)
        await poll_for(DEADLINE_S, 50)
        check(offsets[0] == 5, f"after the seek comes {offsets[:3]}")
        count = len(offsets)
        read.pause(first)
        read.seek(other, 0)
        gave = await poll_for(1)
        check(gave == {1} and len(offsets) == count, f"while paused came {gave}")
        read.resume(first)
        read.pause(other)
        await poll_for(DEADLINE_S, count + 50)
        check(offsets == list(range(5, 5 + len(offsets))), f"around the pause came {offsets[count - 2 : count + 3]}")
        await read.seek_to_end(first)
        end = (await read.end_offsets([first]))[first]
        check(await read.position(first) == end, f"at the end, {end}, the position is {await read.position(first)}")


def consume_until_killed(bootstrap: str, topic: str, group: str, ready: object) -> None:
    async def work() -> None:
        async with consumer(bootstrap, group, topic) as read:
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
    async with consumer(this.bootstrap, group, topic) as read:
        count = len(await take_until(read, RECORDS - KILLED_AFTER, "the rest"))
        check(count == RECORDS - KILLED_AFTER, f"{count} records came after the resume")
        await read.commit()


@asynchronous("list and describe groups")
async def groups(this: Run) -> None:
    async with with_admin(this) as admin:
        group = this.topic("two")
        check(group in {one[0] for one in await admin.list_consumer_groups()}, "the group is not listed")
        (described,) = await admin.describe_consumer_groups([group])
        check("Empty" in str(described), f"the group is {described}")


@asynchronous("reset offsets")
async def reset(this: Run) -> None:
    partitions = [TopicPartition(this.topic("gzip"), number) for number in range(PARTITIONS)]
    async with consumer(this.bootstrap, this.topic("two"), *partitions) as read:
        await read.commit({partition: OffsetAndMetadata(7, "reset") for partition in partitions})
        found = [await read.committed(partition) for partition in partitions]
    check(found == [7] * PARTITIONS, f"{found} after the reset")


@asynchronous("offsets by time")
async def by_time(this: Run) -> None:
    partitions = [TopicPartition(this.topic("none"), number) for number in range(PARTITIONS)]
    async with consumer(this.bootstrap, None, *partitions) as read:
        beginning = await read.offsets_for_times(dict.fromkeys(partitions, 0))
        check(all(one.offset == 0 for one in beginning.values()), "time 0 is not the beginning")
        future = await read.offsets_for_times(dict.fromkeys(partitions, int(time.time() * 1000) + 3_600_000))
        check(all(one is None for one in future.values()), "the future is not the end")
        ends = await read.end_offsets(partitions)
        check(sum(ends.values()) == RECORDS, f"the ends are {ends}")


async def lines_of(this: Run, topic: str, isolation: str, wanted: int) -> list[bytes]:
    """The values of a topic of one partition, as seen under an isolation level; a little longer than until the last one."""
    async with consumer(this.bootstrap, None, TopicPartition(topic, 0), isolation_level=isolation) as read:
        found = await take_until(read, wanted, f"what is seen {isolation}")
        late = [message for messages in (await read.getmany(timeout_ms=1000)).values() for message in messages]
    return [message.value for message in found + late]


async def transact(by: AIOKafkaProducer, topic: str, what: str) -> None:
    await by.begin_transaction()
    values = [b"%s-%d" % (what.encode(), number) for number in range(TRANSACTION_RECORDS)]
    await asyncio.gather(*[await by.send(topic, one) for one in values])
    if what == "aborted":
        await by.abort_transaction()
    else:
        await by.commit_transaction()


@asynchronous("transactions")
async def transactions(this: Run) -> None:
    topic, name = await create(this, "transactions", 1), this.topic("transactional")
    outcomes = ("committed", "aborted", "again")
    values = {what: [b"%s-%d" % (what.encode(), number) for number in range(TRANSACTION_RECORDS)] for what in outcomes}
    async with producer(this.bootstrap, transactional_id=name) as first:
        for outcome in outcomes:
            await transact(first, topic, outcome)
        seen = await lines_of(this, topic, "read_committed", 2 * TRANSACTION_RECORDS)
        check(seen == values["committed"] + values["again"], f"{len(seen)} records are seen read_committed")
        seen = await lines_of(this, topic, "read_uncommitted", 3 * TRANSACTION_RECORDS)
        check(seen == values["committed"] + values["aborted"] + values["again"], f"{len(seen)} records are seen read_uncommitted")
        async with producer(this.bootstrap, transactional_id=name) as second:
            try:
                await transact(first, topic, "fenced")
                raise AssertionError("the first producer is not fenced")
            except KafkaError as fenced:
                check("Fenced" in repr(fenced) or "InvalidProducerEpoch" in repr(fenced), f"it is not fenced but {fenced!r}")
            await transact(second, topic, "second")


@asynchronous("consume, transform, produce")
async def transform(this: Run) -> None:
    source, target, group = this.topic("gzip"), await create(this, "transformed", 1), this.topic("transform")
    done = transaction = 0
    deadline = Deadline("every record's transformation")
    async with (
        producer(this.bootstrap, transactional_id=this.topic("transformer")) as send,
        consumer(this.bootstrap, group, source, isolation_level="read_committed") as read,
    ):
        while done < RECORDS and deadline.open():
            got = await read.getmany(timeout_ms=1000, max_records=1000)
            messages = [message for some in got.values() for message in some]
            if not messages:
                continue
            transaction += 1
            await send.begin_transaction()
            await asyncio.gather(*[await send.send(target, message.value.upper()) for message in messages])
            await send.send_offsets_to_transaction({partition: some[-1].offset + 1 for partition, some in got.items()}, group)
            if transaction % 3:
                await send.commit_transaction()
                done += len(messages)
                continue
            await send.abort_transaction()
            await read.seek_to_committed()
            for partition in read.assignment():
                if await read.committed(partition) is None:
                    read.seek(partition, 0)
    found = await lines_of(this, target, "read_committed", RECORDS)
    check(sorted(found) == sorted(value(number).upper() for number in range(RECORDS)), f"{len(found)} records were transformed")
    await check_committed(this, source, group)


@scenario("consumer group of the new protocol")
def new_protocol(this: Run) -> None:
    raise Skipped("aiokafka has only the classic group protocol")


@scenario("share group")
def share_group(this: Run) -> None:
    raise Skipped("aiokafka has no share consumer")


@asynchronous("restart the broker")
async def restart(this: Run) -> None:
    topic, group = await create(this, "restart", PARTITIONS), this.topic("restart")
    middle = RESTART_RECORDS // 2
    async with consumer(this.bootstrap, group, topic) as read:
        async with producer(this.bootstrap, enable_idempotence=True) as send:
            sent = [await send.send(topic, value(number), key(number)) for number in range(RESTART_AFTER)]
            await asyncio.gather(*sent)
            seen: list = []
            deadline = Deadline("what was sent before the restart")
            while len(seen) < RESTART_COMMITTED and deadline.open():
                got = await read.getmany(timeout_ms=500, max_records=RESTART_COMMITTED - len(seen))
                seen += [message for some in got.values() for message in some]
            await read.commit()
            committed = {partition: await read.committed(partition) for partition in read.assignment()}
            back = asyncio.create_task(asyncio.to_thread(this.restart_broker))
            sent = [await send.send(topic, value(number), key(number)) for number in range(RESTART_AFTER, middle)]
            await back
            sent += [await send.send(topic, value(number), key(number)) for number in range(middle, RESTART_RECORDS)]
            await asyncio.wait_for(asyncio.gather(*sent), 2 * DEADLINE_S)
        deadline = Deadline("the committed offsets")  # aiokafka takes the answer of a coordinator that still loads for "none"
        while {partition: await read.committed(partition) for partition in committed} != committed and deadline.open():
            await asyncio.sleep(0.1)
        seen += await take_until(read, RESTART_RECORDS - len(seen), "the rest of the records")
    wanted = sorted(value(number) for number in range(RESTART_RECORDS))
    check(sorted({message.value for message in seen}) == wanted, f"the group saw {len(seen)} records")
    async with consumer(this.bootstrap, None, *(TopicPartition(topic, number) for number in range(PARTITIONS))) as read:
        found = await take_until(read, RESTART_RECORDS, "every record")
    check(sorted(message.value for message in found) == wanted, f"{len(found)} records are there")


@asynchronous("sign in")
async def sign_in(this: Run) -> None:
    for way in this.ways_to_sign_in():
        await sign_in_by(this, way)


async def sign_in_by(this: Run, way: SignIn) -> None:
    def settings(password: str) -> dict[str, object]:
        sasl = {"sasl_mechanism": way.mechanism, "sasl_plain_username": way.user, "sasl_plain_password": password}
        tls = {"ssl_context": create_ssl_context(cafile=way.authority)}
        return {"security_protocol": way.protocol, **(sasl if way.mechanism else {}), **(tls if "SSL" in way.protocol else {})}

    partition = TopicPartition(this.topic("none"), 0)
    async with producer(way.bootstrap, **settings(way.password)) as send:
        offset = (await send.send_and_wait(partition.topic, b"signed in", partition=0)).offset
    async with consumer(way.bootstrap, None, partition, **settings(way.password)) as read:
        read.seek(partition, offset)
        (found,) = await take_until(read, 1, f"the record of {way.protocol}")
    check(found.value == b"signed in", f"{found.value!r} was read")
    if way.mechanism:
        await check_refused(way, settings("a wrong password"))


async def check_refused(way: SignIn, settings: dict[str, object]) -> None:
    """aiokafka says why in its log alone; to the caller it says that it cannot reach a broker, where with the right password it could."""
    refused = AIOKafkaProducer(bootstrap_servers=way.bootstrap, **settings)
    try:
        await refused.start()
        raise AssertionError("a wrong password is as good as the right one")
    except KafkaError:
        pass
    finally:
        await refused.stop()


@asynchronous("delete")
async def delete(this: Run) -> None:
    await drop(this, *(this.topic(name) for name in COMPRESSIONS))


if __name__ == "__main__":
    run()
