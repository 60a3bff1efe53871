"""How the broker's own topics are made, when they are first needed: partitions, replicas and configs come from the broker's configuration."""

from typing import TYPE_CHECKING

from pykbroker.config import text_of
from pykbroker.topic_names import CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE

if TYPE_CHECKING:
    from pykbroker.config import Configuration

_SETTINGS = {
    CONSUMER_OFFSETS: "offsets.topic",
    TRANSACTION_STATE: "transaction.state.log",
    SHARE_GROUP_STATE: "share.coordinator.state.topic",
}
"""What the names of the settings of each begin with."""


def partitions_and_replicas(config: "Configuration", name: str) -> tuple[int, int]:
    """How many partitions an internal topic gets, and its replication factor."""
    prefix = _SETTINGS[name]
    return config.integer(f"{prefix}.num.partitions"), config.integer(f"{prefix}.replication.factor")


def configs(config: "Configuration", name: str) -> dict[str, str]:
    """The configs of its own that an internal topic is made with."""
    segment_bytes = text_of(config.broker(f"{_SETTINGS[name]}.segment.bytes")) or ""
    match name:
        case "__consumer_offsets":
            return {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": segment_bytes}
        case "__transaction_state":
            return {
                "cleanup.policy": "compact",
                "compression.type": "uncompressed",
                "min.insync.replicas": text_of(config.broker("transaction.state.log.min.isr")) or "",
                "segment.bytes": segment_bytes,
                "unclean.leader.election.enable": "false",
            }
        case _:
            return {
                "cleanup.policy": "delete",
                "compression.type": "producer",
                "min.insync.replicas": text_of(config.broker("share.coordinator.state.topic.min.isr")) or "",
                "retention.ms": "-1",
                "segment.bytes": segment_bytes,
            }
