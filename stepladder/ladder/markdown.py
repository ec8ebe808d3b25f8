"""The verdict as Markdown, for a pull request or a job summary."""

from __future__ import annotations

from stepladder.ladder.form import ChampionVerdict, Decision, PairVerdict, RungVerdict, Verdict
from stepladder.ladder.wording import money, what_helps

EXIT_CODES: dict[Decision, int] = {"promote": 0, "keep": 3, "inconclusive": 4, "none": 5}

_HEADS = ("rung", "score", "interval", "$ per 1,000", "p95 ms", "eligible")


def summary(verdict: Verdict) -> str:
    """Headline, sentence, the ladder as a table, and what would help."""
    lines = [
        f"### Stepladder: {verdict.task}: {_headline(verdict)}",
        "",
        _escaped(verdict.sentence),
        "",
        _row(_HEADS),
        _row(["---"] * len(_HEADS)),
        *(_row(_cells(rung, judged, rung == verdict.chosen)) for rung, judged in verdict.rungs.items()),
        *(
            [_row(_champion(verdict.champion_measured, verdict.champion))]
            if verdict.champion_measured
            else []
        ),
        *(_row([rung, "not run", "", "", "", "no"]) for rung in verdict.skipped),
    ]
    if verdict.comparisons:
        lines += ["", *(f"- {_pair(pair)}" for pair in verdict.comparisons)]
    if verdict.warnings:
        lines += ["", "Before you trust it:", "", *(f"- {_escaped(line)}" for line in verdict.warnings)]
    if helps := what_helps(verdict):
        lines += ["", "What would help:", "", *(f"- {_escaped(line)}" for line in helps)]
    return "\n".join(lines) + "\n"


def _headline(verdict: Verdict) -> str:
    if verdict.decision == "none":
        return "none good enough"
    return f"{verdict.decision} {verdict.rung}" if verdict.rung else verdict.decision


def _champion(measured: ChampionVerdict, rung: str | None) -> list[str]:
    cost = "" if measured.cost_per_1000 is None else money(measured.cost_per_1000)
    p95 = f"{measured.latency_p95_ms:,.0f}"
    between = _between(measured.interval)
    return [f"champion ({rung})", f"{measured.score:.3f}", between, cost, p95, "serves"]


def _between(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def _cells(rung: str, judged: RungVerdict, chosen: bool) -> list[str]:
    return [
        f"**{rung}**" if chosen else rung,
        f"{judged.score:.3f}",
        _between(judged.interval),
        money(judged.cost_per_1000),
        f"{judged.latency_p95_ms:,.0f}",
        "undecided" if judged.undecided else "yes" if judged.eligible else "no",
    ]


def _pair(pair: PairVerdict) -> str:
    between = f" ({pair.interval[0]:+.3f} to {pair.interval[1]:+.3f})" if pair.interval else ""
    return f"{pair.a} minus {pair.b}: {pair.difference:+.3f}{between}, p = {pair.p:.2g}"


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
