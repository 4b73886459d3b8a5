"""Promises on the mean over all questions: a conformal quantile, and control of a risk that falls with caution.

These hold on average over calibration sets, not with confidence 1 - delta, and over all questions, not over those that
are answered. "Answer when the conformal set holds one element" promises nothing on the risk among answers; for that
see `gate.guarantees.selective_risk`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_ROUNDING = 1e-9


def conformal_quantile(scores: Sequence[float], alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest of n scores of strangeness, infinite when there are too few.

    A new score, exchangeable with these, is at most this with probability 1 - alpha or more (Vovk et al. 2005).
    Infinite means that the set must hold everything: n answers cannot promise that much.
    """
    if not 0 < alpha < 1 or any(math.isnan(score) for score in scores):
        raise ValueError(f"alpha must be in (0, 1) and every score a number, got alpha={alpha}")
    rank = math.ceil((len(scores) + 1) * (1 - alpha) - _ROUNDING)
    return sorted(scores)[rank - 1] if rank <= len(scores) else math.inf


def adjusted_risk(risk: float, n: int, largest_loss: float = 1.0) -> float:
    """What a mean loss over n answers may turn out to be with one more: n/(n+1) risk + largest/(n+1)."""
    return (n * risk + largest_loss) / (n + 1)


def conformal_risk_control(risks: Sequence[float], n: int, alpha: float, largest_loss: float = 1.0) -> int | None:
    """The boldest setting whose expected loss is at most ``alpha``: its place in ``risks``, or None when there is none.

    ``risks`` are the mean losses over n calibration answers of settings from the safest to the boldest, each answer's
    loss in [0, ``largest_loss``] and nowhere falling on the way (Angelopoulos et al. 2024, Conformal Risk Control). The
    loss "answered and wrong" is such a one: alpha then bounds wrong answers per question ASKED.

    None when the safest fails already, so also whenever alpha < largest_loss / (n + 1); the last when none fails.
    Raises ValueError when the risks fall from one setting to the next: the losses are not monotone then.
    """
    if n < 1 or largest_loss <= 0 or not all(0 <= risk <= largest_loss + _ROUNDING for risk in risks):
        raise ValueError(f"need n >= 1 and risks in [0, {largest_loss}], got n={n} and {list(risks)}")
    if any(bold < safe - _ROUNDING for safe, bold in pairwise(risks)):
        raise ValueError("the risks must not fall from a safer setting to a bolder one")
    kept = [place for place, risk in enumerate(risks) if adjusted_risk(risk, n, largest_loss) <= alpha + _ROUNDING]
    return kept[-1] if kept else None
