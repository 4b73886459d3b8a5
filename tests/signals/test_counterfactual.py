"""Counterfactual: what stayed, and what cannot be told."""

from __future__ import annotations

import pytest

from gate.evidence import Counterfactual
from gate.ports import Evidence, Missing
from gate.signals.counterfactual import COUNTERFACTUAL_SIGNALS
from gate.types import Cost

NONE = Missing("the upstream gave no second answer")


@pytest.mark.parametrize(
    ("use", "quality", "values"),
    [
        (True, True, (1.0, 1.0, 1.0)),
        (True, False, (1.0, 0.0, 0.0)),
        (False, True, (0.0, 1.0, 0.0)),
        (None, True, (NONE, 1.0, NONE)),
        (None, False, (NONE, 0.0, 0.0)),
        (False, None, (0.0, NONE, 0.0)),
    ],
)
def test_an_answer_is_kept_where_it_stayed_both_times(
    use: bool | None, quality: bool | None, values: tuple[float | Missing, ...]
) -> None:
    evidence = Evidence().having(Counterfactual(Cost(), use, quality))
    assert tuple(signal.measure(evidence) for signal in COUNTERFACTUAL_SIGNALS) == values
