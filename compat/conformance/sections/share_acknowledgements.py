"""H: acknowledging what was acquired: accept, release, reject, renew; whose it is, and what makes no sense."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.share_members import (
    ACCEPT,
    ACKNOWLEDGING,
    GAP,
    LOCK_OF_A_SECOND,
    READING,
    REJECT,
    RELEASE,
    RENEW,
    SHORT_LOCKS,
    Acknowledged,
    Acquired,
    Batch,
    ShareMember,
    acquired,
    expect_part,
    fetched_part,
    reader,
    second,
)
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode

IN_FETCH = {"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 0, "max_records": 0, "is_renew_ack": True}
"""A ShareFetch that renews asks for nothing else."""


def _with_four(target: Target) -> ShareMember:
    """A member that acquired records 0-3."""
    member = reader(target, b"a", b"b", b"c", b"d")
    expect_equal("acquired records", member.acquire(), [Acquired(0, 3, 1)])
    return member


# -- types -------------------------------------------------------------------------------------------------------


@check("H-09a", api=ACKNOWLEDGING, versions="1-2")
def records_are_accepted_released_and_rejected_one_by_one(target: Target, version: int) -> None:
    """Given a type for each of four records, accept, release, reject and gap, only the released one is delivered again. KIP-932."""
    member = _with_four(target)

    answer = member.acknowledge(Batch(0, 3, [ACCEPT, RELEASE, REJECT, GAP]), version=version)

    expect(answer, error_code=ErrorCode.NONE, error_message=None, node_endpoints=[])
    expect_part(answer, ErrorCode.NONE, partition_index=0, error_message=None)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(1, 1, 2)])
    member.expect_nothing(version=version)


@check("H-09b", api=("ShareFetch", *ACKNOWLEDGING), versions="1-2")
def a_share_fetch_acknowledges_before_it_reads(target: Target, version: int) -> None:
    """Given a ShareFetch that releases records, acknowledge_error_code is NONE, and the same request, or the next, acquires them again. KIP-932."""
    member = _with_four(target)

    answer = member.fetch([Acknowledged(member.topics[0], [Batch(0, 1), Batch(2, 3, [RELEASE])])], version=version)

    expect(answer, error_code=ErrorCode.NONE)
    part = fetched_part(answer, member.topics[0])
    expect(part, error_code=ErrorCode.NONE, acknowledge_error_code=ErrorCode.NONE, acknowledge_error_message=None)
    found = acquired(answer, member.topics[0]) or member.acquire(version=version)
    expect_equal("acquired records", found, [Acquired(2, 3, 2)])


@check("H-09c", api=ACKNOWLEDGING, versions="1-2")
def an_unknown_acknowledge_type_is_refused_in_its_partition(target: Target, version: int) -> None:
    """Given a type below 0, above 3 in v1, above 4 in v2, or renew without is_renew_ack: INVALID_REQUEST in the partition; the epoch advances. KIP-932."""
    member = _with_four(target)

    for kind in (-1, RENEW, RENEW + 1, 9):
        answer = member.acknowledge(Batch(0, 3, [kind]), version=version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_part(answer, ErrorCode.INVALID_REQUEST, error_message=None)

    member.settle(Batch(0, 3), version=version)


@check("H-09d", api=("ShareFetch", *ACKNOWLEDGING), versions="1-2")
def an_unknown_acknowledge_type_in_share_fetch_does_not_stop_its_reading(target: Target, version: int) -> None:
    """Given a wrong type in a ShareFetch, acknowledge_error_code is INVALID_REQUEST, error_code NONE, and the session goes on. KIP-932."""
    member = _with_four(target)

    for kind in (-1, RENEW, 9):
        answer = member.fetch([Acknowledged(member.topics[0], [Batch(0, 3, [kind])])], version=version)
        expect(answer, error_code=ErrorCode.NONE)
        part = fetched_part(answer, member.topics[0])
        expect(part, error_code=ErrorCode.NONE, acknowledge_error_code=ErrorCode.INVALID_REQUEST, acquired_records=[])

    member.settle(Batch(0, 3), version=version)


@check("H-09e", api=ACKNOWLEDGING, versions="2", needs=SHORT_LOCKS)
def renewed_records_stay_locked(target: Target, version: int) -> None:
    """Given a lock of one second that is renewed (type 4, is_renew_ack) each half second, the records do not expire; accept counts later. KIP-1222, v2."""
    member = reader(target, b"a", b"b", configs=[LOCK_OF_A_SECOND])
    other = second(member)
    member.acquire()

    for _ in range(3):
        other.expect_nothing(version=version, max_wait_ms=500)
        answer = member.acknowledge(Batch(0, 1, [RENEW]), version=version, is_renew_ack=True)
        expect(answer, error_code=ErrorCode.NONE, acquisition_lock_timeout_ms=1000)
        expect_part(answer, ErrorCode.NONE)

    answer = member.acknowledge(Batch(0, 0, [RENEW]), Batch(1, 1), version=version, is_renew_ack=True)
    expect_part(answer, ErrorCode.NONE)
    expect_equal("acquired records", other.acquire(version=version), [Acquired(0, 0, 2)])


@check("H-09f", api=ACKNOWLEDGING, versions="2")
def accepting_works_where_renewing_is_allowed(target: Target, version: int) -> None:
    """Given is_renew_ack with accept and release only, they work as ever. KIP-1222, v2."""
    member = _with_four(target)

    answer = member.acknowledge(Batch(0, 3, [ACCEPT, RELEASE, ACCEPT, ACCEPT]), version=version, is_renew_ack=True)

    expect_part(answer, ErrorCode.NONE)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(1, 1, 2)])


# -- ranges ------------------------------------------------------------------------------------------------------


@check("H-10a", api=ACKNOWLEDGING, versions="1-2")
def ranges_that_make_no_sense_are_refused_in_their_partition(target: Target, version: int) -> None:
    """Given first after last, batches out of order, too few types, too many, or none: INVALID_REQUEST in the partition, nothing is applied. KIP-932."""
    member = _with_four(target)

    for batches in (
        [Batch(3, 0)],
        [Batch(2, 3), Batch(0, 1)],
        [Batch(0, 2), Batch(1, 3)],
        [Batch(0, 3, [ACCEPT, ACCEPT])],
        [Batch(0, 1, [ACCEPT, ACCEPT, ACCEPT])],
        [Batch(0, 3, [])],
    ):
        answer = member.acknowledge(*batches, version=version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_part(answer, ErrorCode.INVALID_REQUEST, error_message=None)

    member.settle(Batch(0, 3, [RELEASE]), version=version)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 3, 2)])


@check("H-10b", api=ACKNOWLEDGING, versions="1-2")
def batches_that_share_one_offset_apply_nothing(target: Target, version: int) -> None:
    """Given 0-3 and 3-4 in one request, the partition is answered INVALID_RECORD_STATE with a message, and the records stay acquired."""
    member = reader(target, b"a", b"b", b"c", b"d", b"e")
    member.acquire()

    answer = member.acknowledge(Batch(0, 3), Batch(3, 4), version=version)

    expect_part(answer, ErrorCode.INVALID_RECORD_STATE, error_message=NOT_EMPTY)
    member.settle(Batch(0, 4, [RELEASE]), version=version)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 4, 2)])


@check("H-10c", api=ACKNOWLEDGING, versions="1-2")
def a_range_that_begins_below_zero_is_accepted(target: Target, version: int) -> None:
    """Given an acknowledgement of -1-0, the partition is answered NONE."""
    member = _with_four(target)

    answer = member.acknowledge(Batch(-1, 0), version=version)

    expect(answer, error_code=ErrorCode.NONE)
    expect_part(answer, ErrorCode.NONE)


@check("H-11a", api=ACKNOWLEDGING, versions="1-2")
def only_who_acquired_records_acknowledges_them(target: Target, version: int) -> None:
    """Given records of another member, ShareAcknowledge answers INVALID_RECORD_STATE with a message in the partition; they stay the other's. KIP-932."""
    member = _with_four(target)
    other = second(member)
    other.expect_nothing()

    answer = other.acknowledge(Batch(0, 3), version=version)

    expect(answer, error_code=ErrorCode.NONE)
    expect_part(answer, ErrorCode.INVALID_RECORD_STATE, error_message=NOT_EMPTY)
    member.settle(Batch(0, 3), version=version)


@check("H-11b", api=("ShareFetch", *ACKNOWLEDGING), versions="1-2")
def a_share_fetch_tells_of_acknowledgements_that_failed(target: Target, version: int) -> None:
    """Given records of another member, ShareFetch answers INVALID_RECORD_STATE as acknowledge_error_code with a message, error_code NONE. KIP-932."""
    member = _with_four(target)
    other = second(member)
    other.expect_nothing()

    answer = other.fetch([Acknowledged(other.topics[0], [Batch(0, 3)])], version=version)

    expect(answer, error_code=ErrorCode.NONE)
    part = fetched_part(answer, other.topics[0])
    expect(part, error_code=ErrorCode.NONE, acknowledge_error_code=ErrorCode.INVALID_RECORD_STATE, acknowledge_error_message=NOT_EMPTY)
    member.settle(Batch(0, 3), version=version)


@check("H-11c", api=ACKNOWLEDGING, versions="1-2", needs=SHORT_LOCKS)
def acknowledging_after_the_lock_expired_is_too_late(target: Target, version: int) -> None:
    """Given a lock of one second that expired, accept is answered INVALID_RECORD_STATE, and the record comes again. KIP-932."""
    member = reader(target, b"a", configs=[LOCK_OF_A_SECOND])
    member.acquire()
    other = second(member)
    expect_equal("acquired records", other.acquire(), [Acquired(0, 0, 2)])

    answer = member.acknowledge(Batch(0, 0), version=version)

    expect_part(answer, ErrorCode.INVALID_RECORD_STATE, error_message=NOT_EMPTY)


@check("H-11d", api=ACKNOWLEDGING, versions="1-2")
def acknowledging_what_is_settled_at_the_start_is_fine(target: Target, version: int) -> None:
    """Given records 0-1 that are accepted, so that the group starts at 2, accepting them once more is answered NONE."""
    member = _with_four(target)
    member.settle(Batch(0, 1), version=version)

    again = member.acknowledge(Batch(0, 1), version=version)

    expect_part(again, ErrorCode.NONE)
    member.settle(Batch(3, 3), version=version)
    beyond_the_start = member.acknowledge(Batch(3, 3), version=version)
    expect_part(beyond_the_start, ErrorCode.INVALID_RECORD_STATE, error_message=NOT_EMPTY)


@check("H-12a", api=ACKNOWLEDGING, versions="1-2")
def acknowledging_past_what_was_acquired_is_refused(target: Target, version: int) -> None:
    """Given acquired records 0-3, 0-7 and 5-6 are answered INVALID_REQUEST with a message in the partition, and nothing is applied. KIP-932."""
    member = _with_four(target)

    for batch in (Batch(0, 7), Batch(5, 6)):
        answer = member.acknowledge(batch, version=version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_part(answer, ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)

    member.settle(Batch(0, 3, [RELEASE]), version=version)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 3, 2)])


@check("H-12b", api=ACKNOWLEDGING, versions="1-2")
def one_bad_batch_undoes_the_others_of_its_partition(target: Target, version: int) -> None:
    """Given 0-0 and 2-7 in one request, INVALID_REQUEST is answered and 0 is not accepted either. KIP-932."""
    member = _with_four(target)

    answer = member.acknowledge(Batch(0, 0), Batch(2, 7), version=version)

    expect_part(answer, ErrorCode.INVALID_REQUEST, error_message=NOT_EMPTY)
    member.settle(Batch(0, 3, [RELEASE]), version=version)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 3, 2)])


# -- renewing in a ShareFetch ------------------------------------------------------------------------------------


@check("H-13a", api=READING, versions="2")
def a_share_fetch_that_renews_asks_for_no_records(target: Target, version: int) -> None:
    """Given is_renew_ack with max_wait_ms, min_bytes, max_bytes or max_records other than 0, the answer is INVALID_REQUEST without a message. KIP-1222."""
    member = _with_four(target)
    acknowledged = [Acknowledged(member.topics[0], [Batch(0, 3, [RENEW])])]

    for field in ("max_wait_ms", "min_bytes", "max_bytes", "max_records"):
        answer = member.fetch(acknowledged, version=version, **{**IN_FETCH, field: 1})
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=None, responses=[])


@check("H-13b", api=READING, versions="2")
def a_share_fetch_that_renews_is_given_no_records(target: Target, version: int) -> None:
    """Given is_renew_ack and records that wait, the renewal is answered NONE and nothing is acquired; the next ShareFetch acquires. KIP-1222, v2."""
    member = _with_four(target)
    target.produce(member.topics[0], [b"e"])

    answer = member.fetch([Acknowledged(member.topics[0], [Batch(0, 3, [RENEW])])], version=version, **IN_FETCH)

    expect(answer, error_code=ErrorCode.NONE)
    part = fetched_part(answer, member.topics[0])
    expect(part, error_code=ErrorCode.NONE, acknowledge_error_code=ErrorCode.NONE, acquired_records=[])
    expect_that(not part.records, "no records come along")
    expect_equal("acquired records", member.acquire(version=version), [Acquired(4, 4, 1)])


@check("H-13c", api=READING, versions="2", needs=SHORT_LOCKS)
def a_share_fetch_renews_the_locks_of_records(target: Target, version: int) -> None:
    """Given a lock of one second that ShareFetch renews, the records are not given to others meanwhile. KIP-1222, v2."""
    member = reader(target, b"a", configs=[LOCK_OF_A_SECOND])
    other = second(member)
    member.acquire()
    started = time.monotonic()

    while time.monotonic() - started < 1.5:
        other.expect_nothing(version=version, max_wait_ms=400)
        answer = member.fetch([Acknowledged(member.topics[0], [Batch(0, 0, [RENEW])])], version=version, **IN_FETCH)
        expect(fetched_part(answer, member.topics[0]), acknowledge_error_code=ErrorCode.NONE)

    member.settle(Batch(0, 0), version=version)


# -- what else is asked ------------------------------------------------------------------------------------------


@check("H-20c", api=ACKNOWLEDGING, versions="1-2")
def share_acknowledge_fails_for_each_partition_by_itself(target: Target, version: int) -> None:
    """Given a partition that is, one that is not, and an unknown topic id: NONE, UNKNOWN_TOPIC_OR_PARTITION and UNKNOWN_TOPIC_ID. KIP-932."""
    member = _with_four(target)
    topic = member.topics[0]
    nowhere = topic._replace(topic_id=bytes(range(1, 17)))

    answer = member.acknowledge_all(
        [Acknowledged(topic, [Batch(0, 3)]), Acknowledged(topic, [Batch(0, 0)], 7), Acknowledged(nowhere, [Batch(0, 0)])],
        version=version,
    )

    expect(answer, error_code=ErrorCode.NONE)
    found = {(one.topic_id, part.partition_index): part.error_code for one in answer.responses for part in one.partitions}
    expected = {
        (topic.topic_id, 0): ErrorCode.NONE,
        (topic.topic_id, 7): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        (nowhere.topic_id, 0): ErrorCode.UNKNOWN_TOPIC_ID,
    }
    expect_equal("error codes", found, expected)
    member.expect_nothing()


@check("H-21d", api=ACKNOWLEDGING, versions="1-2")
def share_acknowledge_names_its_group_and_its_member(target: Target, version: int) -> None:
    """Given a null group id, a null member id or an empty one, ShareAcknowledge is answered INVALID_REQUEST, and nothing is acknowledged."""
    member = _with_four(target)

    for field, value in (("group_id", None), ("member_id", None), ("member_id", "")):
        changes: dict[str, object] = {field: value}
        answer = member.acknowledge_all([Acknowledged(member.topics[0], [Batch(0, 3)])], version=version, **changes)
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=None, responses=[])

    member.settle(Batch(0, 3, [RELEASE]), version=version)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 3, 2)])


@check("H-23a", api=ACKNOWLEDGING, versions="1-2")
def share_acknowledge_of_nothing_takes_its_session_along(target: Target, version: int) -> None:
    """Given ShareAcknowledge without topics, it is answered NONE and the session's epoch advances. KIP-932."""
    member = _with_four(target)
    epoch = member.session_epoch

    answer = member.acknowledge_all([], version=version)

    expect(answer, error_code=ErrorCode.NONE, responses=[])
    again = member.acknowledge_all([], version=version, share_session_epoch=epoch)
    expect(again, error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH)
    expect(member.acknowledge_all([], version=version, share_session_epoch=epoch + 1), error_code=ErrorCode.NONE)
