"""Meanings: which of the answers say the same thing."""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field
from rapidfuzz import fuzz

from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused
from gate.evidence.draft import Draft, draft_of
from gate.evidence.samples import Samples
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Generation

_NUMBER_OR_MARK = re.compile(r"(?<!\w)-?\.?\d+(?:[-.,:/]\d+)*|[^\w\s]|_")
T = TypeVar("T")
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Meanings(Fact):
    """Labels of equal answers. ``draft`` is the draft's label, ``samples`` those of the samples, in order."""

    draft: int
    samples: tuple[int, ...]


class MeaningsSource(BaseModel, extra="forbid", frozen=True):
    """Groups draft and samples into meanings; needs no call.

    ``normalized``: equal after `normalize`.
    ``lexical``: the same, or a token-sort similarity of at least ``similarity`` (0..100). Groups are connected
    components, so the order of the samples changes nothing.
    """

    name: ClassVar[str] = "meanings"
    provides: ClassVar[type[Fact]] = Meanings
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)
    uses: ClassVar[Uses] = Uses()
    judge: Literal["normalized", "lexical"] = "normalized"
    similarity: float = Field(default=85, ge=0, le=100)

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        yield from ()
        samples = evidence.find(Samples)
        if samples is None:
            raise EvidenceUnavailable(evidence.missing.get(Samples, "no samples were drawn"))
        labels = group([draft_of(evidence).generation, *samples.generations], self._same)
        return Meanings(Cost(), labels[0], tuple(labels[1:]))

    def _same(self, a: Generation, b: Generation) -> bool:
        one, other = answer_text(a), answer_text(b)
        if one == other or self.judge == "normalized" or a.tool_calls or b.tool_calls:
            return one == other
        return bool(fuzz.token_sort_ratio(one, other) >= self.similarity)


def answer_text(generation: Generation) -> str:
    """The answer in the form it is compared in: normalised text, or the tool calls with their arguments sorted."""
    if generation.tool_calls:
        return json.dumps([[call.name, _canonical(call.arguments)] for call in generation.tool_calls], sort_keys=True)
    return "" if refused(generation) else normalize(generation.text)


def _canonical(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):  # whatever a model wrote there is compared as it stands
        return arguments


def normalize(text: str) -> str:
    """Fold case, width, punctuation of any script, articles and spacing (the SQuAD convention, with two exceptions).

    Marks inside and before a number stay, for 3.5 is not 35 nor -5. What would leave nothing is left in: "A" is an
    answer too. Normalising twice is normalising once.
    """
    folded = _folded(text)
    for _ in range(8):  # taking a mark out can bring together what composes; once more is all it ever took
        again, folded = folded, _folded(folded)
        if again == folded:
            break
    return folded


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("\u2212", "-")
    plain = " ".join(_NUMBER_OR_MARK.sub(_without_mark, folded).split())
    return " ".join(_ARTICLES.sub(" ", plain).split()) or plain or folded.strip()


def _without_mark(found: re.Match[str]) -> str:
    whole = found[0]
    if len(whole) > 1 or whole.isalnum():
        return whole
    return "" if whole in string.punctuation or unicodedata.category(whole).startswith("P") else whole


def group(answers: Sequence[T], same: Callable[[T, T], bool]) -> list[int]:
    """Label connected components of ``same``, numbered by first appearance."""
    labels = list(range(len(answers)))
    for i in range(len(answers)):
        for j in range(i):
            if labels[i] != labels[j] and same(answers[i], answers[j]):
                old, new = max(labels[i], labels[j]), min(labels[i], labels[j])
                labels = [new if label == old else label for label in labels]
    order = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return [order[label] for label in labels]
