"""T: what is said about transactions: DescribeTransactions, ListTransactions, and who coordinates them (KIP-664, KIP-699, KIP-994, KIP-1152)."""

import time

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.transaction_requests import (
    NO_SUCH_ID,
    TRANSACTION,
    Identity,
    abort,
    begin,
    commit,
    described,
    list_transactions,
    new_producer,
    wait_for_transaction_coordinator,
    write,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import DescribeTransactionsRequest, FindCoordinatorRequest, FindCoordinatorResponse

DESCRIBING = ("DescribeTransactions", "Produce", *TRANSACTIONS)
LISTING = ("ListTransactions", *DESCRIBING)
AN_HOUR_MS = 3_600_000
SHARE = 2
NO_START = -1


@check("T-25a", api=DESCRIBING)
def what_there_is_nothing_to_say_about(target: Target) -> None:
    """Given an unknown transactional id, TRANSACTIONAL_ID_NOT_FOUND, and given "", INVALID_REQUEST, with no state, id 0 and epoch 0; the others of the
    request are described, as often as they are named.
    """
    who = new_producer(target)
    nobody = target.new_transactional_id()
    wait_for_transaction_coordinator(target, nobody)
    asked = ["", nobody, who.transactional_id, who.transactional_id]

    answer = target.ask(DescribeTransactionsRequest(transactional_ids=asked), 0)

    expect_equal("the transactions described", [one.transactional_id for one in answer.transaction_states], asked)
    empty, unknown, *known = answer.transaction_states
    for state, error in ((empty, ErrorCode.INVALID_REQUEST), (unknown, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)):
        expect(state, error_code=error, transaction_state="", transaction_timeout_ms=0, transaction_start_time_ms=0, topics=[])
        expect(state, producer_id=0, producer_epoch=0)
    for state in known:
        expect(state, error_code=ErrorCode.NONE, transaction_state="Empty", producer_id=who.producer_id)


@check("T-25b", api=DESCRIBING)
def a_transaction_from_its_begin_to_its_end(target: Target) -> None:
    """Given a producer: Empty, without a start; while its transaction is open: Ongoing, since when, and with which partitions; after it: CompleteCommit or
    CompleteAbort, without partitions. KIP-664.
    """
    one, two = target.new_topic(partitions=3), target.new_topic()
    before_ms = int(time.time() * 1000)
    who = new_producer(target, timeout_ms=45_000)
    expect(described(target, who.transactional_id), transaction_state="Empty", transaction_start_time_ms=NO_START, topics=[])

    for finish, state_then in ((commit, "CompleteCommit"), (abort, "CompleteAbort")):
        for topic, partition in ((one, 2), (two, 0), (one, 0)):
            begin(target, who, topic, partition=partition)
        within = described(target, who.transactional_id)
        finish(target, who)
        after = described(target, who.transactional_id)

        for state in (within, after):
            expect(state, error_code=ErrorCode.NONE, transaction_timeout_ms=45_000)
            expect(state, producer_id=who.producer_id, producer_epoch=who.producer_epoch)
        expect(within, transaction_state="Ongoing")
        expect_that(abs(within.transaction_start_time_ms - before_ms) < AN_HOUR_MS, "it has begun now")
        expect_equal("its partitions", {one.topic: sorted(one.partitions) for one in within.topics}, {one.name: [0, 2], two.name: [0]})
        expect(after, transaction_state=state_then, topics=[])


def three_producers(target: Target) -> dict[str, Identity]:
    """A producer without a transaction, one with an open one, one whose transaction is committed; by their state."""
    topic = target.new_topic()
    found = {state: new_producer(target) for state in ("Empty", "Ongoing", "CompleteCommit")}
    for state in ("Ongoing", "CompleteCommit"):
        write(target, found[state], topic)
    commit(target, found["CompleteCommit"])
    return found


def listed(target: Target, among: dict[str, Identity], version: int, **filters: object) -> dict[str, Identity]:
    """Which of these producers ListTransactions shows, by the state that it shows; each is shown once."""
    answer = list_transactions(target, version, **filters)  # type: ignore[arg-type]
    expect(answer, error_code=ErrorCode.NONE)
    ids = {who.transactional_id: who for who in among.values()}
    shown = [one for one in answer.transaction_states if one.transactional_id in ids]
    expect_equal("how often each is shown", len({one.transactional_id for one in shown}), len(shown))
    for one in shown:
        expect(one, producer_id=ids[one.transactional_id].producer_id)
    return {one.transaction_state: ids[one.transactional_id] for one in shown}


@check("T-26a", api=LISTING, versions="0-2")
def transactions_are_listed_by_state_and_producer(target: Target, version: int) -> None:
    """Given no filter, all transactions are listed with their states; given states, or producer ids, or both, those that fit both. KIP-664."""
    among = three_producers(target)
    empty, ongoing = among["Empty"], among["Ongoing"]

    expect_equal("without a filter", listed(target, among, version), among)
    expect_equal("by state", listed(target, among, version, states=["Ongoing"]), {"Ongoing": ongoing})
    expect_equal("by states", listed(target, among, version, states=["Ongoing", "Empty"]), {"Ongoing": ongoing, "Empty": empty})
    expect_equal("by producer", listed(target, among, version, producer_ids=[empty.producer_id, NO_SUCH_ID]), {"Empty": empty})
    expect_equal("by another producer", listed(target, among, version, producer_ids=[NO_SUCH_ID]), {})
    expect_equal("by both", listed(target, among, version, states=["Ongoing"], producer_ids=[empty.producer_id]), {})
    abort(target, ongoing)


@check("T-26b", api=LISTING, versions="0-2")
def states_that_nobody_knows(target: Target, version: int) -> None:
    """Given names of states that there are not, in another case too, they are named in the answer, without an error; given only such, nothing is listed."""
    among = three_producers(target)

    mixed = list_transactions(target, version, states=["empty", "Ongoing", "Nonsense"])
    only = list_transactions(target, version, states=["Nonsense"])

    expect(mixed, error_code=ErrorCode.NONE)
    expect_equal("the unknown states", sorted(mixed.unknown_state_filters), ["Nonsense", "empty"])
    shown = {one.transactional_id for one in mixed.transaction_states}
    expect_that(among["Ongoing"].transactional_id in shown, "the open transaction is listed")
    expect_that(among["Empty"].transactional_id not in shown, "the one without a transaction is not")
    expect(only, error_code=ErrorCode.NONE, unknown_state_filters=["Nonsense"], transaction_states=[])
    abort(target, among["Ongoing"])


@check("T-26c", api=LISTING, versions="1-2")
def transactions_are_listed_by_their_age(target: Target, version: int) -> None:
    """Given a duration, the transactions that are open for longer; less than 0 is no filter. KIP-994."""
    among = three_producers(target)
    ongoing = among["Ongoing"]

    for no_filter in (-1, -5):
        expect_equal("without a filter", listed(target, among, version, duration_ms=no_filter), among)
    expect_equal("for an hour", "Ongoing" in listed(target, among, version, duration_ms=AN_HOUR_MS), False)
    eventually(
        lambda: listed(target, among, version, duration_ms=100, states=["Ongoing"]),
        lambda shown: shown == {"Ongoing": ongoing},
        "it is open for a tenth of a second",
    )
    abort(target, ongoing)


@check("T-26d", api=LISTING, versions="2-2")
def transactions_are_listed_by_a_pattern(target: Target, version: int) -> None:
    """Given a pattern, the transactional ids that match it as a whole; null and "" are no filter; one that is no regular expression is
    INVALID_REGULAR_EXPRESSION. KIP-1152.
    """
    among = three_producers(target)
    empty = among["Empty"]
    start, _, number = empty.transactional_id.rpartition("-")

    for no_filter in (None, ""):
        expect_equal("without a filter", listed(target, among, version, pattern=no_filter), among)
    expect_equal("by the start alone", listed(target, among, version, pattern=start), {})
    expect_equal("by the start and anything", listed(target, among, version, pattern=start + ".*"), among)
    expect_equal("by the end", listed(target, among, version, pattern=f".*n-{number}"), {"Empty": empty})
    for broken in ("[", "(", "*"):
        answer = list_transactions(target, version, pattern=broken)
        expect(answer, error_code=ErrorCode.INVALID_REGULAR_EXPRESSION, transaction_states=[])
    abort(target, among["Ongoing"])


# -- FindCoordinator ---------------------------------------------------------------------------------------------


def coordinator_of(target: Target, key: str, key_type: int, version: int) -> FindCoordinatorResponse | FindCoordinatorResponse.Coordinator:
    """FindCoordinator of one key, and what is answered for it."""
    request = FindCoordinatorRequest(key_type=key_type)
    if version < 4:
        request.key = key
        return target.ask(request, version)
    request.coordinator_keys = [key]
    answer = target.ask(request, version)
    expect_equal("the keys answered", [one.key for one in answer.coordinators], [key])
    return answer.coordinators[0]


@check("T-28a", api=("FindCoordinator", *DESCRIBING), versions="1-6")
def a_transactional_id_has_a_coordinator(target: Target, version: int) -> None:
    """Given a transactional id, also "", the broker that coordinates it; up to v3 the message is the word NONE, from v4 on empty. KIP-98, KIP-699."""
    who = new_producer(target)

    found = coordinator_of(target, who.transactional_id, TRANSACTION, version)
    of_nobody = coordinator_of(target, "", TRANSACTION, version)

    expect(found, error_code=ErrorCode.NONE, error_message="NONE" if version < 4 else "", host=NOT_EMPTY)
    brokers = {(one.node_id, one.host, one.port) for one in target.metadata().brokers}
    expect_that((found.node_id, found.host, found.port) in brokers, "it is a broker of the cluster")
    expect(of_nobody, error_code=ErrorCode.NONE, host=NOT_EMPTY)


@check("T-28b", api=("FindCoordinator", *DESCRIBING), versions="1-6")
def coordinators_of_nothing_known(target: Target, version: int) -> None:
    """Given a key type that there is not (2 is of share groups, from v6 on), INVALID_REQUEST, node -1, no host, port -1."""
    who = new_producer(target)

    for key_type in (7, -1, *([] if version >= 6 else [SHARE])):
        refused = coordinator_of(target, who.transactional_id, key_type, version)
        expect(refused, error_code=ErrorCode.INVALID_REQUEST, node_id=-1, host="", port=-1)


@check("T-28c", api=("FindCoordinator", *DESCRIBING), versions="4-6")
def coordinators_of_several(target: Target, version: int) -> None:
    """Given several transactional ids, one of them twice, each is answered where it stands; given none, none. KIP-699."""
    one, two = new_producer(target).transactional_id, new_producer(target).transactional_id

    answer = target.ask(FindCoordinatorRequest(key_type=TRANSACTION, coordinator_keys=[two, one, two]), version)
    nothing = target.ask(FindCoordinatorRequest(key_type=TRANSACTION, coordinator_keys=[]), version)

    expect_equal("the keys answered", [found.key for found in answer.coordinators], [two, one, two])
    for found in answer.coordinators:
        expect(found, error_code=ErrorCode.NONE, error_message="", host=NOT_EMPTY)
    expect_equal("the answer to no keys", nothing.coordinators, [])
