"""F: what a Fetch shows of transactions."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.log_requests import READ_COMMITTED, READ_UNCOMMITTED, Wanted, answered, fetch_one, fetch_request
from pykbroker.compat.steps.transactions import TRANSACTIONS, Transaction
from pykbroker.compat.steps.waiting_fetches import AT_ONCE_S, LONG_MS, fetched_after, waiting
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import FetchResponse
from pykbroker.protocol.records import ControlRecordType, batches, control_record_type

MARKER_ATTRIBUTES = 0x30


def aborted_in(data: FetchResponse.PartitionData) -> list[tuple[int, int]] | None:
    """The aborted transactions of an answer: producer id and first offset of each."""
    return None if data.aborted_transactions is None else [(one.producer_id, one.first_offset) for one in data.aborted_transactions]


@check("F-03a", api=("Fetch", "Produce", *TRANSACTIONS), versions="4-18")
def above_the_last_stable_offset_there_is_no_wait(target: Target, version: int) -> None:
    """Given a transaction open since offset 1 with batches at 1 and 2, who reads what is committed gets nothing at 2 and 3, without an error, at once.

    Only an offset in the batch that begins at the last stable offset waits.
    """
    topic = target.new_topic()
    target.produce(topic)
    transaction = Transaction(target)
    transaction.produce(topic)
    transaction.produce(topic)

    for offset in (2, 3):
        request = fetch_request([Wanted(topic, offset=offset)], isolation_level=READ_COMMITTED, max_wait_ms=LONG_MS // 6)
        response, seconds = fetched_after(target, request, version)
        data = answered(response)[0].data
        expect(data, error_code=ErrorCode.NONE, high_watermark=3, last_stable_offset=1, records=b"", aborted_transactions=[])
        expect_that(seconds < AT_ONCE_S, "it is answered at once")
    transaction.end(topic, committed=False)


@check("F-14a", api=("Fetch", "Produce", *TRANSACTIONS), versions="4-18")
def aborted_records_are_listed_not_taken_out(target: Target, version: int) -> None:
    """Given an aborted transaction at 1-2 with its marker at 3, who reads what is committed gets all the records, and (producer id, 1) to leave out.

    From an offset behind the marker on, the list is empty, not null.
    """
    topic = target.new_topic()
    target.produce(topic)
    transaction = Transaction(target)
    transaction.produce(topic, [b"a", b"b"])
    transaction.end(topic, committed=False)
    target.produce(topic)

    answers = [fetch_one(target, Wanted(topic, offset=offset), version, isolation_level=READ_COMMITTED) for offset in (0, 3, 4)]

    listed = [(transaction.producer_id, 1)]
    expect_equal("the aborted transactions at 0, 3 and 4", [aborted_in(answer) for answer in answers], [listed, listed, []])
    found = [(one.base_offset, one.last_offset) for one in batches(answers[0].records or b"")]
    expect_equal("the batches", found, [(0, 0), (1, 2), (3, 3), (4, 4)])


@check("F-14b", api=("Fetch", "Produce", *TRANSACTIONS), versions="4-18")
def aborted_transactions_come_as_their_markers_do(target: Target, version: int) -> None:
    """Given two transactions that began in one order and were aborted in the other, the list has the order of their markers."""
    topic = target.new_topic()
    first, second = Transaction(target), Transaction(target)
    first.produce(topic)
    second.produce(topic)
    second.end(topic, committed=False)
    first.end(topic, committed=False)

    answer = fetch_one(target, Wanted(topic), version, isolation_level=READ_COMMITTED)

    expect_equal("the aborted transactions", aborted_in(answer), [(second.producer_id, 1), (first.producer_id, 0)])


@check("F-15", api=("Fetch", "Produce", *TRANSACTIONS), versions="4-18")
def a_commit_wakes_who_waits_for_it(target: Target, version: int) -> None:
    """Given a transaction open at 1, who reads what is committed waits at 1, is not woken by plain records behind it,
    and is by the commit.
    """
    topic = target.new_topic()
    target.produce(topic)
    transaction = Transaction(target)
    transaction.produce(topic)
    request = fetch_request([Wanted(topic, offset=1)], isolation_level=READ_COMMITTED, max_wait_ms=LONG_MS)
    connection = waiting(target, request, version)

    target.produce(topic)
    expect_that(connection.is_silent(for_s=0.1), "a plain record behind an open transaction wakes nobody")
    transaction.end(topic, committed=True)
    answer = answered(connection.receive(request, version))[0].data

    expect(answer, error_code=ErrorCode.NONE, high_watermark=4, last_stable_offset=4)
    expect_equal("the batches", [one.base_offset for one in batches(answer.records or b"")], [1, 2, 3])


@check("F-16", api=("Fetch", "Produce", *TRANSACTIONS), versions="4-18")
def markers_are_returned_to_everybody(target: Target, version: int) -> None:
    """Given a commit and an abort, at both isolation levels their markers come as control batches of one record."""
    topic = target.new_topic()
    transaction = Transaction(target)
    for committed in (True, False):
        transaction.produce(topic)
        transaction.end(topic, committed=committed)

    for isolation_level in (READ_UNCOMMITTED, READ_COMMITTED):
        answer = fetch_one(target, Wanted(topic), version, isolation_level=isolation_level)
        found = list(batches(answer.records or b""))
        expect_equal("the batches", [(one.base_offset, one.is_control) for one in found], [(0, False), (1, True), (2, False), (3, True)])
        for batch, kind in ((found[1], ControlRecordType.COMMIT), (found[3], ControlRecordType.ABORT)):
            expect(batch, attributes=MARKER_ATTRIBUTES, producer_id=transaction.producer_id, base_sequence=-1)
            expect_equal("what the marker says", control_record_type(next(batch.records())), kind)


@check("F-17b", api=("Fetch", "Produce", *TRANSACTIONS), versions="4-18")
def the_last_stable_offset_is_told_to_everybody(target: Target, version: int) -> None:
    """Given a transaction open since offset 1 in a log of 3, also who reads everything is told the last stable offset 1."""
    topic = target.new_topic()
    target.produce(topic)
    transaction = Transaction(target)
    transaction.produce(topic, [b"a", b"b"])

    answer = fetch_one(target, Wanted(topic), version)

    expect(answer, error_code=ErrorCode.NONE, high_watermark=3, last_stable_offset=1)
    expect_equal("the batches", [one.base_offset for one in batches(answer.records or b"")], [0, 1])
    transaction.end(topic, committed=False)
