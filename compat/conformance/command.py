"""`pykbroker compat`: put any broker to the checks and print the table."""

import argparse
import sys
from collections.abc import Sequence
from typing import TextIO

from pykbroker.compat.check import Check, all_checks
from pykbroker.compat.expectations import Unexpected
from pykbroker.compat.report import FORMATS
from pykbroker.compat.runner import Result, Status, run_together
from pykbroker.compat.security import PLAINTEXT, SettingsError, read_command_config
from pykbroker.compat.target import Target
from pykbroker.protocol.wire import Malformed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--bootstrap", "--bootstrap-server", required=True, metavar="HOST:PORT", help="the broker")
    parser.add_argument("--command-config", metavar="FILE", help="how to log in, and whom to trust, as Kafka's own tools are told")
    parser.add_argument("--only", default="", metavar="F,FS,G", help="sections, or ids of single checks, comma separated")
    parser.add_argument(
        "--offers",
        action="append",
        default=[],
        metavar="WHAT",
        help="what the broker has of what checks may need, such as 'three brokers' or group.max.size=3; can be given several times",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="checks at a time: most of their time is waiting (default: 1)")
    parser.add_argument("-o", "--output", choices=list(FORMATS), default="text", help="how the results are printed (default: text)")


def execute(arguments: argparse.Namespace) -> int:
    """Run the checks; 0 if none failed, 1 if one did, 2 if there is nothing to run, or nobody to run it on."""
    try:
        host, port = _address(arguments.bootstrap)
        chosen = _chosen(arguments.only)
        security = read_command_config(arguments.command_config) if arguments.command_config else PLAINTEXT
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, SettingsError) as error:
        print(f"{arguments.command_config} is no file of client settings that can be used: {error}", file=sys.stderr)
        return 2
    offered = frozenset(word for words in arguments.offers for word in words.split(", "))
    progress = Progress(len(chosen), sys.stderr)
    try:
        results = run_together(chosen, lambda: Target(host, port, security), jobs=arguments.jobs, offered=offered, seen=progress)
    except (OSError, Unexpected, Malformed) as error:
        print(f"No Kafka broker can be talked to at {arguments.bootstrap}: {error}", file=sys.stderr)
        return 2
    finally:
        progress.close()
    print(FORMATS[arguments.output](results))
    return 1 if any(result.status is Status.FAILED for result in results) else 0


class Unusable(Exception):  # noqa: N818 - what the arguments are
    """What the command was given cannot be meant; says what can."""


def _address(bootstrap: str) -> tuple[str, int]:
    host, _, port = bootstrap.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise Unusable(f"--bootstrap {bootstrap} is no address; write HOST:PORT, such as 127.0.0.1:9092.")
    return host.strip("[]"), int(port)


def _chosen(only: str) -> list[Check]:
    """The checks of these sections and ids. Raises Unusable for a word that is neither."""
    checks = all_checks()
    known = {check.section for check in checks} | {check.id for check in checks}
    words = {word for word in only.split(",") if word}
    if strangers := sorted(words - known):
        sections = ", ".join(dict.fromkeys(check.section for check in checks))
        raise Unusable(f"--only {', '.join(strangers)} is no section and no check; sections are {sections}, a check is named such as F-14.")
    return [one for one in checks if not words or one.section in words or one.id in words]


class Progress:
    """A bar that fills up, where somebody watches."""

    WIDTH = 40

    def __init__(self, count: int, terminal: TextIO) -> None:
        self._count = max(count, 1)
        self._terminal = terminal
        self._watched = terminal.isatty()
        self._done = 0
        self._failed = 0

    def __call__(self, result: Result) -> None:
        """One more result."""
        self._done += 1
        self._failed += result.status is Status.FAILED
        if self._watched:
            filled = "█" * (self.WIDTH * self._done // self._count)
            failed = f", {self._failed} failed" if self._failed else ""
            now = f"{result.check.id:<6}"
            self._terminal.write(f"\r{filled:░<{self.WIDTH}} {self._done}/{self._count}{failed}  {now}")
            self._terminal.flush()

    def close(self) -> None:
        """Leave the line to whoever prints next."""
        if self._watched:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """For `python -m pykbroker.compat.command`."""
    parser = argparse.ArgumentParser(prog="pykbroker compat", description=__doc__)
    add_arguments(parser)
    return execute(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
