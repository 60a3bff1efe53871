"""`make compat-clients`: every stock client that can run here does its scenarios on Apache Kafka and on pykbroker; one table.

    python compat/clients/run.py [--only kcat,aiokafka] [--target pykbroker] [--markdown FILE]

What cannot run here is named, with the reason; nothing is left out silently. Exit code 1 if a scenario failed on any target.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "oracle"))

import kafka as oracle  # noqa: E402

CACHE = pathlib.Path(os.environ.get("PYKBROKER_COMPAT_CACHE", "~/.cache/pykbroker-compat")).expanduser()
KAFKA_PORT, OUR_PORT = 23100, 23200
CODECS = ["python-snappy==0.7.3", "lz4==4.4.5", "zstandard==0.25.0", "cramjam==2.11.0", "crc32c==2.9.post0"]


class Missing(Exception):  # noqa: N818
    """This client cannot run here; the message says why."""


def in_venv(name: str, *packages: str) -> list[str]:
    """A Python with just these packages; made once."""
    python = CACHE / name / "bin" / "python"
    stamp = CACHE / name / "packages"
    if not stamp.exists() or stamp.read_text() != " ".join(packages):
        shutil.rmtree(CACHE / name, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", CACHE / name], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=False).returncode:
            raise Missing(f"{packages[0]} cannot be installed")
        stamp.write_text(" ".join(packages))
    return [str(python)]


def kcat() -> list[str]:
    if shutil.which("kcat") is None and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "kcat"], check=False, stdout=subprocess.DEVNULL)
    if shutil.which("kcat") is None:
        raise Missing("kcat is not installed (Debian has it: apt-get install kcat)")
    return [sys.executable]


def java() -> list[str]:
    problem = oracle.missing()
    if problem:
        raise Missing(problem)
    return [sys.executable]


def go(folder: str) -> list[str]:
    """The client's program, built from its pinned modules."""
    if shutil.which("go") is None:
        raise Missing("Go is not installed (https://go.dev/dl, 1.26 or newer)")
    program = CACHE / "go" / folder
    build = ["go", "build", "-C", HERE / folder, "-mod=readonly", "-o", program, "."]
    if subprocess.run(build, check=False, env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}).returncode:
        raise Missing(f"{folder} cannot be built: is its Go older than go.mod wants, or the module proxy out of reach?")
    return [str(program)]


def npm(folder: str) -> list[str]:
    """Node with the client's script, beside just the packages of its lock file."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("Node.js and npm are not installed (https://nodejs.org, 20 or newer)")
    home = CACHE / "node" / folder
    lock = (HERE / folder / "package-lock.json").read_text()
    stamp = home / "installed"
    if not stamp.exists() or stamp.read_text() != lock:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / folder / name, home)
        if subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=home, check=False, stdout=sys.stderr
        ).returncode:
            raise Missing(f"the packages of {folder} cannot be installed")
        stamp.write_text(lock)
    shutil.copy(HERE / "scenario.mjs", home.parent)
    shutil.copy(HERE / folder / "scenarios.mjs", home)
    return ["node", str(home / "scenarios.mjs")]


CLIENTS = {
    "confluent-kafka 2.16.1": ("confluent_kafka", lambda: in_venv("confluent", "confluent-kafka==2.16.1")),
    "kafka-python 3.0.12": ("kafka_python", lambda: in_venv("kafka-python-3", "kafka-python==3.0.12", *CODECS)),
    "kafka-python 2.2.21": ("kafka_python", lambda: in_venv("kafka-python-2", "kafka-python==2.2.21", *CODECS)),
    "aiokafka 0.14.0": ("aiokafka", lambda: in_venv("aiokafka", "aiokafka==0.14.0", *CODECS)),
    "kcat (Debian)": ("kcat", kcat),
    "Java clients 4.3.0": ("java_client", java),
    "Java tools 4.3.0": ("java_tools", java),
    "franz-go 1.22.3": (None, lambda: go("franz_go")),
    "KafkaJS 2.2.4": (None, lambda: npm("kafkajs")),
}


class Kafka:
    """Apache Kafka, one node."""

    name = "Apache Kafka 4.3.0"

    def start(self) -> str:
        problem = oracle.missing()
        if problem:
            raise Missing(problem)
        return oracle.start("compat-clients", KAFKA_PORT)

    def stop(self) -> None:
        oracle.stop("compat-clients")


class OurBroker:
    """pykbroker, on a data directory."""

    name = "pykbroker"

    def start(self) -> str:
        self.folder = tempfile.mkdtemp(prefix="compat-")
        address = f"127.0.0.1:{OUR_PORT}"
        self.log = open(f"{self.folder}/log", "w")  # noqa: SIM115 - closed in stop
        command = [sys.executable, "-m", "pykbroker", "serve", "--listen", address, "--data-dir", f"{self.folder}/data"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("bootstrap.servers="):
                return line.strip().partition("=")[2]
        raise SystemExit(f"pykbroker did not start: {pathlib.Path(self.folder, 'log').read_text()}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        self.log.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        text = pathlib.Path(self.folder, "log").read_text()
        shutil.rmtree(self.folder)
        if code != 0 or "Traceback" in text:
            raise SystemExit(f"pykbroker ended with {code} and said:\n{text[-3000:]}")


def run_client(folder: str | None, command: list[str], bootstrap: str) -> list[dict]:
    """Its rows; `folder` is that of its Python script, None where the command is all that is needed."""
    script = [str(HERE / folder / "scenarios.py")] if folder else []
    done = subprocess.run([*command, *script, "--bootstrap", bootstrap], capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    if not rows:
        rows = [{"scenario": "start", "status": "failed", "seconds": 0, "detail": done.stderr[-1500:]}]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="clients whose name contains one of these words, comma separated")
    parser.add_argument("--target", default="", help="targets whose name contains this word")
    parser.add_argument("--markdown", help="also write the table to this file")
    arguments = parser.parse_args()
    words = [word for word in arguments.only.split(",") if word]
    clients = {name: how for name, how in CLIENTS.items() if not words or any(word in name for word in words)}
    results: dict[str, dict[str, list[dict]]] = {}
    failed = False
    for target in (Kafka(), OurBroker()):
        if arguments.target.lower() not in target.name.lower():
            continue
        try:
            bootstrap = target.start()
        except Missing as reason:
            print(f"SKIPPED: {target.name}: {reason}", file=sys.stderr)
            continue
        try:
            for name, (folder, prepare) in clients.items():
                try:
                    command = prepare()
                except Missing as reason:
                    print(f"SKIPPED: {name}: {reason}", file=sys.stderr)
                    continue
                started = time.monotonic()
                rows = results.setdefault(name, {})[target.name] = run_client(folder, command, bootstrap)
                bad = [row for row in rows if row["status"] == "failed"]
                failed = failed or bool(bad)
                print(f"{target.name}: {name}: {len(rows) - len(bad)} of {len(rows)} in {time.monotonic() - started:.0f} s", flush=True)
                for row in bad:
                    print(f"  FAILED: {row['scenario']}: {row['detail']}", flush=True)
        finally:
            target.stop()
    text = table(results)
    print(text)
    if arguments.markdown:
        pathlib.Path(arguments.markdown).write_text(text + "\n")
    if not results:
        raise SystemExit("no client ran: this shows nothing")
    sys.exit(1 if failed else 0)


def table(results: dict[str, dict[str, list[dict]]]) -> str:
    """Client by scenario, a column a target."""
    targets = list(dict.fromkeys(target for by_target in results.values() for target in by_target))
    lines = ["| client | scenario | " + " | ".join(targets) + " |", "|---|---" + "|---" * len(targets) + "|"]
    for client, by_target in results.items():
        for scenario in dict.fromkeys(row["scenario"] for rows in by_target.values() for row in rows):
            cells = []
            for target in targets:
                row = next((row for row in by_target.get(target, []) if row["scenario"] == scenario), None)
                cells.append("-" if row is None else row["status"])
            lines.append(f"| {client} | {scenario} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
