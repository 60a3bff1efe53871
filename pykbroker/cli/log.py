"""`pykbroker log`: what DumpLogSegments does: shows what is in the files of a data directory, ours or Kafka's, without changing a byte.

Batches are checked as they are read. A damaged one ends its file, is named on standard error, and makes the exit code 1.
"""

import argparse
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO

from pykbroker.cli.options import UsageError, add_output, names
from pykbroker.cli.output import Json, Row, note, show
from pykbroker.coordinator.group_records import GroupRecordFormat
from pykbroker.protocol import messages
from pykbroker.protocol.codec import decode_prefix
from pykbroker.protocol.definitions import definitions_in
from pykbroker.protocol.messages import Message
from pykbroker.protocol.records import HEADER_SIZE, LOG_OVERHEAD, CorruptBatch, Record, RecordBatch
from pykbroker.protocol.wire import Malformed, read_unsigned_varint
from pykbroker.storage.producer_state import ProducerState, SnapshotDamaged

_LARGEST_BATCH = 1 << 30
_BATCH_COLUMNS = [
    "base_offset",
    "last_offset",
    "count",
    "position",
    "size",
    "max_timestamp",
    "compression",
    "leader_epoch",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "transactional",
    "control",
]
_RECORD_COLUMNS = ["offset", "timestamp", "key", "value", "headers"]


class Damaged(Exception):  # noqa: N818 - a state of the file, named as what it is
    """What is wrong in a file, and where."""


def run(words: Sequence[str]) -> int:
    """Do it; the exit code."""
    options = _parser().parse_args(words)
    paths = _paths(options)
    code = 0
    for path in paths:
        rows: list[Row] = []
        if options.output == "text":
            print(f"{'' if path == paths[0] else chr(10)}{path}")
        try:
            rows.extend(_rows(path, options))
        except Damaged as damage:
            note(f"pykbroker: {path}: {damage}")
            code = 1
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
        _show(path, rows, options)
    return code


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="pykbroker log", description="Show what is in the segment files of a data directory.")
    made.add_argument("--files", action="append", metavar="FILE,FILE", help=".log, .checkpoint, .index, .timeindex, .txnindex, .snapshot")
    made.add_argument("--data-dir", metavar="DIR", help="all .log files in it")
    made.add_argument("--topic", metavar="NAME", help="of this topic only (goes with --data-dir)")
    made.add_argument("--partition", type=int, metavar="N", help="of this partition only (goes with --data-dir)")
    made.add_argument("--print-data-log", action="store_true", help="show the records, not only their batches")
    made.add_argument(
        "--offsets-decoder", action="store_true", help="read keys and values as in __consumer_offsets (found out by --data-dir)"
    )
    made.add_argument("--cluster-metadata-decoder", action="store_true", help="read values as in __cluster_metadata (likewise)")
    add_output(made)
    return made


def _paths(options: argparse.Namespace) -> list[Path]:
    given = [Path(name) for name in names(options.files)]
    if options.data_dir is not None:
        root = Path(options.data_dir)
        if not root.is_dir():
            raise UsageError(f"--data-dir {root} is not a directory.")
        for directory in sorted(path for path in root.iterdir() if path.is_dir()):
            topic, _, partition = directory.name.rpartition("-")
            if options.topic in {None, topic} and (options.partition is None or partition == str(options.partition)):
                given += sorted(directory.glob("*.log"))
        if not given:
            raise UsageError(f"{root} has no log of {_wanted(options)}.")
    if not given:
        raise UsageError("log needs --files FILE,FILE or --data-dir DIR.")
    return given


def _wanted(options: argparse.Namespace) -> str:
    topic = "any topic" if options.topic is None else f"topic {options.topic}"
    return topic if options.partition is None else f"partition {options.partition} of {topic}"


def _rows(path: Path, options: argparse.Namespace) -> Iterator[Row]:
    if path.suffix in {".log", ".checkpoint"}:
        with path.open("rb") as file:
            for position, batch in _batches(file):
                yield from _record_rows(path, batch, options) if options.print_data_log else [_batch_row(position, batch)]
    elif path.suffix in _FIXED:
        yield from _fixed_rows(path)
    elif path.suffix == ".snapshot":
        yield from _producer_rows(path)
    else:
        raise Damaged("only .log, .checkpoint, .index, .timeindex, .txnindex and .snapshot files are known")


def _show(path: Path, rows: Sequence[Row], options: argparse.Namespace) -> None:
    if options.output == "json":
        show([{"file": str(path), **row} for row in rows], [], "json")
    elif path.suffix in {".log", ".checkpoint"}:
        show(rows, _RECORD_COLUMNS if options.print_data_log else _BATCH_COLUMNS, "text")
    else:
        show(rows, list(rows[0]) if rows else [], "text")


def _batches(file: BinaryIO) -> Iterator[tuple[int, RecordBatch]]:
    """One batch after the other, each with where it begins; no more than one of them is in memory."""
    position = 0
    while head := file.read(HEADER_SIZE):
        size = LOG_OVERHEAD + int.from_bytes(head[8:12], "big", signed=True)
        if len(head) < HEADER_SIZE or not HEADER_SIZE <= size <= _LARGEST_BATCH:
            if not any(head) and not any(file.read()):
                return  # Space that was set aside and not used yet.
            raise Damaged(f"at byte {position} there is no batch")
        data = head + file.read(size - HEADER_SIZE)
        if len(data) < size:
            raise Damaged(f"the batch at byte {position} is cut off: {len(data)} of its {size} bytes are there")
        batch = RecordBatch(data)
        if not batch.is_sound():
            raise Damaged(f"the batch at byte {position} (offset {batch.base_offset}) has a wrong checksum")
        yield position, batch
        position += size


def _batch_row(position: int, batch: RecordBatch) -> Row:
    return {
        "base_offset": batch.base_offset,
        "last_offset": batch.last_offset,
        "count": batch.record_count,
        "position": position,
        "size": batch.size_in_bytes,
        "max_timestamp": batch.max_timestamp,
        "timestamp_type": batch.timestamp_type.name,
        "compression": batch.compression.name.lower(),
        "leader_epoch": batch.partition_leader_epoch,
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "transactional": batch.is_transactional,
        "control": batch.is_control,
        "delete_horizon_ms": batch.delete_horizon_ms,
        "crc": batch.crc,
    }


def _record_rows(path: Path, batch: RecordBatch, options: argparse.Namespace) -> Iterator[Row]:
    directory = path.absolute().parent.name
    is_metadata = options.cluster_metadata_decoder or directory.startswith("__cluster_metadata-")
    is_offsets = options.offsets_decoder or directory.startswith("__consumer_offsets-")
    try:
        for record in batch.records():
            key, value = _text(record.key), _text(record.value)
            if batch.is_control:
                key = _control(record.key)
            elif is_metadata:
                value = _metadata(record.value)
            elif is_offsets:
                key, value = _group_record(record)
            headers: Json = [[name, _text(content)] for name, content in record.headers]
            yield {"offset": record.offset, "timestamp": record.timestamp, "key": key, "value": value, "headers": headers}
    except (CorruptBatch, Malformed) as error:
        raise Damaged(f"the batch at offset {batch.base_offset}: {error}") from error


def _text(data: bytes | None) -> str | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"


def _control(key: bytes | None) -> str:
    from pykbroker.protocol.records import ControlRecordType

    kind = int.from_bytes((key or b"")[2:4], "big")
    return ControlRecordType(kind).name if kind in set(ControlRecordType) else f"control record of type {kind}"


def _metadata(value: bytes | None) -> str | None:
    """A record of the metadata log: frame version, type, version, message."""
    if value is None:
        return None
    try:
        _, position = read_unsigned_varint(value, 0)
        record_type, position = read_unsigned_varint(value, position)
        version, position = read_unsigned_varint(value, position)
        return repr(decode_prefix(_metadata_classes()[record_type], version, value, position)[0])
    except (IndexError, KeyError):
        return _text(value)


@cache
def _metadata_classes() -> dict[int, type[Message]]:
    return {definition.key: getattr(messages, name) for name, definition in definitions_in("cluster_metadata.kmsg").items()}


def _group_record(record: Record) -> tuple[str | None, str | None]:
    decoded = GroupRecordFormat().decode(record)
    if decoded is None:
        return _text(record.key), _text(record.value)
    return repr(decoded.key), None if decoded.value is None else repr(decoded.value)


_FIXED: dict[str, tuple[struct.Struct, list[str]]] = {
    ".index": (struct.Struct(">ii"), ["relative_offset", "position"]),
    ".timeindex": (struct.Struct(">qi"), ["timestamp", "relative_offset"]),
    ".txnindex": (struct.Struct(">hqqqq"), ["version", "producer_id", "first_offset", "last_offset", "last_stable_offset"]),
}


def _fixed_rows(path: Path) -> Iterator[Row]:
    entry, columns = _FIXED[path.suffix]
    data = path.read_bytes()
    whole = len(data) - len(data) % entry.size
    base_offset = int(path.stem) if path.stem.isdigit() else 0
    for number, values in enumerate(entry.iter_unpack(data[:whole])):
        if number and not any(values):
            break  # A live broker's index is longer than what it holds.
        row: dict[str, Json] = dict(zip(columns, values, strict=True))
        if "relative_offset" in row:
            row = {"offset": base_offset + values[columns.index("relative_offset")], **row}
        yield row
    if whole != len(data):
        raise Damaged(f"{len(data) - whole} bytes at its end are no whole entry")


def _producer_rows(path: Path) -> Iterator[Row]:
    state = ProducerState()
    try:
        state.load_snapshot(path.read_bytes())
    except SnapshotDamaged as error:
        raise Damaged(str(error)) from None
    for entry in state.producers.values():
        last = entry.batches[-1] if entry.batches else None
        yield {
            "producer_id": entry.producer_id,
            "producer_epoch": entry.epoch,
            "last_sequence": entry.last_sequence,
            "last_offset": None if last is None else last.last_offset,
            "last_timestamp": entry.last_timestamp,
            "coordinator_epoch": entry.coordinator_epoch,
            "current_transaction_first_offset": entry.current_transaction_first_offset,
        }
