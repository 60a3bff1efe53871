"""Which names a topic may have, and which topics are the broker's own.

`.` and `_` look the same in the names of metrics, so two topics that differ only in them may not both exist (M-12).
"""

import re

LONGEST_NAME = 249

CONSUMER_OFFSETS = "__consumer_offsets"
TRANSACTION_STATE = "__transaction_state"
SHARE_GROUP_STATE = "__share_group_state"
CLUSTER_METADATA = "__cluster_metadata"

INTERNAL_TOPICS = frozenset({CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE})
"""Flagged as internal in answers. `__cluster_metadata` is not among them: it is no topic at all for a client (M-17)."""

_ALLOWED = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)


def why_invalid(name: str) -> str | None:
    """Why no topic can have this name, as a sentence; None where one can (M-13)."""
    if not name:
        return "Topic name is invalid: it is empty."
    if name in {".", ".."}:
        return f"Topic name is invalid: '{name}' stands for a directory."
    if len(name) > LONGEST_NAME:
        return f"Topic name is invalid: '{name}' has {len(name)} characters, {LONGEST_NAME} are allowed."
    if not _ALLOWED.fullmatch(name):
        return f"Topic name is invalid: '{name}' has other characters than ASCII letters and digits, '.', '_' and '-'."
    return None


def collision_key(name: str) -> str:
    """What two colliding names have in common."""
    return name.replace(".", "_")
