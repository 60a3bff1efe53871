"""A broker that has stopped touches nothing any more."""

import asyncio

from pykbroker.config import Configuration
from pykbroker.later import in_slices
from pykbroker.server.running import RunningBroker
from pykbroker.storage.memory_files import MemoryFiles


def test_what_is_done_in_slices_ends_before_the_files_are_closed(monkeypatch):
    async def test():
        broker = RunningBroker(Configuration({"listeners": "PLAINTEXT://127.0.0.1:0"}), MemoryFiles())
        await broker.start()
        done, done_before_the_stop = [], []
        stop = broker.cluster.stop

        def stop_with_a_thread_at_work():
            stop()
            done_before_the_stop.extend(done)
            broker.threads(lambda: None)  # it is waited for, and meanwhile the loop goes on

        monkeypatch.setattr(broker.cluster, "stop", stop_with_a_thread_at_work)
        in_slices(broker.cluster.waits, range(1_000_000), done.append, 1)
        await broker.stop()
        assert done == done_before_the_stop

    asyncio.run(test())
