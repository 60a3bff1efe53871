"""A broker inside the test: started in milliseconds, on a port of its own, gone without a trace when the test is over.

    with KafkaBroker(topics={"orders": 3}) as broker:
        Producer({"bootstrap.servers": broker.bootstrap})

As a context manager it runs in a thread of its own; with `async with`, in the running event loop. What the broker did not expect (a bug of
ours) is raised at the end, so that no test passes over it.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar, cast

from pykbroker.client import Client, ConsumedRecord, partition_of
from pykbroker.clock import VirtualClock
from pykbroker.config import Configuration
from pykbroker.context import Answer, Close
from pykbroker.later import Later
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse
from pykbroker.protocol.records import Header, NewRecord
from pykbroker.protocol.wire import Buffer
from pykbroker.server.running import RunningBroker, open_data_directory
from pykbroker.session import Session
from pykbroker.storage.files import Files
from pykbroker.storage.memory_files import MemoryFiles

T = TypeVar("T")

_STOP_GRACE_MS = 50
_ANSWER_TIMEOUT_SECONDS = 30

Setting = str | int | float | bool


class KafkaBroker:
    """One broker.

    topics      what is there from the start: names, or name -> number of partitions
    data_dir    where data is kept; without it in memory (which a stop and a start again survive)
    config      Kafka's settings of a broker, as in server.properties
    clock       a VirtualClock stands still until `advance`: then sessions expire and records grow old at once
    host, port  where to listen; port 0 is a free one
    seed        makes ids reproducible
    """

    def __init__(
        self,
        topics: Mapping[str, int] | Iterable[str] = (),
        *,
        data_dir: str | None = None,
        config: Mapping[str, Setting] | None = None,
        clock: VirtualClock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
    ) -> None:
        self._topics = dict(topics) if isinstance(topics, Mapping) else dict.fromkeys(topics, 1)
        self._data_dir = data_dir
        self._settings = {name: _as_text(value) for name, value in (config or {}).items()}
        self._clock = clock
        self._host = host
        self._port = port
        self._seed = seed
        self._memory: MemoryFiles | None = None
        self._running: RunningBroker | None = None
        self._thread: _LoopThread | None = None
        self._client: Client | None = None

    # Life.

    @property
    def bootstrap(self) -> str:
        """What a client takes as bootstrap.servers; the same after a stop and a start."""
        return self._broker.bootstrap

    def start(self) -> None:
        """Start it in a thread of its own. Raises StartError or ConfigError."""
        thread = _LoopThread()
        try:
            thread.run(self._start)
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        self._create_topics()

    def stop(self) -> None:
        """Stop it cleanly; raises what it did not expect. Data, and the port, are there for the next start."""
        running, thread = self._broker, self._thread
        if thread is None:
            raise RuntimeError("this broker runs in the event loop: leave the `async with`, or await `stop_async()`")
        self._thread = None
        try:
            thread.run(self._stop)
        finally:
            thread.stop()
        running.cluster.unexpected_errors.extend(thread.errors)
        _raise_unexpected(running)

    async def start_async(self) -> None:
        """Start it in the running event loop."""
        await self._start()
        self._create_topics()

    async def stop_async(self) -> None:
        """Stop it, in the event loop it was started in."""
        running = self._broker
        await self._stop()
        _raise_unexpected(running)

    def __enter__(self) -> "KafkaBroker":  # noqa: PYI034 - not meant to be subclassed
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if self._running is not None:
                self.stop()
        except Exception as unexpected:
            if error is None:
                raise
            error.add_note(f"The broker failed too: {unexpected!r}")

    async def __aenter__(self) -> "KafkaBroker":  # noqa: PYI034
        await self.start_async()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if self._running is not None:
                await self.stop_async()
        except Exception as unexpected:
            if error is None:
                raise
            error.add_note(f"The broker failed too: {unexpected!r}")

    # What a test wants to do without a client.

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, Setting] | None = None) -> None:
        """Create a topic. Raises KafkaError."""
        configs = [CreateTopicsRequest.CreatableTopicConfig(name=key, value=_as_text(value)) for key, value in (config or {}).items()]
        topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=-1, configs=configs)
        answer = self._ask_for().ask(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), CreateTopicsResponse)
        for created in answer.topics:
            _check(created.error_code, created.error_message or name)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and what is in it. Raises KafkaError."""
        request = DeleteTopicsRequest(topics=[DeleteTopicsRequest.DeleteTopicState(name=name)], topic_names=[name], timeout_ms=30_000)
        request.topic_names = []
        for deleted in self._ask_for().ask(request, DeleteTopicsResponse).responses:
            _check(deleted.error_code, deleted.error_message or name)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[Header] = (),
        timestamp: int | None = None,
    ) -> int:
        """Write one record; its offset. A key decides the partition as in Kafka's own client; without one it is partition 0."""
        client = self._ask_for()
        if partition is None:
            partition = 0 if key is None else partition_of(key, len(client.partitions(topic)))
        when_ms = self._broker.cluster.clock.now_ms if timestamp is None else timestamp
        return client.produce(topic, partition, [NewRecord(value, key, headers, when_ms)])

    def records(self, topic: str, partition: int | None = None) -> list[ConsumedRecord]:
        """Everything a topic, or one partition of it, holds now: partition by partition, in the order of the offsets."""
        return list(self._ask_for().read(topic, None if partition is None else [partition]))

    def advance(self, ms: int = 0, *, seconds: int = 0, minutes: int = 0, hours: int = 0, days: int = 0) -> None:
        """Let time pass on the broker's VirtualClock: what falls due happens before this returns."""
        clock = self._clock
        if clock is None:
            raise RuntimeError("this broker runs on the machine's time; give it a clock: KafkaBroker(clock=VirtualClock())")
        self._on_loop(lambda: clock.advance(ms, seconds=seconds, minutes=minutes, hours=hours, days=days))

    # Inside.

    @property
    def _broker(self) -> RunningBroker:
        if self._running is None:
            raise RuntimeError("the broker is not running; use it within `with KafkaBroker() as broker:`, or start() it")
        return self._running

    async def _start(self) -> None:
        if self._running is not None:
            raise RuntimeError("the broker is running already")
        host = f"[{self._host}]" if ":" in self._host else self._host
        settings = {"listeners": f"PLAINTEXT://{host}:{self._port}", **self._settings}
        if self._data_dir is not None:
            settings["log.dirs"] = self._data_dir
        configuration = Configuration(settings, origins=dict.fromkeys(self._settings, "KafkaBroker(config=…)"))
        files = self._files()
        try:
            running = RunningBroker(configuration, files, clock=self._clock, seed=self._seed)
            await running.start()
        except BaseException:
            files.close()
            raise
        self._running = running
        self._port = running.cluster.broker.listeners[0].port
        self._client = Client(running.bootstrap, channel=lambda *_: _InProcess(self))

    def _files(self) -> Files:
        if self._data_dir is not None:
            return open_data_directory(self._data_dir)
        if self._memory is None:
            self._memory = MemoryFiles()
        return self._memory

    async def _stop(self) -> None:
        running = self._broker
        self._running = self._client = None
        await running.stop(_STOP_GRACE_MS)

    def _create_topics(self) -> None:
        for name, partitions in self._topics.items():
            try:
                self.create_topic(name, partitions)
            except KafkaError as error:
                if error.error_code != ErrorCode.TOPIC_ALREADY_EXISTS:
                    raise

    def _ask_for(self) -> Client:
        if self._client is None:
            raise RuntimeError("the broker is not running")
        return self._client

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Run `work` on the thread that owns the broker."""
        return work() if self._thread is None else self._thread.call(work)

    def _handle(self, session: Session, frame: Buffer) -> Buffer:
        """One request, past the sockets; its answer, without its size."""
        cluster = self._broker.cluster
        answered: Future[Answer | Close | None] = Future()

        def ask() -> None:
            try:
                outcome = cluster.handle(session, memoryview(bytearray(frame)))
            except Exception as error:  # noqa: BLE001 - it is raised where it was asked
                answered.set_exception(error)
                return
            if isinstance(outcome, Later):
                outcome.then(answered.set_result, answered.set_exception)
                if self._thread is None:  # Nobody else turns this loop while we wait for the disk.
                    self._broker.threads.wait_for(outcome)
            else:
                answered.set_result(outcome)

        self._on_loop(ask)
        if self._thread is None and not answered.done():
            raise RuntimeError("the answer takes time, and this broker shares your event loop: use a client, or `with` in a thread")
        outcome = answered.result(_ANSWER_TIMEOUT_SECONDS)
        if outcome is None or isinstance(outcome, Close):
            raise ConnectionError(f"the broker closes: {outcome.reason if outcome else 'no answer'}")
        return b"".join(outcome)[4:]

    def _session(self) -> Session:
        """What stands for a connection where there is none."""
        broker = self._broker.cluster.broker
        listener = broker.listeners[0]
        return Session(broker, listener_name=listener.name, local_host=self._host, local_port=listener.port)


class _InProcess:
    """A client's channel that has no socket."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._broker = broker
        self._session = broker._session()

    def exchange(self, frame: Sequence[Buffer]) -> Buffer:
        return self._broker._handle(self._session, b"".join(frame)[4:])

    def close(self) -> None:
        self._session.close()


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self._loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="pykbroker", daemon=True)
        self._thread.start()
        self._ready.wait()

    def run(self, work: Callable[[], Coroutine[None, None, T]]) -> T:
        """Run a coroutine there; its result."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def call(self, work: Callable[[], T]) -> T:
        """Run a function there; its result."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked
                result.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return result.result()

    def stop(self) -> None:
        """End loop and thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(self._keep_error)
            self._ready.set()
            self._loop.run_forever()

    def _keep_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """What nobody caught in a callback or a task."""
        error = context.get("exception")
        self.errors.append(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()
    return cast("asyncio.AbstractEventLoop", uvloop.new_event_loop())


def _raise_unexpected(running: RunningBroker) -> None:
    errors = [error for error in running.cluster.unexpected_errors if isinstance(error, Exception)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("the broker did not expect these", errors)


def _check(error_code: int, message: str) -> None:
    if error_code != ErrorCode.NONE:
        raise KafkaError(ErrorCode(error_code), message)


def _as_text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


__all__ = ["KafkaBroker", "VirtualClock"]
