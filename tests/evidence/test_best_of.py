"""The best of several: which are candidates, where the votes go, and that the draft stays where judging fails."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from gate.drivers import Recording, ReplayDriver, ThreadedDriver
from gate.effects import Generate
from gate.errors import UpstreamError
from gate.evidence import Draft, DraftSource
from gate.evidence.best_of import Verify, candidates, verified
from gate.evidence.p_true import PROMPT
from gate.pipeline import answer
from gate.ports import Evidence, Profile, Round
from gate.types import Action, Budget, Generation, Question
from tests.scripted import Answer, Scripted, plan_over, world_of

ASKED = Question.from_text("Where is Lagos?")
WRONG = ("Ghana", "Togo", "Benin", "Chad", "Mali")
RIGHT = "Nigeria"


def opening(**changes: Any) -> Round:
    return replace(Round(0, ASKED, "small", Profile(), ASKED.messages), **changes)


def judged_in(effect: Generate) -> str | None:
    """The candidate a request asks about; None where it asks for an answer."""
    text = effect.messages[-1].content
    return text.split("proposed answer ----------\n")[1].split("\n")[0] if "proposed answer" in text else None


def noisy(seed: int, good: float = 0.8, bad: float = 0.3) -> Callable[[Generate, int], Answer]:
    """Drafts a wrong answer, thinks of the right one too, and mostly knows it when it sees it."""
    draw = random.Random(seed)

    def say(effect: Generate, place: int) -> Answer:
        candidate = judged_in(effect)
        if candidate is not None:
            return "A" if draw.random() < (good if candidate == RIGHT else bad) else "B"
        return WRONG[0] if effect.temperature == 0.0 else (*WRONG[1:], RIGHT, "the Ghana", "Togo")[place]

    return say


def drafted(
    say: Callable[[Generate, int], Answer], source: DraftSource, round_: Round | None = None
) -> tuple[Draft, list[Generate], Recording]:
    upstreams = {name: Scripted(name, say) for name in ("small", "judge")}
    driver, recording = ThreadedDriver(world_of(upstreams)), Recording()
    try:
        fact = driver.run(source.gather(round_ or opening(), Evidence()), recording)
    finally:
        driver.close()
    assert isinstance(fact, Draft)
    return fact, [effect for upstream in upstreams.values() for effect in upstream.asked], recording


BEST = DraftSource(best_of=8, verify=Verify(votes=24, seed=1), seed=1)


def test_candidates_are_the_different_answers_the_draft_first() -> None:
    no, cut = Generation("", refusal="no"), Generation("Niger", "length")
    others = [Generation(text) for text in ("the Ghana!", "Togo", " togo ")]
    assert [g.text for g in candidates(Generation("Ghana"), [*others, no, cut])] == ["Ghana", "Togo"]


def test_the_best_takes_the_drafts_place_with_its_own_tokens() -> None:
    fact, asked, recording = drafted(noisy(1, 1.0, 0.0), BEST)
    assert fact.generation.text == RIGHT
    assert fact.generation.tokens
    assert fact.generation.tokens[0].token == RIGHT
    assert fact.cost.calls == len(asked) == BEST.calls(Profile()) == 26
    votes = Counter(judged_in(effect) for effect in asked[2:])
    assert set(votes) == {*WRONG, RIGHT}
    assert votes[RIGHT] > 12  # where it matters; in turn it would have had four
    again = ReplayDriver(recording.tape).run(BEST.gather(opening(), Evidence()), Recording())
    assert again == fact


def test_an_informative_judge_finds_the_right_answer_that_the_draft_was_not() -> None:
    """Of 40 questions with six candidates; 24 votes found .90 of 2,000 simulated ones, less three standard errors."""
    right = sum(drafted(noisy(seed), BEST)[0].generation.text == RIGHT for seed in range(40))
    assert right >= 0.75 * 40


def test_another_upstream_may_judge_and_is_asked_with_gates_own_prompt() -> None:
    source = DraftSource(best_of=3, verify=Verify(votes=2, upstream="judge"))
    assert (source.uses.upstreams, source.uses.prompts) == (("judge",), (PROMPT,))
    _, asked, _ = drafted(noisy(1), source)
    assert [effect.upstream for effect in asked] == ["small", "small", "judge", "judge"]
    assert DraftSource().uses.prompts == ()


def failing_after(votes: int) -> Callable[[Generate, int], Answer]:
    done = iter(range(99))

    def say(effect: Generate, place: int) -> Answer:
        if judged_in(effect) is None:
            return WRONG[0] if effect.temperature == 0.0 else RIGHT
        return UpstreamError("small", "is down") if next(done) >= votes else "B" if judged_in(effect) != RIGHT else "A"

    return say


@pytest.mark.parametrize("votes", [0, 3])
def test_the_draft_stays_where_the_judge_fails_and_what_it_cost_is_told(votes: int) -> None:
    fact, asked, _ = drafted(failing_after(votes), BEST)
    assert fact.generation.text == WRONG[0]
    assert fact.cost.calls == len(asked) == 2 + votes + 1


def test_the_draft_stays_where_nothing_else_is_thought_of_or_it_declines() -> None:
    fact, asked, _ = drafted(lambda effect, place: WRONG[0], BEST)
    assert (fact.generation.text, len(asked)) == (WRONG[0], 2)
    fact, asked, _ = drafted(lambda effect, place: " ", BEST)
    assert (fact.generation.text, len(asked)) == (" ", 1)


@pytest.mark.parametrize("reply", ["Hm.", "B"])
def test_a_judge_that_speaks_for_none_changes_nothing(reply: str) -> None:
    say = noisy(1)
    odd = DraftSource(best_of=8, verify=Verify(votes=23))
    fact, _, _ = drafted(lambda effect, place: reply if judged_in(effect) else say(effect, place), odd)
    assert fact.generation.text == WRONG[0]


@pytest.mark.parametrize(("left", "made"), [(1, 1), (2, 1), (3, 3), (9, 9), (99, 26)])
def test_the_calls_left_are_a_hard_stop(left: int, made: int) -> None:
    _, asked, _ = drafted(noisy(1), BEST, opening(calls_left=left))
    assert len(asked) == made


def test_a_budget_of_tokens_that_is_spent_leaves_the_draft() -> None:
    upstreams = {"small": Scripted("small", noisy(1))}
    plan = replace(plan_over(upstreams, answer_at=0.0, budget=Budget(tokens=60)), tiers=((BEST,),))
    driver = ThreadedDriver(world_of(upstreams))
    outcome = driver.run(answer(plan, ASKED), Recording())
    driver.close()
    assert outcome.action in (Action.ANSWER, Action.ABSTAIN)
    assert outcome.cost.tokens <= 60


def test_a_single_candidate_needs_no_vote() -> None:
    flow = verified(opening(), (Generation("x"),), Verify(votes=3))
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    assert stopped.value.value[0] == 0


@pytest.mark.parametrize("wrong", [{"best_of": 3}, {"verify": {"votes": 3}}, {"best_of": 3, "verify": {"votes": 0}}])
def test_candidates_and_votes_go_together(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DraftSource(**wrong)
