"""Neighbours: how an upstream fared on the labelled questions most like this one, and what was learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from gate.effects import Embed, Flow, Reply, embed
from gate.errors import ConfigError, EvidenceUnavailable, UpstreamError
from gate.evidence.asking import refused
from gate.evidence.citations import said
from gate.evidence.draft import Draft, draft_of
from gate.evidence.drawing import cost_of, tried
from gate.evidence.meanings import answer_text
from gate.evidence.nearest import Found, Sought, look_up
from gate.evidence.reference_pool import WHOLE, Floats, ReferencePool, question_key
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Generation, Vector, Vectors

LONGEST_TEXT = 8000
"""Characters of a question or an answer that are embedded."""


@dataclass(frozen=True)
class Neighbours(Fact):
    """What the reference pool says of this question, for the upstream that drafts. No vector and no text is kept.

    A question that is in the pool is judged as if it were not. Log-odds are of the upstream being right.
    """

    distances: tuple[float, ...]
    """Euclidean, between unit vectors (0 to 2), best neighbour first; never empty."""
    correct: tuple[float, ...]
    """Whether the upstream was right on each of them: 0 to 1."""
    base_rate: float
    """Its share right over the whole pool."""
    cluster_accuracy: float
    """Its share right in the cluster of the nearest neighbour, the base rate counting as one more question there."""
    similarity: int
    """q: how many of the nearest in a row speak for what ``skill`` foretells. See `gate.evidence.nearest`."""
    closeness: float
    """Share of the pool's questions that lie further from their nearest: 0 = further out than all of them."""
    class_closeness: float
    """d: the same among those that can be compared, wrong and right ones apart, and the smaller of the two."""
    skill: float
    """Log-odds by the skill model, from the question."""
    text: float | None = None
    """Log-odds by the text model, from question and answer; None where there is no answer, or no such model."""
    shared: tuple[bool, ...] | None = None
    """For the nearest by a second embedder, in order: is it among the nearest by the first? None without a second."""


class NeighboursSource(BaseModel, extra="forbid", frozen=True):
    """Looks the question up in the reference pool at ``path``: an exact search; needs embeddings, but no call.

    The pool must have been fitted with the embedders named here. Raises `ConfigError` when it cannot be read.
    """

    name: ClassVar[str] = "neighbours"
    provides: ClassVar[type[Fact]] = Neighbours
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    path: str
    """A file written by `gate.tuning.reference_pool`. It holds personal data: see `gate.evidence.reference_pool`."""
    embedder: str
    second_embedder: str | None = None
    """For the signal ``neighbour_agreement``; without it that one is missing."""
    k: int = Field(default=10, ge=1, le=100)
    """How many neighbours are looked at."""

    @cached_property
    def pool(self) -> ReferencePool:
        return ReferencePool.load(Path(self.path))

    def model_post_init(self, context: Any) -> None:
        # a file that cannot be used is found here, not at the first question
        known = self.pool.second_embedder
        if self.second_embedder is not None and known is None:
            raise ConfigError("the reference pool holds no vectors of a second embedder", where=self.path)

    @property
    def uses(self) -> Uses:
        fitted = [(self.embedder, self.pool.embedder)]
        if self.second_embedder is not None:
            fitted.append((self.second_embedder, str(self.pool.second_embedder)))
        files = ((self.path, self.pool.fingerprint),)
        return Uses(embedders=tuple(name for name, _ in fitted), files=files, fitted_with=tuple(fitted))

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        column = self.pool.column(round_.upstream)
        if column is None:
            raise EvidenceUnavailable(f"the reference pool holds no labels for the upstream {round_.upstream!r}")
        question = round_.question.text[:LONGEST_TEXT]
        answer = judged_text(draft_of(evidence).generation)[:LONGEST_TEXT]
        if np.isnan(self.pool.text_intercepts[WHOLE, column]):
            answer = ""  # there is no model that would read it
        asked = [Embed(self.embedder, (question, answer) if answer else (question,))]
        if self.second_embedder is not None:
            asked.append(Embed(self.second_embedder, (question,)))
        replies = yield from tried(map(embed, asked))
        cost, (first, *others) = cost_of(replies), replies
        if isinstance(first, UpstreamError):
            raise EvidenceUnavailable(str(first), cost)
        places = self.pool.vectors.shape[1]
        vectors = usable_rows(first.value.rows[:1], places)
        if vectors is None:
            raise EvidenceUnavailable(f"the embedder gave no unit vector of {places} places for the question", cost)
        sought = Sought(
            np.array([question_key(round_.question.text)], dtype=np.uint64),
            vectors,
            usable_rows(first.value.rows[1:2], places),
            self._second(others),
        )
        fact = facts(self.pool, column, look_up(self.pool, column, sought, self.k), cost)[0]
        if fact is None:
            raise EvidenceUnavailable("the reference pool holds no other question", cost)
        return fact

    def _second(self, replies: Sequence[Reply[Vectors] | UpstreamError]) -> Floats | None:
        """The vector of the second embedder; None when it failed, for the rest is of use without it."""
        for reply in replies:
            if isinstance(reply, Reply):
                return usable_rows(reply.value.rows[:1], self.pool.second.shape[1])
        return None


def judged_text(generation: Generation) -> str:
    """The answer as the text model reads it: its text or tool calls; empty when the model declined."""
    if refused(generation):
        return ""
    return answer_text(generation) if generation.tool_calls else said(generation)


def usable_rows(vectors: Sequence[Vector], places: int) -> Floats | None:
    """An embedder's vectors as [n, places]; None when one of them is no unit vector of so many places."""
    if not vectors or any(len(vector) != places for vector in vectors):
        return None
    rows = np.array(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1)
    if not np.all(np.abs(lengths - 1) < 0.01):  # a text without a word the embedder knows may be all zeros
        return None
    return np.asarray(rows / lengths[:, None], dtype=np.float32)


def facts(pool: ReferencePool, upstream: int, found: Found, cost: Cost) -> list[Neighbours | None]:
    """One fact for each question that was looked up; None where the pool holds no other question to compare with."""
    made: list[Neighbours | None] = []
    base_rate = float(pool.base_rates[upstream])
    for row, distances in enumerate(found.distances):
        there = np.isfinite(distances)
        if not there.any():
            made.append(None)
            continue
        shared = None if found.shared is None else tuple(found.shared[row][there].tolist())
        text = float(found.text[row])
        made.append(
            Neighbours(
                cost,
                distances=tuple(distances[there].tolist()),
                correct=tuple(found.correct[row][there].tolist()),
                base_rate=base_rate,
                cluster_accuracy=float(found.cluster[row]),
                similarity=int(found.similarity[row]),
                closeness=float(found.closeness[row]),
                class_closeness=float(found.class_closeness[row]),
                skill=float(found.skill[row]),
                text=None if np.isnan(text) else text,
                shared=shared,
            )
        )
    return made
