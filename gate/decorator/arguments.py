"""What a guarded function is called with: where its question is, and whether its arguments serve for another call."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

from gate.decorator.questions import question_of
from gate.errors import ConfigError
from gate.types import Question

QUESTIONS = ("question", "query", "prompt", "messages", "text", "input")
"""What a parameter is called that holds the question, where nobody says which one does."""
Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]
_NEVER = 1 << 30
_SAY = "name the parameter that holds it with question='…', or give question=a function of the same arguments"


@dataclass(frozen=True, slots=True)
class Asks:
    """Where the question is among the arguments."""

    name: str = ""
    at: int = _NEVER
    """The place by which it may be given."""
    default: Any = Parameter.empty
    made: Callable[..., Any] | None = None
    """Makes the question of all arguments, in the place of all that."""

    def question(self, args: Args, kwargs: Kwargs) -> Question:
        """Raises `TypeError` where it is none, or is not there, and `RequestError` for a broken conversation."""
        if self.made is not None:
            return _question(self.made(*args, **kwargs), "what question= gives")
        if self.at < len(args):
            value = args[self.at]
        else:
            value = kwargs.get(self.name, self.default)
            if value is Parameter.empty:
                raise TypeError(f"the argument {self.name!r}, which holds the question, is missing")
        return _question(value, f"the argument {self.name!r}")


def _question(value: Any, what: str) -> Question:
    try:
        return question_of(value)
    except TypeError:
        said = "a text, a conversation as a list of messages, or a gate.Question holds the question"
        raise TypeError(f"{what} is a {type(value).__qualname__}: {said}") from None


def asks(function: Callable[..., Any], question: str | Callable[..., Any] | None, named: str) -> Asks:
    """Where a function called ``named`` takes its question. Raises `ConfigError` where that cannot be told."""
    if callable(question):
        return Asks(made=question)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError as error:  # some functions written in C
        raise ConfigError(f"{named}: its parameters cannot be read: give question=a function of them") from error
    if question is not None:
        return _called(question, parameters, named)
    listed = [each for each in parameters if each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)]
    if listed and listed[0].name in ("self", "cls"):
        listed = listed[1:]
    found = [each for each in listed if each.name in QUESTIONS]
    found = found or [each for each in listed if each.annotation in (Parameter.empty, str, "str")]
    if len(found) == 1:
        return _at(found[0], parameters)
    known = ", ".join(repr(each.name) for each in parameters) or "none"
    why = f"{' and '.join(repr(each.name) for each in found)} may be" if found else "none looks like"
    raise ConfigError(f"{named}: of its parameters ({known}) {why} the question: {_SAY}")


def _called(name: str, parameters: Sequence[Parameter], named: str) -> Asks:
    for each in parameters:
        if each.name == name and each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            return _at(each, parameters)
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
        return Asks(name)
    known = ", ".join(repr(each.name) for each in parameters) or "none"
    raise ConfigError(f"{named}: question={name!r} is none of its parameters ({known})")


def _at(found: Parameter, parameters: Sequence[Parameter]) -> Asks:
    by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return Asks(found.name, parameters.index(found) if found.kind in by_place else _NEVER, found.default)


# --- calling it again --------------------------------------------------------------------------------------------


def used_up(args: Args, kwargs: Kwargs) -> str:
    """Why these arguments do not serve for another call; "" where they do."""
    for value in (*args, *kwargs.values()):
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        for each in (value, *inner):
            if isinstance(each, Iterator | AsyncIterator | Coroutine) or callable(getattr(type(each), "read", None)):
                return f"one of its arguments, a {type(each).__qualname__}, is used up by the first call"
    return ""


def fresh(value: Any) -> Any:
    """Lists, dicts and sets anew, with what is in them: a function may have added to those it was given."""
    return _Copying().of(value)


@dataclass(slots=True)
class _Copying:
    made: dict[int, Any] = field(default_factory=dict)
    """By what it is of: a list may hold itself."""

    def of(self, value: Any) -> Any:
        if type(value) not in (list, dict, set, tuple, bytearray):
            return value
        if id(value) in self.made:
            return self.made[id(value)]
        if type(value) is tuple:
            return tuple(map(self.of, value))
        if type(value) is set or type(value) is bytearray:
            return self.made.setdefault(id(value), value.copy())
        if type(value) is list:
            listed: list[Any] = self.made.setdefault(id(value), [])
            listed += map(self.of, value)
            return listed
        held: dict[Any, Any] = self.made.setdefault(id(value), {})
        held.update((key, self.of(each)) for key, each in value.items())
        return held
