"""Semantic volume: how much room the answers take up in an embedder's space (Li et al. 2025).

With unit vectors as columns of V, the volume is ``ln det(V'V + eps I)``: larger is more uncertain. Only the cosines V'V
are needed. Convention here: no centring, ``eps = 1e-3``, no projection; the functions also offer the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gate.evidence.answer_vectors import AnswerVectors
from gate.evidence.samples import spread
from gate.ports import Evidence, Fact, Missing

_EPSILON = 1e-3
"""How alike two answers must be to count as one: a repeated answer takes about ``ln eps`` from the volume."""


def semantic_volume(
    cosines: Sequence[Sequence[float]],
    *,
    epsilon: float = _EPSILON,
    dimensions: int | None = None,
    centred: bool = False,
) -> float:
    """``ln det(V'V + eps I)``, from the cosines V'V of m unit vectors, [m, m].

    ``dimensions`` projects the vectors on so many of their principal directions and takes the determinant in those
    (``ln det(VV' + eps I)`` there); it must not exceed m. ``centred`` takes the mean vector away first. Returns minus
    infinity where the vectors span nothing and ``epsilon`` is 0.
    """
    gram = np.array(cosines, dtype=np.float64)
    m = len(gram)
    if dimensions is not None and not 1 <= dimensions <= m:
        raise ValueError(f"{m} vectors have at most {m} principal directions, not {dimensions}")
    if centred:
        gram = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    values = np.maximum(0.0, np.linalg.eigvalsh(gram)) + epsilon
    kept = values if dimensions is None else values[m - dimensions :]
    return float(np.log(kept).sum()) if kept.min() > 0.0 else -math.inf


@dataclass(frozen=True, slots=True)
class SemanticCompactness:
    """The volume of draft and samples, turned and scaled to [0, 1].

    1 when all are the same, where the volume is ``ln(m + eps) + (m - 1) ln eps``; 0 when all are at right angles,
    where it is ``m ln(1 + eps)``, the most it can be.
    """

    name = "semantic_compactness"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (AnswerVectors,)

    def measure(self, evidence: Evidence) -> float | Missing:
        vectors = evidence.find(AnswerVectors)
        if vectors is None:
            return Missing(evidence.missing.get(AnswerVectors, "no answers were embedded"))
        if (why := spread(len(vectors.rows) - 1)) is not None:
            return why
        m = len(vectors.cosines)
        if m < 2:
            return Missing("the embedder has a vector for fewer than two answers")
        most = m * math.log1p(_EPSILON)
        least = math.log(m + _EPSILON) + (m - 1) * math.log(_EPSILON)
        return min(1.0, max(0.0, (most - semantic_volume(vectors.cosines)) / (most - least)))
