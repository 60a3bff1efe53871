"""What is written when a broker starts: the features of a new cluster, the broker's registration, and the leaderships that come back with it.

A partition's leader epoch rises with every start of its leader, as in Kafka: a client that read what a crash then took away finds out by its epoch (KIP-320, M-15).
"""

import base64
from typing import TYPE_CHECKING

from pykbroker.config import ResourceType, text_of
from pykbroker.metadata.features import SUPPORTED_FEATURES
from pykbroker.metadata.state import NO_LEADER, UNFENCED
from pykbroker.protocol.messages import (
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    FeatureLevelRecord,
    Message,
    PartitionChangeRecord,
    RegisterBrokerRecord,
)
from pykbroker.storage.checkpoints import META_PROPERTIES, read_properties

if TYPE_CHECKING:
    from pykbroker.broker import Broker
    from pykbroker.cluster import Cluster
    from pykbroker.metadata.state import Metadata

_SECURITY_PROTOCOLS = {"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}
_UNASSIGNED_DIRECTORY = bytes(16)
"""The id of "no directory in particular"."""


def new_cluster_records(cluster: "Cluster") -> list[Message]:
    """What a metadata log begins with: the finalized features, and what eligible.leader.replicas.version 1 demands: a min ISR for all (A-24)."""
    levels = {name: feature.initial_level for name, feature in SUPPORTED_FEATURES.items()}
    records: list[Message] = [FeatureLevelRecord(name=name, feature_level=level) for name, level in levels.items()]
    if levels["eligible.leader.replicas.version"]:
        value = text_of(cluster.config.broker("min.insync.replicas"))
        records.append(ConfigRecord(resource_type=ResourceType.BROKER, resource_name="", name="min.insync.replicas", value=value))
    return records


def registration_records(cluster: "Cluster", broker: "Broker", epoch: int) -> list[Message]:
    """A broker is here: what it offers, that it is not fenced, and the partitions that it leads from now on. `epoch` is the offset of the first record."""
    return [
        RegisterBrokerRecord(
            broker_id=broker.node_id,
            incarnation_id=cluster.random.randbytes(16),
            broker_epoch=epoch,
            end_points=[
                RegisterBrokerRecord.BrokerEndpoint(
                    name=listener.name,
                    host=listener.advertised_host or listener.host,
                    port=listener.advertised_port or listener.port,
                    security_protocol=_SECURITY_PROTOCOLS.get(listener.security_protocol, 0),
                )
                for listener in broker.listeners
            ],
            features=[
                RegisterBrokerRecord.BrokerFeature(
                    name=name, min_supported_version=feature.min_version, max_supported_version=feature.max_version
                )
                for name, feature in SUPPORTED_FEATURES.items()
            ],
            rack=broker.rack,
            log_dirs=[_directory_id(cluster)],
        ),
        BrokerRegistrationChangeRecord(broker_id=broker.node_id, broker_epoch=epoch, fenced=UNFENCED),
        *_leadership_records(cluster.metadata, broker.node_id),
    ]


def _leadership_records(metadata: "Metadata", node_id: int) -> list[Message]:
    """Each partition that the broker led, or that nobody could lead without it."""
    return [
        PartitionChangeRecord(partition_id=partition.index, topic_id=topic.topic_id, leader=node_id)
        for topic in metadata.topics.values()
        for partition in topic.partitions
        if partition.leader_id == node_id or (partition.leader_id == NO_LEADER and node_id in partition.isr)
    ]


def _directory_id(cluster: "Cluster") -> bytes:
    """The id of the data directory, from its meta.properties."""
    written = (read_properties(cluster.files, META_PROPERTIES) or {}).get("directory.id", "")
    return base64.urlsafe_b64decode(written + "==") if len(written) == len("AAAAAAAAAAAAAAAAAAAAAA") else _UNASSIGNED_DIRECTORY
