"""A gateway that says what a test wants: for what happens on the wire around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gate.errors import GateError
from gate.traces import TraceRecord
from gate.types import (
    Action,
    Budget,
    Certificate,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Generation,
    Outcome,
    Question,
    Reading,
    SignalVector,
    Stage,
    Step,
    TokenLogprob,
    ToolCall,
)

TOKENS = (TokenLogprob("Nig", -0.1, (("Nig", -0.1), ("Gh", -2.5))), TokenLogprob("eria", -0.01, ()))
GENERATION = Generation("Nigeria is where Lagos is.", tokens=TOKENS)
CALLING = Generation("", "tool_calls", tool_calls=(ToolCall("call_1", "look_up", '{"city": "Lagos"}'),))


def outcome_of(generation: Generation | None, refusal: str = "I do not know.") -> Outcome:
    action = Action.ANSWER if generation else Action.ABSTAIN
    confidence = Confidence(0.9123, 0.85, 0.95, (Contribution("vote_share", 1.5),), base=0.2)
    decision = Decision(action, "confident", Stage("small"), confidence, 0.8)
    cost = Cost(calls=6, prompt_tokens=60, completion_tokens=18, seconds=0.1)
    step = Step(decision, SignalVector((Reading("vote_share", 1.0),)), cost)
    text = generation.text if generation else refusal
    return Outcome(action, text, (step,), cost, generation, "small" if generation else "")


@dataclass
class FakeGateway:
    answer: Callable[[Question], Outcome | GateError | Exception] = lambda question: outcome_of(GENERATION)
    seconds: float = 0.0
    name: str = "balanced"
    policy_fingerprint: str = "0123456789abcdef"
    certificate: Certificate | None = None
    void: tuple[str, ...] = ()
    seen_void: tuple[str, ...] = ()
    asked: list[tuple[Question, Budget | None]] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    async def aask(self, question: Question, *, budget: Budget | None = None) -> tuple[Outcome, TraceRecord]:
        self.asked.append((question, budget))
        self.started.set()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError as error:
            self.cancelled.set()
            vars(error)["trace"] = self._record(question, None, "the caller went away")
            raise
        made = self.answer(question)
        if isinstance(made, Exception):
            said = str(made) if isinstance(made, GateError) else f"unexpected {type(made).__name__}"
            vars(made)["trace"] = self._record(question, None, said)
            raise made
        return made, self._record(question, made, None)

    async def aclose(self) -> None:
        self.closed = True

    def _record(self, question: Question, outcome: Outcome | None, error: str | None) -> TraceRecord:
        steps = outcome.steps if outcome else ()
        cost = outcome.cost if outcome else Cost()
        action = outcome.action if outcome else None
        fingerprint = self.policy_fingerprint
        return TraceRecord(
            "feed", "now", self.name, fingerprint, False, steps, question, (), outcome, error, action, cost
        )
