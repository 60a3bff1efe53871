"""What a client, an operator and Kafka's own tools can see of one partition's log."""

import struct

import pytest

from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import BatchProperties, ControlRecordType, NewRecord, batches, build_batch, control_record_key
from pykbroker.storage.log import NOTHING_FOUND, LogConfig, OffsetOutOfRange
from pykbroker.storage.memory_files import MemoryFiles
from pykbroker.storage.validator import RecordsRefused, one_batch

DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def files():
    return MemoryFiles()


def offsets(records) -> list[tuple[int, int]]:
    return [(found.base_offset, found.last_offset) for found in batches(records)]


# -- rolling -----------------------------------------------------------------------------------------------------------


def bases(log) -> list[int]:
    return [segment.base_offset for segment in log.segments]


def test_a_full_segment_is_followed_by_another(logs, files, batch):
    size = len(batch(b"x" * 100))
    log = logs.create(files, LogConfig(segment_bytes=3 * size))
    for _ in range(7):
        log.append_built(batch(b"x" * 100), 0, 0)

    assert bases(log) == [0, 3, 6]
    assert [name for name in files.list(log.directory) if name.endswith(".log")] == [f"{base:020d}.log" for base in (0, 3, 6)]


def test_segment_ms_counts_from_the_first_record_not_from_now(logs, files, batch):
    log = logs.create(files, LogConfig(segment_ms=1000, segment_jitter_ms=100))
    for timestamp in (5000, 5900, 5901, 6801, 6802):
        log.append_built(batch(b"x", timestamp=timestamp), 0, now_ms=10**12)

    assert bases(log) == [0, 2, 4]


def test_segment_ms_counts_from_its_making_where_records_have_no_time(logs, files, batch):
    log = logs.create(files, LogConfig(segment_ms=1000))
    for now_ms in (100, 1000, 1001, 2000):
        log.append_built(batch(b"x", timestamp=-1), 0, now_ms)

    assert bases(log) == [0, 2]


def test_a_full_index_rolls(logs, files, batch):
    log = logs.create(files, LogConfig(index_interval_bytes=0, segment_index_bytes=48))
    for number in range(8):
        log.append_built(batch(b"x", timestamp=1000 + number), 0, 0)

    assert len(bases(log)) > 1
    assert all(files.size(segment.name("timeindex")) <= 48 for segment in log.segments[:-1])


def test_offsets_too_far_from_the_base_roll(logs, files, batch):
    log = logs.create(files)
    log.append_built(batch(b"x"), 0, 0)
    log.end_offset = 2**31 - 2
    log.append_built(batch(b"y"), 0, 0)
    log.append_built(batch(b"z"), 0, 0)
    log.append_built(batch(b"z"), 0, 0)

    assert bases(log) == [0, 2**31]
    assert offsets(log.read(2**31, 1000).records) == [(2**31, 2**31)]


def test_a_batch_larger_than_a_segment_is_refused(logs, files, batch):
    log = logs.create(files, LogConfig(segment_bytes=100))
    with pytest.raises(RecordsRefused) as refused:
        log.append_as_leader(one_batch(bytearray(batch(b"x" * 100)), 9), 0, 2000)

    assert refused.value.error_code == ErrorCode.RECORD_LIST_TOO_LARGE
    assert log.end_offset == 0


# -- reading -----------------------------------------------------------------------------------------------------------


def test_reads_begin_with_the_whole_batch_and_end_at_the_limit(logs, files, batch):
    log = logs.create(files)
    for _ in range(3):
        log.append_built(batch(*[b"x"] * 10), 0, 0)
    size = len(batch(*[b"x"] * 10))

    assert offsets(log.read(15, 10_000).records) == [(10, 19), (20, 29)]
    assert len(log.read(0, size + 500).records) == min(size + 500, 3 * size)
    assert [len(log.read(0, limit).records) for limit in (0, 1, size - 1)] == [size] * 3
    assert log.read(0, size - 1, at_least_one=False).records == b""
    assert len(log.read(0, size, at_least_one=False).records) == size


def test_one_read_is_out_of_one_segment(logs, files, batch):
    log = logs.create(files, LogConfig(segment_bytes=3 * len(batch(b"x"))))
    for _ in range(5):
        log.append_built(batch(b"x"), 0, 0)

    assert offsets(log.read(1, 10**6).records) == [(1, 1), (2, 2)]
    assert offsets(log.read(3, 10**6).records) == [(3, 3), (4, 4)]


def test_large_batches_are_read_whole_wherever_they_lie(logs, files, batch):
    log = logs.create(files)
    for number in range(20):
        log.append_built(batch(bytes([number]) * (number % 3 * 50_000 + 10)), 0, 0)
    for offset in range(20):
        first = next(batches(log.read(offset, 1).records))
        assert first.base_offset == offset
        assert next(first.records()).value[:1] == bytes([offset])


def test_what_is_read_says_where_the_log_stands(logs, files, batch):
    log = logs.create(files)
    log.append_built(batch(b"x", b"y"), 0, 0)
    log.delete_records(1)
    read = log.read(2, 1000)

    assert (bytes(read.records), read.high_watermark, read.last_stable_offset, read.log_start_offset, read.aborted_transactions) == (
        b"",
        2,
        2,
        1,
        None,
    )
    assert log.read(1, 1000, upper_offset=1).records == b""
    for outside in (-1, 0, 3):
        with pytest.raises(OffsetOutOfRange):
            log.read(outside, 1000)


def test_damage_in_the_middle_is_told_and_nothing_is_cut(logs, files, batch):
    log = logs.create(files, LogConfig(index_interval_bytes=0))
    large = batch(b"x" * 5000)
    for _ in range(5):
        log.append_built(large, 0, 0)
    log.close()
    name, size = log.segments[0].log_name, len(large)
    whole = files.read_whole(name)
    files.put(name, whole[: 2 * size + 8] + b"\xff\xff\xff\xff" + whole[2 * size + 12 :])
    log = logs.reopen(files, clean=True)

    with pytest.raises(KafkaError) as refused:
        log.read(2, 1000)
    assert refused.value.error_code == ErrorCode.CORRUPT_MESSAGE
    assert offsets(log.read(4, 1000).records) == [(4, 4)]
    assert files.size(name) == len(whole)


# -- by time -----------------------------------------------------------------------------------------------------------


def test_times_are_found_to_the_record(logs, files):
    log = logs.create(files)
    for first in (5000, 4000, 6000):
        records = [NewRecord(b"x", timestamp=first + 100 * number) for number in range(3)]
        log.append_built(build_batch(records, BatchProperties(compression=CompressionType.GZIP)), first // 1000, 0)

    assert log.first_offset_at_or_after(0) == (5000, 0, 5)
    assert log.first_offset_at_or_after(5101) == (5200, 2, 5)
    assert log.first_offset_at_or_after(5201) == (6000, 6, 6)
    assert log.first_offset_at_or_after(6201) == NOTHING_FOUND
    assert log.largest_timestamp() == (6200, 8, 6)
    log.delete_records(7)
    assert log.first_offset_at_or_after(0) == (6100, 7, 6)


def test_the_first_of_equal_largest_timestamps_counts_also_before_the_start(logs, files, batch):
    log = logs.create(files)
    for timestamp in (10, 30, 30, 20):
        log.append_built(batch(b"x", timestamp=timestamp), 0, 0)
    log.delete_records(4)

    assert log.largest_timestamp() == (30, 1, 0)
    assert logs.create(MemoryFiles()).largest_timestamp() == NOTHING_FOUND


def test_the_first_of_records_without_a_timestamp_counts_where_there_are_no_others(logs, batch):
    log = logs.create(MemoryFiles())
    for _ in range(2):
        log.append_built(batch(b"x", timestamp=-1), 0, 0)

    assert log.largest_timestamp() == (-1, 0, 0)


# -- removing ----------------------------------------------------------------------------------------------------------


def test_old_segments_go_the_active_one_too_when_all_of_it_is_old(logs, files, batch):
    log = logs.create(files, LogConfig(segment_bytes=2 * len(batch(b"x")), retention_ms=1000))
    for timestamp in (100, 5000, 200, 300, 400):
        log.append_built(batch(b"x", timestamp=timestamp), 0, 0)

    assert log.apply_retention(5999) == []
    assert [segment.base_offset for segment in log.apply_retention(6001)] == [0, 2, 4]
    assert (log.start_offset, log.end_offset, bases(log)) == (5, 5, [5])
    log.append_built(batch(b"y", timestamp=6000), 0, 0)
    assert offsets(log.read(5, 1000).records) == [(5, 5)]


@pytest.mark.parametrize(
    ("limit", "left"),
    [(0, []), (100, [5]), (171, [5]), (172, [4, 5]), (500, [3, 4, 5]), (10**6, [0, 1, 2, 3, 4, 5]), (-1, [0, 1, 2, 3, 4, 5])],
)
def test_retention_bytes_keeps_at_least_so_much(logs, files, limit, left):
    built = build_batch([NewRecord(b"x" * 101, timestamp=1)])
    assert len(built) == 171
    log = logs.create(files, LogConfig(segment_bytes=180, retention_bytes=limit, retention_ms=-1))
    for _ in range(6):
        log.append_built(built, 0, 0)
    log.apply_retention(0)

    assert [base for base in bases(log) if base < 6] == left
    assert log.end_offset == 6


def test_a_topic_without_cleanup_keeps_all_but_what_was_deleted(logs, files, batch):
    log = logs.create(files, LogConfig(segment_bytes=len(batch(b"x")), retention_ms=1, retention_bytes=0, is_deleted=False))
    for _ in range(4):
        log.append_built(batch(b"x"), 0, 0)
    assert log.apply_retention(DAY_MS) == []

    log.delete_records(2)
    assert [segment.base_offset for segment in log.apply_retention(DAY_MS)] == [0, 1]


def test_deleted_segments_are_renamed_first_and_swept_at_the_next_start(logs, files, batch):
    log = logs.create(files, LogConfig(segment_bytes=len(batch(b"x")), retention_bytes=0))
    log.append_built(batch(b"x"), 0, 0)
    log.append_built(batch(b"x"), 0, 0)
    doomed = log.apply_retention(0)
    assert {name for name in files.list(log.directory) if name.startswith("0" * 20)} == {
        f"{0:020d}.{suffix}.deleted" for suffix in ("log", "index", "timeindex")
    }

    doomed[0].delete()
    log.close()
    logs.reopen(files, clean=True)
    assert [name for name in files.list(log.directory) if ".deleted" in name] == []


def test_the_log_starts_where_it_was_told_to(logs, files, batch):
    log = logs.create(files)
    for _ in range(3):
        log.append_built(batch(b"x", b"y"), 0, 0)
    log.delete_records(3)
    log.delete_records(1)

    assert log.start_offset == 3
    assert offsets(log.read(3, 1000).records)[0] == (2, 3)
    for outside in (7, -1):
        with pytest.raises(OffsetOutOfRange):
            log.delete_records(outside)


def test_a_log_whose_known_start_lies_behind_its_end_never_gives_an_offset_twice(logs, files, batch):
    log = logs.create(files)
    log.append_built(batch(b"x"), 0, 0)
    for clean in (False, True):
        log = logs.reopen(files, clean=clean, start_offset=10)
        assert (log.start_offset, log.end_offset, bases(log)) == (10, 10, [10])


def test_a_cut_log_forgets_its_producers_epochs_and_aborted_transactions(logs, files, batch):
    log = logs.create(files)
    log.append_built(batch(b"a", producer_id=1, producer_epoch=0, base_sequence=0), 0, 0)
    log.append_built(batch(b"b", producer_id=2, producer_epoch=0, base_sequence=0, is_transactional=True), 1, 0)
    log.append_built(marker(2, ControlRecordType.ABORT), 1, 0)
    log.append_built(batch(b"c", producer_id=1, producer_epoch=0, base_sequence=1), 2, 0)
    log.truncate_to(2)

    assert log.end_offset == 2
    assert {entry.producer_id: entry.last_sequence for entry in log.producers.producers.values()} == {1: 0, 2: 0}
    assert log.leader_epochs.latest == 1
    assert log.last_stable_offset == 1
    assert log.read(0, 1000, committed=True).aborted_transactions == []


# -- producers and transactions ----------------------------------------------------------------------------------------


def marker(producer_id: int, kind: ControlRecordType, coordinator_epoch: int = 0) -> bytes:
    record = NewRecord(struct.pack(">hi", 0, coordinator_epoch), key=control_record_key(kind), timestamp=1000)
    return build_batch([record], BatchProperties(producer_id=producer_id, producer_epoch=0, is_transactional=True, is_control=True))


def test_a_retry_is_known_and_gets_its_first_answer(logs, files, batch):
    log = logs.create(files)
    sent = [batch(b"x", b"y", producer_id=5, producer_epoch=0, base_sequence=2 * number) for number in range(7)]
    for one in sent:
        log.append_as_leader(one_batch(bytearray(one), 9), 0, 2000)
    answers = [log.append_as_leader(one_batch(bytearray(one), 9), 0, 2000) for one in sent[2:]]

    assert [(answer.first_offset, answer.last_offset, answer.duplicate) for answer in answers] == [
        (2 * number, 2 * number + 1, True) for number in range(2, 7)
    ]
    assert log.end_offset == 14
    for one in sent[:2]:
        with pytest.raises(KafkaError) as refused:
            log.append_as_leader(one_batch(bytearray(one), 9), 0, 2000)
        assert refused.value.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_after_a_clean_stop_the_last_batch_of_a_producer_is_known(logs, files, batch):
    log = logs.create(files)
    sent = [batch(b"x", producer_id=5, producer_epoch=0, base_sequence=number) for number in range(3)]
    for one in sent:
        log.append_as_leader(one_batch(bytearray(one), 9), 0, 2000)
    log.close()
    log = logs.reopen(files, clean=True)

    assert log.append_as_leader(one_batch(bytearray(sent[2]), 9), 0, 2000).duplicate
    with pytest.raises(KafkaError) as refused:
        log.append_as_leader(one_batch(bytearray(sent[1]), 9), 0, 2000)
    assert refused.value.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_an_open_transaction_holds_back_the_last_stable_offset(logs, files, batch):
    log = logs.create(files)
    log.append_built(batch(b"plain"), 0, 0)
    log.append_built(batch(b"t1", producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True), 0, 0)
    log.append_built(batch(b"t2", producer_id=2, producer_epoch=0, base_sequence=0, is_transactional=True), 0, 0)
    assert log.last_stable_offset == 1
    assert offsets(log.read(0, 10_000, committed=True).records) == [(0, 0)]
    assert offsets(log.read(0, 10_000).records) == [(0, 0), (1, 1), (2, 2)]

    log.append_built(marker(1, ControlRecordType.COMMIT, coordinator_epoch=4), 0, 0)
    assert log.last_stable_offset == 2
    assert log.producers.producers[1].coordinator_epoch == 4
    log.delete_records(3)
    assert log.last_stable_offset == 3
    log.append_built(marker(2, ControlRecordType.COMMIT), 0, 0)
    assert log.last_stable_offset == log.end_offset == 5


@pytest.mark.parametrize("stop", ["none", "clean", "unclean"])
def test_aborted_transactions_are_told_in_the_order_of_their_markers(logs, files, batch, stop):
    log = logs.create(files, LogConfig(segment_bytes=400))
    for producer_id in (1, 2, 3):
        log.append_built(batch(b"x", producer_id=producer_id, producer_epoch=0, base_sequence=0, is_transactional=True), 0, 0)
    for producer_id, kind in ((2, ControlRecordType.ABORT), (3, ControlRecordType.COMMIT), (1, ControlRecordType.ABORT)):
        log.append_built(marker(producer_id, kind), 0, 0)
    if stop != "none":
        log.close()
        log = logs.reopen(files, LogConfig(segment_bytes=400), clean=stop == "clean")
    assert len(log.segments) > 1

    told = log.read(0, 10_000, committed=True).aborted_transactions
    assert [(one.producer_id, one.first_offset, one.last_offset, one.last_stable_offset) for one in told] == [(2, 1, 3, 0), (1, 0, 5, 6)]
    assert [one.producer_id for one in log.read(4, 10_000, committed=True).aborted_transactions] == [1]
    assert log.read(0, 10_000).aborted_transactions is None


# -- epochs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_leader_epochs_are_known_after_a_restart(logs, files, batch, clean):
    log = logs.create(files)
    for epoch in (0, 0, 2, 2, 5):
        log.append_built(batch(b"x"), epoch, 0)
    if clean:
        log.close()
    log = logs.reopen(files, clean=clean)

    assert log.leader_epochs.entries == [(0, 0), (2, 2), (5, 4)]
    assert [log.leader_epochs.end_offset_for(epoch, log.end_offset) for epoch in (0, 1, 2, 5)] == [(0, 2), (0, 2), (2, 4), (5, 5)]


def test_records_that_go_take_their_epochs_along(logs, files, batch):
    log = logs.create(files)
    for epoch in (0, 1, 1, 3):
        log.append_built(batch(b"x"), epoch, 0)
    log.delete_records(2)
    assert log.leader_epochs.entries == [(1, 2), (3, 3)]

    log.truncate_to(3)
    log.append_built(batch(b"x"), 3, 0)
    log.leader_epochs.assign(4, 4)
    log.append_built(batch(b"x"), 6, 0)
    assert log.leader_epochs.entries == [(1, 2), (3, 3), (6, 4)]
