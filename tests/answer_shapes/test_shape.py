from __future__ import annotations

from gate.answer_shapes import SHAPES, Read
from gate.types import Generation, Usage


def test_what_is_not_told_is_nothing() -> None:
    assert Read(Generation("China")) == Read(Generation("China"), (), Usage(), "")


def test_names_are_told_apart() -> None:
    names = [shape.name for shape in SHAPES]
    assert len({*names}) == len(names)
