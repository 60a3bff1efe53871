"""A clean stop of all logs: what is in memory only is written, and then everything is synced, before anybody says that the stop was clean."""

from collections.abc import Iterable

from pykbroker.storage.files import Files
from pykbroker.storage.log import UnifiedLog

_FEW = 8
"""So many logs are synced one by one; more of them cost less in one go, whatever else the machine has to write."""


def close_all(files: Files, logs: Iterable[UnifiedLog]) -> None:
    """Close logs of one directory. Those that cannot be are offline afterwards."""
    unsynced = [one for one in logs if one.write_rest()]
    if len(unsynced) <= _FEW:
        for one in unsynced:
            one.sync_rest()
        return
    try:
        for one in unsynced:
            one.write_epochs()
        files.sync_everything()
    except OSError as error:
        for one in unsynced:
            one.go_offline(error)
        return
    for one in unsynced:
        one.all_is_synced()
