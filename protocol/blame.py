"""Which field of a message cannot be encoded, and why: the long walk, taken only after the quick one has failed."""

import struct

from pykbroker.protocol.definitions import FIXED, Field
from pykbroker.protocol.messages import Message, Struct


def blame(message: Message, version: int) -> str:
    """One sentence that names the message, the version, the field and what is wrong with its value."""
    if version not in message.VERSIONS:
        first, last = message.VERSIONS[0], message.VERSIONS[-1]
        return f"{message.SCHEMA.name} has no version {version}; it has {first} to {last}"
    found = _in_struct(message, version, message.SCHEMA.fields, "")
    return f"{message.SCHEMA.name} version {version} cannot be encoded: {found or 'for a reason that its fields do not show'}"


def _in_struct(owner: Struct, version: int, fields: list[Field], path: str) -> str | None:
    for one in fields:
        value = getattr(owner, one.name)
        where = f"{path}{one.name}"
        if version not in one.versions:
            if not one.ignorable and value != one.default and value != [] and not isinstance(value, Struct):
                return f"{where} is {value!r}, but that version has no such field"
        elif problem := _in_field(one, value, version, where):
            return problem
    return None


def _in_field(one: Field, value: object, version: int, where: str) -> str | None:
    if value is None:
        return None if version in one.nullable_versions else f"{where} is None, which it may not be"
    if one.is_array:
        if not isinstance(value, (list, tuple)):
            return f"{where} is {type(value).__name__}, not a list"
        single = Field(one.name, one.type, fields=one.fields)
        problems = (_in_field(single, item, version, f"{where}[{number}]") for number, item in enumerate(value))
        return next((problem for problem in problems if problem), None)
    if one.fields:
        return _in_struct(value, version, one.fields, f"{where}.") if isinstance(value, Struct) else f"{where} is no {one.type}"
    return _in_scalar(one, value, where)


def _in_scalar(one: Field, value: object, where: str) -> str | None:
    if one.type == "string":
        if not isinstance(value, str):
            return f"{where} is {type(value).__name__}, not a str"
        size = len(value.encode(errors="replace"))
        return f"{where} is {size} bytes long; a string has at most 32767" if size > 0x7FFF else _unicode_problem(value, where)
    if one.type in {"bytes", "records"}:
        return None if isinstance(value, (bytes, bytearray, memoryview)) else f"{where} is {type(value).__name__}, not bytes"
    if one.type == "uuid":
        return None if isinstance(value, bytes) and len(value) == 16 else f"{where} is not 16 bytes"
    try:
        struct.pack(">" + FIXED[one.type], value)
    except struct.error as error:
        return f"{where} is {value!r}, no {one.type} ({error})"
    return None


def _unicode_problem(value: str, where: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"{where} is not Unicode ({error.reason})"
    return None
