"""The networks: losses worked by hand, slopes against differences, and what fitting finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.calibration.metrics import auroc
from gate.tuning import encoder
from gate.tuning.encoder import (
    BY_LAYER,
    BY_MARGIN,
    Network,
    Objective,
    Recipe,
    fit,
    head_objective,
    margin_objective,
    max_margin,
    slopes,
    supervised_contrastive,
)


def test_supervised_contrastive_loss_worked_by_hand() -> None:
    coded = np.array([[2.0, 0], [3, 0], [0, 0.5]])  # to unit length: e1, e1, e2
    loss, _ = supervised_contrastive(coded, np.array([1.0, 1, 0]), temperature=0.5)
    # for either of the pair, -log(e^2 / (e^2 + e^0)); the third has no other of its label
    assert loss == pytest.approx(np.log(1 + np.exp(-2)))
    loss, _ = supervised_contrastive(coded, np.array([1.0, 0, 1]), temperature=0.5)
    # first to third: -log(e^0 / (e^2 + e^0)); third to first: -log(e^0 / (e^0 + e^0))
    assert loss == pytest.approx((np.log(np.exp(2) + 1) + np.log(2)) / 2)


def test_what_has_no_other_of_its_label_costs_nothing() -> None:
    loss, slope = supervised_contrastive(np.array([[1.0, 0], [0, 1]]), np.array([1.0, 0]))
    assert loss == 0
    assert not slope.any()


def test_margin_loss_worked_by_hand() -> None:
    coded = np.array([[0.0, 0], [0.6, 0.8], [0.5, 0]])
    # distances: 1 between the first two, 0.5 from first to third, sqrt(.65) from second to third
    same_second, same_third = np.array([1.0, 1, 0]), np.array([1.0, 0, 1])
    last = np.sqrt(0.65)
    assert max_margin(coded, same_second)[0] == pytest.approx((1 + 0.25 + (1 - last) ** 2) / 3)
    assert max_margin(coded, same_third)[0] == pytest.approx((0 + 0.25 + (1 - last) ** 2) / 3)
    assert max_margin(coded[:1], same_third[:1])[0] == 0


def test_slopes_of_losses_are_those_of_differences() -> None:
    rng = np.random.default_rng(0)
    coded, correct = rng.normal(size=(7, 3)) * 0.4, np.array([1.0, 0, 1, 1, 0, 0, 1])
    for loss in (supervised_contrastive, max_margin):
        slope = loss(coded, correct)[1]
        for at in np.ndindex(coded.shape):
            moved = np.zeros_like(coded)
            moved[at] = 1e-6
            difference = (loss(coded + moved, correct)[0] - loss(coded - moved, correct)[0]) / 2e-6
            assert slope[at] == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("objective", [head_objective(0.0), head_objective(0.7), margin_objective])
def test_slopes_of_everything_in_a_network_are_those_of_differences(objective: Objective) -> None:
    rng = np.random.default_rng(1)
    x, correct = rng.normal(size=(6, 2, 4)), np.array([1.0, 0, 1, 0, 0, 1])
    network = Network.drawn(rng, (2, 4), Recipe(layer_units=3, code_units=2), 0.3)
    network = replace(network, head=rng.normal(size=2), shared_bias=rng.normal(size=3), joint_bias=rng.normal(size=2))
    slope = slopes(network, x, correct, objective)[1]
    for name in ("shared", "shared_bias", "joint", "joint_bias", "head", "intercept"):
        held = getattr(network, name)
        for at in np.ndindex(held.shape):
            moved = np.zeros_like(held)
            moved[at] = 1e-6
            up, down = (
                slopes(replace(network, **{name: held + step}), x, correct, objective)[0] for step in (moved, -moved)
            )
            assert getattr(slope, name)[at] == pytest.approx((up - down) / 2e-6, abs=1e-6), (name, at)


def told_by_the_product(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Right where two values of the first layer have one sign: no single value tells anything."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2, 3))
    return x, (x[:, 0, 0] * x[:, 0, 1] > 0).astype(float)


@pytest.mark.parametrize("recipe", [BY_LAYER, BY_MARGIN])
def test_a_network_finds_what_no_linear_probe_can(recipe: Recipe) -> None:
    x, correct = told_by_the_product(800, 0)
    new, truth = told_by_the_product(400, 1)
    network = fit(x, correct, np.arange(800) % 4 == 0, recipe, seed=0)
    assert auroc(network.log_odds(new).tolist(), (truth > 0).tolist()) > 0.9


def test_the_same_arguments_give_the_same_network_and_another_seed_another() -> None:
    x, correct = told_by_the_product(100, 0)
    out = np.arange(100) % 4 == 0
    one, again, other = (fit(x, correct, out, BY_MARGIN, seed=seed) for seed in (3, 3, 4))
    for held, same in zip(one.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(held, same)
    assert not np.array_equal(one.shared, other.shared)


def same(one: Network, other: Network) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.arrays(), other.arrays(), strict=True))


def test_what_is_left_out_says_when_to_stop_but_is_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    x, correct = told_by_the_product(100, 0)
    out = np.arange(100) % 4 == 0
    against = np.where(out, x[:, 0, 0] * x[:, 0, 1] <= 0, correct).astype(float)  # the more is learned, the worse
    monkeypatch.setattr(encoder, "_PATIENCE", 3)
    epochs: list[int] = []
    batches = encoder._batches
    monkeypatch.setattr(encoder, "_batches", lambda rng, n: epochs.append(n) or batches(rng, n))
    stopped = fit(x, against, out, BY_LAYER, seed=0)
    ran, best = len(epochs), 0
    losses = []
    for last in range(1, ran + 1):
        monkeypatch.setattr(encoder, "_EPOCHS", last)
        kept = fit(x, against, out, BY_LAYER, seed=0)
        losses.append(head_objective(0.0)(np.zeros((25, 1)), kept.log_odds(x[out]), against[out])[0])
        best = best or (last if same(kept, stopped) else 0)
    assert ran == best + 4, "three epochs of patience, and the one that ends it"
    assert min(losses) == losses[-1], "the best so far is kept"
    monkeypatch.setattr(encoder, "_EPOCHS", 1)
    assert same(fit(x, correct, out, BY_LAYER, seed=0), fit(x, against, out, BY_LAYER, seed=0))


def test_maps_decay_apart_from_their_slopes_and_biases_do_not() -> None:
    network = Network.drawn(np.random.default_rng(0), (1, 2), BY_MARGIN, 0.5)
    still = Network(*(np.zeros_like(array) for array in network.arrays()))
    moved = encoder._Adam(network).step(network, still)
    assert moved.joint == pytest.approx(network.joint * (1 - 3e-3 * 0.05))
    assert moved.intercept == network.intercept


def test_the_first_step_goes_down_each_slope_by_the_rate_whatever_its_size() -> None:
    network = Network.drawn(np.random.default_rng(0), (1, 2), BY_MARGIN, 0.5)
    slope = Network(*(np.full_like(array, -1e3) for array in network.arrays()))
    assert encoder._Adam(network).step(network, slope).head == pytest.approx(network.head + 3e-3)
