"""T: which partitions are in a transaction: added before they are written (AddPartitionsToTxn), or by the write itself (KIP-98, KIP-890)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.acls import ACLS, CLUSTER, CLUSTER_ACTION, THE_CLUSTER, allow
from pykbroker.compat.steps.transaction_requests import (
    Identity,
    Part,
    abort,
    add_partition,
    add_partitions,
    add_partitions_request,
    commit,
    described,
    end,
    errors_of_added,
    new_producer,
    not_added_error,
    old_epoch_error,
    produce,
    strangers,
    write,
)
from pykbroker.compat.steps.transactions import TRANSACTIONS, last_stable_offset
from pykbroker.compat.steps.users import AUTHORIZER, USERS, User
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import AddPartitionsToTxnRequest, EndTxnRequest
from pykbroker.protocol.records import batches

ADDING = ("AddPartitionsToTxn", "DescribeTransactions", *TRANSACTIONS)
OPEN, NEVER_STARTED = "Ongoing", "Empty"
TRANSACTION_LOG = "__transaction_state"


def parts_of(target: Target, who: Identity) -> set[Part]:
    """The partitions in a transaction."""
    return {Part(topic.topic, partition) for topic in described(target, who.transactional_id).topics for partition in topic.partitions}


def expect_open_with(target: Target, who: Identity, *parts: Part) -> None:
    """The transaction is open, and those are its partitions."""
    expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, transaction_state=OPEN, producer_epoch=who.producer_epoch)
    expect_equal("the partitions of the transaction", parts_of(target, who), set(parts))


@check("T-08a", api=("AddPartitionsToTxn", *ADDING), versions="0-5")
def partitions_are_added(target: Target, version: int) -> None:
    """Given partitions added, in several requests and some again, no error, and the transaction is open with all of them; nothing is written yet. KIP-98."""
    one, two = target.new_topic(partitions=2), target.new_topic()
    who = new_producer(target)
    first, second, third = Part(one.name, 0), Part(one.name, 1), Part(two.name, 0)

    added = [add_partitions(target, who, parts, version) for parts in ([first, third], [first, second])]

    expect_equal("the errors", added, [dict.fromkeys((first, third), 0), dict.fromkeys((first, second), 0)])
    expect_open_with(target, who, first, second, third)
    expect_that(described(target, who.transactional_id).transaction_start_time_ms > 0, "it has begun")
    expect(target.list_offsets(one), offset=0)
    abort(target, who)


@check("T-08b", api=("AddPartitionsToTxn", *ADDING), versions="0-5")
def partitions_are_added_by_who_is_known(target: Target, version: int) -> None:
    """Given AddPartitionsToTxn of an unknown transactional id, or with another producer id, INVALID_PRODUCER_ID_MAPPING; with an older or a later epoch,
    PRODUCER_FENCED (INVALID_PRODUCER_EPOCH below v2); of the id "", INVALID_REQUEST. Nothing begins.
    """
    topic = target.new_topic()
    who = new_producer(target)

    errors = [add_partition(target, wrong, topic, version) for wrong in strangers(target, who)]

    unknown, fenced = ErrorCode.INVALID_PRODUCER_ID_MAPPING, old_epoch_error(version)
    expect_equal("the errors", errors, [unknown, unknown, fenced, fenced, ErrorCode.INVALID_REQUEST])
    expect(described(target, who.transactional_id), transaction_state=NEVER_STARTED, topics=[])


@check("T-08c", api=("AddPartitionsToTxn", *ADDING), versions="0-5")
def no_partitions_begin_a_transaction_too(target: Target, version: int) -> None:
    """Given AddPartitionsToTxn without topics, an empty answer, and the transaction is open with nothing in it; it ends as any other."""
    who = new_producer(target)

    errors = add_partitions(target, who, [], version)

    expect_equal("the partitions answered", errors, {})
    expect_open_with(target, who)
    commit(target, who)


@check("T-08d", api=("AddPartitionsToTxn", *ADDING), versions="0-5")
def nothing_is_added_while_markers_are_written(target: Target, version: int) -> None:
    """Given AddPartitionsToTxn right behind an EndTxn (T-29), CONCURRENT_TRANSACTIONS until all markers are written, never success before."""
    ended, topic = target.new_topic(partitions=20), target.new_topic()
    who = new_producer(target)
    add_partitions(target, who, [Part(ended.name, index) for index in range(ended.partitions)])
    ending = EndTxnRequest(
        transactional_id=who.transactional_id, producer_id=who.producer_id, producer_epoch=who.producer_epoch, committed=True
    )
    adding = add_partitions_request(who, [Part(topic.name)], version)
    connection = target.connect()

    connection.send(ending, 4)
    connection.send(adding, version)
    expect(connection.receive(ending, 4), error_code=ErrorCode.NONE)
    error = errors_of_added(connection.receive(adding, version), who.transactional_id, version)[Part(topic.name)]

    expect_that(error in (ErrorCode.NONE, ErrorCode.CONCURRENT_TRANSACTIONS), f"it is added, or told to wait; the error is {error}")
    if error:
        eventually(lambda: add_partition(target, who, topic, version), lambda found: found == 0, "it is added")
    ends = [target.list_offsets(ended, partition=index).offset for index in range(ended.partitions)]
    expect_equal("the ends of the log", ends, [1] * ended.partitions)
    expect_open_with(target, who, Part(topic.name))
    abort(target, who)


@check("T-09a", api=("AddPartitionsToTxn", *ADDING), versions="0-5")
def all_partitions_or_none(target: Target, version: int) -> None:
    """Given one of three partitions that does not exist, UNKNOWN_TOPIC_OR_PARTITION for it, OPERATION_NOT_ATTEMPTED for the others, none is added, and
    whoever asks: this is looked at first.
    """
    topic, other = target.new_topic(), target.new_topic()
    who = new_producer(target)
    there, also = Part(topic.name), Part(other.name)

    for missing in (Part(target.new_name("no-topic")), Part(topic.name, 9)):
        for asker in (who, *strangers(target, who)[:-1]):
            errors = add_partitions(target, asker, [there, missing, also], version)
            expected = dict.fromkeys((there, also), ErrorCode.OPERATION_NOT_ATTEMPTED) | {missing: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
            expect_equal("the errors", errors, expected)
    expect(described(target, who.transactional_id), transaction_state=NEVER_STARTED, topics=[])


@check("T-09b", api=("AddPartitionsToTxn", *ADDING), versions="0-3")
def internal_topics_are_not_for_clients(target: Target, version: int) -> None:
    """Given an internal topic among the partitions, TOPIC_AUTHORIZATION_FAILED for it, OPERATION_NOT_ATTEMPTED for the others."""
    topic = target.new_topic()
    who = new_producer(target)
    there, internal = Part(topic.name), Part(TRANSACTION_LOG)

    errors = add_partitions(target, who, [there, internal], version)

    expected = {there: ErrorCode.OPERATION_NOT_ATTEMPTED, internal: ErrorCode.TOPIC_AUTHORIZATION_FAILED}
    expect_equal("the errors", errors, expected)
    expect(described(target, who.transactional_id), transaction_state=NEVER_STARTED, topics=[])


# -- several transactions in one request -------------------------------------------------------------------------


@check("T-33a", api=("AddPartitionsToTxn", *ADDING), versions="4-5")
def partitions_are_verified(target: Target, version: int) -> None:
    """Given verify_only, an added partition has no error, another TRANSACTION_ABORTABLE, and is not added; each stranger its own error. KIP-890."""
    topic = target.new_topic(partitions=2)
    who = new_producer(target)
    added, other = Part(topic.name, 0), Part(topic.name, 1)
    add_partitions(target, who, [added])

    errors = add_partitions(target, who, [added, other], version, verify_only=True)
    refused = [add_partitions(target, wrong, [added], version, verify_only=True)[added] for wrong in strangers(target, who)]

    expect_equal("the errors", errors, {added: ErrorCode.NONE, other: ErrorCode.TRANSACTION_ABORTABLE})
    unknown, fenced = ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.PRODUCER_FENCED
    expect_equal("the errors of strangers", refused, [unknown, unknown, fenced, fenced, ErrorCode.INVALID_REQUEST])
    expect_open_with(target, who, added)
    abort(target, who)


@check("T-33b", api=("AddPartitionsToTxn", *ADDING), versions="4-5")
def verifying_begins_nothing(target: Target, version: int) -> None:
    """Given verify_only of a producer without a transaction, or whose transaction has ended, TRANSACTION_ABORTABLE, and no transaction. KIP-890."""
    topic = target.new_topic()
    never, before = new_producer(target), new_producer(target)
    write(target, before, topic)
    commit(target, before)

    errors = [add_partitions(target, who, [Part(topic.name)], version, verify_only=True)[Part(topic.name)] for who in (never, before)]

    expect_equal("the errors", errors, [ErrorCode.TRANSACTION_ABORTABLE] * 2)
    expect(described(target, never.transactional_id), transaction_state=NEVER_STARTED, topics=[])
    expect(described(target, before.transactional_id), transaction_state="CompleteCommit", topics=[])


@check("T-33c", api=("AddPartitionsToTxn", *ADDING), versions="4-5")
def transactions_are_answered_separately(target: Target, version: int) -> None:
    """Given several transactions in one request, each is answered by itself: one that is refused leaves the others alone. KIP-890."""
    topic = target.new_topic()
    good, fenced, lost = (new_producer(target) for _ in range(3))
    missing = Part(target.new_name("no-topic"))
    wanted = [(good, Part(topic.name)), (fenced.at_epoch(5), Part(topic.name)), (lost, missing)]
    request = AddPartitionsToTxnRequest()
    for who, part in wanted:
        request.transactions += add_partitions_request(who, [part], version).transactions

    answer = target.ask(request, version)

    expect_equal("the number of transactions answered", len(answer.results_by_transaction), 3)
    errors = [errors_of_added(answer, who.transactional_id, version)[part] for who, part in wanted]
    expect_equal("the errors", errors, [ErrorCode.NONE, ErrorCode.PRODUCER_FENCED, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION])
    expect_open_with(target, good, Part(topic.name))
    expect(described(target, fenced.transactional_id), transaction_state=NEVER_STARTED)
    abort(target, good)


# -- what is written to a partition that was not added -----------------------------------------------------------


@check("T-11a", api=("Produce", *ADDING), versions="3-11")
def what_was_not_added_is_not_written(target: Target, version: int) -> None:
    """Given a transactional batch for a partition that was not added, INVALID_TXN_STATE (TRANSACTION_ABORTABLE in v11), and nothing is appended or added;
    the message (v8+) is null in v11 only. KIP-890.
    """
    topic = target.new_topic(partitions=2)
    who = new_producer(target)
    add_partition(target, who, topic, partition=0)

    added = produce(target, who, topic, version, partition=0)
    other = produce(target, who, topic, version, partition=1)

    expect(added, error_code=ErrorCode.NONE, base_offset=0)
    expect(other, error_code=not_added_error(version), base_offset=-1, log_start_offset=-1)
    expect_equal("whether there is a message", bool(other.error_message), 8 <= version <= 10)
    expect(target.list_offsets(topic, partition=1), offset=0)
    expect_open_with(target, who, Part(topic.name, 0))
    abort(target, who)


@check("T-11b", api=("Produce", *ADDING), versions="12-13")
def a_write_adds_its_partition(target: Target, version: int) -> None:
    """Given a transactional batch in v12 or later, its partition is added to the transaction, which begins with it. KIP-890."""
    topic = target.new_topic(partitions=2)
    who = new_producer(target)

    answers = [produce(target, who, topic, version, partition=partition) for partition in (1, 0)]

    for answer in answers:
        expect(answer, error_code=ErrorCode.NONE, base_offset=0)
    expect_open_with(target, who, Part(topic.name, 0), Part(topic.name, 1))
    abort(target, who)


@check("T-11c", api=("Produce", *ADDING), versions="3-13")
def records_are_written_by_who_is_known(target: Target, version: int) -> None:
    """Given transactional batches for a partition without an open transaction: of an unknown transactional id or another producer id,
    INVALID_PRODUCER_ID_MAPPING; of an older or a later epoch, INVALID_PRODUCER_EPOCH. Nothing is appended, and nothing begins.
    """
    topic = target.new_topic()
    who = new_producer(target)

    answers = [produce(target, wrong, topic, version) for wrong in (*strangers(target, who)[:2], who.at_epoch(7))]

    unknown = ErrorCode.INVALID_PRODUCER_ID_MAPPING
    expect_equal("the errors", [one.error_code for one in answers], [unknown, unknown, ErrorCode.INVALID_PRODUCER_EPOCH])
    for answer in answers:
        expect(answer, base_offset=-1, log_start_offset=-1)
    expect(target.list_offsets(topic), offset=0)
    expect(described(target, who.transactional_id), transaction_state=NEVER_STARTED, topics=[])


@check("T-13a", api=("Produce", *ADDING), versions="3-11")
def what_has_ended_is_not_written(target: Target, version: int) -> None:
    """Given a transactional batch after the end of its transaction, INVALID_TXN_STATE (TRANSACTION_ABORTABLE in v11), and nothing is appended: no
    transaction is left hanging. KIP-890.
    """
    topic = target.new_topic()
    who = new_producer(target)
    for sequence, finish in enumerate((commit, abort)):
        write(target, who, topic, sequence=sequence)
        finish(target, who)
        size = target.list_offsets(topic).offset

        late = produce(target, who, topic, version, sequence=sequence + 1)

        expect(late, error_code=not_added_error(version), base_offset=-1, log_start_offset=-1)
        expect(target.list_offsets(topic), offset=size)
        expect_equal("the last stable offset", last_stable_offset(target, topic), size)


@check("T-13b", api=("Produce", *ADDING), versions="12-13")
def a_write_begins_the_next_transaction(target: Target, version: int) -> None:
    """Given a transactional batch in v12 or later after an EndTxn v4, a new transaction begins with it in the same epoch. KIP-890."""
    topic = target.new_topic()
    who = new_producer(target)
    write(target, who, topic)
    commit(target, who, version=4)

    answer = produce(target, who, topic, version, sequence=1)

    expect(answer, error_code=ErrorCode.NONE, base_offset=2)
    expect_open_with(target, who, Part(topic.name))
    expect_equal("the last stable offset", last_stable_offset(target, topic), 2)
    abort(target, who)


@check("T-29", api=("Produce", *ADDING), versions="12-13")
def a_write_waits_for_the_markers(target: Target, version: int) -> None:
    """Given Produce v12 or later right behind an EndTxn v5, the broker waits for the markers itself: the batch is appended behind them. KIP-890."""
    topic = target.new_topic()
    who = new_producer(target)
    expect(produce(target, who, topic, version), error_code=ErrorCode.NONE)

    for epoch in range(1, 6):
        expect(end(target, who.at_epoch(epoch - 1), 5, committed=True), error_code=ErrorCode.NONE, producer_epoch=epoch)
        answer = produce(target, who.at_epoch(epoch), topic, version)
        expect(answer, error_code=ErrorCode.NONE, base_offset=2 * epoch)

    found = [(one.base_offset, one.is_control) for one in batches(target.fetch(topic).records or b"")]
    expect_equal("the batches", found, [(offset, offset % 2 == 1) for offset in range(11)])
    abort(target, who.at_epoch(5))


@check("T-30", api=("AddPartitionsToTxn", *ADDING), versions="0-5")
def a_partition_that_is_only_added(target: Target, version: int) -> None:
    """Given a partition added and not written, its last stable offset moves with its end, and the commit appends one marker to it all the same."""
    topic = target.new_topic()
    target.produce(topic)
    who = new_producer(target)
    expect_equal("the error of AddPartitionsToTxn", add_partition(target, who, topic, version), ErrorCode.NONE)
    target.produce(topic)

    before = last_stable_offset(target, topic)
    commit(target, who)

    expect_equal("the last stable offset", before, 2)
    markers = [(one.base_offset, one.producer_id) for one in batches(target.fetch(topic).records or b"") if one.is_control]
    expect_equal("the markers", markers, [(2, who.producer_id)])
    expect_equal("the last stable offset then", last_stable_offset(target, topic), 3)


# -- who may ask as a broker does --------------------------------------------------------------------------------


@check("T-10a", api=("AddPartitionsToTxn", *ADDING, *USERS), versions="4-5", needs=AUTHORIZER)
def only_brokers_add_for_others(target: Target, version: int) -> None:
    """Given a user without ClusterAction on the cluster, AddPartitionsToTxn v4 and later is CLUSTER_AUTHORIZATION_FAILED as a whole, without results, also
    to verify only, and nothing is added. KIP-890.
    """
    topic = target.new_topic()
    who = new_producer(target)
    user = User(target)

    for verify_only in (False, True):
        answer = user.ask(add_partitions_request(who, [Part(topic.name)], version, verify_only=verify_only), version)
        expect(answer, error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED, results_by_transaction=[])
    expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, transaction_state=NEVER_STARTED, topics=[])


@check("T-10b", api=("AddPartitionsToTxn", *ADDING, *ACLS, *USERS), versions="4-5", needs=AUTHORIZER)
def whoever_may_act_for_the_cluster_adds(target: Target, version: int) -> None:
    """Given a user with ClusterAction on the cluster and nothing else, AddPartitionsToTxn v4 and later is served. KIP-890."""
    topic = target.new_topic()
    who = new_producer(target)
    user = User(target)
    allow(user, CLUSTER_ACTION, CLUSTER, THE_CLUSTER)
    request = add_partitions_request(who, [Part(topic.name)], version)

    answer = eventually(lambda: user.ask(request, version), lambda found: found.error_code == ErrorCode.NONE, "the rule is known")

    expect_equal("the errors", errors_of_added(answer, who.transactional_id, version), {Part(topic.name): ErrorCode.NONE})
    expect_open_with(target, who, Part(topic.name))
    abort(target, who)
