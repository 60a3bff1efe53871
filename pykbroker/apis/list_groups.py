"""ListGroups: the groups that the asked broker coordinates.

Versions    0-5.
Authorizes  Describe on the cluster, or on each group that is listed.
Waits       never.
Notes       v4 filter by state (KIP-518)  v5 filter by type (KIP-848). Filters do not mind case; a name that does not exist matches nothing.
Semantics   G-28, G-32.
"""

from typing import TYPE_CHECKING

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ListGroupsRequest, ListGroupsResponse

if TYPE_CHECKING:
    from pykbroker.context import Context

VERSIONS = range(6)


def handle(context: "Context", request: ListGroupsRequest) -> ListGroupsResponse:
    """Every group that passes the filters; an empty filter lets all pass."""
    states = {state.lower() for state in request.states_filter}
    types = {name.lower() for name in request.types_filter}
    return ListGroupsResponse(
        groups=[
            group
            for group in context.cluster.groups.list(context)
            if (not states or group.group_state.lower() in states) and (not types or group.group_type.lower() in types)
        ]
    )


def failed(request: ListGroupsRequest, error: ErrorCode) -> ListGroupsResponse:
    """No list."""
    return ListGroupsResponse(error_code=error)
