"""The results as one page that needs nothing else, no network and no script: what failed comes first, and what was exchanged can be unfolded."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from pykbroker.compat.check import SECTIONS
from pykbroker.compat.connection import Exchange
from pykbroker.compat.report import TITLE, by_section, failed, markup, reasons, where
from pykbroker.compat.runner import Result, Status

MOST_UNFOLDED = 5
"""More failures than these are shown by their names, and what was found, first."""
LONGEST_SUMMARY = 200
"""In letters."""
_ABOUT_EXCHANGES = "<p class='faint'>Of requests (&gt;) and responses (&lt;), fields that have their default values are not shown.</p>"


def as_html(results: Sequence[Result], about: str = "") -> str:
    """The table, the failures, why others were not run, and every check by section."""
    sections = by_section(results)
    total = sections.pop("all")
    bad = failed(results)
    parts = [
        "<!doctype html>",
        "<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>{TITLE}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>{TITLE}</h1>",
        f"<p class='about'>{markup(about)}</p>" if about else "",
        _numbers(total),
        *([f"<h2>Failed <small>{len(bad)}</small></h2>", _ABOUT_EXCHANGES] if bad else []),
        *(_failure(result, unfolded=len(bad) <= MOST_UNFOLDED) for result in bad),
        "<h2>By section</h2>",
        _table(sections),
        *(f"<p>{markup(why)}</p>" for why in reasons(results)),
        "<h2>Every check</h2>",
        *(_section(section, counts, results) for section, counts in sections.items()),
        "</main></body></html>",
    ]
    return "\n".join(part for part in parts if part)


_STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--faint:#59636e;--line:#d1d9e0;--paper:#fff;--box:#f6f8fa;--good:#1a7f37;--bad:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--faint:#9198a1;--line:#3d444d;--paper:#0d1117;--box:#151b23;--good:#3fb950;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:68rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .7rem}h2 small,.faint,.about,.skipped,.not-served{color:var(--faint);font-weight:normal}
.about{margin:.2rem 0 0}p{overflow-wrap:anywhere}
.numbers{display:grid;grid-template-columns:repeat(4,1fr);gap:.6rem;margin:1.2rem 0 0;padding:0;list-style:none}
.numbers li{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .9rem}.numbers b{display:block;font-size:1.6rem;line-height:1.3}
.passed{color:var(--good)}.failed{color:var(--bad)}
table{border-collapse:collapse;width:100%}
td,th{border-top:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
thead th{border:0;color:var(--faint);font-weight:normal}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}.id,.status{white-space:nowrap}.id{font-weight:600}
details.box{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0}
details.box>summary{padding:.5rem .9rem;cursor:pointer;overflow-wrap:anywhere}details.box>div{padding:0 .9rem .7rem;overflow-x:auto}
details.bad{border-left:4px solid var(--bad)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem .9rem;margin:.5rem 0}dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
code,pre{font:13px/1.45 ui-monospace,monospace}
pre{margin:.3rem 0;padding:.6rem .8rem;background:var(--box);border-radius:.4rem;white-space:pre-wrap;overflow-wrap:anywhere}
.exchange>summary{cursor:pointer;color:var(--faint)}
a{color:inherit}
@media(max-width:40rem){td,th{padding:.3rem .35rem}.wide{display:none}.numbers{grid-template-columns:repeat(2,1fr)}dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
""".strip()


def _numbers(total: Counter[Status]) -> str:
    items = (f"<li class='{_css(status)}'><b>{total[status]}</b>{status.value}</li>" for status in Status)
    return f"<ul class='numbers'>{''.join(items)}</ul>"


def _failure(result: Result, *, unfolded: bool) -> str:
    """What is expected, what was found, who says so; and the exchanges: that one unfolded which the check looked at, or the last."""
    said = {"expected": markup(result.check.sentence), "found": f"<code>{markup(where(result) + result.detail)}</code>"}
    if result.field:
        said["field"] = f"<code>{markup(result.field)}</code>"
    said["source"] = markup(", ".join(result.check.sources))
    pairs = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in said.items())
    shown = len(result.exchanges) - 1 if result.looked_at is None else result.looked_at
    exchanges = "".join(_exchange(exchange, unfolded=place == shown) for place, exchange in enumerate(result.exchanges))
    return (
        f"<details class='box bad'{' open' if unfolded else ''}>"
        f"<summary><b class='failed'>{markup(result.check.id)}</b> {markup(result.check.name)}"
        f"<br><span class='faint'>{markup(textwrap.shorten(where(result) + result.detail, LONGEST_SUMMARY, placeholder='…'))}</span></summary>"
        f"<div><dl>{pairs}</dl>{exchanges}</div></details>"
    )


def _exchange(exchange: Exchange, *, unfolded: bool) -> str:
    name, _, request = exchange.sent.partition(": ")
    return (
        f"<details class='exchange'{' open' if unfolded else ''}><summary>{markup(name)}</summary>"
        f"<pre><b>&gt;</b> {markup(request)}</pre><pre><b>&lt;</b> {markup(exchange.answer)}</pre></details>"
    )


def _table(sections: dict[str, Counter[Status]]) -> str:
    heads = "".join(f"<th class='n'>{status.value}</th>" for status in Status)
    rows = "".join(
        f"<tr><td class='id'><a href='#{section}'>{section}</a></td><td class='wide'>{markup(SECTIONS.get(section, ''))}</td>"
        + "".join(f"<td class='n {_css(status)}'>{counts[status] or ''}</td>" for status in Status)
        + "</tr>"
        for section, counts in sections.items()
    )
    return f"<table><thead><tr><th></th><th class='wide'></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _section(section: str, counts: Counter[Status], results: Sequence[Result]) -> str:
    rows = "".join(
        f"<tr><td class='id'>{markup(result.check.id)}</td><td class='status {_css(result.status)}'>{result.status.value}</td>"
        f"<td>{markup(result.check.sentence)}{_why(result)}</td><td class='n faint wide'>{result.seconds:.2f} s</td></tr>"
        for result in results
        if result.check.section == section
    )
    told = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    return (
        f"<details class='box'><summary><b>{section}</b> {markup(SECTIONS.get(section, ''))} <span class='faint'>{told}</span></summary>"
        f"<div id='{section}'><table><tbody>{rows}</tbody></table></div></details>"
    )


def _why(result: Result) -> str:
    return f" <span class='faint'>({markup(where(result) + result.detail)})</span>" if result.detail else ""


def _css(status: Status) -> str:
    return status.value.replace(" ", "-")
