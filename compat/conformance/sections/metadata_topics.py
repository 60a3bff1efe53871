"""M: topic ids and epochs, names that may be, and the newer ways to ask about topics and the cluster."""

import base64

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.transactions import TRANSACTIONS
from pykbroker.compat.target import Target, Topic, eventually, produce_request
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    FetchRequest,
    FindCoordinatorRequest,
    ListOffsetsRequest,
    MetadataResponse,
    OffsetForLeaderEpochRequest,
)
from pykbroker.protocol.records import NewRecord, build_batch

NO_ID = bytes(16)
BROKERS, CONTROLLERS, NOBODY = 1, 2, 3
TOPIC_OPERATIONS = 3576
INVALID_NAMES = ("", ".", "..", "x" * 250, "a b", "é", "a/b")
NO_CHECK, OF_THE_FUTURE = -1, 1000
TRANSACTION, SHARE = 1, 2


@check("M-11a", api="DeleteTopics", versions="1-6")
def a_topic_made_again_is_another(target: Target, version: int) -> None:
    """Given a topic with a record that is deleted and made again, it has another id, leader epoch 0, and offsets from 0. KIP-516."""
    old = target.new_topic()
    target.produce(old, [b"old"])
    _delete(target, old.name, version)

    again = _made_again(target, old.name)

    expect_that(again.topic_id not in (old.topic_id, NO_ID), "the new topic has an id of its own")
    partition = target.metadata(again.name).topics[0].partitions[0]
    expect(partition, leader_epoch=0)
    expect_equal("the base offset of its first record", target.produce(again, [b"new"]), 0)
    expect_equal("its values", [bytes(record.value or b"") for record in target.records(again)], [b"new"])


@check("M-11b", api=("Fetch", "DeleteTopics"), versions="13-18")
def the_old_id_is_unknown_to_fetch(target: Target, version: int) -> None:
    """Given a topic deleted and made again, Fetch v13 with the id it had is answered UNKNOWN_TOPIC_ID, with the new one NONE. KIP-516."""
    old = target.new_topic()
    _delete(target, old.name, target.newest(DeleteTopicsRequest, 5))
    again = _made_again(target, old.name)

    expect(target.fetch(old, version=version), error_code=ErrorCode.UNKNOWN_TOPIC_ID)
    expect(target.fetch(again, version=version), error_code=ErrorCode.NONE, high_watermark=0)


@check("M-11c", api=("Produce", "DeleteTopics"), versions="13-13")
def the_old_id_is_unknown_to_produce(target: Target, version: int) -> None:
    """Given a topic deleted and made again, Produce v13 with the id it had is answered UNKNOWN_TOPIC_ID, and nothing appended. KIP-516."""
    old = target.new_topic()
    _delete(target, old.name, target.newest(DeleteTopicsRequest, 5))
    again = _made_again(target, old.name)

    answer = target.ask(produce_request(old, build_batch([NewRecord(b"lost")])), version)

    expect(answer.responses[0].partition_responses[0], error_code=ErrorCode.UNKNOWN_TOPIC_ID, base_offset=-1)
    expect(target.list_offsets(again), offset=0)


@check("M-12", api="CreateTopics", versions="2-7")
def a_name_that_metrics_cannot_tell_apart_is_refused(target: Target, version: int) -> None:
    """Given a topic `a.b`, creating `a_b` is INVALID_TOPIC_EXCEPTION, and says why; with the two the other way round as well."""
    for first, second in ((".", "_"), ("_", ".")):
        name = target.new_name("a?b")
        target.forget_after(name.replace("?", first))
        expect(_create(target, name.replace("?", first), version), error_code=ErrorCode.NONE)

        refused = _create(target, name.replace("?", second), version)

        expect(refused, error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, error_message=NOT_EMPTY)


@check("M-13a", api="CreateTopics", versions="2-7")
def a_name_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given a new topic named ``, `.`, `..`, of 250 characters, or with other than ASCII letters, digits, `.`, `_` and `-`,
    INVALID_TOPIC_EXCEPTION says why.
    """
    for name in INVALID_NAMES:
        refused = _create(target, name, version)

        expect(refused, name=name, error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, error_message=NOT_EMPTY)


@check("M-13b", api="CreateTopics", versions="2-7")
def a_name_of_249_characters_is_taken(target: Target, version: int) -> None:
    """Given a new topic whose name has 249 characters, it is made."""
    name = target.new_name("topic").ljust(249, "x")
    target.forget_after(name)

    made = _create(target, name, version)

    expect(made, name=name, error_code=ErrorCode.NONE)
    eventually(lambda: target.metadata(name), _is_there, "the new topic is in the metadata")


@check("M-15a", api="Fetch", versions="9-18")
def fetch_refuses_an_epoch_of_the_future(target: Target, version: int) -> None:
    """Given a Fetch whose current_leader_epoch is larger than the leader's, UNKNOWN_LEADER_EPOCH; below 0 nothing is checked. KIP-320."""
    topic = target.new_topic()
    found = {}
    for epoch in (OF_THE_FUTURE, 0, NO_CHECK, -7):
        part = FetchRequest.FetchPartition(partition=0, partition_max_bytes=1000, current_leader_epoch=epoch)
        topics = [FetchRequest.FetchTopic(topic=topic.name, topic_id=topic.topic_id, partitions=[part])]

        answer = target.ask(FetchRequest(max_wait_ms=0, max_bytes=1000, topics=topics), version)

        found[epoch] = answer.responses[0].partitions[0].error_code
    expect_equal("the errors by epoch", found, {OF_THE_FUTURE: ErrorCode.UNKNOWN_LEADER_EPOCH, 0: 0, NO_CHECK: 0, -7: 0})


@check("M-15b", api="ListOffsets", versions="4-11")
def list_offsets_refuses_an_epoch_of_the_future(target: Target, version: int) -> None:
    """Given a ListOffsets whose current_leader_epoch is larger than the leader's, UNKNOWN_LEADER_EPOCH; -1 is not checked. KIP-320."""
    topic = target.new_topic()
    found = {}
    for epoch in (OF_THE_FUTURE, 0, NO_CHECK):
        part = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=-1, current_leader_epoch=epoch)
        topics = [ListOffsetsRequest.ListOffsetsTopic(name=topic.name, partitions=[part])]

        answer = target.ask(ListOffsetsRequest(topics=topics), version)

        partition = answer.topics[0].partitions[0]
        found[epoch] = (partition.error_code, partition.offset)
    expect_equal(
        "the errors and offsets by epoch", found, {OF_THE_FUTURE: (ErrorCode.UNKNOWN_LEADER_EPOCH, -1), 0: (0, 0), NO_CHECK: (0, 0)}
    )


@check("M-15c", api="OffsetForLeaderEpoch", versions="2-4")
def offset_for_leader_epoch_refuses_an_epoch_of_the_future(target: Target, version: int) -> None:
    """Given an OffsetForLeaderEpoch whose current_leader_epoch is larger than the leader's, UNKNOWN_LEADER_EPOCH; -1 is not checked. KIP-320."""
    topic = target.new_topic()
    target.produce(topic)
    found = {}
    for epoch in (OF_THE_FUTURE, 0, NO_CHECK):
        part = OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=0, current_leader_epoch=epoch, leader_epoch=0)
        topics = [OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=topic.name, partitions=[part])]

        answer = target.ask(OffsetForLeaderEpochRequest(replica_id=-1, topics=topics), version)

        partition = answer.topics[0].partitions[0]
        found[epoch] = (partition.error_code, partition.end_offset)
    expect_equal("the errors and ends by epoch", found, {OF_THE_FUTURE: (ErrorCode.UNKNOWN_LEADER_EPOCH, -1), 0: (0, 1), NO_CHECK: (0, 1)})


@check("M-17", api=("Metadata", "FindCoordinator"), versions="4-13")
def the_topic_of_offsets_is_internal(target: Target, version: int) -> None:
    """Given the topic of committed offsets and one of a client's whose name begins with `__`, only the first is internal."""
    target.wait_for_coordinator(target.new_group())
    own = "__" + target.new_name("topic")
    target.forget_after(own)
    expect(_create(target, own, target.newest(CreateTopicsRequest, 7)), error_code=ErrorCode.NONE)

    offsets = target.metadata("__consumer_offsets", version=version)
    mine = eventually(lambda: target.metadata(own, version=version), _is_there, "the new topic is in the metadata")

    expect(offsets.topics[0], error_code=ErrorCode.NONE, is_internal=True)
    expect(mine.topics[0], error_code=ErrorCode.NONE, is_internal=False)


@check("M-17b", api=("Metadata", "FindCoordinator", *TRANSACTIONS, "ShareGroupHeartbeat"))
def the_logs_of_coordinators_are_internal(target: Target) -> None:
    """Given that coordinators of a transaction and of a share partition were looked for, the topics where they keep their state are internal."""
    topic = target.new_topic()
    share_key = f"{target.new_name()}:{base64.urlsafe_b64encode(topic.topic_id).rstrip(b'=').decode()}:0"
    for name, key_type, key in (("__transaction_state", TRANSACTION, target.new_name()), ("__share_group_state", SHARE, share_key)):
        _find_coordinator(target, key_type, key)

        expect(target.metadata(name).topics[0], error_code=ErrorCode.NONE, is_internal=True)
    expect(target.metadata(topic.name).topics[0], error_code=ErrorCode.NONE, is_internal=False)


@check("M-18a", api="DescribeTopicPartitions")
def topics_are_described_by_name(target: Target) -> None:
    """Given two topics, one that is missing and a name that cannot be, DescribeTopicPartitions answers them sorted by name, each with its
    error, the found ones with their partitions, and all with what one may do to them. KIP-966.
    """
    first, second = target.new_topic(partitions=2), target.new_topic()
    missing = target.new_name("topic")
    names = [second.name, missing, first.name, "a b"]

    answer = _describe(target, names)

    expect_equal("the names", [one.name for one in answer.topics], sorted(names))
    errors = {one.name: one.error_code for one in answer.topics}
    expect_equal(
        "the errors",
        errors,
        {first.name: 0, second.name: 0, missing: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "a b": ErrorCode.INVALID_TOPIC_EXCEPTION},
    )
    found = next(one for one in answer.topics if one.name == first.name)
    expect(found, topic_id=first.topic_id, is_internal=False, topic_authorized_operations=TOPIC_OPERATIONS)
    expect_equal("the partitions", [one.partition_index for one in found.partitions], [0, 1])
    expect(
        found.partitions[0], error_code=ErrorCode.NONE, leader_epoch=0, replica_nodes=NOT_EMPTY, isr_nodes=NOT_EMPTY, offline_replicas=[]
    )
    expect(answer, next_cursor=None)


@check("M-18b", api="DescribeTopicPartitions")
def a_cursor_outside_of_the_request_is_refused(target: Target) -> None:
    """Given a cursor that names a topic not asked for, or a partition below 0, every topic is INVALID_REQUEST, in the order asked. KIP-966."""
    first, second = target.new_topic(), target.new_topic()
    names = [second.name, first.name]
    for cursor in (_cursor("zzz", 0), _cursor(first.name, -1)):
        answer = _describe(target, names, cursor=cursor)

        expect_equal("the names", [one.name for one in answer.topics], names)
        for one in answer.topics:
            expect(one, error_code=ErrorCode.INVALID_REQUEST, partitions=[])


@check("M-18c", api="DescribeTopicPartitions")
def a_limit_cuts_the_answer_and_a_cursor_goes_on(target: Target) -> None:
    """Given two topics of three partitions and a limit of 2, pages of two partitions come, each with the cursor to the next; where a limit is
    reached at a topic's end, the cursor is at the next topic's 0. KIP-966.
    """
    first, second = sorted((target.new_topic(partitions=3), target.new_topic(partitions=3)))
    pages = []
    cursor = None
    while True:
        answer = _describe(target, [second.name, first.name], limit=2, cursor=cursor)
        pages.append([(one.name, part.partition_index) for one in answer.topics for part in one.partitions])
        if answer.next_cursor is None or len(pages) > 6:
            break
        cursor = _cursor(answer.next_cursor.topic_name, answer.next_cursor.partition_index)

    whole = _describe(target, [first.name, second.name], limit=3)

    a, b = first.name, second.name
    expect_equal("the pages", pages, [[(a, 0), (a, 1)], [(a, 2), (b, 0)], [(b, 1), (b, 2)]])
    expect_equal("the topics of a page that ends with one", [one.name for one in whole.topics], [a])
    expect(whole.next_cursor, topic_name=second.name, partition_index=0)


@check("M-18d", api="DescribeTopicPartitions")
def a_limit_of_nothing_is_one(target: Target) -> None:
    """Given a response_partition_limit of 0 or -5, one partition is told, and the cursor points to the next. KIP-966."""
    topic = target.new_topic(partitions=2)
    for limit in (0, -5):
        answer = _describe(target, [topic.name], limit=limit)

        expect_equal("the partitions", [one.partition_index for one in answer.topics[0].partitions], [0])
        expect(answer.next_cursor, topic_name=topic.name, partition_index=1)


@check("M-18e", api="DescribeTopicPartitions")
def a_cursor_past_the_end_goes_on_with_the_next(target: Target) -> None:
    """Given a cursor at a partition that its topic does not have, that topic is told without partitions, and the next in full. KIP-966."""
    first, second = sorted((target.new_topic(), target.new_topic()))

    answer = _describe(target, [first.name, second.name], cursor=_cursor(first.name, 99))

    told = [(one.name, one.error_code, [part.partition_index for part in one.partitions]) for one in answer.topics]
    expect_equal("the topics", told, [(first.name, 0, []), (second.name, 0, [0])])


@check("M-18f", api="DescribeTopicPartitions")
def no_names_means_all_topics(target: Target) -> None:
    """Given an empty array of topics, all topics are described, sorted by name. KIP-966."""
    topics = [target.new_topic(), target.new_topic()]

    answer = _describe(target, [], cursor=_cursor(min(topics).name, 0))

    names = [one.name or "" for one in answer.topics]
    expect_that({topic.name for topic in topics} <= set(names), "both topics are described")
    expect_equal("the names", names, sorted(names))


@check("M-19a", api="DescribeCluster", versions="1-2")
def a_broker_has_no_controllers_to_tell(target: Target, version: int) -> None:
    """Given DescribeCluster with endpoint type 2, MISMATCHED_ENDPOINT_TYPE; with a type that is none, UNSUPPORTED_ENDPOINT_TYPE; each says
    why, and tells no cluster id, controller or broker. KIP-919.
    """
    errors = {
        CONTROLLERS: ErrorCode.MISMATCHED_ENDPOINT_TYPE,
        NOBODY: ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
        0: ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
    }
    for endpoint_type, error in errors.items():
        answer = target.ask(DescribeClusterRequest(endpoint_type=endpoint_type), version)

        expect(answer, error_code=error, error_message=NOT_EMPTY, cluster_id="", controller_id=-1, brokers=[])


@check("M-19b", api=("DescribeCluster", "Metadata"), versions="0-2")
def a_cluster_tells_its_brokers(target: Target, version: int) -> None:
    """Given DescribeCluster, the brokers and the cluster id are those that Metadata tells, and none of them is fenced. KIP-700, KIP-1073."""
    metadata = target.metadata()

    answer = target.ask(DescribeClusterRequest(), version)

    expect(answer, error_code=ErrorCode.NONE, error_message=None, cluster_id=metadata.cluster_id, endpoint_type=BROKERS)
    told = sorted((one.broker_id, one.host, one.port, one.is_fenced) for one in answer.brokers)
    expect_equal("the brokers", told, sorted((one.node_id, one.host, one.port, False) for one in metadata.brokers))


def _is_there(answer: MetadataResponse) -> bool:
    return answer.topics[0].error_code == ErrorCode.NONE


def _delete(target: Target, name: str, version: int) -> None:
    request = DeleteTopicsRequest(timeout_ms=10_000)
    if version >= 6:
        request.topics = [DeleteTopicsRequest.DeleteTopicState(name=name)]
    else:
        request.topic_names = [name]
    expect(target.ask(request, version).responses[0], error_code=ErrorCode.NONE)


def _made_again(target: Target, name: str) -> Topic:
    """Made as soon as the broker has forgotten the old one, and given time to let its leader take office."""
    request = CreateTopicsRequest(topics=[target.led_here(name)], timeout_ms=10_000)
    made = eventually(
        lambda: target.ask_newest(request, 7).topics[0], lambda answer: answer.error_code == ErrorCode.NONE, "the topic can be made again"
    )
    topic = Topic(name, target.topic_id_of(made), 1)
    eventually(
        lambda: target.fetch(topic, version=target.newest(FetchRequest, 13)),
        lambda answer: answer.error_code == ErrorCode.NONE,
        "the leader of the new topic is in office",
    )
    return topic


def _create(target: Target, name: str, version: int) -> CreateTopicsResponse.CreatableTopicResult:
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    return target.ask(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), version).topics[0]


def _describe(
    target: Target, names: list[str], *, limit: int = 2000, cursor: DescribeTopicPartitionsRequest.Cursor | None = None
) -> DescribeTopicPartitionsResponse:
    topics = [DescribeTopicPartitionsRequest.TopicRequest(name=name) for name in names]
    return target.ask(DescribeTopicPartitionsRequest(topics=topics, response_partition_limit=limit, cursor=cursor), 0)


def _cursor(topic_name: str, partition_index: int) -> DescribeTopicPartitionsRequest.Cursor:
    return DescribeTopicPartitionsRequest.Cursor(topic_name=topic_name, partition_index=partition_index)


def _find_coordinator(target: Target, key_type: int, key: str) -> None:
    request = FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key])
    eventually(lambda: target.ask_newest(request, 6).coordinators[0].error_code, lambda error: error == 0, "there is a coordinator")
