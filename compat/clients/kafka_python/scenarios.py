"""kafka-python as a user would use it; the same script for 3.x and 2.2.x, whose admin clients differ in names."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from doing import Member, admin, assigned_to, check_committed, consumer, create, drop, first_of, producer, share_out, take_until, wait_for
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata
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


@scenario("administer a topic")
def administer(this: Run) -> None:
    topic = create(this, "admin", 2, **{"retention.ms": "3600000"})
    client = admin(this)
    check(topic in client.list_topics(), "the topic is not listed")
    (described,) = client.describe_topics([topic])
    leaders = [one.get("leader", one.get("leader_id")) for one in described["partitions"]]
    check(len(leaders) == 2 and all(leader >= 0 for leader in leaders), f"{described} has not two leaders")

    def has_retention(wanted: str) -> bool:
        return wanted in str(client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))

    check(has_retention("3600000"), "the config is not what the topic was created with")
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "7200000"})])
    deadline = Deadline("the altered config")
    while not has_retention("7200000") and deadline.open():
        time.sleep(0.1)
    client.create_partitions({topic: NewPartitions(5)})
    deadline = Deadline("five partitions")
    while len(client.describe_topics([topic])[0]["partitions"]) != 5 and deadline.open():
        time.sleep(0.1)
    client.close()
    try:
        create(this, "admin", 2)
        raise AssertionError("the topic was created twice")
    except TopicAlreadyExistsError:
        drop(this, topic)


@scenario("idempotent producer")
def idempotent(this: Run) -> None:
    topic = create(this, "idempotent", 1)
    send = producer(this.bootstrap, enable_idempotence=True)
    sent = [send.send(topic, value(number)) for number in range(RECORDS)]
    offsets = [future.get(DEADLINE_S).offset for future in sent]
    send.close()
    check(offsets == list(range(RECORDS)), "a record is not at its place")


@scenario("messages of 5 MiB")
def large_messages(this: Run) -> None:
    topic = create(this, "large", 1, **{"max.message.bytes": str(LARGE_LIMIT_BYTES)})
    send = producer(this.bootstrap, max_request_size=LARGE_LIMIT_BYTES)
    for future in [send.send(topic, large(number)) for number in range(3)]:
        future.get(DEADLINE_S)
    limits = {"max_partition_fetch_bytes": LARGE_LIMIT_BYTES, "receive_message_max_bytes": 5 * LARGE_LIMIT_BYTES}
    read = assigned_to(consumer(this.bootstrap, None, **limits), topic)
    found = [message.value for message in take_until(read, 3, "three large messages")]
    read.close()
    check(found == [large(number) for number in range(3)], "what came back is something else")
    try:
        send.send(this.topic("none"), large(0)).get(DEADLINE_S)
        raise AssertionError("too large a message was taken")
    except MessageSizeTooLargeError:
        send.close()


@scenario("1,000 partitions")
def wide(this: Run) -> None:
    topic = create(this, "wide", WIDE)
    send = producer(this.bootstrap)
    for future in [send.send(topic, value(number), partition=number) for number in range(WIDE)]:
        future.get(DEADLINE_S)
    send.close()
    read = assigned_to(consumer(this.bootstrap, None), topic, WIDE)
    found = take_until(read, WIDE, "a record of each partition")
    read.close()
    check(sorted((one.partition, one.value) for one in found) == [(number, value(number)) for number in range(WIDE)], "not one of each")
    drop(this, topic)


@scenario("consume in a group of two with a rebalance")
def group_of_two(this: Run) -> None:
    first = share_out(this, this.topic("gzip"), this.topic("two"), partition_assignment_strategy=[RangePartitionAssignor])
    check(len(first.watch.lost) == PARTITIONS, f"an eager rebalance took just {first.watch.lost}")


@scenario("consume in a group of two, cooperatively")
def cooperative(this: Run) -> None:
    try:
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    except ImportError:
        raise Skipped("this release of kafka-python has no cooperative assignor") from None
    first = share_out(this, this.topic("zstd"), this.topic("cooperative"), partition_assignment_strategy=[CooperativeStickyAssignor])
    check(len(first.watch.lost) == PARTITIONS // 2, f"the first member lost {first.watch.lost}")


@scenario("restart a static member")
def static(this: Run) -> None:
    if "group_instance_id" not in KafkaConsumer.DEFAULT_CONFIG:
        raise Skipped("this release of kafka-python has no static members")

    def member(name: str) -> Member:
        settings = {"group_instance_id": name, "session_timeout_ms": 30_000}
        return Member(this.bootstrap, this.topic("snappy"), this.topic("static"), **settings)

    members = [member("one"), member("two")]
    try:
        wait_for(members, "two partitions each", lambda: [len(one.partitions) for one in members] == [2, 2])
        before, told = members[1].partitions, members[0].watch.times_told
        members[1].stop()
        members[1] = member("two")
        wait_for(members, "the member's partitions", lambda: len(members[1].partitions) == 2)
        time.sleep(2)  # a rebalance would have reached the other member by its heartbeats
        check(members[1].partitions == before, f"it had {before}, and has {members[1].partitions}")
        check(members[0].watch.times_told == told, "the other member saw a rebalance")
    finally:
        for one in members:
            one.stop()


@scenario("seek, pause, resume")
def seek(this: Run) -> None:
    first, other = (TopicPartition(this.topic("none"), number) for number in range(2))
    read = assigned_to(consumer(this.bootstrap, None), this.topic("none"), 2)
    take_until(read, 10, "a first few records")
    read.seek(first, 5)
    offsets: list[int] = []

    def poll_for(seconds: float, wanted: int = RECORDS) -> set[int]:
        """What comes from the first partition goes to `offsets`; the partitions that gave something."""
        gave = set()
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(offsets) < wanted:
            for partition, messages in read.poll(100, max_records=20).items():
                gave.add(partition.partition)
                if partition == first:
                    offsets.extend(message.offset for message in messages)
        return gave

    poll_for(DEADLINE_S, 50)
    check(offsets[0] == 5, f"after the seek comes {offsets[:3]}")
    count = len(offsets)
    read.pause(first)
    read.seek(other, 0)
    gave = poll_for(1)
    check(gave == {1} and len(offsets) == count, f"while paused came {gave}")
    read.resume(first)
    read.pause(other)
    poll_for(DEADLINE_S, count + 50)
    check(offsets == list(range(5, 5 + len(offsets))), f"around the pause came {offsets[count - 2 : count + 3]}")
    read.seek_to_end(first)
    end = read.end_offsets([first])[first]
    check(read.position(first) == end, f"at the end, {end}, the position is {read.position(first)}")
    read.close()


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


def lines_of(this: Run, topic: str, isolation: str, wanted: int) -> list[bytes]:
    """The values of a topic of one partition, as seen under an isolation level; a little longer than until the last one."""
    read = assigned_to(consumer(this.bootstrap, None, isolation_level=isolation), topic)
    found = take_until(read, wanted, f"what is seen {isolation}")
    late = [message for messages in read.poll(1000).values() for message in messages]
    read.close()
    return [message.value for message in found + late]


@scenario("transactions")
def transactions(this: Run) -> None:
    topic, name = create(this, "transactions", 1), this.topic("transactional")
    first = producer(this.bootstrap, transactional_id=name)
    first.init_transactions()

    def transact(by: KafkaProducer, what: str) -> None:
        by.begin_transaction()
        sent = [by.send(topic, b"%s-%d" % (what.encode(), number)) for number in range(TRANSACTION_RECORDS)]
        by.flush(DEADLINE_S)
        for future in sent:
            future.get(DEADLINE_S)
        if what == "aborted":
            by.abort_transaction()
        else:
            by.commit_transaction()

    outcomes = ("committed", "aborted", "again")
    for outcome in outcomes:
        transact(first, outcome)
    values = {what: [b"%s-%d" % (what.encode(), number) for number in range(TRANSACTION_RECORDS)] for what in outcomes}
    seen = lines_of(this, topic, "read_committed", 2 * TRANSACTION_RECORDS)
    check(seen == values["committed"] + values["again"], f"{len(seen)} records are seen read_committed")
    seen = lines_of(this, topic, "read_uncommitted", 3 * TRANSACTION_RECORDS)
    check(seen == values["committed"] + values["aborted"] + values["again"], f"{len(seen)} records are seen read_uncommitted")
    second = producer(this.bootstrap, transactional_id=name)
    second.init_transactions()
    try:
        transact(first, "fenced")
        raise AssertionError("the first producer is not fenced")
    except KafkaError as fenced:
        check("Fenced" in repr(fenced) or "InvalidProducerEpoch" in repr(fenced), f"it is not fenced but {fenced!r}")
    transact(second, "second")
    second.close()
    first.close(timeout=1)


@scenario("consume, transform, produce")
def transform(this: Run) -> None:
    source, target, group = this.topic("gzip"), create(this, "transformed", 1), this.topic("transform")
    send = producer(this.bootstrap, transactional_id=this.topic("transformer"))
    send.init_transactions()
    read = consumer(this.bootstrap, group, source, isolation_level="read_committed")
    done = transaction = 0
    deadline = Deadline("every record's transformation")
    while done < RECORDS and deadline.open():
        messages = [message for some in read.poll(1000, max_records=1000).values() for message in some]
        if not messages:
            continue
        transaction += 1
        send.begin_transaction()
        for message in messages:
            send.send(target, message.value.upper())
        send.flush(DEADLINE_S)  # release 2.2.21 never ends a transaction that it aborts with records still to be sent
        offsets = {partition: OffsetAndMetadata(read.position(partition), "", -1) for partition in read.assignment()}
        send.send_offsets_to_transaction(offsets, read.group_metadata() if hasattr(read, "group_metadata") else group)
        if transaction % 3:
            send.commit_transaction()
            done += len(messages)
            continue
        send.abort_transaction()
        for partition in read.assignment():
            read.seek(partition, read.committed(partition) or 0)
    read.close()
    send.close()
    found = lines_of(this, target, "read_committed", RECORDS)
    check(sorted(found) == sorted(value(number).upper() for number in range(RECORDS)), f"{len(found)} records were transformed")
    check_committed(this, source, group)


@scenario("consumer group of the new protocol")
def new_protocol(this: Run) -> None:
    raise Skipped("kafka-python has only the classic group protocol")


@scenario("share group")
def share_group(this: Run) -> None:
    raise Skipped("kafka-python has no share consumer")


@scenario("restart the broker")
def restart(this: Run) -> None:
    topic, group = create(this, "restart", PARTITIONS), this.topic("restart")
    patient = {"reconnect_backoff_max_ms": 500}
    send = producer(this.bootstrap, enable_idempotence=True, **patient)
    sent = [send.send(topic, value(number), key(number)) for number in range(RESTART_AFTER)]
    for future in sent:
        future.get(DEADLINE_S)
    read = consumer(this.bootstrap, group, topic, **patient)
    seen: list = []
    deadline = Deadline("what was sent before the restart")
    while len(seen) < RESTART_COMMITTED and deadline.open():
        seen += [message for some in read.poll(500, max_records=RESTART_COMMITTED - len(seen)).values() for message in some]
    read.commit()
    committed = {partition: read.committed(partition) for partition in read.assignment()}
    middle = RESTART_RECORDS // 2
    sent += [send.send(topic, value(number), key(number)) for number in range(RESTART_AFTER, middle)]  # under way when the broker goes
    this.restart_broker()
    sent += [send.send(topic, value(number), key(number)) for number in range(middle, RESTART_RECORDS)]
    for future in sent:
        future.get(2 * DEADLINE_S)
    send.close()
    after = {partition: read.committed(partition) for partition in committed}
    check(after == committed, f"{committed} was committed, and is now {after}")
    seen += take_until(read, RESTART_RECORDS - len(seen), "the rest of the records")
    read.close()
    check_each_once(this, topic, RESTART_RECORDS)
    check({message.value for message in seen} == {value(number) for number in range(RESTART_RECORDS)}, f"the group saw {len(seen)} records")


def check_each_once(this: Run, topic: str, records: int) -> None:
    read = assigned_to(consumer(this.bootstrap, None), topic, PARTITIONS)
    found = take_until(read, records, "every record")
    read.close()
    check(
        sorted(message.value for message in found) == sorted(value(number) for number in range(records)), f"{len(found)} records are there"
    )


@scenario("sign in")
def sign_in(this: Run) -> None:
    for way in this.ways_to_sign_in():
        sign_in_by(this, way)


def sign_in_by(this: Run, way: SignIn) -> None:
    def settings(password: str) -> dict[str, object]:
        sasl = {"sasl_mechanism": way.mechanism, "sasl_plain_username": way.user, "sasl_plain_password": password}
        tls = {"ssl_cafile": way.authority}
        return {"security_protocol": way.protocol, **(sasl if way.mechanism else {}), **(tls if "SSL" in way.protocol else {})}

    topic = this.topic("none")
    send = producer(way.bootstrap, **settings(way.password))
    offset = send.send(topic, b"signed in", partition=0).get(DEADLINE_S).offset
    send.close()
    read = assigned_to(consumer(way.bootstrap, None, **settings(way.password)), topic)
    read.seek(TopicPartition(topic, 0), offset)
    (found,) = take_until(read, 1, f"the record of {way.protocol}")
    read.close()
    check(found.value == b"signed in", f"{found.value!r} was read")
    if way.mechanism:
        check_refused(way, settings("a wrong password"))


def check_refused(way: SignIn, settings: dict[str, object]) -> None:
    """Release 2 says why; 3 tries again, and in the end says that no broker could be reached, where with the right password one could."""
    impatient = next(name for name in ("bootstrap_timeout_ms", "api_version_auto_timeout_ms") if name in KafkaProducer.DEFAULT_CONFIG)
    try:
        producer(way.bootstrap, **settings, **{impatient: 3000, "max_block_ms": 3000}).send("refused", b"refused").get(10)
    except KafkaError:
        return
    raise AssertionError("a wrong password is as good as the right one")


@scenario("delete")
def delete(this: Run) -> None:
    client = admin(this)
    first_of(client, "delete_groups", "delete_consumer_groups")([this.topic("two")])
    client.close()
    drop(this, *(this.topic(name) for name in COMPRESSIONS))


if __name__ == "__main__":
    run()
