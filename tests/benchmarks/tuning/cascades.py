"""What escalating and retrieving only where it is needed costs, and what it keeps, on answers of several upstreams.

The same questions, answered by several models at known prices, make a table of one closed-book stage each. Half of the
questions (or the source's own training part) teach calibrators and choose the policy: of all ladders and thresholds the
cheapest whose accuracy is within so many points of always asking the strongest. The other half judges it. The last of a
ladder always answers. Intervals are of a bootstrap over questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gate.tuning.fitting import Fitted, confidences, fit_table
from gate.tuning.search import Option, Prices, Structure, best, structures
from gate.tuning.table import Table
from gate.tuning.walk import Terrain, Walked, walk
from tests.benchmarks.quality import BOUNDS
from tests.benchmarks.recorded import Row
from tests.benchmarks.tuning.rungs import Rungs, pairs_of, regimes, rungs_of, sets_with_costs
from tests.benchmarks.tuning.sets import Array, Bools, Places, closed_book

POINTS = (0.0, 0.5, 1.0)
"""Points of accuracy that may be lost against the strongest."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """A policy chosen on the fit split, judged on the test split."""

    points: float
    """That it may lose."""
    ladder: tuple[str, ...]
    accuracy: float
    over_strongest: Interval
    """Accuracy, in points."""
    cost: Interval
    """As a share of always asking the strongest."""
    at_random: float
    """Accuracy when as many questions, drawn at random, end with each upstream: it costs as much."""


@dataclass(frozen=True)
class Cascade:
    name: str
    upstreams: tuple[str, ...]
    """By price."""
    accuracies: tuple[float, ...]
    prices: tuple[float, ...]
    """A question, as a share of the strongest's."""
    listed: bool
    """Whether prices are of a list, for the recording has none."""
    fitted_on: int
    judged_on: int
    points: tuple[Point, ...]
    oracle: tuple[float, float]
    """Accuracy, and cost as a share, of asking the cheapest that is right, and the cheapest where none is."""


@dataclass(frozen=True)
class Retrieval:
    """Each question by what was learned and chosen on the four fifths that lack it."""

    name: str
    n: int
    without: float
    """Accuracy without passages; ``always`` with, ``policy`` where the policy wants them."""
    always: float
    policy: float
    over_always: Interval
    """Accuracy, in points."""
    saved: Interval
    """Share of retrievals."""
    at_random: float
    """What skipping as many at random does to accuracy, in points."""
    best_of_both: float
    router: tuple[float, float] | None
    """Saved, and points over always, of the router that the recording holds (Adaptive-RAG's classifier)."""


# --- several upstreams -------------------------------------------------------------------------------------------


def costs_of(folder: Path) -> list[Cascade | Retrieval | str]:
    """All that a folder's rows allow, with a word on what they do not."""
    return list(_costs_of(folder))


def _costs_of(folder: Path) -> Iterator[Cascade | Retrieval | str]:
    for name, rows, alone in sets_with_costs(folder):
        try:
            if len({row.get("model") for row in rows}) > 1 and not alone:
                for found in rungs_of(name, rows):
                    yield found if isinstance(found, str) else _judged(found)
            if all(regimes(row) for row in rows):
                yield _retrieval(name, rows)
        except ValueError as error:
            yield f"{name}: nothing can be learned: {error}"


# --- choosing ----------------------------------------------------------------------------------------------------


def fitted_on(table: Table, fit: Places) -> Fitted:
    return fit_table(table.where(fit), bounds_of(table))


def bounds_of(table: Table) -> dict[str, tuple[float, float]]:
    return {name: BOUNDS.get(name, (-np.inf, np.inf)) for name in table.signals}


def terrains(table: Table, fit: Places, test: Places, fitted: Fitted) -> tuple[Terrain, Terrain]:
    """For choosing, with confidences that had not seen the question, and for judging."""
    judged = confidences(fitted.stages, table.where(test))
    ladder = list(dict.fromkeys(column.stage.upstream for column in table.stages.values()))

    def of(some: Table, known: Mapping[str, tuple[Array, Bools]]) -> Terrain:
        # who comes last answers, however strange the question
        return Terrain.of(some, {key: (p, np.zeros_like(strange)) for key, (p, strange) in known.items()}, ladder, 1)

    return of(table.where(fit), fitted.unseen), of(table.where(test), judged)


def options(terrain: Terrain, shapes: Sequence[Structure], dearest: float) -> list[Option]:
    """The best of every shape at every price of a wrong answer, from a tenth of the dearest answer to ten thousand."""
    # no question is dear enough to be left open rather than answered by the last
    prices = [Prices(float(w), 100 * float(w + dearest)) for w in dearest * np.geomspace(0.1, 1e4, 41)]
    return [
        option for shape in shapes for price in prices if (option := best(terrain, shape, price)).coverage > 1 - 1e-9
    ]


def _judged(rungs: Rungs) -> Cascade:
    ladder, table, fit, test = rungs.ladder, rungs.table, rungs.fit, rungs.test
    choosing, judging = terrains(table, fit, test, fitted_on(table, fit))
    right, money = labels_and_money(table)
    dear, strongest = float(money[-1].mean()), float(right[-1][fit].mean())
    shapes = list(structures([f"m{i}" for i in range(len(ladder))], retrieve=False, escalate=True))
    found = options(choosing, shapes, dear)
    points = []
    for lost in POINTS:
        good = [option for option in found if 1 - option.risk >= strongest - lost / 100 - 1e-9]
        chosen = min(good, key=lambda option: option.money, default=None)
        if chosen is not None:
            walked = walk(replace(judging, ladder=chosen.structure.ladder), chosen.rule)
            points.append(_point(lost, chosen, walked, right[:, test], money[:, test], ladder))
    cheapest = np.argmax(np.vstack([right[:, test] > 0, np.ones((1, len(test)), np.bool_)]), axis=0)
    asked = np.where(cheapest < len(ladder), cheapest, 0)
    spent = float(money[asked, test].mean() / money[-1][test].mean())
    return Cascade(
        rungs.name,
        ladder,
        tuple(float(r[test].mean()) for r in right),
        tuple(float(m[test].mean() / money[-1][test].mean()) for m in money),
        rungs.listed,
        len(fit),
        len(test),
        tuple(points),
        (float(right[:, test].max(0).mean()), spent),
    )


def labels_and_money(table: Table) -> tuple[Array, Array]:
    """Who was right, and what each answer cost in US dollars, [upstreams, n] each."""
    columns = list(table.stages.values())
    return np.array([column.correct for column in columns]), np.array([column.costs["money"] for column in columns])


def _point(lost: float, chosen: Option, walked: Walked, right: Array, money: Array, ladder: Sequence[str]) -> Point:
    got, spent = (walked.correct == 1.0).astype(np.float64), walked.costs["money"]
    ended = [walked.stages[i].split("/")[0] for i in walked.stage]
    shares = {name: ended.count(name) / len(ended) for name in set(ended)}
    return Point(
        lost,
        tuple(ladder[int(name[1:])] for name in chosen.structure.ladder),
        float(got.mean()),
        bootstrap(lambda rows: 100 * float((got - right[-1])[rows].mean()), len(got)),
        bootstrap(lambda rows: float(spent[rows].sum() / money[-1][rows].sum()), len(got)),
        sum(share * float(right[int(name[1:])].mean()) for name, share in shares.items()),
    )


def bootstrap(of: Callable[[Places], float], n: int) -> Interval:
    """95 %, by resampling questions."""
    rng = np.random.default_rng(0)
    drawn = [of(rng.integers(0, n, n)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(of(np.arange(n)), float(low), float(high))


# --- passages ----------------------------------------------------------------------------------------------------


def _retrieval(name: str, rows: Sequence[Row]) -> Retrieval | str:
    pairs = pairs_of(name, rows)
    if isinstance(pairs, str):
        return pairs
    without, with_ = pairs.without, pairs.with_
    fold = np.random.default_rng(0).permutation(len(without)) % 5
    skipped = np.zeros(len(without), np.bool_)
    for held in range(5):
        fit, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        values, names = pairs.signals(fit, test)
        skipped[test] = _skipped(closed_book(["m"], names, [values], [without > 0]), with_, fit, test)
    gain, share = np.where(skipped, without - with_, 0.0), float(skipped.mean())
    none = np.array([said["option"] == "A" for said in pairs.router or ()])
    return Retrieval(
        pairs.name,
        len(without),
        float(without.mean()),
        float(with_.mean()),
        float(np.where(skipped, without, with_).mean()),
        bootstrap(lambda rows: 100 * float(gain[rows].mean()), len(without)),
        bootstrap(lambda rows: float(skipped[rows].mean()), len(without)),
        100 * share * float((without - with_).mean()),
        float(np.maximum(without, with_).mean()),
        (float(none.mean()), 100 * float(np.where(none, without - with_, 0).mean())) if len(none) else None,
    )


def _skipped(table: Table, with_: Array, fit: Places, test: Places) -> Bools:
    """Of the test questions, those answered closed book: by the threshold of fewest retrievals that lost nothing.

    A single threshold needs no search by prices, which finds corners alone: every one is tried.
    """
    choosing, judging = terrains(table, fit, test, fitted_on(table, fit))
    p, unseen = choosing.rounds["m", False][0], judging.rounds["m", False][0]
    gain = p.column.correct - with_[fit]
    order = np.argsort(-p.p, kind="stable")
    lost = np.cumsum(gain[order])
    good = np.flatnonzero(lost >= -1e-9)
    threshold = p.p[order[good[-1]]] if len(good) else np.inf
    return np.asarray(unseen.p >= threshold)
