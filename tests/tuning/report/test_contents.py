"""What a report is made of: the weights of a calibrator, and what they came to."""

from __future__ import annotations

import pytest

from gate.calibration.logistic import LogisticCalibrator, SignalWeight, StageWeights
from gate.policy import Promise
from gate.tuning.report import Example, FrontierPoint, Report, Weighed, stage_signals
from tests.tuning.judged import NAN, evaluate, rows


def calibrator() -> LogisticCalibrator:
    kept = SignalWeight(mean=0.5, scale=0.25, weight=2.0, missing=-0.3, low=0, high=1)
    logit = SignalWeight(transform="logit", mean=0, scale=1, weight=1.0, low=0, high=1)
    stage = StageWeights(intercept=0, signals={"plain": kept, "share": logit}, n=50)
    return LogisticCalibrator(signals=("plain", "share"), stages={"a/closed_book/tier0": stage, "b": stage})


def test_contributions_are_mean_sizes_in_the_stage_where_the_questions_ended() -> None:
    judged = rows(
        [0.5] * 4,
        [1.0] * 4,
        [True] * 4,
        stages=["a/closed_book/tier0"] * 3 + ["elsewhere"],
        signals=("share", "plain", "of no calibrator"),
        values=[[0.5, 1.0, 7], [NAN, 0.25, 7], [NAN, NAN, 7], [0.9, 0.9, 7]],
    )
    first, second = stage_signals(calibrator(), judged)
    assert (first.stage, first.n) == ("a/closed_book/tier0", 50)
    # plain: 2 (1 - .5) / .25 = 4 and 2 (.25 - .5) / .25 = -2, so 3 in size; share: logit(.5) = 0
    assert first.signals == (Weighed("plain", 2.0, -0.3, 3.0), Weighed("share", 1.0, 0.0, 0.0))
    assert [s.contribution for s in second.signals] == [None, None]


def test_signals_that_were_not_recorded_have_no_contribution() -> None:
    judged = rows([0.5], [1.0], [True], stages=["b"])
    assert [s.contribution for s in stage_signals(calibrator(), judged)[1].signals] == [None, None]


@pytest.mark.parametrize("money", [NAN, -1.0, float("inf")])
def test_a_price_is_a_number_or_not_known(money: float) -> None:
    with pytest.raises(ValueError, match="money"):
        FrontierPoint("p", money, 0.5, None)


@pytest.mark.parametrize("share", [NAN, -0.1, 1.1])
def test_shares_are_shares(share: float) -> None:
    with pytest.raises(ValueError, match="coverage and risk"):
        FrontierPoint("p", None, share, None)
    with pytest.raises(ValueError, match="coverage and risk"):
        FrontierPoint("p", None, 0.5, share)
    with pytest.raises(ValueError, match="p lies in"):
        Example("q", "", "", share, None)


def test_the_evaluation_is_of_the_confidence_that_was_promised() -> None:
    with pytest.raises(ValueError, match=r"evaluate with the confidence of the promise: 0.95 is not 0.9"):
        Report("p", "", Promise(max_error=0.1, confidence=0.9), evaluate(rows([0.5], [1.0], [True])))
