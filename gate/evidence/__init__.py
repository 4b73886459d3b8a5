"""Evidence: facts that cost something, each gathered once and shared. To add one: a file here and a line in SOURCES."""

from gate.evidence.answer_vectors import AnswerVectors, AnswerVectorsSource
from gate.evidence.answerability import Answerability, AnswerabilitySource
from gate.evidence.arbitration import Arbitration, ArbitrationSource
from gate.evidence.cautious import Cautious, CautiousSource
from gate.evidence.closed_book import ClosedBook, ClosedBookSource
from gate.evidence.counterfactual import Counterfactual, CounterfactualSource
from gate.evidence.draft import Draft
from gate.evidence.drafting import DraftSource
from gate.evidence.groundedness import Groundedness, GroundednessSource
from gate.evidence.hidden_states import HiddenStates, HiddenStatesSource
from gate.evidence.leave_one_out import LeaveOneOut, LeaveOneOutSource
from gate.evidence.meanings import Meanings, MeaningsSource
from gate.evidence.neighbours import Neighbours, NeighboursSource
from gate.evidence.p_true import PTrue, PTrueSource
from gate.evidence.passages import Passages, PassagesSource
from gate.evidence.perturbations import Perturbations, PerturbationsSource
from gate.evidence.question import Asked, QuestionSource
from gate.evidence.rephrasings import Rephrasings, RephrasingsSource
from gate.evidence.samples import Samples, SamplesSource
from gate.evidence.second_opinion import SecondOpinion, SecondOpinionSource
from gate.evidence.similarities import Similarities, SimilaritiesSource
from gate.evidence.stated_linguistic import StatedLinguistic, StatedLinguisticSource
from gate.evidence.stated_one_stage import StatedOneStage, StatedOneStageSource
from gate.evidence.stated_top_k import StatedTopK, StatedTopKSource
from gate.evidence.stated_two_stage import StatedTwoStage, StatedTwoStageSource

SOURCES = (
    DraftSource,
    QuestionSource,
    PassagesSource,
    SamplesSource,
    AnswerVectorsSource,
    MeaningsSource,
    AnswerabilitySource,
    RephrasingsSource,
    PerturbationsSource,
    StatedTwoStageSource,
    StatedOneStageSource,
    StatedTopKSource,
    StatedLinguisticSource,
    PTrueSource,
    SimilaritiesSource,
    SecondOpinionSource,
    ClosedBookSource,
    CautiousSource,
    LeaveOneOutSource,
    GroundednessSource,
    CounterfactualSource,
    ArbitrationSource,
    NeighboursSource,
    HiddenStatesSource,
)

__all__ = [
    "SOURCES",
    "AnswerVectors",
    "AnswerVectorsSource",
    "Answerability",
    "AnswerabilitySource",
    "Arbitration",
    "ArbitrationSource",
    "Asked",
    "Cautious",
    "CautiousSource",
    "ClosedBook",
    "ClosedBookSource",
    "Counterfactual",
    "CounterfactualSource",
    "Draft",
    "DraftSource",
    "Groundedness",
    "GroundednessSource",
    "HiddenStates",
    "HiddenStatesSource",
    "LeaveOneOut",
    "LeaveOneOutSource",
    "Meanings",
    "MeaningsSource",
    "Neighbours",
    "NeighboursSource",
    "PTrue",
    "PTrueSource",
    "Passages",
    "PassagesSource",
    "Perturbations",
    "PerturbationsSource",
    "QuestionSource",
    "Rephrasings",
    "RephrasingsSource",
    "Samples",
    "SamplesSource",
    "SecondOpinion",
    "SecondOpinionSource",
    "Similarities",
    "SimilaritiesSource",
    "StatedLinguistic",
    "StatedLinguisticSource",
    "StatedOneStage",
    "StatedOneStageSource",
    "StatedTopK",
    "StatedTopKSource",
    "StatedTwoStage",
    "StatedTwoStageSource",
]
