"""Fetch read_committed: up to the last stable offset, with the transactions that were aborted (F-13 … F-16). Transactions are written as a coordinator would."""

import pytest

from pykbroker.protocol.records import BatchProperties, ControlRecordType, NewRecord, batches, build_batch, control_record_key

COMMITTED = {"isolation_level": 1}
WAIT_MS = 500


@pytest.fixture
def partition(client):
    client.create("t")
    return client.partition("t")


@pytest.fixture
def write(client, partition):
    def append(producer_id, sequence):
        partition.append_as_coordinator(
            client.batch(producer_id=producer_id, producer_epoch=0, base_sequence=sequence, is_transactional=True)
        )

    return append


@pytest.fixture
def end(client, partition):
    def append(producer_id, kind):
        marker = NewRecord(bytes(6), control_record_key(kind), timestamp=client.cluster.clock.now_ms)
        properties = BatchProperties(producer_id=producer_id, producer_epoch=0, is_transactional=True, is_control=True)
        partition.append_as_coordinator(build_batch([marker], properties))

    return append


def answer(response):
    return response.responses[0].partitions[0]


def offsets(response):
    return [batch.base_offset for batch in batches(answer(response).records)]


@pytest.mark.parametrize("version", range(4, 19))
def test_records_of_an_open_transaction_are_seen_by_who_does_not_care(client, write, version):
    client.produce("t")
    write(5, 0)
    client.produce("t")

    everything = client.fetch(("t", 0, 0), version=version)
    committed = client.fetch(("t", 0, 0), version=version, **COMMITTED)

    assert offsets(everything) == [0, 1, 2]
    assert offsets(committed) == [0]
    assert [(answer(one).high_watermark, answer(one).last_stable_offset) for one in (everything, committed)] == [(3, 1), (3, 1)]
    assert answer(everything).aborted_transactions is None
    assert answer(committed).aborted_transactions == []


@pytest.mark.parametrize("kind", [ControlRecordType.COMMIT, ControlRecordType.ABORT])
def test_a_wait_at_the_last_stable_offset_ends_with_the_transaction(client, write, end, kind):
    write(5, 0)
    waiting = client.fetch(("t", 0, 0), max_wait_ms=WAIT_MS, **COMMITTED)
    client.produce("t")
    assert not waiting.is_answered

    end(5, kind)

    assert offsets(waiting.response) == [0, 1, 2]
    aborted = [(one.producer_id, one.first_offset) for one in answer(waiting.response).aborted_transactions]
    assert aborted == ([(5, 0)] if kind is ControlRecordType.ABORT else [])
    assert [batch.is_control for batch in batches(answer(waiting.response).records)] == [False, False, True]


def test_beyond_the_last_stable_offset_nothing_is_waited_for(client, write):
    write(5, 0)
    client.produce("t")
    for offset in (1, 2):
        response = client.fetch(("t", 0, offset), max_wait_ms=WAIT_MS, **COMMITTED)
        assert (answer(response).error_code, offsets(response)) == (0, [])


def test_aborted_transactions_come_in_the_order_in_which_they_ended(client, write, end):
    write(1, 0)
    write(2, 0)
    end(2, ControlRecordType.ABORT)
    end(1, ControlRecordType.ABORT)
    response = client.fetch(("t", 0, 0), **COMMITTED)
    assert [(one.producer_id, one.first_offset) for one in answer(response).aborted_transactions] == [(2, 1), (1, 0)]


def test_without_room_for_records_there_is_no_list_either(client, write):
    client.create("first")
    client.produce("first")
    client.produce("t")
    little = client.fetch(("first", 0, 0), ("t", 0, 0, {"partition_max_bytes": 1}), **COMMITTED)
    none = client.fetch(("first", 0, 0), ("t", 0, 0, {"partition_max_bytes": 0}), **COMMITTED)
    assert [one.responses[1].partitions[0].aborted_transactions for one in (little, none)] == [None, []]


def test_offsets_are_listed_up_to_the_last_stable_one(client, write):
    client.produce("t", client.batch(timestamp=100))
    write(5, 0)
    newest = client.cluster.clock.now_ms
    assert [client.offset("t", -1, **isolation).offset for isolation in ({}, COMMITTED)] == [2, 1]
    assert [client.offset("t", newest, **isolation).offset for isolation in ({}, COMMITTED)] == [1, -1]
    assert [client.offset("t", -3, **isolation).offset for isolation in ({}, COMMITTED)] == [1, -1]
    assert client.offset("t", 100, **COMMITTED).offset == 0
    assert client.offset("t", -1, replica_id=5, **COMMITTED).offset == 2
