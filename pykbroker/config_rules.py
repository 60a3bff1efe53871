"""What may be set while the broker runs: a topic's configs, a group's, a client metrics subscription's, and a broker's.

Each check takes the configs that the resource would have of its own and raises KafkaError with the code and the sentence that Kafka
answers with; nothing is changed here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pykbroker.config_definitions import ConfigValueError, ResourceType, Value, definitions
from pykbroker.protocol.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from pykbroker.config import Configuration


def check_topic(configuration: "Configuration", configs: Mapping[str, str | None]) -> None:
    """The configs that a topic would have of its own (K-05)."""
    known = definitions(ResourceType.TOPIC)
    for name in configs:
        if name not in known:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {name}")
    values = _checked(ResourceType.TOPIC, configs)
    given = {name: text for name, text in configs.items() if text is not None}
    effective = configuration.topic_with(given)
    if effective.min_compaction_lag_ms > effective.max_compaction_lag_ms:
        lags = (effective.min_compaction_lag_ms, effective.max_compaction_lag_ms)
        sentence = f"conflict topic config setting min.compaction.lag.ms ({lags[0]}) > max.compaction.lag.ms ({lags[1]})"
        raise KafkaError(ErrorCode.INVALID_CONFIG, sentence)
    if values.get("remote.storage.enable"):
        sentence = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
        raise KafkaError(ErrorCode.INVALID_CONFIG, sentence)


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
