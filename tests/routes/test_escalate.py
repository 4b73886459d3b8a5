"""The escalate route climbs the ladder one rung at a time; what was found for one is not put to the next."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.ports import Evidence, Profile, Round
from gate.routes import EscalateRoute
from gate.types import Action, Cost, Decision, Generation, Message, Passage, Question

PROFILES = {"small": Profile(n=8), "middle": Profile(n=1, seed=False), "large": Profile(logprobs=False)}
ROUTE = EscalateRoute(tuple(PROFILES), PROFILES)


def opening(upstream: str) -> Round:
    question = Question.from_text("Where is Lagos?")
    return Round(
        2,
        question,
        upstream,
        PROFILES[upstream],
        (Message("user", "Lagos is a city in Nigeria. Where is Lagos?"),),
        passages=(Passage("lagos", "Lagos is a city in Nigeria."),),
        tokens_left=50,
        cost=Cost(calls=3, seconds=1.0),
    )


def followed(route: EscalateRoute, round_: Round) -> Round:
    flow = route.follow(round_, Evidence(), Decision(Action.ESCALATE, "uncertain", round_.stage(0)))
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    assert isinstance(stopped.value.value, Round)
    return stopped.value.value


@pytest.mark.parametrize(("here", "there"), [("small", "middle"), ("middle", "large")])
def test_the_next_rung_is_asked_the_question_as_it_came(here: str, there: str) -> None:
    first = opening(here)
    opened = followed(ROUTE, first)
    assert (opened.upstream, opened.profile, opened.number) == (there, PROFILES[there], 3)
    assert opened.cost == Cost()
    assert (opened.messages, opened.passages, opened.prompt) == (first.question.messages, (), None)
    assert (opened.question, opened.tokens_left) == (first.question, first.tokens_left)
    assert opened.found == first.passages, "they need not be searched for again"


def test_it_is_closed_at_the_last_rung() -> None:
    assert [ROUTE.open(opening(name)) for name in PROFILES] == [True, True, False]
    assert not EscalateRoute(("small",), PROFILES).open(opening("small"))


@given(st.permutations(["small", "middle", "large"]))
def test_climbing_from_the_first_visits_every_rung_once(ladder: list[str]) -> None:
    route = EscalateRoute(tuple(ladder), PROFILES)
    round_, visited = opening(ladder[0]), [ladder[0]]
    while route.open(round_):
        round_ = followed(route, round_)
        visited.append(round_.upstream)
    assert visited == ladder


def test_what_another_upstream_answered_closed_book_stays_behind() -> None:
    first = dataclasses.replace(opening("small"), closed_book=Generation("Nigeria"))
    assert followed(ROUTE, first).closed_book is None
