"""A: leaders, replicas and their directories, and the levels of features: what an operator moves around."""

from collections.abc import Sequence

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, at_least, expect, expect_equal, expect_that
from pykbroker.compat.steps.clusters import PREFERRED, UNCLEAN
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    AlterReplicaLogDirsRequest,
    ApiVersionsRequest,
    ConsumerGroupHeartbeatRequest,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    ElectLeadersRequest,
    ElectLeadersResponse,
    ListPartitionReassignmentsRequest,
    UpdateFeaturesRequest,
)
from pykbroker.protocol.records import NewRecord, build_batch

NO_PARTITION = 9
NO_BROKER = 9999

Reassigned = AlterPartitionReassignmentsRequest.ReassignablePartition
UPGRADE, SAFE_DOWNGRADE = 1, 2
GROUP_VERSION = "group.version"


@check("A-11", api="ElectLeaders", versions="0-2")
def a_leader_that_is_the_right_one_is_not_elected(target: Target, version: int) -> None:
    """Given a partition led by its preferred replica, named twice, both are ELECTION_NOT_NEEDED, from v1 on for an unclean election too, and the
    answer as a whole has no error. KIP-183, KIP-460.
    """
    topic = target.new_topic()
    for election in (PREFERRED, UNCLEAN) if version >= 1 else (PREFERRED,):
        answer = _elect(target, topic.name, [0, 0], version, election)

        expect(answer, error_code=ErrorCode.NONE)
        found = [(one.partition_id, one.error_code) for result in answer.replica_election_results for one in result.partition_result]
        expect_equal("the partitions", found, [(0, ErrorCode.ELECTION_NOT_NEEDED)] * 2)
        expect(answer.replica_election_results[0].partition_result[0], error_message=NOT_EMPTY)


@check("A-12a", api="AlterPartitionReassignments", versions="0-1")
def what_is_not_being_moved_cannot_be_stopped(target: Target, version: int) -> None:
    """Given null for the replicas of a partition that is not being moved, NO_REASSIGNMENT_IN_PROGRESS without a message; a partition or topic
    that is not there is UNKNOWN_TOPIC_OR_PARTITION; each by itself. KIP-455.
    """
    topic = target.new_topic()

    answer = _reassign(target, topic.name, [(0, None), (NO_PARTITION, None)], version)
    nowhere = _reassign(target, target.new_name("topic"), [(0, None)], version)

    found = {one.partition_index: (one.error_code, one.error_message is None) for one in answer.responses[0].partitions}
    wanted = {0: (ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, True), NO_PARTITION: (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, False)}
    expect_equal("the errors, and whether there is no message", found, wanted)
    expect(nowhere.responses[0].partitions[0], error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=NOT_EMPTY)


@check("A-12b", api="AlterPartitionReassignments", versions="0-1")
def replicas_that_cannot_be_are_refused(target: Target, version: int) -> None:
    """Given a broker that is not there, one twice, one below 0, or none, INVALID_REPLICA_ASSIGNMENT says why. KIP-455."""
    topic = target.new_topic()
    broker = target.node_id
    for replicas in ([NO_BROKER], [broker, broker], [-1], []):
        answer = _reassign(target, topic.name, [(0, replicas)], version)

        refused = answer.responses[0].partitions[0]
        expect_equal(f"the error of {replicas}", refused.error_code, ErrorCode.INVALID_REPLICA_ASSIGNMENT)
        expect(refused, error_message=NOT_EMPTY)


@check("A-13a", api="DescribeLogDirs", versions="1-5")
def a_replicas_size_is_that_of_its_segments(target: Target, version: int) -> None:
    """Given one batch in one of two partitions, the directory tells its size in bytes, 0 for the other, no lag and no future replica; v4 also
    how large and how full the disk is. KIP-113, KIP-827.
    """
    topic = target.new_topic(partitions=2)
    batch = build_batch([NewRecord(b"value", timestamp=1)])
    expect(target.produce_batch(topic, batch), error_code=ErrorCode.NONE)

    answer = _log_dirs(target, [_of(topic.name, [0, 1, NO_PARTITION]), _of(target.new_name("topic"), [0])], version)

    expect(answer, error_code=ErrorCode.NONE)
    told = [(one, found) for one in answer.results for found in one.topics]
    expect_equal("the topics", [found.name for _, found in told], [topic.name])
    directory, found = told[0]
    sizes = {one.partition_index: (one.partition_size, one.offset_lag, one.is_future_key) for one in found.partitions}
    expect_equal("sizes, lags, and whether they are future ones", sizes, {0: (len(batch), 0, False), 1: (0, 0, False)})
    expect(directory, error_code=ErrorCode.NONE, log_dir=NOT_EMPTY, is_cordoned=False)
    if version >= 4:
        expect(directory, total_bytes=at_least(1), usable_bytes=at_least(0))


@check("A-13b", api="DescribeLogDirs", versions="1-5")
def null_means_every_replica_and_an_empty_array_none(target: Target, version: int) -> None:
    """Given null for topics, every topic of the directories is told; given an empty array, the directories without topics. KIP-113."""
    topic = target.new_topic()

    everything = _log_dirs(target, None, version)
    nothing = _log_dirs(target, [], version)

    expect_that(topic.name in {found.name for one in everything.results for found in one.topics}, "the topic is told")
    expect(nothing, results=NOT_EMPTY)
    for one in nothing.results:
        expect(one, error_code=ErrorCode.NONE, topics=[], log_dir=NOT_EMPTY)


@check("A-17a", api="ElectLeaders", versions="1-2")
def an_election_of_no_kind_is_refused(target: Target, version: int) -> None:
    """Given an election type of 5, INVALID_REQUEST for the whole and for each partition, which says why. KIP-460."""
    topic = target.new_topic()

    answer = _elect(target, topic.name, [0], version, 5)

    expect(answer, error_code=ErrorCode.INVALID_REQUEST)
    expect(answer.replica_election_results[0].partition_result[0], error_code=ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)


@check("A-17b", api="ElectLeaders", versions="0-2")
def what_is_not_there_has_no_leader(target: Target, version: int) -> None:
    """Given a topic or a partition that is not there, UNKNOWN_TOPIC_OR_PARTITION says so. KIP-183."""
    topic = target.new_topic()
    for name, partition in ((target.new_name("topic"), 0), (topic.name, NO_PARTITION)):
        answer = _elect(target, name, [partition], version)

        expect(answer, error_code=ErrorCode.NONE)
        refused = answer.replica_election_results[0].partition_result[0]
        expect(refused, partition_id=partition, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, error_message=NOT_EMPTY)


@check("A-17c", api="ElectLeaders", versions="0-2", alone=True)
def null_means_every_topic_without_what_needs_nothing(target: Target, version: int) -> None:
    """Given null for partitions, every topic is told, one that needs no election without partitions; given an empty array, none. KIP-183."""
    topic = target.new_topic()

    everything = target.ask(ElectLeadersRequest(topic_partitions=None, timeout_ms=10_000), version)
    nothing = target.ask(ElectLeadersRequest(topic_partitions=[], timeout_ms=10_000), version)

    expect(everything, error_code=ErrorCode.NONE)
    told = {one.topic: one.partition_result for one in everything.replica_election_results}
    expect_equal("the topic's partitions", told.get(topic.name), [])
    expect(nothing, error_code=ErrorCode.NONE, replica_election_results=[])


@check("A-18a", api=("AlterPartitionReassignments", "ListPartitionReassignments"), versions="0-1")
def moving_to_where_one_is_is_done_at_once(target: Target, version: int) -> None:
    """Given the replicas that a partition has, NONE at once, and no partition is listed as being moved; nor is one that is not there. KIP-455."""
    topic = target.new_topic()
    broker = target.metadata(topic.name).topics[0].partitions[0].replica_nodes[0]

    answer = _reassign(target, topic.name, [(0, [broker])], version)

    expect(answer, error_code=ErrorCode.NONE, error_message=None)
    expect(answer.responses[0].partitions[0], partition_index=0, error_code=ErrorCode.NONE, error_message=None)
    for name in (topic.name, target.new_name("topic")):
        wanted = ListPartitionReassignmentsRequest.ListPartitionReassignmentsTopics(name=name, partition_indexes=[0])
        listed = target.ask(ListPartitionReassignmentsRequest(topics=[wanted], timeout_ms=10_000), 0)
        expect(listed, error_code=ErrorCode.NONE, topics=[])


@check("A-18b", api="AlterPartitionReassignments", versions="0-1")
def moving_nothing_has_an_empty_message(target: Target, version: int) -> None:
    """Given no topics, NONE with a message that is empty, not null, as it is with topics. KIP-455."""
    answer = target.ask(AlterPartitionReassignmentsRequest(topics=[], timeout_ms=10_000), version)

    expect(answer, error_code=ErrorCode.NONE, error_message="", responses=[])


@check("A-19", api=("AlterReplicaLogDirs", "DescribeLogDirs"), versions="1-2")
def a_replica_moves_only_to_a_directory_of_the_broker(target: Target, version: int) -> None:
    """Given the directory where a replica is, NONE; one that the broker does not have, or a relative one, LOG_DIR_NOT_FOUND; a partition that is
    not there, UNKNOWN_TOPIC_OR_PARTITION. KIP-113.
    """
    topic = target.new_topic()
    present = next(one.log_dir for one in _log_dirs(target, None, 1).results if topic.name in {found.name for found in one.topics})
    cases = [
        (present, topic.name, 0, ErrorCode.NONE),
        ("/no/such/directory", topic.name, 0, ErrorCode.LOG_DIR_NOT_FOUND),
        ("relative", topic.name, 0, ErrorCode.LOG_DIR_NOT_FOUND),
        (present, topic.name, NO_PARTITION, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (present, target.new_name("topic"), 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    for path, name, partition, error in cases:
        moved = AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic(name=name, partitions=[partition])
        request = AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDirsRequest.AlterReplicaLogDir(path=path, topics=[moved])])

        answer = target.ask(request, version)

        expect_equal(f"the error of {path} {partition}", answer.results[0].partitions[0].error_code, error)


@check("A-23a", api="UpdateFeatures", versions="0-2")
def a_level_that_cannot_be_is_refused(target: Target, version: int) -> None:
    """Given a feature nobody knows, a level that is not supported, or a lower one without leave, the whole is INVALID_UPDATE_VERSION, says why,
    and has no results of single features. KIP-584, KIP-778.
    """
    level = _levels(target)["metadata.version"]
    for feature, wanted in (("no.such.feature", 1), ("metadata.version", 30_000), ("metadata.version", level - 1)):
        answer = target.ask(_update(feature, wanted), version)

        expect_equal(f"the error of {feature} at {wanted}", answer.error_code, ErrorCode.INVALID_UPDATE_VERSION)
        expect(answer, error_message=NOT_EMPTY, results=[])
    expect_equal("the level", _levels(target)["metadata.version"], level)


@check("A-23b", api="UpdateFeatures", versions="0-2")
def the_level_that_is_is_no_update(target: Target, version: int) -> None:
    """Given the level that a feature has, or no features, NONE. KIP-584."""
    same = target.ask(_update("metadata.version", _levels(target)["metadata.version"]), version)
    nothing = target.ask(UpdateFeaturesRequest(timeout_ms=10_000), version)

    expect(same, error_code=ErrorCode.NONE, error_message=None)
    expect(nothing, error_code=ErrorCode.NONE, error_message=None, results=[])


@check("A-23c", api="UpdateFeatures", versions="1-2")
def a_kind_of_upgrade_that_nobody_knows_is_refused(target: Target, version: int) -> None:
    """Given an upgrade type other than 1, 2 and 3, INVALID_UPDATE_VERSION, says why, also where the level would be the same. KIP-778."""
    level = _levels(target)["metadata.version"]
    for upgrade_type in (0, 4):
        answer = target.ask(_update("metadata.version", level, upgrade_type), version)

        expect(answer, error_code=ErrorCode.INVALID_UPDATE_VERSION, error_message=NOT_EMPTY, results=[])


@check("A-23d", api=("UpdateFeatures", "ConsumerGroupHeartbeat"), versions="1-2", alone=True)
def a_feature_goes_down_where_leave_is_given(target: Target, version: int) -> None:
    """Given a consumer group, group.version goes from 1 to 0 by a safe downgrade all the same, and is not finalized any more; it comes back by an
    upgrade. KIP-778.
    """
    group = target.new_group()
    target.wait_for_coordinator(group)
    target.afterwards(lambda: target.ask_newest(_update(GROUP_VERSION, 1), 2))
    joining = ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_id=target.new_name("member"),
        rebalance_timeout_ms=10_000,
        subscribed_topic_names=[target.new_name("topic")],
        topic_partitions=[],
    )
    expect(target.ask_newest(joining, 1), error_code=ErrorCode.NONE)

    down = target.ask(_update(GROUP_VERSION, 0, SAFE_DOWNGRADE), version)
    eventually(lambda: _levels(target), lambda found: GROUP_VERSION not in found, "the feature is not finalized")
    up = target.ask(_update(GROUP_VERSION, 1), version)

    expect(down, error_code=ErrorCode.NONE, error_message=None)
    expect(up, error_code=ErrorCode.NONE, error_message=None)
    eventually(lambda: _levels(target), lambda found: found.get(GROUP_VERSION) == 1, "the feature is finalized")


def _elect(target: Target, name: str, partitions: Sequence[int], version: int, election: int = PREFERRED) -> ElectLeadersResponse:
    wanted = ElectLeadersRequest.TopicPartitions(topic=name, partitions=list(partitions))
    request = ElectLeadersRequest(topic_partitions=[wanted], timeout_ms=10_000)
    if version >= 1:
        request.election_type = election
    return target.ask(request, version)


def _reassign(
    target: Target, name: str, partitions: Sequence[tuple[int, list[int] | None]], version: int
) -> AlterPartitionReassignmentsResponse:
    wanted = [Reassigned(partition_index=index, replicas=replicas) for index, replicas in partitions]
    topics = [AlterPartitionReassignmentsRequest.ReassignableTopic(name=name, partitions=wanted)]
    return target.ask(AlterPartitionReassignmentsRequest(topics=topics, timeout_ms=10_000), version)


def _of(name: str, partitions: list[int]) -> DescribeLogDirsRequest.DescribableLogDirTopic:
    return DescribeLogDirsRequest.DescribableLogDirTopic(topic=name, partitions=partitions)


def _log_dirs(target: Target, topics: list[DescribeLogDirsRequest.DescribableLogDirTopic] | None, version: int) -> DescribeLogDirsResponse:
    return target.ask(DescribeLogDirsRequest(topics=topics), version)


def _update(feature: str, level: int, upgrade_type: int = UPGRADE) -> UpdateFeaturesRequest:
    update = UpdateFeaturesRequest.FeatureUpdateKey(feature=feature, max_version_level=level, upgrade_type=upgrade_type)
    return UpdateFeaturesRequest(timeout_ms=10_000, feature_updates=[update])


def _levels(target: Target) -> dict[str, int]:
    versions = target.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3)
    return {one.name: one.max_version_level for one in versions.finalized_features}
