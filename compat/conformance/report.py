"""The results, for a terminal, a machine, a pull request, a CI server; `page` has them for a browser. Each has a sentence on top: who, when, by whom."""

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from typing import Protocol

from pykbroker.compat.check import SECTIONS
from pykbroker.compat.runner import NEEDS, Result, Status

TITLE = "Conformance with Apache Kafka 4.3"
LONGEST_SHOWN = 1000
"""Letters of a request or a response, where people read it; JSON and the page have all of it."""
_WIDTH = 100
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Shape(Protocol):
    """One way to tell results."""

    def __call__(self, results: Sequence[Result], about: str = "") -> str:
        """`about`: which broker, when, by whom."""


def as_text(results: Sequence[Result], about: str = "") -> str:
    """Every failure with what was exchanged; then, where whoever ran it looks, the table by section, and why others were not run."""
    lines = [line for result in failed(results) for line in [*failure(result), ""]]
    if about:
        lines += [f"{TITLE}: {about}"]
    lines.append(f"{'section':<56}" + "".join(f"{status.value:>11}" for status in Status))
    for section, counts in by_section(results).items():
        name = f"{section:<4}{SECTIONS.get(section, '')}"
        lines.append(f"{name:<56}" + "".join(f"{counts[status]:>11}" for status in Status))
    for why in reasons(results):
        lines += ["", *textwrap.wrap(why, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)]
    return "\n".join(lines)


def as_json(results: Sequence[Result], about: str = "") -> str:
    """`{"about", "checks": [{"id", "section", "name", "sentence", "status", "seconds", "detail", …}]}`."""
    return json.dumps({"about": about, "checks": [row(result) for result in results]}, indent=1)


def row(result: Result) -> dict[str, object]:
    """One check as JSON has it."""
    return {
        "id": result.check.id,
        "section": result.check.section,
        "name": result.check.name,
        "sentence": result.check.sentence,
        "status": result.status.value,
        "seconds": round(result.seconds, 3),
        "detail": result.detail,
        "version": result.version,
        "field": result.field,
        "sources": result.check.sources,
        "exchanges": [{"sent": exchange.sent, "answer": exchange.answer} for exchange in result.exchanges],
        "looked_at": result.looked_at,
    }


def as_markdown(results: Sequence[Result], about: str = "") -> str:
    """A table by section, why others were not run, then everything that failed with what was exchanged."""
    lines = [f"{TITLE}: {about}", ""] if about else []
    lines += ["| section | | " + " | ".join(Status) + " |", "|---|---" + "|---:" * len(Status) + "|"]
    for section, counts in by_section(results).items():
        lines.append(f"| {section} | {SECTIONS.get(section, '')} | " + " | ".join(str(counts[status]) for status in Status) + " |")
    lines += [line for why in reasons(results) for line in ("", why)]
    for result in failed(results):
        title, *rest = failure(result)
        lines += ["", f"### {title}", "", "```", *(line.removeprefix("  ") for line in rest), "```"]
    return "\n".join(lines)


def as_junit(results: Sequence[Result], about: str = "") -> str:
    """JUnit's XML."""
    cases = []
    for result in results:
        inner = ""
        if result.status is Status.FAILED:
            inner = f"<failure message={_quoted(where(result) + result.detail)}>{markup(chr(10).join(failure(result)))}</failure>"
        elif result.status is not Status.PASSED:
            inner = f"<skipped message={_quoted(result.status.value + ': ' + result.detail)}/>"
        name = _quoted(f"{result.check.id} {result.check.name}")
        cases.append(f"<testcase classname={_quoted(result.check.section)} name={name} time='{result.seconds:.3f}'>{inner}</testcase>")
    counts = by_section(results)["all"]
    skipped = counts[Status.SKIPPED] + counts[Status.NOT_SERVED]
    told = f"<properties><property name='about' value={_quoted(about)}/></properties>" if about else ""
    suite = (
        f"<testsuite name='pykbroker compat' tests='{len(results)}' failures='{counts[Status.FAILED]}' errors='0' skipped='{skipped}'"
        f" time='{sum(result.seconds for result in results):.3f}'>"
    )
    return "\n".join(["<?xml version='1.0'?>", suite, *([told] if told else []), *cases, "</testsuite>"])


def by_section(results: Sequence[Result]) -> dict[str, Counter[Status]]:
    """How many of each, by section, and all together at the end."""
    sections: dict[str, Counter[Status]] = {}
    for result in results:
        sections.setdefault(result.check.section, Counter())[result.status] += 1
    sections["all"] = sum(sections.values(), Counter())
    return sections


def reasons(results: Sequence[Result]) -> Iterator[str]:
    """A sentence for each of: what the broker lacks, what keeps checks from it, what it does not serve; with how many checks that concerns."""
    needs, others, unserved = Counter[str](), Counter[str](), Counter[str]()
    for result in results:
        if result.status is Status.NOT_SERVED:
            unserved.update(result.detail.split(", "))
        elif result.status is Status.SKIPPED and result.detail.startswith(NEEDS):
            needs.update(result.detail.removeprefix(NEEDS).split(", "))
        elif result.status is Status.SKIPPED:
            others[result.detail] += 1
    if needs:
        yield f"Skipped for want of {_counted(needs)}. What the broker has of these is told by --offers, how it is restarted by --switch."
    for why, count in others.most_common():
        yield f"Skipped: {count}. {why[:1].upper()}{why[1:]}."
    if unserved:
        yield f"Not served: {_counted(unserved)}."


def failed(results: Sequence[Result]) -> list[Result]:
    """Those that failed."""
    return [result for result in results if result.status is Status.FAILED]


def failure(result: Result) -> list[str]:
    """A check that failed, in lines: what it says, what was not so, who says so, and what was exchanged, `*` where the field is."""
    lines = [f"{result.check.id} {result.check.name}", f"  {result.check.sentence}", f"  {where(result)}{result.detail}"]
    if result.field:
        lines.append(f"  field: {result.field}")
    lines.append(f"  source: {', '.join(result.check.sources)}")
    for place, exchange in enumerate(result.exchanges):
        mark = "  * " if place == result.looked_at else "    "
        lines += [f"{mark}> {_shortened(exchange.sent)}", f"{mark}< {_shortened(exchange.answer)}"]
    return lines


def where(result: Result) -> str:
    """In which version it failed, where it is run in several."""
    return "" if result.version is None else f"in version {result.version}: "


def markup(text: str) -> str:
    """The text as HTML and XML have it, also where a broker sent what they cannot have."""
    return escape(_UNPRINTABLE.sub("\ufffd", text))


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{word} ({count})" for word, count in words.most_common())


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text)} letters; -o json has all)"


def _quoted(text: str) -> str:
    return '"' + markup(text).replace("\n", " ") + '"'
