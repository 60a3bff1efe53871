"""The machine's clock is set while the broker runs: nobody is closed, nor kept, for a time that has not passed."""

import asyncio
import struct
import time

import pytest

from pykbroker.config import Configuration
from pykbroker.protocol.header import read_response, request_frame
from pykbroker.protocol.messages import ApiVersionsRequest, ApiVersionsResponse
from pykbroker.server.running import RunningBroker
from pykbroker.storage.memory_files import MemoryFiles

DAY_NS = 24 * 3600 * 1_000_000_000


@pytest.mark.parametrize("jump_ns", [DAY_NS, -DAY_NS])
def test_a_jump_of_the_machines_clock_closes_no_connection(monkeypatch, jump_ns):
    real, jumped_ns = time.time_ns, 0
    monkeypatch.setattr(time, "time_ns", lambda: real() + jumped_ns)

    async def test():
        nonlocal jumped_ns
        broker = RunningBroker(Configuration({"listeners": "PLAINTEXT://127.0.0.1:0"}), MemoryFiles())
        await broker.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.cluster.broker.listeners[0].port)
        writer.write(b"".join(request_frame(ApiVersionsRequest(), 0, 1))[:-1])
        async with asyncio.timeout(10):
            while not any(one._received for one in broker.server.connections):  # noqa: ASYNC110 - a condition of the server's own innards
                await asyncio.sleep(0)
            now_ms, waited_ms = broker.cluster.clock.now_ms, broker.cluster.waits.now_ms
            broker.server._sweep()
            jumped_ns = jump_ns
            broker.server._sweep()

            writer.write(b"".join(request_frame(ApiVersionsRequest(), 0, 1))[-1:])
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            _, answer = read_response(ApiVersionsResponse, 0, await reader.readexactly(size))
        assert answer.error_code == 0
        assert abs(broker.cluster.clock.now_ms - now_ms) > 23 * 3_600_000
        assert 0 <= broker.cluster.waits.now_ms - waited_ms < 3_600_000
        writer.close()
        await writer.wait_closed()
        await broker.stop()
        assert broker.cluster.unexpected_errors == []

    asyncio.run(test())
