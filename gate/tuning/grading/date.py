"""Dates: whether an answer names the day, the month or the year of the reference."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.evidence.quantities import Date, quantity
from gate.tuning.grading.grade import Grade, declines, settled, written
from gate.tuning.grading.spoken_dates import in_digits
from gate.types import Question

_SEEN = 2_000
"""Characters of a text that are looked at."""
_WINDOW = 6
"""Words of a date: "Thursday, the 12th of March 2020" has six."""
_TIME = re.compile(r"(?<=\d{4}-\d\d-\d\d)[T ]\d\d:\d\d\S*")
_DASHED = re.compile(r"\b(\d{1,2})-(\d{1,2})-(\d{4})\b", re.ASCII)
_DASHED_NAME = re.compile(r"\b(\d{1,2})-([A-Za-z]{3,9})-(\d{4})\b", re.ASCII)
_ANY_ORDER = re.compile(r"\d{1,2}[/.]\d{1,2}[/.](?:\d{4}|\d\d)(?!\d)", re.ASCII)
_ERA = re.compile(r"\bB\.?C\.?(?:E\.?)?(?!\w)")
_YEAR = re.compile(r"[12]\d{3}", re.ASCII)
_OF_MONTH = re.compile(r"\d{1,2}(?:st|nd|rd|th)?", re.IGNORECASE | re.ASCII)
_QUALIFIED = re.compile(
    r"(?:\b(?:not|never)|n['\u2019]t)(?:\s\w+){0,2}$|\b(?:before|after|until|later than|earlier than)(?:\sthe)?$",
    re.IGNORECASE,
)
_EDGES = ".,;:!?()[]\"'*\u201c\u201d"


@dataclass(frozen=True, slots=True)
class Day:
    """A date as exact as it was named."""

    year: int | None
    month: int | None = None
    day: int | None = None

    @property
    def calendar(self) -> datetime.date | None:
        """The day of the calendar, where all of it was named."""
        if self.year is None or self.month is None or self.day is None:
            return None
        return datetime.date(self.year, self.month, self.day)


class DateGrader(BaseModel, extra="forbid", frozen=True):
    """Right when the answer names the date of a reference, or one no further than ``days`` from it.

    Read are ISO dates, those with the month's name, those in digits whose order is plain (25/12/2020; 3.4.2020 is day,
    month, year), English words, and years. An answer may be more exact than the reference; less exact settles nothing,
    nor do several dates, an order that is unclear (03/04/2020), or a year before our era.
    """

    name: ClassVar[str] = "date"
    days: int = Field(default=0, ge=0)

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        if (grade := settled(answer, references)) is not None:
            return grade
        right = [day for reference in written(references) if (day := the_day(reference)) is not None]
        if not right:
            return Grade(None, None, "no reference is read as one date")
        found = days_in(answer)
        if isinstance(found, str):
            return Grade(None, None, found)
        asked = days_in(question.text)
        new = found - asked if isinstance(asked, frozenset) else found
        said = new or found
        if not said and declines(answer):
            return Grade(False, None, "the answer declines")
        if len(said) != 1:
            return Grade(None, None, "several dates stand in the answer" if said else "no date is read in the answer")
        (day,) = said
        verdicts = [_same(day, each, self.days) for each in right]
        if True in verdicts and declines(answer):
            return Grade(None, None, "the date stands in an answer that declines")
        if True in verdicts:
            return Grade(True, None, "names the date of a reference")
        if None in verdicts:
            return Grade(None, None, "the answer is less exact than the reference")
        return Grade(False, None, "names another date")


def the_day(text: str) -> Day | None:
    """The one date that a text names."""
    found = days_in(text)
    return next(iter(found)) if isinstance(found, frozenset) and len(found) == 1 else None


def days_in(text: str) -> frozenset[Day] | str:
    """The dates a text names, the less exact ones that a more exact one includes left out; or why they are not read."""
    plain = _plain(text[:_SEEN])
    if _ERA.search(plain):
        return "years before our era are not read"
    tokens, place, found = plain.split(), 0, set[Day]()
    while place < len(tokens):
        day, length = _day_at(tokens, place)
        if day is None and _ANY_ORDER.fullmatch(tokens[place].strip(_EDGES)):
            return "it is unclear which is the day and which the month"
        if day is not None and day.month and not day.day and place and _OF_MONTH.fullmatch(tokens[place - 1]):
            return "a date that no calendar has"
        if day is not None and _QUALIFIED.search(" ".join(tokens[max(0, place - 3) : place])):
            return "a date is denied, or only a bound"
        if day is not None:
            found.add(day)
        place += length
    return frozenset(day for day in found if not any(day != other and _same(other, day, 0) for other in found))


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    text = _DASHED.sub(r"\1/\2/\3", _DASHED_NAME.sub(r"\1 \2 \3", _TIME.sub("", text)))
    return in_digits(" ".join(text.split()))


def _day_at(tokens: Sequence[str], place: int) -> tuple[Day | None, int]:
    """The date that begins at a token, and how many tokens it takes."""
    for length in range(min(_WINDOW, len(tokens) - place), 0, -1):
        window = " ".join(tokens[place : place + length]).strip(_EDGES)
        read = quantity(window)
        if isinstance(read, Date):
            return Day(read.year, read.month, read.day), length
    year = tokens[place].strip(_EDGES)
    return (Day(int(year)) if _YEAR.fullmatch(year) else None), 1


def _same(said: Day, reference: Day, days: int) -> bool | None:
    """Whether two dates are the same; None where the one said is consistent, but less exact."""
    one, other = said.calendar, reference.calendar
    if one is not None and other is not None:
        return abs((one - other).days) <= days
    pairs = [(said.year, reference.year), (said.month, reference.month), (said.day, reference.day)]
    if any(a is not None and b is not None and a != b for a, b in pairs):
        return None if days else False
    return None if any(a is None and b is not None for a, b in pairs) else True
