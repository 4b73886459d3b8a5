"""What a threshold does: worked values, shares of nothing, and ties that a threshold cannot part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.selection import AtRisk, Selection, coverage_at_risk, select

CONFIDENCE = [0.95, 0.90, 0.80, 0.70, 0.60, 0.55, 0.40, 0.30]
CORRECT = [True, True, False, True, True, False, False, False]
ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), st.booleans()), min_size=1)


def test_the_worked_selection() -> None:
    made = select(CONFIDENCE, CORRECT, 0.58)
    assert made == Selection(right_answered=4, right_abstained=0, wrong_answered=1, wrong_abstained=3)
    assert (made.risk, made.carefulness, made.alignment, made.coverage) == (0.2, 0.75, 0.875, 0.625)
    assert (made.overcaution, made.recall) == (0.0, 1.0)
    assert made.f1 == pytest.approx(0.615385, abs=1e-6)
    assert made.f1_over_answerable == pytest.approx(0.888889, abs=1e-6)


def test_another_worked_selection() -> None:
    made = Selection(right_answered=50, right_abstained=10, wrong_answered=8, wrong_abstained=32)
    assert made.risk == pytest.approx(0.13793, abs=1e-5)
    assert (made.carefulness, made.alignment, made.coverage) == (0.8, 0.82, 0.58)
    assert made.overcaution == pytest.approx(0.23810, abs=1e-5)
    assert made.recall == pytest.approx(0.83333, abs=1e-5)


def test_a_share_of_nothing_is_none() -> None:
    silent = select(CONFIDENCE, CORRECT, 1.0)
    assert (silent.risk, silent.f1, silent.f1_over_answerable) == (None, None, None)
    assert (silent.coverage, silent.recall, silent.carefulness) == (0.0, 0.0, 1.0)
    everything = select(CONFIDENCE, CORRECT, 0.0)
    assert (everything.overcaution, everything.coverage) == (None, 1.0)
    assert select([0.9], [False], 0.5).f1 == 0.0
    assert select([0.9], [False], 0.5).f1_over_answerable is None
    nothing = select([], [], 0.5)
    assert (nothing.coverage, nothing.risk, nothing.alignment, nothing.carefulness, nothing.f1) == (None,) * 5


def test_weights_make_it_the_whole() -> None:
    """Doubtful answers were labelled four times as often: weighed, the shares are those of everyone."""
    rng = np.random.default_rng(0)
    confidence = rng.random(40000)
    right = rng.random(40000) < confidence
    chance = np.where(confidence < 0.6, 0.8, 0.2)
    seen = rng.random(40000) < chance
    whole = select(confidence, right, 0.5)
    plain = select(confidence[seen], right[seen], 0.5)
    weighed = select(confidence[seen], right[seen], 0.5, weights=1 / chance[seen])
    assert whole.risk is not None
    assert weighed.risk == pytest.approx(whole.risk, abs=0.02)
    assert weighed.coverage == pytest.approx(whole.coverage, abs=0.02)
    assert weighed.total == pytest.approx(1.0)
    assert plain.risk > whole.risk + 0.05  # type: ignore[operator]
    assert plain.coverage < whole.coverage - 0.1  # type: ignore[operator]


@pytest.mark.parametrize(
    ("risk", "coverage"), [(0.1, 0.25), (0.2, 0.625), (0.25, 0.625), (0.35, 0.75), (0.4, 0.75), (0.5, 1.0)]
)
def test_worked_coverage_at_risk(risk: float, coverage: float) -> None:
    found = coverage_at_risk(CONFIDENCE, CORRECT, risk)
    assert found is not None
    assert found.coverage == coverage
    assert found.answered == 8 * coverage
    assert found.threshold == CONFIDENCE[found.answered - 1]


def test_when_the_surest_is_wrong_nothing_can_be_answered() -> None:
    assert coverage_at_risk([0.9], [False], 0.5) is None
    assert coverage_at_risk([], [], 0.5) is None
    with pytest.raises(ValueError, match="risk must be"):
        coverage_at_risk(CONFIDENCE, CORRECT, 1.5)


def test_those_that_tie_are_let_through_together() -> None:
    assert coverage_at_risk([0.9, 0.9, 0.5], [True, False, True], 0.2) is None
    assert coverage_at_risk([0.9, 0.9, 0.5], [True, False, True], 0.4) == AtRisk(0.5, 1.0, 3, 1)


@given(ROWS, st.floats(0, 1))
def test_no_threshold_answers_more_at_that_risk(rows: list[tuple[float, bool]], risk: float) -> None:
    confidence, correct = [c for c, _ in rows], [y for _, y in rows]
    made = [select(confidence, correct, t) for t in set(confidence)]
    best = max((s.coverage or 0.0 for s in made if s.risk is not None and s.risk <= risk + 1e-9), default=None)
    found = coverage_at_risk(confidence, correct, risk)
    assert best == (None if found is None else pytest.approx(found.coverage))
    if found is not None:
        at = select(confidence, correct, found.threshold)
        assert (at.answered, at.wrong_answered) == (found.answered, found.errors)
