"""On what scale each signal is weighed, read off the values it had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gate.calibration.logistic import StageWeights
from gate.calibration.probabilities import to_scale

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
_SMALLEST_CLIP = 1e-7


@dataclass(frozen=True, slots=True)
class Scale:
    """On what scale a signal is weighed, and how near to the ends of its range values are told apart."""

    transform: Literal["identity", "logit", "negative_log"]
    clip: float

    @classmethod
    def of(cls, bounds: tuple[float, float], column: Floats) -> Scale:
        """Logit for what lies in [0, 1], minus the log of the distance for what ends at 0, else as it is.

        The clip is half of the distance from the end that only one in a hundred of the values inside undercuts: half
        a vote for a share of votes, and far less for a probability that is known to many digits. A fixed clip would
        make one vote more of five a leap, or call everything above 99.99 % the same.
        """
        values = column[~np.isnan(column)].astype(np.float64)
        if bounds == (0.0, 1.0):
            return cls("logit", _clip(np.minimum(values, 1.0 - values)))
        if bounds[1] == 0.0 and bounds[0] == -np.inf:
            return cls("negative_log", _clip(-values))
        return cls("identity", 1e-4)

    def apply(self, column: Floats) -> Array:
        return to_scale(self.transform, self.clip, column.astype(np.float64))


def _clip(distances: Array) -> float:
    inside = distances[distances > 0.0]
    if not len(inside):
        return 1e-4
    return float(np.clip(np.quantile(inside, 0.01, method="lower") / 2, _SMALLEST_CLIP, 0.25))


@dataclass(frozen=True, slots=True)
class Standard:
    """What makes values comparable: scales [k], and of each signal the mean and deviation there, and the range seen."""

    scales: tuple[Scale, ...]
    mean: Array
    deviation: Array
    low: Array
    """Before the transform; with ``high`` 0 for a signal that never was."""
    high: Array

    @classmethod
    def of(cls, values: Floats, bounds: Sequence[tuple[float, float]]) -> Standard:
        """``values`` are [n, k], nan where missing. One column at a time, so that many rows need no copy."""
        scales = tuple(Scale.of(bound, column) for bound, column in zip(bounds, values.T, strict=True))
        moments = [_moments(scale.apply(column)) for scale, column in zip(scales, values.T, strict=True)]
        low, high = _range(values)
        return cls(scales, np.array([m for m, _ in moments]), np.array([d for _, d in moments]), low, high)

    @classmethod
    def of_fitted(cls, stage: StageWeights) -> Standard:
        learned = stage.signals.values()
        return cls(
            tuple(Scale(s.transform, s.clip) for s in learned),
            np.array([s.mean for s in learned]),
            np.array([s.scale for s in learned]),
            np.array([s.low for s in learned]),
            np.array([s.high for s in learned]),
        )

    def centred_on(self, values: Floats) -> Standard:
        """The same scales with the means of these rows, and the range of both; what these rows lack stays."""
        moments = [_moments(scale.apply(column)) for scale, column in zip(self.scales, values.T, strict=True)]
        there = ~np.isnan(values).all(0)
        low, high = _range(values)
        return Standard(
            self.scales,
            np.where(there, [m for m, _ in moments], self.mean),
            self.deviation,
            np.where(there, np.minimum(low, self.low), self.low),
            np.where(there, np.maximum(high, self.high), self.high),
        )

    def apply(self, values: Floats) -> Array:
        columns = [scale.apply(column) for scale, column in zip(self.scales, values.T, strict=True)]
        made = np.column_stack(columns) if columns else np.empty(values.shape)
        made -= self.mean
        made /= self.deviation
        return made


def _moments(scaled: Array) -> tuple[float, float]:
    there = scaled[~np.isnan(scaled)]
    if not len(there):
        return 0.0, 1.0
    deviation = float(there.std())
    return float(there.mean()), deviation if deviation >= 1e-9 else 1.0


def _range(values: Floats) -> tuple[Array, Array]:
    low, high = np.full(values.shape[1], 0.0), np.full(values.shape[1], 0.0)
    for place, column in enumerate(values.T):
        there = column[~np.isnan(column)]
        if len(there):
            low[place], high[place] = there.min(), there.max()
    return low, high
