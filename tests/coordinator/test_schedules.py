"""Laws of groups under any schedule: members that come, go, pause, come back, commit, and a broker that loses power at any point.

No partition belongs to two members in one generation. Every request is answered in bounded time. What the log gives back is what was there.
Members that keep the protocol get to a generation in which everything is shared out.
"""

from random import Random

import pytest

from pykbroker.coordinator.classic_group import GroupState
from pykbroker.protocol.errors import ErrorCode

PARTITIONS = 8
STEPS = 150
LONGEST_WAIT_MS = 6 * 60_000
"""Longer than any time-out there is: a first JoinGroup may be parked for five minutes."""

SETTLED_STATES = {GroupState.STABLE, GroupState.EMPTY}


class Client:
    """A client of the group, which keeps to the protocol except that it may fall silent, come back, or die."""

    def __init__(self, world, number):
        self.world = world
        self.number = number
        self.reborn()

    def reborn(self):
        """A new process: it knows nothing but its configuration."""
        random = self.world.random
        self.member = self.world.kit.member(
            "g",
            instance=f"i{self.number}" if self.number % 3 == 0 else None,
            session_ms=random.choice([6000, 10_000]),
            rebalance_ms=random.choice([1000, 10_000]),
            protocols=random.choice([(("range", b"r"), ("sticky", b"s")), (("sticky", b"s"), ("range", b"r"))]),
        )
        self.reply = None
        self.asked = ""

    @property
    def owner(self):
        """Who it is to the group: a static member stays the same under a new id."""
        return self.member.instance or self.member.id

    def step(self):
        """The next thing that the protocol asks for."""
        if self.reply is not None:
            if self.reply.settled:
                self.answered()
        elif self.member.generation < 0:
            self.send("join", self.member.send_join())
        else:
            self.heard(self.member.heartbeat())

    def send(self, what, reply):
        """A request that may be parked; while it is, the client does nothing else."""
        self.world.sent.append(reply)
        self.reply, self.asked = reply, what
        if reply.settled:
            self.answered()

    def answered(self):
        response, self.reply = self.reply.response, None
        if response.error_code != ErrorCode.NONE:
            if response.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                self.member.id = response.member_id
            self.heard(ErrorCode(response.error_code))
        elif self.asked == "join":
            self.member.id, self.member.generation = response.member_id, response.generation_id
            self.member.protocols = tuple(sorted(self.member.protocols, key=lambda protocol: protocol[0] != response.protocol_name))
            shares = {}
            if response.members and not response.skip_assignment:
                names = [one.member_id for one in response.members]
                shares = {name: bytes(range(position, PARTITIONS, len(names))) for position, name in enumerate(names)}
            self.send("sync", self.member.send_sync(shares))
        else:
            self.world.owns(self.member.generation, self.owner, response.assignment)

    def heard(self, error):
        """What every client does with these errors."""
        if error == ErrorCode.NONE:
            return
        self.member.generation = -1
        if error in {ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID}:
            self.member.id = ""

    def leave(self):
        if self.reply is None and self.member.id:
            self.member.leave()
            self.reborn()

    def change(self):
        """It can do something else now, and says so."""
        if self.reply is None and self.member.generation >= 0:
            self.member.protocols = tuple((name, metadata + b"+") for name, metadata in self.member.protocols)
            self.member.generation = -1

    def commit(self):
        if self.reply is None and self.member.generation >= 0:
            self.world.committed(self.world.random.randrange(2), self.member)


class World:
    """A broker that flushes every record, its clients, and what they were told."""

    def __init__(self, new_kit, seed):
        self.random = Random(seed)
        delay_ms = self.random.choice(["0", "1000"])
        self.kit = new_kit(seed=seed, log_flush_interval_messages="1", group_initial_rebalance_delay_ms=delay_ms, group_max_size="5")
        self.clients = [Client(self, number) for number in range(self.random.randrange(1, 7))]
        self.sent = []
        self.owners = {}
        self.offsets = {}

    def owns(self, generation, owner, assignment):
        for partition in assignment:
            first = self.owners.setdefault((generation, partition), owner)
            assert first == owner, f"partition {partition} of generation {generation} belongs to {first} and to {owner}"

    def committed(self, partition, member):
        offset = self.random.randrange(1000)
        if member.commit({("t", partition): offset}) == ErrorCode.NONE:
            self.offsets["t", partition] = offset

    def lose_power(self):
        before = self.durable()
        self.kit.files = self.kit.files.crash(self.random)
        self.kit.start()
        self.agree(before, self.durable())
        for client in self.clients:
            if client.reply is not None and not client.reply.settled:
                self.sent.remove(client.reply)
                client.reply = None

    def look_into_the_log(self):
        """A second broker that reads a copy of the disk knows the same."""
        mine, files = self.kit.cluster, self.kit.files
        before = self.durable()
        self.kit.files = files.crash(self.random)
        self.kit.start()
        self.agree(before, self.durable())
        self.kit.cluster.stop()
        self.kit.cluster, self.kit.files = mine, files

    def durable(self):
        """What must survive: offsets, and of a group that is not in a rebalance everything but who is about to come."""
        groups, offsets = {}, {}
        for shard in self.kit.cluster.groups._runtime.shards.values():
            for group in shard.state.groups.values():
                members = {
                    member.member_id: (
                        member.instance_id,
                        member.client_id,
                        member.session_timeout_ms,
                        member.rebalance_timeout_ms,
                        member.metadata_for(group.protocol_name or ""),
                        member.assignment,
                    )
                    for member in group.members.values()
                }
                identity = (group.generation, group.protocol_type, group.protocol_name, group.leader_id, members)
                groups[group.group_id] = identity if group.state in SETTLED_STATES else None
            for group_id, topics in shard.state.offsets.by_group.items():
                offsets[group_id] = {(name, index): value.offset for name, indexes in topics.items() for index, value in indexes.items()}
        return groups, offsets

    def agree(self, before, after):
        assert before[0].keys() == after[0].keys()
        for group_id, identity in before[0].items():
            assert identity is None or identity == after[0][group_id]
        assert before[1] == after[1]
        assert after[1].get("g", {}) == self.offsets

    def disturb(self):
        client = self.random.choice(self.clients)
        match self.random.choices(range(8), weights=[30, 3, 3, 3, 6, 20, 2, 2])[0]:
            case 0:
                client.step()
            case 1:
                client.reborn()
            case 2:
                client.leave()
            case 3:
                client.change()
            case 4:
                client.commit()
            case 5:
                self.kit.clock.advance(self.random.choice([1, 100, 1000, 3000]))
            case 6:
                self.lose_power()
            case 7:
                self.look_into_the_log()

    def settle_down(self):
        """From here on everybody keeps the protocol: they come to share everything."""
        for _ in range(200):
            self.kit.clock.advance(300)
            for client in self.clients:
                client.step()
        generations = {client.member.generation for client in self.clients if client.member.id in self.members_of_group()}
        assert len(generations) == 1
        generation = generations.pop()
        assert {partition for owned, partition in self.owners if owned == generation} == set(range(PARTITIONS))

    def members_of_group(self):
        return {one.member_id for one in self.kit.describe("g").members}


@pytest.mark.parametrize("seed", range(120))
def test_any_schedule_keeps_the_laws(new_kit, seed):
    world = World(new_kit, seed)
    for _ in range(STEPS):
        world.disturb()
    world.look_into_the_log()
    world.settle_down()
    world.kit.clock.advance(LONGEST_WAIT_MS)
    assert [reply for reply in world.sent if not reply.settled] == []
