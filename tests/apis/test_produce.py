"""Produce (P-01 … P-34, I-04 … I-16, W-17, W-18, W-21)."""

import pytest

from pykbroker.broker import Broker, Listener
from pykbroker.context import Close
from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.crc32c import crc32c
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ProduceRequest
from pykbroker.protocol.records import batches
from pykbroker.storage.memory_files import MemoryFiles
from tests.held_work import HeldWork

VERSIONS = range(3, 14)


def patched(batch, at, new, *, sound=True):
    """The batch with other bytes from `at` on; its checksum made right unless it shall not be."""
    batch = bytearray(batch)
    batch[at : at + len(new)] = new
    if sound:
        batch[17:21] = crc32c(bytes(batch[21:])).to_bytes(4, "big")
    return bytes(batch)


def values(client, topic, partition=0):
    response = client.fetch((topic, partition, client.partition(topic, partition).log.start_offset))
    return [record.value for batch in batches(response.responses[0].partitions[0].records) for record in batch.records()]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_gets_the_next_offsets(client, version):
    client.create("t")

    first = client.produce("t", client.batch(3), version=version)
    second = client.produce("t", client.batch(1), version=version)

    assert (first.error_code, first.base_offset, first.log_append_time_ms) == (0, 0, -1)
    assert (second.error_code, second.base_offset) == (0, 3)
    assert second.log_start_offset == (0 if version >= 5 else -1)
    assert len(values(client, "t")) == 4


@pytest.mark.parametrize("acks", [1, -1])
def test_any_compression_is_kept_as_it_came(client, acks):
    client.create("t")
    for compression in CompressionType:
        sent = client.batch(5, size=100, compression=compression)
        answer = client.produce("t", sent, acks=acks)
        stored = client.fetch(("t", 0, answer.base_offset)).responses[0].partitions[0].records
        assert bytes(stored[16:]) == sent[16:]  # all but base offset and leader epoch (P-15)


def test_what_was_appended_is_no_part_of_the_frame_any_more(client):
    """The kit zeroes each frame after it was handled, as a server reads the next one into it."""
    client.create("t")
    client.produce("t", client.batch(2, size=7))
    assert values(client, "t") == [b"v" * 7] * 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bad_partition_leaves_its_neighbours_alone(client, version):
    client.create("t", 3)
    data = [
        (0, client.batch()),
        (1, patched(client.batch(), 70, b"\x07", sound=False)),
        (2, client.batch()),
        (3, client.batch()),
        (-1, b""),
    ]

    response = client.send(client.produce_request("t", data, version=version), version)

    assert {one.index: (one.error_code, one.base_offset) for one in response.responses[0].partition_responses} == {
        0: (0, 0),
        1: (ErrorCode.CORRUPT_MESSAGE, -1),
        2: (0, 0),
        3: (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        -1: (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_topic_is_not_created(client, version):
    answer = client.produce("nobody", version=version)
    assert answer.error_code == (ErrorCode.UNKNOWN_TOPIC_ID if version >= 13 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert (answer.base_offset, answer.log_start_offset, answer.error_message) == (-1, -1, None)
    assert "nobody" not in client.cluster.metadata.topics


def test_of_a_partition_that_is_named_twice_the_last_data_count(client):
    client.create("t")
    one = ProduceRequest.PartitionProduceData
    topic = ProduceRequest.TopicProduceData
    request = ProduceRequest(
        acks=-1,
        timeout_ms=0,
        topic_data=[
            topic(name="t", partition_data=[one(index=0, records=client.batch(5)), one(index=0, records=client.batch(4))]),
            topic(name="t", partition_data=[one(index=0, records=client.batch(2))]),
        ],
    )

    response = client.send(request, 11)

    assert [(one.index, one.base_offset) for topic in response.responses for one in topic.partition_responses] == [(0, 0)]
    assert client.partition("t").log.end_offset == 2


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_partition_that_is_named_twice_the_sound_data_are_appended_and_the_others_told(client, order):
    client.create("t")
    data = [(0, client.batch(2)), (0, b"")][::order]
    response = client.send(client.produce_request("t", data), 11)
    assert [(one.index, one.error_code) for one in response.responses[0].partition_responses] == [(0, ErrorCode.INVALID_RECORD)]
    assert client.partition("t").log.end_offset == 2


@pytest.mark.parametrize(
    ("at", "new", "error"), [(8, (13).to_bytes(4, "big"), ErrorCode.CORRUPT_MESSAGE), (16, b"\3", ErrorCode.CORRUPT_MESSAGE)]
)
def test_a_batch_that_cannot_be_read_fails_the_whole_request(client, at, new, error):
    client.create("t", partitions=2)
    data = [(0, client.batch()), (9, patched(client.batch(), at, new)), (1, client.batch()), (1, b"")]
    response = client.send(client.produce_request("t", data), 11)
    told = [(one.index, one.error_code, bool(one.error_message)) for one in response.responses[0].partition_responses]
    assert told == [(0, error, True), (9, error, True), (1, error, True)]
    assert [client.partition("t", index).log.end_offset for index in (0, 1)] == [0, 0]


def test_a_transactional_mark_counts_only_in_a_whole_batch(client):
    client.create("t")
    transactional = client.batch(producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True)
    assert client.produce("t", transactional).error_code == ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert client.produce("t", transactional[:-1]).error_code == ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("acks", [2, -2, 32767])
def test_acks_that_do_not_exist_are_refused_after_the_records_shape(client, acks):
    client.create("t")
    assert client.produce("t", acks=acks).error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert client.produce("t", b"", acks=acks).error_code == ErrorCode.INVALID_RECORD
    assert client.produce("u", acks=acks).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert client.partition("t").log.end_offset == 0


REFUSED = {
    "empty": (lambda batch: b"", ErrorCode.INVALID_RECORD, False),
    "null": (lambda batch: None, ErrorCode.INVALID_RECORD, False),
    "two batches": (lambda batch: batch + batch, ErrorCode.INVALID_RECORD, False),
    "magic 1": (lambda batch: patched(batch, 16, b"\x01", sound=False), ErrorCode.INVALID_RECORD, False),
    "magic 3": (lambda batch: patched(batch, 16, b"\x03", sound=False), ErrorCode.CORRUPT_MESSAGE, False),
    "checksum": (lambda batch: patched(batch, 70, b"\x07", sound=False), ErrorCode.CORRUPT_MESSAGE, False),
    "cut short": (lambda batch: batch[:-1], ErrorCode.INVALID_RECORD, False),
    "base offset": (lambda batch: patched(batch, 7, b"\x05", sound=False), ErrorCode.INVALID_RECORD, True),
    "count": (lambda batch: patched(batch, 57, b"\0\0\0\x09"), ErrorCode.INVALID_RECORD, True),
    "control": (lambda batch: patched(batch, 21, b"\0\x20"), ErrorCode.INVALID_RECORD, True),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_no_sound_batch_is_refused(client, case, version):
    """P-01 to P-09, and P-27: the log's start is told only where the batch was looked into."""
    damage, error, is_start_told = REFUSED[case]
    client.create("t")
    client.produce("t", client.batch(3))

    answer = client.produce("t", damage(client.batch(2)), version=version)

    assert (answer.error_code, answer.base_offset) == (error, -1)
    assert answer.log_start_offset == (0 if is_start_told and version >= 5 else -1)
    assert client.partition("t").log.end_offset == 3


@pytest.mark.parametrize("version", [7, 8, 13])
def test_keyless_records_on_a_compacted_topic_are_named_one_by_one(client, version):
    client.create("t", cleanup_policy="compact")
    answer = client.produce("t", client.batch(2, key=None), version=version)
    assert answer.error_code == ErrorCode.INVALID_RECORD
    if version >= 8:
        assert [(error.batch_index, bool(error.batch_index_error_message)) for error in answer.record_errors] == [(0, True), (1, True)]
        assert answer.error_message
    else:
        assert answer.record_errors == []


def test_a_timestamp_too_far_ahead_is_refused_and_the_brokers_own_is_told(client):
    client.create("t")
    client.create("stamped", message_timestamp_type="LogAppendTime")
    now_ms = client.cluster.clock.now_ms
    assert client.produce("t", client.batch(timestamp=now_ms + 3_600_001)).error_code == ErrorCode.INVALID_TIMESTAMP
    assert client.produce("t", client.batch(timestamp=now_ms + 3_600_000)).error_code == 0
    assert client.produce("stamped", client.batch(timestamp=5)).log_append_time_ms == now_ms


@pytest.mark.parametrize("version", VERSIONS)
def test_a_transactional_batch_refuses_the_whole_request(client, version):
    client.create("t", 2)
    data = [(0, client.batch()), (1, patched(client.batch(), 21, b"\0\x10")), (9, b"")]

    response = client.send(client.produce_request("t", data, version=version, transactional_id="tx"), version)

    answers = response.responses[0].partition_responses
    assert [one.error_code for one in answers] == [ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED] * 3
    assert client.partition("t").log.end_offset == 0


def test_a_transactional_id_alone_refuses_nothing(client):
    client.create("t")
    response = client.send(client.produce_request("t", [(0, client.batch())], transactional_id="tx"), 11)
    assert response.responses[0].partition_responses[0].error_code == 0


def test_internal_topics_are_written_by_the_admin_client_only(client):
    client.cluster.controller.create_internal_topic("__consumer_offsets")
    refused = client.produce("__consumer_offsets")
    client.client_id = "__admin_client"
    accepted = client.produce("__consumer_offsets")
    assert (refused.error_code, refused.log_start_offset) == (ErrorCode.INVALID_TOPIC_EXCEPTION, -1)
    assert accepted.error_code == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_acks_0_is_answered_with_silence_or_a_closed_connection(client, version):
    client.create("t", 2)
    assert client.produce("t", acks=0, version=version) is None
    bad = client.send(client.produce_request("t", [(0, client.batch()), (1, b"")], acks=0, version=version), version)
    assert isinstance(bad, Close)
    assert client.partition("t").log.end_offset == 2  # the good one of the second request is in (W-18)
    assert isinstance(client.produce("nobody", acks=0, version=version), Close)
    assert client.send(ProduceRequest(acks=0, timeout_ms=0), version) is None


def test_no_topics_and_no_partitions_are_answered_with_nothing(client):
    client.create("t")
    assert client.send(ProduceRequest(acks=-1, timeout_ms=0), 11).responses == []
    assert client.send(client.produce_request("t", []), 11).responses == []


@pytest.mark.parametrize("version", VERSIONS)
def test_who_asks_the_wrong_broker_learns_the_right_one(client, version):
    client.create("t")
    client.partition("t").leader_id = 7
    client.partition("t").leader_epoch = 4
    client.cluster.metadata.brokers[7] = Broker(7, "rack-a", listeners=[Listener("PLAINTEXT", "", 0, "other.example", 9192)])

    response = client.send(client.produce_request("t", [(0, client.batch())], version=version), version)

    (answer,) = response.responses[0].partition_responses
    assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1)
    endpoints = [(one.node_id, one.host, one.port, one.rack) for one in response.node_endpoints]
    if version >= 10:
        assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (7, 4)
        assert endpoints == [(7, "other.example", 9192, "rack-a")]
    else:
        assert endpoints == []


def test_acks_all_needs_min_insync_replicas(client):
    client.create("t", min_insync_replicas=2)
    assert client.produce("t").error_code == 0  # there is but one replica, so one in sync is all that can be asked
    client.partition("t").replicas = [1, 2]
    refused = client.produce("t")
    assert (refused.error_code, refused.base_offset, refused.log_start_offset) == (ErrorCode.NOT_ENOUGH_REPLICAS, -1, 0)
    assert client.produce("t", acks=1).base_offset == 1


# -- idempotent producers ----------------------------------------------------------------------------------------


@pytest.fixture
def idempotent(client):
    client.create("t")

    def produce(sequence, count=1, *, producer_id=5, epoch=0, version=11):
        batch = client.batch(count, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
        answer = client.produce("t", batch, version=version)
        return answer.error_code, answer.base_offset

    return produce


OUT_OF_ORDER = (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)
OLD_EPOCH = (ErrorCode.INVALID_PRODUCER_EPOCH, -1)


def test_the_last_five_batches_are_known_again(idempotent):
    assert [idempotent(sequence) for sequence in range(7)] == [(0, offset) for offset in range(7)]
    assert [idempotent(sequence) for sequence in range(7)] == [OUT_OF_ORDER] * 2 + [(0, offset) for offset in range(2, 7)]
    assert idempotent(6, 2) == OUT_OF_ORDER  # overlaps in part
    assert idempotent(8) == OUT_OF_ORDER
    assert idempotent(7) == (0, 7)


def test_a_newer_epoch_begins_at_0_and_shuts_out_the_older(idempotent):
    assert idempotent(0) == (0, 0)
    assert idempotent(1, epoch=1) == OUT_OF_ORDER
    assert idempotent(0, epoch=1) == (0, 1)
    assert idempotent(0, epoch=0) == OLD_EPOCH
    assert idempotent(0, epoch=5) == (0, 2)


def test_an_unknown_producer_may_begin_anywhere_and_sequences_wrap(idempotent):
    assert idempotent(7) == (0, 0)
    assert idempotent(2**31 - 1, 3, producer_id=6) == (0, 1)
    assert idempotent(2**31 - 1, 3, producer_id=6) == (0, 1)
    assert idempotent(2, producer_id=6) == (0, 4)


def test_a_duplicate_is_known_after_records_were_deleted_and_tells_the_batchs_time(client, idempotent):
    idempotent(0, 2)
    client.partition("t").delete_records(2)
    batch = client.batch(2, producer_id=5, producer_epoch=0, base_sequence=0, timestamp=12345)
    answer = client.produce("t", batch)
    assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (0, 0, 2)
    assert answer.log_append_time_ms == client.cluster.clock.now_ms + 1  # the first one's newest record (I-06)


@pytest.mark.parametrize("is_clean", [True, False])
def test_after_a_restart_the_last_batch_is_known(start, is_clean):
    """After a clean one it alone is, from the snapshot (I-14); after a crash the log is read, and tells of those before it, too."""
    files = MemoryFiles()
    before = start(files=files)
    before.create("t")
    for sequence in range(3):
        before.produce("t", before.batch(producer_id=5, producer_epoch=0, base_sequence=sequence))
    if is_clean:
        before.cluster.stop()

    after = start(files=files)

    older = after.produce("t", after.batch(producer_id=5, producer_epoch=0, base_sequence=1))
    repeated = after.produce("t", after.batch(producer_id=5, producer_epoch=0, base_sequence=2))
    following = after.produce("t", after.batch(producer_id=5, producer_epoch=0, base_sequence=3))
    assert (older.error_code, older.base_offset) == (OUT_OF_ORDER if is_clean else (0, 1))
    assert (repeated.error_code, repeated.base_offset) == (0, 2)
    assert (following.error_code, following.base_offset) == (0, 3)


# -- durability --------------------------------------------------------------------------------------------------


@pytest.fixture
def disk():
    return HeldWork()


@pytest.fixture
def durable(start, disk):
    """A topic `t` whose every record must be on disk before it is told of."""
    client = start(offload=disk)
    client.cluster.controller.create_topics([NewTopic("t", 2, 1, configs={"flush.messages": "1"})])
    disk.run()
    return client


@pytest.mark.parametrize("acks", [1, -1])
def test_nothing_is_acknowledged_or_seen_before_it_is_on_disk(durable, disk, acks):
    reader = durable.fetch(("t", 0, 0), max_wait_ms=500)

    first = durable.produce("t", acks=acks)
    second = durable.produce("t", acks=acks)

    assert first.later.overlaps
    assert not first.is_answered
    assert not reader.is_answered
    disk.run()
    assert [one.response.responses[0].partition_responses[0].base_offset for one in (first, second)] == [0, 1]
    assert reader.response.responses[0].partitions[0].high_watermark >= 1


def test_a_sync_that_fails_is_told_and_takes_only_that_log_away(durable, disk):
    data = [(0, durable.batch()), (1, durable.batch())]
    both = durable.send(durable.produce_request("t", data), 11)
    disk.fail_one()
    assert not both.is_answered
    disk.run()

    answers = {one.index: (one.error_code, one.base_offset) for one in both.response.responses[0].partition_responses}
    assert answers == {0: (ErrorCode.KAFKA_STORAGE_ERROR, -1), 1: (0, 0)}
    refused = durable.produce("t")
    assert (refused.error_code, refused.log_start_offset) == (ErrorCode.KAFKA_STORAGE_ERROR, -1)


def test_acks_0_waits_for_nothing(durable, disk):
    assert durable.produce("t", acks=0) is None


def test_a_batch_shorter_than_its_header_is_found_after_acks(client):
    client.create("t")
    short = bytearray(client.batch()[:60])
    short[8:12] = (48).to_bytes(4, "big")
    assert client.produce("t", bytes(short), acks=2).error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert client.produce("t", bytes(short)).error_code == ErrorCode.CORRUPT_MESSAGE
    response = client.send(client.produce_request("t", [(0, client.batch()), (0, bytes(short))]), 11)
    assert [one.error_code for one in response.responses[0].partition_responses] == [ErrorCode.CORRUPT_MESSAGE]
    assert client.partition("t").log.end_offset == 0
