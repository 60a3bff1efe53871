"""ApiVersions: the client learns what there is, whatever it asks with (W-03 … W-10)."""

import struct

import pytest

from pykbroker.apis import served, served_names
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ApiVersionsRequest, TopicRecord
from pykbroker.session import Session

NOT_SERVED_YET = {"group.version", "share.version", "streams.version", "transaction.version", "kraft.version"}


@pytest.fixture
def cluster(new_cluster):
    return new_cluster()


def asked(version, name="a-client", software_version="1.0"):
    return ApiVersionsRequest(client_software_name=name, client_software_version=software_version) if version >= 3 else ApiVersionsRequest()


@pytest.mark.parametrize("version", range(5))
def test_exactly_what_has_a_module_is_listed(cluster, ask, version):
    answer = ask(cluster, asked(version), version)

    listed = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}
    assert list(listed) == sorted(served_names())
    for key, (smallest, largest) in listed.items():
        module = served(key)
        assert largest == module.VERSIONS[-1]
        assert smallest == getattr(module, "ADVERTISED_MIN", module.VERSIONS.start)
    assert listed[18] == (0, 4)
    assert listed[3] == (0, 13)


def test_features_are_only_what_is_real(cluster, ask):
    third, fourth = (ask(cluster, asked(version), version) for version in (3, 4))

    assert [(one.name, one.min_version, one.max_version) for one in third.supported_features] == [("metadata.version", 7, 30)]
    assert {one.name for one in fourth.supported_features} == {"metadata.version", "eligible.leader.replicas.version"}
    for answer in (third, fourth):
        levels = {one.name: (one.min_version_level, one.max_version_level) for one in answer.finalized_features}
        assert levels == {"metadata.version": (30, 30), "eligible.leader.replicas.version": (1, 1)}
        assert not levels.keys() & NOT_SERVED_YET
        assert answer.zk_migration_ready is False


def test_the_epoch_of_the_features_grows_with_the_metadata(cluster, ask):
    before = ask(cluster, asked(4), 4).finalized_features_epoch
    assert before == cluster.metadata.offset

    cluster.controller.decide(cluster.controller.write([[TopicRecord(name="t", topic_id=b"\1" * 16)]]))

    assert ask(cluster, asked(4), 4).finalized_features_epoch == before + 1


def test_features_of_a_log_that_kafka_wrote_stay_hidden_while_they_are_not_served(cluster, ask):
    from pykbroker.protocol.messages import FeatureLevelRecord

    cluster.controller.decide(cluster.controller.write([[FeatureLevelRecord(name=name, feature_level=1) for name in NOT_SERVED_YET]]))

    assert not {one.name for one in ask(cluster, asked(4), 4).finalized_features} & NOT_SERVED_YET


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("name", ["", "-x", "a b", "a.", "a_b", "é", "a\n"])
def test_a_client_that_does_not_say_what_it_is(cluster, ask, version, name):
    for request in (asked(version, name=name), asked(version, software_version=name)):
        answer = ask(cluster, request, version)

        assert (answer.error_code, answer.api_keys) == (ErrorCode.INVALID_REQUEST, [])


def test_what_the_client_says_is_kept_with_its_connection(cluster, ask):
    session = Session(cluster.broker)
    ask(cluster, asked(3, name="x" * 300, software_version="1.0-x"), 3, session)

    assert (session.client_software_name, session.client_software_version) == ("x" * 300, "1.0-x")


@pytest.mark.parametrize("version", [99, 5, -1])
def test_an_unknown_version_is_answered_in_version_0(cluster, version):
    header = struct.pack(">hhih", 18, version, 7, -1) + (b"\0" if version > 0 else b"")

    answer = cluster.handle(Session(cluster.broker), memoryview(bytearray(header + b"garbage")))

    assert b"".join(answer) == bytes.fromhex("0000001000000007002300000001001200000004")
