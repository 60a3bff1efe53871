r"""What each of Kafka's configs is: its type, default, rule, and who may change it at run time; all of it from `tables/*.tsv`.

One table per kind of resource. A row stands where Kafka lists the config in its answers. `rule` is empty or one of
    >=N   A..B   A..B or N   not empty   one of a,b   any case of a,b   each of a,b   throttled replicas   offset reset
`update` (brokers) says where a new value may be set while the broker runs: read-only, cluster (and one broker), broker (one broker only),
listener (only under the name of a listener); `internal` marks a config that is listed only where it is set. `broker_key` (topics and groups)
names the broker's config that gives the default. `\N` is null. The sentences of ConfigValueError are those that clients know from Kafka.
"""

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import cache
from pkgutil import get_data

Value = bool | int | float | str | list[str] | None

LISTENER_PREFIX = "listener.name."


class ConfigType(IntEnum):
    """A config's type, as DescribeConfigs numbers it from version 3 on."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ResourceType(IntEnum):
    """What a config belongs to, as the configs APIs and ConfigRecord number it."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigValueError(ValueError):
    """A value that a config cannot have. `reason` is the last half of the sentence, after the colon."""

    def __init__(self, name: str, value: object, reason: str) -> None:
        super().__init__(f"{name} cannot be {value}: {reason}.")
        self.reason = reason


class EmptyListItemError(ConfigValueError):
    """A list with nothing between two commas."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "a list with an empty item", "write something between the commas")


class ConfigDefinition:
    """One config. `update` is empty for all but brokers, `broker_key` for all but topics and groups."""

    __slots__ = ("broker_key", "default_text", "name", "rule", "type", "update")

    def __init__(
        self, name: str, type_: ConfigType, default_text: str | None, rule: str, *, update: str = "", broker_key: str = ""
    ) -> None:
        self.name = name
        self.type = type_
        self.default_text = default_text
        self.rule = rule
        self.update = update
        self.broker_key = broker_key

    @property
    def default(self) -> Value:
        """Kafka's default, typed."""
        return None if self.default_text is None else self.parse(self.default_text)

    @property
    def internal(self) -> bool:
        """Never listed, though it may be set."""
        return self.update == "internal" or self.name.startswith("internal.")

    @property
    def sensitive(self) -> bool:
        """Never shown."""
        return self.type is ConfigType.PASSWORD

    def parse(self, text: str) -> Value:
        """The typed value of `text`, which need not obey the rule; a list has each item once (K-12). Raises ConfigValueError."""
        value = _PARSERS[self.type](self.name, text if self.type is ConfigType.BOOLEAN else text.strip())
        if isinstance(value, list) and self.rule != _THROTTLED_REPLICAS_RULE:
            return list(dict.fromkeys(value))
        return value

    def parse_checked(self, text: str) -> Value:
        """The typed value of `text`, which obeys the rule. Raises ConfigValueError."""
        value = self.parse(text)
        if self.rule or isinstance(value, list):
            _check_rule(self, value)
        return value


@cache
def definitions(resource_type: ResourceType) -> Mapping[str, ConfigDefinition]:
    """Every config of a kind of resource, in the order in which Kafka lists them."""
    table = _TABLES[resource_type]
    rows = _rows(table)
    last_column = "update" if resource_type is ResourceType.BROKER else "broker_key"
    return {
        name: ConfigDefinition(name, ConfigType[type_], None if default == "\\N" else default, rule, **{last_column: last})
        for name, type_, default, rule, last in rows
    }


def definition_of(name: str) -> ConfigDefinition | None:
    """The broker's config that `name` sets: itself, or the one behind `listener.name.LISTENER.[MECHANISM.]`."""
    brokers = definitions(ResourceType.BROKER)
    if not name.startswith(LISTENER_PREFIX):
        return brokers.get(name)
    base = name.removeprefix(LISTENER_PREFIX)
    while "." in base:
        base = base.partition(".")[2]
        if base in brokers:
            return brokers[base]
    return None


@cache
def documentation(resource_type: ResourceType) -> Mapping[str, str]:
    """What each config is for, in a sentence; read when somebody asks."""
    scope = _TABLES[resource_type]
    return {name: text for row_scope, name, _effect, text in _rows("documentation") if row_scope == scope}


@cache
def effects(resource_type: ResourceType) -> Mapping[str, str]:
    """`yes`, or why a config is accepted and without effect."""
    scope = _TABLES[resource_type]
    return {name: effect for row_scope, name, effect, _text in _rows("documentation") if row_scope == scope}


def text_of(value: Value) -> str | None:
    """A typed value as Kafka writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _double_text(value)
    if isinstance(value, list):
        return ",".join(value)
    return str(value)


_THROTTLED_REPLICAS_RULE = "throttled replicas"

_TABLES = {
    ResourceType.TOPIC: "topic",
    ResourceType.BROKER: "broker",
    ResourceType.GROUP: "group",
    ResourceType.CLIENT_METRICS: "client_metrics",
}


def _rows(table: str) -> list[list[str]]:
    text = (get_data("pykbroker.config", f"tables/{table}.tsv") or b"").decode()
    return [line.split("\t") for line in text.splitlines()[1:]]


def _parse_boolean(name: str, text: str) -> bool:
    lower = text.strip().lower()
    if lower not in {"true", "false"}:
        raise ConfigValueError(name, text, "expected true or false")
    return lower == "true"


def _parse_string(_name: str, text: str) -> str:
    return text


_INTEGER = r"[+-]?[0-9]+"
_DOUBLE = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[fFdD]?|[+-]?Infinity|NaN"


def _parse_integer(name: str, text: str, bits: int) -> int:
    if re.fullmatch(_INTEGER, text) and len(text) <= _MAX_DIGITS:
        value = int(text)
        if -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            return value
    raise ConfigValueError(name, text, f"expected a whole number of {bits} bits")


_MAX_DIGITS = 100
"""Longer numbers fit no type anyhow, and Python takes ever longer to read them."""


def _parse_short(name: str, text: str) -> int:
    return _parse_integer(name, text, 16)


def _parse_int(name: str, text: str) -> int:
    return _parse_integer(name, text, 32)


def _parse_long(name: str, text: str) -> int:
    return _parse_integer(name, text, 64)


def _parse_double(name: str, text: str) -> float:
    if re.fullmatch(_DOUBLE, text) and len(text) <= _MAX_DIGITS:
        return float(text.rstrip("fFdD")) if "Inf" not in text else float(text)
    raise ConfigValueError(name, text, "expected a number")


def _parse_list(_name: str, text: str) -> list[str]:
    if not text:
        return []
    return [item.strip() for item in text.split(",")]


_PARSERS: dict[ConfigType, Callable[[str, str], Value]] = {
    ConfigType.BOOLEAN: _parse_boolean,
    ConfigType.STRING: _parse_string,
    ConfigType.CLASS: _parse_string,
    ConfigType.PASSWORD: _parse_string,
    ConfigType.SHORT: _parse_short,
    ConfigType.INT: _parse_int,
    ConfigType.LONG: _parse_long,
    ConfigType.DOUBLE: _parse_double,
    ConfigType.LIST: _parse_list,
}


def _check_rule(definition: ConfigDefinition, value: Value) -> None:
    name, rule = definition.name, definition.rule
    if isinstance(value, int | float):
        reason = _number_against(rule, value)
    elif isinstance(value, list):
        _check_list(name, rule, value)
        return
    elif isinstance(value, str):
        reason = _string_against(rule, value)
    else:
        return
    if reason:
        raise ConfigValueError(name, text_of(value), reason)


def _number_against(rule: str, value: float) -> str:
    bounds, _, exception = rule.partition(" or ")
    if bounds.startswith(">="):
        low, high = float(bounds[2:]), None
    else:
        low_text, high_text = bounds.split("..")
        low, high = float(low_text), float(high_text)
    inside = value >= low and (high is None or value <= high)
    if inside or (exception and value == int(exception)):
        return ""
    if exception:
        return f"expected {exception}, or {low:g} to {high:g}"
    if value < low or high is None:
        return f"expected at least {bounds[2:] if high is None else bounds.split('..')[0]}"
    return f"expected at most {bounds.split('..')[1]}"


_THROTTLED_REPLICA = r"([0-9]+:[0-9]+)?"


def _check_list(name: str, rule: str, value: list[str]) -> None:
    if rule == _THROTTLED_REPLICAS_RULE:
        if value[:1] != ["*"] and not all(re.fullmatch(_THROTTLED_REPLICA, item) for item in value):
            reason = "expected * for all, or a list of PARTITION:BROKER"
            raise ConfigValueError(name, f"[{', '.join(value)}]", reason)
        return
    known = _words(rule) if rule else None
    for item in value:
        if not item:
            raise EmptyListItemError(name)
        if known is not None and item not in known:
            raise ConfigValueError(name, item, f"expected some of {', '.join(known)}")


_DURATION = r"P(?=.)([+-]?[0-9]+D)?(T(?=.)([+-]?[0-9]+H)?([+-]?[0-9]+M)?([+-]?[0-9]+(\.[0-9]{0,9})?S)?)?"


def _string_against(rule: str, value: str) -> str:
    if rule == "not empty":
        return "" if value else "expected something"
    if rule == "offset reset":
        if value in {"latest", "earliest"}:
            return ""
        if (
            value.startswith("by_duration:")
            and re.fullmatch(_DURATION, value.removeprefix("by_duration:"), re.IGNORECASE)
            and "-" not in value
        ):
            return ""
        return "expected earliest, latest, or by_duration: with an ISO 8601 duration behind it, such as by_duration:PT1H"
    known = _words(rule)
    if rule.startswith("any case of "):
        return "" if value.upper() in known else f"expected one of {', '.join(known)}, in capitals or not"
    return "" if value in known else f"expected one of {', '.join(known)}"


def _words(rule: str) -> list[str]:
    return rule.rpartition(" ")[2].split(",")


def _double_text(value: float) -> str:
    """A double as Java writes it: an exponent below 0.001 and from ten million on, and always a digit after the point."""
    if value - value != 0:
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    from decimal import Decimal

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    fraction = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{fraction}E{int(exponent) + len(digits) - 1}"
