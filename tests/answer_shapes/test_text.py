from __future__ import annotations

from gate.answer_shapes.text import Text
from gate.types import Generation
from tests.answer_shapes.answers import Verdict, outcome_of


def test_text_is_read_and_written() -> None:
    assert Text().read("China").generation == Generation("China")
    assert Text().written(outcome_of("Jiangsu"), "China") == "Jiangsu"


def test_a_member_of_an_enumeration_is_more_than_text() -> None:
    assert Text().fits("yes")
    assert not Text().fits(Verdict.YES)
