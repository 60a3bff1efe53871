"""C: offsets of a consumer group, committed and fetched by its members in their epochs (KIP-848)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import NEVER_ISSUED, NO_GENERATION, commit_request
from pykbroker.compat.steps.consumer_members import HEARTBEAT, ConsumerMember, all_of, member_of_all, topic_for_groups
from pykbroker.compat.steps.offset_requests import all_offsets_of, ask_for_group
from pykbroker.compat.steps.transaction_requests import add_offsets, commit_offset, new_producer
from pykbroker.compat.steps.transaction_requests import commit as end_transaction
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode

COMMIT = ("OffsetCommit", "OffsetFetch", *HEARTBEAT)
FETCH = ("OffsetFetch", "OffsetCommit", *HEARTBEAT)
STALE = ErrorCode.STALE_MEMBER_EPOCH


def commit_as(member: ConsumerMember, topic: Topic, offset: int, epoch: int, version: int, *, member_id: str | None = None) -> int:
    """OffsetCommit of partition 0 in that epoch; the error code."""
    request = commit_request(member.group_id, topic, {0: offset})
    request.member_id = member.member_id if member_id is None else member_id
    request.generation_id_or_member_epoch = epoch
    answer = member.target.ask(request, version)
    expect_equal("the partitions", [one.partition_index for one in answer.topics[0].partitions], [0])
    return answer.topics[0].partitions[0].error_code


def offsets(target: Target, member: ConsumerMember) -> dict[tuple[str | bytes, int], int]:
    """Every committed offset of its group."""
    return all_offsets_of(target, member.group_id)


def grown_member(target: Target) -> tuple[ConsumerMember, int, Topic, Topic]:
    """A member, the epoch in which it had one topic, that topic, and the one that it has since its present epoch."""
    older, newer = topic_for_groups(target), topic_for_groups(target)
    member = member_of_all(target, older)
    before = member.epoch
    expect(member.heartbeat(subscribed_topic_names=[older.name, newer.name]), error_code=ErrorCode.NONE)
    member.wait_for(all_of(older, newer))
    expect_that(member.epoch > before, "the member is in a later epoch")
    return member, before, older, newer


@check("C-15a", api=COMMIT, versions="2-8")
def old_commits_know_no_member_epochs(target: Target, version: int) -> None:
    """Given OffsetCommit below v9 of a member of a consumer group, UNSUPPORTED_VERSION, and nothing is committed. KIP-848."""
    topic = topic_for_groups(target)
    member = member_of_all(target, topic)

    error = commit_as(member, topic, 5, member.epoch, version)

    expect_equal("the error", error, ErrorCode.UNSUPPORTED_VERSION)
    expect_equal("the offsets", offsets(target, member), {})


@check("C-15b", api=COMMIT, versions="9-10")
def a_member_commits_in_its_epoch(target: Target, version: int) -> None:
    """Given OffsetCommit of a member in its epoch, it is committed; in a greater epoch STALE_MEMBER_EPOCH, of nobody UNKNOWN_MEMBER_ID. KIP-848."""
    topic = topic_for_groups(target)
    member = member_of_all(target, topic)

    right = commit_as(member, topic, 5, member.epoch, version)
    greater = commit_as(member, topic, 6, member.epoch + 1, version)
    nobody = commit_as(member, topic, 7, member.epoch, version, member_id=NEVER_ISSUED)

    expect_equal("the errors", [right, greater, nobody], [ErrorCode.NONE, STALE, ErrorCode.UNKNOWN_MEMBER_ID])
    expect_equal("the offsets", offsets(target, member), {(topic.name, 0): 5})


@check("C-15c", api=COMMIT, versions="2-10")
def nobody_commits_past_the_members(target: Target, version: int) -> None:
    """Given OffsetCommit without member and generation: UNKNOWN_MEMBER_ID while the group has members, committed once it has none. KIP-848."""
    topic = topic_for_groups(target)
    member = member_of_all(target, topic)

    refused = commit_as(member, topic, 5, NO_GENERATION, version, member_id="")
    member.leave()
    taken = commit_as(member, topic, 6, NO_GENERATION, version, member_id="")

    expect_equal("the errors", [refused, taken], [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.NONE])
    expect_equal("the offsets", offsets(target, member), {(topic.name, 0): 6})


@check("C-15d", api=COMMIT, versions="9-10")
def an_older_epoch_does_where_the_partition_was_owned_then(target: Target, version: int) -> None:
    """Given OffsetCommit in the member's epoch before: committed for a partition that it has had since, STALE_MEMBER_EPOCH for one that it has
    only had since later. KIP-1251.
    """
    member, before, older, newer = grown_member(target)

    kept = commit_as(member, older, 5, before, version)
    gained = commit_as(member, newer, 6, before, version)
    gained_now = commit_as(member, newer, 7, member.epoch, version)

    expect_equal("the errors", [kept, gained, gained_now], [ErrorCode.NONE, STALE, ErrorCode.NONE])
    expect_equal("the offsets", offsets(target, member), {(older.name, 0): 5, (newer.name, 0): 7})


@check("C-15e", api=FETCH, versions="9-10")
def offsets_are_fetched_in_the_members_epoch(target: Target, version: int) -> None:
    """Given OffsetFetch v9+ of a member, its offsets in its own epoch; STALE_MEMBER_EPOCH in a greater, or any smaller one. KIP-848."""
    member, before, older, _ = grown_member(target)
    expect_equal("the error", commit_as(member, older, 5, member.epoch, 9), ErrorCode.NONE)

    for epoch in (member.epoch + 1, before, 0):
        stale = ask_for_group(target, member.group_id, None, version, member_id=member.member_id, member_epoch=epoch)
        expect(stale, error_code=STALE, topics=[])

    right = ask_for_group(target, member.group_id, None, version, member_id=member.member_id, member_epoch=member.epoch)
    expect(right, error_code=ErrorCode.NONE)
    expect_equal("committed_offset", [one.committed_offset for topic in right.topics for one in topic.partitions], [5])


@check("C-15f", api=("TxnOffsetCommit", "InitProducerId", "AddOffsetsToTxn", "EndTxn", *COMMIT), versions="3-5")
def members_commit_in_transactions_too(target: Target, version: int) -> None:
    """Given TxnOffsetCommit v3+ of a member of a consumer group: in its epoch its offset is there once the transaction is committed; in a greater epoch
    ILLEGAL_GENERATION, of nobody UNKNOWN_MEMBER_ID, and without a member as from outside of any group. KIP-447, KIP-848.
    """
    topic = topic_for_groups(target, 2)
    member = member_of_all(target, topic)
    producer = new_producer(target)
    expect_equal("the error of AddOffsetsToTxn", add_offsets(target, producer, member.group_id), ErrorCode.NONE)

    def error_of(offset: int, member_id: str, generation_id: int) -> int:
        asked = (target, producer, member.group_id, topic, offset, version)
        return commit_offset(*asked, member_id=member_id, generation_id=generation_id)

    right = error_of(5, member.member_id, member.epoch)
    greater = error_of(6, member.member_id, member.epoch + 1)
    nobody = error_of(7, NEVER_ISSUED, member.epoch)
    end_transaction(target, producer)

    expect_equal("the errors", [right, greater, nobody], [ErrorCode.NONE, ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID])
    eventually(lambda: offsets(target, member), lambda found: found == {(topic.name, 0): 5}, "the offset is committed")
