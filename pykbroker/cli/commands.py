"""Which word on the command line is which command. A command's module is imported when it is asked for; no word at all means `serve`."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "serve": "run a broker (the default command)",
    "topics": "create, list, describe, alter and delete topics",
    "groups": "list, describe, reset and delete consumer groups and their offsets",
    "configs": "show and change the configs of topics, brokers and groups",
    "produce": "write lines from standard input as records",
    "consume": "write records to standard output",
    "log": "show what is in the segment files of a data directory",
    "compat": "put any broker to the conformance checks and print the table",
}


def run(arguments: Sequence[str]) -> int:
    """Run a command; its exit code. What goes wrong is one sentence on standard error."""
    words = list(arguments)
    if words and words[0] in {"-h", "--help", "help"}:
        print(_overview())
        return 0
    if words and words[0] == "--version":
        from pykbroker import __version__

        print(f"pykbroker {__version__}")
        return 0
    command = words.pop(0) if words and not words[0].startswith("-") else "serve"
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}."
        print(f"pykbroker: {command} is not a command; {hint}", file=sys.stderr)
        return 2
    if command == "serve":  # Before anything else is imported: a broker should be there in a blink.
        from pykbroker.cli import serve

        return serve.run(words)
    return _run_on_a_broker(command, words)


def _run_on_a_broker(command: str, words: list[str]) -> int:
    from pykbroker.cli.options import UsageError
    from pykbroker.client import Unreachable
    from pykbroker.protocol.errors import KafkaError

    try:
        code: int = import_module(f"pykbroker.cli.{command}").run(words)
    except (UsageError, Unreachable) as error:
        print(f"pykbroker: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KafkaError as error:
        print(f"pykbroker: {error.error_code.name}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough; Python would try to flush the rest of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _overview() -> str:
    lines = [f"  {name:<9} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["pykbroker [COMMAND] [OPTIONS]: a broker that speaks Apache Kafka's protocol.", "", *lines, "", "pykbroker COMMAND --help"]
    )
