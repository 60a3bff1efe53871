"""`python -m pykbroker` is the command `pykbroker`."""

import sys


def main() -> int:
    """Run the command line; its exit code."""
    from pykbroker.cli.commands import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
