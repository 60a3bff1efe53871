"""IncrementalAlterConfigs: set, delete, append to or subtract from single configs.

Versions    0-1.
Authorizes  AlterConfigs on the topic, on the group, or on the cluster for everything else.
Waits       until the records are durable in the metadata log.
Notes       Each resource is all or nothing and independent of the others; one named twice fails at both places (K-05).
            An operation that does not exist makes all that the controller would decide fail (UNKNOWN_SERVER_ERROR).
            Broker configs and loggers are altered by the broker that they belong to (K-13, K-16).
            validate_only: the same errors, no change (K-07).
Not done    -
Semantics   K-05 … K-19.  Sources: KIP-339, KIP-412, KIP-714.
"""

from collections import Counter

from pykbroker.broker_loggers import check_level, set_level
from pykbroker.config import ResourceType
from pykbroker.config.changes import (
    Altered,
    Change,
    Operation,
    Resource,
    alter_all,
    changed_value,
    check_is_own_id,
    check_names_and_values,
    incremental_records,
)
from pykbroker.context import Context
from pykbroker.coordinator.java_hash import in_map_order
from pykbroker.later import Later, when
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ConfigRecord, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse

VERSIONS = range(2)

_FOR_THE_CONTROLLER = {ResourceType.TOPIC, ResourceType.CLIENT_METRICS, ResourceType.GROUP}

_OPERATIONS = frozenset(Operation)

_Asked = IncrementalAlterConfigsRequest.AlterConfigsResource
_Answered = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse


def handle(
    context: Context, request: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse | Later[IncrementalAlterConfigsResponse]:
    """Decide every resource by itself, then write down what all of them come to."""
    is_unreadable = _has_unknown_operation(request)

    def records(asked: _Asked) -> list[ConfigRecord]:
        changes = _changes(asked)
        if asked.resource_type == ResourceType.BROKER_LOGGER:
            _alter_loggers(context, asked.resource_name, changes, validate_only=request.validate_only)
            return []
        resource = Resource(context.cluster, context.broker.node_id, asked.resource_type, asked.resource_name)
        if is_unreadable and asked.resource_type in _FOR_THE_CONTROLLER:
            check_names_and_values(_names_and_values(changes))
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
        return incremental_records(resource, changes)

    altered = alter_all(context.cluster, request.resources, records, validate_only=request.validate_only)
    return when(altered, _response)


def failed(request: IncrementalAlterConfigsRequest, error: ErrorCode) -> IncrementalAlterConfigsResponse:
    """Every resource asked for, answered with `error`."""
    return _response([Altered(each.resource_type, each.resource_name, error, error.sentence) for each in request.resources])


def _response(altered: list[Altered]) -> IncrementalAlterConfigsResponse:
    return IncrementalAlterConfigsResponse(responses=[_Answered(**each._asdict()) for each in altered])


def _changes(asked: _Asked) -> list[Change]:
    """In the order in which Kafka's map has them, since the first that fails is what is told."""
    order = {name: at for at, name in enumerate(in_map_order(dict.fromkeys(each.name for each in asked.configs)))}
    changes = [Change(each.name, each.config_operation, each.value) for each in asked.configs]
    return sorted(changes, key=lambda change: order[change.name])


def _names_and_values(changes: list[Change]) -> list[tuple[str, str | None]]:
    return [(each.name, "" if each.operation == Operation.DELETE else each.value) for each in changes]


def _has_unknown_operation(request: IncrementalAlterConfigsRequest) -> bool:
    """Whether Kafka's controller could not read what would be passed on to it: then it alters nothing. What is refused before does not count."""
    suspects = [each for each in request.resources if any(config.config_operation not in _OPERATIONS for config in each.configs)]
    if not suspects:
        return False
    times = Counter((each.resource_type, each.resource_name) for each in request.resources)
    for asked in suspects:
        if asked.resource_type in _FOR_THE_CONTROLLER and times[asked.resource_type, asked.resource_name] == 1:
            changes = _changes(asked)
            try:
                check_names_and_values(_names_and_values(changes))
            except KafkaError:
                continue
            if _comes_to_unknown_operation(ResourceType(asked.resource_type), changes):
                return True
    return False


def _comes_to_unknown_operation(resource_type: ResourceType, changes: list[Change]) -> bool:
    """Whether nothing else is wrong with the operations before."""
    for change in changes:
        try:
            changed_value(resource_type, None, change)
        except KafkaError as error:
            return error.error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    return False


def _alter_loggers(context: Context, name: str, changes: list[Change], *, validate_only: bool) -> None:
    """Levels are not kept: a broker that starts again has those it was started with, as in Kafka."""
    check_names_and_values(_names_and_values(changes))
    check_is_own_id(name, context.broker.node_id)
    for change in changes:
        if change.operation in {Operation.APPEND, Operation.SUBTRACT}:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"{Operation(change.operation).name} is for lists, and a logger's level is none.")
        if change.operation not in {Operation.SET, Operation.DELETE}:
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
        check_level(change.name, change.value if change.operation == Operation.SET else None)
    if not validate_only:
        for change in changes:
            set_level(change.name, change.value if change.operation == Operation.SET else None)
