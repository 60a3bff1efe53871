"""How quickly the broker is there, how little it holds while idle, and how it bears 10,000 partitions. Prints one line a figure, with its bar."""

import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import load

from pykbroker.protocol.codec import decode
from pykbroker.protocol.messages import CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse

PORT = 21900
RUNS = 7
PARTITIONS = 10_000


def main():
    use_bytecode_caches()
    pairs = [(timed([sys.executable, "-c", "import asyncio"]), start_and_stop()) for _ in range(RUNS)]
    interpreter, started = (statistics.median(column) for column in zip(*pairs, strict=True))
    line(
        "start to serving",
        1000 * started,
        f"100 ms + 2 x {1000 * interpreter:.0f} ms for 'import asyncio' = {100 + 2000 * interpreter:.0f} ms",
    )
    line("in process, start", statistics.median(in_process() for _ in range(RUNS)), "20 ms")
    folder = tempfile.mkdtemp(prefix="startup-")
    process = serve(folder)
    time.sleep(1)
    line("idle RSS", rss(process) / 1e6, "40 MiB (42 MB)", "MB")
    line("first record through a new librdkafka group", first_record(), "300 ms")
    many_partitions(process, folder)
    shutil.rmtree(folder)


def use_bytecode_caches():
    """As an installed program has them, wherever this one may write them; the standard library has its own. A first start fills them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", tempfile.gettempdir() + "/pykbroker-bench-bytecode")
    start_and_stop()


def line(what, figure, bar, unit="ms"):
    print(f"{what}: {figure:.1f} {unit}  (bar: {bar})", flush=True)


def timed(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - begin


def serve(folder):
    command = [sys.executable, "-m", "pykbroker", "serve", "--listen", f"127.0.0.1:{PORT}", "--data-dir", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for text in process.stdout:
        if text.startswith("bootstrap.servers="):
            return process
    raise SystemExit("the broker did not start")


def stop(process):
    process.send_signal(signal.SIGTERM)
    begin = time.perf_counter()
    code = process.wait(60)
    process.stdout.close()
    if code:
        raise SystemExit(f"the broker ended with {code}")
    return time.perf_counter() - begin


def start_and_stop():
    folder = tempfile.mkdtemp(prefix="startup-")
    begin = time.perf_counter()
    process = serve(folder)
    seconds = time.perf_counter() - begin
    stop(process)
    shutil.rmtree(folder)
    return seconds


def in_process():
    from pykbroker.testing import KafkaBroker

    begin = time.perf_counter()
    with KafkaBroker():
        return 1000 * (time.perf_counter() - begin)


def rss(process):
    pages = int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096


def first_record():
    """From subscribe() to the first message, with all defaults; the median of five groups."""
    from confluent_kafka import Consumer, Producer

    address = f"127.0.0.1:{PORT}"
    load.create_topic(PORT, "first", 1)
    producer = Producer({"bootstrap.servers": address})
    producer.produce("first", b"x")
    producer.flush()
    found = []
    for number in range(5):
        consumer = Consumer({"bootstrap.servers": address, "group.id": f"first-{number}", "auto.offset.reset": "earliest"})
        begin = time.perf_counter()
        consumer.subscribe(["first"])
        while consumer.poll(0.01) is None:
            pass
        found.append(1000 * (time.perf_counter() - begin))
        consumer.close()
    print(f"  first records after {[round(one) for one in found]} ms")
    return max(found)


def many_partitions(process, folder):
    peer = load.Peer(PORT)
    begin = time.perf_counter()
    for number in range(10):
        new = CreateTopicsRequest.CreatableTopic(name=f"many-{number}", num_partitions=PARTITIONS // 10, replication_factor=1)
        peer.send(load.frame(CreateTopicsRequest(topics=[new], timeout_ms=60000), 5))
        peer.receive()
    line("10,000 partitions created", time.perf_counter() - begin, "10 s", "s")
    line("Metadata of all topics", min(metadata(peer) for _ in range(5)), "100 ms")
    fetch_session(peer)
    line("clean stop", 1000 * stop(process), "1,000 ms")
    begin = time.perf_counter()
    process = serve(folder)
    line("restart", time.perf_counter() - begin, "10 s", "s")
    process.kill()
    process.wait()
    process.stdout.close()
    begin = time.perf_counter()
    process = serve(folder)
    line("restart after SIGKILL", time.perf_counter() - begin, "10 s", "s")
    stop(process)


def metadata(peer):
    begin = time.perf_counter()
    peer.send(load.frame(MetadataRequest(topics=None), 12))
    answer = peer.receive()
    seconds = time.perf_counter() - begin
    found = decode(MetadataResponse, 12, bytes(answer), 5)
    count = sum(len(topic.partitions) for topic in found.topics)
    if count < PARTITIONS:
        raise SystemExit(f"Metadata has {count} partitions")
    return 1000 * seconds


def fetch_session(peer):
    """A full Fetch makes the session; then incremental ones, in which nothing changed, with max_wait_ms 0."""
    part = FetchRequest.FetchPartition
    topics = [
        FetchRequest.FetchTopic(
            topic=f"many-{number}",
            partitions=[part(partition=index, fetch_offset=0, partition_max_bytes=1 << 20) for index in range(PARTITIONS // 10)],
        )
        for number in range(10)
    ]
    request = FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, session_id=0, session_epoch=0, topics=topics)
    begin = time.perf_counter()
    peer.send(load.frame(request, 12))
    made = decode(FetchResponse, 12, bytes(peer.receive()), 5)
    line("full Fetch of 10,000 partitions", 1000 * (time.perf_counter() - begin), "no bar")
    found = []
    for epoch in range(1, 200):
        sent = load.frame(FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, session_id=made.session_id, session_epoch=epoch), 12)
        begin = time.perf_counter()
        peer.send(sent)
        answer = peer.receive()
        found.append(1000 * (time.perf_counter() - begin))
    decoded = decode(FetchResponse, 12, bytes(answer), 5)
    if decoded.error_code or decoded.responses:
        raise SystemExit(f"the incremental Fetch was answered with {decoded}")
    line("incremental Fetch where nothing changed, with the round trip", statistics.median(found), "1 ms")


if __name__ == "__main__":
    main()
