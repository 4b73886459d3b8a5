"""What escalating and retrieving only where it is needed costs, and what it keeps, on answers of several upstreams.

The same questions, answered by several models at known prices, make a table of one closed-book stage each. Half of the
questions (or the source's own training part) teach calibrators and choose the policy: of all ladders and thresholds the
cheapest whose accuracy is within so many points of always asking the strongest. The other half judges it. The last of a
ladder always answers. Intervals are of a bootstrap over questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gate.tuning.fitting import confidences, fit_table
from gate.tuning.search import Option, Prices, Structure, best, structures
from gate.tuning.table import Table
from gate.tuning.walk import Terrain, Walked, walk
from gate.types import Stage
from tests.benchmarks.learned_from_text import LEARNED, learn
from tests.benchmarks.quality import BOUNDS, matrix, usable
from tests.benchmarks.recorded import Answered, Group, Row, question_of, rows_of
from tests.benchmarks.tuning.sets import NAMES, Array, Bools, Floats, Places, closed_book

LIST_PRICES: Mapping[str, tuple[float, float]] = {
    "llama2-13b": (0.225, 0.225),
    "gpt-3.5-turbo": (1.5, 2.0),
    "gpt-4": (30.0, 60.0),
    "gpt-4-1106-preview": (10.0, 30.0),
    "mixtral-8x7b-instruct-v0.1": (0.24, 0.24),
}
"""US dollars a million tokens, in and out, as listed when the answers were recorded: for recordings without a price."""
CHARACTERS_A_TOKEN = 4
FEWEST = 200
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
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        file = path.name.split(".")[0]
        rows = [row for row in rows_of(path) if isinstance(row.get("correct"), bool) and row.get("answer")]
        by_set: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            by_set[str(row.get("dataset") or file), str(_extra(row).get("label_source") or "")].append(row)
        for (dataset, _), some in sorted(by_set.items()):
            yield from _costs(f"{file} / {dataset}", some)
        kinds = {label for _, label in by_set}
        if len(by_set) > len(kinds) == 1 and all(_regimes(row) for row in rows):
            yield from _costs(f"{file} / all", rows, alone=True)


def _costs(name: str, rows: Sequence[Row], *, alone: bool = False) -> Iterator[Cascade | Retrieval | str]:
    """Of answers whose labels were made in one way; ``alone``: of retrieval only."""
    try:
        if len({row.get("model") for row in rows}) > 1 and not alone:
            yield from _cascades(name, rows)
        if all(_regimes(row) for row in rows):
            yield _retrieval(name, rows)
    except ValueError as error:
        yield f"{name}: nothing can be learned: {error}"


def _cascades(name: str, rows: Sequence[Row]) -> Iterator[Cascade | str]:
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if price_of(row) is not None:
            by_model[str(row["model"])].append(row)
    if len(by_model) < 2:
        yield f"{name}: several models, but their answers have no price"
        return
    each = {model: _one_way(some) for model, some in by_model.items()}
    shared = sorted(set.intersection(*(set(way) for way in each.values())))
    if len(shared) < FEWEST:
        yield f"{name}: {len(shared)} questions that all models answered, fewer than {FEWEST}"
        return
    mean = {model: float(np.mean([price_of(way[q]) for q in shared])) for model, way in each.items()}
    ladder = sorted(mean, key=mean.__getitem__)
    picked = [[each[model][question] for question in shared] for model in ladder]
    money = [np.array([price_of(row) for row in some], dtype=np.float64) for some in picked]
    listed = "cost_usd" not in _extra(rows[0])
    for said, fit, test in _splits(picked[0]):
        table = _table(name, ladder, picked, money, fit, test)
        yield _judged(name + said, ladder, table, fit, test, listed=listed)


def price_of(row: Row) -> float | None:
    """US dollars of one answer with all its samples: as recorded, else by the list; None where neither knows."""
    extra = _extra(row)
    if isinstance(extra.get("cost_usd"), int | float):
        return float(extra["cost_usd"])
    listed = LIST_PRICES.get(str(row.get("model")).rpartition("/")[2].lower())
    if listed is None:
        return None
    written = str(extra.get("first_generation") or row.get("answer") or "")
    into, out = len(str(row.get("question") or "")), len(written) * max(1, len(row.get("samples") or ()))
    return (into * listed[0] + out * listed[1]) / CHARACTERS_A_TOKEN / 1e6


def _one_way(rows: Sequence[Row]) -> dict[str, Row]:
    """A row for each question, all asked in one way: the one of most questions, then of most samples."""
    ways: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        ways[str(_extra(row).get("prompt") or "")].setdefault(question_of(row), row)

    def rank(way: Mapping[str, Row]) -> tuple[int, float]:
        return len(way), float(np.mean([len(row.get("samples") or ()) for row in way.values()]))

    return max(ways.values(), key=rank)


def _extra(row: Row) -> Row:
    extra = row.get("extra")
    return extra if isinstance(extra, dict) else {}


def _splits(rows: Sequence[Row]) -> Iterator[tuple[str, Places, Places]]:
    """The source's own training and test part where there is one, and halves drawn at random."""
    own = np.array([str(_extra(row).get("split")) for row in rows])
    if set(own) == {"train", "test"}:
        yield ", own split", np.flatnonzero(own == "train"), np.flatnonzero(own == "test")
    order = np.random.default_rng(0).permutation(len(rows))
    yield ", halves", np.sort(order[: len(rows) // 2]), np.sort(order[len(rows) // 2 :])


def _table(
    name: str, ladder: Sequence[str], picked: Sequence[Sequence[Row]], money: Sequence[Array], fit: Places, test: Places
) -> Table:
    answers = [
        Group(f"{name} {model}", name, tuple(some)).read().answers for model, some in zip(ladder, picked, strict=True)
    ]
    values, names = signals(answers, fit, test)
    right = [np.array([answer.correct for answer in some]) for some in answers]
    return closed_book([f"m{i}" for i in range(len(ladder))], names, values, right, money)


def signals(
    answers: Sequence[Sequence[Answered]], fit: Places, test: Places, more: Mapping[str, Array] | None = None
) -> tuple[list[Floats], list[str]]:
    """For each upstream [n, k]: what is recorded, and what the texts of the fit split teach."""
    made = []
    for some in answers:
        taught = np.full((len(some), len(LEARNED)), np.nan)
        taught[fit], taught[test] = learn([some[i] for i in fit], [some[i] for i in test])
        made.append(np.hstack([matrix(some, NAMES), taught, *((more or {}).values())]))
    names = [*NAMES, *LEARNED, *(more or {})]
    kept = np.any([usable(values[fit]) for values in made], axis=0)
    return [v[:, kept].astype(np.float32) for v in made], [n for n, k in zip(names, kept, strict=True) if k]


# --- choosing ----------------------------------------------------------------------------------------------------


def _terrains(table: Table, fit: Places, test: Places) -> tuple[Terrain, Terrain]:
    """For choosing, with confidences that had not seen the question, and for judging."""
    bounds = {name: BOUNDS.get(name, (-np.inf, np.inf)) for name in table.signals}
    fitted = fit_table(table.where(fit), bounds)
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


def _judged(name: str, ladder: Sequence[str], table: Table, fit: Places, test: Places, *, listed: bool) -> Cascade:
    choosing, judging = _terrains(table, fit, test)
    columns = [table.stages[Stage(f"m{i}").key] for i in range(len(ladder))]
    right = np.array([column.correct for column in columns])
    money = np.array([column.costs["money"] for column in columns])
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
        name,
        tuple(ladder),
        tuple(float(r[test].mean()) for r in right),
        tuple(float(m[test].mean() / money[-1][test].mean()) for m in money),
        listed,
        len(fit),
        len(test),
        tuple(points),
        (float(right[:, test].max(0).mean()), spent),
    )


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


def _regimes(row: Row) -> tuple[Row, Row] | None:
    """What was answered without passages and with, each with its label."""
    regimes = _extra(row).get("regimes")
    if not isinstance(regimes, dict):
        return None
    without, with_ = (regimes.get(name) for name in ("no_retrieval", "one_retrieval"))
    labelled = all(isinstance(one, dict) and one.get("inacc") in (0, 1) for one in (without, with_))
    return (without, with_) if labelled else None  # type: ignore[return-value]


def _closed(row: Row) -> Row:
    """The row without what only a retrieval could tell, and with the other closed-book answer where there is one."""
    extra = {name: value for name, value in _extra(row).items() if name not in ("regimes", "second_model_answer")}
    other = _direct(row).get("answer")
    return {**row, "extra": extra | ({"second_model_answer": other} if isinstance(other, str) else {})}


def _direct(row: Row) -> Row:
    """What the recording holds of a closed-book answer in white box; empty without."""
    found = _extra(row).get("seakr_direct")
    return found if isinstance(found, dict) else {}


def _numbers(rows: Sequence[Row]) -> dict[str, Array]:
    """Numbers that a recording keeps of the closed-book answer and gate has no signal for, each both ways round."""
    names = ("perplexity", "ln_entropy", "energy_score", "eigen_score")
    found = {name: np.array([[_direct(row).get(name, np.nan)] for row in rows], dtype=np.float64) for name in names}
    return {f"{sign}{name}": factor * found[name] for name in names for sign, factor in (("", 1), ("-", -1))}


def _retrieval(name: str, rows: Sequence[Row]) -> Retrieval | str:
    one = {question_of(row): row for row in rows}
    told = [row for row in one.values() if _direct(row)]
    rows = told if len(told) >= FEWEST else list(one.values())
    if len(rows) < FEWEST:
        return f"{name}: {len(rows)} questions, fewer than {FEWEST}"
    pairs = [_regimes(row) for row in rows]
    without, with_ = (np.array([pair[side]["inacc"] for pair in pairs if pair], dtype=np.float64) for side in (0, 1))
    answers = Group(name, name, tuple(_closed(row) for row in rows)).read().answers
    fold = np.random.default_rng(0).permutation(len(rows)) % 5
    skipped = np.zeros(len(rows), np.bool_)
    for held in range(5):
        fit, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        values, names = signals([answers], fit, test, _numbers(rows))
        skipped[test] = _skipped(closed_book(["m"], names, values, [without > 0]), with_, fit, test)
    gain, share = np.where(skipped, without - with_, 0.0), float(skipped.mean())
    option = [_extra(row).get("adaptive_rag_classifier", {}).get("option") for row in rows]
    none = np.array([one == "A" for one in option])
    return Retrieval(
        f"{name}{' (those with white-box numbers)' if rows is told else ''}",
        len(rows),
        float(without.mean()),
        float(with_.mean()),
        float(np.where(skipped, without, with_).mean()),
        bootstrap(lambda rows: 100 * float(gain[rows].mean()), len(rows)),
        bootstrap(lambda rows: float(skipped[rows].mean()), len(rows)),
        100 * share * float((without - with_).mean()),
        float(np.maximum(without, with_).mean()),
        (float(none.mean()), 100 * float(np.where(none, without - with_, 0).mean())) if all(option) else None,
    )


def _skipped(table: Table, with_: Array, fit: Places, test: Places) -> Bools:
    """Of the test questions, those answered closed book: by the threshold of fewest retrievals that lost nothing.

    A single threshold needs no search by prices, which finds corners alone: every one is tried.
    """
    choosing, judging = _terrains(table, fit, test)
    p, unseen = choosing.rounds["m", False][0], judging.rounds["m", False][0]
    gain = p.column.correct - with_[fit]
    order = np.argsort(-p.p, kind="stable")
    lost = np.cumsum(gain[order])
    good = np.flatnonzero(lost >= -1e-9)
    threshold = p.p[order[good[-1]]] if len(good) else np.inf
    return np.asarray(unseen.p >= threshold)
