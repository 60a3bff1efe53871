"""The stock clients, and how each is made ready to run here: its pinned version, or its newest."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from targets import HERE, Missing, oracle

CACHE = pathlib.Path(os.environ.get("PYKBROKER_COMPAT_CACHE", "~/.cache/pykbroker-compat")).expanduser()
CODECS = ["python-snappy==0.7.3", "lz4==4.4.5", "zstandard==0.25.0", "cramjam==2.11.0", "crc32c==2.9.post0"]
LIBRDKAFKA_WHEEL = "confluent-kafka"


@dataclass(frozen=True)
class Ready:
    """A client that can run here."""

    version: str
    command: list[str]
    """`--bootstrap HOST:PORT` is added to it."""


@dataclass(frozen=True)
class Client:
    """A client under its name in the table."""

    name: str
    prepare: Callable[[bool], Ready]
    """Given whether the newest release is wanted. Raises Missing."""


def python_client(folder: str, package: str, pinned: str, extras: list[str], newest: bool) -> Ready:
    """The client's script, run by a Python with just its packages."""
    python = in_venv(
        f"{package}-newest" if newest else f"{package}-{pinned}", newest, package if newest else f"{package}=={pinned}", *extras
    )
    return Ready(version_in(python, package), [python, script_of(folder)])


def in_venv(name: str, newest: bool, *packages: str) -> str:
    """A Python with these packages; made once, and brought up to date where the newest are wanted."""
    python = CACHE / name / "bin" / "python"
    stamp = CACHE / name / "packages"
    if newest or not stamp.exists() or stamp.read_text() != " ".join(packages):
        if not python.exists() or not newest:
            subprocess.run([sys.executable, "-m", "venv", "--clear", CACHE / name], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", "--upgrade", *packages], check=False, stdout=sys.stderr).returncode:
            raise Missing(f"{packages[0]} cannot be installed")
        stamp.write_text(" ".join(packages))
    return str(python)


def version_in(python: str, package: str) -> str:
    program = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def script_of(folder: str) -> str:
    return str(HERE / folder / "scenarios.py")


def from_debian(*packages: str) -> None:
    """Install them where there is a Debian and one may; whoever needs them finds out whether they are there."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "-qq", *packages], check=False, stdout=sys.stderr)


def kcat(newest: bool) -> Ready:
    """Debian's kcat. It is the last release that there is of kcat itself; the newest one is that with the newest librdkafka."""
    if shutil.which("kcat") is None:
        from_debian("kcat")
    if shutil.which("kcat") is None:
        raise Missing("kcat is not installed (Debian has it: apt-get install kcat)")
    return Ready(kcat_version({}), [sys.executable, script_of("kcat")])


def kcat_with_newer_library(newest: bool) -> Ready:
    """kcat with the librdkafka that confluent-kafka's wheel carries: kcat's own source is in no package registry."""
    kcat(newest)
    pinned = [LIBRDKAFKA_WHEEL if newest else f"{LIBRDKAFKA_WHEEL}==2.16.1"]
    python = pathlib.Path(in_venv("kcat-library-newest" if newest else "kcat-library", newest, *pinned))
    found = list(python.parent.parent.glob("lib/python*/site-packages/confluent_kafka.libs/librdkafka*.so*"))
    if not found:
        raise Missing("the wheel of confluent-kafka has no librdkafka for this machine")
    folder = python.parent.parent / "library"
    folder.mkdir(exist_ok=True)
    (folder / "librdkafka.so.1").unlink(missing_ok=True)
    (folder / "librdkafka.so.1").symlink_to(found[0])
    environment = {"LD_LIBRARY_PATH": str(folder)}
    return Ready(
        kcat_version(environment), ["env", *(f"{key}={value}" for key, value in environment.items()), sys.executable, script_of("kcat")]
    )


def kcat_version(environment: dict[str, str]) -> str:
    """As kcat says it: its own, and that of its library."""
    said = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=False, env=os.environ | environment).stdout
    library = said.partition("librdkafka ")[2].split(" ")[0]
    if not library:
        raise Missing(f"kcat does not start: {said[-300:]}")
    return f"{said.partition('Version ')[2].split(' ')[0]} (librdkafka {library})"


def java_client(release: str, pinned: str, newest: bool) -> Ready:
    """Scenarios.java, compiled against one release of kafka-clients; `release` is the folder of what differs between releases."""
    home = CACHE / "java" / ("newest" if newest and release == "release_4" else pinned)
    jars = java_jars(home, f"[{pinned},)" if home.name == "newest" else pinned)
    version = next(jar.stem.removeprefix("kafka-clients-") for jar in jars.glob("kafka-clients-*.jar"))
    sources = [*sorted((HERE / "java_client").glob("*.java")), *sorted((HERE / "java_client" / release).glob("*.java"))]
    classes = home / "classes"
    newest_source = max(source.stat().st_mtime for source in sources)
    if not (classes / "Scenarios.class").exists() or (classes / "Scenarios.class").stat().st_mtime < newest_source:
        shutil.rmtree(classes, ignore_errors=True)
        compiled = subprocess.run(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", classes, *sources], check=False, stdout=sys.stderr)
        if compiled.returncode:
            raise Missing(f"the scenarios cannot be compiled against kafka-clients {version}")
    options = ["-Xms256m", "-Xmx256m", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={oracle.HOME}/log4j2.xml"]
    return Ready(version, ["java", *options, "-cp", f"{classes}:{jars}/*", "Scenarios"])


def java_jars(home: pathlib.Path, version: str) -> pathlib.Path:
    """The folder of kafka-clients and what it needs; the oracle's own where it is that release."""
    problem = oracle.missing()
    if problem or shutil.which("javac") is None:
        raise Missing(problem or "there is no javac on this machine")
    if version == oracle.VERSION:
        return oracle.install()
    jars = home / "lib"
    if version.startswith("[") or not list(jars.glob("kafka-clients-*.jar")):
        if shutil.which("mvn") is None:
            raise Missing(f"kafka-clients {version} is not in the cache, and there is no mvn to fetch it")
        shutil.rmtree(jars, ignore_errors=True)
        home.mkdir(parents=True, exist_ok=True)
        row = "<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>{}</version></dependency>"
        (home / "pom.xml").write_text(oracle.POM.format(dependencies=row.format(version)))
        fetch = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"]
        if subprocess.run(fetch, cwd=home, check=False, stdout=sys.stderr).returncode:
            raise Missing(f"kafka-clients {version} cannot be fetched")
    return jars


def java_tools(newest: bool) -> Ready:
    problem = oracle.missing()
    if problem:
        raise Missing(problem)
    return Ready(oracle.VERSION, [sys.executable, script_of("java_tools")])


def go(folder: str, module: str, newest: bool) -> Ready:
    """The client's program, built from its pinned modules, or from a copy with the newest."""
    if shutil.which("go") is None:
        raise Missing("Go is not installed (https://go.dev/dl, 1.26 or newer)")
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    source = HERE / folder
    if newest:
        source = CACHE / "go-newest" / folder
        for one in (folder, "go_scenario"):
            shutil.copytree(HERE / one, source.parent / one, dirs_exist_ok=True)
        for update in (["get", f"{module}@latest"], ["mod", "tidy"]):
            if subprocess.run(["go", update[0], "-C", source, *update[1:]], check=False, env=environment, stdout=sys.stderr).returncode:
                raise Missing(f"the newest {module} cannot be had: is the module proxy out of reach, or Go older than it wants?")
    program = CACHE / "go" / (f"{folder}-newest" if newest else folder)
    build = ["go", "build", "-C", source, "-mod=readonly", "-o", program, "."]
    if subprocess.run(build, check=False, env=environment, stdout=sys.stderr).returncode:
        raise Missing(f"{folder} cannot be built: is its Go older than go.mod wants, or the module proxy out of reach?")
    shown = subprocess.run(["go", "list", "-C", source, "-m", "-f", "{{.Version}}", module], capture_output=True, text=True, check=True)
    return Ready(shown.stdout.strip().removeprefix("v"), [str(program)])


def npm(folder: str, package: str, newest: bool, *, to_build_it: tuple[str, ...] = ()) -> Ready:
    """Node with the client's script, beside just the packages of its lock file, or beside its newest release. `to_build_it` are Debian's."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("Node.js and npm are not installed (https://nodejs.org, 20 or newer)")
    home = CACHE / ("node-newest" if newest else "node") / folder
    lock = (HERE / folder / "package-lock.json").read_text()
    stamp = home / "installed"
    if newest or not stamp.exists() or stamp.read_text() != lock:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / folder / name, home)
        install = ["npm", *(["install", f"{package}@latest"] if newest else ["ci"]), "--no-audit", "--no-fund", "--loglevel=error"]
        if to_build_it:
            from_debian(*to_build_it)
        environment = os.environ | {"CKJS_LINKING": "dynamic"}  # a librdkafka that has to be built takes the machine's own libraries
        if subprocess.run(install, cwd=home, check=False, env=environment, stdout=sys.stderr).returncode:
            raise Missing(f"the packages of {folder} cannot be installed")
        stamp.write_text(lock)
    shutil.copy(HERE / "scenario.mjs", home.parent)
    shutil.copy(HERE / folder / "scenarios.mjs", home)
    version = json.loads((home / "node_modules" / package / "package.json").read_text())["version"]
    return Ready(version, [node_beside(home), str(home / "scenarios.mjs")])


def node_beside(home: pathlib.Path) -> str:
    """A client that wants a newer Node.js than most machines have names the npm package `node`, which carries one."""
    own = home / "node_modules" / "node" / "bin" / "node"
    return str(own) if own.exists() else "node"


def cargo(folder: str, crate: str, features: str, newest: bool) -> Ready:
    """The client's program, built from the crates of its lock file, or from a copy with the newest."""
    if shutil.which("cargo") is None or shutil.which("make") is None:
        raise Missing("Rust's cargo (https://rustup.rs) and make are not both installed")
    source = HERE / folder
    target = CACHE / ("rust-newest" if newest else "rust") / "target"
    if newest:
        source = target.parent / folder
        shutil.copytree(HERE / folder, source, dirs_exist_ok=True)
        add = ["add", crate, "--no-default-features", "--features", features]
        for update in (["remove", crate], add, ["update"]):  # `add` leaves the version of a crate that is there as it is
            if subprocess.run(["cargo", *update, "-q"], cwd=source, check=False, stdout=sys.stderr).returncode:
                raise Missing(f"the newest {crate} cannot be had: is crates.io out of reach?")
    build = ["cargo", "build", "-q", "--release", *([] if newest else ["--locked"]), "--target-dir", target]
    if subprocess.run(build, cwd=source, check=False, stdout=sys.stderr).returncode:
        raise Missing(f"{folder} cannot be built: is crates.io out of reach, or a C compiler, or the headers of OpenSSL or zlib?")
    locked = tomllib.loads((source / "Cargo.lock").read_text())["package"]
    return Ready(next(one["version"] for one in locked if one["name"] == crate), [str(target / "release" / "scenarios")])


CLIENTS = [
    Client("confluent-kafka", partial(python_client, "confluent_kafka", "confluent-kafka", "2.16.1", [])),
    Client("kafka-python", partial(python_client, "kafka_python", "kafka-python", "3.0.12", CODECS)),
    Client("kafka-python", lambda _: python_client("kafka_python", "kafka-python", "2.2.21", CODECS, newest=False)),
    Client("aiokafka", partial(python_client, "aiokafka", "aiokafka", "0.14.0", CODECS)),
    Client("kcat (Debian)", kcat),
    Client("kcat (newest)", kcat_with_newer_library),
    Client("Java clients", partial(java_client, "release_4", "4.3.0")),
    Client("Java clients", partial(java_client, "release_2", "2.8.2")),
    Client("Java tools", java_tools),
    Client("franz-go", partial(go, "franz_go", "github.com/twmb/franz-go")),
    Client("sarama", partial(go, "sarama", "github.com/IBM/sarama")),
    Client("kafka-go", partial(go, "kafka_go", "github.com/segmentio/kafka-go")),
    Client("KafkaJS", partial(npm, "kafkajs", "kafkajs")),
    Client("kafka-javascript", partial(npm, "confluent_javascript", "@confluentinc/kafka-javascript", to_build_it=("libzstd-dev",))),
    Client("@platformatic/kafka", partial(npm, "platformatic_kafka", "@platformatic/kafka")),
    Client("rust-rdkafka", partial(cargo, "rust_rdkafka", "rdkafka", "libz,ssl,zstd")),
]
