"""Which segments a log no longer keeps: for their age, for the log's size, or because the log begins behind them (N-01 to N-03)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pykbroker.storage.log import LogConfig, UnifiedLog
    from pykbroker.storage.segment import LogSegment


def doomed_segments(log: "UnifiedLog", now_ms: int) -> "list[LogSegment]":
    """The oldest segments, as far as each has a reason to go; the active one may be among them."""
    doomed: list[LogSegment] = []
    surplus = log.size - log.config.retention_bytes
    for number, segment in enumerate(log.segments):
        is_active = number == len(log.segments) - 1
        end = log.end_offset if is_active else log.segments[number + 1].base_offset
        if (is_active and segment.size == 0) or end > log.high_watermark:
            break
        surplus -= segment.size
        before_start = not is_active and end <= log.start_offset
        if not before_start and not (
            log.config.is_deleted and (_is_too_much(log.config, surplus) or _is_too_old(log.config, segment, now_ms))
        ):
            break
        doomed.append(segment)
    return doomed


def _is_too_much(config: "LogConfig", surplus: int) -> bool:
    """retention.bytes: what is left without the segment is still as much as is to be kept (N-02)."""
    return config.retention_bytes >= 0 and surplus >= 0


def _is_too_old(config: "LogConfig", segment: "LogSegment", now_ms: int) -> bool:
    """retention.ms, by the newest record (N-01, N-03); by the file's own age where no record has a timestamp."""
    if config.retention_ms < 0:
        return False
    newest = segment.largest_timestamp
    return (newest if newest >= 0 else segment.created_ms) < now_ms - config.retention_ms
