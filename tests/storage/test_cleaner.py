"""Compaction: the newest record of each key stays, at its offset; whatever happens meanwhile, nobody sees anything else."""

import errno
import struct
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.records import BatchProperties, ControlRecordType, NewRecord, RecordBatch, batches, build_batch, control_record_key
from pykbroker.storage import cleaner
from pykbroker.storage.log import LogConfig, UnifiedLog
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles

CONFIG = LogConfig(is_compacted=True, is_deleted=False, min_cleanable_dirty_ratio=0.0, segment_bytes=600, index_interval_bytes=100)
NOW_MS = 10_000_000


def write(log: UnifiedLog, *records: tuple[bytes, bytes | None], compression=CompressionType.NONE, timestamp=1000, **producer) -> None:
    new = [NewRecord(value, key=key, timestamp=timestamp + number) for number, (key, value) in enumerate(records)]
    log.append_built(build_batch(new, BatchProperties(compression=compression, **producer)), 0, NOW_MS)


def end_transaction(log: UnifiedLog, producer_id: int, kind: ControlRecordType) -> None:
    record = NewRecord(struct.pack(">hi", 0, 0), key=control_record_key(kind), timestamp=1000)
    log.append_built(
        build_batch([record], BatchProperties(producer_id=producer_id, producer_epoch=0, is_transactional=True, is_control=True)), 0, NOW_MS
    )


def clean(log: UnifiedLog, now_ms: int = NOW_MS) -> bool:
    """One round, if there is reason for one."""
    found = cleaner.cleanable(log, now_ms)
    if found is None:
        return False
    for _ in cleaner.clean(log, found, now_ms):
        pass
    return True


def records_in(log: UnifiedLog) -> list[tuple[int, bytes | None, bytes | None, int]]:
    found, offset = [], log.start_offset
    while offset < log.end_offset:
        read = list(batches(log.read(offset, 10**6, log.end_offset).records))
        for batch in read:
            assert batch.is_sound()
            offset = batch.next_offset
            found += [] if batch.is_control else [(one.offset, one.key, one.value, one.timestamp) for one in batch.records()]
        if not read:
            break
    return found


def offsets_in(log: UnifiedLog) -> list[int]:
    return [offset for offset, *_ in records_in(log)]


def shapes(log: UnifiedLog) -> list[tuple[int, int, int]]:
    """Each batch: its first and last offset, and how many records are left."""
    return [(batch.base_offset, batch.last_offset, batch.record_count) for segment in log.segments for _, batch in segment.batches_from(0)]


keys = st.sampled_from([b"a", b"b", b"c", b"d"])
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"),
            st.lists(st.tuples(keys, st.one_of(st.none(), st.binary(max_size=60))), min_size=1, max_size=5),
            st.sampled_from([CompressionType.NONE, CompressionType.LZ4]),
        ),
        st.tuples(st.just("roll")),
        st.tuples(st.just("clean")),
        st.tuples(st.just("reopen"), st.booleans()),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_the_newest_of_each_key_stays_where_it_was(logs, steps):
    files = MemoryFiles()
    log = logs.create(files, CONFIG)
    written: list[tuple[int, bytes, bytes | None, int]] = []
    for step, *arguments in steps:
        if step == "write":
            records, compression = arguments
            written += [(log.end_offset + number, key, value, 1000 + number) for number, (key, value) in enumerate(records)]
            write(log, *records, compression=compression)
        elif step == "roll":
            log.roll(NOW_MS)
        elif step == "clean":
            clean(log)
        else:
            if arguments[0]:
                log.close()
            log = logs.reopen(files, CONFIG, clean=arguments[0], cleaned_up_to=log.first_dirty_offset)
        assert log.offline is None
    found = records_in(log)
    assert log.end_offset == len(written)
    assert set(found) <= set(written)
    assert [record for record in found if record[0] >= log.first_dirty_offset] == written[log.first_dirty_offset :]
    newest = {key: offset for offset, key, _, _ in written}
    assert set(newest.values()) <= {offset for offset, *_ in found}
    cleaned = [(offset, key) for offset, key, _, _ in found if offset < log.first_dirty_offset]
    assert len({key for _, key in cleaned}) == len(cleaned), "a key is there twice in what was cleaned"
    for offset, key, value, timestamp in found:
        read = next(batches(log.read(offset, 1).records))
        assert (offset, timestamp, key, value) in [tuple(record[:4]) for record in read.records()]
    assert log.first_offset_at_or_after(0).offset == (found[0][0] if found else -1)
    assert log.largest_timestamp().timestamp == max((timestamp for *_, timestamp in found), default=-1)


def test_the_active_segment_is_not_touched_and_offsets_stay(logs):
    log = logs.create(MemoryFiles(), CONFIG)
    for value in (b"1", b"2", b"3"):
        write(log, (b"k", value), (b"other", value))
    assert not clean(log)
    log.roll(NOW_MS)
    write(log, (b"k", b"4"))

    assert clean(log)
    assert shapes(log) == [(4, 5, 2), (6, 6, 1)]
    assert offsets_in(log) == [4, 5, 6]
    assert next(batches(log.read(0, 100).records)).base_offset == 4
    assert log.start_offset == 0
    assert not clean(log)


def test_an_emptied_batch_goes_but_at_the_end_of_the_round(logs):
    """As Kafka 4.3 does it: in the middle of a round whole segments may be left empty, and a later round takes what was its end."""
    log = logs.create(MemoryFiles(), CONFIG)
    for _ in range(8):
        write(log, (b"k", b"x"))
        log.roll(NOW_MS)
    write(log, (b"other", b"without a newer one"))
    write(log, (None, b"without a key"))
    log.roll(NOW_MS)

    clean(log)
    assert shapes(log) == [(7, 7, 1), (8, 8, 1), (9, 9, 0)]
    assert next(batches(log.read(0, 100).records)).base_offset == 7
    assert (log.start_offset, log.end_offset) == (0, 10)

    write(log, (b"k", b"y"))
    log.roll(NOW_MS)
    clean(log)
    assert shapes(log) == [(8, 8, 1), (10, 10, 1)]
    assert log.end_offset == 11


def test_gaps_that_compaction_made_are_no_loss_under_another_policy(logs):
    """After a crash a gap between segments says that one is lost, but where it was compacted before (the cleanup policy may be another one now)."""
    files = MemoryFiles()
    log = logs.create(files, replace(CONFIG, segment_bytes=150))
    for number in range(5):
        write(log, (b"ab"[number % 2 :][:1], b"x" * 60))
        log.roll(NOW_MS)
    clean(log)
    assert offsets_in(log) == [3, 4]

    reopened = logs.reopen(files, replace(CONFIG, is_compacted=False), clean=False, cleaned_up_to=log.first_dirty_offset)

    assert offsets_in(reopened) == [3, 4]
    assert reopened.end_offset == 5


def test_an_emptied_batch_stays_where_it_is_its_producers_last(logs):
    log = logs.create(MemoryFiles(), CONFIG)
    write(log, (b"k", b"1"), producer_id=7, producer_epoch=0, base_sequence=0, compression=CompressionType.GZIP)
    write(log, (b"k", b"2"), producer_id=7, producer_epoch=0, base_sequence=1, compression=CompressionType.GZIP)
    write(log, (b"k", b"3"))
    log.roll(NOW_MS)
    clean(log)

    assert shapes(log) == [(1, 1, 0), (2, 2, 1)]
    empty = log.segments[0].last_batch() and next(log.segments[0].batches_from(0)).batch
    assert (empty.base_sequence, empty.producer_id, list(empty.records())) == (1, 7, [])


def test_a_tombstone_stays_for_its_time(logs):
    log = logs.create(MemoryFiles(), replace(CONFIG, delete_retention_ms=5000))
    write(log, (b"k", b"1"), (b"x", b"1"))
    write(log, (b"k", None))
    log.roll(NOW_MS)
    clean(log, NOW_MS)
    assert [(offset, value) for offset, _, value, _ in records_in(log)] == [(1, b"1"), (2, None)]
    marked = next(placed.batch for placed in log.segments[0].batches_from(0) if placed.batch.base_offset == 2)
    assert marked.delete_horizon_ms == NOW_MS + 5000
    assert next(marked.records()).timestamp == 1000

    for later, left in ((4999, [1, 2, 3]), (5001, [1, 4])):
        write(log, (b"y", b"1"))
        log.roll(NOW_MS)
        clean(log, NOW_MS + later)
        assert offsets_in(log) == left


def test_what_was_aborted_goes_and_its_marker_when_nothing_is_left(logs):
    log = logs.create(MemoryFiles(), replace(CONFIG, segment_bytes=10_000, delete_retention_ms=5000))
    write(log, (b"k", b"committed"))
    write(log, (b"k", b"aborted"), (b"z", b"aborted"), producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)
    end_transaction(log, 7, ControlRecordType.ABORT)
    write(log, (b"q", b"later"), producer_id=7, producer_epoch=0, base_sequence=2)
    log.roll(NOW_MS)
    clean(log)
    assert [(offset, value) for offset, _, value, _ in records_in(log)] == [(0, b"committed"), (4, b"later")]
    assert shapes(log) == [(0, 0, 1), (3, 3, 1), (4, 4, 1)]
    assert [one.producer_id for one in log.read(0, 10**6, committed=True).aborted_transactions] == [7]

    write(log, (b"r", b"1"))
    log.roll(NOW_MS)
    clean(log, NOW_MS + 5001)
    assert shapes(log) == [(0, 0, 1), (4, 4, 1), (5, 5, 1)]
    assert log.read(0, 10**6, committed=True).aborted_transactions == []


def test_nothing_is_cleaned_from_an_open_transaction_on(logs):
    log = logs.create(MemoryFiles(), replace(CONFIG, segment_bytes=10_000))
    write(log, (b"k", b"1"))
    write(log, (b"k", b"2"))
    write(log, (b"t", b"1"), producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)
    write(log, (b"k", b"3"))
    write(log, (b"k", b"4"))
    log.roll(NOW_MS)
    clean(log)
    assert offsets_in(log) == [1, 2, 3, 4]

    end_transaction(log, 7, ControlRecordType.COMMIT)
    log.roll(NOW_MS)
    clean(log)
    assert offsets_in(log) == [2, 4]


def test_lags_and_the_dirty_ratio_decide_when(logs):
    log = logs.create(MemoryFiles(), replace(CONFIG, min_cleanable_dirty_ratio=0.5))
    for value in (b"1", b"2"):
        write(log, (b"k", value), timestamp=NOW_MS)
    log.roll(NOW_MS)
    log.config = replace(log.config, min_compaction_lag_ms=8000)
    assert not clean(log, NOW_MS + 7999)
    assert clean(log, NOW_MS + 8000)

    log.config = replace(log.config, min_compaction_lag_ms=0, min_cleanable_dirty_ratio=0.9)
    write(log, (b"k", b"3"), timestamp=NOW_MS)
    log.roll(NOW_MS)
    assert not clean(log, NOW_MS + 50_000)
    log.config = replace(log.config, max_compaction_lag_ms=2000)
    assert not clean(log, NOW_MS + 2000)
    assert clean(log, NOW_MS + 2001)
    assert offsets_in(log) == [2]


def test_max_compaction_lag_rolls_earlier_than_segment_ms(logs):
    log = logs.create(MemoryFiles(), replace(CONFIG, max_compaction_lag_ms=1000))
    for timestamp in (1000, 2000, 2001):
        write(log, (b"k", b"x"), timestamp=timestamp)
    assert [segment.base_offset for segment in log.segments] == [0, 2]


def test_small_segments_become_one(logs):
    files = MemoryFiles()
    log = logs.create(files, CONFIG)
    for number in range(8):
        write(log, (b"k%d" % number, b"x"))
        log.roll(NOW_MS)
    clean(log)

    assert [segment.base_offset for segment in log.segments] == [0, 8]
    assert offsets_in(log) == list(range(8))
    assert [name for name in files.list(log.directory) if name.endswith((".deleted", ".swap", ".cleaned"))] == []


def test_who_is_faster_than_the_cleaner_wins(logs, monkeypatch):
    monkeypatch.setattr(cleaner, "BYTES_PER_SLICE", 1)
    for slices in range(1, 40):
        files = MemoryFiles()
        log = logs.create(files, CONFIG)
        for number in range(12):
            write(log, (b"k%d" % (number % 3), b"x" * 50))
        log.roll(NOW_MS)
        found = cleaner.cleanable(log, NOW_MS)
        assert found is not None
        round_ = cleaner.clean(log, found, NOW_MS)
        for _ in range(slices):
            next(round_, None)
        log.truncate_to(5)
        write(log, (b"new", b"y"))
        for _ in round_:
            pass
        assert log.offline is None
        assert records_in(log)[-1][:3] == (5, b"new", b"y"), f"after {slices} slices"
        assert log.end_offset == 6


class Disk:
    """Fails from its n-th operation on, counted from when it is armed."""

    def __init__(self, fails_at: int, code: int) -> None:
        self.fails_at = fails_at
        self.code = code
        self.operations = 0
        self.is_armed = False

    def __call__(self, operation: str, name: str) -> int | None:
        if self.is_armed:
            self.operations += 1
            if self.operations >= self.fails_at:
                raise OSError(self.code, f"{operation} fails", name)
        return None


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_stop_at_any_operation_leaves_the_old_records_or_the_new(logs, code):
    before = after = None
    for fails_at in count(1):
        memory, disk = MemoryFiles(), Disk(fails_at, code)
        log = logs.create(FaultyFiles(memory, disk), CONFIG)
        for number in range(20):
            write(log, (b"k%d" % (number % 3), b"x" * 40))
        log.roll(NOW_MS)
        before = records_in(log)
        disk.is_armed = True
        clean(log)
        found = records_in(logs.reopen(memory, CONFIG, clean=False))
        assert {record for record in before if record[0] >= 17} <= set(found) <= set(before), f"operation {fails_at}"
        assert [record[0] for record in found] == sorted({record[0] for record in found})
        leftovers = [name for name in memory.list(log.directory) if name.endswith((".deleted", ".swap", ".cleaned"))]
        assert leftovers == []
        if disk.operations < fails_at:
            after = found
            break
    assert fails_at > 20
    assert after is not None
    assert len(after) == 3 < len(before)


def copy_of(files: MemoryFiles, directory: str) -> MemoryFiles:
    copy = MemoryFiles()
    copy.make_directory(directory)
    for name in files.list(directory):
        copy.append(f"{directory}/{name}", [files.read_whole(f"{directory}/{name}")])
    return copy


def test_a_start_that_is_killed_while_it_ends_a_compaction_loses_nothing(logs):
    newest = {b"k0", b"k1", b"k2"}
    for fails_at in count(1):
        memory, disk = MemoryFiles(), Disk(fails_at, errno.EIO)
        log = logs.create(FaultyFiles(memory, disk), replace(CONFIG, segment_bytes=10_000))
        for number in range(20):
            write(log, (b"k%d" % (number % 3), b"x" * 40))
            if number % 4 == 3:
                log.roll(NOW_MS)  # small segments, of which one is made
        write(log, (b"behind", b"them"))
        disk.is_armed = True
        clean(log)
        if disk.operations < fails_at:
            break
        if not any(name.endswith(".log.swap") for name in memory.list(log.directory)):
            continue
        for killed_at in count(1):
            left, killed = copy_of(memory, log.directory), Disk(killed_at, errno.EIO)
            killed.is_armed = True
            logs.reopen(FaultyFiles(left, killed), CONFIG, clean=False)
            found = logs.reopen(left, CONFIG, clean=False)
            offsets = offsets_in(found)
            assert found.end_offset == 21, f"operations {fails_at} and {killed_at}"
            assert offsets == sorted(set(offsets))
            assert {key for _, key, *_ in records_in(found)} == {*newest, b"behind"}
            if killed.operations < killed_at:
                break


def test_a_crash_at_any_time_leaves_the_newest(logs, seeds):
    for seed in range(150):
        source = seeds(seed)
        files = MemoryFiles(crashable=True)
        log = logs.create(files, replace(CONFIG, flush_messages=1))
        for number in range(20):
            write(log, (b"k%d" % (number % 3), b"x" * 40))
        log.roll(NOW_MS)
        log.flush()
        before = records_in(log)
        found = cleaner.cleanable(log, NOW_MS)
        for _ in cleaner.clean(log, found, NOW_MS):
            if source.random() < 0.2:
                break
        reopened = logs.reopen(files.crash(source), CONFIG, clean=False, recovery_point=source.randrange(21))
        assert {record for record in before if record[0] >= 17} <= set(records_in(reopened)) <= set(before), f"seed {seed}"
        assert reopened.end_offset == 20


def test_a_batch_written_anew_keeps_all_that_stands_in_its_header(logs):
    log = logs.create(MemoryFiles(), CONFIG)
    write(log, (b"a", b"1"), (b"b", b"1"), (b"a", b"2"), compression=CompressionType.ZSTD, producer_id=3, producer_epoch=2, base_sequence=9)
    log.roll(NOW_MS)
    before: RecordBatch = next(log.segments[0].batches_from(0)).batch
    clean(log)
    after = next(log.segments[0].batches_from(0)).batch

    for name in (
        "base_offset",
        "last_offset",
        "partition_leader_epoch",
        "producer_id",
        "producer_epoch",
        "base_sequence",
        "compression",
        "max_timestamp",
    ):
        assert getattr(after, name) == getattr(before, name), name
    assert [record.offset for record in after.records()] == [1, 2]
