"""Z: what has to be allowed on the cluster for its administration."""

from pykbroker.compat.steps.acls import (
    ALTER,
    ALTER_CONFIGS,
    CLUSTER,
    CLUSTER_ACTION,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    READ,
    TOPIC,
    Acl,
    creation,
    deletion,
)
from pykbroker.compat.steps.acls import filter_for as filter_for_acl
from pykbroker.compat.steps.configs import BROKER, SET, own_id
from pykbroker.compat.steps.quotas import ANY_NAME, USER, component, entry_of
from pykbroker.compat.steps.rights import NO_CLUSTER, NO_TOPIC, Case, World, register
from pykbroker.compat.steps.users import SHA_256
from pykbroker.protocol import messages as kafka

_ALTER = (((ALTER, CLUSTER), NO_CLUSTER),)
_DESCRIBE = (((DESCRIBE, CLUSTER), NO_CLUSTER),)
_DESCRIBE_CONFIGS = (((DESCRIBE_CONFIGS, CLUSTER), NO_CLUSTER),)
_ALTER_CONFIGS = (((ALTER_CONFIGS, CLUSTER), NO_CLUSTER),)
_ACTION = (((CLUSTER_ACTION, CLUSTER), NO_CLUSTER),)
_METADATA_LOG = "__cluster_metadata"
_NO_BROKER = 7777
_ANOTHER_CLUSTER = "AnotherClusterAltogether"
_STATE_PARTITION = 99


def _acl(world: World) -> Acl:
    """One that is deleted with the rest of the user's, and says nothing of anybody."""
    return Acl(f"User:{world.group}", READ, TOPIC, world.topic.name)


def _create_acls(world: World) -> kafka.CreateAclsRequest:
    acl = _acl(world)
    world.target.afterwards(lambda: world.target.ask_newest(kafka.DeleteAclsRequest(filters=[deletion(filter_for_acl(acl))]), 3))
    return kafka.CreateAclsRequest(creations=[creation(acl)])


def _describe_broker(world: World) -> kafka.DescribeConfigsRequest:
    described = kafka.DescribeConfigsRequest.DescribeConfigsResource
    resource = described(resource_type=BROKER, resource_name=own_id(world.target), configuration_keys=None)
    return kafka.DescribeConfigsRequest(resources=[resource])


def _alter_broker(world: World) -> kafka.AlterConfigsRequest:
    resource = kafka.AlterConfigsRequest.AlterConfigsResource(resource_type=BROKER, resource_name=own_id(world.target))
    return kafka.AlterConfigsRequest(resources=[resource], validate_only=True)


def _alter_broker_incrementally(world: World) -> kafka.IncrementalAlterConfigsRequest:
    request = kafka.IncrementalAlterConfigsRequest
    config = request.AlterableConfig(name="log.cleaner.threads", config_operation=SET, value="1")
    resource = request.AlterConfigsResource(resource_type=BROKER, resource_name=own_id(world.target), configs=[config])
    return request(resources=[resource], validate_only=True)


def _move_logs(world: World) -> kafka.AlterReplicaLogDirsRequest:
    request = kafka.AlterReplicaLogDirsRequest
    topics = [request.AlterReplicaLogDirTopic(name=world.topic.name, partitions=[0])]
    return request(dirs=[request.AlterReplicaLogDir(path="/not/a/log/dir", topics=topics)])


def _elect(world: World) -> kafka.ElectLeadersRequest:
    topics = [kafka.ElectLeadersRequest.TopicPartitions(topic=world.topic.name, partitions=[0])]
    return kafka.ElectLeadersRequest(topic_partitions=topics, timeout_ms=10_000)


def _reassign(world: World) -> kafka.AlterPartitionReassignmentsRequest:
    request = kafka.AlterPartitionReassignmentsRequest
    part = request.ReassignablePartition(partition_index=0, replicas=None)
    return request(timeout_ms=10_000, topics=[request.ReassignableTopic(name=world.topic.name, partitions=[part])])


def _quorum(_: World) -> kafka.DescribeQuorumRequest:
    partition = kafka.DescribeQuorumRequest.PartitionData(partition_index=0)
    return kafka.DescribeQuorumRequest(topics=[kafka.DescribeQuorumRequest.TopicData(topic_name=_METADATA_LOG, partitions=[partition])])


def _markers(world: World) -> kafka.WriteTxnMarkersRequest:
    request = kafka.WriteTxnMarkersRequest
    topics = [request.WritableTxnMarkerTopic(name=f"{world.topic.name}-another", partition_indexes=[0])]
    return request(markers=[request.WritableTxnMarker(producer_id=7, topics=topics)])


def _fetch_as_a_replica(world: World) -> kafka.FetchRequest:
    part = kafka.FetchRequest.FetchPartition(partition=0, partition_max_bytes=1)
    topics = [kafka.FetchRequest.FetchTopic(topic=world.topic.name, topic_id=world.topic.topic_id, partitions=[part])]
    return kafka.FetchRequest(replica_id=_NO_BROKER, topics=topics)


def _initialize_state(world: World) -> kafka.InitializeShareGroupStateRequest:
    request = kafka.InitializeShareGroupStateRequest
    world.target.afterwards(lambda: world.target.ask(_delete_state(world), 0))
    part = request.PartitionData(partition=_STATE_PARTITION, state_epoch=0, start_offset=0)
    topics = [request.InitializeStateData(topic_id=world.topic.topic_id, partitions=[part])]
    return request(group_id=world.group, topics=topics)


def _read_state(world: World) -> kafka.ReadShareGroupStateRequest:
    request = kafka.ReadShareGroupStateRequest
    part = request.PartitionData(partition=_STATE_PARTITION)
    return request(group_id=world.group, topics=[request.ReadStateData(topic_id=world.topic.topic_id, partitions=[part])])


def _summarize_state(world: World) -> kafka.ReadShareGroupStateSummaryRequest:
    request = kafka.ReadShareGroupStateSummaryRequest
    part = request.PartitionData(partition=_STATE_PARTITION)
    return request(group_id=world.group, topics=[request.ReadStateSummaryData(topic_id=world.topic.topic_id, partitions=[part])])


def _write_state(world: World) -> kafka.WriteShareGroupStateRequest:
    request = kafka.WriteShareGroupStateRequest
    part = request.PartitionData(partition=_STATE_PARTITION)
    return request(group_id=world.group, topics=[request.WriteStateData(topic_id=world.topic.topic_id, partitions=[part])])


def _delete_state(world: World) -> kafka.DeleteShareGroupStateRequest:
    request = kafka.DeleteShareGroupStateRequest
    part = request.PartitionData(partition=_STATE_PARTITION)
    return request(group_id=world.group, topics=[request.DeleteStateData(topic_id=world.topic.topic_id, partitions=[part])])


def _alter_quotas(world: World) -> kafka.AlterClientQuotasRequest:
    return kafka.AlterClientQuotasRequest(entries=[entry_of({USER: world.group}, {"producer_byte_rate": 1e6})], validate_only=True)


def _delete_credential(world: World) -> kafka.AlterUserScramCredentialsRequest:
    gone = kafka.AlterUserScramCredentialsRequest.ScramCredentialDeletion(name=world.group, mechanism=SHA_256)
    return kafka.AlterUserScramCredentialsRequest(deletions=[gone])


def _credentials(world: World) -> kafka.DescribeUserScramCredentialsRequest:
    return kafka.DescribeUserScramCredentialsRequest(users=[kafka.DescribeUserScramCredentialsRequest.UserName(name=world.group)])


ACLS_AND_CONFIGS = (
    Case("DescribeAcls", 3, lambda world: filter_for_acl(_acl(world)), _DESCRIBE),
    Case("CreateAcls", 3, _create_acls, _ALTER),
    Case("DeleteAcls", 3, lambda world: kafka.DeleteAclsRequest(filters=[deletion(filter_for_acl(_acl(world)))]), _ALTER),
    Case("DescribeConfigs", 4, _describe_broker, _DESCRIBE_CONFIGS, "a broker"),
    Case("AlterConfigs", 2, _alter_broker, _ALTER_CONFIGS, "a broker"),
    Case("IncrementalAlterConfigs", 1, _alter_broker_incrementally, _ALTER_CONFIGS, "a broker"),
    Case("ListConfigResources", 1, lambda _: kafka.ListConfigResourcesRequest(resource_types=[]), _DESCRIBE_CONFIGS),
    Case("DescribeClientQuotas", 1, lambda _: kafka.DescribeClientQuotasRequest(components=[component(USER, ANY_NAME)]), _DESCRIBE_CONFIGS),
    Case("AlterClientQuotas", 1, _alter_quotas, _ALTER_CONFIGS),
    Case("DescribeUserScramCredentials", 0, _credentials, _DESCRIBE),
    Case("AlterUserScramCredentials", 0, _delete_credential, _ALTER),
)

REPLICAS_AND_QUORUM = (
    Case("AlterReplicaLogDirs", 2, _move_logs, _ALTER),
    Case("DescribeLogDirs", 4, lambda _: kafka.DescribeLogDirsRequest(topics=[]), _DESCRIBE),
    Case("ElectLeaders", 2, _elect, _ALTER),
    Case("AlterPartitionReassignments", 1, _reassign, _ALTER),
    Case("ListPartitionReassignments", 0, lambda _: kafka.ListPartitionReassignmentsRequest(topics=None, timeout_ms=10_000), _DESCRIBE),
    Case("DescribeQuorum", 2, _quorum, _DESCRIBE),
    Case("UpdateFeatures", 1, lambda _: kafka.UpdateFeaturesRequest(timeout_ms=10_000, validate_only=True), _ALTER),
    Case("UnregisterBroker", 0, lambda _: kafka.UnregisterBrokerRequest(broker_id=_NO_BROKER), _ALTER),
    Case("AddRaftVoter", 0, lambda _: kafka.AddRaftVoterRequest(cluster_id=_ANOTHER_CLUSTER, timeout_ms=1000), _ALTER),
    Case("RemoveRaftVoter", 0, lambda _: kafka.RemoveRaftVoterRequest(cluster_id=_ANOTHER_CLUSTER), _ALTER),
    Case("WriteTxnMarkers", 1, _markers, _ACTION),
    Case("Fetch", 12, _fetch_as_a_replica, (((CLUSTER_ACTION, CLUSTER), NO_TOPIC),), "a replica"),
    Case("InitializeShareGroupState", 0, _initialize_state, _ACTION),
    Case("ReadShareGroupState", 0, _read_state, _ACTION),
    Case("ReadShareGroupStateSummary", 0, _summarize_state, _ACTION),
    Case("WriteShareGroupState", 0, _write_state, _ACTION),
    Case("DeleteShareGroupState", 0, _delete_state, _ACTION),
)

register("Z-10", (*ACLS_AND_CONFIGS, *REPLICAS_AND_QUORUM))
