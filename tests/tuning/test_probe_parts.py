"""One part of a probe: how held-out log-odds become log-odds that mean what they say, and what little data does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.calibration.metrics import auroc
from gate.calibration.probabilities import sigmoid
from gate.tuning import probe_parts
from gate.tuning.encoder import BY_MARGIN
from gate.tuning.probe_parts import Part, curve, linear, networks


def part(n: int, clarity: float, seed: int = 0, q: int = 12, rate: float | None = None) -> Part:
    """The first of ``q`` values tells right from wrong as clearly as said; the last never changes."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < 0.6).astype(float)
    values = rng.normal(size=(n, 1, q)).astype(np.float32)
    values[:, 0, 0] += clarity * (targets - 0.5)
    values[:, 0, -1] = 3
    quarters = (np.arange(n) % 4).astype(np.int8)
    return Part(values, targets, np.ones(n), quarters, float(targets.mean()) if rate is None else rate)


def told(probe: object, some: Part) -> np.ndarray:
    return np.array([probe.log_odds(0, values) for values in some.values])  # type: ignore[attr-defined]


def both(some: Part) -> tuple[np.ndarray, np.ndarray]:
    """What a linear probe and networks fitted on a part say of new answers."""
    new = part(400, 2.0, seed=9)
    return told(linear(some), new), told(networks(some, BY_MARGIN, 0), new)


def test_what_tells_is_found_and_is_as_sure_as_it_may_be() -> None:
    new = part(400, 2.0, seed=9)
    truth = new.targets > 0
    for z in both(part(400, 2.0)):
        assert auroc(z.tolist(), truth.tolist()) > 0.87, "the best there is has .92"
        for sure, share in ((z > np.median(z), truth[z > np.median(z)]), (z <= np.median(z), truth[z <= np.median(z)])):
            assert sigmoid(z[sure]).mean() == pytest.approx(share.mean(), abs=0.07)


@pytest.mark.parametrize("n", [100, 400])
@pytest.mark.parametrize("seed", range(3))
def test_of_noise_comes_the_base_rate(n: int, seed: int) -> None:
    some = part(n, 0.0, seed)
    base = np.log(some.rate / (1 - some.rate))
    for z in both(some):
        assert z.std() < 0.25
        assert z.mean() == pytest.approx(base, abs=0.25)


def test_log_odds_average_to_the_rate_asked_for_whatever_the_part_holds() -> None:
    some = part(400, 2.0, rate=0.2)
    for z in (told(linear(some), some), told(networks(some, BY_MARGIN, 0), some)):
        assert sigmoid(z).mean() == pytest.approx(0.2, abs=0.04)


def test_a_value_that_never_changed_has_no_say() -> None:
    some = part(200, 2.0)
    other = some.values[0].copy()
    other[0, -1] = 1e6
    for probe in (linear(some), networks(some, BY_MARGIN, 0)):
        assert probe.log_odds(0, other) == probe.log_odds(0, some.values[0])


def test_heavier_answers_are_heeded_more_and_the_rate_stays_that_of_answers_as_they_come() -> None:
    some = part(400, 0.0)
    rng = np.random.default_rng(3)
    few = (some.targets == 0) & (rng.random(400) < 0.15)
    some.values[few, 0, 1] += 3  # a kind of error that value 1 tells
    heavy = Part(some.values, some.targets, np.where(few, 8.0, 1.0), some.quarters, some.rate)
    plain, heeding = told(linear(some), some), told(linear(heavy), some)
    assert heeding[few].mean() < plain[few].mean() - 0.5
    assert sigmoid(heeding).mean() == pytest.approx(some.rate, abs=0.03)


def test_a_curve_needs_more_than_chance_explains() -> None:
    targets = np.tile([1.0, 1.0, 1.0, 0.0], 100)
    rng = np.random.default_rng(0)
    telling = targets + rng.normal(size=400)  # of which the log-odds are telling - 1/2 + log 3
    made = curve(telling, targets, np.ones(400), 0.75)
    assert made.slope == pytest.approx(1, abs=0.25)
    assert sigmoid(made.slope * telling + made.level).mean() == pytest.approx(0.75)
    assert made.explained > 20
    for useless in (-telling, np.zeros(400), rng.permutation(telling)):
        made = curve(useless, targets, np.ones(400), 0.75)
        assert made.slope == 0
        assert made.level == pytest.approx(np.log(3))
        assert made.explained < 2


def test_a_slope_is_drawn_in_by_two_nats_of_what_it_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    targets = np.tile([1.0, 0.0], 60)
    held = targets + 2 * rng.normal(size=120)
    made = curve(held, targets, np.ones(120), 0.5)
    monkeypatch.setattr(probe_parts, "_PRICE", 0.0)
    free = curve(held, targets, np.ones(120), 0.5)
    assert 2 < made.explained == free.explained
    assert made.slope == pytest.approx(free.slope * (1 - 2 / made.explained))


def test_weights_count_as_no_more_answers_than_they_are_worth() -> None:
    rng = np.random.default_rng(0)
    targets = np.tile([1.0, 0.0], 50)
    held = targets + 2 * rng.normal(size=100)
    one, same = (curve(held, targets, np.full(100, weight), 0.5) for weight in (1.0, 50.0))
    assert (same.slope, same.level) == pytest.approx((one.slope, one.level), abs=0.02)
    assert same.explained == pytest.approx(one.explained, abs=0.1)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.01, 0.99), st.sampled_from([1e-9, 1e-3, 1.0, 1e3]))
def test_a_curve_is_finite_never_falls_and_meets_the_rate(seed: int, rate: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    targets = np.r_[1.0, 0.0, (rng.random(38) < rng.random()).astype(float)]
    held = scale * (rng.normal(size=40) + 5 * rng.random() * targets)
    made = curve(held, targets, rng.random(40) + 0.1, rate)
    assert made.slope >= 0
    assert sigmoid(made.slope * held + made.level).mean() == pytest.approx(rate, abs=1e-6)


def test_a_penalty_chosen_on_some_answers_is_that_of_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    some = part(400, 2.0)
    whole = told(linear(some), some)
    monkeypatch.setattr(probe_parts, "_CHOOSING", 100)
    assert np.corrcoef(told(linear(some), some), whole)[0, 1] > 0.95
