"""What the tools of the MCP server take and what they tell, with the schemas an agent sees. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gate.errors import RequestError, UnknownName
from gate.log.explain import sources
from gate.proxy.json_wire import dumps
from gate.traces import TraceRecord
from gate.types import Action, Outcome

A = TypeVar("A", bound=BaseModel)


class AskArguments(BaseModel):
    """Of the tool ``ask``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: str = Field(min_length=1, max_length=100_000, description="The question, complete in itself.")
    policy: str | None = Field(default=None, description="The policy to answer by; without it the first one listed.")


class JudgeArguments(BaseModel):
    """Of the tool ``judge``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: str = Field(min_length=1, max_length=100_000, description="The question that was answered.")
    answer: str = Field(max_length=1_000_000, description="The answer to judge, as its model wrote it.")
    samples: list[str] = Field(
        default=[],
        max_length=64,
        description="More answers to the same question by the same model, drawn at a temperature: how far they agree "
        "with the answer tells most.",
    )
    passages: list[str] = Field(
        default=[], max_length=256, description="The texts that the answer was written from, if any."
    )
    policy: str | None = Field(default=None, description="The policy to judge by; without it the first one listed.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What both tools tell of a decision."""

    action: Annotated[
        Literal["answer", "abstain", "clarify"],
        Field(description="answer; abstain: no answer is likely enough; clarify: the question is asked back."),
    ]
    p: Annotated[
        float | None, Field(description="How likely the answer is right, 0 to 1; null where that could not be told.")
    ]
    low: Annotated[float | None, Field(description="With 'high' the 95 % interval of p.")]
    high: float | None
    threshold: Annotated[float | None, Field(description="From which p on the policy lets an answer through.")]
    calibrated: Annotated[bool, Field(description="Whether p was fitted on labelled answers; else it is a rough one.")]
    reason: Annotated[str, Field(description="Why, as a stable code: confident, uncertain, budget_spent …")]
    detail: Annotated[str, Field(description="What more there is to say of it, or nothing.")]
    certified: Annotated[bool, Field(description="Whether the policy's statistical promise stands behind it.")]
    contributions: Annotated[dict[str, float], Field(description="What each signal added to the log-odds of p.")]
    missing: Annotated[dict[str, str], Field(description="Signals that could not be had, and why.")]
    policy: str
    id: Annotated[str, Field(description="Of the decision.")]
    calls: Annotated[int, Field(description="Requests that were made to models for it.")]
    tokens: int
    money: Annotated[float, Field(description="US dollars.")]
    seconds: float


@dataclass(frozen=True, slots=True)
class Source:
    """A passage the answer was written from."""

    id: str
    title: str
    source: str
    cited: bool


@dataclass(frozen=True, slots=True)
class Asked(Verdict):
    """What ``ask`` tells."""

    text: Annotated[str, Field(description="The answer, the refusal or the question asked back.")]
    sources: list[Source]


@dataclass(frozen=True, slots=True)
class Judged(Verdict):
    """What ``judge`` tells."""

    let_through: Annotated[bool, Field(description="Whether the policy would let this answer out.")]


ASKED, JUDGED = TypeAdapter(Asked), TypeAdapter(Judged)


def asked(outcome: Outcome, trace: TraceRecord) -> Asked:
    """A decision as ``ask`` tells it."""
    listed = [Source(one["id"], one["title"], one["source"], one["cited"]) for one in sources(outcome)]
    return Asked(**_verdict(outcome, trace), text=outcome.text, sources=listed)


def judged(outcome: Outcome, trace: TraceRecord) -> Judged:
    """A decision as ``judge`` tells it."""
    return Judged(**_verdict(outcome, trace), let_through=outcome.answered)


def _verdict(outcome: Outcome, trace: TraceRecord) -> dict[str, Any]:
    confidence, cost, step = outcome.confidence, outcome.cost, outcome.steps[-1]
    return {
        "action": outcome.action.value if outcome.action in (Action.ANSWER, Action.CLARIFY) else "abstain",
        "p": None if confidence is None else confidence.p,
        "low": None if confidence is None else confidence.low,
        "high": None if confidence is None else confidence.high,
        "threshold": outcome.decision.threshold,
        "calibrated": confidence is not None and confidence.calibrated,
        "reason": outcome.decision.reason,
        "detail": outcome.decision.detail,
        "certified": trace.certified,
        "contributions": {} if confidence is None else {c.signal: c.log_odds for c in confidence.contributions},
        "missing": {r.signal: r.missing for r in step.signals.readings if r.missing is not None},
        "policy": trace.policy,
        "id": trace.id,
        "calls": cost.calls,
        "tokens": cost.tokens,
        "money": cost.money,
        "seconds": round(cost.seconds, 6),
    }


def read(kind: type[A], arguments: Any) -> A:
    """The arguments of a call. Raises `RequestError` naming the one that is wrong, in no words of the caller's."""
    try:
        return kind.model_validate(arguments or {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise RequestError(str(UnknownName("argument", place, kind.model_fields)), param=place) from error
        raise RequestError(f"{place}: {first['msg']}", param=place) from error


def plain(made: Any, adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """As JSON holds it: half a surrogate pair, which a model may write, is replaced."""
    held: dict[str, Any] = json.loads(dumps(adapter.dump_python(made, mode="json")))
    return held
