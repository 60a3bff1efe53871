"""Replicas are spread: each partition on different brokers, leaders evenly, racks first, and brokers that are away only when needed (A-22)."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.metadata import Registration
from pykbroker.metadata.placement import check_assignment, place
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import RegisterBrokerRecord


def broker(node_id, rack=None, *, fenced=False):
    return Registration(RegisterBrokerRecord(broker_id=node_id, rack=rack, fenced=fenced))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 60), st.integers(0, 7), st.data())
def test_every_partition_has_different_brokers_and_leaders_take_turns(brokers, replication_factor, partitions, start, data):
    fenced = data.draw(st.sets(st.integers(1, brokers), max_size=brokers - 1))
    registrations = [broker(node_id, fenced=node_id in fenced) for node_id in range(1, brokers + 1)]
    if replication_factor > brokers:
        with pytest.raises(KafkaError) as refused:
            place(partitions, replication_factor, registrations, start)
        assert refused.value.error_code == ErrorCode.INVALID_REPLICATION_FACTOR
        return

    placed = place(partitions, replication_factor, registrations, start)

    live = brokers - len(fenced)
    assert len(placed) == partitions
    for replicas in placed:
        assert len(set(replicas)) == len(replicas) == replication_factor
        assert sum(node_id in fenced for node_id in replicas) == max(0, replication_factor - live)
        assert replicas[0] not in fenced
    leaders = Counter(replicas[0] for replicas in placed)
    assert max(leaders.values(), default=0) - min((leaders[one.node_id] for one in registrations if not one.fenced), default=0) <= 1


def test_replicas_are_on_different_racks_and_a_leaders_followers_vary():
    registrations = [broker(node_id, rack=f"rack{node_id % 3}") for node_id in range(1, 7)]
    racks = {one.node_id: one.rack for one in registrations}

    placed = place(36, 2, registrations, 0)

    assert all(racks[leader] != racks[follower] for leader, follower in place(6, 2, registrations, 0))
    followers_of_one = {follower for leader, follower in placed if leader == 1}
    assert len(followers_of_one) == 5


def test_nobody_alive_leads_nothing():
    with pytest.raises(KafkaError) as refused:
        place(1, 1, [broker(1, fenced=True)], 0)
    assert refused.value.error_code == ErrorCode.INVALID_REPLICATION_FACTOR


@pytest.mark.parametrize(("replicas", "replication_factor"), [([], None), ([1, 1], None), ([9], None), ([1], 2), ([1, 2], 1), ([3], None)])
def test_assignments_that_cannot_be(replicas, replication_factor):
    registrations = {one.node_id: one for one in (broker(1), broker(2), broker(3, fenced=True))}

    with pytest.raises(KafkaError) as refused:
        check_assignment(0, replicas, registrations, replication_factor)

    assert refused.value.error_code == ErrorCode.INVALID_REPLICA_ASSIGNMENT


def test_one_replica_alive_is_enough():
    registrations = {one.node_id: one for one in (broker(1), broker(3, fenced=True))}

    check_assignment(0, [3, 1], registrations, 2)
