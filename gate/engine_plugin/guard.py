"""What keeps a fault of the plugin from becoming a fault of the server it is in."""

from __future__ import annotations

import abc
import functools
import logging
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

_log = logging.getLogger(f"vllm.{__name__}")
P = ParamSpec("P")
T = TypeVar("T")


class CannotRead(Exception):
    """What is known to keep states from being read; its message is the reason."""


class Fallible(Protocol):
    fault: str
    """Why this does nothing any more; empty while it works."""


S = TypeVar("S", bound=Fallible)


def guarded(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | None]:
    """A method of an object whose first fault is its last: it is told once, kept, and later calls return None."""

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        if self.fault:
            return None
        try:
            return method(self, *args, **kwargs)
        except CannotRead as error:
            self.fault = str(error)
            _log.warning("gate reads no internal states: %s", self.fault)
        except Exception as error:  # noqa: BLE001 - the server runs on without what the plugin adds
            self.fault = f"{method.__name__} failed with {type(error).__name__}: {error}"
            _log.warning("gate does without %s from here on: %s", method.__qualname__, self.fault, exc_info=True)
        return None

    return call


def completed(kind: type[Any]) -> None:
    """Let a class be made although a newer vLLM asks more of it: what it has no part in does nothing."""
    for name in getattr(kind, "__abstractmethods__", ()):
        setattr(kind, name, _nothing)
    abc.update_abstractmethods(kind)


def _nothing(*_: Any, **__: Any) -> None:
    """Whatever it is asked."""
