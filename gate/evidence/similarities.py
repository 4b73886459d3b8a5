"""Similarities: how alike each two of the answers are, as one symmetric matrix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from gate.effects import Flow
from gate.errors import EvidenceUnavailable
from gate.evidence.answer_vectors import Floats, cosines, embedded
from gate.evidence.draft import Draft
from gate.evidence.equivalence import Verdicts, judged, likeness
from gate.evidence.meanings import Meanings
from gate.evidence.samples import DECLINED, Samples, all_decline, samples_of
from gate.evidence.wordings import Wordings, wordings
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Entailment

_PIECE = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\W_]+(?:[-'\u2019.,:/][^\W_]+)*|[^\w\s]"
)


@dataclass(frozen=True)
class Similarities(Fact):
    """``rows[i][j]`` in [0, 1]: how alike answers i and j are; the draft is answer 0, then come the samples.

    Symmetric, with 1 on the diagonal and between equal answers.
    """

    rows: tuple[tuple[float, ...], ...]


class SimilaritiesSource(BaseModel, extra="forbid", frozen=True):
    """Compares draft and samples two by two; needs no call. Samples that all decline are not compared.

    ``jaccard``: words the two share, of all the words they have. ``lexical``: token-sort similarity.
    ``embedding``: cosine of vectors of the policy's ``embedder``, 0 where it is negative.
    ``nli_entailment``: how likely they entail each other, the mean of both directions, by ``entailment_judge``.
    ``nli_contradiction``: how likely they do not contradict each other, likewise.

    The judge's probabilities are softened by ``temperature`` T, as p^(1/T) made to add up to 1: the same as dividing
    its logits by T (Lin et al. 2024 use 3). Tool calls and refusals are like nothing but their equals.
    """

    name: ClassVar[str] = "similarities"
    provides: ClassVar[type[Fact]] = Similarities
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)
    kind: Literal["jaccard", "lexical", "embedding", "nli_entailment", "nli_contradiction"] = "jaccard"
    embedder: str = ""
    entailment_judge: str = ""
    temperature: float = Field(default=3.0, gt=0, le=100)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        option = "embedder" if self.kind == "embedding" else "entailment_judge"
        if self.kind in {"embedding", "nli_entailment", "nli_contradiction"} and not getattr(self, option):
            raise ValueError(f"the kind {self.kind!r} needs the option {option!r}")
        return self

    @property
    def uses(self) -> Uses:
        if self.kind == "embedding":
            return Uses(embedders=(self.embedder,))
        return Uses(judges=(self.entailment_judge,)) if self.kind.startswith("nli_") else Uses()

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if all_decline(samples_of(evidence)):
            raise EvidenceUnavailable(DECLINED)
        given = wordings(evidence)
        alike, cost = yield from self._alike(round_, evidence, given)
        between = np.eye(len(given.forms))
        between[np.ix_(given.prose, given.prose)] = alike
        np.fill_diagonal(between, 1.0)
        return Similarities(cost, tuple(map(tuple, between[np.ix_(given.places, given.places)].tolist())))

    def _alike(self, round_: Round, evidence: Evidence, given: Wordings) -> Flow[tuple[Floats, Cost]]:
        """How alike the wordings are that are prose, by their place among those."""
        forms = [given.forms[place] for place in given.prose]
        match self.kind:
            case "jaccard":
                return shared_words(forms), Cost()
            case "lexical":
                return _symmetric([[likeness(a, b) / 100.0 for b in forms[:i]] for i, a in enumerate(forms)]), Cost()
            case "embedding":
                vectors, cost = yield from embedded(self.embedder, given, evidence)
                return np.maximum(0.0, cosines([vectors[place] for place in given.prose])), cost
            case "nli_entailment" | "nli_contradiction":
                texts = tuple(given.texts[place] or "" for place in given.prose)
                meanings = evidence.find(Meanings)
                known = meanings.verdicts if meanings else None
                verdicts, cost = yield from judged(self.entailment_judge, round_.question.text, texts, known)
                return _agreement(verdicts, self.kind, self.temperature), cost


def pieces(text: str) -> list[str]:
    """The words of a text that is already folded; single characters in scripts that put no space between words."""
    return _PIECE.findall(text)


def shared_words(texts: Sequence[str]) -> Floats:
    """Jaccard similarity of the word sets of each two texts, [k, k], 1 on the diagonal."""
    sets = [set(pieces(text)) for text in texts]
    return _symmetric([[_jaccard(a, b) for b in sets[:i]] for i, a in enumerate(sets)])


def _jaccard(one: set[str], other: set[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def softened(verdict: Entailment, temperature: float) -> tuple[float, float, float]:
    """Entailment, neutral and contradiction as if the logits behind them had been divided by ``temperature``."""
    masses = [max(0.0, p) ** (1.0 / temperature) for p in (verdict.entailment, verdict.neutral, verdict.contradiction)]
    total = sum(masses)
    if not total > 0.0:
        return (0.0, 1.0, 0.0)
    return masses[0] / total, masses[1] / total, masses[2] / total


def _agreement(verdicts: Verdicts, kind: str, temperature: float) -> Floats:
    said = np.array([[softened(verdict, temperature) for verdict in row] for row in verdicts.rows]).reshape(
        len(verdicts.rows), len(verdicts.rows), 3
    )
    agreed = said[:, :, 0] if kind == "nli_entailment" else 1.0 - said[:, :, 2]
    return np.clip((agreed + agreed.T) / 2.0, 0.0, 1.0)


def _symmetric(below: Sequence[Sequence[float]]) -> Floats:
    """The matrix whose lower triangle is given, with 1 on the diagonal."""
    whole = np.eye(len(below))
    for place, row in enumerate(below):
        whole[place, :place] = whole[:place, place] = row
    return whole
