"""The small change of the wire: varints and their limits, and the one exception that damaged input raises.

Variable-length integers carry seven bits a byte, lowest first; the signed ones are zigzag encoded, so that small negatives stay short.
"""

Buffer = bytes | bytearray | memoryview


class Malformed(ValueError):  # noqa: N818 - a state of the input, named as what it is
    """Bytes that are not the message they claim to be: too short, a length that lies, a null where none may be."""


class Unencodable(ValueError):  # noqa: N818
    """A value that its field cannot carry in that version; names the message, the version and the field."""


def read_unsigned_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """The unsigned 32-bit varint at `position`, and the position behind it. IndexError where the buffer ends within it."""
    value = buffer[position]
    position += 1
    if value < 128:
        return value, position
    value &= 127
    for shift in (7, 14, 21, 28):
        byte = buffer[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value > 0xFFFFFFFF:
                break
            return value, position
    raise Malformed(f"a varint before byte {position} is longer than 32 bits")


def unsigned_varint(value: int) -> bytes:
    """`value`, from 0 to 2^32 - 1, as a varint."""
    if value < 128:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varlong(buffer: Buffer, position: int) -> tuple[int, int]:
    """The signed (zigzag) varint of up to 64 bits at `position`, and the position behind it."""
    value = buffer[position]
    position += 1
    if value > 127:
        value &= 127
        shift = 7
        while True:
            byte = buffer[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise Malformed(f"a varint before byte {position} is longer than 64 bits")
        if value > 0xFFFFFFFFFFFFFFFF:
            raise Malformed(f"a varint before byte {position} is longer than 64 bits")
    return value >> 1 ^ -(value & 1), position


def read_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """The signed (zigzag) varint of up to 32 bits at `position`, and the position behind it."""
    value, behind = read_varlong(buffer, position)
    if behind - position > 5 or not -0x80000000 <= value <= 0x7FFFFFFF:
        raise Malformed(f"the varint at byte {position} is longer than 32 bits")
    return value, behind


def varlong(value: int) -> bytes:
    """`value` as a signed (zigzag) varint; 32 and 64 bits look alike."""
    zigzag = value << 1 ^ value >> 63
    return _ONE_BYTE[zigzag] if zigzag < 128 else unsigned_varint(zigzag)


_ONE_BYTE = [bytes([value]) for value in range(128)]
