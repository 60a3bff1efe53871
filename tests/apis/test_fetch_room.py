"""While peers leave their answers unread, a Fetch gives less, or nothing and later; errors are told all the same."""

import sys

import pytest

from pykbroker.limits import MAX_WAIT_FOR_ROOM_MS
from pykbroker.protocol.errors import ErrorCode

LONG_MS = 60_000


@pytest.fixture
def client(start):
    client = start()
    client.create("t", 2)
    for partition in (0, 0, 0, 1):
        client.produce("t", client.batch(size=1000), partition=partition)
    return client


def sizes(response):
    return [len(one.records or b"") for topic in response.responses for one in topic.partitions]


def test_it_gives_as_much_as_there_is_room_for_but_one_batch(client):
    everything = [("t", 0, 0), ("t", 1, 0)]
    whole = sizes(client.fetch(*everything))
    batch_bytes = whole[1]
    assert whole == [3 * batch_bytes, batch_bytes]

    client.cluster.room_for_records = 2 * batch_bytes
    assert sizes(client.fetch(*everything)) == [2 * batch_bytes, 0]
    client.cluster.room_for_records = 1
    assert sizes(client.fetch(*everything)) == [batch_bytes, 0]


def test_without_room_it_comes_later_and_without_records(client):
    client.cluster.room_for_records = 0
    assert sizes(client.fetch(("t", 0, 0))) == [0]

    waiting = client.fetch(("t", 0, 0), max_wait_ms=LONG_MS)
    client.cluster.waits.advance(MAX_WAIT_FOR_ROOM_MS - 1)
    assert not waiting.is_answered
    client.cluster.waits.advance(1)
    response = waiting.response
    assert sizes(response) == [0]
    assert response.responses[0].partitions[0].high_watermark == 3


def test_what_finds_room_at_its_end_has_records(client):
    client.cluster.room_for_records = 0
    waiting = client.fetch(("t", 0, 0), max_wait_ms=LONG_MS)
    client.cluster.room_for_records = sys.maxsize
    client.cluster.waits.advance(MAX_WAIT_FOR_ROOM_MS)

    assert sizes(waiting.response)[0] > 3000


def test_an_error_does_not_wait_for_room(client):
    client.cluster.room_for_records = 0

    response = client.fetch(("t", 0, 99), max_wait_ms=LONG_MS)

    assert response.responses[0].partitions[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE
