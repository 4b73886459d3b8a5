"""Perturbation: how little the answers vary when a request is put in other ways (Pedapati et al. 2024).

Their eleven features, turned so that higher means steadier. Beside them, how many of the perturbed answers say what the
draft says: the answer that is returned is the one on trial, and a steady model may steadily say something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from gate.evidence.perturbations import Answers, Family, Perturbations
from gate.evidence.rouge import mean_rouge
from gate.evidence.words import spaced_words
from gate.ports import Evidence, Fact, Missing, Signal

_UNWANTED = "the policy does not ask for this perturbation"


@dataclass(frozen=True, slots=True)
class PerturbationSignal:
    """A statistic of one family's answers, in [0, 1]. ``statistic`` gives None where there is but one answer."""

    name: str
    family: Family
    statistic: Callable[[Answers], float | None]
    bounds: tuple[float, float] = (0.0, 1.0)
    needs: tuple[type[Fact], ...] = field(default=(Perturbations,))

    def measure(self, evidence: Evidence) -> float | Missing:
        perturbations = evidence.find(Perturbations)
        if perturbations is None:
            return Missing(evidence.missing.get(Perturbations, "nothing was perturbed"))
        answers = perturbations.answers.get(self.family)
        if answers is None:
            return Missing(perturbations.missing.get(self.family, _UNWANTED))
        value = self.statistic(answers)
        return Missing("one answer has no spread") if value is None else value


def fewness(answers: Answers) -> float | None:
    """How few meanings there are: 1 for one, 0 when each of m answers has its own; ``1 - (sets - 1) / (m - 1)``."""
    m = len(answers.labels)
    return None if m < 2 else 1.0 - (len(set(answers.labels)) - 1) / (m - 1)


def likeness(answers: Answers) -> float | None:
    """Mean ROUGE-L over all pairs of answers."""
    return None if len(answers.texts) < 2 else mean_rouge([spaced_words(text) for text in answers.texts])


def agreement(answers: Answers) -> float | None:
    """Share of the answers that say what the draft says; None for no answers."""
    if not answers.labels:
        return None
    return sum(label == answers.draft for label in answers.labels) / len(answers.labels)


@dataclass(frozen=True, slots=True)
class PerturbationSplit:
    """1 - the highest contradiction between a first part of the draft and its rest."""

    name = "perturbation_split"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Perturbations,)

    def measure(self, evidence: Evidence) -> float | Missing:
        perturbations = evidence.find(Perturbations)
        if perturbations is None:
            return Missing(evidence.missing.get(Perturbations, "nothing was perturbed"))
        if not perturbations.contradictions:
            return Missing(perturbations.missing.get("split", _UNWANTED))
        return min(1.0, max(0.0, 1.0 - max(perturbations.contradictions)))


_FAMILIES: tuple[Family, ...] = ("sampling", "paraphrase", "permutation", "amplification", "stop_words")
PERTURBATION_SIGNALS: tuple[Signal, ...] = (
    *(PerturbationSignal(f"perturbation_{family}_sets", family, fewness) for family in _FAMILIES),
    *(PerturbationSignal(f"perturbation_{family}_rouge", family, likeness) for family in _FAMILIES),
    # the share of plain samples that agree is `vote_share`
    *(PerturbationSignal(f"perturbation_{family}_agreement", family, agreement) for family in _FAMILIES[1:]),
    PerturbationSplit(),
)
