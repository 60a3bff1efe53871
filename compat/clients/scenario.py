"""What every client does, as a list of named scenarios: a script defines them with `@scenario`, `run()` does them in order and reports.

    python compat/clients/confluent_kafka/scenarios.py --bootstrap 127.0.0.1:9092

README.md says what each scenario is, what the environment tells a script, and what a line on stdout looks like.
The exit code is 1 if one failed. The same script must pass on Apache Kafka.
"""

import argparse
import json
import multiprocessing
import os
import socket
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

RECORDS = 10_000
"""How many records each compression produces."""

KEYS = 100
PARTITIONS = 4
KILLED_AFTER = 3_000
"""How many records a consumer commits before it is killed."""

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
DEADLINE_S = 60
"""The longest that a scenario waits for anything."""

WIDE = 1_000
"""The partitions of a wide topic."""

LARGE_BYTES = 5 * 1024 * 1024
LARGE_LIMIT_BYTES = 6 * 1024 * 1024

TRANSACTION_RECORDS = 100
"""How many records each transaction of `transactions` has."""

RESTART_RECORDS, RESTART_AFTER, RESTART_COMMITTED = 5_000, 1_000, 500
"""How many records are sent around a restart, how many are acknowledged before it, and how many a group has committed."""

SHARED = 1_000
"""How many records a share group takes."""

_ALWAYS = ("Produce", "Fetch", "Metadata", "ListOffsets", "CreateTopics")
_GROUP = ("FindCoordinator", "JoinGroup", "SyncGroup", "Heartbeat", "OffsetCommit", "OffsetFetch")
_TRANSACTIONS = ("InitProducerId", "AddPartitionsToTxn", "EndTxn")

NEEDS: dict[str, tuple[str, ...]] = {
    "create topic": ("Metadata", "CreateTopics"),
    "administer a topic": (
        "CreateTopics",
        "DescribeConfigs",
        "AlterConfigs",
        "IncrementalAlterConfigs",
        "CreatePartitions",
        "DeleteTopics",
    ),
    **{f"produce {compression}": _ALWAYS for compression in COMPRESSIONS},
    "idempotent producer": (*_ALWAYS, "InitProducerId"),
    "messages of 5 MiB": _ALWAYS,
    "1,000 partitions": (*_ALWAYS, "DeleteTopics"),
    "consume in a group of two with a rebalance": (*_ALWAYS, *_GROUP),
    "consume in a group of two, cooperatively": (*_ALWAYS, *_GROUP),
    "restart a static member": (*_ALWAYS, *_GROUP),
    "commit, be killed, resume": (*_ALWAYS, *_GROUP),
    "seek, pause, resume": _ALWAYS,
    "list and describe groups": ("ListGroups", "DescribeGroups"),
    "reset offsets": ("OffsetCommit", "OffsetFetch"),
    "offsets by time": _ALWAYS,
    "transactions": (*_ALWAYS, *_TRANSACTIONS),
    "consume, transform, produce": (*_ALWAYS, *_GROUP, *_TRANSACTIONS, "AddOffsetsToTxn", "TxnOffsetCommit"),
    "consumer group of the new protocol": (*_ALWAYS, "ConsumerGroupHeartbeat", "ConsumerGroupDescribe", "group.version"),
    "share group": (*_ALWAYS, "ShareGroupHeartbeat", "ShareFetch", "ShareAcknowledge", "share.version"),
    "restart the broker": (*_ALWAYS, *_GROUP),
    "sign in": ("SaslHandshake", "SaslAuthenticate"),
    "delete": ("DeleteGroups", "DeleteTopics"),
}
"""Each scenario, in the order in which they are done, and what it needs of a broker's ApiVersions: APIs and finalized features."""

NAMES = tuple(NEEDS)
"""The list that all clients share; a client leaves one out only by saying why."""


def not_served(served: Collection[str], needs: dict[str, tuple[str, ...]] = NEEDS) -> str:
    """What a script is told in COMPAT_NOT_SERVED: a line `scenario: what is missing` for each that this broker does not serve."""
    missing = {name: [word for word in words if word not in served] for name, words in needs.items()}
    return "".join(f"{name}: {' '.join(words)}\n" for name, words in missing.items() if words)


@dataclass(frozen=True)
class SignIn:
    """One way to sign in: its listener, and who."""

    protocol: str
    bootstrap: str
    mechanism: str | None
    user: str
    password: str
    authority: str
    """The file of the authority that a client trusts."""


@dataclass
class Run:
    """One run of a script: where the broker is, and names that nobody else uses."""

    bootstrap: str
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def topic(self, name: str) -> str:
        return f"{name}-{self.suffix}"

    def restart_broker(self) -> None:
        """Back when the broker is there again, on the same port and data."""
        with socket.create_connection(_address("COMPAT_CONTROL", "nobody is there to restart the broker"), 2 * DEADLINE_S) as control:
            control.sendall(b"restart\n")
            answer = control.makefile().readline()
        check(answer == "restarted\n", f"the broker was not restarted, but {answer!r}")

    def ways_to_sign_in(self, mechanisms: Sequence[str] = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) -> list[SignIn]:
        """TLS alone, SASL alone by each mechanism, and both together."""
        ways = [("SSL", None), *(("SASL_PLAINTEXT", mechanism) for mechanism in mechanisms), ("SASL_SSL", "PLAIN")]
        who = os.environ.get("COMPAT_USER", ""), os.environ.get("COMPAT_PASSWORD", ""), os.environ.get("COMPAT_CA", "")
        return [SignIn(protocol, _secure_bootstrap(protocol), mechanism, *who) for protocol, mechanism in ways]


def _secure_bootstrap(protocol: str) -> str:
    host, port = _address(f"COMPAT_{protocol}", "the broker has no secure listeners here")
    return f"{host}:{port}"


def _address(variable: str, otherwise: str) -> tuple[str, int]:
    host, _, port = os.environ.get(variable, "").rpartition(":")
    if not host:
        raise Skipped(f"{otherwise} ({variable} is not set)")
    return host, int(port)


class Skipped(Exception):  # noqa: N818
    """This client cannot do it; the message says why."""


_scenarios: dict[str, Callable[[Run], None]] = {}


def scenario(name: str) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Register a function under its name."""

    def register(function: Callable[[Run], None]) -> Callable[[Run], None]:
        _scenarios[name] = function
        return function

    return register


def run(names: Sequence[str] = NAMES) -> None:
    """Do every scenario of the script, in the order of `names`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--scenarios", help="only those that have one of these words in their name, and `create topic`; comma separated")
    arguments = parser.parse_args()
    this = Run(arguments.bootstrap)
    missing = dict(line.split(": ", 1) for line in os.environ.get("COMPAT_NOT_SERVED", "").splitlines())
    words = [*arguments.scenarios.split(","), "create topic"] if arguments.scenarios else [""]
    failed = False
    for name in (name for name in names if any(word in name for word in words)):
        started = time.monotonic()
        status, detail = "passed", ""
        try:
            if name in missing:
                status, detail = "not served", missing[name]
            elif name not in _scenarios:
                raise AssertionError("the script has no such scenario")
            else:
                _scenarios[name](this)
        except Skipped as reason:
            status, detail = "skipped", str(reason)
        except Exception:
            status, detail = "failed", traceback.format_exc(limit=-4)
            failed = True
        row = {"scenario": name, "status": status, "seconds": round(time.monotonic() - started, 2), "detail": detail}
        print(json.dumps(row), flush=True)
    sys.exit(1 if failed else 0)


def key(number: int) -> bytes:
    return b"key-%d" % (number % KEYS)


def value(number: int) -> bytes:
    return b"value-%d-" % number + b"x" * 80


def large(number: int) -> bytes:
    """The value of a large message; none is like another."""
    return (b"%07d." % number) * (LARGE_BYTES // 8)


def check(condition: object, message: str) -> None:
    """Like assert, also where assertions are compiled out."""
    if not condition:
        raise AssertionError(message)


def check_all_there(values: list[bytes], times: int = 1) -> None:
    """Every value of `produce` is there, `times` times."""
    check(len(values) == RECORDS * times, f"{len(values)} records instead of {RECORDS * times}")
    check(sorted(set(values)) == sorted(value(number) for number in range(RECORDS)), "some values are not those that were produced")


def kill_when_ready(work: Callable[..., None], *arguments: object) -> None:
    """Run `work` in a process of its own, with an Event behind its arguments; SIGKILL it once it has set the event."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    victim = context.Process(target=work, args=(*arguments, ready), daemon=True)
    victim.start()
    check(ready.wait(DEADLINE_S), "the first consumer did not get that far")
    victim.kill()
    victim.join()


class Deadline:
    """Loops end here: `while deadline.open():`. Raises when time is up."""

    def __init__(self, what: str, seconds: float = DEADLINE_S) -> None:
        self._what = what
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def open(self) -> bool:
        if time.monotonic() > self._end:
            raise TimeoutError(f"{self._what}: not within {self._seconds:.0f} s")
        return True
