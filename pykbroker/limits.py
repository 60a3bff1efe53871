"""Every limit that is ours, not Kafka's, with its reason; the limits table of the documentation is made from this file.

Kafka's own limits (socket.request.max.bytes, max.message.bytes, …) are settings and stand in the config tables.
"""

MAX_ARRAY_ELEMENTS_PER_REQUEST = 100_000
"""More elements in all arrays of one request together close the connection: a decoded element costs 28-44 times its bytes on the wire."""

MAX_PIPELINED_BYTES_PER_CONNECTION = 8 * 1024 * 1024
"""Frames read ahead while an answer is pending; beyond it the socket is not read until the answer is out."""

MAX_UNSENT_BYTES_PER_CONNECTION = 8 * 1024 * 1024
"""Answers the peer has not taken yet; beyond it the connection's next request is not handled (a slow reader costs itself, nobody else)."""
