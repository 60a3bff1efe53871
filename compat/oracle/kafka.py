"""Apache Kafka itself, as the judge: installed from its Maven artifacts, run on loopback with no container.

    python compat/oracle/kafka.py install                       fetch the jars (about 130 MB) into the cache
    python compat/oracle/kafka.py start NAME --port 20100       one node, plaintext, ready in about 4 s; always a new data directory
    python compat/oracle/kafka.py stop NAME
    python compat/oracle/kafka.py tool CLASS ARGUMENT...        one of Kafka's command-line tools, such as TopicCommand

Needs Java 17 or newer and Maven; `missing()` says what is not there. The cache is $KAFKA_ORACLE_HOME, or ~/.cache/kafka-oracle/VERSION.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

VERSION = os.environ.get("KAFKA_ORACLE_VERSION", "4.3.0")
HOME = pathlib.Path(os.environ.get("KAFKA_ORACLE_HOME", f"~/.cache/kafka-oracle/{VERSION}")).expanduser()
CLUSTER_ID = "cHlrYnJva2VyLW9yYWNsZQ"
START_TIMEOUT_S = 60

TOOL_PACKAGES = {
    "ConsumerGroupCommand": "org.apache.kafka.tools.consumer.group",
    "ConsoleConsumer": "org.apache.kafka.tools.consumer",
    "ConfigCommand": "kafka.admin",
}
"""Tools that are not in org.apache.kafka.tools itself."""

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>oracle</groupId><artifactId>oracle</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{dependencies}</dependencies></project>
"""

LOG4J = """<Configuration status="warn">
<Appenders><Console name="console"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="console"/></Root></Loggers>
</Configuration>
"""


def missing() -> str | None:
    """What keeps Kafka from running here, in a sentence; None where nothing does."""
    if shutil.which("java") is None:
        return "there is no java on this machine"
    shown = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', shown)
    if found is None or int(found[1]) < 17:
        return f"java is older than 17 ({shown.splitlines()[0] if shown else 'no version'})"
    if not jars_are_here() and shutil.which("mvn") is None:
        return "Kafka is not in the cache, and there is no mvn to fetch it"
    return None


def jars_are_here() -> bool:
    return (HOME / "lib" / f"kafka_2.13-{VERSION}.jar").exists()


def install() -> pathlib.Path:
    """The folder with the jars, filled on the first call."""
    if not jars_are_here():
        HOME.mkdir(parents=True, exist_ok=True)
        wanted = [("org.apache.kafka", part, VERSION) for part in ("kafka_2.13", "kafka-tools", "kafka-clients")]
        wanted.append(("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"))
        row = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
        (HOME / "pom.xml").write_text(POM.format(dependencies="".join(row.format(*one) for one in wanted)))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"]
        subprocess.run(command, cwd=HOME, check=True)
    if not (HOME / "log4j2.xml").exists():
        (HOME / "log4j2.xml").write_text(LOG4J)
    return HOME / "lib"


def java(*arguments: object, heap: str = "512m") -> list[str]:
    """The command that runs a class of Kafka's."""
    lib = install()
    options = [f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseG1GC", "-cp", f"{lib}/*", f"-Dlog4j2.configurationFile={HOME}/log4j2.xml"]
    return ["java", *options, *map(str, arguments)]


def tool(name: str, *arguments: object) -> list[str]:
    """The command that runs one of Kafka's command-line tools."""
    return java(name if "." in name else f"{TOOL_PACKAGES.get(name, 'org.apache.kafka.tools')}.{name}", *arguments, heap="256m")


def start(name: str, port: int, settings: dict[str, str] | None = None) -> str:
    """Start one node with an empty data directory; its bootstrap address."""
    folder = HOME / "pykbroker" / name
    stop(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    properties = folder / "server.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in _properties(port, folder, settings or {}).items()))
    with (folder / "format.log").open("wb") as log:
        subprocess.run(java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", properties), check=True, stdout=log, stderr=log)
    return _run(folder, port)


def restart(name: str, port: int) -> str:
    """Start it again on the data that it has."""
    stop(name)
    return _run(HOME / "pykbroker" / name, port)


def _run(folder: pathlib.Path, port: int) -> str:
    with (folder / "kafka.log").open("ab") as log:
        command = java("kafka.Kafka", folder / "server.properties")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (folder / "pid").write_text(str(process.pid))
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"Kafka did not start; see {folder}/kafka.log") from None
            time.sleep(0.1)
        else:
            return f"127.0.0.1:{port}"


def _properties(port: int, folder: pathlib.Path, settings: dict[str, str]) -> dict[str, str]:
    """One node that is broker and controller, with the small internal topics that we have too."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{port + 1}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        **settings,
    }


def stop(name: str, first: int = signal.SIGTERM) -> None:
    """SIGTERM, and SIGKILL after 20 s; harmless where it does not run."""
    file = HOME / "pykbroker" / name / "pid"
    if not file.exists():
        return
    pid = int(file.read_text())
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if b"kafka.Kafka" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, first)
            for _ in range(200):
                if not pathlib.Path(f"/proc/{pid}").exists() or ") Z " in pathlib.Path(f"/proc/{pid}/stat").read_text():
                    break
                time.sleep(0.1)
            else:
                os.kill(pid, signal.SIGKILL)
    file.unlink()


def main() -> None:
    if sys.argv[1:2] == ["tool"]:
        command = tool(*sys.argv[2:])
        os.execvp(command[0], command)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["install", "start", "restart", "stop"])
    parser.add_argument("name", nargs="?", default="oracle")
    parser.add_argument("--port", type=int, default=20100)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    problem = missing()
    if problem:
        raise SystemExit(f"Apache Kafka cannot run here: {problem}.")
    match arguments.verb:
        case "install":
            print(install())
        case "start":
            print(start(arguments.name, arguments.port, dict(pair.split("=", 1) for pair in arguments.set)))
        case "restart":
            print(restart(arguments.name, arguments.port))
        case "stop":
            stop(arguments.name)


if __name__ == "__main__":
    main()
