"""A bar that fills up while checks are run, where somebody watches."""

import shutil
from typing import TextIO

from pykbroker.compat.runner import Result, Status


class Progress:
    """Told of each result."""

    WIDEST = 40
    BESIDE = 36
    """What stands behind the bar takes so many letters at most."""

    def __init__(self, count: int, terminal: TextIO) -> None:
        self._count = max(count, 1)
        self._terminal = terminal
        self._watched = terminal.isatty()
        self._done = 0
        self._failed = 0
        self._width = min(self.WIDEST, max(0, shutil.get_terminal_size().columns - self.BESIDE))

    def __call__(self, result: Result) -> None:
        """One more result."""
        self._done += 1
        self._failed += result.status is Status.FAILED
        if self._watched:
            filled = "█" * (self._width * self._done // self._count)
            failed = f", {self._failed} failed" if self._failed else ""
            now = f"{result.check.id:<6}"
            self._terminal.write(f"\r{filled:░<{self._width}} {self._done}/{self._count}{failed}  {now}")
            self._terminal.flush()

    def close(self) -> None:
        """Leave the line to whoever prints next."""
        if self._watched:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()
