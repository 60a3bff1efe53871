"""DeleteGroups: groups without members go, with what they have committed.

Versions    0-2.
Authorizes  Delete on each group.
Waits       until the tombstones are durable.
Semantics   G-29, G-32.
"""

from typing import TYPE_CHECKING

from pykbroker.coordinator.refusal import or_refusal
from pykbroker.later import in_slices, when, when_all
from pykbroker.limits import ITEMS_PER_SLICE
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DeleteGroupsRequest, DeleteGroupsResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(3)

Result = DeleteGroupsResponse.DeletableGroupResult


def handle(context: "Context", request: DeleteGroupsRequest) -> "DeleteGroupsResponse | Later[DeleteGroupsResponse]":
    """Every group by itself; one named twice is answered once."""
    names = list(dict.fromkeys(request.groups_names))
    results = in_slices(context.cluster.waits, names, lambda group_id: _deleted(context, group_id), ITEMS_PER_SLICE)
    return when(results, lambda results: when_all(results, lambda settled: DeleteGroupsResponse(results=settled)))


def failed(request: DeleteGroupsRequest, error: ErrorCode) -> DeleteGroupsResponse:
    """No group was deleted."""
    return DeleteGroupsResponse(results=[Result(group_id=group_id, error_code=error) for group_id in dict.fromkeys(request.groups_names)])


def _deleted(context: "Context", group_id: str) -> "Result | Later[Result]":
    return or_refusal(
        lambda: when(context.cluster.groups.delete(context, group_id), lambda error: Result(group_id=group_id, error_code=error)),
        lambda error: Result(group_id=group_id, error_code=error.error_code),
    )
