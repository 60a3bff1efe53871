"""One connection: bytes become frames, frames are handled one at a time, and answers leave in the order of their requests (law 6).

While an answer is on its way the next frames are read, within bounds, but not handled. Only a Produce that waits for nothing but its
fsync lets the next request overtake it, and even then its answer leaves first. A peer that does not take its answers is not served further, and
where many do not, the server counts what waits for all of them together.
The end of a peer's sending (EOF) changes nothing for the answers it is owed (W-23); a lost connection drops them.
"""

import asyncio
import logging
import struct
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, cast

from pykbroker.context import Answer, Close
from pykbroker.later import Later
from pykbroker.limits import (
    CROWDED_READER_TIMEOUT_MS,
    LARGEST_EXPECTED_FRAME,
    MAX_OVERLAPPING_REQUESTS_PER_CONNECTION,
    MAX_PIPELINED_BYTES_PER_CONNECTION,
    MAX_RECEIVE_BYTES,
    MAX_TURN_MS,
    MAX_UNSENT_BYTES_PER_CONNECTION,
    SMALLEST_RECEIVE_BUFFER,
    STALLED_READER_TIMEOUT_MS,
    UNFINISHED_FRAME_MIN_PROGRESS_BYTES,
    UNFINISHED_FRAME_TIMEOUT_MS,
)
from pykbroker.server.first_bytes import what_speaks

if TYPE_CHECKING:
    from pykbroker.server.listening import Server
    from pykbroker.session import Session

log = logging.getLogger("pykbroker.server")

_read_size = struct.Struct(">i").unpack_from
_JOINED_BYTES = 64 * 1024
"""Answers up to this are copied into one piece: cheaper than to tell the kernel of many."""
_COLLECTED_BYTES = 256 * 1024
"""Answers of one turn leave together, but not more than this is kept back."""
_MAX_TURN_SECONDS = MAX_TURN_MS / 1000

Outcome = Answer | Close | None


class Connection(asyncio.BufferedProtocol):
    """Made by the server for each accepted socket."""

    __slots__ = (
        "_active_at_ms",
        "_buffer",
        "_busy",
        "_closing",
        "_congested",
        "_draining",
        "_end",
        "_expected",
        "_handle",
        "_large",
        "_max_request_bytes",
        "_needed",
        "_out",
        "_out_bytes",
        "_peer_is_done",
        "_progressed_at_ms",
        "_pumping",
        "_reading_paused",
        "_received",
        "_received_before",
        "_scheduled",
        "_server",
        "_start",
        "_taken",
        "_taken_at_ms",
        "_taken_enough",
        "_taken_enough_at_ms",
        "_transport",
        "_unanswered",
        "_was_active",
        "_written",
        "_written_before",
        "lost",
        "session",
    )

    def __init__(self, server: "Server", session: "Session", max_request_bytes: int, now_ms: int) -> None:
        self.session = session
        self.lost = False
        self._server = server
        self._handle = server.cluster.handle
        self._max_request_bytes = max_request_bytes
        self._transport: asyncio.Transport
        # Bytes from _start to _end of _buffer are received and not handled; the frame they begin needs _needed bytes (0: not known yet).
        self._buffer: bytearray | None = None
        self._start = 0
        self._end = 0
        self._needed = 0
        self._expected = SMALLEST_RECEIVE_BUFFER
        # Answers that may not leave yet, because an earlier one is not here; _busy: the newest one must be here before the next request.
        self._unanswered: deque[Outcome | Later[Outcome]] = deque()
        self._out: Answer = []
        self._out_bytes = 0
        self._busy = False
        self._congested = False
        self._closing = False
        self._pumping = False
        self._scheduled = False
        self._reading_paused = False
        self._peer_is_done = False
        self._draining = False
        # What the server's sweep looks at.
        self._was_active = True
        self._active_at_ms = now_ms
        self._received = 0
        self._received_before = 0
        self._progressed_at_ms = now_ms
        self._written = 0
        self._written_before = 0
        self._large: list[tuple[int, int]] = []
        """Large answers that may be on their way: where each ends in all that was written, and its size."""
        self._taken = 0
        self._taken_at_ms = now_ms
        self._taken_enough = 0
        self._taken_enough_at_ms = now_ms

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(MAX_UNSENT_BYTES_PER_CONNECTION, MAX_UNSENT_BYTES_PER_CONNECTION // 4)
        self._server.remember(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's signature
        """Where the next bytes go: behind those that are here, and not beyond the end of a frame that is half here."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = self._server.buffers.take(self._expected)
            self._start = self._end = 0
            return memoryview(buffer)[: self._expected]
        if self._end == len(buffer):
            buffer = self._move(2 * (self._end - self._start))
        frame_end = self._start + self._needed
        if self._needed > SMALLEST_RECEIVE_BUFFER and self._end < frame_end <= len(buffer):
            return memoryview(buffer)[self._end : frame_end]
        return memoryview(buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        self._end += nbytes
        self._received += nbytes
        self._was_active = True
        self._pump()

    def eof_received(self) -> bool:
        """The peer sends no more; true keeps the connection for the answers it is still owed."""
        self._peer_is_done = True
        if self._start == self._end:
            self._give_buffer_back()  # Now, not when it is closed: thousands may go at once.
        return self._owes_answers()

    def pause_writing(self) -> None:
        """Too much waits for the peer to take it."""
        self._congested = True

    def resume_writing(self) -> None:
        """The peer has taken most of it."""
        self._congested = False
        self._was_active = True
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's signature
        """It is gone, whoever ended it: nobody waits for answers any more."""
        self.lost = True
        self._closing = True
        self._unanswered.clear()
        self._out.clear()
        self._give_buffer_back()
        self._server.forget(self)
        self.session.close()

    # Frames in.

    def _pump(self) -> None:
        """Handle the frames that are here, as far as may be; send the answers together; see to the room for what comes next."""
        if self._pumping or self.lost:
            return
        self._pumping = True
        turn_ends = None
        try:
            while not self._must_wait():
                frame = self._next_frame()
                if frame is None:
                    break
                self._answer(frame)
                del frame
                if self._start == self._end:
                    break
                if turn_ends is None:
                    turn_ends = monotonic() + _MAX_TURN_SECONDS
                elif monotonic() > turn_ends:
                    self._continue_soon()
                    break
        finally:
            self._pumping = False
        self._flush()
        self._see_to_room()
        if self._peer_is_done or self._draining:
            self._close_if_done()

    def _must_wait(self) -> bool:
        return (
            self._busy
            or self._congested
            or self._closing
            or self._draining
            or self._scheduled
            or len(self._unanswered) >= MAX_OVERLAPPING_REQUESTS_PER_CONNECTION
        )

    def _next_frame(self) -> memoryview | None:
        """The next whole frame, without its size; None where there is none yet, or never will be."""
        start = self._start
        here = self._end - start
        if here < 4 or self._buffer is None:
            self._needed = 0
            return None
        size: int = _read_size(self._buffer, start)[0]
        if not 0 < size <= self._max_request_bytes:
            self._refuse(size)
            return None
        if here < 4 + size:
            self._needed = 4 + size
            return None
        self._needed = 0
        self._start = start + 4 + size
        # A guess for the next one: producers send full batch after full batch.
        self._expected = min(4 + size, LARGEST_EXPECTED_FRAME) if size > SMALLEST_RECEIVE_BUFFER else SMALLEST_RECEIVE_BUFFER
        return memoryview(self._buffer)[start + 4 : start + 4 + size]

    def _refuse(self, size: int) -> None:
        """Whoever sends this does not speak Kafka, or asks for too much: closed as soon as the size is read (W-14)."""
        assert self._buffer is not None
        first_bytes = bytes(self._buffer[self._start : min(self._end, self._start + 8)])
        reason = what_speaks(first_bytes, size, self._max_request_bytes)
        self._server.explain(self.session, reason)
        self._take_outcome(Close(reason))

    def _continue_soon(self) -> None:
        self._scheduled = True
        self._server.loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._scheduled = False
        self._pump()

    # Answers out.

    def _answer(self, frame: memoryview) -> None:
        try:
            outcome = self._handle(self.session, frame)
        except Exception as error:  # noqa: BLE001 - law 3: one bad request hurts nobody else
            self._server.unexpected(error)
            outcome = Close("the broker failed to handle it")
        if type(outcome) is list and not self._unanswered and not self._closing:
            self._collect(outcome)
        else:
            self._take_outcome(outcome)

    def _take_outcome(self, outcome: "Outcome | Later[Outcome]") -> None:
        """Send it, or keep its place in the queue."""
        if not self._unanswered and not isinstance(outcome, Later):
            self._send(outcome)
            return
        self._unanswered.append(outcome)
        if isinstance(outcome, Later):
            self._busy = not outcome.overlaps
            outcome.then(self._settled, self._failed)
        elif isinstance(outcome, Close):
            self._busy = True

    def _settled(self, _outcome: Outcome) -> None:
        """An answer is here: it and those behind it that are here leave, in their order."""
        unanswered = self._unanswered
        while unanswered:
            outcome = unanswered[0]
            if isinstance(outcome, Later):
                if not outcome.settled:
                    break
                outcome = outcome.value
            unanswered.popleft()
            self._send(outcome)
        if not unanswered:
            self._busy = False
        if self._pumping or self.lost:
            return
        # What settled it may be another connection's request, in the middle of its work: the next request here has to wait its turn.
        self._flush()
        if self._end > self._start and not self._scheduled:
            self._continue_soon()
        self._close_if_done()

    def _failed(self, error: BaseException) -> None:
        """An exception where an answer should be is a bug; the connection cannot go on in order without the answer."""
        self._server.unexpected(error)
        if not self.lost:
            self._transport.abort()

    def _send(self, outcome: Outcome) -> None:
        if self._closing or outcome is None:
            return
        if isinstance(outcome, Close):
            if outcome.after is not None:
                self._collect(outcome.after)
            log.debug("%s closed: %s", self.session.client_host, outcome.reason)
            self._close_after_answers()
        else:
            self._collect(outcome)

    def _collect(self, answer: Answer) -> None:
        self._out += answer
        self._out_bytes += len(answer[0]) if len(answer) == 1 else sum(map(len, answer))
        if self._out_bytes > _COLLECTED_BYTES:
            self._flush()

    def _close_after_answers(self) -> None:
        self._flush()
        self._closing = True
        self._transport.close()

    def _flush(self) -> None:
        """Write what is collected: small pieces as one, large ones as they are."""
        pieces = self._out
        if not pieces:
            return
        size = self._out_bytes
        self._out = []
        self._out_bytes = 0
        self._written += size
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        elif size <= _JOINED_BYTES:
            self._transport.write(b"".join(pieces))
        else:
            self._transport.writelines(pieces)
        if size > _JOINED_BYTES:
            self._note_large(size)
        server = self._server
        server.unsent_bytes += size
        if server.unsent_bytes > server.count_unsent_at:
            server.count_unsent()

    def _close_if_done(self) -> None:
        if (self._peer_is_done or self._draining) and not self._closing and not self._owes_answers():
            self._close_after_answers()

    def _owes_answers(self) -> bool:
        """Whether an answer is on its way, or a whole request is here that will be handled."""
        if self._closing:
            return False
        if self._unanswered or self._out:
            return True
        if self._draining:
            return False
        here = self._end - self._start
        return here >= 4 and self._buffer is not None and here >= 4 + _read_size(self._buffer, self._start)[0]

    # Room for what comes.

    def _see_to_room(self) -> None:
        """After a turn: give an empty buffer back, find a larger one for a frame that outgrows this one, stop reading where it is enough."""
        buffer = self._buffer
        if buffer is None or self.lost:
            return
        here = self._end - self._start
        if not here:
            self._give_buffer_back()
            if self._reading_paused:
                self._pause_reading(self._closing)
            return
        if self._needed > len(buffer) - self._start and self._start:
            self._move(2 * here)
        too_much = here >= max(self._needed, MAX_PIPELINED_BYTES_PER_CONNECTION)
        starved = self._needed > SMALLEST_RECEIVE_BUFFER and self._server.buffers.lent_bytes > MAX_RECEIVE_BYTES
        if starved:
            self._server.starved.add(self)
        self._pause_reading(too_much or starved or self._closing)

    def read_on(self) -> None:
        """There is memory again."""
        if not self.lost:
            self._pause_reading(self._closing)

    def _pause_reading(self, paused: bool) -> None:
        if paused is not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _move(self, size: int) -> bytearray:
        """Continue in a buffer that holds at least `size` bytes, but no more than the frame needs: memory grows with what came (law 3)."""
        assert self._buffer is not None
        here = self._end - self._start
        if here < self._needed:
            size = min(self._needed, max(size, self._expected))
        buffer = self._server.buffers.take(size)
        with memoryview(self._buffer) as old:
            buffer[:here] = old[self._start : self._end]
        self._give_buffer_back()
        self._buffer, self._start, self._end = buffer, 0, here
        return buffer

    def _give_buffer_back(self) -> None:
        buffer, self._buffer = self._buffer, None
        self._start = self._end = 0
        if buffer is not None:
            self._server.give_back(buffer)

    # What the server asks, now and then.

    def _note_large(self, size: int) -> None:
        taken = self._written - self._transport.get_write_buffer_size()
        self._large = [(end, its_size) for end, its_size in self._large if end > taken]
        self._large.append((self._written, size))

    @property
    def held_bytes(self) -> int:
        """What waits for the peer, and what it has taken already of a large answer: that stays in memory until all of it is taken."""
        unsent = self._transport.get_write_buffer_size()
        taken = self._written - unsent
        begun = (taken - (end - size) for end, size in self._large if end - size < taken < end)
        return unsent + next(begun, 0)

    def overdue(self, now_ms: int, max_idle_ms: int) -> str | None:
        """Why this connection has to go: idle (W-20), half a frame that does not grow, or a peer that takes nothing. None: it may stay."""
        if self._was_active or self._written != self._written_before:
            self._was_active = False
            self._active_at_ms = now_ms
            self._written_before = self._written
        if self._start == self._end:
            self._give_buffer_back()  # Borrowed for a read that brought nothing.
        unsent = self._transport.get_write_buffer_size()
        taken = self._written - unsent
        if not unsent:
            self._taken_at_ms = now_ms
        elif taken > self._taken:
            self._taken_at_ms = self._active_at_ms = now_ms
        self._taken = taken
        frame_is_unfinished = self._end > self._start and not self._must_wait()
        if not frame_is_unfinished or self._received - self._received_before >= UNFINISHED_FRAME_MIN_PROGRESS_BYTES:
            self._received_before = self._received
            self._progressed_at_ms = now_ms
        if unsent and now_ms - self._taken_at_ms > STALLED_READER_TIMEOUT_MS:
            return f"took nothing of the {unsent} bytes that wait for it in {STALLED_READER_TIMEOUT_MS // 1000} s"
        if now_ms - self._progressed_at_ms > UNFINISHED_FRAME_TIMEOUT_MS:
            return f"left a request unfinished for {UNFINISHED_FRAME_TIMEOUT_MS // 1000} s"
        if 0 <= max_idle_ms < now_ms - self._active_at_ms:
            return f"was idle for longer than connections.max.idle.ms={max_idle_ms}"
        return None

    def takes_too_little(self, now_ms: int, crowded_since_ms: int) -> bool:
        """Asked again and again while much waits for all peers together: whether this one has taken less than a quarter of its share for a while."""
        taken = self._written - self._transport.get_write_buffer_size()
        if taken - self._taken_enough >= self.held_bytes // 4:
            self._taken_enough = taken
            self._taken_enough_at_ms = now_ms
        return now_ms - max(self._taken_enough_at_ms, crowded_since_ms) > CROWDED_READER_TIMEOUT_MS

    def drain(self) -> None:
        """The broker stops: no further request is handled, answers on their way still leave, then it closes."""
        self._draining = True
        if not self.lost:
            self._close_if_done()

    def close(self) -> None:
        """Close it as soon as what was answered is sent."""
        if not self.lost and not self._closing:
            self._close_after_answers()

    def abort(self) -> None:
        """Close it now."""
        if not self.lost:
            self._transport.abort()
