"""LeaveGroup: members go at once instead of when their session ends; from v3 on several, also from outside by group.instance.id.

Versions    0-5.
Authorizes  Read on the group.
Waits       until the group's record is durable, where the last member leaves.
Notes       v0-v2 name one member, whose error is the request's  v3 several (KIP-345)  v5 reason (KIP-800).
Semantics   G-19, G-20, G-22.
"""

from typing import TYPE_CHECKING

from pykbroker.later import when
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import LeaveGroupRequest, LeaveGroupResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(6)

FIRST_VERSION_WITH_SEVERAL_MEMBERS = 3


def handle(context: "Context", request: LeaveGroupRequest) -> "LeaveGroupResponse | Later[LeaveGroupResponse]":
    """One error code for each member that is to leave."""
    one_member = context.api_version < FIRST_VERSION_WITH_SEVERAL_MEMBERS
    if one_member:
        request.members = [LeaveGroupRequest.MemberIdentity(member_id=request.member_id)]

    def answer(members: list[LeaveGroupResponse.MemberResponse]) -> LeaveGroupResponse:
        return LeaveGroupResponse(error_code=members[0].error_code) if one_member else LeaveGroupResponse(members=members)

    return when(context.cluster.groups.leave(context, request), answer)


def failed(request: LeaveGroupRequest, error: ErrorCode) -> LeaveGroupResponse:
    """Nobody left."""
    return LeaveGroupResponse(error_code=error)
