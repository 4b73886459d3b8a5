"""One decision, step by step: what was seen, what it added, what was decided, and what each call cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.dashboard.waterfall import Waterfall, waterfall
from gate.log.kept import Kept
from gate.traces import TapeEntry, TraceRecord
from gate.types import Message, Passage, Prospect

_MOST_TEXT = 20_000
"""Characters of a text that are shown."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Its value or why it is missing, and what it added in log-odds, where anything was made of it."""

    name: str
    value: float | None
    missing: str
    added: float | None


@dataclass(frozen=True, slots=True)
class Belief:
    """A calibrated probability with its interval and where it came from."""

    p: float
    low: float
    high: float
    calibrated: bool
    out_of_distribution: bool
    drawn: Waterfall


@dataclass(frozen=True, slots=True)
class Costs:
    calls: int
    tokens: int
    seconds: float
    money: float


@dataclass(frozen=True, slots=True)
class StepView:
    number: int
    stage: str
    action: str
    reason: str
    detail: str
    threshold: float | None
    belief: Belief | None
    signals: tuple[Signal, ...]
    void: tuple[str, ...]
    cost: Costs
    prospects: tuple[Prospect, ...]
    """The ways that were weighed; only where the whole trace is kept."""

    @property
    def missing(self) -> int:
        return sum(bool(signal.missing) for signal in self.signals)


@dataclass(frozen=True, slots=True)
class CallView:
    """One effect: who was asked for what, and what it cost."""

    number: int
    kind: str
    to: str
    cost: Costs
    failure: str
    texts: tuple[str, ...]
    """What came back in words, where text is kept."""


@dataclass(frozen=True, slots=True)
class Explained:
    kept: Kept
    steps: tuple[StepView, ...]
    calls: tuple[CallView, ...]
    earlier: tuple[Message, ...]
    """The conversation before the question."""
    passages: tuple[Passage, ...]
    said: str
    """What left the gateway, where it is not the draft."""


def explained(kept: Kept, record: TraceRecord | None) -> Explained:
    """Put together from what the log keeps at its level."""
    steps = steps_of(kept.explanation, record)
    if record is None:
        return Explained(kept, steps, (), (), (), "")
    messages = record.question.messages if record.question else ()
    outcome = record.outcome
    return Explained(
        kept=kept,
        steps=steps,
        calls=tuple(_call(number, entry) for number, entry in enumerate(record.tape, 1)),
        earlier=messages[:-1],
        passages=outcome.passages if outcome else (),
        said=cut(outcome.text) if outcome and outcome.text != kept.answer else "",
    )


def steps_of(explanation: Mapping[str, Any], record: TraceRecord | None) -> tuple[StepView, ...]:
    """The steps of `gate.log.explain.explanation`, with what only the whole trace of them holds."""
    return tuple(
        _step(number, step, _prospects(record, number - 1))
        for number, step in enumerate(explanation.get("steps") or (), 1)
    )


def cut(text: str) -> str:
    """A text of a length that a page can show, with a mark where it goes on."""
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}… [{len(text):,} characters in all]"


def _step(number: int, step: Mapping[str, Any], prospects: tuple[Prospect, ...]) -> StepView:
    confidence = step.get("confidence")
    added = dict(confidence.get("contributions") or {}) if confidence else {}
    return StepView(
        number=number,
        stage=str(step.get("stage") or ""),
        action=str(step.get("action") or ""),
        reason=str(step.get("reason") or ""),
        detail=str(step.get("detail") or ""),
        threshold=step.get("threshold"),
        belief=_belief(confidence, added, step.get("threshold")) if confidence else None,
        signals=tuple(_signal(name, held, added.get(name)) for name, held in (step.get("signals") or {}).items()),
        void=tuple(step.get("void") or ()),
        cost=_costs(step.get("cost") or {}),
        prospects=prospects,
    )


def _belief(confidence: Mapping[str, Any], added: Mapping[str, float], threshold: float | None) -> Belief:
    p = float(confidence["p"])
    return Belief(
        p=p,
        low=float(confidence.get("low", p)),
        high=float(confidence.get("high", p)),
        calibrated=bool(confidence.get("calibrated", True)),
        out_of_distribution=bool(confidence.get("out_of_distribution", False)),
        drawn=waterfall(float(confidence.get("base_log_odds") or 0.0), added, p, threshold),
    )


def _signal(name: str, held: Any, added: float | None) -> Signal:
    missing = isinstance(held, Mapping)
    return Signal(name, None if missing else held, str(held.get("missing")) if missing else "", added)


def _costs(cost: Mapping[str, Any]) -> Costs:
    tokens = int(cost.get("prompt_tokens", 0)) + int(cost.get("completion_tokens", 0))
    return Costs(int(cost.get("calls", 0)), tokens, float(cost.get("seconds", 0.0)), float(cost.get("money", 0.0)))


def _prospects(record: TraceRecord | None, index: int) -> tuple[Prospect, ...]:
    """Weighed at a step; the cheapest first, as the rule would take them."""
    if record is None or index >= len(record.steps):
        return ()
    confidence = record.steps[index].decision.confidence
    return tuple(sorted(confidence.prospects, key=lambda p: p.cost)) if confidence else ()


def _call(number: int, entry: TapeEntry) -> CallView:
    cost = entry.cost
    return CallView(
        number=number,
        kind=entry.kind,
        to=entry.to,
        cost=Costs(cost.calls, cost.tokens, cost.seconds, cost.money),
        failure=entry.failure.cause if entry.failure else "",
        texts=tuple(map(cut, _texts(entry))),
    )


def _texts(entry: TapeEntry) -> Sequence[str]:
    if entry.generations is not None:
        return [g.text or g.refusal or "" for g in entry.generations.choices]
    return [p.text for p in entry.passages or ()]
