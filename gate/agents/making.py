"""How a run makes a call and asks about one: at once, or on an event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from gate.agents.call_readings import passed
from gate.agents.verdict import ToolRefused, ToolVerdict
from gate.errors import AnswerWithheld
from gate.types import ToolCall

Making: TypeAlias = Callable[[Mapping[str, Any] | None], Any]
"""Makes a call; it is told the arguments to make it with where they are not the call's own."""


class Asking(NamedTuple):
    """A caller's function that has to be asked about a call."""

    function: Callable[[ToolVerdict], Any]
    verdict: ToolVerdict
    whose: str


def arguments_of(call: ToolCall) -> dict[str, Any]:
    return dict(passed(call) or {})


def unguarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: it is asked once whether a call may be made."""
    found: Callable[..., Any] = getattr(function, "unguarded", function)
    return found


def making_of(call: ToolCall, function: Callable[..., Any]) -> Making:
    def making(replaced: Mapping[str, Any] | None) -> Any:
        return function(**(arguments_of(call) if replaced is None else replaced))

    if not inspect.iscoroutinefunction(function):
        return making

    async def later(replaced: Mapping[str, Any] | None) -> Any:
        return await making(replaced)

    return later


def withheld(refused: ToolRefused, raising: bool) -> ToolRefused:
    if raising:
        raise AnswerWithheld(refused)
    return refused


def at_once(value: Any, whose: str) -> Any:
    """Raises `TypeError` for what can only be awaited."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(f"{whose} is a coroutine: make the call with acall")
    return value


async def awaited(function: Callable[..., Any], *given: Any) -> Any:
    """In a thread, where the function is no coroutine."""
    if inspect.iscoroutinefunction(function):
        return await function(*given)
    value = await asyncio.to_thread(function, *given)
    return await value if inspect.isawaitable(value) else value
