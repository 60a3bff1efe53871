"""Apache Kafka itself, as the judge: installed from its Maven artifacts, run on loopback with no container.

    python compat/oracle/kafka.py install                       fetch the jars (about 130 MB) into the cache
    python compat/oracle/kafka.py start NAME --port 20100       one node, plaintext, ready in about 4 s; always a new data directory
    python compat/oracle/kafka.py start NAME --port 20100 --nodes 3        three brokers, on port, port+1 and port+2
    python compat/oracle/kafka.py start NAME --port 20100 --secure         PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL on port ... port+3
    python compat/oracle/kafka.py start NAME --port 20100 --set log.segment.bytes=1048576 --feature transaction.version=0
    python compat/oracle/kafka.py stop NAME                     `kill NAME` does not let it finish anything
    python compat/oracle/kafka.py tool CLASS ARGUMENT...        one of Kafka's command-line tools, such as TopicCommand

Secure nodes authorize (StandardAuthorizer); super users are `admin` and whoever comes through PLAINTEXT, `alice` may do what ACLs allow. Passwords are
the names with `-secret`, by PLAIN and by SCRAM. Beside their data lie `ca.pem`, whom clients trust; `client.pem`, the key and certificate of `CN=client`;
and for each user and listener the file of a client's settings, such as `alice-sasl_ssl.properties`, as `--command-config` takes it.

Needs Java 17 or newer and Maven (and openssl for `--secure`); `missing()` says what is not there. The cache is $KAFKA_ORACLE_HOME, or
~/.cache/kafka-oracle/VERSION. Ports belong between 20000 and 32000, where the kernel gives none to clients.
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
from dataclasses import dataclass, field

VERSION = os.environ.get("KAFKA_ORACLE_VERSION", "4.3.0")
HOME = pathlib.Path(os.environ.get("KAFKA_ORACLE_HOME", f"~/.cache/kafka-oracle/{VERSION}")).expanduser()
CLUSTER_ID = "cHlrYnJva2VyLW9yYWNsZQ"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
SOCKETS_CLOSE_S = 5
"""A process that was killed is gone a moment before its sockets are."""
SECURE_LISTENERS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
USERS = ("admin", "alice")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

TOOL_PACKAGES = {
    "ConsumerGroupCommand": "org.apache.kafka.tools.consumer.group",
    "ShareGroupCommand": "org.apache.kafka.tools.consumer.group",
    "StreamsGroupCommand": "org.apache.kafka.tools.streams",
    "ConsoleConsumer": "org.apache.kafka.tools.consumer",
    "ConsoleShareConsumer": "org.apache.kafka.tools.consumer",
    "ReassignPartitionsCommand": "org.apache.kafka.tools.reassign",
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


@dataclass(frozen=True)
class Cluster:
    """How a cluster is to be: `settings` are added to each node's properties, `{node}` being its number; `features` are levels other than a new
    cluster has.
    """

    port: int
    nodes: int = 1
    secure: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)
    heap: str = "512m"
    short_lived: bool = False
    """Whether it is up soon rather than fast later: the JVM compiles in haste."""

    @property
    def listeners(self) -> tuple[str, ...]:
        return SECURE_LISTENERS if self.secure else SECURE_LISTENERS[:1]

    def port_of(self, node: int) -> int:
        """Where the first listener of a node is; nodes are counted from 1."""
        return self.port + (node - 1) * len(self.listeners)

    def controller_port_of(self, node: int) -> int:
        return self.port_of(self.nodes + 1) + node - 1

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{self.port_of(node)}" for node in range(1, self.nodes + 1))


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


def java(*arguments: object, heap: str = "512m", short_lived: bool = False) -> list[str]:
    """The command that runs a class of Kafka's."""
    lib = install()
    options = [f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseG1GC", "-cp", f"{lib}/*", f"-Dlog4j2.configurationFile={HOME}/log4j2.xml"]
    if short_lived:
        options.append("-XX:TieredStopAtLevel=1")
    return ["java", *options, *map(str, arguments)]


def tool(name: str, *arguments: object) -> list[str]:
    """The command that runs one of Kafka's command-line tools."""
    return java(
        name if "." in name else f"{TOOL_PACKAGES.get(name, 'org.apache.kafka.tools')}.{name}", *arguments, heap="256m", short_lived=True
    )


def start(name: str, port: int, settings: dict[str, str] | None = None) -> str:
    """Start one node with an empty data directory; its bootstrap address."""
    return start_cluster(name, Cluster(port, settings=settings or {}))


def start_cluster(name: str, cluster: Cluster) -> str:
    """Start every node with an empty data directory; the bootstrap addresses."""
    folder = folder_of(name)
    stop(name, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if cluster.secure:
        _make_certificates(folder)
        _write_client_files(folder, cluster)
    for node in range(1, cluster.nodes + 1):
        properties = folder / f"{node}.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in _properties(node, cluster, folder).items()))
        command = java(
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
            properties,
            *_format_options(cluster),
            heap="256m",
            short_lived=True,
        )
        with (folder / "format.log").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    _run(folder, {node: cluster.port_of(node) for node in range(1, cluster.nodes + 1)}, cluster.heap, short_lived=cluster.short_lived)
    return cluster.bootstrap


def restart(name: str, port: int) -> str:
    """Start one node again on the data that it has."""
    stop(name)
    start_node(name, 1, port)
    return f"127.0.0.1:{port}"


def start_node(name: str, node: int, port: int, *, short_lived: bool = False) -> None:
    """Start a node again that was stopped, on the data that it has; it listens at that port."""
    _run(folder_of(name), {node: port}, short_lived=short_lived)


def folder_of(name: str) -> pathlib.Path:
    """Where a cluster has its files: `1.properties`, `1.log`, `data-1`, …"""
    return HOME / "pykbroker" / name


def _format_options(cluster: Cluster) -> list[str]:
    options = [word for feature, level in cluster.features.items() for word in ("--feature", f"{feature}={level}")]
    if cluster.secure:
        for user in USERS:
            for mechanism in MECHANISMS[1:]:
                options += ["--add-scram", f"{mechanism}=[name={user},password={user}-secret]"]
    return options


def _run(folder: pathlib.Path, ports: dict[int, int], heap: str = "512m", *, short_lived: bool = False) -> None:
    deadline = time.monotonic() + SOCKETS_CLOSE_S
    while (taken := [str(port) for port in ports.values() if _listens(port)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    if taken:
        raise SystemExit(f"Kafka is not started: somebody listens already at port {' and '.join(taken)}")
    processes = {}
    for node in ports:
        with (folder / f"{node}.log").open("ab") as log:
            command = java("kafka.Kafka", folder / f"{node}.properties", heap=heap, short_lived=short_lived)
            processes[node] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        (folder / f"{node}.pid").write_text(str(processes[node].pid))
    deadline = time.monotonic() + START_TIMEOUT_S
    for node, process in processes.items():
        while not _listens(ports[node]):
            if process.poll() is not None or time.monotonic() > deadline:
                stop(folder.name, signal.SIGKILL)
                raise SystemExit(f"Kafka did not start; see {folder}/{node}.log")
            time.sleep(0.1)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    return False


def _properties(node: int, cluster: Cluster, folder: pathlib.Path) -> dict[str, str]:
    """A node that is broker and controller, with the small internal topics that we have too."""
    listeners = ",".join(f"{listener}://127.0.0.1:{cluster.port_of(node) + index}" for index, listener in enumerate(cluster.listeners))
    replicas = str(min(cluster.nodes, 3))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": ",".join(f"{one}@127.0.0.1:{cluster.controller_port_of(one)}" for one in range(1, cluster.nodes + 1)),
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{cluster.controller_port_of(node)}",
        "advertised.listeners": listeners,
        "listener.security.protocol.map": ",".join(["CONTROLLER:PLAINTEXT", *(f"{one}:{one}" for one in SECURE_LISTENERS)]),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(folder / f"data-{node}"),
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        **(_secure_properties(folder) if cluster.secure else {}),
        **{key: value.replace("{node}", str(node)) for key, value in cluster.settings.items()},
    }


def _secure_properties(folder: pathlib.Path) -> dict[str, str]:
    plain = " ".join(f'user_{user}="{user}-secret"' for user in USERS)
    module = "org.apache.kafka.common.security"
    found = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "ssl.client.auth": "requested",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",
        "delegation.token.secret.key": "a-secret-of-the-oracle",
    }
    for listener in ("sasl_plaintext", "sasl_ssl"):
        found[f"listener.name.{listener}.plain.sasl.jaas.config"] = f"{module}.plain.PlainLoginModule required {plain};"
        for mechanism in MECHANISMS[1:]:
            found[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = f"{module}.scram.ScramLoginModule required;"
    return found


def _make_certificates(folder: pathlib.Path) -> None:
    """An authority of its own, and what it signed: `broker.pem` for 127.0.0.1, `client.pem` for CN=client."""
    if shutil.which("openssl") is None:
        raise SystemExit("A secure Kafka needs certificates, and there is no openssl on this machine to make them.")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    new_key = ("req", "-newkey", "rsa:2048", "-nodes")
    _openssl(folder, *new_key, "-x509", "-days", "3650", "-subj", "/CN=oracle-authority", "-keyout", "ca.key", "-out", "ca.pem")
    for who, subject in (("broker", "/CN=localhost"), ("client", "/CN=client")):
        _openssl(folder, *new_key, "-subj", subject, "-keyout", f"{who}.key", "-out", f"{who}.request")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650", "-extfile", "names")
        _openssl(folder, "x509", "-req", "-in", f"{who}.request", *signing, "-out", f"{who}.certificate")
        parts = (f"{who}.key", f"{who}.certificate", "ca.pem")
        (folder / f"{who}.pem").write_text("".join((folder / part).read_text() for part in parts))


def _openssl(folder: pathlib.Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _write_client_files(folder: pathlib.Path, cluster: Cluster) -> None:
    """What a client is configured with to come as a user, or by its certificate, through a listener."""
    trust = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(folder / "ca.pem")}
    keys = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(folder / "client.pem")}
    files = {"client-ssl": {"security.protocol": "SSL", **trust, **keys}}
    for listener in cluster.listeners[2:]:
        for user in USERS:
            login = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="{user}" password="{user}-secret";'
            sasl = {"security.protocol": listener, "sasl.mechanism": "PLAIN", "sasl.jaas.config": login}
            files[f"{user}-{listener.lower()}"] = sasl | (trust | keys if listener == "SASL_SSL" else {})
    for name, settings in files.items():
        (folder / f"{name}.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))


def stop(name: str, first: int = signal.SIGTERM) -> None:
    """SIGTERM to every node, and SIGKILL after 20 s; harmless where none runs."""
    _stop(list(folder_of(name).glob("*.pid")), first)


def stop_node(name: str, node: int, first: int = signal.SIGTERM) -> None:
    """The same to one node; it can be started again."""
    _stop(list(folder_of(name).glob(f"{node}.pid")), first)


def _stop(files: list[pathlib.Path], first: int) -> None:
    running = [pid for pid in (int(file.read_text()) for file in files) if _is_kafka(pid)]
    for pid in running:
        os.kill(pid, first)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while running := [pid for pid in running if _is_kafka(pid)]:
        if time.monotonic() > deadline:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for file in files:
        file.unlink()


def _is_kafka(pid: int) -> bool:
    """Whether that process is one of Kafka's, and no zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        process = pathlib.Path(f"/proc/{pid}")
        return b"kafka.Kafka" in (process / "cmdline").read_bytes() and ") Z " not in (process / "stat").read_text()
    return False


def main() -> None:
    if sys.argv[1:2] == ["tool"]:
        command = tool(*sys.argv[2:])
        os.execvp(command[0], command)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["install", "start", "restart", "stop", "kill"])
    parser.add_argument("name", nargs="?", default="oracle")
    parser.add_argument("--port", type=int, default=20100)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--secure", action="store_true")
    parser.add_argument("--heap", default="512m")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--feature", action="append", default=[], metavar="NAME=LEVEL")
    arguments = parser.parse_args()
    problem = missing()
    if problem:
        raise SystemExit(f"Apache Kafka cannot run here: {problem}.")
    match arguments.verb:
        case "install":
            print(install())
        case "start":
            settings, features = (dict(pair.split("=", 1) for pair in pairs) for pairs in (arguments.set, arguments.feature))
            cluster = Cluster(arguments.port, arguments.nodes, arguments.secure, settings, features, arguments.heap)
            print(start_cluster(arguments.name, cluster))
        case "restart":
            print(restart(arguments.name, arguments.port))
        case "stop":
            stop(arguments.name)
        case "kill":
            stop(arguments.name, signal.SIGKILL)


if __name__ == "__main__":
    main()
