"""Bytes to messages: one flat function per (message, version), compiled on first use. It believes no length.

Before anything is made, what a length claims is compared with the bytes that are there; arrays, their elements, records and tags are counted
against the budget the caller gives. Neighbours of fixed width, with the length byte of whatever follows them and the tag count, are unpacked by one struct.Struct.
"""

import struct
from collections.abc import Callable
from typing import Protocol

from pykbroker.protocol.definitions import FIXED, Field
from pykbroker.protocol.messages import Message
from pykbroker.protocol.source import Source
from pykbroker.protocol.wire import Buffer, Malformed, read_unsigned_varint

Decode = Callable[[Buffer, int, int], tuple[Message, int]]
"""(buffer, position, budget of elements) -> the message, and the position behind it."""


class Tagged(Protocol):
    """What can keep tagged fields that nobody knows."""

    unknown_tags: list[tuple[int, bytes]] | None


LONGEST_STRING = 0x7FFF
"""Kafka reads no longer string, in flexible versions either."""


def compile_decoder(message: type[Message], version: int) -> Decode:
    """The decode function of one version."""
    source = _Decoder(message, version)
    return source.compile(source.whole(), "decode")


def decoder_source(message: type[Message], version: int) -> str:
    """The text of that function."""
    return _Decoder(message, version).whole()


def skip_tags(buffer: Buffer, position: int, count: int, owner: Tagged, budget: int) -> tuple[int, int]:
    """Go past `count` tagged fields that nobody knows, keeping them on `owner`; position and budget behind them."""
    end = len(buffer)
    if owner.unknown_tags is None:
        owner.unknown_tags = []
    keep = owner.unknown_tags.append
    budget -= count
    if budget < 0:
        raise Malformed("more elements than one request may have")
    for _ in range(count):
        tag, position = read_unsigned_varint(buffer, position)
        size, position = read_unsigned_varint(buffer, position)
        if size > end - position:
            raise Malformed(f"tag {tag} claims {size} bytes, {end - position} are there")
        keep((tag, bytes(buffer[position : position + size])))
        position += size
    return position, budget


class _Decoder(Source):
    def __init__(self, message: type[Message], version: int) -> None:
        super().__init__(
            message,
            version,
            {
                "uvarint": read_unsigned_varint,
                "skip_tags": skip_tags,
                "unpack_from": struct.unpack_from,
                "struct_error": struct.error,
                "Malformed": Malformed,
                "new": object.__new__,
            },
        )
        self.has_records = False

    def whole(self) -> str:
        """The function around the fields."""
        self._depth = 2
        self.line(f"o = new({self.constant('Class', self.message)})")
        self.struct("o", self.message.SCHEMA.fields)
        self.line("return o, p")
        return self.text(
            "def decode(b, p, budget):\n    end = len(b)\n" + "    view = memoryview(b)\n" * self.has_records + "    try:",
            "    except (IndexError, struct_error):\n        raise Malformed(f'the message ends within a field (near byte {p} of {end})') from None",
        )

    def struct(self, owner: str, fields: list[Field]) -> None:
        """Every field of a struct, then its tag section."""
        self.unset_fields(owner, fields)
        for one in self.untagged(fields):
            self.field(one, f"{owner}.{one.name}")
        if self.flexible:
            count = self.variable("tags")
            self.run.append(("B", count))
            self.flush()
            self.indent(f"if {count}:")
            self.tag_section(owner, fields, count)
            self.dedent()
        self.flush()

    def unset_fields(self, owner: str, fields: list[Field]) -> None:
        """What this version does not have, or need not bring, starts with its default."""
        self.line(f"{owner}.unknown_tags = None")
        for one in [*self.absent(fields), *(self.tagged(fields) if self.flexible else [])]:
            if one.default == () and one.is_array:
                value = "[]"
            elif one.default == () and one.fields:
                value = f"{self.constant('Class', getattr(self.message, one.type))}()"
            else:
                value = repr(one.default)
            self.line(f"{owner}.{one.name} = {value}")

    def tag_section(self, owner: str, fields: list[Field], count: str) -> None:
        """The tags that are known, each checked to be as long as it said; the others are kept as they came."""
        self.line(f"if {count} > 127: {count}, p = uvarint(b, p - 1)")
        known = self.tagged(fields)
        if not known:
            self.line(f"p, budget = skip_tags(b, p, {count}, {owner}, budget)")
            return
        tag, size, behind = self.variable("tag"), self.variable("size"), self.variable("behind")
        self.indent(f"for _ in range({count}):")
        for number in (tag, size):
            self.line(f"{number} = b[p]; p += 1", f"if {number} > 127: {number}, p = uvarint(b, p - 1)")
        self.line(f"{behind} = p + {size}")
        self.line(f"if {behind} > end: raise Malformed('a tag is longer than its message')")
        self.line("budget -= 1", "if budget < 0: raise Malformed('more elements than one request may have')")
        for one in known:
            self.indent(f"if {tag} == {one.tag}:")
            self.field(one, f"{owner}.{one.name}")
            self.flush()
            self.line(f"if p != {behind}: raise Malformed('tag {one.tag} ({one.name}) is not as long as it says')", "continue")
            self.dedent()
        self.line(f"if {owner}.unknown_tags is None: {owner}.unknown_tags = []")
        self.line(f"{owner}.unknown_tags.append(({tag}, bytes(b[p:{behind}]))); p = {behind}")
        self.dedent()

    def field(self, one: Field, target: str) -> None:
        """One value into `target`."""
        if one.is_array:
            self.array(one, target)
        elif one.type in FIXED:
            self.run.append((FIXED[one.type], target))
        elif one.fields:
            self.nested(one, target)
        else:
            self.variable_width(one, target)

    def length(self, *, flexible: bool, wide: bool) -> str:
        """The length in front of a string, bytes or array; -1 is null (and so is anything below it, W-24)."""
        length = self.variable("n")
        self.run.append(("B" if flexible else "i" if wide else "h", length))
        self.flush()
        if flexible:
            self.line(f"if {length} > 127: {length}, p = uvarint(b, p - 1)", f"{length} -= 1")
        return length

    def null_or(self, one: Field, target: str, length: str) -> None:
        """The case of a null; leaves the source within the other case."""
        self.indent(f"if {length} < 0:")
        self.line(f"{target} = None" if self.version in one.nullable_versions else f"raise Malformed('{one.name} is null')")
        self.dedent()
        self.indent("else:")

    def variable_width(self, one: Field, target: str) -> None:
        """A string, bytes, or records."""
        flexible = self.flexible and not one.inflexible
        length = self.length(flexible=flexible, wide=one.type != "string")
        self.null_or(one, target, length)
        self.line(f"q = p + {length}", f"if q > end: raise Malformed('{one.name} claims more bytes than there are')")
        if one.type == "string":
            if flexible:
                self.line(f"if {length} > {LONGEST_STRING}: raise Malformed('{one.name} is longer than a string may be')")
            self.line(f"{target} = str(b[p:q], 'utf-8', 'replace'); p = q")
        elif one.type == "bytes":
            self.line(f"{target} = bytes(b[p:q]); p = q")
        else:
            self.has_records = True
            self.line("budget -= 1", "if budget < 0: raise Malformed('more elements than one request may have')")
            self.line(f"{target} = view[p:q]; p = q")
        self.dedent()

    def array(self, one: Field, target: str) -> None:
        """An array: its claim is checked against the bytes that are there and the budget, then element by element."""
        length = self.length(flexible=self.flexible, wide=True)
        self.null_or(one, target, length)
        smallest = struct.calcsize(">" + FIXED[one.type]) if one.type in FIXED else 1
        self.line(f"if {length} * {smallest} > end - p: raise Malformed('{one.name} claims more elements than there are bytes')")
        self.line(f"budget -= {length} + 1", "if budget < 0: raise Malformed('more elements than one request may have')")
        if one.type == "uuid":
            self.line(f"{target} = [bytes(b[i:i + 16]) for i in range(p, p + 16 * {length}, 16)]; p += 16 * {length}")
        elif one.type in FIXED:
            self.line(f"{target} = list(unpack_from(f'>{{{length}}}{FIXED[one.type]}', b, p)); p += {smallest} * {length}")
        else:
            self.elements(one, target, length)
        self.dedent()

    def elements(self, one: Field, target: str, length: str) -> None:
        """Structs, strings, bytes: one after the other."""
        items, item = self.variable("items"), self.variable("item")
        self.line(f"{items} = {target} = []")
        self.indent(f"for _ in range({length}):")
        if one.fields:
            owner_class = getattr(self.message, one.type)
            self.line(f"{item} = new({self.constant('Class', owner_class)})")
            self.struct(item, one.fields)
        else:
            self.variable_width(Field(one.name, one.type), item)
        self.line(f"{items}.append({item})")
        self.dedent()

    def nested(self, one: Field, target: str) -> None:
        """A struct within a struct; a nullable one has a byte in front: below zero is null, but among the tags it is zero."""
        self.flush()
        item, owner_class = self.variable("item"), getattr(self.message, one.type)
        nullable = self.version in one.nullable_versions
        if nullable:
            self.line("there = b[p]; p += 1")
            self.indent("if not there:" if one.is_tagged(self.version) else "if there > 127:")
            self.line(f"{target} = None")
            self.dedent()
            self.indent("else:")
        self.line(f"{item} = {target} = new({self.constant('Class', owner_class)})")
        self.struct(item, one.fields)
        if nullable:
            self.dedent()

    def flush(self) -> None:
        """Unpack the waiting run."""
        if not self.run:
            return
        layout = ">" + "".join(letter for letter, _ in self.run)
        targets = [target for _, target in self.run]
        if layout == ">B":
            self.line(f"{targets[0]} = b[p]; p += 1")
        else:
            unpack = self.constant("unpack", struct.Struct(layout).unpack_from)
            self.line(f"{', '.join(targets)}{',' * (len(targets) == 1)} = {unpack}(b, p); p += {struct.calcsize(layout)}")
        self.run = []
