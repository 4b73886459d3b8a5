"""What comes in as data is checked once: nothing that is no label becomes one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gate.calibration.arrays import as_labels, checked, checked_probabilities, shares


def test_labels_are_booleans_or_nought_and_one() -> None:
    for values in ([True, False], [1, 0], [1.0, 0.0], np.array([1, 0], dtype=np.int8)):
        assert as_labels(values).tolist() == [True, False]  # type: ignore[arg-type]
    assert as_labels([]).tolist() == []


@pytest.mark.parametrize("values", [[True, None], [1.0, float("nan")], [2, 0], [0.5, 1.0], ["1", "0"], ["yes", "no"]])
def test_what_is_no_label_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="neither true nor false"):
        as_labels(values)


def test_a_probability_may_be_off_by_rounding_and_by_no_more() -> None:
    p, _ = checked_probabilities([1.0 + 1e-12, -1e-12], [True, False])
    assert p.tolist() == [1.0, 0.0]
    assert checked([7.0, -3.0], [True, False])[0].tolist() == [7.0, -3.0]  # ranking needs no probability
    for bad in (1.01, -0.01, float("inf")):
        with pytest.raises(ValueError, match="no probability"):
            checked_probabilities([bad], [True])


def test_weights_become_shares() -> None:
    assert shares(None, 4).tolist() == [0.25] * 4
    assert shares([1.0, 3.0], 2).tolist() == [0.25, 0.75]
    assert shares(None, 0).tolist() == []


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_what_is_no_weight_is_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        shares(weights, 2)
