"""`make bench`: this broker beside its ceiling and its peers, in one run, interleaved, with medians and ratios.

The order of the systems turns with every round, since the machine itself gets faster and slower; quote ratios, not figures.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=200, help="of each bulk measurement")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement of small requests")
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
                        load.create_topic(system.port, topic, partitions)
                for verb, work in (("produce", load.produce_bulk), ("consume", load.consume_bulk)):
                    name = f"{verb} {label}, {partitions} partition{'s' * (partitions > 1)}, MB/s"
                    for system in turned:
                        figure = attempt(work, system.port, topics[system], partitions, size, arguments.megabytes * scale)
                        note(results, name, system, figure, round_number)
        for name, work in (("produce one at a time, req/s", load.one_at_a_time), ("produce 50 in flight, req/s", load.in_flight)):
            for system in turned:
                topic = f"small-{round_number + 1}-{work.__name__.replace('_', '-')}"
                if system.knows_topics:
                    load.create_topic(system.port, topic, 1)
                note(results, name, system, attempt(work, system.port, topic, arguments.seconds * scale), round_number)
        if not arguments.no_end_to_end:
            from end_to_end import latencies

            for system in turned:
                if system.knows_topics:
                    topic = f"latency-{round_number + 1}"
                    load.create_topic(system.port, topic, 1)
                    found = attempt(latencies, system.port, topic)
                    note(results, "end to end at 1,000/s, p50 ms", system, found and found[0], round_number)
                    note(results, "end to end at 1,000/s, p99 ms", system, found and found[1], round_number)
    return results


def attempt(work, *arguments):
    try:
        return work(*arguments)
    except (OSError, RuntimeError, TimeoutError, ValueError) as error:
        print(f"FAILED: {work.__name__}{arguments}: {error}", file=sys.stderr)
        return None


def note(results, name, system, figure, round_number):
    if round_number >= 0 and figure is not None:
        results.setdefault(name, {}).setdefault(system.name, []).append(figure)


def print_table(results, names):
    ours = "pykbroker (file)"
    print(f"\nMedians; in brackets how {ours} stands to it (above 1: we are ahead). {time.strftime('%Y-%m-%d')}\n")
    print("| | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for workload, figures in results.items():
        cells = []
        base = statistics.median(figures[ours]) if ours in figures else None
        for name in names:
            if name not in figures:
                cells.append("-")
                continue
            middle = statistics.median(figures[name])
            ratio = "" if base is None or name == ours else f" ({(middle / base if workload.endswith(' ms') else base / middle):.2f})"
            cells.append(f"{middle:,.1f}{ratio}" if middle < 100 else f"{middle:,.0f}{ratio}")
        print(f"| {workload} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
