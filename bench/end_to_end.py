"""From produce() to the consumer's poll(), with confluent-kafka, at a steady rate: p50 and p99 in milliseconds."""

import threading
import time

RATE = 1000
SECONDS = 4


def latencies(port, topic):
    """(p50, p99) in milliseconds; the first second is not counted."""
    from confluent_kafka import Consumer, Producer

    address = f"127.0.0.1:{port}"
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": f"{topic}-group", "auto.offset.reset": "latest", "fetch.wait.max.ms": 100}
    )
    assigned = threading.Event()
    consumer.subscribe([topic], on_assign=lambda *_: assigned.set())
    deadline = time.monotonic() + 30
    while not assigned.is_set() and time.monotonic() < deadline:
        consumer.poll(0.1)
    consumer.poll(0.5)
    producer = Producer({"bootstrap.servers": address, "linger.ms": 0, "acks": "all"})
    found = []
    total = RATE * SECONDS

    def consume():
        end = time.monotonic() + SECONDS + 10
        while len(found) < total and time.monotonic() < end:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(time.perf_counter() - float(message.value()))

    reader = threading.Thread(target=consume)
    reader.start()
    start = time.perf_counter()
    for number in range(total):
        due = start + number / RATE
        while (now := time.perf_counter()) < due:
            time.sleep(max(0.0, due - now))
        producer.produce(topic, repr(time.perf_counter()).encode())
        producer.poll(0)
    producer.flush(10)
    reader.join()
    consumer.close()
    if len(found) < total * 0.95:
        raise RuntimeError(f"only {len(found)} of {total} messages came")
    counted = sorted(found[RATE:])
    return 1000 * counted[len(counted) // 2], 1000 * counted[int(len(counted) * 0.99)]
