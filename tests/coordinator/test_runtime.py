"""What coordinators acknowledge is on the disk; what the disk loses nobody was told; and the records are Kafka's own, byte for byte."""

import errno
from random import Random

import pytest

from pykbroker.coordinator import runtime
from pykbroker.coordinator.group_records import GroupRecordFormat
from pykbroker.coordinator.groups import partition_of
from pykbroker.later import Later
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import GroupMetadataValue, OffsetCommitValue
from pykbroker.protocol.records import Record
from pykbroker.storage import cleaner
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles


class HeldWork:
    """Work that is done elsewhere: at once, or when the test says so."""

    def __init__(self):
        self.holding = False
        self.held = []

    def __call__(self, work):
        done = Later()
        if self.holding:
            self.held.append((work, done))
        else:
            self._do(work, done)
        return done

    def let_go(self):
        held, self.held = self.held, []
        for work, done in held:
            self._do(work, done)

    def _do(self, work, done):
        try:
            work()
        except OSError as error:
            done.fail(error)
        else:
            done.settle(None)


class Disk(FaultyFiles):
    """Memory files that break when the test says so."""

    def __init__(self):
        super().__init__(MemoryFiles(crashable=True), self._fault)
        self.broken = ""

    def _fault(self, operation, name):
        if operation == self.broken and name.startswith("__consumer_offsets"):
            raise OSError(errno.EIO, "the disk is broken", name)


def test_what_is_compacted_while_it_is_loaded_is_loaded_whole(new_kit, monkeypatch):
    """All commits take the same room, so the place where the loading paused is the beginning of another record after the compaction."""
    monkeypatch.setattr(runtime, "RECORDS_LOADED_AT_ONCE", 1000)
    kit = new_kit(offsets_topic_num_partitions="1", log_cleaner_min_cleanable_ratio="0.01")
    kit.find_coordinator("g")
    groups = [f"g{number:04}" for number in range(2000)]
    for group in groups[:500] + groups:
        kit.commit(group, {("t", 0): int(group[1:])})
    kit.cluster.logs.logs["__consumer_offsets", 0].roll(kit.clock.now_ms)
    kit.restart()
    assert kit.ask(kit.fetch_request("g"), 9).groups[0].error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS

    log = kit.cluster.logs.logs["__consumer_offsets", 0]
    size = log.size
    assert [given for given in cleaner.clean(log, cleaner.cleanable(log, kit.clock.now_ms), kit.clock.now_ms) if given is not None]
    assert log.size < size
    kit.clock.advance(1)
    assert [kit.committed(group) for group in groups] == [{("t", 0): number} for number in range(2000)]


def stable_member(kit, group="g"):
    member = kit.member(group)
    member.join()
    member.sync({member.id: b"A"})
    return member


class TestDurability:
    @pytest.fixture
    def work(self):
        return HeldWork()

    @pytest.fixture
    def kit(self, new_kit, work):
        return new_kit(files=Disk(), offload=work, log_flush_interval_messages="1")

    def test_commits_are_answered_when_they_are_on_the_disk_and_seen_not_before(self, kit, work):
        work.holding = True
        committing = kit.send(kit.commit_request("g", {("t", 0): 5}), 9)
        fetching = kit.send(kit.fetch_request("g"), 9)
        assert not committing.settled
        assert not fetching.settled
        work.let_go()
        assert committing.topics[0].partitions[0].error_code == ErrorCode.NONE
        assert fetching.groups[0].topics[0].partitions[0].committed_offset == 5

    def test_a_generation_is_shared_out_when_it_is_on_the_disk(self, kit, work):
        member = kit.member("g")
        member.join()
        work.holding = True
        syncing = member.send_sync({member.id: b"A"})
        assert not syncing.settled
        work.let_go()
        assert syncing.assignment == b"A"

    def test_a_flush_that_fails_is_answered_and_what_waits_is_not_acknowledged(self, kit, work):
        kit.commit("g", {("t", 0): 5})
        work.holding = True
        committing = kit.send(kit.commit_request("g", {("t", 0): 6}), 9)
        parked = kit.member("g")
        parked.join()
        kit.files.broken = "sync"
        work.let_go()
        assert committing.topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR
        assert kit.commit("g", {("t", 0): 7}).topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR
        kit.clock.advance(5000)
        assert parked.parked.error_code == ErrorCode.NOT_COORDINATOR
        work.holding = False
        kit.files = kit.files.inner.crash(Random(1))
        kit.start()
        assert kit.committed("g")[("t", 0)] in {5, 6}

    @pytest.mark.parametrize("seed", range(20))
    def test_what_was_acknowledged_survives_a_power_loss(self, kit, seed):
        member = stable_member(kit)
        member.commit({("t", 0): seed})
        before = kit.describe("g")
        kit.files = kit.files.inner.crash(Random(seed))
        kit.start()
        assert kit.describe("g") == before
        assert kit.committed("g") == {("t", 0): seed}


class TestDiskErrors:
    def test_a_write_that_fails_unloads_only_its_shard_and_it_comes_back_from_the_disk(self, new_kit):
        kit = new_kit(files=Disk())
        other = next(name for name in map(str, range(100)) if partition_of(name, 4) != partition_of("g", 4))
        member, neighbour = stable_member(kit), stable_member(kit, other)
        waiting = kit.member("g")
        waiting.join()
        kit.files.broken = "append"
        assert member.commit({("t", 0): 5}) == ErrorCode.NOT_COORDINATOR
        assert waiting.parked.error_code == ErrorCode.NOT_COORDINATOR
        assert member.heartbeat() == ErrorCode.NOT_COORDINATOR
        assert kit.describe("g").error_code == ErrorCode.NOT_COORDINATOR
        assert kit.ask(kit.fetch_request("g"), 9).groups[0].error_code == ErrorCode.NOT_COORDINATOR
        kit.files.broken = ""
        assert neighbour.heartbeat() == ErrorCode.NONE
        kit.clock.advance(3000)
        assert neighbour.heartbeat() == ErrorCode.NONE
        kit.restart()
        assert kit.committed("g") == {}
        assert member.heartbeat() == ErrorCode.NONE

    def test_a_generation_that_does_not_fit_into_a_record_gathers_anew(self, kit):
        leader = kit.member("g")
        leader.join()
        refused = leader.sync({leader.id: bytes(2_000_000)})
        assert refused.error_code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        leader.join()
        assert leader.sync({leader.id: b"A"}).assignment == b"A"


class TestLoading:
    def test_a_long_log_is_loaded_in_slices_and_nobody_falls_out_meanwhile(self, kit):
        kit.create_topic("wide", 6000)
        member = stable_member(kit)
        member.commit({("wide", index): index for index in range(6000)})
        kit.restart()
        loading = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        assert member.heartbeat() == ErrorCode.NONE
        assert member.commit({("t", 0): 5}) == loading
        assert member.send_join().error_code == loading
        assert kit.describe("g").error_code == loading
        assert kit.ask(kit.list_request(), 5).error_code == loading
        kit.clock.advance(0)
        assert member.commit({("t", 0): 5}) == ErrorCode.NONE
        assert len(kit.committed("g")) == 6001

    def test_a_record_that_cannot_be_read_harms_no_other(self, kit):
        kit.commit("g", {("t", 0): 5})
        partition = kit.cluster.metadata.topic("__consumer_offsets").partitions[partition_of("g", 4)]
        partition.append_as_coordinator(kit.batch_of((b"\0\2\0\1g", b"\0\3garbage"), (b"\0\1\0", None), (b"\0\7whatever", b"x")))
        kit.restart()
        assert kit.committed("g") == {("t", 0): 5}


class TestRecords:
    """Bytes that Apache Kafka 4.3.0 wrote."""

    WRITTEN_BY_KAFKA = (
        (b"\0\2\0\2k2", b"\0\3\0\0\0\0\0\0\xff\xff\xff\xff\0\0\x01\xa2\x0f\x04\xd97\0\0\0\0"),
        (
            b"\0\2\0\2k2",
            (
                b"\0\3\0\x08consumer\0\0\0\x01\0\x05range\0'ck-72eb0a61-4dec-4d3f-a8f7-612ef6a8e426\0\0\x01\xa2\x0f\x04\xd99\0\0\0\x01"
                b"\0'ck-72eb0a61-4dec-4d3f-a8f7-612ef6a8e426\xff\xff\0\x02ck\0\n/127.0.0.1\0\0\x03\xe8\0\0'\x10"
                b"\0\0\0\r\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01x"
            ),
        ),
        (
            b"\0\1\0\2k2\0\1t\0\0\0\0",
            b"\0\4\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\x02m\0\0\x01\xa2\x0f\x04\xdd^\x01\0\x10u\x1b\xc9W{\xbdD\xb9\xa9\x07Snp\xbd\x97\xbd",
        ),
        (
            b"\0\1\0\2k3\0\1t\0\0\0\0",
            b"\0\1\0\0\0\0\0\0\0\x05\0\x01m\0\0\x01\xa2\x0f\x04\xddq\0\0\x01\xa2\x0f\x05\xc7\xd1",
        ),
        (b"\0\1\0\2k3\0\1t\0\0\0\0", None),
        (b"\0\2\0\2k2", None),
    )

    @pytest.mark.parametrize(("key", "value"), WRITTEN_BY_KAFKA)
    def test_ours_are_the_same(self, key, value):
        format_ = GroupRecordFormat()
        decoded = format_.decode(Record(0, 0, key, value))
        encoded = format_.encode(decoded, 5)
        assert (encoded.key, encoded.value, encoded.timestamp) == (key, value, 5)
        assert decoded.value is None or isinstance(decoded.value, GroupMetadataValue | OffsetCommitValue)

    def test_a_groups_life_is_the_records_that_kafka_writes(self, kit):
        member = stable_member(kit)
        member.commit({("t", 0): 5})
        kit.commit("k", {("t", 0): 5}, 4, retention_time_ms=60_000)
        member.leave()
        kit.ask(kit.delete_request("g"), 2)
        written = kit.records_of("g")
        versions = [None if record.value is None else record.value[1] for record in written]
        assert [record.key[1] for record in written] == [2, 2, 1, 2, 1, 2]
        assert versions == [3, 3, 4, 3, None, None]

    def test_java_hash_codes(self):
        """Of Kafka: `abs(id.hashCode()) % 50`, where the smallest integer counts as 0."""
        assert [partition_of(group, 50) for group in ("", "a", "g", "test-group", "polygenelubricants", "größe", "\U0001f600")] == [
            0,
            97 % 50,
            103 % 50,
            abs(java_hash("test-group")) % 50,
            0,
            abs(java_hash("größe")) % 50,
            abs(java_hash("\U0001f600")) % 50,
        ]
        assert java_hash("polygenelubricants") == -(2**31)


def java_hash(text):
    """As the Java language specification sums it up: s[0]*31^(n-1) + … + s[n-1], in 32 bits."""
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    total = sum(code * 31 ** (len(codes) - 1 - at) for at, code in enumerate(codes)) % 2**32
    return total - 2**32 if total >= 2**31 else total
