"""A: DeleteTopics and CreatePartitions."""

from collections.abc import Sequence

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, one_of
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreatePartitionsRequest, CreatePartitionsResponse, DeleteTopicsRequest, DeleteTopicsResponse

NO_ID = bytes(16)
UNKNOWN_ID = bytes(range(16))
LARGEST_GROWTH = 10_000

State = DeleteTopicsRequest.DeleteTopicState
Growth = CreatePartitionsRequest.CreatePartitionsTopic
Assignment = CreatePartitionsRequest.CreatePartitionsAssignment


@check("A-09a", api="DeleteTopics", versions="1-6")
def an_unknown_name_is_no_topic_to_delete(target: Target, version: int) -> None:
    """Given a topic and names of none, one that cannot be among them, the topic is deleted, and the names are UNKNOWN_TOPIC_OR_PARTITION. KIP-4."""
    topic = target.new_topic()
    names = [topic.name, target.new_name("topic"), "a b", "__cluster_metadata"]

    answers = _delete(target, names, version)

    errors = {one.name: one.error_code for one in answers}
    expect_equal("the errors", errors, {topic.name: 0} | dict.fromkeys(names[1:], ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
    eventually(
        lambda: target.metadata(topic.name).topics[0].error_code, lambda error: error == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "it is gone"
    )


@check("A-09b", api="DeleteTopics", versions="1-6")
def a_name_twice_is_refused_once_when_deleting(target: Target, version: int) -> None:
    """Given a name twice, it is INVALID_REQUEST in one entry, and its topic stays; another topic beside it is deleted."""
    twice, once = target.new_topic(), target.new_topic()

    answers = _delete(target, [twice.name, once.name, twice.name], version)

    expect_equal("the number of answers", len(answers), 2)
    expect_equal("the errors", {one.name: one.error_code for one in answers}, {twice.name: ErrorCode.INVALID_REQUEST, once.name: 0})
    expect(target.list_offsets(twice), error_code=ErrorCode.NONE, offset=0)


@check("A-09c", api="DeleteTopics", versions="6-6")
def a_topic_is_deleted_by_its_id(target: Target, version: int) -> None:
    """Given a topic's id and an id of none, the topic is deleted and its name told; the other is UNKNOWN_TOPIC_ID without a name. KIP-516."""
    topic = target.new_topic()

    answers = _delete_states(target, [State(name=None, topic_id=topic.topic_id), State(name=None, topic_id=UNKNOWN_ID)], version)

    by_id = {one.topic_id: one for one in answers}
    expect_equal("the ids", set(by_id), {topic.topic_id, UNKNOWN_ID})
    expect(by_id[topic.topic_id], error_code=ErrorCode.NONE, name=topic.name)
    expect(by_id[UNKNOWN_ID], error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, error_message=NOT_EMPTY)


@check("A-09d", api="DeleteTopics", versions="6-6")
def a_topic_is_named_in_one_way(target: Target, version: int) -> None:
    """Given a name and an id in one entry, or neither, an id twice, or a topic's name and id in two entries, INVALID_REQUEST says why, once,
    and the topic stays. KIP-516.
    """
    topic = target.new_topic()
    wrong = {
        "both": [State(name=topic.name, topic_id=topic.topic_id)],
        "neither": [State(name=None, topic_id=NO_ID)],
        "an id twice": [State(name=None, topic_id=topic.topic_id)] * 2,
        "one topic twice": [State(name=topic.name, topic_id=NO_ID), State(name=None, topic_id=topic.topic_id)],
    }
    for what, states in wrong.items():
        answers = _delete_states(target, states, version)

        expect_equal(f"the errors of {what}", [one.error_code for one in answers], [ErrorCode.INVALID_REQUEST])
        expect(answers[0], error_message=NOT_EMPTY)
    expect(target.list_offsets(topic), error_code=ErrorCode.NONE, offset=0)


@check("A-09e", api="DeleteTopics", versions="1-6", needs=Settings((("delete.topic.enable", "false"),)))
def nothing_is_deleted_where_that_is_off(target: Target, version: int) -> None:
    """Given delete.topic.enable=false, every name is TOPIC_DELETION_DISABLED, INVALID_REQUEST before v3, without a message, also one that no
    topic has; the topic stays. KIP-322.
    """
    topic = target.new_topic()
    error = ErrorCode.TOPIC_DELETION_DISABLED if version >= 3 else ErrorCode.INVALID_REQUEST

    answers = _delete(target, [topic.name, "nobody-has-this-name"], version)

    expect_equal("the errors", [one.error_code for one in answers], [error, error])
    expect_equal("the messages", [one.error_message for one in answers], [None, None])
    expect(target.list_offsets(topic), error_code=ErrorCode.NONE, offset=0)


@check("A-10a", api="CreatePartitions", versions="0-3")
def a_topic_grows(target: Target, version: int) -> None:
    """Given a topic of one partition with a record, it grows to three; the record stays and the new partitions can be used. KIP-195."""
    topic = target.new_topic()
    target.produce(topic, [b"first"])

    here = [Assignment(broker_ids=[target.node_id]) for _ in range(2)] if target.has_neighbours else None
    answer = _grow(target, [Growth(name=topic.name, count=3, assignments=here)], version)[0]

    expect(answer, name=topic.name, error_code=ErrorCode.NONE, error_message=None)
    _wait_for_partitions(target, topic.name, 3)
    eventually(lambda: target.list_offsets(topic, partition=2).error_code, lambda error: error == 0, "its leader is in office")
    expect_equal("the offset in a new partition", target.produce(topic, [b"second"], partition=2), 0)
    expect_equal("the values of the old one", [bytes(record.value or b"") for record in target.records(topic)], [b"first"])


@check("A-10b", api="CreatePartitions", versions="0-3")
def a_topic_only_grows(target: Target, version: int) -> None:
    """Given a topic of two partitions, a count of 2, 1, 0 or -1 is INVALID_PARTITIONS, and says why."""
    topic = target.new_topic(partitions=2)
    for count in (2, 1, 0, -1):
        refused = _grow(target, [Growth(name=topic.name, count=count, assignments=None)], version)[0]

        expect_equal(f"the error of {count}", refused.error_code, ErrorCode.INVALID_PARTITIONS)
        expect(refused, name=topic.name, error_message=NOT_EMPTY)
    expect_equal("the partitions", len(target.metadata(topic.name).topics[0].partitions), 2)


@check("A-10c", api="CreatePartitions", versions="0-3")
def assignments_are_as_many_as_partitions_are_new(target: Target, version: int) -> None:
    """Given one partition more and an assignment for it, it is made so; with two, or none in the array, or to a broker that is not there,
    INVALID_REPLICA_ASSIGNMENT says why.
    """
    topic = target.new_topic()
    broker = target.node_id
    mine, foreign = Assignment(broker_ids=[broker]), Assignment(broker_ids=[9999])
    for assignments in ([mine, mine], [], [foreign], [Assignment(broker_ids=[])]):
        refused = _grow(target, [Growth(name=topic.name, count=2, assignments=assignments)], version)[0]

        expect(refused, error_code=ErrorCode.INVALID_REPLICA_ASSIGNMENT, error_message=NOT_EMPTY)
    made = _grow(target, [Growth(name=topic.name, count=2, assignments=[mine])], version)[0]
    expect(made, error_code=ErrorCode.NONE)
    _wait_for_partitions(target, topic.name, 2)


@check("A-10d", api="CreatePartitions", versions="0-3")
def an_unknown_topic_does_not_grow(target: Target, version: int) -> None:
    """Given a name that no topic has, UNKNOWN_TOPIC_OR_PARTITION without a message; given one twice, INVALID_REQUEST in one entry, and the
    topic stays as it is.
    """
    topic = target.new_topic()
    nobody = Growth(name=target.new_name("topic"), count=2, assignments=None)
    growth = Growth(name=topic.name, count=2, assignments=None)

    answers = {one.name: one for one in _grow(target, [growth, nobody, growth], version)}

    expect_equal("the names", set(answers), {topic.name, nobody.name})
    expect(answers[nobody.name], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=None)
    expect(answers[topic.name], error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)
    expect_equal("the partitions", len(target.metadata(topic.name).topics[0].partitions), 1)


@check("A-10e", api="CreatePartitions", versions="0-3")
def growth_that_is_only_validated_does_not_happen(target: Target, version: int) -> None:
    """Given validate_only, a count that is right is NONE, one that is wrong INVALID_PARTITIONS, and the topic stays as it is."""
    topic, other = target.new_topic(), target.new_topic()

    right = _grow(target, [Growth(name=topic.name, count=3, assignments=None)], version, validate_only=True)[0]
    wrong = _grow(target, [Growth(name=topic.name, count=1, assignments=None)], version, validate_only=True)[0]

    expect(right, error_code=ErrorCode.NONE)
    expect(wrong, error_code=ErrorCode.INVALID_PARTITIONS)
    expect(_grow(target, [Growth(name=other.name, count=2, assignments=None)], version)[0], error_code=ErrorCode.NONE)
    _wait_for_partitions(target, other.name, 2)
    expect_equal("the partitions", len(target.metadata(topic.name).topics[0].partitions), 1)


@check("A-16", api="CreatePartitions", versions="0-3")
def growth_has_its_bounds(target: Target, version: int) -> None:
    """Given validate_only, 10,000 partitions more are NONE; one more is POLICY_VIOLATION, or UNKNOWN_SERVER_ERROR, which is what Kafka 4.3
    falls into.
    """
    topic = target.new_topic()

    most = _grow(target, [Growth(name=topic.name, count=1 + LARGEST_GROWTH, assignments=None)], version, validate_only=True)[0]
    more = _grow(target, [Growth(name=topic.name, count=2 + LARGEST_GROWTH, assignments=None)], version, validate_only=True)[0]

    expect(most, error_code=ErrorCode.NONE)
    expect(more, error_code=one_of(ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.POLICY_VIOLATION))


def _delete(target: Target, names: Sequence[str], version: int) -> list[DeleteTopicsResponse.DeletableTopicResult]:
    if version >= 6:
        return _delete_states(target, [State(name=name, topic_id=NO_ID) for name in names], version)
    return target.ask(DeleteTopicsRequest(topic_names=list(names), timeout_ms=10_000), version).responses


def _delete_states(target: Target, states: Sequence[State], version: int) -> list[DeleteTopicsResponse.DeletableTopicResult]:
    return target.ask(DeleteTopicsRequest(topics=list(states), timeout_ms=10_000), version).responses


def _grow(
    target: Target, topics: Sequence[Growth], version: int, *, validate_only: bool = False
) -> list[CreatePartitionsResponse.CreatePartitionsTopicResult]:
    return target.ask(CreatePartitionsRequest(topics=list(topics), timeout_ms=10_000, validate_only=validate_only), version).results


def _wait_for_partitions(target: Target, name: str, count: int) -> None:
    eventually(lambda: len(target.metadata(name).topics[0].partitions), lambda found: found == count, f"there are {count} partitions")
