"""Checks that stop and start the broker: put to our own on disk, which is really killed."""

import sys
from collections.abc import Iterator

import pytest

from compat.fleets import NEW_CLUSTER, Address, Fleet, Pykbroker, fleets
from pykbroker.compat.check import Check, all_checks
from pykbroker.compat.expectations import Unexpected
from pykbroker.compat.runner import Status, run
from pykbroker.compat.switch import RESTARTS, Command
from pykbroker.compat.target import Target

ONLY_RESTARTS = [check for check in all_checks() if check.wants == {RESTARTS}]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    system = Pykbroker()
    yield system.start(Fleet(restarts=True))
    system.stop()


@pytest.mark.parametrize("check", ONLY_RESTARTS, ids=lambda check: f"{check.id} {check.name}")
def test_our_broker_is_what_it_was(address: Address, check: Check) -> None:
    target = Target(*address)
    (result,) = run([check], target, offered=frozenset({RESTARTS}))
    target.close()
    if result.status is Status.NOT_SERVED:
        pytest.skip(f"not served yet: {result.detail}")
    assert result.status is Status.PASSED, f"{result.detail}\n{result.exchanges}"


def test_a_broker_that_forgets_is_found_out() -> None:
    system = Pykbroker()
    in_memory = system.start(Fleet())
    try:
        checks = [check for check in ONLY_RESTARTS if check.id == "X-03a"]
        target = Target(*in_memory)
        (result,) = run(checks, target, offered=frozenset({RESTARTS}))
        target.close()
    finally:
        system.stop()
    assert result.status is Status.FAILED


def test_whatever_disturbs_others_is_done_alone() -> None:
    disturbing = [check for check in all_checks() if check.wants & {RESTARTS, NEW_CLUSTER}]
    assert disturbing
    assert [check.id for check in disturbing if not check.alone] == []


def test_restarts_join_a_start_that_fits_and_a_new_cluster_is_nobody_elses() -> None:
    checks = [check for check in all_checks() if check.wants <= {RESTARTS, NEW_CLUSTER, "three brokers"} and check.wants]
    found = fleets(checks)
    assert sorted((one.nodes, one.restarts) for one in found if not one.new) == [(1, True), (3, True)]
    assert {len(one.checks) for one in found if one.new} == {1}
    assert all(check.wants <= one.offers for one in found for check in one.checks)


def test_a_switch_that_fails_says_how() -> None:
    failing = Command(f"{sys.executable} -c 'import sys; sys.exit(sys.argv[1:])'")
    with pytest.raises(Unexpected, match=r"stop 3.*exit code 0.*\['stop', '3'\]"):
        failing.stop(3)
