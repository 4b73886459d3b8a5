"""The logistic calibrator: worked values, what a lost signal does, how far it is to be trusted, what files it takes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration import LogisticCalibrator
from gate.calibration.ellipsoid import Ellipsoid
from gate.calibration.logistic import SignalWeight, StageWeights, Way, Ways, sigmoid, transformed
from gate.calibration.recalibration import Beta, Isotonic
from gate.errors import ConfigError, StaleCalibrator
from gate.types import Action, Contribution, Reading, SignalVector, Stage

STAGE = Stage("small")
VOTE = SignalWeight(transform="logit", mean=0, scale=1, weight=0.8, missing=-0.5, low=0.1, high=0.9)
LENGTH = SignalWeight(mean=10, scale=4, weight=0.3, low=2, high=30)


def calibrator(covariance: tuple[tuple[float, ...], ...] = (), **signals: SignalWeight) -> LogisticCalibrator:
    fitted = StageWeights(intercept=0.2, signals=signals, covariance=covariance, n=100)
    return LogisticCalibrator(signals=tuple(signals), stages={STAGE.key: fitted}, fitted_on={"prompt:x": "abc"})


def vector(**values: float | None) -> SignalVector:
    return SignalVector(tuple(Reading(name, x, "lost" if x is None else None) for name, x in values.items()))


def test_worked_value() -> None:
    said = calibrator(vote=VOTE).confidence(vector(vote=0.9), STAGE)
    assert said.base + said.contributions[0].log_odds == pytest.approx(1.95778, abs=5e-6)
    assert said.p == pytest.approx(0.87629, abs=5e-6)
    assert (said.low, said.high, said.calibrated, said.out_of_distribution) == (said.p, said.p, True, False)


def test_signals_add_up_each_on_its_own_scale() -> None:
    said = calibrator(vote=VOTE, length=LENGTH).confidence(vector(vote=0.5, length=18), STAGE)
    assert [c.signal for c in said.contributions] == ["vote", "length"]
    assert [c.log_odds for c in said.contributions] == pytest.approx([0.0, 0.6])
    assert said.p == pytest.approx(1 / (1 + math.exp(-0.8)))


def test_a_lost_signal_adds_its_missing_weight_and_nothing_else() -> None:
    said = calibrator(vote=VOTE, length=LENGTH).confidence(vector(vote=None, length=None), STAGE)
    assert said.contributions == (Contribution("vote", -0.5), Contribution("length", 0.0))
    assert said.p == pytest.approx(1 / (1 + math.exp(0.3)))
    assert not said.out_of_distribution


@pytest.mark.parametrize(
    ("vote", "p", "low", "high"),
    [(0.9, 0.876292, 0.633327, 0.966723), (None, 0.425557, 0.193733, 0.695495)],
)
def test_the_interval_is_1_96_deviations_of_z(vote: float | None, p: float, low: float, high: float) -> None:
    covariance = ((0.04, 0.01, 0.02), (0.01, 0.09, 0.0), (0.02, 0.0, 0.25))
    said = calibrator(covariance, vote=VOTE).confidence(vector(vote=vote), STAGE)
    assert (said.p, said.low, said.high) == pytest.approx((p, low, high), abs=2e-6)


@given(
    st.none() | st.floats(-1e6, 1e6),
    st.none() | st.floats(0, 1),
    st.lists(st.lists(st.floats(-3, 3), min_size=5, max_size=5), min_size=5, max_size=5),
)
def test_the_interval_holds_p(length: float | None, vote: float | None, root: list[list[float]]) -> None:
    covariance = tuple(tuple(math.fsum(a * b for a, b in zip(x, y, strict=True)) for y in root) for x in root)
    made = calibrator(covariance, length=LENGTH, vote=VOTE)
    said = made.confidence(vector(length=length, vote=vote), STAGE)
    assert 0 <= said.low <= said.p <= said.high <= 1


@pytest.mark.parametrize(
    ("value", "outside"),
    [(2.0, False), (-0.7, False), (-0.9, True), (30.0, False), (32.7, False), (32.9, True), (math.nan, True)],
)
def test_a_tenth_beyond_the_range_seen_is_still_trusted(value: float, outside: bool) -> None:
    said = calibrator(length=LENGTH).confidence(vector(length=value), STAGE)
    assert said.out_of_distribution is outside


def test_a_value_never_seen_counts_as_the_nearest_one_that_was_and_widens_the_interval() -> None:
    made = calibrator(((0.04, 0.0, 0.0), (0.0, 0.01, 0.0), (0.0, 0.0, 0.1)), length=LENGTH)
    end, just, far = (made.confidence(vector(length=x), STAGE) for x in (30.0, 31.0, 40.0))
    assert end.p == just.p == far.p == pytest.approx(sigmoid(0.2 + 0.3 * 5))
    # 1.96 sqrt(.04 + .01 * 5^2) at the end of the range, .3 for each standard deviation of 4 beyond it
    widths = [1.96 * math.sqrt(0.29) + 0.3 * beyond / 4 for beyond in (0, 1, 10)]
    assert [said.high for said in (end, just, far)] == pytest.approx([sigmoid(1.7 + w) for w in widths])
    assert [said.low for said in (end, just, far)] == pytest.approx([sigmoid(1.7 - w) for w in widths])
    assert [said.out_of_distribution for said in (end, just, far)] == [False, False, True]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e308])
def test_no_value_makes_p_no_number(value: float) -> None:
    made = calibrator(length=LENGTH, vote=VOTE)
    said = made.confidence(vector(length=value, vote=value), STAGE)
    assert 0 <= said.low <= said.p <= said.high <= 1
    assert said.out_of_distribution


def recalibrated(curve: Beta | Isotonic) -> LogisticCalibrator:
    stage = calibrator(((0.04, 0.01, 0.02), (0.01, 0.09, 0.0), (0.02, 0.0, 0.25)), vote=VOTE).stages[STAGE.key]
    return LogisticCalibrator(signals=("vote",), stages={STAGE.key: stage.model_copy(update={"recalibration": curve})})


def test_a_recalibration_bends_p_and_its_interval_and_leaves_the_contributions() -> None:
    plain = recalibrated(Beta(a=1, b=1, c=0)).confidence(vector(vote=0.9), STAGE)
    said = recalibrated(Isotonic(knots=((0.0, -1.0), (4.0, 1.0)))).confidence(vector(vote=0.9), STAGE)
    assert (plain.p, plain.low, plain.high) == pytest.approx((0.876292, 0.633327, 0.966723), abs=2e-6)
    for bent, straight in ((said.p, plain.p), (said.low, plain.low), (said.high, plain.high)):
        z = math.log(straight / (1 - straight))
        assert math.log(bent / (1 - bent)) == pytest.approx(-1 + z / 2, abs=1e-6)
    assert (said.contributions, said.base) == (plain.contributions, plain.base)


def test_readings_that_never_went_together_are_out_of_distribution() -> None:
    twin = SignalWeight(mean=0, scale=1, weight=1, low=-3, high=3)
    stage = calibrator(one=twin, other=twin).stages[STAGE.key]
    joint = Ellipsoid(triangle=(1.0, 0.9, 1.0), threshold=4.5)
    made = LogisticCalibrator(signals=("one", "other"), stages={STAGE.key: stage.model_copy(update={"joint": joint})})
    for one, other, outside in ((2.5, 2.5, False), (2.5, -2.5, True), (2.5, None, False), (None, None, False)):
        assert made.confidence(vector(one=one, other=other), STAGE).out_of_distribution is outside


def test_files_without_the_newer_parts_are_loaded_and_keep_their_fingerprint() -> None:
    shipped = Path(__file__).parents[2] / "policies"
    fingerprint = LogisticCalibrator.load(shipped / "balanced.calibrator.json").fingerprint
    assert f"calibrator: {fingerprint}" in (shipped / "balanced.yaml").read_text(encoding="utf-8")


def test_a_probability_of_nought_or_one_weighs_no_more_than_the_clip() -> None:
    made = calibrator(vote=VOTE.model_copy(update={"low": 0.0, "high": 1.0}))
    sure, nearly = (made.confidence(vector(vote=x), STAGE).p for x in (1.0, 1 - 1e-4))
    never, hardly = (made.confidence(vector(vote=x), STAGE).p for x in (0.0, 1e-4))
    assert (sure, never) == pytest.approx((nearly, hardly))
    assert sure == pytest.approx(sigmoid(0.2 + 0.8 * math.log(9999)))


@given(st.floats(-1e300, 1e300))
def test_a_huge_log_odds_does_not_overflow(z: float) -> None:
    assert 0 <= sigmoid(z) <= 1
    assert sigmoid(z) + sigmoid(-z) == pytest.approx(1)
    assert sigmoid(z) <= sigmoid(z + abs(z) / 8)


@given(st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(-100, 100))
def test_p_never_falls_when_a_signal_rises(one: float, other: float, length: float | None) -> None:
    made = calibrator(vote=VOTE, length=LENGTH)
    low, high = (made.confidence(vector(vote=x, length=length), STAGE).p for x in sorted((one, other)))
    assert low <= high


def test_it_refuses_what_it_was_not_fitted_for() -> None:
    made = calibrator(vote=VOTE, length=LENGTH)
    made.check(("vote", "length"), (STAGE,))
    for signals in (("length", "vote"), ("vote",), ("vote", "length", "margin")):
        with pytest.raises(StaleCalibrator, match="was fitted for"):
            made.check(signals, (STAGE,))
    with pytest.raises(StaleCalibrator, match="small/with_passages/tier0"):
        made.check(("vote", "length"), (STAGE, Stage("small", passages=True)))
    with pytest.raises(StaleCalibrator, match="small/closed_book/tier1"):
        made.confidence(vector(vote=0.5, length=1), Stage("small", tier=1))
    with pytest.raises(StaleCalibrator):
        made.confidence(vector(length=1, vote=0.5), STAGE)


def test_a_dumped_calibrator_is_loaded_as_it_was(tmp_path: Path) -> None:
    third = LENGTH.model_copy(update={"mean": 1 / 3, "scale": math.pi})
    made = calibrator(((0.1, 0.0, 0.0), (0.0, 1 / 7, 0.0), (0.0, 0.0, 1e-300)), length=third)
    parts = {"recalibration": Isotonic(knots=((0, 1 / 3), (1, 2))), "joint": Ellipsoid(triangle=(1.1,), threshold=4)}
    stages = {STAGE.key: made.stages[STAGE.key].model_copy(update=parts)}
    made = made.model_copy(update={"stages": stages})
    path = tmp_path / "calibrator.json"
    path.write_text(made.dump(), encoding="utf-8")
    loaded = LogisticCalibrator.load(path)
    assert loaded == made
    assert loaded.fingerprint == made.fingerprint
    assert loaded.confidence(vector(length=17.3), STAGE) == made.confidence(vector(length=17.3), STAGE)


def test_any_changed_number_changes_the_fingerprint() -> None:
    changes = ({"weight": 0.31}, {"missing": -0.1}, {"low": 1.9}, {"mean": 11.0}, {"transform": "logit"})
    made = [calibrator(length=LENGTH.model_copy(update=change)) for change in ({}, *changes)]
    assert len({each.fingerprint for each in made}) == len(made)


def set_at(*place: str | int, to: object) -> Callable[[dict[str, Any]], object]:
    def change(data: dict[str, Any]) -> object:
        inner: Any = data
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = to
        return data

    return change


VOTE_AT = ("stages", STAGE.key, "signals", "vote")
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a weight below nought": (set_at(*VOTE_AT, "weight", to=-0.1), "weight: .*greater than or equal to 0"),
    "a missing weight above nought": (set_at(*VOTE_AT, "missing", to=0.1), "missing: .*less than or equal to 0"),
    "no scale": (set_at(*VOTE_AT, "scale", to=0), "scale: .*greater than 0"),
    "NaN": (set_at(*VOTE_AT, "mean", to=math.nan), "mean: .*finite"),
    "infinity": (set_at("stages", STAGE.key, "intercept", to=math.inf), "intercept: .*finite"),
    "a crooked covariance": (set_at("stages", STAGE.key, "covariance", to=[[1, 0, 0], [0, 1]]), "must be 3 x 3"),
    "too few labels": (set_at("stages", STAGE.key, "n", to=-1), "n: .*greater than or equal to 0"),
    "knots out of order": (
        set_at("stages", STAGE.key, "recalibration", to={"kind": "isotonic", "knots": [[0, 0], [1, 1], [1, 2]]}),
        "recalibration.isotonic: .*knots must rise",
    ),
    "no knots": (
        set_at("stages", STAGE.key, "recalibration", to={"kind": "isotonic", "knots": []}),
        "recalibration.isotonic.knots: .*at least 1",
    ),
    "an unknown recalibration": (
        set_at("stages", STAGE.key, "recalibration", to={"kind": "spline"}),
        "recalibration: .*'beta', 'isotonic'",
    ),
    "a falling beta": (
        set_at("stages", STAGE.key, "recalibration", to={"kind": "beta", "a": -0.1, "b": 1, "c": 0}),
        "recalibration.beta.a: .*greater than or equal to 0",
    ),
    "an ellipsoid of other signals": (
        set_at("stages", STAGE.key, "joint", to={"triangle": [1, 0, 1], "threshold": 5}),
        "joint must be of 1 signals",
    ),
    "a covariance that is none": (
        set_at("stages", STAGE.key, "joint", to={"triangle": [-1], "threshold": 5}),
        "joint: .*positive definite",
    ),
    "signals in another order": (set_at("signals", to=["length", "vote"]), "in that order"),
    "an unknown key": (set_at("wieghts", to=1), "wieghts: Extra"),
    "another kind": (set_at("kind", to="isotonic"), "kind: .*logistic"),
    "a later version": (set_at("version", to=2), "version: .*1"),
    "a list": (lambda data: [data], "file: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_name_and_the_place(case: str, tmp_path: Path) -> None:
    change, said = BROKEN[case]
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(change(json.loads(calibrator(vote=VOTE).dump()))), encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        LogisticCalibrator.load(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"null", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"broken\.json: not a usable calibrator"):
        LogisticCalibrator.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: cannot read the calibrator: No such file"):
        LogisticCalibrator.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("transform", "clip", "value", "made"),
    [
        ("logit", 1e-4, 0.9, math.log(9)),
        ("logit", 0.1, 1.0, math.log(9)),
        ("logit", 0.1, 0.0, -math.log(9)),
        ("negative_log", 1e-4, -1.0, 0.0),
        ("negative_log", 1e-4, -math.e, -1.0),
        ("negative_log", 0.5, -0.01, math.log(2)),
        ("negative_log", 0.5, 0.0, math.log(2)),
        ("identity", 1e-4, -3.5, -3.5),
    ],
)
def test_values_on_the_scale_they_are_weighed_on(transform: str, clip: float, value: float, made: float) -> None:
    assert transformed(transform, clip, value) == pytest.approx(made)


@pytest.mark.parametrize("value", [0.3, -1.2345678, 123.456789, 1e-3])
def test_a_signal_that_never_varied_is_in_range_where_it_was_fitted_in_single_precision(value: float) -> None:
    fitted = float(np.float32(value))
    learned = SignalWeight(mean=fitted, scale=1.0, weight=0.5, low=fitted, high=fitted)
    assert learned.within(value)
    assert not learned.within(value + 0.001)


FALLING = ((0.2, 0.5), (0.6, 0.1))


def seeing(**ways: Way) -> LogisticCalibrator:
    ahead = Ways(wrong=1.0, abstain=0.1, stages={STAGE.key: ways})
    return calibrator(vote=VOTE).model_copy(update={"ways": ahead})


@pytest.mark.parametrize(("p", "cost"), [(0.0, 0.5), (0.2, 0.5), (0.4, 0.3), (0.6, 0.1), (1.0, 0.1)])
def test_what_a_way_costs_is_read_off_its_curve(p: float, cost: float) -> None:
    assert Way(cost=FALLING).expected_cost(p) == pytest.approx(cost)


def test_the_prospect_of_more_evidence_goes_by_the_drafts_own_p() -> None:
    said = seeing(gather=Way(cost=((0.0, 1.0), (1.0, 0.0)))).confidence(vector(vote=0.9), STAGE)
    (prospect,) = said.prospects
    assert (prospect.action, prospect.p, prospect.target) == (Action.GATHER, said.p, "")
    assert prospect.cost == pytest.approx(1 - said.p)


def test_the_prospect_of_another_draft_is_told_from_what_is_known_of_this_one() -> None:
    success = StageWeights(intercept=-0.3, signals={"vote": VOTE}, n=50)
    said = seeing(**{"escalate:large": Way(success=success, cost=FALLING)}).confidence(vector(vote=0.9), STAGE)
    (prospect,) = said.prospects
    assert (prospect.action, prospect.target) == (Action.ESCALATE, "large")
    assert prospect.p == pytest.approx(sigmoid(1.95778 - 0.5), abs=5e-6)  # the intercept is .5 lower
    assert prospect.cost == pytest.approx(0.1)


def test_without_anything_learned_of_a_stage_there_are_no_prospects() -> None:
    assert calibrator(vote=VOTE).confidence(vector(vote=0.9), STAGE).prospects == ()
    elsewhere = Ways(wrong=1.0, abstain=0.1, stages={Stage("large").key: {"gather": Way(cost=FALLING)}})
    made = calibrator(vote=VOTE).model_copy(update={"ways": elsewhere})
    assert made.confidence(vector(vote=0.9), STAGE).prospects == ()


def test_what_was_learned_of_ways_is_in_the_file_and_in_its_fingerprint(tmp_path: Path) -> None:
    made = seeing(gather=Way(cost=FALLING))
    path = tmp_path / "x.calibrator.json"
    path.write_text(made.dump(), encoding="utf-8")
    assert LogisticCalibrator.load(path) == made
    assert made.fingerprint != calibrator(vote=VOTE).fingerprint
