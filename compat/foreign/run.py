"""`make compat-foreign`: other projects' own suites, unchanged, on Apache Kafka and on pykbroker.

    python -m compat.foreign.run [--suite librdkafka] [--broker pykbroker] [--only 0081,0012] [--markdown FILE]

They are fetched and built when first run, and kept in a cache. What cannot run here is named with the reason. Exit code 1 if a test that passes on
Kafka, and needs only what pykbroker serves, does not pass on pykbroker, or if nothing ran.
"""

import argparse
import contextlib
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from compat.ending import run_to_its_end
from compat.foreign import kafka_python, librdkafka
from compat.foreign.outcome import FAILED, Missing, Outcome, Suite
from compat.foreign.table import page, unexplained
from compat.oracle import kafka as oracle
from pykbroker.client import Client
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.messages import ApiVersionsRequest, ApiVersionsResponse

SUITES = [*kafka_python.SUITES, librdkafka.SUITE]
KAFKA, OURS = "Apache Kafka", "pykbroker"
KAFKA_PORT, OUR_PORT = 24500, 24600
SETTINGS = {"node.id": "0", "auto.create.topics.enable": "true", "num.partitions": "4", "group.initial.rebalance.delay.ms": "0"}
"""What the suites expect of their brokers; kafka-python's names broker 0."""

AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:admin",
    "allow.everyone.if.no.acl.found": "true",
}


@contextlib.contextmanager
def apache_kafka() -> Iterator[str]:
    """Kafka, for as long as it is wanted; its address."""
    problem = oracle.missing()
    if problem:
        raise Missing(problem)
    try:
        voters = f"0@127.0.0.1:{oracle.Cluster(KAFKA_PORT).controller_port_of(1)}"
        yield oracle.start("foreign", KAFKA_PORT, SETTINGS | AUTHORIZER | {"controller.quorum.voters": voters})
    finally:
        oracle.stop("foreign")


@contextlib.contextmanager
def our_broker() -> Iterator[str]:
    """pykbroker on a data directory, for as long as it is wanted; its address."""
    with tempfile.TemporaryDirectory(prefix="foreign-") as folder:
        command = [sys.executable, "-m", "pykbroker", "serve", "--listen", f"127.0.0.1:{OUR_PORT}", "--data-dir", f"{folder}/data"]
        for name, value in (SETTINGS | {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{OUR_PORT}"}).items():
            command += ["--override", f"{name}={value}"]
        with (
            open(f"{folder}/log", "w") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
        ):
            assert process.stdout is not None
            address = next((line.strip().partition("=")[2] for line in process.stdout if line.startswith("bootstrap.servers=")), "")
            try:
                if address:
                    yield address
            finally:
                process.send_signal(signal.SIGTERM)
        said = pathlib.Path(folder, "log").read_text()
        if not address or "Traceback" in said:
            raise SystemExit(f"pykbroker said:\n{said[-3000:]}")


BROKERS = {KAFKA: apache_kafka, OURS: our_broker}


def main() -> int:
    """See the law of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="", help="suites whose name contains this word")
    parser.add_argument("--broker", default="", help="brokers whose name contains this word")
    parser.add_argument("--only", default="", help="tests with one of these words in their names, comma separated")
    parser.add_argument("--markdown", help="also write the table to this file")
    arguments = parser.parse_args()
    reasons: dict[str, str] = {}
    suites = [suite for suite in SUITES if arguments.suite in suite.name and _is_there(suite, reasons)]
    results: dict[str, dict[str, list[Outcome]]] = {suite.name: {} for suite in suites}
    served: set[str] = set()
    for broker, started in BROKERS.items():
        if arguments.broker.lower() not in broker.lower():
            continue
        try:
            with started() as bootstrap:
                if broker == OURS:
                    served = served_by(bootstrap)
                for suite in suites:
                    print(f"{broker}: {suite.name} …", flush=True)
                    results[suite.name][broker] = suite.run(bootstrap, [word for word in arguments.only.split(",") if word], tell)
        except Missing as missing:
            print(f"SKIPPED: {broker}: {missing}", file=sys.stderr)
    text = page(results, reasons, served)
    print(text)
    if arguments.markdown:
        pathlib.Path(arguments.markdown).write_text(text)
    wrong = unexplained(results, KAFKA, OURS, served)
    for suite_name, outcome in wrong:
        print(f"FAILED on pykbroker: {suite_name} {outcome.test}: {outcome.detail}", file=sys.stderr)
    return 1 if wrong or not any(results.values()) else 0


def _is_there(suite: Suite, reasons: dict[str, str]) -> bool:
    try:
        suite.prepare()
    except Missing as missing:
        reasons[suite.name] = str(missing)
        print(f"SKIPPED: {suite.name}: {missing}", file=sys.stderr)
        return False
    return True


def tell(outcome: Outcome) -> None:
    """One line of progress, with what a failure said."""
    print(f"  {outcome.status:<8}{outcome.test} ({outcome.seconds:.1f} s) {outcome.detail if outcome.status == FAILED else ''}", flush=True)


def served_by(bootstrap: str) -> set[str]:
    """The names of the APIs that a broker serves."""
    with Client(bootstrap) as client:
        answer = client.ask(ApiVersionsRequest(client_software_name="foreign", client_software_version="1"), ApiVersionsResponse)
    return {API_BY_KEY[one.api_key].name for one in answer.api_keys if one.api_key in API_BY_KEY}


if __name__ == "__main__":
    run_to_its_end(main)
