"""What every calibrator must be, run over CALIBRATORS: registering is being tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration import CALIBRATORS, LogisticCalibrator, VoteShareCalibrator
from gate.calibration.logistic import SignalWeight, StageWeights
from gate.errors import StaleCalibrator
from gate.ports import Calibrator
from gate.types import Reading, SignalVector, Stage

STAGE = Stage("small")
SIGNALS = ("vote_share", "margin")


def fitted() -> LogisticCalibrator:
    learned = {
        "vote_share": SignalWeight(transform="logit", mean=0.4, scale=1.2, weight=1.1, missing=-0.3, low=0, high=1),
        "margin": SignalWeight(mean=2, scale=3, weight=0.4, missing=0.0, low=0, high=9),
    }
    root = [[((i * 7 + j * 3) % 5 - 2) / 9 for j in range(5)] for i in range(5)]
    covariance = tuple(tuple(sum(a * b for a, b in zip(x, y, strict=True)) for y in root) for x in root)
    stage = StageWeights(intercept=-0.4, signals=learned, covariance=covariance, n=80)
    return LogisticCalibrator(signals=SIGNALS, stages={STAGE.key: stage})


MAKE: dict[type, Callable[[], Calibrator]] = {
    LogisticCalibrator: fitted,
    VoteShareCalibrator: lambda: VoteShareCalibrator(5),
}

each = pytest.mark.parametrize("kind", CALIBRATORS, ids=lambda kind: kind.__name__)
SHARE, MARGIN = st.none() | st.floats(0, 1), st.none() | st.floats(-50, 50)


def vector(share: float | None, margin: float | None) -> SignalVector:
    values = zip(SIGNALS, (share, margin), strict=True)
    return SignalVector(tuple(Reading(name, x, "lost" if x is None else None) for name, x in values))


def test_every_registered_calibrator_is_made_here() -> None:
    assert set(MAKE) == set(CALIBRATORS)
    assert len({MAKE[kind]().kind for kind in CALIBRATORS}) == len(CALIBRATORS)  # type: ignore[attr-defined]


@each
@given(share=SHARE, margin=MARGIN)
def test_a_confidence_is_a_probability_within_its_interval(
    kind: type, share: float | None, margin: float | None
) -> None:
    said = MAKE[kind]().confidence(vector(share, margin), STAGE)
    assert 0 <= said.low <= said.p <= said.high <= 1
    assert {c.signal for c in said.contributions} <= set(SIGNALS)


@each
@given(one=st.floats(0, 1), other=st.floats(0, 1), margin=MARGIN)
def test_no_signal_lowers_p_by_rising(kind: type, one: float, other: float, margin: float | None) -> None:
    made = MAKE[kind]()
    low, high = (made.confidence(vector(share, margin), STAGE).p for share in sorted((one, other)))
    assert low <= high


@each
def test_losing_every_signal_leaves_less_than_an_average_answer_has(kind: type) -> None:
    made = MAKE[kind]()
    assert made.confidence(vector(None, None), STAGE).p < made.confidence(vector(0.6, 2.0), STAGE).p


@each
def test_two_of_a_kind_are_alike_and_repeat_themselves(kind: type) -> None:
    one, other = MAKE[kind](), MAKE[kind]()
    assert one.fingerprint == other.fingerprint
    assert one.confidence(vector(0.7, 1.0), STAGE) == other.confidence(vector(0.7, 1.0), STAGE)
    assert one.confidence(vector(0.7, 1.0), STAGE) == one.confidence(vector(0.7, 1.0), STAGE)


@each
def test_the_signals_of_another_policy_are_refused(kind: type) -> None:
    made = MAKE[kind]()
    made.check(SIGNALS, (STAGE,))
    with pytest.raises(StaleCalibrator):
        made.check(("margin",), (STAGE,))


@each
def test_a_stage_that_passes_the_check_has_a_confidence(kind: type) -> None:
    made, later = MAKE[kind](), replace(STAGE, tier=1)
    try:
        made.check(SIGNALS, (STAGE, later))
    except StaleCalibrator:
        with pytest.raises(StaleCalibrator):
            made.confidence(vector(0.7, 1.0), later)
    else:
        assert made.confidence(vector(0.7, 1.0), later) == made.confidence(vector(0.7, 1.0), STAGE)
