"""Messages to bytes: one flat function per (message, version), compiled on first use. A tagged field at its default is never written.

Neighbours of fixed width, with the length byte of whatever follows them and the tag count, are packed by one struct.Struct; record bytes become a piece of their
own and are not copied. The compiled function does not look for mistakes: when one makes it fail, `blame` walks the message and names the field.
"""

import struct
from collections.abc import Callable, Iterable
from typing import TypeVar

from pykbroker.protocol.definitions import FIXED, Field
from pykbroker.protocol.messages import Message
from pykbroker.protocol.source import Source
from pykbroker.protocol.wire import Buffer, Unencodable, unsigned_varint

Encode = Callable[[Message], list[Buffer]]
"""message -> the pieces of its bytes, in order."""

SHARED_ARRAYS = {"configs"}
"""The arrays that may be a SharedArray."""

T = TypeVar("T")


class SharedArray(list[T]):
    """An array that many structs of an answer have in common, like the configs of topics that are configured alike: it is encoded once."""

    __slots__ = ("encoded",)

    def __init__(self, items: Iterable[T]) -> None:
        super().__init__(items)
        self.encoded: dict[Encode, bytes] = {}
        """Its elements' bytes, by the function that encodes the message it stands in."""


def compile_encoder(message: type[Message], version: int) -> Encode:
    """The encode function of one version."""
    source = _Encoder(message, version)
    return source.compile(source.whole(), "encode")


def encoder_source(message: type[Message], version: int) -> str:
    """The text of that function."""
    return _Encoder(message, version).whole()


def tag_section(known: list[tuple[int, bytes]], unknown: list[tuple[int, bytes]] | None) -> bytes:
    """The tags of a struct: ascending, as Kafka writes them; unknown ones alone keep the order in which they came."""
    tags = sorted([*known, *unknown], key=lambda tag: tag[0]) if known and unknown else known or unknown or []
    parts = [unsigned_varint(len(tags))]
    for tag, value in tags:
        parts += (unsigned_varint(tag), unsigned_varint(len(value)), value)
    return b"".join(parts)


class _Encoder(Source):
    def __init__(self, message: type[Message], version: int) -> None:
        super().__init__(
            message,
            version,
            {
                "uvarint": unsigned_varint,
                "pack": struct.pack,
                "tag_section": tag_section,
                "Unencodable": Unencodable,
                "SharedArray": SharedArray,
            },
        )

    def whole(self) -> str:
        """The function around the fields."""
        self.struct("o", self.message.SCHEMA.fields)
        self.flush()
        return self.text("def encode(o):\n    pieces = []\n    write = pieces.append", "    return pieces")

    def struct(self, owner: str, fields: list[Field]) -> None:
        """Every field of a struct, then its tag section."""
        self.refuse_what_would_be_lost(owner, fields)
        if not self.flexible:
            self.line(f"if {owner}.unknown_tags: raise Unencodable('unknown_tags')")
        for one in self.untagged(fields):
            self.field(one, f"{owner}.{one.name}")
        if self.flexible:
            self.tags(owner, fields)

    def refuse_what_would_be_lost(self, owner: str, fields: list[Field]) -> None:
        """A field this version does not have must hold its default, unless it may be ignored: Kafka's rule."""
        for one in self.absent(fields):
            if not one.ignorable:
                self.line(f"if {self.differs(one, f'{owner}.{one.name}')}: raise Unencodable({one.name!r})")

    def differs(self, one: Field, value: str) -> str:
        """The expression that says whether a value is not the default."""
        if one.default == () and one.is_array:
            return f"{value} or {value} is None"
        if one.default == () and one.fields:
            inside = [f"({self.differs(inner, f'{value}.{inner.name}')})" for inner in one.fields]
            is_null = [f"{value} is None"] if one.nullable_versions else []
            return " or ".join([*is_null, *inside, f"{value}.unknown_tags"])
        if one.default is None:
            return f"{value} is not None"
        return f"{value} != {one.default!r}"

    def tags(self, owner: str, fields: list[Field]) -> None:
        """The tag section: usually one zero byte, which joins the run."""
        known = self.tagged(fields)
        if not known:
            self.run.append(("B", f"0 if {owner}.unknown_tags is None else 255"))
            self.flush_before_unknown_tags(owner)
            return
        self.flush()
        tags = self.variable("tags")
        self.line(f"{tags} = []")
        for one in known:
            self.indent(f"if {self.differs(one, f'{owner}.{one.name}')}:")
            kept = self.variable("kept")
            self.line(f"{kept} = write; value = []; write = value.append; {tags}.append(({one.tag}, value))")
            self.field(one, f"{owner}.{one.name}")
            self.flush()
            self.line(f"write = {kept}; {tags}[-1] = ({one.tag}, b''.join({tags}[-1][1]))")
            self.dedent()
        self.line(f"write(tag_section({tags}, {owner}.unknown_tags) if {tags} or {owner}.unknown_tags else b'\\0')")

    def flush_before_unknown_tags(self, owner: str) -> None:
        """Write the run that ends with the tag count 0, or, where there are unknown tags, the run without it and then those."""
        *before, _ = self.run
        self.run = before
        self.indent(f"if {owner}.unknown_tags:")
        self.flush()
        self.line(f"write(tag_section([], {owner}.unknown_tags))")
        self.dedent()
        self.indent("else:")
        self.run = [*before, ("x", "")]
        self.flush()
        self.dedent()

    def field(self, one: Field, value: str) -> None:
        """One value."""
        if one.is_array:
            self.array(one, value)
        elif one.type in FIXED:
            self.fixed_width(one, value)
        elif one.fields:
            self.nested(one, value)
        else:
            self.variable_width(one, value)

    def fixed_width(self, one: Field, value: str) -> None:
        """A number, a bool or a UUID; what struct would let pass (any object as a bool, a UUID cut or padded) is refused here."""
        if one.type == "uuid":
            self.line(f"if len({value}) != 16: raise Unencodable({one.name!r})")
        self.run.append(("b" if one.type == "bool" else FIXED[one.type], value))

    def variable_width(self, one: Field, value: str) -> None:
        """A string, bytes, or records."""
        name, length = self.variable("value"), self.variable("n")
        encode = ".encode()" if one.type == "string" else ""
        if self.version in one.nullable_versions:
            self.line(f"{name} = {value}")
            self.line(f"if {name} is None: {length} = -1")
            self.line(f"else: {name} = {name}{encode}; {length} = len({name})")
        else:
            self.line(f"{name} = {value}{encode}; {length} = len({name})")
        flexible = self.flexible and not one.inflexible
        self.length(length, flexible=flexible, wide=one.type != "string", longest=0x7FFF if one.type == "string" else None, name=one.name)
        self.line(f"if {length} > 0: write({name})")

    def length(self, length: str, *, flexible: bool, wide: bool, longest: int | None, name: str) -> None:
        """The length in front of what follows; closes the run."""
        if not flexible:
            self.run.append(("i" if wide else "h", length))
            self.flush()
            return
        before = self.run
        self.indent(f"if {length} < 127:")
        self.run = [*before, ("B", f"{length} + 1")]
        self.flush()
        self.dedent()
        self.indent("else:")
        self.run = before
        self.flush()
        if longest is not None:
            self.line(f"if {length} > {longest}: raise Unencodable({name!r})")
        self.line(f"write(uvarint({length} + 1))")
        self.dedent()

    def array(self, one: Field, value: str) -> None:
        """An array of anything."""
        items, length = self.variable("items"), self.variable("n")
        self.line(f"{items} = {value}")
        if self.version in one.nullable_versions:
            self.line(f"{length} = -1 if {items} is None else len({items})")
        else:
            self.line(f"{length} = len({items})")
        self.length(length, flexible=self.flexible, wide=True, longest=None, name=one.name)
        if one.type == "uuid":
            self.indent(f"if {length} > 0:")
            self.line(f"if set(map(len, {items})) != {{16}}: raise Unencodable({one.name!r})", f"write(b''.join({items}))")
            self.dedent()
        elif one.type in FIXED:
            self.line(f"if {length} > 0: write(pack(f'>{{{length}}}{FIXED[one.type]}', *{items}))")
        else:
            self.indent(f"if {length} > 0:")
            if one.fields and one.name in SHARED_ARRAYS:
                self.shared_elements(one, items)
            else:
                self.elements(one, items)
            self.dedent()

    def elements(self, one: Field, items: str) -> None:
        """Structs, strings, bytes: one after the other."""
        item = self.variable("item")
        self.indent(f"for {item} in {items}:")
        if one.fields:
            self.struct(item, one.fields)
        else:
            self.variable_width(Field(one.name, one.type), item)
        self.flush()
        self.dedent()

    def shared_elements(self, one: Field, items: str) -> None:
        """The same; those of a SharedArray are written once, and their bytes kept for wherever it stands again."""
        known, written, outside = self.variable("known"), self.variable("written"), self.variable("outside")
        self.line(f"{known} = {items}.encoded if type({items}) is SharedArray else None")
        self.line(f"{written} = None if {known} is None else {known}.get(encode)")
        self.indent(f"if {written} is None:")
        self.line(f"if {known} is not None: {outside} = write; {written} = []; write = {written}.append")
        self.elements(one, items)
        self.line(f"if {known} is not None: write = {outside}; {written} = {known}[encode] = b''.join({written})")
        self.dedent()
        self.line(f"if {known} is not None: write({written})")

    def nested(self, one: Field, value: str) -> None:
        """A struct within a struct; a nullable one has a byte in front, 1 where it is there."""
        self.flush()
        item = self.variable("item")
        self.line(f"{item} = {value}")
        nullable = self.version in one.nullable_versions
        if nullable:
            null = b"\0" if one.is_tagged(self.version) else b"\xff"
            self.line(f"if {item} is None: write({null!r})")
            self.indent("else:")
            self.line("write(b'\\x01')")
        self.struct(item, one.fields)
        self.flush()
        if nullable:
            self.dedent()

    def flush(self) -> None:
        """Pack the waiting run."""
        run, self.run = self.run, []
        if not run:
            return
        if run == [("x", "")]:
            self.line("write(b'\\0')")
            return
        pack = self.constant("pack_", struct.Struct(">" + "".join(letter for letter, _ in run)).pack)
        self.line(f"write({pack}({', '.join(value for letter, value in run if letter != 'x')}))")
