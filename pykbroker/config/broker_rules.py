"""What may be set on brokers while they run: which configs, on one broker or on all, and with which values (K-05, K-14, K-19).

The codes and what is refused are Kafka's; the sentences are our own.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from pykbroker.config.definitions import LISTENER_PREFIX, ConfigDefinition, ConfigType, ConfigValueError, Value, definition_of, text_of
from pykbroker.protocol.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from pykbroker.config.configuration import Configuration


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
        raise KafkaError(ErrorCode.INVALID_CONFIG, "With eligible leader replicas, no broker has a min.insync.replicas of its own.")
    if "min.insync.replicas" not in after:
        raise KafkaError(ErrorCode.INVALID_CONFIG, "With eligible leader replicas, the cluster keeps its min.insync.replicas.")


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
        raise _refused(f"Only a restart changes {_listed(fixed)}.")
    bare = [name for name, definition in known.items() if definition.update == "listener" and not _for_listener(name)]
    if bare:
        raise _refused(f"Each listener has its own: put {LISTENER_PREFIX}NAME. before {_listed(bare)}.")


def _check_for_all_brokers(configs: Mapping[str, str]) -> None:
    single = [name for name, definition in _known(configs).items() if definition.update == "broker" or _for_listener(name)]
    if single:
        raise _refused(f"Each broker has its own: name the broker for {_listed(single)}.")


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
            raise _refused(str(ConfigValueError(name, text, "no class has this name")))
    return values


def _check_thread_count(name: str, wanted: int, current: Value) -> None:
    assert isinstance(current, int)
    if name == "log.cleaner.threads" and wanted < 1:
        raise _refused(str(ConfigValueError(name, wanted, "expected at least 1")))
    if not current // 2 <= wanted <= current * 2:
        raise _refused(
            str(ConfigValueError(name, wanted, f"at once it goes from {current} to half of that at least, to twice that at most"))
        )


def _check_values(values: Mapping[str, Value]) -> None:
    """What no rule of the tables can say."""
    for name, value in values.items():
        base = definition_of(name)
        assert base is not None
        if base.name == "log.retention.ms" and value == 0:
            raise _refused(str(ConfigValueError(name, value, "expected -1 (for ever), or at least 1")))
        if base.name == "log.roll.ms" and isinstance(value, int) and value < 1:
            raise _refused(str(ConfigValueError(name, value, "expected at least 1")))
        if base.name == "max.connections" and value == 0:
            raise _refused(str(ConfigValueError(name, value, "expected at least 1")))
        if base.name == "max.connections.per.ip.overrides" and isinstance(value, str):
            _check_connection_overrides(value)
        if base.name == "metric.reporters" and value not in ([], [base.default_text]):
            raise _refused(str(ConfigValueError(name, text_of(value), "no class has this name")))
        if base.name == "listeners" and isinstance(value, list):
            _check_listeners(value)
        if base.name == "listener.security.protocol.map" and isinstance(value, str):
            _check_protocols(value)


def _check_connection_overrides(text: str) -> None:
    for item in filter(None, text.split(",")):
        host, _, count = item.rpartition(":")
        if not host or not count.strip().isdecimal():
            raise _refused(str(ConfigValueError("max.connections.per.ip.overrides", item, "expected HOST:NUMBER")))


def _check_protocols(text: str) -> None:
    for item in filter(None, text.split(",")):
        name, colon, protocol = item.rpartition(":")
        if not colon:
            raise _refused(str(ConfigValueError("listener.security.protocol.map", item, "expected NAME:PROTOCOL")))
        if protocol.strip().upper() not in SECURITY_PROTOCOLS:
            reason = f"expected {name}: with one of {', '.join(SECURITY_PROTOCOLS)} behind it"
            raise _refused(str(ConfigValueError("listener.security.protocol.map", item, reason)))


SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def _check_listeners(listeners: list[str]) -> None:
    if not listeners:
        raise _refused(str(ConfigValueError("listeners", "empty", "expected NAME://HOST:PORT")))
    for listener in listeners:
        name, separator, address = listener.partition("://")
        port = address.rpartition(":")[2]
        if not name or not separator or not port.isdecimal():
            raise _refused(str(ConfigValueError("listeners", listener, "expected NAME://HOST:PORT")))


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
        smallest, largest = f"group.{kind}.min.assignment.interval.ms", f"group.{kind}.max.assignment.interval.ms"
        if name in values and not effective(smallest) <= effective(name) <= effective(largest):
            raise _refused(str(ConfigValueError(name, effective(name), f"expected {smallest} to {largest}")))
    if values.keys() & {"log.cleaner.dedupe.buffer.size", "log.cleaner.threads"}:
        bytes_per_thread = effective("log.cleaner.dedupe.buffer.size") // max(1, effective("log.cleaner.threads"))
        if bytes_per_thread <= _LEAST_DEDUPE_BYTES_PER_THREAD:
            raise _refused("log.cleaner.dedupe.buffer.size and log.cleaner.threads leave each thread no more than 1 MiB.")
    overrides = values.get("max.connections.per.ip.overrides", configuration.broker("max.connections.per.ip.overrides", node_id))
    if values.get("max.connections.per.ip") == 0 and not overrides:
        raise _refused("max.connections.per.ip cannot be 0 unless max.connections.per.ip.overrides lets somebody in.")
    _check_cordoned(values.get("cordoned.log.dirs"), configuration.broker("log.dirs", node_id) or configuration.broker("log.dir", node_id))


_LEAST_DEDUPE_BYTES_PER_THREAD = 1024 * 1024


def _check_cordoned(cordoned: Value, directories: Value) -> None:
    if not isinstance(cordoned, list) or cordoned == ["*"]:
        return
    missing = [item for item in cordoned if isinstance(directories, list) and item not in directories]
    if missing:
        raise _refused(str(ConfigValueError("cordoned.log.dirs", ",".join(cordoned), f"log.dirs does not have {', '.join(missing)}")))


def _check_local_retention(local: str, local_value: int, whole: str, whole_value: int) -> None:
    """What is kept here of a tiered log is never more than what is kept at all; -2 means as much."""
    if whole_value == -1 or local_value == -2:
        return
    if local_value == -1:
        reason = f"{whole} is not unlimited, but {whole_value}"
    elif local_value > whole_value:
        reason = f"{whole} is only {whole_value}"
    else:
        return
    raise _refused(str(ConfigValueError(local, local_value, reason)))


def _for_listener(name: str) -> bool:
    return name.startswith(LISTENER_PREFIX)


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names))


def _refused(sentence: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, sentence)
