"""`make compat-clients`: every stock client that can run here does its scenarios on Apache Kafka and on pykbroker; one table.

    python compat/clients/run.py [--only kcat,aiokafka] [--scenarios transactions] [--target pykbroker] [--newest] [--markdown FILE]

What cannot run here is named, with the reason; nothing is left out silently. Exit code 1 if a scenario failed on any target.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from clients import CLIENTS, Client, Ready
from targets import Kafka, Missing, OurBroker, Target, running

CLIENT_TIMEOUT_S = 1200
OUR_PORT_AFTER_KAFKAS = 50
STATUSES = ("passed", "failed", "skipped", "not served")
PAGE = """# Stock clients, scenario by scenario

Made by `make compat-clients ARGS="--markdown compat/CLIENTS.md"`. [clients/README.md](clients/README.md) says what each scenario does.
`skipped`: the client cannot do it, for the reason at the end. `not served`: the broker's ApiVersions does not announce what it needs.

{summary}

{table}
"""


@dataclass
class Results:
    """Client -> target -> its rows, and who could not run."""

    rows: dict[str, dict[str, list[dict]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, name: str, reason: str) -> None:
        if name not in self.skipped:
            print(f"SKIPPED: {name}: {reason}", file=sys.stderr, flush=True)
        self.skipped[name] = reason

    @property
    def failed(self) -> bool:
        return any(row["status"] == "failed" for by_target in self.rows.values() for rows in by_target.values() for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="clients whose name contains one of these words, comma separated")
    parser.add_argument("--scenarios", default="", help="scenarios whose name contains one of these words, comma separated")
    parser.add_argument("--target", default="", help="targets whose name contains this word")
    parser.add_argument("--newest", action="store_true", help="each client's newest release, not the pinned one")
    parser.add_argument("--port", type=int, default=23100, help="where the brokers are")
    parser.add_argument("--markdown", help="also write the table to this file")
    parser.add_argument(
        "--results", help="keep the rows in this file; where it is there, the table also has what it says of the other clients"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that the brokers end too
    words = [word.lower() for word in arguments.only.split(",") if word]
    clients = [one for one in CLIENTS if not words or any(word in one.name.lower() for word in words)]
    targets = [
        one
        for one in (Kafka(arguments.port), OurBroker(arguments.port + OUR_PORT_AFTER_KAFKAS))
        if arguments.target.lower() in one.name.lower()
    ]
    results = Results(read_rows(arguments.results))
    ready = make_ready(clients, arguments.newest, results)
    for target in targets:
        try:
            for _ in try_on(target, ready, arguments.scenarios, results):
                if arguments.results:
                    pathlib.Path(arguments.results).write_text(json.dumps(results.rows, indent=1))
        except Missing as reason:
            results.skip(target.name, str(reason))
    text = table(results)
    print(text)
    if arguments.markdown:
        pathlib.Path(arguments.markdown).write_text(PAGE.format(summary=summary(results), table=text))
    if not results.rows:
        raise SystemExit("no client ran: this shows nothing")
    sys.exit(1 if results.failed else 0)


def read_rows(file: str | None) -> dict[str, dict[str, list[dict]]]:
    """What earlier runs found."""
    return json.loads(pathlib.Path(file).read_text()) if file and pathlib.Path(file).exists() else {}


def make_ready(clients: list[Client], newest: bool, results: Results) -> dict[str, Ready]:
    """Under its name with its version, how each client that can run here is run."""
    ready = {}
    for client in clients:
        try:
            one = client.prepare(newest)
        except Missing as reason:
            results.skip(client.name, str(reason))
        else:
            ready[f"{client.name} {one.version}"] = one
    return ready


def try_on(target: Target, clients: dict[str, Ready], scenarios: str, results: Results) -> Iterator[None]:
    """Each client's scenarios, one client after the other; yields after each. Raises Missing where the target cannot run here."""
    with running(target) as (bootstrap, told):
        for name, client in clients.items():
            started = time.monotonic()
            rows = run_client([*client.command, "--bootstrap", bootstrap, *(["--scenarios", scenarios] if scenarios else [])], told)
            results.rows.setdefault(name, {})[target.name] = rows
            print(f"{target.name}: {name}: {counted(rows)} in {time.monotonic() - started:.0f} s", flush=True)
            for row in rows:
                if row["status"] == "failed":
                    print(f"  FAILED: {row['scenario']}: {row['detail']}", flush=True)
            yield


def run_client(command: list[str], told: dict[str, str]) -> list[dict]:
    """Its rows; whatever it started ends with it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=out, stderr=errors, stdin=subprocess.DEVNULL, env=os.environ | told, start_new_session=True
        )
        problem = ""
        try:
            process.wait(CLIENT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            problem = f"the client was not done after {CLIENT_TIMEOUT_S} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0)
        errors.seek(0)
        rows = [json.loads(line) for line in out if line.startswith('{"scenario"')]
        said = errors.read()[-1500:]
    if not rows or problem or process.returncode not in (0, 1):
        detail = problem or f"the client ended with {process.returncode}: {said}"
        rows.append({"scenario": "the whole run", "status": "failed", "seconds": 0, "detail": detail})
    return rows


def counted(rows: list[dict]) -> str:
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def targets_of(results: Results) -> list[str]:
    return list(dict.fromkeys(target for by_target in results.rows.values() for target in by_target))


def summary(results: Results) -> str:
    """A line a client."""
    targets = targets_of(results)
    lines = ["| client | " + " | ".join(targets) + " |", "|---" + "|---" * len(targets) + "|"]
    for client, by_target in results.rows.items():
        lines.append(f"| {client} | " + " | ".join(counted(by_target.get(target, [])) or "-" for target in targets) + " |")
    return "\n".join(lines)


def table(results: Results) -> str:
    """Client by scenario, a column a target; below it, why something was skipped, and who could not run."""
    targets = targets_of(results)
    lines = ["| client | scenario | " + " | ".join(targets) + " |", "|---|---" + "|---" * len(targets) + "|"]
    notes = []
    for client, by_target in results.rows.items():
        for scenario in dict.fromkeys(row["scenario"] for rows in by_target.values() for row in rows):
            found = {row["status"]: row for target in targets for row in by_target.get(target, []) if row["scenario"] == scenario}
            cells = [status_of(by_target.get(target, []), scenario) for target in targets]
            lines.append(f"| {client} | {scenario} | " + " | ".join(cells) + " |")
            if "skipped" in found:
                notes.append(f"- {client}, {scenario}: {found['skipped']['detail']}")
    notes += [f"- SKIPPED: {name}: {reason}" for name, reason in results.skipped.items()]
    return "\n".join([*lines, *(["", "Why something was skipped:", "", *notes] if notes else [])])


def status_of(rows: list[dict], scenario: str) -> str:
    return next((row["status"] for row in rows if row["scenario"] == scenario), "-")


if __name__ == "__main__":
    main()
