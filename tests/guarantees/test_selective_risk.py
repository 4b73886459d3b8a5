"""The bound and the choice of a threshold: worked values, exactness, and how often the promise is broken."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.guarantees.selective_risk import (
    Candidate,
    answers_needed,
    certify,
    certify_by_search,
    errors_allowed,
    in_sequence,
    lower_bound,
    upper_bound,
)

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
    assert answers_needed(alpha, 0.05) == enough


def test_the_exact_bound_is_far_below_that_of_hoeffding() -> None:
    hoeffding = 3 / 100 + math.sqrt(math.log(1 / 0.05) / 200)
    assert hoeffding == pytest.approx(0.15239, abs=1e-5)
    assert upper_bound(3, 100, 0.05) < hoeffding / 2


@pytest.mark.parametrize(("n", "alpha", "allowed"), [(500, 0.1, 38), (100, 0.05, 1), (58, 0.05, None), (59, 0.05, 0)])
def test_worked_errors_allowed(n: int, alpha: float, allowed: int | None) -> None:
    assert errors_allowed(n, alpha, 0.05) == allowed


@given(st.integers(0, 300), st.floats(0.01, 0.9), DELTAS)
def test_one_error_more_than_allowed_is_too_many(n: int, alpha: float, delta: float) -> None:
    allowed = errors_allowed(n, alpha, delta)
    if abs((1 - alpha) ** n - delta) > 1e-9:  # else the last bit decides
        assert (allowed is None) == (n < answers_needed(alpha, delta))
    if allowed is not None:
        assert upper_bound(allowed, n, delta) <= alpha < upper_bound(allowed + 1, n, delta)


@given(COUNTS, DELTAS)
def test_the_lower_bound_is_the_upper_one_of_the_right_answers(counts: tuple[int, int], delta: float) -> None:
    errors, n = counts
    assert lower_bound(errors, n, delta) == pytest.approx(1 - upper_bound(n - errors, n, delta), abs=1e-9)
    assert lower_bound(errors, n, delta) <= errors / n


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
    assert lower_bound(0, 0, 0.05) == 0.0
    assert errors_allowed(0, 0.5, 0.5) is None


@pytest.mark.parametrize(("errors", "n", "delta"), [(-1, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (1, 5, 1.0), (0, -1, 0.1)])
def test_impossible_counts_are_refused(errors: int, n: int, delta: float) -> None:
    with pytest.raises(ValueError, match="0 <= errors <= n"):
        upper_bound(errors, n, delta)
    with pytest.raises(ValueError, match="0 <= errors <= n"):
        lower_bound(errors, n, delta)


@pytest.mark.parametrize(("alpha", "delta"), [(0.0, 0.1), (1.0, 0.1), (0.1, 0.0), (0.1, 1.0), (math.nan, 0.1)])
def test_impossible_promises_are_refused(alpha: float, delta: float) -> None:
    for plan in (
        lambda: answers_needed(alpha, delta),
        lambda: errors_allowed(100, alpha, delta),
        lambda: certify_by_search([0.5], [False], alpha, delta),
    ):
        with pytest.raises(ValueError, match="alpha and delta"):
            plan()


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


def test_limits_are_asked_for_one_by_one_and_no_further_than_the_first_that_fails() -> None:
    asked = []

    def limits() -> Iterator[tuple[str, float]]:
        for name, limit in (("a", 0.01), ("b", 0.05), ("c", 0.06), ("d", 0.0)):
            asked.append(name)
            yield name, limit

    assert list(in_sequence(limits(), 0.05)) == [("a", 0.01, True), ("b", 0.05, True), ("c", 0.06, False)]
    assert asked == ["a", "b", "c"]


def test_a_limit_that_is_no_number_fails() -> None:
    assert next(in_sequence([("a", math.nan), ("b", 0.0)], 0.05))[2] is False
    assert certify([SAFE, BOLD], 0.05, 0.05, bound=lambda errors, n, delta: math.nan) is None


def test_a_bound_that_meets_alpha_passes() -> None:
    assert certify([SAFE], upper_bound(0, 100, 0.05), 0.05) == SAFE


def test_another_bound_takes_the_place_of_the_exact_one() -> None:
    assert certify([SAFE, BOLD], 0.05, 0.05, bound=lambda errors, n, delta: 0.04 + errors / n) == BOLD
    assert certify([SAFE, BOLD], 0.05, 0.05, bound=lambda errors, n, delta: 0.06) is None


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


def searched(wrong_called_right: float) -> list[float | None]:
    """The threshold of a search in each of 1,000 worlds, where a judge calls so many wrong answers right."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(1000):
        scores = rng.random(QUESTIONS)
        wrong = (rng.random(QUESTIONS) >= 0.4 + 0.6 * scores) & (rng.random(QUESTIONS) >= wrong_called_right)
        passed = certify_by_search(scores, wrong, ALPHA, 0.05)
        found.append(None if passed is None else passed[0].threshold)
    return found


def test_a_search_keeps_the_promise_and_a_lenient_judge_breaks_it() -> None:
    honest, lenient = searched(0.0), searched(0.3)
    broken, broken_by_judge = (sum(t is not None and t < AT for t in found) / 1000 for found in (honest, lenient))
    assert broken <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)
    assert sum(t is None for t in honest) / 1000 == pytest.approx(0.255, abs=0.06)  # it refuses rather than guesses
    assert broken_by_judge > 0.2


@pytest.mark.parametrize("alpha", [0.06, 0.08, 0.1, 0.15, 0.2])
def test_the_pair_that_passed_is_given_and_not_the_last_one_tried(alpha: float) -> None:
    scores = np.arange(256) / 256
    wrong = scores < 0.5  # everything at .5 and above is right
    passed = certify_by_search(scores, wrong, alpha, 0.05)
    assert passed is not None
    candidate, bound = passed
    assert bound == upper_bound(candidate.errors, candidate.answered, 0.05 / 8) <= alpha
    assert candidate.threshold < 0.5
    assert candidate.answered == (scores >= candidate.threshold).sum()
    assert candidate.errors == (wrong & (scores >= candidate.threshold)).sum()


def test_a_search_without_enough_answers_finds_nothing() -> None:
    assert certify_by_search([], [], 0.1, 0.05) is None
    assert certify_by_search([0.9] * 10, [False] * 10, 0.1, 0.05) is None
    tied = certify_by_search([0.9] * 200, [False] * 200, 0.1, 0.05)
    assert tied is not None
    assert tied[0] == Candidate(0.9, 200, 0)
    with pytest.raises(ValueError, match="a confidence and a label"):
        certify_by_search([0.9], [False, True], 0.1, 0.05)
    with pytest.raises(ValueError, match="a confidence and a label"):
        certify_by_search([math.nan], [False], 0.1, 0.05)
    with pytest.raises(ValueError, match="neither true nor false"):
        certify_by_search([0.5, 0.6], [False, None], 0.1, 0.05)  # type: ignore[list-item]
