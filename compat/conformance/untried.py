"""Behaviours of Kafka 4.3 that no check tries, and why: a check sees a broker over its wire, and may stop and start it, no more."""

from typing import NamedTuple


class Untried(NamedTuple):
    """One behaviour, or the part of one that is left, under its id."""

    id: str
    sentence: str
    reason: str


RACE = "it lasts for milliseconds, and nothing tells when they begin"

UNTRIED = (
    Untried(
        "F-23",
        "Given a data directory that failed, Fetch below v6 says NOT_LEADER_OR_FOLLOWER instead of KAFKA_STORAGE_ERROR.",
        "a disk has to fail",
    ),
    Untried(
        "G-41",
        "Given a static member that rejoins a stable group with metadata that nobody can read, Kafka 4.3.0 stores it, and cannot load that "
        "partition of the offsets any more: its groups are NOT_COORDINATOR from then on. A defect; pykbroker loads it.",
        "the coordinator has to load anew, and Kafka is broken afterwards",
    ),
    Untried(
        "I-14",
        "Given a crash, of each producer only the last batch is known when it is sent again; older ones are out of order.",
        "a broker that knows more of them is no worse; pykbroker does",
    ),
    Untried(
        "L-10",
        "Given a leader whose high watermark has not reached its own epoch, LATEST and what lies beyond it are OFFSET_NOT_AVAILABLE, "
        "LEADER_NOT_AVAILABLE below v5; EARLIEST is answered. KIP-207.",
        RACE,
    ),
    Untried(
        "T-24",
        "Given a transaction coordinator or group coordinator that is loading, TxnOffsetCommit below v2 is COORDINATOR_NOT_AVAILABLE where newer "
        "versions say COORDINATOR_LOAD_IN_PROGRESS.",
        RACE,
    ),
    Untried(
        "W-27",
        "Given a broker that has just started, coordinators are NOT_COORDINATOR, then COORDINATOR_LOAD_IN_PROGRESS, and leaders that Metadata "
        "names are NOT_LEADER_OR_FOLLOWER; one that stops is COORDINATOR_NOT_AVAILABLE.",
        RACE,
    ),
)
