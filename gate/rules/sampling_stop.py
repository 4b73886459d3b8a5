"""When to stop sampling: as soon as the votes settle a question, or are likely to. Pure arithmetic on vote counts.

Votes are counted as ``agreeing`` (those that give the answer on trial) and ``others``. Of a Beta(1, 1) prior they leave
the share of agreeing answers distributed as Beta(agreeing + 1, others + 1); for whole numbers its tail is that of a
binomial distribution, so nothing is approximated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Stop = Literal["none", "can_no_longer_change", "unlikely_to_change"]
_ROUNDING = 1e-9
"""0.6 of 5 votes is 3, also in floating point."""


@lru_cache(maxsize=4096)
def above_share(agreeing: int, others: int, share: float = 0.5) -> float:
    """P(Beta(agreeing + 1, others + 1) > share) = 1 - I_share(agreeing + 1, others + 1), in [0, 1].

    It is P(at most ``agreeing`` of ``agreeing + others + 1`` trials succeed) at a chance of ``share`` each.
    """
    trials = agreeing + others + 1
    tail = (math.comb(trials, k) * share**k * (1.0 - share) ** (trials - k) for k in range(agreeing + 1))
    return min(1.0, math.fsum(tail))


def majority_is_clear(counts: Iterable[int], confidence: float = 0.95) -> bool:
    """Whether the most frequent answer leads the second with this posterior probability.

    Adaptive consistency (Aggarwal et al. 2023): of the most frequent answer, whether it is the one on trial or not.
    """
    first, second = (*sorted(counts, reverse=True), 0, 0)[:2]
    return above_share(first, second) > confidence


def share_is_clear(agreeing: int, others: int, share: float = 0.5, confidence: float = 0.95) -> bool:
    """Whether the answer on trial has more, or less, than ``share`` of all votes with this posterior probability."""
    above = above_share(agreeing, others, share)
    return above > confidence or 1.0 - above > confidence


def votes_needed(n: int, share: float) -> int:
    """The fewest of ``n`` votes that are at least ``share`` of them."""
    return math.ceil(share * n - _ROUNDING)


def can_no_longer_change(agreeing: int, others: int, left: int, share: float = 0.5) -> bool:
    """Whether the final share is at least ``share`` however the ``left`` votes fall, or below it however they fall."""
    needed = votes_needed(agreeing + others + left, share)
    return agreeing >= needed or agreeing + left < needed


@dataclass(frozen=True, slots=True)
class SamplingStop:
    """One of the rules about the answer on trial, of at most n votes."""

    kind: Stop
    share: float = 0.5
    """What its share of the votes is held against."""
    confidence: float = 0.95
    """How sure ``unlikely_to_change`` must be."""

    def stops(self, agreeing: int, others: int, left: int) -> bool:
        """Whether the votes so far are enough, with ``left`` more to be had. Without any it always stops."""
        if left <= 0:
            return True
        if self.kind == "none" or agreeing + others == 0:
            return False
        if can_no_longer_change(agreeing, others, left, self.share):
            return True
        return self.kind == "unlikely_to_change" and share_is_clear(agreeing, others, self.share, self.confidence)

    def soonest(self, agreeing: int, others: int, left: int) -> int:
        """The fewest more votes after which it may stop: fewer need not be looked at. At most ``left``."""
        for more in range(1, left):
            if self.stops(agreeing + more, others, left - more) or self.stops(agreeing, others + more, left - more):
                return more
        return left

    def unanimous(self, n: int, looks: Iterable[int]) -> int:
        """How many of at most ``n`` votes are drawn when all agree and they are looked at after each of ``looks``."""
        return next((drawn for drawn in looks if self.stops(drawn, 0, n - drawn)), n)
