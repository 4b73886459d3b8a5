"""What an upstream still says when it may decline: "I don't know" there is a vote against the draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.asking import refused
from gate.evidence.assurance import assurance
from gate.evidence.cautious import Cautious
from gate.ports import Evidence, Fact, Missing
from gate.types import Generation


@dataclass(frozen=True, slots=True)
class CautiousAssured:
    """How plainly it answers when told to answer only if sure, in [0, 1]; 0 where it declines."""

    name = "cautious_assured"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Cautious,)

    def measure(self, evidence: Evidence) -> float | Missing:
        cautious = _asked(evidence)
        return cautious if isinstance(cautious, Missing) else _assured(cautious.generation)


@dataclass(frozen=True, slots=True)
class CautiousAgreement:
    """How alike draft and cautious answer are, word for word, in [0, 1]; 0 where it declines."""

    name = "cautious_agreement"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Cautious,)

    def measure(self, evidence: Evidence) -> float | Missing:
        cautious = _asked(evidence)
        if isinstance(cautious, Missing):
            return cautious
        if not _assured(cautious.generation):
            return 0.0
        return 1.0 if cautious.same else cautious.similarity


def _asked(evidence: Evidence) -> Cautious | Missing:
    missing = evidence.missing.get(Cautious, "it was not asked for an answer only if sure")
    return evidence.find(Cautious) or Missing(missing)


def _assured(generation: Generation) -> float:
    return 0.0 if refused(generation) else assurance(generation.text)
