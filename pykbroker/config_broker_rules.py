"""What may be set on brokers while they run: which configs, on one broker or on all, and with which values (K-05, K-14, K-19).

The sentences are those that clients know from Kafka, its way of wrapping one exception into another included.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from pykbroker.config_definitions import ConfigDefinition, ConfigType, ConfigValueError, Value
from pykbroker.config_start import LISTENER_PREFIX, definition_of
from pykbroker.protocol.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from pykbroker.config import Configuration


def check_broker(configuration: "Configuration", node_id: int, configs: Mapping[str, str], *, on_all_brokers: bool) -> None:
    """The configs that one broker, or all of them, would have at run time. Raises KafkaError."""
    _check_changeable(configs)
    values = _typed(configs)
    if on_all_brokers:
        _check_for_all_brokers(configs)
    _check_values(values)
    _check_against_others(configuration, node_id, values)
    for name, value in values.items():
        if name in THREAD_COUNTS and isinstance(value, int):
            _check_thread_count(name, value, configuration.broker(name, node_id))


def check_min_insync_replicas(named: Collection[str], after: Mapping[str, str], *, on_all_brokers: bool) -> None:
    """While eligible leader replicas are in use, min.insync.replicas is one number for the whole cluster, always there (K-19)."""
    if "min.insync.replicas" not in named:
        return
    if not on_all_brokers:
        raise KafkaError(ErrorCode.INVALID_CONFIG, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
    if "min.insync.replicas" not in after:
        raise KafkaError(ErrorCode.INVALID_CONFIG, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")


THREAD_COUNTS = frozenset(
    {
        "background.threads",
        "log.cleaner.threads",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "num.replica.fetchers",
        "remote.log.manager.copier.thread.pool.size",
        "remote.log.manager.expiration.thread.pool.size",
        "remote.log.manager.follower.thread.pool.size",
        "remote.log.reader.threads",
    }
)
"""What may grow to its double and shrink to its half at a time."""


def _check_changeable(configs: Mapping[str, str]) -> None:
    known = _known(configs)
    fixed = [name for name, definition in known.items() if definition.update in {"read-only", "internal"} and not _for_listener(name)]
    if fixed:
        raise _refused(f"Cannot update these configs dynamically: {_listed(fixed)}")
    bare = [name for name, definition in known.items() if definition.update == "listener" and not _for_listener(name)]
    if bare:
        sentence = "These security configs can be dynamically updated only per-listener using the listener prefix"
        raise _refused(f"{sentence}: {_listed(bare)}")


def _check_for_all_brokers(configs: Mapping[str, str]) -> None:
    single = [name for name, definition in _known(configs).items() if definition.update == "broker" or _for_listener(name)]
    if single:
        sentence = "Cannot update these configs at default cluster level, broker id must be specified"
        raise _refused(f"{sentence}: {_listed(single)}")


def _known(configs: Mapping[str, str]) -> dict[str, ConfigDefinition]:
    return {name: definition for name in configs if (definition := definition_of(name)) is not None}


def _typed(configs: Mapping[str, str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, text in configs.items():
        definition = definition_of(name)
        if definition is None:
            continue
        try:
            values[name] = definition.parse_checked(text)
        except ConfigValueError as error:
            raise _refused(str(error)) from None
        if definition.type is ConfigType.CLASS and text.strip() != (definition.default_text or ""):
            raise _refused(str(ConfigValueError(name, text, f"Class {text} could not be found.")))
    return values


def _check_thread_count(name: str, wanted: int, current: Value) -> None:
    assert isinstance(current, int)
    if name == "log.cleaner.threads":
        if wanted < 1:
            raise _refused(_wrapped("Log cleaner threads should be at least 1"))
        if wanted < current // 2:
            raise _refused(_wrapped(f"Log cleaner threads cannot be reduced to less than half the current value {current}"))
        if wanted > current * 2:
            raise _refused(_wrapped(f"Log cleaner threads cannot be increased to more than double the current value {current}"))
        return
    failed = f"Dynamic thread count update validation failed for {name}={wanted}"
    if wanted < current // 2:
        raise _refused(_wrapped(f"{failed}, value should be at least half the current value {current}"))
    if wanted > current * 2:
        raise _refused(_wrapped(f"{failed}, value should not be greater than double the current value {current}"))


def _check_values(values: Mapping[str, Value]) -> None:
    """What no rule of the tables can say."""
    for name, value in values.items():
        base = definition_of(name)
        assert base is not None
        if base.name == "log.retention.ms" and value == 0:
            raise _refused("requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
        if base.name == "log.roll.ms" and isinstance(value, int) and value < 1:
            raise _refused("requirement failed: log.roll.ms must be greater than or equal to 1")
        if base.name == "max.connections" and value == 0:
            raise _refused(_wrapped("Invalid max.connections 0"))
        if base.name == "max.connections.per.ip.overrides" and isinstance(value, str):
            _check_connection_overrides(value)
        if base.name == "metric.reporters" and value not in ([], [base.default_text]):
            reporters = "class kafka.server.DynamicMetricsReporters"
            raise _refused(_wrapped(f"Validation of dynamic config update of Set(metric.reporters) failed with class {reporters}"))
        if base.name == "listeners" and isinstance(value, list):
            _check_listeners(value)
        if base.name == "listener.security.protocol.map" and isinstance(value, str):
            _check_protocols(value)


def _check_connection_overrides(text: str) -> None:
    for item in filter(None, text.split(",")):
        host, _, count = item.rpartition(":")
        if not host or not count.strip().isdecimal():
            what = f"{item} is not HOST:NUMBER"
            raise _refused(f"Error parsing configuration property 'max.connections.per.ip.overrides': {what}")


def _check_protocols(text: str) -> None:
    for item in filter(None, text.split(",")):
        name, colon, protocol = item.rpartition(":")
        if not colon:
            raise _refused(f"Error parsing configuration property 'listener.security.protocol.map': {item} is not NAME:PROTOCOL")
        if protocol.strip().upper() not in SECURITY_PROTOCOLS:
            raise _refused(f"Invalid security protocol `{protocol}` defined in listener.security.protocol.map for {name}")


SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def _check_listeners(listeners: list[str]) -> None:
    if not listeners:
        raise _refused("Configuration 'listeners' must not be empty. Valid values include: any non-empty value")
    for listener in listeners:
        name, separator, address = listener.partition("://")
        port = address.rpartition(":")[2]
        if not name or not separator or not port.isdecimal():
            wanted = f"Error creating broker listeners from '[{', '.join(listeners)}]'"
            raise _refused(f"{wanted}: Unable to parse {listener} to a broker endpoint")


def _check_against_others(configuration: "Configuration", node_id: int, values: Mapping[str, Value]) -> None:
    """Two configs together, of which one may have been there before."""

    def effective(name: str) -> int:
        value = values.get(name, configuration.broker(name, node_id))
        assert isinstance(value, int)
        return value

    for local, whole in (("log.local.retention.ms", "log.retention.ms"), ("log.local.retention.bytes", "log.retention.bytes")):
        if local in values or whole in values:
            _check_local_retention(local, effective(local), whole, effective(whole))
    for kind in ("consumer", "share", "streams"):
        name = f"group.{kind}.assignment.interval.ms"
        for bound, too_far, words in (
            (f"group.{kind}.min.assignment.interval.ms", -1, "greater"),
            (f"group.{kind}.max.assignment.interval.ms", 1, "less"),
        ):
            if name in values and (effective(name) - effective(bound)) * too_far > 0:
                raise _refused(f"{name} must be {words} than or equal to {bound}")
    if values.keys() & {"log.cleaner.dedupe.buffer.size", "log.cleaner.threads"}:
        bytes_per_thread = effective("log.cleaner.dedupe.buffer.size") // max(1, effective("log.cleaner.threads"))
        if bytes_per_thread <= _LEAST_DEDUPE_BYTES_PER_THREAD:
            raise _refused("requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")
    overrides = values.get("max.connections.per.ip.overrides", configuration.broker("max.connections.per.ip.overrides", node_id))
    if values.get("max.connections.per.ip") == 0 and not overrides:
        sentence = "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."
        raise _refused(f"requirement failed: {sentence}")
    _check_cordoned(values.get("cordoned.log.dirs"), configuration.broker("log.dirs", node_id) or configuration.broker("log.dir", node_id))


_LEAST_DEDUPE_BYTES_PER_THREAD = 1024 * 1024


def _check_cordoned(cordoned: Value, directories: Value) -> None:
    if not isinstance(cordoned, list) or cordoned == ["*"]:
        return
    missing = [item for item in cordoned if isinstance(directories, list) and item not in directories]
    if missing:
        sentence = "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries"
        raise _refused(f"requirement failed: {sentence} : {', '.join(missing)}")


def _check_local_retention(local: str, local_value: int, whole: str, whole_value: int) -> None:
    """What is kept here of a tiered log is never more than what is kept at all; -2 means as much."""
    if whole_value == -1 or local_value == -2:
        return
    if local_value == -1:
        reason = f"Value must not be -1 as {whole} value is set as {whole_value}."
    elif local_value > whole_value:
        reason = f"Value must not be more than {whole} property value: {whole_value}"
    else:
        return
    raise _refused(_wrapped(str(ConfigValueError(local, local_value, reason))))


def _for_listener(name: str) -> bool:
    return name.startswith(LISTENER_PREFIX)


def _listed(names: list[str]) -> str:
    return f"[{', '.join(sorted(names))}]"


def _wrapped(sentence: str) -> str:
    return f"Invalid value org.apache.kafka.common.config.ConfigException: {sentence} for configuration Invalid dynamic configuration"


def _refused(sentence: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, sentence)
