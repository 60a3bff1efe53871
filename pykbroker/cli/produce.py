"""`pykbroker produce`: what kafka-console-producer does, with its words: each line of standard input becomes a record.

Keys and headers are cut off a line where `--property parse.key=true` and `parse.headers=true` say so: HEADERS, then KEY, then the value.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pykbroker.cli.options import UsageError, client, key_value, parser
from pykbroker.cli.output import done
from pykbroker.client import Client, partition_of
from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.records import BatchProperties, Header, NewRecord

_LARGEST_BATCH_BYTES = 512 * 1024


class LineFormat(NamedTuple):
    """How a line is taken apart; names and defaults are those of Kafka's console producer."""

    parse_key: bool = False
    key_separator: str = "\t"
    parse_headers: bool = False
    headers_delimiter: str = "\t"
    headers_separator: str = ","
    headers_key_separator: str = ":"
    null_marker: str | None = None
    ignore_error: bool = False


def run(words: Sequence[str]) -> int:
    """Do it; the exit code."""
    options = _parser().parse_args(words)
    line_format = _line_format(options.property)
    with client(options) as asked:
        asked.create_missing_topics = True  # As Kafka's producers do; the broker may refuse.
        count = _produce(asked, options, _records(sys.stdin.buffer, line_format))
    if options.output == "json" or not sys.stdin.isatty():
        done(f"Produced {count} records to topic {options.topic}.", options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("produce", "Write lines from standard input as records.")
    made.add_argument("--topic", required=True, metavar="NAME", help="where to (made if it is not there and the broker makes topics)")
    made.add_argument("--partition", type=int, metavar="N", help="only into this one; else the key decides, or they take turns")
    made.add_argument(
        "--property",
        "--reader-property",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker, ignore.error",
    )
    made.add_argument(
        "--compression-codec",
        nargs="?",
        const="gzip",
        default="none",
        choices=["none", *[kind.name.lower() for kind in CompressionType if kind]],
        help="compress the batches (gzip, where no other is named)",
    )
    return made


def _line_format(properties: Sequence[str]) -> LineFormat:
    fields = {name.replace("_", "."): name for name in LineFormat._fields}
    given: dict[str, str | bool] = {}
    for key, value in (key_value(text, "--property") for text in properties):
        if key not in fields:
            raise UsageError(f"--property {key} is not known; there are {', '.join(fields)}.")
        given[fields[key]] = value.lower() == "true" if isinstance(LineFormat._field_defaults[fields[key]], bool) else _unescaped(value)
    return LineFormat(**given)  # type: ignore[arg-type]  # each has the type of its default


def _unescaped(value: str) -> str:
    return value.replace("\\t", "\t").replace("\\n", "\n")


def _records(lines: Iterable[bytes], line_format: LineFormat) -> Iterator[NewRecord]:
    for number, line in enumerate(lines, start=1):
        try:
            yield _record(line.rstrip(b"\r\n"), line_format)
        except UsageError as error:
            if not line_format.ignore_error:
                raise UsageError(f"Line {number}: {error}") from None


def _record(line: bytes, line_format: LineFormat) -> NewRecord:
    headers: list[Header] = []
    key: bytes | None = None
    value: bytes | None = line
    null = None if line_format.null_marker is None else line_format.null_marker.encode()
    if line_format.parse_headers:
        text, line = _cut(line, line_format.headers_delimiter, "headers.delimiter")
        headers = _headers(text, line_format, null) if text != null else []
        value = line
    if line_format.parse_key:
        key, value = _cut(line, line_format.key_separator, "key.separator")
    now_ms = time.time_ns() // 1_000_000
    return NewRecord(
        None if null is not None and value == null else value, None if null is not None and key == null else key, headers, now_ms
    )


def _cut(line: bytes, separator: str, name: str) -> tuple[bytes, bytes]:
    before, found, after = line.partition(separator.encode())
    if not found:
        raise UsageError(f"there is no {name} ({separator!r}) in it.")
    return before, after


def _headers(text: bytes, line_format: LineFormat, null: bytes | None) -> list[Header]:
    headers: list[Header] = []
    for pair in text.split(line_format.headers_separator.encode()):
        name, value = _cut(pair, line_format.headers_key_separator, "headers.key.separator")
        headers.append((name.decode(), None if null is not None and value == null else value))
    return headers


def _produce(asked: Client, options: argparse.Namespace, records: Iterator[NewRecord]) -> int:
    """Batches go out when they are large enough, or, from a terminal, line by line."""
    partition_count = len(asked.partitions(options.topic))
    properties = BatchProperties(compression=CompressionType[options.compression_codec.upper()])
    at_once = 1 if sys.stdin.isatty() else _LARGEST_BATCH_BYTES
    waiting: dict[int, list[NewRecord]] = {}
    sizes: dict[int, int] = {}
    count = 0
    for record in records:
        if options.partition is not None:
            partition = options.partition
        elif record.key is not None:
            partition = partition_of(record.key, partition_count)
        else:
            partition = count % partition_count
        count += 1
        waiting.setdefault(partition, []).append(record)
        sizes[partition] = sizes.get(partition, 0) + len(record.value or b"") + len(record.key or b"") + 20
        if sizes[partition] >= at_once:
            asked.produce(options.topic, partition, waiting.pop(partition), properties)
            del sizes[partition]
    for partition, left in sorted(waiting.items()):
        asked.produce(options.topic, partition, left, properties)
    return count
