"""Which limit goes with which labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.guarantees.label_noise import JudgeError, judged_upper_bound
from gate.guarantees.selective_risk import upper_bound
from gate.guarantees.weighted import weighted_upper_bound
from gate.tuning.bounds import judged_by, trusted
from gate.tuning.certification import Counted, Weighted

COUNTED = Counted(100, 60, 3, 0.0)


def test_even_labels_get_the_exact_limit() -> None:
    assert trusted(COUNTED, 0.05) == upper_bound(3, 60, 0.05)


def test_uneven_audits_are_weighed_by_the_chance_that_each_was_made() -> None:
    rng = np.random.default_rng(0)
    wrong, answered = rng.random(100) < 0.05, rng.random(100) < 0.6
    chance = np.where(rng.random(100) < 0.5, 0.2, 0.8)
    behind = Weighted(wrong & answered, answered, 1 / chance, 0.1)
    expected = weighted_upper_bound((wrong & answered)[answered], chance[answered], 0.05, 0.1)
    assert trusted(Counted(100, 60, 3, 0.0, weighted=behind), 0.05) == pytest.approx(expected)


def test_a_judge_is_believed_as_far_as_people_say_it_may_be() -> None:
    judge = JudgeError(50, 5, 80, 8)
    limit = judged_by(judge)(COUNTED, 0.05)
    assert limit == judged_upper_bound(3, 60, 0.05, JudgeError(50, 5, 80, 0))
    assert limit > trusted(COUNTED, 0.05)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 40), st.integers(0, 40))
def test_what_a_judge_rejects_of_right_answers_is_never_taken_off(wrong: int, let: int, right: int, no: int) -> None:
    """People's labels stand in the place of some of its own, and those reject nothing."""
    strict = JudgeError(wrong, min(let, wrong), right, min(no, right))
    lenient = JudgeError(wrong, min(let, wrong), right, 0)
    assert judged_by(strict)(COUNTED, 0.1) == judged_by(lenient)(COUNTED, 0.1) >= trusted(COUNTED, 0.1)


def test_a_judge_that_nobody_checked_proves_nothing() -> None:
    assert judged_by(JudgeError(0, 0, 50, 0))(COUNTED, 0.05) == 1.0
