"""One loaded policy, ready to run: the object behind the proxy, the command line and Python callers."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from gate.drivers import AsyncDriver, Recording, ReplayDriver, ThreadedDriver, World
from gate.errors import GateError, ReplayGap, first_of
from gate.pipeline import Plan, answer
from gate.policy import Policy
from gate.traces import TraceRecord
from gate.types import Budget, Certificate, Cost, Outcome, Question


@dataclass(slots=True)
class Gateway:
    """One loaded policy, ready to run. Safe to share between tasks, event loops and threads."""

    policy: Policy
    plan: Plan
    world: World
    running: Mapping[str, str]
    """Fingerprints of what runs."""
    seen_void: tuple[str, ...] = ()
    """Why no certificate held for some answer since this was loaded: what came showed that something else runs."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _threaded: ThreadedDriver | None = field(default=None, repr=False)
    _async: dict[asyncio.AbstractEventLoop, AsyncDriver] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def policy_fingerprint(self) -> str:
        return self.policy.fingerprint

    @property
    def certificate(self) -> Certificate | None:
        held = self.policy.certificate
        return None if held is None else Certificate(**held.model_dump())

    @property
    def void(self) -> tuple[str, ...]:
        """Why the certificate does not hold for what runs; empty when it does, or when there is none."""
        held = self.certificate
        if held is None:
            return ()
        names = sorted(held.fingerprints.keys() | self.running.keys())
        return tuple(
            f"{name} is not what was certified"
            for name in names
            if held.fingerprints.get(name) != self.running.get(name)
        )

    @property
    def certified(self) -> bool:
        return self.certificate is not None and not self.void

    def ask(self, question: Question, *, budget: Budget | None = None) -> tuple[Outcome, TraceRecord]:
        """The outcome and its trace. Raises `UpstreamError` when there is no first draft.

        Whatever is raised, a fault included, carries the trace until then: see `gate.errors.trace_of`.
        """
        plan = self._plan(budget)
        with _Asking(self, question, budget) as asking:
            outcome = self._driver().run(answer(plan, question), asking.recording, seconds=plan.budget.seconds)
        return outcome, asking.trace(outcome)

    async def aask(self, question: Question, *, budget: Budget | None = None) -> tuple[Outcome, TraceRecord]:
        """`ask` on the running event loop; cancelling it cancels every call under way."""
        plan = self._plan(budget)
        with _Asking(self, question, budget) as asking:
            driver = self._async_driver()
            outcome = await driver.run(answer(plan, question), asking.recording, seconds=plan.budget.seconds)
        return outcome, asking.trace(outcome)

    def replay(self, record: TraceRecord) -> Outcome:
        """What this policy makes of a recorded question, with no calls. Raises `ReplayGap` where it cannot be told."""
        if record.question is None:
            raise ReplayGap("this trace was kept without text: record with text to replay")
        return ReplayDriver(record.tape).run(answer(self._plan(record.budget), record.question), Recording())

    def close(self) -> None:
        """Close what `ask` opened; a later `ask` opens it again."""
        with self._lock:
            if self._threaded is not None:
                self._threaded.close()
                self._threaded = None

    async def aclose(self) -> None:
        """Close what `ask` opened and what `aask` opened on this loop."""
        driver = self._async.pop(asyncio.get_running_loop(), None)
        if driver is not None:
            await driver.aclose()
        self.close()

    def _driver(self) -> ThreadedDriver:
        with self._lock:
            self._threaded = self._threaded or ThreadedDriver(self.world)
            return self._threaded

    def _async_driver(self) -> AsyncDriver:
        loop = asyncio.get_running_loop()
        with self._lock:
            for stale in [known for known in self._async if known.is_closed()]:
                del self._async[stale]
            if loop not in self._async:
                self._async[loop] = AsyncDriver(self.world)
            return self._async[loop]

    def _plan(self, budget: Budget | None) -> Plan:
        """The plan under the caller's budget, which may tighten the policy's but not loosen it."""
        plan = self.plan
        if self.void and self.policy.on_void == "abstain":
            plan = replace(plan, frozen="certificate_void")
        return plan if budget is None else replace(plan, budget=_tighter(plan.budget, budget))


@dataclass(slots=True)
class _Asking:
    """One question under way. Whatever error ends it leaves with the trace of what had happened till then."""

    gateway: Gateway
    question: Question
    budget: Budget | None
    recording: Recording = field(default_factory=Recording)
    begun: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            first = first_of(error)
            vars(first)["trace"] = self.trace(None, _named(first))

    def trace(self, outcome: Outcome | None, error: str | None = None) -> TraceRecord:
        for step in self.recording.steps:
            if step.void:
                self.gateway.seen_void = step.void
        return TraceRecord(
            id=uuid.uuid4().hex,
            started=self.begun,
            policy=self.gateway.name,
            policy_fingerprint=self.gateway.policy_fingerprint,
            certified=self.gateway.certified and not any(step.void for step in self.recording.steps),
            steps=tuple(self.recording.steps),
            budget=self.budget or Budget(),
            question=self.question,
            tape=tuple(self.recording.tape),
            outcome=outcome,
            error=error,
            action=outcome.action if outcome else None,
            cost=outcome.cost if outcome else sum((entry.cost for entry in self.recording.tape), Cost()),
        )


def _named(error: BaseException) -> str:
    """An error as a trace has it. What others' errors say may be the user's text, so only their kind is named."""
    if isinstance(error, GateError):
        return str(error)
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "the caller went away"
    return f"unexpected {type(error).__name__}"


def _tighter(ours: Budget, theirs: Budget) -> Budget:
    def least(a: Any, b: Any) -> Any:
        return a if b is None else b if a is None else min(a, b)

    return Budget(*(least(getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(Budget)))
