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
    """A table by section, then everything that failed with what was exchanged."""
    lines = ["| section | " + " | ".join(Status) + " |", "|---" * (len(Status) + 1) + "|"]
    for section, counts in by_section(results).items():
        lines.append(f"| {section} | " + " | ".join(str(counts[status]) for status in Status) + " |")
    for result in results:
        if result.status is Status.FAILED:
            title, *rest = failure(result)
            lines += ["", f"### {title}", "", "```", *(line.removeprefix("  ") for line in rest), "```"]
    return "\n".join(lines)


def as_html(results: Sequence[Result]) -> str:
    """One page that needs nothing else: the table, and each check, with what was exchanged where one failed."""
    heads = "".join(f"<th>{status.value}</th>" for status in Status)
    counts = "".join(
        f"<tr><th>{escape(section)}</th>"
        + "".join(f"<td class='n {_css(status)}'>{found[status] or ''}</td>" for status in Status)
        + "</tr>"
        for section, found in by_section(results).items()
    )
    rows = "".join(
        f"<tr><td>{escape(result.check.id)}</td><td class='{_css(result.status)}'>{result.status.value}</td>"
        f"<td>{escape(result.check.sentence)}{_details(result)}</td><td class='n'>{result.seconds:.2f} s</td></tr>"
        for result in results
    )
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Conformance with Apache Kafka</title><style>{_STYLE}</style>"
        f"<h1>Conformance with Apache Kafka</h1><table><tr><th></th>{heads}</tr>{counts}</table><table>{rows}</table></html>"
    )


_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border-top:1px solid #ddd;padding:.3em .7em;vertical-align:top;text-align:left}"
    ".n{text-align:right;white-space:nowrap}.passed{color:#17692b}.failed{color:#b00020;font-weight:bold}.skipped,.not-served{color:#777}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:.7em;font-size:13px}.why{color:#777}"
)


def _css(status: Status) -> str:
    return status.value.replace(" ", "-")


def _details(result: Result) -> str:
    """What is to be said of a check beside its sentence."""
    if result.status is Status.FAILED:
        return f"<pre>{escape(chr(10).join(line.removeprefix('  ') for line in failure(result)[2:]))}</pre>"
    return f" <span class='why'>({escape(result.detail)})</span>" if result.detail else ""


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


def _quoted(text: str) -> str:
    return '"' + escape(text, quote=True).replace("\n", " ") + '"'
