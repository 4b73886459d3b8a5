"""Are two policies really different? Paired differences on the same questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gate.calibration.significance import mcnemar
from gate.errors import ConfigError
from gate.tuning.estimates import Array, Estimate, Mask
from gate.tuning.evaluate import COSTS, check
from gate.tuning.judgements import Judgements

_RESAMPLES = 2000
_AT_ONCE = 100
"""Resamples held in memory together."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Policy ``second`` less policy ``first``, with intervals of a paired bootstrap over questions."""

    first: str
    second: str
    n: int
    coverage: Estimate
    risk: Estimate
    """Of the answers that each let through: not the same questions, so a bolder policy may be wrong more often."""
    costs: tuple[tuple[str, Estimate], ...]
    """For one question: calls, tokens, seconds, money."""
    only_first: int
    """Questions that the first answered rightly and the second did not, wrong or abstaining."""
    only_second: int
    p_value: float
    """Exact test of McNemar (1947) that neither answers more questions rightly."""
    unlabelled: int
    """Questions the test leaves out, for an answer to them has no label."""


def compare(judgements: Mapping[str, Judgements], *, confidence: float = 0.95, seed: int = 0) -> tuple[Comparison, ...]:
    """Every pair of policies, in the order given. The rows may stand in any order.

    Raises `ConfigError` where the policies were not judged on the same questions, or the questions weigh differently.
    """
    if len(judgements) < 2:
        raise ConfigError(f"comparing takes two policies or more, got {len(judgements)}")
    for rows in judgements.values():
        check(rows)
    ordered = {name: _sorted(rows) for name, rows in judgements.items()}
    (reference, first), *others = ordered.items()
    for name, rows in others:
        _check_paired(reference, first, name, rows)
    return tuple(_compared(a, b, ordered[a], ordered[b], confidence, seed) for a, b in combinations(ordered, 2))


def _sorted(rows: Judgements) -> Judgements:
    return rows.where(np.argsort(rows.ids.astype(str), kind="stable"))


def _check_paired(reference: str, first: Judgements, name: str, rows: Judgements) -> None:
    strays = sorted(set(first.ids) ^ set(rows.ids), key=str)
    if strays:
        raise ConfigError(
            f"{name!r} and {reference!r} were not judged on the same questions: {len(strays)} stand on one side alone, "
            f"{strays[0]!r} first; judge both on the same file"
        )
    if not np.array_equal(first.weights, rows.weights):
        raise ConfigError(f"{name!r} and {reference!r} give the same questions different weights")


def _compared(a: str, b: str, first: Judgements, second: Judgements, confidence: float, seed: int) -> Comparison:
    pairs: list[tuple[tuple[Array, Array], tuple[Array, Array]]] = [
        ((_answered(first), np.ones(len(first))), (_answered(second), np.ones(len(second)))),
        (_wrong_among_answers(first), _wrong_among_answers(second)),
        *((_known(getattr(first, kind)), _known(getattr(second, kind))) for kind in COSTS),
    ]
    coverage, risk, *costs = _differences(pairs, first.weights, confidence, seed)
    known = ~(_unjudged(first) | _unjudged(second))
    rights = [(rows.answered & (rows.correct == 1))[known] for rows in (first, second)]
    told_apart = mcnemar(*rights)
    return Comparison(
        first=a,
        second=b,
        n=len(first),
        coverage=coverage,
        risk=risk,
        costs=tuple(zip(COSTS, costs, strict=True)),
        only_first=told_apart.one_only,
        only_second=told_apart.other_only,
        p_value=told_apart.p,
        unlabelled=int((~known).sum()),
    )


def _answered(rows: Judgements) -> Array:
    return rows.answered.astype(np.float64)


def _unjudged(rows: Judgements) -> Mask:
    return np.asarray(rows.answered & ~rows.labelled)


def _wrong_among_answers(rows: Judgements) -> tuple[Array, Array]:
    among = rows.answered & rows.labelled
    return (among & (rows.correct == 0)).astype(np.float64), among.astype(np.float64)


def _known(values: Array) -> tuple[Array, Array]:
    there = ~np.isnan(values)
    return np.where(there, values, 0.0), there.astype(np.float64)


def _differences(
    pairs: list[tuple[tuple[Array, Array], tuple[Array, Array]]], weights: Array, confidence: float, seed: int
) -> list[Estimate]:
    """Of ratios of sums, (numerator, denominator) for either policy: the second's less the first's."""
    sums = np.stack([column for pair in pairs for ratio in pair for column in ratio], axis=1) * weights[:, None]
    n = len(weights)
    rng = np.random.default_rng(seed)
    drawn = []
    for start in range(0, _RESAMPLES, _AT_ONCE):
        size = min(_AT_ONCE, _RESAMPLES - start)
        rows = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        drawn.append(np.bincount(rows.ravel(), minlength=size * n).reshape(size, n) @ sums)
    found = _ratio_differences(np.concatenate(drawn))
    values = _ratio_differences(sums.sum(0)[None])[0]
    return [_estimate(value, column, confidence, n) for value, column in zip(values, found.T, strict=True)]


def _ratio_differences(sums: Array) -> Array:
    """[..., 4 x pairs] sums to [..., pairs] differences; nan where a denominator is 0."""
    parts = sums.reshape(len(sums), -1, 2, 2)
    below = np.where(parts[..., 1] > 0, parts[..., 1], np.nan)
    ratios = parts[..., 0] / below
    return np.asarray(ratios[..., 1] - ratios[..., 0])


def _estimate(value: float, drawn: Array, confidence: float, n: int) -> Estimate:
    if np.isnan(value):
        return Estimate(None, None, None, n)
    there = drawn[~np.isnan(drawn)]
    if len(there) < 0.9 * len(drawn):
        return Estimate(float(value), None, None, n)
    low, high = np.quantile(there, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high), n)
