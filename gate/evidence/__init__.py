"""Evidence: facts that cost something, each gathered once and shared. To add one: a file here and a line in SOURCES."""

from gate.evidence.draft import Draft, DraftSource
from gate.evidence.meanings import Meanings, MeaningsSource
from gate.evidence.passages import Passages, PassagesSource
from gate.evidence.question import Asked, QuestionSource
from gate.evidence.samples import Samples, SamplesSource

SOURCES = (
    DraftSource,
    QuestionSource,
    PassagesSource,
    SamplesSource,
    MeaningsSource,
)

__all__ = [
    "SOURCES",
    "Asked",
    "Draft",
    "DraftSource",
    "Meanings",
    "MeaningsSource",
    "Passages",
    "PassagesSource",
    "QuestionSource",
    "Samples",
    "SamplesSource",
]
