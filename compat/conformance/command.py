"""`pykbroker compat`: put any broker to the checks and print the table."""

import argparse
import sys
from collections.abc import Sequence

from pykbroker.compat.check import all_checks
from pykbroker.compat.expectations import Unexpected
from pykbroker.compat.report import FORMATS
from pykbroker.compat.runner import Result, Status, run
from pykbroker.compat.security import PLAINTEXT, SettingsError, read_command_config
from pykbroker.compat.target import Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--bootstrap", "--bootstrap-server", required=True, metavar="HOST:PORT", help="the broker")
    parser.add_argument("--command-config", metavar="FILE", help="how to log in, and whom to trust, as Kafka's own tools are told")
    parser.add_argument("--only", default="", metavar="F,FS,G", help="sections, or ids of single checks, comma separated")
    parser.add_argument("--offers", action="append", default=[], metavar="WHAT", help="what the broker has of what checks may need")
    parser.add_argument("-o", "--output", choices=list(FORMATS), default="text", help="how the results are printed (default: text)")


def execute(arguments: argparse.Namespace) -> int:
    """Run the checks; 0 if none failed, 1 if one did, 2 if the broker cannot be reached."""
    host, _, port = arguments.bootstrap.rpartition(":")
    words = {word for word in arguments.only.split(",") if word}
    chosen = [one for one in all_checks() if not words or one.section in words or one.id in words]
    try:
        security = read_command_config(arguments.command_config) if arguments.command_config else PLAINTEXT
    except (OSError, SettingsError) as error:
        print(f"{arguments.command_config} is no file of client settings that can be used: {error}", file=sys.stderr)
        return 2
    target = Target(host.strip("[]"), int(port), security)
    try:
        results = run(chosen, target, offered=frozenset(arguments.offers), seen=_progress(len(chosen)))
    except (OSError, Unexpected) as error:
        print(f"No Kafka broker can be talked to at {arguments.bootstrap}: {error}", file=sys.stderr)
        return 2
    finally:
        target.close()
    print(FORMATS[arguments.output](results))
    return 1 if any(result.status is Status.FAILED for result in results) else 0


def _progress(count: int) -> "Progress":
    return Progress(count)


class Progress:
    """A line that counts up, where somebody watches."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done = 0
        self._failed = 0

    def __call__(self, result: Result) -> None:
        """One more result."""
        self._done += 1
        self._failed += result.status is Status.FAILED
        if sys.stderr.isatty():
            end = "\n" if self._done == self._count else ""
            print(f"\r{self._done}/{self._count} checks, {self._failed} failed   ", end=end, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """For `python -m pykbroker.compat.command`."""
    parser = argparse.ArgumentParser(prog="pykbroker compat", description=__doc__)
    add_arguments(parser)
    return execute(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
