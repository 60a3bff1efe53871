"""kcat as a user would use it, from a shell. What kcat has no command for is skipped, and says so."""

import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from scenario import (
    COMPRESSIONS,
    DEADLINE_S,
    KILLED_AFTER,
    LARGE_LIMIT_BYTES,
    PARTITIONS,
    RECORDS,
    RESTART_AFTER,
    RESTART_RECORDS,
    TRANSACTION_RECORDS,
    Deadline,
    Run,
    SignIn,
    Skipped,
    check,
    check_all_there,
    key,
    large,
    run,
    scenario,
    value,
)

AUTO_COMMIT_INTERVAL_S = 5
"""librdkafka's default; kcat has no way to set it for a group's consumer, nor to say when a commit was made."""


def kcat(this: Run, *arguments: str, stdin: bytes = b"") -> str:
    done = attempt(this.bootstrap, *arguments, stdin=stdin)
    check(done.returncode == 0, f"kcat {arguments} said {done.stderr.decode()}")
    return done.stdout.decode()


def attempt(bootstrap: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["kcat", "-b", bootstrap, *arguments], input=stdin, capture_output=True, timeout=DEADLINE_S, check=False)


def settings(**values: object) -> list[str]:
    """As -X takes them; a word's underscores stand for dots."""
    return [part for name, value in values.items() for part in ("-X", f"{name.replace('_', '.')}={value}")]


def read_all(this: Run, topic: str, *arguments: str) -> list[str]:
    """The lines of a topic, from its beginning to its end."""
    return kcat(this, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-u", *arguments).splitlines()


def make(this: Run, *topics: str) -> None:
    """kcat makes topics by asking for them: auto.create.topics.enable, num.partitions."""
    for topic in topics:
        kcat(this, "-L", "-t", topic)
    deadline = Deadline("the topics")
    while deadline.open():
        listed = {one["topic"]: one["partitions"] for one in json.loads(kcat(this, "-L", "-J"))["topics"]}
        if all(len(listed.get(topic, [])) == PARTITIONS for topic in topics):
            return
        time.sleep(0.1)


@scenario("create topic")
def create_topic(this: Run) -> None:
    make(this, *(this.topic(name) for name in COMPRESSIONS))


def produce(this: Run, compression: str) -> None:
    lines = b"".join(key(number) + b":" + value(number) + b"\n" for number in range(RECORDS))
    kcat(
        this,
        "-P",
        "-t",
        this.topic(compression),
        "-K",
        ":",
        "-z",
        compression,
        "-H",
        "source=kcat",
        "-X",
        "enable.idempotence=true",
        stdin=lines,
    )
    out = kcat(this, "-C", "-t", this.topic(compression), "-o", "beginning", "-e", "-q", "-f", "%k %s %h\n")
    rows = [line.split(" ") for line in out.splitlines()]
    check(all(headers == "source=kcat" for _, _, headers in rows), "the headers are not all there")
    check(all(name == key(int(text.split("-")[1])).decode() for name, text, _ in rows), "a key does not belong to its value")
    check_all_there([text.encode() for _, text, _ in rows])


for _compression in COMPRESSIONS:
    scenario(f"produce {_compression}")(lambda this, compression=_compression: produce(this, compression))


class Member:
    """A `kcat -G` that runs until it is stopped, its output in a file."""

    def __init__(self, this: Run, topic: str, group: str, *settings: str) -> None:
        self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed in stop
        session = () if "group.protocol=consumer" in settings else ("session.timeout.ms=6000",)  # the new protocol has it at the broker
        options = [part for setting in (*session, "auto.offset.reset=earliest", *settings) for part in ("-X", setting)]
        command = ["kcat", "-E", "-b", this.bootstrap, "-u", *options, "-f", "%p %o\n", "-G", group, topic]
        self._errors = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(command, stdout=self._file, stderr=self._errors)

    def positions(self) -> set[str]:
        return set(pathlib.Path(self._file.name).read_text().splitlines())

    def assignments(self) -> str:
        return pathlib.Path(self._errors.name).read_text()

    def stop(self, how: int = signal.SIGTERM) -> None:
        self._process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


@scenario("administer a topic")
def administer(this: Run) -> None:
    raise Skipped("kcat has no commands for it")


@scenario("idempotent producer")
def idempotent(this: Run) -> None:
    """All to one partition of a topic of its own, which kcat makes by asking for it: where a record is, is its number."""
    topic = this.topic("idempotent")
    lines = b"".join(value(number) + b"\n" for number in range(RECORDS))
    kcat(this, "-P", "-t", topic, "-p", "0", *settings(enable_idempotence=True, batch_num_messages=100), stdin=lines)
    found = read_all(this, topic, "-p", "0", "-f", "%o %s\n")
    check(found == [f"{number} {value(number).decode()}" for number in range(RECORDS)], f"{len(found)} records, or not each at its place")


@scenario("messages of 5 MiB")
def large_messages(this: Run) -> None:
    """kcat has no way to make a topic that takes them; that the broker refuses them elsewhere it can show."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(large(0))
        file.flush()
        refused = attempt(
            this.bootstrap, "-P", "-t", this.topic("none"), "-p", "0", *settings(message_max_bytes=LARGE_LIMIT_BYTES), file.name
        )
    check(b"Message size too large" in refused.stderr, f"too large a message: {refused.stderr.decode()}")
    raise Skipped("kcat cannot give a topic a config; the refusal of a message that is too large for the topic was seen")


@scenario("1,000 partitions")
def wide(this: Run) -> None:
    raise Skipped("kcat cannot say how many partitions a topic has")


@scenario("consume in a group of two with a rebalance")
def group_of_two(this: Run) -> None:
    share_out(this, this.topic("gzip"), this.topic("two"), "partition.assignment.strategy=range")


@scenario("consume in a group of two, cooperatively")
def cooperative(this: Run) -> None:
    group, strategy = this.topic("cooperative"), "partition.assignment.strategy=cooperative-sticky"
    first = share_out(this, this.topic("zstd"), group, strategy)
    revoked = [line for line in first.splitlines() if "incremental revoke of" in line]
    check(sum(line.count(f"{this.topic('zstd')} [") for line in revoked) == PARTITIONS // 2, f"the first member said {first}")


def share_out(this: Run, topic: str, group: str, *more: str) -> str:
    """Two members see all records between them, and the second got partitions while the first was there; what the first said until then."""
    first = Member(this, topic, group, *more)
    deadline = Deadline("the first member's records")
    while len(first.positions()) < 1000 and deadline.open():
        time.sleep(0.05)
    second = Member(this, topic, group, *more)
    deadline = Deadline("the second member's partitions")
    while f"{topic} [" not in second.assignments() and deadline.open():
        time.sleep(0.05)
    deadline = Deadline("all records")
    while len(first.positions() | second.positions()) < RECORDS and deadline.open():
        time.sleep(0.05)
    said = first.assignments()
    first.stop()
    second.stop()
    return said


@scenario("restart a static member")
def static(this: Run) -> None:
    group, topic = this.topic("static"), this.topic("snappy")

    def member(name: str) -> Member:
        return Member(this, topic, group, f"group.instance.id={name}", "session.timeout.ms=30000")

    def assigned(one: Member) -> str:
        """What the last assignment was."""
        lines = [line for line in one.assignments().splitlines() if "assigned:" in line]
        return lines[-1].partition("assigned:")[2] if lines else ""

    def rebalances(one: Member) -> list[str]:
        return [line for line in one.assignments().splitlines() if "rebalanced" in line]

    members = [member("one"), member("two")]
    deadline = Deadline("two partitions each")
    while [assigned(one).count(topic) for one in members] != [2, 2] and deadline.open():
        time.sleep(0.05)
    before, told = assigned(members[1]), rebalances(members[0])
    members[1].stop()
    members[1] = member("two")
    deadline = Deadline("the member's partitions")
    while assigned(members[1]).count(topic) < 2 and deadline.open():
        time.sleep(0.05)
    time.sleep(4)  # a rebalance would have reached the other member by its heartbeat, one in 3 s
    check(assigned(members[1]) == before, f"it had {before}, and has {assigned(members[1])}")
    check(rebalances(members[0]) == told, f"the other member saw a rebalance: {rebalances(members[0])}")
    for one in members:
        one.stop()


@scenario("commit, be killed, resume")
def killed(this: Run) -> None:
    topic, group = this.topic("lz4"), this.topic("killed")
    victim = Member(this, topic, group)
    deadline = Deadline("the first consumer's records")
    while len(victim.positions()) < KILLED_AFTER and deadline.open():
        time.sleep(0.05)
    time.sleep(AUTO_COMMIT_INTERVAL_S + 0.5)
    victim.stop(signal.SIGKILL)
    seen = victim.positions()
    second = Member(this, topic, group)
    lines = b"".join(key(number) + b":" + b"late\n" for number in range(100))
    kcat(this, "-P", "-t", topic, "-K", ":", stdin=lines)
    deadline = Deadline("the records that came later")
    while len(seen | second.positions()) < RECORDS + 100 and deadline.open():
        time.sleep(0.05)
    check(len(second.positions()) < RECORDS, "the second consumer did not resume from the commit")
    second.stop()


@scenario("list and describe groups")
def groups(this: Run) -> None:
    raise Skipped("kcat has no command for it")


@scenario("reset offsets")
def reset(this: Run) -> None:
    raise Skipped("kcat has no command for it")


@scenario("offsets by time")
def by_time(this: Run) -> None:
    found = json.loads(kcat(this, "-Q", "-J", "-t", f"{this.topic('none')}:0:1"))
    check(found[this.topic("none")]["0"]["offset"] == 0, f"{found} is not the beginning")
    future = json.loads(kcat(this, "-Q", "-J", "-t", f"{this.topic('none')}:0:{int(time.time() * 1000) + 3_600_000}"))
    check(future[this.topic("none")]["0"]["offset"] < 0, f"{future} is not the end")


@scenario("seek, pause, resume")
def seek(this: Run) -> None:
    """From an offset, and from the end: kcat has no pause."""
    topic = this.topic("none")
    first = kcat(this, "-C", "-t", topic, "-p", "0", "-o", "5", "-c", "20", "-e", "-q", "-u", "-f", "%o\n").split()
    check(first == [str(number) for number in range(5, 25)], f"from 5 on come {first}")
    last = kcat(this, "-C", "-t", topic, "-p", "0", "-o", "-3", "-e", "-q", "-u", "-f", "%o\n").split()
    end = len(read_all(this, topic, "-p", "0", "-f", "%o\n"))
    check(last == [str(number) for number in range(end - 3, end)], f"the last three before {end} are {last}")
    raise Skipped("kcat has no pause; that it reads from an offset, and from near the end, was seen")


@scenario("transactions")
def transactions(this: Run) -> None:
    """kcat makes a run a transaction: it commits at the end of its input, and aborts where it is ended by a signal."""
    topic = this.topic("transactions")
    transactional = settings(transactional_id=this.topic("transactional"))
    values = {what: [f"{what}-{number}-{'x' * 100}" for number in range(TRANSACTION_RECORDS)] for what in ("committed", "aborted", "again")}
    make(this, topic)

    def lines(what: str) -> bytes:
        return "".join(f"{value}\n" for value in values[what]).encode()

    kcat(this, "-P", "-t", topic, "-p", "0", *transactional, stdin=lines("committed"))
    aborted = subprocess.Popen(["kcat", "-b", this.bootstrap, "-P", "-t", topic, "-p", "0", *transactional], stdin=subprocess.PIPE)
    assert aborted.stdin is not None
    aborted.stdin.write(lines("aborted"))
    aborted.stdin.flush()
    deadline = Deadline("the records of the open transaction")  # most of them: what is left of kcat's last block of input waits for more
    everything = settings(isolation_level="read_uncommitted")
    while len(read_all(this, topic, "-p", "0", *everything)) < 1.5 * TRANSACTION_RECORDS and deadline.open():
        time.sleep(0.1)
    aborted.send_signal(signal.SIGTERM)
    with contextlib.suppress(OSError):
        aborted.stdin.close()
    aborted.wait(DEADLINE_S)
    kcat(this, "-P", "-t", topic, "-p", "0", *transactional, stdin=lines("again"))
    seen = read_all(this, topic, "-p", "0", *settings(isolation_level="read_committed"))
    check(seen == values["committed"] + values["again"], f"{len(seen)} records are seen read_committed")
    seen = read_all(this, topic, "-p", "0", *everything)
    aborted_count = len(seen) - 2 * TRANSACTION_RECORDS
    check(aborted_count >= TRANSACTION_RECORDS // 2, f"{len(seen)} records are seen read_uncommitted")
    check(
        seen == values["committed"] + values["aborted"][:aborted_count] + values["again"], "what is seen read_uncommitted is out of order"
    )


@scenario("consume, transform, produce")
def transform(this: Run) -> None:
    raise Skipped("kcat cannot send a group's offsets with a transaction")


@scenario("consumer group of the new protocol")
def new_protocol(this: Run) -> None:
    said = subprocess.run(["kcat", "-X", "list"], capture_output=True, text=True, check=False).stdout
    if "group.protocol " not in said:
        raise Skipped("the librdkafka of this kcat has only the classic group protocol")
    topic, group = this.topic("lz4"), this.topic("new")
    first = Member(this, topic, group, "group.protocol=consumer")
    second = Member(this, topic, group, "group.protocol=consumer")
    deadline = Deadline("all records")
    while len(first.positions() | second.positions()) < RECORDS and deadline.open():
        time.sleep(0.05)
    deadline = Deadline("partitions for both")
    while not all(f"{topic} [" in one.assignments() for one in (first, second)) and deadline.open():
        time.sleep(0.05)
    first.stop()
    second.stop()


@scenario("share group")
def share_group(this: Run) -> None:
    raise Skipped("kcat has no share consumer")


@scenario("restart the broker")
def restart(this: Run) -> None:
    """A kcat that produces, and one that consumes in a group, live on through the restart."""
    topic = this.topic("restart")
    lines = [value(number) + b"\n" for number in range(RESTART_RECORDS)]
    make(this, topic)
    patient = settings(enable_idempotence=True, reconnect_backoff_max_ms=500)
    producer = subprocess.Popen(["kcat", "-E", "-b", this.bootstrap, "-P", "-t", topic, "-p", "0", *patient], stdin=subprocess.PIPE)
    assert producer.stdin is not None
    producer.stdin.writelines(lines[:RESTART_AFTER])
    producer.stdin.flush()
    deadline = Deadline("what was sent before the restart")
    while len(read_all(this, topic, "-p", "0")) < RESTART_AFTER - 50 and deadline.open():
        time.sleep(0.1)  # kcat reads its input in blocks: what is left of the last one waits for more
    member = Member(this, topic, this.topic("restart"), "reconnect.backoff.max.ms=500")
    deadline = Deadline("the member's records")
    while len(member.positions()) < RESTART_AFTER - 50 and deadline.open():
        time.sleep(0.05)
    producer.stdin.writelines(lines[RESTART_AFTER : RESTART_RECORDS // 2])
    producer.stdin.flush()
    this.restart_broker()
    producer.stdin.writelines(lines[RESTART_RECORDS // 2 :])
    producer.stdin.close()
    check(producer.wait(DEADLINE_S) == 0, "the producer did not end well")
    found = read_all(this, topic, "-p", "0", "-f", "%o %s\n")
    check(found == [f"{number} {value(number).decode()}" for number in range(RESTART_RECORDS)], f"{len(found)} records, or not in order")
    deadline = Deadline("the member's other records")
    while len(member.positions()) < RESTART_RECORDS and deadline.open():
        time.sleep(0.05)
    member.stop()


@scenario("sign in")
def sign_in(this: Run) -> None:
    version = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=False).stdout
    old = "librdkafka 2.0." in version or "librdkafka 1." in version
    for way in this.ways_to_sign_in(["PLAIN"]) if old else this.ways_to_sign_in():  # the old ones' SCRAM is none that Kafka 4.3 takes
        sign_in_by(this, way)


def sign_in_by(this: Run, way: SignIn) -> None:
    def secure(password: str) -> list[str]:
        sasl = settings(sasl_mechanism=way.mechanism, sasl_username=way.user, sasl_password=password) if way.mechanism else []
        tls = settings(ssl_ca_location=way.authority) if "SSL" in way.protocol else []
        return [*settings(security_protocol=way.protocol), *sasl, *tls]

    topic, text = this.topic("signed-in"), f"{way.protocol} {way.mechanism}"
    sent = attempt(way.bootstrap, "-P", "-t", topic, "-p", "0", *secure(way.password), stdin=text.encode())
    check(sent.returncode == 0, f"{text}: {sent.stderr.decode()}")
    last = ["-C", "-t", topic, "-p", "0", "-o", "-1", "-e", "-q", "-u"]
    read = attempt(way.bootstrap, *last, *secure(way.password))
    check(read.stdout.decode() == f"{text}\n", f"{read.stdout!r} was read, {read.stderr.decode()}")
    if way.mechanism:
        refused = attempt(way.bootstrap, "-L", "-m", "5", *secure("a wrong password"))
        check(refused.returncode != 0 and b"uthentication" in refused.stderr, f"a wrong password: {refused.stderr.decode()}")


@scenario("delete")
def delete(this: Run) -> None:
    raise Skipped("kcat has no command for it")


if __name__ == "__main__":
    run()
