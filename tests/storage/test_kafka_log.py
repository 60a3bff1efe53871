"""A log directory that Apache Kafka 4.3.0 wrote: we find in it what Kafka put there, make its indexes anew byte for byte, and survive every damage.

tests/golden/kafka_log.tar.xz is partition 0 of a topic with segment.ms=60000 and index.interval.bytes=200, after a clean stop: an idempotent producer's
40 records three seconds apart, then three transactions of three records (aborted, committed, aborted; gzip, lz4, zstd), in four segments.
"""

import io
import tarfile
from pathlib import Path

import pytest

from pykbroker.protocol.records import batches
from pykbroker.storage.log import LogConfig
from pykbroker.storage.memory_files import MemoryFiles

ARCHIVE = Path(__file__).parents[1] / "golden" / "kafka_log.tar.xz"
CONFIG = LogConfig(index_interval_bytes=200, segment_ms=60_000, retention_ms=-1)
T0 = 1_790_000_000_000
BASES = [0, 22, 40, 43]


@pytest.fixture(scope="module")
def recorded() -> dict[str, bytes]:
    with tarfile.open(ARCHIVE) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive.getmembers()}


def disk(recorded: dict[str, bytes], **damaged: bytes) -> MemoryFiles:
    files = MemoryFiles()
    files.make_directory("topic-0")
    for name, data in (recorded | damaged).items():
        files.append(f"topic-0/{name}", [data])
    return files


def values(log) -> list[bytes]:
    found, offset = [], 0
    while offset < log.end_offset:
        for batch in batches(log.read(offset, 10**6).records):
            assert batch.is_sound()
            found += [] if batch.is_control else [record.value for record in batch.records()]
            offset = batch.next_offset
    return found


EXPECTED = [b"value %d" % number for number in range(40)] + [b"t%d-%d" % (turn, number) for turn in range(3) for number in range(3)]


@pytest.mark.parametrize("clean", [True, False])
def test_everything_is_found(logs, recorded, clean):
    log = logs.reopen(disk(recorded), CONFIG, clean=clean)

    assert log.offline is None
    assert [segment.base_offset for segment in log.segments] == BASES
    assert (log.start_offset, log.end_offset, log.last_stable_offset) == (0, 52, 52)
    assert values(log) == EXPECTED
    assert log.first_offset_at_or_after(T0 + 60_001)[:2] == (T0 + 63_000, 21)
    assert log.largest_timestamp().offset == 51  # the last marker, stamped by the broker: its clock was ahead of the records
    assert log.leader_epochs.entries == [(0, 0)]
    aborted = log.read(43, 10**6, committed=True).aborted_transactions
    assert [(one.first_offset, one.last_offset) for one in aborted] == [(40, 43), (48, 51)]
    assert [one.first_offset for one in log.read(40, 10**6, committed=True).aborted_transactions] == [40]
    assert log.read(0, 10**6, committed=True).aborted_transactions == []
    assert [one.first_offset for one in log.read(44, 10**6, committed=True).aborted_transactions] == [48]


def test_what_is_made_anew_is_kafkas_byte_for_byte(logs, recorded):
    only_batches = {name: data for name, data in recorded.items() if name.endswith(".log")}
    files = disk(only_batches)
    log = logs.reopen(files, CONFIG, clean=False)
    for segment in log.segments:
        segment.write_indexes(final=True)
    for name, data in recorded.items():
        if name.endswith(("index", "txnindex")):
            assert files.read_whole(f"topic-0/{name}") == data, name
    log.close()
    assert files.read_whole("topic-0/leader-epoch-checkpoint") == recorded["leader-epoch-checkpoint"]
    snapshot = f"{52:020d}.snapshot"
    assert _producers(files.read_whole(f"topic-0/{snapshot}")) == _producers(recorded[snapshot])


def test_a_snapshot_of_one_producer_is_kafkas_byte_for_byte(logs, recorded):
    up_to_22 = {name: data for name, data in recorded.items() if name.startswith(f"{0:020d}")}
    log = logs.reopen(disk(up_to_22), CONFIG, clean=False)

    assert log.end_offset == 22
    assert log.producers.snapshot() == recorded[f"{22:020d}.snapshot"]


def _producers(snapshot: bytes) -> set[bytes]:
    """Kafka writes them in the order of a hash table."""
    return {snapshot[at : at + 46] for at in range(10, len(snapshot), 46)}


def test_a_log_cut_at_every_byte_keeps_what_came_before(logs, recorded):
    for base in BASES:
        name = f"{base:020d}.log"
        data = recorded[name]
        ends = [0]
        for batch in batches(data):
            ends.append(ends[-1] + batch.size_in_bytes)
        before = len([batch for earlier in BASES if earlier < base for batch in batches(recorded[f"{earlier:020d}.log"])])
        for size in range(len(data)):
            log = logs.reopen(disk(recorded, **{name: data[:size]}), CONFIG, clean=False)
            assert log.offline is None
            whole = max(number for number, end in enumerate(ends) if end <= size)
            assert _batch_count(log) == before + whole, f"{name} cut at {size}"


def _batch_count(log) -> int:
    return sum(1 for segment in log.segments for _ in segment.batches_from(0))


def test_a_flipped_bit_at_every_byte_is_never_served(logs, recorded):
    """Base offset and leader epoch are outside of the checksum: there, as in Kafka, only what cannot be is noticed."""
    for base in BASES:
        name = f"{base:020d}.log"
        data = recorded[name]
        starts = {0}
        for batch in batches(data):
            starts.add(max(starts) + batch.size_in_bytes)
        for at in range(len(data)):
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            log = logs.reopen(disk(recorded, **{name: bytes(flipped)}), CONFIG, clean=False)
            assert log.offline is None
            within = at - max(start for start in starts if start <= at)
            if 8 <= within < 12 or within >= 16:
                found = values(log)
                assert found == EXPECTED[: len(found)], f"{name} flipped at {at}"
                assert log.end_offset >= base


@pytest.mark.parametrize("suffix", [".index", ".timeindex", ".snapshot", ".txnindex", "leader-epoch-checkpoint", "partition.metadata"])
def test_damage_beside_the_batches_hides_none_of_them(logs, recorded, suffix):
    for name in [name for name in recorded if name.endswith(suffix)]:
        data = recorded[name]
        damages = [data[:size] for size in range(len(data))]
        damages += [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]
        for damaged in damages:
            log = logs.reopen(disk(recorded, **{name: damaged}), CONFIG, clean=True)
            if log.offline is not None:
                assert name in log.offline
                assert name == "leader-epoch-checkpoint"
                continue
            for offset in range(0, 52, 3):
                first = next(batches(log.read(offset, 1).records))
                assert first.base_offset <= offset <= first.last_offset, f"{name}: {damaged!r}"
            if suffix == ".snapshot":
                assert {entry.last_sequence for entry in log.producers.producers.values()} == {39, 2}
            assert log.end_offset == 52


def test_the_archive_is_what_the_docstring_says(recorded):
    assert sum(name.endswith(".log") for name in recorded) == len(BASES)
    assert io.BytesIO(recorded["partition.metadata"]).readline() == b"version: 0\n"
