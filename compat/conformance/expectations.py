"""What a check says of an answer. What is not as expected raises `Unexpected`, also where Python's assertions are compiled out."""

from collections.abc import Callable, Sized
from typing import Any

from pykbroker.protocol.errors import ErrorCode


class Unexpected(Exception):  # noqa: N818 - what the broker was
    """The broker answered something else. `field` is what was looked at."""

    def __init__(self, field: str, expected: object, found: object, within: object = None) -> None:
        super().__init__(f"{field}: expected {shown(expected)}, found {shown(found)}")
        self.field = field
        self.expected = shown(expected)
        self.found = shown(found)
        self.within = within


class Untrue(Unexpected):
    """Something that is no field, and ought to be true."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, "true", "not so")

    def __str__(self) -> str:
        return f"it is not so that {self.field}"


class NotServed(Exception):  # noqa: N818 - what the API is
    """The check turns out to need an API, or a version of it, that the broker does not serve; the message names it."""


class Where:
    """A value that is described rather than given: `offset=at_least(3)`."""

    def __init__(self, words: str, holds: Callable[[Any], bool]) -> None:
        self.words = words
        self._holds = holds

    def __eq__(self, other: object) -> bool:
        return self._holds(other)

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return self.words


def at_least(number: float) -> Where:
    """Not less than that."""
    return Where(f"at least {number}", lambda found: found >= number)


def one_of(*values: object) -> Where:
    """Any of those."""
    return Where("one of " + ", ".join(map(shown, values)), lambda found: found in values)


ANYTHING = Where("anything", lambda _: True)
NULL_OR_EMPTY = Where("null or empty", lambda found: not found)
NOT_EMPTY = Where("not empty", lambda found: isinstance(found, Sized) and len(found) > 0)
NOT_NULL = Where("not null", lambda found: found is not None)


def expect(answer: object, **fields: object) -> None:
    """Every named field of an answer, or of a part of it, has that value."""
    for name, expected in fields.items():
        found = getattr(answer, name)
        if isinstance(expected, Where):
            if expected != found:
                raise Unexpected(name, expected, _named(name, found), answer)
        elif found != expected or type(found) is bool is not type(expected):
            raise Unexpected(name, _named(name, expected), _named(name, found), answer)


def expect_that(holds: object, sentence: str) -> None:
    """Something that is no field; `sentence` says what ought to be true."""
    if not holds:
        raise Untrue(sentence)


def expect_equal(what: str, found: object, expected: object) -> None:
    """A value with a name."""
    if isinstance(expected, Where):
        if expected != found:
            raise Unexpected(what, expected, found)
    elif found != expected:
        raise Unexpected(what, expected, found)


def shown(value: object) -> str:
    """A value as a report shows it."""
    if isinstance(value, ErrorCode):
        return f"{value.name}({value.value})"
    return repr(value) if len(repr(value)) < 400 else repr(value)[:400] + "…"


def _named(field: str, value: object) -> object:
    """An error code by its name."""
    if field == "error_code" and isinstance(value, int) and value in ErrorCode._value2member_map_:
        return ErrorCode(value)
    return value
