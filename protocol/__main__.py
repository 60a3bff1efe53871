"""`python -m pykbroker.protocol FetchRequest 13` prints the functions that decode and encode that version."""

import sys

from pykbroker.protocol import messages
from pykbroker.protocol.decoder import decoder_source
from pykbroker.protocol.definitions import message_names
from pykbroker.protocol.encoder import encoder_source


def main(arguments: list[str]) -> int:
    """Print the sources, or say what can be asked for."""
    if len(arguments) != 2 or arguments[0] not in message_names() or not arguments[1].isdecimal():
        print("usage: python -m pykbroker.protocol MESSAGE VERSION   (for example FetchRequest 13)", file=sys.stderr)
        return 2
    message = getattr(messages, arguments[0])
    version = int(arguments[1])
    if version not in message.VERSIONS:
        print(f"{arguments[0]} has the versions {message.VERSIONS[0]} to {message.VERSIONS[-1]}.", file=sys.stderr)
        return 2
    print(decoder_source(message, version))
    print(encoder_source(message, version))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
