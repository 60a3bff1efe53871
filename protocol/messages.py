"""Kafka's messages: one class each, for all its versions, made when it is first asked for.

    from pykbroker.protocol.messages import FetchRequest, FetchResponse

    FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="orders")])

The structs inside a message hang on its class, whatever their depth. Constructors take keywords only; what is left out has Kafka's default,
arrays and structs fresh for each object. Type checkers read messages.pyi, which is generated from the same schema files.
"""

from typing import Any, ClassVar, TypeVar

from pykbroker.protocol.definitions import Definition, Field, definition


class Struct:
    """A message, or a struct within one. Equal when the type and all fields are."""

    __slots__ = ("unknown_tags",)
    _fields: ClassVar[list[Field]] = []

    unknown_tags: list[tuple[int, bytes]] | None
    """Tagged fields that the schema does not know, as they came; None where there were none (the usual case)."""

    def __eq__(self, other: object) -> bool:
        """Unknown tags count as well."""
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, one.name) == getattr(other, one.name) for one in self._fields) and (
            (self.unknown_tags or None) == (other.unknown_tags or None)  # type: ignore[attr-defined]
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Only what differs from its default: a message of forty fields stays readable."""
        shown = [f"{one.name}={_shown(value)}" for one in self._fields if (value := getattr(self, one.name)) != one.default and value != []]
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _shown(value: object) -> str:
    """A value in a repr; of a record batch only its size."""
    return f"<{len(value)} bytes>" if isinstance(value, (bytes, memoryview)) and len(value) > 100 else repr(_plain(value))


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


class Message(Struct):
    """A request, a response, or a record of an internal topic."""

    __slots__ = ()
    SCHEMA: ClassVar[Definition]
    API_KEY: ClassVar[int]
    """The API key, or the record type; -1 where there is none."""
    VERSIONS: ClassVar[range]
    FLEXIBLE_VERSIONS: ClassVar[range]


def message_class(of: Definition) -> type[Message]:
    """The class of a message, its structs hung on it."""
    structs: dict[str, type[Struct]] = {}
    constants = {"SCHEMA": of, "API_KEY": of.key, "VERSIONS": of.versions, "FLEXIBLE_VERSIONS": of.flexible_versions}
    made = _class(of.name, of.fields, Message, structs, constants)
    for name, struct in structs.items():
        struct.__qualname__ = f"{of.name}.{name}"
        setattr(made, name, struct)
    return made


S = TypeVar("S", bound=Struct)


def _class(name: str, fields: list[Field], base: type[S], structs: dict[str, type[Struct]], constants: dict[str, object]) -> type[S]:
    for one in fields:
        if one.fields and one.type not in structs:
            structs[one.type] = _class(one.type, one.fields, Struct, structs, {})
    made = type(name, (base,), {"__slots__": tuple(one.name for one in fields), "_fields": fields, "__module__": __name__, **constants})
    made.__init__ = _constructor(fields, structs)  # type: ignore[misc]
    return made


def _constructor(fields: list[Field], structs: dict[str, type[Struct]]) -> Any:
    """`__init__` with one keyword a field; compiled, since a response of thousands of partitions calls it thousands of times."""
    unset = object()
    names: dict[str, object] = {"unset": unset}
    parameters = []
    lines = ["self.unknown_tags = None"]
    for number, one in enumerate(fields):
        if one.default == () and (one.is_array or one.fields):
            parameters.append(f"{one.name}=unset")
            fresh = "[]" if one.is_array else f"struct_{number}()"
            names[f"struct_{number}"] = structs.get(one.type)
            lines.append(f"self.{one.name} = {fresh} if {one.name} is unset else {one.name}")
        else:
            names[f"default_{number}"] = one.default
            parameters.append(f"{one.name}=default_{number}")
            lines.append(f"self.{one.name} = {one.name}")
    head = f"def __init__(self, *, {', '.join(parameters)}):" if parameters else "def __init__(self):"
    exec("\n    ".join([head, *lines]), names)
    return names["__init__"]


def __getattr__(name: str) -> type[Message]:
    """A message's class, on first use; afterwards it is an ordinary attribute of this module."""
    try:
        if name.startswith("_"):  # Python asks for __path__ and the like on import
            raise KeyError(name)
        made = message_class(definition(name))
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no message {name!r}") from None
    globals()[name] = made
    return made
