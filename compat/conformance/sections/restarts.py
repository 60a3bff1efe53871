"""FS, G, I, T, X: what is still there when a broker comes back, after it was stopped and after it was killed."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal
from pykbroker.compat.steps.batches import batch_at
from pykbroker.compat.steps.classic_members import NEVER_ISSUED, Participant, expect_state, ready_group, stable
from pykbroker.compat.steps.log_requests import Wanted, fetch_request
from pykbroker.compat.steps.offset_requests import offsets_of
from pykbroker.compat.steps.share_members import ACKNOWLEDGING, RELEASE, Batch, ShareMember, reader
from pykbroker.compat.steps.transaction_requests import described as described_transaction
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction, last_stable_offset
from pykbroker.compat.switch import RESTARTS
from pykbroker.compat.target import LATEST, Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateTopicsRequest, DescribeConfigsRequest

CLASSIC = ("JoinGroup", "SyncGroup", "Heartbeat", "DescribeGroups", "OffsetCommit", "OffsetFetch")
FULL, NEXT = 0, 1
LONG_SESSION_MS = 60_000
TOPIC = 2


def is_ready(target: Target, topic: Topic) -> None:
    """A broker that comes back leads its partitions after a moment only (W-27)."""
    target.wait_for_leaders(topic.name, topic.partitions)


# -- records and topics ------------------------------------------------------------------------------------------


@check("X-03a", api=("Produce", "Fetch", "ListOffsets", "Metadata", "DescribeConfigs", "CreateTopics"), needs=RESTARTS, alone=True)
def a_killed_broker_has_what_it_acknowledged(target: Target) -> None:
    """Given a topic with a config of its own and acknowledged records in two partitions, and a broker that is killed and comes back, the topic has its
    id, its partitions, its config, and just those records at their offsets, and takes the next one behind them.
    """
    topic = target.new_topic(partitions=2, retention_ms="7200000")
    for number in range(20):
        target.produce(topic, [b"value %d" % number], partition=number % 2)
    before = [target.records(topic, partition) for partition in range(2)]

    target.crash()

    is_ready(target, topic)
    found = target.metadata(topic.name).topics[0]
    expect(found, error_code=ErrorCode.NONE, topic_id=topic.topic_id)
    expect_equal("the number of partitions", len(found.partitions), 2)
    wanted = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=TOPIC, resource_name=topic.name, configuration_keys=["retention.ms"]
    )
    configs = target.ask_newest(DescribeConfigsRequest(resources=[wanted]), 4)
    expect(configs.results[0].configs[0], value="7200000")
    for partition in range(2):
        expect_equal(f"the records of partition {partition}", target.records(topic, partition), before[partition])
        expect_equal("the offset of the next record", target.produce(topic, partition=partition), 10)


@check("X-03b", api=("Produce", "Metadata", "CreateTopics", "DeleteTopics"), needs=RESTARTS, alone=True)
def a_deleted_topic_stays_deleted(target: Target) -> None:
    """Given a topic with a record that is deleted and made again, and a broker that is killed and comes back, the topic is the new one, and empty."""
    first = target.new_topic()
    target.produce(first)
    target.delete_topic(first.name)
    made = target.ask_newest(CreateTopicsRequest(topics=[target.led_here(first.name)], timeout_ms=10_000), 7)
    expect(made.topics[0], error_code=ErrorCode.NONE)
    second = first._replace(topic_id=target.topic_id_of(made.topics[0]))

    target.crash()

    is_ready(target, second)
    expect(target.metadata(first.name).topics[0], error_code=ErrorCode.NONE, topic_id=second.topic_id)
    expect_equal("the records", target.records(second), [])


@check("FS-05b", api="Fetch", needs=RESTARTS, alone=True)
def a_session_ends_with_its_broker(target: Target) -> None:
    """Given a session, and a broker that is restarted, its next Fetch is FETCH_SESSION_ID_NOT_FOUND without a session id."""
    topic = target.new_topic()
    session = target.ask_newest(fetch_request([Wanted(topic)], session_epoch=FULL), 12)

    target.restart()

    is_ready(target, topic)
    answer = target.ask_newest(fetch_request([], session_id=session.session_id, session_epoch=NEXT), 12)
    expect(answer, error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND, session_id=0, responses=[])


def with_three_batches(target: Target) -> Topic:
    """A topic with three batches of one producer."""
    topic = target.new_topic()
    for sequence in range(3):
        expect(target.produce_batch(topic, batch_at(sequence)), error_code=ErrorCode.NONE, base_offset=sequence)
    return topic


@check("I-14", api="Produce", needs=RESTARTS, alone=True)
def a_producers_last_batch_is_known_after_a_restart(target: Target) -> None:
    """Given three batches of a producer, and a broker that is stopped and comes back, the last one sent again answers its offset, the one before is
    OUT_OF_ORDER_SEQUENCE_NUMBER, and the next sequence is appended behind them.
    """
    topic = with_three_batches(target)

    target.restart()

    is_ready(target, topic)
    expect(target.produce_batch(topic, batch_at(2)), error_code=ErrorCode.NONE, base_offset=2)
    expect(target.produce_batch(topic, batch_at(1)), error_code=ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    expect(target.produce_batch(topic, batch_at(3)), error_code=ErrorCode.NONE, base_offset=3)


@check("I-14b", api="Produce", needs=RESTARTS, alone=True)
def a_producers_last_batch_is_known_after_a_crash(target: Target) -> None:
    """Given three batches of a producer, and a broker that is killed and comes back, the last one sent again answers its offset, and the next
    sequence is appended behind it.
    """
    topic = with_three_batches(target)

    target.crash()

    is_ready(target, topic)
    expect(target.produce_batch(topic, batch_at(2)), error_code=ErrorCode.NONE, base_offset=2)
    expect(target.produce_batch(topic, batch_at(3)), error_code=ErrorCode.NONE, base_offset=3)


# -- groups ------------------------------------------------------------------------------------------------------


def remembered_group(target: Target) -> tuple[Topic, Participant, Participant]:
    """A stable group of a leader and a static member, with a committed offset."""
    topic, group_id = target.new_topic(), ready_group(target)
    leader = Participant(target, group_id, session_timeout_ms=LONG_SESSION_MS)
    static = Participant(target, group_id, instance_id="static", session_timeout_ms=LONG_SESSION_MS)
    stable(target, leader, static)
    expect_equal("the error of OffsetCommit", leader.commit(topic, 7), ErrorCode.NONE)
    return topic, leader, static


def expect_as_before(target: Target, topic: Topic, leader: Participant, static: Participant) -> None:
    """The group goes on as if nothing had been."""
    target.wait_for_coordinator(leader.group_id)
    expect_state(target, leader.group_id, "Stable")
    for member, assignment in ((leader, b"for 0"), (static, b"for 1")):
        member.connection = target.connect()
        expect(member.heartbeat(), error_code=ErrorCode.NONE)
        expect(member.sync(), error_code=ErrorCode.NONE, assignment=assignment)
    expect_equal("the committed offset", offsets_of(target, leader.group_id, topic)[0].committed_offset, 7)


@check("G-40a", api=CLASSIC, needs=RESTARTS, alone=True)
def a_group_goes_on_after_a_restart(target: Target) -> None:
    """Given a stable group with a static member and a commit, and a broker that is stopped and comes back, the group is stable in the same generation:
    heartbeats are NONE, SyncGroup answers each its assignment, the offset is there.
    """
    topic, leader, static = remembered_group(target)

    target.restart()

    expect_as_before(target, topic, leader, static)


@check("G-40b", api=CLASSIC, needs=RESTARTS, alone=True)
def a_group_goes_on_after_a_crash(target: Target) -> None:
    """Given the same and a broker that is killed, the same."""
    topic, leader, static = remembered_group(target)

    target.crash()

    expect_as_before(target, topic, leader, static)


@check("G-40c", api=CLASSIC, needs=RESTARTS, alone=True)
def a_member_id_that_nobody_joined_with_is_forgotten(target: Target) -> None:
    """Given a member id that MEMBER_ID_REQUIRED gave out, and a broker that is restarted, JoinGroup with it is UNKNOWN_MEMBER_ID, as with one that was
    never given out. KIP-394.
    """
    topic, leader, _ = remembered_group(target)
    pending = Participant(target, leader.group_id)
    given = pending.be_given_an_id()

    target.restart()

    is_ready(target, topic)
    target.wait_for_coordinator(leader.group_id)
    pending.connection = target.connect()
    for member_id in (given, NEVER_ISSUED):
        expect(pending.try_to_join(member_id=member_id), error_code=ErrorCode.UNKNOWN_MEMBER_ID)


@check("G-40d", api=ACKNOWLEDGING, needs=RESTARTS, alone=True)
def acquired_records_come_back_after_a_crash(target: Target) -> None:
    """Given a share group that released records 0-2 once, accepted 0 and acquired the others again, and a broker that is killed and comes back, the
    session is SHARE_SESSION_NOT_FOUND, and records 1-2 are acquired with the delivery count that they had. KIP-932.
    """
    member = reader(target, b"a", b"b", b"c")
    member.acquire()
    member.settle(Batch(0, 2, [RELEASE]))
    again = member.acquire()
    member.settle(Batch(0, 0))

    target.crash()

    is_ready(target, member.topics[0])
    member.connection = target.connect()
    lost = eventually(member.fetch, lambda answer: answer.error_code != ErrorCode.NOT_COORDINATOR, "the broker has share groups again")
    expect(lost, error_code=ErrorCode.SHARE_SESSION_NOT_FOUND)
    anew = ShareMember(target, member.group_id, *member.topics).join()
    found = anew.acquire()
    expect_equal("the delivery counts of before", {one.delivery_count for one in again}, {2})
    expect_equal("what is acquired", [(one.first_offset, one.last_offset, one.delivery_count) for one in found], [(1, 2, 2)])


# -- transactions ------------------------------------------------------------------------------------------------


@check("T-35", api=(*TRANSACTIONS, "Produce", "ListOffsets", "DescribeTransactions"), needs=RESTARTS, alone=True)
def an_open_transaction_is_open_after_a_restart(target: Target) -> None:
    """Given an open transaction with a record, and a broker that is restarted, it is Ongoing, the last stable offset is where it began, and its producer
    commits it. KIP-98.
    """
    topic = target.new_topic()
    transaction = Transaction(target)
    transaction.produce(topic)

    target.restart()

    is_ready(target, topic)
    eventually(
        lambda: described_transaction(target, transaction.transactional_id),
        lambda found: (found.error_code, found.transaction_state) == (ErrorCode.NONE, "Ongoing"),
        "the transaction is Ongoing",
    )
    expect_equal("the last stable offset", last_stable_offset(target, topic), 0)
    expect_equal("the end of the log", target.list_offsets(topic, timestamp=LATEST).offset, 1)
    transaction.end(topic, committed=True)
    eventually(lambda: last_stable_offset(target, topic), lambda offset: offset == 2, "the last stable offset is behind the marker")
