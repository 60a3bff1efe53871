"""What stands for the whole cluster: levels of features, configs of brokers, quotas. Looked at before and after the checks, which put it back."""

import time
from collections.abc import Mapping

from pykbroker.compat.expectations import NotServed, Unexpected
from pykbroker.compat.leftovers import version_of
from pykbroker.compat.target import Target
from pykbroker.protocol.messages import ApiVersionsRequest, DescribeClientQuotasRequest, DescribeConfigsRequest
from pykbroker.protocol.wire import Malformed

PATIENCE_S = 10.0
BROKER = 4
SET_WHILE_IT_RUNS = frozenset({2, 3})
"""config_source of a config of one broker, and of all."""
_FIRST_WITH_FEATURES = 3

Standing = Mapping[str, frozenset[str]]


def look(target: Target) -> Standing:
    """What stands, by kind; a kind that the broker does not tell is not there."""
    target.time_is_over_at = time.monotonic() + PATIENCE_S
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
    version = version_of(target, ApiVersionsRequest)
    if version < _FIRST_WITH_FEATURES:
        raise NotServed("features")
    answer = target.ask(ApiVersionsRequest(client_software_name="conformance", client_software_version="1"), version)
    return frozenset(f"{one.name}={one.max_version_level}" for one in answer.finalized_features)


def _configs(target: Target) -> frozenset[str]:
    names = ["", *(str(node_id) for node_id in target.brokers)]
    resources = [DescribeConfigsRequest.DescribeConfigsResource(resource_type=BROKER, resource_name=name) for name in names]
    answer = target.ask(DescribeConfigsRequest(resources=resources), version_of(target, DescribeConfigsRequest))
    return frozenset(
        f"{config.name}={config.value} of {f'broker {one.resource_name}' if one.resource_name else 'all brokers'}"
        for one in answer.results
        for config in one.configs
        if config.config_source in SET_WHILE_IT_RUNS
    )


def _quotas(target: Target) -> frozenset[str]:
    answer = target.ask(DescribeClientQuotasRequest(components=[], strict=False), version_of(target, DescribeClientQuotasRequest))
    return frozenset(
        f"{value.key}={value.value:g} of " + ", ".join(f"{part.entity_type} {part.entity_name or '(any)'}" for part in entry.entity)
        for entry in answer.entries or []
        for value in entry.values
    )
