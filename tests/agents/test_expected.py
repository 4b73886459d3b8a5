"""Arguments of the wrong kind."""

from __future__ import annotations

import pytest

from gate.agents.expected import expect, expect_callable


def test_what_is_wrong_is_named_and_no_value_quoted() -> None:
    expect("gate", "x", int, str)
    expect("gate", None, int, type(None))
    with pytest.raises(TypeError, match=r"^gate has to be int or None, not str$"):
        expect("gate", "secret", int, type(None))


def test_a_function_or_nothing() -> None:
    expect_callable("ask_person", None)
    expect_callable("ask_person", print)
    with pytest.raises(TypeError, match=r"^ask_person has to be a function or None, not str$"):
        expect_callable("ask_person", "secret")
