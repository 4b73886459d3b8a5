"""The numbers behind `gate.tuning.fit`: a sign-constrained, penalised logistic regression that bears missing values.

Parameters are, in this order, an intercept, one deviation from it for each group of rows (none for a single stage), a
weight for each signal (at or above zero) and one for each missing flag (at or below zero).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gate.calibration.probabilities import sigmoid
from gate.errors import MissingExtra

try:
    from scipy.optimize import minimize
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
FOLDS = 5
_KNOCK_OUT = 0.3
"""Chance of each signal to be knocked out in the repeated rows."""
_LEAST_RELEVANCE = 0.3
"""A signal that tells nothing by itself is penalised about ten times as much as the most telling one, and no more."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is regressed on."""

    scaled: Array
    """Standardised values [n, k], nan where missing."""
    correct: Array
    """[n], 0 or 1."""
    weights: Array
    """[n], not negative."""
    groups: Integers
    """[n], from 0; all 0 and ``n_groups`` 0 for a single stage."""
    n_groups: int = 0

    def __getitem__(self, kept: npt.NDArray[np.bool_] | Integers) -> Rows:
        return Rows(self.scaled[kept], self.correct[kept], self.weights[kept], self.groups[kept], self.n_groups)

    def design(self) -> Array:
        """Columns: 1, group indicators, standardised values (0 where missing), missing flags."""
        n, k = self.scaled.shape
        made, free = np.zeros((n, 1 + self.n_groups + 2 * k)), 1 + self.n_groups
        made[:, 0] = 1.0
        if self.n_groups:
            made[np.arange(n), 1 + self.groups] = 1.0
        absent = np.isnan(self.scaled)
        made[:, free : free + k] = np.where(absent, 0.0, self.scaled)
        made[:, free + k :] = absent
        return made

    def with_knock_outs(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Design, targets and row weights: every row as it is, and once more with signals knocked out, half as heavy.

        Targets are labels drawn in from 0 and 1 as far as so many of them warrant (Platt 1999).
        """
        holes = np.where(rng.random(self.scaled.shape) < _KNOCK_OUT, np.nan, self.scaled)
        design = np.vstack([self.design(), replace(self, scaled=holes).design()])
        right = float(self.weights @ self.correct)
        wrong = float(self.weights.sum()) - right
        targets = np.where(self.correct > 0, (right + 1) / (right + 2), 1 / (wrong + 2))
        weights = np.concatenate([self.weights * 2 / 3, self.weights / 3])
        return design, np.concatenate([targets, targets]), weights

    def reluctance(self) -> Array:
        """How much dearer than the most telling signal's each weight is: 0 for the intercept, [parameters].

        1 / r^2 for a signal whose correlation with the label is r times the strongest (an adaptive ridge; Zou 2006 has
        the idea for the lasso). With a hundred signals and few errors, most of what correlates does so by chance.
        """
        there = np.where(np.isnan(self.scaled), 0.0, self.scaled)  # standardised: the mean is 0
        share = self.weights / self.weights.sum()
        told = np.asarray(np.maximum(0.0, there.T @ (share * (self.correct - share @ self.correct))))
        relevance = np.clip(told / max(told.max(initial=0.0), 1e-12), _LEAST_RELEVANCE, 1.0)
        return np.asarray(np.r_[np.zeros(1 + self.n_groups), relevance**-2.0, np.ones(len(relevance))])


def minimise(
    made: tuple[Array, Array, Array], ridge: Array, k: int, centre: Array | None = None, start: Array | None = None
) -> Array:
    """The parameters of least weighted mean log-loss + half of ridge . (theta - centre)^2, by bounded L-BFGS."""
    design, labels, weights = made
    share = weights / weights.sum()
    towards = np.zeros(design.shape[1]) if centre is None else centre

    def objective(theta: Array) -> tuple[float, Array]:
        z, off = design @ theta, theta - towards
        over = np.logaddexp(0.0, z)
        loss = share @ (over - labels * z) + 0.5 * ridge @ off**2
        slope = (share * (np.exp(z - over) - labels)) @ design + ridge * off
        return float(loss), slope

    free = design.shape[1] - 2 * k
    limits = [*[(None, None)] * free, *[(0.0, None)] * k, *[(None, 0.0)] * k]
    found = minimize(objective, towards if start is None else start, jac=True, bounds=limits, method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)


def log_losses(z: Array, correct: Array) -> Array:
    """-ln of the probability that log-odds ``z`` gave to what came, [n]."""
    return np.asarray(np.logaddexp(0.0, z) - correct * z)


def covariance_of(rows: Rows, theta: Array, precision: Array) -> Array:
    """Inverse Hessian of the penalised log-likelihood at the fit (Laplace approximation).

    ``precision`` [parameters] is what the penalty knows of each, in answers: ridge times rows.
    """
    design = rows.design()
    p = sigmoid(design @ theta)
    curvature = design.T @ (design * (rows.weights * p * (1 - p))[:, None])
    return np.asarray(np.linalg.inv(curvature + np.diag(np.maximum(precision, 1e-9))))
