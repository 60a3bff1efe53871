"""H, R: what can be set for a share group and for a streams group, within which bounds, and what it does to them (KIP-932, KIP-1071)."""

from collections.abc import Mapping

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.configs import GROUP, Change, alter, describe, entry
from pykbroker.compat.steps.share_members import (
    ACCEPT,
    ACKNOWLEDGING,
    RENEW,
    Acquired,
    Batch,
    ShareMember,
    expect_part,
    reader,
    share_group,
)
from pykbroker.compat.steps.share_members import described as share_group_described
from pykbroker.compat.steps.streams_members import SUBTOPOLOGY, StreamsMember, newcomer, streams_group, tasks_of, topology
from pykbroker.compat.steps.streams_members import described as streams_group_described
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode

CONFIGS = ("IncrementalAlterConfigs", "DescribeConfigs")
SHORT_SHARE_SESSIONS = Settings((("group.share.min.session.timeout.ms", "100"), ("group.share.min.heartbeat.interval.ms", "10")))
SHORT_STREAMS_SESSIONS = Settings((("group.streams.min.session.timeout.ms", "100"), ("group.streams.min.heartbeat.interval.ms", "10")))
SHARE_DEFAULTS = {
    "share.assignment.interval.ms": "1000",
    "share.auto.offset.reset": "latest",
    "share.delivery.count.limit": "5",
    "share.heartbeat.interval.ms": "5000",
    "share.isolation.level": "read_uncommitted",
    "share.partition.max.record.locks": "2000",
    "share.record.lock.duration.ms": "30000",
    "share.renew.acknowledge.enable": "true",
    "share.session.timeout.ms": "45000",
}
STREAMS_DEFAULTS = {
    "streams.assignment.interval.ms": "1000",
    "streams.heartbeat.interval.ms": "5000",
    "streams.initial.rebalance.delay.ms": "3000",
    "streams.num.standby.replicas": "0",
    "streams.session.timeout.ms": "45000",
}


def _expect_defaults(target: Target, prefix: str, defaults: Mapping[str, str]) -> None:
    found = describe(target, GROUP, target.new_name("group"))
    expect(found, error_code=ErrorCode.NONE)
    configs = {one.name: one.value for one in found.configs if one.name.startswith(prefix)}
    expect_equal(f"configs that begin with {prefix}", configs, dict(defaults))


def _expect_bounds(target: Target, name: str, *, taken: tuple[str, ...], refused: tuple[str, ...]) -> None:
    """These values are taken and described; those are INVALID_CONFIG with a message, and change nothing."""
    group_id = target.new_name("group")
    target.unset_after(GROUP, group_id, name)
    for value in taken:
        answer = alter(target, GROUP, group_id, [Change(name, value)])
        expect_equal(f"the answer to {name}={value}", answer.error_code, ErrorCode.NONE)
        eventually(
            lambda: entry(target, GROUP, group_id, name).value,
            lambda found, value=value: found == value,  # type: ignore[misc]
            f"{name} is {value}",
        )
    for value in refused:
        answer = alter(target, GROUP, group_id, [Change(name, value)])
        expect_equal(f"the answer to {name}={value}", answer.error_code, ErrorCode.INVALID_CONFIG)
        expect_equal(f"the message for {name}={value}", answer.error_message, NOT_EMPTY)
    expect_equal(name, entry(target, GROUP, group_id, name).value, taken[-1])


# -- share groups ------------------------------------------------------------------------------------------------


@check("H-28a", api=CONFIGS)
def a_share_group_has_nine_configs(target: Target) -> None:
    """Given a group that nothing was set for, DescribeConfigs tells the nine configs of share groups and their defaults. KIP-932, KIP-1222."""
    _expect_defaults(target, "share.", SHARE_DEFAULTS)


@check("H-28b", api=CONFIGS)
def words_of_share_group_configs_are_exact(target: Target) -> None:
    """Given share.auto.offset.reset, share.isolation.level or share.renew.acknowledge.enable with another word, or one in capitals, the answer is
    INVALID_CONFIG with a message (only true and false come in any case). KIP-932.
    """
    _expect_bounds(
        target,
        "share.auto.offset.reset",
        taken=("earliest", "by_duration:PT1H", "latest"),
        refused=("none", "EARLIEST", "by_duration:x", "by_duration:-PT1H", "by_duration:"),
    )
    _expect_bounds(target, "share.isolation.level", taken=("read_committed", "read_uncommitted"), refused=("READ_COMMITTED", "committed"))
    _expect_bounds(target, "share.renew.acknowledge.enable", taken=("true", "false"), refused=("yes",))


@check("H-28c", api=CONFIGS)
def numbers_of_share_group_configs_have_bounds(target: Target) -> None:
    """Given a number below what the broker's group.share.min.*, or above what its group.share.max.* allow, the answer is INVALID_CONFIG. KIP-932."""
    _expect_bounds(target, "share.record.lock.duration.ms", taken=("60000", "15000"), refused=("1", "60001", "x"))
    _expect_bounds(target, "share.delivery.count.limit", taken=("2", "10"), refused=("1", "11"))
    _expect_bounds(target, "share.partition.max.record.locks", taken=("100", "4000"), refused=("99", "4001"))
    _expect_bounds(target, "share.session.timeout.ms", taken=("60000", "45000"), refused=("1", "60001"))
    _expect_bounds(target, "share.heartbeat.interval.ms", taken=("15000", "5000"), refused=("1", "15001"))
    _expect_bounds(target, "share.assignment.interval.ms", taken=("0", "15000"), refused=("-1", "15001"))


@check("H-28d", api=("ShareGroupHeartbeat", *CONFIGS))
def the_heartbeat_interval_is_that_of_the_share_group(target: Target) -> None:
    """Given share.heartbeat.interval.ms=7000 for a group, its members are told 7000. KIP-932."""
    member = ShareMember(target, share_group(target, Change("share.heartbeat.interval.ms", "7000")), target.new_topic()).join()

    expect(member.heartbeat(), error_code=ErrorCode.NONE, heartbeat_interval_ms=7000)


@check("H-28e", api=(*ACKNOWLEDGING, *CONFIGS), versions="1-2")
def the_lock_duration_is_that_of_the_share_group(target: Target, version: int) -> None:
    """Given share.record.lock.duration.ms=15000 for a group, ShareFetch tells acquisition_lock_timeout_ms 15000, once it acquires. KIP-932."""
    member = reader(target, b"a", configs=[Change("share.record.lock.duration.ms", "15000")])
    member.acquire(version=version)

    answer = member.acknowledge(Batch(0, 0), version=2)

    expect(answer, error_code=ErrorCode.NONE, acquisition_lock_timeout_ms=15_000)
    expect(member.fetch(version=version), error_code=ErrorCode.NONE, acquisition_lock_timeout_ms=15_000)


@check("H-28f", api=(*ACKNOWLEDGING, *CONFIGS), versions="2")
def a_share_group_may_forbid_renewing(target: Target, version: int) -> None:
    """Given share.renew.acknowledge.enable=false, renew is INVALID_RECORD_STATE with a message in the partition; accept works. KIP-1222, v2."""
    member = reader(target, b"a", configs=[Change("share.renew.acknowledge.enable", "false")])
    expect_equal("acquired records", member.acquire(version=version), [Acquired(0, 0, 1)])

    refused = member.acknowledge(Batch(0, 0, [RENEW]), version=version, is_renew_ack=True)
    taken = member.acknowledge(Batch(0, 0, [ACCEPT]), version=version, is_renew_ack=True)

    expect(refused, error_code=ErrorCode.NONE)
    expect_part(refused, ErrorCode.INVALID_RECORD_STATE, error_message=NOT_EMPTY)
    expect_part(taken, ErrorCode.NONE)


@check("H-29", api=("ShareGroupHeartbeat", "ShareGroupDescribe", *CONFIGS), needs=SHORT_SHARE_SESSIONS)
def a_silent_member_of_a_share_group_is_removed(target: Target) -> None:
    """Given share.session.timeout.ms=500 and no heartbeat for longer, the member is UNKNOWN_MEMBER_ID and the group empty; who goes on stays. KIP-932."""
    configs = [Change("share.session.timeout.ms", "500"), Change("share.heartbeat.interval.ms", "100")]
    silent = ShareMember(target, share_group(target, *configs), target.new_topic()).join()
    other = ShareMember(target, silent.group_id, *silent.topics).join()

    def members() -> list[str]:
        expect(other.heartbeat(), error_code=ErrorCode.NONE, heartbeat_interval_ms=100)
        return [one.member_id for one in share_group_described(target, silent.group_id).members]

    expect_that(silent.member_id in members(), "both are members")
    left = eventually(members, lambda found: silent.member_id not in found, "who is silent is removed")

    expect_equal("members", left, [other.member_id])
    expect(silent.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID, error_message=NOT_EMPTY)


# -- streams groups ----------------------------------------------------------------------------------------------


@check("R-07a", api=CONFIGS)
def a_streams_group_has_five_configs(target: Target) -> None:
    """Given a group that nothing was set for, DescribeConfigs tells the five configs of streams groups and their defaults. KIP-1071."""
    _expect_defaults(target, "streams.", STREAMS_DEFAULTS)


@check("R-07b", api=CONFIGS)
def numbers_of_streams_group_configs_have_bounds(target: Target) -> None:
    """Given a number below what the broker's group.streams.min.*, or above what its group.streams.max.* allow, the answer is INVALID_CONFIG. KIP-1071."""
    _expect_bounds(target, "streams.num.standby.replicas", taken=("0", "2"), refused=("-1", "3"))
    _expect_bounds(target, "streams.session.timeout.ms", taken=("60000", "45000"), refused=("0", "1", "60001"))
    _expect_bounds(target, "streams.heartbeat.interval.ms", taken=("15000", "5000"), refused=("0", "1", "15001"))
    _expect_bounds(target, "streams.initial.rebalance.delay.ms", taken=("0", "60001"), refused=("-1",))
    _expect_bounds(target, "streams.assignment.interval.ms", taken=("0", "15000"), refused=("-1", "15001"))


@check("R-07c", api=("StreamsGroupHeartbeat", *CONFIGS))
def the_heartbeat_interval_is_that_of_the_streams_group(target: Target) -> None:
    """Given streams.heartbeat.interval.ms=7000 for a group, its members are told 7000. KIP-1071."""
    member = newcomer(target, target.new_topic(), Change("streams.heartbeat.interval.ms", "7000"))

    expect(member.join(), error_code=ErrorCode.NONE, heartbeat_interval_ms=7000)


@check("R-07d", api=("StreamsGroupHeartbeat", "StreamsGroupDescribe", *CONFIGS))
def tasks_with_state_have_standby_tasks(target: Target) -> None:
    """Given streams.num.standby.replicas=1, two processes and a changelog, who has not the active task has it as a standby task. KIP-1071."""
    topic, changelog = target.new_topic(), target.new_name("changelog")
    target.forget_after(changelog)
    group_id = streams_group(target, Change("streams.num.standby.replicas", "1"))
    first = StreamsMember(target, group_id, topology(topic.name, changelogs=[changelog]))
    first.join_with({SUBTOPOLOGY: [0]})
    other = StreamsMember(target, group_id, topology(topic.name, changelogs=[changelog]))
    other.join()

    standby = eventually(lambda: _assigned(other), lambda tasks: tasks[1] != {}, "there is a standby task")

    expect_equal("active and standby tasks of the second member", standby, ({}, {SUBTOPOLOGY: [0]}))
    expect_equal("active and standby tasks of the first member", _assigned(first), ({SUBTOPOLOGY: [0]}, {}))


def _assigned(member: StreamsMember) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """The active and the standby tasks of a member, as they are described after a heartbeat."""
    expect(member.heartbeat(), error_code=ErrorCode.NONE)
    members = streams_group_described(member.target, member.group_id).members
    found = next(one for one in members if one.member_id == member.member_id)
    active, standby = found.assignment.active_tasks, found.assignment.standby_tasks
    return ({one.subtopology_id: one.partitions for one in active}, {one.subtopology_id: one.partitions for one in standby})


@check("R-08", api=("StreamsGroupHeartbeat", "StreamsGroupDescribe", *CONFIGS), needs=SHORT_STREAMS_SESSIONS)
def a_silent_member_of_a_streams_group_is_removed(target: Target) -> None:
    """Given streams.session.timeout.ms=500 and no heartbeat for longer, the member is UNKNOWN_MEMBER_ID, and its tasks go to who is left. KIP-1071."""
    configs = [Change("streams.session.timeout.ms", "500"), Change("streams.heartbeat.interval.ms", "100")]
    silent = newcomer(target, target.new_topic(), *configs).join_with({SUBTOPOLOGY: [0]})
    other = StreamsMember(target, silent.group_id, silent.topology)
    expect_equal("tasks", tasks_of(other.join().active_tasks or []), {})

    other.wait_for({SUBTOPOLOGY: [0]})

    members = streams_group_described(target, silent.group_id).members
    expect_equal("members", [one.member_id for one in members], [other.member_id])
    expect(silent.heartbeat(), error_code=ErrorCode.UNKNOWN_MEMBER_ID, error_message=NOT_EMPTY)
