"""A base offset has no checksum: recovery judges it by the batches around it, and what it keeps can be read and written on."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pykbroker.protocol.records import batches
from pykbroker.storage.log import LogConfig, UnifiedLog
from pykbroker.storage.memory_files import MemoryFiles

DELETED = LogConfig(index_interval_bytes=0)
COMPACTED = replace(DELETED, is_compacted=True)
COUNT = 6

Batch = Callable[..., bytes]


def written(logs, batch: Batch, config: LogConfig, offsets: list[int]) -> UnifiedLog:
    """A log of batches of two records, which begin at these offsets, as compaction leaves them where there are gaps."""
    log = logs.create(MemoryFiles(), config)
    for offset in offsets:
        log.end_offset = offset
        log.append_built(batch(b"%d" % offset, b"-"), 0, 0)
    return log


def flipped(log: UnifiedLog, number: int, bit: int) -> None:
    """Flip a bit of the base offset of the batch with that number."""
    name = log.active_segment.log_name
    position = [placed.position for placed in log.active_segment.batches_from(0)][number]
    data = bytearray(log.files.read_whole(name))
    data[position + 7 - bit // 8] ^= 1 << bit % 8
    log.files.replace(name, bytes(data))


def found(log: UnifiedLog) -> list[int]:
    """Where the batches begin; each says so in its first record too."""
    read = list(batches(log.read(0, 100_000).records))
    values = [int(next(iter(one.records())).value or b"") for one in read]
    assert [one.base_offset for one in read] == values
    return values


def goes_on(logs, log: UnifiedLog, batch: Batch, config: LogConfig) -> None:
    """It takes records, rolls, and is found again as it is."""
    end = log.end_offset
    log.append_built(batch(b"%d" % end, b"-"), 0, 0)
    log.roll(0)
    log.append_built(batch(b"%d" % (end + 2), b"-"), 0, 0)
    kept = found(log)
    again = logs.reopen(log.files, config, clean=False)
    assert (found(again), again.end_offset) == (kept, end + 4)


@pytest.mark.parametrize("number", range(COUNT))
@pytest.mark.parametrize("bit", range(64))
def test_a_damaged_base_offset_ends_a_log_without_gaps(logs, batch: Batch, number: int, bit: int):
    offsets = [2 * one for one in range(COUNT)]
    log = written(logs, batch, DELETED, offsets)
    flipped(log, number, bit)
    recovered = logs.reopen(log.files, DELETED, clean=False)

    assert found(recovered) == offsets[:number]
    assert recovered.end_offset == 2 * number
    goes_on(logs, recovered, batch, DELETED)


@pytest.mark.parametrize("bit", range(3, 64))
def test_a_damaged_base_offset_is_no_gap_where_the_next_batch_knows_better(logs, batch: Batch, bit: int):
    log = written(logs, batch, COMPACTED, [0, 5, 7, 9])
    flipped(log, 2, bit)
    recovered = logs.reopen(log.files, COMPACTED, clean=False)

    assert found(recovered) == [0, 5]
    assert recovered.end_offset == 7
    goes_on(logs, recovered, batch, COMPACTED)


@pytest.mark.parametrize("bit", range(32, 64))
def test_a_last_base_offset_too_far_for_its_segment_is_damaged(logs, batch: Batch, bit: int):
    log = written(logs, batch, COMPACTED, [0, 5, 7])
    flipped(log, 2, bit)
    recovered = logs.reopen(log.files, COMPACTED, clean=False)

    assert found(recovered) == [0, 5]
    goes_on(logs, recovered, batch, COMPACTED)


def test_a_batch_that_stands_before_its_neighbour_is_itself_the_damaged_one(logs, batch: Batch):
    log = written(logs, batch, COMPACTED, [0, 5, 16, 18])
    flipped(log, 2, 4)
    recovered = logs.reopen(log.files, COMPACTED, clean=False)

    assert found(recovered) == [0, 5]


@pytest.mark.parametrize(("config", "cleaned_up_to"), [(COMPACTED, 0), (DELETED, 1)])
def test_the_gaps_of_compaction_stay(logs, batch: Batch, config: LogConfig, cleaned_up_to: int):
    offsets = [3, 5, 100, 2**31 - 2]
    log = written(logs, batch, COMPACTED, offsets)
    recovered = logs.reopen(log.files, config, clean=False, cleaned_up_to=cleaned_up_to)

    assert found(recovered) == offsets
    assert recovered.end_offset == 2**31
