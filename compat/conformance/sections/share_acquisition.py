"""H: what a member of a share group acquires: from where it starts, how much, how often, and what it waits for."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.connection import NO_TAGS, raw_request
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.configs import Change
from pykbroker.compat.steps.share_members import (
    ACCEPT,
    ACKNOWLEDGING,
    BATCH_OPTIMISED,
    CLOSING,
    GAP,
    LOCK_OF_A_SECOND,
    READING,
    RECORD_LIMIT,
    REJECT,
    RELEASE,
    SHORT_LOCKS,
    Acknowledged,
    Acquired,
    Batch,
    ShareMember,
    acquired,
    configured_group,
    expect_part,
    fetched_part,
    reader,
    second,
    share_group,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.target import PATIENCE_S, Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ShareFetchRequest
from pykbroker.protocol.records import batches

SHARE_FETCH = 78
LATEST_FIRST = Change("share.auto.offset.reset", "latest")
HUNDRED_LOCKS = Change("share.partition.max.record.locks", "100")
COMMITTED_ONLY = Change("share.isolation.level", "read_committed")
SIXTY = [b"value"] * 60


# -- where it starts ---------------------------------------------------------------------------------------------


@check("H-03a", api=READING, versions="1-2")
def a_new_share_group_starts_at_the_latest_record(target: Target, version: int) -> None:
    """Given records 0-2 and a share group without a config, none of them is delivered; what is appended later is. KIP-932."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    member = ShareMember(target, configured_group(target), topic).join()

    deadline = time.monotonic() + PATIENCE_S
    found: list[Acquired] = []
    while not found:
        expect_that(time.monotonic() < deadline, "records appended after the group read first are delivered")
        answer = member.fetch(version=version, max_wait_ms=200)
        expect(answer, error_code=ErrorCode.NONE)
        found = acquired(answer, topic)
        if not found:
            target.produce(topic, [b"later"])

    expect_that(found[0].first_offset >= 3, f"nothing of what was there before is acquired; {found}")


@check("H-03b", api=READING, versions="1-2")
def share_auto_offset_reset_earliest_starts_at_the_first_record(target: Target, version: int) -> None:
    """Given records 0-2 and the group config share.auto.offset.reset=earliest, the records come, acquired for the first time. KIP-932."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b", b"c"])
    member = ShareMember(target, share_group(target), topic).join()

    found = member.acquire(version=version)

    expect_equal("acquired records", found, [Acquired(0, 2, 1)])


@check("H-03c", api=READING, versions="1-2")
def share_auto_offset_reset_by_duration_starts_at_that_age(target: Target, version: int) -> None:
    """Given a record of two hours ago and one of now, by_duration:PT1H starts at the second. KIP-932."""
    topic = target.new_topic()
    target.produce(topic, [b"old"], timestamp=int(time.time() * 1000) - 2 * 3_600_000)
    target.produce(topic, [b"new"])
    member = ShareMember(target, share_group(target, Change("share.auto.offset.reset", "by_duration:PT1H")), topic).join()

    found = member.acquire(version=version)

    expect_equal("acquired records", found, [Acquired(1, 1, 1)])


@check("H-03d", api=READING, versions="1-2")
def acquired_records_come_with_their_batches(target: Target, version: int) -> None:
    """Given acquired records, the answer has their batches as they stand in the log, how long they are locked (from v1 on), and no leader. KIP-932."""
    member = reader(target, b"a", b"b")
    topic = member.topics[0]
    deadline = time.monotonic() + PATIENCE_S
    answer = member.fetch(version=version, max_wait_ms=200)
    while not acquired(answer, topic):
        expect(answer, error_code=ErrorCode.NONE)
        expect_that(time.monotonic() < deadline, "records are acquired")
        answer = member.fetch(version=version, max_wait_ms=200)

    part = fetched_part(answer, topic)

    expect(answer, acquisition_lock_timeout_ms=30_000, node_endpoints=[])
    expect(part, error_code=ErrorCode.NONE, error_message=None, acknowledge_error_code=ErrorCode.NONE, acknowledge_error_message=None)
    expect(part.current_leader, leader_id=0, leader_epoch=0)
    values = [record.value for batch in batches(part.records or b"") for record in batch.records()]
    expect_equal("values", [bytes(value or b"") for value in values], [b"a", b"b"])


# -- whose they are ----------------------------------------------------------------------------------------------


@check("H-07", api=ACKNOWLEDGING, versions="1-2")
def acquired_records_are_nobody_elses(target: Target, version: int) -> None:
    """Given records acquired by one member, another is given none until they are released; then it has them, delivered for the second time."""
    first = reader(target, b"a", b"b")
    expect_equal("acquired records", first.acquire(), [Acquired(0, 1, 1)])
    other = second(first)
    other.expect_nothing(version=version)
    part = fetched_part(other.fetch(version=version, share_session_epoch=0, max_wait_ms=100), other.topics[0])
    expect(part, error_code=ErrorCode.NONE, acquired_records=[])

    first.settle(Batch(0, 1, [RELEASE]))

    expect_equal("acquired records", other.acquire(version=version), [Acquired(0, 1, 2)])


@check("H-08a", api=ACKNOWLEDGING, versions="1-2", needs=SHORT_LOCKS)
def records_come_back_when_their_lock_expires(target: Target, version: int) -> None:
    """Given a record lock of one second, the record comes again after it, delivery_count one higher, and is the other member's then. KIP-932."""
    first = reader(target, b"a", configs=[LOCK_OF_A_SECOND])
    other = second(first)
    expect_equal("acquired records", first.acquire(), [Acquired(0, 0, 1)])
    acquired_at = time.monotonic()

    again = other.acquire(version=version, max_wait_ms=2000)

    expect_equal("acquired records", again, [Acquired(0, 0, 2)])
    expect_that(time.monotonic() - acquired_at > 0.8, "the lock holds for a second")
    late = first.acknowledge(Batch(0, 0), version=version)
    expect_part(late, ErrorCode.INVALID_RECORD_STATE)


@check("H-08b", api=ACKNOWLEDGING, versions="1-2")
def a_record_is_delivered_no_more_often_than_the_limit(target: Target, version: int) -> None:
    """Given a record that is released each time, delivery_count goes from 1 to 5 (share.delivery.count.limit); then it is archived for good."""
    member = reader(target, b"poison")
    for delivery_count in range(1, 6):
        expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 0, delivery_count)])
        member.settle(Batch(0, 0, [RELEASE]), version=version)
    target.produce(member.topics[0], [b"next"])

    after = member.acquire(version=version)

    expect_equal("acquired records", after, [Acquired(1, 1, 1)])
    member.expect_nothing(version=version)


@check("H-08c", api=ACKNOWLEDGING, versions="1-2", needs=SHORT_LOCKS)
def a_record_whose_lock_expires_at_the_limit_is_archived(target: Target, version: int) -> None:
    """Given share.delivery.count.limit=2 and two expired locks, the record is never delivered again."""
    member = reader(target, b"poison", configs=[LOCK_OF_A_SECOND, Change("share.delivery.count.limit", "2")])
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 0, 1)])
    expect_equal("acquired records", member.acquire(version=version, max_wait_ms=2000), [Acquired(0, 0, 2)])

    member.expect_nothing(version=version, max_wait_ms=1500)

    target.produce(member.topics[0], [b"next"])
    expect_equal("acquired records", member.acquire(version=version), [Acquired(1, 1, 1)])


@check("H-08d", api=ACKNOWLEDGING, versions="1-2")
def a_batch_near_the_limit_is_delivered_in_halves_and_then_one_by_one(target: Target, version: int) -> None:
    """Given a batch of eight, delivered three times of five, the fourth delivery is of halves, the fifth of single records. New in 4.3 (KAFKA-19883)."""
    member = reader(target, *[b"value"] * 8)
    for delivery_count in range(1, 4):
        expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 7, delivery_count)])
        member.settle(Batch(0, 7, [RELEASE]), version=version)

    halves = [member.acquire(version=version), member.acquire(version=version)]
    member.settle(Batch(0, 3, [RELEASE]), Batch(4, 7, [RELEASE]), version=version)
    singles = [member.acquire(version=version) for _ in range(8)]

    expect_equal("the fourth delivery", halves, [[Acquired(0, 3, 4)], [Acquired(4, 7, 4)]])
    expect_equal("the fifth delivery", singles, [[Acquired(offset, offset, 5)] for offset in range(8)])


# -- how much ----------------------------------------------------------------------------------------------------


@check("H-16a", api=ACKNOWLEDGING, versions="1-2")
def no_more_is_acquired_once_the_partition_has_enough_locks(target: Target, version: int) -> None:
    """Given share.partition.max.record.locks=100 and batches of 60, two batches are acquired, and none more until fewer than 100 are in flight."""
    member = reader(target, *SIXTY, batches=4, configs=[HUNDRED_LOCKS])
    taken = member.acquire(version=version, max_records=60)
    taken += member.acquire(version=version, max_records=60)
    expect_equal("acquired records", taken, [Acquired(0, 59, 1), Acquired(60, 119, 1)])
    member.expect_nothing(version=version)
    member.settle(Batch(0, 19), version=version)
    member.expect_nothing(version=version)

    member.settle(Batch(20, 20), version=version)

    expect_equal("acquired records", member.acquire(version=version, max_records=60), [Acquired(120, 179, 1)])


@check("H-16b", api=READING, versions="1-2")
def whole_batches_are_acquired_where_fewer_records_were_asked_for(target: Target, version: int) -> None:
    """Given max_records=10 and batches of 60 in the batch-optimised mode, the whole first batch is acquired. KIP-1206."""
    member = reader(target, *SIXTY, batches=2)

    found = member.acquire(version=version, max_records=10, batch_size=10)

    expect_equal("first_offset", found[0].first_offset, 0)
    expect_equal("last_offset", found[-1].last_offset, 59)


@check("H-16c", api=READING, versions="2")
def the_record_limit_mode_acquires_exactly_as_many(target: Target, version: int) -> None:
    """Given max_records=10 and share_acquire_mode=1, records 0-9 of a batch of 60 are acquired, then 10-19. KIP-1206, v2."""
    member = reader(target, *SIXTY)

    found = [member.acquire(version=version, max_records=10, share_acquire_mode=RECORD_LIMIT) for _ in range(2)]

    expect_equal("acquired records", found, [[Acquired(0, 9, 1)], [Acquired(10, 19, 1)]])


@check("H-16d", api=READING, versions="1-2")
def batch_size_divides_what_is_acquired_into_runs(target: Target, version: int) -> None:
    """Given batches of ten and batch_size=10, each run of acquired records is one batch; nothing is left out between them. KIP-932."""
    member = reader(target, *[b"value"] * 10, batches=3)

    found = member.acquire(version=version, max_records=30, batch_size=10)

    expect_equal("acquired records", found, [Acquired(0, 9, 1), Acquired(10, 19, 1), Acquired(20, 29, 1)])


# -- transactions ------------------------------------------------------------------------------------------------


def _aborted_and_committed(target: Target, *configs: Change) -> ShareMember:
    """A reader of a partition with two aborted records (0-1), their marker (2) and a record that stands (3)."""
    topic = target.new_topic()
    transaction = Transaction(target)
    transaction.produce(topic, [b"aborted", b"aborted"])
    transaction.end(topic, committed=False)
    target.produce(topic, [b"stands"])
    return ShareMember(target, share_group(target, *configs), topic).join()


@check("H-15a", api=(*READING, *TRANSACTIONS), versions="1-2")
def aborted_records_are_delivered_unless_told_otherwise(target: Target, version: int) -> None:
    """Given aborted records and no share.isolation.level, all of 0-3 is acquired, the marker's offset too, which is acknowledged as a gap."""
    member = _aborted_and_committed(target)

    found = member.acquire(version=version)

    expect_equal("first_offset", found[0].first_offset, 0)
    expect_equal("last_offset", found[-1].last_offset, 3)
    answer = member.acknowledge(Batch(0, 3, [ACCEPT, ACCEPT, GAP, ACCEPT]), version=version)
    expect_part(answer, ErrorCode.NONE)


@check("H-15b", api=(*READING, *TRANSACTIONS), versions="1-2")
def aborted_records_are_archived_where_only_committed_ones_are_read(target: Target, version: int) -> None:
    """Given aborted records and share.isolation.level=read_committed, 2-3 is acquired: the marker and the record that stands. KIP-932."""
    member = _aborted_and_committed(target, COMMITTED_ONLY)

    found = member.acquire(version=version)

    expect_equal("first_offset", found[0].first_offset, 2)
    expect_equal("last_offset", found[-1].last_offset, 3)
    member.settle(Batch(2, 3, [GAP, ACCEPT]), version=version)
    member.expect_nothing(version=version)


@check("H-15c", api=(*READING, *TRANSACTIONS), versions="1-2")
def open_transactions_are_waited_for_where_only_committed_records_are_read(target: Target, version: int) -> None:
    """Given share.isolation.level=read_committed and a transaction still open, nothing is acquired until it is committed. KIP-932."""
    topic = target.new_topic()
    member = ShareMember(target, share_group(target, COMMITTED_ONLY), topic).join()
    target.produce(topic, [b"before"])
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 0, 1)])
    transaction = Transaction(target)
    transaction.produce(topic, [b"pending"])
    member.expect_nothing(version=version)

    transaction.end(topic, committed=True)

    expect_equal("first_offset", member.acquire(version=version)[0].first_offset, 1)


# -- what it waits for -------------------------------------------------------------------------------------------


@check("H-25a", api=ACKNOWLEDGING, versions="1-2")
def a_waiting_share_fetch_is_woken_by_an_append(target: Target, version: int) -> None:
    """Given a ShareFetch that waits for up to 20 s, a record appended meanwhile is answered at once. KIP-932."""
    member = reader(target, b"a")
    member.acquire()
    waiting = member.send_fetch(version=version, max_wait_ms=20_000)
    expect_that(member.connection.is_silent(), "a ShareFetch waits while there is nothing")
    started = time.monotonic()

    target.produce(member.topics[0], [b"b"])
    answer = member.fetched(waiting, version=version)

    expect_equal("acquired records", acquired(answer, member.topics[0]), [Acquired(1, 1, 1)])
    expect_that(time.monotonic() - started < 5, "it is answered long before max_wait_ms")


@check("H-25b", api=ACKNOWLEDGING, versions="1-2")
def a_waiting_share_fetch_has_what_is_released_meanwhile(target: Target, version: int) -> None:
    """Given a ShareFetch that waits for up to two seconds, what another member releases meanwhile is in its answer (4.3 gives it at the end of the wait)."""
    holder = reader(target, b"a")
    holder.acquire()
    member = second(holder)
    member.expect_nothing(version=version)
    waiting = member.send_fetch(version=version, max_wait_ms=2000)
    expect_that(member.connection.is_silent(), "a ShareFetch waits while all is acquired")

    holder.settle(Batch(0, 0, [RELEASE]))
    answer = member.fetched(waiting, version=version)

    expect_equal("acquired records", acquired(answer, member.topics[0]), [Acquired(0, 0, 2)])


@check("H-25c", api=READING, versions="1-2")
def a_share_fetch_that_finds_nothing_is_answered_after_its_wait(target: Target, version: int) -> None:
    """Given nothing new in a session, a ShareFetch with max_wait_ms=500 is answered after those, with no responses. KIP-932."""
    member = reader(target, b"a")
    member.acquire()
    started = time.monotonic()

    answer = member.fetch(version=version, max_wait_ms=500)

    expect(answer, error_code=ErrorCode.NONE, responses=[])
    expect_that(time.monotonic() - started > 0.45, "it waits for max_wait_ms")
    expect_equal("the epoch of the next request is accepted", member.fetch(version=version).error_code, ErrorCode.NONE)


# -- what is asked wrongly ---------------------------------------------------------------------------------------


@check("H-19", api="ShareFetch")
def share_fetch_version_0_is_left_unanswered(target: Target) -> None:
    """Given a ShareFetch in version 0, that of the early access, the connection is closed, on which version 1 was answered. KIP-932."""
    connection = target.connect()
    known = connection.ask(ShareFetchRequest(group_id="a-group", member_id=""), 1)
    expect(known, error_code=ErrorCode.INVALID_REQUEST)

    connection.send_bytes(raw_request(SHARE_FETCH, 0, bytes(9), tags=NO_TAGS))

    expect_that(connection.is_closed(), "the connection is closed")


@check("H-20a", api=READING, versions="1-2")
def an_unknown_topic_id_in_share_fetch_fails_the_request(target: Target, version: int) -> None:
    """Given a topic id that nobody has in a ShareFetch, the whole of it is answered UNKNOWN_SERVER_ERROR without a message (as 4.3 does)."""
    member = reader(target, b"a")
    nowhere = member.topics[0]._replace(topic_id=bytes(range(1, 17)))
    lost = ShareMember(target, member.group_id, nowhere)

    answer = lost.fetch(version=version)

    expect(answer, error_code=ErrorCode.UNKNOWN_SERVER_ERROR, error_message=None, responses=[])


@check("H-20b", api=READING, versions="1-2")
def an_unknown_partition_in_share_fetch_leaves_the_others_alone(target: Target, version: int) -> None:
    """Given partitions 0 and 7 of a topic with one, 7 is answered UNKNOWN_TOPIC_OR_PARTITION and 0 is served."""
    member = reader(target, b"a")
    member.partitions = (0, 7)
    topic = member.topics[0]
    deadline = time.monotonic() + PATIENCE_S
    answer = member.fetch(version=version, max_wait_ms=100)
    while not acquired(answer, topic):
        expect(answer, error_code=ErrorCode.NONE)
        expect(fetched_part(answer, topic, 7), error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        expect_that(time.monotonic() < deadline, "partition 0 is served")
        answer = member.fetch(version=version, max_wait_ms=100, share_session_epoch=0)

    expect(answer, error_code=ErrorCode.NONE)
    expect(fetched_part(answer, topic, 7), error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, acquired_records=[])
    expect_equal("acquired records", acquired(answer, topic), [Acquired(0, 0, 1)])


@check("H-21a", api=READING, versions="2")
def an_unknown_share_acquire_mode_is_no_request(target: Target, version: int) -> None:
    """Given share_acquire_mode 2 or -1, the answer is UNKNOWN_SERVER_ERROR (as 4.3 does); the session's epoch has advanced. KIP-1206, v2."""
    for mode in (2, -1):
        member = reader(target, b"a")
        member.acquire()

        answer = member.fetch(version=version, share_acquire_mode=mode)

        expect(answer, error_code=ErrorCode.UNKNOWN_SERVER_ERROR, responses=[])
        expect(member.fetch(version=version), error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH)
        member.session_epoch += 1
        expect(member.fetch(version=version), error_code=ErrorCode.NONE)


@check("H-21b", api=READING, versions="1-2")
def share_fetch_names_its_group_and_its_member(target: Target, version: int) -> None:
    """Given a null group id, a null member id or an empty one, ShareFetch is answered INVALID_REQUEST."""
    member = reader(target, b"a")

    for field, value in (("group_id", None), ("member_id", None), ("member_id", "")):
        answer = member.fetch(version=version, **{field: value})
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=None, responses=[])


@check("H-21c", api=READING, versions="1-2")
def share_fetch_does_not_look_at_an_empty_group_id(target: Target, version: int) -> None:
    """Given an empty group id, ShareFetch opens a session and answers no records."""
    member = reader(target, b"a")

    answer = member.fetch(version=version, group_id="")

    expect(answer, error_code=ErrorCode.NONE)
    expect_equal("acquired records", acquired(answer, member.topics[0]), [])
    expect(member.fetch(version=version, group_id=""), error_code=ErrorCode.NONE)
    expect(member.fetch(version=version, group_id="", share_session_epoch=9), error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH)


@check("H-23b", api=ACKNOWLEDGING, versions="1-2")
def share_fetch_accepts_no_records_at_all(target: Target, version: int) -> None:
    """Given max_records 0 or -1, ShareFetch is answered NONE with nothing acquired; the record is still there for the next one."""
    member = reader(target, b"a")
    expect_equal("acquired records", member.acquire(), [Acquired(0, 0, 1)])
    member.settle(Batch(0, 0, [RELEASE]))

    for max_records in (0, -1):
        answer = member.fetch(version=version, max_records=max_records)
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("acquired records", acquired(answer, member.topics[0]), [])

    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 0, 2)])


@check("H-14", api=READING, versions="1-2")
def records_of_a_connection_that_is_gone_are_released(target: Target, version: int) -> None:
    """Given a member whose connection breaks, its session is closed and what it acquired comes to others, delivered once more. KIP-932."""
    gone = reader(target, b"a", b"b")
    expect_equal("acquired records", gone.acquire(version=version), [Acquired(0, 1, 1)])
    other = second(gone)
    other.expect_nothing(version=version)

    gone.connection.close()

    expect_equal("acquired records", other.acquire(version=version), [Acquired(0, 1, 2)])


@check("H-07b", api=ACKNOWLEDGING, versions="1-2")
def what_was_accepted_or_rejected_is_never_delivered_again(target: Target, version: int) -> None:
    """Given records accepted, rejected and released, only the released one comes again, also to a member that comes later. KIP-932."""
    member = reader(target, b"a", b"b", b"c")
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 2, 1)])

    member.settle(Batch(0, 2, [ACCEPT, RELEASE, REJECT]), version=version)

    expect_equal("acquired records", member.acquire(version=version), [Acquired(1, 1, 2)])
    answer = member.fetch([Acknowledged(member.topics[0], [Batch(1, 1)])], version=version, share_session_epoch=CLOSING)
    expect(answer, error_code=ErrorCode.NONE)
    later = second(member)
    target.produce(member.topics[0], [b"d"])
    expect_equal("acquired records", later.acquire(version=version, share_acquire_mode=BATCH_OPTIMISED), [Acquired(3, 3, 1)])
