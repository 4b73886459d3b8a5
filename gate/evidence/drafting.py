"""Drafting: how the answer on trial is got, alone or as the best of several."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Self

from pydantic import BaseModel, Field, model_validator

from gate.effects import Flow, Generate, ReadStates, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import put_otherwise, refused, request
from gate.evidence.assurance import assurance
from gate.evidence.best_of import Verify, candidates, verified
from gate.evidence.draft import Draft
from gate.evidence.drawing import fewest_calls, seed_of, several
from gate.evidence.fencing import visible
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.prompts import load
from gate.types import Cost, Generation

_CAUTIOUS = "cautious"


class DraftSource(BaseModel, extra="forbid", frozen=True):
    """Asks once. The caller's temperature is kept; without one the draft is greedy, so that it repeats.

    With ``best_of`` it draws so many answers less one beside it, at ``temperature``, and has the different ones judged
    as ``verify`` says: the best takes the draft's place, with its own tokens. Where the draft declines, the budget has
    no room, or the judge fails, the draft stays.
    """

    name: ClassVar[str] = "draft"
    provides: ClassVar[type[Fact]] = Draft
    needs: ClassVar[tuple[type[Fact], ...]] = ()
    alternatives: int = Field(default=5, ge=0, le=20)
    """How many of the likeliest tokens to ask for at each place."""
    best_of: int = Field(default=1, ge=1, le=32)
    verify: Verify | None = None
    temperature: float = Field(default=1.0, gt=0, le=2)
    """Of the answers beside the draft."""
    seed: int | None = None
    """Makes those answers repeat where the upstream allows it."""
    states: bool = False
    """Whether to read inside the model, where its upstream can: set where the tiers hold ``hidden_states``."""
    cautious: bool = False
    """Whether an answer from memory is asked for only if the model is sure of it (ConfRAG, Huang et al. 2025): then its
    "I don't know" is a refusal, and the question goes on to where it can be looked up."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.best_of > 1) != (self.verify is not None):
            raise ValueError("'best_of' (more than 1) and 'verify' go together")
        return self

    @property
    def uses(self) -> Uses:
        verifying = self.verify.uses if self.verify else Uses()
        return replace(verifying, prompts=(*verifying.prompts, _CAUTIOUS)) if self.cautious else verifying

    def calls(self, profile: Profile) -> int:
        return 1 + (fewest_calls(self.best_of - 1, profile.n) + self.verify.votes if self.verify else 0)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if round_.drafted is not None:
            return Draft(Cost(), round_.drafted, "", round_.rivals)
        options = round_.question.options
        asked = options.get("temperature")
        seed, live = options.get("seed"), "" if self.verify else round_.stage(0).round_key
        effect = self._request(round_, n=1, temperature=0.0 if asked is None else asked, seed=seed, live=live)
        reply = yield from generate(effect)
        draft = Draft(reply.cost, self._declining(round_, reply.value.choices[0]), reply.value.model)
        if self.verify is None or refused(draft.generation):
            return draft
        return (yield from self._best(round_, draft, self.verify))

    def _best(self, round_: Round, draft: Draft, verify: Verify) -> Flow[Draft]:
        left = _after(round_, draft.cost)
        if left.calls_left is not None and left.calls_left < fewest_calls(self.best_of - 1, round_.profile.n) + 1:
            return draft
        others, cost = yield from self._others(left)
        cost = draft.cost + cost
        among = candidates(draft.generation, others)
        place, judged = yield from verified(_after(round_, cost), among, verify)
        return Draft(cost + judged, among[place], draft.model)

    def _others(self, round_: Round) -> Flow[tuple[tuple[Generation, ...], Cost]]:
        n = self.best_of - 1
        try:
            drawn = yield from several(
                lambda count, place: self._request(
                    round_, n=count, temperature=self.temperature, seed=seed_of(self.seed, place), of=n
                ),
                n,
                at_once=round_.profile.n,
                room=None if round_.calls_left is None else round_.calls_left - 1,
            )
        except EvidenceUnavailable as error:
            return (), error.cost or Cost()
        return drawn.generations, drawn.cost

    def _request(
        self,
        round_: Round,
        *,
        n: int,
        temperature: float | None,
        seed: int | None,
        of: int | None = None,
        live: str = "",
    ) -> Generate:
        effect = request(
            round_,
            n=n,
            temperature=temperature,
            seed=seed,
            alternatives=self.alternatives,
            of=of,
            drafting=True,
            live=live,
        )
        if self._asked_cautiously(round_):
            effect = replace(effect, messages=put_otherwise(round_.messages, _cautiously))
        if self.states and round_.profile.states:
            effect = replace(effect, states=ReadStates(tuple(visible(passage.text) for passage in round_.passages)))
        return effect

    def _asked_cautiously(self, round_: Round) -> bool:
        return self.cautious and not round_.passages and bool(round_.question.text.strip())

    def _declining(self, round_: Round, said: Generation) -> Generation:
        """The answer; where it was asked for only if sure, one that says it is not is a refusal."""
        unsure = not refused(said) and not said.tool_calls and assurance(said.text) == 0.0
        return replace(said, refusal=said.text) if unsure and self._asked_cautiously(round_) else said


def _cautiously(question: str) -> str:
    return load(_CAUTIOUS).render(question=question)


def _after(round_: Round, cost: Cost) -> Round:
    """The round with what the budget still allows once so much is spent."""
    calls = None if round_.calls_left is None else max(0, round_.calls_left - cost.calls)
    tokens = None if round_.tokens_left is None else max(1, round_.tokens_left - cost.tokens)
    return replace(round_, calls_left=calls, tokens_left=tokens)
