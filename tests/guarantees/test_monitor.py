"""The monitor: worked values, false alarms and delays in many streams, and its state over a restart."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import betaln
from scipy.stats import beta

from gate.guarantees.monitor import _WORSE, DriftMonitor, bet_on, confidence_sequence, growth

ALPHA = DELTA = 0.05
BETS = np.array([bet_on(times * ALPHA, ALPHA) for times in _WORSE])


def fed(losses: list[bool], **options: float) -> DriftMonitor:
    monitor = DriftMonitor(alpha=ALPHA, delta=DELTA, **options)
    for wrong in losses:
        monitor = monitor.updated(wrong)
    return monitor


def first_alarms(
    wrong: np.ndarray, *, weights: np.ndarray | None = None, largest: float = 1.0, at_once: bool = False
) -> np.ndarray:
    """At which answer each stream [streams, steps] raises the alarm, 0 for never: the monitor's arithmetic in numpy.

    ``weights`` are 0 where nothing was audited; with ``at_once`` all is staked at the start, as plain e-processes do.
    """
    streams, steps = wrong.shape
    staked, audited = np.full((streams, len(BETS)), float(at_once)), np.zeros(streams)
    first = np.zeros(streams, dtype=int)
    for t in range(steps):
        weight = np.ones(streams) if weights is None else weights[:, t]
        seen = weight > 0
        audited += seen
        entering = 0.0 if at_once else seen / np.maximum(1, audited * (audited + 1))
        staked = (staked + np.reshape(entering, (-1, 1))) * (
            1 + BETS / largest * (weight * (wrong[:, t] - ALPHA))[:, None]
        )
        evidence = staked.mean(1) + (0.0 if at_once else 1 / (audited + 1))
        first[(first == 0) & (evidence >= 1 / DELTA)] = t + 1
    return first


def streams(risk: float, count: int, steps: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, steps)) < risk


def test_worked_growth() -> None:
    capital = np.cumprod([growth(5.0, wrong, 0.05) for wrong in (True, False, True, True)])
    assert capital == pytest.approx([5.75, 4.3125, 24.797, 142.58], rel=1e-4)
    assert bet_on(0.10, 0.05) == pytest.approx(1.0526, abs=1e-4)
    assert [times * ALPHA for times in _WORSE] == pytest.approx([0.07, 0.10, 0.15, 0.25])


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_the_growth_is_a_likelihood_ratio(alpha: float, risk: float) -> None:
    bet = bet_on(risk, alpha)
    assert growth(bet, True, alpha) == pytest.approx(risk / alpha)
    assert growth(bet, False, alpha) == pytest.approx((1 - risk) / (1 - alpha))


@pytest.mark.parametrize("risk", [ALPHA, 0.03])
def test_of_ten_thousand_streams_that_keep_the_promise_few_raise_the_alarm(risk: float) -> None:
    alarms = (first_alarms(streams(risk, 10_000, 500, 0)) > 0).mean()
    assert alarms <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / 10_000)
    assert alarms < 0.01 or risk == ALPHA


def test_looking_again_and_again_at_a_test_for_one_look_raises_it_far_too_often() -> None:
    errors = streams(ALPHA, 2000, 500, 0).cumsum(1)
    n = np.arange(1, 501)
    lower = beta.ppf(DELTA, np.maximum(errors, 1), n - errors + 1)
    assert ((errors > 0) & (lower > ALPHA)).any(1).mean() > 4 * DELTA


def test_the_delay_is_some_hundred_answers_also_after_a_long_good_time() -> None:
    """Staked at once the delay after it would be without end; at the start nothing is lost by not doing so."""
    bad, good = streams(0.10, 2000, 1200, 1), streams(0.02, 400, 2000, 2)
    ours, plain = first_alarms(bad), first_alarms(bad, at_once=True)
    assert (ours > 0).mean() > 0.99
    assert np.median(plain[plain > 0]) == pytest.approx(142, abs=12)
    assert np.quantile(plain[plain > 0], 0.9) == pytest.approx(390, abs=40)
    assert np.median(ours[ours > 0]) == pytest.approx(141, abs=12)
    turned = np.hstack([good, streams(0.10, 400, 1500, 3)])
    late, never = first_alarms(turned), first_alarms(turned, at_once=True)
    assert np.median(late) - 2000 == pytest.approx(680, abs=80)
    assert (never > 0).mean() < 0.05


def test_unequal_audits_keep_the_promise_and_ignoring_them_does_not() -> None:
    """Half of the answers look doubtful; they hold nine in ten errors and are audited five times as often."""
    rng = np.random.default_rng(4)
    shape = (3000, 1500)
    doubtful = rng.random(shape) < 0.5
    wrong = rng.random(shape) < np.where(doubtful, 1.8 * ALPHA, 0.2 * ALPHA)
    chance = np.where(doubtful, 0.5, 0.1)
    audited = rng.random(shape) < chance
    alarms = (first_alarms(wrong, weights=audited / chance, largest=10.0) > 0).mean()
    assert alarms <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / shape[0])
    assert (first_alarms(wrong, weights=audited.astype(float)) > 0).mean() > 0.3


@pytest.mark.parametrize("risk", [0.02, 0.10, 0.5])
def test_the_monitor_computes_what_the_simulation_does(risk: float) -> None:
    """The state, answer by answer, against its twin in numpy that the simulations run."""
    weights = np.random.default_rng(5).choice([0.0, 1.0, 2.0, 4.0], size=(4, 300))
    for each, (losses, weighed) in enumerate(zip(streams(risk, 4, 300, 6), weights, strict=True)):
        alike = fed(losses.tolist())
        at = int(first_alarms(losses[None])[0])
        assert alike.alarm == (at > 0)
        if at:
            assert fed(losses[:at].tolist()).alarm
            assert not fed(losses[: at - 1].tolist()).alarm
        monitor, first = DriftMonitor(alpha=ALPHA, delta=DELTA, largest_weight=4.0), 0
        for t, (wrong, weight) in enumerate(zip(losses.tolist(), weighed.tolist(), strict=True)):
            if weight:
                monitor = monitor.updated(wrong, weight)
            first = first or (t + 1 if monitor.alarm else 0)
        assert first == first_alarms(losses[None], weights=weighed[None], largest=4.0)[0], each


def test_at_the_start_nothing_is_known() -> None:
    monitor = DriftMonitor(alpha=ALPHA, delta=DELTA)
    assert monitor.e_value == 1.0
    assert not monitor.alarm
    assert monitor.risk is None
    assert monitor.interval == (0.0, 1.0)


def test_an_alarm_stays_and_nothing_overflows() -> None:
    assert math.isfinite(fed([True] * 2000).e_value)
    monitor = fed([True] * 20 + [False] * 2000)
    assert monitor.e_value < 1 / DELTA
    assert monitor.alarm
    assert monitor.risk == pytest.approx(20 / 2020)


def test_a_state_is_left_as_it_was_and_survives_a_restart() -> None:
    before = fed([False, True, False])
    after = before.updated(True)
    assert (before.audited, after.audited, after.wrong) == (3, 4, 2)
    restored = DriftMonitor.model_validate_json(before.model_dump_json())
    assert restored == before
    assert restored.updated(True) == after
    assert DriftMonitor.model_validate_json(fed([True] * 2000).model_dump_json()).alarm


def test_labels_of_numpy_are_labels() -> None:
    monitor = fed(list(np.array([True, False, True])))
    assert DriftMonitor.model_validate_json(monitor.model_dump_json()) == monitor
    assert type(monitor.wrong) is int


def test_a_state_that_cannot_be_is_refused() -> None:
    good = fed([True, False]).model_dump()
    for change in (
        {"alpha": 0.0},
        {"delta": 1.0},
        {"largest_weight": 0.5},
        {"wrong": 3},
        {"staked": (0.1, 0.2)},
        {"staked": (0.1, 0.2, 0.3, math.nan)},
        {"staked": (0.1, 0.2, 0.3, -1.0)},
        {"peak": 0.0},
        {"version": 2},
        {"odd": 1},
    ):
        with pytest.raises(ValidationError):
            DriftMonitor.model_validate({**good, **change})


@pytest.mark.parametrize("weight", [0.0, -1.0, 10.1, math.nan, math.inf])
def test_a_weight_beyond_the_largest_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="a weight must be"):
        DriftMonitor(alpha=ALPHA, delta=DELTA, largest_weight=10.0).updated(True, weight)


def test_weights_that_are_all_alike_count_as_none_and_others_have_no_interval() -> None:
    tenth = DriftMonitor(alpha=ALPHA, delta=DELTA, largest_weight=10.0)
    plain = DriftMonitor(alpha=ALPHA, delta=DELTA)
    for wrong in (True, False, True):
        tenth, plain = tenth.updated(wrong, 10.0), plain.updated(wrong)
    assert tenth.e_value == pytest.approx(plain.e_value)
    assert tenth.interval == plain.interval
    assert tenth.risk == plain.risk == pytest.approx(2 / 3)
    mixed = tenth.updated(False, 5.0)
    assert mixed.interval is None
    assert mixed.updated(False, 10.0).interval is None
    assert mixed.risk == pytest.approx(20 / 35)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3, 0.9, 0.999])
def test_any_promise_can_be_watched(alpha: float) -> None:
    monitor = DriftMonitor(alpha=alpha, delta=0.05, largest_weight=3.0)
    for wrong in [True, False] * 20:
        monitor = monitor.updated(wrong, 3.0)
        assert all(staked > 0 for staked in monitor.staked)
    expected = alpha * monitor.updated(True, 3.0).e_value + (1 - alpha) * monitor.updated(False, 3.0).e_value
    assert expected == pytest.approx(monitor.e_value)  # at the edge of the promise it neither grows nor falls


def test_worked_confidence_sequence() -> None:
    assert confidence_sequence(3, 100, 0.05) == pytest.approx((0.00153, 0.12972), abs=1e-5)
    fixed = beta.ppf([0.025, 0.975], [3, 4], [98, 97])
    assert fixed == pytest.approx([0.00623, 0.08518], abs=1e-5)  # for one look


@given(st.integers(0, 500), st.data())
def test_the_limits_lie_round_the_share_and_mirror(n: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, n))
    low, high = confidence_sequence(wrong, n, 0.05)
    assert 0 <= low <= (wrong / n if n else 0.5) <= high <= 1
    other_low, other_high = confidence_sequence(n - wrong, n, 0.05)
    assert (1 - other_high, 1 - other_low) == pytest.approx((low, high), abs=1e-9)


def test_the_limits_hold_at_every_look_together() -> None:
    """The truth is refuted at a look just when the mixture is 1/delta times as likely as it."""
    errors, n = streams(0.1, 4000, 600, 7).cumsum(1), np.arange(1, 601)
    ratio = betaln(1 + errors, 1 + n - errors) - errors * math.log(0.1) - (n - errors) * math.log(0.9)
    missed = ratio >= math.log(1 / 0.1)
    assert missed.any(1).mean() <= 0.1 + 3 * math.sqrt(0.09 / 4000)
    for k, t in ((int(errors[0, 99]), 100), (int(errors[1, 599]), 600), (0, 40), (9, 20)):
        low, high = confidence_sequence(k, t, 0.1)
        refuted = betaln(1 + k, 1 + t - k) - k * math.log(0.1) - (t - k) * math.log(0.9) >= math.log(1 / 0.1)
        assert refuted == (not low < 0.1 < high)
    once = beta.ppf(0.95, errors + 1, np.maximum(n - errors, 1)) < 0.1
    assert (once[:, 30:]).any(1).mean() > 0.15  # limits for one look, looked at each time


def test_impossible_counts_are_refused() -> None:
    for wrong, n, delta in ((-1, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (1, 5, 1.0), (1, 5, math.nan)):
        with pytest.raises(ValueError, match="need 0 <= wrong"):
            confidence_sequence(wrong, n, delta)


def test_it_needs_no_numerical_library() -> None:
    said = (
        "import sys, gate.guarantees.monitor, gate.guarantees.empirical_cdf; print({'numpy', 'scipy'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
