"""A partition is small while nobody uses it, and tells its watchers of every change."""

import gc
import tracemalloc

import pytest

from pykbroker.metadata.controller import NewTopic
from pykbroker.protocol.records import BatchProperties, NewRecord, build_batch
from pykbroker.storage.memory_files import MemoryFiles

BATCH = build_batch([NewRecord(b"value", b"key")], BatchProperties())


class Watcher:
    def __init__(self):
        self.times = 0

    def partition_changed(self):
        self.times += 1


@pytest.fixture
def partition(new_cluster):
    cluster = new_cluster()
    cluster.controller.create_topics([NewTopic("t", 1)])
    return cluster.metadata.partition("t", 0)


def test_a_watcher_is_told_of_every_change_until_it_looks_away(partition):
    watcher, other = Watcher(), Watcher()
    partition.watch(watcher)
    partition.watch(watcher)
    partition.watch(other)

    partition.append(memoryview(bytearray(BATCH)), -1, 1_700_000_000_000)
    partition.append_as_coordinator(BATCH)
    assert partition.delete_records(1) == 1
    assert (watcher.times, other.times) == (3, 3)

    assert partition.delete_records(1) == 1  # changes nothing
    partition.unwatch(watcher)
    partition.unwatch(watcher)
    partition.mark_deleted()
    assert (watcher.times, other.times) == (3, 4)


def test_watchers_may_come_and_go_while_they_are_told(partition):
    class Leaving(Watcher):
        def partition_changed(self):
            super().partition_changed()
            partition.unwatch(self)
            partition.watch(late)

    late = Watcher()
    first, second = Leaving(), Leaving()
    partition.watch(first)
    partition.watch(second)
    partition.changed()
    assert (first.times, second.times, late.times) == (1, 1, 0)
    partition.changed()
    assert (first.times, second.times, late.times) == (1, 1, 1)


def test_reading_what_was_never_written_leaves_no_trace(new_cluster):
    files = MemoryFiles()
    cluster = new_cluster(files=files)
    cluster.controller.create_topics([NewTopic("t", 2)])
    partition = cluster.metadata.partition("t", 0)

    assert partition.log_to_read.end_offset == 0
    assert partition.end_offset_of_epoch(0) == (0, 0)
    assert partition.delete_records(-1) == 0
    assert not files.list("t-0")

    partition.append(memoryview(bytearray(BATCH)), -1, 1_700_000_000_000)
    assert partition.log_to_read is partition.log
    assert partition.log_to_read.end_offset == 1
    assert cluster.metadata.partition("t", 1).log_to_read.end_offset == 0


def test_what_is_on_disk_is_read_after_a_restart(new_cluster):
    files = MemoryFiles()
    before = new_cluster(files=files)
    before.controller.create_topics([NewTopic("t", 1)])
    before.metadata.partition("t", 0).append(memoryview(bytearray(BATCH)), -1, 1_700_000_000_000)
    before.stop()
    assert new_cluster(files=files).metadata.partition("t", 0).log_to_read.end_offset == 1


def test_a_directory_of_another_topic_of_that_name_is_not_read(new_cluster):
    files = MemoryFiles()
    before = new_cluster(files=files)
    before.controller.create_topics([NewTopic("t", 1)])
    partition = before.metadata.partition("t", 0)
    partition.append(memoryview(bytearray(BATCH)), -1, 1_700_000_000_000)
    partition.topic.topic_id = bytes(16)  # as if the topic had been deleted and made again while its directory could not go
    del before.logs.logs["t", 0]
    partition._log = None
    assert partition.log_to_read.end_offset == 0


def test_an_idle_partition_takes_less_than_1_kib(new_cluster):
    cluster = new_cluster()
    count = 2000
    gc.collect()
    tracemalloc.start()
    try:
        cluster.controller.create_topics([NewTopic("t", count)])
        cluster.waits.advance()  # so many are made in slices
        for index in range(count):
            assert cluster.metadata.partition("t", index).log_to_read.end_offset == 0
        gc.collect()
        outside_of_files = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, "*memory_files.py")])
        taken = sum(one.size for one in outside_of_files.statistics("filename"))
    finally:
        tracemalloc.stop()
    assert taken / count < 1024
