"""Every limit that is ours, not Kafka's, with its reason; the limits table of the documentation is made from this file.

Kafka's own limits (socket.request.max.bytes, max.message.bytes, …) are settings and stand in the config tables.
"""

MAX_ARRAY_ELEMENTS_PER_REQUEST = 100_000
"""More elements in all arrays of one request together close the connection: a decoded element costs 28-44 times its bytes on the wire.
An array itself, a partition's records and a tag count as one element each, since they cost as much."""

ITEMS_PER_SLICE = 250
"""Of a control request that names more topics, groups or keys, or needs more records, so many are worked on in a row; then others have their turn (law 5)."""

MAX_AUTO_CREATED_TOPICS_PER_REQUEST = 1000
"""Of the topics that one Metadata request makes on its way only so many: a list of names must not hold the broker, nor fill it in one go."""

MAX_DESCRIBED_BYTES = 100 * 1024 * 1024
"""What one DescribeConfigs answer may hold; more is refused: naming one broker ten thousand times costs the client nothing."""

MAX_PIPELINED_BYTES_PER_CONNECTION = 8 * 1024 * 1024
"""Frames read ahead while an answer is pending; beyond it the socket is not read until the answer is out."""

MAX_UNSENT_BYTES_PER_CONNECTION = 1024 * 1024
"""Answers the peer has not taken yet; beyond it the connection's next request is not handled (a slow reader costs itself, nobody else)."""

MAX_UNSENT_BYTES = 256 * 1024 * 1024
"""Answers that peers have not taken yet, large ones as a whole, over all connections; beyond it the connection that holds the most is closed, and the next one.
The memory behind it may be up to twice as much: buffers for large reads come in powers of two."""

MAX_UNSENT_BYTES_FOR_FETCH = 192 * 1024 * 1024
"""What a Fetch leaves of MAX_UNSENT_BYTES: its answer has at most a third of what is left up to here, but a whole batch; where nothing is left it
has no records, and comes after max_wait_ms, or MAX_WAIT_FOR_ROOM_MS. So those who take no answers do not close those who do."""

MAX_WAIT_FOR_ROOM_MS = 500
"""A Fetch that finds no room waits no longer than this, however long it would wait for records: its client asks again."""

UNSENT_BYTES_PER_COUNT = 32 * 1024 * 1024
"""So much is written until it is counted anew what of it still waits: to count after every answer would cost every answer."""

CROWDED_COUNT_MS = 250
"""While more than half of MAX_UNSENT_BYTES waits, it is also counted this often."""

CROWDED_READER_TIMEOUT_MS = 2000
"""While more than half of MAX_UNSENT_BYTES waits, a peer that takes less than a quarter of what waits for it in this time is disconnected."""

MAX_FETCH_SESSION_PARTITIONS = 500_000
"""In all fetch sessions together: about 180 MB. A slot alone bounds nothing, since a frame of 2.5 MB names 90,000 partitions, known or not."""

MAX_OVERLAPPING_REQUESTS_PER_CONNECTION = 100
"""Produce requests of one connection that are appended and wait for their fsync; beyond it the next request waits."""

SMALLEST_RECEIVE_BUFFER = 64 * 1024
"""What a connection reads into when nothing is known of it; it is borrowed while bytes arrive, an idle connection has none."""

LARGEST_EXPECTED_FRAME = 2 * 1024 * 1024
"""A connection that sent a large frame gets a buffer of that size for its next one at once, up to this; else buffers grow as bytes come."""

KEPT_RECEIVE_BYTES = 32 * 1024 * 1024
"""Receive buffers kept to be lent again, over all connections."""

KEPT_READ_BYTES = 32 * 1024 * 1024
"""Buffers kept for large reads from files; what is beyond it is made anew for each read."""

MAX_RECEIVE_BYTES = 256 * 1024 * 1024
"""Receive buffers lent at one time, over all connections; beyond it a connection whose frame needs more room is not read for a while."""

UNFINISHED_FRAME_TIMEOUT_MS = 30_000
"""A frame of which less than 16 KiB arrived in this time closes its connection: half a frame holds memory for nobody."""

UNFINISHED_FRAME_MIN_PROGRESS_BYTES = 16 * 1024
"""What must arrive of an unfinished frame within UNFINISHED_FRAME_TIMEOUT_MS."""

STALLED_READER_TIMEOUT_MS = 60_000
"""A peer that takes nothing of what waits for it in this time is disconnected, however long connections.max.idle.ms is."""

MAX_TURN_MS = 5
"""One connection's pipelined requests are handled for this long in a row; then it is another connection's turn."""

STOP_GRACE_MS = 500
"""What a stop waits for answers that are on their way, and again for peers to take them."""
