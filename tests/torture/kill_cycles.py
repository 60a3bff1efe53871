"""The broker is killed (SIGKILL) again and again under two writers; then every acknowledged record must be there, once, in order.

    python tests/torture/kill_cycles.py --cycles 100 --seed 7

One writer is idempotent and retries; the other is not, and does not, so that what it was not told of may be there or not. Each has a partition
of its own and numbers its records. Exit code 1, with the seed and the data directory kept, if anything is lost, doubled or out of order.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "torture"
START_TIMEOUT_S = 30


class Broker:
    """One data directory, and the process that serves it, on the same port each time."""

    def __init__(self, port: int, folder: str) -> None:
        self.port = port
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        address = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "pykbroker", "serve", "--listen", address, "--data-dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("bootstrap.servers="):
                return
        raise SystemExit("the broker did not start again")

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


class Writer(threading.Thread):
    """Numbers its records, and remembers which were acknowledged."""

    def __init__(self, port: int, partition: int, settings: dict[str, object]) -> None:
        super().__init__()
        self.partition = partition
        self.acknowledged: list[int] = []
        self.sent = 0
        self.fatal: str | None = None
        self.stopping = threading.Event()
        common = {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "acks": "all",
            "linger.ms": 1,
            "reconnect.backoff.ms": 5,
            "reconnect.backoff.max.ms": 50,
        }
        self._producer = Producer({**common, **settings})

    def run(self) -> None:
        while not self.stopping.is_set():
            number = self.sent
            try:
                self._producer.produce(TOPIC, b"%d" % number, partition=self.partition, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.05)
                continue
            except KafkaException as error:
                self.fatal = str(error)
                return
            self.sent += 1
            self._producer.poll(0)
            if number % 50 == 49:
                self._producer.poll(0.005)
        self._producer.flush(30)

    def _delivered(self, error: object, message: object) -> None:
        if error is None:
            self.acknowledged.append(int(message.value()))  # type: ignore[attr-defined]


def read_all(port: int, partition: int) -> list[int]:
    """Everything in a partition, in order."""
    consumer = Consumer(
        {"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "check", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    where = TopicPartition(TOPIC, partition, 0)
    _, end = consumer.get_watermark_offsets(where, 10)
    consumer.assign([where])
    found: list[int] = []
    deadline = time.monotonic() + 60
    while len(found) < end and time.monotonic() < deadline:
        found += [int(message.value()) for message in consumer.consume(5000, 1.0)]
    consumer.close()
    return found


def problems(name: str, acknowledged: list[int], found: list[int]) -> list[str]:
    """What is wrong with what was found."""
    wrong = []
    lost = set(acknowledged) - set(found)
    if lost:
        wrong.append(f"{name}: {len(lost)} acknowledged records are lost, the first is {min(lost)}")
    if len(found) != len(set(found)):
        wrong.append(f"{name}: {len(found) - len(set(found))} records are there twice")
    if sorted(found) != found:
        wrong.append(f"{name}: records are out of order")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--port", type=int, default=22100)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    chance = random.Random(arguments.seed)
    folder = tempfile.mkdtemp(prefix="torture-")
    broker = Broker(arguments.port, folder)
    broker.start()
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{arguments.port}"})
    admin.create_topics([NewTopic(TOPIC, 2, 1, config={"segment.bytes": str(1 << 20)})])[TOPIC].result(START_TIMEOUT_S)
    writers = {
        "idempotent": Writer(arguments.port, 0, {"enable.idempotence": True}),
        "plain": Writer(arguments.port, 1, {"message.send.max.retries": 0, "message.timeout.ms": 2000}),
    }
    for writer in writers.values():
        writer.start()
    for _ in range(arguments.cycles):
        time.sleep(chance.uniform(0.05, 0.4))
        broker.kill()
        broker.start()
    time.sleep(1)
    wrong = []
    for name, writer in writers.items():
        writer.stopping.set()
        writer.join()
        if writer.fatal:
            wrong.append(f"{name}: {writer.fatal}")
        found = read_all(arguments.port, writer.partition)
        print(f"{name}: {writer.sent} sent, {len(writer.acknowledged)} acknowledged, {len(found)} there")
        wrong += problems(name, writer.acknowledged, found)
        if len(writer.acknowledged) < arguments.cycles:
            wrong.append(f"{name}: hardly anything was acknowledged; this run shows nothing")
    broker.kill()
    if wrong:
        raise SystemExit("\n".join([*wrong, f"seed {arguments.seed}, data in {folder}"]))
    shutil.rmtree(folder)
    print(f"{arguments.cycles} kills: nothing acknowledged was lost, doubled or reordered")


if __name__ == "__main__":
    main()
