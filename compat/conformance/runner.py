"""Puts a broker to the checks, one after the other, and says of each: passed, failed, skipped (what it needs is not there) or not served."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import StrEnum

from pykbroker.compat.check import Check, api_keys
from pykbroker.compat.connection import Exchange
from pykbroker.compat.expectations import NotServed, Unexpected
from pykbroker.compat.target import Target
from pykbroker.protocol.messages import Struct
from pykbroker.protocol.wire import Malformed


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
    field: str = ""
    """Which field of which response that was: `FetchResponse.responses[0].partitions[0].error_code`."""
    exchanges: list[Exchange] = dataclass_field(default_factory=list)


CHECK_TIMEOUT_S = 90.0
"""A check takes a second or two; one that goes round all versions of an API, and waits in each, longer."""
CLEAN_UP_TIMEOUT_S = 20.0
TIME_IS_OVER = "the time for the whole suite was over"


def run(
    checks: Iterable[Check],
    target: Target,
    *,
    offered: frozenset[str] = frozenset(),
    seen: Callable[[Result], None] = lambda _: None,
    check_timeout_s: float = CHECK_TIMEOUT_S,
    ends_at: float = math.inf,
) -> list[Result]:
    """Every check, in the order given; `offered` is what the broker has of what checks may need. `seen` is told of each result.

    A check that takes longer than `check_timeout_s` has failed: no broker hangs the run. Those whose turn comes after `ends_at`, by time.monotonic(),
    are skipped.
    """
    target.time_is_over_at = time.monotonic() + check_timeout_s
    target.look()
    results = []
    for one in checks:
        if time.monotonic() < ends_at:
            result = _run_one(one, target, offered, check_timeout_s)
        else:
            result = Result(one, Status.SKIPPED, detail=TIME_IS_OVER)
        results.append(result)
        seen(result)
    return results


def run_together(
    checks: Sequence[Check],
    new_target: Callable[[], Target],
    *,
    jobs: int,
    offered: frozenset[str] = frozenset(),
    seen: Callable[[Result], None] = lambda _: None,
    check_timeout_s: float = CHECK_TIMEOUT_S,
    ends_at: float = math.inf,
) -> list[Result]:
    """The same by several hands: most of a check's time is waiting. Those that change the whole cluster come at the end, one after the other."""
    waiting = deque(check for check in checks if not check.alone)
    telling = threading.Lock()

    def tell(result: Result) -> None:
        with telling:
            seen(result)

    def work(taken: Iterable[Check]) -> list[Result]:
        target = new_target()
        try:
            return run(taken, target, offered=offered, seen=tell, check_timeout_s=check_timeout_s, ends_at=ends_at)
        finally:
            target.close()

    with ThreadPoolExecutor(jobs) as hands:
        shares = [hands.submit(work, _taken_from(waiting)) for _ in range(jobs)]
        try:
            results = [result for share in shares for result in share.result()]
        except BaseException:
            waiting.clear()  # whoever interrupts waits for the checks that have begun, not for all
            raise
    last = [check for check in checks if check.alone]
    try:
        results += work(last) if last else []
    except (OSError, Unexpected, Malformed) as error:
        results += [Result(check, Status.FAILED, detail=f"the broker cannot be talked to any more: {error}") for check in last]
    order = {check: number for number, check in enumerate(checks)}
    return sorted(results, key=lambda result: order[result.check])


def _taken_from(waiting: deque[Check]) -> Iterator[Check]:
    """What is left, as long as something is."""
    while True:
        try:
            yield waiting.popleft()
        except IndexError:
            return


def _run_one(check: Check, target: Target, offered: frozenset[str], timeout_s: float) -> Result:
    keys = api_keys()
    unserved = [name for name in check.apis if keys[name] not in target.served]
    if unserved:
        return Result(check, Status.NOT_SERVED, detail=", ".join(unserved))
    if missing := check.wants - offered:
        return Result(check, Status.SKIPPED, detail=f"needs {', '.join(sorted(missing))}")
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
            path = _path_of(unexpected, target.exchanges)
            return Result(check, Status.FAILED, time.monotonic() - started, f"{unexpected}", version, path, list(target.exchanges))
        except Exception as error:  # noqa: BLE001 - an answer that makes a check stumble is no pass
            detail = f"{type(error).__name__}: {error}"
            return Result(check, Status.FAILED, time.monotonic() - started, detail, version, exchanges=list(target.exchanges))
        finally:
            target.time_is_over_at = time.monotonic() + CLEAN_UP_TIMEOUT_S
            target.clean_up()
    return Result(check, Status.PASSED, time.monotonic() - started)


def _path_of(unexpected: Unexpected, exchanges: Sequence[Exchange]) -> str:
    """The way to the field, where what was looked at is part of a response that was kept."""
    for exchange in reversed(exchanges):
        if exchange.response is not None:
            for path, part in _parts(exchange.response, type(exchange.response).__name__):
                if part is unexpected.within:
                    return f"{path}.{unexpected.field}"
    return unexpected.field


def _parts(struct: Struct, path: str) -> Iterator[tuple[str, Struct]]:
    """A response and every struct in it, each with the way to it."""
    yield path, struct
    for name in (one.name for one in struct._fields):
        value = getattr(struct, name)
        if isinstance(value, Struct):
            yield from _parts(value, f"{path}.{name}")
        elif isinstance(value, list):
            for place, one in enumerate(value):
                if isinstance(one, Struct):
                    yield from _parts(one, f"{path}.{name}[{place}]")
