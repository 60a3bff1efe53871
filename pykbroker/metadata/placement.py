"""Which brokers hold the replicas of a partition: chosen here, or given by hand and checked here.

The first replica is the one that leads when all is well. Leaders go round over the live brokers, replicas of one partition over the racks; brokers that are away
get replicas only when there are not enough others (A-22).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pykbroker.protocol.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from pykbroker.metadata.state import Registration


def place(partition_count: int, replication_factor: int, registrations: "Iterable[Registration]", start: int) -> list[list[int]]:
    """The replicas of `partition_count` partitions; the first one is led by broker number `start` of the live ones, and so on round.

    Raises KafkaError(INVALID_REPLICATION_FACTOR) where there are too few brokers.
    """
    known = sorted(registrations, key=lambda one: one.node_id)
    live = _over_racks([one for one in known if not one.fenced])
    away = _over_racks([one for one in known if one.fenced])
    if not live:
        raise KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, "No broker is available to lead a partition: all of them are fenced.")
    if replication_factor > len(known):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"A replication factor of {replication_factor} needs as many brokers; {len(known)} are registered.",
        )
    return [_replicas(live, away, replication_factor, start + number) for number in range(partition_count)]


def _over_racks(brokers: "Sequence[Registration]") -> list[int]:
    """Ids in an order in which neighbours are on different racks, as far as there are different ones."""
    racks: dict[str | None, list[int]] = {}
    for broker in brokers:
        racks.setdefault(broker.rack, []).append(broker.node_id)
    longest = max((len(ids) for ids in racks.values()), default=0)
    return [ids[turn] for turn in range(longest) for ids in racks.values() if turn < len(ids)]


def _replicas(live: list[int], away: list[int], replication_factor: int, turn: int) -> list[int]:
    first = turn % len(live)
    shift = turn // len(live) % max(1, len(live) - 1)
    others = live[first + 1 :] + live[:first]
    followers = others[shift:] + others[:shift] + away
    return [live[first], *followers[: replication_factor - 1]]


def check_assignment(
    index: int, replicas: Sequence[int], registrations: "Mapping[int, Registration]", replication_factor: int | None
) -> None:
    """Whether a partition may have these replicas, as many as its neighbours have. Raises KafkaError(INVALID_REPLICA_ASSIGNMENT) (A-03, A-22)."""
    if not replicas:
        raise _refused(f"The assignment of partition {index} names no replica.")
    if len(set(replicas)) != len(replicas):
        raise _refused(f"The assignment of partition {index} names a broker more than once: {list(replicas)}.")
    unknown = [node_id for node_id in replicas if node_id not in registrations]
    if unknown:
        raise _refused(f"The assignment of partition {index} names broker {unknown[0]}, which is not registered.")
    if replication_factor is not None and len(replicas) != replication_factor:
        raise _refused(f"The assignment of partition {index} names {len(replicas)} replica(s), its neighbours have {replication_factor}.")
    if all(registrations[node_id].fenced for node_id in replicas):
        raise _refused(f"The assignment of partition {index} names only brokers that are fenced.")


def _refused(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)
