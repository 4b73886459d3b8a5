"""Proper scores: the penalties that are least, on average, for whoever states the true probability.

They punish a poor order and a false statement alike, so give them beside a ranking metric and a calibration error.
``confidence`` are probabilities, ``weights`` as in `gate.calibration.arrays.shares`. None without answers.
"""

from __future__ import annotations

import numpy as np

from gate.calibration.arrays import Labels, Numbers, checked_probabilities, shares

_CLIP = 1e-15


def brier(confidence: Numbers, correct: Labels, *, weights: Numbers | None = None) -> float | None:
    """Mean squared distance of the confidence from 1 (right) or 0 (wrong), in [0, 1] (Brier 1950)."""
    p, right = checked_probabilities(confidence, correct)
    return float(shares(weights, len(p)) @ (p - right) ** 2) if len(p) else None


def brier_skill(confidence: Numbers, correct: Labels, *, weights: Numbers | None = None) -> float | None:
    """1 - Brier / that of always stating the accuracy: 1 at best, 0 for knowing no more than the base rate.

    None when only one class is there: stating the accuracy has no error then.
    """
    score = brier(confidence, correct, weights=weights)
    _, right = checked_probabilities(confidence, correct)
    if score is None or right.all() or not right.any():
        return None
    accuracy = float(shares(weights, len(right)) @ right)
    return 1.0 - score / (accuracy * (1.0 - accuracy))


def negative_log_likelihood(confidence: Numbers, correct: Labels, *, weights: Numbers | None = None) -> float | None:
    """Mean of -ln of the probability given to what came true, in nats, clipped at 1e-15."""
    p, right = checked_probabilities(confidence, correct)
    if not len(p):
        return None
    return float(shares(weights, len(p)) @ -np.log(np.clip(np.where(right, p, 1.0 - p), _CLIP, 1.0)))
