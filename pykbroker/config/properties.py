"""The settings that a broker is given: a server.properties file, KAFKA_* variables, and overrides; the later ones win.

A file has the syntax of Java's properties, in UTF-8. A variable's name becomes a config's as in Apache Kafka's image: without KAFKA_, in
lower case, `_` for a dot, `__` for an underscore, `___` for a dash. What a file or an override gets wrong is an error; a variable that is
no config is a warning, because images and orchestrators set KAFKA_ variables for purposes of their own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pykbroker.config.definitions import definition_of
from pykbroker.config.start_rules import ConfigError, unknown_key_sentence


@dataclass(slots=True)
class Settings:
    """What was given: values, where each came from, and what to tell the person who starts the broker."""

    values: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(self, name: str, value: str, origin: str) -> None:
        """A value, in place of what was given before."""
        self.values[name] = value
        self.origins[name] = origin


class Property(NamedTuple):
    """One entry of a properties file; `line` is where it begins."""

    name: str
    value: str
    line: int


def merged_settings(
    *, text: str = "", file_name: str = "server.properties", environment: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """File, variables and overrides in one. Raises ConfigError."""
    settings = Settings()
    for entry in parse_properties(text, file_name):
        settings.put(entry.name, entry.value, f"{file_name} line {entry.line}")
    for variable, value in (environment or {}).items():
        _put_variable(settings, variable, value)
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--override {override} has no value; write --override KEY=VALUE.")
        settings.put(name.strip(), value.strip(), "an --override")
    return settings


def parse_properties(text: str, file_name: str = "server.properties") -> list[Property]:
    """The entries of a properties file, in their order. Raises ConfigError for a damaged escape."""
    entries = []
    for line_number, line in _logical_lines(text):
        name, value = _split(line)
        try:
            entries.append(Property(_unescaped(name), _unescaped(value).strip(), line_number))
        except ValueError:
            raise ConfigError(f"{file_name} line {line_number} has a \\u that is not followed by four hexadecimal digits.") from None
    return entries


def config_name(variable: str) -> str:
    """The config that a KAFKA_ variable stands for."""
    return variable.removeprefix(_PREFIX).lower().replace("_", ".").replace("...", "-").replace("..", "_")


_PREFIX = "KAFKA_"

_NOT_OURS = frozenset(
    {
        "KAFKA_CLUSTER_ID",
        "KAFKA_DATA",
        "KAFKA_DEBUG",
        "KAFKA_GC_LOG_OPTS",
        "KAFKA_HEAP_OPTS",
        "KAFKA_HOME",
        "KAFKA_JMX_HOSTNAME",
        "KAFKA_JMX_OPTS",
        "KAFKA_JMX_PORT",
        "KAFKA_JVM_PERFORMANCE_OPTS",
        "KAFKA_LOG4J_LOGGERS",
        "KAFKA_LOG4J_OPTS",
        "KAFKA_LOG4J_ROOT_LOGLEVEL",
        "KAFKA_OPTS",
        "KAFKA_TOOLS_LOG4J_LOGLEVEL",
        "KAFKA_VERSION",
    }
)
"""Variables that Apache Kafka's image, or a JVM, reads; nobody needs to be told that they do nothing here."""


def _put_variable(settings: Settings, variable: str, value: str) -> None:
    if not variable.startswith(_PREFIX) or variable in _NOT_OURS:
        return
    name = config_name(variable)
    if definition_of(name) is None:
        settings.warnings.append(f"The variable {variable} is ignored: {unknown_key_sentence(name)}")
    else:
        settings.put(name, value, f"the variable {variable}")


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Lines with their continuations, each with the number of its first; blank ones and comments are left out."""
    lines = enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), start=1)
    for line_number, natural in lines:
        line = natural.lstrip(_BLANKS)
        if not line or line[0] in "#!":
            continue
        while _continues(line):
            line = line[:-1]
            following = next(lines, None)
            if following is None:
                break
            line += following[1].lstrip(_BLANKS)
        if line:
            yield line_number, line


_BLANKS = " \t\f"


def _continues(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


_END_OF_NAME = re.compile(r"(?:\\.|[^\\=: \t\f])*")
_SEPARATOR = re.compile(r"[ \t\f]*[=:]?[ \t\f]*")


def _split(line: str) -> tuple[str, str]:
    """Name and value, still escaped: between them stand blanks, and at most one `=` or `:`."""
    end = _matched_length(_END_OF_NAME, line, 0)
    start = _matched_length(_SEPARATOR, line, end)
    return line[:end], line[start:]


def _matched_length(pattern: re.Pattern[str], line: str, position: int) -> int:
    match = pattern.match(line, position)
    return match.end() if match else position


_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.|$)", re.DOTALL)
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _unescaped(text: str) -> str:
    """Raises ValueError for a backslash and u without four digits. Two halves of a surrogate pair become the character they mean."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_meaning, text)
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _meaning(match: re.Match[str]) -> str:
    escape = match[1]
    if escape == "u":
        raise ValueError(match.string)
    if escape.startswith("u"):
        return chr(int(escape[1:], 16))
    return _ESCAPED.get(escape, escape)
