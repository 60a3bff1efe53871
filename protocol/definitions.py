"""What the `.kmsg` files say: messages, their fields, and in which versions each is there.

The files are read when a message in them is first asked for; finding out which file that is takes one folder listing, and for records of
the internal topics one look at the heads of the few files that hold them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from os import listdir, path  # noqa: TID251 - the schema files are this module's own; importlib.resources takes 20 ms to import

NO_VERSIONS = range(0)
_SCHEMA = path.join(path.dirname(__file__), "schema")  # noqa: PTH118, PTH120 - as above
_NEWEST = 32767

FIXED = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "float64": "d",
    "uuid": "16s",
}
"""Types of fixed width, and their letter in a struct format."""


@dataclass(slots=True)
class Field:
    """One field of a message or of a struct in it. `fields` is empty unless its type is a struct."""

    name: str
    type: str
    is_array: bool = False
    versions: range = range(_NEWEST)
    nullable_versions: range = NO_VERSIONS
    tag: int | None = None
    tagged_versions: range = NO_VERSIONS
    default: object = None
    ignorable: bool = False
    inflexible: bool = False
    """Written as before flexible versions, whatever the version: the client id of a request's header."""
    fields: list["Field"] = field(default_factory=list)

    def is_tagged(self, version: int) -> bool:
        """Whether it travels in the tag section of its struct in that version."""
        return self.tag is not None and version in self.tagged_versions


@dataclass(slots=True)
class Definition:
    """One message: what kind it is, its API key or record type (-1: none), the versions there are, its fields."""

    name: str
    kind: str
    key: int
    versions: range
    flexible_versions: range
    latest_version_unstable: bool
    fields: list[Field]


def message_names() -> list[str]:
    """The names of all messages there are, sorted by file and place in it."""
    return [name for file in _file_names() for name in definitions_in(file)]


def api_files() -> dict[int, str]:
    """API key -> name of the API as its file has it, like `list_offsets`."""
    return {int(name[:2]): name[3:-5] for name in _file_names() if name[:2].isdigit()}


def definition(name: str) -> Definition:
    """The definition of a message. Raises KeyError where there is none of that name."""
    for suffix in ("Request", "Response"):
        if name.endswith(suffix):
            squeezed = name.removesuffix(suffix).lower()
            for file in _file_names():
                if file[:2].isdigit() and file[3:-5].replace("_", "") == squeezed:
                    return definitions_in(file)[name]
    for file in _file_names():
        if not file[:2].isdigit() and name in definitions_in(file):
            return definitions_in(file)[name]
    raise KeyError(name)


@cache
def definitions_in(file: str) -> dict[str, Definition]:
    """All messages of one file, by name."""
    with open(path.join(_SCHEMA, file), encoding="utf-8") as schema:  # noqa: PTH118, PTH123 - as above
        text = schema.read()
    return {parsed.name: parsed for parsed in map(_parse_message, text.strip().split("\n\n"))}


@cache
def _file_names() -> list[str]:
    return sorted(name for name in listdir(_SCHEMA) if name.endswith(".kmsg"))  # noqa: PTH208 - as above


def _parse_message(block: str) -> Definition:
    head, *lines = block.splitlines()
    name, kind, key, versions, _, flexible, *unstable = head.split()
    return Definition(
        name=name,
        kind=kind,
        key=-1 if key == "-" else int(key),
        versions=_parse_versions(versions),
        flexible_versions=_parse_versions(flexible),
        latest_version_unstable=bool(unstable),
        fields=_parse_fields(lines),
    )


def _parse_fields(lines: list[str]) -> list[Field]:
    """Nest the fields by how deep their lines stand."""
    root: list[Field] = []
    levels = [root]
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 2
        parsed = _parse_field(line.split())
        del levels[depth:]
        levels[-1].append(parsed)
        levels.append(parsed.fields)
    for parsed in _walk(root):
        parsed.default = _parse_default(parsed)
    return root


def _walk(fields: list[Field]) -> Iterator[Field]:
    for one in fields:
        yield one
        yield from _walk(one.fields)


def _parse_field(words: list[str]) -> Field:
    name, type_, *options = words
    parsed = Field(name, type_.removeprefix("[]"), is_array=type_.startswith("[]"))
    for option in options:
        if option.startswith("null:"):
            parsed.nullable_versions = _parse_versions(option.removeprefix("null:"))
        elif option.startswith("tag"):
            tag, _, versions = option.removeprefix("tag").partition(":")
            parsed.tag, parsed.tagged_versions = int(tag), _parse_versions(versions)
        elif option.startswith("="):
            parsed.default = option.removeprefix("=")
        elif option in {"ignorable", "inflexible"}:
            setattr(parsed, option, True)
        else:
            parsed.versions = _parse_versions(option)
    return parsed


def _parse_versions(text: str) -> range:
    """`3`, `0-4`, `2+`, `none`."""
    if text == "none":
        return NO_VERSIONS
    if text.endswith("+"):
        return range(int(text[:-1]), _NEWEST)
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _parse_default(parsed: Field) -> object:
    """The value of a field that nobody set, as Kafka has it. Arrays and structs get a fresh one for each object, made elsewhere."""
    text = parsed.default
    if text == "null":
        return None
    if parsed.is_array or parsed.fields:
        return ()
    if parsed.type == "string":
        return "" if text in {None, '""'} else text
    if parsed.type in {"bytes", "records"}:
        return b""
    if parsed.type == "uuid":
        return bytes(16)
    if parsed.type == "bool":
        return text == "true"
    if parsed.type == "float64":
        return float(str(text or 0))
    return int(str(text or 0), 0)
