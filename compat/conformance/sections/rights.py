"""Z: what is seen and done by who has some rights and lacks others."""

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.acls import (
    ALL,
    ALTER,
    CLUSTER,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    IDEMPOTENT_WRITE,
    PREFIXED,
    READ,
    THE_CLUSTER,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
    Acl,
    allow,
    creation,
    deletion,
    deny,
    filter_of,
    take_away,
)
from pykbroker.compat.steps.rights import APIS, NEEDS, NO_CLUSTER, NO_GROUP, NO_TOPIC, new_world
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.steps.users import User
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterClientQuotasRequest,
    CreateAclsRequest,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteAclsRequest,
    DeleteTopicsRequest,
    DescribeClientQuotasRequest,
    DescribeClusterRequest,
    DescribeGroupsRequest,
    DescribeLogDirsRequest,
    DescribeUserScramCredentialsRequest,
    InitProducerIdRequest,
    ListGroupsRequest,
    ListTransactionsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
    WriteTxnMarkersRequest,
)

OPEN_TO_ALL = Settings((("allow.everyone.if.no.acl.found", "true"),))


@check("Z-06", api=("CreateTopics", *APIS), versions="5-7", needs=NEEDS)
def who_may_create_topics_may_not_see_their_configs(target: Target, version: int) -> None:
    """Given no Create, on the topic or the cluster, TOPIC_AUTHORIZATION_FAILED; with it, the topic is made, and in place of its configs and counts is
    topic_config_error_code TOPIC_AUTHORIZATION_FAILED; with DescribeConfigs too, they are told. KIP-525.
    """
    user = User(target)
    by_cluster, by_topic, with_configs = (target.new_name("topic") for _ in range(3))

    expect(_created(user, by_topic, version), error_code=NO_TOPIC, error_message=NOT_EMPTY)
    allow(user, CREATE, TOPIC, by_topic)
    expect(
        _created_at_last(user, by_topic, version), topic_config_error_code=NO_TOPIC, configs=[], num_partitions=-1, replication_factor=-1
    )
    expect(_created(user, with_configs, version), error_code=NO_TOPIC)
    allow(user, CREATE, CLUSTER, THE_CLUSTER)
    expect(_created_at_last(user, by_cluster, version), topic_config_error_code=NO_TOPIC, configs=[], num_partitions=-1)
    allow(user, DESCRIBE_CONFIGS, TOPIC, with_configs)
    told = eventually(
        lambda: _created(user, with_configs, version, validate_only=True), lambda one: not one.topic_config_error_code, "told"
    )
    expect(told, error_code=ErrorCode.NONE, configs=NOT_EMPTY, num_partitions=1, replication_factor=1)


@check("Z-07", api=("InitProducerId", *APIS), versions="0-5", needs=NEEDS)
def who_writes_anything_may_have_a_producer_id(target: Target, version: int) -> None:
    """Given no transactional id, InitProducerId is CLUSTER_AUTHORIZATION_FAILED without IdempotentWrite on the cluster or Write on any topic, also one
    that is not there, or a prefix; a denial of the same prefix takes that away again. KIP-679.
    """
    user = User(target)
    prefix = target.new_name("prefix")
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=10_000)

    def expect_error(error: ErrorCode) -> None:
        eventually(lambda: user.ask(request, version).error_code, lambda found: found == error, f"InitProducerId answers {error.name}")

    expect_error(NO_CLUSTER)
    for allowed in (
        Acl(user.principal, IDEMPOTENT_WRITE, CLUSTER, THE_CLUSTER),
        Acl(user.principal, WRITE, TOPIC, prefix),
        Acl(user.principal, WRITE, TOPIC, prefix, PREFIXED),
    ):
        right = allow(user, allowed.operation, allowed.resource_type, allowed.name, allowed.pattern)
        expect_error(ErrorCode.NONE)
        take_away(target, right)
        expect_error(NO_CLUSTER)
    allow(user, WRITE, TOPIC, prefix, PREFIXED)
    deny(user, WRITE, TOPIC, prefix, PREFIXED)
    expect_error(NO_CLUSTER)


@check("Z-08", api=("ListGroups", "OffsetCommit", *APIS), versions="0-5", needs=NEEDS)
def groups_that_one_may_not_see_are_not_listed(target: Target, version: int) -> None:
    """Given two groups, ListGroups tells of none, or of the one that may be described, without an error; with Describe on the cluster, of both."""
    world, other = new_world(target), target.new_group()
    target.wait_for_coordinator(other)
    for group in (world.group, other):
        expect_equal("what the commit answers", _commit(target, group, world.topic.name), ErrorCode.NONE)

    def listed() -> set[str]:
        answer = world.user.ask(ListGroupsRequest(), version)
        expect(answer, error_code=ErrorCode.NONE)
        return {one.group_id for one in answer.groups}

    expect_equal("the groups", listed(), set())
    allow(world.user, DESCRIBE, GROUP, other)
    expect_equal("the groups", listed(), {other})
    allow(world.user, DESCRIBE, CLUSTER, THE_CLUSTER)
    expect_that({world.group, other} <= listed(), "all groups are listed")


@check("Z-09", api=("OffsetFetch", "OffsetCommit", *APIS), versions="2-9", needs=NEEDS)
def offsets_of_topics_that_one_may_not_see_are_left_out(target: Target, version: int) -> None:
    """Given Describe on a group with offsets of two topics, and on one of the topics, all topics means that one; the other, if named, and one that
    nobody has, is TOPIC_AUTHORIZATION_FAILED.
    """
    world, seen, nobody = new_world(target), target.new_topic(), target.new_name("topic")
    for topic in (world.topic, seen):
        expect_equal("what the commit answers", _commit(target, world.group, topic.name), ErrorCode.NONE)
    allow(world.user, DESCRIBE, GROUP, world.group)
    allow(world.user, DESCRIBE, TOPIC, seen.name)

    everything = _fetched(world.user, world.group, None, version)
    named = _fetched(world.user, world.group, [world.topic.name, seen.name, nobody], version)

    expect_equal("the topics", everything, {seen.name: (ErrorCode.NONE, 1)})
    unseen = (NO_TOPIC, -1)
    expect_equal("the topics", named, {world.topic.name: unseen, seen.name: (ErrorCode.NONE, 1), nobody: unseen})


@check("Z-09", api=("Metadata", *APIS), versions="1-13", needs=NEEDS)
def topics_that_one_may_not_see_are_left_out(target: Target, version: int) -> None:
    """Given two topics and Describe on one of them, Metadata of all topics tells of that one; of a named one that may not be seen, and of one that
    nobody has, TOPIC_AUTHORIZATION_FAILED, so that nobody learns which of them is there.
    """
    world, seen, nobody = new_world(target), target.new_topic(), target.new_name("topic")
    allow(world.user, DESCRIBE, TOPIC, seen.name)

    everything = world.user.ask(MetadataRequest(topics=None), version)
    wanted = [MetadataRequest.MetadataRequestTopic(name=name) for name in (world.topic.name, nobody, seen.name)]
    named = world.user.ask(MetadataRequest(topics=wanted), version)

    expect_equal("the topics", [one.name for one in everything.topics], [seen.name])
    errors = {one.name: one.error_code for one in named.topics}
    expect_equal("the named topics", errors, {world.topic.name: NO_TOPIC, nobody: NO_TOPIC, seen.name: ErrorCode.NONE})
    for one in named.topics:
        if one.name != seen.name:
            expect(one, partitions=[], topic_id=bytes(16))


@check("Z-09", api=("Metadata", "DescribeGroups", "DescribeCluster", *APIS), needs=NEEDS)
def authorized_operations_are_the_rights_one_has(target: Target) -> None:
    """Given some rights, those that are asked for are told as bits, with what they imply: Read and Describe on a topic; Read, Delete and Describe on a
    group; Alter and Describe on the cluster. KIP-430.
    """
    world = new_world(target)
    allow(world.user, READ, TOPIC, world.topic.name)
    allow(world.user, READ, GROUP, world.group)
    allow(world.user, DELETE, GROUP, world.group)
    allow(world.user, ALTER, CLUSTER, THE_CLUSTER)

    topics = [MetadataRequest.MetadataRequestTopic(name=world.topic.name)]
    metadata = world.user.ask_newest(MetadataRequest(topics=topics, include_topic_authorized_operations=True), 9)
    groups = world.user.ask_newest(DescribeGroupsRequest(groups=[world.group], include_authorized_operations=True), 5)
    cluster = world.user.ask_newest(DescribeClusterRequest(include_cluster_authorized_operations=True), 1)

    expect(metadata.topics[0], topic_authorized_operations=_bits(READ, DESCRIBE))
    expect(groups.groups[0], authorized_operations=_bits(READ, DELETE, DESCRIBE))
    expect(cluster, cluster_authorized_operations=_bits(ALTER, DESCRIBE))


@check("Z-10", api=("DescribeLogDirs", *APIS), versions="1-5", needs=NEEDS)
def log_dirs_are_not_shown_to_who_may_not_see_them(target: Target, version: int) -> None:
    """Given no Describe on the cluster, DescribeLogDirs is CLUSTER_AUTHORIZATION_FAILED from v3 on, and empty without an error before. KIP-784."""
    user = User(target)
    request = DescribeLogDirsRequest(topics=None)

    refused = user.ask(request, version)
    allow(user, DESCRIBE, CLUSTER, THE_CLUSTER)
    shown = user.ask(request, version)

    expect(refused, error_code=NO_CLUSTER if version >= 3 else ErrorCode.NONE, results=[])
    expect(shown, error_code=ErrorCode.NONE, results=NOT_EMPTY)


@check("Z-10", api=("DescribeClientQuotas", "AlterClientQuotas", *APIS), versions="0-1", needs=NEEDS)
def a_refusal_of_quotas_says_little(target: Target, version: int) -> None:
    """Given no rights, DescribeClientQuotas is CLUSTER_AUTHORIZATION_FAILED, message and entries null; AlterClientQuotas is, for each entity. KIP-546."""
    user = User(target)
    entity = AlterClientQuotasRequest.EntityData(entity_type="user", entity_name=user.name)
    operation = AlterClientQuotasRequest.OpData(key="producer_byte_rate", value=1e6)
    entry = AlterClientQuotasRequest.EntryData(entity=[entity], ops=[operation])

    described = user.ask(DescribeClientQuotasRequest(components=[]), version)
    altered = user.ask(AlterClientQuotasRequest(entries=[entry]), version)

    expect(described, error_code=NO_CLUSTER, error_message=None, entries=None)
    expect_equal("the number of entries", len(altered.entries), 1)
    expect(altered.entries[0], error_code=NO_CLUSTER, error_message=NOT_EMPTY)


@check("Z-10", api=("DescribeCluster", *APIS), versions="0-2", needs=NEEDS)
def everybody_may_describe_the_cluster(target: Target, version: int) -> None:
    """Given no rights, DescribeCluster tells of the brokers, and that nothing may be done. KIP-700."""
    user = User(target)

    answer = user.ask(DescribeClusterRequest(include_cluster_authorized_operations=True), version)

    expect(answer, error_code=ErrorCode.NONE, brokers=NOT_EMPTY, cluster_id=NOT_EMPTY, cluster_authorized_operations=0)


@check("Z-10", api=("WriteTxnMarkers", *APIS), versions="1-2", needs=NEEDS)
def no_markers_are_written_by_anybody(target: Target, version: int) -> None:
    """Given no rights and no markers, WriteTxnMarkers is answered with none; with a marker, it is CLUSTER_AUTHORIZATION_FAILED for its partitions."""
    user, topic = User(target), target.new_topic()
    topics = [WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=topic.name, partition_indexes=[0])]

    nothing = user.ask(WriteTxnMarkersRequest(markers=[]), version)
    refused = user.ask(WriteTxnMarkersRequest(markers=[WriteTxnMarkersRequest.WritableTxnMarker(producer_id=7, topics=topics)]), version)

    expect(nothing, markers=[])
    expect(refused.markers[0].topics[0].partitions[0], error_code=NO_CLUSTER)


@check("Z-10", api=("ListTransactions", *TRANSACTIONS, *APIS), versions="0-2", needs=NEEDS)
def transactions_that_one_may_not_see_are_not_listed(target: Target, version: int) -> None:
    """Given a transaction, ListTransactions tells of none, without an error; with Describe on its id, of that one. KIP-664."""
    user, topic = User(target), target.new_topic()
    transaction = Transaction(target)
    transaction.produce(topic)

    def listed() -> list[str]:
        answer = user.ask(ListTransactionsRequest(), version)
        expect(answer, error_code=ErrorCode.NONE)
        return [one.transactional_id for one in answer.transaction_states]

    expect_equal("the transactions", listed(), [])
    allow(user, DESCRIBE, TRANSACTIONAL_ID, transaction.transactional_id)
    expect_equal("the transactions", listed(), [transaction.transactional_id])
    transaction.end(topic, committed=False)


@check("Z-11", api=APIS, versions="1-3", needs=NEEDS)
def a_refusal_of_acls_has_a_message(target: Target, version: int) -> None:
    """Given no rights, DescribeAcls is CLUSTER_AUTHORIZATION_FAILED, and CreateAcls and DeleteAcls are, for each entry, with a message. KIP-140."""
    user = User(target)
    acl = Acl(user.principal, ALL, TOPIC, target.new_name("topic"))

    shown = user.ask(filter_of(), version)
    made = user.ask(CreateAclsRequest(creations=[creation(acl), creation(acl)]), version)
    taken = user.ask(DeleteAclsRequest(filters=[deletion(filter_of(name=acl.name))]), version)

    expect(shown, error_code=NO_CLUSTER, error_message=NOT_EMPTY, resources=[])
    expect_equal("the numbers of results", (len(made.results), len(taken.filter_results)), (2, 1))
    for one in (*made.results, *taken.filter_results):
        expect(one, error_code=NO_CLUSTER, error_message=NOT_EMPTY)


@check("Z-12a", api=("Metadata", *APIS), versions="12-13", needs=NEEDS)
def the_name_of_a_topic_is_not_told_for_its_id(target: Target, version: int) -> None:
    """Given no Describe, Metadata by the id of a topic is TOPIC_AUTHORIZATION_FAILED with a null name; with it, the name is told. KIP-516."""
    world = new_world(target)
    request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(topic_id=world.topic.topic_id, name=None)])

    refused = world.user.ask(request, version)
    allow(world.user, DESCRIBE, TOPIC, world.topic.name)
    told = world.user.ask(request, version)

    expect_equal("the number of topics", len(refused.topics), 1)
    expect(refused.topics[0], error_code=NO_TOPIC, name=None, topic_id=world.topic.topic_id, partitions=[])
    expect(told.topics[0], error_code=ErrorCode.NONE, name=world.topic.name)


@check("Z-12b", api=("DeleteTopics", *APIS), versions="6-6", needs=NEEDS)
def a_deletion_by_id_tells_the_name_to_who_may_see_it(target: Target, version: int) -> None:
    """Given no rights, DeleteTopics by id is TOPIC_AUTHORIZATION_FAILED with a null name; with Describe, it is so with the name; the topic stays.
    KIP-516.
    """
    world = new_world(target)
    request = DeleteTopicsRequest(
        topics=[DeleteTopicsRequest.DeleteTopicState(name=None, topic_id=world.topic.topic_id)], timeout_ms=10_000
    )

    expect(world.user.ask(request, version).responses[0], error_code=NO_TOPIC, name=None, topic_id=world.topic.topic_id)
    allow(world.user, DESCRIBE, TOPIC, world.topic.name)

    named = eventually(lambda: world.user.ask(request, version).responses[0], lambda one: one.name is not None, "the name is told")
    expect(named, error_code=NO_TOPIC, name=world.topic.name)
    expect(target.metadata(world.topic.name).topics[0], error_code=ErrorCode.NONE)


@check("Z-12c", api=("SyncGroup", *APIS), versions="5-5", needs=NEEDS)
def what_is_missing_in_a_sync_is_seen_before_the_rights(target: Target, version: int) -> None:
    """Given no Read on the group, SyncGroup v5 without a protocol type is INCONSISTENT_GROUP_PROTOCOL; with one, GROUP_AUTHORIZATION_FAILED. KIP-559."""
    world = new_world(target)
    without = SyncGroupRequest(group_id=world.group, member_id="nobody", protocol_type=None, protocol_name=None)
    complete = SyncGroupRequest(group_id=world.group, member_id="nobody", protocol_type="consumer", protocol_name="range")

    expect(world.user.ask(without, version), error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    expect(world.user.ask(complete, version), error_code=NO_GROUP)


@check("S-13", api=("DescribeUserScramCredentials", *APIS), needs=NEEDS)
def credentials_are_not_described_to_who_may_not_see_them(target: Target) -> None:
    """Given no Describe on the cluster, DescribeUserScramCredentials of a user is CLUSTER_AUTHORIZATION_FAILED, also of oneself; with it, oneself is
    described. KIP-554.
    """
    user = User(target)
    request = DescribeUserScramCredentialsRequest(users=[DescribeUserScramCredentialsRequest.UserName(name=user.name)])

    refused = user.ask(request, 0)
    allow(user, DESCRIBE, CLUSTER, THE_CLUSTER)
    described = user.ask(request, 0)

    expect(refused, error_code=NO_CLUSTER)
    expect_that(all(not one.credential_infos for one in refused.results), "no credential is told")
    expect(described, error_code=ErrorCode.NONE)
    expect(described.results[0], user=user.name, error_code=ErrorCode.NONE, credential_infos=NOT_EMPTY)


@check("Z-03d", api=("Metadata", *APIS), needs=(*NEEDS, OPEN_TO_ALL))
def without_an_acl_everybody_may_where_that_is_set(target: Target) -> None:
    """Given allow.everyone.if.no.acl.found, a topic without an ACL may be seen; as soon as it has one, for somebody else, it may not. KIP-11."""
    user, topic = User(target), target.new_topic()
    request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=topic.name)])

    expect(user.ask_newest(request, 9).topics[0], error_code=ErrorCode.NONE)
    allow(User(target), DESCRIBE, TOPIC, topic.name)

    expect(user.ask_newest(request, 9).topics[0], error_code=NO_TOPIC)


def _bits(*operations: int) -> int:
    return sum(1 << operation for operation in operations)


def _created(user: User, name: str, version: int, *, validate_only: bool = False) -> CreateTopicsResponse.CreatableTopicResult:
    user.target.forget_after(name)
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    return user.ask(CreateTopicsRequest(topics=[topic], timeout_ms=10_000, validate_only=validate_only), version).topics[0]


def _created_at_last(user: User, name: str, version: int) -> CreateTopicsResponse.CreatableTopicResult:
    return eventually(lambda: _created(user, name, version), lambda found: found.error_code == ErrorCode.NONE, "the topic is made")


def _commit(target: Target, group: str, topic: str) -> int:
    part = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
    topics = [OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[part])]
    answer = target.ask_newest(OffsetCommitRequest(group_id=group, generation_id_or_member_epoch=-1, topics=topics), 8)
    return answer.topics[0].partitions[0].error_code


def _fetched(user: User, group: str, topics: list[str] | None, version: int) -> dict[str, tuple[int, int]]:
    """OffsetFetch of partition 0 of these topics, or of all; error and offset for each."""
    request = OffsetFetchRequest
    if version >= 8:
        many = None if topics is None else [request.OffsetFetchRequestTopics(name=name, partition_indexes=[0]) for name in topics]
        answer = user.ask(request(groups=[request.OffsetFetchRequestGroup(group_id=group, topics=many)]), version)
        return {one.name: (one.partitions[0].error_code, one.partitions[0].committed_offset) for one in answer.groups[0].topics}
    few = None if topics is None else [request.OffsetFetchRequestTopic(name=name, partition_indexes=[0]) for name in topics]
    answer = user.ask(request(group_id=group, topics=few), version)
    return {one.name: (one.partitions[0].error_code, one.partitions[0].committed_offset) for one in answer.topics}
