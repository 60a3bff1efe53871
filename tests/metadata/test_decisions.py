"""A large decision lets others have their turn (law 5), and is still one: nobody sees a part of a topic, no decision sees a part of it, no crash leaves a part."""

import random
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest

from pykbroker.clock import VirtualClock
from pykbroker.later import Later
from pykbroker.limits import ITEMS_PER_SLICE
from pykbroker.metadata import log
from pykbroker.metadata.controller import MorePartitions, NewTopic
from pykbroker.metadata.decisions import Decisions
from pykbroker.protocol.errors import ErrorCode, KafkaError
from pykbroker.storage.memory_files import FaultyFiles, MemoryFiles
from tests.held_work import HeldWork

PARTITIONS = 3


@pytest.fixture
def cluster(new_cluster):
    return new_cluster(files=MemoryFiles(crashable=True))


def between_slices(cluster, look):
    """Have `look` called whenever others may have their turn."""
    call_later = cluster.waits.call_later

    def called(delay_ms, callback):
        look()
        return call_later(delay_ms, callback)

    cluster.waits.call_later = called


def done(cluster, value):
    cluster.waits.advance()
    return value.value if isinstance(value, Later) else value


def names(count, prefix="t"):
    return [f"{prefix}{number}" for number in range(count)]


def test_topics_appear_by_and_by_and_each_is_whole(cluster):
    seen = []
    between_slices(cluster, lambda: seen.append([len(topic.partitions) for topic in cluster.metadata.topics.values()]))

    making = cluster.controller.create_topics([NewTopic(name, PARTITIONS) for name in names(2000)])
    behind = cluster.controller.create_topics([NewTopic("t1999")])
    created = done(cluster, making)

    assert len(created) == 2000
    assert done(cluster, behind)[0].error_code == ErrorCode.TOPIC_ALREADY_EXISTS
    assert {partitions for topics in seen for partitions in topics} == {PARTITIONS}
    counts = [len(topics) for topics in seen]
    steps = [after - before for before, after in pairwise(counts)]
    assert max(steps) * (1 + PARTITIONS) <= ITEMS_PER_SLICE
    assert counts[0] == 0, "checking and writing is sliced as well"
    assert len(seen) > 2000 * (1 + PARTITIONS) // ITEMS_PER_SLICE


def test_a_crash_between_slices_leaves_all_of_it_or_nothing(new_cluster, cluster):
    images = []
    between_slices(cluster, lambda: images.append((bool(cluster.metadata.topics), cluster.files.crash(random.Random(len(images))))))
    done(cluster, cluster.controller.create_topics([NewTopic(name) for name in names(1000)]))
    assert {is_seen for is_seen, _ in images} == {False, True}

    for is_seen, image in images[::5]:
        found = len(new_cluster(files=image).metadata.topics)
        assert found == 1000 if is_seen else found in {0, 1000}


def test_partitions_are_added_and_topics_deleted_in_slices(cluster):
    done(cluster, cluster.controller.create_topics([NewTopic(name) for name in names(1000)]))
    slices = []
    between_slices(cluster, lambda: slices.append(cluster.metadata.partition_count))

    done(cluster, cluster.controller.create_partitions([MorePartitions(name, 2) for name in names(1000)]))
    assert cluster.metadata.partition_count == 2000
    assert {slices.count(1000 + ITEMS_PER_SLICE * number) > 0 for number in range(4)} == {True}

    slices.clear()
    done(cluster, cluster.controller.delete_topics(list(cluster.metadata.topics.values())))
    assert cluster.metadata.partition_count == 0
    assert {slices.count(2000 - 2 * ITEMS_PER_SLICE * number) > 0 for number in range(4)} == {True}


def test_a_snapshot_is_written_in_slices_of_what_was_true_when_it_began(new_cluster, cluster, monkeypatch):
    monkeypatch.setattr(log, "_FEW_RECORDS", 100)
    done(cluster, cluster.controller.create_topics([NewTopic(name) for name in names(2000)]))
    done(cluster, cluster.controller.create_topics([NewTopic(name) for name in names(2000, "gone")]))
    during = []
    between_slices(cluster, lambda: during.append(any(".tmp" in one for one in cluster.files.list(log.DIRECTORY))))
    deleting = cluster.controller.delete_topics([cluster.metadata.topics[name] for name in names(2000, "gone")])
    late = cluster.controller.create_topics([NewTopic("late")])
    done(cluster, deleting)
    later = cluster.controller.create_topics([NewTopic("later")])
    assert [done(cluster, one)[0].num_partitions for one in (late, later)] == [1, 1]
    assert during.count(True) > 2000 * 2 // log._RECORDS_PER_BATCH // 2
    assert [name[-11:] for name in cluster.files.list(log.DIRECTORY)].count(".checkpoint") == 1
    topics = {topic.name: topic.topic_id for topic in cluster.metadata.topics.values()}
    assert len(topics) == 2002

    found = new_cluster(files=cluster.files.crash(random.Random(1)))

    assert {topic.name: topic.topic_id for topic in found.metadata.topics.values()} == topics


def test_a_decision_that_fails_or_whose_listener_does_holds_up_nobody(cluster):
    decisions = Decisions(cluster.waits)

    def refused():
        yield None
        raise KafkaError(ErrorCode.POLICY_VIOLATION, "no")

    def made(value):
        yield None
        return value

    def listener(_value):
        raise ZeroDivisionError

    first, second, third = decisions.make(refused()), decisions.make(made(2), ["a"]), decisions.make(made(3))
    second.then(listener)
    with pytest.raises(ZeroDivisionError):
        cluster.waits.advance()
    cluster.waits.advance()

    with pytest.raises(KafkaError):
        _ = first.value
    assert (second.value, third.value) == (2, 3)
    assert done(cluster, decisions.make(made(4))) == 4


def test_decisions_about_different_topics_share_one_sync_and_those_about_one_do_not_meet(new_cluster):
    held_back = HeldWork()
    cluster = new_cluster(files=MemoryFiles(crashable=True), offload=held_back)
    controller = cluster.controller
    made = [controller.create_topics([NewTopic(name)]) for name in ("a", "b", "c.d", "c_d", "e")]
    held_back.run_one()
    assert [one.settled for one in made] == [True, False, False, False, False], "a did not wait for the others"
    held_back.run_one()
    assert [one.settled for one in made] == [True, True, True, True, False], "e came after one that had to wait for c.d"
    held_back.run_one()

    assert [type(one.value[0]).__name__ for one in made] == ["CreatedTopic"] * 3 + ["KafkaError", "CreatedTopic"]
    assert not held_back.work


@pytest.mark.parametrize("seed", range(40))
def test_whatever_overlaps_and_fails_the_log_says_what_was_answered(new_cluster, seed):
    """Decisions at random while others wait for the disk, which fails at times: of each topic the answers, in order, say what is there."""
    dice = random.Random(seed)
    files = MemoryFiles(crashable=True)
    broken = False

    def fault(operation, name):
        if broken and operation in {"append", "sync"} and name.startswith(log.DIRECTORY):
            raise OSError(5, "the disk is broken")

    held_back, clock = HeldWork(), VirtualClock()
    cluster = new_cluster(files=FaultyFiles(files, fault), clock=clock, offload=held_back)
    replay, offsets = cluster.replay, []
    cluster.replay = lambda offset, record: (offsets.append(offset), replay(offset, record))
    there, busy = {}, {}

    def note(name, state):
        busy[name] -= 1
        there[name] = state

    def forget(name, _error):
        busy[name] -= 1

    def settled(name, made, state):
        busy[name] = busy.get(name, 0) + 1
        made.then(lambda _: note(name, state), partial(forget, name))

    for _ in range(120):
        name = f"t{dice.randrange(8)}"
        broken = dice.random() < 0.1
        with suppress(KafkaError):
            if dice.random() < 0.4 and held_back.work:
                held_back.run_one()
            elif dice.random() < 0.2:
                clock.advance(minutes=1)
            elif not there.get(name) and not busy.get(name):
                settled(name, cluster.controller.create_topics([NewTopic(name, dice.choice([1, 300]))]), True)
            elif there.get(name) and not busy.get(name):
                settled(name, cluster.controller.delete_topics([cluster.metadata.topics[name]]), False)
            if dice.random() < 0.7:
                cluster.waits.advance()
    broken = False
    for _ in range(100):
        cluster.waits.advance()
        clock.advance(minutes=1)
        if held_back.work:
            held_back.run_one()

    expected = {name for name, is_there in there.items() if is_there}
    assert not any(busy.values())
    assert set(cluster.metadata.topics) == expected
    assert offsets == sorted(offsets)
    assert set(new_cluster(files=files.crash(dice)).metadata.topics) == expected


def test_what_is_durable_while_another_is_replayed_waits_for_it(new_cluster):
    held_back = HeldWork()
    cluster = new_cluster(files=MemoryFiles(crashable=True), offload=held_back)
    replay, offsets = cluster.replay, []
    cluster.replay = lambda offset, record: (offsets.append(offset), replay(offset, record))
    large = cluster.controller.create_topics([NewTopic(name, PARTITIONS) for name in names(200)])
    cluster.waits.advance()
    small = cluster.controller.create_topics([NewTopic("small")])

    held_back.run_one()
    held_back.run_one()

    assert 0 < len(cluster.metadata.topics) < 200
    assert not small.settled
    cluster.waits.advance()
    assert (len(large.value), len(small.value)) == (200, 1)
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
