"""Z: what has to be allowed for an API to answer about topics, groups and transactions."""

from pykbroker.compat.steps.acls import (
    ALTER,
    ALTER_CONFIGS,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
)
from pykbroker.compat.steps.batches import batch_of
from pykbroker.compat.steps.configs import GROUP as GROUP_CONFIGS
from pykbroker.compat.steps.configs import SET
from pykbroker.compat.steps.configs import TOPIC as TOPIC_CONFIGS
from pykbroker.compat.steps.rights import NO_GROUP, NO_TOPIC, NO_TRANSACTION, Case, World, register
from pykbroker.compat.target import LATEST, produce_request
from pykbroker.protocol import messages as kafka

_TOPIC_READ = ((READ, TOPIC), NO_TOPIC)
_TOPIC_WRITE = ((WRITE, TOPIC), NO_TOPIC)
_TOPIC_DESCRIBE = ((DESCRIBE, TOPIC), NO_TOPIC)
_GROUP_READ = ((READ, GROUP), NO_GROUP)
_GROUP_DESCRIBE = ((DESCRIBE, GROUP), NO_GROUP)
_GROUP_DELETE = ((DELETE, GROUP), NO_GROUP)
_WRITE_BY_ID = ((WRITE, TRANSACTIONAL_ID), NO_TRANSACTION)
_MEMBER = "nobody-has-this-member-id"
_LEAVING = -1
_COORDINATES_GROUPS, _COORDINATES_TRANSACTIONS = 0, 1


def _fetch(world: World) -> kafka.FetchRequest:
    part = kafka.FetchRequest.FetchPartition(partition=0, partition_max_bytes=1)
    return kafka.FetchRequest(
        topics=[kafka.FetchRequest.FetchTopic(topic=world.topic.name, topic_id=world.topic.topic_id, partitions=[part])]
    )


def _list_offsets(world: World) -> kafka.ListOffsetsRequest:
    part = kafka.ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=LATEST)
    return kafka.ListOffsetsRequest(topics=[kafka.ListOffsetsRequest.ListOffsetsTopic(name=world.topic.name, partitions=[part])])


def _metadata(world: World) -> kafka.MetadataRequest:
    topics = [kafka.MetadataRequest.MetadataRequestTopic(name=world.topic.name)]
    return kafka.MetadataRequest(topics=topics, allow_auto_topic_creation=False)


def _offset_commit(world: World) -> kafka.OffsetCommitRequest:
    part = kafka.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
    topics = [kafka.OffsetCommitRequest.OffsetCommitRequestTopic(name=world.topic.name, partitions=[part])]
    return kafka.OffsetCommitRequest(group_id=world.group, generation_id_or_member_epoch=-1, topics=topics)


def _offset_fetch(world: World) -> kafka.OffsetFetchRequest:
    topics = [kafka.OffsetFetchRequest.OffsetFetchRequestTopics(name=world.topic.name, partition_indexes=[0])]
    return kafka.OffsetFetchRequest(groups=[kafka.OffsetFetchRequest.OffsetFetchRequestGroup(group_id=world.group, topics=topics)])


def _join_group(world: World) -> kafka.JoinGroupRequest:
    protocols = [kafka.JoinGroupRequest.JoinGroupRequestProtocol(name="range")]
    return kafka.JoinGroupRequest(
        group_id=world.group, session_timeout_ms=10_000, rebalance_timeout_ms=10_000, protocol_type="consumer", protocols=protocols
    )


def _leave_group(world: World) -> kafka.LeaveGroupRequest:
    return kafka.LeaveGroupRequest(group_id=world.group, members=[kafka.LeaveGroupRequest.MemberIdentity(member_id=_MEMBER)])


def _delete_records(world: World) -> kafka.DeleteRecordsRequest:
    part = kafka.DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=0)
    return kafka.DeleteRecordsRequest(
        topics=[kafka.DeleteRecordsRequest.DeleteRecordsTopic(name=world.topic.name, partitions=[part])], timeout_ms=10_000
    )


def _epochs(world: World) -> kafka.OffsetForLeaderEpochRequest:
    part = kafka.OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=0, leader_epoch=0)
    topics = [kafka.OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=world.topic.name, partitions=[part])]
    return kafka.OffsetForLeaderEpochRequest(replica_id=-1, topics=topics)


def _create_partitions(world: World) -> kafka.CreatePartitionsRequest:
    topic = kafka.CreatePartitionsRequest.CreatePartitionsTopic(name=world.topic.name, count=2, assignments=None)
    return kafka.CreatePartitionsRequest(topics=[topic], timeout_ms=10_000, validate_only=True)


def _create_topic(world: World) -> kafka.CreateTopicsRequest:
    topic = kafka.CreateTopicsRequest.CreatableTopic(name=world.topic.name, num_partitions=1, replication_factor=1)
    return kafka.CreateTopicsRequest(topics=[topic], timeout_ms=10_000, validate_only=True)


def _describe_configs(resource_type: int, name: str) -> kafka.DescribeConfigsRequest:
    described = kafka.DescribeConfigsRequest.DescribeConfigsResource
    return kafka.DescribeConfigsRequest(resources=[described(resource_type=resource_type, resource_name=name, configuration_keys=None)])


def _alter_configs(name: str) -> kafka.AlterConfigsRequest:
    config = kafka.AlterConfigsRequest.AlterableConfig(name="retention.ms", value="1234567")
    resource = kafka.AlterConfigsRequest.AlterConfigsResource(resource_type=TOPIC_CONFIGS, resource_name=name, configs=[config])
    return kafka.AlterConfigsRequest(resources=[resource], validate_only=True)


def _alter_incrementally(resource_type: int, name: str, key: str, value: str) -> kafka.IncrementalAlterConfigsRequest:
    request = kafka.IncrementalAlterConfigsRequest
    config = request.AlterableConfig(name=key, config_operation=SET, value=value)
    return request(
        resources=[request.AlterConfigsResource(resource_type=resource_type, resource_name=name, configs=[config])], validate_only=True
    )


def _offset_delete(world: World) -> kafka.OffsetDeleteRequest:
    part = kafka.OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=0)
    return kafka.OffsetDeleteRequest(
        group_id=world.group, topics=[kafka.OffsetDeleteRequest.OffsetDeleteRequestTopic(name=world.topic.name, partitions=[part])]
    )


def _offset_delete_of_a_group(world: World) -> kafka.OffsetDeleteRequest:
    """Of a group that has some."""
    world.target.ask_newest(_offset_commit(world), 9)
    return _offset_delete(world)


def _add_partitions(world: World) -> kafka.AddPartitionsToTxnRequest:
    topics = [kafka.AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=world.topic.name, partitions=[0])]
    return kafka.AddPartitionsToTxnRequest(
        v3_and_below_transactional_id=world.transactional_id,
        v3_and_below_producer_id=7,
        v3_and_below_producer_epoch=0,
        v3_and_below_topics=topics,
    )


def _commit_in_transaction(world: World) -> kafka.TxnOffsetCommitRequest:
    part = kafka.TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=1)
    return kafka.TxnOffsetCommitRequest(
        transactional_id=world.transactional_id,
        group_id=world.group,
        producer_id=7,
        producer_epoch=0,
        topics=[kafka.TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(name=world.topic.name, partitions=[part])],
    )


def _produce_in_transaction(world: World) -> kafka.ProduceRequest:
    request = produce_request(world.topic, batch_of(b"value", producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True))
    request.transactional_id = world.transactional_id
    return request


def _describe_producers(world: World) -> kafka.DescribeProducersRequest:
    topics = [kafka.DescribeProducersRequest.TopicRequest(name=world.topic.name, partition_indexes=[0])]
    return kafka.DescribeProducersRequest(topics=topics)


def _join_consumers(world: World) -> kafka.ConsumerGroupHeartbeatRequest:
    return kafka.ConsumerGroupHeartbeatRequest(
        group_id=world.group,
        member_id=_MEMBER,
        member_epoch=0,
        rebalance_timeout_ms=10_000,
        subscribed_topic_names=[world.topic.name],
        topic_partitions=[],
    )


def _join_sharing(world: World) -> kafka.ShareGroupHeartbeatRequest:
    return kafka.ShareGroupHeartbeatRequest(
        group_id=world.group, member_id=_MEMBER, member_epoch=0, subscribed_topic_names=[world.topic.name]
    )


def _leave_sharing(world: World) -> kafka.ShareGroupHeartbeatRequest:
    return kafka.ShareGroupHeartbeatRequest(group_id=world.group, member_id=_MEMBER, member_epoch=_LEAVING)


def _share_fetch(world: World) -> kafka.ShareFetchRequest:
    part = kafka.ShareFetchRequest.FetchPartition(partition_index=0)
    topics = [kafka.ShareFetchRequest.FetchTopic(topic_id=world.topic.topic_id, partitions=[part])]
    return kafka.ShareFetchRequest(group_id=world.group, member_id="AAAAAAAAAAAAAAAAAAAAAQ", max_wait_ms=0, topics=topics)


def _share_acknowledge(world: World) -> kafka.ShareAcknowledgeRequest:
    return kafka.ShareAcknowledgeRequest(group_id=world.group, member_id="AAAAAAAAAAAAAAAAAAAAAQ", share_session_epoch=1)


def _stream(world: World) -> kafka.StreamsGroupHeartbeatRequest:
    return kafka.StreamsGroupHeartbeatRequest(group_id=world.group, member_id=_MEMBER, member_epoch=5)


def _share_offsets(world: World) -> kafka.DescribeShareGroupOffsetsRequest:
    request = kafka.DescribeShareGroupOffsetsRequest
    topics = [request.DescribeShareGroupOffsetsRequestTopic(topic_name=world.topic.name, partitions=[0])]
    return request(groups=[request.DescribeShareGroupOffsetsRequestGroup(group_id=world.group, topics=topics)])


def _alter_share_offsets(world: World) -> kafka.AlterShareGroupOffsetsRequest:
    request = kafka.AlterShareGroupOffsetsRequest
    part = request.AlterShareGroupOffsetsRequestPartition(partition_index=0, start_offset=0)
    return request(
        group_id=world.group, topics=[request.AlterShareGroupOffsetsRequestTopic(topic_name=world.topic.name, partitions=[part])]
    )


def _delete_share_offsets(world: World) -> kafka.DeleteShareGroupOffsetsRequest:
    """Of a group that has some."""
    world.target.ask(_alter_share_offsets(world), 0)
    request = kafka.DeleteShareGroupOffsetsRequest
    return request(group_id=world.group, topics=[request.DeleteShareGroupOffsetsRequestTopic(topic_name=world.topic.name)])


TOPICS = (
    Case("Produce", 11, lambda world: produce_request(world.topic, batch_of(b"value")), (_TOPIC_WRITE,)),
    Case("Fetch", 12, _fetch, (_TOPIC_READ,)),
    Case("ListOffsets", 7, _list_offsets, (_TOPIC_DESCRIBE,)),
    Case("Metadata", 9, _metadata, (_TOPIC_DESCRIBE,), "a named topic"),
    Case("CreateTopics", 7, _create_topic, (((CREATE, TOPIC), NO_TOPIC),), "a topic that is there"),
    Case(
        "DeleteTopics",
        5,
        lambda world: kafka.DeleteTopicsRequest(topic_names=[world.topic.name], timeout_ms=9999),
        (((DELETE, TOPIC), NO_TOPIC),),
    ),
    Case("DeleteRecords", 2, _delete_records, (((DELETE, TOPIC), NO_TOPIC),)),
    Case("OffsetForLeaderEpoch", 4, _epochs, (_TOPIC_DESCRIBE,)),
    Case("CreatePartitions", 3, _create_partitions, (((ALTER, TOPIC), NO_TOPIC),)),
    Case(
        "DescribeConfigs",
        4,
        lambda world: _describe_configs(TOPIC_CONFIGS, world.topic.name),
        (((DESCRIBE_CONFIGS, TOPIC), NO_TOPIC),),
        "a topic",
    ),
    Case("AlterConfigs", 2, lambda world: _alter_configs(world.topic.name), (((ALTER_CONFIGS, TOPIC), NO_TOPIC),), "a topic"),
    Case(
        "IncrementalAlterConfigs",
        1,
        lambda world: _alter_incrementally(TOPIC_CONFIGS, world.topic.name, "retention.ms", "1234567"),
        (((ALTER_CONFIGS, TOPIC), NO_TOPIC),),
        "a topic",
    ),
    Case("DescribeProducers", 0, _describe_producers, (_TOPIC_READ,)),
    Case(
        "DescribeTopicPartitions",
        0,
        lambda world: kafka.DescribeTopicPartitionsRequest(
            topics=[kafka.DescribeTopicPartitionsRequest.TopicRequest(name=world.topic.name)], response_partition_limit=10, cursor=None
        ),
        (_TOPIC_DESCRIBE,),
    ),
)

GROUPS = (
    Case("OffsetCommit", 9, _offset_commit, (_GROUP_READ, _TOPIC_READ)),
    Case("OffsetFetch", 9, _offset_fetch, (_GROUP_DESCRIBE, _TOPIC_DESCRIBE)),
    Case(
        "FindCoordinator",
        4,
        lambda world: kafka.FindCoordinatorRequest(key_type=_COORDINATES_GROUPS, coordinator_keys=[world.group]),
        (_GROUP_DESCRIBE,),
        "a group",
    ),
    Case("JoinGroup", 9, _join_group, (_GROUP_READ,)),
    Case("SyncGroup", 4, lambda world: kafka.SyncGroupRequest(group_id=world.group, member_id=_MEMBER), (_GROUP_READ,)),
    Case("Heartbeat", 4, lambda world: kafka.HeartbeatRequest(group_id=world.group, member_id=_MEMBER), (_GROUP_READ,)),
    Case("LeaveGroup", 4, _leave_group, (_GROUP_READ,)),
    Case("DescribeGroups", 5, lambda world: kafka.DescribeGroupsRequest(groups=[world.group]), (_GROUP_DESCRIBE,)),
    Case("DeleteGroups", 2, lambda world: kafka.DeleteGroupsRequest(groups_names=[world.group]), (_GROUP_DELETE,)),
    Case("OffsetDelete", 0, _offset_delete_of_a_group, (_GROUP_DELETE, _TOPIC_READ), apis=("OffsetCommit",)),
    Case(
        "DescribeConfigs",
        4,
        lambda world: _describe_configs(GROUP_CONFIGS, world.group),
        (((DESCRIBE_CONFIGS, GROUP), NO_GROUP),),
        "a group",
        apis=("ConsumerGroupHeartbeat",),
    ),
    Case(
        "IncrementalAlterConfigs",
        1,
        lambda world: _alter_incrementally(GROUP_CONFIGS, world.group, "consumer.session.timeout.ms", "45000"),
        (((ALTER_CONFIGS, GROUP), NO_GROUP),),
        "a group",
        apis=("ConsumerGroupHeartbeat",),
    ),
    Case("ConsumerGroupHeartbeat", 0, _join_consumers, (_GROUP_READ, _TOPIC_DESCRIBE)),
    Case("ConsumerGroupDescribe", 0, lambda world: kafka.ConsumerGroupDescribeRequest(group_ids=[world.group]), (_GROUP_DESCRIBE,)),
    Case("ShareGroupHeartbeat", 1, _join_sharing, (_GROUP_READ, _TOPIC_DESCRIBE), farewell=_leave_sharing),
    Case("ShareGroupDescribe", 1, lambda world: kafka.ShareGroupDescribeRequest(group_ids=[world.group]), (_GROUP_DESCRIBE,)),
    Case("ShareFetch", 1, _share_fetch, (_GROUP_READ, _TOPIC_READ)),
    Case("ShareAcknowledge", 1, _share_acknowledge, (_GROUP_READ,)),
    Case("DescribeShareGroupOffsets", 0, _share_offsets, (_GROUP_DESCRIBE, _TOPIC_DESCRIBE)),
    Case("AlterShareGroupOffsets", 0, _alter_share_offsets, (_GROUP_READ, _TOPIC_READ)),
    Case("DeleteShareGroupOffsets", 0, _delete_share_offsets, (_GROUP_DELETE, _TOPIC_READ), apis=("AlterShareGroupOffsets",)),
    Case("StreamsGroupHeartbeat", 0, _stream, (_GROUP_READ,)),
    Case("StreamsGroupDescribe", 0, lambda world: kafka.StreamsGroupDescribeRequest(group_ids=[world.group]), (_GROUP_DESCRIBE,)),
)

TRANSACTIONS = (
    Case("Produce", 11, _produce_in_transaction, (_WRITE_BY_ID, _TOPIC_WRITE), "a transaction", ("EndTxn",)),
    Case(
        "FindCoordinator",
        4,
        lambda world: kafka.FindCoordinatorRequest(key_type=_COORDINATES_TRANSACTIONS, coordinator_keys=[world.transactional_id]),
        (((DESCRIBE, TRANSACTIONAL_ID), NO_TRANSACTION),),
        "a transaction",
        ("EndTxn",),
    ),
    Case(
        "InitProducerId",
        4,
        lambda world: kafka.InitProducerIdRequest(transactional_id=world.transactional_id, transaction_timeout_ms=10_000),
        (_WRITE_BY_ID,),
        "a transaction",
        ("EndTxn",),
    ),
    Case("AddPartitionsToTxn", 3, _add_partitions, (_WRITE_BY_ID, _TOPIC_WRITE)),
    Case(
        "AddOffsetsToTxn",
        3,
        lambda world: kafka.AddOffsetsToTxnRequest(transactional_id=world.transactional_id, producer_id=7, group_id=world.group),
        (_WRITE_BY_ID, _GROUP_READ),
    ),
    Case("EndTxn", 3, lambda world: kafka.EndTxnRequest(transactional_id=world.transactional_id, producer_id=7), (_WRITE_BY_ID,)),
    Case("TxnOffsetCommit", 3, _commit_in_transaction, (_WRITE_BY_ID, _GROUP_READ, _TOPIC_READ)),
    Case(
        "DescribeTransactions",
        0,
        lambda world: kafka.DescribeTransactionsRequest(transactional_ids=[world.transactional_id]),
        (((DESCRIBE, TRANSACTIONAL_ID), NO_TRANSACTION),),
    ),
)

register("Z-09", (*TOPICS, *GROUPS, *TRANSACTIONS))
