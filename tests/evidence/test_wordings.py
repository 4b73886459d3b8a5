"""Wordings: the form answers are compared in, and which different ones there are."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gate.evidence.wordings import normalize, wordings, written
from gate.types import Generation, ToolCall
from tests.evidence.scripted_judge import given as answers


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Nigeria", "nigeria."),
        ("The Gambia", "gambia"),
        ("  New \n York ", "new york"),
        ("Guinea-Bissau", "GuineaBissau"),
        ("STRASSE", "straße"),
        ("３", "3"),
        ("café", "cafe\u0301"),
        ("القاهرة", " القاهرة."),
        ("👩‍🚀", "👩‍🚀!"),
        ("東京!", "東京"),
    ],
)
def test_case_width_punctuation_articles_and_spacing_make_no_difference(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(
    ("one", "other"), [("東京。", "東京"), ("“Paris”", "Paris"), ("«Київ»", "Київ"), ("؟نعم", "نعم")]
)
def test_the_punctuation_of_any_script_makes_no_difference(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize("choice", ["A.", "(A)", "a)", "A:"])
def test_a_choice_named_like_an_article_is_told_by_its_letter(choice: str) -> None:
    assert normalize(choice) == normalize("A") == "a"


@pytest.mark.parametrize("text", ["the", "?!", "…", "+", "a", "- -"])
def test_text_of_nothing_else_is_not_lost(text: str) -> None:
    assert normalize(text)


WRITTEN = st.text(alphabet="aethn35.,-' \u0301\u0345İßΐ가Aﬁ", max_size=8) | st.text(max_size=8)


@given(WRITTEN)
@example("e.\u0301")
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20), st.sampled_from(["{}.", " {} ", "The {}", "{}!?"]))
def test_what_stands_around_an_answer_makes_no_difference(text: str, frame: str) -> None:
    answer = f"7{text}7"
    assert normalize(frame.format(answer)) == normalize(answer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.5", "35"),
        (".5", "5"),
        ("-5", "5"),
        ("\u22125", "5"),
        ("3-1", "31"),
        ("10:30", "1030"),
        ("1/2", "12"),
        ("2026-11-24", "20261124"),
    ],
)
def test_marks_that_make_another_number_are_kept(one: str, other: str) -> None:
    assert normalize(one) != normalize(other)
    assert normalize(f"It is {one}.") == normalize(f"it is {one}")


def test_the_different_answers_stand_in_sorted_order_with_the_shortest_way_each_was_written() -> None:
    made = wordings(answers("Togo!", ["the Togo", "Benin", " Togo ", Generation("", refusal="no")]))
    assert made.forms == ("", "benin", "togo")
    assert made.texts == (None, "Benin", "Togo")
    assert made.places == (2, 2, 1, 2, 0)
    assert made.prose == (1, 2)


def test_tool_calls_have_no_text() -> None:
    call = Generation("I will pay.", tool_calls=(ToolCall("1", "pay", "{}"),))
    made = wordings(answers(call, ["Togo", call]))
    assert [made.texts[place] for place in made.places] == [None, "Togo", None]
    assert len(made.forms) == 2


def test_told_apart_as_written_what_normalising_makes_the_same_stays_apart() -> None:
    made = wordings(answers(" 50% ", ["50", "50%"]), written)
    assert made.forms == made.texts == ("50", "50%")
    assert made.places == (1, 0, 1)
    assert written(Generation("x", refusal="no")) == ""


@given(st.lists(st.text(max_size=4), min_size=1, max_size=6), st.data())
def test_whatever_the_order_the_different_answers_are_the_same(texts: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(texts))
    one, other = wordings(answers("x", list(texts))), wordings(answers("x", list(shuffled)))
    assert (one.forms, one.texts) == (other.forms, other.texts)
