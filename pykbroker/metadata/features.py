"""The features this broker has in the sense of KIP-584: which levels it can work at, and which one a new cluster begins with.

Clients switch protocol on these (Q-10), so a feature stands here only when all of it is real (law 4). Not served yet, and so absent: group.version,
share.version, streams.version, transaction.version, kraft.version.
"""

from typing import NamedTuple


class SupportedFeature(NamedTuple):
    """The levels of one feature: what can be worked at, and what a new cluster begins with."""

    min_version: int
    max_version: int
    initial_level: int


SUPPORTED_FEATURES: dict[str, SupportedFeature] = {
    "metadata.version": SupportedFeature(7, 30, 30),
    "eligible.leader.replicas.version": SupportedFeature(0, 1, 1),
}
"""By name. metadata.version 30 is that of Apache Kafka 4.3: it says which versions the records of `__cluster_metadata` have."""
