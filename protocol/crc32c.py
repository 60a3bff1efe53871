"""CRC-32C, the checksum of record batches, behind one name: the library can be changed here.

The package's own front door imports a command line and the metadata of all packages, which would be a fifth of a broker's start. So the
compiled module inside it is loaded by itself; where it is not found (another version may be laid out differently), the front door it is.
"""

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import cast

from pykbroker.protocol.wire import Buffer

__all__ = ["crc32c"]

Checksum = Callable[[Buffer], int]


def _compiled() -> Checksum | None:
    package = find_spec("crc32c")
    if package is None or package.submodule_search_locations is None:
        return None
    spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Checksum | None", getattr(module, "crc32c", None))


def _by_the_front_door() -> Checksum:
    from crc32c import crc32c as checksum

    return cast("Checksum", checksum)


crc32c: Checksum = _compiled() or _by_the_front_door()
