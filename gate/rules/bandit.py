"""Upper confidence bounds over candidates: where the next unit of work is best spent (Zouhar et al. 2025)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

_SIGMA = math.sqrt(math.pi / 2)
"""The standard deviation of a Gaussian whose mean absolute error is 1."""


def upper_bound(score: float, error: float, gamma: float = 1.0) -> float:
    """``score + gamma * error * sqrt(pi / 2)``: ``error`` is the expected absolute error of the score."""
    return score + gamma * error * _SIGMA


def next_candidate(
    scores: Sequence[float], errors: Sequence[float], finished: Sequence[bool] = (), gamma: float = 1.0
) -> int | None:
    """The place of the unfinished candidate with the highest `upper_bound`, the first of equals; None without one."""
    done = tuple(finished) or (False,) * len(scores)
    bounds = {
        place: upper_bound(score, error, gamma)
        for place, (score, error) in enumerate(zip(scores, errors, strict=True))
        if not done[place]
    }
    return max(bounds, key=lambda place: (bounds[place], -place)) if bounds else None


def best(scores: Sequence[float]) -> int:
    """The place of the highest score, the first of equals."""
    return max(range(len(scores)), key=lambda place: (scores[place], -place))


@dataclass(frozen=True, slots=True)
class Votes:
    """Votes for and against one candidate, read with a Beta(1, 1) prior."""

    yes: int = 0
    no: int = 0

    def with_(self, vote: bool) -> Votes:
        return replace(self, yes=self.yes + 1) if vote else replace(self, no=self.no + 1)

    @property
    def mean(self) -> float:
        """Of Beta(yes + 1, no + 1), in (0, 1)."""
        return (self.yes + 1) / (self.yes + self.no + 2)

    @property
    def error(self) -> float:
        """The mean absolute error of a Gaussian with the standard deviation of Beta(yes + 1, no + 1)."""
        n = self.yes + self.no + 2
        return math.sqrt(self.mean * (1.0 - self.mean) / (n + 1)) / _SIGMA
