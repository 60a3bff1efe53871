"""Which leader wrote what: each leader epoch, and the offset with which it began. The file is Kafka's `leader-epoch-checkpoint`."""

from typing import NamedTuple

from pykbroker.storage.files import Files

FILE_NAME = "leader-epoch-checkpoint"


class EpochEntry(NamedTuple):
    """From `start_offset` on, until the next entry, the records are this epoch's."""

    epoch: int
    start_offset: int


class LeaderEpochs:
    """The entries, in order of both their epochs and their offsets."""

    __slots__ = ("_files", "_name", "entries")

    def __init__(self, files: Files, directory: str) -> None:
        self._files = files
        self._name = f"{directory}/{FILE_NAME}"
        self.entries: list[EpochEntry] = []

    def load(self) -> None:
        """Read the file. A damaged one raises ValueError, which names it."""
        try:
            text = bytes(self._files.read(self._name, 0, self._files.size(self._name))).decode()
        except FileNotFoundError:
            return
        version, count, *lines = text.split("\n")
        rows = [line.split() for line in lines if line]
        if version.strip() != "0" or int(count) != len(rows):
            raise ValueError(f"{self._name} is damaged")
        self.entries = [EpochEntry(int(epoch), int(offset)) for epoch, offset in rows]

    @property
    def latest(self) -> int:
        """The newest epoch, -1 before the first."""
        return self.entries[-1].epoch if self.entries else -1

    def assign(self, epoch: int, start_offset: int) -> None:
        """A leader writes its first record."""
        if epoch > self.latest:
            self.entries.append(EpochEntry(epoch, start_offset))
            self._write()

    def epoch_of(self, offset: int) -> int:
        """The epoch that wrote an offset; -1 where that is not known."""
        found = -1
        for entry in self.entries:
            if entry.start_offset > offset:
                break
            found = entry.epoch
        return found

    def end_offset_for(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(epoch, end offset): the largest epoch not above the one asked for, and where it ended; (-1, -1) where there is none (KIP-101, L-11)."""
        if epoch < 0 or not self.entries or epoch > self.latest:
            return -1, -1
        if epoch == self.latest:
            return epoch, log_end_offset
        following = next(entry for entry in self.entries if entry.epoch > epoch)
        earlier = [entry for entry in self.entries if entry.epoch <= epoch]
        if not earlier:
            return epoch, following.start_offset
        return earlier[-1].epoch, following.start_offset

    def truncate_from_end(self, end_offset: int) -> None:
        """Records from `end_offset` on are gone."""
        if self.entries and self.entries[-1].start_offset >= end_offset:
            self.entries = [entry for entry in self.entries if entry.start_offset < end_offset]
            self._write()

    def truncate_from_start(self, start_offset: int) -> None:
        """Records before `start_offset` are gone; the epoch that goes on there begins there now."""
        gone = [entry for entry in self.entries if entry.start_offset <= start_offset]
        if not gone or gone[-1].start_offset == start_offset:
            kept = [entry for entry in self.entries if entry.start_offset >= start_offset]
        else:
            kept = [EpochEntry(gone[-1].epoch, start_offset), *(entry for entry in self.entries if entry.start_offset > start_offset)]
        if kept != self.entries:
            self.entries = kept
            self._write()

    def _write(self) -> None:
        lines = ["0", str(len(self.entries)), *(f"{entry.epoch} {entry.start_offset}" for entry in self.entries), ""]
        self._files.replace(self._name, "\n".join(lines).encode())
