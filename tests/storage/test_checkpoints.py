"""The small files: Kafka's formats, and a damaged one is named."""

import pytest

from pykbroker.storage import checkpoints
from pykbroker.storage.leader_epoch import EpochEntry, EpochsDamaged, LeaderEpochs
from pykbroker.storage.memory_files import MemoryFiles


@pytest.fixture
def files():
    made = MemoryFiles()
    made.make_directory("t-0")
    return made


def test_offset_checkpoints(files):
    offsets = {("b", 0): 5, ("a", 10): 7, ("a", 2): 0}
    checkpoints.write_offsets(files, checkpoints.RECOVERY_POINTS, offsets)

    assert files.read_whole("recovery-point-offset-checkpoint") == b"0\n3\na 2 0\na 10 7\nb 0 5\n"
    assert checkpoints.read_offsets(files, checkpoints.RECOVERY_POINTS) == offsets
    assert checkpoints.read_offsets(files, checkpoints.LOG_START_OFFSETS) == {}


@pytest.mark.parametrize("data", [b"", b"1\n0\n", b"0\n2\na 0 1\n", b"0\n1\na 0\n", b"0\nx\n", b"0\n1\na 0 1 2\n", b"\xff\xfe"])
def test_a_damaged_checkpoint_is_named(files, data):
    files.put(checkpoints.RECOVERY_POINTS, data)
    with pytest.raises(checkpoints.CheckpointDamaged, match="recovery-point-offset-checkpoint is damaged"):
        checkpoints.read_offsets(files, checkpoints.RECOVERY_POINTS)


def test_a_clean_stop_is_believed_once(files):
    assert not checkpoints.take_clean_shutdown_mark(files)
    checkpoints.leave_clean_shutdown_mark(files, 3)
    assert checkpoints.take_clean_shutdown_mark(files)
    assert not checkpoints.take_clean_shutdown_mark(files)


def test_partition_metadata_is_kafkas(files):
    checkpoints.write_partition_metadata(files, "t-0", "Ey8oWkHQQ3aRsgQ2kdbVTA")

    assert files.read_whole("t-0/partition.metadata") == b"version: 0\ntopic_id: Ey8oWkHQQ3aRsgQ2kdbVTA"
    assert checkpoints.read_partition_metadata(files, "t-0") == "Ey8oWkHQQ3aRsgQ2kdbVTA"


def test_leader_epochs_are_kafkas(files):
    epochs = LeaderEpochs(files, "t-0")
    epochs.assign(0, 0)
    epochs.assign(3, 17)
    files.put(epochs.name, epochs.checkpoint())

    assert files.read_whole("t-0/leader-epoch-checkpoint") == b"0\n2\n0 0\n3 17\n"
    found = LeaderEpochs(files, "t-0")
    found.load()
    assert found.entries == [EpochEntry(0, 0), EpochEntry(3, 17)]


@pytest.mark.parametrize("data", [b"", b"0\n1\n", b"0\n1\n0\n", b"1\n1\n0 0\n", b"0\n1\na b\n"])
def test_damaged_leader_epochs_are_named(files, data):
    files.put("t-0/leader-epoch-checkpoint", data)
    with pytest.raises(EpochsDamaged, match="t-0/leader-epoch-checkpoint is damaged"):
        LeaderEpochs(files, "t-0").load()
