"""Recorded answers of several upstreams, or with and without passages, as tables that policies can be chosen on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.tuning.table import Table
from tests.benchmarks.learned_from_text import LEARNED, learn
from tests.benchmarks.quality import matrix, usable
from tests.benchmarks.recorded import Answered, Group, Row, question_of, rows_of
from tests.benchmarks.tuning.sets import NAMES, Array, Floats, Places, closed_book

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


def sets_with_costs(folder: Path) -> Iterator[tuple[str, list[Row], bool]]:
    """Name and rows of each set whose labels were made in one way, and whether it is for retrieval alone."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        file = path.name.split(".")[0]
        rows = [row for row in rows_of(path) if isinstance(row.get("correct"), bool) and row.get("answer")]
        by_set: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            by_set[str(row.get("dataset") or file), str(_extra(row).get("label_source") or "")].append(row)
        for (dataset, _), some in sorted(by_set.items()):
            yield f"{file} / {dataset}", some, False
        kinds = {label for _, label in by_set}
        if len(by_set) > len(kinds) == 1 and all(regimes(row) for row in rows):
            yield f"{file} / all", rows, True


@dataclass(frozen=True)
class Rungs:
    """The same questions answered by several upstreams, by price, and how they are split."""

    name: str
    ladder: tuple[str, ...]
    rows: tuple[tuple[Row, ...], ...]
    """For each upstream, [n]."""
    table: Table
    """Stage ``m<i>`` is the i-th of the ladder."""
    fit: Places
    test: Places
    listed: bool
    """See `Cascade`."""


def rungs_of(name: str, rows: Sequence[Row]) -> Iterator[Rungs | str]:
    """One for each way of splitting. Raises ValueError when nothing can be learned."""
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
    ladder = tuple(sorted(mean, key=mean.__getitem__))
    picked = tuple(tuple(each[model][question] for question in shared) for model in ladder)
    money = [np.array([price_of(row) for row in some], dtype=np.float64) for some in picked]
    listed = "cost_usd" not in _extra(rows[0])
    for said, fit, test in _splits(picked[0]):
        table = _table(name, ladder, picked, money, fit, test)
        yield Rungs(name + said, ladder, picked, table, fit, test, listed)


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


def regimes(row: Row) -> tuple[Row, Row] | None:
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


@dataclass(frozen=True)
class Pairs:
    """Questions answered without passages and with."""

    name: str
    rows: tuple[Row, ...]
    without: Array
    """Whether the answer from memory is right, [n]; ``with_`` the answer with passages."""
    with_: Array
    answers: tuple[Answered, ...]
    """Those from memory, as gate reads them."""

    @property
    def router(self) -> list[Row] | None:
        """What Adaptive-RAG's classifier said of each, where the recording has it."""
        said = [_extra(row).get("adaptive_rag_classifier") for row in self.rows]
        told = [one for one in said if isinstance(one, dict) and one.get("option")]
        return told if len(told) == len(said) else None

    def signals(self, fit: Places, test: Places) -> tuple[Floats, list[str]]:
        """[n, k], with the numbers that the recording keeps of the answer from memory."""
        values, names = signals([self.answers], fit, test, _numbers(self.rows))
        return values[0], names


def pairs_of(name: str, rows: Sequence[Row]) -> Pairs | str:
    one = {question_of(row): row for row in rows}
    told = [row for row in one.values() if _direct(row)]
    rows = told if len(told) >= FEWEST else list(one.values())
    if len(rows) < FEWEST:
        return f"{name}: {len(rows)} questions, fewer than {FEWEST}"
    pairs = [regimes(row) for row in rows]
    without, with_ = (np.array([pair[side]["inacc"] for pair in pairs if pair], dtype=np.float64) for side in (0, 1))
    answers = Group(name, name, tuple(_closed(row) for row in rows)).read().answers
    known = " (those with white-box numbers)" if rows is told else ""
    return Pairs(name + known, tuple(rows), without, with_, answers)
