"""What a command says: a table for people, or with `-o json` one JSON document (or line) for scripts. Nothing else goes to standard output."""

import json
import sys
from collections.abc import Mapping, Sequence

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Row = Mapping[str, Json]


def show(rows: Sequence[Row], columns: Sequence[str], output_format: str) -> None:
    """Rows with their columns; JSON has all of a row, the table the columns named."""
    if output_format == "json":
        print(json.dumps(list(rows), ensure_ascii=False, indent=2))
    elif rows:
        print(
            table(
                [[_cell(row.get(column)) for column in columns] for row in rows], [column.upper().replace("_", "-") for column in columns]
            )
        )


def done(what: str, output_format: str) -> None:
    """Something was done: a sentence for people, an object for scripts."""
    print(json.dumps({"done": what}, ensure_ascii=False) if output_format == "json" else what)


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Columns as wide as their widest cell."""
    lines = [head, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def note(sentence: str) -> None:
    """Something to know, beside the output."""
    print(sentence, file=sys.stderr)


def _cell(value: Json) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_cell(inner)}" for name, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_cell(inner) for inner in value)
    return str(value)
