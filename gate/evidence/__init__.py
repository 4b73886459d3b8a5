"""Evidence: facts that cost something, each gathered once and shared. To add one: a file here and a line in SOURCES."""

from gate.evidence.answerability import Answerability, AnswerabilitySource
from gate.evidence.draft import Draft, DraftSource
from gate.evidence.meanings import Meanings, MeaningsSource
from gate.evidence.passages import Passages, PassagesSource
from gate.evidence.perturbations import Perturbations, PerturbationsSource
from gate.evidence.question import Asked, QuestionSource
from gate.evidence.rephrasings import Rephrasings, RephrasingsSource
from gate.evidence.samples import Samples, SamplesSource

SOURCES = (
    DraftSource,
    QuestionSource,
    PassagesSource,
    SamplesSource,
    MeaningsSource,
    AnswerabilitySource,
    RephrasingsSource,
    PerturbationsSource,
)

__all__ = [
    "SOURCES",
    "Answerability",
    "AnswerabilitySource",
    "Asked",
    "Draft",
    "DraftSource",
    "Meanings",
    "MeaningsSource",
    "Passages",
    "PassagesSource",
    "Perturbations",
    "PerturbationsSource",
    "QuestionSource",
    "Rephrasings",
    "RephrasingsSource",
    "Samples",
    "SamplesSource",
]
