"""Answerability: the upstream's own word on whether the question has one known answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel

from gate.effects import Flow, Generate, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.log_probabilities import no_number
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses
from gate.prompts import load
from gate.types import Cost, Generation, Message

_PROMPT = "answerability"
_YES, _NO = "A", "B"
_ALTERNATIVES = 20


@dataclass(frozen=True)
class Answerability(Fact):
    known: float | None
    """P(A) / (P(A) + P(B)) of the first token, where A says that there is one known answer; None with a reason."""
    reason: str = ""


class AnswerabilitySource(BaseModel, extra="forbid", frozen=True):
    """Asks once for one token: A or B. Asks nothing of an upstream without log-probabilities, where it cannot tell."""

    name: ClassVar[str] = "answerability"
    provides: ClassVar[type[Fact]] = Answerability
    needs: ClassVar[tuple[type[Fact], ...]] = ()
    uses: ClassVar[Uses] = Uses(prompts=(_PROMPT,))

    def calls(self, profile: Profile) -> int:
        return 1 if profile.logprobs and profile.top_logprobs else 0

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if not self.calls(round_.profile):
            return Answerability(Cost(), None, "the upstream gives no log-probabilities of alternatives")
        text = round_.question.text
        if not text.strip():
            raise EvidenceUnavailable("the question has no text")
        reply = yield from generate(
            Generate(
                upstream=round_.upstream,
                messages=(Message("user", load(_PROMPT).render(question=text)),),
                temperature=0.0,
                max_tokens=1,
                cap=round_.tokens_left,
                logprobs=min(_ALTERNATIVES, round_.profile.top_logprobs),
            )
        )
        known = share_of_yes(reply.value.choices[0])
        why = no_number(reply.value.choices[0].tokens) or Missing("neither letter is among the likely tokens")
        reason = "" if known is not None else why.reason
        return Answerability(reply.cost, known, reason)


def share_of_yes(generation: Generation) -> float | None:
    """P(A) / (P(A) + P(B)) over the alternatives to the first token, however they are spaced or bracketed."""
    if not generation.tokens or no_number(generation.tokens) is not None:
        return None
    first = generation.tokens[0]
    masses = {_YES: 0.0, _NO: 0.0}
    for token, logprob in {**dict(first.top), first.token: first.logprob}.items():
        letter = token.strip().strip("()[].:*\"'")
        if letter in masses:
            masses[letter] += math.exp(min(0.0, logprob))
    total = sum(masses.values())
    return masses[_YES] / total if total > 0.0 else None
