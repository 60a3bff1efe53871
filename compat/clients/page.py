"""The page of the clients: scenarios down, clients across, so that a reader sees at once what differs; below it everything that is not a plain pass, with its reason."""

import re
from collections.abc import Iterator, Mapping, Sequence

Row = Mapping[str, object]
"""What a script says of one scenario: `scenario`, `status`, `seconds`, `detail`."""

Rows = Mapping[str, Mapping[str, Sequence[Row]]]
"""Client with its version -> target -> its rows."""

PASSED, FAILED, SKIPPED, NOT_SERVED = STATUSES = ("passed", "failed", "skipped", "not served")
SIGNS = {PASSED: "✓", FAILED: "✗", SKIPPED: "–", NOT_SERVED: "○"}
NOT_TRIED = "?"
ALL = "all clients"

PAGE = """# Stock clients, scenario by scenario

Made by `make compat-clients ARGS="--markdown compat/CLIENTS.md"`. [clients/README.md](clients/README.md) says what each scenario does.

{body}
"""
LEGEND = """Each cell is {targets}; a single sign is true of all of them.

| sign | |
|---|---|
| ✓ | passed |
| ✗ | failed |
| – | skipped: this client cannot do it; why is said below |
| ○ | not served: the broker's ApiVersions does not announce what it needs, as is said below |
| ? | not tried in this run |
"""


def page(rows: Rows, absent: Mapping[str, str]) -> str:
    """The file; `absent` says of clients and targets that could not run why."""
    return PAGE.format(body=body(rows, absent))


def body(rows: Rows, absent: Mapping[str, str]) -> str:
    """Totals, tables, reasons: what is also printed at the end of a run."""
    targets = targets_of(rows)
    parts = [totals(rows, targets)] if rows else []
    parts += [LEGEND.format(targets=" / ".join(targets)).rstrip()] if rows else []
    parts += [table(rows, names, targets) for names in _with_one_list(rows)]
    for status, title in ((FAILED, "## What failed"), (SKIPPED, "## Why a client skips"), (NOT_SERVED, "## What is not served")):
        parts += _section(title, reasons(rows, status))
    parts += _section("## Who could not run here", [f"- SKIPPED: {name}: {reason}" for name, reason in absent.items()])
    return "\n\n".join(parts)


def targets_of(rows: Rows) -> list[str]:
    return list(dict.fromkeys(target for by_target in rows.values() for target in by_target))


def counted(rows: Sequence[Row]) -> str:
    """`20 passed, 5 not served`."""
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def totals(rows: Rows, targets: Sequence[str]) -> str:
    """A line a client, and one for all."""
    lines = [_line("client", *targets), _rule(1 + len(targets))]
    lines += [_line(client, *(counted(by_target.get(target, ())) or NOT_TRIED for target in targets)) for client, by_target in rows.items()]
    together = [[row for by_target in rows.values() for row in by_target.get(target, ())] for target in targets]
    return "\n".join([*lines, _line(f"**{ALL}**", *(f"**{counted(one)}**" for one in together))])


def table(rows: Rows, clients: Sequence[str], targets: Sequence[str]) -> str:
    """Clients that do the same list, across."""
    lines = [_line("", *map(_head, clients)), "|---" + "|:-:" * len(clients) + "|"]
    lines += [_line(one, *(_cell(rows[client], one, targets) for client in clients)) for one in _scenarios_of(rows, clients)]
    return "\n".join(lines)


def reasons(rows: Rows, status: str) -> list[str]:
    """Each reason once: of whom it is true, and in which scenarios."""
    found: dict[tuple[str, str], list[str]] = {}
    for client, scenario, said in _told(rows, status):
        of_client = found.setdefault((said, client), [])
        of_client += [] if scenario in of_client else [scenario]
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (said, client), scenarios in found.items():
        together.setdefault((said, tuple(scenarios)), []).append(client)
    return [f"- {_who(rows, clients, scenarios)}, *{'*, *'.join(scenarios)}*: {said}" for (said, scenarios), clients in together.items()]


def _told(rows: Rows, status: str) -> Iterator[tuple[str, str, str]]:
    """Client, scenario, and the last line of what was said of it, where there is one."""
    for client, by_target in rows.items():
        for row in (row for found in by_target.values() for row in found if row["status"] == status):
            said = str(row["detail"]).strip().splitlines()
            if said:
                yield client, str(row["scenario"]), said[-1]


def _with_one_list(rows: Rows) -> list[list[str]]:
    """The clients, those together that do the same scenarios."""
    groups: list[tuple[set[str], list[str]]] = []
    for client in rows:
        own = set(_scenarios_of(rows, [client]))
        fitting = next((group for group in groups if group[0] & own), None)
        if fitting is None:
            groups.append((own, [client]))
        else:
            fitting[0].update(own)
            fitting[1].append(client)
    return [clients for _, clients in groups]


def _scenarios_of(rows: Rows, clients: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(str(row["scenario"]) for client in clients for found in rows[client].values() for row in found))


def _who(rows: Rows, clients: Sequence[str], scenarios: Sequence[str]) -> str:
    everybody = [client for client in rows if set(scenarios) & set(_scenarios_of(rows, [client]))]
    return ALL if len(clients) > 1 and clients == everybody else ", ".join(clients)


def _cell(by_target: Mapping[str, Sequence[Row]], scenario: str, targets: Sequence[str]) -> str:
    statuses = [next((row["status"] for row in by_target.get(target, ()) if row["scenario"] == scenario), None) for target in targets]
    signs = [NOT_TRIED if status is None else SIGNS[str(status)] for status in statuses]
    return signs[0] if len(set(signs)) == 1 else " / ".join(signs)


def _head(client: str) -> str:
    """The version under the name."""
    return re.sub(r" (?=\d)", "<br>", client, count=1)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "\n".join(lines)] if lines else []


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|---" * columns + "|"
