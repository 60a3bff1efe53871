"""What the broker does for its logs by itself, and what one start leaves for the next."""

import errno
import random

import pytest

from pykbroker.clock import VirtualClock
from pykbroker.config import Configuration
from pykbroker.later import Later
from pykbroker.log_directory import LogDirectory
from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.errors import KafkaError
from pykbroker.protocol.records import BatchProperties, NewRecord, batches, build_batch
from pykbroker.storage import loader
from pykbroker.storage.files import OsFiles
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles

TOPIC_ID = bytes(range(16))
OTHER_ID = bytes(range(16, 32))
SETTINGS = {
    "log.cleanup.policy": "compact",
    "log.cleaner.min.cleanable.ratio": "0.1",
    "log.roll.ms": "1000",
    "log.retention.ms": "60000",
    "log.segment.delete.delay.ms": "1000",
}


@pytest.fixture
def files():
    return MemoryFiles()


@pytest.fixture
def clock():
    return VirtualClock()


def at_once(work):
    later = Later()
    later.settle(work())
    return later


def offloaded(work, under_way):
    later = Later()
    under_way.append((work, later))
    return later


def opened(files, clock, **settings):
    directory = LogDirectory(files, Configuration(SETTINGS | settings), clock, at_once)
    directory.open()
    directory.start_housekeeping()
    return directory


def write(log, clock, key: bytes, value: bytes) -> None:
    log.append_built(build_batch([NewRecord(value, key=key, timestamp=clock.now_ms)], BatchProperties()), 0, clock.now_ms)


def values(log) -> list[bytes]:
    found, offset = [], log.start_offset
    while offset < log.end_offset:
        for batch in batches(log.read(offset, 10**6).records):
            found += [record.value for record in batch.records()]
            offset = batch.next_offset
    return found


def test_a_compacted_topic_is_compacted_when_its_segments_are_closed(files, clock):
    directory = opened(files, clock)
    log = directory.log_of("t", 0, TOPIC_ID)
    for value in (b"1", b"2", b"3"):
        write(log, clock, b"k", value)
    clock.advance(seconds=20)
    assert values(log) == [b"1", b"2", b"3"]

    write(log, clock, b"k", b"4")
    clock.advance(seconds=20)
    assert values(log) == [b"3", b"4"]
    assert log.start_offset == 0


def test_what_is_compacted_is_remembered_over_a_restart(files, clock):
    directory = opened(files, clock)
    log = directory.log_of("t", 0, TOPIC_ID)
    for value in (b"1", b"2"):
        write(log, clock, b"k", value)
        clock.advance(seconds=20)
    assert log.first_dirty_offset == 1
    directory.close(1)
    directory = opened(files, clock)

    assert directory.log_of("t", 0, TOPIC_ID).first_dirty_offset == 1


def test_what_was_compacted_is_known_after_a_crash_right_behind_it(files, clock):
    """The cleanup policy may change right after the round: then only the checkpoint tells the gaps that it made from losses."""
    directory = opened(files, clock, **{"log.flush.offset.checkpoint.interval.ms": "3600000"})
    log = directory.log_of("t", 0, TOPIC_ID)
    for value in (b"1", b"2"):
        write(log, clock, b"k", value)
        clock.advance(seconds=20)

    directory = opened(files, clock)

    assert not directory.was_clean
    assert directory.log_of("t", 0, TOPIC_ID).first_dirty_offset == 1


def test_no_cleaner_no_compaction(files, clock):
    directory = opened(files, clock, **{"log.cleaner.enable": "false"})
    log = directory.log_of("t", 0, TOPIC_ID)
    for value in (b"1", b"2", b"3"):
        write(log, clock, b"k", value)
        clock.advance(seconds=20)

    assert values(log) == [b"1", b"2", b"3"]


def test_old_segments_are_deleted_after_their_delay(files, clock):
    directory = opened(files, clock, **{"log.cleanup.policy": "delete", "log.retention.check.interval.ms": "10000"})
    log = directory.log_of("t", 0, TOPIC_ID)
    write(log, clock, b"k", b"old")
    clock.advance(500, seconds=70)
    assert (log.start_offset, log.end_offset) == (1, 1)
    assert any(name.endswith(".deleted") for name in files.list("t-0"))

    clock.advance(seconds=2)
    assert not any(name.endswith(".deleted") for name in files.list("t-0"))


def test_segments_that_were_to_go_take_nothing_of_a_topic_made_anew(files, clock):
    settings = {"log.cleanup.policy": "delete", "log.retention.check.interval.ms": "10000", "log.segment.delete.delay.ms": "20000"}
    directory = opened(files, clock, **settings)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"old")
    clock.advance(500, seconds=70)
    assert any(name.endswith(".deleted") for name in files.list("t-0"))
    directory.delete_log("t", 0)
    log = directory.log_of("t", 0, OTHER_ID)
    write(log, clock, b"k", b"new")

    clock.advance(seconds=30)
    assert values(log) == [b"new"]
    assert files.size(log.active_segment.log_name)


def test_where_a_log_begins_outlives_starts_in_which_nobody_asked_for_it(files, clock):
    directory = opened(files, clock, **{"log.cleanup.policy": "delete"})
    log = directory.log_of("t", 0, TOPIC_ID)
    for value in (b"1", b"2", b"3"):
        write(log, clock, b"k", value)
    log.delete_records(2)
    directory.checkpoint_start_offsets()
    directory.close(1)
    for epoch in (2, 3):
        directory = opened(files, clock, **{"log.cleanup.policy": "delete"})
        other = directory.log_of("other", 0, TOPIC_ID)
        write(other, clock, b"k", b"1")
        other.delete_records(1)
        directory.close(epoch)
    directory = opened(files, clock, **{"log.cleanup.policy": "delete"})

    assert directory.log_of("t", 0, TOPIC_ID).start_offset == 2
    assert directory.log_of("other", 0, TOPIC_ID).start_offset >= 1


def test_a_topic_deleted_before_anybody_asked_for_it_leaves_no_files(files, clock):
    directory = opened(files, clock)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"1")
    directory.close(1)
    directory = opened(files, clock)
    directory.delete_log("t", 0)
    assert "t-0" not in files.list("")

    clock.advance(seconds=2)
    assert [name for name in files.list("") if name.startswith("t-0")] == []


def test_logs_that_nobody_asks_for_grow_old_too(files, clock):
    settings = {"log.cleanup.policy": "delete", "log.retention.check.interval.ms": "10000"}
    directory = opened(files, clock, **settings)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"old")
    directory.close(1)
    directory = LogDirectory(files, Configuration(SETTINGS | settings), clock, at_once)
    directory.open()
    directory.start_housekeeping(lambda: [("t", 0, TOPIC_ID), ("never written", 0, TOPIC_ID)])
    assert directory.logs == {}

    clock.advance(minutes=2)
    assert not any(name.endswith(".log") and files.size(f"t-0/{name}") for name in files.list("t-0"))
    assert directory.log_of("t", 0, TOPIC_ID).start_offset == 1
    assert "never written-0" not in files.list("")


def test_a_power_loss_takes_nothing_that_was_synced_not_even_the_directory():
    settings = {"log.cleanup.policy": "delete", "log.flush.interval.messages": "1", "log.retention.ms": "-1"}
    for seed in range(300):
        source, clock, files = random.Random(seed), VirtualClock(), MemoryFiles(crashable=True)
        acknowledged = 0
        for _ in range(3):
            directory = opened(files, clock, **settings)
            log = directory.log_of("t", 0, TOPIC_ID)
            found = values(log)
            assert found == [b"%d" % number for number in range(len(found))], f"seed {seed}"
            assert len(found) >= acknowledged, f"seed {seed}: {len(found)} of {acknowledged}"
            for number in range(len(found), len(found) + source.randrange(6)):
                write(log, clock, b"k", b"%d" % number)
                if source.random() < 0.7 and log.durable_at(log.end_offset).settled:
                    acknowledged = log.end_offset
                clock.advance(ms=source.randrange(2000))
            if source.random() < 0.3:
                directory.checkpoint_start_offsets()
                clock.advance(minutes=2)
            if source.random() < 0.3:
                directory.close(1)
                acknowledged = log.end_offset
            files = files.crash(source)


@pytest.mark.parametrize("policy", ["delete", "compact"])
def test_one_damaged_log_does_not_keep_the_others_from_being_looked_after(files, clock, policy):
    settings = {"log.cleanup.policy": policy, "log.retention.check.interval.ms": "10000"}
    directory = opened(files, clock, **settings)
    bad, good = directory.log_of("bad", 0, TOPIC_ID), directory.log_of("good", 0, TOPIC_ID)
    for log in (bad, good):
        for value in (b"1", b"2", b"3"):
            write(log, clock, b"k", value)
            log.roll(clock.now_ms)
    name = bad.segments[0].log_name
    files.put(name, b"\xff" * files.size(name))
    for suffix in ("index", "timeindex"):
        files.delete(bad.segments[0].name(suffix))
    bad = directory.logs["bad", 0] = loader.load(files, "bad-0", bad.config, at_once, clock.now_ms)
    assert bad.offline is None
    for _ in range(2):
        clock.advance(minutes=2)

    assert values(good) == ([] if policy == "delete" else [b"3"])
    assert bad.start_offset == 0


@pytest.mark.parametrize("settings", [{"log.cleanup.policy": "delete"}, {"log.cleanup.policy": "compact"}])
def test_after_a_crash_a_topic_made_anew_does_not_begin_where_its_namesake_did(files, clock, settings):
    settings = {**settings, "log.retention.ms": "-1"}
    directory = opened(files, clock, **settings)
    log = directory.log_of("t", 0, TOPIC_ID)
    for _ in range(5):
        write(log, clock, b"k", b"old")
    log.delete_records(3)
    directory.checkpoint_start_offsets()
    directory.delete_log("t", 0)
    write(directory.log_of("t", 0, OTHER_ID), clock, b"k", b"new")

    directory = opened(files, clock, **settings)
    assert values(directory.log_of("t", 0, OTHER_ID)) == [b"new"]


@pytest.mark.parametrize("written_id", [b"", b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", b"version: 0\nwhat_id: ?"])
def test_records_in_a_directory_that_does_not_say_whose_it_is_are_set_aside(files, clock, caplog, written_id):
    directory = opened(files, clock)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"precious")
    directory.close(1)
    files.put("t-0/partition.metadata", written_id)
    directory = opened(files, clock)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"new")

    (aside,) = [name for name in files.list("") if name.endswith("-stray")]
    assert b"precious" in files.read_whole(f"{aside}/{0:020d}.log")
    assert f"kept in {aside}" in caplog.text
    assert values(directory.log_of("t", 0, TOPIC_ID)) == [b"new"]


def test_the_longest_name_can_be_deleted(tmp_path, clock):
    files = OsFiles(str(tmp_path))
    directory = opened(files, clock)
    name = 249 * "n"
    for topic_id in (TOPIC_ID, OTHER_ID):  # within one millisecond
        write(directory.log_of(name, 0, topic_id), clock, b"k", b"1")
        directory.delete_log(name, 0)
    assert sum(one.endswith("-delete") for one in files.list("")) == 2

    clock.advance(seconds=2)
    assert [one for one in files.list("") if one.startswith("nn")] == []
    files.close()


def test_who_waits_for_a_sync_of_a_topic_that_is_deleted_is_told(files, clock):
    under_way = []
    directory = LogDirectory(
        files, Configuration(SETTINGS | {"log.flush.interval.messages": "1"}), clock, lambda work: offloaded(work, under_way)
    )
    directory.open()
    log = directory.log_of("t", 0, TOPIC_ID)
    write(log, clock, b"k", b"1")
    durable = log.durable_at(1)
    done, synced = under_way.pop()
    done()
    directory.delete_log("t", 0)
    synced.settle(None)

    with pytest.raises(KafkaError, match="its topic was deleted"):
        _ = durable.value


def test_nothing_is_kept_of_topics_that_are_gone(files, clock):
    directory = opened(files, clock)
    for number in range(10):
        write(directory.log_of(f"t{number}", 0, TOPIC_ID), clock, b"k", b"1")
        directory.delete_log(f"t{number}", 0)

    assert not directory._log_configs


def test_a_stop_on_a_full_disk_is_no_clean_one_and_no_crash(files, clock, caplog):
    is_full = False

    def fault(operation, _name):
        if is_full and operation in {"append", "replace", "put"}:
            raise OSError(errno.ENOSPC, "the disk is full")

    directory = opened(FaultyFiles(files, fault), clock)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"1")
    is_full = True
    directory.close(1)
    assert "the next start" in caplog.text

    directory = opened(files, clock)
    assert not directory.was_clean
    assert values(directory.log_of("t", 0, TOPIC_ID)) == [b"1"]


def test_a_damaged_recovery_checkpoint_costs_a_longer_start_and_nothing_else(files, clock, caplog):
    directory = opened(files, clock)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"1")
    clock.advance(minutes=2)
    files.put("recovery-point-offset-checkpoint", b"0\n7\nt 0")

    directory = opened(files, clock)
    assert values(directory.log_of("t", 0, TOPIC_ID)) == [b"1"]
    assert "recovery-point-offset-checkpoint is damaged" in caplog.text


def test_a_mark_of_a_clean_stop_that_cannot_be_read_promises_nothing(files, clock):
    directory = opened(files, clock)
    write(directory.log_of("t", 0, TOPIC_ID), clock, b"k", b"1")
    directory.close(1)
    files.put(".kafka_cleanshutdown", b"\xff")

    directory = opened(files, clock)
    assert not directory.was_clean
    assert ".kafka_cleanshutdown" not in files.list("")
    assert values(directory.log_of("t", 0, TOPIC_ID)) == [b"1"]


def test_a_start_finishes_deletions_that_a_crash_has_cut_short(new_cluster, caplog):
    """The decision is written down before the directories go; a topic of the same name, made since, loses nothing."""
    memory = MemoryFiles()
    dying = False

    def fault(operation, name):
        if dying and operation == "rename" and name in {"gone-0", "anew-0"}:
            raise OSError(errno.EIO, "the broker dies here", name)

    cluster = new_cluster(files=FaultyFiles(memory, fault))
    for name in ("gone", "anew", "other"):
        cluster.controller.create_topics([NewTopic(name, 1, 1)])
        write(cluster.metadata.partition(name, 0).log, cluster.clock, b"k", b"1")
    dying = True
    cluster.controller.delete_topics([cluster.metadata.topics[name] for name in ("gone", "anew")])
    assert "gone-0" in memory.list("")
    dying = False
    cluster.controller.create_topics([NewTopic("anew", 1, 1)])
    write(cluster.metadata.partition("anew", 0).log, cluster.clock, b"k", b"2")

    cluster = new_cluster(files=memory)
    assert "gone-0" not in memory.list("")
    assert values(cluster.metadata.partition("anew", 0).log) == [b"2"]
    assert values(cluster.metadata.partition("other", 0).log) == [b"1"]
