"""The grader for files that hold answers of many kinds: sure of what it says, and silent of the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.evidence.equivalence import likeness
from gate.evidence.meanings import normalize
from gate.evidence.quantities import Date, quantity
from gate.evidence.rouge import token_f1
from gate.evidence.words import STOP_WORDS
from gate.tuning.grading.amounts import the_amount
from gate.tuning.grading.contains import standing
from gate.tuning.grading.date import DateGrader
from gate.tuning.grading.exact import ExactGrader
from gate.tuning.grading.grade import Grade, declines, settled, written
from gate.tuning.grading.number import NumberGrader
from gate.tuning.grading.token_f1 import words_of
from gate.types import Question

_CHOICES = frozenset({"or", "and", "either", "both", "maybe", "perhaps", "possibly", "probably"})
_OPPOSITES = (frozenset({"yes", "no"}), frozenset({"true", "false"}))
_SPELT_ALIKE = 75.0
"""Likeness, of 100, from which two wordings without a common word may still be spellings of one."""


class AutoGrader(BaseModel, extra="forbid", frozen=True):
    """Settles an answer by the first of these that can, and leaves it open where none can:

    1. equal to a reference (`ExactGrader`), and no way to decline ("N/A") unless a reference is one: right;
    2. a reference is a date: as `DateGrader` says, with no tolerance; a reference is a number, bare, with a unit, or in
       digits before a noun: as `NumberGrader` says, and right also as a year. What these leave open stays open;
    3. it declines to answer, and no reference stands in it: wrong;
    4. by words, without those that carry no content and those that merely repeat the question: right when a reference
       stands in it undenied (`ContainsGrader`), no alternative is offered beside it, and their F1 is at least
       ``threshold``; wrong when they share no word and are not spelt alike, or all it does is deny a reference.

    Use it before a model or a person, who get what it leaves open. An alias that is no reference counts as wrong.
    """

    name: ClassVar[str] = "auto"
    threshold: float = Field(default=0.8, gt=0, le=1)
    relative: float = Field(default=0.0, ge=0, lt=1)
    """Tolerance for numbers, a share of the larger."""

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        if (grade := settled(answer, references)) is not None:
            return grade
        right = written(references)
        exact = ExactGrader().grade(question, answer, right)
        if exact.correct and (not declines(answer) or any(map(declines, right))):  # "N/A" is not sodium
            return exact
        if any(isinstance(quantity(reference), Date) for reference in right):
            return DateGrader().grade(question, answer, right)
        if any(map(_is_number, right)):
            number = NumberGrader(relative=self.relative).grade(question, answer, right)
            date = DateGrader().grade(question, answer, right)
            return date if number.correct is None and date.correct else number  # 1945 may be a year
        return self._by_words(question, answer, right)

    def _by_words(self, question: Question, answer: str, right: Sequence[str]) -> Grade:
        stands = standing(answer, right)
        if declines(answer):
            return Grade(None if any(stands) else False, None, "the answer declines")
        asked = frozenset(words_of(question.text))
        best = max(_shared(answer, reference, asked) for reference in right)
        if stands and all(stands) and best >= self.threshold and not _undecided(answer, right):
            return Grade(True, best, f"a reference stands in the answer; F1 {best:.2f} of what carries content")
        if stands and not any(stands):
            return Grade(False, best, "all the answer does is deny a reference")
        if best == 0.0 and not stands and not any(_may_be_spelt_alike(answer, each) for each in right):
            return Grade(False, best, "shares no word with any reference")
        return Grade(None, best, "the words alone do not settle it")


def _is_number(reference: str) -> bool:
    """Whether it is read as a number: "Seven Samurai" is not, "206 bones" is."""
    amount = the_amount(reference)
    return amount is not None and (not amount.noun or re.search(r"\d", reference) is not None)


def _shared(answer: str, reference: str, asked: frozenset[str]) -> float:
    wanted = words_of(reference)
    said = tuple(word for word in words_of(answer) if word in wanted or word not in asked)
    return token_f1(_content(said), _content(wanted))


def _content(words: Sequence[str]) -> Sequence[str]:
    return [word for word in words if word not in STOP_WORDS] or words


def _undecided(answer: str, right: Sequence[str]) -> bool:
    """Whether an answer leaves a choice or names several, or says both of two opposites, which no reference does."""
    said, wanted = frozenset(words_of(answer)), frozenset[str]().union(*map(words_of, right))
    return bool((said - wanted) & _CHOICES) or any(pair <= said and not pair <= wanted for pair in _OPPOSITES)


def _may_be_spelt_alike(answer: str, reference: str) -> bool:
    """Whether two wordings without a common word may be one: near in spelling, or in different scripts."""
    one, other = normalize(answer), normalize(reference)
    return likeness(one, other) >= _SPELT_ALIKE or _latin(one) != _latin(other)


def _latin(text: str) -> bool:
    return re.search(r"[a-z]", text) is not None
