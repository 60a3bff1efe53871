"""FindCoordinator: which broker coordinates a group.

Versions    0-6.
Authorizes  Describe on each group or transactional id; ClusterAction for share keys.
Waits       for `__consumer_offsets` to be made, the first time; the answer is there then, where Kafka lets the client ask again (G-31).
Notes       v0 groups only  v1 key types  v4 several keys, each with its own error (KIP-699)  v6 share keys (KIP-932).
Not done    Transactions: a transactional id gets TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which every client gives up on at once.
            Share groups: a well-formed share key gets COORDINATOR_NOT_AVAILABLE, as where Kafka cannot make their topic.
Semantics   G-30, G-31, G-35, T-28, X-02.
"""

import binascii
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING

from pykbroker.coordinator.refusal import or_refusal
from pykbroker.later import in_slices, when
from pykbroker.limits import ITEMS_PER_SLICE
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import FindCoordinatorRequest, FindCoordinatorResponse
from pykbroker.topic_names import CONSUMER_OFFSETS

if TYPE_CHECKING:
    from pykbroker.context import Context
    from pykbroker.later import Later

VERSIONS = range(7)

FIRST_VERSION_WITH_KEYS = 4
FIRST_VERSION_WITH_SHARE_KEYS = 6

GROUP, TRANSACTION, SHARE = 0, 1, 2

SUCCESS_OF_ONE_KEY = "NONE"
"""What Kafka says where v1 to v3 succeed (X-02)."""

NO_TRANSACTIONS = "Transactions are not served by this broker yet, so that no transactional.id can be used with it."

_UUID_BYTES = 16

Coordinator = FindCoordinatorResponse.Coordinator


def handle(context: "Context", request: FindCoordinatorRequest) -> "FindCoordinatorResponse | Later[FindCoordinatorResponse]":
    """One answer for each key, in their order."""
    one_key = context.api_version < FIRST_VERSION_WITH_KEYS
    keys = [request.key] if one_key else request.coordinator_keys

    def answered(_made: None) -> "FindCoordinatorResponse | Later[FindCoordinatorResponse]":
        found = in_slices(context.cluster.waits, keys, lambda key: _find(context, request.key_type, key), ITEMS_PER_SLICE)
        return when(found, lambda found: _for_one_key(found[0]) if one_key else FindCoordinatorResponse(coordinators=found))

    def refused(error: KafkaError) -> FindCoordinatorResponse:
        found = [_none(key, ErrorCode.COORDINATOR_NOT_AVAILABLE) for key in keys]
        return _for_one_key(found[0]) if one_key else FindCoordinatorResponse(coordinators=found)

    if request.key_type != GROUP or not keys:
        return answered(None)
    return or_refusal(lambda: when(context.cluster.controller.create_internal_topic(CONSUMER_OFFSETS), answered), refused)


def failed(request: FindCoordinatorRequest, error: ErrorCode) -> FindCoordinatorResponse:
    """No coordinator for any key."""
    if request.coordinator_keys:
        return FindCoordinatorResponse(coordinators=[_none(key, error, error.sentence) for key in request.coordinator_keys])
    return _for_one_key(_none(request.key, error))


def _find(context: "Context", key_type: int, key: str) -> Coordinator:
    if key_type == GROUP:
        return _coordinator_of_group(context, key)
    if key_type == TRANSACTION:
        return _none(key, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, NO_TRANSACTIONS)
    if key_type != SHARE:
        return _none(key, ErrorCode.INVALID_REQUEST, f"There is no coordinator of type {key_type}.")
    if context.api_version < FIRST_VERSION_WITH_SHARE_KEYS or not is_share_key(key):
        return _none(key, ErrorCode.INVALID_REQUEST)
    return _none(key, ErrorCode.COORDINATOR_NOT_AVAILABLE)


def _coordinator_of_group(context: "Context", group_id: str) -> Coordinator:
    cluster = context.cluster
    partition = cluster.metadata.partition(CONSUMER_OFFSETS, cluster.groups.partition_of(group_id))
    broker = None if partition is None else cluster.metadata.brokers.get(partition.leader_id)
    if broker is None:
        return _none(group_id, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    session = context.session
    host, port = broker.endpoint(session.listener_name, session.local_host, session.local_port)
    return Coordinator(key=group_id, node_id=broker.node_id, host=host, port=port, error_message="")


def is_share_key(key: str) -> bool:
    """Whether it has the form group:topic id:partition."""
    parts = key.split(":")
    if len(parts) != 3 or not parts[0].strip():
        return False
    try:
        int(parts[2])
        return len(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))) == _UUID_BYTES
    except (ValueError, binascii.Error):
        return False


def _none(key: str, error: ErrorCode, message: str = "") -> Coordinator:
    return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=error, error_message=message)


def _for_one_key(found: Coordinator) -> FindCoordinatorResponse:
    error = ErrorCode(found.error_code)
    message = SUCCESS_OF_ONE_KEY if error is ErrorCode.NONE else found.error_message or error.sentence
    return FindCoordinatorResponse(error_code=error, error_message=message, node_id=found.node_id, host=found.host, port=found.port)
