"""The offsets of a group: what it has committed, where --reset-offsets would set them, and how they are set and forgotten."""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pykbroker.cli.options import UsageError
from pykbroker.cli.output import Row
from pykbroker.client import EARLIEST, LATEST, Client, check
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)

TopicPartition = tuple[str, int]


def committed(asked: Client, group: str) -> dict[TopicPartition, int]:
    """Every offset a group has committed."""

    def look() -> dict[TopicPartition, int]:
        wanted = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group, topics=None)
        answer = asked.ask_coordinator(group, OffsetFetchRequest(groups=[wanted]), OffsetFetchResponse).groups[0]
        if answer.error_code == ErrorCode.GROUP_ID_NOT_FOUND:
            return {}
        check(answer.error_code, f"group {group}")
        return {
            (topic.name, partition.partition_index): partition.committed_offset
            for topic in answer.topics
            for partition in topic.partitions
            if partition.committed_offset >= 0
        }

    return asked.until_it_works(look)


def reset_offsets(asked: Client, group: str, options: argparse.Namespace) -> list[Row]:
    """Where each offset would be, and, with --execute, is from now on."""
    current = committed(asked, group)
    choose = _chosen(asked, options, current)
    new = {where: _within(asked, where, choose(where)) for where in _wanted(asked, options, current)}
    if options.execute and new:
        commit(asked, group, new)
    return [
        {"group": group, "topic": topic, "partition": partition, "current_offset": current.get((topic, partition)), "new_offset": offset}
        for (topic, partition), offset in sorted(new.items())
    ]


def delete_offsets(asked: Client, group: str, options: argparse.Namespace) -> list[TopicPartition]:
    """Forget offsets; which they were."""
    if not options.topic:
        raise UsageError("groups --delete-offsets needs --topic TOPIC[:PARTITION,…].")
    wanted = _wanted(asked, options, {})
    topics = [
        OffsetDeleteRequest.OffsetDeleteRequestTopic(
            name=name,
            partitions=[
                OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=index) for topic, index in wanted if topic == name
            ],
        )
        for name in sorted({topic for topic, _ in wanted})
    ]

    def delete() -> None:
        answer = asked.ask_coordinator(group, OffsetDeleteRequest(group_id=group, topics=topics), OffsetDeleteResponse)
        check(answer.error_code, f"group {group}")
        for topic in answer.topics:
            for partition in topic.partitions:
                check(partition.error_code, f"partition {partition.partition_index} of topic {topic.name}")

    asked.until_it_works(delete)
    return wanted


def _wanted(asked: Client, options: argparse.Namespace, current: dict[TopicPartition, int]) -> list[TopicPartition]:
    if options.all_topics:
        return sorted(current)
    if not options.topic:
        raise UsageError("groups --reset-offsets needs --topic TOPIC[:PARTITION,…], or --all-topics.")
    wanted: list[TopicPartition] = []
    for text in options.topic:
        name, colon, indexes = text.partition(":")
        if not re.fullmatch(r"(\d+(,\d+)*)?", indexes):
            raise UsageError(f"--topic {text}: behind the colon stand numbers of partitions, for instance {name}:0,1.")
        chosen = [int(index) for index in indexes.split(",")] if colon and indexes else asked.partitions(name)
        wanted.extend((name, index) for index in chosen)
    return wanted


def _chosen(asked: Client, options: argparse.Namespace, current: dict[TopicPartition, int]) -> Callable[[TopicPartition], int]:
    """What the --to-… option means for a partition."""
    if options.to_earliest:
        return lambda where: asked.offset(*where, EARLIEST)
    if options.to_latest:
        return lambda where: asked.offset(*where, LATEST)
    if options.to_current:
        return lambda where: current.get(where, asked.offset(*where, LATEST))
    if options.to_offset is not None:
        return lambda _where: int(options.to_offset)
    if options.shift_by is not None:
        return lambda where: _committed_in(current, where) + int(options.shift_by)
    if options.to_datetime is not None:
        at_ms = _datetime_ms(options.to_datetime)
        return lambda where: asked.offset(*where, at_ms)
    if options.by_duration is not None:
        since_ms = int((datetime.now(UTC) - _duration(options.by_duration)).timestamp() * 1000)
        return lambda where: asked.offset(*where, since_ms)
    raise UsageError(
        "groups --reset-offsets needs to know where to: --to-earliest, --to-latest, --to-offset N, --shift-by N, --to-datetime, …"
    )


def _committed_in(current: dict[TopicPartition, int], where: TopicPartition) -> int:
    if where not in current:
        raise UsageError(f"--shift-by: the group has no offset in partition {where[1]} of topic {where[0]} to count from.")
    return current[where]


def _within(asked: Client, where: TopicPartition, offset: int) -> int:
    """Not before the first record, nor beyond the end."""
    return max(asked.offset(*where, EARLIEST), min(offset, asked.offset(*where, LATEST)))


def commit(asked: Client, group: str, offsets: dict[TopicPartition, int], generation: int = -1, member_id: str = "") -> None:
    """Commit offsets: as a member, or from outside where the group has none."""
    topics = [
        OffsetCommitRequest.OffsetCommitRequestTopic(
            name=name,
            partitions=[
                OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=index, committed_offset=offset, committed_metadata="")
                for (topic, index), offset in offsets.items()
                if topic == name
            ],
        )
        for name in sorted({topic for topic, _ in offsets})
    ]

    def send() -> None:
        request = OffsetCommitRequest(group_id=group, generation_id_or_member_epoch=generation, member_id=member_id, topics=topics)
        for topic in asked.ask_coordinator(group, request, OffsetCommitResponse).topics:
            for partition in topic.partitions:
                check(partition.error_code, f"partition {partition.partition_index} of topic {topic.name}")

    asked.until_it_works(send)


def _datetime_ms(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--to-datetime {text} is not a date and time; write for instance 2026-01-31T12:00:00.") from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", text)
    if match is None or not any(match.groups()):
        raise UsageError(f"--by-duration {text} is not a duration; write for instance PT1H30M or P1D.")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
