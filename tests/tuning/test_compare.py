"""Comparing policies on the same questions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.errors import ConfigError
from gate.tuning.compare import compare
from tests.tuning.judged import NAN, evaluate, rows, simulated


def test_a_policy_does_not_differ_from_itself() -> None:
    judged = simulated(100)
    (found,) = compare({"a": judged, "b": judged})
    for difference in (found.coverage, found.risk, *dict(found.costs).values()):
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert (found.only_first, found.only_second, found.p_value) == (0, 0, 1)


def test_a_worked_difference() -> None:
    first = rows([0.5] * 12, [1.0] * 9 + [0.0] * 3, [True] * 8 + [False] + [True] * 3)
    second = rows([0.5] * 12, [1.0] * 12, [False] * 8 + [True] + [False] * 3, money=[0.003] * 12)
    (found,) = compare({"bold": first, "shy": second})
    assert found.coverage.value == pytest.approx((1 - 11) / 12)
    assert found.risk.value == pytest.approx(0 - 3 / 11)
    assert dict(found.costs)["money"].value == pytest.approx(0.002)
    assert dict(found.costs)["calls"].value == 0
    assert (found.only_first, found.only_second) == (8, 1)
    assert found.p_value == pytest.approx(2 * (1 + 9) / 2**9)


def test_a_difference_is_that_of_the_evaluations() -> None:
    bold, shy = simulated(400, answer_at=0.6), simulated(400, answer_at=0.9)
    (found,) = compare({"bold": bold, "shy": shy})
    a, b = evaluate(bold), evaluate(shy)
    assert a.risk.value is not None
    assert b.risk.value is not None
    assert found.risk.value == pytest.approx(b.risk.value - a.risk.value)
    assert found.risk.high is not None
    assert found.risk.high < 0  # much more cautious on calibrated confidence: it shows with 400 questions
    assert found.coverage.high is not None
    assert found.coverage.high < 0


def test_every_pair_in_the_order_given() -> None:
    judged = simulated(50)
    found = compare(dict.fromkeys(("z", "a", "m"), judged))
    assert [(c.first, c.second) for c in found] == [("z", "a"), ("z", "m"), ("a", "m")]


def test_the_order_of_the_rows_does_not_matter() -> None:
    bold, shy = simulated(60, answer_at=0.6), simulated(60, answer_at=0.9)
    turned = shy.where(np.arange(60)[::-1])
    assert compare({"a": bold, "b": turned}) == compare({"a": bold, "b": shy})


def test_other_questions_are_refused() -> None:
    a, b = simulated(20), simulated(21)
    with pytest.raises(ConfigError, match=r"'b' and 'a' were not judged on the same questions: 1 stand.*'q20'"):
        compare({"a": a, "b": b})
    with pytest.raises(ConfigError, match="different weights"):
        compare({"a": a, "b": replace(a, weights=np.full(20, 2.0))})
    with pytest.raises(ConfigError, match="two policies"):
        compare({"a": a})
    with pytest.raises(ConfigError, match="label"):
        compare({"a": a, "b": replace(a, correct=np.full(20, 3.0))})


def test_answers_without_a_label_are_left_out_of_the_test() -> None:
    first = rows([0.5] * 4, [1.0, 1, NAN, NAN], [True, True, True, False])
    second = rows([0.5] * 4, [0.0, 1, 1, 1], [True, True, True, True])
    (found,) = compare({"a": first, "b": second})
    assert (found.unlabelled, found.only_first, found.only_second) == (1, 1, 1)
    assert found.p_value == 1
    assert found.risk.value == pytest.approx(1 / 4 - 0)


def test_a_policy_that_answers_nothing_has_no_risk_to_compare() -> None:
    judged = simulated(30)
    silent = replace(judged, actions=np.full(30, "abstain", dtype=object))
    (found,) = compare({"a": judged, "b": silent})
    assert (found.risk.value, found.risk.low, found.risk.high) == (None, None, None)
    assert found.coverage.value is not None
    assert found.coverage.value < 0


def test_weights_are_how_often_a_question_counts() -> None:
    weights = np.array([3.0, 1, 2, 1, 1, 4])
    first = rows([0.5] * 6, [1.0, 0, 1, 0, 1, 1], [True, True, False, True, True, False], weights=weights)
    second = rows([0.5] * 6, [1.0, 0, 0, 1, 1, 1], [True, False, True, True, True, True], weights=weights)
    (found,) = compare({"a": first, "b": second})
    assert found.coverage.value == pytest.approx((11 - 6) / 12)
    assert found.risk.value == pytest.approx(2 / 11 - 2 / 6)


def test_policies_that_are_equally_good_are_seldom_told_apart() -> None:
    """Coverage of two coins on the same questions, 95 %: alarms in at most 5 % of 120 runs, with 3 standard errors."""
    rng, alarms = np.random.default_rng(8), 0
    for seed in range(120):
        shared = rng.random(80) < 0.4
        a, b = (np.where(rng.random(80) < 0.5, shared, rng.random(80) < 0.4) for _ in range(2))
        made = [rows([0.5] * 80, [1.0] * 80, answered.tolist()) for answered in (a, b)]
        (found,) = compare(dict(zip("ab", made, strict=True)), seed=seed)
        assert found.coverage.low is not None
        assert found.coverage.high is not None
        alarms += found.coverage.low > 0 or found.coverage.high < 0
    assert alarms / 120 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)
