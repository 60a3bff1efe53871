"""Make compat/RESULTS.md: the conformance suite on Apache Kafka, on pykbroker, and on others that speak Kafka's protocol.

    python compat/results.py [NAME...]      all, or only those whose names hold one of the words

Each system is started on loopback, and stopped when it has been tried; one that cannot run on this machine is named with the reason. A check has
20 s on a foreign broker, the whole suite ten minutes, so that one that hangs cannot hang the run.
"""

import contextlib
import pathlib
import sys
import time
from collections import Counter

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "bench")]

import systems  # noqa: E402

from pykbroker.compat.check import all_checks  # noqa: E402
from pykbroker.compat.expectations import Unexpected  # noqa: E402
from pykbroker.compat.report import by_section  # noqa: E402
from pykbroker.compat.runner import Result, Status, run  # noqa: E402
from pykbroker.compat.target import Target  # noqa: E402
from pykbroker.protocol.wire import Malformed  # noqa: E402

PORT = 20960
CHECK_TIMEOUT_S = 20.0
SUITE_TIMEOUT_S = 600.0
TIME_IS_OVER = "the time for the whole suite was over"


class Mock(systems.System):
    """librdkafka's mock cluster lives inside a client, and tells its address in the Metadata that the client has."""

    name = "librdkafka's mock"

    def start(self):
        try:
            from confluent_kafka.admin import AdminClient
        except ImportError:
            raise systems.Missing("confluent-kafka is not installed") from None
        self.client = AdminClient({"test.mock.num.brokers": 1})
        broker = next(iter(self.client.list_topics(timeout=10).brokers.values()))
        self.port = broker.port

    def stop(self):
        self.client = None


SYSTEMS = [systems.ApacheKafka, systems.BrokerInMemory, systems.Tansu, systems.Kfake, Mock]


def tried(system):
    """The results of every check, or the sentence why there are none."""
    try:
        system.start()
    except systems.Missing as missing:
        return str(missing)
    try:
        target = Target("127.0.0.1", system.port)
        ends = time.monotonic() + SUITE_TIMEOUT_S
        results = []
        checks = [check for check in all_checks() if not check.alone] + [check for check in all_checks() if check.alone]
        for check in checks:
            if time.monotonic() > ends:
                results.append(Result(check, Status.SKIPPED, detail=TIME_IS_OVER))
                continue
            try:
                results += run([check], target, check_timeout_s=CHECK_TIMEOUT_S)
            except (OSError, Unexpected, Malformed) as error:
                target.close()
                target = Target("127.0.0.1", system.port)
                results.append(Result(check, Status.FAILED, detail=f"it cannot be talked to any more: {error}"))
        target.close()
        return results
    finally:
        with contextlib.suppress(ProcessLookupError):
            system.stop()


def page(columns):
    """The table, and what stands behind its numbers."""
    lines = [
        "# The conformance suite on brokers",
        "",
        "Made by `python compat/results.py`. Each cell: passed / failed / skipped / not served.",
        "Skipped are checks that need what the broker was not started with (settings, three brokers, an authorizer).",
        "",
    ]
    known = {name: by_section(results) for name, results in columns.items() if not isinstance(results, str)}
    sections = list(next(iter(known.values()))) if known else []
    lines += ["| section | " + " | ".join(known) + " |", "|---" * (len(known) + 1) + "|"]
    for section in sections:
        cells = [" / ".join(str(counts[section][status]) for status in Status) for counts in known.values()]
        lines.append(f"| {section} | " + " | ".join(cells) + " |")
    for name, results in columns.items():
        lines += ["", f"## {name}", ""]
        if isinstance(results, str):
            lines.append(f"Not tried here: {results}")
            continue
        lines.append(f"{sum(result.seconds for result in results):.0f} s.")
        skipped = Counter(result.detail for result in results if result.status is Status.SKIPPED)
        lines += [f"- skipped, {count}: {why}" for why, count in sorted(skipped.items())]
        failed = [result for result in results if result.status is Status.FAILED]
        lines += [f"- failed: {one.check.id} {one.check.name}: {_short(one.detail)}" for one in failed]
    return "\n".join(lines) + "\n"


def _short(detail):
    text = " ".join(detail.split())
    return text if len(text) <= 160 else text[:160] + "…"


def main():
    words = sys.argv[1:]
    columns = {}
    for number, kind in enumerate(SYSTEMS):
        if words and not any(word.lower() in kind.name.lower() for word in words):
            continue
        print(f"{kind.name} …", flush=True)
        columns[kind.name] = tried(kind(PORT + 10 * number))
        (HERE / "RESULTS.md").write_text(page(columns))
        if isinstance(columns[kind.name], str):
            print(f"  not tried: {columns[kind.name]}")
        else:
            print("  " + ", ".join(f"{count} {status}" for status, count in by_section(columns[kind.name])["all"].items()))


if __name__ == "__main__":
    main()
