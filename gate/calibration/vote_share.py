"""The uncalibrated fall-back: Laplace's rule on the share of agreeing samples, for a first day without labels.

``p = (v m + 1) / (m + 2)`` for vote share v of m samples, with the Wilson 95 % interval. It is marked uncalibrated: no
promise rests on it. Fit a real calibrator as soon as there are labelled answers. Where m is not the same for all
answers, p is read off the signal ``vote_posterior``, which is that number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gate.errors import StaleCalibrator
from gate.types import Confidence, SignalVector, Stage

_SIGNAL = "vote_share"
_POSTERIOR = "vote_posterior"


@dataclass(frozen=True, slots=True)
class VoteShareCalibrator:
    """Needs the signal ``vote_share``; without a reading of it p is 0 (nothing is known, so nothing is let through)."""

    samples: int
    """How many samples were asked for. The vote share is one of those: samples that were not drawn agree with nobody,
    so fewer of them than this give a lower p, never that of a full vote."""
    fewest: int | None = None
    """The fewest there may be where sampling stops early: the interval is that of so few."""
    kind = "vote_share"
    fingerprint = "uncalibrated"

    @property
    def highest(self) -> float:
        """The highest p there can be: all samples agree, and as many are drawn as then are."""
        return (self.samples + 1) / (self.samples + 2)

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None:
        if _SIGNAL not in signals:
            raise StaleCalibrator(f"the fall-back calibrator needs the signal {_SIGNAL!r}")
        if self.fewest is not None and _POSTERIOR not in signals:
            why = "for not all answers have as many samples"
            raise StaleCalibrator(f"the fall-back calibrator needs the signal {_POSTERIOR!r} too, {why}")

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence:
        share = vector.value(_SIGNAL)
        if share is None:
            return Confidence(0.0, 0.0, 1.0, calibrated=False)
        if self.fewest is not None:
            p = vector.value(_POSTERIOR)
            if p is None:
                return Confidence(0.0, 0.0, 1.0, calibrated=False)
            low, high = wilson(share, self.fewest)
            return Confidence(p, min(low, p), max(high, p), calibrated=False)
        low, high = wilson(share, self.samples)
        return Confidence((share * self.samples + 1) / (self.samples + 2), low, high, calibrated=False)


def wilson(share: float, m: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval for a share of m trials."""
    centre = (share + z * z / (2 * m)) / (1 + z * z / m)
    half = z * math.sqrt(share * (1 - share) / m + z * z / (4 * m * m)) / (1 + z * z / m)
    return max(0.0, centre - half), min(1.0, centre + half)
