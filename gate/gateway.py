"""One loaded policy, ready to run: the object behind the proxy, the command line and Python callers."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gate.drivers import AsyncDriver, Recording, ReplayDriver, ThreadedDriver, World
from gate.effects import Request, effect_key
from gate.errors import GateError, ReplayGap, first_of
from gate.full_evidence import full_evidence
from gate.pipeline import Plan, answer
from gate.policy import Policy
from gate.remembering import remembered
from gate.spending import Purse, metered
from gate.traces import TapeEntry, TraceRecord
from gate.types import Budget, Certificate, Outcome, Question

if TYPE_CHECKING:
    from gate.calibration.prefix import PrefixCalibrator

_UNLIMITED = Budget()


@dataclass(slots=True)
class Gateway:
    """One loaded policy, ready to run. Safe to share between tasks, event loops and threads."""

    policy: Policy
    plan: Plan
    world: World
    running: Mapping[str, str]
    """Fingerprints of what runs."""
    prefix: PrefixCalibrator | None = None
    """Of the growing text, where drafts are streamed in the mode ``prefix``."""
    seen_void: tuple[str, ...] = ()
    """Why no certificate held for some answer since this was loaded: what came showed that something else runs."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _threaded: ThreadedDriver | None = field(default=None, repr=False)
    _async: dict[asyncio.AbstractEventLoop, AsyncDriver] = field(default_factory=dict, repr=False)
    policy_fingerprint: str = field(init=False)
    certificate: Certificate | None = field(init=False)
    void: tuple[str, ...] = field(init=False)
    """Why the certificate does not hold for what runs; empty when it does, or when there is none."""

    def __post_init__(self) -> None:
        held = self.policy.certificate
        self.policy_fingerprint = self.policy.fingerprint
        self.certificate = None if held is None else Certificate(**held.model_dump())
        self.void = () if self.certificate is None else _void(self.certificate, self.running)

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def certified(self) -> bool:
        return self.certificate is not None and not self.void

    def ask(
        self, question: Question, *, budget: Budget | None = None, recording: Recording | None = None
    ) -> tuple[Outcome, TraceRecord]:
        """The outcome and its trace. Raises `UpstreamError` when there is no first draft.

        ``recording``: an empty one, for who wants to read along. Its ``live`` is told of drafts while they are written:
        no word of them is an answer before the outcome says so.
        Whatever is raised, a fault included, carries the trace until then: see `gate.errors.trace_of`.
        """
        plan = self._plan(budget)
        with _Asking(self, question, budget, recording or Recording()) as asking:
            outcome = self._driver().run(answer(plan, question), asking.recording, seconds=plan.budget.seconds)
        return outcome, asking.trace(outcome)

    async def aask(
        self,
        question: Question,
        *,
        budget: Budget | None = None,
        recording: Recording | None = None,
        observing: bool = False,
    ) -> tuple[Outcome, TraceRecord]:
        """`ask` on the running event loop; cancelling it cancels every call under way.

        ``recording`` as with `ask`. ``observing``: what is decided is only recorded, so a policy that would abstain
        from everything because its certificate is void decides all the same.
        """
        plan = self._plan(budget, observing=observing)
        with _Asking(self, question, budget, recording or Recording()) as asking:
            driver = self._async_driver()
            outcome = await driver.run(answer(plan, question), asking.recording, seconds=plan.budget.seconds)
        return outcome, asking.trace(outcome)

    async def acomplete(self, record: TraceRecord) -> TraceRecord:
        """The record of a question with all evidence there is for it, whatever the rule would have bought.

        What was asked already is not asked again. From such a record any policy over the same stages can be judged, a
        stricter one too. Raises `UpstreamError` when there is no first draft any more.
        """
        if record.question is None:
            raise ReplayGap("this trace was kept without text: there is nothing to ask")
        plan = replace(self._plan(None), budget=Budget())
        recording, recalled = Recording(), _Recalled(record.tape)
        flow = metered(remembered(full_evidence(plan, record.question), recalled), Purse.of(plan.budget, plan.prices))
        await self._async_driver().run(flow, recording, seconds=self.plan.budget.seconds)
        return replace(record, tape=(*record.tape, *recording.tape))

    def replay(self, record: TraceRecord) -> Outcome:
        """What this policy makes of a recorded question, with no calls. Raises `ReplayGap` where it cannot be told."""
        if record.question is None:
            raise ReplayGap("this trace was kept without text: record with text to replay")
        plan = self._plan(record.budget)
        return ReplayDriver(record.tape, plan.prices).run(answer(plan, record.question), Recording())

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

    def _plan(self, budget: Budget | None, *, observing: bool = False) -> Plan:
        """The plan under the caller's budget, which may tighten the policy's but not loosen it."""
        plan = self.plan
        if self.void and self.policy.on_void == "abstain" and not observing:
            plan = replace(plan, frozen="certificate_void")
        return plan if budget in (None, _UNLIMITED) else replace(plan, budget=_tighter(plan.budget, budget))


class _Recalled:
    """The replies of a record, each to be had once: fits `gate.remembering.Memory`."""

    def __init__(self, tape: Iterable[TapeEntry]) -> None:
        self._held: dict[str, deque[TapeEntry]] = {}
        for entry in tape:
            if entry.failure is None:
                self._held.setdefault(entry.key, deque()).append(entry)

    def recall(self, effect: Request) -> TapeEntry | None:
        held = self._held.get(effect_key(effect))
        return held.popleft() if held else None

    def note(self) -> None:
        """The recording of the run has it."""


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
            id=self.recording.id,
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
            cost=outcome.cost if outcome else self.recording.cost,
        )


def _void(certificate: Certificate, running: Mapping[str, str]) -> tuple[str, ...]:
    held = certificate.fingerprints
    return tuple(
        f"{name} is not what was certified"
        for name in sorted(held.keys() | running.keys())
        if held.get(name) != running.get(name)
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
