"""The table of the foreign suites: test by test what passes on Kafka, and what on us."""

from collections import Counter
from collections.abc import Mapping, Sequence

from compat.foreign.outcome import FAILED, PASSED, SKIPPED, Outcome
from compat.foreign.waiting import waits_for

Results = Mapping[str, Mapping[str, Sequence[Outcome]]]
"""Suite -> broker -> outcomes."""


def unexplained(results: Results, judge: str, ours: str, served: set[str]) -> list[tuple[str, Outcome]]:
    """What passes on the judge, does not on ours (it fails, is skipped, or never ran), and waits for nothing."""
    return [
        (suite, outcome)
        for suite, by_broker in results.items()
        for outcome in [*by_broker.get(ours, ()), *_lost(by_broker, judge, ours)]
        if (outcome.status, _status(by_broker.get(judge, ()), outcome.test)) in _HELD_AGAINST_US
        and not waits_for(suite, outcome.test, served)
    ]


_HELD_AGAINST_US = {(FAILED, PASSED), (FAILED, None), (SKIPPED, PASSED)}
"""What became of a test on ours, and on the judge."""


def _lost(by_broker: Mapping[str, Sequence[Outcome]], judge: str, ours: str) -> list[Outcome]:
    """What the judge passed, and nobody has said anything of on ours."""
    if ours not in by_broker:
        return []
    told = {outcome.test for outcome in by_broker[ours]}
    return [Outcome(outcome.test, FAILED, detail="it did not run") for outcome in by_broker.get(judge, ()) if outcome.test not in told]


def page(results: Results, reasons: Mapping[str, str], served: set[str]) -> str:
    """In Markdown; `reasons` says of each suite that did not run why."""
    lines = [
        "# Foreign suites",
        "",
        "Made by `make compat-foreign`: the tests that other projects wrote for their clients, unchanged, on each broker.",
        "A test that fails is tried once more, on every broker; one that needed it is marked `(2)`.",
        "",
    ]
    for suite, reason in reasons.items():
        lines += [f"## {suite}", "", f"Not run here: {reason}", ""]
    for suite, by_broker in results.items():
        brokers = list(by_broker)
        lines += [f"## {suite}", "", "| | " + " | ".join(brokers) + " |", "|---" * (len(brokers) + 1) + "|"]
        counts = {broker: Counter(outcome.status for outcome in outcomes) for broker, outcomes in by_broker.items()}
        lines += [
            f"| {status} | " + " | ".join(str(counts[broker][status]) for broker in brokers) + " |" for status in (PASSED, FAILED, SKIPPED)
        ]
        lines += ["", "| test | " + " | ".join(brokers) + " | |", "|---" * (len(brokers) + 2) + "|"]
        for test in dict.fromkeys(outcome.test for outcomes in by_broker.values() for outcome in outcomes):
            found = [next((outcome for outcome in by_broker[broker] if outcome.test == test), None) for broker in brokers]
            cells = ["-" if one is None else one.status + (f" ({one.tries})" if one.tries > 1 else "") for one in found]
            waits = waits_for(suite, test, served)
            remark = f"waits for {', '.join(waits)}" if waits else next((one.detail for one in reversed(found) if one and one.detail), "")
            lines.append(f"| {_shown(test)} | " + " | ".join(cells) + f" | {_shown(remark)} |")
        lines.append("")
    return "\n".join(lines)


def _status(outcomes: Sequence[Outcome], test: str) -> str | None:
    return next((outcome.status for outcome in outcomes if outcome.test == test), None)


def _shown(text: str) -> str:
    shown = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return shown if len(shown) <= 160 else shown[:160] + "…"
