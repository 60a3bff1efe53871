"""What the cluster consists of: `controller` decides and writes records, `log` keeps them, and their replay is the `state`.

The rest helps the controller to decide: `placement` chooses brokers for replicas, `internal_topics` knows how the broker's own topics are
made, `registration` what a start writes (with the `features` there are), `snapshot` what a log that became long is replaced by.
"""

from pykbroker.metadata.state import NO_LEADER, Metadata, Registration, Topic

__all__ = ["NO_LEADER", "Metadata", "Registration", "Topic"]
