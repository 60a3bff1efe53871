"""SyncGroup: the leader brings what everybody is assigned, every member gets its part.

Versions    0-5.
Authorizes  Read on the group.
Waits       for the leader, and then until the group's record is durable.
Notes       v3 static members  v5 protocol type and name are asked for, and checked (KIP-559).
Semantics   G-12, G-13, G-14, G-22, G-38.
"""

from typing import TYPE_CHECKING

from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import SyncGroupRequest, SyncGroupResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(6)

FIRST_VERSION_WITH_PROTOCOL = 5


def handle(context: "Context", request: SyncGroupRequest) -> "SyncGroupResponse | Later[SyncGroupResponse]":
    """The member's assignment; empty where the leader gave it none."""
    if context.api_version >= FIRST_VERSION_WITH_PROTOCOL and (request.protocol_type is None or request.protocol_name is None):
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    return context.cluster.groups.sync(context, request)


def failed(request: SyncGroupRequest, error: ErrorCode) -> SyncGroupResponse:
    """No assignment."""
    return SyncGroupResponse(error_code=error)
