"""What one connection knows: who is at its other end, through which door it came, and what to undo when it goes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pykbroker.protocol.wire import Buffer

if TYPE_CHECKING:
    from pykbroker.broker import Broker

ANONYMOUS = "User:ANONYMOUS"


@dataclass(slots=True, eq=False)
class Session:
    """One connection to one broker. `local_host` and `local_port` are what the client dialled."""

    broker: "Broker"
    listener_name: str = "PLAINTEXT"
    local_host: str = "127.0.0.1"
    local_port: int = 9092
    client_host: str = "127.0.0.1"
    principal: str = ANONYMOUS
    client_software_name: str = "unknown"
    client_software_version: str = "unknown"
    closed: bool = False
    shortcut: Callable[[Buffer], list[bytes | bytearray | memoryview] | None] | None = None
    """What answers a request that is like an earlier one without parsing it, or gives None for those that are not (see produce_lane)."""
    on_close: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        """The connection is gone: whoever waits for an answer on it is told, so that nothing is kept for nobody (law 6)."""
        self.closed = True
        callbacks, self.on_close = self.on_close, []
        for callback in callbacks:
            callback()
