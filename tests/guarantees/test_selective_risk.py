"""The bound and the choice of a threshold: worked values, exactness, and how often the promise is broken."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.guarantees.selective_risk import Candidate, certify, upper_bound

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
DELTAS = st.floats(0.001, 0.5)


def at_most(errors: int, n: int, risk: float) -> float:
    """P[Bin(n, risk) <= errors], term by term."""
    return math.fsum(math.comb(n, k) * risk**k * (1 - risk) ** (n - k) for k in range(errors + 1))


@pytest.mark.parametrize(
    ("errors", "n", "delta", "bound"), [(3, 100, 0.05, 0.07571), (0, 100, 0.05, 0.02951), (3, 100, 0.05 / 7, 0.10114)]
)
def test_worked_bounds(errors: int, n: int, delta: float, bound: float) -> None:
    assert upper_bound(errors, n, delta) == pytest.approx(bound, abs=5e-6)


@pytest.mark.parametrize(("alpha", "enough"), [(0.10, 29), (0.05, 59), (0.02, 149), (0.01, 299)])
def test_so_many_answers_without_an_error_are_just_enough_at_95_percent(alpha: float, enough: int) -> None:
    assert upper_bound(0, enough, 0.05) <= alpha < upper_bound(0, enough - 1, 0.05)


@given(COUNTS, DELTAS)
def test_the_bound_is_the_risk_that_hides_behind_so_few_errors_with_chance_delta(
    counts: tuple[int, int], delta: float
) -> None:
    errors, n = counts
    bound = upper_bound(errors, n, delta)
    assert errors / n < bound <= 1 or errors == n
    if errors < n:
        assert at_most(errors, n, bound) == pytest.approx(delta, rel=1e-6)


@given(COUNTS, DELTAS)
def test_the_bound_grows_with_errors_and_falls_with_doubt_and_with_more_right_answers(
    counts: tuple[int, int], delta: float
) -> None:
    errors, n = counts
    bound = upper_bound(errors, n, delta)
    assert upper_bound(errors, n + 1, delta) < bound or errors == n
    assert upper_bound(min(n, errors + 1), n, delta) >= bound
    assert upper_bound(errors, n, min(0.9, delta * 1.5)) <= bound


def test_nothing_known_is_no_promise() -> None:
    assert upper_bound(0, 0, 0.05) == 1.0
    assert upper_bound(7, 7, 0.05) == 1.0


@pytest.mark.parametrize(("errors", "n", "delta"), [(-1, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (1, 5, 1.0), (0, -1, 0.1)])
def test_impossible_counts_are_refused(errors: int, n: int, delta: float) -> None:
    with pytest.raises(ValueError, match="0 <= errors <= n"):
        upper_bound(errors, n, delta)


SAFE, BOLD, RISKY = Candidate(0.9, 100, 0), Candidate(0.7, 200, 2), Candidate(0.5, 300, 60)
LUCKY = Candidate(0.3, 900, 0)


def test_the_boldest_that_passes_in_sequence_is_chosen() -> None:
    assert certify([SAFE, BOLD, RISKY], 0.05, 0.05) == BOLD
    assert certify([SAFE], 0.05, 0.05) == SAFE


def test_nothing_is_tested_after_the_first_that_fails() -> None:
    assert certify([SAFE, RISKY, LUCKY], 0.05, 0.05) == SAFE
    assert certify([RISKY, SAFE, LUCKY], 0.05, 0.05) is None


def test_a_threshold_that_let_nothing_through_neither_passes_nor_stops() -> None:
    silent = Candidate(0.99, 0, 0)
    assert certify([silent, silent, SAFE, RISKY], 0.05, 0.05) == SAFE
    assert certify([silent], 0.05, 0.05) is None
    assert certify([], 0.05, 0.05) is None


def test_a_bound_that_meets_alpha_passes() -> None:
    assert certify([SAFE], upper_bound(0, 100, 0.05), 0.05) == SAFE


WORLDS, QUESTIONS = 2000, 500
ALPHA, AT = 0.15, 0.5
"""With scores s uniform and P(right | s) = .4 + .6 s the risk of answering at t is .3 (1 - t): alpha exactly at .5."""
CAUTIOUS, AT_ONCE = (0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4), (0.5, 0.45, 0.4)


def simulated(thresholds: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Counts (answered, errors) of every threshold in every world."""
    rng = np.random.default_rng(1)
    scores = rng.random((WORLDS, QUESTIONS))
    wrong = rng.random((WORLDS, QUESTIONS)) >= 0.4 + 0.6 * scores
    through = [scores >= threshold for threshold in thresholds]
    return np.stack([t.sum(1) for t in through], 1), np.stack([(t & wrong).sum(1) for t in through], 1)


@pytest.mark.parametrize("thresholds", [CAUTIOUS, AT_ONCE], ids=["cautious", "at once"])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_the_promise_is_broken_in_no_more_than_delta_of_all_worlds(thresholds: tuple[float, ...], delta: float) -> None:
    chosen = [
        certify([Candidate(*row) for row in zip(thresholds, *counts, strict=True)], ALPHA, delta)
        for counts in zip(*(counts.tolist() for counts in simulated(thresholds)), strict=True)
    ]
    broken = sum(c is not None and c.threshold <= AT for c in chosen) / WORLDS
    three_sigma = 3 * math.sqrt(delta * (1 - delta) / WORLDS)
    assert broken <= delta + three_sigma
    if thresholds == AT_ONCE:  # the very first test is at the edge: the error allowed is all but used up
        assert broken >= delta / 2
    else:
        assert sum(c is not None for c in chosen) / WORLDS > 0.5


def test_the_boldest_that_looks_good_enough_breaks_it_far_more_often() -> None:
    answered, errors = simulated(CAUTIOUS)
    looks_good = errors <= ALPHA * answered
    broken = looks_good[:, np.array(CAUTIOUS) <= AT].any(1)
    assert broken.mean() > 0.3
