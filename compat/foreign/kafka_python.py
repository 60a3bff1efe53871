"""kafka-python's own integration tests, from its source distribution, told by KAFKA_URI to use a broker that is running."""

import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial

from compat.foreign.outcome import CACHE, FAILED, PASSED, SKIPPED, Missing, Outcome, Suite, fetched

VERSIONS = ("3.0.12", "2.2.21")
TESTED_AS = "4.3.0"
TEST_TIMEOUT_S = 90
SERVICE = '''"""What the fixtures use of a broker that somebody else started: nothing."""


class ExternalService:
    def __init__(self, host, port):
        self.address = (host, port)

    def open(self):
        pass

    def stop(self):
        pass

    def dump_logs(self):
        pass


class SpawnedService:
    def __init__(self, *_):
        raise RuntimeError("KAFKA_URI says which broker to use; none is started")
'''
TOOLS = [
    "pytest==8.4.2", "pytest-mock==3.15.1", "pytest-timeout==2.4.0", "pytest-rerunfailures==16.1", "py==1.11.0", "python-snappy==0.7.3", "lz4==4.4.5",
    "zstandard==0.25.0", "crc32c==2.9.post0",
]  # fmt: skip


def prepare(version: str) -> None:
    """The source, and a Python with what its tests need."""
    _source(version)
    python = _python(version)
    stamp = python.parent / "ready"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", *TOOLS], check=False)
        if done.returncode:
            raise Missing("pytest and the codecs cannot be installed")
        stamp.touch()


def run(version: str, bootstrap: str, words: list[str], tell: Callable[[Outcome], None]) -> list[Outcome]:
    """All of test/integration; what failed is tried once more."""
    source = _source(version)
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        command = [
            _python(version), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test/integration", f"--junitxml={report}",
            f"--timeout={TEST_TIMEOUT_S}", "--reruns=1", "-o", "addopts=", *(["-k", " or ".join(words)] if words else []),
        ]  # fmt: skip
        environment = {
            "PATH": str(_python(version).parent),
            "KAFKA_URI": f"kafka://{bootstrap}",
            "KAFKA_VERSION": TESTED_AS,
            "PYTHONPATH": ".",
            "KAFKA_ROOT": str(source),
        }
        done = subprocess.run(command, cwd=source, env=environment, check=False, capture_output=True, text=True)
        if not report.exists():
            raise Missing(f"pytest does not run: {(done.stdout + done.stderr)[-800:]}")
        outcomes = [_outcome(case) for case in ET.parse(report).iter("testcase")]
    for outcome in outcomes:
        tell(outcome)
    return outcomes


def _outcome(case: ET.Element) -> Outcome:
    name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
    seconds = float(case.get("time", "0"))
    for kind, status in (("failure", FAILED), ("error", FAILED), ("skipped", SKIPPED)):
        found = case.find(kind)
        if found is not None:
            return Outcome(name, status, seconds, " ".join((found.get("message") or found.text or "").split())[:300])
    return Outcome(name, PASSED, seconds)


def _source(version: str) -> pathlib.Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", f"kafka-python=={version}"]
    source = fetched(command, CACHE / f"kafka-python-{version}", ".tar.gz")
    # Two files that the distribution leaves out. Without the first, `test` is Python's own; the second is asked for a broker that runs already.
    (source / "test" / "__init__.py").touch()
    (source / "test" / "service.py").write_text(SERVICE)
    return source


def _python(version: str) -> pathlib.Path:
    return CACHE / f"kafka-python-{version}-venv" / "bin" / "python"


SUITES = [Suite(f"kafka-python {version}", partial(prepare, version), partial(run, version)) for version in VERSIONS]
