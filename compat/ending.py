"""However a run of the judge ends, the brokers that it started end with it: a signal unwinds what is going on, as Ctrl-C does, and the shell is told by which."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

ENDED_BY = 128
"""What a shell adds to a signal's number."""

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""A plea to end, and a terminal that is closed; by themselves both would end Python where it stands, and leave its brokers."""


def run_to_its_end(main: Callable[[], int | None]) -> NoReturn:
    """Run it as a program, and exit with what it returns."""
    for one in SIGNALS:
        if signal.getsignal(one) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(one, _unwind)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; what was started is stopped.\n")
        sys.exit(ENDED_BY + signal.SIGINT)


def _unwind(number: int, _frame: FrameType | None) -> NoReturn:
    sys.stderr.write(f"Ended by {signal.Signals(number).name}; what was started is stopped.\n")
    sys.exit(ENDED_BY + number)
