"""Who coordinates what, as Kafka 4.3 was seen to answer it, except where this broker does better or does not serve it yet."""

import errno

import pytest

from pykbroker.broker import Listener
from pykbroker.coordinator import groups
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DescribeGroupsRequest, FindCoordinatorRequest
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles

GROUP, TRANSACTION, SHARE = 0, 1, 2
SHARE_KEY = "g:AAAAAAAAAAAAAAAAAAAAAQ:0"


def fields(found):
    return (found.error_code, found.node_id, found.host, found.port, found.error_message)


@pytest.mark.parametrize("version", [4, 5, 6])
def test_each_key_is_answered_in_its_place(kit, version):
    found = kit.find_coordinator("a", "", "a", version=version).coordinators
    assert [one.key for one in found] == ["a", "", "a"]
    assert {fields(one) for one in found} == {(ErrorCode.NONE, 1, "127.0.0.1", 9092, "")}
    assert kit.find_coordinator(version=version).coordinators == []


@pytest.mark.parametrize(("version", "message"), [(0, ""), (1, "NONE"), (3, "NONE")])
def test_before_v4_there_is_one_key(kit, version, message):
    found = kit.ask(FindCoordinatorRequest(key="g"), version)
    assert fields(found) == (ErrorCode.NONE, 1, "127.0.0.1", 9092, message)


def test_the_first_question_makes_the_topic_and_is_answered_at_once(new_kit):
    kit = new_kit(offsets_topic_num_partitions="7")
    topic = kit.cluster.metadata.topic("__consumer_offsets")
    assert (len(topic.partitions), topic.is_internal) == (7, True)
    assert kit.cluster.config.topic("__consumer_offsets").cleanup_policy == {"compact"}


def test_it_is_the_broker_at_the_address_that_the_client_came_through(kit):
    kit.cluster.broker.listeners.append(Listener("OUTSIDE", "0.0.0.0", 9093, advertised_host="broker.example"))
    kit.session.listener_name = "OUTSIDE"
    assert fields(kit.find_coordinator("g").coordinators[0])[1:4] == (1, "broker.example", 9093)


def test_where_the_topic_cannot_be_made_there_is_no_coordinator(new_kit):
    kit = new_kit(offsets_topic_replication_factor="3")
    assert fields(kit.find_coordinator("g").coordinators[0])[:4] == (ErrorCode.COORDINATOR_NOT_AVAILABLE, -1, "", -1)
    old = kit.ask(FindCoordinatorRequest(key="g"), 3)
    assert (old.error_code, old.node_id) == (ErrorCode.COORDINATOR_NOT_AVAILABLE, -1)
    assert old.error_message
    assert kit.describe("g").error_code == ErrorCode.NOT_COORDINATOR
    assert kit.member("g").send_join().error_code == ErrorCode.NOT_COORDINATOR
    assert kit.commit("g", {("t", 0): 1}).topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR


@pytest.mark.parametrize("version", range(1, 7))
def test_an_unknown_kind_of_key_is_invalid(kit, version):
    one_key = version < 4
    answer = kit.ask(FindCoordinatorRequest(key="k" if one_key else "", key_type=9, coordinator_keys=[] if one_key else ["k"]), version)
    found = answer if one_key else answer.coordinators[0]
    assert fields(found)[:4] == (ErrorCode.INVALID_REQUEST, -1, "", -1)
    assert found.error_message


@pytest.mark.parametrize("version", range(1, 7))
def test_transactional_ids_are_refused_in_words(kit, version):
    one_key = version < 4
    answer = kit.ask(
        FindCoordinatorRequest(key="x" if one_key else "", key_type=TRANSACTION, coordinator_keys=[] if one_key else ["x"]), version
    )
    found = answer if one_key else answer.coordinators[0]
    assert found.error_code == ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    assert "ransactions are not served" in found.error_message


@pytest.mark.parametrize(
    ("key", "version", "error"),
    [
        (SHARE_KEY, 5, ErrorCode.INVALID_REQUEST),
        ("g", 6, ErrorCode.INVALID_REQUEST),
        ("g:x:0", 6, ErrorCode.INVALID_REQUEST),
        ("a:b:c:d", 6, ErrorCode.INVALID_REQUEST),
        (":AAAAAAAAAAAAAAAAAAAAAQ:0", 6, ErrorCode.INVALID_REQUEST),
        ("g:AAAAAAAAAAAAAAAAAAAAAQ:x", 6, ErrorCode.INVALID_REQUEST),
        (SHARE_KEY, 6, ErrorCode.COORDINATOR_NOT_AVAILABLE),
    ],
)
def test_share_keys_are_checked_and_have_no_coordinator_yet(kit, key, version, error):
    assert fields(kit.find_coordinator(key, key_type=SHARE, version=version).coordinators[0]) == (error, -1, "", -1, "")


def test_a_disk_that_fails_while_the_topic_is_made_is_no_bug_of_ours(new_kit):
    broken = []

    def fault(operation, name):
        if broken and operation == "append" and name.startswith("__consumer_offsets"):
            raise OSError(errno.EIO, "the disk is broken", name)

    kit = new_kit(files=FaultyFiles(MemoryFiles(), fault))
    broken.append(True)
    assert kit.member("g").send_join().error_code == ErrorCode.NOT_COORDINATOR


class TestDescribeGroups:
    @pytest.mark.parametrize("version", range(7))
    def test_a_group_that_is_not_there_is_dead(self, kit, version):
        described = kit.ask(DescribeGroupsRequest(groups=["x", "x", ""], include_authorized_operations=version >= 3), version).groups
        assert [(one.group_id, one.group_state, one.members) for one in described] == [
            ("x", "Dead", []),
            ("x", "Dead", []),
            ("", "Dead", []),
        ]
        for one in described:
            assert one.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else ErrorCode.NONE)
            assert one.error_message == (f"Group {one.group_id} not found." if version >= 6 else None)
            assert one.authorized_operations == (3400 if 3 <= version < 6 else -(2**31))

    def test_only_a_stable_group_shows_metadata(self, kit):
        member = kit.member("g", instance="i")
        member.join()
        described = kit.describe("g")
        assert (described.group_state, described.protocol_data, described.members[0].member_metadata) == ("CompletingRebalance", "", b"")
        member.sync({member.id: b"A"})
        described = kit.ask(DescribeGroupsRequest(groups=["g"], include_authorized_operations=True), 5).groups[0]
        assert (described.group_state, described.protocol_type, described.protocol_data) == ("Stable", "consumer", "range")
        assert described.authorized_operations == 3400
        one = described.members[0]
        assert (one.member_id, one.group_instance_id, one.client_id, one.client_host) == (member.id, "i", "ck", "/127.0.0.1")
        assert (one.member_metadata, one.member_assignment) == (member.protocols[0][1], b"A")
        other = kit.member("g", instance="j")
        other.join()
        described = kit.describe("g")
        assert (described.group_state, described.protocol_data) == ("PreparingRebalance", "")
        assert [(one.member_metadata, one.member_assignment) for one in described.members] == [(b"", b"A"), (b"", b"")]


def test_long_ids_are_not_kept_for_whoever_sends_them():
    kept = groups._hashed_before.cache_info().currsize
    assert 0 <= groups.partition_of("g" * 30_000, 50) < 50
    assert groups._hashed_before.cache_info().currsize == kept
