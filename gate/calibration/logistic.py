"""The logistic calibrator, apply side: one probability from many signals, some of them missing.

For each stage, with signals x_i brought to scale t_i (logit for probabilities, minus the logarithm of the distance for
what ends at 0, as log-probabilities do, else as they are)::

    z = b + sum_i  w_i * (t_i(x_i) - mean_i) / scale_i      for the signals that are there
          + sum_i  m_i                                       for those that are missing
    p = 1 / (1 + exp(-z))

Weights w_i are not negative (a signal is higher when the answer is more likely right) and m_i are not positive, so
losing a signal never helps on average. The interval is the Laplace approximation: z plus or minus 1.96 standard
deviations under the fit's covariance.

A value beyond what was seen in fitting counts as the nearest one that was, and what it would have added beyond that
widens the interval instead. A stage may bend z at the end (`gate.calibration.recalibration`).

The same form foretells of each way on from a stage whether the answer it brings will be right (`Way`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gate.calibration.ellipsoid import Ellipsoid
from gate.calibration.recalibration import Recalibration
from gate.errors import ConfigError, StaleCalibrator
from gate.types import Action, Confidence, Contribution, Prospect, SignalVector, Stage

_MARGIN = 0.1
"""How far beyond the range seen in fitting a signal may lie, as a share of that range."""
_MOST_EXCESS = 1e6
"""Standard deviations beyond the range that are told apart: enough for an interval from 0 to 1, and no overflow."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NotPositive = Annotated[float, Field(le=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SignalWeight(BaseModel):
    """What one stage learned of one signal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transform: Literal["identity", "logit", "negative_log"] = "identity"
    clip: Annotated[float, Field(gt=0, le=0.5)] = 1e-4
    """How near to the ends of its range a value is told apart from the end itself."""
    mean: Finite
    scale: Positive
    weight: NotNegative
    missing: NotPositive = 0.0
    low: Finite
    """The least and (``high``) the largest value seen in fitting, before the transform."""
    high: Finite

    @model_validator(mode="after")
    def _ordered(self) -> SignalWeight:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def standardized(self, value: float) -> float:
        return (transformed(self.transform, self.clip, value) - self.mean) / self.scale

    def clamped(self, value: float) -> float:
        """The nearest value that was seen in fitting."""
        return min(self.high, max(self.low, value))

    @property
    def trusted(self) -> tuple[float, float]:
        """The range seen in fitting and a margin: beyond it a value is out of distribution."""
        # tables of signals hold single precision: a value there and here may differ in the seventh digit
        slack = _MARGIN * (self.high - self.low) + 1e-6 * max(1.0, abs(self.low), abs(self.high))
        return self.low - slack, self.high + slack

    def within(self, value: float) -> bool:
        low, high = self.trusted
        return low <= value <= high


def transformed(transform: str, clip: float, value: float) -> float:
    """A value on the scale it is weighed on."""
    match transform:
        case "logit":
            clipped = min(1 - clip, max(clip, value))
            return math.log(clipped / (1 - clipped))
        case "negative_log":
            return -math.log(max(clip, -value))
    return value


class StageWeights(BaseModel):
    """One fitted logistic. ``covariance`` is over (intercept, w_1 … w_k, m_1 … m_k), signals in the file's order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: Finite
    signals: dict[str, SignalWeight]
    covariance: tuple[tuple[Finite, ...], ...] = ()
    n: int = Field(ge=0)
    """How many labelled answers it was fitted on; 0 where all it knows is what other stages taught."""
    recalibration: Recalibration | None = None
    joint: Ellipsoid | None = None
    """Which combinations of readings are out of distribution."""

    @model_validator(mode="after")
    def _square(self) -> StageWeights:
        size = 1 + 2 * len(self.signals)
        if self.covariance and any(len(row) != size for row in (self.covariance, *self.covariance)):
            raise ValueError(f"covariance must be {size} x {size}")
        if self.joint is not None and self.joint.size != len(self.signals):
            raise ValueError(f"joint must be of {len(self.signals)} signals")
        return self


class Way(BaseModel):
    """What one way on from a stage comes to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    success: StageWeights | None = None
    """Foretells whether the answer it brings is right; None where it brings none, and the draft's own p speaks."""
    cost: tuple[tuple[Finite, Finite], ...] = Field(min_length=1)
    """(p, US dollars): what questions of that p came to cost from there on; between them it is interpolated."""

    def expected_cost(self, p: float) -> float:
        return float(self.expected_costs(np.array([p]))[0])

    def expected_costs(self, p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The same for many: [n] to [n]."""
        x, y = np.array(self.cost).T
        return np.asarray(np.interp(p, x, y), dtype=np.float64)


class Ways(BaseModel):
    """What the ways on come to, for a rule that reckons with these prices of a wrong answer and of an abstention.

    ``stages``: for each stage's key its ways, as ``gather``, ``retrieve``, ``escalate:<upstream>``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    wrong: Positive
    abstain: Positive
    prices: dict[str, tuple[float, float]] = {}
    """What the upstreams charged then, in US dollars a million tokens, prompt and completion."""
    stages: dict[str, dict[str, Way]]


def way_of(name: str) -> tuple[Action, str]:
    """The action a way's name stands for, and the upstream it leads to; "" where it names none."""
    action, _, target = name.partition(":")
    return Action(action), target


class LogisticCalibrator(BaseModel):
    """A fitted calibrator, as its JSON file holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["logistic"] = "logistic"
    version: Literal[1] = 1
    signals: tuple[str, ...]
    stages: dict[str, StageWeights]
    fitted_on: Mapping[str, str] = {}
    """Fingerprints of what ran when the data was gathered: ``upstream:<name>``, ``prompt:<name>``, ``retriever``."""
    ways: Ways | None = None
    """What the ways on come to, where the rule asks for that."""

    @model_validator(mode="after")
    def _complete(self) -> LogisticCalibrator:
        for key, stage in self.stages.items():
            if tuple(stage.signals) != self.signals:
                raise ValueError(f"stage {key!r} must hold the signals {list(self.signals)} in that order")
        return self

    @classmethod
    def load(cls, path: Path) -> LogisticCalibrator:
        """Read a calibrator file. Raises `ConfigError` naming the file and what is wrong with it."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot read the calibrator: {error.strerror}", where=str(path)) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"not a usable calibrator: {place or 'file'}: {first['msg']}", where=str(path)) from error

    def dump(self) -> str:
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()[:16]

    def check(self, signals: tuple[str, ...], stages: tuple[Stage, ...]) -> None:
        if signals != self.signals:
            raise StaleCalibrator(f"the calibrator was fitted for {list(self.signals)}, the policy has {list(signals)}")
        lacking = [stage.key for stage in stages if stage.key not in self.stages]
        if lacking:
            raise StaleCalibrator(f"the calibrator knows nothing of {lacking}; it was fitted for {sorted(self.stages)}")

    def confidence(self, vector: SignalVector, stage: Stage) -> Confidence:
        """The contributions are log-odds of the logistic: a recalibration of their sum comes after them."""
        fitted = self.stages.get(stage.key)
        if fitted is None or tuple(r.signal for r in vector.readings) != self.signals:
            raise StaleCalibrator(f"the calibrator was not fitted for stage {stage.key!r} with these signals")
        terms = list(_terms(fitted, vector))
        z = _z(fitted, terms)
        spread = 1.96 * _deviation(fitted, [term.x for term in terms]) + math.fsum(term.excess for term in terms)
        low, p, high = (sigmoid(_bent(fitted, end)) for end in (z - spread, z, z + spread))
        return Confidence(
            p=p,
            low=low,
            high=high,
            contributions=tuple(Contribution(term.signal, term.added) for term in terms),
            base=fitted.intercept,
            out_of_distribution=_outside(fitted, vector, terms),
            prospects=tuple(self._prospects(vector, stage, p)),
        )

    def _prospects(self, vector: SignalVector, stage: Stage, p: float) -> Iterator[Prospect]:
        for name, way in (self.ways.stages.get(stage.key, {}) if self.ways else {}).items():
            action, target = way_of(name)
            success = p
            if way.success is not None:
                success = sigmoid(_bent(way.success, _z(way.success, _terms(way.success, vector))))
            yield Prospect(action, success, way.expected_cost(success), target)


@dataclass(frozen=True, slots=True)
class _Term:
    """What one signal does to z."""

    signal: str
    added: float
    x: float | None
    """Standardised, clamped; None when missing."""
    excess: float = 0.0
    """What a value beyond the range seen would have added more, either way."""


def _z(fitted: StageWeights, terms: Iterable[_Term]) -> float:
    return fitted.intercept + math.fsum(term.added for term in terms)


def _bent(fitted: StageWeights, z: float) -> float:
    return fitted.recalibration.apply(z) if fitted.recalibration else z


def _terms(fitted: StageWeights, vector: SignalVector) -> Iterator[_Term]:
    for reading in vector.readings:
        learned = fitted.signals[reading.signal]
        if reading.value is None or math.isnan(reading.value):
            yield _Term(reading.signal, learned.missing, None)
        else:
            x = learned.standardized(learned.clamped(reading.value))
            excess = min(_MOST_EXCESS, abs(learned.standardized(reading.value) - x))
            yield _Term(reading.signal, learned.weight * x, x, learned.weight * excess)


def _outside(fitted: StageWeights, vector: SignalVector, terms: list[_Term]) -> bool:
    if any(r.value is not None and not fitted.signals[r.signal].within(r.value) for r in vector.readings):
        return True
    if fitted.joint is None:
        return False
    return fitted.joint.excludes_one([term.x for term in terms])


def _deviation(fitted: StageWeights, values: list[float | None]) -> float:
    """Standard deviation of z, sqrt(v' C v) with v = (1, x_1 … x_k, missing_1 … missing_k)."""
    if not fitted.covariance:
        return 0.0
    v = [1.0, *(x or 0.0 for x in values), *(1.0 if x is None else 0.0 for x in values)]
    rows = [math.fsum(map(mul, row, v)) for row in fitted.covariance]
    return math.sqrt(max(0.0, math.fsum(map(mul, v, rows))))


def sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)) without overflow."""
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    return math.exp(z) / (1.0 + math.exp(z))
