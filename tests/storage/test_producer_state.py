"""Idempotent producers: a retry is known, a gap is refused, and the snapshot file says what Kafka's would."""

import pytest

from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import RecordBatch
from pykbroker.storage.producer_state import ProducerState, SnapshotDamaged

LARGEST_SEQUENCE = 2**31 - 1


@pytest.fixture
def send(batch):
    """Check and count in a batch of one producer, as the log does; its offset is its turn."""
    state = ProducerState()
    sent = 0

    def send(sequence: int, *values: bytes, epoch: int = 0, producer_id: int = 1) -> ProducerState:
        nonlocal sent
        one = RecordBatch(memoryview(batch(*(values or (b"x",)), producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)))
        one.base_offset = sent
        state.check(one)
        state.update(one)
        sent += one.record_count
        return state

    return send


def refused(send, *arguments, **named) -> ErrorCode:
    with pytest.raises(KafkaError) as raised:
        send(*arguments, **named)
    return raised.value.error_code


def test_an_unknown_producer_may_begin_anywhere(send):
    send(7)
    assert refused(send, 7) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refused(send, 9) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    send(8)


def test_there_is_no_epoch_below_none(send):
    assert refused(send, 0, epoch=-2) == ErrorCode.INVALID_PRODUCER_EPOCH
    send(0, epoch=-1)


def test_sequences_go_round(send, batch):
    send(LARGEST_SEQUENCE)
    send(0)
    send(1, producer_id=2)
    state = send(LARGEST_SEQUENCE, b"a", b"b", b"c", producer_id=3)
    send(2, producer_id=3)
    retry = RecordBatch(memoryview(batch(b"a", b"b", b"c", producer_id=3, producer_epoch=0, base_sequence=LARGEST_SEQUENCE)))
    assert state.duplicate_of(retry).first_offset == 3


def test_a_new_epoch_begins_at_zero_and_ends_the_old_one(send):
    send(0)
    assert refused(send, 1, epoch=1) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    send(0, epoch=5)
    assert refused(send, 1, epoch=0) == ErrorCode.INVALID_PRODUCER_EPOCH
    send(1, epoch=5)


def test_only_the_same_five_batches_are_repetitions(send, batch):
    for number in range(6):
        state = send(2 * number, b"a", b"b")

    def known(sequence: int, *values: bytes, epoch: int = 0):
        return state.duplicate_of(RecordBatch(memoryview(batch(*values, producer_id=1, producer_epoch=epoch, base_sequence=sequence))))

    assert [known(2 * number, b"a", b"b") is not None for number in range(6)] == [False, True, True, True, True, True]
    assert known(4, b"other", b"content").first_offset == 4
    assert known(4, b"a") is None
    assert known(5, b"a") is None
    assert known(4, b"a", b"b", epoch=1) is None


def test_who_has_been_silent_is_forgotten(send):
    state = send(0)
    last = state.producers[1].last_timestamp
    state.expire(last + 99, 100)
    assert 1 in state.producers
    state.expire(last + 100, 100)
    assert state.producers == {}


def test_an_open_transaction_is_not_forgotten(batch):
    state = ProducerState()
    state.update(RecordBatch(memoryview(batch(b"x", producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True))))
    state.expire(10**15, 1)

    assert state.first_unstable_offset() == 0


def test_a_snapshot_tells_everything_but_older_batches(send):
    send(0, b"a", b"b")
    send(2)
    state = send(0, epoch=3, producer_id=2**62)
    found = ProducerState()
    found.load_snapshot(state.snapshot())

    assert found.snapshot() == state.snapshot()
    assert {entry.producer_id: (entry.epoch, entry.last_sequence, len(entry.batches)) for entry in found.producers.values()} == {
        1: (0, 2, 1),
        2**62: (3, 0, 1),
    }


def test_a_damaged_snapshot_is_no_snapshot(send):
    whole = send(0).snapshot()
    for length in range(len(whole)):
        with pytest.raises(SnapshotDamaged):
            ProducerState().load_snapshot(whole[:length])
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        with pytest.raises(SnapshotDamaged):
            ProducerState().load_snapshot(bytes(flipped))
