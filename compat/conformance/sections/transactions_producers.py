"""T: who a transactional producer is: its id and epoch, how they are given, raised and fenced (KIP-98, KIP-360, KIP-588, KIP-890)."""

from pykbroker.compat.check import Settings, check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.transaction_requests import (
    NO_EPOCH,
    NO_ID,
    Identity,
    Part,
    add_partition,
    add_partitions,
    described,
    end,
    initialise,
    initialise_again,
    initialised,
    new_producer,
    old_epoch_error,
    produce,
    wait_for_transaction_coordinator,
    wait_for_transaction_state,
    write,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import EndTxnRequest, InitProducerIdRequest, InitProducerIdResponse
from pykbroker.protocol.records import batches

LARGEST_TIMEOUT_MS = 900_000
LARGEST_EPOCH = 32_767
IN_ONE_GO = 500
WITH_WHAT_IS_UNSTABLE = Settings((("unstable.api.versions.enable", "true"),))
TWO_MINUTES_AT_MOST = Settings((("transaction.max.timeout.ms", "120000"),))
SHOWN = ("InitProducerId", "DescribeTransactions", *TRANSACTIONS)


@check("T-01", api=SHOWN, versions="0-5")
def each_start_of_a_producer_raises_its_epoch(target: Target, version: int) -> None:
    """Given a new transactional id, a fresh producer id with epoch 0; given it again, the same id with the next epoch and the new timeout, Empty. KIP-98."""
    transactional_id, another = target.new_transactional_id(), target.new_transactional_id()

    first = initialised(target, transactional_id, version, timeout_ms=30_000)
    second = initialised(target, transactional_id, version, timeout_ms=45_000)
    other = initialised(target, another, version)

    expect(first, producer_epoch=0)
    expect_equal("who it is the second time", second, first.at_epoch(1))
    expect_that(other.producer_id not in (NO_ID, first.producer_id), "another transactional id has another producer id")
    state = described(target, transactional_id)
    expect(state, error_code=ErrorCode.NONE, transaction_state="Empty", transaction_timeout_ms=45_000, topics=[])
    expect(state, producer_id=first.producer_id, producer_epoch=1, transaction_start_time_ms=-1)


@check("T-02a", api=SHOWN, versions="0-5")
def timeouts_have_bounds(target: Target, version: int) -> None:
    """Given a transaction timeout of 1 ms or of transaction.max.timeout.ms, it is taken; one of 0, below, or 1 ms more: INVALID_TRANSACTION_TIMEOUT."""
    transactional_id = target.new_transactional_id()
    wait_for_transaction_coordinator(target, transactional_id)

    for timeout_ms in (LARGEST_TIMEOUT_MS + 1, 2**31 - 1, 0, -1):
        refused = initialise(target, transactional_id, version, timeout_ms=timeout_ms)
        expect(refused, error_code=ErrorCode.INVALID_TRANSACTION_TIMEOUT, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    for epoch, timeout_ms in enumerate((LARGEST_TIMEOUT_MS, 1)):
        expect_equal("the epoch", initialised(target, transactional_id, version, timeout_ms=timeout_ms).producer_epoch, epoch)


@check("T-02b", api=SHOWN, versions="0-5", needs=TWO_MINUTES_AT_MOST)
def the_largest_timeout_is_a_setting(target: Target, version: int) -> None:
    """Given transaction.max.timeout.ms of two minutes, that is taken, and 1 ms more is INVALID_TRANSACTION_TIMEOUT."""
    transactional_id = target.new_transactional_id()
    wait_for_transaction_coordinator(target, transactional_id)

    refused = initialise(target, transactional_id, version, timeout_ms=120_001)

    expect(refused, error_code=ErrorCode.INVALID_TRANSACTION_TIMEOUT, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect_equal("the epoch", initialised(target, transactional_id, version, timeout_ms=120_000).producer_epoch, 0)


@check("T-03a", api=("InitProducerId", *SHOWN), versions="0-5")
def a_new_producer_fences_the_old_one(target: Target, version: int) -> None:
    """Given an open transaction, InitProducerId is CONCURRENT_TRANSACTIONS while it is aborted under the next epoch; asked again, the epoch after that."""
    topic = target.new_topic()
    who = new_producer(target)
    write(target, who, topic)

    answer = initialise(target, who.transactional_id, version)
    state = wait_for_transaction_state(target, who.transactional_id, "CompleteAbort")
    again = initialised(target, who.transactional_id, version)

    expect(answer, error_code=ErrorCode.CONCURRENT_TRANSACTIONS, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect(state, producer_id=who.producer_id, producer_epoch=1)
    marker = list(batches(target.fetch(topic).records or b""))[-1]
    expect(marker, is_control=True, base_offset=1, producer_id=who.producer_id, producer_epoch=1)
    expect_equal("who it is", again, who.at_epoch(2))


@check("T-03b", api=("AddPartitionsToTxn", *SHOWN), versions="0-3")
def a_fenced_producer_cannot_add_or_end(target: Target, version: int) -> None:
    """Given a producer fenced by a newer one, AddPartitionsToTxn and EndTxn are PRODUCER_FENCED (INVALID_PRODUCER_EPOCH below v2), and change nothing.

    Produce says INVALID_PRODUCER_EPOCH in all versions. KIP-588.
    """
    topic = target.new_topic()
    old = new_producer(target)
    write(target, old, topic)
    new = initialised(target, old.transactional_id)

    expect_equal("the error of AddPartitionsToTxn", add_partition(target, old, topic, version), old_epoch_error(version))
    expect(end(target, old, version, committed=True), error_code=old_epoch_error(version))
    for produce_version in (8, 11, 12):
        fenced = produce(target, old, topic, produce_version, sequence=1)
        expect(fenced, error_code=ErrorCode.INVALID_PRODUCER_EPOCH, base_offset=-1)
    expect(described(target, old.transactional_id), transaction_state="Empty", producer_epoch=new.producer_epoch, topics=[])
    expect(target.list_offsets(topic), offset=2)


@check("T-03c", api=SHOWN, versions="3-5")
def a_producer_that_starts_again_in_a_transaction(target: Target, version: int) -> None:
    """Given an open transaction and InitProducerId with its own id and epoch, CONCURRENT_TRANSACTIONS while it is aborted under the next epoch; asked
    again with the same, that epoch. KIP-360, KIP-890.
    """
    topic = target.new_topic()
    who = new_producer(target)
    write(target, who, topic)

    answer = initialise_again(target, who, version)
    state = wait_for_transaction_state(target, who.transactional_id, "CompleteAbort")
    again = initialise_again(target, who, version)

    expect(answer, error_code=ErrorCode.CONCURRENT_TRANSACTIONS, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect(state, producer_id=who.producer_id, producer_epoch=1)
    expect(again, error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=1)


@check("T-04", api=("InitProducerId", "Produce", *TRANSACTIONS), versions="0-5")
def no_start_while_markers_are_written(target: Target, version: int) -> None:
    """Given InitProducerId right behind an EndTxn, CONCURRENT_TRANSACTIONS until all markers are written, never success before. KIP-98."""
    topic = target.new_topic(partitions=20)
    who = new_producer(target)
    parts = [Part(topic.name, index) for index in range(topic.partitions)]
    expect_equal("the errors of AddPartitionsToTxn", set(add_partitions(target, who, parts).values()), {ErrorCode.NONE})
    ending = EndTxnRequest(
        transactional_id=who.transactional_id, producer_id=who.producer_id, producer_epoch=who.producer_epoch, committed=True
    )
    starting = InitProducerIdRequest(transactional_id=who.transactional_id, transaction_timeout_ms=60_000)
    connection = target.connect()

    connection.send(ending, 4)
    connection.send(starting, version)
    expect(connection.receive(ending, 4), error_code=ErrorCode.NONE)
    answer = connection.receive(starting, version)

    if answer.error_code != ErrorCode.NONE:
        expect(answer, error_code=ErrorCode.CONCURRENT_TRANSACTIONS, producer_id=NO_ID, producer_epoch=NO_EPOCH)
        answer = eventually(lambda: initialise(target, who.transactional_id, version), is_through, "the markers are written")
    expect(answer, error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=1)
    ends = [target.list_offsets(topic, partition=index).offset for index in range(topic.partitions)]
    expect_equal("the ends of the log", ends, [1] * topic.partitions)


def is_through(answer: InitProducerIdResponse) -> bool:
    """Whether nothing is under way any more."""
    return answer.error_code != ErrorCode.CONCURRENT_TRANSACTIONS


@check("T-05a", api=("InitProducerId", *TRANSACTIONS), versions="3-5")
def a_producer_that_says_who_it_was(target: Target, version: int) -> None:
    """Given InitProducerId with the current id and epoch, the next epoch; given the one before it, the same answer again. KIP-360."""
    who = new_producer(target)

    answers = [initialise_again(target, who, version), initialise_again(target, who, version)]
    after = initialise_again(target, who.at_epoch(1), version)

    for answer in answers:
        expect(answer, error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=1)
    expect(after, error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=2)


@check("T-05b", api=("InitProducerId", *SHOWN), versions="3-5")
def a_producer_that_is_somebody_else(target: Target, version: int) -> None:
    """Given InitProducerId with an epoch older than the last two, or a later one, or another producer id, PRODUCER_FENCED (INVALID_PRODUCER_EPOCH
    in v3), and the epoch stays.
    """
    who = new_producer(target)
    for _ in range(3):
        initialised(target, who.transactional_id)
    error = ErrorCode.PRODUCER_FENCED if version >= 4 else ErrorCode.INVALID_PRODUCER_EPOCH

    for wrong in (who, who.at_epoch(1), who.at_epoch(4), who.at_epoch(3).with_id(who.producer_id + 1_000_000)):
        expect(initialise_again(target, wrong, version), error_code=error, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=3)


@check("T-05c", api=SHOWN, versions="3-5")
def a_new_transactional_id_has_no_past(target: Target, version: int) -> None:
    """Given InitProducerId of a transactional id never seen, the id and epoch that come with it are ignored."""
    who = Identity(target.new_transactional_id(), 4_711_000, 7)
    wait_for_transaction_coordinator(target, who.transactional_id)

    answer = initialise_again(target, who, version)

    expect(answer, error_code=ErrorCode.NONE, producer_epoch=0)
    expect_that(answer.producer_id not in (NO_ID, who.producer_id), "there is an id of the broker's")


@check("T-05d", api=("InitProducerId", *TRANSACTIONS), versions="3-5")
def an_id_and_its_epoch_come_together_in_a_transaction(target: Target, version: int) -> None:
    """Given a transactional id, and a producer id without an epoch or an epoch without an id, INVALID_REQUEST (I-03). KIP-360."""
    who = new_producer(target)

    for producer_id, epoch in ((who.producer_id, NO_EPOCH), (NO_ID, 0), (-2, NO_EPOCH), (NO_ID, -2)):
        answer = initialise_again(target, Identity(who.transactional_id, producer_id, epoch), version)
        expect(answer, error_code=ErrorCode.INVALID_REQUEST, producer_id=NO_ID, producer_epoch=NO_EPOCH)


# -- the last epoch ----------------------------------------------------------------------------------------------


def producer_at_epoch(target: Target, epoch: int) -> Identity:
    """A producer that was started so often."""
    who = new_producer(target)
    request = InitProducerIdRequest(transactional_id=who.transactional_id, transaction_timeout_ms=60_000)
    connection = target.connect()
    for done in range(0, epoch, IN_ONE_GO):
        wanted = min(IN_ONE_GO, epoch - done)
        for _ in range(wanted):
            connection.send(request, 4)
        for _ in range(wanted - 1):
            expect_that(connection.receive_frame() is not None, "the connection stays open")
        expect(connection.receive(request, 4), error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=done + wanted)
    return who.at_epoch(epoch)


@check("T-06a", api=("InitProducerId", *SHOWN))
def behind_the_last_epoch_comes_a_new_id(target: Target) -> None:
    """Given a producer at epoch 32766, InitProducerId answers a new producer id with epoch 0; given the old id and epoch then, the same again. KIP-360."""
    who = producer_at_epoch(target, LARGEST_EPOCH - 1)

    answer = initialise_again(target, who)
    again = initialise_again(target, who)

    expect(answer, error_code=ErrorCode.NONE, producer_epoch=0)
    expect_that(answer.producer_id not in (NO_ID, who.producer_id), "there is a new id")
    expect(again, error_code=ErrorCode.NONE, producer_id=answer.producer_id, producer_epoch=0)
    expect(described(target, who.transactional_id), producer_id=answer.producer_id, producer_epoch=0)


@check("T-06b", api=("EndTxn", "Produce", *SHOWN))
def the_end_of_a_transaction_may_bring_a_new_id(target: Target) -> None:
    """Given a transaction at epoch 32766, EndTxn v5 answers a new producer id with epoch 0, also when sent again; its marker has the old one and 32767."""
    who = producer_at_epoch(target, LARGEST_EPOCH - 1)
    topic = target.new_topic()
    expect(produce(target, who, topic, version=12), error_code=ErrorCode.NONE)

    answer = end(target, who, 5, committed=True)
    wait_for_transaction_state(target, who.transactional_id, "CompleteCommit")
    again = end(target, who, 5, committed=True)

    expect(answer, error_code=ErrorCode.NONE, producer_epoch=0)
    expect_that(answer.producer_id not in (NO_ID, who.producer_id), "there is a new id")
    expect(again, error_code=ErrorCode.NONE, producer_id=answer.producer_id, producer_epoch=0)
    marker = list(batches(target.fetch(topic).records or b""))[-1]
    expect(marker, is_control=True, producer_id=who.producer_id, producer_epoch=LARGEST_EPOCH)


@check("T-06c", api=("InitProducerId", "Produce", *SHOWN))
def fencing_at_the_last_epoch(target: Target) -> None:
    """Given an open transaction at epoch 32765, a new producer aborts it under 32766, and is given a new producer id with epoch 0."""
    who = producer_at_epoch(target, LARGEST_EPOCH - 2)
    topic = target.new_topic()
    write(target, who, topic)

    new = initialised(target, who.transactional_id)

    expect_that(new.producer_id != who.producer_id, "there is a new id")
    expect(new, producer_epoch=0)
    marker = list(batches(target.fetch(topic).records or b""))[-1]
    expect(marker, is_control=True, producer_id=who.producer_id, producer_epoch=LARGEST_EPOCH - 1)


# -- two-phase commit --------------------------------------------------------------------------------------------


def start_in_two_phases(target: Target, transactional_id: str, *, enable: bool, keep: bool, timeout_ms: int = 60_000) -> int:
    """InitProducerId v6; its error."""
    request = InitProducerIdRequest(
        transactional_id=transactional_id, transaction_timeout_ms=timeout_ms, enable2_pc=enable, keep_prepared_txn=keep
    )
    answer = target.ask(request, 6)
    if answer.error_code != ErrorCode.NONE:
        expect(answer, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    return answer.error_code


@check("T-07a", api=("InitProducerId", *TRANSACTIONS))
def two_phases_are_not_offered(target: Target) -> None:
    """Given InitProducerId v6, which is not stable yet and not offered, the connection is closed. KIP-939."""
    who = new_producer(target)
    connection = target.connect()

    connection.send(InitProducerIdRequest(transactional_id=who.transactional_id, transaction_timeout_ms=60_000), 6)

    expect_that(connection.is_closed(), "the connection is closed")
    expect_equal("who it is", initialised(target, who.transactional_id), who.at_epoch(1))


@check("T-07b", api=("InitProducerId", *TRANSACTIONS), needs=WITH_WHAT_IS_UNSTABLE)
def two_phases_are_off(target: Target) -> None:
    """Given v6 on a broker that offers it, two phases, which are off, are TRANSACTIONAL_ID_AUTHORIZATION_FAILED, and a prepared transaction to keep
    UNSUPPORTED_VERSION without them; without either it is served. KIP-939.
    """
    who = new_producer(target)

    errors = [start_in_two_phases(target, who.transactional_id, enable=enable, keep=keep) for enable, keep in TWO_PHASE_WISHES]

    expect_equal("the errors", errors, list(TWO_PHASE_WISHES.values()))


TWO_PHASE_WISHES = {
    (False, False): ErrorCode.NONE,
    (False, True): ErrorCode.UNSUPPORTED_VERSION,
    (True, True): ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    (True, False): ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
