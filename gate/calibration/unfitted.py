"""No calibrator yet: what runs while evidence is collected to fit one."""

from __future__ import annotations

from dataclasses import dataclass

from gate.errors import StaleCalibrator
from gate.types import Confidence, SignalVector, Stage


@dataclass(frozen=True, slots=True)
class Unfitted:
    """Fits any policy and knows nothing: asked for a confidence, it raises `StaleCalibrator`."""

    fingerprint = "unfitted"

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None:
        """Nothing to object to."""

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence:
        raise StaleCalibrator("no calibrator is fitted yet: 'gate tune' fits one")
