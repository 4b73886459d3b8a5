"""Terrains made up for tests: upstreams that know more or less of the same questions, and say how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gate.tuning.table import COSTS, Array, Column, Table
from gate.tuning.walk import Confident, Terrain
from gate.types import Stage

MONEY = (0.002, 0.02, 0.08)
"""Of an answer of the first, second and third upstream."""


def terrain(
    rng: np.random.Generator, n: int, ladder: Sequence[str], *, passages: bool, tiers: int, missing: float = 0.05
) -> Terrain:
    """n questions, some harder than others; later upstreams and tiers know better. Confidence is about calibrated."""
    ease = rng.normal(0, 1.2, n)
    rounds = {}
    for rung, name in enumerate(ladder):
        for book in (False, True)[: 1 + passages]:
            level = 1.2 * (ease + rung + rng.normal(0.3 if book else -0.3, 0.5) + rng.normal(0, 1, n))
            right = (rng.random(n) < 1 / (1 + np.exp(-level))).astype(np.float64)
            there = (rng.random(n) > missing) | (rung == 0 and not book)
            declined, whole = rng.random(n) < 0.05, rng.random(n) > 0.03
            stages = []
            for tier in range(tiers):
                p = 1 / (1 + np.exp(-0.8 * (level + rng.normal(0, 2 / (1 + tier), n))))
                money = np.full(n, MONEY[rung] * (1 + 0.5 * book) * (1, 3, 2)[tier])
                stages.append(confident(Stage(name, book, tier), p, right, money, there, ~declined & whole, whole))
            rounds[name, book] = tuple(stages)
    return Terrain(n, rounds, tuple(ladder), True, np.ones(n))


def confident(
    stage: Stage,
    p: Array,
    correct: Array,
    money: Array,
    there: np.ndarray | None = None,
    answerable: np.ndarray | None = None,
    whole: np.ndarray | None = None,
) -> Confident:
    """A stage in which every question was seen and can be answered, unless said otherwise."""
    everyone = np.ones(len(p), np.bool_)
    there, answerable, whole = (everyone if mask is None else mask for mask in (there, answerable, whole))
    costs = {name: money if name == "money" else np.zeros(len(p)) for name in COSTS}
    values = p[:, None].astype(np.float32)
    column = Column(stage, there, values, correct, answerable, whole, costs)
    return Confident(column, np.where(whole & ~answerable, 0.0, p), answerable)


def part(whole: Terrain, rows: np.ndarray) -> Terrain:
    """Some of a terrain's questions."""
    rounds = {
        key: tuple(Confident(tier.column.where(rows), tier.p[rows], tier.sure[rows]) for tier in tiers)
        for key, tiers in whole.rounds.items()
    }
    return replace(whole, n=len(rows), weights=whole.weights[rows], rounds=rounds)


def table_of(made: Terrain, signals: tuple[str, ...] = ("told",)) -> Table:
    """The table whose one signal is the confidence that the terrain was made with."""
    none = np.full(made.n, "", dtype=object)
    ids = np.array([f"q{place}" for place in range(made.n)], dtype=object)
    stages = {tier.column.stage.key: tier.column for tiers in made.rounds.values() for tier in tiers}
    return Table(ids, none, none, made.weights, signals, stages, made.complete)
