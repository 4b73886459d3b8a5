"""The risk among answers when some were more likely to be audited than others.

Auditing by lot, with more chances for the answers that look doubtful, finds more errors per audit. Each audited answer
then stands for 1/q answers, q the probability with which it was drawn. That the risk is at least alpha is the same as
E[w (wrong - alpha)] >= 0 for w = 1/q where audited and 0 elsewhere, so those that were not audited drop out. The bound
bets against it (Waudby-Smith and Ramdas 2024): a capital that multiplies by 1 - bet * w (wrong - alpha) cannot grow in
expectation while the risk is alpha or more, and reaches 1/delta with probability at most delta. Stakes are spread
evenly over what the least probability allows, which must be fixed before the audit. The bound by variance (Maurer and
Pontil 2009) is wider where errors are few. Where all were equally likely to be audited, the exact bound of
`gate.guarantees.selective_risk` is the narrower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BETS = (np.arange(64) + 0.5) / 64
"""As shares of the largest bet: one of them is near the best for whatever the risk turns out to be."""
Array = npt.NDArray[np.float64]
Numbers = Sequence[float] | Array
Labels = Sequence[bool] | npt.NDArray[np.bool_]


def weighted_risk(wrong: Labels, probability: Numbers) -> float | None:
    """The estimate: weights of the wrong over weights of all that were audited (Hájek 1971). None without audits.

    ``wrong`` and ``probability`` (of being audited) are those of the audited answers: [n].
    """
    error, chance = _checked(wrong, probability, 0.0)
    return float((error / chance).sum() / (1 / chance).sum()) if len(error) else None


def weighted_p_value(wrong: Labels, probability: Numbers, alpha: float, least: float) -> float:
    """Against "the risk is alpha or more": the inverse of the capital at the end, at most 1.

    ``least`` is the least probability of being audited that any answer had. It may be given to the procedures of
    `gate.guarantees.learn_then_test`.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}")
    return _inverse_capital(*_scaled(wrong, probability, least), alpha)


def weighted_upper_bound(wrong: Labels, probability: Numbers, delta: float, least: float) -> float:
    """One-sided upper limit on the risk among answers, wrong with probability at most ``delta``.

    It does not depend on the order of the audits, and is 1 when there are too few of them to say anything.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1), got {delta}")
    error, weight = _scaled(wrong, probability, least)
    low, high = 0.0, 1.0  # the capital grows with alpha, so what is refuted is all above some alpha
    if _inverse_capital(error, weight, high) > delta:
        return 1.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if _inverse_capital(error, weight, middle) > delta else (low, middle)
    return high


def _inverse_capital(error: Array, weight: Array, alpha: float) -> float:
    """Mean over the bets of the products, inverted: ``weight`` are least/q, in (0, 1]."""
    kinds, count = np.unique(np.stack([error, weight]), axis=1, return_counts=True)
    logs = np.log1p(-_BETS[:, None] * kinds[1] * (kinds[0] - alpha)) @ count
    top = float(logs.max())
    return min(1.0, math.exp(-top) / float(np.exp(logs - top).mean()))


def _scaled(wrong: Labels, probability: Numbers, least: float) -> tuple[Array, Array]:
    if not 0 < least <= 1:
        raise ValueError(f"the least probability must be in (0, 1], got {least}")
    error, chance = _checked(wrong, probability, least)
    return error, least / chance


def _checked(wrong: Labels, probability: Numbers, least: float) -> tuple[Array, Array]:
    labels, chance = np.asarray(wrong), np.asarray(probability, dtype=np.float64)
    if labels.shape != chance.shape or labels.ndim != 1 or (len(labels) and labels.dtype != np.bool_):
        raise ValueError("there must be one probability for each label, and each label true or false")
    if not ((chance > 0) & (chance >= least) & (chance <= 1)).all():
        raise ValueError(f"a probability of being audited is not in [{least}, 1], or 0")
    return labels.astype(np.float64), chance
