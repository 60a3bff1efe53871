"""What Kafka 4.3 answered in recorded sequences, our broker answers too; and the recorder finds a broker that is broken on purpose."""

import pathlib
import random
import sys
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from compat.differential.brokers import OURS, SETTINGS, ready
from compat.differential.differences_page import PAGE, page
from compat.differential.explained import explains
from compat.differential.generation.sequences import sequence
from compat.differential.golden import Parted, Recorded, Replayed, load
from compat.differential.masking import Mask, differing
from compat.differential.minimise import minimised
from compat.differential.notation import read, written
from compat.differential.steps import Sequence, Step
from compat.differential.trial import Difference, Outcome, Pace, Trial
from compat.faults.catalogue import FAULTS
from compat.faults.fault import Fault
from pykbroker.protocol.messages import (
    ApiVersionsRequest,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    FetchRequest,
    FetchResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    HeartbeatRequest,
    Message,
    MetadataRequest,
    MetadataResponse,
)
from pykbroker.testing import KafkaBroker

GOLDEN = load(pathlib.Path(__file__).parent.parent / "golden" / "sequences.jsonl.xz")
QUICKLY = Pace(pending_s=0.02, after_change_s=0.0, late_s=0.0)


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with KafkaBroker(config=SETTINGS | OURS, seed=1) as running:
        yield running


def judged(broker: KafkaBroker, recorded: Recorded) -> Difference | None:
    trial = Trial(Replayed(recorded), ready("pykbroker", broker.bootstrap), explains)
    return trial.run(recorded.sequence, recorded.prefix, QUICKLY)


@pytest.mark.parametrize("recorded", GOLDEN, ids=lambda recorded: f"seed {recorded.sequence.seed}")
def test_our_broker_answers_as_kafka_did(broker: KafkaBroker, recorded: Recorded) -> None:
    found = judged(broker, recorded)
    assert found is None, f"{found.step}\n{found.places}"


FOUND_BY = {
    "produce tells the last offset": 7001,
    "produce keeps the append time to itself": 7014,
    "produce counts the first of two": 7042,
    "produce takes any acks": 7014,
    "produce without acks fails in silence": 7004,
    "a refusal tells the log start the wrong way round": 7003,
    "max.message.bytes forgets the overhead": 7003,
    "the record before is blamed": 7010,
    "a retry is known only at once": 7015,
    "a gap goes unnoticed": 7051,
    "one beyond the end is empty": 7014,
    "nobody wakes who waits": 7016,
    "a large batch is stuck": 7013,
    "an empty list stands for null": 7003,
    "an unknown id is an unknown name": 7039,
    "epochs are compared the wrong way round": 7003,
    "a session takes an epoch of the future": 7013,
    "a session forgets nothing": 7003,
    "a session repeats itself": 7016,
    "a session outlives its final epoch": 7003,
    "at or after is after": 7001,
    "a partition twice is answered twice": 7001,
    "an id is not asked for": 7018,
    "a heartbeat hears nothing of the rebalance": 7011,
    "an old generation may sync": 7018,
    "everybody gets the members": 7011,
    "a static member that is back rebalances the group": 7009,
    "a deleted group leaves its offsets": 7023,
    "a deleted topic leaves its offsets": 7023,
    "the leader epoch is lost": 7031,
    "what was never committed is 0": 7006,
    "what is only validated is done": 7024,
    "AlterConfigs adds instead of replacing": 7007,
    "metadata creates what it was told not to": 7005,
    "a topic grows to what it is": 7005,
    "features that clients cannot read": 7100,
    "a topic that is refused is deleted": 7082,
    "operations that nobody asked for are none": 7085,
    "deletions are told under no name": 7003,
    "an epoch of the future ends now": 7008,
    "half a producer asks for an id": 7113,
    "no keys are all keys, an empty list is none": 7017,
    "synonyms are told unasked": 7017,
    "a missing group is dead for one more version": 7061,
    "success has no message": 7015,
    "who leaves by instance must know its member": 7009,
    "a note of just the right length is too long": 7009,
    "offsets that are in use are deleted": 7006,
}
"""The seed of a sequence that finds the fault. Of the other faults some concern waiting and closing, which is not recorded; to some chance did not come."""


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in FOUND_BY], ids=lambda fault: fault.name)
def test_a_broken_broker_is_found(fault: Fault) -> None:
    likely_first = sorted(GOLDEN, key=lambda recorded: recorded.sequence.seed != FOUND_BY[fault.name])
    with fault.injected(), KafkaBroker(config=SETTINGS | OURS, seed=1) as broken:
        for recorded in likely_first:
            try:
                if judged(broken, recorded) is not None:
                    return
            except Parted:
                return
    pytest.fail("no sequence finds it")


def test_the_faults_that_are_found_are_faults() -> None:
    assert FOUND_BY.keys() < {fault.name for fault in FAULTS}


def test_a_recording_is_not_taken_for_another() -> None:
    swapped = Recorded(GOLDEN[0].sequence, GOLDEN[0].prefix, GOLDEN[1].exchanges)
    with KafkaBroker() as fresh, pytest.raises(Parted):
        judged(fresh, swapped)


def test_a_seed_makes_the_same_sequence_and_json_keeps_it() -> None:
    for _ in range(50):
        seed = random.randrange(1 << 30)
        steps, again = sequence(seed).steps, sequence(seed).steps
        assert [str(one) for one in steps] == [str(one) for one in again], seed
        back = [read(written(one)) for one in steps]
        assert [one.frame("p-", {}) for one in back] == [one.frame("p-", {}) for one in steps], seed
        assert [str(one) for one in back] == [str(one) for one in steps], seed


def test_a_difference_becomes_as_short_as_it_can() -> None:
    made = Sequence(0, [Step(number, 0, 4, HeartbeatRequest(group_id="~g", generation_id=7, member_id="m")) for number in range(1, 31)])

    def run(tried: Sequence) -> Difference | None:
        """There is one at step 20, if steps 3 and 11 came before and its generation is told."""
        numbers = [step.number for step in tried.steps]
        at = next((step for step in tried.steps if step.number == 20), None)
        if at is None or not {3, 11} < set(numbers) or at.request.generation_id == 0:
            return None
        return Difference(at, [("error_code", 0, 1)], (Outcome("a"), Outcome("b")), (at.request, at.request))

    found = run(made)
    assert found is not None
    short, _ = minimised(made, found, run, limit_s=30)
    assert [step.number for step in short.steps] == [3, 11, 20]
    assert short.steps[-1].request == HeartbeatRequest(generation_id=7)


def test_ids_are_compared_by_when_they_were_seen() -> None:
    def masked(*answers: list[tuple[str, bytes]]) -> list[object]:
        mask = Mask("p-")
        return [
            mask.masked(
                MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="p-a")]),
                12,
                MetadataResponse(topics=[MetadataResponse.MetadataResponseTopic(name=name, topic_id=one * 16) for name, one in topics]),
            )
            for topics in answers
        ]

    kafkas = masked([("p-a", b"1")], [("p-a", b"1"), ("p-b", b"2")])
    assert masked([("p-a", b"8")], [("p-b", b"9"), ("p-a", b"8")]) == kafkas
    confused = masked([("p-a", b"8")], [("p-b", b"8"), ("p-a", b"9")])
    assert [place for place, _, _ in differing(kafkas, confused)] == ["[1].topics[0].topic_id", "[1].topics[1].topic_id"]


def seen(request: Message, version: int, answer: Message) -> object:
    return Mask("p-").masked(request, version, answer)


Fetched, Found, Found4 = FetchResponse.FetchableTopicResponse, FindCoordinatorResponse, FindCoordinatorResponse.Coordinator
Deleted = DeleteTopicsResponse.DeletableTopicResult


@pytest.mark.parametrize(
    ("request_", "version", "one", "other"),
    [
        (FindCoordinatorRequest(), 0, Found(error_code=15, node_id=-1, port=-1), Found(error_code=15, node_id=-1, host="here", port=-1)),
        (FindCoordinatorRequest(), 0, Found(error_code=15, node_id=-1, port=-1), Found(error_code=15, node_id=-1, port=9092)),
        (FindCoordinatorRequest(), 1, Found(error_message=None), Found(error_message="")),
        (FindCoordinatorRequest(), 1, Found(error_message="NONE"), Found(error_message="")),
        (FindCoordinatorRequest(), 1, Found(), Found(throttle_time_ms=1)),
        (
            FindCoordinatorRequest(),
            4,
            Found(coordinators=[Found4(key="a"), Found4(key="b")]),
            Found(coordinators=[Found4(key="b"), Found4(key="a")]),
        ),
        (
            FetchRequest(),
            4,
            FetchResponse(responses=[Fetched(topic="a"), Fetched(topic="b")]),
            FetchResponse(responses=[Fetched(topic="b"), Fetched(topic="a")]),
        ),
    ],
)
def test_what_is_a_difference_is_not_masked(request_: Message, version: int, one: Message, other: Message) -> None:
    assert list(differing(seen(request_, version, one), seen(request_, version, other)))


def test_an_order_by_hash_is_no_difference() -> None:
    one, other = Deleted(name="a"), Deleted(name="b")
    shuffled = [seen(DeleteTopicsRequest(), 5, DeleteTopicsResponse(responses=list(row))) for row in ((one, other), (other, one))]
    assert not list(differing(*shuffled))


def test_an_api_in_another_version_is_not_explained_away() -> None:
    step = Step(1, 0, 0, ApiVersionsRequest())
    kafkas = [{"api_key": 0, "min_version": 0, "max_version": 13}, {"api_key": 1, "min_version": 4, "max_version": 18}]
    fewer, other = kafkas[:1], [kafkas[0] | {"max_version": 12}]
    assert explains(step, step.request, "api_keys", kafkas, fewer)
    assert not explains(step, step.request, "api_keys", kafkas, other)


def test_the_page_of_differences_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m compat.differential.differences_page > compat/DIFFERENCES.md"
