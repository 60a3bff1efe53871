"""How Java hashes strings, and in which order its maps keep them: where that decides what clients see, it has to be the same here."""

from collections.abc import Iterable

_SMALLEST_TABLE = 16


def java_hash(text: str) -> int:
    """Java's String.hashCode, as 32 bits without a sign."""
    value = 0
    encoded = text.encode("utf-16-be", "surrogatepass")
    for position in range(0, len(encoded), 2):
        value = (31 * value + (encoded[position] << 8 | encoded[position + 1])) & 0xFFFFFFFF
    return value


def in_map_order(names: Iterable[str]) -> list[str]:
    """Different strings in the order of a HashMap that they were put into one after the other (as long as no bucket has become a tree)."""
    kept = list(names)
    size = _SMALLEST_TABLE
    while len(kept) > size * 3 // 4:
        size *= 2

    def bucket(name: str) -> int:
        value = java_hash(name)
        return (value ^ value >> 16) & (size - 1)

    return sorted(kept, key=bucket)
