"""Make compat/RESULTS.md: the conformance suite on Apache Kafka, on pykbroker, and on others that speak Kafka's protocol.

    python compat/results.py [NAME...]      all, or only those whose names hold one of the words; of the others the page keeps what was found here before

Each system is started on loopback, and stopped when it has been tried; one that cannot run on this machine is named with the reason. Apache Kafka and
pykbroker are started as often as the checks' needs differ; the others as they come. There a check has 10 s and the whole suite five minutes, so
that one that hangs cannot hang the run.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import time
from collections import Counter

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "bench")]

import systems  # noqa: E402

from compat.ending import run_to_its_end  # noqa: E402
from compat.fleets import ApacheKafka, Missing, Pykbroker, free_ports, judged  # noqa: E402
from pykbroker.compat.check import all_checks  # noqa: E402
from pykbroker.compat.expectations import Unexpected  # noqa: E402
from pykbroker.compat.report import row  # noqa: E402
from pykbroker.compat.runner import Status, run_together  # noqa: E402
from pykbroker.compat.target import Target  # noqa: E402
from pykbroker.protocol.wire import Malformed  # noqa: E402

JOBS = 4
CHECK_TIMEOUT_S = 10.0
SUITE_TIMEOUT_S = 300.0
PAGE = HERE / "RESULTS.md"
MEMORY = HERE.parent / ".results.json"
"""What was found of each system, so that one can be tried anew without the others; not in the repository."""


class Mock(systems.System):
    """librdkafka's mock cluster lives inside a client, and tells its address in the Metadata that the client has. It is given a process of its own, for
    a request that it cannot read ends the whole process.
    """

    name = "librdkafka's mock"

    def start(self):
        command = [sys.executable, "-u", "-c", MOCK]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = self.process.stdout.readline()
        if not port:
            self.process.wait()
            raise systems.Missing("confluent-kafka is not installed, or its mock cluster does not start")
        self.port = int(port)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


MOCK = """
import time
from confluent_kafka.admin import AdminClient
client = AdminClient({"test.mock.num.brokers": 1})
print(next(iter(client.list_topics(timeout=10).brokers.values())).port)
time.sleep(3600)
"""

NAMED = {systems.Tansu: "Tansu", systems.Kfake: "kfake", Mock: Mock.name}
OURS_AND_KAFKA = (ApacheKafka, Pykbroker)


def tried(kind):
    """What was found: seconds and a row for each check, or the sentence why there is nothing."""
    started = time.monotonic()
    try:
        if kind in OURS_AND_KAFKA:
            results = judged(kind(), all_checks(), jobs=JOBS, say=lambda sentence: print(f"  {sentence}", flush=True))
        else:
            results = tried_as_it_comes(kind)
    except (Missing, systems.Missing) as missing:
        return str(missing)
    except (OSError, Unexpected, Malformed) as error:
        return f"it cannot be talked to: {error}"
    return {"seconds": time.monotonic() - started, "checks": [row(one) | {"exchanges": []} for one in results]}


def tried_as_it_comes(kind):
    """Start a broker of somebody else, and put it to the checks that need nothing special."""
    system = kind(free_ports(1))
    try:
        system.start()
        ends_at = time.monotonic() + SUITE_TIMEOUT_S
        targets = []

        def new_target():
            targets.append(Target("127.0.0.1", system.port))
            return targets[-1]

        def revive(result):
            """One that died of a check is started again for the others."""
            if system.process is not None and system.process.poll() is not None:
                print(f"  {system.name} is gone after {result.check.id} {result.check.name}; it is started again", flush=True)
                with contextlib.suppress(ProcessLookupError):
                    system.stop()
                system.start()
                for target in targets:
                    target.port = system.port

        return run_together(all_checks(), new_target, jobs=JOBS, seen=revive, check_timeout_s=CHECK_TIMEOUT_S, ends_at=ends_at)
    finally:
        with contextlib.suppress(ProcessLookupError):
            system.stop()


def page(columns):
    """The table, and what stands behind its numbers."""
    known = {name: found for name, found in columns.items() if not isinstance(found, str)}
    lines = [
        "# The conformance suite on brokers",
        "",
        "Made by `make compat-results`. Each cell: passed / failed / skipped / not served.",
        "Skipped are checks that need what the broker was not started with (settings, three brokers, an authorizer): Apache Kafka and pykbroker are",
        "started as often as the checks' needs differ, the others once, as they come.",
        "",
        "| section | " + " | ".join(known) + " |",
        "|---" * (len(known) + 1) + "|",
    ]
    sections = list(dict.fromkeys(one["section"] for found in known.values() for one in found["checks"]))
    for section in [*sections, "all"]:
        cells = (counted(one for one in found["checks"] if section in {one["section"], "all"}) for found in known.values())
        lines.append(f"| {section} | " + " | ".join(cells) + " |")
    for name, found in columns.items():
        lines += ["", f"## {name}", ""]
        if isinstance(found, str):
            lines.append(f"Not tried here: {found}")
            continue
        lines.append(f"{found['seconds']:.0f} s.")
        lines.append("")
        skipped = Counter(one["detail"] for one in found["checks"] if one["status"] == Status.SKIPPED)
        lines += [f"- skipped, {count}: {why}" for why, count in sorted(skipped.items())]
        failed = [one for one in found["checks"] if one["status"] == Status.FAILED]
        lines += [f"- failed: {one['id']} {one['name']}: {short(one['detail'])}" for one in failed]
    return "\n".join(lines).rstrip() + "\n"


def counted(rows):
    counts = Counter(one["status"] for one in rows)
    return " / ".join(str(counts[status]) for status in Status)


def short(detail):
    text = " ".join(detail.split()).replace("`", "'")
    return text if len(text) <= 160 else text[:160] + "…"


def main():
    words = sys.argv[1:]
    names = {kind: kind.name for kind in OURS_AND_KAFKA} | NAMED
    wanted = {kind: name for kind, name in names.items() if not words or any(word.lower() in name.lower() for word in words)}
    if not wanted:
        raise SystemExit(f"None of these systems is called {' or '.join(words)}: {', '.join(names.values())}.")
    if not words:
        MEMORY.unlink(missing_ok=True)
    columns = json.loads(MEMORY.read_text()) if MEMORY.exists() else {}
    for kind, name in wanted.items():
        print(f"{name} …", flush=True)
        found = tried(kind)
        print(f"SKIPPED: {name}: {found}" if isinstance(found, str) else f"  {counted(found['checks'])}", flush=True)
        columns = {one: (columns | {name: found})[one] for one in names.values() if one in columns or one == name}
        MEMORY.write_text(json.dumps(columns))
        unknown = [one for one in names.values() if one not in columns]
        if not (words and unknown):
            PAGE.write_text(page(columns))
    if words and unknown:
        print(
            f"{PAGE.name} stays as it is: nothing is known here of {', '.join(unknown)}. Without words all are tried, and the page is made anew."
        )


if __name__ == "__main__":
    run_to_its_end(main)
