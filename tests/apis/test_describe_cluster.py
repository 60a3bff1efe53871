"""DescribeCluster (M-10, M-19, M-22)."""

import pytest

from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DescribeClusterRequest, FenceBrokerRecord, MetadataRequest

CLUSTER_OPERATIONS = 8096
NOT_REQUESTED = -(2**31)


@pytest.mark.parametrize("version", range(3))
def test_brokers_and_operations(new_cluster, ask, version):
    cluster = new_cluster()

    answer = ask(cluster, DescribeClusterRequest(), version)
    with_operations = ask(cluster, DescribeClusterRequest(include_cluster_authorized_operations=True), version)

    assert (answer.error_code, answer.error_message, answer.endpoint_type) == (0, None, 1)
    assert (answer.cluster_id, answer.controller_id) == (cluster.metadata.cluster_id, 1)
    assert [(one.broker_id, one.host, one.port, one.rack, one.is_fenced) for one in answer.brokers] == [(1, "127.0.0.1", 9092, None, False)]
    assert answer.cluster_authorized_operations == NOT_REQUESTED
    assert with_operations.cluster_authorized_operations == CLUSTER_OPERATIONS


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("endpoint_type", "error"),
    [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (3, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE), (0, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)],
)
def test_only_brokers_are_here(new_cluster, ask, version, endpoint_type, error):
    answer = ask(new_cluster(), DescribeClusterRequest(endpoint_type=endpoint_type), version)

    assert answer.error_code == error
    assert answer.error_message
    assert (answer.cluster_id, answer.controller_id, answer.brokers) == ("", -1, [])


def test_a_broker_that_is_away_is_listed_when_asked_for(new_cluster, ask):
    cluster = new_cluster()
    cluster.controller.decide(cluster.controller.write([[FenceBrokerRecord(id=1, epoch=cluster.broker.epoch)]]))

    assert ask(cluster, DescribeClusterRequest(), 2).brokers == []
    assert [one.is_fenced for one in ask(cluster, DescribeClusterRequest(include_fenced_brokers=True), 2).brokers] == [True]


def test_a_broker_says_in_which_rack_it_stands(new_cluster, ask):
    cluster = new_cluster({"broker.rack": "cellar"})

    assert [one.rack for one in ask(cluster, DescribeClusterRequest(), 2).brokers] == ["cellar"]
    assert [one.rack for one in ask(cluster, MetadataRequest(topics=[]), 12).brokers] == ["cellar"]
