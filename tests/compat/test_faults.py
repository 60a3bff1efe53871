"""The faults that try the conformance suite still fit the functions that they break, break nothing beyond their time, and are of every API that we serve."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from compat.faults.catalogue import FAULTS
from compat.faults.fault import Fault
from pykbroker.apis import served_names
from pykbroker.coordinator.classic_group import ClassicGroup
from pykbroker.protocol.apis import API_BY_KEY


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_fits(fault: Fault) -> None:
    with fault.injected():
        pass


def test_it_is_in_only_within() -> None:
    fault = next(one for one in FAULTS if one.function == "ClassicGroup.select_protocol")
    whole = ClassicGroup.select_protocol.__code__
    with fault.injected():
        assert ClassicGroup.select_protocol.__code__ is not whole
    assert ClassicGroup.select_protocol.__code__ is whole


def test_there_are_sixty() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) == 60


def test_every_api_that_is_served_has_one() -> None:
    assert {fault.api for fault in FAULTS} == {API_BY_KEY[key].name for key in served_names()}
