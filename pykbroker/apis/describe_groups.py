"""DescribeGroups: classic groups, their members, and what those are assigned.

Versions    0-6.
Authorizes  Describe on each group.
Waits       only to give others their turn, where very many are asked for.
Notes       v3 authorized operations (KIP-430)  v4 static members  v6 GROUP_ID_NOT_FOUND (KIP-1043); before, a missing group is Dead.
Semantics   G-26, G-27, G-32.
"""

from typing import TYPE_CHECKING

from pykbroker.later import in_slices, when
from pykbroker.limits import ITEMS_PER_SLICE
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import DescribeGroupsRequest, DescribeGroupsResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(7)

FIRST_VERSION_THAT_MISSES_GROUPS = 6

OPERATIONS_ON_A_GROUP = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11
"""Without an authorizer everybody may Read, Delete, Describe a group, describe and alter its configs."""

Described = DescribeGroupsResponse.DescribedGroup


def handle(context: "Context", request: DescribeGroupsRequest) -> "DescribeGroupsResponse | Later[DescribeGroupsResponse]":
    """Every group by itself; one named twice is answered twice."""
    described = in_slices(
        context.cluster.waits,
        request.groups,
        lambda group_id: _described(context, group_id, with_operations=request.include_authorized_operations),
        ITEMS_PER_SLICE,
    )
    return when(described, lambda groups: DescribeGroupsResponse(groups=groups))


def failed(request: DescribeGroupsRequest, error: ErrorCode) -> DescribeGroupsResponse:
    """Nothing is known of any of them."""
    return DescribeGroupsResponse(groups=[Described(group_id=group_id, error_code=error) for group_id in request.groups])


def _described(context: "Context", group_id: str, *, with_operations: bool) -> Described:
    try:
        group = context.cluster.groups.describe(context, group_id)
    except KafkaError as error:
        return Described(group_id=group_id, error_code=error.error_code)
    if group is None:
        group = Described(group_id=group_id, group_state="Dead")
        if context.api_version >= FIRST_VERSION_THAT_MISSES_GROUPS:
            group.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            group.error_message = f"Group {group_id} not found."
            return group
    if with_operations:
        group.authorized_operations = OPERATIONS_ON_A_GROUP
    return group
