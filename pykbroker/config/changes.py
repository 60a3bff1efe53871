"""What a request to alter configs comes to: the ConfigRecords that make it true, or the error that Kafka answers. Nothing is changed here.

One resource is all or nothing, and resources know nothing of one another. IncrementalAlterConfigs changes single configs; AlterConfigs
replaces everything that was set on the resource.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from pykbroker.config.broker_rules import check_broker, check_min_insync_replicas
from pykbroker.config.definitions import ConfigType, ResourceType, definition_of, definitions, text_of
from pykbroker.config.rules import check_client_metrics, check_group, check_topic
from pykbroker.later import Later, Slices
from pykbroker.limits import ITEMS_PER_SLICE
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ConfigRecord
from pykbroker.topic_names import why_invalid

if TYPE_CHECKING:
    from pykbroker.cluster import Cluster


class Operation(IntEnum):
    """What to do with one config."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Change(NamedTuple):
    """One config of an IncrementalAlterConfigs request; `operation` is what the client sent, known or not."""

    name: str
    operation: int
    value: str | None


class Resource(NamedTuple):
    """What is altered, by the broker `node_id` of `cluster`. `type` may be a number that means nothing."""

    cluster: "Cluster"
    node_id: int
    type: int
    name: str


class Altered(NamedTuple):
    """What is answered for one resource; its fields are those of the answer."""

    resource_type: int
    resource_name: str
    error_code: ErrorCode
    error_message: str | None


class Asked(Protocol):
    """A resource in a request."""

    resource_type: int
    resource_name: str


A = TypeVar("A", bound=Asked)


def alter_all(
    cluster: "Cluster", asked: Sequence[A], records_of: Callable[[A], list[ConfigRecord]], *, validate_only: bool
) -> list[Altered] | Later[list[Altered]]:
    """Decide every resource by itself with `records_of`, then write down what all of them come to, in one batch."""
    only_topics = all(each.resource_type == ResourceType.TOPIC for each in asked)
    names = [each.resource_name for each in asked] if only_topics else None
    return cluster.controller.decide(_alter(cluster, asked, records_of, validate_only=validate_only), names)


def _alter(
    cluster: "Cluster", asked: Sequence[A], records_of: Callable[[A], list[ConfigRecord]], *, validate_only: bool
) -> Slices[list[Altered]]:
    times = Counter((each.resource_type, each.resource_name) for each in asked)
    altered: list[Altered] = []
    changes: list[list[ConfigRecord]] = []
    for each in asked:
        if altered and len(altered) % ITEMS_PER_SLICE == 0:
            yield None
        key = (each.resource_type, each.resource_name)
        try:
            if times[key] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "The resource is in the request more than once.")
            changes.append(records_of(each))
        except KafkaError as error:
            message = None if error.error_code == ErrorCode.UNKNOWN_SERVER_ERROR else shortened(error.message)
            altered.append(Altered(*key, error.error_code, message))
        else:
            altered.append(Altered(*key, ErrorCode.NONE, None))
    if any(changes) and not validate_only:
        yield from cluster.controller.write(changes)
    return altered


def incremental_records(resource: Resource, changes: Sequence[Change]) -> list[ConfigRecord]:
    """The records that do what IncrementalAlterConfigs asks for one resource. Raises KafkaError."""
    check_names_and_values((change.name, "" if change.operation == Operation.DELETE else change.value) for change in changes)
    key = _checked_resource(resource)
    before = resource.cluster.config.overrides(*key)
    after = dict(before)
    for change in changes:
        value = changed_value(key[0], before.get(change.name), change)
        if value is None:
            after.pop(change.name, None)
        else:
            after[change.name] = value
    return _records(resource, key, after, {change.name for change in changes})


def replacement_records(resource: Resource, configs: Sequence[tuple[str, str | None]]) -> list[ConfigRecord]:
    """The records after which a resource has exactly these configs of its own, as AlterConfigs asks. Raises KafkaError."""
    check_names_and_values(configs)
    key = _checked_resource(resource)
    before = resource.cluster.config.overrides(*key)
    after = {name: value for name, value in configs if value is not None}
    return _records(resource, key, after, {*before, *after})


def check_names_and_values(configs: Iterable[tuple[str, str | None]]) -> None:
    """No config twice in one resource, and none without a value (K-05)."""
    pairs = list(configs)
    if len({name for name, _ in pairs}) < len(pairs):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "A config is in the request more than once.")
    nulls = [name for name, value in pairs if value is None]
    if nulls:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"No value is given for {', '.join(nulls)}.")


def shortened(sentence: str) -> str:
    """A sentence that repeats what a client sent, cut where it would no longer fit into an answer, or into anybody's patience."""
    return sentence if len(sentence) <= _LONGEST_SENTENCE else sentence[:_LONGEST_SENTENCE] + "…"


_LONGEST_SENTENCE = 2000


def check_is_own_id(name: str, node_id: int) -> None:
    """Whether a resource is named after the broker that is asked. Raises KafkaError."""
    try:
        named = int(name) if name.isascii() and "_" not in name and name.strip() == name else int("")
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"A broker is named by its id, a number; {name} is none.") from None
    if named != node_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"This is broker {node_id}; ask broker {name} about itself.")


_UNNAMED = {
    ResourceType.TOPIC: "The topic is not named, and topics have no configs in common.",
    ResourceType.GROUP: "The group is not named, and groups have no configs in common.",
    ResourceType.CLIENT_METRICS: "The client metrics subscription is not named.",
}


def _checked_resource(resource: Resource) -> tuple[ResourceType, str]:
    """The type, known, and the name under which its configs are kept."""
    name = resource.name
    if resource.type == ResourceType.BROKER:
        if name:
            check_is_own_id(name, resource.node_id)
            name = str(resource.node_id)
    elif resource.type not in _UNNAMED:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"There is no resource type {resource.type}.")
    return ResourceType(resource.type), name


def changed_value(resource_type: ResourceType, current: str | None, change: Change) -> str | None:
    """What a config has after one change; None: nothing of its own."""
    if change.operation == Operation.SET:
        return change.value
    if change.operation == Operation.DELETE:
        return None
    if change.operation not in {Operation.APPEND, Operation.SUBTRACT}:
        if resource_type is ResourceType.BROKER:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"There is no operation {change.operation}.")
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
    items = _list_of(resource_type, current, change)
    named = (change.value or "").split(",")
    if change.operation == Operation.APPEND:
        items += [item for item in named if item not in items]
    else:
        items = [item for item in items if item not in named]
    return ",".join(items)


def _list_of(resource_type: ResourceType, current: str | None, change: Change) -> list[str]:
    """The items a list config has now, or has by default, as they were written. Raises KafkaError for what is no list."""
    operation = Operation(change.operation).name
    if resource_type is ResourceType.BROKER:
        definition = definition_of(change.name)
        if definition is None:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"No broker has a config {change.name}.")
        if definition.type is not ConfigType.LIST:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{operation} is for lists, and {change.name} is none.")
    else:
        definition = definitions(ResourceType.TOPIC).get(change.name) if resource_type is ResourceType.TOPIC else None
        if definition is None or definition.type is not ConfigType.LIST:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{operation} is for lists, and {change.name} is none.")
    text = current if current is not None else text_of(definition.default)
    return text.split(",") if text else []


def _records(resource: Resource, key: tuple[ResourceType, str], after: Mapping[str, str], named: Collection[str]) -> list[ConfigRecord]:
    """The records after which the resource has `after`, once that is found to be possible; `named` is what the request is about."""
    resource_type, name = key
    configuration = resource.cluster.config
    before = configuration.overrides(*key)
    changed = {config: value for config, value in after.items() if before.get(config) != value}
    removed = [config for config in before if config not in after]
    _check_sizes(changed)
    if not name and resource_type in _UNNAMED:
        raise KafkaError(ErrorCode.INVALID_REQUEST, _UNNAMED[resource_type])
    if resource_type is ResourceType.TOPIC:
        why = why_invalid(name)
        if why is not None:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, why)
        check_topic(configuration, after)
        if resource.cluster.metadata.topic(name) is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"There is no topic {name}.")
    elif resource_type is ResourceType.GROUP:
        check_group(configuration, after)
    elif resource_type is ResourceType.CLIENT_METRICS:
        check_client_metrics(after)
    else:
        check_broker(configuration, resource.node_id, after, on_all_brokers=not name)
        if resource.cluster.metadata.features.get("eligible.leader.replicas.version", 0) >= 1:
            check_min_insync_replicas(named, after, on_all_brokers=not name)
    return [
        ConfigRecord(resource_type=resource_type, resource_name=name, name=config, value=value)
        for config, value in [*changed.items(), *((config, None) for config in removed)]
    ]


_LONGEST_TEXT_BYTES = 32767
"""What a record's string can hold."""


def _check_sizes(changed: Mapping[str, str]) -> None:
    for name, value in changed.items():
        if max(len(name.encode()), len(value.encode())) > _LONGEST_TEXT_BYTES:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"The value of {shortened(name)} has more than {_LONGEST_TEXT_BYTES} bytes.")
