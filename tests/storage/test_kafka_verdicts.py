"""Three thousand odd and damaged batches are answered, and stored, as Apache Kafka 4.3.0 answered and stored them.

The verdicts were written down by compat/records/ask_kafka.py.
"""

import json
import lzma
from pathlib import Path

import pytest

from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.records import CorruptBatch, Record, RecordBatch, TimestampType
from pykbroker.storage.validator import RecordsRefused, ValidationSettings, one_batch, validate

VERDICTS = [json.loads(line) for line in lzma.decompress(Path(__file__).with_name("kafka_verdicts.jsonl.xz").read_bytes()).splitlines()]
APPEND = TimestampType.LOG_APPEND_TIME
SETTINGS = {
    "plain": ValidationSettings(),
    "append": ValidationSettings(timestamp_type=APPEND),
    "compact": ValidationSettings(is_compacted=True),
    "gzip": ValidationSettings(compression=CompressionType.GZIP),
    "uncompressed": ValidationSettings(compression=CompressionType.NONE),
    "small": ValidationSettings(max_message_bytes=200),
    "before": ValidationSettings(timestamp_before_max_ms=3_600_000, is_compacted=True),
    "zstd": ValidationSettings(compression=CompressionType.ZSTD),
    "append-gzip": ValidationSettings(compression=CompressionType.GZIP, timestamp_type=APPEND),
    "lz4": ValidationSettings(compression=CompressionType.LZ4),
    "snappy": ValidationSettings(compression=CompressionType.SNAPPY),
    "append-compact": ValidationSettings(timestamp_type=APPEND, is_compacted=True),
}
ATTRIBUTES_TO_COUNT = slice(21, 61)
INVALID, UNKNOWN = ErrorCode.INVALID_RECORD, ErrorCode.UNKNOWN_SERVER_ERROR


def ours(verdict: dict) -> dict:
    """Our own answer, in the words of a verdict."""
    records = bytearray.fromhex(verdict["records"])
    try:
        batch = one_batch(records, verdict["version"])
        stored = validate(batch, SETTINGS[verdict["topic"]], verdict.get("append_time", verdict["now"]))
    except RecordsRefused as refused:
        answer = {"error": int(refused.error_code)}
        if verdict["version"] >= 5:
            answer["start_told"] = refused.in_shape
        if verdict["version"] >= 8:
            answer["named"] = [error.batch_index for error in refused.record_errors]
            answer["has_message"] = refused.shown_message is not None
        return answer
    return {"error": 0, "stored": bytes(stored.buffer)}


def expected(verdict: dict) -> dict:
    answer = {key: verdict[key] for key in ("error", "start_told", "named", "has_message") if key in verdict}
    if answer["error"] == 0:
        sent = bytes.fromhex(verdict["records"])
        size = RecordBatch(sent).size_in_bytes
        answer["stored"] = bytes.fromhex(verdict["stored"]) if "stored" in verdict else sent[:size]
    return answer


def is_same_batch(ours: bytes, theirs: bytes) -> bool:
    """Base offset and leader epoch are the log's to set. Codecs pack differently, so records that were packed anew are compared as records.

    When Kafka packs anew it also writes U+FFFD into header names that are not UTF-8; we leave them.
    """
    if ours[16:] == theirs[16:]:
        return True
    if ours[ATTRIBUTES_TO_COUNT] != theirs[ATTRIBUTES_TO_COUNT]:
        return False
    return [seen(record) for record in RecordBatch(ours).records()] == [seen(record) for record in RecordBatch(theirs).records()]


def seen(record: Record) -> tuple[object, ...]:
    names = [name.encode(errors="surrogateescape").decode(errors="replace") for name, _ in record.headers]
    return record.timestamp, record.key, record.value, names, [value for _, value in record.headers]


def is_known_difference(verdict: dict, answer: dict) -> bool:
    """Inside compressed batches Kafka does not read a record's own length, and meets records before the damage in a stream behind them.

    So it takes some batches that no consumer can read, which we refuse, and some are refused for another reason.
    """
    sent = bytes.fromhex(verdict["records"])
    if sent[22] & 7 == CompressionType.NONE or verdict["kind"] not in ("records", "payload", "packed", "header", "offsets", "sound"):
        return False
    if answer["error"] == INVALID and verdict["error"] == 0:
        with pytest.raises(CorruptBatch):
            list(RecordBatch(sent).records())
        return True
    return {answer["error"], verdict["error"]} <= {INVALID, UNKNOWN, ErrorCode.INVALID_TIMESTAMP}


def test_batches_are_answered_and_stored_as_kafka_does() -> None:
    different = []
    for verdict in VERDICTS:
        answer, right = ours(verdict), expected(verdict)
        mine, theirs = answer.pop("stored", b""), right.pop("stored", b"")
        if (answer != right or not is_same_batch(mine, theirs)) and not is_known_difference(verdict, answer):
            different.append((verdict, answer))
    assert different == []


def test_known_differences_are_few() -> None:
    known = sum(ours(verdict)["error"] != verdict["error"] for verdict in VERDICTS)
    assert known < len(VERDICTS) // 50


def test_the_verdicts_cover_every_answer() -> None:
    codes = {verdict["error"] for verdict in VERDICTS}
    assert codes == {0, UNKNOWN, INVALID, 2, 10, 32, 76}
    assert sum(verdict["error"] == 0 for verdict in VERDICTS) > 900
