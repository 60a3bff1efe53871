"""Break our own broker in sixty ways, one at a time, and see whether the conformance suite notices.

    python compat/faults/run.py                all of them; fails where more than two escape
    python compat/faults/run.py WORD           those with this word in their names, or of this API

For each fault a broker runs in this process, and is put to the checks until one fails: first those of the sections that should notice, then all others.
A check counts only if it passes on the broker as it is.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from compat.ending import run_to_its_end
from compat.faults.catalogue import FAULTS
from compat.faults.fault import Fault
from pykbroker.compat.check import Check, all_checks
from pykbroker.compat.runner import Result, Status, run
from pykbroker.compat.target import Target
from pykbroker.testing import KafkaBroker

MOST_ESCAPES = 2
CHECK_TIMEOUT_S = 12.0


class Suite:
    """The checks, and which of them are known to pass on the broker as it is."""

    def __init__(self) -> None:
        self._checks = [check for check in all_checks() if check.needs is None]
        self._passes: dict[Check, bool] = {}

    def catcher_of(self, fault: Fault) -> Result | None:
        """The first check that fails with the fault and passes without."""
        checks = sorted(self._checks, key=lambda check: check.section not in fault.sections)
        while checks:
            with fault.injected():
                failure = _first_failure(checks)
            if failure is None or self._passes_without_fault(failure.check):
                return failure
            checks = checks[checks.index(failure.check) + 1 :]
        return None

    def _passes_without_fault(self, check: Check) -> bool:
        if check not in self._passes:
            self._passes[check] = _first_failure([check]) is None
        return self._passes[check]


def _first_failure(checks: Sequence[Check]) -> Result | None:
    return next((result for result in _results(checks) if result.status is Status.FAILED), None)


def _results(checks: Sequence[Check]) -> Iterator[Result]:
    broker = KafkaBroker(seed=1)
    broker.start()
    host, _, port = broker.bootstrap.rpartition(":")
    target = Target(host, int(port))
    try:
        for check in checks:
            yield from run([check], target, check_timeout_s=CHECK_TIMEOUT_S)
    finally:
        target.close()
        try:
            broker.stop()
        except Exception as error:  # noqa: BLE001 - a broken broker may well have failed in its own way
            logging.getLogger("faults").debug("the broken broker: %r", error)


def main(words: Sequence[str]) -> int:
    """0 if enough of them are caught."""
    logging.disable(logging.WARNING)
    chosen = [fault for fault in FAULTS if all(word in fault.name or word == fault.api for word in words)]
    if not chosen:
        raise SystemExit(f"No fault has {' and '.join(words)} in its name, or is of that API.")
    suite = Suite()
    escaped = []
    for number, fault in enumerate(chosen, 1):
        started = time.monotonic()
        caught = suite.catcher_of(fault)
        seconds = time.monotonic() - started
        if caught is None:
            escaped.append(fault)
            print(f"{number:>3}. ESCAPED  {fault.name}: {fault.sentence} ({seconds:.1f} s)", flush=True)
        else:
            version = "" if caught.version is None else f" v{caught.version}"
            what = f"{caught.check.id} {caught.check.name}{version}: {caught.detail}"
            print(f"{number:>3}. caught   {fault.name}, by {what[:200]} ({seconds:.1f} s)", flush=True)
    print(f"{len(chosen) - len(escaped)} of {len(chosen)} faults are caught; {MOST_ESCAPES} of all may escape.")
    return 1 if len(escaped) > (0 if words else MOST_ESCAPES) else 0


if __name__ == "__main__":
    run_to_its_end(lambda: main(sys.argv[1:]))
