"""The differences that are meant: for each a sentence, and what recognises it. DIFFERENCES.md is made from this list."""

from collections.abc import Callable
from dataclasses import dataclass

from compat.differential.steps import Step
from pykbroker.protocol.messages import Message

Recognises = Callable[[Step, Message, str, object, object], bool]


@dataclass(frozen=True, slots=True)
class Explained:
    """A difference on purpose. `recognises` is asked with the step, Kafka's request, the path in the answer, and what Kafka and we have there."""

    what: str
    why: str
    recognises: Recognises


def explains(step: Step, request: Message, path: str, kafkas: object, ours: object) -> bool:
    """Whether some line of the list is this difference."""
    return any(one.recognises(step, request, path, kafkas, ours) for one in EXPLAINED)


EXPLAINED = [
    Explained(
        "ApiVersions names fewer APIs and features",
        "What is not served yet (NOT_DONE.md) is not advertised; of the APIs that are, the versions are Kafka's.",
        lambda step, _request, path, _kafkas, _ours: step.api == "ApiVersions" and path.startswith(("api_keys", "supported_features", "finalized_features")),
    ),
]
