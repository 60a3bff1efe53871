"""Classic groups: the way into a group, the life in it, offsets, and what administrators ask."""

from compat.differential.generation.world import CONNECTIONS, Member, World
from compat.differential.steps import Answered, Subscription
from pykbroker.protocol.messages import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)

_GROUPS = ["~g", "~g", "~g", "~h", "~never"]
_NEVER_JOINED = "~never"
_BY_ID = 10
_KNOWS_INSTANCES = 5
_NEW_ID_FIRST = 4


def join(world: World) -> None:
    """A new member, or one that comes again."""
    chance = world.chance
    if world.members and world.rarely(0.5):
        member = chance.choice(world.members)
    else:
        instance = chance.choice([None, None, "~i1", "~i2"])
        member = Member(chance.choice(_GROUPS[:4]), chance.randrange(CONNECTIONS), instance, chance.choice(["consumer"] * 6 + ["connect"]))
    join_as(world, member)
    if world.rarely(0.7):
        sync(world, member)


def join_as(world: World, member: Member, protocols: list[str] | None = None) -> None:
    """The way of that member into its group; of one that has no id yet, through being given one. It speaks these protocols, or any."""
    version = world.version_of(JoinGroupRequest)
    if member.instance_id is not None:
        version = max(version, _KNOWS_INSTANCES)
    number = world.ask(_join_request(world, member, protocols), version, connection=member.connection)
    if member.instance_id is None and version >= _NEW_ID_FIRST and member.member_id == "":
        member.member_id = Answered(number, ("member_id",), "")
        number = world.ask(_join_request(world, member, protocols), version, connection=member.connection)
    member.member_id = Answered(number, ("member_id",), "")
    member.generation = Answered(number, ("generation_id",), 1)
    if member not in world.members:
        world.members.append(member)


def _join_request(world: World, member: Member, protocols: list[str] | None) -> JoinGroupRequest:
    chance = world.chance
    names = protocols or chance.choice([["range"], ["range"], ["range", "roundrobin"], ["roundrobin", "range"], ["sticky"]])
    topics = ["~a", "~b"] if protocols is None else ["~a"]
    return JoinGroupRequest(
        group_id=member.group,
        session_timeout_ms=chance.choice([300_000] * 30 + [0, -1, 5000, 1 << 30]),
        rebalance_timeout_ms=300_000,
        member_id=member.member_id,  # type: ignore[arg-type]
        group_instance_id=member.instance_id,
        protocol_type=member.protocol_type,
        protocols=[
            JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=Subscription(chance.choice(topics)))  # type: ignore[arg-type]
            for name in names
        ],
        reason=chance.choice([None, "because"]),
    )


def sync(world: World, member: Member | None = None, connection: int | None = None) -> None:
    """A member's assignment; one that gives none at all may be the leader's too."""
    member = member or _member(world)
    request = SyncGroupRequest(
        group_id=member.group,
        generation_id=member.generation,  # type: ignore[arg-type]
        member_id=member.member_id,  # type: ignore[arg-type]
        group_instance_id=member.instance_id,
        protocol_type=world.chance.choice([None, member.protocol_type, member.protocol_type, "other"]),
        protocol_name=world.chance.choice([None, "range", "range", "range"]),
    )
    request.assignments = [
        SyncGroupRequest.SyncGroupRequestAssignment(member_id=one.member_id, assignment=bytes([index]) * 4)  # type: ignore[arg-type]
        for index, one in enumerate(world.members)
        if one.group == member.group and one.member_id != ""
    ]
    if world.rarely(0.3):
        request.assignments = []
    connection = member.connection if connection is None else connection
    world.ask(request, _version_for(world, SyncGroupRequest, member, 3), connection=connection)


def heartbeat(world: World) -> None:
    """A sign of life."""
    heartbeat_of(world, _member(world))


def heartbeat_of(world: World, member: Member, connection: int = 0) -> None:
    """That member's."""
    request = HeartbeatRequest(
        group_id=member.group,
        generation_id=_generation(world, member),  # type: ignore[arg-type]
        member_id=member.member_id,  # type: ignore[arg-type]
        group_instance_id=member.instance_id,
    )
    world.ask(request, _version_for(world, HeartbeatRequest, member, 3), connection=connection)


def leave(world: World) -> None:
    """One member or several, by id or by instance."""
    members = [_member(world) for _ in range(world.chance.choice([1, 1, 1, 2]))]
    request = LeaveGroupRequest(group_id=members[0].group, member_id=members[0].member_id)  # type: ignore[arg-type]
    request.members = [
        LeaveGroupRequest.MemberIdentity(
            member_id="" if one.instance_id and world.rarely(0.5) else one.member_id,  # type: ignore[arg-type]
            group_instance_id=one.instance_id,
            reason=world.chance.choice([None, "going"]),
        )
        for one in members
    ]
    world.ask(request)


def offset_commit(world: World) -> None:
    """By a member, or by nobody in particular."""
    chance = world.chance
    version = world.version_of(OffsetCommitRequest)
    member = _member(world) if world.rarely(0.5) else Member(chance.choice(_GROUPS), 0, None, "consumer")
    too_long = "m" * 5000 if member.group == _NEVER_JOINED else "m"
    topics = []
    for topic in dict.fromkeys(world.some_topics()):
        partitions = [
            OffsetCommitRequest.OffsetCommitRequestPartition(
                partition_index=partition,
                committed_offset=chance.choice([0, 1, 7, 7, -1, 1 << 40]),
                committed_leader_epoch=chance.choice([-1, -1, 0, 5]),
                committed_metadata=chance.choice([None, "", "note", too_long] if world.rarely(0.3) else ["", "note"]),
            )
            for partition in dict.fromkeys(world.some_partitions(topic))
        ]
        topics.append(OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=partitions))
        if version >= _BY_ID:
            topics[-1].topic_id = world.topic_id(topic)  # type: ignore[assignment]
    request = OffsetCommitRequest(
        group_id=member.group,
        generation_id_or_member_epoch=_generation(world, member),  # type: ignore[arg-type]
        member_id=member.member_id,  # type: ignore[arg-type]
        group_instance_id=member.instance_id,
        topics=topics,
    )
    world.ask(request, version)


def offset_fetch(world: World) -> None:
    """Some partitions or all, of one group or two."""
    chance = world.chance
    version = world.version_of(OffsetFetchRequest)
    request = OffsetFetchRequest(group_id=chance.choice(_GROUPS), require_stable=world.rarely(0.3))
    asks_for_all = world.rarely(0.25) and version >= 2
    topics = [(topic, world.some_partitions(topic)) for topic in dict.fromkeys(world.some_topics())]
    if version < 8:
        wanted = [OffsetFetchRequest.OffsetFetchRequestTopic(name=topic, partition_indexes=indexes) for topic, indexes in topics]
        request.topics = None if asks_for_all else wanted
    for group in dict.fromkeys(chance.choice(_GROUPS) for _ in range(chance.choice([1, 1, 2]))) if version >= 8 else ():
        asked = [OffsetFetchRequest.OffsetFetchRequestTopics(name=topic, partition_indexes=indexes) for topic, indexes in topics]
        for one in asked if version >= _BY_ID else ():
            one.topic_id = world.topic_id(one.name)  # type: ignore[assignment]
        request.groups.append(OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group, topics=None if asks_for_all else asked))
    world.ask(request, version)


def offset_delete(world: World) -> None:
    """What was committed, taken back."""
    topics = [
        OffsetDeleteRequest.OffsetDeleteRequestTopic(
            name=topic,
            partitions=[
                OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=one) for one in dict.fromkeys(world.some_partitions(topic))
            ],
        )
        for topic in dict.fromkeys(world.some_topics())
    ]
    world.ask(OffsetDeleteRequest(group_id=world.chance.choice(_GROUPS), topics=topics))


def administer(world: World) -> None:
    """List, describe, find, delete."""
    chance = world.chance
    some = [chance.choice(_GROUPS) for _ in range(chance.choice([1, 1, 2]))]
    match chance.choice(["list", "describe", "describe", "delete", "find"]):
        case "list":
            states = chance.choice([[], [], ["Stable"], ["Empty", "Dead"], ["nonsense"], ["preparingrebalance"]])
            world.ask(ListGroupsRequest(states_filter=states, types_filter=chance.choice([[], [], ["classic"], ["Consumer"], ["odd"]])))
        case "describe":
            world.ask(DescribeGroupsRequest(groups=some, include_authorized_operations=world.rarely(0.4)))
        case "delete":
            world.ask(DeleteGroupsRequest(groups_names=some))
        case "find":
            world.ask(FindCoordinatorRequest(key=some[0], key_type=chance.choice([0, 0, 0, 2, 5, -1]), coordinator_keys=some))


def _member(world: World) -> Member:
    if not world.members or world.rarely(0.05):
        return Member("~g", 0, None, "consumer", "~nobody", 1)
    return world.chance.choice(world.members)


def _generation(world: World, member: Member) -> Answered | int:
    return world.chance.choice([-1, 0, 1, 2, 9]) if world.rarely(0.12) else member.generation


def _version_for(world: World, request: type[SyncGroupRequest | HeartbeatRequest], member: Member, knows_instances: int) -> int:
    version = world.version_of(request)
    return max(version, knows_instances) if member.instance_id is not None else version
