"""From a sequence with a difference to the shortest one that shows it: steps are left out by halves, then one by one; then the last request is emptied."""

import copy
import re
import time
from collections.abc import Callable, Iterator

from compat.differential.steps import Sequence, Step, places
from compat.differential.trial import Difference
from pykbroker.protocol.messages import Struct

_KEPT = {"acks", "timeout_ms"}
"""Another value would be another question."""

Run = Callable[[Sequence], Difference | None]


def minimised(sequence: Sequence, difference: Difference, run: Run, limit_s: float) -> tuple[Sequence, Difference]:
    """A shorter sequence, and the same difference in it; what was found when the time was over."""
    ends = time.monotonic() + limit_s
    best, found = _up_to(sequence, difference), difference

    def still_there(tried: Sequence) -> bool:
        nonlocal best, found
        if time.monotonic() > ends:
            return False
        seen = run(tried)
        if seen is None or _kind(seen).isdisjoint(_kind(difference)):
            return False
        best, found = _up_to(tried, seen), seen
        return True

    size = max(1, len(best.steps) // 2)
    while size:
        index = 0
        while index < len(best.steps):
            chunk = {step.number for step in best.steps[index : index + size]} - {found.step.number}
            if not chunk or not still_there(best.without(chunk)):
                index += size
        size //= 2
    shrunk = True
    while shrunk:
        shrunk = any(still_there(tried) for tried in _simpler(best, found.step))
    return best, found


def _up_to(sequence: Sequence, difference: Difference) -> Sequence:
    """Nothing after the difference is needed."""
    numbers = [one.number for one in sequence.steps]
    return Sequence(sequence.seed, sequence.steps[: numbers.index(difference.seen_at or difference.step.number) + 1])


def _kind(difference: Difference) -> set[tuple[str, str]]:
    """What makes two differences the same: the API, and where in the answer."""
    return {(difference.step.api, re.sub(r"\[\d+\]", "[]", path)) for path, _, _ in difference.places}


def _simpler(sequence: Sequence, differs: Step) -> Iterator[Sequence]:
    """The request that is answered differently with one element less, or with one field at its default."""
    at = [step.number for step in sequence.steps].index(differs.number)
    last = sequence.steps[at]
    for index, (struct, field) in enumerate(places(last.request, last.version)):
        value = getattr(struct, field.name)
        options: list[object] = []
        if isinstance(value, list) and value:
            options = [value[:position] + value[position + 1 :] for position in range(len(value))]
        elif field.name not in _KEPT and not isinstance(value, (list, Struct)) and value != getattr(type(struct)(), field.name):
            options = [getattr(type(struct)(), field.name)]
        for option in options:
            changed = copy.deepcopy(last)
            target, changed_field = places(changed.request, changed.version)[index]
            setattr(target, changed_field.name, option)
            yield Sequence(sequence.seed, [*sequence.steps[:at], changed, *sequence.steps[at + 1 :]])
