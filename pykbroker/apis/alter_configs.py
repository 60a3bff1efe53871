"""AlterConfigs: replace everything that was set on a resource.

Versions    0-2.
Authorizes  AlterConfigs on the topic, on the group, or on the cluster for everything else.
Waits       until the records are durable in the metadata log.
Notes       What is not named goes back to its default; no configs at all clear all (K-06).
            One resource named twice fails at both places: Kafka never answers that (K-11).
Not done    -
Semantics   K-06, K-07, K-11.  Sources: KIP-133.
"""

from pykbroker.config.changes import Altered, Resource, alter_all, replacement_records
from pykbroker.context import Context
from pykbroker.later import Later, when
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import AlterConfigsRequest, AlterConfigsResponse, ConfigRecord

VERSIONS = range(3)

_Asked = AlterConfigsRequest.AlterConfigsResource
_Answered = AlterConfigsResponse.AlterConfigsResourceResponse


def handle(context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse | Later[AlterConfigsResponse]:
    """Decide every resource by itself, then write down what all of them come to."""

    def records(asked: _Asked) -> list[ConfigRecord]:
        resource = Resource(context.cluster, context.broker.node_id, asked.resource_type, asked.resource_name)
        return replacement_records(resource, [(each.name, each.value) for each in asked.configs])

    altered = alter_all(context.cluster, request.resources, records, validate_only=request.validate_only)
    return when(altered, _response)


def failed(request: AlterConfigsRequest, error: ErrorCode) -> AlterConfigsResponse:
    """Every resource asked for, answered with `error`."""
    return _response([Altered(each.resource_type, each.resource_name, error, error.sentence) for each in request.resources])


def _response(altered: list[Altered]) -> AlterConfigsResponse:
    return AlterConfigsResponse(responses=[_Answered(**each._asdict()) for each in altered])
