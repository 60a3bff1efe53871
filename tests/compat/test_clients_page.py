"""The page of the clients says at a glance what differs, and of everything that is not a plain pass why."""

from compat.clients.page import page

KAFKA, OURS = "Apache Kafka 4.3.0", "pykbroker"


def row(scenario: str, status: str = "passed", detail: str = "") -> dict[str, object]:
    return {"scenario": scenario, "status": status, "seconds": 1.0, "detail": detail}


ROWS = {
    "one 1.0": {
        KAFKA: [row("produce"), row("transact")],
        OURS: [row("produce"), row("transact", "not served", "EndTxn")],
    },
    "two 2.0 (library 3)": {
        KAFKA: [row("produce"), row("transact", "skipped", "two has none")],
        OURS: [row("produce", "failed", "Traceback\nAssertionError: 3 records"), row("transact", "not served", "EndTxn")],
    },
    "tools 4.3.0": {KAFKA: [row("topics")]},
}


def test_clients_that_do_the_same_list_share_a_table() -> None:
    text = page(ROWS, {})
    assert "|  | one<br>1.0 | two<br>2.0 (library 3) |\n" in text
    assert "|  | tools<br>4.3.0 |\n" in text


def test_one_sign_where_all_agree_and_else_one_for_each() -> None:
    lines = page(ROWS, {}).splitlines()
    assert "| produce | ✓ | ✓ / ✗ |" in lines
    assert "| transact | ✓ / ○ | – / ○ |" in lines
    assert "| topics | ✓ / ? |" in lines


def test_totals_are_of_each_client_and_of_all() -> None:
    lines = page(ROWS, {}).splitlines()
    assert "| one 1.0 | 2 passed | 1 passed, 1 not served |" in lines
    assert "| tools 4.3.0 | 1 passed | ? |" in lines
    assert "| **all clients** | **4 passed, 1 skipped** | **1 passed, 1 failed, 2 not served** |" in lines


def test_each_reason_is_told_once() -> None:
    lines = page(ROWS, {"three": "no Go here"}).splitlines()
    assert "- two 2.0 (library 3), *produce*: AssertionError: 3 records" in lines
    assert "- two 2.0 (library 3), *transact*: two has none" in lines
    assert [line for line in lines if "EndTxn" in line] == ["- all clients, *transact*: EndTxn"]
    assert "- SKIPPED: three: no Go here" in lines


def test_where_nobody_ran_only_that_is_told() -> None:
    assert page({}, {"three": "no Go here"}).splitlines()[-1] == "- SKIPPED: three: no Go here"
