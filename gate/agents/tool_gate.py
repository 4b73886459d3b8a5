"""`ToolGate`: judges a tool call before it runs.

A call whose tool is not known, or whose arguments do not fit the tool's schema, is refused. Of any other the gate tells
how likely it is right, and approves it where that reaches the threshold certified for its kind; below it does what the
policy says of the tool: ask a person, ask a stronger model, or refuse. A gate that was not fitted guesses by agreement,
says so, and never approves what cannot be undone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

from gate.agents.call_readings import Proposed, Said, passed, proposed, read_calls
from gate.agents.expected import expect
from gate.agents.gate_file import ToolGateFile
from gate.agents.schema_problems import problems
from gate.agents.tool_settings import Tool, ToolPolicy, tool_policy
from gate.agents.verdict import ArgumentReading, ToolAction, ToolVerdict
from gate.signals.json_schema import Unjudged
from gate.signals.tool_call import offered_tools
from gate.types import Certificate, JsonObject, Question, SignalVector, ToolCall

F = TypeVar("F", bound=Callable[..., Any])
_OF_AGREEMENT = ("call_agreement", "argument_agreement_min")


class ToolGate:
    """A tool policy and what was learned for it. Safe to share between threads, tasks and event loops."""

    def __init__(
        self,
        policy: ToolPolicy | Mapping[str, Any] | Path | str,
        learned: ToolGateFile | Path | str | None = None,
    ) -> None:
        """``policy``: a YAML file by path, or the same as a dict. ``learned``: what `fit_tool_gate` made, or its file.

        Raises `ConfigError`; `StaleCalibrator` where ``learned`` was made for another policy; `TypeError`.
        """
        expect("policy", policy, ToolPolicy, Mapping, Path, str)
        expect("learned", learned, ToolGateFile, Path, str, type(None))
        self.policy = tool_policy(policy)
        self.learned = ToolGateFile.load(learned) if isinstance(learned, Path | str) else learned
        if self.learned is not None:
            self.learned.check(self.policy)

    @cached_property
    def fingerprint(self) -> str:
        """Of all that its verdicts hang on, for what is calibrated on top of them."""
        return f"{self.policy.fingerprint}:{self.learned.fingerprint if self.learned else 'unfitted'}"

    def check(
        self, reply: Any, *, samples: Sequence[Any] = (), question: Question | JsonObject | None = None
    ) -> tuple[ToolVerdict, ...]:
        """A verdict on each call of a reply, in order.

        ``reply``: a `ToolCall`, several, or a model's reply of any shape gate knows; each of the ``samples`` likewise:
        more replies to the same request, drawn at a temperature. ``question``: what was asked, or the request as it was
        sent; the ``tools`` it offers give the schemas that the policy does not. Raises `TypeError` for another shape.
        """
        read = read_calls(reply)
        others = (*read.others, *(read_calls(sample).generation for sample in samples))
        options = question.options if isinstance(question, Question) else question
        offered = offered_tools(options or {})
        judged = (self._judged(each, read, offered) for each in proposed(read.generation, others))
        return tuple(replace(verdict, gate=self.fingerprint) for verdict in judged)

    def check_call(
        self, call: ToolCall, *, samples: Sequence[Any] = (), question: Question | JsonObject | None = None
    ) -> ToolVerdict:
        """The verdict on one call."""
        return self.check(call, samples=samples, question=question)[0]

    @overload
    def tool(self, function: F) -> F: ...

    @overload
    def tool(
        self, function: None = None, *, name: str = "", leave_out: Sequence[str] = (), raising: bool = True
    ) -> Callable[[F], F]: ...

    def tool(self, function: Any = None, *, name: str = "", leave_out: Sequence[str] = (), raising: bool = True) -> Any:
        """Decorates a tool so that it runs only when approved: see `gate.agents.guarded.guarded_tool`."""
        from gate.agents.guarded import guarded_tool

        return guarded_tool(function, gate=self, name=name, leave_out=leave_out, raising=raising)

    def _judged(self, each: Proposed, read: Said, offered: Mapping[str, Any]) -> ToolVerdict:
        tool = self.policy.tool(each.call.name, offered)
        if tool is None:
            return _refused(each, "unknown_tool")
        if offered and tool.name not in offered:
            return _refused(each, "not_offered", tool)
        ready = checked(each, tool)
        if isinstance(ready, ToolVerdict):
            return ready
        if self.learned is None:
            return _guessed(each, tool, ready)
        return self._learned(each, tool, ready, self.learned, read.model)

    def _learned(self, each: Proposed, tool: Tool, ready: Ready, learned: ToolGateFile, model: str) -> ToolVerdict:
        told = learned.confidence(tool.name, ready.signals)
        promise = learned.by_tool.get(tool.name)
        threshold = promise.threshold if promise else None
        certificate = promise.certificate if promise else None
        if learned.model and model and model != learned.model:
            action, reason, certificate = ToolAction(tool.on_doubt), "other_model", None
        elif promise is None:
            action, reason = ToolAction(tool.on_doubt), "tool_not_fitted"
        elif threshold is None:
            action, reason = ToolAction(tool.on_doubt), "not_certified"
        elif any(r.value is None and r.signal not in promise.lacking for r in ready.signals.readings):
            action, reason, certificate = ToolAction(tool.on_doubt), "signals_missing", None
        elif told.out_of_distribution:
            action, reason = ToolAction(tool.on_doubt), "out_of_distribution"
        elif told.p < threshold:
            action, reason = ToolAction(tool.on_doubt), "uncertain"
        else:
            action, reason = ToolAction.APPROVE, "confident"
        return _verdict(
            each, tool, ready, action, reason, p=told.p, low=told.low, threshold=threshold, certificate=certificate
        )


class Ready(NamedTuple):
    """What was read off a call that can be made."""

    arguments: tuple[ArgumentReading, ...]
    signals: SignalVector


def checked(each: Proposed, tool: Tool) -> Ready | ToolVerdict:
    """Its readings; a refusal where it cannot be made at all."""
    given = passed(each.call)
    if given is None:
        return _refused(each, "schema", tool, ("the arguments are no JSON object",))
    if tool.schema is not None:
        try:
            found = problems(given, tool.schema)
        except Unjudged:
            return _refused(each, "unjudged_schema", tool)
        if found:
            return _refused(each, "schema", tool, found)
    arguments = each.arguments(tool, given)
    return Ready(arguments, each.signals(arguments))


def _guessed(each: Proposed, tool: Tool, ready: Ready) -> ToolVerdict:
    """Without labels: the least of what samples and tokens say. A guess, and no probability."""
    said = [value for name in _OF_AGREEMENT if (value := ready.signals.value(name)) is not None]
    worst = ready.signals.value("argument_logprob_min")
    if worst is not None:
        said.append(math.exp(worst))
    p, threshold = min(said, default=None), 1 - tool.max_error
    if p is None:
        action, reason = ToolAction(tool.on_doubt), "no_signals"
    elif tool.irreversible:
        action, reason = ToolAction(tool.on_doubt), "uncalibrated"
    elif p < threshold:
        action, reason = ToolAction(tool.on_doubt), "uncertain"
    else:
        action, reason = ToolAction.APPROVE, "confident"
    return _verdict(each, tool, ready, action, reason, p=p, low=None, threshold=threshold, certificate=None)


def _verdict(
    each: Proposed,
    tool: Tool,
    ready: Ready,
    action: ToolAction,
    reason: str,
    *,
    p: float | None,
    low: float | None,
    threshold: float | None,
    certificate: Certificate | None,
) -> ToolVerdict:
    return ToolVerdict(
        call=each.call,
        action=action,
        reason=reason,
        p=p,
        low=low,
        threshold=threshold,
        max_error=tool.max_error,
        irreversible=tool.irreversible,
        cost=tool.cost,
        calibrated=low is not None,
        certificate=certificate,
        samples=each.samples,
        arguments=ready.arguments,
        readings=ready.signals.readings,
    )


def _refused(each: Proposed, reason: str, tool: Tool | None = None, found: tuple[str, ...] = ()) -> ToolVerdict:
    if tool is None:
        return ToolVerdict(each.call, ToolAction.REFUSE, reason, samples=each.samples)
    return ToolVerdict(
        each.call,
        ToolAction.REFUSE,
        reason,
        max_error=tool.max_error,
        irreversible=tool.irreversible,
        cost=tool.cost,
        samples=each.samples,
        problems=found,
    )
