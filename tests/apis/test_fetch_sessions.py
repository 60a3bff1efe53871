"""Fetch sessions (FS-01 … FS-14): what a client is told, what it costs, and who must go when there is no room."""

import random
import time

import pytest

from pykbroker import fetch_sessions
from pykbroker.fetch_sessions import EVICTION_MS
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import FetchRequest

WAIT_MS = 500
VERSIONS = [7, 9, 11, 12, 13, 16, 18]


class SessionClient:
    """A client with one fetch session, which counts its epochs."""

    def __init__(self, client, version):
        self.client = client
        self.version = version
        self.session_id = 0
        self.epoch = 0

    def fetch(self, *partitions, **fields):
        fields = {"session_id": self.session_id, "session_epoch": self.epoch, **fields}
        response = self.client.fetch(*partitions, version=self.version, **fields)
        if not hasattr(response, "is_answered"):
            self.note(response)
        return response

    def note(self, response):
        if response.error_code == 0:
            self.session_id = response.session_id
            self.epoch = self.epoch + 1 if response.session_id else 0

    def changes(self, *partitions, **fields):
        """(partition, error, offsets of the batches) of everything that an answer tells."""
        return [change[1:] for change in self.client.told(self.fetch(*partitions, **fields))]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def session(client, version):
    """A session over the four partitions of `t`; the first one has a record, which was taken."""
    client.create("t", 4)
    client.produce("t")
    session = SessionClient(client, version)
    assert session.changes(*[("t", index, 0) for index in range(4)]) == [(0, 0, [0]), (1, 0, []), (2, 0, []), (3, 0, [])]
    assert session.session_id != 0
    return session


def test_only_what_changed_is_told(client, session):
    assert session.changes() == [(0, 0, [0])]  # not taken yet, so told again
    assert session.changes(("t", 0, 1)) == []
    client.produce("t", partition=2)
    assert session.changes() == [(2, 0, [0])]
    assert session.changes(("t", 2, 1)) == []
    client.partition("t", 2).delete_records(1)
    assert session.changes() == [(2, 0, [])]
    assert session.changes() == []


def test_who_gave_records_comes_last_the_next_time(client, session):
    session.changes(("t", 0, 1))
    client.produce("t", partition=1)
    assert session.changes() == [(1, 0, [0])]
    for partition in range(4):
        client.produce("t", partition=partition)
    assert [index for index, _, _ in session.changes()] == [0, 2, 3, 1]


def test_with_little_room_everybody_has_a_turn(client, session):
    session.changes(("t", 0, 1))
    for partition in range(4):
        client.produce("t", partition=partition)
    turns = []
    for _ in range(8):
        turns += [index for index, _, offsets in session.changes(max_bytes=1) if offsets]
    assert turns == [0, 1, 2, 3] * 2


def test_a_wait_ends_with_an_append_to_any_partition(client, session):
    session.changes(("t", 0, 1))
    waiting = session.fetch(max_wait_ms=WAIT_MS)
    client.cluster.waits.advance(WAIT_MS - 1)
    assert not waiting.is_answered
    client.produce("t", partition=3)
    assert [change[1:] for change in client.told(waiting.response)] == [(3, 0, [0])]


def test_a_wait_for_nothing_is_answered_with_nothing(client, session):
    session.changes(("t", 0, 1))
    waiting = session.fetch(max_wait_ms=WAIT_MS)
    client.cluster.waits.advance(WAIT_MS)
    assert client.told(waiting.response) == []
    assert waiting.response.session_id == session.session_id


def test_an_error_is_told_every_time_and_its_end_once(client, session):
    session.changes(("t", 0, 1))
    out_of_range = [(1, ErrorCode.OFFSET_OUT_OF_RANGE, [])]
    assert session.changes(("t", 1, 5), max_wait_ms=WAIT_MS) == out_of_range
    assert session.changes(max_wait_ms=WAIT_MS) == out_of_range
    assert session.changes(("t", 1, 0)) == [(1, 0, [])]
    assert session.changes() == []


def test_a_wrong_epoch_or_id_changes_nothing(client, session):
    for epoch in (0x7FFFFFFF, 2, -2, -5):
        response = session.fetch(session_epoch=epoch)
        assert (response.error_code, response.session_id, response.responses) == (ErrorCode.INVALID_FETCH_SESSION_EPOCH, 0, [])
    for session_id, epoch in ((session.session_id + 1, 1), (0, 1), (0, -5)):
        response = session.fetch(session_id=session_id, session_epoch=epoch)
        assert (response.error_code, response.session_id, response.responses) == (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0, [])
    other_kind = client.fetch(version=12 if session.version >= 13 else 13, session_id=session.session_id, session_epoch=1)
    assert (other_kind.error_code, other_kind.session_id) == (ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, 0)
    assert session.changes() == [(0, 0, [0])]


def test_a_full_fetch_ends_the_session_it_names(client, session):
    old = session.session_id
    session.fetch(("t", 1, 0), session_epoch=0)
    session.epoch = 1
    assert session.session_id not in (0, old)
    assert client.fetch(version=session.version, session_id=old, session_epoch=1).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    final = session.fetch(("t", 1, 0), session_epoch=-1)
    assert (final.session_id, [change[1:] for change in client.told(final)]) == (0, [(1, 0, [])])
    assert len(client.cluster.fetch_sessions) == 0
    assert client.partition("t")._watchers is None


def test_what_is_forgotten_is_not_told_and_an_empty_session_ends(client, session):
    assert session.changes(("t", 0, 0), forget=[("t", [0])]) == []
    client.produce("t", partition=0)
    assert session.changes(forget=[("nobody", [0])]) == []
    last = session.fetch(forget=[("t", [1, 2, 3])], max_wait_ms=WAIT_MS)
    assert (last.error_code, last.session_id, last.responses) == (0, 0, [])
    assert len(client.cluster.fetch_sessions) == 0


def test_what_is_named_while_the_session_is_emptied_is_told_without_one(client, session):
    client.produce("t", partition=1)
    last = session.fetch(("t", 1, 0), forget=[("t", [0, 1, 2, 3])])
    assert (last.session_id, [change[1:] for change in client.told(last)]) == (0, [(1, 0, [0])])
    assert len(client.cluster.fetch_sessions) == 0


def test_two_may_wait_in_one_session(client, session):
    session.changes(("t", 0, 1))
    first = session.fetch(max_wait_ms=WAIT_MS)
    session.epoch += 1
    second = client.another_connection().fetch(
        version=session.version, session_id=session.session_id, session_epoch=session.epoch, max_wait_ms=WAIT_MS
    )
    client.produce("t", partition=2)
    assert [change[1:] for one in (first, second) for change in client.told(one.response)] == [(2, 0, [0])] * 2


def test_a_session_with_an_unknown_partition_waits_all_the_same_and_tells_it_each_time(client, session):
    unknown = ErrorCode.UNKNOWN_TOPIC_ID if session.version >= 13 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    session.changes(("t", 0, 1))
    waiting = session.fetch(("nobody", 0, 0), max_wait_ms=WAIT_MS)
    assert not waiting.is_answered
    client.cluster.waits.advance(WAIT_MS)
    session.note(waiting.response)
    assert [change[1:] for change in client.told(waiting.response)] == [(0, unknown, [])]
    assert session.changes() == [(0, unknown, [])]
    client.create("nobody")
    assert session.changes() == ([(0, 0, [])] if session.version < 13 else [(0, unknown, [])])


def test_a_topic_that_was_there_once_keeps_its_name(client, session):
    """Its id is known, so a partition that it never had is not of an unknown topic, also when the topic is gone."""
    missing = [(9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [])]
    assert session.changes(("t", 0, 1), ("t", 9, 0)) == missing
    client.delete("t")
    assert session.changes()[-1:] == missing
    client.create("t", 10)
    again = ErrorCode.NONE if session.version < 13 else ErrorCode.INCONSISTENT_TOPIC_ID
    assert (9, again, []) in session.changes()


def test_a_topic_that_is_deleted_and_made_again(client, session):
    """FS-09: by name it is found again, by id it is another one."""
    session.changes(("t", 0, 1))
    waiting = session.fetch(max_wait_ms=WAIT_MS)
    client.delete("t")
    session.note(waiting.response)
    gone = [(index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, []) for index in range(4)]
    assert client.told(waiting.response)[0][1:] == gone[0]
    assert session.changes(max_wait_ms=WAIT_MS) == gone
    client.create("t", 4)
    if session.version >= 13:
        assert session.changes() == [(index, ErrorCode.INCONSISTENT_TOPIC_ID, []) for index in range(4)]
    else:
        assert session.changes() == [(0, ErrorCode.OFFSET_OUT_OF_RANGE, []), (1, 0, []), (2, 0, []), (3, 0, [])]
        assert session.changes(("t", 0, 0)) == [(0, 0, [])]
        assert session.changes() == []


def test_a_session_outlives_its_connection(client, session):
    client.session.close()
    assert (
        client.another_connection().fetch(("t", 0, 1), version=session.version, session_id=session.session_id, session_epoch=1).error_code
        == 0
    )


def test_a_wait_goes_with_its_connection_but_the_session_stays(client, session):
    session.changes(("t", 0, 1))
    waiting = session.fetch(max_wait_ms=WAIT_MS)
    client.session.close()
    client.produce("t", partition=2)
    assert not waiting.is_answered
    session.epoch += 1
    assert session.changes() == [(2, 0, [0])]


def test_the_epoch_after_the_largest_is_1(client, session):
    client.cluster.fetch_sessions._sessions[session.session_id].epoch = session.epoch = 2**31 - 1
    session.fetch()
    session.epoch = 1
    assert session.fetch().error_code == 0


# -- room --------------------------------------------------------------------------------------------------------


def new_session(client, *partitions):
    return client.fetch(*[("t", index, 0) for index in partitions], session_epoch=0).session_id


def is_kept(client, session_id):
    return session_id in client.cluster.fetch_sessions._sessions


@pytest.mark.parametrize(("slots", "kept"), [(0, 0), (7, 0), (8, 8), (15, 8)])
def test_there_are_as_many_sessions_as_kafka_has_room_for(start, slots, kept):
    client = start({"max.incremental.fetch.session.cache.slots": str(slots)})
    client.create("t")
    ids = [new_session(client, 0) for _ in range(20)]
    assert [bool(one) for one in ids] == [True] * kept + [False] * (20 - kept)
    assert len(set(ids[:kept])) == kept


def test_all_sessions_together_hold_so_many_partitions_and_no_more(client, monkeypatch):
    """One frame can name a hundred thousand that do not exist: a thousand sessions of those would be a way to fill the memory."""
    monkeypatch.setattr(fetch_sessions, "MAX_FETCH_SESSION_PARTITIONS", 6)
    client.create("t", 6)
    first, second, third = (new_session(client, 0, 1) for _ in range(3))
    assert all((first, second, third))
    assert new_session(client, 0) == 0  # which is answered all the same
    grown = client.fetch(("t", 2, 0), session_id=first, session_epoch=1)
    assert grown.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert not is_kept(client, first)

    assert new_session(client, 0, 1) != 0
    client.cluster.clock.advance(EVICTION_MS + 1)
    assert new_session(client, *range(5)) != 0
    assert not is_kept(client, second)
    assert not is_kept(client, third)


def test_who_was_away_for_long_or_is_small_and_not_young_makes_room(start):
    client = start({"max.incremental.fetch.session.cache.slots": "8"})
    client.create("t", 3)
    small, *others = [new_session(client, *([0] if number == 0 else [0, 1])) for number in range(8)]
    assert new_session(client, 0, 1, 2) == 0  # all are young
    client.cluster.clock.advance(EVICTION_MS)
    for epoch, session_id in enumerate([small, *others]):
        assert client.fetch(session_id=session_id, session_epoch=1).error_code == 0, epoch
    client.cluster.clock.advance(1)
    assert new_session(client, 0) == 0  # no larger than the smallest
    assert new_session(client, 0, 1) != 0
    assert not is_kept(client, small)
    client.cluster.clock.advance(EVICTION_MS)
    assert new_session(client, 0) != 0  # in the place of the one that was away longest
    assert [is_kept(client, one) for one in others] == [False] + [True] * 6


# -- cost --------------------------------------------------------------------------------------------------------


def test_a_large_session_costs_what_changed(start):
    """10,000 partitions in which nothing changed: at most 1 ms of the broker's time, and one that changed does not cost much more."""
    client = start()
    client.create("t", 5000)
    client.create("u", 5000)
    full = client.fetch_request([], version=12, session_epoch=0)
    partition = FetchRequest.FetchPartition
    full.topics = [
        FetchRequest.FetchTopic(
            topic=name, partitions=[partition(partition=index, fetch_offset=0, partition_max_bytes=1000) for index in range(5000)]
        )
        for name in ("t", "u")
    ]
    waiting = client.send(full, 12)
    client.cluster.waits.advance()  # so many partitions are looked for on disk in slices
    response = waiting.response
    assert sum(len(topic.partitions) for topic in response.responses) == 10_000

    durations = []
    for epoch in range(1, 21):
        if epoch % 2:
            client.produce("t", partition=epoch)
            client.fetch(("t", epoch, 1), session_id=response.session_id, session_epoch=2 * epoch - 1)
        else:
            client.fetch(session_id=response.session_id, session_epoch=2 * epoch - 1)
        started = time.process_time()
        answer = client.fetch(session_id=response.session_id, session_epoch=2 * epoch)
        durations.append(time.process_time() - started)
        assert (answer.error_code, answer.responses) == (0, [])
    assert min(durations) <= 0.001


# -- whatever happens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_a_session_tells_the_same_as_full_fetches_would(start, seed):
    """A client who applies what its session tells it knows what a full fetch says, whatever happens between, and whatever is waited for."""
    print("seed", seed)
    chance = random.Random(seed)
    client = start()
    session = SessionClient(client, chance.choice(VERSIONS))
    topics = ["a", "b"]
    for name in topics:
        client.create(name, 3)
    wanted = {}
    known = {}

    def apply(response):
        assert response.error_code == 0
        for topic in response.responses:
            name = topic.topic or next(one.name for one in client.cluster.metadata.topics.values() if one.topic_id == topic.topic_id)
            for one in topic.partitions:
                known[name, one.partition_index] = (one.error_code, one.high_watermark, one.log_start_offset)
        return {
            (topic.topic or topic.topic_id, one.partition_index) for topic in response.responses for one in topic.partitions if one.records
        }

    for _ in range(60):
        for _ in range(chance.randrange(4)):
            name, index = chance.choice(topics), chance.randrange(3)
            partition = client.partition(name, index)
            match chance.randrange(4):
                case 0 | 1:
                    client.produce(name, client.batch(chance.randrange(1, 3)), partition=index)
                case 2:
                    partition.delete_records(chance.randrange(partition.log.start_offset, partition.log.end_offset + 1))
                case _ if session.version < 13 and chance.random() < 0.2:
                    client.delete(name)
                    client.create(name, 3)
        changes = {}
        for name in topics:
            for index in range(4):  # one of them does not exist
                if chance.random() < 0.3:
                    partition = client.partition(name, index)
                    end = partition.log.end_offset if partition else 0
                    changes[name, index] = chance.choice([0, end, end, end + 1])
        forgotten = [key for key in wanted if key not in changes and chance.random() < 0.1]
        if not session.session_id:
            wanted.clear()
            known.clear()
            forgotten = []
        wanted.update(changes)
        for key in forgotten:
            del wanted[key]
            known.pop(key, None)
        response = session.fetch(
            *[(*key, offset) for key, offset in changes.items()],
            forget=[(name, [index]) for name, index in forgotten],
            max_wait_ms=chance.choice([0, WAIT_MS]),
        )
        if hasattr(response, "is_answered"):
            if chance.random() < 0.5:
                client.produce(chance.choice(topics), partition=chance.randrange(3))
            client.cluster.waits.advance(WAIT_MS)
            response = response.response
            session.note(response)
        gave_records = apply(response)

        everything = client.fetch(*[(*key, offset) for key, offset in wanted.items()], version=session.version)
        told_now = dict(known)
        assert apply(everything) == gave_records
        assert {key: told_now.get(key) for key in wanted} == {key: known[key] for key in wanted}
