"""A, M, P: what somebody is answered who may not see or do what he asks for."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import batch_of
from pykbroker.compat.steps.log_requests import UNKNOWN_ID, produce_request_of
from pykbroker.compat.steps.users import AUTHORIZER, USERS, User
from pykbroker.compat.target import LATEST, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    CreateAclsRequest,
    DeleteAclsRequest,
    DeleteRecordsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetForLeaderEpochRequest,
    ProduceRequest,
    ProduceResponse,
)

ACLS = ("CreateAcls", "DeleteAcls", *USERS)
TOPIC, LITERAL, WRITE, ALLOW = 2, 3, 4, 3
REFUSED = ErrorCode.TOPIC_AUTHORIZATION_FAILED
NO_ID = bytes(16)


@check("P-25a", api=("Produce", *ACLS), versions="3-13", needs=AUTHORIZER)
def one_topic_that_may_not_be_written(target: Target, version: int) -> None:
    """Given a user who may write to one topic and not to another, the first is appended to, and the other is TOPIC_AUTHORIZATION_FAILED; by id, one
    that nobody has is UNKNOWN_TOPIC_ID; with acks=0 the connection is closed.
    """
    mine, other = target.new_topic(), target.new_topic()
    user = writer_of(target, mine)
    nobodys = Topic(target.new_name(), UNKNOWN_ID, 1)
    request = produce_request_of([(one, 0, batch_of(b"a")) for one in (mine, other, nobodys)])

    answers = _by_topic(user.ask(request, version), version)

    end = target.list_offsets(mine, timestamp=LATEST).offset
    expect(answers[_key(mine, version)], error_code=ErrorCode.NONE, base_offset=end - 1)
    expect(answers[_key(other, version)], error_code=REFUSED, base_offset=-1, log_start_offset=-1)
    expect(answers[_key(nobodys, version)], error_code=ErrorCode.UNKNOWN_TOPIC_ID if version >= 13 else REFUSED)
    expect(target.list_offsets(other, timestamp=LATEST), offset=0)
    silent = user.connect()
    silent.send(produce_request_of([(other, 0, batch_of(b"a"))], acks=0), version)
    expect_that(silent.is_closed(), "the connection is closed")


@check("P-25b", api=("Produce", *ACLS), versions="3-13", needs=AUTHORIZER)
def a_transactional_id_that_may_not_be_used(target: Target, version: int) -> None:
    """Given a transactional batch without a transactional id, or with one that the user may not write to, TRANSACTIONAL_ID_AUTHORIZATION_FAILED for
    every partition of the request; beside batches without a transaction, the id is not looked at. KIP-98.
    """
    mine = target.new_topic(partitions=3)
    user = writer_of(target, mine)
    transactional = batch_of(b"a", producer_id=4711, producer_epoch=0, base_sequence=0, is_transactional=True)
    mixed = [(mine, 0, transactional), (mine, 1, batch_of(b"a")), (mine, 2, b"")]

    for transactional_id in (None, target.new_name()):
        answer = user.ask(produce_request_of(mixed, transactional_id=transactional_id), version)
        errors = {one.index: one.error_code for one in answer.responses[0].partition_responses}
        expect_equal("the errors", errors, dict.fromkeys(range(3), ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
    plain = user.ask(produce_request_of([(mine, 1, batch_of(b"a"))], transactional_id=target.new_name()), version)
    expect(plain.responses[0].partition_responses[0], error_code=ErrorCode.NONE, base_offset=0)


@check("M-20a", api=("Metadata", *USERS), versions="0-13", needs=AUTHORIZER)
def topics_that_may_not_be_seen(target: Target, version: int) -> None:
    """Given a user without any ACL, a topic asked for by name is TOPIC_AUTHORIZATION_FAILED, whether it is there or not, or its name cannot be; it has
    no id and no partitions, and is not made. Of all topics none is told.
    """
    topic, unknown = target.new_topic(), target.new_name("topic")
    user = User(target)

    named = user.ask(_metadata_request(topic.name, unknown, "a b"), version)
    everything = user.ask(MetadataRequest(topics=None if version else []), version)

    found = {one.name: one for one in named.topics}
    expect_equal("the topics", sorted(name or "" for name in found), sorted([topic.name, unknown, "a b"]))
    for one in found.values():
        expect(one, error_code=REFUSED, is_internal=False, partitions=[], topic_id=NO_ID)
    expect_equal("the topics of all", [one.name for one in everything.topics], [])
    expect(target.metadata(unknown).topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


@check("M-20b", api=("Metadata", *USERS), versions="12-13", needs=AUTHORIZER)
def ids_that_may_not_be_seen(target: Target, version: int) -> None:
    """Given a user without any ACL, the id of a topic is TOPIC_AUTHORIZATION_FAILED without its name, and one that nobody has is UNKNOWN_TOPIC_ID. KIP-516."""
    topic = target.new_topic()
    wanted = [MetadataRequest.MetadataRequestTopic(topic_id=one, name=None) for one in (topic.topic_id, UNKNOWN_ID)]

    answer = User(target).ask(MetadataRequest(topics=wanted), version)

    found = {one.topic_id: one for one in answer.topics}
    expect_equal("the ids", set(found), {topic.topic_id, UNKNOWN_ID})
    expect(found[topic.topic_id], error_code=REFUSED, name=None, partitions=[])
    expect(found[UNKNOWN_ID], error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, partitions=[])


@check(
    "M-20c",
    api=("Fetch", "ListOffsets", "OffsetForLeaderEpoch", "DeleteRecords", "DescribeTopicPartitions", "DescribeProducers", *USERS),
    needs=AUTHORIZER,
)
def no_api_tells_of_a_topic_that_may_not_be_seen(target: Target) -> None:
    """Given a user without any ACL, whoever asks about a topic, or about one that is not there, is told TOPIC_AUTHORIZATION_FAILED before anything else."""
    user = User(target)
    for name in (target.new_topic().name, target.new_name("topic")):
        fetched = FetchRequest.FetchTopic(topic=name, partitions=[FetchRequest.FetchPartition(partition=9)])
        offsets = ListOffsetsRequest.ListOffsetsTopic(
            name=name, partitions=[ListOffsetsRequest.ListOffsetsPartition(partition_index=9, timestamp=-99)]
        )
        epochs = OffsetForLeaderEpochRequest.OffsetForLeaderTopic(
            topic=name, partitions=[OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=9, leader_epoch=99)]
        )
        deleted = DeleteRecordsRequest.DeleteRecordsTopic(
            name=name, partitions=[DeleteRecordsRequest.DeleteRecordsPartition(partition_index=9, offset=99)]
        )
        described = DescribeTopicPartitionsRequest.TopicRequest(name=name)
        producers = DescribeProducersRequest.TopicRequest(name=name, partition_indexes=[9])

        answers = [
            user.ask_newest(FetchRequest(max_bytes=1000, topics=[fetched]), 12).responses[0].partitions[0],
            user.ask_newest(ListOffsetsRequest(topics=[offsets]), 7).topics[0].partitions[0],
            user.ask_newest(OffsetForLeaderEpochRequest(replica_id=-1, topics=[epochs]), 4).topics[0].partitions[0],
            user.ask_newest(DeleteRecordsRequest(topics=[deleted], timeout_ms=1000), 2).topics[0].partitions[0],
            user.ask(DescribeTopicPartitionsRequest(topics=[described]), 0).topics[0],
            user.ask(DescribeProducersRequest(topics=[producers]), 0).topics[0].partitions[0],
        ]

        for answer in answers:
            expect(answer, error_code=REFUSED)


@check("A-13c", api=("DescribeLogDirs", *USERS), versions="1-5", needs=AUTHORIZER)
def directories_that_may_not_be_seen(target: Target, version: int) -> None:
    """Given a user without any ACL, DescribeLogDirs is CLUSTER_AUTHORIZATION_FAILED from v3 on, which have room for it, and has no results. KIP-113."""
    answer = User(target).ask(DescribeLogDirsRequest(topics=None), version)

    expect(answer, error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED if version >= 3 else ErrorCode.NONE, results=[])
    expect_that(target.ask(DescribeLogDirsRequest(topics=None), version).results, "who may see them is told of directories")


def writer_of(target: Target, topic: Topic) -> User:
    """A user who may write to one topic, and nothing else; back when that is in force."""
    user = User(target)
    granted = CreateAclsRequest.AclCreation(
        resource_type=TOPIC,
        resource_name=topic.name,
        resource_pattern_type=LITERAL,
        principal=user.principal,
        host="*",
        operation=WRITE,
        permission_type=ALLOW,
    )
    taken = DeleteAclsRequest.DeleteAclsFilter(
        resource_type_filter=TOPIC,
        resource_name_filter=topic.name,
        pattern_type_filter=LITERAL,
        principal_filter=user.principal,
        host_filter=None,
        operation=WRITE,
        permission_type=ALLOW,
    )
    target.afterwards(lambda: target.ask_newest(DeleteAclsRequest(filters=[taken]), 3))
    expect(target.ask_newest(CreateAclsRequest(creations=[granted]), 3).results[0], error_code=ErrorCode.NONE)
    nothing = ProduceRequest.PartitionProduceData(index=topic.partitions, records=b"")
    request = ProduceRequest(
        acks=-1, timeout_ms=1000, topic_data=[ProduceRequest.TopicProduceData(name=topic.name, partition_data=[nothing])]
    )

    def error() -> int:
        return user.ask_newest(request, 12).responses[0].partition_responses[0].error_code

    eventually(error, lambda found: found == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "the user may write")
    return user


def _metadata_request(*names: str) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in names], allow_auto_topic_creation=True)


def _key(topic: Topic, version: int) -> str | bytes:
    return topic.topic_id if version >= 13 else topic.name


def _by_topic(answer: ProduceResponse, version: int) -> dict[str | bytes, ProduceResponse.PartitionProduceResponse]:
    """The only partition of each topic, by its name, or its id from v13 on."""
    return {one.topic_id if version >= 13 else one.name: one.partition_responses[0] for one in answer.responses}
