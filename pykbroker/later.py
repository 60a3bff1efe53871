"""A value that is not here yet; whoever will know it settles it, once. Not an asyncio.Future: the core runs without an event loop.

A `Later` carries a value or the exception that took its place. What was hung on it with `then` runs at once when it is settled, on the
thread that owns the broker. Handlers are written for values and Laters alike with `when` and `when_all`.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from pykbroker.clock import Clock

T = TypeVar("T")
U = TypeVar("U")

_PENDING = object()


class Later(Generic[T]):
    """One value to come."""

    __slots__ = ("_error", "_value", "_waiting", "overlaps")

    def __init__(self) -> None:
        self.overlaps = False
        """Whether the connection's next request may be handled before this one is answered: only a Produce that is appended
        and waits for its fsync sets it (law 6). Answers still leave in the order of their requests."""
        self._value: object = _PENDING
        self._error: BaseException | None = None
        self._waiting: list[tuple[Callable[[T], object], Callable[[BaseException], object] | None]] = []

    @property
    def settled(self) -> bool:
        """Whether the value, or the exception in its place, is here."""
        return self._value is not _PENDING

    @property
    def value(self) -> T:
        """The value. Raises the exception that took its place, or LookupError while there is neither."""
        if self._error is not None:
            raise self._error
        if self._value is _PENDING:
            raise LookupError("this Later is not settled yet")
        return cast("T", self._value)

    def settle(self, value: T) -> None:
        """The value is here. A second settling is ignored: a deadline and an event may race, the first one counts."""
        if self._value is not _PENDING:
            return
        self._value = value
        waiting, self._waiting = self._waiting, []
        for then, _failed in waiting:
            then(value)

    def fail(self, error: BaseException) -> None:
        """An exception came instead of the value."""
        if self._value is not _PENDING:
            return
        self._value = None
        self._error = error
        waiting, self._waiting = self._waiting, []
        for _then, failed in waiting:
            if failed is not None:
                failed(error)

    def then(self, then: Callable[[T], object], failed: Callable[[BaseException], object] | None = None) -> None:
        """Call `then` with the value, or `failed` with the exception: now if it is here, else when it comes."""
        if self._value is _PENDING:
            self._waiting.append((then, failed))
        elif self._error is None:
            then(cast("T", self._value))
        elif failed is not None:
            failed(self._error)

    def settle_from(self, source: "Later[T]") -> None:
        """Become what `source` becomes."""
        source.then(self.settle, self.fail)


def when(value: "T | Later[T]", then: "Callable[[T], U | Later[U]]") -> "U | Later[U]":
    """`then(value)`, at once where the value is here, else as a Later. An exception of `then` fails the Later."""
    if not isinstance(value, Later):
        return then(value)
    if value.settled:
        return then(value.value)
    result: Later[U] = Later()

    def continue_with(settled: T) -> None:
        try:
            following = then(settled)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits for the result
            result.fail(error)
            return
        if isinstance(following, Later):
            result.settle_from(following)
        else:
            result.settle(following)

    value.then(continue_with, result.fail)
    return result


def when_all(values: "Iterable[T | Later[T]]", then: "Callable[[list[T]], U | Later[U]]") -> "U | Later[U]":
    """`then` with the list of all values, in their order, as soon as the last of them is here."""
    items = list(values)
    missing = [item for item in items if isinstance(item, Later) and not item.settled]
    if not missing:
        return then([item.value if isinstance(item, Later) else item for item in items])
    everything: Later[list[T]] = Later()
    open_count = len(missing)

    def one_came(_value: T) -> None:
        nonlocal open_count
        open_count -= 1
        if open_count == 0 and not everything.settled:
            everything.settle([item.value if isinstance(item, Later) else item for item in items])

    for item in missing:
        item.then(one_came, everything.fail)
    return when(everything, then)


def in_slices(clock: "Clock", items: Sequence[T], work: Callable[[T], U], size: int) -> list[U] | Later[list[U]]:
    """[work(item), …]: at once where there are no more than `size`, else so many in a row, then others have their turn (law 5)."""
    done = [work(item) for item in items[:size]]
    if len(items) <= size:
        return done
    result: Later[list[U]] = Later()

    def go_on() -> None:
        try:
            done.extend([work(item) for item in items[len(done) : len(done) + size]])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits for the result
            result.fail(error)
            return
        if len(done) < len(items):
            clock.call_later(0, go_on)
        else:
            result.settle(done)

    clock.call_later(0, go_on)
    return result


Slices = Generator[Later[Any] | None, None, T]
"""Work in pieces: after None others have their turn, after a Later it goes on once that is settled, whatever with. At its end it gives a T."""


def in_turns(clock: "Clock", work: Slices[T]) -> T | Later[T]:
    """Do `work`, slice by slice: its value at once where it never has to wait. What it raises is raised, or fails the Later."""
    try:
        given = _next_wait(work)
    except StopIteration as finished:
        return cast("T", finished.value)
    result: Later[T] = Later()

    def go_on(_settled: object = None) -> None:
        try:
            given = _next_wait(work)
        except StopIteration as finished:
            result.settle(finished.value)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits for the result
            result.fail(error)
        else:
            wait(given)

    def wait(given: Later[Any] | None) -> None:
        if given is None:
            clock.call_later(0, go_on)
        else:
            given.then(go_on, go_on)

    wait(given)
    return result


def _next_wait(work: Slices[T]) -> Later[Any] | None:
    """What is to be waited for next; a Later that is settled already is not."""
    given = next(work)
    while given is not None and given.settled:
        given = next(work)
    return given
