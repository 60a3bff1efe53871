"""The one thing that a coordinator reads of what consumers tell each other: which topics a member consumes."""

import struct

from pykbroker.protocol.codec import decode_prefix
from pykbroker.protocol.messages import ConsumerProtocolSubscription
from pykbroker.protocol.wire import Malformed

_SHORT = struct.Struct(">h")
_NEWEST = ConsumerProtocolSubscription.VERSIONS[-1]


def subscribed_topics(metadata: bytes) -> list[str] | None:
    """The topics in a ConsumerProtocolSubscription; None where these bytes are none. A newer version begins as the newest that is known."""
    if len(metadata) < 2:
        return None
    version = _SHORT.unpack_from(metadata)[0]
    if version < 0:
        return None
    try:
        subscription, _ = decode_prefix(ConsumerProtocolSubscription, min(version, _NEWEST), metadata, 2, budget=len(metadata))
    except Malformed:
        return None
    return subscription.topics
