"""The logistic calibrator for many answers at once: `LogisticCalibrator.confidence` in columns."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import StageWeights
from gate.calibration.recalibration import Beta, Isotonic

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
_BLOCK = 65_536
"""So many rows are brought to scale together: a million answers need no second copy of themselves."""


def probabilities(stage: StageWeights, values: Floats) -> tuple[Array, npt.NDArray[np.bool_]]:
    """p [n], and whether readings lie outside what was seen in fitting, alone or together [n].

    ``values`` are [n, k], signals in the stage's order, nan where missing.
    """
    if values.ndim != 2 or values.shape[1] != len(stage.signals):
        raise ValueError(f"the stage has {len(stage.signals)} signals, got values of shape {values.shape}")
    p, outside = np.empty(len(values)), np.zeros(len(values), dtype=np.bool_)
    for begin in range(0, len(values), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        p[rows], outside[rows] = _block(stage, values[rows])
    return p, outside


def _block(stage: StageWeights, values: Floats) -> tuple[Array, npt.NDArray[np.bool_]]:
    z, outside = np.full(len(values), stage.intercept), np.zeros(len(values), dtype=np.bool_)
    x = np.empty(values.shape)
    for place, learned in enumerate(stage.signals.values()):
        value = values[:, place].astype(np.float64)
        missing, (low, high) = np.isnan(value), learned.trusted
        seen = np.clip(value, learned.low, learned.high)
        x[:, place] = (to_scale(learned.transform, learned.clip, seen) - learned.mean) / learned.scale
        z += np.where(missing, learned.missing, learned.weight * x[:, place])
        outside |= (value < low) | (value > high)
    if stage.joint is not None:
        outside |= stage.joint.excludes(x)
    return sigmoid(bend(stage.recalibration, z)), outside


def bend(curve: Beta | Isotonic | None, z: Array) -> Array:
    """Log-odds [n] after a recalibration: its ``apply`` for a column."""
    match curve:
        case Beta():
            return np.asarray(curve.b * np.logaddexp(0.0, z) - curve.a * np.logaddexp(0.0, -z) + curve.c)
        case Isotonic():
            x, y = np.array(curve.knots).T
            return np.asarray(np.interp(z, x, y) + np.minimum(0.0, z - x[0]) + np.maximum(0.0, z - x[-1]))
    return z


def to_scale(transform: Literal["identity", "logit", "negative_log"], clip: float, column: Array) -> Array:
    """A column on the scale it is weighed on (`gate.calibration.logistic.transformed`); what is missing stays nan."""
    match transform:
        case "logit":
            clipped = np.clip(column, clip, 1 - clip)
            return np.asarray(np.log(clipped / (1 - clipped)))
        case "negative_log":
            return np.asarray(-np.log(np.maximum(clip, -column)))
    return column


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)) without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))
