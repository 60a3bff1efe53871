"""Break the broker: frames that go deep, and frames that are damaged, by the hundred thousand; then byte by byte over a real socket.

    python -m tests.torture.fuzz [--frames 200000] [--tcp-frames 5000] [--seed N]

Nothing may raise, every answer must decode, no request and no timer may hold the loop for more than 100 ms (processor time), and memory may not grow by more
than 64 MiB. The seed is printed; the same seed does the same again. A frame that fails is made as small as it can be and printed as hex.
"""

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from pykbroker.apis import served, served_names
from pykbroker.apis.produce import FIRST_VERSION_WITH_TOPIC_IDS
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.header import PRODUCE, request_frame
from pykbroker.protocol.messages import JoinGroupRequest, LeaveGroupRequest, Message, ProduceRequest, SyncGroupRequest
from pykbroker.protocol.samples import sample
from pykbroker.session import Session
from tests.torture.fuzz_broker import Broken, FuzzedBroker, Worst, quiet
from tests.torture.fuzz_mutations import mutated
from tests.torture.fuzz_requests import GROUPS, TOPICS, Requests
from tests.torture.fuzz_tcp import attack_over_tcp

LONGEST_HOLD_MS = 100
LARGEST_GROWTH_BYTES = 64 << 20
FRAMES_BETWEEN_RESTARTS = 10_000
STORMS = 0.03
REQUESTS_OF_MEMBERS = [8, 8, 9, 12, 12, 47]  # OffsetCommit, OffsetFetch, Heartbeat, OffsetDelete
MINIMISING_TIMEOUT_S = 20
MOST_HEX_DIGITS = 4000


class Frames:
    """An endless row of frames, without their sizes."""

    def __init__(self, chance: random.Random, requests: Requests) -> None:
        self.chance = chance
        self.requests = requests
        self._keys = list(served_names())
        self._last = b""

    def next(self) -> bytes:
        """Sound three times out of five; sometimes the last one again, or nearly."""
        chance = self.chance
        if self._last and chance.random() < 0.05:
            return mutated(chance, self._last) if chance.random() < 0.3 else self._last
        self._last = self._new()
        return self._last

    def storm(self) -> Iterator[bytes]:
        """Requests that belong together: each builds on the answers to those before it; not all of them in good order."""
        for request, version in self._member() if self.chance.random() < 0.5 else self._producer():
            frame = b"".join(request_frame(request, version, self.chance.randrange(1 << 31), "storm"))[4:]
            yield mutated(self.chance, frame) if self.chance.random() < 0.1 else frame

    def _producer(self) -> Iterator[tuple[Message, int]]:
        """What one producer sends to one partition."""
        chance = self.chance
        version = self._version(PRODUCE)
        topic = chance.choice(TOPICS)
        topic_id = self.requests.known.topic_ids.get(topic, bytes(16))
        index = chance.randrange(3)
        for _ in range(chance.randrange(2, 12)):
            records = self.requests.batch() if chance.random() < 0.95 else chance.choice([None, b"", bytes(61), self.requests.batch() * 2])
            data = ProduceRequest.PartitionProduceData(index=index, records=records)
            named = {"topic_id": topic_id} if version >= FIRST_VERSION_WITH_TOPIC_IDS else {"name": topic}
            yield (
                ProduceRequest(acks=-1, timeout_ms=100, topic_data=[ProduceRequest.TopicProduceData(partition_data=[data], **named)]),
                version,
            )

    def _member(self) -> Iterator[tuple[Message, int]]:
        """The life of a member of a group, whose every step may be made wrongly."""
        chance, known = self.chance, self.requests.known.members
        group_id = chance.choice(GROUPS)
        metadata = b"\0\1\0\0\0\1\0\7topic-0\0\0\0\0"
        protocols = [JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=metadata)]
        member_id, generation = "", -1
        for _ in range(2):
            request = JoinGroupRequest(
                group_id=group_id,
                member_id=member_id,
                session_timeout_ms=10_000,
                rebalance_timeout_ms=1000,
                protocol_type="consumer",
                protocols=protocols,
            )
            yield request, self._version(request.API_KEY)
            member_id, generation = (known.get(group_id) or [("", -1)])[-1]
        assignments = [SyncGroupRequest.SyncGroupRequestAssignment(member_id=one, assignment=b"x") for one, _ in known.get(group_id, [])]
        yield SyncGroupRequest(group_id=group_id, member_id=member_id, generation_id=generation, assignments=assignments), 3
        for _ in range(chance.randrange(6)):
            key = chance.choice(REQUESTS_OF_MEMBERS)
            version = self._version(key)
            made = self.requests.request(API_BY_KEY[key].request, version)
            right = {
                "group_id": group_id,
                "member_id": member_id,
                "generation_id": generation,
                "generation_id_or_member_epoch": generation,
            }
            for one in made.SCHEMA.fields:
                if one.name in right and version in one.versions and chance.random() < 0.9:
                    setattr(made, one.name, right[one.name])
            yield made, version
        if chance.random() < 0.7:
            yield LeaveGroupRequest(group_id=group_id, member_id=member_id), 2

    def _version(self, key: int) -> int:
        return self.chance.choice(served(key).VERSIONS)  # type: ignore[union-attr]

    def _new(self) -> bytes:
        chance = self.chance
        key = chance.choice(self._keys)
        version = self._version(key)
        message = API_BY_KEY[key].request
        made = sample(chance, message, version) if chance.random() < 0.15 else self.requests.request(message, version)
        client = chance.choice(["fuzz", "", None, "__admin_client", "é" * 50])
        frame = b"".join(request_frame(made, version, chance.randrange(1 << 31), client))[4:]
        return mutated(chance, frame) if chance.random() < 0.4 else frame


def attack(frames: int, seed: int, worst: Worst, tell: Callable[[str], None]) -> FuzzedBroker:
    """That many frames against one broker, which is restarted now and then. Raises Broken."""
    broker = FuzzedBroker(seed, worst)
    source = Frames(broker.chance, Requests(broker.chance, broker.known, lambda: broker.clock.now_ms))
    frame = b""
    number = 0
    try:
        while number < frames:
            session = broker.idle_session()
            for frame in source.storm() if broker.chance.random() < STORMS else [source.next()]:
                if session.closed or session in broker.pending:
                    session = broker.idle_session()
                broker.send(frame, session)
                broker.meanwhile()
                number += 1
                if number % FRAMES_BETWEEN_RESTARTS == 0:
                    broker.restart()
                    tell(f"{number} frames, {resident_bytes() >> 20} MiB")
        broker.restart()
    except Broken as error:
        error.add_note(f"seed {seed}, frame {number}: {describe(frame, type(error.__cause__))}")
        raise
    return broker


def describe(frame: bytes, kind: type[BaseException]) -> str:
    """The frame as hex; smaller, where it also fails alone on a fresh broker."""

    def fails(candidate: bytes) -> bool:
        broker = FuzzedBroker(1, Worst())
        try:
            broker.send(candidate, Session(broker.cluster.broker))
            broker.deliver(len(broker.handed_over))
            broker.check_errors()
        except Broken as error:
            return isinstance(error.__cause__, kind)
        return False

    if not fails(frame):
        return f"it needs what came before (the same seed does it again): {frame.hex()[:MOST_HEX_DIGITS]}"
    return f"it fails alone; at its smallest: {smallest(frame, fails).hex()[:MOST_HEX_DIGITS]}"


def smallest(frame: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Leave out pieces, large ones first, as long as it still fails; after a while it is small enough."""
    size = max(1, len(frame) // 2)
    deadline = time.monotonic() + MINIMISING_TIMEOUT_S
    while True:
        position = 0
        while position < len(frame) and time.monotonic() < deadline:
            candidate = frame[:position] + frame[position + size :]
            if fails(candidate):
                frame = candidate
            else:
                position += size
        if size == 1 or time.monotonic() >= deadline:
            return frame
        size //= 2


def resident_bytes() -> int:
    """What this process has in memory."""
    with open("/proc/self/statm", encoding="ascii") as numbers:  # noqa: PTH123
        return int(numbers.read().split()[1]) * 4096


def report(worst: Worst) -> list[str]:
    """The longest holds, by API; what was too long comes back."""
    for what, ms in sorted(worst.ms.items(), key=lambda one: -one[1]):
        print(f"  {ms:8.2f} ms  {what}")
    too_long = sorted((one for one in worst.over if one[0] > LONGEST_HOLD_MS), key=lambda one: -one[0])
    return [f"{what} held the loop for {ms:.0f} ms: {frame[:400].hex()}" for ms, what, frame in too_long[:5]]


def main() -> None:
    """See the law of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--tcp-frames", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    try:
        with quiet():
            wrong = attacked(arguments.frames, arguments.tcp_frames, arguments.seed)
    except Broken:
        traceback.print_exc()
        sys.exit(1)
    if wrong:
        sys.exit("\n".join(wrong))
    print("nothing broke")


def attacked(frames: int, tcp_frames: int, seed: int) -> list[str]:
    """What went wrong, a sentence each."""
    attack(min(FRAMES_BETWEEN_RESTARTS, frames // 10), seed + 1, Worst(), print)
    before = resident_bytes()
    started = time.monotonic()
    worst = Worst()
    broker = attack(frames, seed, worst, print)
    growth = resident_bytes() - before
    print(f"{frames} frames in {time.monotonic() - started:.0f} s: {broker.answered}; memory grew by {growth / (1 << 20):.1f} MiB")
    wrong = report(worst)
    if growth > LARGEST_GROWTH_BYTES:
        wrong.append(f"memory grew by {growth >> 20} MiB")
    return wrong + attack_over_tcp(tcp_frames, seed, print)


if __name__ == "__main__":
    main()
