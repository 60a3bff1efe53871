"""X: what runs through many APIs: error messages where there is no error, and what is said of the quorum."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.users import SHA_256
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AddRaftVoterRequest,
    AlterClientQuotasRequest,
    AlterUserScramCredentialsRequest,
    ConsumerGroupHeartbeatRequest,
    CreateTopicsRequest,
    DescribeClientQuotasRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    DescribeQuorumRequest,
    DescribeUserScramCredentialsRequest,
    FindCoordinatorRequest,
    IncrementalAlterConfigsRequest,
    RemoveRaftVoterRequest,
    UnregisterBrokerRequest,
    UpdateFeaturesRequest,
)

TOPIC = 2
SET = 0
METADATA_LOG = "__cluster_metadata"
JOINING = 0
LEAVING = -1


@check("X-01a", api="DescribeQuorum", versions="0-2")
def only_the_metadata_log_has_a_quorum_to_describe(target: Target, version: int) -> None:
    """Given DescribeQuorum of a topic, or of another partition of the metadata log, the partition is UNKNOWN_TOPIC_OR_PARTITION with leader 0,
    and the answer as a whole has no error. KIP-595.
    """
    for name, index in ((target.new_topic().name, 0), (METADATA_LOG, 1)):
        answer = target.ask(_quorum_of(name, index), version)

        expect(answer, error_code=ErrorCode.NONE)
        expect(answer.topics[0].partitions[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, leader_id=0, current_voters=[])


@check("X-01b", api="DescribeQuorum", versions="0-2")
def the_quorum_of_the_metadata_log_is_described(target: Target, version: int) -> None:
    """Given DescribeQuorum of the metadata log, its leader is one of the voters, the log has an end, and messages are empty, not null. KIP-595,
    KIP-853.
    """
    answer = target.ask(_quorum_of(METADATA_LOG, 0), version)

    expect(answer, error_code=ErrorCode.NONE)
    partition = answer.topics[0].partitions[0]
    expect(partition, error_code=ErrorCode.NONE, current_voters=NOT_EMPTY)
    expect_that(partition.leader_id in {one.replica_id for one in partition.current_voters}, "the leader is one of the voters")
    expect_that(partition.high_watermark > 0, "there is metadata")
    if version >= 2:
        expect(answer, error_message="")
        expect(partition, error_message="")


@check("X-01c", api="UnregisterBroker", versions="0-0")
def a_broker_that_is_not_registered_cannot_be_unregistered(target: Target, version: int) -> None:
    """Given UnregisterBroker of an id that no broker has, BROKER_ID_NOT_REGISTERED says so. KIP-631."""
    answer = target.ask(UnregisterBrokerRequest(broker_id=7777), version)

    expect(answer, error_code=ErrorCode.BROKER_ID_NOT_REGISTERED, error_message=NOT_EMPTY)


@check("X-01d", api=("AddRaftVoter", "RemoveRaftVoter"))
def voters_of_another_cluster_are_refused(target: Target) -> None:
    """Given AddRaftVoter or RemoveRaftVoter with the id of another cluster, INCONSISTENT_CLUSTER_ID. KIP-853."""
    listener = AddRaftVoterRequest.Listener(name="CONTROLLER", host="127.0.0.1", port=1)
    addition = AddRaftVoterRequest(cluster_id="AnotherClusterAltogether", timeout_ms=1000, voter_id=7777, listeners=[listener])

    added = target.ask(addition, 0)
    removed = target.ask(RemoveRaftVoterRequest(cluster_id="AnotherClusterAltogether", voter_id=7777), 0)

    expect(added, error_code=ErrorCode.INCONSISTENT_CLUSTER_ID)
    expect(removed, error_code=ErrorCode.INCONSISTENT_CLUSTER_ID)


@check("X-02a", api="DescribeConfigs", versions="1-4")
def describing_configs_without_error_says_nothing(target: Target, version: int) -> None:
    """Given configs described without error, error_message is empty, not null. KIP-133."""
    resource = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=TOPIC, resource_name=target.new_topic().name, configuration_keys=None
    )

    answer = target.ask(DescribeConfigsRequest(resources=[resource]), version)

    expect(answer.results[0], error_code=ErrorCode.NONE, error_message="", configs=NOT_EMPTY)


@check("X-02b", api="FindCoordinator", versions="1-6")
def finding_a_coordinator_without_error_says_none(target: Target, version: int) -> None:
    """Given a coordinator found, error_message is the word NONE up to v3, and empty from v4 on, where each key has its own. KIP-699."""
    group = target.new_group()
    target.wait_for_coordinator(group)

    if version >= 4:
        answer = target.ask(FindCoordinatorRequest(coordinator_keys=[group]), version)
        expect_equal("the number of coordinators", len(answer.coordinators), 1)
        expect(answer.coordinators[0], key=group, error_code=ErrorCode.NONE, error_message="", host=NOT_EMPTY)
    else:
        answer = target.ask(FindCoordinatorRequest(key=group), version)
        expect(answer, error_code=ErrorCode.NONE, error_message="NONE", host=NOT_EMPTY)


@check("X-02c", api="CreateTopics", versions="2-7")
def making_a_topic_without_error_has_no_message(target: Target, version: int) -> None:
    """Given a topic made, error_message is null. KIP-4."""
    name = target.new_name("topic")
    target.forget_after(name)
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)

    answer = target.ask(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), version)

    expect(answer.topics[0], name=name, error_code=ErrorCode.NONE, error_message=None)


@check("X-02d", api="IncrementalAlterConfigs", versions="0-1")
def altering_configs_without_error_has_no_message(target: Target, version: int) -> None:
    """Given a config altered, error_message is null. KIP-339."""
    name = target.new_topic().name
    config = IncrementalAlterConfigsRequest.AlterableConfig(name="retention.ms", config_operation=SET, value="1234567")
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(resource_type=TOPIC, resource_name=name, configs=[config])

    answer = target.ask(IncrementalAlterConfigsRequest(resources=[resource]), version)

    expect(answer.responses[0], resource_name=name, error_code=ErrorCode.NONE, error_message=None)


@check("X-02e", api="DescribeGroups", versions="6-6")
def describing_a_group_without_error_has_no_message(target: Target, version: int) -> None:
    """Given a stable group described in v6, error_message is null; where there is no such group, it says so. KIP-1043."""
    member = target.stable_group()
    nobody = target.new_group()

    answer = target.ask(DescribeGroupsRequest(groups=[member.group_id, nobody]), version)

    described = {one.group_id: one for one in answer.groups}
    expect_equal("the groups", set(described), {member.group_id, nobody})
    expect(described[member.group_id], error_code=ErrorCode.NONE, error_message=None, group_state="Stable", members=NOT_EMPTY)
    expect(described[nobody], error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=NOT_EMPTY, group_state="Dead")


@check("X-02f", api=("DescribeClientQuotas", "AlterClientQuotas"), versions="0-1")
def quotas_without_error_have_no_message_when_altered(target: Target, version: int) -> None:
    """Given a quota altered, error_message is null; where it is described, empty. KIP-546."""
    user = target.new_name("user")
    entity = AlterClientQuotasRequest.EntityData(entity_type="user", entity_name=user)
    operation = AlterClientQuotasRequest.OpData(key="producer_byte_rate", value=1_000_000.0)
    entry = AlterClientQuotasRequest.EntryData(entity=[entity], ops=[operation])
    component = DescribeClientQuotasRequest.ComponentData(entity_type="user", match_type=0, match=user)

    altered = target.ask(AlterClientQuotasRequest(entries=[entry], validate_only=True), version)
    described = target.ask(DescribeClientQuotasRequest(components=[component]), version)

    expect_equal("the number of entries", len(altered.entries), 1)
    expect(altered.entries[0], error_code=ErrorCode.NONE, error_message=None)
    expect(described, error_code=ErrorCode.NONE, error_message="")


@check("X-02g", api=("DescribeUserScramCredentials", "AlterUserScramCredentials"), versions="0-0")
def credentials_without_error_have_no_message_when_altered(target: Target, version: int) -> None:
    """Given SCRAM credentials made and taken away, error_message is null; where they are described, empty. KIP-554."""
    user = target.new_name("user")
    made = AlterUserScramCredentialsRequest.ScramCredentialUpsertion(
        name=user, mechanism=SHA_256, iterations=4096, salt=b"0123456789abcdef", salted_password=bytes(32)
    )
    gone = AlterUserScramCredentialsRequest.ScramCredentialDeletion(name=user, mechanism=SHA_256)

    added = target.ask(AlterUserScramCredentialsRequest(upsertions=[made]), version)
    described = target.ask(DescribeUserScramCredentialsRequest(users=None), version)
    removed = target.ask(AlterUserScramCredentialsRequest(deletions=[gone]), version)

    expect(described, error_code=ErrorCode.NONE, error_message="")
    for answer in (added, removed):
        expect_equal("the users", [one.user for one in answer.results], [user])
        expect(answer.results[0], error_code=ErrorCode.NONE, error_message=None)


@check("X-02h", api=("UpdateFeatures", "ConsumerGroupHeartbeat"))
def features_and_heartbeats_without_error_have_no_message(target: Target) -> None:
    """Given UpdateFeatures of nothing, or the first heartbeat of a consumer group, error_message is null. KIP-584, KIP-848."""
    group, member = target.new_group(), "member-of-conformance-1"
    target.wait_for_coordinator(group)
    topic = target.new_topic()
    heartbeat = ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_id=member,
        member_epoch=JOINING,
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=[topic.name],
        topic_partitions=[],
    )

    features = target.ask_newest(UpdateFeaturesRequest(timeout_ms=10_000), 1)
    joined = target.ask_newest(heartbeat, 1)
    target.ask_newest(ConsumerGroupHeartbeatRequest(group_id=group, member_id=member, member_epoch=LEAVING), 1)

    expect(features, error_code=ErrorCode.NONE, error_message=None)
    expect(joined, error_code=ErrorCode.NONE, error_message=None, member_id=member)
    expect_that(joined.member_epoch > 0, "the member has an epoch")


def _quorum_of(name: str, index: int) -> DescribeQuorumRequest:
    partition = DescribeQuorumRequest.PartitionData(partition_index=index)
    return DescribeQuorumRequest(topics=[DescribeQuorumRequest.TopicData(topic_name=name, partitions=[partition])])
