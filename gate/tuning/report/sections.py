"""The sections of a report, each from what it shows to HTML. What is missing is said in words, never drawn empty."""

from __future__ import annotations

from collections.abc import Iterator

from gate.tuning.estimates import Estimate
from gate.tuning.evaluate import FEWEST, Evaluation, SegmentRow
from gate.tuning.report.contents import Report
from gate.tuning.report.figures import frontier, reliability, risk_coverage
from gate.tuning.report.markup import Html, bar, beside, element, figure, folded, joined, legend, table, theirs, words
from gate.tuning.report.wording import (
    UNKNOWN,
    at_most,
    count,
    counted,
    interval,
    number,
    number_interval,
    percent,
    promised,
    spent,
)

_COST_NAMES = {"calls": "model calls", "tokens": "tokens", "seconds": "time", "money": "money"}


def tiles(report: Report) -> Html:
    """The numbers that matter most."""
    found = report.evaluation
    by_kind = {row.kind: row for row in found.costs}
    priced = bool(by_kind["money"].mean)
    cost, of = by_kind["money" if priced else "calls"], 1000 if priced else 1
    shown = [
        ("coverage", percent(found.coverage.value), f"{count(found.answered)} of {count(found.n)} answered"),
        ("wrong among the answers", percent(found.risk.value), f"limit {at_most(found.bound)}"),
        (
            "wrong without gate",
            percent(None if found.without_gate.value is None else 1 - found.without_gate.value),
            "first drafts, all let through",
        ),
        ("right answers kept", percent(found.right_kept.value), _held_back(found)),
        (
            "for 1,000 questions" if priced else "model calls for one question",
            _times(of, cost.mean, cost.kind),
            "none was answered rightly"
            if found.right_of_all.value == 0
            else f"{_times(of, cost.per_right, cost.kind)} for {'as many right answers' if priced else 'a right one'}",
        ),
    ]
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", name),
                element("dd", value, class_="value"),
                element("dd", detail, class_="detail"),
            )
            for name, value, detail in shown
        ),
        class_="tiles",
    )


def _times(questions: int, each: float | None, kind: str) -> str:
    return spent(kind, None if each is None else questions * each)


def _held_back(found: Evaluation) -> str:
    return f"{count(found.right_lost)} held back" if found.right_kept.n else "no draft is known to be right"


def calibration(report: Report) -> Iterator[Html]:
    found = report.evaluation
    n = sum(b.n for b in found.reliability)
    if not n:
        yield words("There are no labelled answers with a confidence, so nothing shows whether it means what it says.")
        return
    yield words(
        "If confidence means what it says, the points lie on the diagonal: of answers at 0.9, 90\u00a0% are right."
    )
    rows = [
        ("ranking (AUROC)", number(found.auroc.value), number_interval(found.auroc)),
        ("calibration error (ECE, 10 bins)", number(found.ece.value), number_interval(found.ece)),
        ("squared error (Brier)", number(found.brier.value), number_interval(found.brier)),
        ("area under risk-coverage (AURC)", number(found.aurc.value), number_interval(found.aurc)),
        ("… above the best order (E-AURC)", number(found.excess_aurc.value), number_interval(found.excess_aurc)),
    ]
    drawn = reliability(found.reliability, _reliability_in_words(report))
    keys = legend(("dot accent", f"share right, {promised(found.confidence)} interval"), ("diagonal", "as stated"))
    caption = f"Of {counted(n, 'labelled draft')}. AUROC: 1 ranks perfectly, 0.5 not at all. The others: 0 is best."
    if found.auroc.value is None:
        caption += " Ranking takes both right and wrong drafts; there is one kind here."
    yield beside(
        figure(drawn, keys, "Numbers below: drafts in each bin."),
        table(caption, ("", "value", f"{promised(found.confidence)} interval"), rows),
    )
    bins = [
        (
            f"{b.low:.1f} to {b.high:.1f}",
            count(b.n),
            number(b.confidence) if b.n else "none",
            percent(b.accuracy.value) if b.n else "none",
            interval(b.accuracy) if b.n else "none",
        )
        for b in found.reliability
    ]
    heads = ("confidence", "drafts", "mean confidence", "share right", "interval")
    yield folded("The numbers of the drawing", table("Drafts by confidence.", heads, bins))


def _reliability_in_words(report: Report) -> str:
    parts = [
        f"{b.low:.1f} to {b.high:.1f}: {counted(b.n, 'draft')}, {percent(b.accuracy.value)} right"
        for b in report.evaluation.reliability
        if b.n
    ]
    return "Share of right drafts by confidence. " + "; ".join(parts) + "."


def trade_off(report: Report) -> Iterator[Html]:
    found, promise, held = report.evaluation, report.promise, report.certificate
    if not found.curve:
        yield words("There are no labelled answers with a confidence, so there is no curve of risk against coverage.")
        return
    here = _here(found.coverage, found.risk)
    certified = (held.answered / held.n, held.errors / held.answered, held.bound) if held and held.answered else None
    yield words(
        "Letting more answers through lets more wrong ones through. The line shows that trade for this confidence; the "
        "left end rests on few answers and jumps."
    )
    rows = [("promised", "", "", promised(promise.max_error))]
    if here:
        rows.append(("these questions", percent(here[0]), percent(here[1]), at_most(found.bound)))
    if held and certified:
        rows.append(("certificate", percent(certified[0]), percent(certified[1]), at_most(held.bound)))
    rows.append(("all answered", percent(1.0), percent(found.curve[-1].risk), ""))
    described = (f"{name}: coverage {c or 'any'}, wrong {r or 'any'}, limit {b or 'none'}" for name, c, r, b in rows)
    description = "; ".join(described) + "."
    keys = [("line", "this confidence"), ("dotted", "best order there could be"), ("dashed", "promise")]
    keys += [("dot", "policy, these questions")] if here else []
    keys += [("diamond", "certified, with its limit")] if certified else []
    drawn = risk_coverage(found.curve, promise.max_error, here, certified, description)
    caption = "Where the policy stands. It may lie off the line: stages have thresholds of their own."
    yield beside(figure(drawn, legend(*keys)), table(caption, ("", "coverage", "wrong", "limit"), rows))


def _here(coverage: Estimate, risk: Estimate) -> tuple[float, float, float, float] | None:
    if coverage.value is None or risk.value is None or risk.low is None or risk.high is None:
        return None
    return coverage.value, risk.value, risk.low, risk.high


def cost_and_quality(report: Report) -> Iterator[Html]:
    points = list(enumerate(report.frontier, 1))
    if not points:
        yield words("No other policies were tried, so there is nothing to compare this one with.")
        return
    heads = ("policy", "per 1,000 questions", "coverage", "wrong", "promise")
    rows = [
        (
            element("span", f"{i}. ", theirs(p.label, 80), element("b", " (chosen)") if p.chosen else ""),
            UNKNOWN if p.money is None else spent("money", 1000 * p.money),
            percent(p.coverage),
            percent(p.risk) if p.risk is not None else "nothing let through",
            "certified" if p.certified else "not certified",
        )
        for i, p in points
    ]
    listed = table("Policies that were tried, numbered as in the drawing.", heads, rows)
    priced = [(i, p) for i, p in points if p.money is not None]
    if not any(p.money for _, p in priced):
        yield words("No prices are set, so costs in money are not known and not drawn.")
        yield listed
        return
    if len(priced) < len(points):
        yield words("Policies without a known price are in the table alone.")
    yield words("Up and to the left is better: more questions answered for less money.")
    description = f"{counted(len(priced), 'policy', 'policies')} by cost and coverage; the table below has the numbers."
    keys = [("diamond", "chosen"), ("dot accent", "certified"), ("ring", "not certified"), ("line", "best certified")]
    yield figure(frontier(priced, description), legend(*keys), kind="alone")
    yield listed


def segments(report: Report) -> Iterator[Html]:
    rows = report.evaluation.segments
    if [r.segment for r in rows] == [""]:
        yield words("The questions are not divided into segments.")
        return
    heads = ("segment", "questions", "labelled", "coverage", "wrong", "interval", "limit")
    caption = (
        f"Each part of the traffic by itself. A limit above {promised(report.promise.max_error)} is no breach yet: "
        "small parts have high limits, and the promise is of the whole."
    )
    yield table(caption, heads, [_segment(r) for r in rows])
    for row in rows:
        if not row.labelled:
            yield words(joined(("There are no labels in segment ", theirs(_segment_name(row), 80), ".")))


def _segment(row: SegmentRow) -> tuple[str, ...]:
    start = (theirs(_segment_name(row), 80), count(row.n), count(row.labelled), percent(row.coverage.value))
    if row.too_few:
        return (*start, "no labels" if not row.labelled else f"too few (under {FEWEST})", "", "")
    if row.risk.value is None:
        return (*start, "nothing let through", "", "")
    return (*start, percent(row.risk.value), interval(row.risk), at_most(row.bound))


def _segment_name(row: SegmentRow) -> str:
    return row.segment or "(none)"


def costs(report: Report) -> Iterator[Html]:
    found = report.evaluation
    rows = [
        (
            _COST_NAMES.get(row.kind, row.kind),
            *((spent(row.kind, v)) for v in (row.mean, row.p50, row.p95)),
            "no right answers" if found.right_of_all.value == 0 else spent(row.kind, row.per_right),
        )
        for row in found.costs
    ]
    heads = ("", "mean", "half at most", "95 % at most", "for each right answer")
    yield table("Cost of one question.", heads, rows)
    money = next((row.mean for row in found.costs if row.kind == "money"), None)
    if not money:
        yield words("Money is zero or unknown: the policy sets no prices.")
    actions = [(a.action, count(a.count), bar(a.share, 1.0, percent(a.share))) for a in found.actions]
    yield table("How the questions ended.", ("action", "questions", "share"), actions)
