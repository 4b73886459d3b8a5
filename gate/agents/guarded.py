"""Tools as functions that run only when their call is approved: for frameworks that call the tools themselves.

::

    @tool_gate.tool(name="book_trip")
    def book_trip(city: str, country: str) -> str: ...

    with AgentRun(tool_gate, max_risk=0.1) as run:
        run.check(reply, samples=samples)     # what the model wants to call
        ...                                   # the framework calls book_trip: on that approval, and once

A call that was not checked before is checked as it comes, without samples.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from gate.agents.call_digest import plain, signature_defaults
from gate.agents.run import AgentRun, current_run
from gate.agents.run_record import RunStep
from gate.agents.tool_gate import ToolGate
from gate.errors import ConfigError
from gate.types import ToolCall

F = TypeVar("F", bound=Callable[..., Any])


@overload
def guarded_tool(
    function: F,
    *,
    gate: ToolGate,
    name: str = "",
    run: AgentRun | None = None,
    leave_out: Sequence[str] = (),
    raising: bool = True,
) -> F: ...


@overload
def guarded_tool(
    function: None = None,
    *,
    gate: ToolGate,
    name: str = "",
    run: AgentRun | None = None,
    leave_out: Sequence[str] = (),
    raising: bool = True,
) -> Callable[[F], F]: ...


def guarded_tool(
    function: Callable[..., Any] | None = None,
    *,
    gate: ToolGate,
    name: str = "",
    run: AgentRun | None = None,
    leave_out: Sequence[str] = (),
    raising: bool = True,
) -> Any:
    """The function, made only when approved, sync or async as it was.

    ``run``: else that of the ``with`` block it is called in; outside any it raises `ConfigError`. ``name``: the tool's,
    if it is not the function's. ``leave_out``: parameters that are no part of the call: a framework's context, say. A
    call that is not made raises `AnswerWithheld`; without ``raising`` a `ToolRefused` is returned. Raises `TypeError`
    for arguments that are no JSON.
    """
    if function is None:
        return lambda f: guarded_tool(f, gate=gate, name=name, run=run, leave_out=leave_out, raising=raising)
    guarded = _Guarded(function, gate, name or getattr(function, "__name__", ""), run, frozenset(leave_out))
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*given: Any, **named: Any) -> Any:
            on, step = guarded.step(given, named)

            async def making(replaced: Mapping[str, Any] | None) -> Any:
                return await guarded.made(given, named, replaced)

            return await on.amade(step, making, raising=raising)

        return _marked(later, function)

    @functools.wraps(function)
    def now(*given: Any, **named: Any) -> Any:
        on, step = guarded.step(given, named)
        return on.made(step, lambda replaced: guarded.made(given, named, replaced), raising=raising)

    return _marked(now, function)


def _marked(wrapper: Any, function: Callable[..., Any]) -> Any:
    """`AgentRun.call` makes what stands in it, for it has asked already."""
    wrapper.unguarded = function
    return wrapper


@dataclass(frozen=True)
class _Guarded:
    """A tool's function and what its calls are held against."""

    function: Callable[..., Any]
    gate: ToolGate
    name: str
    run: AgentRun | None
    leave_out: frozenset[str]

    def step(self, given: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[AgentRun, RunStep]:
        """The run it is called in, and what that run says of the call."""
        on = self.run or current_run()
        if on is None:
            raise ConfigError(
                f"the tool {self.name!r} was called outside any run: with AgentRun(tool_gate) as run: ..."
            )
        if on.gate is not self.gate:
            raise ConfigError(f"the tool {self.name!r} is guarded by another tool gate than that of the run")
        passed_here = {n: _plain(n, v) for n, v in self.bound(given, named).items() if n not in self.leave_out}
        call = ToolCall("", self.name, json.dumps(passed_here, sort_keys=True, ensure_ascii=False))
        on.takes(self.name, self.defaults)
        step = on.standing(call)
        if step is None:
            step = on.admit(self.gate.check_call(call), claim=True)
        return on, step

    def made(self, given: tuple[Any, ...], named: Mapping[str, Any], replaced: Mapping[str, Any] | None) -> Any:
        if replaced is None:
            return self.function(*given, **named)
        kept = {name: value for name, value in self.bound(given, named).items() if name in self.leave_out}
        return self.function(**kept, **replaced)

    def bound(self, given: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name, those of ``**kwargs`` among them. Raises `TypeError` as calling the function would."""
        found: dict[str, Any] = {}
        for name, value in self.signature.bind(*given, **named).arguments.items():
            if self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                found |= value
            else:
                found[name] = value
        return found

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        return signature_defaults(self.function, self.leave_out)


def _plain(name: str, value: Any) -> Any:
    try:
        return plain(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the argument {name!r} is no JSON: leave it out of the call with leave_out=[{name!r}]"
        ) from error
