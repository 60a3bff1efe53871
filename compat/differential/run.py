"""Seeded sequences of requests, sent to Apache Kafka and to pykbroker at the same state; the first difference is made small and shown.

    python -m compat.differential.run                          2,000 sequences; exit code 1 where there is a difference that nothing explains
    python -m compat.differential.run --sequences 50 --seed 7  fewer, of other seeds
    python -m compat.differential.run --replay 1234            the sequence of one seed, exchange by exchange
    python -m compat.differential.run --keep-going             all differences, not only the first
    python -m compat.differential.run --record FILE            writes the exchanges with Kafka as a golden file
    python -m compat.differential.run --kafka HOST:PORT        a Kafka that runs already, with the settings that `brokers.py` gives both

Needs Java and Maven for Kafka; says so where they are missing.
"""

import argparse
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence as Row
from dataclasses import dataclass, field
from pathlib import Path

from compat.differential.brokers import kafka_running, our_broker_running
from compat.differential.explained import explains
from compat.differential.generation.sequences import sequence
from compat.differential.golden import Recorded, Recorder, write
from compat.differential.minimise import minimised
from compat.differential.steps import Sequence, Step
from compat.differential.trial import SLOWLY, Difference, Outcome, Pace, Trial
from compat.ending import run_to_its_end

MINIMISING_LIMIT_S = 25.0
RECORDING = Pace(0.15, 0.02, 0.03)
_PROGRESS_EVERY = 50


@dataclass(slots=True)
class Judge:
    """Runs sequences, each under names of its own."""

    trial: Trial
    hasty: int = 0
    _run: int = field(default_factory=lambda: random.randrange(1 << 16))
    """Kafka may have seen other runs, whose groups are still there."""
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def difference(self, made: Sequence, pace: Pace | None = None) -> Difference | None:
        """The first difference, in one run."""
        return self.trial.run(made, self.new_prefix(), pace or Pace())

    def new_prefix(self) -> str:
        """Names that neither broker has seen."""
        return f"d{self._run:04x}{next(self._numbers):05d}-"

    def lasting_difference(self, made: Sequence) -> Difference | None:
        """A difference that is there again when Kafka is given more time."""
        if self.difference(made) is None:
            return None
        found = self.difference(made, SLOWLY)
        self.hasty += found is None
        return found

    def shown(self, made: Sequence, found: Difference) -> str:
        """The shortest sequence with that difference, and both answers."""
        short, found = minimised(made, found, lambda tried: self.difference(tried, Pace(0.2, 0.03, 0.05)), MINIMISING_LIMIT_S)
        lines = [f"seed {made.seed}: {len(short.steps)} of {len(made.steps)} requests show it:", *(f"    {step}" for step in short.steps)]
        lines += [f"  {path or 'the answer'}: Kafka {kafkas!r}, pykbroker {ours!r}" for path, kafkas, ours in found.places[:12]]
        for name, outcome in zip(("Kafka", "pykbroker"), found.outcomes, strict=True):
            lines.append(f"  {name}: {outcome.word} {outcome.answer if outcome.answer is not None else ''}")
        return "\n".join(lines)


def run(judge: Judge, seeds: Row[int], *, keep_going: bool) -> int:
    """How many of the sequences differ."""
    started, differ = time.monotonic(), 0
    for done, seed in enumerate(seeds, 1):
        made = sequence(seed)
        found = judge.lasting_difference(made)
        if found is not None:
            differ += 1
            print(f"DIFFERENCE {differ} in {judge.shown(made, found)}\n", flush=True)
            if not keep_going:
                return differ
        if done % _PROGRESS_EVERY == 0:
            spent = time.monotonic() - started
            print(f"{done} of {len(seeds)} sequences, {judge.trial.requests} requests, {differ} differ, {spent:.0f} s", flush=True)
    return differ


def replay(judge: Judge, seed: int) -> int:
    """One sequence, exchange by exchange; its difference if it has one."""
    made = sequence(seed)
    judge.trial.watch = _print_exchange
    found = judge.difference(made, RECORDING)
    judge.trial.watch = None
    print("no difference" if found is None else judge.shown(made, found))
    return int(found is not None)


def _print_exchange(step: Step, kafkas: Outcome, ours: Outcome) -> None:
    print(step)
    for name, outcome in (("Kafka", kafkas), ("pykbroker", ours)):
        print(f"    {name}: {outcome.word} {outcome.answer if outcome.answer is not None else ''}")


def record(judge: Judge, seeds: Row[int], path: Path) -> int:
    """Write what Kafka was asked and answered in every sequence without a difference; 1 where there was one with it."""
    recorder = Recorder(judge.trial.kafka)
    judge.trial.kafka = recorder
    recorded, differ = [], 0
    for seed in seeds:
        recorder.exchanges = []
        made, prefix = sequence(seed), judge.new_prefix()
        if any(getattr(step.request, "include_documentation", False) for step in made.steps):
            print(f"seed {seed} is left out: Kafka's documentation is not ours to keep")
            continue
        found = judge.trial.run(made, prefix, RECORDING)
        if found is None:
            recorded.append(Recorded(made, prefix, recorder.exchanges))
        else:
            differ += 1
            print(f"seed {seed} is left out: {found.step}\n  {found.places[:3]}")
    print(f"{write(path, recorded)} sequences, {judge.trial.requests} requests are in {path}; {differ} differ and are left out")
    return int(differ > 0)


def table(exercised: Counter[tuple[str, int, str]]) -> str:
    """What was tried: API, versions, and how often each error code was the right answer."""
    lines = ["| API | versions | answers by error code |", "|---|---|---|"]
    for api in sorted({key[0] for key in exercised}):
        versions = sorted({version for name, version, _ in exercised if name == api})
        codes: Counter[str] = Counter()
        for (name, _, code), count in exercised.items():
            codes[code] += count if name == api else 0
        shown = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items(), key=lambda one: -one[1]) if count)
        lines.append(f"| {api} | {versions[0]}–{versions[-1]} ({len(versions)}) | {shown} |")
    return "\n".join(lines)


def main(arguments: Row[str] | None = None) -> int:
    """0 where the two brokers answer alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=2000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--kafka", metavar="HOST:PORT")
    parser.add_argument("--port", type=int, default=20150, help="where Kafka is started")
    chosen = parser.parse_args(arguments)
    seed = random.randrange(1 << 30) if chosen.seed is None else chosen.seed
    with kafka_running(chosen.kafka, chosen.port) as kafka, our_broker_running() as ours:
        judge = Judge(Trial(kafka, ours, explains))
        if chosen.replay is not None:
            return replay(judge, chosen.replay)
        print(f"seed {seed}", flush=True)
        if chosen.record is not None:
            return record(judge, range(seed, seed + chosen.sequences), chosen.record)
        started = time.monotonic()
        differ = run(judge, range(seed, seed + chosen.sequences), keep_going=chosen.keep_going)
        print(table(judge.trial.exercised))
        print(
            f"seed {seed}: {chosen.sequences} sequences, {judge.trial.requests} requests, {time.monotonic() - started:.0f} s; {differ} differ; "
            f"{judge.hasty} differed only while Kafka was not given time"
        )
    return int(differ > 0)


if __name__ == "__main__":
    run_to_its_end(main)
