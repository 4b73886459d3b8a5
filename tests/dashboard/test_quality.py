"""What labels tell, with worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration.metrics import risk_coverage as plain_risk_coverage
from gate.dashboard.quality import FEW, quality, risk_coverage
from gate.log.kept import Audited


def one(name: int, p: float | None, correct: bool, audit: float | None = 0.5, action: str = "answer") -> Audited:
    return Audited(str(name), p, correct, action, "observe", audit, reviewed=True)


def test_each_answer_counts_by_the_inverse_of_its_chance() -> None:
    # one wrong answer drawn with 1 in 10 stands for ten, three right ones drawn surely for themselves
    found = quality([one(0, 0.9, False, 0.1), *(one(i, 0.9, True, 1.0) for i in (1, 2, 3))], 0.05, 0.95)
    assert found.let_through is not None
    assert found.let_through.value == pytest.approx(10 / 13)
    assert found.worth == pytest.approx(13**2 / 103)
    assert found.brier == pytest.approx((10 * 0.81 + 3 * 0.01) / 13)
    assert found.let_through.low < 10 / 13 < found.let_through.high


def test_what_was_not_drawn_counts_only_when_asked() -> None:
    rows = [one(0, 0.9, False, None), one(1, 0.9, True), one(2, None, False)]
    drawn, everything = quality(rows, 0.05, 0.95), quality(rows, 0.05, 0.95, "all")
    assert (drawn.labels, drawn.wrong, drawn.not_drawn, drawn.without_p) == (1, 0, 1, 1)
    assert (everything.labels, everything.wrong) == (2, 1)


def test_what_users_volunteer_is_no_sample_even_where_it_was_drawn() -> None:
    rows = [one(0, 0.9, True), Audited("1", 0.9, False, "answer", "enforce", 0.5)]
    drawn, everything = quality(rows, 0.05, 0.95), quality(rows, 0.05, 0.95, "all")
    assert (drawn.labels, drawn.wrong, drawn.not_drawn) == (1, 0, 1)
    assert (everything.labels, everything.wrong) == (2, 1)


def test_what_is_let_through_is_told_from_what_is_not() -> None:
    rows = [one(i, 0.9, i != 0) for i in range(8)] + [one(i, 0.2, False, action="abstain") for i in range(8, 10)]
    found = quality(rows, 0.05, 0.95)
    assert found.let_through is not None
    assert (found.let_through.value, found.let_through.count) == (pytest.approx(1 / 8), 8)
    assert found.coverage == pytest.approx(0.8)
    assert found.auroc == pytest.approx((7 * 2 + 7 * 0.5) / (7 * 3))


def test_too_few_says_so() -> None:
    assert quality([], 0.05, 0.95).few
    many = quality([one(i, 0.9, i % 2 == 0) for i in range(FEW)], 0.05, 0.95)
    assert not many.few
    assert not many.few_wrong
    assert quality([one(i, 0.9, True) for i in range(FEW)], 0.05, 0.95).few_wrong


def test_nothing_is_none_and_no_number() -> None:
    found = quality([], 0.05, 0.95)
    assert (found.auroc, found.ece, found.brier, found.let_through, found.coverage) == (None, None, None, None, None)
    assert (found.bins, found.curve, found.tabled) == ((), (), ())


def test_how_many_labels_a_promise_takes() -> None:
    assert quality([], 0.05, 0.95).needed == 59  # .95^59 = .0485
    assert quality([], 0.1, 0.9).needed == 22


def test_bins_hold_all_labels_once_and_the_interval_of_fewer_is_wider() -> None:
    draw = np.random.default_rng(3)
    rows = [
        one(i, float(p), bool(draw.random() < p), float(draw.choice([0.1, 1.0])))
        for i, p in enumerate(draw.random(200))
    ]
    found = quality(rows, 0.05, 0.95)
    assert len(found.bins) == 10
    assert sum(b.right.count for b in found.bins) == 200
    assert [b.confidence for b in found.bins] == sorted(b.confidence for b in found.bins)
    assert all(b.right.low <= b.right.value <= b.right.high for b in found.bins)
    alike = quality([one(i, a.p, a.correct, 1.0) for i, a in enumerate(rows)], 0.05, 0.95)
    assert found.right is not None
    assert alike.right is not None
    assert found.right.high - found.right.low > alike.right.high - alike.right.low


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans()), min_size=1, max_size=60))
def test_without_weights_the_curve_is_that_of_the_metrics(rows: list[tuple[float, bool]]) -> None:
    p, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    plain = plain_risk_coverage(p, right)
    for point in risk_coverage(p, right, np.ones(len(rows))):
        assert point.risk == pytest.approx(plain[round(point.coverage * len(rows)) - 1])
        assert point.coverage == pytest.approx(float((p >= point.threshold).mean()))


def test_the_table_of_a_long_curve_is_short() -> None:
    found = quality([one(i, i / 1000, i % 3 > 0) for i in range(1000)], 0.05, 0.95)
    assert len(found.curve) == 240
    assert len(found.tabled) == 10
    assert found.tabled[-1].coverage == pytest.approx(1.0)


def test_of_an_answer_that_gate_would_have_gone_on_from_it_let_nothing_through() -> None:
    went_on = Audited("b", 0.2, False, "answer", "observe", 1.0, further=True, reviewed=True)
    found = quality([Audited("a", 0.9, True, "answer", "observe", 1.0, reviewed=True), went_on], 0.1, 0.95)
    assert (found.coverage, found.wrong) == (0.5, 1)
    assert found.let_through is not None
    assert (found.let_through.value, found.let_through.count) == (0.0, 1)
