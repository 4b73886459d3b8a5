"""`guard`: a decorator that lets a function's answers through only when the policy does.

::

    @gate.guard(policy="balanced")
    def answer(question: str) -> str:
        return client.chat.completions.create(...).choices[0].message.content

The function is called first, as ever, and whatever it raises is raised as it is. Then its answer is judged.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, Literal, Never, ParamSpec, TypedDict, TypeVar, Unpack, overload

from gate.decorator.binding import Bindable, Binding
from gate.decorator.decided import Abstained
from gate.decorator.guard_settings import (
    UNSET,
    GuardSettings,
    OnAbstention,
    PolicyLike,
    Samples,
    Streaming,
)
from gate.decorator.guarded import Guarded, GuardedAsync
from gate.decorator.guarded_generators import GuardedAsyncStream, GuardedStream

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
D = TypeVar("D")
_MARK = getattr(asyncio.coroutines, "_is_coroutine", None)
"""By which a function that only gives a coroutine says so, where Python has no other way."""


class GuardOptions(TypedDict, total=False):
    """What `guard` may be told whatever comes of an abstention."""

    question: str | Callable[..., Any] | None
    samples: Samples
    side_by_side: bool
    written_by: str
    gather: bool | None
    streaming: Streaming
    remember: int


class Guard(Generic[E]):
    """The decorator, told what to do."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> GuardedAsync[P, R, E]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[R]], /) -> GuardedAsyncStream[P, R, E]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, Iterator[R]], /) -> GuardedStream[P, R, E]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> Guarded[P, R, E]: ...
    def __call__(self, function: Any, /) -> Any:
        return guarded(function, self._settings)


@overload
def guard(policy: Callable[P, Coroutine[Any, Any, R]], /) -> GuardedAsync[P, R, Never]: ...  # type: ignore[overload-overlap]
@overload
def guard(policy: Callable[P, AsyncIterator[R]], /) -> GuardedAsyncStream[P, R, Never]: ...  # type: ignore[overload-overlap]
@overload
def guard(policy: Callable[P, Iterator[R]], /) -> GuardedStream[P, R, Never]: ...  # type: ignore[overload-overlap]
@overload
def guard(policy: Callable[P, R], /) -> Guarded[P, R, Never]: ...
@overload
def guard(
    policy: PolicyLike = "own", *, on_abstention: Literal["raise"] = "raise", **options: Unpack[GuardOptions]
) -> Guard[Never]: ...
@overload
def guard(
    policy: PolicyLike = "own", *, on_abstention: Literal["return"], **options: Unpack[GuardOptions]
) -> Guard[Abstained]: ...
@overload
def guard(policy: PolicyLike = "own", *, default: D, **options: Unpack[GuardOptions]) -> Guard[D]: ...
def guard(
    policy: Any = "own",
    *,
    question: str | Callable[..., Any] | None = None,
    samples: Samples = "none",
    side_by_side: bool = True,
    on_abstention: OnAbstention = "raise",
    default: Any = UNSET,
    written_by: str = "",
    gather: bool | None = None,
    streaming: Streaming = "hold",
    remember: int = 100,
) -> Any:
    """Guard a function that gets an answer from a model, in whatever way: plain, ``async``, or a generator of either.

    It returns what the function returns: the very object, where the policy lets it through, or the answer that the
    policy got in its stead (from a stronger model, say) as another object of its kind. Nothing is loaded before the
    first call. Above ``@classmethod`` and ``@staticmethod`` it goes too, and there it should (to mypy a static method
    whose first parameter takes any object looks bound).

    policy: a shipped policy's name, a file's path, a `gate.Gate` or `gate.Gateway`; who name the same one share it.
    question: the name of the parameter that holds the question, or a function of the same arguments that makes it. By
        default a parameter called question, query, prompt, messages, text or input; else the only one that is annotated
        ``str`` or not at all. It is a text, or a conversation as in OpenAI's API.
    samples: where the policy gets further answers to the same question from. ``none``: the function is never called
        again; signals that need samples are missing. ``again``: it is called again, with equal arguments (lists and
        dicts are copies), so let it do nothing but answer; guarded functions inside then return what they return
        unjudged, and only ``.calls`` tells of them. Without a temperature in it all samples agree with every mistake.
        ``captured``: the one request it made through a client of `gate.capture` is repeated at gate's temperature;
        the function must return what the model said, and the question is the conversation as it was sent.
    side_by_side: whether samples may be got at the same time (on threads, with the caller's context variables; as tasks
        on an event loop), or one by one, where the caller waits.
    on_abstention: ``raise`` `gate.AnswerWithheld`, or ``return`` `gate.Abstained`, where no answer is let through.
    default: what to return then, in the place of either.
    written_by: the upstream of the policy's ladder that writes the answers: then certificates hold for them, and where
        the policy can ask it itself, it does so for samples. By default nobody says who writes them.
    gather: whether the policy's own upstreams and routes may act (retrieve, escalate); else only the answer is judged.
        By default they may where the policy is about these answers: it has an upstream of ``kind: caller``, or
        ``written_by`` names one. Models that know nothing of a function are not asked in its stead.
    streaming: of generators. ``hold``: nothing is yielded before the verdict. ``annotate``: everything is at once, and
        the verdict comes at the end; no other answer is got.
    remember: how many decisions are kept in ``.decisions``.

    A guarded function has ``decided`` (the value with its decision), ``decisions``, ``calls``, ``unguarded``,
    ``with_policy``, ``with_options``. Raises `ConfigError` for a wrong option, `TypeError` for what is no function.
    """
    bare = not isinstance(policy, PolicyLike)
    settings = GuardSettings(
        "own" if bare else policy,
        question=question,
        samples=samples,
        side_by_side=side_by_side,
        on_abstention=on_abstention,
        default=default,
        written_by=written_by,
        gather=gather,
        streaming=streaming,
        remember=remember,
    )
    return guarded(policy, settings) if bare else Guard(settings)


def guarded(function: Any, settings: GuardSettings) -> Any:
    """The function, guarded according to its kind."""
    binding: Binding = "instance"
    if isinstance(function, staticmethod | classmethod):
        binding = "static" if isinstance(function, staticmethod) else "class"
        function = function.__func__
    if inspect.isclass(function) or not callable(function):
        what = "the class " + function.__qualname__ if inspect.isclass(function) else f"a {type(function).__qualname__}"
        what = "None" if function is None else what
        hint = ": guard the function itself, not what calling it gives" if inspect.isawaitable(function) else ""
        raise TypeError(f"gate.guard guards functions, and {what} is none{hint}")
    return _kind(function)(function, settings, binding)


def _kind(function: Callable[..., Any]) -> type[Bindable]:
    while isinstance(function, functools.partial):
        function = function.func
    looks = (function, getattr(function, "__call__", None))  # noqa: B004 - of an object, its method says what it is
    if any(map(inspect.isasyncgenfunction, looks)):
        return GuardedAsyncStream
    if any(map(_is_async, looks)):
        return GuardedAsync
    return GuardedStream if any(map(inspect.isgeneratorfunction, looks)) else Guarded


def _is_async(function: object) -> bool:
    marked = _MARK is not None and getattr(function, "_is_coroutine", None) is _MARK
    return marked or inspect.iscoroutinefunction(function)
