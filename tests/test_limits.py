"""The table of limits in the documentation is the one in the code."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_page_of_limits_is_fresh() -> None:
    specification = importlib.util.spec_from_file_location("make_limits_page", ROOT / "scripts" / "make_limits_page.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)

    assert script.PAGE.read_text("utf-8") == script.page(), "run: python scripts/make_limits_page.py"
