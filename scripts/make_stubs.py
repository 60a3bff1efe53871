"""Make protocol/messages.pyi from the schema files: what editors and type checkers read. A test makes it anew and compares."""

import pathlib

from pykbroker.protocol.definitions import Field, definition, message_names

STUBS = pathlib.Path(__file__).parent.parent / "protocol" / "messages.pyi"

TYPES = {"bool": "bool", "string": "str", "bytes": "bytes", "records": "Buffer", "uuid": "bytes", "float64": "float"}

HEAD = """# ruff: noqa: A002
# fmt: off
# Made from protocol/schema by scripts/make_stubs.py (`make stubs`). Do not edit.
from typing import ClassVar, Generic, TypeVar

from pykbroker.protocol.definitions import Definition, Field
from pykbroker.protocol.wire import Buffer

class Struct:
    unknown_tags: list[tuple[int, bytes]] | None
    _fields: ClassVar[list[Field]]

class Message(Struct):
    SCHEMA: ClassVar[Definition]
    API_KEY: ClassVar[int]
    VERSIONS: ClassVar[range]
    FLEXIBLE_VERSIONS: ClassVar[range]

_R = TypeVar("_R", bound=Message)

class Request(Message, Generic[_R]):
    # only for type checkers: a request, and what answers it
    ...

def message_class(of: Definition) -> type[Message]: ...
"""


def main() -> None:
    """Write the file."""
    STUBS.write_text(stubs(), encoding="utf-8")


def stubs() -> str:
    """The text of messages.pyi."""
    lines = [HEAD]
    for name in sorted(message_names()):
        described = definition(name)
        response = name.removesuffix("Request") + "Response"
        lines.append(f"class {name}(Request[{response}]):" if name.endswith("Request") else f"class {name}(Message):")
        structs: dict[str, list[Field]] = {}
        collect(described.fields, structs)
        for struct, fields in structs.items():
            lines.append(f"    class {struct}(Struct):")
            lines += ["    " + line for line in body(fields, name)]
        lines += body(described.fields, name)
        lines.append("")
    return "\n".join(lines)


def collect(fields: list[Field], structs: dict[str, list[Field]]) -> None:
    """Every struct of a message, innermost first."""
    for one in fields:
        if one.fields and one.type not in structs:
            collect(one.fields, structs)
            structs[one.type] = one.fields


def body(fields: list[Field], message: str) -> list[str]:
    """The attributes and the constructor of a class."""
    if not fields:
        return ["    def __init__(self) -> None: ..."]
    attributes = [f"    {one.name}: {annotation(one, message)}" for one in fields]
    parameters = ", ".join(f"{one.name}: {annotation(one, message)} = ..." for one in fields)
    return [*attributes, f"    def __init__(self, *, {parameters}) -> None: ..."]


def annotation(one: Field, message: str) -> str:
    """The Python type of a field."""
    name = f"{message}.{one.type}" if one.fields else TYPES.get(one.type, "int")
    if one.is_array:
        name = f"list[{name}]"
    return f"{name} | None" if one.nullable_versions or one.default is None else name


if __name__ == "__main__":
    main()
