"""Fetches that may wait: for how long, how long they did, and one that is left waiting."""

import time

from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import expect_that
from pykbroker.compat.target import Target
from pykbroker.protocol.messages import FetchRequest, FetchResponse

LONG_MS = 60_000
"""Nobody waits that long: an answer that comes was woken, or had nothing to wait for."""
AT_ONCE_S = 5.0
"""An answer in that time did not wait, however slow the machine is."""


def fetched_after(target: Target, request: FetchRequest, version: int) -> tuple[FetchResponse, float]:
    """The answer, and the seconds it took."""
    started = time.monotonic()
    answer = target.ask(request, version)
    return answer, time.monotonic() - started


def waiting(target: Target, request: FetchRequest, version: int) -> Connection:
    """A connection of its own on which that fetch waits."""
    connection = target.connect()
    connection.send(request, version)
    expect_that(connection.is_silent(for_s=0.1), "the fetch waits")
    return connection
