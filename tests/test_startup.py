"""Starting and stopping the command: what it prints, how it ends, and that every bad start is one clear sentence."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from pykbroker.client import Client, Unreachable
from pykbroker.protocol.records import NewRecord

COMMAND = [sys.executable, "-m", "pykbroker"]
PLAIN_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}


@contextmanager
def serving(*arguments: str, environment: dict[str, str] | None = None):
    """A broker in a process of its own, and where it is."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**PLAIN_ENVIRONMENT, **(environment or {})},
    )
    try:
        line = next((line for line in process.stdout if line.startswith("bootstrap.servers=")), None)
        assert line is not None, process.stderr.read()
        yield process, line.strip().removeprefix("bootstrap.servers=")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def refused(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """What a start that must fail says."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False, env={**PLAIN_ENVIRONMENT, **(environment or {})}
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "bootstrap.servers" not in done.stdout
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(number, tmp_path) -> None:
    with serving("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path)) as (process, bootstrap):
        with Client(bootstrap, create_missing_topics=True) as client:
            client.produce("kept", 0, [NewRecord(b"a")])
            process.send_signal(number)
            assert process.wait(10) == 0
        assert process.stderr.read() == ""
    assert (tmp_path / ".kafka_cleanshutdown").exists()


def test_what_was_acknowledged_survives_a_stop_and_a_kill(tmp_path) -> None:
    for round_number, number in enumerate([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]):
        with serving("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path)) as (process, bootstrap):
            with Client(bootstrap, create_missing_topics=True) as client:
                assert client.produce("kept", 0, [NewRecord(b"%d" % round_number)]) == round_number
                assert [record.value for record in client.read("kept")] == [b"%d" % each for each in range(round_number + 1)]
            process.send_signal(number)
            process.wait(10)


def test_several_listeners_and_ipv6_serve_the_same_topics() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with serving("--listen", "127.0.0.1:0", "--listen", "[::1]:0") as (_, bootstrap):
        first, second = bootstrap.split(",")
        assert re.fullmatch(r"\[::1\]:\d+", second)
        with Client(first, create_missing_topics=True) as client, Client(second) as other:
            client.produce("shared", 0, [NewRecord(b"a")])
            assert [record.value for record in other.read("shared")] == [b"a"]
            assert set(other.brokers().values()) == {("::1", int(second.rpartition(":")[2]))}


def test_settings_come_from_file_variables_and_overrides(tmp_path) -> None:
    file = tmp_path / "server.properties"
    file.write_text("listeners=PLAINTEXT://127.0.0.1:0\nnum.partitions=2\nlog.retention.hours=1\nauto.create.topics.enable=true\n")
    environment = {"KAFKA_NUM_PARTITIONS": "3", "KAFKA_LOG_RETENTION_HOURS": "2", "KAFKA_HEAP_OPTS": "-Xmx1G", "KAFKA_NOPE": "1"}
    with serving("--config", str(file), "--override", "num.partitions=4", environment=environment) as (process, bootstrap):
        with Client(bootstrap, create_missing_topics=True) as client:
            assert client.partitions("made") == [0, 1, 2, 3]
        process.terminate()
        assert process.stderr.read().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--override", "log.retention.hour=1"], "log.retention.hours"),
        (["--override", "num.partitions=many"], "num.partitions=many"),
        (["--override", "num.partitions"], "--override KEY=VALUE"),
        (["--listen", "9092"], "write HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "--listen 127.0.0.1:99999 is not an address; write HOST:PORT"),
        (["--listen", "203.0.113.7:0"], "no such address"),
        (["--listen", "no-such-host.invalid:0"], "no-such-host.invalid"),
        (["--config", "/no/such/server.properties"], "/no/such/server.properties cannot be read: No such file"),
        (["--listen", "127.0.0.1:0", "--data-dir", "/dev/null/data"], "/dev/null/data cannot be used"),
        (["srve"], "did you mean serve?"),
    ],
)
def test_a_bad_start_is_one_clear_sentence(arguments, sentence) -> None:
    said = refused(*arguments)
    assert sentence in said
    assert said.startswith("pykbroker: ")
    assert said.count("\n") == 1


def test_a_taken_port_and_a_locked_directory_are_named(tmp_path) -> None:
    with serving("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path)) as (_, bootstrap):
        assert f"Cannot listen on {bootstrap}: another process has that port" in refused("--listen", bootstrap)
        assert f"{tmp_path} is in use by another process" in refused("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_named(tmp_path) -> None:
    tmp_path.chmod(0o500)
    assert "may not be written" in refused("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no limit of a file's size here")
def test_a_full_disk_is_named(tmp_path) -> None:
    command = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *COMMAND, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=PLAIN_ENVIRONMENT)
    assert done.returncode == 1
    assert f"data directory {tmp_path} cannot be read, or nothing can be written there: File too large" in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_nodes_directory_is_refused(tmp_path) -> None:
    with serving("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path)) as (process, _):
        process.terminate()
        process.wait(10)
    said = refused("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path), "--override", "node.id=7")
    assert "node.id=7" in said
    assert said.count("\n") == 1
    (tmp_path / "meta.properties").write_text("node.id=1\n")
    assert "meta.properties is damaged: it has no cluster.id" in refused("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path))


def test_what_is_on_the_port_but_no_broker_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(Unreachable, match="does not answer"), Client(f"127.0.0.1:{port}", timeout_ms=100) as client:
            client.brokers()


def test_help_and_version_say_something() -> None:
    for arguments in (["--help"], ["topics", "--help"], ["serve", "--help"], ["--version"]):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True, env=PLAIN_ENVIRONMENT)
        assert "pykbroker" in done.stdout
