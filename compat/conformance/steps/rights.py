"""What a user has to be allowed for a request to be answered: one case for an API, which becomes a check of its own.

A case names the rights in the order in which the broker asks for them, and what it answers to who has only those before.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect_equal
from pykbroker.compat.steps.acls import (
    ACLS,
    ALTER,
    ALTER_CONFIGS,
    CLUSTER,
    CLUSTER_ACTION,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    READ,
    THE_CLUSTER,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
    allow,
)
from pykbroker.compat.steps.users import AUTHORIZER, SASL_LISTENER, USERS, User
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import Message, Struct

if TYPE_CHECKING:
    from pykbroker.protocol.messages import Request

NEEDS = (SASL_LISTENER, AUTHORIZER)
APIS = (*ACLS, *USERS)
NO_TOPIC, NO_GROUP = ErrorCode.TOPIC_AUTHORIZATION_FAILED, ErrorCode.GROUP_AUTHORIZATION_FAILED
NO_CLUSTER, NO_TRANSACTION = ErrorCode.CLUSTER_AUTHORIZATION_FAILED, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
REFUSALS = frozenset((NO_TOPIC, NO_GROUP, NO_CLUSTER, NO_TRANSACTION, ErrorCode.DELEGATION_TOKEN_AUTHORIZATION_FAILED))

OPERATIONS = {
    READ: "Read",
    WRITE: "Write",
    CREATE: "Create",
    DELETE: "Delete",
    ALTER: "Alter",
    DESCRIBE: "Describe",
    CLUSTER_ACTION: "ClusterAction",
    DESCRIBE_CONFIGS: "DescribeConfigs",
    ALTER_CONFIGS: "AlterConfigs",
}
RESOURCES = {TOPIC: "topic", GROUP: "group", CLUSTER: "cluster", TRANSACTIONAL_ID: "transactional id"}

Right = tuple[int, int]
"""An operation and a type of resource."""


@dataclass(slots=True)
class World:
    """What a request may be about; nobody but the suite itself may do anything with it."""

    target: Target
    user: User
    topic: Topic
    group: str
    transactional_id: str

    def name_of(self, resource_type: int) -> str:
        """The resource of that type."""
        return {TOPIC: self.topic.name, GROUP: self.group, CLUSTER: THE_CLUSTER, TRANSACTIONAL_ID: self.transactional_id}[resource_type]


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and by which error who lacks which right is refused, in that order."""

    api: str
    version: int
    request: Callable[[World], Message]
    lacking: tuple[tuple[Right, ErrorCode], ...]
    about: str = ""
    apis: tuple[str, ...] = field(default=())
    farewell: Callable[[World], Message] | None = None
    """What the suite asks after the check, in the same version, so that the group can be deleted."""


def register(id_: str, cases: Iterable[Case]) -> None:
    """Make each case a check."""
    for case in cases:
        check(id_, api=(case.api, *APIS, *case.apis), needs=NEEDS)(_check_of(case))


def new_world(target: Target) -> World:
    """Things of a check's own, and a user who may do nothing."""
    group = target.new_group()
    target.wait_for_coordinator(group)
    return World(target, User(target), target.new_topic(), group, target.new_transactional_id())


def errors_in(answer: object) -> set[int]:
    """Every error code in an answer that is one, however deep."""
    return {code for code in _error_codes(answer) if code != ErrorCode.NONE}


def refusals_in(answer: object) -> set[int]:
    """Those that say that somebody may not."""
    return errors_in(answer) & REFUSALS


def _check_of(case: Case) -> Callable[[Target], None]:
    def tried(target: Target) -> None:
        world = new_world(target)
        if (farewell := case.farewell) is not None:
            target.afterwards(lambda: target.ask_newest(cast("Request[Message]", farewell(world)), case.version))
        for (operation, resource_type), error in case.lacking:
            eventually(lambda: _refusals(world, case), lambda found, error=error: found == {error}, f"{case.api} is {error.name}")  # type: ignore[misc]
            allow(world.user, operation, resource_type, world.name_of(resource_type))
        eventually(lambda: _refusals(world, case), lambda found: not found, f"{case.api} is not refused any more")
        expect_equal("what is refused", _refusals(world, case), set())

    rights = [f"{OPERATIONS[operation]} on the {RESOURCES[resource_type]}" for (operation, resource_type), _ in case.lacking]
    about = f" of {case.about}" if case.about else ""
    refusals = ", ".join(f"without {right} {error.name}" for right, (_, error) in zip(rights, case.lacking, strict=True))
    tried.__name__ = re.sub(r"\W+", "_", re.sub(r"(?<!^)(?=[A-Z])", "_", case.api) + about + " needs " + " and ".join(rights)).lower()
    tried.__doc__ = f"Given {case.api}{about}, {refusals}; with {' and '.join(rights)}, no refusal. KIP-11."
    return tried


def _refusals(world: World, case: Case) -> set[int]:
    request = cast("Request[Message]", case.request(world))
    return refusals_in(world.user.ask_newest(request, case.version))


def _error_codes(part: object) -> Iterator[int]:
    if isinstance(part, list):
        for one in part:
            yield from _error_codes(one)
    elif isinstance(part, Struct):
        for one in part._fields:
            value = getattr(part, one.name)
            if one.name.endswith("error_code"):
                yield value
            else:
                yield from _error_codes(value)
