"""Graph measures of how the answers hang together (Lin, Trivedi and Sun 2024): EigV, Deg and Ecc, turned and scaled.

The answers (the draft and the samples) are the nodes, their similarities W the weights, with D the row sums of W and
L = I - D^-1/2 W D^-1/2. Deg and Ecc are also had for one answer: the draft's own say how good a choice *it* is among
the answers, the others rate the question. All signals lie in [0, 1]: 1 when all answers are the same, 0 when no two
are alike at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gate.evidence.samples import spread
from gate.evidence.similarities import Similarities
from gate.ports import Evidence, Fact, Missing

Floats = npt.NDArray[np.float64]
Rows = tuple[tuple[float, ...], ...]
_CUT = 0.9
"""Eigenvectors with an eigenvalue of L below it span the space in which eccentricity is measured."""


@lru_cache(maxsize=64)
def _spectrum(rows: Rows) -> tuple[Floats, Floats]:
    """Eigenvalues of L, rising, and its eigenvectors, in columns."""
    w = np.array(rows)
    scale = 1.0 / np.sqrt(w.sum(axis=1))
    values, vectors = np.linalg.eigh(np.eye(len(w)) - scale[:, None] * w * scale[None, :])
    return values, vectors


def eigenvalue_sum(w: Rows) -> float:
    """EigV: the sum of ``max(0, 1 - lambda)`` over the eigenvalues of L; a soft count of meanings, in [1, m]."""
    return float(np.maximum(0.0, 1.0 - _spectrum(w)[0]).sum())


def degrees(w: Rows) -> Floats:
    """Deg of each answer: the sum of ``1 - W`` over its row, in [0, m - 1].

    Their mean is Deg of the question. (Public code also divides once more by m; and takes W before it is made
    symmetric, which leaves the mean as it is.)
    """
    return np.asarray(len(w) - np.array(w).sum(axis=1), dtype=np.float64)


def eccentricities(w: Rows, cut: float = _CUT) -> Floats:
    """Ecc of each answer: its distance from the mean in the eigenvectors of L with an eigenvalue below ``cut``.

    The square root of the sum of their squares is Ecc of the question.
    """
    values, vectors = _spectrum(w)
    kept = vectors[:, values < cut]
    return np.asarray(np.linalg.norm(kept - kept.mean(axis=0), axis=1))


@dataclass(frozen=True, slots=True)
class GraphSignal:
    """A measure of the graph of the draft and two or more samples, in [0, 1]."""

    name: str
    measured: Callable[[Rows], float]
    bounds: tuple[float, float] = (0.0, 1.0)
    needs: tuple[type[Fact], ...] = (Similarities,)

    def measure(self, evidence: Evidence) -> float | Missing:
        similarities = evidence.find(Similarities)
        if similarities is None:
            return Missing(evidence.missing.get(Similarities, "no answers were compared"))
        if (why := spread(len(similarities.rows) - 1)) is not None:
            return why
        return min(1.0, max(0.0, self.measured(similarities.rows)))


def _eigenvalue(w: Rows) -> float:
    """``1 - (EigV - 1) / (m - 1)``."""
    return 1.0 - (eigenvalue_sum(w) - 1.0) / (len(w) - 1)


def _degree(w: Rows) -> float:
    """``1 - Deg / (m - 1)``: the mean similarity of two answers."""
    return 1.0 - float(degrees(w).mean()) / (len(w) - 1)


def _draft_degree(w: Rows) -> float:
    """The mean similarity of the draft to the samples."""
    return (sum(w[0]) - w[0][0]) / (len(w) - 1)


def _eccentricity(w: Rows) -> float:
    """``1 - Ecc / sqrt(m - 1)``, which is the most it can be."""
    return 1.0 - float(np.linalg.norm(eccentricities(w))) / math.sqrt(len(w) - 1)


def _draft_eccentricity(w: Rows) -> float:
    """``1 - Ecc / sqrt(1 - 1/m)`` of the draft, likewise."""
    return 1.0 - float(eccentricities(w)[0]) / math.sqrt(1.0 - 1.0 / len(w))


GRAPH_SIGNALS: Sequence[GraphSignal] = (
    GraphSignal("graph_eigenvalue", _eigenvalue),
    GraphSignal("graph_degree", _degree),
    GraphSignal("graph_degree_draft", _draft_degree),
    GraphSignal("graph_eccentricity", _eccentricity),
    GraphSignal("graph_eccentricity_draft", _draft_eccentricity),
)
