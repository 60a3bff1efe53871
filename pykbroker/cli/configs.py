"""`pykbroker configs`: what kafka-configs does, with its words: --describe and --alter of topics, brokers and groups."""

import argparse
import re
from collections.abc import Sequence

from pykbroker.cli.options import UsageError, add_actions, client, names, parser
from pykbroker.cli.output import Row, done, note, show
from pykbroker.client import Client, check
from pykbroker.protocol.messages import (
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    ListGroupsRequest,
    ListGroupsResponse,
)

RESOURCE_TYPES = {"topics": 2, "brokers": 4, "groups": 32}

SOURCES = {
    1: "DYNAMIC_TOPIC_CONFIG",
    2: "DYNAMIC_BROKER_CONFIG",
    3: "DYNAMIC_DEFAULT_BROKER_CONFIG",
    4: "STATIC_BROKER_CONFIG",
    5: "DEFAULT_CONFIG",
    6: "DYNAMIC_BROKER_LOGGER_CONFIG",
    7: "DYNAMIC_CLIENT_METRICS_CONFIG",
    8: "DYNAMIC_GROUP_CONFIG",
}
_SET_AT_RUN_TIME = {1, 2, 3, 6, 7, 8}
_SET, _DELETE = 0, 1


def run(words: Sequence[str]) -> int:
    """Do it; the exit code."""
    options = _parser().parse_args(words)
    _fill_in(options)
    with client(options) as asked:
        if options.action == "describe":
            _describe(asked, options)
        else:
            _alter(asked, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("configs", "Show and change the configs of topics, brokers and groups.")
    add_actions(made, describe="show what was set at run time (with --all: everything)", alter="set and delete configs")
    made.add_argument("--entity-type", choices=list(RESOURCE_TYPES), help="what it is that has the configs")
    made.add_argument("--entity-name", help="which one; for a broker its id")
    made.add_argument("--entity-default", action="store_true", help="all brokers together")
    for kind in RESOURCE_TYPES:
        made.add_argument(f"--{kind[:-1]}", metavar="NAME", help=f"short for --entity-type {kind} --entity-name NAME")
    made.add_argument("--all", action="store_true", help="also what was not set, with where its value is from (describe)")
    made.add_argument("--add-config", metavar="K=V,K=[V,V]", help="configs to set; brackets around a value with commas (alter)")
    made.add_argument("--delete-config", metavar="K,K", help="configs to go back to their defaults (alter)")
    return made


def _fill_in(options: argparse.Namespace) -> None:
    """The short forms become the long ones."""
    for kind in RESOURCE_TYPES:
        short = getattr(options, kind[:-1])
        if short is not None:
            options.entity_type, options.entity_name = kind, short
    if options.entity_type is None:
        raise UsageError(f"configs needs --entity-type; it is one of {', '.join(RESOURCE_TYPES)}.")
    if options.entity_default:
        if options.entity_type != "brokers":
            raise UsageError("--entity-default goes with --entity-type brokers alone.")
        options.entity_name = ""
    if options.entity_name is None and options.action == "alter":
        raise UsageError("configs --alter needs --entity-name NAME (or, for all brokers, --entity-default).")


def _describe(asked: Client, options: argparse.Namespace) -> None:
    resource_type = RESOURCE_TYPES[options.entity_type]
    resources = [
        DescribeConfigsRequest.DescribeConfigsResource(resource_type=resource_type, resource_name=name, configuration_keys=None)
        for name in _entities(asked, options)
    ]
    rows: list[Row] = []
    for resource in resources:
        request = DescribeConfigsRequest(resources=[resource], include_synonyms=True, include_documentation=False)
        answer = asked.ask(request, DescribeConfigsResponse, _node(options.entity_type, resource.resource_name))
        for result in answer.results:
            check(result.error_code, result.error_message or f"{options.entity_type} {result.resource_name}")
            rows.extend(
                {
                    "entity": result.resource_name or "(default)",
                    "config": config.name,
                    "value": config.value,
                    "source": SOURCES.get(config.config_source, str(config.config_source)),
                    "sensitive": config.is_sensitive,
                    "read_only": config.read_only,
                    "synonyms": [
                        {"name": each.name, "value": each.value, "source": SOURCES.get(each.source, str(each.source))}
                        for each in config.synonyms
                    ],
                }
                for config in sorted(result.configs, key=lambda each: each.name)
                if options.all or config.config_source in _SET_AT_RUN_TIME
            )
    show(rows, ["entity", "config", "value", "source"], options.output)
    if not rows and options.output == "text":
        note("Nothing was set at run time; --all shows every config.")


def _alter(asked: Client, options: argparse.Namespace) -> None:
    changes = [
        IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=_SET, value=value)
        for name, value in parse_configs(options.add_config or "")
    ] + [
        IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=_DELETE, value=None)
        for name in names([options.delete_config or ""])
    ]
    if not changes:
        raise UsageError("configs --alter needs --add-config KEY=VALUE or --delete-config KEY.")
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=RESOURCE_TYPES[options.entity_type], resource_name=options.entity_name, configs=changes
    )
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=False)
    answer = asked.ask(request, IncrementalAlterConfigsResponse, _node(options.entity_type, options.entity_name))
    for result in answer.responses:
        check(result.error_code, result.error_message or f"{options.entity_type} {result.resource_name}")
    done(f"Changed the configs of {options.entity_type[:-1]} {options.entity_name or '(default)'}.", options.output)


def parse_configs(text: str) -> list[tuple[str, str]]:
    """K=V,K=[V,V]: as kafka-configs has it. Raises UsageError."""
    pairs = []
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            raise UsageError(f"--add-config {text} cannot be read from `{text[position:]}` on; write KEY=VALUE,KEY=[VALUE,VALUE].")
        pairs.append((match["key"].strip(), match["list"] if match["list"] is not None else match["value"].strip()))
        position = match.end()
    return pairs


_PAIR = re.compile(r"(?P<key>[^=,]+)=(?:\[(?P<list>[^\]]*)\]|(?P<value>[^,\[]*))(?:,|$)")


def _entities(asked: Client, options: argparse.Namespace) -> list[str]:
    """The one that was named, or all there are."""
    if options.entity_name is not None:
        return [options.entity_name]
    if options.entity_type == "topics":
        return sorted(topic.name or "" for topic in asked.metadata(None).topics)
    if options.entity_type == "brokers":
        return [str(node_id) for node_id in sorted(asked.brokers())]
    groups = [asked.ask(ListGroupsRequest(), ListGroupsResponse, node_id).groups for node_id in asked.brokers()]
    return sorted({group.group_id for listed in groups for group in listed})


def _node(entity_type: str, entity_name: str) -> int | None:
    """A broker answers for its own configs."""
    return int(entity_name) if entity_type == "brokers" and entity_name.isdigit() else None
