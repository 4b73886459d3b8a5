"""What the adapters share: a framework's answer is the draft, and the model that wrote it is asked again for samples.

An adapter reads the draft off what its framework gives, and hands over code that asks the same model once more. Whether
more is asked, and how often, is the policy's to say, up to the limit the caller set. All of it is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from gate.answer_shapes.shape import Read
from gate.decorator.decided import Abstained, Decided
from gate.decorator.gate import Gate, decided
from gate.decorator.questions import budget_of
from gate.effects import Generate
from gate.errors import AnswerWithheld, UpstreamError
from gate.gateway import Gateway
from gate.given import Given, More, paid
from gate.log.explain import sources
from gate.ports import Price, Profile
from gate.proxy.request_fields import SamplingFields, checked
from gate.types import Budget, Cost, Generations, JsonObject, Message, Passage, Question
from gate.upstreams.openai_wire import content_text

Policy = str | Path | Gateway | Gate
"""A shipped policy by name, a file by path, or what is loaded already."""
OnAbstain = Literal["refusal", "raise"]
"""What stands for an answer that is not let through: a message with the refusal, or `gate.AnswerWithheld`."""
Samples = int | Literal["again"]
"""The most samples that are drawn from the judged model, or as many as the policy wants."""


def opened(policy: Policy) -> Gate:
    return policy if isinstance(policy, Gate) else Gate(policy)


def conversation(wires: Iterable[JsonObject]) -> tuple[Message, ...]:
    """Messages as the OpenAI wire has them."""
    return tuple(Message(str(wire["role"]), content_text(wire.get("content")), wire) for wire in wires)


def options_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A question's options. Raises `RequestError` for values no model takes, and for addresses and keys."""
    given = {name: value for name, value in fields.items() if value is not None}
    checked(SamplingFields, given)
    return given


def told(made: Decided[Any]) -> dict[str, Any]:
    """The decision as plain JSON, with ``p`` and the passages behind it beside what `Decided.explain` gives."""
    found = {"sources": sources(made.outcome)} if made.outcome.passages else {}
    return {**made.explain(), "p": made.p, **found}


def or_raise(made: Decided[Any], on_abstention: OnAbstain) -> None:
    """Raises `AnswerWithheld` for an abstention, where it is wanted so."""
    if on_abstention == "raise" and isinstance(made.value, Abstained):
        raise AnswerWithheld(made.value)


@dataclass(frozen=True, slots=True)
class Draft:
    """The framework's answer as it was read, and how long it took, in seconds."""

    read: Read
    seconds: float = 0.0


@dataclass(slots=True)
class Stopwatch:
    """How long a block took, in seconds."""

    seconds: float = 0.0
    _began: float = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.monotonic() - self._began


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a draft."""

    decided: Decided[str]
    kept: bool
    """Whether it is the draft itself that was let through."""


@dataclass(slots=True)
class _Drawing:
    """How many samples were drawn for one draft. Samples may be drawn on several threads."""

    most: int | None
    upstream: str
    _drawn: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, effect: Generate) -> None:
        """Raises `UpstreamError` for a sample beyond the most there may be."""
        if self.most is None or effect.part_of is None:
            return
        with self._lock:
            self._drawn += 1
            over = self._drawn > self.most
        if over:
            error = UpstreamError(self.upstream, f"may draw {self.most} samples at most")
            error.cost = Cost()  # nothing was asked
            raise error


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges drafts by a policy, on the terms of whoever set it up."""

    gate: Gate
    samples: Samples = "again"
    gather: bool | None = None
    """Whether the policy's own upstreams and routes are there too: what is let through then may be another answer.
    None: they are where the policy is about this model's answers, by ``written_by`` or an upstream of ``kind: caller``.
    """
    written_by: str = ""
    """The upstream of the policy's ladder that the model is, if it is one: else no certificate holds."""
    budget: Budget | None = None
    anything: bool = True
    """Whether the model can be asked other things than the question: with passages quoted, say."""

    def __post_init__(self) -> None:
        if self.samples != "again" and self.samples < 0:
            raise ValueError(f"samples: 'again', or how many at most, not {self.samples}")
        budget_of(self.budget)
        self.gate.gateway.check_writer(self.written_by)  # before anything is paid for

    def judge(
        self, question: Question, draft: Draft, ask: Callable[[Generate], Read], passages: tuple[Passage, ...] = ()
    ) -> Verdict:
        """``ask`` asks the model once more. It may be called on several threads, in the caller's context each time."""
        drawing, context = self._drawing(), copy_context()

        def more(effect: Generate) -> Generations:
            drawing.admit(effect)
            return context.copy().run(ask, effect).alone

        given = self._given(draft, more, passages)
        return _verdict(given, *self.gate.judge_given(question, given, budget=self.budget))

    async def ajudge(
        self,
        question: Question,
        draft: Draft,
        ask: Callable[[Generate], Awaitable[Read]],
        passages: tuple[Passage, ...] = (),
    ) -> Verdict:
        """`judge` on the running event loop."""
        drawing = self._drawing()

        async def more(effect: Generate) -> Generations:
            drawing.admit(effect)
            return (await ask(effect)).alone

        given = self._given(draft, more, passages)
        return _verdict(given, *await self.gate.ajudge_given(question, given, budget=self.budget))

    def _drawing(self) -> _Drawing:
        return _Drawing(None if self.samples == "again" else self.samples, self._name)

    @property
    def _name(self) -> str:
        return self.written_by or self.gate.gateway.plan.ladder[0]

    def _given(self, draft: Draft, ask: Callable[[Generate], Any], passages: tuple[Passage, ...]) -> Given:
        read = draft.read
        price = self.gate.gateway.plan.prices.get(self._name, Price())
        profile = Profile(logprobs=read.generation.tokens is not None, n=1, seed=False)
        return Given(
            draft=read.generation,
            cost=paid(read.usage, price, draft.seconds),
            passages=passages,
            more=More(ask, profile, self.anything, own_words=True),
            gather=self.gather,
            upstream=self.written_by,
            model=read.model,
        )


def _verdict(given: Given, outcome: Any, trace: Any) -> Verdict:
    return Verdict(decided(outcome, trace), outcome.generation is given.draft)
