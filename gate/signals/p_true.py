"""P(True): how likely the judge is to call the draft true (Kadavath et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate.evidence.p_true import Options, PTrue
from gate.ports import Evidence, Fact, Missing


@dataclass(frozen=True, slots=True)
class JudgedTrue:
    """A statistic of the judge's choice between true and false."""

    name: str
    statistic: Callable[[PTrue], float | Missing]
    bounds: tuple[float, float] = (0.0, 1.0)
    needs: tuple[type[Fact], ...] = (PTrue,)

    def measure(self, evidence: Evidence) -> float | Missing:
        judged = evidence.find(PTrue)
        if judged is None:
            return Missing(evidence.missing.get(PTrue, "no judge was asked"))
        return self.statistic(judged)


def share_of_true(judged: PTrue) -> float | Missing:
    """P(true) / (P(true) + P(false)), at the first token of the judge's reply. An option not listed counts 0."""
    if isinstance(judged.options, Missing):
        return judged.options
    return judged.options.true / (judged.options.true + judged.options.false)


def share_of_votes(judged: PTrue) -> float | Missing:
    """Share of the sampled replies that say true; one that names neither option does not."""
    if not judged.votes:
        return Missing("no votes were asked for")
    if all(vote is None for vote in judged.votes):
        return Missing("no vote names an option")
    return sum(vote is True for vote in judged.votes) / len(judged.votes)


def share_without_leaning(judged: PTrue) -> float | Missing:
    """P(true) after taking out what the judge leans to when there is nothing to judge."""
    for options in (judged.options, judged.twin):
        if isinstance(options, Missing):
            return options
    shares = debiased(_pair(judged.options), _pair(judged.twin))
    return Missing("the judge's leaning cannot be taken out: it rules an option out") if shares is None else shares[0]


def _pair(options: Options | Missing) -> tuple[float, ...]:
    return () if isinstance(options, Missing) else (options.true, options.false)


def debiased(probabilities: Sequence[float], null: Sequence[float]) -> tuple[float, ...] | None:
    """Each probability over that of the same option on an input without content, normalised (Zhao et al., 2021).

    None where that is undefined: an option with no probability there, or none at all here.
    """
    if not all(null):
        return None
    ratios = [p / base for p, base in zip(probabilities, null, strict=True)]
    total = math.fsum(ratios) if all(math.isfinite(ratio) for ratio in ratios) else math.inf
    return tuple(min(1.0, ratio / total) for ratio in ratios) if 0.0 < total < math.inf else None


P_TRUE_SIGNALS = (
    JudgedTrue("p_true", share_of_true),
    JudgedTrue("p_true_votes", share_of_votes),
    JudgedTrue("p_true_debiased", share_without_leaning),
)
