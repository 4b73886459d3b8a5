"""Fit one part of a probe, and bring what it says to log-odds that mean what they say.

A part is fitted on some of the questions, in quarters: what is learned from three says something of the fourth, which
it did not see. Those held-out log-odds choose how much a linear probe is shrunk, and a curve ``slope * z + level`` with
a slope not below zero. The slope is drawn in by how little it explains, down to nothing: of noise comes the base rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.probabilities import sigmoid
from gate.errors import MissingExtra
from gate.evidence.probe_models import EncoderProbe, LinearProbe, standardised
from gate.tuning import encoder
from gate.tuning.encoder import MEMBERS, Recipe
from gate.tuning.regression import log_losses, minimise

try:
    from scipy.optimize import brentq
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

Array = npt.NDArray[np.float64]
QUARTERS = MEMBERS
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Of weights of standardised values: half of it times their squares is added to the mean log-loss. Strongest first."""
_CHOOSING = 4000
"""The most answers that a penalty is chosen on: the first."""
_PRICE = 2.0
"""Nats that a slope must explain of all held-out labels together before it counts: about what chance explains."""
_CHANGES = 1e-6
"""A value that deviates less than this never changed."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one part may see, in an order that tells nothing."""

    values: npt.NDArray[np.float32]
    """[n, g, q]: `gate.evidence.probe_models.features`."""
    targets: Array
    """[n]: 1 = right, 0 = wrong."""
    weights: Array
    """[n], in fitting. What comes out are log-odds for answers as they come, unweighted."""
    quarters: npt.NDArray[np.int8]
    """[n]: 0 to `QUARTERS` - 1."""
    rate: float
    """The share of answers that are right, which the log-odds are to average to. Between 0 and 1."""

    def frame(self) -> tuple[Array, Array]:
        """Mean and 1 / deviation of each value, [g, q] each; 0 for one that never changes."""
        deviation = self.values.std(axis=0, dtype=np.float64)
        gain = np.where(deviation > _CHANGES, 1 / np.maximum(deviation, _CHANGES), 0.0)
        return self.values.mean(axis=0, dtype=np.float64), gain


def linear(part: Part) -> LinearProbe:
    """A logistic regression with the L2 penalty that foretells the quarters best, each brought to log-odds first."""
    centre, gain = part.frame()
    x = standardised(part.values, centre, gain).reshape(len(part.values), -1)
    design = np.hstack([np.ones((len(x), 1)), x])
    some = slice(_CHOOSING)
    held = _held_out(design[some], part.targets[some], part.weights[some], part.quarters[some])
    curves = [curve(each, part.targets[some], part.weights[some], part.rate) for each in held]
    best = int(np.argmax([each.explained for each in curves]))
    slope, level = curves[best].slope, curves[best].level
    penalty = PENALTIES[best] * len(x[some]) / len(x)
    theta = _regressed(design, part.targets, part.weights, penalty, np.zeros(design.shape[1]))
    return LinearProbe(
        centre=_single(centre),
        gain=_single(gain),
        intercepts=_single(slope * theta[0] + level),
        weights=_single(slope * theta[1:].reshape(centre.shape)),
    )


def networks(part: Part, recipe: Recipe, seed: int) -> EncoderProbe:
    """One network for each quarter left out. ``weights`` count for the curve alone.

    A network's held-out log-odds are those of its own quarter: it was stopped there, but learned nothing from it.
    """
    centre, gain = part.frame()
    x = standardised(part.values, centre, gain)
    held, made = np.zeros(len(x)), []
    for quarter in range(QUARTERS):
        out = part.quarters == quarter
        made.append(encoder.fit(x, part.targets, out, recipe, seed + quarter))
        held[out] = made[-1].log_odds(x[out])
    bent = curve(held, part.targets, part.weights, part.rate)
    return EncoderProbe(
        centre=_single(centre),
        gain=_single(gain),
        intercepts=_single(bent.slope * np.mean([each.intercept for each in made]) + bent.level),
        shared=_members([each.shared for each in made]),
        shared_bias=_members([each.shared_bias for each in made]),
        joint=_members([each.joint for each in made]),
        joint_bias=_members([each.joint_bias for each in made]),
        heads=_members([bent.slope / len(made) * each.head for each in made]),
    )


@dataclass(frozen=True, slots=True)
class Curve:
    """Log-odds are ``slope * z + level``."""

    slope: float
    level: float
    explained: float
    """Nats by which it, before the slope is drawn in, foretells held-out labels better than their share alone."""


def curve(held: Array, targets: Array, weights: Array, rate: float) -> Curve:
    """What makes log-odds of held-out ones [n].

    The slope is that of least weighted log-loss times ``1 - 2 / nats explained``, never below zero. The level is what
    brings the mean probability, every answer counted once, to ``rate``.
    """
    spread, slope, explained = float(held.std()), 0.0, 0.0
    if spread > _CHANGES:
        scaled = (held - held.mean()) / spread
        design = np.column_stack([np.ones(len(held)), scaled, np.zeros(len(held))])
        theta = minimise((design, _drawn_in(targets, weights), weights), np.full(3, 1e-6), 1)
        flat = np.full(len(held), _log_odds(float(weights @ targets / weights.sum())))
        saved = weights @ (log_losses(flat, targets) - log_losses(design @ theta, targets))
        explained = float(saved * weights.sum() / (weights**2).sum())  # of as many answers as the weights are worth
        slope = float(theta[1] / spread * max(0.0, 1 - _PRICE / max(_PRICE, explained)))
    z = slope * held
    reach = float(np.abs(z).max()) + 50
    return Curve(slope, float(brentq(lambda level: float(sigmoid(z + level).mean()) - rate, -reach, reach)), explained)


def _held_out(design: Array, targets: Array, weights: Array, quarters: npt.NDArray[np.int8]) -> Array:
    """[penalties, n]: log-odds of each answer by a regression on the other quarters."""
    held = np.zeros((len(PENALTIES), len(design)))
    for quarter in range(QUARTERS):
        out = quarters == quarter
        theta = np.zeros(design.shape[1])
        for place, penalty in enumerate(PENALTIES):
            theta = _regressed(design[~out], targets[~out], weights[~out], penalty, theta)
            held[place, out] = design[out] @ theta
    return held


def _regressed(design: Array, targets: Array, weights: Array, penalty: float, start: Array) -> Array:
    ridge = np.r_[0.0, np.full(design.shape[1] - 1, penalty)]
    return minimise((design, _drawn_in(targets, weights), weights), ridge, 0, start=start)


def _drawn_in(targets: Array, weights: Array) -> Array:
    """Labels drawn in from 0 and 1 as far as so many of them warrant (Platt 1999)."""
    right = float(weights @ targets)
    wrong = float(weights.sum()) - right
    return np.where(targets > 0, (right + 1) / (right + 2), 1 / (wrong + 2))


def _log_odds(rate: float) -> float:
    held = min(max(rate, 1e-6), 1 - 1e-6)
    return float(np.log(held / (1 - held)))


def _members(each: list[Array]) -> npt.NDArray[np.float32]:
    return _single(np.stack(each))


def _single(array: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """With a side in front for the one part that it is of."""
    return np.asarray(array, dtype=np.float32)[None]
