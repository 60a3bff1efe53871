"""InitProducerId without transactions (I-01 … I-03)."""

import pytest

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import InitProducerIdRequest
from pykbroker.storage.memory_files import MemoryFiles

VERSIONS = range(6)


def init(client, version=5, **fields):
    response = client.send(InitProducerIdRequest(**{"transactional_id": None, "transaction_timeout_ms": 60_000, **fields}), version)
    return response.error_code, response.producer_id, response.producer_epoch


@pytest.mark.parametrize("version", VERSIONS)
def test_every_call_gets_an_id_of_its_own(client, version):
    answers = [init(client, version, transaction_timeout_ms=timeout_ms) for timeout_ms in (60_000, 0, -1)]
    assert {(error, epoch) for error, _, epoch in answers} == {(0, 0)}
    assert len({producer_id for _, producer_id, _ in answers}) == 3


def test_no_id_is_given_twice_over_blocks_and_crashes(start):
    files = MemoryFiles()
    given = []
    for _ in range(3):
        client = start(files=files)
        given += [init(client)[1] for _ in range(1001)]
    assert len(set(given)) == 3003


@pytest.mark.parametrize("version", VERSIONS)
def test_transactions_are_refused_for_good(client, version):
    assert init(client, version, transactional_id="tx") == (ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1, -1)
    assert init(client, version, transactional_id="") == (ErrorCode.INVALID_REQUEST, -1, -1)


@pytest.mark.parametrize("version", range(3, 6))
@pytest.mark.parametrize(("producer_id", "epoch", "is_refused"), [(-1, 0, True), (5, -1, True), (-2, -1, True), (5, 0, False)])
def test_an_id_and_its_epoch_come_together(client, version, producer_id, epoch, is_refused):
    answer = init(client, version, producer_id=producer_id, producer_epoch=epoch)
    assert answer == ((ErrorCode.INVALID_REQUEST, -1, -1) if is_refused else (0, 0, 0))
