"""DescribeCluster: the brokers there are, and what the asker may do with the cluster.

Versions    0-2.
Authorizes  Describe on the cluster (there is no authorizer yet).
Waits       never.
Notes       v1 what kind of endpoint is asked for: brokers are what this listener knows. v2 brokers that are away, when asked for.
Not done    nothing.
Semantics   M-09, M-10, M-19, M-22. Sources: KIP-700, KIP-919, KIP-1073.
"""

from pykbroker.authorized_operations import CLUSTER_OPERATIONS, NOT_REQUESTED
from pykbroker.context import Context
from pykbroker.metadata import Registration
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DescribeClusterRequest, DescribeClusterResponse

VERSIONS = range(3)

_BROKERS = 1
_CONTROLLERS = 2


def handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    """The brokers by id. The controller named is the broker that was asked: any can take what is meant for the controller (M-09)."""
    if request.endpoint_type != _BROKERS:
        return _wrong_endpoint_type(request)
    metadata = context.cluster.metadata
    known = [registration for _, registration in sorted(metadata.registrations.items())]
    return DescribeClusterResponse(
        cluster_id=metadata.cluster_id,
        controller_id=context.broker.node_id,
        brokers=[_broker(context, one) for one in known if request.include_fenced_brokers or not one.fenced],
        cluster_authorized_operations=CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_REQUESTED,
    )


def failed(request: DescribeClusterRequest, error: ErrorCode) -> DescribeClusterResponse:
    """The error, and nobody."""
    return DescribeClusterResponse(error_code=error, error_message=error.sentence, endpoint_type=request.endpoint_type)


def _wrong_endpoint_type(request: DescribeClusterRequest) -> DescribeClusterResponse:
    if request.endpoint_type == _CONTROLLERS:
        error, message = (
            ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            "This listener is for brokers; controllers are described by the controller's listener.",
        )
    else:
        error, message = (
            ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            f"There is no endpoint type {request.endpoint_type}; 1 are brokers, 2 controllers.",
        )
    return DescribeClusterResponse(error_code=error, error_message=message)


def _broker(context: Context, registration: Registration) -> DescribeClusterResponse.DescribeClusterBroker:
    session = context.session
    node = context.cluster.metadata.brokers.get(registration.node_id)
    host, port = ("", -1) if node is None else node.endpoint(session.listener_name, session.local_host, session.local_port)
    return DescribeClusterResponse.DescribeClusterBroker(
        broker_id=registration.node_id, host=host, port=port, rack=registration.rack, is_fenced=registration.fenced
    )
