"""Arguments of the wrong kind are refused by name, where they are given."""

from __future__ import annotations

from typing import Any


def expect(name: str, value: Any, *kinds: type) -> None:
    """Raises `TypeError`, which names the argument and quotes no value."""
    if not isinstance(value, kinds):
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise TypeError(f"{name} has to be {wanted}, not {type(value).__name__}")


def expect_callable(name: str, value: Any) -> None:
    """Raises `TypeError` for what is neither None nor can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} has to be a function or None, not {type(value).__name__}")
