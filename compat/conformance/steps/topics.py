"""Topics that a target does not make for a check: one of a name that was there before, and that of the groups' offsets."""

from pykbroker.compat.expectations import expect
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateTopicsRequest


def created_again(target: Target, topic: Topic) -> Topic:
    """A topic of that name, with an id of its own."""
    made = CreateTopicsRequest.CreatableTopic(name=topic.name, num_partitions=topic.partitions, replication_factor=1)
    answer = target.ask_newest(CreateTopicsRequest(topics=[made], timeout_ms=10_000), 7)
    expect(answer.topics[0], error_code=ErrorCode.NONE)
    again = Topic(topic.name, target.topic_id_of(answer.topics[0]), topic.partitions)
    target.wait_for_leaders(topic.name, topic.partitions)
    return again


def offsets_topic(target: Target) -> Topic:
    """The topic of the groups' offsets, which is there once somebody asked for a coordinator."""
    target.wait_for_coordinator(target.new_name("group"))
    found = target.metadata("__consumer_offsets").topics[0]
    return Topic("__consumer_offsets", found.topic_id, len(found.partitions))
