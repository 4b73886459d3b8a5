"""`capture`: a client whose requests a guarded call takes note of, so that the very same can be asked again.

Noted is what the first call of a guarded function asks, and only there: elsewhere a captured client is the plain one.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from gate.answer_shapes import Read, shape_of
from gate.decorator.arguments import fresh
from gate.decorator.questions import question_of
from gate.effects import Generate
from gate.types import Generations, Question
from gate.upstreams.openai_chat import wire_message

T = TypeVar("T")
TOP_LOGPROBS = 5
"""Alternatives a token, where log-probabilities are asked for."""
_METHODS = ("create", "parse")
_OURS = frozenset({"messages", "n", "stream", "stream_options", "logprobs", "top_logprobs"})
"""Fields that are set anew for each request."""
_ASKED = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "seed", "stop", "max_tokens", "max_completion_tokens", "logit_bias"}
    | {"frequency_penalty", "presence_penalty", "repetition_penalty", "reasoning_effort", "verbosity"}
    | {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"}
)
"""Fields that are part of what is asked. Whatever else a request says (addresses, keys, time-outs) goes with every
repetition as it came, and into no trace."""


@dataclass(slots=True)
class Request:
    """One request that was made through a captured client, and its reply."""

    function: Callable[..., Any]
    """What makes it, without taking note."""
    fields: Mapping[str, Any]
    logprobs: bool
    awaited: bool = False
    """Whether the reply had to be awaited."""
    reply: Any = None

    @property
    def options(self) -> dict[str, Any]:
        return {name: value for name, value in self.fields.items() if name in _ASKED and _is_json(value)}

    def question(self) -> Question:
        """The conversation as it was sent. Raises `TypeError` and `RequestError` where it is none."""
        return question_of(self.fields.get("messages", ()), self.options)

    def read(self) -> Read | None:
        """What the reply says; None where that cannot be told, of a stream for one."""
        try:
            return shape_of(self.reply).read(self.reply)
        except (TypeError, ValueError):
            return None

    def like(self, effect: Generate) -> dict[str, Any]:
        """The fields of this request for what an effect asks."""
        options = self.options
        asked = {name: value for name, value in self.fields.items() if name not in _OURS and name not in options}
        asked |= {**effect.extra, "messages": [dict(wire_message(message)) for message in effect.messages]}
        limited = "max_completion_tokens" if "max_completion_tokens" in options else "max_tokens"
        more = {
            "temperature": effect.temperature,
            "top_p": effect.top_p,
            "seed": effect.seed,
            "stop": list(effect.stop) or None,
            "n": effect.n if effect.n > 1 else None,
            limited: effect.limit,
        }
        if self.logprobs and effect.logprobs is not None:
            more |= {"logprobs": True, "top_logprobs": effect.logprobs or None}
        return asked | {name: value for name, value in more.items() if value is not None}


def _is_json(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | float)


def generations(reply: object) -> Generations:
    """A reply as an upstream's. Raises `TypeError` and `ValueError` where it is none."""
    return shape_of(reply).read(reply).generations


# --- taking note -------------------------------------------------------------------------------------------------

_NOTED: ContextVar[list[Request] | None] = ContextVar("gate_noted_requests", default=None)


class Noting:
    """Requests made in here, in this task or thread, are put on the list; so are those of tasks begun from it, and of
    `asyncio.to_thread`. On other threads (`ThreadPoolExecutor`) they are seen only where these run in a copy of the
    context.

    A guarded function that is called in here keeps a list of its own.
    """

    __slots__ = ("_requests", "_token")

    def __init__(self, requests: list[Request]) -> None:
        self._requests = requests

    def __enter__(self) -> None:
        self._token = _NOTED.set(self._requests)

    def __exit__(self, *raised: object) -> None:
        try:
            _NOTED.reset(self._token)
        except ValueError:  # a coroutine that nobody finished is closed wherever it is found: there is nothing to reset
            return


def capture(client: T, *, logprobs: bool = False) -> T:
    """The client, or the function that asks a model, so that guarded functions see what they ask through it.

    ``client``: an OpenAI client (``OpenAI``, ``AsyncOpenAI`` or any other with ``chat.completions.create``), or a
    function that takes ``model`` and ``messages`` (``litellm.completion``, ``litellm.acompletion``). It is left as it
    is. What is made of it, by ``with_options`` say, is not captured. ``logprobs``: guarded requests ask for the
    log-probabilities of tokens too, where they do not say themselves whether they do. Only for servers that give them:
    others may refuse the request. Raises `TypeError` for what is neither, and for a client of `gate.wrap`.
    """
    if getattr(type(client), "stands_in", False):
        raise TypeError("client: gate.wrap judges what this one answers already: capture the client it was made of")
    completions = getattr(getattr(client, "chat", None), "completions", None)
    if callable(getattr(completions, "create", None)):
        return cast("T", _captured_client(client, completions, logprobs))
    if callable(client) and not inspect.isclass(client):
        return cast("T", _captured(client, logprobs))
    said = "gate.capture takes a client with chat.completions.create, or a function like litellm.completion"
    raise TypeError(f"{said}, and no {'class' if inspect.isclass(client) else type(client).__qualname__}")


def _captured_client(client: Any, completions: Any, logprobs: bool) -> Any:
    """A copy on the same connections: of the same class, for those who ask whose it is."""
    made, chat, ours = copy.copy(client), copy.copy(client.chat), copy.copy(completions)
    for name in _METHODS:
        method = getattr(completions, name, None)
        if callable(method):
            setattr(ours, name, _captured(method, logprobs))
    chat.completions = ours
    made.chat = chat
    return made


def _captured(function: Any, logprobs: bool) -> Any:
    noted = _Noted(function, logprobs, _places(function))
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None)):  # noqa: B004
        return functools.wraps(function)(noted.awaited())
    return functools.wraps(function)(noted.called())


def _places(function: Any) -> tuple[str, ...]:
    """The names of what may be given by place."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class _Noted:
    function: Callable[..., Any]
    logprobs: bool
    places: Sequence[str] = field(default=())

    def called(self) -> Callable[..., Any]:
        def captured(*args: Any, **kwargs: Any) -> Any:
            requests = _NOTED.get()
            if requests is None:
                return self.function(*args, **kwargs)
            request = self._begun(args, kwargs)
            reply = self.function(*args, **self._sent(kwargs))
            if inspect.isawaitable(reply):
                return _awaited(reply, request, requests)
            request.reply = reply
            requests.append(request)
            return reply

        return captured

    def awaited(self) -> Callable[..., Any]:
        async def captured(*args: Any, **kwargs: Any) -> Any:
            requests = _NOTED.get()
            if requests is None:
                return await self.function(*args, **kwargs)
            request = self._begun(args, kwargs)
            return await _awaited(self.function(*args, **self._sent(kwargs)), request, requests)

        return captured

    def _begun(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
        by_place = dict(zip(self.places, args, strict=False))
        return Request(self.function, fresh({**by_place, **kwargs}), self.logprobs)

    def _sent(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        if not self.logprobs or "logprobs" in kwargs:
            return kwargs
        return {**kwargs, "logprobs": True, "top_logprobs": TOP_LOGPROBS}


async def _awaited(reply: Any, request: Request, requests: list[Request]) -> Any:
    """The reply. One that fails is no request of the answer's: its caller may ask again."""
    request.reply, request.awaited = await reply, True
    requests.append(request)
    return request.reply
