"""Which field of a message cannot be encoded, and why: the long walk, taken only after the quick one has failed."""

import struct

from pykbroker.protocol.definitions import FIXED, Field
from pykbroker.protocol.messages import Message, Struct


def blame(message: Message, version: int) -> str:
    """One sentence that names the message, the version, the field and what is wrong with its value."""
    if version not in message.VERSIONS:
        first, last = message.VERSIONS[0], message.VERSIONS[-1]
        return f"{message.SCHEMA.name} has no version {version}; it has {first} to {last}"
    found = _in_struct(message, version, message.SCHEMA.fields, "", flexible=version in message.FLEXIBLE_VERSIONS)
    return f"{message.SCHEMA.name} version {version} cannot be encoded: {found or 'for a reason that its fields do not show'}"


def _in_struct(owner: Struct, version: int, fields: list[Field], path: str, *, flexible: bool) -> str | None:
    if owner.unknown_tags and not flexible:
        return f"{path}unknown_tags holds tags, but that version has no tag section"
    for one in fields:
        value = getattr(owner, one.name)
        where = f"{path}{one.name}"
        if version not in one.versions:
            if not one.ignorable and _differs(one, value):
                return f"{where} is {value!r}, but that version has no such field"
        elif problem := _in_field(one, value, version, where, flexible=flexible):
            return problem
    return None


def _differs(one: Field, value: object) -> bool:
    """Whether a value is not the field's default, which for an array is an empty one and for a struct one whose fields have their defaults."""
    if isinstance(value, Struct):
        return bool(value.unknown_tags) or any(_differs(inner, getattr(value, inner.name)) for inner in one.fields)
    return value != ([] if one.is_array and one.default is not None else one.default)


def _in_field(one: Field, value: object, version: int, where: str, *, flexible: bool) -> str | None:
    if value is None:
        return None if version in one.nullable_versions else f"{where} is None, which it may not be"
    if one.is_array:
        if not isinstance(value, (list, tuple)):
            return f"{where} is {type(value).__name__}, not a list"
        single = Field(one.name, one.type, fields=one.fields)
        problems = (_in_field(single, item, version, f"{where}[{number}]", flexible=flexible) for number, item in enumerate(value))
        return next((problem for problem in problems if problem), None)
    if one.fields:
        if not isinstance(value, Struct):
            return f"{where} is {type(value).__name__}, not {one.type}"
        return _in_struct(value, version, one.fields, f"{where}.", flexible=flexible)
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
        return None if isinstance(value, bytes) and len(value) == 16 else f"{where} is {value!r}, not 16 bytes"
    if one.type == "bool":
        return None if isinstance(value, int) else f"{where} is {value!r}, neither True nor False"
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
