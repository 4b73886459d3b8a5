"""Volume: how much room a set of vectors takes, by the determinant of their Gram matrix (Li et al. 2025)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def log_volume(vectors: Sequence[Sequence[float]] | npt.NDArray[np.float64], *, eps: float, centred: bool) -> float:
    """``ln det(V^T V + eps I)`` of m vectors [m, dimensions], each brought to unit length; the larger the more spread.

    It is taken of the m x m matrix, whatever the dimension. ``centred`` subtracts the mean vector first. It lies
    between ``m ln eps`` and ``m ln(1 + eps)``; 0 for no vectors, -inf for dependent vectors without ``eps``. A vector
    of zeros stays one.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if not rows.size:
        return 0.0
    if centred:
        rows = rows - rows.mean(axis=0)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    sign, logarithm = np.linalg.slogdet(rows @ rows.T + eps * np.eye(len(rows)))
    return float(logarithm) if sign > 0 else -math.inf


def compactness(vectors: Sequence[Sequence[float]], *, eps: float, centred: bool) -> float | None:
    """`log_volume` per vector, turned and scaled: 1 for no volume at all, 0 for vectors at right angles.

    Vectors of zeros are left out: they stand for nothing. None for fewer than two others, or for values that are not
    finite.
    """
    rows = np.asarray([vector for vector in vectors if any(vector)], dtype=np.float64)
    if len(rows) < 2 or not np.isfinite(rows).all():
        return None
    low, high = math.log(eps), math.log1p(eps)
    each = log_volume(rows, eps=eps, centred=centred) / len(rows)
    return min(1.0, max(0.0, (high - each) / (high - low)))
