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
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from clients import CLIENTS, Client, Ready
from page import FAILED, body, counted, page
from targets import Kafka, Missing, OurBroker, Target, running

from compat.ending import run_to_its_end

CLIENT_TIMEOUT_S = 1200
OUR_PORT_AFTER_KAFKAS = 50


@dataclass
class Results:
    """Client with its version -> target -> its rows; and who could not run, with the reason. `file` keeps both, for the runs of other clients."""

    file: pathlib.Path | None = None
    rows: dict[str, dict[str, list[dict]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    ran: list[list[dict]] = field(default_factory=list)
    """The rows of this run."""

    def __post_init__(self) -> None:
        if self.file is not None and self.file.exists():
            kept = json.loads(self.file.read_text())
            self.rows, self.skipped = kept["rows"], kept["skipped"]

    def add(self, client: str, target: str, rows: list[dict]) -> None:
        """What a client did, in place of what it did earlier."""
        self.ran.append(rows)
        self.rows.setdefault(client, {})[target] = rows
        self.skipped.pop(target, None)
        self._keep()

    def skip(self, name: str, reason: str) -> None:
        print(f"SKIPPED: {name}: {reason}", file=sys.stderr, flush=True)
        self.skipped[name] = reason
        self._keep()

    def _keep(self) -> None:
        if self.file is not None:
            self.file.write_text(json.dumps({"rows": self.rows, "skipped": self.skipped}, indent=1))

    @property
    def failed(self) -> bool:
        return any(row["status"] == FAILED for rows in self.ran for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="clients whose name contains one of these words, comma separated")
    parser.add_argument("--scenarios", default="", help="scenarios whose name contains one of these words, comma separated")
    parser.add_argument("--target", default="", help="targets whose name contains this word")
    parser.add_argument("--newest", action="store_true", help="each client's newest release, not the pinned one")
    parser.add_argument("--port", type=int, default=23100, help="where the brokers are")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="also write the page to this file")
    kept = "keep the rows in this file; where it is there, the page also has what it says of the other clients"
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE", help=kept)
    arguments = parser.parse_args()
    words = [word.lower() for word in arguments.only.split(",") if word]
    clients = [one for one in CLIENTS if not words or any(word in one.name.lower() for word in words)]
    targets = [
        one
        for one in (Kafka(arguments.port), OurBroker(arguments.port + OUR_PORT_AFTER_KAFKAS))
        if arguments.target.lower() in one.name.lower()
    ]
    results = Results(arguments.results)
    ready = make_ready(clients, arguments.newest, results)
    for target in targets if ready else ():
        try:
            try_on(target, ready, arguments.scenarios, results)
        except Missing as reason:
            results.skip(target.name, str(reason))
    print(body(results.rows, results.skipped))
    if not results.ran:
        raise SystemExit("no client ran: this shows nothing")
    if arguments.markdown is not None:
        arguments.markdown.write_text(page(results.rows, results.skipped))
    return 1 if results.failed else 0


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
            results.skipped.pop(client.name, None)
    return ready


def try_on(target: Target, clients: dict[str, Ready], scenarios: str, results: Results) -> None:
    """Each client's scenarios, one client after the other. Raises Missing where the target cannot run here."""
    with running(target) as (bootstrap, told):
        for name, client in clients.items():
            started = time.monotonic()
            rows = run_client([*client.command, "--bootstrap", bootstrap, *(["--scenarios", scenarios] if scenarios else [])], told)
            results.add(name, target.name, rows)
            print(f"{target.name}: {name}: {counted(rows)} in {time.monotonic() - started:.0f} s", flush=True)
            for row in rows:
                if row["status"] == FAILED:
                    print(f"  FAILED: {row['scenario']}: {row['detail']}", flush=True)


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
        rows.append({"scenario": "the whole run", "status": FAILED, "seconds": 0, "detail": detail})
    return rows


if __name__ == "__main__":
    run_to_its_end(main)
