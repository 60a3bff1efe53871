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
    RECORDS,
    Deadline,
    Run,
    Skipped,
    check,
    check_all_there,
    key,
    run,
    scenario,
    value,
)

AUTO_COMMIT_INTERVAL_S = 5
"""librdkafka's default; kcat has no way to set it for a group's consumer, nor to say when a commit was made."""


def kcat(this: Run, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["kcat", "-b", this.bootstrap, *arguments], input=stdin, capture_output=True, timeout=DEADLINE_S, check=False)
    check(done.returncode == 0, f"kcat {arguments} said {done.stderr.decode()}")
    return done.stdout.decode()


@scenario("create topic")
def create_topic(this: Run) -> None:
    """kcat makes topics by asking for them: auto.create.topics.enable."""
    for name in COMPRESSIONS:
        kcat(this, "-P", "-t", this.topic(name), "-p", "0", stdin=b"")
        kcat(this, "-L", "-t", this.topic(name))
    deadline = Deadline("the topics")
    wanted = {this.topic(name) for name in COMPRESSIONS}
    while deadline.open():
        listed = json.loads(kcat(this, "-L", "-J"))
        if wanted <= {topic["topic"] for topic in listed["topics"]}:
            return
        time.sleep(0.1)


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
        options = [part for setting in ("session.timeout.ms=6000", "auto.offset.reset=earliest", *settings) for part in ("-X", setting)]
        command = ["kcat", "-b", this.bootstrap, "-u", *options, "-f", "%p %o\n", "-G", group, topic]
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


@scenario("consume in a group of two with a rebalance")
def group_of_two(this: Run) -> None:
    topic, group = this.topic("gzip"), this.topic("two")
    first = Member(this, topic, group)
    deadline = Deadline("the first member's records")
    while len(first.positions()) < 1000 and deadline.open():
        time.sleep(0.05)
    second = Member(this, topic, group)
    deadline = Deadline("the second member")
    while "assigned" not in second.assignments() and deadline.open():
        time.sleep(0.05)
    deadline = Deadline("all records")
    while len(first.positions() | second.positions()) < RECORDS and deadline.open():
        time.sleep(0.05)
    first.stop()
    second.stop()


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


@scenario("delete")
def delete(this: Run) -> None:
    raise Skipped("kcat has no command for it")


if __name__ == "__main__":
    run()
