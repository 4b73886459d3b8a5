"""Wrong and sure of it: the cut and its tie rule, the slice, and the share of it that is caught."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.high_certainty import catch_rate, certain_above, high_certainty_wrong


def test_of_equally_good_cuts_the_lowest_is_taken() -> None:
    """Right .9 and .8, wrong .85 and .3: a cut in [.3, .8] or in [.85, .9] costs one mistake."""
    assert certain_above([0.9, 0.8, 0.85, 0.3], [True, True, False, False]) == 0.3
    assert high_certainty_wrong([0.9, 0.8, 0.85, 0.3], [True, True, False, False], 0.3).sum() == 1


def test_the_slice_is_what_is_wrong_sure_and_known() -> None:
    certainty, correct = [0.9, 0.8, 0.85, 0.3, 0.95], [True, True, False, False, False]
    assert high_certainty_wrong(certainty, correct, 0.8).tolist() == [False, False, True, False, True]
    known = [True, True, True, True, False]
    assert high_certainty_wrong(certainty, correct, 0.8, known=known).tolist() == [False, False, True, False, False]
    assert not high_certainty_wrong(certainty, correct, 0.95).any()  # above the cut, not at it


def test_the_catch_rate_looks_at_the_slice_alone() -> None:
    slice_ = [True, True, True, True, False]
    assert catch_rate([True, False, False, False, True], slice_) == 0.25
    assert catch_rate([True] * 5, [False] * 5) is None


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9]), st.booleans())))
def test_no_value_cuts_better(rows: list[tuple[float, bool]]) -> None:
    certainty, correct = np.array([c for c, _ in rows]), np.array([y for _, y in rows], dtype=bool)
    cut = certain_above(certainty, correct)
    if not rows or correct.all() or not correct.any():
        assert cut is None
        return

    def cost(at: float) -> float:
        return float((certainty[~correct] > at).mean() + (certainty[correct] < at).mean())

    costs = {value: cost(value) for value in certainty}
    assert costs[cut] == pytest.approx(min(costs.values()))
    assert all(other > costs[cut] + 1e-12 for value, other in costs.items() if value < cut)


def test_the_ratio_of_right_to_wrong_does_not_move_the_cut() -> None:
    right, wrong = [0.9, 0.8, 0.7], [0.6, 0.4, 0.75]
    one = certain_above([*right, *wrong], [True] * 3 + [False] * 3)
    other = certain_above([*right * 50, *wrong], [True] * 150 + [False] * 3)
    assert one == other == 0.6


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="as long as"):
        catch_rate([True], [True, False])
    with pytest.raises(ValueError, match="as long as"):
        high_certainty_wrong([0.5, 0.6], [True, False], 0.5, known=[True])
