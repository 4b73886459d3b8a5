"""Drafting: one answer, as the caller asked for it, or the best of several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from gate.effects import Generate, Reply
from gate.errors import UpstreamError
from gate.evidence import Draft, DraftSource
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Generations, Message, Passage, Question

SPENT = Cost(calls=2, prompt_tokens=11, completion_tokens=3, seconds=0.5, money=0.01)


def opening(options: dict[str, Any], profile: Profile | None = None) -> Round:
    question = Question(Question.from_text("Where is Lagos?").messages, options)
    return Round(0, question, "small", profile or Profile(), question.messages)


def asked(options: dict[str, Any], source: DraftSource | None = None, profile: Profile | None = None) -> Generate:
    effect = next((source or DraftSource()).gather(opening(options, profile), Evidence()))
    assert isinstance(effect, Generate)
    return effect


def test_without_a_wish_the_draft_is_greedy() -> None:
    effect = asked({})
    assert (effect.upstream, effect.n, effect.temperature, effect.seed) == ("small", 1, 0.0, None)


def test_the_callers_temperature_and_seed_are_kept() -> None:
    effect = asked({"temperature": 0.7, "seed": 4})
    assert (effect.temperature, effect.seed) == (0.7, 4)


def test_a_temperature_of_none_counts_as_no_wish() -> None:
    assert asked({"temperature": None}).temperature == 0.0


def test_one_answer_is_asked_for_however_many_the_caller_wants() -> None:
    assert asked({"n": 3}).n == 1


def test_the_policy_says_how_many_alternatives_a_token() -> None:
    wide = Profile(top_logprobs=20)
    assert asked({}, profile=wide).logprobs == 5
    assert asked({}, DraftSource(alternatives=12), wide).logprobs == 12
    assert asked({}, DraftSource(alternatives=12), Profile(top_logprobs=3)).logprobs == 3
    for wrong in (-1, 21):
        with pytest.raises(ValidationError):
            DraftSource(alternatives=wrong)


def test_the_first_choice_is_the_draft_with_its_cost_and_its_author() -> None:
    first, second = Generation("Nigeria"), Generation("Ghana")
    flow = DraftSource().gather(opening({}), Evidence())
    next(flow)
    with pytest.raises(StopIteration) as stopped:
        flow.send(Reply(Generations((first, second), model="small-2026"), SPENT))
    assert stopped.value.value == Draft(SPENT, first, "small-2026")


def test_a_failure_is_the_upstreams_own_error() -> None:
    flow = DraftSource().gather(opening({}), Evidence())
    next(flow)
    down = UpstreamError("small", "is down")
    with pytest.raises(UpstreamError) as caught:
        flow.throw(down)
    assert caught.value is down


CAUTIOUS = DraftSource(cautious=True)


def drafted(round_: Round, said: Generation) -> tuple[Generate, Draft]:
    flow = CAUTIOUS.gather(round_, Evidence())
    effect = next(flow)
    assert isinstance(effect, Generate)
    with pytest.raises(StopIteration) as stopped:
        flow.send(Reply(Generations((said,)), SPENT))
    return effect, stopped.value.value


def test_a_cautious_draft_is_asked_for_only_if_sure_and_its_i_do_not_know_is_a_refusal() -> None:
    effect, draft = drafted(opening({}), Generation("I don't know."))
    assert effect.messages[-1].content.startswith("Answer the question below only if you are sure")
    assert effect.messages[-1].content.endswith("Where is Lagos?")
    assert draft.generation == Generation("I don't know.", refusal="I don't know.")
    assert CAUTIOUS.uses.prompts == ("cautious",)
    assert DraftSource().uses.prompts == ()


@pytest.mark.parametrize(
    "said", [Generation("Nigeria"), Generation("Probably Nigeria."), Generation("", refusal="No.")]
)
def test_what_a_cautious_draft_says_otherwise_stays_as_it_is(said: Generation) -> None:
    assert drafted(opening({}), said)[1].generation == said


def test_with_passages_to_read_nothing_is_asked_cautiously() -> None:
    round_ = replace(opening({}), passages=(Passage("a", "Lagos lies in Nigeria."),))
    effect, draft = drafted(round_, Generation("I don't know."))
    assert effect.messages == round_.messages
    assert draft.generation.refusal is None


def test_without_a_question_to_put_into_the_prompt_it_is_asked_as_it_came() -> None:
    question = Question((Message("system", "Say hello."),))
    round_ = Round(0, question, "small", Profile(), question.messages)
    assert drafted(round_, Generation("Hello"))[0].messages == question.messages
