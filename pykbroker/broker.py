"""A node: its id, its rack, the doors it can be reached through. Several may share a Cluster; nobody may assume which one answers."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Listener:
    """One door: where it is bound, and what is told to clients. `advertised_host` None means: the address the client dialled."""

    name: str
    host: str
    port: int
    advertised_host: str | None = None
    advertised_port: int | None = None
    security_protocol: str = "PLAINTEXT"


@dataclass(slots=True)
class Broker:
    """A node of the cluster."""

    node_id: int
    rack: str | None = None
    epoch: int = 0
    listeners: list[Listener] = field(default_factory=list)

    def endpoint(self, listener_name: str, dialled_host: str, dialled_port: int) -> tuple[str, int]:
        """Host and port that a client who came through `listener_name` should use to reach this broker (M-04)."""
        for listener in self.listeners:
            if listener.name == listener_name:
                host = listener.advertised_host or (dialled_host if len(self.listeners) else listener.host)
                return host, listener.advertised_port or listener.port
        return dialled_host, dialled_port
