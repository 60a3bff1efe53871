"""What the table of the foreign suites holds against us: what passes on Kafka, fails on us, and needs only what we serve."""

from compat.foreign.outcome import FAILED, PASSED, SKIPPED, Outcome
from compat.foreign.table import page, unexplained
from compat.foreign.waiting import WAITING, waits_for
from pykbroker.protocol.apis import API_BY_KEY

NEEDS_ACLS, NEEDS_NOTHING = "0081_admin", "0012_produce_consume"
EVERYTHING = {api.name for api in API_BY_KEY.values()}


def results(kafka: str, ours: str, test: str = NEEDS_NOTHING) -> dict[str, dict[str, list[Outcome]]]:
    return {"librdkafka": {"Kafka": [Outcome(test, kafka)], "ours": [Outcome(test, ours, detail="no such luck")]}}


def held_against_us(found: dict[str, dict[str, list[Outcome]]], served: set[str]) -> list[str]:
    return [outcome.test for _suite, outcome in unexplained(found, "Kafka", "ours", served)]


def test_what_passes_on_kafka_has_to_pass_on_us() -> None:
    assert held_against_us(results(PASSED, FAILED), set()) == [NEEDS_NOTHING]
    assert held_against_us(results(PASSED, PASSED), set()) == []
    assert held_against_us(results(PASSED, SKIPPED), set()) == [NEEDS_NOTHING]
    assert held_against_us(results(SKIPPED, SKIPPED), set()) == []


def test_what_passes_on_kafka_and_is_lost_on_us_is_held_against_us() -> None:
    found = {
        "librdkafka": {"Kafka": [Outcome(NEEDS_NOTHING, PASSED), Outcome("0001_multiobj", SKIPPED)], "ours": [Outcome("0002_x", PASSED)]}
    }
    assert held_against_us(found, set()) == [NEEDS_NOTHING]
    assert held_against_us({"librdkafka": {"Kafka": [Outcome(NEEDS_NOTHING, PASSED)]}}, set()) == []


def test_what_fails_on_kafka_too_is_not_held_against_us() -> None:
    assert held_against_us(results(FAILED, FAILED), set()) == []


def test_without_a_judge_a_failure_counts() -> None:
    found = {"librdkafka": {"ours": [Outcome(NEEDS_NOTHING, FAILED)]}}
    assert held_against_us(found, set()) == [NEEDS_NOTHING]


def test_an_api_excuses_until_it_is_served() -> None:
    found = results(PASSED, FAILED, NEEDS_ACLS)
    assert held_against_us(found, set()) == []
    assert held_against_us(found, EVERYTHING) == [NEEDS_ACLS]


def test_the_apis_that_are_waited_for_exist() -> None:
    assert {api for waits in WAITING.values() for apis in waits.values() for api in apis} <= EVERYTHING
    assert waits_for("kafka-python 3.0.12", "test_admin_integration::test_elect_leaders", set()) == ["ElectLeaders"]


def test_the_page_names_each_test_and_why() -> None:
    text = page(results(PASSED, FAILED), {"another": "no compiler"}, set())
    assert f"| {NEEDS_NOTHING} | passed | failed | no such luck |" in text
    assert "Not run here: no compiler" in text
