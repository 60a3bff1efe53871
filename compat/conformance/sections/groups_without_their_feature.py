"""H, R: clusters whose features say that there are no share groups, or no streams groups (KIP-1022); the APIs stay advertised all the same."""

from pykbroker.compat.check import api_keys, check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal
from pykbroker.compat.steps.configs import BROKER, describe, own_id
from pykbroker.compat.steps.share_members import ShareMember, offsets, reader
from pykbroker.compat.steps.share_members import described as share_group_described
from pykbroker.compat.steps.streams_members import SUBTOPOLOGY, newcomer
from pykbroker.compat.steps.streams_members import described as streams_group_described
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterShareGroupOffsetsRequest,
    ApiVersionsRequest,
    DeleteShareGroupOffsetsRequest,
    UpdateFeaturesRequest,
)

UPGRADE, UNSAFE_DOWNGRADE = 1, 3
SHARE_APIS = (
    "ShareGroupHeartbeat",
    "ShareGroupDescribe",
    "ShareFetch",
    "ShareAcknowledge",
    "DescribeShareGroupOffsets",
    "AlterShareGroupOffsets",
    "DeleteShareGroupOffsets",
)
STREAMS_APIS = ("StreamsGroupHeartbeat", "StreamsGroupDescribe")


def _update(target: Target, feature: str, level: int) -> None:
    """Bring a feature to that level, 0 or 1."""
    change = UpdateFeaturesRequest.FeatureUpdateKey(
        feature=feature, max_version_level=level, upgrade_type=UPGRADE if level else UNSAFE_DOWNGRADE
    )
    expect(target.ask_newest(UpdateFeaturesRequest(timeout_ms=10_000, feature_updates=[change]), 2), error_code=ErrorCode.NONE)


def _expect_advertised(target: Target, names: tuple[str, ...]) -> None:
    answer = target.ask(ApiVersionsRequest(client_software_name="conformance", client_software_version="1"), 3)
    advertised = {one.api_key for one in answer.api_keys}
    expect_equal("APIs that are not advertised", [name for name in names if api_keys()[name] not in advertised], [])


@check("H-18a", api=("UpdateFeatures", *SHARE_APIS), alone=True)
def without_its_feature_no_share_group_is_served(target: Target) -> None:
    """Given share.version at 0, the seven APIs of share groups are UNSUPPORTED_VERSION: for each group in ShareGroupDescribe and
    DescribeShareGroupOffsets, with a message in AlterShareGroupOffsets and DeleteShareGroupOffsets only; with the feature back, they work. KIP-932.
    """
    member = reader(target, b"a")
    stranger = ShareMember(target, target.new_name("group"), *member.topics)
    target.afterwards(lambda: _update(target, "share.version", 1))
    _update(target, "share.version", 0)

    refused = eventually(member.heartbeat, lambda one: one.error_code != ErrorCode.NONE, "the heartbeat is refused")
    fetched, acknowledged = stranger.fetch(), stranger.acknowledge_all([])
    altered = target.ask(AlterShareGroupOffsetsRequest(group_id=member.group_id), 0)
    deleted = target.ask(DeleteShareGroupOffsetsRequest(group_id=member.group_id), 0)

    for answer in (refused, fetched, acknowledged):
        expect(answer, error_code=ErrorCode.UNSUPPORTED_VERSION, error_message=None)
    for group in (share_group_described(target, member.group_id), offsets(target, member.group_id)):
        expect(group, group_id=member.group_id, error_code=ErrorCode.UNSUPPORTED_VERSION, error_message=None)
    for answer_with_message in (altered, deleted):
        expect(answer_with_message, error_code=ErrorCode.UNSUPPORTED_VERSION, error_message=NOT_EMPTY, responses=[])
    _expect_advertised(target, SHARE_APIS)
    _update(target, "share.version", 1)
    eventually(member.heartbeat, lambda one: one.error_code == ErrorCode.NONE, "the heartbeat is taken again")


@check("R-05", api=("UpdateFeatures", *STREAMS_APIS), alone=True)
def without_its_feature_no_streams_group_is_served(target: Target) -> None:
    """Given streams.version at 0, heartbeats are UNSUPPORTED_VERSION without a message, and so is every group described; with the feature back, the
    member goes on. KIP-1071.
    """
    member = newcomer(target, target.new_topic()).join_with({SUBTOPOLOGY: [0]})
    target.afterwards(lambda: _update(target, "streams.version", 1))
    _update(target, "streams.version", 0)

    refused = eventually(member.heartbeat, lambda one: one.error_code != ErrorCode.NONE, "the heartbeat is refused")
    found = streams_group_described(target, member.group_id)

    expect(refused, error_code=ErrorCode.UNSUPPORTED_VERSION, error_message=None)
    expect(found, group_id=member.group_id, error_code=ErrorCode.UNSUPPORTED_VERSION, error_message=None, members=[])
    _expect_advertised(target, STREAMS_APIS)
    _update(target, "streams.version", 1)
    eventually(member.heartbeat, lambda one: one.error_code == ErrorCode.NONE, "the heartbeat is taken again")


@check("H-18b", api=("DescribeConfigs", "ShareGroupHeartbeat"))
def there_is_no_switch_for_share_groups_but_the_feature(target: Target) -> None:
    """Given group.share.enable, which 4.3 does not know any more, DescribeConfigs of the broker has no such key; share.version says it. KIP-932."""
    answer = target.ask(ApiVersionsRequest(client_software_name="conformance", client_software_version="1"), 4)

    features = {one.name: one.max_version_level for one in answer.finalized_features}

    expect_equal("the level of share.version", features.get("share.version"), 1)
    expect_equal("configs", [one.name for one in describe(target, BROKER, own_id(target), ["group.share.enable"]).configs], [])
