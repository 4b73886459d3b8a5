"""Is the promise still kept: a test that may be looked at after every audited answer.

The monitor bets against "the risk is at most alpha". For each of a few worse risks r it holds a capital that every
audited answer multiplies by 1 + bet (wrong - alpha), the likelihood ratio of r to alpha: it cannot grow in expectation
while the promise is kept, so it ever reaches 1/delta with probability at most delta, however often one looks (Ville
1939; Ramdas et al. 2023). Averaging over r spares the choice of one.

Money that was lost in a long good time would be missing when things turn bad. So it is not all staked at the start: of
each capital the share 1/(t (t + 1)) enters at answer t, and those shares sum to 1, so the false alarms are still delta
in total. For a promise of .05 and a risk of .10 from the start on, half of the alarms come within 141 audited answers;
after 2,000 good ones at .02, within 680, where a capital staked at once gives none within 2,000.

Only audited answers count. Where some were likelier to be audited, each counts by its weight, the inverse of that
probability. Plain arithmetic, no numerical library: this runs where answers are served.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_WORSE = (1.4, 2.0, 3.0, 5.0)
"""The risks that are bet on, as multiples of alpha: .07, .10, .15 and .25 for a promise of .05."""
_ENOUGH = 1e300
"""Capital beyond this says no more; it would overflow."""
Share = Annotated[float, Field(gt=0, lt=1)]
Stakes = Annotated[
    tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...],
    Field(min_length=len(_WORSE), max_length=len(_WORSE)),
]


class DriftMonitor(BaseModel):
    """What is known of the promise so far. Begin a new one with each release: policy, prompts, models or retriever.

    ``model_dump_json`` and ``model_validate_json`` carry it over a restart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    alpha: Share
    """The largest risk among answers that was promised."""
    delta: Share
    """How likely a false alarm may be, over the whole life of the monitor."""
    largest_weight: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    """The inverse of the least probability of being audited, fixed beforehand. The larger, the later the alarm."""
    audited: int = Field(default=0, ge=0)
    wrong: int = Field(default=0, ge=0)
    weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """The sum of the weights of what was audited, and ``weight_wrong`` of what of it was wrong."""
    weight_wrong: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    only_weight: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The weight that all had so far; None when there were several, or none yet."""
    staked: Stakes = (0.0,) * len(_WORSE)
    """For each worse risk, what has become of the shares that have entered."""
    peak: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    """The highest that `e_value` has been."""

    @model_validator(mode="after")
    def _possible(self) -> DriftMonitor:
        if self.wrong > self.audited or self.weight_wrong > self.weight:
            raise ValueError("more was wrong than was audited")
        return self

    def updated(self, wrong: bool, weight: float = 1.0) -> DriftMonitor:
        """The state after one more audited answer. Raises ValueError for a weight beyond the largest."""
        if not 0 < weight <= self.largest_weight:
            raise ValueError(
                f"a weight must be in (0, {self.largest_weight}], the largest that was fixed; got {weight}"
            )
        number = self.audited + 1
        staked = tuple(
            min(_ENOUGH, (held + 1 / (number * (number + 1))) * growth(bet, wrong, self.alpha, weight))
            for held, bet in zip(self.staked, self._bets, strict=True)
        )
        alike = self.audited == 0 or self.only_weight == weight
        moved = {
            "audited": number,
            "wrong": self.wrong + bool(wrong),
            "weight": self.weight + float(weight),
            "weight_wrong": self.weight_wrong + float(weight * wrong),
            "only_weight": float(weight) if alike else None,
            "staked": staked,
        }
        after = self.model_copy(update=moved)
        return after.model_copy(update={"peak": max(self.peak, after.e_value)})

    @property
    def _bets(self) -> tuple[float, ...]:
        # a large alpha leaves no room for five times as much
        worse = (min(times * self.alpha, (1 + self.alpha) / 2) for times in _WORSE)
        return tuple(bet_on(risk, self.alpha) / self.largest_weight for risk in worse)

    @property
    def e_value(self) -> float:
        """The capital now, from 1 at the start: how many times less likely it all is under the promise."""
        return sum(self.staked) / len(self.staked) + 1 / (self.audited + 1)

    @property
    def alarm(self) -> bool:
        """Whether the promise is refuted. It stays so: what was shown once remains shown."""
        return self.peak >= 1 / self.delta

    @property
    def risk(self) -> float | None:
        """The estimate of the risk among answers (Hájek 1971). None before the first audit."""
        return self.weight_wrong / self.weight if self.weight else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """`confidence_sequence` of the risk at ``delta``. None when the weights differed: it counts answers alike."""
        if self.audited and self.only_weight is None:
            return None
        return confidence_sequence(self.wrong, self.audited, self.delta)


def bet_on(risk: float, alpha: float) -> float:
    """The bet with which the capital is the likelihood ratio of ``risk`` to ``alpha``."""
    return (risk - alpha) / (alpha * (1 - alpha))


def growth(bet: float, wrong: bool, alpha: float, weight: float = 1.0) -> float:
    """What one audited answer multiplies the capital by: at most 1 on average while the risk is at most alpha."""
    return 1 + bet * weight * (wrong - alpha)


def confidence_sequence(wrong: int, n: int, delta: float) -> tuple[float, float]:
    """Limits of the risk that hold at all n together with probability 1 - delta: the price of looking each time.

    All p with B(1 + k, 1 + n - k) / (p^k (1 - p)^(n - k)) < 1/delta: the mixture with a uniform prior (Robbins 1970).
    """
    if not 0 <= wrong <= n or not 0 < delta < 1:
        raise ValueError(f"need 0 <= wrong <= n and 0 < delta < 1, got wrong={wrong}, n={n}, delta={delta}")
    k, rest = wrong, n - wrong
    least = math.lgamma(1 + k) + math.lgamma(1 + rest) - math.lgamma(2 + n) + math.log(delta)

    def inside(p: float) -> bool:
        """Whether p^k (1 - p)^rest is above what would refute it; largest at k/n."""
        if (p == 0 and k) or (p == 1 and rest):
            return False
        return (k * math.log(p) if k else 0.0) + (rest * math.log1p(-p) if rest else 0.0) > least

    middle = k / n if n else 0.5
    return _edge(inside, middle, 0.0), _edge(inside, middle, 1.0)


def _edge(inside: Callable[[float], bool], within: float, end: float) -> float:
    """Where it stops being true on the way from ``within`` to ``end``."""
    if inside(end):
        return end
    for _ in range(60):
        middle = (within + end) / 2
        within, end = (middle, end) if inside(middle) else (within, middle)
    return end
