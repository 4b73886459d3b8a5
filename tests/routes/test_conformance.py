"""What every route must be, run over ROUTES: registering is being tested."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from gate.drivers import Recording, ThreadedDriver
from gate.evidence.draft import Draft
from gate.ports import Ending, Evidence, Profile, Round, Route
from gate.prompts import load
from gate.routes import ROUTES, AbstainRoute, AnswerRoute, ClarifyRoute, EscalateRoute, RetrieveRoute
from gate.types import Action, Cost, Decision, Generation, Question
from tests.scripted import Scripted, always, world_of

PROFILES = {"small": Profile(), "large": Profile(n=1)}
MADE: dict[type, Route] = {
    AnswerRoute: AnswerRoute(),
    AbstainRoute: AbstainRoute("I do not know."),
    RetrieveRoute: RetrieveRoute("world", load("with_passages"), 2),
    ClarifyRoute: ClarifyRoute(load("clarify")),
    EscalateRoute: EscalateRoute(("small", "large"), PROFILES),
}
ENDS = {Action.ANSWER, Action.CLARIFY, Action.ABSTAIN}
QUESTION = Question.from_text("Where is Lagos?")
ROUND = Round(0, QUESTION, "small", PROFILES["small"], QUESTION.messages)
EVIDENCE = Evidence().having(Draft(Cost(calls=1), Generation("Nigeria"), "m"))

each = pytest.mark.parametrize("kind", ROUTES, ids=lambda kind: kind.__name__)


def followed(route: Route) -> Round | Ending:
    driver = ThreadedDriver(world_of({name: Scripted(name, always("Nigeria")) for name in PROFILES}))
    decision = Decision(route.action, "uncertain", ROUND.stage(0))
    try:
        return driver.run(route.follow(ROUND, EVIDENCE, decision), Recording())
    finally:
        driver.close()


def test_every_registered_route_is_made_here_and_has_an_action_of_its_own() -> None:
    assert set(MADE) == set(ROUTES)
    actions = [route.action for route in MADE.values()]
    assert len(set(actions)) == len(actions)
    assert set(actions) >= ENDS
    assert Action.GATHER not in actions


@each
def test_it_is_open_at_the_start_and_asking_changes_nothing(kind: type) -> None:
    before = copy.deepcopy(ROUND)
    assert MADE[kind].open(ROUND) is True
    assert before == ROUND


@each
def test_it_ends_or_opens_another_round_as_its_action_says(kind: type) -> None:
    route, before = MADE[kind], copy.deepcopy(ROUND)
    came = followed(route)
    assert isinstance(came, Ending) == (route.action in ENDS)
    assert before == ROUND
    if isinstance(came, Round):
        assert came.number == 1
        assert came.question == QUESTION
        assert (came.upstream, bool(came.passages)) != (ROUND.upstream, bool(ROUND.passages))


@each
def test_it_cannot_be_taken_for_ever(kind: type) -> None:
    route = MADE[kind]
    if route.action not in ENDS:
        came = followed(route)
        assert isinstance(came, Round)
        assert not route.open(came)


@each
def test_it_holds_no_state(kind: type) -> None:
    one, other = (
        dataclasses.replace(came, cost=Cost())  # a search is timed, and so is a call
        for came in (followed(MADE[kind]), followed(MADE[kind]))
    )
    assert one == other
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
