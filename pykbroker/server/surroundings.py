"""The real clock and the real threads, as the core wants them: what they call back is called on the event loop's thread, guarded."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pykbroker.later import Later

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

_THREADS = 4


class SystemClock:
    """The machine's time, on an event loop. An exception in what it calls goes to `unexpected`: a timer's bug stops no other timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, unexpected: Callable[[BaseException], None]) -> None:
        self.unexpected = unexpected
        self.pending: set[SystemTimer] = set()
        self._loop = loop

    @property
    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

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

    def __call__(self, work: Callable[[], T], /) -> Later[T]:
        """Start `work`; its value, or its exception, settles the Later on the loop's thread."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pykbroker-work")
        later: Later[T] = Later()

        def done(future: "Future[T]") -> None:
            self._loop.call_soon_threadsafe(settle, future)

        def settle(future: "Future[T]") -> None:
            error = future.exception()
            if error is not None:
                later.fail(error)
            else:
                later.settle(future.result())

        self._pool.submit(work).add_done_callback(done)
        return later

    async def stop(self) -> None:
        """Wait for what is under way, and for what it settles."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown)
            await asyncio.sleep(0)
