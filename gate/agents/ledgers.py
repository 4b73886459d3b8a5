"""How the risk of a run is reckoned: what each approved step adds, and when a run must stop.

Two ways, both of which stop a run before the first step that would go too far:

- `UnionBound`: P(some approved step is wrong) <= the sum of the steps' chances of being wrong (Boole). It needs each
  chance to be right: it is as good as the gate's calibration, or as its certificates.
- `ConformalSteps`: the sum of the chances is taken as a score and no more. Where to stop is chosen on recorded runs by
  conformal risk control (Angelopoulos et al. 2024): the boldest limit with (n/(n+1)) R + 1/(n+1) <= max_risk, where R
  is the mean loss of n runs stopped there. A run's loss, 1 where a wrong step was approved in it, never falls when the
  limit rises. So the next run like these holds a wrong approved step with probability at most max_risk, however far off
  the chances are. With a ``confidence`` the limit holds for all runs to come with that probability, instead of on
  average over recordings (Bates et al. 2021, risk-controlling prediction sets).

A tool's ``cost`` below 1 counts a wrong call of it as so much harm: what is bounded is then the expected harm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.agents.verdict import ToolVerdict
from gate.errors import ConfigError, MissingExtra, StaleCalibrator
from gate.guarantees.conformal_risk import conformal_risk_control

_INTERVAL = 1.96
"""Standard deviations that the interval of a verdict's p is wide, each way."""
_ROUNDING = 1e-12


class Ledger(Protocol):
    """A way to reckon the risk of a run."""

    @property
    def name(self) -> str: ...

    @property
    def bears_others(self) -> bool:
        """Whether steps that another gate has approved can be reckoned with. Where they can, such a step adds at least
        what the run's own policy promises of its tool."""
        ...

    def limit(self, max_risk: float, confidence: float | None, gate: str) -> float:
        """What the steps may add up to. ``gate``: the fingerprint of the gate that judges them.

        Raises `ConfigError` where so much cannot be promised.
        """
        ...

    def risk(self, verdict: ToolVerdict, confidence: float | None) -> float:
        """What a step adds, not negative."""
        ...

    def admits(self, total: float, limit: float) -> bool:
        """Whether a run may go on to such a total."""
        ...


@dataclass(frozen=True, slots=True)
class UnionBound:
    """Each approved step spends its chance of being wrong, times the cost of its tool; together at most ``max_risk``.

    ``by``: ``estimate`` spends 1 - p, with a ``confidence`` 1 - the lower limit of p at it; ``bound`` what the
    certificate of its kind shows at most, and 1 for a step that has none.
    """

    by: Literal["estimate", "bound"] = "estimate"
    name = "union_bound"

    @property
    def bears_others(self) -> bool:
        return self.by == "estimate"

    def limit(self, max_risk: float, confidence: float | None, gate: str) -> float:
        return max_risk

    def risk(self, verdict: ToolVerdict, confidence: float | None) -> float:
        if self.by == "bound":
            return verdict.cost * (verdict.certificate.bound if verdict.certificate else 1.0)
        return verdict.cost * chance_of_error(verdict, confidence)

    def admits(self, total: float, limit: float) -> bool:
        return total <= limit + _ROUNDING


def chance_of_error(verdict: ToolVerdict, confidence: float | None = None) -> float:
    """1 - p, or with a ``confidence`` one minus the lower limit of p at it (the fit's own uncertainty, one-sided)."""
    if verdict.p is None:
        return 1.0
    p = min(1.0, max(0.0, verdict.p))
    if confidence is None or verdict.low is None or not (0 < verdict.low <= p < 1):
        return 1 - p
    deviation = (_logit(p) - _logit(verdict.low)) / _INTERVAL
    return 1 / (1 + math.exp(_logit(p) - deviation * NormalDist().inv_cdf(confidence)))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


# --- conformal over runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step of a recorded run that the gate approved."""

    risk: float
    """That the gate saw in it: 1 - p."""
    wrong: bool
    cost: float = 1.0


Mark = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0, le=1)]]


class RunHistory(BaseModel):
    """What became of recorded runs that nothing stopped: where in each, by its summed risk, harm was done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["run_history"] = "run_history"
    version: Literal[1] = 1
    gate: str
    """Fingerprint of the gate that judged them."""
    date: str = ""
    runs: tuple[tuple[Mark, ...], ...]
    """Of each run the summed risks at which its harm grew, and to what; nothing of a run without a wrong step."""

    @classmethod
    def of(cls, runs: Iterable[Sequence[RecordedStep]], gate: str, *, date: str = "") -> RunHistory:
        """From the approved steps of each run, in order. The runs must have fitted no part of the gate, and have gone
        on as they would have without a limit: one that was stopped hides what would have come."""
        return cls(gate=gate, date=date, runs=tuple(_marks(run) for run in runs))

    @classmethod
    def load(cls, path: Path | str) -> RunHistory:
        """Raises `ConfigError` naming the file and what is wrong with it."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot read the recorded runs: {error.strerror}", where=str(path)) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"no recorded runs: {place or 'file'}: {first['msg']}", where=str(path)) from error

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        from gate.tuning.whole_file import written_whole

        with written_whole(Path(path), overwrite=overwrite) as out:
            out.write((self.model_dump_json(indent=1) + "\n").encode())

    def losses(self) -> list[tuple[float, float]]:
        """Limits from the safest to the boldest, each with the summed loss of the runs stopped short of it."""
        grown = sorted(
            (at, harm - before) for run in self.runs for (at, harm), before in zip(run, _before(run), strict=True)
        )
        limits, total = [], 0.0
        for place, (at, more) in enumerate(grown):
            if place == 0 or at > grown[place - 1][0]:
                limits.append((at, total))
            total += more
        return [*limits, (math.inf, total)]

    def limit(self, max_risk: float, confidence: float | None = None) -> float | None:
        """What the summed risk of a run must stay below; None where so few runs cannot promise it."""
        if not self.runs:
            return None
        if confidence is not None:
            return self._limit_with(max_risk, 1 - confidence)
        limits, n = self.losses(), len(self.runs)
        place = conformal_risk_control([min(1.0, total / n) for _, total in limits], n, max_risk)
        return None if place is None else limits[place][0]

    def _limit_with(self, max_risk: float, delta: float) -> float | None:
        try:
            from gate.guarantees.learn_then_test import binomial_p_value, hoeffding_bentkus_p_value
        except ModuleNotFoundError as error:
            raise MissingExtra("scipy", "tune") from error
        n, whole = len(self.runs), all(harm == 1 for run in self.runs for _, harm in run)
        kept = None
        for limit, total in self.losses():
            p = binomial_p_value(round(total), n, max_risk) if whole else hoeffding_bentkus_p_value(total, n, max_risk)
            if p > delta:
                break
            kept = limit
        return kept


def _before(run: tuple[tuple[float, float], ...]) -> list[float]:
    return [0.0, *(harm for _, harm in run[:-1])] if run else []


def _marks(run: Sequence[RecordedStep]) -> tuple[tuple[float, float], ...]:
    total, worst, marks = 0.0, 0.0, []
    for step in run:
        if not (math.isfinite(step.risk) and step.risk >= 0 and 0 < step.cost <= 1):
            raise ValueError(f"a step has a risk of 0 or more and a cost in (0, 1], got {step.risk} and {step.cost}")
        total += step.risk
        if step.wrong and step.cost > worst:
            worst = step.cost
            marks.append((total, worst))
    return tuple(marks)


@dataclass(frozen=True, slots=True)
class ConformalSteps:
    """A run stops before its summed risk reaches the limit chosen on recorded runs (see the module)."""

    history: RunHistory
    name = "conformal_steps"
    bears_others = False

    def limit(self, max_risk: float, confidence: float | None, gate: str) -> float:
        """Raises `StaleCalibrator` where another gate judged the recorded runs."""
        if self.history.gate != gate:
            raise StaleCalibrator("the recorded runs were judged by another tool gate: record runs with this one")
        limit = self.history.limit(max_risk, confidence)
        if limit is None:
            needed = math.ceil(
                1 / max_risk - 1 if confidence is None else math.log(1 - confidence) / math.log1p(-max_risk)
            )
            raise ConfigError(
                f"{len(self.history.runs)} recorded runs cannot promise a risk of {max_risk:g}: "
                f"it takes {needed} or more"
            )
        return limit

    def risk(self, verdict: ToolVerdict, confidence: float | None) -> float:
        return chance_of_error(verdict)

    def admits(self, total: float, limit: float) -> bool:
        return total < limit
