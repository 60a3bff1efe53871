"""The brokers that clients are tried on: each starts, says what it serves, starts again on its data when a script asks for it, and stops."""

import contextlib
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Protocol

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "oracle"), str(HERE)]

import kafka as oracle  # noqa: E402
from scenario import PARTITIONS, not_served  # noqa: E402

from pykbroker.client import Client  # noqa: E402
from pykbroker.protocol.apis import API_BY_KEY  # noqa: E402
from pykbroker.protocol.messages import ApiVersionsRequest, ApiVersionsResponse  # noqa: E402

STOP_TIMEOUT_S = 20


class Missing(Exception):  # noqa: N818
    """This cannot run here; the message says why."""


class Target(Protocol):
    """A broker under its name in the table."""

    name: str

    def start(self) -> str:
        """The bootstrap address. Raises Missing."""

    def restart(self) -> None:
        """Stop and start, on the same port and data."""

    def stop(self) -> None:
        """Stop, and leave nothing behind."""

    def security(self) -> dict[str, str]:
        """What a script's environment says of its secure listeners."""


class Kafka:
    """Apache Kafka, one node; with secure listeners where openssl can make certificates."""

    name = f"Apache Kafka {oracle.VERSION}"

    def __init__(self, port: int) -> None:
        settings = {"num.partitions": str(PARTITIONS)}
        self._cluster = oracle.Cluster(port, secure=shutil.which("openssl") is not None, settings=settings)
        self._id = f"compat-clients-{port}"

    def start(self) -> str:
        problem = oracle.missing()
        if problem:
            raise Missing(problem)
        return oracle.start_cluster(self._id, self._cluster)

    def restart(self) -> None:
        oracle.restart(self._id, self._cluster.port)

    def stop(self) -> None:
        oracle.stop(self._id)

    def security(self) -> dict[str, str]:
        if not self._cluster.secure:
            return {}
        listeners = {f"COMPAT_{name}": f"127.0.0.1:{self._cluster.port + index}" for index, name in enumerate(self._cluster.listeners)}
        user = oracle.USERS[0]
        authority = str(oracle.folder_of(self._id) / "ca.pem")
        return {**listeners, "COMPAT_CA": authority, "COMPAT_USER": user, "COMPAT_PASSWORD": f"{user}-secret"}


class OurBroker:
    """pykbroker, on a data directory."""

    name = "pykbroker"

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="compat-"))
        return self._run()

    def restart(self) -> None:
        self._end()
        self._run()

    def stop(self) -> None:
        if self._process is None:
            return
        try:
            self._end()
        finally:
            shutil.rmtree(self._folder)

    def security(self) -> dict[str, str]:
        return {}

    def _run(self) -> str:
        command = [sys.executable, "-m", "pykbroker", "serve", "--listen", self._address, "--data-dir", self._folder / "data"]
        command += ["--override", f"num.partitions={PARTITIONS}"]
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("bootstrap.servers="):
                return line.strip().partition("=")[2]
        raise SystemExit(f"pykbroker did not start: {self._said()}")

    def _end(self) -> None:
        assert self._process is not None
        with self._process as process:  # which closes its pipe
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(STOP_TIMEOUT_S)
            finally:
                process.kill()
        if code != 0 or "Traceback" in self._said():
            raise SystemExit(f"pykbroker ended with {code} and said:\n{self._said()[-3000:]}")

    def _said(self) -> str:
        return (self._folder / "log").read_text()


def served(bootstrap: str) -> set[str]:
    """The APIs that the broker announces, and the features that it has finalized, by their names."""
    with Client(bootstrap) as client:
        answer = client.ask(ApiVersionsRequest(client_software_name="compat-clients", client_software_version="1"), ApiVersionsResponse)
    apis = {API_BY_KEY[one.api_key].name for one in answer.api_keys if one.api_key in API_BY_KEY}
    return apis | {one.name for one in answer.finalized_features or [] if one.max_version_level > 0}


@contextlib.contextmanager
def running(target: Target) -> Iterator[tuple[str, dict[str, str]]]:
    """The target, started: its bootstrap address, and what a script's environment says of it."""
    try:
        bootstrap = target.start()
        with _control(target) as control:
            told = {"COMPAT_NOT_SERVED": not_served(served(bootstrap)), "COMPAT_CONTROL": control}
            yield bootstrap, told | target.security()
    finally:
        target.stop()


@contextlib.contextmanager
def _control(target: Target) -> Iterator[str]:
    """Where a script asks for a restart."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_obey, args=(target, listener), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the thread's accept
            thread.join()  # a restart that has begun would leave a broker behind


def _obey(target: Target, listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rw") as lines:
            try:
                if lines.readline() == "restart\n":
                    target.restart()
                    print("restarted", file=lines, flush=True)
            except (OSError, SystemExit) as reason:
                print(f"not restarted: {reason}", file=lines, flush=True)
