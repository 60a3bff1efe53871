"""What an API's handler is given besides its request: who asks, whom, in which version, and how to ask for what takes time.

Also the four things that `Cluster.handle` answers with: an `Answer`, a `Later`, a `Close`, or None where nothing is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from pykbroker.broker import Broker
from pykbroker.later import Later
from pykbroker.session import Session

if TYPE_CHECKING:
    from pykbroker.cluster import Cluster

T = TypeVar("T")

Answer = list[bytes | bytearray | memoryview]
"""One response frame with its size in front, in pieces that are written as they are: record bytes are never copied into it."""


@dataclass(slots=True, frozen=True)
class Close:
    """The connection is closed, after `after` has been sent (W-01, W-02, W-18, W-19, W-22)."""

    reason: str
    after: Answer | None = None


class Offload(Protocol):
    """Runs work elsewhere and settles the Later on the thread that owns the broker; for work that lets go of the GIL."""

    def __call__(self, work: Callable[[], T], /) -> Later[T]:
        """Start `work` now; its value, or its exception, settles the Later."""


class Random(Protocol):
    """The random source: `random.Random(seed)` in tests, `random.SystemRandom()` in production."""

    def randbytes(self, n: int, /) -> bytes:
        """`n` random bytes."""

    def randrange(self, stop: int, /) -> int:
        """A number from 0 to `stop` - 1."""


@dataclass(slots=True)
class Context:
    """One request's surroundings."""

    cluster: "Cluster"
    session: Session
    api_version: int
    client_id: str | None

    @property
    def broker(self) -> Broker:
        """The node that was asked; nothing may assume that it leads what it is asked for."""
        return self.session.broker
