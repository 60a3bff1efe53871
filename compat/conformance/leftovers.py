"""What checks leave behind. What they made is found by its name, which has the prefix of the run's, and is taken away, or told; what stands for the
whole cluster (levels of features, configs of brokers, quotas) is looked at before and after, and differences are told.
"""

import contextlib
import time
from collections.abc import Iterable, Mapping

from pykbroker.compat.expectations import NotServed, Unexpected
from pykbroker.compat.target import Target
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    DeleteGroupsRequest,
    DeleteTopicsRequest,
    DescribeClientQuotasRequest,
    DescribeConfigsRequest,
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

LOOKING_S = 10.0
BROKER = 4
SET_WHILE_IT_RUNS = frozenset({2, 3})
"""config_source of a config of one broker, and of all."""
_FIRST_WITH_FEATURES = 3

Standing = Mapping[str, frozenset[str]]


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
            version = _version(target, DeleteTopicsRequest, _UNTIL_LISTED_BY_NAME)
            target.ask(DeleteTopicsRequest(topic_names=topics, timeout_ms=5_000), version)
        if groups:
            _take_out_sharers(target, groups)
            target.ask(DeleteGroupsRequest(groups_names=groups), _version(target, DeleteGroupsRequest))
    return [f"topic {name}" for name in topics] + [f"group {name}" for name in groups]


def _take_out_sharers(target: Target, groups: list[str]) -> None:
    """Members of share groups do not leave by LeaveGroup, and a group with members is not deleted."""
    with contextlib.suppress(NotServed):
        described = target.ask(ShareGroupDescribeRequest(group_ids=groups), _version(target, ShareGroupDescribeRequest))
        version = _version(target, ShareGroupHeartbeatRequest)
        for group in described.groups:
            for member in group.members:
                target.ask(ShareGroupHeartbeatRequest(group_id=group.group_id, member_id=member.member_id, member_epoch=_LEAVES), version)


def _topics(target: Target) -> list[str]:
    version = _version(target, MetadataRequest)
    topics: list[MetadataRequest.MetadataRequestTopic] | None = None if version else []  # version 0 has no null, and means all by none
    answer = target.ask(MetadataRequest(topics=topics), version)
    return [one.name for one in answer.topics if one.name]


def _groups(target: Target) -> list[str]:
    with contextlib.suppress(NotServed):
        return [one.group_id for one in target.ask(ListGroupsRequest(), _version(target, ListGroupsRequest)).groups]
    return []


def standing(target: Target) -> Standing:
    """What stands, by kind; a kind that the broker does not tell is not there."""
    target.time_is_over_at = time.monotonic() + LOOKING_S
    found = {}
    for kind, looked in (("feature", _features), ("config", _configs), ("quota", _quotas)):
        try:
            found[kind] = looked(target)
        except (OSError, Unexpected, NotServed, Malformed):
            continue
    target.close()
    return found


def differences(before: Standing, after: Standing) -> list[str]:
    """A line for each thing that was, and is not; or is, and was not."""
    both = sorted(set(before) & set(after))
    gone = [f"{kind} {one} was set" for kind in both for one in sorted(before[kind] - after[kind])]
    return gone + [f"{kind} {one} is set now" for kind in both for one in sorted(after[kind] - before[kind])]


def _features(target: Target) -> frozenset[str]:
    version = _version(target, ApiVersionsRequest)
    if version < _FIRST_WITH_FEATURES:
        raise NotServed("features")
    answer = target.ask(ApiVersionsRequest(client_software_name="conformance", client_software_version="1"), version)
    return frozenset(f"{one.name}={one.max_version_level}" for one in answer.finalized_features)


def _configs(target: Target) -> frozenset[str]:
    names = ["", *(str(node_id) for node_id in target.brokers)]
    resources = [DescribeConfigsRequest.DescribeConfigsResource(resource_type=BROKER, resource_name=name) for name in names]
    answer = target.ask(DescribeConfigsRequest(resources=resources), _version(target, DescribeConfigsRequest))
    return frozenset(
        f"{config.name}={config.value} of {f'broker {one.resource_name}' if one.resource_name else 'all brokers'}"
        for one in answer.results
        for config in one.configs
        if config.config_source in SET_WHILE_IT_RUNS
    )


def _quotas(target: Target) -> frozenset[str]:
    answer = target.ask(DescribeClientQuotasRequest(components=[], strict=False), _version(target, DescribeClientQuotasRequest))
    return frozenset(
        f"{value.key}={value.value:g} of " + ", ".join(f"{part.entity_type} {part.entity_name or '(any)'}" for part in entry.entity)
        for entry in answer.entries or []
        for value in entry.values
    )


def _version(target: Target, request: type[Message], at_most: int = 1 << 15) -> int:
    """The newest that both sides know. Raises NotServed."""
    served = target.served.get(request.API_KEY, range(0))
    both = [version for version in request.VERSIONS if version in served and version <= at_most]
    if not both:
        raise NotServed(request.__name__)
    return both[-1]
