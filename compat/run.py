"""Put Apache Kafka and pykbroker to the whole conformance suite, and print the table side by side.

    python compat/run.py                              both; Kafka is skipped, loudly, where Java or Maven is missing
    python compat/run.py --target pykbroker           one of them
    python compat/run.py --only F,G-06a               sections, or single checks
    python compat/run.py --target kafka --nodes 3     what needs one broker is put to one of three
    python compat/run.py -o FILE.json                 every result, with what was exchanged where one failed

Exits with 1 where a check failed. A check that fails on Apache Kafka is wrong, or needs something that it does not say.
"""

import argparse
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from compat.ending import run_to_its_end
from compat.fleets import ApacheKafka, Missing, Pykbroker, judged
from pykbroker.compat.check import all_checks
from pykbroker.compat.report import by_section, failure, row
from pykbroker.compat.runner import Result, Status

JOBS = 4
SYSTEMS = {"kafka": ApacheKafka, "pykbroker": Pykbroker}


def main() -> int:
    """0 where nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=list(SYSTEMS), action="append")
    parser.add_argument("--only", default="", metavar="F,G-06a")
    parser.add_argument("--jobs", type=int, default=JOBS, metavar="N", help=f"checks at a time (default: {JOBS})")
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1, help="of how many the broker under test is one (default: 1)")
    parser.add_argument("-o", "--output", type=pathlib.Path, metavar="FILE.json")
    arguments = parser.parse_args()
    words = {word for word in arguments.only.split(",") if word}
    checks = [one for one in all_checks() if not words or {one.section, one.id} & words]
    if unknown := sorted(words - {word for one in checks for word in (one.section, one.id)}):
        parser.error(f"no section, and no check, is called {', '.join(unknown)}")
    columns: dict[str, list[Result]] = {}
    seconds: dict[str, float] = {}
    for name in arguments.target or SYSTEMS:
        system = SYSTEMS[name]()
        started = time.monotonic()
        try:
            columns[system.name] = judged(system, checks, jobs=arguments.jobs, say=_say, nodes=arguments.nodes)
        except Missing as missing:
            _say(f"SKIPPED: {system.name} is not put to the checks: {missing}.")
            continue
        seconds[system.name] = time.monotonic() - started
    if not columns:
        raise SystemExit("Nobody was put to the checks: this shows nothing.")
    if arguments.output is not None:
        found = {name: {"seconds": round(seconds[name], 1), "checks": [row(one) for one in results]} for name, results in columns.items()}
        arguments.output.write_text(json.dumps({"systems": found}, indent=1))
    print(table(columns))
    for name, results in columns.items():
        for result in results:
            if result.status is Status.FAILED:
                print("", f"{name}:", *failure(result), sep="\n")
    print("", *(f"{name}: {spent:.0f} s" for name, spent in seconds.items()), sep="\n")
    return 1 if any(result.status is Status.FAILED for results in columns.values() for result in results) else 0


def table(columns: dict[str, list[Result]]) -> str:
    """Sections down, systems across: passed / failed / skipped / not served."""
    counts = {name: by_section(results) for name, results in columns.items()}
    sections = list(dict.fromkeys(section for one in counts.values() for section in one if section != "all"))
    lines = ["", "passed / failed / skipped / not served", f"{'section':<8}" + "".join(f"{name:>24}" for name in counts)]
    for section in [*sections, "all"]:
        cells = (" / ".join(str(one.get(section, {}).get(status, 0)) for status in Status) for one in counts.values())
        lines.append(f"{section:<8}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    run_to_its_end(main)
