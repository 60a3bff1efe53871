"""`pykbroker serve`: a broker that says where it listens as soon as it can be used, and stops cleanly when it is asked to.

Every bad start (an unknown setting, a wrong value, a taken port, a directory that cannot be used) is one sentence and exit code 1.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pykbroker.apis import served, served_names
from pykbroker.config import ConfigError, Configuration
from pykbroker.config.properties import Settings, merged_settings
from pykbroker.listeners import LARGEST_PORT
from pykbroker.protocol.errors import KafkaError
from pykbroker.server.listening import ListenError
from pykbroker.server.running import RunningBroker, StartError, open_data_directory
from pykbroker.storage.checkpoints import CheckpointDamaged

if TYPE_CHECKING:
    from pykbroker.storage.files import Files

DEFAULT_LISTENERS = "PLAINTEXT://localhost:9092"
"""Kafka's own default is every address of the machine; without passwords, a broker is first of all for this machine."""

_WANTED_OPEN_FILES = 65_536


def run(words: Sequence[str]) -> int:
    """Serve until a signal comes; the exit code."""
    options = _parser().parse_args(words)
    logging.basicConfig(stream=sys.stderr, level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    _may_open_many_files()
    try:
        settings, configuration, files = _prepare(options)
        for warning in settings.warnings:
            print(f"pykbroker: {warning}", file=sys.stderr)
        with asyncio.Runner(loop_factory=_event_loop()) as runner:
            runner.run(_serve(configuration, files, options.data_dir))
    except (ConfigError, StartError, ListenError, CheckpointDamaged) as error:
        print(f"pykbroker: {error.strerror if isinstance(error, ListenError) else error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pykbroker serve", description="Run a broker.")
    parser.add_argument(
        "--listen", action="append", metavar="HOST:PORT", help="where to listen; may be repeated; port 0 is a free one (localhost:9092)"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="keep everything in this directory; without it, in memory, and gone at the end")
    parser.add_argument("--config", metavar="FILE", help="a server.properties as Kafka has it")
    parser.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="one setting, before file and KAFKA_* variables"
    )
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"], help="what to log (warning)")
    return parser


def _may_open_many_files() -> None:
    """A socket for each client and a file for each busy log: what the system lets a process open is raised as far as it allows, within reason."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prepare(options: argparse.Namespace) -> "tuple[Settings, Configuration, Files]":
    """Everything that can be refused before a loop runs. Raises ConfigError, StartError."""
    text = ""
    if options.config is not None:
        try:
            text = Path(options.config).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise StartError(f"The file {options.config} cannot be read: {reason}.") from None
    settings = merged_settings(text=text, file_name=options.config or "", environment=os.environ, overrides=options.override)
    _put_listeners(settings, options.listen or [])
    if options.data_dir is None:
        options.data_dir = _given_log_directory(settings)
    if options.data_dir is not None:
        if not options.data_dir.strip():
            raise StartError("--data-dir is empty; write the directory that is to keep the data, or leave it out to keep none.")
        options.data_dir = str(Path(options.data_dir).absolute())
        settings.put("log.dirs", options.data_dir, "--data-dir")
    configuration = Configuration(settings.values, origins=settings.origins)
    return settings, configuration, _files(options.data_dir)


def _put_listeners(settings: Settings, addresses: Sequence[str]) -> None:
    """--listen stands in for `listeners`; every address beyond the first has a listener name of its own."""
    if not addresses:
        if "listeners" not in settings.values:
            settings.put("listeners", DEFAULT_LISTENERS, "the default")
        return
    names = ["PLAINTEXT" if number == 1 else f"PLAINTEXT{number}" for number in range(1, len(addresses) + 1)]
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > LARGEST_PORT or (":" in host and not host.startswith("[")):
            raise ConfigError(f"--listen {address} is not an address; write HOST:PORT, for instance 127.0.0.1:9092 or [::1]:9092.")
    settings.put("listeners", ",".join(f"{name}://{address}" for name, address in zip(names, addresses, strict=True)), "--listen")
    settings.put("listener.security.protocol.map", ",".join(f"{name}:PLAINTEXT" for name in names), "--listen")
    settings.values.pop("inter.broker.listener.name", None)


def _given_log_directory(settings: Settings) -> str | None:
    """`log.dirs`, where a file or an override has it, is a data directory too."""
    given = settings.values.get("log.dirs") or settings.values.get("log.dir")
    if given is not None and "," in given:
        raise ConfigError(f"log.dirs={given} names several directories; only one is served: choose one with --data-dir.")
    return given


def _files(data_directory: str | None) -> "Files":
    if data_directory is not None:
        return open_data_directory(data_directory)
    from pykbroker.storage.memory_files import MemoryFiles

    return MemoryFiles()


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """What uvloop makes, where it is installed; else asyncio's loop on sockets (not Windows' other one, which knows no signals either)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_loop


async def _serve(configuration: Configuration, files: "Files", data_directory: str | None) -> None:
    stop = asyncio.Event()
    _call_on_signal(stop.set)
    try:
        broker = RunningBroker(configuration, files)
        await broker.start()
    except BaseException as error:
        files.close()
        if isinstance(error, (OSError, KafkaError)) and not isinstance(error, ListenError):
            raise StartError(_why_unusable(data_directory, error)) from error
        raise
    _announce(configuration, broker.bootstrap, data_directory)
    await _load_the_rest()
    gc.collect()
    gc.freeze()  # What is here now stays; the collector need not walk it again and again.
    await stop.wait()
    await broker.stop()


def _why_unusable(data_directory: str | None, error: OSError | KafkaError) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    file_name = getattr(error, "filename", None)
    where = f" ({file_name})" if file_name else ""
    return f"What is in the data directory {data_directory} cannot be read, or nothing can be written there: {reason}{where}."


async def _load_the_rest() -> None:
    """The APIs that nobody has asked for yet: requests come first, but not much later nobody has to wait for a file to be read and compiled.

    From then on it does not matter what happens to the files: a broker that is upgraded under way goes on as it began.
    """
    for api_key in served_names():
        served(api_key)
        await asyncio.sleep(0)


def _call_on_signal(stop: Callable[[], None]) -> None:
    """A first SIGTERM or SIGINT stops cleanly; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):

        def first(number: signal.Signals = number) -> None:
            loop.remove_signal_handler(number)
            stop()

        try:
            loop.add_signal_handler(number, first)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


def _announce(configuration: Configuration, bootstrap: str, data_directory: str | None) -> None:
    """What a person wants to know, and the line that is pasted into a client; flushed, because a script may wait for it."""
    where = f"Data is kept in {data_directory}." if data_directory else "Data is kept in memory only; --data-dir DIR keeps it."
    print(f"pykbroker is ready. {where}")
    if configuration.differing_defaults:
        differing = ", ".join(f"{name}={default.value}" for name, default in configuration.differing_defaults.items())
        print(f"Defaults that differ from Kafka's: {differing}")
    print(f"bootstrap.servers={bootstrap}", flush=True)
