"""Second opinions: whether another upstream, or the same one without its passages, answers what was drafted.

Unlike the draft's own certainty, these can catch a model that is confidently wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.evidence.asking import refused
from gate.evidence.closed_book import ClosedBook
from gate.evidence.comparison import OtherAnswer
from gate.evidence.second_opinion import SecondOpinion
from gate.ports import Evidence, Fact, Missing


@dataclass(frozen=True, slots=True)
class OpinionAgreement:
    """1 where the other answer has the draft's meaning, else 0; ``graded``: how alike they are, word for word.

    Missing where the other model declined: that it does not say is no vote against the draft.
    """

    name: str
    other: type[OtherAnswer]
    graded: bool = False
    bounds = (0.0, 1.0)

    @property
    def needs(self) -> tuple[type[Fact], ...]:
        return (self.other,)

    def measure(self, evidence: Evidence) -> float | Missing:
        other = evidence.find(self.other)
        if other is None:
            return Missing(evidence.missing.get(self.other, "no other answer was asked for"))
        if refused(other.generation):
            return Missing("the other answer is a refusal")
        return other.similarity if self.graded else float(other.same)


SECOND_OPINION_SIGNALS = (
    OpinionAgreement("second_opinion_agreement", SecondOpinion),
    OpinionAgreement("second_opinion_similarity", SecondOpinion, graded=True),
    OpinionAgreement("closed_book_agreement", ClosedBook),
    OpinionAgreement("closed_book_similarity", ClosedBook, graded=True),
)
