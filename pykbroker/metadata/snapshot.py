"""The whole metadata as records: what a new metadata log would have to say, so that the old one can be cut (KIP-630).

Replayed in this order they give the same state: features before all, brokers before partitions, a topic before what belongs to it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pykbroker.config import ResourceType
from pykbroker.protocol.messages import (
    ConfigRecord,
    FeatureLevelRecord,
    Message,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    TopicRecord,
)

if TYPE_CHECKING:
    from pykbroker.config import Configuration
    from pykbroker.metadata.state import Metadata, Registration, Topic


def snapshot_records(metadata: "Metadata", config: "Configuration") -> Iterator[Message]:
    """Every record that is needed, and no other."""
    for name, level in metadata.features.items():
        yield FeatureLevelRecord(name=name, feature_level=level)
    for registration in metadata.registrations.values():
        yield _registration(registration)
    for topic in metadata.topics.values():
        yield from _topic(metadata, topic)
    for resource_type in ResourceType:
        for resource_name in config.resources(resource_type):
            for name, value in config.overrides(resource_type, resource_name).items():
                yield ConfigRecord(resource_type=resource_type, resource_name=resource_name, name=name, value=value)
    if metadata.next_producer_id:
        yield ProducerIdsRecord(broker_id=metadata.cluster.broker.node_id, next_producer_id=metadata.next_producer_id)


def _registration(registration: "Registration") -> Message:
    written = registration.record
    return RegisterBrokerRecord(
        broker_id=written.broker_id,
        incarnation_id=written.incarnation_id,
        broker_epoch=written.broker_epoch,
        end_points=written.end_points,
        features=written.features,
        rack=written.rack,
        fenced=registration.fenced,
        log_dirs=registration.log_directories,
    )


def _topic(metadata: "Metadata", topic: "Topic") -> Iterator[Message]:
    yield TopicRecord(name=topic.name, topic_id=topic.topic_id)
    for partition in topic.partitions:
        eligible, last_known = metadata.eligible_leaders(partition)
        yield PartitionRecord(
            partition_id=partition.index,
            topic_id=topic.topic_id,
            replicas=partition.replicas,
            isr=partition.isr,
            leader=partition.leader_id,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            directories=metadata.directories_of(partition.replicas),
            eligible_leader_replicas=eligible or None,
            last_known_elr=last_known or None,
        )
