"""Numbers: whether an answer gives the number of the reference, in whatever unit."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.evidence.quantities import Quantity, same_quantity
from gate.evidence.units import unit
from gate.tuning.grading.amounts import Amount, Unclear, amounts_in, names_percent, the_amount
from gate.tuning.grading.grade import Grade, declines, settled, written
from gate.types import Question


class NumberGrader(BaseModel, extra="forbid", frozen=True):
    """Right when the answer gives one number that is a reference's, converted where their units differ.

    ``relative`` is a share of the larger of the two. ``absolute`` is in the unit that its kind is compared in (metres,
    kilograms, seconds; see `gate.evidence.units`), or a plain number. Either will do. A number without a unit is
    compared with one that has a unit when the question names that unit. Bounds ("more than 5"), ranges, denials and
    several numbers settle nothing.
    """

    name: ClassVar[str] = "number"
    relative: float = Field(default=0.0, ge=0, lt=1)
    absolute: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        if (grade := settled(answer, references)) is not None:
            return grade
        right = [amount for reference in written(references) if (amount := the_amount(reference)) is not None]
        if not right:
            return Grade(None, None, "no reference is read as one number")
        found = amounts_in(answer)
        if isinstance(found, Unclear):
            return Grade(None, None, found.reason)
        said = _not_echoed(found, question.text)
        if not said:
            wrong = declines(answer)
            return Grade(
                False if wrong else None, None, "the answer declines" if wrong else "no number is read in the answer"
            )
        verdicts = [self._verdict(said, reference, question.text) for reference in right]
        order = [True, None, False]
        correct, reason = min(verdicts, key=lambda verdict: order.index(verdict[0]))
        if correct and declines(answer):
            return Grade(None, None, "the number stands in an answer that declines")
        return Grade(correct, None, reason)

    def _verdict(self, said: Sequence[Amount], reference: Amount, question: str) -> tuple[bool | None, str]:
        comparable = [
            (amount, *pair) for amount in said if (pair := _comparable(amount, reference, question)) is not None
        ]
        if not comparable:
            return None, "no number in the answer has the reference's unit"
        if len({given for _, given, _ in comparable}) > 1:
            return None, "several numbers stand in the answer"
        amount, given, wanted = comparable[0]
        same = self._same(given, wanted)
        if same and amount.noun and reference.noun and amount.noun != reference.noun:
            return None, "as many, but of something else"
        if not same and amount.percent != reference.percent and not given.kind and given.value == amount.value:
            return None, "one is a percentage and the other is not"
        return same, "gives the number of a reference" if same else "gives another number"

    def _same(self, one: Quantity, other: Quantity) -> bool:
        if abs(one.value - other.value) <= Fraction(repr(self.absolute)):
            return True
        return same_quantity(one, other, self.relative)


def _not_echoed(found: Sequence[Amount], question: str) -> Sequence[Amount]:
    """The numbers that the question does not have itself; all of them where it has them all."""
    asked = amounts_in(question)
    echoed = set() if isinstance(asked, Unclear) else {amount.bare for amount in asked}
    return [amount for amount in found if amount.bare not in echoed] or found


def _comparable(amount: Amount, reference: Amount, question: str) -> tuple[Quantity, Quantity] | None:
    """Both as numbers of one kind, or None where they are not."""
    if amount.percent != reference.percent and not (amount.kind or reference.kind) and names_percent(question):
        return Quantity(amount.bare, ""), Quantity(reference.bare, "")
    if amount.kind == reference.kind:
        return Quantity(amount.value, amount.kind), Quantity(reference.value, reference.kind)
    measured = amount if amount.kind else reference
    if "" in (amount.kind, reference.kind) and _names(question, measured):
        return Quantity(amount.bare, ""), Quantity(reference.bare, "")
    return None


def _names(question: str, amount: Amount) -> bool:
    """Whether the question names the unit of an amount ("in" is hardly ever inches)."""
    own = unit(amount.unit)
    words = question.replace("?", " ").replace(",", " ").split()
    pairs = [*words, *(f"{one} {other}" for one, other in pairwise(words))]
    return own is not None and any(word != "in" and unit(word) == own for word in pairs)
