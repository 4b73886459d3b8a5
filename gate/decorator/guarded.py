"""Guarded functions that return an answer, plain and ``async``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from gate.decorator.binding import Bindable
from gate.decorator.decided import Decided
from gate.decorator.guard_settings import PolicyLike
from gate.decorator.guarded_call import Call
from gate.decorator.shaped import Whole

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
E = TypeVar("E")
"""What is returned in the place of an answer that is not let through; nothing where that is an exception."""
S = TypeVar("S")


class Guarded(Bindable, Generic[P, R, E]):
    """A guarded function."""

    _form = Whole()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R | E:
        """The very object that the function returned, or another answer in its likeness. Raises `AnswerWithheld`."""
        given = (*self._prefix, *args)
        call = Call(self._guarding, given, kwargs)
        with call.noting():
            value = self._guarding.function(*given, **kwargs)
        returned: R | E = self._guarding.resolved(call.judge(value))
        return returned

    def decided(self, /, *args: P.args, **kwargs: P.kwargs) -> Decided[R]:
        """The same with all that stands behind it; `Abstained` in the place of an answer that is not let through."""
        given = (*self._prefix, *args)
        call = Call(self._guarding, given, kwargs)
        with call.noting():
            value = self._guarding.function(*given, **kwargs)
        return call.judge(value)

    def with_options(self, **options: Any) -> Guarded[P, R, Any]:
        """The function guarded anew, with these options of `guard` in the place of what they were."""
        return self._with(options)

    @overload
    def with_policy(self, policy: PolicyLike) -> Self: ...
    @overload
    def with_policy(self, policy: PolicyLike, **options: Any) -> Guarded[P, R, Any]: ...
    def with_policy(self, policy: PolicyLike, **options: Any) -> Any:
        """The function guarded anew, by another policy."""
        return self._with_policy(policy, options)

    @overload  # of a class method the class is bound, on whatever it is looked up
    def __get__(self: Callable[Concatenate[S, Q], Any], instance: object, owner: S, /) -> Guarded[Q, R, E]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], Any], instance: S, owner: type | None = None, /
    ) -> Guarded[Q, R, E]: ...
    @overload  # of a static method nothing is
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any:
        return self._bind(instance, owner)


class GuardedAsync(Bindable, Generic[P, R, E]):
    """A guarded ``async`` function."""

    _form = Whole()
    _awaited = True
    _flags = inspect.CO_COROUTINE

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R | E:
        """The very object that the function returned, or another answer in its likeness. Raises `AnswerWithheld`."""
        returned: R | E = self._guarding.resolved(await self.decided(*args, **kwargs))
        return returned

    async def decided(self, /, *args: P.args, **kwargs: P.kwargs) -> Decided[R]:
        """The same with all that stands behind it; `Abstained` in the place of an answer that is not let through."""
        given = (*self._prefix, *args)
        call = Call(self._guarding, given, kwargs)
        with call.noting():
            value = await self._guarding.function(*given, **kwargs)
        return await call.ajudge(value)

    def with_options(self, **options: Any) -> GuardedAsync[P, R, Any]:
        """The function guarded anew, with these options of `guard` in the place of what they were."""
        return self._with(options)

    @overload
    def with_policy(self, policy: PolicyLike) -> Self: ...
    @overload
    def with_policy(self, policy: PolicyLike, **options: Any) -> GuardedAsync[P, R, Any]: ...
    def with_policy(self, policy: PolicyLike, **options: Any) -> Any:
        """The function guarded anew, by another policy."""
        return self._with_policy(policy, options)

    @overload  # of a class method the class is bound, on whatever it is looked up
    def __get__(self: Callable[Concatenate[S, Q], Any], instance: object, owner: S, /) -> GuardedAsync[Q, R, E]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], Any], instance: S, owner: type | None = None, /
    ) -> GuardedAsync[Q, R, E]: ...
    @overload  # of a static method nothing is
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any:
        return self._bind(instance, owner)
