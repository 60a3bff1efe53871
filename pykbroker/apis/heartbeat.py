"""Heartbeat: a member is alive, and hears whether it must join again.

Versions    0-4.
Authorizes  Read on the group.
Waits       never.
Notes       v3 static members.
Semantics   G-15, G-16, G-22, G-23.
"""

from typing import TYPE_CHECKING

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import HeartbeatRequest, HeartbeatResponse

if TYPE_CHECKING:
    from pykbroker.context import Context

VERSIONS = range(5)


def handle(context: "Context", request: HeartbeatRequest) -> HeartbeatResponse:
    """REBALANCE_IN_PROGRESS where the member must join again."""
    return HeartbeatResponse(error_code=context.cluster.groups.heartbeat(context, request))


def failed(request: HeartbeatRequest, error: ErrorCode) -> HeartbeatResponse:
    """The error."""
    return HeartbeatResponse(error_code=error)
