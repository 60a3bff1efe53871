"""H: what the share coordinator keeps of a share partition: initialised, written, read, summed up, deleted; with its epochs (KIP-932)."""

import base64
from collections.abc import Sequence

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal
from pykbroker.compat.steps.share_state import SHARE, STATE, Keeper, Run
from pykbroker.compat.target import Target, Topic, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    DeleteShareGroupStateResponse,
    FindCoordinatorRequest,
    InitializeShareGroupStateResponse,
    ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryResponse,
    WriteShareGroupStateResponse,
)

AVAILABLE, ACKNOWLEDGED, ARCHIVED = 0, 2, 4
UNKNOWN_ID = bytes(range(1, 17))
WRITING = ("WriteShareGroupState", *STATE)
SUMMING = ("ReadShareGroupStateSummary", *STATE)


Answer = (
    InitializeShareGroupStateResponse
    | ReadShareGroupStateResponse
    | ReadShareGroupStateSummaryResponse
    | WriteShareGroupStateResponse
    | DeleteShareGroupStateResponse
)


def expect_state(keeper: Keeper, answer: Answer, error_code: ErrorCode, **fields: object) -> None:
    """An answer is about that one partition, with that error and these fields; a message is there where there is an error."""
    expect_equal("topics answered", [one.topic_id for one in answer.results], [keeper.topic_id])
    expect_equal("the number of partitions answered", len(answer.results[0].partitions), 1)
    message = NOT_EMPTY if error_code else None
    part = answer.results[0].partitions[0]
    fields.setdefault("error_message", message)
    expect(part, partition=keeper.partition, error_code=error_code, **fields)


def _kept(target: Target) -> Keeper:
    """A share partition of state epoch 2 that starts at offset 5."""
    keeper = Keeper(target, target.new_topic())
    initialized = eventually(
        lambda: keeper.initialize(state_epoch=2, start_offset=5),
        lambda answer: answer.results[0].partitions[0].error_code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "the share coordinator knows a new topic",
    )
    expect_state(keeper, initialized, ErrorCode.NONE)
    target.afterwards(keeper.delete)
    return keeper


def _runs(answer: ReadShareGroupStateResponse) -> Sequence[Run]:
    batches = answer.results[0].partitions[0].state_batches
    return [Run(one.first_offset, one.last_offset, one.delivery_state, one.delivery_count) for one in batches]


@check("H-27a", api=STATE)
def share_state_that_was_initialized_is_read(target: Target) -> None:
    """Given InitializeShareGroupState with state epoch 2 and start 5, ReadShareGroupState has both, and no batches. KIP-932."""
    keeper = _kept(target)

    answer = keeper.read(leader_epoch=0)

    expect_state(keeper, answer, ErrorCode.NONE, state_epoch=2, start_offset=5, state_batches=[])


@check("H-27b", api=STATE)
def share_state_is_initialized_again_by_no_older_state_epoch(target: Target) -> None:
    """Given state epoch 2, initializing with 2 or 3 moves the start, with 1 it is FENCED_STATE_EPOCH with a message and nothing changes. KIP-932."""
    keeper = _kept(target)

    same = keeper.initialize(state_epoch=2, start_offset=6)
    older = keeper.initialize(state_epoch=1, start_offset=7)

    expect_state(keeper, same, ErrorCode.NONE)
    expect_state(keeper, older, ErrorCode.FENCED_STATE_EPOCH)
    expect_state(keeper, keeper.read(leader_epoch=0), ErrorCode.NONE, state_epoch=2, start_offset=6)
    expect_state(keeper, keeper.initialize(state_epoch=3, start_offset=1), ErrorCode.NONE)
    expect_state(keeper, keeper.read(leader_epoch=0), ErrorCode.NONE, state_epoch=3, start_offset=1)


@check("H-27c", api=STATE)
def share_state_that_was_not_initialized_is_neither_read_nor_written(target: Target) -> None:
    """Given no state, read and write are INVALID_REQUEST with a message; the summary is NONE with start_offset -1; delete is NONE. KIP-932."""
    keeper = Keeper(target, target.new_topic())

    expect_state(keeper, keeper.read(leader_epoch=0), ErrorCode.INVALID_REQUEST)
    expect_state(keeper, keeper.write(state_epoch=0, leader_epoch=0, start_offset=3), ErrorCode.INVALID_REQUEST)
    expect_state(keeper, keeper.summary(), ErrorCode.NONE, start_offset=-1, state_epoch=0)
    expect_state(keeper, keeper.delete(), ErrorCode.NONE)


@check("H-27d", api=WRITING, versions="0-1")
def share_state_that_was_written_is_read(target: Target, version: int) -> None:
    """Given WriteShareGroupState with a start and batches, they are read; a later write replaces what it covers, start -1 leaves the start. KIP-932."""
    keeper = _kept(target)

    first = keeper.write(Run(5, 9, ACKNOWLEDGED, 1), state_epoch=2, leader_epoch=0, start_offset=5, version=version)
    expect_state(keeper, first, ErrorCode.NONE)
    expect_equal("state_batches", _runs(keeper.read(leader_epoch=0)), [Run(5, 9, ACKNOWLEDGED, 1)])
    within = keeper.write(Run(6, 6, AVAILABLE, 2), state_epoch=2, leader_epoch=0, start_offset=-1, version=version)

    expect_state(keeper, within, ErrorCode.NONE)
    answer = keeper.read(leader_epoch=0)
    expect_state(keeper, answer, ErrorCode.NONE, start_offset=5)
    expect_equal("state_batches", _runs(answer), [Run(5, 5, ACKNOWLEDGED, 1), Run(6, 6, AVAILABLE, 2), Run(7, 9, ACKNOWLEDGED, 1)])


@check("H-27e", api=WRITING, versions="0-1")
def share_state_below_its_start_is_forgotten(target: Target, version: int) -> None:
    """Given batches 5-9 and then a write that starts at 7, what is read starts at 7, the batch cut to 7-9. KIP-932."""
    keeper = _kept(target)
    keeper.write(Run(5, 9, ARCHIVED, 3), state_epoch=2, leader_epoch=0, start_offset=5, version=version)

    moved = keeper.write(state_epoch=2, leader_epoch=0, start_offset=7, version=version)

    expect_state(keeper, moved, ErrorCode.NONE)
    answer = keeper.read(leader_epoch=0)
    expect_state(keeper, answer, ErrorCode.NONE, start_offset=7)
    expect_equal("state_batches", _runs(answer), [Run(7, 9, ARCHIVED, 3)])


@check("H-27f", api=WRITING, versions="0-1")
def share_state_is_not_written_by_an_older_state_epoch(target: Target, version: int) -> None:
    """Given state epoch 2, a write of epoch 1 is FENCED_STATE_EPOCH with a message and changes nothing; one of 3 is NONE. KIP-932."""
    keeper = _kept(target)

    older = keeper.write(state_epoch=1, leader_epoch=0, start_offset=8, version=version)
    expect_state(keeper, older, ErrorCode.FENCED_STATE_EPOCH)
    expect_state(keeper, keeper.read(leader_epoch=0), ErrorCode.NONE, start_offset=5)
    newer = keeper.write(state_epoch=3, leader_epoch=0, start_offset=8, version=version)

    expect_state(keeper, newer, ErrorCode.NONE)
    expect_state(keeper, keeper.read(leader_epoch=0), ErrorCode.NONE, start_offset=8)


@check("H-27g", api=WRITING, versions="0-1")
def share_state_is_fenced_by_leader_epochs(target: Target, version: int) -> None:
    """Given a read with leader epoch 3, reads and writes of epoch 2 are FENCED_LEADER_EPOCH with a message; 3 goes on. KIP-932."""
    keeper = _kept(target)
    expect_state(keeper, keeper.read(leader_epoch=3), ErrorCode.NONE)

    expect_state(keeper, keeper.read(leader_epoch=2), ErrorCode.FENCED_LEADER_EPOCH)
    older = keeper.write(state_epoch=2, leader_epoch=2, start_offset=8, version=version)
    expect_state(keeper, older, ErrorCode.FENCED_LEADER_EPOCH)
    same = keeper.write(state_epoch=2, leader_epoch=3, start_offset=8, version=version)

    expect_state(keeper, same, ErrorCode.NONE)
    expect_state(keeper, keeper.read(leader_epoch=3), ErrorCode.NONE, start_offset=8)


@check("H-27h", api=SUMMING, versions="0-1")
def the_summary_of_share_state_has_its_epochs_and_its_start(target: Target, version: int) -> None:
    """Given a write with two deliveries complete, the summary has state epoch, leader epoch, start, and from v1 on that count; no epoch fences it. KIP-932."""
    keeper = _kept(target)
    keeper.read(leader_epoch=3)
    keeper.write(Run(6, 7, ACKNOWLEDGED, 1), state_epoch=2, leader_epoch=3, start_offset=5, complete=2)

    for leader_epoch in (3, 1, 4):
        answer = keeper.summary(leader_epoch=leader_epoch, version=version)
        expect_state(
            keeper,
            answer,
            ErrorCode.NONE,
            state_epoch=2,
            leader_epoch=3,
            start_offset=5,
            delivery_complete_count=2 if version >= 1 else -1,
        )


@check("H-27i", api=STATE)
def share_state_that_was_deleted_is_gone(target: Target) -> None:
    """Given DeleteShareGroupState, what was kept is not read any more; to delete it once more is NONE. KIP-932."""
    keeper = _kept(target)

    deleted, again = keeper.delete(), keeper.delete()

    expect_state(keeper, deleted, ErrorCode.NONE)
    expect_state(keeper, again, ErrorCode.NONE)
    expect_state(keeper, keeper.read(leader_epoch=0), ErrorCode.INVALID_REQUEST)
    expect_state(keeper, keeper.summary(), ErrorCode.NONE, start_offset=-1)


@check("H-27j", api=STATE)
def share_state_of_an_unknown_partition_is_not_kept(target: Target) -> None:
    """Given an unknown topic id, or a partition that the topic does not have, initializing is UNKNOWN_TOPIC_OR_PARTITION, reading INVALID_REQUEST. KIP-932."""
    topic = target.new_topic()
    beyond, lost = Keeper(target, topic, partition=7), Keeper(target, Topic("nowhere", UNKNOWN_ID, 1))
    negative = Keeper(target, topic, beyond.group_id)
    negative.partition = -1

    for keeper in (beyond, lost):
        expect_state(keeper, keeper.initialize(state_epoch=0, start_offset=0), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        expect_state(keeper, keeper.read(leader_epoch=0), ErrorCode.INVALID_REQUEST)
        expect_state(keeper, keeper.write(state_epoch=0, leader_epoch=0, start_offset=0), ErrorCode.INVALID_REQUEST)
        expect_state(keeper, keeper.delete(), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if len(target.brokers) == 1:
        expect_state(negative, negative.read(leader_epoch=0), ErrorCode.INVALID_REQUEST)


@check("H-27k", api=STATE)
def share_state_of_the_empty_group_is_not_answered_for(target: Target) -> None:
    """Given an empty group id, each of the five is answered without any results, and nothing is kept. KIP-932."""
    keeper = Keeper(target, target.new_topic(), "")

    expect_equal("results", keeper.initialize(state_epoch=0, start_offset=0).results, [])
    expect_equal("results", keeper.read(leader_epoch=0).results, [])
    expect_equal("results", keeper.write(state_epoch=0, leader_epoch=0, start_offset=0).results, [])
    expect_equal("results", keeper.summary().results, [])
    expect_equal("results", keeper.delete().results, [])


@check("H-27l", api=("FindCoordinator", *STATE), versions="4-6")
def a_share_partition_has_a_coordinator(target: Target, version: int) -> None:
    """Given key type 2 and group:topic-id:partition, FindCoordinator v6 has a broker; a key of another shape, or an older version, is INVALID_REQUEST."""
    topic_id = base64.urlsafe_b64encode(target.new_topic().topic_id).decode().rstrip("=")
    group_id = target.new_name("group")

    def found(key: str) -> int:
        return target.ask(FindCoordinatorRequest(key_type=SHARE, coordinator_keys=[key]), version).coordinators[0].error_code

    if version >= 6:
        eventually(lambda: found(f"{group_id}:{topic_id}:0"), lambda code: code == ErrorCode.NONE, "a coordinator is found")
    else:
        expect_equal("error_code", found(f"{group_id}:{topic_id}:0"), ErrorCode.INVALID_REQUEST)
    for key in (group_id, f"{group_id}:{topic_id}", f"{group_id}:no-id:0", f"{group_id}:{topic_id}:x"):
        expect_equal("error_code", found(key), ErrorCode.INVALID_REQUEST)
