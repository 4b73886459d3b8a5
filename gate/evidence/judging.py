"""Asking about an answer: how gate's own prompts put a draft before a judge.

A judge is any upstream: the round's own unless an option names another. Of another one the profile is not known here:
it is asked for one reply a call, and for log-probabilities as if it gave them.
"""

from __future__ import annotations

import json
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, Generate, Reply, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import put_otherwise, refused
from gate.evidence.citations import said
from gate.evidence.draft import Draft, draft_of
from gate.evidence.wordings import arguments_of
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses
from gate.prompts import load
from gate.types import Generation, Message

DECLINED = Missing("the judge declined to say")


def answered(evidence: Evidence) -> Generation:
    """The draft, when there is an answer in it to ask about. Raises `EvidenceUnavailable` otherwise."""
    generation = draft_of(evidence).generation
    if refused(generation):
        raise EvidenceUnavailable("the draft declines to answer")
    return generation


def shown(generation: Generation) -> str:
    """An answer as a judge reads it: its text, and its tool calls as JSON."""
    calls = [json.dumps({"tool": c.name, "arguments": arguments_of(c)}) for c in generation.tool_calls]
    return "\n".join(part for part in (said(generation).strip(), *calls) if part)


def or_none(text: str) -> str:
    """Text that is to stand between the dashed lines of a prompt, where there may be none to show."""
    return text.strip() or "(none)"


def conversation(messages: tuple[Message, ...]) -> str:
    """What was asked, as text: the one message, or all of them with who said what."""
    if len(messages) == 1:
        return messages[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in messages)


def put(
    round_: Round,
    messages: tuple[Message, ...],
    *,
    upstream: str | None,
    max_tokens: int,
    n: int = 1,
    of: int = 1,
    temperature: float = 0.0,
    seed: int | None = None,
    alternatives: int | None = None,
) -> Generate:
    """A request of gate's own: none of the caller's fields go with it.

    ``alternatives`` is how many per token it would like, ``of`` the number of replies that share the tokens left.
    """
    profile = round_.profile
    own = upstream in (None, round_.upstream)
    if own and alternatives is not None:
        alternatives = min(alternatives, profile.top_logprobs) if profile.logprobs else None
    return Generate(
        upstream=upstream or round_.upstream,
        messages=messages,
        n=n,
        temperature=temperature,
        max_tokens=max_tokens,
        cap=None if round_.tokens_left is None else max(1, round_.tokens_left // max(n, of)),
        seed=seed if profile.seed or not own else None,
        logprobs=alternatives,
    )


class FollowUp(BaseModel, extra="forbid", frozen=True):
    """The options of a source that asks about the draft in one more turn, with the prompt of the source's own name.

    ``upstream`` names another upstream to ask; it reads the conversation as if the draft were its own.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    upstream: str | None = None
    max_tokens: int = Field(default=32, ge=1)

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=(self.name,))

    def calls(self, profile: Profile) -> int:
        return 1

    def asked(self, round_: Round, evidence: Evidence) -> Flow[Reply[Generation]]:
        turns = (Message("assistant", shown(answered(evidence))), Message("user", load(self.name).render()))
        request = put(round_, (*round_.messages, *turns), upstream=self.upstream, max_tokens=self.max_tokens)
        reply = yield from generate(request)
        return Reply(reply.value.choices[0], reply.cost)


def asked_as(messages: tuple[Message, ...], prompt: str, **values: str) -> tuple[Message, ...]:
    """The conversation with its last user message put into a prompt of ``question`` (and more)."""
    return put_otherwise(messages, lambda question: load(prompt).render(question=question, **values))
