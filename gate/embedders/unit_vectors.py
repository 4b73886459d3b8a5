"""What a model gave as vectors, checked and brought to unit length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.errors import UpstreamError
from gate.types import Vector

_NUMBERS = frozenset({int, float})


def unit_vectors(embedder: str, given: Sequence[Any]) -> tuple[Vector, ...]:
    """Unit vectors of what was read from JSON: lists of numbers, all of one length.

    Raises `UpstreamError` naming what is wrong: something else than numbers, unequal lengths, infinite numbers, or
    a vector of zeros, which has no direction.
    """
    for row in given:
        if not isinstance(row, list) or not row or not _NUMBERS.issuperset(map(type, row)):
            raise UpstreamError(embedder, "gave an embedding that is no list of numbers")
    lengths = sorted({len(row) for row in given})
    if len(lengths) > 1:
        raise UpstreamError(embedder, f"gave embeddings of unequal lengths: {lengths[0]} and {lengths[-1]}")
    try:
        rows = np.array(given, dtype=np.float64)
    except OverflowError:  # an integer beyond any float
        raise UpstreamError(embedder, "gave an embedding that holds a number beyond range") from None
    return tuple(tuple(row) for row in unit_rows(embedder, rows).tolist())


def unit_rows(embedder: str, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rows brought to unit length, [texts, dimensions]. Raises `UpstreamError` where one has no direction."""
    if not rows.size:
        return rows
    if not np.isfinite(rows).all():
        raise UpstreamError(embedder, "gave an embedding that holds NaN or infinity")
    largest = np.abs(rows).max(axis=1, keepdims=True)  # squares of huge or tiny numbers would leave the range of floats
    if not largest.all():
        raise UpstreamError(embedder, "gave an embedding of zeros alone, which has no direction")
    scaled = rows / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))
