"""Puts a broker to the checks, one after the other, and says of each: passed, failed, skipped (what it needs is not there) or not served."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pykbroker.compat.check import Check, Needs, api_keys
from pykbroker.compat.connection import Exchange
from pykbroker.compat.expectations import NotServed, Unexpected
from pykbroker.compat.target import Target


class Status(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_SERVED = "not served"


@dataclass(slots=True)
class Result:
    """One check's result. `detail` is the first thing that was not as expected, or what is missing."""

    check: Check
    status: Status
    seconds: float = 0.0
    detail: str = ""
    version: int | None = None
    exchanges: list[Exchange] = field(default_factory=list)


CHECK_TIMEOUT_S = 90.0
"""A check takes a second or two; one that goes round all versions of an API, and waits in each, longer."""
CLEAN_UP_TIMEOUT_S = 20.0


def run(
    checks: Iterable[Check],
    target: Target,
    *,
    offered: frozenset[str] = frozenset(),
    seen: Callable[[Result], None] = lambda _: None,
    check_timeout_s: float = CHECK_TIMEOUT_S,
) -> list[Result]:
    """Every check, in the order given; `offered` is what the broker has of what checks may need. `seen` is told of each result.

    A check that takes longer than `check_timeout_s` has failed: no broker hangs the run.
    """
    target.time_is_over_at = time.monotonic() + check_timeout_s
    target.look()
    results = []
    for one in checks:
        result = _run_one(one, target, offered, check_timeout_s)
        results.append(result)
        seen(result)
    return results


def _run_one(check: Check, target: Target, offered: frozenset[str], timeout_s: float) -> Result:
    keys = api_keys()
    unserved = [name for name in check.apis if keys[name] not in target.served]
    if unserved:
        return Result(check, Status.NOT_SERVED, detail=", ".join(unserved))
    if check.needs is not None and str(check.needs) not in offered:
        return Result(check, Status.SKIPPED, detail=f"needs {_needs_in_words(check.needs)}")
    versions: list[int | None] = [None]
    if check.takes_version:
        served = target.served[keys[check.apis[0]]]
        versions = [version for version in check.versions if version in served]
        if not versions:
            return Result(check, Status.NOT_SERVED, detail=f"{check.apis[0]} {check.versions[0]}-{check.versions[-1]}")
    started = time.monotonic()
    for version in versions:
        target.exchanges.clear()
        target.time_is_over_at = started + timeout_s
        try:
            check.run(target, version)
        except NotServed as api:
            return Result(check, Status.NOT_SERVED, time.monotonic() - started, f"{api}")
        except Unexpected as unexpected:
            return Result(check, Status.FAILED, time.monotonic() - started, f"{unexpected}", version, list(target.exchanges))
        except Exception as error:  # noqa: BLE001 - an answer that makes a check stumble is no pass
            detail = f"{type(error).__name__}: {error}"
            return Result(check, Status.FAILED, time.monotonic() - started, detail, version, list(target.exchanges))
        finally:
            target.time_is_over_at = time.monotonic() + CLEAN_UP_TIMEOUT_S
            target.clean_up()
    return Result(check, Status.PASSED, time.monotonic() - started)


def _needs_in_words(needs: Needs) -> str:
    return str(needs)
