"""T: transactions in a cluster whose transaction.version is lower than its brokers could have it (KIP-584, KIP-890, KIP-1022)."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal
from pykbroker.compat.steps.classic_members import ready_group
from pykbroker.compat.steps.transaction_requests import (
    NO_EPOCH,
    NO_ID,
    Part,
    add_partition,
    add_partitions_request,
    commit,
    commit_offset,
    described,
    end,
    initialise_again,
    new_producer,
    produce,
    wait_for_transaction_state,
    write,
)
from pykbroker.compat.steps.transactions import OFFSETS
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ApiVersionsRequest, UpdateFeaturesRequest

TRANSACTION_VERSION = "transaction.version"
UPGRADE, SAFE_DOWNGRADE = 1, 2
BY_DEFAULT = 2
WITH_FEATURES = ("UpdateFeatures", "Produce", "DescribeTransactions", *OFFSETS)


def finalize(target: Target, level: int) -> None:
    """Give transaction.version another level until the check is over."""
    update = UpdateFeaturesRequest.FeatureUpdateKey(feature=TRANSACTION_VERSION, max_version_level=level, upgrade_type=SAFE_DOWNGRADE)
    target.afterwards(lambda: _restore(target))
    expect(target.ask(UpdateFeaturesRequest(timeout_ms=10_000, feature_updates=[update]), 2), error_code=ErrorCode.NONE)
    _wait_for_level(target, level)


def _restore(target: Target) -> None:
    update = UpdateFeaturesRequest.FeatureUpdateKey(feature=TRANSACTION_VERSION, max_version_level=BY_DEFAULT, upgrade_type=UPGRADE)
    target.ask(UpdateFeaturesRequest(timeout_ms=10_000, feature_updates=[update]), 2)
    _wait_for_level(target, BY_DEFAULT)


def _wait_for_level(target: Target, level: int) -> None:
    request = ApiVersionsRequest(client_software_name="conformance", client_software_version="1")

    def found() -> int:
        answer = target.ask(request, 3)
        expect(answer, finalized_features=NOT_EMPTY)
        features = {one.name: one.max_version_level for one in answer.finalized_features}
        return features.get(TRANSACTION_VERSION, 0)

    eventually(found, lambda now: now == level, f"{TRANSACTION_VERSION} is {level}")


@check("T-03d", api=("InitProducerId", *WITH_FEATURES), alone=True)
def a_producer_that_starts_again_below_version_2(target: Target) -> None:
    """Given transaction.version 1, an open transaction and InitProducerId with its own id and epoch, CONCURRENT_TRANSACTIONS while it is aborted; asked
    again with the same, PRODUCER_FENCED (INVALID_PRODUCER_EPOCH in v3): the producer is fenced by its own abort. KIP-360.
    """
    finalize(target, 1)
    for version in (3, 4, 5):
        topic = target.new_topic()
        who = new_producer(target)
        write(target, who, topic)

        answer = initialise_again(target, who, version)
        state = wait_for_transaction_state(target, who.transactional_id, "CompleteAbort")
        again = initialise_again(target, who, version)

        expect(answer, error_code=ErrorCode.CONCURRENT_TRANSACTIONS, producer_id=NO_ID, producer_epoch=NO_EPOCH)
        expect(state, producer_id=who.producer_id, producer_epoch=1)
        fenced = ErrorCode.PRODUCER_FENCED if version >= 4 else ErrorCode.INVALID_PRODUCER_EPOCH
        expect(again, error_code=fenced, producer_id=NO_ID, producer_epoch=NO_EPOCH)


@check("T-17e", api=("EndTxn", *WITH_FEATURES), alone=True)
def without_its_feature_nothing_is_added_by_itself(target: Target) -> None:
    """Given transaction.version 0, EndTxn v5, Produce v12 and later, TxnOffsetCommit v5 and AddPartitionsToTxn v4 and later are UNSUPPORTED_VERSION for
    transactions; the versions before are served. KIP-890.
    """
    topic, group_id = target.new_topic(), ready_group(target)
    finalize(target, 0)

    unsupported = ErrorCode.UNSUPPORTED_VERSION
    for version in (12, 13):
        expect(produce(target, new_producer(target), topic, version), error_code=unsupported, base_offset=-1)
    expect_equal("the error of TxnOffsetCommit", commit_offset(target, new_producer(target), group_id, topic, 7, 5), unsupported)
    for version in (4, 5):
        answer = target.ask(add_partitions_request(new_producer(target), [Part(topic.name)], version), version)
        expect(answer, error_code=unsupported, results_by_transaction=[])
    expect(target.list_offsets(topic), offset=0)

    who = new_producer(target)
    expect_equal("the error of AddPartitionsToTxn", add_partition(target, who, topic, 3), ErrorCode.NONE)
    expect(produce(target, who, topic, 11), error_code=ErrorCode.NONE, base_offset=0)
    commit(target, who)
    write(target, who, topic, sequence=1)
    expect(end(target, who, 5, committed=True), error_code=unsupported, producer_id=NO_ID, producer_epoch=NO_EPOCH)
    expect(described(target, who.transactional_id), error_code=ErrorCode.NONE, transaction_state="Ongoing")
