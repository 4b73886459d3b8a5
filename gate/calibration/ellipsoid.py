"""Where readings lay together in fitting: a combination can be strange though each reading alone is not.

The Mahalanobis distance of the standardised readings that are there, under the covariance seen in fitting. Its square
follows about a chi-squared law with as many degrees of freedom as there are readings; the cube root of their ratio
(Wilson and Hilferty 1931) makes distances with different readings missing comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import mul
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Array = npt.NDArray[np.float64]
_SURELY = 1 - 1e-9
"""What is nearer than this share of the furthest is so in whatever order numbers are added up."""
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Ellipsoid(BaseModel):
    """Covariance of k standardised signals, and how many normal deviations from the usual distance are too far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    triangle: tuple[Finite, ...]
    """The covariance's lower triangle, row by row: k (k + 1) / 2 numbers."""
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _positive(self) -> Ellipsoid:
        if self.size * (self.size + 1) // 2 != len(self.triangle):
            raise ValueError("triangle must hold k (k + 1) / 2 numbers")
        try:
            _matrices(self.triangle)
        except np.linalg.LinAlgError:
            raise ValueError("triangle must be that of a positive definite covariance") from None
        return self

    @property
    def size(self) -> int:
        """k."""
        return _size(self.triangle)

    def excludes_one(self, x: Sequence[float | None]) -> bool:
        """`excludes` of one row, None where missing: for whoever decides one at a time, without numpy where that can be
        told without it."""
        known = [value or 0.0 for value in x]
        degrees = max(1, sum(value is not None for value in x))
        usual = 1 - 2 / (9 * degrees)
        furthest = degrees * (self.threshold * math.sqrt(2 / (9 * degrees)) + usual) ** 3
        if sum(sum(map(mul, known, column)) ** 2 for column in _columns(self.triangle)) <= furthest * _SURELY:
            return False
        return bool(self.excludes(np.array([[math.nan if value is None else value for value in x]]))[0])

    def excludes(self, x: Array) -> npt.NDArray[np.bool_]:
        """Which rows of ``x`` [n, k], nan where missing, are too far."""
        covariance, whitening = _matrices(self.triangle)
        there = ~np.isnan(x)
        known = np.where(there, x, 0.0)
        degrees = there.sum(1)
        furthest = distance_at(self.threshold, degrees)
        # a missing reading at its mean can only add to the distance: most rows need no covariance of their own
        out = np.asarray(((known @ whitening) ** 2).sum(1) > furthest)
        doubtful = np.flatnonzero(out & (degrees < self.size))
        for rows in np.array_split(doubtful, len(doubtful) // 1024 + 1):
            out[rows] = squared_distances(covariance, x[rows]) > furthest[rows]
        return out


def _size(triangle: tuple[float, ...]) -> int:
    return (math.isqrt(8 * len(triangle) + 1) - 1) // 2


@lru_cache(maxsize=64)
def _matrices(triangle: tuple[float, ...]) -> tuple[Array, Array]:
    """The covariance, and what makes rows of that covariance independent. Raises LinAlgError for what is none."""
    size = _size(triangle)
    lower = np.zeros((size, size))
    lower[np.tril_indices(size)] = triangle
    covariance = lower + np.tril(lower, -1).T
    return covariance, np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


@lru_cache(maxsize=64)
def _columns(triangle: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    """Of the whitening matrix."""
    return tuple(tuple(map(float, column)) for column in _matrices(triangle)[1].T)


def squared_distances(covariance: Array, x: Array) -> Array:
    """x' C^-1 x over the readings that are there, [n], for ``x`` [n, k] with nan where missing."""
    there = ~np.isnan(x)
    known = np.where(there, x, 0.0)
    both = there[:, :, None] & there[:, None, :]
    own = np.where(both, covariance, np.eye(len(covariance)))
    return np.asarray((known * np.linalg.solve(own, known[:, :, None])[:, :, 0]).sum(1))


def deviations(squared: Array, degrees: npt.NDArray[np.intp]) -> Array:
    """Squared distances as normal deviations from what so many degrees of freedom make usual."""
    d = np.maximum(degrees, 1)
    return np.asarray((np.cbrt(squared / d) - (1 - 2 / (9 * d))) / np.sqrt(2 / (9 * d)))


def distance_at(deviation: float, degrees: npt.NDArray[np.intp]) -> Array:
    """The squared distance so many normal deviations out: the inverse of `deviations`."""
    d = np.maximum(degrees, 1)
    return np.asarray(d * (deviation * np.sqrt(2 / (9 * d)) + 1 - 2 / (9 * d)) ** 3)
