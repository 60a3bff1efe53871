"""How members with an instance id come back to classic groups, as Kafka 4.3 was seen to let them (KIP-345; ids: the semantics they state)."""

import pytest

from pykbroker.protocol.errors import ErrorCode


class TestStaticMembers:
    def static_group(self, kit, **settings):
        members = [kit.member("g", instance=name, **settings) for name in ("i1", "i2")]
        members[0].join()
        members[1].join()
        members[0].join()
        members[1].joined()
        members[0].joined()
        waiting = members[1].send_sync()
        members[0].sync({members[0].id: b"A", members[1].id: b"B"})
        assert waiting.response.assignment == b"B"
        return members

    @pytest.mark.parametrize(("version", "skips"), [(5, False), (8, False), (9, True)])
    def test_a_leader_comes_back_without_a_rebalance(self, kit, version, skips):
        leader, follower = self.static_group(kit)
        old_id, leader.id = leader.id, ""
        answer = leader.send_join(version)
        assert (answer.error_code, answer.generation_id, answer.skip_assignment) == (ErrorCode.NONE, leader.generation, skips)
        assert answer.member_id != old_id
        assert answer.member_id.startswith("i1-")
        assert answer.leader == (answer.member_id if skips else old_id)
        assert len(answer.members) == (2 if skips else 0)
        leader.id = answer.member_id
        assert leader.sync().assignment == b"A"
        assert follower.heartbeat() == ErrorCode.NONE
        kit.restart()
        assert leader.sync().assignment == b"A"

    def test_a_follower_comes_back_as_a_follower(self, kit):
        leader, follower = self.static_group(kit)
        follower.id = ""
        follower.protocols = (("range", b"\0\0\0\0\0\0\xff\xff\xff\xff"),)
        answer = follower.send_join()
        assert (answer.generation_id, answer.leader, answer.members, answer.skip_assignment) == (leader.generation, leader.id, [], False)

    def test_the_old_id_is_fenced(self, kit):
        _leader, follower = self.static_group(kit)
        old_id, follower.id = follower.id, ""
        follower.id = follower.send_join().member_id
        new_id, follower.id = follower.id, old_id
        assert follower.heartbeat(generation_id=0) == ErrorCode.FENCED_INSTANCE_ID
        assert follower.send_sync().error_code == ErrorCode.FENCED_INSTANCE_ID
        assert follower.send_join().error_code == ErrorCode.FENCED_INSTANCE_ID
        assert follower.leave().members[0].error_code == ErrorCode.FENCED_INSTANCE_ID
        assert follower.commit({("t", 0): 1}) == ErrorCode.FENCED_INSTANCE_ID
        assert follower.heartbeat(group_instance_id=None) == ErrorCode.UNKNOWN_MEMBER_ID
        follower.id = new_id
        assert follower.heartbeat() == ErrorCode.NONE

    def test_a_parked_join_of_who_is_replaced_is_fenced(self, kit):
        leader, follower = self.static_group(kit)
        parked, old_id, leader.id = leader.send_join(), leader.id, ""
        leader.join()
        assert (parked.response.error_code, parked.response.member_id) == (ErrorCode.FENCED_INSTANCE_ID, old_id)
        follower.join()
        assert leader.joined().generation_id == follower.joined().generation_id == 3

    def test_who_is_replaced_before_it_knows_its_id_is_told(self, kit):
        other = kit.member("g")
        other.join()
        other.joined()
        other.sync({other.id: b"a"})
        first, second = (kit.member("g", instance="i") for _ in range(2))
        first.join()
        second.join()
        assert first.parked.response.error_code == ErrorCode.FENCED_INSTANCE_ID
        assert first.parked.response.member_id.startswith("i-")

    def test_before_the_leader_has_synced_a_come_back_starts_anew(self, kit):
        leader, follower = self.static_group(kit)
        leader.join()
        follower.join()
        leader.joined()
        waiting = follower.send_sync()
        follower.id = ""
        follower.join()
        assert waiting.response.error_code == ErrorCode.FENCED_INSTANCE_ID
        assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS

    def test_it_leaves_by_its_instance_id(self, kit):
        leader, follower = self.static_group(kit)
        member_id, follower.id = follower.id, ""
        assert follower.leave().members[0].error_code == ErrorCode.NONE
        assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        follower.id = member_id
        assert follower.leave().members[0].error_code == ErrorCode.UNKNOWN_MEMBER_ID

    def test_nothing_happens_until_its_session_ends(self, kit):
        leader, follower = self.static_group(kit, session_ms=10_000, rebalance_ms=60_000)
        kit.clock.advance(9_999)
        assert leader.heartbeat() == ErrorCode.NONE
        kit.clock.advance(1)
        assert leader.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS
        assert follower.heartbeat() == ErrorCode.UNKNOWN_MEMBER_ID

    @pytest.mark.parametrize("instance", ["", "a b", "x" * 250])
    def test_any_instance_id_will_do(self, kit, instance):
        assert kit.member("g", instance=instance).join().member_id.startswith(f"{instance}-")
