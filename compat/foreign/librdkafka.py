"""librdkafka's own C tests, from the npm package that carries its whole source.

Its runner takes the tests that have a number in their names; each number runs in a process of its own, so that one that aborts ends no other.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from compat.foreign.outcome import CACHE, FAILED, PASSED, SKIPPED, Missing, Outcome, Suite, fetched
from compat.oracle import kafka as oracle

PACKAGE = "@confluentinc/kafka-javascript@1.10.1"
AT_ONCE = 3
NUMBER_TIMEOUT_S = 240
TRIES = 2
"""Some tests lose a race now and then, on every broker: consumers that start at the end of a new topic, for instance."""
DEBIAN_PACKAGES = ["libssl-dev", "zlib1g-dev", "libzstd-dev", "libcurl4-openssl-dev"]
TOOLS = {"kafka-topics": "TopicCommand", "kafka-acls": "AclCommand", "kafka-configs": "ConfigCommand"}

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ROW = re.compile(r"\|\s*(\d{4}_\w+)\s*\|\s*(PASSED|FAILED|SKIPPED)\s*\|\s*([0-9.]+)s")
_BROKEN = re.compile(r'### Test "(\d{4}_\w+)(?: \([^"]*\))?" failed at (.*)')


def prepare() -> None:
    """The source, and the runner built from it."""
    for tool, what in (("npm", "npm"), ("gcc", "gcc"), ("g++", "g++"), ("make", "make")):
        if shutil.which(tool) is None:
            raise Missing(f"{what} is not installed")
    if _runner().exists():
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "-qq", *DEBIAN_PACKAGES], check=False, stdout=sys.stderr)
    source = _source()
    for command, folder in (
        (["./configure"], source),
        (["make", f"-j{os.cpu_count()}", "libs"], source),
        (["make", f"-j{os.cpu_count()}", "test-runner"], source / "tests"),
    ):
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"`{' '.join(command)}` fails: {(done.stderr or done.stdout)[-500:]}")


def run(bootstrap: str, words: list[str], tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Every test that needs a broker."""
    numbers = [number for number in _numbers() if not words or any(word in number for word in words)]
    outcomes: list[Outcome] = []
    children = _Children()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for found in pool.map(lambda number: _tried(number, bootstrap, children), numbers):
                for outcome in found:
                    tell(outcome)
                outcomes += found
        except BaseException:  # whoever interrupts does not wait for the tests that are left
            pool.shutdown(wait=False, cancel_futures=True)
            children.end()
            raise
    return outcomes


class _Children:
    """The processes that run, so that all of them can be ended."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def run(self, command: list[pathlib.Path | str], environment: dict[str, str]) -> tuple[bytes, int]:
        """What it said, and its exit code. Raises TimeoutExpired, with what it had said."""
        with subprocess.Popen(command, cwd=_runner().parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self._running.add(process)
            try:
                if self._over:
                    process.kill()
                out, errors = process.communicate(timeout=NUMBER_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, errors = process.communicate()
                raise subprocess.TimeoutExpired(command, NUMBER_TIMEOUT_S, out, errors) from None
            finally:
                self._running.discard(process)
        return out + errors, process.returncode

    def end(self) -> None:
        """All of them, and those that would still begin."""
        self._over = True
        for process in list(self._running):
            process.kill()


def _source() -> pathlib.Path:
    return fetched(["npm", "pack", "--silent", PACKAGE], CACHE / "librdkafka", ".tgz") / "deps" / "librdkafka"


def _runner() -> pathlib.Path:
    return CACHE / "librdkafka" / "package" / "deps" / "librdkafka" / "tests" / "test-runner"


def _numbers() -> list[str]:
    """Of all tests, those too that need no broker: the runner leaves them out by itself."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([_runner(), "-r"], cwd=folder, env=_environment("none:1", folder, "none"), check=False, capture_output=True)
        (report,) = pathlib.Path(folder).glob("test_report_*.json")
        names = json.loads(report.read_text())["tests"]
    return sorted({name[:4] for name in names if name[:4].isdigit() and name < "1000"})


def _tried(number: str, bootstrap: str, children: _Children) -> list[Outcome]:
    """What became of the tests with that number: of those that failed, at the second try."""
    found = {outcome.test: outcome for outcome in _once(number, bootstrap, children)}
    for attempt in range(2, TRIES + 1):
        if all(outcome.status != FAILED for outcome in found.values()):
            break
        for again in _once(number, bootstrap, children):
            if found.get(again.test, again).status == FAILED:
                again.tries = attempt
                found[again.test] = again
    return list(found.values())


def _once(number: str, bootstrap: str, children: _Children) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        over, exit_code = "", 0
        try:
            said, exit_code = children.run([_runner(), "-p1", "-L", "-K", "-Q"], _environment(bootstrap, folder, number))
        except subprocess.TimeoutExpired as expired:
            said = (expired.stdout or b"") + (expired.stderr or b"")
            over = f"not done after {NUMBER_TIMEOUT_S} s"
    lines = _COLOUR.sub("", said.decode(errors="replace"))
    rows = {name: (status.lower(), float(seconds)) for name, status, seconds in _ROW.findall(lines)}
    broken = dict(_BROKEN.findall(lines))
    if over:
        return [Outcome(f"{number}_*", FAILED, time.monotonic() - started, over)]
    outcomes = [Outcome(name, status, seconds, _why(name, status, broken, lines)) for name, (status, seconds) in rows.items()]
    named = {outcome.test for outcome in outcomes}
    outcomes += [Outcome(name, FAILED, 0, _why(name, FAILED, broken, lines)) for name in broken if name not in named]
    if exit_code < 0 and not any(outcome.status == FAILED for outcome in outcomes):
        outcomes.append(Outcome(f"{number}_*", FAILED, 0, f"ended by signal {-exit_code}: {lines[-300:]}"))
    return outcomes


def _why(name: str, status: str, broken: dict[str, str], lines: str) -> str:
    if status == PASSED:
        return ""
    if status == SKIPPED:
        said = re.search(rf"\[{re.escape(name[:28])}[^\]]*\] (?:WARN: )?SKIP\w*:? *(.*)", lines)
        return said[1][:200] if said else ""
    place = broken.get(name, "")
    reason = lines[lines.find(place) + len(place) :].strip().splitlines() if place else []
    return f"{place.partition(' at ')[0]}: {reason[0] if reason else ''}"[:300]


def _environment(bootstrap: str, folder: str, number: str) -> dict[str, str]:
    """The runner reads its broker from a file; topics have names of their own."""
    conf = pathlib.Path(folder) / "test.conf"
    conf.write_text(f"metadata.broker.list={bootstrap}\ntest.topic.random=true\n")
    source = _runner().parent.parent
    libraries = f"{source / 'src'}:{source / 'src-cpp'}"
    return os.environ | {
        "LD_LIBRARY_PATH": libraries,
        "RDKAFKA_TEST_CONF": str(conf),
        "TEST_KAFKA_VERSION": "4.3.0",
        "TESTS": number,
        "BROKERS": bootstrap,
        "CI": "",
        **_kafka_path(),
    }


def _kafka_path() -> dict[str, str]:
    """Where the tests find Kafka's command-line tools, if there is a Kafka: some do with them what librdkafka has no call for."""
    if oracle.missing():
        return {}
    folder = CACHE / "kafka-tools"
    if not folder.exists():
        oracle.install()
        (folder / "bin").mkdir(parents=True)
        for name, tool in TOOLS.items():
            script = folder / "bin" / f"{name}.sh"
            script.write_text(f'#!/bin/sh\nexec {shlex.join(oracle.tool(tool))} "$@"\n')
            script.chmod(0o755)
    return {"KAFKA_PATH": str(folder)}


SUITE = Suite("librdkafka", prepare, run)
