"""The abstain route declines in the policy's words and shows nothing of the draft."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.draft import Draft
from gate.ports import Ending, Evidence, Profile, Round
from gate.routes import AbstainRoute
from gate.types import Action, Cost, Decision, Generation, Question

QUESTION = Question.from_text("Where is Lagos?")
ROUND = Round(0, QUESTION, "small", Profile(), QUESTION.messages)
DECISION = Decision(Action.ABSTAIN, "uncertain", ROUND.stage(0))


def followed(message: str, evidence: Evidence) -> object:
    with pytest.raises(StopIteration) as stopped:
        next(AbstainRoute(message).follow(ROUND, evidence, DECISION))
    return stopped.value.value


@given(st.text())
def test_it_says_the_policys_words_as_they_are(message: str) -> None:
    assert followed(message, Evidence()) == Ending(message)


def test_the_draft_does_not_leave_with_the_refusal() -> None:
    drafted = Evidence().having(Draft(Cost(calls=1), Generation("Ghana"), "m"))
    ending = followed("I do not know.", drafted)
    assert isinstance(ending, Ending)
    assert ending.generation is None
    assert "Ghana" not in ending.text


def test_it_is_always_open() -> None:
    assert AbstainRoute("no").open(ROUND)
