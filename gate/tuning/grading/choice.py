"""Multiple choice: which letter an answer picks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel

from gate.evidence.meanings import normalize
from gate.tuning.grading.grade import Grade, declines, settled, written
from gate.types import Question

_OPTION = re.compile(r"^[ \t]*[*(\[]*([A-Z])[)\].:]+[*]*[ \t]*(\S.*)$", re.MULTILINE)
_ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
_LEADING = re.compile(r"[\W_]*([A-Z])[)\].:*][\s\S]*")
_BRACKETED = re.compile(r"(?<!\w)([A-Z])[)\]]")
_ARTICLE = r"(?!\s+(?!(?:is|was|because|since|as|and|or|but)\b)[a-z])"
"""Behind a letter: what follows is not what "a" is the article of."""
_NAMED = re.compile(
    r"\b(?i:answer|option|choice|correct)\b(?:\s+(?i:is|was|would be|choice|option|answer))*\s*[:=]?\s*[*(\[\"']*"
    rf"([A-Z])(?![\w'\u2019]){_ARTICLE}(?:[*)\]\"']*\s*(?:or|and|,|/|&)\s*[*(\[\"']*([A-Z])(?![\w'\u2019]))?"
)


class ChoiceGrader(BaseModel, extra="forbid", frozen=True):
    """Right when the answer picks the letter of a reference.

    A letter is read alone ("(b)"), in front ("B) Lagos"), or as the one named ("the answer is B"); where the question
    lists its options, a line each, the text of one stands for its letter. Several letters settle nothing.
    """

    name: ClassVar[str] = "choice"

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        if (grade := settled(answer, references)) is not None:
            return grade
        options = options_in(question.text)
        right = {letter for text in written(references) if (letter := letter_in(text, options)) is not None}
        if not right:
            return Grade(None, None, "no reference names a letter or an option")
        picked = letter_in(answer, options)
        if picked is None:
            wrong = declines(answer)
            return Grade(False if wrong else None, None, "the answer declines" if wrong else "no one letter is picked")
        return Grade(picked in right, None, f"the answer picks {picked}")


def options_in(question: str) -> Mapping[str, str]:
    """The options a question lists, normalised, by their letters; empty where a letter stands twice."""
    found = _OPTION.findall(question)
    options = {letter: normalize(text) for letter, text in found}
    return options if len(options) == len(found) > 1 else {}


def letter_in(text: str, options: Mapping[str, str]) -> str | None:
    """The one letter that a text picks among the options; among all letters where none are known."""
    bare = unicodedata.normalize("NFKC", text).strip()
    alone, named = _ALONE.fullmatch(bare), {letter for found in _NAMED.findall(bare) for letter in found if letter}
    leading = _LEADING.fullmatch(bare)
    if alone:
        picked = {alone[1].upper()}
    elif named:
        picked = named
    elif leading:
        picked = {leading[1], *_BRACKETED.findall(bare)}
    else:
        picked = {letter for letter, option in options.items() if option == normalize(bare)}
    if len(picked) != 1:
        return None
    (letter,) = picked
    return letter if not options or letter in options else None
