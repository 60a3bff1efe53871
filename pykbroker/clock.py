"""Time is handed in: nothing else in the broker may ask what time it is or when to be woken.

A cluster holds two clocks. `clock` is the broker's own (sessions, retention, expiry: what the broker remembers). `waits` is for what a
client times itself (the max_wait_ms of a Fetch, the timeout_ms of a Produce, idle connections): it counts from some moment, and goes on evenly when
the machine's clock is set. Tests of the core hand in two virtual ones; with real clients only `clock` may be virtual.
"""

import heapq
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will happen, unless it is called off first."""

    def cancel(self) -> None:
        """Call it off; harmless when it has happened already."""


class Clock(Protocol):
    """What the broker knows of time."""

    @property
    def now_ms(self) -> int:
        """Milliseconds since 1970, as Kafka counts time; of `waits` only differences mean anything."""

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `delay_ms` from now, on the thread that owns the broker."""


class VirtualClock:
    """Stands still until it is advanced; then runs what fell due, in order of its time."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = start_ms
        self._due: list[_VirtualTimer] = []
        self._count = 0

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> "_VirtualTimer":
        """Hang `callback` up at now + `delay_ms`; timers of the same millisecond run in the order they were made."""
        self._count += 1
        timer = _VirtualTimer(self.now_ms + max(0, round(delay_ms)), self._count, callback)
        heapq.heappush(self._due, timer)
        return timer

    def advance(self, ms: int = 0, *, seconds: int = 0, minutes: int = 0, hours: int = 0, days: int = 0) -> None:
        """Let that much time pass: every timer that falls due runs at its own time, also those that the others set."""
        end_ms = self.now_ms + ms + 1000 * (seconds + 60 * (minutes + 60 * (hours + 24 * days)))
        while self._due and self._due[0].at_ms <= end_ms:
            timer = heapq.heappop(self._due)
            if timer.callback is not None:
                self.now_ms = timer.at_ms
                callback, timer.callback = timer.callback, None
                callback()
        self.now_ms = end_ms


class _VirtualTimer:
    __slots__ = ("at_ms", "callback", "number")

    def __init__(self, at_ms: int, number: int, callback: Callable[[], None]) -> None:
        self.at_ms = at_ms
        self.number = number
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: "_VirtualTimer") -> bool:
        return (self.at_ms, self.number) < (other.at_ms, other.number)

    def cancel(self) -> None:
        self.callback = None
