"""What checks made and did not take away again: found by its name, which has the prefix of the run's, and taken away, or told."""

import contextlib
import time
from collections.abc import Iterable

from pykbroker.compat.expectations import NotServed, Unexpected
from pykbroker.compat.target import Target
from pykbroker.protocol.messages import (
    DeleteGroupsRequest,
    DeleteTopicsRequest,
    ListGroupsRequest,
    Message,
    MetadataRequest,
    ShareGroupDescribeRequest,
    ShareGroupHeartbeatRequest,
)
from pykbroker.protocol.wire import Malformed

PATIENCE_S = 5.0
"""Kafka shows a topic for a moment after it was deleted."""
_UNTIL_LISTED_BY_NAME = 5
"""DeleteTopics has a list of names up to there."""
_LEAVES = -1


def take_away(target: Target, prefixes: Iterable[str]) -> list[str]:
    """Delete the topics and groups with such names; those that are there all the same, each with what it is. Raises nothing: a broker that is gone
    has left what it has.
    """
    wanted = tuple(prefixes)
    deadline = time.monotonic() + PATIENCE_S
    target.time_is_over_at = deadline + PATIENCE_S
    left: list[str] = []
    with contextlib.suppress(OSError, Unexpected, NotServed, Malformed):
        target.look()
        while left := _found(target, wanted):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    target.close()
    return left


def _found(target: Target, prefixes: tuple[str, ...]) -> list[str]:
    """What is there of it; asked to be deleted."""
    topics = [name for name in _topics(target) if any(prefix in name for prefix in prefixes)]
    groups = [name for name in _groups(target) if any(prefix in name for prefix in prefixes)]
    with contextlib.suppress(NotServed):
        if topics:
            version = version_of(target, DeleteTopicsRequest, _UNTIL_LISTED_BY_NAME)
            target.ask(DeleteTopicsRequest(topic_names=topics, timeout_ms=5_000), version)
        if groups:
            _take_out_sharers(target, groups)
            target.ask(DeleteGroupsRequest(groups_names=groups), version_of(target, DeleteGroupsRequest))
    return [f"topic {name}" for name in topics] + [f"group {name}" for name in groups]


def _take_out_sharers(target: Target, groups: list[str]) -> None:
    """Members of share groups do not leave by LeaveGroup, and a group with members is not deleted."""
    with contextlib.suppress(NotServed):
        described = target.ask(ShareGroupDescribeRequest(group_ids=groups), version_of(target, ShareGroupDescribeRequest))
        version = version_of(target, ShareGroupHeartbeatRequest)
        for group in described.groups:
            for member in group.members:
                target.ask(ShareGroupHeartbeatRequest(group_id=group.group_id, member_id=member.member_id, member_epoch=_LEAVES), version)


def _topics(target: Target) -> list[str]:
    version = version_of(target, MetadataRequest)
    topics: list[MetadataRequest.MetadataRequestTopic] | None = None if version else []  # version 0 has no null, and means all by none
    answer = target.ask(MetadataRequest(topics=topics), version)
    return [one.name for one in answer.topics if one.name]


def _groups(target: Target) -> list[str]:
    with contextlib.suppress(NotServed):
        return [one.group_id for one in target.ask(ListGroupsRequest(), version_of(target, ListGroupsRequest)).groups]
    return []


def version_of(target: Target, request: type[Message], at_most: int = 1 << 15) -> int:
    """The newest that both sides know. Raises NotServed."""
    served = target.served.get(request.API_KEY, range(0))
    both = [version for version in request.VERSIONS if version in served and version <= at_most]
    if not both:
        raise NotServed(request.__name__)
    return both[-1]
