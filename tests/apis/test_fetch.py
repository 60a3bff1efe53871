"""Fetch without a session, and its long poll (F-01 … F-29, W-21)."""

import pytest

from pykbroker.broker import Broker, Listener
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import FetchRequest
from pykbroker.protocol.records import batches

VERSIONS = range(4, 19)
WAIT_MS = 500


@pytest.fixture
def topic(client):
    """`t` has 3, 2, 1 and 0 batches of one record in its partitions."""
    client.create("t", 4)
    for partition, count in enumerate((3, 2, 1)):
        for _ in range(count):
            client.produce("t", client.batch(size=100), partition=partition)
    return "t"


@pytest.fixture
def batch_size(client):
    return len(client.batch(size=100))


def offsets(response):
    """How the partitions answered: {index: offsets of its batches}, or the error."""
    return {
        one.partition_index: one.error_code or [batch.base_offset for batch in batches(one.records)]
        for topic in response.responses
        for one in topic.partitions
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_from_the_offset_on_is_answered(client, topic, version):
    response = client.fetch(("t", 0, 1), ("t", 3, 0), version=version)

    full, empty = response.responses[0].partitions
    assert [batch.base_offset for batch in batches(full.records)] == [1, 2]
    assert (full.high_watermark, full.last_stable_offset) == (3, 3)
    assert full.log_start_offset == (0 if version >= 5 else -1)
    assert full.aborted_transactions is None
    assert full.preferred_read_replica == -1
    assert (bytes(empty.records), empty.error_code, empty.high_watermark) == (b"", 0, 0)
    assert response.session_id == 0


def test_the_batch_that_holds_the_offset_comes_whole(client):
    client.create("t")
    client.produce("t", client.batch(10))
    client.produce("t", client.batch(10))
    assert offsets(client.fetch(("t", 0, 15))) == {0: [10]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offset", [-1, -5, 4, 1000])
def test_an_offset_out_of_range_is_told_at_once(client, topic, version, offset):
    response = client.fetch(("t", 3, 0), ("t", 0, offset), version=version, max_wait_ms=WAIT_MS)
    answer = response.responses[0].partitions[1]
    assert answer.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert (answer.high_watermark, answer.last_stable_offset, answer.log_start_offset) == (-1, -1, -1)
    assert (bytes(answer.records), answer.aborted_transactions) == (b"", None)


# -- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_bytes", "expected"),
    [
        ("0", {1: 1, 0: 0, 2: 0}),
        ("1", {1: 1, 0: 0, 2: 0}),
        ("size - 1", {1: 1, 0: 0, 2: 0}),
        ("2 * size", {1: 2, 0: 0, 2: 0}),
        ("3 * size", {1: 2, 0: 1, 2: 0}),
        ("4 * size", {1: 2, 0: 2, 2: 0}),
        ("100 * size", {1: 2, 0: 3, 2: 1}),
    ],
)
def test_max_bytes_is_shared_in_the_requests_order_and_the_first_batch_is_whole(client, topic, batch_size, max_bytes, expected):
    limit = eval(max_bytes, {"size": batch_size})
    response = client.fetch(("t", 1, 0), ("t", 0, 0), ("t", 2, 0), max_bytes=limit)
    assert {index: len(found) for index, found in offsets(response).items()} == expected


def test_only_the_first_partition_with_data_may_exceed_its_limit(client, topic):
    small = {"partition_max_bytes": 1}
    assert offsets(client.fetch(("t", 3, 0, small), ("t", 0, 0, small), ("t", 1, 0, small))) == {3: [], 0: [0], 1: []}


def test_bytes_are_cut_exactly_at_the_limit(client, topic, batch_size):
    response = client.fetch(("t", 0, 0, {"partition_max_bytes": batch_size + 10}))
    assert len(response.responses[0].partitions[0].records) == batch_size + 10


def test_a_negative_limit_is_an_error_where_there_are_records(client, topic):
    assert offsets(client.fetch(("t", 0, 0, {"partition_max_bytes": -1}), ("t", 3, 0, {"partition_max_bytes": -1}))) == {0: -1, 3: []}
    assert offsets(client.fetch(("t", 3, 0), ("t", 0, 0), ("t", 1, 0), max_bytes=-1)) == {3: [], 0: [0], 1: []}
    assert offsets(client.fetch(("t", 0, 0), ("t", 1, 0), max_bytes=-1)) == {0: -1, 1: [0]}


def test_the_brokers_own_limit_counts(start):
    client = start({"fetch.max.bytes": "1024"})
    client.create("t")
    for _ in range(30):
        client.produce("t", client.batch(size=100))
    assert len(client.fetch(("t", 0, 0)).responses[0].partitions[0].records) == 1024


# -- what cannot be answered -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_unknown_partitions_come_last_and_do_not_end_a_wait(client, topic, version):
    unknown_topic = ErrorCode.UNKNOWN_TOPIC_ID if version >= 13 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    waiting = client.fetch(("nobody", 0, 0), ("t", 9, 0), ("t", 3, 0), version=version, max_wait_ms=WAIT_MS)
    client.cluster.waits.advance(WAIT_MS - 1)
    assert not waiting.is_answered
    client.cluster.waits.advance(1)

    parts = [one for topic in waiting.response.responses for one in topic.partitions]
    assert [(one.partition_index, one.error_code) for one in parts] == [
        (3, 0),
        (0, unknown_topic),
        (9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert [one.aborted_transactions for one in parts] == [None, [], []]
    assert [one.high_watermark for one in parts] == [0, -1, -1]


@pytest.mark.parametrize("version", range(13, 19))
def test_topics_are_looked_for_before_partitions(client, topic, version):
    response = client.fetch(("t", 9, 0), ("nobody", 0, 0), version=version)
    errors = [one.error_code for topic in response.responses for one in topic.partitions]
    assert errors == [ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.parametrize("version", VERSIONS)
def test_where_there_is_nothing_to_wait_for_the_answer_comes_at_once(client, topic, version):
    only_unknown = client.fetch(("nobody", 0, 0), ("t", 9, 0), version=version, max_wait_ms=WAIT_MS)
    assert len([one for topic in only_unknown.responses for one in topic.partitions]) == 2
    assert client.fetch(version=version, max_wait_ms=WAIT_MS).responses == []


@pytest.mark.parametrize("version", VERSIONS)
def test_of_a_partition_that_is_named_twice_the_last_offset_counts(client, topic, version):
    response = client.fetch(("t", 0, 0), ("t", 1, 1), ("t", 0, 2), version=version)
    assert offsets(response) == {0: [2], 1: [1]}
    assert len(response.responses) == 1


@pytest.mark.parametrize("version", range(9, 19))
@pytest.mark.parametrize(
    ("epoch", "error"), [(4, ErrorCode.NONE), (-1, ErrorCode.NONE), (3, ErrorCode.FENCED_LEADER_EPOCH), (5, ErrorCode.UNKNOWN_LEADER_EPOCH)]
)
def test_a_client_with_another_leader_epoch_is_told(client, topic, version, epoch, error):
    client.partition("t").leader_epoch = 4
    response = client.fetch(("t", 3, 0), ("t", 0, 0, {"current_leader_epoch": epoch}), version=version)
    answer = response.responses[0].partitions[1]
    assert answer.error_code == error
    told_leader = version >= 16 and error == ErrorCode.FENCED_LEADER_EPOCH
    assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == ((1, 4) if told_leader else (-1, -1))
    assert [(one.node_id, one.host, one.port) for one in response.node_endpoints] == ([(1, "127.0.0.1", 9092)] if told_leader else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_who_asks_the_wrong_broker_learns_the_right_one(client, topic, version):
    client.partition("t").leader_id = 7
    client.cluster.metadata.brokers[7] = Broker(7, "rack-a", listeners=[Listener("PLAINTEXT", "", 0, "other.example", 9192)])
    response = client.fetch(("t", 0, 0), version=version, max_wait_ms=WAIT_MS)
    answer = response.responses[0].partitions[0]
    assert (answer.error_code, answer.high_watermark) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)
    expected = [(7, "other.example", 9192, "rack-a")] if version >= 16 else []
    assert [(one.node_id, one.host, one.port, one.rack) for one in response.node_endpoints] == expected
    assert answer.current_leader.leader_id == (7 if version >= 16 else -1)


@pytest.mark.parametrize("version", [4, 14, 15, 18])
def test_who_is_no_replica_may_not_fetch_as_one(client, topic, version):
    if version < 15:
        response = client.fetch(("t", 0, 0), version=version, replica_id=5)
    else:
        response = client.fetch(("t", 0, 0), version=version, replica_state=FetchRequest.ReplicaState(replica_id=5))
    assert offsets(response) == {0: ErrorCode.NOT_LEADER_OR_FOLLOWER}
    assert response.node_endpoints == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("isolation_level", [2, -1])
def test_an_isolation_level_that_does_not_exist_fails_the_whole_request(client, topic, version, isolation_level):
    response = client.fetch(("t", 0, 0), ("t", 9, 0), version=version, isolation_level=isolation_level, max_wait_ms=WAIT_MS)
    assert offsets(response) == ({} if version >= 13 else {0: -1, 9: -1})
    assert response.error_code == (-1 if version >= 7 else 0)


def test_an_isolation_level_does_not_matter_where_there_is_nothing_to_read(client, topic):
    response = client.fetch(("t", 9, 0), isolation_level=2, max_wait_ms=WAIT_MS)
    assert (response.error_code, offsets(response)) == (0, {9: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION})


@pytest.mark.parametrize(
    ("fetch_offset", "last_fetched_epoch", "expected"),
    [
        (2, 0, (0, -1, -1)),
        (2, -1, (0, -1, -1)),
        (5, 0, (0, 0, 3)),  # the log's epoch 0 ends at 3: what the client read beyond it is gone
        (3, 2, (0, 0, 3)),  # epoch 2 wrote nothing here
        (1, 9, (ErrorCode.OFFSET_OUT_OF_RANGE, -1, -1)),
        (-2, 0, (ErrorCode.OFFSET_OUT_OF_RANGE, -1, -1)),
    ],
)
def test_a_client_that_read_what_was_truncated_is_told_where(client, topic, fetch_offset, last_fetched_epoch, expected):
    client.partition("t").leader_epoch = 4
    client.produce("t")
    fields = {"last_fetched_epoch": last_fetched_epoch}
    response = client.fetch(("t", 0, fetch_offset, fields), ("t", 3, 0), max_wait_ms=0 if expected == (0, -1, -1) else WAIT_MS)
    answer = response.responses[0].partitions[0]
    assert (answer.error_code, answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) == expected
    if expected == (0, 0, 3):
        assert (bytes(answer.records), answer.high_watermark) == (b"", 4)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_log_that_is_offline_is_told(client, topic, version):
    client.partition("t").log.go_offline(OSError("the disk is gone"))
    old = version < 6
    expected = ErrorCode.NOT_LEADER_OR_FOLLOWER if old else ErrorCode.KAFKA_STORAGE_ERROR
    assert offsets(client.fetch(("t", 0, 0), ("t", 1, 1), version=version, max_wait_ms=WAIT_MS)) == {0: expected, 1: [1]}


# -- waiting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_the_answer_comes_with_the_next_append(client, topic, version):
    waiting = client.fetch(("t", 0, 3), ("t", 3, 0), version=version, max_wait_ms=WAIT_MS)
    client.cluster.waits.advance(WAIT_MS - 1)
    assert not waiting.is_answered
    client.produce("t", partition=3)
    assert offsets(waiting.response) == {0: [], 3: [0]}


@pytest.mark.parametrize("max_wait_ms", [0, -1])
@pytest.mark.parametrize("min_bytes", [1, 100_000])
def test_who_does_not_wait_gets_what_there_is(client, topic, max_wait_ms, min_bytes):
    assert offsets(client.fetch(("t", 2, 0), ("t", 3, 0), max_wait_ms=max_wait_ms, min_bytes=min_bytes)) == {2: [0], 3: []}


@pytest.mark.parametrize("min_bytes", [0, -1])
def test_who_wants_no_bytes_does_not_wait(client, topic, min_bytes):
    assert offsets(client.fetch(("t", 3, 0), max_wait_ms=WAIT_MS, min_bytes=min_bytes)) == {3: []}


def test_min_bytes_are_counted_over_all_partitions(client, topic, batch_size):
    """F-08: a first batch is there, two more come in one partition, and the one in the other partition is enough."""
    waiting = client.fetch(("t", 2, 0), ("t", 3, 0), ("t", 1, 2), max_wait_ms=WAIT_MS, min_bytes=4 * batch_size)
    answered = []
    for partition in (3, 3, 1):
        client.produce("t", client.batch(size=100), partition=partition)
        answered.append(waiting.is_answered)
    assert answered == [False, False, True]
    assert offsets(waiting.response) == {2: [0], 3: [0, 1], 1: [2]}


def test_min_bytes_is_capped_by_max_bytes_but_not_by_the_partitions_limit(client, topic, batch_size):
    assert offsets(client.fetch(("t", 0, 0), max_wait_ms=WAIT_MS, min_bytes=100_000, max_bytes=10)) == {0: [0]}
    waiting = client.fetch(("t", 0, 0, {"partition_max_bytes": 10}), max_wait_ms=WAIT_MS, min_bytes=batch_size + 1)
    client.produce("t", client.batch(size=100))
    assert not waiting.is_answered
    client.cluster.waits.advance(WAIT_MS)
    assert offsets(waiting.response) == {0: [0]}


def test_records_count_across_a_new_segment(client, batch_size):
    client.create("t", segment_bytes=1048576)
    client.produce("t", client.batch(size=1_000_000))
    end = client.partition("t").log.end_offset
    waiting = client.fetch(("t", 0, end), max_wait_ms=WAIT_MS, min_bytes=2 * batch_size)
    client.produce("t", client.batch(size=100))
    assert not waiting.is_answered
    client.partition("t").log.roll(client.cluster.clock.now_ms)
    client.produce("t", client.batch(size=100))
    client.cluster.waits.advance(WAIT_MS)
    assert offsets(waiting.response) == {0: [1]}  # one answer holds one segment (F-25)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_that_is_deleted_ends_the_wait(client, topic, version):
    """F-11, F-28: 3 from the wait, in every version; unknown only from the next request on."""
    waiting = client.fetch(("t", 3, 0), version=version, max_wait_ms=WAIT_MS)
    topic_id = client.topic_id("t")
    client.delete("t")
    answer = waiting.response.responses[0].partitions[0]
    assert (answer.error_code, answer.high_watermark, answer.aborted_transactions) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, None)
    assert topic_id not in client.cluster.metadata.topics_by_id


def test_a_leader_that_moves_and_a_log_that_breaks_end_the_wait(client, topic):
    moved = client.fetch(("t", 0, 3), max_wait_ms=WAIT_MS)
    broken = client.fetch(("t", 1, 2), max_wait_ms=WAIT_MS)
    client.partition("t").leader_id = 7
    client.partition("t").changed()
    client.partition("t", 1).log.go_offline(OSError("the disk is gone"))
    assert offsets(moved.response) == {0: ErrorCode.NOT_LEADER_OR_FOLLOWER}
    assert offsets(broken.response) == {1: ErrorCode.KAFKA_STORAGE_ERROR}


def test_records_that_are_deleted_wake_nobody(client, topic):
    waiting = client.fetch(("t", 0, 3), max_wait_ms=WAIT_MS)
    client.partition("t").delete_records(2)
    assert not waiting.is_answered


def test_nothing_is_kept_for_a_connection_that_is_gone(client, topic):
    waiting = client.fetch(("t", 0, 3), max_wait_ms=WAIT_MS)
    assert client.partition("t")._watchers
    client.session.close()
    assert client.partition("t")._watchers is None
    client.produce("t")
    client.cluster.waits.advance(WAIT_MS)
    assert not waiting.is_answered


def test_an_answer_leaves_nothing_behind(client, topic):
    waiting = client.fetch(("t", 0, 3), max_wait_ms=WAIT_MS)
    client.produce("t")
    assert waiting.is_answered
    assert client.session.on_close == []
    assert client.partition("t")._watchers is None
