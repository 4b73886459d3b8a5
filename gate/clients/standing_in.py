"""Objects that stand in for others: of a class of its own beside theirs, and in all they do not define, the other."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")
_KEPT = ("_stood_for", "_gating")


class StandIn:
    """What it does not define, it reads from, and writes to, the object it stands for."""

    __slots__ = _KEPT
    _own: ClassVar[frozenset[str]] = frozenset(_KEPT)

    stands_in: ClassVar[bool] = True
    _stood_for: Any
    _gating: Any

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._own = cls._own | {name for name in vars(cls) if not name.startswith("__")}

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__
        if name.startswith("__") or name in own(self, "_own"):
            return own(self, name)
        return getattr(own(self, "_stood_for"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._stood_for, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._stood_for, name)

    def __copy__(self) -> Any:
        return standing_in(_how(self), copy.copy(self._stood_for), self._gating)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """The policy and what is kept of it stay shared."""
        return standing_in(_how(self), copy.deepcopy(self._stood_for, memo), self._gating)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a wrapped client cannot be pickled: make a client where it is wanted, and wrap it there")

    def __repr__(self) -> str:
        return f"<gated {self._stood_for!r}>"


def standing_in(how: type[StandIn], other: T, gating: object) -> T:
    """An object of ``how`` and of the other's own class, in the place of that."""
    made: Any = object.__new__(_class(how, type(other)))
    for name, value in zip(_KEPT, (other, gating), strict=True):
        object.__setattr__(made, name, value)
    return made  # type: ignore[no-any-return]


def _how(made: StandIn) -> type[StandIn]:
    """What `standing_in` made it of."""
    how: type[StandIn] = type(made).__bases__[0]
    return how


_CLASSES: dict[tuple[type[StandIn], type[Any]], type[Any]] = {}


def _class(how: type[StandIn], kind: type[Any]) -> type[Any]:
    if (how, kind) not in _CLASSES:
        _CLASSES.setdefault((how, kind), type(f"Gated{kind.__name__}", (how, kind), {"__module__": how.__module__}))
    return _CLASSES[how, kind]
