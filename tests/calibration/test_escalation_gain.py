"""What escalating is worth: worked values, and what has none."""

from __future__ import annotations

import pytest

from gate.calibration.escalation_gain import Operation, incremental_benefit_per_cost, performance_gap_recovered

WEAK, POLICY, STRONG = Operation(0.5, 1), Operation(0.62, 3), Operation(0.7, 50)


def test_worked_values() -> None:
    assert incremental_benefit_per_cost(WEAK, POLICY, STRONG) == pytest.approx(13.7)
    assert performance_gap_recovered(0.5, 0.62, 0.7) == pytest.approx(0.6)


def test_always_asking_the_strong_one_gains_nothing_over_it() -> None:
    assert incremental_benefit_per_cost(WEAK, STRONG, STRONG) == 0.0
    assert performance_gap_recovered(0.5, 0.7, 0.7) == 1.0


def test_a_policy_that_harms_is_below_nought() -> None:
    assert incremental_benefit_per_cost(WEAK, Operation(0.4, 3), STRONG) < -1  # type: ignore[operator]
    assert performance_gap_recovered(0.5, 0.4, 0.7) < 0  # type: ignore[operator]


@pytest.mark.parametrize(
    ("weak", "policy", "strong"),
    [
        (WEAK, Operation(0.6, 1), STRONG),
        (WEAK, Operation(0.6, 0.5), STRONG),
        (WEAK, POLICY, Operation(0.7, 1)),
        (WEAK, POLICY, Operation(0.5, 50)),
        (WEAK, POLICY, Operation(0.3, 50)),
    ],
)
def test_without_a_price_or_a_lead_it_is_undefined(weak: Operation, policy: Operation, strong: Operation) -> None:
    assert incremental_benefit_per_cost(weak, policy, strong) is None
    assert performance_gap_recovered(0.7, 0.6, 0.7) is None
    assert performance_gap_recovered(0.7, 0.6, 0.5) is None
