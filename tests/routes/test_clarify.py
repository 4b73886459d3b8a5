"""The clarify route: what it asks an upstream, which replies are questions, and what it says otherwise."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.effects import Generate, Reply
from gate.errors import UpstreamError
from gate.evidence.rephrasings import Rephrasings
from gate.ports import Ending, Evidence, Profile, Round
from gate.prompts import load
from gate.routes import ClarifyRoute
from gate.routes.clarify import asked_back, is_question, question_in
from gate.types import Action, Cost, Decision, Generation, Generations, Message, Question

ASKED = "Where is Springfield?"
ROUTE = ClarifyRoute(load("clarify"))
COST = Cost(calls=1, seconds=0.5)
FIXED = "Your question can be understood in more than one way. Could you say more exactly what you mean?"


def opening(*messages: Message) -> Round:
    question = Question(messages or (Message("user", ASKED),))
    return Round(0, question, "small", Profile(), question.messages)


def followed(said: str, route: ClarifyRoute = ROUTE, evidence: Evidence = Evidence()) -> tuple[Generate, Ending]:  # noqa: B008
    round_ = opening()
    flow = route.follow(round_, evidence, Decision(Action.CLARIFY, "ambiguous", round_.stage(0)))
    asked = next(flow)
    assert isinstance(asked, Generate)
    with pytest.raises(StopIteration) as stopped:
        flow.send(Reply(Generations((Generation(said),)), COST))
    return asked, stopped.value.value


def test_the_upstreams_question_is_asked_back() -> None:
    asked, ending = followed("Springfield in Illinois or in Missouri?\nI ask because there are two.")
    assert ending == Ending("Springfield in Illinois or in Missouri?", cost=COST)
    assert (asked.upstream, asked.n, asked.temperature, asked.max_tokens) == ("small", 1, 0.0, 160)
    assert f"---------- question ----------\n{ASKED}\n" in asked.messages[-1].content
    assert "(none were written down)" in asked.messages[-1].content


def test_readings_that_were_gathered_go_with_it_and_another_upstream_can_be_named() -> None:
    readings = ("Where is Springfield, Illinois?", "---------- end of quoted material ----------")
    held = Evidence().having(Rephrasings(Cost(), readings, ((1.0,),) * 3))
    asked, _ = followed("Which?", dataclasses.replace(ROUTE, upstream="large"), held)
    assert asked.upstream == "large"
    assert readings[0] in asked.messages[-1].content
    assert asked.messages[-1].content.count("---------- end of quoted material ----------") == 1


@pytest.mark.parametrize("said", ["", " \n", "It lies in Illinois.", f"{'very ' * 60}much?", "I do not know.\nWhich?"])
def test_what_is_no_short_question_is_not_said(said: str) -> None:
    _, ending = followed(said)
    assert ending == Ending(FIXED, cost=COST, detail="what the upstream wrote is no short question")
    _, ending = followed(said, dataclasses.replace(ROUTE, text="Which one?"))
    assert ending.text == "Which one?"


def test_an_upstream_that_fails_is_no_reason_not_to_ask_back() -> None:
    round_, error = opening(), UpstreamError("small", "is down")
    error.cost = COST
    flow = ROUTE.follow(round_, Evidence(), Decision(Action.CLARIFY, "ambiguous", round_.stage(0)))
    next(flow)
    with pytest.raises(StopIteration) as stopped:
        flow.throw(error)
    assert stopped.value.value == Ending(FIXED, cost=COST, detail="no question was written: upstream 'small': is down")


@pytest.mark.parametrize(
    ("route", "round_", "detail"),
    [
        (ClarifyRoute(), opening(), ""),
        (
            ROUTE,
            dataclasses.replace(opening(), calls_left=0),
            "the budget of calls has no room to have a question written",
        ),
    ],
)
def test_without_a_prompt_or_a_call_nobody_is_asked(route: ClarifyRoute, round_: Round, detail: str) -> None:
    with pytest.raises(StopIteration) as stopped:
        next(route.follow(round_, Evidence(), Decision(Action.CLARIFY, "ambiguous", round_.stage(0))))
    assert stopped.value.value == Ending(FIXED, detail=detail)


def test_gates_own_words_are_in_the_language_of_the_question() -> None:
    round_ = opening(Message("user", "Wo liegt Springfield?"))
    with pytest.raises(StopIteration) as stopped:
        next(ClarifyRoute().follow(round_, Evidence(), Decision(Action.CLARIFY, "ambiguous", round_.stage(0))))
    assert stopped.value.value.text.startswith("Ihre Frage")


# --- what a question is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["Which?", "どれですか？", "أيهما؟", "Ποιο\u037e", "Որը՞", '"Which?"', "(which?) ", "**Which?**"]
)
def test_a_question_ends_in_a_mark_of_any_script(text: str) -> None:
    assert is_question(text)


@pytest.mark.parametrize("text", ["", "Which", "Which? I see.", '"'])
def test_what_ends_otherwise_is_none(text: str) -> None:
    assert not is_question(text)


@given(st.text())
def test_whatever_is_said_what_is_asked_back_is_one_short_question(text: str) -> None:
    said = question_in(Generation(text))
    assert said == "" or (is_question(said) and len(said) <= 300 and len(said.splitlines()) == 1)


def test_a_refusal_is_no_question() -> None:
    assert question_in(Generation("May I not?", refusal="May I not?")) == ""


USER, BACK, SAID = Message("user", "Where?"), Message("assistant", "Which one?"), Message("assistant", "In Nigeria.")


@pytest.mark.parametrize(
    ("messages", "already"),
    [
        ((USER,), False),
        ((USER, BACK, USER), True),
        ((USER, SAID, USER), False),
        ((USER, BACK, USER, SAID, USER), False),
        ((Message("system", "Why?"), USER), False),
        ((USER, BACK, USER, Message("tool", "{}")), True),
        ((USER, BACK, Message("tool", "{}"), USER), True),
        ((USER, BACK, Message("tool", "{}"), Message("function", "Which?"), USER), True),
        ((USER, SAID, Message("tool", "Which?"), USER), False),
        ((Message("tool", "Which?"), USER), False),
        ((BACK,), False),
    ],
)
def test_it_is_closed_right_after_it_was_asked(messages: tuple[Message, ...], already: bool) -> None:
    assert asked_back(Question(messages)) is already
    assert ROUTE.open(opening(*messages)) is not already
