"""The drawings of a report: SVG inside HTML, in the page's colours, with a title and a description for who cannot see.

Matplotlib draws; its colours are then names of the page's own, so that one drawing serves light, dark and paper. No
text of a user is drawn: what needs names is numbered, and a table beside it says the names.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gate.errors import MissingExtra
from gate.tuning.evaluate import Bin, CurvePoint
from gate.tuning.report.contents import FrontierPoint
from gate.tuning.report.markup import Html, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT, SECOND, WARN, PAPER = (f"#0102{i:02x}" for i in range(7))
_NAMES = {INK: "ink", MUTED: "muted", GRID: "line", ACCENT: "accent", SECOND: "second", WARN: "warn", PAPER: "paper"}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gate",
    "text.parse_math": False,
    "font.size": 11.0,
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.unicode_minus": False,
}
_SIZE = (6.0, 4.4)
"""Inches of 72 units."""


def reliability(bins: Sequence[Bin], description: str) -> Html:
    """Confidence against the share of right answers, with the number of answers in each bin below."""
    held = [b for b in bins if b.n and b.confidence is not None and b.accuracy.value is not None]

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        above.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, dashes=(4, 3))
        for b in held:
            above.plot([b.confidence] * 2, [b.accuracy.low, b.accuracy.high], color=ACCENT, linewidth=1.6, alpha=0.55)
        points = [[b.confidence for b in held], [b.accuracy.value for b in held]]
        above.plot(*points, "o", color=ACCENT, markersize=7, markeredgecolor=PAPER, markeredgewidth=1.2)
        _shares(above, "y")
        above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share right")
        below.bar([(b.low + b.high) / 2 for b in bins], [b.n for b in bins], width=0.09, color=ACCENT, alpha=0.35)
        largest = max(b.n for b in bins)
        for b in bins:
            below.text((b.low + b.high) / 2, b.n + 0.06 * largest, f"{b.n:,}", ha="center", va="bottom", fontsize=9)
        _shares(below, "x")
        below.set(xlabel="confidence that the draft is right", ylabel="drafts", ylim=(0, 1.45 * largest), yticks=[])
        below.grid(visible=False)
        below.spines["left"].set_visible(False)

    return _drawn("reliability", "Reliability: confidence against the share of right answers", description, draw)


def risk_coverage(
    curve: Sequence[CurvePoint],
    promise: float,
    here: tuple[float, float, float, float] | None,
    certified: tuple[float, float, float] | None,
    description: str,
) -> Html:
    """The order that confidence makes, the best there could be, the promise, and where the policy stands.

    ``here``: coverage, risk and its two limits; ``certified``: coverage, risk and its upper limit.
    """
    top = min(1.0, 1.2 * max([2 * promise, curve[-1].risk, *(here or ())[1:], *(certified or ())[1:]]))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        x = [point.coverage for point in curve]
        axes.plot(x, [point.oracle for point in curve], color=MUTED, linewidth=1.4, dashes=(2, 2))
        axes.plot(x, [point.risk for point in curve], color=ACCENT, linewidth=2.2)
        axes.plot([0, 1], [promise] * 2, color=WARN, linewidth=1.4, dashes=(6, 3))
        if here:
            axes.plot([here[0]] * 2, here[2:], color=INK, linewidth=1.6)
            axes.plot(*here[:2], "o", color=INK, markersize=8, markeredgecolor=PAPER, markeredgewidth=1.2)
        if certified:
            axes.plot([certified[0]] * 2, certified[1:], color=SECOND, linewidth=1.6)
            axes.plot(certified[0], certified[2], "_", color=SECOND, markersize=12, markeredgewidth=2)
            axes.plot(*certified[:2], "D", color=SECOND, markersize=8, markeredgecolor=PAPER, markeredgewidth=1.2)
        _shares(axes, "x")
        _shares(axes, "y", coarse=top > 0.25)
        axes.set(xlim=(0, 1.01), ylim=(0, top), xlabel="coverage: share of questions answered", ylabel="share wrong")

    return _drawn("risk-coverage", "Risk and coverage", description, draw)


def frontier(points: Sequence[tuple[int, FrontierPoint]], description: str) -> Html:
    """Numbered policies: money for a thousand questions against coverage. All of them have a price."""
    placed = [(number, 1000 * (p.money or 0.0), p) for number, p in points]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        edge = _best([(money, p.coverage) for _, money, p in placed if p.certified])
        if len(edge) > 1:
            axes.step([m for m, _ in edge], [c for _, c in edge], where="post", color=ACCENT, linewidth=1.6, alpha=0.5)
        for _, money, p in placed:
            axes.plot(
                money,
                p.coverage,
                "D" if p.chosen else "o",
                color=SECOND if p.chosen else ACCENT if p.certified else PAPER,
                markeredgecolor=PAPER if p.certified or p.chosen else MUTED,
                markersize=11 if p.chosen else 9,
                markeredgewidth=1.4,
            )
        lowest, highest = min(p.coverage for _, _, p in placed), max(p.coverage for _, _, p in placed)
        largest = max(money for _, money, _ in placed) or 1.0
        room = max(0.1, highest - lowest)
        axes.set(xlim=(0, 1.1 * largest), ylim=(max(0.0, lowest - 0.25 * room), min(1.06, highest + 0.25 * room)))
        for number, left, up in _labels(placed, 1.1 * largest, 1.5 * room):
            axes.annotate(f"{number}", (left, up), textcoords="offset points", xytext=(0, 9), ha="center", fontsize=10)
        _shares(axes, "y")
        axes.set(xlabel="US dollars for 1,000 questions", ylabel="coverage")

    return _drawn("frontier", "Cost against coverage", description, draw)


def _best(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no cheaper one matches: (cost, quality), by cost."""
    kept: list[tuple[float, float]] = []
    for money, coverage in sorted(points, key=lambda p: (p[0], -p[1])):
        if not kept or coverage > kept[-1][1]:
            kept.append((money, coverage))
    return kept


def _labels(
    placed: Sequence[tuple[int, float, FrontierPoint]], width: float, height: float
) -> list[tuple[str, float, float]]:
    """Numbers and where they stand; points that lie on one another share a label."""
    shared: list[tuple[list[int], float, float]] = []
    for number, money, point in placed:
        near = next(
            (s for s in shared if abs(s[1] - money) < 0.035 * width and abs(s[2] - point.coverage) < 0.06 * height),
            None,
        )
        if near:
            near[0].append(number)
        else:
            shared.append(([number], money, point.coverage))
    return [(", ".join(map(str, numbers)), x, y) for numbers, x, y in shared]


def _shares(axes: Axes, which: str, *, coarse: bool = True) -> None:
    """Ticks in per cent."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    shown = "{:.0f} %" if coarse else "{:.3g} %"
    axis.set_major_formatter(lambda value, _: shown.format(100 * value) if value < 1 + 1e-9 else "")


def _drawn(name: str, title: str, description: str, draw: Any) -> Html:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("matplotlib", "tune") from error
    written = io.StringIO()
    # a fresh start, whatever style whoever calls has set
    with rc_context():
        from matplotlib import rcdefaults, rcParams

        rcdefaults()
        rcParams.update(_SETTINGS)
        figure = Figure(figsize=_SIZE, layout="constrained")
        draw(figure)
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(written.getvalue(), name, title, description)


def _inlined(svg: str, name: str, title: str, description: str) -> Html:
    """An SVG file as a part of an HTML page: its own names, the page's colours and letters, and nothing to load."""
    opening = re.search(r"<svg[^>]*>", svg)
    box = re.search(r'viewBox="([^"]*)"', svg)
    if opening is None or box is None:
        raise ValueError("matplotlib wrote no SVG")
    body = svg[opening.end() : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    body = re.sub(r"font(-family)?: ?[^;\"]*'DejaVu Sans'[^;\"]*", _page_font, body)
    for colour, variable in _NAMES.items():
        body = body.replace(colour, f"var(--{variable})")
    labels = element("title", title, id=f"{name}-title"), element("desc", description, id=f"{name}-desc")
    head = f'<svg viewBox="{box[1]}" role="img" aria-labelledby="{name}-title {name}-desc">'
    return Html(f"{head}{''.join(labels)}{body}</svg>")


def _page_font(found: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", found[0])
    return f"font-size: {size[0]}" if size else "font-family: inherit"
