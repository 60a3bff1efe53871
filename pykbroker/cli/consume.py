"""`pykbroker consume`: what kafka-console-consumer does, with its words: records become lines, alone or as a member of a group."""

import argparse
import base64
import json
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from pykbroker.cli.membership import Membership
from pykbroker.cli.options import UsageError, client, key_value, parser
from pykbroker.cli.output import note
from pykbroker.client import EARLIEST, LATEST, Client, ConsumedRecord
from pykbroker.protocol.errors import ErrorCode, KafkaError

_NO_TIMESTAMP = -1


class LineFormat(NamedTuple):
    """What of a record is shown; names and defaults are those of Kafka's console consumer."""

    print_timestamp: bool = False
    print_partition: bool = False
    print_offset: bool = False
    print_headers: bool = False
    print_key: bool = False
    print_value: bool = True
    key_separator: str = "\t"
    line_separator: str = "\n"
    headers_separator: str = ","
    null_literal: str = "null"


def run(words: Sequence[str]) -> int:
    """Do it; the exit code."""
    options = _parser().parse_args(words)
    line_format = _line_format(options.property)
    if options.group is not None and options.partition is not None:
        raise UsageError("--partition and --group do not go together: in a group, the group decides who reads what.")
    count = 0
    with client(options) as asked, closing(_in_group(asked, options) if options.group else _alone(asked, options)) as records:
        try:
            if options.max_messages != 0:
                for record in records:
                    sys.stdout.buffer.write(_json(record) if options.output == "json" else _line(record, line_format))
                    sys.stdout.buffer.flush()
                    count += 1
                    if count == options.max_messages:
                        break
        except KeyboardInterrupt:
            pass  # How one ends a consumer.
    note(f"Processed a total of {count} messages")
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("consume", "Write records to standard output.")
    made.add_argument("--topic", required=True, metavar="NAME", help="which topic")
    made.add_argument("--partition", type=int, metavar="N", help="only this partition")
    made.add_argument("--offset", default=None, metavar="N|earliest|latest", help="from where on (latest; goes with --partition)")
    made.add_argument("--from-beginning", action="store_true", help="from the first record on, where the group has no offset yet")
    made.add_argument("--max-messages", type=int, metavar="N", help="end after that many records; else go on until stopped")
    made.add_argument("--timeout-ms", type=int, metavar="MS", help="end when nothing comes for so long")
    made.add_argument("--group", metavar="NAME", help="read as a member of this group, and commit what was read")
    made.add_argument(
        "--property",
        "--formatter-property",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="print.key, print.value, print.timestamp, print.partition, print.offset, print.headers, key.separator, line.separator, …",
    )
    return made


def _alone(asked: Client, options: argparse.Namespace) -> Generator[ConsumedRecord, None, None]:
    """Every partition, or the one, without a group."""
    partitions = asked.partitions(options.topic)
    if options.partition is not None:
        if options.partition not in partitions:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {options.topic} has no partition {options.partition}")
        partitions = [options.partition]
    elif options.offset is not None:
        raise UsageError("--offset goes with --partition alone.")
    positions = {partition: _start(asked, options, partition) for partition in partitions}
    quiet_since = time.monotonic()
    while not _is_over(options, quiet_since):
        fetched = asked.until_it_works(partial(asked.fetch, options.topic, positions))
        positions = fetched.positions
        if fetched.records:
            yield from fetched.records
            quiet_since = time.monotonic()


def _start(asked: Client, options: argparse.Namespace, partition: int) -> int:
    if options.offset is not None and options.offset.isdigit():
        return int(options.offset)
    special = {"earliest": EARLIEST, "latest": LATEST, None: EARLIEST if options.from_beginning else LATEST}
    if options.offset not in special:
        raise UsageError(f"--offset {options.offset} is neither a number nor earliest nor latest.")
    return asked.offset(options.topic, partition, special[options.offset])


def _in_group(asked: Client, options: argparse.Namespace) -> Generator[ConsumedRecord, None, None]:
    """What the group gives us; what was shown is committed when we leave, and before every rebalance."""
    member = Membership(asked, options.group, options.topic, EARLIEST if options.from_beginning else LATEST)
    quiet_since = time.monotonic()
    try:
        while not _is_over(options, quiet_since):
            for record in asked.until_it_works(member.poll):
                quiet_since = time.monotonic()
                member.positions[record.partition] = record.offset + 1
                yield record
    finally:
        member.leave()


def _is_over(options: argparse.Namespace, quiet_since: float) -> bool:
    return options.timeout_ms is not None and (time.monotonic() - quiet_since) * 1000 >= options.timeout_ms


def _line_format(properties: Sequence[str]) -> LineFormat:
    fields = {name.replace("_", "."): name for name in LineFormat._fields}
    given: dict[str, str | bool] = {}
    for key, value in (key_value(text, "--property") for text in properties):
        if key not in fields:
            raise UsageError(f"--property {key} is not known; there are {', '.join(fields)}.")
        is_flag = isinstance(LineFormat._field_defaults[fields[key]], bool)
        given[fields[key]] = value.lower() == "true" if is_flag else value.replace("\\t", "\t").replace("\\n", "\n")
    return LineFormat(**given)  # type: ignore[arg-type]  # each has the type of its default


def _line(record: ConsumedRecord, line_format: LineFormat) -> bytes:
    null = line_format.null_literal.encode()
    parts: list[bytes] = []
    if line_format.print_timestamp:
        parts.append(b"NO_TIMESTAMP" if record.timestamp == _NO_TIMESTAMP else f"CreateTime:{record.timestamp}".encode())
    if line_format.print_partition:
        parts.append(f"Partition:{record.partition}".encode())
    if line_format.print_offset:
        parts.append(f"Offset:{record.offset}".encode())
    if line_format.print_headers:
        pairs = [name.encode() + b":" + (null if value is None else value) for name, value in record.headers]
        parts.append(line_format.headers_separator.encode().join(pairs) if pairs else b"NO_HEADERS")
    if line_format.print_key:
        parts.append(null if record.key is None else record.key)
    if line_format.print_value:
        parts.append(null if record.value is None else record.value)
    return line_format.key_separator.encode().join(parts) + line_format.line_separator.encode()


def _json(record: ConsumedRecord) -> bytes:
    """One line. Bytes that are not UTF-8 are an object: {"base64": …}."""
    shown = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
    }
    return json.dumps(shown, ensure_ascii=False).encode() + b"\n"


def _text(data: bytes | None) -> str | dict[str, str] | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
