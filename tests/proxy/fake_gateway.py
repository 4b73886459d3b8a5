"""A gateway that says what a test wants: for what happens on the wire around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from gate.calibration.prefix import PrefixCalibrator
from gate.drivers import Recording, World
from gate.errors import GateError
from gate.given import Given
from gate.model_names import ModelNames
from gate.policy import Policy, find, read
from gate.ports import Price
from gate.serving_settings import ServingSettings
from gate.traces import TapeEntry, TraceRecord
from gate.types import (
    Action,
    Budget,
    Certificate,
    Confidence,
    Contribution,
    Cost,
    Decision,
    Generation,
    Generations,
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
STARTED = "2026-01-01T00:00:00.000+00:00"
DRAFT_COST = Cost(calls=1, prompt_tokens=10, completion_tokens=3)
CALLING = Generation("", "tool_calls", tool_calls=(ToolCall("call_1", "look_up", '{"city": "Lagos"}'),))


def outcome_of(generation: Generation | None, refusal: str = "I do not know.") -> Outcome:
    action = Action.ANSWER if generation else Action.ABSTAIN
    confidence = Confidence(0.9123, 0.85, 0.95, (Contribution("vote_share", 1.5),), base=0.2)
    decision = Decision(action, "confident", Stage("small"), confidence, 0.8)
    cost = Cost(calls=6, prompt_tokens=60, completion_tokens=18, seconds=0.1)
    step = Step(decision, SignalVector((Reading("vote_share", 1.0),)), cost)
    text = generation.text if generation else refusal
    return Outcome(action, text, (step,), cost, generation, "small" if generation else "")


@cache
def some_policy() -> Policy:
    return read(find("balanced")).policy


@dataclass(frozen=True)
class FakePlan:
    prices: Mapping[str, Price] = field(default_factory=lambda: {"small": Price(1.0, 2.0)})
    ladder: tuple[str, ...] = ("small",)


Piece = str | float | threading.Event
"""What is written next, seconds in which nothing is, or what is waited for."""


@dataclass
class FakeGateway:
    """Fits `gate.gateway.Gateway` as far as the proxy knows it.

    It waits, drafts as its ``draft`` and ``written`` say, judges for a while, and then answers.
    """

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
    serving: ServingSettings = field(default_factory=ServingSettings)
    draft: Generation | None = None
    """What the first model gives, where that is not what is answered or withheld in the end."""
    written: Sequence[Piece] = ()
    """How the draft grows for who reads along; by itself it is there at once."""
    judging: float | threading.Event = 0.0
    """How long it takes from the draft to the verdict."""
    judged: list[Given] = field(default_factory=list)
    """Answers that were brought along; their questions are among those that were asked."""
    observing: list[bool] = field(default_factory=list)
    """Of each question, whether what is decided is only recorded."""
    completed: list[TraceRecord] = field(default_factory=list)
    """Those of which all evidence was asked for."""
    completing: float = 0.0
    incomplete: Exception | None = None
    plan: FakePlan = field(default_factory=FakePlan)
    world: World = field(default_factory=lambda: World({}))
    prefix: PrefixCalibrator | None = None
    models: ModelNames = field(default_factory=ModelNames)

    @property
    def policy(self) -> Policy:
        return some_policy().model_copy(update={"name": self.name, "serving": self.serving})

    async def aask(
        self,
        question: Question,
        *,
        budget: Budget | None = None,
        recording: Recording | None = None,
        observing: bool = False,
    ) -> tuple[Outcome, TraceRecord]:
        self.asked.append((question, budget))
        self.observing.append(observing)
        recording = recording or Recording("feed")
        try:
            self.started.set()
            await asyncio.sleep(self.seconds)
            made = self.answer(question)
            await self._write(made, recording)
            await _waited(self.judging)
        except asyncio.CancelledError as error:
            self.cancelled.set()
            vars(error)["trace"] = self._record(question, None, "the caller went away", recording)
            raise
        if isinstance(made, Exception):
            said = str(made) if isinstance(made, GateError) else f"unexpected {type(made).__name__}"
            vars(made)["trace"] = self._record(question, None, said, recording)
            raise made
        return made, self._record(question, made, None, recording)

    async def ajudge(
        self,
        question: Question,
        given: Given,
        *,
        budget: Budget | None = None,
        recording: Recording | None = None,
        observing: bool = False,
    ) -> tuple[Outcome, TraceRecord]:
        self.judged.append(given)
        return await self.aask(question, budget=budget, recording=recording, observing=observing)

    async def acomplete(self, record: TraceRecord) -> TraceRecord:
        self.completed.append(record)
        await asyncio.sleep(self.completing)
        if self.incomplete is not None:
            raise self.incomplete
        return replace(record, tape=(*record.tape, TapeEntry("more", "generate", Cost(1, 100, 30), to="small")))

    async def _write(self, made: Outcome | Exception, recording: Recording) -> None:
        draft = self.draft
        if draft is None and isinstance(made, Outcome):
            draft = made.generation or made.withheld
        live, pieces = recording.live, self.written or ((draft.text,) if draft and draft.text else ())
        if live is not None:
            live.begun("small/closed_book")
            for piece in pieces:
                if not isinstance(piece, str):
                    await _waited(piece)
                elif not live.grew(piece, ()):
                    break
        if draft is not None:
            if live is not None:
                live.done(draft)
            recording.tape.append(TapeEntry("k", "generate", DRAFT_COST, Generations((draft,)), to="small"))

    async def aclose(self) -> None:
        self.closed = True

    def _record(
        self, question: Question, outcome: Outcome | None, error: str | None, recording: Recording | None = None
    ) -> TraceRecord:
        run = recording or Recording("feed")
        steps = outcome.steps if outcome else ()
        cost = outcome.cost if outcome else sum((entry.cost for entry in run.tape), Cost())
        action = outcome.action if outcome else None
        fingerprint, tape = self.policy_fingerprint, tuple(run.tape)
        return TraceRecord(
            run.id, STARTED, self.name, fingerprint, False, steps, question, tape, outcome, error, action, cost
        )


async def _waited(what: float | threading.Event) -> None:
    if not isinstance(what, threading.Event):
        await asyncio.sleep(what)
        return
    while not what.is_set():
        await asyncio.sleep(0.002)
