"""C: subscriptions by a regular expression, which the broker resolves (KIP-848)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import ready_group
from pykbroker.compat.steps.consumer_members import (
    HEARTBEAT,
    NONE_AT_ALL,
    ConsumerMember,
    all_of,
    assigned,
    described,
    described_member,
    expect_refused,
    members_in_turn,
    quick_group,
    topic_for_groups,
)
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode

INVALID = ErrorCode.INVALID_REGULAR_EXPRESSION


def exactly(*topics: Topic) -> str:
    """A regular expression that matches these topics only."""
    return "(" + "|".join(topic.name for topic in topics) + ")"


def member_by_regex(target: Target, regex: str) -> ConsumerMember:
    """A member that has joined with that subscription."""
    member = ConsumerMember(target, quick_group(target), regex=regex)
    member.join()
    return member


@check("C-14a", api=HEARTBEAT, versions="1")
def what_is_no_regular_expression_is_refused(target: Target, version: int) -> None:
    """Given a regex that does not parse, or has what RE2 has not (looking ahead or behind, references back), INVALID_REGULAR_EXPRESSION, and a message
    that quotes it; of a member that is there too. KIP-848.
    """
    member = ConsumerMember(target, ready_group(target), ["no-such-topic"], version=version)

    for regex in ("foo(", "foo[", "*", r"a(?=b)", r"(?<!a)b", r"(a)\1", "a{2000}"):
        expect_refused(member.try_to_join(subscribed_topic_names=None, subscribed_topic_regex=regex), INVALID, regex)
    member.join()
    expect_refused(member.heartbeat(subscribed_topic_regex="foo("), INVALID, "foo(")
    expect(member.heartbeat(), error_code=ErrorCode.NONE)
    expect(described_member(target, member), subscribed_topic_regex="")


@check("C-14b", api=HEARTBEAT, versions="1")
def a_regex_is_resolved_a_little_later(target: Target, version: int) -> None:
    """Given a member that joins with a regex, it is in epoch 1 with nothing; its next heartbeats bring the partitions of the topics that match. KIP-848."""
    topic, other = topic_for_groups(target, 2), topic_for_groups(target)
    member = ConsumerMember(target, quick_group(target), regex=exactly(topic), version=version)

    answer = member.join()

    expect(answer, member_epoch=1)
    expect_equal("the assignment", assigned(answer), NONE_AT_ALL)
    member.wait_for(all_of(topic))
    expect_that(member.epoch > 1, "the member is in a later epoch")
    expect_that(not all_of(other) & member.owned, "what does not match is not assigned")
    expect(described(target, member.group_id), group_state="Stable")
    expect(described_member(target, member), subscribed_topic_regex=exactly(topic), subscribed_topic_names=[])


@check("C-14c", api=HEARTBEAT)
def a_regex_matches_the_whole_name(target: Target) -> None:
    """Given a regex that is found within a topic's name but is not all of it, the topic does not match; `.*` around it makes it so. KIP-848."""
    topic = topic_for_groups(target, 2)
    part = topic.name[1:-1]
    member = member_by_regex(target, f"{part}|nothing-like-it")
    control = member_by_regex(target, f".*{part}.*")

    control.wait_for(all_of(topic))

    member.own()
    expect_equal("what the part brings", member.owned, NONE_AT_ALL)


@check("C-14d", api=HEARTBEAT)
def names_and_a_regex_add_up(target: Target) -> None:
    """Given a member with names and a regex, it is assigned the topics of both, none twice. KIP-848."""
    named, matched = topic_for_groups(target, 2), topic_for_groups(target)
    member = ConsumerMember(target, quick_group(target), [named], regex=exactly(matched, named))
    member.join()

    member.wait_for(all_of(named, matched))

    expect(described_member(target, member), subscribed_topic_names=[named.name], subscribed_topic_regex=exactly(matched, named))


@check("C-14e", api=HEARTBEAT)
def a_regex_may_change(target: Target) -> None:
    """Given another regex in a later heartbeat, the assignment follows; given "" it matches nothing any more, while null leaves it as it is. KIP-848."""
    before, after = topic_for_groups(target, 2), topic_for_groups(target)
    member = member_by_regex(target, exactly(before))
    member.wait_for(all_of(before))

    expect(member.heartbeat(subscribed_topic_regex=exactly(after)), error_code=ErrorCode.NONE)
    member.wait_for(all_of(after))
    expect(member.heartbeat(), error_code=ErrorCode.NONE)
    expect(described_member(target, member), subscribed_topic_regex=exactly(after))
    expect(member.heartbeat(subscribed_topic_regex=""), error_code=ErrorCode.NONE)
    member.wait_for(NONE_AT_ALL)
    expect(described_member(target, member), subscribed_topic_regex="")


@check("C-14f", api=(*HEARTBEAT, "CreateTopics"))
def a_new_topic_that_matches_is_assigned(target: Target) -> None:
    """Given a topic created after a regex that matches it was resolved, heartbeats bring its partitions without anybody joining: a regex is resolved
    anew when topics change, at most every ten seconds. KIP-848.
    """
    topic = topic_for_groups(target)
    prefix = topic.name[: topic.name.rindex("-")]
    member = member_by_regex(target, f"{prefix}-.*")
    member.wait_for(all_of(topic))

    created = target.new_topic(2)

    expect_that(created.name.startswith(prefix), "the new topic matches")
    member.wait_for(all_of(topic, created), within_s=30)


@check("C-14g", api=HEARTBEAT)
def members_with_one_regex_share_what_matches(target: Target) -> None:
    """Given two members with the same regex and one with another, the first two share the topics that it matches, and the third has its own. KIP-848."""
    shared, own = topic_for_groups(target, 4), topic_for_groups(target)
    group_id = quick_group(target)
    first, second = (ConsumerMember(target, group_id, regex=exactly(shared)) for _ in range(2))
    third = ConsumerMember(target, group_id, regex=exactly(own))
    for one in (first, second, third):
        one.join()

    members_in_turn([first, second, third], all_of(shared, own))

    expect_equal("what the first two share", first.owned | second.owned, all_of(shared))
    expect_equal("what the third has", third.owned, all_of(own))
