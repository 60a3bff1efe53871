"""`pykbroker topics`: what kafka-topics does, with its words: --list, --describe, --create, --alter, --delete."""

import argparse
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence

from pykbroker.cli.options import UsageError, add_actions, client, key_value, names, parser
from pykbroker.cli.output import Row, done, show
from pykbroker.client import Client, check
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    MetadataResponse,
)

_TOPIC = 2
_SET_ON_THE_TOPIC = 1


def run(words: Sequence[str]) -> int:
    """Do it; the exit code."""
    options = _parser().parse_args(words)
    with client(options) as asked:
        _ACTIONS[options.action](asked, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("topics", "Create, list, describe, alter and delete topics.")
    add_actions(
        made,
        list="name the topics",
        describe="show partitions, leaders, replicas and configs",
        create="create a topic",
        alter="add partitions (--partitions)",
        delete="delete topics",
    )
    made.add_argument("--topic", action="append", metavar="NAME", help="which topic; may be repeated")
    made.add_argument("--partitions", type=int, metavar="N", help="how many partitions (create, alter)")
    made.add_argument("--replication-factor", type=int, metavar="N", help="how many copies (create)")
    made.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="a config of the new topic; may be repeated")
    made.add_argument("--if-not-exists", action="store_true", help="no error where the topic is there already (create)")
    made.add_argument("--if-exists", action="store_true", help="no error where there is no such topic (alter, delete, describe)")
    made.add_argument("--exclude-internal", action="store_true", help="leave out topics like __consumer_offsets (list, describe)")
    return made


def _list(asked: Client, options: argparse.Namespace) -> None:
    found = _found(asked, options)
    rows: list[Row] = [{"topic": topic.name, "partitions": len(topic.partitions), "internal": topic.is_internal} for topic in found]
    if options.output == "json":
        show(rows, [], "json")
    else:
        for row in rows:
            print(row["topic"])


def _describe(asked: Client, options: argparse.Namespace) -> None:
    found = _found(asked, options)
    configs = _configs(asked, [topic.name or "" for topic in found])
    rows: list[Row] = []
    for topic in found:
        rows.extend(
            {
                "topic": topic.name,
                "topic_id": urlsafe_b64encode(topic.topic_id).rstrip(b"=").decode(),
                "partition": partition.partition_index,
                "leader": partition.leader_id if partition.leader_id >= 0 else None,
                "leader_epoch": partition.leader_epoch,
                "replicas": partition.replica_nodes,
                "isr": partition.isr_nodes,
                "configs": configs.get(topic.name or "", {}),
            }
            for partition in sorted(topic.partitions, key=lambda each: each.partition_index)
        )
    show(rows, ["topic", "partition", "leader", "replicas", "isr", "configs", "topic_id"], options.output)


def _create(asked: Client, options: argparse.Namespace) -> None:
    wanted = _named(options)
    configs = [
        CreateTopicsRequest.CreatableTopicConfig(name=key, value=value)
        for key, value in (key_value(text, "--config") for text in options.config)
    ]
    topics = [
        CreateTopicsRequest.CreatableTopic(
            name=name,
            num_partitions=-1 if options.partitions is None else options.partitions,
            replication_factor=-1 if options.replication_factor is None else options.replication_factor,
            configs=configs,
        )
        for name in wanted
    ]
    answer = asked.ask_controller(CreateTopicsRequest(topics=topics, timeout_ms=options.request_timeout_ms), CreateTopicsResponse)
    for topic in answer.topics:
        if topic.error_code == ErrorCode.TOPIC_ALREADY_EXISTS and options.if_not_exists:
            continue
        check(topic.error_code, topic.error_message or f"topic {topic.name}")
        done(f"Created topic {topic.name}.", options.output)


def _alter(asked: Client, options: argparse.Namespace) -> None:
    if options.partitions is None:
        raise UsageError("topics --alter changes the number of partitions; write --partitions N (configs: `pykbroker configs --alter`).")
    topics = [
        CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=options.partitions, assignments=None) for name in _named(options)
    ]
    request = CreatePartitionsRequest(topics=topics, timeout_ms=options.request_timeout_ms, validate_only=False)
    for topic in asked.ask_controller(request, CreatePartitionsResponse).results:
        if _may_be_missing(topic.error_code, options):
            continue
        check(topic.error_code, topic.error_message or f"topic {topic.name}")
        done(f"Topic {topic.name} has {options.partitions} partitions.", options.output)


def _delete(asked: Client, options: argparse.Namespace) -> None:
    wanted = _named(options)
    request = DeleteTopicsRequest(
        topics=[DeleteTopicsRequest.DeleteTopicState(name=name) for name in wanted], timeout_ms=options.request_timeout_ms
    )
    for topic in asked.ask_controller(request, DeleteTopicsResponse).responses:
        if _may_be_missing(topic.error_code, options):
            continue
        check(topic.error_code, topic.error_message or f"topic {topic.name}")
        done(f"Deleted topic {topic.name}.", options.output)


_ACTIONS: dict[str, Callable[[Client, argparse.Namespace], None]] = {
    "list": _list,
    "describe": _describe,
    "create": _create,
    "alter": _alter,
    "delete": _delete,
}


def _named(options: argparse.Namespace) -> list[str]:
    wanted = names(options.topic)
    if not wanted:
        raise UsageError(f"topics --{options.action} needs --topic NAME.")
    return wanted


def _may_be_missing(error_code: int, options: argparse.Namespace) -> bool:
    return error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and bool(options.if_exists)


def _found(asked: Client, options: argparse.Namespace) -> list[MetadataResponse.MetadataResponseTopic]:
    found = asked.metadata(names(options.topic) or None).topics
    for topic in found:
        if not _may_be_missing(topic.error_code, options) and topic.error_code not in {ErrorCode.NONE, ErrorCode.LEADER_NOT_AVAILABLE}:
            raise KafkaError(ErrorCode(topic.error_code), f"topic {topic.name}")
    shown = [topic for topic in found if not _may_be_missing(topic.error_code, options)]
    return sorted((topic for topic in shown if not (topic.is_internal and options.exclude_internal)), key=lambda topic: topic.name or "")


def _configs(asked: Client, topics: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """What was set on each topic itself."""
    if not topics:
        return {}
    resources = [
        DescribeConfigsRequest.DescribeConfigsResource(resource_type=_TOPIC, resource_name=name, configuration_keys=None) for name in topics
    ]
    answer = asked.ask(DescribeConfigsRequest(resources=resources), DescribeConfigsResponse)
    return {
        result.resource_name: {config.name: config.value for config in result.configs if config.config_source == _SET_ON_THE_TOPIC}
        for result in answer.results
    }
