"""What a report is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gate.calibration.logistic import LogisticCalibrator, StageWeights
from gate.policy import Promise
from gate.tuning.evaluate import Evaluation
from gate.tuning.judgements import Judgements
from gate.types import Certificate, Contribution


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A policy that could be had: what a question costs with it, and what it does for that."""

    label: str
    money: float | None
    """US dollars for one question; None where no prices are known."""
    coverage: float
    risk: float | None
    """None where it lets nothing through."""
    chosen: bool = False
    certified: bool = False

    def __post_init__(self) -> None:
        if not (self.money is None or 0 <= self.money < math.inf):
            raise ValueError(f"money is a finite number of at least 0, or None, got {self.money}")
        if not (_is_share(self.coverage) and (self.risk is None or _is_share(self.risk))):
            raise ValueError(f"coverage and risk lie in [0, 1], got {self.coverage} and {self.risk}")


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a stage of the calibrator makes of one signal."""

    signal: str
    weight: float
    """Log-odds added by one standard deviation."""
    missing: float
    """Log-odds added where it is missing: none, or fewer than none."""
    contribution: float | None
    """Mean size of what it added to the log-odds, over the questions that ended in this stage and had it."""


@dataclass(frozen=True, slots=True)
class StageSignals:
    stage: str
    n: int
    """Labelled answers the stage was fitted on."""
    signals: tuple[Weighed, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A question that went badly."""

    id: str
    question: str
    answer: str
    p: float | None
    correct: bool | None
    contributions: tuple[Contribution, ...] = ()
    """Those that moved the confidence most, in the order to be shown."""

    def __post_init__(self) -> None:
        if not (self.p is None or _is_share(self.p)):
            raise ValueError(f"p lies in [0, 1], or is None, got {self.p}")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything `gate.tuning.report.render` shows. What is left empty is said to be missing."""

    policy: str
    summary: str
    promise: Promise
    evaluation: Evaluation
    data: str = ""
    """Which questions the evaluation is of, in a few words."""
    date: str = ""
    certificate: Certificate | None = None
    void: tuple[str, ...] = ()
    """Why the certificate does not hold for what runs."""
    stages: tuple[StageSignals, ...] = ()
    frontier: tuple[FrontierPoint, ...] = ()
    examples: tuple[Example, ...] = ()
    """The worst first."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.evaluation.confidence != self.promise.confidence:
            raise ValueError(
                f"evaluate with the confidence of the promise: {self.evaluation.confidence} is not "
                f"{self.promise.confidence}"
            )


def _is_share(value: float) -> bool:
    return 0 <= value <= 1


def stage_signals(calibrator: LogisticCalibrator, judgements: Judgements) -> tuple[StageSignals, ...]:
    """The weights of every stage of a calibrator, with what they came to in the questions that ended there."""
    return tuple(
        StageSignals(key, fitted.n, tuple(_weighed(fitted, judgements.where(judgements.stages == key))))
        for key, fitted in calibrator.stages.items()
    )


def _weighed(fitted: StageWeights, rows: Judgements) -> Iterator[Weighed]:
    columns = dict(zip(rows.signals, rows.values.T, strict=True))
    for name, learned in fitted.signals.items():
        there = columns.get(name, np.zeros(0, dtype=np.float32))
        added = [abs(learned.weight * learned.standardized(float(v))) for v in there[~np.isnan(there)]]
        yield Weighed(name, learned.weight, learned.missing, float(np.mean(added)) if added else None)
