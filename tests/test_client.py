"""The small client: what it does with brokers that move, mislead or break off."""

import socket
import struct
import threading

import pytest

from pykbroker.client import Client, SocketChannel, Unreachable, murmur2, partition_of
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from pykbroker.protocol.records import NewRecord
from pykbroker.testing import KafkaBroker


def test_murmur2_agrees_with_kafkas_own_client() -> None:
    # Values of the Java client's Utils.murmur2, as its own unit test has them.
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107, b"": 275646681}
    assert {data: struct.unpack(">i", struct.pack(">I", murmur2(data)))[0] for data in known} == known


def test_keys_go_where_other_clients_send_them() -> None:
    from aiokafka.partitioner import murmur2 as theirs

    for number in range(200):
        key = b"key-%d" % number * (number % 7)
        assert partition_of(key, 13) == (theirs(key) & 0x7FFFFFFF) % 13


def test_records_come_back_as_they_went() -> None:
    with KafkaBroker(topics={"t": 2}) as broker, Client(broker.bootstrap) as client:
        sent = [NewRecord(b"%d" % number, b"k", [("h", None), ("h", b"2")], 1000 + number) for number in range(5)]
        assert client.produce("t", 1, sent) == 0
        assert client.produce("t", 1, sent[:1]) == 5
        read = list(client.read("t"))
        assert [(each.partition, each.offset, each.timestamp, each.value) for each in read[:2]] == [(1, 0, 1000, b"0"), (1, 1, 1001, b"1")]
        assert list(read[0].headers) == [("h", None), ("h", b"2")]
        assert client.offset("t", 1, 1003) == 3
        assert client.offset_or_none("t", 1, 9999) is None
        fetched = client.fetch("t", {0: 0, 1: 4}, max_wait_ms=0)
        assert ([each.offset for each in fetched.records], fetched.positions) == ([4, 5], {0: 0, 1: 6})


def test_what_is_not_there_or_not_served_is_said_so() -> None:
    with KafkaBroker() as broker, Client(broker.bootstrap) as client:
        with pytest.raises(KafkaError, match="topic absent") as error:
            client.produce("absent", 0, [NewRecord(b"")])
        assert error.value.error_code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        broker.create_topic("t")
        with pytest.raises(KafkaError, match="topic t has no partition 1"):
            client.produce("t", 1, [NewRecord(b"")])
        with pytest.raises(KafkaError, match="does not serve ConsumerGroupHeartbeat"):
            client.ask(ConsumerGroupHeartbeatRequest(), ConsumerGroupHeartbeatResponse)
        with pytest.raises(KafkaError, match="the cluster has no broker 9"):
            client.ask(ConsumerGroupHeartbeatRequest(), ConsumerGroupHeartbeatResponse, 9)


def test_a_client_finds_a_broker_that_was_started_again() -> None:
    with KafkaBroker(topics=["t"]) as broker, Client(f"127.0.0.1:1,{broker.bootstrap}") as client:
        client.produce("t", 0, [NewRecord(b"a")])
        broker.stop()
        broker.start()
        with pytest.raises(Unreachable, match=r"closed the connection|broke"):
            client.produce("t", 0, [NewRecord(b"b")])
        assert client.produce("t", 0, [NewRecord(b"b")]) == 1


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is it a Kafka broker"),
        (b"", "closed the connection"),
        (b"\0\0\0\x08\0\0\0\x05\0\0\0\0", "cannot be read|another request"),
    ],
)
def test_something_else_on_the_port_is_recognised(answer, complaint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Unreachable, match=complaint), Client(f"127.0.0.1:{server.getsockname()[1]}") as client:
            client.brokers()
        thread.join()


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(Unreachable, match=r"No broker at 127.0.0.1:1: "):
        SocketChannel("127.0.0.1", 1, 1000)
