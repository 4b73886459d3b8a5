"""Few labels and many pairs without: the promise in many worlds, and that it pays where the labels are some hundred."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gate.guarantees.selective_generation import Pairs, certify_generation, entailment_bound
from gate.guarantees.selective_risk import upper_bound

ALPHA, AT = 0.25, 0.5
"""P(entailed | s) = .3 + .6 s with s uniform: the share that is not, among those at t and above, is .4 - .3 t."""
THRESHOLDS = [i / 16 for i in range(15)]


def pairs(n: int, rng: np.random.Generator, *, telling: float, lenient: float = 0.0) -> tuple[Pairs, np.ndarray]:
    """``telling``: how many standard deviations part the two kinds; so many not entailed look as if they were."""
    score = rng.random(n)
    entailed = rng.random(n) < 0.3 + 0.6 * score
    looks = entailed | (rng.random(n) < lenient)
    logit = rng.normal(np.where(looks, telling / 2, -telling / 2), 1.0)
    return Pairs(score, 1 / (1 + np.exp(-3 * logit))), entailed


def chosen(
    worlds: int, few: int, *, seed: int = 0, delta: float = 0.1, cuts: tuple[float, ...] = (0.5,), **kind: float
) -> list[float | None]:
    """The threshold of each world, or None."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(worlds):
        labelled, entailed = pairs(few, rng, **kind)
        unlabelled, _ = pairs(4000, rng, **kind)
        passed = certify_generation(labelled, entailed, unlabelled, THRESHOLDS, ALPHA, delta, cuts)
        found.append(None if passed is None else passed[0])
    return found


@pytest.mark.parametrize("kind", [{"telling": 6.0}, {"telling": 1.0}, {"telling": 6.0, "lenient": 0.3}], ids=str)
def test_the_promise_holds_whatever_the_model_of_entailment_is_worth(kind: dict[str, float]) -> None:
    found = chosen(150, 600, seed=1, delta=0.2, **kind)
    broken = sum(t is not None and t < AT for t in found) / len(found)
    assert broken <= 0.2 + 3 * math.sqrt(0.2 * 0.8 / len(found))


def test_believing_the_model_of_entailment_breaks_it() -> None:
    """It takes three in ten that are not entailed for entailed."""
    rng = np.random.default_rng(2)
    broken = 0
    for _ in range(50):
        many, _ = pairs(4000, rng, telling=6.0, lenient=0.3)
        through = many.entailment[many.above(0.3)]
        broken += upper_bound(int((through < 0.5).sum()), len(through), 0.01) <= ALPHA
    assert broken / 50 > 0.9


def test_many_pairs_without_a_label_let_more_through_than_the_labels_alone() -> None:
    both = chosen(150, 600, telling=6.0)
    alone = chosen(150, 600, telling=6.0, delta=0.2, cuts=())  # twice delta: the labels have all of it then
    coverage, without = (np.mean([0.0 if t is None else 1 - t for t in found]) for found in (both, alone))
    assert coverage > 1.1 * without


def test_the_bound_is_the_smaller_of_the_two() -> None:
    entailed = np.array([True] * 270 + [False] * 30)
    sure, blind = entailed * 0.98 + 0.01, np.full(300, 0.7)
    alone = upper_bound(30, 300, 0.05)
    assert entailment_bound(entailed, blind, np.full(5000, 0.7), 0.1) == alone
    helped = entailment_bound(entailed, sure, np.r_[np.full(4500, 0.99), np.full(500, 0.01)], 0.1)
    part = 0.1 / 6
    assert helped == pytest.approx(upper_bound(0, 300, part) + upper_bound(500, 5000, part))
    assert helped < alone
    assert entailment_bound(entailed, sure, np.array([]), 0.1) == alone  # no pairs without a label
    assert entailment_bound(entailed, sure, sure, 0.1, cuts=()) == alone
    nothing = np.array([])
    assert entailment_bound(nothing.astype(bool), nothing, nothing, 0.1) == 1.0


def test_the_lowest_that_passed_is_given_with_its_bound() -> None:
    score = np.repeat(np.arange(8) / 8, 300)
    entailed = score >= 0.25
    labelled = Pairs(score, np.where(entailed, 0.95, 0.05))
    passed = certify_generation(labelled, entailed, labelled, [0.0, 0.125, 0.25, 0.5], 0.05, 0.1)
    assert passed is not None
    assert passed[0] == 0.25
    through = labelled.above(0.25)
    # four thresholds take three steps
    bound = entailment_bound(entailed[through], labelled.entailment[through], labelled.entailment[through], 0.1 / 3)
    assert passed[1] == bound <= 0.05
    assert certify_generation(labelled, ~entailed, labelled, [0.25, 0.5], 0.05, 0.1) is None
    assert certify_generation(labelled, entailed, labelled, [], 0.05, 0.1) is None
    assert certify_generation(labelled, entailed, labelled, [2.0], 0.05, 0.1) is None  # nothing is let through


def test_what_is_no_data_is_refused() -> None:
    one, two = np.array([0.5]), np.array([0.5, 0.6])
    with pytest.raises(ValueError, match="one probability"):
        Pairs(one, two)
    with pytest.raises(ValueError, match="not a number"):
        Pairs(one, np.array([math.nan]))
    good = Pairs(two, two)
    for labels in (np.array([True]), np.array([1.0, 0.0])):
        with pytest.raises(ValueError, match="a label, true or false"):
            certify_generation(good, labels, good, [0.5], 0.1, 0.1)
    with pytest.raises(ValueError, match="alpha and delta"):
        certify_generation(good, np.array([True, False]), good, [0.5], 0.1, 1.0)
