"""confluent-kafka (librdkafka) as a user would use it."""

import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from confluent_kafka import (
    AcknowledgeType,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    ShareConsumer,
    TopicPartition,
)
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType
from doing import Member, admin, admin_of, consumer, create, delivered_to, drop, finish, share_out, take_until
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
    SHARED,
    TRANSACTION_RECORDS,
    WIDE,
    Deadline,
    Run,
    SignIn,
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


@scenario("administer a topic")
def administer(this: Run) -> None:
    topic = create(this, "admin", 2, **{"retention.ms": "3600000"})
    described = admin(this).list_topics(topic, DEADLINE_S).topics[topic]
    check(
        len(described.partitions) == 2 and all(one.leader >= 0 for one in described.partitions.values()), "not two partitions with leaders"
    )

    def retention() -> str:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return admin(this).describe_configs([resource])[resource].result(DEADLINE_S)["retention.ms"].value

    check(retention() == "3600000", f"retention.ms is {retention()}")
    entry = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
    wanted = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin(this).incremental_alter_configs([wanted])[wanted].result(DEADLINE_S)
    deadline = Deadline("the altered config")
    while retention() != "7200000" and deadline.open():
        time.sleep(0.1)
    admin(this).create_partitions([NewPartitions(topic, 5)])[topic].result(DEADLINE_S)
    deadline = Deadline("five partitions")
    while len(admin(this).list_topics(topic, DEADLINE_S).topics[topic].partitions) != 5 and deadline.open():
        time.sleep(0.1)
    try:
        create(this, "admin", 2)
        raise AssertionError("the topic was created twice")
    except KafkaException as refused:
        check(refused.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, f"created twice: {refused}")
    drop(this, topic)


@scenario("idempotent producer")
def idempotent(this: Run) -> None:
    topic = create(this, "idempotent", 1)
    producer = Producer({"bootstrap.servers": this.bootstrap, "enable.idempotence": True, "batch.num.messages": 100, "linger.ms": 5})
    failures: list[object] = []
    offsets: dict[int, int] = {}
    for number in range(RECORDS):
        producer.produce(topic, value(number), on_delivery=delivered_to(failures, offsets, number))
        producer.poll(0)
    check(producer.flush(DEADLINE_S) == 0 and not failures, f"not all was delivered: {failures[:1]}")
    check(all(offsets[number] == number for number in range(RECORDS)), "a record is not at its place")


@scenario("messages of 5 MiB")
def large_messages(this: Run) -> None:
    topic = create(this, "large", 1, **{"max.message.bytes": str(LARGE_LIMIT_BYTES)})
    producer = Producer({"bootstrap.servers": this.bootstrap, "message.max.bytes": LARGE_LIMIT_BYTES})
    failures: list[KafkaError] = []
    for number in range(3):
        producer.produce(topic, large(number), partition=0, on_delivery=delivered_to(failures))
    check(producer.flush(DEADLINE_S) == 0 and not failures, f"not all was delivered: {failures}")
    settings = {"fetch.message.max.bytes": LARGE_LIMIT_BYTES, "fetch.max.bytes": 4 * LARGE_LIMIT_BYTES}
    read = consumer(this.bootstrap, this.topic("large"), {**settings, "receive.message.max.bytes": 5 * LARGE_LIMIT_BYTES})
    read.assign([TopicPartition(topic, 0, 0)])
    found = [message.value() for message in take_until(read, 3, "three large messages")]
    read.close()
    check(found == [large(number) for number in range(3)], "what came back is something else")
    producer.produce(this.topic("none"), large(0), on_delivery=delivered_to(failures))
    producer.flush(DEADLINE_S)
    check([error.code() for error in failures] == [KafkaError.MSG_SIZE_TOO_LARGE], f"too large a message: {failures}")


@scenario("1,000 partitions")
def wide(this: Run) -> None:
    topic = create(this, "wide", WIDE)
    producer = Producer({"bootstrap.servers": this.bootstrap, "linger.ms": 100})
    failures: list[KafkaError] = []
    for number in range(WIDE):
        producer.produce(topic, value(number), partition=number, on_delivery=delivered_to(failures))
        producer.poll(0)
    check(producer.flush(DEADLINE_S) == 0 and not failures, f"not all was delivered: {failures[:1]}")
    read = consumer(this.bootstrap, this.topic("wide"))
    read.assign([TopicPartition(topic, number, 0) for number in range(WIDE)])
    found = take_until(read, WIDE, "a record of each partition")
    read.close()
    check(sorted((one.partition(), one.value()) for one in found) == [(number, value(number)) for number in range(WIDE)], "not one of each")
    drop(this, topic)


@scenario("consume in a group of two with a rebalance")
def group_of_two(this: Run) -> None:
    topic, group = this.topic("gzip"), this.topic("two")
    members = share_out(this, topic, group, {"partition.assignment.strategy": "range"})
    check(len(members[0].lost) == PARTITIONS, f"an eager rebalance took just {members[0].lost}")
    finish(this, topic, group, members)


@scenario("consume in a group of two, cooperatively")
def cooperative(this: Run) -> None:
    topic, group = this.topic("zstd"), this.topic("cooperative")
    members = share_out(this, topic, group, {"partition.assignment.strategy": "cooperative-sticky"})
    check(len(members[0].lost) == PARTITIONS // 2, f"the first member lost {members[0].lost}")
    finish(this, topic, group, members)


@scenario("restart a static member")
def static(this: Run) -> None:
    topic, group = this.topic("snappy"), this.topic("static")

    def member(name: str) -> Member:
        return Member(this, topic, group, {"group.instance.id": name, "session.timeout.ms": 30_000})

    members = [member("one"), member("two")]
    deadline = Deadline("two partitions each")
    while [len(one.partitions) for one in members] != [2, 2] and deadline.open():
        for one in members:
            one.take()
    before, told = set(members[1].partitions), members[0].times_told
    members[1].consumer.close()
    members[1] = member("two")
    deadline = Deadline("the member's partitions")
    while len(members[1].partitions) < 2 and deadline.open():
        for one in members:
            one.take()
    settled = Deadline("nothing", 2)
    with contextlib.suppress(TimeoutError):
        while settled.open():
            members[0].take()
    check(members[1].partitions == before, f"it had {before}, and has {members[1].partitions}")
    check(members[0].times_told == told, "the other member saw a rebalance")
    for one in members:
        one.consumer.close()


@scenario("seek, pause, resume")
def seek(this: Run) -> None:
    first, other = TopicPartition(this.topic("none"), 0, 0), TopicPartition(this.topic("none"), 1, 0)
    read = consumer(this.bootstrap, this.topic("seek"), {"queued.min.messages": 100})
    read.assign([first, other])
    take_until(read, 10, "a first few records")
    read.seek(TopicPartition(first.topic, 0, 5))
    offsets: list[int] = []

    def poll_for(seconds: float, wanted: int = RECORDS) -> set[int]:
        """What comes from the first partition goes to `offsets`; the partitions that gave something."""
        gave = set()
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(offsets) < wanted:
            for message in read.consume(20, 0.1):
                check(message.error() is None, str(message.error()))
                gave.add(message.partition())
                if message.partition() == 0:
                    offsets.append(message.offset())
        return gave

    poll_for(DEADLINE_S, 50)
    check(offsets[0] == 5, f"after the seek comes {offsets[:3]}")
    count = len(offsets)
    read.pause([first])
    read.seek(TopicPartition(other.topic, 1, 0))
    gave = poll_for(1)
    deadline = Deadline("a record of the other partition")
    while not gave and deadline.open():
        gave = poll_for(1)
    check(gave == {1} and len(offsets) == count, f"while paused came {gave}")
    read.resume([first])
    poll_for(DEADLINE_S, count + 50)
    check(offsets == list(range(5, 5 + len(offsets))), f"around the pause came {offsets[count - 2 : count + 3]}")
    end = read.get_watermark_offsets(first, DEADLINE_S)[1]
    read.pause([other])
    read.seek(TopicPartition(first.topic, 0, end - 1))
    (last,) = take_until(read, 1, "the last record")
    check(last.offset() == end - 1 and read.position([first])[0].offset == end, f"{last.offset()} is the last before {end}")
    read.close()


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


def lines_of(this: Run, topic: str, isolation: str, wanted: int) -> list[bytes]:
    """The values of a topic of one partition, as seen under an isolation level; a little longer than until the last one."""
    read = consumer(this.bootstrap, this.topic(f"read-{isolation}"), {"isolation.level": isolation})
    read.assign([TopicPartition(topic, 0, 0)])
    found = take_until(read, wanted, f"what is seen {isolation}") + read.consume(10, 1.0)
    read.close()
    return [message.value() for message in found]


@scenario("transactions")
def transactions(this: Run) -> None:
    topic, name = create(this, "transactions", 1), this.topic("transactional")
    producer = Producer({"bootstrap.servers": this.bootstrap, "transactional.id": name})
    producer.init_transactions(DEADLINE_S)

    def transact(by: Producer, what: str) -> None:
        by.begin_transaction()
        for number in range(TRANSACTION_RECORDS):
            by.produce(topic, b"%s-%d" % (what.encode(), number), partition=0)
        by.flush(DEADLINE_S)
        if what == "aborted":
            by.abort_transaction(DEADLINE_S)
        else:
            by.commit_transaction(DEADLINE_S)

    outcomes = ("committed", "aborted", "again")
    for outcome in outcomes:
        transact(producer, outcome)
    values = {what: [b"%s-%d" % (what.encode(), number) for number in range(TRANSACTION_RECORDS)] for what in outcomes}
    seen = lines_of(this, topic, "read_committed", 2 * TRANSACTION_RECORDS)
    check(seen == values["committed"] + values["again"], f"{len(seen)} records are seen read_committed")
    seen = lines_of(this, topic, "read_uncommitted", 3 * TRANSACTION_RECORDS)
    check(seen == values["committed"] + values["aborted"] + values["again"], f"{len(seen)} records are seen read_uncommitted")
    second = Producer({"bootstrap.servers": this.bootstrap, "transactional.id": name})
    second.init_transactions(DEADLINE_S)
    try:
        transact(producer, "fenced")
        raise AssertionError("the first producer is not fenced")
    except KafkaException as fenced:
        check(fenced.args[0].code() in {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}, str(fenced))
    transact(second, "second")


@scenario("consume, transform, produce")
def transform(this: Run) -> None:
    source, target, group = this.topic("gzip"), create(this, "transformed", 1), this.topic("transform")
    producer = Producer({"bootstrap.servers": this.bootstrap, "transactional.id": this.topic("transformer")})
    producer.init_transactions(DEADLINE_S)
    read = consumer(this.bootstrap, group, {"isolation.level": "read_committed"})
    read.subscribe([source])
    done = transaction = 0
    deadline = Deadline("every record's transformation")
    while done < RECORDS and deadline.open():
        messages = read.consume(1000, 1.0)
        if not messages:
            continue
        transaction += 1
        producer.begin_transaction()
        for message in messages:
            producer.produce(target, message.value().upper(), partition=0)
        owned = read.assignment()
        producer.send_offsets_to_transaction(read.position(owned), read.consumer_group_metadata(), DEADLINE_S)
        if transaction % 3:
            producer.commit_transaction(DEADLINE_S)
            done += len(messages)
            continue
        producer.abort_transaction(DEADLINE_S)
        for partition in read.committed(owned, DEADLINE_S):
            read.seek(TopicPartition(source, partition.partition, max(partition.offset, 0)))
    read.close()
    found = lines_of(this, target, "read_committed", RECORDS)
    check(sorted(found) == sorted(value(number).upper() for number in range(RECORDS)), f"{len(found)} records were transformed")
    committed = consumer(this.bootstrap, group).committed([TopicPartition(source, number) for number in range(PARTITIONS)], DEADLINE_S)
    check(sum(one.offset for one in committed) == RECORDS, f"{committed} was committed")


@scenario("consumer group of the new protocol")
def new_protocol(this: Run) -> None:
    topic, group = this.topic("lz4"), this.topic("new")
    members = share_out(this, topic, group, {"group.protocol": "consumer"})
    described = admin(this).describe_consumer_groups([group])[group].result(DEADLINE_S)
    check(len(described.members) == 2 and described.type.name == "CONSUMER", f"the group is {described.type} of {len(described.members)}")
    finish(this, topic, group, members)


@scenario("share group")
def share_group(this: Run) -> None:
    topic, group = create(this, "shared", 1), this.topic("share")
    entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    wanted = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
    admin(this).incremental_alter_configs([wanted])[wanted].result(DEADLINE_S)
    producer = Producer({"bootstrap.servers": this.bootstrap})
    for number in range(SHARED):
        producer.produce(topic, value(number), partition=0)
    producer.flush(DEADLINE_S)
    settings = {"bootstrap.servers": this.bootstrap, "group.id": group, "share.acknowledgement.mode": "explicit"}
    members = [ShareConsumer(settings), ShareConsumer(settings)]
    for member in members:
        member.subscribe([topic])
    accepted: list[bytes] = []
    released: list[bytes] = []
    counts: dict[bytes, int] = {}
    deadline = Deadline("every record's acceptance")
    while len(accepted) < SHARED and deadline.open():
        for member in members:
            for message in member.poll(0.5):
                check(message.error() is None, str(message.error()))
                counts[message.value()] = message.delivery_count()
                how, to = (AcknowledgeType.ACCEPT, accepted) if released else (AcknowledgeType.RELEASE, released)
                member.acknowledge(message, how)
                to.append(message.value())
            member.commit_sync(DEADLINE_S)
    for member in members:
        member.close()
    check(sorted(accepted) == sorted(value(number) for number in range(SHARED)), f"{len(accepted)} records were accepted")
    wrong = {name: count for name, count in counts.items() if count != (2 if name in released else 1)}
    check(not wrong, f"delivery counts are {wrong}, where {released} was released")


@scenario("restart the broker")
def restart(this: Run) -> None:
    topic, group = create(this, "restart", PARTITIONS), this.topic("restart")
    producer = Producer({"bootstrap.servers": this.bootstrap, "enable.idempotence": True, "linger.ms": 5, "reconnect.backoff.max.ms": 500})
    failures: list[object] = []
    offsets: dict[int, int] = {}

    def send(numbers: range) -> None:
        for number in numbers:
            producer.produce(topic, value(number), key(number), on_delivery=delivered_to(failures, offsets, number))
            producer.poll(0)

    send(range(RESTART_AFTER))
    check(producer.flush(DEADLINE_S) == 0, "what was sent before the restart was not delivered")
    read = consumer(this.bootstrap, group, {"reconnect.backoff.max.ms": 500})
    read.subscribe([topic])
    seen: list = []
    deadline = Deadline("what was sent before the restart")
    while len(seen) < RESTART_COMMITTED and deadline.open():
        seen += read.consume(RESTART_COMMITTED - len(seen), 0.5)
    read.commit(asynchronous=False)
    committed = {one.partition: one.offset for one in read.committed(read.assignment(), DEADLINE_S)}
    send(range(RESTART_AFTER, RESTART_RECORDS // 2))  # some of them are under way when the broker goes
    this.restart_broker()
    admin_of.cache_clear()  # librdkafka's admin client does not find the group's coordinator again where Kafka was away
    send(range(RESTART_RECORDS // 2, RESTART_RECORDS))
    check(producer.flush(2 * DEADLINE_S) == 0 and not failures, f"not all was delivered: {failures[:1]}")
    after = {one.partition: one.offset for one in read.committed([TopicPartition(topic, number) for number in committed], DEADLINE_S)}
    check(after == committed, f"{committed} was committed, and is now {after}")
    seen += take_until(read, RESTART_RECORDS - len(seen), "the rest of the records")
    read.close()
    values = sorted(message.value() for message in seen)
    check(values == sorted(value(number) for number in range(RESTART_RECORDS)), f"{len(values)} records are there")


@scenario("sign in")
def sign_in(this: Run) -> None:
    for way in this.ways_to_sign_in():
        sign_in_by(this, way)


def sign_in_by(this: Run, way: SignIn) -> None:
    def settings(password: str) -> dict[str, object]:
        sasl = {"sasl.mechanism": way.mechanism, "sasl.username": way.user, "sasl.password": password} if way.mechanism else {}
        tls = {"ssl.ca.location": way.authority} if "SSL" in way.protocol else {}
        return {"bootstrap.servers": way.bootstrap, "security.protocol": way.protocol, **sasl, **tls}

    producer = Producer(settings(way.password))
    failures: list[object] = []
    offsets: dict[int, int] = {}
    producer.produce(this.topic("none"), b"signed in", partition=0, on_delivery=delivered_to(failures, offsets, 0))
    check(producer.flush(DEADLINE_S) == 0 and not failures, f"{way}: {failures}")
    read = consumer(way.bootstrap, this.topic("signed-in"), settings(way.password))
    read.assign([TopicPartition(this.topic("none"), 0, offsets[0])])
    (found,) = take_until(read, 1, f"the record of {way.protocol}")
    read.close()
    check(found.value() == b"signed in", f"{found.value()!r} was read")
    if way.mechanism:
        problems: list[KafkaError] = []
        refused = Producer({**settings("a wrong password"), "error_cb": problems.append})
        deadline = Deadline("the refusal")
        while KafkaError._AUTHENTICATION not in {problem.code() for problem in problems} and deadline.open():
            refused.poll(0.1)


@scenario("delete")
def delete(this: Run) -> None:
    for future in admin(this).delete_consumer_groups([this.topic("two")]).values():
        future.result(DEADLINE_S)
    drop(this, *(this.topic(name) for name in COMPRESSIONS))


if __name__ == "__main__":
    run()
