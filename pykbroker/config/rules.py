"""What may be set while the broker runs on a topic, a group, a client metrics subscription; a broker's configs have a file of their own.

Each check takes the configs that the resource would have of its own and raises KafkaError with the code and the sentence that Kafka
answers with; nothing is changed here.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pykbroker.config.definitions import ConfigValueError, ResourceType, Value, definitions
from pykbroker.protocol.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from pykbroker.config.configuration import Configuration


def check_topic(configuration: "Configuration", configs: Mapping[str, str | None]) -> None:
    """The configs that a topic would have of its own (K-05)."""
    known = definitions(ResourceType.TOPIC)
    for name in configs:
        if name not in known:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"No topic has a config {name}.")
    values = _checked(ResourceType.TOPIC, configs)
    given = {name: text for name, text in configs.items() if text is not None}
    effective = configuration.topic_with(given)
    if effective.min_compaction_lag_ms > effective.max_compaction_lag_ms:
        lags = (effective.min_compaction_lag_ms, effective.max_compaction_lag_ms)
        sentence = f"min.compaction.lag.ms={lags[0]} is longer than max.compaction.lag.ms={lags[1]}."
        raise KafkaError(ErrorCode.INVALID_CONFIG, sentence)
    if values.get("remote.storage.enable"):
        sentence = "remote.storage.enable cannot be true: there is no tiered storage here."
        raise KafkaError(ErrorCode.INVALID_CONFIG, sentence)


def check_group(configuration: "Configuration", configs: Mapping[str, str | None]) -> None:
    """The configs that a group would have of its own: within the bounds that the broker sets for them (K-10)."""
    known = definitions(ResourceType.GROUP)
    for name in configs:
        if name not in known:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"No group has a config {name}.")
    values = _checked(ResourceType.GROUP, configs)
    for name, (smallest, largest) in _GROUP_BOUNDS.items():
        value = values.get(name)
        if not isinstance(value, int):
            continue
        if smallest and value < configuration.integer(smallest):
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{name}={value} is below {smallest}.")
        if value > configuration.integer(largest):
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{name}={value} is above {largest}.")


def check_client_metrics(configs: Mapping[str, str | None]) -> None:
    """The configs of a client metrics subscription (K-15)."""
    known = definitions(ResourceType.CLIENT_METRICS)
    for name in configs:
        if name not in known:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"No client metrics subscription has a config {name}.")
    values = _checked(ResourceType.CLIENT_METRICS, configs)
    interval_ms = values.get("interval.ms")
    if isinstance(interval_ms, int) and not _SHORTEST_INTERVAL_MS <= interval_ms <= _LONGEST_INTERVAL_MS:
        reason = f"expected {_SHORTEST_INTERVAL_MS} to {_LONGEST_INTERVAL_MS} (an hour)"
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(ConfigValueError("interval.ms", interval_ms, reason)))
    patterns = values.get("match")
    for pattern in patterns if isinstance(patterns, list) else ():
        name, equals, expression = pattern.partition("=")
        if not equals or name.strip() not in _CLIENT_PROPERTIES or not _is_regular_expression(expression.strip()):
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"match has {pattern}, which is no NAME=REGULAR EXPRESSION about a client.")


_GROUP_BOUNDS = {
    "consumer.session.timeout.ms": ("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    "consumer.heartbeat.interval.ms": ("group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    "consumer.assignment.interval.ms": ("group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    "share.session.timeout.ms": ("group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    "share.heartbeat.interval.ms": ("group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    "share.assignment.interval.ms": ("group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    "share.record.lock.duration.ms": ("group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    "share.delivery.count.limit": ("group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    "share.partition.max.record.locks": (
        "group.share.min.partition.max.record.locks",
        "group.share.max.partition.max.record.locks",
    ),
    "streams.session.timeout.ms": ("group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    "streams.heartbeat.interval.ms": ("group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    "streams.assignment.interval.ms": ("group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
    "streams.num.standby.replicas": ("", "group.streams.max.standby.replicas"),
}
"""A group's config -> the broker's configs between which it may lie."""

_SHORTEST_INTERVAL_MS = 100
_LONGEST_INTERVAL_MS = 3_600_000

_CLIENT_PROPERTIES = frozenset(
    {
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    }
)


def _is_regular_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _checked(resource_type: ResourceType, configs: Mapping[str, str | None]) -> dict[str, Value]:
    """The typed values of those configs that are known, in the order of the table: so the first of several faults is always the same."""
    values: dict[str, Value] = {}
    for name, definition in definitions(resource_type).items():
        text = configs.get(name)
        if text is None:
            continue
        try:
            values[name] = definition.parse_checked(text)
        except ConfigValueError as error:
            raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from None
    return values
