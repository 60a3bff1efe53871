"""L: OffsetForLeaderEpoch, and DeleteRecords: where an epoch ends, and where a log starts."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal
from pykbroker.compat.steps.log_requests import delete_records_request
from pykbroker.compat.steps.topics import offsets_topic
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction, last_stable_offset
from pykbroker.compat.target import EARLIEST, LATEST, Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
)
from pykbroker.protocol.records import batches

NOBODYS_NAME = "nobody-made-this-topic"
TO_THE_END = -1


def epochs_ended(
    target: Target, name: str, asked: list[tuple[int, int]], version: int, *, current: int = -1, replica_id: int = -2
) -> list[OffsetForLeaderEpochResponse.EpochEndOffset]:
    """OffsetForLeaderEpoch of (partition, epoch) of a topic."""
    parts = [
        OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=partition, current_leader_epoch=current, leader_epoch=epoch)
        for partition, epoch in asked
    ]
    topics = [OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=name, partitions=parts)]
    answer = target.ask(OffsetForLeaderEpochRequest(replica_id=replica_id, topics=topics), version)
    return [one for topic in answer.topics for one in topic.partitions]


def deleted(target: Target, topic: Topic, offset: int, version: int) -> DeleteRecordsResponse.DeleteRecordsPartitionResult:
    """DeleteRecords of partition 0; what is answered for it."""
    return target.ask(delete_records_request(topic, offset), version).topics[0].partitions[0]


@check("L-11a", api="OffsetForLeaderEpoch", versions="2-4")
def the_current_epoch_ends_with_the_log(target: Target, version: int) -> None:
    """Given two records of epoch 0, epoch 0 ends at 2, and in an empty log at 0; epochs that the log does not have end
    at -1. KIP-101, KIP-279.
    """
    topic = target.new_topic(partitions=2)
    target.produce(topic, [b"a", b"b"])

    full, empty = epochs_ended(target, topic.name, [(0, 0), (1, 0)], version)
    unknown = epochs_ended(target, topic.name, [(0, -1), (0, 7)], version)

    expect(full, error_code=ErrorCode.NONE, partition=0, leader_epoch=0, end_offset=2)
    expect(empty, error_code=ErrorCode.NONE, partition=1, leader_epoch=0, end_offset=0)
    expect_equal("the number of answers, a partition twice", len(unknown), 2)
    for answer in unknown:
        expect(answer, error_code=ErrorCode.NONE, leader_epoch=-1, end_offset=-1)


@check("L-11b", api="OffsetForLeaderEpoch", versions="2-4")
def epochs_of_what_is_not_there(target: Target, version: int) -> None:
    """Given an unknown topic or partition, UNKNOWN_TOPIC_OR_PARTITION; given a current epoch of the future,
    UNKNOWN_LEADER_EPOCH. KIP-320.
    """
    topic = target.new_topic()
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    expect(epochs_ended(target, NOBODYS_NAME, [(0, 0)], version)[0], error_code=unknown, leader_epoch=-1, end_offset=-1)
    expect(epochs_ended(target, topic.name, [(9, 0)], version)[0], error_code=unknown, leader_epoch=-1, end_offset=-1)
    future = epochs_ended(target, topic.name, [(0, 0)], version, current=5)[0]
    expect(future, error_code=ErrorCode.UNKNOWN_LEADER_EPOCH, leader_epoch=-1, end_offset=-1)
    expect(epochs_ended(target, topic.name, [(0, 0)], version, current=0)[0], error_code=ErrorCode.NONE, leader_epoch=0, end_offset=0)


@check("L-11c", api="OffsetForLeaderEpoch", versions="2-4")
def epochs_are_told_topic_by_topic(target: Target, version: int) -> None:
    """Given two topics with one record and with two, each end stands under its topic's name, in the order in which they were asked for."""
    topics = [target.new_topic(), target.new_topic()]
    for count, topic in enumerate(topics, 1):
        target.produce(topic, [b"v"] * count)
    wanted = OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=0, current_leader_epoch=-1, leader_epoch=0)
    asked = [OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=topic.name, partitions=[wanted]) for topic in topics]

    answer = target.ask(OffsetForLeaderEpochRequest(replica_id=-1, topics=asked), version)

    found = [(one.topic, [part.end_offset for part in one.partitions]) for one in answer.topics]
    expect_equal("the ends", found, [(topics[0].name, [1]), (topics[1].name, [2])])


@check("F-29d", api="OffsetForLeaderEpoch", versions="3-4")
def epochs_are_told_to_any_replica(target: Target, version: int) -> None:
    """Given replica ids -2, -1, 5 and 99, OffsetForLeaderEpoch is served."""
    topic = target.new_topic()
    target.produce(topic)

    for replica_id in (-2, -1, 5, 99):
        answer = epochs_ended(target, topic.name, [(0, 0)], version, replica_id=replica_id)[0]
        expect(answer, error_code=ErrorCode.NONE, leader_epoch=0, end_offset=1)


@check("L-12a", api="DeleteRecords", versions="0-2")
def deleting_in_the_middle_of_a_batch(target: Target, version: int) -> None:
    """Given a batch of 0-9, deletion before 4 answers low watermark 4; a fetch at 3 is out of range, one at 4 has the
    whole batch. KIP-107.
    """
    topic = target.new_topic()
    target.produce(topic, [b"v"] * 10)

    answer = deleted(target, topic, 4, version)

    expect(answer, error_code=ErrorCode.NONE, partition_index=0, low_watermark=4)
    expect(target.list_offsets(topic, timestamp=EARLIEST), offset=4)
    expect(target.fetch(topic, 3), error_code=ErrorCode.OFFSET_OUT_OF_RANGE)
    fetched = target.fetch(topic, 4)
    expect(fetched, error_code=ErrorCode.NONE, log_start_offset=4, records=NOT_EMPTY)
    expect_equal("the batches", [one.base_offset for one in batches(fetched.records or b"")], [0])


@check("L-12b", api="DeleteRecords", versions="0-2")
def deleting_from_a_partition_twice(target: Target, version: int) -> None:
    """Given a partition twice with offsets 5 and 3, there is one answer, and the last offset is what counts."""
    topic = target.new_topic()
    target.produce(topic, [b"v"] * 10)
    parts = [DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=offset) for offset in (5, 3)]
    request = DeleteRecordsRequest(topics=[DeleteRecordsRequest.DeleteRecordsTopic(name=topic.name, partitions=parts)], timeout_ms=10_000)

    answers = target.ask(request, version).topics[0].partitions

    expect_equal("the number of answers", len(answers), 1)
    expect(answers[0], error_code=ErrorCode.NONE, low_watermark=3)


@check("L-12c", api="DeleteRecords", versions="0-2")
def deletions_are_told_topic_by_topic(target: Target, version: int) -> None:
    """Given two topics of two partitions, each low watermark stands under its topic's name and its partition's number."""
    topics = [target.new_topic(partitions=2), target.new_topic(partitions=2)]
    for topic in topics:
        for partition in (0, 1):
            target.produce(topic, [b"v"] * 5, partition=partition)
    wanted = {topics[0].name: {0: 1, 1: 2}, topics[1].name: {0: 3, 1: 4}}
    asked = [
        DeleteRecordsRequest.DeleteRecordsTopic(
            name=name,
            partitions=[DeleteRecordsRequest.DeleteRecordsPartition(partition_index=index, offset=at) for index, at in offsets.items()],
        )
        for name, offsets in wanted.items()
    ]

    answer = target.ask(DeleteRecordsRequest(topics=asked, timeout_ms=10_000), version)

    found = {one.name: {part.partition_index: part.low_watermark for part in one.partitions} for one in answer.topics}
    expect_equal("the low watermarks", found, wanted)


@check("L-13", api="DeleteRecords", versions="0-2")
def deleting_everything(target: Target, version: int) -> None:
    """Given offset -1, the log starts at its high watermark; an empty one at 0."""
    topic, empty = target.new_topic(), target.new_topic()
    target.produce(topic, [b"a", b"b"])

    expect(deleted(target, topic, TO_THE_END, version), error_code=ErrorCode.NONE, low_watermark=2)
    expect(deleted(target, empty, TO_THE_END, version), error_code=ErrorCode.NONE, low_watermark=0)
    expect(target.list_offsets(topic, timestamp=EARLIEST), offset=2)


@check("L-14", api="DeleteRecords", versions="0-2")
def deleting_what_is_not_there(target: Target, version: int) -> None:
    """Given an offset above the high watermark or below -1, OFFSET_OUT_OF_RANGE; an unknown topic or partition is
    unknown; nothing is deleted.
    """
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b"])
    nobody = Topic(NOBODYS_NAME, bytes(16), 1)

    for offset in (3, -2, -(2**63)):
        expect(deleted(target, topic, offset, version), error_code=ErrorCode.OFFSET_OUT_OF_RANGE, low_watermark=-1)
    for request in (delete_records_request(nobody, 1), delete_records_request(topic, 1, partition=9)):
        answer = target.ask(request, version).topics[0].partitions[0]
        expect(answer, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, low_watermark=-1)
    expect(target.list_offsets(topic, timestamp=EARLIEST), error_code=ErrorCode.NONE, offset=0)


@check("L-15", api="DeleteRecords", versions="0-2")
def a_compacted_topic_keeps_its_records(target: Target, version: int) -> None:
    """Given cleanup.policy=compact, POLICY_VIOLATION; given compact,delete or none at all, the records are deleted."""
    compacted = target.new_topic(cleanup_policy="compact")
    target.produce(compacted)

    expect(deleted(target, compacted, 1, version), error_code=ErrorCode.POLICY_VIOLATION, low_watermark=-1)
    expect(target.list_offsets(compacted, timestamp=EARLIEST), offset=0)
    for policy in ("compact,delete", ""):
        other = target.new_topic(cleanup_policy=policy)
        target.produce(other)
        expect(deleted(target, other, 1, version), error_code=ErrorCode.NONE, low_watermark=1)


@check("L-16", api=("DeleteRecords", "FindCoordinator"), versions="0-2")
def internal_topics_keep_their_records(target: Target, version: int) -> None:
    """Given __consumer_offsets, INVALID_TOPIC_EXCEPTION."""
    expect(deleted(target, offsets_topic(target), 0, version), error_code=ErrorCode.INVALID_TOPIC_EXCEPTION, low_watermark=-1)


@check("L-17", api="DeleteRecords", versions="0-2")
def what_is_deleted_stays_deleted(target: Target, version: int) -> None:
    """Given a log that starts at 4, deletion before 2 succeeds, changes nothing, and answers low watermark 4."""
    topic = target.new_topic()
    target.produce(topic, [b"v"] * 6)

    first, second = deleted(target, topic, 4, version), deleted(target, topic, 2, version)

    for answer in (first, second):
        expect(answer, error_code=ErrorCode.NONE, low_watermark=4)
    expect(target.list_offsets(topic, timestamp=EARLIEST), offset=4)
    expect(target.list_offsets(topic, timestamp=LATEST), offset=6)


@check("L-19", api=("DeleteRecords", "Produce", *TRANSACTIONS), versions="0-2")
def deleting_past_an_open_transaction(target: Target, version: int) -> None:
    """Given a transaction of three batches, open since 0, deletion before 2 succeeds, and the last stable offset is 2 then; its marker follows."""
    topic = target.new_topic()
    transaction = Transaction(target)
    for _ in range(3):
        transaction.produce(topic)

    expect(deleted(target, topic, 2, version), error_code=ErrorCode.NONE, low_watermark=2)
    expect_equal("the last stable offset", last_stable_offset(target, topic), 2)

    transaction.end(topic, committed=True)
    expect_equal("the last stable offset after the marker", last_stable_offset(target, topic), 4)
