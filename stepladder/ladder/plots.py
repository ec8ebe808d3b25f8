"""Figures of the report as inline SVG: the same verdict gives the same bytes, and colours follow the page.

Matplotlib writes fixed colours; each of ours is a placeholder that becomes a CSS variable of the page, so
that a figure is at home in light, dark and print. Identifiers get a prefix, since several figures share a
page, and namespaces are dropped, which HTML does not need and which would look like addresses to load.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from stepladder.evaluation.cost import monthly_cost
from stepladder.ladder.form import Verdict

_INK, _MUTED, _LINE, _ACCENT, _WARN, _PAPER = (f"#00000{number}" for number in range(1, 7))
_VARIABLES = {
    _INK: "ink",
    _MUTED: "muted",
    _LINE: "line",
    _ACCENT: "accent",
    _WARN: "warn",
    _PAPER: "paper",
}
_LABEL_GAP = 0.07  # of the axis: labels nearer than this are moved apart
_DASHES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (2, 2)), (0, (7, 2, 1, 2)))  # told apart in print
_WINDOW = 4  # steps before and after over which the training loss is averaged


def quality_against_cost(verdict: Verdict) -> str:
    """Each rung's score and interval against its cost; the bar is a dashed line, the choice is filled."""
    costs = {rung: judged.cost_per_1000 for rung, judged in verdict.rungs.items()}
    heights = _apart({rung: judged.score for rung, judged in verdict.rungs.items()})
    widest = max(costs.values()) or 1.0
    with _figure("quality", 4.6, 3.7, _quality_in_words(verdict)) as (axes, parts):
        axes.axhline(verdict.bar, color=_WARN, linestyle=(0, (5, 3)), linewidth=1.2)
        axes.annotate(
            f"bar {verdict.bar:.2f}", (0.01, verdict.bar), xycoords=("axes fraction", "data"),
            xytext=(0, 3), textcoords="offset points", color=_WARN, fontsize=9,
        )  # fmt: skip
        for rung, judged in verdict.rungs.items():
            chosen = rung == verdict.chosen
            colour = _ACCENT if judged.eligible else _MUTED
            if judged.interval:
                axes.plot(
                    [costs[rung]] * 2, judged.interval, color=colour, linewidth=2.2, solid_capstyle="round"
                )
            axes.plot(
                costs[rung], judged.score, "o", markersize=9, markeredgewidth=2, color=colour,
                markerfacecolor=_ACCENT if chosen else _PAPER,
            )  # fmt: skip
            left = costs[rung] > 0.75 * widest
            axes.annotate(
                rung, (costs[rung], heights[rung]), xytext=(-10 if left else 10, 0),
                textcoords="offset points", ha="right" if left else "left", va="center",
                color=_INK, fontsize=10, fontweight="bold" if chosen else "normal",
            )  # fmt: skip
        axes.set_xlim(0, 1.12 * widest)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("US dollars per 1,000 requests")
        axes.set_ylabel("score")
    return parts[0]


def cost_by_volume(verdict: Verdict) -> str:
    """Each rung's cost per 1,000 requests at every monthly volume; dots where two rungs break even."""
    import numpy as np
    from matplotlib.ticker import LogLocator

    present = next(iter(verdict.costs.values())).monthly_requests
    crossings = [even for even in verdict.break_even if even.monthly_requests]
    marked = [present, *(even.monthly_requests for even in crossings if even.monthly_requests)]
    low, high = min(marked) / 10, max(marked) * 10
    volumes = np.geomspace(low, high, 60)
    with _figure("volume", 4.6, 3.4, _volume_in_words(verdict, present)) as (axes, parts):
        axes.axvline(present, color=_WARN, linestyle=(0, (5, 3)), linewidth=1.2)
        axes.annotate(
            f"{present:,} a month", (present, 0.98), xycoords=("data", "axes fraction"),
            xytext=(4, 0), textcoords="offset points", color=_WARN, fontsize=9, va="top",
        )  # fmt: skip
        for (rung, cost), dashes in zip(verdict.costs.items(), _DASHES, strict=False):
            chosen = rung == verdict.chosen
            line = [1000 * monthly_cost(cost, volume) / volume for volume in volumes]
            axes.plot(
                volumes, line, label=rung, linestyle=dashes, linewidth=2.4 if chosen else 1.4,
                color=_ACCENT if chosen else _INK,
            )  # fmt: skip
        for even in crossings:
            volume = even.monthly_requests or 1.0
            axes.plot(
                volume, 1000 * monthly_cost(verdict.costs[even.a], volume) / volume, "o", markersize=6,
                color=_INK, markerfacecolor=_PAPER, markeredgewidth=1.5,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        # As people write them: the default labels are formulas, which are not parsed here.
        axes.xaxis.set_major_formatter(lambda volume, _: f"{volume:,.0f}" if volume >= 1 else "")
        axes.yaxis.set_major_formatter(lambda dollars, _: f"{dollars:g}")
        axes.yaxis.set_minor_formatter(lambda *_: "")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.set_xlim(low, high)
        axes.set_xlabel("requests a month")
        axes.set_ylabel("US dollars per 1,000")
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK, handlelength=3)
    return parts[0]


def _volume_in_words(verdict: Verdict, present: int) -> str:
    crossings = [
        f"{even.a} and {even.b} cost the same at {even.monthly_requests:,.0f} requests a month"
        for even in verdict.break_even
        if even.monthly_requests
    ]
    told = "; ".join(crossings) or "no two rungs cost the same at any volume"
    return f"Cost per 1,000 requests against monthly volume, {present:,} at present: {told}."


def failure_shares(gaps: Mapping[str, float]) -> str:
    """Share of the failing cases by cause."""
    words = (
        "Failing cases by cause: " + ", ".join(f"{cause} {share:.0%}" for cause, share in gaps.items()) + "."
    )
    with _figure("gaps", 4.6, 0.5 + 0.42 * len(gaps), words) as (axes, parts):
        places = range(len(gaps), 0, -1)
        axes.barh(places, [1] * len(gaps), height=0.5, color=_LINE)
        axes.barh(places, list(gaps.values()), height=0.5, color=_ACCENT)
        for place, share in zip(places, gaps.values(), strict=True):
            axes.annotate(
                f"{share:.0%}", (1.02, place), va="center", color=_INK, fontsize=10, annotation_clip=False
            )
        axes.set_yticks(places, [cause.replace(", ", ",\n") for cause in gaps])
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.tick_params(axis="y", labelsize=10, labelcolor=_INK)
    return parts[0]


def training_loss(losses: Sequence[float]) -> str:
    """Loss at each training step, faint, and its running mean."""
    import numpy as np

    values = np.asarray(losses, dtype=np.float64)
    means = [float(values[max(0, i - _WINDOW) : i + _WINDOW + 1].mean()) for i in range(len(values))]
    words = f"Training loss over {len(values)} steps: from {means[0]:.2f} to {means[-1]:.2f} (running mean)."
    with _figure("loss", 4.6, 2.8, words) as (axes, parts):
        steps = range(1, len(values) + 1)
        axes.plot(steps, values, color=_MUTED, linewidth=0.8, alpha=0.6)
        axes.plot(steps, means, color=_ACCENT, linewidth=2)
        axes.set_ylim(0, float(values.max()) * 1.05 or 1.0)
        axes.set_xlabel("step")
        axes.set_ylabel("loss (answer tokens)")
    return parts[0]


@contextmanager
def _figure(name: str, width: float, height: float, words: str) -> Iterator[tuple[Any, list[str]]]:
    """Axes to draw on, inches wide and high, and a list that holds the SVG when the block has ended."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.hashsalt": name, "svg.fonttype": "none", "text.parse_math": False,
        "font.size": 9.5, "text.color": _INK,
        "axes.edgecolor": _LINE, "axes.labelcolor": _MUTED, "xtick.color": _MUTED, "ytick.color": _MUTED,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "grid.color": _LINE, "grid.linewidth": 0.6, "xtick.major.size": 0, "ytick.major.size": 0,
    }  # fmt: skip
    parts: list[str] = []
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure.subplots(), parts
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )  # fmt: skip
    parts.append(_at_home(buffer.getvalue(), name, words))


def _at_home(svg: str, name: str, words: str) -> str:
    """An SVG file as an element of the page, read aloud as ``words``."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg))
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, f"var(--{variable})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1).strip()


def _quality_in_words(verdict: Verdict) -> str:
    rungs = "; ".join(
        f"{rung} scores {judged.score:.2f} at {judged.cost_per_1000:.3g} dollars"
        for rung, judged in verdict.rungs.items()
    )
    return f"Score against cost per 1,000 requests. {rungs}. The bar is {verdict.bar:.2f}."


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Heights of labels, moved upwards where two would overlap."""
    placed: dict[str, float] = {}
    lowest = 0.0
    for rung, height in sorted(heights.items(), key=lambda item: item[1]):
        placed[rung] = max(height, lowest)
        lowest = placed[rung] + _LABEL_GAP
    return placed
