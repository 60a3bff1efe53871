"""What became of one test of a foreign suite on one broker, and what a suite must be able to do."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

CACHE = pathlib.Path(os.environ.get("PYKBROKER_COMPAT_CACHE", "~/.cache/pykbroker-compat")).expanduser() / "foreign"

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Missing(Exception):  # noqa: N818
    """This suite cannot run on this machine; the message says why."""


@dataclasses.dataclass(slots=True)
class Outcome:
    """`status` is that of the last try, `tries` how many it took; `detail` is the end of what a failure said."""

    test: str
    status: str
    seconds: float = 0.0
    detail: str = ""
    tries: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Suite:
    """`prepare` installs it once, into the cache; `run` puts a broker to its tests, those with one of the words, and tells of each as it ends."""

    name: str
    prepare: Callable[[], None]
    run: Callable[[str, list[str], Callable[[Outcome], None]], list[Outcome]]


def fetched(command: list[str], folder: pathlib.Path, suffix: str) -> pathlib.Path:
    """The one archive that `command`, run in an empty folder, brings; unpacked into `folder`, once."""
    if not folder.exists():
        with tempfile.TemporaryDirectory() as place:
            done = subprocess.run(command, cwd=place, check=False, stdout=sys.stderr)
            archives = list(pathlib.Path(place).glob(f"*{suffix}"))
            if done.returncode or len(archives) != 1:
                raise Missing(f"{' '.join(command)} does not bring it")
            unpacked = pathlib.Path(place) / "unpacked"
            shutil.unpack_archive(archives[0], unpacked, filter="data")
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(unpacked, folder)
    (inside,) = [path for path in folder.iterdir() if path.is_dir()]
    return inside
