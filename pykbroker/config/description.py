"""How a configuration is told to a client: every config of a resource, its value, and where that comes from (K-01, K-04, K-10).

A synonym is a place where the value was looked for: the resource itself, then the broker's configs that stand behind it, from the most
specific to the default. Kafka leaves out what comes before the first mention of the config's own name: so retention.ms has no synonym while
only log.retention.hours gives it, and counts as a default.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pykbroker.config.definitions import (
    ConfigDefinition,
    ConfigType,
    ConfigValueError,
    ResourceType,
    Value,
    definition_of,
    definitions,
    text_of,
)

if TYPE_CHECKING:
    from pykbroker.config.configuration import Configuration

DYNAMIC_TOPIC_CONFIG = 1
DYNAMIC_BROKER_CONFIG = 2
DYNAMIC_DEFAULT_BROKER_CONFIG = 3
STATIC_BROKER_CONFIG = 4
DEFAULT_CONFIG = 5
DYNAMIC_BROKER_LOGGER_CONFIG = 6
CLIENT_METRICS_CONFIG = 7
GROUP_CONFIG = 8


class Synonym(NamedTuple):
    """One place where a value was found."""

    name: str
    value: str | None
    source: int


class DescribedConfig(NamedTuple):
    """One config of a resource, as clients see it; its fields are those of the answer."""

    name: str
    value: str | None
    read_only: bool
    config_source: int
    is_sensitive: bool
    synonyms: tuple[Synonym, ...]
    config_type: ConfigType


def described_resource(configuration: "Configuration", resource_type: ResourceType, overrides: Mapping[str, str]) -> list[DescribedConfig]:
    """Every config of a topic, group or client metrics subscription that has these of its own; an internal one only where it is set."""
    values = configuration.derived(resource_type, overrides)
    return [
        _described(configuration, _OWN_SOURCE[resource_type], definition, values[name], overrides.get(name))
        for name, definition in definitions(resource_type).items()
        if name in overrides or not definition.internal
    ]


def described_broker(configuration: "Configuration", node_id: int) -> list[DescribedConfig]:
    """Every config of one broker, and what else was set on it."""
    layers = configuration.broker_layers(str(node_id))
    known = definitions(ResourceType.BROKER)
    unknown = sorted({name for _, layer in layers for name in layer} - known.keys())
    described = [
        _described_broker_config(name, definition, configuration.broker_value_as_set(name, node_id), layers)
        for name, definition in known.items()
        if not definition.internal
    ]
    return described + [_described_unknown(name, layers) for name in unknown]


def described_all_brokers(configuration: "Configuration") -> list[DescribedConfig]:
    """What was set at run time for all brokers; nothing else has a value of its own there."""
    overrides = configuration.overrides(ResourceType.BROKER, "")
    layers = [(DYNAMIC_DEFAULT_BROKER_CONFIG, overrides)]
    known = definitions(ResourceType.BROKER)
    described = []
    for name, text in overrides.items():
        if name in known:
            value = _parsed(known[name], text)
            entry = _described_broker_config(name, known[name], value, layers)
            described.append(entry._replace(synonyms=tuple(s for s in entry.synonyms if s.source == DYNAMIC_DEFAULT_BROKER_CONFIG)))
        else:
            described.append(_described_unknown(name, layers))
    return described


_OWN_SOURCE = {
    ResourceType.TOPIC: DYNAMIC_TOPIC_CONFIG,
    ResourceType.CLIENT_METRICS: CLIENT_METRICS_CONFIG,
    ResourceType.GROUP: GROUP_CONFIG,
}

_LOOKED_UP_TOGETHER = (
    ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
    ("log.roll.ms", "log.roll.hours"),
    ("log.roll.jitter.ms", "log.roll.jitter.hours"),
    ("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
)
"""Configs of which one stands in for another: each is a synonym of the others, except that the scheduler's interval stands for itself."""

_TOGETHER = {name: names for names in _LOOKED_UP_TOGETHER for name in names if name != "log.flush.scheduler.interval.ms"}


def _described(
    configuration: "Configuration", own_source: int, definition: ConfigDefinition, value: Value, own_text: str | None
) -> DescribedConfig:
    synonyms: list[Synonym] = []
    if own_text is not None:
        synonyms.append(Synonym(definition.name, text_of(value), own_source))
    broker_key = definition.broker_key
    brokers = definitions(ResourceType.BROKER)
    if broker_key in brokers:
        layers = configuration.broker_layers(configuration.node_id)
        synonyms += _broker_synonyms(broker_key, layers)
    elif broker_key:
        synonyms.append(Synonym(broker_key, definition.default_text, DEFAULT_CONFIG))
    source = synonyms[0].source if synonyms else DEFAULT_CONFIG
    return DescribedConfig(definition.name, text_of(value), False, source, False, tuple(synonyms), definition.type)


def _described_broker_config(
    name: str, definition: ConfigDefinition, value: Value, layers: Iterable[tuple[int, Mapping[str, str]]]
) -> DescribedConfig:
    synonyms = _broker_synonyms(name, layers)
    source = synonyms[0].source if synonyms else DEFAULT_CONFIG
    text = None if definition.sensitive else text_of(value)
    read_only = definition.update in {"read-only", "internal"}
    return DescribedConfig(name, text, read_only, source, definition.sensitive, synonyms, definition.type)


def _described_unknown(name: str, layers: Iterable[tuple[int, Mapping[str, str]]]) -> DescribedConfig:
    """A config of a listener, or one that Kafka does not know and so keeps to itself: it may be a secret (K-05)."""
    base = definition_of(name)
    sensitive = base is None or base.sensitive
    found = [Synonym(name, None if sensitive else layer[name].strip(), source) for source, layer in layers if name in layer]
    type_ = ConfigType.UNKNOWN if base is None else base.type
    return DescribedConfig(name, found[0].value, True, found[0].source, sensitive, tuple(found), type_)


def _broker_synonyms(name: str, layers: Iterable[tuple[int, Mapping[str, str]]]) -> tuple[Synonym, ...]:
    """Where a broker's value was found, beginning with the first place that has it under its own name."""
    brokers = definitions(ResourceType.BROKER)
    names = _TOGETHER.get(name, (name,))
    sensitive = brokers[name].sensitive
    found = [
        Synonym(each, None if sensitive else layer[each].strip(), source) for source, layer in layers for each in names if each in layer
    ]
    for each in names:
        default = brokers[each].default_text
        if default is not None:
            found.append(Synonym(each, default, DEFAULT_CONFIG))
    first = next((number for number, synonym in enumerate(found) if synonym.name == name), len(found))
    return tuple(found[first:])


def _parsed(definition: ConfigDefinition, text: str) -> Value:
    try:
        return definition.parse(text)
    except ConfigValueError:
        return text
