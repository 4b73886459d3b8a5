"""Signals: one number each, higher = more likely correct. To add one: a file here and a line in SIGNALS."""

from gate.ports import Signal
from gate.signals.agreement import AGREEMENT_SIGNALS, VotePosterior, VoteShare
from gate.signals.cautious import CautiousAgreement, CautiousAssured
from gate.signals.closed_book import CLOSED_BOOK_SIGNALS
from gate.signals.counterfactual import COUNTERFACTUAL_SIGNALS
from gate.signals.graph import GRAPH_SIGNALS
from gate.signals.groundedness import GROUNDEDNESS_SIGNALS
from gate.signals.hedging import HEDGING_SIGNALS
from gate.signals.internal import INTERNAL_SIGNALS
from gate.signals.json_fields import JsonFieldAgreement
from gate.signals.leave_one_out import LEAVE_ONE_OUT_SIGNALS
from gate.signals.lexical import DraftLexicalSimilarity, LexicalSimilarity
from gate.signals.local_normalisation import TextProbabilityShare
from gate.signals.neighbours import NEIGHBOUR_SIGNALS
from gate.signals.p_true import P_TRUE_SIGNALS
from gate.signals.passages_agree import PassagesAgree
from gate.signals.perturbation import PERTURBATION_SIGNALS
from gate.signals.question import QUESTION_SIGNALS
from gate.signals.retrieval import AnswerInPassages, PassageMargin, PassageScore, QuestionInPassages
from gate.signals.rivals import RivalAgreement
from gate.signals.second_opinion import SECOND_OPINION_SIGNALS
from gate.signals.semantic_entropy import SemanticConcentration, WeightedSemanticConcentration
from gate.signals.token import TOKEN_SIGNALS
from gate.signals.tool_call import TOOL_SIGNALS
from gate.signals.verbalized import VERBALIZED_SIGNALS
from gate.signals.volume import SemanticCompactness

SIGNALS: tuple[Signal, ...] = (
    *TOKEN_SIGNALS,
    TextProbabilityShare(),
    VoteShare(),
    VotePosterior(),
    SemanticConcentration(),
    WeightedSemanticConcentration(),
    WeightedSemanticConcentration("semantic_concentration_per_token", per_token=True),
    *AGREEMENT_SIGNALS,
    LexicalSimilarity(),
    DraftLexicalSimilarity(),
    *GRAPH_SIGNALS,
    SemanticCompactness(),
    PassageScore(),
    PassageMargin(),
    QuestionInPassages(),
    AnswerInPassages(),
    RivalAgreement(),
    PassagesAgree(),
    *QUESTION_SIGNALS,
    *HEDGING_SIGNALS,
    *PERTURBATION_SIGNALS,
    *VERBALIZED_SIGNALS,
    *P_TRUE_SIGNALS,
    *SECOND_OPINION_SIGNALS,
    CautiousAgreement(),
    CautiousAssured(),
    *LEAVE_ONE_OUT_SIGNALS,
    *GROUNDEDNESS_SIGNALS,
    *COUNTERFACTUAL_SIGNALS,
    *CLOSED_BOOK_SIGNALS,
    *TOOL_SIGNALS,
    JsonFieldAgreement(),
    *NEIGHBOUR_SIGNALS,
    *INTERNAL_SIGNALS,
)
