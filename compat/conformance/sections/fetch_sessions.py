"""FS: fetch sessions (KIP-227): a client names its partitions once, and is told from then on only of those where something changed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, Where, at_least, expect, expect_equal, expect_that
from pykbroker.compat.steps.log_requests import FIRST_WITH_IDS, PLENTY, Wanted, answered, delete_records_request, fetch_request
from pykbroker.compat.steps.quotas import CLIENT, QUOTAS, Client, set_quota
from pykbroker.compat.steps.topics import created_again
from pykbroker.compat.steps.waiting_fetches import LONG_MS
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import FetchRequest, FetchResponse

NO_SESSION = 0
A_SESSION = Where("the id of a session", lambda found: isinstance(found, int) and found != NO_SESSION)
NOBODYS_SESSION = 2_000_000_011
FULL, FINAL = 0, -1
BYTE_RATE = 20_000
WITHIN_QUOTA = 180_000
MORE_THAN_IS_LEFT = 60_000
"""Beside what is within: 20,000 a second are 200,000 over the ten seconds that a rate is taken of."""


class Session:
    """A session as a client keeps it."""

    def __init__(self, target: Target, wanted: Iterable[Wanted], version: int) -> None:
        self.version = version
        self._target = target
        self.first = target.ask(fetch_request(wanted, session_epoch=FULL), version)
        expect(self.first, error_code=ErrorCode.NONE, session_id=A_SESSION)
        self.session_id = self.first.session_id
        self.epoch = 1

    def request(self, wanted: Iterable[Wanted] = (), *, forgotten: Sequence[tuple[Topic, int]] = (), max_wait_ms: int = 0) -> FetchRequest:
        """The next request; its epoch is used up."""
        made = fetch_request(wanted, session_id=self.session_id, session_epoch=self.epoch, forgotten=forgotten, max_wait_ms=max_wait_ms)
        self.epoch += 1
        return made

    def fetch(self, wanted: Iterable[Wanted] = (), *, forgotten: Sequence[tuple[Topic, int]] = ()) -> FetchResponse:
        """The next answer, which is no error."""
        answer = self._target.ask(self.request(wanted, forgotten=forgotten), self.version)
        expect(answer, error_code=ErrorCode.NONE, session_id=self.session_id)
        return answer

    def at_epoch(self, epoch: int, version: int | None = None) -> FetchResponse:
        """What the session answers at that epoch."""
        request = fetch_request([], session_id=self.session_id, session_epoch=epoch)
        return self._target.ask(request, self.version if version is None else version)


@contextmanager
def session_of(target: Target, wanted: Iterable[Wanted], version: int) -> Iterator[Session]:
    """A session that is closed in the end: brokers keep a thousand of them, and give none away for two minutes."""
    session = Session(target, wanted, version)
    try:
        yield session
    finally:
        session.at_epoch(FINAL)


def partitions_of(answer: FetchResponse) -> list[int]:
    """The partitions in an answer, in its order."""
    return [one.data.partition_index for one in answered(answer)]


def expect_no_session(answer: FetchResponse, error: ErrorCode) -> None:
    """The whole request is refused with that error."""
    expect(answer, error_code=error, session_id=NO_SESSION, responses=[], throttle_time_ms=0)


@check("FS-01a", api="Fetch", versions="7-18")
def a_full_fetch_makes_a_session(target: Target, version: int) -> None:
    """Given session id 0 and epoch 0, every partition is answered, and there is a session id; also where no partition is named."""
    topic = target.new_topic(partitions=3)
    target.produce(topic, partition=1)

    with session_of(target, [Wanted(topic, partition) for partition in range(3)], version) as session:
        expect_equal("the partitions", partitions_of(session.first), [0, 1, 2])
        expect(answered(session.first)[1].data, error_code=ErrorCode.NONE, high_watermark=1, records=NOT_EMPTY)
    with session_of(target, [], version) as empty:
        expect(empty.first, responses=[])
        expect_that(empty.session_id != session.session_id, "each session has an id of its own")


@check("FS-01b", api="Fetch", versions="7-18", needs=Settings((("max.incremental.fetch.session.cache.slots", "2"),)))
def without_room_there_is_no_session(target: Target, version: int) -> None:
    """Given a broker whose slots are fewer than its eight caches, a full fetch is answered with all its data, and session id 0."""
    topic = target.new_topic()
    target.produce(topic)

    answer = target.ask(fetch_request([Wanted(topic)], session_epoch=FULL), version)

    expect(answer, error_code=ErrorCode.NONE, session_id=NO_SESSION)
    expect(answered(answer)[0].data, error_code=ErrorCode.NONE, high_watermark=1, records=NOT_EMPTY)


@check("FS-02", api="Fetch", versions="7-18")
def the_final_epoch_makes_no_session(target: Target, version: int) -> None:
    """Given epoch -1, with session id 0 or one that nobody has, the partitions are answered, and the session id is 0."""
    topic = target.new_topic(partitions=2)
    target.produce(topic)

    for session_id in (NO_SESSION, NOBODYS_SESSION):
        request = fetch_request([Wanted(topic, 0), Wanted(topic, 1)], session_id=session_id, session_epoch=FINAL)
        answer = target.ask(request, version)
        expect(answer, error_code=ErrorCode.NONE, session_id=NO_SESSION)
        expect_equal("the partitions", partitions_of(answer), [0, 1])
        expect(answered(answer)[0].data, records=NOT_EMPTY)


@check("FS-03a", api="Fetch", versions="7-18")
def only_what_changed_is_told(target: Target, version: int) -> None:
    """Given a session of three partitions, nothing is answered where nothing changed, and one partition with new
    records, until they are consumed.
    """
    topic = target.new_topic(partitions=3)

    with session_of(target, [Wanted(topic, partition) for partition in range(3)], version) as session:
        unchanged = session.fetch()
        target.produce(topic, partition=1)
        changed, again = session.fetch(), session.fetch()
        consumed, quiet = session.fetch([Wanted(topic, 1, offset=1)]), session.fetch()

    told = [partitions_of(answer) for answer in (unchanged, changed, again, consumed, quiet)]
    expect_equal("the partitions told of", told, [[], [1], [1], [], []])
    expect(answered(changed)[0].data, error_code=ErrorCode.NONE, high_watermark=1, records=NOT_EMPTY)


@check("FS-03b", api="Fetch", versions="7-18")
def a_session_belongs_to_no_connection(target: Target, version: int) -> None:
    """Given a session made on one connection, it goes on on another, also after the first was closed."""
    topic = target.new_topic()
    connection = target.connect()
    first = connection.ask(fetch_request([Wanted(topic)], session_epoch=FULL), version)
    connection.close()
    target.produce(topic)

    answer = target.ask(fetch_request([], session_id=first.session_id, session_epoch=1), version)
    target.ask(fetch_request([], session_id=first.session_id, session_epoch=FINAL), version)

    expect(answer, error_code=ErrorCode.NONE, session_id=first.session_id)
    expect_equal("the partitions", partitions_of(answer), [0])


@check("FS-03c", api="Fetch", versions="7-18")
def a_session_can_grow_and_shrink(target: Target, version: int) -> None:
    """Given a session of one partition, another one that is added is answered at once, and a forgotten one no more."""
    topic = target.new_topic(partitions=2)

    with session_of(target, [Wanted(topic, 0)], version) as session:
        added = session.fetch([Wanted(topic, 1)])
        forgotten = session.fetch(forgotten=[(topic, 0)])
        for partition in (0, 1):
            target.produce(topic, partition=partition)
        after = session.fetch()

    expect_equal("the partitions told of", [partitions_of(answer) for answer in (added, forgotten, after)], [[1], [], [1]])


@check("FS-04", api="Fetch", versions="7-18")
def a_wrong_epoch_is_refused_and_changes_nothing(target: Target, version: int) -> None:
    """Given an epoch that is not the next, INVALID_FETCH_SESSION_EPOCH without a session id, and the next one still works."""
    topic = target.new_topic()

    with session_of(target, [Wanted(topic)], version) as session:
        for epoch in (2, 5, -5):
            expect_no_session(session.at_epoch(epoch), ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        target.produce(topic)
        expect_equal("the partitions", partitions_of(session.fetch()), [0])
        expect_no_session(session.at_epoch(1), ErrorCode.INVALID_FETCH_SESSION_EPOCH)


@check("FS-05", api="Fetch", versions="7-18")
def an_unknown_session_is_not_found(target: Target, version: int) -> None:
    """Given a session id that nobody has, or 0 with an epoch that is neither 0 nor -1, FETCH_SESSION_ID_NOT_FOUND without a session id."""
    topic = target.new_topic()

    for session_id, epoch in ((NOBODYS_SESSION, 1), (-3, 1), (NO_SESSION, 1), (NO_SESSION, -5)):
        answer = target.ask(fetch_request([Wanted(topic)], session_id=session_id, session_epoch=epoch), version)
        expect_no_session(answer, ErrorCode.FETCH_SESSION_ID_NOT_FOUND)


@check("FS-06a", api="Fetch", versions="7-18")
def a_full_fetch_closes_the_session_before(target: Target, version: int) -> None:
    """Given a session's id with epoch 0, there is a new session, and the old one is not found."""
    topic = target.new_topic()
    old = Session(target, [Wanted(topic)], version)

    renewed = target.ask(fetch_request([Wanted(topic)], session_id=old.session_id, session_epoch=FULL), version)
    unknown = target.ask(fetch_request([Wanted(topic)], session_id=NOBODYS_SESSION, session_epoch=FULL), version)

    for answer in (renewed, unknown):
        expect(answer, error_code=ErrorCode.NONE, session_id=A_SESSION)
        expect_equal("the partitions", partitions_of(answer), [0])
        target.ask(fetch_request([], session_id=answer.session_id, session_epoch=FINAL), version)
    expect_that(renewed.session_id != old.session_id, "the new session has another id")
    expect_no_session(old.at_epoch(1), ErrorCode.FETCH_SESSION_ID_NOT_FOUND)


@check("FS-06b", api="Fetch", versions="7-18")
def the_final_epoch_closes_the_session(target: Target, version: int) -> None:
    """Given a session's id with epoch -1, the partitions named are answered without a session, and the session is not found after it."""
    topic = target.new_topic(partitions=2)
    session = Session(target, [Wanted(topic, 0)], version)

    last = target.ask(fetch_request([Wanted(topic, 1)], session_id=session.session_id, session_epoch=FINAL), version)

    expect(last, error_code=ErrorCode.NONE, session_id=NO_SESSION)
    expect_equal("the partitions", partitions_of(last), [1])
    expect_no_session(session.at_epoch(1), ErrorCode.FETCH_SESSION_ID_NOT_FOUND)


@check("FS-07a", api="Fetch", versions="7-18")
def sessions_by_name_and_by_id_do_not_mix(target: Target, version: int) -> None:
    """Given a session by name used by id (v13+), or the reverse, FETCH_SESSION_TOPIC_ID_ERROR, and the session is where it was. KIP-516."""
    topic = target.new_topic()
    other = FIRST_WITH_IDS if version < FIRST_WITH_IDS else FIRST_WITH_IDS - 1

    with session_of(target, [Wanted(topic)], version) as session:
        expect_no_session(session.at_epoch(1, other), ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        target.produce(topic)
        expect_equal("the partitions", partitions_of(session.fetch()), [0])


@check("FS-07b", api="Fetch", versions="8-12")
def sessions_by_name_are_of_all_their_versions(target: Target, version: int) -> None:
    """Given a session made by one version with names, version 7 goes on with it."""
    topic = target.new_topic()

    with session_of(target, [Wanted(topic)], version) as session:
        target.produce(topic)
        answer = session.at_epoch(1, 7)

    expect(answer, error_code=ErrorCode.NONE, session_id=session.session_id)
    expect_equal("the partitions", partitions_of(answer), [0])


@check("FS-08", api="Fetch", versions="7-18")
def a_session_without_partitions_ends(target: Target, version: int) -> None:
    """Given that the last partition of a session is forgotten, the answer is empty with session id 0, and the session
    is not found after it.
    """
    topic = target.new_topic(partitions=2)
    session = Session(target, [Wanted(topic, 0), Wanted(topic, 1)], version)

    expect(session.fetch(forgotten=[(topic, 0)]), responses=[])
    last = target.ask(session.request(forgotten=[(topic, 1)]), version)

    expect_no_session(last, ErrorCode.NONE)
    expect_no_session(session.at_epoch(session.epoch), ErrorCode.FETCH_SESSION_ID_NOT_FOUND)


@check("FS-09a", api=("Fetch", "CreateTopics"), versions="7-12")
def an_unknown_topic_is_told_until_it_is_there(target: Target, version: int) -> None:
    """Given an unknown topic in a session by name, every answer has its error; once it is created it is told once, with
    its high watermark.
    """
    here = target.new_topic()
    missing = Topic(target.new_name("later"), bytes(16), 1)
    target.forget_after(missing.name)

    with session_of(target, [Wanted(here), Wanted(missing)], version) as session:
        before = [session.fetch(), session.fetch()]
        created_again(target, missing)
        after, quiet = session.fetch(), session.fetch()

    for answer in before:
        expect_equal("the topics told of", [one.topic for one in answered(answer)], [missing.name])
        expect(answered(answer)[0].data, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    expect_equal("the topics told of", [one.topic for one in answered(after)], [missing.name])
    expect(answered(after)[0].data, error_code=ErrorCode.NONE, high_watermark=0)
    expect(quiet, responses=[])


@check("FS-09b", api=("Fetch", "DeleteRecords"), versions="7-18")
def a_new_log_start_is_told(target: Target, version: int) -> None:
    """Given a session at the end of a log, DeleteRecords alone makes its next answer tell of the partition, once."""
    topic = target.new_topic()
    target.produce(topic, [b"a", b"b"])

    with session_of(target, [Wanted(topic, offset=2)], version) as session:
        target.ask_newest(delete_records_request(topic, 1), 2)
        told, quiet = session.fetch(), session.fetch()

    expect_equal("the partitions told of", [partitions_of(answer) for answer in (told, quiet)], [[0], []])
    expect(answered(told)[0].data, error_code=ErrorCode.NONE, log_start_offset=1, records=b"")


@check("FS-09c", api=("Fetch", "CreateTopics", "DeleteTopics"), versions="13-18")
def an_id_in_a_session_stays_that_of_the_old_topic(target: Target, version: int) -> None:
    """Given a session by id, its topic's deletion is UNKNOWN_TOPIC_OR_PARTITION in it; made anew under its name, INCONSISTENT_TOPIC_ID."""
    topic = target.new_topic()

    with session_of(target, [Wanted(topic)], version) as session:
        target.delete_topic(topic.name)
        deleted = session.fetch()
        created_again(target, topic)
        anew = session.fetch()

    expect(answered(deleted)[0].data, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    expect(answered(anew)[0].data, error_code=ErrorCode.INCONSISTENT_TOPIC_ID)


@check("FS-09d", api="Fetch", versions="7-18")
def an_offset_out_of_range_is_told_until_it_is_in_range(target: Target, version: int) -> None:
    """Given an offset beyond the end in a session, every answer has the error, until a record is there; then it is
    answered as any other.
    """
    topic = target.new_topic()

    with session_of(target, [Wanted(topic, offset=1)], version) as session:
        before = [session.first, session.fetch(), session.fetch()]
        target.produce(topic)
        after, quiet = session.fetch(), session.fetch()

    for answer in before:
        expect(answered(answer)[0].data, error_code=ErrorCode.OFFSET_OUT_OF_RANGE, high_watermark=-1)
    expect(answered(after)[0].data, error_code=ErrorCode.NONE, high_watermark=1, records=b"")
    expect(quiet, responses=[])


@check("FS-10a", api=("Fetch", *QUOTAS))
def a_throttled_fetch_uses_up_its_epoch(target: Target) -> None:
    """Given a fetch in a session that exceeds the client's quota, it is answered without partitions, with a throttle time and the session's id;
    the session goes on with the next epoch. KIP-219.
    """
    topic = target.new_topic(partitions=3)
    client = _almost_at_its_quota(target, topic)
    first = client.ask_newest(fetch_request([Wanted(topic, 1)], session_epoch=FULL), 12)
    expect(first, error_code=ErrorCode.NONE, session_id=A_SESSION, throttle_time_ms=0)
    expect_equal("the partitions of the first answer", partitions_of(first), [1])
    target.produce(topic, [bytes(MORE_THAN_IS_LEFT)], partition=1)

    held_back = client.ask_newest(fetch_request([], session_id=first.session_id, session_epoch=1), 12)
    next_one = client.ask_newest(fetch_request([Wanted(topic, 1, 1)], session_id=first.session_id, session_epoch=2), 12)

    expect(held_back, error_code=ErrorCode.NONE, session_id=first.session_id, responses=[], throttle_time_ms=at_least(1))
    expect(next_one, error_code=ErrorCode.NONE, session_id=first.session_id)
    client.ask_newest(fetch_request([], session_id=first.session_id, session_epoch=FINAL), 12)


@check("FS-10b", api=("Fetch", *QUOTAS))
def a_throttled_full_fetch_tells_of_no_session(target: Target) -> None:
    """Given a full fetch that exceeds the client's quota, it is answered without partitions, with a throttle time and session id 0. KIP-219."""
    topic = target.new_topic(partitions=2)
    client = _almost_at_its_quota(target, topic)
    target.produce(topic, [bytes(MORE_THAN_IS_LEFT)], partition=1)

    held_back = client.ask_newest(fetch_request([Wanted(topic, 1)], session_epoch=FULL), 12)

    expect(held_back, error_code=ErrorCode.NONE, session_id=NO_SESSION, responses=[], throttle_time_ms=at_least(1))


@check("FS-11", api="Fetch", versions="7-18")
def who_had_data_goes_to_the_end(target: Target, version: int) -> None:
    """Given a session in which partition 0 was answered with data, it comes last in the next answer that has data of all."""
    topic = target.new_topic(partitions=4)
    target.produce(topic, partition=0)

    with session_of(target, [Wanted(topic, partition) for partition in range(4)], version) as session:
        session.fetch()
        for partition in (1, 2, 3):
            target.produce(topic, partition=partition)
        answer = session.fetch()

    expect_equal("the order of the partitions", partitions_of(answer), [1, 2, 3, 0])


@check("FS-12", api="Fetch", versions="7-18")
def named_and_forgotten_is_forgotten(target: Target, version: int) -> None:
    """Given a partition that one request both names and forgets, it is forgotten: its records are not answered."""
    topic = target.new_topic(partitions=2)

    with session_of(target, [Wanted(topic, 0), Wanted(topic, 1)], version) as session:
        for partition in (0, 1):
            target.produce(topic, partition=partition)
        answer = session.fetch([Wanted(topic, 0)], forgotten=[(topic, 0)])
        again = session.fetch()

    expect_equal("the partitions told of", [partitions_of(one) for one in (answer, again)], [[1], [1]])


@check("FS-13", api="Fetch", versions="7-18")
def a_refused_request_changes_nothing_of_the_session(target: Target, version: int) -> None:
    """Given requests that are refused for their epoch, or for naming topics in another way, the partitions they name or
    forget stay as they were.
    """
    topic = target.new_topic(partitions=2)
    other = FIRST_WITH_IDS if version < FIRST_WITH_IDS else FIRST_WITH_IDS - 1

    with session_of(target, [Wanted(topic, 0)], version) as session:
        change = fetch_request([Wanted(topic, 1)], session_id=session.session_id, session_epoch=9, forgotten=[(topic, 0)])
        expect_no_session(target.ask(change, version), ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        change.session_epoch = 1
        if target.serves(change, other):
            expect_no_session(target.ask(change, other), ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        for partition in (0, 1):
            target.produce(topic, partition=partition)
        answer = session.fetch()

    expect_equal("the partitions told of", partitions_of(answer), [0])


@check("FS-14a", api="Fetch", versions="7-18")
def any_partition_wakes_the_session(target: Target, version: int) -> None:
    """Given a session request that names nothing and waits, an append to any of its partitions answers it, with that one alone.

    Beside it stands what is unknown, which did not end the wait.
    """
    topic = target.new_topic(partitions=3)
    connection = target.connect()

    with session_of(target, [Wanted(topic, partition) for partition in (0, 1, 2, 9)], version) as session:
        request = session.request(max_wait_ms=LONG_MS)
        connection.send(request, version)
        expect_that(connection.is_silent(for_s=0.1), "the session waits")
        target.produce(topic, partition=2)
        answer = connection.receive(request, version)

    found = [(one.data.partition_index, one.data.error_code) for one in answered(answer)]
    expect_equal("partition and error", found, [(2, ErrorCode.NONE), (9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)])
    expect(answered(answer)[0].data, high_watermark=1, records=NOT_EMPTY)


@check("FS-14b", api="Fetch", versions="7-18")
def limits_hold_in_a_session_too(target: Target, version: int) -> None:
    """Given a session of two partitions with data, and max bytes of 1, the answers have one batch each, by turns."""
    topic = target.new_topic(partitions=2)

    with session_of(target, [Wanted(topic, 0), Wanted(topic, 1)], version) as session:
        for partition in (0, 1):
            target.produce(topic, partition=partition)
        told = []
        for _ in range(2):
            request = session.request()
            request.max_bytes = 1
            answer = target.ask(request, version)
            told.append([one.data.partition_index for one in answered(answer) if one.data.records])
        request = session.request()
        request.max_bytes = PLENTY
        everything = partitions_of(target.ask(request, version))

    expect_equal("the partitions with records", told, [[0], [1]])
    expect_equal("all partitions", sorted(everything), [0, 1])


def _almost_at_its_quota(target: Target, topic: Topic) -> Client:
    """A client that has fetched nearly all that it may, from partition 0."""
    target.produce(topic, [bytes(WITHIN_QUOTA)])
    client_id = target.new_name("client")
    set_quota(target, {CLIENT: client_id}, "consumer_byte_rate", BYTE_RATE)
    client = Client(target, client_id)
    answer = client.ask_newest(fetch_request([Wanted(topic)]), 12)
    expect(answer, error_code=ErrorCode.NONE, throttle_time_ms=0)
    expect(answered(answer)[0].data, records=NOT_EMPTY)
    return client
