"""The disk breaks at its n-th operation, for every n: the log is offline, or it is as if nothing had been asked. It never lies.

Told to whoever asked: KAFKA_STORAGE_ERROR. What was acknowledged before is found by the next start on a disk that works again.
"""

import errno
from itertools import count

import pytest

from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.records import batches
from pykbroker.storage.log import LogConfig
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles

CONFIG = LogConfig(segment_bytes=400, index_interval_bytes=100, flush_messages=1, retention_bytes=1500, retention_ms=-1)


class Disk:
    """Fails at its n-th operation: once, or from then on."""

    def __init__(self, fails_at: int, code: int | None, *, for_good: bool) -> None:
        self.fails_at = fails_at
        self.code = code
        self.for_good = for_good
        self.operations = 0
        self.hit: str | None = None

    def __call__(self, operation: str, name: str) -> int | None:
        self.operations += 1
        if self.operations < self.fails_at or (self.hit is not None and not self.for_good):
            return None
        if self.code is None and operation != "append":
            return None
        self.hit = self.hit or f"{operation} {name}"
        if self.code is None:
            return 7
        raise OSError(self.code, "as the test wants it", name)


def work(logs, files, batch, acknowledged: list[bytes]):
    """A log's life: appends over several segments, retention, a clean stop, a second life. Ends early where it is refused with the storage error."""
    try:
        log = logs.create(files, CONFIG)
    except OSError:
        return None
    write(log, batch, range(14), acknowledged)
    log.apply_retention(2_000)
    log.close()
    if log.offline is not None:
        return log
    log = logs.reopen(files, CONFIG, clean=True)
    write(log, batch, range(14, 24), acknowledged)
    log.close()
    return log


def write(log, batch, numbers, acknowledged: list[bytes]) -> None:
    for number in numbers:
        value = b"value %d" % number
        try:
            info = log.append_built(batch(value), number // 6, 1000)
            later = log.durable_at(info.last_offset + 1)
            if later is not None:
                later.then(lambda _, value=value: acknowledged.append(value))
                assert later.settled
                _ = later.value
            else:
                acknowledged.append(value)
        except KafkaError as error:
            if error.error_code != ErrorCode.KAFKA_STORAGE_ERROR:
                raise
        read = values_in(log, at_least=log.end_offset - 1) if log.offline is None else []
        if log.offline is None:
            assert read[-1:] == acknowledged[-1:]
        else:
            with pytest.raises(KafkaError) as refused:
                log.read(log.end_offset, 100)
            assert refused.value.error_code == ErrorCode.KAFKA_STORAGE_ERROR


def values_in(log, at_least: int = 0) -> list[bytes]:
    values, offset = [], max(log.start_offset, at_least)
    while offset < log.end_offset:
        try:
            read = log.read(offset, 500).records
        except KafkaError as error:
            if error.error_code != ErrorCode.KAFKA_STORAGE_ERROR:
                raise
            return []
        for found in batches(read):
            assert found.is_sound()
            values += [record.value for record in found.records()]
            offset = found.next_offset
    return values


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, None], ids=["EIO", "ENOSPC", "short write"])
def test_every_operation_may_fail(logs, batch, code, for_good):
    tried = 0
    for fails_at in count(1):
        disk = Disk(fails_at, code, for_good=for_good)
        memory = MemoryFiles()
        acknowledged: list[bytes] = []
        log = work(logs, FaultyFiles(memory, disk), batch, acknowledged)
        if disk.hit is None:
            break
        tried += 1
        if log is None:
            continue
        found = values_in(logs.reopen(memory, CONFIG, clean=False))
        where = f"operation {fails_at}: {disk.hit}"
        kept = [value for value in acknowledged if value in found] if found else []
        assert kept == acknowledged[len(acknowledged) - len(kept) :], where
        assert set(acknowledged) - set(kept) <= {b"value %d" % number for number in range(14)}, where
        assert not acknowledged or kept[-1:] == acknowledged[-1:], where
    assert tried >= (30 if code is None else 100)


def test_an_append_that_fails_takes_the_log_offline(logs, batch):
    disk = Disk(10_000, errno.EIO, for_good=True)
    log = logs.create(FaultyFiles(MemoryFiles(), disk), LogConfig())
    told: list[str | None] = []
    log.on_offline = lambda gone: told.append(gone.offline)
    log.append_built(batch(b"x"), 0, 0)
    disk.fails_at = 0

    with pytest.raises(KafkaError, match="offline"):
        log.append_built(batch(b"y"), 0, 0)
    assert told == ["OSError: [Errno 5] as the test wants it: 'topic-0/00000000000000000000.log'"]
    assert log.end_offset == 1
    disk.fails_at = 10_000
    for refused in (lambda: log.append_built(batch(b"y"), 0, 0), lambda: log.read(0, 100), lambda: log.delete_records(1), log.flush):
        with pytest.raises(KafkaError, match="offline"):
            refused()


def test_a_full_disk_is_forgiven_when_there_is_room_again(logs, batch):
    disk = Disk(10_000, None, for_good=True)
    log = logs.create(FaultyFiles(MemoryFiles(), disk), LogConfig())
    log.append_built(batch(b"x"), 0, 0)
    disk.fails_at = 0

    with pytest.raises(KafkaError, match="cannot grow") as refused:
        log.append_built(batch(b"y"), 0, 0)
    assert refused.value.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.offline is None
    assert values_in(log) == [b"x"]
    disk.fails_at = 10_000
    assert log.append_built(batch(b"z"), 0, 0).first_offset == 1
    assert values_in(log) == [b"x", b"z"]


def test_after_a_failed_sync_nothing_is_written_any_more(logs, batch):
    disk = Disk(10_000, errno.EIO, for_good=False)
    log = logs.create(FaultyFiles(MemoryFiles(), disk), LogConfig(flush_messages=1))
    logs.elsewhere.at_once = False
    log.append_built(batch(b"x"), 0, 0)
    later = log.durable_at(1)
    waiting = log.append_built(batch(b"y"), 0, 0)
    second = log.durable_at(waiting.last_offset + 1)
    disk.fails_at = 0
    logs.elsewhere.run()

    assert disk.hit == "sync topic-0/00000000000000000000.log"
    for one in (later, second):
        with pytest.raises(KafkaError, match="offline"):
            _ = one.value
    with pytest.raises(KafkaError, match="offline"):
        log.append_built(batch(b"z"), 0, 0)


def test_a_log_that_cannot_be_opened_is_offline_and_keeps_its_files(logs, batch):
    files = MemoryFiles()
    log = logs.create(files)
    log.append_built(batch(b"x"), 0, 0)
    log.close()
    files.replace("topic-0/leader-epoch-checkpoint", b"0\n7\n0 0\n")
    before = files.list("topic-0")
    opened = logs.reopen(files, clean=True)

    assert "leader-epoch-checkpoint is damaged" in opened.offline
    with pytest.raises(KafkaError) as refused:
        opened.append_built(batch(b"y"), 0, 0)
    assert refused.value.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert files.list("topic-0") == before
