"""Keeping and discarding: the worked values, and what is of nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.keep_or_discard import KeepOrDiscard


def test_the_metrics_by_their_worked_values() -> None:
    found = KeepOrDiscard(right_kept=50, right_discarded=10, wrong_kept=8, wrong_discarded=32)
    assert found.risk == pytest.approx(0.13793, abs=1e-5)
    assert found.carefulness == pytest.approx(0.8)
    assert found.alignment == pytest.approx(0.82)
    assert found.coverage == pytest.approx(0.58)
    assert found.overcaution == pytest.approx(0.23810, abs=1e-5)
    assert found.recall == pytest.approx(0.83333, abs=1e-5)


def test_what_is_of_nothing_is_none() -> None:
    nothing = KeepOrDiscard.of([], [])
    assert (nothing.risk, nothing.carefulness, nothing.alignment) == (None, None, None)
    assert (nothing.coverage, nothing.overcaution, nothing.recall) == (None, None, None)
    assert KeepOrDiscard.of([False, False], [True, False]).risk is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_the_counts_are_those_of_the_answers(rows: list[tuple[bool, bool]]) -> None:
    kept, correct = zip(*rows, strict=True)
    found = KeepOrDiscard.of(kept, correct)
    assert found.total == len(rows)
    assert found.right_kept == rows.count((True, True))
    assert found.wrong_discarded == rows.count((False, False))
    assert found.coverage == pytest.approx(sum(kept) / len(rows))


@pytest.mark.parametrize(("kept", "correct"), [([True], [True, False]), ([True], [0.5]), ([None], [True])])
def test_what_is_no_pair_of_labels_is_refused(kept: list[bool], correct: list[bool]) -> None:
    with pytest.raises(ValueError, match=r"as long as|neither true nor false"):
        KeepOrDiscard.of(kept, correct)
