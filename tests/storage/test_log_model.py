"""A log is a list of records: whatever is done to it, in whatever order, it answers as the list would."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykbroker.protocol.compression import CompressionType
from pykbroker.protocol.records import BatchProperties, NewRecord, batches, build_batch
from pykbroker.storage.log import NOTHING_FOUND, LogConfig, OffsetOutOfRange, UnifiedLog
from pykbroker.storage.memory_files import MemoryFiles

CONFIG = LogConfig(segment_bytes=900, index_interval_bytes=150, retention_ms=-1)


@dataclass
class Model:
    """Batches as (first offset, [(timestamp, value)]), oldest first."""

    batches: list[tuple[int, list[tuple[int, bytes]]]] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def records(self, since: int) -> list[tuple[int, int, bytes]]:
        every = [(first + at, timestamp, value) for first, records in self.batches for at, (timestamp, value) in enumerate(records)]
        return [record for record in every if record[0] >= since]


operation = st.one_of(
    st.tuples(
        st.just("append"),
        st.lists(st.tuples(st.integers(0, 50), st.binary(max_size=200)), min_size=1, max_size=4),
        st.sampled_from([CompressionType.NONE, CompressionType.GZIP]),
    ),
    st.tuples(st.just("truncate"), st.floats(0, 1)),
    st.tuples(st.just("delete records"), st.floats(0, 1)),
    st.tuples(st.just("retain"), st.integers(0, 3000)),
    st.tuples(st.just("reopen"), st.booleans(), st.floats(0, 1)),
    st.tuples(st.just("roll")),
    st.tuples(st.just("lose indexes")),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(operation, max_size=25), data=st.data())
def test_a_log_answers_as_a_list_would(logs, operations, data):
    files = MemoryFiles()
    log = logs.create(files, CONFIG)
    model = Model()
    for name, *arguments in operations:
        if name == "append":
            append(log, model, *arguments)
        elif name == "truncate":
            truncate(log, model, model.start + round(arguments[0] * (model.end - model.start)))
        elif name == "delete records":
            offset = round(arguments[0] * model.end)
            log.delete_records(offset)
            model.start = max(model.start, offset)
        elif name == "retain":
            retain(log, model, arguments[0])
        elif name == "roll":
            log.roll(0)
        else:
            log = reopen(logs, log, files, name, *arguments)
        assert log.offline is None
        assert (log.start_offset, log.end_offset, log.high_watermark) == (model.start, model.end, model.end)
    check(log, model, data)


def append(log: UnifiedLog, model: Model, records: list[tuple[int, bytes]], compression: CompressionType) -> None:
    built = build_batch([NewRecord(value, timestamp=timestamp) for timestamp, value in records], BatchProperties(compression=compression))
    info = log.append_built(built, 3, 0)
    assert (info.first_offset, info.last_offset) == (model.end, model.end + len(records) - 1)
    model.batches.append((model.end, records))
    model.end += len(records)


def truncate(log: UnifiedLog, model: Model, offset: int) -> None:
    log.truncate_to(offset)
    kept = [(first, records) for first, records in model.batches if first + len(records) <= offset]
    if offset < model.end:
        gone = [first for first, records in model.batches if first + len(records) > offset]
        model.batches, model.end = kept, min([offset, *gone])
        model.start = min(model.start, model.end)


def retain(log: UnifiedLog, model: Model, retention_bytes: int) -> None:
    """Retention forgets oldest segments only, and never so much that less than retention.bytes are left of what lies behind the log's start."""
    log.config = LogConfig(segment_bytes=900, index_interval_bytes=150, retention_ms=-1, retention_bytes=retention_bytes)
    ends = [segment.base_offset for segment in log.segments[1:]] + [log.end_offset]
    wanted = sum(segment.size for segment, end in zip(log.segments, ends, strict=True) if end > log.start_offset)
    log.apply_retention(0)
    log.config = CONFIG
    assert log.size >= min(wanted, retention_bytes)
    model.start = log.start_offset
    model.batches = [(first, records) for first, records in model.batches if first + len(records) > log.segments[0].base_offset]


def reopen(logs, log: UnifiedLog, files: MemoryFiles, name: str, clean: bool = True, recovered: float = 0.0) -> UnifiedLog:
    """Stop and start, cleanly or not; perhaps without any index."""
    start_offset, recovery_point = log.start_offset, 0
    if clean:
        log.close()
    else:
        recovery_point = round(recovered * log.recovery_point)
    if name == "lose indexes":
        for file in files.list(log.directory):
            if file.endswith("index"):
                files.delete(f"{log.directory}/{file}")
    return logs.reopen(files, CONFIG, clean=clean, start_offset=start_offset, recovery_point=recovery_point)


def check(log: UnifiedLog, model: Model, data: st.DataObject) -> None:
    everything = [(record.offset, record.timestamp, record.value) for record in read_all(log, model.start)]
    assert everything == model.records(model.start)
    if model.end > model.start:
        offset = data.draw(st.integers(model.start, model.end - 1))
        max_bytes = data.draw(st.integers(1, 2000))
        read = log.read(offset, max_bytes).records
        first = next(batches(read))
        assert first.base_offset <= offset <= first.last_offset
        assert len(read) <= max(max_bytes, first.size_in_bytes)
    timestamp = data.draw(st.integers(0, 51))
    later = [(found, offset) for offset, found, _ in model.records(model.start) if found >= timestamp]
    found = log.first_offset_at_or_after(timestamp)
    assert (found == NOTHING_FOUND) if not later else (found.timestamp, found.offset) == later[0]
    largest = max((found for _, found, _ in model.records(0)), default=-1)
    assert log.largest_timestamp().timestamp == largest
    for outside in (model.start - 1, model.end + 1):
        try:
            log.read(outside, 1000)
        except OffsetOutOfRange:
            continue
        raise AssertionError(f"offset {outside} was read")


def read_all(log: UnifiedLog, offset: int):
    start = offset
    while offset < log.end_offset:
        for batch in batches(log.read(offset, 700).records):
            yield from (record for record in batch.records() if record.offset >= start)
            offset = batch.next_offset
