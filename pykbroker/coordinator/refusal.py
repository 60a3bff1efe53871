"""An error that is raised in place of an answer, now or later, becomes the answer that says so in the request's own version."""

from collections.abc import Callable
from typing import TypeVar

from pykbroker.later import Later
from pykbroker.protocol.errors import KafkaError

T = TypeVar("T")


def or_refusal(work: "Callable[[], T | Later[T]]", refusal: Callable[[KafkaError], T]) -> "T | Later[T]":
    """What `work` gives; where that fails with a KafkaError, what `refusal` makes of it. Other exceptions pass."""
    try:
        answer = work()
    except KafkaError as error:
        return refusal(error)
    if not isinstance(answer, Later):
        return answer
    result: Later[T] = Later()
    answer.then(result.settle, lambda error: result.settle(refusal(error)) if isinstance(error, KafkaError) else result.fail(error))
    return result
