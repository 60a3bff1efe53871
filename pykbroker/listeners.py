"""`listeners`, `advertised.listeners` and what belongs to them, as the doors a broker opens.

Listeners of controllers are known and not opened: the controller lives in the broker's own process. An address that is not advertised is
told to clients as they dialled it.
"""

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from pykbroker.broker import Listener
from pykbroker.config import ConfigError

if TYPE_CHECKING:
    from pykbroker.config import Configuration

SERVED_PROTOCOLS = ("PLAINTEXT",)


class Endpoint(NamedTuple):
    """NAME://HOST:PORT; an empty host is every address of the machine."""

    name: str
    host: str
    port: int


LARGEST_PORT = 65535


def listeners_of(configuration: "Configuration") -> list[Listener]:
    """The doors that a configuration asks for, in its order. Raises ConfigError."""
    controllers = {name.upper() for name in cast("list[str]", configuration.broker("controller.listener.names") or [])}
    protocols = _protocols(configuration)
    bound = [endpoint for endpoint in endpoints(configuration, "listeners") if endpoint.name not in controllers]
    advertised = {each.name: each for each in endpoints(configuration, "advertised.listeners") if each.name not in controllers}
    _check(configuration, bound, advertised)
    return [_listener(endpoint, advertised.get(endpoint.name), protocols) for endpoint in bound]


def endpoints(configuration: "Configuration", setting: str) -> list[Endpoint]:
    """The endpoints a setting lists. Raises ConfigError."""
    return [parse_endpoint(text, setting) for text in cast("list[str]", configuration.broker(setting) or [])]


def parse_endpoint(text: str, setting: str) -> Endpoint:
    """One NAME://HOST:PORT. Raises ConfigError."""
    match = _ENDPOINT.fullmatch(text.strip())
    if match is None or int(match["port"]) > LARGEST_PORT:
        raise ConfigError(f"{setting}={text} is not an address; write NAME://HOST:PORT, for instance PLAINTEXT://127.0.0.1:9092.")
    return Endpoint(match["name"].upper(), match["ipv6"] or match["host"] or "", int(match["port"]))


_ENDPOINT = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]+)://(?:\[(?P<ipv6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\[\]:/]*)):(?P<port>[0-9]{1,5})", re.ASCII
)


def _protocols(configuration: "Configuration") -> dict[str, str]:
    """Listener name -> security protocol."""
    text = cast("str", configuration.broker("listener.security.protocol.map"))
    protocols = {}
    for pair in text.split(",") if text else ():
        name, colon, protocol = pair.strip().partition(":")
        if not colon or protocol.strip().upper() not in _ALL_PROTOCOLS:
            raise ConfigError(
                f"listener.security.protocol.map={text} is not possible; write NAME:PROTOCOL,… with {', '.join(_ALL_PROTOCOLS)}."
            )
        protocols[name.strip().upper()] = protocol.strip().upper()
    return protocols


_ALL_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


def _check(configuration: "Configuration", bound: list[Endpoint], advertised: dict[str, Endpoint]) -> None:
    if not bound:
        raise ConfigError("listeners has no address for clients; write for instance PLAINTEXT://127.0.0.1:9092.")
    names = [endpoint.name for endpoint in bound]
    for endpoint in bound:
        if names.count(endpoint.name) > 1 and not _are_pair(bound, endpoint):
            raise ConfigError(f"listeners has {endpoint.name} twice; give each address a name of its own.")
        same = [other for other in bound if other.port == endpoint.port != 0 and other is not endpoint]
        if any(other.host == endpoint.host for other in same):
            raise ConfigError(f"listeners has port {endpoint.port} twice; give each address a port of its own.")
    for name, endpoint in advertised.items():
        if name not in names:
            raise ConfigError(f"advertised.listeners has {name}, listeners has not; advertise only what is opened.")
        if endpoint.host in _EVERY_ADDRESS or not endpoint.host:
            raise ConfigError(
                f"advertised.listeners={name}://{endpoint.host}:{endpoint.port} tells clients no address; write one they can reach."
            )
    between_brokers = cast("str | None", configuration.broker("inter.broker.listener.name"))
    if between_brokers and between_brokers.upper() not in names:
        raise ConfigError(f"inter.broker.listener.name={between_brokers} is none of the listeners; write one of {', '.join(names)}.")


def _are_pair(bound: list[Endpoint], endpoint: Endpoint) -> bool:
    """One name for an IPv4 and an IPv6 address on the same port, which Kafka allows."""
    pair = [other for other in bound if other.name == endpoint.name]
    return len(pair) == 2 and pair[0].port == pair[1].port and (":" in pair[0].host) != (":" in pair[1].host)


def _listener(endpoint: Endpoint, advertised: Endpoint | None, protocols: dict[str, str]) -> Listener:
    protocol = protocols.get(endpoint.name)
    if protocol is None:
        raise ConfigError(f"listeners has {endpoint.name}, listener.security.protocol.map has not; add {endpoint.name}:PLAINTEXT to it.")
    if protocol not in SERVED_PROTOCOLS:
        raise ConfigError(f"listeners has {endpoint.name}, which speaks {protocol}; only {', '.join(SERVED_PROTOCOLS)} is served yet.")
    return Listener(
        endpoint.name,
        endpoint.host,
        endpoint.port,
        advertised_host=advertised.host if advertised else None,
        advertised_port=(advertised.port or None) if advertised else None,
        security_protocol=protocol,
    )
