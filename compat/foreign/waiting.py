"""Which tests of foreign suites wait for an API that pykbroker does not serve yet.

It is no excuse once the API is served: then the test has to pass.
"""

import re

_ACLS = ("DescribeAcls", "CreateAcls", "DeleteAcls")
_TRANSACTIONS = ("AddPartitionsToTxn", "EndTxn")
_OFFSETS_IN_TRANSACTIONS = (*_TRANSACTIONS, "AddOffsetsToTxn", "TxnOffsetCommit")

WAITING: dict[str, dict[str, tuple[str, ...]]] = {
    "kafka-python": {
        ".*::test_create_describe_delete_acls": _ACLS,
        ".*::test_elect_leaders": ("ElectLeaders",),
        ".*::test_describe_log_dirs": ("DescribeLogDirs",),
        ".*::test_alter_replica_log_dirs": ("DescribeLogDirs", "AlterReplicaLogDirs"),
        ".*::test_describe_metadata_quorum": ("DescribeQuorum",),
        ".*::test_(alter|list)_partition_reassignments": ("AlterPartitionReassignments", "ListPartitionReassignments"),
        ".*::test_kafka_version_infer": ("DescribeLogDirs",),  # by whose version this client knows Kafka 4.3
        ".*::test_transactional_producer_messages": _TRANSACTIONS,
        ".*::test_transactional_producer_offsets": _OFFSETS_IN_TRANSACTIONS,
    },
    "librdkafka": {
        "0081_": _ACLS,
        "0098_": _TRANSACTIONS,
        "0103_": _OFFSETS_IN_TRANSACTIONS,
        "0109_": _ACLS,
        "0115_": _ACLS,
        "0119_": _ACLS,
        "0129_": _TRANSACTIONS,
        "017[0-9]_|018[0-9]_": ("ShareGroupHeartbeat", "ShareFetch", "ShareAcknowledge"),
    },
}
"""Suite -> the beginning of a test's name (a regular expression) -> the APIs that it needs."""


def waits_for(suite: str, test: str, served: set[str]) -> list[str]:
    """The APIs that this test needs, of those that are not served."""
    for pattern, apis in WAITING.get(suite.partition(" ")[0], {}).items():
        if re.match(pattern, test):
            return [api for api in apis if api not in served]
    return []
