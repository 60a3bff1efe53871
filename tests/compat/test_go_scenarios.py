"""The Go clients do the list that all clients share: the same names, in the same order, none left out without a word."""

import importlib.util
import pathlib
import re
import sys

import pytest

CLIENTS = pathlib.Path(__file__).parent.parent.parent / "compat" / "clients"
OF_THE_LIBRARY_ITSELF = ("commit, be killed, resume", "produce ")
"""Scenarios that go_scenario puts together of a client's functions."""


def names() -> tuple[str, ...]:
    spec = importlib.util.spec_from_file_location("clients_scenario", CLIENTS / "scenario.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return tuple(module.NAMES)


def test_the_list_is_that_of_all_clients() -> None:
    source = (CLIENTS / "go_scenario" / "scenario.go").read_text()
    listed = re.search(r"var Names = \[\]string\{(.*?)\n\}", source, re.DOTALL)
    assert listed is not None
    assert tuple(re.findall(r'"(.*?)",\n', listed[1] + "\n")) == names()


@pytest.mark.parametrize("client", ["franz_go", "sarama", "kafka_go"])
def test_a_client_has_every_scenario_or_says_why_not(client: str) -> None:
    source = (CLIENTS / client / "main.go").read_text()
    found = re.findall(r'^\t\t\t"(.*?)": ', source, re.MULTILINE)
    assert found == [name for name in names() if not name.startswith(OF_THE_LIBRARY_ITSELF)]
