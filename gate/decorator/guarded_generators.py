"""Guarded generators, plain and ``async``: an answer that comes in pieces.

``hold``: the pieces are collected and judged, and yielded when they are let through; not one is seen before. Another
answer than theirs comes in one piece. ``annotate``: each is yielded as it comes, the verdict comes at the end. What is
sent or thrown in reaches a plain generator in that mode, and what it returns is returned in both. Whoever stops reading
closes the generator inside too: nothing is judged then, nor remembered.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from gate.decorator.arguments import Args
from gate.decorator.binding import Bindable
from gate.decorator.decided import Abstained, Decided
from gate.decorator.guard_settings import PolicyLike
from gate.decorator.guarded_call import Call, Keeping
from gate.decorator.shaped import Pieces

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
E = TypeVar("E")
S = TypeVar("S")
_END: Any = object()


class GuardedStream(Bindable, Generic[P, R, E]):
    """A guarded generator function."""

    _form = Pieces()
    _flags = inspect.CO_GENERATOR

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Generator[R | E, Any, Any]:
        """An answer that is not let through ends in what stands in its place, or in `AnswerWithheld`."""
        guarding = self._guarding
        with contextlib.closing(self._begun(args, kwargs)) as watched:
            if guarding.settings.streaming == "annotate":
                yield from watched
                decided = watched.judged()
                if isinstance(decided.value, Abstained):
                    yield guarding.resolved(decided)
            else:
                watched.exhaust()
                shown = guarding.resolved(decided := watched.judged())
                yield from (shown,) if isinstance(decided.value, Abstained) else shown
        return watched.returned

    def decided(self, /, *args: P.args, **kwargs: P.kwargs) -> Decided[tuple[R, ...]]:
        """All pieces with all that stands behind them, or `Abstained`."""
        with contextlib.closing(self._begun(args, kwargs)) as watched:
            watched.exhaust()
            return watched.judged()

    def _begun(self, args: Args, kwargs: Mapping[str, Any]) -> _Watched:
        given = (*self._prefix, *args)
        call = Call(self._guarding, given, kwargs)
        return _Watched(self._guarding.function(*given, **kwargs), call, self._form)

    @staticmethod
    def _once(function: Callable[..., Any], args: Args, kwargs: Mapping[str, Any]) -> Any:
        return tuple(function(*args, **kwargs))

    def with_options(self, **options: Any) -> GuardedStream[P, R, Any]:
        """The function guarded anew, with these options of `guard` in the place of what they were."""
        return self._with(options)

    @overload
    def with_policy(self, policy: PolicyLike) -> Self: ...
    @overload
    def with_policy(self, policy: PolicyLike, **options: Any) -> GuardedStream[P, R, Any]: ...
    def with_policy(self, policy: PolicyLike, **options: Any) -> Any:
        """The function guarded anew, by another policy."""
        return self._with_policy(policy, options)

    @overload  # of a class method the class is bound, on whatever it is looked up
    def __get__(self: Callable[Concatenate[S, Q], Any], instance: object, owner: S, /) -> GuardedStream[Q, R, E]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], Any], instance: S, owner: type | None = None, /
    ) -> GuardedStream[Q, R, E]: ...
    @overload  # of a static method nothing is
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any:
        return self._bind(instance, owner)


class _Watched(Iterator[Any]):
    """A generator, and the pieces that have come of it. Fits ``yield from``."""

    def __init__(self, inner: Generator[Any, Any, Any], call: Call, form: Pieces) -> None:
        self._inner, self._call, self._form = inner, call, form
        self._pieces: list[Any] = []
        self.returned: Any = None

    def __next__(self) -> Any:
        return self._step(self._inner.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._inner.throw, *error)

    def close(self) -> None:
        self._inner.close()

    def exhaust(self) -> None:
        for _ in self:
            pass

    def judged(self) -> Decided[Any]:
        return self._call.judge(tuple(self._pieces))

    def _step(self, step: Callable[..., Any], *values: Any) -> Any:
        try:
            with self._call.noting():
                piece = step(*values)
        except StopIteration as stop:
            self.returned = stop.value
            raise
        self._pieces.append(piece)
        with Keeping(self._pieces):
            self._form.check(piece, self._call.guarding.named)
        return piece


class GuardedAsyncStream(Bindable, Generic[P, R, E]):
    """A guarded ``async`` generator function."""

    _form = Pieces()
    _awaited = True
    _flags = inspect.CO_ASYNC_GENERATOR

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R | E, None]:
        """An answer that is not let through ends in what stands in its place, or in `AnswerWithheld`."""
        guarding = self._guarding
        given = (*self._prefix, *args)
        call, pieces = Call(guarding, given, kwargs), list[Any]()
        annotate = guarding.settings.streaming == "annotate"
        async with contextlib.aclosing(guarding.function(*given, **kwargs)) as inner:
            while (piece := await self._next(inner, call, pieces)) is not _END:
                if annotate:
                    yield piece
        decided = await call.ajudge(tuple(pieces))
        shown: Any = guarding.resolved(decided)
        if isinstance(decided.value, Abstained):
            yield shown
        elif not annotate:
            for piece in shown:
                yield piece

    async def decided(self, /, *args: P.args, **kwargs: P.kwargs) -> Decided[tuple[R, ...]]:
        """All pieces with all that stands behind them, or `Abstained`."""
        given = (*self._prefix, *args)
        call, pieces = Call(self._guarding, given, kwargs), list[Any]()
        async with contextlib.aclosing(self._guarding.function(*given, **kwargs)) as inner:
            while await self._next(inner, call, pieces) is not _END:
                pass
        return await call.ajudge(tuple(pieces))

    async def _next(self, inner: AsyncIterator[Any], call: Call, pieces: list[Any]) -> Any:
        with call.noting():
            piece = await anext(inner, _END)
        if piece is not _END:
            pieces.append(piece)
            with Keeping(pieces):
                self._form.check(piece, self._guarding.named)
        return piece

    @staticmethod
    async def _once(function: Callable[..., Any], args: Args, kwargs: Mapping[str, Any]) -> Any:
        async with contextlib.aclosing(function(*args, **kwargs)) as inner:
            return tuple([piece async for piece in inner])

    def with_options(self, **options: Any) -> GuardedAsyncStream[P, R, Any]:
        """The function guarded anew, with these options of `guard` in the place of what they were."""
        return self._with(options)

    @overload
    def with_policy(self, policy: PolicyLike) -> Self: ...
    @overload
    def with_policy(self, policy: PolicyLike, **options: Any) -> GuardedAsyncStream[P, R, Any]: ...
    def with_policy(self, policy: PolicyLike, **options: Any) -> Any:
        """The function guarded anew, by another policy."""
        return self._with_policy(policy, options)

    @overload  # of a class method the class is bound, on whatever it is looked up
    def __get__(
        self: Callable[Concatenate[S, Q], Any], instance: object, owner: S, /
    ) -> GuardedAsyncStream[Q, R, E]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], Any], instance: S, owner: type | None = None, /
    ) -> GuardedAsyncStream[Q, R, E]: ...
    @overload  # of a static method nothing is
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any:
        return self._bind(instance, owner)
