"""Answer vectors: where the draft and the samples lie in an embedder's space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from gate.effects import Embed, Flow, embed
from gate.errors import EvidenceUnavailable
from gate.evidence.draft import Draft
from gate.evidence.equivalence import encodable
from gate.evidence.samples import DECLINED, Samples, all_decline, samples_of
from gate.evidence.wordings import Wordings, wordings
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Vector

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AnswerVectors(Fact):
    embedder: str
    rows: tuple[Vector | None, ...]
    """Unit vectors of draft and samples; None for tool calls, refusals and what the embedder sees nothing in."""
    cosines: tuple[tuple[float, ...], ...]
    """Of each two of them, in [-1, 1]; a tool call or a refusal is at a right angle to all but its equals.

    A text that the embedder sees nothing in is left out: where it lies is not known."""


class AnswerVectorsSource(BaseModel, extra="forbid", frozen=True):
    """Embeds the different wordings of draft and samples with the policy's ``embedder``; needs no call.

    Gathered first, it spares ``meanings`` and ``similarities`` asking the same embedder again. Samples that all decline
    are not embedded.
    """

    name: ClassVar[str] = "answer_vectors"
    provides: ClassVar[type[Fact]] = AnswerVectors
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)
    embedder: str = "hashed"
    """The name of an embedder of the policy."""

    @property
    def uses(self) -> Uses:
        return Uses(embedders=(self.embedder,))

    def calls(self, profile: Profile) -> int:
        return 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if all_decline(samples_of(evidence)):
            raise EvidenceUnavailable(DECLINED)
        given = wordings(evidence)
        vectors, cost = yield from embedded(self.embedder, given, evidence)
        lost = {place for place in given.prose if vectors[place] is None}
        kept = [place for place in given.places if place not in lost]
        between = cosines(vectors)[np.ix_(kept, kept)]
        rows = tuple(vectors[place] for place in given.places)
        return AnswerVectors(cost, self.embedder, rows, tuple(map(tuple, between.tolist())))


def embedded(embedder: str, given: Wordings, evidence: Evidence) -> Flow[tuple[tuple[Vector | None, ...], Cost]]:
    """A unit vector for each wording, None where there is none. Those that were gathered before are not asked for.

    Raises `EvidenceUnavailable` when the embedder returns what is no matrix of numbers, a row a text.
    """
    known = evidence.find(AnswerVectors)
    if known is not None and known.embedder == embedder and len(known.rows) == len(given.places):
        there = dict(zip(given.places, known.rows, strict=True))
        return tuple(there[place] for place in range(len(given.forms))), Cost()
    vectors: list[Vector | None] = [None] * len(given.forms)
    if not given.prose:
        return tuple(vectors), Cost()
    reply = yield from embed(Embed(embedder, tuple(encodable(given.texts[place] or "") for place in given.prose)))
    rows = reply.value.rows
    if len(rows) != len(given.prose) or not of_one_length(rows):
        raise EvidenceUnavailable(f"the embedder {embedder!r} gave no vector of one length for each text", reply.cost)
    made = np.array(rows)
    lengths = np.linalg.norm(made, axis=1)
    unit = bool(np.all(np.abs(lengths - 1.0) < 1e-9))
    brought = rows if unit else (made / np.where(lengths > 0.0, lengths, 1.0)[:, None]).tolist()
    for place, row, length in zip(given.prose, brought, lengths, strict=True):
        vectors[place] = tuple(row) if length > 0.0 else None
    return tuple(vectors), reply.cost


def of_one_length(rows: Sequence[Vector]) -> bool:
    """Whether these can be compared: all of one length, and every number finite."""
    return len({len(row) for row in rows}) == 1 and bool(np.isfinite(np.array(rows)).all())


def cosines(vectors: Sequence[Vector | None]) -> Floats:
    """The cosine of each two vectors, [k, k]; what has none is at a right angle to all others."""
    between = np.eye(len(vectors))
    there = [place for place, vector in enumerate(vectors) if vector is not None]
    if there:
        rows = np.array([vectors[place] for place in there])
        between[np.ix_(there, there)] = np.clip(rows @ rows.T, -1.0, 1.0)
        np.fill_diagonal(between, 1.0)
    return between
