"""Which leader wrote what: each leader epoch, and the offset with which it began. The file is Kafka's `leader-epoch-checkpoint`.

A new epoch is not written at once: each batch carries its epoch, so recovery finds those that the file lacks. The file is brought up to date before
the recovery point passes what it says.
"""

from typing import NamedTuple

from pykbroker.storage.files import Files

FILE_NAME = "leader-epoch-checkpoint"


class EpochEntry(NamedTuple):
    """From `start_offset` on, until the next entry, the records are this epoch's."""

    epoch: int
    start_offset: int


class EpochsDamaged(ValueError):  # noqa: N818
    """A checkpoint file that is not what it should be; the message names it."""


class LeaderEpochs:
    """The entries, in order of both their epochs and their offsets."""

    __slots__ = ("_directory", "_files", "entries", "is_written")

    def __init__(self, files: Files, directory: str) -> None:
        self._files = files
        self._directory = directory
        self.entries: list[EpochEntry] = []
        self.is_written = True
        """Whether the file says the same."""

    @property
    def name(self) -> str:
        """The checkpoint file."""
        return f"{self._directory}/{FILE_NAME}"

    def load(self) -> None:
        """Read the file. Raises EpochsDamaged."""
        try:
            text = self._files.read_whole(self.name).decode()
            version, count, *lines = text.split("\n")
            rows = [line.split() for line in lines if line]
            entries = [EpochEntry(int(epoch), int(offset)) for epoch, offset in rows]
            if version.strip() != "0" or int(count) != len(rows):
                raise EpochsDamaged(f"{self.name} is damaged: it announces {count} lines of version {version} and has {len(rows)}")
        except FileNotFoundError:
            return
        except EpochsDamaged:
            raise
        except ValueError as error:
            raise EpochsDamaged(f"{self.name} is damaged: {error}") from error
        self.entries = entries

    def checkpoint(self) -> bytes:
        """What the file shall say."""
        lines = ["0", str(len(self.entries)), *(f"{entry.epoch} {entry.start_offset}" for entry in self.entries), ""]
        return "\n".join(lines).encode()

    @property
    def latest(self) -> int:
        """The newest epoch, -1 before the first."""
        return self.entries[-1].epoch if self.entries else -1

    def assign(self, epoch: int, start_offset: int) -> None:
        """A leader begins; an epoch in which nothing was written gives its place to the next."""
        if epoch > self.latest:
            while self.entries and self.entries[-1].start_offset >= start_offset:
                self.entries.pop()
            self.entries.append(EpochEntry(epoch, start_offset))
            self.is_written = False

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
            self.is_written = False

    def truncate_from_start(self, start_offset: int) -> None:
        """Records before `start_offset` are gone; the epoch that goes on there begins there now."""
        gone = [entry for entry in self.entries if entry.start_offset <= start_offset]
        if not gone or gone[-1].start_offset == start_offset:
            kept = [entry for entry in self.entries if entry.start_offset >= start_offset]
        else:
            kept = [EpochEntry(gone[-1].epoch, start_offset), *(entry for entry in self.entries if entry.start_offset > start_offset)]
        if kept != self.entries:
            self.entries = kept
            self.is_written = False
