"""G, M, T: what only a cluster shows that nobody has used yet. Each of these checks has one for itself."""

from pykbroker.compat.check import check
from pykbroker.compat.expectations import expect, expect_equal, expect_that
from pykbroker.compat.steps.classic_members import described
from pykbroker.compat.steps.transaction_requests import initialise
from pykbroker.compat.steps.transactions import TRANSACTIONS
from pykbroker.compat.target import TRANSACTION, Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateTopicsRequest, FindCoordinatorRequest

NEW_CLUSTER = "a new cluster"
OFFSETS_TOPIC = "__consumer_offsets"
SOME_GROUPS = 40
SOME_TRIES = 20


@check("M-21", api=(*TRANSACTIONS, "FindCoordinator"), needs=NEW_CLUSTER, alone=True)
def only_looking_for_a_coordinator_makes_the_log_of_transactions(target: Target) -> None:
    """Given a cluster where nobody has looked for a transaction coordinator, InitProducerId with a transactional id is NOT_COORDINATOR however often,
    until somebody does.
    """
    transactional_id = target.new_name("transaction")

    tries = [initialise(target, transactional_id).error_code for _ in range(SOME_TRIES)]

    expect_equal("the errors", tries, [ErrorCode.NOT_COORDINATOR] * SOME_TRIES)
    target.find_coordinator(transactional_id, TRANSACTION)
    eventually(
        lambda: initialise(target, transactional_id).error_code, lambda error: error == ErrorCode.NONE, "the coordinator takes office"
    )


@check("T-28d", api=("FindCoordinator", *TRANSACTIONS), needs=NEW_CLUSTER, alone=True)
def the_first_to_look_for_a_transaction_coordinator_finds_none(target: Target) -> None:
    """Given a cluster where nobody has looked for a transaction coordinator, the first FindCoordinator is COORDINATOR_NOT_AVAILABLE with node -1, no
    host and port -1; InitProducerId right behind it is NOT_COORDINATOR or COORDINATOR_LOAD_IN_PROGRESS, until it is NONE.
    """
    transactional_id = target.new_name("transaction")

    first = target.ask_newest(FindCoordinatorRequest(key_type=TRANSACTION, coordinator_keys=[transactional_id]), 4).coordinators[0]

    expect(first, error_code=ErrorCode.COORDINATOR_NOT_AVAILABLE, error_message="", node_id=-1, host="", port=-1)
    seen: set[int] = set()

    def next_error() -> int:
        error = initialise(target, transactional_id).error_code
        seen.add(error)
        return error

    eventually(next_error, lambda error: error == ErrorCode.NONE, "the coordinator takes office")
    others = seen - {ErrorCode.NONE, ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS}
    expect_equal("other errors", others, set())


@check("G-35", api=("DescribeGroups", "CreateTopics", "FindCoordinator"), needs=NEW_CLUSTER, alone=True)
def groups_beyond_the_offsets_that_there_are_have_no_coordinator(target: Target) -> None:
    """Given __consumer_offsets made with one partition, where offsets.topic.num.partitions says more, groups that would be in the others are
    NOT_COORDINATOR, and those of the first are described.
    """
    made = target.ask_newest(CreateTopicsRequest(topics=[target.led_here(OFFSETS_TOPIC)], timeout_ms=10_000), 7)
    expect(made.topics[0], error_code=ErrorCode.NONE)
    groups = [target.new_name("group") for _ in range(SOME_GROUPS)]

    eventually(
        lambda: {described(target, group_id).error_code for group_id in groups},
        lambda errors: errors == {ErrorCode.NONE, ErrorCode.NOT_COORDINATOR},
        "some groups have a coordinator, others do not",
    )

    found = [described(target, group_id).error_code for group_id in groups]
    expect_that(found.count(ErrorCode.NOT_COORDINATOR) > found.count(ErrorCode.NONE), "of four partitions one is there")
