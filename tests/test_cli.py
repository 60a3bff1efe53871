"""A person's everyday jobs on the command line, in this process, against a broker of each test's own."""

import io
import json
import re
import struct
import sys

import pytest

from pykbroker.cli import commands
from pykbroker.protocol.records import BatchProperties, ControlRecordType, NewRecord, build_batch
from pykbroker.testing import KafkaBroker


@pytest.fixture
def broker():
    with KafkaBroker() as running:
        yield running


@pytest.fixture
def pykbroker(broker, capsys, monkeypatch):
    """Runs a command on the broker: its lines, or what its JSON says."""

    def run(command: str, *more: str, stdin: str = "", code: int = 0):
        words = [word.replace("~", " ") for word in command.split()] + list(more)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        output = io.TextIOWrapper(io.BytesIO(), write_through=True)
        monkeypatch.setattr(sys, "stdout", output)
        assert commands.run([words[0], "--bootstrap-server", broker.bootstrap, *words[1:]]) == code, capsys.readouterr().err
        said = output.buffer.getvalue().decode()
        run.complaint = capsys.readouterr().err
        if "json" in words:
            return [json.loads(line) for line in said.splitlines()] if words[0] == "consume" else json.loads(said)
        return said.splitlines()

    return run


def test_topics_are_created_listed_described_altered_and_deleted(pykbroker) -> None:
    created = pykbroker("topics --create --topic orders --partitions 3 --replication-factor 1 --config retention.ms=5000")
    assert created == ["Created topic orders."]
    assert pykbroker("topics --list") == ["orders"]
    described = pykbroker("topics --describe --topic orders -o json")
    assert [row["partition"] for row in described] == [0, 1, 2]
    assert described[0]["configs"] == {"retention.ms": "5000"}
    assert (described[0]["leader"], described[0]["replicas"], described[0]["isr"]) == (1, [1], [1])
    pykbroker("topics --alter --topic orders --partitions 5")
    assert len(pykbroker("topics --describe --topic orders")) == 1 + 5
    pykbroker("topics --create --topic orders", code=1)
    assert pykbroker.complaint.startswith("pykbroker: TOPIC_ALREADY_EXISTS: ")
    assert pykbroker("topics --create --topic orders --if-not-exists") == []
    pykbroker("topics --delete --topic orders,absent --if-exists")
    assert pykbroker("topics --list -o json") == []
    pykbroker("topics --describe --topic orders", code=1)
    assert pykbroker.complaint == "pykbroker: UNKNOWN_TOPIC_OR_PARTITION: topic orders\n"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_lines_become_records_and_records_lines(pykbroker, broker, codec) -> None:
    broker.create_topic("t", 3)
    properties = "--property parse.key=true --property parse.headers=true --property key.separator=| --property null.marker=NULL"
    lines = "a:1,b:NULL\tk1|v1\na:2\tk2|NULL\nNULL\tk3|ü=€\n"
    assert pykbroker(f"produce --topic t --compression-codec {codec} {properties}", stdin=lines) == ["Produced 3 records to topic t."]
    found = {record.key: record for record in broker.records("t")}
    assert list(found[b"k1"].headers) == [("a", b"1"), ("b", None)]
    assert (found[b"k2"].value, found[b"k3"].value, list(found[b"k3"].headers)) == (None, "ü=€".encode(), [])

    shown = pykbroker(
        "consume --topic t --from-beginning --max-messages 3 --property print.key=true --property print.headers=true --property key.separator=|"
    )
    assert sorted(shown) == ["NO_HEADERS|k3|ü=€", "a:1,b:null|k1|v1", "a:2|k2|null"]
    as_json = pykbroker("consume --topic t --from-beginning --max-messages 3 -o json")
    assert sorted(row["key"] for row in as_json) == ["k1", "k2", "k3"]
    one = pykbroker(f"consume --topic t --partition {found[b'k1'].partition} --offset 0 --max-messages 1 --property print.offset=true")
    assert one[0].startswith("Offset:0\t")


def test_a_line_that_lacks_what_it_must_have_is_named(pykbroker, broker) -> None:
    broker.create_topic("t")
    pykbroker("produce --topic t --property parse.key=true", stdin="k\tv\nno key\n", code=2)
    assert pykbroker.complaint == "pykbroker: Line 2: there is no key.separator ('\\t') in it.\n"
    pykbroker("produce --topic t --property parse.keys=true", stdin="", code=2)
    assert "there are parse.key, key.separator" in pykbroker.complaint


def test_producing_makes_a_topic_and_bytes_that_are_no_text_are_base64(pykbroker, broker) -> None:
    pykbroker("produce --topic made", stdin="one\n")
    broker.produce("made", b"\xff\xfe")
    assert [row["value"] for row in pykbroker("consume --topic made --from-beginning --max-messages 2 -o json")] == [
        "one",
        {"base64": "//4="},
    ]


def test_a_group_reads_commits_is_described_reset_and_deleted(pykbroker, broker) -> None:
    broker.create_topic("t", 2)
    for number in range(6):
        broker.produce("t", b"%d" % number, partition=number % 2, timestamp=1_700_000_000_000 + 1000 * number)
    assert sorted(pykbroker("consume --topic t --group g --from-beginning --max-messages 6")) == list("012345")
    assert pykbroker("consume --topic t --group g --from-beginning --timeout-ms 1") == []
    assert pykbroker("groups --list") == ["g"]
    rows = pykbroker("groups --describe --group g -o json")
    assert [(row["partition"], row["current_offset"], row["log_end_offset"], row["lag"]) for row in rows] == [(0, 3, 3, 0), (1, 3, 3, 0)]
    assert pykbroker("groups --describe --all-groups --state -o json") == [
        {"group": "g", "coordinator": 1, "state": "Empty", "assignor": None, "members": 0}
    ]

    def reset(to: str) -> list[int]:
        return [row["new_offset"] for row in pykbroker(f"groups --reset-offsets --group g --topic t {to} -o json")]

    assert reset("--to-earliest") == [0, 0]
    assert "add --execute" in pykbroker.complaint
    assert reset("--shift-by -1 --execute") == [2, 2]
    assert sorted(pykbroker("consume --topic t --group g --max-messages 2")) == ["4", "5"]
    assert reset("--to-latest") == [3, 3]
    assert reset("--to-offset 99") == [3, 3]
    assert reset("--to-current") == [3, 3]
    assert reset("--to-datetime 2023-11-14T22:13:22") == [1, 1]
    assert reset("--by-duration P1D") == [3, 3]
    assert [row["partition"] for row in pykbroker("groups --reset-offsets --group g --topic t:1 --to-earliest -o json")] == [1]
    pykbroker("groups --delete-offsets --group g --topic t:0")
    assert [row["partition"] for row in pykbroker("groups --describe --group g -o json")] == [1]
    assert pykbroker("groups --delete --group g") == ["Deleted group g."]
    pykbroker("groups --describe --group g", code=1)
    assert "GROUP_ID_NOT_FOUND: group g does not exist" in pykbroker.complaint


def test_a_member_sees_its_partitions_and_its_offsets_cannot_be_reset(pykbroker, broker) -> None:
    from confluent_kafka import Consumer

    broker.create_topic("t", 2)
    broker.produce("t", b"a")
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "client.id": "reader", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe(["t"])
        assert consumer.poll(20).value() == b"a"
        members = pykbroker("groups --describe --group g --members -o json")
        assert [(row["client_id"], row["host"], row["partitions"]) for row in members] == [("reader", "/127.0.0.1", ["t:0", "t:1"])]
        pykbroker("groups --reset-offsets --group g --topic t --to-earliest --execute", code=1)
        assert "NON_EMPTY_GROUP" in pykbroker.complaint
    finally:
        consumer.close()


def test_configs_are_described_set_and_deleted(pykbroker, broker) -> None:
    broker.create_topic("t")
    pykbroker("configs --alter --entity-type topics --entity-name t --add-config cleanup.policy=[compact,delete],retention.ms=1000")
    rows = pykbroker("configs --describe --topic t -o json")
    changed = {row["config"]: row["value"] for row in rows if row["source"] == "DYNAMIC_TOPIC_CONFIG"}
    assert changed == {"cleanup.policy": "compact,delete", "retention.ms": "1000"}
    pykbroker("configs --alter --topic t --delete-config retention.ms,cleanup.policy")
    assert not [row for row in pykbroker("configs --describe --topic t -o json") if row["source"] == "DYNAMIC_TOPIC_CONFIG"]
    everything = pykbroker("configs --describe --topic t --all -o json")
    assert {"retention.ms", "max.message.bytes"} <= {row["config"] for row in everything}
    pykbroker("configs --alter --broker 1 --add-config log.cleaner.threads=2")
    pykbroker("configs --alter --entity-type brokers --entity-default --add-config log.retention.ms=7000")
    by_name = {row["config"]: row["source"] for row in pykbroker("configs --describe --broker 1 -o json")}
    assert (by_name["log.cleaner.threads"], by_name["log.retention.ms"]) == ("DYNAMIC_BROKER_CONFIG", "DYNAMIC_DEFAULT_BROKER_CONFIG")
    pykbroker("configs --alter --topic t --add-config nope=1", code=1)
    assert "nope" in pykbroker.complaint
    pykbroker("configs --alter --topic t --add-config nope", code=2)
    assert "write KEY=VALUE" in pykbroker.complaint


def test_wrong_words_and_missing_brokers_are_one_sentence(capsys) -> None:
    assert commands.run(["topics", "-b", "127.0.0.1:1", "--list"]) == 1
    assert capsys.readouterr().err.startswith("pykbroker: No broker at 127.0.0.1:1")
    assert commands.run(["topics", "-b", "localhost", "--list"]) == 1
    assert capsys.readouterr().err == "pykbroker: localhost is not an address; write HOST:PORT.\n"
    assert commands.run(["grups"]) == 2
    assert capsys.readouterr().err == "pykbroker: grups is not a command; did you mean groups?\n"


def batch(base_offset: int, *records: NewRecord, **properties: object) -> bytes:
    return build_batch(records, BatchProperties(base_offset=base_offset, **properties))


def test_log_shows_batches_records_and_damage(tmp_path, capsys) -> None:
    directory = tmp_path / "orders-0"
    directory.mkdir()
    good = batch(0, NewRecord(b"a", b"k", [("h", b"1")], 5), NewRecord(b"\xff", None, timestamp=6)) + batch(2, NewRecord(b"c", timestamp=7))
    control = batch(
        3, NewRecord(struct.pack(">hi", 0, 0), struct.pack(">hh", 0, ControlRecordType.COMMIT)), is_control=True, is_transactional=True
    )
    log = directory / "00000000000000000000.log"
    log.write_bytes(good + control)
    assert commands.run(["log", "--data-dir", str(tmp_path), "--topic", "orders", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["base_offset"], row["last_offset"], row["count"], row["control"]) for row in rows] == [
        (0, 1, 2, False),
        (2, 2, 1, False),
        (3, 3, 1, True),
    ]
    assert commands.run(["log", "--data-dir", str(tmp_path), "--topic", "orders", "--partition", "7"]) == 2
    assert capsys.readouterr().err == f"pykbroker: {tmp_path} has no log of partition 7 of topic orders.\n"
    assert commands.run(["log", "--files", str(log), "--print-data-log", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["offset"], row["key"], row["value"], row["headers"]) for row in rows[:3]] == [
        (0, "k", "a", [["h", "1"]]),
        (1, None, "0xff", []),
        (2, None, "c", []),
    ]
    assert rows[3]["key"] == "COMMIT"

    damaged = bytearray(good + control)
    damaged[len(good) - 1] ^= 1
    for content, complaint in [
        (good + control[:-1], "is cut off"),
        (bytes(damaged), "wrong checksum"),
        (good + b"\0" * 12 + b"x" * 100, "there is no batch"),
    ]:
        log.write_bytes(content)
        assert commands.run(["log", "--files", str(log), "-o", "json"]) == 1
        said = capsys.readouterr()
        assert re.match(rf"pykbroker: {re.escape(str(log))}: .*{complaint}", said.err)
        assert json.loads(said.out)[0]["last_offset"] == 1
    assert commands.run(["log", "--files", str(tmp_path / "absent.log")]) == 2
    assert "absent.log cannot be read" in capsys.readouterr().err


def test_log_reads_what_a_broker_wrote(tmp_path, capsys) -> None:
    with KafkaBroker(topics={"t": 1}, data_dir=str(tmp_path)) as broker:
        broker.produce("t", b"a")
        assert (
            commands.run(["consume", "-b", broker.bootstrap, "--topic", "t", "--group", "g", "--from-beginning", "--max-messages", "1"])
            == 0
        )
    capsys.readouterr()
    for topic, expected in {
        "__cluster_metadata": "TopicRecord(name='t'",
        "__consumer_offsets": "OffsetCommitKey(group='g', topic='t')",
    }.items():
        assert commands.run(["log", "--data-dir", str(tmp_path), "--topic", topic, "--print-data-log"]) == 0
        assert expected in capsys.readouterr().out
    files = ",".join(str(path) for path in tmp_path.glob("t-0/*") if path.suffix in {".index", ".timeindex", ".snapshot", ".log"})
    assert commands.run(["log", "--files", files]) == 0
