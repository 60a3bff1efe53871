"""The house stays clean: what STYLE asks of the tree is counted here."""

import ast
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def is_behind_a_link(path: pathlib.Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents)


SOURCES = sorted(
    path
    for folder in ("protocol", "storage", "pykbroker", "compat", "bench", "scripts", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if not is_behind_a_link(path)
)
SHIPPED = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in {"protocol", "storage", "pykbroker"}]

MOST_LINES_IN_A_FILE = 600
MOST_LINES_IN_A_FUNCTION = 70
FORBIDDEN_NAMES = re.compile(r"(^|_)(util|utils|helper|helpers|common|manager|misc)($|_)")


def name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_look_at() -> None:
    assert len(SHIPPED) > 50


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_is_short_and_says_its_law(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_IN_A_FILE
    tree = ast.parse(text)
    assert ast.get_docstring(tree) or not tree.body, "the first thing in a file is its law"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MOST_LINES_IN_A_FUNCTION, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_names_mean_something_and_nothing_is_left_to_do(path: pathlib.Path) -> None:
    assert not FORBIDDEN_NAMES.search(path.stem)
    words = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
    assert not words.search(path.read_text(encoding="utf-8"))


def test_every_api_module_states_its_contract() -> None:
    for path in (ROOT / "pykbroker" / "apis").glob("*.py"):
        if path.name == "__init__.py":
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for heading in ("Versions", "Authorizes", "Semantics"):
            assert re.search(rf"^{heading}\b", docstring, re.MULTILINE), f"{path.name} does not say: {heading}"


def test_the_links_are_links() -> None:
    for link, target in (("protocol", "../protocol"), ("storage", "../storage"), ("compat", "../compat/conformance")):
        path = ROOT / "pykbroker" / link
        assert path.is_symlink()
        assert str(path.readlink()) == target


def test_the_wheel_holds_the_tree_and_nothing_else(tmp_path: pathlib.Path) -> None:
    # from a copy: setuptools would ship what an earlier build left behind, and builds at the same time would be in each other's way
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(tree),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {entry for entry in archive.namelist() if ".dist-info/" not in entry}
    places = {
        "protocol": "pykbroker/protocol",
        "storage": "pykbroker/storage",
        "compat/conformance": "pykbroker/compat",
        "pykbroker": "pykbroker",
    }
    suffixes = {".py", ".pyi", ".kmsg", ".tsv", ".typed"}
    wanted = {
        f"{place}/{path.relative_to(ROOT / folder)}"
        for folder, place in places.items()
        for path in (ROOT / folder).rglob("*")
        if (path.suffix in suffixes or path.name == "py.typed") and path.is_file() and not is_behind_a_link(path)
    }
    assert held == wanted
