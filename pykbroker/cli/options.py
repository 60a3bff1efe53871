"""What all commands that ask a broker have in common: how it is found, how the answer is shown, and what a wrong word means."""

import argparse
from collections.abc import Sequence

from pykbroker.client import Client

DEFAULT_BOOTSTRAP = "localhost:9092"


class UsageError(Exception):
    """The words given do not make a command; says which, and what to write."""


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser with the common options."""
    made = argparse.ArgumentParser(prog=f"pykbroker {command}", description=description, allow_abbrev=False)
    made.add_argument(
        "--bootstrap-server", "-b", default=DEFAULT_BOOTSTRAP, metavar="HOST:PORT", help=f"where the broker is ({DEFAULT_BOOTSTRAP})"
    )
    made.add_argument("--request-timeout-ms", type=int, default=30_000, metavar="MS", help="how long to wait for an answer (30000)")
    add_output(made)
    return made


def add_output(to: argparse.ArgumentParser) -> None:
    """How the answer is shown."""
    to.add_argument("-o", "--output", choices=["text", "json"], default="text", help="for people, or for scripts (text)")


def add_actions(to: argparse.ArgumentParser, **actions: str) -> None:
    """One of these words must be there: --list, --describe, …"""
    group = to.add_mutually_exclusive_group(required=True)
    for name, what in actions.items():
        group.add_argument(f"--{name.replace('_', '-')}", dest="action", action="store_const", const=name, help=what)


def client(options: argparse.Namespace) -> Client:
    """A client for what was asked."""
    return Client(options.bootstrap_server, client_id="pykbroker-cli", timeout_ms=options.request_timeout_ms)


def names(given: Sequence[str] | None) -> list[str]:
    """Names that may be given several times, or several at once with commas."""
    return [name.strip() for one in given or () for name in one.split(",") if name.strip()]


def key_value(text: str, option: str) -> tuple[str, str]:
    """The two sides of KEY=VALUE. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"{option} {text} has no value; write {option} KEY=VALUE.")
    return key.strip(), value.strip()
