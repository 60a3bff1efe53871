"""Behaviours of Kafka 4.3 that no check tries, and why: a check sees a broker over its wire only, and may neither stop it nor break its disk."""

from typing import NamedTuple


class Untried(NamedTuple):
    """One behaviour, or the part of one that is left, under its id."""

    id: str
    sentence: str
    reason: str


RESTART = "the broker has to be restarted"
DEAD_BROKER = "one broker of three has to be stopped"
NEW_CLUSTER = "only a cluster that nobody has used yet shows it"
RACE = "it lasts for milliseconds, and nothing tells when they begin"

UNTRIED = (
    Untried(
        "A-11",
        "Given the preferred replica of a partition dead, its election is PREFERRED_LEADER_NOT_AVAILABLE; given all dead, an unclean one is "
        "ELIGIBLE_LEADERS_NOT_AVAILABLE.",
        DEAD_BROKER,
    ),
    Untried(
        "A-22",
        "Given one of three brokers dead, a topic with three replicas is created all the same; an assignment to dead brokers only is "
        "INVALID_REPLICA_ASSIGNMENT.",
        DEAD_BROKER,
    ),
    Untried(
        "F-20",
        "Given a replica selector that knows racks, the leader answers a client of another rack with the replica there (preferred_read_replica), "
        "without records and at once. KIP-392.",
        "each of three brokers has to be in a rack of its own",
    ),
    Untried(
        "F-23",
        "Given a data directory that failed, Fetch below v6 says NOT_LEADER_OR_FOLLOWER instead of KAFKA_STORAGE_ERROR.",
        "a disk has to fail",
    ),
    Untried("FS-05", "Given a restart, sessions of before are FETCH_SESSION_ID_NOT_FOUND.", RESTART),
    Untried(
        "G-35",
        "Given offsets.topic.num.partitions larger than what the topic has, groups of the partitions beyond are NOT_COORDINATOR.",
        NEW_CLUSTER,
    ),
    Untried(
        "G-40",
        "Given a restart, also by SIGKILL, groups have their state, generation, members and assignments, static members too; ids that were "
        "given out but not joined with are unknown. Share sessions are gone, and acquired records come back with the delivery count they had.",
        RESTART,
    ),
    Untried(
        "G-41",
        "Given a static member that rejoins a stable group with metadata that nobody can read, Kafka 4.3.0 stores it, and cannot load that "
        "partition of the offsets any more: its groups are NOT_COORDINATOR from then on. A defect; pykbroker loads it.",
        "the coordinator has to load anew, and Kafka is broken afterwards",
    ),
    Untried(
        "H-22",
        "Given a partition number that its topic does not have, DescribeShareGroupOffsets is answered after half a minute of the broker's own retries.",
        "it takes more than half a minute",
    ),
    Untried(
        "I-14",
        "Given a restart, of each producer only the last batch is known when it is sent again; older ones are out of order.",
        RESTART,
    ),
    Untried(
        "L-10",
        "Given a leader whose high watermark has not reached its own epoch, LATEST and what lies beyond it are OFFSET_NOT_AVAILABLE, "
        "LEADER_NOT_AVAILABLE below v5; EARLIEST is answered. KIP-207.",
        RACE,
    ),
    Untried(
        "M-14",
        "Given a partition without a leader, Metadata tells leader -1 and LEADER_NOT_AVAILABLE for it, and lists the dead replica as offline from "
        "v5 on; Produce, Fetch and ListOffsets are NOT_LEADER_OR_FOLLOWER.",
        DEAD_BROKER,
    ),
    Untried(
        "M-21",
        "Given a cluster where nobody has looked for a transaction coordinator, InitProducerId with a transactional id is NOT_COORDINATOR until "
        "somebody does: FindCoordinator makes the log of transactions.",
        NEW_CLUSTER,
    ),
    Untried("M-22", "Given a dead broker, DescribeCluster v2 lists it as fenced where it is asked to; Metadata does not.", DEAD_BROKER),
    Untried(
        "O-11",
        "Given a commit without a retention of its own, the offset is gone offsets.retention.minutes after the group has lost its last member.",
        "it takes a minute at least",
    ),
    Untried(
        "P-19",
        "Given replicas that fall behind after the append, so that fewer than min.insync.replicas are left, REQUEST_TIMED_OUT with the real offset.",
        DEAD_BROKER,
    ),
    Untried(
        "T-24",
        "Given a transaction coordinator or group coordinator that is loading, TxnOffsetCommit below v2 is COORDINATOR_NOT_AVAILABLE where newer "
        "versions say COORDINATOR_LOAD_IN_PROGRESS.",
        RACE,
    ),
    Untried(
        "T-28",
        "Given the first FindCoordinator of a transactional id, COORDINATOR_NOT_AVAILABLE, node -1, no host and port -1, while the log of transactions is "
        "made; InitProducerId right behind it is NOT_COORDINATOR, then COORDINATOR_LOAD_IN_PROGRESS.",
        NEW_CLUSTER,
    ),
    Untried("T-35", "Given a restart, an open transaction is open still, holds readers back, and its producer ends it.", RESTART),
    Untried(
        "W-27",
        "Given a broker that has just started, coordinators are NOT_COORDINATOR, then COORDINATOR_LOAD_IN_PROGRESS, and leaders that Metadata "
        "names are NOT_LEADER_OR_FOLLOWER; one that stops is COORDINATOR_NOT_AVAILABLE.",
        "the broker has to be restarted, and it lasts for a second",
    ),
)
