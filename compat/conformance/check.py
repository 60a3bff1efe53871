"""What a check is: a function with the id of the behaviour it tries, its sentence in its docstring, and what it needs of the broker."""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from string import ascii_lowercase
from typing import TYPE_CHECKING

from pykbroker.protocol.apis import API_BY_KEY

if TYPE_CHECKING:
    from pykbroker.compat.target import Target

Function = Callable[..., None]

SECTIONS = {
    "W": "The wire: frames, connections, versions",
    "S": "SASL, TLS and who a client is",
    "M": "Metadata, topic ids and leader epochs",
    "P": "Produce: what becomes of records",
    "I": "Producers with an id",
    "T": "Transactions",
    "F": "Fetch",
    "FS": "Fetch sessions",
    "L": "ListOffsets, OffsetForLeaderEpoch, DeleteRecords",
    "G": "Classic groups",
    "O": "Committed offsets",
    "C": "Consumer groups",
    "H": "Share groups",
    "R": "Streams groups",
    "A": "Topics, partitions, replicas and features",
    "K": "Configs",
    "Z": "ACLs",
    "N": "Retention and compaction",
    "Q": "Quotas, telemetry, features",
    "X": "Across APIs",
}
"""What the letters in front of an id stand for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Broker settings that a check needs, such as short sessions; a broker that was not started with them skips it."""

    values: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.values)


Needs = str | Settings | tuple[str | Settings, ...] | None
"""`three brokers`, `an authorizer`, Settings; or several of these."""


@dataclass(frozen=True, slots=True)
class Check:
    """One behaviour. `versions` is empty where it is not about the versions of one API."""

    id: str
    function: Function
    apis: tuple[str, ...]
    versions: tuple[int, ...]
    needs: Needs
    alone: bool

    @property
    def section(self) -> str:
        """The letters of its id: F, FS, G, …"""
        return self.id.partition("-")[0]

    @property
    def name(self) -> str:
        """Its function's name, as words."""
        return self.function.__name__.replace("_", " ")

    @property
    def sentence(self) -> str:
        """What is given and what is expected."""
        return " ".join((inspect.getdoc(self.function) or "").split())

    @property
    def sources(self) -> list[str]:
        """Where its sentence can be read up: the KIPs that it names, and its id among the semantics."""
        kips = sorted(set(re.findall(r"KIP-\d+", self.sentence)), key=lambda kip: int(kip[4:]))
        return [*kips, f"semantics {self.id}"]

    @property
    def wants(self) -> frozenset[str]:
        """What it needs, a word each: `three brokers`, `group.max.size=3`."""
        needs = self.needs if isinstance(self.needs, tuple) else (self.needs,)
        return frozenset(word for one in needs if one is not None for word in _words(one))

    @property
    def takes_version(self) -> bool:
        """Whether it is run once for each of its versions."""
        return "version" in inspect.signature(self.function).parameters

    def run(self, target: "Target", version: int | None) -> None:
        """Try it. Raises Unexpected."""
        if version is None:
            self.function(target)
        else:
            self.function(target, version)


_CHECKS: list[Check] = []


def check(
    id_: str, *, api: str | Sequence[str] = (), versions: str = "", needs: Needs = None, alone: bool = False
) -> Callable[[Function], Function]:
    """Make a function a check.

    `api` is what it needs to be served (`"Fetch"`, or several); `versions` (`"4-12"`) are those of the first one that it is run for, if it has a
    parameter `version`. `alone` is for what changes the whole cluster.
    """
    apis = (api,) if isinstance(api, str) else tuple(api)

    def register(function: Function) -> Function:
        _CHECKS.append(Check(id_, function, apis, tuple(_parsed(versions)), needs, alone))
        return function

    return register


def all_checks() -> list[Check]:
    """Every check there is, by id."""
    from pykbroker.compat import sections

    for module in iter_modules(sections.__path__):
        import_module(f"{sections.__name__}.{module.name}")
    return sorted(
        _CHECKS, key=lambda one: (one.section, int(one.id.partition("-")[2].rstrip(ascii_lowercase)), one.id, one.function.__name__)
    )


def api_keys() -> dict[str, int]:
    """The name of each API, as Kafka has it, and its key."""
    return {api.name: key for key, api in API_BY_KEY.items()}


def _words(need: str | Settings) -> list[str]:
    return [need] if isinstance(need, str) else [f"{name}={value}" for name, value in need.values]


def _parsed(versions: str) -> Iterator[int]:
    if versions:
        first, _, last = versions.partition("-")
        yield from range(int(first), int(last or first) + 1)
