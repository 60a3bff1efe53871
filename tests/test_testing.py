"""The test kit as a test's author meets it: in a thread, in an event loop, as a fixture; and that nothing is left behind."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from pykbroker.client import Client
from pykbroker.config import ConfigError
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.server.running import StartError
from pykbroker.testing import KafkaBroker, VirtualClock

pytest_plugins = ["pytester"]

OPEN_FILES = Path("/proc/self/fd")


def open_files() -> int:
    """How many file descriptors this process has; 0 where that cannot be known."""
    return sum(1 for _ in OPEN_FILES.iterdir()) if OPEN_FILES.is_dir() else 0


def test_a_broker_is_there_at_once_and_gone_without_a_trace(tmp_path) -> None:
    with KafkaBroker() as broker:  # What is imported, and opened, once in a process's life is here now.
        broker.bootstrap  # noqa: B018
    gc.collect()
    threads, files = threading.active_count(), open_files()
    for data_dir in (None, str(tmp_path)):
        with KafkaBroker(topics={"orders": 3}, data_dir=data_dir) as broker, Client(broker.bootstrap) as client:
            assert client.partitions("orders") == [0, 1, 2]
            assert broker.produce("orders", b"v", key=b"k", headers=[("h", b"1")], timestamp=5) == 0
            (record,) = broker.records("orders")
            assert (record.key, record.value, list(record.headers), record.timestamp) == (b"k", b"v", [("h", b"1")], 5)
            assert broker.records("orders", record.partition) == [record]
            client.fetch("orders", {0: 0}, max_wait_ms=0)
    gc.collect()
    assert threading.active_count() == threads
    assert open_files() == files


async def test_it_runs_in_the_tests_own_event_loop_with_a_stock_client() -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    tasks = asyncio.all_tasks()
    async with KafkaBroker(topics=["orders"]) as broker:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
            await producer.send_and_wait("orders", b"v")
        async with AIOKafkaConsumer("orders", bootstrap_servers=broker.bootstrap, group_id="g", auto_offset_reset="earliest") as consumer:
            assert (await asyncio.wait_for(consumer.getone(), 20)).value == b"v"
        assert [record.value for record in broker.records("orders")] == [b"v"]
    assert asyncio.all_tasks() == tasks


async def test_in_an_event_loop_it_waits_for_its_disk(tmp_path) -> None:
    settings = {"log.flush.interval.messages": 1}
    for expected in ([b"0"], [b"0", b"1"]):
        async with KafkaBroker(topics=["kept"], data_dir=str(tmp_path), config=settings) as broker:
            broker.produce("kept", b"%d" % (len(expected) - 1))
            assert [record.value for record in broker.records("kept")] == expected


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_stop_and_a_start_keep_port_and_data(tmp_path, on_disk) -> None:
    with KafkaBroker(topics=["t"], data_dir=str(tmp_path) if on_disk else None) as broker:
        broker.produce("t", b"a")
        bootstrap = broker.bootstrap
        broker.stop()
        with pytest.raises(RuntimeError, match="not running"):
            broker.produce("t", b"b")
        broker.start()
        assert broker.bootstrap == bootstrap
        assert broker.produce("t", b"b") == 1
        assert [record.value for record in broker.records("t")] == [b"a", b"b"]


def test_time_passes_when_it_is_told_to() -> None:
    with KafkaBroker(clock=VirtualClock()) as broker:
        broker.create_topic("short", config={"retention.ms": 60_000})
        broker.create_topic("long")
        for topic in ("short", "long"):
            broker.produce(topic, b"a")
        broker.advance(seconds=30)
        assert len(broker.records("short")) == 1
        broker.advance(minutes=10)
        assert broker.records("short") == []
        assert len(broker.records("long")) == 1
    with KafkaBroker() as broker, pytest.raises(RuntimeError, match="clock=VirtualClock"):
        broker.advance(minutes=1)


def test_the_same_seed_makes_the_same_ids() -> None:
    def ids(seed: int) -> list[bytes]:
        with KafkaBroker(topics=["a", "b"], seed=seed) as broker, Client(broker.bootstrap) as client:
            return [topic.topic_id for topic in client.metadata(["a", "b"]).topics]

    assert ids(1) == ids(1) != ids(2)


def test_what_is_wrong_is_raised_where_it_was_asked(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"num\.partitions"):
        KafkaBroker(config={"num.partition": 3}).start()
    with KafkaBroker(topics=["t"], data_dir=str(tmp_path)) as broker:
        with pytest.raises(StartError, match="in use by another process"):
            KafkaBroker(data_dir=str(tmp_path)).start()
        with pytest.raises(KafkaError) as error:
            broker.create_topic("t")
        assert error.value.error_code is ErrorCode.TOPIC_ALREADY_EXISTS
        broker.delete_topic("t")
        with pytest.raises(KafkaError, match="t"):
            broker.delete_topic("t")
        with pytest.raises(RuntimeError, match="running already"):
            asyncio.run(broker.start_async())


def test_a_bug_of_the_broker_is_raised_at_the_end_of_the_test(caplog) -> None:
    def break_it(broker: KafkaBroker) -> None:
        broker._broker.cluster.controller.create_topics = None  # type: ignore[method-assign]
        with pytest.raises(KafkaError) as error:
            broker.create_topic("t")
        assert error.value.error_code is ErrorCode.UNKNOWN_SERVER_ERROR

    with pytest.raises(TypeError, match="not callable"), KafkaBroker() as broker:
        break_it(broker)
    with pytest.raises(ZeroDivisionError) as error, KafkaBroker() as broker:  # noqa: PT012 - the broker's end is the point
        break_it(broker)
        raise ZeroDivisionError
    assert "not callable" in error.value.__notes__[0]


def test_what_nobody_caught_in_its_event_loop_is_raised_too() -> None:
    def callback() -> None:
        raise LookupError("in a callback")

    with pytest.raises(LookupError, match="in a callback"), KafkaBroker() as broker:
        broker._thread.call(lambda: asyncio.get_running_loop().call_soon(callback))


def test_the_fixture_gives_each_test_a_broker_of_its_own(pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        ports = []

        def test_unused():
            assert "pykbroker.testing" not in sys.modules

        def test_first(kafka_broker):
            kafka_broker.create_topic("t")
            ports.append(kafka_broker.bootstrap)

        def test_second(kafka_broker):
            kafka_broker.create_topic("t")
            assert kafka_broker.records("t") == []

        def test_bug(kafka_broker):
            kafka_broker._broker.cluster.unexpected_errors.append(ValueError("a bug"))
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*ValueError: a bug*"])
