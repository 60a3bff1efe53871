"""The results, for a terminal, a machine, a page, a CI server."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

from pykbroker.compat.runner import Result, Status


def as_text(results: Sequence[Result]) -> str:
    """A table by section, then every failure with what was exchanged."""
    lines = [f"{'section':<8}" + "".join(f"{status.value:>12}" for status in Status)]
    for section, counts in by_section(results).items():
        lines.append(f"{section:<8}" + "".join(f"{counts[status]:>12}" for status in Status))
    for result in results:
        if result.status is Status.FAILED:
            lines += ["", *failure(result)]
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> str:
    """`{"checks": [{"id", "section", "name", "status", "seconds", "detail", …}]}`."""
    return json.dumps({"checks": [row(result) for result in results]}, indent=1)


def row(result: Result) -> dict[str, object]:
    """One check as JSON has it."""
    return {
        "id": result.check.id,
        "section": result.check.section,
        "name": result.check.name,
        "status": result.status.value,
        "seconds": round(result.seconds, 3),
        "detail": result.detail,
        "version": result.version,
        "field": result.field,
        "sources": result.check.sources,
        "exchanges": [{"sent": exchange.sent, "answer": exchange.answer} for exchange in result.exchanges],
    }


def as_markdown(results: Sequence[Result]) -> str:
    """A table by section, and a list of what failed."""
    lines = ["| section | " + " | ".join(Status) + " |", "|---" * (len(Status) + 1) + "|"]
    for section, counts in by_section(results).items():
        lines.append(f"| {section} | " + " | ".join(str(counts[status]) for status in Status) + " |")
    failed = [result for result in results if result.status is Status.FAILED]
    if failed:
        lines += ["", "| check | what was not as expected |", "|---|---|"]
        lines += [f"| {result.check.id} {result.check.name} | {_escaped(_where(result) + result.detail)} |" for result in failed]
    return "\n".join(lines)


def as_html(results: Sequence[Result]) -> str:
    """One page that needs nothing else."""
    rows = "".join(
        f"<tr class='{result.status.value.replace(' ', '-')}'><td>{escape(result.check.id)}</td><td>{escape(result.check.sentence)}</td>"
        f"<td>{result.status.value}</td><td>{escape(_where(result) + result.detail)}</td></tr>"
        for result in results
    )
    style = (
        "body{font:14px sans-serif}td{border-top:1px solid #ccc;padding:4px;vertical-align:top}.failed{background:#fdd}.passed{color:#060}"
    )
    return f"<!doctype html><meta charset='utf-8'><title>pykbroker compat</title><style>{style}</style><table>{rows}</table>"


def as_junit(results: Sequence[Result]) -> str:
    """JUnit's XML."""
    cases = []
    for result in results:
        inner = ""
        if result.status is Status.FAILED:
            inner = f"<failure message={_quoted(_where(result) + result.detail)}>{escape(chr(10).join(failure(result)))}</failure>"
        elif result.status is not Status.PASSED:
            inner = f"<skipped message={_quoted(result.status.value + ': ' + result.detail)}/>"
        name = _quoted(f"{result.check.id} {result.check.name}")
        cases.append(f"<testcase classname={_quoted(result.check.section)} name={name} time='{result.seconds:.3f}'>{inner}</testcase>")
    failures = sum(result.status is Status.FAILED for result in results)
    return f"<testsuite name='pykbroker compat' tests='{len(results)}' failures='{failures}'>{''.join(cases)}</testsuite>"


FORMATS: dict[str, Callable[[Sequence[Result]], str]] = {
    "text": as_text,
    "json": as_json,
    "md": as_markdown,
    "html": as_html,
    "junit": as_junit,
}


def by_section(results: Sequence[Result]) -> dict[str, Counter[Status]]:
    """How many of each, by section, and all together at the end."""
    sections: dict[str, Counter[Status]] = {}
    for result in results:
        sections.setdefault(result.check.section, Counter())[result.status] += 1
    sections["all"] = sum(sections.values(), Counter())
    return sections


def failure(result: Result) -> list[str]:
    """A check that failed, in lines: what it says, what was not so, who says so, and what was exchanged."""
    lines = [f"{result.check.id} {result.check.name}", f"  {result.check.sentence}", f"  {_where(result)}{result.detail}"]
    if result.field:
        lines.append(f"  field: {result.field}")
    lines.append(f"  source: {', '.join(result.check.sources)}")
    for exchange in result.exchanges:
        lines += [f"    > {exchange.sent[:1000]}", f"    < {exchange.answer[:1000]}"]
    return lines


def _where(result: Result) -> str:
    return "" if result.version is None else f"in version {result.version}: "


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _quoted(text: str) -> str:
    return '"' + escape(text, quote=True).replace("\n", " ") + '"'
