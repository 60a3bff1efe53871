"""Decisions about the same are made one after the other: each sees what those before it changed, and nothing else. Others share their wait for the disk.

A decision is work in slices (see `later`): while it waits, or lets others have their turn, everything that is not about the same goes on. They begin in the
order in which they were asked for.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pykbroker.later import Later, Slices, in_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykbroker.clock import Clock

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Decision:
    work: Slices[Any]
    about: frozenset[str] | None
    result: Later[Any]

    def may_begin_beside(self, other: "_Decision") -> bool:
        return self.about is not None and other.about is not None and self.about.isdisjoint(other.about)


class Decisions:
    """Those that are being made, and those that wait for them."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._under_way: dict[_Decision, None] = {}
        self._waiting: deque[_Decision] = deque()
        self._is_beginning = False

    def make(self, work: Slices[T], about: Collection[str] | None = None) -> T | Later[T]:
        """What becomes of it: at once where nothing is in its way. What it raises is raised then, or else fails the Later.

        `about` names all that it looks at and changes; None: everything.
        """
        result: Later[T] = Later()
        self._waiting.append(_Decision(work, None if about is None else frozenset(about), result))
        self._begin_those_that_may()
        return result.value if result.settled else result

    def _begin_those_that_may(self) -> None:
        if self._is_beginning:
            return
        self._is_beginning = True
        try:
            while self._waiting and all(self._waiting[0].may_begin_beside(other) for other in self._under_way):
                self._begin(self._waiting.popleft())
        finally:  # Whoever is told of a result may fail over it; the next decision is made all the same.
            self._is_beginning = False

    def _begin(self, decision: _Decision) -> None:
        try:
            made = in_turns(self._clock, decision.work)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits for the result
            decision.result.fail(error)
            return
        if isinstance(made, Later):
            self._under_way[decision] = None
            tell, fail = decision.result.settle, decision.result.fail
            made.then(lambda value: self._end(decision, tell, value), lambda error: self._end(decision, fail, error))
        else:
            decision.result.settle(made)

    def _end(self, decision: _Decision, tell: "Callable[[Any], None]", what: object) -> None:
        del self._under_way[decision]
        try:
            tell(what)
        finally:
            self._begin_those_that_may()
