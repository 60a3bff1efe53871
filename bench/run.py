"""`make bench`: this broker beside its ceiling and its peers, in one run, interleaved, with medians and ratios.

The order of the systems turns with every round, since the machine itself gets faster and slower, and what it was doing in one round says little of the next:
a ratio is the median of the rounds' ratios. Quote ratios, not figures. The bars stand below the table.
"""

import argparse
import json
import statistics
import sys
import time

import load
import systems

PORT = 21100
BULK = [("1 KiB", 1024), ("100 B", 100)]
TRIES = 3
END_TO_END_ROUNDS = 3

OURS, BARE, TANSU, KAFKA = "pykbroker (file)", "bare loop", "Tansu (memory)", "Apache Kafka"

BARS = [
    ("produce one at a time", BARE, 0.6),
    ("produce one at a time", KAFKA, 1.0),
    ("produce 50 in flight", BARE, 0.6),
    ("produce 50 in flight", KAFKA, 1.0),
    ("produce 1 KiB", BARE, 0.5),
    ("produce 100 B", BARE, 0.35),
    ("consume", BARE, 0.6),
    ("produce 1 KiB", TANSU, 1.0),
    ("consume", TANSU, 1.0),
    ("produce one at a time", TANSU, 1.0),
    ("produce 50 in flight", TANSU, 1.0),
    ("end to end at 1,000/s, p99", KAFKA, 1.0),
]
"""(workloads that begin so, system, how we have to stand to it at least)."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=60, help="of each bulk measurement")
    parser.add_argument("--seconds", type=float, default=0.7, help="of each measurement of small requests")
    parser.add_argument("--only", default="", help="systems whose name contains one of these words, comma separated")
    parser.add_argument("--no-end-to-end", action="store_true")
    parser.add_argument("--json", help="write all figures to this file")
    arguments = parser.parse_args()
    touch_memory(2 << 30)
    words = [word for word in arguments.only.split(",") if word]
    chosen = [kind for kind in systems.ALL if not words or any(word in kind.name for word in words)]
    running = start_all(chosen)
    try:
        results = measure(running, arguments)
    finally:
        for system in running:
            system.stop()
    print_table(results, [system.name for system in running])
    print_bars(results)
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump(results, out, indent=1)


def touch_memory(size):
    """The first touch of memory is slow on a virtual machine, and whoever comes first would pay for it."""
    block = bytearray(size)
    for position in range(0, size, 4096):
        block[position] = 1


def start_all(kinds):
    running = []
    for number, kind in enumerate(kinds):
        system = kind(PORT + 10 * number)
        try:
            system.start()
            running.append(system)
        except systems.Missing as reason:
            print(f"SKIPPED: {kind.name}: {reason}", file=sys.stderr)
    return running


def measure(running, arguments):
    """{workload: {system: [figure of each round]}}; a round before the first warms everybody up and is not counted."""
    results = {}
    for round_number in range(-1, arguments.rounds):
        scale = 0.5 if round_number < 0 else 1
        turned = running[round_number % len(running) :] + running[: round_number % len(running)]
        for partitions in (1, 6):
            for label, size in BULK:
                topics = {}
                for system in turned:
                    topics[system] = topic = f"bulk-{partitions}-{size}-{round_number + 1}"
                    if system.knows_topics:
                        attempt(load.create_topic, system.port, topic, partitions)
                for verb, work in (("produce", load.produce_bulk), ("consume", load.consume_bulk)):
                    name = f"{verb} {label}, {partitions} partition{'s' * (partitions > 1)}, MB/s"
                    for system in turned:
                        figure = attempt(work, system.port, topics[system], partitions, size, arguments.megabytes * scale)
                        note(results, name, system, figure, round_number)
        for name, work in (("produce one at a time, req/s", load.one_at_a_time), ("produce 50 in flight, req/s", load.in_flight)):
            for system in turned:
                topic = f"small-{round_number + 1}-{work.__name__.replace('_', '-')}"
                if system.knows_topics:
                    attempt(load.create_topic, system.port, topic, 1)
                note(results, name, system, attempt(work, system.port, topic, arguments.seconds * scale), round_number)
        if not arguments.no_end_to_end and 0 <= round_number < END_TO_END_ROUNDS:
            from end_to_end import latencies

            for system in turned:
                if system.knows_topics:
                    topic = f"latency-{round_number + 1}"
                    attempt(load.create_topic, system.port, topic, 1)
                    found = attempt(latencies, system.port, topic)
                    note(results, "end to end at 1,000/s, p50 ms", system, found and found[0], round_number)
                    note(results, "end to end at 1,000/s, p99 ms", system, found and found[1], round_number)
    return results


def attempt(work, *arguments):
    """Its figure. A topic that was made a moment ago may not be ready yet with some of the systems, whatever they say."""
    for number in range(1, TRIES + 1):
        try:
            return work(*arguments)
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            if number == TRIES:
                print(f"FAILED: {work.__name__}{arguments}: {error}", file=sys.stderr)
            time.sleep(1)
    return None


def note(results, name, system, figure, round_number):
    if round_number >= 0 and figure is not None:
        results.setdefault(name, {}).setdefault(system.name, {})[round_number] = figure


def ratio(workload, figures, name):
    """How we stand to it: above 1 we are ahead. None where one of the two has no figures."""
    ours, theirs = figures.get(OURS, {}), figures.get(name, {})
    less_is_better = workload.endswith(" ms")
    found = [theirs[one] / ours[one] if less_is_better else ours[one] / theirs[one] for one in ours if one in theirs]
    return statistics.median(found) if found else None


def print_table(results, names):
    print(f"\nMedians; in brackets how {OURS} stands to it (above 1: we are ahead). {time.strftime('%Y-%m-%d')}\n")
    print("| | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for workload, figures in results.items():
        cells = []
        for name in names:
            if name not in figures:
                cells.append("-")
                continue
            middle = statistics.median(figures[name].values())
            found = None if name == OURS else ratio(workload, figures, name)
            shown = f"{middle:,.1f}" if middle < 100 else f"{middle:,.0f}"
            cells.append(shown if found is None else f"{shown} ({found:.2f})")
        print(f"| {workload} | " + " | ".join(cells) + " |")


def print_bars(results):
    print()
    for beginning, name, least in BARS:
        for workload, figures in results.items():
            found = ratio(workload, figures, name) if workload.startswith(beginning) else None
            if found is not None:
                print(f"{'met   ' if found >= least else 'MISSED'}  {workload}: {found:.2f} of {name} (bar: {least})")


if __name__ == "__main__":
    main()
