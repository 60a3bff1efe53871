"""Kafka's own command-line tools, as an administrator would use them."""

import json
import pathlib
import re
import subprocess
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).parent.parent), str(pathlib.Path(__file__).parent.parent.parent / "oracle")]

import kafka as oracle  # noqa: E402
from scenario import Run, check, run, scenario  # noqa: E402

RECORDS = 1000
TOOL_TIMEOUT_S = 90

NAMES = (
    "topics",
    "console producer and consumer",
    "consumer groups",
    "configs",
    "delete records",
    "get offsets",
    "producer and consumer performance",
    "verifiable producer and consumer",
    "topics are deleted",
)


def tool(this: Run, name: str, *arguments: str, stdin: str = "", expect: int = 0) -> str:
    command = oracle.tool(name, "--bootstrap-server", this.bootstrap, *arguments)
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)
    check(done.returncode == expect, f"{name} {arguments} ended with {done.returncode}: {done.stdout[-600:]} {done.stderr[-600:]}")
    return done.stdout + done.stderr


@scenario("topics")
def topics(this: Run) -> None:
    topic = this.topic("tools")
    tool(
        this,
        "TopicCommand",
        "--create",
        "--topic",
        topic,
        "--partitions",
        "3",
        "--replication-factor",
        "1",
        "--config",
        "retention.ms=3600000",
    )
    check(topic in tool(this, "TopicCommand", "--list"), "the topic is not listed")
    described = tool(this, "TopicCommand", "--describe", "--topic", topic)
    check("PartitionCount: 3" in described and "retention.ms=3600000" in described, described)
    tool(this, "TopicCommand", "--alter", "--topic", topic, "--partitions", "4")
    check("PartitionCount: 4" in tool(this, "TopicCommand", "--describe", "--topic", topic), "no fourth partition")
    refused = tool(this, "TopicCommand", "--create", "--topic", topic, expect=1)
    check("already exists" in refused or "TopicExists" in refused, refused)


@scenario("console producer and consumer")
def console(this: Run) -> None:
    topic = this.topic("tools")
    lines = "".join(f"key-{number % 10}:value-{number}\n" for number in range(RECORDS))
    tool(
        this,
        "ConsoleProducer",
        "--topic",
        topic,
        "--property",
        "parse.key=true",
        "--property",
        "key.separator=:",
        "--compression-codec",
        "zstd",
        stdin=lines,
    )
    group = this.topic("tools-group")
    arguments = ["--topic", topic, "--from-beginning", "--max-messages", str(RECORDS), "--group", group, "--timeout-ms", "30000"]
    out = tool(this, "ConsoleConsumer", *arguments, "--property", "print.key=true", "--property", "key.separator=:")
    found = sorted(line for line in out.splitlines() if line.startswith("key-"))
    check(found == sorted(lines.splitlines()), f"{len(found)} of {RECORDS} lines came back")


@scenario("consumer groups")
def consumer_groups(this: Run) -> None:
    topic, group = this.topic("tools"), this.topic("tools-group")
    check(group in tool(this, "ConsumerGroupCommand", "--list"), "the group is not listed")
    described = tool(this, "ConsumerGroupCommand", "--describe", "--group", group)
    rows = [line.split() for line in described.splitlines() if line.startswith(group)]
    check(sum(int(row[3]) for row in rows) == RECORDS and sum(int(row[5]) for row in rows) == 0, described)
    check("Empty" in tool(this, "ConsumerGroupCommand", "--describe", "--group", group, "--state"), "the group is not empty")
    tool(this, "ConsumerGroupCommand", "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
    described = tool(this, "ConsumerGroupCommand", "--describe", "--group", group)
    rows = [line.split() for line in described.splitlines() if line.startswith(group)]
    check(sum(int(row[3]) for row in rows) == 0, described)
    tool(this, "ConsumerGroupCommand", "--delete-offsets", "--group", group, "--topic", topic)
    tool(this, "ConsumerGroupCommand", "--delete", "--group", group)
    check(group not in tool(this, "ConsumerGroupCommand", "--list"), "the group is still there")


@scenario("configs")
def configs(this: Run) -> None:
    topic = this.topic("tools")
    entity = ["--entity-type", "topics", "--entity-name", topic]
    tool(this, "ConfigCommand", "--alter", *entity, "--add-config", "max.message.bytes=2000000,cleanup.policy=[delete]")
    check("max.message.bytes=2000000" in tool(this, "ConfigCommand", "--describe", *entity), "the config is not there")
    tool(this, "ConfigCommand", "--alter", *entity, "--delete-config", "max.message.bytes")
    check("max.message.bytes" not in tool(this, "ConfigCommand", "--describe", *entity), "the config is still there")
    refused = tool(this, "ConfigCommand", "--alter", *entity, "--add-config", "retention.ms=soon", expect=1)
    check("InvalidConfiguration" in refused or "Invalid value" in refused or "ConfigException" in refused, refused)
    check(
        "log.retention" in tool(this, "ConfigCommand", "--describe", "--entity-type", "brokers", "--entity-name", "1", "--all"),
        "no broker configs",
    )


@scenario("delete records")
def delete_records(this: Run) -> None:
    topic = this.topic("tools")
    file = pathlib.Path("/tmp") / f"{topic}.json"
    file.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": -1}], "version": 1}))
    out = tool(this, "DeleteRecordsCommand", "--offset-json-file", str(file))
    file.unlink()
    check(re.search(r"low_watermark: \d+", out), out)


@scenario("get offsets")
def get_offsets(this: Run) -> None:
    topic = this.topic("tools")
    latest = dict(
        line.rsplit(":", 1)
        for line in tool(this, "GetOffsetShell", "--topic", topic, "--time", "-1").splitlines()
        if line.startswith(topic)
    )
    earliest = dict(
        line.rsplit(":", 1)
        for line in tool(this, "GetOffsetShell", "--topic", topic, "--time", "-2").splitlines()
        if line.startswith(topic)
    )
    check(sum(map(int, latest.values())) == RECORDS, f"{latest}")
    check(earliest[f"{topic}:0"] == latest[f"{topic}:0"], "the deleted records are still there")
    tool(this, "GetOffsetShell", "--topic", topic, "--time", str(int(time.time() * 1000)))


@scenario("producer and consumer performance")
def performance(this: Run) -> None:
    topic = this.topic("perf")
    tool(this, "TopicCommand", "--create", "--topic", topic, "--partitions", "2")
    oracle_command = oracle.tool(
        "ProducerPerformance", "--topic", topic, "--num-records", "20000", "--record-size", "500", "--throughput", "-1",
        "--producer-props", f"bootstrap.servers={this.bootstrap}", "acks=all",
    )  # fmt: skip
    done = subprocess.run(oracle_command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)
    check(done.returncode == 0 and "20000 records sent" in done.stdout, done.stdout[-500:] + done.stderr[-500:])
    out = tool(this, "ConsumerPerformance", "--topic", topic, "--messages", "20000", "--timeout", "30000")
    check(", 20000," in out, out)


@scenario("verifiable producer and consumer")
def verifiable(this: Run) -> None:
    topic = this.topic("verifiable")
    tool(this, "TopicCommand", "--create", "--topic", topic, "--partitions", "2")
    out = tool(this, "VerifiableProducer", "--topic", topic, "--max-messages", "500", "--acks", "-1")
    check(out.count("producer_send_success") == 500, out[-500:])
    arguments = ["--topic", topic, "--group-id", this.topic("verifiable-group"), "--max-messages", "500", "--reset-policy", "earliest"]
    out = tool(this, "VerifiableConsumer", *arguments)
    check("offsets_committed" in out and '"success":false' not in out, out[-500:])


@scenario("topics are deleted")
def deleted(this: Run) -> None:
    for name in ("tools", "perf", "verifiable"):
        tool(this, "TopicCommand", "--delete", "--topic", this.topic(name))
    listed = tool(this, "TopicCommand", "--list")
    check(this.topic("tools") not in listed, listed)


if __name__ == "__main__":
    run(NAMES)
