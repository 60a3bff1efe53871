"""T: offsets of a group that are committed with a transaction: AddOffsetsToTxn, TxnOffsetCommit, and what OffsetFetch shows meanwhile (KIP-98, KIP-447)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import NEVER_ISSUED, NO_GENERATION, Participant, alone, ready_group, stable
from pykbroker.compat.steps.consumer_members import member_of_all
from pykbroker.compat.steps.offset_requests import NO_EPOCH, NOTHING, Offset
from pykbroker.compat.steps.offset_requests import commit as commit_plainly
from pykbroker.compat.steps.transaction_requests import (
    IN_TRANSACTION,
    Part,
    abort,
    add_offsets,
    add_partitions,
    commit,
    commit_offset,
    commit_offsets,
    described,
    initialised,
    new_producer,
    old_epoch_error,
    strangers,
)
from pykbroker.compat.steps.transactions import OFFSETS
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import AddOffsetsToTxnRequest, EndTxnRequest, OffsetFetchRequest

UNSTABLE = Offset(-1, NO_EPOCH, "", ErrorCode.UNSTABLE_OFFSET_COMMIT)
ADDS_BY_ITSELF = 5
"""The first TxnOffsetCommit that needs no AddOffsetsToTxn (KIP-890)."""


def fetched(target: Target, group_id: str, topic: Topic, version: int | None = None, *, require_stable: bool = False) -> Offset:
    """OffsetFetch of one partition, in a version that knows of stable offsets."""
    version = target.newest(OffsetFetchRequest, 9, at_least=7) if version is None else version
    if version < 8:
        old = OffsetFetchRequest.OffsetFetchRequestTopic(name=topic.name, partition_indexes=[0])
        answer = target.ask(OffsetFetchRequest(group_id=group_id, topics=[old], require_stable=require_stable), version)
        expect(answer, error_code=ErrorCode.NONE)
        one = answer.topics[0].partitions[0]
        return Offset(one.committed_offset, one.committed_leader_epoch, one.metadata, one.error_code)
    new = OffsetFetchRequest.OffsetFetchRequestTopics(name=topic.name, topic_id=topic.topic_id, partition_indexes=[0])
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group_id, topics=[new])
    of_group = target.ask(OffsetFetchRequest(groups=[group], require_stable=require_stable), version).groups[0]
    expect(of_group, group_id=group_id, error_code=ErrorCode.NONE)
    found = of_group.topics[0].partitions[0]
    return Offset(found.committed_offset, found.committed_leader_epoch, found.metadata, found.error_code)


def wait_for_stable_offset(target: Target, group_id: str, topic: Topic, expected: Offset) -> None:
    """Until no offset is pending; that is what is committed then."""
    look = lambda: fetched(target, group_id, topic, require_stable=True)  # noqa: E731 - the question, asked again and again
    expect_equal("the offset", eventually(look, lambda found: found != UNSTABLE, "no offset is pending"), expected)


@check("T-21a", api=("TxnOffsetCommit", *OFFSETS), versions="0-5")
def offsets_are_committed_with_the_transaction(target: Target, version: int) -> None:
    """Given TxnOffsetCommit after AddOffsetsToTxn, the group has the offset when the transaction is committed, and not before. KIP-98."""
    topic, group_id = target.new_topic(), ready_group(target)
    who = new_producer(target)
    expect_equal("the error of AddOffsetsToTxn", add_offsets(target, who, group_id), ErrorCode.NONE)

    error = commit_offset(target, who, group_id, topic, 7, version)
    before = fetched(target, group_id, topic)
    commit(target, who)

    expect_equal("the error of TxnOffsetCommit", error, ErrorCode.NONE)
    expect_equal("the offset before", before, NOTHING)
    wait_for_stable_offset(target, group_id, topic, Offset(7, NO_EPOCH, IN_TRANSACTION, ErrorCode.NONE))


@check("T-21b", api=("TxnOffsetCommit", *OFFSETS), versions="0-5")
def offsets_are_aborted_with_the_transaction(target: Target, version: int) -> None:
    """Given an offset committed before, and another in a transaction that is aborted, the one before remains. KIP-98."""
    topic, group_id = target.new_topic(), ready_group(target)
    commit_plainly(target, group_id, topic, {0: 5})
    who = new_producer(target)
    add_offsets(target, who, group_id)

    error = commit_offset(target, who, group_id, topic, 7, version)
    abort(target, who)

    expect_equal("the error of TxnOffsetCommit", error, ErrorCode.NONE)
    wait_for_stable_offset(target, group_id, topic, Offset(5, NO_EPOCH, "", ErrorCode.NONE))


@check("T-21c", api=("TxnOffsetCommit", *OFFSETS), versions="0-5")
def a_plain_commit_meanwhile(target: Target, version: int) -> None:
    """Given an offset pending in a transaction, a plain commit to the same partition is taken and shown; the transaction's follows with its commit."""
    topic, group_id = target.new_topic(), ready_group(target)
    who = new_producer(target)
    add_offsets(target, who, group_id)
    expect_equal("the error of TxnOffsetCommit", commit_offset(target, who, group_id, topic, 7, version), ErrorCode.NONE)

    commit_plainly(target, group_id, topic, {0: 11})

    expect_equal("the offset", fetched(target, group_id, topic), Offset(11, NO_EPOCH, "", ErrorCode.NONE))
    abort(target, who)
    wait_for_stable_offset(target, group_id, topic, Offset(11, NO_EPOCH, "", ErrorCode.NONE))


@check("T-22", api=("OffsetFetch", *OFFSETS), versions="7-10")
def a_pending_offset_is_unstable(target: Target, version: int) -> None:
    """Given an offset pending in a transaction, who requires stable ones is answered UNSTABLE_OFFSET_COMMIT, offset -1, epoch -1, metadata "", and
    anybody else the offset committed before. KIP-447.
    """
    topic, group_id = target.new_topic(), ready_group(target)
    commit_plainly(target, group_id, topic, {0: 5})
    who = new_producer(target)
    add_offsets(target, who, group_id)
    commit_offset(target, who, group_id, topic, 7)

    stable_only = fetched(target, group_id, topic, version, require_stable=True)
    any_offset = fetched(target, group_id, topic, version)
    commit(target, who)

    expect_equal("the stable offset", stable_only, UNSTABLE)
    expect_equal("the offset", any_offset, Offset(5, NO_EPOCH, "", ErrorCode.NONE))
    wait_for_stable_offset(target, group_id, topic, Offset(7, NO_EPOCH, IN_TRANSACTION, ErrorCode.NONE))
    expect_equal("the offset in the end", fetched(target, group_id, topic, version, require_stable=True).committed_offset, 7)


@check("T-23a", api=("TxnOffsetCommit", *OFFSETS), versions="3-5")
def a_member_commits_in_its_generation(target: Target, version: int) -> None:
    """Given a member of the group and its generation, TxnOffsetCommit is taken; with another generation, or none, ILLEGAL_GENERATION; of an unknown
    member, or none with a generation, UNKNOWN_MEMBER_ID; with neither, nothing is looked at. KIP-447.
    """
    topic, member = target.new_topic(), alone(target)
    who = new_producer(target)
    add_offsets(target, who, member.group_id)
    wrong, unknown = ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID
    expected = {
        (member.member_id, member.generation_id): ErrorCode.NONE,
        (member.member_id, member.generation_id + 1): wrong,
        (member.member_id, 0): wrong,
        (member.member_id, NO_GENERATION): wrong,
        (NEVER_ISSUED, member.generation_id): unknown,
        (NEVER_ISSUED, NO_GENERATION): unknown,
        ("", member.generation_id): unknown,
        ("", NO_GENERATION): ErrorCode.NONE,
    }

    errors = {
        (member_id, generation_id): commit_offset(
            target, who, member.group_id, topic, 7, version, member_id=member_id, generation_id=generation_id
        )
        for member_id, generation_id in expected
    }

    expect_equal("the errors", errors, expected)
    abort(target, who)


@check("T-23b", api=("TxnOffsetCommit", *OFFSETS), versions="3-5")
def a_static_member_commits_under_its_instance(target: Target, version: int) -> None:
    """Given the instance id of another member, FENCED_INSTANCE_ID, also without a generation; given one that the group does not have, UNKNOWN_MEMBER_ID."""
    topic, group_id = target.new_topic(), ready_group(target)
    member = Participant(target, group_id, instance_id="instance")
    stable(target, member)
    who = new_producer(target)
    add_offsets(target, who, group_id)
    fenced, unknown = ErrorCode.FENCED_INSTANCE_ID, ErrorCode.UNKNOWN_MEMBER_ID
    expected = {
        (member.member_id, member.generation_id, "instance"): ErrorCode.NONE,
        (NEVER_ISSUED, member.generation_id, "instance"): fenced,
        (NEVER_ISSUED, NO_GENERATION, "instance"): fenced,
        ("", NO_GENERATION, "instance"): fenced,
        (member.member_id, member.generation_id, "another"): unknown,
        ("", NO_GENERATION, "another"): unknown,
    }

    errors = {
        (member_id, generation_id, instance_id): commit_offset(
            target,
            who,
            group_id,
            topic,
            7,
            version,
            member_id=member_id,
            generation_id=generation_id,
            group_instance_id=instance_id,
        )
        for member_id, generation_id, instance_id in expected
    }

    expect_equal("the errors", errors, expected)
    abort(target, who)


@check("T-23c", api=("TxnOffsetCommit", *OFFSETS), versions="3-5")
def nobody_is_a_member_of_an_empty_group(target: Target, version: int) -> None:
    """Given a group without members, any member without a generation is taken; with a generation, UNKNOWN_MEMBER_ID, also without a member id."""
    topic, group_id = target.new_topic(), ready_group(target)
    commit_plainly(target, group_id, topic, {0: 5})
    who = new_producer(target)
    add_offsets(target, who, group_id)
    askers = ((NEVER_ISSUED, NO_GENERATION), (NEVER_ISSUED, 3), ("", 3), ("", NO_GENERATION))

    errors = [
        commit_offset(target, who, group_id, topic, 7, version, member_id=member_id, generation_id=generation_id)
        for member_id, generation_id in askers
    ]

    unknown = ErrorCode.UNKNOWN_MEMBER_ID
    expect_equal("the errors", errors, [ErrorCode.NONE, unknown, unknown, ErrorCode.NONE])
    commit(target, who)
    wait_for_stable_offset(target, group_id, topic, Offset(7, NO_EPOCH, IN_TRANSACTION, ErrorCode.NONE))


@check("T-23d", api=("TxnOffsetCommit", *OFFSETS), versions="0-2")
def old_versions_know_no_members(target: Target, version: int) -> None:
    """Given a group with a member, TxnOffsetCommit below v3, which says nothing of members, is taken."""
    topic, member = target.new_topic(), alone(target)
    who = new_producer(target)
    add_offsets(target, who, member.group_id)

    error = commit_offset(target, who, member.group_id, topic, 7, version)
    commit(target, who)

    expect_equal("the error", error, ErrorCode.NONE)
    wait_for_stable_offset(target, member.group_id, topic, Offset(7, NO_EPOCH, IN_TRANSACTION, ErrorCode.NONE))


@check("T-32a", api=("TxnOffsetCommit", *OFFSETS), versions="0-5")
def offsets_without_add_offsets(target: Target, version: int) -> None:
    """Given TxnOffsetCommit without AddOffsetsToTxn, INVALID_TXN_STATE below v4, TRANSACTION_ABORTABLE in v4, and nothing begins; v5 adds the group
    itself. KIP-890.
    """
    topic, group_id = target.new_topic(), ready_group(target)
    who = new_producer(target)

    error = commit_offset(target, who, group_id, topic, 7, version)

    if version >= ADDS_BY_ITSELF:
        expect_equal("the error", error, ErrorCode.NONE)
        state = described(target, who.transactional_id)
        expect(state, transaction_state="Ongoing")
        expect_equal("the topics of the transaction", [one.topic for one in state.topics], ["__consumer_offsets"])
        commit(target, who)
        wait_for_stable_offset(target, group_id, topic, Offset(7, NO_EPOCH, IN_TRANSACTION, ErrorCode.NONE))
    else:
        expect_equal("the error", error, ErrorCode.TRANSACTION_ABORTABLE if version == 4 else ErrorCode.INVALID_TXN_STATE)
        expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, transaction_state="Empty", topics=[])
        expect_equal("the offset", fetched(target, group_id, topic, require_stable=True), NOTHING)


@check("T-32b", api=("TxnOffsetCommit", *OFFSETS), versions="0-5")
def offsets_are_committed_by_who_is_known(target: Target, version: int) -> None:
    """Given TxnOffsetCommit of an unknown transactional id, or with another producer id, INVALID_PRODUCER_ID_MAPPING; with a later or an older epoch,
    INVALID_PRODUCER_EPOCH in all versions; of the id "", INVALID_REQUEST; to the group "", INVALID_GROUP_ID.
    """
    topic, group_id = target.new_topic(), ready_group(target)
    who = initialised(target, new_producer(target).transactional_id)

    errors = [commit_offset(target, wrong, group_id, topic, 7, version) for wrong in (*strangers(target, who), who.at_epoch(0))]
    to_no_group = commit_offset(target, who, "", topic, 7, version)

    unknown, fenced = ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.INVALID_PRODUCER_EPOCH
    expect_equal("the errors", errors, [unknown, unknown, fenced, fenced, ErrorCode.INVALID_REQUEST, fenced])
    expect_equal("the error of the group", to_no_group, ErrorCode.INVALID_GROUP_ID)
    expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, transaction_state="Empty", topics=[])


@check("T-32c", api=("TxnOffsetCommit", *OFFSETS), versions="0-5")
def offsets_of_what_is_not_there(target: Target, version: int) -> None:
    """Given an unknown topic and an unknown partition beside a good one, UNKNOWN_TOPIC_OR_PARTITION for these two, and the good one is committed."""
    topic, group_id = target.new_topic(), ready_group(target)
    who = new_producer(target)
    add_offsets(target, who, group_id)
    good, no_topic, no_partition = Part(topic.name), Part(target.new_name("no-topic")), Part(topic.name, 9)

    errors = commit_offsets(target, who, group_id, {no_topic: 1, no_partition: 2, good: 3}, version)
    commit(target, who)

    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    expect_equal("the errors", errors, {no_topic: unknown, no_partition: unknown, good: ErrorCode.NONE})
    wait_for_stable_offset(target, group_id, topic, Offset(3, NO_EPOCH, IN_TRANSACTION, ErrorCode.NONE))


@check("T-32d", api=("AddOffsetsToTxn", *OFFSETS), versions="0-4")
def a_group_is_added_by_who_is_known(target: Target, version: int) -> None:
    """Given AddOffsetsToTxn of an unknown transactional id, or with another producer id, INVALID_PRODUCER_ID_MAPPING; with a later or an older epoch,
    PRODUCER_FENCED (INVALID_PRODUCER_EPOCH below v2); of the id "", INVALID_REQUEST. Nothing begins.
    """
    group_id = ready_group(target)
    who = new_producer(target)

    errors = [add_offsets(target, wrong, group_id, version) for wrong in strangers(target, who)]

    unknown, fenced = ErrorCode.INVALID_PRODUCER_ID_MAPPING, old_epoch_error(version)
    expect_equal("the errors", errors, [unknown, unknown, fenced, fenced, ErrorCode.INVALID_REQUEST])
    expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, transaction_state="Empty", topics=[])


@check("T-32e", api=("AddOffsetsToTxn", *OFFSETS), versions="0-4")
def adding_a_group_begins_a_transaction(target: Target, version: int) -> None:
    """Given AddOffsetsToTxn, of any group, also "", no error, and the transaction is open, with a partition of __consumer_offsets in it; so again."""
    group_id = ready_group(target)

    for added in (group_id, ""):
        who = new_producer(target)
        for _ in range(2):
            expect_equal("the error", add_offsets(target, who, added, version), ErrorCode.NONE)
        state = described(target, who.transactional_id)
        expect(state, error_code=ErrorCode.NONE, transaction_state="Ongoing")
        expect_equal(
            "the topics of the transaction", [(one.topic, len(one.partitions)) for one in state.topics], [("__consumer_offsets", 1)]
        )
        abort(target, who)


@check("T-32f", api=("TxnOffsetCommit", *OFFSETS), versions="0-5")
def what_may_be_committed(target: Target, version: int) -> None:
    """Given metadata of 4097 characters, OFFSET_METADATA_TOO_LARGE, and nothing is pending; given null and an offset below 0, they are taken, as "" and
    as they are.
    """
    topic, group_id = target.new_topic(), ready_group(target)
    who = new_producer(target)
    add_offsets(target, who, group_id)

    too_large = commit_offset(target, who, group_id, topic, 7, version, metadata="x" * 4097)
    before = fetched(target, group_id, topic, require_stable=True)
    taken = commit_offset(target, who, group_id, topic, -5, version, metadata=None)
    commit(target, who)

    expect_equal("the error", too_large, ErrorCode.OFFSET_METADATA_TOO_LARGE)
    expect_equal("the offset before", before, NOTHING)
    expect_equal("the error of null", taken, ErrorCode.NONE)
    wait_for_stable_offset(target, group_id, topic, Offset(-5, NO_EPOCH, "", ErrorCode.NONE))


@check("T-23e", api=("TxnOffsetCommit", "ConsumerGroupHeartbeat", *OFFSETS), versions="3-5")
def a_consumer_commits_in_its_epoch(target: Target, version: int) -> None:
    """Given a member of a consumer group and its epoch, TxnOffsetCommit is taken; with another epoch, ILLEGAL_GENERATION; of an unknown member, or none
    with an epoch, UNKNOWN_MEMBER_ID; with neither, nothing is looked at. KIP-848.
    """
    topic = target.new_topic()
    member = member_of_all(target, topic)
    who = new_producer(target)
    add_offsets(target, who, member.group_id)
    stale, unknown = ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID
    expected = {
        (member.member_id, member.epoch): ErrorCode.NONE,
        (member.member_id, member.epoch + 1): stale,
        (member.member_id, member.epoch - 1): stale,
        (member.member_id, NO_GENERATION): stale,
        (NEVER_ISSUED, member.epoch): unknown,
        (NEVER_ISSUED, NO_GENERATION): unknown,
        ("", member.epoch): unknown,
        ("", NO_GENERATION): ErrorCode.NONE,
    }

    errors = {
        (member_id, epoch): commit_offset(target, who, member.group_id, topic, 7, version, member_id=member_id, generation_id=epoch)
        for member_id, epoch in expected
    }

    expect_equal("the errors", errors, expected)
    abort(target, who)


@check("T-32g", api=("AddOffsetsToTxn", *OFFSETS), versions="0-4")
def no_group_is_added_while_markers_are_written(target: Target, version: int) -> None:
    """Given AddOffsetsToTxn right behind an EndTxn, CONCURRENT_TRANSACTIONS until all markers are written, never success before."""
    topic, group_id = target.new_topic(partitions=20), ready_group(target)
    who = new_producer(target)
    add_partitions(target, who, [Part(topic.name, index) for index in range(topic.partitions)])
    ending = EndTxnRequest(
        transactional_id=who.transactional_id, producer_id=who.producer_id, producer_epoch=who.producer_epoch, committed=True
    )
    adding = AddOffsetsToTxnRequest(
        transactional_id=who.transactional_id, producer_id=who.producer_id, producer_epoch=who.producer_epoch, group_id=group_id
    )
    connection = target.connect()

    connection.send(ending, 4)
    connection.send(adding, version)
    expect(connection.receive(ending, 4), error_code=ErrorCode.NONE)
    error = connection.receive(adding, version).error_code

    expect_that(error in (ErrorCode.NONE, ErrorCode.CONCURRENT_TRANSACTIONS), f"it is added, or told to wait; the error is {error}")
    if error:
        eventually(lambda: add_offsets(target, who, group_id, version), lambda found: found == 0, "it is added")
    ends = [target.list_offsets(topic, partition=index).offset for index in range(topic.partitions)]
    expect_equal("the ends of the log", ends, [1] * topic.partitions)
    expect(described(target, who.transactional_id), transaction_state="Ongoing")
    abort(target, who)
