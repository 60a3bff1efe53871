"""An array that many structs have in common is encoded once, and to the same bytes as if it had been written out each time."""

import pytest

from pykbroker.protocol.codec import encode, encode_buffers
from pykbroker.protocol.encoder import SharedArray
from pykbroker.protocol.messages import CreateTopicsResponse, DescribeConfigsResponse

Config = DescribeConfigsResponse.DescribeConfigsResourceResult
Result = DescribeConfigsResponse.DescribeConfigsResult


def config(number: int, value: str | None = "v") -> Config:
    synonyms = [DescribeConfigsResponse.DescribeConfigsSynonym(name="s" * number, value=None)]
    return Config(name=f"name-{number}", value=value, synonyms=synonyms)


@pytest.mark.parametrize("version", DescribeConfigsResponse.VERSIONS)
def test_the_bytes_are_the_same(version) -> None:
    common = SharedArray([config(1), config(200, None)])
    arrays = [common, [config(3)], SharedArray([]), common, SharedArray([config(4, "x" * 5000)]), common]
    shared = DescribeConfigsResponse(results=[Result(resource_name=str(number), configs=array) for number, array in enumerate(arrays)])
    plain = DescribeConfigsResponse(results=[Result(resource_name=one.resource_name, configs=list(one.configs)) for one in shared.results])
    for _ in range(2):
        assert encode(shared, version) == encode(plain, version)
        assert b"".join(encode_buffers(shared, version)) == encode(plain, version)
    assert len(common.encoded) == 1


def test_one_array_may_stand_in_answers_of_different_versions() -> None:
    common = SharedArray([CreateTopicsResponse.CreatableTopicConfigs(name="a", value="b")])
    answer = CreateTopicsResponse(topics=[CreateTopicsResponse.CreatableTopicResult(name="t", configs=common)])
    plain = CreateTopicsResponse(topics=[CreateTopicsResponse.CreatableTopicResult(name="t", configs=list(common))])
    for version in (5, 6, 7, 5):
        assert encode(answer, version) == encode(plain, version)
