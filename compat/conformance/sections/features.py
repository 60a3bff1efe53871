"""Q: features: what a cluster says that it has, it has."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ApiVersionsRequest, ApiVersionsResponse

APIS_OF: dict[str, tuple[tuple[int, int, int], ...]] = {
    "transaction.version": ((2, 0, 12), (2, 26, 5), (2, 28, 5)),
    "group.version": ((1, 68, 0), (1, 69, 0)),
    "share.version": ((1, 76, 1), (1, 77, 1), (1, 78, 1), (1, 79, 1)),
    "streams.version": ((1, 88, 0), (1, 89, 0)),
}
"""From which level on a feature needs which API, in which version: level, key, version."""


@check("Q-10a", api="ApiVersions", versions="3-4")
def features_that_are_finalized_are_served(target: Target, version: int) -> None:
    """Given a finalized level of transaction.version, group.version, share.version or streams.version, the APIs that clients switch to by it are
    served: Produce 12, EndTxn 5 and TxnOffsetCommit 5; those of consumer, share and streams groups. KIP-584, KIP-1022.
    """
    answer = _api_versions(target, version)

    served = {one.api_key: range(one.min_version, one.max_version + 1) for one in answer.api_keys}
    levels = {one.name: one.max_version_level for one in answer.finalized_features}
    expect_that(served, "some APIs are served")
    for name, needed in APIS_OF.items():
        for level, key, wanted in needed:
            if levels.get(name, 0) >= level:
                expect_that(wanted in served.get(key, ()), f"{name} is {levels[name]}: API {key} is served in version {wanted}")


@check("Q-10b", api=("ApiVersions", "ConsumerGroupHeartbeat", "ShareGroupHeartbeat", "StreamsGroupHeartbeat", "EndTxn"))
def a_new_cluster_has_the_features_of_its_release(target: Target) -> None:
    """Given a new cluster that serves consumer, share and streams groups, their features are finalized at level 1, transaction.version at 2."""
    answer = _api_versions(target, 4)

    levels = {one.name: one.max_version_level for one in answer.finalized_features}
    expected = {"group.version": 1, "share.version": 1, "streams.version": 1, "transaction.version": 2}
    expect_equal("the levels", {name: levels.get(name) for name in expected}, expected)


@check("Q-10c", api="ApiVersions", versions="3-4")
def what_is_finalized_is_supported(target: Target, version: int) -> None:
    """Given features, each level is within what the broker supports, there is a metadata.version, and an epoch from 0 on; a range that begins
    with 0 is told from v4 on only. KIP-584, KIP-1160.
    """
    answer = _api_versions(target, version)

    supported = {one.name: range(one.min_version, one.max_version + 1) for one in answer.supported_features}
    levels = {one.name: one.max_version_level for one in answer.finalized_features}
    expect_that(levels.get("metadata.version", 0) > 0, "there is a metadata.version")
    expect_that(answer.finalized_features_epoch >= 0, "there is an epoch")
    for name, level in levels.items():
        expect_that(name not in supported or level in supported[name], f"{name} {level} is supported, {supported.get(name)}")
    expect_that("metadata.version" in supported, "a range of metadata.version is supported")
    if version < 4:
        expect_that(all(one.min_version > 0 for one in answer.supported_features), "no range begins with 0 before v4")


def _api_versions(target: Target, version: int) -> ApiVersionsResponse:
    request = ApiVersionsRequest(client_software_name="conformance", client_software_version="1")
    answer = target.ask(request, version)
    expect(answer, error_code=ErrorCode.NONE, api_keys=NOT_EMPTY, finalized_features=NOT_EMPTY)
    return answer
