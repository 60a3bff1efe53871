"""The pages of behaviours say what the checks say, and what is not tried is not tried."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pykbroker.compat.check import SECTIONS, all_checks
from pykbroker.compat.untried import UNTRIED

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_semantics_pages", ROOT / "scripts" / "make_semantics_pages.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_pages_of_behaviours_are_fresh(script: ModuleType) -> None:
    there = {path.name: path.read_text("utf-8") for path in script.FOLDER.glob("*.md")}

    assert there == script.pages(), "run: python scripts/make_semantics_pages.py"


def test_every_section_has_a_page() -> None:
    assert {check.section for check in all_checks()} <= set(SECTIONS)


def test_no_number_is_left_out_in_silence(script: ModuleType) -> None:
    """Behaviours are numbered from 1 on: where there is no check of a number, it is told why."""
    told = {script.behaviour(check.id) for check in all_checks()} | {one.id for one in UNTRIED}
    for section in {check.section for check in all_checks()}:
        numbers = {int(one.partition("-")[2]) for one in told if one.partition("-")[0] == section}
        missing = sorted(set(range(1, max(numbers) + 1)) - numbers)
        assert not missing, f"nothing is said of {section} {missing}"
