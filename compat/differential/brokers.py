"""The two brokers, with the same settings: Apache Kafka from its cache, pykbroker in this process."""

import contextlib
import time
from collections.abc import Iterator

from compat.differential.side import Side
from compat.oracle import kafka as oracle
from pykbroker.client import Client
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import OffsetFetchRequest, OffsetFetchResponse
from pykbroker.testing import KafkaBroker

SETTINGS = {"log.retention.ms": "-1", "log.retention.check.interval.ms": "86400000", "log.cleaner.backoff.ms": "86400000"}
"""No round of retention or compaction comes between: the records of the sequences are old."""

OURS = {"node.id": "1", "inter.broker.listener.name": "PLAINTEXT"}
"""What Kafka has by default, or is told by what starts it."""

_NAME = "differential"
_GROUPS_ARE_READY_S = 30.0


@contextlib.contextmanager
def kafka_running(bootstrap: str | None, port: int) -> Iterator[Side]:
    """Apache Kafka: one that runs already, or one that is started here and stopped at the end."""
    if bootstrap is not None:
        yield ready("Kafka", bootstrap)
        return
    problem = oracle.missing()
    if problem is not None:
        raise SystemExit(f"Apache Kafka cannot run here, and without it there is nothing to compare with: {problem}.")
    try:
        yield ready("Kafka", oracle.start_cluster(_NAME, oracle.Cluster(port, settings=SETTINGS)))
    finally:
        oracle.stop(_NAME)


@contextlib.contextmanager
def our_broker_running() -> Iterator[Side]:
    """pykbroker, in memory; at the end it raises what it did not expect."""
    with KafkaBroker(config=SETTINGS | OURS, seed=1) as broker:
        yield ready("pykbroker", broker.bootstrap)


def ready(name: str, bootstrap: str) -> Side:
    """A side whose group coordinator has its logs."""
    host, _, port = bootstrap.rpartition(":")
    ends = time.monotonic() + _GROUPS_ARE_READY_S
    with Client(bootstrap) as client:
        waiting = [f"warm-up-{number}" for number in range(40)]
        while waiting and time.monotonic() < ends:
            client.coordinator(waiting[0])
            request = OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=one, topics=None) for one in waiting])
            answer = client.ask(request, OffsetFetchResponse)
            waiting = [group.group_id for group in answer.groups if group.error_code != ErrorCode.NONE]
            if waiting:
                time.sleep(0.1)
    return Side(name, host, int(port))
