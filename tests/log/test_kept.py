"""What the log gives back, and that its reader can be asked all that the proxy may ask."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError

import pytest

from gate.log.kept import DecisionReader, Label, Sought
from gate.log.reader import LogReader


def test_the_reader_can_be_asked_all_of_it_in_the_same_way() -> None:
    asked = {name: each for name, each in vars(DecisionReader).items() if inspect.isfunction(each) and name[0] != "_"}
    assert len(asked) == 11
    for name, method in asked.items():
        assert inspect.signature(getattr(LogReader, name)) == inspect.signature(method), name


def test_a_label_is_feedback_and_a_search_is_for_everything_unless_said_otherwise() -> None:
    assert Label("a", True, "me") == Label("a", True, "me", "feedback", 0.0, "", "")
    assert Sought() == Sought("", "", None, None, None, "")
    with pytest.raises(FrozenInstanceError):
        Sought().policy = "mine"  # type: ignore[misc]
