"""How members of classic groups come, go and share, as Kafka 4.3 was seen to do it (ids: the semantics they state)."""

import pytest

from pykbroker.apis import served
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import LeaveGroupRequest, ListGroupsRequest

TWO_PROTOCOLS = (("range", b"r"), ("sticky", b"s"))


def stable(kit, *names, group="g", **settings):
    """A stable group; the first member leads it. Every member is assigned its own name."""
    members = [kit.member(group, **settings, **({"instance": name} if settings.get("instance") else {})) for name in names]
    for member in members:
        member.join()
    for member in members[:-1]:
        member.join()
    for member in members:
        member.joined()
    share(members, names)
    return members


def share(members, names):
    waiting = [member.send_sync() for member in members[1:]]
    members[0].sync({member.id: name.encode() for member, name in zip(members, names, strict=True)})
    assert [answer.response.assignment for answer in waiting] == [name.encode() for name in names[1:]]


class TestJoining:
    def test_the_first_join_only_gives_an_id(self, kit):
        answer = kit.member("g").send_join()
        assert (answer.error_code, answer.generation_id, answer.leader, answer.members) == (ErrorCode.MEMBER_ID_REQUIRED, -1, "", [])
        assert (answer.protocol_type, answer.protocol_name) == (None, None)
        assert answer.member_id.startswith("ck-")
        assert len(answer.member_id) == len("ck-") + 36
        described = kit.describe("g")
        assert (described.group_state, described.protocol_type, described.members) == ("Empty", "", [])

    @pytest.mark.parametrize(("client_id", "prefix"), [(None, "-"), ("", "-"), ("x", "x-")])
    def test_an_id_begins_with_the_clients(self, kit, client_id, prefix):
        answer = kit.member("g").send_join(client_id=client_id)
        assert answer.member_id[: len(prefix)] == prefix
        assert len(answer.member_id) == len(prefix) + 36

    @pytest.mark.parametrize("version", [0, 1, 2, 3])
    def test_old_versions_join_at_once(self, kit, version):
        member = kit.member("g")
        joined = member.send_join(version)
        assert (joined.error_code, joined.generation_id, joined.leader) == (ErrorCode.NONE, 1, joined.member_id)
        assert [one.member_id for one in joined.members] == [joined.member_id]

    def test_an_id_that_was_given_out_expires(self, kit):
        member = kit.member("g")
        member.id = member.send_join().member_id
        kit.clock.advance(10_000)
        assert member.send_join().error_code == ErrorCode.UNKNOWN_MEMBER_ID

    @pytest.mark.parametrize("version", [4, 6, 7, 9])
    def test_an_id_that_was_never_given_out_is_unknown(self, kit, version):
        member = kit.member("g")
        member.id = "made-up"
        answer = member.send_join(version)
        assert (answer.error_code, answer.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, "made-up")
        assert answer.protocol_name == (None if version >= 7 else "")
        assert kit.describe("g").group_state == "Dead"

    @pytest.mark.parametrize(
        ("group", "session_ms", "error"),
        [
            ("", 1, ErrorCode.INVALID_GROUP_ID),
            ("g", 5999, ErrorCode.INVALID_SESSION_TIMEOUT),
            ("g", 1_800_001, ErrorCode.INVALID_SESSION_TIMEOUT),
            ("g", -1, ErrorCode.INVALID_SESSION_TIMEOUT),
            ("g", 6000, ErrorCode.MEMBER_ID_REQUIRED),
            ("g", 1_800_000, ErrorCode.MEMBER_ID_REQUIRED),
        ],
    )
    def test_group_id_and_session_timeout_are_checked(self, kit, group, session_ms, error):
        assert kit.member(group, session_ms=session_ms).send_join().error_code == error

    @pytest.mark.parametrize("fields", [{"protocols": ()}, {"protocol_type": ""}])
    def test_the_first_member_must_speak_something(self, kit, fields):
        assert kit.member("g", **fields).send_join().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL

    def test_members_must_speak_alike(self, kit):
        stable(kit, "a")
        for fields in ({"protocol_type": "connect"}, {"protocols": (("other", b""),)}, {"protocols": ()}):
            stranger = kit.member("g", **fields)
            assert stranger.send_join().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
            assert stranger.send_join(member_id="zzz").error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL

    def test_a_sole_member_cannot_change_to_a_protocol_that_it_did_not_speak(self, kit):
        (member,) = stable(kit, "a")
        member.protocols = (("other", b""),)
        assert member.send_join().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL

    def test_a_group_of_its_largest_size_takes_nobody(self, new_kit):
        kit = new_kit(group_max_size="2")
        members = stable(kit, "a", "b")
        for version in (3, 9):
            refused = kit.member("g").send_join(version)
            assert (refused.error_code, refused.member_id) == (ErrorCode.GROUP_MAX_SIZE_REACHED, "")
        assert [member.heartbeat() for member in members] == [ErrorCode.NONE] * 2

    def test_ids_that_were_given_out_take_no_place(self, new_kit):
        kit = new_kit(group_max_size="2", group_initial_rebalance_delay_ms="1000")
        members = [kit.member("g") for _ in range(3)]
        for member in members:
            member.id = member.send_join().member_id
        members[0].join()
        members[1].join()
        assert members[2].join().error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
        kit.clock.advance(2000)
        assert {member.joined().generation_id for member in members[:2]} == {1}


class TestInitialDelay:
    @pytest.fixture
    def kit(self, new_kit):
        return new_kit(group_initial_rebalance_delay_ms="3000")

    def test_a_lone_member_waits_for_it_once(self, kit):
        member = kit.member("g", rebalance_ms=1000)
        member.join()
        kit.clock.advance(2999)
        assert not member.parked.settled
        kit.clock.advance(1)
        assert member.joined().generation_id == 1

    def test_it_is_extended_when_somebody_comes(self, kit):
        first, second = kit.member("g"), kit.member("g")
        first.join()
        kit.clock.advance(2000)
        second.join()
        kit.clock.advance(3999)
        assert not first.parked.settled
        kit.clock.advance(1)
        assert first.joined().generation_id == second.joined().generation_id == 1

    def test_it_ends_with_the_rebalance_timeout(self, kit):
        first, second = kit.member("g", rebalance_ms=4000), kit.member("g", rebalance_ms=4000)
        first.join()
        kit.clock.advance(2000)
        second.join()
        kit.clock.advance(2000)
        assert first.joined().generation_id == 1

    def test_a_parked_join_counts_though_its_connection_is_gone_and_falls_out_a_session_later(self, kit):
        gone, here = kit.member("g", rebalance_ms=60_000), kit.member("g", session_ms=60_000, rebalance_ms=60_000)
        gone.join()
        kit.session.close()
        here.join()
        kit.clock.advance(6000)
        assert here.joined().generation_id == 1
        assert len(gone.joined().members) == 2
        kit.clock.advance(9_999)
        assert here.heartbeat() == ErrorCode.NONE
        kit.clock.advance(1)
        assert here.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS


class TestGenerations:
    def test_only_the_leader_learns_who_is_in(self, kit):
        leader, follower = stable(kit, "a", "b")
        assert leader.generation == follower.generation == 2
        assert {one.member_id for one in leader.joined().members} == {leader.id, follower.id}
        assert follower.joined().members == []
        assert leader.joined().leader == follower.joined().leader == leader.id
        assert leader.joined().protocol_type == "consumer"

    def test_members_vote_for_the_first_protocol_that_all_speak(self, new_kit):
        kit = new_kit(group_initial_rebalance_delay_ms="10")
        members = [
            kit.member("g", protocols=protocols) for protocols in (TWO_PROTOCOLS, TWO_PROTOCOLS[::-1], (*TWO_PROTOCOLS[::-1], ("x", b"")))
        ]
        for member in members:
            member.join()
        kit.clock.advance(60)
        assert {member.joined().protocol_name for member in members} == {"sticky"}
        assert {one.metadata for one in members[0].joined().members} == {b"s"}

    def test_a_protocol_may_have_no_name(self, kit):
        member = kit.member("g", protocols=(("", b"said"),))
        member.join()
        assert member.joined().protocol_name in {"", None}
        member.sync({member.id: b"A"})
        described = kit.describe("g")
        assert (described.group_state, described.protocol_data, described.members[0].member_metadata) == ("Stable", "", b"said")

    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize(("names", "first"), [(("range", "roundrobin"), "range"), (("range", "sticky"), "sticky")])
    def test_of_two_protocols_with_as_many_votes_the_first_in_a_java_map_is_taken(self, new_kit, order, names, first):
        kit = new_kit(group_initial_rebalance_delay_ms="10")
        protocols = tuple((name, b"") for name in names)
        members = [kit.member("g", protocols=one) for one in (protocols, protocols[::-1])[::order]]
        for member in members:
            member.join()
        kit.clock.advance(60)
        assert {member.joined().protocol_name for member in members} == {first}

    def test_who_does_not_join_again_in_time_is_out(self, kit):
        leader, slow = stable(kit, "a", "b", rebalance_ms=1500)
        leader.join()
        kit.clock.advance(1499)
        assert not leader.parked.settled
        kit.clock.advance(1)
        assert [one.member_id for one in leader.joined().members] == [leader.id]
        assert slow.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID

    def test_the_rebalance_waits_for_an_id_that_was_given_out(self, kit):
        leader, follower = stable(kit, "a", "b")
        newcomer = kit.member("g")
        newcomer.id = newcomer.send_join().member_id
        assert leader.heartbeat() == ErrorCode.NONE
        leader.join()
        follower.join()
        assert not leader.parked.settled
        newcomer.join()
        assert len(leader.joined().members) == 3

    def test_a_follower_that_joins_again_unchanged_hears_what_is(self, kit):
        leader, follower = stable(kit, "a", "b")
        follower.session_ms = 20_000
        answer = follower.send_join()
        assert (answer.generation_id, answer.leader, answer.members) == (2, leader.id, [])
        assert leader.heartbeat() == ErrorCode.NONE

    @pytest.mark.parametrize("who", [0, 1])
    def test_a_leader_that_joins_again_or_a_member_that_has_changed_starts_a_rebalance(self, kit, who):
        members = stable(kit, "a", "b")
        if who == 1:
            members[1].protocols = (("range", b"\0\0\0\0\0\0\xff\xff\xff\xff"),)
        members[who].join()
        assert not members[who].parked.settled
        assert members[1 - who].heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        members[1 - who].join()
        assert members[0].joined().leader == members[0].id
        assert members[0].generation == members[1].joined().generation_id == 3

    def test_until_the_leader_has_synced_who_joins_again_unchanged_hears_the_same(self, kit):
        leader, follower = kit.member("g"), kit.member("g")
        leader.join()
        follower.join()
        leader.join()
        follower.joined()
        assert len(leader.send_join().members) == 2
        assert follower.send_join().members == []
        follower.protocols = (("range", b"\0\0\0\0\0\0\xff\xff\xff\xff"),)
        follower.join()
        assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        leader.join()
        assert follower.joined().generation_id == 3

    def test_the_last_one_leaves_an_empty_group_of_another_generation(self, kit):
        (member,) = stable(kit, "a", session_ms=6000)
        kit.clock.advance(6000)
        described = kit.describe("g")
        assert (described.group_state, described.protocol_type, described.protocol_data) == ("Empty", "consumer", "")
        assert member.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID
        member.id = ""
        assert member.join().generation_id == 3

    def test_unreadable_consumer_metadata_harms_nobody(self, kit):
        leader, _ = stable(kit, "a", "b", protocols=(("range", b"changed"),))
        assert leader.heartbeat() == ErrorCode.NONE
        kit.restart()
        assert leader.heartbeat() == ErrorCode.NONE

    def test_a_join_sent_twice_is_answered_twice(self, kit):
        leader, follower = stable(kit, "a", "b")
        first = leader.send_join()
        second = leader.send_join()
        follower.join()
        assert first.response == second.response


class TestSyncing:
    def test_followers_wait_for_the_leader_and_who_is_forgotten_gets_nothing(self, kit):
        leader, follower = kit.member("g"), kit.member("g")
        leader.join()
        follower.join()
        leader.join()
        follower.joined()
        waiting = follower.send_sync()
        assert not waiting.settled
        synced = leader.sync({leader.id: b"A", "nobody": b"N"})
        assert (synced.assignment, synced.protocol_type, synced.protocol_name) == (b"A", "consumer", "range")
        assert waiting.response.assignment == b""
        assert kit.describe("g").group_state == "Stable"

    def test_in_a_stable_group_the_assignment_is_given_again(self, kit):
        leader, follower = stable(kit, "a", "b")
        assert leader.sync({leader.id: b"other"}).assignment == b"a"
        assert follower.sync().assignment == b"b"

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"generation_id": 1}, ErrorCode.ILLEGAL_GENERATION),
            ({"generation_id": 9}, ErrorCode.ILLEGAL_GENERATION),
            ({"protocol_type": "x"}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
            ({"protocol_name": "x"}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
            ({"protocol_type": None}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
            ({"group_id": "unknown"}, ErrorCode.UNKNOWN_MEMBER_ID),
            ({"member_id": "unknown"}, ErrorCode.UNKNOWN_MEMBER_ID),
            ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
            ({"group_instance_id": "unknown"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ],
    )
    def test_it_is_checked(self, kit, fields, error):
        leader, _ = stable(kit, "a", "b")
        refused = leader.send_sync(**fields)
        assert (refused.error_code, refused.protocol_type, refused.protocol_name, refused.assignment) == (error, None, None, b"")

    def test_before_v5_nobody_asks_for_the_protocol(self, kit):
        leader, _ = stable(kit, "a", "b")
        for version in range(5):
            assert leader.send_sync(version=version).assignment == b"a"

    def test_during_a_rebalance_it_is_refused(self, kit):
        leader, follower = stable(kit, "a", "b")
        leader.join()
        assert follower.send_sync().error_code == ErrorCode.REBALANCE_IN_PROGRESS
        assert follower.send_sync(generation_id=1).error_code == ErrorCode.ILLEGAL_GENERATION

    def test_a_leader_that_never_syncs_is_out(self, kit):
        leader, follower = kit.member("g", rebalance_ms=2000), kit.member("g", rebalance_ms=2000)
        leader.join()
        follower.join()
        leader.join()
        follower.joined()
        waiting = follower.send_sync()
        kit.clock.advance(2000)
        assert waiting.response.error_code == ErrorCode.REBALANCE_IN_PROGRESS
        assert leader.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID
        follower.join()
        assert follower.joined().leader == follower.id

    def test_a_follower_that_never_syncs_is_out_of_the_stable_group(self, kit):
        leader, follower = kit.member("g", rebalance_ms=2000), kit.member("g", rebalance_ms=2000)
        leader.join()
        follower.join()
        leader.join()
        follower.joined()
        leader.sync({leader.id: b"A"})
        kit.clock.advance(2000)
        assert follower.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID
        assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS


class TestSessions:
    def test_heartbeats_keep_a_member_also_during_a_rebalance(self, kit):
        leader, follower = stable(kit, "a", "b", session_ms=6000, rebalance_ms=60_000)
        leader.join()
        for _ in range(4):
            kit.clock.advance(5000)
            assert follower.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        kit.clock.advance(6000)
        assert [one.member_id for one in leader.joined().members] == [leader.id]

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"generation_id": 1}, ErrorCode.ILLEGAL_GENERATION),
            ({"generation_id": -1}, ErrorCode.ILLEGAL_GENERATION),
            ({"group_id": "unknown"}, ErrorCode.UNKNOWN_MEMBER_ID),
            ({"member_id": "unknown", "generation_id": 1}, ErrorCode.UNKNOWN_MEMBER_ID),
            ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
            ({"group_instance_id": "of-nobody"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ],
    )
    def test_heartbeats_are_checked(self, kit, fields, error):
        leader, _ = stable(kit, "a", "b")
        assert leader.heartbeat(**fields) == error

    def test_commits_are_as_good_as_heartbeats(self, kit):
        (member,) = stable(kit, "a", session_ms=6000)
        for _ in range(4):
            kit.clock.advance(5000)
            assert member.commit({("t", 0): 1}) == ErrorCode.NONE
        assert member.heartbeat() == ErrorCode.NONE


class TestLeaving:
    def test_several_leave_each_with_its_own_error(self, kit):
        leader, follower = stable(kit, "a", "b")
        identity = LeaveGroupRequest.MemberIdentity
        members = [identity(member_id=leader.id), identity(member_id="unknown"), identity(member_id="", group_instance_id="unknown")]
        answer = kit.ask(LeaveGroupRequest(group_id="g", members=members), 5)
        assert answer.error_code == ErrorCode.NONE
        assert [one.error_code for one in answer.members] == [0, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.UNKNOWN_MEMBER_ID]
        assert follower.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS

    def test_an_unknown_group_is_the_members_error(self, kit):
        stranger = kit.member("unknown")
        stranger.id = "x"
        assert (answer := stranger.leave(5)).error_code == ErrorCode.NONE
        assert [one.error_code for one in answer.members] == [ErrorCode.UNKNOWN_MEMBER_ID]
        assert stranger.leave(2).error_code == ErrorCode.UNKNOWN_MEMBER_ID
        stranger.group = ""
        assert (answer := stranger.leave(5)).error_code == ErrorCode.INVALID_GROUP_ID
        assert answer.members == []

    def test_an_id_that_was_given_out_may_leave(self, kit):
        member = kit.member("g")
        member.id = member.send_join().member_id
        assert member.leave().members[0].error_code == ErrorCode.NONE
        assert member.send_join().error_code == ErrorCode.UNKNOWN_MEMBER_ID

    @pytest.mark.parametrize("version", [0, 2, 3, 5])
    def test_a_member_leaves_at_once(self, kit, version):
        leader, follower = stable(kit, "a", "b")
        answer = leader.leave(version)
        assert answer.error_code == ErrorCode.NONE
        assert all(one.error_code == ErrorCode.NONE for one in answer.members)
        follower.join()
        assert follower.joined().leader == follower.id

    def test_who_leaves_while_parked_is_answered(self, kit):
        leader, follower = stable(kit, "a", "b")
        follower.protocols = (("range", b"x"),)
        parked = follower.send_join()
        follower.leave()
        assert (parked.response.error_code, parked.response.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, "")
        leader.join()
        waiting = leader.joined()
        assert len(waiting.members) == 1


class TestRestart:
    def test_a_stable_group_is_as_it_was_and_given_out_ids_are_gone(self, kit):
        leader, follower = stable(kit, "a", "b")
        newcomer = kit.member("g")
        newcomer.id = newcomer.send_join().member_id
        before = kit.describe("g")
        kit.restart()
        assert kit.describe("g") == before
        assert follower.sync().assignment == b"b"
        assert newcomer.send_join().error_code == ErrorCode.UNKNOWN_MEMBER_ID
        kit.clock.advance(10_000)
        assert leader.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID

    def test_a_rebalance_that_was_under_way_is_forgotten(self, kit):
        leader, follower = stable(kit, "a", "b")
        leader.join()
        follower.join()
        leader.joined()
        kit.restart()
        assert kit.describe("g").group_state == "Stable"
        assert follower.heartbeat() == ErrorCode.ILLEGAL_GENERATION
        assert follower.heartbeat(generation_id=2) == ErrorCode.NONE

    def test_a_group_larger_than_allowed_gathers_anew(self, kit):
        members = stable(kit, "a", "b")
        kit.settings["group.max.size"] = "1"
        kit.restart()
        assert members[0].heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        members[1].join()
        assert members[0].join().error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
        assert members[1].joined().generation_id == 3

    def test_who_waits_while_the_broker_stops_is_told_to_look_for_the_coordinator(self, kit):
        leader, _follower = stable(kit, "a", "b")
        leader.join()
        kit.restart()
        assert leader.parked.response.error_code == ErrorCode.NOT_COORDINATOR


def test_list_groups_filters_by_state_and_type(kit):
    stable(kit, "a", group="busy")
    kit.commit("simple", {("t", 0): 1})

    def listed(version=5, **filters):
        answer = kit.ask(ListGroupsRequest(**filters), version)
        return sorted((one.group_id, one.protocol_type, one.group_state, one.group_type) for one in answer.groups)

    simple, busy = ("simple", "", "Empty", "classic"), ("busy", "consumer", "Stable", "classic")
    assert listed() == [busy, simple]
    assert listed(states_filter=["stable"]) == [busy]
    assert listed(states_filter=["EMPTY", "nonsense"], types_filter=["Classic"]) == [simple]
    assert listed(types_filter=["consumer"]) == listed(states_filter=["nonsense"]) == []
    assert listed(0) == [("busy", "consumer", "", ""), ("simple", "", "", "")]


def test_a_thousand_members_share_in_one_rebalance(new_kit):
    kit = new_kit(group_initial_rebalance_delay_ms="1000")
    members = [kit.member("g") for _ in range(1000)]
    for member in members:
        member.join()
    kit.clock.advance(2000)
    assert {member.joined().generation_id for member in members} == {1}
    leader = members[0]
    assert len(leader.joined().members) == 1000
    waiting = [member.send_sync() for member in members[1:]]
    leader.sync({member.id: str(number).encode() for number, member in enumerate(members)})
    assert [answer.response.assignment for answer in waiting] == [str(number).encode() for number in range(1, 1000)]


@pytest.mark.parametrize(
    ("api_key", "versions"),
    [
        (8, range(2, 11)),
        (9, range(1, 11)),
        (10, range(7)),
        (11, range(10)),
        (12, range(5)),
        (13, range(6)),
        (14, range(6)),
        (15, range(7)),
        (16, range(6)),
        (42, range(3)),
        (47, range(1)),
    ],
)
def test_every_version_of_kafka_4_3_is_served(api_key, versions):
    assert versions == served(api_key).VERSIONS
