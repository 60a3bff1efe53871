"""`pykbroker groups`: what kafka-consumer-groups does, with its words: list, describe, reset offsets, delete offsets, delete."""

import argparse
from collections.abc import Callable, Sequence

from pykbroker.cli.group_offsets import committed, delete_offsets, reset_offsets
from pykbroker.cli.options import UsageError, add_actions, client, names, parser
from pykbroker.cli.output import Row, done, note, show
from pykbroker.client import EARLIEST, LATEST, Client, check
from pykbroker.protocol.codec import decode_prefix
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.protocol.messages import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    ConsumerProtocolAssignment,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    ListGroupsRequest,
    ListGroupsResponse,
)

Member = dict[str, str | None]
Assignment = dict[tuple[str, int], Member]


def run(words: Sequence[str]) -> int:
    """Do it; the exit code."""
    options = _parser().parse_args(words)
    with client(options) as asked:
        _ACTIONS[options.action](asked, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("groups", "List, describe, reset and delete consumer groups and their offsets.")
    add_actions(
        made,
        list="name the groups",
        describe="show offsets and lag (or --members, --state)",
        reset_offsets="set the offsets of a group that has no members",
        delete_offsets="forget offsets of a group",
        delete="delete groups",
    )
    made.add_argument("--group", action="append", metavar="NAME", help="which group; may be repeated")
    made.add_argument("--all-groups", action="store_true", help="every group")
    made.add_argument("--topic", action="append", metavar="TOPIC[:P,P]", help="which topic, or some of its partitions; may be repeated")
    made.add_argument("--all-topics", action="store_true", help="every topic the group has offsets in (reset)")
    view = made.add_mutually_exclusive_group()
    for name, what in {"offsets": "the default", "members": "who is in it", "state": "how it is"}.items():
        view.add_argument(f"--{name}", dest="view", action="store_const", const=name, help=f"{what} (describe)")
    to = made.add_mutually_exclusive_group()
    to.add_argument("--to-earliest", action="store_true", help="the first record that is there")
    to.add_argument("--to-latest", action="store_true", help="behind the last record")
    to.add_argument("--to-current", action="store_true", help="where it stands")
    to.add_argument("--to-offset", type=int, metavar="OFFSET", help="this offset")
    to.add_argument("--shift-by", type=int, metavar="N", help="so many records on, or back where negative")
    to.add_argument("--to-datetime", metavar="YYYY-MM-DDTHH:MM:SS", help="the first record from then on (UTC unless it says otherwise)")
    to.add_argument("--by-duration", metavar="PnDTnHnMnS", help="the first record not older than that")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--execute", action="store_true", help="do it (reset)")
    how.add_argument("--dry-run", action="store_true", help="only show it; the default (reset)")
    return made


def _list(asked: Client, options: argparse.Namespace) -> None:
    rows: list[Row] = [
        {"group": group.group_id, "type": group.group_type or None, "protocol_type": group.protocol_type, "state": group.group_state}
        for group in _groups(asked)
    ]
    if options.output == "json":
        show(rows, [], "json")
    else:
        for row in rows:
            print(row["group"])


def _describe(asked: Client, options: argparse.Namespace) -> None:
    rows: list[Row] = []
    for group in _named(asked, options):
        described = describe(asked, group)
        if options.view == "state":
            rows.append(described.state)
        elif options.view == "members":
            rows.extend(described.members)
        else:
            rows.extend(_offset_rows(asked, group, described.assignment))
            if not described.members and options.output == "text":
                note(f"Group {group} has no active members.")
    columns = {
        "state": ["group", "coordinator", "state", "assignor", "members"],
        "members": ["group", "member_id", "instance_id", "client_id", "host", "partitions"],
    }.get(
        options.view,
        ["group", "topic", "partition", "current_offset", "log_end_offset", "lag", "member_id", "host", "client_id"],
    )
    show(rows, columns, options.output)


def _offset_rows(asked: Client, group: str, assignment: Assignment) -> list[Row]:
    offsets = committed(asked, group)
    rows: list[Row] = []
    for topic, partition in sorted({*offsets, *assignment}):
        current = offsets.get((topic, partition))
        try:
            end: int | None = asked.offset(topic, partition, LATEST)
        except KafkaError:
            end = None  # The topic is gone, its offsets are not.
        lag = None if end is None or current is None else max(0, end - current)
        member = assignment.get((topic, partition), {})
        rows.append(
            {
                "group": group,
                "topic": topic,
                "partition": partition,
                "current_offset": current,
                "log_start_offset": None if end is None else asked.offset(topic, partition, EARLIEST),
                "log_end_offset": end,
                "lag": lag,
                "member_id": member.get("member_id"),
                "host": member.get("host"),
                "client_id": member.get("client_id"),
            }
        )
    return rows


def _reset_offsets(asked: Client, options: argparse.Namespace) -> None:
    for group in _named(asked, options):
        described = describe(asked, group, may_be_missing=True)
        if described.members:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {group} has members; stop them before its offsets are set")
        rows = reset_offsets(asked, group, options)
        show(rows, ["group", "topic", "partition", "current_offset", "new_offset"], options.output)
        if not options.execute:
            note("Nothing was changed: add --execute to do it.")


def _delete_offsets(asked: Client, options: argparse.Namespace) -> None:
    for group in _named(asked, options):
        for topic, partition in delete_offsets(asked, group, options):
            done(f"Group {group} has no offset in partition {partition} of topic {topic} any more.", options.output)


def _delete(asked: Client, options: argparse.Namespace) -> None:
    for group in _named(asked, options):
        request = DeleteGroupsRequest(groups_names=[group])

        def delete(group: str = group, request: DeleteGroupsRequest = request) -> None:
            for result in asked.ask_coordinator(group, request, DeleteGroupsResponse).results:
                check(result.error_code, f"group {group}")

        asked.until_it_works(delete)
        done(f"Deleted group {group}.", options.output)


_ACTIONS: dict[str, Callable[[Client, argparse.Namespace], None]] = {
    "list": _list,
    "describe": _describe,
    "reset_offsets": _reset_offsets,
    "delete_offsets": _delete_offsets,
    "delete": _delete,
}


def _groups(asked: Client) -> list[ListGroupsResponse.ListedGroup]:
    """Every group, whoever coordinates it."""
    found = {}
    for node_id in asked.brokers():

        def look(node_id: int = node_id) -> ListGroupsResponse:
            answer = asked.ask(ListGroupsRequest(), ListGroupsResponse, node_id)
            check(answer.error_code, "ListGroups")
            return answer

        found.update({group.group_id: group for group in asked.until_it_works(look).groups})
    return [found[name] for name in sorted(found)]


def _named(asked: Client, options: argparse.Namespace) -> list[str]:
    wanted = [group.group_id for group in _groups(asked)] if options.all_groups else names(options.group)
    if not wanted and not options.all_groups:
        raise UsageError(f"groups --{options.action.replace('_', '-')} needs --group NAME, or --all-groups.")
    return wanted


class Described:
    """A group as its coordinator describes it."""

    def __init__(self, group: str, coordinator: int, state: str, assignor: str) -> None:
        self.members: list[Row] = []
        self.assignment: Assignment = {}
        self._group = group
        self._coordinator = coordinator
        self._state = state
        self._assignor = assignor

    def add(self, member_id: str, instance_id: str | None, client_id: str, host: str, partitions: Sequence[tuple[str, int]]) -> None:
        """A member, and what it was given."""
        who: Member = {"member_id": member_id, "host": host, "client_id": client_id}
        given = [f"{topic}:{partition}" for topic, partition in partitions]
        self.members.append({"group": self._group, **who, "instance_id": instance_id, "partitions": given})
        self.assignment.update(dict.fromkeys(partitions, who))

    @property
    def state(self) -> Row:
        """The group as a whole."""
        return {
            "group": self._group,
            "coordinator": self._coordinator,
            "state": self._state,
            "assignor": self._assignor or None,
            "members": len(self.members),
        }


def describe(asked: Client, group: str, *, may_be_missing: bool = False) -> Described:
    """Ask as the group's kind wants to be asked: KIP-848 groups have an API of their own."""
    coordinator = asked.coordinator(group)
    kinds = {listed.group_id: listed.group_type for listed in _groups(asked)}
    if kinds.get(group) in {"consumer", "Consumer"}:
        return _describe_consumer_group(asked, group, coordinator)
    answer = asked.ask(DescribeGroupsRequest(groups=[group]), DescribeGroupsResponse, coordinator).groups[0]
    missing = answer.error_code == ErrorCode.GROUP_ID_NOT_FOUND or answer.group_state == "Dead"
    if missing and not may_be_missing:
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"group {group} does not exist")
    if not missing:
        check(answer.error_code, answer.error_message or f"group {group}")
    described = Described(group, coordinator, answer.group_state, answer.protocol_data)
    for member in answer.members:
        partitions = _assigned(member.member_assignment) if answer.protocol_type == "consumer" else []
        described.add(member.member_id, member.group_instance_id, member.client_id, member.client_host, partitions)
    return described


def _describe_consumer_group(asked: Client, group: str, coordinator: int) -> Described:
    request = ConsumerGroupDescribeRequest(group_ids=[group], include_authorized_operations=False)
    answer = asked.ask(request, ConsumerGroupDescribeResponse, coordinator).groups[0]
    check(answer.error_code, answer.error_message or f"group {group}")
    described = Described(group, coordinator, answer.group_state, answer.assignor_name)
    for member in answer.members:
        partitions = [(topic.topic_name, index) for topic in member.assignment.topic_partitions for index in topic.partitions]
        described.add(member.member_id, member.instance_id, member.client_id, member.client_host, partitions)
    return described


def _assigned(assignment: bytes) -> list[tuple[str, int]]:
    """What a member of a classic group was given, as the consumers' own protocol writes it: a version, then the message."""
    if len(assignment) < 2:
        return []
    version = min(int.from_bytes(assignment[:2], "big"), ConsumerProtocolAssignment.VERSIONS.stop - 1)
    given, _ = decode_prefix(ConsumerProtocolAssignment, version, assignment, 2)
    return sorted((topic.topic, index) for topic in given.assigned_partitions for index in topic.partitions)
