"""Which settings of a policy keep the promise, out of a grid that was tried on the same data.

Each setting has a p-value against "its risk is above alpha". Testing many and believing the best would break the
promise far more often than delta. The procedures here reject so that the chance of ANY false rejection is at most
delta, however many of the hypotheses are true and however the tests hang together (strong control of the family-wise
error rate). So every setting that is rejected keeps the promise, and the cheapest of them may be chosen freely
(Angelopoulos et al. 2021, Learn then Test). A setting may be anything: a threshold, a number of samples, retrieval on
or off.

For the risk among answers, test each setting on the answers it let through. One that answered nothing has p = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gate.errors import MissingExtra
from gate.guarantees.selective_risk import in_sequence

try:
    from scipy.stats import binom
except ModuleNotFoundError as error:
    raise MissingExtra("scipy", "tune") from error

Matrix = Sequence[Sequence[float]] | npt.NDArray[np.float64]
_ROUNDING = 1e-9


# --- p-values ----------------------------------------------------------------------------------------------------


def binomial_p_value(errors: int, n: int, alpha: float) -> float:
    """P[Bin(n, alpha) <= errors]: exact for losses that are 0 or 1. ``errors`` is a count, never n times a share."""
    if not (0 <= errors <= n and 0 < alpha < 1):
        raise ValueError(f"need 0 <= errors <= n and 0 < alpha < 1, got errors={errors}, n={n}, alpha={alpha}")
    return float(binom.cdf(errors, n, alpha)) if n else 1.0


def hoeffding_bentkus_p_value(total: float, n: int, alpha: float) -> float:
    """The smaller of Hoeffding's and Bentkus' for ``n`` losses in [0, 1] that sum to ``total`` (Bates et al. 2021)."""
    if not (0 <= total <= n + _ROUNDING and 0 < alpha < 1):
        raise ValueError(f"need 0 <= total <= n and 0 < alpha < 1, got total={total}, n={n}, alpha={alpha}")
    return min(1.0, _hoeffding(total, n, alpha), _bentkus(total, n, alpha)) if n else 1.0


def _hoeffding(total: float, n: int, alpha: float) -> float:
    """exp(-n kl(r, alpha)) for r the mean loss, where that is below alpha."""
    r = min(total / n, alpha)
    divergence = r * math.log(r / alpha) if r > 0 else 0.0
    divergence += (1 - r) * math.log((1 - r) / (1 - alpha))
    return math.exp(-n * max(0.0, divergence))


def _bentkus(total: float, n: int, alpha: float) -> float:
    # a sum of shares may lie a rounding above the whole number that it is
    return math.e * float(binom.cdf(math.ceil(total - _ROUNDING), n, alpha))


# --- procedures --------------------------------------------------------------------------------------------------


def fixed_sequence(
    p_values: Sequence[float], delta: float, sequences: Sequence[Sequence[int]] | None = None
) -> tuple[bool, ...]:
    """Which are rejected by walking each sequence until its first p-value above its part of ``delta``.

    ``sequences`` hold places in ``p_values``, the most promising first, fixed before seeing the data; without them it
    is one, from the first to the last. Several share ``delta`` evenly: each has a start of its own, so one bad start
    does not end the search.
    """
    p = _checked(p_values, delta)
    walks = [list(range(len(p)))] if sequences is None else [list(walk) for walk in sequences]
    if any(place not in range(len(p)) for walk in walks for place in walk):
        raise ValueError(f"a sequence names a hypothesis that is none of the {len(p)}")
    rejected = [False] * len(p)
    for walk in walks:
        for place, _, passed in in_sequence(((place, p[place]) for place in walk), delta / len(walks)):
            rejected[place] = rejected[place] or passed
    return tuple(rejected)


def holm(p_values: Sequence[float], delta: float) -> tuple[bool, ...]:
    """Which are rejected by stepping down from the smallest p-value, without any order fixed beforehand (Holm 1979)."""
    p = _checked(p_values, delta)
    rejected = [False] * len(p)
    for tested, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] > delta / (len(p) - tested):
            break
        rejected[place] = True
    return tuple(rejected)


def graphical(
    p_values: Sequence[float], delta: float, weights: Sequence[float], transitions: Matrix
) -> tuple[bool, ...]:
    """Which are rejected when each rejection hands its part of ``delta`` on along a graph (Bretz et al. 2009).

    ``weights`` [m], which sum to at most 1, are the parts at the start; ``transitions`` [m, m] say what share of its
    part hypothesis i hands to j once it is rejected: 0 on the diagonal, rows that sum to at most 1. All of it is fixed
    beforehand. Holm is the graph of equal weights and equal transitions; disjoint fixed sequences are chains of it.
    """
    p = _checked(p_values, delta)
    part, graph = np.array(weights, dtype=np.float64), np.array(transitions, dtype=np.float64)
    _check_graph(part, graph, len(p))
    rejected = np.zeros(len(p), dtype=np.bool_)
    while True:
        able = np.flatnonzero(~rejected & (part > 0) & (p <= part * delta))
        if not len(able):
            return tuple(bool(r) for r in rejected)
        gone = able[0]  # which of them goes first does not change the outcome
        rejected[gone] = True
        part = part + part[gone] * graph[gone]
        graph = _without(graph, int(gone))


def _without(graph: npt.NDArray[np.float64], gone: int) -> npt.NDArray[np.float64]:
    """Transitions once a hypothesis is out: what led to it leads on to where it led."""
    into, out = graph[:, gone], graph[gone]
    back = into * out
    kept = np.divide(1.0, 1.0 - back, out=np.zeros(len(graph)), where=back < 1.0 - _ROUNDING)
    bridged = (graph + np.outer(into, out)) * kept[:, None]
    np.fill_diagonal(bridged, 0.0)
    bridged[gone], bridged[:, gone] = 0.0, 0.0
    return np.asarray(bridged)


def _checked(p_values: Sequence[float], delta: float) -> npt.NDArray[np.float64]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all() or not 0 < delta < 1:
        raise ValueError("p-values must be a list of numbers in [0, 1], and delta in (0, 1)")
    return p


def _check_graph(part: npt.NDArray[np.float64], graph: npt.NDArray[np.float64], m: int) -> None:
    if part.shape != (m,) or graph.shape != (m, m):
        raise ValueError(f"{m} p-values need {m} weights and {m} x {m} transitions, got {part.shape}, {graph.shape}")
    shared = np.vstack([part, graph])
    if not (shared >= 0).all() or (shared.sum(1) > 1 + _ROUNDING).any() or np.diag(graph).any():
        raise ValueError("weights and each row of transitions must be >= 0 with sum <= 1, with 0 on the diagonal")
