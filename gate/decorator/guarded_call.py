"""One call of a guarded function: its question, its answer with what is known of it, and what comes of that."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import Context, copy_context
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gate.answer_shapes import Read
from gate.decorator.arguments import Args, fresh, used_up
from gate.decorator.capturing import Noting, Request
from gate.decorator.decided import Abstained, Decided
from gate.decorator.guarding import Guarding
from gate.decorator.more_answers import (
    ASYNCHRONOUS,
    CHANGED,
    NO_REQUEST,
    NOT_ALLOWED,
    SEVERAL,
    again,
    again_later,
    in_a_sample,
    refusing,
    repeated,
    repeated_later,
    same_answer,
)
from gate.decorator.writers import signed, writer_of
from gate.drivers import Recording
from gate.errors import ConfigError, RequestError
from gate.gateway import Gateway
from gate.given import Given, More, paid
from gate.ports import Price, Profile
from gate.routes.abstain import AbstainRoute
from gate.routes.wording import refusal, spoken
from gate.traces import TraceRecord
from gate.types import Action, Cost, Decision, Outcome, Question, SignalVector, Stage, Step, Usage


class Keeping:
    """Whatever error judging ends in, the answer that was paid for is with it: ``error.value``."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __enter__(self) -> None:
        """Nothing is begun."""

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if error is not None:
            vars(error)["value"] = self._value


class Call:
    """One call of a guarded function, from its arguments to the decision on its answer."""

    __slots__ = (
        "_args",
        "_context",
        "_fault",
        "_in_a_sample",
        "_kwargs",
        "_question",
        "_samples",
        "_why",
        "began",
        "guarding",
        "requests",
    )

    def __init__(self, guarding: Guarding, args: Args, kwargs: Mapping[str, Any]) -> None:
        """Raises `ConfigError` for a policy that cannot be loaded, `TypeError` for an argument that is no question."""
        _ = guarding.gate
        self.guarding = guarding
        self._in_a_sample = in_a_sample()
        self._samples = "none" if self._in_a_sample else guarding.settings.samples
        self._question: Question | None = None
        self._fault: TypeError | RequestError | None = None
        if guarding.asks is not None:
            try:
                self._question = guarding.asks.question(args, kwargs)
            except (TypeError, RequestError) as error:
                if guarding.settings.samples != "captured":
                    raise
                self._fault = error
        self._why = ""
        if self._samples == "again":
            self._why = used_up(args, kwargs)
            if not self._why:
                self._args, self._kwargs = fresh(args), fresh(kwargs)
                self._context: Context = copy_context()
        self.requests: list[Request] = []
        guarding.count()
        self.began = time.monotonic()

    def noting(self) -> Noting:
        return Noting(self.requests)

    def judge(self, value: Any) -> Decided[Any]:
        gate = self.guarding.gate
        if self._in_a_sample:
            return self._unjudged(value)
        with Keeping(value), gate.noted() as note:
            question, given = self._brought(value)
            outcome, trace = gate.gateway.judge(question, given)
            decided = self._decided(value, question, given, outcome, trace)
            note(decided.outcome, decided.trace)
        return self.guarding.remember(decided)

    async def ajudge(self, value: Any) -> Decided[Any]:
        gate = self.guarding.gate
        if self._in_a_sample:
            return self._unjudged(value)
        with Keeping(value), gate.noted() as note:
            question, given = self._brought(value)
            outcome, trace = await gate.gateway.ajudge(question, given)
            decided = self._decided(value, question, given, outcome, trace)
            note(decided.outcome, decided.trace)
        return self.guarding.remember(decided)

    def _unjudged(self, value: Any) -> Decided[Any]:
        """As part of a sample it is judged with that, and by whoever it is a sample for: here it counts as right."""
        gateway, cost = self.guarding.gate.gateway, Cost(seconds=time.monotonic() - self.began)
        decision = Decision(Action.ANSWER, "in_a_sample", Stage(gateway.plan.ladder[0]))
        steps = (Step(decision, SignalVector(()), cost),)
        with Keeping(value):
            draft = self._read(value).generation
        outcome = Outcome(Action.ANSWER, draft.text, steps, cost, draft)
        recording = Recording()
        trace = TraceRecord(
            id=recording.id,
            started=datetime.now(UTC).isoformat(timespec="milliseconds"),
            policy=gateway.name,
            policy_fingerprint=gateway.policy_fingerprint,
            certified=False,
            steps=steps,
            question=self._question,
            outcome=outcome,
            action=Action.ANSWER,
            cost=cost,
        )
        return Decided(value, outcome, trace)

    def _brought(self, value: Any) -> tuple[Question, Given]:
        seconds = time.monotonic() - self.began
        guarding, settings = self.guarding, self.guarding.settings
        read = guarding.form.read(value, guarding.named)
        requests = tuple(self.requests)
        only = requests[0] if len(requests) == 1 else None
        said = only.read() if only is not None else None
        same = said is None or same_answer(read.generation.text, said.generation.text)
        if said is not None and same:
            read = _richer(read, said)
        plan = guarding.gate.gateway.plan
        name = settings.written_by or plan.ladder[0]
        cost = paid(_used(read, requests), plan.prices.get(name, Price()), seconds)
        given = Given(
            draft=read.generation,
            cost=replace(cost, calls=len(requests)) if len(requests) > 1 else cost,
            samples=read.others,
            more=self._more(only, len(requests), same=same),
            gather=guarding.gathers,
            upstream=settings.written_by,
            model=read.model,
        )
        return self._asked(only), given

    def _asked(self, only: Request | None) -> Question:
        if only is not None and self.guarding.settings.samples == "captured":
            try:
                return only.question()
            except (TypeError, RequestError) as error:
                self._fault = self._fault or error
        if self._question is not None:
            return self._question
        if self._fault is not None:
            raise self._fault
        said = "made no request through a client that gate.capture gave, or several: name its question with question="
        raise ConfigError(f"{self.guarding.named} {said}")

    def _more(self, only: Request | None, count: int, *, same: bool) -> More | None:
        guarding = self.guarding
        awaited, side_by_side = guarding.awaited, guarding.settings.side_by_side
        if self._samples == "none":
            if guarding.asks_the_policys_own(guarding.gate.gateway):
                return None
            return refusing(NOT_ALLOWED, awaited=awaited)
        if self._samples == "again":
            if self._why:
                return refusing(f"gives no more answers: {self._why}", awaited=awaited)
            if awaited:
                return again_later(self._once_more, self._read, side_by_side=side_by_side)
            return again(self._once_more, self._read, self._context, side_by_side=side_by_side)
        if only is None:
            if not count:
                guarding.saw_no_request()
            return refusing(SEVERAL.format(count) if count else NO_REQUEST, awaited=awaited)
        if not same:
            return refusing(CHANGED, awaited=awaited)
        if only.awaited and not awaited:
            return refusing(ASYNCHRONOUS, awaited=awaited)
        make = repeated_later if awaited else repeated
        return make(only, self._profile(), guarding.count_repeated, side_by_side=side_by_side)

    def _profile(self) -> Profile | None:
        name = self.guarding.settings.written_by
        return self.guarding.gate.gateway.plan.profiles[name] if name else None

    def _once_more(self) -> Any:
        self.guarding.count(again=1)
        return self.guarding.once(fresh(self._args), fresh(self._kwargs))

    def _read(self, value: Any) -> Read:
        return self.guarding.form.read(value, self.guarding.named)

    def _decided(
        self, value: Any, question: Question, given: Given, outcome: Outcome, trace: TraceRecord
    ) -> Decided[Any]:
        """The very object, where it was let through; another answer in its likeness; or `Abstained`."""
        guarding = self.guarding
        if outcome.answered and outcome.generation is not given.draft:
            try:
                value = signed(guarding.form.written(outcome, value), writer_of(outcome, trace))
            except (TypeError, ValueError):  # whose words may quote the answer
                outcome, trace = _unwritten(guarding.gate.gateway, question, value, outcome, trace)
        if not outcome.answered:
            value = Abstained(outcome, trace)
        return Decided(value, outcome, trace)


def _richer(read: Read, said: Read) -> Read:
    """What a function returned, with what only the captured reply tells of it: a text has no tokens, for one."""
    draft = read.generation
    if draft.tokens is None and said.generation.tokens is not None:
        draft = replace(draft, tokens=said.generation.tokens, finish_reason=said.generation.finish_reason)
    return replace(read, generation=draft, model=read.model or said.model)


def _used(read: Read, requests: tuple[Request, ...]) -> Usage:
    """The tokens of the whole call."""
    if not requests or (len(requests) == 1 and read.usage != Usage()):
        return read.usage
    told = [said.usage for said in (request.read() for request in requests) if said is not None]
    return Usage(sum(each.prompt_tokens for each in told), sum(each.completion_tokens for each in told))


def _unwritten(
    gateway: Gateway, question: Question, value: object, outcome: Outcome, trace: TraceRecord
) -> tuple[Outcome, TraceRecord]:
    """The answer that was let through is another than the function's, and cannot be written as one of its kind."""
    reason, language = "not_written", spoken(question.text)
    route = gateway.plan.routes[Action.ABSTAIN]
    text = route.refusal(reason, language) if isinstance(route, AbstainRoute) else refusal(reason, language)
    detail = f"the answer of {outcome.upstream!r} cannot be written as a {type(value).__qualname__}"
    last = outcome.steps[-1]
    decision = replace(last.decision, action=Action.ABSTAIN, reason=reason, detail=detail)
    steps = (*outcome.steps[:-1], replace(last, decision=decision))
    outcome = replace(
        outcome,
        action=Action.ABSTAIN,
        text=text,
        steps=steps,
        generation=None,
        withheld=outcome.generation,
        upstream="",
        cited=(),
    )
    return outcome, replace(trace, steps=steps, outcome=outcome, action=Action.ABSTAIN)
