"""What is given at the start is either served as it stands or refused with one sentence that says what to write instead.

The sentence names the setting, its value, where it was given, and the way out. What guards something (an authorizer, a policy, an
encrypted listener) and is not served is refused too: to start without the guard that somebody asked for would be the worst answer.
"""

import re
from collections.abc import Mapping

from pykbroker.config.definitions import ConfigDefinition, ConfigType, ConfigValueError, ResourceType, definition_of, definitions


class ConfigError(ValueError):
    """What was given at the start cannot be served; the message is one sentence for the person who gave it."""


def check_static(given: Mapping[str, str], origins: Mapping[str, str]) -> None:
    """Every key is known, every value obeys its rule, and no two contradict each other. Raises ConfigError."""
    for name, text in given.items():
        where = f" in {origins[name]}" if name in origins else ""
        definition = definition_of(name)
        if definition is None:
            if name.startswith(_PLUGIN_PREFIXES):
                continue
            raise ConfigError(unknown_key_sentence(name, where))
        _check_value(definition, name, text, where)
    _check_not_served(given, origins)
    _check_pairs(given, origins)


def unknown_key_sentence(name: str, where: str = "") -> str:
    """What to tell somebody who set a config that Kafka does not have."""
    if name in _GONE or name.startswith("zookeeper."):
        return f"{name}{where} left Kafka with 4.0; delete it."
    if name in definitions(ResourceType.TOPIC):
        broker_key = definitions(ResourceType.TOPIC)[name].broker_key
        return f"{name}{where} is a topic's config; {f'the broker calls it {broker_key}' if broker_key else 'set it on the topic'}."
    from difflib import get_close_matches

    nearest = get_close_matches(name, definitions(ResourceType.BROKER), n=1, cutoff=0.6)
    hint = f"did you mean {nearest[0]}?" if nearest else "Kafka 4.3 has no such config."
    return f"{name}{where} is not a config of the broker; {hint}"


def value_sentence(definition: ConfigDefinition, name: str, text: str, where: str) -> str:
    """What to tell somebody whose value a config cannot have; empty where it can."""
    try:
        value = definition.parse(text)
    except ConfigValueError:
        return f"{name}={text}{where} is not {_kind(definition)}; {_way_out(definition, text)}."
    try:
        definition.parse_checked(text)
    except ConfigValueError as error:
        if isinstance(value, int | float):
            return f"{name}={text}{where} is out of range; write {_range(definition.rule) or 'another number'}."
        choices = definition.rule.rpartition(" of ")[2].replace(",", ", ")
        if choices:
            return f"{name}={text}{where} is not possible; write {'any of' if definition.type is ConfigType.LIST else 'one of'} {choices}."
        return f"{name}={text}{where} is not possible: {error.reason}."
    return ""


_PLUGIN_PREFIXES = ("config.providers.", "rlmm.config.", "rsm.config.", "principal.builder.")
"""Settings of plug-ins that are never loaded; Kafka hands them on without looking."""

_GONE = frozenset(
    {
        "advertised.host.name",
        "advertised.port",
        "control.plane.listener.name",
        "delegation.token.master.key",
        "host.name",
        "inter.broker.protocol.version",
        "log.message.downconversion.enable",
        "log.message.format.version",
        "log.message.timestamp.difference.max.ms",
        "port",
    }
)

_NOT_SERVED = {
    "authorizer.class.name": "access control lists are not enforced yet",
    "create.topic.policy.class.name": "policies are Java classes and cannot be run here",
    "alter.config.policy.class.name": "policies are Java classes and cannot be run here",
    "client.quota.callback.class": "quota callbacks are Java classes and cannot be run here",
    "config.providers": "config providers are Java classes and cannot be run here; write the value itself",
}

_NOT_ABOVE = (
    ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"),
    ("group.share.min.session.timeout.ms", "group.share.session.timeout.ms"),
    ("group.share.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("group.share.min.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("group.share.min.record.lock.duration.ms", "group.share.record.lock.duration.ms"),
    ("group.share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    ("group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms"),
    ("group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    ("group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
)
"""Pairs whose first may not be above the second, as Kafka checks them when it starts."""


def _check_value(definition: ConfigDefinition, name: str, text: str, where: str) -> None:
    sentence = value_sentence(definition, name, text, where)
    if sentence:
        raise ConfigError(sentence)
    if definition.name in {"log.retention.ms", "log.retention.minutes", "log.retention.hours"} and int(text) == 0:
        raise ConfigError(f"{name}={text}{where} is not possible; write -1 to keep records for ever, or at least 1.")


def _check_not_served(given: Mapping[str, str], origins: Mapping[str, str]) -> None:
    for name, why in _NOT_SERVED.items():
        if given.get(name, "").strip():
            where = f" in {origins[name]}" if name in origins else ""
            raise ConfigError(f"{name}={given[name]}{where} cannot be served: {why}.")
    if given.get("remote.log.storage.system.enable", "").strip().lower() == "true":
        raise ConfigError("remote.log.storage.system.enable=true cannot be served: there is no tiered storage here.")
    roles = [role.strip() for role in given.get("process.roles", "broker").split(",")]
    if "broker" not in roles:
        raise ConfigError(
            f"process.roles={given['process.roles']} cannot be served: every process here is a broker; write broker,controller."
        )


def _check_pairs(given: Mapping[str, str], origins: Mapping[str, str]) -> None:
    brokers = definitions(ResourceType.BROKER)
    for smaller, larger in _NOT_ABOVE:
        if smaller not in given and larger not in given:
            continue
        low, high = (int(given.get(name) or brokers[name].default_text or 0) for name in (smaller, larger))
        if low > high:
            named = smaller if smaller in given else larger
            where = f" ({named} stands in {origins[named]})" if named in origins else ""
            raise ConfigError(f"{smaller}={low} is above {larger}={high}{where}; lower the one or raise the other.")


def _kind(definition: ConfigDefinition) -> str:
    if definition.type is ConfigType.BOOLEAN:
        return "true or false"
    if definition.type is ConfigType.DOUBLE:
        return "a number"
    return next((kind for ending, kind in _KINDS.items() if definition.name.endswith(ending)), "a whole number")


_KINDS = {
    ".bytes": "a number of bytes",
    ".ms": "a number of milliseconds",
    ".seconds": "a number of seconds",
    ".minutes": "a number of minutes",
    ".hours": "a number of hours",
}


def _way_out(definition: ConfigDefinition, text: str) -> str:
    if definition.type is ConfigType.BOOLEAN:
        return "write one of the two"
    limits = _range(definition.rule)
    return f"write {_meant(definition, text)}{f' ({limits})' if limits else ''}"


def _range(rule: str) -> str:
    bounds, _, exception = rule.partition(" or ")
    also = f", or {exception}" if exception else ""
    if bounds.startswith(">="):
        return f"at least {bounds[2:]}{also}"
    if ".." in bounds:
        low, high = bounds.split("..")
        return f"{low} to {high}{also}"
    return ""


_SIZE = r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt])i?b?"
_TIME = r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|m|min|h|d)"
_TIME_UNITS_MS = {"ms": 1, "s": 1000, "sec": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def _meant(definition: ConfigDefinition, text: str) -> str:
    """The number that somebody who wrote 1GB or 7d had in mind; else the default as an example."""
    size = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    if size and definition.name.endswith(".bytes"):
        return str(int(float(size[1]) * 1024 ** ("kmgt".index(size[2].lower()) + 1)))
    time = re.fullmatch(_TIME, text.strip(), re.IGNORECASE)
    if time and definition.name.endswith(".ms"):
        return str(int(float(time[1]) * _TIME_UNITS_MS[time[2].lower()]))
    return f"for instance {definition.default_text or 1}"
