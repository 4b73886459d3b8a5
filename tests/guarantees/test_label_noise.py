"""A judge that errs: the formula, the bound's limits, and that the plain bound breaks where this one does not."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.guarantees.label_noise import JudgeError, judged_risk, judged_upper_bound
from gate.guarantees.selective_risk import Candidate, certify, upper_bound

WORLDS, ANSWERED, DELTA, ALPHA = 2000, 500, 0.1, 0.15
LENIENT, HARSH = 0.3, 0.02
"""The share of wrong answers the judge calls right, and of right ones it calls wrong."""
CHECKED = st.integers(0, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def judged(risk: float, seed: int) -> list[tuple[int, JudgeError]]:
    """How many of the answered the judge calls wrong, and what it did on 300 + 300 others, in each world."""
    rng = np.random.default_rng(seed)
    called_wrong = rng.binomial(ANSWERED, risk * (1 - LENIENT) + (1 - risk) * HARSH, WORLDS)
    accepted, rejected = rng.binomial(300, LENIENT, WORLDS), rng.binomial(300, HARSH, WORLDS)
    rows = zip(called_wrong.tolist(), accepted.tolist(), rejected.tolist(), strict=True)
    return [(errors, JudgeError(300, a, 300, r)) for errors, a, r in rows]


def test_the_plain_bound_breaks_the_promise_and_the_one_that_knows_the_judge_does_not() -> None:
    """The true risk is just above what is promised."""
    worlds = judged(ALPHA + 0.005, 0)
    plain = sum(certify([Candidate(0.5, ANSWERED, e)], ALPHA, DELTA) is not None for e, _ in worlds) / WORLDS
    aware = [
        certify([Candidate(0.5, ANSWERED, e)], ALPHA, DELTA, bound=partial(judged_upper_bound, judge=judge))
        for e, judge in worlds
    ]
    assert plain > 4 * DELTA
    assert sum(c is not None for c in aware) / WORLDS <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / WORLDS)


def test_it_still_certifies_what_is_well_below() -> None:
    bounds = [judged_upper_bound(e, ANSWERED, DELTA, judge) for e, judge in judged(0.05, 1)]
    assert np.mean([bound <= ALPHA for bound in bounds]) > 0.9
    assert np.mean([bound < 0.05 for bound in bounds]) <= DELTA


def test_a_few_doubly_labelled_answers_still_hold_the_promise() -> None:
    """With 20 + 20 the limits on the judge are wide, and hold: seldom certified, seldom wrong."""
    rng = np.random.default_rng(2)
    broken = 0
    for errors, a, b in zip(
        rng.binomial(ANSWERED, 0.155 * 0.7 + 0.845 * 0.02, WORLDS).tolist(),
        rng.binomial(20, LENIENT, WORLDS).tolist(),
        rng.binomial(20, HARSH, WORLDS).tolist(),
        strict=True,
    ):
        broken += judged_upper_bound(errors, ANSWERED, 0.2, JudgeError(20, a, 20, b)) < 0.155
    assert broken / WORLDS <= 0.2 + 3 * math.sqrt(0.16 / WORLDS)


def test_the_estimate_undoes_what_the_judge_did() -> None:
    judge = JudgeError(wrong=100, wrong_accepted=30, right=100, right_rejected=2)
    # 1,000 answers at a risk of .2: 140 of the 200 wrong ones and 16 of the 800 right ones are called wrong
    assert judged_risk(156, 1000, judge) == pytest.approx(0.2)
    assert judged_risk(0, 1000, judge) == 0.0
    assert judged_risk(1000, 1000, judge) == 1.0


def test_a_judge_that_tells_nothing_has_no_estimate_and_a_bound_of_one() -> None:
    coin = JudgeError(100, 50, 100, 50)
    assert judged_risk(10, 100, coin) is None
    assert judged_upper_bound(50, 100, 0.1, coin) == 1.0
    assert judged_upper_bound(0, 500, 0.1, JudgeError(100, 100, 100, 0)) == 1.0  # never saw a wrong answer as one
    unknown = JudgeError(0, 0, 0, 0)
    assert judged_risk(10, 100, unknown) is None
    assert judged_upper_bound(0, 500, 0.1, unknown) == 1.0
    assert judged_risk(0, 0, JudgeError(10, 1, 10, 1)) is None
    assert judged_upper_bound(0, 0, 0.1, JudgeError(10, 1, 10, 1)) == 1.0


def test_a_judge_that_swaps_right_and_wrong_earns_no_promise() -> None:
    swapped = JudgeError(1000, 990, 1000, 990)
    assert judged_upper_bound(10, 1000, 0.1, swapped) == 1.0


def test_fewer_called_wrong_than_the_judge_rejects_of_right_ones_is_no_promise_of_perfection() -> None:
    harsh = JudgeError(500, 5, 500, 250)
    assert judged_upper_bound(20, 500, 0.1, harsh) == 1.0
    assert judged_upper_bound(260, 500, 0.1, harsh) < 0.3  # about as many as it rejects: few can be wrong


@given(CHECKED, CHECKED, CHECKED, st.floats(0.01, 0.3))
def test_the_bound_is_above_the_estimate_and_falls_with_a_better_judge(
    answers: tuple[int, int], wrong: tuple[int, int], right: tuple[int, int], delta: float
) -> None:
    judge = JudgeError(*wrong, *right)
    bound = judged_upper_bound(answers[1], answers[0], delta, judge)
    assert 0 < bound <= 1
    if wrong[1]:
        stricter = JudgeError(wrong[0], wrong[1] - 1, *right)
        assert judged_upper_bound(answers[1], answers[0], delta, stricter) <= bound
    perfect = JudgeError(wrong[0], 0, right[0], 0)
    if judged_risk(answers[1], answers[0], perfect) is not None:
        assert judged_upper_bound(answers[1], answers[0], delta, perfect) >= upper_bound(*answers[::-1], delta)


@pytest.mark.parametrize("counts", [(10, 11, 10, 0), (10, -1, 10, 0), (10, 0, 10, 11), (10, 0, 5, -1)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot err on more"):
        JudgeError(*counts)
