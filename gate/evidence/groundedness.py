"""Groundedness: how far the passages bear out each claim of the draft, and whether they contradict any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from gate.effects import Flow, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.claims import Claim, claims_of, numbered, support_in_words, vocabulary
from gate.evidence.comparison import draft_to_compare
from gate.evidence.draft import Draft
from gate.evidence.equivalence import encodable, entailments
from gate.evidence.fencing import quoted
from gate.evidence.judging import conversation, or_none, put
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.prompts import load
from gate.types import Cost, Message, Passage

_PROMPT = "groundedness"
_A_VERDICT = 12
"""Tokens of one line of a reply."""
_LINE = re.compile(r"^\W*(\d{1,3})\W+(yes|no|contradicted)\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Groundedness(Fact):
    """One number for each claim of the draft, in order; there is at least one."""

    support: tuple[float, ...]
    """How far the best passage bears it out, in [0, 1]."""
    contradiction: tuple[float, ...] | None = None
    """How far some passage contradicts it, in [0, 1]; None where the judge cannot tell."""


class GroundednessSource(BaseModel, extra="forbid", frozen=True):
    """Parts the draft into claims and holds each against the passages in the prompt.

    ``lexical``: the share of a claim's content words, names and numbers that a passage holds. No call, and no word of
    contradictions.
    ``nli``: by what ``entailment_judge`` says of passage and claim: the most of any passage. No call.
    ``model``: one call to the round's upstream, or to the one named by ``upstream``, for a verdict on every claim.
    """

    name: ClassVar[str] = "groundedness"
    provides: ClassVar[type[Fact]] = Groundedness
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    judge: Literal["lexical", "nli", "model"] = "lexical"
    entailment_judge: str = ""
    upstream: str | None = None
    most: int = Field(default=16, ge=1, le=64)
    """Claims that are looked at, at most: the first."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.judge == "nli" and not self.entailment_judge:
            raise ValueError("the judge 'nli' needs the option 'entailment_judge'")
        return self

    @property
    def uses(self) -> Uses:
        match self.judge:
            case "nli":
                return Uses(judges=(self.entailment_judge,))
            case "model":
                return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=(_PROMPT,))
            case _:
                return Uses()

    def calls(self, profile: Profile) -> int:
        return 1 if self.judge == "model" else 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if not round_.passages:
            raise EvidenceUnavailable("no passage is in the prompt")
        claims = claims_of(round_.question.text, draft_to_compare(evidence), self.most)
        if not claims:
            raise EvidenceUnavailable("the draft makes no claim in words")
        match self.judge:
            case "lexical":
                held = [vocabulary(passage.text) for passage in round_.passages]
                return Groundedness(Cost(), tuple(support_in_words(claim, held) for claim in claims))
            case "nli":
                return (yield from self._by_entailment(claims, round_.passages))
            case "model":
                return (yield from self._by_model(round_, claims))

    def _by_entailment(self, claims: Sequence[Claim], passages: Sequence[Passage]) -> Flow[Groundedness]:
        pairs = tuple((encodable(p.text), encodable(claim.whole)) for claim in claims for p in passages)
        verdicts, cost = yield from entailments(self.entailment_judge, pairs)
        rows = [verdicts[start : start + len(passages)] for start in range(0, len(pairs), len(passages))]
        return Groundedness(
            cost,
            tuple(_share(max(verdict.entailment for verdict in row)) for row in rows),
            tuple(_share(max(verdict.contradiction for verdict in row)) for row in rows),
        )

    def _by_model(self, round_: Round, claims: Sequence[Claim]) -> Flow[Groundedness]:
        prompt = load(_PROMPT)
        asked = prompt.render(
            question=or_none(conversation(round_.question.messages)),
            passages=quoted(round_.passages, prompt),
            claims=numbered(claims),
        )
        messages = (Message("user", asked),)
        request = put(round_, messages, upstream=self.upstream, max_tokens=_A_VERDICT * (1 + len(claims)))
        reply = yield from generate(request)
        said = verdicts_in(reply.value.choices[0].text, len(claims))
        if said is None:
            raise EvidenceUnavailable("the reply holds no verdict on each claim", reply.cost)
        return Groundedness(
            reply.cost,
            tuple(float(verdict == "yes") for verdict in said),
            tuple(float(verdict == "contradicted") for verdict in said),
        )


def verdicts_in(text: str, count: int) -> list[str] | None:
    """The verdicts on the claims 1 … ``count``, in order; None unless there is exactly one on each."""
    found = [(int(number), verdict.lower()) for number, verdict in _LINE.findall(text)]
    by_number = dict(found)
    if len(found) != count or by_number.keys() != set(range(1, count + 1)):
        return None
    return [by_number[number] for number in range(1, count + 1)]


def _share(p: float) -> float:
    return min(1.0, max(0.0, p))
