"""A run of the judge that is ended from outside still stops what it has started."""

import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import signal
from compat.ending import run_to_its_end

def main():
    try:
        print("started", flush=True)
        while True:
            signal.pause()
    finally:
        print("stopped", flush=True)

run_to_its_end(main)
"""


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_what_was_started_is_stopped(ended_by: signal.Signals) -> None:
    heard = f"signal.signal(signal.{ended_by.name}, signal.{'default_int_handler' if ended_by is signal.SIGINT else 'SIG_DFL'})"
    program = PROGRAM.replace("import signal\n", f"import signal\n{heard}\n", 1)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(ended_by)
        said, told = process.communicate()
    assert said == "stopped\n"
    assert process.returncode == 128 + ended_by
    assert "Traceback" not in told


def test_otherwise_the_result_is_the_exit_code() -> None:
    program = "from compat.ending import run_to_its_end; run_to_its_end(lambda: 3)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 3
