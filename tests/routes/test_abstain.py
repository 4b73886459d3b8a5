"""The abstain route: whose words it says, in which language, and what it shows beside them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.effects import HandOver, Reply
from gate.errors import EvidenceUnavailable, UpstreamError, UpstreamTimeout
from gate.evidence.closed_book import ClosedBook
from gate.evidence.draft import Draft
from gate.ports import Ending, Evidence, Profile, Round
from gate.route_settings import AbstainSettings
from gate.routes import AbstainRoute
from gate.types import Action, Confidence, Cost, Decision, Generation, Passage, Question, ToolCall

QUESTION = Question.from_text("Where is Lagos?")
ROUND = Round(0, QUESTION, "small", Profile(), QUESTION.messages)
DECISION = Decision(Action.ABSTAIN, "uncertain", ROUND.stage(0), Confidence(0.6, 0.5, 0.7))
DRAFTED = Evidence().having(Draft(Cost(calls=1), Generation("Ghana"), "m"))
FOUND = (
    Passage("1", "Lagos lies in Nigeria.", title="Places", source="places.md"),
    Passage("2", "word\n" * 100),
    Passage("3", "Lagos lies in Nigeria."),
    Passage("4", "Four."),
    Passage("5", "Five."),
)


def followed(
    route: AbstainRoute, evidence: Evidence = DRAFTED, decision: Decision = DECISION, round_: Round = ROUND
) -> Ending:
    with pytest.raises(StopIteration) as stopped:
        next(route.follow(round_, evidence, decision))
    assert isinstance(stopped.value.value, Ending)
    return stopped.value.value


def asking(text: str) -> Round:
    question = Question.from_text(text)
    return dataclasses.replace(ROUND, question=question, messages=question.messages)


@given(st.text())
def test_it_says_the_policys_words_as_they_are(message: str) -> None:
    assert followed(AbstainRoute(message), Evidence()) == Ending(message)


def test_the_draft_does_not_leave_with_the_refusal() -> None:
    ending = followed(AbstainRoute("I do not know."))
    assert ending.generation is None
    assert "Ghana" not in ending.text


def test_it_is_always_open() -> None:
    assert AbstainRoute("no").open(ROUND)


# --- whose words -------------------------------------------------------------------------------------------------


def test_without_words_of_the_policy_it_says_why_in_the_language_of_the_question() -> None:
    assert followed(AbstainRoute()).text.startswith("I do not know the answer to your question for certain")
    assert followed(AbstainRoute(), round_=asking("Wo liegt Lagos?")).text.startswith("Ich kenne die Antwort")
    spent = dataclasses.replace(DECISION, reason="budget_spent")
    assert "limits" in followed(AbstainRoute(), decision=spent).text


def test_texts_go_by_language_and_fall_back_to_the_policys_then_to_english_then_to_the_first() -> None:
    texts = {"de": "Nein.", "fr": "Non.", "en": "No."}
    assert followed(AbstainRoute(texts=texts), round_=asking("Wo liegt Lagos?")).text == "Nein."
    assert followed(AbstainRoute(texts=texts, language="fr"), round_=asking("Lagos?")).text == "Non."
    assert followed(AbstainRoute(texts=texts, language="fr"), round_=asking("Gdzie leży Lagos?")).text == "Non."
    assert followed(AbstainRoute(texts=texts), round_=asking("Gdzie leży Lagos?")).text == "No."
    assert followed(AbstainRoute(texts={"de": "Nein."})).text == "Nein."


# --- what was found ----------------------------------------------------------------------------------------------


def test_where_the_policy_shows_what_was_found_it_is_quoted_in_short_and_marked() -> None:
    round_ = dataclasses.replace(ROUND, passages=FOUND[:1], found=FOUND[1:2], fetched=FOUND)
    ending = followed(AbstainRoute("No.", evidence=True), round_=round_)
    assert ending.passages == (FOUND[0], FOUND[1], FOUND[3]), "each text once, the best first, three at most"
    words, shown = ending.text.split("\n\n")
    assert words == "No."
    lines = shown.splitlines()
    assert lines[0] == "What was found so far, not verified:"
    assert lines[1] == "- Places, places.md: “Lagos lies in Nigeria.”"
    assert lines[2].startswith("- 2: “word word")
    assert len(lines[2]) <= len("- 2: “”") + 300
    assert lines[2].endswith("…”")
    assert followed(AbstainRoute("No."), round_=round_) == Ending("No.")
    assert followed(AbstainRoute("No.", evidence=True)) == Ending("No.")


# --- unsure ------------------------------------------------------------------------------------------------------

HEDGING = AbstainRoute("No.", hedge_above=0.4)


def test_a_draft_that_is_sure_enough_is_given_marked_as_unsure_in_the_language_of_the_question() -> None:
    ending = followed(HEDGING)
    assert (ending.text, ending.hedged, ending.generation) == ("I am not sure, but it may be: Ghana", True, None)
    assert (
        followed(HEDGING, round_=asking("Wo liegt Lagos?")).text
        == "Ich bin mir nicht sicher, aber möglicherweise: Ghana"
    )


def deciding(p: float = 0.6, reason: str = "uncertain", **more: Any) -> Decision:
    return dataclasses.replace(DECISION, reason=reason, confidence=Confidence(p, p, p, **more))


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (deciding(0.39), Generation("Ghana")),
        (deciding(out_of_distribution=True), Generation("Ghana")),
        (deciding(reason="certificate_void"), Generation("Ghana")),
        (deciding(reason="calibrator_failed"), Generation("Ghana")),
        (dataclasses.replace(DECISION, confidence=None), Generation("Ghana")),
        (deciding(), Generation("Ghana", "length")),
        (deciding(), Generation("No.", refusal="No.")),
        (deciding(), Generation(" ")),
        (deciding(), Generation("", tool_calls=(ToolCall("1", "f", "{}"),))),
    ],
)
def test_a_draft_of_which_p_says_nothing_is_never_given(decision: Decision, said: Generation) -> None:
    ending = followed(HEDGING, Evidence().having(Draft(Cost(), said, "m")), decision)
    assert ending == Ending("No.")


def test_without_a_draft_there_is_nothing_to_give() -> None:
    assert followed(HEDGING, Evidence()) == Ending("No.")


@given(st.floats(0, 1), st.floats(0, 1))
def test_it_is_given_from_the_bound_on(p: float, bound: float) -> None:
    assert followed(AbstainRoute("No.", hedge_above=bound), decision=deciding(p)).hedged is (p >= bound)


# --- a person ----------------------------------------------------------------------------------------------------

HANDING = AbstainRoute("No.", person="ann")
TOLD = Cost(seconds=0.5)


def test_a_person_is_handed_the_question_with_all_that_is_known_and_the_asker_is_told() -> None:
    round_ = dataclasses.replace(ROUND, passages=FOUND[:1])
    flow = HANDING.follow(round_, DRAFTED, DECISION)
    assert next(flow) == HandOver("ann", QUESTION.messages, "uncertain", "Ghana", 0.6, FOUND[:1])
    with pytest.raises(StopIteration) as stopped:
        flow.send(Reply("case-7", TOLD))
    text = "No.\n\nYour question was passed on to a person. Reference: case-7"
    assert stopped.value.value == Ending(text, cost=TOLD, reference="case-7")


@pytest.mark.parametrize("error", [EvidenceUnavailable("nobody is in", TOLD), UpstreamError("ann", "is away")])
def test_where_nobody_can_be_reached_it_is_a_plain_refusal_that_says_so(error: EvidenceUnavailable) -> None:
    flow = HANDING.follow(ROUND, Evidence(), dataclasses.replace(DECISION, confidence=None, reason="budget_spent"))
    assert next(flow) == HandOver("ann", QUESTION.messages, "budget_spent")
    with pytest.raises(StopIteration) as stopped:
        flow.throw(error)
    assert stopped.value.value == Ending("No.", cost=error.cost or Cost(), detail=f"not handed to 'ann': {error}")


def test_a_policy_whose_certificate_is_void_hands_nothing_over() -> None:
    assert followed(HANDING, decision=dataclasses.replace(DECISION, reason="certificate_void")) == Ending("No.")


# --- settings ----------------------------------------------------------------------------------------------------


def test_where_memory_is_on_trial_it_is_what_memory_said_that_is_given_and_handed_over() -> None:
    heard = DRAFTED.having(ClosedBook(Cost(), Generation("India"), False, 0.0))
    stage = dataclasses.replace(ROUND.stage(0), passages=True, memory=True)
    memory = dataclasses.replace(DECISION, stage=stage)
    assert followed(HEDGING, heard, memory).text.endswith("it may be: India")
    assert followed(HEDGING, heard).text.endswith("it may be: Ghana")
    asked = next(AbstainRoute("No.", person="desk").follow(ROUND, heard, memory))
    assert isinstance(asked, HandOver)
    assert (asked.draft, asked.p) == ("India", 0.6)


def test_after_a_time_out_nobody_knows_whether_the_person_has_it() -> None:
    flow = AbstainRoute("No.", person="desk").follow(ROUND, DRAFTED, DECISION)
    next(flow)
    with pytest.raises(StopIteration) as stopped:
        flow.throw(UpstreamTimeout("desk", "did not answer before the deadline"))
    assert stopped.value.value.detail.startswith("not known to be handed to 'desk'")


def test_one_text_is_all_it_takes_and_is_written_as_one() -> None:
    plain = AbstainSettings.model_validate("No.")
    assert plain == AbstainSettings(text="No.")
    assert plain.model_dump() == "No."
    assert AbstainSettings().text is None
    more = AbstainSettings(text="No.", evidence=True)
    assert AbstainSettings.model_validate(more.model_dump()) == more


def test_one_text_for_all_languages_does_not_go_with_texts_by_language() -> None:
    with pytest.raises(ValidationError, match="give one of the two"):
        AbstainSettings(text="No.", texts={"de": "Nein."})
