"""C: what a consumer group's heartbeat must say and must not, and who is turned away (KIP-848)."""

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import ready_group
from pykbroker.compat.steps.consumer_members import (
    HEARTBEAT,
    LEAVING,
    LEAVING_FOR_A_WHILE,
    NONE_AT_ALL,
    ConsumerMember,
    Partitions,
    all_of,
    as_owned,
    assigned,
    described,
    expect_refused,
    members_in_turn,
    quick_group,
    topic_for_groups,
)
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode

SMALL_GROUPS = Settings((("group.consumer.max.size", "3"),))
RANGE_ONLY = Settings((("group.consumer.assignors", "range"),))
A_TOPIC = "no-such-topic"
REFUSED = ErrorCode.INVALID_REQUEST


def newcomer(target: Target, version: int) -> ConsumerMember:
    """A member that has not joined yet, subscribed to a topic that is not there."""
    return ConsumerMember(target, ready_group(target), [A_TOPIC], version=version)


# -- C-01: member ids --------------------------------------------------------------------------------------------


@check("C-01a", api=HEARTBEAT, versions="1")
def a_member_brings_its_id(target: Target, version: int) -> None:
    """Given a heartbeat v1 with an empty member id, INVALID_REQUEST, whatever its epoch: clients make the id. KIP-1082."""
    member = newcomer(target, version)

    for epoch in (0, 1, LEAVING):
        answer = member.try_to_join(member_id="", member_epoch=epoch)
        expect_refused(answer, REFUSED, "MemberId")


@check("C-01b", api=HEARTBEAT, versions="0")
def in_version_0_the_broker_makes_the_member_id(target: Target, version: int) -> None:
    """Given a heartbeat v0 with an empty member id: in epoch 0 the broker makes one, a uuid in 22 characters, each time another; in a later
    epoch, INVALID_REQUEST. KIP-848.
    """
    member = newcomer(target, version)

    first = member.try_to_join(member_id="")
    second = member.try_to_join(member_id="")
    later = member.try_to_join(member_id="", member_epoch=1)

    for answer in (first, second):
        expect(answer, error_code=ErrorCode.NONE, member_id=NOT_EMPTY)
        expect_equal("the length of the member id", len(answer.member_id or ""), 22)
    expect_that(first.member_id != second.member_id, "the two have ids of their own")
    found = {one.member_id for one in described(target, member.group_id).members}
    expect_equal("the members", found, {first.member_id, second.member_id})
    expect_refused(later, REFUSED, "MemberId")


@check("C-01c", api=HEARTBEAT, versions="0-1")
def any_string_is_a_member_id(target: Target, version: int) -> None:
    """Given a member id that is no uuid (one letter, forty characters, signs and letters of other languages), it is taken as it is. KIP-848."""
    group_id = ready_group(target)

    for member_id in ("m", "x" * 40, "- é 漢"):
        member = ConsumerMember(target, group_id, [A_TOPIC], member_id=member_id, version=version)
        member.join()

    expect_equal("the members", {one.member_id for one in described(target, group_id).members}, {"m", "x" * 40, "- é 漢"})


# -- C-02: what the first heartbeat says ---------------------------------------------------------------------------


@check("C-02a", api=HEARTBEAT, versions="0-1")
def a_rebalance_timeout_is_part_of_joining(target: Target, version: int) -> None:
    """Given epoch 0 and rebalance_timeout_ms -1, INVALID_REQUEST; with 0 the member joins. KIP-848."""
    member = newcomer(target, version)

    expect_refused(member.try_to_join(rebalance_timeout_ms=-1), REFUSED, "RebalanceTimeoutMs")
    expect(member.join(rebalance_timeout_ms=0), member_epoch=2)


@check("C-02b", api=HEARTBEAT, versions="0-1")
def who_joins_owns_nothing_and_says_so(target: Target, version: int) -> None:
    """Given epoch 0 and topic_partitions that are null, or name a partition, INVALID_REQUEST. KIP-848."""
    topic = target.new_topic()
    member = newcomer(target, version)

    expect_refused(member.try_to_join(topic_partitions=None), REFUSED, "TopicPartitions")
    expect_refused(member.try_to_join(topic_partitions=as_owned(all_of(topic))), REFUSED, "TopicPartitions")
    expect(member.join(topic_partitions=[]), member_epoch=2)


@check("C-02c", api=HEARTBEAT, versions="0-1")
def a_subscription_is_part_of_joining(target: Target, version: int) -> None:
    """Given epoch 0 and neither names nor a regex, INVALID_REQUEST; no names at all (an empty list) do, in epoch 1 and with nothing assigned. KIP-848."""
    member = newcomer(target, version)

    expect_refused(member.try_to_join(subscribed_topic_names=None), REFUSED, "SubscribedTopicNames", "SubscribedTopicRegex")
    answer = member.join(subscribed_topic_names=[])

    expect(answer, member_epoch=1)
    expect_equal("the assignment", assigned(answer), NONE_AT_ALL)


@check("C-02d", api=HEARTBEAT, versions="1")
def an_empty_regex_is_a_subscription_to_nothing(target: Target, version: int) -> None:
    """Given epoch 0, null names and the regex "", the member joins in epoch 1 with nothing assigned. KIP-848."""
    member = newcomer(target, version)

    answer = member.join(subscribed_topic_names=None, subscribed_topic_regex="")

    expect(answer, member_epoch=1)
    expect_equal("the assignment", assigned(answer), NONE_AT_ALL)


# -- C-03: ids and epochs ------------------------------------------------------------------------------------------


@check("C-03a", api=HEARTBEAT, versions="0-1")
def ids_are_not_empty(target: Target, version: int) -> None:
    """Given an empty group, instance or rack id, INVALID_REQUEST, and a message that names it; so too a group id of blanks. KIP-848."""
    member = newcomer(target, version)

    for blank in ("", " "):
        expect_refused(member.try_to_join(group_id=blank), REFUSED, "GroupId")
    expect_refused(member.try_to_join(instance_id=""), REFUSED, "InstanceId")
    expect_refused(member.try_to_join(rack_id=""), REFUSED, "RackId")
    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("C-03b", api=HEARTBEAT, versions="0-1")
def no_epoch_is_less_than_minus_2(target: Target, version: int) -> None:
    """Given member epoch -3, INVALID_REQUEST; given -2 without an instance id too: who has none cannot come back. KIP-848."""
    member = newcomer(target, version)

    for epoch in (-3, -(2**31)):
        expect_refused(member.try_to_join(member_epoch=epoch), REFUSED, "MemberEpoch")
    expect_refused(member.leave(LEAVING_FOR_A_WHILE), REFUSED, "InstanceId")


@check("C-03c", api=HEARTBEAT, versions="1")
def what_is_wrong_is_told_in_an_order(target: Target, version: int) -> None:
    """Given a joining heartbeat with everything wrong, the answer is about, one after the other as each is mended: member id, group id, instance id,
    rack id, rebalance timeout, owned partitions, subscription, assignor, regex. KIP-848.
    """
    member = newcomer(target, version)
    wrong: dict[str, object] = {
        "member_id": "",
        "group_id": "",
        "instance_id": "",
        "rack_id": "",
        "rebalance_timeout_ms": -1,
        "topic_partitions": None,
        "subscribed_topic_names": None,
        "server_assignor": "foo",
        "subscribed_topic_regex": None,
    }
    told = ("MemberId", "GroupId", "InstanceId", "RackId", "RebalanceTimeoutMs", "TopicPartitions", "SubscribedTopicNames")

    for field, word in zip(tuple(wrong), told, strict=False):
        expect_refused(member.try_to_join(**wrong), REFUSED, word)
        del wrong[field]
    wrong["subscribed_topic_regex"] = "foo("
    expect_refused(member.try_to_join(**wrong), ErrorCode.UNSUPPORTED_ASSIGNOR, "foo")
    del wrong["server_assignor"]
    expect_refused(member.try_to_join(**wrong), ErrorCode.INVALID_REGULAR_EXPRESSION, "foo(")


# -- C-04, C-27: assignors -----------------------------------------------------------------------------------------


@check("C-04a", api=HEARTBEAT, versions="0-1")
def an_unknown_assignor_is_unsupported(target: Target, version: int) -> None:
    """Given server_assignor "foo", or "", UNSUPPORTED_ASSIGNOR, and a message that names those there are; later heartbeats are held to it too. KIP-848."""
    member = newcomer(target, version)

    for name in ("foo", ""):
        expect_refused(member.try_to_join(server_assignor=name), ErrorCode.UNSUPPORTED_ASSIGNOR, name, "uniform", "range")
    member.join()
    expect_refused(member.heartbeat(server_assignor="foo"), ErrorCode.UNSUPPORTED_ASSIGNOR, "foo", "uniform", "range")


@check("C-04b", api=HEARTBEAT, versions="0-1")
def uniform_is_the_default_assignor(target: Target, version: int) -> None:
    """Given members that name no assignor, the group's is "uniform"; it is the one that most members name, once some do. KIP-848."""
    group_id = quick_group(target)
    first, second = (ConsumerMember(target, group_id, [A_TOPIC], version=version) for _ in range(2))
    first.join()
    expect(described(target, group_id), assignor_name="uniform")

    second.assignor = "range"
    second.join()

    expect(described(target, group_id), assignor_name="range")


@check("C-04c", api=HEARTBEAT, versions="0-1")
def range_gives_each_member_consecutive_partitions_of_every_topic(target: Target, version: int) -> None:
    """Given two members with assignor "range" and two topics of three partitions, one has partitions 0 and 1 of both, the other has 2 of both: what is
    left over goes to the same member. KIP-848.
    """
    topics = [topic_for_groups(target, 3) for _ in range(2)]
    owned = shares(target, topics, "range", version)

    expect_equal(
        "partitions of the members, by number",
        sorted(sorted(index for _, index in one) for one in owned),
        [[0, 0, 1, 1], [2, 2]],
    )


@check("C-04d", api=HEARTBEAT, versions="0-1")
def uniform_gives_each_member_as_many_partitions(target: Target, version: int) -> None:
    """Given two members with assignor "uniform" and two topics of three partitions, each has three. KIP-848."""
    topics = [topic_for_groups(target, 3) for _ in range(2)]
    owned = shares(target, topics, "uniform", version)

    expect_equal("partitions of the members", [len(one) for one in owned], [3, 3])


@check("C-27", api=HEARTBEAT, versions="0-1", needs=RANGE_ONLY)
def the_first_assignor_of_the_broker_is_the_default(target: Target, version: int) -> None:
    """Given group.consumer.assignors=range, "uniform" is UNSUPPORTED_ASSIGNOR, and members that name none have "range". KIP-848."""
    member = newcomer(target, version)

    refused = member.try_to_join(server_assignor="uniform")
    member.join()

    expect_refused(refused, ErrorCode.UNSUPPORTED_ASSIGNOR, "uniform", "range")
    expect(described(target, member.group_id), assignor_name="range")


# -- C-21, C-25: topics that are not there, groups that are full -----------------------------------------------------


@check("C-21", api=HEARTBEAT, versions="0-1")
def a_subscription_may_name_what_is_not_there(target: Target, version: int) -> None:
    """Given subscribed names of no topic, and one that no topic can have, the member joins in epoch 2 with nothing assigned. KIP-848."""
    for names in ([A_TOPIC], ["a b"], [A_TOPIC, "a b", "", "x" * 300]):
        member = ConsumerMember(target, ready_group(target), names, version=version)

        answer = member.join()

        expect(answer, member_epoch=2)
        expect_equal("the assignment", assigned(answer), NONE_AT_ALL)
        expect_equal("the subscription", sorted(described(target, member.group_id).members[0].subscribed_topic_names), sorted(names))


@check("C-25", api=HEARTBEAT, versions="0-1", needs=SMALL_GROUPS)
def a_full_group_takes_nobody_else(target: Target, version: int) -> None:
    """Given group.consumer.max.size=3 and three members, a fourth is GROUP_MAX_SIZE_REACHED, until one of them leaves; those in it may join anew. KIP-848."""
    group_id = quick_group(target)
    members = [ConsumerMember(target, group_id, [A_TOPIC], version=version) for _ in range(3)]
    for one in members:
        one.join()
    fourth = ConsumerMember(target, group_id, [A_TOPIC], version=version)

    refused = fourth.try_to_join()

    expect_refused(refused, ErrorCode.GROUP_MAX_SIZE_REACHED, "3")
    members[0].join()
    members[0].leave()
    fourth.join()


def shares(target: Target, topics: list[Topic], assignor: str, version: int) -> list[Partitions]:
    """What two members own who share these topics by that assignor, once they have agreed."""
    group_id = quick_group(target)
    members = [ConsumerMember(target, group_id, topics, assignor=assignor, version=version) for _ in range(2)]
    for one in members:
        one.join()
    members_in_turn(members, all_of(*topics))
    return [one.owned for one in members]
