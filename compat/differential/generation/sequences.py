"""From a seed to a sequence: what it is mostly about, and one request after the other."""

from collections.abc import Callable

from compat.differential.generation import admin, data, groups, stories
from compat.differential.generation.world import World
from compat.differential.steps import Sequence

_Action = Callable[[World], None]

_DATA: list[_Action] = [
    *[data.produce] * 5,
    *[data.fetch] * 4,
    *[data.list_offsets] * 2,
    data.offset_for_leader_epoch,
    data.delete_records,
    stories.limits,
    stories.session,
    stories.times,
]
_PRODUCERS: list[_Action] = [data.init_producer_id, data.produce, data.produce, data.fetch, stories.retries]
_GROUPS: list[_Action] = [
    *[groups.join] * 4,
    groups.sync,
    groups.heartbeat,
    groups.heartbeat,
    groups.leave,
    groups.offset_commit,
    groups.offset_commit,
    groups.offset_fetch,
    groups.offset_fetch,
    groups.offset_delete,
    *[groups.administer] * 3,
    stories.rebalance,
    stories.replaced_static_member,
    stories.subscribed_group,
    stories.kept_offsets,
]
_ADMIN: list[_Action] = [
    admin.create_topics,
    admin.create_topics,
    admin.create_partitions,
    admin.delete_topics,
    *[admin.metadata] * 3,
    *[admin.describe_configs] * 2,
    *[admin.alter_configs] * 3,
    *[admin.ask_about_cluster] * 2,
    stories.internal_topic,
    stories.configs,
]
_SUBJECTS = {
    "data": _DATA,
    "producers": _PRODUCERS,
    "groups": _GROUPS,
    "admin": _ADMIN,
    "everything": _DATA + _PRODUCERS + _GROUPS + _ADMIN,
}
_SHORTEST, _LONGEST = 10, 34


def sequence(seed: int) -> Sequence:
    """The sequence of that seed: always the same."""
    world = World(seed)
    actions = world.chance.choice(list(_SUBJECTS.values()))
    if not world.rarely(0.03):
        admin.create_first_topics(world)
    length = world.chance.randrange(_SHORTEST, _LONGEST)
    while len(world.sequence.steps) < length:
        chosen = actions if world.rarely(0.85) else _SUBJECTS["everything"]
        world.chance.choice(chosen)(world)
    return world.sequence
