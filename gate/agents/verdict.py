"""What a tool gate says of a call: `ToolVerdict`, and `ToolRefused`, which stands in the place of a tool's result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gate.signals.json_fields import parse_json
from gate.traces import TraceRecord
from gate.types import Certificate, Reading, ToolCall


class ToolAction(StrEnum):
    """What to do with a call."""

    APPROVE = "approve"
    ASK = "ask"
    """A person."""
    ESCALATE = "escalate"
    """To a stronger model."""
    REFUSE = "refuse"
    STOP = "stop"
    """The run has spent the risk it may take: no further call is made in it."""


@dataclass(frozen=True, slots=True)
class ArgumentReading:
    """What is known of one argument. None where it cannot be: without samples, or without tokens."""

    name: str
    critical: bool
    agreement: float | None = None
    """Share of the samples that pass the same value; the least of its parts, where it has parts."""
    logprob: float | None = None
    """Sum of the log-probabilities of the tokens that its value was written in."""


@dataclass(frozen=True, slots=True)
class ToolVerdict:
    """One call and what is to be done with it."""

    call: ToolCall
    action: ToolAction
    reason: str
    """A stable code: ``confident``, ``uncertain``, ``unknown_tool``, ``schema``, ``not_certified``, ``risk_spent`` …"""
    p: float | None = None
    """How likely the call is right; None where nothing is known of it."""
    low: float | None = None
    """The lower end of the 95 % interval of p: the fit's own uncertainty."""
    threshold: float | None = None
    """That p was held against."""
    max_error: float | None = None
    """What is promised of the approved calls of this kind; None of a tool that is not known."""
    irreversible: bool = True
    cost: float = 1.0
    calibrated: bool = False
    """Whether p was learned from labelled calls; else it is a guess."""
    certificate: Certificate | None = None
    """What the promise rests on; None where there is none for this call."""
    samples: int = 0
    arguments: tuple[ArgumentReading, ...] = ()
    problems: tuple[str, ...] = ()
    """Why the call cannot be made at all: what its arguments lack under the schema."""
    readings: tuple[Reading, ...] = ()
    gate: str = ""
    """Fingerprint of the gate that gave it."""

    @property
    def approved(self) -> bool:
        return self.action is ToolAction.APPROVE

    @property
    def certified(self) -> bool:
        return self.certificate is not None

    @property
    def doubtful(self) -> ArgumentReading | None:
        """The critical argument the samples agree on least; None where nothing is known of any."""
        known = [each for each in self.arguments if each.critical and each.agreement is not None]
        return min(known, key=lambda each: each.agreement or 0.0, default=None)

    @property
    def text(self) -> str:
        """In words, fit for a person and for the model that made the call. No argument's value is in it."""
        name = repr(self.call.name)
        if self.approved:
            return f"The call of {name} is approved."
        if self.problems:
            return f"The call of {name} was not made: {'; '.join(self.problems)}."
        said = _WORDS.get(self.reason, _UNSURE)
        worst = self.doubtful if self.reason == "uncertain" else None
        at = f" The argument in most doubt is {worst.name!r}." if worst and (worst.agreement or 0.0) < 1 else ""
        return f"The call of {name} was not made: {said}.{at}{_NEXT[self.action]}"

    @property
    def asking(self) -> str:
        """The question to put to a person: the call with all its arguments, and why it is in doubt.

        The values are the model's: what a terminal would not show, or would act on, is written as an escape.
        """
        lines = [f"May {_shown(self.call.name)} be called with", *(f"  {line}" for line in self._passed()), ""]
        lines[-1] = "It cannot be undone." if self.irreversible else "It can be undone."
        lines.append(f"It is asked because {_WORDS.get(self.reason, _UNSURE)}.")
        if self.p is not None:
            lines[-1] += f" It is right with p = {self.p:.2f}{'' if self.calibrated else ', which is a guess'}."
        worst = self.doubtful
        if worst is not None and (worst.agreement or 0.0) < 1:
            lines.append(f"Most in doubt: {_key(worst.name)}; of the samples {worst.agreement:.0%} agree with it.")
        return "\n".join(lines)

    def _passed(self) -> list[str]:
        try:
            given = parse_json(self.call.arguments or "{}")
        except ValueError:
            given = None
        if not isinstance(given, dict):
            return [_shown(self.call.arguments)]
        return [f"{_key(name)} = {_shown(value)}" for name, value in given.items()] or ["no arguments"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _key(name: str) -> str:
    return name if name.isidentifier() else _shown(name)


_UNSURE = "it is not certain enough to be right"
_NEXT = {
    ToolAction.ASK: " A person has to approve it.",
    ToolAction.ESCALATE: " A stronger model has to make it.",
    ToolAction.REFUSE: "",
    ToolAction.STOP: " No further call is made in this run.",
    ToolAction.APPROVE: "",
}
_WORDS = {
    "unknown_tool": "there is no such tool",
    "not_offered": "this tool was not offered",
    "already_done": "it was made before, and it cannot be undone",
    "risk_spent": "the run has taken all the risk that it may take",
    "stopped": "the run was stopped",
    "person_refused": "a person has refused it",
    "uncalibrated": "the gate was not fitted yet, and the call cannot be undone",
    "not_certified": "no promise could be certified for calls like it",
    "tool_not_fitted": "the gate has seen no labelled call of this tool",
    "other_model": "the gate was fitted for calls of another model",
    "signals_missing": "less is known of it than of the calls that the gate was certified on",
    "no_signals": "nothing is known of it: neither samples nor tokens were given",
    "other_gate": "the gate that approved it is not that of the run",
    "other_tool": "the stronger model called another tool",
    "unjudged_schema": "whether its arguments fit its schema cannot be said",
}


@dataclass(frozen=True, slots=True)
class ToolRefused:
    """What is returned in the place of a tool's result, where the call was not made. It is false."""

    verdict: ToolVerdict

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        return self.verdict.text

    @property
    def trace(self) -> TraceRecord | None:
        """A call has none: its verdict says all."""
        return None

    def message(self) -> dict[str, Any]:
        """The tool's message as on the OpenAI wire, to be fed back to the model that made the call."""
        said = {"error": self.text, "action": self.verdict.action.value, "reason": self.verdict.reason}
        return {"role": "tool", "tool_call_id": self.verdict.call.id, "content": json.dumps(said, ensure_ascii=False)}
