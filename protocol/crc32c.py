"""CRC-32C, the checksum of record batches, behind one name: the library can be changed here."""

from crc32c import crc32c

__all__ = ["crc32c"]
