"""Drawing several replies: as few calls as may be, what is kept when some fail, and what it all cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Flow, Generate, Reply, advance, generate
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.drawing import Drawn, cost_of, fewest_calls, first_error, seed_of, several, tried
from gate.types import Cost, Generation, Generations, Question
from tests.scripted import Answer, Scripted, always, world_of

ASKED = Question.from_text("Where is Lagos?")
EACH = Cost(calls=1, prompt_tokens=10, completion_tokens=4, seconds=0.5)


def draw(
    answers: Callable[[Generate, int], Answer] | Scripted, n: int, at_once: int, room: int | None = None
) -> tuple[Drawn, list[Generate]]:
    upstream = answers if isinstance(answers, Scripted) else Scripted("small", answers)
    driver = ThreadedDriver(world_of({"small": upstream}))

    def ask(count: int, place: int) -> Generate:
        return Generate("small", ASKED.messages, n=count, max_tokens=4, seed=place)

    try:
        made = driver.run(several(ask, n, at_once=at_once, room=room), Recording())
    finally:
        driver.close()
    return made, upstream.asked


@pytest.mark.parametrize(("n", "at_once", "calls"), [(1, 8, 1), (5, 8, 1), (5, 2, 3), (5, 1, 5), (3, 0, 3)])
def test_several_come_in_as_few_calls_as_may_be_with_a_place_each(n: int, at_once: int, calls: int) -> None:
    drawn, asked = draw(always("A"), n, at_once)
    assert len(asked) == drawn.cost.calls == calls
    assert len(drawn.generations) == n
    assert {effect.seed for effect in asked} == set(range(calls))


class Stingy(Scripted):
    """Answers once whatever ``n`` says."""

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Any:
        made = super().complete(effect, cancelled)
        return type(made)(made.choices[:1], made.usage, made.model)


def test_who_answers_once_is_asked_for_the_rest_as_far_as_there_is_room() -> None:
    drawn, asked = draw(Stingy("small", always("A")), 4, 8)
    assert (len(drawn.generations), len(asked)) == (4, 4)
    drawn, asked = draw(Stingy("small", always("A")), 4, 8, room=2)
    assert (len(drawn.generations), len(asked)) == (2, 2)


def test_what_came_is_kept_and_when_nothing_came_the_cause_is() -> None:
    def first_fails(effect: Generate, place: int) -> Answer:
        return UpstreamError("small", "is down") if effect.seed == 0 else "A"

    drawn, _ = draw(first_fails, 2, 1, room=2)
    assert len(drawn.generations) == 1
    nothing, asked = draw(lambda effect, place: UpstreamError("small", "is down"), 2, 1)
    assert nothing.generations == ()
    assert "is down" in nothing.reason
    assert len(asked) == 2


def test_when_the_budget_has_no_room_for_the_rest_what_was_drawn_must_do() -> None:
    def ask(count: int, place: int) -> Generate:
        return Generate("small", ASKED.messages, n=count)

    flow: Flow[Drawn] = several(ask, 3, at_once=8, room=None)
    advance(flow, None, None)
    said = Reply(Generations((Generation("A"),)), EACH)
    advance(flow, (said,), None)
    done = advance(flow, None, EvidenceUnavailable("what is left of the budget of tokens has no room for it"))
    assert getattr(done, "result", None) == Drawn((Generation("A"),), EACH, None)


def test_when_it_has_none_for_the_first_nothing_is_drawn() -> None:
    flow: Flow[Drawn] = several(lambda count, place: Generate("small", ASKED.messages), 2, at_once=1, room=None)
    advance(flow, None, None)
    with pytest.raises(EvidenceUnavailable, match="no room"):
        advance(flow, None, EvidenceUnavailable("no room for it"))


def test_an_upstream_that_brings_nothing_has_no_error_to_show() -> None:
    assert Drawn((), Cost(), None).reason == "the upstream gave no reply"


def test_an_error_stands_in_the_place_of_its_reply_and_counts() -> None:
    upstream = Scripted("small", lambda effect, place: UpstreamError("small", "is down") if effect.seed == 1 else "A")
    driver = ThreadedDriver(world_of({"small": upstream}))
    asked = [Generate("small", ASKED.messages, seed=seed) for seed in range(3)]
    try:
        replies = driver.run(tried(map(generate, asked)), Recording())
    finally:
        driver.close()
    assert [isinstance(reply, UpstreamError) for reply in replies] == [False, True, False]
    assert first_error(replies) is replies[1]
    assert first_error(replies[:1]) is None
    assert cost_of(replies).calls == 3


@given(n=st.integers(1, 40), at_once=st.integers(0, 40))
def test_the_fewest_calls_bring_all_and_one_less_does_not(n: int, at_once: int) -> None:
    calls = fewest_calls(n, at_once)
    assert (calls - 1) * max(1, at_once) < n <= calls * max(1, at_once)


def test_every_place_has_a_seed_of_its_own() -> None:
    assert [seed_of(7, place) for place in range(3)] == [7, 1007, 2007]
    assert seed_of(None, 2) is None
