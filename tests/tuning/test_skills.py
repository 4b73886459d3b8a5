"""Fitting the skill model: it finds who is good at what, and what is not labelled has no part in it."""

from __future__ import annotations

import numpy as np
import pytest

from gate.calibration.metrics import auroc
from gate.tuning.skills import choose, fit, fit_row, log_loss

D = 12


def world(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Questions, and labels of three upstreams: the first two are good at one thing, the third at the opposite."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, D))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    odds = 12 * vectors[:, :1] * np.array([1.0, 1.0, -1.0]) + np.array([0.0, 1.0, 0.0])
    return vectors.astype(np.float32), (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)


def rank_of(logits: np.ndarray, labels: np.ndarray) -> float:
    return auroc(logits.tolist(), (labels > 0.5).tolist())


def test_it_finds_who_is_good_at_what() -> None:
    vectors, correct = world(600)
    model = fit(vectors, correct, 2, 0.002)
    new, labels = world(400, seed=1)
    for column in range(3):
        assert rank_of(model.logits(new)[:, column], labels[:, column]) > 0.85
    assert np.sign(model.loadings @ model.projection[:, 0]).tolist() == [1, 1, -1]


def test_what_is_not_labelled_is_not_taken_for_wrong() -> None:
    vectors, correct = world(600)
    holes = np.where(np.random.default_rng(2).random(correct.shape) < 0.7, np.nan, correct)
    model = fit(vectors, holes, 2, 0.002)
    assert model.logits(vectors).mean(0) == pytest.approx(
        fit(vectors, correct, 2, 0.002).logits(vectors).mean(0), abs=0.6
    )
    unlabelled = np.isnan(holes[:, 0])
    assert rank_of(model.logits(vectors[unlabelled])[:, 0], correct[unlabelled, 0]) > 0.8


def test_a_heavy_penalty_leaves_the_base_rates() -> None:
    vectors, correct = world(300)
    logits = fit(vectors, correct, 2, 10.0).logits(vectors)
    assert logits.std(0) == pytest.approx([0, 0, 0], abs=1e-2)
    assert 1 / (1 + np.exp(-logits.mean(0))) == pytest.approx(correct.mean(0), abs=0.01)


def test_an_upstream_that_is_always_right_is_no_trouble() -> None:
    vectors, correct = world(100)
    correct[:, 1] = 1.0
    logits = fit(vectors, correct, 1, 0.001).logits(vectors)
    assert np.isfinite(logits).all()
    assert (logits[:, 1] > 1).all()


def test_one_vector_for_all_is_no_trouble() -> None:
    vectors, correct = world(100)
    assert np.isfinite(fit(np.tile(vectors[:1], (100, 1)), correct, 1, 0.001).logits(vectors)).all()


def test_rank_and_penalty_are_chosen_on_what_was_held_out() -> None:
    vectors, correct = world(500)
    folds = (np.arange(500) % 5).astype(np.int8)
    rank, penalty = choose(vectors, correct, folds)
    noise = np.random.default_rng(3).integers(0, 2, size=correct.shape).astype(float)
    assert choose(vectors, noise, folds)[1] > penalty
    assert rank in {1, 3}


def test_a_new_upstream_fits_its_own_row_on_the_traits_there_are() -> None:
    vectors, correct = world(600)
    model = fit(vectors, correct[:, :2], 1, 0.002)
    loadings, intercept = fit_row(vectors, np.where(np.arange(600) < 80, correct[:, 2], np.nan), model.projection)
    new, labels = world(400, seed=1)
    logits = new @ model.projection.T @ loadings + intercept
    assert rank_of(logits, labels[:, 2]) > 0.85


def test_log_loss_is_over_what_is_labelled() -> None:
    assert log_loss(np.zeros((2, 2)), np.array([[1.0, np.nan], [0.0, np.nan]])) == pytest.approx(np.log(2))
