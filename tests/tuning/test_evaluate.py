"""Evaluating a policy: worked values, what is not known, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.tuning.evaluate import Evaluation, as_json
from gate.tuning.judgements import Judgements
from tests.tuning.judged import NAN, evaluate, rows, simulated

P = [0.95, 0.90, 0.80, 0.70, 0.60, 0.55, 0.40, 0.30]
CORRECT = [1.0, 1, 0, 1, 1, 0, 0, 0]
ANSWERED = [p >= 0.58 for p in P]


def worked(**columns: Any) -> Judgements:
    return rows(P, CORRECT, ANSWERED, **columns)


def test_the_worked_example() -> None:
    found = evaluate(worked())
    assert (found.n, found.labelled, found.answered, found.answered_labelled, found.wrong) == (8, 8, 5, 5, 1)
    assert found.coverage.value == pytest.approx(0.625)
    assert (found.risk.value, found.risk.low, found.risk.high) == pytest.approx((0.2, 0.005051, 0.716418), abs=1e-5)
    assert found.bound == pytest.approx(0.657408, abs=1e-5)
    assert found.right_of_all.value == found.without_gate.value == 0.5
    assert (found.right_kept.value, found.right_lost) == (1.0, 0)
    ranking = (found.auroc, found.aurc, found.excess_aurc, found.ece, found.brier)
    assert [r.value for r in ranking] == pytest.approx([0.875, 0.255655, 0.072917, 0.2625, 0.181875], abs=1e-5)
    assert [(a.action, a.count, a.share) for a in found.actions] == [("answer", 5, 0.625), ("abstain", 3, 0.375)]
    assert not found.notes


def test_the_confidence_is_that_of_every_interval() -> None:
    wide, narrow = evaluate(simulated(300), confidence=0.99), evaluate(simulated(300), confidence=0.8)
    for name in ("coverage", "risk", "without_gate", "right_kept", "auroc", "aurc", "ece", "brier"):
        a, b = getattr(wide, name), getattr(narrow, name)
        assert a.value == b.value
        assert a.low < b.low <= b.value <= b.high < a.high or name == "ece", name
    assert wide.bound is not None
    assert narrow.bound is not None
    assert wide.bound > narrow.bound


def test_unlabelled_questions_count_for_coverage_and_cost_and_nothing_else() -> None:
    labelled = evaluate(worked())
    more = evaluate(
        rows(
            [*P, 0.99, 0.98],
            [*CORRECT, NAN, NAN],
            [*ANSWERED, True, True],
            money=[0.001] * 8 + [0.011] * 2,
        )
    )
    assert (more.n, more.labelled, more.answered, more.answered_labelled) == (10, 8, 7, 5)
    for name in (
        "risk",
        "bound",
        "right_of_all",
        "right_kept",
        "auroc",
        "aurc",
        "ece",
        "brier",
        "reliability",
        "curve",
    ):
        assert getattr(more, name) == getattr(labelled, name), name
    assert more.coverage.value == pytest.approx(0.7)
    money = more.costs[-1]
    assert (money.kind, money.mean, money.p95) == ("money", pytest.approx(0.003), 0.011)
    assert money.per_right == pytest.approx(0.001 / 0.5)  # of the labelled ones: what others bought is not known
    assert more.notes == ("2 of 10 questions have no label: they count for coverage and cost alone",)


def test_without_labels_there_is_coverage_and_cost() -> None:
    found = evaluate(rows(P, [NAN] * 8, ANSWERED))
    assert found.coverage.value == 0.625
    assert found.risk.value is found.bound is found.right_kept.value is found.auroc.value is found.brier.value is None
    assert found.costs[0].mean == 1
    assert found.costs[0].per_right is None
    assert found.curve == ()
    assert [b.n for b in found.reliability] == [0] * 10
    assert found.confident_wrong[0].of_wrong is None


def test_a_policy_that_lets_nothing_through_has_no_risk() -> None:
    found = evaluate(rows(P, CORRECT, [False] * 8))
    assert (found.coverage.value, found.risk.value, found.bound) == (0, None, None)
    assert (found.right_kept.value, found.right_lost) == (0, 4)
    assert found.costs[0].per_right is None


def test_one_class_has_no_ranking_and_no_excess() -> None:
    found = evaluate(rows(P, [1.0] * 8, ANSWERED))
    assert found.auroc.value is None
    assert found.excess_aurc.value == 0
    assert found.risk.value == 0
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 5))


def test_answers_without_a_confidence_count_for_the_risk_alone() -> None:
    found = evaluate(rows([*P, NAN], [*CORRECT, 0], [*ANSWERED, True]))
    assert found.risk.value == pytest.approx(2 / 6)
    assert found.auroc.value == pytest.approx(0.875)
    assert found.notes == ("1 labelled questions have no confidence: they count for the risk, not for calibration",)


def test_weights_are_how_many_questions_a_label_stands_for() -> None:
    weights = [3.0, 1, 2, 1, 1, 2, 1, 1]
    again = [i for i, w in enumerate(weights) for _ in range(int(w))]
    money = [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008]
    weighted = evaluate(worked(weights=weights, money=money))
    repeated = evaluate(
        rows(
            [P[i] for i in again],
            [CORRECT[i] for i in again],
            [ANSWERED[i] for i in again],
            money=[money[i] for i in again],
        )
    )
    for name in ("risk", "without_gate", "right_of_all", "right_kept"):
        assert getattr(weighted, name).value == pytest.approx(getattr(repeated, name).value), name
    assert weighted.costs[-1].per_right == pytest.approx(repeated.costs[-1].per_right)
    alike = evaluate(worked(money=money))
    assert (weighted.coverage, weighted.actions) == (alike.coverage, alike.actions)
    assert (weighted.costs[-1].mean, weighted.costs[-1].p50) == (alike.costs[-1].mean, alike.costs[-1].p50)
    assert weighted.weighted
    assert not repeated.weighted
    assert "weighted" in weighted.notes[0]


def test_every_interval_holds_its_value() -> None:
    for seed in range(5):
        found = evaluate(simulated(400, seed=seed))
        for each in (found.auroc, found.aurc, found.excess_aurc, found.ece, found.brier, found.risk, found.coverage):
            assert each.low is not None
            assert each.value is not None
            assert each.high is not None
            assert each.low <= each.value <= each.high


def test_audits_of_one_chance_weigh_alike_whatever_was_not_audited() -> None:
    correct = [*CORRECT[:5], NAN, NAN, NAN]
    even = evaluate(rows(P, correct, ANSWERED, weights=[4.0] * 5 + [1.0] * 3))
    assert not even.weighted
    assert even.risk == evaluate(rows(P, correct, ANSWERED)).risk, "its interval is the exact one"


def test_segments_are_measured_one_by_one_and_small_ones_are_marked() -> None:
    large = simulated(400)
    found = {row.segment: row for row in evaluate(large).segments}
    assert list(found) == ["billing", "delivery", "returns"]
    assert {name for name, row in found.items() if row.too_few} == {"delivery"}
    alone = evaluate(large.where(large.segments == "billing"))
    assert (found["billing"].coverage, found["billing"].risk, found["billing"].bound) == (
        alone.coverage,
        alone.risk,
        alone.bound,
    )


@pytest.mark.parametrize(("labelled", "too_few"), [(29, True), (30, False)])
def test_thirty_labelled_questions_are_enough(labelled: int, too_few: bool) -> None:
    found = evaluate(rows([0.9] * 40, [1.0] * labelled + [NAN] * (40 - labelled), [True] * 40))
    assert found.segments[0].too_few is too_few


def test_the_slice_of_the_confident_and_wrong() -> None:
    n = 42
    p = [0.95] * 41 + [0.2]
    correct = [1.0] * 20 + [0.0] * 21 + [0.0]
    # the right answers have 1 … 20: one in twenty may be accused, so what lies below 2 is
    catching = [float(i) for i in range(1, 21)] + [1.5] * 15 + [2.0] * 5 + [NAN] + [0.0]
    blind = [1.0] * n
    found = evaluate(
        rows(
            p,
            correct,
            [True] * n,
            signals=("catching", "blind", "absent"),
            values=np.array([catching, blind, [NAN] * n]).T,
        ),
        answer_at=0.5,
    ).confident_wrong
    assert [s.above for s in found] == [0.5, 0.9]
    sure = found[1]
    assert (sure.wrong, sure.right) == (21, 20)
    assert sure.of_wrong == pytest.approx(21 / 22)
    assert sure.of_labelled == pytest.approx(21 / 42)
    assert [(c.signal, c.rate, c.n) for c in sure.catches] == [
        ("catching", 0.75, 20),
        ("blind", 0.0, 21),
        ("absent", None, 0),
    ]


def test_signals_are_ranked_where_they_are_there() -> None:
    found = evaluate(worked(signals=("p", "half"), values=np.array([P, [0.1, NAN, 0.3, NAN, 0.2, NAN, NAN, NAN]]).T))
    assert [(s.signal, s.n, s.missing) for s in found.signals] == [("p", 8, 0.0), ("half", 3, 0.625)]
    assert [s.auroc for s in found.signals] == [pytest.approx(0.875), 0.0]


def test_the_bins_hold_every_answer_once() -> None:
    found = evaluate(simulated(500)).reliability
    assert sum(b.n for b in found) == 500
    assert all(b.confidence is None or b.low < b.confidence <= b.high for b in found)
    edge = evaluate(rows([0.1 * 7, 0.7, 0.0], [1.0, 0, 1], [True] * 3)).reliability
    assert [b.n for b in edge] == [1, 0, 0, 0, 0, 0, 2, 0, 0, 0]


def test_the_curve_ends_at_full_coverage_and_is_thin() -> None:
    judged = simulated(5000)
    curve = evaluate(judged).curve
    assert len(curve) == 200
    assert curve[-1].coverage == 1
    assert curve[-1].risk == curve[-1].oracle == pytest.approx(float((judged.correct == 0).mean()))
    assert all(point.oracle <= point.risk + 1e-12 for point in curve)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"correct": [0.5] + [1.0] * 7}, "a label is neither 0 nor 1, in 1 of 8 rows; first: 'q0'"),
        ({"first_correct": [1.0, 2, *[1] * 6]}, "a first label is neither 0 nor 1, in 1 of 8 rows; first: 'q1'"),
        ({"p": [1.5, -0.1, float("inf"), *[0.5] * 5]}, "a confidence is not between 0 and 1, in 3 of 8 rows"),
        ({"weights": [-1.0] + [1] * 7}, "a weight is not a number of at least 0"),
        ({"weights": [NAN] + [1] * 7}, "a weight is not a number of at least 0"),
        ({"weights": [0.0] * 8}, "all weights are 0"),
        ({"money": [-1.0] + [0] * 7}, "a cost is not a number of at least 0"),
        ({"seconds": [float("inf")] + [0] * 7}, "a cost is not a number of at least 0"),
        ({"ids": ["a", "a", *"bcdefg"]}, "1 questions stand twice"),
    ],
)
def test_what_cannot_be_is_refused(columns: dict[str, Any], words: str) -> None:
    made = {name: np.asarray(v, dtype=getattr(worked(), name).dtype) for name, v in columns.items()}
    with pytest.raises(ConfigError) as refused:
        evaluate(replace(worked(), **made))
    assert words in str(refused.value)


def test_no_questions_are_refused() -> None:
    with pytest.raises(ConfigError, match="no questions"):
        evaluate(rows([], [], []))
    with pytest.raises(ValueError, match="confidence"):
        evaluate(worked(), confidence=1.0)


def test_the_same_questions_give_the_same_evaluation() -> None:
    assert evaluate(simulated(200)) == evaluate(simulated(200))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1) | st.just(NAN),
            st.sampled_from([0.0, 1.0, NAN]),
            st.booleans(),
            st.sampled_from(["", "a", "b"]),
            st.floats(-1e6, 1e6, width=32) | st.just(NAN),
            st.sampled_from([0.5, 1.0]),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_whatever_is_not_known_is_null_and_never_nan(drawn: list[tuple[float, float, bool, str, float, float]]) -> None:
    p, correct, answered, segments, values, weights = (list(column) for column in zip(*drawn, strict=True))
    found: Evaluation = evaluate(
        rows(
            p,
            correct,
            answered,
            segments=segments,
            weights=weights,
            signals=("s",),
            values=[[v] for v in values],
            money=[NAN] * len(p),
        ),
        answer_at=0.5,
    )
    read = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert read["n"] == len(p)
    assert read["costs"][-1] == {"kind": "money", "mean": None, "p50": None, "p95": None, "per_right": None}
