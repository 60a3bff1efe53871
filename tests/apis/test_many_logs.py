"""A request that needs many logs opened, or made, is worked on in slices: others have their turn meanwhile, and its answer is the same (law 5)."""

import pytest

from pykbroker.partition import LOGS_PER_SLICE
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ListOffsetsRequest
from pykbroker.storage.memory_files import MemoryFiles

COUNT = 5 * LOGS_PER_SLICE


@pytest.fixture
def files():
    return MemoryFiles()


@pytest.fixture
def client(start, files):
    return start(files=files)


def produced(client, count=COUNT, **fields):
    version = fields.setdefault("version", 11)
    return client.send(client.produce_request("t", [(index, client.batch(2)) for index in range(count)], **fields), version)


def logs_on_disk(files):
    return sum(name.startswith("t-") for name in files.list(""))


def errors(response):
    return {one.error_code for one in response.responses[0].partition_responses}


def everything(client, **fields):
    return client.fetch(*[("t", index, 0) for index in range(COUNT)], **fields)


def restarted(client, start, files):
    """The same cluster after a clean stop, which has opened nothing."""
    client.cluster.stop()
    again = start(files=files)
    assert not again.cluster.logs.logs
    return again


@pytest.mark.parametrize("version", [11, 13])
def test_a_produce_that_makes_many_logs_lets_others_have_their_turn(client, files, version):
    client.create("t", COUNT)
    other = client.another_connection()
    other.create("other")
    waiting = produced(client, version=version)
    assert logs_on_disk(files) == LOGS_PER_SLICE
    assert not waiting.is_answered
    assert other.produce("other").error_code == 0

    client.cluster.waits.advance()
    assert errors(waiting.response) == {0}
    assert [one.base_offset for one in waiting.response.responses[0].partition_responses] == [0] * COUNT
    told = client.told(everything(client))
    assert [batch for _topic, _index, _error, batches in told for batch in batches] == [0] * COUNT
    assert errors(produced(client, version=version)) == {0}


def test_a_produce_without_an_answer_appends_all_the_same(client):
    client.create("t", COUNT)
    waiting = produced(client, acks=0)
    client.cluster.waits.advance()

    assert waiting.response is None
    assert all(client.partition("t", index).log.end_offset == 2 for index in range(COUNT))


def test_a_topic_that_is_deleted_meanwhile_is_unknown_from_then_on_and_leaves_nothing(client, files):
    client.create("t", COUNT)
    waiting = produced(client)
    client.delete("t")
    client.cluster.waits.advance()

    told = [one.error_code for one in waiting.response.responses[0].partition_responses]
    assert told == [0] * LOGS_PER_SLICE + [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION] * (COUNT - LOGS_PER_SLICE)
    client.cluster.clock.advance(hours=1)
    assert logs_on_disk(files) == 0


def test_partitions_that_do_not_exist_hold_nobody_up(client):
    client.create("t", 1)
    assert errors(produced(client)) == {0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    told = client.told(everything(client))
    assert sorted({error for _topic, _index, error, _batches in told}) == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.parametrize("version", [11, 13])
def test_a_fetch_that_opens_many_logs_lets_others_have_their_turn(client, start, files, version):
    client.create("t", COUNT)
    produced(client)
    client.cluster.waits.advance()
    client = restarted(client, start, files)
    waiting = everything(client, version=version)
    assert len(client.cluster.logs.logs) == LOGS_PER_SLICE
    assert not waiting.is_answered

    client.cluster.waits.advance()
    assert [batches for _topic, _index, _error, batches in client.told(waiting.response)] == [[0]] * COUNT


def test_a_fetch_of_what_nobody_wrote_waits_as_ever(client, files):
    client.create("t", COUNT)
    waiting = everything(client, max_wait_ms=500)
    client.cluster.waits.advance(499)
    assert not waiting.is_answered
    client.cluster.waits.advance(1)
    assert waiting.is_answered
    assert logs_on_disk(files) == 0


def test_a_list_offsets_that_opens_many_logs_lets_others_have_their_turn(client, start, files):
    client.create("t", COUNT)
    produced(client)
    client.cluster.waits.advance()
    client = restarted(client, start, files)
    wanted = [ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=-1) for index in range(COUNT)]
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=wanted)])
    waiting = client.send(request, 7)
    assert len(client.cluster.logs.logs) == LOGS_PER_SLICE

    client.cluster.waits.advance()
    assert [one.offset for one in waiting.response.topics[0].partitions] == [2] * COUNT
