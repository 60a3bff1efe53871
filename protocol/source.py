"""Source text in the making: its lines, the names it uses, and the run of fixed-width values waiting to share one struct.Struct."""

import linecache
from collections.abc import Callable
from typing import Any

from pykbroker.protocol.definitions import Field
from pykbroker.protocol.messages import Message


class Source:
    """Lines at a depth, and the objects they name. A decoder and an encoder are each made with one."""

    def __init__(self, message: type[Message], version: int, names: dict[str, object]) -> None:
        self.message = message
        self.version = version
        self.flexible = version in message.FLEXIBLE_VERSIONS
        self.names = dict(names)
        self.run: list[tuple[str, str]] = []
        """Fixed-width values not written yet: letter of the struct format, and the expression or target."""
        self._lines: list[str] = []
        self._depth = 1
        self._count = 0

    def line(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self._lines += ["    " * self._depth + text for text in lines]

    def indent(self, head: str) -> None:
        """Add `head`, and go one deeper."""
        self.line(head)
        self._depth += 1

    def dedent(self) -> None:
        """Go back up by one."""
        self._depth -= 1

    def variable(self, prefix: str) -> str:
        """A name of its own."""
        self._count += 1
        return f"{prefix}{self._count}"

    def constant(self, prefix: str, value: object) -> str:
        """A name for `value`, the same one for the same object."""
        for name, known in self.names.items():
            if known is value and name.startswith(prefix):
                return name
        name = self.variable(prefix)
        self.names[name] = value
        return name

    def untagged(self, fields: list[Field]) -> list[Field]:
        """The fields that stand in the body in this version, in order."""
        return [one for one in fields if self.version in one.versions and not one.is_tagged(self.version)]

    def tagged(self, fields: list[Field]) -> list[Field]:
        """The fields that stand in the tag section in this version, in the order of their tags."""
        return sorted((one for one in fields if self.version in one.versions and one.is_tagged(self.version)), key=lambda one: one.tag or 0)

    def absent(self, fields: list[Field]) -> list[Field]:
        """The fields that this version does not have."""
        return [one for one in fields if self.version not in one.versions]

    def text(self, head: str, tail: str) -> str:
        """The whole function."""
        return "\n".join([head, *self._lines, tail, ""])

    def compile(self, text: str, what: str) -> Callable[..., Any]:
        """The function, registered so that tracebacks and debuggers show its lines."""
        file = f"<{what} {self.message.SCHEMA.name} v{self.version}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec"), self.names)
        function: Callable[..., Any] = self.names[what]  # type: ignore[assignment]
        return function
