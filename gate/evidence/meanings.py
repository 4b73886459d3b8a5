"""Meanings: which of the answers say the same thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from gate.effects import Flow
from gate.evidence.answer_vectors import cosines, embedded
from gate.evidence.draft import Draft
from gate.evidence.equivalence import (
    PROMPT,
    Same,
    Variant,
    Verdicts,
    by_entailment,
    by_likeness,
    by_model,
    by_quantity,
    judged,
)
from gate.evidence.samples import Samples, all_decline, asked_for, samples_of
from gate.evidence.wordings import Wordings, wordings, written
from gate.evidence.wordings import answer_text as answer_text
from gate.evidence.wordings import normalize as normalize
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost

T = TypeVar("T")


@dataclass(frozen=True)
class Meanings(Fact):
    """Labels of equal answers. ``draft`` is the draft's label, ``samples`` those of the samples, in order."""

    draft: int
    samples: tuple[int, ...]
    verdicts: Verdicts | None = None
    """What a judge of entailment said, where one was asked: ``similarities`` need not ask it again."""
    asked: int = 0
    """How many samples were asked for, where that is more than there are."""
    declined: bool = False
    """Whether every sample declines to answer."""


class MeaningsSource(BaseModel, extra="forbid", frozen=True):
    """Groups draft and samples into meanings; each two different wordings are compared once.

    ``normalized``: equal after `normalize`.
    ``lexical``: the same, or a token-sort similarity of at least ``similarity`` (0..100).
    ``numeric``: equal as quantities or dates, up to ``tolerance``, a share of the larger; others as ``normalized``.
    ``embedding``: vectors of the policy's ``embedder`` with a cosine of at least ``cosine``.
    ``nli``: by what ``entailment_judge`` says, in the ``variant`` of `by_entailment`.
    ``model``: as an upstream groups them in one call: the one named by ``upstream``, else the one that answered. It is
    the only judge that needs a call, and is not asked about a single wording.

    Groups are connected components: the order of the samples changes nothing and no answer is assigned twice. Refusals
    are one meaning; tool calls are the same only when equal.
    """

    name: ClassVar[str] = "meanings"
    provides: ClassVar[type[Fact]] = Meanings
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)
    judge: Literal["normalized", "lexical", "numeric", "embedding", "nli", "model"] = "normalized"
    similarity: float = Field(default=85, ge=0, le=100)
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    embedder: str = ""
    cosine: float = Field(default=0.9, ge=-1, le=1)
    entailment_judge: str = ""
    variant: Variant = "strict"
    upstream: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for judge, option in (("embedding", "embedder"), ("nli", "entailment_judge")):
            if self.judge == judge and not getattr(self, option):
                raise ValueError(f"the judge {judge!r} needs the option {option!r}")
        return self

    @property
    def uses(self) -> Uses:
        match self.judge:
            case "embedding":
                return Uses(embedders=(self.embedder,))
            case "nli":
                return Uses(judges=(self.entailment_judge,))
            case "model":
                return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=(PROMPT,))
            case _:
                return Uses()

    def calls(self, profile: Profile) -> int:
        return 1 if self.judge == "model" else 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        given = wordings(evidence, written if self.judge == "numeric" else answer_text)
        same, cost, verdicts = yield from self._judged(round_, evidence, given)
        seats = {place: seat for seat, place in enumerate(given.prose)}

        def alike(one: int, other: int) -> bool:
            return one in seats and other in seats and same(seats[one], seats[other])

        groups = group(range(len(given.forms)), alike)
        declined = all_decline(samples_of(evidence))
        labels = _numbered([groups[place] for place in given.places])
        return Meanings(cost, labels[0], tuple(labels[1:]), verdicts, asked_for(evidence), declined)

    def _judged(self, round_: Round, evidence: Evidence, given: Wordings) -> Flow[tuple[Same, Cost, Verdicts | None]]:
        """A test of two of the wordings that are prose, by their place among those."""
        forms = [given.forms[place] for place in given.prose]
        texts = tuple(given.texts[place] or "" for place in given.prose)
        match self.judge:
            case "normalized":
                return _never, Cost(), None
            case "lexical":
                return by_likeness(forms, self.similarity), Cost(), None
            case "numeric":
                return by_quantity(texts, [normalize(text) for text in texts], self.tolerance), Cost(), None
            case "embedding":
                vectors, cost = yield from embedded(self.embedder, given, evidence)
                near = cosines([vectors[place] for place in given.prose]) >= self.cosine
                return (lambda one, other: bool(near[one, other])), cost, None
            case "nli":
                verdicts, cost = yield from judged(self.entailment_judge, round_.question.text, texts, None)
                return by_entailment(verdicts, self.variant), cost, verdicts
            case "model":
                same, cost = yield from by_model(round_, self.upstream or round_.upstream, texts)
                return same, cost, None


def _never(one: int, other: int) -> bool:
    return False


def group(answers: Sequence[T], same: Callable[[T, T], bool]) -> list[int]:
    """Label connected components of ``same``, numbered by first appearance."""
    labels = list(range(len(answers)))
    for i in range(len(answers)):
        for j in range(i):
            if labels[i] != labels[j] and same(answers[i], answers[j]):
                old, new = max(labels[i], labels[j]), min(labels[i], labels[j])
                labels = [new if label == old else label for label in labels]
    return _numbered(labels)


def _numbered(labels: Sequence[int]) -> list[int]:
    order = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return [order[label] for label in labels]
