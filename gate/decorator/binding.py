"""What guarded functions of every kind are as Python objects: functions, methods, attributes, pickled by name."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar, Literal, Self

from gate.decorator.arguments import Args
from gate.decorator.decided import Decided
from gate.decorator.guard_settings import GuardSettings, PolicyLike
from gate.decorator.guarding import Calls, Guarding
from gate.decorator.shaped import Form

Binding = Literal["instance", "class", "static"]
"""What a function that stands in a class gets first: the object, the class, or nothing."""


class Bindable:
    """Looks like the function it guards, to `inspect` and `typing` too: what frameworks ask is answered as by that."""

    _form: ClassVar[Form]
    _awaited: ClassVar[bool] = False
    _flags: ClassVar[int] = 0
    """Of the code of the functions it guards."""
    _prefix: Args = ()
    """What it is bound to."""

    def __init__(self, function: Callable[..., Any], settings: GuardSettings, binding: Binding = "instance") -> None:
        ours: Any = self
        functools.update_wrapper(ours, function, updated=("__dict__",) if isinstance(function, FunctionType) else ())
        named = name_of(function)
        once = functools.partial(self._once, function)
        self._guarding = Guarding(function, named, settings, self._form, self._awaited, once)
        self._binding: Binding = binding
        self.__name__ = getattr(function, "__name__", named)
        self.__qualname__ = getattr(function, "__qualname__", named)
        shown: Any = function if isinstance(function, FunctionType) else type(ours).__call__
        if shown.__code__.co_flags & _KINDS != self._flags:  # of some wrapper that only says what it is
            shown = type(ours).__call__
        self.__code__, self.__defaults__, self.__kwdefaults__ = shown.__code__, shown.__defaults__, shown.__kwdefaults__

    @staticmethod
    def _once(function: Callable[..., Any], args: Args, kwargs: Mapping[str, Any]) -> Any:
        """A whole answer of the function, or a coroutine of that."""
        return function(*args, **kwargs)

    # --- what there is to see ---

    @property
    def unguarded(self) -> Callable[..., Any]:
        """The function itself."""
        wrapped: Callable[..., Any] = self.__wrapped__  # type: ignore[attr-defined]
        return wrapped

    @property
    def decisions(self) -> tuple[Decided[Any], ...]:
        """The most recent ones, the latest last; those of all that this is bound to."""
        return self._guarding.remembered()

    @property
    def calls(self) -> Calls:
        """How often the function was called, and how many of the calls were for samples."""
        return self._guarding.calls

    def _with(self, options: Mapping[str, Any]) -> Self:
        guarding = self._guarding
        made = type(self)(guarding.function, guarding.settings.but(**options), self._binding)
        return Bindable._bound_to(made, self._prefix[0], self.unguarded) if self._prefix else made

    def _with_policy(self, policy: PolicyLike, options: Mapping[str, Any]) -> Self:
        return self._with({"policy": policy, **options})

    # --- as a method ---

    def _bind(self, instance: object, owner: type | None) -> Self:
        function: Any = self._guarding.function
        if self._prefix or self._binding == "static" or not hasattr(function, "__get__"):
            return self
        if self._binding == "class":
            to: object = owner if owner is not None else type(instance)
            return self._bound_to(to, function.__get__(to, type(to)))
        if instance is None:
            return self
        bound = function.__get__(instance, owner)
        return self if bound is function else self._bound_to(instance, bound)

    def _bound_to(self, to: object, bound: Callable[..., Any]) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, _prefix=(to,), __wrapped__=bound, __self__=to, __func__=self)
        return made

    def __eq__(self, other: object) -> bool:
        """Methods are bound anew each time they are looked up."""
        if not isinstance(other, Bindable):
            return NotImplemented
        same = self._guarding is other._guarding and len(self._prefix) == len(other._prefix)
        return same and all(ours is theirs for ours, theirs in zip(self._prefix, other._prefix, strict=True))

    def __hash__(self) -> int:
        return hash((id(self._guarding), *map(id, self._prefix)))

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By name, as functions are. Raises `PicklingError` where that names something else: another policy's."""
        if not self._prefix:
            return self.__qualname__
        to = self._prefix[0]
        if getattr(to, self.__name__, None) != self:
            raise pickle.PicklingError(f"cannot pickle {self!r}: {self.__name__!r} of its object is not the same guard")
        return getattr, (to, self.__name__)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same guard; of a method, bound to a copy of its object, as other methods are."""
        to = copy.deepcopy(self._prefix[0], memo) if self._prefix else None
        if not self._prefix or to is self._prefix[0]:
            return self
        function: Any = self._guarding.function
        return Bindable._bound_to(self.__func__, to, function.__get__(to, type(to)))  # type: ignore[attr-defined, no-any-return]

    def __repr__(self) -> str:
        to = f" of {self._prefix[0]!r}" if self._prefix else ""
        return f"<guarded {self._guarding.named}{to}>"


_KINDS = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", None) or type(function).__qualname__
