"""The brokers that the conformance suite needs of one system, as few as possible: plain, with settings, three of them, secure.

A check says what it needs in words (`three brokers`, `group.max.size=3`); checks whose words go together share one start.
"""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [path for path in (str(HERE.parent),) if path not in sys.path]

from compat.oracle import kafka as oracle
from pykbroker.compat.check import Check
from pykbroker.compat.runner import Result, Status, run_together
from pykbroker.compat.security import PLAINTEXT, Security, read_command_config
from pykbroker.compat.switch import RESTARTS, Switch
from pykbroker.compat.target import Target

THREE_BROKERS = "three brokers"
NEW_CLUSTER = "a new cluster"
"""Nobody has used it yet: a check that needs one has it for itself."""
SECURE = frozenset({"an authorizer", "a SASL listener", "a PLAIN login", "a client certificate", "delegation tokens"})
FEATURE = "feature "
"""`feature transaction.version=1`: the cluster is made with that level."""

GENTLE = re.compile(r"\.min\.|\.(interval|backoff)\.ms$|^offsets\.retention\.minutes$|^broker\.rack$|^replica\.selector\.class$")
"""Settings that only allow more, make the broker look at things more often, or that nobody notices who does not ask for them; over others, checks would
stumble.
"""
SEVERING = frozenset({"connections.max.idle.ms"})
"""Settings by which whoever waits in silence loses the connection."""

SOON = {"log.initial.task.delay.ms": "500"}
"""Kafka looks at its logs half a minute after it started, which nobody wants to wait for."""

SOON_MISSED = {"broker.session.timeout.ms": "4000", "broker.heartbeat.interval.ms": "500"}
"""A broker of Kafka's that is killed is missed, and may come back, when its session is over, after nine seconds else."""

START_TIMEOUT_S = 30
IT_IS_UP = b"bootstrap.servers="
"""What our broker says then. That somebody listens at its port shows nothing: it may be somebody else."""

_NUMBERS = itertools.count(1)
LANES = 2
"""So many starts with something special at a time: most of a check's time is waiting."""
FIRST_PORT, LAST_PORT = 20_000, 31_900
"""Where the kernel gives no ports to clients."""


@dataclass
class Fleet:
    """How brokers are started once, and the checks that are run on them."""

    nodes: int = 1
    secure: bool = False
    new: bool = False
    restarts: bool = False
    features: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def offers(self) -> frozenset[str]:
        """What its brokers have of what checks may need."""
        words = {f"{name}={value}" for name, value in self.settings.items()}
        words |= {f"{FEATURE}{name}={level}" for name, level in self.features.items()}
        words |= {word for word, has in ((THREE_BROKERS, self.nodes == 3), (NEW_CLUSTER, self.new), (RESTARTS, self.restarts)) if has}
        return frozenset(words | (SECURE if self.secure else set()))

    @property
    def is_rough(self) -> bool:
        """Whether its checks are better run one at a time: some of its settings are limits that others would use up."""
        return _temper(self.settings) == "rough"

    def __str__(self) -> str:
        shape = ((THREE_BROKERS, self.nodes == 3), ("secure", self.secure), (NEW_CLUSTER, self.new), (RESTARTS, self.restarts))
        parts = [word for word, has in shape if has]
        parts += [f"{name}={value}" for name, value in (self.features | self.settings).items()]
        return ", ".join(parts) or "plain"

    def takes(self, other: "Fleet") -> bool:
        """Whether what the other needs can be started together with what this one has."""
        if self.new or other.new or (self.nodes, self.secure, self.features) != (other.nodes, other.secure, other.features):
            return False
        if any(self.settings.get(name, value) != value for name, value in other.settings.items()):
            return False
        return _temper(self.settings) == _temper(other.settings)


def fleets(checks: Sequence[Check]) -> list[Fleet]:
    """As few as possible such that each check is on one that has what it needs; the plain one first."""
    found: list[Fleet] = []
    for check in checks:
        wanted = _fleet_for(check)
        if wanted is None:
            continue
        fitting = next((one for one in found if one.takes(wanted)), None)
        if fitting is None:
            found.append(wanted)
        else:
            fitting.settings |= wanted.settings
            fitting.restarts |= wanted.restarts
            fitting.checks.append(check)
    return sorted(found, key=lambda one: (one.nodes, one.secure, len(one.settings)))


def _temper(settings: Iterable[str]) -> str:
    if any(name in SEVERING for name in settings):
        return "severing"
    return "gentle" if all(GENTLE.search(name) for name in settings) else "rough"


def _fleet_for(check: Check) -> Fleet | None:
    """What that check alone needs; None where nobody knows how to start such a broker."""
    wanted = Fleet(checks=[check])
    for word in sorted(check.wants):
        if word == THREE_BROKERS:
            wanted.nodes = 3
        elif word == NEW_CLUSTER:
            wanted.new = True
        elif word == RESTARTS:
            wanted.restarts = True
        elif word in SECURE:
            wanted.secure = True
        elif "=" in word:
            name, _, value = word.removeprefix(FEATURE).partition("=")
            (wanted.features if word.startswith(FEATURE) else wanted.settings)[name] = value
        else:
            return None
    return wanted


class Missing(Exception):  # noqa: N818 - what the system is
    """The system cannot run on this machine; the message says why."""


class Address(NamedTuple):
    """Where the brokers are, and how one comes to them."""

    host: str
    port: int
    security: Security = PLAINTEXT
    switch: Switch | None = None


class ApacheKafka:
    """Kafka itself, by the oracle."""

    name = "Apache Kafka"

    def __init__(self) -> None:
        self._cluster = f"fleet-{os.getpid()}-{next(_NUMBERS)}"
        self._is_up = False

    def start(self, fleet: Fleet) -> Address:
        """Raises Missing."""
        if problem := oracle.missing():
            raise Missing(problem)
        each = len(oracle.SECURE_LISTENERS) if fleet.secure else 1
        port = free_ports(fleet.nodes * (each + 1))
        settings = SOON | (SOON_MISSED if fleet.restarts else {}) | fleet.settings
        cluster = oracle.Cluster(port, fleet.nodes, fleet.secure, settings, fleet.features, short_lived=True)
        oracle.start_cluster(self._cluster, cluster)
        self._is_up = True
        switch = KafkasNodes(self._cluster, cluster)
        if not fleet.secure:
            return Address("127.0.0.1", port, switch=switch)
        login = oracle.folder_of(self._cluster) / "admin-sasl_ssl.properties"
        return Address("127.0.0.1", port + oracle.SECURE_LISTENERS.index("SASL_SSL"), read_command_config(str(login)), switch)

    def stop(self) -> None:
        oracle.stop(self._cluster, signal.SIGKILL)
        if self._is_up:  # else its log says why it is not
            shutil.rmtree(oracle.folder_of(self._cluster), ignore_errors=True)
            self._is_up = False


class KafkasNodes:
    """Stops and starts the oracle's nodes."""

    def __init__(self, name: str, cluster: oracle.Cluster) -> None:
        self._name = name
        self._cluster = cluster

    def stop(self, node_id: int) -> None:
        oracle.stop_node(self._name, node_id)

    def kill(self, node_id: int) -> None:
        oracle.stop_node(self._name, node_id, signal.SIGKILL)

    def start(self, node_id: int) -> None:
        oracle.start_node(self._name, node_id, self._cluster.port_of(node_id), short_lived=True)


class Pykbroker:
    """Ours, in a process of its own: in memory, or on disk where it is to be restarted."""

    name = "pykbroker"

    def __init__(self) -> None:
        self._process: OurProcess | None = None

    def start(self, fleet: Fleet) -> Address:
        """Raises Missing where it cannot be what is wanted, or does not know one of the settings."""
        if fleet.nodes > 1 or fleet.secure or fleet.features:
            raise Missing(f"pykbroker cannot be started so: {fleet}")
        port = free_ports(1)
        overrides = [word for name, value in fleet.settings.items() for word in ("--override", f"{name}={value}")]
        self._process = OurProcess(port, overrides, on_disk=fleet.restarts)
        self._process.start(0)
        return Address("127.0.0.1", port, switch=self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.clean_up()
            self._process = None


class OurProcess:
    """One broker of ours, which can be stopped and started; it is the only one, whatever its id."""

    def __init__(self, port: int, overrides: Sequence[str], *, on_disk: bool) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="fleet-"))
        self._command = [sys.executable, "-m", "pykbroker", "serve", "--listen", f"127.0.0.1:{port}", *overrides]
        self._command += ["--data-dir", str(self._folder / "data")] if on_disk else []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, _node_id: int) -> None:
        """Raises Missing where it does not start, as with a setting that it does not know."""
        file = self._folder / "log"
        with file.open("ab") as log:
            told_before = log.tell()
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while IT_IS_UP not in file.read_bytes()[told_before:]:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"pykbroker did not start: {file.read_text(errors='replace')[-500:]}")
            time.sleep(0.02)

    def stop(self, _node_id: int) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_TIMEOUT_S)

    def kill(self, _node_id: int) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def clean_up(self) -> None:
        """Leave nothing of it."""
        self.kill(0)
        shutil.rmtree(self._folder, ignore_errors=True)


System = ApacheKafka | Pykbroker


def judged(system: System, checks: Sequence[Check], *, jobs: int, say: Callable[[str], None], nodes: int = 1) -> list[Result]:
    """One result for every check: of a plain broker (one of so many), or of the first start that has what the check needs. Raises Missing."""
    plain = Fleet(nodes, checks=list(checks))
    results = {result.check: result for result in _judged_on(system, plain, jobs, say)}
    skipped = [check for check, result in results.items() if result.status is Status.SKIPPED]
    started: list[System] = []

    def try_fleet(fleet: Fleet) -> list[Result]:
        own = type(system)()
        started.append(own)
        try:
            return _judged_on(own, fleet, jobs, say)
        except Missing as missing:
            say(f"{system.name}, {fleet}: {len(fleet.checks)} checks are skipped. {missing}")
            return []

    with ThreadPoolExecutor(LANES) as lanes:
        longest_first = sorted(fleets(skipped), key=lambda fleet: not fleet.restarts)
        done = [lanes.submit(try_fleet, fleet) for fleet in longest_first]
        try:
            for one in done:
                results |= {result.check: result for result in one.result()}
        except BaseException:
            lanes.shutdown(wait=False, cancel_futures=True)
            for one_system in started:
                one_system.stop()  # whoever is put to checks fails the rest of them at once
            raise
    return list(results.values())


def _judged_on(system: System, fleet: Fleet, jobs: int, say: Callable[[str], None]) -> list[Result]:
    started = time.monotonic()
    with _running(system, fleet) as address:
        seconds_to_start = time.monotonic() - started
        hands = 1 if fleet.is_rough else jobs
        results = run_together(fleet.checks, lambda: Target(*address), jobs=hands, offered=fleet.offers)
        if not fleet.new:  # it is new only once
            results = with_second_tries(
                results, lambda check: run_together([check], lambda: Target(*address), jobs=1, offered=fleet.offers), say
            )
    done = sum(result.status in {Status.PASSED, Status.FAILED} for result in results)
    failed = sum(result.status is Status.FAILED for result in results)
    seconds = time.monotonic() - started
    say(f"{system.name}, {fleet}: {done} checks, {failed} failed, in {seconds:.0f} s ({seconds_to_start:.0f} s to start)")
    return results


MOST_SECOND_TRIES = 12
"""More failures than these are no accident of a busy machine."""


def with_second_tries(results: Sequence[Result], again: Callable[[Check], Sequence[Result]], say: Callable[[str], None]) -> list[Result]:
    """What failed among others is tried once more by itself: on a busy machine a broker may be late. It is told where that helps."""
    failed = [result for result in results if result.status is Status.FAILED]
    if len(failed) > MOST_SECOND_TRIES:
        return list(results)
    better = {}
    for result in failed:
        (second,) = again(result.check)
        better[result.check] = second
        if second.status is Status.PASSED:
            say(f"  {result.check.id} {result.check.name} passes at the second try; at the first: {result.detail[:300]}")
    return [better.get(result.check, result) for result in results]


@contextlib.contextmanager
def _running(system: System, fleet: Fleet) -> Iterator[Address]:
    try:
        yield system.start(fleet)
    finally:
        system.stop()


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    first = FIRST_PORT + (time.monotonic_ns() // 1000) % (LAST_PORT - FIRST_PORT)
    while True:
        taken = next((port for port in range(first, first + count) if not _is_free(port)), None)
        if taken is None:
            return first
        first = taken + 1 if taken + count < LAST_PORT else FIRST_PORT


def _is_free(port: int) -> bool:
    with socket.socket() as trial, contextlib.suppress(OSError):
        trial.bind(("127.0.0.1", port))
        return True
    return False
