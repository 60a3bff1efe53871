"""H: share sessions: how they open, go on, restart, close and are counted; and who may have one."""

import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.share_members import (
    ACKNOWLEDGING,
    CLOSING,
    OPENING,
    READING,
    RELEASE,
    Acknowledged,
    Acquired,
    Batch,
    ShareMember,
    acquired,
    expect_part,
    fetched_part,
    reader,
    second,
    share_group,
)
from pykbroker.compat.target import PATIENCE_S, Target, eventually
from pykbroker.protocol.errors import ErrorCode

FEW_SESSIONS = Settings((("group.share.max.size", "10"), ("group.share.max.share.sessions", "10")))


@check("H-04a", api=READING, versions="1-2")
def acknowledgements_do_not_open_a_share_session(target: Target, version: int) -> None:
    """Given a ShareFetch of epoch 0 with acknowledgements, it is answered INVALID_REQUEST without a message, and there is no session. KIP-932."""
    member = reader(target, b"a")
    acknowledged = [Acknowledged(member.topics[0], [Batch(0, 0)])]

    answer = member.fetch(acknowledged, version=version)

    expect(answer, error_code=ErrorCode.INVALID_REQUEST, error_message=None, responses=[])
    expect(member.fetch(version=version, share_session_epoch=1), error_code=ErrorCode.SHARE_SESSION_NOT_FOUND)


@check("H-04b", api=READING, versions="1-2")
def a_share_session_that_is_not_there_is_not_found(target: Target, version: int) -> None:
    """Given no session, ShareFetch with epoch 1, 5 or -1 is answered SHARE_SESSION_NOT_FOUND without a message. KIP-932."""
    member = reader(target, b"a")

    for epoch in (1, 5, CLOSING):
        answer = member.fetch(version=version, share_session_epoch=epoch)
        expect(answer, error_code=ErrorCode.SHARE_SESSION_NOT_FOUND, error_message=None, responses=[])


@check("H-04c", api=READING, versions="1-2")
def a_wrong_share_session_epoch_leaves_the_session_as_it_is(target: Target, version: int) -> None:
    """Given a session whose next epoch is n, n-1, n+1 and n+5 are INVALID_SHARE_SESSION_EPOCH without a message; n goes on. KIP-932."""
    member = reader(target, b"a")
    member.acquire(version=version)
    awaited = member.session_epoch
    target.produce(member.topics[0], [b"b"])

    for epoch in {max(awaited - 1, 1), awaited + 1, awaited + 5} - {awaited}:
        answer = member.fetch(version=version, share_session_epoch=epoch)
        expect(answer, error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH, error_message=None, responses=[])

    expect_equal("acquired records", acquired(member.fetch(version=version, max_wait_ms=500), member.topics[0]), [Acquired(1, 1, 1)])


@check("H-04d", api=READING, versions="1-2")
def closing_a_share_session_releases_its_records(target: Target, version: int) -> None:
    """Given a session with acquired records, epoch -1 closes it: others acquire them, delivered once more, and the session is gone. KIP-932."""
    member = reader(target, b"a", b"b")
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 1, 1)])
    other = second(member)
    other.expect_nothing(version=version)

    closed = member.fetch(version=version, share_session_epoch=CLOSING)

    expect(closed, error_code=ErrorCode.NONE)
    expect_equal("acquired records", acquired(closed, member.topics[0]), [])
    expect_equal("acquired records", other.acquire(version=version), [Acquired(0, 1, 2)])
    expect(member.fetch(version=version, share_session_epoch=CLOSING), error_code=ErrorCode.SHARE_SESSION_NOT_FOUND)


@check("H-04e", api=ACKNOWLEDGING, versions="1-2")
def opening_a_share_session_anew_begins_at_epoch_1_again(target: Target, version: int) -> None:
    """Given a live session with acquired records, epoch 0 restarts it: epoch 1 is next, and the records are still the member's (4.3). KIP-932."""
    member = reader(target, b"a", b"b")
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 1, 1)])
    other = second(member)
    member.fetch(version=version)
    expect_that(member.session_epoch > 1, "the session has gone on")

    restarted = member.fetch(version=version, share_session_epoch=OPENING)

    expect(restarted, error_code=ErrorCode.NONE)
    expect(member.fetch(version=version, share_session_epoch=2), error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH)
    expect(member.fetch(version=version, share_session_epoch=1), error_code=ErrorCode.NONE)
    other.expect_nothing(version=version)
    member.settle(Batch(0, 1, [RELEASE]), version=version)
    expect_equal("acquired records", other.acquire(version=version), [Acquired(0, 1, 2)])


@check("H-04f", api=READING, versions="1-2")
def records_are_acquired_by_who_never_joined(target: Target, version: int) -> None:
    """Given a group that exists, a member id that never joined it acquires its records: membership is not looked at."""
    member = reader(target, b"a")
    stranger = ShareMember(target, member.group_id, *member.topics)

    expect_equal("acquired records", stranger.acquire(version=version), [Acquired(0, 0, 1)])


@check("H-04g", api=READING, versions="1-2")
def a_group_that_does_not_exist_acquires_nothing(target: Target, version: int) -> None:
    """Given a group that nobody joined, a ShareFetch opens a session, but no record is acquired, then or later."""
    topic = target.new_topic()
    target.produce(topic, [b"a"])
    stranger = ShareMember(target, target.new_group(), topic)

    opened = stranger.fetch(version=version, max_wait_ms=100)
    again = stranger.fetch(version=version, max_wait_ms=100)

    for answer in (opened, again):
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("acquired records", acquired(answer, topic), [])
    expect(stranger.fetch(version=version, share_session_epoch=9), error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH)


@check("H-04h", api=READING, versions="1-2")
def a_share_session_keeps_its_partitions_until_they_are_forgotten(target: Target, version: int) -> None:
    """Given a session of partitions 0 and 1, a request without topics reads both; what is forgotten is read no more. KIP-932."""
    topic = target.new_topic(partitions=2)
    member = ShareMember(target, share_group(target), topic, partitions=(0, 1)).join()
    target.produce(topic, [b"a"])
    member.acquire(version=version)
    target.produce(topic, [b"b"], partition=1)
    found = eventually(lambda: acquired(member.fetch(version=version, max_wait_ms=100), topic, 1), bool, "partition 1 is read")
    expect_equal("acquired records", found, [Acquired(0, 0, 1)])
    target.produce(topic, [b"c"], partition=1)
    request = member.fetch_request()
    request.forgotten_topics_data = [type(request).ForgottenTopic(topic_id=topic.topic_id, partitions=[1])]

    forgotten = member.fetch(version=version, max_wait_ms=200, forgotten_topics_data=request.forgotten_topics_data)
    later = member.fetch(version=version, max_wait_ms=200)

    for answer in (forgotten, later):
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("acquired records of the partition forgotten", acquired(answer, topic, 1), [])
    target.produce(topic, [b"d"])
    expect_equal("acquired records", member.acquire(version=version), [Acquired(1, 1, 1)])


@check("H-04i", api=ACKNOWLEDGING, versions="1-2")
def the_last_share_fetch_takes_acknowledgements_along(target: Target, version: int) -> None:
    """Given epoch -1 with acknowledgements, they count, and the rest is released. KIP-932."""
    member = reader(target, b"a", b"b", b"c")
    member.acquire(version=version)

    closed = member.fetch([Acknowledged(member.topics[0], [Batch(0, 1)])], version=version, share_session_epoch=CLOSING)

    expect(closed, error_code=ErrorCode.NONE)
    expect(fetched_part(closed, member.topics[0]), acknowledge_error_code=ErrorCode.NONE, acquired_records=[])
    expect_equal("acquired records", member.acquire(version=version), [Acquired(2, 2, 2)])


@check("H-05a", api=ACKNOWLEDGING, versions="1-2")
def share_acknowledge_does_not_open_a_session(target: Target, version: int) -> None:
    """Given ShareAcknowledge with epoch 0, with and without a session, it is answered INVALID_SHARE_SESSION_EPOCH. KIP-932."""
    member = reader(target, b"a")
    before = member.acknowledge(Batch(0, 0), version=version, share_session_epoch=OPENING)
    member.acquire()

    answer = member.acknowledge(Batch(0, 0), version=version, share_session_epoch=OPENING)

    expect(before, error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH, responses=[])
    expect(answer, error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH, responses=[])


@check("H-05b", api=ACKNOWLEDGING, versions="1-2")
def share_acknowledge_needs_a_session(target: Target, version: int) -> None:
    """Given no session, ShareAcknowledge with epoch 1, 5 or -1 is answered SHARE_SESSION_NOT_FOUND; with one, a wrong epoch INVALID_SHARE_SESSION_EPOCH."""
    member = reader(target, b"a")

    for epoch in (1, 5, CLOSING):
        answer = member.acknowledge(Batch(0, 0), version=version, share_session_epoch=epoch)
        expect(answer, error_code=ErrorCode.SHARE_SESSION_NOT_FOUND, error_message=None, responses=[])

    member.acquire()
    wrong = member.acknowledge(Batch(0, 0), version=version, share_session_epoch=member.session_epoch + 1)
    expect(wrong, error_code=ErrorCode.INVALID_SHARE_SESSION_EPOCH, responses=[])
    member.settle(Batch(0, 0), version=version)


@check("H-05c", api=ACKNOWLEDGING, versions="1-2")
def the_last_share_acknowledge_counts_and_closes(target: Target, version: int) -> None:
    """Given ShareAcknowledge with epoch -1, its acknowledgements count, what else was acquired is released, and the session is closed. KIP-932."""
    member = reader(target, b"a", b"b", b"c")
    member.acquire(version=version)

    closed = member.acknowledge(Batch(0, 1), version=version, share_session_epoch=CLOSING)

    expect(closed, error_code=ErrorCode.NONE)
    expect_part(closed, ErrorCode.NONE)
    expect(member.fetch(version=version, share_session_epoch=2), error_code=ErrorCode.SHARE_SESSION_NOT_FOUND)
    expect_equal("acquired records", member.acquire(version=version), [Acquired(2, 2, 2)])


@check("H-06", api=READING, versions="1-2", needs=FEW_SESSIONS)
def the_broker_has_only_so_many_share_sessions(target: Target, version: int) -> None:
    """Given as many share sessions as group.share.max.share.sessions, one more is SHARE_SESSION_LIMIT_REACHED, after max_wait_ms and not at once. KIP-932."""
    member = reader(target, b"a")
    members = [ShareMember(target, member.group_id, *member.topics) for _ in range(10)]
    for one in members:
        deadline = time.monotonic() + PATIENCE_S
        while one.fetch(version=version).error_code == ErrorCode.SHARE_SESSION_LIMIT_REACHED:  # sessions of checks before are still closing
            expect_that(time.monotonic() < deadline, "ten share sessions can be had")
        expect_equal("the next epoch of the session", one.session_epoch, 1)
    excess = ShareMember(target, member.group_id, *member.topics)
    started = time.monotonic()

    refused = excess.fetch(version=version, max_wait_ms=700)

    expect(refused, error_code=ErrorCode.SHARE_SESSION_LIMIT_REACHED, error_message=None, responses=[])
    expect_that(time.monotonic() - started > 0.65, "it is answered after max_wait_ms")
    expect(members[0].fetch(version=version, share_session_epoch=CLOSING), error_code=ErrorCode.NONE)
    expect(excess.fetch(version=version), error_code=ErrorCode.NONE)


@check("H-04j", api=ACKNOWLEDGING, versions="1-2")
def share_sessions_are_of_a_member_of_a_group(target: Target, version: int) -> None:
    """Given the same member id in two groups, each has its session and its records: what one releases does not concern the other. KIP-932."""
    member = reader(target, b"a")
    elsewhere = ShareMember(target, share_group(target), *member.topics, member_id=member.member_id).join()
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 0, 1)])

    expect_equal("acquired records", elsewhere.acquire(version=version), [Acquired(0, 0, 1)])
    elsewhere.settle(Batch(0, 0), version=version)
    member.settle(Batch(0, 0, [RELEASE]), version=version)

    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 0, 2)])
    elsewhere.expect_nothing(version=version)
