"""Brokers that can be stopped and started while they are put to the checks: by whoever started them, or by a command of the user's.

A check says `needs=RESTARTS`, and is `alone`: whatever else is asked meanwhile would be lost. Its brokers have their data on disk.
"""

import shlex
import subprocess
from typing import Protocol

from pykbroker.compat.expectations import Unexpected

RESTARTS = "restarts"
"""What a check needs that uses the switch."""


class Switch(Protocol):
    """Stops and starts brokers by their node ids; each call is back when it is done, or raises."""

    def stop(self, node_id: int) -> None:
        """As an operator does: it may finish what it is at."""

    def kill(self, node_id: int) -> None:
        """As a power cut does to a process."""

    def start(self, node_id: int) -> None:
        """On the data that it has, at the address that it had."""


class Command:
    """A command that is given `stop`, `kill` or `start`, and the node id."""

    def __init__(self, command: str) -> None:
        self._command = command

    def stop(self, node_id: int) -> None:
        """Run it."""
        self._run("stop", node_id)

    def kill(self, node_id: int) -> None:
        """Run it."""
        self._run("kill", node_id)

    def start(self, node_id: int) -> None:
        """Run it."""
        self._run("start", node_id)

    def _run(self, action: str, node_id: int) -> None:
        command = [*shlex.split(self._command), action, str(node_id)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # noqa: S603 - the user's own command
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-300:]
            raise Unexpected(f"the command {shlex.join(command)}", "exit code 0", f"{done.returncode}: {said}")
