"""Measure routing on recorded answers: what gate's rules cost and keep, beside published ways on the same rows.

    python -m tests.benchmarks.routing.recorded --data DIR    a folder of *.jsonl or *.jsonl.gz (see `tests.benchmarks`)

Every method is chosen on one half of the questions and judged on the other (`frontier`). Two views: the policy that is
cheapest within so many points of the strongest, and APGR, which does not hang on one choice. Intervals are of a
bootstrap over the test questions, 95 %; they say nothing of another choice of halves. Where a folder is absent nothing
is measured, and the tables say so.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tests.benchmarks.quality import markdown
from tests.benchmarks.routing.frontier import Method, Swept, cheapest, compared, pooled
from tests.benchmarks.routing.gates import GATE, gates
from tests.benchmarks.routing.passages import retrieved
from tests.benchmarks.routing.rivals import Answers, rivals
from tests.benchmarks.tuning.cascades import POINTS, Interval, bootstrap
from tests.benchmarks.tuning.rungs import Pairs, Rungs, pairs_of, regimes, rungs_of, sets_with_costs
from tests.benchmarks.tuning.sets import Array

COST, LOST, SAVED = 0.4, 0.5, 0.3
"""The aims: share of the strongest's cost, at so many points; share of retrievals, at no loss."""


@dataclass(frozen=True)
class Chosen:
    points: float
    """That it may lose."""
    policy: str
    over: Interval
    """Accuracy over the strongest's, in points."""
    cost: Interval
    """As a share of the strongest's."""


@dataclass(frozen=True)
class Measured:
    """One method on one set."""

    name: str
    chosen: tuple[Chosen, ...]
    accuracies: tuple[float, ...]
    """At ten budgets."""
    apgr: Interval | None
    """None where the strongest is not the more accurate."""
    gates_lead: Interval | None
    """gate's APGR less this one's."""


@dataclass(frozen=True)
class Ladder:
    name: str
    upstreams: tuple[str, ...]
    accuracies: tuple[float, ...]
    fitted_on: int
    judged_on: int
    listed: bool
    """Whether prices are of a list."""
    gate_is: str
    """Which of its ways did better within the fit half."""
    methods: tuple[Measured, ...]


@dataclass(frozen=True)
class Retrieval:
    name: str
    n: int
    without: float
    always: float
    methods: tuple[Retrieves, ...]


@dataclass(frozen=True)
class Retrieves:
    name: str
    saved: Interval
    over: Interval
    """Accuracy over always retrieving, in points."""
    mean_over_random: float
    """Accuracy over ten budgets of retrievals above drawing lots, in points."""
    gates_lead: Interval
    """gate's mean accuracy over the budgets less this one's, in points."""


@dataclass(frozen=True)
class Recorded:
    ladders: tuple[Ladder, ...] = ()
    retrievals: tuple[Retrieval, ...] = ()
    pooled: Mapping[str, tuple[int, Interval]] = field(default_factory=dict)
    """gate's lead in APGR by method, the mean over sets (random halves alone), and over how many."""
    left_out: tuple[str, ...] = ()
    minutes: float = 0.0


def measured(folder: Path | None) -> Recorded:
    if folder is None or not folder.is_dir():
        return Recorded(left_out=("recorded answers: skipped, there is no folder of them (give one: DATA=folder)",))
    began = time.monotonic()
    ladders: list[Ladder] = []
    retrievals: list[Retrieval] = []
    left_out: list[str] = []
    swept: list[dict[str, Swept]] = []
    for name, rows, alone in sets_with_costs(folder):
        try:
            if len({row.get("model") for row in rows}) > 1 and not alone:
                for found in rungs_of(name, rows):
                    if isinstance(found, str):
                        left_out.append(found)
                    else:
                        ladder, curves = of_ladder(found, left_out)
                        ladders.append(ladder)
                        swept += [curves] if found.name.endswith("halves") else []
            if all(regimes(row) for row in rows):
                pairs = pairs_of(name, rows)
                if isinstance(pairs, str):
                    left_out.append(pairs)
                else:
                    retrievals.append(of_retrieval(pairs))
        except ValueError as error:
            left_out.append(f"{name}: nothing can be learned: {error}")
    minutes = (time.monotonic() - began) / 60
    return Recorded(tuple(ladders), tuple(retrievals), pooled(swept, GATE), tuple(left_out), minutes)


def of_ladder(rungs: Rungs, left_out: list[str]) -> tuple[Ladder, dict[str, Swept]]:
    answers = Answers.of(rungs)
    ends = answers.ends()
    ours = gates(rungs, ends)
    methods = list(ours)
    for one in rivals(rungs):
        if isinstance(one, str):
            left_out.append(one)
        else:
            methods.append(one)
    swept = {method.name: Swept.of(method, ends) for method in methods}
    gap = ends.judged[1].right.mean() > ends.judged[0].right.mean()
    leads = compared(swept, GATE) if gap else {}
    n = len(rungs.test)
    rows = [
        Measured(
            method.name,
            tuple(_chosen(method, ends.strongest, points, answers) for points in POINTS),
            tuple(float(a) for a in swept[method.name].accuracies(np.ones((1, n)))[0]),
            leads[method.name][0] if gap else None,
            leads[method.name][1] if gap else None,
        )
        for method in methods
    ]
    gate_is = next(method.name for method in ours[1:] if method.policies == ours[0].policies)
    right = tuple(float(one.mean()) for one in answers.right[:, rungs.test])
    made = Ladder(rungs.name, rungs.ladder, right, len(rungs.fit), n, rungs.listed, gate_is, tuple(rows))
    return made, swept if gap else {}


def _chosen(method: Method, strongest: float, points: float, answers: Answers) -> Chosen:
    """Where nothing keeps within the points on the fit half, the strongest is asked."""
    policy = cheapest(method.policies, strongest - points / 100)
    best = answers.alone(len(answers.right) - 1, answers.test)
    got = best if policy is None else policy.judged()
    return Chosen(
        points,
        "the strongest, for nothing else will do" if policy is None else policy.said,
        bootstrap(lambda rows: 100 * float((got.right - best.right)[rows].mean()), len(best.right)),
        bootstrap(lambda rows: float(got.cost[rows].sum() / best.cost[rows].sum()), len(best.right)),
    )


def of_retrieval(pairs: Pairs) -> Retrieval:
    found, n = retrieved(pairs), len(pairs.without)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), 1000).astype(np.float64)
    one = np.ones((1, n))

    def mean(name: str, counts: Array) -> Array:
        return np.asarray(100 * found[name].swept.accuracies(counts).mean(1))

    level = float(mean("random", one)[0])
    rows = []
    for name, each in found.items():
        lead = mean(GATE, drawn) - mean(name, drawn)
        low, high = np.quantile(lead, [0.025, 0.975])
        value = float((mean(GATE, one) - mean(name, one))[0])
        kept, gain = 1 - each.chosen.cost, 100 * (each.chosen.right - pairs.with_)
        rows.append(
            Retrieves(
                name,
                _mean(kept),
                _mean(gain),
                float(mean(name, one)[0]) - level,
                Interval(value, float(low), float(high)),
            )
        )
    return Retrieval(pairs.name, n, float(pairs.without.mean()), float(pairs.with_.mean()), tuple(rows))


def _mean(column: Array) -> Interval:
    return bootstrap(lambda places: float(column[places].mean()), len(column))


# --- tables ------------------------------------------------------------------------------------------------------


def _interval(one: Interval | None, digits: int = 3) -> str:
    return "-" if one is None else f"{one.value:+.{digits}f} ({one.low:+.{digits}f} to {one.high:+.{digits}f})"


def page(found: Recorded) -> str:
    parts = [f"### Recorded answers ({found.minutes:.1f} min)\n"]
    if found.ladders:
        parts += [_chosen_table(found.ladders), _apgr_table(found.ladders), _pooled_table(found)]
    if found.retrievals:
        parts.append(_retrieval_table(found.retrievals))
    parts.append("Left out:\n\n" + "".join(f"- {reason}\n" for reason in found.left_out))
    return "\n".join(parts)


def _chosen_table(ladders: Sequence[Ladder]) -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for ladder in ladders:
            for one in ladder.methods:
                cells = [f"{c.over.value:+.2f} at {c.cost.value:.0%}" for c in one.chosen]
                half = next(c for c in one.chosen if c.points == LOST)
                sure = f"{half.over.low:+.1f} to {half.over.high:+.1f}, {half.cost.low:.0%} to {half.cost.high:.0%}"
                name = one.name + (f" = {ladder.gate_is.removeprefix('gate, ')}" if one.name == GATE else "")
                yield (f"{ladder.name}{' (L)' if ladder.listed else ''}", name, *cells, sure)

    half = [
        (ladder.name, next(c for c in one.chosen if c.points == LOST))
        for ladder in ladders
        for one in ladder.methods
        if one.name == GATE
    ]
    good = [name for name, c in half if c.cost.value <= COST and c.over.value >= -LOST]
    head = ("set", "method", *(f"may lose {points}" for points in POINTS), f"95 % at {LOST}")
    return (
        "Cheapest within so many points on the fit half; on the test half, points over always asking the strongest at "
        "a share of its cost. (L): prices of a list.\n\n"
        + markdown(head, list(rows()))
        + f"\nAim: at most {COST:.0%} of the cost within {LOST} points. gate: {len(good)} of {len(half)} sets"
        + (f" ({'; '.join(good)}).\n" if good else ".\n")
    )


def _apgr_table(ladders: Sequence[Ladder]) -> str:
    rows = [
        (ladder.name, one.name, _interval(one.apgr), "-" if one.name == GATE else _interval(one.gates_lead))
        for ladder in ladders
        for one in ladder.methods
    ]
    return "Mean performance gap recovered over ten budgets:\n\n" + markdown(
        ("set", "method", "APGR (95 %)", "gate leads by (95 %)"), rows
    )


def _pooled_table(found: Recorded) -> str:
    rows = [(name, str(count), _interval(lead)) for name, (count, lead) in found.pooled.items() if name != GATE]
    return "gate's lead in APGR, mean over the sets that have the method (halves alone):\n\n" + markdown(
        ("method", "sets", "gate leads by (95 %)"), rows
    )


def _retrieval_table(found: Sequence[Retrieval]) -> str:
    rows = [
        (
            one.name,
            f"{one.n}: {one.without:.3f}, {one.always:.3f}",
            each.name,
            f"{each.saved.value:.0%}",
            _interval(each.over, 1),
            f"{each.mean_over_random:+.2f}",
            "-" if each.name == GATE else _interval(each.gates_lead, 2),
        )
        for one in found
        for each in one.methods
    ]
    good = [one.name for one in found if one.methods[0].saved.value >= SAVED and one.methods[0].over.value >= 0]
    head = (
        "set", "n: never, always", "method", "saved", "points over always (95 %)", "mean over budgets, over random",
        "gate leads by (95 %)",
    )  # fmt: skip
    return (
        "Retrievals saved by the policy that saved most and lost nothing on four fifths, on the fifth:\n\n"
        + markdown(head, rows)
        + f"\nAim: {SAVED:.0%} fewer at no loss. gate: {len(good)} of {len(found)} sets"
        + (f" ({'; '.join(good)}).\n" if good else ".\n")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of recorded answers")
    parser.add_argument("--json", type=Path, help="write what was measured here too")
    given = parser.parse_args()
    found = measured(given.data)
    print(page(found))
    if given.json:
        given.json.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
