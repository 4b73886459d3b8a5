"""The fall-back calibrator: Laplace's rule, Wilson's interval, and that it never passes for a fitted one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration import VoteShareCalibrator
from gate.calibration.vote_share import wilson
from gate.errors import StaleCalibrator
from gate.types import Confidence, Reading, SignalVector, Stage

STAGE = Stage("small")


def said(share: float | None, samples: int = 5) -> Confidence:
    reading = Reading("vote_share", share, "no samples" if share is None else None)
    return VoteShareCalibrator(samples).confidence(SignalVector((reading,)), STAGE)


@pytest.mark.parametrize(("agreeing", "p"), [(0, 1 / 7), (3, 4 / 7), (5, 6 / 7)])
def test_p_is_laplaces_rule_on_the_agreeing_samples(agreeing: int, p: float) -> None:
    assert said(agreeing / 5).p == pytest.approx(p)


@pytest.mark.parametrize(
    ("agreeing", "m", "low", "high"), [(5, 5, 0.56551, 1.0), (0, 10, 0.0, 0.27754), (8, 10, 0.49016, 0.94332)]
)
def test_the_interval_is_wilsons(agreeing: int, m: int, low: float, high: float) -> None:
    assert wilson(agreeing / m, m) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(2, 32).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m))))
def test_p_lies_in_its_interval_and_rises_with_every_vote(votes: tuple[int, int]) -> None:
    agreeing, m = votes
    here = said(agreeing / m, m)
    assert 0 <= here.low <= here.p <= here.high <= 1
    assert agreeing == m or here.p < said((agreeing + 1) / m, m).p


@given(st.integers(0, 5), st.integers(2, 6))
def test_more_samples_of_the_same_mind_narrow_the_interval(agreeing: int, times: int) -> None:
    few, many = said(agreeing / 5, 5), said(agreeing / 5, 5 * times)
    assert many.high - many.low < few.high - few.low


def test_without_a_vote_nothing_is_known_and_nothing_let_through() -> None:
    assert said(None) == Confidence(0.0, 0.0, 1.0, calibrated=False)
    assert VoteShareCalibrator(5).confidence(SignalVector(()), STAGE).p == 0


def test_it_says_that_it_is_not_calibrated() -> None:
    assert not said(1.0).calibrated
    assert VoteShareCalibrator(5).fingerprint == "uncalibrated"


def test_it_needs_the_vote_share_and_serves_every_stage() -> None:
    VoteShareCalibrator(5).check(("margin", "vote_share"), (STAGE, Stage("large", passages=True, tier=3)))
    with pytest.raises(StaleCalibrator, match="needs the signal 'vote_share'"):
        VoteShareCalibrator(5).check(("margin",), (STAGE,))


def test_where_sampling_stops_early_p_is_that_of_the_votes_there_are() -> None:
    early = VoteShareCalibrator(8, fewest=4)
    with pytest.raises(StaleCalibrator, match="needs the signal 'vote_posterior' too"):
        early.check(("vote_share",), (STAGE,))
    early.check(("vote_share", "vote_posterior"), (STAGE,))
    few = early.confidence(SignalVector((Reading("vote_share", 1.0), Reading("vote_posterior", 5 / 6))), STAGE)
    assert few == Confidence(5 / 6, pytest.approx(wilson(1.0, 4)[0]), 1.0, calibrated=False)
    unread = early.confidence(SignalVector((Reading("vote_share", 1.0),)), STAGE)
    assert unread == Confidence(0.0, 0.0, 1.0, calibrated=False)
