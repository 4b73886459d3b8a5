"""Counterfactual: what the upstream answers when told to suppose that its answer was wrong (RC-RAG: Chen et al. 2024).

Once because it used the passages badly, once because the passages were bad. An answer that is well founded stays.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel

from gate.effects import Flow, Generate, Reply, generate
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import refused, request
from gate.evidence.comparison import draft_to_compare, survives
from gate.evidence.draft import Draft
from gate.evidence.drawing import cost_of, first_error, tried
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.prompts import load
from gate.types import Generation, Generations, Message

_PROMPTS = ("counterfactual_use", "counterfactual_quality")


@dataclass(frozen=True)
class Counterfactual(Fact):
    """Whether the draft came again under either supposition; None where that answer could not be had."""

    use: bool | None
    """That the passages had been used badly."""
    quality: bool | None
    """That the passages had been bad."""


class CounterfactualSource(BaseModel, extra="forbid", frozen=True):
    """Asks twice, side by side, each in one more turn after the draft, greedily. Two calls.

    Expect it to say more of models that do not give in: one that pleases whoever doubts it changes right answers too.
    """

    name: ClassVar[str] = "counterfactual"
    provides: ClassVar[type[Fact]] = Counterfactual
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    uses: ClassVar[Uses] = Uses(prompts=_PROMPTS)

    def calls(self, profile: Profile) -> int:
        return len(_PROMPTS)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if not round_.passages:
            raise EvidenceUnavailable("no passage is in the prompt")
        draft = draft_to_compare(evidence)
        if draft.tool_calls:
            raise EvidenceUnavailable("the draft calls a tool: there is no second turn to take without its result")
        replies = yield from tried(generate(_asked(round_, draft, prompt)) for prompt in _PROMPTS)
        cost = cost_of(replies)
        use, quality = (_same(draft, reply) for reply in replies)
        if use is None and quality is None:
            why = first_error(replies) or "it declined both times"
            raise EvidenceUnavailable(f"no second answer could be had: {why}", cost)
        return Counterfactual(cost, use, quality)


def _asked(round_: Round, draft: Generation, prompt: str) -> Generate:
    turns = (Message("assistant", draft.text), Message("user", load(prompt).render()))
    second = dataclasses.replace(round_, messages=(*round_.messages, *turns))
    return request(second, n=1, temperature=0.0, seed=None, alternatives=0, of=len(_PROMPTS))


def _same(draft: Generation, reply: Reply[Generations] | UpstreamError) -> bool | None:
    if isinstance(reply, UpstreamError) or refused(reply.value.choices[0]):
        return None
    return survives(draft, reply.value.choices[0])
