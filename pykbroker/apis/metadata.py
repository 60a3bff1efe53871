"""Metadata: the brokers, and the topics with their partitions, leaders and replicas.

Versions    0-13.
Authorizes  Describe on each topic (there is no authorizer yet).
Waits       never: a topic that is made on the way is reported the next time it is asked for.
Notes       v0 an empty list of topics means all of them; from v1 on, null does. v4 the asker may forbid auto-creation.
            v5 offline replicas. v7 leader epochs. v8-v10 what the asker may do with the cluster; v8 with each topic.
            v10 topic ids in answers; v12 in requests too. v13 an error for the whole request.
Not done    nothing.
Semantics   M-01 … M-17. Sources: KIP-4, KIP-78, KIP-320, KIP-430, KIP-516, KIP-1102.
"""

from pykbroker.authorized_operations import CLUSTER_OPERATIONS, NOT_REQUESTED, TOPIC_OPERATIONS
from pykbroker.context import Context
from pykbroker.metadata import NO_LEADER, Metadata, Topic
from pykbroker.partition import Partition
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import MetadataRequest, MetadataResponse
from pykbroker.topic_names import CLUSTER_METADATA, INTERNAL_TOPICS, why_invalid

VERSIONS = range(14)

_NO_ID = bytes(16)
_FIRST_WITH_IDS = 12
_FIRST_WITH_FLAG = 4


def handle(context: Context, request: MetadataRequest) -> MetadataResponse:
    """The brokers that live, and the topics asked for: first the ids that nobody has, then what there is, then names that are missing."""
    _check(context, request)
    metadata = context.cluster.metadata
    topics = [] if request.topics is None else request.topics
    operations = TOPIC_OPERATIONS if request.include_topic_authorized_operations else NOT_REQUESTED
    listing = _Listing(context, metadata, operations)
    if request.topics is None or (not topics and context.api_version == 0):
        answered = [listing.present(topic) for topic in metadata.topics.values()]
    elif any(wanted.topic_id != _NO_ID for wanted in topics):
        answered = listing.by_id(list(dict.fromkeys(wanted.topic_id for wanted in topics if wanted.topic_id != _NO_ID)))
    else:
        may_create = _may_create(context, request)
        answered = listing.by_name(list(dict.fromkeys(wanted.name or "" for wanted in topics)), may_create=may_create)
    return MetadataResponse(
        brokers=_brokers(context, metadata),
        cluster_id=metadata.cluster_id,
        controller_id=context.broker.node_id,
        topics=answered,
        cluster_authorized_operations=CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_REQUESTED,
    )


def failed(request: MetadataRequest, error: ErrorCode) -> MetadataResponse:
    """Every topic asked for with the error; no broker, no cluster (M-03)."""
    topics = [
        MetadataResponse.MetadataResponseTopic(error_code=error, name=wanted.name or "", topic_id=wanted.topic_id)
        for wanted in request.topics or ()
    ]
    return MetadataResponse(cluster_id=None, topics=topics, error_code=error)


def _check(context: Context, request: MetadataRequest) -> None:
    """v10 and v11 have fields for ids, but no Kafka ever answered them; later on every topic needs a name, unless there are ids (M-03)."""
    topics = request.topics or ()
    any_id = any(wanted.topic_id != _NO_ID for wanted in topics)
    any_null = any(wanted.name is None for wanted in topics)
    if context.api_version < _FIRST_WITH_IDS:
        if any_id or any_null:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
    elif any_null and not any_id:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)


def _may_create(context: Context, request: MetadataRequest) -> bool:
    asked = context.api_version < _FIRST_WITH_FLAG or request.allow_auto_topic_creation
    return asked and bool(context.cluster.config.broker("auto.create.topics.enable"))


def _brokers(context: Context, metadata: Metadata) -> list[MetadataResponse.MetadataResponseBroker]:
    session = context.session
    brokers = []
    for broker in metadata.live_brokers():
        host, port = broker.endpoint(session.listener_name, session.local_host, session.local_port)
        brokers.append(MetadataResponse.MetadataResponseBroker(node_id=broker.node_id, host=host, port=port, rack=broker.rack))
    return brokers


class _Listing:
    """The topics of one answer."""

    def __init__(self, context: Context, metadata: Metadata, operations: int) -> None:
        self.context = context
        self.metadata = metadata
        self.operations = operations
        self.all_alive = not any(registration.fenced for registration in metadata.registrations.values())
        self.hides_dead_replicas = context.api_version == 0

    def by_id(self, topic_ids: list[bytes]) -> list[MetadataResponse.MetadataResponseTopic]:
        """Unknown ids first (M-04)."""
        topics = [self.metadata.topic_by_id(topic_id) for topic_id in topic_ids]
        missing = [
            MetadataResponse.MetadataResponseTopic(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id)
            for topic_id, topic in zip(topic_ids, topics, strict=True)
            if topic is None
        ]
        return missing + [self.present(topic) for topic in topics if topic is not None]

    def by_name(self, names: list[str], *, may_create: bool) -> list[MetadataResponse.MetadataResponseTopic]:
        """Missing names last (M-05, M-06)."""
        present = []
        missing = []
        for name in names:
            topic = self.metadata.topic(name)
            if topic is None:
                missing.append(self.missing(name))
            else:
                present.append(self.present(topic))
        if may_create:
            creatable = [one.name for one in missing if one.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and one.name]
            self.context.cluster.controller.auto_create(*(name for name in creatable if name != CLUSTER_METADATA))
        return present + missing

    def missing(self, name: str) -> MetadataResponse.MetadataResponseTopic:
        """A name that no topic has. It is not there this time, even where it is made now (M-06)."""
        error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if why_invalid(name) is not None:
            error = ErrorCode.INVALID_TOPIC_EXCEPTION
        return MetadataResponse.MetadataResponseTopic(
            error_code=error, name=name, is_internal=name in INTERNAL_TOPICS, topic_authorized_operations=self.operations
        )

    def present(self, topic: Topic) -> MetadataResponse.MetadataResponseTopic:
        """A topic that there is."""
        return MetadataResponse.MetadataResponseTopic(
            error_code=ErrorCode.NONE,
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.is_internal,
            partitions=[self.partition(partition) for partition in topic.partitions],
            topic_authorized_operations=self.operations,
        )

    def partition(self, partition: Partition) -> MetadataResponse.MetadataResponsePartition:
        """A partition; one without a leader says so (M-14)."""
        replicas = partition.replicas
        offline = [] if self.all_alive else [node_id for node_id in replicas if not self.metadata.is_alive(node_id)]
        if offline and self.hides_dead_replicas:
            replicas = [node_id for node_id in replicas if node_id not in offline]
        return MetadataResponse.MetadataResponsePartition(
            error_code=ErrorCode.LEADER_NOT_AVAILABLE if partition.leader_id == NO_LEADER else ErrorCode.NONE,
            partition_index=partition.index,
            leader_id=partition.leader_id,
            leader_epoch=partition.leader_epoch,
            replica_nodes=replicas,
            isr_nodes=partition.isr,
            offline_replicas=offline,
        )
