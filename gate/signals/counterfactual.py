"""Counterfactual: whether the draft stays when the upstream is told to suppose it wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.counterfactual import Counterfactual
from gate.ports import Evidence, Fact, Missing


def kept(fact: Counterfactual) -> bool | None:
    """Under both suppositions; one that is known not to hold settles it."""
    if fact.use is None or fact.quality is None:
        return False if False in (fact.use, fact.quality) else None
    return fact.use and fact.quality


@dataclass(frozen=True, slots=True)
class CounterfactualSignal:
    """1 where the answer stayed, else 0."""

    name: str
    stayed: Callable[[Counterfactual], bool | None]
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Counterfactual,)

    def measure(self, evidence: Evidence) -> float | Missing:
        fact = evidence.find(Counterfactual)
        if fact is None:
            return Missing(evidence.missing.get(Counterfactual, "nobody supposed the answer wrong"))
        stayed = self.stayed(fact)
        return Missing("the upstream gave no second answer") if stayed is None else float(stayed)


COUNTERFACTUAL_SIGNALS = (
    CounterfactualSignal("counterfactual_use", lambda fact: fact.use),
    CounterfactualSignal("counterfactual_quality", lambda fact: fact.quality),
    CounterfactualSignal("counterfactual_kept", kept),
)
