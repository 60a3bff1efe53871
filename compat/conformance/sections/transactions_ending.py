"""T: how a transaction ends: EndTxn before and since KIP-890, its markers, and what is said to whoever must not end it (KIP-98, KIP-588)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.batches import patched
from pykbroker.compat.steps.transaction_requests import (
    NO_EPOCH,
    NO_ID,
    Identity,
    Part,
    abort,
    add_partitions,
    begin,
    commit,
    described,
    end,
    initialise,
    initialised,
    new_producer,
    old_epoch_error,
    produce,
    strangers,
    transactional_batch,
    wait_for_transaction_state,
    write,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS, kinds_of_markers, last_stable_offset, markers_of
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import EndTxnRequest, EndTxnResponse
from pykbroker.protocol.records import ControlRecordType

ENDING = ("EndTxn", "Produce", "DescribeTransactions", *TRANSACTIONS)
TRANSACTIONAL_CONTROL = 0x30
COMPLETE = {True: "CompleteCommit", False: "CompleteAbort"}


def ended(target: Target, version: int, *, committed: bool) -> tuple[Identity, Topic, EndTxnResponse]:
    """A transaction of one record that was ended so, and is through; the answer."""
    topic = target.new_topic()
    who = new_producer(target)
    write(target, who, topic)
    answer = end(target, who, version, committed=committed)
    expect(answer, error_code=ErrorCode.NONE)
    wait_for_transaction_state(target, who.transactional_id, COMPLETE[committed])
    return who, topic, answer


@check("T-15", api=("EndTxn", *ENDING), versions="0-5")
def every_partition_has_one_marker(target: Target, version: int) -> None:
    """Given a commit and an abort, each partition of the transaction has one control batch that takes one offset: key 0, 0 and 0, 1 for a commit, 0, 0
    and 0, 0 for an abort; value 0, 0 and the coordinator's epoch; the producer's id and epoch (v5: the next epoch), no sequence.
    """
    for committed in (True, False):
        topic = target.new_topic(partitions=3)
        who = new_producer(target)
        write(target, who, topic, partition=0)
        write(target, who, topic, partition=0, sequence=1)
        begin(target, who, topic, partition=1)

        expect(end(target, who, version, committed=committed), error_code=ErrorCode.NONE)
        wait_for_transaction_state(target, who.transactional_id, COMPLETE[committed])

        expect_equal("the markers of a partition that is not in it", markers_of(target, topic, 2), [])
        for partition, offset in ((0, 2), (1, 0)):
            marker, *others = markers_of(target, topic, partition)
            expect_equal("further markers", others, [])
            expect(marker, attributes=TRANSACTIONAL_CONTROL, base_offset=offset, last_offset=offset, base_sequence=-1)
            expect(marker, producer_id=who.producer_id, producer_epoch=1 if version >= 5 else 0)
            record = next(marker.records())
            expect(record, key=b"\0\0\0\1" if committed else b"\0\0\0\0")
            expect_that(record.value is not None and len(record.value) == 6, "a version and an epoch are the value")
            expect_equal("the version of the value", (record.value or b"")[:2], b"\0\0")
            expect(target.list_offsets(topic, partition=partition), offset=offset + 1)
            expect_equal("the last stable offset", last_stable_offset(target, topic, partition), offset + 1)


@check("T-16a", api=("EndTxn", *ENDING), versions="0-4")
def ending_again_up_to_v4(target: Target, version: int) -> None:
    """Given a transaction that has ended, EndTxn with the same result has no error and changes nothing; with the other, INVALID_TXN_STATE."""
    for committed in (True, False):
        who, topic, answer = ended(target, version, committed=committed)

        again = end(target, who, version, committed=committed)
        opposite = end(target, who, version, committed=not committed)

        expect(again, error_code=ErrorCode.NONE)
        expect(opposite, error_code=ErrorCode.INVALID_TXN_STATE)
        expect(described(target, who.transactional_id), transaction_state=COMPLETE[committed], producer_epoch=0)
        expect_equal("the number of markers", len(markers_of(target, topic)), 1)
        expect_equal("the epoch of the first answer", answer.producer_epoch, NO_EPOCH)


@check("T-16b", api=("EndTxn", *ENDING), versions="0-4")
def nothing_to_end_up_to_v4(target: Target, version: int) -> None:
    """Given a producer that has not begun a transaction, EndTxn is INVALID_TXN_STATE, whatever the result."""
    who = new_producer(target)

    for committed in (True, False):
        expect(end(target, who, version, committed=committed), error_code=ErrorCode.INVALID_TXN_STATE)
    expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, transaction_state="Empty", producer_epoch=0)


@check("T-16c", api=("EndTxn", *ENDING), versions="0-5")
def ending_while_markers_are_written(target: Target, version: int) -> None:
    """Given EndTxn twice in one go, the second is CONCURRENT_TRANSACTIONS, or a repetition when the markers are there; one set of markers is written."""
    topic = target.new_topic(partitions=20)
    who = new_producer(target)
    add_partitions(target, who, [Part(topic.name, index) for index in range(topic.partitions)])
    request = EndTxnRequest(
        transactional_id=who.transactional_id, producer_id=who.producer_id, producer_epoch=who.producer_epoch, committed=True
    )
    connection = target.connect()

    for _ in range(2):
        connection.send(request, version)
    first, second = (connection.receive(request, version) for _ in range(2))

    expect(first, error_code=ErrorCode.NONE)
    told = (ErrorCode.NONE, ErrorCode.CONCURRENT_TRANSACTIONS)
    expect_that(second.error_code in told, f"the second is told to wait, or is a repetition; it is answered {second!r}")
    wait_for_transaction_state(target, who.transactional_id, "CompleteCommit")
    ends = [target.list_offsets(topic, partition=index).offset for index in range(topic.partitions)]
    expect_equal("the ends of the log", ends, [1] * topic.partitions)


@check("T-17a", api=("EndTxn", *ENDING), versions="5-5")
def an_end_raises_the_epoch(target: Target, version: int) -> None:
    """Given EndTxn v5, it answers the producer id and the next epoch, in which the producer goes on; sent again in the old one, the same. KIP-890."""
    for committed in (True, False):
        who, topic, answer = ended(target, version, committed=committed)
        again = end(target, who, version, committed=committed)
        opposite = end(target, who, version, committed=not committed)

        for one in (answer, again):
            expect(one, error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=1)
        expect(opposite, error_code=ErrorCode.INVALID_TXN_STATE, producer_id=NO_ID, producer_epoch=NO_EPOCH)
        expect(described(target, who.transactional_id), transaction_state=COMPLETE[committed], producer_epoch=1)
        old = produce(target, who, topic, 12, sequence=1)
        expect(old, error_code=ErrorCode.INVALID_PRODUCER_EPOCH)
        expect(produce(target, who.at_epoch(1), topic, 12), error_code=ErrorCode.NONE, base_offset=2)
        expect_equal("the number of markers", len(markers_of(target, topic)), 1)
        abort(target, who.at_epoch(1))


@check("T-17b", api=("EndTxn", *ENDING), versions="5-5")
def aborting_nothing_raises_the_epoch(target: Target, version: int) -> None:
    """Given a transaction that has ended, or none yet, aborting in the current epoch raises it; committing is INVALID_TXN_STATE. KIP-890."""
    never = new_producer(target)
    expect(end(target, never, version, committed=True), error_code=ErrorCode.INVALID_TXN_STATE, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect(end(target, never, version, committed=False), error_code=ErrorCode.NONE, producer_id=never.producer_id, producer_epoch=1)
    expect(wait_for_transaction_state(target, never.transactional_id, "CompleteAbort"), producer_epoch=1)

    for committed in (True, False):
        before, topic, _ = ended(target, version, committed=committed)
        who = before.at_epoch(1)
        expect(
            end(target, who, version, committed=True), error_code=ErrorCode.INVALID_TXN_STATE, producer_id=NO_ID, producer_epoch=NO_EPOCH
        )
        expect(end(target, who, version, committed=False), error_code=ErrorCode.NONE, producer_id=who.producer_id, producer_epoch=2)
        expect(wait_for_transaction_state(target, who.transactional_id, "CompleteAbort"), producer_epoch=2)
        expect_equal("the number of markers", len(markers_of(target, topic)), 1)


@check("T-17c", api=("EndTxn", *ENDING), versions="5-5")
def no_repetition_of_what_was_not_there(target: Target, version: int) -> None:
    """Given a producer that has just been started again, the epoch before is PRODUCER_FENCED in EndTxn v5, whatever the result; so it is in an open
    transaction. KIP-890.
    """
    old = new_producer(target)
    who = initialised(target, old.transactional_id)

    for committed in (True, False):
        refused = end(target, old, version, committed=committed)
        expect(refused, error_code=ErrorCode.PRODUCER_FENCED, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    topic = target.new_topic()
    write(target, who, topic)
    for wrong in (old, who.at_epoch(2)):
        refused = end(target, wrong, version, committed=True)
        expect(refused, error_code=ErrorCode.PRODUCER_FENCED, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect(described(target, who.transactional_id), transaction_state="Ongoing", producer_epoch=1)
    abort(target, who)


@check("T-17d", api=("EndTxn", *ENDING), versions="0-5")
def any_end_fits_any_write(target: Target, version: int) -> None:
    """Given a transaction begun by Produce v12, or by AddPartitionsToTxn, each version of EndTxn ends it; only v5 raises the epoch. KIP-890."""
    for produce_version in (11, 12):
        topic = target.new_topic()
        who = new_producer(target)
        if produce_version < 12:
            begin(target, who, topic)
        expect(produce(target, who, topic, produce_version), error_code=ErrorCode.NONE, base_offset=0)

        answer = end(target, who, version, committed=True)

        raised = version >= 5
        expect(answer, error_code=ErrorCode.NONE, producer_epoch=1 if raised else NO_EPOCH)
        state = wait_for_transaction_state(target, who.transactional_id, "CompleteCommit")
        expect(state, producer_id=who.producer_id, producer_epoch=int(raised), topics=[])
        expect_equal("the epochs of the markers", [one.producer_epoch for one in markers_of(target, topic)], [int(raised)])


@check("T-18", api=("EndTxn", *ENDING), versions="0-5")
def a_transaction_is_ended_by_who_is_known(target: Target, version: int) -> None:
    """Given EndTxn of an unknown transactional id, or with another producer id, INVALID_PRODUCER_ID_MAPPING; with an older or a later epoch,
    PRODUCER_FENCED (INVALID_PRODUCER_EPOCH below v2); of the id "", INVALID_REQUEST. The transaction stays open.
    """
    topic = target.new_topic()
    old = new_producer(target)
    who = initialised(target, old.transactional_id)
    write(target, who, topic)
    unknown, fenced = ErrorCode.INVALID_PRODUCER_ID_MAPPING, old_epoch_error(version)

    for committed in (True, False):
        answers = [end(target, wrong, version, committed=committed) for wrong in (old, *strangers(target, who))]

        expect_equal(
            "the errors", [one.error_code for one in answers], [fenced, unknown, unknown, fenced, fenced, ErrorCode.INVALID_REQUEST]
        )
        for answer in answers:
            expect(answer, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect(described(target, who.transactional_id), transaction_state="Ongoing", producer_epoch=1)
    expect_equal("the last stable offset", last_stable_offset(target, topic), 0)
    abort(target, who)


@check("T-29b", api=("EndTxn", *ENDING), versions="0-5")
def the_markers_come_in_the_end(target: Target, version: int) -> None:
    """Given EndTxn answered without an error, the markers are written soon after, without anybody asking again, and readers of what is committed go on."""
    topic = target.new_topic(partitions=10)
    who = new_producer(target)
    for partition in range(topic.partitions):
        write(target, who, topic, partition=partition)

    expect(end(target, who, version, committed=True), error_code=ErrorCode.NONE)

    for partition in range(topic.partitions):
        wait_for_stable_end(target, topic, partition, 2)
        expect_equal("the kinds of markers", kinds_of_markers(target, topic, partition), [ControlRecordType.COMMIT])


def wait_for_stable_end(target: Target, topic: Topic, partition: int, offset: int) -> None:
    """Until that is the last stable offset."""
    eventually(lambda: last_stable_offset(target, topic, partition), lambda found: found == offset, "readers go on")


@check("T-31", api=("Produce", *ENDING), versions="12-13")
def a_write_that_fails_has_added_its_partition(target: Target, version: int) -> None:
    """Given a transactional batch in v12 or later whose checksum is wrong, CORRUPT_MESSAGE, and its partition is in the transaction, which is open."""
    topic = target.new_topic()
    who = new_producer(target)

    answer = produce(target, who, topic, version, records=patched(transactional_batch(who), crc=1))

    expect(answer, error_code=ErrorCode.CORRUPT_MESSAGE, base_offset=-1)
    state = described(target, who.transactional_id)
    expect(state, error_code=ErrorCode.NONE, transaction_state="Ongoing")
    expect_equal("its topics", [(one.topic, one.partitions) for one in state.topics], [(topic.name, [0])])
    commit(target, who)
    expect_equal("the kinds of markers", kinds_of_markers(target, topic), [ControlRecordType.COMMIT])


@check("T-34", api=("EndTxn", "DeleteTopics", *ENDING), versions="0-5")
def a_deleted_topic_holds_nobody_up(target: Target, version: int) -> None:
    """Given a topic of the transaction that was deleted, EndTxn has no error, the others have their markers, and the transaction is through."""
    gone, topic = target.new_topic(), target.new_topic()
    who = new_producer(target)
    for one in (gone, topic):
        write(target, who, one)
    delete_for_good(target, gone)

    expect(end(target, who, version, committed=True), error_code=ErrorCode.NONE)

    wait_for_transaction_state(target, who.transactional_id, "CompleteCommit")
    expect_equal("the kinds of markers", kinds_of_markers(target, topic), [ControlRecordType.COMMIT])
    expect(initialise(target, who.transactional_id), error_code=ErrorCode.NONE)


def delete_for_good(target: Target, topic: Topic) -> None:
    """Delete a topic, and wait until this broker has forgotten it."""
    target.delete_topic(topic.name)
    eventually(lambda: target.list_offsets(topic).error_code, lambda error: error == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "it is gone")
