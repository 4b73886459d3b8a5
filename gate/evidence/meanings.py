"""Meanings: which of the answers say the same thing."""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from rapidfuzz import fuzz

from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused
from gate.evidence.draft import Draft, draft_of
from gate.evidence.samples import Samples
from gate.ports import Evidence, Fact, Profile, Round
from gate.types import Cost, Generation

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Meanings(Fact):
    """Labels of equal answers. ``draft`` is the draft's label, ``samples`` those of the samples, in order."""

    draft: int
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MeaningsSource:
    """Groups draft and samples into meanings; needs no call.

    ``normalized``: equal after case, punctuation, articles and spacing are folded (the SQuAD convention).
    ``lexical``: the same, or a token-sort similarity of at least ``similarity`` (0..100). Groups are connected
    components, so the order of the samples changes nothing.
    """

    name = "meanings"
    provides = Meanings
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)
    judge: Literal["normalized", "lexical"] = "normalized"
    similarity: float = 85.0

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        yield from ()
        samples = evidence.find(Samples)
        if samples is None:
            raise EvidenceUnavailable(evidence.missing.get(Samples, "no samples were drawn"))
        answers = [answer_text(draft_of(evidence).generation), *(answer_text(g) for g in samples.generations)]
        labels = group(answers, self._same)
        return Meanings(Cost(), labels[0], tuple(labels[1:]))

    def _same(self, a: str, b: str) -> bool:
        return a == b or (self.judge == "lexical" and bool(fuzz.token_sort_ratio(a, b) >= self.similarity))


def answer_text(generation: Generation) -> str:
    """The answer in the form it is compared in: normalised text, or the tool calls with their arguments sorted."""
    if generation.tool_calls:
        return json.dumps([[call.name, _canonical(call.arguments)] for call in generation.tool_calls], sort_keys=True)
    return "" if refused(generation) else normalize(generation.text)


def _canonical(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def normalize(text: str) -> str:
    """Fold case, width, punctuation, articles and spacing; text made of nothing else is kept as it is."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = " ".join(_ARTICLES.sub(" ", folded.translate(_PUNCTUATION)).split())
    return bare or folded.strip()


def group(answers: list[str], same: Callable[[str, str], bool]) -> list[int]:
    """Label connected components of ``same``, numbered by first appearance."""
    labels = list(range(len(answers)))
    for i in range(len(answers)):
        for j in range(i):
            if labels[i] != labels[j] and same(answers[i], answers[j]):
                old, new = max(labels[i], labels[j]), min(labels[i], labels[j])
                labels = [new if label == old else label for label in labels]
    order = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return [order[label] for label in labels]
