"""The differences that are meant: for each a sentence, and what recognises it. DIFFERENCES.md is made from this list."""

from collections.abc import Callable
from dataclasses import dataclass

from compat.differential.steps import Step
from pykbroker.protocol.messages import Message

_BY_ID = 13
_FIRST_WITH_DIVERGING_EPOCHS = 12
_LAST_PARTITION_INDEX = (1 << 31) - 1 - 2000
_LAST_SESSION_ID = 2147483640

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


def _is_a_selection(path: str, kafkas: object, ours: object) -> bool:
    """Whether ours are some of Kafka's, just as Kafka has them; how often what is finalized has changed is each broker's own."""
    if path == "finalized_features_epoch":
        return True
    return isinstance(kafkas, list) and isinstance(ours, list) and all(one in kafkas for one in ours)


EXPLAINED = [
    Explained(
        "ApiVersions names fewer APIs and features",
        "What is not served yet (NOT_DONE.md) is not advertised; of the APIs that are, the versions are Kafka's.",
        lambda step, _request, path, kafkas, ours: step.api == "ApiVersions" and _is_a_selection(path, kafkas, ours),
    ),
    Explained(
        "Produce with null records is refused",
        "Kafka 4.3 fails within and never answers: the connection stays open and mute. We answer INVALID_RECORD, or close it where acks=0. (Not among the sequences, "
        "since each would have to wait for an answer that never comes.)",
        lambda step, _request, _path, kafkas, _ours: step.api == "Produce" and kafkas == "it waits",
    ),
    Explained(
        "AlterConfigs that names a resource twice is answered",
        "Kafka 4.3 fails within and never answers. We answer INVALID_REQUEST for that resource, as IncrementalAlterConfigs does on both. (Not among the sequences.)",
        lambda step, _request, _path, kafkas, _ours: step.api == "AlterConfigs" and kafkas == "it waits",
    ),
    Explained(
        "Fetch by a topic id of zeros is answered partition by partition",
        "Kafka 4.3 answers UNKNOWN_SERVER_ERROR for the whole request once it has to tell two partitions apart of which one has no topic. We answer UNKNOWN_TOPIC_ID "
        "for the partition. (Not among the sequences, since a session would go on differently.)",
        lambda step, request, _path, _kafkas, _ours: (
            step.api == "Fetch" and any(not any(topic.topic_id) for topic in getattr(request, "topics", ())) and step.version >= _BY_ID
        ),
    ),
    Explained(
        "A fetch session whose number is at the ends of 32 bits",
        "Kafka 4.3 finds a session's part of its cache by dividing the id, fails with UNKNOWN_SERVER_ERROR beyond 2147483640, and gives no such ids itself. "
        "We know no session of such an id, and answer as for any other. (Not among the sequences.)",
        lambda step, request, _path, _kafkas, _ours: (
            step.api == "Fetch" and not -_LAST_SESSION_ID < getattr(request, "session_id", 0) < _LAST_SESSION_ID
        ),
    ),
    Explained(
        "A max_bytes below 0 in a fetch session that goes on",
        "Kafka 4.3 fails with UNKNOWN_SERVER_ERROR at the first partition with records, unless one without was read before it. We read only those in which something "
        "has changed, and fail at the first of them. (Not among the sequences.)",
        lambda step, request, _path, _kafkas, _ours: (
            step.api == "Fetch" and getattr(request, "max_bytes", 0) < 0 < getattr(request, "session_epoch", 0)
        ),
    ),
    Explained(
        "DescribeTopicPartitions of an empty name",
        "Kafka 4.3 fails with UNKNOWN_SERVER_ERROR. We answer INVALID_TOPIC_EXCEPTION for that topic.",
        lambda step, request, path, _kafkas, _ours: (
            step.api == "DescribeTopicPartitions"
            and path.startswith("topics")
            and any(topic.name == "" for topic in getattr(request, "topics", ()))
        ),
    ),
    Explained(
        "DescribeTopicPartitions from a partition near the end of 32 bits",
        "Kafka 4.3 adds the limit to it, comes out below zero, and stops with a next page that begins there. We go on with the topics that follow.",
        lambda step, request, path, _kafkas, _ours: (
            step.api == "DescribeTopicPartitions"
            and path.startswith(("next_cursor", "topics"))
            and getattr(getattr(request, "cursor", None), "partition_index", 0) > _LAST_PARTITION_INDEX
        ),
    ),
    Explained(
        "A fetch session that goes on in a version below 12 after last_fetched_epoch was told in a later one",
        "Kafka 4.3 finds that it cannot tell of the diverging epoch, and fails as a whole with UNSUPPORTED_VERSION. We leave out what the version cannot say. (Not among "
        "the sequences.)",
        lambda step, request, path, kafkas, _ours: (
            step.api == "Fetch"
            and step.version < _FIRST_WITH_DIVERGING_EPOCHS
            and getattr(request, "session_epoch", 0) > 0
            and (path, kafkas) == ("error_code", 35)
        ),
    ),
    Explained(
        "A group whose only commit failed is shown once a member has joined it",
        "Kafka 4.3 has such a group in no log, and shows it as Dead until its first generation is written. (Not among the sequences.)",
        lambda step, _request, path, kafkas, ours: (
            step.api == "DescribeGroups" and path.endswith("group_state") and (kafkas, ours) == ("Dead", "CompletingRebalance")
        ),
    ),
    Explained(
        "JoinGroup that names a protocol twice is answered",
        "Kafka 4.3 counts such a protocol twice, finds none that all members speak, and never answers. Here a name counts once. (Not among the sequences.)",
        lambda step, request, _path, kafkas, _ours: (
            step.api == "JoinGroup"
            and kafkas == "it waits"
            and len({one.name for one in getattr(request, "protocols", ())}) < len(getattr(request, "protocols", ()))
        ),
    ),
    Explained(
        "JoinGroup of a static member with the member id of a dynamic one that has not joined yet",
        "Kafka 4.3 fails with UNKNOWN_SERVER_ERROR. We answer UNKNOWN_MEMBER_ID, upon which a client comes again without an id. (Not among the sequences.)",
        lambda step, request, path, kafkas, _ours: (
            step.api == "JoinGroup"
            and getattr(request, "group_instance_id", None) is not None
            and ((path == "error_code" and kafkas == -1) or (path == "member_id" and kafkas == ""))
        ),
    ),
    Explained(
        "JoinGroup of a consumer whose metadata claims more topics than there are bytes",
        "Kafka 4.3 fails within, once the rebalance is over, and never answers. We take it for a consumer of every topic. (Not among the sequences.)",
        lambda step, request, _path, kafkas, _ours: (
            step.api == "JoinGroup"
            and kafkas == "it waits"
            and any(bytes(one.metadata[2:6]) > b"\0\1" for one in getattr(request, "protocols", ()))
        ),
    ),
]
