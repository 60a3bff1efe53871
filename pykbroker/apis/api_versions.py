"""ApiVersions: which APIs are served, in which versions, and which features the cluster has.

Versions    0-4.
Authorizes  nothing: it is asked before authentication too.
Waits       never.
Notes       A version that is not served gets version 0's answer, with UNSUPPORTED_VERSION and the one entry that matters (KIP-511).
            v3 the client says what it is; features. v4 also features whose smallest level is 0 (KAFKA-17492).
            The list is made from the modules of this folder; a module may advertise more than it serves (ADVERTISED_MIN, W-08).
Not done    nothing.
Semantics   W-03 … W-11. Sources: KIP-35, KIP-511, KIP-584.
"""

import re
from functools import cache

from pykbroker.apis import served, served_names
from pykbroker.context import Context
from pykbroker.metadata import Metadata
from pykbroker.metadata.features import SUPPORTED_FEATURES
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import API_VERSIONS
from pykbroker.protocol.messages import ApiVersionsRequest, ApiVersionsResponse

VERSIONS = range(5)

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?", re.ASCII)


def handle(context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """Note what the client says it is, and list what there is."""
    if context.api_version >= 3:
        name, version = request.client_software_name, request.client_software_version
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return failed(request, ErrorCode.INVALID_REQUEST)
        context.session.client_software_name = name
        context.session.client_software_version = version
    metadata = context.cluster.metadata
    return ApiVersionsResponse(
        api_keys=_served_apis(),
        supported_features=_supported_features(with_level_0=context.api_version >= 4),
        finalized_features_epoch=metadata.offset,
        finalized_features=_finalized_features(metadata),
    )


def failed(request: ApiVersionsRequest, error: ErrorCode) -> ApiVersionsResponse:
    """The error, and no API."""
    return ApiVersionsResponse(error_code=error)


def unsupported_version() -> ApiVersionsResponse:
    """The answer, in version 0, to a version that is not served: the client learns which it may ask with (W-03)."""
    return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[_served_api(API_VERSIONS, VERSIONS.start, VERSIONS[-1])])


@cache
def _served_apis() -> list[ApiVersionsResponse.ApiVersion]:
    """Every module of this folder, in ascending order of its key."""
    apis = []
    for key in served_names():
        module = served(key)
        if module is not None:
            smallest = getattr(module, "ADVERTISED_MIN", module.VERSIONS.start)
            apis.append(_served_api(key, smallest, module.VERSIONS[-1]))
    return apis


def _served_api(key: int, smallest: int, largest: int) -> ApiVersionsResponse.ApiVersion:
    return ApiVersionsResponse.ApiVersion(api_key=key, min_version=smallest, max_version=largest)


def _supported_features(*, with_level_0: bool) -> list[ApiVersionsResponse.SupportedFeatureKey]:
    """Older clients fail on a smallest level of 0, so such features are kept from them (W-06)."""
    return [
        ApiVersionsResponse.SupportedFeatureKey(name=name, min_version=feature.min_version, max_version=feature.max_version)
        for name, feature in SUPPORTED_FEATURES.items()
        if feature.min_version > 0 or with_level_0
    ]


def _finalized_features(metadata: Metadata) -> list[ApiVersionsResponse.FinalizedFeatureKey]:
    """A metadata log that Kafka wrote may have features that are not served here; clients must not hear of them."""
    return [
        ApiVersionsResponse.FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
        for name, level in metadata.features.items()
        if name in SUPPORTED_FEATURES
    ]
