"""Fitting the text model: what it learns, from whom it must not learn, and when nothing can be learned."""

from __future__ import annotations

import numpy as np
import pytest

from gate.calibration.metrics import auroc
from gate.tuning import text_regressor
from gate.tuning.text_regressor import FEWEST, SMOOTHINGS, TextModel, fit

PARTS = 6


def rows(n: int, seed: int = 0, clarity: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 20))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), (rng.random(n) < 1 / (1 + np.exp(-clarity * 2 * x[:, 0]))).astype(float)


def fitted(x: np.ndarray, correct: np.ndarray, clusters: np.ndarray | None = None) -> tuple[TextModel, np.ndarray]:
    """The model, and its log-odds for the rows it was fitted on, each by the part that did not see it."""
    folds = (np.arange(len(x)) % (PARTS - 1)).astype(np.int8)
    alone = np.arange(len(x), dtype=np.int32)
    model = fit(x, correct, alone if clusters is None else clusters, folds, PARTS)
    own = folds.astype(int) + 1
    return model, np.einsum("nw,nw->n", x, model.weights[own]) + model.intercepts[own]


def ranks(logits: np.ndarray, correct: np.ndarray) -> float:
    return auroc(logits.tolist(), (correct > 0.5).tolist())


def test_it_learns_what_goes_with_being_right() -> None:
    x, correct = rows(500)
    model, held_out = fitted(x, correct)
    new, labels = rows(400, seed=1)
    logits = new @ model.weights[0] + model.intercepts[0]
    assert ranks(logits, labels) > 0.85
    assert ranks(held_out, correct) > 0.85
    assert (1 / (1 + np.exp(-logits))).mean() == pytest.approx(labels.mean(), abs=0.06)


def test_of_noise_it_learns_nothing_that_holds() -> None:
    x, correct = rows(400, clarity=0.0)
    _, held_out = fitted(x, correct)
    assert 0.4 < ranks(held_out, correct) < 0.6


def test_no_part_saw_the_labels_of_its_fold() -> None:
    x, correct = rows(200)
    folds = (np.arange(200) % 5).astype(np.int8)
    clusters = (np.arange(200) // 10).astype(np.int32)  # every cluster lies across all folds
    turned = correct.copy()
    turned[folds == 2] = np.roll(correct[folds == 2], 1)
    one, other = (_directions(x, labels, clusters, folds) for labels in (correct, turned))
    assert one[3] == pytest.approx(other[3], abs=1e-5)
    for part in (0, 1, 2, 4, 5):
        assert not np.allclose(one[part], other[part], atol=1e-3)


def _directions(x: np.ndarray, correct: np.ndarray, clusters: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The weights of each part, without the slope of the curve, at one penalty and smoothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_regressor, "PENALTIES", (0.01,))
        patch.setattr(text_regressor, "SMOOTHINGS", (0.5,))
        weights = fit(x, correct, clusters, folds, PARTS).weights
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))


def test_shares_of_clusters_help_where_labels_are_noisy_and_clusters_are_not() -> None:
    rng = np.random.default_rng(5)
    clusters = (np.arange(600) // 20).astype(np.int32)
    centres = rng.normal(size=(30, 20))
    x = centres[clusters] + 0.3 * rng.normal(size=(600, 20))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    level = rng.random(30)[clusters]
    model, _ = fitted(x, (rng.random(600) < level).astype(float), clusters)
    assert model.smoothing in SMOOTHINGS[1:]


@pytest.mark.parametrize("n", [FEWEST - 1, 50])
def test_nothing_to_learn_from_is_an_error(n: int) -> None:
    x, correct = rows(n)
    with pytest.raises(ValueError, match="need 20 labelled answers"):
        fitted(x, np.ones(n) if n >= FEWEST else correct)
