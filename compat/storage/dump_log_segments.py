"""Our log directories and Kafka's are the same: each reads what the other wrote.

    python -m compat.storage.dump_log_segments [--port 20950]

1. Kafka's DumpLogSegments reads every file of a log that we wrote, without a complaint, and finds the batches that we find.
2. A log that Kafka wrote (five compressions, an idempotent producer, committed and aborted transactions, several segments) is opened by us: the same
   batches at the same offsets, the same offsets by time; and indexes and aborted transactions that we make anew are Kafka's, byte for byte.
3. Kafka and we compact that log to the same batches.
4. Kafka starts on a log that we wrote, goes on with it, and gives a consumer every record.

Skipped, and says so, where there is no Java.
"""

import argparse
import dataclasses
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from compat.ending import run_to_its_end
from compat.oracle import kafka as oracle
from pykbroker.later import Later
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.records import BatchProperties, ControlRecordType, NewRecord, RecordBatch, build_batch, control_record_key
from pykbroker.storage import cleaner, loader
from pykbroker.storage.files import OsFiles
from pykbroker.storage.log import LogConfig, UnifiedLog

NAME = "storage"
TOPIC = "stored"
NOW_MS = 1_790_000_000_000
CONFIG = LogConfig(segment_bytes=64 * 1024)
COMPLAINTS = re.compile(r"isvalid: false|mismatch|out of order|non-consecutive|exception|fail|error|should be|invalid", re.IGNORECASE)
FALSE_ALARM = re.compile(r"Non-consecutive offsets in \S+\n  -1 is followed by \d+\n")
"""The tool says so of every segment that does not begin at 0, Kafka's own too."""
BATCH = re.compile(r"baseOffset: (\d+) lastOffset: (\d+) .*position: (\d+).*crc: (\d+)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Each reads what the other wrote.")
    parser.add_argument("--port", type=int, default=20950)
    port = parser.parse_args().port
    missing = oracle.missing()
    if missing:
        print(f"SKIPPED: Kafka's own tools cannot judge our log files here, for {missing}")
        return
    with tempfile.TemporaryDirectory() as folder:
        ours = pathlib.Path(folder) / "ours"
        write_a_log(ours)
        kafka_reads_our_files(ours)
        kafka_reads_what_we_compacted(pathlib.Path(folder) / "compacted")
        settings = {"log.segment.bytes": "1048576", "log.cleaner.backoff.ms": "500", "log.retention.ms": "-1"}
        try:
            times = let_kafka_write(oracle.start(NAME, port, settings))
            oracle.stop(NAME)
            theirs = oracle.HOME / "pykbroker" / NAME / "data-1" / f"{TOPIC}-0"
            we_read_kafkas_files(theirs, times, pathlib.Path(folder) / "theirs")
            both_compact_to_the_same(theirs, port, pathlib.Path(folder) / "both")
            kafka_goes_on_with_our_log(ours, theirs, port)
        finally:
            oracle.stop(NAME)
    print("Log directories: each read what the other wrote.")


# -- 1: ours, read by Kafka's tool -------------------------------------------------------------------------------------


def write_a_log(root: pathlib.Path) -> None:
    """Batches of all kinds, over several segments, with a recovery in between."""
    files = OsFiles(str(root))
    log = loader.create(files, f"{TOPIC}-0", CONFIG, inline, NOW_MS)
    for number in range(400):
        append(log, number, leader_epoch=number // 150)
    log.close()
    require(log.offline is None, f"our log went offline: {log.offline}")
    files.close()
    files = OsFiles(str(root))
    log = loader.load(files, f"{TOPIC}-0", CONFIG, inline, NOW_MS, clean=False)
    for _ in loader.recover(log):
        pass
    for number in range(400, 500):
        append(log, number, leader_epoch=3)
    log.close()
    require(log.offline is None, f"our log went offline: {log.offline}")
    files.close()


def append(log: UnifiedLog, number: int, leader_epoch: int) -> None:
    """The number decides what kind of batch it is; every 40 make up two transactions, one of which is aborted."""
    timestamp = NOW_MS + number * 10 - (number % 7) * 25
    compression = CompressionType(number % 5)
    step = number % 40
    producer_id, sequence, kind = {
        36: (7, 0, None),
        37: (8, 0, None),
        38: (7, -1, ControlRecordType.ABORT),
        39: (8, -1, ControlRecordType.COMMIT),
    }.get(step, (-1 if step % 2 else 5, -1, None))
    if kind is not None:
        marker = NewRecord(struct.pack(">hi", 0, 3), key=control_record_key(kind), timestamp=timestamp)
        properties = BatchProperties(producer_id=producer_id, producer_epoch=number // 40, is_transactional=True, is_control=True)
        log.append_built(build_batch([marker], properties), leader_epoch, NOW_MS)
        return
    records = [
        NewRecord(
            bytes([number % 256]) * (200 + 37 * count), key=b"%d" % count, headers=[("number", b"%d" % number)], timestamp=timestamp + count
        )
        for count in range(1 + number % 6)
    ]
    if producer_id == 5:
        known = log.producers.producers.get(5)
        sequence = known.last_sequence + 1 if known else 0
    properties = BatchProperties(
        compression=compression,
        producer_id=producer_id,
        producer_epoch=number // 40 if producer_id in {7, 8} else (0 if producer_id == 5 else -1),
        base_sequence=sequence,
        is_transactional=producer_id in {7, 8},
    )
    log.append_built(build_batch(records, properties), leader_epoch, NOW_MS)


def kafka_reads_our_files(root: pathlib.Path) -> None:
    folder = root / f"{TOPIC}-0"
    files = sorted(path for path in folder.iterdir() if path.suffix in {".log", ".index", ".timeindex", ".txnindex", ".snapshot"})
    kinds = {path.suffix for path in files}
    require(kinds == {".log", ".index", ".timeindex", ".txnindex", ".snapshot"}, f"our log has only files of the kinds {kinds}")
    shown = dumped(files, "--deep-iteration")
    dumped([path for path in files if path.suffix == ".index"], "--index-sanity-check")
    theirs = [tuple(map(int, row)) for row in BATCH.findall(shown)]
    ours = [row for path in files if path.suffix == ".log" for row in batches_in(path)]
    require(theirs == ours, f"DumpLogSegments finds {len(theirs)} batches in our log, we find {len(ours)}")
    aborted = shown.count("lastStableOffset:")
    require(aborted == 12, f"DumpLogSegments finds {aborted} aborted transactions in our log instead of 12")
    print(f"DumpLogSegments reads our {len(files)} files: {len(ours)} batches, {aborted} aborted transactions, no complaint")


def kafka_reads_what_we_compacted(root: pathlib.Path) -> None:
    """Gaps, batches written anew, emptied ones, tombstones with their horizon, markers without their transactions."""
    files = OsFiles(str(root))
    config = dataclasses.replace(CONFIG, is_compacted=True, is_deleted=False, min_cleanable_dirty_ratio=0.0)
    log = loader.create(files, f"{TOPIC}-0", config, inline, NOW_MS)
    for number in range(400):
        append(log, number, leader_epoch=0)
        if number % 50 == 49:
            log.append_built(build_batch([NewRecord(None, key=b"0", timestamp=NOW_MS)]), 0, NOW_MS)
    log.roll(NOW_MS)
    before = log.size
    found = cleaner.cleanable(log, NOW_MS)
    require(found is not None, "there is nothing to compact")
    for _ in cleaner.clean(log, found, NOW_MS):
        pass
    log.close()
    require(log.offline is None, f"our log went offline: {log.offline}")
    written = sorted(
        path for path in (root / f"{TOPIC}-0").iterdir() if path.suffix in {".log", ".index", ".timeindex", ".txnindex", ".snapshot"}
    )
    shown = dumped(written)
    theirs = [tuple(map(int, row)) for row in BATCH.findall(shown)]
    ours = [row for path in written if path.suffix == ".log" for row in batches_in(path)]
    require(theirs == ours, f"DumpLogSegments finds {len(theirs)} batches in our compacted log, we find {len(ours)}")
    require("count: 0" in shown and "deleteHorizonMs: OptionalLong[" in shown, "the compacted log lacks what it should show")
    files.close()
    print(f"DumpLogSegments reads what we compacted from {before} to {log.size} bytes: {len(ours)} batches, no complaint")


def dumped(files: list[pathlib.Path], *options: str) -> str:
    command = oracle.tool("DumpLogSegments", "--files", ",".join(map(str, files)), *options)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shown = FALSE_ALARM.sub("", done.stdout + done.stderr)
    complaints = [line for line in shown.splitlines() if COMPLAINTS.search(line)]
    require(
        done.returncode == 0 and not complaints, "DumpLogSegments complains:\n" + "\n".join(complaints[:10] or shown.splitlines()[-10:])
    )
    return shown


def batches_in(path: pathlib.Path) -> list[tuple[int, int, int, int]]:
    data = memoryview(path.read_bytes())
    rows, position = [], 0
    while position < len(data):
        batch = RecordBatch(data[position:])
        rows.append((batch.base_offset, batch.last_offset, position, batch.crc))
        position += batch.size_in_bytes
    return rows


# -- 2: Kafka's, read by us --------------------------------------------------------------------------------------------


def let_kafka_write(bootstrap: str) -> dict[int, int]:
    """A topic with everything in it; what Kafka answers for some timestamps."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result()
    for compression in ("none", "gzip", "snappy", "lz4", "zstd"):
        produce(bootstrap, {"compression.type": compression, "enable.idempotence": compression == "gzip", "batch.num.messages": 25}, 4000)
    for number in range(6):
        producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"writer-{number % 2}", "linger.ms": 5})
        producer.init_transactions()
        producer.begin_transaction()
        for count in range(30):
            producer.produce(TOPIC, value=b"t" * 100, key=b"%d" % count, timestamp=NOW_MS + 100_000 + number * 1000 + count)
        producer.flush()
        producer.commit_transaction() if number % 3 else producer.abort_transaction()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none"})
    asked = [NOW_MS - 1, NOW_MS, NOW_MS + 777, NOW_MS + 1499, NOW_MS + 100_000, NOW_MS + 103_015, NOW_MS + 105_029]
    found = {time: consumer.offsets_for_times([TopicPartition(TOPIC, 0, time)])[0].offset for time in asked}
    consumer.close()
    return found


def produce(bootstrap: str, settings: dict[str, object], count: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **settings})
    for number in range(count):
        producer.produce(TOPIC, value=(b"%d" % number) * 60, key=b"%d" % number, timestamp=NOW_MS + number, headers={"a": b"b"})
        producer.poll(0)
    producer.flush()


def we_read_kafkas_files(theirs: pathlib.Path, times: dict[int, int], work: pathlib.Path) -> None:
    work.mkdir()
    shutil.copytree(theirs, work / f"{TOPIC}-0")
    files = OsFiles(str(work))
    log = loader.load(files, f"{TOPIC}-0", LogConfig(segment_bytes=1024 * 1024), inline, NOW_MS, clean=True)
    require(log.offline is None, f"we cannot open Kafka's log: {log.offline}")
    expected = [row for path in sorted(theirs.glob("*.log")) for row in batches_in(path)]
    require(len(log.segments) > 1, "Kafka wrote one segment only; the comparison needs several")
    require(log.end_offset == expected[-1][1] + 1, f"we find the end at {log.end_offset}, the last batch ends at {expected[-1][1]}")
    for base, last, _, _ in expected:
        for offset in {base, (base + last) // 2, last}:
            read = RecordBatch(log.read(offset, 1).records)
            require((read.base_offset, read.last_offset) == (base, last), f"offset {offset} is not in the batch {read}")
    for timestamp, offset in times.items():
        found = log.first_offset_at_or_after(timestamp).offset
        require(found == offset, f"Kafka finds offset {offset} at time {timestamp}, we find {found}")
    snapshot = (theirs / f"{log.end_offset:020d}.snapshot").read_bytes()
    require(sorted_entries(log.producers.snapshot()) == sorted_entries(snapshot), "the snapshot that Kafka wrote comes out otherwise")
    files.close()
    compare_made_anew(theirs, work, log)
    print(
        f"We read Kafka's log: {len(expected)} batches in {len(log.segments)} segments, {len(times)} times, made its indexes anew byte for byte"
    )


def compare_made_anew(theirs: pathlib.Path, work: pathlib.Path, log: UnifiedLog) -> None:
    """Without anything but the batches, we come to the same indexes, aborted transactions and producers."""
    for path in (work / f"{TOPIC}-0").iterdir():
        if path.suffix != ".log" and path.name != "leader-epoch-checkpoint":
            path.unlink()
    files = OsFiles(str(work), most_open=8)
    anew = loader.load(files, f"{TOPIC}-0", LogConfig(segment_bytes=1024 * 1024), inline, NOW_MS, clean=False)
    for _ in loader.recover(anew):
        pass
    require(anew.end_offset == log.end_offset, "recovery finds another end")
    for segment in anew.segments:
        segment.write_indexes(final=True)
    for path in sorted(theirs.iterdir()):
        if path.suffix in {".index", ".timeindex", ".txnindex"}:
            copy = work / f"{TOPIC}-0" / path.name
            written = copy.read_bytes() if copy.exists() else b""
            require(written == path.read_bytes(), f"{path.name} made anew is not Kafka's: {len(written)} and {path.stat().st_size} bytes")
    require(
        sorted_entries(anew.producers.snapshot()) == sorted_entries(log.producers.snapshot()),
        "replay finds other producers than the snapshot",
    )
    files.close()


def sorted_entries(snapshot: bytes) -> list[bytes]:
    """Producers in a snapshot come in the order of a hash table."""
    entry = struct.calcsize(">qhiqiqiq")
    return sorted(snapshot[start : start + entry] for start in range(10, len(snapshot), entry))


# -- 3: compacted by both ----------------------------------------------------------------------------------------------


def both_compact_to_the_same(theirs: pathlib.Path, port: int, work: pathlib.Path) -> None:
    """All but the last segment, in one round each; the horizon of tombstones is each one's own time."""
    bootstrap = oracle.restart(NAME, port)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    alter(admin, {"segment.ms": "1"})
    produce(bootstrap, {}, 2)
    oracle.stop(NAME)
    work.mkdir()
    shutil.copytree(theirs, work / f"{TOPIC}-0")
    bootstrap = oracle.restart(NAME, port)
    alter(AdminClient({"bootstrap.servers": bootstrap}), {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"})
    wait_for(lambda: f"{TOPIC} 0 " in (theirs.parent / "cleaner-offset-checkpoint").read_text(), "Kafka compacts nothing within 60 s")
    alter(AdminClient({"bootstrap.servers": bootstrap}), {"cleanup.policy": "delete", "segment.ms": "604800000"})
    oracle.stop(NAME)
    files = OsFiles(str(work))
    config = LogConfig(segment_bytes=1024 * 1024, is_compacted=True, is_deleted=False, min_cleanable_dirty_ratio=0.01)
    log = loader.load(files, f"{TOPIC}-0", config, inline, NOW_MS)
    found = cleaner.cleanable(log, NOW_MS)
    require(found is not None, "there is nothing to compact")
    before = log.size
    for _ in cleaner.clean(log, found, NOW_MS):
        pass
    log.close()
    their_batches = [row for path in sorted(theirs.glob("*.log")) for row in contents_of(path)]
    our_batches = [row for path in sorted((work / f"{TOPIC}-0").glob("*.log")) for row in contents_of(path)]
    differing = [(mine, other) for mine, other in zip(our_batches, their_batches, strict=False) if mine != other]
    require(our_batches == their_batches, f"compacted: {len(our_batches)} batches by us, {len(their_batches)} by Kafka; {differing[:2]}")
    require(log.size < before / 2, "the round has removed too little to tell")
    files.close()
    print(f"Kafka and we compact {before} to {log.size} bytes, to the same {len(our_batches)} batches")


def contents_of(path: pathlib.Path) -> list[tuple[object, ...]]:
    """All that a batch says but its checksum, and a horizon, which depends on the time of the round."""
    return [
        (
            batch.base_offset,
            batch.last_offset,
            batch.partition_leader_epoch,
            batch.attributes,
            batch.max_timestamp,
            batch.producer_id,
            batch.producer_epoch,
            batch.base_sequence,
            batch.record_count,
            batch.base_timestamp if batch.delete_horizon_ms is None else None,
            [tuple(record) for record in batch.records()],
        )
        for batch in whole_batches(path)
    ]


def alter(admin: AdminClient, settings: dict[str, str]) -> None:
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()]
    for done in admin.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, TOPIC, incremental_configs=entries)]).values():
        done.result()


def wait_for(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        require(time.monotonic() < deadline, otherwise)
        time.sleep(0.2)


# -- 4: ours, continued by Kafka ---------------------------------------------------------------------------------------


def kafka_goes_on_with_our_log(ours: pathlib.Path, theirs: pathlib.Path, port: int) -> None:
    topic_id = (theirs / "partition.metadata").read_text()
    shutil.rmtree(theirs)
    shutil.copytree(ours / f"{TOPIC}-0", theirs)
    (theirs / "partition.metadata").write_text(topic_id)
    bootstrap = oracle.restart(NAME, port)
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(TOPIC, value=b"one more")
    require(producer.flush(30) == 0, "Kafka does not take a record behind our log")
    expected = sum(1 for path in ours.glob("*-0/*.log") for batch in whole_batches(path) if not batch.is_control for _ in batch.records())
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "g", "isolation.level": "read_uncommitted", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    values = []
    while not values or values[-1] != b"one more":
        message = consumer.poll(30)
        require(message is not None, f"Kafka gave {len(values)} records of our log, then nothing for 30 s")
        if not message.error():
            values.append(message.value())
    consumer.close()
    require(len(values) == expected + 1, f"Kafka gave {len(values) - 1} records of our log, which has {expected}")
    left = {path.name for path in theirs.glob("*.snapshot")} | {path.name for path in theirs.glob("*.log")}
    print(f"Kafka goes on with our log: {expected} records read, one more written ({len(left)} log and snapshot files)")


def whole_batches(path: pathlib.Path) -> list[RecordBatch]:
    data = memoryview(path.read_bytes())
    return [RecordBatch(data[position : position + RecordBatch(data[position:]).size_in_bytes]) for _, _, position, _ in batches_in(path)]


# -- -------------------------------------------------------------------------------------------------------------------


def inline(work: object) -> Later[None]:
    done: Later[None] = Later()
    work()  # type: ignore[operator]
    done.settle(None)
    return done


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"FAILED: {otherwise}")


if __name__ == "__main__":
    run_to_its_end(main)
