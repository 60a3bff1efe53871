"""What became of a batch: appended as it is found in the log, or refused, and the log is as it was."""

from pykbroker.compat.expectations import NOT_EMPTY, expect
from pykbroker.compat.target import LATEST, Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.records import RecordBatch, batches


def expect_refused(target: Target, topic: Topic, records: bytes, version: int | None, error: ErrorCode, **fields: object) -> None:
    """These bytes are answered with that error, and the log ends where it did."""
    end = target.list_offsets(topic, timestamp=LATEST).offset

    answer = target.produce_batch(topic, records, version=version)

    expect(answer, error_code=error, base_offset=-1, **fields)
    expect(target.list_offsets(topic, timestamp=LATEST), error_code=ErrorCode.NONE, offset=end)


def stored(target: Target, topic: Topic, offset: int = 0) -> RecordBatch:
    """The batch at that offset."""
    answer = target.fetch(topic, offset, max_bytes=1 << 23)
    expect(answer, error_code=ErrorCode.NONE, records=NOT_EMPTY)
    return next(batches(answer.records or b""))


def log_start(version: int) -> int:
    """The log start offset of a new topic, as versions that carry it answer it."""
    return 0 if version >= 5 else -1
