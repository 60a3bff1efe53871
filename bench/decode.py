"""What the dearest mebibyte of every array in every request costs to decode: `python bench/decode.py`. The bar is 100 ms.

What it may take of memory is the same on every machine, and held by tests/protocol/test_bombs.py.
"""

import gc
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decoder
from tests.protocol.test_bombs import BUDGET, arrays, as_many_as_possible

BAR_MS = 100
TRIES = 5
SHOWN = 10


def milliseconds(message: type, version: int, path: tuple) -> float:
    """Of processor time, the best of some tries."""
    frame = memoryview(as_many_as_possible(message, version, path))
    decode = decoder(message, version)
    best = float("inf")
    for _ in range(TRIES):
        start = time.thread_time()
        decode(frame, 0, BUDGET)
        best = min(best, time.thread_time() - start)
    return 1000 * best


def main() -> int:
    gc.collect()
    gc.freeze()
    found = [
        (milliseconds(api.request, api.request.VERSIONS[-1], path), api.request.__name__, ".".join(one.name for one in path))
        for api in API_BY_KEY.values()
        for path in arrays(api.request.SCHEMA.fields, api.request.VERSIONS[-1])
    ]
    print(f"{len(found)} arrays; the dearest:")
    for cost, name, path in sorted(found, reverse=True)[:SHOWN]:
        print(f"{cost:7.1f} ms  {name} {path}")
    worst = max(found)[0]
    print(f"worst: {worst:.1f} ms (bar {BAR_MS})")
    return 0 if worst <= BAR_MS else 1


if __name__ == "__main__":
    sys.exit(main())
