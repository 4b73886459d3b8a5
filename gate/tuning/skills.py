"""Fit the skill model of EmbedLLM (Zhuang et al. 2025): P(upstream m is right on e) = sigmoid(u_m . (W e) + b_m).

W brings a question to a few traits that all upstreams share; u_m is what an upstream makes of each. Minimises the mean
log-loss over the pairs that are labelled (the others have no part in it) plus an L2 penalty on W and u, by L-BFGS from
the directions in which the residuals of a constant model vary most. With a penalty on both factors the product is kept
of low rank, so more traits than are needed do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.errors import MissingExtra

try:
    from scipy.optimize import minimize
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
PENALTIES = (0.0005, 0.001, 0.002, 0.004)
RANKS = (1, 8)
_CHOOSING = 4000
"""The most questions that rank and penalty are chosen on."""
_STEPS = 80
_ROW_PENALTY = 0.001


@dataclass(frozen=True, slots=True)
class Skills:
    """``projection`` [r, d], ``loadings`` [m, r], ``intercepts`` [m]."""

    projection: Array
    loadings: Array
    intercepts: Array

    def levelled(self, other: Skills, vectors: Floats, labelled: npt.NDArray[np.bool_]) -> Skills:
        """With the mean log-odds that ``other`` has over the questions [n, d] each upstream is ``labelled`` on [n, m].

        A model that leaves out a fold with more right ones than the others would foretell it fewer of them.
        """
        apart = np.where(labelled, other.logits(vectors) - self.logits(vectors), 0.0).sum(0)
        return Skills(self.projection, self.loadings, self.intercepts + apart / np.maximum(1, labelled.sum(0)))

    def logits(self, vectors: npt.NDArray[np.floating]) -> Array:
        """[n, d] to [n, m]."""
        return np.asarray((vectors @ self.projection.T) @ self.loadings.T + self.intercepts, dtype=np.float64)


def choose(vectors: Floats, correct: Array, folds: npt.NDArray[np.int8]) -> tuple[int, float]:
    """The rank and penalty whose models foretell the folds best that were held out of them (log-loss)."""
    some = slice(None, None, -(-len(vectors) // _CHOOSING))
    vectors, correct, folds = vectors[some], correct[some], folds[some]
    ranks = sorted({min(rank, correct.shape[1], vectors.shape[1]) for rank in RANKS})

    def loss(chosen: tuple[int, float]) -> float:
        logits = np.empty(correct.shape)
        for fold in np.unique(folds):
            held = folds == fold
            logits[held] = fit(vectors[~held], correct[~held], *chosen).logits(vectors[held])
        return log_loss(logits, correct)

    return min(((rank, penalty) for rank in ranks for penalty in PENALTIES), key=loss)


def fit(vectors: Floats, correct: Array, rank: int, penalty: float) -> Skills:
    """Fit all upstreams. ``correct`` [n, m] lies in [0, 1]; nan = not labelled."""
    m = correct.shape[1]
    mean, scale = _frame(vectors)
    x = ((vectors - mean) / scale).astype(np.float32)
    weights, targets, base = _prepared(correct)
    residuals = weights * (targets - _sigmoid(base))
    left, strengths, right = np.linalg.svd(residuals.T @ x, full_matrices=False)
    strengths = np.sqrt(strengths[:rank] / max(float(strengths[0]), 1e-12))
    start = np.concatenate([(left[:, :rank] * strengths).ravel(), (right[:rank] * strengths[:, None]).ravel(), base])
    sizes = np.cumsum([m * rank, rank * x.shape[1]])

    def objective(theta: Array) -> tuple[float, Array]:
        u, w, b = np.split(theta.astype(np.float32), sizes)
        u, w = u.reshape(m, rank), w.reshape(rank, -1)
        traits = x @ w.T
        z = traits @ u.T + b
        slope = weights * (_sigmoid(z) - targets)
        factors = theta[: sizes[1]]
        loss = float((weights * (np.logaddexp(0.0, z) - targets * z)).sum()) + 0.5 * penalty * float(factors @ factors)
        to_u = slope.T @ traits + penalty * u
        to_w = (slope @ u).T @ x + penalty * w
        return loss, np.concatenate([to_u.ravel(), to_w.ravel(), slope.sum(0)]).astype(np.float64)

    found = minimize(objective, start.astype(np.float64), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    u, w, b = np.split(np.asarray(found.x), sizes)
    loadings, projection = u.reshape(m, rank), w.reshape(rank, -1) / scale
    return Skills(projection, loadings, b - loadings @ (projection @ mean.astype(np.float64)))


def fit_row(vectors: Floats, correct: Array, projection: Array, penalty: float = _ROW_PENALTY) -> tuple[Array, float]:
    """One more upstream: its own loadings [r] and intercept, from ``correct`` [n]. The traits stay as they are."""
    there = ~np.isnan(correct)
    traits = vectors[there] @ projection.T.astype(np.float32)
    mean = traits.mean(0)
    x, targets = (traits - mean).astype(np.float64), correct[there]
    base = _prepared(targets[:, None])[2]

    def objective(theta: Array) -> tuple[float, Array]:
        z = x @ theta[:-1] + theta[-1]
        slope = (_sigmoid(z) - targets) / len(targets)
        loss = float((np.logaddexp(0.0, z) - targets * z).mean()) + 0.5 * penalty * float(theta[:-1] @ theta[:-1])
        return loss, np.append(x.T @ slope + penalty * theta[:-1], slope.sum())

    start = np.append(np.zeros(x.shape[1]), base)
    found = np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B").x)
    return found[:-1], float(found[-1] - found[:-1] @ mean)


def log_loss(logits: Array, correct: Array) -> float:
    """Mean over the labelled pairs, in nats."""
    there = ~np.isnan(correct)
    return float((np.logaddexp(0.0, logits) - np.where(there, correct, 0.0) * logits)[there].mean())


def _frame(vectors: Floats) -> tuple[Floats, float]:
    """Mean, and the root mean square length around it: a penalty then means the same for every embedder."""
    mean = vectors.mean(0)
    return mean, max(1e-6, float(np.sqrt(((vectors - mean) ** 2).sum(1).mean())))


def _prepared(correct: Array) -> tuple[Floats, Floats, Floats]:
    """Weights [n, m] that add up to 1 over the labelled pairs, targets [n, m], log-odds of the base rates [m]."""
    there = ~np.isnan(correct)
    weights = (there / max(1, there.sum())).astype(np.float32)
    targets = np.where(there, correct, 0.0).astype(np.float32)
    counts = there.sum(0)
    rates = (targets.sum(0) + 0.5) / (counts + 1.0)
    return weights, targets, np.log(rates / (1.0 - rates)).astype(np.float32)


def _sigmoid(z: npt.NDArray[np.floating]) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)), dtype=np.float64)
