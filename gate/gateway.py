"""One loaded policy, ready to run: the object behind the proxy, the command line and Python callers."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gate.drivers import AsyncDriver, Recording, ReplayDriver, ThreadedDriver, World
from gate.effects import Flow, Request, effect_key
from gate.errors import GateError, ReplayGap, UnknownName, first_of
from gate.evidence import SamplesSource
from gate.full_evidence import full_evidence
from gate.given import Given, as_brought, given_again, of_own, opening_of, standing_for, standing_in, telling, void_for
from gate.model_names import ModelNames
from gate.pipeline import Plan, answer
from gate.policy import Policy
from gate.ports import Profile
from gate.remembering import remembered
from gate.spending import Purse, metered
from gate.traces import Brought, TapeEntry, TraceRecord
from gate.types import Action, Budget, Certificate, Outcome, Question, Stage
from gate.upstreams.caller import CallerUpstream

if TYPE_CHECKING:
    from gate.calibration.prefix import PrefixCalibrator

log = logging.getLogger("gate.gateway")
_UNLIMITED = Budget()
_MOST_BROUGHT = 64
"""Plans for answers that are brought along, which are remembered."""


@dataclass(slots=True)
class _Opened:
    """The drivers of one process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    threaded: ThreadedDriver | None = None
    on_loops: dict[asyncio.AbstractEventLoop, AsyncDriver] = field(default_factory=dict)


@dataclass(slots=True)
class Gateway:
    """One loaded policy, ready to run. Safe to share between tasks, event loops, threads and forked processes."""

    policy: Policy
    plan: Plan
    world: World
    running: Mapping[str, str]
    """Fingerprints of what runs."""
    prefix: PrefixCalibrator | None = None
    """Of the growing text, where drafts are streamed in the mode ``prefix``."""
    seen_void: tuple[str, ...] = ()
    """Why no certificate held for some answer since this was loaded: what came showed that something else runs."""
    _opened: dict[int, _Opened] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By process: what was open before a fork is of threads that stayed behind, and is left alone."""
    _brought: dict[tuple[str, bool, bool, Profile], tuple[Plan, Plan]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Plans for answers that are brought along, with the plan that each was made of."""
    _warned: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    policy_fingerprint: str = field(init=False)
    certificate: Certificate | None = field(init=False)
    void: tuple[str, ...] = field(init=False)
    """Why the certificate does not hold for what runs; empty when it does, or when there is none."""
    models: ModelNames = field(init=False)
    """What upstreams say they are. Once one is another, no certificate holds until the policy is loaded anew."""

    def __post_init__(self) -> None:
        held = self.policy.certificate
        self.policy_fingerprint = self.policy.fingerprint
        self.certificate = None if held is None else Certificate(**held.model_dump())
        self.void = () if self.certificate is None else _void(self.certificate, self.running)
        asked = {name: str((each.model_extra or {}).get("model", "")) for name, each in self.policy.upstreams.items()}
        self.models = ModelNames(asked, self.certificate.models if self.certificate else {})

    @property
    def _draws(self) -> int:
        """The fewest samples that the policy draws where it draws any."""
        return sum(source.fewest for tier in self.plan.tiers for source in tier if isinstance(source, SamplesSource))

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
            flow = answer(plan, question, heard=self.models.heard)
            outcome = self._driver().run(flow, asking.recording, seconds=plan.budget.seconds)
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
            driver, flow = self._async_driver(), answer(plan, question, heard=self.models.heard)
            outcome = await driver.run(flow, asking.recording, seconds=plan.budget.seconds)
        return outcome, asking.trace(outcome)

    def judge(
        self, question: Question, given: Given, *, budget: Budget | None = None, recording: Recording | None = None
    ) -> tuple[Outcome, TraceRecord]:
        """What becomes of an answer that somebody else has got: let through, or not, and why.

        Where it may gather, all that `ask` does may be done about it: what is let through then may be another answer.
        Raises `ConfigError` where the policy knows no upstream of the name it goes by.
        """
        recording = recording or Recording()
        plan, flow, brought = self._judging(question, given, budget, recording)
        with _Asking(self, question, budget, recording, brought) as asking:
            outcome = self._driver().run(flow, recording, seconds=plan.budget.seconds)
        return outcome, asking.trace(outcome)

    async def ajudge(
        self,
        question: Question,
        given: Given,
        *,
        budget: Budget | None = None,
        recording: Recording | None = None,
        observing: bool = False,
    ) -> tuple[Outcome, TraceRecord]:
        """`judge` on the running event loop. ``observing`` as with `aask`."""
        recording = recording or Recording()
        plan, flow, brought = self._judging(question, given, budget, recording, observing=observing)
        with _Asking(self, question, budget, recording, brought) as asking:
            outcome = await self._async_driver().run(flow, recording, seconds=plan.budget.seconds)
        return outcome, asking.trace(outcome)

    def _judging(
        self,
        question: Question,
        given: Given,
        budget: Budget | None,
        recording: Recording,
        *,
        observing: bool = False,
    ) -> tuple[Plan, Flow[Outcome], Brought]:
        plan = self._plan(budget, observing=observing)
        self.check_writer(given.upstream)
        name = given.upstream or plan.ladder[0]
        callers = self.brings(name)
        if given.gather is None:
            given = replace(given, gather=given.vouched or callers)
        profile = standing_in(given, plan.profiles[name])
        plan = self._plan_for_brought(plan, name, profile, given)
        void = void_for(given, callers=callers, draws=self._draws if callers else 0, ways_on=len(self.plan.routes) > 2)
        brought = as_brought(given, name, profile, void)
        self._warn(given, name, void)
        opening = opening_of(question, brought, profile, reads=Action.RETRIEVE in self.plan.routes)
        heard = of_own(self.models.heard, brought)
        flow = answer(plan, question, opening, telling(given, opening, recording), heard=heard)
        return plan, standing_for(flow, given, opening, plan.prices, recording), brought

    def check_writer(self, upstream: str) -> None:
        """Raises `UnknownName` where an answer is said to be of an upstream that is not in the ladder; "" is nobody."""
        if upstream and upstream not in self.plan.ladder:
            raise UnknownName("upstream in the ladder", upstream, self.plan.ladder)

    def brings(self, upstream: str) -> bool:
        """Whether the answers of this upstream of the ladder are always brought along."""
        return self.policy.upstreams[upstream].kind == CallerUpstream.kind

    def _warn(self, given: Given, name: str, void: tuple[str, ...]) -> None:
        """Once: that no answer like this one will ever be let through, and what would change that."""
        stage, about = Stage(name, bool(given.passages) and Action.RETRIEVE in self.plan.routes), ""
        if void and self.plan.abstain_when_void:
            about = f"it abstains where its certificate does not hold ({'; '.join(void)})"
        elif given.gather is not True and self.policy.rule.threshold(stage) >= 1.0:
            about = f"it answers nothing at {stage.round_key}, where it would go on"
        if about and about not in self._warned:
            self._warned.add(about)
            mend = "say who wrote them (written_by), or judge by a policy with an upstream of 'kind: caller'"
            log.warning("the policy %r lets none of these answers through: %s; %s", self.name, about, mend)

    def _plan_for_brought(self, plan: Plan, name: str, profile: Profile, given: Given | None) -> Plan:
        """The plan with this profile in the place of the upstream's. Where no other answer may be got it has no ways to
        one, and looks at all the evidence before it abstains; at that which is there already, it looks at once."""
        on = given is not None and given.gather is True
        at_once = given is not None and not on and bool(given.samples)
        key = name, on, at_once, profile
        of, made = self._brought.get(key, (None, plan))
        if of is not plan:
            routes = plan.routes if on else {way: plan.routes[way] for way in (Action.ANSWER, Action.ABSTAIN)}
            made = replace(
                plan, profiles={**plan.profiles, name: profile}, routes=routes, at_once=at_once, thorough=not on
            )
            if plan is self.plan and len(self._brought) < _MOST_BROUGHT:
                self._brought[key] = plan, made
        return made

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
        if record.brought is not None:
            return self._judged_again(plan, record.question, record.brought, record.tape)
        flow = answer(plan, record.question, heard=self.models.judged)
        return ReplayDriver(record.tape, plan.prices).run(flow, Recording())

    def mind_models(self) -> None:
        """Where an upstream turned out to be another model, the certificate is void from now on."""
        if self.certificate is not None:
            self.void = tuple(dict.fromkeys((*self.void, *self.models.changed.values())))
        for reason in self.models.news():
            then = "" if self.certificate is None else ": its certificate is void"
            log.warning("a model of the policy %r was changed%s (%s)", self.name, then, reason)

    def _judged_again(self, plan: Plan, question: Question, brought: Brought, tape: Sequence[TapeEntry]) -> Outcome:
        if brought.upstream not in plan.ladder:
            raise ReplayGap(f"the answer stood for the upstream {brought.upstream!r}, which this policy does not know")
        profile, given = Profile(**brought.profile), given_again(brought, tape)
        plan = self._plan_for_brought(plan, brought.upstream, profile, given)
        opening = opening_of(question, brought, profile, reads=Action.RETRIEVE in self.plan.routes)
        told = telling(given, opening, Recording()) if given else None
        flow = answer(plan, question, opening, told, heard=of_own(self.models.judged, brought))
        return ReplayDriver((entry for entry in tape if not entry.brought), plan.prices).run(flow, Recording())

    def close(self) -> None:
        """Close what `ask` opened; a later `ask` opens it again."""
        here = self._here()
        with here.lock:
            driver, here.threaded = here.threaded, None
        if driver is not None:
            driver.close()

    async def aclose(self) -> None:
        """Close what `ask` opened and what `aask` opened on this loop."""
        await self.aclose_loop()
        self.close()

    async def aclose_loop(self) -> None:
        """Close only what `aask` opened on this loop."""
        driver = self._here().on_loops.pop(asyncio.get_running_loop(), None)
        if driver is not None:
            await driver.aclose()

    def _here(self) -> _Opened:
        """What is open in this process. Without a lock: who held one when it was forked is not there to let go."""
        process = os.getpid()
        return self._opened.get(process) or self._opened.setdefault(process, _Opened())

    def _driver(self) -> ThreadedDriver:
        here = self._here()
        with here.lock:
            here.threaded = here.threaded or ThreadedDriver(self.world)
            return here.threaded

    def _async_driver(self) -> AsyncDriver:
        loop, here = asyncio.get_running_loop(), self._here()
        with here.lock:
            for stale in [known for known in here.on_loops if known.is_closed()]:
                del here.on_loops[stale]
            if loop not in here.on_loops:
                here.on_loops[loop] = AsyncDriver(self.world)
            return here.on_loops[loop]

    def _plan(self, budget: Budget | None, *, observing: bool = False) -> Plan:
        """The plan under the caller's budget, which may tighten the policy's but not loosen it."""
        plan = self.plan
        if self.void and self.policy.on_void == "abstain" and not observing:
            plan = replace(plan, frozen="certificate_void")
        return plan if budget in (None, _UNLIMITED) else replace(plan, budget=tighter(plan.budget, budget))


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
    brought: Brought | None = None
    """Where the answer was brought along: what voids a certificate then says nothing of what runs here."""
    begun: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            first = first_of(error)
            vars(first)["trace"] = self.trace(None, _named(first))

    def trace(self, outcome: Outcome | None, error: str | None = None) -> TraceRecord:
        if self.gateway.models.changed:
            self.gateway.mind_models()
        for step in self.recording.steps:
            if step.void and self.brought is None:
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
            brought=self.brought,
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


def tighter(ours: Budget, theirs: Budget) -> Budget:
    """Of each limit the lower one."""

    def least(a: Any, b: Any) -> Any:
        return a if b is None else b if a is None else min(a, b)

    return Budget(*(least(getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(Budget)))
