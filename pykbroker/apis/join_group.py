"""JoinGroup: a member comes into a classic group, or comes again; answered when its generation is complete.

Versions    0-9.
Authorizes  Read on the group.
Waits       until all members have joined, or for their rebalance timeout; a new group for group.initial.rebalance.delay.ms.
Notes       v1 rebalance timeout (v0: the session timeout)  v4 MEMBER_ID_REQUIRED (KIP-394)  v5 static members (KIP-345)
            v7 protocol name null in errors  v8 reason (KIP-800)  v9 skip_assignment (KIP-814).
Semantics   G-01 … G-11, G-21 … G-25, G-34, G-39. Sources: KIP-62, KIP-345, KIP-394, KIP-559, KIP-800, KIP-814.
            Unlike Kafka, consumer metadata that cannot be read harms nobody (G-33, G-41), and a JoinGroup repeated on another connection
            leaves the first one answered, too.
"""

from typing import TYPE_CHECKING

from pykbroker.coordinator.rebalance import JoinRefusedError
from pykbroker.coordinator.refusal import or_refusal
from pykbroker.later import when
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import JoinGroupRequest, JoinGroupResponse

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(10)

FIRST_VERSION_WITHOUT_PROTOCOL_NAME = 7


def handle(context: "Context", request: JoinGroupRequest) -> "JoinGroupResponse | Later[JoinGroupResponse]":
    """The member's place in the generation; the leader also learns who else is in it."""
    none_is_null = context.api_version >= FIRST_VERSION_WITHOUT_PROTOCOL_NAME

    def told(response: JoinGroupResponse) -> JoinGroupResponse:
        if none_is_null and response.protocol_name == "":
            response.protocol_name = None  # also where a protocol has the empty name, as in Kafka
        return response

    def refusal(error: KafkaError) -> JoinGroupResponse:
        member_id = error.member_id if isinstance(error, JoinRefusedError) else request.member_id
        return told(JoinGroupResponse(error_code=error.error_code, protocol_name="", member_id=member_id))

    return or_refusal(lambda: when(context.cluster.groups.join(context, request), told), refusal)


def failed(request: JoinGroupRequest, error: ErrorCode) -> JoinGroupResponse:
    """No generation."""
    return JoinGroupResponse(error_code=error, protocol_name="", member_id=request.member_id)
