"""A whole cluster without a socket: virtual clocks, files in memory, a seeded random source, work elsewhere done at once.

`new_cluster(static=…, files=…)` starts one; `ask(cluster, request, version)` sends a frame and gives the decoded answer, which takes no time. At the end of a test, every exception
that a cluster met and did not expect is a failure of that test.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import pytest

from pykbroker.broker import Listener
from pykbroker.clock import VirtualClock
from pykbroker.cluster import Cluster
from pykbroker.config import Configuration
from pykbroker.context import Close, Offload
from pykbroker.later import Later
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.messages import Message
from pykbroker.session import Session
from pykbroker.storage.files import Files
from pykbroker.storage.memory_files import MemoryFiles

T = TypeVar("T")
SEED = 20260724

NewCluster = Callable[..., Cluster]
Ask = Callable[..., Message]


def done_at_once(work: Callable[[], T]) -> Later[T]:
    """Offload that does the work on the spot."""
    later: Later[T] = Later()
    try:
        later.settle(work())
    except Exception as error:  # noqa: BLE001 - it belongs to who waits for the result
        later.fail(error)
    return later


@pytest.fixture
def new_cluster() -> Iterator[NewCluster]:
    started: list[Cluster] = []

    def start(
        static: Mapping[str, str] | None = None,
        files: Files | None = None,
        clock: VirtualClock | None = None,
        offload: Offload = done_at_once,
    ) -> Cluster:
        cluster = Cluster(
            clock=clock or VirtualClock(),
            waits=VirtualClock(),
            files=files or MemoryFiles(),
            config=Configuration(static or {}),
            random=random.Random(SEED),
            offload=offload,
        )
        cluster.broker.listeners.append(Listener("PLAINTEXT", "127.0.0.1", 9092))
        cluster.start()
        started.append(cluster)
        return cluster

    yield start
    assert [error for cluster in started for error in cluster.unexpected_errors] == []


@pytest.fixture
def ask() -> Ask:
    """Ask as a client does. LookupError where the answer is not here yet."""

    def send(cluster: Cluster, request: Message, version: int, session: Session | None = None) -> Message | Close | None:
        frame = b"".join(request_frame(request, version, 7, "a-test"))[4:]
        answer = cluster.handle(session or Session(cluster.broker), memoryview(bytearray(frame)))
        if isinstance(answer, Later):
            cluster.waits.advance()  # it may be done in slices
            answer = answer.value
        if answer is None or isinstance(answer, Close):
            return answer
        correlation_id, response = read_response(API_BY_KEY[request.API_KEY].response, version, b"".join(answer)[4:])
        assert correlation_id == 7
        return response

    return send
