"""Configs as a check has them: described, set and taken back in one line each."""

from collections.abc import Iterable
from typing import NamedTuple

from pykbroker.compat.expectations import expect
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import AlterConfigsRequest, DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
ALL_BROKERS = ""

Described = DescribeConfigsResponse.DescribeConfigsResult
Entry = DescribeConfigsResponse.DescribeConfigsResourceResult


class Refusal(NamedTuple):
    """What was answered for a resource: NONE and null, or why not."""

    error_code: int
    error_message: str | None


class Change(NamedTuple):
    """One operation on one config."""

    name: str
    value: str | None
    operation: int = SET


def describe(
    target: Target,
    resource_type: int,
    name: str,
    keys: list[str] | None = None,
    *,
    version: int | None = None,
    synonyms: bool = False,
    documentation: bool = False,
) -> Described:
    """DescribeConfigs of one resource; what is answered for it."""
    resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=resource_type, resource_name=name, configuration_keys=keys)
    request = DescribeConfigsRequest(resources=[resource], include_synonyms=synonyms, include_documentation=documentation)
    return target.ask(request, target.newest(request, 4) if version is None else version).results[0]


def entry(target: Target, resource_type: int, name: str, key: str) -> Entry:
    """One config of a resource, with its synonyms, which is to be there."""
    described = describe(target, resource_type, name, [key], synonyms=True)
    expect(described, error_code=ErrorCode.NONE)
    return described.configs[0]


def alter(
    target: Target, resource_type: int, name: str, changes: Iterable[Change], *, version: int | None = None, validate_only: bool = False
) -> Refusal:
    """IncrementalAlterConfigs of one resource; what is answered for it."""
    return alter_all(target, [(resource_type, name, list(changes))], version=version, validate_only=validate_only)[0]


def alter_all(
    target: Target, resources: Iterable[tuple[int, str, list[Change]]], *, version: int | None = None, validate_only: bool = False
) -> list[Refusal]:
    """IncrementalAlterConfigs of several resources; what is answered, in the order of the request where names differ."""
    wanted = list(resources)
    altered = [
        IncrementalAlterConfigsRequest.AlterConfigsResource(
            resource_type=resource_type,
            resource_name=name,
            configs=[
                IncrementalAlterConfigsRequest.AlterableConfig(name=key, value=value, config_operation=op) for key, value, op in changes
            ],
        )
        for resource_type, name, changes in wanted
    ]
    request = IncrementalAlterConfigsRequest(resources=altered, validate_only=validate_only)
    answer = target.ask(request, target.newest(request, 1) if version is None else version)
    order = {(resource_type, name): index for index, (resource_type, name, _) in enumerate(wanted)}
    answers = sorted(answer.responses, key=lambda one: order.get((one.resource_type, one.resource_name), len(order)))
    return [Refusal(one.error_code, one.error_message) for one in answers]


def replace(
    target: Target,
    resource_type: int,
    name: str,
    configs: Iterable[tuple[str, str | None]],
    *,
    version: int | None = None,
    validate_only: bool = False,
) -> Refusal:
    """AlterConfigs of one resource; what is answered for it."""
    resource = AlterConfigsRequest.AlterConfigsResource(
        resource_type=resource_type,
        resource_name=name,
        configs=[AlterConfigsRequest.AlterableConfig(name=key, value=value) for key, value in configs],
    )
    request = AlterConfigsRequest(resources=[resource], validate_only=validate_only)
    answer = target.ask(request, target.newest(request, 2) if version is None else version)
    return Refusal(answer.responses[0].error_code, answer.responses[0].error_message)


def own_id(target: Target) -> str:
    """The id of the broker that answers, as a resource's name."""
    return str(target.node_id)
