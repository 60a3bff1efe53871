"""`pykbroker compat`: put any broker to the conformance checks."""

from collections.abc import Sequence

from pykbroker.compat.command import main


def run(words: Sequence[str]) -> int:
    """Run the command; its exit code."""
    return main(words)
