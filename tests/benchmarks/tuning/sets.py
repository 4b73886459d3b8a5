"""Recorded answers as arrays for the benchmark of tuning: one answer a question, so that answers are independent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.policy import Policy
from gate.signals import SIGNALS
from gate.tuning.table import COSTS, Column, Table
from gate.types import Stage
from tests.benchmarks.learned_from_text import LEARNED
from tests.benchmarks.quality import BOUNDS, matrix, usable
from tests.benchmarks.recorded import Group, Row, groups_of, question_of

FEWEST, MOST = 500, 3000
"""Questions of a set."""
OF_A_FILE = 3
"""Sets of one file, at most: some files hold one model's answers after another's to the same questions."""
Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
NAMES = tuple(signal.name for signal in SIGNALS if signal.name not in LEARNED)


@dataclass(frozen=True)
class Readings:
    """A set, read."""

    name: str
    names: tuple[str, ...]
    """Of the signals that vary in it, [k]."""
    values: Floats
    """[n, k], nan where missing."""
    right: Bools

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {name: BOUNDS.get(name, (-np.inf, np.inf)) for name in self.names}

    def table(self) -> Table:
        return closed_book(["m"], self.names, [self.values], [self.right])


def closed_book(
    upstreams: Sequence[str],
    names: Sequence[str],
    values: Sequence[Floats],
    right: Sequence[Bools],
    money: Sequence[Array] | None = None,
) -> Table:
    """One closed-book stage for each upstream, whose answer every question has, at so many dollars each."""
    n = len(right[0])
    yes, nothing = np.ones(n, np.bool_), np.zeros(n)
    stages = {}
    for place, upstream in enumerate(upstreams):
        stage, costs = Stage(upstream), {**dict.fromkeys(COSTS, nothing), "money": money[place] if money else nothing}
        stages[stage.key] = Column(stage, yes, values[place], right[place].astype(np.float64), yes, yes, costs)
    ids = np.array([str(i) for i in range(n)], dtype=object)
    bare = np.full(n, "", dtype=object)
    return Table(ids, bare, bare, np.ones(n), tuple(names), stages, True)


def policy_of(ladder: Sequence[str], alpha: float) -> Policy:
    """As much of a policy as the search looks at."""
    return Policy.model_validate(
        {
            "name": "recorded",
            "promise": {"max_error": alpha, "confidence": 0.95},
            "upstreams": {name: {"kind": "scripted"} for name in ladder},
            "ladder": tuple(ladder),
            "tiers": (("draft",),),
            "signals": ("draft_brevity",),
            "calibrator": "none.json",
            "rule": {"answer_at": 0.5},
            "routes": {"escalate": len(ladder) > 1},
        }
    )


def sets_of(folder: Path) -> tuple[list[Group], list[str]]:
    """The sets to tune on, and why others are left out. Of a file, those of lowest, highest and middle accuracy."""
    found = list(groups_of(folder, some=one_each))
    said = [one for one in found if isinstance(one, str)]
    groups: list[Group] = []
    for file, listed in groupby((one for one in found if isinstance(one, Group)), key=lambda group: group.file):
        large = sorted((g for g in listed if _large(g, said)), key=_accuracy)
        places = np.unique(np.linspace(0, len(large) - 1, OF_A_FILE).round().astype(int)) if large else []
        groups += [large[place] for place in places]
        if len(large) > OF_A_FILE:
            said.append(f"{file}: of {len(large)} sets of answers, {OF_A_FILE} are looked at")
    return groups, said


def _large(group: Group, said: list[str]) -> bool:
    if len(group.rows) < FEWEST:
        said.append(f"{group.name}: {len(group.rows)} questions, fewer than {FEWEST}")
    return len(group.rows) >= FEWEST


def _accuracy(group: Group) -> float:
    return sum(row["correct"] for row in group.rows) / len(group.rows)


def one_each(rows: Sequence[Row]) -> Sequence[Row]:
    """One row of each question, at most `MOST`, drawn at random."""
    shuffled = random.Random(0).sample(list(rows), len(rows))
    return list({question_of(row): row for row in shuffled}.values())[:MOST]


def read(group: Group) -> Readings | str:
    """What gate reads off the answers of a set; a word where nothing varies."""
    answers = group.read().answers
    values = matrix(answers, NAMES)
    kept = usable(values)
    if not kept.any():
        return f"{group.name}: nothing is recorded that varies"
    names = tuple(name for name, keep in zip(NAMES, kept, strict=True) if keep)
    right = np.array([answer.correct for answer in answers])
    return Readings(group.name, names, values[:, kept].astype(np.float32), right)


def resplits(n: int, train: int, count: int) -> Iterator[tuple[Places, Places]]:
    """Questions to learn from and the rest, drawn anew so many times."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        order = rng.permutation(n)
        yield order[:train], order[train:]
