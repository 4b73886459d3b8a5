"""`AgentRun`: the tool calls of one run of an agent, under one budget of risk."""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from gate.agents.call_digest import digest_of, schema_defaults, signature_defaults
from gate.agents.call_readings import read_calls
from gate.agents.expected import expect, expect_callable
from gate.agents.held_verdict import held, turned
from gate.agents.ledgers import Ledger, UnionBound
from gate.agents.making import Asking, Making, arguments_of, at_once, awaited, making_of, unguarded, withheld
from gate.agents.run_record import Came, RunRecord, RunStep
from gate.agents.tool_gate import ToolGate
from gate.agents.verdict import ToolAction, ToolRefused, ToolVerdict
from gate.errors import ConfigError, StaleCalibrator
from gate.fresh_bytes import fresh_bytes
from gate.signals.tool_call import offered_tools
from gate.types import JsonObject, Question, ToolCall

AskPerson = Callable[[ToolVerdict], bool | Awaitable[bool]]
Stronger = Callable[[ToolVerdict], ToolVerdict | Awaitable[ToolVerdict]]
RISK_SPENT = "risk_spent"
_entered: ContextVar[tuple[AgentRun, ...]] = ContextVar("gate_agent_runs", default=())
"""The runs whose ``with`` blocks a task or thread is in, the innermost last."""


def current_run() -> AgentRun | None:
    """The run whose ``with`` block this is in."""
    return next(reversed(_entered.get()), None)


class AgentRun:
    """One run of an agent. Safe to share between threads and tasks.

    Each step that the gate approves spends some of ``max_risk``, as the ``ledger`` reckons it. The first step that
    would spend more is not approved: its verdict is ``stop``, and so is that of every step after it. What is refused,
    asked or escalated spends nothing, nor does what a person approves.
    """

    def __init__(
        self,
        gate: ToolGate,
        max_risk: float = 0.1,
        *,
        confidence: float | None = None,
        ledger: Ledger | None = None,
        ask_person: AskPerson | None = None,
        escalate: Stronger | None = None,
        goes_on: RunRecord | None = None,
    ) -> None:
        """``ledger``: `UnionBound` unless another is given; ``confidence``: see there. ``ask_person`` is shown a
        verdict (`ToolVerdict.asking`) and says whether the call may be made; ``escalate`` gives the verdict on a
        stronger model's call in its place: see `admit` for one that another gate gave. ``goes_on``: the record of a run
        that this one continues. Raises `ConfigError` where so little risk cannot be promised, and `TypeError`.
        """
        expect("gate", gate, ToolGate)
        expect("max_risk", max_risk, int, float)
        expect("confidence", confidence, int, float, type(None))
        expect("goes_on", goes_on, RunRecord, type(None))
        expect_callable("ask_person", ask_person)
        expect_callable("escalate", escalate)
        if ledger is not None and not hasattr(ledger, "admits"):
            raise TypeError(
                f"ledger has to be UnionBound, ConformalSteps or another Ledger, not {type(ledger).__name__}"
            )
        if not 0 < max_risk <= 1 or (confidence is not None and not 0.5 < confidence < 1):
            raise ConfigError(f"max_risk must be in (0, 1], confidence in (0.5, 1), got {max_risk} and {confidence}")
        self.gate, self.max_risk, self.confidence = gate, max_risk, confidence
        self.ledger: Ledger = ledger or UnionBound()
        self.limit = self.ledger.limit(max_risk, confidence, gate.fingerprint)
        self._ask, self._escalate = ask_person, escalate
        self._lock = threading.Lock()
        self._steps: list[RunStep] = []
        self._open: list[int] = []
        """Numbers of the steps that are approved and that nobody has begun to make."""
        self._begun: set[str] = set()
        self._defaults: dict[str, dict[str, Any]] = {}
        """By tool what arguments are where a call does not pass them, as far as that is known yet."""
        self._blank: set[int] = set()
        """Numbers of the steps of a record that was kept without text."""
        self._spent, self._stopped, self.id = 0.0, "", fresh_bytes().hex()
        if goes_on is not None:
            self._go_on(goes_on)

    def _go_on(self, record: RunRecord) -> None:
        if (record.gate, record.ledger) != (self.gate.fingerprint, self.ledger.name):
            raise StaleCalibrator("the run was begun under another tool gate or ledger, so its risk cannot be added to")
        self._steps, self._begun = list(record.steps), set(record.begun)
        self._spent, self._stopped, self.id = record.spent, record.stopped, record.id
        self._blank = {step.number for step in record.steps if not step.verdict.call.arguments}

    # --- what stands -------------------------------------------------------------------------------------------

    @property
    def spent(self) -> float:
        return self._spent

    @property
    def left(self) -> float:
        """Of the limit; infinite where the ledger sets none."""
        return 0.0 if self._stopped else max(0.0, self.limit - self._spent)

    @property
    def stopped(self) -> bool:
        return bool(self._stopped)

    @property
    def steps(self) -> tuple[RunStep, ...]:
        with self._lock:
            return tuple(self._steps)

    def record(self) -> RunRecord:
        """A copy of the run as it stands."""
        with self._lock:
            return RunRecord(
                id=self.id,
                gate=self.gate.fingerprint,
                ledger=self.ledger.name,
                max_risk=self.max_risk,
                confidence=self.confidence,
                limit=self.limit if math.isfinite(self.limit) else None,
                spent=self._spent,
                stopped=self._stopped,
                steps=tuple(self._steps),
                begun=tuple(sorted(self._begun)),
            )

    # --- judging -----------------------------------------------------------------------------------------------

    def check(
        self, reply: Any, *, samples: Sequence[Any] = (), question: Question | JsonObject | None = None
    ) -> tuple[ToolVerdict, ...]:
        """The gate's verdicts on the calls of a reply (`ToolGate.check`), as far as the run can still bear them."""
        return tuple(self.admit(each).verdict for each in self._judged(reply, samples, question))

    def _judged(
        self, reply: Any, samples: Sequence[Any], question: Question | JsonObject | None
    ) -> tuple[ToolVerdict, ...]:
        offered = offered_tools((question.options if isinstance(question, Question) else question) or {})
        for name, schema in offered.items():
            self.takes(name, schema_defaults(schema))
        return self.gate.check(reply, samples=samples, question=question)

    def takes(self, name: str, defaults: Mapping[str, Any]) -> None:
        """Learn what a tool's arguments are where a call does not pass them: such calls then count as the same."""
        with self._lock:
            known = self._defaults.get(name, {})
            if {**known, **defaults} == known:
                return
            self._defaults[name] = {**known, **defaults}
            for step in self._steps:
                if step.verdict.call.name == name and step.number not in self._blank:
                    digest = self._digests(step.verdict.call)[0]
                    if step.digest in self._begun:
                        self._begun.add(digest)
                    self._steps[step.number] = replace(step, digest=digest)

    def _digests(self, call: ToolCall) -> tuple[str, str]:
        """By all that is known of what it leaves out; and by the policy alone, as where nothing was known yet."""
        tool = self.gate.policy.tools.get(call.name)
        by_policy = schema_defaults(tool.json_schema) if tool else {}
        known = by_policy | self._defaults.get(call.name, {})
        digest = digest_of(call, known)
        return digest, digest if known == by_policy else digest_of(call, by_policy)

    def admit(self, verdict: ToolVerdict, *, claim: bool = False) -> RunStep:
        """Take a verdict into the run: what the gate approved is approved if the run can bear it.

        The approval waits for `call` to be made on it, unless it is a ``claim`` of whoever makes it at once. What the
        tool may do is said by the policy of the run's gate, whoever gave the verdict. An approval by another gate is
        none where the ledger cannot reckon with it, nor, where its p was not learned, for what cannot be undone; else
        it spends at least what the policy promises of the tool.
        """
        verdict, own = held(verdict, self.gate, self.ledger), verdict.gate == self.gate.fingerprint
        digests = self._digests(verdict.call)
        digest = digests[0]
        with self._lock:
            if self._stopped:
                return self._kept(turned(verdict, ToolAction.STOP, "stopped"), digest)
            if verdict.irreversible and not self._begun.isdisjoint(digests):
                return self._kept(turned(verdict, ToolAction.REFUSE, "already_done"), digest)
            if not verdict.approved:
                return self._kept(verdict, digest)
            if verdict.irreversible:
                again = next((self._steps[n] for n in self._open if self._steps[n].digest == digest), None)
                if again is not None:  # approved and paid for: it will run once, however often it is asked about
                    return self._claimed(again) if claim else again
            risk = self.ledger.risk(verdict, self.confidence)
            total = self._spent + (risk if own else max(risk, verdict.cost * (verdict.max_error or 1.0)))
            if not self.ledger.admits(total, self.limit):
                self._stopped = RISK_SPENT
                return self._kept(turned(verdict, ToolAction.STOP, RISK_SPENT), digest)
            spent, self._spent = total - self._spent, total
            step = self._kept(verdict, digest, spent)
            if not claim:
                self._open.append(step.number)
            return step

    def stop(self, reason: str = "stopped") -> None:
        """Make no further call in this run, not even one that is approved."""
        with self._lock:
            if self._stopped in ("", RISK_SPENT):
                self._stopped = reason if reason not in ("", RISK_SPENT) else "stopped"

    def _kept(self, verdict: ToolVerdict, digest: str, spent: float = 0.0, *, by_person: bool = False) -> RunStep:
        step = RunStep(len(self._steps), verdict, digest, spent, by_person, at=datetime.now(UTC).isoformat())
        self._steps.append(step)
        return step

    def _claimed(self, step: RunStep) -> RunStep:
        self._open.remove(step.number)
        return step

    def _decided(self, verdict: ToolVerdict, yes: bool) -> RunStep:
        """What a person said of a call."""
        digest = self._digests(verdict.call)[0]
        with self._lock:
            if not yes:
                return self._kept(turned(verdict, ToolAction.REFUSE, "person_refused"), digest, by_person=True)
            if self._stopped:
                return self._kept(turned(verdict, ToolAction.STOP, "stopped"), digest)
            return self._kept(turned(verdict, ToolAction.APPROVE, "person_approved"), digest, by_person=True)

    # --- making calls ------------------------------------------------------------------------------------------

    def call(
        self,
        function: Callable[..., Any],
        call: Any,
        *,
        samples: Sequence[Any] = (),
        question: Question | JsonObject | None = None,
        raising: bool = False,
    ) -> Any:
        """Make a call if it is approved: the tool's result, else `ToolRefused`, which can be fed back to the model.

        ``call``: a verdict that `check` gave, a `ToolCall`, or a reply with one call. A call that was checked before is
        made, or not, on what was said of it then; any other, and one given with ``samples``, is checked now. With
        ``raising`` a call that is not made raises `AnswerWithheld` instead. What the tool raises passes through.
        Raises `ValueError` for a verdict of another run, and for a reply with more or fewer calls than one.
        """
        step, function = self._step_of(function, call, samples, question)
        return self.made(step, making_of(step.verdict.call, function), raising=raising)

    async def acall(
        self,
        function: Callable[..., Any],
        call: Any,
        *,
        samples: Sequence[Any] = (),
        question: Question | JsonObject | None = None,
        raising: bool = False,
    ) -> Any:
        """`call` on an event loop. Functions and callbacks that are not coroutines run in a thread."""
        step, function = self._step_of(function, call, samples, question)
        return await self.amade(step, making_of(step.verdict.call, function), raising=raising)

    def _step_of(
        self, function: Callable[..., Any], call: Any, samples: Sequence[Any], question: Question | JsonObject | None
    ) -> tuple[RunStep, Callable[..., Any]]:
        """What was or is now said of a call, and the function that makes it."""
        function = unguarded(function)
        if isinstance(call, ToolVerdict):
            return self._step_with(call, function), function
        calls = read_calls(call).generation.tool_calls
        if len(calls) != 1:
            raise ValueError(f"one call is made at a time, the reply holds {len(calls)}: check it, make each verdict")
        self.takes(calls[0].name, signature_defaults(function))
        step = self.standing(calls[0], approved=bool(samples))
        return step or self.admit(self._judged(call, samples, question)[0], claim=True), function

    def _step_with(self, verdict: ToolVerdict, function: Callable[..., Any]) -> RunStep:
        self.takes(verdict.call.name, signature_defaults(function))
        with self._lock:
            found = next((step for step in reversed(self._steps) if step.verdict is verdict), None)
        if found is None:
            raise ValueError("this verdict is none of the run's: check the call with the run, not with its gate")
        if found.number in self._blank and found.digest not in self._digests(verdict.call):
            raise ValueError("the record holds no arguments of this call: give the call itself")
        return found

    def made(self, step: RunStep, making: Making, *, raising: bool = False) -> Any:
        """What comes of a step: asked about where there is doubt, made where it is approved."""
        course, said = self._course(step), None
        while isinstance(now := course.send(said), Asking):
            said = at_once(now.function(now.verdict), now.whose)
        if isinstance(now, ToolRefused):
            return withheld(now, raising)
        with self._under_way(now):
            return at_once(making(_replaced(step, now)), "the tool")

    async def amade(self, step: RunStep, making: Making, *, raising: bool = False) -> Any:
        """`made` on an event loop."""
        course, said = self._course(step), None
        while isinstance(now := course.send(said), Asking):
            said = await awaited(now.function, now.verdict)
        if isinstance(now, ToolRefused):
            return withheld(now, raising)
        with self._under_way(now):
            return await awaited(making, _replaced(step, now))

    def _course(self, step: RunStep) -> Generator[Asking | ToolRefused | RunStep, Any, None]:
        """Whom to ask about a step, each sent back what was said; and at last what is to be made of it."""
        verdict = step.verdict
        if verdict.action is ToolAction.ESCALATE and self._escalate is not None:
            stronger = yield Asking(self._escalate, verdict, "escalate")
            expect("what escalate returns", stronger, ToolVerdict)
            step = self._instead(verdict, stronger)
            verdict = step.verdict
        if verdict.action is ToolAction.ASK and self._ask is not None:
            step = self._decided(verdict, bool((yield Asking(self._ask, verdict, "ask_person"))))
        yield self._begin(step)

    def _instead(self, doubted: ToolVerdict, stronger: ToolVerdict) -> RunStep:
        """The verdict on a stronger model's call, which must be of the same tool: another function is not at hand."""
        if stronger.call.name != doubted.call.name:
            stronger = turned(stronger, ToolAction.REFUSE, "other_tool")
        return self.admit(stronger, claim=True)

    def standing(self, call: ToolCall, *, approved: bool = False) -> RunStep | None:
        """What was said of a call: its approval, which is given to nobody else, if it was not made yet; else the last
        word on it, where that was no approval. With ``approved`` an approval or nothing."""
        digests = self._digests(call)
        with self._lock:
            its = [step for step in self._steps if step.digest in digests]
            for step in its:
                if step.number in self._open:
                    return self._claimed(step)
            if approved or not its or its[-1].verdict.approved:
                return None
            step = its[-1]
            if step.number in self._blank:  # the same call, so these are the arguments that the record leaves out
                self._blank.discard(step.number)
                step = replace(step, verdict=replace(step.verdict, call=call), digest=digests[0])
                self._steps[step.number] = step
            return step

    def _begin(self, step: RunStep) -> RunStep | ToolRefused:
        """Use an approval up. Of a call that cannot be undone only the first ever begins, also if it fails."""
        with self._lock:
            step = self._steps[step.number]
            verdict, digests = step.verdict, {step.digest, *self._digests(step.verdict.call)}
            if not verdict.approved:
                return ToolRefused(verdict)
            if step.number in self._open:
                self._claimed(step)
            if self._stopped not in ("", RISK_SPENT):
                return ToolRefused(self._kept(turned(verdict, ToolAction.STOP, "stopped"), step.digest).verdict)
            if step.came or (verdict.irreversible and not self._begun.isdisjoint(digests)):
                return ToolRefused(self._kept(turned(verdict, ToolAction.REFUSE, "already_done"), step.digest).verdict)
            if verdict.irreversible:
                self._begun |= digests
            self._steps[step.number] = replace(step, came="running")
            return step

    @contextmanager
    def _under_way(self, step: RunStep) -> Iterator[None]:
        came: Came = "failed"
        try:
            yield
            came = "done"
        finally:
            with self._lock:
                self._steps[step.number] = replace(self._steps[step.number], came=came)

    # --- as the run that tools look for ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        runs = list(_entered.get())
        if self in runs:
            del runs[len(runs) - 1 - runs[::-1].index(self)]
        _entered.set(tuple(runs))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, at)


def _replaced(asked: RunStep, step: RunStep) -> dict[str, Any] | None:
    """The arguments to make a step with, where they are not those of the call that was asked for."""
    its = step.verdict.call
    return None if its is asked.verdict.call else arguments_of(its)
