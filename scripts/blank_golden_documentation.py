"""Take Kafka's documentation sentences out of the recorded exchanges: `python scripts/blank_golden_documentation.py`.

DescribeConfigs tells what a config is for, in Kafka's own sentences, which are not ours to distribute. Each becomes the empty string where it
stood, and the answer is encoded anew; everything else stays as it was recorded. Run a second time it changes nothing.
"""

import json
import lzma
import pathlib

from pykbroker.protocol.header import read_response, response_frame
from pykbroker.protocol.messages import DescribeConfigsResponse

EXCHANGES = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "exchanges.jsonl.xz"


def blanked(exchange: dict[str, object]) -> dict[str, object]:
    """The exchange without documentation."""
    recorded = exchange["response_hex"]
    if exchange["api"] != "DescribeConfigs" or not isinstance(recorded, str) or not recorded:
        return exchange
    version = exchange["version"]
    assert isinstance(version, int)
    correlation_id, response = read_response(DescribeConfigsResponse, version, bytes.fromhex(recorded))
    for result in response.results:
        for config in result.configs:
            if config.documentation:
                config.documentation = ""
    return exchange | {"response_hex": b"".join(response_frame(response, version, correlation_id))[4:].hex()}


def main() -> None:
    """Read, blank, and write where something has changed."""
    with lzma.open(EXCHANGES, "rt", encoding="utf-8") as lines:
        exchanges = [json.loads(line) for line in lines]
    kept = [blanked(exchange) for exchange in exchanges]
    if kept != exchanges:
        with lzma.open(EXCHANGES, "wt", encoding="utf-8", preset=9 | lzma.PRESET_EXTREME) as lines:
            lines.writelines(json.dumps(exchange) + "\n" for exchange in kept)


if __name__ == "__main__":
    main()
