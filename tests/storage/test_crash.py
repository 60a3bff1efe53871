"""The plug is pulled: with flush.messages=1, what was acknowledged is there afterwards, once, in order, and nothing that was never sent.

A power loss leaves what was synced, and of the rest anything from nothing to everything, torn, with holes. Syncs end at moments that the seed decides.
"""

import random

import pytest

from pykbroker.later import Later
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import BatchProperties, NewRecord, batches, build_batch
from pykbroker.storage.log import LogConfig, UnifiedLog
from pykbroker.storage.memory_files import MemoryFiles
from pykbroker.storage.validator import one_batch

CONFIG = LogConfig(segment_bytes=700, index_interval_bytes=128, flush_messages=1)
PRODUCER = 9
NOW_MS = 1_000_000


class Writer:
    """An idempotent producer that sends its next value until it is acknowledged, and several at a time."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0

    def send(self, log: UnifiedLog, number: int) -> Later[None] | None:
        """Send (again) the value with that number; it is its sequence too."""
        record = NewRecord(b"value %d" % number, key=b"k", timestamp=NOW_MS)
        built = build_batch([record], BatchProperties(producer_id=PRODUCER, producer_epoch=0, base_sequence=number))
        try:
            info = log.append_as_leader(one_batch(bytearray(built), 9), 1, NOW_MS)
        except KafkaError as error:
            # a retry of what was there before the crash, but is not among the batches that a snapshot tells of (I-14): refused, not doubled
            if error.error_code != ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER or number >= log.end_offset:
                raise
            return log.flush()
        assert info.first_offset == number, "it was written twice, or out of order"
        self.sent = max(self.sent, number + 1)
        return log.durable_at(info.last_offset + 1)

    def acknowledge(self, number: int) -> None:
        self.acknowledged = max(self.acknowledged, number + 1)


def run(logs, source: random.Random) -> None:
    files = MemoryFiles(crashable=True)
    log = logs.create(files, CONFIG)
    logs.elsewhere.at_once = False
    writer = Writer()
    checkpoint = 0
    for _ in range(4):
        for number in range(writer.acknowledged, writer.acknowledged + source.randrange(1, 14)):
            later = writer.send(log, number)
            if later is None:
                writer.acknowledge(number)
            else:
                later.then(lambda _, number=number: writer.acknowledge(number))
            if source.random() < 0.3:
                logs.elsewhere.run()
            if source.random() < 0.1:
                checkpoint = log.recovery_point
        logs.elsewhere.waiting.clear()
        files = files.crash(source)
        if log.directory not in files.list(""):
            assert writer.acknowledged == 0
            files.make_directory(log.directory)
        log = logs.reopen(files, CONFIG, clean=False, recovery_point=checkpoint)
        assert log.offline is None
        check(log, writer)
        logs.elsewhere.run()


def check(log: UnifiedLog, writer: Writer) -> None:
    found, offset = [], 0
    while offset < log.end_offset:
        for batch in batches(log.read(offset, 1000, log.end_offset).records):
            assert batch.is_sound()
            found += [record.value for record in batch.records()]
            offset = batch.next_offset
    assert found == [b"value %d" % number for number in range(len(found))]
    assert writer.acknowledged <= len(found) <= writer.sent
    last = log.producers.producers.get(PRODUCER)
    assert (last.last_sequence + 1 if last else 0) == len(found)


@pytest.mark.parametrize("first_seed", range(0, 500, 100))
def test_nothing_acknowledged_is_lost_or_doubled(logs, seeds, first_seed):
    for seed in range(first_seed, first_seed + 100):
        run(logs, seeds(seed))


def test_one_sync_serves_all_that_waited(logs):
    log = logs.create(MemoryFiles(), CONFIG)
    logs.elsewhere.at_once = False
    writer = Writer()
    laters = [writer.send(log, number) for number in range(5)]

    assert len(logs.elsewhere.waiting) == 1
    logs.elsewhere.run()
    assert all(later is not None and later.settled for later in laters)
    assert log.recovery_point == 5


def test_nobody_reads_what_may_still_be_lost(logs):
    log = logs.create(MemoryFiles(), CONFIG)
    logs.elsewhere.at_once = False
    moved: list[int] = []
    log.on_high_watermark = lambda moving: moved.append(moving.high_watermark)
    Writer().send(log, 0)

    assert (log.high_watermark, log.end_offset) == (0, 1)
    assert log.read(0, 1000).records == b""
    logs.elsewhere.run()
    assert moved == [1]
    assert len(log.read(0, 1000).records) > 0


def test_without_flush_settings_nothing_waits(logs, batch):
    log = logs.create(MemoryFiles())
    log.append_built(batch(b"x"), 0, 0)

    assert log.durable_at(1) is None
    assert logs.elsewhere.waiting == []


def test_flush_messages_counts_records(logs, batch):
    log = logs.create(MemoryFiles(), LogConfig(flush_messages=3))
    log.append_built(batch(b"1", b"2"), 0, 0)
    assert log.durable_at(2) is None

    log.append_built(batch(b"3"), 0, 0)
    later = log.durable_at(3)
    assert later is not None
    assert later.settled
    assert log.recovery_point == 3


def test_flush_ms_syncs_what_is_old(logs, batch):
    log = logs.create(MemoryFiles(), LogConfig(flush_ms=500))
    log.append_built(batch(b"x"), 0, now_ms=1000)
    log.flush_if_older_than(1499)
    assert log.recovery_point == 0

    log.flush_if_older_than(1500)
    assert log.recovery_point == 1
