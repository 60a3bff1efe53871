"""DescribeConfigs: every config of a topic, broker, broker's loggers, group or client metrics subscription, and where its value comes from.

Versions    1-4. v0 left Kafka with 4.0.
Authorizes  DescribeConfigs on the topic, on the group, or on the cluster for everything else.
Waits       only to give others their turn, where very many resources are asked for.
Notes       v1 synonyms, where asked for.  v3 the type, and documentation where asked for (in our own words).
            Names asked for are a filter: unknown ones are left out, the order is Kafka's; null and the empty list mean all (K-02).
            A group or subscription need not exist: it has its defaults (K-03).
Not done    -
Semantics   K-01 … K-04, K-10, K-13.  Sources: KIP-133, KIP-226, KIP-412, KIP-569, KIP-714, KIP-1043.
"""

from collections.abc import Hashable, Mapping

from pykbroker.broker_loggers import logger_levels
from pykbroker.config import ResourceType
from pykbroker.config.changes import shortened
from pykbroker.config.definitions import ConfigType, definition_of, documentation
from pykbroker.config.description import (
    DYNAMIC_BROKER_LOGGER_CONFIG,
    DescribedConfig,
    described_all_brokers,
    described_broker,
    described_resource,
)
from pykbroker.context import Context
from pykbroker.later import Later, in_slices, when
from pykbroker.limits import MAX_DESCRIBED_BYTES
from pykbroker.protocol.codec import encode
from pykbroker.protocol.encoder import SharedArray
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import DescribeConfigsRequest, DescribeConfigsResponse
from pykbroker.topic_names import why_invalid

VERSIONS = range(1, 5)

RESOURCES_PER_SLICE = 200
"""So many are described in a row, before others have their turn; each may take 0.2 ms, a broker more."""

_CONFIGURED = frozenset(ResourceType)

_Resource = DescribeConfigsRequest.DescribeConfigsResource
_Result = DescribeConfigsResponse.DescribeConfigsResult
_Config = DescribeConfigsResponse.DescribeConfigsResourceResult
_Synonym = DescribeConfigsResponse.DescribeConfigsSynonym


def handle(context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse | Later[DescribeConfigsResponse]:
    """Each resource by itself, also one that is named twice (K-02); one of a type that nothing has makes all of them fail (K-03)."""
    if not all(each.resource_type in _CONFIGURED for each in request.resources):
        return failed(request, ErrorCode.INVALID_REQUEST)
    answer = _Answer(context, request)
    results = in_slices(context.cluster.waits, request.resources, answer.result, RESOURCES_PER_SLICE)
    return when(results, lambda results: DescribeConfigsResponse(results=results))


def failed(request: DescribeConfigsRequest, error: ErrorCode) -> DescribeConfigsResponse:
    """Every resource asked for, answered with `error`."""
    return DescribeConfigsResponse(
        results=[
            _Result(error_code=error, error_message=error.sentence, resource_type=each.resource_type, resource_name=each.resource_name)
            for each in request.resources
        ]
    )


class _Answer:
    """The results of one answer. Resources that are configured alike share their list, which is made and encoded once."""

    def __init__(self, context: Context, request: DescribeConfigsRequest) -> None:
        self._context = context
        self._request = request
        self._is_long = len(request.resources) > RESOURCES_PER_SLICE
        self._size = 0
        self._known: dict[Hashable, SharedArray[_Config]] = {}

    def result(self, resource: _Resource) -> _Result:
        """One resource. Raises KafkaError where the whole answer grows too large."""
        result = _Result(resource_type=resource.resource_type, resource_name=resource.resource_name, error_message="")
        try:
            _check_exists(self._context, resource)
            result.configs = self._configs(resource)
        except KafkaError as error:
            result.error_code = error.error_code
            result.error_message = "" if error.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION else shortened(error.message)
            return result
        if self._is_long:
            self._size += len(encode(DescribeConfigsResponse(results=[result]), self._context.api_version))
            if self._size > MAX_DESCRIBED_BYTES:
                raise KafkaError(ErrorCode.POLICY_VIOLATION, f"The answer would have more than {MAX_DESCRIBED_BYTES} bytes.")
        return result

    def _configs(self, resource: _Resource) -> SharedArray[_Config]:
        wanted = tuple(resource.configuration_keys or ())
        own: Hashable = resource.resource_name
        if resource.resource_type == ResourceType.TOPIC:
            own = frozenset(self._context.cluster.config.overrides(ResourceType.TOPIC, resource.resource_name).items())
        key = (resource.resource_type, own, wanted)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = SharedArray(self._told(resource, set(wanted)))
        return known

    def _told(self, resource: _Resource, wanted: set[str]) -> list[_Config]:
        described = _described(self._context, resource)
        sentences = _documentation(ResourceType(resource.resource_type)) if self._request.include_documentation else None
        with_synonyms = self._request.include_synonyms
        configs = [_told(each, sentences, with_synonyms=with_synonyms) for each in described if not wanted or each.name in wanted]
        if resource.resource_type == ResourceType.BROKER_LOGGER:
            for config in configs:
                config.documentation = ""  # as Kafka does: it has none to give, asked or not
        return configs


def _check_exists(context: Context, resource: _Resource) -> None:
    """A topic must be there. Raises KafkaError."""
    if resource.resource_type == ResourceType.TOPIC:
        why = why_invalid(resource.resource_name)
        if why is not None:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, why)
        if context.cluster.metadata.topic(resource.resource_name) is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def _described(context: Context, resource: _Resource) -> list[DescribedConfig]:
    """Every config of one resource. Raises KafkaError where there is no such resource."""
    config, name = context.cluster.config, resource.resource_name
    match resource.resource_type:
        case ResourceType.TOPIC:
            return config.described_topic(name)
        case ResourceType.BROKER:
            if not name:
                return described_all_brokers(config)
            _check_is_own_id(context, name)
            return described_broker(config, context.broker.node_id)
        case ResourceType.BROKER_LOGGER:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "The broker whose loggers are meant is not named.")
            _check_is_own_id(context, name)
            return [_described_logger(logger, level) for logger, level in logger_levels().items()]
        case ResourceType.CLIENT_METRICS | ResourceType.GROUP:
            if not name:
                what = "group" if resource.resource_type == ResourceType.GROUP else "client metrics subscription"
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"The {what} is not named.")
            kind = ResourceType(resource.resource_type)
            return described_resource(config, kind, config.overrides(kind, name))
        case _:
            raise KafkaError(ErrorCode.INVALID_REQUEST)


def _check_is_own_id(context: Context, name: str) -> None:
    try:
        node_id = int(name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"A broker is named by its id, a number; {name} is none.") from None
    if node_id != context.broker.node_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"This is broker {context.broker.node_id}; ask broker {name} about itself.")


def _described_logger(name: str, level: str) -> DescribedConfig:
    return DescribedConfig(name, level, False, DYNAMIC_BROKER_LOGGER_CONFIG, False, (), ConfigType.UNKNOWN)


def _documentation(resource_type: ResourceType) -> Mapping[str, str]:
    return {} if resource_type is ResourceType.BROKER_LOGGER else documentation(resource_type)


def _told(described: DescribedConfig, sentences: Mapping[str, str] | None, *, with_synonyms: bool) -> _Config:
    sentence = None
    if sentences is not None:
        sentence = sentences.get(described.name)
        if sentence is None and (base := definition_of(described.name)) is not None:
            sentence = sentences.get(base.name)
    return _Config(
        name=described.name,
        value=described.value,
        read_only=described.read_only,
        config_source=described.config_source,
        is_sensitive=described.is_sensitive,
        synonyms=[_Synonym(name=each.name, value=each.value, source=each.source) for each in described.synonyms] if with_synonyms else [],
        config_type=described.config_type,
        documentation=sentence,
    )
