"""C: consumer groups of users who may not do everything, and in clusters that do not have them (KIP-848)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal
from pykbroker.compat.steps.classic_members import ready_group
from pykbroker.compat.steps.consumer_members import (
    HEARTBEAT,
    ConsumerMember,
    all_of,
    assigned,
    described,
    expect_refused,
    member_of_all,
    quick_group,
    topic_for_groups,
)
from pykbroker.compat.steps.users import AUTHORIZER, USERS, User
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    ConsumerGroupDescribeRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    UpdateFeaturesRequest,
)

ALLOWED = (*HEARTBEAT, "CreateAcls", "DeleteAcls", "DescribeAcls", *USERS)
TOPIC, GROUP = 2, 3
READ, DESCRIBE = 3, 8
LITERAL, ALLOW = 3, 3
GROUP_VERSION = "group.version"
UPGRADE, SAFE_DOWNGRADE = 1, 2
GROUP_APIS = (68, 69)


def allow(user: User, resource_type: int, name: str, operation: int) -> None:
    """Let a user do that; the ACL is taken away after the check."""
    granted = CreateAclsRequest.AclCreation(
        resource_type=resource_type,
        resource_name=name,
        resource_pattern_type=LITERAL,
        principal=user.principal,
        host="*",
        operation=operation,
        permission_type=ALLOW,
    )
    taken = DeleteAclsRequest.DeleteAclsFilter(
        resource_type_filter=resource_type,
        resource_name_filter=name,
        pattern_type_filter=LITERAL,
        principal_filter=user.principal,
        host_filter=None,
        operation=operation,
        permission_type=ALLOW,
    )
    user.target.afterwards(lambda: user.target.ask_newest(DeleteAclsRequest(filters=[taken]), 3))
    expect(user.target.ask_newest(CreateAclsRequest(creations=[granted]), 3).results[0], error_code=ErrorCode.NONE)
    asked = DescribeAclsRequest(
        resource_type_filter=resource_type,
        resource_name_filter=name,
        pattern_type_filter=LITERAL,
        principal_filter=user.principal,
        host_filter=None,
        operation=operation,
        permission_type=ALLOW,
    )
    eventually(lambda: user.target.ask_newest(asked, 3).resources, bool, "the ACL is there")


# -- C-05, C-14: what a user may ------------------------------------------------------------------------------------------


@check("C-05a", api=ALLOWED, versions="0-1", needs=AUTHORIZER)
def who_may_not_read_a_group_does_not_join_it(target: Target, version: int) -> None:
    """Given a user without Read on the group, GROUP_AUTHORIZATION_FAILED without a message, before anything else that is wrong. KIP-848."""
    member = ConsumerMember(target, ready_group(target), ["none"], version=version, user=User(target))

    for answer in (member.try_to_join(), member.try_to_join(rebalance_timeout_ms=-1), member.leave()):
        expect_refused(answer, ErrorCode.GROUP_AUTHORIZATION_FAILED)
        expect(answer, error_message=None)
    expect(described(target, member.group_id), error_code=ErrorCode.GROUP_ID_NOT_FOUND)


@check("C-05b", api=ALLOWED, versions="0-1", needs=AUTHORIZER)
def who_may_not_see_a_topic_does_not_subscribe_to_it(target: Target, version: int) -> None:
    """Given a user with Read on the group who names a topic without Describe on it, or one that is not there, TOPIC_AUTHORIZATION_FAILED for the heartbeat,
    without a message; with Describe on all of them, it joins and is assigned. KIP-848.
    """
    seen, unseen = topic_for_groups(target), topic_for_groups(target)
    user, group_id = User(target), quick_group(target)
    allow(user, GROUP, group_id, READ)
    allow(user, TOPIC, seen.name, DESCRIBE)
    member = ConsumerMember(target, group_id, [seen], version=version, user=user)

    for names in ([seen.name, unseen.name], [seen.name, target.new_name("topic")]):
        refused = member.try_to_join(subscribed_topic_names=names)
        expect_refused(refused, ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        expect(refused, error_message=None)

    member.join()
    member.wait_for(all_of(seen))


@check("C-05c", api=("ConsumerGroupDescribe", *ALLOWED), versions="0-1", needs=AUTHORIZER)
def what_may_not_be_seen_is_not_described(target: Target, version: int) -> None:
    """Given ConsumerGroupDescribe by a user without Describe on the group, GROUP_AUTHORIZATION_FAILED for it; without Describe on a topic of its members,
    TOPIC_AUTHORIZATION_FAILED and no members; with both, the group. KIP-848.
    """
    topic = topic_for_groups(target)
    member = member_of_all(target, topic)
    user = User(target)
    request = ConsumerGroupDescribeRequest(group_ids=[member.group_id])

    strange = user.ask(request, version).groups[0]
    allow(user, GROUP, member.group_id, DESCRIBE)
    half = user.ask(request, version).groups[0]
    allow(user, TOPIC, topic.name, DESCRIBE)
    whole = user.ask(request, version).groups[0]

    expect(strange, group_id=member.group_id, error_code=ErrorCode.GROUP_AUTHORIZATION_FAILED, group_state="", members=[])
    expect(half, group_id=member.group_id, error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED, members=[])
    expect(whole, error_code=ErrorCode.NONE, group_state="Stable")
    expect_equal("the members", [one.member_id for one in whole.members], [member.member_id])


@check("C-14h", api=ALLOWED, needs=AUTHORIZER)
def a_regex_matches_what_the_user_may_see(target: Target) -> None:
    """Given a user with Describe on one of two topics that a regex matches, that one is assigned, the other is not, and there is no error. KIP-848."""
    seen, unseen = topic_for_groups(target, 2), topic_for_groups(target)
    user, group_id = User(target), quick_group(target)
    allow(user, GROUP, group_id, READ)
    allow(user, TOPIC, seen.name, DESCRIBE)
    member = ConsumerMember(target, group_id, regex=f"{seen.name}|{unseen.name}", user=user)
    member.join()

    member.wait_for(all_of(seen))

    everything = ConsumerMember(target, quick_group(target), regex=member.regex)
    everything.join()
    everything.wait_for(all_of(seen, unseen))


# -- C-19: clusters without consumer groups ---------------------------------------------------------------------------


@check("C-19", api=("UpdateFeatures", *HEARTBEAT), alone=True)
def without_its_feature_the_protocol_is_not_spoken(target: Target) -> None:
    """Given group.version at 0, heartbeats v0-1 are UNSUPPORTED_VERSION without a message, and so is every group described; the APIs are advertised all
    the same, and once the feature is back the group is there as before. KIP-848, KIP-1022.
    """
    topic = topic_for_groups(target)
    member = member_of_all(target, topic)
    target.afterwards(lambda: update(target, 1, UPGRADE))
    update(target, 0, SAFE_DOWNGRADE)

    refused = eventually(member.heartbeat, lambda one: one.error_code != ErrorCode.NONE, "the heartbeat is refused")
    old = target.ask(member.joining(), 0)
    served = target.ask(ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3).api_keys
    for version in (0, 1):
        expect(described(target, member.group_id, version), error_code=ErrorCode.UNSUPPORTED_VERSION, group_state="", members=[])
    update(target, 1, UPGRADE)
    back = eventually(member.heartbeat, lambda one: one.error_code == ErrorCode.NONE, "the heartbeat is taken again")

    for answer in (refused, old):
        expect_refused(answer, ErrorCode.UNSUPPORTED_VERSION)
        expect(answer, error_message=None)
    expect_equal("the APIs of consumer groups", sorted(one.api_key for one in served if one.api_key in GROUP_APIS), list(GROUP_APIS))
    expect(back, member_id=member.member_id, member_epoch=member.epoch)
    expect_equal("the assignment", assigned(member.try_to_join()), all_of(topic))


def update(target: Target, level: int, upgrade_type: int) -> None:
    """Bring group.version to that level."""
    change = UpdateFeaturesRequest.FeatureUpdateKey(feature=GROUP_VERSION, max_version_level=level, upgrade_type=upgrade_type)
    expect(target.ask_newest(UpdateFeaturesRequest(timeout_ms=10_000, feature_updates=[change]), 2), error_code=ErrorCode.NONE)
