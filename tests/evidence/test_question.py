"""The question as evidence: as it was asked, at no cost."""

from __future__ import annotations

from gate.drivers import Recording, ReplayDriver
from gate.evidence import Asked, QuestionSource
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Question


def test_it_is_the_callers_question_and_costs_nothing() -> None:
    asked = Question.from_text("Where is Lagos?")
    round_ = Round(0, asked, "small", Profile(), ())
    fact = ReplayDriver(()).run(QuestionSource().gather(round_, Evidence()), Recording())
    assert fact == Asked(Cost(), asked)
