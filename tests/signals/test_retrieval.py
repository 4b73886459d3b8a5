"""Passage signals: the best score, and how many passages hold the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Asked, Draft, Passages
from gate.ports import Evidence, Missing
from gate.signals.retrieval import AnswerInPassages, PassageMargin, PassageScore, QuestionInPassages
from gate.types import Cost, Generation, Passage, Question


def scored(*scores: float) -> float | Missing:
    found = tuple(Passage(str(place), "text", score) for place, score in enumerate(scores))
    return PassageScore().measure(Evidence().having(Passages(Cost(), found)))


def held(answer: str | Generation, *texts: str) -> float | Missing:
    draft = Generation(answer) if isinstance(answer, str) else answer
    passages = tuple(Passage(str(place), text) for place, text in enumerate(texts))
    return AnswerInPassages().measure(
        Evidence().having(Draft(Cost(), draft, "small")).having(Passages(Cost(), passages))
    )


@pytest.mark.parametrize(
    ("scores", "value"), [((2.5, 1.0), 2.5), ((1.0, 2.5), 2.5), ((0.0,), 0.0), ((-3.0, -0.5), 0.0)]
)
def test_the_best_passages_score_counts_and_none_lies_below_nought(scores: tuple[float, ...], value: float) -> None:
    assert scored(*scores) == value


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.floats(0, 100))
def test_one_passage_more_never_lowers_the_score(scores: list[float], more: float) -> None:
    one, other = scored(*scores), scored(*scores, more)
    assert isinstance(one, float)
    assert isinstance(other, float)
    assert other == max(one, more)


def margin(*scores: float) -> float | Missing:
    found = tuple(Passage(str(place), "text", score) for place, score in enumerate(scores))
    return PassageMargin().measure(Evidence().having(Passages(Cost(), found)))


@pytest.mark.parametrize(
    ("scores", "value"), [((0.8, 0.6), 0.25), ((0.6, 0.8, 0.1), 0.25), ((0.5, 0.5), 0.0), ((0.5, -1.0), 1.0)]
)
def test_the_margin_is_the_gap_to_the_second_best_as_a_share(scores: tuple[float, ...], value: float) -> None:
    assert margin(*scores) == pytest.approx(value)


@pytest.mark.parametrize(
    ("scores", "reason"), [((1.0,), "only one"), ((0.0, 0.0), "above 0"), ((-1.0, -2.0), "above 0")]
)
def test_there_is_no_margin_without_two_passages_that_fit(scores: tuple[float, ...], reason: str) -> None:
    missing = margin(*scores)
    assert isinstance(missing, Missing)
    assert reason in missing.reason


def test_the_share_of_passages_that_hold_the_answer() -> None:
    texts = ("Lagos is a city in Nigeria.", "Abuja is its capital.", "NIGERIA!", "Nigerian cuisine.")
    assert held("Nigeria", *texts) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("answer", "text", "value"),
    [
        ("The Gambia.", "Banjul is the capital of Gambia", 1.0),
        ("Niger", "Lagos is a city in Nigeria.", 0.0),
        ("New York", "a new (york) minute", 1.0),
        ("New York", "a new day in York", 0.0),
        ("Київ", "Столиця України: Київ.", 1.0),
        ("القاهرة", "العاصمة هي القاهرة.", 1.0),
        ("🦁", "the 🦁 sleeps", 1.0),
        ("3", "１, ２, ３!", 1.0),
    ],
)
def test_the_answer_is_looked_for_word_for_word_after_normalising(answer: str, text: str, value: float) -> None:
    assert held(answer, text) == value


@pytest.mark.parametrize("nothing", [Generation(" \n"), Generation("Nigeria", refusal="I cannot say.")])
def test_a_draft_that_says_nothing_is_held_by_no_passage(nothing: Generation) -> None:
    assert held(nothing, "Lagos is a city in Nigeria.") == Missing("the draft says nothing")


def test_a_reason_why_there_are_no_passages_is_passed_on() -> None:
    draft = Evidence().having(Draft(Cost(), Generation("Nigeria"), "small"))
    for signal in (PassageScore(), AnswerInPassages()):
        assert signal.measure(draft) == Missing("no passage is in the prompt")
        assert signal.measure(draft.lacking(Passages, "closed book")) == Missing("closed book")


@given(st.text(max_size=12), st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_a_passage_that_quotes_the_answer_never_lowers_the_share(answer: str, texts: list[str]) -> None:
    before, after = held(f"7{answer}", *texts), held(f"7{answer}", *texts, f"It is: 7{answer}")
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after >= before
    assert after > 0


def sought(question: str, *texts: str) -> float | Missing:
    passages = tuple(Passage(str(place), text) for place, text in enumerate(texts))
    asked = Asked(Cost(), Question.from_text(question))
    return QuestionInPassages().measure(Evidence().having(asked).having(Passages(Cost(), passages)))


@pytest.mark.parametrize(
    ("question", "texts", "share"),
    [
        ("Do Brunei and Bhutan touch each other?", ("Bhutan and India: shared border, yes.",), 1 / 2),
        ("Do Brunei and Bhutan touch each other?", ("Bhutan and India.", "Brunei, Bhutan"), 1.0),
        ("Does Eritrea border Sierra Leone?", ("Liberia and Sierra Leone: shared border, yes.",), 2 / 3),
        ("Where is Southend-on-Sea?", ("Southend-on-Sea lies in United Kingdom.",), 1.0),
        ("Who won in 1966?", ("The cup of 1966",), 1.0),
        ("Who won in 1966?", ("The cup of 1970",), 0.0),
        ("what is the tallest mountain", ("A tall mountain",), 1 / 2),
        ("Lagos", ("LAGOS lies in Nigeria",), 1.0),
    ],
)
def test_the_passage_that_names_most_of_what_is_asked_about_counts(
    question: str, texts: tuple[str, ...], share: float
) -> None:
    assert sought(question, *texts) == pytest.approx(share)


def test_a_question_of_small_words_alone_has_nothing_to_look_for() -> None:
    assert sought("who is it?", "text") == Missing("the question has no words to look for")
