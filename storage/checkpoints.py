"""The small files at the top of a data directory, in Kafka's formats: who it belongs to, how far each log is safe, whether the last stop was clean."""

from collections.abc import Mapping

from pykbroker.storage.files import Files

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
LOG_START_OFFSETS = "log-start-offset-checkpoint"
CLEANED = "cleaner-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
META_PROPERTIES = "meta.properties"
PARTITION_METADATA = "partition.metadata"

TopicPartition = tuple[str, int]


class CheckpointDamaged(ValueError):  # noqa: N818
    """A file that is not what it should be; the message names it."""


def read_offsets(files: Files, name: str) -> dict[TopicPartition, int]:
    """One of the offset checkpoints; empty where there is none. Raises CheckpointDamaged."""
    text = _read(files, name)
    if text is None:
        return {}
    try:
        version, count, *lines = text.splitlines()
        offsets = {}
        for line in lines:
            topic, partition, offset = line.split(" ")
            offsets[topic, int(partition)] = int(offset)
        if version != "0" or int(count) != len(offsets):
            raise CheckpointDamaged(f"{name} is damaged: it announces {count} lines of version {version} and has {len(offsets)}")
    except CheckpointDamaged:
        raise
    except ValueError as error:
        raise CheckpointDamaged(f"{name} is damaged: {error}") from error
    return offsets


def write_offsets(files: Files, name: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Replace one of the offset checkpoints."""
    lines = [f"{topic} {partition} {offset}" for (topic, partition), offset in sorted(offsets.items())]
    files.replace(name, "\n".join(["0", str(len(lines)), *lines, ""]).encode())


def read_properties(files: Files, name: str) -> dict[str, str] | None:
    """meta.properties; None where there is none."""
    text = _read(files, name)
    if text is None:
        return None
    rows = [line.partition("=") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {key.strip(): value.strip() for key, _, value in rows}


def write_properties(files: Files, name: str, values: Mapping[str, str]) -> None:
    """Replace meta.properties."""
    files.replace(name, "".join(f"{key}={value}\n" for key, value in values.items()).encode())


def write_partition_metadata(files: Files, directory: str, topic_id: str) -> None:
    """Which topic a log directory belongs to; `topic_id` as Kafka writes it, 22 characters."""
    files.append(f"{directory}/{PARTITION_METADATA}", [f"version: 0\ntopic_id: {topic_id}".encode()])


def read_partition_metadata(files: Files, directory: str) -> str | None:
    """The topic id of a log directory; None where it does not say."""
    text = _read(files, f"{directory}/{PARTITION_METADATA}")
    if text is None:
        return None
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("topic_id:")), None)


def take_clean_shutdown_mark(files: Files) -> bool:
    """Whether the last stop was clean. The mark is gone afterwards: the next stop has to make it anew."""
    if _read(files, CLEAN_SHUTDOWN) is None:
        return False
    files.delete(CLEAN_SHUTDOWN)
    files.sync_directory("")
    return True


def leave_clean_shutdown_mark(files: Files, broker_epoch: int) -> None:
    """Everything is on disk: nothing needs to be checked at the next start."""
    files.replace(CLEAN_SHUTDOWN, f'{{"version": 0, "brokerEpoch": {broker_epoch}}}'.encode())


def _read(files: Files, name: str) -> str | None:
    try:
        return files.read_whole(name).decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise CheckpointDamaged(f"{name} is damaged: {error}") from error
