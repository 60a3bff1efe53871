"""ListConfigResources: the names of everything that can have configs.

Versions    0-1.
Authorizes  DescribeConfigs on the cluster.
Waits       never.
Notes       v0 lists client metrics subscriptions, and nothing else.  v1 lists the kinds asked for, all of them where none is named.
            Groups and subscriptions are listed when something is set on them; brokers and topics always, internal topics too.
Not done    -
Semantics   K-09.  Sources: KIP-714, KIP-1142.
"""

from collections.abc import Iterable

from pykbroker.config import ResourceType
from pykbroker.context import Context
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ListConfigResourcesRequest, ListConfigResourcesResponse

VERSIONS = range(2)

_KINDS = (ResourceType.GROUP, ResourceType.CLIENT_METRICS, ResourceType.BROKER_LOGGER, ResourceType.BROKER, ResourceType.TOPIC)
"""In the order in which Kafka lists them."""


def handle(context: Context, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    """All names of the kinds asked for."""
    if context.api_version == 0:
        kinds: Iterable[int] = [ResourceType.CLIENT_METRICS]
    else:
        kinds = request.resource_types or _KINDS
    if any(kind not in _KINDS for kind in kinds):
        return failed(request, ErrorCode.UNSUPPORTED_VERSION)
    resources = [
        ListConfigResourcesResponse.ConfigResource(resource_type=kind, resource_name=name)
        for kind in _KINDS
        if kind in kinds
        for name in _names(context, kind)
    ]
    return ListConfigResourcesResponse(config_resources=resources)


def failed(_request: ListConfigResourcesRequest, error: ErrorCode) -> ListConfigResourcesResponse:
    """No names."""
    return ListConfigResourcesResponse(error_code=error)


def _names(context: Context, kind: ResourceType) -> Iterable[str]:
    match kind:
        case ResourceType.TOPIC:
            return context.cluster.metadata.topics
        case ResourceType.BROKER | ResourceType.BROKER_LOGGER:
            return map(str, context.cluster.metadata.brokers)
        case _:
            return context.cluster.config.resources(kind)
