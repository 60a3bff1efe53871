"""What groups have committed, and until when it is there, as Kafka 4.3 was seen to do it (ids: the semantics they state)."""

import pytest

from pykbroker.protocol import messages
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest

MINUTE_MS = 60_000


def codes(answer):
    return [(topic.name, [(one.partition_index, one.error_code) for one in topic.partitions]) for topic in answer.topics]


def stable_member(kit, group="g", **settings):
    member = kit.member(group, **settings)
    member.join()
    member.sync({member.id: b"A"})
    return member


def delete_offsets(kit, group, partitions):
    topics = {}
    for name, index in partitions:
        topics.setdefault(name, []).append(OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=index))
    asked = [OffsetDeleteRequest.OffsetDeleteRequestTopic(name=name, partitions=indexes) for name, indexes in topics.items()]
    return kit.ask(OffsetDeleteRequest(group_id=group, topics=asked), 0)


class TestCommitting:
    @pytest.mark.parametrize("version", range(2, 11))
    @pytest.mark.parametrize("group", ["simple", ""])
    def test_anybody_may_commit_for_a_group_without_members(self, kit, version, group):
        answer = kit.commit(group, {("t", 0): 5, ("t", 1): -5}, version)
        assert [one.error_code for topic in answer.topics for one in topic.partitions] == [ErrorCode.NONE] * 2
        assert kit.committed(group) == {("t", 0): 5, ("t", 1): -5}
        assert kit.describe(group).group_state == "Empty"
        kit.restart()
        assert kit.committed(group) == {("t", 0): 5, ("t", 1): -5}

    @pytest.mark.parametrize(("version", "error"), [(8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)])
    def test_a_generation_needs_a_group(self, kit, version, error):
        answer = kit.commit("g", {("t", 0): 5}, version, generation_id_or_member_epoch=1)
        assert codes(answer) == [("t", [(0, error)])]

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"member_id": "", "generation_id_or_member_epoch": -1}, ErrorCode.UNKNOWN_MEMBER_ID),
            ({"generation_id_or_member_epoch": -1}, ErrorCode.ILLEGAL_GENERATION),
            ({"generation_id_or_member_epoch": 7}, ErrorCode.ILLEGAL_GENERATION),
            ({"member_id": ""}, ErrorCode.UNKNOWN_MEMBER_ID),
            ({"group_instance_id": "of-nobody"}, ErrorCode.UNKNOWN_MEMBER_ID),
            ({}, ErrorCode.NONE),
        ],
    )
    def test_a_group_with_members_is_theirs(self, kit, fields, error):
        assert stable_member(kit).commit({("t", 0): 5}, **fields) == error

    def test_a_group_that_has_become_empty_is_anybodys(self, kit):
        member = stable_member(kit)
        member.leave()
        assert member.commit({("t", 0): 5}) == ErrorCode.UNKNOWN_MEMBER_ID
        assert member.commit({("t", 0): 5}, generation_id_or_member_epoch=-1) == ErrorCode.NONE

    def test_between_two_generations_it_depends(self, kit):
        leader, follower = stable_member(kit), kit.member("g")
        follower.join()
        assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        assert leader.commit({("t", 0): 5}) == ErrorCode.NONE
        leader.join()
        assert leader.commit({("t", 0): 6}) == ErrorCode.REBALANCE_IN_PROGRESS
        assert leader.commit({("t", 0): 6}, generation_id_or_member_epoch=1) == ErrorCode.ILLEGAL_GENERATION

    def test_the_last_write_wins_also_backwards(self, kit):
        kit.commit("g", {("t", 0): 10**12})
        kit.commit("g", {("t", 0): 3})
        assert kit.committed("g") == {("t", 0): 3}

    @pytest.mark.parametrize(
        ("metadata", "error"),
        [
            ("x" * 4096, ErrorCode.NONE),
            ("é" * 4096, ErrorCode.NONE),
            ("x" * 4097, ErrorCode.OFFSET_METADATA_TOO_LARGE),
            ("\U0001f600" * 2048, ErrorCode.NONE),
            ("\U0001f600" * 2048 + "x", ErrorCode.OFFSET_METADATA_TOO_LARGE),
        ],
    )
    def test_metadata_has_a_longest_length_in_characters(self, kit, metadata, error):
        partition = OffsetCommitRequest.OffsetCommitRequestPartition
        partitions = [
            partition(partition_index=0, committed_offset=1, committed_metadata=metadata),
            partition(partition_index=1, committed_offset=1, committed_metadata=None),
        ]
        topic = OffsetCommitRequest.OffsetCommitRequestTopic(name="t", partitions=partitions)
        assert codes(kit.ask(OffsetCommitRequest(group_id="g", topics=[topic]), 9)) == [("t", [(0, error), (1, ErrorCode.NONE)])]
        asked = OffsetFetchRequest.OffsetFetchRequestTopic(name="t", partition_indexes=[0, 1])
        fetched = kit.ask(OffsetFetchRequest(group_id="g", topics=[asked]), 7).topics[0].partitions
        assert [one.metadata for one in fetched] == [metadata if error == ErrorCode.NONE else "", ""]

    def test_a_group_whose_only_commit_failed_can_be_deleted_and_is_shown_when_something_is_written(self, kit):
        def commit(metadata):
            one = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata=metadata)
            topic = OffsetCommitRequest.OffsetCommitRequestTopic(name="t", partitions=[one])
            return codes(kit.ask(OffsetCommitRequest(group_id="g", topics=[topic]), 9))[0][1][0][1]

        def delete():
            return kit.ask(messages.DeleteGroupsRequest(groups_names=["g"]), 2).results[0].error_code

        assert delete() == ErrorCode.GROUP_ID_NOT_FOUND
        assert commit("x" * 5000) == ErrorCode.OFFSET_METADATA_TOO_LARGE
        assert kit.describe("g").error_code == ErrorCode.GROUP_ID_NOT_FOUND
        assert delete() == ErrorCode.NONE
        assert delete() == ErrorCode.GROUP_ID_NOT_FOUND
        assert commit("x" * 5000) == ErrorCode.OFFSET_METADATA_TOO_LARGE
        assert commit("fits") == ErrorCode.NONE
        assert kit.describe("g").group_state == "Empty"

    def test_what_does_not_exist_fails_alone_and_is_answered_first(self, kit):
        answer = kit.commit("g", {("gone", 0): 1, ("t", 1): 1, ("t", 7): 1, ("t", -1): 1})
        unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert codes(answer) == [("gone", [(0, unknown)]), ("t", [(7, unknown), (-1, unknown), (1, ErrorCode.NONE)])]
        answer = kit.commit("g", {("gone", 0): 1, ("t", 7): 1}, 10)
        assert [[one.error_code for one in topic.partitions] for topic in answer.topics] == [[ErrorCode.UNKNOWN_TOPIC_ID], [unknown]]
        assert kit.committed("g") == {("t", 1): 1}

    def test_a_topic_without_partitions_is_answered_only_where_it_is_unknown(self, kit):
        asked = OffsetCommitRequest.OffsetCommitRequestTopic
        answer = kit.ask(OffsetCommitRequest(group_id="g", topics=[asked(name="t"), asked(name="gone")]), 9)
        assert codes(answer) == [("gone", [])]

    def test_ten_thousand_offsets_in_one_request(self, kit):
        for name in ("wide", "broad"):
            kit.create_topic(name, 5000)
        offsets = {(name, index): index for name in ("wide", "broad") for index in range(5000)}
        kit.commit("g", offsets)
        assert kit.committed("g") == offsets
        kit.restart()
        kit.clock.advance(0)
        assert kit.committed("g") == offsets


class TestFetching:
    @pytest.mark.parametrize("version", range(1, 8))
    def test_what_was_never_committed_is_minus_one(self, kit, version):
        asked = [
            OffsetFetchRequest.OffsetFetchRequestTopic(name="t", partition_indexes=[0, 9]),
            OffsetFetchRequest.OffsetFetchRequestTopic(name="gone", partition_indexes=[0]),
        ]
        answer = kit.ask(OffsetFetchRequest(group_id="unknown", topics=asked), version)
        assert answer.error_code == ErrorCode.NONE
        found = [
            (one.partition_index, one.committed_offset, one.metadata, one.error_code) for topic in answer.topics for one in topic.partitions
        ]
        assert found == [(0, -1, "", 0), (9, -1, "", 0), (0, -1, "", 0)]

    @pytest.mark.parametrize("version", [8, 9])
    def test_groups_are_answered_one_by_one(self, kit, version):
        kit.commit("a", {("t", 0): 5})
        group = OffsetFetchRequest.OffsetFetchRequestGroup
        topics = [OffsetFetchRequest.OffsetFetchRequestTopics(name="t", partition_indexes=[0])]
        asked = [
            group(group_id="a", topics=topics),
            group(group_id="", topics=topics),
            group(group_id="a", topics=None),
            group(group_id="a", topics=[]),
        ]
        answer = kit.ask(OffsetFetchRequest(groups=asked), version)
        found = [
            (one.group_id, one.error_code, [p.committed_offset for topic in one.topics for p in topic.partitions]) for one in answer.groups
        ]
        assert found == [("a", 0, [5]), ("", 0, [-1]), ("a", 0, [5]), ("a", 0, [])]

    def test_topics_by_id(self, kit):
        kit.commit("a", {("t", 1): 5}, 10)
        asked = OffsetFetchRequest.OffsetFetchRequestTopics
        topics = [asked(topic_id=kit.topic_id("t"), partition_indexes=[1]), asked(topic_id=b"\7" * 16, partition_indexes=[0])]
        group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="a", topics=topics)
        answer = kit.ask(OffsetFetchRequest(groups=[group]), 10).groups[0]
        assert [[(one.committed_offset, one.error_code) for one in topic.partitions] for topic in answer.topics] == [
            [(5, ErrorCode.NONE)],
            [(-1, ErrorCode.UNKNOWN_TOPIC_ID)],
        ]
        everything = kit.ask(OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id="a", topics=None)]), 10)
        assert [topic.topic_id for topic in everything.groups[0].topics] == [kit.topic_id("t")]

    def test_the_leader_epoch_comes_back(self, kit):
        partition = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_leader_epoch=3)
        topic = OffsetCommitRequest.OffsetCommitRequestTopic(name="t", partitions=[partition])
        kit.ask(OffsetCommitRequest(group_id="g", topics=[topic]), 6)
        asked = OffsetFetchRequest.OffsetFetchRequestTopic(name="t", partition_indexes=[0, 1])
        fetched = kit.ask(OffsetFetchRequest(group_id="g", topics=[asked]), 5).topics[0].partitions
        assert [one.committed_leader_epoch for one in fetched] == [3, -1]

    def test_a_classic_group_does_not_look_at_member_ids(self, kit):
        stable_member(kit)
        group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", member_id="zzz", member_epoch=7, topics=None)
        assert kit.ask(OffsetFetchRequest(groups=[group], require_stable=True), 9).groups[0].error_code == ErrorCode.NONE


class TestLeavingMemory:
    def test_offsets_of_a_deleted_topic_are_gone_for_good(self, kit):
        kit.create_topic("u")
        kit.commit("g", {("t", 0): 5, ("u", 0): 6})
        kit.ask(messages.DeleteTopicsRequest(topics=[messages.DeleteTopicsRequest.DeleteTopicState(name="t")], timeout_ms=1000), 6)
        assert kit.committed("g") == {("u", 0): 6}
        kit.create_topic("t")
        kit.restart()
        assert kit.committed("g") == {("u", 0): 6}

    def test_a_retention_time_of_ones_own(self, kit):
        kit.commit("g", {("t", 0): 5}, 4, retention_time_ms=3000)
        kit.commit("h", {("t", 0): 5}, 4, retention_time_ms=601_000)
        kit.restart()
        kit.clock.advance(600_000)
        assert kit.committed("g") == {}
        assert kit.describe("g").group_state == "Dead"
        assert kit.committed("h") == {("t", 0): 5}

    def test_offsets_of_nobodys_group_expire_after_their_commit(self, new_kit):
        kit = new_kit(offsets_retention_minutes="1", offsets_retention_check_interval_ms="1000")
        kit.commit("g", {("t", 0): 5})
        kit.clock.advance(30_000)
        kit.commit("g", {("t", 1): 6})
        kit.clock.advance(30_000)
        assert kit.committed("g") == {("t", 1): 6}
        kit.clock.advance(30_000)
        assert kit.describe("g").group_state == "Dead"
        kit.restart()
        assert kit.describe("g").group_state == "Dead"

    def test_offsets_of_a_members_group_expire_after_the_last_one_left(self, new_kit):
        kit = new_kit(offsets_retention_minutes="1", offsets_retention_check_interval_ms="1000")
        member = stable_member(kit, session_ms=300_000)
        member.commit({("t", 0): 5})
        kit.clock.advance(4 * MINUTE_MS)
        assert kit.committed("g") == {("t", 0): 5}
        member.leave()
        kit.restart()
        kit.clock.advance(MINUTE_MS - 1000)
        assert kit.committed("g") == {("t", 0): 5}
        kit.clock.advance(2000)
        assert kit.describe("g").group_state == "Dead"

    def test_a_consumer_keeps_only_what_it_consumes(self, new_kit):
        kit = new_kit(offsets_retention_minutes="1", offsets_retention_check_interval_ms="1000")
        kit.create_topic("u")
        member = stable_member(kit, session_ms=300_000)
        member.commit({("t", 0): 5, ("u", 0): 6})
        other = stable_member(kit, "connect", session_ms=300_000, protocol_type="connect")
        other.commit({("t", 0): 5, ("u", 0): 6})
        kit.clock.advance(2 * MINUTE_MS)
        assert kit.committed("g") == {("t", 0): 5}
        assert kit.committed("connect") == {("t", 0): 5, ("u", 0): 6}

    def test_an_empty_group_without_offsets_goes_at_the_next_check(self, new_kit):
        kit = new_kit(offsets_retention_check_interval_ms="1000")
        stable_member(kit).leave()
        assert kit.describe("g").group_state == "Empty"
        kit.clock.advance(1000)
        assert kit.describe("g").group_state == "Dead"


class TestDeleting:
    def test_only_what_the_group_does_not_consume(self, kit):
        kit.create_topic("u")
        member = stable_member(kit)
        member.commit({("t", 0): 5, ("u", 0): 6})
        answer = delete_offsets(kit, "g", [("gone", 0), ("t", 0), ("u", 0), ("u", 9)])
        assert answer.error_code == ErrorCode.NONE
        unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert codes(answer) == [("gone", [(0, unknown)]), ("u", [(9, unknown), (0, 0)]), ("t", [(0, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC)])]
        assert kit.committed("g") == {("t", 0): 5}

    def test_what_is_consumed_is_what_the_generation_began_with(self, kit):
        kit.create_topic("u")
        member = stable_member(kit, instance="i")
        member.id, member.protocols = "", (("range", kit.subscription("u")),)
        member.join()
        assert codes(delete_offsets(kit, "g", [("t", 0), ("u", 0)])) == [("t", [(0, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC)]), ("u", [(0, 0)])]

    def test_a_group_that_is_none_of_consumers_must_be_empty(self, kit):
        member = stable_member(kit, protocol_type="connect")
        member.commit({("t", 0): 5})
        answer = delete_offsets(kit, "g", [("t", 0)])
        assert (answer.error_code, answer.topics) == (ErrorCode.NON_EMPTY_GROUP, [])
        member.leave()
        assert codes(delete_offsets(kit, "g", [("t", 0), ("t", 1)])) == [("t", [(0, 0), (1, 0)])]
        assert kit.committed("g") == {}

    @pytest.mark.parametrize(("group", "error"), [("unknown", ErrorCode.GROUP_ID_NOT_FOUND), ("", ErrorCode.INVALID_GROUP_ID)])
    def test_the_group_must_be_there(self, kit, group, error):
        for partitions in ([("t", 0)], [("gone", 0)], []):
            answer = delete_offsets(kit, group, partitions)
            assert (answer.error_code, answer.topics) == (error, [])

    def test_groups_go_with_their_offsets_unless_they_have_members(self, kit):
        stable_member(kit, "busy")
        kit.commit("old", {("t", 0): 5})
        kit.member("pending").send_join()
        answer = kit.ask(messages.DeleteGroupsRequest(groups_names=["busy", "old", "old", "pending", "unknown", ""]), 2)
        assert [(one.group_id, one.error_code) for one in answer.results] == [
            ("busy", ErrorCode.NON_EMPTY_GROUP),
            ("old", ErrorCode.NONE),
            ("pending", ErrorCode.NONE),
            ("unknown", ErrorCode.GROUP_ID_NOT_FOUND),
            ("", ErrorCode.GROUP_ID_NOT_FOUND),
        ]
        assert kit.committed("old") == {}
        kit.restart()
        assert [kit.describe(group).group_state for group in ("busy", "old", "pending")] == ["Stable", "Dead", "Dead"]
