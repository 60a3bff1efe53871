"""Puts a broker to the checks, one after the other, and says of each: passed, failed, skipped (what it needs is not there) or not served."""

import linecache
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
from pykbroker.compat.expectations import NotServed, Unexpected, Untrue
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
    looked_at: int | None = None
    """Which of the exchanges has that field, where one is known to have it."""


CHECK_TIMEOUT_S = 90.0
"""A check takes a second or two; one that goes round all versions of an API, and waits in each, longer."""
CLEAN_UP_TIMEOUT_S = 20.0
GONE_AFTER_S = 30.0
"""A broker that cannot be reached for so long is not put to the other checks: they would all fail of the same."""
NEEDS = "needs "
"""What a check that is skipped for want of something says first."""
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
    results: list[Result] = []
    not_run = ""
    for one in checks:
        if results and results[-1].status is Status.FAILED and not _is_there(target):
            not_run = f"the broker cannot be reached any more since {results[-1].check.id}"
        elif time.monotonic() >= ends_at:
            not_run = TIME_IS_OVER
        result = Result(one, Status.SKIPPED, detail=not_run) if not_run else _run_one(one, target, offered, check_timeout_s)
        results.append(result)
        seen(result)
    return results


def _is_there(target: Target) -> bool:
    """Whether somebody answers at the target's address: at once, or after a restart."""
    deadline = time.monotonic() + GONE_AFTER_S
    again = Target(target.host, target.port, target.security)
    again.time_is_over_at = deadline
    while True:
        try:
            again.look()
        except (OSError, Unexpected, Malformed):
            if time.monotonic() > deadline - 0.2:
                return False
            time.sleep(0.2)
        else:
            return True
        finally:
            again.close()


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
    """The same by several hands: most of a check's time is waiting. Those that change the whole cluster come at the end, one after the other.

    Whoever interrupts waits for the checks that have begun, so that they take away what they made; `seen` is told of them as well.
    """
    waiting = deque(check for check in checks if not check.alone)
    last = deque(check for check in checks if check.alone)
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
        try:
            shares = [hands.submit(work, _taken_from(waiting)) for _ in range(jobs)]
            results = [result for share in shares for result in share.result()]
            results += _by_itself(last, hands, work) if last else []
        except BaseException:
            waiting.clear()
            last.clear()
            raise
    order = {check: number for number, check in enumerate(checks)}
    return sorted(results, key=lambda result: order[result.check])


def _by_itself(last: deque[Check], hands: ThreadPoolExecutor, work: Callable[[Iterable[Check]], list[Result]]) -> list[Result]:
    """By one of the hands, so that who interrupts does not interrupt the check in the middle of an answer."""
    checks = list(last)
    try:
        return hands.submit(work, _taken_from(last)).result()
    except (OSError, Unexpected, Malformed) as error:
        return [Result(check, Status.SKIPPED, detail=f"the broker cannot be reached any more: {error}") for check in checks]


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
        return Result(check, Status.SKIPPED, detail=f"{NEEDS}{', '.join(sorted(missing))}")
    versions: list[int | None] = [None]
    if check.takes_version:
        served = target.served[keys[check.apis[0]]]
        versions = [version for version in check.versions if version in served]
        if not versions:
            versions_shown = "-".join(str(one) for one in dict.fromkeys((check.versions[0], check.versions[-1])))
            return Result(check, Status.NOT_SERVED, detail=f"{check.apis[0]} {versions_shown}")
    started = time.monotonic()
    for version in versions:
        target.exchanges.clear()
        target.time_is_over_at = started + timeout_s
        try:
            check.run(target, version)
        except NotServed as api:
            return Result(check, Status.NOT_SERVED, time.monotonic() - started, f"{api}")
        except Unexpected as unexpected:
            looked_at, path = _path_of(unexpected, target.exchanges)
            exchanges = list(target.exchanges)
            return Result(check, Status.FAILED, time.monotonic() - started, f"{unexpected}", version, path, exchanges, looked_at)
        except Exception as error:  # noqa: BLE001 - an answer that makes a check stumble is no pass
            detail = f"{type(error).__name__}: {error}"
            if not isinstance(error, (OSError, Malformed)):
                detail += _place_of(error)
            return Result(check, Status.FAILED, time.monotonic() - started, detail, version, exchanges=list(target.exchanges))
        finally:
            target.time_is_over_at = time.monotonic() + CLEAN_UP_TIMEOUT_S
            target.clean_up()
    return Result(check, Status.PASSED, time.monotonic() - started)


def _place_of(error: Exception) -> str:
    """The line of the check, or of what it stands on, that could make nothing of the answer."""
    place = ""
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        if frame.tb_frame.f_globals.get("__name__", "").startswith("pykbroker.compat."):
            place = linecache.getline(code.co_filename, frame.tb_lineno).strip()
        frame = frame.tb_next
    return f", at `{place}`" if place else ""


def _path_of(unexpected: Unexpected, exchanges: Sequence[Exchange]) -> tuple[int | None, str]:
    """The exchange and the way to the field, where what was looked at is part of a response that was kept; no way where no field was looked at."""
    if isinstance(unexpected, Untrue):
        return None, ""
    for place, exchange in reversed(list(enumerate(exchanges))):
        if exchange.response is not None:
            for path, part in _parts(exchange.response, type(exchange.response).__name__):
                if part is unexpected.within:
                    return place, f"{path}.{unexpected.field}"
    return None, unexpected.field


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
