"""What a topic's configuration asks of its logs."""

from dataclasses import dataclass, field

from pykbroker.storage.validator import ValidationSettings

UNLIMITED = 2**63 - 1


@dataclass(slots=True, frozen=True)
class LogConfig:
    """What a topic's configuration asks of its logs; names as Kafka's, sizes in bytes."""

    segment_bytes: int = 1024 * 1024 * 1024
    segment_ms: int = 7 * 24 * 3600 * 1000
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 * 1024 * 1024
    index_interval_bytes: int = 4096
    retention_bytes: int = -1
    retention_ms: int = 7 * 24 * 3600 * 1000
    is_deleted: bool = True
    is_compacted: bool = False
    delete_retention_ms: int = 24 * 3600 * 1000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = UNLIMITED
    min_cleanable_dirty_ratio: float = 0.5
    file_delete_delay_ms: int = 60_000
    flush_messages: int = UNLIMITED
    flush_ms: int = UNLIMITED
    validation: ValidationSettings = field(default_factory=ValidationSettings)
