"""The README's commands and examples do what it says: they are cut out of it and run."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pykbroker.testing import KafkaBroker

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The code block that is marked with a name."""
    found = re.search(rf"<!-- test: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None, f"README.md has no example marked {name}"
    return found[1]


def make(target: str, *arguments: str) -> subprocess.Popen[str]:
    """`make TARGET` in this environment, which is taken as it is: that a new one is made is CI's to show."""
    if shutil.which("make") is None:
        pytest.skip("there is no make on this machine")
    stamps = [f"--old-file={sys.prefix}/{name}.stamp" for name in ("run", "test")]
    command = ["make", "--silent", *stamps, f"VENV={sys.prefix}", target, f"ARGS={' '.join(arguments)}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_the_two_commands_are_on_the_first_screen() -> None:
    assert re.findall(r"^(make \w+)", README[:1200], re.MULTILINE) == ["make run", "make test"]


def test_make_run_serves_until_it_is_stopped() -> None:
    with make("run", "--listen", "127.0.0.1:0") as running:
        assert running.stdout is not None
        line = next(line for line in running.stdout if line.startswith("bootstrap.servers="))
        assert re.fullmatch(r"bootstrap\.servers=127\.0\.0\.1:\d+\n", line)
        os.killpg(running.pid, signal.SIGINT)  # As Ctrl-C does: to make and to what it runs.
        _, complaints = running.communicate(timeout=20)
    assert "Traceback" not in complaints


def test_make_test_runs_pytest() -> None:
    with make("test", "--version") as running:
        said, _ = running.communicate(timeout=60)
    assert said.startswith("pytest ")
    assert running.returncode == 0


def test_the_pytest_example_passes(tmp_path) -> None:
    (tmp_path / "test_example.py").write_text(example("pytest"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", tmp_path], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_client_example_says_hello() -> None:
    with KafkaBroker() as broker:
        assert run(example("client").replace("localhost:9092", broker.bootstrap)) == "hello\n"


def test_the_testing_example_shows_its_records_and_their_end() -> None:
    first, second = run(example("testing")).splitlines()
    assert re.fullmatch(r"127\.0\.0\.1:\d+ \[ConsumedRecord\(topic='orders', .*value=b'two teapots', headers=\(\)\)\]", first)
    assert second == "[]"


def run(code: str) -> str:
    """What the code prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    return printed.getvalue()
