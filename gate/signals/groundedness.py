"""Groundedness: whether what the draft says stands in the passages, claim by claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.groundedness import Groundedness
from gate.ports import Evidence, Fact, Missing


def least(fact: Groundedness) -> float | Missing:
    """The support of the claim that has least of it: an answer is as good as its worst claim."""
    return min(fact.support)


def mean(fact: Groundedness) -> float | Missing:
    """The mean support of all claims."""
    return min(1.0, sum(fact.support) / len(fact.support))


def uncontradicted(fact: Groundedness) -> float | Missing:
    """One less the contradiction of the claim that is contradicted most."""
    if fact.contradiction is None:
        return Missing("the lexical judge tells no contradiction")
    return 1.0 - max(fact.contradiction)


@dataclass(frozen=True, slots=True)
class GroundednessSignal:
    """A statistic of the claims, in [0, 1]."""

    name: str
    statistic: Callable[[Groundedness], float | Missing]
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Groundedness,)

    def measure(self, evidence: Evidence) -> float | Missing:
        fact = evidence.find(Groundedness)
        if fact is None:
            return Missing(evidence.missing.get(Groundedness, "the claims were not held against passages"))
        return self.statistic(fact)


GROUNDEDNESS_SIGNALS = (
    GroundednessSignal("grounded_least", least),
    GroundednessSignal("grounded_mean", mean),
    GroundednessSignal("grounded_uncontradicted", uncontradicted),
)
