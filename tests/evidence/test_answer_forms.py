"""Answer forms: what makes no difference between two answers, and what does."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gate.evidence.answer_forms import normalize


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
