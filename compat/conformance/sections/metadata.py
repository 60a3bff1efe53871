"""M: Metadata: which topics it tells of, which it makes, and how it names them."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that, one_of
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateTopicsRequest, DescribeClusterRequest, MetadataRequest, MetadataResponse

NO_ID = bytes(16)
UNKNOWN_ID = bytes(range(16))
NOT_ASKED = -(2**31)
CLUSTER_OPERATIONS, TOPIC_OPERATIONS = 8096, 3576
INVALID_NAMES = ("", ".", "..", "x" * 250, "a b", "é")


@check("M-01a", api="Metadata", versions="1-13")
def null_means_all_topics(target: Target, version: int) -> None:
    """Given two topics and Metadata v1 with null for topics, both are told, with all their partitions and leaders."""
    topics = [target.new_topic(partitions=1), target.new_topic(partitions=3)]

    answer = target.ask(MetadataRequest(topics=None), version)

    brokers = {broker.node_id for broker in answer.brokers}
    told = {topic.name: topic for topic in answer.topics}
    for topic in topics:
        expect_that(topic.name in told, f"{topic.name} is among all topics")
        expect_equal("its partitions", sorted(one.partition_index for one in told[topic.name].partitions), list(range(topic.partitions)))
        for partition in told[topic.name].partitions:
            expect(partition, error_code=ErrorCode.NONE, leader_id=one_of(*brokers), replica_nodes=NOT_EMPTY, isr_nodes=NOT_EMPTY)


@check("M-01b", api="Metadata", versions="1-13")
def an_empty_array_means_no_topics(target: Target, version: int) -> None:
    """Given a topic and Metadata v1 with an empty array for topics, the brokers are told and no topic."""
    target.new_topic()

    answer = target.ask(MetadataRequest(topics=[]), version)

    expect(answer, topics=[], brokers=NOT_EMPTY)
    expect_that(all(broker.host and broker.port > 0 for broker in answer.brokers), "each broker has an address")


@check("M-02", api="Metadata", versions="0-0")
def in_version_0_an_empty_array_means_all_topics(target: Target, version: int) -> None:
    """Given a topic and Metadata v0 with an empty array for topics, all topics are told, that one among them."""
    topic = target.new_topic()

    answer = target.ask(MetadataRequest(topics=[]), version)

    expect_that(topic.name in {one.name for one in answer.topics}, "the topic is among all topics")
    expect(answer, brokers=NOT_EMPTY)


@check("M-03a", api="Metadata", versions="10-11")
def a_topic_id_is_refused_where_only_the_schema_has_it(target: Target, version: int) -> None:
    """Given Metadata v10 or v11 with a topic id or a null name, every topic of the request is INVALID_REQUEST, with its id, and no broker,
    controller or cluster id is told. KIP-516.
    """
    topic = target.new_topic()
    for by_id in (_wanted(None, topic.topic_id), _wanted(None)):
        answer = target.ask(MetadataRequest(topics=[by_id, _wanted(topic.name)], allow_auto_topic_creation=False), version)

        expect_equal("the topics", sorted(one.name or "" for one in answer.topics), ["", topic.name])
        for one in answer.topics:
            expect(one, error_code=ErrorCode.INVALID_REQUEST, topic_id=NO_ID if one.name else by_id.topic_id, partitions=[])
        expect(answer, brokers=[], controller_id=-1, cluster_id=None)


@check("M-03b", api="Metadata", versions="12-13")
def neither_name_nor_id_is_an_error_of_the_server(target: Target, version: int) -> None:
    """Given Metadata v12 with a null name and no id, every topic is UNKNOWN_SERVER_ERROR, from v13 on also the answer, and no broker,
    controller or cluster id is told. KIP-516, KIP-1102.
    """
    answer = target.ask(MetadataRequest(topics=[_wanted(None)], allow_auto_topic_creation=False), version)

    expect_equal("the number of topics", len(answer.topics), 1)
    expect(answer.topics[0], error_code=ErrorCode.UNKNOWN_SERVER_ERROR, topic_id=NO_ID, partitions=[])
    expect(answer, error_code=ErrorCode.UNKNOWN_SERVER_ERROR if version >= 13 else 0, brokers=[], controller_id=-1, cluster_id=None)


@check("M-04a", api="Metadata", versions="12-13")
def an_unknown_id_is_answered_by_itself(target: Target, version: int) -> None:
    """Given Metadata v12 with a known and an unknown topic id, the unknown one comes first: UNKNOWN_TOPIC_ID, null name, the same id;
    then the known one with its name. KIP-516.
    """
    topic = target.new_topic()

    answer = target.ask(MetadataRequest(topics=[_wanted(None, topic.topic_id), _wanted(None, UNKNOWN_ID)]), version)

    expect_equal("the number of topics", len(answer.topics), 2)
    expect(answer.topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=UNKNOWN_ID, partitions=[])
    expect(answer.topics[1], error_code=ErrorCode.NONE, name=topic.name, topic_id=topic.topic_id)


@check("M-04b", api="Metadata", versions="12-13")
def one_id_makes_names_count_for_nothing(target: Target, version: int) -> None:
    """Given Metadata v12 with an entry by id, an entry by name is not answered, and a name beside the id is ignored. KIP-516."""
    first, second = target.new_topic(), target.new_topic()

    answer = target.ask(MetadataRequest(topics=[_wanted(second.name, first.topic_id), _wanted(second.name)]), version)

    expect_equal("the topics", [(one.error_code, one.name) for one in answer.topics], [(ErrorCode.NONE, first.name)])


@check("M-05a", api="Metadata", versions="4-13")
def a_missing_topic_is_unknown(target: Target, version: int) -> None:
    """Given names that no topic has, one of them of 249 characters, and no leave to make topics, UNKNOWN_TOPIC_OR_PARTITION comes with a
    zero id and no partitions; a name asked twice is answered once.
    """
    names = {target.new_name("topic"), target.new_name("topic").ljust(249, "x")}

    answer = target.ask(_metadata_of(*names, *names), version)

    expect_equal("the topics", sorted(one.name or "" for one in answer.topics), sorted(names))
    for one in answer.topics:
        expect(one, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, topic_id=NO_ID, partitions=[], is_internal=False)
    expect(answer, brokers=NOT_EMPTY)


@check("M-05b", api="Metadata", versions="0-13")
def a_name_that_cannot_be_is_invalid(target: Target, version: int) -> None:
    """Given names that no topic can have, INVALID_TOPIC_EXCEPTION comes for each, whether topics may be made or not."""
    answer = target.ask(MetadataRequest(topics=[_wanted(name) for name in INVALID_NAMES]), version)

    expect_equal("the names", sorted(one.name or "" for one in answer.topics), sorted(INVALID_NAMES))
    for one in answer.topics:
        expect(one, error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, partitions=[])


@check("M-06a", api="Metadata", versions="0-13")
def a_missing_topic_is_made_on_the_side(target: Target, version: int) -> None:
    """Given auto.create.topics.enable and a name that no topic has, UNKNOWN_TOPIC_OR_PARTITION comes first, and soon after the topic is
    there, with num.partitions partitions. KIP-204.
    """
    name = target.new_name("topic")
    target.forget_after(name)

    first = target.ask(MetadataRequest(topics=[_wanted(name)]), version)

    expect(first.topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name=name, partitions=[])
    made = eventually(lambda: target.metadata(name), _is_there, "the topic is made")
    expect_equal("its partitions", [one.partition_index for one in made.topics[0].partitions], [0])


@check("M-06b", api="Metadata", versions="4-13")
def a_name_like_another_is_not_made(target: Target, version: int) -> None:
    """Given a topic `a.b`, asking for `a_b` never makes that: metrics could not tell them apart; a topic asked for after it is made."""
    dotted, later = target.new_name("dotted.topic"), target.new_name("topic")
    for name in (dotted, later):
        target.forget_after(name)
    expect(target.ask_newest(_creation(dotted), 7).topics[0], error_code=ErrorCode.NONE)
    alike = dotted.replace("dotted.topic", "dotted_topic")

    first = target.ask(MetadataRequest(topics=[_wanted(alike)]), version)
    target.ask(MetadataRequest(topics=[_wanted(later)]), version)

    expect(first.topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    eventually(lambda: target.metadata(later), _is_there, "the topic is made")
    expect(target.metadata(alike).topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


@check("M-07", api=("Metadata", "DeleteTopics"), versions="1-13")
def all_topics_are_those_that_exist(target: Target, version: int) -> None:
    """Given a topic that is there and one that was deleted, asking for all topics tells of the first only, and makes nothing."""
    kept, gone = target.new_topic(), target.new_topic()
    target.delete_topic(gone.name)

    def names() -> set[str | None]:
        return {one.name for one in target.ask(MetadataRequest(topics=None), version).topics}

    eventually(names, lambda found: gone.name not in found, "the deleted topic is not told")
    expect_that(kept.name in names(), "the topic that is there is told")


@check("M-08", api="Metadata", versions="4-13")
def no_topic_is_made_without_leave(target: Target, version: int) -> None:
    """Given allow_auto_topic_creation=false for one name, and true for another asked for later, only the second comes to be. KIP-204."""
    unwanted, wanted = target.new_name("topic"), target.new_name("topic")
    target.forget_after(wanted)

    refused = target.ask(_metadata_of(unwanted), version)
    target.ask(MetadataRequest(topics=[_wanted(wanted)]), version)

    expect(refused.topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name=unwanted)
    eventually(lambda: target.metadata(wanted), _is_there, "the topic is made")
    expect(target.metadata(unwanted).topics[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


@check("M-09", api=("Metadata", "DescribeCluster"), versions="1-13")
def the_controller_is_some_broker(target: Target, version: int) -> None:
    """Given Metadata or DescribeCluster, controller_id is one of the brokers told; with KRaft any of them will do. KIP-590, KIP-700."""
    metadata = target.ask(MetadataRequest(topics=[]), version)
    cluster = target.ask(DescribeClusterRequest(), 0)

    expect(metadata, controller_id=one_of(*(broker.node_id for broker in metadata.brokers)))
    expect(
        cluster, error_code=ErrorCode.NONE, controller_id=one_of(*(broker.broker_id for broker in cluster.brokers)), cluster_id=NOT_EMPTY
    )
    if version >= 2:
        expect(metadata, cluster_id=cluster.cluster_id)


@check("M-10a", api="Metadata", versions="8-10")
def what_one_may_do_to_the_cluster_is_told_when_asked(target: Target, version: int) -> None:
    """Given Metadata v8-v10 from somebody who may do everything, cluster_authorized_operations has the bits of all of them when asked for,
    else -2^31. KIP-430.
    """
    asked = target.ask(MetadataRequest(topics=[], include_cluster_authorized_operations=True), version)
    not_asked = target.ask(MetadataRequest(topics=[]), version)

    expect(asked, cluster_authorized_operations=CLUSTER_OPERATIONS)
    expect(not_asked, cluster_authorized_operations=NOT_ASKED)


@check("M-10b", api="Metadata", versions="8-13")
def what_one_may_do_to_a_topic_is_told_when_asked(target: Target, version: int) -> None:
    """Given Metadata v8 from somebody who may do everything, topic_authorized_operations has the bits of all of them when asked for, also
    for a topic that is not there, else -2^31. KIP-430.
    """
    topic = target.new_topic()
    request = _metadata_of(topic.name, target.new_name("topic"))
    not_asked = target.ask(request, version)
    request.include_topic_authorized_operations = True

    asked = target.ask(request, version)

    expect_equal("the topics' bits", [one.topic_authorized_operations for one in asked.topics], [TOPIC_OPERATIONS] * 2)
    expect_equal("the bits not asked for", [one.topic_authorized_operations for one in not_asked.topics], [NOT_ASKED] * 2)


@check("M-10c", api="DescribeCluster", versions="0-2")
def what_one_may_do_to_a_cluster_is_told_when_asked(target: Target, version: int) -> None:
    """Given DescribeCluster from somebody who may do everything, cluster_authorized_operations has the bits of all of them when asked for,
    else -2^31. KIP-700.
    """
    asked = target.ask(DescribeClusterRequest(include_cluster_authorized_operations=True), version)
    not_asked = target.ask(DescribeClusterRequest(), version)

    expect(asked, cluster_authorized_operations=CLUSTER_OPERATIONS)
    expect(not_asked, cluster_authorized_operations=NOT_ASKED)


def _is_there(answer: MetadataResponse) -> bool:
    return answer.topics[0].error_code == ErrorCode.NONE


def _wanted(name: str | None, topic_id: bytes = NO_ID) -> MetadataRequest.MetadataRequestTopic:
    return MetadataRequest.MetadataRequestTopic(name=name, topic_id=topic_id)


def _metadata_of(*names: str) -> MetadataRequest:
    return MetadataRequest(topics=[_wanted(name) for name in names], allow_auto_topic_creation=False)


def _creation(name: str) -> CreateTopicsRequest:
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    return CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
