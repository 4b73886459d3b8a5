"""Graders: whether an answer is right. To add one: a file here and a line in GRADERS."""

from gate.tuning.grading.auto import AutoGrader
from gate.tuning.grading.choice import ChoiceGrader
from gate.tuning.grading.contains import ContainsGrader
from gate.tuning.grading.date import DateGrader
from gate.tuning.grading.exact import ExactGrader
from gate.tuning.grading.grade import Grade, Grader
from gate.tuning.grading.model import ModelGrader
from gate.tuning.grading.number import NumberGrader
from gate.tuning.grading.rouge_l import RougeLGrader
from gate.tuning.grading.token_f1 import TokenF1Grader

GRADERS = (
    AutoGrader,
    ExactGrader,
    NumberGrader,
    DateGrader,
    ContainsGrader,
    TokenF1Grader,
    RougeLGrader,
    ChoiceGrader,
    ModelGrader,
)
"""``auto`` first; ``model`` is the only one that asks an upstream."""

__all__ = [
    "GRADERS",
    "AutoGrader",
    "ChoiceGrader",
    "ContainsGrader",
    "DateGrader",
    "ExactGrader",
    "Grade",
    "Grader",
    "ModelGrader",
    "NumberGrader",
    "RougeLGrader",
    "TokenF1Grader",
]
