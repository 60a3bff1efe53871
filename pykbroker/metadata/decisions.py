"""One decision at a time: the next one begins when the one before it has come true, or has failed, so it sees all that is true and nothing else.

A decision is work in slices (see `later`): while it waits for the disk, or lets others have their turn, everything but decisions goes on.
"""

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from pykbroker.later import Later, Slices, in_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykbroker.clock import Clock

T = TypeVar("T")


class Decisions:
    """Those that are being made, in the order in which they were asked for."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._is_deciding = False
        self._waiting: deque[tuple[Slices[Any], Later[Any]]] = deque()

    def make(self, decision: Slices[T]) -> T | Later[T]:
        """What becomes of `decision`: at once where nothing is in its way. What it raises is raised then, or else fails the Later."""
        result: Later[T] = Later()
        self._waiting.append((decision, result))
        if not self._is_deciding:
            self._go_on()
        return result.value if result.settled else result

    def _go_on(self) -> None:
        self._is_deciding = True
        has_begun = False
        try:
            while self._waiting and not has_begun:
                has_begun = self._begin(*self._waiting.popleft())
        finally:  # Whoever is told of a result may fail over it; the next decision is made all the same.
            self._is_deciding = has_begun

    def _begin(self, decision: Slices[T], result: Later[T]) -> bool:
        """Whether it waits for something: it goes on by itself then, and after it the next one."""
        try:
            made = in_turns(self._clock, decision)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits for the result
            result.fail(error)
            return False
        if not isinstance(made, Later):
            result.settle(made)
            return False
        made.then(lambda value: self._end(result.settle, value), lambda error: self._end(result.fail, error))
        return True

    def _end(self, tell: "Callable[[Any], None]", what: object) -> None:
        try:
            tell(what)
        finally:
            self._go_on()
