"""The real clocks and the real threads, as the core wants them: what they call back is called on the event loop's thread, guarded."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pykbroker.later import Later

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

_THREADS = 4


class SystemClock:
    """The machine's time, on an event loop. An exception in what it calls goes to `unexpected`: a timer's bug stops no other timer.

    `time_ns` is what it reads: time.time_ns for the time of day, which somebody may set, or time.monotonic_ns for time that passes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, unexpected: Callable[[BaseException], None], time_ns: Callable[[], int]) -> None:
        self.unexpected = unexpected
        self._time_ns = time_ns
        self.pending: set[SystemTimer] = set()
        self._loop = loop

    @property
    def now_ms(self) -> int:
        """Milliseconds since 1970, or since some moment that is always the same."""
        return self._time_ns() // 1_000_000

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> "SystemTimer":
        """Call `callback` once, `delay_ms` from now; by the monotonic clock, so that setting the machine's time wakes nobody."""
        timer = SystemTimer(self, callback)
        timer.handle = self._loop.call_later(max(0.0, delay_ms) / 1000, timer.run)
        self.pending.add(timer)
        return timer

    def stop(self) -> None:
        """Call off everything: the loop may live on, and must not keep us alive with it."""
        for timer in list(self.pending):
            timer.cancel()


class SystemTimer:
    """One call to come."""

    __slots__ = ("_callback", "_clock", "handle")

    handle: asyncio.TimerHandle

    def __init__(self, clock: SystemClock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback

    def run(self) -> None:
        """It is time."""
        self._clock.pending.discard(self)
        try:
            self._callback()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            self._clock.unexpected(error)

    def cancel(self) -> None:
        """Call it off; harmless when it has happened already."""
        self.handle.cancel()
        self._clock.pending.discard(self)


class Threads:
    """Runs work that lets go of the GIL (an fsync, a read, a checksum of megabytes) in a few threads, made when first needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[Future[Any], Later[Any]] = {}

    def __call__(self, work: Callable[[], T], /) -> Later[T]:
        """Start `work`; its value, or its exception, settles the Later on the loop's thread."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pykbroker-work")
        later: Later[T] = Later()
        future = self._pool.submit(work)
        self._under_way[future] = later
        future.add_done_callback(self._done)
        return later

    def wait_for(self, later: Later[T]) -> None:
        """Block the loop's thread until `later` is settled, or until nothing is under way that could settle it."""
        from concurrent.futures import FIRST_COMPLETED, wait

        while not later.settled and self._under_way:
            done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
            for future in done:
                self._settle(future)

    async def stop(self) -> None:
        """Wait for what is under way, and for what it settles."""
        while self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown)
            for future in list(self._under_way):
                self._settle(future)

    def _done(self, future: "Future[Any]") -> None:
        self._loop.call_soon_threadsafe(self._settle, future)

    def _settle(self, future: "Future[Any]") -> None:
        later = self._under_way.pop(future, None)
        if later is None:
            return
        error = future.exception()
        if error is not None:
            later.fail(error)
        else:
            later.settle(future.result())
