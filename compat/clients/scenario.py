"""What every client does, as a list of named scenarios: a script defines them with `@scenario`, `run()` does them in order and reports.

    python compat/clients/confluent_kafka/scenarios.py --bootstrap 127.0.0.1:9092

One JSON line a scenario goes to stdout: {"scenario": …, "status": "passed" | "failed" | "skipped", "seconds": …, "detail": …}.
The exit code is 1 if one failed. The same script must pass on Apache Kafka.
"""

import argparse
import json
import multiprocessing
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
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

NAMES = (
    "create topic",
    *(f"produce {compression}" for compression in COMPRESSIONS),
    "consume in a group of two with a rebalance",
    "commit, be killed, resume",
    "list and describe groups",
    "reset offsets",
    "offsets by time",
    "delete",
)
"""The list that all clients share; a client leaves one out only by saying why."""


@dataclass
class Run:
    """One run of a script: where the broker is, and names that nobody else uses."""

    bootstrap: str
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def topic(self, name: str) -> str:
        return f"{name}-{self.suffix}"


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
    this = Run(parser.parse_args().bootstrap)
    failed = False
    for name in names:
        started = time.monotonic()
        status, detail = "passed", ""
        try:
            if name not in _scenarios:
                raise AssertionError("the script has no such scenario")
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
        self._end = time.monotonic() + seconds

    def open(self) -> bool:
        if time.monotonic() > self._end:
            raise TimeoutError(f"{self._what}: not within {DEADLINE_S} s")
        return True
