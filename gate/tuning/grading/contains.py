"""Containment: whether a reference stands in the answer, word by word, and is not denied there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from pydantic import BaseModel

from gate.evidence.meanings import normalize
from gate.evidence.words import NEGATIONS, spaced_words
from gate.tuning.grading.grade import Grade, declines, settled, written
from gate.types import Question

_TOKEN = re.compile(r"\S+")
_ENDS_CLAUSE = re.compile(r"[.,;:!?\u2026)\]\u2014\u3002\uff0c]$")
_TURNS = frozenset({"but", "rather", "instead"})
_ARTICLES = frozenset({"a", "an", "the"})
_CONTRACTED = frozenset(
    ("isnt", "wasnt", "arent", "werent", "aint", "dont", "doesnt", "didnt", "cant", "couldnt", "wont", "wouldnt",
     "hasnt", "havent", "hadnt", "shouldnt")
)  # fmt: skip
_DENYING = NEGATIONS | _CONTRACTED
_BEFORE = 4
"""Words before a reference in which a negation still means it."""
_BEING = frozenset({"is", "was", "are", "were", "be", "being"})
_DENIED = frozenset({"not", "incorrect", "wrong", "false", "never"})
_AFFIRMING = (("not", "only"), ("not", "just"), ("not", "merely"), ("no", "doubt"), ("none", "other"), ("no", "other"))


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    clause: int


class ContainsGrader(BaseModel, extra="forbid", frozen=True):
    """Right when a reference stands in the answer as whole words, normalised, where no negation before it means it.

    Denials are detected in English and within a clause ("not Paris", "it isn't in Paris", "Paris is wrong"). Where a
    reference is both said and denied, or said by an answer that declines, nothing is settled. An answer that lists
    many things contains the right one: use it for short answers.
    """

    name: ClassVar[str] = "contains"

    def grade(self, question: Question, answer: str, references: Sequence[str]) -> Grade:
        if (grade := settled(answer, references)) is not None:
            return grade
        stands = standing(answer, written(references))
        if not stands:
            return Grade(False, None, "no reference stands in the answer")
        if declines(answer):
            return Grade(None, None, "a reference stands in an answer that declines")
        if all(stands):
            return Grade(True, None, "a reference stands in the answer")
        if any(stands):
            return Grade(None, None, "a reference is both said and denied")
        return Grade(False, None, "a reference stands in the answer but is denied")


def standing(answer: str, references: Sequence[str]) -> list[bool]:
    """For each place where a reference stands in the answer, whether it is meant there: not denied."""
    said = list(_words(answer))
    return [
        not _denied(said, place, length)
        for reference in references
        for place, length in _places(said, spaced_words(normalize(reference)))
    ]


def _words(text: str) -> Iterator[_Word]:
    """The normalised words and the clause each stands in, without articles."""
    clause, end = 0, 0
    for found in _TOKEN.finditer(text):
        clause += "\n" in text[end : found.start()]
        for word in spaced_words(normalize(found[0])):
            clause += word in _TURNS
            if word not in _ARTICLES:
                yield _Word(word, clause)
        clause += bool(_ENDS_CLAUSE.search(found[0]))
        end = found.end()


def _places(said: Sequence[_Word], sought: Sequence[str]) -> Iterator[tuple[int, int]]:
    words, length = [word.text for word in said], len(sought)
    for place in range(len(words) - length + 1):
        if words[place] == sought[0] and tuple(words[place : place + length]) == tuple(sought):
            yield place, length


def _denied(said: Sequence[_Word], place: int, length: int) -> bool:
    clause, last = said[place].clause, said[place + length - 1].clause
    before = [word.text for word in said[max(0, place - _BEFORE) : place] if word.clause == clause]
    after = [word.text for word in said[place + length : place + length + 2] if word.clause == last]
    if after and (after[0] in _CONTRACTED or (after[0] in _BEING and not _DENIED.isdisjoint(after[1:]))):
        return True
    pairs = pairwise([*before, said[place].text])
    return any(pair[0] in _DENYING and pair not in _AFFIRMING for pair in pairs)
